#include "shards/bus.h"
#include "shards/assert.h"
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

enum { RING_PLACES = 2 * BUS_RING_SLOTS, WORD_BITS = 64, SPINS_BEFORE_YIELD = 64 };

/* From one shard to one other. Each part is written by one side and lies on lines of its own. */
struct ring {
    /* the source's */
    _Alignas(CACHE_LINE) uint32_t posted; /* like tail, before it is published */
    uint32_t unanswered;
    _Alignas(CACHE_LINE) _Atomic uint32_t tail;
    /* the target's */
    _Alignas(CACHE_LINE) uint32_t head;
    _Alignas(CACHE_LINE) struct bus_msg *places[RING_PLACES];
};

enum hold { HOLD_FREE, HOLD_HELD, HOLD_WOKEN };

struct port {
    _Alignas(CACHE_LINE) _Atomic uint32_t hold;
    /* the holder's: for which targets something is posted and not published */
    _Alignas(CACHE_LINE) uint64_t dirty[BUS_SHARDS_MAX / WORD_BITS];
};

struct bus {
    unsigned n;
    struct ring *rings; /* n x n, [from * n + to] */
    struct port *ports;
};

static struct ring *ring_of(const struct bus *b, unsigned from, unsigned to) {
    return &b->rings[from * b->n + to];
}

enum err bus_create(struct bus **out, struct mem *m, unsigned n) {
    ASSERT(n > 0 && n <= BUS_SHARDS_MAX);
    struct bus *b = mem_zalloc(m, sizeof *b);
    if (b == NULL)
        return ERR_NOMEM;
    b->n = n;
    b->rings = mem_alloc_lines(m, n * n * sizeof *b->rings);
    b->ports = mem_alloc_lines(m, n * sizeof *b->ports);
    if (b->rings == NULL || b->ports == NULL) {
        bus_destroy(b, m);
        return ERR_NOMEM;
    }
    /* Only the indices: the places are written before they are read, and stay untouched until then.
     */
    for (unsigned i = 0; i < n * n; i++) {
        b->rings[i].posted = b->rings[i].unanswered = b->rings[i].head = 0;
        atomic_init(&b->rings[i].tail, 0);
    }
    memset(b->ports, 0, n * sizeof *b->ports);
    for (unsigned i = 0; i < n; i++)
        atomic_init(&b->ports[i].hold, HOLD_HELD);
    *out = b;
    return OK;
}

void bus_destroy(struct bus *b, struct mem *m) {
    if (b->rings != NULL)
        mem_free_lines(m, b->rings, b->n * b->n * sizeof *b->rings);
    if (b->ports != NULL)
        mem_free_lines(m, b->ports, b->n * sizeof *b->ports);
    mem_free(m, b, sizeof *b);
}

static void push(struct bus *b, unsigned from, unsigned to, struct bus_msg *m) {
    struct ring *r = ring_of(b, from, to);
    r->places[r->posted++ % RING_PLACES] = m;
    b->ports[from].dirty[to / WORD_BITS] |= 1ULL << to % WORD_BITS;
}

enum err bus_post(struct bus *b, struct bus_msg *m) {
    struct ring *r = ring_of(b, m->from, m->to);
    if (unlikely(r->unanswered == BUS_RING_SLOTS))
        return ERR_AGAIN;
    r->unanswered++;
    m->answered = false;
    push(b, m->from, m->to, m);
    return OK;
}

void bus_publish(struct bus *b, unsigned from, void (*target)(void *arg, unsigned id), void *arg) {
    struct port *p = &b->ports[from];
    for (unsigned word = 0; word * WORD_BITS < b->n; word++) {
        uint64_t dirty = p->dirty[word];
        p->dirty[word] = 0;
        for (; dirty != 0; dirty &= dirty - 1) {
            unsigned to = word * WORD_BITS + (unsigned)__builtin_ctzll(dirty);
            struct ring *r = ring_of(b, from, to);
            /* Sequentially consistent, as are the look at `hold` that follows and the pair in
             * bus_give_up: one of the two sides sees the other (invariant 4). */
            atomic_store_explicit(&r->tail, r->posted, memory_order_seq_cst);
            target(arg, to);
        }
    }
}

static unsigned drain_ring(struct bus *b, unsigned from, unsigned at, struct shard *shard) {
    struct ring *r = ring_of(b, from, at);
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    unsigned n = tail - r->head;
    ASSERT(n <= RING_PLACES);
    while (r->head != tail) {
        struct bus_msg *m = r->places[r->head++ % RING_PLACES];
        if (r->head != tail)
            __builtin_prefetch(r->places[r->head % RING_PLACES]);
        if (m->answered) {
            struct ring *mine = ring_of(b, at, from);
            ASSERT(mine->unanswered > 0);
            mine->unanswered--;
            m->done(shard, m);
        } else {
            m->run(shard, m);
            m->answered = true;
            push(b, at, from, m);
        }
    }
    return n;
}

unsigned bus_drain(struct bus *b, unsigned at, struct shard *shard) {
    unsigned n = 0;
    for (unsigned from = 0; from < b->n; from++)
        n += drain_ring(b, from, at, shard);
    return n;
}

bool bus_arrived(struct bus *b, unsigned at) {
    for (unsigned from = 0; from < b->n; from++) {
        struct ring *r = ring_of(b, from, at);
        if (atomic_load_explicit(&r->tail, memory_order_seq_cst) != r->head)
            return true;
    }
    return false;
}

unsigned bus_unanswered(const struct bus *b, unsigned from, unsigned to) {
    return ring_of(b, from, to)->unanswered;
}

unsigned bus_recent(const struct bus *b, unsigned from, unsigned to, const struct bus_msg **out,
                    unsigned max, unsigned *waiting) {
    const struct ring *r = ring_of(b, from, to);
    uint32_t posted = r->posted, head = r->head;
    unsigned n = posted < max ? posted : max;
    for (unsigned i = 0; i < n; i++)
        out[i] = r->places[(posted - 1 - i) % RING_PLACES];
    *waiting = posted - head < n ? posted - head : n;
    return n;
}

bool bus_give_up(struct bus *b, unsigned id) {
    /* The heads are the holder's: read them before letting go. A new holder may move them on, then
     * we see messages that are handled already and merely try to hold once more. */
    uint32_t heads[BUS_SHARDS_MAX];
    for (unsigned from = 0; from < b->n; from++)
        heads[from] = ring_of(b, from, id)->head;
    atomic_store_explicit(&b->ports[id].hold, HOLD_FREE, memory_order_seq_cst);
    for (unsigned from = 0; from < b->n; from++) {
        struct ring *r = ring_of(b, from, id);
        if (atomic_load_explicit(&r->tail, memory_order_seq_cst) != heads[from])
            return !bus_try_hold(b, id);
    }
    return true;
}

bool bus_try_hold(struct bus *b, unsigned id) {
    _Atomic uint32_t *hold = &b->ports[id].hold;
    uint32_t expected = HOLD_FREE;
    return atomic_load_explicit(hold, memory_order_seq_cst) == HOLD_FREE &&
           atomic_compare_exchange_strong(hold, &expected, HOLD_HELD);
}

bool bus_try_wake(struct bus *b, unsigned id) {
    _Atomic uint32_t *hold = &b->ports[id].hold;
    uint32_t expected = HOLD_FREE;
    return atomic_load_explicit(hold, memory_order_seq_cst) == HOLD_FREE &&
           atomic_compare_exchange_strong(hold, &expected, HOLD_WOKEN);
}

void bus_hold(struct bus *b, unsigned id) {
    _Atomic uint32_t *hold = &b->ports[id].hold;
    for (unsigned spins = 0;; spins++) {
        uint32_t now = atomic_load_explicit(hold, memory_order_relaxed);
        if (now != HOLD_HELD && atomic_compare_exchange_strong(hold, &now, HOLD_HELD))
            return;
        if (spins % SPINS_BEFORE_YIELD == SPINS_BEFORE_YIELD - 1)
            sched_yield();
        else
            __builtin_ia32_pause();
    }
}

void bus_release(struct bus *b, unsigned id) {
    atomic_store_explicit(&b->ports[id].hold, HOLD_FREE, memory_order_seq_cst);
}
