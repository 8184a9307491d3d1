/* KeySet: the C twin of that in pure_keys.py, which documents it.
 *
 * Everything heavy runs with the GIL released, so a lock guards a set: many may look things up in it
 * at a time, while nobody adds to it.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "_keysets.h"

static PyObject *keyset_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"expected", NULL};
    Py_ssize_t expected = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n", names, &expected))
        return NULL;
    if (expected < 0) {
        PyErr_SetString(PyExc_ValueError, "a set cannot expect fewer than no keys");
        return NULL;
    }
    if (expected > PY_SSIZE_T_MAX / 16)
        return PyErr_NoMemory();
    KeySet *self = (KeySet *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    pthread_rwlock_init(&self->lock, NULL);
    size_t capacity = whole_lines(((size_t)expected / 2 + 1) * 3);
    if (make_table(&self->table, capacity < SMALLEST_TABLE ? SMALLEST_TABLE : capacity) < 0) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void keyset_dealloc(KeySet *self)
{
    drop_table(&self->table);
    free(self->table.texts);
    pthread_rwlock_destroy(&self->lock);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

enum { FAIL_KIND = -30 }; /* beside those of _tally.h */

static PyObject *raise_set_failure(int status)
{
    if (status != FAIL_KIND)
        return raise_rows_failure(status);
    PyErr_SetString(PyExc_ValueError, "a set holds hashes, or keys of one format, and no others");
    return NULL;
}

static int take_kind(KeyTable *table, KeysKind kind)
{
    if (table->kind == KEYS_NONE)
        table->kind = kind;
    return table->kind == kind ? 0 : FAIL_KIND;
}

static PyObject *keyset_add(KeySet *self, PyObject *from)
{
    Py_buffer view;
    int status;
    if (get_hashes(from, &view) < 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    pthread_rwlock_wrlock(&self->lock);
    status = take_kind(&self->table, KEYS_HASHES);
    if (status == 0)
        status = add_hashes(&self->table, view.buf, (size_t)view.len / 8);
    pthread_rwlock_unlock(&self->lock);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    if (status < 0)
        return raise_set_failure(status);
    Py_RETURN_NONE;
}

/* The text of the key on the line that begins here, and where the next line does; NULL if it is none. */
static const unsigned char *take_key_line(const unsigned char *in, const unsigned char *end, int is_insert,
                                          const unsigned char **text, size_t *length)
{
    *text = in;
    if (!is_insert) {
        const unsigned char *newline = memchr(in, '\n', (size_t)(end - in));
        *length = newline == NULL ? 0 : (size_t)(newline - in);
        return newline == NULL ? NULL : newline + 1;
    }
    if (*in != '(')
        return NULL;
    *text = in + 1;
    do {
        Literal literal;
        in = take_literal(in + 1, end, &literal);
    } while (in != NULL && in < end && *in == ',');
    if (in == NULL || !BEGINS_WITH(in, end, ")\n"))
        return NULL;
    *length = (size_t)(in - *text);
    return in + 2;
}

/* With no table, only whether the lines are in order. */
static int add_key_lines(KeyTable *table, const unsigned char *in, const unsigned char *end, int is_insert)
{
    int status = 0;
    while (in < end && status == 0) {
        const unsigned char *text;
        size_t length;
        in = take_key_line(in, end, is_insert, &text, &length);
        if (in == NULL)
            return FAIL_TEXT;
        if (table != NULL)
            status = add_text(table, text, length);
    }
    return status;
}

static PyObject *keyset_add_keys(KeySet *self, PyObject *args)
{
    Py_buffer view;
    const char *format = "copy";
    int status, is_insert;
    if (!PyArg_ParseTuple(args, "y*|s", &view, &format))
        return NULL;
    if ((is_insert = is_insert_format(format)) < 0) {
        PyBuffer_Release(&view);
        return NULL;
    }
    const unsigned char *first = view.buf, *end = first + view.len;
    Py_BEGIN_ALLOW_THREADS
    status = add_key_lines(NULL, first, end, is_insert);
    if (status == 0) {
        pthread_rwlock_wrlock(&self->lock);
        status = take_kind(&self->table, is_insert ? KEYS_INSERT : KEYS_COPY);
        if (status == 0)
            status = add_key_lines(&self->table, first, end, is_insert);
        pthread_rwlock_unlock(&self->lock);
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&view);
    if (status == FAIL_TEXT) {
        PyErr_SetString(PyExc_ValueError, "the text is not made of keys, each on its line");
        return NULL;
    }
    if (status < 0)
        return raise_set_failure(status);
    Py_RETURN_NONE;
}

static PyObject *keyset_contains(KeySet *self, PyObject *number)
{
    unsigned long long hash = PyLong_AsUnsignedLongLong(number);
    if (hash == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    int is_there;
    Py_BEGIN_ALLOW_THREADS
    pthread_rwlock_rdlock(&self->lock);
    is_there = has_hash(&self->table, hash);
    pthread_rwlock_unlock(&self->lock);
    Py_END_ALLOW_THREADS
    return PyBool_FromLong(is_there);
}

static Py_ssize_t keyset_length(KeySet *self)
{
    size_t length;
    Py_BEGIN_ALLOW_THREADS
    pthread_rwlock_rdlock(&self->lock);
    length = keys_in(&self->table);
    pthread_rwlock_unlock(&self->lock);
    Py_END_ALLOW_THREADS
    return (Py_ssize_t)length;
}

static PyObject *keyset_sizeof(KeySet *self, PyObject *Py_UNUSED(ignored))
{
    size_t size;
    Py_BEGIN_ALLOW_THREADS
    pthread_rwlock_rdlock(&self->lock);
    size = sizeof(KeySet) + self->table.capacity * sizeof(uint64_t) + self->table.texts_capacity;
    pthread_rwlock_unlock(&self->lock);
    Py_END_ALLOW_THREADS
    return PyLong_FromSize_t(size);
}

static int check_kind(const KeyTable *table, int is_insert)
{
    return holds_texts(table) && table->kind != (is_insert ? KEYS_INSERT : KEYS_COPY) ? FAIL_KIND : 0;
}

static PyObject *key_lines(KeySet *self, PyObject *args, int wanted)
{
    Py_buffer view;
    PyObject *text, *lines = NULL;
    RowReader *reader = open_reader(args, &view, &text);
    if (reader == NULL)
        return NULL;
    Output output = {0};
    Py_ssize_t number = 0;
    int status, count = 0;
    Py_BEGIN_ALLOW_THREADS
    pthread_rwlock_rdlock(&self->lock);
    status = check_kind(&self->table, reader->is_insert);
    while (status == 0 && (count = read_rows(reader, &self->table)) > 0) {
        for (int i = 0; i < count && status == 0; i++) {
            const ReadRow *read = &reader->rows[i];
            if (has_key(&self->table, read->key_hash, read->key, read->key_length) != wanted)
                continue;
            status = need(&output, read->key_length + 3);
            if (status < 0)
                break;
            if (reader->is_insert)
                put(&output, "(", 1);
            put(&output, read->key, read->key_length);
            put(&output, ")\n" + !reader->is_insert, reader->is_insert ? 2 : 1);
            number++;
        }
    }
    pthread_rwlock_unlock(&self->lock);
    Py_END_ALLOW_THREADS
    if (status == 0 && count < 0)
        status = count;
    if (status < 0)
        raise_set_failure(status);
    else
        lines = Py_BuildValue("Nn", PyBytes_FromStringAndSize((const char *)output.bytes, (Py_ssize_t)output.length), number);
    free(output.bytes);
    close_reader(reader, &view);
    return lines;
}

static PyObject *keyset_absent_keys(KeySet *self, PyObject *args) { return key_lines(self, args, 0); }

static PyObject *keyset_present_keys(KeySet *self, PyObject *args) { return key_lines(self, args, 1); }

/* What is left of a text without the rows that were taken out of it. */
typedef struct {
    Output output;                /* as large as the text */
    const unsigned char *copied;  /* how far lines are copied */
    size_t head_length;           /* of the statement, up to its first row */
    size_t rows_of_statement;     /* kept */
    int is_cut;                   /* a row was taken out; before that, nothing is copied */
} Rest;

static void pass_line(Rest *rest, const ReadRow *read, int is_taken)
{
    if (!is_taken)
        return;
    put(&rest->output, rest->copied, (size_t)(read->row - rest->copied));
    rest->copied = read->row + read->length + 1;
    rest->is_cut = 1;
}

static void pass_insert_row(Rest *rest, const unsigned char *first, const ReadRow *read, int is_taken)
{
    if (read->begins_statement) {
        rest->head_length = (size_t)(read->row - 1 - read->statement);
        rest->rows_of_statement = 0;
    }
    if (is_taken && !rest->is_cut) {
        /* All before it stays, but for the comma and the line's end behind the last row that does. */
        const unsigned char *end = rest->rows_of_statement > 0 ? read->row - 3 : read->statement;
        put(&rest->output, first, (size_t)(end - first));
        rest->is_cut = 1;
    }
    if (!is_taken) {
        if (rest->is_cut) {
            if (rest->rows_of_statement > 0)
                put(&rest->output, ",\n", 2);
            else
                put(&rest->output, read->statement, rest->head_length);
            put(&rest->output, read->row - 1, read->length + 2);
        }
        rest->rows_of_statement++;
    }
    if (read->ends_statement && rest->is_cut && rest->rows_of_statement > 0)
        put(&rest->output, ";\n", 2);
}

/* The set behind the three other arguments, and these; none if there is none. -1 with an exception. */
static int take_seen(KeySet *self, PyObject **args, KeySet **seen)
{
    *seen = NULL;
    if (PyTuple_GET_SIZE(*args) == 4) {
        PyObject *last = PyTuple_GET_ITEM(*args, 3);
        if (last != Py_None && !PyObject_TypeCheck(last, &KeySetType)) {
            PyErr_SetString(PyExc_TypeError, "what is seen goes into a KeySet");
            return -1;
        }
        if (last == (PyObject *)self) {
            PyErr_SetString(PyExc_ValueError, "what is seen goes into another set");
            return -1;
        }
        *seen = last == Py_None ? NULL : (KeySet *)last;
        *args = PyTuple_GetSlice(*args, 0, 3);
        return *args == NULL ? -1 : 0;
    }
    Py_INCREF(*args);
    return 0;
}

/* Add the keys of rows that were read. */
static int add_seen(KeySet *seen, const RowReader *reader, int count)
{
    uint64_t hashes[BATCH_ROWS];
    for (int i = 0; i < count; i++)
        hashes[i] = reader->rows[i].key_hash;
    pthread_rwlock_wrlock(&seen->lock);
    int status = take_kind(&seen->table, KEYS_HASHES);
    if (status == 0)
        status = add_hashes(&seen->table, (const unsigned char *)hashes, (size_t)count);
    pthread_rwlock_unlock(&seen->lock);
    return status;
}

static PyObject *keyset_without(KeySet *self, PyObject *args)
{
    Py_buffer view;
    PyObject *text;
    KeySet *seen;
    if (take_seen(self, &args, &seen) < 0)
        return NULL;
    RowReader *reader = open_reader(args, &view, &text);
    Py_DECREF(args);
    if (reader == NULL)
        return NULL;
    PyObject *left = PyBytes_FromStringAndSize(NULL, view.len); /* its memory costs nothing until it is used */
    if (left == NULL) {
        close_reader(reader, &view);
        return NULL;
    }
    const unsigned char *first = view.buf, *end = first + view.len;
    Rest rest = {{(unsigned char *)PyBytes_AS_STRING(left), 0, (size_t)view.len}, first, 0, 0, 0};
    uint64_t rows = 0, digest = 0, key_digest = 0, taken_rows = 0, taken_digest = 0;
    int status, count = 0;
    Py_BEGIN_ALLOW_THREADS
    pthread_rwlock_rdlock(&self->lock);
    status = check_kind(&self->table, reader->is_insert);
    while (status == 0 && (count = read_rows(reader, &self->table)) > 0) {
        if (seen != NULL && (status = add_seen(seen, reader, count)) < 0)
            break;
        for (int i = 0; i < count; i++) {
            const ReadRow *read = &reader->rows[i];
            int is_taken = has_key(&self->table, read->key_hash, read->key, read->key_length);
            uint64_t hash = reader->tally.key_count ? xxh64(read->row, read->length, 0) : read->key_hash;
            if (is_taken) {
                taken_rows++;
                taken_digest += hash;
            } else {
                rows++;
                digest += hash;
                key_digest += read->key_hash;
            }
            if (reader->is_insert)
                pass_insert_row(&rest, first, read, is_taken);
            else
                pass_line(&rest, read, is_taken);
        }
    }
    pthread_rwlock_unlock(&self->lock);
    if (status == 0 && count == 0 && rest.is_cut && !reader->is_insert)
        put(&rest.output, rest.copied, (size_t)(end - rest.copied));
    Py_END_ALLOW_THREADS
    close_reader(reader, &view);
    if (status < 0 || count < 0) {
        Py_DECREF(left);
        return raise_set_failure(status < 0 ? status : count);
    }
    if (!rest.is_cut) {
        Py_INCREF(text);
        Py_SETREF(left, text);
    } else if (_PyBytes_Resize(&left, (Py_ssize_t)rest.output.length) < 0) {
        return NULL;
    }
    return Py_BuildValue("NKKKKK", left, (unsigned long long)rows, (unsigned long long)digest,
                         (unsigned long long)key_digest, (unsigned long long)taken_rows, (unsigned long long)taken_digest);
}

static PyMethodDef keyset_methods[] = {
    {"add", (PyCFunction)keyset_add, METH_O, "add(hashes): add keys by their hashes."},
    {"add_keys", (PyCFunction)keyset_add_keys, METH_VARARGS, "add_keys(lines, format='copy'): add keys with their bytes."},
    {"contains", (PyCFunction)keyset_contains, METH_O, "contains(hash): whether a key with this hash is there."},
    {"__sizeof__", (PyCFunction)keyset_sizeof, METH_NOARGS, "bytes of memory."},
    {"absent_keys", (PyCFunction)keyset_absent_keys, METH_VARARGS,
     "absent_keys(text, key, format): (lines of the keys that are not in the set, how many)."},
    {"present_keys", (PyCFunction)keyset_present_keys, METH_VARARGS,
     "present_keys(text, key, format): (lines of the keys that are in the set, how many)."},
    {"without", (PyCFunction)keyset_without, METH_VARARGS,
     "without(text, key, format, seen=None): the text without the rows whose keys are in the set, and what was counted."},
    {NULL, NULL, 0, NULL},
};

static PySequenceMethods keyset_sequence = {.sq_length = (lenfunc)keyset_length};

PyTypeObject KeySetType = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "dbtool.rows._rows.KeySet",
    .tp_doc = "A set of keys: see pure_keys.py.",
    .tp_basicsize = sizeof(KeySet),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = keyset_new,
    .tp_dealloc = (destructor)keyset_dealloc,
    .tp_methods = keyset_methods,
    .tp_as_sequence = &keyset_sequence,
};

int add_key_sets_to(PyObject *module);

int add_key_sets_to(PyObject *module)
{
    if (PyType_Ready(&KeySetType) < 0)
        return -1;
    Py_INCREF(&KeySetType);
    if (PyModule_AddObject(module, "KeySet", (PyObject *)&KeySetType) < 0) {
        Py_DECREF(&KeySetType);
        return -1;
    }
    return 0;
}
