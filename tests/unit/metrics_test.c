#include "anax/metrics.h"

#include <criterion/criterion.h>

enum { SECOND_NS = 1000000000 };

Test(metrics, a_rate_is_the_mean_of_the_last_samples) {
    struct rate r = {0};
    cr_assert_eq(rate_per_second(&r), 0);
    rate_note(&r, 1000000, SECOND_NS);
    cr_assert_eq(rate_per_second(&r), 0, "what was before the first sample is nobody's");
    rate_note(&r, 1000160, 2ULL * SECOND_NS);
    cr_assert_eq(rate_per_second(&r), 160 / RATE_SAMPLES);
    for (unsigned i = 0; i < RATE_SAMPLES; i++)
        rate_note(&r, r.last + 50, r.last_ns + SECOND_NS / 2);
    cr_assert_eq(rate_per_second(&r), 100);
    for (unsigned i = 0; i < RATE_SAMPLES; i++)
        rate_note(&r, r.last, r.last_ns + SECOND_NS);
    cr_assert_eq(rate_per_second(&r), 0);
}

Test(metrics, a_counter_that_was_reset_does_not_count_backwards) {
    struct rate r = {0};
    rate_note(&r, 1000, SECOND_NS);
    rate_note(&r, 10, 2ULL * SECOND_NS);
    cr_assert_eq(rate_per_second(&r), 0);
    rate_note(&r, 26, 3ULL * SECOND_NS);
    cr_assert_eq(rate_per_second(&r), 1);
}

Test(metrics, time_that_stands_still_is_no_sample) {
    struct rate r = {0};
    rate_note(&r, 0, SECOND_NS);
    rate_note(&r, 1000, SECOND_NS);
    cr_assert_eq(rate_per_second(&r), 0);
}

static int64_t read_one(struct shard *s) {
    (void)s;
    return 1;
}

static unsigned ticks, resets;

static void count_tick(struct shard *s) {
    (void)s;
    ticks++;
}

static void count_reset(struct shard *s) {
    (void)s;
    resets++;
}

Test(metrics, rows_and_hooks_are_found) {
    static const struct metric rows[] = {{"a", "x", read_one}, {"b", "x", read_one}};
    metrics_register(rows, COUNT_OF(rows));
    cr_assert_eq(metrics_find("b", "x"), 1);
    cr_assert_eq(metrics_find("a", "x"), 0);
    cr_assert_eq(metrics_find("a", "y"), -1);
    shard_claim();
    metrics_tick_register(count_tick);
    metrics_reset_register(count_reset);
    metrics_tick(NULL);
    metrics_tick(NULL);
    metrics_reset(NULL);
    cr_assert(ticks == 2 && resets == 1);
}
