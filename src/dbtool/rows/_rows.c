/* Rows as bytes, at memory speed: the C twin of pure.py, which documents every function.
 *
 * CopyStream reads the rows of a COPY TO STDOUT straight from the connection's socket (or, where
 * TLS stands in between, through libpq's own PQgetCopyData), appends them to one growing text
 * buffer, and counts and digests them on the way. Everything heavy runs with the GIL released.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* ---- XXH64, from its published specification ------------------------------------------- */

#define PRIME1 0x9E3779B185EBCA87ULL
#define PRIME2 0xC2B2AE3D27D4EB4FULL
#define PRIME3 0x165667B19E3779F9ULL
#define PRIME4 0x85EBCA77C2B2AE63ULL
#define PRIME5 0x27D4EB2F165667C5ULL

static inline uint64_t rotate_left(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static inline uint64_t load64(const unsigned char *p)
{
    uint64_t value;
    memcpy(&value, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline uint32_t load32(const unsigned char *p)
{
    uint32_t value;
    memcpy(&value, p, 4);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline uint64_t xxh_round(uint64_t lane, uint64_t input)
{
    return rotate_left(lane + input * PRIME2, 31) * PRIME1;
}

static inline uint64_t xxh_merge(uint64_t hash, uint64_t lane)
{
    return (hash ^ xxh_round(0, lane)) * PRIME1 + PRIME4;
}

static uint64_t xxh64(const unsigned char *p, size_t length, uint64_t seed)
{
    const unsigned char *end = p + length;
    uint64_t hash;
    if (length >= 32) {
        uint64_t lane1 = seed + PRIME1 + PRIME2, lane2 = seed + PRIME2, lane3 = seed, lane4 = seed - PRIME1;
        const unsigned char *last = end - 32;
        do {
            lane1 = xxh_round(lane1, load64(p));
            lane2 = xxh_round(lane2, load64(p + 8));
            lane3 = xxh_round(lane3, load64(p + 16));
            lane4 = xxh_round(lane4, load64(p + 24));
            p += 32;
        } while (p <= last);
        hash = rotate_left(lane1, 1) + rotate_left(lane2, 7) + rotate_left(lane3, 12) + rotate_left(lane4, 18);
        hash = xxh_merge(hash, lane1);
        hash = xxh_merge(hash, lane2);
        hash = xxh_merge(hash, lane3);
        hash = xxh_merge(hash, lane4);
    } else {
        hash = seed + PRIME5;
    }
    hash += (uint64_t)length;
    for (; end - p >= 8; p += 8)
        hash = rotate_left(hash ^ xxh_round(0, load64(p)), 27) * PRIME1 + PRIME4;
    if (end - p >= 4) {
        hash = rotate_left(hash ^ (uint64_t)load32(p) * PRIME1, 23) * PRIME2 + PRIME3;
        p += 4;
    }
    for (; p < end; p++)
        hash = rotate_left(hash ^ *p * PRIME5, 11) * PRIME1;
    hash ^= hash >> 33;
    hash *= PRIME2;
    hash ^= hash >> 29;
    hash *= PRIME3;
    hash ^= hash >> 32;
    return hash;
}

/* ---- what is known of rows -------------------------------------------------------------- */

#define MAX_KEY_FIELDS 32

typedef struct {
    uint64_t rows, digest, key_digest;
    int key_count;
    int key_fields[MAX_KEY_FIELDS]; /* positions in the row, in the key's order */
    int last_key_field;
    int key_is_contiguous;          /* then the key's text is a slice of the row */
    uint64_t *buckets;              /* shared between threads: added to atomically */
    int bucket_bits;
    unsigned char *scratch;         /* the text of a key that is no slice of its row */
    size_t scratch_capacity;
} Tally;

/* Digest one row, given without its newline. Returns -1 if memory runs out, -2 if fields lack. */
static int tally_row(Tally *tally, const unsigned char *row, size_t length)
{
    tally->rows++;
    tally->digest += xxh64(row, length, 0);
    if (tally->key_count == 0)
        return 0;
    size_t starts[1664], ends[1664]; /* a PostgreSQL result has at most 1,664 columns */
    size_t position = 0;
    for (int field = 0; field <= tally->last_key_field; field++) {
        const unsigned char *tab = memchr(row + position, '\t', length - position);
        starts[field] = position;
        if (tab == NULL) {
            if (field < tally->last_key_field)
                return -2;
            ends[field] = length;
        } else {
            ends[field] = (size_t)(tab - row);
            position = ends[field] + 1;
        }
    }
    uint64_t hash;
    if (tally->key_is_contiguous) {
        size_t start = starts[tally->key_fields[0]];
        hash = xxh64(row + start, ends[tally->last_key_field] - start, 0);
    } else {
        if (tally->scratch_capacity < length + MAX_KEY_FIELDS) {
            unsigned char *grown = realloc(tally->scratch, length + MAX_KEY_FIELDS);
            if (grown == NULL)
                return -1;
            tally->scratch = grown;
            tally->scratch_capacity = length + MAX_KEY_FIELDS;
        }
        size_t used = 0;
        for (int i = 0; i < tally->key_count; i++) {
            size_t start = starts[tally->key_fields[i]], size = ends[tally->key_fields[i]] - start;
            if (i > 0)
                tally->scratch[used++] = '\t';
            memcpy(tally->scratch + used, row + start, size);
            used += size;
        }
        hash = xxh64(tally->scratch, used, 0);
    }
    tally->key_digest += hash;
    if (tally->buckets != NULL) {
        size_t bucket = tally->bucket_bits == 0 ? 0 : (size_t)(hash >> (64 - tally->bucket_bits));
        __atomic_fetch_add(&tally->buckets[bucket], hash, __ATOMIC_RELAXED);
    }
    return 0;
}

/* Take key positions (a tuple of ints) into the tally; -1 with an exception on nonsense. */
static int tally_set_key(Tally *tally, PyObject *positions)
{
    Py_ssize_t count = PyTuple_GET_SIZE(positions);
    if (count > MAX_KEY_FIELDS) {
        PyErr_SetString(PyExc_ValueError, "a key has at most 32 fields");
        return -1;
    }
    tally->key_count = (int)count;
    tally->last_key_field = -1;
    tally->key_is_contiguous = 1;
    for (Py_ssize_t i = 0; i < count; i++) {
        long position = PyLong_AsLong(PyTuple_GET_ITEM(positions, i));
        if (position == -1 && PyErr_Occurred())
            return -1;
        if (position < 0 || position >= 1664) {
            PyErr_SetString(PyExc_ValueError, "a key field's position is out of range");
            return -1;
        }
        tally->key_fields[i] = (int)position;
        if (i > 0 && position != tally->key_fields[i - 1] + 1)
            tally->key_is_contiguous = 0;
        if (position > tally->last_key_field)
            tally->last_key_field = (int)position;
    }
    return 0;
}

/* A bucket array's size must be a power of two; its logarithm, or -1 with an exception. */
static int bucket_bits_of(Py_ssize_t size_bytes)
{
    Py_ssize_t count = size_bytes / 8;
    int bits = 0;
    while (((Py_ssize_t)1 << bits) < count)
        bits++;
    if (size_bytes < 8 || size_bytes % 8 || ((Py_ssize_t)1 << bits) != count) {
        PyErr_SetString(PyExc_ValueError, "buckets must hold a power of two of 8-byte sums");
        return -1;
    }
    return bits;
}

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
    volatile int stopped;
    unsigned char *error;
    size_t error_length;
    char tag[64];
} CopyStream;

enum { DONE = 0, MORE = 1, SERVER_ERROR = 2 };
enum { FAIL_MEMORY = -1, FAIL_FIELDS = -2, FAIL_EOF = -3, FAIL_STOPPED = -4, FAIL_ERRNO = -5, FAIL_PROTOCOL = -6,
       FAIL_LIBPQ = -7 };

#define INPUT_CAPACITY (256 * 1024)
#define POLL_MILLISECONDS 200
/* In the middle of a large COPY, rather wait a little and find much than wake up for each 8 KiB
 * that the server sends: waking costs both sides more than the bytes do. */
#define BULK_BYTES (1024 * 1024)
#define BULK_PAUSE_NANOSECONDS 150000

static int append_text(CopyStream *self, const unsigned char *data, size_t length)
{
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
            unsigned char *grown = realloc(self->input, wanted);
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
        case 'd':
            status = take_row(self, payload, length);
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
        case 'H': case 'c': case 'N': case 'S': case 'A': case 'T': case 'D': case 'I':
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
        self->input = malloc(INPUT_CAPACITY);
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
    if (tally_set_key(&self->tally, key) < 0)
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
    if (tally_set_key(&tally, key) < 0) {
        PyBuffer_Release(&data);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    const unsigned char *position = data.buf, *end = position + data.len;
    while (position < end && status == 0) {
        const unsigned char *newline = memchr(position, '\n', (size_t)(end - position));
        if (newline == NULL) {
            status = FAIL_PROTOCOL;
        } else {
            status = tally_row(&tally, position, (size_t)(newline - position));
            position = newline + 1;
        }
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    free(tally.scratch);
    if (status == FAIL_MEMORY)
        return PyErr_NoMemory();
    if (status != 0) {
        PyErr_SetString(PyExc_ValueError, status == FAIL_PROTOCOL ? "the last row has no end"
                                                                  : "a row has fewer fields than its key needs");
        return NULL;
    }
    return Py_BuildValue("KKK", (unsigned long long)tally.rows, (unsigned long long)tally.digest,
                         (unsigned long long)tally.key_digest);
}

static PyMethodDef module_methods[] = {
    {"xxh64", rows_xxh64, METH_VARARGS, "xxh64(data, seed=0): the 64-bit xxHash."},
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
    PyObject *module = PyModule_Create(&module_definition);
    if (module == NULL)
        return NULL;
    Py_INCREF(&CopyStreamType);
    if (PyModule_AddObject(module, "CopyStream", (PyObject *)&CopyStreamType) < 0) {
        Py_DECREF(&CopyStreamType);
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
