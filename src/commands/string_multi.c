/* string_multi.c: several strings at once, on one shard or on several.
 *
 * What is set is set as a whole: everything that it takes is made first, seen by nobody, and only when all of it
 * is there is it put in place, which cannot fail.
 */
#include "set_options_impl.h"
#include "shards/assert.h"
#include "str_entry_impl.h"

static ON_SHARD void mget_one(struct ctx *c, struct span key, uint64_t hash) {
    const struct entry *e = ctx_find_at(c, key, hash);
    if (e == NULL || entry_type(e) != VALUE_STRING)
        reply_null(&c->reply);
    else
        str_entry_reply(&c->reply, e);
}

static ON_SHARD void mget_run(struct ctx *c) {
    uint64_t hashes[CTX_FETCH_AHEAD];
    reply_array(&c->reply, c->argc - 1);
    for (uint32_t at = 1; at < c->argc; at += CTX_FETCH_AHEAD) {
        unsigned n = c->argc - at < CTX_FETCH_AHEAD ? c->argc - at : CTX_FETCH_AHEAD;
        ctx_fetch_ahead(c, at, 1, n, hashes);
        for (unsigned i = 0; i < n; i++)
            mget_one(c, c->argv[at + i], hashes[i]);
    }
}

/* fetch_slots: brings the next CTX_FETCH_AHEAD keys of this shard into the cache, from k on. */
static ON_SHARD void fetch_slots(const struct ctx *c, const struct key_slot *from) {
    const struct table *t = keyspace_peek_table(c->keyspace, c->db);
    if (t == NULL)
        return;
    const struct key_slot *k = from;
    for (unsigned n = 0; k != NULL && n < CTX_FETCH_AHEAD; k = ctx_next_slot(c, k), n++)
        table_prefetch(t, k->hash);
    k = from;
    for (unsigned n = 0; k != NULL && n < CTX_FETCH_AHEAD; k = ctx_next_slot(c, k), n++)
        table_prefetch_entry(t, k->hash);
}

static ON_SHARD void mget_look(struct ctx *c) {
    unsigned n = 0;
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k)) {
        if (n++ % CTX_FETCH_AHEAD == 0)
            fetch_slots(c, k);
        mget_one(c, c->argv[k->arg], k->hash);
        ctx_slot_replied(c, k);
    }
}

/* --- several keys set at once --- */

struct pairs {
    uint32_t first, count; /* keys at argv[first + 2 * i], their values behind them */
    enum condition condition;
    int64_t expire_ms;
};

static ON_SHARD bool breaks_condition(struct ctx *c, enum condition condition, uint32_t key,
                                      uint64_t hash) {
    if (condition == SET_ALWAYS)
        return false;
    const struct entry *e = keyspace_find(c->keyspace, c->db, c->argv[key], hash, c->now_ms);
    return (e != NULL) == (condition == SET_NX);
}

/* prepare_large: as prepare, for bytes that do not fit into an entry. Those of a big last argument are taken over:
 * nothing comes after it that could still fail. */
static ON_SHARD struct prepared *prepare_large(struct ctx *c, struct table *t, uint32_t key,
                                               uint64_t hash, int64_t expire_ms) {
    struct mem *m = keyspace_mem(c->keyspace);
    struct span bytes = c->argv[key + 1];
    bool adopt = c->big != NULL && bytes.ptr == c->big->data && bytes.len == c->big->len;
    struct blob *b = adopt ? c->big : blob_create(m, bytes.len);
    if (b == NULL)
        return NULL;
    if (!adopt) {
        memcpy(b->data, bytes.ptr, bytes.len);
        b->len = bytes.len;
    }
    struct value v = {
        .type = VALUE_STRING, .repr = REPR_OBJECT, .access = ctx_access_now(c), .object = b};
    struct prepared *made = table_prepare(t, c->argv[key], hash, &v, expire_ms);
    if (made != NULL && adopt)
        c->big = NULL;
    else if (made == NULL && !adopt)
        blob_unpin(m, b);
    return made;
}

/* prepare: argv[key] is to hold what stands behind it. NULL: no memory. */
static ON_SHARD struct prepared *prepare(struct ctx *c, uint32_t key, uint64_t hash,
                                         int64_t expire_ms) {
    struct table *t = ctx_table(c);
    struct value v = {.type = VALUE_STRING,
                      .repr = REPR_INLINE,
                      .access = ctx_access_now(c),
                      .bytes = c->argv[key + 1]};
    if (t == NULL)
        return NULL;
    if (unlikely(v.bytes.len > ENTRY_INLINE_MAX))
        return prepare_large(c, t, key, hash, expire_ms);
    if (strval_parse_int(v.bytes, &v.integer))
        v.repr = REPR_INT;
    return table_prepare(t, c->argv[key], hash, &v, expire_ms);
}

/* store: argv[key] gets what was prepared for it; nothing was when its time has passed already. */
static ON_SHARD void store(struct ctx *c, uint32_t key, struct prepared *made) {
    if (made != NULL) {
        table_commit(made, c->now_ms);
        keyspace_count_gone(c->keyspace, keyspace_peek_table(c->keyspace, c->db), c->now_ms);
    } else {
        uint64_t hash = ctx_hash(c, key);
        if (keyspace_find(c->keyspace, c->db, c->argv[key], hash, c->now_ms) == NULL)
            return;
        ctx_delete(c, key);
    }
    ctx_changed(c, key);
}

/* --- on one shard --- */

enum { MADE_ON_STACK = 16 };
enum verdict { GO, CONDITION_FAILED, NO_MEMORY };

/* make_all: prepares all pairs; *made tells how many, whatever the verdict. */
static ON_SHARD enum verdict make_all(struct ctx *c, const struct pairs *p, struct prepared **list,
                                      uint32_t *made) {
    uint64_t hashes[CTX_FETCH_AHEAD];
    bool past = set_options_past(c, p->expire_ms);
    for (uint32_t at = 0; at < p->count; at += CTX_FETCH_AHEAD) {
        unsigned n = p->count - at < CTX_FETCH_AHEAD ? p->count - at : CTX_FETCH_AHEAD;
        ctx_fetch_ahead(c, p->first + 2 * at, 2, n, hashes);
        for (unsigned i = 0; i < n; i++, *made += 1) {
            uint32_t key = p->first + 2 * *made;
            if (breaks_condition(c, p->condition, key, hashes[i]))
                return CONDITION_FAILED;
            list[*made] = past ? NULL : prepare(c, key, hashes[i], p->expire_ms);
            if (list[*made] == NULL && !past)
                return NO_MEMORY;
        }
    }
    return GO;
}

static ON_SHARD void finish_all(struct ctx *c, const struct pairs *p, bool go,
                                struct prepared **list, uint32_t made) {
    for (uint32_t i = 0; i < made; i++) {
        if (go)
            store(c, p->first + 2 * i, list[i]);
        else if (list[i] != NULL)
            table_abandon(list[i]);
    }
}

/* set_pairs: has replied when memory is out. */
static ON_SHARD enum verdict set_pairs(struct ctx *c, const struct pairs *p) {
    struct mem *m = keyspace_mem(c->keyspace);
    struct prepared *on_stack[MADE_ON_STACK], **list = on_stack;
    enum verdict verdict = NO_MEMORY;
    uint32_t made = 0;
    if (p->count > MADE_ON_STACK)
        list = mem_alloc(m, p->count * sizeof(struct prepared *));
    if (list != NULL) {
        verdict = make_all(c, p, list, &made);
        finish_all(c, p, verdict == GO, list, made);
    }
    if (list != on_stack)
        mem_free(m, list, p->count * sizeof(struct prepared *));
    if (verdict == NO_MEMORY)
        ctx_oom(c);
    return verdict;
}

/* --- on several shards --- */

static ON_SHARD void drop_kept(struct ctx *c) {
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k)) {
        if (k->kept != NULL)
            table_abandon(k->kept);
        k->kept = NULL;
        k->failed = false;
    }
}

/* look_at_pairs: prepares those of this shard, unless the condition fails for one of them. */
static ON_SHARD void look_at_pairs(struct ctx *c, enum condition condition, int64_t expire_ms) {
    unsigned n = 0;
    drop_kept(c);
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k)) {
        if (n++ % CTX_FETCH_AHEAD == 0)
            fetch_slots(c, k);
        c->tally += breaks_condition(c, condition, k->arg, k->hash);
    }
    if (c->tally != 0 || set_options_past(c, expire_ms))
        return;
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k)) {
        k->kept = prepare(c, k->arg, k->hash, expire_ms);
        if (k->kept == NULL) {
            drop_kept(c);
            k->failed = true;
            return;
        }
    }
}

static bool pairs_decide(struct ctx *c) {
    if (c->tally != 0) {
        reply_int(&c->reply, 0);
        return false;
    }
    for (uint32_t i = 0; i < c->slots->count; i++) {
        if (c->slots->slot[i].failed) {
            ctx_oom(c);
            return false;
        }
    }
    c->slots->go = true;
    return true;
}

static bool pairs_decide_number(struct ctx *c) {
    if (!pairs_decide(c))
        return false;
    reply_int(&c->reply, 1);
    return true;
}

static ON_SHARD void pairs_after(struct ctx *c) {
    if (!c->slots->go) {
        drop_kept(c);
        return;
    }
    for (struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k)) {
        store(c, k->arg, k->kept);
        k->kept = NULL;
    }
}

/* --- MSET, MSETNX --- */

/* even: the arity cannot say that pairs come whole. */
static bool even(struct ctx *c) {
    if (c->argc % 2 == 1)
        return true;
    command_reply_arity(&c->reply, c->cmd);
    return false;
}

static ON_SHARD void mset_run(struct ctx *c) {
    struct pairs p = {.first = 1, .count = (c->argc - 1) / 2, .expire_ms = EXPIRE_NEVER};
    if (set_pairs(c, &p) == GO)
        reply_ok(&c->reply);
}

static ON_SHARD void mset_look(struct ctx *c) {
    look_at_pairs(c, SET_ALWAYS, EXPIRE_NEVER);
}

static ON_SHARD void msetnx_run(struct ctx *c) {
    struct pairs p = {
        .first = 1, .count = (c->argc - 1) / 2, .condition = SET_NX, .expire_ms = EXPIRE_NEVER};
    enum verdict verdict = set_pairs(c, &p);
    if (verdict != NO_MEMORY)
        reply_int(&c->reply, verdict == GO);
}

static ON_SHARD void msetnx_look(struct ctx *c) {
    look_at_pairs(c, SET_NX, EXPIRE_NEVER);
}

/* --- MSETEX --- */

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

/* msetex_options: those behind the pairs; has replied why when it is false. */
static bool msetex_options(struct ctx *c, struct set_options *o) {
    int64_t keys;
    if (!strval_parse_int(c->argv[1], &keys) || keys < 1 || keys > INT32_MAX) {
        reply_error(&c->reply, "ERR invalid numkeys value or out of range");
        return false;
    }
    if (keys > (c->argc - 2) / 2) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    return set_options_parse(c, (uint32_t)(2 + 2 * keys), ALLOW_CONDITION | ALLOW_KEEPTTL, o);
}

static bool msetex_check(struct ctx *c) {
    struct set_options o;
    int64_t expire_ms;
    if (!msetex_options(c, &o))
        return false;
    return o.expiry == EXPIRY_NONE || o.expiry == EXPIRY_KEEP ||
           set_options_time(c, o.expiry, o.time_arg, &expire_ms);
}

/* msetex_pairs: of a call that msetex_check has let pass. A time from now on is read as if now were 0, which
 * makes it shorter than what was checked: so nothing is left that could be refused here. */
static struct pairs msetex_pairs(struct ctx *c) {
    struct ctx at_zero = *c;
    struct set_options o;
    struct pairs p = {.first = 2, .expire_ms = EXPIRE_NEVER};
    at_zero.now_ms = 0;
    bool valid = msetex_options(c, &o);
    ASSERT(valid);
    if (o.expiry == EXPIRY_KEEP)
        p.expire_ms = EXPIRE_KEEP;
    else if (o.expiry != EXPIRY_NONE)
        valid = set_options_time(&at_zero, o.expiry, o.time_arg, &p.expire_ms);
    ASSERT(valid);
    if (o.expiry == EXPIRY_EX || o.expiry == EXPIRY_PX)
        p.expire_ms += c->now_ms;
    uint32_t last, step;
    valid = msetex_keys(c->argv, c->argc, &p.first, &last, &step);
    ASSERT(valid);
    p.count = (last - p.first) / step + 1;
    p.condition = o.condition;
    return p;
}

static ON_SHARD void msetex_run(struct ctx *c) {
    struct pairs p = msetex_pairs(c);
    enum verdict verdict = set_pairs(c, &p);
    if (verdict != NO_MEMORY)
        reply_int(&c->reply, verdict == GO);
}

static ON_SHARD void msetex_look(struct ctx *c) {
    struct pairs p = msetex_pairs(c);
    look_at_pairs(c, p.condition, p.expire_ms);
}

static const struct across mget_across = {.look = mget_look, .join = JOIN_KEYS};
static const struct across mset_across = {
    .look = mset_look, .decide = pairs_decide, .after = pairs_after, .join = JOIN_OK};
static const struct across msetnx_across = {
    .look = msetnx_look, .decide = pairs_decide_number, .after = pairs_after};
static const struct across msetex_across = {
    .look = msetex_look, .decide = pairs_decide_number, .after = pairs_after};

static const struct command rows[] = {
    {"MGET", mget_run, -2, KEYS(1, -1, 1), CMD_READ | CMD_FAST, ACL_STRING, "string", "1.0.0",
     "O(N) in the keys", "Returns the strings that several keys hold.",
     .tips = "request_policy:multi_shard", .key_access = "RO access", .syntax = "key...",
     .across = &mget_across},
    {"MSET", mset_run, -3, KEYS(1, -1, 2), CMD_WRITE | CMD_DENY_OOM | CMD_BIG_LAST, ACL_STRING,
     "string", "1.0.1", "O(N) in the keys", "Stores strings under several keys, all at once.",
     .tips = "request_policy:multi_shard response_policy:all_succeeded", .key_access = "OW update",
     .syntax = "data(key value)...", .check = even, .across = &mset_across},
    {"MSETNX", msetnx_run, -3, KEYS(1, -1, 2), CMD_WRITE | CMD_DENY_OOM | CMD_BIG_LAST, ACL_STRING,
     "string", "1.0.1", "O(N) in the keys",
     "Stores strings under several keys, all at once, if none of the keys exists.",
     .key_access = "OW insert", .syntax = "data(key value)...", .check = even,
     .across = &msetnx_across},
    {"MSETEX", msetex_run, -4, NO_KEYS, CMD_WRITE | CMD_DENY_OOM | CMD_MOVABLE_KEYS, ACL_STRING,
     "string", "9.1.0", "O(N) in the keys",
     "Stores strings under several keys, with one expiry and condition for all.",
     .check = msetex_check, .find_keys = msetex_keys,
     .tips = "request_policy:multi_shard response_policy:all_succeeded", .key_access = "OW update",
     .syntax = "numkeys data(key value)... [condition(NX|XX)] "
               "[expiration(" SET_OPTIONS_TIMES "|KEEPTTL)]",
     .numkeys = {1, 2}, .across = &msetex_across},
};

void string_multi_register(void) {
    command_register(rows, COUNT_OF(rows));
}
