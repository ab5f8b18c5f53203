/* sim_world.c: the server's side of a simulation. */
#include "sim_world.h"
#include "../../shards/shard/job_impl.h"
#include "anax/admin.h"
#include "anax/command.h"
#include "anax/instance.h"
#include "anax/persistence.h"
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

/* --- a server with files: as main.c wires it --- */

static bool has_loaded;

static void loaded(struct shard *s, bool well) {
    (void)s;
    if (!well) {
        (void)printf("FAILED: a file does not load\n0 passed, 1 failed\n");
        exit(1);
    }
    has_loaded = true;
}

static enum err start_with_files(struct shard *s) {
    shard_claim();
    enum err e = net_hooks.start(s);
    if (e == OK)
        e = persistence_start(s);
    if (e == OK && s->id == shards_count(s->all) - 1)
        load_at_start(s, loaded);
    return e;
}

static void turn_end_with_files(struct shard *s) {
    shard_claim();
    net_hooks.turn_end(s);
    persistence_turn_end(s);
}

static void stopping_with_files(struct shard *s) {
    shard_claim();
    net_hooks.stopping(s);
    persistence_stopping(s);
}

static bool idle_with_files(struct shard *s) {
    shard_claim();
    return net_hooks.idle(s) && persistence_idle(s);
}

static void stop_with_files(struct shard *s) {
    shard_claim();
    persistence_stop(s);
    net_hooks.stop(s);
}

static void start_shards(struct sim_world *w) {
    static const struct shard_hooks with_files = {start_with_files, stop_with_files,
                                                  turn_end_with_files, stopping_with_files,
                                                  idle_with_files};
    const char *why;
    shard_claim();
    memset(&w->shared, 0, sizeof w->shared);
    w->shared.config = &w->config;
    w->shared.listen_fds[w->shared.listen_count++] = sim_listen(w->net, SIM_PORT);
    struct shards_config sc = {.count = w->n,
                               .databases = 16,
                               .io = LOOP_SIM,
                               .borrow = w->borrow,
                               .seed = w->seed + 1,
                               .hooks = w->files ? &with_files : &net_hooks,
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

static void begin(struct sim_world *w, uint64_t seed, bool files) {
    static const unsigned counts[] = {1, 2, 3, 8};
    memset(w, 0, sizeof *w);
    w->seed = seed;
    w->files = files;
    rng_seed(&w->rng, seed);
    w->n = counts[seed % COUNT_OF(counts)];
    w->borrow = sim_world_below(w, 4) != 0;
    if (hash_seed(&seed) != OK || sim_create(&w->net, seed) != OK)
        sim_world_fail(w, "setting up");
    config_defaults(&w->config);
    w->config.protected_mode = false; /* simulated peers have no address */
    (void)snprintf(w->config.dir, sizeof w->config.dir, ".");
    start_shards(w);
}

void sim_world_begin(struct sim_world *w, uint64_t seed) {
    begin(w, seed, false);
}

static void await_load(struct sim_world *w) {
    enum { ROUNDS_MAX = 1000000 };
    for (unsigned rounds = 0; !has_loaded; rounds++) {
        sim_world_round(w);
        if (rounds == ROUNDS_MAX)
            sim_world_fail(w, "a load does not end");
    }
}

void sim_world_begin_with_files(struct sim_world *w, uint64_t seed) {
    has_loaded = false;
    begin(w, seed, true);
    await_load(w);
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

static void end_shards(struct sim_world *w) {
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
}

void sim_world_end(struct sim_world *w) {
    end_shards(w);
    sim_destroy(w->net);
}

void sim_world_restart(struct sim_world *w) {
    end_shards(w);
    has_loaded = false;
    start_shards(w);
    await_load(w);
}

static void start(void) {
    if (log_open("") != OK)
        exit(1);
    log_set_level(sim_verbose ? LOG_DEBUG : LOG_NOTHING);
    command_register_families();
    client_register();
    admin_register();
    persistence_register();
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
