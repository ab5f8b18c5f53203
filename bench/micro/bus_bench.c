/* bus_bench.c: what a message costs: there and back in one thread, to a borrowed shard, to another core.
 *
 * Usage       bus_bench; prints nanoseconds per message. The last case uses two threads that spin, so it
 *             wants two idle cores.
 */
#include "shards/bus.h"
#include "shards/clock.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MESSAGES = 2000000, BATCH_MAX = 64 };

static uint64_t handled;

static void run(struct shard *at, struct bus_msg *m) {
    (void)at;
    (void)m;
    handled++;
}

static void done(struct shard *home, struct bus_msg *m) {
    (void)home;
    (void)m;
}

static void nobody(void *arg, unsigned id) {
    (void)arg;
    (void)id;
}

static struct bus *make(unsigned n) {
    static struct mem m;
    struct bus *b;
    if (bus_create(&b, &m, n) != OK)
        abort();
    return b;
}

static void post_batch(struct bus *b, struct bus_msg *batch, unsigned size) {
    for (unsigned i = 0; i < size; i++) {
        batch[i] = (struct bus_msg){.run = run, .done = done, .from = 0, .to = 1};
        if (bus_post(b, &batch[i]) != OK)
            abort();
    }
    bus_publish(b, 0, nobody, NULL);
}

static void one_thread(unsigned size) {
    struct bus *b = make(2);
    struct bus_msg batch[BATCH_MAX];
    uint64_t begin = clock_mono_ns();
    for (unsigned sent = 0; sent < MESSAGES; sent += size) {
        post_batch(b, batch, size);
        (void)bus_drain(b, 1, NULL);
        bus_publish(b, 1, nobody, NULL);
        (void)bus_drain(b, 0, NULL);
    }
    (void)printf("one thread, there and back, %2u at a time   %6.1f ns\n", size,
                 (double)(clock_mono_ns() - begin) / MESSAGES);
}

static void borrowed(unsigned size) {
    struct bus *b = make(2);
    struct bus_msg batch[BATCH_MAX];
    if (!bus_give_up(b, 1))
        abort();
    uint64_t begin = clock_mono_ns();
    for (unsigned sent = 0; sent < MESSAGES; sent += size) {
        post_batch(b, batch, size);
        if (!bus_try_hold(b, 1))
            abort();
        (void)bus_drain(b, 1, NULL);
        bus_publish(b, 1, nobody, NULL);
        if (!bus_give_up(b, 1))
            abort();
        (void)bus_drain(b, 0, NULL);
    }
    (void)printf("borrowed shard, there and back, %2u at a time %5.1f ns\n", size,
                 (double)(clock_mono_ns() - begin) / MESSAGES);
}

static _Atomic bool stop;

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0)
        (void)printf("not pinned\n");
}

static void *other_core(void *arg) {
    struct bus *b = arg;
    pin(1);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        (void)bus_drain(b, 1, NULL);
        bus_publish(b, 1, nobody, NULL);
    }
    return NULL;
}

static void two_cores(unsigned size) {
    struct bus *b = make(2);
    struct bus_msg batch[BATCH_MAX];
    pthread_t thread;
    atomic_store(&stop, false);
    pin(0);
    if (pthread_create(&thread, NULL, other_core, b) != 0)
        abort();
    uint64_t begin = clock_mono_ns();
    for (unsigned sent = 0; sent < MESSAGES; sent += size) {
        post_batch(b, batch, size);
        while (bus_unanswered(b, 0, 1) != 0)
            (void)bus_drain(b, 0, NULL);
    }
    uint64_t end = clock_mono_ns();
    atomic_store(&stop, true);
    (void)pthread_join(thread, NULL);
    (void)printf("other core, there and back, %2u at a time   %6.1f ns\n", size,
                 (double)(end - begin) / MESSAGES);
}

int main(void) {
    static const unsigned sizes[] = {1, 8, BATCH_MAX};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        one_thread(sizes[i]);
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        borrowed(sizes[i]);
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        two_cores(sizes[i]);
    return handled == 3ULL * 3 * MESSAGES ? 0 : 1;
}
