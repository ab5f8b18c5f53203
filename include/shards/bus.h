/* bus.h: bounded message rings between shards, and who holds a shard.
 *
 * Why         one ring per (source, target): no compare-and-swap between producers, order kept per
 *             pair. A request and its completion are the same message: run() at the target, then
 *             back through the other ring, then done() at the source. A sleeping shard is lent to
 *             whoever has work for it (DESIGN.md, rule 6), so a message wakes nobody.
 * Threads     Everything takes the id of the shard that it acts for; the caller holds that shard:
 *             it is the owner, or it borrowed it with bus_try_hold. Holding passes all of a shard's
 *             plain data from thread to thread (acquire/release on one word).
 * Ownership   the source owns a message; the target borrows it until done().
 * Limits      BUS_RING_SLOTS unanswered messages per (source, target); then bus_post says ERR_AGAIN
 *             and the caller keeps the message. A ring has twice that many places, so completions
 *             always have room: a full ring can neither drop nor deadlock.
 * Invariants  (1) done() runs exactly once per posted message, on the source, after run() returned.
 *             (2) FIFO per (source, target), requests and completions alike.
 *             (3) at most one thread holds a shard.
 *             (4) a published message is seen by whoever holds the target next, and a holder that
 *             gives up looks at its rings once more: no message is left in a sleeping shard without
 *             its publisher knowing (bus_try_hold succeeds, or someone else holds it).
 */
#ifndef SHARDS_BUS_H
#define SHARDS_BUS_H

#include "shards/err.h"
#include "shards/mem.h"
#include <stdbool.h>
#include <stdint.h>

enum { BUS_RING_SLOTS = 256, BUS_SHARDS_MAX = 256 };

struct bus;
struct shard;

struct bus_msg {
    void (*run)(struct shard *at, struct bus_msg *m);
    void (*done)(struct shard *home, struct bus_msg *m);
    struct bus_msg *next; /* for whoever has the message at the moment */
    uint16_t from, to;
    bool answered; /* the bus's */
};

/* bus_create: rings for n shards; every shard is held by its owner at first. */
MUST_CHECK enum err bus_create(struct bus **out, struct mem *m, unsigned n);
void bus_destroy(struct bus *b, struct mem *m);

/* bus_post: from m->from to m->to; seen there after bus_publish. O(1). */
MUST_CHECK enum err bus_post(struct bus *b, struct bus_msg *m);
/* bus_publish: makes visible what `from` posted or answered since the last call, and calls
 * target(arg, id) for every shard that got something. One release store per such shard. */
void bus_publish(struct bus *b, unsigned from, void (*target)(void *arg, unsigned id), void *arg);
/* bus_drain: runs or finishes what has arrived at `at`, at most BUS_RING_SLOTS per source; returns
 * how many. `shards` maps ids to shards. */
unsigned bus_drain(struct bus *b, unsigned at, struct shard *shard);
/* bus_arrived: is there something to drain? */
bool bus_arrived(struct bus *b, unsigned at);
/* bus_unanswered: messages of `from` to `to` whose done() has not run. */
unsigned bus_unanswered(const struct bus *b, unsigned from, unsigned to);

/* bus_recent: the addresses of the last messages that `from` sent `to`, requests and completions, newest
 * first; returns how many, *waiting of them not drained yet. For a crash report: it looks at what other
 * threads write, and a message that was answered may be gone by now. Async-signal-safe. */
unsigned bus_recent(const struct bus *b, unsigned from, unsigned to, const struct bus_msg **out,
                    unsigned max, unsigned *waiting);

/* bus_give_up: the holder lets go. Returns false, and still holds the shard, when messages arrived
 * meanwhile. Full barrier. */
MUST_CHECK bool bus_give_up(struct bus *b, unsigned id);
/* bus_try_hold: takes a shard that nobody holds. Full barrier, also when it fails. */
MUST_CHECK bool bus_try_hold(struct bus *b, unsigned id);
/* bus_try_wake: for a shard that nobody holds, when shards are not lent: true tells the caller to
 * wake the owner, and keeps everybody else from doing the same. */
MUST_CHECK bool bus_try_wake(struct bus *b, unsigned id);
/* bus_hold: the owner takes its shard back; waits while it is lent, which is a batch at most. */
void bus_hold(struct bus *b, unsigned id);
/* bus_release: lets go without a look at the rings, for a borrower that will wake the owner
 * instead. */
void bus_release(struct bus *b, unsigned id);

#endif
