/* generic.c: commands on keys of any type; the rest of the family stands in generic_*.c. */
#include "ctx_impl.h"
#include "shards/assert.h"

const char *type_name(unsigned type) {
    static const char *const names[VALUE_TYPES_MAX] = {[VALUE_STRING] = "string"};
    ASSERT(type < VALUE_TYPES_MAX);
    return names[type] == NULL ? "unknown" : names[type];
}

typedef bool key_fn(struct ctx *c, struct span key, uint64_t hash);

/* count_keys: replies for how many of the keys argv[1] and on `each` is true. */
static ON_SHARD void count_keys(struct ctx *c, key_fn *each) {
    uint64_t hashes[CTX_FETCH_AHEAD];
    int64_t n = 0;
    for (uint32_t at = 1; at < c->argc; at += CTX_FETCH_AHEAD) {
        unsigned some = c->argc - at < CTX_FETCH_AHEAD ? c->argc - at : CTX_FETCH_AHEAD;
        ctx_fetch_ahead(c, at, 1, some, hashes);
        for (unsigned i = 0; i < some; i++)
            n += each(c, c->argv[at + i], hashes[i]);
    }
    reply_int(&c->reply, n);
}

static ON_SHARD bool delete_key(struct ctx *c, struct span key, uint64_t hash) {
    struct entry *e = keyspace_find(c->keyspace, c->db, key, hash, c->now_ms);
    return e != NULL && table_delete(keyspace_peek_table(c->keyspace, c->db), key, hash);
}

static ON_SHARD bool key_exists(struct ctx *c, struct span key, uint64_t hash) {
    return ctx_peek_at(c, key, hash) != NULL;
}

static ON_SHARD bool touch_key(struct ctx *c, struct span key, uint64_t hash) {
    struct entry *e = ctx_find_at(c, key, hash);
    if (e != NULL)
        entry_set_access(e, ctx_access_now(c)); /* NO-TOUCH is for others */
    return e != NULL;
}

static ON_SHARD void del_run(struct ctx *c) {
    count_keys(c, delete_key);
}

static ON_SHARD void exists_run(struct ctx *c) {
    count_keys(c, key_exists);
}

static ON_SHARD void touch_run(struct ctx *c) {
    count_keys(c, touch_key);
}

static ON_SHARD void type_run(struct ctx *c) {
    const struct entry *e = ctx_peek(c, 1);
    reply_status(&c->reply, e == NULL ? "none" : type_name(entry_type(e)));
}

static const struct command rows[] = {
    {"DEL", del_run, -2, KEYS(1, -1, 1), CMD_WRITE, ACL_KEYSPACE, "generic", "1.0.0",
     "O(N) in the keys", "Deletes keys.",
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_access = "RM delete",
     .syntax = "key..."},
    {"UNLINK", del_run, -2, KEYS(1, -1, 1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic", "4.0.0",
     "O(1) for each key", "Deletes keys; what they held may be freed later.",
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_access = "RM delete",
     .syntax = "key..."},
    {"EXISTS", exists_run, -2, KEYS(1, -1, 1), CMD_READ | CMD_FAST, ACL_KEYSPACE, "generic",
     "1.0.0", "O(N) in the keys", "Counts which of the keys exist.",
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_access = "RO",
     .syntax = "key..."},
    {"TOUCH", touch_run, -2, KEYS(1, -1, 1), CMD_READ | CMD_FAST, ACL_KEYSPACE, "generic", "3.2.1",
     "O(N) in the keys", "Counts which of the keys exist, and notes that they were accessed.",
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_access = "RO",
     .syntax = "key..."},
    {"TYPE", type_run, 2, KEY(1), CMD_READ | CMD_FAST, ACL_KEYSPACE, "generic", "1.0.0", "O(1)",
     "Returns the type of what a key holds.", .key_access = "RO", .syntax = "key"},
};

void generic_register(void) {
    command_register(rows, COUNT_OF(rows));
    generic_move_register();
    generic_expire_register();
    generic_object_register();
    generic_walk_register();
}
