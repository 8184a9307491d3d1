/* pack_integers and unpack_integers: the C twins of those in pure_integers.py; rows/__init__.py
 * documents them.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#include "_keysets.h"

#define LONGEST_INTEGER 20 /* digits and a sign, of 64 bits */
#define LONGEST_PACKED 10

/* A 64-bit integer as a server prints it; 0 if that is not what stands there. */
static int take_integer(const unsigned char *in, size_t length, int64_t *value)
{
    int is_negative = length > 0 && in[0] == '-';
    size_t at = (size_t)is_negative;
    uint64_t number = 0, most = (uint64_t)INT64_MAX + (uint64_t)is_negative;
    if (at == length || length > LONGEST_INTEGER || (in[at] == '0' && (is_negative || length > 1)))
        return 0;
    for (; at < length; at++) {
        unsigned digit = (unsigned)in[at] - '0';
        if (digit > 9 || number > (most - digit) / 10)
            return 0;
        number = number * 10 + digit;
    }
    *value = (int64_t)(is_negative ? 0 - number : number);
    return 1;
}

static size_t put_integer(unsigned char *out, int64_t value)
{
    unsigned char digits[LONGEST_INTEGER];
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    size_t count = 0, length = 0;
    do
        digits[count++] = (unsigned char)('0' + left % 10);
    while ((left /= 10) != 0);
    if (value < 0)
        out[length++] = '-';
    while (count > 0)
        out[length++] = digits[--count];
    return length;
}

static PyObject *rows_pack_integers(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer view;
    PyObject *text, *packed = NULL;
    RowReader *reader = open_reader(args, &view, &text);
    if (reader == NULL)
        return NULL;
    reader->without_hashes = 1;
    Output output = {0};
    uint64_t before = 0;
    int count, is_integer = 1;
    Py_BEGIN_ALLOW_THREADS
    while (is_integer && (count = read_rows(reader, NULL)) > 0) {
        if (need(&output, BATCH_ROWS * LONGEST_PACKED) < 0) {
            count = FAIL_MEMORY;
            break;
        }
        for (int i = 0; i < count && is_integer; i++) {
            int64_t value;
            is_integer = take_integer(reader->rows[i].key, reader->rows[i].key_length, &value);
            if (!is_integer)
                break;
            uint64_t step = (uint64_t)value - before;
            before = (uint64_t)value;
            for (step = (step << 1) ^ (0 - (step >> 63)); step >= 0x80; step >>= 7)
                output.bytes[output.length++] = (unsigned char)(step | 0x80);
            output.bytes[output.length++] = (unsigned char)step;
        }
    }
    Py_END_ALLOW_THREADS
    if (!is_integer)
        packed = Py_NewRef(Py_None);
    else if (count < 0)
        raise_rows_failure(count);
    else
        packed = PyBytes_FromStringAndSize((const char *)output.bytes, (Py_ssize_t)output.length);
    free(output.bytes);
    close_reader(reader, &view);
    return packed;
}

static PyObject *rows_unpack_integers(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "y*", &view))
        return NULL;
    const unsigned char *in = view.buf, *end = in + view.len;
    Output output = {0};
    uint64_t value = 0;
    int status = 0;
    Py_BEGIN_ALLOW_THREADS
    while (in < end && status == 0) {
        uint64_t step = 0;
        int shift = 0;
        do {
            if (in == end || shift > 63)
                status = FAIL_CUT;
            else
                step |= (uint64_t)(*in & 0x7F) << shift;
            shift += 7;
        } while (status == 0 && *in++ & 0x80);
        if (status == 0)
            status = need(&output, LONGEST_INTEGER + 1);
        if (status < 0)
            break;
        value += (step >> 1) ^ (0 - (step & 1));
        output.length += put_integer(output.bytes + output.length, (int64_t)value);
        output.bytes[output.length++] = '\n';
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    PyObject *lines = NULL;
    if (status == FAIL_CUT)
        PyErr_SetString(PyExc_ValueError, "the packed numbers are cut off");
    else if (status < 0)
        raise_rows_failure(status);
    else
        lines = PyBytes_FromStringAndSize((const char *)output.bytes, (Py_ssize_t)output.length);
    free(output.bytes);
    return lines;
}

static PyMethodDef integer_functions[] = {
    {"pack_integers", rows_pack_integers, METH_VARARGS, "pack_integers(text, key, format): the rows' integer keys, packed."},
    {"unpack_integers", rows_unpack_integers, METH_VARARGS, "unpack_integers(packed): the keys, a line each."},
    {NULL, NULL, 0, NULL},
};

int add_integers_to(PyObject *module);

int add_integers_to(PyObject *module) { return PyModule_AddFunctions(module, integer_functions); }
