/* hash_walk.c: some fields of a hash: HRANDFIELD, HSCAN.
 *
 * HRANDFIELD draws in one of three ways, so that it costs in proportion to what it returns:
 *
 *     few of many, all different   fields_random, and once more what was drawn before
 *     many of them, all different  one walk over all rows; each is taken with the chance that is
 *                                  right for those still wanted among those still to come
 *     with repetitions             fields_random each time; of a listpack the rows are written out
 *                                  once, and then picked
 */
#include "hash_impl.h"
#include "shards/assert.h"
#include "walk_impl.h"

/* A reply with repetitions has no natural end: more than this many are not asked for in earnest. */
enum { REPEATS_MAX = 1 << 24 };
/* Fewer than one in DRAW_SHARE of the rows are drawn one by one. */
enum { DRAW_SHARE = 3 };

bool hash_seen_init(struct hash_seen *s, struct mem *m, uint64_t n) {
    size_t slots = 8;
    while (slots < 2 * n)
        slots *= 2;
    *s = (struct hash_seen){.mem = m, .mask = slots - 1};
    s->slots = mem_zalloc(m, slots * sizeof(*s->slots));
    return s->slots != NULL;
}

bool hash_seen_add(struct hash_seen *s, struct span name) {
    uint64_t hash = hash_of(name) | 1; /* 0 is a free slot */
    size_t at = (hash >> 1) & s->mask;
    for (; s->slots[at] != 0; at = (at + 1) & s->mask) {
        if (s->slots[at] == hash)
            return false;
    }
    s->slots[at] = hash;
    return true;
}

void hash_seen_deinit(struct hash_seen *s) {
    mem_free(s->mem, s->slots, (s->mask + 1) * sizeof(*s->slots));
}

/* --- HRANDFIELD --- */

struct draw {
    struct ctx *c;
    struct val v;
    struct fields_kind kind;
    bool with_values;
};

static void reply_row(struct reply *r, const struct field *f, bool with_values) {
    if (with_values && r->proto >= 3)
        reply_array(r, 2);
    reply_bulk(r, f->name);
    if (with_values)
        reply_bulk(r, f->value);
}

/* begin: the reply of n rows; RESP2 does not nest them. */
static void begin(struct reply *r, uint64_t n, bool with_values) {
    reply_array(r, with_values && r->proto < 3 ? 2 * n : n);
}

/* draw_walking: n of the `live` rows. */
static ON_SHARD void draw_walking(struct draw *d, uint64_t n, uint64_t live) {
    struct fields_iter i;
    struct field f;
    begin(&d->c->reply, n, d->with_values);
    if (n == 0)
        return;
    for (fields_begin(&i, &d->v, &d->kind, d->c->now_ms); n > 0 && fields_next(&i, &f); live--) {
        if (n < live && rng_below(&d->c->shard->rng, live) >= n)
            continue;
        reply_row(&d->c->reply, &f, d->with_values);
        n--;
    }
    ASSERT(n == 0);
}

static ON_SHARD void draw_few(struct draw *d, uint64_t n) {
    struct hash_seen seen;
    struct field f;
    if (!hash_seen_init(&seen, keyspace_mem(d->c->keyspace), n)) {
        ctx_oom(d->c);
        return;
    }
    begin(&d->c->reply, n, d->with_values);
    while (n > 0) {
        bool any = fields_random(&d->v, &d->kind, &d->c->shard->rng, d->c->now_ms, &f);
        ASSERT(any);
        if (!hash_seen_add(&seen, f.name))
            continue;
        reply_row(&d->c->reply, &f, d->with_values);
        n--;
    }
    hash_seen_deinit(&seen);
}

/* draw_again: n rows, any of them any number of times. */
static ON_SHARD void draw_again(struct draw *d, uint64_t n) {
    struct rng *rng = &d->c->shard->rng;
    struct field f;
    bool any = d->v.form != VAL_NONE && fields_random(&d->v, &d->kind, rng, d->c->now_ms, &f);
    if (!any) {
        reply_array(&d->c->reply, 0);
        return;
    }
    begin(&d->c->reply, n, d->with_values);
    reply_row(&d->c->reply, &f, d->with_values);
    for (uint64_t i = 1; i < n && !d->c->reply.out->failed; i++) {
        any = fields_random(&d->v, &d->kind, rng, d->c->now_ms, &f);
        ASSERT(any);
        reply_row(&d->c->reply, &f, d->with_values);
    }
}

/* draw_written: the same of a listpack, where finding one takes a walk. */
static ON_SHARD void draw_written(struct draw *d, uint64_t n) {
    struct mem *m = keyspace_mem(d->c->keyspace);
    uint64_t live = hash_live(d->c, &d->v, &d->kind);
    if (live == 0) {
        reply_array(&d->c->reply, 0);
        return;
    }
    size_t *ends = mem_alloc(m, live * sizeof(*ends));
    if (ends == NULL) {
        ctx_oom(d->c);
        return;
    }
    struct outbuf rows;
    outbuf_init(&rows, m);
    struct reply to = {.out = &rows, .proto = d->c->reply.proto, .owner = d->c->reply.owner};
    struct fields_iter i;
    struct field f;
    uint64_t written = 0;
    for (fields_begin(&i, &d->v, &d->kind, d->c->now_ms); fields_next(&i, &f);) {
        reply_row(&to, &f, d->with_values);
        ends[written++] = rows.len;
    }
    ASSERT(written == live);
    if (rows.failed) {
        ctx_oom(d->c);
    } else {
        begin(&d->c->reply, n, d->with_values);
        for (; n > 0 && !d->c->reply.out->failed; n--) {
            uint64_t pick = rng_below(&d->c->shard->rng, live);
            size_t from = pick == 0 ? 0 : ends[pick - 1];
            outbuf_add(d->c->reply.out, rows.buf + from, ends[pick] - from);
        }
    }
    outbuf_deinit(&rows);
    mem_free(m, ends, live * sizeof(*ends));
}

/* draw_distinct: n different rows, or all. */
static ON_SHARD void draw_distinct(struct draw *d, uint64_t n) {
    uint64_t live = hash_live(d->c, &d->v, &d->kind);
    if (n > live)
        n = live;
    bool most_alive = live > 0 && live > fields_count(&d->v, &d->kind) / 2;
    if (n < live / DRAW_SHARE && most_alive && !val_is_flat(&d->v))
        draw_few(d, n);
    else
        draw_walking(d, n, live);
}

/* read_count: replies what is wrong with the arguments. */
static bool read_count(struct ctx *c, int64_t *count, bool *with_values) {
    if (!ctx_get_int(c, 2, count))
        return false;
    if (*count == INT64_MIN) {
        reply_errorf(&c->reply, "ERR value is out of range, value must between %lld and %lld",
                     (long long)-INT64_MAX, (long long)INT64_MAX);
        return false;
    }
    *with_values = c->argc == 4 && span_is(c->argv[3], "WITHVALUES");
    if (c->argc > 3 && !*with_values) {
        reply_error(&c->reply, ERR_SYNTAX);
        return false;
    }
    if (*count < -REPEATS_MAX || (*with_values && *count > INT64_MAX / 2)) {
        reply_error(&c->reply, "ERR value is out of range");
        return false;
    }
    return true;
}

static ON_SHARD void draw_one(struct draw *d) {
    struct field f;
    if (d->v.form != VAL_NONE &&
        fields_random(&d->v, &d->kind, &d->c->shard->rng, d->c->now_ms, &f))
        reply_bulk(&d->c->reply, f.name);
    else
        reply_null(&d->c->reply);
}

static ON_SHARD void hrandfield_run(struct ctx *c) {
    struct draw d = {.c = c, .kind = hash_kind(c)};
    int64_t count = 0;
    if (c->argc > 2 && !read_count(c, &count, &d.with_values))
        return;
    if (!coll_read(c, 1, VALUE_HASH, &d.v))
        return;
    if (c->argc == 2) {
        draw_one(&d);
        return;
    }
    uint64_t n = count < 0 ? (uint64_t)-count : (uint64_t)count;
    if (count == 0)
        reply_array(&c->reply, 0);
    else if (count > 0)
        draw_distinct(&d, n);
    else if (val_is_flat(&d.v) && n > 1)
        draw_written(&d, n);
    else
        draw_again(&d, n);
}

/* --- HSCAN --- */

static void visit(void *arg, const struct field *f) {
    struct walk *w = arg;
    if (!walk_matches(w, f->name))
        return;
    reply_bulk(&w->reply, f->name);
    w->replied++;
    if (w->no_values)
        return;
    reply_bulk(&w->reply, f->value);
    w->replied++;
}

static ON_SHARD void hscan_run(struct ctx *c) {
    struct val v;
    struct walk w;
    struct fields_kind kind = hash_kind(c);
    if (!walk_begin(c, VALUE_HASH, &v, &w))
        return;
    w.cursor = fields_scan(&v, &kind, w.cursor, w.count, c->now_ms, visit, &w);
    walk_end(c, &w);
}

static const struct command rows[] = {
    {"HRANDFIELD", hrandfield_run, -2, KEY(1), CMD_READ, ACL_HASH, "hash", "6.2.0",
     "O(N) in the fields that are returned", "Returns fields of a hash, drawn at random.",
     .tips = "nondeterministic_output", .key_access = "RO access",
     .syntax = "key [options(count [WITHVALUES])]"},
    {"HSCAN", hscan_run, -3, KEY(1), CMD_READ, ACL_HASH, "hash", "2.8.0",
     "O(1) for each call, O(N) for all of them", "Returns some fields and where to go on.",
     .tips = "nondeterministic_output", .key_access = "RO access",
     .syntax = "key cursor [MATCH=pattern] [COUNT=count] [NOVALUES]"},
};

void hash_walk_register(void) {
    command_register(rows, COUNT_OF(rows));
}
