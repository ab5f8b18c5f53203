/* persistence_impl.h: what a shard keeps for this room, shared by its files.
 *
 *   load.c       a load from its beginning to its end      load_read.c   the file, in pieces
 *   load_cut.c   pieces into records, and what is not one  load_put.c    records into the keyspace
 *   load_start.c the dataset to start with; INFO
 */
#ifndef PERSISTENCE_IMPL_H
#define PERSISTENCE_IMPL_H

#include "anax/errand.h"
#include "anax/instance.h"
#include "anax/persistence.h"

/* A library of functions, in the order in which the file had them: kept as it came, and written back. */
struct library {
    struct library *next;
    size_t len;
    char bytes[];
};

struct persistence {
    struct load_at *load_at;   /* load.c's */
    struct library *libraries; /* of shard 0 alone */
    /* Of the last load, on shard 0: */
    uint64_t load_keys, load_keys_expired;
    bool stopping;
    struct save_part *part;
    struct links *links; /* migrate_link.c's */
    struct saves *saves; /* shard 0's; NULL: another */
};

static inline struct persistence *persistence_of(const struct shard *s) {
    return instance_of(s)->persistence;
}

/* --- load.c: for persistence.c --- */
void load_register(void);
MUST_CHECK enum err load_shard_start(struct shard *s);
void load_shard_stop(struct shard *s);
/* load_stopping: a load gives up. load_idle: there is none any more. */
void load_stopping(struct shard *s);
bool load_idle(const struct shard *s);

#endif
