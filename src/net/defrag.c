/* defrag.c: when memory is defragmented, and how much of the core that may take.
 *
 * Once a second the allocator is asked what its slabs have free. When that is more than active-defrag-ignore-bytes, and
 * more than active-defrag-threshold-lower percent of what is in use, a walk over all keys begins (shards/defrag.h), in
 * slices of SLICE_NS between commands, with pauses between them so that it takes a share of the core:
 * active-defrag-cycle-min percent at threshold-lower, active-defrag-cycle-max at threshold-upper. When the loop comes
 * late, because it has much to do, the slice is longer, up to SLICE_MAX_NS: with SLICE_NS always, a walk beside clients
 * at pipeline 500 took 7 s, and takes 1 s. A walk goes to its end: what was sparse when it began is empty then. When it
 * has gained much, as after many deletes, which may still go on, others follow until less than threshold-lower is left,
 * however few bytes that is; when it has gained little, there is none for a while, unless more becomes free.
 */
#include "anax/metrics.h"
#include "net_impl.h"
#include "shards/clock.h"
#include "shards/log.h"

enum {
    SLICE_NS = 25000,
    SLICE_MAX_NS = 100000,
    LATE_NS = 16 * SLICE_NS,
    SLICE_ALLOCATIONS = 8, /* after which the clock is looked at */
    WAIT_MAX_S = 64,
    GAIN_PART = 8 /* a walk after which more is left of what was free has gained little */
};

/* slice_due_ns: when the loop comes late, its share of the time since the last one ended. */
static uint64_t slice_due_ns(const struct net_defrag *d, uint64_t now_ns) {
    uint64_t since = now_ns - d->sliced_ns, due = since * d->percent / (100 - d->percent);
    if (since < LATE_NS || due < SLICE_NS)
        return SLICE_NS;
    return due < SLICE_MAX_NS ? due : SLICE_MAX_NS;
}

/* slice: false: the walk is at its end. */
static ON_SHARD bool slice(struct net *n) {
    struct net_defrag *d = &n->defrag;
    const struct config *c = n->instance->config;
    unsigned step =
        c->defrag_scan_max < SLICE_ALLOCATIONS ? (unsigned)c->defrag_scan_max : SLICE_ALLOCATIONS;
    uint64_t from = clock_fine_ns(), due = slice_due_ns(d, from), ns;
    bool more;
    do {
        more = defrag_some(n->shard->keyspace, &d->walk, step);
        ns = clock_fine_ns() - from;
    } while (more && ns < due);
    d->used_ns += ns;
    d->sliced_ns = from + ns;
    observe_event(n->shard, LATENCY_DEFRAG_CYCLE, ns);
    return more;
}

static ON_SHARD void walk_end(struct net *n) {
    struct net_defrag *d = &n->defrag;
    uint64_t ns = n->shard->now_ns - d->began_ns;
    mover_uncache();
    d->over_ns += ns;
    d->percent = 0;
    d->over = true;
    LOGV("shard %u: defragmentation moved %lu bytes in %lu ms", n->shard->id,
         (unsigned long)(d->walk.mover.moved_bytes - d->moved_bytes),
         (unsigned long)(ns / 1000000));
}

static ON_SHARD void walk_go_on(struct net *n) {
    struct net_defrag *d = &n->defrag;
    bool again = n->instance->defrag_all, wanted = again || n->instance->config->activedefrag;
    if (!wanted || (!slice(n) && !again)) {
        walk_end(n);
        return;
    }
    d->walk.mover.everything = again;
    uint64_t pause_ns = SLICE_NS * (uint64_t)(100 - d->percent) / d->percent;
    timer_set(n->shard->loop, &d->timer, clock_mono_ns() + pause_ns);
}

static void fire(struct timer *t) {
    shard_claim();
    walk_go_on(t->arg);
}

/* effort: percent of the core for so much that is free. */
static unsigned effort(const struct config *c, uint64_t free_percent) {
    int64_t low = c->defrag_cycle_min, high = c->defrag_cycle_max, share = high;
    int64_t from = c->defrag_lower_percent, to = c->defrag_upper_percent;
    if ((int64_t)free_percent < to && from < to)
        share = low + (high - low) * ((int64_t)free_percent - from) / (to - from);
    return (unsigned)(share < low ? low : share > 99 ? 99 : share);
}

/* note_gain: the first look after a walk. */
static void note_gain(struct net_defrag *d, size_t free_bytes) {
    bool gained = free_bytes < d->free_bytes - d->free_bytes / GAIN_PART;
    unsigned wait_s = d->last_wait_s == 0 ? 1 : d->last_wait_s * 2;
    d->over = false;
    d->again = gained;
    d->wait_s = d->last_wait_s = gained ? 0 : wait_s < WAIT_MAX_S ? wait_s : WAIT_MAX_S;
    d->free_bytes = free_bytes;
}

static ON_SHARD void walk_begin(struct net *n, unsigned percent, size_t free_bytes) {
    struct net_defrag *d = &n->defrag;
    d->percent = percent;
    d->free_bytes = free_bytes;
    d->began_ns = n->shard->now_ns;
    d->sliced_ns = clock_fine_ns();
    d->moved_bytes = d->walk.mover.moved_bytes;
    d->walk.mover.everything = n->instance->defrag_all;
    timer_set(n->shard->loop, &d->timer, d->began_ns + 1);
}

void defrag_look(struct net *n) {
    struct net_defrag *d = &n->defrag;
    const struct config *c = n->instance->config;
    struct move_sample s;
    if (n->instance->defrag_all && d->percent == 0)
        walk_begin(n, (unsigned)c->defrag_cycle_max, 0);
    if (n->instance->defrag_all || !c->activedefrag ||
        !mover_look(&d->walk.mover, (unsigned)c->defrag_lower_percent, &s))
        return;
    uint64_t free_percent = s.free_bytes * 100 / (s.allocated_bytes + 1);
    unsigned percent = effort(c, free_percent);
    if (d->percent != 0) {
        d->percent = percent > d->percent ? percent : d->percent;
        return;
    }
    if (d->over)
        note_gain(d, s.free_bytes);
    if (s.movable_bytes == 0 || (int64_t)free_percent < c->defrag_lower_percent) {
        d->again = false;
        d->wait_s = d->last_wait_s = 0;
        return;
    }
    if (!d->again && s.free_bytes <= (uint64_t)c->defrag_ignore_bytes)
        return;
    mover_uncache(); /* also while this shard waits: the others' walks need it */
    if (d->wait_s != 0 && s.free_bytes < d->free_bytes + d->free_bytes / GAIN_PART)
        d->wait_s--;
    else
        walk_begin(n, percent, s.free_bytes);
}

void defrag_init(struct net *n) {
    n->defrag.timer.fire = fire;
    n->defrag.timer.arg = n;
}

void defrag_stop(struct net *n) {
    timer_clear(n->shard->loop, &n->defrag.timer);
}

/* --- what INFO tells --- */

static const struct net_defrag *of(const struct shard *s) {
    return &instance_of(s)->net->defrag;
}

static int64_t read_running(struct shard *s) {
    return of(s)->percent;
}

static int64_t read_hits(struct shard *s) {
    return (int64_t)of(s)->walk.mover.moved;
}

static int64_t read_misses(struct shard *s) {
    return (int64_t)of(s)->walk.mover.stayed;
}

static int64_t read_key_hits(struct shard *s) {
    return (int64_t)of(s)->walk.keys_moved;
}

static int64_t read_key_misses(struct shard *s) {
    return (int64_t)of(s)->walk.keys_stayed;
}

static uint64_t current_ns(const struct shard *s) {
    return of(s)->percent == 0 ? 0 : s->now_ns - of(s)->began_ns;
}

static int64_t read_current_ms(struct shard *s) {
    return (int64_t)(current_ns(s) / 1000000);
}

static int64_t read_total_ms(struct shard *s) {
    return (int64_t)((of(s)->over_ns + current_ns(s)) / 1000000);
}

static int64_t read_cpu_ms(struct shard *s) {
    return (int64_t)(of(s)->used_ns / 1000000);
}

static const struct metric metrics[] = {
    {"memory", "active_defrag_running", read_running},
    {"stats", "active_defrag_hits", read_hits},
    {"stats", "active_defrag_misses", read_misses},
    {"stats", "active_defrag_key_hits", read_key_hits},
    {"stats", "active_defrag_key_misses", read_key_misses},
    {"stats", "active_defrag_cpu_milliseconds", read_cpu_ms},
    {"most", "total_active_defrag_time", read_total_ms},
    {"most", "current_active_defrag_time", read_current_ms},
};

static void reset(struct shard *s) {
    struct net_defrag *d = &instance_of(s)->net->defrag;
    struct mover *v = &d->walk.mover;
    v->moved = v->stayed = v->moved_bytes = d->moved_bytes = 0;
    d->walk.keys_moved = d->walk.keys_stayed = 0;
    d->over_ns = d->used_ns = 0;
    d->began_ns = s->now_ns;
}

void defrag_register(void) {
    metrics_register(metrics, COUNT_OF(metrics));
    metrics_reset_register(reset);
}
