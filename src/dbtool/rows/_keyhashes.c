/* key_hashes, difference and partition: the C twins of those in pure_keys.py; rows/__init__.py
 * documents them.
 *
 * Everything heavy runs with the GIL released.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_keysets.h"

#define MOST_PARTITION_BITS 16

static PyObject *rows_key_hashes(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer view;
    PyObject *text, *hashes = NULL;
    RowReader *reader = open_reader(args, &view, &text);
    if (reader == NULL)
        return NULL;
    Output output = {0};
    int count;
    Py_BEGIN_ALLOW_THREADS
    while ((count = read_rows(reader, NULL)) > 0) {
        if (need(&output, BATCH_ROWS * 8) < 0) {
            count = FAIL_MEMORY;
            break;
        }
        for (int i = 0; i < count; i++)
            put(&output, &reader->rows[i].key_hash, 8);
    }
    Py_END_ALLOW_THREADS
    if (count < 0)
        raise_rows_failure(count);
    else
        hashes = PyBytes_FromStringAndSize((const char *)output.bytes, (Py_ssize_t)output.length);
    free(output.bytes);
    close_reader(reader, &view);
    return hashes;
}

static PyObject *rows_difference(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *from;
    KeySet *set;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "OO!", &from, &KeySetType, &set) || get_hashes(from, &view) < 0)
        return NULL;
    PyObject *result = PyBytes_FromStringAndSize(NULL, view.len);
    if (result != NULL) {
        const unsigned char *hashes = view.buf;
        unsigned char *out = (unsigned char *)PyBytes_AS_STRING(result);
        size_t count = (size_t)view.len / 8, used = 0;
        Py_BEGIN_ALLOW_THREADS
        pthread_rwlock_rdlock(&set->lock);
        for (size_t i = 0; i < count; i++) {
            uint64_t hash, ahead;
            if (i + AHEAD < count) {
                memcpy(&ahead, hashes + 8 * (i + AHEAD), 8);
                fetch_line(&set->table, ahead);
            }
            memcpy(&hash, hashes + 8 * i, 8);
            memcpy(out + used, &hash, 8);
            used += has_hash(&set->table, hash) ? 0 : 8;
        }
        pthread_rwlock_unlock(&set->lock);
        Py_END_ALLOW_THREADS
        _PyBytes_Resize(&result, (Py_ssize_t)used);
    }
    PyBuffer_Release(&view);
    return result;
}

static PyObject *rows_partition(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *from;
    int bits;
    Py_buffer view;
    if (!PyArg_ParseTuple(args, "Oi", &from, &bits))
        return NULL;
    if (bits < 0 || bits > MOST_PARTITION_BITS) {
        PyErr_SetString(PyExc_ValueError, "a partition has 0 to 16 bits");
        return NULL;
    }
    if (get_hashes(from, &view) < 0)
        return NULL;
    const unsigned char *hashes = view.buf;
    size_t count = (size_t)view.len / 8, parts = (size_t)1 << bits;
    unsigned char **ends = calloc(parts, sizeof(*ends));
    size_t *sizes = calloc(parts, sizeof(*sizes));
    PyObject *result = ends == NULL || sizes == NULL ? PyErr_NoMemory() : PyList_New((Py_ssize_t)parts);
    if (result == NULL)
        goto done;
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < count; i++) {
        uint64_t hash;
        memcpy(&hash, hashes + 8 * i, 8);
        sizes[bits ? hash >> (64 - bits) : 0]++;
    }
    Py_END_ALLOW_THREADS
    for (size_t part = 0; part < parts; part++) {
        PyObject *piece = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)sizes[part] * 8);
        if (piece == NULL) {
            Py_CLEAR(result);
            goto done;
        }
        ends[part] = (unsigned char *)PyBytes_AS_STRING(piece);
        PyList_SET_ITEM(result, (Py_ssize_t)part, piece);
    }
    Py_BEGIN_ALLOW_THREADS
    for (size_t i = 0; i < count; i++) {
        uint64_t hash;
        memcpy(&hash, hashes + 8 * i, 8);
        unsigned char **end = &ends[bits ? hash >> (64 - bits) : 0];
        memcpy(*end, &hash, 8);
        *end += 8;
    }
    Py_END_ALLOW_THREADS
done:
    free(ends);
    free(sizes);
    PyBuffer_Release(&view);
    return result;
}

static PyMethodDef key_functions[] = {
    {"key_hashes", rows_key_hashes, METH_VARARGS, "key_hashes(text, key, format): the hashes of the rows' keys."},
    {"difference", rows_difference, METH_VARARGS, "difference(hashes, set): those that are not in the set."},
    {"partition", rows_partition, METH_VARARGS, "partition(hashes, bits): the hashes, by their highest bits."},
    {NULL, NULL, 0, NULL},
};

int add_key_hashes_to(PyObject *module);

int add_key_hashes_to(PyObject *module) { return PyModule_AddFunctions(module, key_functions); }
