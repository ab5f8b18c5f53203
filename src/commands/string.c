/* string.c: SET, GET and what is close to them; the rest of the family stands in string_*.c and
 * lcs.c.
 *
 * SET of three arguments and GET are the commands that a cache serves most: they do one lookup
 * each.
 */
#include "set_options_impl.h"
#include "shards/move.h"
#include "str_entry_impl.h"

/* expiry_of: what table_put is to do about the expiry of a key that is there (e) or not. Replies
 * and returns false on a bad time. */
static bool expiry_of(struct ctx *c, const struct set_options *o, const struct entry *e,
                      int64_t *expire_ms) {
    *expire_ms = EXPIRE_NEVER;
    if (o->expiry == EXPIRY_KEEP)
        *expire_ms = e == NULL ? EXPIRE_NEVER : EXPIRE_KEEP;
    else if (o->expiry != EXPIRY_NONE)
        return set_options_time(c, o->expiry, o->time_arg, expire_ms);
    return true;
}

static bool condition_holds(struct ctx *c, const struct set_options *o, const struct entry *e) {
    switch (o->condition) {
    case SET_NX:
        return e == NULL;
    case SET_XX:
        return e != NULL;
    case SET_IFEQ: {
        char scratch[STRVAL_INT_BYTES];
        return e != NULL && span_eq(str_entry_bytes(e, scratch), c->argv[o->equal_arg]);
    }
    case SET_ALWAYS:
        break;
    }
    return true;
}

/* store: the value, or nothing when its time has passed already. */
static ON_SHARD bool store(struct ctx *c, uint32_t value_arg, int64_t expire_ms) {
    if (unlikely(set_options_past(c, expire_ms)))
        ctx_delete(c, 1);
    else if (unlikely(!str_entry_set(c, 1, c->argv[value_arg], expire_ms)))
        return false;
    ctx_changed(c, 1);
    return true;
}

static ON_SHARD void set_and_get(struct ctx *c, struct entry *e, bool holds, int64_t expire_ms) {
    char inline_bytes[ENTRY_INLINE_MAX];
    struct str_held old;
    str_held_take(&old, e, inline_bytes);
    if (!holds || store(c, 2, expire_ms))
        str_held_reply(&c->reply, &old, inline_bytes);
    str_held_drop(keyspace_mem(c->keyspace), &old);
}

static ON_SHARD void set_with_options(struct ctx *c) {
    struct set_options o;
    unsigned allowed = ALLOW_CONDITION | ALLOW_IFEQ | ALLOW_GET | ALLOW_KEEPTTL;
    int64_t expire_ms;
    if (!set_options_parse(c, 3, allowed, &o) || !expiry_of(c, &o, NULL, &expire_ms))
        return;
    if (!o.get && o.condition == SET_ALWAYS && o.expiry != EXPIRY_KEEP) {
        if (store(c, 2, expire_ms))
            reply_ok(&c->reply);
        return;
    }
    struct entry *e = ctx_find(c, 1);
    if (e != NULL && entry_type(e) != VALUE_STRING && (o.get || o.condition == SET_IFEQ)) {
        reply_error(&c->reply, ERR_WRONG_TYPE);
        return;
    }
    if (o.expiry == EXPIRY_KEEP && e != NULL)
        expire_ms = EXPIRE_KEEP;
    bool holds = condition_holds(c, &o, e);
    if (o.get)
        set_and_get(c, e, holds, expire_ms);
    else if (!holds)
        reply_null(&c->reply);
    else if (store(c, 2, expire_ms))
        reply_ok(&c->reply);
}

static ON_SHARD void set_run(struct ctx *c) {
    if (unlikely(c->argc != 3)) {
        set_with_options(c);
        return;
    }
    if (likely(store(c, 2, EXPIRE_NEVER)))
        reply_ok(&c->reply);
}

static ON_SHARD void get_run(struct ctx *c) {
    struct entry *e;
    if (unlikely(!ctx_find_string(c, 1, &e)))
        return;
    if (e == NULL)
        reply_null(&c->reply);
    else
        str_entry_reply(&c->reply, e);
}

static ON_SHARD void setnx_run(struct ctx *c) {
    if (ctx_find(c, 1) != NULL)
        reply_int(&c->reply, 0);
    else if (store(c, 2, EXPIRE_NEVER))
        reply_int(&c->reply, 1);
}

static ON_SHARD void set_until(struct ctx *c, enum expiry kind) {
    int64_t expire_ms;
    if (set_options_time(c, kind, 2, &expire_ms) && store(c, 3, expire_ms))
        reply_ok(&c->reply);
}

static ON_SHARD void setex_run(struct ctx *c) {
    set_until(c, EXPIRY_EX);
}

static ON_SHARD void psetex_run(struct ctx *c) {
    set_until(c, EXPIRY_PX);
}

static ON_SHARD void getset_run(struct ctx *c) {
    struct entry *e;
    if (ctx_find_string(c, 1, &e))
        set_and_get(c, e, true, EXPIRE_NEVER);
}

static ON_SHARD void getdel_run(struct ctx *c) {
    struct entry *e;
    if (!ctx_find_string(c, 1, &e))
        return;
    if (e == NULL) {
        reply_null(&c->reply);
        return;
    }
    str_entry_reply(&c->reply, e);
    ctx_delete(c, 1);
    ctx_changed(c, 1);
}

static ON_SHARD void getex_run(struct ctx *c) {
    struct set_options o;
    struct entry *e;
    if (!set_options_parse(c, 2, ALLOW_PERSIST, &o) || !ctx_find_string(c, 1, &e))
        return;
    if (e == NULL) {
        reply_null(&c->reply);
        return;
    }
    int64_t expire_ms = EXPIRE_NEVER;
    bool timed = o.expiry != EXPIRY_NONE && o.expiry != EXPIRY_PERSIST;
    if (timed && !set_options_time(c, o.expiry, o.time_arg, &expire_ms))
        return;
    bool past = set_options_past(c, expire_ms);
    bool persist = o.expiry == EXPIRY_PERSIST && entry_expire_ms(e) != EXPIRE_NEVER;
    if ((timed && !past) || persist) {
        e = table_set_expire(ctx_table(c), e, ctx_hash(c, 1), expire_ms);
        if (e == NULL) {
            ctx_oom(c);
            return;
        }
    }
    str_entry_reply(&c->reply, e);
    if (past)
        ctx_delete(c, 1);
    if (timed || persist)
        ctx_changed(c, 1);
}

static ON_SHARD void delifeq_run(struct ctx *c) {
    struct entry *e;
    char scratch[STRVAL_INT_BYTES];
    if (!ctx_find_string(c, 1, &e))
        return;
    bool equal = e != NULL && span_eq(str_entry_bytes(e, scratch), c->argv[2]);
    if (equal) {
        ctx_delete(c, 1);
        ctx_changed(c, 1);
    }
    reply_int(&c->reply, equal);
}

/* set_access: only a SET that returns the string before reads it. */
static const char *set_access(const struct span *argv, uint32_t argc) {
    for (uint32_t i = 3; i < argc; i++) {
        if (span_is(argv[i], "GET"))
            return "RW access update";
    }
    return "OW update";
}

static const struct command rows[] = {
    {"GET", get_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_STRING, "string", "1.0.0", "O(1)",
     "Returns the string that a key holds.", .key_access = "RO access", .syntax = "key"},
    {"SET", set_run, -3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_BIG_LAST | CMD_CONSTANT, ACL_STRING,
     "string", "1.0.0", "O(1)",
     "Stores a string under a key, whatever it held, on conditions if wanted.",
     .key_access = "RW access update variable_flags",
     .syntax = "key value [condition(NX|XX|IFEQ=comparison-value)] [GET] "
               "[expiration(" SET_OPTIONS_TIMES "|KEEPTTL)]",
     .find_access = set_access},
    {"SETNX", setnx_run, 3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST | CMD_BIG_LAST, ACL_STRING,
     "string", "1.0.0", "O(1)", "Stores a string only if the key does not exist.",
     .key_access = "OW insert", .syntax = "key value", .deprecated_since = "2.6.12",
     .replaced_by = "`SET` with the `NX` argument"},
    {"SETEX", setex_run, 4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_BIG_LAST, ACL_STRING, "string",
     "2.0.0", "O(1)", "Stores a string that expires after some seconds.", .key_access = "OW update",
     .syntax = "key seconds value", .deprecated_since = "2.6.12",
     .replaced_by = "`SET` with the `EX` argument"},
    {"PSETEX", psetex_run, 4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_BIG_LAST, ACL_STRING, "string",
     "2.6.0", "O(1)", "Stores a string that expires after some milliseconds.",
     .key_access = "OW update", .syntax = "key milliseconds value", .deprecated_since = "2.6.12",
     .replaced_by = "`SET` with the `PX` argument"},
    {"GETSET", getset_run, 3, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_FAST | CMD_BIG_LAST,
     ACL_STRING, "string", "1.0.0", "O(1)", "Stores a string and returns the one before.",
     .key_access = "RW access update", .syntax = "key value", .deprecated_since = "6.2.0",
     .replaced_by = "`SET` with the `!GET` argument"},
    {"GETDEL", getdel_run, 2, KEY(1), CMD_WRITE | CMD_FAST, ACL_STRING, "string", "6.2.0", "O(1)",
     "Returns the string that a key holds and deletes the key.", .key_access = "RW access delete",
     .syntax = "key"},
    {"GETEX", getex_run, -2, KEY(1), CMD_WRITE | CMD_FAST, ACL_STRING, "string", "6.2.0", "O(1)",
     "Returns the string that a key holds and changes when it expires.",
     .key_access = "RW access update",
     .syntax = "key "
               "[expiration(" SET_OPTIONS_TIMES "|PERSIST)]"},
    {"DELIFEQ", delifeq_run, 3, KEY(1), CMD_WRITE | CMD_FAST, ACL_STRING, "string", "9.0.0", "O(N)",
     "Deletes a key if it holds the given string.", .key_access = "RM delete",
     .syntax = "key value"},
};

static void destroy_blob(struct mem *m, void *object) {
    blob_unpin(m, object);
}

static size_t count_blob(const void *object) {
    return blob_bytes(object);
}

/* defrag_blob: one that a reply still refers to stays. */
static void *defrag_blob(struct mover *v, void *object, uint64_t *cursor) {
    struct blob *b = object;
    *cursor = 0;
    return b->refs > 1 ? b : move_small(v, b, sizeof *b + b->cap);
}

void string_register(void) {
    static const struct value_ops ops = {
        .destroy = destroy_blob, .bytes = count_blob, .defrag_some = defrag_blob};
    keyspace_register_type(VALUE_STRING, &ops);
    command_register(rows, COUNT_OF(rows));
    string_number_register();
    string_range_register();
    string_multi_register();
    lcs_register();
}
