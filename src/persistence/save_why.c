/* save_why.c: what makes a save begin beside commands: save points, FLUSHALL, and the server's end. */
#include "anax/metrics.h"
#include "saves_impl.h"
#include "shards/log.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Set by the thread that waits for signals: there was one; and it has not turned out that the server goes on all the same. */
static atomic_bool terminated, terminating;

/* --- save points --- */

static bool may_try(const struct saves *v, int64_t now_s) {
    return !v->last_failed || now_s - v->last_try_s > SAVE_RETRY_S;
}

static ON_SHARD void look_at_points(struct saves *v, int64_t now_s) {
    const struct config_saves *c = &instance_of(v->shard)->config->save;
    int64_t changes = 0;
    if (c->count == 0 || !may_try(v, now_s))
        return;
    for (unsigned i = 0; i < v->tx.part_count; i++)
        changes += atomic_load_explicit(&v->peers[i].changes, memory_order_relaxed);
    for (unsigned i = 0; i < c->count; i++) {
        const struct config_save *p = &c->point[i];
        if (changes < p->changes || now_s - v->last_save_s <= p->s)
            continue;
        LOGN("%ld changes in %ld seconds. Saving...", (long)p->changes, (long)p->s);
        saves_begin(v, SAVE_BACKGROUND, NULL);
        return;
    }
}

/* tick: on every shard, which tells home of its changes so. */
static void tick(struct shard *s) {
    shard_claim();
    const struct instance *in = instance_of(s);
    if (in->persistence == NULL || in->persistence->stopping)
        return;
    struct saves *v = saves_of(s);
    atomic_store_explicit(&v->peers[s->id].changes, (int64_t)(in->changes - in->changes_saved),
                          memory_order_relaxed);
    if (s->id != 0 || saves_busy(v) || in->loading)
        return;
    int64_t now_s = s->wall_ms / 1000;
    if (v->scheduled && may_try(v, now_s)) {
        v->scheduled = false;
        saves_begin(v, SAVE_BACKGROUND, NULL);
        return;
    }
    look_at_points(v, now_s);
}

/* --- FLUSHALL --- */

/* flushed: what is being saved is not there any more, and is not to come back with the next start: so, when there are save points,
 * the empty dataset is saved at once. */
static void flushed(struct shard *s) {
    shard_claim();
    struct saves *v = saves_of(s);
    if (v->stopping)
        return;
    v->flushed = instance_of(s)->config->save.count != 0;
    if (v->kind == SAVE_BACKGROUND)
        (void)saves_cancel(v);
    saves_pump_soon(v);
}

/* --- the end of the server --- */

bool save_wanted_at_end(const struct shard *home) {
    const struct instance *in = instance_of(home);
    return in->config->save.count != 0 && !in->loading;
}

void save_last(struct saves *v, struct save_call *c) {
    bool under_way = saves_busy(v) && v->kind == SAVE_LAST; /* what comes of it is for all */
    list_add_tail(under_way ? &v->calls : &v->last_calls, &c->link);
    if (v->stopping)
        return;
    v->stopping = true;
    if (saves_busy(v) && saves_cancel(v))
        LOGW("There is a save in progress, which is given up for the last one");
    saves_pump_soon(v);
}

static void terminate_done(struct shard *home, struct save_call *c, const char *error) {
    (void)c;
    if (error == NULL) {
        shards_stop(home->all);
        return;
    }
    LOGW("SIGTERM received but errors trying to shut down the server, check the logs for more "
         "information");
    atomic_store(&terminating, false); /* the next signal is another try */
}

void persistence_terminate(struct shards *all) {
    atomic_store(&terminating, true);
    atomic_store(&terminated, true);
    loop_wake(NULL, shards_get(all, 0)->loop);
}

bool persistence_terminating(void) {
    return atomic_load(&terminating);
}

void persistence_turn_end(struct shard *s) {
    if (likely(!atomic_load_explicit(&terminated, memory_order_relaxed)) || s->id != 0 || s->lent)
        return;
    shard_claim();
    struct saves *v = saves_of(s);
    atomic_store(&terminated, false);
    if (!save_wanted_at_end(s)) {
        shards_stop(s->all);
        return;
    }
    v->terminate.done = terminate_done;
    save_last(v, &v->terminate);
}

/* --- one after the other --- */

void save_why_go_on(struct saves *v) {
    if (saves_busy(v) || persistence_of(v->shard)->stopping)
        return;
    if (persistence_of(v->shard)->part->active)
        return; /* its last message is on its way, and comes back here */
    if (!list_empty(&v->last_calls)) {
        while (!list_empty(&v->last_calls)) {
            struct list *l = v->last_calls.next;
            list_del(l);
            list_add_tail(&v->calls, l);
        }
        saves_begin(v, SAVE_LAST, NULL);
        return;
    }
    if (v->flushed) {
        v->flushed = false;
        saves_begin(v, SAVE_ASKED, NULL);
    }
}

/* --- what dead servers left --- */

/* is_left_over: "temp-PID.rdb" of a process that is not there. */
static bool is_left_over(const char *name) {
    static const char prefix[] = "temp-", suffix[] = ".rdb";
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return false;
    char *end;
    long pid = strtol(name + sizeof prefix - 1, &end, 10);
    if (pid <= 0 || pid > INT32_MAX || strcmp(end, suffix) != 0)
        return false;
    return pid == getpid() || (kill((pid_t)pid, 0) != 0 && errno == ESRCH);
}

void save_clean_up(const char *dir) {
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        if (is_left_over(e->d_name) && unlinkat(dirfd(d), e->d_name, 0) == 0)
            LOGN("%s/%s is removed: the server that wrote it is gone", dir, e->d_name);
    (void)closedir(d);
}

void save_why_start(struct shard *s) {
    if (s->id != 0)
        return;
    instance_of(s)->flushed = flushed;
    save_clean_up(instance_of(s)->config->dir);
}

void save_why_register(void) {
    metrics_tick_register(tick);
}
