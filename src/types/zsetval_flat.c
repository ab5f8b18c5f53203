/* zsetval_flat.c: a sorted set in a listpack: member, score, member, score ... ascending. */
#include "shards/decimal.h"
#include "zsetval_impl.h"

/* Whole scores up to here are kept as integers, as Redis does; -0 is one, and becomes 0. */
#define WHOLE_MAX 0x1p62

/* --- scores --- */

static struct lp_key score_key(double score, char text[DECIMAL_DOUBLE_BYTES]) {
    if (score > -WHOLE_MAX && score < WHOLE_MAX && score == (double)(int64_t)score)
        return (struct lp_key){.is_num = true, .num = (int64_t)score};
    char *end = decimal_put_double(text, score);
    return lp_key_of((struct span){text, (size_t)(end - text)});
}

static double entry_score(const uint8_t *entry) {
    struct lp_item i;
    double score;
    lp_entry_get(entry, &i);
    if (likely(i.str == NULL))
        return (double)i.num;
    bool is_score = decimal_parse_double((struct span){i.str, i.len}, &score);
    ASSERT(is_score);
    return score;
}

double zsetval_flat_score(uint8_t *member) {
    return entry_score(lp_next(member));
}

/* --- reading --- */

void zsetval_flat_item(uint8_t *member, struct zset_item *out) {
    struct lp_item i;
    lp_entry_get(member, &i);
    out->member = lp_item_text(&i, out->digits);
    out->score = zsetval_flat_score(member);
}

uint8_t *zsetval_flat_find(const struct val *v, struct span member) {
    struct lp_key key = lp_key_of(member);
    return lp_find(lp_first(v->bytes), &key, 1);
}

static bool is_below(uint8_t *member, const struct bound *b) {
    if (b->by_score) {
        double score = zsetval_flat_score(member);
        if (score != b->score)
            return score < b->score;
    }
    if (b->by_member) {
        struct lp_item i;
        char digits[STRVAL_INT_BYTES];
        lp_entry_get(member, &i);
        int order = span_order(lp_item_text(&i, digits), b->member);
        if (order != 0)
            return order < 0;
    }
    return b->or_equal;
}

uint64_t zsetval_flat_rank(const struct val *v, const struct bound *b) {
    uint64_t rank = 0;
    for (uint8_t *p = lp_first(v->bytes); p != NULL && is_below(p, b); p = lp_skip(p, 2))
        rank++;
    return rank;
}

/* --- writing --- */

size_t zsetval_flat_score_bytes(double score) {
    char text[DECIMAL_DOUBLE_BYTES];
    struct lp_key key = score_key(score, text);
    return lp_entry_bytes_of(&key);
}

size_t zsetval_flat_bytes(struct span member, double score) {
    struct lp_key key = lp_key_of(member);
    return lp_entry_bytes_of(&key) + zsetval_flat_score_bytes(score);
}

/* insert: before `at`, or at the end when it is NULL. */
static void insert(uint8_t *lp, uint8_t *at, struct span member, double score) {
    char text[DECIMAL_DOUBLE_BYTES];
    struct lp_key m = lp_key_of(member), s = score_key(score, text);
    at = lp_insert(lp, at, &m);
    (void)lp_insert(lp, lp_next(at), &s);
}

void zsetval_flat_append(uint8_t *lp, struct span member, double score) {
    insert(lp, NULL, member, score);
}

/* place_for: the first element that is not below, NULL: all are. Often what comes is the highest. */
static uint8_t *place_for(uint8_t *lp, double score, struct span member) {
    uint8_t *last = lp_last(lp), *p = lp_first(lp);
    if (last == NULL || entry_score(last) < score)
        return NULL;
    struct bound b = btree_bound(score, member);
    while (p != NULL && is_below(p, &b))
        p = lp_skip(p, 2);
    return p;
}

bool zsetval_flat_add(struct val *v, unsigned flags, struct zset_pair *pairs, size_t n,
                      size_t bytes) {
    bool fresh = v->form == VAL_NONE;
    if (!val_room(v, (fresh ? LP_EMPTY_BYTES : v->len) + bytes))
        return false;
    if (fresh)
        lp_init(v->bytes);
    for (size_t i = 0; i < n; i++) {
        struct zset_pair *p = &pairs[i];
        struct lp_key key = lp_key_of(p->member);
        uint8_t *is = lp_find(lp_first(v->bytes), &key, 1);
        zsetval_decide(flags, p, is != NULL, is != NULL ? zsetval_flat_score(is) : 0);
        if (p->outcome != ZSET_ADDED && p->outcome != ZSET_UPDATED)
            continue;
        if (is != NULL)
            (void)lp_remove(v->bytes, is, 2);
        insert(v->bytes, place_for(v->bytes, p->score, p->member), p->member, p->score);
    }
    v->form = VAL_LISTPACK;
    val_set_len(v, lp_bytes(v->bytes));
    return true;
}
