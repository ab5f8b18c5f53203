/* expiry_ops.c: commands on strings and on keys, made at random, and what each must say and do. */
#include "expiry_impl.h"
#include "shards/assert.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COND_NX = 1, COND_XX = 2, COND_GT = 4, COND_LT = 8 };

/* --- what is said --- */

PRINTF_LIKE(3, 0)
static size_t add(char *to, size_t len, const char *format, va_list args) {
    int n = vsnprintf(to + len, EXPIRY_SPOKEN_MAX - len, format, args);
    ASSERT(n >= 0);
    ASSERT((size_t)n < EXPIRY_SPOKEN_MAX - len);
    return len + (size_t)n;
}

void talk_ask(struct talk *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    t->asked_len = add(t->asked, t->asked_len, format, args);
    va_end(args);
}

void talk_expect(struct talk *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    t->expected_len = add(t->expected, t->expected_len, format, args);
    va_end(args);
}

void talk_expect_text(struct talk *t, const struct key *k) {
    if (k == NULL)
        talk_expect(t, "$-1\r\n");
    else
        talk_expect(t, "$%u\r\n%.*s\r\n", k->len, (int)k->len, k->text);
}

static void expect_int(struct talk *t, long v) {
    talk_expect(t, ":%ld\r\n", v);
}

/* --- what is chosen --- */

unsigned ops_below(const struct talk *t, unsigned n) {
    return (unsigned)sim_world_below(t->m->world, n);
}

struct key *ops_key(struct talk *t, unsigned i) {
    return &t->m->keys[t->db][i];
}

static unsigned any(struct talk *t) {
    return ops_below(t, EXPIRY_KEYS);
}

static unsigned another(struct talk *t, unsigned than) {
    return (than + 1 + ops_below(t, EXPIRY_KEYS - 1)) % EXPIRY_KEYS;
}

int64_t ops_when(const struct talk *t) {
    static const unsigned within_ms[] = {2, 5, 40, 300, 700, 5000, 100000};
    if (ops_below(t, 12) == 0)
        return t->m->now_ms - ops_below(t, 3);
    return t->m->now_ms + 1 + ops_below(t, within_ms[ops_below(t, COUNT_OF(within_ms))]);
}

unsigned ops_conditions(const struct talk *t, char text[16]) {
    static const char *const words[] = {[COND_NX] = " NX",
                                        [COND_XX] = " XX",
                                        [COND_GT] = " GT",
                                        [COND_LT] = " LT",
                                        [COND_XX | COND_GT] = " XX GT",
                                        [COND_XX | COND_LT] = " LT XX"};
    unsigned c = ops_below(t, 2) == 0 ? 0 : ops_below(t, COUNT_OF(words));
    if (words[c] == NULL)
        c = 0;
    (void)snprintf(text, 16, "%s", c == 0 ? "" : words[c]);
    return c;
}

bool ops_allowed(unsigned conditions, int64_t now, int64_t wanted) {
    if ((conditions & COND_NX) != 0 && now != 0)
        return false;
    if ((conditions & COND_XX) != 0 && now == 0)
        return false;
    if ((conditions & COND_GT) != 0 && (now == 0 || wanted <= now))
        return false;
    return (conditions & COND_LT) == 0 || now == 0 || wanted < now;
}

/* value: of a string; short, a number, or longer than an entry takes. */
static size_t value(const struct talk *t, char text[EXPIRY_TEXT_MAX]) {
    if (ops_below(t, 5) == 0) {
        size_t len = 100 + ops_below(t, EXPIRY_APPEND_FROM_MAX - 100);
        memset(text, 'a' + (int)ops_below(t, 26), len);
        text[len] = 0;
        return len;
    }
    return (size_t)snprintf(text, EXPIRY_TEXT_MAX, "%s%u", ops_below(t, 3) == 0 ? "v" : "",
                            1 + ops_below(t, 100000));
}

/* expire_words: an expiry by one of the four units, whose time *ms becomes; what is counted from now on must not be 0
 * or less, which is an error. */
static void expire_words(struct talk *t, int64_t *ms) {
    int64_t when = ops_when(t), seconds = 1 + ops_below(t, 3);
    switch (ops_below(t, 4)) {
    case 0:
        *ms = t->m->now_ms + seconds * 1000;
        talk_ask(t, " EX %ld", seconds);
        break;
    case 1:
        *ms = when > t->m->now_ms ? when : t->m->now_ms + 1;
        talk_ask(t, " PX %ld", *ms - t->m->now_ms);
        break;
    case 2:
        *ms = (t->m->now_ms / 1000 + seconds - 1) * 1000;
        talk_ask(t, " EXAT %ld", *ms / 1000);
        break;
    default:
        *ms = when;
        talk_ask(t, " PXAT %ld", when);
    }
}

/* give: the key's time becomes ms; one that is over already deletes it. */
static void give(struct talk *t, struct key *k, int64_t ms) {
    if (ms != 0 && ms <= t->m->now_ms)
        model_forget(k);
    else
        k->expire_ms = ms;
}

/* is_other: replied that it is no string. */
static bool is_other(struct talk *t, const struct key *k) {
    if (k->kind == KIND_NONE || k->kind == KIND_STRING)
        return false;
    talk_expect(t, OPS_WRONG_TYPE);
    return true;
}

static const struct key *text_or_none(const struct key *k) {
    return k->kind == KIND_STRING ? k : NULL;
}

/* --- strings --- */

static void set(struct talk *t) {
    char text[EXPIRY_TEXT_MAX];
    unsigned i = any(t), condition = ops_below(t, 6), how = ops_below(t, 4);
    size_t len = value(t, text);
    struct key *k = ops_key(t, i);
    bool get = ops_below(t, 4) == 0;
    int64_t ms = 0;
    talk_ask(t, "SET k%u %s%s", i, text, condition == 0 ? " NX" : condition == 1 ? " XX" : "");
    if (how == 0)
        talk_ask(t, " KEEPTTL");
    else if (how != 1)
        expire_words(t, &ms);
    talk_ask(t, "%s\r\n", get ? " GET" : "");
    if (get && is_other(t, k))
        return;
    bool done = condition > 1 || (condition == 0) == (k->kind == KIND_NONE);
    if (get)
        talk_expect_text(t, text_or_none(k));
    else
        talk_expect(t, done ? "+OK\r\n" : "$-1\r\n");
    if (!done)
        return;
    model_set_text(k, text, len);
    if (how != 0)
        give(t, k, ms);
}

static void setex(struct talk *t) {
    char text[EXPIRY_TEXT_MAX];
    unsigned i = any(t), n = 1 + ops_below(t, 3), by = ops_below(t, 2);
    size_t len = value(t, text);
    int64_t ms = by == 0 ? n * 1000 : 1 + ops_below(t, 600);
    talk_ask(t, "%s k%u %ld %s\r\n", by == 0 ? "SETEX" : "PSETEX", i, by == 0 ? (long)n : ms, text);
    talk_expect(t, "+OK\r\n");
    model_set_text(ops_key(t, i), text, len);
    ops_key(t, i)->expire_ms = t->m->now_ms + ms;
}

static void setnx(struct talk *t) {
    char text[EXPIRY_TEXT_MAX];
    unsigned i = any(t);
    size_t len = value(t, text);
    talk_ask(t, "SETNX k%u %s\r\n", i, text);
    expect_int(t, ops_key(t, i)->kind == KIND_NONE);
    if (ops_key(t, i)->kind == KIND_NONE)
        model_set_text(ops_key(t, i), text, len);
}

static void getset(struct talk *t) {
    char text[EXPIRY_TEXT_MAX];
    unsigned i = any(t);
    size_t len = value(t, text);
    struct key *k = ops_key(t, i);
    talk_ask(t, "GETSET k%u %s\r\n", i, text);
    if (is_other(t, k))
        return;
    talk_expect_text(t, text_or_none(k));
    k->expire_ms = 0;
    model_set_text(k, text, len);
}

static void getdel(struct talk *t) {
    unsigned i = any(t);
    talk_ask(t, "GETDEL k%u\r\n", i);
    if (is_other(t, ops_key(t, i)))
        return;
    talk_expect_text(t, text_or_none(ops_key(t, i)));
    if (ops_key(t, i)->kind != KIND_NONE)
        model_forget(ops_key(t, i));
}

static void getex(struct talk *t) {
    unsigned i = any(t), how = ops_below(t, 4);
    struct key *k = ops_key(t, i);
    int64_t ms = 0;
    talk_ask(t, "GETEX k%u", i);
    if (how == 1)
        talk_ask(t, " PERSIST");
    else if (how > 1)
        expire_words(t, &ms);
    talk_ask(t, "\r\n");
    if (is_other(t, k))
        return;
    talk_expect_text(t, text_or_none(k));
    if (k->kind != KIND_NONE && how != 0)
        give(t, k, ms);
}

static void get(struct talk *t) {
    unsigned i = any(t);
    talk_ask(t, "GET k%u\r\n", i);
    if (!is_other(t, ops_key(t, i)))
        talk_expect_text(t, text_or_none(ops_key(t, i)));
}

static void append(struct talk *t) {
    unsigned i = any(t);
    struct key *k = ops_key(t, i);
    if (k->kind == KIND_STRING && k->len > EXPIRY_APPEND_FROM_MAX)
        return;
    talk_ask(t, "APPEND k%u xyz\r\n", i);
    if (is_other(t, k))
        return;
    if (k->kind == KIND_NONE)
        model_set_text(k, "", 0);
    memcpy(k->text + k->len, "xyz", 3);
    k->len += 3;
    expect_int(t, k->len);
}

static void setrange(struct talk *t) {
    unsigned i = any(t);
    struct key *k = ops_key(t, i);
    talk_ask(t, "SETRANGE k%u 0 7\r\n", i);
    if (is_other(t, k))
        return;
    if (k->kind == KIND_NONE)
        model_set_text(k, "7", 1);
    if (k->len == 0)
        k->len = 1;
    k->text[0] = '7';
    expect_int(t, k->len);
}

static void incr(struct talk *t) {
    unsigned i = any(t);
    struct key *k = ops_key(t, i);
    char text[EXPIRY_TEXT_MAX];
    talk_ask(t, "INCR k%u\r\n", i);
    if (is_other(t, k))
        return;
    bool number = k->len < 16;
    for (unsigned at = 0; at < k->len; at++)
        number &= k->text[at] >= '0' && k->text[at] <= '9';
    if (!number) {
        talk_expect(t, "-ERR value is not an integer or out of range\r\n");
        return;
    }
    (void)snprintf(text, sizeof text, "%.*s", (int)k->len, k->text);
    long v = atol(text) + 1;
    model_set_text(k, text, (size_t)snprintf(text, sizeof text, "%ld", v));
    expect_int(t, v);
}

static void mget(struct talk *t) {
    unsigned n = 1 + ops_below(t, 4);
    talk_ask(t, "MGET");
    talk_expect(t, "*%u\r\n", n);
    for (; n > 0; n--) {
        unsigned i = any(t);
        talk_ask(t, " k%u", i);
        talk_expect_text(t, text_or_none(ops_key(t, i)));
    }
    talk_ask(t, "\r\n");
}

static void mset(struct talk *t) {
    unsigned n = 1 + ops_below(t, 3), first = any(t);
    bool nx = ops_below(t, 2) == 0, free = true;
    for (unsigned j = 0; j < n; j++)
        free &= ops_key(t, (first + j) % EXPIRY_KEYS)->kind == KIND_NONE;
    talk_ask(t, nx ? "MSETNX" : "MSET");
    for (unsigned j = 0; j < n; j++) {
        char text[EXPIRY_TEXT_MAX];
        size_t len = value(t, text);
        struct key *k = ops_key(t, (first + j) % EXPIRY_KEYS);
        talk_ask(t, " k%u %s", (first + j) % EXPIRY_KEYS, text);
        if (nx && !free)
            continue;
        k->expire_ms = 0;
        model_set_text(k, text, len);
    }
    talk_ask(t, "\r\n");
    talk_expect(t, nx ? free ? ":1\r\n" : ":0\r\n" : "+OK\r\n");
}

static void bitop(struct talk *t) {
    unsigned from = any(t), to = any(t);
    struct key *k = ops_key(t, from), *d = ops_key(t, to);
    talk_ask(t, "BITOP OR k%u k%u k%u\r\n", to, from, from);
    if (is_other(t, k))
        return;
    expect_int(t, k->kind == KIND_NONE ? 0 : k->len);
    if (k->kind == KIND_NONE || k->len == 0) {
        if (d->kind != KIND_NONE)
            model_forget(d);
        return;
    }
    model_copy(d, k);
    d->expire_ms = 0;
}

static void push(struct talk *t) {
    unsigned i = any(t);
    struct key *k = ops_key(t, i);
    talk_ask(t, "RPUSH k%u x\r\n", i);
    if (k->kind != KIND_NONE && k->kind != KIND_LIST) {
        talk_expect(t, OPS_WRONG_TYPE);
        return;
    }
    if (k->kind == KIND_NONE)
        model_forget(k);
    k->kind = KIND_LIST;
    expect_int(t, ++k->len);
}

static void pop(struct talk *t) {
    unsigned i = any(t);
    struct key *k = ops_key(t, i);
    talk_ask(t, "LPOP k%u\r\n", i);
    if (k->kind == KIND_NONE) {
        talk_expect(t, "$-1\r\n");
    } else if (k->kind != KIND_LIST) {
        talk_expect(t, OPS_WRONG_TYPE);
    } else {
        talk_expect(t, "$1\r\nx\r\n");
        if (--k->len == 0)
            model_forget(k);
    }
}

/* --- times --- */

static void expire(struct talk *t) {
    char words[16];
    unsigned i = any(t), conditions = ops_conditions(t, words);
    struct key *k = ops_key(t, i);
    int64_t now = t->m->now_ms, when = ops_when(t), second = (when + 999) / 1000;
    switch (ops_below(t, 4)) {
    case 0:
        when = now + (second - now / 1000) * 1000;
        talk_ask(t, "EXPIRE k%u %ld%s\r\n", i, second - now / 1000, words);
        break;
    case 1:
        talk_ask(t, "PEXPIRE k%u %ld%s\r\n", i, when - now, words);
        break;
    case 2:
        when = second * 1000;
        talk_ask(t, "EXPIREAT k%u %ld%s\r\n", i, second, words);
        break;
    default:
        talk_ask(t, "PEXPIREAT k%u %ld%s\r\n", i, when, words);
    }
    bool done = k->kind != KIND_NONE && ops_allowed(conditions, k->expire_ms, when);
    expect_int(t, done);
    if (done)
        give(t, k, when);
}

static void persist(struct talk *t) {
    unsigned i = any(t);
    talk_ask(t, "PERSIST k%u\r\n", i);
    expect_int(t, ops_key(t, i)->expire_ms != 0);
    ops_key(t, i)->expire_ms = 0;
}

static void ttl(struct talk *t) {
    static const char *const names[] = {"TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"};
    unsigned i = any(t), which = ops_below(t, 4);
    const struct key *k = ops_key(t, i);
    int64_t ms = which < 2 ? k->expire_ms - t->m->now_ms : k->expire_ms;
    talk_ask(t, "%s k%u\r\n", names[which], i);
    if (k->kind == KIND_NONE || k->expire_ms == 0)
        expect_int(t, k->kind == KIND_NONE ? -2 : -1);
    else
        expect_int(t, which % 2 == 1 ? ms : (ms + 500) / 1000);
}

/* --- keys --- */

static void count(struct talk *t) {
    static const char *const names[] = {"EXISTS", "TOUCH", "DEL", "UNLINK"};
    unsigned n = 1 + ops_below(t, 3), first = any(t), which = ops_below(t, 5), there = 0;
    which = which < 3 ? which % 2 : which - 1; /* those that delete less often */
    talk_ask(t, "%s", names[which]);
    for (unsigned j = 0; j < n; j++) {
        struct key *k = ops_key(t, (first + j) % EXPIRY_KEYS);
        talk_ask(t, " k%u", (first + j) % EXPIRY_KEYS);
        there += k->kind != KIND_NONE;
        if (which > 1 && k->kind != KIND_NONE)
            model_forget(k);
    }
    talk_ask(t, "\r\n");
    expect_int(t, there);
}

static void type(struct talk *t) {
    static const char *const names[] = {"none", "string", "list", "hash", "set"};
    unsigned i = any(t);
    talk_ask(t, "TYPE k%u\r\n", i);
    talk_expect(t, "+%s\r\n", names[ops_key(t, i)->kind]);
}

static void rename_key(struct talk *t) {
    unsigned from = any(t), to = another(t, from);
    struct key *k = ops_key(t, from), *d = ops_key(t, to);
    bool nx = ops_below(t, 2) == 0;
    talk_ask(t, "%s k%u k%u\r\n", nx ? "RENAMENX" : "RENAME", from, to);
    if (k->kind == KIND_NONE) {
        talk_expect(t, "-ERR no such key\r\n");
        return;
    }
    bool done = !nx || d->kind == KIND_NONE;
    talk_expect(t, nx ? done ? ":1\r\n" : ":0\r\n" : "+OK\r\n");
    if (done) {
        model_copy(d, k);
        model_forget(k);
    }
}

static void copy(struct talk *t) {
    unsigned from = any(t), to = another(t, from), db = ops_below(t, EXPIRY_DBS);
    bool replace = ops_below(t, 2) == 0;
    struct key *k = ops_key(t, from), *d = &t->m->keys[db][to];
    talk_ask(t, "COPY k%u k%u DB %u%s\r\n", from, to, db, replace ? " REPLACE" : "");
    bool done = k->kind != KIND_NONE && (replace || d->kind == KIND_NONE);
    expect_int(t, done);
    if (done)
        model_copy(d, k);
}

static void move(struct talk *t) {
    unsigned i = any(t);
    struct key *k = ops_key(t, i), *d = &t->m->keys[1 - t->db][i];
    talk_ask(t, "MOVE k%u %u\r\n", i, 1 - t->db);
    bool done = k->kind != KIND_NONE && d->kind == KIND_NONE;
    expect_int(t, done);
    if (done) {
        model_copy(d, k);
        model_forget(k);
    }
}

void ops_one(struct talk *t) {
    static void (*const all[])(struct talk * t) = {
        set,    set,    set,        setex,      setnx, getset, getdel, getex, get,
        get,    append, setrange,   incr,       mget,  mset,   bitop,  push,  pop,
        expire, expire, expire,     persist,    ttl,   ttl,    ttl,    count, count,
        count,  type,   rename_key, rename_key, copy,  copy,   move,
    };
    all[ops_below(t, COUNT_OF(all))](t);
}
