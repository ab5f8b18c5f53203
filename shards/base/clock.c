#include "shards/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <time.h>
#ifdef __x86_64__
#include <cpuid.h>
#include <x86intrin.h>
#endif

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

/* Nanoseconds per tick of the processor's counter, times 2^32; 0: the counter is not used. */
static uint64_t ns_per_tick;

#ifdef __x86_64__

static uint64_t ticks(void) {
    return __rdtsc();
}

/* steady: the counter runs at one rate whatever the processor's frequency (CPUID 0x80000007, EDX bit 8). */
static bool steady(void) {
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007U, &a, &b, &c, &d) != 0 && (d & 1U << 8) != 0;
}

#else

static uint64_t ticks(void) {
    return 0;
}

static bool steady(void) {
    return false;
}

#endif

void clock_calibrate(void) {
    enum { MEASURE_NS = 2000000 };
    if (replaced_mono_ns != NULL || !steady())
        return;
    uint64_t from_ns = clock_mono_ns(), from = ticks(), to_ns = from_ns;
    while (to_ns - from_ns < MEASURE_NS)
        to_ns = clock_mono_ns();
    uint64_t passed = ticks() - from;
    if (passed != 0)
        ns_per_tick = ((to_ns - from_ns) << 32) / passed;
}

uint64_t clock_fine_ns(void) {
    if (ns_per_tick == 0)
        return clock_mono_ns();
    return (uint64_t)(((unsigned __int128)ticks() * ns_per_tick) >> 32);
}

void clock_replace(uint64_t (*mono_ns)(void), int64_t (*wall_us)(void)) {
    replaced_mono_ns = mono_ns;
    replaced_wall_us = wall_us;
    ns_per_tick = 0;
}
