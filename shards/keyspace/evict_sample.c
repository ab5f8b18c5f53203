/* evict_sample.c: candidates out of buckets that are looked at by chance, and the pool of the best. */
#include "evict_impl.h"

enum {
    CHAIN_MAX = 4,    /* buckets of a chain that are looked at */
    BUCKETS_MAX = 64, /* for one eviction */
    GROUPS_MAX = 64,  /* whose stamps promise keys with an expiry */
};
#define RANK_DEAD UINT64_MAX
/* Of a rank by last use: what tells keys of the same second apart. */
#define ROOM_BITS 28
#define ROOM_MASK ((1ULL << ROOM_BITS) - 1)

/* ranked_by_use: to the second, so that many keys are alike. */
static bool ranked_by_use(const struct evict *v) {
    enum evict_policy p = v->options.policy;
    return p == EVICT_ALLKEYS_LRU || p == EVICT_VOLATILE_LRU || p == EVICT_ALLKEYS_LRM ||
           p == EVICT_VOLATILE_LRM;
}

/* room_in: what its going brings, as far as it is wanted. */
static uint64_t room_in(const struct evict *v, const struct entry *e) {
    uint64_t wanted = v->wanted_bytes < ROOM_MASK ? v->wanted_bytes : ROOM_MASK;
    uint64_t bytes = mem_size(entry_size(e));
    if (bytes < wanted && entry_repr(e) == REPR_OBJECT)
        bytes = entry_bytes_total(e);
    return bytes < wanted ? bytes : wanted;
}

/* rank_of: who goes first. *proof: what will be different when it was used since. */
static uint64_t rank_of(struct evict *v, const struct entry *e, uint64_t *proof) {
    const struct access *a = &v->access;
    *proof = entry_access(e);
    switch (v->options.policy) {
    case EVICT_VOLATILE_TTL:
        *proof = (uint64_t)entry_expiry(e);
        return ~*proof;
    case EVICT_ALLKEYS_RANDOM:
    case EVICT_VOLATILE_RANDOM:
        return rng_next(&v->rng) >> 1;
    case EVICT_ALLKEYS_LFU:
    case EVICT_VOLATILE_LFU:
        return UINT32_MAX - access_frequency(a, (uint32_t)*proof);
    case EVICT_ALLKEYS_S3FIFO: /* when the queues had none */
    case EVICT_VOLATILE_S3FIFO:
        return UINT32_MAX - ((*proof & 3) << 1 | (*proof >> 2 & 1));
    default:
        /* By the second of the use, not by the age, so that it means the same later. */
        return ~((uint64_t)a->second - access_idle_s(a, (uint32_t)*proof)) << ROOM_BITS;
    }
}

/* offer: a candidate for the pool. */
static ON_SHARD void offer(struct evict *v, uint32_t db, const struct entry *e, int64_t now_ms) {
    if (!evict_may_go(v, entry_has_expiry(e)))
        return;
    uint64_t proof, rank = rank_of(v, e, &proof);
    bool full = v->pool_count == EVICT_POOL;
    if (unlikely(entry_dead(e, now_ms)))
        rank = RANK_DEAD;
    else if (ranked_by_use(v) && (!full || (rank | ROOM_MASK) > v->pool[0].rank))
        rank |= room_in(v, e); /* looks into the object only when it may matter */
    if (full && rank <= v->pool[0].rank)
        return;
    struct candidate new = {rank, proof, hash_of(entry_key(e)), db};
    unsigned at = v->pool_count;
    for (unsigned i = 0; i < v->pool_count; i++) {
        if (v->pool[i].hash == new.hash && v->pool[i].db == db)
            return;
        if (at == v->pool_count && v->pool[i].rank >= rank)
            at = i;
    }
    if (full) { /* the worst makes room */
        at--;
        memmove(v->pool, v->pool + 1, at * sizeof new);
    } else {
        memmove(v->pool + at + 1, v->pool + at, (v->pool_count - at) * sizeof new);
        v->pool_count++;
    }
    v->pool[at] = new;
}

static ON_SHARD unsigned offer_chain(struct evict *v, uint32_t db, const struct bucket *b,
                                     int64_t now_ms) {
    unsigned seen = 0;
    for (unsigned n = 0; b != NULL && n < CHAIN_MAX; b = bucket_next(b), n++)
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1, seen++)
            offer(v, db, bucket_address(b, (unsigned)__builtin_ctz(used)), now_ms);
    return seen;
}

static struct bucket *bucket_by_chance(const struct table *t, uint32_t chance) {
    return table_bucket(t, (uint32_t)((uint64_t)chance * t->bucket_count >> 32));
}

/* sample_all: each bucket was chosen two buckets ago, and its entries fetched one ago. */
static ON_SHARD void sample_all(struct evict *v, struct table *t, uint32_t db, int64_t now_ms) {
    unsigned seen = 0;
    for (unsigned n = 0; n < BUCKETS_MAX && seen < v->options.samples; n++) {
        seen += offer_chain(v, db, bucket_by_chance(t, v->ahead[0]), now_ms);
        v->ahead[0] = v->ahead[1];
        v->ahead[1] = (uint32_t)rng_next(&v->rng);
        chain_prefetch(bucket_by_chance(t, v->ahead[0]));
        prefetch(bucket_by_chance(t, v->ahead[1]));
    }
}

/* --- keys with an expiry, by the stamps of their groups (table_impl.h) --- */

static uint32_t group_count(const struct table *t) {
    return (t->bucket_count + TABLE_GROUP - 1) / TABLE_GROUP;
}

/* next_stamped: the first group from here on, round the table, with a stamp. */
static uint32_t next_stamped(const struct table *t, uint32_t from) {
    uint32_t segments = table_segments(t), segment = from / TABLE_GROUPS, at = from % TABLE_GROUPS;
    for (uint32_t n = 0; n <= segments; n++) {
        const struct stamps *due = &t->due[segment];
        for (; due->least != TICK_NEVER && at < TABLE_GROUPS; at++)
            if (due->groups[at] != TICK_NEVER)
                return segment * TABLE_GROUPS + at;
        segment = segment + 1 < segments ? segment + 1 : 0;
        at = 0;
    }
    return from;
}

/* offer_group: its keys that have an expiry; if it has none, nor anything inside objects, its stamp says so from now on. */
static ON_SHARD unsigned offer_group(struct evict *v, struct table *t, uint32_t db, uint32_t group,
                                     int64_t now_ms) {
    unsigned expiring = 0, inner = 0;
    uint32_t first = group * TABLE_GROUP;
    for (uint32_t i = first; i < first + TABLE_GROUP && i < t->bucket_count; i++) {
        for (const struct bucket *b = table_bucket(t, i); b != NULL; b = bucket_next(b))
            for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
                const struct entry *e = bucket_address(b, (unsigned)__builtin_ctz(used));
                inner += entry_may_have_times(e);
                if (!entry_has_expiry(e))
                    continue;
                offer(v, db, e, now_ms);
                expiring++;
            }
    }
    if (expiring + inner == 0 && t->prepared == 0 && table_stamp(t, group) != TICK_NEVER)
        table_set_stamp(t, group, TICK_NEVER);
    return expiring;
}

/* sample_volatile: fetches ahead as sample_all does. What was chosen for another table, or before this one shrank, is as
 * good as any other. */
static ON_SHARD void sample_volatile(struct evict *v, struct table *t, uint32_t db,
                                     int64_t now_ms) {
    unsigned seen = 0;
    for (unsigned n = 0; n < GROUPS_MAX && seen < v->options.samples; n++) {
        uint32_t at = v->ahead[0] < group_count(t) ? v->ahead[0] : 0;
        seen += offer_group(v, t, db, next_stamped(t, at), now_ms);
        v->ahead[0] = v->ahead[1];
        v->ahead[1] = next_stamped(t, (uint32_t)rng_below(&v->rng, group_count(t)));
        table_fetch_group(t, v->ahead[0], true);
        table_fetch_group(t, v->ahead[1], false);
    }
}

void sample_some(struct evict *v, struct table *t, uint32_t db, int64_t now_ms) {
    if (v->only_volatile)
        sample_volatile(v, t, db, now_ms);
    else
        sample_all(v, t, db, now_ms);
}

/* --- the best --- */

/* proven: whether an entry is what the candidate was, and where. */
static ON_SHARD bool proven(const struct evict *v, struct table *t, const struct candidate *c,
                            struct victim *out) {
    bool ttl = v->options.policy == EVICT_VOLATILE_TTL;
    uint32_t index = table_index(t, c->hash);
    for (struct bucket *b = table_bucket(t, index); b != NULL; b = bucket_next(b))
        for (unsigned match = bucket_match(b, bucket_print(c->hash)); match; match &= match - 1) {
            unsigned i = (unsigned)__builtin_ctz(match);
            const struct entry *e = bucket_address(b, i);
            uint64_t proof = ttl ? (uint64_t)entry_expire_ms(e) : entry_access(e);
            if (proof != c->proof || !evict_may_go(v, entry_has_expiry(e)) ||
                hash_of(entry_key(e)) != c->hash)
                continue;
            *out = (struct victim){t, c->db, index, {b, i}, c->hash};
            return true;
        }
    return false;
}

bool sample_best(struct evict *v, struct table **tables, held_fn *held, void *arg,
                 struct victim *out) {
    while (v->pool_count != 0) {
        const struct candidate *c = &v->pool[--v->pool_count];
        struct table *t = tables[c->db];
        if (t != NULL && t->count != 0 && proven(v, t, c, out) && !held(arg, c->hash))
            return true;
    }
    return false;
}

bool sample_any(const struct evict *v, struct table *t, uint32_t db, held_fn *held, void *arg,
                struct victim *out) {
    for (uint32_t index = 0; index < t->bucket_count; index++)
        for (struct bucket *b = table_bucket(t, index); b != NULL; b = bucket_next(b))
            for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
                unsigned i = (unsigned)__builtin_ctz(used);
                const struct entry *e = bucket_address(b, i);
                uint64_t hash = hash_of(entry_key(e));
                if (!evict_may_go(v, entry_has_expiry(e)) || held(arg, hash))
                    continue;
                *out = (struct victim){t, db, index, {b, i}, hash};
                return true;
            }
    return false;
}
