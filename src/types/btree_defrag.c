/* btree_defrag.c: moving the nodes of a tree. See shards/move.h. */
#include "btree_impl.h"
#include "shards/move.h"

/* A cursor is the rank of an element, at whose leaf to go on; with this bit, a bucket of the index. */
#define CURSOR_INDEX (1ULL << 63)
enum { INDEX_SPEND = 16 /* buckets passed over for the price of one allocation */ };

/* --- nodes --- */

/* replace_child: whoever refers to a node from above. */
static void replace_child(struct btree *t, struct inner *parent, const void *node, void *now) {
    if (parent == NULL)
        t->root = now;
    else
        parent->child[btree_node_index(parent, node)] = now;
}

static struct inner *move_inner(struct btree *t, struct mover *v, struct inner *p) {
    struct inner *now = move_begin(v, p, sizeof *p);
    if (now == NULL)
        return p;
    replace_child(t, p->parent, p, now);
    for (unsigned i = 0; i < now->count; i++)
        *(struct inner **)now->child[i] = now; /* leaves begin with their parent too */
    move_end(v, p, sizeof *p);
    return now;
}

/* repoint: the places of all elements of a leaf in the index. */
static void repoint(struct btree *t, const struct leaf *from, struct leaf *to) {
    uint64_t hash[LEAF_ELEMENTS_MAX] = {0};
    for (unsigned i = 0; i < to->count; i++) {
        hash[i] = hash_of(leaf_member(to, i));
        prefetch(index_at(&t->index, index_bucket(&t->index, hash[i])));
    }
    for (unsigned i = 0; i < to->count; i++)
        if (leaf_print(to, i) != 0) /* else it is hidden */
            btree_index_repoint(t, hash[i], from, to);
}

static struct leaf *move_leaf(struct btree *t, struct mover *v, struct leaf *l) {
    struct leaf *now = move_begin(v, l, sizeof *l);
    if (now == NULL)
        return l;
    replace_child(t, l->parent, l, now);
    *(now->prev != NULL ? &now->prev->next : &t->first) = now;
    *(now->next != NULL ? &now->next->prev : &t->last) = now;
    repoint(t, l, now);
    move_end(v, l, sizeof *l);
    return now;
}

/* move_members: those that do not lie in their leaf. */
static void move_members(struct mover *v, struct leaf *l) {
    for (unsigned i = 0; i < l->count; i++) {
        if (likely(!leaf_is_far(l, i)))
            continue;
        struct span far = leaf_member(l, i);
        void *now = move_small(v, (void *)(uintptr_t)far.ptr, far.len);
        memcpy((uint8_t *)l + (leaf_bytes(l, i) - (uint8_t *)l) + 1, &now, sizeof now);
    }
}

/* defrag_leaf: with the inner nodes of which it is the first below; returns the next one. */
static struct leaf *defrag_leaf(struct btree *t, struct mover *v, struct leaf *l) {
    l = move_leaf(t, v, l);
    move_members(v, l);
    const void *child = l;
    for (struct inner *p = l->parent; p != NULL && p->child[0] == child; p = p->parent)
        child = p = move_inner(t, v, p);
    return l->next;
}

/* defrag_leaves: returns the rank to go on at; the count at the end. */
static uint64_t defrag_leaves(struct btree *t, struct mover *v, uint64_t rank) {
    if (rank >= t->o.count && rank > 0)
        return rank;
    struct leaf *l = rank == 0 ? t->first : btree_at(t, rank).leaf;
    if (rank > 0) /* the tree may have changed since */
        rank = btree_rank((struct spot){l, 0});
    do {
        rank += l->count;
        l = defrag_leaf(t, v, l);
    } while (l != NULL && v->budget > 0);
    return rank;
}

/* --- the index --- */

/* defrag_index: returns the bucket to go on at; how many there are at the end. */
static uint64_t defrag_index(struct btree *t, struct mover *v, uint64_t from) {
    struct member_index *x = &t->index;
    uint64_t i = from;
    if (i == 0)
        x->segments = move_small(v, x->segments, x->segment_cap * sizeof *x->segments);
    for (; i < x->bucket_count && (v->budget > 0 || i == from); i++) {
        struct bucket **s = &x->segments[i / INDEX_SEGMENT];
        uint32_t last = (x->bucket_count - 1) / INDEX_SEGMENT;
        if (i % INDEX_SEGMENT == 0)
            *s = move_lines(v, *s,
                            (i / INDEX_SEGMENT == last ? x->last_cap : INDEX_SEGMENT) * sizeof **s);
        if (i % INDEX_SPEND == 0)
            v->budget -= v->budget > 0;
        for (struct bucket *b = index_at(x, (uint32_t)i); b != NULL;)
            b = move_next(v, b);
    }
    return i;
}

struct object *btree_defrag_some(struct mover *v, struct object *o, uint64_t *cursor) {
    struct btree *t = (struct btree *)o;
    if (*cursor == 0)
        t = move_small(v, t, sizeof *t);
    if ((*cursor & CURSOR_INDEX) == 0) {
        *cursor = defrag_leaves(t, v, *cursor);
        if (*cursor < t->o.count)
            return &t->o;
        *cursor = CURSOR_INDEX;
        if (v->budget == 0)
            return &t->o;
    }
    uint64_t i = defrag_index(t, v, *cursor & ~CURSOR_INDEX);
    *cursor = i < t->index.bucket_count ? CURSOR_INDEX | i : 0;
    return &t->o;
}
