/* room.h: maxmemory: room for what commands are about to store.
 *
 * Why         A cache keeps to its memory by evicting before it stores. What counts is used_memory, all of it: keys, what
 *             structures around them take, connections, buffers. budget.h says how shards share the limit.
 *
 *             A command that is flagged CMD_DENY_OOM asks its shard for room for the bytes of its arguments, before
 *             it runs; MULTI's body and what spans shards asks on every shard before any of it runs. Room is made by taking from the
 *             pool, by freeing what is dropped already, and by eviction, in this order, a key at a time. Where nothing can
 *             go, or nothing may, the command is refused with Redis's OOM error.
 *             A shard evicts its own keys. A command for one that has none which may go waits, while others are asked, one after the
 *             other, to evict theirs: what they free they give to that shard alone. And several times a second each shard looks
 *             at what all have evicted, and takes over what is due from it by the size and coldness of its keys: so room
 *             moves to where it is used.
 *             What a command stores beyond the bytes of its arguments it asks for itself (ctx_room), before it makes it or before
 *             it stores it. Memory that is no write's (buffers) is taken without asking: the next write, or the next
 *             tick, makes good for it.
 * Limits      who cannot wait (MULTI while it queues, ctx_room) may leave a debt of 1/64 of the limit or 1 MB, and what it
 *             stores, where only others have something that may go: they pay in their next turn, and until then nobody else stores.
 * Threads     the holder of the shard.
 * Source      Redis's maxmemory and maxmemory-policy.
 */
#ifndef ANAX_ROOM_H
#define ANAX_ROOM_H

#include "shards/shard.h"

struct command;

/* What a key and its entry may take beside its bytes. */
enum { ROOM_PER_KEY = 64 };

/* room_configure: maxmemory and its policy are what the shard's options say. */
void room_configure(struct shard *s) ON_SHARD;
/* room_end: with the instance. */
void room_end(struct shard *s) ON_SHARD;
/* room_used: what counts of the shard's memory. What is still to be stored is asked about where it will lie: until then it is passed
 * over, up to a bound, or it would be paid for twice. */
static inline ON_SHARD int64_t room_used(const struct shard *s) {
    enum { PASSED_PART = 64, PASSED_LEAST = 1 << 20 };
    int64_t passed = s->transit_bytes;
    if (likely(passed == 0))
        return s->mem.used_bytes;
    int64_t most =
        atomic_load_explicit(&s->share.budget->limit, memory_order_relaxed) / PASSED_PART;
    most = most > PASSED_LEAST ? most : PASSED_LEAST;
    return s->mem.used_bytes - (passed < most ? passed : most);
}
/* Somebody waits for other shards to give room to this one. */
struct room_wait {
    struct bus_msg msg;
    int64_t bytes;  /* wanted, then given */
    int64_t held;   /* of the budget, until there is enough */
    uint16_t tried; /* shards that gave nothing, one after the other */
    bool freed;     /* the last one let something go, though it may have been short of it itself */
    void (*then)(struct shard *s, struct room_wait *w);
};
enum room { ROOM_NONE, ROOM_THERE, ROOM_LATER };
/* room_ask: for so many bytes more. ROOM_LATER: other shards may make some: room_wait asks one of them, and `then` comes in a later
 * turn, to ask again. w: zeroed at first, the same until ROOM_THERE or ROOM_NONE; NULL: the caller cannot wait, and gets what is there
 * before others have paid for it, up to a bound. Usually one compare; else O(bytes) in evicted keys. */
enum room room_ask_slow(struct shard *s, int64_t bytes, struct room_wait *w) ON_SHARD;
static inline ON_SHARD enum room room_ask(struct shard *s, int64_t bytes, struct room_wait *w) {
    bool begun = w != NULL && (w->held != 0 || w->tried != 0);
    bool fits = budget_fits(&s->share, room_used(s), bytes) && !begun;
    return likely(fits) ? ROOM_THERE : room_ask_slow(s, bytes, w);
}
void room_wait(struct shard *s, struct room_wait *w,
               void (*then)(struct shard *s, struct room_wait *w)) ON_SHARD;
/* room_forgo: nobody asks again; on whichever shard. */
static inline void room_forgo(struct shard *s, struct room_wait *w) {
    budget_get(&s->share, w->held);
    w->held = 0;
    w->tried = 0;
}
/* room_here: without the help of other shards. */
bool room_here(struct shard *s, int64_t bytes) ON_SHARD;
/* room_of_others: may it be that only other shards can make room? */
bool room_of_others(const struct shard *s) ON_SHARD;
/* room_plenty: there is, for whatever comes in one receive buffer. */
static inline ON_SHARD bool room_plenty(const struct shard *s) {
    enum { PLENTY = 256 * 1024 };
    return budget_fits(&s->share, room_used(s), PLENTY);
}
/* room_of_call: the bytes that a call is taken to store: arguments from..to, not included, step apart. */
int64_t room_of_args(const struct span *argv, uint32_t from, uint32_t to);
/* room_settle: between turns. room_slice: in a tick: evicts when all shards together use more than maxmemory; true while they
 * do. */
void room_settle(struct shard *s) ON_SHARD;
bool room_slice(struct shard *s) ON_SHARD;
/* room_balance: in a tick: keys go where they are coldest, even when room is wanted elsewhere. */
void room_balance(struct shard *s) ON_SHARD;

#endif
