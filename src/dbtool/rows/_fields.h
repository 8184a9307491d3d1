/* Fields of a result row, as PostgreSQL sends them, written as the fields of COPY's text format.
 *
 * Text comes as the server's own output functions made it and is only escaped. The few types that
 * are asked for in binary are those whose text costs the server much and has one form only, given
 * a session with DateStyle ISO, TimeZone UTC and bytea_output hex. The bytes written are those that
 * COPY TO STDOUT would send in such a session.
 */
#ifndef DBTOOL_FIELDS_H
#define DBTOOL_FIELDS_H

#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* What must be free behind the output, and readable behind the input, of any field. */
#define FIELD_SLACK 64
/* No field is longer than twice its input and this: the text of a time is the longest addition. */
#define LONGEST_ADDITION 48

typedef enum { FIELD_TEXT, FIELD_BYTEA, FIELD_DATE, FIELD_TIMESTAMP, FIELD_TIMESTAMPTZ, FIELD_UUID } FieldKind;

/* The kind of a column that is sent in binary, by its type's OID (fixed in pg_type.dat), or -1. */
static int binary_kind(uint32_t type_oid)
{
    switch (type_oid) {
    case 17: return FIELD_BYTEA;
    case 1082: return FIELD_DATE;
    case 1114: return FIELD_TIMESTAMP;
    case 1184: return FIELD_TIMESTAMPTZ;
    case 2950: return FIELD_UUID;
    default: return -1;
    }
}

/* The letter behind the backslash, for the bytes that COPY escapes: \b \t \n \v \f \r and \ itself. */
static inline unsigned char escape_letter(unsigned char byte)
{
    return byte == '\\' ? '\\' : (unsigned char)"btnvfr"[byte - 8];
}

static inline int is_escaped(unsigned char byte)
{
    return (unsigned char)(byte - 8) <= 5 || byte == '\\';
}

static unsigned char *put_text(unsigned char *out, const unsigned char *in, size_t length)
{
    const unsigned char *end = in + length;
#if defined(__SSE2__)
    const __m128i first = _mm_set1_epi8(8), span = _mm_set1_epi8(5), backslash = _mm_set1_epi8('\\');
    while (in < end) {
        size_t left = (size_t)(end - in);
        __m128i bytes = _mm_loadu_si128((const __m128i *)in);
        _mm_storeu_si128((__m128i *)out, bytes);
        __m128i moved = _mm_sub_epi8(bytes, first);
        __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(moved, span), moved);
        unsigned found = (unsigned)_mm_movemask_epi8(_mm_or_si128(control, _mm_cmpeq_epi8(bytes, backslash)));
        if (left < 16)
            found &= (1u << left) - 1;
        if (found == 0) {
            size_t size = left < 16 ? left : 16;
            in += size;
            out += size;
            continue;
        }
        size_t size = (size_t)__builtin_ctz(found);
        in += size;
        out += size;
        *out++ = '\\';
        *out++ = escape_letter(*in++);
    }
#else
    for (; in < end; in++) {
        if (is_escaped(*in)) {
            *out++ = '\\';
            *out++ = escape_letter(*in);
        } else {
            *out++ = *in;
        }
    }
#endif
    return out;
}

static const char HEX_PAIRS[513] =
    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
    "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
    "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f"
    "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
    "c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeef"
    "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

static unsigned char *put_hex(unsigned char *out, const unsigned char *in, size_t length)
{
    for (size_t i = 0; i < length; i++, out += 2)
        memcpy(out, HEX_PAIRS + 2 * in[i], 2);
    return out;
}

static unsigned char *put_uuid(unsigned char *out, const unsigned char *in)
{
    out = put_hex(out, in, 4);
    for (int i = 4; i < 10; i += 2) {
        *out++ = '-';
        out = put_hex(out, in + i, 2);
    }
    *out++ = '-';
    return put_hex(out, in + 10, 6);
}

static inline unsigned char *put_two_digits(unsigned char *out, unsigned value)
{
    *out++ = (unsigned char)('0' + value / 10);
    *out++ = (unsigned char)('0' + value % 10);
    return out;
}

/* The day that was written last: neighbouring rows often share it. */
typedef struct {
    int64_t day; /* since 2000-01-01 */
    int is_known, is_before_christ;
    size_t length;
    unsigned char text[16];
} WrittenDay;

/* YYYY-MM-DD of a day in the proleptic Gregorian calendar; of years before 1 the number that " BC",
 * which comes at the value's end, makes of them. */
static void write_day(WrittenDay *written, int64_t day)
{
    /* Days are counted from 1 March of year 0, so that a leap day ends its year; 400 years have 146097. */
    int64_t shifted = day + 730425;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    uint32_t of_era = (uint32_t)(shifted - era * 146097);
    uint32_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month_from_march = (5 * of_year + 2) / 153;
    uint32_t of_month = of_year - (153 * month_from_march + 2) / 5 + 1;
    uint32_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    int64_t year = era * 400 + year_of_era + (month <= 2);
    written->is_before_christ = year <= 0;
    uint64_t shown = (uint64_t)(year <= 0 ? 1 - year : year);
    unsigned char digits[20], *out = written->text;
    int count = 0;
    for (; shown > 0 || count < 4; shown /= 10)
        digits[count++] = (unsigned char)('0' + shown % 10);
    while (count > 0)
        *out++ = digits[--count];
    *out++ = '-';
    out = put_two_digits(out, month);
    *out++ = '-';
    out = put_two_digits(out, of_month);
    written->length = (size_t)(out - written->text);
    written->day = day;
    written->is_known = 1;
}

static unsigned char *put_word(unsigned char *out, const char *word)
{
    size_t length = strlen(word);
    memcpy(out, word, length);
    return out + length;
}

static unsigned char *put_day(unsigned char *out, WrittenDay *written, int64_t day)
{
    if (!written->is_known || written->day != day)
        write_day(written, day);
    memcpy(out, written->text, sizeof(written->text));
    return out + written->length;
}

static unsigned char *put_date(unsigned char *out, int32_t day, WrittenDay *written)
{
    if (day == INT32_MAX || day == INT32_MIN)
        return put_word(out, day > 0 ? "infinity" : "-infinity");
    out = put_day(out, written, day);
    return written->is_before_christ ? put_word(out, " BC") : out;
}

#define MICROSECONDS_A_DAY INT64_C(86400000000)

static unsigned char *put_timestamp(unsigned char *out, int64_t microseconds, int with_zone, WrittenDay *written)
{
    if (microseconds == INT64_MAX || microseconds == INT64_MIN)
        return put_word(out, microseconds > 0 ? "infinity" : "-infinity");
    int64_t day = microseconds / MICROSECONDS_A_DAY, of_day = microseconds % MICROSECONDS_A_DAY;
    if (of_day < 0) {
        of_day += MICROSECONDS_A_DAY;
        day--;
    }
    unsigned second = (unsigned)(of_day / 1000000), fraction = (unsigned)(of_day % 1000000);
    out = put_day(out, written, day);
    *out++ = ' ';
    out = put_two_digits(out, second / 3600);
    *out++ = ':';
    out = put_two_digits(out, second / 60 % 60);
    *out++ = ':';
    out = put_two_digits(out, second % 60);
    if (fraction) {
        *out++ = '.';
        out = put_two_digits(out, fraction / 10000);
        out = put_two_digits(out, fraction / 100 % 100);
        out = put_two_digits(out, fraction % 100);
        while (out[-1] == '0')
            out--;
    }
    if (with_zone)
        out = put_word(out, "+00");
    return written->is_before_christ ? put_word(out, " BC") : out;
}

static inline uint32_t big_endian_32(const unsigned char *p)
{
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | p[3];
}

static inline uint64_t big_endian_64(const unsigned char *p)
{
    return ((uint64_t)big_endian_32(p) << 32) | big_endian_32(p + 4);
}

/* Write one field that is not NULL; gives NULL if its length is not the type's. */
static unsigned char *put_field(unsigned char *out, FieldKind kind, const unsigned char *in, size_t length,
                                WrittenDay *written)
{
    switch (kind) {
    case FIELD_BYTEA:
        return put_hex(put_word(out, "\\\\x"), in, length);
    case FIELD_DATE:
        return length == 4 ? put_date(out, (int32_t)big_endian_32(in), written) : NULL;
    case FIELD_TIMESTAMP:
    case FIELD_TIMESTAMPTZ:
        return length == 8 ? put_timestamp(out, (int64_t)big_endian_64(in), kind == FIELD_TIMESTAMPTZ, written) : NULL;
    case FIELD_UUID:
        return length == 16 ? put_uuid(out, in) : NULL;
    default:
        return put_text(out, in, length);
    }
}

#endif
