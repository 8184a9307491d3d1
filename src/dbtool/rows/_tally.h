/* What is counted and digested of rows while they pass: see pure.py for what the numbers mean. */
#ifndef DBTOOL_TALLY_H
#define DBTOOL_TALLY_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_xxh64.h"

#define MAX_KEY_FIELDS 32
#define MAX_FIELDS 1664 /* of a PostgreSQL result */

enum { FAIL_MEMORY = -1, FAIL_FIELDS = -2, FAIL_TEXT = -20, FAIL_CUT = -21 };

typedef struct {
    uint64_t rows, digest, key_digest;
    int key_count;
    int key_fields[MAX_KEY_FIELDS]; /* positions in the row, in the key's order */
    int last_key_field;
    unsigned char key_separator;    /* between the fields in a key's text */
    int key_is_contiguous;          /* then the key's text is a slice of the row */
    uint64_t *buckets;              /* shared between threads: added to atomically */
    int bucket_bits;
    unsigned char *scratch;         /* the text of a key that is no slice of its row */
    size_t scratch_capacity;
} Tally;

/* Find the fields of a line up to this one. FAIL_FIELDS if it lacks some. */
static inline int fields_of_line(const unsigned char *row, size_t length, int last, size_t *starts, size_t *ends)
{
    size_t position = 0;
    for (int field = 0; field <= last; field++) {
        const unsigned char *tab = memchr(row + position, '\t', length - position);
        if (tab == NULL && field < last)
            return FAIL_FIELDS;
        starts[field] = position;
        ends[field] = tab ? (size_t)(tab - row) : length;
        position = ends[field] + 1;
    }
    return 0;
}

/* The text of a row's key: a slice of the row, or put together in the scratch buffer behind what is
 * used of it; then `*text` is NULL, for the buffer may move. FAIL_MEMORY if memory runs out. */
static inline int key_text(Tally *tally, const unsigned char *row, const size_t *starts, const size_t *ends,
                           size_t scratch_used, const unsigned char **text, size_t *length)
{
    if (tally->key_is_contiguous) {
        size_t start = starts[tally->key_fields[0]];
        *text = row + start;
        *length = ends[tally->last_key_field] - start;
        return 0;
    }
    size_t wanted = scratch_used + MAX_KEY_FIELDS;
    for (int i = 0; i < tally->key_count; i++)
        wanted += ends[tally->key_fields[i]] - starts[tally->key_fields[i]];
    if (tally->scratch_capacity < wanted) {
        unsigned char *grown = realloc(tally->scratch, wanted + scratch_used);
        if (grown == NULL)
            return FAIL_MEMORY;
        tally->scratch = grown;
        tally->scratch_capacity = wanted + scratch_used;
    }
    size_t used = scratch_used;
    for (int i = 0; i < tally->key_count; i++) {
        size_t start = starts[tally->key_fields[i]], size = ends[tally->key_fields[i]] - start;
        if (i > 0)
            tally->scratch[used++] = tally->key_separator;
        memcpy(tally->scratch + used, row + start, size);
        used += size;
    }
    *text = NULL;
    *length = used - scratch_used;
    return 0;
}

/* Digest one row, given without its newline, of which it is known where each field up to the last
 * one of the key starts and ends. FAIL_MEMORY if memory runs out. */
static inline int tally_fields(Tally *tally, const unsigned char *row, size_t length, const size_t *starts,
                               const size_t *ends)
{
    const unsigned char *key;
    size_t key_length;
    tally->rows++;
    tally->digest += xxh64(row, length, 0);
    if (tally->key_count == 0)
        return 0;
    if (key_text(tally, row, starts, ends, 0, &key, &key_length) < 0)
        return FAIL_MEMORY;
    uint64_t hash = xxh64(key != NULL ? key : tally->scratch, key_length, 0);
    tally->key_digest += hash;
    if (tally->buckets != NULL) {
        size_t bucket = tally->bucket_bits == 0 ? 0 : (size_t)(hash >> (64 - tally->bucket_bits));
        __atomic_fetch_add(&tally->buckets[bucket], hash, __ATOMIC_RELAXED);
    }
    return 0;
}

/* The same for a row whose fields are not known yet. FAIL_FIELDS if it lacks some of the key's. */
static inline int tally_row(Tally *tally, const unsigned char *row, size_t length)
{
    size_t starts[MAX_FIELDS], ends[MAX_FIELDS];
    int last = tally->key_count ? tally->last_key_field : -1;
    int status = fields_of_line(row, length, last, starts, ends);
    return status < 0 ? status : tally_fields(tally, row, length, starts, ends);
}

#endif
