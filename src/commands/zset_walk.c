/* zset_walk.c: some members of a sorted set: ZRANDMEMBER, ZSCAN.
 *
 * ZRANDMEMBER draws so that it costs in proportion to what it returns: of many members a few different ones by rank, which a
 * table remembers; else by one walk, in which each member is taken with the chance that is right for those still wanted
 * among those still to come. With repetitions it draws again each time, from a listpack that was written out once.
 */
#include "shards/assert.h"
#include "shards/decimal.h"
#include "walk_impl.h"
#include "zset_impl.h"
#include <inttypes.h>

/* A reply with repetitions has no natural end: more than this many are not asked for in earnest. */
enum { REPEATS_MAX = 1 << 24 };
/* Fewer than one in DRAW_SHARE of the members are drawn one by one. */
enum { DRAW_SHARE = 3 };

struct draw {
    struct ctx *c;
    struct val v;
    bool with_scores;
};

static void reply_drawn(const struct draw *d, struct span member, double score) {
    zset_reply_item(&d->c->reply, member, score, d->with_scores);
}

/* --- ranks that were drawn --- */

struct seen {
    struct mem *mem;
    uint64_t *slots; /* rank + 1; 0: free */
    size_t count;    /* a power of two, at least twice as many as there will be ranks */
};

static bool seen_init(struct seen *s, struct mem *m, uint64_t n) {
    *s = (struct seen){.mem = m, .count = 8};
    while (s->count < 2 * n)
        s->count *= 2;
    s->slots = mem_zalloc(m, s->count * sizeof(*s->slots));
    return s->slots != NULL;
}

static bool seen_add(struct seen *s, uint64_t rank) {
    size_t at = (rank * 0x9E3779B97F4A7C15ULL >> 32) & (s->count - 1);
    for (; s->slots[at] != 0; at = (at + 1) & (s->count - 1))
        if (s->slots[at] == rank + 1)
            return false;
    s->slots[at] = rank + 1;
    return true;
}

/* --- ZRANDMEMBER --- */

static ON_SHARD void draw_few(const struct draw *d, uint64_t n, uint64_t count) {
    struct ctx *c = d->c;
    struct seen seen;
    struct zset_item e;
    if (!seen_init(&seen, keyspace_mem(c->keyspace), n)) {
        ctx_oom(c);
        return;
    }
    zset_reply_begin(&c->reply, n, d->with_scores);
    while (n > 0) {
        uint64_t rank = rng_below(&c->shard->rng, count);
        if (!seen_add(&seen, rank))
            continue;
        bool there = zsetval_at(&d->v, rank, &e);
        ASSERT(there);
        reply_drawn(d, e.member, e.score);
        n--;
    }
    mem_free(seen.mem, seen.slots, seen.count * sizeof(*seen.slots));
}

static ON_SHARD void draw_walking(const struct draw *d, uint64_t n, uint64_t count) {
    struct zset_iter i;
    struct zset_item e;
    zset_reply_begin(&d->c->reply, n, d->with_scores);
    for (zsetval_begin(&i, &d->v, 0, false); n > 0 && zsetval_next(&i, &e); count--) {
        if (n < count && rng_below(&d->c->shard->rng, count) >= n)
            continue;
        reply_drawn(d, e.member, e.score);
        n--;
    }
    ASSERT(n == 0);
}

static ON_SHARD void draw_again(const struct draw *d, uint64_t n) {
    struct zset_item e;
    zset_reply_begin(&d->c->reply, n, d->with_scores);
    for (; n > 0 && !d->c->reply.out->failed; n--) {
        bool any = zsetval_random(&d->v, &d->c->shard->rng, &e);
        ASSERT(any);
        reply_drawn(d, e.member, e.score);
    }
}

/* draw_written: the same of a listpack, where finding one takes a walk. */
static ON_SHARD void draw_written(const struct draw *d, uint64_t n, uint64_t count) {
    struct ctx *c = d->c;
    struct zset_pairs all;
    struct zset_iter i;
    struct zset_item e;
    zset_pairs_init(&all, keyspace_mem(c->keyspace));
    bool written = zset_pairs_reserve(&all, count);
    for (zsetval_begin(&i, &d->v, 0, false); written && zsetval_next(&i, &e);)
        written = zset_pairs_add_item(&all, &e);
    if (written)
        zset_reply_begin(&c->reply, n, d->with_scores);
    else
        ctx_oom(c);
    for (; written && n > 0 && !c->reply.out->failed; n--) {
        const struct zset_pair *p = &all.list[rng_below(&c->shard->rng, all.count)];
        reply_drawn(d, p->member, p->score);
    }
    zset_pairs_deinit(&all);
}

static ON_SHARD void draw(const struct draw *d, int64_t wanted) {
    uint64_t count = d->v.form == VAL_NONE ? 0 : zsetval_count(&d->v);
    uint64_t n = wanted < 0 ? (uint64_t)-wanted : (uint64_t)wanted;
    if (wanted > 0 && n > count)
        n = count;
    if (count == 0 || n == 0)
        reply_array(&d->c->reply, 0);
    else if (wanted < 0 && n > 1 && val_is_flat(&d->v))
        draw_written(d, n, count);
    else if (wanted < 0)
        draw_again(d, n);
    else if (n < count / DRAW_SHARE && !val_is_flat(&d->v))
        draw_few(d, n, count);
    else
        draw_walking(d, n, count);
}

static ON_SHARD void draw_one(struct ctx *c, const struct val *v) {
    struct zset_item e;
    if (v->form != VAL_NONE && zsetval_random(v, &c->shard->rng, &e))
        reply_bulk(&c->reply, e.member);
    else
        reply_null(&c->reply);
}

/* read_count: replies what is wrong with the arguments. */
static bool read_count(struct ctx *c, int64_t *count, bool *with_scores) {
    if (!ctx_get_int(c, 2, count))
        return false;
    if (*count == INT64_MIN) {
        reply_errorf(&c->reply,
                     "ERR value is out of range, value must between %" PRId64 " and %" PRId64,
                     -INT64_MAX, INT64_MAX);
        return false;
    }
    *with_scores = c->argc == 4 && span_is(c->argv[3], "WITHSCORES");
    if (c->argc > 3 && !*with_scores) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    if (*count < -REPEATS_MAX || (*with_scores && *count > INT64_MAX / 2)) {
        reply_error(&c->reply, "ERR value is out of range");
        return false;
    }
    return true;
}

static ON_SHARD void zrandmember_run(struct ctx *c) {
    struct draw d = {.c = c};
    int64_t count = 0;
    if (c->argc > 2 && !read_count(c, &count, &d.with_scores))
        return;
    if (!coll_read(c, 1, VALUE_ZSET, &d.v))
        return;
    if (c->argc == 2)
        draw_one(c, &d.v);
    else
        draw(&d, count);
}

/* --- ZSCAN --- */

static void visit(void *arg, const struct zset_item *e) {
    struct walk *w = arg;
    char text[DECIMAL_DOUBLE_BYTES];
    if (!walk_matches(w, e->member))
        return;
    reply_bulk(&w->reply, e->member);
    w->replied++;
    if (w->no_values)
        return;
    const char *end = decimal_put_double(text, e->score);
    reply_bulk(&w->reply, (struct span){text, (size_t)(end - text)});
    w->replied++;
}

static ON_SHARD void zscan_run(struct ctx *c) {
    struct val v;
    struct walk w;
    if (!walk_begin(c, VALUE_ZSET, &v, &w))
        return;
    w.cursor = zsetval_scan(&v, w.cursor, w.count, visit, &w);
    walk_end(c, &w);
}

static const struct command rows[] = {
    {"ZRANDMEMBER", zrandmember_run, -2, KEY(1), CMD_READ, ACL_SORTEDSET, "sorted-set", "6.2.0",
     "O(N*log(M)), of N members that are returned and M in the set",
     "Returns members of a sorted set, drawn at random.", .tips = "nondeterministic_output",
     .key_access = "RO access", .syntax = "key [options(count [WITHSCORES])]"},
    {"ZSCAN", zscan_run, -3, KEY(1), CMD_READ, ACL_SORTEDSET, "sorted-set", "2.8.0",
     "O(1) for each call, O(N) for all of them",
     "Returns some members of a sorted set with their scores, and where to go on.",
     .tips = "nondeterministic_output", .key_access = "RO access",
     .syntax = "key cursor [MATCH=pattern] [COUNT=count] [NOSCORES]"},
};

void zset_walk_register(void) {
    command_register(rows, COUNT_OF(rows));
}
