/* btree_load.c: a tree of elements that come in order: each leaf is filled, and gets its scores and its places in the index
 * when it is full, by when the cache lines of these have come. The index has the size that it needs from the start. */
#include "btree_impl.h"

bool btree_load_begin(struct btree_load *b, struct mem *m, uint64_t n) {
    b->t = n <= UINT32_MAX ? btree_create_for(m, n) : NULL;
    return b->t != NULL;
}

/* close_leaf: false: no memory. */
static bool close_leaf(struct btree_load *b) {
    struct btree *t = b->t;
    btree_leaf_set_scores(t->last, b->scores);
    btree_node_count(t->last, t->last->count);
    t->o.count += t->last->count;
    return btree_index_put(t, t->last, b->hashes);
}

static bool add(struct btree_load *b, double score, struct span member) {
    struct btree *t = b->t;
    unsigned need = leaf_need(member.len);
    void *far;
    if (unlikely(!leaf_fits(t->last, need))) {
        struct bound begin = btree_bound(score, member);
        struct spot at = {t->last, t->last->count};
        if (!close_leaf(b) || t->o.count > UINT32_MAX - LEAF_ELEMENTS_MAX ||
            !btree_node_make_room(t, &at, need, &begin))
            return false;
    }
    if (!btree_copy_far(t, member, &far))
        return false;
    uint64_t hash = hash_of(member);
    prefetch(index_at(&t->index, index_bucket(&t->index, hash)));
    b->scores[t->last->count] = score;
    b->hashes[t->last->count] = hash;
    btree_leaf_push(t->last, leaf_print_of(hash), member, far);
    return true;
}

bool btree_load_add(struct btree_load *b, double score, struct span member) {
    if (likely(add(b, score, member)))
        return true;
    btree_destroy(b->t);
    return false;
}

struct btree *btree_load_end(struct btree_load *b) {
    if (close_leaf(b))
        return b->t;
    btree_destroy(b->t);
    return NULL;
}
