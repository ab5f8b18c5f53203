/* listval.c: lists, flat or in chunks. See anax/listval.h. */
#include "listval_impl.h"
#include "shards/assert.h"

/* As few bytes as a listpack may have do not lie in more chunks, by invariant (7). */
enum { FLAT_AGAIN_CHUNKS_MAX = 8 };

/* --- limits --- */

struct listval_limits listval_limits_of(int64_t list_max_listpack_size) {
    enum { LEVELS = 5, SAFE_BYTES = 8192 };
    struct listval_limits l = {.chunk_bytes = SAFE_BYTES, .flat_count = UINT32_MAX};
    if (list_max_listpack_size < 0) {
        int64_t level = list_max_listpack_size < -LEVELS ? LEVELS : -list_max_listpack_size;
        l.chunk_bytes = 2048U << level;
        l.flat_again_bytes = l.chunk_bytes / 2;
        l.flat_again_count = UINT32_MAX;
    } else {
        l.flat_count = list_max_listpack_size == 0           ? 1
                       : list_max_listpack_size < UINT32_MAX ? (uint32_t)list_max_listpack_size
                                                             : UINT32_MAX;
        l.flat_again_bytes = SAFE_BYTES;
        l.flat_again_count = l.flat_count / 2;
    }
    l.flat_bytes = l.chunk_bytes;
    return l;
}

static bool is_chunks(const struct val *v) {
    return v->form == VAL_CHUNKS;
}

/* outgrows: the list would no longer be a listpack with these texts in it. Redis counts the texts as they are, not as
 * entries, and so the name of the encoding changes where Redis changes it. */
static bool outgrows(const struct val *v, size_t texts_bytes, uint32_t n,
                     const struct listval_limits *l) {
    size_t bytes = v->form == VAL_NONE ? LP_EMPTY_BYTES : v->len;
    return bytes + texts_bytes > l->flat_bytes || listval_count(v) + n > l->flat_count;
}

/* too_long: its length does not fit into a chunk's numbers. */
static bool too_long(struct span text) {
    return text.len >= LISTVAL_TEXT_MAX;
}

/* --- from one form to the other --- */

/* chunks_of: the elements of v in chunks; v stays as it is. NULL: no memory. */
static struct listval_chunks *chunks_of(const struct val *v, const struct listval_limits *l) {
    struct listval_chunks *made = listval_chunks_create(v->mem);
    struct listval_iter i;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    if (made == NULL)
        return NULL;
    listval_begin(&i, v, 0, false);
    while (listval_next(&i, &item)) {
        struct span text = lp_item_text(&item, digits);
        if (!listval_chunks_push(made, v->mem, LISTVAL_TAIL, text, l)) {
            listval_chunks_destroy(made, v->mem);
            return NULL;
        }
    }
    return made;
}

/* flat_again: v becomes a listpack if it is short enough by now, and there is memory for it. */
static void flat_again(struct val *v, const struct listval_limits *l) {
    struct listval_chunks *from = listval_chunks_of(v);
    size_t bytes = LP_EMPTY_BYTES;
    if (likely(from->n > FLAT_AGAIN_CHUNKS_MAX) || from->head.count == 0 ||
        from->head.count > l->flat_again_count)
        return;
    for (uint32_t i = 0; i < from->n && bytes <= l->flat_again_bytes; i++)
        bytes += listval_chunk_bytes_as_entries(from->dir[from->first + i].chunk);
    if (bytes > l->flat_again_bytes || !val_room(v, bytes))
        return;
    struct listval_iter i;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    listval_begin(&i, v, 0, false);
    lp_init(v->bytes);
    while (listval_next(&i, &item)) {
        struct lp_key k = lp_key_of(lp_item_text(&item, digits));
        (void)lp_insert(v->bytes, NULL, &k);
    }
    v->form = VAL_LISTPACK;
    v->big = NULL;
    val_set_len(v, lp_bytes(v->bytes));
    listval_chunks_destroy(from, v->mem);
}

/* --- reading --- */

uint64_t listval_count(const struct val *v) {
    if (is_chunks(v))
        return v->big->count;
    return v->form == VAL_NONE ? 0 : lp_count(v->bytes);
}

bool listval_at(const struct val *v, uint64_t index, struct lp_item *out) {
    struct listval_iter i;
    listval_begin(&i, v, index, false);
    return listval_next(&i, out);
}

static void enter(struct listval_iter *i, const struct listval_slot *slot, uint32_t at) {
    const struct listval_chunk *c = slot->chunk;
    i->slot = slot;
    i->width = c->width;
    i->in_chunk = i->backward ? at : c->count - at;
    i->at = listval_chunk_at(c, at);
}

void listval_begin(struct listval_iter *i, const struct val *v, uint64_t index, bool backward) {
    uint64_t count = listval_count(v);
    *i = (struct listval_iter){.width = LISTVAL_ENTRIES, .backward = backward};
    i->index = backward ? index + 1 : index - 1;
    if (index >= count)
        return;
    i->left = backward ? index + 1 : count - index;
    if (is_chunks(v)) {
        uint32_t at;
        const struct listval_slot *slot = listval_chunks_find(listval_chunks_of(v), index, &at);
        enter(i, slot, backward ? at + 1 : at);
        return;
    }
    i->in_chunk = (uint32_t)i->left;
    i->at = lp_at(v->bytes, (int64_t)index);
    if (backward)
        i->at += lp_entry_bytes(i->at);
}

/* pass: the next element's bytes, behind which the iterator is then. */
static inline const uint8_t *pass(struct listval_iter *i) {
    bool entries = i->width == LISTVAL_ENTRIES;
    if (unlikely(i->in_chunk == 0)) {
        const struct listval_slot *next = i->backward ? i->slot - 1 : i->slot + 1;
        enter(i, next, i->backward ? next->chunk->count : 0);
        entries = i->width == LISTVAL_ENTRIES;
    }
    const uint8_t *p = i->at;
    if (i->backward) {
        p = entries ? lp_entry_before(p) : p - i->width;
        i->at = p;
        i->index--;
    } else {
        i->at += entries ? lp_entry_bytes(p) : i->width;
        i->index++;
    }
    i->in_chunk--;
    i->left--;
    return p;
}

bool listval_next(struct listval_iter *i, struct lp_item *out) {
    if (i->left == 0)
        return false;
    const uint8_t *p = pass(i);
    if (i->width == LISTVAL_ENTRIES)
        lp_entry_get(p, out);
    else
        *out = (struct lp_item){.str = (const char *)p, .len = i->width};
    return true;
}

/* skip_chunk: all that is left of it, but no more than *compare_max. */
static void skip_chunk(struct listval_iter *i, uint64_t *compare_max) {
    uint64_t n = i->in_chunk < *compare_max ? i->in_chunk : *compare_max;
    size_t bytes = n * i->width;
    i->at = i->backward ? i->at - bytes : i->at + bytes;
    i->index = i->backward ? i->index - n : i->index + n;
    i->in_chunk -= (uint32_t)n;
    i->left -= n;
    *compare_max -= n;
}

bool listval_find(struct listval_iter *i, const struct lp_key *k, uint64_t *compare_max) {
    while (i->left > 0 && *compare_max > 0) {
        if (i->width != LISTVAL_ENTRIES && i->in_chunk > 0 && i->width != k->text.len) {
            skip_chunk(i, compare_max);
            continue;
        }
        const uint8_t *p = pass(i);
        --*compare_max;
        if (i->width == LISTVAL_ENTRIES
                ? lp_entry_is(p, k)
                : i->width == k->text.len && memcmp(p, k->text.ptr, i->width) == 0)
            return true;
    }
    return false;
}

/* --- runs --- */

uint32_t listval_runs(const struct val *v) {
    return listval_chunks_of(v)->n;
}

struct listval_run listval_run_at(const struct val *v, uint32_t i) {
    const struct listval_chunks *l = listval_chunks_of(v);
    ASSERT(i < l->n);
    const struct listval_chunk *c = l->dir[l->first + i].chunk;
    return (struct listval_run){.count = c->count,
                                .width = c->width == LISTVAL_ENTRIES ? 0 : c->width,
                                .bytes = c->body + c->begin,
                                .len = listval_chunk_used(c)};
}

/* --- adding --- */

/* push_flat: false: no memory. */
static bool push_flat(struct val *v, enum listval_end end, const struct span *texts, uint32_t n) {
    struct lp_key k = lp_key_of(texts[0]);
    size_t len = (v->form == VAL_NONE ? LP_EMPTY_BYTES : v->len) + lp_entry_bytes_of(&k);
    for (uint32_t i = 1; i < n; i++) {
        struct lp_key other = lp_key_of(texts[i]);
        len += lp_entry_bytes_of(&other);
    }
    if (!val_room(v, len))
        return false;
    if (v->form == VAL_NONE)
        lp_init(v->bytes);
    v->form = VAL_LISTPACK;
    for (uint32_t i = 0;;) {
        (void)lp_insert(v->bytes, end == LISTVAL_HEAD ? lp_first(v->bytes) : NULL, &k);
        if (++i == n)
            break;
        k = lp_key_of(texts[i]);
    }
    val_set_len(v, (uint32_t)len);
    return true;
}

static bool push_chunks(struct listval_chunks *to, struct mem *m, enum listval_end end,
                        const struct span *texts, uint32_t n, const struct listval_limits *l) {
    for (uint32_t i = 0; i < n; i++) {
        if (unlikely(too_long(texts[i]) || !listval_chunks_push(to, m, end, texts[i], l))) {
            listval_chunks_pop(to, m, end, i);
            return false;
        }
    }
    return true;
}

/* adopt: v is these chunks from now on, or, when they could not be given what they were made for, stays as it is. */
static bool adopt(struct val *v, struct listval_chunks *made, bool done) {
    if (done)
        val_become(v, VAL_CHUNKS, &made->head);
    else
        listval_chunks_destroy(made, v->mem);
    return done;
}

bool listval_push(struct val *v, enum listval_end end, const struct span *texts, uint32_t n,
                  const struct listval_limits *l) {
    ASSERT(n > 0);
    if (is_chunks(v))
        return push_chunks(listval_chunks_of(v), v->mem, end, texts, n, l);
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += texts[i].len;
    if (likely(!outgrows(v, bytes, n, l)))
        return push_flat(v, end, texts, n);
    struct listval_chunks *made = chunks_of(v, l);
    return made != NULL && adopt(v, made, push_chunks(made, v->mem, end, texts, n, l));
}

bool listval_insert(struct val *v, uint64_t index, struct span text,
                    const struct listval_limits *l) {
    ASSERT(index <= listval_count(v));
    if (too_long(text))
        return false;
    if (is_chunks(v))
        return listval_chunks_insert(listval_chunks_of(v), v->mem, index, text, l);
    if (outgrows(v, text.len, 1, l)) {
        struct listval_chunks *made = chunks_of(v, l);
        return made != NULL && adopt(v, made, listval_chunks_insert(made, v->mem, index, text, l));
    }
    struct lp_key k = lp_key_of(text);
    size_t len = v->len + lp_entry_bytes_of(&k);
    if (!val_room(v, len))
        return false;
    (void)lp_insert(v->bytes, lp_at(v->bytes, (int64_t)index), &k);
    val_set_len(v, (uint32_t)len);
    return true;
}

bool listval_set(struct val *v, uint64_t index, struct span text, const struct listval_limits *l) {
    ASSERT(index < listval_count(v));
    if (too_long(text))
        return false;
    if (!is_chunks(v) && !outgrows(v, text.len, 1, l)) {
        struct lp_key k = lp_key_of(text);
        uint8_t *p = lp_at(v->bytes, (int64_t)index);
        size_t was = lp_entry_bytes(p), now = lp_entry_bytes_of(&k);
        if (now > was && !val_room(v, v->len + now - was))
            return false;
        (void)lp_replace(v->bytes, lp_at(v->bytes, (int64_t)index), &k);
        val_set_len(v, lp_bytes(v->bytes));
        return true;
    }
    struct listval_chunks *made = is_chunks(v) ? NULL : chunks_of(v, l);
    struct listval_chunks *to = is_chunks(v) ? listval_chunks_of(v) : made;
    if (to == NULL)
        return false;
    bool done = listval_chunks_set(to, v->mem, index, text, l);
    if (made != NULL && !adopt(v, made, done))
        return false;
    if (done)
        flat_again(v, l);
    return done;
}

/* rotate_text: the element at `from`, whose text lies elsewhere, goes to the other end. */
static bool rotate_text(struct val *v, enum listval_end from, struct span text,
                        const struct listval_limits *l) {
    enum listval_end to = from == LISTVAL_HEAD ? LISTVAL_TAIL : LISTVAL_HEAD;
    if (is_chunks(v)) {
        struct listval_chunks *c = listval_chunks_of(v);
        if (!listval_chunks_push(c, v->mem, to, text, l))
            return false;
        listval_chunks_pop(c, v->mem, from, 1);
        return true;
    }
    struct lp_key k = lp_key_of(text);
    uint8_t *lp = v->bytes;
    (void)lp_remove(lp, from == LISTVAL_HEAD ? lp_first(lp) : lp_last(lp), 1);
    (void)lp_insert(lp, to == LISTVAL_HEAD ? lp_first(lp) : NULL, &k);
    return true;
}

bool listval_rotate(struct val *v, enum listval_end from, const struct listval_limits *l) {
    char usual[512], *copy = usual;
    char digits[STRVAL_INT_BYTES];
    struct lp_item item;
    bool there = listval_at(v, from == LISTVAL_HEAD ? 0 : listval_count(v) - 1, &item);
    ASSERT(there);
    struct span text = lp_item_text(&item, digits);
    if (text.len > sizeof(usual)) {
        copy = mem_alloc(v->mem, text.len);
        if (copy == NULL)
            return false;
    }
    memcpy(copy, text.ptr, text.len);
    bool done = rotate_text(v, from, (struct span){copy, text.len}, l);
    if (copy != usual)
        mem_free(v->mem, copy, text.len);
    return done;
}

/* --- taking out --- */

static void flat_removed(struct val *v) {
    val_set_len(v, lp_bytes(v->bytes));
}

static void flat_pop(struct val *v, enum listval_end end, uint64_t n) {
    uint8_t *lp = v->bytes;
    if (n == 0)
        return;
    (void)lp_remove(lp, lp_at(lp, end == LISTVAL_HEAD ? 0 : -(int64_t)n), (uint32_t)n);
    flat_removed(v);
}

void listval_pop(struct val *v, enum listval_end end, uint64_t n, const struct listval_limits *l) {
    ASSERT(n <= listval_count(v));
    if (is_chunks(v)) {
        listval_chunks_pop(listval_chunks_of(v), v->mem, end, n);
        flat_again(v, l);
    } else {
        flat_pop(v, end, n);
    }
}

void listval_keep(struct val *v, uint64_t from, uint64_t to, const struct listval_limits *l,
                  struct object **rest) {
    ASSERT(from < to);
    ASSERT(to <= listval_count(v));
    *rest = NULL;
    if (is_chunks(v)) {
        v->big = &listval_chunks_keep(listval_chunks_of(v), v->mem, from, to, rest)->head;
        flat_again(v, l);
    } else {
        flat_pop(v, LISTVAL_TAIL, listval_count(v) - to);
        flat_pop(v, LISTVAL_HEAD, from);
    }
}

static uint64_t flat_remove_equal(struct val *v, uint64_t index, const struct lp_key *k,
                                  uint64_t max) {
    uint64_t removed = 0;
    uint8_t *p = lp_find(lp_at(v->bytes, (int64_t)index), k, 0);
    for (; p != NULL && removed < max; removed++)
        p = lp_find(lp_remove(v->bytes, p, 1), k, 0);
    return removed;
}

uint64_t listval_remove_equal(struct val *v, struct span text, enum listval_end from, uint64_t max,
                              const struct listval_limits *l) {
    struct lp_key k = lp_key_of(text);
    uint64_t first = listval_count(v), all = UINT64_MAX;
    struct listval_iter i;
    /* What is removed from the tail on is what is removed from the last one of them on. */
    listval_begin(&i, v, from == LISTVAL_HEAD ? 0 : first - 1, from == LISTVAL_TAIL);
    for (uint64_t n = from == LISTVAL_HEAD ? 1 : max; n > 0 && listval_find(&i, &k, &all); n--)
        first = i.index;
    if (first == listval_count(v))
        return 0;
    if (!is_chunks(v))
        return flat_remove_equal(v, first, &k, max);
    return listval_chunks_remove_equal(listval_chunks_of(v), v->mem, first, &k, max, l);
}

void listval_settle(struct val *v, const struct listval_limits *l) {
    if (is_chunks(v))
        flat_again(v, l);
    else if (v->form != VAL_NONE)
        flat_removed(v);
}

void listval_check(const struct val *v, const struct listval_limits *l, bool memory_was_there) {
    if (is_chunks(v)) {
        listval_chunks_check(listval_chunks_of(v), l, memory_was_there);
    } else if (v->form != VAL_NONE) {
        ASSERT(v->form == VAL_LISTPACK);
        ASSERT(lp_valid(v->bytes, v->len));
    }
}
