#include "shards/clock.h"

#include <stddef.h>
#include <time.h>

/* Written before any shard starts, hence read without synchronisation. */
static uint64_t (*replaced_mono_ns)(void);
static int64_t (*replaced_wall_us)(void);

uint64_t clock_mono_ns(void) {
    if (replaced_mono_ns != NULL)
        return replaced_mono_ns();
    struct timespec t;
    /* Cannot fail: the clock exists on every Linux, and the address is ours. */
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

int64_t clock_wall_us(void) {
    if (replaced_wall_us != NULL)
        return replaced_wall_us();
    struct timespec t;
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void clock_replace(uint64_t (*mono_ns)(void), int64_t (*wall_us)(void)) {
    replaced_mono_ns = mono_ns;
    replaced_wall_us = wall_us;
}
