/* work.h: the part of a command that is done beside the shard.
 *
 * Why         command.h says how handlers use it (ctx_work); whoever runs commands calls the handler again when it is done.
 * Threads     the holder of the shard, but for fn, which runs on the shard's worker (shards/job.h).
 * Invariants  (1) what fn allocates and frees is counted on the work's own account until the handler resumes.
 */
#ifndef ANAX_WORK_H
#define ANAX_WORK_H

#include "shards/bus.h"
#include "shards/job.h"
#include "shards/mem.h"
#include <stdalign.h>
#include <stddef.h>

/* Below this many elements nothing is long: about a millisecond. */
enum { WORK_ELEMENTS_MIN = 2048 };

typedef void work_fn(void *state, struct mem *m);

struct work {
    struct job job;
    struct bus_msg end; /* of what has no fn */
    bool ended;
    struct mem mem;
    work_fn *fn;
    /* NULL, or what has to be waited for when fn has run: called on the shard's owner, and over when that calls work_end. */
    void (*wait)(struct shard *s, struct work *w);
    void (*then)(struct shard *s, void *arg);
    void *arg;
    size_t bytes; /* of state */
    alignas(max_align_t) char state[];
};

/* work_start: fn runs, or, when there is none, work_end is waited for; then(arg), on the shard, in a later turn. */
void work_start(struct shard *s, struct work *w, void (*then)(struct shard *s, void *arg),
                void *arg) ON_SHARD;
/* work_end: once: of a work without fn, before or after work_start; of one with `wait`, from there on. */
void work_end(struct shard *s, struct work *w) ON_SHARD;

#endif
