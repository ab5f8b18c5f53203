/* history_wire.c: what a record sends, and what comes back. */
#include "history_impl.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_MAX = 4096, WORD_MAX = 64, TEXT_MAX = 16384 };

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

static unsigned word_count(const char *words) {
    unsigned n = 1;
    for (; *words != '\0'; words++)
        n += *words == ' ';
    return n;
}

static void send_op(const struct op *op) {
    char argument[WORD_MAX];
    const char *word = history_shape(op->kind)->wire;
    add("*%u\r\n", word_count(word));
    for (size_t len; *word != '\0'; word += len + (word[len] == ' ')) {
        len = strcspn(word, " ");
        size_t n = history_argument(op, word, len, argument, sizeof argument);
        add("$%zu\r\n%.*s\r\n", n, (int)n, argument);
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

/* --- replies as JSON --- */

struct text {
    char bytes[TEXT_MAX];
    size_t len;
};

static void PRINTF_LIKE(2, 3) put(struct text *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    t->len += (size_t)vsnprintf(t->bytes + t->len, sizeof t->bytes - t->len, fmt, args);
    va_end(args);
    if (t->len >= sizeof t->bytes)
        sim_world_fail(world, "a reply is too long");
}

/* bytes_of: of a bulk string that is there, which is made of these characters only. */
static struct span bytes_of(const struct record *r, struct cursor one, const char *of) {
    const char *head = memchr(one.at, '\n', one.len);
    struct span s = {head + 1, one.len - (size_t)(head + 1 - one.at) - 2};
    if (*one.at != '$' || one.at[1] == '-' || strspn(s.ptr, of) != s.len)
        strange(r, one);
    return s;
}

/* put_element: what SORT has put where it found nothing is empty. */
static void put_element(const struct record *r, struct text *t, struct cursor one) {
    if (is(one, "$-1\r\n")) {
        put(t, "null");
        return;
    }
    struct span s = bytes_of(r, one, "-0123456789");
    if (s.len == 0)
        put(t, "\"\"");
    else
        put(t, "%.*s", (int)s.len, s.ptr);
}

static void put_csv(const struct record *r, struct text *t, struct cursor one) {
    if (is(one, "$-1\r\n")) {
        put(t, "[]");
        return;
    }
    struct span s = bytes_of(r, one, "0123456789,");
    if (s.len == 0 || s.ptr[s.len - 1] != ',')
        strange(r, one);
    put(t, "[%.*s]", (int)s.len - 1, s.ptr);
}

/* take_head: of an array, which is then its elements; -1: there is none. */
static long take_head(const struct record *r, struct cursor *all) {
    size_t head = (size_t)((const char *)memchr(all->at, '\n', all->len) + 1 - all->at);
    if (*all->at != '*')
        strange(r, *all);
    long n = strtol(all->at + 1, NULL, 10);
    all->at += head;
    all->len -= head;
    return n;
}

/* put_row: each of `stride` elements; 1: one by one, 2: in pairs. */
static void put_row(const struct record *r, struct text *t, struct cursor all, long stride) {
    struct cursor whole = all;
    long n = take_head(r, &all);
    if (n < 0) {
        put(t, "null");
        return;
    }
    if (n % stride != 0)
        strange(r, whole);
    put(t, "[");
    for (long i = 0; i < n; i++) {
        put(t, i == 0 ? "" : ", ");
        put(t, stride == 2 && i % 2 == 0 ? "[" : "");
        put_element(r, t, take(&all));
        put(t, stride == 2 && i % 2 == 1 ? "]" : "");
    }
    put(t, "]");
}

/* put_pop: the key that gave some, and what. */
static void put_pop(const struct record *r, struct text *t, struct cursor all, bool scored) {
    long n = take_head(r, &all);
    if (n < 0) {
        put(t, "null");
        return;
    }
    struct span key = bytes_of(r, take(&all), "qszx0123456789");
    put(t, "[\"%s%.*s\", ", r->db == 0 ? "" : "1:", (int)key.len, key.ptr);
    if (!scored) {
        put_row(r, t, all, 1);
    } else {
        n = take_head(r, &all);
        for (long i = 0; i < n; i++) {
            put(t, i == 0 ? "[" : ", ");
            put_row(r, t, take(&all), 1);
        }
        put(t, "]");
    }
    put(t, "]");
}

static void put_number(const struct record *r, struct text *t, struct cursor one) {
    if (*one.at != ':')
        strange(r, one);
    put(t, "%ld", strtol(one.at + 1, NULL, 10));
}

static void put_said(const struct record *r, struct text *t, enum said said, struct cursor one) {
    bool nothing = is(one, "$-1\r\n");
    switch (said) {
    case SAID_OK:
        if (!is(one, "+OK\r\n"))
            strange(r, one);
        return;
    case SAID_DONE:
        if (is(one, "+OK\r\n") || is(one, "-ERR no such key\r\n"))
            put(t, *one.at == '+' ? "1" : "-1");
        else
            put_number(r, t, one);
        return;
    case SAID_LENGTH:
    case SAID_INT:
        put_number(r, t, one);
        return;
    case SAID_TEXT:
        put_element(r, t, one);
        return;
    case SAID_CSV:
        put_csv(r, t, one);
        return;
    case SAID_ONE:
        put(t, nothing ? "" : "[");
        put_element(r, t, one);
        put(t, nothing ? "" : "]");
        return;
    case SAID_ROW:
    case SAID_PAIRS:
        put_row(r, t, one, said == SAID_PAIRS ? 2 : 1);
        return;
    case SAID_POP:
    case SAID_ZPOP:
        put_pop(r, t, one, said == SAID_ZPOP);
    }
}

static void take_op(const struct record *r, struct op *op, struct cursor *c) {
    static const char wrong_type[] = "-WRONGTYPE ";
    size_t len = sizeof wrong_type - 1;
    struct cursor one = take(c);
    struct text t = {.len = 0};
    if (op->kind >= OP_RPUSH && one.len > len && memcmp(one.at, wrong_type, len) == 0)
        put(&t, "\"WRONGTYPE\"");
    else
        put_said(r, &t, history_shape(op->kind)->said, one);
    result(op, t.bytes, t.len);
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
    struct cursor all = take(c), whole = all;
    if (take_head(r, &all) != (long)r->count)
        strange(r, whole);
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
