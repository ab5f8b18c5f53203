/* btree_impl.h: a B+tree of (score, member) that knows ranks, and an index from members to leaves; for this room only.
 *
 *     leaf, 1,024 bytes
 *     | parent 8 | next 8 | prev 8 | count 2 | low 2 | holes 2 | - 2 |
 *     | print 2, place 2 | ...  count of them, in order              |
 *     | score 8 | ...           as many                              |
 *     |          free                                                |
 *     | len 1, bytes | len 1, bytes | ... in any order, from `low` on, `holes` bytes of them unused
 *
 *     A member longer than LEAF_MEMBER_MAX lies in an allocation of its own: | 0xff | address 8 | len 4 |
 *
 *     inner node, 1,024 bytes
 *     | parent 8 | count 2 | leaves 1 | - 5 | score 8 x 36 | prefix 8 x 36 | child 8 x 36 | elements 4 x 36 |
 *
 *     index: a linear hash of cache lines (shards/bucket.h) whose places hold the address of the LEAF of a member and 8
 *     bits of its hash; the leaf has 16 bits of it, and the same 8 are the lower ones of them.
 *
 * Why         beside its member and its score an element costs 5 bytes in its leaf, 10 in the index, and what is not full: 14 bytes
 *             of member take 45 in all, 40 when they came in order.
 * Searching   child i of an inner node begins at its separator (score and first 8 bytes of a member, big endian). No element
 *             left of child i is above it in (score, prefix), no element in child i below. When those of the element sought
 *             are equal to the separator's, the first element of child i decides; so sets of equal scores, and of members with
 *             equal beginnings, cost a few more cache lines and nothing in memory. Separators need not be renewed
 *             when elements go.
 * Moving      a full leaf first hands elements to a neighbour under the same parent, and is split when neither has room; one
 *             with little in it joins a neighbour. Whatever moves has its place in the index changed.
 * Updates     a new score is a new element; the old one is hidden (print 0, not in the index) until all pairs of a command are
 *             in, and shown again if one of them fails. Hiding and showing take no memory.
 * Threads     the holder of the shard of `mem`; reading functions do not write.
 * Invariants  (1) elements ascend, over all leaves. (2) elements[i] of an inner node is how many child i has, hidden ones
 *             included. (3) every element that is not hidden has one place in the index, in the chain of its hash, that
 *             names its leaf. (4) no element is hidden between commands. (5) no node but the root is empty.
 */
#ifndef TYPES_BTREE_IMPL_H
#define TYPES_BTREE_IMPL_H

#include "shards/assert.h"
#include "shards/chain.h"
#include "shards/hash.h"
#include "shards/mem.h"
#include "shards/object.h"
#include "shards/span.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    NODE_BYTES = 1024,
    LEAF_HEADER = 32,
    LEAF_ROOM = NODE_BYTES - LEAF_HEADER,
    LEAF_PAIR = 4,
    LEAF_ELEMENT = LEAF_PAIR + 8, /* of an element, beside its member */
    LEAF_ELEMENTS_MAX = 64,       /* a bit for each in one word */
    LEAF_MEMBER_MAX = 127,        /* with longer ones too much of a leaf would stay empty */
    LEAF_FAR = 0xff,
    LEAF_FAR_BYTES = 13,
    INNER_CHILDREN = 36
};

struct inner;
struct mover;

struct leaf {
    struct inner *parent; /* first, as in struct inner */
    struct leaf *next, *prev;
    uint16_t count, low, holes, unused;
    uint8_t room[LEAF_ROOM];
};
static_assert(sizeof(struct leaf) == NODE_BYTES, "one size class");

struct inner {
    struct inner *parent;
    uint16_t count;
    bool leaves; /* its children are leaves */
    double score[INNER_CHILDREN];
    uint64_t prefix[INNER_CHILDREN]; /* those of child 0 mean nothing */
    void *child[INNER_CHILDREN];
    uint32_t elements[INNER_CHILDREN];
};
static_assert(sizeof(struct inner) == NODE_BYTES, "one size class");

struct member_index {
    struct bucket **segments;
    uint32_t segment_cap;
    uint32_t last_cap; /* buckets that the last segment has room for; it grows by doubling */
    uint32_t bucket_count;
    uint32_t base; /* a power of two; base <= bucket_count <= 2 * base */
    struct overflows overflows;
    uint64_t overflows_counted; /* in object.bytes */
    struct bucket *spare;       /* for the place that is reserved */
};

struct btree {
    struct object o;
    struct mem *mem; /* of who writes now */
    void *root;
    struct leaf *first, *last;
    struct inner *spares; /* nodes for the split that is coming, linked by parent */
    struct member_index index;
    bool root_is_leaf;
};

/* Where an element is, or would be: place <= leaf->count. */
struct spot {
    struct leaf *leaf;
    unsigned place;
};

/* What is sought: the first element that is not below. */
struct bound {
    double score;
    struct span member;
    uint64_t prefix;
    bool by_score, by_member; /* what is compared, in this order */
    bool or_equal;            /* what is equal in these is below as well */
};

/* --- btree.c: order, ranks, elements --- */
MUST_CHECK struct btree *btree_create(struct mem *m);
/* btree_create_for: with an index for n elements. O(n). */
MUST_CHECK struct btree *btree_create_for(struct mem *m, uint64_t n);
/* btree_copy_far: a long member's bytes; NULL in *far: it is not long. False: no memory. */
MUST_CHECK bool btree_copy_far(struct btree *t, struct span member, void **far);
struct bound btree_bound(double score, struct span member);
/* btree_seek: *rank (NULL: not asked for) is how many elements are before it. O(log N). */
struct spot btree_seek(const struct btree *t, const struct bound *b, uint64_t *rank);
/* btree_at: rank < count. btree_rank: of an element. O(log N). */
struct spot btree_at(const struct btree *t, uint64_t rank);
uint64_t btree_rank(struct spot at);
/* btree_find: one that is not hidden. O(1). */
bool btree_find(const struct btree *t, struct span member, uint64_t hash, struct spot *out);
/* btree_insert: an element that is not in, hidden or not, at *out. False: no memory. */
MUST_CHECK bool btree_insert(struct btree *t, double score, struct span member, uint64_t hash,
                             bool hidden, struct spot *out);
/* btree_show: shows a hidden element instead of another one of that member, which is hidden then. */
void btree_show(struct btree *t, struct spot hidden, struct spot shown, uint64_t hash);
/* btree_slide: gives an element another score if it stays in its leaf; false: it does not, and nothing has changed. */
bool btree_slide(struct spot at, double score);
/* btree_drop: takes out n elements of one leaf, with their places in the index unless they are hidden. */
void btree_drop(struct btree *t, struct spot at, unsigned n);
bool btree_destroy_some(struct mem *m, struct object *o, unsigned *budget);
/* btree_destroy: here and now. */
void btree_destroy(struct btree *t);
/* --- btree_load.c: a tree of elements that come in order --- */
struct btree_load {
    struct btree *t;
    /* Of the elements of the last leaf, which has none of their scores and is not in the index yet. */
    double scores[LEAF_ELEMENTS_MAX];
    uint64_t hashes[LEAF_ELEMENTS_MAX];
};
/* btree_load_begin: about n are to come. btree_load_add: the next one; its bytes are copied at once. btree_load_end: the tree,
 * NULL: no memory. Each of them: when it fails there is nothing left of the tree. O(1) each. */
MUST_CHECK bool btree_load_begin(struct btree_load *b, struct mem *m, uint64_t n);
MUST_CHECK bool btree_load_add(struct btree_load *b, double score, struct span member);
MUST_CHECK struct btree *btree_load_end(struct btree_load *b);
/* --- btree_defrag.c: as struct val_ops says --- */
struct object *btree_defrag_some(struct mover *v, struct object *o, uint64_t *cursor);
/* --- btree_check.c: asserts all invariants but (4). O(N). --- */
void btree_check(const struct btree *t);

/* --- btree_node.c: where leaves and inner nodes are split and joined --- */
/* btree_node_make_room: for `need` bytes at *at, which may come to lie elsewhere. b: what is inserted. False: no memory. */
MUST_CHECK bool btree_node_make_room(struct btree *t, struct spot *at, unsigned need,
                                     const struct bound *b);
/* btree_node_settle: after elements went from a leaf: joins it with a neighbour, frees it when it is empty. */
void btree_node_settle(struct btree *t, struct leaf *l);
/* btree_node_count: a leaf has `more` elements more; adds that up to the root. */
void btree_node_count(struct leaf *l, int64_t more);
unsigned btree_node_index(const struct inner *p, const void *child);

/* --- btree_leaf.c: bytes of a leaf --- */
void btree_leaf_init(struct leaf *l);
/* btree_leaf_put: an element for which there is room; far: the copy of a long member. */
void btree_leaf_put(struct leaf *l, unsigned place, double score, uint16_t print,
                    struct span member, void *far);
/* btree_leaf_push: at the end of a leaf without holes in which there is room, without a score; when all of them are in,
 * btree_leaf_set_scores. */
void btree_leaf_push(struct leaf *l, uint16_t print, struct span member, void *far);
void btree_leaf_set_scores(struct leaf *l, const double *scores);
/* btree_leaf_move: n elements from place i on to another leaf that has room, at place j. */
void btree_leaf_move(struct leaf *from, unsigned i, unsigned n, struct leaf *to, unsigned j);
/* btree_leaf_cut: forgets n elements. */
void btree_leaf_cut(struct leaf *l, unsigned place, unsigned n);
/* btree_leaf_turn: the element at place i comes to lie at place j, what is between moves up or down. */
void btree_leaf_turn(struct leaf *l, unsigned i, unsigned j);
/* btree_leaf_match: a bit for each element whose print is `want` in the bits of mask. */
uint64_t btree_leaf_match(const struct leaf *l, uint16_t mask, uint16_t want);

/* --- btree_index.c: from members to leaves --- */
/* btree_index_begin: for n elements, as large as if it had grown with them. False: no memory, and nothing is left of it. */
MUST_CHECK bool btree_index_begin(struct btree *t, uint64_t n);
/* btree_index_put: of the n elements of a new leaf, without growing. False: no memory for all of them. */
MUST_CHECK bool btree_index_put(struct btree *t, struct leaf *l, const uint64_t *hashes);
/* btree_index_reserve: before btree_index_add, which cannot fail; unreserve: when it is not to come. */
MUST_CHECK bool btree_index_reserve(struct btree *t, uint64_t hash);
void btree_index_unreserve(struct btree *t);
void btree_index_add(struct btree *t, uint64_t hash, struct leaf *l);
void btree_index_remove(struct btree *t, uint64_t hash, const struct leaf *l);
void btree_index_repoint(struct btree *t, uint64_t hash, const struct leaf *from, struct leaf *to);
/* btree_index_scan: cursor < BUCKET_SCAN_END; visits the elements of one bucket, returns where to go on. */
uint64_t btree_index_scan(const struct btree *t, uint64_t cursor,
                          void (*visit)(void *arg, struct spot at), void *arg);
/* btree_index_end_some: frees about *budget allocations from the end; true when nothing is left. */
bool btree_index_end_some(struct btree *t, unsigned *budget);

/* --- memory, which the object counts --- */
void *btree_alloc(struct btree *t, size_t size) MUST_CHECK;
void btree_free(struct btree *t, void *p, size_t size);
struct bucket *btree_alloc_buckets(struct btree *t, size_t n) MUST_CHECK; /* empty ones */
void btree_free_buckets(struct btree *t, struct bucket *b, size_t n);

/* --- inline --- */
static inline uint32_t index_bucket(const struct member_index *x, uint64_t hash) {
    uint32_t i = (uint32_t)hash & (x->base * 2 - 1);
    return i < x->bucket_count ? i : i - x->base;
}
enum { INDEX_SEGMENT = 1024 /* buckets */ };
static inline struct bucket *index_at(const struct member_index *x, uint32_t i) {
    return &x->segments[i / INDEX_SEGMENT][i % INDEX_SEGMENT];
}

/* leaf_print: 16 bits of a hash, of which the lower 8 are bucket_print: never 0. */
static inline uint16_t leaf_print_of(uint64_t hash) {
    return (uint16_t)((hash >> 40 & 0xff) << 8 | bucket_print(hash));
}
static inline uint16_t leaf_print(const struct leaf *l, unsigned i) {
    uint16_t print;
    memcpy(&print, l->room + i * LEAF_PAIR, sizeof print);
    return print;
}
static inline void leaf_set_print(struct leaf *l, unsigned i, uint16_t print) {
    memcpy(l->room + i * LEAF_PAIR, &print, sizeof print);
}
static inline const uint8_t *leaf_bytes(const struct leaf *l, unsigned i) {
    uint16_t place;
    memcpy(&place, l->room + i * LEAF_PAIR + sizeof place, sizeof place);
    return (const uint8_t *)l + place;
}
static inline double leaf_score(const struct leaf *l, unsigned i) {
    double score;
    memcpy(&score, l->room + l->count * LEAF_PAIR + i * sizeof score, sizeof score);
    return score;
}
static inline void leaf_set_score(struct leaf *l, unsigned i, double score) {
    memcpy(l->room + l->count * LEAF_PAIR + i * sizeof score, &score, sizeof score);
}
static inline bool leaf_is_far(const struct leaf *l, unsigned i) {
    return *leaf_bytes(l, i) == LEAF_FAR;
}
static inline struct span leaf_member(const struct leaf *l, unsigned i) {
    const uint8_t *p = leaf_bytes(l, i);
    if (likely(*p != LEAF_FAR))
        return (struct span){(const char *)p + 1, *p};
    const char *far;
    uint32_t len;
    memcpy(&far, p + 1, sizeof far);
    memcpy(&len, p + 1 + sizeof far, sizeof len);
    return (struct span){far, len};
}
/* leaf_need: what an element takes in a leaf. leaf_size: what this one does. */
static inline unsigned leaf_need(size_t member_len) {
    return LEAF_ELEMENT +
           (member_len <= LEAF_MEMBER_MAX ? 1 + (unsigned)member_len : LEAF_FAR_BYTES);
}
static inline unsigned leaf_size(const struct leaf *l, unsigned i) {
    uint8_t len = *leaf_bytes(l, i);
    return LEAF_ELEMENT + (len == LEAF_FAR ? LEAF_FAR_BYTES : 1U + len);
}
static inline unsigned leaf_free(const struct leaf *l) {
    return l->low + (unsigned)l->holes - LEAF_HEADER - l->count * (unsigned)LEAF_ELEMENT;
}
static inline bool leaf_fits(const struct leaf *l, unsigned need) {
    return leaf_free(l) >= need && l->count < LEAF_ELEMENTS_MAX;
}

/* span_order: memcmp, the shorter one first. span_prefix: its first 8 bytes as a number of the same order. */
static inline int span_order(struct span a, struct span b) {
    int c = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return c != 0 ? c : (a.len > b.len) - (a.len < b.len);
}
static inline uint64_t span_prefix(struct span s) {
    uint64_t prefix = 0;
    memcpy(&prefix, s.ptr, s.len < sizeof prefix ? s.len : sizeof prefix);
    return __builtin_bswap64(prefix);
}

#endif
