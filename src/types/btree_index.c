/* btree_index.c: from the hash of a member to its leaf: a linear hash, as that of keys (shards/keyspace/table_impl.h), whose
 * places name leaves. Which member a place stands for is looked up in the leaf: one with the print of that place whose
 * hash belongs to this bucket. When there are several such members in a leaf, there are as many equal places, and it does
 * not matter which is whose. */
#include "btree_impl.h"
#include <limits.h>

enum {
    INDEX_FIRST = 4,           /* buckets of a new one */
    INDEX_SEGMENT_FIRST = 128, /* ... of a new segment, so that little is empty */
    /* Grown above 85% of the places, shrunk below half of them: elements per 20 buckets. */
    INDEX_GROW_PER_20 = 153,
    INDEX_SHRINK_PER_20 = 90,
    BUDGET_BUCKETS = 64 /* passed over for the price of one allocation */
};

/* count_overflows: after anything that may have made or freed some. */
static void count_overflows(struct btree *t) {
    struct member_index *x = &t->index;
    t->o.bytes += (x->overflows.count - x->overflows_counted) * sizeof(struct bucket);
    t->o.weight += (uint32_t)(x->overflows.count - x->overflows_counted);
    x->overflows_counted = x->overflows.count;
}

/* find_place: the place with that print that names that leaf. */
static bool find_place(struct bucket *b, const struct leaf *l, uint8_t print, struct place *out) {
    for (; b != NULL; b = bucket_next(b))
        for (unsigned match = bucket_match(b, print); match != 0; match &= match - 1) {
            unsigned i = (unsigned)__builtin_ctz(match);
            if (bucket_address(b, i) == l) {
                *out = (struct place){b, i};
                return true;
            }
        }
    return false;
}

/* equal_places: how many of a chain name that leaf with that print. */
static unsigned equal_places(const struct bucket *b, const struct leaf *l, uint8_t print) {
    unsigned n = 0;
    for (; b != NULL; b = bucket_next(b))
        for (unsigned match = bucket_match(b, print); match != 0; match &= match - 1)
            n += bucket_address(b, (unsigned)__builtin_ctz(match)) == l;
    return n;
}

/* --- segments --- */

/* buckets_for: so many that n elements do not make it grow. */
static uint32_t buckets_for(uint64_t n) {
    uint64_t buckets = (n * 20 + INDEX_GROW_PER_20 - 1) / INDEX_GROW_PER_20;
    return buckets < INDEX_FIRST ? INDEX_FIRST : (uint32_t)buckets;
}

/* last_cap_for: what the last segment would have come to by doubling. */
static uint32_t last_cap_for(uint32_t buckets) {
    uint32_t used = (buckets - 1) % INDEX_SEGMENT + 1;
    uint32_t cap = buckets <= INDEX_SEGMENT ? INDEX_FIRST : INDEX_SEGMENT_FIRST;
    while (cap < used)
        cap *= 2;
    return cap;
}

bool btree_index_begin(struct btree *t, uint64_t n) {
    struct member_index *x = &t->index;
    ASSERT(n <= UINT32_MAX);
    uint32_t buckets = buckets_for(n), segments = (buckets + INDEX_SEGMENT - 1) / INDEX_SEGMENT;
    x->segment_cap = segments;
    x->segments = btree_alloc(t, segments * sizeof *x->segments);
    if (x->segments == NULL)
        return false;
    x->last_cap = INDEX_SEGMENT;
    for (uint32_t i = 0; i < segments; i++) {
        uint32_t cap = i + 1 < segments ? INDEX_SEGMENT : last_cap_for(buckets);
        x->segments[i] = btree_alloc_buckets(t, cap);
        if (x->segments[i] == NULL) {
            unsigned budget = UINT_MAX;
            bool done = btree_index_end_some(t, &budget);
            ASSERT(done);
            return false;
        }
        x->bucket_count += INDEX_SEGMENT; /* which btree_index_end_some goes by */
    }
    x->last_cap = last_cap_for(buckets);
    x->bucket_count = buckets;
    x->base = 1U << (31 - __builtin_clz(buckets));
    return true;
}

/* resize_last: gives the last segment room for `cap` buckets. */
static bool resize_last(struct btree *t, uint32_t cap) {
    struct member_index *x = &t->index;
    uint32_t last = (x->bucket_count - 1) / INDEX_SEGMENT;
    struct bucket *b = btree_alloc_buckets(t, cap);
    if (b == NULL)
        return false;
    memcpy(b, x->segments[last], (x->bucket_count - last * INDEX_SEGMENT) * sizeof *b);
    btree_free_buckets(t, x->segments[last], x->last_cap);
    x->segments[last] = b;
    x->last_cap = cap;
    return true;
}

static bool directory_room(struct btree *t, uint32_t segment) {
    struct member_index *x = &t->index;
    if (likely(segment < x->segment_cap))
        return true;
    size_t old = x->segment_cap * sizeof *x->segments;
    struct bucket **segments = btree_alloc(t, old * 2);
    if (segments == NULL)
        return false;
    memcpy(segments, x->segments, old);
    btree_free(t, x->segments, old);
    x->segments = segments;
    x->segment_cap *= 2;
    return true;
}

/* bucket_room: for one bucket more. */
static bool bucket_room(struct btree *t) {
    struct member_index *x = &t->index;
    uint32_t segment = x->bucket_count / INDEX_SEGMENT;
    if (x->bucket_count % INDEX_SEGMENT != 0)
        return x->bucket_count % INDEX_SEGMENT < x->last_cap || resize_last(t, x->last_cap * 2);
    if (!directory_room(t, segment))
        return false;
    struct bucket *b = btree_alloc_buckets(t, INDEX_SEGMENT_FIRST);
    if (b == NULL)
        return false;
    x->segments[segment] = b;
    x->last_cap = INDEX_SEGMENT_FIRST;
    return true;
}

/* --- growing and shrinking --- */

/* in_buckets: which elements of a leaf have places with that print in bucket i or j; *in_j: which of them in j. */
static uint64_t in_buckets(const struct member_index *x, uint32_t i, uint32_t j,
                           const struct leaf *l, uint8_t print, uint64_t *in_j) {
    uint64_t all = btree_leaf_match(l, 0xff, print), in = 0;
    *in_j = 0;
    for (; all != 0; all &= all - 1) {
        unsigned element = (unsigned)__builtin_ctzll(all);
        uint32_t bucket = index_bucket(x, hash_of(leaf_member(l, element)));
        in |= bucket == i || bucket == j ? all & -all : 0;
        *in_j |= bucket == j ? all & -all : 0;
    }
    return in;
}

static void prefetch_leaves(const struct bucket *b) {
    for (; b != NULL; b = bucket_next(b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
            const char *leaf = bucket_address(b, (unsigned)__builtin_ctz(used));
            prefetch(leaf);
            prefetch(leaf + CACHE_LINE);
        }
}

/* split: bucket `low`, which the members of bucket `high`, the new one, were in until now. */
static void split(struct btree *t, uint32_t low, uint32_t high) {
    struct member_index *x = &t->index;
    struct bucket copy, *pool = NULL, *head = index_at(x, low), *to = index_at(x, high);
    prefetch_leaves(head);
    for (struct bucket *b = head; b != NULL;) {
        b = chain_take(head, b, &copy, &pool);
        for (unsigned used = bucket_used(&copy); used != 0; used &= used - 1) {
            unsigned i = (unsigned)__builtin_ctz(used);
            struct leaf *l = bucket_address(&copy, i);
            uint8_t print = bucket_print_at(&copy, i);
            uint64_t up, all = in_buckets(x, low, high, l, print, &up);
            if (unlikely((all & (all - 1)) !=
                         0)) /* of equal places, each stands for the next element */
                for (unsigned n = equal_places(head, l, print) + equal_places(to, l, print); n > 0;
                     n--)
                    all &= all - 1;
            ASSERT(all != 0);
            bool fits = chain_insert(up & all & -all ? to : head, l, print, &pool, &x->overflows);
            ASSERT(fits); /* chain.h says why */
        }
    }
    chain_pool_free(pool, &x->overflows);
}

static void grow(struct btree *t) {
    struct member_index *x = &t->index;
    if (likely(t->o.count * 20 <= (uint64_t)x->bucket_count * INDEX_GROW_PER_20) ||
        x->bucket_count == UINT32_MAX / 2 || !bucket_room(t))
        return;
    uint32_t high = x->bucket_count++;
    if (high == x->base * 2)
        x->base = high;
    split(t, high - x->base, high);
}

static void shrink(struct btree *t) {
    struct member_index *x = &t->index;
    if (likely(t->o.count * 20 >= (uint64_t)x->bucket_count * INDEX_SHRINK_PER_20) ||
        x->bucket_count <= INDEX_FIRST)
        return;
    uint32_t last = x->bucket_count - 1, base = last < x->base ? x->base / 2 : x->base;
    if (!chain_merge(index_at(x, last - base), index_at(x, last), &x->overflows))
        return;
    x->bucket_count = last;
    x->base = base;
    uint32_t used = last % INDEX_SEGMENT;
    if (used == 0) {
        btree_free_buckets(t, x->segments[last / INDEX_SEGMENT], x->last_cap);
        x->last_cap = INDEX_SEGMENT;
    } else if (used <= x->last_cap / 4 && x->last_cap > INDEX_FIRST) {
        (void)resize_last(t, x->last_cap / 2); /* without memory it stays as large as it is */
    }
}

/* --- places --- */

bool btree_index_reserve(struct btree *t, uint64_t hash) {
    struct member_index *x = &t->index;
    ASSERT(x->spare == NULL);
    const struct bucket *b = index_at(x, index_bucket(x, hash));
    while (bucket_free(b) == 0)
        if ((b = bucket_next(b)) == NULL) {
            struct bucket *spare = overflow_create(&x->overflows);
            if (spare == NULL)
                return false;
            chain_pool_put(&x->spare, spare);
            break;
        }
    count_overflows(t);
    return true;
}

void btree_index_unreserve(struct btree *t) {
    struct member_index *x = &t->index;
    chain_pool_free(x->spare, &x->overflows);
    x->spare = NULL;
    count_overflows(t);
}

void btree_index_add(struct btree *t, uint64_t hash, struct leaf *l) {
    struct member_index *x = &t->index;
    bool fits = chain_insert(index_at(x, index_bucket(x, hash)), l, bucket_print(hash), &x->spare,
                             &x->overflows);
    ASSERT(fits);
    ASSERT(x->spare == NULL);
    grow(t);
    count_overflows(t);
}

bool btree_index_put(struct btree *t, struct leaf *l, const uint64_t *hashes) {
    struct member_index *x = &t->index;
    struct bucket *none = NULL;
    bool fits = true;
    for (unsigned i = 0; i < l->count && fits; i++)
        fits = chain_insert(index_at(x, index_bucket(x, hashes[i])), l, bucket_print(hashes[i]),
                            &none, &x->overflows);
    count_overflows(t);
    return fits;
}

void btree_index_remove(struct btree *t, uint64_t hash, const struct leaf *l) {
    struct member_index *x = &t->index;
    struct bucket *head = index_at(x, index_bucket(x, hash));
    struct place at;
    bool found = find_place(head, l, bucket_print(hash), &at);
    ASSERT(found);
    chain_remove(head, at, &x->overflows);
    shrink(t);
    count_overflows(t);
}

void btree_index_repoint(struct btree *t, uint64_t hash, const struct leaf *from, struct leaf *to) {
    struct member_index *x = &t->index;
    uint8_t print = bucket_print(hash);
    struct place at;
    bool found = find_place(index_at(x, index_bucket(x, hash)), from, print, &at);
    ASSERT(found);
    bucket_set(at.bucket, at.i, to, print);
}

/* --- walking: shards/bucket.h says how --- */

uint64_t btree_index_scan(const struct btree *t, uint64_t cursor,
                          void (*visit)(void *arg, struct spot at), void *arg) {
    const struct member_index *x = &t->index;
    ASSERT(cursor < BUCKET_SCAN_END);
    uint32_t i = index_bucket(x, bucket_scan_hash(cursor));
    struct bucket *head = index_at(x, i);
    prefetch_leaves(head);
    for (struct bucket *b = head; b != NULL; b = bucket_next(b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
            unsigned place = (unsigned)__builtin_ctz(used);
            struct leaf *l = bucket_address(b, place);
            uint8_t print = bucket_print_at(b, place);
            struct place first;
            if (!find_place(head, l, print, &first) || first.bucket != b || first.i != place)
                continue; /* the first of equal places visits for all */
            uint64_t unused, in = in_buckets(x, i, i, l, print, &unused);
            for (; in != 0; in &= in - 1)
                visit(arg, (struct spot){l, (unsigned)__builtin_ctzll(in)});
        }
    return bucket_scan_next(cursor, i, x->base, x->bucket_count);
}

bool btree_index_end_some(struct btree *t, unsigned *budget) {
    struct member_index *x = &t->index;
    for (unsigned passed = 1; x->bucket_count != 0; passed++) {
        if (*budget == 0)
            return false;
        if (passed % BUDGET_BUCKETS == 0)
            --*budget;
        uint32_t last = x->bucket_count - 1;
        struct bucket *b = index_at(x, last), *next = bucket_next(b);
        if (next != NULL) {
            *b = *next;
            overflow_free(&x->overflows, next);
            count_overflows(t);
            *budget -= *budget > 0;
            continue;
        }
        x->bucket_count = last;
        if (last % INDEX_SEGMENT == 0) {
            btree_free_buckets(t, x->segments[last / INDEX_SEGMENT], x->last_cap);
            x->last_cap = INDEX_SEGMENT;
            *budget -= *budget > 0;
        }
    }
    if (x->segments != NULL)
        btree_free(t, x->segments, x->segment_cap * sizeof *x->segments);
    x->segments = NULL;
    return true;
}
