/* setval_add.c: members in, and the forms that a set takes on as it grows. See anax/setval.h. */
#include "setval_impl.h"
#include "shards/assert.h"
#include "shards/decimal.h"
#include <limits.h>

enum {
    TURN_MIN = 512,    /* a table of fewer stays one */
    SPARSE_BYTES = 36, /* an integer costs more than that in bitmaps: a table is smaller */
    SAMPLE_FROM = 8192,
    SAMPLE_SHARE = 16
};

/* dense: bitmaps of them are not much larger than a table, nor too many. */
static bool dense(const struct set_kind *k, const int64_t *sorted, size_t n) {
    return roaring_set_runs(sorted, n, ROARING_CONTAINER_BITS) * 3 <= n * 2 &&
           roaring_set_runs(sorted, n, ROARING_PART_BITS) <= setval_parts_max(k);
}

static bool doubled(uint64_t before, uint64_t after) {
    return after >= TURN_MIN && after <= SETVAL_TURN_MAX && (before ^ after) > before;
}

/* --- sets of integers --- */

/* radix_sort: by one byte after the other, the lowest first; a byte that is the same in all is passed over. */
static void radix_sort(int64_t *nums, size_t n) {
    enum { BYTES = 8, VALUES = 256 };
    size_t counts[BYTES][VALUES] = {0};
    int64_t *from = nums, *to = nums + n;
    for (size_t i = 0; i < n; i++) {
        uint64_t v = (uint64_t)nums[i] ^ 1ULL << 63;
        for (unsigned byte = 0; byte < BYTES; byte++)
            counts[byte][v >> byte * 8 & 0xff]++;
    }
    for (unsigned byte = 0; byte < BYTES; byte++) {
        size_t *count = counts[byte], place = 0;
        uint64_t flip = 1ULL << 63, first = ((uint64_t)from[0] ^ flip) >> byte * 8 & 0xff;
        if (count[first] == n)
            continue;
        for (unsigned value = 0; value < VALUES; value++) {
            size_t here = count[value];
            count[value] = place;
            place += here;
        }
        for (size_t i = 0; i < n; i++)
            to[count[((uint64_t)from[i] ^ flip) >> byte * 8 & 0xff]++] = from[i];
        int64_t *done = to;
        to = from;
        from = done;
    }
    if (from != nums)
        memcpy(nums, from, n * sizeof(*nums));
}

size_t setval_sort(int64_t *nums, size_t n) {
    size_t kept = 0;
    bool sorted = true;
    for (size_t i = 1; i < n && sorted; i++)
        sorted = nums[i - 1] < nums[i];
    if (sorted)
        return n;
    radix_sort(nums, n);
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || nums[i] != nums[kept - 1])
            nums[kept++] = nums[i];
    }
    return kept;
}

static size_t width_for(int64_t v) {
    if (v >= INT16_MIN && v <= INT16_MAX)
        return 2;
    return v >= INT32_MIN && v <= INT32_MAX ? 4 : 8;
}

bool setval_intset_of(struct val *v, const int64_t *sorted, size_t n) {
    size_t width = 2;
    if (n > 0) {
        size_t low = width_for(sorted[0]), high = width_for(sorted[n - 1]);
        width = low > high ? low : high;
    }
    if (!val_room(v, INTSET_HEADER + n * width))
        return false;
    intset_init(v->bytes);
    for (size_t i = 0; i < n; i++)
        intset_add(v->bytes, sorted[i]);
    v->form = VAL_INTSET;
    val_set_len(v, (uint32_t)intset_bytes(v->bytes));
    return true;
}

bool setval_put_items(struct val *v, const struct fields_kind *k, const struct lp_item *items,
                      size_t n, int64_t now_ms) {
    struct span names[SETVAL_FETCH];
    char digits[SETVAL_FETCH][STRVAL_INT_BYTES];
    for (size_t at = 0; at < n; at += SETVAL_FETCH) {
        uint32_t some = n - at < SETVAL_FETCH ? (uint32_t)(n - at) : SETVAL_FETCH;
        struct fields_put put = {.names = names, .n = some, .only_new = true};
        uint64_t added;
        for (uint32_t i = 0; i < some; i++)
            names[i] = lp_item_text(&items[at + i], digits[i]);
        if (!fields_put(v, k, &put, now_ms, &added))
            return false;
    }
    return true;
}

/* put_nums: the same of integers. */
static bool put_nums(struct val *v, const struct fields_kind *k, const int64_t *nums, size_t n) {
    struct lp_item items[SETVAL_FETCH];
    for (size_t at = 0; at < n; at += SETVAL_FETCH) {
        size_t some = n - at < SETVAL_FETCH ? n - at : SETVAL_FETCH;
        for (size_t i = 0; i < some; i++)
            items[i] = (struct lp_item){.num = nums[at + i]};
        if (!setval_put_items(v, k, items, some, 0))
            return false;
    }
    return true;
}

/* for_table: what makes a table of any number of rows. */
static struct fields_kind for_table(const struct set_kind *k) {
    struct fields_kind kind = k->fields;
    kind.entries_max = 0;
    return kind;
}

bool setval_big_of(struct val *v, const struct set_kind *k, const int64_t *sorted, size_t n) {
    ASSERT(v->form == VAL_NONE);
    if (dense(k, sorted, n)) {
        struct roaring *r = roaring_set_of(v->mem, sorted, n);
        if (r != NULL)
            val_become(v, VAL_ROARING, &r->o);
        return r != NULL;
    }
    struct fields_kind table = for_table(k);
    if (put_nums(v, &table, sorted, n))
        return true;
    val_destroy(v);
    return false;
}

/* --- from one form to another --- */

/* replace: v holds what `made` held. */
static void replace(struct val *v, struct val *made) {
    val_destroy(v);
    *v = *made;
}

/* to_fields: `made` is a fields form with the members of an intset or of none. */
static bool to_fields(const struct val *v, const struct fields_kind *k, struct val *made) {
    int64_t nums[SETVAL_FETCH];
    val_init(made, v->mem, VALUE_SET);
    uint32_t count = v->form == VAL_NONE ? 0 : intset_count(v->bytes);
    for (uint32_t at = 0; at < count; at += SETVAL_FETCH) {
        uint32_t some = count - at < SETVAL_FETCH ? count - at : SETVAL_FETCH;
        for (uint32_t i = 0; i < some; i++)
            nums[i] = intset_at(v->bytes, at + i);
        if (!put_nums(made, k, nums, some)) {
            val_destroy(made);
            return false;
        }
    }
    return true;
}

/* ints_of: the first n members, when all are integers. `to` has room for 2 * n. */
static bool ints_of(const struct val *v, const struct set_kind *k, int64_t *to, size_t n) {
    struct set_iter at;
    struct lp_item item;
    size_t got = 0;
    setval_begin(&at, v, k, 0);
    while (got < n && setval_next(&at, &item) && setval_item_num(&item, &to[got]))
        got++;
    return got == n;
}

/* maybe_dense: a table comes in the order of hashes, so the first members are any. When so few share a container
 * that all of them could not be dense, there is no need to look at all. */
static bool maybe_dense(const struct val *v, const struct set_kind *k, int64_t *nums, size_t n) {
    size_t some = n < SAMPLE_FROM ? 1 : n / SAMPLE_SHARE;
    if (!ints_of(v, k, nums, some))
        return false;
    some = setval_sort(nums, some);
    size_t containers = roaring_set_runs(nums, some, ROARING_CONTAINER_BITS);
    return n < SAMPLE_FROM || some - containers >= some * some / (8 * n);
}

/* looked_at: was a set of that size looked at already? Looking costs its size, and members may come and go around a
 * power of two. The object remembers the power; a set that has shrunk to less than a quarter is another one. */
static bool looked_at(struct object *o, uint64_t n) {
    uint16_t power = (uint16_t)(64 - __builtin_clzll(n));
    bool was = o->flags >= power && o->flags < power + 3;
    o->flags = power;
    return was;
}

/* turn: between bitmaps and a table, when the other one is smaller; the set has doubled. Without memory it stays. */
static void turn(struct val *v, const struct set_kind *k) {
    size_t n = val_count(v);
    if (setval_due_ms(v) != OBJECT_NEVER || val_is_flat(v))
        return;
    if (v->form == VAL_ROARING && v->big->bytes <= SPARSE_BYTES * n)
        return;
    if (looked_at(v->big, n))
        return;
    int64_t first;
    if (!ints_of(v, k, &first, 1)) /* mostly texts */
        return;
    int64_t *nums = mem_alloc(v->mem, 2 * n * sizeof(*nums));
    if (nums == NULL)
        return;
    bool was_dense = v->form == VAL_ROARING;
    if ((was_dense || maybe_dense(v, k, nums, n)) && ints_of(v, k, nums, n)) {
        struct val made;
        val_init(&made, v->mem, VALUE_SET);
        size_t distinct = setval_sort(nums, n);
        ASSERT(distinct == n);
        if (dense(k, nums, n) != was_dense && setval_big_of(&made, k, nums, n)) {
            val_object(&made)->flags = val_object(v)->flags;
            replace(v, &made);
        }
    }
    mem_free(v->mem, nums, 2 * n * sizeof(*nums));
}

/* --- into an intset, or into none --- */

static uint32_t leading_ints(const struct span *names, uint32_t n) {
    uint32_t ints = 0;
    int64_t num;
    while (ints < n && strval_parse_int(names[ints], &num))
        ints++;
    return ints;
}

static bool add_one_int(struct val *v, int64_t num, uint64_t *added) {
    bool fresh = v->form == VAL_NONE;
    size_t need = fresh ? INTSET_HEADER + width_for(num) : intset_bytes_with(v->bytes, num);
    *added = 0;
    uint32_t at;
    if (!fresh && intset_find(v->bytes, num, &at))
        return true;
    if (!val_room(v, need))
        return false;
    if (fresh)
        intset_init(v->bytes);
    v->form = VAL_INTSET;
    *added = intset_add(v->bytes, num);
    val_set_len(v, (uint32_t)intset_bytes(v->bytes));
    return true;
}

/* add_in_place: all names are integers, and an intset may have all of them. */
static bool add_in_place(struct val *v, const struct span *names, uint32_t n, uint64_t *added) {
    uint32_t count = v->form == VAL_NONE ? 0 : intset_count(v->bytes);
    size_t width = count == 0 ? 2 : (intset_bytes(v->bytes) - INTSET_HEADER) / count;
    int64_t num;
    for (uint32_t i = 0; i < n && strval_parse_int(names[i], &num); i++)
        width = width > width_for(num) ? width : width_for(num);
    if (!val_room(v, INTSET_HEADER + (count + n) * width))
        return false;
    if (count == 0) /* one that was emptied has kept its width */
        intset_init(v->bytes);
    v->form = VAL_INTSET;
    *added = 0;
    for (uint32_t i = 0; i < n && strval_parse_int(names[i], &num); i++)
        *added += intset_add(v->bytes, num);
    val_set_len(v, (uint32_t)intset_bytes(v->bytes));
    return true;
}

/* Integers of an intset and of names, sorted. */
struct merged {
    int64_t *nums;
    size_t n, cap;
};

static bool merge(struct merged *g, const struct val *v, const struct span *names, uint32_t n) {
    uint32_t count = v->form == VAL_NONE ? 0 : intset_count(v->bytes);
    g->cap = 2 * ((size_t)count + n);
    g->nums = mem_alloc(v->mem, g->cap * sizeof(*g->nums));
    if (g->nums == NULL)
        return false;
    for (uint32_t i = 0; i < count; i++)
        g->nums[i] = intset_at(v->bytes, i);
    for (uint32_t i = 0; i < n; i++) {
        bool is_int = strval_parse_int(names[i], &g->nums[count + i]);
        ASSERT(is_int);
    }
    g->n = setval_sort(g->nums, (size_t)count + n);
    return true;
}

static void merged_free(struct merged *g, struct mem *m) {
    mem_free(m, g->nums, g->cap * sizeof(*g->nums));
}

/* add_many_ints: all names are integers, and they may be too many for an intset; `large`: so they
 * are taken to be. */
static bool add_many_ints(struct val *v, const struct set_kind *k, const struct span *names,
                          uint32_t n, bool large, uint64_t *added) {
    struct val made;
    struct merged all;
    if (!merge(&all, v, names, n))
        return false;
    val_init(&made, v->mem, VALUE_SET);
    bool fine = !large && all.n <= k->intset_max ? setval_intset_of(&made, all.nums, all.n)
                                                 : setval_big_of(&made, k, all.nums, all.n);
    *added = all.n - (v->form == VAL_NONE ? 0 : intset_count(v->bytes));
    if (fine)
        replace(v, &made);
    merged_free(&all, v->mem);
    return fine;
}

/* add_rows: v becomes a fields form. */
static bool add_rows(struct val *v, const struct fields_kind *k, const struct fields_put *put,
                     int64_t now_ms, uint64_t *added) {
    struct val made;
    if (v->form != VAL_INTSET)
        return fields_put(v, k, put, now_ms, added);
    if (!to_fields(v, k, &made))
        return false;
    if (!fields_put(&made, k, put, now_ms, added)) {
        val_destroy(&made);
        return false;
    }
    replace(v, &made);
    return true;
}

/* add_few_each: as add_rows, where the number of names is not to decide about the form. */
static bool add_few_each(struct val *v, const struct fields_kind *k, const struct fields_put *put,
                         int64_t now_ms, uint64_t *added) {
    struct val made;
    struct fields_put some = *put;
    uint32_t most = k->entries_max == 0 ? 1 : (uint32_t)k->entries_max;
    bool fine = to_fields(v, k, &made);
    *added = 0;
    for (uint32_t at = 0; fine && at < put->n; at += some.n) {
        uint64_t of_some;
        some.names = put->names + at;
        some.n = put->n - at < most ? put->n - at : most;
        fine = fields_put(&made, k, &some, now_ms, &of_some);
        *added += of_some;
    }
    if (fine)
        replace(v, &made);
    else
        val_destroy(&made);
    return fine;
}

/* add_mixed: some name is no integer. The integers before it may make an intset too large first. */
static bool add_mixed(struct val *v, const struct set_kind *k, const struct fields_put *put,
                      uint32_t ints, bool large, int64_t now_ms, uint64_t *added) {
    struct fields_kind kind = k->fields;
    struct merged all;
    uint32_t count = v->form == VAL_NONE ? 0 : intset_count(v->bytes);
    if (!large && (uint64_t)count + ints > k->intset_max) {
        if (!merge(&all, v, put->names, ints))
            return false;
        large = all.n > k->intset_max;
        merged_free(&all, v->mem);
    }
    if (large)
        kind.entries_max = 0;
    if (!large && put->n > kind.entries_max)
        return add_few_each(v, &kind, put, now_ms, added);
    return add_rows(v, &kind, put, now_ms, added);
}

/* add_small: the form that comes of it depends on the first name, and on how many there are: as in
 * Redis. */
static bool add_small(struct val *v, const struct set_kind *k, const struct span *names, uint32_t n,
                      int64_t now_ms, uint64_t *added) {
    bool fresh = v->form == VAL_NONE;
    uint32_t count = fresh ? 0 : intset_count(v->bytes);
    int64_t num;
    if (n == 1 && count < k->intset_max && strval_parse_int(names[0], &num))
        return add_one_int(v, num, added);
    uint32_t ints = leading_ints(names, n);
    bool as_ints = !fresh || (ints > 0 && n <= k->intset_max);
    bool large = n > (as_ints ? k->intset_max : k->fields.entries_max);
    if (ints == n && as_ints && !large && (uint64_t)count + n <= k->intset_max)
        return add_in_place(v, names, n, added);
    if (ints == n && (as_ints || large))
        return add_many_ints(v, k, names, n, large, added);
    struct fields_put put = {.names = names, .n = n, .only_new = true};
    return add_mixed(v, k, &put, as_ints ? ints : 0, large, now_ms, added);
}

/* --- into bitmaps --- */

/* What a call has found out about each of its names: a bit each. */
struct marks {
    uint64_t on_stack[2 * 4];
    uint64_t *added;  /* to the bitmaps: in case it has to be taken out again */
    uint64_t *beside; /* its place is not in the bitmaps */
    size_t bytes;     /* of what was allocated */
};

static bool marks_init(struct mem *m, struct marks *a, uint32_t n) {
    size_t words = ((size_t)n + 63) / 64;
    memset(a->on_stack, 0, sizeof(a->on_stack));
    a->added = a->on_stack;
    a->bytes = 0;
    if (2 * words > COUNT_OF(a->on_stack)) {
        a->bytes = 2 * words * sizeof(*a->added);
        a->added = mem_zalloc(m, a->bytes);
    }
    a->beside = a->added + words;
    return a->added != NULL;
}

static void mark(uint64_t *bits, uint32_t i) {
    bits[i / 64] |= 1ULL << i % 64;
}

static bool marked(const uint64_t *bits, uint32_t i) {
    return bits[i / 64] >> i % 64 & 1;
}

static uint32_t count_marked(const uint64_t *bits, uint32_t n) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < (n + 63) / 64; i++)
        sum += (uint32_t)__builtin_popcountll(bits[i]);
    return sum;
}

static void undo_ints(struct val *v, const struct marks *a, const struct span *names, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        int64_t num;
        if (marked(a->added, i) && strval_parse_int(names[i], &num))
            roaring_set_remove(v->mem, setval_roaring(v), num);
    }
}

/* takes: the bitmaps have a part for it, or may get one. */
static bool takes(const struct roaring *r, const struct set_kind *k, int64_t num) {
    return likely(r->parts < setval_parts_max(k)) || roaring_set_has_part(r, num);
}

/* put_ints: those names that are integers which the bitmaps take, and not beside them. */
static bool put_ints(struct val *v, const struct set_kind *k, const struct span *names, uint32_t n,
                     int64_t now_ms, struct marks *a) {
    struct roaring *r = setval_roaring(v);
    struct field f;
    struct val rest;
    int64_t num;
    setval_rest(v, &rest);
    for (uint32_t i = 0; i < n; i++) {
        if (!strval_parse_int(names[i], &num) || !takes(r, k, num)) {
            mark(a->beside, i);
            continue;
        }
        if (unlikely(r->rest != NULL) && fields_find(&rest, &k->fields, names[i], now_ms, &f))
            continue;
        enum roaring_outcome outcome = roaring_set_add(v->mem, r, num);
        if (unlikely(outcome == ROARING_NO_MEMORY))
            return false;
        if (outcome == ROARING_CHANGED)
            mark(a->added, i);
    }
    return true;
}

/* put_others: names that put_ints has left, beside the bitmaps. */
static bool put_others(struct val *v, const struct set_kind *k, const struct span *names,
                       uint32_t n, int64_t now_ms, const struct marks *a, uint64_t *added) {
    struct set_rest rest;
    const struct span *list = names;
    struct span *own = NULL;
    uint32_t others = count_marked(a->beside, n);
    if (others == 0)
        return true;
    if (others < n) {
        list = own = mem_alloc(v->mem, others * sizeof(*own));
        if (own == NULL)
            return false;
        for (uint32_t i = 0, to = 0; i < n; i++) {
            if (marked(a->beside, i))
                own[to++] = names[i];
        }
    }
    struct fields_put put = {.names = list, .n = others, .only_new = true};
    setval_rest_open(v->mem, setval_roaring(v), &rest);
    bool fine = fields_put(&rest.val, &k->fields, &put, now_ms, added);
    setval_rest_close(setval_roaring(v), &rest);
    mem_free(v->mem, own, others * sizeof(*own));
    return fine;
}

/* drop_dead: a row beside the bitmaps whose time has come, of an integer that is in them now. */
static void drop_dead(struct val *v, const struct set_kind *k, const struct span *names, uint32_t n,
                      const struct marks *a, int64_t now_ms) {
    struct roaring *r = setval_roaring(v);
    struct set_rest rest;
    if (likely(r->o.due_ms > now_ms))
        return;
    setval_rest_open(v->mem, r, &rest);
    for (uint32_t i = 0; i < n; i++) {
        if (marked(a->added, i))
            fields_remove(&rest.val, &k->fields, names[i], now_ms);
    }
    setval_rest_close(r, &rest);
}

static bool add_to_roaring(struct val *v, const struct set_kind *k, const struct span *names,
                           uint32_t n, int64_t now_ms, uint64_t *added) {
    struct marks a;
    uint64_t before = val_count(v);
    *added = 0;
    if (!marks_init(v->mem, &a, n))
        return false;
    bool fine =
        put_ints(v, k, names, n, now_ms, &a) && put_others(v, k, names, n, now_ms, &a, added);
    if (fine) {
        *added += count_marked(a.added, n);
        drop_dead(v, k, names, n, &a, now_ms);
    } else {
        undo_ints(v, &a, names, n);
    }
    if (a.bytes > 0)
        mem_free(v->mem, a.added, a.bytes);
    if (fine && doubled(before, val_count(v)))
        turn(v, k);
    return fine;
}

/* --- */

static bool add_to_fields(struct val *v, const struct set_kind *k, const struct span *names,
                          uint32_t n, int64_t now_ms, uint64_t *added) {
    struct fields_kind kind = k->fields;
    struct fields_put put = {.names = names, .n = n, .only_new = true};
    uint64_t before = fields_count(v, &kind);
    if (n > kind.entries_max)
        kind.entries_max = 0;
    if (!fields_put(v, &kind, &put, now_ms, added))
        return false;
    if (unlikely(doubled(before, fields_count(v, &kind))))
        turn(v, k);
    return true;
}

bool setval_add(struct val *v, const struct set_kind *k, const struct span *names, uint32_t n,
                int64_t now_ms, uint64_t *added) {
    switch (v->form) {
    case VAL_NONE:
    case VAL_INTSET:
        return add_small(v, k, names, n, now_ms, added);
    case VAL_ROARING:
        return add_to_roaring(v, k, names, n, now_ms, added);
    default:
        return add_to_fields(v, k, names, n, now_ms, added);
    }
}

/* --- members with a time --- */

/* time_roaring: those that are in the bitmaps and get a time move beside them. */
static bool time_roaring(struct val *v, const struct set_kind *k, const struct fields_put *p,
                         int64_t now_ms, uint64_t *added) {
    struct roaring *r = setval_roaring(v);
    struct fields_put put = *p;
    struct set_rest rest;
    uint64_t moved = 0;
    int64_t num;
    struct span *list = mem_alloc(v->mem, p->n * sizeof(*list));
    if (list == NULL)
        return false;
    put.names = list;
    put.n = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        bool there = strval_parse_int(p->names[i], &num) && roaring_set_has(r, num);
        if (!there || !p->only_new)
            list[put.n++] = p->names[i];
    }
    setval_rest_open(v->mem, r, &rest);
    *added = 0;
    bool fine = put.n == 0 || fields_put(&rest.val, &k->fields, &put, now_ms, added);
    setval_rest_close(r, &rest);
    for (uint32_t i = 0; fine && i < put.n; i++)
        moved += strval_parse_int(list[i], &num) && roaring_set_remove(v->mem, r, num);
    *added -= moved;
    mem_free(v->mem, list, p->n * sizeof(*list));
    return fine;
}

bool setval_add_timed(struct val *v, const struct set_kind *k, const struct span *names, uint32_t n,
                      bool keep, int64_t expire_ms, int64_t now_ms, uint64_t *added) {
    struct fields_put put = {
        .names = names, .n = n, .only_new = keep, .time = FIELDS_TIME_SET, .expire_ms = expire_ms};
    if (v->form == VAL_ROARING)
        return time_roaring(v, k, &put, now_ms, added);
    return add_rows(v, &k->fields, &put, now_ms, added);
}

/* set_times_roaring: integers that get a time are put beside the bitmaps first, where they can be taken out again. */
static bool set_times_roaring(struct val *v, const struct set_kind *k,
                              const struct field_time *times, uint32_t n, int64_t now_ms) {
    struct roaring *r = setval_roaring(v);
    struct set_rest rest;
    struct fields_put put = {.time = FIELDS_TIME_SET};
    int64_t num;
    uint64_t added;
    struct span *list = mem_alloc(v->mem, n * sizeof(*list));
    if (list == NULL)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (times[i].expire_ms == FIELDS_NEVER || !strval_parse_int(times[i].name, &num) ||
            !roaring_set_has(r, num))
            continue;
        put.expire_ms = times[i].expire_ms;
        list[put.n++] = times[i].name;
    }
    put.names = list;
    setval_rest_open(v->mem, r, &rest);
    bool fine = put.n == 0 || fields_put(&rest.val, &k->fields, &put, now_ms, &added);
    uint32_t there = fine ? put.n : 0;
    fine = fine &&
           (rest.val.form == VAL_NONE || fields_set_times(&rest.val, &k->fields, times, n, now_ms));
    for (uint32_t i = 0; i < there; i++) {
        if (!fine)
            fields_remove(&rest.val, &k->fields, list[i], now_ms);
        else if (strval_parse_int(list[i], &num))
            roaring_set_remove(v->mem, r, num);
    }
    setval_rest_close(r, &rest);
    mem_free(v->mem, list, n * sizeof(*list));
    return fine;
}

/* names_any: an intset has to become rows for these. */
static bool names_any(const struct val *v, const struct set_kind *k, const struct field_time *times,
                      uint32_t n, int64_t now_ms) {
    for (uint32_t i = 0; i < n; i++) {
        if (times[i].expire_ms != FIELDS_NEVER && setval_find(v, k, times[i].name, now_ms, NULL))
            return true;
    }
    return false;
}

bool setval_set_times(struct val *v, const struct set_kind *k, const struct field_time *times,
                      uint32_t n, int64_t now_ms) {
    struct val made;
    if (v->form == VAL_ROARING)
        return set_times_roaring(v, k, times, n, now_ms);
    if (v->form == VAL_NONE)
        return true;
    if (v->form != VAL_INTSET)
        return fields_set_times(v, &k->fields, times, n, now_ms);
    if (!names_any(v, k, times, n, now_ms))
        return true;
    if (!to_fields(v, &k->fields, &made))
        return false;
    if (!fields_set_times(&made, &k->fields, times, n, now_ms)) {
        val_destroy(&made);
        return false;
    }
    replace(v, &made);
    return true;
}
