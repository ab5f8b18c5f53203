/* cache_model.c: what a client may still find of what it has stored.
 *
 * A key of its own is what the client made of it last, or, where the policy allows that, gone; once it was seen to be gone it stays so. A
 * command that is refused has changed nothing.
 */
#include "cache_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char OOM[] = "-OOM command not allowed when used memory > 'maxmemory'.";
static const char ABORTED[] =
    "-EXECABORT Transaction discarded because of: OOM command not allowed "
    "when used memory > 'maxmemory'.";
static const char EARLIER[] = "-EXECABORT Transaction discarded because of previous errors.";

bool model_may_go(enum evict_policy p, bool ttl) {
    return p != EVICT_NONE && (p < EVICT_VOLATILE_LRU || ttl);
}

/* --- requests --- */

static char value_byte(uint32_t version, size_t i) {
    return (char)('a' + (char)((version + i * i) % 26));
}

static void add_key(const struct cache_client *c, char kind, unsigned k) {
    char text[64];
    const char *tag = c->skewed && k < CACHE_KEYS / 2 ? "{all}" : "";
    request_arg((struct span){
        text, (size_t)snprintf(text, sizeof text, "%sc%u:%c%u", tag, c->id, kind, k)});
}

static void add_value(uint32_t version, uint32_t len) {
    static char value[CACHE_VALUE_MAX];
    for (size_t i = 0; i < len; i++)
        value[i] = value_byte(version, i);
    request_arg((struct span){value, len});
}

static void send_sets(const struct cache_client *c, const struct cache_op *op) {
    request_begin(1);
    request_word("MULTI");
    for (unsigned i = 0; i < op->n; i++) {
        request_begin(3);
        request_word("SET");
        add_key(c, 'k', op->key[i]);
        add_value(op->version[i], op->len[i]);
    }
    request_begin(1);
    request_word("EXEC");
}

static void send_many(const struct cache_client *c, const struct cache_op *op) {
    bool set = op->kind == CACHE_MSET;
    request_begin(1 + op->n * (set ? 2 : 1));
    request_word(set ? "MSET" : "MGET");
    for (unsigned i = 0; i < op->n; i++) {
        add_key(c, 'k', op->key[i]);
        if (set)
            add_value(op->version[i], op->len[i]);
    }
}

static void send_members(const struct cache_client *c, const struct cache_op *op) {
    char text[32];
    request_begin(2 + op->len[0]);
    request_word("SADD");
    add_key(c, 's', op->key[0]);
    for (uint32_t i = 0; i < op->len[0]; i++)
        request_arg((struct span){text, (size_t)snprintf(text, sizeof text, "member-%u", i)});
}

void model_send(const struct cache_client *c, const struct cache_op *op) {
    static const char *const names[CACHE_KINDS] = {
        [CACHE_SET] = "SET",   [CACHE_SETEX] = "SETEX",   [CACHE_GET] = "GET",
        [CACHE_DEL] = "DEL",   [CACHE_EXPIRE] = "EXPIRE", [CACHE_PERSIST] = "PERSIST",
        [CACHE_COPY] = "COPY", [CACHE_SCARD] = "SCARD",   [CACHE_UNION] = "SUNIONSTORE"};
    char kind = op->kind >= CACHE_SADD ? 's' : 'k';
    if (op->kind == CACHE_EXEC) {
        send_sets(c, op);
        return;
    }
    if (op->kind == CACHE_MSET || op->kind == CACHE_MGET) {
        send_many(c, op);
        return;
    }
    if (op->kind == CACHE_SADD) {
        send_members(c, op);
        return;
    }
    bool time = op->kind == CACHE_SETEX || op->kind == CACHE_EXPIRE;
    bool value = op->kind == CACHE_SET || op->kind == CACHE_SETEX, copy = op->kind == CACHE_COPY;
    request_begin(1 + op->n + time + value + copy);
    request_word(names[op->kind]);
    for (unsigned i = 0; i < op->n; i++)
        add_key(c, kind, op->key[i]);
    if (time)
        request_word("100000");
    if (value)
        add_value(op->version[0], op->len[0]);
    if (copy)
        request_word("REPLACE");
}

unsigned model_replies(const struct cache_op *op) {
    return op->kind == CACHE_EXEC ? op->n + 2 : 1;
}

/* --- replies --- */

struct hearing {
    struct cache_world *cw;
    struct cache_client *c;
    const struct cache_op *op;
    size_t *at;
};

static bool is(struct span s, const char *text) {
    return s.ptr != NULL && s.len == strlen(text) && memcmp(s.ptr, text, s.len) == 0;
}

/* refused: this line says that there is no room. */
static bool refused(struct hearing *h, struct span s, const char *text) {
    if (!is(s, text))
        return false;
    h->cw->refused++;
    return true;
}

static void stored(struct hearing *h, struct cache_key *k, uint32_t version, uint32_t len,
                   bool ttl) {
    *k = (struct cache_key){true, model_may_go(h->cw->policy, ttl), ttl, version, len};
}

/* seen: whether the key is there; false: that cannot be. */
static bool seen(struct hearing *h, struct cache_key *k, bool there) {
    if (there ? !k->there : k->there && !k->may_go)
        return false;
    h->cw->missed += k->there && !there;
    h->cw->hits += there;
    k->there = there;
    k->may_go = there && model_may_go(h->cw->policy, k->ttl);
    return true;
}

static const char *hear_value(struct hearing *h, struct cache_key *k) {
    char type;
    struct span s = heard_next(&h->c->heard, h->at, &type);
    if (type != '$' || !seen(h, k, s.ptr != NULL))
        return "a key is there, or not, that cannot be";
    if (s.ptr == NULL)
        return NULL;
    if (s.len != k->len)
        return "a value of another length";
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] != value_byte(k->version, i))
            return "another value";
    return NULL;
}

static const char *hear_stored(struct hearing *h) {
    char type;
    struct span s = heard_next(&h->c->heard, h->at, &type);
    const struct cache_op *op = h->op;
    if (refused(h, s, OOM))
        return NULL;
    if (!is(s, "+OK"))
        return "not stored";
    for (unsigned i = 0; i < op->n; i++)
        stored(h, &h->c->strings[op->key[i]], op->version[i], op->len[i], op->kind == CACHE_SETEX);
    return NULL;
}

static const char *hear_exec(struct hearing *h) {
    char type;
    const struct cache_op *op = h->op;
    bool queued = true;
    if (!is(heard_next(&h->c->heard, h->at, &type), "+OK"))
        return "MULTI refused";
    for (unsigned i = 0; i < op->n; i++) {
        struct span s = heard_next(&h->c->heard, h->at, &type);
        if (!is(s, "+QUEUED") && !is(s, OOM))
            return "not queued";
        queued &= *s.ptr == '+';
    }
    struct span s = heard_next(&h->c->heard, h->at, &type);
    if (refused(h, s, EARLIER))
        return queued ? "EXEC aborts what was queued" : NULL;
    if (!queued)
        return "EXEC of what was refused";
    if (refused(h, s, ABORTED))
        return NULL;
    if (type != '*')
        return "EXEC without replies";
    for (unsigned i = 0; i < op->n; i++) {
        if (!is(heard_next(&h->c->heard, h->at, &type), "+OK"))
            return "a part of EXEC was refused";
        stored(h, &h->c->strings[op->key[i]], op->version[i], op->len[i], false);
    }
    return NULL;
}

static const char *hear_copy(struct hearing *h, long n) {
    struct cache_key *from = &h->c->strings[h->op->key[0]], *to = &h->c->strings[h->op->key[1]];
    if (!seen(h, from, n == 1))
        return "a copy of what is not there";
    if (n == 1)
        stored(h, to, from->version, from->len, from->ttl);
    return NULL;
}

static uint32_t alive(const struct cache_key *k) {
    return k->there ? k->len : 0;
}

/* hear_union: as large as the larger of the two, or, when that has gone, as the other. */
static const char *hear_union(struct hearing *h, uint32_t n) {
    struct cache_key *to = &h->c->sets[h->op->key[0]], *a = &h->c->sets[h->op->key[1]],
                     *b = &h->c->sets[h->op->key[2]];
    if (alive(b) > alive(a)) {
        struct cache_key *t = a;
        a = b;
        b = t;
    }
    if (n != alive(a) && !seen(h, a, false))
        return "a union without a set that cannot have gone";
    if (n != alive(a) && n != alive(b) && !seen(h, b, false))
        return "a union without sets that cannot have gone";
    if (n != alive(a) && n != alive(b))
        return "a union that is too large";
    if (n != 0)
        stored(h, to, 0, n, false);
    else
        *to = (struct cache_key){0};
    return NULL;
}

static const char *hear_added(struct hearing *h, uint32_t n) {
    struct cache_key *k = &h->c->sets[h->op->key[0]];
    uint32_t len = h->op->len[0];
    if (n != (len > alive(k) ? len - alive(k) : 0) && (n != len || !seen(h, k, false)))
        return "members that were there, or not, that cannot be";
    stored(h, k, 0, len > alive(k) ? len : alive(k), k->there && k->ttl);
    return NULL;
}

static const char *hear_number(struct hearing *h) {
    char type;
    struct span s = heard_next(&h->c->heard, h->at, &type);
    struct cache_key *k = &h->c->strings[h->op->key[0]];
    if (refused(h, s, OOM))
        return NULL;
    if (type != ':')
        return "not a number";
    long n = strtol(s.ptr + 1, NULL, 10);
    switch (h->op->kind) {
    case CACHE_COPY:
        return hear_copy(h, n);
    case CACHE_UNION:
        return hear_union(h, (uint32_t)n);
    case CACHE_SADD:
        return hear_added(h, (uint32_t)n);
    case CACHE_SCARD:
        k = &h->c->sets[h->op->key[0]];
        return seen(h, k, n != 0) && (n == 0 || n == k->len) ? NULL : "a set of another size";
    case CACHE_PERSIST:
        if (n == 0 && k->there && !k->ttl)
            return NULL; /* there or not */
        if (!seen(h, k, n == 1))
            return "PERSIST of what is not there";
        k->ttl = false;
        k->may_go = k->there && model_may_go(h->cw->policy, false);
        return NULL;
    case CACHE_EXPIRE:
        if (!seen(h, k, n == 1))
            return "EXPIRE of what is not there";
        k->ttl = true;
        k->may_go = k->there && model_may_go(h->cw->policy, true);
        return NULL;
    default:
        if (!seen(h, k, n == 1))
            return "DEL of what is not there";
        *k = (struct cache_key){0};
        return NULL;
    }
}

const char *model_heard(struct cache_world *cw, struct cache_client *c, const struct cache_op *op,
                        size_t *at) {
    struct hearing h = {cw, c, op, at};
    char type;
    const char *wrong = NULL;
    switch (op->kind) {
    case CACHE_SET:
    case CACHE_SETEX:
    case CACHE_MSET:
        return hear_stored(&h);
    case CACHE_GET:
        return hear_value(&h, &c->strings[op->key[0]]);
    case CACHE_MGET:
        (void)heard_next(&c->heard, at, &type);
        for (unsigned i = 0; i < op->n && wrong == NULL; i++)
            wrong = hear_value(&h, &c->strings[op->key[i]]);
        return wrong;
    case CACHE_EXEC:
        return hear_exec(&h);
    default:
        return hear_number(&h);
    }
}

void model_policy(struct cache_client *c, enum evict_policy now) {
    for (unsigned k = 0; k < CACHE_KEYS; k++) {
        c->strings[k].may_go |= c->strings[k].there && model_may_go(now, c->strings[k].ttl);
        c->sets[k].may_go |= c->sets[k].there && model_may_go(now, c->sets[k].ttl);
    }
}
