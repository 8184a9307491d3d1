/* XXH64, from its published specification. */
#ifndef DBTOOL_XXH64_H
#define DBTOOL_XXH64_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define PRIME1 0x9E3779B185EBCA87ULL
#define PRIME2 0xC2B2AE3D27D4EB4FULL
#define PRIME3 0x165667B19E3779F9ULL
#define PRIME4 0x85EBCA77C2B2AE63ULL
#define PRIME5 0x27D4EB2F165667C5ULL

static inline uint64_t rotate_left(uint64_t value, int bits)
{
    return (value << bits) | (value >> (64 - bits));
}

static inline uint64_t load64(const unsigned char *p)
{
    uint64_t value;
    memcpy(&value, p, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline uint32_t load32(const unsigned char *p)
{
    uint32_t value;
    memcpy(&value, p, 4);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline uint64_t xxh_round(uint64_t lane, uint64_t input)
{
    return rotate_left(lane + input * PRIME2, 31) * PRIME1;
}

static inline uint64_t xxh_merge(uint64_t hash, uint64_t lane)
{
    return (hash ^ xxh_round(0, lane)) * PRIME1 + PRIME4;
}

static uint64_t xxh64(const unsigned char *p, size_t length, uint64_t seed)
{
    const unsigned char *end = p + length;
    uint64_t hash;
    if (length >= 32) {
        uint64_t lane1 = seed + PRIME1 + PRIME2, lane2 = seed + PRIME2, lane3 = seed, lane4 = seed - PRIME1;
        const unsigned char *last = end - 32;
        do {
            lane1 = xxh_round(lane1, load64(p));
            lane2 = xxh_round(lane2, load64(p + 8));
            lane3 = xxh_round(lane3, load64(p + 16));
            lane4 = xxh_round(lane4, load64(p + 24));
            p += 32;
        } while (p <= last);
        hash = rotate_left(lane1, 1) + rotate_left(lane2, 7) + rotate_left(lane3, 12) + rotate_left(lane4, 18);
        hash = xxh_merge(hash, lane1);
        hash = xxh_merge(hash, lane2);
        hash = xxh_merge(hash, lane3);
        hash = xxh_merge(hash, lane4);
    } else {
        hash = seed + PRIME5;
    }
    hash += (uint64_t)length;
    for (; end - p >= 8; p += 8)
        hash = rotate_left(hash ^ xxh_round(0, load64(p)), 27) * PRIME1 + PRIME4;
    if (end - p >= 4) {
        hash = rotate_left(hash ^ (uint64_t)load32(p) * PRIME1, 23) * PRIME2 + PRIME3;
        p += 4;
    }
    for (; p < end; p++)
        hash = rotate_left(hash ^ *p * PRIME5, 11) * PRIME1;
    hash ^= hash >> 33;
    hash *= PRIME2;
    hash ^= hash >> 29;
    hash *= PRIME3;
    hash ^= hash >> 32;
    return hash;
}

#endif
