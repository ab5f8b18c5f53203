#include "job_impl.h"
#include "shards/assert.h"
#include "shards/clock.h"
#include "shards/file.h"
#include "shards/log.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { WORD_BITS = 64, WORDS = SHARDS_MAX / WORD_BITS, ROUNDS_MAX = 8 };

/* Messages beyond the bus's bound, in order, per target. */
struct backlog {
    struct bus_msg *first, *last;
};

struct shard_impl {
    struct shard shard;
    pthread_t thread;
    bool thread_runs;
    bool told_to_stop, finished;
    uint64_t stop_by_ns;
    uint64_t turn_from_ns; /* when the events of this turn had come; 0: they have not */
    unsigned waiting;      /* messages in all backlogs */
    struct jobs jobs;
    struct backlog backlog[];
};

struct shards {
    struct budget budget; /* on a cache line of its own */
    struct shards_config config;
    struct mem mem; /* for what belongs to no shard: rings */
    struct bus *bus;
    _Atomic bool stop;
    _Atomic unsigned finished;
    _Atomic int started; /* shards that started; negative: one failed */
    unsigned count;
    struct shard_impl *shards[SHARDS_MAX];
};

/* Which shards to look after at the end of a turn. */
struct kicks {
    uint64_t due[WORDS];
    uint8_t done[SHARDS_MAX];
};

unsigned shards_count(const struct shards *a) {
    return a->count;
}

struct shard *shards_get(const struct shards *a, unsigned id) {
    ASSERT(id < a->count);
    return &a->shards[id]->shard;
}

void *shards_arg(const struct shards *a) {
    return a->config.arg;
}

struct jobs *shard_jobs(struct shard *s) {
    return &s->impl->jobs;
}

struct tx_shard *tx_of(struct shard *s) {
    return &s->tx;
}

void shard_post(struct shard *s, struct bus_msg *m) {
    struct shard_impl *impl = s->impl;
    struct backlog *log = &impl->backlog[m->to];
    m->from = s->id;
    m->next = NULL;
    s->stats.messages_out++;
    if (likely(log->first == NULL && bus_post(s->bus, m) == OK))
        return;
    if (log->first == NULL)
        log->first = m;
    else
        log->last->next = m;
    log->last = m;
    impl->waiting++;
}

static void backlog_flush(struct shard *s) {
    struct shard_impl *impl = s->impl;
    if (likely(impl->waiting == 0))
        return;
    for (unsigned to = 0; to < s->all->count; to++) {
        struct backlog *log = &impl->backlog[to];
        while (log->first != NULL) {
            struct bus_msg *m = log->first, *next = m->next;
            if (bus_post(s->bus, m) != OK)
                break;
            log->first = next;
            impl->waiting--;
        }
    }
}

void shard_need_owner(struct shard *s) {
    s->needs_owner = true;
}

static void note_kick(void *arg, unsigned id) {
    struct kicks *k = arg;
    k->due[id / WORD_BITS] |= 1ULL << id % WORD_BITS;
}

/* run_messages: everything that arrived, and what follows from it. */
static ON_SHARD unsigned run_messages(struct shard *s, struct kicks *k) {
    unsigned n = bus_drain(s->bus, s->id, s);
    s->stats.messages_in += n;
    backlog_flush(s);
    bus_publish(s->bus, s->id, note_kick, k);
    return n;
}

static void wake_owner(struct shard *self, struct shard *t) {
    self->stats.doorbells++;
    loop_wake(self->loop, t->loop);
}

/* borrow: t is held by us now; runs what waits there and gives it back. */
static void borrow(struct shard *self, struct shard *t, struct kicks *k) {
    shard_claim();
    self->stats.borrows++;
    for (unsigned rounds = 0;; rounds++) {
        t->lent = true;
        t->wall_ms = self->wall_ms;
        t->now_ns = self->now_ns;
        (void)run_messages(t, k);
        t->all->config.hooks->turn_end(t);
        bus_publish(t->bus, t->id, note_kick, k);
        bool need_owner = t->needs_owner;
        t->lent = false;
        if (rounds == ROUNDS_MAX) {
            bus_release(t->bus, t->id);
            wake_owner(self, t);
            return;
        }
        if (bus_give_up(t->bus, t->id)) {
            if (need_owner)
                wake_owner(self, t);
            return;
        }
    }
}

static void kick(struct shard *self, unsigned id, struct kicks *k) {
    struct shard *t = shards_get(self->all, id);
    if (!self->all->config.borrow || k->done[id] == SHARD_KICKS_MAX) {
        if (bus_try_wake(self->bus, id))
            wake_owner(self, t);
        return;
    }
    k->done[id]++;
    if (bus_try_hold(self->bus, id))
        borrow(self, t, k);
}

/* kick_all: sees to it that what was published is seen: in a shard that is awake by its owner, in
 * one that sleeps by us. Returns whether we are among the targets. */
static void kick_all(struct shard *s, struct kicks *k) {
    for (unsigned word = 0; word < WORDS; word++) {
        while (k->due[word] != 0) {
            unsigned bit = (unsigned)__builtin_ctzll(k->due[word]);
            unsigned id = word * WORD_BITS + bit;
            k->due[word] &= k->due[word] - 1;
            if (id != s->id) /* what is for us is drained by our own turn */
                kick(s, id, k);
        }
    }
}

static bool any_kick(const struct kicks *k) {
    uint64_t any = 0;
    for (unsigned word = 0; word < WORDS; word++)
        any |= k->due[word];
    return any != 0;
}

static bool hook_sleeping(void *arg) {
    struct shard *s = arg;
    return bus_give_up(s->bus, s->id);
}

static void hook_awake(void *arg) {
    struct shard *s = arg;
    bus_hold(s->bus, s->id);
}

/* hook_polled: callbacks run commands, so the shard's time is set before them. */
static void hook_polled(void *arg) {
    struct shard *s = arg;
    s->now_ns = loop_now_ns(s->loop);
    s->wall_ms = loop_wall_ms(s->loop);
    if (s->impl->turn_from_ns == 0)
        s->impl->turn_from_ns = clock_fine_ns();
}

bool shard_doze(struct shard *s) {
    return bus_give_up(s->bus, s->id);
}

void shard_rouse(struct shard *s) {
    bus_hold(s->bus, s->id);
}

static ON_SHARD void note_turn(struct shard *s) {
    uint64_t ns = clock_fine_ns() - s->impl->turn_from_ns;
    s->impl->turn_from_ns = 0;
    s->stats.turn_ns += ns;
    if (ns > s->stats.recent_turn_ns)
        s->stats.recent_turn_ns = ns;
    if (ns > s->stats.longest_turn_ns)
        s->stats.longest_turn_ns = ns;
}

static bool hook_growing(void *arg, size_t bytes) {
    struct shard *s = arg;
    const struct shard_hooks *hooks = s->all->config.hooks;
    return hooks->growing == NULL || hooks->growing(s, bytes);
}

unsigned shard_turn(struct shard *s, uint64_t timeout_ns) {
    const struct loop_hooks hooks = {.sleeping = hook_sleeping,
                                     .awake = hook_awake,
                                     .polled = hook_polled,
                                     .arg = s,
                                     .growing = hook_growing};
    unsigned events = loop_poll(s->loop, timeout_ns, &hooks);
    s->stats.turns++;
    struct kicks k;
    memset(&k, 0, sizeof k);
    bus_publish(s->bus, s->id, note_kick, &k);
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        if (any_kick(&k))
            kick_all(s, &k);
        unsigned n = run_messages(s, &k);
        events += n;
        if (n == 0 && !any_kick(&k))
            break;
    }
    if (jobs_any(&s->impl->jobs))
        jobs_finish(&s->impl->jobs);
    s->needs_owner = false;
    s->all->config.hooks->turn_end(s);
    bus_publish(s->bus, s->id, note_kick, &k);
    while (any_kick(&k)) /* ends: each shard is kicked SHARD_KICKS_MAX times at most */
        kick_all(s, &k);
    note_turn(s);
    return events;
}

/* wind_down: called every turn once the server stops; true when this shard may leave its loop.
 * Shards leave together, since each needs the others' answers until the last has none to wait for.
 */
static bool wind_down(struct shard_impl *impl) {
    struct shard *s = &impl->shard;
    struct shards *all = s->all;
    if (!impl->told_to_stop) {
        impl->told_to_stop = true;
        impl->stop_by_ns = s->now_ns + SHARD_STOP_MS_MAX * 1000000ULL;
        all->config.hooks->stopping(s);
    }
    if (!impl->finished && (all->config.hooks->idle(s) || s->now_ns >= impl->stop_by_ns)) {
        impl->finished = true;
        if (atomic_fetch_add(&all->finished, 1) + 1 == all->count)
            for (unsigned i = 0; i < all->count; i++)
                loop_wake(NULL, all->shards[i]->shard.loop);
    }
    return atomic_load(&all->finished) == all->count;
}

enum err shard_begin(struct shard *s) {
    enum err e = loop_attach(s->loop);
    if (e == OK)
        e = s->all->config.hooks->start(s);
    if (e != OK)
        LOGW("shard %u does not start: %s", s->id, err_name(e));
    return e;
}

void shard_end(struct shard *s) {
    file_stop(s->loop); /* what `stop` frees is no longer the kernel's */
    s->all->config.hooks->stop(s);
}

static void *thread_main(void *arg) {
    shard_claim();
    struct shard_impl *impl = arg;
    struct shard *s = &impl->shard;
    struct shards *all = s->all;
    if (all->config.huge_pages && !mem_huge_pages() && s->id == 0)
        LOGV("no huge pages: the allocator does not let us ask for them");
    if (shard_begin(s) != OK) {
        atomic_store(&all->started, -1);
        return NULL;
    }
    atomic_fetch_add(&all->started, 1);
    enum { STOP_POLL_NS = 1000000 };
    (void)shard_turn(s, 0); /* publishes what starting posted, before anything can sleep on it */
    for (;;) {
        bool stop = atomic_load_explicit(&all->stop, memory_order_relaxed);
        if (stop && wind_down(impl))
            break;
        (void)shard_turn(s, stop ? STOP_POLL_NS : UINT64_MAX);
    }
    shard_end(s);
    return NULL;
}

/* post: for transactions, which know a shard only by name. */
static void post(struct shard *s, struct bus_msg *m) {
    shard_claim();
    shard_post(s, m);
}

static bool pinned(void *arg, uint64_t hash) {
    shard_claim();
    return tx_pinned(arg, hash);
}

static bool locked(void *arg, uint64_t hash) {
    shard_claim();
    return tx_locked(arg, hash);
}

/* --- the snapshot, through which locks are granted while it is taken --- */

static bool may_change(void *arg, const struct tx_want *w) {
    struct shard *s = arg;
    shard_claim();
    return snapshot_ready(&s->snapshot, w->hash);
}

static void snapshot_changed(void *arg, bool active) {
    struct shard *s = arg;
    shard_claim();
    tx_set_gate(&s->tx, active ? may_change : NULL, s);
}

static void snapshot_told_heavy(void *arg) {
    struct shard *s = arg;
    shard_claim();
    tx_open_gate(&s->tx);
}

static enum err shard_create(struct shards *a, unsigned id, const char **why) {
    struct mem fresh = {0};
    struct shard_impl *impl =
        mem_zalloc(&fresh, sizeof *impl + a->config.count * sizeof(struct backlog));
    if (impl == NULL)
        return ERR_NOMEM;
    struct shard *s = &impl->shard;
    a->shards[id] = impl;
    *s = (struct shard){.id = (uint16_t)id, .all = a, .bus = a->bus, .mem = fresh, .impl = impl};
    jobs_init(&impl->jobs, s);
    s->share = (struct budget_share){&a->budget, BUDGET_UNLIMITED, BUDGET_UNLIMITED};
    rng_seed(&s->rng, a->config.seed * 0x9e3779b97f4a7c15ULL + id + 1);
    enum err e = tx_shard_init(&s->tx, s, s->id, &s->mem, post);
    if (e == OK)
        e = keyspace_create(&s->keyspace, &s->mem, a->config.databases);
    if (e == OK) {
        keyspace_guard(s->keyspace, pinned, &s->tx);
        keyspace_guard_locked(s->keyspace, locked, &s->tx);
        snapshot_init(&s->snapshot, s->keyspace,
                      &(struct snapshot_hooks){snapshot_changed, snapshot_told_heavy, s});
        e = loop_create(&s->loop, a->config.io, &s->mem, why);
    }
    s->now_ns = clock_mono_ns();
    s->wall_ms = clock_wall_us() / 1000;
    return e;
}

enum err shards_create(struct shards **out, const struct shards_config *c, const char **why) {
    ASSERT(c->count >= 1 && c->count <= SHARDS_MAX);
    struct mem fresh = {0};
    *why = "no memory";
    struct shards *a = mem_alloc_lines(&fresh, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    memset(a, 0, sizeof *a);
    a->mem = fresh;
    a->config = *c;
    enum err e = OK;
    if (a->config.seed == 0)
        e = rng_entropy(&a->config.seed, sizeof a->config.seed);
    struct budget_peer *peers = mem_alloc_lines(&a->mem, c->count * sizeof *peers);
    budget_init(&a->budget, c->count, peers);
    if (peers == NULL)
        e = ERR_NOMEM;
    else
        memset(peers, 0, c->count * sizeof *peers);
    if (e == OK)
        e = bus_create(&a->bus, &a->mem, c->count);
    for (; e == OK && a->count < c->count; a->count++)
        e = shard_create(a, a->count, why);
    if (e != OK) {
        shards_destroy(a);
        return e;
    }
    *out = a;
    return OK;
}

static enum err thread_start(struct shards *a, unsigned id) {
    pthread_attr_t attr;
    a->shards[id]->jobs.threads = true;
    if (pthread_attr_init(&attr) != 0)
        return ERR_NOMEM;
    int failed = 0;
    if (a->config.cpus != NULL) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)a->config.cpus[id], &set);
        failed = pthread_attr_setaffinity_np(&attr, sizeof set, &set);
    }
    if (!failed)
        failed = pthread_create(&a->shards[id]->thread, &attr, thread_main, a->shards[id]);
    (void)pthread_attr_destroy(&attr);
    if (failed) {
        errno = failed;
        LOGW("shard %u: no thread: %s", id, strerror(failed));
        return ERR_IO;
    }
    a->shards[id]->thread_runs = true;
    char name[24];
    (void)snprintf(name, sizeof name, "shard-%u", id);
    (void)pthread_setname_np(a->shards[id]->thread, name);
    return OK;
}

enum err shards_start(struct shards *a) {
    for (unsigned id = 0; id < a->count; id++) {
        enum err e = thread_start(a, id);
        while (e == OK && atomic_load(&a->started) == (int)id)
            sched_yield();
        if (e != OK || atomic_load(&a->started) < 0) {
            /* those that run would wait for the others to finish */
            atomic_fetch_add(&a->finished, a->count - id);
            shards_stop(a);
            shards_join(a);
            return e != OK ? e : ERR_IO;
        }
    }
    return OK;
}

void shards_stop(struct shards *a) {
    atomic_store(&a->stop, true);
    for (unsigned i = 0; i < a->count; i++)
        loop_wake(NULL, a->shards[i]->shard.loop);
}

void shards_join(struct shards *a) {
    for (unsigned i = 0; i < a->count; i++) {
        if (!a->shards[i]->thread_runs)
            continue;
        (void)pthread_join(a->shards[i]->thread, NULL);
        a->shards[i]->thread_runs = false;
    }
    for (unsigned i = 0; i < a->count; i++)
        jobs_stop(&a->shards[i]->jobs);
}

int64_t shards_destroy(struct shards *a) {
    int64_t left = 0;
    size_t impl_bytes = sizeof(struct shard_impl) + a->config.count * sizeof(struct backlog);
    for (unsigned i = 0; i < a->config.count; i++) {
        struct shard_impl *impl = a->shards[i];
        if (impl == NULL)
            continue;
        struct shard *s = &impl->shard;
        if (s->loop != NULL)
            loop_destroy(s->loop);
        if (s->keyspace != NULL)
            keyspace_destroy(s->keyspace);
        tx_shard_deinit(&s->tx);
        struct mem last = s->mem;
        mem_free(&last, impl, impl_bytes);
        left += last.used_bytes < 0 ? -last.used_bytes : last.used_bytes;
    }
    if (a->bus != NULL)
        bus_destroy(a->bus, &a->mem);
    if (a->budget.peers != NULL)
        mem_free_lines(&a->mem, a->budget.peers, a->config.count * sizeof *a->budget.peers);
    struct mem last = a->mem;
    mem_free_lines(&last, a, sizeof *a);
    return left + last.used_bytes;
}
