#include "chain_impl.h"
#include "resize_impl.h"

struct table *table_create(struct mem *m) {
    struct table *t = mem_zalloc(m, sizeof *t);
    if (t == NULL)
        return NULL;
    t->mem = t->overflows.mem = m;
    t->merged_due = TICK_NEVER;
    return t;
}

void table_release(struct table *t) {
    ASSERT(t->count == 0);
    resize_end(t);
    mem_free(t->mem, t, sizeof *t);
}

uint64_t table_count(const struct table *t) {
    return t->count;
}

uint64_t table_expires(const struct table *t) {
    return t->expires;
}

void table_prefetch(const struct table *t, uint64_t hash) {
    if (likely(t->bucket_count != 0))
        prefetch(table_bucket(t, table_index(t, hash)));
}

void table_prefetch_entry(const struct table *t, uint64_t hash) {
    if (unlikely(t->bucket_count == 0))
        return;
    uint8_t print = bucket_print(hash);
    const struct bucket *b = table_bucket(t, table_index(t, hash));
    unsigned match = bucket_match(b, print);
    if (match == 0) {
        if ((b = bucket_next(b)) == NULL)
            return;
        /* This waits for the next bucket to come, but the processor goes on to other keys. */
        match = bucket_match(b, print) | 1U << BUCKET_LINK;
    }
    const char *entry = bucket_address(b, (unsigned)__builtin_ctz(match));
    prefetch(entry);
    prefetch(entry + CACHE_LINE);
}

static bool find(const struct table *t, struct span key, uint64_t hash, struct place *at) {
    if (unlikely(t->bucket_count == 0))
        return false;
    uint8_t print = bucket_print(hash);
    struct bucket *b = table_bucket(t, table_index(t, hash));
    do {
        for (unsigned match = bucket_match(b, print); match != 0; match &= match - 1) {
            unsigned i = (unsigned)__builtin_ctz(match);
            if (likely(entry_key_eq(bucket_address(b, i), key))) {
                *at = (struct place){b, i};
                return true;
            }
        }
        b = bucket_next(b);
    } while (unlikely(b != NULL));
    return false;
}

struct entry *table_find(const struct table *t, struct span key, uint64_t hash) {
    struct place at;
    return find(t, key, hash, &at) ? bucket_address(at.bucket, at.i) : NULL;
}

const uint64_t *table_lengths(const struct table *t) {
    return t->lengths;
}

int64_t table_ttl_sum_ms(const struct table *t, int64_t now_ms) {
    __int128 sum = t->expire_ms_sum - (__int128)t->expires * now_ms;
    return sum > INT64_MAX ? INT64_MAX : sum < INT64_MIN ? INT64_MIN : (int64_t)sum;
}

static void count_expiry(struct table *t, int64_t before_ms, int64_t after_ms) {
    t->expires += (uint64_t)(after_ms != EXPIRE_NEVER) - (uint64_t)(before_ms != EXPIRE_NEVER);
    t->expire_ms_sum += after_ms - before_ms;
}

/* count_rewrite: mostly nothing changes, and then nothing is written. */
static void count_rewrite(struct table *t, unsigned bin_before, unsigned bin_after,
                          int64_t expiry_before_ms, int64_t expiry_after_ms) {
    if (unlikely(bin_before != bin_after)) {
        t->lengths[bin_before]--;
        t->lengths[bin_after]++;
    }
    if (unlikely(expiry_before_ms != expiry_after_ms))
        count_expiry(t, expiry_before_ms, expiry_after_ms);
}

void table_set_int(struct table *t, struct entry *e, int64_t v) {
    t->lengths[int_bin(entry_int(e))]--;
    t->lengths[int_bin(v)]++;
    entry_set_int(e, v);
}

void table_length_changed(struct table *t, const struct entry *e, size_t before) {
    t->lengths[length_bin(before)]--;
    t->lengths[entry_bin(e)]++;
}

/* entry_alloc: asks for the whole size class, since an overwrite may use all of it later. */
static void *entry_alloc(struct table *t, size_t size) {
    return mem_alloc(t->mem, mem_size(size));
}

/* rewrite: gives the entry at a place another value and expiry, in its own memory when the size
 * class stays, so the common overwrite allocates nothing. The old object is the caller's to settle.
 */
static ON_SHARD struct entry *rewrite(struct table *t, struct place at, uint64_t hash,
                                      const struct value *v, int64_t expire_ms) {
    struct entry *old = bucket_address(at.bucket, at.i), *e = old;
    int64_t expiry_before = entry_expire_ms(old);
    bool expired_before = expiry_before != EXPIRE_NEVER, expires = expire_ms != EXPIRE_NEVER;
    unsigned bin_before = entry_bin(old);
    struct span key = {(const char *)old + entry_key_at(old), entry_key_len(old)};
    size_t old_size = entry_size(old), size = entry_size_for(key.len, expires, v);
    if (size != old_size && mem_size(size) != mem_size(old_size) &&
        (e = entry_alloc(t, size)) == NULL)
        return NULL;
    if (expires && !resize_stamp(t, table_index(t, hash), tick_of(expire_ms))) {
        if (e != old)
            mem_free(t->mem, e, size);
        return NULL;
    }
    count_rewrite(t, bin_before, value_bin(v), expiry_before, expire_ms);
    if (likely(e == old && expires == expired_before)) {
        entry_overwrite(e, v, expire_ms);
        return e;
    }
    entry_write(e, key, v, expire_ms);
    if (e != old) {
        bucket_set(at.bucket, at.i, e, bucket_print_at(at.bucket, at.i));
        mem_free(t->mem, old, old_size);
    }
    return e;
}

/* end_if_empty: a table without entries has no buckets, unless some are wanted soon. */
static bool end_if_empty(struct table *t) {
    if (t->count != 0 || t->prepared != 0)
        return false;
    resize_end(t);
    return true;
}

/* count_new: an entry has been put into a chain. */
static ON_SHARD void count_new(struct table *t, unsigned bin, int64_t expire_ms) {
    t->count++;
    t->lengths[bin]++;
    count_expiry(t, EXPIRE_NEVER, expire_ms);
    resize_grow(t);
}

static ON_SHARD struct entry *insert(struct table *t, struct span key, uint64_t hash,
                                     const struct value *v, int64_t expire_ms) {
    bool expires = expire_ms != EXPIRE_NEVER;
    if (!resize_begin(t))
        return NULL;
    uint32_t i = table_index(t, hash);
    size_t size = entry_size_for(key.len, expires, v);
    bool stamps_before = resize_has_stamps(t, i);
    struct entry *e = entry_alloc(t, size);
    if (e == NULL || (expires && !resize_stamp(t, i, tick_of(expire_ms))))
        goto fail;
    entry_write(e, key, v, expire_ms);
    if (!chain_insert(table_bucket(t, i), e, bucket_print(hash), NULL, &t->overflows))
        goto fail;
    count_new(t, value_bin(v), expire_ms);
    return e;
fail:
    mem_free(t->mem, e, size);
    if (!stamps_before)
        resize_drop_stamps(t, i);
    end_if_empty(t);
    return NULL;
}

/* stored_expiry: as an entry can hold it. */
static int64_t stored_expiry(int64_t expire_ms) {
    ASSERT(expire_ms >= 0);
    return expire_ms < EXPIRE_MS_MAX ? expire_ms : EXPIRE_MS_MAX;
}

struct entry *table_put(struct table *t, struct span key, uint64_t hash, const struct value *v,
                        int64_t expire_ms) {
    struct place at;
    bool there = find(t, key, hash, &at);
    struct entry *old = there ? bucket_address(at.bucket, at.i) : NULL;
    if (expire_ms == EXPIRE_KEEP)
        expire_ms = there ? entry_expire_ms(old) : EXPIRE_NEVER;
    else
        expire_ms = stored_expiry(expire_ms);
    if (!there)
        return insert(t, key, hash, v, expire_ms);
    if (likely(entry_repr(old) != REPR_OBJECT))
        return rewrite(t, at, hash, v, expire_ms);
    struct value before = entry_value(old);
    struct entry *e = rewrite(t, at, hash, v, expire_ms);
    bool same_object = v->repr == REPR_OBJECT && v->object == before.object;
    if (e != NULL && !same_object)
        value_destroy(t->mem, &before);
    return e;
}

/* --- writes in two steps --- */

/* What is prepared lies in the overflow bucket that its commit may need. */
struct prepared {
    struct table *table;
    struct entry *entry;
    struct entry *expiring; /* EXPIRE_KEEP: to be used instead when there is an expiry to keep */
    uint64_t hash;
};
static_assert(sizeof(struct prepared) <= sizeof(struct bucket), "it lies in a bucket");

static void free_entry(struct table *t, struct entry *e) {
    if (e != NULL)
        mem_free(t->mem, e, entry_size(e));
}

static struct entry *make_entry(struct table *t, struct span key, const struct value *v,
                                int64_t expire_ms) {
    struct entry *e = entry_alloc(t, entry_size_for(key.len, expire_ms != EXPIRE_NEVER, v));
    if (e != NULL)
        entry_write(e, key, v, expire_ms);
    return e;
}

struct prepared *table_prepare(struct table *t, struct span key, uint64_t hash,
                               const struct value *v, int64_t expire_ms) {
    bool keep = expire_ms == EXPIRE_KEEP;
    expire_ms = keep ? EXPIRE_NEVER : stored_expiry(expire_ms);
    struct bucket *room = overflow_create(&t->overflows);
    struct entry *e = make_entry(t, key, v, expire_ms);
    struct entry *expiring = keep ? make_entry(t, key, v, EXPIRE_MS_MAX) : NULL;
    if (room == NULL || e == NULL || (keep && expiring == NULL) || !resize_begin(t))
        goto fail;
    if (expire_ms != EXPIRE_NEVER && !resize_stamp(t, table_index(t, hash), tick_of(expire_ms)))
        goto fail;
    t->prepared++;
    struct prepared *p = (struct prepared *)room;
    *p = (struct prepared){t, e, expiring, hash};
    return p;
fail:
    overflow_free(&t->overflows, room);
    free_entry(t, e);
    free_entry(t, expiring);
    end_if_empty(t);
    return NULL;
}

/* take_prepared: what was prepared, and through *pool the bucket that it lay in. */
static struct prepared take_prepared(struct prepared *p, struct bucket **pool) {
    struct prepared taken = *p;
    chain_pool_put(pool, (struct bucket *)p);
    ASSERT(taken.table->prepared != 0);
    taken.table->prepared--;
    return taken;
}

/* replace: e takes the place of another entry with its key. */
static ON_SHARD void replace(struct table *t, struct place at, struct entry *e, int64_t expire_ms) {
    struct entry *old = bucket_address(at.bucket, at.i);
    count_rewrite(t, entry_bin(old), entry_bin(e), entry_expire_ms(old), expire_ms);
    bucket_set(at.bucket, at.i, e, bucket_print_at(at.bucket, at.i));
    entry_drop_object(t->mem, old);
    free_entry(t, old);
}

struct entry *table_commit(struct prepared *prepared, int64_t now_ms) {
    struct bucket *pool = NULL;
    struct prepared p = take_prepared(prepared, &pool);
    struct table *t = p.table;
    struct place at;
    bool there = find(t, entry_key(p.entry), p.hash, &at);
    if (p.expiring != NULL && there) {
        const struct entry *old = bucket_address(at.bucket, at.i);
        if (entry_has_expiry(old) && !entry_dead(old, now_ms)) {
            struct entry *unused = p.entry;
            p.entry = p.expiring;
            p.expiring = unused;
            entry_set_expiry(p.entry, entry_expiry(old));
        }
    }
    free_entry(t, p.expiring);
    int64_t expire_ms = entry_expire_ms(p.entry);
    uint32_t i = table_index(t, p.hash);
    bool stamped = expire_ms == EXPIRE_NEVER || resize_stamp(t, i, tick_of(expire_ms));
    ASSERT(stamped); /* table_impl.h says why */
    if (there) {
        replace(t, at, p.entry, expire_ms);
    } else {
        bool fits =
            chain_insert(table_bucket(t, i), p.entry, bucket_print(p.hash), &pool, &t->overflows);
        ASSERT(fits);
        count_new(t, entry_bin(p.entry), expire_ms);
    }
    chain_pool_free(pool, &t->overflows);
    return p.entry;
}

void table_abandon(struct prepared *prepared) {
    struct bucket *pool = NULL;
    struct prepared p = take_prepared(prepared, &pool);
    struct table *t = p.table;
    chain_pool_free(pool, &t->overflows);
    bool stamped = entry_has_expiry(p.entry);
    entry_drop_object(t->mem, p.entry);
    free_entry(t, p.entry);
    free_entry(t, p.expiring);
    if (!end_if_empty(t) && stamped && t->expires == 0 && t->prepared == 0)
        resize_drop_all_stamps(t);
}

struct entry *table_set_expire(struct table *t, struct entry *e, uint64_t hash, int64_t expire_ms) {
    struct place at;
    bool found = find(t, entry_key(e), hash, &at);
    ASSERT(found);
    ASSERT(bucket_address(at.bucket, at.i) == e);
    char scratch[ENTRY_INLINE_MAX];
    struct value v = entry_value(e);
    if (repr_is_bytes(v.repr)) {
        memcpy(scratch, v.bytes.ptr, v.bytes.len);
        v.bytes.ptr = scratch;
    }
    return rewrite(t, at, hash, &v, stored_expiry(expire_ms));
}

/* unlink_entry: takes an entry out and frees its bytes, not its object. */
static ON_SHARD void unlink_entry(struct table *t, uint32_t index, struct place at) {
    struct entry *e = bucket_address(at.bucket, at.i);
    count_expiry(t, entry_expire_ms(e), EXPIRE_NEVER);
    mem_free(t->mem, e, entry_size(e));
    chain_remove(table_bucket(t, index), at, &t->overflows);
    t->count--;
    if (!end_if_empty(t))
        resize_shrink(t);
}

bool table_delete(struct table *t, struct span key, uint64_t hash) {
    struct place at;
    if (!find(t, key, hash, &at))
        return false;
    t->lengths[entry_bin(bucket_address(at.bucket, at.i))]--;
    entry_drop_object(t->mem, bucket_address(at.bucket, at.i));
    unlink_entry(t, table_index(t, hash), at);
    return true;
}

bool table_take(struct table *t, struct span key, uint64_t hash, char *scratch, struct value *out,
                int64_t *expire_ms) {
    struct place at;
    if (!find(t, key, hash, &at))
        return false;
    struct entry *e = bucket_address(at.bucket, at.i);
    *out = entry_value(e);
    t->lengths[value_bin(out)]--;
    *expire_ms = entry_expire_ms(e);
    if (repr_is_bytes(out->repr)) {
        memcpy(scratch, out->bytes.ptr, out->bytes.len);
        out->bytes.ptr = scratch;
    }
    unlink_entry(t, table_index(t, hash), at);
    return true;
}

/* sift: deletes the entries of one chain that have to go, all of them without a reaper; returns how many.
 * The chain is built again of what is left, which as in a split takes no memory. */
static ON_SHARD unsigned sift(struct table *t, struct bucket *head, const struct reaper *r) {
    struct bucket *pool = NULL;
    unsigned deleted = 0;
    for (struct bucket *b = head; b != NULL;) {
        struct bucket copy = *b;
        if (b == head)
            memset(head, 0, sizeof *head);
        else
            chain_pool_put(&pool, b);
        b = bucket_next(&copy);
        for (unsigned used = bucket_used(&copy); used != 0; used &= used - 1) {
            unsigned i = (unsigned)__builtin_ctz(used);
            struct entry *e = bucket_address(&copy, i);
            if (r != NULL && !reaper_takes(r, e)) {
                bool fits = chain_insert(head, e, bucket_print_at(&copy, i), &pool, &t->overflows);
                ASSERT(fits);
                continue;
            }
            t->lengths[entry_bin(e)]--;
            entry_drop_object(t->mem, e);
            count_expiry(t, entry_expire_ms(e), EXPIRE_NEVER);
            mem_free(t->mem, e, entry_size(e));
            deleted++;
        }
    }
    chain_pool_free(pool, &t->overflows);
    t->count -= deleted;
    return deleted;
}

/* chain_dead: how many have to go; *next becomes the earliest expiry of the others if it is earlier: a
 * pinned key that is dead makes every sweep come back. */
static unsigned chain_dead(const struct bucket *b, const struct reaper *r, unsigned *looked,
                           uint32_t *next) {
    unsigned dead = 0;
    for (; b != NULL; b = bucket_next(b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
            const struct entry *e = bucket_address(b, (unsigned)__builtin_ctz(used));
            *looked += 1;
            if (!entry_has_expiry(e))
                continue;
            uint32_t tick = tick_of(entry_expiry(e));
            if (reaper_takes(r, e))
                dead++;
            else if (tick < *next)
                *next = tick;
        }
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

unsigned table_expire_group(struct table *t, uint32_t segment, uint32_t group,
                            const struct reaper *r, uint64_t *expired) {
    unsigned looked = 0;
    uint32_t first = segment * TABLE_SEGMENT + group * TABLE_GROUP;
    uint32_t next = t->prepared == 0 ? TICK_NEVER : TICK_NEVER - 1;
    for (uint32_t i = first; i < group_end(t, first); i++) {
        struct bucket *head = table_bucket(t, i);
        if (chain_dead(head, r, &looked, &next) != 0)
            *expired += sift(t, head, r);
    }
    t->due[segment][group] = next;
    return looked;
}

void table_settle(struct table *t, uint64_t deleted) {
    if (end_if_empty(t))
        return;
    for (uint64_t i = 0; i < deleted; i++)
        resize_shrink(t);
}

struct table *table_move_out(struct table *t) {
    struct table fresh = {.mem = t->mem,
                          .overflows = {t->mem, t->prepared}, /* each lies in one */
                          .merged_due = TICK_NEVER,
                          .prepared = t->prepared,
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
    uint32_t buckets = t->bucket_count;
    for (uint32_t i = 0; i < buckets; i++)
        (void)sift(t, table_bucket(t, i), NULL);
    table_settle(t, buckets);
}

bool table_drain(struct table *t, unsigned entries) {
    unsigned done = 0;
    while (t->count != 0 && done < entries) {
        struct bucket *head = table_bucket(t, t->bucket_count - 1);
        chain_prefetch(head);
        /* An empty bucket costs as much as an entry. */
        done += 1 + sift(t, head, NULL);
        if (t->count != 0)
            resize_drop_last(t);
    }
    return t->count != 0;
}
