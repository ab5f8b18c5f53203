/* budget_test.c: the limit is always the pool and all shares together, and who may have how much. */
#include "shards/budget.h"
#include "shards/rng.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

enum { SHARES = 5 };
#define LIMIT 100000000LL

struct world {
    struct budget budget;
    struct budget_share share[SHARES];
    int64_t used[SHARES];
};

static void begin(struct world *w, int64_t limit) {
    budget_init(&w->budget, SHARES, NULL);
    for (unsigned i = 0; i < SHARES; i++) {
        w->share[i] = (struct budget_share){&w->budget, BUDGET_UNLIMITED, BUDGET_UNLIMITED};
        w->used[i] = 0;
    }
    budget_limit(&w->budget, limit);
    for (unsigned i = 0; i < SHARES; i++)
        budget_join(&w->share[i], w->used[i]);
}

static int64_t all_shares(const struct world *w) {
    int64_t sum = 0;
    for (unsigned i = 0; i < SHARES; i++)
        sum += w->share[i].bytes;
    return sum;
}

static void check_sum(struct world *w) {
    cr_assert_eq(atomic_load(&w->budget.pool) + all_shares(w), atomic_load(&w->budget.limit));
}

/* use: as a write does that asks first; false: there is no room. */
static bool use(struct world *w, unsigned i, int64_t more) {
    if (!budget_fits(&w->share[i], w->used[i], more) &&
        !budget_take(&w->share[i], w->used[i], more)) {
        cr_assert_gt(w->used[i] + more, w->share[i].bytes);
        return false;
    }
    w->used[i] += more;
    return true;
}

Test(budget, no_limit_fits_all) {
    struct world w;
    begin(&w, 0);
    cr_assert(use(&w, 0, 1LL << 50));
    cr_assert_not(budget_settle(&w.share[0], w.used[0]));
    cr_assert_eq(w.share[0].bytes, BUDGET_UNLIMITED);
}

Test(budget, one_share_can_have_nearly_all) {
    struct world w;
    begin(&w, LIMIT);
    for (unsigned i = 0; i < SHARES; i++)
        cr_assert(use(&w, i, 1000));
    while (use(&w, 0, 1000))
        check_sum(&w);
    cr_assert_gt(w.used[0], LIMIT - LIMIT / 64 - SHARES * 1000);
    for (unsigned i = 0; i < SHARES; i++) /* as budget_press makes them */
        (void)budget_settle(&w.share[i], w.used[i]);
    (void)budget_press(&w.budget);
    for (unsigned i = 0; i < SHARES; i++)
        (void)budget_settle(&w.share[i], w.used[i]);
    while (use(&w, 0, 100))
        ;
    cr_assert_gt(w.used[0], LIMIT - SHARES * 2 * BUDGET_KEEP_PRESSED - SHARES * 1000 - 100);
    check_sum(&w);
}

Test(budget, debt_is_seen_by_all_until_it_is_paid) {
    struct world w;
    begin(&w, LIMIT);
    cr_assert(use(&w, 1, 500));
    w.used[0] = LIMIT + 5000; /* nobody was asked */
    cr_assert(budget_settle(&w.share[0], w.used[0]));
    check_sum(&w);
    cr_assert(budget_settle(&w.share[1], w.used[1]));
    cr_assert_not(budget_fits(&w.share[1], w.used[1], 1));
    cr_assert_not(budget_take(&w.share[1], w.used[1], 1));
    cr_assert_geq(budget_debt(&w.budget), 5000);
    w.used[0] -= 20000;
    cr_assert_not(budget_settle(&w.share[0], w.used[0]));
    cr_assert(budget_take(&w.share[1], w.used[1], 1));
    cr_assert(budget_fits(&w.share[1], w.used[1], 1));
    check_sum(&w);
}

Test(budget, one_borrows_at_a_time) {
    struct world w;
    begin(&w, LIMIT);
    cr_assert(use(&w, 1, LIMIT - LIMIT / 32));
    cr_assert_not(budget_take(&w.share[0], 0, LIMIT));
    cr_assert(budget_borrow(&w.share[0], 0, LIMIT));
    w.used[0] = LIMIT;
    check_sum(&w);
    cr_assert_geq(w.share[0].bytes, LIMIT);
    cr_assert_gt(budget_debt(&w.budget), 0);
    cr_assert_leq(budget_debt(&w.budget), LIMIT);
    for (unsigned i = 0; i < SHARES; i++) {
        cr_assert_not(budget_borrow(&w.share[i], w.used[i], LIMIT));
        cr_assert(budget_settle(&w.share[i], w.used[i])); /* now it knows */
        cr_assert_not(budget_fits(&w.share[i], w.used[i], 1));
    }
    w.used[1] = 0; /* it pays */
    cr_assert_not(budget_settle(&w.share[1], w.used[1]));
    cr_assert(budget_borrow(&w.share[2], 0, LIMIT));
    check_sum(&w);
    struct budget_share unlimited = {&w.budget, BUDGET_UNLIMITED, BUDGET_UNLIMITED};
    cr_assert(budget_borrow(&unlimited, LIMIT, LIMIT));
    cr_assert_eq(unlimited.bytes, BUDGET_UNLIMITED);
    check_sum(&w);
}

Test(budget, the_limit_changes) {
    struct world w;
    begin(&w, LIMIT);
    for (unsigned i = 0; i < SHARES; i++)
        cr_assert(use(&w, i, 1000000));
    static const int64_t limits[] = {LIMIT / 2, LIMIT * 2, 1, 0, LIMIT, 0, 1000};
    for (unsigned l = 0; l < sizeof limits / sizeof *limits; l++) {
        for (unsigned i = 0; i < SHARES; i++) {
            budget_limit(&w.budget, limits[l]); /* each shard says it */
            budget_join(&w.share[i], w.used[i]);
        }
        if (limits[l] != 0)
            check_sum(&w);
        else
            cr_assert_eq(atomic_load(&w.budget.pool), 0);
        cr_assert_eq(use(&w, 2, 10), limits[l] == 0 || limits[l] > SHARES * 1000000LL);
    }
}

Test(budget, press_is_once) {
    struct world w;
    begin(&w, LIMIT);
    cr_assert_not(budget_press(&w.budget));
    while (use(&w, 0, LIMIT / 256))
        ;
    cr_assert(budget_press(&w.budget));
    cr_assert_not(budget_press(&w.budget));
    w.used[0] = 0;
    (void)budget_settle(&w.share[0], 0);
    (void)budget_settle(&w.share[0], 0);
    cr_assert_not(atomic_load(&w.budget.pressure));
}

Test(budget, random_use_keeps_the_sum_and_the_limit) {
    struct rng r;
    rng_seed(&r, 7);
    for (unsigned round = 0; round < 50; round++) {
        struct world w;
        begin(&w, 1000 + (int64_t)rng_below(&r, 10000000));
        int64_t limit = atomic_load(&w.budget.limit), total;
        for (unsigned step = 0; step < 3000; step++) {
            unsigned i = (unsigned)rng_below(&r, SHARES);
            if (rng_below(&r, 2) == 0)
                (void)use(&w, i, (int64_t)rng_below(&r, (uint64_t)limit / 20 + 1));
            else if (rng_below(&r, 3) == 0)
                w.used[i] -= (int64_t)rng_below(&r, (uint64_t)w.used[i] + 1);
            if (rng_below(&r, 4) == 0)
                (void)budget_settle(&w.share[i], w.used[i]);
            check_sum(&w);
            total = 0;
            for (unsigned k = 0; k < SHARES; k++)
                total += w.used[k];
            cr_assert_leq(total, limit);
            if (budget_settle(&w.share[i], w.used[i]))
                cr_assert_fail("nobody made debts");
        }
    }
}

Test(budget, promises_belong_to_nobody_until_they_are_given_back) {
    struct world w;
    begin(&w, LIMIT);
    cr_assert(use(&w, 0, 1000));
    cr_assert(budget_take(&w.share[0], w.used[0], 5000));
    cr_assert_eq(budget_give(&w.share[0], w.used[0], 3000), 3000);
    cr_assert_eq(atomic_load(&w.budget.pool) + all_shares(&w), LIMIT - 3000);
    while (use(&w, 1, 100))
        ;
    cr_assert_leq(w.used[0] + w.used[1], LIMIT - 3000);
    int64_t slack = w.share[0].bytes - w.used[0];
    cr_assert_eq(budget_give(&w.share[0], w.used[0], INT64_MAX),
                 slack); /* what is used stays covered */
    cr_assert_eq(budget_give(&w.share[0], w.used[0], 1), 0);
    budget_get(&w.share[2], 3000 + slack);
    check_sum(&w);
    cr_assert(use(&w, 2, 3000));
}

Test(budget, promises_outlive_a_limit) {
    struct world w;
    begin(&w, LIMIT);
    cr_assert(budget_take(&w.share[0], 0, 5000));
    cr_assert_eq(budget_give(&w.share[0], 0, 5000), 5000);
    budget_limit(&w.budget, 0);
    for (unsigned i = 0; i < SHARES; i++)
        budget_join(&w.share[i], w.used[i]);
    cr_assert_eq(budget_give(&w.share[0], 0, 5000), 0); /* nobody needs one without a limit */
    budget_get(&w.share[1], 5000);
    cr_assert_eq(atomic_load(&w.budget.pool), 0);
    cr_assert_eq(w.share[1].bytes, BUDGET_UNLIMITED);
}

/* Who makes room goes on until there is some, so it must not be told that there is none. */
Test(budget, without_a_limit_there_is_room_whatever_the_pool_lacks) {
    struct world w;
    begin(&w, LIMIT);
    cr_assert(use(&w, 0, 5000));
    cr_assert_eq(budget_give(&w.share[1], 0, 5000), 0);
    cr_assert(budget_take(&w.share[1], 0, 5000));
    cr_assert_eq(budget_give(&w.share[1], 0, 5000), 5000);
    budget_limit(&w.budget, 0);
    for (unsigned i = 1; i < SHARES; i++) {
        cr_assert(budget_take(&w.share[i], w.used[i], LIMIT)); /* it has not heard of it yet */
        cr_assert_not(budget_settle(&w.share[i], w.used[i]));
        budget_join(&w.share[i], w.used[i]);
        cr_assert_lt(atomic_load(&w.budget.pool), 0); /* somebody has not, and there is a promise */
        cr_assert(budget_take(&w.share[i], w.used[i], LIMIT));
        cr_assert_not(budget_settle(&w.share[i], w.used[i]));
    }
}

Test(budget, who_has_not_heard_of_a_limit_has_none) {
    struct world w;
    begin(&w, 0);
    w.used[0] = 2 * LIMIT;
    budget_limit(&w.budget, LIMIT);
    budget_join(&w.share[0], w.used[0]);
    cr_assert(budget_debt(&w.budget) > 0);
    cr_assert(budget_take(&w.share[1], w.used[1], 1));
    cr_assert_not(budget_take(&w.share[0], w.used[0], 1));
}

/* --- threads --- */

static struct world shared;

static void *one_shard(void *arg) {
    unsigned i = (unsigned)(uintptr_t)arg;
    struct rng r;
    rng_seed(&r, i + 1);
    for (unsigned step = 0; step < 200000; step++) {
        if (rng_below(&r, 2) == 0)
            (void)use(&shared, i, (int64_t)rng_below(&r, 5000));
        else
            shared.used[i] -= (int64_t)rng_below(&r, (uint64_t)shared.used[i] + 1) / 8;
        if (rng_below(&r, 8) == 0)
            (void)budget_settle(&shared.share[i], shared.used[i]);
        if (rng_below(&r, 64) == 0)
            (void)budget_press(&shared.budget);
    }
    return NULL;
}

Test(budget, threads_lose_nothing) {
    pthread_t t[SHARES];
    begin(&shared, 200000);
    for (uintptr_t i = 0; i < SHARES; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, one_shard, (void *)i), 0);
    int64_t total = 0;
    for (unsigned i = 0; i < SHARES; i++) {
        cr_assert_eq(pthread_join(t[i], NULL), 0);
        total += shared.used[i];
    }
    check_sum(&shared);
    cr_assert_leq(total, 200000);
}
