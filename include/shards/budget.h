/* budget.h: one bound on the memory of all shards.
 *
 * Why         `maxmemory` is a total, however unevenly the keys fall on shards, and no command may touch a counter that
 *             shards share. So each shard holds a share of the budget, compares what it uses with that, and takes more from the
 *             pool, or gives back, now and then: between two turns, and when its share is not enough.
 *
 *                 limit  =  pool  +  share of shard 0  +  share of shard 1  +  ...
 *
 *             Between turns a share covers what its shard uses, whatever that is for: what no command was asked about (buffers
 *             of connections) is taken from the pool even when it has nothing left, which then is in debt.
 *             Whoever next wants room for a write makes good for that first, by eviction.
 * Threads     a share: the holder of the shard. The pool: any.
 * Limits      beyond what it uses a shard keeps at most BUDGET_KEEP_MAX, and all shards together 1/64 of the pool at the time; when
 *             less than 1/64 of the limit is left in the pool, BUDGET_KEEP_PRESSED and 1/1024 of the limit.
 * Invariants  (1) the equation above, but for moments in which bytes are on their way.
 *             (2) without a limit a share is more than any shard can use.
 */
#ifndef SHARDS_BUDGET_H
#define SHARDS_BUDGET_H

#include "shards/attr.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BUDGET_KEEP_MAX = 1 << 20, BUDGET_KEEP_PRESSED = 4096 };
#define BUDGET_UNLIMITED INT64_MAX

/* What a shard tells the others. */
struct budget_peer {
    _Alignas(64) _Atomic bool evictable; /* keys that may go, or what is not freed yet */
    _Atomic uint64_t weight;             /* what is to be gained by letting them go */
    _Atomic uint64_t evicted_bytes;      /* so far */
};

struct budget {
    _Alignas(64) _Atomic int64_t pool;
    _Atomic int64_t limit; /* 0: none */
    _Atomic bool
        pressure; /* little is left in the pool: hardly anybody keeps what it does not use */
    unsigned shards;
    struct budget_peer *peers; /* one of each; the maker's */
};

/* What one shard may use. */
struct budget_share {
    struct budget *budget;
    int64_t bytes;
    int64_t
        fits; /* what budget_fits compares with: bytes, or less than anything while the pool is in debt */
};

void budget_init(struct budget *b, unsigned shards, struct budget_peer *peers);
/* budget_limit: bytes; 0: none. Then each shard calls budget_join. */
void budget_limit(struct budget *b, int64_t bytes);
/* budget_join: the limit has come, changed or gone. used: by the shard. */
void budget_join(struct budget_share *s, int64_t used);

/* budget_fits: is there room for so many bytes more? */
static inline bool budget_fits(const struct budget_share *s, int64_t used, int64_t more) {
    return likely(used + more <= s->fits);
}
/* budget_take: room for `more` from the pool; false: it has not so much, or is in debt. */
bool budget_take(struct budget_share *s, int64_t used, int64_t more);
/* budget_borrow: room for `more` though the pool has not so much, which the others see at once; false: it is in debt already. So
 * the debt is never more than one has borrowed, and what was taken without asking. */
bool budget_borrow(struct budget_share *s, int64_t used, int64_t more);
/* budget_settle: between turns, and after having freed what budget_take wanted. True: the pool is in debt. No atomic
 * write unless the share is far from what is used. */
bool budget_settle(struct budget_share *s, int64_t used);
/* budget_give: takes as much out of a share as it has beyond what is used, `most` at most; budget_get: adds it to another one, or to the
 * same later. What is out belongs to nobody's share, and to nobody else either: a promise. */
int64_t budget_give(struct budget_share *s, int64_t used, int64_t most);
void budget_get(struct budget_share *s, int64_t bytes);
/* budget_left: in the pool; negative: debt. budget_debt: what the pool lacks; 0: nothing. */
static inline int64_t budget_left(const struct budget *b) {
    return atomic_load_explicit(&b->pool, memory_order_relaxed);
}
static inline int64_t budget_debt(const struct budget *b) {
    int64_t pool = budget_left(b);
    return pool < 0 ? -pool : 0;
}
/* budget_tight: is next to nothing left in the pool? */
static inline bool budget_tight(const struct budget *b) {
    enum { TIGHT_PART = 512 };
    return budget_left(b) < atomic_load_explicit(&b->limit, memory_order_relaxed) / TIGHT_PART;
}
/* budget_press: when little is left in the pool: true for the first time since there was more: all shards are to settle, and
 * keep less from now on. */
bool budget_press(struct budget *b);

#endif
