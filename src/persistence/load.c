/* load.c: a load from its beginning to its end.
 *
 * It is a transaction that has all of every shard exclusively, from before the databases are emptied until the last record is in
 * its table: nobody sees a part of it, and what was on its way when it began runs after it. At the start of the server nothing can
 * be on its way, and it locks nothing.
 */
#include "load_impl.h"
#include "shards/clock.h"
#include "shards/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum stage {
    STAGE_SCHEDULED,
    STAGE_EMPTIED, /* the hop that does it is under way */
    STAGE_OPENING,
    STAGE_READING,
    STAGE_CLOSING,
    STAGE_SETTLED /* the last hop is under way */
};

static struct load_at *load_at_of(const struct shard *s) {
    return persistence_of(s)->load_at;
}

bool load_running(const struct shard *s) {
    return instance_of(s)->loading || load_at_of(s)->load != NULL;
}

/* --- failing --- */

static void PRINTF_LIKE(3, 0)
    fail(struct load *l, const char *where, const char *fmt, va_list args) {
    struct load_request *r = l->request;
    if (l->giving_up)
        return;
    l->giving_up = r->failed = true;
    int n = snprintf(r->error, sizeof r->error, "%s: %s", r->path, where);
    if (n >= 0 && (size_t)n < sizeof r->error)
        (void)vsnprintf(r->error + n, sizeof r->error - (size_t)n, fmt, args);
}

void load_fail(struct load *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fail(l, "", fmt, args);
    va_end(args);
}

void load_fail_at(struct load *l, uint64_t offset, const char *fmt, ...) {
    char where[48];
    va_list args;
    (void)snprintf(where, sizeof where, "offset %lu: ", (unsigned long)offset);
    va_start(args, fmt);
    fail(l, where, fmt, args);
    va_end(args);
}

/* fail_record: one that could be cut, but not put. */
static void fail_record(struct load *l, const struct batch *b) {
    const struct record *r = &b->record[b->done];
    const struct piece *p = b->piece;
    struct rdb_in in = {.at = r->key, .end = r->end};
    struct span key = {0};
    if (b->result == RDB_NOMEM) {
        load_fail(l, "no memory");
        return;
    }
    bool inside = b->bad >= r->start && b->bad <= r->end;
    if (rdb_get_string(&in, &l->scratch, &key) != RDB_OK)
        key.len = 0;
    load_fail_at(l, piece_offset(p, inside ? b->bad : r->start), "%s (key '%.*s', database %u)",
                 b->why == NULL ? "what is no value" : b->why, (int)(key.len < 64 ? key.len : 64),
                 key.ptr == NULL ? "" : key.ptr, r->db);
}

/* --- reading --- */

static ON_SHARD void close_file(struct load *l);

static ON_SHARD void again(struct load *l, uint64_t in_ns) {
    struct loop *loop = l->home->loop;
    timer_set(loop, &load_at_of(l->home)->timer, loop_now_ns(loop) + in_ns);
}

void load_batch_back(struct load *l, struct batch *b) {
    uint64_t put = b->done - b->expired - b->empty;
    l->keys += put;
    l->expired += b->expired;
    l->empty += b->empty;
    if (unlikely(b->result != RDB_OK))
        fail_record(l, b);
    l->out[b->shard]--;
    l->batches_out--;
    b->piece->batches--;
    piece_back(l, b->piece);
    b->next = l->spares[b->shard];
    l->spares[b->shard] = b;
    if (!l->home->lent)
        again(l, 0);
}

/* delay: key-load-delay, for tests: so long until the next key. */
static uint64_t delay_ns(const struct load *l) {
    int64_t us = instance_of(l->home)->config->key_load_delay_us;
    return us > 0 ? (uint64_t)us * 1000 : 0;
}

/* cut_a_while: true when it got on. */
static ON_SHARD bool cut_a_while(struct load *l) {
    enum { AT_ONCE = 64 };
    unsigned n = 0, most = delay_ns(l) != 0 ? 1 : AT_ONCE;
    while (n < most && !l->giving_up && !l->ended && cut_some(l) < CUT_FULL)
        n++;
    cut_sum(l);
    return n != 0 || l->ended;
}

static ON_SHARD void slice(struct load *l) {
    struct load_at *a = load_at_of(l->home);
    uint64_t from = clock_fine_ns(), until = from + LOAD_SLICE_NS, delay = delay_ns(l);
    bool on;
    do {
        on = false;
        if (!l->ended && !l->giving_up)
            on = cut_a_while(l);
        if (l->ended || l->giving_up)
            cut_flush(l);
        if (!on || l->ended) {
            struct batch *b = put_batch(a, until);
            on = b != NULL;
            if (b != NULL)
                load_batch_back(l, b);
        }
        read_ahead(l);
    } while (on && delay == 0 && clock_fine_ns() < until);
    if ((l->ended || l->giving_up) && l->batches_out == 0 && !read_busy(l))
        close_file(l);
    else
        again(l, on || (a->first != NULL && a->heavy.state != HEAVY_RUNS) ? delay : LOAD_PAUSE_NS);
}

/* --- the file --- */

static void closed(struct loop *loop, struct file_request *r) {
    shard_claim();
    (void)loop;
    struct load *l = CONTAINER_OF(r, struct load, file);
    tx_unhold(l->home, &l->tx);
}

static ON_SHARD void close_file(struct load *l) {
    l->stage = STAGE_CLOSING;
    timer_clear(l->home->loop, &load_at_of(l->home)->timer);
    l->file = (struct file_request){.op = FILE_CLOSE, .fd = l->fd, .done = closed};
    file_start(l->home->loop, &l->file);
}

static void opened(struct loop *loop, struct file_request *r) {
    shard_claim();
    struct load *l = CONTAINER_OF(r, struct load, file);
    if (r->result == -ENOENT && l->request->at_start) {
        l->ended = true;
        tx_unhold(l->home, &l->tx);
        return;
    }
    if (r->result < 0) {
        load_fail(l, "cannot be opened: %s", strerror((int)-r->result));
        tx_unhold(l->home, &l->tx);
        return;
    }
    l->fd = (int)r->result;
    l->stage = STAGE_READING;
    int64_t size = file_size(loop, l->fd);
    if (size == -EINVAL)
        load_fail(l, "it is no regular file");
    else if (size < 0)
        load_fail(l, "%s", strerror((int)-size));
    else
        l->bytes = (uint64_t)size;
    read_ahead(l);
    again(l, 0);
}

static ON_SHARD void open_file(struct load *l) {
    l->stage = STAGE_OPENING;
    l->file = (struct file_request){
        .op = FILE_OPEN, .path = l->request->path, .flags = O_RDONLY | O_NONBLOCK, .done = opened};
    file_start(l->home->loop, &l->file);
}

/* --- on all shards as at one moment --- */

static ON_SHARD void empty(struct shard *at) {
    for (uint32_t db = 0; db < keyspace_databases(at->keyspace); db++) {
        watch_flushing(at, db);
        (void)keyspace_flush(at->keyspace, db);
    }
}

static void libraries_free(struct mem *m, struct library *lib) {
    for (struct library *after; lib != NULL; lib = after) {
        after = lib->next;
        mem_free(m, lib, sizeof *lib + lib->len);
    }
}

/* settle: what came of it. */
static ON_SHARD void settle(struct load *l) {
    struct persistence *ps = persistence_of(l->home);
    struct load_request *r = l->request;
    double s = (double)(l->home->now_ns - l->began_ns) / 1e9;
    r->keys = l->keys;
    r->expired = l->expired;
    if (r->failed) {
        if (ps->stopping)
            LOGN("%s: loading is given up, the server stops", r->path);
        else
            LOGW("Error loading the dataset: %s", r->error);
        return;
    }
    if (!l->begun) /* there is no file */
        return;
    ps->load_keys = l->keys;
    ps->load_keys_expired = l->expired;
    libraries_free(&l->home->mem, ps->libraries);
    ps->libraries = l->libraries;
    l->libraries = NULL;
    cut_report_modules(l);
    LOGN("Done loading RDB, keys loaded: %lu, keys expired: %lu, empty keys skipped: %lu.",
         (unsigned long)l->keys, (unsigned long)l->expired, (unsigned long)l->empty);
    LOGN("DB loaded from disk: %.3f seconds", s);
}

static void hop(struct shard *at, struct tx_part *p) {
    shard_claim();
    const struct load *l = CONTAINER_OF(p->tx, const struct load, tx);
    const struct load_request *r = l->request;
    if (l->stage == STAGE_EMPTIED) {
        instance_of(at)->loading = true;
        if (!r->keep)
            empty(at);
        return;
    }
    if (r->failed && !r->keep)
        empty(at);
    put_forget(load_at_of(at));
    /* A server that could not load its dataset, or stops, answers nothing any more that it would have to be there for. */
    instance_of(at)->loading = r->failed && (r->at_start || persistence_of(at)->stopping);
}

static ON_SHARD void hop_all(struct load *l, enum stage stage) {
    l->stage = (uint8_t)stage;
    for (unsigned i = 0; i < l->tx.part_count; i++) {
        l->parts[i].run = true;
        l->parts[i].release = stage == STAGE_SETTLED;
    }
    tx_hop(l->home, &l->tx);
}

static void next(struct shard *home, struct tx *t) {
    shard_claim();
    struct load *l = CONTAINER_OF(t, struct load, tx);
    if (t->failed) {
        load_fail(l, "no memory");
        settle(l);
        tx_end(home, t);
        return;
    }
    switch ((enum stage)l->stage) {
    case STAGE_SCHEDULED:
        if (l->request->held != NULL && !l->told_held) {
            l->told_held = true;
            if (l->request->held(home, l->request))
                tx_hold(t);
            else
                tx_end(home, t);
        } else if (l->request->failed) {
            tx_end(home, t);
        } else {
            hop_all(l, STAGE_EMPTIED);
        }
        break;
    case STAGE_EMPTIED:
        tx_hold(t);
        errand_leave(home, &load_at_of(home)->errand);
        break;
    case STAGE_OPENING:
    case STAGE_READING:
    case STAGE_CLOSING:
        settle(l); /* before anybody can ask */
        hop_all(l, STAGE_SETTLED);
        break;
    case STAGE_SETTLED:
        tx_end(home, t);
        break;
    }
}

void load_go_on(struct shard *home) {
    struct load *l = load_at_of(home)->load;
    ASSERT(l->stage == STAGE_SCHEDULED && l->told_held);
    tx_unhold(home, &l->tx);
}

/* --- the end --- */

static size_t load_bytes(unsigned shards) {
    return sizeof(struct load) +
           shards * (sizeof(struct tx_part) + 2 * sizeof(struct batch *) + sizeof(uint8_t));
}

static void ended(struct shard *home, struct tx *t) {
    shard_claim();
    struct load *l = CONTAINER_OF(t, struct load, tx);
    struct persistence *ps = persistence_of(home);
    struct load_request *r = l->request;
    libraries_free(&home->mem, l->libraries);
    ps->load_at->load = NULL;
    read_free(l);
    cut_free(l);
    mem_free(&home->mem, l, load_bytes(shards_count(home->all)));
    r->done(home, r);
}

/* --- the beginning --- */

static const struct tx_ops ops = {NULL, hop, next, ended};

void load_start(struct shard *home, struct load_request *r) {
    unsigned shards = shards_count(home->all);
    struct load *l = mem_zalloc(&home->mem, load_bytes(shards));
    ASSERT(home->id == 0 && load_at_of(home)->load == NULL);
    r->failed = false;
    r->keys = r->expired = 0;
    if (l == NULL) {
        r->failed = true;
        (void)snprintf(r->error, sizeof r->error, "%s: no memory", r->path);
        LOGW("Error loading the dataset: %s", r->error);
        r->done(home, r);
        return;
    }
    l->home = home;
    l->request = r;
    l->fd = -1;
    l->filling = (void *)(l->parts + shards);
    l->spares = l->filling + shards;
    l->out = (void *)(l->spares + shards);
    l->libraries_end = &l->libraries;
    l->scratch.mem = &home->mem;
    l->began_ns = home->now_ns;
    l->began_s = home->wall_ms / 1000;
    list_init(&l->pieces);
    list_init(&l->spare);
    l->tx.ops = &ops;
    l->tx.parts = l->parts;
    l->tx.part_count = (uint16_t)shards;
    for (unsigned i = 0; i < shards; i++) {
        l->parts[i].shard = (uint16_t)i;
        l->parts[i].whole = r->at_start ? TX_NONE : TX_EXCLUSIVE;
    }
    load_at_of(home)->load = l;
    tx_start(home, &l->tx);
}

/* --- what each shard has --- */

static void fire(struct timer *t) {
    shard_claim();
    struct load_at *a = t->arg;
    if (a->load == NULL)
        put_slice(a);
    else if (a->load->stage == STAGE_READING)
        slice(a->load);
}

static void run_errand(struct shard *s, struct errand *e) {
    shard_claim();
    struct load_at *a = CONTAINER_OF(e, struct load_at, errand);
    (void)s;
    if (a->load != NULL)
        open_file(a->load);
    else
        put_slice(a);
}

enum err load_shard_start(struct shard *s) {
    instance_of(s)->loading = true; /* until the dataset is there that the server starts with */
    struct load_at *a = mem_zalloc(&s->mem, sizeof *a);
    if (a == NULL)
        return ERR_NOMEM;
    a->shard = s;
    a->timer.fire = fire;
    a->timer.arg = a;
    a->errand.run = run_errand;
    a->last = &a->first;
    a->key.mem = a->value.mem = a->times.mem = &s->mem;
    persistence_of(s)->load_at = a;
    return OK;
}

void load_shard_stop(struct shard *s) {
    shard_claim();
    struct persistence *ps = persistence_of(s);
    libraries_free(&s->mem, ps->libraries);
    ps->libraries = NULL;
    if (ps->load_at == NULL)
        return;
    timer_clear(s->loop, &ps->load_at->timer);
    if (ps->load_at->heavy.state !=
        HEAVY_NONE) /* it did not end in time: a thread still reads it */
        return;
    put_forget(ps->load_at);
    mem_free(&s->mem, ps->load_at, sizeof *ps->load_at);
    ps->load_at = NULL;
}

void load_stopping(struct shard *s) {
    struct load *l = load_at_of(s)->load;
    if (l != NULL)
        load_fail(l, "the server stops");
}

bool load_idle(const struct shard *s) {
    const struct load_at *a = load_at_of(s);
    return a->load == NULL && a->first == NULL;
}
