/* rdb_decode_rows.c: hashes and sets, in all their encodings. See rdb_decode_impl.h. */
#include "anax/fields.h"
#include "anax/intset.h"
#include "anax/listpack.h"
#include "anax/setval.h"
#include "rdb_decode_impl.h"

static const char TWICE_FIELD[] = "a hash with the same field twice";
static const char TWICE_MEMBER[] = "a set with the same member twice";
static const char ODD[] = "a hash that ends with a name";
static const char BAD_TIME[] = "a field whose time is out of range";

/* --- hashes --- */

/* Rows on their way into d->v. */
struct rows {
    struct rdb_decode *d;
    const uint8_t *place; /* where they come from */
    struct fields_kind kind;
    struct rdb_batch batch;
    int64_t expire_ms; /* of those in the batch */
};

/* rows_begin: `n` of them are to come, if that is known. */
static void rows_begin(struct rows *r, struct rdb_decode *d, const uint8_t *place, uint64_t n) {
    r->d = d;
    r->place = place;
    r->kind = (struct fields_kind){.valued = true,
                                   .entries_max = (uint64_t)d->limits->hash_listpack_entries_max,
                                   .bytes_max = (uint64_t)d->limits->hash_listpack_bytes_max};
    if (n > r->kind.entries_max)
        r->kind.entries_max = 0; /* a table at once */
    r->expire_ms = FIELDS_NEVER;
    rdb_batch_init(&r->batch, d->v.mem);
}

static enum rdb_result rows_flush(struct rows *r) {
    uint64_t added;
    struct fields_put put = {.names = rdb_batch_texts(&r->batch),
                             .n = r->batch.n / 2,
                             .time = FIELDS_TIME_SET,
                             .expire_ms = r->expire_ms};
    if (put.n == 0)
        return RDB_OK;
    if (!fields_put(&r->d->v, &r->kind, &put, r->d->now_ms, &added))
        return RDB_NOMEM;
    rdb_batch_clear(&r->batch);
    return added == put.n ? RDB_OK : rdb_corrupt(r->d->in, TWICE_FIELD, r->place);
}

/* rows_add: rows with one time are put together. */
static enum rdb_result rows_add(struct rows *r, const struct rdb_text *name,
                                const struct rdb_text *value, int64_t expire_ms) {
    enum rdb_result result = RDB_OK;
    if (expire_ms != FIELDS_NEVER && r->d->now_ms > expire_ms)
        return RDB_OK;
    if (expire_ms != r->expire_ms || rdb_batch_full(&r->batch, 2))
        result = rows_flush(r);
    r->expire_ms = expire_ms;
    if (result == RDB_OK)
        result = rdb_batch_add(&r->batch, r->d->in, name);
    return result == RDB_OK ? rdb_batch_add(&r->batch, r->d->in, value) : result;
}

static enum rdb_result rows_end(struct rows *r, enum rdb_result result) {
    if (result == RDB_OK)
        result = rows_flush(r);
    rdb_batch_deinit(&r->batch);
    return result;
}

/* text_time: the text of a time in a listpack. */
static enum rdb_result text_time(struct rdb_in *in, const struct rdb_text *t, const uint8_t *place,
                                 int64_t *ms) {
    if (t->kind != RDB_TEXT_INT || t->num < 0 || t->num > FIELDS_TIME_MAX)
        return rdb_corrupt(in, BAD_TIME, place);
    *ms = t->num;
    return RDB_OK;
}

/* rows_of_texts: name, value, and a time where there are any. */
static enum rdb_result rows_of_texts(struct rdb_decode *d, struct rdb_texts *from, bool timed,
                                     const uint8_t *place, uint64_t n) {
    struct rows rows;
    struct rdb_text name, value, time;
    int64_t expire_ms = FIELDS_NEVER;
    bool there;
    enum rdb_result r;
    rows_begin(&rows, d, place, n);
    while ((r = rdb_texts_next(from, &name, &there)) == RDB_OK && there) {
        if ((r = rdb_texts_next(from, &value, &there)) == RDB_OK && there && timed &&
            (r = rdb_texts_next(from, &time, &there)) == RDB_OK && there)
            r = text_time(d->in, &time, place, &expire_ms);
        if (r == RDB_OK && !there)
            r = rdb_corrupt(d->in, ODD, place);
        if (r == RDB_OK)
            r = rows_add(&rows, &name, &value, expire_ms);
        if (r != RDB_OK)
            break;
    }
    return rows_end(&rows, r);
}

/* rows_told: of a blob: how many its head tells of; 0: it does not tell. */
static uint64_t rows_told(const struct rdb_texts *t, unsigned stride) {
    return t->left == RDB_COUNT_UNTOLD ? 0 : t->left / stride;
}

static enum rdb_result hash_of_strings(struct rdb_decode *d) {
    uint64_t n;
    const uint8_t *place = d->in->at;
    struct rdb_texts from;
    enum rdb_result r = rdb_get_len(d->in, &n);
    if (r != RDB_OK)
        return r;
    if (n == 0)
        return rdb_nothing(d);
    if (n > rdb_left(d->in) / 2)
        return RDB_MORE;
    rdb_texts_strings(&from, d->in, 2 * n);
    return rows_of_texts(d, &from, false, place, n);
}

/* times_fit: the last entry of each row of a listpack is a time, and they ascend, with those that have none behind. *due_ms:
 * the first of them, or OBJECT_NEVER. */
static bool times_fit(uint8_t *lp, int64_t *due_ms) {
    int64_t before = 0;
    unsigned column = 0;
    *due_ms = OBJECT_NEVER;
    for (uint8_t *p = lp_first(lp); p != NULL; p = lp_next(p)) {
        struct lp_item ms;
        if (column++ < 2)
            continue;
        column = 0;
        lp_entry_get(p, &ms);
        if (ms.str != NULL || ms.num < 0 || ms.num > FIELDS_TIME_MAX)
            return false;
        int64_t is = ms.num == FIELDS_NEVER ? OBJECT_NEVER : ms.num;
        if (is < before)
            return false;
        if (before == 0)
            *due_ms = is;
        before = is;
    }
    return true;
}

/* adopt_timed: rows that are dead already come first, and then it is made anew without them. */
static enum rdb_result adopt_timed(struct rdb_decode *d, struct span blob, bool *fits) {
    int64_t due_ms;
    uint8_t *lp = (uint8_t *)(uintptr_t)blob.ptr;
    *fits = times_fit(lp, &due_ms) && d->now_ms <= due_ms;
    if (!*fits)
        return RDB_OK;
    if (due_ms == OBJECT_NEVER)
        *fits = false; /* no time at all: rows of two entries do */
    enum rdb_result r = *fits ? rdb_adopt(d, VAL_LISTPACK_TTL, blob) : RDB_OK;
    if (*fits && r == RDB_OK) {
        struct object *o = val_object(&d->v);
        o->count = lp_count(lp) / 3;
        o->due_ms = due_ms;
    }
    return r;
}

static enum rdb_result hash_of_listpack(struct rdb_decode *d, bool timed) {
    struct span blob;
    const uint8_t *place;
    struct rdb_texts from;
    bool fits;
    enum rdb_result r = rdb_get_blob(d, &blob, &place);
    if (r == RDB_OK)
        r = rdb_adoptable(d, blob, place, 2 + timed, (uint64_t)d->limits->hash_listpack_entries_max,
                          (uint64_t)d->limits->hash_listpack_bytes_max, &fits);
    if (r == RDB_OK && fits && !timed)
        return rdb_adopt(d, VAL_LISTPACK, blob);
    if (r == RDB_OK && fits)
        r = adopt_timed(d, blob, &fits);
    if (r != RDB_OK || fits || (r = rdb_texts_listpack(&from, d->in, blob, place)) != RDB_OK)
        return r;
    if (from.at == from.end)
        return rdb_nothing(d);
    return rows_of_texts(d, &from, timed, place, rows_told(&from, 2 + timed));
}

enum rdb_result rdb_decode_hash(struct rdb_decode *d) {
    struct span blob;
    const uint8_t *place;
    struct rdb_texts from;
    if (d->type == RDB_HASH)
        return hash_of_strings(d);
    if (d->type == RDB_HASH_LISTPACK)
        return hash_of_listpack(d, false);
    enum rdb_result r = rdb_get_blob(d, &blob, &place);
    if (r == RDB_OK)
        r = d->type == RDB_HASH_ZIPMAP ? rdb_texts_zipmap(&from, d->in, blob, place)
                                       : rdb_texts_ziplist(&from, d->in, blob, place);
    if (r != RDB_OK)
        return r;
    if (from.at == from.end)
        return rdb_nothing(d);
    return rows_of_texts(d, &from, false, place, rows_told(&from, 2));
}

/* --- hashes with times, as strings --- */

/* redis_time: base: what times are told from; INT64_MIN: they are told as they are. */
static enum rdb_result redis_time(struct rdb_in *in, int64_t base, int64_t *ms) {
    uint64_t told;
    const uint8_t *from = in->at;
    enum rdb_result r = rdb_get_len(in, &told);
    if (r != RDB_OK)
        return r;
    *ms = FIELDS_NEVER;
    if (told == 0)
        return RDB_OK;
    if (told > FIELDS_TIME_MAX || base > FIELDS_TIME_MAX || (base < 0 && base != INT64_MIN))
        return rdb_corrupt(in, BAD_TIME, from);
    *ms = (int64_t)told + (base == INT64_MIN ? 0 : base - 1);
    return *ms > FIELDS_TIME_MAX || *ms == FIELDS_NEVER ? rdb_corrupt(in, BAD_TIME, from) : RDB_OK;
}

static enum rdb_result valkey_time(struct rdb_in *in, int64_t *ms) {
    enum { NO_TIME = -1 };
    const uint8_t *from = in->at;
    enum rdb_result r = rdb_get_int64(in, ms);
    if (r != RDB_OK)
        return r;
    if (*ms < NO_TIME)
        return rdb_corrupt(in, BAD_TIME, from);
    if (*ms == NO_TIME)
        *ms = FIELDS_NEVER;
    else if (*ms == 0)
        *ms = 1; /* dead for long, not without a time */
    return RDB_OK;
}

static enum rdb_result timed_row(struct rdb_in *in, int64_t base, struct rdb_text *name,
                                 struct rdb_text *value, int64_t *ms) {
    bool valkey = in->valkey;
    enum rdb_result r = RDB_OK;
    if (!valkey)
        r = redis_time(in, base, ms);
    if (r == RDB_OK && (r = rdb_get_text(in, name)) == RDB_OK)
        r = rdb_get_text(in, value);
    if (r == RDB_OK && valkey)
        r = valkey_time(in, ms);
    return r;
}

static enum rdb_result timed_rows(struct rdb_decode *d, int64_t base) {
    struct rows rows;
    struct rdb_text name, value;
    uint64_t n;
    int64_t expire_ms = FIELDS_NEVER;
    const uint8_t *place = d->in->at;
    enum rdb_result r = rdb_get_len(d->in, &n);
    if (r != RDB_OK)
        return r;
    if (n == 0)
        return rdb_nothing(d);
    rows_begin(&rows, d, place, n);
    for (; r == RDB_OK && n > 0; n--)
        if ((r = timed_row(d->in, base, &name, &value, &expire_ms)) == RDB_OK)
            r = rows_add(&rows, &name, &value, expire_ms);
    return rows_end(&rows, r);
}

enum rdb_result rdb_decode_hash_timed(struct rdb_decode *d) {
    int64_t base = INT64_MIN;
    enum rdb_result r = RDB_OK;
    bool after_ga = d->type == RDB_HASH_METADATA || d->type == RDB_HASH_LISTPACK_EX;
    if (after_ga)
        r = rdb_get_int64(d->in, &base);
    if (r != RDB_OK)
        return r;
    if (d->type == RDB_HASH_LISTPACK_EX || d->type == RDB_HASH_LISTPACK_EX_PRE_GA)
        return hash_of_listpack(d, true);
    return timed_rows(d, base);
}

/* --- sets --- */

static struct set_kind set_kind_of(const struct rdb_decode *d) {
    const struct config *c = d->limits;
    return (struct set_kind){.intset_max = (uint64_t)c->set_intset_entries_max,
                             .fields = {.entries_max = (uint64_t)c->set_listpack_entries_max,
                                        .bytes_max = (uint64_t)c->set_listpack_bytes_max}};
}

static enum rdb_result add_members(struct rdb_decode *d, const struct set_kind *k,
                                   struct rdb_batch *b, const uint8_t *place) {
    uint64_t added, n = b->n;
    if (n == 0)
        return RDB_OK;
    if (!setval_add(&d->v, k, rdb_batch_texts(b), b->n, d->now_ms, &added))
        return RDB_NOMEM;
    rdb_batch_clear(b);
    return added == n ? RDB_OK : rdb_corrupt(d->in, TWICE_MEMBER, place);
}

/* set_of_texts: a batch is no larger than a form may be, so that its size alone decides nothing. */
static enum rdb_result set_of_texts(struct rdb_decode *d, struct rdb_texts *from,
                                    const uint8_t *place) {
    struct set_kind kind = set_kind_of(d);
    uint64_t few =
        kind.intset_max < kind.fields.entries_max ? kind.intset_max : kind.fields.entries_max;
    struct rdb_batch batch;
    struct rdb_text t;
    bool there;
    enum rdb_result r;
    rdb_batch_init(&batch, d->v.mem);
    while ((r = rdb_texts_next(from, &t, &there)) == RDB_OK && there) {
        bool is_small = d->v.form != VAL_TABLE && d->v.form != VAL_ROARING;
        if (rdb_batch_full(&batch, 1) || (is_small && batch.n > 0 && batch.n >= few))
            r = add_members(d, &kind, &batch, place);
        if (r == RDB_OK)
            r = rdb_batch_add(&batch, d->in, &t);
        if (r != RDB_OK)
            break;
    }
    if (r == RDB_OK)
        r = add_members(d, &kind, &batch, place);
    rdb_batch_deinit(&batch);
    return r;
}

static enum rdb_result set_of_strings(struct rdb_decode *d) {
    uint64_t n;
    const uint8_t *place = d->in->at;
    struct rdb_texts from;
    enum rdb_result r = rdb_get_len(d->in, &n);
    if (r != RDB_OK)
        return r;
    if (n == 0)
        return rdb_nothing(d);
    rdb_texts_strings(&from, d->in, n);
    return set_of_texts(d, &from, place);
}

/* The integers of an intset as texts. */
static enum rdb_result next_int(struct rdb_texts *t, struct rdb_text *out, bool *there) {
    const uint8_t *is = t->at;
    *there = t->seen < intset_count(is);
    if (*there)
        *out = (struct rdb_text){.kind = RDB_TEXT_INT, .num = intset_at(is, (uint32_t)t->seen++)};
    return RDB_OK;
}

static enum rdb_result set_of_intset(struct rdb_decode *d) {
    struct span blob;
    const uint8_t *place;
    enum rdb_result r = rdb_get_blob(d, &blob, &place);
    const uint8_t *is = (const uint8_t *)blob.ptr;
    if (r != RDB_OK)
        return r;
    if (!intset_valid(is, blob.len))
        return rdb_corrupt(d->in, "integers of a set that are not sorted, or of a wrong length",
                           place);
    if (intset_count(is) == 0)
        return rdb_nothing(d);
    if (intset_count(is) <= (uint64_t)d->limits->set_intset_entries_max)
        return rdb_adopt(d, VAL_INTSET, blob);
    struct rdb_texts from = {.in = d->in, .next = next_int, .at = is};
    return set_of_texts(d, &from, place);
}

enum rdb_result rdb_decode_set(struct rdb_decode *d) {
    struct span blob;
    const uint8_t *place;
    struct rdb_texts from;
    bool fits;
    if (d->type == RDB_SET)
        return set_of_strings(d);
    if (d->type == RDB_SET_INTSET)
        return set_of_intset(d);
    enum rdb_result r = rdb_get_blob(d, &blob, &place);
    if (r == RDB_OK)
        r = rdb_adoptable(d, blob, place, 1, (uint64_t)d->limits->set_listpack_entries_max,
                          (uint64_t)d->limits->set_listpack_bytes_max, &fits);
    if (r == RDB_OK && fits)
        return rdb_adopt(d, VAL_LISTPACK, blob);
    if (r != RDB_OK || (r = rdb_texts_listpack(&from, d->in, blob, place)) != RDB_OK)
        return r;
    return from.at == from.end ? rdb_nothing(d) : set_of_texts(d, &from, place);
}
