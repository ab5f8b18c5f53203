/* listval_chunk.c: one chunk of a list. See anax/listval.h. */
#include "listval_impl.h"
#include "shards/assert.h"

uint32_t listval_chunk_width_for(const struct lp_key *k) {
    /* Texts of no bytes would be elements that take nothing, and a chunk has to end some time. */
    return k->is_num || k->text.len == 0 ? LISTVAL_ENTRIES : (uint32_t)k->text.len;
}

struct listval_chunk *listval_chunk_create(struct listval_chunks *l, struct mem *m, uint32_t width,
                                           size_t body) {
    size_t bytes = mem_size(LISTVAL_CHUNK_HEAD + body);
    struct listval_chunk *c = mem_alloc(m, bytes);
    if (c == NULL)
        return NULL;
    size_t cap = bytes - LISTVAL_CHUNK_HEAD;
    *c = (struct listval_chunk){.width = width,
                                .cap = cap < UINT32_MAX ? (uint32_t)cap : UINT32_MAX};
    l->head.bytes += bytes;
    l->head.weight++;
    return c;
}

void listval_chunk_free(struct listval_chunks *l, struct mem *m, struct listval_chunk *c) {
    size_t bytes = listval_chunk_alloc_bytes(c);
    l->head.bytes -= bytes;
    l->head.weight--;
    mem_free(m, c, bytes);
}

/* entry_bytes_max: of the entry that a text of that length becomes, unless it is an integer's. */
static size_t entry_bytes_max(size_t len) {
    struct lp_key k = {.text = {.len = len}};
    return lp_entry_bytes_of(&k);
}

size_t listval_chunk_bytes_as_entries(const struct listval_chunk *c) {
    if (c->width == LISTVAL_ENTRIES)
        return listval_chunk_used(c);
    return c->count * entry_bytes_max(c->width);
}

size_t listval_chunk_bytes_with(const struct listval_chunk *c, const struct lp_key *k,
                                uint32_t *width) {
    *width = c->width;
    if (c->width == k->text.len)
        return (size_t)listval_chunk_used(c) + c->width;
    *width = LISTVAL_ENTRIES;
    return listval_chunk_bytes_as_entries(c) + lp_entry_bytes_of(k);
}

static inline size_t element_bytes(const struct listval_chunk *c, const uint8_t *p) {
    return c->width == LISTVAL_ENTRIES ? lp_entry_bytes(p) : c->width;
}

uint8_t *listval_chunk_at(const struct listval_chunk *c, uint32_t i) {
    const uint8_t *p = c->body + c->begin;
    ASSERT(i <= c->count);
    if (c->width != LISTVAL_ENTRIES) {
        p += (size_t)i * c->width;
    } else if (i <= c->count / 2) {
        for (; i > 0; i--)
            p += lp_entry_bytes(p);
    } else {
        p = c->body + c->end;
        for (; i < c->count; i++)
            p = lp_entry_before(p);
    }
    return (uint8_t *)(uintptr_t)p;
}

void listval_chunk_append(struct listval_chunk *c, const struct listval_chunk *other, uint32_t from,
                          uint32_t to) {
    const uint8_t *p = listval_chunk_at(other, from);
    size_t bytes = (size_t)(listval_chunk_at(other, to) - p);
    uint8_t *w = c->body + c->end;
    if (c->width == other->width) {
        memcpy(w, p, bytes);
        w += bytes;
    } else {
        ASSERT(c->width == LISTVAL_ENTRIES);
        for (size_t at = 0; at < bytes; at += other->width) {
            struct lp_key k = lp_key_of((struct span){(const char *)p + at, other->width});
            w = lp_entry_put(w, &k);
        }
    }
    c->end = (uint32_t)(w - c->body);
    c->count += to - from;
    ASSERT(c->end <= c->cap);
}

bool listval_chunk_remake(struct listval_chunks *l, struct mem *m, struct listval_chunk **c,
                          uint32_t width, size_t body, enum listval_end gap) {
    struct listval_chunk *was = *c, *now = listval_chunk_create(l, m, width, body);
    if (now == NULL)
        return false;
    if (gap == LISTVAL_HEAD) {
        size_t bytes =
            width == was->width ? listval_chunk_used(was) : listval_chunk_bytes_as_entries(was);
        now->begin = now->end = now->cap - (uint32_t)bytes;
    }
    listval_chunk_append(now, was, 0, was->count);
    listval_chunk_free(l, m, was);
    *c = now;
    return true;
}

void listval_chunk_slide(struct listval_chunk *c, uint32_t gap) {
    uint32_t used = listval_chunk_used(c);
    ASSERT(gap <= c->cap - used);
    memmove(c->body + gap, c->body + c->begin, used);
    c->begin = gap;
    c->end = gap + used;
}

void listval_chunk_trim(struct listval_chunks *l, struct mem *m, struct listval_chunk **c) {
    uint32_t used = listval_chunk_used(*c);
    if (mem_size(LISTVAL_CHUNK_HEAD + (size_t)used) < listval_chunk_alloc_bytes(*c) &&
        !listval_chunk_remake(l, m, c, (*c)->width, used, LISTVAL_TAIL))
        return; /* it stays as it is */
}

void listval_chunk_put(struct listval_chunk *c, uint32_t i, const struct lp_key *k) {
    bool entries = c->width == LISTVAL_ENTRIES;
    uint32_t bytes = entries ? (uint32_t)lp_entry_bytes_of(k) : c->width;
    uint8_t *p = listval_chunk_at(c, i), *begin = c->body + c->begin, *end = c->body + c->end;
    bool tail_has_room = c->cap - c->end >= bytes;
    ASSERT(entries || k->text.len == c->width);
    if (c->begin >= bytes && (p - begin < end - p || !tail_has_room)) {
        memmove(begin - bytes, begin, (size_t)(p - begin));
        c->begin -= bytes;
        p -= bytes;
    } else {
        ASSERT(tail_has_room);
        memmove(p + bytes, p, (size_t)(end - p));
        c->end += bytes;
    }
    if (entries)
        (void)lp_entry_put(p, k);
    else
        memcpy(p, k->text.ptr, c->width);
    c->count++;
}

void listval_chunk_remove(struct listval_chunk *c, uint32_t i, uint32_t n) {
    uint8_t *begin = c->body + c->begin, *end = c->body + c->end;
    ASSERT(n <= c->count - i);
    uint8_t *p = listval_chunk_at(c, i), *q = p;
    if (c->width != LISTVAL_ENTRIES) {
        q += (size_t)n * c->width;
    } else if (n == 1) {
        q += lp_entry_bytes(p);
    } else {
        q = listval_chunk_at(c, i + n);
    }
    if (p - begin < end - q) {
        memmove(begin + (q - p), begin, (size_t)(p - begin));
        c->begin += (uint32_t)(q - p);
    } else {
        memmove(p, q, (size_t)(end - q));
        c->end -= (uint32_t)(q - p);
    }
    c->count -= n;
}

static bool is(const struct listval_chunk *c, const uint8_t *p, const struct lp_key *k) {
    if (c->width == LISTVAL_ENTRIES)
        return lp_entry_is(p, k);
    return k->text.len == c->width && memcmp(p, k->text.ptr, c->width) == 0;
}

uint32_t listval_chunk_remove_equal(struct listval_chunk *c, uint32_t i, const struct lp_key *k,
                                    uint64_t max) {
    if (c->width != LISTVAL_ENTRIES && c->width != k->text.len)
        return 0;
    uint8_t *end = c->body + c->end, *p = listval_chunk_at(c, i);
    uint8_t *kept = p, *to = p; /* what lies from kept to p stays, and is to lie at `to` */
    uint32_t removed = 0;
    while (p < end && removed < max) {
        uint8_t *next = p + element_bytes(c, p);
        if (is(c, p, k)) {
            memmove(to, kept, (size_t)(p - kept));
            to += p - kept;
            kept = next;
            removed++;
        }
        p = next;
    }
    memmove(to, kept, (size_t)(end - kept));
    c->end -= (uint32_t)(kept - to);
    c->count -= removed;
    return removed;
}
