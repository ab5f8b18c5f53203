/* budget.c: see shards/budget.h. */
#include "shards/budget.h"

enum { KEEP_PART = 64, KEEP_PART_PRESSED = 1024 };

void budget_init(struct budget *b, unsigned shards, struct budget_peer *peers) {
    *b = (struct budget){.shards = shards, .peers = peers};
}

void budget_limit(struct budget *b, int64_t bytes) {
    int64_t before = atomic_exchange(&b->limit, bytes);
    atomic_fetch_add(&b->pool, bytes - before);
    atomic_store(&b->pressure, false);
}

/* in_debt: without a limit nothing is, though shares that have not heard of it yet, and promises, are missing in the pool. */
static bool in_debt(const struct budget *b, int64_t pool) {
    return pool < 0 && atomic_load_explicit(&b->limit, memory_order_relaxed) != 0;
}

static void set_fits(struct budget_share *s, int64_t pool) {
    s->fits = in_debt(s->budget, pool) && s->bytes != BUDGET_UNLIMITED ? INT64_MIN : s->bytes;
}

void budget_join(struct budget_share *s, int64_t used) {
    struct budget *b = s->budget;
    bool was = s->bytes != BUDGET_UNLIMITED, is = atomic_load(&b->limit) != 0;
    if (was)
        atomic_fetch_add(&b->pool, s->bytes);
    if (is)
        atomic_fetch_sub(&b->pool, used);
    s->bytes = is ? used : BUDGET_UNLIMITED;
    set_fits(s, atomic_load(&b->pool));
}

static int64_t at_most(int64_t n, int64_t most) {
    return n < most ? n : most;
}

/* keep: what a shard may hold beyond what it uses. */
static int64_t keep(const struct budget *b, int64_t pool) {
    if (pool <= 0)
        return 0;
    int64_t limit = atomic_load_explicit(&b->limit, memory_order_relaxed);
    if (atomic_load_explicit(&b->pressure, memory_order_relaxed))
        return at_most(
            at_most(limit / (KEEP_PART_PRESSED * (int64_t)b->shards), BUDGET_KEEP_PRESSED), pool);
    return at_most(pool / (KEEP_PART * (int64_t)b->shards), BUDGET_KEEP_MAX);
}

bool budget_take(struct budget_share *s, int64_t used, int64_t more) {
    struct budget *b = s->budget;
    int64_t pool = atomic_load_explicit(&b->pool, memory_order_relaxed);
    int64_t want = used + more - s->bytes;
    bool limited = atomic_load_explicit(&b->limit, memory_order_relaxed) != 0;
    if (unlikely(!limited || s->bytes == BUDGET_UNLIMITED)) /* it has gone, or is on its way */
        return true;
    for (;;) {
        if (pool < 0 || pool < want)
            return false;
        if (want <= 0) {
            s->fits = s->bytes;
            return true;
        }
        int64_t take = want + keep(b, pool - want);
        if (atomic_compare_exchange_weak_explicit(&b->pool, &pool, pool - take,
                                                  memory_order_relaxed, memory_order_relaxed)) {
            s->bytes += take;
            s->fits = s->bytes;
            return true;
        }
    }
}

bool budget_borrow(struct budget_share *s, int64_t used, int64_t more) {
    struct budget *b = s->budget;
    int64_t pool = atomic_load_explicit(&b->pool, memory_order_relaxed);
    int64_t want = used + more - s->bytes;
    if (s->bytes == BUDGET_UNLIMITED || want <= 0)
        return true;
    do {
        if (in_debt(b, pool))
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&b->pool, &pool, pool - want,
                                                    memory_order_relaxed, memory_order_relaxed));
    s->bytes += want;
    set_fits(s, pool - want);
    return true;
}

int64_t budget_give(struct budget_share *s, int64_t used, int64_t most) {
    int64_t bytes = at_most(s->bytes - used, most);
    if (s->bytes == BUDGET_UNLIMITED || bytes <= 0)
        return 0;
    s->bytes -= bytes;
    set_fits(s, atomic_load_explicit(&s->budget->pool, memory_order_relaxed));
    return bytes;
}

void budget_get(struct budget_share *s, int64_t bytes) {
    struct budget *b = s->budget;
    if (unlikely(s->bytes == BUDGET_UNLIMITED)) { /* the limit has gone meanwhile */
        atomic_fetch_add(&b->pool, bytes);
        return;
    }
    s->bytes += bytes;
    set_fits(s, atomic_load_explicit(&b->pool, memory_order_relaxed));
}

bool budget_settle(struct budget_share *s, int64_t used) {
    struct budget *b = s->budget;
    if (s->bytes == BUDGET_UNLIMITED)
        return false;
    int64_t pool = atomic_load_explicit(&b->pool, memory_order_relaxed);
    int64_t kept = keep(b, pool), slack = s->bytes - used;
    if (slack < 0 || slack > 2 * kept) {
        int64_t back = slack < 0 ? slack : slack - kept;
        pool = back + atomic_fetch_add_explicit(&b->pool, back, memory_order_relaxed);
        s->bytes -= back;
    }
    set_fits(s, pool);
    /* Room again, and not only for a moment. */
    if (unlikely(atomic_load_explicit(&b->pressure, memory_order_relaxed)) &&
        pool > atomic_load_explicit(&b->limit, memory_order_relaxed) / KEEP_PART)
        atomic_store_explicit(&b->pressure, false, memory_order_relaxed);
    return in_debt(b, pool);
}

bool budget_press(struct budget *b) {
    return atomic_load_explicit(&b->pool, memory_order_relaxed) <
               atomic_load_explicit(&b->limit, memory_order_relaxed) / KEEP_PART &&
           !atomic_load_explicit(&b->pressure, memory_order_relaxed) &&
           !atomic_exchange_explicit(&b->pressure, true, memory_order_relaxed);
}
