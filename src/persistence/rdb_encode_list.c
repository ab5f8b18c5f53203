/* rdb_encode_list.c: lists: each run of elements is a node, as a listpack, or one long element by itself. See anax/rdb.h. */
#include "rdb_encode_impl.h"

/* A longer element that has a run for itself is written as it is. */
enum { PLAIN_FROM = 8192 };

static const uint8_t listpack_end = 0xff;

/* put_texts: entries of texts that have one length. */
static void put_texts(struct rdb_out *o, const struct listval_run *r) {
    uint8_t entry[RDB_WHOLE_MAX + LP_ENTRY_OVERHEAD_MAX];
    struct lp_key k = {.text = {(const char *)r->bytes, r->width}};
    size_t bytes = lp_entry_bytes_of(&k);
    for (uint32_t i = 0; i < r->count; i++, k.text.ptr += r->width) {
        if (likely((size_t)(o->end - o->at) >= bytes)) {
            o->at = lp_entry_put(o->at, &k);
        } else {
            (void)lp_entry_put(entry, &k);
            rdb_put(o, entry, bytes);
        }
    }
}

/* put_listpack: all of it, but for entries that are longer than a slice, and what follows them. */
static void put_listpack(struct rdb_coding *c, struct rdb_out *o, const struct listval_run *r,
                         size_t len) {
    uint32_t total = (uint32_t)len;
    uint16_t count = r->count < LP_COUNT_UNKNOWN ? (uint16_t)r->count : LP_COUNT_UNKNOWN;
    rdb_put(o, &total, sizeof total);
    rdb_put(o, &count, sizeof count);
    if (r->width != 0) {
        put_texts(o, r);
    } else if (r->len > RDB_WHOLE_MAX) {
        c->rest = (struct span){(const char *)r->bytes, r->len};
        c->due = true;
        return;
    } else {
        rdb_put(o, r->bytes, r->len);
    }
    rdb_put(o, &listpack_end, 1);
}

/* put_whole: compressed, if that is shorter. */
static void put_whole(struct rdb_coding *c, struct rdb_out *o, const struct listval_run *r,
                      size_t len) {
    uint8_t bytes[RDB_WHOLE_MAX];
    struct rdb_out whole = {.at = bytes, .end = bytes + sizeof bytes, .more = rdb_no_more};
    put_listpack(c, &whole, r, len);
    rdb_put_bytes(o, (struct span){(const char *)bytes, len}, true);
}

static void put_run(struct rdb_encoder *e, struct rdb_out *o, const struct listval_run *r) {
    struct rdb_coding *c = rdb_coding(e);
    if (r->count == 1 && r->width > PLAIN_FROM) {
        rdb_put_len(o, RDB_NODE_PLAIN);
        rdb_blob(e, o, (struct span){(const char *)r->bytes, r->len});
        return;
    }
    struct lp_key any = {.text = {.len = r->width}};
    size_t entries = r->width == 0 ? r->len : r->count * lp_entry_bytes_of(&any);
    size_t len = LP_EMPTY_BYTES + entries;
    rdb_put_len(o, RDB_NODE_PACKED);
    if (e->compress && len <= RDB_WHOLE_MAX) {
        put_whole(c, o, r, len);
        return;
    }
    rdb_put_len(o, len);
    put_listpack(c, o, r, len);
}

static bool some_chunks(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    struct rdb_coding *c = rdb_coding(e);
    if (!e->begun) {
        e->begun = true;
        c->run = 0;
        rdb_put_len(o, listval_runs(&c->val));
    }
    for (;;) {
        if (c->rest.len > 0 && !rdb_rest(c, o, &bytes))
            return false;
        if (c->due)
            rdb_put(o, &listpack_end, 1);
        c->due = false;
        if (c->run == listval_runs(&c->val))
            return true;
        struct listval_run r = listval_run_at(&c->val, c->run++);
        put_run(e, o, &r);
        if (!rdb_spend(&bytes, r.len))
            return false;
    }
}

static bool some_listpack(struct rdb_encoder *e, struct rdb_out *o, size_t bytes) {
    if (!e->begun) {
        rdb_put_len(o, 1);
        rdb_put_len(o, RDB_NODE_PACKED);
    }
    return rdb_some_flat(e, o, bytes);
}

void rdb_encode_list(struct rdb_encoder *e) {
    struct rdb_coding *c = rdb_coding(e);
    c->some = c->val.form == VAL_CHUNKS ? some_chunks : some_listpack;
    e->type = RDB_LIST_QUICKLIST_2;
}
