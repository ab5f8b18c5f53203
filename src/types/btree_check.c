/* btree_check.c: asserts the invariants of btree_impl.h, for tests and fuzzing. */
#include "btree_impl.h"

/* What was counted on the way. */
struct sums {
    uint64_t elements, shown;
    size_t bytes;
    uint32_t allocations;
    const struct leaf *last; /* the leaf before */
};

static void add_bytes(struct sums *s, size_t size) {
    s->bytes += mem_size(size);
    s->allocations++;
}

static bool ascends(const struct leaf *a, unsigned i, const struct leaf *b, unsigned j) {
    double x = leaf_score(a, i), y = leaf_score(b, j);
    return x < y || (x == y && span_order(leaf_member(a, i), leaf_member(b, j)) < 0);
}

static unsigned places_of(const struct btree *t, uint64_t hash, const struct leaf *l) {
    unsigned n = 0;
    const struct bucket *b = index_at(&t->index, index_bucket(&t->index, hash));
    for (; b != NULL; b = bucket_next(b))
        for (unsigned m = bucket_match(b, bucket_print(hash)); m != 0; m &= m - 1)
            n += bucket_address(b, (unsigned)__builtin_ctz(m)) == l;
    return n;
}

static void check_element(const struct btree *t, const struct leaf *l, unsigned i, struct sums *s) {
    struct span member = leaf_member(l, i);
    uint64_t hash = hash_of(member);
    s->elements++;
    ASSERT(leaf_score(l, i) == leaf_score(l, i)); /* no NaN */
    if (i > 0)
        ASSERT(ascends(l, i - 1, l, i));
    ASSERT(leaf_is_far(l, i) == (member.len > LEAF_MEMBER_MAX));
    if (leaf_is_far(l, i))
        add_bytes(s, member.len);
    if (leaf_print(l, i) == 0)
        return;
    s->shown++;
    ASSERT(leaf_print(l, i) == leaf_print_of(hash));
    ASSERT(places_of(t, hash, l) > 0);
    struct spot at;
    ASSERT(btree_find(t, member, hash, &at));
    ASSERT(at.leaf == l);
    ASSERT(at.place == i);
}

static void check_leaf(const struct btree *t, const struct leaf *l, struct sums *s) {
    unsigned bytes = 0;
    add_bytes(s, sizeof *l);
    ASSERT(l->prev == s->last);
    ASSERT(s->last == NULL ? t->first == l : s->last->next == l);
    ASSERT(l->count > 0 || t->root == l);
    ASSERT(l->count <= LEAF_ELEMENTS_MAX);
    if (l->prev != NULL)
        ASSERT(ascends(l->prev, l->prev->count - 1U, l, 0));
    for (unsigned i = 0; i < l->count; i++) {
        check_element(t, l, i, s);
        bytes += leaf_size(l, i) - LEAF_ELEMENT;
    }
    ASSERT(bytes + l->holes == NODE_BYTES - (unsigned)l->low);
    ASSERT(l->low >= LEAF_HEADER + l->count * LEAF_ELEMENT);
    s->last = l;
}

/* at_most: whether an element is not above a separator; at_least: not below. */
static bool at_most(const struct leaf *l, unsigned i, double score, uint64_t prefix) {
    double is = leaf_score(l, i);
    return is < score || (is == score && span_prefix(leaf_member(l, i)) <= prefix);
}
static bool at_least(const struct leaf *l, unsigned i, double score, uint64_t prefix) {
    double is = leaf_score(l, i);
    return is > score || (is == score && span_prefix(leaf_member(l, i)) >= prefix);
}

static const struct leaf *edge(const void *node, bool is_leaf, bool right) {
    while (!is_leaf) {
        const struct inner *p = node;
        node = p->child[right ? p->count - 1 : 0];
        is_leaf = p->leaves;
    }
    return node;
}

static void check_node(const struct btree *t, const void *node, bool is_leaf,
                       const struct inner *parent, struct sums *s) {
    const struct inner *p = node;
    ASSERT(p->parent == parent);
    if (is_leaf) {
        check_leaf(t, node, s);
        return;
    }
    add_bytes(s, sizeof *p);
    ASSERT(p->count > (parent == NULL));
    ASSERT(p->count <= INNER_CHILDREN);
    for (unsigned i = 0; i < p->count; i++) {
        uint64_t before = s->elements;
        check_node(t, p->child[i], p->leaves, p, s);
        ASSERT(s->elements - before == p->elements[i]);
        if (i == 0)
            continue;
        const struct leaf *left = edge(p->child[i - 1], p->leaves, true);
        ASSERT(at_most(left, left->count - 1U, p->score[i], p->prefix[i]));
        ASSERT(at_least(edge(p->child[i], p->leaves, false), 0, p->score[i], p->prefix[i]));
    }
}

/* check_index: as many places as elements that are shown, and what its memory is. */
static void check_index(const struct btree *t, struct sums *s) {
    const struct member_index *x = &t->index;
    uint64_t places = 0, overflows = 0;
    ASSERT(x->spare == NULL);
    ASSERT(x->base <= x->bucket_count);
    ASSERT(x->bucket_count <= x->base * 2);
    for (uint32_t i = 0; i < x->bucket_count; i++) {
        unsigned items;
        overflows += chain_len(index_at(x, i), &items) - 1;
        places += items;
    }
    ASSERT(places == s->shown);
    ASSERT(overflows == x->overflows.count);
    for (; overflows > 0; overflows--)
        add_bytes(s, sizeof(struct bucket));
    uint32_t segments = (x->bucket_count + INDEX_SEGMENT - 1) / INDEX_SEGMENT;
    for (uint32_t i = 0; i < segments; i++)
        add_bytes(s, (i + 1 == segments ? x->last_cap : INDEX_SEGMENT) * sizeof(struct bucket));
    add_bytes(s, x->segment_cap * sizeof *x->segments);
}

void btree_check(const struct btree *t) {
    struct sums s = {0};
    add_bytes(&s, sizeof *t);
    check_node(t, t->root, t->root_is_leaf, NULL, &s);
    ASSERT(t->last == s.last);
    ASSERT(s.last->next == NULL);
    ASSERT(t->spares == NULL);
    check_index(t, &s);
    ASSERT(s.elements == t->o.count);
    ASSERT(s.bytes == t->o.bytes);
    ASSERT(s.allocations == t->o.weight);
}
