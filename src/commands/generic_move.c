/* generic_move.c: RENAME, MOVE, COPY: a value under another key or in another database.
 *
 * The new entry is made first, and only when it stands the old one goes: so memory that fails
 * leaves everything as it was. For that moment both entries hold the same object.
 *
 * Between two shards RENAME runs where the new key lies, and `after` takes the old one out where
 * that lies. An object changes its shard with it; but pins of a blob belong to the shard of the key and
 * are not atomic, so a blob that a reply still holds is copied. */
#include "coll_impl.h"
#include "shards/assert.h"
#include "str_entry_impl.h"

struct place {
    struct table *table;
    struct span key;
    uint64_t hash;
};

/* place_in: where a key would go in a database; NULL table: replied that memory is out. */
static ON_SHARD struct place place_in(struct ctx *c, uint32_t db, uint32_t key) {
    struct place to = {keyspace_table(c->keyspace, db), c->argv[key], ctx_hash(c, key)};
    if (to.table == NULL)
        ctx_oom(c);
    return to;
}

/* put_view: stores under `to` what v shows, expiry and access time included. An object then belongs
 * to both: a pin of its own is the caller's to add, or to save by taking the old entry out. False:
 * replied that memory is out. */
static ON_SHARD bool put_view(struct ctx *c, const struct place *to, const struct view *v) {
    char inline_bytes[ENTRY_INLINE_MAX];
    struct value value = v->value;
    bool is_object = value.repr == REPR_OBJECT;
    if (value.repr != REPR_INT && !is_object) {
        memcpy(inline_bytes, value.bytes.ptr, value.bytes.len);
        value.bytes.ptr = inline_bytes;
    }
    const struct entry *before = is_object ? table_find(to->table, to->key, to->hash) : NULL;
    bool held_already =
        before != NULL && entry_repr(before) == REPR_OBJECT && entry_object(before) == value.object;
    if (table_put(to->table, to->key, to->hash, &value, v->expire_ms) == NULL) {
        ctx_oom(c);
        return false;
    }
    keyspace_count_gone(c->keyspace, to->table, c->now_ms);
    /* table_put leaves an object alone that it finds in place; its pin would be one too many now.
     */
    if (held_already)
        blob_unpin(keyspace_mem(c->keyspace), value.object);
    return true;
}

/* copy_object: NULL: no memory. */
static void *copy_object(struct mem *m, const struct value *v) {
    if (v->type == VALUE_STRING) {
        const struct blob *from = v->object;
        struct blob *b = blob_create(m, from->len);
        if (b == NULL)
            return NULL;
        memcpy(b->data, from->data, from->len);
        b->len = from->len;
        return b;
    }
    struct val from, to;
    val_of_object(&from, NULL, v->object);
    val_init(&to, m, v->type);
    return val_copy(&to, &from) ? val_object(&to) : NULL;
}

/* drop_object: the last that holds it. */
static ON_SHARD void drop_object(struct ctx *c, unsigned type, void *object) {
    if (type == VALUE_STRING)
        blob_unpin(keyspace_mem(c->keyspace), object);
    else
        keyspace_bury(c->keyspace, object);
}

/* put_own: puts an object that nothing holds yet; NULL: there was no memory for it. */
static ON_SHARD bool put_own(struct ctx *c, const struct place *to, const struct view *v) {
    if (v->value.object == NULL) {
        ctx_oom(c);
        return false;
    }
    if (put_view(c, to, v))
        return true;
    drop_object(c, v->value.type, v->value.object);
    return false;
}

/* put_copy: the same with an object of its own. */
static ON_SHARD bool put_copy(struct ctx *c, const struct place *to, const struct view *v) {
    if (v->value.repr != REPR_OBJECT)
        return put_view(c, to, v);
    struct view own = *v;
    own.value.object = copy_object(keyspace_mem(c->keyspace), &v->value);
    return put_own(c, to, &own);
}

/* put_shared: the same on one shard. A blob is shared until one of its entries writes: copying
 * costs nothing until then. */
static ON_SHARD bool put_shared(struct ctx *c, const struct place *to, const struct view *v) {
    if (v->value.repr != REPR_OBJECT || v->value.type != VALUE_STRING)
        return put_copy(c, to, v);
    blob_pin(v->value.object);
    if (put_view(c, to, v))
        return true;
    blob_unpin(keyspace_mem(c->keyspace), v->value.object);
    return false;
}

/* take_out: removes an entry whose object lives on elsewhere. */
static ON_SHARD void take_out(struct table *t, struct span key, uint64_t hash) {
    char inline_bytes[ENTRY_INLINE_MAX];
    struct value gone;
    int64_t expire_ms;
    table_take(t, key, hash, inline_bytes, &gone, &expire_ms);
}

/* rename_look: an object that can change its shard is kept in the slot of its key; what it is charged, and of a
 * blob its length, in the view: `after` must not look into it, since it is the other shard's by then.
 */
static ON_SHARD void rename_look(struct ctx *c) {
    ctx_look_views(c);
    struct key_slot *k = ctx_slot(c, 1);
    if (k->shard != c->shard->id)
        return;
    k->kept = NULL;
    if (!k->view.exists || k->view.value.repr != REPR_OBJECT)
        return;
    if (k->view.value.type != VALUE_STRING) {
        const struct object *o = k->view.value.object;
        k->kept = k->view.value.object;
        k->view.value.integer = (int64_t)o->bytes;
        return;
    }
    struct blob *b = k->view.value.object;
    if (b->refs != 1)
        return;
    k->kept = b;
    k->view.value.bytes.len = b->len;
    k->view.value.integer = (int64_t)blob_bytes(b);
}

static ON_SHARD void rename_after(struct ctx *c) {
    const struct key_slot *k = ctx_slot(c, 1);
    if (!c->slots->go || k->shard != c->shard->id)
        return;
    struct table *t = ctx_table(c);
    if (k->kept != NULL) {
        struct blob gone = {.refs = 1, .len = k->view.value.bytes.len};
        if (k->view.value.type == VALUE_STRING) /* its length is counted */
            entry_set_object(table_find(t, c->argv[1], k->hash), &gone);
        take_out(t, c->argv[1], k->hash);
        mem_charge(keyspace_mem(c->keyspace), -k->view.value.integer);
    } else {
        table_delete(t, c->argv[1], k->hash);
    }
    ctx_changed(c, 1);
}

/* put_from_afar: of another shard's key, which `after` takes out. */
static ON_SHARD bool put_from_afar(struct ctx *c, const struct place *to, const struct view *from) {
    bool moves = ctx_slot(c, 1)->kept != NULL;
    c->slots->go = moves ? put_view(c, to, from) : put_copy(c, to, from);
    if (c->slots->go && moves)
        mem_charge(keyspace_mem(c->keyspace), from->value.integer);
    return c->slots->go;
}

/* rename_to: false after having replied why not. */
static ON_SHARD bool rename_to(struct ctx *c, bool replace, bool *renamed) {
    struct view there, from;
    ctx_view(c, 2, &there);
    ctx_view(c, 1, &from);
    if (!from.exists) {
        reply_error(&c->reply, ERR_NO_KEY);
        return false;
    }
    *renamed = replace || !there.exists;
    if (!*renamed || span_eq(c->argv[1], c->argv[2]))
        return true;
    struct place to = place_in(c, c->db, 2);
    if (to.table == NULL)
        return false;
    if (c->slots != NULL) {
        if (!put_from_afar(c, &to, &from))
            return false;
    } else {
        if (!put_view(c, &to, &from))
            return false;
        take_out(to.table, c->argv[1], ctx_hash(c, 1));
        ctx_changed(c, 1);
    }
    ctx_changed(c, 2);
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

static ON_SHARD void move_run(struct ctx *c) {
    uint32_t db;
    if (!get_db(c, 2, &db))
        return;
    if (db == c->db) {
        reply_error(&c->reply, ERR_SAME_OBJECT);
        return;
    }
    struct view from;
    uint64_t hash = ctx_hash(c, 1);
    ctx_view(c, 1, &from);
    if (!from.exists || keyspace_find(c->keyspace, db, c->argv[1], hash, c->now_ms) != NULL) {
        reply_int(&c->reply, 0);
        return;
    }
    struct place to = place_in(c, db, 1);
    if (to.table == NULL || !put_view(c, &to, &from))
        return;
    take_out(ctx_table(c), c->argv[1], hash);
    ctx_changed(c, 1);
    ctx_changed_in(c, db, 1);
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

/* A value that is copied beside the shard. */
struct copying {
    struct value from;
    void *made; /* NULL: no memory */
};

static void copy_beside(void *state, struct mem *m) {
    struct copying *w = state;
    w->made = copy_object(m, &w->from);
}

enum { ELEMENT_BYTES = 2048 }; /* copied in the time that an element takes */

/* elements_of: what copying it takes time for; of a string only where it is not shared. */
static uint64_t elements_of(const struct ctx *c, const struct view *v) {
    if (v->value.repr != REPR_OBJECT)
        return 0;
    if (v->value.type == VALUE_STRING)
        return c->slots == NULL ? 0 : ((const struct blob *)v->value.object)->len / ELEMENT_BYTES;
    const struct object *o = v->value.object;
    return o->count + o->bytes / ELEMENT_BYTES; /* a flat one counts none */
}

/* bytes_of: what a copy of it takes beside its key. */
static int64_t bytes_of(const struct ctx *c, const struct view *v) {
    if (v->value.repr != REPR_OBJECT)
        return (int64_t)v->value.bytes.len;
    if (v->value.type == VALUE_STRING)
        return c->slots == NULL ? 0 : (int64_t)blob_bytes(v->value.object);
    return (int64_t)((const struct object *)v->value.object)->bytes;
}

/* copy_make: what takes time to copy (*made). False: it has replied that there is no room, or is called again. */
static ON_SHARD bool copy_make(struct ctx *c, const struct view *from, void **made) {
    struct copying w = {.from = from->value};
    uint64_t elements = elements_of(c, from);
    if (!ctx_resume(c, &w, sizeof w)) {
        if (!ctx_room(c, bytes_of(c, from)) || ctx_long(c, elements))
            return false;
        if (elements != 0 && !ctx_work(c, elements, copy_beside, &w, sizeof w))
            return false;
    }
    *made = w.made;
    return true;
}

static ON_SHARD bool put_copied(struct ctx *c, const struct place *to, struct view *from,
                                void *made) {
    if (elements_of(c, from) == 0)
        return (c->slots == NULL ? put_shared : put_copy)(c, to, from);
    from->value.object = made;
    return put_own(c, to, from);
}

static ON_SHARD void copy_run(struct ctx *c) {
    uint32_t db;
    bool replace;
    if (!copy_options(c, &db, &replace))
        return;
    bool taken = keyspace_find(c->keyspace, db, c->argv[2], ctx_hash(c, 2), c->now_ms) != NULL;
    struct view from;
    ctx_view(c, 1, &from);
    if (!from.exists || (taken && !replace)) {
        reply_int(&c->reply, 0);
        return;
    }
    void *made;
    if (!copy_make(c, &from, &made))
        return;
    struct place to = place_in(c, db, 2);
    if (to.table == NULL) {
        if (made != NULL)
            drop_object(c, from.value.type, made);
        return;
    }
    if (!put_copied(c, &to, &from, made))
        return;
    ctx_changed_in(c, db, 2);
    reply_int(&c->reply, 1);
}

static const struct across rename_across = {.look = rename_look, .at = 2, .after = rename_after};
static const struct across copy_across = {
    .look = ctx_look_views, .at = 2, .shared_from = 1, .shared_to = 1};

static const struct command rows[] = {
    {"RENAME", rename_run, 3, KEYS(1, 2, 1), CMD_WRITE, ACL_KEYSPACE, "generic", "1.0.0", "O(1)",
     "Gives a key another name; what had that name is lost.",
     .key_access = "RW access delete;OW update", .syntax = "key newkey", .across = &rename_across},
    {"RENAMENX", renamenx_run, 3, KEYS(1, 2, 1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic",
     "1.0.0", "O(1)", "Gives a key another name that nothing has.",
     .key_access = "RW access delete;OW insert", .syntax = "key newkey", .across = &rename_across},
    {"MOVE", move_run, 3, KEY(1), CMD_WRITE | CMD_FAST, ACL_KEYSPACE, "generic", "1.0.0", "O(1)",
     "Moves a key to another database.", .key_access = "RW access update", .syntax = "key db"},
    {"COPY", copy_run, -3, KEYS(1, 2, 1), CMD_WRITE | CMD_DENY_OOM | CMD_LONG, ACL_KEYSPACE,
     "generic", "6.2.0", "O(N) in the elements of a collection, O(1) for a string",
     "Copies what a key holds to another key.", .key_access = "RO access;OW update",
     .syntax = "source:key destination:key [DB=destination-db] [REPLACE]", .across = &copy_across},
};

void generic_move_register(void) {
    command_register(rows, COUNT_OF(rows));
}
