/* roaring_impl.h: integers in bitmaps of CRoaring, and what is beside them. Private to types/.
 *
 *     struct roaring | object | part, part, ... | rest |
 *                               |
 *                               high 32 bits, count, -> roaring_bitmap_t -> containers of 2^16 integers each: an array
 *                                                    |                      of up to 4,096 or a bitset of 8 KiB
 *                                                    -> ranks
 *
 * Why         CRoaring takes its memory from malloc, which knows no accounts. What a container has is told by its
 *             capacity, so what an operation took or gave back is the difference of two sizes. CRoaring does not
 *             survive a malloc that fails: before whatever may allocate, as much is taken from the account
 *             for a moment and given back (roaring_reserve), and only that can fail.
 * Invariants  (1) object.bytes, count, weight and due_ms include `rest`. (2) containers are arrays or
 *             bitsets, never runs: one of these may need memory to have an integer taken out.
 *             (3) parts are ordered by high, and none is empty. (4) ranks, where there are any, count
 *             what the containers hold, and groups what the parts do.
 */
#ifndef ROARING_IMPL_H
#define ROARING_IMPL_H

#include "anax/val.h"
#include "shards/rng.h"
#include <roaring/roaring.h>

/* How many integers lie in groups of GROUP_KEYS containers, by the upper bits of their keys, so that
 * finding the n-th need not look at them all. A part of RANKS_FROM containers and more has it. */
enum { GROUP_KEYS = 64, GROUPS = 65536 / GROUP_KEYS, SUPER_GROUPS = 32, RANKS_FROM = 128 };
struct roaring_ranks {
    uint32_t super[GROUPS / SUPER_GROUPS];
    uint32_t group[GROUPS];
};

enum { PART_GROUP = 64 };
struct roaring_part {
    int32_t high;
    uint64_t count;
    roaring_bitmap_t *bitmap;
    struct roaring_ranks *ranks; /* or NULL */
};

struct roaring {
    struct object o;
    uint64_t ints;
    struct roaring_part *part;
    uint64_t *group; /* integers in each PART_GROUP parts; NULL while cap is not more than that */
    uint32_t parts, cap;
    struct object *rest; /* a fields form, or NULL */
};

enum roaring_outcome { ROARING_NO_MEMORY, ROARING_SAME, ROARING_CHANGED };

/* --- a part: roaring_part.c. `o` is whose bytes and weight it counts in. --- */

/* roaring_reserve: true when so much can be had, now. */
MUST_CHECK bool roaring_reserve(struct mem *m, size_t bytes);
MUST_CHECK bool roaring_part_init(struct mem *m, struct object *o, struct roaring_part *p,
                                  int32_t high);
/* roaring_part_adopt: a bitmap that CRoaring has made and nobody has counted yet. O(containers). */
void roaring_part_adopt(struct mem *m, struct object *o, struct roaring_part *p, int32_t high,
                        roaring_bitmap_t *b);
/* roaring_part_drop: frees containers until *budget allocations are gone; true when all is. */
bool roaring_part_drop(struct mem *m, struct object *o, struct roaring_part *p, unsigned *budget);
enum roaring_outcome roaring_part_add(struct mem *m, struct object *o, struct roaring_part *p,
                                      uint32_t low);
bool roaring_part_remove(struct mem *m, struct object *o, struct roaring_part *p, uint32_t low);
/* roaring_part_draw: one of the integers of the container that holds the rank-th: each integer of the part has
 * the same chance when the rank has. */
uint32_t roaring_part_draw(const struct roaring_part *p, uint64_t rank, struct rng *g);
/* roaring_part_read: up to n integers from *from on, in order; *from: where to go on, past 32 bits at the end. */
uint32_t roaring_part_read(const struct roaring_part *p, uint64_t *from, uint32_t *to, uint32_t n);
/* roaring_part_append: n integers that make one container, behind all others. Memory must be reserved. */
void roaring_part_append(roaring_bitmap_t *b, const int64_t *sorted, size_t n);
/* roaring_part_bytes: what a bitmap counts for. O(containers). */
size_t roaring_part_bytes(const roaring_bitmap_t *b);

/* --- a set of 64-bit integers: roaring_set.c --- */

/* Where a walk is: the next integer is not less than that. At its end: part == parts. */
struct roaring_place {
    uint32_t part;
    uint64_t low;
};

MUST_CHECK struct roaring *roaring_set_create(struct mem *m);
void roaring_set_destroy(struct mem *m, struct roaring *r);
/* roaring_set_of: of n distinct integers in ascending order; NULL: no memory. O(n). */
MUST_CHECK struct roaring *roaring_set_of(struct mem *m, const int64_t *sorted, size_t n);
/* roaring_set_runs: how many runs there are in which all but the low `bits` are the same: how many containers or parts
 * they would have. O(n). */
enum { ROARING_CONTAINER_BITS = 16, ROARING_PART_BITS = 32 };
size_t roaring_set_runs(const int64_t *sorted, size_t n, unsigned bits);
bool roaring_set_has(const struct roaring *r, int64_t v);
/* roaring_set_has_part: v would join others in a bitmap. O(log parts). */
bool roaring_set_has_part(const struct roaring *r, int64_t v);
/* O(log parts), but for a v that opens a part or was the last in one: O(parts), which setval.h bounds. */
enum roaring_outcome roaring_set_add(struct mem *m, struct roaring *r, int64_t v);
bool roaring_set_remove(struct mem *m, struct roaring *r, int64_t v);
/* roaring_set_draw: each with the same chance; there is one at least. */
int64_t roaring_set_draw(const struct roaring *r, struct rng *g);
struct roaring_place roaring_set_seek(const struct roaring *r, int64_t from);
/* roaring_set_read: up to n integers, in order; 0: there are no more. */
uint32_t roaring_set_read(const struct roaring *r, struct roaring_place *at, int64_t *to,
                          uint32_t n);
/* roaring_set_parts: how many parts two sets have together. O(parts). */
uint32_t roaring_set_parts(const struct roaring *a, const struct roaring *b);
/* Of two sets, without their `rest`: a new one; NULL: no memory. O(containers). */
enum roaring_op { ROARING_AND, ROARING_OR, ROARING_ANDNOT };
MUST_CHECK struct roaring *roaring_set_combine(struct mem *m, const struct roaring *a,
                                               const struct roaring *b, enum roaring_op op);
/* roaring_set_copy: without its `rest`. roaring_set_drop: the integers; true when *budget was enough. */
MUST_CHECK struct roaring *roaring_set_copy(struct mem *m, const struct roaring *from);
bool roaring_set_drop(struct mem *m, struct roaring *r, unsigned *budget);

/* --- roaring_defrag.c: as struct val_ops says --- */
struct object *roaring_defrag_some(struct mover *v, struct object *o, uint64_t *cursor);

#endif
