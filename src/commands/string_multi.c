/* string_multi.c: several strings at once. All keys of a call lie on this shard.
 *
 * What is set is set as a whole: before the first write the old values are saved, and when memory
 * fails half way they are put back.
 */
#include "set_options_impl.h"
#include "shards/assert.h"
#include "str_entry_impl.h"

static ON_SHARD void mget_run(struct ctx *c) {
    uint64_t hashes[CTX_FETCH_AHEAD];
    reply_array(&c->reply, c->argc - 1);
    for (uint32_t at = 1; at < c->argc; at += CTX_FETCH_AHEAD) {
        unsigned n = c->argc - at < CTX_FETCH_AHEAD ? c->argc - at : CTX_FETCH_AHEAD;
        ctx_fetch_ahead(c, at, 1, n, hashes);
        for (unsigned i = 0; i < n; i++) {
            struct entry *e = ctx_find_at(c, c->argv[at + i], hashes[i]);
            if (e == NULL || entry_type(e) != VALUE_STRING)
                reply_null(&c->reply);
            else
                str_entry_reply(&c->reply, e);
        }
    }
}

/* --- what was there before --- */

enum { SAVED_ON_STACK = 16, SAVED_BYTES_ON_STACK = 2048 };

struct saved {
    struct str_held held;
    int64_t expire_ms;
    size_t bytes_at;
};

struct snapshot {
    struct saved *saved;
    char *bytes;
    uint32_t count, cap;
    size_t bytes_len, bytes_cap;
    struct saved stack_saved[SAVED_ON_STACK];
    char stack_bytes[SAVED_BYTES_ON_STACK];
};

static bool snapshot_init(struct snapshot *s, struct mem *m, uint32_t keys) {
    s->saved = s->stack_saved;
    s->bytes = s->stack_bytes;
    s->count = 0;
    s->cap = SAVED_ON_STACK;
    s->bytes_len = 0;
    s->bytes_cap = SAVED_BYTES_ON_STACK;
    if (keys <= SAVED_ON_STACK)
        return true;
    struct saved *heap = mem_alloc(m, keys * sizeof(*heap));
    if (heap == NULL)
        return false;
    s->saved = heap;
    s->cap = keys;
    return true;
}

static void snapshot_deinit(struct snapshot *s, struct mem *m) {
    for (uint32_t i = 0; i < s->count; i++)
        str_held_drop(m, &s->saved[i].held);
    if (s->saved != s->stack_saved)
        mem_free(m, s->saved, s->cap * sizeof(*s->saved));
    if (s->bytes != s->stack_bytes)
        mem_free(m, s->bytes, s->bytes_cap);
}

static bool reserve_bytes(struct snapshot *s, struct mem *m) {
    if (s->bytes_cap - s->bytes_len >= ENTRY_INLINE_MAX)
        return true;
    size_t cap = 2 * s->bytes_cap;
    char *grown = mem_alloc(m, cap);
    if (grown == NULL)
        return false;
    memcpy(grown, s->bytes, s->bytes_len);
    if (s->bytes != s->stack_bytes)
        mem_free(m, s->bytes, s->bytes_cap);
    s->bytes = grown;
    s->bytes_cap = cap;
    return true;
}

/* save: only strings are kept; a value of another type is not put back by restore. */
static bool save(struct snapshot *s, struct mem *m, struct entry *e) {
    if (!reserve_bytes(s, m))
        return false;
    ASSERT(s->count < s->cap);
    struct saved *to = &s->saved[s->count++];
    struct entry *string = e != NULL && entry_type(e) == VALUE_STRING ? e : NULL;
    to->bytes_at = s->bytes_len;
    to->expire_ms = e == NULL ? EXPIRE_NEVER : entry_expire_ms(e);
    str_held_take(&to->held, string, s->bytes + s->bytes_len);
    s->bytes_len += to->held.len;
    return true;
}

/* restore: puts back what the first n keys held. It needs little more memory than what it frees. */
static ON_SHARD void restore(struct ctx *c, struct snapshot *s, uint32_t first, uint32_t n) {
    struct table *t = keyspace_peek_table(c->keyspace, c->db);
    for (uint32_t i = 0; i < n; i++) {
        const struct saved *old = &s->saved[i];
        struct span key = c->argv[first + 2 * i];
        uint64_t hash = ctx_hash(c, first + 2 * i);
        if (!old->held.exists) {
            table_delete(t, key, hash);
            continue;
        }
        struct value v = {
            .type = VALUE_STRING,
            .repr = (uint8_t)old->held.repr,
            .access = ctx_access_now(c),
            .integer = old->held.integer,
            .bytes = {s->bytes + old->bytes_at, old->held.len},
            .object = old->held.blob,
        };
        struct entry *e = table_find(t, key, hash);
        bool same = e != NULL && old->held.blob != NULL && entry_repr(e) == REPR_OBJECT &&
                    entry_object(e) == old->held.blob;
        if (!same && table_put(t, key, hash, &v, old->expire_ms) != NULL && v.object != NULL)
            blob_pin(v.object);
    }
}

/* --- several keys set at once --- */

struct pairs {
    uint32_t first, count; /* keys at argv[first + 2 * i], their values behind them */
    enum condition condition;
    int64_t expire_ms;
};

enum verdict { GO, CONDITION_FAILED, NO_MEMORY };

/* look: saves what the keys hold, unless the condition fails on one of them. */
static ON_SHARD enum verdict look(struct ctx *c, const struct pairs *p, struct snapshot *s) {
    struct mem *m = keyspace_mem(c->keyspace);
    uint64_t hashes[CTX_FETCH_AHEAD];
    for (uint32_t at = 0; at < p->count; at += CTX_FETCH_AHEAD) {
        unsigned n = p->count - at < CTX_FETCH_AHEAD ? p->count - at : CTX_FETCH_AHEAD;
        ctx_fetch_ahead(c, p->first + 2 * at, 2, n, hashes);
        for (unsigned i = 0; i < n; i++) {
            struct span key = c->argv[p->first + 2 * (at + i)];
            struct entry *e = keyspace_find(c->keyspace, c->db, key, hashes[i], c->now_ms);
            if ((p->condition == SET_NX && e != NULL) || (p->condition == SET_XX && e == NULL))
                return CONDITION_FAILED;
            if (!save(s, m, e))
                return NO_MEMORY;
        }
    }
    return GO;
}

/* store_all: false after having replied that memory is out, with everything as it was. */
static ON_SHARD bool store_all(struct ctx *c, const struct pairs *p, struct snapshot *s) {
    for (uint32_t i = 0; i < p->count; i++) {
        uint32_t key = p->first + 2 * i;
        if (set_options_past(c, p->expire_ms)) {
            ctx_delete(c, key);
        } else if (!str_entry_set(c, key, c->argv[key + 1], p->expire_ms)) {
            restore(c, s, p->first, i);
            return false;
        }
    }
    return true;
}

static ON_SHARD enum verdict set_pairs(struct ctx *c, const struct pairs *p) {
    struct mem *m = keyspace_mem(c->keyspace);
    struct snapshot s;
    if (!snapshot_init(&s, m, p->count)) {
        ctx_oom(c);
        return NO_MEMORY;
    }
    enum verdict verdict = look(c, p, &s);
    if (verdict == NO_MEMORY)
        ctx_oom(c);
    else if (verdict == GO && !store_all(c, p, &s))
        verdict = NO_MEMORY;
    snapshot_deinit(&s, m);
    return verdict;
}

/* even: the arity cannot say that pairs come whole. */
static bool even(struct ctx *c) {
    if (c->argc % 2 == 1)
        return true;
    command_reply_arity(&c->reply, c->cmd);
    return false;
}

static ON_SHARD void mset_run(struct ctx *c) {
    struct pairs p = {.first = 1, .count = (c->argc - 1) / 2, .expire_ms = EXPIRE_NEVER};
    if (even(c) && set_pairs(c, &p) == GO)
        reply_ok(&c->reply);
}

static ON_SHARD void msetnx_run(struct ctx *c) {
    struct pairs p = {
        .first = 1, .count = (c->argc - 1) / 2, .condition = SET_NX, .expire_ms = EXPIRE_NEVER};
    if (!even(c))
        return;
    enum verdict verdict = set_pairs(c, &p);
    if (verdict != NO_MEMORY)
        reply_int(&c->reply, verdict == GO);
}

/* msetex_keys: MSETEX numkeys key value [key value ...] [options]. */
static bool msetex_keys(const struct span *argv, uint32_t argc, uint32_t *first, uint32_t *last,
                        uint32_t *step) {
    int64_t keys;
    if (argc < 4 || !strval_parse_int(argv[1], &keys) || keys < 1 || keys > (argc - 2) / 2)
        return false;
    *first = 2;
    *last = (uint32_t)(2 * keys);
    *step = 2;
    return true;
}

static ON_SHARD void msetex_run(struct ctx *c) {
    int64_t keys;
    if (!strval_parse_int(c->argv[1], &keys) || keys < 1 || keys > INT32_MAX) {
        reply_error(&c->reply, "ERR invalid numkeys value or out of range");
        return;
    }
    if (keys > (c->argc - 2) / 2) {
        reply_error(&c->reply, ERR_SYNTAX);
        return;
    }
    struct set_options o;
    struct pairs p = {.first = 2, .count = (uint32_t)keys, .expire_ms = EXPIRE_NEVER};
    if (!set_options_parse(c, p.first + 2 * p.count, ALLOW_CONDITION | ALLOW_KEEPTTL, &o))
        return;
    p.condition = o.condition;
    if (o.expiry == EXPIRY_KEEP)
        p.expire_ms = EXPIRE_KEEP;
    else if (o.expiry != EXPIRY_NONE && !set_options_time(c, o.expiry, o.time_arg, &p.expire_ms))
        return;
    enum verdict verdict = set_pairs(c, &p);
    if (verdict != NO_MEMORY)
        reply_int(&c->reply, verdict == GO);
}

/* msetex_route: malformed calls run anywhere, which is where they get their error. */
static int msetex_route(struct ctx *c) {
    uint32_t first, last, step;
    if (!msetex_keys(c->argv, c->argc, &first, &last, &step))
        return c->shard->id;
    unsigned shards = shards_count(c->shard->all);
    int target = -1;
    for (uint32_t i = first; i <= last; i += step) {
        uint64_t hash = command_route_hash(c->argv[i], keyspace_hash(c->argv[i]));
        int owner = (int)keyspace_shard_of(hash, shards);
        if (target >= 0 && owner != target) {
            reply_error(&c->reply, ERR_CROSS_SHARD);
            return -1;
        }
        target = owner;
    }
    return target;
}

static const struct command rows[] = {
    {"MGET", mget_run, -2, KEYS(1, -1, 1), CMD_READ | CMD_FAST, ACL_STRING, "string", "1.0.0",
     "O(N) in the keys", "Returns the strings that several keys hold.",
     .tips = "request_policy:multi_shard", .key_access = "RO access", .syntax = "key..."},
    {"MSET", mset_run, -3, KEYS(1, -1, 2), CMD_WRITE | CMD_DENY_OOM | CMD_BIG_LAST, ACL_STRING,
     "string", "1.0.1", "O(N) in the keys", "Stores strings under several keys, all at once.",
     .tips = "request_policy:multi_shard response_policy:all_succeeded", .key_access = "OW update",
     .syntax = "data(key value)..."},
    {"MSETNX", msetnx_run, -3, KEYS(1, -1, 2), CMD_WRITE | CMD_DENY_OOM | CMD_BIG_LAST, ACL_STRING,
     "string", "1.0.1", "O(N) in the keys",
     "Stores strings under several keys, all at once, if none of the keys exists.",
     .key_access = "OW insert", .syntax = "data(key value)..."},
    {"MSETEX", msetex_run, -4, NO_KEYS, CMD_WRITE | CMD_DENY_OOM | CMD_MOVABLE_KEYS | CMD_ROUTED,
     ACL_STRING, "string", "9.1.0", "O(N) in the keys",
     "Stores strings under several keys, with one expiry and condition for all.",
     .route = msetex_route, .find_keys = msetex_keys,
     .tips = "request_policy:multi_shard response_policy:all_succeeded", .key_access = "OW update",
     .syntax = "numkeys data(key value)... [condition(NX|XX)] "
               "[expiration(" SET_OPTIONS_TIMES "|KEEPTTL)]",
     .numkeys = {1, 2}},
};

void string_multi_register(void) {
    command_register(rows, COUNT_OF(rows));
}
