/* rdb_decode_zset.c: sorted sets, in all their encodings. See rdb_decode_impl.h.
 *
 * Elements come in order, or, from Redis's skip lists, from the last to the first; old and foreign files may have them in any.
 * They are gathered, brought into order, and made a set at once, which costs a third of adding one after the other.
 */
#include "anax/listpack.h"
#include "anax/zsetval.h"
#include "rdb_decode_impl.h"
#include "shards/decimal.h"
#include <math.h>

static const char BAD_SCORE[] = "a score that is no number";

struct pairs {
    struct rdb_decode *d;
    struct zset_pair *at;
    size_t n, cap;
    struct rdb_scratch
        room; /* for members that do not lie in the input; until the end they have offsets, and are marked as revived */
    size_t used;
};

static enum rdb_result grow(struct pairs *p) {
    size_t cap = p->cap == 0 ? 16 : 2 * p->cap;
    struct zset_pair *grown =
        mem_realloc(p->d->v.mem, p->at, p->cap * sizeof *p->at, cap * sizeof *p->at);
    if (grown == NULL)
        return RDB_NOMEM;
    p->at = grown;
    p->cap = cap;
    return RDB_OK;
}

static enum rdb_result add(struct pairs *p, const struct rdb_text *t, double score) {
    if (p->n == p->cap && grow(p) != RDB_OK)
        return RDB_NOMEM;
    struct zset_pair *to = &p->at[p->n];
    *to = (struct zset_pair){.member = {(const char *)t->bytes, t->len}, .score = score};
    p->n++;
    if (likely(t->kind == RDB_TEXT_PLAIN))
        return RDB_OK;
    size_t len = t->kind == RDB_TEXT_INT ? DECIMAL_INT_BYTES : t->len;
    if (!rdb_scratch_room(&p->room, p->used + len + 1))
        return RDB_NOMEM;
    char *at = p->room.bytes + p->used;
    if (t->kind == RDB_TEXT_INT)
        len = (size_t)(decimal_put_int(at, t->num) - at);
    else if (!rdb_unpack(t, at))
        return rdb_corrupt(p->d->in, "a compressed string that cannot be unpacked", t->bytes);
    to->member = (struct span){(const char *)p->used, len};
    to->revived = true;
    p->used += len;
    return RDB_OK;
}

/* order_of: 1: they ascend; -1: they descend; 0: neither. */
static int order_of(const struct pairs *p) {
    int order = 0;
    for (size_t i = 1; i < p->n; i++) {
        const struct zset_pair *a = &p->at[i - 1], *b = &p->at[i];
        int is = zsetval_order(a->score, a->member, b->score, b->member) < 0 ? 1 : -1;
        if (order == 0)
            order = is;
        if (is != order)
            return 0;
    }
    return order >= 0 ? 1 : -1;
}

static void reverse(struct pairs *p) {
    for (size_t i = 0, j = p->n; i + 1 < j; i++) {
        struct zset_pair held = p->at[i];
        p->at[i] = p->at[--j];
        p->at[j] = held;
    }
}

static enum rdb_result build(struct pairs *p, const uint8_t *place) {
    struct rdb_decode *d = p->d;
    struct zset_kind kind = {(uint64_t)d->limits->zset_listpack_entries_max,
                             (uint64_t)d->limits->zset_listpack_bytes_max};
    for (size_t i = 0; i < p->n; i++)
        if (p->at[i].revived)
            p->at[i].member.ptr = p->room.bytes + (uintptr_t)p->at[i].member.ptr;
    enum rdb_result r = rdb_distinct(d->v.mem, p->at, sizeof *p->at, p->n);
    if (r == RDB_CORRUPT)
        return rdb_corrupt(d->in, "a sorted set with the same member twice", place);
    if (r != RDB_OK)
        return r;
    int order = order_of(p);
    if (order < 0)
        reverse(p);
    else if (order == 0)
        zsetval_sort(p->at, p->n);
    return zsetval_build(&d->v, &kind, p->at, p->n) ? RDB_OK : RDB_NOMEM;
}

static enum rdb_result finish(struct pairs *p, enum rdb_result r, const uint8_t *place) {
    if (r == RDB_OK)
        r = p->n == 0 ? rdb_nothing(p->d) : build(p, place);
    mem_free(p->d->v.mem, p->at, p->cap * sizeof *p->at);
    rdb_scratch_free(&p->room);
    return r;
}

/* --- as strings --- */

static enum rdb_result score_of_text(struct rdb_in *in, double *score) {
    const uint8_t *p, *from = in->at;
    enum rdb_result r = rdb_get_fixed(in, 1, &p);
    if (r != RDB_OK)
        return r;
    if (*p == RDB_SCORE_INF || *p == RDB_SCORE_MINUS_INF) {
        *score = *p == RDB_SCORE_INF ? INFINITY : -INFINITY;
        return RDB_OK;
    }
    size_t len = *p;
    if (len < RDB_SCORE_NAN && (r = rdb_get_fixed(in, len, &p)) != RDB_OK)
        return r;
    if (len == RDB_SCORE_NAN || !decimal_parse_double((struct span){(const char *)p, len}, score))
        return rdb_corrupt(in, BAD_SCORE, from);
    return RDB_OK;
}

static enum rdb_result score_of_bytes(struct rdb_in *in, double *score) {
    int64_t bits;
    const uint8_t *from = in->at;
    enum rdb_result r = rdb_get_int64(in, &bits);
    if (r != RDB_OK)
        return r;
    memcpy(score, &bits, sizeof *score);
    return isnan(*score) ? rdb_corrupt(in, BAD_SCORE, from) : RDB_OK;
}

static enum rdb_result of_strings(struct rdb_decode *d) {
    struct pairs pairs = {.d = d, .room = {.mem = d->v.mem}};
    const uint8_t *place = d->in->at;
    uint64_t n;
    enum rdb_result r = rdb_get_len(d->in, &n);
    for (; r == RDB_OK && n > 0; n--) {
        struct rdb_text member;
        double score;
        if ((r = rdb_get_text(d->in, &member)) == RDB_OK)
            r = d->type == RDB_ZSET ? score_of_text(d->in, &score) : score_of_bytes(d->in, &score);
        if (r == RDB_OK)
            r = add(&pairs, &member, score);
    }
    return finish(&pairs, r, place);
}

/* --- as blobs --- */

/* text_score: false: it is none. */
static bool text_score(const struct rdb_text *t, double *score) {
    if (t->kind != RDB_TEXT_INT)
        return decimal_parse_double((struct span){(const char *)t->bytes, t->len}, score);
    *score = (double)t->num;
    return true;
}

static enum rdb_result of_texts(struct rdb_decode *d, struct rdb_texts *from,
                                const uint8_t *place) {
    struct pairs pairs = {.d = d, .room = {.mem = d->v.mem}};
    struct rdb_text member, text;
    bool there;
    double score;
    enum rdb_result r;
    while ((r = rdb_texts_next(from, &member, &there)) == RDB_OK && there) {
        if ((r = rdb_texts_next(from, &text, &there)) != RDB_OK)
            break;
        if (!there)
            r = rdb_corrupt(d->in, "a sorted set that ends with a member", place);
        else if (!text_score(&text, &score))
            r = rdb_corrupt(d->in, BAD_SCORE, place);
        else
            r = add(&pairs, &member, score);
        if (r != RDB_OK)
            break;
    }
    return finish(&pairs, r, place);
}

/* ascends: a valid listpack of members and scores is in order. */
static bool ascends(uint8_t *lp) {
    struct zset_item before = {.score = -INFINITY}, now;
    bool first = true;
    for (uint8_t *p = lp_first(lp); p != NULL; first = false) {
        struct lp_item member, score;
        lp_entry_get(p, &member);
        p = lp_next(p);
        lp_entry_get(p, &score);
        p = lp_next(p);
        now.member = lp_item_text(&member, now.digits);
        if (score.str == NULL)
            now.score = (double)score.num;
        else if (!decimal_parse_double((struct span){score.str, score.len}, &now.score))
            return false;
        if (!first && zsetval_order(before.score, before.member, now.score, now.member) >= 0)
            return false;
        before.score = now.score;
        before.member = now.member;
        if (member.str == NULL) {
            memcpy(before.digits, now.digits, sizeof before.digits);
            before.member.ptr = before.digits;
        }
    }
    return true;
}

static enum rdb_result of_listpack(struct rdb_decode *d) {
    struct span blob;
    const uint8_t *place;
    struct rdb_texts from;
    bool fits;
    enum rdb_result r = rdb_get_blob(d, &blob, &place);
    if (r == RDB_OK)
        r = rdb_adoptable(d, blob, place, 2, (uint64_t)d->limits->zset_listpack_entries_max,
                          (uint64_t)d->limits->zset_listpack_bytes_max, &fits);
    if (r == RDB_OK && fits && ascends((uint8_t *)(uintptr_t)blob.ptr))
        return rdb_adopt(d, VAL_LISTPACK, blob);
    if (r == RDB_OK)
        r = rdb_texts_listpack(&from, d->in, blob, place);
    return r == RDB_OK ? of_texts(d, &from, place) : r;
}

enum rdb_result rdb_decode_zset(struct rdb_decode *d) {
    struct span blob;
    const uint8_t *place;
    struct rdb_texts from;
    if (d->type == RDB_ZSET || d->type == RDB_ZSET_2)
        return of_strings(d);
    if (d->type == RDB_ZSET_LISTPACK)
        return of_listpack(d);
    enum rdb_result r = rdb_get_blob(d, &blob, &place);
    if (r == RDB_OK)
        r = rdb_texts_ziplist(&from, d->in, blob, place);
    return r == RDB_OK ? of_texts(d, &from, place) : r;
}
