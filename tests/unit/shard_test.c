/* shard_test.c: the invariants of shard.h on real threads, with a small layer on top instead of net/. */
#include "shards/log.h"
#include "shards/shard.h"
#include <criterion/criterion.h>

enum { PER_TARGET = 1500, SHARDS_HERE_MAX = 8 };

struct note {
    struct bus_msg msg;
    uint64_t sequence;
};

/* One shard's part of the layer; plain fields: the holder's only. */
struct layer {
    struct note notes[SHARDS_HERE_MAX][PER_TARGET];
    uint64_t seen[SHARDS_HERE_MAX]; /* per source: the last sequence that ran here */
    unsigned ran, answered, expected;
    unsigned for_owner, owner_did; /* work left for the owner, and done by it */
    bool drained_since_turn_end;
    bool told;
};

static struct layer layers[SHARDS_HERE_MAX];
static _Atomic unsigned finished;

static struct layer *layer_of(struct shard *s) {
    return s->app;
}

static void note_run(struct shard *at, struct bus_msg *m) {
    struct note *n = CONTAINER_OF(m, struct note, msg);
    struct layer *l = layer_of(at);
    cr_assert_eq(n->sequence, l->seen[m->from] + 1, "not in order");
    l->seen[m->from] = n->sequence;
    l->ran++;
    l->drained_since_turn_end = true;
    if (at->lent) {
        l->for_owner++;
        shard_claim();
        shard_need_owner(at);
    }
}

static void note_done(struct shard *home, struct bus_msg *m) {
    (void)m;
    layer_of(home)->answered++;
    layer_of(home)->drained_since_turn_end = true;
}

static enum err layer_start(struct shard *s) {
    shard_claim();
    struct layer *l = &layers[s->id];
    unsigned n = shards_count(s->all);
    memset(l, 0, sizeof *l);
    s->app = l;
    for (unsigned to = 0; to < n; to++) {
        for (unsigned i = 0; i < PER_TARGET; i++) {
            struct note *note = &l->notes[to][i];
            note->sequence = i + 1;
            note->msg = (struct bus_msg){.run = note_run, .done = note_done, .to = (uint16_t)to};
            shard_post(s, &note->msg);
            l->expected++;
        }
    }
    return OK;
}

static void layer_stop(struct shard *s) {
    struct layer *l = layer_of(s);
    cr_assert_eq(l->answered, l->expected);
    cr_assert_eq(l->ran, l->expected, "as many come as go");
}

static void layer_turn_end(struct shard *s) {
    struct layer *l = layer_of(s);
    if (l == NULL)
        return;
    l->drained_since_turn_end = false;
    if (!s->lent) {
        l->owner_did += l->for_owner;
        l->for_owner = 0;
    }
    if (!l->told && l->answered == l->expected) {
        l->told = true;
        if (atomic_fetch_add(&finished, 1) + 1 == shards_count(s->all))
            shards_stop(s->all);
    }
}

static void layer_stopping(struct shard *s) {
    (void)s;
}

static bool layer_idle(struct shard *s) {
    struct layer *l = layer_of(s);
    cr_assert_not(l->drained_since_turn_end, "turn_end did not follow the messages");
    return l->answered == l->expected && l->for_owner == 0;
}

static const struct shard_hooks hooks = {.start = layer_start,
                                         .stop = layer_stop,
                                         .turn_end = layer_turn_end,
                                         .stopping = layer_stopping,
                                         .idle = layer_idle};

static struct shard_stats run(unsigned n, enum loop_kind io, bool borrow) {
    struct shards *all;
    const char *why;
    const struct shards_config c = {
        .count = n, .databases = 1, .io = io, .borrow = borrow, .seed = 1, .hooks = &hooks};
    struct shard_stats sum = {0};
    atomic_store(&finished, 0);
    log_set_level(LOG_NOTHING);
    cr_assert_eq(shards_create(&all, &c, &why), OK);
    cr_assert_eq(shards_start(all), OK);
    shards_join(all);
    for (unsigned i = 0; i < n; i++) {
        const struct shard *s = shards_get(all, i);
        sum.borrows += s->stats.borrows;
        sum.doorbells += s->stats.doorbells;
        sum.messages_out += s->stats.messages_out;
    }
    cr_assert_eq(sum.messages_out, (uint64_t)n * n * PER_TARGET);
    cr_assert_eq(shards_destroy(all), 0, "memory was lost");
    return sum;
}

static void run_each_size(enum loop_kind io, bool borrow) {
    static const unsigned sizes[] = {1, 2, 3, 8};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct shard_stats s = run(sizes[i], io, borrow);
        if (!borrow)
            cr_assert_eq(s.borrows, 0);
    }
}

Test(shard, inv1_2_3_uring_borrowing) {
    run_each_size(LOOP_URING, true);
}

Test(shard, inv1_2_3_uring_doorbells) {
    run_each_size(LOOP_URING, false);
}

Test(shard, inv1_2_3_epoll_borrowing) {
    run_each_size(LOOP_EPOLL, true);
}

Test(shard, inv1_2_3_epoll_doorbells) {
    run_each_size(LOOP_EPOLL, false);
}

Test(shard, unused_shards_leave_nothing) {
    struct shards *all;
    const char *why;
    const struct shards_config c = {
        .count = 3, .databases = 16, .io = LOOP_EPOLL, .seed = 1, .hooks = &hooks};
    cr_assert_eq(shards_create(&all, &c, &why), OK);
    cr_assert_eq(shards_count(all), 3);
    cr_assert_eq(shards_destroy(all), 0, "shards that never ran are given back whole");
}

static enum err second_refuses(struct shard *s) {
    s->app = NULL;
    return s->id == 1 ? ERR_NOMEM : OK;
}

static void nothing(struct shard *s) {
    (void)s;
}

static bool always(struct shard *s) {
    (void)s;
    return true;
}

Test(shard, one_that_does_not_start_stops_all) {
    static const struct shard_hooks refusing = {.start = second_refuses,
                                                .stop = nothing,
                                                .turn_end = nothing,
                                                .stopping = nothing,
                                                .idle = always};
    struct shards *all;
    const char *why;
    const struct shards_config c = {
        .count = 3, .databases = 1, .io = LOOP_EPOLL, .seed = 1, .hooks = &refusing};
    log_set_level(LOG_NOTHING);
    cr_assert_eq(shards_create(&all, &c, &why), OK);
    cr_assert_neq(shards_start(all), OK);
    cr_assert_eq(shards_destroy(all), 0);
}
