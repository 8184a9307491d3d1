/* Rows as bytes, at memory speed: the C twin of pure.py, which documents every function.
 *
 * CopyStream reads rows straight from the connection's socket, those of a COPY TO STDOUT or of a
 * query's result (or, where TLS stands in between, those of a COPY through libpq's PQgetCopyData),
 * appends them to one growing text buffer, and counts and digests them on the way. Everything heavy
 * runs with the GIL released.
 */
#define _GNU_SOURCE /* strtod_l */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "_binary.h"
#include "_fields.h"
#include "_keys.h"
#include "_tally.h"
#include "_xxh64.h"

int add_packets_to(PyObject *module); /* _packets.c */
int add_inserts_to(PyObject *module); /* _inserts.c */
int add_key_sets_to(PyObject *module); /* _keysets.c */
int add_key_hashes_to(PyObject *module); /* _keyhashes.c */
int add_integers_to(PyObject *module);   /* _integers.c */

/* ---- CopyStream -------------------------------------------------------------------------- */

typedef int (*get_copy_data_function)(void *, char **, int);
typedef int (*consume_input_function)(void *);
typedef void (*free_memory_function)(void *);

typedef struct {
    PyObject_HEAD
    int fd;
    void *libpq_connection; /* set: rows come through libpq */
    get_copy_data_function get_copy_data;
    consume_input_function consume_input;
    free_memory_function free_memory;
    unsigned char *input;
    size_t input_start, input_end, input_capacity;
    size_t received; /* bytes, since the COPY began */
    unsigned char *text;
    size_t text_length, text_capacity;
    Py_ssize_t exports;
    Tally tally;
    Py_buffer bucket_view;
    int has_bucket_view;
    int column_count;
    unsigned char kinds[MAX_FIELDS]; /* of a result's columns: FieldKind */
    WrittenDay written_day;
    volatile int stopped;
    unsigned char *error;
    size_t error_length;
    char tag[64];
} CopyStream;

enum { DONE = 0, MORE = 1, SERVER_ERROR = 2 };
enum { FAIL_EOF = -3, FAIL_STOPPED = -4, FAIL_ERRNO = -5, FAIL_PROTOCOL = -6, FAIL_LIBPQ = -7 };

#define INPUT_CAPACITY (256 * 1024)
#define POLL_MILLISECONDS 200
/* In the middle of a large COPY, rather wait a little and find much than wake up for each 8 KiB
 * that the server sends: waking costs both sides more than the bytes do. */
#define BULK_BYTES (1024 * 1024)
#define BULK_PAUSE_NANOSECONDS 400000

/* Make room for `length` more bytes of text, and some to spare. */
static int reserve_text(CopyStream *self, size_t length)
{
    length += FIELD_SLACK;
    if (self->text_length + length > self->text_capacity) {
        size_t capacity = self->text_capacity ? self->text_capacity : (size_t)1 << 20;
        while (capacity < self->text_length + length)
            capacity += capacity < ((size_t)32 << 20) ? capacity : capacity / 4;
        unsigned char *grown = realloc(self->text, capacity);
        if (grown == NULL)
            return FAIL_MEMORY;
        self->text = grown;
        self->text_capacity = capacity;
    }
    return 0;
}

static int append_text(CopyStream *self, const unsigned char *data, size_t length)
{
    if (reserve_text(self, length) < 0)
        return FAIL_MEMORY;
    memcpy(self->text + self->text_length, data, length);
    self->text_length += length;
    return 0;
}

static int take_row(CopyStream *self, const unsigned char *data, size_t length)
{
    int status = append_text(self, data, length);
    if (status < 0)
        return status;
    if (length > 0 && data[length - 1] == '\n')
        length--;
    return tally_row(&self->tally, data, length);
}

/* RowDescription: which columns come, and which of them in binary. */
static int take_description(CopyStream *self, const unsigned char *data, size_t length)
{
    const unsigned char *end = data + length;
    if (length < 2)
        return FAIL_PROTOCOL;
    int count = (data[0] << 8) | data[1];
    if (count > MAX_FIELDS)
        return FAIL_PROTOCOL;
    data += 2;
    for (int i = 0; i < count; i++) {
        const unsigned char *name_end = memchr(data, 0, (size_t)(end - data));
        if (name_end == NULL || end - name_end < 19)
            return FAIL_PROTOCOL;
        /* table and column, 6 bytes; type; its size and modifier, 6 bytes; format */
        uint32_t type_oid = big_endian_32(name_end + 7);
        int kind = name_end[18] == 0 ? FIELD_TEXT : binary_kind(type_oid);
        if (kind < 0)
            return FAIL_PROTOCOL;
        self->kinds[i] = (unsigned char)kind;
        data = name_end + 19;
    }
    self->column_count = count;
    return 0;
}

/* DataRow: a line of COPY's text from the fields of a result. */
static int take_fields(CopyStream *self, const unsigned char *data, size_t length)
{
    size_t starts[MAX_FIELDS], ends[MAX_FIELDS];
    const unsigned char *end = data + length;
    int count = length < 2 ? -1 : (data[0] << 8) | data[1];
    if (count != self->column_count)
        return FAIL_PROTOCOL;
    if (self->tally.key_count && self->tally.last_key_field >= count)
        return FAIL_FIELDS;
    if (reserve_text(self, 2 * length + (size_t)count * LONGEST_ADDITION) < 0)
        return FAIL_MEMORY;
    data += 2;
    unsigned char *row = self->text + self->text_length, *out = row;
    int last_key_field = self->tally.key_count ? self->tally.last_key_field : -1;
    for (int i = 0; i < count; i++) {
        if (end - data < 4)
            return FAIL_PROTOCOL;
        uint32_t size = big_endian_32(data);
        data += 4;
        if (i > 0)
            *out++ = '\t';
        if (i <= last_key_field)
            starts[i] = (size_t)(out - row);
        if (size == UINT32_MAX) {
            *out++ = '\\';
            *out++ = 'N';
        } else {
            if (size > (size_t)(end - data))
                return FAIL_PROTOCOL;
            out = put_field(out, self->kinds[i], data, size, &self->written_day);
            if (out == NULL)
                return FAIL_PROTOCOL;
            data += size;
        }
        if (i <= last_key_field)
            ends[i] = (size_t)(out - row);
    }
    *out++ = '\n';
    self->text_length += (size_t)(out - row);
    return tally_fields(&self->tally, row, (size_t)(out - row) - 1, starts, ends);
}

static int wait_readable(CopyStream *self)
{
    for (;;) {
        struct pollfd waiting = {.fd = self->fd, .events = POLLIN};
        int ready = poll(&waiting, 1, POLL_MILLISECONDS);
        if (self->stopped)
            return FAIL_STOPPED;
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return FAIL_ERRNO;
    }
}

/* Make sure that `wanted` bytes stand at input_start. */
static int fill_input(CopyStream *self, size_t wanted)
{
    int paused = 0;
    while (self->input_end - self->input_start < wanted) {
        if (self->input_start > 0) {
            memmove(self->input, self->input + self->input_start, self->input_end - self->input_start);
            self->input_end -= self->input_start;
            self->input_start = 0;
        }
        if (wanted > self->input_capacity) {
            unsigned char *grown = realloc(self->input, wanted + FIELD_SLACK);
            if (grown == NULL)
                return FAIL_MEMORY;
            self->input = grown;
            self->input_capacity = wanted;
        }
        ssize_t got = recv(self->fd, self->input + self->input_end, self->input_capacity - self->input_end, 0);
        if (got > 0) {
            self->input_end += (size_t)got;
            self->received += (size_t)got;
        } else if (got == 0) {
            return FAIL_EOF;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (self->received > BULK_BYTES && !paused) {
                nanosleep(&(struct timespec){.tv_nsec = BULK_PAUSE_NANOSECONDS}, NULL);
                paused = 1;
                continue;
            }
            int status = wait_readable(self);
            if (status < 0)
                return status;
        } else if (errno != EINTR) {
            return FAIL_ERRNO;
        }
        if (self->stopped)
            return FAIL_STOPPED;
    }
    return 0;
}

static int keep_error(CopyStream *self, const unsigned char *data, size_t length)
{
    if (self->error != NULL) /* the first error is the cause */
        return 0;
    self->error = malloc(length ? length : 1);
    if (self->error == NULL)
        return FAIL_MEMORY;
    memcpy(self->error, data, length);
    self->error_length = length;
    return 0;
}

/* PostgreSQL's message flow, version 3: a type byte, a length that counts itself, the payload. */
static int read_socket(CopyStream *self, size_t target)
{
    int status;
    while (self->text_length < target) {
        if ((status = fill_input(self, 5)) < 0)
            return status;
        const unsigned char *head = self->input + self->input_start;
        size_t length = ((size_t)head[1] << 24) | ((size_t)head[2] << 16) | ((size_t)head[3] << 8) | head[4];
        unsigned char type = head[0];
        if (length < 4 || length > 0x7fffffff)
            return FAIL_PROTOCOL;
        if ((status = fill_input(self, length + 1)) < 0)
            return status;
        const unsigned char *payload = self->input + self->input_start + 5;
        length -= 4;
        status = 0;
        switch (type) {
        case 'D':
            status = take_fields(self, payload, length);
            break;
        case 'd':
            status = take_row(self, payload, length);
            break;
        case 'T':
            status = take_description(self, payload, length);
            break;
        case 'E':
            status = keep_error(self, payload, length);
            break;
        case 'C': {
            size_t size = length < sizeof(self->tag) ? length : sizeof(self->tag) - 1;
            memcpy(self->tag, payload, size);
            self->tag[size] = 0;
            break;
        }
        case 'H': case 'c': case 'N': case 'S': case 'A': case 'I': case '1': case '2': case 'n':
            break;
        case 'Z':
            self->input_start += length + 5;
            return self->error != NULL ? SERVER_ERROR : DONE;
        default:
            return FAIL_PROTOCOL;
        }
        if (status < 0)
            return status;
        self->input_start += length + 5;
    }
    return MORE;
}

static int read_libpq(CopyStream *self, size_t target)
{
    while (self->text_length < target) {
        char *row = NULL;
        int length = self->get_copy_data(self->libpq_connection, &row, 1);
        if (length > 0) {
            int status = take_row(self, (const unsigned char *)row, (size_t)length);
            self->free_memory(row);
            if (status < 0)
                return status;
        } else if (length == 0) {
            int status = wait_readable(self);
            if (status < 0)
                return status;
            if (!self->consume_input(self->libpq_connection))
                return FAIL_LIBPQ;
        } else {
            return length == -1 ? DONE : SERVER_ERROR;
        }
    }
    return MORE;
}

static PyObject *copystream_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fd", "libpq", NULL};
    int fd;
    PyObject *libpq = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i|O", names, &fd, &libpq))
        return NULL;
    CopyStream *self = (CopyStream *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->fd = fd;
    if (libpq != Py_None) {
        Py_ssize_t connection, get_copy_data, consume_input, free_memory;
        if (!PyTuple_Check(libpq) ||
            !PyArg_ParseTuple(libpq, "nnnn", &connection, &get_copy_data, &consume_input, &free_memory)) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "libpq must be a tuple of four addresses");
            Py_DECREF(self);
            return NULL;
        }
        self->libpq_connection = (void *)connection;
        self->get_copy_data = (get_copy_data_function)get_copy_data;
        self->consume_input = (consume_input_function)consume_input;
        self->free_memory = (free_memory_function)free_memory;
    } else {
        self->input = malloc(INPUT_CAPACITY + FIELD_SLACK);
        if (self->input == NULL) {
            Py_DECREF(self);
            return PyErr_NoMemory();
        }
        self->input_capacity = INPUT_CAPACITY;
    }
    return (PyObject *)self;
}

static void drop_buckets(CopyStream *self)
{
    if (self->has_bucket_view)
        PyBuffer_Release(&self->bucket_view);
    self->has_bucket_view = 0;
    self->tally.buckets = NULL;
}

static void copystream_dealloc(CopyStream *self)
{
    drop_buckets(self);
    free(self->input);
    free(self->text);
    free(self->error);
    free(self->tally.scratch);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int refuse_while_exported(CopyStream *self)
{
    if (self->exports > 0) {
        PyErr_SetString(PyExc_BufferError, "the text is still in use");
        return -1;
    }
    return 0;
}

static PyObject *copystream_begin(CopyStream *self, PyObject *args)
{
    PyObject *key, *buckets;
    if (!PyArg_ParseTuple(args, "O!O", &PyTuple_Type, &key, &buckets))
        return NULL;
    drop_buckets(self);
    if (tally_set_key(&self->tally, key, MAX_FIELDS, '\t') < 0)
        return NULL;
    if (buckets != Py_None) {
        if (PyObject_GetBuffer(buckets, &self->bucket_view, PyBUF_WRITABLE) < 0)
            return NULL;
        self->has_bucket_view = 1;
        int bits = bucket_bits_of(self->bucket_view.len);
        if (bits < 0) {
            drop_buckets(self);
            return NULL;
        }
        self->tally.buckets = self->bucket_view.buf;
        self->tally.bucket_bits = bits;
    }
    free(self->error);
    self->error = NULL;
    self->tag[0] = 0;
    self->received = 0;
    self->column_count = -1;
    Py_RETURN_NONE;
}

static PyObject *copystream_reset(CopyStream *self, PyObject *args)
{
    Py_buffer prefix;
    if (!PyArg_ParseTuple(args, "y*", &prefix))
        return NULL;
    int status = refuse_while_exported(self);
    if (status == 0) {
        self->text_length = 0;
        self->tally.rows = self->tally.digest = self->tally.key_digest = 0;
        status = append_text(self, prefix.buf, (size_t)prefix.len);
        if (status < 0)
            PyErr_NoMemory();
    }
    PyBuffer_Release(&prefix);
    if (status < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *copystream_append(CopyStream *self, PyObject *args)
{
    Py_buffer data;
    if (!PyArg_ParseTuple(args, "y*", &data))
        return NULL;
    int status = refuse_while_exported(self);
    if (status == 0 && (status = append_text(self, data.buf, (size_t)data.len)) < 0)
        PyErr_NoMemory();
    PyBuffer_Release(&data);
    if (status < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *copystream_read(CopyStream *self, PyObject *args)
{
    Py_ssize_t target;
    int status, saved_errno = 0;
    if (!PyArg_ParseTuple(args, "n", &target))
        return NULL;
    if (refuse_while_exported(self) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    status = self->libpq_connection ? read_libpq(self, (size_t)target) : read_socket(self, (size_t)target);
    saved_errno = errno;
    Py_END_ALLOW_THREADS
    switch (status) {
    case FAIL_MEMORY:
        return PyErr_NoMemory();
    case FAIL_FIELDS:
        PyErr_SetString(PyExc_ValueError, "a row has fewer fields than its key needs");
        return NULL;
    case FAIL_EOF:
    case FAIL_LIBPQ:
        PyErr_SetString(PyExc_ConnectionError, "the server closed the connection");
        return NULL;
    case FAIL_STOPPED:
        PyErr_SetString(PyExc_InterruptedError, "stopped");
        return NULL;
    case FAIL_ERRNO:
        errno = saved_errno;
        return PyErr_SetFromErrno(PyExc_ConnectionError);
    case FAIL_PROTOCOL:
        PyErr_SetString(PyExc_ConnectionError, "the server sent something that is not its protocol");
        return NULL;
    default:
        return PyLong_FromLong(status);
    }
}

static PyObject *copystream_stop(CopyStream *self, PyObject *Py_UNUSED(ignored))
{
    self->stopped = 1;
    Py_RETURN_NONE;
}

static PyObject *copystream_get_rows(CopyStream *self, void *Py_UNUSED(c)) { return PyLong_FromUnsignedLongLong(self->tally.rows); }
static PyObject *copystream_get_digest(CopyStream *self, void *Py_UNUSED(c)) { return PyLong_FromUnsignedLongLong(self->tally.digest); }
static PyObject *copystream_get_key_digest(CopyStream *self, void *Py_UNUSED(c)) { return PyLong_FromUnsignedLongLong(self->tally.key_digest); }
static PyObject *copystream_get_length(CopyStream *self, void *Py_UNUSED(c)) { return PyLong_FromSize_t(self->text_length); }
static PyObject *copystream_get_tag(CopyStream *self, void *Py_UNUSED(c)) { return PyUnicode_DecodeLatin1(self->tag, (Py_ssize_t)strlen(self->tag), NULL); }

static PyObject *copystream_get_error(CopyStream *self, void *Py_UNUSED(c))
{
    if (self->error == NULL)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)self->error, (Py_ssize_t)self->error_length);
}

static int copystream_getbuffer(CopyStream *self, Py_buffer *view, int flags)
{
    static unsigned char nothing[1];
    void *start = self->text ? self->text : nothing;
    int status = PyBuffer_FillInfo(view, (PyObject *)self, start, (Py_ssize_t)self->text_length, 1, flags);
    if (status == 0)
        self->exports++;
    return status;
}

static void copystream_releasebuffer(CopyStream *self, Py_buffer *Py_UNUSED(view)) { self->exports--; }

static PyMethodDef copystream_methods[] = {
    {"begin", (PyCFunction)copystream_begin, METH_VARARGS, "begin(key, buckets): a new COPY begins."},
    {"reset", (PyCFunction)copystream_reset, METH_VARARGS, "reset(prefix): a new text begins with these bytes."},
    {"append", (PyCFunction)copystream_append, METH_VARARGS, "append(data): add bytes that are no rows."},
    {"read", (PyCFunction)copystream_read, METH_VARARGS, "read(target): read rows until the text has that many bytes."},
    {"stop", (PyCFunction)copystream_stop, METH_NOARGS, "stop(): end a read in another thread."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef copystream_attributes[] = {
    {"rows", (getter)copystream_get_rows, NULL, "rows since reset", NULL},
    {"digest", (getter)copystream_get_digest, NULL, "sum of the row hashes since reset", NULL},
    {"key_digest", (getter)copystream_get_key_digest, NULL, "sum of the key hashes since reset", NULL},
    {"length", (getter)copystream_get_length, NULL, "bytes of text", NULL},
    {"tag", (getter)copystream_get_tag, NULL, "the last command tag", NULL},
    {"error", (getter)copystream_get_error, NULL, "the server's first error, as it came", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyBufferProcs copystream_buffer = {
    .bf_getbuffer = (getbufferproc)copystream_getbuffer,
    .bf_releasebuffer = (releasebufferproc)copystream_releasebuffer,
};

static PyTypeObject CopyStreamType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "dbtool.rows._rows.CopyStream",
    .tp_doc = "Reads the rows of COPY TO STDOUT from a connection: see pure.py.",
    .tp_basicsize = sizeof(CopyStream),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = copystream_new,
    .tp_dealloc = (destructor)copystream_dealloc,
    .tp_methods = copystream_methods,
    .tp_getset = copystream_attributes,
    .tp_as_buffer = &copystream_buffer,
};

/* ---- functions ----------------------------------------------------------------------------- */

static PyObject *rows_xxh64(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer data;
    unsigned long long seed = 0, hash;
    if (!PyArg_ParseTuple(args, "y*|K", &data, &seed))
        return NULL;
    if (data.len > 65536) {
        Py_BEGIN_ALLOW_THREADS
        hash = xxh64(data.buf, (size_t)data.len, seed);
        Py_END_ALLOW_THREADS
    } else {
        hash = xxh64(data.buf, (size_t)data.len, seed);
    }
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLongLong(hash);
}

static PyObject *rows_tally_lines(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer data;
    PyObject *key;
    Tally tally;
    int status = 0;
    memset(&tally, 0, sizeof(tally));
    if (!PyArg_ParseTuple(args, "y*O!", &data, &PyTuple_Type, &key))
        return NULL;
    if (tally_set_key(&tally, key, MAX_FIELDS, '\t') < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    const unsigned char *position = data.buf, *end = position + data.len;
    while (position < end && status == 0) {
        const unsigned char *newline = memchr(position, '\n', (size_t)(end - position));
        if (newline == NULL) {
            status = FAIL_CUT;
        } else {
            status = tally_row(&tally, position, (size_t)(newline - position));
            position = newline + 1;
        }
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    free(tally.scratch);
    if (status < 0)
        return raise_rows_failure(status);
    return Py_BuildValue("KKK", (unsigned long long)tally.rows, (unsigned long long)tally.digest,
                         (unsigned long long)tally.key_digest);
}

static PyObject *rows_pack_binary(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer text, kinds;
    Py_ssize_t start, limit;
    if (!PyArg_ParseTuple(args, "y*ny*n", &text, &start, &kinds, &limit))
        return NULL;
    PyObject *packed = NULL;
    unsigned char *buffer = NULL;
    size_t capacity = (size_t)limit + FIELD_SLACK, used = 0, columns = (size_t)kinds.len;
    const unsigned char *first = text.buf, *position = first + start, *end = first + text.len;
    int status = start < 0 || start > text.len || limit < 1 ? FAIL_FIELDS : 0;
    Py_BEGIN_ALLOW_THREADS
    if (status == 0 && (buffer = malloc(capacity)) == NULL)
        status = FAIL_MEMORY;
    while (status == 0 && position < end && used < (size_t)limit) {
        const unsigned char *newline = memchr(position, '\n', (size_t)(end - position));
        if (newline == NULL) {
            status = FAIL_FIELDS;
            break;
        }
        size_t wanted = used + (size_t)(newline - position) + columns * LONGEST_BINARY_ADDITION + FIELD_SLACK;
        if (wanted > capacity) {
            unsigned char *grown = realloc(buffer, wanted + wanted / 8);
            if (grown == NULL) {
                status = FAIL_MEMORY;
                break;
            }
            buffer = grown;
            capacity = wanted + wanted / 8;
        }
        Packing packing = {position, newline, buffer + used};
        if (!pack_row(&packing, kinds.buf, columns)) {
            status = FAIL_FIELDS;
            break;
        }
        used = (size_t)(packing.out - buffer);
        position = newline + 1;
    }
    Py_END_ALLOW_THREADS
    if (status == FAIL_MEMORY)
        PyErr_NoMemory();
    else if (status == FAIL_FIELDS)
        PyErr_SetString(PyExc_ValueError, "a row is not in the form that PostgreSQL writes");
    else
        packed = Py_BuildValue("y#n", (const char *)buffer, (Py_ssize_t)used, (Py_ssize_t)(position - first));
    free(buffer);
    PyBuffer_Release(&text);
    PyBuffer_Release(&kinds);
    return packed;
}

static PyMethodDef module_methods[] = {
    {"xxh64", rows_xxh64, METH_VARARGS, "xxh64(data, seed=0): the 64-bit xxHash."},
    {"pack_binary", rows_pack_binary, METH_VARARGS,
     "pack_binary(text, start, kinds, limit): (tuples of COPY's binary format, where the rest of the text begins)."},
    {"tally_lines", rows_tally_lines, METH_VARARGS, "tally_lines(data, key): (rows, digest, key_digest) of COPY text."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT, "_rows", "Rows as bytes: the C part.", -1, module_methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__rows(void)
{
    if (PyType_Ready(&CopyStreamType) < 0)
        return NULL;
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c_locale == (locale_t)0)
        return PyErr_SetFromErrno(PyExc_OSError);
    PyObject *module = PyModule_Create(&module_definition);
    if (module == NULL)
        return NULL;
    Py_INCREF(&CopyStreamType);
    if (PyModule_AddObject(module, "CopyStream", (PyObject *)&CopyStreamType) < 0) {
        Py_DECREF(&CopyStreamType);
        Py_DECREF(module);
        return NULL;
    }
    if (add_packets_to(module) < 0 || add_inserts_to(module) < 0 || add_key_sets_to(module) < 0 ||
        add_key_hashes_to(module) < 0 || add_integers_to(module) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
