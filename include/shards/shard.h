/* shard.h: a shard owns one of everything: loop, keyspace, account of memory, port of the bus.
 *
 * Why         threads share nothing; what one shard wants of another goes by message. A shard whose
 *             thread sleeps is lent: the thread that has a message for it runs it in place.
 * Threads     `struct shard` is touched by its holder. The owner thread holds it while awake.
 *             owner-only: shard->loop (except stream_send and loop_wake).
 * Ownership   shards_create makes all of them, shards_destroy frees them; between them run and stop.
 * Limits      SHARDS_MAX shards. A turn kicks each other shard at most SHARD_KICKS_MAX times, then
 *             its owner is woken. Stopping waits SHARD_STOP_MS_MAX for answers.
 * Invariants  (1) messages between two shards keep their order, backlog included.
 *             (2) what runs on a borrowed shard and needs the owner's loop is left in a list by the
 *             layer above, which then calls shard_need_owner.
 *             (3) turn_end runs after messages were drained and before the shard is given up.
 */
#ifndef SHARDS_SHARD_H
#define SHARDS_SHARD_H

#include "shards/budget.h"
#include "shards/bus.h"
#include "shards/keyspace.h"
#include "shards/loop.h"
#include "shards/rng.h"
#include "shards/snapshot.h"
#include "shards/tx.h"
#include <stdatomic.h>

enum { SHARDS_MAX = BUS_SHARDS_MAX, SHARD_KICKS_MAX = 4, SHARD_STOP_MS_MAX = 2000 };

struct shard_hooks {
    /* on the owner thread, once, before the first turn and after the last. */
    enum err (*start)(struct shard *s);
    void (*stop)(struct shard *s);
    /* after every turn or borrowing: send what was answered. */
    void (*turn_end)(struct shard *s);
    /* the server is to stop: take nothing new from now on; then, every turn: is all answered? */
    void (*stopping)(struct shard *s);
    bool (*idle)(struct shard *s);
    /* within a turn: may the loop take so many bytes more to receive into? Or NULL. */
    bool (*growing)(struct shard *s, size_t bytes);
};

struct shard_stats {
    uint64_t turns, messages_out, messages_in, borrows, doorbells;
    uint64_t turn_ns;         /* all turns: how long they ran, not waited */
    uint64_t longest_turn_ns; /* of these */
    uint64_t recent_turn_ns;  /* the longest since somebody set it to 0 */
};

struct shard {
    uint16_t id;
    bool lent;        /* the holder is not the owner */
    bool needs_owner; /* shard_need_owner was called */
    struct shards *all;
    struct bus *bus;
    struct loop *loop;
    struct keyspace *keyspace;
    struct tx_shard tx; /* which transactions hold what of it */
    struct snapshot snapshot;
    struct mem mem;
    struct budget_share share; /* what it may use of memory */
    struct rng rng;
    int64_t wall_ms; /* now, read once per turn by whoever holds it */
    uint64_t now_ns;
    void *app; /* the layer above */
    struct shard_stats stats;
    struct shard_impl *impl;
};

struct shards_config {
    unsigned count;
    unsigned databases;
    enum loop_kind io;
    bool borrow;
    bool huge_pages; /* ask for them where memory is much */
    const int *cpus; /* count numbers, or NULL: not pinned */
    uint64_t seed;   /* of the shards' generators; 0: from entropy */
    const struct shard_hooks *hooks;
    void *arg; /* for hooks, through shards_arg */
};

/* shards_create: loops, rings, keyspaces, no thread yet. On failure *why says what the system
 * refused. */
MUST_CHECK enum err shards_create(struct shards **out, const struct shards_config *c,
                                  const char **why);
/* shards_start: a thread per shard; returns when each has started or one has failed. */
MUST_CHECK enum err shards_start(struct shards *a);
/* shards_stop: asks all to stop (any thread, and signal-safe). shards_join waits for the threads.
 */
void shards_stop(struct shards *a);
void shards_join(struct shards *a);
/* shards_destroy: returns the bytes by which the shards' accounts, each for itself, then differ from 0: that much was lost, or
 * charged to the wrong shard. */
int64_t shards_destroy(struct shards *a);

unsigned shards_count(const struct shards *a);
struct shard *shards_get(const struct shards *a, unsigned id);
void *shards_arg(const struct shards *a);
/* shard_begin, shard_end: what a shard's thread does before its first turn and after its last; for the
 * simulator, which has no threads. */
MUST_CHECK enum err shard_begin(struct shard *s);
void shard_end(struct shard *s);
/* shard_turn: one turn of one shard on the calling thread, waiting at most timeout_ns. What the
 * owner threads do in a loop; the simulator calls it itself. */
unsigned shard_turn(struct shard *s, uint64_t timeout_ns) ON_SHARD;
/* shard_post: m->from is s->id. Never fails: beyond the ring's bound it waits in the backlog, which
 * is bounded by what the callers have in flight. */
void shard_post(struct shard *s, struct bus_msg *m) ON_SHARD;
/* shard_doze, shard_rouse: what the owner does around sleeping, for the simulator: between them the
 * shard can be borrowed. shard_doze returns false when there is something to do instead. */
MUST_CHECK bool shard_doze(struct shard *s);
void shard_rouse(struct shard *s);
/* shard_need_owner: the owner thread will run a turn soon. */
void shard_need_owner(struct shard *s) ON_SHARD;

#endif
