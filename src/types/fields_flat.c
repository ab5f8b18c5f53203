/* fields_flat.c: writing of rows in a listpack, without times and with them.
 *
 * Room is made for all rows of a write before the first is touched; from there on nothing can fail.
 */
#include "fields_impl.h"
#include "shards/assert.h"

enum {
    FLAT_BYTES_MAX = 1 << 29, /* half of what val_room gives */
    TIME_ENTRY_MAX = 10,      /* an integer of 64 bits */
    NO_TIME_ENTRY = 2,
    MOVE_BYTES = 256,
    ROWS_AT_ONCE = 8 /* found once, and written where they were found */
};

static struct span name_of(const struct fields_kind *k, const struct fields_put *p, uint32_t i) {
    return p->names[k->valued ? 2 * i : i];
}

static uint8_t *find_key(const struct val *v, const struct fields_kind *k,
                         const struct lp_key *key) {
    return lp_find(lp_first(v->bytes), key, fields_stride(v, k) - 1);
}

/* find: the row of that name, whatever its time; NULL: there is none. */
static uint8_t *find(const struct val *v, const struct fields_kind *k, struct span name) {
    struct lp_key key = lp_key_of(name);
    return v->form == VAL_NONE ? NULL : find_key(v, k, &key);
}

static int64_t row_time(const struct val *v, const struct fields_kind *k, uint8_t *name) {
    struct fields_row row;
    fields_row_at(v, k, name, &row);
    return row.expire_ms;
}

/* --- thresholds --- */

/* is_new: row i of a put is in v not yet, nor among the rows of the put before it. */
static bool is_new(const struct val *v, const struct fields_kind *k, const struct fields_put *p,
                   uint32_t i) {
    for (uint32_t before = 0; before < i; before++)
        if (span_eq(name_of(k, p, before), name_of(k, p, i)))
            return false;
    return find(v, k, name_of(k, p, i)) == NULL;
}

/* stays: a row that only_new leaves as it is. */
static bool stays(const struct val *v, const struct fields_kind *k, const struct fields_put *p,
                  uint32_t i, int64_t now_ms) {
    uint8_t *row = p->only_new ? find(v, k, name_of(k, p, i)) : NULL;
    return row != NULL && !item_dead(row_time(v, k, row), now_ms);
}

bool fields_flat_too_large(const struct val *v, const struct fields_kind *k,
                           const struct fields_put *p, int64_t now_ms) {
    uint64_t rows = val_count(v), bytes = v->len;
    uint32_t texts = p->n << k->valued;
    for (uint32_t i = 0; i < texts; i++) {
        bytes += LP_GROWTH(p->names[i].len);
        if (unlikely(p->names[i].len > k->bytes_max) && !stays(v, k, p, i >> k->valued, now_ms))
            return true;
    }
    if (likely(rows + p->n <= k->entries_max && bytes <= FLAT_BYTES_MAX))
        return false;
    /* As Redis does, without looking whether so many are all different. */
    if (p->n > k->entries_max || bytes > FLAT_BYTES_MAX)
        return true;
    for (uint32_t i = 0; i < p->n && rows <= k->entries_max; i++)
        rows += is_new(v, k, p, i);
    return rows > k->entries_max;
}

/* --- without times --- */

/* A row that is to be put: its texts as a listpack keeps them, and where one of that name begins, 0: nowhere. */
struct put_row {
    struct lp_key name, value;
    size_t at;
};

static void find_row(const struct val *v, const struct fields_kind *k, struct put_row *r) {
    uint8_t *row = find_key(v, k, &r->name);
    r->at = row == NULL ? 0 : (size_t)(row - v->bytes);
}

/* prepare: reads row i of a put and finds it; returns how much longer it makes the listpack. */
static size_t prepare(const struct val *v, const struct fields_kind *k, const struct fields_put *p,
                      uint32_t i, struct put_row *r) {
    size_t bytes = 0, was = 0;
    r->name = lp_key_of(name_of(k, p, i));
    r->at = 0;
    if (v->form != VAL_NONE)
        find_row(v, k, r);
    if (k->valued) {
        r->value = lp_key_of(p->names[2 * i + 1]);
        bytes = lp_entry_bytes_of(&r->value);
    }
    if (r->at == 0)
        return bytes + lp_entry_bytes_of(&r->name);
    if (p->only_new || !k->valued)
        return 0;
    was = lp_entry_bytes(lp_next(v->bytes + r->at));
    return bytes > was ? bytes - was : 0;
}

/* apply: writes a row where it is, or at the end. */
static void apply(const struct val *v, const struct fields_kind *k, bool only_new,
                  const struct put_row *r) {
    if (r->at != 0) {
        if (k->valued && !only_new)
            (void)lp_replace(v->bytes, lp_next(v->bytes + r->at), &r->value);
        return;
    }
    (void)lp_insert(v->bytes, NULL, &r->name);
    if (k->valued)
        (void)lp_insert(v->bytes, NULL, &r->value);
}

static bool put_plain(struct val *v, const struct fields_kind *k, const struct fields_put *p,
                      uint64_t *added) {
    struct put_row few[ROWS_AT_ONCE], each;
    bool at_once = p->n <= ROWS_AT_ONCE;
    size_t len = v->form == VAL_NONE ? LP_EMPTY_BYTES : v->len;
    for (uint32_t i = 0; i < p->n; i++)
        len += prepare(v, k, p, i, at_once ? &few[i] : &each);
    if (!val_room(v, len))
        return false;
    if (v->form == VAL_NONE) {
        lp_init(v->bytes);
        v->form = VAL_LISTPACK;
    }
    bool moved = false;
    for (uint32_t i = 0; i < p->n; i++) {
        struct put_row *r = at_once ? &few[i] : &each;
        if (!at_once)
            (void)prepare(v, k, p, i, r);
        else if (moved) /* what was found, and there may be more to find */
            find_row(v, k, r);
        *added += r->at == 0;
        len = lp_bytes(v->bytes);
        apply(v, k, p->only_new, r);
        moved |= lp_bytes(v->bytes) != len;
    }
    val_set_len(v, lp_bytes(v->bytes));
    return true;
}

/* --- with times --- */

static struct lp_key time_key(int64_t expire_ms) {
    return (struct lp_key){.text = {"", 0}, .is_num = true, .num = expire_ms};
}

/* settle: what the object tells, after an edit. */
static void settle(struct val *v, const struct fields_kind *k, uint64_t count) {
    val_set_len(v, lp_bytes(v->bytes));
    struct object *o = val_object(v);
    uint8_t *first = lp_first(v->bytes);
    int64_t due_ms = first == NULL ? FIELDS_NEVER : row_time(v, k, first);
    o->count = count;
    o->due_ms = due_ms == FIELDS_NEVER ? OBJECT_NEVER : due_ms;
}

/* place_of: the row that one of this time comes before; NULL: the end. */
static uint8_t *place_of(const struct val *v, const struct fields_kind *k, int64_t expire_ms) {
    struct fields_row row = {.next = lp_first(v->bytes)};
    if (expire_ms == FIELDS_NEVER)
        return NULL;
    while (row.next != NULL) {
        fields_row_at(v, k, row.next, &row);
        if (row.expire_ms == FIELDS_NEVER || row.expire_ms > expire_ms)
            return row.name;
    }
    return NULL;
}

/* move: n bytes to before `to`, which lies outside of them; what is between makes way. */
static void move(uint8_t *from, size_t n, uint8_t *to) {
    uint8_t held[MOVE_BYTES];
    while (n > 0 && to != from && to != from + n) {
        size_t step = n < sizeof held ? n : sizeof held;
        if (to < from) {
            memcpy(held, from, step);
            memmove(to + step, to, (size_t)(from - to));
            memcpy(to, held, step);
            from += step;
            to += step;
        } else {
            uint8_t *last = from + n - step;
            memcpy(held, last, step);
            memmove(last, from + n, (size_t)(to - from) - n);
            memcpy(to - step, held, step);
            to -= step;
        }
        n -= step;
    }
}

/* set_time: of the row at `name`, which goes where it belongs by that. */
static void set_time(const struct val *v, const struct fields_kind *k, uint8_t *name,
                     int64_t expire_ms) {
    struct fields_row row;
    fields_row_at(v, k, name, &row);
    if (row.expire_ms == expire_ms)
        return;
    struct lp_key ms = time_key(expire_ms);
    uint8_t *time = lp_replace(v->bytes, row.time, &ms);
    uint8_t *to = place_of(v, k, expire_ms);
    if (to == NULL)
        to = v->bytes + lp_bytes(v->bytes) - 1;
    move(name, (size_t)(time + lp_entry_bytes(time) - name), to);
}

/* insert_before: NULL: at the end. Returns what the next entry of the same row goes before. */
static uint8_t *insert_before(const struct val *v, uint8_t *p, const struct lp_key *key) {
    uint8_t *entry = lp_insert(v->bytes, p, key);
    return p == NULL ? NULL : entry + lp_entry_bytes(entry);
}

static void put_timed_row(const struct val *v, const struct fields_kind *k,
                          const struct fields_put *p, uint32_t i, int64_t now_ms, uint64_t *count,
                          uint64_t *added) {
    struct lp_key name = lp_key_of(name_of(k, p, i)), value = {.text = {"", 0}};
    uint8_t *at = find_key(v, k, &name);
    struct fields_row row = {.expire_ms = FIELDS_NEVER};
    if (at != NULL)
        fields_row_at(v, k, at, &row);
    bool alive = at != NULL && !item_dead(row.expire_ms, now_ms);
    int64_t expire_ms = p->time == FIELDS_TIME_SET ? fields_time(p->expire_ms) : FIELDS_NEVER;
    if (p->time == FIELDS_TIME_KEEP && alive)
        expire_ms = row.expire_ms;
    if (alive && p->only_new)
        return;
    if (k->valued)
        value = lp_key_of(p->names[2 * i + 1]);
    *added += !alive;
    if (at != NULL) {
        if (k->valued)
            (void)lp_replace(v->bytes, row.value, &value);
        set_time(v, k, at, expire_ms);
        return;
    }
    struct lp_key ms = time_key(expire_ms);
    at = insert_before(v, place_of(v, k, expire_ms), &name);
    if (k->valued)
        at = insert_before(v, at, &value);
    (void)insert_before(v, at, &ms);
    *count += 1;
}

/* begin_times: `to` has the rows of v, none with a time, and room for `more` bytes, until it is settled; false: no
 * memory. */
static bool begin_times(struct val *to, const struct val *v, const struct fields_kind *k,
                        size_t more) {
    uint64_t rows = val_count(v);
    val_init(to, v->mem, v->type);
    if (!val_room(to, LP_EMPTY_BYTES + v->len + rows * NO_TIME_ENTRY + more))
        return false;
    lp_init(to->bytes);
    to->form = VAL_LISTPACK_TTL;
    struct lp_key none = time_key(FIELDS_NEVER);
    struct fields_row row = {.next = v->form == VAL_NONE ? NULL : lp_first(v->bytes)};
    while (row.next != NULL) {
        fields_row_at(v, k, row.next, &row);
        for (uint8_t *p = row.name; p != NULL; p = p == row.name ? row.value : NULL) {
            struct lp_item i;
            lp_entry_get(p, &i);
            struct lp_key key = {{i.str, i.len}, i.str == NULL, i.num};
            (void)lp_insert(to->bytes, NULL, &key);
        }
        (void)lp_insert(to->bytes, NULL, &none);
    }
    return true;
}

/* timed: v, if it has times, with room for `more` bytes, else `to`, made of it. NULL: no memory, and nothing has changed. */
static struct val *timed(struct val *v, struct val *to, const struct fields_kind *k, size_t more) {
    if (v->form == VAL_LISTPACK_TTL)
        return val_room(v, v->len + more) ? v : NULL;
    return begin_times(to, v, k, more) ? to : NULL;
}

/* take: v becomes `made`, unless it is that. */
static void take(struct val *v, struct val *made) {
    if (v == made)
        return;
    val_destroy(v);
    *v = *made;
}

static size_t growth_at_most(const struct fields_kind *k, const struct fields_put *p) {
    size_t bytes = (size_t)p->n * TIME_ENTRY_MAX;
    for (uint32_t i = 0; i < p->n << k->valued; i++)
        bytes += LP_GROWTH(p->names[i].len);
    return bytes;
}

static bool put_timed(struct val *v, const struct fields_kind *k, const struct fields_put *p,
                      int64_t now_ms, uint64_t *added) {
    struct val made;
    uint64_t count = val_count(v);
    struct val *to = timed(v, &made, k, growth_at_most(k, p));
    if (to == NULL)
        return false;
    for (uint32_t i = 0; i < p->n; i++)
        put_timed_row(to, k, p, i, now_ms, &count, added);
    settle(to, k, count);
    take(v, to);
    return true;
}

bool fields_flat_put(struct val *v, const struct fields_kind *k, const struct fields_put *p,
                     int64_t now_ms, uint64_t *added) {
    bool wants_time = p->time == FIELDS_TIME_SET && p->expire_ms != FIELDS_NEVER;
    if (unlikely(v->form == VAL_LISTPACK_TTL || wants_time))
        return put_timed(v, k, p, now_ms, added);
    return put_plain(v, k, p, added);
}

bool fields_flat_set_times(struct val *v, const struct fields_kind *k,
                           const struct field_time *times, uint32_t n, int64_t now_ms) {
    uint64_t count = val_count(v);
    bool wants_time = v->form == VAL_LISTPACK_TTL;
    struct val made;
    for (uint32_t i = 0; !wants_time && i < n; i++)
        wants_time = times[i].expire_ms != FIELDS_NEVER && find(v, k, times[i].name) != NULL;
    if (!wants_time)
        return true;
    struct val *to = timed(v, &made, k, (size_t)n * TIME_ENTRY_MAX);
    if (to == NULL)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *row = find(to, k, times[i].name);
        if (row != NULL && !item_dead(row_time(to, k, row), now_ms))
            set_time(to, k, row, fields_time(times[i].expire_ms));
    }
    settle(to, k, count);
    take(v, to);
    return true;
}

/* --- taking out --- */

bool fields_flat_remove(struct val *v, const struct fields_kind *k, struct span name,
                        int64_t now_ms) {
    uint8_t *row = find(v, k, name);
    if (row == NULL)
        return false;
    bool alive = !item_dead(row_time(v, k, row), now_ms);
    uint64_t count = val_count(v);
    (void)lp_remove(v->bytes, row, fields_stride(v, k));
    if (v->form == VAL_LISTPACK_TTL)
        settle(v, k, count - 1);
    else
        val_set_len(v, lp_bytes(v->bytes));
    return alive;
}

/* expire_some: the block stays where it is, so it keeps its size until the next write. */
static unsigned expire_some(struct mem *m, struct object *o, int64_t now_ms, unsigned *budget) {
    struct val v;
    struct fields_kind k = {.valued = o->type == VALUE_HASH};
    struct fields_row row;
    unsigned dead = 0;
    val_of_object(&v, m, o);
    for (row.next = lp_first(v.bytes); row.next != NULL && dead < *budget; dead++) {
        fields_row_at(&v, &k, row.next, &row);
        if (!item_dead(row.expire_ms, now_ms))
            break;
    }
    if (dead != 0)
        (void)lp_remove(v.bytes, lp_first(v.bytes), dead * fields_stride(&v, &k));
    *budget -= dead;
    uint8_t *first = lp_first(v.bytes);
    int64_t due_ms = first == NULL ? FIELDS_NEVER : row_time(&v, &k, first);
    o->count -= dead;
    o->due_ms = due_ms == FIELDS_NEVER ? OBJECT_NEVER : due_ms;
    CONTAINER_OF(o, struct val_flat, head)->len = lp_bytes(v.bytes);
    return dead;
}

const struct val_ops fields_ttl_ops = {.destroy_some = val_flat_destroy,
                                       .copy = val_flat_copy,
                                       .expire_some = expire_some,
                                       .defrag_some = val_flat_defrag};
