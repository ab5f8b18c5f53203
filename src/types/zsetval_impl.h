/* zsetval_impl.h: what the parts of zsetval.h share, for this room only. */
#ifndef TYPES_ZSETVAL_IMPL_H
#define TYPES_ZSETVAL_IMPL_H

#include "anax/listpack.h"
#include "anax/zsetval.h"
#include "btree_impl.h"

static inline struct btree *tree_of(const struct val *v) {
    return (struct btree *)v->big;
}

/* zsetval_decide: what becomes of a pair whose member is there with score `is`, or is not: sets its outcome, and its
 * score to what it will have. */
void zsetval_decide(unsigned flags, struct zset_pair *p, bool there, double is);

/* --- zsetval_flat.c: a listpack; an element is named by the entry of its member --- */
double zsetval_flat_score(uint8_t *member);
void zsetval_flat_item(uint8_t *member, struct zset_item *out);
uint8_t *zsetval_flat_find(const struct val *v, struct span member);
/* zsetval_flat_rank: how many elements are below. */
uint64_t zsetval_flat_rank(const struct val *v, const struct bound *b);
/* zsetval_flat_bytes: what an element takes; zsetval_flat_score_bytes: its score alone. zsetval_flat_append: at the end, where it belongs and there is room. */
size_t zsetval_flat_score_bytes(double score);
size_t zsetval_flat_bytes(struct span member, double score);
void zsetval_flat_append(uint8_t *lp, struct span member, double score);
/* zsetval_flat_add: all pairs, of which `bytes` is what they may take in addition. False: no memory. */
MUST_CHECK bool zsetval_flat_add(struct val *v, unsigned flags, struct zset_pair *pairs, size_t n,
                                 size_t bytes);

/* --- zsetval_tree.c --- */
MUST_CHECK bool zsetval_tree_add(struct btree *t, unsigned flags, struct zset_pair *pairs,
                                 size_t n);

#endif
