/* generic.c: commands on keys of any type; the rest of the family stands in generic_*.c. */
#include "anax/val.h"
#include "ctx_impl.h"
#include "shards/assert.h"

const char *type_name(unsigned type) {
    static const char *const names[VALUE_TYPES_MAX] = {
        [VALUE_STRING] = "string", [VALUE_LIST] = "list", [VALUE_SET] = "set",
        [VALUE_ZSET] = "zset",     [VALUE_HASH] = "hash", [VALUE_STREAM] = "stream"};
    ASSERT(type < VALUE_TYPES_MAX);
    return names[type] == NULL ? "unknown" : names[type];
}

/* Is it true of the key argv[i]? */
typedef bool key_fn(struct ctx *c, uint32_t i, uint64_t hash);

/* count_keys: replies for how many of the keys argv[1] and on `each` is true. */
static ON_SHARD void count_keys(struct ctx *c, key_fn *each) {
    uint64_t hashes[CTX_FETCH_AHEAD];
    int64_t n = 0;
    for (uint32_t at = 1; at < c->argc; at += CTX_FETCH_AHEAD) {
        unsigned some = c->argc - at < CTX_FETCH_AHEAD ? c->argc - at : CTX_FETCH_AHEAD;
        ctx_fetch_ahead(c, at, 1, some, hashes);
        for (unsigned i = 0; i < some; i++)
            n += each(c, at + i, hashes[i]);
    }
    reply_int(&c->reply, n);
}

/* tally_keys: the same of those that lie on this shard; the sum is replied elsewhere. */
static ON_SHARD void tally_keys(struct ctx *c, key_fn *each) {
    for (const struct key_slot *k = ctx_first_slot(c); k != NULL; k = ctx_next_slot(c, k))
        c->tally += each(c, k->arg, k->hash);
}

static ON_SHARD bool delete_key(struct ctx *c, uint32_t i, uint64_t hash) {
    if (keyspace_find(c->keyspace, c->db, c->argv[i], hash, c->now_ms) == NULL)
        return false;
    table_delete(keyspace_peek_table(c->keyspace, c->db), c->argv[i], hash);
    ctx_changed(c, i);
    return true;
}

static ON_SHARD bool key_exists(struct ctx *c, uint32_t i, uint64_t hash) {
    return ctx_peek_at(c, c->argv[i], hash) != NULL;
}

static ON_SHARD bool touch_key(struct ctx *c, uint32_t i, uint64_t hash) {
    struct entry *e = ctx_find_at(c, c->argv[i], hash);
    if (e != NULL && c->no_touch) /* which is for others */
        access_use(keyspace_access(c->keyspace), e, c->now_ms);
    return e != NULL;
}

static ON_SHARD void del_run(struct ctx *c) {
    count_keys(c, delete_key);
}

static ON_SHARD void del_after(struct ctx *c) {
    tally_keys(c, delete_key);
}

static ON_SHARD void exists_run(struct ctx *c) {
    count_keys(c, key_exists);
}

static ON_SHARD void exists_look(struct ctx *c) {
    tally_keys(c, key_exists);
}

static ON_SHARD void touch_run(struct ctx *c) {
    count_keys(c, touch_key);
}

static ON_SHARD void touch_look(struct ctx *c) {
    tally_keys(c, touch_key);
}

static const struct across del_across = {.after = del_after, .join = JOIN_SUM};
static const struct across exists_across = {.look = exists_look, .join = JOIN_SUM};
static const struct across touch_across = {.look = touch_look, .join = JOIN_SUM};

static ON_SHARD void type_run(struct ctx *c) {
    const struct entry *e = ctx_peek(c, 1);
    reply_status(&c->reply, e == NULL ? "none" : type_name(entry_type(e)));
}

static const struct command rows[] = {
    {"DEL", del_run, -2, KEYS(1, -1, 1), CMD_WRITE, ACL_KEYSPACE, "generic", "1.0.0",
     "O(N) in the keys", "Deletes keys.",
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_access = "RM delete",
     .syntax = "key...", .across = &del_across},
    {"UNLINK", del_run, -2, KEYS(1, -1, 1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic", "4.0.0",
     "O(1) for each key", "Deletes keys; what they held may be freed later.",
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_access = "RM delete",
     .syntax = "key...", .across = &del_across},
    {"EXISTS", exists_run, -2, KEYS(1, -1, 1), CMD_READ | CMD_FAST, ACL_KEYSPACE, "generic",
     "1.0.0", "O(N) in the keys", "Counts which of the keys exist.",
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_access = "RO",
     .syntax = "key...", .across = &exists_across},
    {"TOUCH", touch_run, -2, KEYS(1, -1, 1), CMD_READ | CMD_FAST, ACL_KEYSPACE, "generic", "3.2.1",
     "O(N) in the keys", "Counts which of the keys exist, and notes that they were accessed.",
     .tips = "request_policy:multi_shard response_policy:agg_sum", .key_access = "RO",
     .syntax = "key...", .across = &touch_across},
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
