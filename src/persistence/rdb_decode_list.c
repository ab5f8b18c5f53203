/* rdb_decode_list.c: lists, in all their encodings. See rdb_decode_impl.h. */
#include "anax/listpack.h"
#include "anax/listval.h"
#include "rdb_decode_impl.h"

static enum rdb_result push_batch(struct rdb_decode *d, const struct listval_limits *l,
                                  struct rdb_batch *b) {
    if (b->n > 0 && !listval_push(&d->v, LISTVAL_TAIL, rdb_batch_texts(b), b->n, l))
        return RDB_NOMEM;
    rdb_batch_clear(b);
    return RDB_OK;
}

static enum rdb_result push_texts(struct rdb_decode *d, const struct listval_limits *l,
                                  struct rdb_texts *from) {
    struct rdb_batch batch;
    struct rdb_text t;
    bool there;
    enum rdb_result r;
    rdb_batch_init(&batch, d->v.mem);
    while ((r = rdb_texts_next(from, &t, &there)) == RDB_OK && there) {
        if (rdb_batch_full(&batch, 1))
            r = push_batch(d, l, &batch);
        if (r == RDB_OK)
            r = rdb_batch_add(&batch, d->in, &t);
        if (r != RDB_OK)
            break;
    }
    if (r == RDB_OK)
        r = push_batch(d, l, &batch);
    rdb_batch_deinit(&batch);
    return r;
}

/* push_plain: a node that is one element. */
static enum rdb_result push_plain(struct rdb_decode *d, const struct listval_limits *l) {
    struct span text;
    const uint8_t *place;
    enum rdb_result r = rdb_get_blob(d, &text, &place);
    if (r == RDB_OK && text.len == 0)
        return rdb_corrupt(d->in, "a node of a list that is empty", place);
    if (r == RDB_OK && !listval_push(&d->v, LISTVAL_TAIL, &text, 1, l))
        r = RDB_NOMEM;
    return r;
}

static enum rdb_result push_ziplist(struct rdb_decode *d, const struct listval_limits *l) {
    struct span blob;
    const uint8_t *place;
    struct rdb_texts from;
    enum rdb_result r = rdb_get_blob(d, &blob, &place);
    if (r == RDB_OK)
        r = rdb_texts_ziplist(&from, d->in, blob, place);
    return r == RDB_OK ? push_texts(d, l, &from) : r;
}

/* push_listpack: the only node of a list becomes the list if we would have written it. */
static enum rdb_result push_listpack(struct rdb_decode *d, const struct listval_limits *l,
                                     bool only) {
    struct span blob;
    const uint8_t *place;
    struct rdb_texts from;
    enum rdb_result r = rdb_get_blob(d, &blob, &place);
    const uint8_t *lp = (const uint8_t *)blob.ptr;
    if (r != RDB_OK)
        return r;
    if (only && blob.len <= l->flat_bytes && lp_valid(lp, blob.len) &&
        lp_count(lp) <= l->flat_count && lp_count(lp) > 0)
        return rdb_adopt(d, VAL_LISTPACK, blob);
    r = rdb_texts_listpack(&from, d->in, blob, place);
    return r == RDB_OK ? push_texts(d, l, &from) : r;
}

static enum rdb_result push_node(struct rdb_decode *d, const struct listval_limits *l, bool only) {
    uint64_t container;
    const uint8_t *place = d->in->at;
    if (d->type == RDB_LIST_QUICKLIST)
        return push_ziplist(d, l);
    enum rdb_result r = rdb_get_len(d->in, &container);
    if (r != RDB_OK)
        return r;
    if (container == RDB_NODE_PLAIN)
        return push_plain(d, l);
    if (container == RDB_NODE_PACKED)
        return push_listpack(d, l, only);
    return rdb_corrupt(d->in, "a node of a list of a kind that is not known", place);
}

enum rdb_result rdb_decode_list(struct rdb_decode *d) {
    struct listval_limits limits = listval_limits_of(d->limits->list_listpack_size_max);
    uint64_t n;
    enum rdb_result r;
    if (d->type == RDB_LIST_ZIPLIST) {
        r = push_ziplist(d, &limits);
    } else if ((r = rdb_get_len(d->in, &n)) == RDB_OK && d->type == RDB_LIST) {
        struct rdb_texts from;
        rdb_texts_strings(&from, d->in, n);
        r = push_texts(d, &limits, &from);
    } else if (r == RDB_OK) {
        bool only = n == 1;
        for (; r == RDB_OK && n > 0; n--)
            r = push_node(d, &limits, only);
    }
    return r == RDB_OK && d->v.form == VAL_NONE ? rdb_nothing(d) : r;
}
