/* sim_world.c: the server's side of a simulation. */
#include "sim_world.h"
#include "../../shards/shard/job_impl.h"
#include "anax/admin.h"
#include "anax/command.h"
#include "anax/instance.h"
#include "anax/work.h"
#include "shards/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sim_verbose;
struct sim_totals sim_totals;

void sim_world_fail(const struct sim_world *w, const char *what) {
    (void)printf("FAILED: seed %lu: %s (shards %u, borrow %d)\n", (unsigned long)w->seed, what,
                 w->n, w->borrow);
    (void)printf("0 passed, 1 failed\n");
    exit(1);
}

/* choose_long: in most seeds what is long begins with a few elements, or with none. */
static ON_SHARD void choose_long(struct sim_world *w) {
    static const uint64_t elements[] = {0, 0, 2, 4, 100, WORK_ELEMENTS_MIN};
    uint64_t from = elements[sim_world_below(w, COUNT_OF(elements))];
    for (unsigned i = 0; i < w->n; i++)
        instance_of(shards_get(w->shards, i))->long_elements = from;
}

void sim_world_begin(struct sim_world *w, uint64_t seed) {
    static const unsigned counts[] = {1, 2, 3, 8};
    const char *why;
    shard_claim();
    memset(w, 0, sizeof *w);
    w->seed = seed;
    rng_seed(&w->rng, seed);
    w->n = counts[seed % COUNT_OF(counts)];
    w->borrow = sim_world_below(w, 4) != 0;
    if (hash_seed(&seed) != OK || sim_create(&w->net, seed) != OK)
        sim_world_fail(w, "setting up");
    config_defaults(&w->config);
    w->config.protected_mode = false; /* simulated peers have no address */
    w->shared.config = &w->config;
    w->shared.listen_fds[w->shared.listen_count++] = sim_listen(w->net, SIM_PORT);
    struct shards_config sc = {.count = w->n,
                               .databases = 16,
                               .io = LOOP_SIM,
                               .borrow = w->borrow,
                               .seed = seed + 1,
                               .hooks = &net_hooks,
                               .arg = &w->shared};
    if (shards_create(&w->shards, &sc, &why) != OK)
        sim_world_fail(w, why);
    for (unsigned i = 0; i < w->n; i++) {
        if (shard_begin(shards_get(w->shards, i)) != OK)
            sim_world_fail(w, "a shard does not start");
        w->awake[i] = true;
    }
    choose_long(w);
}

/* Of writes never all are short: then the last byte would not leave before the faults end. */
void sim_world_faults(struct sim_world *w) {
    static const uint32_t writes[] = {0, 2, 3, 4};
    struct sim_faults faults = {.delay_max_ns = sim_world_below(w, 200000),
                                .short_read_in = (uint32_t)sim_world_below(w, 4),
                                .short_write_in = writes[sim_world_below(w, COUNT_OF(writes))],
                                .accept_failed_in = sim_world_below(w, 4) == 0 ? 3 : 0};
    sim_set_faults(w->net, &faults);
}

void sim_world_no_faults(struct sim_world *w) {
    struct sim_faults none = {.delay_max_ns = 1000};
    sim_set_faults(w->net, &none);
}

struct sim_client *sim_world_connect(struct sim_world *w) {
    struct sim_client *c = sim_connect(w->net, SIM_PORT);
    if (c == NULL)
        sim_world_fail(w, "nobody listens");
    return c;
}

static void check_sleepers(const struct sim_world *w) {
    for (unsigned i = 0; i < w->n; i++) {
        struct shard *s = shards_get(w->shards, i);
        if (!w->awake[i] && bus_arrived(s->bus, i) && sim_pending_wakes(s->loop) == 0)
            sim_world_fail(w, "a message waits in a shard that sleeps");
    }
}

unsigned sim_world_turn(struct sim_world *w, unsigned shard) {
    shard_claim();
    struct shard *s = shards_get(w->shards, shard);
    if (!w->awake[shard])
        shard_rouse(s);
    w->awake[shard] = true;
    unsigned events = shard_turn(s, 0);
    if (sim_world_below(w, 2) == 0)
        w->awake[shard] = !shard_doze(s);
    check_sleepers(w);
    return events;
}

void sim_world_round(struct sim_world *w) {
    unsigned events = 0;
    for (unsigned i = 0; i < w->n; i++)
        events += sim_world_turn(w, i);
    uint64_t due = sim_next_due_ns(w->net), now = sim_now_ns(w->net);
    if (events == 0 && due != UINT64_MAX && due > now)
        sim_advance(w->net, due - now);
}

void sim_world_quiet(struct sim_world *w) {
    for (unsigned rounds = 0; rounds < 50; rounds++) {
        for (unsigned i = 0; i < w->n; i++)
            (void)sim_world_turn(w, i);
        sim_advance(w->net, 10000000);
    }
}

static void add_totals(struct shard *s) {
    const struct tx_stats *tx = &s->tx.stats;
    sim_totals.borrows += s->stats.borrows;
    sim_totals.messages += s->stats.messages_out;
    sim_totals.jobs += shard_jobs(s)->count;
    sim_totals.transactions += tx->started;
    sim_totals.claims_waited += tx->waited;
    sim_totals.yielded += tx->yielded;
    sim_totals.overtook += tx->overtook;
    sim_totals.steps_waited += tx->steps_waited;
}

void sim_world_end(struct sim_world *w) {
    int64_t live = 0;
    for (unsigned i = 0; i < w->n; i++)
        live += atomic_load(&w->shared.live[i]);
    if (live != 0)
        sim_world_fail(w, "a connection was not released");
    for (unsigned i = 0; i < w->n; i++) {
        struct shard *s = shards_get(w->shards, i);
        add_totals(s);
        if (!tx_idle(&s->tx))
            sim_world_fail(w, "a transaction was left");
        if (watch_count(s) != 0)
            sim_world_fail(w, "a watch was left");
        if (!w->awake[i])
            shard_rouse(s);
    }
    for (unsigned i = 0; i < w->n; i++)
        shard_end(shards_get(w->shards, i));
    int64_t left = shards_destroy(w->shards);
    if (left != 0) {
        (void)printf("%ld bytes are left\n", (long)left);
        sim_world_fail(w, "memory was lost");
    }
    sim_destroy(w->net);
}

static void start(void) {
    if (log_open("") != OK)
        exit(1);
    log_set_level(sim_verbose ? LOG_DEBUG : LOG_NOTHING);
    command_register_families();
    client_register();
    admin_register();
}

int sim_world_main(int argc, char **argv, uint64_t seeds, void (*run)(uint64_t seed),
                   bool (*extra)(const char *name, const char *value),
                   bool (*reached)(uint64_t seeds)) {
    uint64_t first = 1;
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--verbose") == 0) {
            sim_verbose = true;
            continue;
        }
        if (value != NULL && strcmp(argv[i], "--seeds") == 0) {
            seeds = strtoull(value, NULL, 10);
        } else if (value != NULL && strcmp(argv[i], "--first") == 0) {
            first = strtoull(value, NULL, 10);
        } else if (value == NULL || extra == NULL || !extra(argv[i], value)) {
            (void)fprintf(stderr, "unknown argument %s\n", argv[i]);
            return 2;
        }
        i++;
    }
    start();
    for (uint64_t seed = first; seed < first + seeds; seed++)
        run(seed);
    if (!reached(seeds)) {
        (void)printf("the runs did not reach what they are for\n0 passed, 1 failed\n");
        return 1;
    }
    (void)printf("%lu passed, 0 failed\n", (unsigned long)seeds);
    return 0;
}
