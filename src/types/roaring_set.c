/* roaring_set.c: integers of 64 bits: a bitmap for each upper half, in numeric order. See roaring_impl.h. */
#include "anax/setval.h"
#include "roaring_impl.h"
#include "shards/assert.h"
#include <string.h>

enum {
    SLACK_BYTES =
        32 * 1024, /* of what CRoaring needs while it works on one container: two bitsets */
    CONTAINER_BYTES_MOST = 96 /* of one, beside two bytes for an integer and as much as slack */
};

static int32_t high_of(int64_t v) {
    return (int32_t)(v >> 32);
}

static int64_t value_of(int32_t high, uint32_t low) {
    return (int64_t)((uint64_t)(uint32_t)high << 32 | low);
}

static void count(struct roaring *r, int64_t by) {
    r->ints += (uint64_t)by;
    r->o.count += (uint64_t)by;
}

/* count_one: more or less in part `at`. */
static void count_one(struct roaring *r, uint32_t at, int64_t by) {
    count(r, by);
    if (r->group != NULL)
        r->group[at / PART_GROUP] += (uint64_t)by;
}

/* --- parts --- */

/* place_of: the first part whose upper half is not less. */
static uint32_t place_of(const struct roaring *r, int32_t high) {
    uint32_t base = 0, n = r->parts;
    while (n > 0) {
        uint32_t half = n / 2;
        if (r->part[base + half].high < high) {
            base += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return base;
}

static struct roaring_part *find_part(const struct roaring *r, int32_t high) {
    uint32_t at = place_of(r, high);
    return at < r->parts && r->part[at].high == high ? &r->part[at] : NULL;
}

static size_t group_bytes(uint32_t cap) {
    return cap > PART_GROUP ? cap / PART_GROUP * sizeof(uint64_t) : 0;
}

static size_t lists_bytes(uint32_t cap) {
    size_t groups = group_bytes(cap);
    return (cap == 0 ? 0 : mem_size(cap * sizeof(struct roaring_part))) +
           (groups == 0 ? 0 : mem_size(groups));
}

/* recount: of the groups from that of part `at` on. */
static void recount(struct roaring *r, uint32_t at) {
    if (r->group == NULL)
        return;
    uint32_t end = r->cap / PART_GROUP;
    for (uint32_t g = at / PART_GROUP; g < end; g++) {
        r->group[g] = 0;
        for (uint32_t i = g * PART_GROUP; i < r->parts && i < (g + 1) * PART_GROUP; i++)
            r->group[g] += r->part[i].count;
    }
}

static bool resize(struct mem *m, struct roaring *r, uint32_t cap) {
    size_t groups = group_bytes(cap);
    uint64_t *group = groups == 0 ? NULL : mem_alloc(m, groups);
    if (groups != 0 && group == NULL)
        return false;
    struct roaring_part *part =
        mem_realloc(m, r->part, r->cap * sizeof(*part), cap * sizeof(*part));
    if (part == NULL) {
        mem_free(m, group, groups);
        return false;
    }
    mem_free(m, r->group, group_bytes(r->cap));
    r->o.bytes += lists_bytes(cap) - lists_bytes(r->cap);
    r->group = group;
    r->part = part;
    r->cap = cap;
    recount(r, 0);
    return true;
}

/* insert: a part that is counted in r.o already. */
static bool insert(struct mem *m, struct roaring *r, uint32_t at, const struct roaring_part *p) {
    if (r->parts == r->cap && !resize(m, r, r->cap == 0 ? 1 : r->cap * 2))
        return false;
    memmove(r->part + at + 1, r->part + at, (r->parts - at) * sizeof(*r->part));
    r->part[at] = *p;
    r->parts++;
    recount(r, at);
    return true;
}

static void drop_part(struct mem *m, struct roaring *r, uint32_t at) {
    unsigned budget = UINT32_MAX;
    bool gone = roaring_part_drop(m, &r->o, &r->part[at], &budget);
    ASSERT(gone);
    r->parts--;
    memmove(r->part + at, r->part + at + 1, (r->parts - at) * sizeof(*r->part));
    /* without memory for shorter lists these will do */
    if (r->parts == 0 || r->parts > r->cap / 4 || !resize(m, r, r->cap / 2))
        recount(r, at);
}

/* --- life --- */

struct roaring *roaring_set_create(struct mem *m) {
    struct roaring *r = mem_zalloc(m, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->o = (struct object){.type = VALUE_SET,
                           .form = VAL_ROARING,
                           .weight = 2,
                           .bytes = mem_size(sizeof(*r)),
                           .due_ms = OBJECT_NEVER};
    return r;
}

bool roaring_set_drop(struct mem *m, struct roaring *r, unsigned *budget) {
    while (r->parts > 0) {
        struct roaring_part *p = &r->part[r->parts - 1];
        uint64_t before = p->count;
        if (!roaring_part_drop(m, &r->o, p, budget))
            return false;
        count(r, -(int64_t)before);
        r->parts--;
    }
    r->o.bytes -= lists_bytes(r->cap);
    mem_free(m, r->part, r->cap * sizeof(*r->part));
    mem_free(m, r->group, group_bytes(r->cap));
    r->part = NULL;
    r->group = NULL;
    r->cap = 0;
    return true;
}

void roaring_set_destroy(struct mem *m, struct roaring *r) {
    unsigned budget = UINT32_MAX;
    ASSERT(r->rest == NULL);
    while (!roaring_set_drop(m, r, &budget))
        budget = UINT32_MAX;
    mem_free(m, r, sizeof(*r));
}

/* append: a bitmap that is behind all others; an empty one is freed. False: no memory; it is freed, too. */
static bool append(struct mem *m, struct roaring *r, int32_t high, roaring_bitmap_t *b) {
    struct roaring_part p;
    ASSERT(b != NULL);
    ASSERT(r->parts == 0 || r->part[r->parts - 1].high < high);
    if (roaring_bitmap_is_empty(b)) {
        roaring_bitmap_free(b);
        return true;
    }
    roaring_part_adopt(m, &r->o, &p, high, b);
    if (insert(m, r, r->parts, &p)) {
        count(r, (int64_t)p.count);
        return true;
    }
    unsigned budget = UINT32_MAX;
    bool gone = roaring_part_drop(m, &r->o, &p, &budget);
    ASSERT(gone);
    return false;
}

size_t roaring_set_runs(const int64_t *sorted, size_t n, unsigned bits) {
    size_t runs = n > 0;
    for (size_t i = 1; i < n; i++)
        runs += sorted[i] >> bits != sorted[i - 1] >> bits;
    return runs;
}

/* bitmap_of: of n integers, all with the same upper half. */
static roaring_bitmap_t *bitmap_of(struct mem *m, const int64_t *sorted, size_t n) {
    size_t containers = roaring_set_runs(sorted, n, ROARING_CONTAINER_BITS);
    if (!roaring_reserve(m, 4 * n + CONTAINER_BYTES_MOST * containers + SLACK_BYTES))
        return NULL;
    roaring_bitmap_t *b = roaring_bitmap_create_with_capacity((uint32_t)containers);
    ASSERT(b != NULL);
    for (size_t at = 0, end; at < n; at = end) {
        for (end = at; end < n && sorted[end] >> 16 == sorted[at] >> 16;)
            end++;
        roaring_part_append(b, sorted + at, end - at);
    }
    return b;
}

struct roaring *roaring_set_of(struct mem *m, const int64_t *sorted, size_t n) {
    struct roaring *r = roaring_set_create(m);
    for (size_t at = 0, end; r != NULL && at < n; at = end) {
        int32_t high = high_of(sorted[at]);
        for (end = at; end < n && high_of(sorted[end]) == high;)
            end++;
        roaring_bitmap_t *b = bitmap_of(m, sorted + at, end - at);
        if (b == NULL || !append(m, r, high, b)) {
            roaring_set_destroy(m, r);
            r = NULL;
        }
    }
    return r;
}

/* --- one integer --- */

bool roaring_set_has(const struct roaring *r, int64_t v) {
    const struct roaring_part *p = find_part(r, high_of(v));
    return p != NULL && roaring_bitmap_contains(p->bitmap, (uint32_t)v);
}

bool roaring_set_has_part(const struct roaring *r, int64_t v) {
    return find_part(r, high_of(v)) != NULL;
}

static enum roaring_outcome add_part(struct mem *m, struct roaring *r, uint32_t at, int64_t v) {
    struct roaring_part fresh;
    if (!roaring_part_init(m, &r->o, &fresh, high_of(v)))
        return ROARING_NO_MEMORY;
    if (roaring_part_add(m, &r->o, &fresh, (uint32_t)v) == ROARING_CHANGED &&
        insert(m, r, at, &fresh)) {
        count(r, 1);
        return ROARING_CHANGED;
    }
    unsigned budget = UINT32_MAX;
    bool gone = roaring_part_drop(m, &r->o, &fresh, &budget);
    ASSERT(gone);
    return ROARING_NO_MEMORY;
}

enum roaring_outcome roaring_set_add(struct mem *m, struct roaring *r, int64_t v) {
    uint32_t at = place_of(r, high_of(v));
    if (unlikely(at == r->parts || r->part[at].high != high_of(v)))
        return add_part(m, r, at, v);
    enum roaring_outcome outcome = roaring_part_add(m, &r->o, &r->part[at], (uint32_t)v);
    if (outcome == ROARING_CHANGED)
        count_one(r, at, 1);
    return outcome;
}

bool roaring_set_remove(struct mem *m, struct roaring *r, int64_t v) {
    uint32_t at = place_of(r, high_of(v));
    if (at == r->parts || r->part[at].high != high_of(v) ||
        !roaring_part_remove(m, &r->o, &r->part[at], (uint32_t)v))
        return false;
    count_one(r, at, -1);
    if (r->part[at].count == 0)
        drop_part(m, r, at);
    return true;
}

/* --- reading --- */

int64_t roaring_set_draw(const struct roaring *r, struct rng *g) {
    uint64_t rank = rng_below(g, r->ints);
    const struct roaring_part *p = r->part;
    for (const uint64_t *in = r->group; in != NULL && rank >= *in; in++, p += PART_GROUP)
        rank -= *in;
    for (; rank >= p->count; p++)
        rank -= p->count;
    return value_of(p->high, roaring_part_draw(p, rank, g));
}

struct roaring_place roaring_set_seek(const struct roaring *r, int64_t from) {
    struct roaring_place at = {.part = place_of(r, high_of(from))};
    if (at.part < r->parts && r->part[at.part].high == high_of(from))
        at.low = (uint32_t)from;
    return at;
}

uint32_t roaring_set_read(const struct roaring *r, struct roaring_place *at, int64_t *to,
                          uint32_t n) {
    uint32_t low[SETVAL_FETCH], got = 0;
    for (n = n < SETVAL_FETCH ? n : SETVAL_FETCH; got == 0 && at->part < r->parts;) {
        const struct roaring_part *p = &r->part[at->part];
        got = roaring_part_read(p, &at->low, low, n);
        for (uint32_t i = 0; i < got; i++)
            to[i] = value_of(p->high, low[i]);
        if (at->low > UINT32_MAX)
            *at = (struct roaring_place){.part = at->part + 1};
    }
    return got;
}

/* --- whole sets --- */

/* most_bytes: what the result of two bitmaps may take, and CRoaring while it makes it. */
static size_t most_bytes(const roaring_bitmap_t *a, const roaring_bitmap_t *b, enum roaring_op op) {
    size_t of_a = roaring_part_bytes(a) + 64 * (size_t)a->high_low_container.size;
    size_t of_b = roaring_part_bytes(b) + 64 * (size_t)b->high_low_container.size;
    if (op == ROARING_AND)
        return (of_a < of_b ? of_a : of_b) + SLACK_BYTES;
    return of_a + (op == ROARING_OR ? of_b : 0) + SLACK_BYTES;
}

/* append_both: what is in both upper halves; append_one: what is in one, and in the result, too. */
static bool append_both(struct mem *m, struct roaring *r, const struct roaring_part *a,
                        const struct roaring_part *b, enum roaring_op op) {
    if (!roaring_reserve(m, most_bytes(a->bitmap, b->bitmap, op)))
        return false;
    roaring_bitmap_t *made;
    if (op == ROARING_AND) {
        made = roaring_bitmap_and(a->bitmap, b->bitmap);
    } else if (op == ROARING_ANDNOT) {
        made = roaring_bitmap_andnot(a->bitmap, b->bitmap);
    } else {
        made = roaring_bitmap_or(a->bitmap, b->bitmap);
        /* it makes a run of a container that is full */
        roaring_bitmap_remove_run_compression(made);
    }
    return append(m, r, a->high, made);
}

static bool append_one(struct mem *m, struct roaring *r, const struct roaring_part *p) {
    return roaring_reserve(m, roaring_part_bytes(p->bitmap) + SLACK_BYTES) &&
           append(m, r, p->high, roaring_bitmap_copy(p->bitmap));
}

uint32_t roaring_set_parts(const struct roaring *a, const struct roaring *b) {
    uint32_t parts = 0;
    for (uint32_t i = 0, j = 0; i < a->parts || j < b->parts; parts++) {
        bool from_a = j == b->parts || (i < a->parts && a->part[i].high <= b->part[j].high);
        bool from_b = i == a->parts || (j < b->parts && b->part[j].high <= a->part[i].high);
        i += from_a;
        j += from_b;
    }
    return parts;
}

struct roaring *roaring_set_combine(struct mem *m, const struct roaring *a, const struct roaring *b,
                                    enum roaring_op op) {
    struct roaring *r = roaring_set_create(m);
    bool fine = r != NULL;
    for (uint32_t i = 0, j = 0; fine && (i < a->parts || j < b->parts);) {
        bool a_left = i < a->parts, b_left = j < b->parts;
        bool from_a = a_left && (!b_left || a->part[i].high <= b->part[j].high);
        bool from_b = b_left && (!a_left || b->part[j].high <= a->part[i].high);
        if (from_a && from_b)
            fine = append_both(m, r, &a->part[i], &b->part[j], op);
        else if (from_a && op != ROARING_AND)
            fine = append_one(m, r, &a->part[i]);
        else if (from_b && op == ROARING_OR)
            fine = append_one(m, r, &b->part[j]);
        i += from_a;
        j += from_b;
    }
    if (!fine && r != NULL)
        roaring_set_destroy(m, r);
    return fine ? r : NULL;
}

struct roaring *roaring_set_copy(struct mem *m, const struct roaring *from) {
    static const struct roaring none;
    return roaring_set_combine(m, from, &none, ROARING_OR);
}
