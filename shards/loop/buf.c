/* buf.c: the pool of receive buffers and its two ways of handing them out: a stack, or io_uring's
 * ring of provided buffers, from which the kernel takes them itself. */
#include "loop_impl.h"
#include <liburing.h>
#include <string.h>
#include <sys/mman.h>

enum { TRIM_WINDOW_NS = 1000 * 1000 * 1000 };

static size_t chunk_bufs(unsigned chunk) {
    return chunk == 0 ? LOOP_BUFS_MIN : (size_t)LOOP_BUFS_MIN << (chunk - 1);
}

static unsigned chunk_of_count(unsigned count) {
    return count == 0 ? 0 : (unsigned)__builtin_ctz(count / LOOP_BUFS_MIN) + 1;
}

/* Makes the buffer available again. */
static void offer(struct buf_pool *p, struct io_buf *b) {
    if (p->ring != NULL) {
        io_uring_buf_ring_add(p->ring, b->base, LOOP_BUF_BYTES, b->id,
                              io_uring_buf_ring_mask(LOOP_BUFS_MAX), 0);
        io_uring_buf_ring_advance(p->ring, 1);
        return;
    }
    b->next = p->idle;
    p->idle = b;
}

static bool add_chunk(struct loop *l) {
    struct buf_pool *p = &l->pool;
    unsigned chunk = chunk_of_count(p->count);
    size_t n = chunk_bufs(chunk);
    const struct loop_hooks *hooks = l->hooks;
    if (hooks != NULL && hooks->growing != NULL && !hooks->growing(hooks->arg, n * BUF_STRIDE))
        return false;
    char *bytes = mem_alloc(l->mem, n * BUF_STRIDE);
    if (bytes == NULL)
        return false;
    p->chunks[chunk] = bytes;
    for (size_t i = 0; i < n; i++) {
        struct io_buf *b = &p->bufs[p->count + i];
        *b = (struct io_buf){.loop = l,
                             .base = bytes + i * BUF_STRIDE,
                             .cap = LOOP_BUF_BYTES,
                             .id = (uint16_t)(p->count + i)};
        offer(p, b);
    }
    p->count += (unsigned)n;
    p->keep = p->count;
    return true;
}

enum err buf_pool_init(struct loop *l, struct io_uring_buf_ring *ring) {
    struct buf_pool *p = &l->pool;
    *p = (struct buf_pool){.ring = ring, .window_ns = l->now_ns};
    p->bufs = mem_alloc(l->mem, LOOP_BUFS_MAX * sizeof(struct io_buf));
    if (p->bufs == NULL)
        return ERR_NOMEM;
    return add_chunk(l) ? OK : ERR_NOMEM;
}

void buf_pool_deinit(struct loop *l) {
    struct buf_pool *p = &l->pool;
    for (unsigned i = 0; i < BUF_CHUNKS_MAX; i++)
        mem_free(l->mem, p->chunks[i], chunk_bufs(i) * BUF_STRIDE);
    mem_free(l->mem, p->bufs, LOOP_BUFS_MAX * sizeof(struct io_buf));
    *p = (struct buf_pool){0};
}

static void count_used(struct buf_pool *p) {
    p->used++;
    if (p->used > p->peak)
        p->peak = p->used;
}

struct io_buf *buf_take(struct loop *l) {
    struct buf_pool *p = &l->pool;
    if (p->idle == NULL && !buf_grow(l))
        return NULL;
    struct io_buf *b = p->idle;
    ASSERT(b != NULL);
    p->idle = b->next;
    count_used(p);
    b->data = b->base;
    b->refs = 1;
    return b;
}

struct io_buf *buf_taken(struct loop *l, unsigned id) {
    ASSERT(id < l->pool.count);
    struct io_buf *b = &l->pool.bufs[id];
    ASSERT(b->refs == 0);
    count_used(&l->pool);
    b->data = b->base;
    b->refs = 1;
    return b;
}

unsigned buf_free_count(const struct buf_pool *p) {
    return p->count - p->used - p->retired;
}

/* A retired buffer is marked by a capacity of 0 until its chunk goes. */
static void retire(struct loop *l, struct io_buf *b) {
    struct buf_pool *p = &l->pool;
    b->cap = 0;
    if (++p->retired < p->count - p->keep)
        return;
    unsigned chunk = chunk_of_count(p->keep);
    mem_free(l->mem, p->chunks[chunk], chunk_bufs(chunk) * BUF_STRIDE);
    p->chunks[chunk] = NULL;
    p->count = p->keep;
    p->retired = 0;
}

static void put(struct loop *l, struct io_buf *b) {
    struct buf_pool *p = &l->pool;
    p->used--;
    if (unlikely(b->id >= p->keep))
        retire(l, b);
    else
        offer(p, b);
    /* Whoever borrowed the shard gave a buffer back that the owner's streams wait for. */
    if (unlikely(l->asleep && !list_empty(&l->starved)))
        loop_wake(NULL, l);
}

static bool unretire(struct buf_pool *p) {
    bool any = p->retired > 0;
    for (unsigned i = p->keep; i < p->count; i++) {
        if (p->bufs[i].cap != 0)
            continue;
        p->bufs[i].cap = LOOP_BUF_BYTES;
        offer(p, &p->bufs[i]);
    }
    p->retired = 0;
    p->keep = p->count;
    return any;
}

bool buf_grow(struct loop *l) {
    struct buf_pool *p = &l->pool;
    if (p->keep < p->count && unretire(p))
        return true;
    return p->count < LOOP_BUFS_MAX && add_chunk(l);
}

/* start_over: what a burst made of the pool goes at once, all but the first chunk. */
static void start_over(struct loop *l) {
    struct buf_pool *p = &l->pool;
    if (p->ring != NULL && !l->ops->empty_ring(l))
        p->ring = NULL;
    for (unsigned chunk = 1; chunk < BUF_CHUNKS_MAX; chunk++) {
        mem_free(l->mem, p->chunks[chunk], chunk_bufs(chunk) * BUF_STRIDE);
        p->chunks[chunk] = NULL;
    }
    p->count = p->keep = LOOP_BUFS_MIN;
    p->retired = 0;
    p->idle = NULL;
    for (unsigned i = 0; i < LOOP_BUFS_MIN; i++)
        offer(p, &p->bufs[i]);
}

/* release: when next to nobody used a buffer for a second, the pool is small again and has no pages; they come
 * back as zeros when they are written to. Not while the kernel may have filled one that we have not seen. */
static void release(struct loop *l) {
    enum { FEW = 2, PAGE = 4096 };
    struct buf_pool *p = &l->pool;
    bool untouched = p->released && p->peak == 0;
    p->released = p->peak <= FEW && p->used == 0 && l->ops->quiet(l);
    if (!p->released || untouched)
        return;
    if (p->count > LOOP_BUFS_MIN)
        start_over(l);
    uintptr_t from = ((uintptr_t)p->chunks[0] + PAGE - 1) & ~(uintptr_t)(PAGE - 1);
    uintptr_t end = (uintptr_t)p->chunks[0] + chunk_bufs(0) * BUF_STRIDE;
    /* Advice only: where it is refused the pages stay. */
    (void)madvise((void *)from, (end - from) & ~(uintptr_t)(PAGE - 1), MADV_DONTNEED);
}

void buf_trim(struct loop *l) {
    struct buf_pool *p = &l->pool;
    if (l->now_ns - p->window_ns < TRIM_WINDOW_NS)
        return;
    release(l);
    bool halve = p->count > LOOP_BUFS_MIN && p->keep == p->count && p->peak * 4 <= p->count;
    p->window_ns = l->now_ns;
    p->peak = p->used;
    if (!halve)
        return;
    /* Those in the ring are retired as the kernel hands them out; those on the stack are here. */
    p->keep = p->count / 2;
    struct io_buf *b = p->idle;
    p->idle = NULL;
    while (b != NULL) {
        struct io_buf *next = b->next;
        if (b->id >= p->keep)
            retire(l, b);
        else
            offer(p, b);
        b = next;
    }
}

struct io_buf *buf_spill(struct loop *l, struct io_buf *b) {
    if (b->id == BUF_ID_HEAP)
        return b;
    struct io_buf *copy = mem_alloc(l->mem, sizeof(*copy) + b->len);
    if (copy == NULL)
        return b;
    char *bytes = (char *)(copy + 1);
    *copy = (struct io_buf){.loop = l,
                            .data = bytes,
                            .len = b->len,
                            .refs = 1,
                            .base = bytes,
                            .cap = b->len,
                            .id = BUF_ID_HEAP};
    memcpy(bytes, b->data, b->len);
    buf_release(b);
    return copy;
}

void buf_retain(struct io_buf *b) {
    b->refs++;
}

void buf_release(struct io_buf *b) {
    ASSERT(b->refs > 0);
    if (--b->refs > 0)
        return;
    if (unlikely(b->id == BUF_ID_HEAP))
        mem_free(b->loop->mem, b, sizeof(*b) + b->cap);
    else
        put(b->loop, b);
}
