/* bus_test.c: the invariants of bus.h, alone and on threads. */
#include "shards/bus.h"
#include "shards/rng.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* The bus hands this through to run and done; to it a shard is only an address. */
struct fake {
    unsigned id;
    unsigned ran, finished;
    uint64_t last_seen[8]; /* per source: sequence number of the last message that ran here */
    uint64_t last_done[8]; /* per target: of the last that came back here */
    bool inside;           /* plain on purpose: two holders at once are a data race */
};

struct job {
    struct bus_msg msg;
    uint64_t sequence;
    unsigned runs, dones;
    bool free;
};

static struct fake *fake_of(struct shard *s) {
    return (struct fake *)(void *)s;
}

static struct job *job_of(struct bus_msg *m) {
    return CONTAINER_OF(m, struct job, msg);
}

static void job_run(struct shard *at, struct bus_msg *m) {
    struct fake *f = fake_of(at);
    cr_assert_eq(f->id, m->to);
    cr_assert(job_of(m)->sequence > f->last_seen[m->from], "overtaken on the way there");
    f->last_seen[m->from] = job_of(m)->sequence;
    job_of(m)->runs++;
    f->ran++;
}

static void job_done(struct shard *home, struct bus_msg *m) {
    struct fake *f = fake_of(home);
    cr_assert_eq(f->id, m->from);
    cr_assert(job_of(m)->sequence > f->last_done[m->to], "overtaken on the way back");
    f->last_done[m->to] = job_of(m)->sequence;
    cr_assert_eq(job_of(m)->runs, 1);
    job_of(m)->dones++;
    job_of(m)->runs = 0;
    job_of(m)->free = true;
    f->finished++;
}

static void job_init(struct job *j, unsigned from, unsigned to, uint64_t sequence) {
    j->msg = (struct bus_msg){
        .run = job_run, .done = job_done, .from = (uint16_t)from, .to = (uint16_t)to};
    j->sequence = sequence;
    j->free = false;
}

static struct shard *as_shard(struct fake *f) {
    return (struct shard *)(void *)f;
}

static void note(void *arg, unsigned id) {
    *(uint64_t *)arg |= 1ULL << id;
}

Test(bus, inv1_done_once_after_run) {
    struct mem m = {0};
    struct bus *b;
    struct fake shards[2] = {{.id = 0}, {.id = 1}};
    struct job j = {0};
    uint64_t targets = 0;
    cr_assert_eq(bus_create(&b, &m, 2), OK);
    job_init(&j, 0, 1, 1);
    cr_assert_eq(bus_post(b, &j.msg), OK);
    cr_assert_eq(bus_drain(b, 1, as_shard(&shards[1])), 0, "seen before it was published");
    bus_publish(b, 0, note, &targets);
    cr_assert_eq(targets, 2);
    cr_assert(bus_arrived(b, 1));
    cr_assert_eq(bus_drain(b, 1, as_shard(&shards[1])), 1);
    cr_assert_eq(shards[1].ran, 1);
    cr_assert_eq(j.dones, 0);
    cr_assert_eq(bus_unanswered(b, 0, 1), 1);
    targets = 0;
    bus_publish(b, 1, note, &targets);
    cr_assert_eq(targets, 1);
    cr_assert_eq(bus_drain(b, 0, as_shard(&shards[0])), 1);
    cr_assert_eq(j.dones, 1);
    cr_assert_eq(bus_unanswered(b, 0, 1), 0);
    cr_assert_not(bus_arrived(b, 0));
    bus_destroy(b, &m);
    cr_assert_eq(m.used_bytes, 0);
}

Test(bus, inv2_fifo_and_bound) {
    struct mem m = {0};
    struct bus *b;
    struct fake shards[2] = {{.id = 0}, {.id = 1}};
    static struct job to[BUS_RING_SLOTS + 1], back[BUS_RING_SLOTS];
    uint64_t targets;
    cr_assert_eq(bus_create(&b, &m, 2), OK);
    uint64_t sequence = 0;
    for (unsigned round = 0; round < 5; round++) {
        /* Both directions full: completions must find room behind the requests. */
        for (unsigned i = 0; i < BUS_RING_SLOTS; i++) {
            job_init(&to[i], 0, 1, ++sequence);
            job_init(&back[i], 1, 0, sequence);
            cr_assert_eq(bus_post(b, &to[i].msg), OK);
            cr_assert_eq(bus_post(b, &back[i].msg), OK);
        }
        job_init(&to[BUS_RING_SLOTS], 0, 1, sequence + 1);
        cr_assert_eq(bus_post(b, &to[BUS_RING_SLOTS].msg), ERR_AGAIN);
        bus_publish(b, 0, note, &targets);
        bus_publish(b, 1, note, &targets);
        cr_assert_eq(bus_drain(b, 0, as_shard(&shards[0])), BUS_RING_SLOTS);
        cr_assert_eq(bus_drain(b, 1, as_shard(&shards[1])), BUS_RING_SLOTS);
        bus_publish(b, 0, note, &targets);
        bus_publish(b, 1, note, &targets);
        cr_assert_eq(bus_drain(b, 0, as_shard(&shards[0])), BUS_RING_SLOTS);
        cr_assert_eq(bus_drain(b, 1, as_shard(&shards[1])), BUS_RING_SLOTS);
        cr_assert_eq(bus_unanswered(b, 0, 1), 0);
        cr_assert_eq(shards[0].finished, (round + 1) * BUS_RING_SLOTS);
    }
    bus_destroy(b, &m);
}

Test(bus, inv3_one_holder) {
    struct mem m = {0};
    struct bus *b;
    cr_assert_eq(bus_create(&b, &m, 3), OK);
    cr_assert_not(bus_try_hold(b, 1), "the owner holds it at first");
    cr_assert(bus_give_up(b, 1));
    cr_assert(bus_try_hold(b, 1));
    cr_assert_not(bus_try_hold(b, 1));
    bus_release(b, 1);
    cr_assert(bus_try_wake(b, 1));
    cr_assert_not(bus_try_wake(b, 1), "one wake-up is enough");
    cr_assert_not(bus_try_hold(b, 1), "its owner is on the way");
    bus_hold(b, 1);
    cr_assert_not(bus_try_wake(b, 1));
    bus_destroy(b, &m);
}

Test(bus, inv4_no_sleep_over_a_message) {
    struct mem m = {0};
    struct bus *b;
    struct fake shards[2] = {{.id = 0}, {.id = 1}};
    struct job j = {0};
    uint64_t targets = 0;
    cr_assert_eq(bus_create(&b, &m, 2), OK);
    job_init(&j, 0, 1, 1);
    cr_assert_eq(bus_post(b, &j.msg), OK);
    cr_assert(bus_give_up(b, 1), "not published: nothing to stay awake for");
    bus_hold(b, 1);
    bus_publish(b, 0, note, &targets);
    cr_assert_not(bus_give_up(b, 1));
    cr_assert_not(bus_try_hold(b, 1), "it still holds");
    cr_assert_eq(bus_drain(b, 1, as_shard(&shards[1])), 1);
    cr_assert(bus_give_up(b, 1));
    bus_destroy(b, &m);
}

Test(bus, create_fails_cleanly) {
    struct mem m = {0};
    struct bus *b;
    for (uint64_t site = 1; site <= 3; site++) {
        m.fail_in = site;
        cr_assert_eq(bus_create(&b, &m, 4), ERR_NOMEM);
        cr_assert_eq(m.used_bytes, 0);
    }
    m.fail_in = 0;
    cr_assert_eq(bus_create(&b, &m, 4), OK);
    bus_destroy(b, &m);
}

/* --- on threads: owners that sleep and are borrowed, as shard.c does it --- */

enum { THREADS = 4, JOBS = 24, PER_THREAD = 20000 };

struct crowd {
    struct bus *bus;
    struct fake shards[THREADS];
    struct job jobs[THREADS][JOBS];
    _Atomic unsigned done_threads;
};

struct worker {
    struct crowd *crowd;
    unsigned id;
    uint64_t kicks;
};

static void enter(struct fake *f) {
    cr_assert_not(f->inside);
    f->inside = true;
}

static void leave(struct fake *f) {
    f->inside = false;
}

/* look_after: whoever got a message is run by its owner, or by us. */
static void look_after(struct worker *w) {
    struct crowd *c = w->crowd;
    while (w->kicks != 0) {
        unsigned id = (unsigned)__builtin_ctzll(w->kicks);
        w->kicks &= w->kicks - 1;
        if (id == w->id || !bus_try_hold(c->bus, id))
            continue;
        struct fake *f = &c->shards[id];
        do {
            enter(f);
            (void)bus_drain(c->bus, id, as_shard(f));
            bus_publish(c->bus, id, note, &w->kicks);
            leave(f);
        } while (!bus_give_up(c->bus, id));
    }
}

static void *work(void *arg) {
    struct worker *w = arg;
    struct crowd *c = w->crowd;
    struct fake *mine = &c->shards[w->id];
    struct rng r;
    rng_seed(&r, w->id);
    uint64_t sequence = 0;
    bool finished = false;
    while (atomic_load(&c->done_threads) < THREADS) {
        enter(mine);
        for (unsigned i = 0; i < JOBS; i++) {
            struct job *j = &c->jobs[w->id][i];
            if (!j->free || sequence == PER_THREAD)
                continue;
            job_init(j, w->id, (unsigned)rng_below(&r, THREADS), ++sequence);
            cr_assert_eq(bus_post(c->bus, &j->msg), OK);
        }
        bus_publish(c->bus, w->id, note, &w->kicks);
        leave(mine);
        look_after(w);
        enter(mine);
        (void)bus_drain(c->bus, w->id, as_shard(mine));
        bus_publish(c->bus, w->id, note, &w->kicks);
        if (!finished && mine->finished == PER_THREAD) {
            finished = true;
            atomic_fetch_add(&c->done_threads, 1);
        }
        leave(mine);
        look_after(w);
        if (bus_give_up(c->bus, w->id)) {
            sched_yield(); /* asleep: others may run this shard now */
            bus_hold(c->bus, w->id);
        }
    }
    bus_release(c->bus, w->id);
    return NULL;
}

Test(bus, inv_all_on_threads) {
    static struct crowd c;
    struct mem m = {0};
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    cr_assert_eq(bus_create(&c.bus, &m, THREADS), OK);
    for (unsigned i = 0; i < THREADS; i++) {
        c.shards[i].id = i;
        for (unsigned j = 0; j < JOBS; j++)
            c.jobs[i][j].free = true;
    }
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){&c, i, 0};
        cr_assert_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    unsigned ran = 0;
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        cr_assert_eq(c.shards[i].finished, PER_THREAD);
        ran += c.shards[i].ran;
    }
    cr_assert_eq(ran, THREADS * PER_THREAD);
    bus_destroy(c.bus, &m);
}
