/* sim_world.h: a whole server on simulated loops, for the simulations in this folder.
 *
 * A seed decides how many shards there are, whether sleeping ones are lent, the faults of the network, from how many elements on
 * commands are done beside the shard (in a later turn), and in which order shards take their turns; what clients do is the simulation's own. After every turn no message may wait in a shard
 * that sleeps and that nobody will wake (bus.h, invariant 4). At the end nothing may be left: no connection, no
 * transaction, no watch, no byte.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "anax/config.h"
#include "anax/net.h"
#include "shards/sim.h"

enum { SIM_PORT = 6379 };

struct sim_world {
    uint64_t seed;
    struct rng rng;
    struct sim_net *net;
    struct shards *shards;
    struct config config;
    struct net_shared shared;
    unsigned n;
    bool borrow;
    bool files; /* sim_world_begin_with_files */
    bool awake[SHARDS_MAX];
};

/* What all seeds of a run came to. */
struct sim_totals {
    uint64_t messages, borrows, jobs;
    uint64_t transactions, claims_waited, yielded, overtook, steps_waited;
};

/* sim_world_main: the command line of a simulation: run(seed) for --seeds N from --first SEED on; returns what main does. `extra` is
 * asked about every other argument and says whether it knows it; NULL: there are none. */
int sim_world_main(int argc, char **argv, uint64_t seeds, void (*run)(uint64_t seed),
                   bool (*extra)(const char *name, const char *value),
                   bool (*reached)(uint64_t seeds));
extern bool sim_verbose;
extern struct sim_totals sim_totals;

/* sim_world_begin: the shards run; no faults yet. */
void sim_world_begin(struct sim_world *w, uint64_t seed);
void sim_world_end(struct sim_world *w);
/* sim_world_begin_with_files: the server has a disk, and loads and saves as a real one does. sim_world_restart: the server ends, with
 * all checks of sim_world_end, and another one begins with what is on the disk; when it has loaded. */
void sim_world_begin_with_files(struct sim_world *w, uint64_t seed);
void sim_world_restart(struct sim_world *w);
/* sim_world_faults: delays, short reads and writes, refused accepts, drawn from the seed. */
void sim_world_faults(struct sim_world *w);
void sim_world_no_faults(struct sim_world *w);

/* sim_world_fail: says which seed it was, and ends the process. */
_Noreturn void sim_world_fail(const struct sim_world *w, const char *what);
/* sim_world_turn: of one shard. sim_world_round: of all, and of the clock when nothing happens. sim_world_quiet: half a
 * second of them; accepting is tried again after 100 ms. */
unsigned sim_world_turn(struct sim_world *w, unsigned shard);
void sim_world_round(struct sim_world *w);
void sim_world_quiet(struct sim_world *w);
struct sim_client *sim_world_connect(struct sim_world *w);

static inline uint64_t sim_world_below(struct sim_world *w, uint64_t n) {
    return rng_below(&w->rng, n);
}

#endif
