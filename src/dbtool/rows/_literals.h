/* The literals of the archive's INSERT statements: see docs/format.md, "MySQL's rows". */
#ifndef DBTOOL_LITERALS_H
#define DBTOOL_LITERALS_H

#include <stddef.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define MOST_COLUMNS 4096 /* of a table, or of a result */

/* The letter behind the backslash of each byte that is escaped; 0 of all others. */
static const unsigned char ESCAPE_LETTERS[256] = {
    [0] = '0', ['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r', [26] = 'Z', ['\''] = '\'', ['\\'] = '\\',
};

/* What may follow a backslash. */
static inline int is_escape_letter(unsigned char letter)
{
    switch (letter) {
    case '0': case 't': case 'n': case 'r': case 'Z': case '\'': case '\\':
        return 1;
    default:
        return 0;
    }
}

static inline int is_of_number(unsigned char byte)
{
    return (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == 'e' || byte == '+';
}

#if defined(__SSE2__)
/* A bit for each of 16 bytes that is escaped. In text there is hardly ever one below a space. */
static inline unsigned escaped_among(__m128i bytes)
{
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(26)), bytes);
    __m128i found = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\'')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
    if (_mm_movemask_epi8(low) != 0) {
        __m128i feeds = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\r')));
        __m128i others = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(26)));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(bytes, _mm_setzero_si128()));
        found = _mm_or_si128(found, _mm_or_si128(feeds, others));
    }
    return (unsigned)_mm_movemask_epi8(found);
}
#endif

/* Write bytes as they stand between quotes, at most twice as many. 32 bytes behind the input must be
 * readable, and 32 behind the output writable. */
static inline unsigned char *put_escaped(unsigned char *out, const unsigned char *in, size_t length)
{
    const unsigned char *end = in + length;
#if defined(__SSE2__)
    while (in < end) {
        size_t left = (size_t)(end - in), size = left < 16 ? left : 16;
        __m128i bytes = _mm_loadu_si128((const __m128i *)in);
        _mm_storeu_si128((__m128i *)out, bytes);
        unsigned found = escaped_among(bytes) & ((1u << size) - 1);
        /* Behind each byte that becomes two, the others are written once more, one place further. */
        for (; found != 0; found &= found - 1, out++) {
            int place = __builtin_ctz(found);
            out[place] = '\\';
            out[place + 1] = ESCAPE_LETTERS[in[place]];
            _mm_storeu_si128((__m128i *)(out + place + 2), _mm_loadu_si128((const __m128i *)(in + place + 1)));
        }
        in += size;
        out += size;
    }
#else
    for (; in < end; in++) {
        unsigned char letter = ESCAPE_LETTERS[*in];
        if (letter) {
            *out++ = '\\';
            *out++ = letter;
        } else {
            *out++ = *in;
        }
    }
#endif
    return out;
}

/* Write bytes that may be a number's; NULL if one is not. What must be readable and writable behind
 * them is as above. */
static inline unsigned char *put_number(unsigned char *out, const unsigned char *in, size_t length)
{
#if defined(__SSE2__)
    for (size_t done = 0; done < length; done += 16) {
        size_t left = length - done;
        __m128i bytes = _mm_loadu_si128((const __m128i *)(in + done));
        _mm_storeu_si128((__m128i *)(out + done), bytes);
        /* From + to 9 in ASCII, without the comma and the slash among them, and e. */
        __m128i moved = _mm_sub_epi8(bytes, _mm_set1_epi8('+'));
        __m128i valid = _mm_cmpeq_epi8(_mm_min_epu8(moved, _mm_set1_epi8('9' - '+')), moved);
        __m128i others = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(',')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('/')));
        valid = _mm_or_si128(_mm_andnot_si128(others, valid), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('e')));
        unsigned wanted = left < 16 ? (1u << left) - 1 : 0xFFFF;
        if (((unsigned)_mm_movemask_epi8(valid) & wanted) != wanted)
            return NULL;
    }
#else
    for (size_t i = 0; i < length; i++) {
        if (!is_of_number(in[i]))
            return NULL;
        out[i] = in[i];
    }
#endif
    return out + length;
}

/* ---- reading ------------------------------------------------------------------------------- */

typedef struct {
    const unsigned char *start, *end; /* a number's text, or what stands between the quotes */
    int is_null;
} Literal;

/* The end of what stands between quotes, that is the closing quote; NULL if there is none, or what is
 * before it is not the grammar's. */
static inline const unsigned char *quoted_end(const unsigned char *in, const unsigned char *end)
{
    for (;;) {
#if defined(__SSE2__)
        while (end - in >= 16) {
            unsigned found = escaped_among(_mm_loadu_si128((const __m128i *)in));
            in += found ? __builtin_ctz(found) : 16;
            if (found)
                break;
        }
#endif
        while (in < end && ESCAPE_LETTERS[*in] == 0)
            in++;
        if (in == end)
            return NULL;
        if (*in == '\'')
            return in;
        if (*in != '\\' || end - in < 2 || !is_escape_letter(in[1]))
            return NULL;
        in += 2;
    }
}

static inline int begins_with(const unsigned char *in, const unsigned char *end, const char *word, size_t length)
{
    return (size_t)(end - in) >= length && memcmp(in, word, length) == 0;
}

#define BEGINS_WITH(in, end, word) begins_with(in, end, word, sizeof(word) - 1)

/* Where the literal ends that begins here; NULL if none does. */
static inline const unsigned char *take_literal(const unsigned char *in, const unsigned char *end, Literal *literal)
{
    literal->is_null = 0;
    if (BEGINS_WITH(in, end, "_utf8mb4'"))
        in += sizeof("_utf8mb4") - 1;
    if (in < end && *in == '\'') {
        literal->start = in + 1;
        literal->end = quoted_end(in + 1, end);
        return literal->end == NULL ? NULL : literal->end + 1;
    }
    literal->start = in;
    if (BEGINS_WITH(in, end, "NULL")) {
        literal->is_null = 1;
        literal->end = in + 4;
        return literal->end;
    }
    while (in < end && is_of_number(*in))
        in++;
    literal->end = in;
    return in == literal->start ? NULL : in;
}

/* Behind the name in back-ticks that begins here; NULL if none does. */
static inline const unsigned char *skip_name(const unsigned char *in, const unsigned char *end)
{
    if (in == end || *in != '`')
        return NULL;
    const unsigned char *start = ++in;
    for (;;) {
        in = memchr(in, '`', (size_t)(end - in));
        if (in == NULL)
            return NULL;
        if (end - in < 2 || in[1] != '`')
            return in == start ? NULL : in + 1;
        in += 2;
        if (in == end)
            return NULL;
    }
}

/* Behind the head of the statement that begins here; NULL if none does. */
static inline const unsigned char *skip_statement_head(const unsigned char *in, const unsigned char *end)
{
    if (!BEGINS_WITH(in, end, "INSERT INTO "))
        return NULL;
    in = skip_name(in + 12, end);
    if (in == NULL || !BEGINS_WITH(in, end, " ("))
        return NULL;
    in++;
    do {
        in = skip_name(in + 1, end);
        if (in == NULL)
            return NULL;
    } while (in < end && *in == ',');
    return BEGINS_WITH(in, end, ") VALUES\n") ? in + 9 : NULL;
}

#endif
