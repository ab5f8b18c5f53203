#include "job_impl.h"
#include "shards/assert.h"
#include "shards/clock.h"
#include "shards/log.h"
#include "shards/move.h"
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORKER_NICE = 5 };

void jobs_init(struct jobs *j, struct shard *s) {
    *j = (struct jobs){.shard = s};
    j->last = &j->first;
    int failed = pthread_mutex_init(&j->lock, NULL) | pthread_cond_init(&j->more, NULL);
    ASSERT(failed == 0); /* neither takes anything that could be lacking */
    if (sched_getaffinity(0, sizeof j->cpus, &j->cpus) != 0)
        CPU_ZERO(&j->cpus); /* then setting it is refused, and nothing changes */
}

/* take: the next to work at; NULL: none. */
static struct job *take(struct jobs *j) {
    struct job *job = j->first;
    if (job == NULL)
        return NULL;
    j->first = job->next;
    if (j->first == NULL)
        j->last = &j->first;
    return job;
}

static void add(struct jobs *j, struct job *job) {
    job->next = NULL;
    *j->last = job;
    j->last = &job->next;
}

static void run(struct job *job) {
    uint64_t from = clock_fine_ns();
    job->work(job);
    job->ns = clock_fine_ns() - from;
}

static void hand_over(struct jobs *j, struct job *job) {
    job->next = atomic_load_explicit(&j->over, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&j->over, &job->next, job, memory_order_release,
                                                  memory_order_relaxed))
        ;
    loop_wake(NULL, j->shard->loop);
}

static void *worker_main(void *arg) {
    struct jobs *j = arg;
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), WORKER_NICE);
    (void)pthread_mutex_lock(&j->lock);
    while (!j->stop) {
        struct job *job = take(j);
        if (job == NULL) {
            (void)pthread_cond_wait(&j->more, &j->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&j->lock);
        run(job);
        mover_uncache(); /* it may sleep for long */
        hand_over(j, job);
        (void)pthread_mutex_lock(&j->lock);
    }
    (void)pthread_mutex_unlock(&j->lock);
    return NULL;
}

/* worker_start: it may run on any core that the process may use, whichever its shard is pinned to. */
static void worker_start(struct jobs *j) {
    char name[24];
    int failed = pthread_create(&j->thread, NULL, worker_main, j);
    if (failed != 0) {
        j->refused = true;
        LOGW("shard %u: no thread for long commands, which will keep the others waiting: %s",
             j->shard->id, strerror(failed));
        return;
    }
    j->started = true;
    (void)pthread_setaffinity_np(j->thread, sizeof j->cpus, &j->cpus);
    (void)snprintf(name, sizeof name, "job-%u", j->shard->id);
    (void)pthread_setname_np(j->thread, name);
}

void job_start(struct shard *s, struct job *job) {
    struct jobs *j = shard_jobs(s);
    j->under_way++;
    j->count++;
    if (j->threads && !j->started && !j->refused)
        worker_start(j);
    (void)pthread_mutex_lock(&j->lock);
    add(j, job);
    (void)pthread_cond_signal(&j->more);
    (void)pthread_mutex_unlock(&j->lock);
    if (!j->started)
        loop_wake(NULL, s->loop);
}

/* run_here: without a worker: one of them, in some turns. */
static ON_SHARD void run_here(struct jobs *j) {
    struct job *job = rng_below(&j->shard->rng, 2) == 0 ? take(j) : NULL;
    if (job != NULL) {
        run(job);
        j->under_way--;
        job->done(j->shard, job);
    }
    if (j->first != NULL)
        loop_wake(NULL, j->shard->loop);
}

void jobs_finish(struct jobs *j) {
    if (!j->started) {
        run_here(j);
        return;
    }
    struct job *over = atomic_exchange_explicit(&j->over, NULL, memory_order_acquire),
               *order = NULL;
    while (over != NULL) {
        struct job *next = over->next;
        over->next = order;
        order = over;
        over = next;
    }
    while (order != NULL) {
        struct job *next = order->next;
        j->under_way--;
        order->done(j->shard, order);
        order = next;
    }
}

void jobs_stop(struct jobs *j) {
    if (!j->started)
        return;
    (void)pthread_mutex_lock(&j->lock);
    j->stop = true;
    (void)pthread_cond_signal(&j->more);
    (void)pthread_mutex_unlock(&j->lock);
    (void)pthread_join(j->thread, NULL);
    j->started = false;
}
