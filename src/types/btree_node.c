/* btree_node.c: splitting and joining leaves and inner nodes. btree_impl.h says when. */
#include "btree_impl.h"

enum {
    /* A neighbour is asked to take elements when so much of it is free: with less, every other insert would move some. */
    SHIFT_FREE = LEAF_ROOM / 16,
    /* A leaf with less in it is joined with a neighbour, if so much stays free then. */
    LEAF_USED_MIN = LEAF_ROOM / 2,
    JOINED_FREE = LEAF_ROOM / 6,
    INNER_USED_MIN = INNER_CHILDREN / 3,
    INNER_JOINED_MAX = INNER_CHILDREN * 5 / 6
};

static_assert((LEAF_ROOM - JOINED_FREE) / (LEAF_ELEMENT + 1) <= LEAF_ELEMENTS_MAX,
              "what is joined has no more elements than a leaf");

/* What a child begins at. */
struct separator {
    double score;
    uint64_t prefix;
};

static struct separator begin_of(const struct leaf *l) {
    return (struct separator){leaf_score(l, 0), span_prefix(leaf_member(l, 0))};
}

static void set_separator(struct inner *p, unsigned i, struct separator s) {
    p->score[i] = s.score;
    p->prefix[i] = s.prefix;
}

/* parent_of: leaves and inner nodes begin with it. */
static struct inner *parent_of(const void *node) {
    return *(struct inner *const *)node;
}
static void set_parent(void *node, struct inner *p) {
    *(struct inner **)node = p;
}

unsigned btree_node_index(const struct inner *p, const void *child) {
    unsigned i = 0;
    while (p->child[i] != child)
        i++;
    return i;
}

void btree_node_count(struct leaf *l, int64_t more) {
    const void *child = l;
    for (struct inner *p = l->parent; p != NULL; child = p, p = p->parent) {
        unsigned i = btree_node_index(p, child);
        p->elements[i] = (uint32_t)(p->elements[i] + more);
    }
}

static unsigned sum(const struct inner *p) {
    unsigned n = 0;
    for (unsigned i = 0; i < p->count; i++)
        n += p->elements[i];
    return n;
}

/* --- inner nodes --- */

/* open_children: room for n of them at i. close_children: forgets n. */
static void open_children(struct inner *p, unsigned i, unsigned n) {
    unsigned behind = p->count - i;
    memmove(p->score + i + n, p->score + i, behind * sizeof *p->score);
    memmove(p->prefix + i + n, p->prefix + i, behind * sizeof *p->prefix);
    memmove(p->child + i + n, p->child + i, behind * sizeof *p->child);
    memmove(p->elements + i + n, p->elements + i, behind * sizeof *p->elements);
    p->count = (uint16_t)(p->count + n);
}

static void close_children(struct inner *p, unsigned i, unsigned n) {
    unsigned behind = p->count - i - n;
    memmove(p->score + i, p->score + i + n, behind * sizeof *p->score);
    memmove(p->prefix + i, p->prefix + i + n, behind * sizeof *p->prefix);
    memmove(p->child + i, p->child + i + n, behind * sizeof *p->child);
    memmove(p->elements + i, p->elements + i + n, behind * sizeof *p->elements);
    p->count = (uint16_t)(p->count - n);
}

/* move_children: those from i on, to the end of another node. */
static void move_children(struct inner *from, unsigned i, struct inner *to) {
    unsigned n = from->count - i, at = to->count;
    memcpy(to->score + at, from->score + i, n * sizeof *to->score);
    memcpy(to->prefix + at, from->prefix + i, n * sizeof *to->prefix);
    memcpy(to->child + at, from->child + i, n * sizeof *to->child);
    memcpy(to->elements + at, from->elements + i, n * sizeof *to->elements);
    for (unsigned k = 0; k < n; k++)
        set_parent(to->child[at + k], to);
    to->count = (uint16_t)(at + n);
    from->count = (uint16_t)i;
}

static void put_child(struct inner *p, unsigned i, void *child, struct separator s,
                      unsigned elements) {
    open_children(p, i, 1);
    set_separator(p, i, s);
    p->child[i] = child;
    p->elements[i] = elements;
    set_parent(child, p);
}

static void *take_spare(struct btree *t) {
    struct inner *node = t->spares;
    ASSERT(node != NULL);
    t->spares = node->parent;
    return node;
}

static struct inner *inner_new(struct btree *t, bool leaves) {
    struct inner *p = take_spare(t);
    p->parent = NULL;
    p->count = 0;
    p->leaves = leaves;
    return p;
}

/* link_after: `fresh` is the right neighbour of `child` from now on, begins at s, and `moved` of child's elements are in it. */
static void link_after(struct btree *t, void *child, void *fresh, struct separator s,
                       unsigned moved) {
    while (parent_of(child) != NULL) {
        struct inner *p = parent_of(child);
        unsigned i = btree_node_index(p, child);
        p->elements[i] -= moved;
        if (p->count < INNER_CHILDREN) {
            put_child(p, i + 1, fresh, s, moved);
            return;
        }
        /* What comes in order leaves full nodes behind. */
        unsigned cut = i + 1 == INNER_CHILDREN ? INNER_CHILDREN : INNER_CHILDREN / 2;
        struct separator up =
            cut == INNER_CHILDREN ? s : (struct separator){p->score[cut], p->prefix[cut]};
        struct inner *q = inner_new(t, p->leaves);
        move_children(p, cut, q);
        if (i + 1 > cut || cut == INNER_CHILDREN)
            put_child(q, i + 1 - cut, fresh, s, moved);
        else
            put_child(p, i + 1, fresh, s, moved);
        child = p;
        fresh = q;
        s = up;
        moved = sum(q);
    }
    struct inner *root = inner_new(t, t->root_is_leaf);
    put_child(root, 0, child, s, (unsigned)t->o.count - moved);
    put_child(root, 1, fresh, s, moved);
    t->root = root;
    t->root_is_leaf = false;
}

/* reserve: nodes for the split of a leaf and of all that are full above it. */
static bool reserve(struct btree *t, const struct leaf *l) {
    unsigned need = 1;
    const struct inner *p = l->parent;
    for (; p != NULL && p->count == INNER_CHILDREN; p = p->parent)
        need++;
    need += p == NULL;
    ASSERT(t->spares == NULL);
    for (; need > 0; need--) {
        struct inner *node = btree_alloc(t, NODE_BYTES);
        if (node == NULL)
            break;
        node->parent = t->spares;
        t->spares = node;
    }
    while (need > 0 && t->spares != NULL)
        btree_free(t, take_spare(t), NODE_BYTES);
    return need == 0;
}

/* --- leaves --- */

/* move: elements between leaves, and their places in the index with them. */
static void move(struct btree *t, struct leaf *from, unsigned i, unsigned n, struct leaf *to,
                 unsigned j) {
    uint64_t hash[LEAF_ELEMENTS_MAX];
    for (unsigned k = 0; k < n; k++) {
        hash[k] = hash_of(leaf_member(from, i + k));
        prefetch(index_at(&t->index, index_bucket(&t->index, hash[k])));
    }
    btree_leaf_move(from, i, n, to, j);
    for (unsigned k = 0; k < n; k++)
        if (likely(leaf_print(to, j + k) != 0))
            btree_index_repoint(t, hash[k], from, to);
}

static unsigned shift_up(struct btree *t, struct leaf *l, unsigned i, unsigned bytes) {
    struct inner *p = l->parent;
    struct leaf *r = p->child[i + 1];
    unsigned n = 0, size;
    while (n + 1 < l->count && r->count + n < LEAF_ELEMENTS_MAX &&
           (size = leaf_size(l, l->count - n - 1)) <= bytes) {
        bytes -= size;
        n++;
    }
    if (n == 0)
        return 0;
    move(t, l, l->count - n, n, r, 0);
    set_separator(p, i + 1, begin_of(r));
    p->elements[i] -= n;
    p->elements[i + 1] += n;
    return n;
}

static unsigned shift_down(struct btree *t, struct leaf *l, unsigned i, unsigned bytes) {
    struct inner *p = l->parent;
    struct leaf *r = p->child[i - 1];
    unsigned n = 0, size;
    while (n + 1 < l->count && r->count + n < LEAF_ELEMENTS_MAX &&
           (size = leaf_size(l, n)) <= bytes) {
        bytes -= size;
        n++;
    }
    if (n == 0)
        return 0;
    move(t, l, 0, n, r, r->count);
    set_separator(p, i, begin_of(l));
    p->elements[i] -= n;
    p->elements[i - 1] += n;
    return n;
}

/* shift: hands some of a full leaf to the neighbour with more room; true when `need` fits at *at then. */
static bool shift(struct btree *t, struct spot *at, unsigned need) {
    struct leaf *l = at->leaf;
    struct inner *p = l->parent;
    if (p == NULL)
        return false;
    unsigned i = btree_node_index(p, l), n;
    struct leaf *left = i > 0 ? p->child[i - 1] : NULL;
    struct leaf *right = i + 1 < p->count ? p->child[i + 1] : NULL;
    unsigned left_free = left != NULL ? leaf_free(left) : 0;
    unsigned right_free = right != NULL ? leaf_free(right) : 0;
    unsigned most = left_free > right_free ? left_free : right_free, own = leaf_free(l);
    if (most < SHIFT_FREE || most < own + 2 * need)
        return false;
    if (right_free >= left_free) {
        n = shift_up(t, l, i, (most - own) / 2);
        if (n != 0 && at->place > l->count)
            *at = (struct spot){right, at->place - l->count};
    } else {
        unsigned before = left->count;
        n = shift_down(t, l, i, (most - own) / 2);
        if (n == 0)
            return false;
        *at = at->place <= n ? (struct spot){left, before + at->place}
                             : (struct spot){l, at->place - n};
    }
    return leaf_fits(at->leaf, need);
}

static struct leaf *leaf_new_after(struct btree *t, struct leaf *l) {
    struct leaf *r = take_spare(t);
    btree_leaf_init(r);
    r->prev = l;
    r->next = l->next;
    if (l->next != NULL)
        l->next->prev = r;
    else
        t->last = r;
    l->next = r;
    return r;
}

/* cut_of: how many elements stay on the left so that both halves are about equal with what comes. */
static unsigned cut_of(const struct leaf *l, unsigned place, unsigned need) {
    unsigned half = (LEAF_ROOM - leaf_free(l) + need) / 2, bytes = 0, i = 0;
    for (; i < l->count; i++) {
        bytes += (i == place ? need : 0) + leaf_size(l, i);
        if (bytes >= half)
            break;
    }
    ASSERT(i < l->count);
    return i > 0 ? i : 1;
}

bool btree_node_make_room(struct btree *t, struct spot *at, unsigned need, const struct bound *b) {
    if (likely(leaf_fits(at->leaf, need)))
        return true;
    struct leaf *l = at->leaf;
    /* What is added at the end leaves full leaves behind. */
    bool append = l->next == NULL && at->place == l->count;
    if (!append && shift(t, at, need))
        return true;
    l = at->leaf;
    if (!reserve(t, l))
        return false;
    struct leaf *r = leaf_new_after(t, l);
    if (append) {
        link_after(t, l, r, (struct separator){b->score, b->prefix}, 0);
        *at = (struct spot){r, 0};
    } else {
        unsigned cut = cut_of(l, at->place, need), n = l->count - cut;
        move(t, l, cut, n, r, 0);
        link_after(t, l, r, begin_of(r), n);
        if (at->place > cut)
            *at = (struct spot){r, at->place - cut};
    }
    ASSERT(t->spares == NULL);
    ASSERT(leaf_fits(at->leaf, need));
    return true;
}

/* --- joining --- */

/* unlink_child: forgets and frees a node that has nothing in it any more, and what is above it as long as that is so. */
static void unlink_child(struct btree *t, void *child) {
    struct inner *p;
    while ((p = parent_of(child)) != NULL) {
        close_children(p, btree_node_index(p, child), 1);
        btree_free(t, child, NODE_BYTES);
        if (p->count != 0)
            break;
        child = p;
    }
    ASSERT(p != NULL);
    /* An inner node with few children joins the one on its left, or the one on its right joins it. */
    for (struct inner *up = p->parent; up != NULL && p->count < INNER_USED_MIN; up = p->parent) {
        unsigned i = btree_node_index(up, p);
        if (i == 0 && up->count == 1)
            break;
        unsigned right = i > 0 ? i : 1;
        struct inner *into = up->child[right - 1], *from = up->child[right];
        if (into->count + from->count > INNER_JOINED_MAX)
            break;
        set_separator(from, 0, (struct separator){up->score[right], up->prefix[right]});
        up->elements[right - 1] += up->elements[right];
        move_children(from, 0, into);
        close_children(up, right, 1);
        btree_free(t, from, NODE_BYTES);
        p = up;
    }
    for (struct inner *root = t->root; !t->root_is_leaf && root->count == 1; root = t->root) {
        t->root = root->child[0];
        t->root_is_leaf = root->leaves;
        set_parent(t->root, NULL);
        btree_free(t, root, NODE_BYTES);
    }
}

static void unlink_leaf(struct btree *t, struct leaf *l) {
    if (l->prev != NULL)
        l->prev->next = l->next;
    else
        t->first = l->next;
    if (l->next != NULL)
        l->next->prev = l->prev;
    else
        t->last = l->prev;
    unlink_child(t, l);
}

void btree_node_settle(struct btree *t, struct leaf *l) {
    struct inner *p = l->parent;
    if (likely(LEAF_ROOM - leaf_free(l) >= LEAF_USED_MIN) || p == NULL)
        return;
    if (l->count == 0) {
        unlink_leaf(t, l);
        return;
    }
    if (p->count == 1)
        return;
    unsigned i = btree_node_index(p, l), right = i > 0 ? i : 1;
    struct leaf *into = p->child[right - 1], *from = p->child[right];
    if (leaf_free(into) < LEAF_ROOM - leaf_free(from) + JOINED_FREE)
        return;
    p->elements[right - 1] += from->count;
    p->elements[right] -= from->count;
    move(t, from, 0, from->count, into, into->count);
    unlink_leaf(t, from);
}
