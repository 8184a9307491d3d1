/* Lines of COPY's text format turned into the tuples of its binary format, which the server reads
 * several times faster: what costs it most is to understand text.
 *
 * Only the one form that PostgreSQL itself writes of a value is understood (with DateStyle ISO,
 * TimeZone UTC, bytea_output hex); anything else is refused, and the caller sends text. So nothing
 * has to be guessed, and what is understood means just what the server's input function makes of it.
 * The binary forms are those of the types' receive functions, the same since PostgreSQL 8.4.
 */
#ifndef DBTOOL_BINARY_H
#define DBTOOL_BINARY_H

#include <arpa/inet.h>
#include <locale.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif
#if defined(__APPLE__)
#include <xlocale.h>
#endif

/* No value's binary form is longer than its text and this, with the length before it. */
#define LONGEST_BINARY_ADDITION 32
#define LONGEST_NUMBER 400
#define MAX_NUMERIC_DIGITS 20000

typedef struct {
    const unsigned char *in, *end; /* the rest of the row, without its newline */
    unsigned char *out;
} Packing;

static locale_t c_locale; /* numbers have a point, whatever the process's locale */

static inline unsigned char *put_16(unsigned char *out, uint32_t value)
{
    out[0] = (unsigned char)(value >> 8);
    out[1] = (unsigned char)value;
    return out + 2;
}

static inline unsigned char *put_32(unsigned char *out, uint32_t value)
{
    return put_16(put_16(out, value >> 16), value);
}

static inline unsigned char *put_64(unsigned char *out, uint64_t value)
{
    return put_32(put_32(out, (uint32_t)(value >> 32)), (uint32_t)value);
}

/* ---- pieces of text; each takes what it names from the front, or gives 0 ------------------- */

static inline int take_byte(Packing *p, unsigned char byte)
{
    if (p->in >= p->end || *p->in != byte)
        return 0;
    p->in++;
    return 1;
}

static int take_word(Packing *p, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(p->end - p->in) < length || memcmp(p->in, word, length) != 0)
        return 0;
    p->in += length;
    return 1;
}

/* Exactly `count` decimal digits. */
static inline int take_digits(Packing *p, int count, unsigned *value)
{
    unsigned found = 0;
    if (p->end - p->in < count)
        return 0;
    for (int i = 0; i < count; i++) {
        unsigned digit = (unsigned)p->in[i] - '0';
        if (digit > 9)
            return 0;
        found = found * 10 + digit;
    }
    p->in += count;
    *value = found;
    return 1;
}

/* A whole number without superfluous zeros, of at most `largest`. */
static inline int take_number(Packing *p, uint64_t largest, uint64_t *value)
{
    const unsigned char *start = p->in;
    uint64_t found = 0;
    for (; p->in < p->end; p->in++) {
        unsigned digit = (unsigned)*p->in - '0';
        if (digit > 9)
            break;
        if (found > (largest - digit) / 10)
            return 0;
        found = found * 10 + digit;
    }
    if (p->in == start || (*start == '0' && p->in - start > 1))
        return 0;
    *value = found;
    return 1;
}

static inline int at_end(const Packing *p)
{
    return p->in == p->end || *p->in == '\t';
}

/* ---- values: each writes its length and its binary form ------------------------------------- */

static int pack_integer(Packing *p, int size)
{
    int negative = take_byte(p, '-');
    uint64_t limit = (UINT64_C(1) << (8 * size - 1)) - (negative ? 0 : 1), value;
    if (!take_number(p, limit, &value) || (negative && value == 0))
        return 0;
    value = negative ? 0 - value : value;
    p->out = put_32(p->out, (uint32_t)size);
    p->out = size == 2 ? put_16(p->out, (uint32_t)value & 0xffff)
             : size == 4 ? put_32(p->out, (uint32_t)value)
                         : put_64(p->out, value);
    return 1;
}

static int pack_oid(Packing *p)
{
    uint64_t value;
    if (!take_number(p, UINT32_MAX, &value))
        return 0;
    p->out = put_32(put_32(p->out, 4), (uint32_t)value);
    return 1;
}

static int pack_boolean(Packing *p)
{
    if (p->in >= p->end || (*p->in != 't' && *p->in != 'f'))
        return 0;
    p->out = put_32(p->out, 1);
    *p->out++ = *p->in++ == 't';
    return 1;
}

static inline int escaped_byte(unsigned char letter)
{
    switch (letter) {
    case 'b': return '\b';
    case 't': return '\t';
    case 'n': return '\n';
    case 'v': return '\v';
    case 'f': return '\f';
    case 'r': return '\r';
    case '\\': return '\\';
    default: return -1;
    }
}

/* Text up to the next tab, without its escapes, behind `before` bytes that the caller has written. */
static int pack_text(Packing *p, size_t before)
{
    unsigned char *length_at = p->out, *out = p->out + 4 + before;
    const unsigned char *in = p->in, *end = p->end;
    while (in < end) {
#if defined(__SSE2__)
        if (end - in >= 16) {
            __m128i bytes = _mm_loadu_si128((const __m128i *)in);
            _mm_storeu_si128((__m128i *)out, bytes);
            unsigned found = (unsigned)_mm_movemask_epi8(_mm_or_si128(
                _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))));
            size_t size = found ? (size_t)__builtin_ctz(found) : 16;
            in += size;
            out += size;
            if (!found)
                continue;
        }
#endif
        if (*in == '\t')
            break;
        if (*in != '\\') {
            *out++ = *in++;
            continue;
        }
        int byte = end - in >= 2 ? escaped_byte(in[1]) : -1;
        if (byte < 0)
            return 0;
        *out++ = (unsigned char)byte;
        in += 2;
    }
    p->in = in;
    p->out = out;
    put_32(length_at, (uint32_t)(out - length_at - 4));
    return 1;
}

static int pack_jsonb(Packing *p)
{
    p->out[4] = 1; /* the version of the format */
    return pack_text(p, 1);
}

static inline int hex_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9' ? byte - '0' : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* `count` bytes from twice as many lower-case hex digits. */
static int take_hex(Packing *p, size_t count)
{
    if ((size_t)(p->end - p->in) < 2 * count)
        return 0;
    for (size_t i = 0; i < count; i++, p->in += 2) {
        int high = hex_digit(p->in[0]), low = hex_digit(p->in[1]);
        if (high < 0 || low < 0)
            return 0;
        *p->out++ = (unsigned char)(high << 4 | low);
    }
    return 1;
}

static int pack_bytea(Packing *p)
{
    if (!take_word(p, "\\\\x"))
        return 0;
    const unsigned char *tab = memchr(p->in, '\t', (size_t)(p->end - p->in));
    size_t digits = (size_t)((tab ? tab : p->end) - p->in);
    p->out = put_32(p->out, (uint32_t)(digits / 2));
    return digits % 2 == 0 && take_hex(p, digits / 2);
}

static int pack_uuid(Packing *p)
{
    p->out = put_32(p->out, 16);
    return take_hex(p, 4) && take_byte(p, '-') && take_hex(p, 2) && take_byte(p, '-') && take_hex(p, 2) &&
           take_byte(p, '-') && take_hex(p, 2) && take_byte(p, '-') && take_hex(p, 6);
}

/* Days from 2000-01-01 to a day of the proleptic Gregorian calendar; 0 is the year before 1. */
static int64_t day_number(int64_t year, unsigned month, unsigned day)
{
    if (month <= 2)
        year--;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 730425;
}

static int is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* YYYY-MM-DD; the year has more digits only where it needs them. Years BC are told by what follows. */
static int take_date(Packing *p, uint64_t *year, unsigned *month, unsigned *day)
{
    const unsigned char *start = p->in;
    unsigned digits;
    if (p->end - p->in >= 5 && p->in[4] == '-') {
        if (!take_digits(p, 4, &digits))
            return 0;
        *year = digits;
    } else if (!take_number(p, 9999999, year) || p->in - start < 5) {
        return 0;
    }
    return *year > 0 && take_byte(p, '-') && take_digits(p, 2, month) && take_byte(p, '-') && take_digits(p, 2, day);
}

static int checked_day(uint64_t shown_year, int is_before_christ, unsigned month, unsigned day, int64_t *number)
{
    static const unsigned char LENGTHS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year = is_before_christ ? 1 - (int64_t)shown_year : (int64_t)shown_year;
    if (month < 1 || month > 12 || day < 1 || day > LENGTHS[month - 1] + (unsigned)(month == 2 && is_leap(year)))
        return 0;
    *number = day_number(year, month, day);
    return 1;
}

static int pack_date(Packing *p)
{
    uint64_t year;
    unsigned month, day;
    int64_t number;
    p->out = put_32(p->out, 4);
    if (take_word(p, "infinity")) {
        p->out = put_32(p->out, INT32_MAX);
        return 1;
    }
    if (take_word(p, "-infinity")) {
        p->out = put_32(p->out, (uint32_t)INT32_MIN);
        return 1;
    }
    if (!take_date(p, &year, &month, &day) || !checked_day(year, take_word(p, " BC"), month, day, &number))
        return 0;
    p->out = put_32(p->out, (uint32_t)(int32_t)number);
    return 1;
}

/* HH:MM:SS and up to six digits of a fraction that does not end in 0; microseconds. */
static int take_time(Packing *p, int64_t *microseconds)
{
    unsigned hour, minute, second;
    if (!take_digits(p, 2, &hour) || !take_byte(p, ':') || !take_digits(p, 2, &minute) || !take_byte(p, ':') ||
        !take_digits(p, 2, &second) || minute > 59 || second > 59 || hour > 24)
        return 0;
    unsigned fraction = 0, scale = 1000000;
    if (take_byte(p, '.')) {
        const unsigned char *start = p->in;
        for (; p->in < p->end && *p->in >= '0' && *p->in <= '9' && scale > 1; p->in++) {
            scale /= 10;
            fraction += scale * (unsigned)(*p->in - '0');
        }
        if (p->in == start || p->in[-1] == '0')
            return 0;
    }
    *microseconds = ((int64_t)hour * 3600 + minute * 60 + second) * 1000000 + fraction;
    return *microseconds <= INT64_C(86400000000);
}

static int pack_time(Packing *p)
{
    int64_t microseconds;
    if (!take_time(p, &microseconds))
        return 0;
    p->out = put_64(put_32(p->out, 8), (uint64_t)microseconds);
    return 1;
}

static int pack_timestamp(Packing *p, int with_zone)
{
    uint64_t year;
    unsigned month, day;
    int64_t of_day, number;
    p->out = put_32(p->out, 8);
    if (take_word(p, "infinity")) {
        p->out = put_64(p->out, INT64_MAX);
        return 1;
    }
    if (take_word(p, "-infinity")) {
        p->out = put_64(p->out, (uint64_t)INT64_MIN);
        return 1;
    }
    if (!take_date(p, &year, &month, &day) || year > 294276 || !take_byte(p, ' ') || !take_time(p, &of_day) ||
        of_day == INT64_C(86400000000) || (with_zone && !take_word(p, "+00")) ||
        !checked_day(year, take_word(p, " BC"), month, day, &number))
        return 0;
    p->out = put_64(p->out, (uint64_t)(number * INT64_C(86400000000) + of_day));
    return 1;
}

/* ---- numbers with a fraction ------------------------------------------------------------------ */

static const double POWERS_OF_TEN[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* A decimal number; `is_exact` if `mantissa` and a power of ten up to 22 stand for all of it. */
static int take_decimal(Packing *p, int *negative, uint64_t *mantissa, int *exponent, int *is_exact)
{
    int digits = 0, seen = 0, point = 0, shift = 0;
    *mantissa = 0;
    *negative = take_byte(p, '-');
    for (; p->in < p->end; p->in++) {
        unsigned digit = (unsigned)*p->in - '0';
        if (digit <= 9) {
            seen = 1;
            shift -= point;
            if (digits > 0 || digit > 0)
                digits++;
            if (digits <= 18)
                *mantissa = *mantissa * 10 + digit;
        } else if (*p->in == '.' && !point) {
            point = 1;
        } else {
            break;
        }
    }
    if (!seen)
        return 0;
    if (take_byte(p, 'e')) {
        int minus = take_byte(p, '-');
        unsigned power = 0;
        const unsigned char *start;
        if (!minus)
            take_byte(p, '+');
        for (start = p->in; p->in < p->end && *p->in >= '0' && *p->in <= '9' && p->in - start < 4; p->in++)
            power = power * 10 + (unsigned)(*p->in - '0');
        if (p->in == start)
            return 0;
        shift += minus ? -(int)power : (int)power;
    }
    *exponent = shift;
    *is_exact = digits <= 18 && shift >= -22 && shift <= 22;
    return 1;
}

/* The number from `start` to where `p` stands, as the C library reads it. */
static int copy_number(const unsigned char *start, const Packing *p, char *buffer)
{
    size_t length = (size_t)(p->in - start);
    if (length >= LONGEST_NUMBER)
        return 0;
    memcpy(buffer, start, length);
    buffer[length] = 0;
    return 1;
}

static int pack_double(Packing *p)
{
    const unsigned char *start = p->in;
    char buffer[LONGEST_NUMBER];
    uint64_t mantissa, bits;
    int negative, exponent, is_exact;
    double value;
    if (take_word(p, "NaN")) {
        bits = UINT64_C(0x7ff8000000000000);
    } else if (take_word(p, "Infinity")) {
        bits = UINT64_C(0x7ff0000000000000);
    } else if (take_word(p, "-Infinity")) {
        bits = UINT64_C(0xfff0000000000000);
    } else {
        if (!take_decimal(p, &negative, &mantissa, &exponent, &is_exact))
            return 0;
        if (is_exact && mantissa <= UINT64_C(1) << 53) {
            /* Both operands are exact, so the one operation rounds correctly. */
            value = exponent < 0 ? (double)mantissa / POWERS_OF_TEN[-exponent] : (double)mantissa * POWERS_OF_TEN[exponent];
            value = negative ? -value : value;
        } else {
            if (!copy_number(start, p, buffer))
                return 0;
            value = strtod_l(buffer, NULL, c_locale);
        }
        memcpy(&bits, &value, 8);
    }
    p->out = put_64(put_32(p->out, 8), bits);
    return 1;
}

static int pack_float(Packing *p)
{
    const unsigned char *start = p->in;
    char buffer[LONGEST_NUMBER];
    uint64_t mantissa;
    uint32_t bits;
    int negative, exponent, is_exact;
    if (take_word(p, "NaN")) {
        bits = UINT32_C(0x7fc00000);
    } else if (take_word(p, "Infinity")) {
        bits = UINT32_C(0x7f800000);
    } else if (take_word(p, "-Infinity")) {
        bits = UINT32_C(0xff800000);
    } else {
        if (!take_decimal(p, &negative, &mantissa, &exponent, &is_exact) || !copy_number(start, p, buffer))
            return 0;
        float value = strtof_l(buffer, NULL, c_locale);
        memcpy(&bits, &value, 4);
    }
    p->out = put_32(put_32(p->out, 4), bits);
    return 1;
}

/* The digits of a numeric, of which leading and trailing zeros are not kept. */
typedef struct {
    unsigned char *out;
    int weight, count, last_used; /* the first digit's power of 10,000; how many there are, and are kept */
} Digits;

static void put_group(Digits *digits, unsigned value)
{
    if (digits->count == 0 && value == 0) {
        digits->weight--;
        return;
    }
    digits->out = put_16(digits->out, value);
    digits->count++;
    if (value)
        digits->last_used = digits->count;
}

/* Four decimal digits make one digit of the binary form; the point stands between two of them. */
static int pack_numeric(Packing *p)
{
    unsigned char *length_at = p->out, *head = length_at + 4;
    if (take_word(p, "NaN")) {
        p->out = put_16(put_16(put_16(put_16(put_32(length_at, 8), 0), 0), 0xc000), 0);
        return 1;
    }
    int negative = take_byte(p, '-');
    const unsigned char *start = p->in, *point;
    while (p->in < p->end && *p->in >= '0' && *p->in <= '9')
        p->in++;
    point = p->in;
    size_t whole = (size_t)(point - start), scale = 0;
    if (take_byte(p, '.')) {
        while (p->in < p->end && *p->in >= '0' && *p->in <= '9')
            p->in++;
        scale = (size_t)(p->in - point) - 1;
        if (scale == 0)
            return 0;
    }
    if (whole == 0 || whole > MAX_NUMERIC_DIGITS || scale > MAX_NUMERIC_DIGITS / 2)
        return 0;
    Digits digits = {.out = head + 8, .weight = (int)((whole + 3) / 4) - 1};
    const unsigned char *digit = start;
    for (size_t left = whole; left > 0;) {
        unsigned value = 0;
        for (size_t take = left % 4 ? left % 4 : 4; take > 0; take--, left--)
            value = value * 10 + (unsigned)(*digit++ - '0');
        put_group(&digits, value);
    }
    digit = point + 1;
    for (size_t left = scale; left > 0;) {
        unsigned value = 0;
        for (int i = 0; i < 4; i++) {
            value *= 10;
            if (left > 0) {
                value += (unsigned)(*digit++ - '0');
                left--;
            }
        }
        put_group(&digits, value);
    }
    int last_used = digits.last_used, weight = digits.weight;
    if (last_used == 0) {
        if (negative)
            return 0;
        weight = 0;
    }
    put_32(length_at, (uint32_t)(8 + 2 * last_used));
    put_16(put_16(put_16(put_16(head, (uint32_t)last_used), (uint32_t)weight & 0xffff), negative ? 0x4000 : 0), (uint32_t)scale);
    p->out = head + 8 + 2 * last_used;
    return 1;
}

/* ---- addresses ---------------------------------------------------------------------------------- */

static int pack_address(Packing *p, int is_network)
{
    const unsigned char *tab = memchr(p->in, '\t', (size_t)(p->end - p->in));
    size_t length = (size_t)((tab ? tab : p->end) - p->in);
    char text[64], *slash;
    unsigned char address[16];
    if (length >= sizeof(text))
        return 0;
    memcpy(text, p->in, length);
    text[length] = 0;
    if ((slash = strchr(text, '/')) != NULL)
        *slash = 0;
    int is_six = strchr(text, ':') != NULL;
    unsigned size = is_six ? 16 : 4;
    uint64_t bits = 8 * size;
    if (inet_pton(is_six ? AF_INET6 : AF_INET, text, address) != 1)
        return 0;
    if (slash != NULL) {
        Packing rest = {(unsigned char *)slash + 1, (unsigned char *)text + length, NULL};
        if (!take_number(&rest, 8 * size, &bits) || rest.in != rest.end)
            return 0;
    }
    p->in += length;
    p->out = put_32(p->out, 4 + size);
    *p->out++ = is_six ? 3 : 2; /* PGSQL_AF_INET6, PGSQL_AF_INET */
    *p->out++ = (unsigned char)bits;
    *p->out++ = (unsigned char)is_network;
    *p->out++ = (unsigned char)size;
    memcpy(p->out, address, size);
    p->out += size;
    return 1;
}

/* ---- rows ------------------------------------------------------------------------------------------ */

/* Letters for the kinds of columns, as the engine names them: see engines/postgres/binary.py. */
static int pack_field(Packing *p, unsigned char kind)
{
    if (p->end - p->in >= 2 && p->in[0] == '\\' && p->in[1] == 'N' && (p->end - p->in == 2 || p->in[2] == '\t')) {
        p->in += 2;
        p->out = put_32(p->out, UINT32_MAX);
        return 1;
    }
    switch (kind) {
    case 'T': return pack_text(p, 0);
    case '2': return pack_integer(p, 2);
    case '4': return pack_integer(p, 4);
    case '8': return pack_integer(p, 8);
    case 'o': return pack_oid(p);
    case 'b': return pack_boolean(p);
    case 'f': return pack_float(p);
    case 'd': return pack_double(p);
    case 'n': return pack_numeric(p);
    case 'J': return pack_jsonb(p);
    case 'B': return pack_bytea(p);
    case 'u': return pack_uuid(p);
    case 'D': return pack_date(p);
    case 't': return pack_time(p);
    case 's': return pack_timestamp(p, 0);
    case 'z': return pack_timestamp(p, 1);
    case 'a': return pack_address(p, 0);
    case 'c': return pack_address(p, 1);
    default: return 0;
    }
}

/* One row, from `p->in` to `p->end`: its fields with these kinds. 0 if it is not just that. */
static int pack_row(Packing *p, const unsigned char *kinds, size_t count)
{
    p->out = put_16(p->out, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        if ((i > 0 && !take_byte(p, '\t')) || !pack_field(p, kinds[i]) || !at_end(p))
            return 0;
    return p->in == p->end;
}

#endif
