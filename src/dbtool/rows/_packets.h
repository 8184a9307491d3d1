/* The packets that answer a MySQL query, turned into the archive's INSERT statements while they pass.
 *
 * Nothing here knows of Python or of sockets: bytes are put into `input` and text comes out. See
 * pure_packets.py for what is expected of the server, and what the numbers mean.
 */
#ifndef DBTOOL_PACKETS_H
#define DBTOOL_PACKETS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "_literals.h"
#include "_tally.h"

#define WHOLE_PACKET 0xFFFFFF /* a packet of this length goes on in the next */
#define LONGEST_CONTROL_PACKET 65536
#define LONGEST_ROW (UINT64_C(1) << 32)
/* A row of this size or more is worked on while it arrives. Control packets fit as well. */
#define PACKET_INPUT (256 * 1024)
/* What must be readable behind the input, and free behind the text. */
#define PACKET_SLACK 64
/* A literal is no longer than twice its value and this: a comma, _utf8mb4 and quotes. */
#define LONGEST_LITERAL_ADDITION 12

enum { ANSWER_DONE = 0, ANSWER_MORE = 1, ANSWER_ERROR = 2, ANSWER_NEED = 3 };
/* Beside FAIL_MEMORY. They stay: nothing more is read from such a stream. */
enum { FAIL_PACKETS = -8, FAIL_COLUMNS = -9, FAIL_NUMBER = -10, FAIL_OVER = -11, FAIL_NOT_BEGUN = -12 };
enum { AT_HEAD, AT_DEFINITIONS, AT_DEFINITIONS_END, AT_ROWS };

typedef struct {
    unsigned char *input; /* PACKET_INPUT bytes, and PACKET_SLACK */
    size_t input_start, input_end;
    unsigned char *text;
    size_t text_length, text_capacity;
    Tally tally;
    int column_count;
    unsigned char kinds[MOST_COLUMNS];                 /* n, s or j */
    size_t starts[MOST_COLUMNS], ends[MOST_COLUMNS];   /* in the row's text, of fields up to the key's last */
    unsigned char *prefix;
    size_t prefix_length, statement_bytes, statement_start;
    int statement_is_open;
    int phase, definitions_left;
    int sequence; /* of the packet before; -1: there was none */
    int failure;  /* once it is set, nothing goes on */
    unsigned warnings;
    unsigned char *error;
    size_t error_length;
    /* A row that is worked on while it arrives. */
    int in_long_row, packet_goes_on, field, length_used, in_value;
    size_t packet_left, row_start;
    uint64_t row_total, value_left;
    unsigned char length_bytes[9];
} Packets;

static inline uint32_t little_endian_24(const unsigned char *p)
{
    return (uint32_t)p[0] | ((uint32_t)p[1] << 8) | ((uint32_t)p[2] << 16);
}

/* Make room for `length` more bytes of text, and some to spare. */
static inline int reserve_packet_text(Packets *s, size_t length)
{
    size_t wanted = s->text_length + length + PACKET_SLACK;
    if (wanted > s->text_capacity) {
        size_t capacity = s->text_capacity ? s->text_capacity : (size_t)1 << 20;
        while (capacity < wanted)
            capacity += capacity < ((size_t)32 << 20) ? capacity : capacity / 4;
        unsigned char *grown = realloc(s->text, capacity);
        if (grown == NULL)
            return FAIL_MEMORY;
        s->text = grown;
        s->text_capacity = capacity;
    }
    return 0;
}

static int put_packet_text(Packets *s, const void *data, size_t length)
{
    if (reserve_packet_text(s, length) < 0)
        return FAIL_MEMORY;
    if (length > 0)
        memcpy(s->text + s->text_length, data, length);
    s->text_length += length;
    return 0;
}

static int finish_statement(Packets *s)
{
    if (!s->statement_is_open)
        return 0;
    s->statement_is_open = 0;
    return put_packet_text(s, ";\n", 2);
}

/* All that stands before a row's literals, and room for `room` bytes of them; `length` is that of the
 * row's packet, or of the first of them. */
static inline int begin_row(Packets *s, size_t length, size_t room)
{
    if (reserve_packet_text(s, s->prefix_length + 3 + room) < 0) /* ";\n" and "(", or ",\n(" */
        return FAIL_MEMORY;
    unsigned char *out = s->text + s->text_length;
    if (s->statement_is_open && s->text_length - s->statement_start + length <= s->statement_bytes) {
        memcpy(out, ",\n(", 3);
        s->text_length += 3;
        return 0;
    }
    if (s->statement_is_open) {
        memcpy(out, ";\n", 2);
        out += 2;
    }
    s->statement_is_open = 1;
    s->statement_start = (size_t)(out - s->text);
    memcpy(out, s->prefix, s->prefix_length);
    out += s->prefix_length;
    *out++ = '(';
    s->text_length = (size_t)(out - s->text);
    return 0;
}

/* The row's literals stand at the text's end, from row_start on. */
static int end_row(Packets *s)
{
    unsigned char *row = s->text + s->row_start;
    if (tally_fields(&s->tally, row, s->text_length - s->row_start, s->starts, s->ends) < 0 ||
        reserve_packet_text(s, 1) < 0)
        return FAIL_MEMORY;
    s->text[s->text_length++] = ')';
    return 0;
}

/* The length of a value, of which `in` has its length's first byte; how many bytes say it, 0 if that
 * byte begins no length. */
static inline int length_width(unsigned char first)
{
    return first < 0xFB ? 1 : first == 0xFC ? 3 : first == 0xFD ? 4 : first == 0xFE ? 9 : 0;
}

static inline uint64_t length_value(const unsigned char *in, int width)
{
    uint64_t length = 0;
    if (width == 1)
        return in[0];
    for (int i = width - 1; i > 0; i--)
        length = (length << 8) | in[i];
    return length;
}

static inline unsigned char *open_literal(unsigned char *out, unsigned char kind)
{
    if (kind == 'j') {
        memcpy(out, "_utf8mb4", 8);
        out += 8;
    }
    *out++ = '\'';
    return out;
}

/* A row whose packet is all there: the usual case, in one pass. */
static int take_whole_row(Packets *s, const unsigned char *in, size_t length)
{
    const unsigned char *end = in + length;
    int last_key_field = s->tally.key_count ? s->tally.last_key_field : -1, column_count = s->column_count;
    if (begin_row(s, length, 2 * length + (size_t)column_count * LONGEST_LITERAL_ADDITION + 1) < 0)
        return FAIL_MEMORY;
    unsigned char *row = s->text + s->text_length, *out = row;
    for (int i = 0; i < column_count; i++) {
        if (in == end)
            return FAIL_PACKETS;
        if (i > 0)
            *out++ = ',';
        if (i <= last_key_field)
            s->starts[i] = (size_t)(out - row);
        if (*in == 0xFB) {
            in++;
            memcpy(out, "NULL", 4);
            out += 4;
        } else {
            int width = length_width(*in);
            if (width == 0 || end - in < width)
                return FAIL_PACKETS;
            uint64_t size = length_value(in, width);
            in += width;
            if (size > (uint64_t)(end - in))
                return FAIL_PACKETS;
            if (s->kinds[i] == 'n') {
                out = size > 0 ? put_number(out, in, (size_t)size) : NULL;
                if (out == NULL)
                    return FAIL_NUMBER;
            } else {
                out = put_escaped(open_literal(out, s->kinds[i]), in, (size_t)size);
                *out++ = '\'';
            }
            in += size;
        }
        if (i <= last_key_field)
            s->ends[i] = (size_t)(out - row);
    }
    if (in != end)
        return FAIL_PACKETS;
    s->row_start = s->text_length;
    s->text_length += (size_t)(out - row);
    return end_row(s);
}

/* ---- rows that are worked on while they arrive ----------------------------------------------- */

static int close_long_value(Packets *s)
{
    if (s->kinds[s->field] != 'n' && put_packet_text(s, "'", 1) < 0)
        return FAIL_MEMORY;
    s->ends[s->field++] = s->text_length - s->row_start;
    s->in_value = 0;
    return 0;
}

/* One byte of a value's length. */
static int take_length_byte(Packets *s, unsigned char byte)
{
    if (s->field == s->column_count)
        return FAIL_PACKETS;
    if (reserve_packet_text(s, LONGEST_LITERAL_ADDITION) < 0)
        return FAIL_MEMORY;
    unsigned char *out = s->text + s->text_length;
    if (s->length_used == 0) {
        if (s->field > 0)
            *out++ = ',';
        s->text_length = (size_t)(out - s->text);
        s->starts[s->field] = s->text_length - s->row_start;
        if (byte == 0xFB) {
            memcpy(out, "NULL", 4);
            s->text_length += 4;
            s->ends[s->field++] = s->text_length - s->row_start;
            return 0;
        }
        if (length_width(byte) == 0)
            return FAIL_PACKETS;
    }
    s->length_bytes[s->length_used++] = byte;
    int width = length_width(s->length_bytes[0]);
    if (s->length_used < width)
        return 0;
    s->length_used = 0;
    s->value_left = length_value(s->length_bytes, width);
    s->in_value = 1;
    if (s->kinds[s->field] != 'n')
        s->text_length = (size_t)(open_literal(out, s->kinds[s->field]) - s->text);
    else if (s->value_left == 0)
        return FAIL_NUMBER;
    return s->value_left == 0 ? close_long_value(s) : 0;
}

/* Some more bytes of the row's packets; what is behind them must be readable. */
static int take_part_of_row(Packets *s, const unsigned char *in, size_t length)
{
    const unsigned char *end = in + length;
    int status = 0;
    while (in < end && status == 0) {
        if (!s->in_value) {
            status = take_length_byte(s, *in++);
            continue;
        }
        size_t size = (uint64_t)(end - in) < s->value_left ? (size_t)(end - in) : (size_t)s->value_left;
        status = reserve_packet_text(s, 2 * size);
        if (status < 0)
            break;
        unsigned char *out = s->text + s->text_length;
        out = s->kinds[s->field] == 'n' ? put_number(out, in, size) : put_escaped(out, in, size);
        if (out == NULL)
            return FAIL_NUMBER;
        s->text_length = (size_t)(out - s->text);
        in += size;
        s->value_left -= size;
        if (s->value_left == 0)
            status = close_long_value(s);
    }
    return status;
}

static int begin_long_row(Packets *s, size_t length)
{
    int status = begin_row(s, length, 0);
    s->in_long_row = 1;
    s->packet_left = length;
    s->packet_goes_on = length == WHOLE_PACKET;
    s->row_total = length;
    s->row_start = s->text_length;
    s->field = s->length_used = s->in_value = 0;
    return status;
}

/* 0 once the row is complete, else ANSWER_NEED. */
static int go_on_with_long_row(Packets *s)
{
    for (;;) {
        const unsigned char *in = s->input + s->input_start;
        size_t available = s->input_end - s->input_start;
        if (s->packet_left == 0) {
            if (!s->packet_goes_on)
                break;
            if (available < 4)
                return ANSWER_NEED;
            if (in[3] != ((s->sequence + 1) & 0xFF))
                return FAIL_PACKETS;
            s->sequence = in[3];
            s->packet_left = little_endian_24(in);
            s->packet_goes_on = s->packet_left == WHOLE_PACKET;
            s->row_total += s->packet_left;
            if (s->row_total > LONGEST_ROW)
                return FAIL_PACKETS;
            s->input_start += 4;
            continue;
        }
        size_t size = available < s->packet_left ? available : s->packet_left;
        if (size == 0)
            return ANSWER_NEED;
        int status = take_part_of_row(s, in, size);
        if (status < 0)
            return status;
        s->input_start += size;
        s->packet_left -= size;
    }
    s->in_long_row = 0;
    return s->field == s->column_count && s->length_used == 0 && !s->in_value ? end_row(s) : FAIL_PACKETS;
}

/* ---- everything but rows ----------------------------------------------------------------------- */

static int keep_packet_error(Packets *s, const unsigned char *data, size_t length)
{
    s->error = malloc(length);
    if (s->error == NULL)
        return FAIL_MEMORY;
    memcpy(s->error, data, length);
    s->error_length = length;
    s->failure = FAIL_OVER;
    return ANSWER_ERROR;
}

static int take_column_count(Packets *s, const unsigned char *data, size_t length)
{
    /* 0x00 would be the answer to a statement without rows, 0xFB a wish to read a file of ours. */
    if (data[0] == 0 || data[0] == 0xFB || length != (data[0] == 0xFC ? 3 : 1))
        return FAIL_PACKETS;
    int count = length == 1 ? data[0] : data[1] | (data[2] << 8);
    if (count != s->column_count)
        return FAIL_COLUMNS;
    s->definitions_left = count;
    s->phase = AT_DEFINITIONS;
    return ANSWER_MORE;
}

/* ANSWER_MORE: the answer goes on. */
static int take_control_packet(Packets *s, const unsigned char *data, size_t length)
{
    enum { MORE_RESULTS = 8 };
    if (data[0] == 0xFF)
        return keep_packet_error(s, data, length);
    switch (s->phase) {
    case AT_HEAD:
        return take_column_count(s, data, length);
    case AT_DEFINITIONS:
        if (data[0] == 0xFE)
            return FAIL_PACKETS;
        if (--s->definitions_left == 0)
            s->phase = AT_DEFINITIONS_END;
        return ANSWER_MORE;
    case AT_DEFINITIONS_END:
        if (data[0] != 0xFE || length != 5)
            return FAIL_PACKETS;
        s->phase = AT_ROWS;
        return ANSWER_MORE;
    default:
        if (length != 5 || (data[3] & MORE_RESULTS))
            return FAIL_PACKETS;
        s->warnings = (unsigned)data[1] | ((unsigned)data[2] << 8);
        s->failure = FAIL_OVER;
        return ANSWER_DONE;
    }
}

static int advance_packets(Packets *s, size_t target)
{
    int status;
    for (;;) {
        if (s->in_long_row && (status = go_on_with_long_row(s)) != 0)
            return status;
        if (s->tally.rows > 0 && s->text_length >= target)
            return ANSWER_MORE;
        const unsigned char *packet = s->input + s->input_start;
        size_t available = s->input_end - s->input_start;
        if (available < 5)
            return ANSWER_NEED;
        size_t length = little_endian_24(packet);
        unsigned char first = packet[4];
        /* A server that shuts down gives its error the number 0. */
        if (length == 0 || (s->sequence >= 0 && packet[3] != ((s->sequence + 1) & 0xFF) && first != 0xFF))
            return FAIL_PACKETS;
        int is_control = s->phase != AT_ROWS || first == 0xFF || (first == 0xFE && length < 9);
        if (is_control && length > LONGEST_CONTROL_PACKET)
            return FAIL_PACKETS;
        if (!is_control && length + 4 > PACKET_INPUT) {
            s->sequence = packet[3];
            s->input_start += 4;
            if ((status = begin_long_row(s, length)) < 0)
                return status;
            continue;
        }
        if (available < 4 + length)
            return ANSWER_NEED;
        s->sequence = packet[3];
        s->input_start += 4 + length;
        if (is_control) {
            status = take_control_packet(s, packet + 4, length);
            if (status == ANSWER_DONE || status == ANSWER_ERROR)
                return s->input_start == s->input_end ? status : FAIL_PACKETS;
            status = status == ANSWER_MORE ? 0 : status;
        } else {
            status = take_whole_row(s, packet + 4, length);
        }
        if (status < 0)
            return status;
    }
}

#endif
