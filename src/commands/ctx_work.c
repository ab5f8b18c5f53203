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

bool ctx_work(struct ctx *c, uint64_t elements, work_fn *fn, void *state, size_t bytes) {
    struct mem *m = &c->shard->mem;
    struct work *w = NULL;
    if (is_long(c, elements) && c->locked)
        w = mem_alloc(m, sizeof *w + bytes);
    if (w == NULL) { /* it is short, or there is no memory to do without stalling others */
        fn(state, m);
        return true;
    }
    *w = (struct work){.fn = fn, .bytes = bytes};
    w->mem.fail_in = m->fail_in; /* fault injection reaches beside the shard */
    w->mem.fail_every = m->fail_every;
    memcpy(w->state, state, bytes);
    *c->work = w;
    c->more = true;
    return false;
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
    w->then(s, w->arg);
}

void work_start(struct shard *s, struct work *w, void (*then)(struct shard *s, void *arg),
                void *arg) {
    w->job.work = work_run;
    w->job.done = work_done;
    w->then = then;
    w->arg = arg;
    job_start(s, &w->job);
}
