/* Rows of both kinds of text, COPY's lines and the archive's INSERT statements, with their keys. */
#ifndef DBTOOL_READER_H
#define DBTOOL_READER_H

#include "_inserts.h"
#include "_keytable.h"
#include "_tally.h"
#include "_xxh64.h"

#define BATCH_ROWS 64             /* are read before the first of their keys is looked up */
#define BATCH_SCRATCH (256 * 1024) /* or so many bytes of keys that are no slices of their rows */

typedef struct {
    const unsigned char *row, *key;
    size_t length, key_length;
    uint64_t key_hash;
    const unsigned char *statement; /* of INSERT text, as in Inserts */
    unsigned char begins_statement, ends_statement;
} ReadRow;

typedef struct {
    int is_insert, without_hashes;
    Tally tally;     /* the key; its sums are the caller's */
    Inserts inserts; /* of COPY text, only how far it is read */
    size_t starts[MOST_COLUMNS], ends[MOST_COLUMNS];
    ReadRow rows[BATCH_ROWS];
} RowReader;

static inline int read_line(RowReader *reader, ReadRow *read)
{
    Inserts *at = &reader->inserts;
    const unsigned char *newline = memchr(at->in, '\n', (size_t)(at->end - at->in));
    if (newline == NULL)
        return FAIL_CUT;
    read->row = at->in;
    read->length = (size_t)(newline - at->in);
    at->in = newline + 1;
    return fields_of_line(read->row, read->length, reader->tally.last_key_field, reader->starts, reader->ends);
}

static inline int read_insert_row(RowReader *reader, ReadRow *read)
{
    Inserts *at = &reader->inserts;
    int status = next_row(at);
    if (status < 0)
        return status;
    if (at->last_field >= at->fields)
        return FAIL_FIELDS;
    read->row = at->row;
    read->length = (size_t)(at->row_end - at->row);
    read->statement = at->statement;
    read->begins_statement = (unsigned char)at->begins_statement;
    read->ends_statement = (unsigned char)at->ends_statement;
    return 0;
}

/* Read the next rows, hash their keys, and begin to fetch the keys' lines of the table, if one is
 * given. How many; 0 at the text's end. */
static int read_rows(RowReader *reader, const KeyTable *table)
{
    int count = 0;
    size_t used = 0;
    while (count < BATCH_ROWS && used < BATCH_SCRATCH && reader->inserts.in < reader->inserts.end) {
        ReadRow *read = &reader->rows[count++];
        int status = reader->is_insert ? read_insert_row(reader, read) : read_line(reader, read);
        if (status == 0 && reader->tally.key_count == 0) { /* the whole row is the key */
            read->key = read->row;
            read->key_length = read->length;
        } else if (status == 0)
            status = key_text(&reader->tally, read->row, reader->starts, reader->ends, used, &read->key, &read->key_length);
        if (status < 0)
            return status;
        if (!reader->without_hashes)
            read->key_hash = xxh64(read->key != NULL ? read->key : reader->tally.scratch + used, read->key_length, 0);
        if (read->key == NULL)
            used += read->key_length;
        if (table != NULL)
            fetch_line(table, read->key_hash);
    }
    if (!reader->tally.key_is_contiguous) {
        const unsigned char *key = reader->tally.scratch;
        for (int i = 0; i < count; key += reader->rows[i++].key_length)
            reader->rows[i].key = key;
    }
    return count;
}

#endif
