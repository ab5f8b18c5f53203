/* zsetval.c: sorted sets, whichever form they have. See anax/zsetval.h. */
#include "zsetval_impl.h"

enum { FLAT_BYTES_MAX = 1 << 29 }; /* val_room gives twice as much at most */

uint64_t zsetval_count(const struct val *v) {
    return val_count(v);
}

/* --- members --- */

bool zsetval_score(const struct val *v, struct span member, double *score) {
    struct spot at;
    if (v->form == VAL_TREE) {
        if (!btree_find(tree_of(v), member, hash_of(member), &at))
            return false;
        *score = leaf_score(at.leaf, at.place);
        return true;
    }
    uint8_t *p = v->form == VAL_LISTPACK ? zsetval_flat_find(v, member) : NULL;
    if (p == NULL)
        return false;
    *score = zsetval_flat_score(p);
    return true;
}

void zsetval_prefetch(const struct val *v, struct span member) {
    if (v->form == VAL_TREE) {
        const struct member_index *x = &tree_of(v)->index;
        prefetch(index_at(x, index_bucket(x, hash_of(member))));
    }
}

bool zsetval_rank(const struct val *v, struct span member, bool reverse, uint64_t *rank,
                  double *score) {
    double is;
    uint64_t below = 0;
    if (v->form == VAL_TREE) {
        struct spot at;
        if (!btree_find(tree_of(v), member, hash_of(member), &at))
            return false;
        is = leaf_score(at.leaf, at.place);
        below = btree_rank(at);
    } else {
        struct lp_key key = lp_key_of(member);
        uint8_t *p = v->form == VAL_LISTPACK ? lp_first(v->bytes) : NULL;
        for (; p != NULL && !lp_entry_is(p, &key); p = lp_skip(p, 2))
            below++;
        if (p == NULL)
            return false;
        is = zsetval_flat_score(p);
    }
    *rank = reverse ? zsetval_count(v) - 1 - below : below;
    if (score != NULL)
        *score = is;
    return true;
}

static void tree_item(struct spot at, struct zset_item *out) {
    out->member = leaf_member(at.leaf, at.place);
    out->score = leaf_score(at.leaf, at.place);
}

bool zsetval_at(const struct val *v, uint64_t rank, struct zset_item *out) {
    if (rank >= zsetval_count(v))
        return false;
    if (v->form == VAL_TREE)
        tree_item(btree_at(tree_of(v), rank), out);
    else
        zsetval_flat_item(lp_at(v->bytes, (int64_t)rank * 2), out);
    return true;
}

bool zsetval_random(const struct val *v, struct rng *r, struct zset_item *out) {
    uint64_t count = zsetval_count(v);
    return count != 0 && zsetval_at(v, rng_below(r, count), out);
}

/* --- bounds --- */

static uint64_t rank_of(const struct val *v, const struct bound *b) {
    uint64_t rank = 0;
    if (v->form == VAL_TREE)
        (void)btree_seek(tree_of(v), b, &rank);
    else if (v->form == VAL_LISTPACK)
        rank = zsetval_flat_rank(v, b);
    return rank;
}

uint64_t zsetval_rank_of_score(const struct val *v, double score, bool or_equal) {
    struct bound b = {.score = score, .by_score = true, .or_equal = or_equal};
    return rank_of(v, &b);
}

uint64_t zsetval_rank_of_lex(const struct val *v, struct span member, bool or_equal) {
    struct bound b = btree_bound(0, member);
    b.by_score = false;
    b.or_equal = or_equal;
    return rank_of(v, &b);
}

/* --- walking --- */

void zsetval_begin(struct zset_iter *i, const struct val *v, uint64_t rank, bool reverse) {
    *i = (struct zset_iter){.v = v, .reverse = reverse};
    if (rank >= zsetval_count(v))
        return;
    if (v->form == VAL_TREE) {
        struct spot at = btree_at(tree_of(v), rank);
        i->at = at.leaf;
        i->place = at.place;
    } else {
        i->at = lp_at(v->bytes, (int64_t)rank * 2);
    }
}

static bool flat_next(struct zset_iter *i, struct zset_item *out) {
    uint8_t *lp = i->v->bytes, *p = i->at;
    zsetval_flat_item(p, out);
    if (!i->reverse) {
        i->at = lp_skip(p, 2);
        return true;
    }
    p = lp_prev(lp, p);
    i->at = p != NULL ? lp_prev(lp, p) : NULL;
    return true;
}

bool zsetval_next(struct zset_iter *i, struct zset_item *out) {
    struct leaf *l = i->at;
    if (l == NULL)
        return false;
    if (i->v->form != VAL_TREE)
        return flat_next(i, out);
    tree_item((struct spot){l, i->place}, out);
    if (!i->reverse) {
        if (++i->place == l->count) {
            i->at = l->next;
            i->place = 0;
        }
    } else if (i->place-- == 0) {
        i->at = l->prev;
        i->place = l->prev != NULL ? l->prev->count - 1U : 0;
    }
    return true;
}

struct scan {
    void (*visit)(void *arg, const struct zset_item *e);
    void *arg;
    uint64_t visited;
};

static void visit_spot(void *arg, struct spot at) {
    struct scan *s = arg;
    struct zset_item item;
    tree_item(at, &item);
    s->visited++;
    s->visit(s->arg, &item);
}

uint64_t zsetval_scan(const struct val *v, uint64_t cursor, uint64_t count,
                      void (*visit)(void *arg, const struct zset_item *e), void *arg) {
    struct zset_iter i;
    struct zset_item item;
    struct scan s = {visit, arg, 0};
    if (v->form == VAL_TREE) {
        /* Mostly a bucket has several elements; after memory failed a shrinking index, maybe none. */
        for (uint64_t buckets = 0; buckets < count && s.visited < count; buckets++) {
            cursor = cursor < BUCKET_SCAN_END ? btree_index_scan(tree_of(v), cursor, visit_spot, &s)
                                              : BUCKET_SCAN_END;
            if (cursor == BUCKET_SCAN_END)
                return 0;
        }
        return cursor;
    }
    for (zsetval_begin(&i, v, 0, false); zsetval_next(&i, &item);)
        visit(arg, &item);
    return 0;
}

/* --- adding --- */

/* tree_to_write: what it allocates is charged to who writes. */
static struct btree *tree_to_write(const struct val *v) {
    struct btree *t = tree_of(v);
    t->mem = t->index.overflows.mem = v->mem;
    return t;
}

/* What a listpack would have to take. */
struct plan {
    uint64_t fresh;   /* members that are not there; the same one twice counts twice */
    size_t bytes;     /* of them, and of new scores */
    bool long_member; /* one of them is too long for a listpack */
    bool changes;     /* something */
};

static struct plan make_plan(const struct val *v, const struct zset_kind *k, unsigned flags,
                             const struct zset_pair *pairs, size_t n) {
    struct plan plan = {0};
    for (size_t i = 0; i < n; i++) {
        struct zset_pair p = pairs[i];
        uint8_t *is = v->form == VAL_LISTPACK ? zsetval_flat_find(v, p.member) : NULL;
        zsetval_decide(flags, &p, is != NULL, is != NULL ? zsetval_flat_score(is) : 0);
        if (p.outcome == ZSET_ADDED) {
            plan.fresh++;
            plan.long_member |= p.member.len > k->bytes_max;
            plan.bytes += zsetval_flat_bytes(p.member, p.score);
        } else if (p.outcome == ZSET_UPDATED) {
            size_t bytes = zsetval_flat_score_bytes(p.score), was = lp_entry_bytes(lp_next(is));
            plan.bytes += bytes > was ? bytes - was : 0;
        } else {
            continue;
        }
        plan.changes = true;
    }
    return plan;
}

/* fill_flat: v, whose bytes may be anything, becomes the listpack of what is in a tree. */
static bool fill_flat(struct val *v, const struct btree *t) {
    size_t bytes = LP_EMPTY_BYTES;
    for (const struct leaf *l = t->first; l != NULL; l = l->next)
        for (unsigned i = 0; i < l->count; i++)
            bytes += zsetval_flat_bytes(leaf_member(l, i), leaf_score(l, i));
    if (!val_room(v, bytes))
        return false;
    lp_init(v->bytes);
    for (const struct leaf *l = t->first; l != NULL; l = l->next)
        for (unsigned i = 0; i < l->count; i++)
            zsetval_flat_append(v->bytes, leaf_member(l, i), leaf_score(l, i));
    v->form = VAL_LISTPACK;
    val_set_len(v, lp_bytes(v->bytes));
    return true;
}

static struct btree *tree_from_flat(const struct val *v) {
    struct zset_iter i;
    struct zset_item item;
    struct btree_load b;
    if (!btree_load_begin(&b, v->mem, zsetval_count(v)))
        return NULL;
    for (zsetval_begin(&i, v, 0, false); zsetval_next(&i, &item);)
        if (!btree_load_add(&b, item.score, item.member))
            return NULL;
    return btree_load_end(&b);
}

/* add_as_tree: to what may be too much for a listpack: once all is in we know. */
static bool add_as_tree(struct val *v, const struct zset_kind *k, unsigned flags,
                        struct zset_pair *pairs, size_t n, bool is_tree) {
    struct btree *t = tree_from_flat(v);
    if (t == NULL)
        return false;
    if (!zsetval_tree_add(t, flags, pairs, n))
        goto fail;
    if (is_tree || t->o.count > k->entries_max) {
        val_become(v, VAL_TREE, &t->o);
        return true;
    }
    if (!fill_flat(v, t))
        goto fail;
    btree_destroy(t);
    return true;
fail:
    btree_destroy(t);
    return false;
}

static bool add(struct val *v, const struct zset_kind *k, unsigned flags, struct zset_pair *pairs,
                size_t n) {
    if (v->form == VAL_TREE)
        return zsetval_tree_add(tree_to_write(v), flags, pairs, n);
    struct plan plan = make_plan(v, k, flags, pairs, n);
    if (!plan.changes) {
        for (size_t i = 0; i < n; i++) {
            double is = 0;
            bool there = zsetval_score(v, pairs[i].member, &is);
            zsetval_decide(flags, &pairs[i], there, is);
        }
        return true;
    }
    bool is_tree = plan.long_member || v->len + plan.bytes > FLAT_BYTES_MAX;
    if (!is_tree && zsetval_count(v) + plan.fresh <= k->entries_max)
        return zsetval_flat_add(v, flags, pairs, n, plan.bytes);
    return add_as_tree(v, k, flags, pairs, n, is_tree);
}

bool zsetval_add(struct val *v, const struct zset_kind *k, unsigned flags, struct zset_pair *pairs,
                 size_t n, struct zset_added *out) {
    ASSERT(n == 1 || (flags & ZSET_INCR) == 0);
    if (!add(v, k, flags, pairs, n))
        return false;
    *out = (struct zset_added){0};
    for (size_t i = 0; i < n; i++) {
        out->added += pairs[i].outcome == ZSET_ADDED;
        out->updated += pairs[i].outcome == ZSET_UPDATED;
        out->nan |= pairs[i].outcome == ZSET_NAN;
    }
    return true;
}

bool zsetval_build(struct val *v, const struct zset_kind *k, const struct zset_pair *pairs,
                   size_t n) {
    ASSERT(v->form == VAL_NONE);
    size_t bytes = LP_EMPTY_BYTES;
    bool is_tree = n > k->entries_max;
    for (size_t i = 0; i < n && !is_tree; i++) {
        bytes += zsetval_flat_bytes(pairs[i].member, pairs[i].score);
        is_tree = pairs[i].member.len > k->bytes_max || bytes > FLAT_BYTES_MAX;
    }
    if (n == 0)
        return true;
    if (!is_tree) {
        if (!val_room(v, bytes))
            return false;
        lp_init(v->bytes);
        for (size_t i = 0; i < n; i++)
            zsetval_flat_append(v->bytes, pairs[i].member, pairs[i].score);
        v->form = VAL_LISTPACK;
        val_set_len(v, lp_bytes(v->bytes));
        return true;
    }
    struct btree_load b;
    if (!btree_load_begin(&b, v->mem, n))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!btree_load_add(&b, pairs[i].score, pairs[i].member))
            return false;
    struct btree *t = btree_load_end(&b);
    if (t != NULL)
        val_become(v, VAL_TREE, &t->o);
    return t != NULL;
}

/* --- taking out --- */

bool zsetval_remove(struct val *v, struct span member) {
    if (v->form == VAL_TREE) {
        struct btree *t = tree_to_write(v);
        struct spot at;
        if (!btree_find(t, member, hash_of(member), &at))
            return false;
        btree_drop(t, at, 1);
        return true;
    }
    uint8_t *p = v->form == VAL_LISTPACK ? zsetval_flat_find(v, member) : NULL;
    if (p == NULL)
        return false;
    (void)lp_remove(v->bytes, p, 2);
    val_set_len(v, lp_bytes(v->bytes));
    return true;
}

void zsetval_remove_range(struct val *v, uint64_t from, uint64_t to) {
    uint64_t count = zsetval_count(v);
    to = to < count ? to : count;
    if (from >= to)
        return;
    if (v->form != VAL_TREE) {
        (void)lp_remove(v->bytes, lp_at(v->bytes, (int64_t)from * 2), (uint32_t)(to - from) * 2);
        val_set_len(v, lp_bytes(v->bytes));
        return;
    }
    struct btree *t = tree_to_write(v);
    while (from < to) {
        struct spot at = btree_at(t, from);
        uint64_t here = at.leaf->count - at.place;
        here = here < to - from ? here : to - from;
        btree_drop(t, at, (unsigned)here);
        to -= here;
    }
}
