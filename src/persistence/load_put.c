/* load_put.c: records into the keyspace of the shard that they belong to. */
#include "anax/val.h"
#include "load_impl.h"
#include "rdb_read_impl.h"
#include "shards/clock.h"
#include "shards/evict.h"
#include <string.h>

enum { LOOK_AHEAD = 8 };

/* --- one record --- */

static ON_SHARD void drop(struct shard *s, const struct value *v) {
    if (v->repr != REPR_OBJECT || v->object == NULL)
        return;
    if (v->type == VALUE_STRING)
        blob_unpin(&s->mem, v->object);
    else
        keyspace_bury(s->keyspace, v->object);
}

/* --- times of a set's members --- */

/* time_members: what the fields before the record say; *value is what is to be stored after that. */
static enum rdb_result time_members(struct load_at *a, struct rdb_in *in, const struct record *r,
                                    struct value *value) {
    struct shard *s = a->shard;
    struct rdb_in before = {.at = r->member_times, .end = r->key};
    enum rdb_result result =
        rdb_get_times(&before, &a->times, instance_of(s)->config, s->wall_ms, value);
    in->why = before.why;
    in->bad = r->member_times;
    return result;
}

/* --- values that take long --- */

static void heavy_work(struct job *j) {
    struct heavy *h = CONTAINER_OF(j, struct heavy, job);
    h->result = rdb_decode_value(&h->in, h->type, &h->scratch, h->limits, h->now_ms, &h->value);
}

static void heavy_done(struct shard *s, struct job *j) {
    shard_claim();
    struct load_at *a = persistence_of(s)->load_at;
    (void)j;
    a->heavy.state = HEAVY_DONE;
    timer_set(s->loop, &a->timer, loop_now_ns(s->loop));
}

static bool is_expired(const struct shard *s, const struct record *r) {
    return r->expires && r->expire_ms < s->wall_ms;
}

/* heavy_waits: is the record's value being decoded beside the shard? What there is no memory for is decoded here. */
static ON_SHARD bool heavy_waits(struct load_at *a, const struct batch *b, const struct record *r) {
    struct heavy *h = &a->heavy;
    if (h->state != HEAVY_NONE)
        return h->state == HEAVY_RUNS;
    if (is_expired(a->shard, r))
        return false;
    *h = (struct heavy){.in = {.at = r->key, .end = r->end, .valkey = b->valkey},
                        .type = r->type,
                        .now_ms = a->shard->wall_ms};
    if (rdb_skip_string(&h->in) != RDB_OK ||
        (h->limits = config_clone(instance_of(a->shard)->config)) == NULL)
        return false;
    h->mem.fail_in = a->shard->mem.fail_in; /* fault injection reaches beside the shard */
    h->mem.fail_every = a->shard->mem.fail_every;
    h->scratch.mem = &h->mem;
    h->state = HEAVY_RUNS;
    h->job.work = heavy_work;
    h->job.done = heavy_done;
    job_start(a->shard, &h->job);
    return true;
}

static ON_SHARD enum rdb_result heavy_take(struct load_at *a, struct rdb_in *in, struct value *v) {
    struct heavy *h = &a->heavy;
    struct mem *m = &a->shard->mem;
    mem_charge(m, h->mem.used_bytes);
    config_free(h->limits);
    mem_free(m, a->value.bytes, a->value.cap);
    a->value = h->scratch; /* the value may lie in it */
    a->value.mem = m;
    *in = h->in;
    *v = h->value;
    h->state = HEAVY_NONE;
    return h->result;
}

static bool is_heavy(const struct record *r) {
    return r->end - r->key > LOAD_HEAVY_BYTES && r->type != RDB_STRING;
}

/* --- putting --- */

static ON_SHARD enum rdb_result store(struct load_at *a, struct batch *b, const struct record *r,
                                      struct span key, struct value *v) {
    struct shard *s = a->shard;
    struct table *t = keyspace_table(s->keyspace, r->db);
    if (t == NULL)
        return RDB_NOMEM;
    uint64_t before = table_count(t);
    int64_t expire_ms = !r->expires                    ? EXPIRE_NEVER
                        : r->expire_ms < EXPIRE_MS_MAX ? r->expire_ms
                                                       : EXPIRE_MS_MAX;
    v->access = access_told(keyspace_access(s->keyspace), s->wall_ms, (int64_t)r->idle_s, r->freq);
    if (table_put(t, key, r->hash, v, expire_ms) == NULL)
        return RDB_NOMEM;
    v->object = NULL; /* the entry's */
    watch_changed(s, r->db, r->hash);
    if (likely(table_count(t) != before))
        return RDB_OK;
    if (!b->replace) {
        b->why = "a key that is there already";
        b->bad = r->start;
        return RDB_CORRUPT;
    }
    keyspace_count_gone(s->keyspace, t, s->wall_ms);
    return RDB_OK;
}

static ON_SHARD enum rdb_result put(struct load_at *a, struct batch *b, const struct record *r) {
    struct shard *s = a->shard;
    struct rdb_in in = {.at = r->key, .end = r->end, .valkey = b->valkey};
    struct span key;
    struct value v = {0};
    if (unlikely(is_expired(s, r)) && a->heavy.state == HEAVY_NONE) {
        b->expired++;
        return RDB_OK;
    }
    enum rdb_result result = rdb_get_string(&in, &a->key, &key);
    if (unlikely(a->heavy.state == HEAVY_DONE)) {
        enum rdb_result heavy = heavy_take(a, &in, &v);
        result = result == RDB_OK ? heavy : result;
    } else if (likely(result == RDB_OK)) {
        result = rdb_decode_value(&in, r->type, &a->value, instance_of(s)->config, s->wall_ms, &v);
    }
    if (likely(result == RDB_OK) && unlikely(v.repr == REPR_OBJECT && v.object == NULL)) {
        b->empty++;
        return RDB_OK;
    }
    if (unlikely(r->member_times != NULL) && result == RDB_OK && v.type == VALUE_SET)
        result = time_members(a, &in, r, &v);
    b->why = in.why;
    b->bad = in.bad;
    if (likely(result == RDB_OK))
        result = store(a, b, r, key, &v);
    if (unlikely(result != RDB_OK))
        drop(s, &v);
    return result;
}

static ON_SHARD void fetch(const struct shard *s, const struct batch *b, uint32_t i) {
    if (i >= b->count)
        return;
    const struct table *t = keyspace_peek_table(s->keyspace, b->record[i].db);
    if (t != NULL)
        table_prefetch(t, b->record[i].hash);
}

struct batch *put_batch(struct load_at *a, uint64_t until_ns) {
    enum { CLOCK_BYTES = 64 * 1024 }; /* of values, after which the time is looked at */
    struct batch *b = a->first;
    size_t bytes = 0;
    if (b == NULL)
        return NULL;
    for (uint32_t i = 0; i < LOOK_AHEAD; i++)
        fetch(a->shard, b, b->done + i);
    while (b->done < b->count) {
        const struct record *r = &b->record[b->done];
        fetch(a->shard, b, b->done + LOOK_AHEAD);
        if (unlikely(is_heavy(r)) && heavy_waits(a, b, r))
            return NULL;
        b->result = put(a, b, r);
        if (unlikely(b->result != RDB_OK))
            break;
        b->done++;
        bytes += (size_t)(r->end - r->start);
        if (unlikely(bytes >= CLOCK_BYTES) && b->done < b->count) {
            bytes = 0;
            if (clock_fine_ns() >= until_ns)
                return NULL;
        }
    }
    a->first = b->next;
    if (a->first == NULL)
        a->last = &a->first;
    return b;
}

/* --- batches that come and go --- */

static void back_run(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct batch *b = CONTAINER_OF(m, struct batch, back);
    (void)home;
    load_batch_back(b->load, b);
}

/* nothing: batches go both ways as messages of their own, since a shard keeps them for some turns. */
static void nothing(struct shard *s, struct bus_msg *m) {
    (void)s;
    (void)m;
}

void put_gone(struct shard *home, struct bus_msg *m) {
    nothing(home, m);
}

void put_go(struct shard *at, struct bus_msg *m) {
    shard_claim();
    put_receive(persistence_of(at)->load_at, CONTAINER_OF(m, struct batch, go));
}

void put_receive(struct load_at *a, struct batch *b) {
    b->next = NULL;
    *a->last = b;
    a->last = &b->next;
    if (a->load == NULL && a->timer.due_ns == 0) /* home has its own timer */
        errand_leave(a->shard, &a->errand);
}

void put_slice(struct load_at *a) {
    struct shard *s = a->shard;
    uint64_t until = clock_fine_ns() + LOAD_SLICE_NS;
    struct batch *b;
    while ((b = put_batch(a, until)) != NULL) {
        b->back = (struct bus_msg){.run = back_run, .done = nothing, .to = b->load->home->id};
        shard_post(s, &b->back);
        if (clock_fine_ns() >= until)
            break;
    }
    if (a->first != NULL && a->heavy.state != HEAVY_RUNS)
        timer_set(s->loop, &a->timer, loop_now_ns(s->loop));
}

static void scratch_free(struct rdb_scratch *s) {
    mem_free(s->mem, s->bytes, s->cap);
    s->bytes = NULL;
    s->cap = 0;
}

void put_forget(struct load_at *a) {
    scratch_free(&a->key);
    scratch_free(&a->value);
    scratch_free(&a->times);
}
