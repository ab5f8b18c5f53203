/* zset_algebra_impl.h: unions, intersections and differences of sorted sets and sets: what is combined, and how.
 *
 * Threads     the sources may lie on other shards, whose keys the transaction holds: they are only read, in place, maybe
 *             beside the shard.
 * Invariants  (1) what was found points into the sources, so it is replied or stored before any of them changes.
 */
#ifndef ZSET_ALGEBRA_IMPL_H
#define ZSET_ALGEBRA_IMPL_H

#include "anax/setval.h"
#include "zset_impl.h"

enum zset_op { ZSET_UNION, ZSET_INTER, ZSET_DIFF };
enum zset_aggregate { ZSET_SUM, ZSET_MIN, ZSET_MAX, ZSET_COUNT };

/* A key that is combined. The members of a set have the score 1. */
struct zset_source {
    struct val val;
    bool is_set;
    uint32_t arg; /* argv[arg] names it */
    uint64_t count;
    double weight;
};

struct zset_algebra {
    enum zset_op op;
    enum zset_aggregate aggregate;
    struct zset_source *sources;
    uint32_t n;
    struct set_kind set_kind;
    int64_t now_ms;
};

/* zset_combine_work: about how many members combining them looks at. O(n). */
uint64_t zset_combine_work(const struct zset_algebra *a);
/* zset_combine: the result, sorted; to is initialised. The order of the sources is not kept. False: no memory. */
MUST_CHECK bool zset_combine(struct zset_algebra *a, struct zset_pairs *to);
/* zset_inter_count: of the intersection, up to limit; 0: all of them. */
uint64_t zset_inter_count(struct zset_algebra *a, uint64_t limit);

#endif
