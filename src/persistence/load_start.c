/* load_start.c: the dataset that a server starts with, and what INFO tells of a load. */
#include "anax/metrics.h"
#include "load_impl.h"
#include "shards/log.h"
#include <stdio.h>
#include <string.h>

/* --- at the start --- */

/* Made by the last shard, used on shard 0, gone when the dataset is there. */
struct starting {
    struct bus_msg msg;
    struct load_request request;
    load_at_start_fn *done;
    char path[2 * CONFIG_TEXT_MAX + 2];
};

static void loaded(struct shard *home, struct load_request *r) {
    shard_claim();
    struct starting *st = r->arg;
    load_at_start_fn *done = st->done;
    bool failed = r->failed;
    mem_free(&home->mem, st, sizeof *st);
    if (!persistence_of(home)->stopping)
        done(home, !failed);
}

static void start_run(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct starting *sent = CONTAINER_OF(m, struct starting, msg);
    if (persistence_of(home)->stopping) /* nobody would give up what begins now */
        return;
    struct starting *st = mem_alloc(&home->mem, sizeof *st);
    if (st == NULL) {
        LOGW("Error loading the dataset: no memory");
        sent->done(home, false);
        return;
    }
    *st = *sent;
    st->request.path = st->path;
    st->request.arg = st;
    load_start(home, &st->request);
}

static void start_done(struct shard *last, struct bus_msg *m) {
    struct starting *st = CONTAINER_OF(m, struct starting, msg);
    mem_free(&last->mem, st, sizeof *st);
}

void load_at_start(struct shard *last, load_at_start_fn *done) {
    const struct config *c = instance_of(last)->config;
    struct starting *st = mem_zalloc(&last->mem, sizeof *st);
    if (st == NULL) {
        done(last, false);
        return;
    }
    if (c->rdb_name[0] != '\0') /* else there is no such file, as in Redis */
        (void)snprintf(st->path, sizeof st->path, "%s/%s", c->dir, c->rdb_name);
    st->done = done;
    st->request = (struct load_request){.at_start = true, .done = loaded};
    st->msg = (struct bus_msg){.run = start_run, .done = start_done, .to = 0};
    shard_post(last, &st->msg);
}

/* --- INFO --- */

static const struct load *load_of(const struct shard *s) {
    const struct persistence *p = persistence_of(s);
    return p == NULL || p->load_at == NULL ? NULL : p->load_at->load;
}

/* Of shard 0, which stands for all. */
static int64_t read_loading(struct shard *s) {
    return s->id == 0 && instance_of(s)->loading;
}

static int64_t read_start(struct shard *s) {
    const struct load *l = load_of(s);
    return l == NULL ? 0 : l->began_s;
}

static int64_t read_total(struct shard *s) {
    const struct load *l = load_of(s);
    return l == NULL ? 0 : (int64_t)l->bytes;
}

static int64_t read_used_mem(struct shard *s) {
    const struct load *l = load_of(s);
    return l == NULL ? 0 : (int64_t)l->used_mem;
}

static int64_t read_bytes(struct shard *s) {
    const struct load *l = load_of(s);
    return l == NULL || l->piece == NULL ? 0
                                         : (int64_t)piece_offset(l->piece, l->piece->bytes + l->at);
}

static int64_t read_keys(struct shard *s) {
    const struct persistence *p = persistence_of(s);
    return p == NULL ? 0 : (int64_t)p->load_keys;
}

static int64_t read_expired(struct shard *s) {
    const struct persistence *p = persistence_of(s);
    return p == NULL ? 0 : (int64_t)p->load_keys_expired;
}

static const struct metric metrics[] = {
    {"persistence", "loading", read_loading},
    {"persistence", "rdb_last_load_keys_expired", read_expired},
    {"persistence", "rdb_last_load_keys_loaded", read_keys},
    {"loading", "loading_start_time", read_start},
    {"loading", "loading_total_bytes", read_total},
    {"loading", "loading_rdb_used_mem", read_used_mem},
    {"loading", "loading_loaded_bytes", read_bytes},
};

void load_register(void) {
    metrics_register(metrics, COUNT_OF(metrics));
}
