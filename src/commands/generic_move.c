/* generic_move.c: RENAME, MOVE, COPY: a value under another key or in another database.
 *
 * The new entry is made first, and only when it stands the old one goes: so memory that fails
 * leaves everything as it was. For that moment both entries hold the same object.
 */
#include "str_entry_impl.h"

struct place {
    struct table *table;
    struct span key;
    uint64_t hash;
};

/* put_held: stores under `to` what e holds, expiry included. An object then belongs to both: a pin
 * of its own is the caller's to add, or to save by taking e out. NULL: replied that memory is out.
 */
static ON_SHARD struct entry *put_held(struct ctx *c, const struct place *to,
                                       const struct entry *e) {
    char inline_bytes[ENTRY_INLINE_MAX];
    struct value v = {.type = (uint8_t)entry_type(e), .repr = (uint8_t)entry_repr(e)};
    if (v.repr == REPR_INT) {
        v.integer = entry_int(e);
    } else if (v.repr == REPR_OBJECT) {
        v.object = entry_object(e);
    } else {
        v.bytes = entry_bytes(e);
        memcpy(inline_bytes, v.bytes.ptr, v.bytes.len);
        v.bytes.ptr = inline_bytes;
    }
    int64_t expire_ms = entry_expire_ms(e);
    uint32_t access = entry_access(e);
    const struct entry *before =
        v.repr == REPR_OBJECT ? table_find(to->table, to->key, to->hash) : NULL;
    bool held_already =
        before != NULL && entry_repr(before) == REPR_OBJECT && entry_object(before) == v.object;
    struct entry *made = table_put(to->table, to->key, to->hash, &v, expire_ms);
    if (made == NULL) {
        ctx_oom(c);
        return NULL;
    }
    entry_set_access(made, access);
    /* table_put leaves an object alone that it finds in place; its pin would be one too many now.
     */
    if (held_already)
        blob_unpin(keyspace_mem(c->keyspace), v.object);
    return made;
}

/* take_out: removes an entry whose object lives on elsewhere. */
static ON_SHARD void take_out(struct table *t, struct span key, uint64_t hash) {
    char inline_bytes[ENTRY_INLINE_MAX];
    struct value gone;
    int64_t expire_ms;
    table_take(t, key, hash, inline_bytes, &gone, &expire_ms);
}

/* rename_to: false after having replied why not. */
static ON_SHARD bool rename_to(struct ctx *c, bool replace, bool *renamed) {
    struct place to = {NULL, c->argv[2], ctx_hash(c, 2)};
    struct entry *there = keyspace_find(c->keyspace, c->db, to.key, to.hash, c->now_ms);
    bool taken = there != NULL;
    struct entry *e = ctx_find(c, 1);
    if (e == NULL) {
        reply_error(&c->reply, ERR_NO_KEY);
        return false;
    }
    *renamed = replace || !taken;
    if (!*renamed || span_eq(c->argv[1], c->argv[2]))
        return true;
    to.table = ctx_table(c);
    if (put_held(c, &to, e) == NULL)
        return false;
    take_out(to.table, c->argv[1], ctx_hash(c, 1));
    return true;
}

static ON_SHARD void rename_run(struct ctx *c) {
    bool renamed;
    if (rename_to(c, true, &renamed))
        reply_ok(&c->reply);
}

static ON_SHARD void renamenx_run(struct ctx *c) {
    bool renamed;
    if (rename_to(c, false, &renamed))
        reply_int(&c->reply, renamed);
}

/* get_db: argv[i] as the number of a database. */
static bool get_db(struct ctx *c, uint32_t i, uint32_t *db) {
    int64_t n;
    if (!ctx_get_int(c, i, &n))
        return false;
    if (n < INT32_MIN || n > INT32_MAX) {
        reply_errorf(&c->reply, "ERR value is out of range, value must between %d and %d",
                     INT32_MIN, INT32_MAX);
        return false;
    }
    if (n < 0 || n >= keyspace_databases(c->keyspace)) {
        reply_error(&c->reply, "ERR DB index is out of range");
        return false;
    }
    *db = (uint32_t)n;
    return true;
}

static const char ERR_SAME_OBJECT[] = "ERR source and destination objects are the same";

/* place_in: where a key would go in a database; NULL table: replied that memory is out. */
static ON_SHARD struct place place_in(struct ctx *c, uint32_t db, uint32_t key) {
    struct place to = {keyspace_table(c->keyspace, db), c->argv[key], ctx_hash(c, key)};
    if (to.table == NULL)
        ctx_oom(c);
    return to;
}

static ON_SHARD void move_run(struct ctx *c) {
    uint32_t db;
    if (!get_db(c, 2, &db))
        return;
    if (db == c->db) {
        reply_error(&c->reply, ERR_SAME_OBJECT);
        return;
    }
    struct entry *e = ctx_find(c, 1);
    uint64_t hash = ctx_hash(c, 1);
    if (e == NULL || keyspace_find(c->keyspace, db, c->argv[1], hash, c->now_ms) != NULL) {
        reply_int(&c->reply, 0);
        return;
    }
    struct place to = place_in(c, db, 1);
    if (to.table == NULL || put_held(c, &to, e) == NULL)
        return;
    take_out(ctx_table(c), c->argv[1], hash);
    reply_int(&c->reply, 1);
}

static bool copy_options(struct ctx *c, uint32_t *db, bool *replace) {
    *db = c->db;
    *replace = false;
    for (uint32_t i = 3; i < c->argc; i++) {
        if (span_is(c->argv[i], "REPLACE")) {
            *replace = true;
        } else if (span_is(c->argv[i], "DB") && i + 1 < c->argc) {
            if (!get_db(c, ++i, db))
                return false;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    if (*db == c->db && span_eq(c->argv[1], c->argv[2])) {
        reply_error(&c->reply, ERR_SAME_OBJECT);
        return false;
    }
    return true;
}

static ON_SHARD void copy_run(struct ctx *c) {
    uint32_t db;
    bool replace;
    if (!copy_options(c, &db, &replace))
        return;
    bool taken = keyspace_find(c->keyspace, db, c->argv[2], ctx_hash(c, 2), c->now_ms) != NULL;
    struct entry *e = ctx_find(c, 1);
    if (e == NULL || (taken && !replace)) {
        reply_int(&c->reply, 0);
        return;
    }
    struct place to = place_in(c, db, 2);
    if (to.table == NULL)
        return;
    /* A blob is shared until one of its entries writes: copying costs nothing until then. */
    struct blob *shared = entry_repr(e) == REPR_OBJECT ? entry_object(e) : NULL;
    if (shared != NULL)
        blob_pin(shared);
    if (put_held(c, &to, e) != NULL)
        reply_int(&c->reply, 1);
    else if (shared != NULL)
        blob_unpin(keyspace_mem(c->keyspace), shared);
}

static const struct command rows[] = {
    {"RENAME", rename_run, 3, KEYS(1, 2, 1), CMD_WRITE, ACL_KEYSPACE, "generic", "1.0.0", "O(1)",
     "Gives a key another name; what had that name is lost.",
     .key_access = "RW access delete;OW update", .syntax = "key newkey"},
    {"RENAMENX", renamenx_run, 3, KEYS(1, 2, 1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic",
     "1.0.0", "O(1)", "Gives a key another name that nothing has.",
     .key_access = "RW access delete;OW insert", .syntax = "key newkey"},
    {"MOVE", move_run, 3, KEY(1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic", "1.0.0", "O(1)",
     "Moves a key to another database.", .key_access = "RW access update", .syntax = "key db"},
    {"COPY", copy_run, -3, KEYS(1, 2, 1), CMD_WRITE | CMD_DENY_OOM, ACL_KEYSPACE, "generic",
     "6.2.0", "O(N) in the elements of a collection, O(1) for a string",
     "Copies what a key holds to another key.", .key_access = "RO access;OW update",
     .syntax = "source:key destination:key [DB=destination-db] [REPLACE]"},
};

void generic_move_register(void) {
    command_register(rows, COUNT_OF(rows));
}
