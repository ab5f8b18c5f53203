/* fields.c: what fields.h offers: reading of all forms, and who does the writing. */
#include "fields_impl.h"
#include "shards/assert.h"

uint64_t fields_count(const struct val *v, const struct fields_kind *k) {
    (void)k;
    return val_count(v);
}

int64_t fields_due_ms(const struct val *v) {
    return v->form == VAL_TABLE || v->form == VAL_LISTPACK_TTL ? val_object(v)->due_ms
                                                               : OBJECT_NEVER;
}

/* --- rows --- */

void fields_row_at(const struct val *v, const struct fields_kind *k, uint8_t *name,
                   struct fields_row *out) {
    uint8_t *next = lp_next(name);
    *out = (struct fields_row){.name = name};
    if (k->valued) {
        out->value = next;
        next = lp_next(next);
    }
    if (v->form == VAL_LISTPACK_TTL) {
        struct lp_item ms;
        out->time = next;
        lp_entry_get(next, &ms);
        out->expire_ms = ms.num;
        next = lp_next(next);
    }
    out->next = next;
}

static void read_text(const uint8_t *entry, char digits[STRVAL_INT_BYTES], struct span *out) {
    struct lp_item i;
    lp_entry_get(entry, &i);
    *out = lp_item_text(&i, digits);
}

/* read_row: but for the name. */
static void read_row(const struct fields_row *row, struct field *out) {
    out->expire_ms = row->expire_ms;
    if (row->value != NULL)
        read_text(row->value, out->digits[1], &out->value);
    else
        out->value = (struct span){"", 0};
}

static void read_item(const uint8_t *p, struct field *out) {
    struct item i;
    item_get(p, &i);
    out->name = i.name;
    out->value = i.value;
    out->expire_ms = i.expire_ms;
}

/* --- finding --- */

static bool find_in_table(const struct strtab *t, struct span name, uint64_t hash, int64_t now_ms,
                          struct field *out) {
    struct place at;
    struct field unwanted;
    if (!strtab_find(t, name, hash, &at))
        return false;
    out = out == NULL ? &unwanted : out;
    read_item(strtab_item(at), out);
    out->name = name;
    return !item_dead(out->expire_ms, now_ms);
}

static bool find_in_listpack(const struct val *v, const struct fields_kind *k, struct span name,
                             int64_t now_ms, struct field *out) {
    struct lp_key key = lp_key_of(name);
    uint8_t *p = lp_find(lp_first(v->bytes), &key, fields_stride(v, k) - 1);
    if (p == NULL)
        return false;
    struct fields_row row;
    fields_row_at(v, k, p, &row);
    if (item_dead(row.expire_ms, now_ms))
        return false;
    if (out != NULL) {
        out->name = name;
        read_row(&row, out);
    }
    return true;
}

bool fields_find(const struct val *v, const struct fields_kind *k, struct span name, int64_t now_ms,
                 struct field *out) {
    if (v->form == VAL_TABLE)
        return find_in_table(fields_table(v), name, hash_of(name), now_ms, out);
    return v->form != VAL_NONE && find_in_listpack(v, k, name, now_ms, out);
}

uint32_t fields_find_batch(const struct val *v, const struct fields_kind *k,
                           const struct span *names, uint32_t n, int64_t now_ms,
                           struct field *out) {
    uint64_t hashes[FIELDS_BATCH];
    uint32_t found = 0;
    ASSERT(n <= FIELDS_BATCH);
    bool hashed = v->form == VAL_TABLE;
    const struct strtab *t = hashed ? fields_table(v) : NULL;
    for (uint32_t i = 0; hashed && i < n; i++) {
        hashes[i] = hash_of(names[i]);
        strtab_prefetch(t, hashes[i]);
    }
    for (uint32_t i = 0; hashed && i < n; i++)
        strtab_prefetch_item(t, hashes[i]);
    for (uint32_t i = 0; i < n; i++) {
        struct field *f = out == NULL ? NULL : &out[i];
        bool there = hashed ? find_in_table(t, names[i], hashes[i], now_ms, f)
                            : fields_find(v, k, names[i], now_ms, f);
        found |= (uint32_t)there << i;
    }
    return found;
}

/* --- all of them --- */

void fields_begin(struct fields_iter *i, const struct val *v, const struct fields_kind *k,
                  int64_t now_ms) {
    *i = (struct fields_iter){.v = v, .k = k, .now_ms = now_ms};
    if (val_is_flat(v))
        i->at = lp_first(v->bytes);
    else if (v->form == VAL_TABLE)
        i->chain = strtab_bucket(fields_table(v), 0);
}

static bool next_in_listpack(struct fields_iter *i, struct field *out) {
    struct fields_row row;
    while (i->at != NULL) {
        fields_row_at(i->v, i->k, i->at, &row);
        i->at = row.next;
        if (item_dead(row.expire_ms, i->now_ms))
            continue;
        read_text(row.name, out->digits[0], &out->name);
        read_row(&row, out);
        return true;
    }
    return false;
}

/* next_chain: what lies in the bucket behind it is fetched meanwhile. */
static void next_chain(struct fields_iter *i, const struct strtab *t) {
    i->place = 0;
    if ((i->chain = bucket_next(i->chain)) != NULL || ++i->bucket == t->bucket_count)
        return;
    i->chain = strtab_bucket(t, (uint32_t)i->bucket);
    if (i->bucket + 1 < t->bucket_count)
        chain_prefetch(strtab_bucket(t, (uint32_t)i->bucket + 1));
}

static bool next_in_table(struct fields_iter *i, struct field *out) {
    while (i->chain != NULL) {
        unsigned used = bucket_used(i->chain) >> i->place;
        if (used == 0) {
            next_chain(i, fields_table(i->v));
            continue;
        }
        i->place += (unsigned)__builtin_ctz(used);
        read_item(bucket_address(i->chain, i->place++), out);
        if (!item_dead(out->expire_ms, i->now_ms))
            return true;
    }
    return false;
}

bool fields_next(struct fields_iter *i, struct field *out) {
    return i->v->form == VAL_TABLE ? next_in_table(i, out) : next_in_listpack(i, out);
}

/* --- one of them --- */

/* The dead come first in a listpack with times. */
static bool random_in_listpack(const struct val *v, const struct fields_kind *k, struct rng *r,
                               int64_t now_ms, struct field *out) {
    uint64_t alive = val_count(v), dead = 0;
    struct fields_row row = {.next = lp_first(v->bytes)};
    if (unlikely(now_ms > fields_due_ms(v)))
        while (row.next != NULL) {
            fields_row_at(v, k, row.next, &row);
            if (!item_dead(row.expire_ms, now_ms))
                break;
            dead++;
        }
    if (alive == dead)
        return false;
    uint64_t any = dead + rng_below(r, alive - dead);
    fields_row_at(v, k, lp_at(v->bytes, (int64_t)any * fields_stride(v, k)), &row);
    read_text(row.name, out->digits[0], &out->name);
    read_row(&row, out);
    return true;
}

bool fields_random(const struct val *v, const struct fields_kind *k, struct rng *r, int64_t now_ms,
                   struct field *out) {
    if (v->form == VAL_NONE)
        return false;
    if (v->form != VAL_TABLE)
        return random_in_listpack(v, k, r, now_ms, out);
    const uint8_t *p = strtab_random(fields_table(v), r, now_ms);
    if (p == NULL)
        return false;
    read_item(p, out);
    return true;
}

/* --- some of them --- */

struct scan {
    void (*visit)(void *arg, const struct field *f);
    void *arg;
    int64_t now_ms;
    uint64_t places;
};

static void visit_item(void *arg, uint8_t *item) {
    struct scan *s = arg;
    struct field f;
    s->places++;
    read_item(item, &f);
    if (!item_dead(f.expire_ms, s->now_ms))
        s->visit(s->arg, &f);
}

uint64_t fields_scan(const struct val *v, const struct fields_kind *k, uint64_t cursor,
                     uint64_t count, int64_t now_ms,
                     void (*visit)(void *arg, const struct field *f), void *arg) {
    if (v->form != VAL_TABLE) {
        struct fields_iter i;
        struct field f;
        for (fields_begin(&i, v, k, now_ms); fields_next(&i, &f);)
            visit(arg, &f);
        return 0;
    }
    struct scan s = {.visit = visit, .arg = arg, .now_ms = now_ms};
    /* An empty bucket costs as much as an item. */
    for (uint64_t buckets = 0; s.places + buckets == 0 || s.places + buckets / 2 < count;
         buckets++) {
        cursor = strtab_scan(fields_table(v), cursor, visit_item, &s);
        if (cursor == BUCKET_SCAN_END)
            return 0;
    }
    return cursor;
}

/* --- writing --- */

/* put_as_table: the table is made beside what is there, and takes its place when all rows are in it. */
static bool put_as_table(struct val *v, const struct fields_kind *k, const struct fields_put *p,
                         int64_t now_ms, uint64_t *added) {
    struct val table = {.mem = v->mem, .type = v->type, .form = VAL_TABLE};
    if ((table.big = fields_table_of(v, k)) == NULL)
        return false;
    if (!fields_table_put(&table, k, p, now_ms, added)) {
        val_destroy(&table);
        return false;
    }
    val_become(v, VAL_TABLE, table.big);
    return true;
}

bool fields_put(struct val *v, const struct fields_kind *k, const struct fields_put *p,
                int64_t now_ms, uint64_t *added) {
    ASSERT(p->expire_ms >= 0);
    *added = 0;
    if (v->form == VAL_TABLE)
        return fields_table_put(v, k, p, now_ms, added);
    if (unlikely(fields_flat_too_large(v, k, p, now_ms)))
        return put_as_table(v, k, p, now_ms, added);
    return fields_flat_put(v, k, p, now_ms, added);
}

bool fields_remove(struct val *v, const struct fields_kind *k, struct span name, int64_t now_ms) {
    if (v->form == VAL_TABLE)
        return fields_table_remove(v, name, now_ms);
    return v->form != VAL_NONE && fields_flat_remove(v, k, name, now_ms);
}

bool fields_set_times(struct val *v, const struct fields_kind *k, const struct field_time *times,
                      uint32_t n, int64_t now_ms) {
    if (v->form == VAL_TABLE)
        return fields_table_set_times(v, times, n, now_ms);
    return v->form == VAL_NONE || fields_flat_set_times(v, k, times, n, now_ms);
}
