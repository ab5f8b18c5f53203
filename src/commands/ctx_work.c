/* ctx_work.c: see anax/work.h, and anax/command.h for how handlers use it. */
#include "anax/command.h"
#include "anax/instance.h"
#include "shards/assert.h"

static ON_SHARD bool is_long(const struct ctx *c, uint64_t elements) {
    return unlikely(elements >= instance_of(c->shard)->long_elements) && c->work != NULL;
}

bool ctx_long(struct ctx *c, uint64_t elements) {
    if (likely(!is_long(c, elements)) || c->locked)
        return false;
    c->more = true;
    return true;
}

/* leave: w is to be done; the handler is called again then. */
static ON_SHARD void leave(struct ctx *c, struct work *w, work_fn *fn, const void *state,
                           size_t bytes) {
    const struct mem *m = &c->shard->mem;
    *w = (struct work){.fn = fn, .bytes = bytes};
    w->mem.fail_in = m->fail_in; /* fault injection reaches beside the shard */
    w->mem.fail_every = m->fail_every;
    memcpy(w->state, state, bytes);
    *c->work = w;
    c->more = true;
}

bool ctx_work(struct ctx *c, uint64_t elements, work_fn *fn, void *state, size_t bytes) {
    struct mem *m = &c->shard->mem;
    struct work *w = NULL;
    if (is_long(c, elements) && c->locked)
        w = mem_alloc(m, sizeof *w + bytes);
    if (w == NULL) { /* it is short, or there is no memory to do without stalling others */
        fn(state, m);
        return true;
    }
    leave(c, w, fn, state, bytes);
    return false;
}

bool ctx_lock(struct ctx *c) {
    if (c->locked || c->work == NULL)
        return false;
    c->more = true;
    return true;
}

bool ctx_wait(struct ctx *c, work_fn *fn, void (*wait)(struct shard *s, struct work *w),
              void *state, size_t bytes) {
    if (c->work == NULL || !c->locked)
        return false;
    struct work *w = mem_alloc(&c->shard->mem, sizeof *w + bytes);
    if (w == NULL)
        return false;
    leave(c, w, fn, state, bytes);
    w->wait = wait;
    return true;
}

struct work *ctx_await(struct ctx *c, const void *state, size_t bytes) {
    struct work *w = mem_alloc(&c->shard->mem, sizeof *w + bytes);
    if (w == NULL)
        return NULL;
    leave(c, w, NULL, state, bytes);
    return w;
}

bool ctx_resume(struct ctx *c, void *state, size_t bytes) {
    struct work *w = c->work == NULL ? NULL : *c->work;
    if (likely(w == NULL))
        return false;
    ASSERT(w->bytes == bytes);
    memcpy(state, w->state, bytes);
    *c->work = NULL;
    mem_charge(&c->shard->mem, w->mem.used_bytes);
    mem_free(&c->shard->mem, w, sizeof *w + bytes);
    return true;
}

static void work_run(struct job *j) {
    struct work *w = CONTAINER_OF(j, struct work, job);
    w->fn(w->state, &w->mem);
}

static void work_done(struct shard *s, struct job *j) {
    shard_claim();
    struct work *w = CONTAINER_OF(j, struct work, job);
    if (w->wait != NULL)
        w->wait(s, w);
    else
        w->then(s, w->arg);
}

static void nothing(struct shard *s, struct bus_msg *m) {
    (void)s;
    (void)m;
}

static void end_done(struct shard *s, struct bus_msg *m) {
    struct work *w = CONTAINER_OF(m, struct work, end);
    w->then(s, w->arg);
}

/* end_soon: not at once: the end may come from anywhere. */
static ON_SHARD void end_soon(struct shard *s, struct work *w) {
    w->end = (struct bus_msg){.run = nothing, .done = end_done, .to = s->id};
    shard_post(s, &w->end);
}

void work_end(struct shard *s, struct work *w) {
    w->ended = true;
    if (w->then != NULL)
        end_soon(s, w);
}

void work_start(struct shard *s, struct work *w, void (*then)(struct shard *s, void *arg),
                void *arg) {
    w->then = then;
    w->arg = arg;
    if (w->fn == NULL) {
        if (w->ended)
            end_soon(s, w);
        return;
    }
    w->job.work = work_run;
    w->job.done = work_done;
    job_start(s, &w->job);
}
