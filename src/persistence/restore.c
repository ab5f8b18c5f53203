/* restore.c: RESTORE: a key from the payload of a DUMP, of this server or another.
 *
 * What a payload holds is always looked at to the last byte, as Redis does with sanitize-dump-payload yes: it comes
 * from whoever can send a command. */
#include "anax/command.h"
#include "anax/instance.h"
#include "anax/val.h"
#include "dump_impl.h"
#include "rdb_read_impl.h"
#include "shards/assert.h"
#include "shards/evict.h"

enum { ELEMENT_BYTES = 64, FREQUENCY_MAX = 255, NOT_GIVEN = -1 };

struct options {
    bool replace, absolute;
    int64_t idle_s, frequency; /* NOT_GIVEN */
};

static bool number_of(struct ctx *c, uint32_t i, int64_t max, const char *wrong, int64_t *out) {
    if (!ctx_get_int(c, i, out))
        return false;
    if (*out >= 0 && *out <= max)
        return true;
    reply_error(&c->reply, wrong);
    return false;
}

static bool read_options(struct ctx *c, struct options *o) {
    *o = (struct options){.idle_s = NOT_GIVEN, .frequency = NOT_GIVEN};
    for (uint32_t i = 4; i < c->argc; i++) {
        bool more = i + 1 < c->argc;
        if (span_is(c->argv[i], "REPLACE")) {
            o->replace = true;
        } else if (span_is(c->argv[i], "ABSTTL")) {
            o->absolute = true;
        } else if (span_is(c->argv[i], "IDLETIME") && more && o->frequency == NOT_GIVEN) {
            if (!number_of(c, ++i, INT64_MAX, "ERR Invalid IDLETIME value, must be >= 0",
                           &o->idle_s))
                return false;
        } else if (span_is(c->argv[i], "FREQ") && more && o->idle_s == NOT_GIVEN) {
            if (!number_of(c, ++i, FREQUENCY_MAX, "ERR Invalid FREQ value, must be >= 0 and <= 255",
                           &o->frequency))
                return false;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    return true;
}

/* A value on its way into the keyspace. */
struct restoring {
    struct rdb_in in;
    struct rdb_scratch scratch; /* the value may lie in it */
    const struct config *limits;
    struct config *own_limits; /* a copy: the shard's may change while this goes on beside it */
    int64_t now_ms;
    struct value value;
    enum rdb_result result;
    uint8_t type;
};

static bool has_object(const struct value *v) {
    return v->repr == REPR_OBJECT && v->object != NULL;
}

/* decode_times: what stands behind a set (dump.c); the set is gone when that is wrong. */
static enum rdb_result decode_times(struct restoring *w, struct mem *m) {
    struct rdb_scratch s = {.mem = m};
    enum rdb_result result = rdb_get_times(&w->in, &s, w->limits, w->now_ms, &w->value);
    mem_free(m, s.bytes, s.cap);
    if (result != RDB_OK && has_object(&w->value)) {
        struct val v;
        val_of_object(&v, m, w->value.object);
        val_destroy(&v);
    }
    return result;
}

static void decode(void *state, struct mem *m) {
    struct restoring *w = state;
    w->scratch = (struct rdb_scratch){.mem = m};
    w->result = rdb_decode_value(&w->in, w->type, &w->scratch, w->limits, w->now_ms, &w->value);
    if (unlikely(w->result == RDB_OK && w->in.at < w->in.end && w->value.type == VALUE_SET))
        w->result = decode_times(w, m);
}

/* is_good: it was a value to the last byte, and not an empty one (whose fields may have died since). */
static bool is_good(const struct restoring *w) {
    bool empty = w->value.repr == REPR_OBJECT && w->value.object == NULL && w->in.why != NULL;
    return w->result == RDB_OK && w->in.at == w->in.end && !empty;
}

/* begin: false: it has replied, or the handler is called again. */
static ON_SHARD bool begin(struct ctx *c, struct restoring *w) {
    const struct instance *in = instance_of(c->shard);
    uint64_t elements = c->argv[3].len / ELEMENT_BYTES;
    *w = (struct restoring){.limits = in->config, .now_ms = c->now_ms};
    if (!dump_open(c->argv[3], &w->in, &w->type)) {
        reply_error(&c->reply, "ERR DUMP payload version or checksum are wrong");
        return false;
    }
    if (ctx_long(c, elements))
        return false;
    if (elements >= in->long_elements && c->locked) {
        w->limits = w->own_limits = config_clone(in->config);
        if (w->limits == NULL) {
            ctx_oom(c);
            return false;
        }
    }
    return ctx_work(c, elements, decode, w, sizeof *w);
}

/* drop: a value that was not stored. */
static ON_SHARD void drop(struct ctx *c, const struct value *v) {
    if (!has_object(v))
        return;
    if (v->type == VALUE_STRING)
        blob_unpin(&c->shard->mem, v->object);
    else
        keyspace_bury(c->keyspace, v->object);
}

static ON_SHARD void remove_old(struct ctx *c) {
    struct table *t = keyspace_peek_table(c->keyspace, c->db);
    if (t == NULL || !table_delete(t, c->argv[1], ctx_hash(c, 1)))
        return;
    keyspace_count_gone(c->keyspace, t, c->now_ms);
    ctx_changed(c, 1);
}

static ON_SHARD bool put(struct ctx *c, const struct value *v, int64_t expire_ms) {
    if (!ctx_room(c, 0)) /* what was packed in the payload is counted now */
        return false;
    struct table *t = ctx_table(c);
    if (t == NULL || table_put(t, c->argv[1], ctx_hash(c, 1), v, expire_ms) == NULL) {
        ctx_oom(c);
        return false;
    }
    keyspace_count_gone(c->keyspace, t, c->now_ms);
    ctx_changed(c, 1);
    return true;
}

/* store: what was decoded becomes what the key holds. */
static ON_SHARD void store(struct ctx *c, struct value *v, int64_t ttl, const struct options *o) {
    int64_t expire_ms = EXPIRE_NEVER;
    if (ttl != 0)
        expire_ms = o->absolute || ttl > EXPIRE_MS_MAX ? ttl : ttl + c->now_ms;
    if (expire_ms > EXPIRE_MS_MAX)
        expire_ms = EXPIRE_MS_MAX;
    bool dead = v->repr == REPR_OBJECT && v->object == NULL; /* all of its fields are */
    if (dead || (expire_ms != EXPIRE_NEVER && expire_ms <= c->now_ms)) {
        drop(c, v);
        if (o->replace)
            remove_old(c);
        reply_ok(&c->reply);
        return;
    }
    v->access = access_told(keyspace_access(c->keyspace), c->now_ms, o->idle_s, o->frequency);
    if (put(c, v, expire_ms))
        reply_ok(&c->reply);
    else
        drop(c, v);
}

static ON_SHARD void restore_run(struct ctx *c) {
    struct restoring w;
    struct options o;
    int64_t ttl = 0;
    if (!ctx_resume(c, &w, sizeof w)) {
        if (!read_options(c, &o))
            return;
        if (!o.replace &&
            keyspace_find(c->keyspace, c->db, c->argv[1], c->hash, c->now_ms) != NULL) {
            reply_error(&c->reply, "BUSYKEY Target key name already exists.");
            return;
        }
        if (!number_of(c, 2, INT64_MAX, "ERR Invalid TTL value, must be >= 0", &ttl) ||
            !begin(c, &w))
            return;
    } else if (!read_options(c, &o) || !ctx_get_int(c, 2, &ttl)) {
        ASSERT(false); /* they were right before */
    }
    w.scratch.mem = &c->shard->mem;
    config_free(w.own_limits);
    if (is_good(&w)) {
        store(c, &w.value, ttl, &o);
    } else if (w.result == RDB_NOMEM) {
        ctx_oom(c);
    } else {
        if (w.result == RDB_OK)
            drop(c, &w.value);
        reply_error(&c->reply, "ERR Bad data format");
    }
    mem_free(w.scratch.mem, w.scratch.bytes, w.scratch.cap);
}

static const struct command rows[] = {
    {"RESTORE", restore_run, -4, KEY(1), CMD_WRITE | CMD_DENY_OOM | CMD_LONG,
     ACL_KEYSPACE | ACL_DANGEROUS, "generic", "2.6.0", "O(N*log(N)) in what the payload holds",
     "Makes a key of what DUMP returned, here or elsewhere.", .key_access = "OW update",
     .syntax = "key ttl:integer serialized-value:string [REPLACE] [ABSTTL] "
               "[IDLETIME=seconds:integer] [FREQ=frequency:integer]"},
};

void restore_register(void) {
    command_register(rows, COUNT_OF(rows));
}
