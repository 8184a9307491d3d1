/* A set of keys in flat memory: their hashes, or their bytes as well.
 *
 * Open addressing with linear probing, at most three quarters full. A slot has 8 bytes and the table
 * grows by a half, so a key costs 10.7 to 16 bytes, and the bytes of its text where those are kept.
 */
#ifndef DBTOOL_KEYTABLE_H
#define DBTOOL_KEYTABLE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_tally.h"
#include "_xxh64.h"

#define SMALLEST_TABLE 64
#define AHEAD 16 /* so many hashes before its turn a slot is fetched into the cache */

/* A slot with bytes: low bits of the hash above, where the text begins, plus 1, below. */
#define PLACE_BITS 40
#define PLACE_MASK ((UINT64_C(1) << PLACE_BITS) - 1)

typedef enum { KEYS_NONE, KEYS_HASHES, KEYS_COPY, KEYS_INSERT } KeysKind;

typedef struct {
    KeysKind kind;
    uint64_t *slots; /* 0 where nothing is */
    size_t capacity, used;
    int has_zero; /* the hash 0, which no slot can hold */
    unsigned char *texts; /* of keys, each with an LF behind it, which none has inside */
    size_t texts_length, texts_capacity;
} KeyTable;

static inline size_t keys_in(const KeyTable *table) { return table->used + (size_t)table->has_zero; }

static inline int holds_texts(const KeyTable *table) { return table->kind == KEYS_COPY || table->kind == KEYS_INSERT; }

/* Hashes that came through a partition share their highest bits: the product does not. */
static inline size_t slot_of(const KeyTable *table, uint64_t hash)
{
    uint64_t mixed = hash * PRIME1;
#if defined(__SIZEOF_INT128__)
    return (size_t)(((unsigned __int128)mixed * table->capacity) >> 64);
#else
    return (size_t)(((mixed >> 32) * (uint64_t)table->capacity) >> 32);
#endif
}

static inline size_t next_slot(const KeyTable *table, size_t slot)
{
    return slot + 1 == table->capacity ? 0 : slot + 1;
}

static inline void fetch_slot(const KeyTable *table, uint64_t hash)
{
    __builtin_prefetch(&table->slots[slot_of(table, hash)]);
}

static inline int make_table(KeyTable *table, size_t capacity)
{
    table->slots = calloc(capacity, sizeof(uint64_t));
    table->capacity = capacity;
    table->used = 0;
    return table->slots == NULL ? FAIL_MEMORY : 0;
}

static inline uint64_t tag_of(uint64_t hash) { return hash << PLACE_BITS; }

/* The slot that has this text, or the free one where it belongs. */
static inline size_t slot_of_text(const KeyTable *table, uint64_t hash, const unsigned char *text, size_t length)
{
    size_t slot = slot_of(table, hash);
    for (; table->slots[slot] != 0; slot = next_slot(table, slot)) {
        uint64_t entry = table->slots[slot];
        if (((entry ^ tag_of(hash)) & ~PLACE_MASK) != 0)
            continue;
        size_t place = (size_t)(entry & PLACE_MASK) - 1;
        if (table->texts_length - place > length && table->texts[place + length] == '\n' &&
            memcmp(table->texts + place, text, length) == 0)
            break;
    }
    return slot;
}

static inline size_t slot_of_hash(const KeyTable *table, uint64_t hash)
{
    size_t slot = slot_of(table, hash);
    while (table->slots[slot] != 0 && table->slots[slot] != hash)
        slot = next_slot(table, slot);
    return slot;
}

/* Whether a key with this hash is there, whatever its bytes are. */
static inline int has_hash(const KeyTable *table, uint64_t hash)
{
    if (!holds_texts(table))
        return hash == 0 ? table->has_zero : table->slots[slot_of_hash(table, hash)] != 0;
    for (size_t slot = slot_of(table, hash); table->slots[slot] != 0; slot = next_slot(table, slot)) {
        uint64_t entry = table->slots[slot];
        if (((entry ^ tag_of(hash)) & ~PLACE_MASK) != 0)
            continue;
        const unsigned char *text = table->texts + (entry & PLACE_MASK) - 1;
        size_t left = table->texts_length - (size_t)(text - table->texts);
        const unsigned char *end = memchr(text, '\n', left);
        if (xxh64(text, (size_t)(end - text), 0) == hash)
            return 1;
    }
    return 0;
}

/* Whether this key is there: by its bytes where the table has them. */
static inline int has_key(const KeyTable *table, uint64_t hash, const unsigned char *text, size_t length)
{
    return holds_texts(table) ? table->slots[slot_of_text(table, hash, text, length)] != 0 : has_hash(table, hash);
}

/* Make room for one more. */
static inline int grow_if_full(KeyTable *table)
{
    if (table->used < table->capacity / 4 * 3)
        return 0;
    KeyTable grown = *table;
    if (make_table(&grown, table->capacity + table->capacity / 2) < 0)
        return FAIL_MEMORY;
    if (holds_texts(table)) {
        const unsigned char *text = table->texts, *end = text + table->texts_length;
        while (text < end) {
            const unsigned char *newline = memchr(text, '\n', (size_t)(end - text));
            uint64_t hash = xxh64(text, (size_t)(newline - text), 0);
            size_t slot = slot_of(&grown, hash);
            while (grown.slots[slot] != 0)
                slot = next_slot(&grown, slot);
            grown.slots[slot] = tag_of(hash) | ((uint64_t)(text - table->texts) + 1);
            text = newline + 1;
        }
    } else {
        for (size_t i = 0; i < table->capacity; i++)
            if (table->slots[i] != 0)
                grown.slots[slot_of_hash(&grown, table->slots[i])] = table->slots[i];
    }
    grown.used = table->used;
    free(table->slots);
    *table = grown;
    return 0;
}

static inline int add_hashes(KeyTable *table, const unsigned char *hashes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t hash, ahead;
        if (i + AHEAD < count) {
            memcpy(&ahead, hashes + 8 * (i + AHEAD), 8);
            fetch_slot(table, ahead);
        }
        memcpy(&hash, hashes + 8 * i, 8);
        if (hash == 0) {
            table->has_zero = 1;
            continue;
        }
        if (grow_if_full(table) < 0)
            return FAIL_MEMORY;
        size_t slot = slot_of_hash(table, hash);
        table->used += table->slots[slot] == 0;
        table->slots[slot] = hash;
    }
    return 0;
}

/* Add a key by its text, in a table that holds texts. */
static inline int add_text(KeyTable *table, const unsigned char *text, size_t length)
{
    if (grow_if_full(table) < 0)
        return FAIL_MEMORY;
    uint64_t hash = xxh64(text, length, 0);
    size_t slot = slot_of_text(table, hash, text, length);
    if (table->slots[slot] != 0)
        return 0;
    if (table->texts_capacity - table->texts_length <= length) {
        size_t capacity = table->texts_capacity + table->texts_capacity / 4 + length + 1;
        unsigned char *grown = realloc(table->texts, capacity);
        if (grown == NULL)
            return FAIL_MEMORY;
        table->texts = grown;
        table->texts_capacity = capacity;
    }
    if ((uint64_t)table->texts_length + 1 > PLACE_MASK)
        return FAIL_MEMORY;
    table->slots[slot] = tag_of(hash) | ((uint64_t)table->texts_length + 1);
    table->used++;
    memcpy(table->texts + table->texts_length, text, length);
    table->texts_length += length;
    table->texts[table->texts_length++] = '\n';
    return 0;
}

#endif
