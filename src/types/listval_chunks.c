/* listval_chunks.c: a list as chunks under a directory. See anax/listval.h.
 *
 * What fails for want of memory has at most split, joined or grown chunks, which nobody sees. */
#include "listval_impl.h"
#include "shards/assert.h"

enum {
    DIR_PLACES_MIN = 4,
    GROWTH_PART = 8,     /* a chunk at an end is begun with this part of what the list has */
    REST_CHUNKS_MIN = 64 /* fewer are freed at once */
};

static struct listval_slot *slot_at(const struct listval_chunks *l, uint32_t i) {
    return &l->dir[l->first + i];
}

/* --- the directory --- */

static size_t dir_bytes(uint32_t places) {
    return places * sizeof(struct listval_slot);
}

/* dir_resize: to about that many places, those that are free before the slots for gap HEAD, else behind them. */
static bool dir_resize(struct listval_chunks *l, struct mem *m, uint32_t places,
                       enum listval_end gap) {
    size_t bytes = mem_size(dir_bytes(places));
    struct listval_slot *dir = mem_alloc(m, bytes);
    if (dir == NULL)
        return false;
    uint32_t cap = (uint32_t)(bytes / sizeof(*dir)), first = gap == LISTVAL_HEAD ? cap - l->n : 0;
    if (l->n > 0)
        memcpy(dir + first, slot_at(l, 0), dir_bytes(l->n));
    l->head.bytes += bytes - mem_size(dir_bytes(l->cap));
    mem_free(m, l->dir, dir_bytes(l->cap));
    l->dir = dir;
    l->cap = cap;
    l->first = first;
    return true;
}

/* dir_room: a free place at that end. Sliding leaves an eighth of the places free at each end. */
static bool dir_room(struct listval_chunks *l, struct mem *m, enum listval_end end) {
    if (end == LISTVAL_HEAD ? l->first > 0 : l->first + l->n < l->cap)
        return true;
    uint32_t more = l->cap < DIR_PLACES_MIN ? DIR_PLACES_MIN : l->cap + l->cap / 2;
    if (l->n >= l->cap - l->cap / 4)
        return dir_resize(l, m, more, end);
    uint32_t first = (l->cap - l->n) / 2 + (end == LISTVAL_HEAD);
    memmove(l->dir + first, slot_at(l, 0), dir_bytes(l->n));
    l->first = first;
    return true;
}

/* dir_open: a new slot i, whose position is that of what comes behind it. */
static bool dir_open(struct listval_chunks *l, struct mem *m, uint32_t i,
                     struct listval_chunk *chunk) {
    enum listval_end end = i < l->n - i ? LISTVAL_HEAD : LISTVAL_TAIL;
    if (!dir_room(l, m, end))
        return false;
    int64_t pos = 0;
    if (i < l->n)
        pos = slot_at(l, i)->pos;
    else if (i > 0)
        pos = slot_at(l, i - 1)->pos + slot_at(l, i - 1)->chunk->count;
    if (end == LISTVAL_HEAD) {
        memmove(slot_at(l, 0) - 1, slot_at(l, 0), dir_bytes(i));
        l->first--;
    } else {
        memmove(slot_at(l, i) + 1, slot_at(l, i), dir_bytes(l->n - i));
    }
    l->n++;
    *slot_at(l, i) = (struct listval_slot){pos, chunk};
    return true;
}

/* dir_fit: gives places back; without memory for a smaller directory this one does. */
static void dir_fit(struct listval_chunks *l, struct mem *m) {
    uint32_t places = l->n < DIR_PLACES_MIN / 2 ? DIR_PLACES_MIN : 2 * l->n;
    if (unlikely(l->cap > DIR_PLACES_MIN && l->n < l->cap / 8) &&
        !dir_resize(l, m, places, LISTVAL_TAIL))
        return;
}

/* dir_close: n slots from i on go. */
static void dir_close(struct listval_chunks *l, struct mem *m, uint32_t i, uint32_t n) {
    uint32_t behind = l->n - i - n;
    if (i < behind) {
        memmove(slot_at(l, n), slot_at(l, 0), dir_bytes(i));
        l->first += n;
    } else {
        memmove(slot_at(l, i), slot_at(l, i + n), dir_bytes(behind));
    }
    l->n -= n;
    dir_fit(l, m);
}

/* shift: chunk i has `delta` elements more: what lies on the side of it with fewer chunks moves. */
static void shift(struct listval_chunks *l, uint32_t i, int64_t delta) {
    if (i + 1 < l->n - i) {
        for (uint32_t j = 0; j <= i; j++)
            slot_at(l, j)->pos -= delta;
    } else {
        for (uint32_t j = i + 1; j < l->n; j++)
            slot_at(l, j)->pos += delta;
    }
}

static uint32_t find(const struct listval_chunks *l, uint64_t index, uint32_t *at) {
    int64_t pos = slot_at(l, 0)->pos + (int64_t)index;
    uint32_t low = 0, high = l->n; /* the slot is one of low..high - 1 */
    ASSERT(index < l->head.count);
    if (pos >= slot_at(l, l->n - 1)->pos)
        low = l->n - 1;
    else if (l->n > 1 && pos < slot_at(l, 1)->pos)
        high = 1;
    while (high - low > 1) {
        uint32_t mid = low + (high - low) / 2;
        if (pos < slot_at(l, mid)->pos)
            high = mid;
        else
            low = mid;
    }
    *at = (uint32_t)(pos - slot_at(l, low)->pos);
    return low;
}

const struct listval_slot *listval_chunks_find(const struct listval_chunks *l, uint64_t index,
                                               uint32_t *at) {
    return slot_at(l, find(l, index, at));
}

/* --- life --- */

struct listval_chunks *listval_chunks_create(struct mem *m) {
    struct listval_chunks *l = mem_zalloc(m, sizeof(*l));
    if (l == NULL)
        return NULL;
    l->head = (struct object){.type = VALUE_LIST,
                              .form = VAL_CHUNKS,
                              .weight = 2,
                              .bytes = mem_size(sizeof(*l)) + mem_size(0),
                              .due_ms = OBJECT_NEVER};
    return l;
}

static bool destroy_some(struct mem *m, struct object *o, unsigned *budget) {
    struct listval_chunks *l = CONTAINER_OF(o, struct listval_chunks, head);
    for (; l->n > 0 && *budget > 0; --*budget)
        listval_chunk_free(l, m, slot_at(l, --l->n)->chunk);
    if (l->n > 0)
        return false;
    mem_free(m, l->dir, dir_bytes(l->cap));
    mem_free(m, l, sizeof(*l));
    return true;
}

void listval_chunks_destroy(struct listval_chunks *l, struct mem *m) {
    unsigned budget = UINT32_MAX;
    bool gone = destroy_some(m, &l->head, &budget);
    ASSERT(gone);
}

static struct object *copy(struct mem *m, const struct object *o) {
    const struct listval_chunks *from = CONTAINER_OF(o, struct listval_chunks, head);
    struct listval_chunks *l = listval_chunks_create(m);
    if (l == NULL || !dir_resize(l, m, from->n, LISTVAL_TAIL))
        goto fail;
    for (uint32_t i = 0; i < from->n; i++) {
        const struct listval_slot *s = slot_at(from, i);
        struct listval_chunk *c =
            listval_chunk_create(l, m, s->chunk->width, listval_chunk_used(s->chunk));
        if (c == NULL)
            goto fail;
        listval_chunk_append(c, s->chunk, 0, s->chunk->count);
        *slot_at(l, l->n++) = (struct listval_slot){s->pos, c};
    }
    l->head.count = from->head.count;
    return &l->head;
fail:
    if (l != NULL)
        listval_chunks_destroy(l, m);
    return NULL;
}

static struct object *defrag_some(struct mover *v, struct object *o, uint64_t *cursor) {
    struct listval_chunks *l = CONTAINER_OF(o, struct listval_chunks, head);
    uint64_t i = *cursor;
    if (i == 0) {
        l = move_small(v, l, sizeof(*l));
        l->dir = move_small(v, l->dir, dir_bytes(l->cap));
    }
    for (; i < l->n && (v->budget > 0 || i == *cursor); i++) {
        struct listval_chunk **c = &slot_at(l, (uint32_t)i)->chunk;
        *c = move_small(v, *c, listval_chunk_alloc_bytes(*c));
    }
    *cursor = i < l->n ? i : 0;
    return &l->head;
}

const struct val_ops listval_ops = {
    .destroy_some = destroy_some, .copy = copy, .defrag_some = defrag_some};

/* --- neighbours --- */

/* joined_bytes: what the elements of both take as one chunk, and of which kind that is. */
static size_t joined_bytes(const struct listval_chunk *a, const struct listval_chunk *b,
                           uint32_t *width) {
    *width = a->width;
    if (a->width == b->width)
        return (size_t)listval_chunk_used(a) + listval_chunk_used(b);
    *width = LISTVAL_ENTRIES;
    return listval_chunk_bytes_as_entries(a) + listval_chunk_bytes_as_entries(b);
}

/* joined: a and b as one chunk in place of both, if that is small; NULL: it is not, or there is no memory. */
static struct listval_chunk *joined(struct listval_chunks *l, struct mem *m,
                                    struct listval_chunk *a, struct listval_chunk *b,
                                    const struct listval_limits *limits) {
    uint32_t width;
    size_t bytes = joined_bytes(a, b, &width);
    if (LISTVAL_CHUNK_HEAD + bytes > limits->chunk_bytes / 2)
        return NULL;
    struct listval_chunk *c = listval_chunk_create(l, m, width, bytes);
    if (c == NULL)
        return NULL;
    listval_chunk_append(c, a, 0, a->count);
    listval_chunk_append(c, b, 0, b->count);
    listval_chunk_free(l, m, a);
    listval_chunk_free(l, m, b);
    return c;
}

/* join: chunks i and i + 1 become one if they are small. */
static void join(struct listval_chunks *l, struct mem *m, uint32_t i,
                 const struct listval_limits *limits) {
    if (i + 1 >= l->n)
        return;
    struct listval_slot *s = slot_at(l, i);
    struct listval_chunk *c = joined(l, m, s[0].chunk, s[1].chunk, limits);
    if (c == NULL)
        return;
    s->chunk = c;
    dir_close(l, m, i + 1, 1);
}

/* join_around: after chunk i or its neighbours were changed. */
static void join_around(struct listval_chunks *l, struct mem *m, uint32_t i,
                        const struct listval_limits *limits) {
    for (uint32_t j = i + 3; j-- > (i > 2 ? i - 2 : 0);)
        join(l, m, j, limits);
}

/* --- the ends --- */

/* push_here: false: it is of another kind, or the gap is too small. */
static inline bool push_here(struct listval_chunk *c, enum listval_end end, struct span text) {
    size_t bytes = text.len;
    struct lp_key k;
    if (c->width != text.len) {
        if (c->width != LISTVAL_ENTRIES)
            return false;
        k = lp_key_of(text);
        bytes = lp_entry_bytes_of(&k);
    }
    if ((end == LISTVAL_HEAD ? c->begin : c->cap - c->end) < bytes)
        return false;
    uint8_t *to = c->body + (end == LISTVAL_HEAD ? c->begin - bytes : c->end);
    if (c->width == LISTVAL_ENTRIES)
        (void)lp_entry_put(to, &k);
    else
        memcpy(to, text.ptr, bytes);
    if (end == LISTVAL_HEAD)
        c->begin -= (uint32_t)bytes;
    else
        c->end += (uint32_t)bytes;
    c->count++;
    return true;
}

/* make_room: so that push_here of k succeeds; false: a new chunk is better, or there is no memory. Elements slide
 * to and fro only while a quarter of the chunk is free, and then to the middle if both ends are pushed to. */
static bool make_room(struct listval_chunks *l, struct mem *m, enum listval_end end,
                      const struct lp_key *k, const struct listval_limits *limits) {
    struct listval_chunk **c = &slot_at(l, end == LISTVAL_HEAD ? 0 : l->n - 1)->chunk;
    uint32_t width, cap = (*c)->cap, used = listval_chunk_used(*c);
    size_t body = listval_chunk_bytes_with(*c, k, &width);
    if (LISTVAL_CHUNK_HEAD + body > limits->chunk_bytes)
        return false;
    if (width == (*c)->width && body <= cap - cap / 4) {
        uint32_t gap = cap - used;
        if (l->n == 1)
            gap = gap / 2 > body - used ? gap / 2 : (uint32_t)(body - used);
        listval_chunk_slide(*c, end == LISTVAL_HEAD ? gap : cap - used - gap);
        return true;
    }
    size_t want = 2 * (LISTVAL_CHUNK_HEAD + (size_t)cap);
    if (want > limits->chunk_bytes)
        want = limits->chunk_bytes;
    want -= LISTVAL_CHUNK_HEAD;
    if (width == (*c)->width && want <= cap)
        return false;
    return listval_chunk_remake(l, m, c, width, want > body ? want : body, end);
}

/* begin_chunk: at an end, with k in it. The one that was there is as large as it will get. */
static bool begin_chunk(struct listval_chunks *l, struct mem *m, enum listval_end end,
                        const struct lp_key *k, const struct listval_limits *limits) {
    uint32_t width = listval_chunk_width_for(k);
    size_t bytes = width == LISTVAL_ENTRIES ? lp_entry_bytes_of(k) : width, body = bytes;
    size_t part = l->head.bytes / GROWTH_PART;
    if (part > limits->chunk_bytes)
        part = limits->chunk_bytes;
    if (LISTVAL_CHUNK_HEAD + body < part)
        body = part - LISTVAL_CHUNK_HEAD;
    struct listval_chunk *c = listval_chunk_create(l, m, width, body);
    if (c == NULL)
        return false;
    if (end == LISTVAL_HEAD)
        c->begin = c->end = c->cap;
    if (l->n > 0) {
        listval_chunk_trim(l, m, &slot_at(l, end == LISTVAL_HEAD ? 0 : l->n - 1)->chunk);
        if (l->n > 1)
            join(l, m, end == LISTVAL_HEAD ? 0 : l->n - 2, limits);
    }
    if (!dir_open(l, m, end == LISTVAL_HEAD ? 0 : l->n, c)) {
        listval_chunk_free(l, m, c);
        return false;
    }
    bool fits = push_here(c, end, k->text);
    ASSERT(fits);
    return true;
}

bool listval_chunks_push(struct listval_chunks *l, struct mem *m, enum listval_end end,
                         struct span text, const struct listval_limits *limits) {
    bool done = false;
    if (likely(l->n > 0))
        done = push_here(slot_at(l, end == LISTVAL_HEAD ? 0 : l->n - 1)->chunk, end, text);
    if (unlikely(!done)) {
        struct lp_key k = lp_key_of(text);
        if (l->n > 0 && make_room(l, m, end, &k, limits)) {
            done = push_here(slot_at(l, end == LISTVAL_HEAD ? 0 : l->n - 1)->chunk, end, text);
            ASSERT(done);
        } else if (!begin_chunk(l, m, end, &k, limits)) {
            return false;
        }
    }
    if (end == LISTVAL_HEAD)
        slot_at(l, 0)->pos--;
    l->head.count++;
    return true;
}

void listval_chunks_pop(struct listval_chunks *l, struct mem *m, enum listval_end end, uint64_t n) {
    ASSERT(n <= l->head.count);
    l->head.count -= n;
    while (n > 0) {
        uint32_t i = end == LISTVAL_HEAD ? 0 : l->n - 1;
        struct listval_slot *s = slot_at(l, i);
        uint32_t here = s->chunk->count;
        if (n >= here) {
            listval_chunk_free(l, m, s->chunk);
            dir_close(l, m, i, 1);
            n -= here;
            continue;
        }
        listval_chunk_remove(s->chunk, end == LISTVAL_HEAD ? 0 : here - (uint32_t)n, (uint32_t)n);
        if (end == LISTVAL_HEAD)
            s->pos += (int64_t)n;
        break;
    }
}

/* --- in the middle --- */

/* put: k becomes element `at` of chunk i, if that is, or can be made, of a kind and size that takes it. */
static bool put(struct listval_chunks *l, struct mem *m, uint32_t i, uint32_t at,
                const struct lp_key *k, const struct listval_limits *limits) {
    struct listval_chunk **c = &slot_at(l, i)->chunk;
    uint32_t width, used = listval_chunk_used(*c);
    size_t body = listval_chunk_bytes_with(*c, k, &width);
    if (LISTVAL_CHUNK_HEAD + body > limits->chunk_bytes)
        return false;
    if (width != (*c)->width || body > (*c)->cap) {
        if (!listval_chunk_remake(l, m, c, width, body, LISTVAL_TAIL))
            return false;
    } else if ((*c)->begin < body - used && (*c)->cap - (*c)->end < body - used) {
        listval_chunk_slide(*c, 0);
    }
    listval_chunk_put(*c, at, k);
    l->head.count++;
    shift(l, i, 1);
    return true;
}

/* put_alone: k becomes chunk i. */
static bool put_alone(struct listval_chunks *l, struct mem *m, uint32_t i, const struct lp_key *k) {
    uint32_t width = listval_chunk_width_for(k);
    size_t body = width == LISTVAL_ENTRIES ? lp_entry_bytes_of(k) : width;
    struct listval_chunk *c = listval_chunk_create(l, m, width, body);
    if (c == NULL)
        return false;
    if (!dir_open(l, m, i, c)) {
        listval_chunk_free(l, m, c);
        return false;
    }
    listval_chunk_put(c, 0, k);
    l->head.count++;
    shift(l, i, 1);
    return true;
}

/* put_between: k comes before chunk i, into the one before that, into i, or alone. */
static bool put_between(struct listval_chunks *l, struct mem *m, uint32_t i, const struct lp_key *k,
                        const struct listval_limits *limits) {
    if (i > 0 && put(l, m, i - 1, slot_at(l, i - 1)->chunk->count, k, limits))
        return true;
    return (i < l->n && put(l, m, i, 0, k, limits)) || put_alone(l, m, i, k);
}

/* split: elements of chunk i from `cut` on become a chunk of their own. */
static bool split(struct listval_chunks *l, struct mem *m, uint32_t i, uint32_t cut) {
    struct listval_chunk *c = slot_at(l, i)->chunk;
    const uint8_t *p = listval_chunk_at(c, cut);
    uint32_t stays = (uint32_t)(p - c->body) - c->begin, goes = listval_chunk_used(c) - stays;
    struct listval_chunk *tail = listval_chunk_create(l, m, c->width, goes);
    if (tail == NULL)
        return false;
    if (!dir_open(l, m, i + 1, tail)) {
        listval_chunk_free(l, m, tail);
        return false;
    }
    listval_chunk_append(tail, c, cut, c->count);
    slot_at(l, i + 1)->pos = slot_at(l, i)->pos + cut;
    c->end = c->begin + stays;
    c->count = cut;
    listval_chunk_trim(l, m, &slot_at(l, i)->chunk);
    return true;
}

/* middle: an element about half of the bytes lie before, neither the first nor the end. */
static uint32_t middle(const struct listval_chunk *c) {
    const uint8_t *p = c->body + c->begin, *half = p + listval_chunk_used(c) / 2;
    if (c->width != LISTVAL_ENTRIES)
        return c->count / 2;
    uint32_t i = 0;
    while (i == 0 || (p < half && i + 1 < c->count)) {
        p += lp_entry_bytes(p);
        i++;
    }
    return i;
}

/* halving_helps: a half of the chunk can take k as it is. */
static bool halving_helps(const struct listval_chunk *c, const struct lp_key *k,
                          const struct listval_limits *limits) {
    uint32_t width;
    size_t used = listval_chunk_used(c), more = listval_chunk_bytes_with(c, k, &width) - used;
    return width == c->width && LISTVAL_CHUNK_HEAD + used / 2 + more <= limits->chunk_bytes;
}

bool listval_chunks_insert(struct listval_chunks *l, struct mem *m, uint64_t index,
                           struct span text, const struct listval_limits *limits) {
    if (index == 0 || index == l->head.count)
        return listval_chunks_push(l, m, index == 0 ? LISTVAL_HEAD : LISTVAL_TAIL, text, limits);
    struct lp_key k = lp_key_of(text);
    uint32_t at, i = find(l, index, &at);
    bool done = put(l, m, i, at, &k, limits);
    if (likely(done))
        return true;
    bool halve = halving_helps(slot_at(l, i)->chunk, &k, limits);
    for (bool ok = true; ok && !done; halve = false) {
        const struct listval_chunk *c = slot_at(l, i)->chunk;
        if (at == 0 || at == c->count) {
            done = put_between(l, m, at == 0 ? i : i + 1, &k, limits);
            break;
        }
        uint32_t cut = halve ? middle(c) : at;
        ok = split(l, m, i, cut);
        if (ok && at > cut) {
            i++;
            at -= cut;
        }
        done = ok && put(l, m, i, at, &k, limits);
    }
    join_around(l, m, i, limits);
    return done;
}

/* close_range: `removed` elements went from chunks from..to - 1. Empty ones are freed, small ones joined, and all
 * positions are right again. */
static void close_range(struct listval_chunks *l, struct mem *m, uint32_t from, uint32_t to,
                        uint64_t removed, const struct listval_limits *limits) {
    int64_t pos = slot_at(l, from)->pos;
    uint32_t kept = from;
    for (uint32_t i = from; i < to; i++) {
        struct listval_chunk *c = slot_at(l, i)->chunk, *both = NULL;
        if (c->count == 0) {
            listval_chunk_free(l, m, c);
            continue;
        }
        if (kept > from)
            both = joined(l, m, slot_at(l, kept - 1)->chunk, c, limits);
        if (both == NULL) {
            if (listval_chunk_used(c) < c->cap / 2)
                listval_chunk_trim(l, m, &c);
            kept++;
        }
        slot_at(l, kept - 1)->chunk = both != NULL ? both : c;
    }
    for (uint32_t i = from; i < kept; i++) {
        slot_at(l, i)->pos = pos;
        pos += slot_at(l, i)->chunk->count;
    }
    l->head.count -= removed;
    dir_close(l, m, kept, to - kept);
    if (kept > 0) {
        shift(l, kept - 1, -(int64_t)removed);
        join(l, m, kept - 1, limits);
    }
    if (from > 0)
        join(l, m, from - 1, limits);
}

/* set_here: in the chunk as it is, if its kind and room allow. */
static bool set_here(struct listval_chunk *c, uint32_t at, const struct lp_key *k) {
    if (c->width != LISTVAL_ENTRIES) {
        if (k->text.len != c->width)
            return false;
        memcpy(listval_chunk_at(c, at), k->text.ptr, c->width);
        return true;
    }
    size_t was = lp_entry_bytes(listval_chunk_at(c, at)), now = lp_entry_bytes_of(k);
    if (listval_chunk_used(c) - was + now > c->cap)
        return false;
    listval_chunk_remove(c, at, 1);
    if (c->begin < now && c->cap - c->end < now)
        listval_chunk_slide(c, 0);
    listval_chunk_put(c, at, k);
    return true;
}

bool listval_chunks_set(struct listval_chunks *l, struct mem *m, uint64_t index, struct span text,
                        const struct listval_limits *limits) {
    struct lp_key k = lp_key_of(text);
    uint32_t at, i = find(l, index, &at);
    if (set_here(slot_at(l, i)->chunk, at, &k)) {
        join_around(l, m, i, limits);
        return true;
    }
    if (!listval_chunks_insert(l, m, index, text, limits))
        return false;
    i = find(l, index + 1, &at);
    listval_chunk_remove(slot_at(l, i)->chunk, at, 1);
    close_range(l, m, i, i + 1, 1, limits);
    return true;
}

/* --- many at once --- */

uint64_t listval_chunks_remove_equal(struct listval_chunks *l, struct mem *m, uint64_t index,
                                     const struct lp_key *k, uint64_t max,
                                     const struct listval_limits *limits) {
    uint32_t at, from = UINT32_MAX, to = 0;
    uint64_t removed = 0;
    for (uint32_t i = find(l, index, &at); i < l->n && removed < max; i++, at = 0) {
        uint32_t n = listval_chunk_remove_equal(slot_at(l, i)->chunk, at, k, max - removed);
        if (n > 0) {
            removed += n;
            from = from < i ? from : i;
            to = i + 1;
        }
    }
    if (removed > 0)
        close_range(l, m, from, to, removed, limits);
    return removed;
}

/* hand_over: slots i..i + n - 1 are copied to the end of another list's, and what they count for becomes its. */
static void hand_over(struct listval_chunks *l, struct listval_chunks *to, uint32_t i, uint32_t n) {
    enum { AHEAD = 8 };
    size_t bytes = 0;
    for (uint32_t j = 0; j < n; j++) {
        if (j + AHEAD < n)
            __builtin_prefetch(slot_at(l, i + j + AHEAD)->chunk);
        bytes += listval_chunk_alloc_bytes(slot_at(l, i + j)->chunk);
    }
    if (n > 0)
        memcpy(slot_at(to, to->n), slot_at(l, i), dir_bytes(n));
    to->n += n;
    to->head.bytes += bytes;
    to->head.weight += n;
    l->head.bytes -= bytes;
    l->head.weight -= n;
}

/* part: the list of chunks from..to - 1; *rest is one of all others. Which of the two is a new one is the one that has
 * fewer chunks, since each of these is looked at. NULL: no memory for it. Counts of elements are the caller's. */
static struct listval_chunks *part(struct listval_chunks *l, struct mem *m, uint32_t from,
                                   uint32_t to, struct listval_chunks **rest) {
    uint32_t stay = to - from, n = l->n;
    bool stay_here = stay > n / 2;
    struct listval_chunks *made = listval_chunks_create(m);
    if (made == NULL || !dir_resize(made, m, stay_here ? n - stay : stay, LISTVAL_TAIL)) {
        if (made != NULL)
            listval_chunks_destroy(made, m);
        return NULL;
    }
    if (stay_here) {
        hand_over(l, made, 0, from);
        hand_over(l, made, to, n - to);
        l->first += from;
        l->n = stay;
        *rest = made;
        return l;
    }
    hand_over(l, made, from, stay);
    memmove(slot_at(l, from), slot_at(l, to), dir_bytes(n - to));
    l->n -= stay;
    *rest = l;
    return made;
}

struct listval_chunks *listval_chunks_keep(struct listval_chunks *l, struct mem *m, uint64_t from,
                                           uint64_t to, struct object **rest) {
    uint32_t at, first = find(l, from, &at), last = find(l, to - 1, &at), n = l->n;
    struct listval_chunks *others = NULL, *kept = NULL;
    *rest = NULL;
    if (n - (last + 1 - first) >= REST_CHUNKS_MIN) {
        uint64_t before = (uint64_t)(slot_at(l, first)->pos - slot_at(l, 0)->pos);
        uint64_t count = l->head.count;
        uint64_t until =
            last + 1 == n ? count : (uint64_t)(slot_at(l, last + 1)->pos - slot_at(l, 0)->pos);
        kept = part(l, m, first, last + 1, &others);
        if (kept != NULL) {
            kept->head.count = until - before;
            others->head.count = count - (until - before);
            *rest = &others->head;
            from -= before;
            to -= before;
            l = kept;
        }
    }
    listval_chunks_pop(l, m, LISTVAL_TAIL, l->head.count - to);
    listval_chunks_pop(l, m, LISTVAL_HEAD, from);
    dir_fit(l, m);
    return l;
}

/* --- invariants --- */

static void check_chunk(const struct listval_chunk *c, const struct listval_limits *limits) {
    uint32_t n = 0;
    ASSERT(c->count > 0);
    ASSERT(c->begin <= c->end);
    ASSERT(c->end <= c->cap);
    ASSERT(listval_chunk_alloc_bytes(c) <= mem_size(limits->chunk_bytes) || c->count == 1);
    if (c->width != LISTVAL_ENTRIES) {
        ASSERT(c->width > 0);
        ASSERT((uint64_t)c->count * c->width == listval_chunk_used(c));
        return;
    }
    for (const uint8_t *p = c->body + c->begin, *end = c->body + c->end; p < end; n++) {
        size_t bytes = lp_entry_valid(p, end);
        ASSERT(bytes > 0);
        p += bytes;
    }
    ASSERT(n == c->count);
}

/* joinable: invariant (7) of chunks i and i + 1 is broken. */
static bool joinable(const struct listval_chunks *l, uint32_t i,
                     const struct listval_limits *limits) {
    uint32_t width;
    return LISTVAL_CHUNK_HEAD +
               joined_bytes(slot_at(l, i)->chunk, slot_at(l, i + 1)->chunk, &width) <=
           limits->chunk_bytes / 2;
}

void listval_chunks_check(const struct listval_chunks *l, const struct listval_limits *limits,
                          bool memory_was_there) {
    size_t bytes = mem_size(sizeof(*l)) + mem_size(dir_bytes(l->cap));
    ASSERT(l->n > 0);
    ASSERT(l->first + l->n <= l->cap);
    int64_t pos = slot_at(l, 0)->pos;
    for (uint32_t i = 0; i < l->n; i++) {
        const struct listval_slot *s = slot_at(l, i);
        check_chunk(s->chunk, limits);
        ASSERT(s->pos == pos);
        pos += s->chunk->count;
        bytes += listval_chunk_alloc_bytes(s->chunk);
        ASSERT(!memory_was_there || i == 0 || i + 2 >= l->n || !joinable(l, i, limits));
    }
    ASSERT((uint64_t)(pos - slot_at(l, 0)->pos) == l->head.count);
    ASSERT(l->head.bytes == bytes);
    ASSERT(l->head.weight == l->n + 2);
}
