/* rdb_encode_rows.c: hashes, sets and sorted sets. See anax/rdb.h, and rdb_types_impl.h for the layouts. */
#include "rdb_encode_impl.h"
#include "shards/assert.h"

/* Nothing is dead at that time: what was not swept yet is there. */
enum { ALL_ALIVE_MS = 0 };

static const struct fields_kind hash_kind = {.valued = true};
static const struct set_kind set_kind;

/* --- hashes --- */

static void put_time(const struct rdb_coding *c, struct rdb_out *o, int64_t expire_ms) {
    rdb_put_len(o, expire_ms == FIELDS_NEVER ? 0 : (uint64_t)(expire_ms - c->first_ms) + 1);
}

static void begin_hash(struct rdb_encoder *e, struct rdb_out *o) {
    struct rdb_coding *c = rdb_coding(e);
    if (e->type == RDB_HASH_METADATA)
        rdb_put_ms(o, c->first_ms);
    rdb_put_len(o, fields_count(&c->val, &hash_kind));
    fields_begin(&c->hash.iter, &c->val, &hash_kind, ALL_ALIVE_MS);
    e->begun = true;
}

static bool some_hash(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    struct rdb_coding *c = rdb_coding(e);
    struct field *row = &c->hash.row;
    if (!e->begun)
        begin_hash(e, o);
    for (;;) {
        if (unlikely(c->rest.len > 0) && !rdb_rest(c, o, &bytes))
            return false;
        if (unlikely(c->due)) {
            c->due = false;
            rdb_text(e, o, row->value);
            continue;
        }
        if (!fields_next(&c->hash.iter, row))
            return true;
        if (e->type == RDB_HASH_METADATA)
            put_time(c, o, row->expire_ms);
        rdb_text(e, o, row->name);
        if (unlikely(c->rest.len > 0))
            c->due = true;
        else
            rdb_text(e, o, row->value);
        if (!rdb_spend(&bytes, row->name.len + row->value.len))
            return false;
    }
}

/* some_flat_times: the first time, which the first row has, and the listpack as it is. */
static bool some_flat_times(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    if (!e->begun)
        rdb_put_ms(o, rdb_coding(e)->first_ms);
    return rdb_some_flat(e, o, bytes);
}

/* may_have_times: a table that had some still says when the first might end. One without any is found out while it is short,
 * so that servers read it which know no times. */
static bool may_have_times(const struct val *v) {
    enum { LOOK_MAX = 1024 };
    struct fields_iter i;
    struct field f;
    if (fields_due_ms(v) == OBJECT_NEVER)
        return false;
    fields_begin(&i, v, &hash_kind, ALL_ALIVE_MS);
    for (unsigned n = 0; n < LOOK_MAX; n++) {
        if (!fields_next(&i, &f))
            return false;
        if (f.expire_ms != FIELDS_NEVER)
            return true;
    }
    return true;
}

void rdb_encode_hash(struct rdb_encoder *e) {
    struct rdb_coding *c = rdb_coding(e);
    const struct val *v = &c->val;
    c->some = some_hash;
    e->type = RDB_HASH;
    if (v->form == VAL_LISTPACK) {
        c->some = rdb_some_flat;
        e->type = RDB_HASH_LISTPACK;
        return;
    }
    if (!may_have_times(v))
        return;
    e->version = RDB_VERSION_FIELD_TTL;
    /* A time that is not later than the first will do. */
    c->first_ms = fields_due_ms(v) > 0 ? fields_due_ms(v) : 0;
    e->type = RDB_HASH_METADATA;
    if (v->form == VAL_LISTPACK_TTL) {
        c->some = some_flat_times;
        e->type = RDB_HASH_LISTPACK_EX;
    }
}

/* --- sets --- */

static bool some_set(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    struct rdb_coding *c = rdb_coding(e);
    struct lp_item item;
    if (!e->begun) {
        e->begun = true;
        rdb_put_len(o, setval_count(&c->val));
        setval_begin(&c->set, &c->val, &set_kind, ALL_ALIVE_MS);
    }
    for (;;) {
        if (unlikely(c->rest.len > 0) && !rdb_rest(c, o, &bytes))
            return false;
        if (!setval_next(&c->set, &item))
            return true;
        if (item.str == NULL)
            rdb_put_int(o, item.num);
        else
            rdb_text(e, o, (struct span){item.str, item.len});
        if (!rdb_spend(&bytes, item.len))
            return false;
    }
}

void rdb_encode_set(struct rdb_encoder *e) {
    struct rdb_coding *c = rdb_coding(e);
    bool ints = c->val.form == VAL_INTSET;
    c->some = ints ? rdb_some_flat : some_set;
    e->type = ints ? RDB_SET_INTSET : RDB_SET;
    if (setval_due_ms(&c->val) != OBJECT_NEVER)
        c->times = RDB_TIMES_DUE;
}

/* --- times of members: RDB_AUX_MEMBER_TTLS --- */

/* A field has about so many bytes, or one member. */
enum { TIMES_BYTES = 4096, TIME_BYTES = 8, TIME_BYTES_MAX = TIME_BYTES + RDB_LEN_BYTES_MAX };

static void put_times_name(struct rdb_out *o) {
    static const uint8_t op = RDB_OP_AUX;
    rdb_put(o, &op, 1);
    rdb_put_bytes(o, SPAN(RDB_AUX_MEMBER_TTLS), false);
}

/* flush_times: what was gathered from `begin` on is a field. */
static void flush_times(struct rdb_out *o, struct rdb_out *gathered, uint8_t *begin,
                        bool compress) {
    if (gathered->at == begin)
        return;
    put_times_name(o);
    rdb_put_bytes(o, (struct span){(char *)begin, (size_t)(gathered->at - begin)}, compress);
    gathered->at = begin;
}

/* put_far_time: a field of one member, which is the rest; then its time is due. */
static void put_far_time(struct rdb_coding *c, struct rdb_out *o, struct span member) {
    put_times_name(o);
    rdb_put_len(o, rdb_len_bytes(member.len) + member.len + TIME_BYTES);
    rdb_put_len(o, member.len);
    c->rest = member;
    c->due = true;
}

static void gather_time(struct rdb_out *gathered, struct span member, int64_t expire_ms) {
    rdb_put_len(gathered, member.len);
    rdb_put(gathered, member.ptr, member.len);
    rdb_put_ms(gathered, expire_ms);
}

static bool some_times(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    struct rdb_coding *c = rdb_coding(e);
    uint8_t pairs[TIMES_BYTES];
    struct rdb_out gathered = {.at = pairs, .end = pairs + sizeof pairs, .more = rdb_no_more};
    struct lp_item item = {0};
    char digits[STRVAL_INT_BYTES];
    do {
        if (c->rest.len > 0 && !rdb_rest(c, o, &bytes))
            return false;
        if (c->due)
            rdb_put_ms(o, c->first_ms);
        c->due = false;
        if (!setval_next(&c->set, &item)) {
            c->times = RDB_TIMES_NONE;
            break;
        }
        if ((c->first_ms = c->set.expire_ms) == FIELDS_NEVER)
            continue;
        struct span member = lp_item_text(&item, digits);
        if (member.len > TIMES_BYTES - TIME_BYTES_MAX ||
            gathered.at + member.len + TIME_BYTES_MAX > gathered.end)
            flush_times(o, &gathered, pairs, e->compress);
        if (member.len > TIMES_BYTES - TIME_BYTES_MAX)
            put_far_time(c, o, member);
        else
            gather_time(&gathered, member, c->first_ms);
    } while (rdb_spend(&bytes, item.len));
    flush_times(o, &gathered, pairs, e->compress);
    return c->times == RDB_TIMES_NONE;
}

bool rdb_encode_times(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    struct rdb_coding *c = rdb_coding(e);
    if (likely(c->times == RDB_TIMES_NONE))
        return true;
    if (c->times == RDB_TIMES_DUE)
        setval_begin(&c->set, &c->val, &set_kind, ALL_ALIVE_MS);
    c->times = RDB_TIMES_BEGUN;
    return some_times(e, o, bytes);
}

/* --- sorted sets --- */

/* From the last to the first, as Redis does: it inserts what is lower than all it has in the shortest time. */
static bool some_zset(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    struct rdb_coding *c = rdb_coding(e);
    struct zset_item item;
    if (!e->begun) {
        uint64_t count = zsetval_count(&c->val);
        e->begun = true;
        rdb_put_len(o, count);
        zsetval_begin(&c->zset.iter, &c->val, count - 1, true);
    }
    for (;;) {
        if (unlikely(c->rest.len > 0) && !rdb_rest(c, o, &bytes))
            return false;
        if (c->due)
            rdb_put(o, &c->zset.score, sizeof c->zset.score);
        c->due = zsetval_next(&c->zset.iter, &item);
        if (!c->due)
            return true;
        c->zset.score = item.score;
        rdb_text(e, o, item.member);
        if (!rdb_spend(&bytes, item.member.len))
            return false;
    }
}

void rdb_encode_zset(struct rdb_encoder *e) {
    struct rdb_coding *c = rdb_coding(e);
    bool flat = c->val.form == VAL_LISTPACK;
    c->some = flat ? rdb_some_flat : some_zset;
    e->type = flat ? RDB_ZSET_LISTPACK : RDB_ZSET_2;
}
