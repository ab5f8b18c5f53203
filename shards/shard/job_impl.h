/* job_impl.h: a shard's worker; for this room only. */
#ifndef SHARD_JOB_IMPL_H
#define SHARD_JOB_IMPL_H

#include "shards/job.h"
#include "shards/shard.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

struct jobs {
    struct shard *shard;
    bool threads;               /* there may be a worker */
    bool started;               /* there is one */
    bool refused;               /* the system has none for us */
    struct job *first, **last;  /* that have not begun; with a worker, under the lock */
    unsigned under_way;         /* started and not done; the holder's */
    uint64_t count;             /* started in all; the holder's */
    _Atomic(struct job *) over; /* what the worker has finished, the newest first */
    bool stop;                  /* under the lock */
    cpu_set_t cpus;             /* where the process may run, wherever the shard is pinned to */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t more;
};

void jobs_init(struct jobs *j, struct shard *s);
struct jobs *shard_jobs(struct shard *s);
/* jobs_any: else jobs_finish has nothing to do, which in every turn does what follows what is over. */
static inline bool jobs_any(const struct jobs *j) {
    return unlikely(j->under_way != 0);
}
void jobs_finish(struct jobs *j) ON_SHARD;
/* jobs_stop: waits for the worker to end what it is at; what has not begun stays undone. */
void jobs_stop(struct jobs *j);

#endif
