/* zsetval.h: sorted sets: members in the order of their scores.
 *
 * Why         one structure that is asked by member, by score and by rank. A few short members are a listpack; more are a
 *             B+tree whose leaves hold the bytes of the members, and an index from a member's hash to its leaf, so
 *             that no member is stored twice and none has an allocation of its own.
 *
 *                 VAL_LISTPACK  | member | score | member | score | ...     ascending; a whole score is an integer entry
 *
 *                 VAL_TREE      struct object | root | index ...
 *                               inner node:  children, how many elements each has, the first (score, prefix) of each
 *                               leaf:        scores, prints of hashes, bytes of members; a long member lies apart
 *                               index:       buckets of one cache line: address of the leaf, print of the hash
 *
 * Order       by score, then by the bytes of the member (memcmp, the shorter one first); -0 and 0 are equal.
 *             Ranks count from 0 at the lowest.
 * Threads     as val.h says. Invariants: those of val.h; (5) no score is NaN. (6) a scan from 0 to its end visits every
 *             member that was there all the time, whatever was added, removed or changed its score meanwhile.
 * Limits      members of less than 4 GiB.
 * Source      Redis's documented behaviour; thresholds as redis.conf tells them; it never goes back from a tree to a
 *             listpack.
 */
#ifndef ANAX_ZSETVAL_H
#define ANAX_ZSETVAL_H

#include "anax/strval.h"
#include "anax/val.h"
#include "shards/rng.h"

/* When it becomes a tree: with more than entries_max members, or when one longer than bytes_max is added. */
struct zset_kind {
    uint64_t entries_max, bytes_max;
};

/* An element, good until the next write. The text of a member that is kept as an integer lies in digits. */
struct zset_item {
    struct span member;
    double score;
    char digits[STRVAL_INT_BYTES];
};

uint64_t zsetval_count(const struct val *v);
/* zsetval_score: false: no such member. O(1), O(N) in a listpack. */
bool zsetval_score(const struct val *v, struct span member, double *score);
/* zsetval_prefetch: what zsetval_score of that member will touch first. */
void zsetval_prefetch(const struct val *v, struct span member);
/* zsetval_rank: false: no such member. *score may be asked for as well (NULL: no). O(log N). */
bool zsetval_rank(const struct val *v, struct span member, bool reverse, uint64_t *rank,
                  double *score);
/* zsetval_at: false: there are not so many. O(log N). */
bool zsetval_at(const struct val *v, uint64_t rank, struct zset_item *out);
/* zsetval_random: each with the same chance; false when there is none. O(log N). */
bool zsetval_random(const struct val *v, struct rng *r, struct zset_item *out);

/* --- adding --- */
enum {
    ZSET_NX = 1,   /* only members that are not there */
    ZSET_XX = 2,   /* only members that are there */
    ZSET_GT = 4,   /* one that is there changes only to a higher score */
    ZSET_LT = 8,   /* ... only to a lower one */
    ZSET_INCR = 16 /* the score is added to that of a member that is there; of one pair only */
};
enum zset_outcome {
    ZSET_NOP,     /* a condition kept it as it was (ZADD INCR replies nil) */
    ZSET_SAME,    /* it had that score */
    ZSET_ADDED,   /* it was not there */
    ZSET_UPDATED, /* it was there and has another score now */
    ZSET_NAN      /* of INCR: inf plus -inf; nothing was changed */
};
struct zset_pair {
    struct span member;
    double score; /* not NaN; unless the outcome is NOP or NAN, what it has afterwards */
    enum zset_outcome outcome; /* out */
    /* zsetval_add's own, so that it can undo: the score that it had, and whether the new one was shown again. */
    bool revived;
    double before;
};
struct zset_added {
    uint64_t added, updated;
    bool nan;
};
/* zsetval_add: all pairs, in this order, or none; a member may come twice. The members may not lie in v itself.
 * False: no memory; then scores and outcomes of the pairs mean nothing. O(n log N), in a listpack O(n * N). */
MUST_CHECK bool zsetval_add(struct val *v, const struct zset_kind *k, unsigned flags,
                            struct zset_pair *pairs, size_t n, struct zset_added *out);

/* --- taking out: cannot fail; when nothing is left, v is empty and coll_store deletes the key --- */
/* zsetval_remove: false: it was not there. O(log N). */
bool zsetval_remove(struct val *v, struct span member);
/* zsetval_remove_range: ranks from..to - 1, of which there are none from zsetval_count on. O(log N + to - from). */
void zsetval_remove_range(struct val *v, uint64_t from, uint64_t to);

/* --- by score, by member --- */
/* zsetval_rank_of_score: how many elements are below that score (or_equal: or have it), which is the rank of the first
 * that is not. So from = rank_of_score(min, min is exclusive), to = rank_of_score(max, max is inclusive): ZCOUNT is
 * to - from when that is positive. O(log N). */
uint64_t zsetval_rank_of_score(const struct val *v, double score, bool or_equal);
/* zsetval_rank_of_lex: the same by member, of a set all of whose scores are equal; of another one it is some rank. The
 * bounds "-" and "+" are the caller's: 0 and zsetval_count. O(log N). */
uint64_t zsetval_rank_of_lex(const struct val *v, struct span member, bool or_equal);

/* --- walking: zsetval_begin at a rank (one that there is none of: it is at its end at once), then zsetval_next until it
 * says false. Reverse: towards lower ranks. No write meanwhile. O(log N), then O(1) each. --- */
struct zset_iter {
    const struct val *v;
    bool reverse;
    uint32_t place;
    void *at; /* the next entry of a listpack, or its leaf; NULL: at its end */
};
void zsetval_begin(struct zset_iter *i, const struct val *v, uint64_t rank, bool reverse);
bool zsetval_next(struct zset_iter *i, struct zset_item *out);
/* zsetval_scan: visits elements of about `count` places of the index and returns where to go on, 0 at the end; in the order
 * of hashes. A listpack is visited whole. visit must not write. */
uint64_t zsetval_scan(const struct val *v, uint64_t cursor, uint64_t count,
                      void (*visit)(void *arg, const struct zset_item *e), void *arg);

/* --- whole sets: results of *STORE, what a dump file holds --- */
/* zsetval_order: < 0, 0 or > 0. zsetval_sort: into that order, in place, without memory. O(n log n). */
int zsetval_order(double score, struct span member, double other_score, struct span other_member);
void zsetval_sort(struct zset_pair *pairs, size_t n);
/* zsetval_build: v, which is VAL_NONE, becomes a set of these pairs, which are sorted and whose members are distinct; n
 * may be 0: it stays VAL_NONE. False: no memory. O(n). */
MUST_CHECK bool zsetval_build(struct val *v, const struct zset_kind *k,
                              const struct zset_pair *pairs, size_t n);

/* For val.c. copy, destroy_some: O(N); no member of it has a time. */
extern const struct val_ops zsetval_ops;

#endif
