#include "anax/reply.h"
#include "shards/assert.h"
#include "shards/decimal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    INT_CHARS_MAX = 20,                     /* "-9223372036854775808" */
    LINE_BYTES_MAX = 1 + INT_CHARS_MAX + 2, /* a type byte, a number, CRLF */
    ERROR_TEXT_USUAL = 256,
};

static char *put_crlf(char *to) {
    to[0] = '\r';
    to[1] = '\n';
    return to + 2;
}

static char *put_bytes(char *to, const char *p, size_t n) {
    memcpy(to, p, n);
    return to + n;
}

/* The caller got `from` by outbuf_room and wrote up to `to`. */
static void advance(struct outbuf *o, const char *to) {
    o->len = (size_t)(to - o->buf);
    ASSERT_SLOW(o->len <= o->cap);
}

/* A line of a type byte and a number: lengths of aggregates, and integers. */
static void add_number_line(struct outbuf *o, char type, int64_t v) {
    char *to = outbuf_room(o, LINE_BYTES_MAX);

    if (unlikely(to == NULL))
        return;
    *to++ = type;
    advance(o, put_crlf(decimal_put_int(to, v)));
}

static void add_literal(struct outbuf *o, struct span s) {
    outbuf_add(o, s.ptr, s.len);
}

static bool is_line_end(char c) {
    return c == '\r' || c == '\n';
}

/* One line. A CR or LF inside it would end it early and let a client's own bytes speak for us, so
 * they become blanks; at the edges they are dropped. */
static void add_text_line(struct outbuf *o, char type, const char *text, size_t len) {
    while (len > 0 && is_line_end(text[len - 1]))
        len--;
    while (len > 0 && is_line_end(text[0])) {
        text++;
        len--;
    }
    char *to = outbuf_room(o, 1 + len + 2);
    if (unlikely(to == NULL))
        return;
    *to++ = type;
    for (size_t i = 0; i < len; i++)
        *to++ = is_line_end(text[i]) ? ' ' : text[i];
    advance(o, put_crlf(to));
}

void reply_ok(struct reply *r) {
    add_literal(r->out, SPAN("+OK\r\n"));
}

void reply_status(struct reply *r, const char *text) {
    add_text_line(r->out, '+', text, strlen(text));
}

void reply_error(struct reply *r, const char *text) {
    add_text_line(r->out, '-', text, strlen(text));
}

void reply_errorf(struct reply *r, const char *fmt, ...) {
    char usual[ERROR_TEXT_USUAL];
    char *text = usual;
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(usual, sizeof(usual), fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    size_t len = (size_t)n;
    if (len >= sizeof(usual)) {
        text = mem_alloc(r->out->mem, len + 1);
        if (text == NULL) {
            text = usual; /* the beginning of it is better than no reply */
            len = sizeof(usual) - 1;
        } else {
            va_start(args, fmt);
            n = vsnprintf(text, len + 1, fmt, args);
            va_end(args);
            ASSERT(n >= 0 && (size_t)n == len);
        }
    }
    add_text_line(r->out, '-', text, len);
    if (text != usual)
        mem_free(r->out->mem, text, len + 1);
}

void reply_int(struct reply *r, int64_t v) {
    add_number_line(r->out, ':', v);
}

void reply_bulk(struct reply *r, struct span s) {
    struct outbuf *o = r->out;
    char *to = outbuf_room(o, LINE_BYTES_MAX + s.len + 2);

    if (unlikely(to == NULL))
        return;
    *to++ = '$';
    to = put_crlf(decimal_put_uint(to, s.len));
    if (likely(s.len > 0))
        memcpy(to, s.ptr, s.len);
    advance(o, put_crlf(to + s.len));
}

void reply_bulk_cstr(struct reply *r, const char *s) {
    reply_bulk(r, (struct span){s, strlen(s)});
}

void reply_bulk_int(struct reply *r, int64_t v) {
    char text[INT_CHARS_MAX];
    const char *end = decimal_put_int(text, v);

    reply_bulk(r, (struct span){text, (size_t)(end - text)});
}

void reply_blob(struct reply *r, struct blob *b, size_t offset, size_t len) {
    ASSERT(offset <= b->len && len <= b->len - offset);
    if (len < OUTBUF_REF_MIN) {
        reply_bulk(r, (struct span){b->data + offset, len});
        return;
    }
    add_number_line(r->out, '$', (int64_t)len);
    outbuf_ref(r->out, b, offset, len, r->owner);
    add_literal(r->out, SPAN("\r\n"));
}

void reply_null(struct reply *r) {
    add_literal(r->out, r->proto >= 3 ? SPAN("_\r\n") : SPAN("$-1\r\n"));
}

void reply_null_array(struct reply *r) {
    add_literal(r->out, r->proto >= 3 ? SPAN("_\r\n") : SPAN("*-1\r\n"));
}

void reply_array(struct reply *r, size_t n) {
    add_number_line(r->out, '*', (int64_t)n);
}

void reply_map(struct reply *r, size_t pairs) {
    if (r->proto >= 3)
        add_number_line(r->out, '%', (int64_t)pairs);
    else
        add_number_line(r->out, '*', (int64_t)pairs * 2);
}

void reply_set(struct reply *r, size_t n) {
    add_number_line(r->out, r->proto >= 3 ? '~' : '*', (int64_t)n);
}

void reply_bool(struct reply *r, bool v) {
    if (r->proto >= 3)
        add_literal(r->out, v ? SPAN("#t\r\n") : SPAN("#f\r\n"));
    else
        add_literal(r->out, v ? SPAN(":1\r\n") : SPAN(":0\r\n"));
}

void reply_double(struct reply *r, double v) {
    char text[DECIMAL_DOUBLE_BYTES];
    const char *end = decimal_put_double(text, v);
    size_t len = (size_t)(end - text);

    ASSERT(len <= sizeof(text));
    if (r->proto < 3) {
        reply_bulk(r, (struct span){text, len});
        return;
    }
    char *to = outbuf_room(r->out, 1 + len + 2);
    if (unlikely(to == NULL))
        return;
    *to++ = ',';
    advance(r->out, put_crlf(put_bytes(to, text, len)));
}

void reply_verbatim(struct reply *r, const char *format, struct span s) {
    if (r->proto < 3) {
        reply_bulk(r, s);
        return;
    }
    ASSERT(strlen(format) == 3);
    char *to = outbuf_room(r->out, LINE_BYTES_MAX + 4 + s.len + 2);
    if (unlikely(to == NULL))
        return;
    *to++ = '=';
    to = put_crlf(decimal_put_uint(to, s.len + 4));
    to = put_bytes(to, format, 3);
    *to++ = ':';
    if (s.len > 0)
        memcpy(to, s.ptr, s.len);
    advance(r->out, put_crlf(to + s.len));
}
