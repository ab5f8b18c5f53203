/* fifo_impl.h: S3-FIFO's queues of one table, for this room only.
 *
 * Why         new keys go to a small queue, a tenth of all; those that are used before they reach its end go on to the main
 * queue, the others out, and are remembered. A remembered key that comes again goes to the main queue at once.
 * There, who was used gets another round. Keys that are asked for once, as by a scan, pass through the tenth.
 *
 *             A queue is an array of 4-byte slots in chunks, by a position that goes on counting:
 *
 *             slot      hash bits 0-23 | fingerprint 8      names the bucket and the place in it
 *             entry     position 20 | main 1 | uses 2       its access bits; says whether the slot is still its own
 *
 *             So deleting a key leaves the queue alone: its slot names nothing any more. When more slots are empty
 *             than not, a queue is packed, some slots with each that is added: [gap, gap_end) is void, and moves on.
 *
 *             Keys that were there before the queues are placed chain by chain, as a scan goes (bucket.h): what lies left of
 *             `fill` has a place, what lies right of it has none, even when it is new. Without memory for a slot all
 *             places are forgotten, and it begins again.
 *
 *             The memory of what went is a hash table of lines of 32 fingerprints of 2 bytes, the newest first, which grows
 *             line by line like the table itself; a split copies the line, since what does not belong ages out.
 * Invariants  (1) each entry left of `fill` that the policy may evict has one slot that names it.
 *             (2) live[q] is how many of them are in queue q.
 */
#ifndef KEYSPACE_FIFO_IMPL_H
#define KEYSPACE_FIFO_IMPL_H

#include "shards/chain.h"
#include "shards/keyspace.h"

enum { FIFO_CHUNK = 512, GHOST_LINE = 32, GHOST_SEGMENT = 64 };

struct fifo_queue {
    uint32_t **chunks; /* a ring: that of a position p is chunks[p / FIFO_CHUNK % cap] */
    uint32_t cap;      /* a power of two, or 0 */
    uint64_t head, tail;
    bool packing;
    uint64_t gap, gap_end; /* while it is packed: head <= gap <= gap_end <= tail */
    uint64_t live;
};

struct ghost {
    uint16_t **segments; /* of GHOST_SEGMENT lines */
    uint32_t cap, lines, base;
};

struct fifo {
    struct mem *mem;
    bool only_volatile;
    uint64_t fill;              /* BUCKET_SCAN_END: all have a place */
    struct fifo_queue queue[2]; /* small, main */
    struct ghost ghost;
};

struct table;
struct victim;

/* fifo_join: e, new under `hash` or new to the policy, gets a place when it is its turn. */
void fifo_join(struct table *t, struct entry *e, uint64_t hash) ON_SHARD;
/* fifo_leave: e goes, or the policy may not evict it any more. */
void fifo_leave(struct table *t, const struct entry *e) ON_SHARD;
/* fifo_victim: the key to be evicted, which is remembered; false: there is none that may go. */
bool fifo_victim(struct table *t, int64_t now_ms, bool (*held)(void *arg, uint64_t hash), void *arg,
                 struct victim *out) ON_SHARD;
/* fifo_end: frees it all. */
void fifo_end(struct table *t);
size_t fifo_bytes(const struct table *t);

/* ghost_take: whether it is remembered, and forgets it. ghost_put: remembers; `room` is how many there should be. Without
 * memory it remembers fewer. */
bool ghost_take(struct ghost *g, uint64_t hash);
void ghost_put(struct ghost *g, struct mem *m, uint64_t hash, uint64_t room);
void ghost_end(struct ghost *g, struct mem *m);
size_t ghost_bytes(const struct ghost *g);

#endif
