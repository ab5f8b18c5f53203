#include "shards/mem.h"

#ifdef ANAX_SYSTEM_MALLOC

bool mem_huge_pages(void) {
    return false;
}

#else

#include <jemalloc/jemalloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>

/* How jemalloc gets an arena's pages: it maps a range, each larger than the one before, and carves
 * what it needs off the front. Here it is told that a range is not committed, so that it says what
 * it takes (commit_hook) and gives back (decommit_hook):
 *
 *     base                         top                            end
 *     | taken, or given back       | never taken                  |
 *     |  huge page  |  huge page  |  huge page  |
 *                                  ^^^^^^^^^^^^^ resident all the same; goes with what is before it
 *
 * That rest is why a small arena has none: up to 2 MiB would be a good part of it. Once an arena is
 * large, further ranges get huge pages as they are touched, and the earlier ones from khugepaged.
 * A range of which an eighth has been given back is no longer advised, or khugepaged, finding a few
 * pages left in a block, would put a whole huge page there again, unasked. */
enum {
    RANGE_BYTES_HUGE = 14 << 20, /* jemalloc's twelfth: the arena holds 63 MiB */
    HUGE_BYTES = 2 << 20,
    RANGES_MAX = 96, /* of an arena: each is an eighth larger than the last, at least */
    ARENAS_MAX = 1024,
};

struct range {
    uintptr_t base, end;
    _Atomic uintptr_t top;
    atomic_size_t taken_bytes;
    atomic_bool huge;
};

static struct arena_ranges {
    atomic_uint count;
    atomic_bool huge;
    struct range r[RANGES_MAX];
} arenas[ARENAS_MAX];

/* jemalloc's functions, some of them wrapped; the same for all arenas, written for the first. */
static extent_hooks_t hooks;
static extent_hooks_t *plain;

static uintptr_t round_up(uintptr_t p, uintptr_t to) {
    return (p + to - 1) & ~(to - 1);
}

static void advise(struct range *r, bool huge) {
    atomic_store(&r->huge, huge);
    /* refused: small pages, as without it */
    (void)madvise((void *)r->base, r->end - r->base, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

static void *alloc_hook(extent_hooks_t *h, void *at, size_t size, size_t alignment, bool *zero,
                        bool *commit, unsigned arena) {
    bool must_commit = *commit;
    void *p = plain->alloc(h, at, size, alignment, zero, commit, arena);
    if (p == NULL || must_commit || arena >= ARENAS_MAX)
        return p;
    struct arena_ranges *a = &arenas[arena]; /* jemalloc grows an arena under its lock */
    unsigned n = atomic_load(&a->count);
    if (n == RANGES_MAX)
        return p;
    struct range *r = &a->r[n];
    r->base = (uintptr_t)p;
    r->end = (uintptr_t)p + size;
    atomic_store(&r->top, (uintptr_t)p);
    atomic_store(&a->count, n + 1);
    *commit = false;
    if (atomic_load(&a->huge)) {
        advise(r, true);
    } else if (size >= RANGE_BYTES_HUGE) {
        atomic_store(&a->huge, true);
        for (unsigned i = 0; i <= n; i++)
            advise(&a->r[i], true);
    }
    return p;
}

static struct range *range_of(unsigned arena, uintptr_t p) {
    if (arena >= ARENAS_MAX)
        return NULL;
    struct arena_ranges *a = &arenas[arena];
    for (unsigned i = atomic_load(&a->count); i-- > 0;)
        if (p >= a->r[i].base && p < a->r[i].end)
            return &a->r[i];
    return NULL;
}

static void take(struct range *r, bool arena_huge, uintptr_t from, uintptr_t to) {
    uintptr_t top = atomic_load(&r->top);
    while (top < to && !atomic_compare_exchange_weak(&r->top, &top, to))
        ;
    size_t taken = atomic_fetch_add(&r->taken_bytes, to - from) + (to - from);
    if (arena_huge && !atomic_load(&r->huge) && taken >= (r->end - r->base) / 16 * 15)
        advise(r, true);
}

/* give: returns the end of what may go back to the kernel. */
static uintptr_t give(struct range *r, uintptr_t from, uintptr_t to) {
    size_t taken = atomic_fetch_sub(&r->taken_bytes, to - from) - (to - from);
    uintptr_t top = atomic_load(&r->top);
    if (!atomic_load(&r->huge))
        return to;
    if (taken < (top - r->base) / 8 * 7)
        advise(r, false);
    return top != to ? to : round_up(to, HUGE_BYTES) < r->end ? round_up(to, HUGE_BYTES) : r->end;
}

/* What commit_hook and decommit_hook are told of may span ranges: jemalloc merges neighbours. */
static bool commit_hook(extent_hooks_t *h, void *p, size_t size, size_t offset, size_t length,
                        unsigned arena) {
    uintptr_t from = (uintptr_t)p + offset, to = from + length;
    struct range *r = range_of(arena, from);
    if (r == NULL)
        return plain->commit(h, p, size, offset, length, arena);
    for (; from < to && r != NULL; r = range_of(arena, from)) {
        uintptr_t end = to < r->end ? to : r->end;
        take(r, atomic_load(&arenas[arena].huge), from, end);
        from = end;
    }
    return false;
}

static bool decommit_hook(extent_hooks_t *h, void *p, size_t size, size_t offset, size_t length,
                          unsigned arena) {
    uintptr_t from = (uintptr_t)p + offset, to = from + length, last = to;
    struct range *r = range_of(arena, from);
    if (r == NULL)
        return plain->decommit(h, p, size, offset, length, arena);
    for (uintptr_t at = from; at < to && r != NULL; r = range_of(arena, at)) {
        uintptr_t end = to < r->end ? to : r->end;
        last = give(r, at, end);
        at = end;
    }
    last = last > to ? last : to;
    return madvise((void *)from, last - from, MADV_DONTNEED) != 0;
}

bool mem_huge_pages(void) {
    unsigned arena = 0;
    size_t len = sizeof arena;
    if (mallctl("thread.arena", &arena, &len, NULL, 0) != 0)
        return false;
    char name[48];
    (void)snprintf(name, sizeof name, "arena.%u.extent_hooks", arena);
    extent_hooks_t *old = NULL, *mine = &hooks;
    len = sizeof old;
    if (mallctl(name, &old, &len, NULL, 0) != 0)
        return false;
    if (old == mine)
        return true;
    if (plain == NULL) {
        plain = old;
        hooks = *old;
        hooks.alloc = alloc_hook;
        hooks.commit = commit_hook;
        hooks.decommit = decommit_hook;
    }
    return mallctl(name, NULL, NULL, &mine, sizeof mine) == 0;
}

#endif
