/* A set of keys in flat memory: their hashes, or their bytes as well.
 *
 * Open addressing, by lines of 8 slots as they lie in the processor's cache: what finds no room in
 * its line goes to the next. A line fills from its front, and nothing is ever taken out. A slot has
 * 8 bytes; the table is at most two thirds full and grows by a third, so a key costs 12 to 16 bytes,
 * and the bytes of its text where those are kept.
 */
#ifndef DBTOOL_KEYTABLE_H
#define DBTOOL_KEYTABLE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "_tally.h"
#include "_xxh64.h"

#define LINE_SLOTS 8
#define SMALLEST_TABLE 64                   /* slots */
#define LARGE_TABLE ((size_t)4 * 1024 * 1024) /* bytes */
#define AHEAD 32 /* so many hashes before its turn a line is fetched into the cache */

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

static inline size_t whole_lines(size_t slots) { return (slots + LINE_SLOTS - 1) / LINE_SLOTS * LINE_SLOTS; }

/* The first slot of the line where this hash belongs. Hashes that came through a partition share
 * their highest bits: the product does not. */
static inline size_t line_of(const KeyTable *table, uint64_t hash)
{
    uint64_t mixed = hash * PRIME1, lines = table->capacity / LINE_SLOTS;
#if defined(__SIZEOF_INT128__)
    return (size_t)(((unsigned __int128)mixed * lines) >> 64) * LINE_SLOTS;
#else
    return (size_t)(((mixed >> 32) * lines) >> 32) * LINE_SLOTS;
#endif
}

static inline size_t next_line(const KeyTable *table, size_t line)
{
    line += LINE_SLOTS;
    return line == table->capacity ? 0 : line;
}

static inline void fetch_line(const KeyTable *table, uint64_t hash)
{
    __builtin_prefetch(&table->slots[line_of(table, hash)]);
}

/* A large table is memory of its own, in huge pages where there are any: each look-up is somewhere
 * else in it, and with small pages most would not find their page's address in the processor either. */
static inline int make_table(KeyTable *table, size_t capacity)
{
    size_t size = capacity * sizeof(uint64_t);
    if (size >= LARGE_TABLE) {
        void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        table->slots = memory == MAP_FAILED ? NULL : memory;
#if defined(MADV_HUGEPAGE)
        if (table->slots != NULL)
            madvise(memory, size, MADV_HUGEPAGE);
#endif
    } else {
        table->slots = calloc(capacity, sizeof(uint64_t));
    }
    table->capacity = capacity;
    table->used = 0;
    return table->slots == NULL ? FAIL_MEMORY : 0;
}

static inline void drop_table(KeyTable *table)
{
    size_t size = table->capacity * sizeof(uint64_t);
    if (size >= LARGE_TABLE && table->slots != NULL)
        munmap(table->slots, size);
    else
        free(table->slots);
    table->slots = NULL;
}

static inline uint64_t tag_of(uint64_t hash) { return hash << PLACE_BITS; }

/* The slot with this tag in the line, from one of its slots on; else the line's first free one, or its end. */
static inline size_t slot_in_line(const KeyTable *table, size_t slot, size_t line, uint64_t tag)
{
    while (slot < line + LINE_SLOTS && table->slots[slot] != 0 && ((table->slots[slot] ^ tag) & ~PLACE_MASK) != 0)
        slot++;
    return slot;
}

/* The slot that has this text, or the free one where it belongs. */
static inline size_t slot_of_text(const KeyTable *table, uint64_t hash, const unsigned char *text, size_t length)
{
    for (size_t line = line_of(table, hash);; line = next_line(table, line)) {
        for (size_t slot = line; (slot = slot_in_line(table, slot, line, tag_of(hash))) < line + LINE_SLOTS; slot++) {
            if (table->slots[slot] == 0)
                return slot;
            size_t place = (size_t)(table->slots[slot] & PLACE_MASK) - 1;
            if (table->texts_length - place > length && table->texts[place + length] == '\n' &&
                memcmp(table->texts + place, text, length) == 0)
                return slot;
        }
    }
}

/* The slot that has this hash, or the free one where it belongs. */
static inline size_t slot_of_hash(const KeyTable *table, uint64_t hash)
{
    for (size_t line = line_of(table, hash);; line = next_line(table, line)) {
        const uint64_t *slots = table->slots + line;
        unsigned same = 0, used = 0;
        for (unsigned i = 0; i < LINE_SLOTS; i++) { /* without branches, which could not be foretold */
            same |= (unsigned)(slots[i] == hash) << i;
            used += slots[i] != 0;
        }
        if (same != 0)
            return line + (size_t)__builtin_ctz(same);
        if (used < LINE_SLOTS)
            return line + used;
    }
}

/* Whether a key with this hash is there, whatever its bytes are. */
static inline int has_hash(const KeyTable *table, uint64_t hash)
{
    if (!holds_texts(table))
        return hash == 0 ? table->has_zero : table->slots[slot_of_hash(table, hash)] != 0;
    for (size_t line = line_of(table, hash);; line = next_line(table, line)) {
        for (size_t slot = line; (slot = slot_in_line(table, slot, line, tag_of(hash))) < line + LINE_SLOTS; slot++) {
            if (table->slots[slot] == 0)
                return 0;
            size_t place = (size_t)(table->slots[slot] & PLACE_MASK) - 1;
            const unsigned char *text = table->texts + place;
            const unsigned char *end = memchr(text, '\n', table->texts_length - place);
            if (xxh64(text, (size_t)(end - text), 0) == hash)
                return 1;
        }
    }
}

/* Whether this key is there: by its bytes where the table has them. */
static inline int has_key(const KeyTable *table, uint64_t hash, const unsigned char *text, size_t length)
{
    return holds_texts(table) ? table->slots[slot_of_text(table, hash, text, length)] != 0 : has_hash(table, hash);
}

/* Make room for one more. */
static inline int grow_if_full(KeyTable *table)
{
    if (table->used < table->capacity / 3 * 2)
        return 0;
    KeyTable grown = *table;
    if (make_table(&grown, whole_lines(table->capacity + table->capacity / 3)) < 0)
        return FAIL_MEMORY;
    if (holds_texts(table)) {
        const unsigned char *text = table->texts, *end = text + table->texts_length;
        while (text < end) {
            const unsigned char *newline = memchr(text, '\n', (size_t)(end - text));
            uint64_t hash = xxh64(text, (size_t)(newline - text), 0);
            size_t slot = slot_of_text(&grown, hash, text, (size_t)(newline - text));
            grown.slots[slot] = tag_of(hash) | ((uint64_t)(text - table->texts) + 1);
            text = newline + 1;
        }
    } else {
        for (size_t i = 0; i < table->capacity; i++)
            if (table->slots[i] != 0)
                grown.slots[slot_of_hash(&grown, table->slots[i])] = table->slots[i];
    }
    grown.used = table->used;
    drop_table(table);
    *table = grown;
    return 0;
}

static inline int add_hashes(KeyTable *table, const unsigned char *hashes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t hash, ahead;
        if (i + AHEAD < count) {
            memcpy(&ahead, hashes + 8 * (i + AHEAD), 8);
            fetch_line(table, ahead);
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
