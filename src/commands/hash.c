/* hash.c: hashes: fields with values. The rest of the family stands in hash_walk.c (HRANDFIELD,
 * HSCAN), hash_ttl.c (times of fields) and hash_ex.c (HGETDEL, HGETEX, HSETEX). */
#include "hash_impl.h"
#include "shards/assert.h"
#include <math.h>

uint64_t hash_live(const struct ctx *c, const struct val *v, const struct fields_kind *k) {
    if (v->form == VAL_NONE)
        return 0;
    if (likely(fields_due_ms(v) >= c->now_ms))
        return fields_count(v, k);
    struct fields_iter i;
    struct field f;
    uint64_t n = 0;
    for (fields_begin(&i, v, k, c->now_ms); fields_next(&i, &f);)
        n++;
    return n;
}

/* --- writing --- */

/* put: the pairs from argv[2] on; false: has replied. *added: how many fields are new. */
static ON_SHARD bool put(struct ctx *c, bool only_new, uint64_t *added) {
    struct coll o;
    struct fields_kind kind = hash_kind(c);
    struct fields_put p = {.names = c->argv + 2,
                           .n = (c->argc - 2) / 2,
                           .only_new = only_new,
                           .time = FIELDS_TIME_CLEAR};
    if (unlikely(!coll_open(c, 1, VALUE_HASH, &o)))
        return false;
    if (unlikely(!fields_put(&o.val, &kind, &p, c->now_ms, added))) {
        coll_fail(c, &o);
        return false;
    }
    if (only_new && *added == 0) {
        coll_leave(c, &o);
        return true;
    }
    return coll_store(c, &o);
}

static bool is_paired(struct ctx *c) {
    if (likely(c->argc % 2 == 0))
        return true;
    command_reply_arity(&c->reply, c->cmd);
    return false;
}

static ON_SHARD void hset_run(struct ctx *c) {
    uint64_t added;
    if (is_paired(c) && put(c, false, &added))
        reply_int(&c->reply, (int64_t)added);
}

static ON_SHARD void hmset_run(struct ctx *c) {
    uint64_t added;
    if (is_paired(c) && put(c, false, &added))
        reply_ok(&c->reply);
}

static ON_SHARD void hsetnx_run(struct ctx *c) {
    uint64_t added;
    if (put(c, true, &added))
        reply_int(&c->reply, (int64_t)added);
}

static ON_SHARD void hdel_run(struct ctx *c) {
    struct coll o;
    struct fields_kind kind = hash_kind(c);
    int64_t removed = 0;
    if (unlikely(!coll_open(c, 1, VALUE_HASH, &o)))
        return;
    for (uint32_t i = 2; i < c->argc && o.val.form != VAL_NONE; i++)
        removed += fields_remove(&o.val, &kind, c->argv[i], c->now_ms);
    if (removed == 0)
        coll_leave(c, &o);
    else if (unlikely(!coll_store(c, &o)))
        return;
    reply_int(&c->reply, removed);
}

/* --- numbers --- */

/* store_number: argv[2] of o holds this text, and goes when it would have gone. */
static ON_SHARD bool store_number(struct ctx *c, struct coll *o, struct span text) {
    const struct span row[2] = {c->argv[2], text};
    const struct fields_put p = {.names = row, .n = 1, .time = FIELDS_TIME_KEEP};
    struct fields_kind kind = hash_kind(c);
    uint64_t added;
    if (unlikely(!fields_put(&o->val, &kind, &p, c->now_ms, &added))) {
        coll_fail(c, o);
        return false;
    }
    return coll_store(c, o);
}

/* refuse: of an open coll, which stays as it is. */
static ON_SHARD void refuse(struct ctx *c, struct coll *o, const char *why) {
    coll_leave(c, o);
    reply_error(&c->reply, why);
}

static ON_SHARD bool find_open(struct ctx *c, const struct coll *o, struct field *f) {
    struct fields_kind kind = hash_kind(c);
    return o->val.form != VAL_NONE && fields_find(&o->val, &kind, c->argv[2], c->now_ms, f);
}

static ON_SHARD void hincrby_run(struct ctx *c) {
    struct coll o;
    struct field f;
    int64_t v = 0, delta;
    if (unlikely(!ctx_get_int(c, 3, &delta) || !coll_open(c, 1, VALUE_HASH, &o)))
        return;
    if (find_open(c, &o, &f) && unlikely(!strval_parse_int(f.value, &v))) {
        refuse(c, &o, "ERR hash value is not an integer");
        return;
    }
    if (unlikely(__builtin_add_overflow(v, delta, &v))) {
        refuse(c, &o, "ERR increment or decrement would overflow");
        return;
    }
    char text[STRVAL_INT_BYTES];
    if (likely(store_number(c, &o, (struct span){text, strval_format_int(text, v)})))
        reply_int(&c->reply, v);
}

static ON_SHARD void hincrbyfloat_run(struct ctx *c) {
    struct coll o;
    struct field f;
    long double v = 0, delta;
    if (!strval_parse_float(c->argv[3], &delta)) {
        reply_error(&c->reply, ERR_NOT_FLOAT);
        return;
    }
    if (isinf(delta)) {
        reply_error(&c->reply, "ERR value is NaN or Infinity");
        return;
    }
    if (!coll_open(c, 1, VALUE_HASH, &o))
        return;
    if (find_open(c, &o, &f) && !strval_parse_float(f.value, &v)) {
        refuse(c, &o, "ERR hash value is not a float");
        return;
    }
    v += delta;
    if (isnan(v) || isinf(v)) {
        refuse(c, &o, "ERR increment would produce NaN or Infinity");
        return;
    }
    char text[STRVAL_FLOAT_BYTES];
    struct span sum = {text, strval_format_float(text, v)};
    if (store_number(c, &o, sum))
        reply_bulk(&c->reply, sum);
}

/* --- reading --- */

/* find: argv[2] of the hash argv[1]; false: replied WRONGTYPE. */
static ON_SHARD bool find(struct ctx *c, struct field *f, bool *found) {
    struct val v;
    struct fields_kind kind = hash_kind(c);
    if (unlikely(!coll_read(c, 1, VALUE_HASH, &v)))
        return false;
    *found = v.form != VAL_NONE && fields_find(&v, &kind, c->argv[2], c->now_ms, f);
    return true;
}

static ON_SHARD void hget_run(struct ctx *c) {
    struct field f;
    bool found;
    if (unlikely(!find(c, &f, &found)))
        return;
    if (found)
        reply_bulk(&c->reply, f.value);
    else
        reply_null(&c->reply);
}

static ON_SHARD void hexists_run(struct ctx *c) {
    struct field f;
    bool found;
    if (find(c, &f, &found))
        reply_int(&c->reply, found);
}

static ON_SHARD void hstrlen_run(struct ctx *c) {
    struct field f;
    bool found;
    if (find(c, &f, &found))
        reply_int(&c->reply, found ? (int64_t)f.value.len : 0);
}

static ON_SHARD void hmget_run(struct ctx *c) {
    struct val v;
    struct field f;
    struct fields_kind kind = hash_kind(c);
    if (!coll_read(c, 1, VALUE_HASH, &v))
        return;
    reply_array(&c->reply, c->argc - 2);
    for (uint32_t i = 2; i < c->argc; i++) {
        if (v.form != VAL_NONE && fields_find(&v, &kind, c->argv[i], c->now_ms, &f))
            reply_bulk(&c->reply, f.value);
        else
            reply_null(&c->reply);
    }
}

/* As in Redis, fields whose time has come count until they have gone. */
static ON_SHARD void hlen_run(struct ctx *c) {
    struct val v;
    struct fields_kind kind = hash_kind(c);
    if (coll_read(c, 1, VALUE_HASH, &v))
        reply_int(&c->reply, v.form == VAL_NONE ? 0 : (int64_t)fields_count(&v, &kind));
}

enum { NAMES = 1, VALUES = 2 };

static ON_SHARD void reply_all(struct ctx *c, unsigned what) {
    struct val v;
    struct fields_kind kind = hash_kind(c);
    if (unlikely(!coll_read(c, 1, VALUE_HASH, &v)))
        return;
    uint64_t n = hash_live(c, &v, &kind);
    if (what == (NAMES | VALUES))
        reply_map(&c->reply, n);
    else
        reply_array(&c->reply, n);
    if (n == 0)
        return;
    struct fields_iter i;
    struct field f;
    for (fields_begin(&i, &v, &kind, c->now_ms); fields_next(&i, &f);) {
        if (what & NAMES)
            reply_bulk(&c->reply, f.name);
        if (what & VALUES)
            reply_bulk(&c->reply, f.value);
    }
}

static ON_SHARD void hgetall_run(struct ctx *c) {
    reply_all(c, NAMES | VALUES);
}

static ON_SHARD void hkeys_run(struct ctx *c) {
    reply_all(c, NAMES);
}

static ON_SHARD void hvals_run(struct ctx *c) {
    reply_all(c, VALUES);
}

static const struct command rows[] = {
    {"HSET", hset_run, -4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_HASH, "hash", "2.0.0",
     "O(N) in the fields that are set", "Sets fields of a hash.", .key_access = "RW update",
     .syntax = "key data(field value)..."},
    {"HMSET", hmset_run, -4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_HASH, "hash", "2.0.0",
     "O(N) in the fields that are set", "Sets fields of a hash.", .key_access = "RW update",
     .syntax = "key data(field value)...", .deprecated_since = "4.0.0",
     .replaced_by = "`HSET` with multiple field-value pairs"},
    {"HSETNX", hsetnx_run, 4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_HASH, "hash",
     "2.0.0", "O(1)", "Sets a field of a hash only if it does not exist.",
     .key_access = "RW insert", .syntax = "key field value"},
    {"HDEL", hdel_run, -3, KEY(1), CMD_WRITE | CMD_FAST, ACL_HASH, "hash", "2.0.0",
     "O(N) in the fields that are named", "Deletes fields of a hash, and the hash with its last.",
     .key_access = "RW delete", .syntax = "key field..."},
    {"HINCRBY", hincrby_run, 4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_HASH, "hash",
     "2.0.0", "O(1)", "Adds an integer to the one that a field holds; a missing field counts as 0.",
     .key_access = "RW access update", .syntax = "key field increment"},
    {"HINCRBYFLOAT", hincrbyfloat_run, 4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST, ACL_HASH,
     "hash", "2.6.0", "O(1)",
     "Adds a decimal number to the one that a field holds; a missing field counts as 0.",
     .key_access = "RW access update", .syntax = "key field increment:double"},
    {"HGET", hget_run, 3, KEY(1), CMD_READ | CMD_FAST, ACL_HASH, "hash", "2.0.0", "O(1)",
     "Returns the value of a field.", .key_access = "RO access", .syntax = "key field"},
    {"HMGET", hmget_run, -3, KEY(1), CMD_READ | CMD_FAST, ACL_HASH, "hash", "2.0.0",
     "O(N) in the fields that are named", "Returns the values of some fields.",
     .key_access = "RO access", .syntax = "key field..."},
    {"HEXISTS", hexists_run, 3, KEY(1), CMD_READ | CMD_FAST, ACL_HASH, "hash", "2.0.0", "O(1)",
     "Tells whether a hash has a field.", .key_access = "RO", .syntax = "key field"},
    {"HSTRLEN", hstrlen_run, 3, KEY(1), CMD_READ | CMD_FAST, ACL_HASH, "hash", "3.2.0", "O(1)",
     "Returns the length of a field's value.", .key_access = "RO", .syntax = "key field"},
    {"HLEN", hlen_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_HASH, "hash", "2.0.0", "O(1)",
     "Returns how many fields a hash has.", .key_access = "RO", .syntax = "key"},
    {"HGETALL", hgetall_run, 2, KEY(1), CMD_READ, ACL_HASH, "hash", "2.0.0", "O(N) in the fields",
     "Returns all fields of a hash and their values.", .tips = "nondeterministic_output_order",
     .key_access = "RO access", .syntax = "key"},
    {"HKEYS", hkeys_run, 2, KEY(1), CMD_READ, ACL_HASH, "hash", "2.0.0", "O(N) in the fields",
     "Returns the names of all fields of a hash.", .tips = "nondeterministic_output_order",
     .key_access = "RO access", .syntax = "key"},
    {"HVALS", hvals_run, 2, KEY(1), CMD_READ, ACL_HASH, "hash", "2.0.0", "O(N) in the fields",
     "Returns the values of all fields of a hash.", .tips = "nondeterministic_output_order",
     .key_access = "RO access", .syntax = "key"},
};

void hash_register(void) {
    command_register(rows, COUNT_OF(rows));
    hash_walk_register();
    hash_ttl_register();
    hash_ex_register();
}
