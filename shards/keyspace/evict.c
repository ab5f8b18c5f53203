/* evict.c: which key goes: from which table, and by which way of choosing. */
#include "evict_impl.h"

enum {
    DB_CALLS = 16, /* samples are drawn from one table for so many evictions */
    ROUNDS_MAX = 64
};

void evict_init(struct evict *v) {
    *v = (struct evict){0};
    access_init(&v->access);
    rng_seed(&v->rng, 2);
}

static enum access_kind kind_of(enum evict_policy p) {
    switch (p) {
    case EVICT_ALLKEYS_LFU:
    case EVICT_VOLATILE_LFU:
        return ACCESS_COUNTED;
    case EVICT_ALLKEYS_LRM:
    case EVICT_VOLATILE_LRM:
        return ACCESS_CHANGED;
    case EVICT_ALLKEYS_S3FIFO:
    case EVICT_VOLATILE_S3FIFO:
        return ACCESS_PLACED;
    case EVICT_NONE:
    case EVICT_ALLKEYS_LRU:
    case EVICT_ALLKEYS_RANDOM:
    case EVICT_VOLATILE_LRU:
    case EVICT_VOLATILE_RANDOM:
    case EVICT_VOLATILE_TTL:
        break;
    }
    return ACCESS_USED;
}

void evict_configure(struct evict *v, const struct evict_options *o) {
    v->options = *o;
    v->only_volatile = o->policy >= EVICT_VOLATILE_LRU;
    v->pool_count = 0;
    v->access.kind = kind_of(o->policy);
    v->access.log_factor = o->lfu_log_factor;
    v->access.decay_minutes = o->lfu_decay_minutes;
    access_renew(&v->access, v->access.second * 1000);
}

static uint64_t may_go(const struct evict *v, const struct table *t) {
    return t == NULL ? 0 : v->only_volatile ? t->expires : t->count;
}

/* choose_db: a database by the number of its keys that may go, for DB_CALLS calls; false: there are none. */
static bool choose_db(struct evict *v, struct table **tables, uint32_t databases) {
    if (likely(v->db_calls != 0 && v->db < databases && may_go(v, tables[v->db]) != 0)) {
        v->db_calls--;
        return true;
    }
    uint64_t all = 0;
    for (uint32_t db = 0; db < databases; db++)
        all += may_go(v, tables[db]);
    if (all == 0)
        return false;
    uint64_t at = rng_below(&v->rng, all);
    for (v->db = 0; at >= may_go(v, tables[v->db]); v->db++)
        at -= may_go(v, tables[v->db]);
    v->db_calls = DB_CALLS + databases / 8;
    return true;
}

/* choose_any: among all keys, since looking at some found none. */
static ON_SHARD bool choose_any(struct evict *v, struct table **tables, uint32_t databases,
                                held_fn *held, void *arg, struct victim *out) {
    for (uint32_t db = 0; db < databases; db++)
        if (may_go(v, tables[db]) != 0 && sample_any(v, tables[db], db, held, arg, out))
            return true;
    return false;
}

bool evict_choose(struct evict *v, struct table **tables, uint32_t databases, int64_t now_ms,
                  held_fn *held, void *arg, struct victim *out) {
    if (v->options.policy == EVICT_NONE)
        return false;
    access_at(&v->access, now_ms);
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        if (!choose_db(v, tables, databases))
            return false;
        struct table *t = tables[v->db];
        if (v->access.kind == ACCESS_PLACED && fifo_victim(t, now_ms, held, arg, out)) {
            out->db = v->db;
            return true;
        }
        if (v->options.policy == EVICT_VOLATILE_TTL && ttl_victim(v, t, v->db, held, arg, out))
            return true;
        sample_some(v, t, v->db, now_ms);
        if (sample_best(v, tables, held, arg, out))
            return true;
        v->db_calls = 0;
    }
    return choose_any(v, tables, databases, held, arg, out);
}
