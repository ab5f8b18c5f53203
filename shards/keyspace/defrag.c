/* defrag.c: see shards/defrag.h. */
#include "shards/defrag.h"
#include "table_impl.h"

/* defrag_object: what an entry holds; true when it is through with it. */
static ON_SHARD bool defrag_object(struct defrag *d, struct entry *e) {
    const struct value_ops *ops = value_ops_of(entry_type(e));
    if (ops->defrag_some == NULL)
        return true;
    void *object = entry_object(e), *now = ops->defrag_some(&d->mover, object, &d->inner);
    if (now != object)
        entry_set_object(e, now);
    d->object = d->inner == 0 ? NULL : now;
    return d->inner == 0;
}

/* defrag_place: an entry and what it holds; false: the budget ended before. */
static ON_SHARD bool defrag_place(struct keyspace *k, struct defrag *d, struct place at) {
    struct entry *e = bucket_address(at.bucket, at.i);
    uint64_t moved = d->mover.moved;
    if (unlikely(keyspace_held(k, hash_of(entry_key(e))))) {
        d->keys_stayed++;
        return true;
    }
    if (entry_repr(e) == REPR_OBJECT && !defrag_object(d, e))
        return false;
    struct entry *now =
        move_small(&d->mover, e, mem_size(entry_size(e))); /* all of it may be in use one day */
    if (now != e)
        bucket_set(at.bucket, at.i, (char *)now + bucket_mark(at.bucket, at.i),
                   bucket_print_at(at.bucket, at.i));
    if (d->mover.moved != moved)
        d->keys_moved++;
    else
        d->keys_stayed++;
    return true;
}

/* is_inside: the walk stopped inside of what this entry holds. */
static bool is_inside(const struct defrag *d, const struct entry *e) {
    return entry_repr(e) == REPR_OBJECT && entry_object(e) == d->object;
}

/* defrag_chain: false: the budget ended inside of an object; the next call goes on there, if it still holds it. */
static ON_SHARD bool defrag_chain(struct keyspace *k, struct defrag *d, struct bucket *head) {
    bool skip = d->object != NULL;
    chain_prefetch(head);
    for (struct bucket *b = head; b != NULL; b = move_next(&d->mover, b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
            struct place at = {b, (unsigned)__builtin_ctz(used)};
            if (unlikely(skip) && !is_inside(d, bucket_address(b, at.i)))
                continue;
            skip = false;
            if (!defrag_place(k, d, at))
                return false;
            d->inner = 0;
        }
    d->object = NULL;
    d->inner = 0;
    d->mover.budget -= d->mover.budget > 0; /* an empty one costs something too */
    return true;
}

/* defrag_table: goes on to its end; false: the budget ended before. */
static ON_SHARD bool defrag_table(struct keyspace *k, struct defrag *d, struct table *t) {
    while (d->cursor < TABLE_SCAN_END && t->bucket_count != 0) {
        if (d->mover.budget == 0)
            return false;
        uint32_t i = table_index(t, bucket_scan_hash(d->cursor));
        if (!defrag_chain(k, d, table_bucket(t, i)))
            return false;
        d->cursor = bucket_scan_next(d->cursor, i, t->base, t->bucket_count);
    }
    return true;
}

bool defrag_some(struct keyspace *k, struct defrag *d, unsigned budget) {
    d->mover.mem = keyspace_mem(k);
    d->mover.budget = budget;
    for (; d->db < keyspace_databases(k); d->db++) {
        struct table *t = keyspace_peek_table(k, d->db);
        if (t != NULL && !defrag_table(k, d, t))
            return true;
        d->cursor = 0;
    }
    d->db = 0;
    return false;
}
