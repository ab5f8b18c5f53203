/* tx_fixture.h: a few shards that consist of claims only, and a bus whose messages arrive one by one, when the
 * test says so. It keeps what bus.h and shard.h promise and nothing more: order per (source, target); requests beyond the
 * bound wait in a backlog, which completions pass.
 */
#ifndef TX_FIXTURE_H
#define TX_FIXTURE_H

#include "shards/rng.h"
#include "shards/shard.h"
#include "shards/tx.h"
#include <criterion/criterion.h>
#include <string.h>

enum { TOY_SHARDS_MAX = 8 };

struct toy_fifo {
    struct bus_msg *first, *last;
};

struct toy {
    unsigned n;
    uint32_t bound; /* of unanswered messages per (source, target) */
    struct shard shard[TOY_SHARDS_MAX];
    struct toy_fifo line[TOY_SHARDS_MAX][TOY_SHARDS_MAX];
    struct toy_fifo backlog[TOY_SHARDS_MAX][TOY_SHARDS_MAX];
    uint32_t unanswered[TOY_SHARDS_MAX][TOY_SHARDS_MAX];
    uint64_t delivered;
};

/* tx.h: whoever owns struct shard supplies it; here no other part of a shard is there. */
struct tx_shard *tx_of(struct shard *s) {
    return &s->tx;
}

static inline void toy_push(struct toy_fifo *f, struct bus_msg *m) {
    m->next = NULL;
    if (f->first == NULL)
        f->first = m;
    else
        f->last->next = m;
    f->last = m;
}

static inline struct bus_msg *toy_pop(struct toy_fifo *f) {
    struct bus_msg *m = f->first;
    f->first = m->next;
    return m;
}

static inline void toy_post(struct shard *s, struct bus_msg *m) {
    struct toy *t = s->app;
    unsigned from = s->id, to = m->to;
    m->from = s->id;
    m->answered = false;
    if (t->backlog[from][to].first != NULL || t->unanswered[from][to] == t->bound) {
        toy_push(&t->backlog[from][to], m);
        return;
    }
    t->unanswered[from][to]++;
    toy_push(&t->line[from][to], m);
}

static inline void toy_flush(struct toy *t, unsigned from, unsigned to) {
    while (t->backlog[from][to].first != NULL && t->unanswered[from][to] < t->bound) {
        t->unanswered[from][to]++;
        toy_push(&t->line[from][to], toy_pop(&t->backlog[from][to]));
    }
}

/* toy_deliver: the next message from one shard to another; false when there is none. */
static inline bool toy_deliver(struct toy *t, unsigned from, unsigned to) {
    struct toy_fifo *f = &t->line[from][to];
    if (f->first == NULL)
        return false;
    struct bus_msg *m = toy_pop(f);
    struct shard *at = &t->shard[to];
    t->delivered++;
    if (m->answered) {
        t->unanswered[to][from]--;
        m->done(at, m);
        return true;
    }
    m->run(at, m);
    m->answered = true;
    toy_push(&t->line[to][from], m);
    return true;
}

/* toy_settle: delivers until nothing is on its way. */
static inline void toy_settle(struct toy *t) {
    for (bool any = true; any;) {
        any = false;
        for (unsigned i = 0; i < t->n * t->n; i++) {
            toy_flush(t, i / t->n, i % t->n);
            any = toy_deliver(t, i / t->n, i % t->n) || any;
        }
    }
}

static inline void toy_begin(struct toy *t, unsigned n, uint32_t bound) {
    memset(t, 0, sizeof *t);
    t->n = n;
    t->bound = bound;
    for (unsigned i = 0; i < n; i++) {
        struct shard *s = &t->shard[i];
        s->id = (uint16_t)i;
        s->app = t;
        enum err e = tx_shard_init(&s->tx, s, s->id, &s->mem, toy_post);
        cr_assert_eq(e, OK);
    }
}

/* toy_end: nothing is left of all that was. */
static inline void toy_end(struct toy *t) {
    for (unsigned i = 0; i < t->n; i++) {
        struct shard *s = &t->shard[i];
        cr_assert(tx_idle(&s->tx), "shard %u is not idle", i);
        tx_shard_deinit(&s->tx);
        cr_assert_eq(s->mem.used_bytes, 0, "shard %u: %ld bytes are left", i,
                     (long)s->mem.used_bytes);
    }
}

#endif
