/* insert_to_load, insert_to_parameters and tally_inserts: the C twins of those in pure_packets.py; rows/__init__.py documents them.
 *
 * Everything heavy runs with the GIL released.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_inserts.h"
#include "_keys.h"
#include "_literals.h"
#include "_tally.h"

static PyObject *convert_inserts(PyObject *args, int as_parameters)
{
    Py_buffer text;
    Py_ssize_t start, limit;
    if (!PyArg_ParseTuple(args, "y*nn", &text, &start, &limit))
        return NULL;
    if (start < 0 || start > text.len || limit < 1) {
        PyErr_SetString(PyExc_ValueError, "start or limit is out of range");
        PyBuffer_Release(&text);
        return NULL;
    }
    const unsigned char *first = text.buf;
    Inserts inserts = {.first = first, .in = first + start, .end = first + text.len, .last_field = -1};
    inserts.as_parameters = as_parameters;
    Py_ssize_t rows = 0, left = text.len - start;
    int status = 0;
    PyObject *piece = NULL;
    inserts.capacity = (size_t)(limit < left ? limit : left) + 64;
    Py_BEGIN_ALLOW_THREADS
    inserts.out = malloc(inserts.capacity);
    status = inserts.out == NULL ? FAIL_MEMORY : 0;
    for (; status == 0 && inserts.in < inserts.end && inserts.used < (size_t)limit; rows++)
        status = next_row(&inserts);
    Py_END_ALLOW_THREADS
    if (status < 0)
        raise_rows_failure(status);
    else
        piece = Py_BuildValue("y#nn", (const char *)inserts.out, (Py_ssize_t)inserts.used,
                              (Py_ssize_t)(inserts.in - first), rows);
    free(inserts.out);
    PyBuffer_Release(&text);
    return piece;
}

static PyObject *rows_insert_to_load(PyObject *Py_UNUSED(module), PyObject *args) { return convert_inserts(args, 0); }

static PyObject *rows_insert_to_parameters(PyObject *Py_UNUSED(module), PyObject *args)
{
    return convert_inserts(args, 1);
}

static PyObject *rows_tally_inserts(PyObject *Py_UNUSED(module), PyObject *args)
{
    Py_buffer text;
    PyObject *key;
    Tally tally;
    int status = 0;
    memset(&tally, 0, sizeof(tally));
    if (!PyArg_ParseTuple(args, "y*O!", &text, &PyTuple_Type, &key))
        return NULL;
    if (tally_set_key(&tally, key, MOST_COLUMNS, ',') < 0) {
        PyBuffer_Release(&text);
        return NULL;
    }
    size_t starts[MOST_COLUMNS], ends[MOST_COLUMNS];
    const unsigned char *first = text.buf;
    Inserts inserts = {.first = first, .in = first, .end = first + text.len, .starts = starts, .ends = ends};
    inserts.last_field = tally.key_count ? tally.last_key_field : -1;
    Py_BEGIN_ALLOW_THREADS
    while (status == 0 && inserts.in < inserts.end) {
        status = next_row(&inserts);
        if (status == 0 && inserts.last_field >= inserts.fields)
            status = FAIL_FIELDS;
        if (status == 0)
            status = tally_fields(&tally, inserts.row, (size_t)(inserts.row_end - inserts.row), starts, ends);
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&text);
    free(tally.scratch);
    if (status < 0)
        return raise_rows_failure(status);
    return Py_BuildValue("KKK", (unsigned long long)tally.rows, (unsigned long long)tally.digest,
                         (unsigned long long)tally.key_digest);
}

static PyMethodDef insert_functions[] = {
    {"insert_to_load", rows_insert_to_load, METH_VARARGS,
     "insert_to_load(text, start, limit): (LOAD DATA text, where the rest of the statements begins, rows)."},
    {"insert_to_parameters", rows_insert_to_parameters, METH_VARARGS,
     "insert_to_parameters(text, start, limit): (parameters of rows, where the rest of the statements begins, rows)."},
    {"tally_inserts", rows_tally_inserts, METH_VARARGS,
     "tally_inserts(text, key): (rows, digest, key_digest) of INSERT statements."},
    {NULL, NULL, 0, NULL},
};

int add_inserts_to(PyObject *module);

int add_inserts_to(PyObject *module) { return PyModule_AddFunctions(module, insert_functions); }
