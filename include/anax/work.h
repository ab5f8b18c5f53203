/* work.h: the part of a command that is done beside the shard.
 *
 * Why         command.h says how handlers use it (ctx_work); whoever runs commands calls the handler again when it is done.
 * Threads     the holder of the shard, but for fn, which runs on the shard's worker (shards/job.h).
 * Invariants  (1) what fn allocates and frees is counted on the work's own account until the handler resumes.
 */
#ifndef ANAX_WORK_H
#define ANAX_WORK_H

#include "shards/job.h"
#include "shards/mem.h"
#include <stdalign.h>
#include <stddef.h>

/* Below this many elements nothing is long: about a millisecond. */
enum { WORK_ELEMENTS_MIN = 2048 };

typedef void work_fn(void *state, struct mem *m);

struct work {
    struct job job;
    struct mem mem;
    work_fn *fn;
    void (*then)(struct shard *s, void *arg);
    void *arg;
    size_t bytes; /* of state */
    alignas(max_align_t) char state[];
};

/* work_start: fn runs; then(arg), on the shard, in a later turn. */
void work_start(struct shard *s, struct work *w, void (*then)(struct shard *s, void *arg),
                void *arg) ON_SHARD;

#endif
