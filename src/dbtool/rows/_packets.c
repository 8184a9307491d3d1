/* PacketStream: the C twin of that in pure_packets.py, which documents it.
 *
 * Everything heavy runs with the GIL released.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_keys.h"
#include "_packets.h"
#include "_tally.h"

typedef struct {
    PyObject_HEAD
    Packets packets;
    PyObject *input; /* a bytearray; input_view keeps its memory where it is */
    Py_buffer input_view, bucket_view;
    int has_input_view, has_bucket_view, is_at_work;
    Py_ssize_t exports;
} PacketStream;

static PyObject *packetstream_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
    if (!PyArg_ParseTuple(args, ""))
        return NULL;
    PacketStream *self = (PacketStream *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->packets.failure = FAIL_NOT_BEGUN;
    self->input = PyByteArray_FromStringAndSize(NULL, PACKET_INPUT + PACKET_SLACK);
    if (self->input == NULL || PyObject_GetBuffer(self->input, &self->input_view, PyBUF_WRITABLE) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->has_input_view = 1;
    self->packets.input = self->input_view.buf;
    memset(self->packets.input, 0, PACKET_INPUT + PACKET_SLACK);
    return (PyObject *)self;
}

static void packetstream_drop_buckets(PacketStream *self)
{
    if (self->has_bucket_view)
        PyBuffer_Release(&self->bucket_view);
    self->has_bucket_view = 0;
    self->packets.tally.buckets = NULL;
}

static void packetstream_dealloc(PacketStream *self)
{
    packetstream_drop_buckets(self);
    if (self->has_input_view)
        PyBuffer_Release(&self->input_view);
    Py_XDECREF(self->input);
    free(self->packets.text);
    free(self->packets.prefix);
    free(self->packets.error);
    free(self->packets.tally.scratch);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

/* -1 with an exception while something else has its hands on the stream. */
static int refuse_in_use(PacketStream *self)
{
    if (self->is_at_work) {
        PyErr_SetString(PyExc_RuntimeError, "the stream is at work in another thread");
        return -1;
    }
    if (self->exports > 0) {
        PyErr_SetString(PyExc_BufferError, "the text is still in use");
        return -1;
    }
    return 0;
}

static int set_kinds(Packets *packets, const Py_buffer *kinds)
{
    const unsigned char *letters = kinds->buf;
    int is_valid = kinds->len >= 1 && kinds->len <= MOST_COLUMNS;
    for (Py_ssize_t i = 0; is_valid && i < kinds->len; i++)
        is_valid = letters[i] == 'n' || letters[i] == 's' || letters[i] == 'j';
    if (!is_valid) {
        PyErr_SetString(PyExc_ValueError, "the kinds of columns are n, s and j, for 1 to 4096 columns");
        return -1;
    }
    memcpy(packets->kinds, letters, (size_t)kinds->len);
    packets->column_count = (int)kinds->len;
    return 0;
}

static int set_prefix(Packets *packets, const Py_buffer *prefix)
{
    unsigned char *grown = realloc(packets->prefix, (size_t)prefix->len + 1);
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(grown, prefix->buf, (size_t)prefix->len);
    packets->prefix = grown;
    packets->prefix_length = (size_t)prefix->len;
    return 0;
}

static int set_buckets(PacketStream *self, PyObject *buckets)
{
    if (buckets == Py_None)
        return 0;
    if (PyObject_GetBuffer(buckets, &self->bucket_view, PyBUF_WRITABLE) < 0)
        return -1;
    self->has_bucket_view = 1;
    int bits = bucket_bits_of(self->bucket_view.len);
    if (bits < 0) {
        packetstream_drop_buckets(self);
        return -1;
    }
    self->packets.tally.buckets = self->bucket_view.buf;
    self->packets.tally.bucket_bits = bits;
    return 0;
}

static void clear_text(Packets *packets)
{
    packets->text_length = 0;
    packets->statement_is_open = 0;
    packets->tally.rows = packets->tally.digest = packets->tally.key_digest = 0;
}

static PyObject *packetstream_begin(PacketStream *self, PyObject *args)
{
    Packets *packets = &self->packets;
    Py_buffer kinds, prefix;
    PyObject *key, *buckets;
    Py_ssize_t statement_bytes;
    if (!PyArg_ParseTuple(args, "y*O!Oy*n", &kinds, &PyTuple_Type, &key, &buckets, &prefix, &statement_bytes))
        return NULL;
    int status = refuse_in_use(self);
    if (status == 0) {
        packets->failure = FAIL_NOT_BEGUN;
        packetstream_drop_buckets(self);
        status = set_kinds(packets, &kinds);
    }
    if (status == 0)
        status = tally_set_key(&packets->tally, key, packets->column_count, ',');
    if (status == 0 && statement_bytes < 0) {
        PyErr_SetString(PyExc_ValueError, "a statement cannot have less than no bytes");
        status = -1;
    }
    if (status == 0)
        status = set_buckets(self, buckets);
    if (status == 0)
        status = set_prefix(packets, &prefix);
    PyBuffer_Release(&kinds);
    PyBuffer_Release(&prefix);
    if (status < 0)
        return NULL;
    packets->statement_bytes = (size_t)statement_bytes;
    packets->input_start = packets->input_end = 0;
    packets->phase = AT_HEAD;
    packets->sequence = -1;
    packets->in_long_row = 0;
    packets->warnings = 0;
    free(packets->error);
    packets->error = NULL;
    packets->failure = 0;
    clear_text(packets);
    Py_RETURN_NONE;
}

static PyObject *packetstream_input(PacketStream *self, PyObject *args)
{
    Packets *packets = &self->packets;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(args, "n", &size))
        return NULL;
    if (refuse_in_use(self) < 0)
        return NULL;
    if (packets->input_start > 0) {
        packets->input_end -= packets->input_start;
        memmove(packets->input, packets->input + packets->input_start, packets->input_end);
        packets->input_start = 0;
    }
    Py_ssize_t room = (Py_ssize_t)(PACKET_INPUT - packets->input_end);
    if (room == 0) {
        PyErr_SetString(PyExc_BufferError, "what has arrived must be worked on first");
        return NULL;
    }
    size = size < 1 ? 1 : size < room ? size : room;
    PyObject *view = PyMemoryView_FromObject(self->input);
    if (view == NULL)
        return NULL;
    PyObject *part = PySequence_GetSlice(view, (Py_ssize_t)packets->input_end, (Py_ssize_t)packets->input_end + size);
    Py_DECREF(view);
    return part;
}

static PyObject *packetstream_take(PacketStream *self, PyObject *args)
{
    Py_ssize_t count;
    if (!PyArg_ParseTuple(args, "n", &count))
        return NULL;
    if (refuse_in_use(self) < 0)
        return NULL;
    if (count < 0 || (size_t)count > PACKET_INPUT - self->packets.input_end) {
        PyErr_SetString(PyExc_ValueError, "more was taken than there was room for");
        return NULL;
    }
    self->packets.input_end += (size_t)count;
    Py_RETURN_NONE;
}

static PyObject *raise_packet_failure(int failure)
{
    const char *message = "the server sent something that is not its protocol";
    if (failure == FAIL_MEMORY)
        return PyErr_NoMemory();
    if (failure == FAIL_COLUMNS)
        message = "the server sent other columns than were asked for";
    else if (failure == FAIL_NUMBER)
        message = "the server sent a number that is none";
    else if (failure == FAIL_OVER)
        message = "the query's answer is over";
    else if (failure == FAIL_NOT_BEGUN)
        message = "no query has been sent";
    PyErr_SetString(PyExc_ConnectionError, message);
    return NULL;
}

static PyObject *packetstream_advance(PacketStream *self, PyObject *args)
{
    Py_ssize_t target;
    int status;
    if (!PyArg_ParseTuple(args, "n", &target))
        return NULL;
    if (refuse_in_use(self) < 0)
        return NULL;
    if (self->packets.failure < 0)
        return raise_packet_failure(self->packets.failure);
    self->is_at_work = 1;
    Py_BEGIN_ALLOW_THREADS
    status = advance_packets(&self->packets, target < 0 ? 0 : (size_t)target);
    Py_END_ALLOW_THREADS
    self->is_at_work = 0;
    if (status < 0) {
        self->packets.failure = status;
        return raise_packet_failure(status);
    }
    return PyLong_FromLong(status);
}

static PyObject *packetstream_put(PacketStream *self, PyObject *args, int is_new)
{
    Py_buffer data = {.buf = NULL, .len = 0};
    if (!PyArg_ParseTuple(args, is_new ? "|y*" : "y*", &data))
        return NULL;
    int status = refuse_in_use(self);
    if (status == 0 && self->packets.in_long_row) {
        PyErr_SetString(PyExc_ValueError, "a row is not complete yet");
        status = -1;
    }
    if (status == 0 && !is_new && self->packets.statement_is_open) {
        PyErr_SetString(PyExc_ValueError, "a statement is still open");
        status = -1;
    }
    if (status == 0 && is_new)
        clear_text(&self->packets);
    if (status == 0 && (status = put_packet_text(&self->packets, data.buf, (size_t)data.len)) < 0)
        PyErr_NoMemory();
    if (data.obj != NULL)
        PyBuffer_Release(&data);
    if (status < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *packetstream_reset(PacketStream *self, PyObject *args) { return packetstream_put(self, args, 1); }

static PyObject *packetstream_append(PacketStream *self, PyObject *args) { return packetstream_put(self, args, 0); }

static PyObject *packetstream_finish_text(PacketStream *self, PyObject *Py_UNUSED(ignored))
{
    if (refuse_in_use(self) < 0)
        return NULL;
    if (self->packets.in_long_row) {
        PyErr_SetString(PyExc_ValueError, "a row is not complete yet");
        return NULL;
    }
    if (finish_statement(&self->packets) < 0)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *packetstream_get_rows(PacketStream *self, void *Py_UNUSED(c))
{
    return PyLong_FromUnsignedLongLong(self->packets.tally.rows);
}

static PyObject *packetstream_get_digest(PacketStream *self, void *Py_UNUSED(c))
{
    return PyLong_FromUnsignedLongLong(self->packets.tally.digest);
}

static PyObject *packetstream_get_key_digest(PacketStream *self, void *Py_UNUSED(c))
{
    return PyLong_FromUnsignedLongLong(self->packets.tally.key_digest);
}

static PyObject *packetstream_get_length(PacketStream *self, void *Py_UNUSED(c))
{
    return PyLong_FromSize_t(self->packets.text_length);
}

static PyObject *packetstream_get_warnings(PacketStream *self, void *Py_UNUSED(c))
{
    return PyLong_FromUnsignedLong(self->packets.warnings);
}

static PyObject *packetstream_get_error(PacketStream *self, void *Py_UNUSED(c))
{
    if (self->packets.error == NULL)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)self->packets.error, (Py_ssize_t)self->packets.error_length);
}

static int packetstream_getbuffer(PacketStream *self, Py_buffer *view, int flags)
{
    static unsigned char nothing[1];
    if (self->is_at_work) {
        view->obj = NULL;
        PyErr_SetString(PyExc_BufferError, "the stream is at work in another thread");
        return -1;
    }
    void *start = self->packets.text ? self->packets.text : nothing;
    int status = PyBuffer_FillInfo(view, (PyObject *)self, start, (Py_ssize_t)self->packets.text_length, 1, flags);
    if (status == 0)
        self->exports++;
    return status;
}

static void packetstream_releasebuffer(PacketStream *self, Py_buffer *Py_UNUSED(view)) { self->exports--; }

static PyMethodDef packetstream_methods[] = {
    {"begin", (PyCFunction)packetstream_begin, METH_VARARGS,
     "begin(kinds, key, buckets, prefix, statement_bytes): the answer to a query begins."},
    {"input", (PyCFunction)packetstream_input, METH_VARARGS, "input(size): room for what arrives."},
    {"take", (PyCFunction)packetstream_take, METH_VARARGS, "take(count): so many bytes have arrived there."},
    {"advance", (PyCFunction)packetstream_advance, METH_VARARGS, "advance(target): work until the text has that many bytes."},
    {"reset", (PyCFunction)packetstream_reset, METH_VARARGS, "reset(head=b''): a new text begins with these bytes."},
    {"append", (PyCFunction)packetstream_append, METH_VARARGS, "append(data): add bytes that are no rows."},
    {"finish_text", (PyCFunction)packetstream_finish_text, METH_NOARGS, "finish_text(): end the statement that is open."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef packetstream_attributes[] = {
    {"rows", (getter)packetstream_get_rows, NULL, "rows since reset", NULL},
    {"digest", (getter)packetstream_get_digest, NULL, "sum of the row hashes since reset", NULL},
    {"key_digest", (getter)packetstream_get_key_digest, NULL, "sum of the key hashes since reset", NULL},
    {"length", (getter)packetstream_get_length, NULL, "bytes of text", NULL},
    {"warnings", (getter)packetstream_get_warnings, NULL, "how many warnings the query had", NULL},
    {"error", (getter)packetstream_get_error, NULL, "the server's error packet, as it came", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyBufferProcs packetstream_buffer = {
    .bf_getbuffer = (getbufferproc)packetstream_getbuffer,
    .bf_releasebuffer = (releasebufferproc)packetstream_releasebuffer,
};

static PyTypeObject PacketStreamType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "dbtool.rows._rows.PacketStream",
    .tp_doc = "Turns the packets that answer a MySQL query into INSERT statements: see pure_packets.py.",
    .tp_basicsize = sizeof(PacketStream),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = packetstream_new,
    .tp_dealloc = (destructor)packetstream_dealloc,
    .tp_methods = packetstream_methods,
    .tp_getset = packetstream_attributes,
    .tp_as_buffer = &packetstream_buffer,
};

int add_packets_to(PyObject *module);

int add_packets_to(PyObject *module)
{
    if (PyType_Ready(&PacketStreamType) < 0)
        return -1;
    Py_INCREF(&PacketStreamType);
    if (PyModule_AddObject(module, "PacketStream", (PyObject *)&PacketStreamType) < 0) {
        Py_DECREF(&PacketStreamType);
        return -1;
    }
    return 0;
}
