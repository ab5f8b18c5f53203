/* coll.c: lists, hashes, sets and sorted sets in entries. See coll_impl.h. */
#include "anax/intset.h"
#include "anax/listpack.h"
#include "coll_impl.h"
#include "shards/assert.h"

/* A value that has a block of its own goes back into its entry when it is this short: well below
 * ENTRY_INLINE_MAX, so that one that grows and shrinks there does not move each time. */
enum { INLINE_AGAIN_MAX = 256 };

static uint32_t flat_len(const uint8_t *bytes, uint8_t form) {
    return form == VAL_INTSET ? (uint32_t)intset_bytes(bytes) : lp_bytes(bytes);
}

void coll_of_entry(const struct entry *e, struct mem *m, struct val *v) {
    enum repr repr = entry_repr(e);
    if (repr == REPR_OBJECT) {
        val_of_object(v, m, entry_object(e));
        return;
    }
    uint8_t form = repr == REPR_RAW ? VAL_INTSET : VAL_LISTPACK;
    uint8_t *bytes = (uint8_t *)(uintptr_t)entry_bytes(e).ptr;
    val_of_bytes(v, m, (uint8_t)entry_type(e), form, bytes, flat_len(bytes, form),
                 (uint32_t)entry_room(e));
}

bool coll_of_view(struct ctx *c, const struct view *w, uint8_t type, struct val *v) {
    struct mem *m = keyspace_mem(c->keyspace);
    if (!w->exists) {
        val_init(v, m, type);
        return true;
    }
    if (w->value.type != type) {
        reply_error(&c->reply, ERR_WRONG_TYPE);
        return false;
    }
    if (w->value.repr == REPR_OBJECT) {
        val_of_object(v, m, w->value.object);
        return true;
    }
    uint8_t form = w->value.repr == REPR_RAW ? VAL_INTSET : VAL_LISTPACK;
    uint8_t *bytes = (uint8_t *)(uintptr_t)w->value.bytes.ptr;
    uint32_t len = flat_len(bytes, form);
    val_of_bytes(v, m, type, form, bytes, len, len);
    return true;
}

/* find: the entry of argv[key], or NULL; false: replied that it is of another type. */
static ON_SHARD bool find(struct ctx *c, uint32_t key, uint8_t type, struct entry **e) {
    *e = ctx_find(c, key);
    if (likely(*e == NULL || entry_type(*e) == type))
        return true;
    reply_error(&c->reply, ERR_WRONG_TYPE);
    return false;
}

bool coll_read(struct ctx *c, uint32_t key, uint8_t type, struct val *v) {
    struct entry *e;
    if (unlikely(!find(c, key, type, &e)))
        return false;
    if (e == NULL)
        val_init(v, keyspace_mem(c->keyspace), type);
    else
        coll_of_entry(e, keyspace_mem(c->keyspace), v);
    return true;
}

bool coll_open(struct ctx *c, uint32_t key, uint8_t type, struct coll *o) {
    if (unlikely(!find(c, key, type, &o->entry)))
        return false;
    o->key = key;
    if (o->entry == NULL)
        val_of_bytes(&o->val, keyspace_mem(c->keyspace), type, VAL_NONE, o->scratch, 0,
                     COLL_SCRATCH);
    else
        coll_of_entry(o->entry, keyspace_mem(c->keyspace), &o->val);
    o->form = o->val.form;
    o->bytes = o->val.bytes;
    o->object =
        o->entry != NULL && entry_repr(o->entry) == REPR_OBJECT ? entry_object(o->entry) : NULL;
    return true;
}

static bool fits_inline(const struct val *v, uint32_t len_max) {
    return (v->form == VAL_LISTPACK || v->form == VAL_INTSET) && v->len <= len_max;
}

/* put: argv[key] holds v, from whichever place. */
static ON_SHARD struct entry *put(struct ctx *c, uint32_t key, const struct val *v, bool is_inline,
                                  int64_t expire_ms) {
    struct table *t = ctx_table(c);
    if (t == NULL)
        return NULL;
    struct value value = {.type = v->type, .access = ctx_access_now(c), .repr = REPR_OBJECT};
    if (is_inline) {
        value.repr = v->form == VAL_INTSET ? REPR_RAW : REPR_INLINE;
        value.bytes = (struct span){(const char *)v->bytes, v->len};
    } else {
        value.object = val_object(v);
    }
    struct entry *e = table_put(t, c->argv[key], ctx_hash(c, key), &value, expire_ms);
    if (likely(e != NULL))
        keyspace_count_gone(c->keyspace, t, c->now_ms);
    return e;
}

/* note_due: without memory for the note the sweep does not come by; the rows are dead for everyone
 * all the same, and the next write tries again. */
static ON_SHARD void note_due(struct ctx *c, uint32_t key, struct entry *e, const struct val *v) {
    const struct object *o = val_object(v);
    if (unlikely(o != NULL && o->due_ms != OBJECT_NEVER) &&
        !table_note_due(ctx_table(c), e, ctx_hash(c, key), o->due_ms))
        return;
}

/* remove_key: what it held is v's by now, or was never more than the entry's own bytes. */
static ON_SHARD void remove_key(struct ctx *c, struct coll *o) {
    char inline_bytes[ENTRY_INLINE_MAX];
    struct value gone;
    int64_t expire_ms;
    if (o->entry != NULL) {
        bool there = table_take(ctx_table(c), c->argv[o->key], ctx_hash(c, o->key), inline_bytes,
                                &gone, &expire_ms);
        ASSERT(there);
    }
    val_destroy(&o->val);
}

/* settle_in_place: v was edited where it lies in the entry. One that fits a smaller size class moves
 * there; without memory for that it stays, and its entry keeps the length that it had. */
static ON_SHARD void settle_in_place(struct ctx *c, struct coll *o) {
    struct val *v = &o->val;
    if (likely(entry_keeps_class(o->entry, v->len))) {
        entry_set_len(o->entry, v->len);
        return;
    }
    uint8_t bytes[ENTRY_INLINE_MAX];
    memcpy(bytes, v->bytes, v->len);
    struct val moved = *v;
    moved.bytes = bytes;
    (void)put(c, o->key, &moved, true, EXPIRE_KEEP);
}

/* settle_object: the entry holds an object, and v is one. */
static ON_SHARD void settle_object(struct ctx *c, struct coll *o) {
    struct val *v = &o->val;
    struct object *now = val_object(v);
    if (now != o->object)
        entry_set_object(o->entry, now);
    if (unlikely(fits_inline(v, INLINE_AGAIN_MAX))) {
        uint8_t bytes[INLINE_AGAIN_MAX];
        memcpy(bytes, v->bytes, v->len);
        struct val moved = *v;
        moved.bytes = bytes;
        if (put(c, o->key, &moved, true, EXPIRE_KEEP) != NULL) /* it has destroyed the block */
            return;
    }
    note_due(c, o->key, o->entry, v);
}

/* settle: false: no memory, and the key holds what it held. */
static ON_SHARD bool settle(struct ctx *c, struct coll *o) {
    struct val *v = &o->val;
    if (v->form == VAL_NONE || val_count(v) == 0) {
        remove_key(c, o);
        return true;
    }
    if (o->object != NULL) {
        settle_object(c, o);
        return true;
    }
    if (val_is_flat(v) && !v->owned && v->form == o->form) {
        settle_in_place(c, o);
        return true;
    }
    bool is_inline = fits_inline(v, ENTRY_INLINE_MAX);
    struct entry *e = put(c, o->key, v, is_inline, o->entry == NULL ? EXPIRE_NEVER : EXPIRE_KEEP);
    if (e != NULL && !is_inline)
        note_due(c, o->key, e, v);
    else
        val_destroy(v);
    return e != NULL;
}

bool coll_store(struct ctx *c, struct coll *o) {
    if (unlikely(!settle(c, o))) {
        ctx_oom(c);
        return false;
    }
    ctx_changed(c, o->key);
    return true;
}

void coll_leave(struct ctx *c, struct coll *o) {
    const struct val *v = &o->val;
    if (o->entry == NULL) {
        val_destroy(&o->val);
        return;
    }
    bool same = v->form == o->form && v->bytes == o->bytes && val_object(v) == o->object;
    if (!same || val_count(v) == 0 || !v->owned)
        (void)settle(c, o);
}

void coll_fail(struct ctx *c, struct coll *o) {
    coll_leave(c, o);
    ctx_oom(c);
}

bool coll_replace(struct ctx *c, uint32_t key, struct val *v) {
    if (v->form == VAL_NONE || val_count(v) == 0) {
        val_destroy(v);
        if (ctx_delete(c, key))
            ctx_changed(c, key);
        return true;
    }
    bool is_inline = fits_inline(v, ENTRY_INLINE_MAX);
    if (unlikely(!ctx_room(c, is_inline ? v->len
                                        : 0))) { /* what it is beside an entry is counted already */
        val_destroy(v);
        return false;
    }
    struct entry *e = put(c, key, v, is_inline, EXPIRE_NEVER);
    if (e != NULL && !is_inline)
        note_due(c, key, e, v);
    else
        val_destroy(v);
    if (e == NULL) {
        ctx_oom(c);
        return false;
    }
    ctx_changed(c, key);
    return true;
}

/* --- what the keyspace asks of these types --- */

static bool destroy_some(struct mem *m, struct object *o, unsigned *budget) {
    return val_ops_of(o->form)->destroy_some(m, o, budget);
}

static void destroy(struct mem *m, void *object) {
    for (unsigned budget = UINT32_MAX; !destroy_some(m, object, &budget); budget = UINT32_MAX) {
    }
}

static size_t count_bytes(const void *object) {
    return ((const struct object *)object)->bytes;
}

static unsigned expire_some(struct mem *m, struct object *o, int64_t now_ms, unsigned *budget) {
    const struct val_ops *ops = val_ops_of(o->form);
    return ops->expire_some == NULL ? 0 : ops->expire_some(m, o, now_ms, budget);
}

static void *defrag_some(struct mover *v, void *object, uint64_t *cursor) {
    struct object *o = object;
    return val_ops_of(o->form)->defrag_some(v, o, cursor);
}

void coll_register(void) {
    static const struct value_ops ops = {.destroy = destroy,
                                         .bytes = count_bytes,
                                         .destroy_some = destroy_some,
                                         .expire_some = expire_some,
                                         .defrag_some = defrag_some};
    keyspace_register_type(VALUE_LIST, &ops);
    keyspace_register_type(VALUE_SET, &ops);
    keyspace_register_type(VALUE_ZSET, &ops);
    keyspace_register_type(VALUE_HASH, &ops);
    keyspace_register_type(VALUE_STREAM, &ops);
}
