/* reap.c: what goes without being asked for by name: what is dead, and the contents of tables that are emptied. */
#include "fifo_impl.h"
#include "resize_impl.h"

static bool pinned(const struct reaper *r, const struct entry *e) {
    return r->pinned != NULL && r->pinned(r->arg, hash_of(entry_key(e)));
}

/* emptied: nothing was left in its object, which has gone already. */
static bool emptied(const struct entry *e) {
    return entry_repr(e) == REPR_OBJECT && entry_object(e) == NULL;
}

/* takes: of an entry whose chain is taken apart, so that nobody else finds it. */
static bool takes(const struct table *t, const struct reaper *r, const struct bucket *copy,
                  unsigned i) {
    const struct entry *e = bucket_address(copy, i);
    return r->all || emptied(e) ||
           (entry_dead(e, r->now_ms) && !table_holds(t, copy, i) && !pinned(r, e));
}

/* sift: deletes the entries of one chain that have to go. The chain is built again of what is left, which as in
 * a split takes no memory. */
static ON_SHARD void sift(struct table *t, struct bucket *head, struct reaper *r) {
    struct bucket *pool = NULL, copy;
    uint64_t deleted = 0;
    for (struct bucket *b = head; b != NULL;) {
        b = chain_take(head, b, &copy, &pool);
        for (unsigned used = bucket_used(&copy); used != 0; used &= used - 1) {
            unsigned i = (unsigned)__builtin_ctz(used);
            struct entry *e = bucket_address(&copy, i);
            if (!takes(t, r, &copy, i)) {
                bool fits = chain_insert(head, bucket_item(&copy, i), bucket_print_at(&copy, i),
                                         &pool, &t->overflows);
                ASSERT(fits);
                continue;
            }
            table_before(t, &copy, i);
            t->lengths[entry_bin(e)]--;
            fifo_leave(t, e);
            reaper_spend(r, 1 + table_drop_object(t, e));
            table_count_expiry(t, entry_expire_ms(e), EXPIRE_NEVER);
            mem_free(t->mem, e, entry_size(e));
            deleted++;
        }
    }
    chain_pool_free(pool, &t->overflows);
    t->count -= deleted;
    r->deleted += deleted;
}

/* expire_inside: takes out of an entry's object what is dead; true when nothing is left and the object is gone. */
static ON_SHARD bool expire_inside(struct table *t, struct entry *e, struct reaper *r) {
    struct object *o = entry_object(e);
    unsigned before = r->budget;
    if (before != 0)
        r->expired_inner += value_ops_of(o->type)->expire_some(t->mem, o, r->now_ms, &r->budget);
    ASSERT(r->budget <= before);
    if (o->count == 0) {
        (void)table_drop_object(t, e);
        entry_set_object(e, NULL);
        return true;
    }
    r->cut |= r->budget == 0 && r->now_ms > o->due_ms;
    return false;
}

/* inner_tick: the tick of what expires next inside an entry's object, without what is due, which goes. One that is
 * pinned is not looked at: it may belong to another shard by now, where RENAME has stored it, while the entry
 * here has yet to go. The stamp of its group stays as it is then. */
static ON_SHARD uint32_t inner_tick(struct table *t, struct place at, struct reaper *r,
                                    uint32_t stamp) {
    struct entry *e = bucket_address(at.bucket, at.i);
    if (likely(!entry_may_have_times(e)))
        return TICK_NEVER;
    if (pinned(r, e))
        return stamp;
    if (r->now_ms > entry_inner_ms(e)) {
        table_before(t, at.bucket, at.i);
        if (expire_inside(t, e, r))
            return TICK_NEVER;
    }
    int64_t inner_ms = entry_inner_ms(e);
    return inner_ms == OBJECT_NEVER ? TICK_NEVER : tick_of(inner_ms);
}

/* goes: whether this entry has to; if not, *next becomes its time if that is earlier: a pinned key that is dead makes
 * every sweep come back. */
static ON_SHARD bool goes(struct table *t, struct place at, struct reaper *r, uint32_t stamp,
                          uint32_t *next) {
    const struct entry *e = bucket_address(at.bucket, at.i);
    uint32_t tick = TICK_NEVER;
    if (entry_dead(e, r->now_ms) && !pinned(r, e)) {
        r->expired++;
        return true;
    }
    if (entry_has_expiry(e))
        tick = tick_of(entry_expiry(e));
    uint32_t inner = inner_tick(t, at, r, stamp);
    if (emptied(e))
        return true;
    tick = inner < tick ? inner : tick;
    if (tick < *next)
        *next = tick;
    return false;
}

/* chain_dead: how many have to go. */
static ON_SHARD unsigned chain_dead(struct table *t, struct bucket *b, struct reaper *r,
                                    uint32_t stamp, uint32_t *next, unsigned *looked) {
    unsigned dead = 0;
    for (; b != NULL; b = bucket_next(b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1, ++*looked)
            dead += goes(t, (struct place){b, (unsigned)__builtin_ctz(used)}, r, stamp, next);
    return dead;
}

/* group_end: the bucket after the last of a group. */
static uint32_t group_end(const struct table *t, uint32_t first) {
    return first + TABLE_GROUP < t->bucket_count ? first + TABLE_GROUP : t->bucket_count;
}

void table_prefetch_groups(const struct table *t, uint32_t segment, const uint32_t *groups,
                           unsigned n) {
    for (unsigned g = 0; g < n; g++) {
        uint32_t first = segment * TABLE_SEGMENT + groups[g] * TABLE_GROUP;
        for (uint32_t i = first; i < group_end(t, first); i++)
            prefetch(table_bucket(t, i));
    }
    for (unsigned g = 0; g < n; g++) {
        uint32_t first = segment * TABLE_SEGMENT + groups[g] * TABLE_GROUP;
        for (uint32_t i = first; i < group_end(t, first); i++)
            chain_prefetch(table_bucket(t, i));
    }
}

void table_expire_group(struct table *t, uint32_t segment, uint32_t group, struct reaper *r) {
    uint32_t first = segment * TABLE_SEGMENT + group * TABLE_GROUP;
    uint32_t stamp = t->due[segment].groups[group];
    uint32_t next = t->prepared == 0 ? TICK_NEVER : TICK_NEVER - 1;
    unsigned looked = 0;
    r->cut = false;
    for (uint32_t i = first; i < group_end(t, first); i++) {
        struct bucket *head = table_bucket(t, i);
        if (chain_dead(t, head, r, stamp, &next, &looked) != 0)
            sift(t, head, r);
    }
    reaper_spend(r, looked); /* at last, so that each slice gets on */
    table_set_stamp(t, segment * TABLE_GROUPS + group, next);
    if (!r->cut && next < t->sweep_due)
        t->sweep_due = next;
}

void table_settle(struct table *t, uint64_t deleted) {
    if (table_end_if_empty(t))
        return;
    for (uint64_t i = 0; i < deleted; i++)
        resize_shrink(t);
}

struct table *table_move_out(struct table *t) {
    struct table fresh = {.mem = t->mem,
                          .morgue = t->morgue,
                          .evict = t->evict,
                          .overflows = {t->mem, t->prepared}, /* each lies in one */
                          .merged_due = TICK_NEVER,
                          .due_first = TICK_NEVER,
                          .sweep_due = TICK_NEVER,
                          .prepared = t->prepared,
                          .told_mark = t->told_mark,
                          .growth_ns = t->growth_ns};
    struct table *out = mem_alloc(t->mem, sizeof *out);
    bool ready = out != NULL && resize_begin(&fresh);
    for (uint32_t i = 0; ready && i < TABLE_FIRST; i += TABLE_GROUP)
        ready = resize_stamp(&fresh, i, TICK_NEVER - 1);
    if (!ready) {
        resize_end(&fresh);
        mem_free(t->mem, out, sizeof *out);
        return NULL;
    }
    *out = *t;
    out->prepared = 0;
    out->overflows.count -= t->prepared;
    *t = fresh;
    return out;
}

void table_clear(struct table *t) {
    struct reaper r = {.all = true};
    uint32_t buckets = t->bucket_count;
    for (uint32_t i = 0; i < buckets; i++)
        sift(t, table_bucket(t, i), &r);
    table_settle(t, buckets);
}

bool table_drain(struct table *t, unsigned *budget) {
    struct reaper r = {.all = true, .budget = *budget};
    while (t->count != 0 && r.budget != 0) {
        struct bucket *head = table_bucket(t, t->bucket_count - 1);
        chain_prefetch(head);
        reaper_spend(&r, 1); /* an empty bucket costs as much as an entry */
        sift(t, head, &r);
        if (t->count != 0)
            resize_drop_last(t);
    }
    *budget = r.budget;
    return t->count != 0;
}
