/* history_sim.c: clients that share few keys, on simulated loops; what they saw goes to files for tests/consistency.
 *
 * Usage       history_sim [--seeds N] [--first SEED] [--out DIR] [--verbose]; DIR gets seed-N.jsonl of each seed, whose
 *             format is told in tests/consistency/README.md; then tests/consistency/check_files.py DIR.
 *
 * Beside what sim_world.h says, a seed chooses the clients, how much each sends before it reads, resets, and one of two
 * kinds: lists and registers (APPEND, GET, SET, MGET, MSET, MULTI, WATCH), which a graph decides, in long histories;
 * or everything that moves, copies and counts keys, in short ones, which a search decides. Time is the number of
 * the step: a command starts in the step that sends it and ends in the one that has read its reply.
 */
#include "anax/command.h"
#include "sim_world.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS_MAX = 6,
    OPS_MAX = 5,
    DEPTH_MAX = 4, /* records of a client that wait for replies */
    RECORDS_MAX = 1200,
    RECORDS_GRAPH = 250,
    RECORDS_SEARCH = 70,
    LISTS = 3,
    REGISTERS = 4,
    DBS = 2,
    NAME_MAX = 24,
    REPLY_MAX = 256 * 1024,
    STEPS_MAX = 1000000,
    SETTLE_MAX = 200000
};

enum kind {
    OP_APPEND,
    OP_LIST, /* reads one */
    OP_SET,
    OP_GET,
    OP_DEL,
    OP_EXISTS,
    OP_RENAME,
    OP_RENAMENX,
    OP_COPY,
    OP_COPY_REPLACE,
    OP_INCRBY,
    OP_GETSET,
    OP_GETDEL,
    OP_MOVE,
    OP_MSETNX,
    OP_SWAPDB,
    OP_FLUSHDB,
    OP_FLUSHALL,
    OP_DBSIZE
};

struct op {
    enum kind kind;
    char key[NAME_MAX], to[NAME_MAX]; /* without database */
    long v;
    char *result; /* as JSON, of what read or counted; NULL: not known */
};

/* How the operations of a record are sent. */
enum form {
    FORM_EACH, /* one command */
    FORM_MGET,
    FORM_MSET,
    FORM_MULTI,
    FORM_DISCARD,
    FORM_WATCH /* the first are read under WATCH; when that is answered, the rest goes in MULTI */
};
enum outcome { OUTCOME_OK, OUTCOME_FAIL, OUTCOME_INFO, OUTCOME_NOTHING };

struct record {
    enum form form;
    enum outcome outcome;
    unsigned client, db;
    uint64_t start, end;
    struct op ops[OPS_MAX];
    unsigned count, watched;
    bool late_exec; /* EXEC is sent when what came before it has been answered */
    unsigned stage; /* stages answered */
};

struct client {
    struct sim_client *end;
    unsigned id, db, depth;
    bool greeted;                      /* SELECT, the first it sends, has been answered */
    struct record *waiting[DEPTH_MAX]; /* in the order sent */
    unsigned waiting_count;
    char in[REPLY_MAX];
    size_t in_len;
};

static struct sim_world w;
static struct client clients[CLIENTS_MAX];
static struct record records[RECORDS_MAX];
static unsigned client_count, next_client, record_count, record_limit;
static bool search, resets;
static uint64_t now;
static long next_value;
static const char *out_dir;
static char request[64 * 1024];
static size_t request_len;
static uint64_t outcomes[4];

static _Noreturn void fail(const char *what) {
    sim_world_fail(&w, what);
}

static unsigned below(unsigned n) {
    return (unsigned)sim_world_below(&w, n);
}

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

/* flush: a client that was reset learns it when it reads. */
static void flush(struct client *c) {
    (void)sim_client_write(c->end, request, request_len);
    request_len = 0;
}

static void send_stage(struct client *c, struct record *r) {
    now++;
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
    r->start = now;
    flush(c);
}

/* --- replies --- */

/* reply_len: of the first whole reply; 0: it is not all there. */
static size_t reply_len(const char *p, size_t len) {
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
        size_t one = reply_len(p + head, len - head);
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
    struct cursor one = {c->at, reply_len(c->at, c->len)};
    if (one.len == 0)
        fail("a reply is cut short");
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
    fail("a reply that cannot be");
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
    char text[REPLY_MAX];
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

/* --- what clients do --- */

static void choose_register(char *to) {
    (void)snprintf(to, NAME_MAX, "k%u", below(REGISTERS));
}

static void choose_simple(struct op *op, bool write, bool list) {
    op->kind = list ? (write ? OP_APPEND : OP_LIST) : (write ? OP_SET : OP_GET);
    op->v = ++next_value;
    if (list)
        (void)snprintf(op->key, sizeof op->key, "l%u", below(LISTS));
    else
        choose_register(op->key);
}

static void choose_op(struct op *op, unsigned db) {
    *op = (struct op){0};
    if (!search || below(3) == 0) {
        choose_simple(op, below(2) == 0, !search && below(2) == 0);
        return;
    }
    static const enum kind kinds[] = {OP_DEL,    OP_EXISTS,  OP_RENAME, OP_RENAME,  OP_RENAMENX,
                                      OP_COPY,   OP_COPY,    OP_INCRBY, OP_GETSET,  OP_COPY_REPLACE,
                                      OP_GETDEL, OP_MSETNX,  OP_RENAME, OP_COPY,    OP_MOVE,
                                      OP_SWAPDB, OP_FLUSHDB, OP_DBSIZE, OP_FLUSHALL};
    op->kind = kinds[below(COUNT_OF(kinds))];
    if (op->kind >= OP_SWAPDB && op->kind != OP_DBSIZE && below(3) != 0)
        op->kind = OP_RENAME; /* keys should live a while */
    op->v = ++next_value;
    choose_register(op->key);
    do
        choose_register(op->to);
    while (strcmp(op->key, op->to) == 0);
    if (op->kind == OP_MOVE)
        (void)snprintf(op->to, sizeof op->to, "%u", 1 - db);
}

static bool has_key(const struct record *r, const char *key) {
    for (unsigned i = 0; i < r->count; i++)
        if (strcmp(r->ops[i].key, key) == 0)
            return true;
    return false;
}

/* choose_many: different keys of the kind that MGET or MSET takes. */
static void choose_many(struct record *r) {
    bool write = r->form == FORM_MSET;
    unsigned wanted = 2 + below(3);
    for (unsigned tries = 0; tries < 20 && r->count < wanted; tries++) {
        struct op op = {0};
        choose_simple(&op, write, !write && !search && below(2) == 0);
        if (!has_key(r, op.key))
            r->ops[r->count++] = op;
    }
}

static void choose(struct record *r) {
    static const enum form all[] = {FORM_EACH,  FORM_EACH,  FORM_EACH,  FORM_MGET,  FORM_MSET,
                                    FORM_MULTI, FORM_WATCH, FORM_MULTI, FORM_WATCH, FORM_DISCARD};
    r->form = below(12) == 0 ? FORM_DISCARD : all[below(COUNT_OF(all) - 1)];
    if (r->form == FORM_MGET || r->form == FORM_MSET) {
        choose_many(r);
        return;
    }
    if (r->form == FORM_WATCH) {
        r->watched = 1 + below(2);
        for (; r->count < r->watched; r->count++)
            choose_simple(&r->ops[r->count], false, !search && below(2) == 0);
    }
    unsigned more = r->form == FORM_EACH ? 1 : 1 + below(3);
    for (; more > 0; more--)
        choose_op(&r->ops[r->count++], r->db);
    r->late_exec = (r->form == FORM_MULTI || r->form == FORM_DISCARD) && below(3) == 0;
}

/* has_stages: nothing else may be sent before it is over. */
static bool has_stages(const struct record *r) {
    return r->form == FORM_WATCH || r->late_exec;
}

static void client_send(struct client *c) {
    if (record_count == record_limit || c->waiting_count == c->depth)
        return;
    if (c->waiting_count != 0 && has_stages(c->waiting[c->waiting_count - 1]))
        return;
    struct record *r = &records[record_count++];
    memset(r, 0, sizeof *r);
    r->client = c->id;
    r->db = c->db;
    choose(r);
    c->waiting[c->waiting_count++] = r;
    if (!has_stages(r) || c->waiting_count == 1)
        send_stage(c, r);
    else
        r->start = 0; /* sent when it is the first */
}

static void client_connect(struct client *c, unsigned db) {
    c->end = sim_world_connect(&w);
    c->id = next_client++;
    c->db = db;
    c->depth = 1 + below(DEPTH_MAX);
    c->waiting_count = 0;
    c->in_len = 0;
    c->greeted = false;
    SEND("SELECT", c->db == 0 ? "0" : "1");
    flush(c);
}

/* lost: what had been sent may have taken effect; what lacks its EXEC has not. */
static void lost(struct client *c) {
    for (unsigned i = 0; i < c->waiting_count; i++) {
        struct record *r = c->waiting[i];
        bool sent = r->start != 0;
        bool whole = r->stage == 1 || (r->form != FORM_WATCH && !r->late_exec);
        r->outcome = sent && whole && r->form != FORM_DISCARD ? OUTCOME_INFO : OUTCOME_NOTHING;
        r->end = now;
    }
    sim_client_free(c->end);
    client_connect(c, c->db);
}

/* take_replies: as many as are whole. */
static void take_replies(struct client *c) {
    struct cursor in = {c->in, c->in_len};
    if (!c->greeted && reply_len(in.at, in.len) != 0)
        c->greeted = is(take(&in), "+OK\r\n");
    while (c->greeted && c->waiting_count != 0 && c->waiting[0]->start != 0) {
        struct record *r = c->waiting[0];
        struct cursor stage = {in.at, 0};
        unsigned due = replies_due(r);
        for (size_t one; due > 0; due--, stage.len += one)
            if ((one = reply_len(in.at + stage.len, in.len - stage.len)) == 0)
                break;
        if (due != 0)
            break;
        in.at += stage.len;
        in.len -= stage.len;
        if (!take_stage(r, stage)) {
            r->stage = 1;
            send_stage(c, r);
            continue;
        }
        r->end = now;
        c->waiting_count--;
        memmove(c->waiting, c->waiting + 1, c->waiting_count * sizeof(struct record *));
        if (c->waiting_count != 0 && c->waiting[0]->start == 0)
            send_stage(c, c->waiting[0]);
    }
    if (c->greeted && c->waiting_count == 0 && in.len != 0)
        fail("more was answered than was asked");
    memmove(c->in, in.at, in.len);
    c->in_len = in.len;
}

static void client_read(struct client *c) {
    now++;
    for (;;) {
        size_t room = sizeof c->in - c->in_len;
        ssize_t n = sim_client_read(c->end, c->in + c->in_len, 1 + below((unsigned)room - 1));
        if (n == 0)
            return;
        if (n < 0) {
            if (!sim_client_was_reset(c->end))
                fail("the server closed a connection");
            lost(c);
            return;
        }
        c->in_len += (size_t)n;
        take_replies(c);
    }
}

/* --- steps --- */

static void step(void) {
    struct client *c = &clients[below(client_count)];
    unsigned what = below(10);
    if (what < 5)
        (void)sim_world_turn(&w, below(w.n));
    else if (what < 7)
        client_read(c);
    else if (what < 9)
        client_send(c);
    else if (below(4) == 0) /* rarely far: what was refused to be accepted is tried again */
        sim_advance(w.net, below(below(40) == 0 ? 50000000 : 300000));
    if (resets && c->greeted && below(400) == 0)
        sim_client_reset(c->end);
}

static bool all_answered(void) {
    bool all = true;
    for (unsigned i = 0; i < client_count; i++) {
        client_read(&clients[i]);
        all = all && clients[i].greeted && clients[i].waiting_count == 0;
    }
    return all;
}

static void settle(void) {
    sim_world_no_faults(&w);
    for (unsigned rounds = 0; !all_answered(); rounds++) {
        sim_world_round(&w);
        if (rounds == SETTLE_MAX)
            fail("not everything was answered");
    }
}

static void read_one(struct client *c, enum kind kind, char letter, unsigned number) {
    struct record *r = &records[record_count++];
    memset(r, 0, sizeof *r);
    r->client = c->id;
    r->db = c->db;
    r->count = 1;
    r->ops[0].kind = kind;
    (void)snprintf(r->ops[0].key, sizeof r->ops[0].key, "%c%u", letter, number);
    c->waiting[c->waiting_count++] = r;
    send_stage(c, r);
    settle();
}

/* read_all: what is there after everything else has ended, so that no lost write stays unseen. */
static void read_all(void) {
    struct client *c = &clients[0];
    for (unsigned db = 0; db < (search ? DBS : 1); db++) {
        sim_client_free(c->end);
        client_connect(c, db);
        settle();
        for (unsigned i = 0; i < REGISTERS; i++)
            read_one(c, OP_GET, 'k', i);
        for (unsigned i = 0; i < LISTS && !search; i++)
            read_one(c, OP_LIST, 'l', i);
    }
}

/* --- the file --- */

/* put_key: "k", or "1:k" in database 1. */
static void put_key(FILE *f, const struct record *r, const char *key) {
    (void)fprintf(f, r->db == 0 ? "\"%s\"" : "\"1:%s\"", key);
}

static const char *result_of(const struct record *r, const struct op *op) {
    return r->outcome == OUTCOME_OK && op->result != NULL ? op->result : "null";
}

/* put_pair: an operation with two keys, and what it said. */
static void put_pair(FILE *f, const struct record *r, const struct op *op, const char *name) {
    (void)fprintf(f, "[\"%s\", ", name);
    put_key(f, r, op->key);
    (void)fputs(", [", f);
    put_key(f, r, op->to);
    (void)fprintf(f, ", %s]]", result_of(r, op));
}

/* put_set: one that takes two keys alike. */
static void put_set(FILE *f, const struct record *r, const struct op *op, const char *name) {
    (void)fprintf(f, "[\"%s\", [", name);
    put_key(f, r, op->key);
    (void)fputs(", ", f);
    put_key(f, r, op->to);
    if (op->kind == OP_MSETNX)
        (void)fprintf(f, "], [[%ld, %ld], %s]]", op->v, op->v, result_of(r, op));
    else
        (void)fprintf(f, "], %s]", result_of(r, op));
}

/* put_one: one key and what it said; with a value that was given when `given`. */
static void put_one(FILE *f, const struct record *r, const struct op *op, const char *name,
                    bool given) {
    (void)fprintf(f, "[\"%s\", ", name);
    put_key(f, r, op->key);
    if (given)
        (void)fprintf(f, ", [%ld, %s]]", op->v, result_of(r, op));
    else
        (void)fprintf(f, ", %s]", result_of(r, op));
}

static void put_op(FILE *f, const struct record *r, const struct op *op) {
    switch (op->kind) {
    case OP_APPEND:
    case OP_SET:
        (void)fprintf(f, "[\"%s\", ", op->kind == OP_SET ? "w" : "append");
        put_key(f, r, op->key);
        (void)fprintf(f, ", %ld]", op->v);
        return;
    case OP_LIST:
        put_one(f, r, op, "r", false);
        return;
    case OP_GET:
        put_one(f, r, op, "rr", false);
        return;
    case OP_GETDEL:
        put_one(f, r, op, "getdel", false);
        return;
    case OP_INCRBY:
        put_one(f, r, op, "incrby", true);
        return;
    case OP_GETSET:
        put_one(f, r, op, "getset", true);
        return;
    case OP_DEL:
        put_set(f, r, op, "del");
        return;
    case OP_EXISTS:
        put_set(f, r, op, "exists");
        return;
    case OP_MSETNX:
        put_set(f, r, op, "msetnx");
        return;
    case OP_RENAME:
        put_pair(f, r, op, "rename");
        return;
    case OP_RENAMENX:
        put_pair(f, r, op, "renamenx");
        return;
    case OP_COPY:
        put_pair(f, r, op, "copy");
        return;
    case OP_COPY_REPLACE:
        put_pair(f, r, op, "copyr");
        return;
    case OP_MOVE:
        (void)fputs("[\"move\", ", f);
        put_key(f, r, op->key);
        (void)fprintf(f, ", [%s, %s]]", op->to, result_of(r, op));
        return;
    case OP_SWAPDB:
        (void)fputs("[\"swapdb\", 0, 1]", f);
        return;
    case OP_FLUSHDB:
        (void)fprintf(f, "[\"flushdb\", %u, null]", r->db);
        return;
    case OP_FLUSHALL:
        (void)fputs("[\"flushall\", null, null]", f);
        return;
    case OP_DBSIZE:
        (void)fprintf(f, "[\"dbsize\", %u, %s]", r->db, result_of(r, op));
        return;
    }
}

static void put_record(FILE *f, const struct record *r) {
    static const char *const types[] = {"ok", "fail", "info"};
    (void)fprintf(f, "{\"client\": %u, \"start\": %lu, \"end\": ", r->client,
                  (unsigned long)r->start);
    if (r->outcome == OUTCOME_INFO)
        (void)fputs("null", f);
    else
        (void)fprintf(f, "%lu", (unsigned long)r->end);
    (void)fprintf(f, ", \"type\": \"%s\", \"ops\": [", types[r->outcome]);
    for (unsigned i = 0; i < r->count; i++) {
        (void)fputs(i == 0 ? "" : ", ", f);
        put_op(f, r, &r->ops[i]);
    }
    (void)fputs("]}\n", f);
}

static void write_file(void) {
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/seed-%lu.jsonl", out_dir, (unsigned long)w.seed);
    FILE *f = fopen(path, "w");
    if (f == NULL)
        fail("the history cannot be written");
    for (unsigned i = 0; i < record_count; i++)
        if (records[i].outcome != OUTCOME_NOTHING)
            put_record(f, &records[i]);
    if (fclose(f) != 0)
        fail("the history was not written");
}

/* --- a seed --- */

static void begin_seed(uint64_t seed) {
    sim_world_begin(&w, seed);
    search = below(2) == 0;
    resets = below(3) == 0;
    client_count = 2 + below(CLIENTS_MAX - 1);
    next_client = record_count = 0;
    record_limit = search ? RECORDS_SEARCH : RECORDS_GRAPH;
    next_value = 0;
    now = 0;
    for (unsigned i = 0; i < client_count; i++)
        client_connect(&clients[i], search && below(4) == 0);
    sim_world_faults(&w);
}

static void end_seed(void) {
    for (unsigned i = 0; i < client_count; i++)
        sim_client_free(clients[i].end);
    sim_world_quiet(&w);
    for (unsigned i = 0; i < record_count; i++) {
        outcomes[records[i].outcome]++;
        for (unsigned k = 0; k < records[i].count; k++)
            free(records[i].ops[k].result);
    }
    sim_world_end(&w);
}

static void run_seed(uint64_t seed) {
    shard_claim();
    begin_seed(seed);
    for (unsigned steps = 0; record_count < record_limit; steps++) {
        step();
        if (steps == STEPS_MAX)
            fail("clients do not get on");
    }
    settle();
    read_all();
    if (out_dir != NULL)
        write_file();
    end_seed();
}

static bool extra(const char *name, const char *value) {
    if (strcmp(name, "--out") != 0)
        return false;
    out_dir = value;
    return true;
}

/* reached: what must have happened for the files to be worth checking. */
static bool reached(uint64_t seeds) {
    const struct sim_totals *t = &sim_totals;
    (void)printf("%lu took effect, %lu did not, %lu unknown; ", (unsigned long)outcomes[OUTCOME_OK],
                 (unsigned long)outcomes[OUTCOME_FAIL], (unsigned long)outcomes[OUTCOME_INFO]);
    (void)printf(
        "%lu transactions, %lu claims waited, %lu yielded, %lu overtook, %lu steps waited\n",
        (unsigned long)t->transactions, (unsigned long)t->claims_waited, (unsigned long)t->yielded,
        (unsigned long)t->overtook, (unsigned long)t->steps_waited);
    return seeds < 50 ||
           (outcomes[OUTCOME_FAIL] != 0 && outcomes[OUTCOME_INFO] != 0 && t->claims_waited != 0 &&
            t->yielded != 0 && t->overtook != 0 && t->steps_waited != 0 && t->borrows != 0);
}

int main(int argc, char **argv) {
    return sim_world_main(argc, argv, 200, run_seed, extra, reached);
}
