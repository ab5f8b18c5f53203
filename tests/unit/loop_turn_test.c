/* loop_turn_test.c: the turn itself, over every backend: wake-ups, timers, hooks. */
#include "shards/clock.h"
#include "shards/loop.h"
#include "shards/rng.h"
#include "shards/sim.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#define SUITE loop_turn
#define REAL_VARIANTS(X, test)                                                                     \
    X(test, uring, LOOP_URING, 0)                                                                  \
    X(test, uring_coop, LOOP_URING, LOOP_DEFER_TASKRUN)                                            \
    X(test, uring_plain, LOOP_URING, LOOP_DEFER_TASKRUN | LOOP_COOP_TASKRUN)                       \
    X(test, uring_no_msg_ring, LOOP_URING, LOOP_MSG_RING)                                          \
    X(test, uring_bare, LOOP_URING, 0xff)                                                          \
    X(test, epoll, LOOP_EPOLL, 0)                                                                  \
    X(test, epoll_no_pwait2, LOOP_EPOLL, LOOP_EPOLL_PWAIT2)
#include "loop_variants.h"

static struct mem mem;
static struct sim_net *net;

static struct loop *create(const struct variant *v, struct mem *m) {
    struct loop *l = NULL;
    const char *why = "";
    loop_disable_features(v->disabled);
    if (v->kind == LOOP_SIM && net == NULL)
        cr_assert_eq(sim_create(&net, 1), OK);
    cr_assert_eq(loop_create(&l, v->kind, m, &why), OK, "%s: %s", v->name, why);
    return l;
}

static struct loop *setup(const struct variant *v) {
    struct loop *l = create(v, &mem);
    cr_assert_eq(loop_attach(l), OK);
    return l;
}

static void teardown(struct loop *l) {
    loop_destroy(l);
    cr_assert_eq(mem.used_bytes, 0);
    if (net != NULL)
        sim_destroy(net);
    net = NULL;
    clock_replace(NULL, NULL);
}

/* --- invariant 4: wake-ups --- */

EVERY_VARIANT(inv4_a_wake_before_ends_the_next_poll) {
    struct loop *l = setup(v);
    for (int i = 0; i < 10; i++) {
        loop_wake(NULL, l);
        loop_wake(NULL, l);
        while (loop_poll(l, UINT64_MAX, NULL) == 0)
            continue;
        loop_wake(l, l);
        cr_assert_geq(loop_poll(l, UINT64_MAX, NULL), 1);
    }
    teardown(l);
}

struct sleeper {
    struct loop *loop;
    atomic_int sleeping, woken;
    atomic_bool stop;
    int rounds;
};

static bool note_sleeping(void *arg) {
    struct sleeper *s = arg;
    atomic_fetch_add(&s->sleeping, 1);
    return true;
}

static void note_awake(void *arg) {
    struct sleeper *s = arg;
    atomic_fetch_add(&s->woken, 1);
}

static void *sleep_in_loop(void *arg) {
    struct sleeper *s = arg;
    const struct loop_hooks hooks = {.sleeping = note_sleeping, .awake = note_awake, .arg = s};
    cr_assert_eq(loop_attach(s->loop), OK);
    while (!atomic_load(&s->stop))
        (void)loop_poll(s->loop, UINT64_MAX, &hooks);
    return NULL;
}

EVERY_REAL_VARIANT(inv4_a_wake_during_poll_from_another_thread) {
    struct sleeper s = {.loop = create(v, &mem)};
    struct mem own_mem = {0};
    struct loop *own = create(v, &own_mem);
    cr_assert_eq(loop_attach(own), OK);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, sleep_in_loop, &s), 0);
    for (int i = 0; i < 1000; i++) {
        int slept = atomic_load(&s.sleeping), woken = atomic_load(&s.woken);
        while (slept == woken) { /* it sleeps, or is about to */
            slept = atomic_load(&s.sleeping);
            woken = atomic_load(&s.woken);
        }
        loop_wake(i % 3 == 0 ? NULL : own, s.loop);
        while (atomic_load(&s.woken) <= woken)
            (void)loop_poll(own, 0, NULL);
    }
    atomic_store(&s.stop, true);
    loop_wake(own, s.loop);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    loop_destroy(s.loop);
    (void)loop_poll(own, 0, NULL);
    loop_destroy(own);
}

struct player {
    struct loop *loop;
    struct player *other;
    atomic_int ball; /* rounds; handed over by a wake-up */
    int rounds_max;
    pthread_t thread;
};

static void *play(void *arg) {
    struct player *p = arg;
    cr_assert_eq(loop_attach(p->loop), OK);
    for (int seen = 0; seen < p->rounds_max;) {
        int ball = atomic_load(&p->ball);
        if (ball == seen) {
            (void)loop_poll(p->loop, UINT64_MAX, NULL);
            continue;
        }
        seen = ball;
        atomic_store(&p->other->ball, ball + (p < p->other ? 1 : 0));
        loop_wake(p->loop, p->other->loop);
    }
    return NULL;
}

/* Every lost wake-up would leave both asleep for ever. */
EVERY_REAL_VARIANT(inv4_no_wake_is_lost_between_two_loops) {
    struct mem mems[2] = {{0}, {0}};
    static struct player p[2];
    for (int i = 0; i < 2; i++)
        p[i] = (struct player){.loop = create(v, &mems[i]), .other = &p[1 - i], .rounds_max = 2000};
    atomic_store(&p[0].ball, 1);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&p[i].thread, NULL, play, &p[i]), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(p[i].thread, NULL), 0);
    for (int i = 0; i < 2; i++)
        loop_destroy(p[i].loop);
}

/* --- invariant 5: timers --- */

static uint64_t fake_ns = 5000000000, last_due_ns;

static uint64_t fake_mono_ns(void) {
    return fake_ns;
}

static int64_t fake_wall_us(void) {
    return (int64_t)(fake_ns / 1000);
}

static struct loop *setup_with_fake_time(const struct variant *v) {
    last_due_ns = 0;
    if (v->kind != LOOP_SIM)
        clock_replace(fake_mono_ns, fake_wall_us);
    struct loop *l = setup(v);
    if (v->kind == LOOP_SIM)
        fake_ns = sim_now_ns(net);
    return l;
}

static void advance(uint64_t ns) {
    fake_ns += ns;
    if (net != NULL)
        sim_advance(net, ns);
}

struct alarm {
    struct timer timer;
    struct loop *loop;
    uint64_t due_ns;
    unsigned fired;
    uint64_t rearm_ns; /* != 0: again, so much later than now */
    struct alarm *clears;
};

static void ring(struct timer *t) {
    struct alarm *a = CONTAINER_OF(t, struct alarm, timer);
    cr_assert_geq(fake_ns, a->due_ns, "too early");
    cr_assert_geq(a->due_ns, last_due_ns, "out of order");
    cr_assert_eq(t->due_ns, 0);
    last_due_ns = a->due_ns;
    a->fired++;
    if (a->clears != NULL)
        timer_clear(a->loop, &a->clears->timer);
    if (a->rearm_ns != 0) {
        a->due_ns = fake_ns + a->rearm_ns - 1;
        timer_set(a->loop, t, a->due_ns);
    }
}

static void set(struct loop *l, struct alarm *a, uint64_t due_ns) {
    a->timer.fire = ring;
    a->loop = l;
    a->due_ns = due_ns;
    timer_set(l, &a->timer, due_ns);
}

EVERY_VARIANT(inv5_in_order_never_early) {
    struct loop *l = setup_with_fake_time(v);
    enum { ALARMS = 3000 };
    static struct alarm alarms[ALARMS];
    memset(alarms, 0, sizeof(alarms));
    struct rng rng;
    rng_seed(&rng, 3);
    for (int i = 0; i < ALARMS; i++) /* from nanoseconds to years */
        set(l, &alarms[i], fake_ns + (rng_next(&rng) >> (8 + rng_below(&rng, 56))));
    for (int i = 0; i < ALARMS; i += 3) { /* some change their mind */
        if (i % 2 == 0)
            timer_clear(l, &alarms[i].timer);
        else
            set(l, &alarms[i], fake_ns + rng_below(&rng, 1000000000));
    }
    uint64_t end_ns = fake_ns + (1ULL << 57);
    while (fake_ns < end_ns) { /* in steps that grow */
        uint64_t base_ns = fake_ns;
        for (int i = 0; i < 4; i++) {
            (void)loop_poll(l, 0, NULL);
            for (int k = 0; k < ALARMS; k++)
                cr_assert(alarms[k].timer.due_ns == 0 || alarms[k].timer.due_ns > fake_ns,
                          "too late");
            advance(1 + rng_below(&rng, 1 + base_ns / 16));
        }
    }
    (void)loop_poll(l, 0, NULL);
    for (int i = 0; i < ALARMS; i++)
        cr_assert_eq(alarms[i].fired, i % 6 != 0);
    teardown(l);
}

EVERY_VARIANT(inv5_once_per_poll_when_set_anew_within_the_callback) {
    struct loop *l = setup_with_fake_time(v);
    struct alarm a = {.fired = 0}, b = a;
    a.rearm_ns = 1; /* due at once, again and again */
    set(l, &a, fake_ns);
    set(l, &b, fake_ns + 1000);
    for (unsigned i = 1; i <= 10; i++) {
        (void)loop_poll(l, UINT64_MAX, NULL);
        cr_assert_eq(a.fired, i);
        advance(100);
    }
    (void)loop_poll(l, UINT64_MAX, NULL);
    cr_assert_eq(b.fired, 1);
    teardown(l);
}

EVERY_VARIANT(inv5_cleared_within_the_callback_of_one_due_with_it) {
    struct loop *l = setup_with_fake_time(v);
    struct alarm a = {.fired = 0}, b = a, c = a;
    a.clears = &b;
    set(l, &a, fake_ns + 10);
    set(l, &b, fake_ns + 20);
    set(l, &c, fake_ns + 20);
    advance(5000000);
    cr_assert_geq(loop_poll(l, 0, NULL), 2);
    cr_assert_eq(a.fired, 1);
    cr_assert_eq(b.fired, 0);
    cr_assert_eq(c.fired, 1);
    timer_clear(l, &b.timer);
    teardown(l);
}

static void note(struct timer *t) {
    *(uint64_t *)t->arg = clock_mono_ns();
}

/* With real time: the wait itself must end for a timer, and not before it. */
EVERY_REAL_VARIANT(inv5_poll_waits_for_the_next_timer) {
    struct loop *l = setup(v);
    uint64_t fired_ns = 0, due_ns = clock_mono_ns() + 3500000;
    struct timer t = {.fire = note, .arg = &fired_ns};
    timer_set(l, &t, due_ns);
    while (fired_ns == 0)
        (void)loop_poll(l, UINT64_MAX, NULL);
    cr_assert_geq(fired_ns, due_ns);
    teardown(l);
}

/* --- invariant 6: hooks --- */

struct counts {
    int sleeping, awake, polled, polls;
    bool may_sleep, in_between;
    struct loop *loop;
};

static bool count_sleeping(void *arg) {
    struct counts *c = arg;
    c->sleeping++;
    c->in_between = c->may_sleep;
    return c->may_sleep;
}

static void count_awake(void *arg) {
    struct counts *c = arg;
    c->awake++;
    c->in_between = false;
}

static void count_polled(void *arg) {
    struct counts *c = arg;
    cr_assert_not(c->in_between);
    c->polled++;
}

static struct counts counts;

static void not_in_between(struct timer *t) {
    cr_assert_not(counts.in_between);
    cr_assert_eq(counts.polled, counts.polls, "polled comes before the callbacks");
    ++*(int *)t->arg;
}

EVERY_VARIANT(inv6_hooks_come_in_pairs_around_the_wait) {
    struct loop *l = setup(v);
    const struct loop_hooks hooks = {count_sleeping, count_awake, count_polled, &counts};
    counts = (struct counts){0};
    counts.may_sleep = true;
    (void)loop_poll(l, 0, &hooks);
    cr_assert_eq(counts.sleeping, 0);
    cr_assert_eq(counts.polled, 1);
    (void)loop_poll(l, 1000, &hooks);
    cr_assert_eq(counts.sleeping, 1);
    cr_assert_eq(counts.awake, 1);
    int fired = 0;
    struct timer t = {.fire = not_in_between, .arg = &fired};
    timer_set(l, &t, clock_mono_ns() + 1000);
    counts.polls = counts.polled;
    while (fired == 0) {
        counts.polls++;
        (void)loop_poll(l, 1000000, &hooks);
        if (net != NULL)
            sim_advance(net, 1000);
        cr_assert_eq(counts.sleeping, counts.awake);
    }
    teardown(l);
}

EVERY_VARIANT(inv6_sleeping_may_refuse) {
    struct loop *l = setup(v);
    const struct loop_hooks hooks = {count_sleeping, count_awake, count_polled, &counts};
    counts = (struct counts){0};
    counts.may_sleep = false;
    cr_assert_eq(loop_poll(l, UINT64_MAX, &hooks), 0); /* would wait for ever */
    cr_assert_eq(counts.sleeping, 1);
    cr_assert_eq(counts.awake, 0);
    teardown(l);
}

EVERY_VARIANT(names_say_what_is_in_use) {
    struct loop *l = setup(v);
    const char *const names[] = {"uring", "epoll", "sim"};
    cr_assert_str_eq(loop_kind_name(l), names[v->kind]);
    const struct {
        unsigned feature;
        const char *word;
    } words[] = {{LOOP_DEFER_TASKRUN, "defer-taskrun"},
                 {LOOP_MULTISHOT_RECV, "multishot-recv"},
                 {LOOP_MULTISHOT_ACCEPT, "multishot-accept"},
                 {LOOP_REGISTERED_RING, "registered-ring"},
                 {LOOP_MSG_RING, "msg-ring"}};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (v->kind != LOOP_URING || (v->disabled & words[i].feature))
            cr_assert_null(strstr(loop_features(l), words[i].word));
    teardown(l);
}
