/* evict_impl.h: choosing what to evict, for this room only.
 *
 * A policy that samples keeps the best candidates that it has seen: the pool. Each call looks at all entries of a random
 * bucket, which were fetched while the call before was at work, puts those into the pool that are better than its worst, and
 * evicts its best. A candidate is told by its hash and by the access bits, or expiry, that it was chosen for: one that
 * was used since does not count any more.
 */
#ifndef KEYSPACE_EVICT_IMPL_H
#define KEYSPACE_EVICT_IMPL_H

#include "fifo_impl.h"
#include "shards/evict.h"
#include "table_impl.h"

enum { EVICT_POOL = 16 };

struct candidate {
    uint64_t rank;  /* the highest goes first */
    uint64_t proof; /* access bits or expiry */
    uint64_t hash;
    uint32_t db;
};

/* A group of a table, by the stamp that it was chosen for. */
struct soon {
    uint32_t group, tick;
};

struct evict {
    struct evict_options options;
    bool only_volatile;
    pinned_fn *locked; /* keyspace_guard_locked */
    void *locked_arg;
    struct access access;
    struct rng rng;
    uint32_t db; /* that samples are drawn from, for some calls more */
    uint32_t db_calls;
    uint64_t wanted_bytes; /* by who asks for the eviction */
    uint32_t pool_count;
    struct candidate pool[EVICT_POOL]; /* by rank, the highest last */
    uint32_t ahead[2]; /* where to look next: that bucket's entries are fetched, and this bucket */
    struct soon soon[2]; /* the same for ttl */
    uint32_t hand;       /* the segment whose stamps were compared last */
};

/* evict_may_go: the policy lets keys of that kind go. */
static inline bool evict_may_go(const struct evict *v, bool expires) {
    return expires || !v->only_volatile;
}

/* Where a victim is. */
struct victim {
    struct table *table;
    uint32_t db, index;
    struct place at;
    uint64_t hash;
};

typedef bool held_fn(void *arg, uint64_t hash);

void evict_init(struct evict *v);
void evict_configure(struct evict *v, const struct evict_options *o);
/* evict_choose: the next to go; false: there is none. */
bool evict_choose(struct evict *v, struct table **tables, uint32_t databases, int64_t now_ms,
                  held_fn *held, void *arg, struct victim *out) ON_SHARD;

/* --- evict_access.c --- */

void access_init(struct access *a);
/* access_new: what a new key bears that is stored with `wanted`. */
uint32_t access_new(const struct access *a, uint32_t wanted);

/* --- evict_ttl.c --- */

/* ttl_victim: a key that expires soon, which is going to be deleted: the stamp of its group says so already. false: none was
 * found, though there may be some. */
bool ttl_victim(struct evict *v, struct table *t, uint32_t db, held_fn *held, void *arg,
                struct victim *out) ON_SHARD;

/* --- evict_sample.c --- */

/* sample_some: looks at a few keys of a table, about v->options.samples, and puts the best into the pool. */
void sample_some(struct evict *v, struct table *t, uint32_t db, int64_t now_ms) ON_SHARD;
/* sample_best: takes out of the pool until it finds one that is still there and has not been used; false: none was. */
bool sample_best(struct evict *v, struct table **tables, held_fn *held, void *arg,
                 struct victim *out) ON_SHARD;
/* sample_any: looks at all keys of a table, until one may go. */
bool sample_any(const struct evict *v, struct table *t, uint32_t db, held_fn *held, void *arg,
                struct victim *out) ON_SHARD;

#endif
