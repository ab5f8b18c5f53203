/* zset_impl.h: what the parts of the sorted-set family share.
 *
 * Why         whatever a client gives as bounds, ranks, scores or members, becomes a run of ranks, and every command that
 *             ranges, counts or removes works on such a run.
 */
#ifndef ZSET_IMPL_H
#define ZSET_IMPL_H

#include "anax/zsetval.h"
#include "coll_impl.h"

/* zset_kind_now: the thresholds as they are configured. */
static inline struct zset_kind zset_kind_now(const struct ctx *c) {
    const struct config *config = instance_of(c->shard)->config;
    return (struct zset_kind){(uint64_t)config->zset_listpack_entries_max,
                              (uint64_t)config->zset_listpack_bytes_max};
}

/* --- zset.c --- */
/* zset_reply_begin, zset_reply_item: n elements, with their scores as a flat array in RESP2 and as pairs in RESP3. */
void zset_reply_begin(struct reply *r, uint64_t n, bool with_scores);
void zset_reply_item(struct reply *r, struct span member, double score, bool with_scores);

/* --- zset_bounds.c: from words to ranks --- */
enum zset_by { ZSET_BY_RANK, ZSET_BY_SCORE, ZSET_BY_LEX };

struct zset_bound {
    int64_t rank;       /* BY_RANK: from the end when negative */
    double score;       /* BY_SCORE */
    struct span member; /* BY_LEX, when end is 0 */
    int8_t end;         /* BY_LEX: -1 is "-", before all members, 1 is "+", behind them */
    bool exclusive;
};
struct zset_bounds {
    enum zset_by by;
    struct zset_bound min, max;
};
/* Ranks from..to - 1; from <= to. */
struct zset_run {
    uint64_t from, to;
};

/* zset_bounds_parse: argv[min] and argv[max]; replies and returns false when they are none. */
bool zset_bounds_parse(struct ctx *c, enum zset_by by, uint32_t min, uint32_t max,
                       struct zset_bounds *b);
/* zset_bounds_run: what lies within them. Reverse: ranks are counted from the highest score. O(log N). */
struct zset_run zset_bounds_run(const struct zset_bounds *b, const struct val *v, bool reverse);
/* zset_take_out: removes at least one of them from o, and stores or deletes it. Cannot fail: what is left is less. */
void zset_take_out(struct ctx *c, struct coll *o, struct zset_run run) ON_SHARD;

/* --- zset_pairs.c: results, before they are replied or stored --- */
struct zset_texts;
struct zset_pairs {
    struct mem *mem;
    struct zset_pair *list;
    size_t count, cap;
    struct zset_texts *texts; /* members that do not lie in a source: numbers, written out */
};
void zset_pairs_init(struct zset_pairs *p, struct mem *m);
void zset_pairs_deinit(struct zset_pairs *p);
/* zset_pairs_reserve: room for n in all. zset_pairs_add: of one. zset_pairs_copy: as add, with bytes of its own. False: no
 * memory. */
MUST_CHECK bool zset_pairs_reserve(struct zset_pairs *p, size_t n);
MUST_CHECK bool zset_pairs_add(struct zset_pairs *p, struct span member, double score);
MUST_CHECK bool zset_pairs_copy(struct zset_pairs *p, struct span member, double score);
/* zset_pairs_add_item: whichever of them the element needs to outlive the iteration. */
MUST_CHECK bool zset_pairs_add_item(struct zset_pairs *p, const struct zset_item *e);

/* What is to be stored under argv[1]: made, maybe beside the shard, and then put there. */
struct zset_made {
    struct zset_kind kind;
    bool done; /* false: no memory, and there is no val */
    uint64_t count;
    struct val val;
};
/* zset_made_fill: of pairs, which are sorted, on their account. */
void zset_made_fill(struct zset_made *made, const struct zset_pairs *p);
/* zset_made_store: argv[1] holds it from now on; replies how many they are, or that memory is out. */
void zset_made_store(struct ctx *c, struct zset_made *made) ON_SHARD;

void zset_range_register(void);
void zset_pop_register(void);
void zset_walk_register(void);
void zset_algebra_register(void);

#endif
