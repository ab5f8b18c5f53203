/* shard_job_test.c: the invariant of job.h on real threads: done runs once, after work, on the owner's thread, in a later turn. */
#include "../../shards/shard/job_impl.h"
#include "shards/log.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <unistd.h>

enum { JOBS = 120, SHARDS_HERE_MAX = 4 };

struct task {
    struct job job;
    struct bus_msg msg;
    unsigned worked, done;
    pthread_t worker;
};

/* One shard's part; plain fields: the holder's only. */
struct layer {
    struct task tasks[JOBS];
    pthread_t owner;
    unsigned started, done, lent, answered;
    bool told;
};

static struct layer layers[SHARDS_HERE_MAX];
static _Atomic unsigned finished;
static bool refused, slow, leave;

static struct layer *layer_of(struct shard *s) {
    return s->app;
}

static void work(struct job *j) {
    struct task *t = CONTAINER_OF(j, struct task, job);
    cr_assert_eq(t->done, 0, "it was done before it was worked at");
    if (slow)
        (void)usleep(1000);
    t->worker = pthread_self();
    t->worked++;
}

static void task_done(struct shard *s, struct job *j) {
    shard_claim();
    struct task *t = CONTAINER_OF(j, struct task, job);
    struct layer *l = layer_of(s);
    cr_assert(pthread_equal(pthread_self(), l->owner), "done is not on the owner's thread");
    cr_assert(!s->lent);
    cr_assert_eq(t->worked, 1);
    cr_assert_eq(t->done, 0, "done twice");
    cr_assert_eq(pthread_equal(t->worker, l->owner) != 0, refused, "who worked at it?");
    t->done = 1;
    l->done++;
}

static ON_SHARD void start_one(struct shard *s, struct task *t) {
    unsigned done = layer_of(s)->done;
    t->job = (struct job){.work = work, .done = task_done};
    layer_of(s)->started++;
    job_start(s, &t->job);
    cr_assert_eq(layer_of(s)->done, done, "done within job_start");
}

/* A message starts one at its target, which may be lent to whoever brings it. */
static void task_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    layer_of(at)->lent += at->lent;
    start_one(at, CONTAINER_OF(m, struct task, msg));
}

static void task_answered(struct shard *home, struct bus_msg *m) {
    (void)m;
    layer_of(home)->answered++;
}

static enum err layer_start(struct shard *s) {
    shard_claim();
    struct layer *l = &layers[s->id];
    unsigned n = shards_count(s->all);
    memset(l, 0, sizeof *l);
    l->owner = pthread_self();
    s->app = l;
    shard_jobs(s)->refused = refused; /* as if the system had no thread for it */
    for (unsigned i = 0; i < JOBS; i++) {
        struct task *t = &l->tasks[i];
        t->msg = (struct bus_msg){
            .run = task_run, .done = task_answered, .to = (uint16_t)((s->id + i) % n)};
        shard_post(s, &t->msg);
    }
    return OK;
}

static void layer_stop(struct shard *s) {
    (void)s;
}

static void layer_turn_end(struct shard *s) {
    struct layer *l = layer_of(s);
    unsigned wanted = leave ? 1 : JOBS; /* as many come as go */
    if (l == NULL || l->told || l->done < wanted || l->answered < JOBS)
        return;
    l->told = true;
    if (atomic_fetch_add(&finished, 1) + 1 == shards_count(s->all))
        shards_stop(s->all);
}

static void layer_stopping(struct shard *s) {
    (void)s;
}

static bool layer_idle(struct shard *s) {
    return leave || layer_of(s)->done == JOBS;
}

static const struct shard_hooks hooks = {.start = layer_start,
                                         .stop = layer_stop,
                                         .turn_end = layer_turn_end,
                                         .stopping = layer_stopping,
                                         .idle = layer_idle};

static void run(unsigned n, enum loop_kind io, bool borrow) {
    struct shards *all;
    const char *why;
    const struct shards_config c = {
        .count = n, .databases = 1, .io = io, .borrow = borrow, .seed = 1, .hooks = &hooks};
    atomic_store(&finished, 0);
    log_set_level(LOG_NOTHING);
    cr_assert_eq(shards_create(&all, &c, &why), OK);
    cr_assert_eq(shards_start(all), OK);
    shards_join(all);
    unsigned started = 0, done = 0, worked = 0;
    for (unsigned i = 0; i < n; i++) {
        struct shard *s = shards_get(all, i);
        started += layers[i].started;
        done += layers[i].done;
        cr_assert_eq(shard_jobs(s)->count, layers[i].started);
        cr_assert_eq(shard_jobs(s)->under_way, layers[i].started - layers[i].done);
        for (unsigned k = 0; k < JOBS; k++) {
            cr_assert_leq(layers[i].tasks[k].worked, 1);
            cr_assert_leq(layers[i].tasks[k].done, layers[i].tasks[k].worked);
            worked += layers[i].tasks[k].worked;
        }
    }
    cr_assert_eq(started, n * JOBS);
    cr_assert(leave || (done == started && worked == started));
    cr_assert_eq(shards_destroy(all), 0);
}

static void run_all(void) {
    static const unsigned counts[] = {1, 2, SHARDS_HERE_MAX};
    for (unsigned i = 0; i < COUNT_OF(counts); i++)
        for (unsigned how = 0; how < 4; how++)
            run(counts[i], how % 2 == 0 ? LOOP_URING : LOOP_EPOLL, how / 2 != 0);
}

Test(shard_job, inv1_done_once_on_the_owner) {
    run_all();
}

Test(shard_job, inv1_without_a_thread) {
    refused = true;
    run_all();
}

/* Nobody waits for those that have not begun; the one that has, ends before anything goes. */
Test(shard_job, stop_while_jobs_wait) {
    leave = slow = true;
    run_all();
}
