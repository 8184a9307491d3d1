/* insert_to_load, insert_to_parameters and tally_inserts: the C twins of those in pure_packets.py; rows/__init__.py documents them.
 *
 * Everything heavy runs with the GIL released.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_keys.h"
#include "_literals.h"
#include "_tally.h"

enum { FAIL_TEXT = -3 }; /* beside those of _tally.h */

typedef struct {
    const unsigned char *first, *in, *end; /* the whole text, and how far it is read */
    const unsigned char *row, *row_end;    /* of the row that was read last, what is between its parentheses */
    size_t *starts, *ends;                 /* in the row, of the fields up to last_field */
    long last_field, fields;               /* the row has so many */
    unsigned char *out; /* the row as a line of LOAD DATA text or as parameters, where that is wanted */
    int as_parameters;
    size_t used, capacity;
} Inserts;

static int make_room(Inserts *s, size_t length)
{
    if (s->capacity - s->used < length) {
        size_t capacity = s->capacity + s->capacity / 2 + length;
        unsigned char *grown = realloc(s->out, capacity);
        if (grown == NULL)
            return FAIL_MEMORY;
        s->out = grown;
        s->capacity = capacity;
    }
    return 0;
}

/* The byte behind the backslash, as what it stands for. */
static unsigned char unescaped(unsigned char letter)
{
    switch (letter) {
    case '0': return 0;
    case 't': return '\t';
    case 'n': return '\n';
    case 'r': return '\r';
    case 'Z': return 26;
    default: return letter; /* the quote, and the backslash itself */
    }
}

/* A byte that says whether it is NULL, the length as the protocol encodes it, the bytes. */
static int put_parameter(Inserts *s, const Literal *literal)
{
    const unsigned char *in = literal->start, *end = literal->end, *escape;
    if (make_room(s, (literal->is_null ? 0 : (size_t)(end - in)) + 10) < 0)
        return FAIL_MEMORY;
    unsigned char *out = s->out + s->used;
    *out++ = literal->is_null ? 1 : 0;
    if (!literal->is_null) {
        uint64_t length = (uint64_t)(end - in);
        for (const unsigned char *from = in; (escape = memchr(from, '\\', (size_t)(end - from))) != NULL; from = escape + 2)
            length--;
        int bytes = length < 251 ? 0 : length < 1u << 16 ? 2 : length < 1u << 24 ? 3 : 8;
        *out++ = bytes == 0 ? (unsigned char)length : bytes == 2 ? 0xFC : bytes == 3 ? 0xFD : 0xFE;
        for (int i = 0; i < bytes; i++)
            *out++ = (unsigned char)(length >> 8 * i);
        while ((escape = memchr(in, '\\', (size_t)(end - in))) != NULL) {
            memcpy(out, in, (size_t)(escape - in));
            out += escape - in;
            *out++ = unescaped(escape[1]);
            in = escape + 2;
        }
        memcpy(out, in, (size_t)(end - in));
        out += end - in;
    }
    s->used = (size_t)(out - s->out);
    return 0;
}

static int put_load_field(Inserts *s, const Literal *literal, int is_first)
{
    size_t length = literal->is_null ? 2 : (size_t)(literal->end - literal->start);
    if (make_room(s, length + 2) < 0) /* with the tab, and the line's end */
        return FAIL_MEMORY;
    if (!is_first)
        s->out[s->used++] = '\t';
    memcpy(s->out + s->used, literal->is_null ? (const unsigned char *)"\\N" : literal->start, length);
    s->used += length;
    return 0;
}

/* Read the row that begins here, with the head of its statement if it is the first of one. */
static int next_row(Inserts *s)
{
    int goes_on = s->in - s->first >= 2 && s->in[-2] == ',' && s->in[-1] == '\n';
    if (!goes_on) {
        if (s->in > s->first && (s->in - s->first < 2 || s->in[-2] != ';' || s->in[-1] != '\n'))
            return FAIL_TEXT;
        s->in = skip_statement_head(s->in, s->end);
        if (s->in == NULL)
            return FAIL_TEXT;
    }
    if (s->in == s->end || *s->in != '(')
        return FAIL_TEXT;
    const unsigned char *in = s->in + 1;
    s->row = in;
    for (long field = 0;; field++) {
        Literal literal;
        if (field <= s->last_field)
            s->starts[field] = (size_t)(in - s->row);
        in = take_literal(in, s->end, &literal);
        if (in == NULL)
            return FAIL_TEXT;
        if (field <= s->last_field)
            s->ends[field] = (size_t)(in - s->row);
        if (s->out != NULL && (s->as_parameters ? put_parameter(s, &literal) : put_load_field(s, &literal, field == 0)) < 0)
            return FAIL_MEMORY;
        s->fields = field + 1;
        if (in == s->end || *in != ',')
            break;
        in++;
    }
    s->row_end = in;
    if (!BEGINS_WITH(in, s->end, ");\n") && !(BEGINS_WITH(in, s->end, "),\n") && s->end - in > 3))
        return FAIL_TEXT;
    if (s->out != NULL && !s->as_parameters)
        s->out[s->used++] = '\n';
    s->in = in + 3;
    return 0;
}

static PyObject *raise_inserts_failure(int status)
{
    if (status == FAIL_MEMORY)
        return PyErr_NoMemory();
    PyErr_SetString(PyExc_ValueError, status == FAIL_FIELDS ? "a row has fewer fields than its key needs"
                                                            : "the text is not made of the archive's INSERT statements");
    return NULL;
}

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
        raise_inserts_failure(status);
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
        return raise_inserts_failure(status);
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
