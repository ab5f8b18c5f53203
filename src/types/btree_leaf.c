/* btree_leaf.c: bytes of a leaf: btree_impl.h draws them. */
#include "btree_impl.h"

void btree_leaf_init(struct leaf *l) {
    *l = (struct leaf){.low = NODE_BYTES};
}

static uint8_t *scores_at(struct leaf *l, unsigned count) {
    return l->room + count * LEAF_PAIR;
}

/* compact: brings the bytes of all members together, at the end. */
static void compact(struct leaf *l) {
    uint8_t old[NODE_BYTES];
    memcpy(old + l->low, (uint8_t *)l + l->low, NODE_BYTES - l->low);
    unsigned low = NODE_BYTES;
    for (unsigned i = 0; i < l->count; i++) {
        uint16_t place;
        uint8_t *pair = l->room + i * LEAF_PAIR + sizeof place;
        memcpy(&place, pair, sizeof place);
        unsigned size = old[place] == LEAF_FAR ? LEAF_FAR_BYTES : 1U + old[place];
        low -= size;
        memcpy((uint8_t *)l + low, old + place, size);
        place = (uint16_t)low;
        memcpy(pair, &place, sizeof place);
    }
    l->low = (uint16_t)low;
    l->holes = 0;
}

/* open_gap: makes n elements of no content at a place, with room for `bytes` of members. */
static void open_gap(struct leaf *l, unsigned place, unsigned n, unsigned bytes) {
    unsigned count = l->count;
    ASSERT(place <= count);
    ASSERT(leaf_free(l) >= n * LEAF_ELEMENT + bytes);
    if (l->low < LEAF_HEADER + (count + n) * LEAF_ELEMENT + bytes)
        compact(l);
    uint8_t *from = scores_at(l, count), *to = scores_at(l, count + n);
    memmove(to + (place + n) * sizeof(double), from + place * sizeof(double),
            (count - place) * sizeof(double));
    memmove(to, from, place * sizeof(double));
    uint8_t *pairs = l->room + place * LEAF_PAIR;
    memmove(pairs + n * LEAF_PAIR, pairs, (count - place) * LEAF_PAIR);
    l->count = (uint16_t)(count + n);
}

static void close_gap(struct leaf *l, unsigned place, unsigned n) {
    unsigned count = l->count, behind = count - place - n;
    ASSERT(place + n <= count);
    uint8_t *pairs = l->room + place * LEAF_PAIR;
    memmove(pairs, pairs + n * LEAF_PAIR, behind * LEAF_PAIR);
    uint8_t *from = scores_at(l, count), *to = scores_at(l, count - n);
    memmove(to, from, place * sizeof(double));
    memmove(to + place * sizeof(double), from + (place + n) * sizeof(double),
            behind * sizeof(double));
    l->count = (uint16_t)(count - n);
    if (l->count == 0) {
        l->low = NODE_BYTES;
        l->holes = 0;
    }
}

/* take_bytes: the next `size` bytes for a member, which the element at i names from now on. */
static uint8_t *take_bytes(struct leaf *l, unsigned i, uint16_t print, unsigned size) {
    l->low = (uint16_t)(l->low - size);
    uint16_t pair[2] = {print, l->low};
    memcpy(l->room + i * LEAF_PAIR, pair, sizeof pair);
    return (uint8_t *)l + l->low;
}

static void put_member(uint8_t *p, struct span member, void *far) {
    if (likely(far == NULL)) {
        *p = (uint8_t)member.len;
        memcpy(p + 1, member.ptr, member.len);
        return;
    }
    uint32_t len = (uint32_t)member.len;
    *p = LEAF_FAR;
    memcpy(p + 1, &far, sizeof far);
    memcpy(p + 1 + sizeof far, &len, sizeof len);
}

void btree_leaf_put(struct leaf *l, unsigned place, double score, uint16_t print,
                    struct span member, void *far) {
    unsigned size = leaf_need(member.len) - LEAF_ELEMENT;
    open_gap(l, place, 1, size);
    leaf_set_score(l, place, score);
    put_member(take_bytes(l, place, print, size), member, far);
}

void btree_leaf_push(struct leaf *l, uint16_t print, struct span member, void *far) {
    unsigned size = leaf_need(member.len) - LEAF_ELEMENT;
    ASSERT(leaf_fits(l, LEAF_ELEMENT + size));
    put_member(take_bytes(l, l->count++, print, size), member, far);
}

void btree_leaf_set_scores(struct leaf *l, const double *scores) {
    memcpy(scores_at(l, l->count), scores, l->count * sizeof *scores);
}

void btree_leaf_move(struct leaf *from, unsigned i, unsigned n, struct leaf *to, unsigned j) {
    unsigned bytes = 0;
    for (unsigned k = 0; k < n; k++)
        bytes += leaf_size(from, i + k) - LEAF_ELEMENT;
    open_gap(to, j, n, bytes);
    for (unsigned k = 0; k < n; k++) {
        unsigned size = leaf_size(from, i + k) - LEAF_ELEMENT;
        leaf_set_score(to, j + k, leaf_score(from, i + k));
        memcpy(take_bytes(to, j + k, leaf_print(from, i + k), size), leaf_bytes(from, i + k), size);
    }
    from->holes = (uint16_t)(from->holes + bytes);
    close_gap(from, i, n);
}

void btree_leaf_cut(struct leaf *l, unsigned place, unsigned n) {
    for (unsigned k = 0; k < n; k++)
        l->holes = (uint16_t)(l->holes + leaf_size(l, place + k) - LEAF_ELEMENT);
    close_gap(l, place, n);
}

/* turn: one item of an array. */
static void turn(uint8_t *array, size_t size, unsigned i, unsigned j) {
    uint8_t item[sizeof(double)];
    memcpy(item, array + i * size, size);
    if (i < j)
        memmove(array + i * size, array + (i + 1) * size, (j - i) * size);
    else
        memmove(array + (j + 1) * size, array + j * size, (i - j) * size);
    memcpy(array + j * size, item, size);
}

void btree_leaf_turn(struct leaf *l, unsigned i, unsigned j) {
    turn(l->room, LEAF_PAIR, i, j);
    turn(scores_at(l, l->count), sizeof(double), i, j);
}

uint64_t btree_leaf_match(const struct leaf *l, uint16_t mask, uint16_t want) {
    uint64_t match = 0;
#if defined(__SSE2__)
    const __m128i masks = _mm_set1_epi32(mask), wants = _mm_set1_epi32(want);
    const __m128i *p = (const __m128i *)(const void *)l->room;
    for (unsigned i = 0; i < l->count; i += 16, p += 4) {
        __m128i a = _mm_cmpeq_epi32(_mm_and_si128(_mm_loadu_si128(p), masks), wants);
        __m128i b = _mm_cmpeq_epi32(_mm_and_si128(_mm_loadu_si128(p + 1), masks), wants);
        __m128i c = _mm_cmpeq_epi32(_mm_and_si128(_mm_loadu_si128(p + 2), masks), wants);
        __m128i d = _mm_cmpeq_epi32(_mm_and_si128(_mm_loadu_si128(p + 3), masks), wants);
        __m128i all = _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
        match |= (uint64_t)(unsigned)_mm_movemask_epi8(all) << i;
    }
    /* The last sixteen may reach beyond the pairs, but not beyond the leaf. */
    return l->count == LEAF_ELEMENTS_MAX ? match : match & (((uint64_t)1 << l->count) - 1);
#else
    for (unsigned i = 0; i < l->count; i++)
        match |= (uint64_t)((leaf_print(l, i) & mask) == want) << i;
    return match;
#endif
}
