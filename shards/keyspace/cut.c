/* cut.c: see shards/cut.h. */
#include "cut_impl.h"
#include "shards/clock.h"

enum { WALK_AHEAD = 8 }; /* buckets that are fetched together */

static bool is_heavy(const struct entry *e) {
    if (likely(entry_repr(e) != REPR_OBJECT))
        return false;
    if (entry_type(e) == VALUE_STRING)
        return ((const struct blob *)entry_object(e))->len > CUT_HEAVY_BYTES;
    const struct object *o = entry_object(e);
    const struct value_ops *ops = value_ops_of(entry_type(e));
    if (ops->destroy_some == NULL) /* it does not begin with a struct object */
        return ops->bytes(o) > CUT_HEAVY_BYTES;
    return o->bytes > CUT_HEAVY_BYTES || o->count > CUT_HEAVY_ELEMENTS;
}

bool cut_holds(const struct table *t, const struct bucket *b, unsigned i) {
    return !t->cut->muted && is_heavy(bucket_address(b, i));
}

void cut_tell(struct table *t, struct bucket *b, unsigned i) {
    struct cut *c = t->cut;
    const struct entry *e = bucket_address(b, i);
    if (unlikely(cut_holds(t, b, i)))
        c->lost = true; /* it goes before it could be told */
    else if (!c->muted)
        c->tell(c->arg, t->cut_db, e);
    bucket_turn_mark(b, i);
}

static ON_SHARD void table_close(struct table *t) {
    struct cut *c = t->cut;
    if (c->heavy_table == t)
        c->heavy_table = NULL; /* it went with the table, without memory to keep it */
    c->open--;
    t->cut = NULL;
}

void cut_leave(struct table *t) {
    if (t->cut != NULL)
        table_close(t);
}

uint64_t cut_begin(struct cut *c, struct table **tables, unsigned databases, cut_tell_fn *tell,
                   void *arg) {
    uint64_t total = 0;
    ASSERT(c->open == 0);
    *c = (struct cut){.tell = tell, .arg = arg};
    for (unsigned db = 0; db < databases; db++) {
        struct table *t = tables[db];
        if (t == NULL || t->count == 0)
            continue;
        t->told_mark ^= 1;
        t->cut = c;
        t->cut_db = db;
        t->cut_cursor = 0;
        c->open++;
        total += t->count;
    }
    return total;
}

/* find_untold: an entry under this hash that has not been told; light ones are told on the way when `tell` says so. */
static ON_SHARD bool find_untold(struct table *t, uint64_t hash, bool tell, struct place *at) {
    if (t->bucket_count == 0)
        return false;
    struct bucket *b = table_bucket(t, table_index(t, hash));
    for (; b != NULL; b = bucket_next(b))
        for (unsigned match = bucket_match(b, bucket_print(hash)); match != 0; match &= match - 1) {
            unsigned i = (unsigned)__builtin_ctz(match);
            const struct entry *e = bucket_address(b, i);
            if (table_told(t, b, i) || hash_of(entry_key(e)) != hash)
                continue;
            if (cut_holds(t, b, i)) {
                *at = (struct place){b, i};
                return true;
            }
            if (tell)
                cut_tell(t, b, i);
        }
    return false;
}

bool cut_keeps(struct table *const *tables, unsigned databases, uint64_t hash) {
    struct place at;
    for (unsigned db = 0; db < databases; db++)
        if (tables[db] != NULL && tables[db]->cut != NULL &&
            find_untold(tables[db], hash, false, &at))
            return true;
    return false;
}

static void heavy_next(struct table *t, uint64_t hash) {
    struct cut *c = t->cut;
    if (c->heavy_table != NULL)
        return;
    c->heavy_table = t;
    c->heavy_hash = hash;
}

bool cut_touch(struct table *t, uint64_t hash) {
    struct place at;
    if (!find_untold(t, hash, true, &at))
        return true;
    heavy_next(t, hash);
    return false;
}

static ON_SHARD bool heavy_place(struct cut *c, struct place *at) {
    if (c->heavy_table == NULL)
        return false;
    if (c->heavy_table->cut == c && find_untold(c->heavy_table, c->heavy_hash, false, at))
        return true;
    c->heavy_table = NULL; /* it is muted, or lost */
    return false;
}

const struct entry *cut_heavy(struct cut *c, unsigned *db) {
    struct place at;
    if (!heavy_place(c, &at))
        return NULL;
    *db = c->heavy_table->cut_db;
    return bucket_address(at.bucket, at.i);
}

void cut_heavy_told(struct cut *c) {
    struct place at;
    bool there = heavy_place(c, &at);
    ASSERT(there);
    bucket_turn_mark(at.bucket, at.i);
    c->heavy_table = NULL;
}

/* walk_chain: false: something heavy has to be told before the walk goes on. */
static ON_SHARD bool walk_chain(struct table *t, struct bucket *b) {
    bool through = true;
    for (; b != NULL; b = bucket_next(b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
            unsigned i = (unsigned)__builtin_ctz(used);
            const struct entry *e = bucket_address(b, i);
            if (table_told(t, b, i))
                continue;
            if (unlikely(cut_holds(t, b, i))) {
                heavy_next(t, hash_of(entry_key(e)));
                through = false;
                continue;
            }
            cut_tell(t, b, i);
        }
    return through;
}

/* fetch_ahead: what the next WALK_AHEAD buckets hold, so that their misses overlap. */
static ON_SHARD void fetch_ahead(const struct table *t) {
    uint32_t at[WALK_AHEAD], n = 0;
    uint64_t cursor = t->cut_cursor;
    for (; n < WALK_AHEAD && cursor < BUCKET_SCAN_END; n++) {
        at[n] = table_index(t, bucket_scan_hash(cursor));
        prefetch(table_bucket(t, at[n]));
        cursor = bucket_scan_next(cursor, at[n], t->base, t->bucket_count);
    }
    for (uint32_t i = 0; i < n; i++)
        chain_prefetch(table_bucket(t, at[i]));
}

bool cut_walk(struct table *t, uint64_t until_ns) {
    if (t->bucket_count != 0)
        fetch_ahead(t);
    for (unsigned n = 0; t->cut_cursor < BUCKET_SCAN_END && t->bucket_count != 0; n++) {
        if (n == WALK_AHEAD || (n != 0 && clock_fine_ns() >= until_ns))
            return false;
        uint32_t i = table_index(t, bucket_scan_hash(t->cut_cursor));
        if (!walk_chain(t, table_bucket(t, i)))
            return false;
        t->cut_cursor = bucket_scan_next(t->cut_cursor, i, t->base, t->bucket_count);
    }
    table_close(t);
    return true;
}
