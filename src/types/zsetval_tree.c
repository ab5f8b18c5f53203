/* zsetval_tree.c: adding to a tree, all or nothing; freeing and copying one. btree_impl.h, Updates, says how. */
#include "zsetval_impl.h"

void zsetval_decide(unsigned flags, struct zset_pair *p, bool there, double is) {
    p->outcome = ZSET_NOP;
    if (!there) {
        if ((flags & ZSET_XX) == 0)
            p->outcome = ZSET_ADDED;
        return;
    }
    if ((flags & ZSET_NX) != 0)
        return;
    double score = (flags & ZSET_INCR) != 0 ? is + p->score : p->score;
    if (score != score) {
        p->outcome = ZSET_NAN;
        return;
    }
    if (((flags & ZSET_GT) != 0 && score <= is) || ((flags & ZSET_LT) != 0 && score >= is))
        return;
    p->outcome = score == is ? ZSET_SAME : ZSET_UPDATED;
    p->score = score;
}

/* --- adding --- */

/* find_exact: an element, hidden or not. */
static bool find_exact(const struct btree *t, double score, struct span member, struct spot *out) {
    struct bound b = btree_bound(score, member);
    *out = btree_seek(t, &b, NULL);
    if (out->place == out->leaf->count && out->leaf->next != NULL)
        *out = (struct spot){out->leaf->next, 0};
    return out->place < out->leaf->count && leaf_score(out->leaf, out->place) == score &&
           span_eq(leaf_member(out->leaf, out->place), member);
}

static bool is_hidden(struct spot at) {
    return leaf_print(at.leaf, at.place) == 0;
}

/* update: shows the element with the new score and hides the old one, which goes at once when this pair is alone. */
static bool update(struct btree *t, struct zset_pair *p, uint64_t hash, struct spot old,
                   bool alone) {
    struct spot at;
    p->before = leaf_score(old.leaf, old.place);
    p->revived = false;
    if (alone && btree_slide(old, p->score))
        return true;
    if (!alone && find_exact(t, p->score, p->member, &at)) {
        ASSERT(is_hidden(at));
        p->revived = true;
    } else {
        if (!btree_insert(t, p->score, p->member, hash, true, &at))
            return false;
        /* To make room it may have been moved. */
        bool found = btree_find(t, p->member, hash, &old);
        ASSERT(found);
    }
    btree_show(t, at, old, hash);
    if (alone)
        btree_drop(t, old, 1);
    return true;
}

static bool add(struct btree *t, unsigned flags, struct zset_pair *p, bool alone) {
    uint64_t hash = hash_of(p->member);
    struct spot at;
    bool there = btree_find(t, p->member, hash, &at);
    zsetval_decide(flags, p, there, there ? leaf_score(at.leaf, at.place) : 0);
    if (p->outcome == ZSET_ADDED)
        return btree_insert(t, p->score, p->member, hash, false, &at);
    return p->outcome != ZSET_UPDATED || update(t, p, hash, at, alone);
}

/* undo: the pairs behind it are undone already, so the elements are those that it left. */
static void undo(struct btree *t, const struct zset_pair *p) {
    if (p->outcome != ZSET_ADDED && p->outcome != ZSET_UPDATED)
        return;
    uint64_t hash = hash_of(p->member);
    struct spot is, was;
    bool found = btree_find(t, p->member, hash, &is);
    ASSERT(found);
    if (p->outcome == ZSET_UPDATED) {
        found = find_exact(t, p->before, p->member, &was);
        ASSERT(found);
        btree_show(t, was, is, hash);
        if (p->revived)
            return; /* it was hidden before */
    }
    btree_drop(t, is, 1);
}

bool zsetval_tree_add(struct btree *t, unsigned flags, struct zset_pair *pairs, size_t n) {
    size_t done = 0;
    while (done < n && add(t, flags, &pairs[done], n == 1))
        done++;
    if (done < n) {
        while (done-- > 0)
            undo(t, &pairs[done]);
        return false;
    }
    for (size_t i = 0; n > 1 && i < n; i++) {
        struct spot was;
        if (pairs[i].outcome == ZSET_UPDATED &&
            find_exact(t, pairs[i].before, pairs[i].member, &was) && is_hidden(was))
            btree_drop(t, was, 1);
    }
    return true;
}

/* --- whole trees --- */

static struct object *copy(struct mem *m, const struct object *from) {
    struct btree_load b;
    if (!btree_load_begin(&b, m, from->count))
        return NULL;
    for (const struct leaf *l = ((const struct btree *)from)->first; l != NULL; l = l->next)
        for (unsigned i = 0; i < l->count; i++)
            if (!btree_load_add(&b, leaf_score(l, i), leaf_member(l, i)))
                return NULL;
    struct btree *t = btree_load_end(&b);
    return t == NULL ? NULL : &t->o;
}

const struct val_ops zsetval_ops = {
    .destroy_some = btree_destroy_some, .copy = copy, .defrag_some = btree_defrag_some};
