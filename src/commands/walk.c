/* walk.c: see walk_impl.h. */
#include "anax/glob.h"
#include "shards/decimal.h"
#include "walk_impl.h"
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

/* read_cursor: what strtoull understands, as Redis does. */
static bool read_cursor(struct span s, uint64_t *cursor) {
    char text[32], *end;
    if (s.len >= sizeof(text))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    errno = 0;
    *cursor = strtoull(text, &end, 10);
    return *end == '\0' && !isspace((unsigned char)text[0]) && errno != ERANGE;
}

/* read_options: false: replied what is wrong. */
static bool read_options(struct ctx *c, struct walk *w, uint8_t type) {
    for (uint32_t i = 3; i < c->argc; i++) {
        bool paired = i + 1 < c->argc;
        int64_t n;
        if (paired && span_is(c->argv[i], "COUNT")) {
            if (!ctx_get_int(c, ++i, &n))
                return false;
            if (n >= 1) {
                w->count = n < WALK_COUNT_MAX ? (uint64_t)n : WALK_COUNT_MAX;
                continue;
            }
        } else if (paired && span_is(c->argv[i], "MATCH")) {
            w->pattern = c->argv[++i];
            w->all = span_eq(w->pattern, SPAN("*"));
            continue;
        } else if ((type == VALUE_HASH && span_is(c->argv[i], "NOVALUES")) ||
                   (type == VALUE_ZSET && span_is(c->argv[i], "NOSCORES"))) {
            w->no_values = true;
            continue;
        }
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    return true;
}

static void reply_cursor(struct reply *r, uint64_t cursor) {
    char text[DECIMAL_INT_BYTES];
    const char *end = decimal_put_uint(text, cursor);
    reply_array(r, 2);
    reply_bulk(r, (struct span){text, (size_t)(end - text)});
}

bool walk_begin(struct ctx *c, uint8_t type, struct val *v, struct walk *w) {
    *w = (struct walk){.count = 10, .all = true};
    if (!read_cursor(c->argv[2], &w->cursor)) {
        reply_error(&c->reply, "ERR invalid cursor");
        return false;
    }
    if (!coll_read(c, 1, type, v))
        return false;
    if (v->form == VAL_NONE) {
        reply_cursor(&c->reply, 0);
        reply_array(&c->reply, 0);
        return false;
    }
    if (!read_options(c, w, type))
        return false;
    outbuf_init(&w->found, keyspace_mem(c->keyspace));
    w->reply = (struct reply){.out = &w->found, .proto = c->reply.proto, .owner = c->reply.owner};
    return true;
}

bool walk_matches(const struct walk *w, struct span name) {
    return w->all || glob_match(w->pattern, name, false);
}

void walk_end(struct ctx *c, struct walk *w) {
    if (w->found.failed) {
        ctx_oom(c);
    } else {
        reply_cursor(&c->reply, w->cursor);
        reply_array(&c->reply, w->replied);
        outbuf_add(c->reply.out, w->found.buf, w->found.len);
    }
    outbuf_deinit(&w->found);
}
