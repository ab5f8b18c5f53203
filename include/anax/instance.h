/* instance.h: what shard->app points to: the upper layers' part of one shard.
 *
 * Why         commands, net and admin share a shard's configuration and statistics without including each
 *             other.
 * Threads     the holder of the shard.
 */
#ifndef ANAX_INSTANCE_H
#define ANAX_INSTANCE_H

#include "anax/command.h"
#include "anax/config.h"
#include "anax/errand.h"
#include "anax/metrics.h"
#include "anax/observe.h"
#include "anax/watch.h"

struct net;
struct persistence;

/* What a shard has seen of evictions when it looked last. */
struct balance {
    uint64_t next_ns; /* when it looks again */
    uint64_t all_bytes, own_bytes;
};

struct instance {
    struct config *config; /* this shard's snapshot; CONFIG SET replaces it by message */
    struct net *net;
    struct persistence *persistence;
    struct command_stats commands[COMMANDS_MAX];
    struct observed observed;
    struct rate rates[RATES];
    int64_t startup_bytes; /* that the shard used when it had started; 0: it has not */
    /* CLIENT PAUSE: until when (Unix ms, 0: not paused) and whether reads wait too. */
    int64_t pause_until_ms;
    bool pause_all;
    struct watch_table *watches;
    struct balance balance;        /* room.c's */
    struct pressing *pressing;     /* room.c's; NULL without maxmemory */
    const struct ctx *asking;      /* room.c's: whose keys may not go */
    void (*trim)(struct shard *s); /* net's: gives back the memory that it keeps for later */
    bool expire_off;               /* DEBUG SET-ACTIVE-EXPIRE 0 */
    bool defrag_all;               /* DEBUG DEFRAG 1 */
    bool loading;                  /* a dataset is being loaded: only CMD_LOADING runs */
    struct errand *errands, **errands_end;
    uint64_t changes,
        changes_saved; /* that clients have made; of these, those that the last file holds */
    bool save_failed;  /* the last save that nobody waited for */
    void (*flushed)(
        struct shard *s); /* persistence's: FLUSHALL has run on shard 0; NULL: nobody asks */
    void (*cut_off)(struct shard *s); /* net's: no client is told anything more */
    uint64_t long_elements;           /* WORK_ELEMENTS_MIN, or what DEBUG LONG-ELEMENTS says */
    /* The command that runs now, for a crash report: its row, arguments and database; or NULL. */
    const struct ctx *running;
};

static inline struct instance *instance_of(const struct shard *s) {
    return s->app;
}

#endif
