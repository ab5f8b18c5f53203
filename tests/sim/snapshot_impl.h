/* snapshot_impl.h: what the files of this simulation share: the world, the clients, and a state as it was told or loaded. */
#ifndef SNAPSHOT_IMPL_H
#define SNAPSHOT_IMPL_H

#include "anax/instance.h"
#include "sim_world.h"

enum {
    CLIENTS_MAX = 5,
    WAITING_MAX = 4,
    ACCOUNTS = 6,
    PAIRS_EACH = 2, /* of a client, which alone writes them */
    PAIRS = PAIRS_EACH * CLIENTS_MAX,
    DBS = 3, /* of pairs: 0 to 2 */
    TWINS = 2,
    TRAVELLERS = 2,
    NAMES = 3,   /* that a traveller has */
    LONG = 4000, /* more than fits into a listpack */
    STEPS_MAX = 200000
};

extern struct sim_world snapshot_world;
_Noreturn void snapshot_fail(const char *what);
static inline unsigned snapshot_below(unsigned n) {
    return (unsigned)sim_world_below(&snapshot_world, n);
}

/* --- snapshot_clients.c --- */

/* How far the writers of pairs are, and what else they do. */
struct progress {
    long acked[PAIRS], sent[PAIRS]; /* in whichever database */
    bool flushes, swaps, files;     /* files: errors of the disk may refuse writes */
    bool floor;                     /* there are values that take the floor of a file */
    bool careless; /* nothing is kept in balance: everything may be flushed and evicted */
};
extern struct progress snapshot_progress;
/* snapshot_clients_begin: they connect, and the long lists are filled. snapshot_client_step: one of them sends or reads.
 * snapshot_clients_settle: all is answered; turn is called between rounds. snapshot_clients_end: they leave. */
void snapshot_clients_begin(void (*turn)(void));
void snapshot_clients_connect(void (*turn)(void));
void snapshot_client_step(void);
void snapshot_clients_settle(void (*turn)(void));
void snapshot_clients_end(void);

/* --- snapshot_state.c --- */

/* snapshot_forget: nothing has been told. snapshot_note: an entry of a state, told once. snapshot_note_all: those that all shards have
 * now. snapshot_check: it is a state between two transactions, not older than `before` and not newer than `after`. */
void snapshot_forget(void);
void snapshot_note(unsigned db, const struct entry *e);
void snapshot_note_all(void) ON_SHARD;
void snapshot_check(const struct progress *before, const struct progress *after);

/* --- snapshot_any.c --- */

enum { SNAPSHOT_ANY_MAX = 4 }; /* commands of a MULTI */
/* snapshot_any: a command on keys that nobody keeps in balance, or several in MULTI; returns how many values are its reply.
 * snapshot_any_long: the i-th command that makes what there is to be copied; false: no more. */
unsigned snapshot_any(char *text, unsigned db);
bool snapshot_any_long(char *text, size_t cap, unsigned i);

/* --- snapshot_exact.c --- */

/* snapshot_exact_take: what a shard has, at the cut. snapshot_exact_note: an entry that is told: is it one of those, as it was?
 * snapshot_exact_check: all were told. */
void snapshot_exact_forget(void);
void snapshot_exact_take(const struct keyspace *k) ON_SHARD;
void snapshot_exact_note(unsigned db, const struct entry *e);
void snapshot_exact_check(void);
uint64_t snapshot_digest(const struct entry *e);

/* --- snapshot_files.c --- */

/* snapshot_files_run: saves to a disk that fails, and starts again from it. */
void snapshot_files_run(uint64_t seed);
struct snapshot_files_totals {
    uint64_t saves, failed, kills, crashes, loaded, cancelled;
};
extern struct snapshot_files_totals snapshot_files_totals;

/* --- snapshot_bound.c --- */

/* snapshot_bound_run: a disk that takes nothing while huge values are saved, and all that may come of it. */
void snapshot_bound_run(uint64_t seed);
extern uint64_t snapshot_bound_runs, snapshot_bound_gave_up;

#endif
