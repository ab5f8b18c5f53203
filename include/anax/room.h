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
 *             moves to where it is used. What is ready for that is 1/128 of the limit at most, of all shards.
 *             What a command stores beyond the bytes of its arguments it asks for itself (ctx_room), before it makes it or before
 *             it stores it. A write that comes in pieces asks before they are there: for a large argument, for more of what is
 *             incomplete, for what MULTI keeps (room_for_input). A large argument is asked for once: with its part it goes to the account of
 *             the shard that stores it, and its room with it. Receive buffers grow only where there is room. Other memory that is no
 *             write's (replies, what reads are asked with) is taken without asking: the next write, or the next tick, makes good for it.
 * Limits      what only other shards can make room for is borrowed where nothing can wait, by one at a time; they pay in their next turn.
 *             What is being received waits for its turn to borrow, 3 s at most. Only ctx_room, which cannot, may borrow more while the debt
 *             is below 1/64 of the limit or 1 MB.
 *             What cannot be had at all is received all the same, as in Redis: who writes it is refused when it is complete.
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
/* Memory that goes from one shard to another, with the room that it has: room_send takes it off the one account and room_receive adds
 * it to the other, so that nobody has to make room for it again. `room` of room_receive is what room_send returned. */
MUST_CHECK int64_t room_send(struct shard *s, int64_t bytes) ON_SHARD;
void room_receive(struct shard *s, int64_t bytes, int64_t room) ON_SHARD;
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
    bool fits = budget_fits(&s->share, s->mem.used_bytes, bytes) && !begun;
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
/* room_for_input: before so much is received, or kept for EXEC. What only other shards can make room for is borrowed from them, by one
 * at a time: ROOM_LATER: by somebody else just now; they have been asked, and a later turn may ask again. ROOM_NONE: nothing can go. */
enum room room_for_input(struct shard *s, int64_t bytes) ON_SHARD;
/* room_here: without the help of other shards. */
bool room_here(struct shard *s, int64_t bytes) ON_SHARD;
/* room_of_others: may it be that only other shards can make room? */
bool room_of_others(const struct shard *s) ON_SHARD;
/* room_plenty: there is, for whatever comes in one receive buffer. */
static inline ON_SHARD bool room_plenty(const struct shard *s) {
    enum { PLENTY = 256 * 1024 };
    return budget_fits(&s->share, s->mem.used_bytes, PLENTY);
}
/* room_of_args: the bytes that a key with these arguments, from..to, `to` not included, is taken to store. */
int64_t room_of_args(const struct span *argv, uint32_t from, uint32_t to);
/* room_settle: between turns. room_slice: in a tick: evicts when all shards together use more than maxmemory; true while they
 * do. */
void room_settle(struct shard *s) ON_SHARD;
bool room_slice(struct shard *s) ON_SHARD;
/* room_pay: much memory was just taken without asking: a slice of what is due goes here, and on the other shards in their next turn. */
void room_pay(struct shard *s) ON_SHARD;
/* room_balance: in a tick: keys go where they are coldest, even when room is wanted elsewhere. */
void room_balance(struct shard *s) ON_SHARD;

#endif
