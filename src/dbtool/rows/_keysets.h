/* What KeySet and the functions on hashes of keys share. */
#ifndef DBTOOL_KEYSETS_H
#define DBTOOL_KEYSETS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "_keys.h"
#include "_keytable.h"
#include "_reader.h"

typedef struct {
    PyObject_HEAD
    KeyTable table;
    pthread_rwlock_t lock;
} KeySet;

extern PyTypeObject KeySetType; /* _keysets.c */

/* ---- arguments ------------------------------------------------------------------------------ */

static inline int is_insert_format(const char *format)
{
    if (strcmp(format, "copy") == 0 || strcmp(format, "insert") == 0)
        return format[0] == 'i';
    PyErr_SetString(PyExc_ValueError, "the format is copy or insert");
    return -1;
}

/* A reader of (text, key, format), which must be given back to close_reader; NULL with an exception. */
static inline RowReader *open_reader(PyObject *args, Py_buffer *view, PyObject **text)
{
    PyObject *key;
    const char *format;
    if (!PyArg_ParseTuple(args, "OO!s", text, &PyTuple_Type, &key, &format))
        return NULL;
    int is_insert = is_insert_format(format);
    if (is_insert < 0)
        return NULL;
    RowReader *reader = malloc(sizeof(RowReader));
    if (reader == NULL)
        return (RowReader *)PyErr_NoMemory();
    memset(&reader->tally, 0, sizeof(reader->tally));
    memset(&reader->inserts, 0, sizeof(reader->inserts));
    reader->is_insert = is_insert;
    reader->without_hashes = 0;
    int status = tally_set_key(&reader->tally, key, is_insert ? MOST_COLUMNS : MAX_FIELDS, is_insert ? ',' : '\t');
    if (status < 0 || PyObject_GetBuffer(*text, view, PyBUF_SIMPLE) < 0) {
        free(reader);
        return NULL;
    }
    reader->inserts.first = reader->inserts.in = view->buf;
    reader->inserts.end = reader->inserts.first + view->len;
    reader->inserts.starts = reader->starts;
    reader->inserts.ends = reader->ends;
    reader->inserts.last_field = reader->tally.last_key_field;
    return reader;
}

static inline void close_reader(RowReader *reader, Py_buffer *view)
{
    PyBuffer_Release(view);
    free(reader->tally.scratch);
    free(reader);
}

static inline int get_hashes(PyObject *from, Py_buffer *view)
{
    if (PyObject_GetBuffer(from, view, PyBUF_SIMPLE) < 0)
        return -1;
    if (view->len % 8 == 0)
        return 0;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_ValueError, "hashes have 8 bytes each");
    return -1;
}

/* ---- bytes that grow ------------------------------------------------------------------------- */

typedef struct {
    unsigned char *bytes;
    size_t length, capacity;
} Output;

static inline int need(Output *output, size_t length)
{
    if (output->capacity - output->length >= length)
        return 0;
    size_t capacity = output->capacity + output->capacity / 2 + length + 4096;
    unsigned char *grown = realloc(output->bytes, capacity);
    if (grown == NULL)
        return FAIL_MEMORY;
    output->bytes = grown;
    output->capacity = capacity;
    return 0;
}

static inline void put(Output *output, const void *bytes, size_t length)
{
    memcpy(output->bytes + output->length, bytes, length);
    output->length += length;
}

#endif
