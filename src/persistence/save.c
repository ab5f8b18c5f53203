/* save.c: a save from the cut to its end.
 *
 * The cut is a transaction that wants to read everything on every shard: so nobody who writes is in the middle of anything. It is
 * over at once, but for SAVE_LAST: there all who write wait until the file stands in its place, and then are
 * cut off without having been told that they have written.
 */
#include "saves_impl.h"
#include "shards/assert.h"
#include "shards/clock.h"
#include "shards/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static struct saves *saves_of_tx(struct tx *t) {
    return CONTAINER_OF(t, struct saves, tx);
}

static struct save_part *part_of(const struct saves *v, unsigned shard) {
    return persistence_of(shards_get(v->shard->all, shard))->part;
}

static unsigned shards_of(const struct saves *v) {
    return v->tx.part_count;
}

bool saves_busy(const struct saves *v) {
    return v->stage != SAVE_NONE;
}

void saves_pump_soon(struct saves *v) {
    errand_leave(v->shard, &v->errand);
}

/* --- who waits --- */

/* tell_calls: those that wait for this; they may start something new. */
static void tell_calls(struct saves *v, bool at_cut, const char *error) {
    struct list told;
    list_init(&told);
    for (struct list *l = v->calls.next, *next; l != &v->calls; l = next) {
        next = l->next;
        if (at_cut && !CONTAINER_OF(l, struct save_call, link)->at_cut)
            continue;
        list_del(l);
        list_add_tail(&told, l);
    }
    while (!list_empty(&told)) {
        struct save_call *c = CONTAINER_OF(told.next, struct save_call, link);
        list_del(&c->link);
        c->done(v->shard, c, error);
    }
}

/* --- giving up --- */

static void stop_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    (void)m;
    part_stop(persistence_of(at)->part);
}

static void stop_done(struct shard *home, struct bus_msg *m) {
    (void)home;
    CONTAINER_OF(m, struct save_peer, stop)->stopping = false;
}

/* stop_parts: their blocks are dropped from now on, and they walk to their end. */
static ON_SHARD void stop_parts(struct saves *v) {
    for (unsigned i = 0; i < shards_of(v); i++) {
        struct save_peer *p = &v->peers[i];
        if (p->stopping)
            continue;
        p->stopping = true;
        p->stop = (struct bus_msg){.run = stop_run, .done = stop_done, .to = (uint16_t)i};
        shard_post(v->shard, &p->stop);
    }
}

void saves_fail(struct saves *v, const char *fmt, ...) {
    va_list args;
    if (v->error[0] != '\0')
        return;
    va_start(args, fmt);
    (void)vsnprintf(v->error, sizeof v->error, fmt, args);
    va_end(args);
    if (v->stage == SAVE_WALK)
        stop_parts(v);
    saves_pump_soon(v);
}

bool saves_cancel(struct saves *v) {
    bool late = v->stage >= SAVE_RENAME;
    if (v->stage == SAVE_NONE || v->error[0] != '\0' || late)
        return false;
    v->cancelled = true;
    saves_fail(v, "cancelled");
    return true;
}

/* --- its end --- */

/* The shard's count of changes goes back by those that the file holds; and what it does with writes is known anew. */
static void result_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    const struct saves *v = saves_of(at);
    struct instance *in = instance_of(at);
    (void)m;
    if (v->error[0] == '\0')
        in->changes_saved = persistence_of(at)->part->changes;
    in->save_failed = v->last_failed;
}

static void result_done(struct shard *home, struct bus_msg *m);

static ON_SHARD void tell_shards(struct saves *v) {
    v->parts_left = shards_of(v);
    for (unsigned i = 0; i < shards_of(v); i++) {
        struct bus_msg *m = &v->peers[i].result;
        *m = (struct bus_msg){.run = result_run, .done = result_done, .to = (uint16_t)i};
        shard_post(v->shard, m);
    }
}

static void log_end(const struct saves *v) {
    const char *what = v->kind == SAVE_BACKGROUND ? "Background saving" : "Saving";
    if (v->error[0] != '\0')
        LOGW("%s %s%s", what, v->cancelled ? "" : "error: ", v->error);
    else
        LOGN("%s terminated with success: %lu bytes in %.3f s", what,
             (unsigned long)(v->offset + sizeof v->foot),
             (double)(clock_mono_ns() - v->began_ns) / 1e9);
}

static void note_end(struct saves *v) {
    bool failed = v->error[0] != '\0';
    int64_t now_s = v->shard->wall_ms / 1000;
    log_end(v);
    for (unsigned i = 0; i < shards_of(v); i++)
        v->last_bytes_peak += part_of(v, i)->bytes_peak;
    if (!failed) {
        v->last_save_s = now_s;
        v->saves++;
        v->last_failed = false;
    } else if (v->kind == SAVE_BACKGROUND && !v->cancelled) {
        v->last_failed = true;
    }
    if (v->kind == SAVE_BACKGROUND)
        v->last_time_s = now_s - v->began_s;
}

/* over: nothing of it is under way any more. */
static ON_SHARD void over(struct saves *v) {
    char error[SAVE_ERROR_MAX];
    bool failed = v->error[0] != '\0';
    memcpy(error, v->error, sizeof error);
    mem_free(&v->shard->mem, v->head, v->head_cap);
    v->head = NULL;
    v->head_len = v->head_cap = 0;
    if (v->kind == SAVE_LAST)
        v->stopping = !failed;
    v->stage = SAVE_NONE;
    tell_calls(v, false, failed ? error : NULL);
    saves_pump_soon(v);
}

static void result_done(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct saves *v = saves_of(home);
    (void)m;
    if (--v->parts_left == 0)
        over(v);
}

static ON_SHARD void end(struct saves *v) {
    note_end(v);
    tell_shards(v);
}

void saves_file_over(struct saves *v) {
    v->stage = SAVE_RELEASE;
    if (v->tx_over)
        end(v);
    else
        tx_unhold(v->shard, &v->tx);
}

/* --- the cut --- */

static void cut_hop(struct shard *at, struct tx_part *p) {
    shard_claim();
    struct saves *v = saves_of_tx(p->tx);
    if (v->stage == SAVE_CUT)
        persistence_of(at)->part->begun = part_begin(persistence_of(at)->part, v);
    else
        instance_of(at)->cut_off(at);
}

static ON_SHARD void hop_all(struct saves *v, bool last) {
    for (unsigned i = 0; i < shards_of(v); i++) {
        v->parts[i].run = true;
        v->parts[i].release = last;
    }
    tx_hop(v->shard, &v->tx);
}

static void go_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    (void)m;
    persistence_of(at)->part->free_to_go = true;
    part_go(persistence_of(at)->part);
}

static void go_done(struct shard *home, struct bus_msg *m) {
    (void)home;
    (void)m;
}

/* cut_made: every part has begun, or one of them has not, and then it comes to nothing. */
static ON_SHARD void cut_made(struct saves *v) {
    v->stage = SAVE_WALK;
    v->parts_left = 0;
    const char *error = NULL;
    for (unsigned i = 0; i < shards_of(v); i++) {
        const struct save_part *p = part_of(v, i);
        if (p->begun)
            v->parts_left++;
        if (!p->begun)
            error = p->error;
    }
    if (error == NULL && !rdb_file_head(v))
        error = "out of memory";
    for (unsigned i = 0; i < shards_of(v); i++) {
        struct bus_msg *m = &v->peers[i].go;
        *m = (struct bus_msg){.run = go_run, .done = go_done, .to = (uint16_t)i};
        shard_post(v->shard, m);
    }
    if (error != NULL)
        saves_fail(v, "%s", error);
    if (v->error[0] != '\0') /* or it was cancelled, or has failed, meanwhile */
        stop_parts(v);
    tell_calls(v, true, error);
    saves_pump_soon(v);
}

static void cut_next(struct shard *home, struct tx *t) {
    shard_claim();
    struct saves *v = saves_of_tx(t);
    if (t->failed) {
        if (!v->went_back)
            saves_fail(v, "out of memory");
        tx_end(home, t);
        return;
    }
    switch (v->stage) {
    case SAVE_CUT:
        if (!v->hopped) {
            v->hopped = true;
            hop_all(v, v->kind != SAVE_LAST);
            return;
        }
        cut_made(v);
        if (v->kind == SAVE_LAST)
            tx_hold(t);
        else
            tx_end(home, t);
        return;
    case SAVE_RELEASE:
        if (v->error[0] == '\0' && !v->cut_off) {
            v->cut_off = true;
            hop_all(v, false);
            return;
        }
        tx_end(home, t);
        return;
    default:
        ASSERT(false);
    }
}

static void cut_ended(struct shard *home, struct tx *t) {
    shard_claim();
    (void)home;
    struct saves *v = saves_of_tx(t);
    v->tx_over = true;
    if (t->failed)
        saves_pump_soon(v);
    else if (v->stage == SAVE_RELEASE)
        end(v);
}

static const struct tx_ops cut_ops = {.hop = cut_hop, .next = cut_next, .ended = cut_ended};

static ON_SHARD void cut_start(struct saves *v) {
    v->tx_over = v->went_back = false;
    v->tx.ops = &cut_ops;
    v->tx.parts = v->parts;
    for (unsigned i = 0; i < shards_of(v); i++)
        v->parts[i] = (struct tx_part){.shard = (uint16_t)i,
                                       .whole = v->kind == SAVE_HELD ? TX_NONE : TX_SHARED};
    tx_start(v->shard, &v->tx);
    saves_pump_soon(v); /* it may have to wait */
}

static bool waits_for_cut(const struct saves *v) {
    return v->stage == SAVE_CUT && !v->hopped;
}

static ON_SHARD void go_back(struct saves *v) {
    v->went_back = true;
    tx_give_up(v->shard, &v->tx);
}

static void patience_over(struct timer *t) {
    shard_claim();
    struct saves *v = t->arg;
    if (!waits_for_cut(v))
        return;
    if (!v->tx_over) {
        go_back(v);
        return;
    }
    v->patience_ns *= 2;
    if (v->patience_ns > SAVE_PATIENCE_MAX_NS)
        v->patience_ns = SAVE_PATIENCE_MAX_NS;
    cut_start(v);
}

/* look_after_cut: nobody waits for long for one that waits, nor for one that has failed meanwhile. */
static ON_SHARD void look_after_cut(struct saves *v) {
    if (!waits_for_cut(v))
        return;
    if (v->error[0] != '\0' && v->tx_over) {
        v->stage = SAVE_RELEASE;
        v->parts_left = 0;
        tell_calls(v, true, v->error);
        end(v);
        return;
    }
    if (v->error[0] != '\0') {
        go_back(v);
        return;
    }
    bool patient =
        v->kind == SAVE_LAST || clock_mono_ns() - v->began_ns >= SAVE_PATIENT_S * 1000000000ULL;
    if (v->patience.due_ns == 0 && (v->tx_over || !patient))
        timer_set(v->shard->loop, &v->patience,
                  loop_now_ns(v->shard->loop) + (v->tx_over ? SAVE_OTHERS : 1) * v->patience_ns);
}

void saves_begin(struct saves *v, enum save_kind kind, struct save_call *c) {
    const struct config *config = instance_of(v->shard)->config;
    ASSERT(v->stage == SAVE_NONE);
    if (c != NULL)
        list_add_tail(&v->calls, &c->link);
    v->stage = SAVE_CUT;
    v->kind = kind;
    v->cancelled = v->cut_off = v->hopped = false;
    v->error[0] = '\0';
    v->checksum = config->rdb_checksum;
    v->compress = config->rdb_compression;
    v->began_ns = clock_mono_ns();
    v->began_s = v->shard->wall_ms / 1000;
    v->patience_ns = SAVE_PATIENCE_NS;
    v->last_bytes_peak = 0;
    if (kind == SAVE_BACKGROUND)
        v->last_try_s = v->began_s;
    LOGN("%s started", kind == SAVE_BACKGROUND ? "Background saving" : "Saving");
    write_begin(v);
    cut_start(v);
}

/* --- the shard's --- */

static void errand_run(struct shard *s, struct errand *e) {
    shard_claim();
    (void)s;
    struct saves *v = CONTAINER_OF(e, struct saves, errand);
    look_after_cut(v);
    write_pump(v);
    save_why_go_on(v);
}

static struct saves *saves_create(struct shard *s) {
    unsigned n = shards_count(s->all);
    struct saves *v = mem_zalloc(&s->mem, sizeof *v + n * sizeof v->parts[0]);
    if (v == NULL)
        return NULL;
    v->peers = mem_zalloc(&s->mem, n * sizeof *v->peers);
    if (v->peers == NULL) {
        mem_free(&s->mem, v, sizeof *v + n * sizeof v->parts[0]);
        return NULL;
    }
    for (unsigned i = 0; i < n; i++)
        list_init(&v->peers[i].asks);
    v->shard = s;
    v->tx.part_count = (uint16_t)n;
    v->errand.run = errand_run;
    v->patience = (struct timer){.fire = patience_over, .arg = v};
    v->fd = v->dir_fd = -1;
    v->last_time_s = -1;
    v->last_save_s = s->wall_ms / 1000;
    list_init(&v->calls);
    list_init(&v->last_calls);
    list_init(&v->askers);
    return v;
}

static void saves_destroy(struct saves *v) {
    struct mem *m = &v->shard->mem;
    unsigned n = shards_of(v);
    if (v->temp_there) /* the server does not wait for it any longer */
        (void)unlink(v->temp);
    mem_free(m, v->head, v->head_cap);
    mem_free(m, v->peers, n * sizeof *v->peers);
    mem_free(m, v, sizeof *v + n * sizeof v->parts[0]);
}

bool save_shard_start(struct shard *s) {
    struct persistence *p = persistence_of(s);
    p->part = mem_zalloc(&s->mem, sizeof *p->part);
    if (p->part == NULL)
        return false;
    part_init(p->part, s);
    if (s->id == 0 && (p->saves = saves_create(s)) == NULL)
        return false;
    save_why_start(s);
    return true;
}

void save_shard_stopping(struct shard *s) {
    struct saves *v = persistence_of(s)->saves;
    shard_claim();
    if (v != NULL)
        (void)saves_cancel(v);
}

bool save_idle(struct shard *s) {
    const struct persistence *p = persistence_of(s);
    return !p->part->active && (p->saves == NULL || !saves_busy(p->saves));
}

void save_shard_stop(struct shard *s) {
    struct persistence *p = persistence_of(s);
    if (p->part != NULL) {
        timer_clear(s->loop, &p->part->timer);
        part_free(p->part);
        mem_free(&s->mem, p->part, sizeof *p->part);
    }
    if (p->saves != NULL) {
        timer_clear(s->loop, &p->saves->patience);
        saves_destroy(p->saves);
    }
}
