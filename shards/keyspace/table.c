#include "evict_impl.h"
#include "resize_impl.h"

struct table *table_create(struct morgue *g, struct evict *v) {
    struct table *t = mem_zalloc(g->mem, sizeof *t);
    if (t == NULL)
        return NULL;
    t->mem = t->overflows.mem = g->mem;
    t->morgue = g;
    t->evict = v;
    t->merged_due = t->due_first = t->sweep_due = TICK_NEVER;
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

/* count_rewrite: mostly nothing changes, and then nothing is written. */
static void count_rewrite(struct table *t, unsigned bin_before, unsigned bin_after,
                          int64_t expiry_before_ms, int64_t expiry_after_ms) {
    if (unlikely(bin_before != bin_after)) {
        t->lengths[bin_before]--;
        t->lengths[bin_after]++;
    }
    if (unlikely(expiry_before_ms != expiry_after_ms))
        table_count_expiry(t, expiry_before_ms, expiry_after_ms);
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

/* stamp: what is stored in bucket i with this expiry is going to be swept in time. */
static bool stamp(struct table *t, uint32_t i, const struct value *v, int64_t expire_ms) {
    int64_t inner_ms = value_inner_ms(v), due_ms = inner_ms;
    if (expire_ms != EXPIRE_NEVER && expire_ms < due_ms)
        due_ms = expire_ms;
    if (likely(due_ms == OBJECT_NEVER))
        return true;
    t->inner |= inner_ms != OBJECT_NEVER;
    return resize_stamp(t, i, tick_of(due_ms));
}

unsigned table_drop_object(struct table *t, const struct entry *e) {
    if (entry_repr(e) != REPR_OBJECT)
        return 0;
    void *object = entry_object(e);
    return object == NULL ? 0 : morgue_bring(t->morgue, entry_type(e), object);
}

/* stays_now: an entry loses its expiry, and with it its place where only those that have one may go. */
static ON_SHARD void stays_now(struct table *t, const struct entry *e) {
    if (t->fifo != NULL && t->fifo->only_volatile)
        fifo_leave(t, e);
}

/* join: a new entry gets the access bits, and the place, that the policy has for it. */
static ON_SHARD void join(struct table *t, struct entry *e, uint64_t hash, uint32_t wanted) {
    const struct access *a = &t->evict->access;
    if (unlikely(wanted > ACCESS_MASK))
        entry_set_access(e, access_new(a, wanted));
    if (unlikely(a->kind == ACCESS_PLACED))
        fifo_join(t, e, hash);
}

/* carry: e, which was rewritten, bears what the policy makes of what it bore before. */
static ON_SHARD void carry(struct table *t, struct entry *e, uint64_t hash, uint32_t wanted,
                           uint32_t before, bool expired_before) {
    struct access *a = &t->evict->access;
    bool may_go = evict_may_go(t->evict, entry_has_expiry(e));
    if (a->kind == ACCESS_PLACED && may_go && !evict_may_go(t->evict, expired_before)) {
        join(t, e, hash, wanted);
    } else if (a->kind == ACCESS_PLACED || (a->kind == ACCESS_COUNTED && wanted == ACCESS_AUTO)) {
        entry_set_access(e, before);
        if (wanted != before)
            access_count(a, e);
    } else {
        entry_set_access(e, access_new(a, wanted));
    }
}

/* rewrite: gives the entry at a place another value and expiry, in its own memory when the size
 * class stays, so the common overwrite allocates nothing. The old object is the caller's to settle.
 */
static ON_SHARD struct entry *rewrite(struct table *t, struct place at, uint64_t hash,
                                      const struct value *v, int64_t expire_ms) {
    struct entry *old = bucket_address(at.bucket, at.i), *e = old;
    table_before(t, at.bucket, at.i);
    int64_t expiry_before = entry_expire_ms(old);
    bool expired_before = expiry_before != EXPIRE_NEVER, expires = expire_ms != EXPIRE_NEVER;
    unsigned bin_before = entry_bin(old);
    uint32_t access_before = entry_access(old);
    struct span key = {(const char *)old + entry_key_at(old), entry_key_len(old)};
    size_t old_size = entry_size(old), size = entry_size_for(key.len, expires, v);
    if (size != old_size && mem_size(size) != mem_size(old_size) &&
        (e = entry_alloc(t, size)) == NULL)
        return NULL;
    if (unlikely(!stamp(t, table_index(t, hash), v, expire_ms))) {
        if (e != old)
            mem_free(t->mem, e, size);
        return NULL;
    }
    count_rewrite(t, bin_before, value_bin(v), expiry_before, expire_ms);
    if (unlikely(expired_before && !expires))
        stays_now(t, old);
    if (likely(e == old && expires == expired_before)) {
        entry_overwrite(e, v, expire_ms);
    } else {
        entry_write(e, key, v, expire_ms);
        if (e != old) {
            bucket_set(at.bucket, at.i, table_item(t, e), bucket_print_at(at.bucket, at.i));
            mem_free(t->mem, old, old_size);
        }
    }
    if (unlikely(v->access > ACCESS_MASK || t->evict->access.kind == ACCESS_PLACED))
        carry(t, e, hash, v->access, access_before, expired_before);
    return e;
}

bool table_end_if_empty(struct table *t) {
    if (t->count != 0 || t->prepared != 0)
        return false;
    resize_end(t);
    t->inner = false;
    return true;
}

/* count_new: an entry has been put into a chain. */
static ON_SHARD void count_new(struct table *t, unsigned bin, int64_t expire_ms) {
    t->count++;
    t->lengths[bin]++;
    table_count_expiry(t, EXPIRE_NEVER, expire_ms);
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
    if (e == NULL || !stamp(t, i, v, expire_ms))
        goto fail;
    entry_write(e, key, v, expire_ms);
    if (!chain_insert(table_bucket(t, i), table_item(t, e), bucket_print(hash), NULL,
                      &t->overflows))
        goto fail;
    count_new(t, value_bin(v), expire_ms);
    join(t, e, hash, v->access);
    return e;
fail:
    mem_free(t->mem, e, size);
    if (!stamps_before)
        resize_drop_stamps(t, i);
    table_end_if_empty(t);
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
    t->gone_ms = there ? entry_expire_ms(old) : EXPIRE_NEVER;
    struct value edited;
    if (unlikely(there && expire_ms == EXPIRE_KEEP && t->evict->access.kind >= ACCESS_COUNTED)) {
        edited = *v; /* by somebody who has looked it up, and was counted then */
        edited.access = entry_access(old);
        v = &edited;
    }
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
        (void)morgue_bring(t->morgue, before.type, before.object);
    return e;
}

/* --- writes in two steps --- */

/* What is prepared lies in the overflow bucket that its commit may need. */
struct prepared {
    struct table *table;
    struct entry *entry;
    struct entry *expiring; /* EXPIRE_KEEP: to be used instead when there is an expiry to keep */
    uint64_t hash;
    uint32_t access; /* as wanted */
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
    if (!stamp(t, table_index(t, hash), v, expire_ms))
        goto fail;
    t->prepared++;
    struct prepared *p = (struct prepared *)room;
    *p = (struct prepared){t, e, expiring, hash, v->access};
    return p;
fail:
    overflow_free(&t->overflows, room);
    free_entry(t, e);
    free_entry(t, expiring);
    table_end_if_empty(t);
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

/* replace: p's entry takes the place of another with its key. */
static ON_SHARD void replace(struct table *t, struct place at, const struct prepared *p,
                             int64_t expire_ms) {
    struct entry *old = bucket_address(at.bucket, at.i), *e = p->entry;
    table_before(t, at.bucket, at.i);
    if (entry_has_expiry(old) && expire_ms == EXPIRE_NEVER)
        stays_now(t, old);
    carry(t, e, p->hash, p->access, entry_access(old), entry_has_expiry(old));
    count_rewrite(t, entry_bin(old), entry_bin(e), entry_expire_ms(old), expire_ms);
    bucket_set(at.bucket, at.i, table_item(t, e), bucket_print_at(at.bucket, at.i));
    (void)table_drop_object(t, old);
    free_entry(t, old);
}

struct entry *table_commit(struct prepared *prepared, int64_t now_ms) {
    struct bucket *pool = NULL;
    struct prepared p = take_prepared(prepared, &pool);
    struct table *t = p.table;
    struct place at;
    bool there = find(t, entry_key(p.entry), p.hash, &at);
    const struct entry *old = there ? bucket_address(at.bucket, at.i) : NULL;
    t->gone_ms = there ? entry_expire_ms(old) : EXPIRE_NEVER;
    if (p.expiring != NULL && there) {
        if (entry_has_expiry(old) && !entry_dead(old, now_ms)) {
            struct entry *unused = p.entry;
            p.entry = p.expiring;
            p.expiring = unused;
            entry_set_expiry(p.entry, entry_expiry(old));
        }
    }
    free_entry(t, p.expiring);
    int64_t expire_ms = entry_expire_ms(p.entry);
    struct value v = entry_value(p.entry);
    uint32_t i = table_index(t, p.hash);
    bool stamped = stamp(t, i, &v, expire_ms);
    ASSERT(stamped); /* table_impl.h says why */
    if (there) {
        replace(t, at, &p, expire_ms);
    } else {
        bool fits = chain_insert(table_bucket(t, i), table_item(t, p.entry), bucket_print(p.hash),
                                 &pool, &t->overflows);
        ASSERT(fits);
        count_new(t, value_bin(&v), expire_ms);
        join(t, p.entry, p.hash, p.access);
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
    (void)table_drop_object(t, p.entry);
    free_entry(t, p.entry);
    free_entry(t, p.expiring);
    if (!table_end_if_empty(t) && stamped && t->expires == 0 && !t->inner && t->prepared == 0)
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

bool table_note_due(struct table *t, struct entry *e, uint64_t hash, int64_t due_ms) {
    ASSERT(table_find(t, entry_key(e), hash) == e);
    if (due_ms == OBJECT_NEVER)
        return true;
    t->inner = true;
    return resize_stamp(t, table_index(t, hash), tick_of(due_ms));
}

/* unlink_entry: takes an entry out and frees its bytes, not its object. */
static ON_SHARD void unlink_entry(struct table *t, uint32_t index, struct place at) {
    struct entry *e = bucket_address(at.bucket, at.i);
    table_count_expiry(t, entry_expire_ms(e), EXPIRE_NEVER);
    fifo_leave(t, e);
    mem_free(t->mem, e, entry_size(e));
    chain_remove(table_bucket(t, index), at, &t->overflows);
    t->count--;
    if (!table_end_if_empty(t))
        resize_shrink(t);
}

void table_remove_at(struct table *t, uint32_t index, struct place at) {
    table_before(t, at.bucket, at.i);
    t->lengths[entry_bin(bucket_address(at.bucket, at.i))]--;
    (void)table_drop_object(t, bucket_address(at.bucket, at.i));
    unlink_entry(t, index, at);
}

bool table_delete(struct table *t, struct span key, uint64_t hash) {
    struct place at;
    if (!find(t, key, hash, &at))
        return false;
    t->gone_ms = entry_expire_ms(bucket_address(at.bucket, at.i));
    table_remove_at(t, table_index(t, hash), at);
    return true;
}

bool table_take(struct table *t, struct span key, uint64_t hash, char *scratch, struct value *out,
                int64_t *expire_ms) {
    struct place at;
    if (!find(t, key, hash, &at))
        return false;
    struct entry *e = bucket_address(at.bucket, at.i);
    table_before(t, at.bucket, at.i);
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
