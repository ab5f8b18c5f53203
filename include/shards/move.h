/* move.h: moves what lies in nearly empty slabs, so that the allocator gets their pages back.
 *
 * Why         jemalloc keeps small allocations of one size class in slabs, and gives the pages of a slab back when all
 *             that was in it is free. After nine of ten keys were deleted nearly every slab has something left, and the
 *             process keeps all of its memory. Whoever knows the one address by which a thing is referred to can move
 *             it: jemalloc takes new ones from its oldest slab with room, so the other slabs become empty.
 *             What is larger than MOVE_BYTES_MAX has pages of its own and stays.
 *             What a thread has freed lies in its cache for a while, 100 to 200 pieces of a size, each of which keeps
 *             a slab that may hold nothing else. mover_uncache gives them back.
 * Which       what lies in a slab of which more is free than half of the average of its size class. Slabs that are full
 *             enough stay as they are, and so does all of a class that loses little. mover_look finds the averages;
 *             they are good for a walk over everything, which leaves full slabs and empty ones.
 * Threads     a mover belongs to its shard. mover_look reads what all threads have, and locks jemalloc's bins for
 *             moments.
 * Invariants  (1) what is moved has the same bytes as before, of the same size class, so no account changes.
 *             (2) without memory, everything stays.
 */
#ifndef SHARDS_MOVE_H
#define SHARDS_MOVE_H

#include "shards/bucket.h"
#include "shards/mem.h"

enum { MOVE_BYTES_MAX = 14336, MOVE_CLASSES = 36 };

struct mover {
    struct mem *mem; /* for its fault injection */
    bool
        everything; /* whatever its slab holds: under a sanitizer, what still refers to it is found */
    unsigned budget; /* allocations to look at and to move; callers stop when it is 0 */
    uint64_t moved, stayed;
    uint64_t moved_bytes;
    /* Of each size class: what is in a slab moves when more of it than this is free, in 1 / MOVE_WHOLE. */
    uint32_t free_max[MOVE_CLASSES];
    size_t query[4], query_len; /* jemalloc's name for what tells of a slab */
};
enum { MOVE_WHOLE = 1 << 10 };

/* What all slabs of the process have free. */
struct move_sample {
    size_t allocated_bytes; /* of all sizes, by everyone */
    size_t free_bytes;      /* in slabs */
    size_t movable_bytes;   /* of these, in classes where things move */
};

/* mover_look: sets free_max: a class moves when its slabs have more than percent of what is used in them free, and more
 * than some slabs' worth. False: the allocator does not tell, and nothing moves. About 0.1 ms. */
MUST_CHECK bool mover_look(struct mover *v, unsigned percent, struct move_sample *out);
/* mover_uncache: empties the cache of the thread that calls it: before a walk and after it, and before it sleeps for
 * long. About 20 us when the cache is full. */
void mover_uncache(void);
/* move_small: p is `size` bytes from mem_alloc, or any size with the same mem_size, all of which can be read; returns
 * where it is now, which may be where it was; NULL for NULL. move_lines: from mem_alloc_lines. O(size). */
void *move_small(struct mover *v, void *p, size_t size);
void *move_lines(struct mover *v, void *p, size_t size);
/* move_begin, move_end: move_small in two steps, for what is referred to from many places: the copy, or NULL when it
 * stays; and what it was before is freed. */
MUST_CHECK void *move_begin(struct mover *v, const void *p, size_t size);
void move_end(struct mover *v, void *p, size_t size);

/* move_next: the overflow bucket that b links to, which may have moved, or NULL. */
static inline struct bucket *move_next(struct mover *v, struct bucket *b) {
    struct bucket *next = bucket_next(b);
    if (likely(next == NULL))
        return NULL;
    struct bucket *now = move_lines(v, next, sizeof *next);
    if (now != next)
        bucket_set(b, BUCKET_LINK, now, 0);
    return now;
}

#endif
