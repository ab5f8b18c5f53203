/* move.c: see shards/move.h. */
#include "shards/move.h"
#include "mem_impl.h"
#include "shards/assert.h"
#include <stdlib.h>

/* What looking at one and moving one take of a budget. */
enum { COST_LOOK = 1, COST_MOVE = 3 };

static void spend(struct mover *v, unsigned n) {
    v->budget -= n < v->budget ? n : v->budget;
}

#ifdef ANAX_SYSTEM_MALLOC

bool mover_look(struct mover *v, unsigned percent, struct move_sample *out) {
    (void)v;
    (void)percent;
    (void)out;
    return false;
}

void mover_uncache(void) {
}

static bool is_sparse(const struct mover *v, const void *p, size_t size) {
    (void)v;
    (void)p;
    (void)size;
    return false;
}

static void *fresh(size_t size, bool lines) {
    return lines ? aligned_alloc(CACHE_LINE, size) : malloc(size);
}

static void release(void *p, size_t size, bool lines) {
    (void)size;
    (void)lines;
    free(p);
}

#else

#include <jemalloc/jemalloc.h>

/* Below so many slabs' worth of what is free in a class nothing moves: each thread has one that it fills. */
enum { SLABS_KEPT = 8 };

/* class_of: jemalloc's number of a small size class; its sizes are mem_size's. */
static unsigned class_of(size_t size) {
    if (size <= 128)
        return size <= 8 ? 0 : (unsigned)((size + 15) / 16);
    unsigned doubling = 63U - (unsigned)__builtin_clzl(size - 1);
    size_t step = (size_t)1 << (doubling - 2);
    return 8 + (doubling - 7) * 4 + (unsigned)((size - 1 - ((size_t)1 << doubling)) / step) + 1;
}

/* A name of mallctl with the number of a size class in it. */
struct control {
    size_t mib[8];
    size_t len, at; /* parts, and which of them is the number */
};

static bool control_find(struct control *c, const char *name, size_t at) {
    c->len = COUNT_OF(c->mib);
    c->at = at;
    return mallctlnametomib(name, c->mib, &c->len) == 0;
}

static bool control_read(struct control *c, unsigned number, void *out, size_t bytes) {
    size_t len = bytes;
    c->mib[c->at] = number;
    return mallctlbymib(c->mib, c->len, out, &len, NULL, 0) == 0 && len == bytes;
}

#define TEXT_OF(x)  TEXT_OF_(x)
#define TEXT_OF_(x) #x
#define ALL_BINS    "stats.arenas." TEXT_OF(MALLCTL_ARENAS_ALL) ".bins.0."

struct controls {
    struct control size, regions, slabs, used;
};

static bool controls_find(struct controls *c) {
    return control_find(&c->size, "arenas.bin.0.size", 2) &&
           control_find(&c->regions, "arenas.bin.0.nregs", 2) &&
           control_find(&c->slabs, ALL_BINS "curslabs", 4) &&
           control_find(&c->used, ALL_BINS "curregs", 4);
}

/* look_class: false: the allocator does not tell. */
static bool look_class(struct mover *v, struct controls *c, unsigned i, unsigned percent,
                       struct move_sample *out) {
    size_t size, slabs, used;
    uint32_t regions;
    if (!control_read(&c->size, i, &size, sizeof size) ||
        !control_read(&c->regions, i, &regions, sizeof regions) ||
        !control_read(&c->slabs, i, &slabs, sizeof slabs) ||
        !control_read(&c->used, i, &used, sizeof used))
        return false;
    size_t all = slabs * regions, free_regions = all > used ? all - used : 0;
    out->free_bytes += free_regions * size;
    v->free_max[i] = MOVE_WHOLE;
    if (class_of(size) != i || free_regions <= (size_t)SLABS_KEPT * regions ||
        free_regions * 100 <= used * percent)
        return true;
    v->free_max[i] = (uint32_t)(free_regions * MOVE_WHOLE / 2 / all);
    out->movable_bytes += free_regions * size;
    return true;
}

bool mover_look(struct mover *v, unsigned percent, struct move_sample *out) {
    struct controls c;
    unsigned classes = 0;
    uint64_t epoch = 1; /* setting it makes the numbers new */
    size_t len = sizeof classes, bytes_len = sizeof out->allocated_bytes;
    *out = (struct move_sample){0};
    v->query_len = COUNT_OF(v->query);
    for (unsigned i = 0; i < MOVE_CLASSES; i++)
        v->free_max[i] = MOVE_WHOLE;
    if (mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) != 0 ||
        mallctl("arenas.nbins", &classes, &len, NULL, 0) != 0 || classes != MOVE_CLASSES ||
        mallctl("stats.allocated", &out->allocated_bytes, &bytes_len, NULL, 0) != 0 ||
        mallctlnametomib("experimental.utilization.batch_query", v->query, &v->query_len) != 0 ||
        !controls_find(&c))
        return false;
    for (unsigned i = 0; i < classes; i++)
        if (!look_class(v, &c, i, percent, out))
            return false;
    return true;
}

void mover_uncache(void) {
    /* Fails only where there is no cache. */
    (void)mallctl("thread.tcache.flush", NULL, NULL, NULL, 0);
}

/* is_sparse: does its slab have so much free that it had better be emptied? */
static bool is_sparse(const struct mover *v, const void *p, size_t size) {
    struct {
        size_t free_regions, regions, bytes;
    } slab = {0};
    uint32_t free_max = v->free_max[class_of(size)];
    if (free_max >= MOVE_WHOLE || v->query_len == 0)
        return false;
    size_t len = sizeof slab;
    if (mallctlbymib(v->query, v->query_len, &slab, &len, (void *)&p, sizeof p) != 0)
        return false;
    return slab.free_regions * MOVE_WHOLE > slab.regions * free_max;
}

/* Around the thread's cache: it would hand out again what was freed in the slabs that are to become empty. */
static void *fresh(size_t size, bool lines) {
    return mallocx(size, MALLOCX_TCACHE_NONE | (lines ? MALLOCX_ALIGN(CACHE_LINE) : 0));
}

static void release(void *p, size_t size, bool lines) {
    sdallocx(p, size, MALLOCX_TCACHE_NONE | (lines ? MALLOCX_ALIGN(CACHE_LINE) : 0));
}

#endif

static void *copy_of(struct mover *v, const void *p, size_t size, bool lines) {
    spend(v, COST_LOOK);
    if (size == 0 || size > MOVE_BYTES_MAX || (!v->everything && !is_sparse(v, p, size)) ||
        mem_must_fail(v->mem)) {
        v->stayed++;
        return NULL;
    }
    void *q = fresh(size, lines);
    if (unlikely(q == NULL)) {
        v->stayed++;
        return NULL;
    }
    memcpy(q, p, size);
    v->moved++;
    v->moved_bytes += size;
    spend(v, COST_MOVE);
    return q;
}

void *move_begin(struct mover *v, const void *p, size_t size) {
    return copy_of(v, p, size, false);
}

void move_end(struct mover *v, void *p, size_t size) {
    (void)v;
    release(p, size, false);
}

void *move_small(struct mover *v, void *p, size_t size) {
    void *q = p == NULL ? NULL : copy_of(v, p, size, false);
    if (q == NULL)
        return p;
    release(p, size, false);
    return q;
}

void *move_lines(struct mover *v, void *p, size_t size) {
    void *q = p == NULL ? NULL : copy_of(v, p, size, true);
    if (q == NULL)
        return p;
    release(p, size, true);
    return q;
}
