/* roaring_part.c: integers of 32 bits in one bitmap of CRoaring. See roaring_impl.h. */
#include "roaring_impl.h"
#include "shards/assert.h"

enum {
    ARRAY_CAP_FIRST = 4, /* the fewest bytes that an allocator hands out hold so many */
    ARRAY_AGAIN = 2048,  /* of so few a bitset becomes an array: half of where it was made */
    BITSET_BYTES = 8192,
    BITSET_WORDS = BITSET_BYTES / 8,
    ALLOCATIONS = 2, /* of a container */
};
#define PAST_32_BITS (1ULL << 32)

static_assert(sizeof(array_container_t) == sizeof(bitset_container_t), "one size for both");
static_assert(sizeof(struct roaring_ranks) <= 5120, "ranks are of one size class");

/* --- what it counts for --- */

bool roaring_reserve(struct mem *m, size_t bytes) {
    void *trial = mem_alloc(m, bytes);
    mem_free(m, trial, bytes);
    return trial != NULL;
}

static void charge(struct mem *m, struct object *o, size_t now, size_t before) {
    mem_charge(m, (int64_t)now - (int64_t)before);
    o->bytes += now - before;
}

static roaring_array_t *array_of(const struct roaring_part *p) {
    return &p->bitmap->high_low_container;
}

static size_t container_bytes(const void *c, uint8_t type) {
    size_t head = mem_size(sizeof(array_container_t));
    if (type == BITSET_CONTAINER_TYPE_CODE)
        return head + mem_size(BITSET_BYTES);
    ASSERT(type == ARRAY_CONTAINER_TYPE_CODE);
    const array_container_t *a = c;
    return head + (a->capacity == 0 ? 0 : mem_size((size_t)a->capacity * sizeof(*a->array)));
}

/* The addresses, keys and types of so many containers are one allocation. */
static size_t table_bytes_for(int32_t containers) {
    return (size_t)containers * (sizeof(void *) + sizeof(uint16_t) + sizeof(uint8_t));
}

static size_t table_bytes(const roaring_array_t *ra) {
    return ra->allocation_size == 0 ? 0 : mem_size(table_bytes_for(ra->allocation_size));
}

size_t roaring_part_bytes(const roaring_bitmap_t *b) {
    const roaring_array_t *ra = &b->high_low_container;
    size_t sum = mem_size(sizeof(*b)) + table_bytes(ra);
    for (int32_t i = 0; i < ra->size; i++)
        sum += container_bytes(ra->containers[i], ra->typecodes[i]);
    return sum;
}

/* --- ranks --- */

static uint32_t cardinality(const roaring_array_t *ra, int32_t i) {
    return (uint32_t)container_get_cardinality(ra->containers[i], ra->typecodes[i]);
}

/* ranks_create: without memory for them the part goes without, and finding the n-th takes longer. */
static void ranks_create(struct mem *m, struct object *o, struct roaring_part *p) {
    const roaring_array_t *ra = array_of(p);
    p->ranks = mem_zalloc(m, sizeof(*p->ranks));
    if (p->ranks == NULL)
        return;
    o->bytes += mem_size(sizeof(*p->ranks));
    for (int32_t i = 0; i < ra->size; i++) {
        unsigned group = ra->keys[i] / GROUP_KEYS;
        uint32_t n = cardinality(ra, i);
        p->ranks->group[group] += n;
        p->ranks->super[group / SUPER_GROUPS] += n;
    }
}

static void ranks_drop(struct mem *m, struct object *o, struct roaring_part *p) {
    if (p->ranks == NULL)
        return;
    o->bytes -= mem_size(sizeof(*p->ranks));
    mem_free(m, p->ranks, sizeof(*p->ranks));
    p->ranks = NULL;
}

/* count_one: `by` is 1 or -1. */
static void count_one(struct roaring_part *p, uint16_t key, int by) {
    p->count += (uint64_t)by;
    if (p->ranks == NULL)
        return;
    unsigned group = key / GROUP_KEYS;
    p->ranks->group[group] += (uint32_t)by;
    p->ranks->super[group / SUPER_GROUPS] += (uint32_t)by;
}

/* --- life --- */

bool roaring_part_init(struct mem *m, struct object *o, struct roaring_part *p, int32_t high) {
    if (!roaring_reserve(m, sizeof(roaring_bitmap_t)))
        return false;
    *p = (struct roaring_part){.high = high, .bitmap = roaring_bitmap_create()};
    ASSERT(p->bitmap != NULL);
    charge(m, o, mem_size(sizeof(*p->bitmap)), 0);
    o->weight += ALLOCATIONS;
    return true;
}

void roaring_part_adopt(struct mem *m, struct object *o, struct roaring_part *p, int32_t high,
                        roaring_bitmap_t *b) {
    ASSERT(b != NULL);
    *p = (struct roaring_part){.high = high, .bitmap = b};
    p->count = roaring_bitmap_get_cardinality(b);
    charge(m, o, roaring_part_bytes(b), 0);
    o->weight += ALLOCATIONS + ALLOCATIONS * (uint32_t)array_of(p)->size;
    if (array_of(p)->size >= RANKS_FROM)
        ranks_create(m, o, p);
}

void roaring_part_append(roaring_bitmap_t *b, const int64_t *sorted, size_t n) {
    roaring_array_t *ra = &b->high_low_container;
    uint16_t key = (uint16_t)(sorted[0] >> 16);
    if (n > DEFAULT_MAX_SIZE) {
        bitset_container_t *c = bitset_container_create();
        ASSERT(c != NULL);
        for (size_t i = 0; i < n; i++)
            bitset_container_set(c, (uint16_t)sorted[i]);
        ra_append(ra, key, c, BITSET_CONTAINER_TYPE_CODE);
        return;
    }
    /* all that an allocator hands out for so many */
    size_t cap = mem_size(n * sizeof(uint16_t)) / sizeof(uint16_t);
    array_container_t *c = array_container_create_given_capacity((int32_t)cap);
    ASSERT(c != NULL);
    for (size_t i = 0; i < n; i++)
        c->array[i] = (uint16_t)sorted[i];
    c->cardinality = (int32_t)n;
    ra_append(ra, key, c, ARRAY_CONTAINER_TYPE_CODE);
}

bool roaring_part_drop(struct mem *m, struct object *o, struct roaring_part *p, unsigned *budget) {
    roaring_array_t *ra = array_of(p);
    ranks_drop(m, o, p);
    for (; ra->size > 0 && *budget > 0; ra->size--) {
        void *c = ra->containers[ra->size - 1];
        uint8_t type = ra->typecodes[ra->size - 1];
        charge(m, o, 0, container_bytes(c, type));
        o->weight -= ALLOCATIONS;
        container_free(c, type);
        *budget -= *budget < ALLOCATIONS ? *budget : ALLOCATIONS;
    }
    if (ra->size > 0)
        return false;
    charge(m, o, 0, roaring_part_bytes(p->bitmap));
    o->weight -= ALLOCATIONS;
    roaring_bitmap_free(p->bitmap);
    return true;
}

/* --- one integer in --- */

static enum roaring_outcome add_container(struct mem *m, struct object *o, struct roaring_part *p,
                                          int32_t at, uint16_t key, uint16_t value) {
    roaring_array_t *ra = array_of(p);
    int32_t most = ra->size < ra->allocation_size ? 0 : 2 * (ra->size + 1);
    if (!roaring_reserve(m, table_bytes_for(most) + 64))
        return ROARING_NO_MEMORY;
    size_t before = table_bytes(ra);
    array_container_t *a = array_container_create_given_capacity(ARRAY_CAP_FIRST);
    ASSERT(a != NULL);
    a->array[a->cardinality++] = value;
    ra_insert_new_key_value_at(ra, at, key, a, ARRAY_CONTAINER_TYPE_CODE);
    charge(m, o, table_bytes(ra) + container_bytes(a, ARRAY_CONTAINER_TYPE_CODE), before);
    o->weight += ALLOCATIONS;
    count_one(p, key, 1);
    if (p->ranks == NULL && ra->size >= RANKS_FROM)
        ranks_create(m, o, p);
    return ROARING_CHANGED;
}

static bool has_room(const array_container_t *a) {
    return !array_container_full(a) && a->cardinality < DEFAULT_MAX_SIZE;
}

/* add_full: to an array without room; it grows or becomes a bitset. */
static enum roaring_outcome add_full(struct mem *m, struct object *o, struct roaring_part *p,
                                     int32_t at, uint16_t value) {
    roaring_array_t *ra = array_of(p);
    array_container_t *a = ra->containers[at];
    uint8_t type = ARRAY_CONTAINER_TYPE_CODE;
    size_t most = 2 * sizeof(*a->array) * (size_t)(a->capacity + 1);
    if (array_container_contains(a, value))
        return ROARING_SAME;
    if (!roaring_reserve(m, a->cardinality < DEFAULT_MAX_SIZE ? most : BITSET_BYTES + 64))
        return ROARING_NO_MEMORY;
    size_t before = container_bytes(a, type);
    void *now = container_add(a, value, type, &type);
    if (now != a) {
        array_container_free(a);
        ra_set_container_at_index(ra, at, now, type);
    }
    charge(m, o, container_bytes(now, type), before);
    return ROARING_CHANGED;
}

enum roaring_outcome roaring_part_add(struct mem *m, struct object *o, struct roaring_part *p,
                                      uint32_t low) {
    roaring_array_t *ra = array_of(p);
    uint16_t key = (uint16_t)(low >> 16), value = (uint16_t)low;
    int32_t i = ra_get_index(ra, key);
    if (i < 0)
        return add_container(m, o, p, -i - 1, key, value);
    bool added;
    if (ra->typecodes[i] == BITSET_CONTAINER_TYPE_CODE) {
        added = bitset_container_add(ra->containers[i], value);
    } else if (likely(has_room(ra->containers[i]))) {
        added = array_container_add(ra->containers[i], value);
    } else {
        enum roaring_outcome outcome = add_full(m, o, p, i, value);
        if (outcome != ROARING_CHANGED)
            return outcome;
        added = true;
    }
    if (added)
        count_one(p, key, 1);
    return added ? ROARING_CHANGED : ROARING_SAME;
}

/* --- one integer out: nothing here must have memory --- */

/* shrink: a container that holds much less than it has room for. */
static void shrink(struct mem *m, struct object *o, roaring_array_t *ra, int32_t i) {
    uint8_t type = ra->typecodes[i];
    void *c = ra->containers[i];
    size_t before = container_bytes(c, type);
    if (type == BITSET_CONTAINER_TYPE_CODE) {
        if (cardinality(ra, i) > ARRAY_AGAIN || !roaring_reserve(m, BITSET_BYTES))
            return;
        array_container_t *a = array_container_from_bitset(c);
        ASSERT(a != NULL);
        bitset_container_free(c);
        ra_set_container_at_index(ra, i, a, ARRAY_CONTAINER_TYPE_CODE);
    } else {
        array_container_t *a = c;
        if (a->cardinality >= a->capacity / 4 || a->capacity <= ARRAY_CAP_FIRST ||
            !roaring_reserve(m, (size_t)a->capacity * sizeof(*a->array)))
            return;
        array_container_shrink_to_fit(a);
    }
    charge(m, o, container_bytes(ra->containers[i], ra->typecodes[i]), before);
}

static void drop_container(struct mem *m, struct object *o, struct roaring_part *p, int32_t i) {
    roaring_array_t *ra = array_of(p);
    charge(m, o, 0, container_bytes(ra->containers[i], ra->typecodes[i]));
    o->weight -= ALLOCATIONS;
    ra_remove_at_index_and_free(ra, i);
    if (ra->size < RANKS_FROM / 2)
        ranks_drop(m, o, p);
    if (ra->size == 0 || ra->size >= ra->allocation_size / 4 ||
        !roaring_reserve(m, table_bytes_for(ra->size)))
        return;
    size_t before = table_bytes(ra);
    ra_shrink_to_fit(ra);
    charge(m, o, table_bytes(ra), before);
}

bool roaring_part_remove(struct mem *m, struct object *o, struct roaring_part *p, uint32_t low) {
    roaring_array_t *ra = array_of(p);
    uint16_t key = (uint16_t)(low >> 16), value = (uint16_t)low;
    int32_t i = ra_get_index(ra, key);
    if (i < 0)
        return false;
    bool removed = ra->typecodes[i] == BITSET_CONTAINER_TYPE_CODE
                       ? bitset_container_remove(ra->containers[i], value)
                       : array_container_remove(ra->containers[i], value);
    if (!removed)
        return false;
    count_one(p, key, -1);
    if (cardinality(ra, i) == 0)
        drop_container(m, o, p, i);
    else
        shrink(m, o, ra, i);
    return true;
}

/* --- reading --- */

/* group_of: the group that holds the *rank-th; *rank: in that group from then on. */
static unsigned group_of(const struct roaring_ranks *ranks, uint64_t *rank) {
    unsigned super = 0, group;
    for (; *rank >= ranks->super[super]; super++)
        *rank -= ranks->super[super];
    for (group = super * SUPER_GROUPS; *rank >= ranks->group[group]; group++)
        *rank -= ranks->group[group];
    return group;
}

static uint16_t draw_from_bitset(const bitset_container_t *b, struct rng *g) {
    /* one in 32 is there, at least */
    for (uint64_t bits = rng_next(g);; bits = rng_next(g)) {
        for (int i = 0; i < 4; i++, bits >>= 16) {
            if (bitset_container_get(b, (uint16_t)bits))
                return (uint16_t)bits;
        }
    }
}

uint32_t roaring_part_draw(const struct roaring_part *p, uint64_t rank, struct rng *g) {
    const roaring_array_t *ra = array_of(p);
    int32_t i = 0;
    if (p->ranks != NULL) {
        i = ra_get_index(ra, (uint16_t)(group_of(p->ranks, &rank) * GROUP_KEYS));
        i = i < 0 ? -i - 1 : i;
    }
    for (; rank >= cardinality(ra, i); i++)
        rank -= cardinality(ra, i);
    ASSERT(i < ra->size);
    uint32_t base = (uint32_t)ra->keys[i] << 16;
    if (ra->typecodes[i] == BITSET_CONTAINER_TYPE_CODE)
        return base | draw_from_bitset(ra->containers[i], g);
    return base | ((const array_container_t *)ra->containers[i])->array[rank];
}

uint32_t roaring_part_read(const struct roaring_part *p, uint64_t *from, uint32_t *to, uint32_t n) {
    roaring_uint32_iterator_t it;
    uint32_t got = 0;
    if (*from < PAST_32_BITS) {
        roaring_init_iterator(p->bitmap, &it);
        if (roaring_move_uint32_iterator_equalorlarger(&it, (uint32_t)*from))
            got = roaring_read_uint32_iterator(&it, to, n);
    }
    *from = got > 0 && it.has_value ? it.current_value : PAST_32_BITS;
    return got;
}
