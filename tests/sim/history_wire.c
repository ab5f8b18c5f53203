/* history_wire.c: what a record sends, and what comes back. */
#include "history_impl.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_MAX = 4096, LIST_TEXT_MAX = 16384 };

static const struct sim_world *world; /* whose seed a failure names */
static char request[REQUEST_MAX];
static size_t request_len;

/* --- requests --- */

static void PRINTF_LIKE(1, 2) add(const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    request_len +=
        (size_t)vsnprintf(request + request_len, sizeof request - request_len, fmt, args);
    va_end(args);
}

static void add_words(unsigned n, const char *const *words) {
    add("*%u\r\n", n);
    for (unsigned i = 0; i < n; i++)
        add("$%zu\r\n%s\r\n", strlen(words[i]), words[i]);
}

#define SEND(...)                                                                                  \
    add_words(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *),                         \
              (const char *const[]){__VA_ARGS__})

static void send_op(const struct op *op) {
    char v[24];
    (void)snprintf(v, sizeof v, op->kind == OP_APPEND ? "%ld," : "%ld", op->v);
    switch (op->kind) {
    case OP_APPEND:
        SEND("APPEND", op->key, v);
        return;
    case OP_LIST:
    case OP_GET:
        SEND("GET", op->key);
        return;
    case OP_SET:
        SEND("SET", op->key, v);
        return;
    case OP_DEL:
        SEND(op->v % 2 ? "DEL" : "UNLINK", op->key, op->to);
        return;
    case OP_EXISTS:
        SEND(op->v % 2 ? "EXISTS" : "TOUCH", op->key, op->to);
        return;
    case OP_RENAME:
        SEND("RENAME", op->key, op->to);
        return;
    case OP_RENAMENX:
        SEND("RENAMENX", op->key, op->to);
        return;
    case OP_COPY:
        SEND("COPY", op->key, op->to);
        return;
    case OP_COPY_REPLACE:
        SEND("COPY", op->key, op->to, "REPLACE");
        return;
    case OP_INCRBY:
        SEND("INCRBY", op->key, v);
        return;
    case OP_GETSET:
        SEND("SET", op->key, v, "GET");
        return;
    case OP_GETDEL:
        SEND("GETDEL", op->key);
        return;
    case OP_MOVE:
        SEND("MOVE", op->key, op->to);
        return;
    case OP_MSETNX:
        SEND("MSETNX", op->key, v, op->to, v);
        return;
    case OP_SWAPDB:
        SEND("SWAPDB", "0", "1");
        return;
    case OP_FLUSHDB:
        SEND("FLUSHDB");
        return;
    case OP_FLUSHALL:
        SEND("FLUSHALL");
        return;
    case OP_DBSIZE:
        SEND("DBSIZE");
        return;
    }
}

static void send_ops(const struct record *r, unsigned from) {
    for (unsigned i = from; i < r->count; i++)
        send_op(&r->ops[i]);
}

static void send_many(const struct record *r, const char *name, bool values) {
    add("*%u\r\n$4\r\n%s\r\n", 1 + r->count * (values ? 2 : 1), name);
    for (unsigned i = 0; i < r->count; i++) {
        char v[24];
        add("$%zu\r\n%s\r\n", strlen(r->ops[i].key), r->ops[i].key);
        if (values)
            add("$%d\r\n%s\r\n", snprintf(v, sizeof v, "%ld", r->ops[i].v), v);
    }
}

struct span history_request(const struct record *r) {
    request_len = 0;
    switch (r->form) {
    case FORM_EACH:
        send_ops(r, 0);
        break;
    case FORM_MGET:
        send_many(r, "MGET", false);
        break;
    case FORM_MSET:
        send_many(r, "MSET", true);
        break;
    case FORM_MULTI:
    case FORM_DISCARD:
        if (r->stage == 0) {
            SEND("MULTI");
            send_ops(r, 0);
        }
        if (r->stage == 1 || !r->late_exec)
            SEND(r->form == FORM_MULTI ? "EXEC" : "DISCARD");
        break;
    case FORM_WATCH:
        if (r->stage == 0) {
            add("*%u\r\n$5\r\nWATCH\r\n", 1 + r->watched);
            for (unsigned i = 0; i < r->watched; i++)
                add("$%zu\r\n%s\r\n", strlen(r->ops[i].key), r->ops[i].key);
            for (unsigned i = 0; i < r->watched; i++)
                send_op(&r->ops[i]);
            break;
        }
        SEND("MULTI");
        send_ops(r, r->watched);
        SEND("EXEC");
        break;
    }
    return (struct span){request, request_len};
}

/* --- replies --- */

size_t history_reply_len(const char *p, size_t len) {
    const char *line = memchr(p, '\n', len);
    if (line == NULL)
        return 0;
    size_t head = (size_t)(line - p) + 1;
    long n = strtol(p + 1, NULL, 10);
    if (*p == '$')
        return n < 0 ? head : head + (size_t)n + 2 <= len ? head + (size_t)n + 2 : 0;
    if (*p != '*')
        return head;
    for (long i = 0; i < n; i++) {
        size_t one = history_reply_len(p + head, len - head);
        if (one == 0)
            return 0;
        head += one;
    }
    return head;
}

struct cursor {
    const char *at;
    size_t len;
};

static struct cursor take(struct cursor *c) {
    struct cursor one = {c->at, history_reply_len(c->at, c->len)};
    if (one.len == 0)
        sim_world_fail(world, "a reply is cut short");
    c->at += one.len;
    c->len -= one.len;
    return one;
}

static bool is(struct cursor c, const char *text) {
    return c.len == strlen(text) && memcmp(c.at, text, c.len) == 0;
}

static _Noreturn void strange(const struct record *r, struct cursor c) {
    (void)printf("form %d, first op %d: %.*s\n", (int)r->form, (int)r->ops[0].kind, (int)c.len,
                 c.at);
    sim_world_fail(world, "a reply that cannot be");
}

static void expect(const struct record *r, struct cursor *c, const char *text) {
    struct cursor one = take(c);
    if (!is(one, text))
        strange(r, one);
}

static void result(struct op *op, const char *text, size_t len) {
    free(op->result);
    op->result = malloc(len + 1);
    if (op->result == NULL)
        abort();
    memcpy(op->result, text, len);
    op->result[len] = '\0';
}

static void result_int(struct op *op, long v) {
    char text[24];
    result(op, text, (size_t)snprintf(text, sizeof text, "%ld", v));
}

/* take_string: a bulk string as JSON: null, a number, or, of a list "1,2,", [1,2]. */
static void take_string(const struct record *r, struct op *op, struct cursor one) {
    char text[LIST_TEXT_MAX];
    const char *bytes = memchr(one.at, '\n', one.len);
    bool list = op->kind == OP_LIST;
    if (*one.at != '$')
        strange(r, one);
    if (one.at[1] == '-') {
        result(op, list ? "[]" : "null", list ? 2 : 4);
        return;
    }
    size_t len = one.len - (size_t)(bytes + 1 - one.at) - 2;
    if (strspn(bytes + 1, list ? "0123456789," : "-0123456789") != len)
        strange(r, one);
    if (!list) {
        result(op, bytes + 1, len);
        return;
    }
    if (bytes[len] != ',')
        strange(r, one);
    result(op, text, (size_t)snprintf(text, sizeof text, "[%.*s]", (int)(len - 1), bytes + 1));
}

static void take_op(const struct record *r, struct op *op, struct cursor *c) {
    struct cursor one = take(c);
    switch (op->kind) {
    case OP_SET:
    case OP_SWAPDB:
    case OP_FLUSHDB:
    case OP_FLUSHALL:
        if (!is(one, "+OK\r\n"))
            strange(r, one);
        return;
    case OP_LIST:
    case OP_GET:
    case OP_GETSET:
    case OP_GETDEL:
        take_string(r, op, one);
        return;
    case OP_RENAME:
    case OP_RENAMENX:
        if (is(one, "+OK\r\n"))
            result_int(op, 1);
        else if (is(one, "-ERR no such key\r\n"))
            result_int(op, -1);
        else if (*one.at == ':')
            result_int(op, strtol(one.at + 1, NULL, 10));
        else
            strange(r, one);
        return;
    default:
        if (*one.at != ':')
            strange(r, one);
        result_int(op, strtol(one.at + 1, NULL, 10));
    }
}

/* replies_due: how many replies make up the stage that was sent. */
static unsigned replies_due(const struct record *r) {
    switch (r->form) {
    case FORM_EACH:
    case FORM_MGET:
    case FORM_MSET:
        return 1;
    case FORM_MULTI:
    case FORM_DISCARD:
        return !r->late_exec ? r->count + 2 : r->stage == 0 ? r->count + 1 : 1;
    case FORM_WATCH:
        return r->stage == 0 ? 1 + r->watched : r->count - r->watched + 2;
    }
    return 0;
}

static void take_exec(struct record *r, unsigned from, struct cursor *c) {
    struct cursor all = take(c);
    char head[16];
    size_t len = (size_t)snprintf(head, sizeof head, "*%u\r\n", r->count - from);
    r->outcome = OUTCOME_OK;
    if (is(all, "*-1\r\n") && r->form == FORM_WATCH) {
        r->outcome = OUTCOME_FAIL;
        return;
    }
    if (all.len < len || memcmp(all.at, head, len) != 0)
        strange(r, all);
    all.at += len;
    all.len -= len;
    for (unsigned i = from; i < r->count; i++)
        take_op(r, &r->ops[i], &all);
}

static void take_queued(const struct record *r, unsigned from, struct cursor *c) {
    expect(r, c, "+OK\r\n");
    for (unsigned i = from; i < r->count; i++)
        expect(r, c, "+QUEUED\r\n");
}

static void take_many(struct record *r, struct cursor *c) {
    struct cursor all = take(c);
    size_t head = (size_t)((const char *)memchr(all.at, '\n', all.len) + 1 - all.at);
    if (*all.at != '*' || strtol(all.at + 1, NULL, 10) != (long)r->count)
        strange(r, all);
    all.at += head;
    all.len -= head;
    for (unsigned i = 0; i < r->count; i++)
        take_op(r, &r->ops[i], &all);
}

/* take_stage: true when the record is complete. */
static bool take_stage(struct record *r, struct cursor c) {
    r->outcome = OUTCOME_OK;
    switch (r->form) {
    case FORM_EACH:
        take_op(r, &r->ops[0], &c);
        return true;
    case FORM_MGET:
        take_many(r, &c);
        return true;
    case FORM_MSET:
        expect(r, &c, "+OK\r\n");
        return true;
    case FORM_MULTI:
    case FORM_DISCARD:
        if (r->stage == 0)
            take_queued(r, 0, &c);
        if (r->stage == 0 && r->late_exec)
            return false;
        if (r->form == FORM_MULTI)
            take_exec(r, 0, &c);
        else
            expect(r, &c, "+OK\r\n");
        if (r->form == FORM_DISCARD)
            r->outcome = OUTCOME_FAIL;
        return true;
    case FORM_WATCH:
        if (r->stage == 0) {
            expect(r, &c, "+OK\r\n");
            for (unsigned i = 0; i < r->watched; i++)
                take_op(r, &r->ops[i], &c);
            return false;
        }
        take_queued(r, r->watched, &c);
        take_exec(r, r->watched, &c);
        return true;
    }
    return true;
}

size_t history_take(const struct sim_world *w, struct record *r, struct span in, bool *complete) {
    size_t len = 0;
    world = w;
    for (unsigned due = replies_due(r); due > 0; due--) {
        size_t one = history_reply_len(in.ptr + len, in.len - len);
        if (one == 0)
            return 0;
        len += one;
    }
    *complete = take_stage(r, (struct cursor){in.ptr, len});
    return len;
}
