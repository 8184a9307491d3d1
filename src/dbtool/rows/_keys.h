/* Keys and buckets, as Python gives them. */
#ifndef DBTOOL_KEYS_H
#define DBTOOL_KEYS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_tally.h"

/* Take key positions (a tuple of ints) into the tally, of rows with so many fields, and what parts
 * the fields in a key's text; -1 with an exception on nonsense. */
static inline int tally_set_key(Tally *tally, PyObject *positions, long fields, unsigned char separator)
{
    Py_ssize_t count = PyTuple_GET_SIZE(positions);
    if (count > MAX_KEY_FIELDS) {
        PyErr_SetString(PyExc_ValueError, "a key has at most 32 fields");
        return -1;
    }
    tally->key_count = (int)count;
    tally->last_key_field = -1;
    tally->key_is_contiguous = 1;
    tally->key_separator = separator;
    for (Py_ssize_t i = 0; i < count; i++) {
        long position = PyLong_AsLong(PyTuple_GET_ITEM(positions, i));
        if (position == -1 && PyErr_Occurred())
            return -1;
        if (position < 0 || position >= fields) {
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

/* The exception for a status below zero that has to do with the text of rows. */
static inline PyObject *raise_rows_failure(int status)
{
    if (status == FAIL_MEMORY)
        return PyErr_NoMemory();
    PyErr_SetString(PyExc_ValueError, status == FAIL_FIELDS ? "a row has fewer fields than its key needs"
                                      : status == FAIL_CUT  ? "the last row has no end"
                                                            : "the text is not made of the archive's INSERT statements");
    return NULL;
}

/* A bucket array's size must be a power of two; its logarithm, or -1 with an exception. */
static inline int bucket_bits_of(Py_ssize_t size_bytes)
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

#endif
