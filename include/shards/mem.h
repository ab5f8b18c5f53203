/* mem.h: allocation that is counted, per shard, to the byte.
 *
 * Why         `maxmemory` is a promise about bytes: what is counted is what the allocator handed
 *             out (its size class), not what was asked for. Sizes are passed back on free, so no
 *             allocation carries a header and no free looks one up.
 * Threads     a struct mem belongs to its shard and is touched by the shard's holder only. Memory
 *             may be freed against another shard's account than it was taken from (a message that
 *             changes owner); mem_charge then moves the charge, and until it has the sum is exact.
 * Limits      mem_alloc returns NULL when the allocator refuses, or when fault injection says so.
 * Invariants  (1) used = sum of mem_size(requested) over live allocations.
 *             (2) a failed allocation changes nothing.
 */
#ifndef SHARDS_MEM_H
#define SHARDS_MEM_H

#include "shards/attr.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem {
    int64_t used_bytes;
    uint64_t fail_in;    /* fault injection: the fail_in-th allocation from now fails; 0 is off */
    uint64_t fail_every; /* and from then on every fail_every-th */
};

/* mem_size: the bytes that the allocator hands out for a request of `size`. O(1). */
size_t mem_size(size_t size);
MUST_CHECK void *mem_alloc(struct mem *m, size_t size);
MUST_CHECK void *mem_zalloc(struct mem *m, size_t size);
/* mem_alloc_lines: aligned to a cache line; size is a multiple of one. Freed with mem_free_lines.
 */
MUST_CHECK void *mem_alloc_lines(struct mem *m, size_t size);
void mem_free_lines(struct mem *m, void *p, size_t size);
/* mem_realloc: NULL leaves `p` as it was. */
MUST_CHECK void *mem_realloc(struct mem *m, void *p, size_t old_size, size_t new_size);
/* mem_free: `size` is what was asked for, or any size with the same mem_size. NULL is allowed. */
void mem_free(struct mem *m, void *p, size_t size);
/* mem_charge: `bytes`, as mem_size counts them, that another account was charged with are charged here from
 * now on; negative: the other way. The two calls may be made apart, each by its shard's holder. */
static inline void mem_charge(struct mem *m, int64_t bytes) {
    m->used_bytes += bytes;
}
/* mem_release_idle: asks the allocator to hand free pages back to the kernel. */
void mem_release_idle(void);
/* mem_huge_pages: lets the kernel back what the calling thread allocates from now on with pages of
 * 2 MiB, once there is much of it: on a full table half of a lookup's time is walking page tables.
 * One thread at a time. False: the allocator cannot, and nothing has changed. */
bool mem_huge_pages(void);
/* mem_allocator: its name and version, for INFO. */
const char *mem_allocator(void);
/* mem_usage: what the allocator has handed out, the pages that this lies in, and all of its pages that are in RAM;
 * false: it does not say. Takes some microseconds for each of its arenas. */
struct mem_usage {
    size_t allocated_bytes, active_bytes, resident_bytes;
};
MUST_CHECK bool mem_usage(struct mem_usage *out);
/* mem_describe: the allocator's own statistics, for people, handed to `add` piece by piece; false: it has none. Walks all
 * arenas, which takes milliseconds. */
bool mem_describe(void (*add)(void *arg, const char *text), void *arg);
/* mem_resident: bytes of the process in RAM, from the kernel; 0 when it does not say. */
size_t mem_resident(void);

#endif
