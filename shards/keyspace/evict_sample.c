/* evict_sample.c: candidates out of buckets that are looked at by chance, and the pool of the best. */
#include "evict_impl.h"

enum {
    CHAIN_MAX = 4,    /* buckets of a chain that are looked at */
    BUCKETS_MAX = 64, /* for one eviction */
    STAMPS = 64,      /* that are compared to find keys that expire soon: four lines */
    GROUPS_MAX = 64,  /* whose stamps promise keys with an expiry */
};
#define RANK_DEAD UINT64_MAX

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
        return ~((uint64_t)a->second - access_idle_s(a, (uint32_t)*proof));
    }
}

/* offer: a candidate for the pool. */
static ON_SHARD void offer(struct evict *v, uint32_t db, const struct entry *e, int64_t now_ms) {
    if (!evict_may_go(v, entry_has_expiry(e)))
        return;
    uint64_t proof, rank = rank_of(v, e, &proof);
    if (unlikely(entry_dead(e, now_ms)))
        rank = RANK_DEAD;
    bool full = v->pool_count == EVICT_POOL;
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

static uint32_t stamp_at(const struct table *t, uint32_t group) {
    const uint32_t *due = t->due[group / TABLE_GROUPS];
    return due == NULL ? TICK_NEVER : due[group % TABLE_GROUPS];
}

/* next_stamped: the first group from here on, round the table, with a stamp. O(groups / 16) cache misses where there are few. */
static uint32_t next_stamped(const struct table *t, uint32_t from) {
    uint32_t groups = group_count(t), at = from;
    for (uint32_t passed = 0; passed <= groups; passed++) {
        if (stamp_at(t, at) != TICK_NEVER)
            return at;
        uint32_t step = 1;
        if (t->due[at / TABLE_GROUPS] == NULL)
            step = TABLE_GROUPS - at % TABLE_GROUPS;
        passed += step - 1;
        at = at + step < groups ? at + step : 0;
    }
    return from;
}

/* soonest: the group with the least of some stamps from here on. */
static uint32_t soonest(const struct table *t, uint32_t from) {
    uint32_t groups = group_count(t), best = from;
    for (uint32_t i = 0; i < STAMPS && i < groups; i++) {
        uint32_t at = from + i < groups ? from + i : from + i - groups;
        if (stamp_at(t, at) < stamp_at(t, best))
            best = at;
    }
    return best;
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
    if (expiring + inner == 0 && t->prepared == 0 && t->due[group / TABLE_GROUPS] != NULL)
        t->due[group / TABLE_GROUPS][group % TABLE_GROUPS] = TICK_NEVER;
    return expiring;
}

static uint32_t pick_group(struct evict *v, const struct table *t) {
    uint32_t at = (uint32_t)rng_below(&v->rng, group_count(t));
    if (v->options.policy == EVICT_VOLATILE_TTL)
        at = soonest(t, at);
    return next_stamped(t, at);
}

/* fetch_group: its buckets, or what is in them. */
static ON_SHARD void fetch_group(const struct table *t, uint32_t group, bool entries) {
    for (uint32_t i = group * TABLE_GROUP; i < (group + 1) * TABLE_GROUP && i < t->bucket_count;
         i++) {
        if (entries)
            chain_prefetch(table_bucket(t, i));
        else
            prefetch(table_bucket(t, i));
    }
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
        v->ahead[1] = pick_group(v, t);
        fetch_group(t, v->ahead[0], true);
        fetch_group(t, v->ahead[1], false);
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
