/* btree.c: order, ranks, elements. btree_impl.h draws the tree. */
#include "anax/val.h"
#include "btree_impl.h"
#include <limits.h>

void *btree_alloc(struct btree *t, size_t size) {
    void *p = mem_alloc(t->mem, size);
    if (likely(p != NULL)) {
        t->o.bytes += mem_size(size);
        t->o.weight++;
    }
    return p;
}

static void discharge(struct btree *t, size_t size) {
    t->o.bytes -= mem_size(size);
    t->o.weight--;
}

void btree_free(struct btree *t, void *p, size_t size) {
    discharge(t, size);
    mem_free(t->mem, p, size);
}

struct bucket *btree_alloc_buckets(struct btree *t, size_t n) {
    size_t size = n * sizeof(struct bucket);
    struct bucket *b = mem_alloc_lines(t->mem, size);
    if (b != NULL) {
        memset(b, 0, size);
        t->o.bytes += mem_size(size);
        t->o.weight++;
    }
    return b;
}

void btree_free_buckets(struct btree *t, struct bucket *b, size_t n) {
    discharge(t, n * sizeof(struct bucket));
    mem_free_lines(t->mem, b, n * sizeof(struct bucket));
}

struct btree *btree_create_for(struct mem *m, uint64_t n) {
    struct btree *t = mem_zalloc(m, sizeof *t);
    if (t == NULL)
        return NULL;
    t->mem = t->index.overflows.mem = m;
    t->o = (struct object){.type = VALUE_ZSET,
                           .form = VAL_TREE,
                           .weight = 1,
                           .bytes = mem_size(sizeof *t),
                           .due_ms = OBJECT_NEVER};
    struct leaf *l = btree_alloc(t, sizeof *l);
    if (l == NULL || !btree_index_begin(t, n)) {
        mem_free(m, l, sizeof *l);
        mem_free(m, t, sizeof *t);
        return NULL;
    }
    btree_leaf_init(l);
    t->root = t->first = t->last = l;
    t->root_is_leaf = true;
    return t;
}

struct btree *btree_create(struct mem *m) {
    return btree_create_for(m, 0);
}

/* --- seeking --- */

struct bound btree_bound(double score, struct span member) {
    return (struct bound){.score = score,
                          .member = member,
                          .prefix = span_prefix(member),
                          .by_score = true,
                          .by_member = true};
}

static inline bool is_below(const struct leaf *l, unsigned i, const struct bound *b) {
    if (b->by_score) {
        double score = leaf_score(l, i);
        if (score != b->score)
            return score < b->score;
    }
    if (b->by_member) {
        int order = span_order(leaf_member(l, i), b->member);
        if (order != 0)
            return order < 0;
    }
    return b->or_equal;
}

static const struct leaf *first_leaf(const void *node, bool is_leaf) {
    while (!is_leaf) {
        const struct inner *p = node;
        node = p->child[0];
        is_leaf = p->leaves;
    }
    return node;
}

/* begins_below: whether what is sought is in child i or right of it; the essay of btree_impl.h, Searching. */
static bool begins_below(const struct inner *p, unsigned i, const struct bound *b) {
    if (b->by_score && p->score[i] != b->score)
        return p->score[i] < b->score;
    if (!b->by_member)
        return b->or_equal;
    if (p->prefix[i] != b->prefix)
        return p->prefix[i] < b->prefix;
    return is_below(first_leaf(p->child[i], p->leaves), 0, b);
}

static unsigned child_for(const struct inner *p, const struct bound *b) {
    unsigned low = 0, high = p->count; /* child low is right or left of it, child high is not */
    while (high - low > 1) {
        unsigned middle = (low + high) / 2;
        if (begins_below(p, middle, b))
            low = middle;
        else
            high = middle;
    }
    return low;
}

static uint64_t elements_before(const struct inner *p, unsigned i) {
    uint64_t n = 0;
    for (unsigned k = 0; k < i; k++)
        n += p->elements[k];
    return n;
}

struct spot btree_seek(const struct btree *t, const struct bound *b, uint64_t *rank) {
    void *node = t->root;
    uint64_t before = 0;
    for (bool is_leaf = t->root_is_leaf; !is_leaf;) {
        const struct inner *p = node;
        unsigned i = child_for(p, b);
        if (rank != NULL)
            before += elements_before(p, i);
        node = p->child[i];
        is_leaf = p->leaves;
    }
    struct leaf *l = node;
    unsigned low = 0, high = l->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (is_below(l, middle, b))
            low = middle + 1;
        else
            high = middle;
    }
    if (rank != NULL)
        *rank = before + low;
    return (struct spot){l, low};
}

struct spot btree_at(const struct btree *t, uint64_t rank) {
    ASSERT(rank < t->o.count);
    void *node = t->root;
    for (bool is_leaf = t->root_is_leaf; !is_leaf;) {
        const struct inner *p = node;
        unsigned i = 0;
        for (; rank >= p->elements[i]; i++)
            rank -= p->elements[i];
        node = p->child[i];
        is_leaf = p->leaves;
    }
    return (struct spot){node, (unsigned)rank};
}

uint64_t btree_rank(struct spot at) {
    uint64_t rank = at.place;
    const void *child = at.leaf;
    for (const struct inner *p = at.leaf->parent; p != NULL; child = p, p = p->parent)
        rank += elements_before(p, btree_node_index(p, child));
    return rank;
}

bool btree_find(const struct btree *t, struct span member, uint64_t hash, struct spot *out) {
    uint8_t print = bucket_print(hash);
    uint16_t leaf_print = leaf_print_of(hash);
    const struct bucket *b = index_at(&t->index, index_bucket(&t->index, hash));
    for (; b != NULL; b = bucket_next(b))
        for (unsigned places = bucket_match(b, print); places != 0; places &= places - 1) {
            struct leaf *l = bucket_address(b, (unsigned)__builtin_ctz(places));
            uint64_t match = btree_leaf_match(l, 0xffff, leaf_print);
            for (; match != 0; match &= match - 1) {
                unsigned i = (unsigned)__builtin_ctzll(match);
                if (likely(span_eq(leaf_member(l, i), member))) {
                    *out = (struct spot){l, i};
                    return true;
                }
            }
        }
    return false;
}

/* --- elements --- */

bool btree_copy_far(struct btree *t, struct span member, void **far) {
    *far = NULL;
    if (likely(member.len <= LEAF_MEMBER_MAX))
        return true;
    if ((*far = btree_alloc(t, member.len)) == NULL)
        return false;
    memcpy(*far, member.ptr, member.len);
    return true;
}

bool btree_insert(struct btree *t, double score, struct span member, uint64_t hash, bool hidden,
                  struct spot *out) {
    struct bound b = btree_bound(score, member);
    void *far;
    if (unlikely(t->o.count == UINT32_MAX || (!hidden && !btree_index_reserve(t, hash))))
        return false;
    if (!btree_copy_far(t, member, &far))
        goto fail;
    *out = btree_seek(t, &b, NULL);
    if (!btree_node_make_room(t, out, leaf_need(member.len), &b))
        goto fail;
    btree_leaf_put(out->leaf, out->place, score, hidden ? 0 : leaf_print_of(hash), member, far);
    btree_node_count(out->leaf, 1);
    t->o.count++;
    if (!hidden)
        btree_index_add(t, hash, out->leaf);
    return true;
fail:
    if (far != NULL)
        btree_free(t, far, member.len);
    if (!hidden)
        btree_index_unreserve(t);
    return false;
}

void btree_show(struct btree *t, struct spot hidden, struct spot shown, uint64_t hash) {
    leaf_set_print(hidden.leaf, hidden.place, leaf_print_of(hash));
    leaf_set_print(shown.leaf, shown.place, 0);
    if (hidden.leaf != shown.leaf)
        btree_index_repoint(t, hash, shown.leaf, hidden.leaf);
}

bool btree_slide(struct spot at, double score) {
    struct leaf *l = at.leaf;
    struct bound b = btree_bound(score, leaf_member(l, at.place));
    unsigned to = at.place;
    if (score > leaf_score(l, at.place)) {
        if (l->next != NULL && is_below(l, l->count - 1U, &b))
            return false;
        while (to + 1 < l->count && is_below(l, to + 1, &b))
            to++;
    } else {
        if (l->prev != NULL && !is_below(l, 0, &b))
            return false;
        while (to > 0 && !is_below(l, to - 1, &b))
            to--;
    }
    btree_leaf_turn(l, at.place, to);
    leaf_set_score(l, to, score);
    return true;
}

/* free_far: what an element has apart from its leaf; true when it had something. */
static bool free_far(struct btree *t, const struct leaf *l, unsigned i) {
    if (likely(!leaf_is_far(l, i)))
        return false;
    struct span far = leaf_member(l, i);
    btree_free(t, (void *)(uintptr_t)far.ptr, far.len);
    return true;
}

void btree_drop(struct btree *t, struct spot at, unsigned n) {
    struct leaf *l = at.leaf;
    uint64_t hash[LEAF_ELEMENTS_MAX];
    for (unsigned k = 0; k < n; k++) {
        hash[k] = hash_of(leaf_member(l, at.place + k));
        prefetch(index_at(&t->index, index_bucket(&t->index, hash[k])));
    }
    for (unsigned k = 0; k < n; k++) {
        if (leaf_print(l, at.place + k) != 0)
            btree_index_remove(t, hash[k], l);
        free_far(t, l, at.place + k);
    }
    btree_leaf_cut(l, at.place, n);
    btree_node_count(l, -(int64_t)n);
    t->o.count -= n;
    btree_node_settle(t, l);
}

/* --- the end --- */

/* end_leaf: frees the first leaf, and what is above it once it was the last child. */
static void end_leaf(struct btree *t, unsigned *budget) {
    struct leaf *l = t->first;
    for (unsigned i = 0; i < l->count; i++)
        *budget -= free_far(t, l, i) && *budget > 0;
    t->first = l->next;
    struct inner *p = l->parent;
    btree_free(t, l, sizeof *l);
    while (p != NULL && --p->count == 0) {
        struct inner *up = p->parent;
        btree_free(t, p, sizeof *p);
        p = up;
    }
}

bool btree_destroy_some(struct mem *m, struct object *o, unsigned *budget) {
    struct btree *t = (struct btree *)o;
    t->mem = t->index.overflows.mem = m;
    for (; t->first != NULL; --*budget) {
        if (*budget == 0)
            return false;
        end_leaf(t, budget);
        if (*budget == 0)
            return false;
    }
    if (!btree_index_end_some(t, budget))
        return false;
    ASSERT(t->o.bytes == mem_size(sizeof *t));
    mem_free(m, t, sizeof *t);
    return true;
}

void btree_destroy(struct btree *t) {
    unsigned budget = UINT_MAX;
    while (!btree_destroy_some(t->mem, &t->o, &budget))
        budget = UINT_MAX;
}
