/* The archive's INSERT statements, read row by row: see docs/format.md, "MySQL's rows". */
#ifndef DBTOOL_INSERTS_H
#define DBTOOL_INSERTS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_literals.h"
#include "_tally.h"

typedef struct {
    const unsigned char *first, *in, *end; /* the whole text, and how far it is read */
    const unsigned char *statement;        /* where that of the row begins which was read last */
    int begins_statement, ends_statement;  /* whether that row is the first, the last of its statement */
    const unsigned char *row, *row_end;    /* of the row that was read last, what is between its parentheses */
    size_t *starts, *ends;                 /* in the row, of the fields up to last_field */
    long last_field, fields;               /* the row has so many */
    unsigned char *out; /* the row as a line of LOAD DATA text or as parameters, where that is wanted */
    int as_parameters;
    size_t used, capacity;
} Inserts;

static inline int make_room(Inserts *s, size_t length)
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
static inline unsigned char unescaped(unsigned char letter)
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
static inline int put_parameter(Inserts *s, const Literal *literal)
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

static inline int put_load_field(Inserts *s, const Literal *literal, int is_first)
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
static inline int next_row(Inserts *s)
{
    int goes_on = s->in - s->first >= 2 && s->in[-2] == ',' && s->in[-1] == '\n';
    if (!goes_on) {
        if (s->in > s->first && (s->in - s->first < 2 || s->in[-2] != ';' || s->in[-1] != '\n'))
            return FAIL_TEXT;
        s->statement = s->in;
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
    s->begins_statement = !goes_on;
    s->ends_statement = in[1] == ';';
    s->in = in + 3;
    return 0;
}

#endif
