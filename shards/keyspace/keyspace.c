#include "resize_impl.h"
#include "shards/rng.h"
#define XXH_INLINE_ALL
#include <xxhash.h>

/* One secret for all shards of the process: they must agree on which of them a key belongs to.
 * Written once before the first shard starts. */
static unsigned char hash_secret[XXH3_SECRET_SIZE_MIN + 56];

struct keyspace {
    struct mem *mem;
    unsigned databases;
    struct keyspace_stats stats;
    pinned_fn *pinned;
    void *pinned_arg;
    /* where keyspace_expire_some goes on */
    unsigned sweep_db;
    uint32_t sweep_group;
    struct dead_table *graves; /* flushed tables, to be freed in slices */
    struct table *tables[];
};

struct dead_table {
    struct table *table;
    struct dead_table *next;
};

enum err keyspace_seed_hash(const uint64_t *fixed_seed) {
    if (fixed_seed == NULL)
        return rng_entropy(hash_secret, sizeof hash_secret);
    struct rng r;
    rng_seed(&r, *fixed_seed);
    for (size_t i = 0; i < sizeof hash_secret; i++)
        hash_secret[i] = (unsigned char)rng_next(&r);
    return OK;
}

uint64_t keyspace_hash(struct span key) {
    return XXH3_64bits_withSecret(key.ptr, key.len, hash_secret, sizeof hash_secret);
}

enum err keyspace_create(struct keyspace **out, struct mem *m, unsigned databases) {
    struct keyspace *k = mem_zalloc(m, sizeof *k + databases * sizeof(struct table *));
    if (k == NULL)
        return ERR_NOMEM;
    k->mem = m;
    k->databases = databases;
    *out = k;
    return OK;
}

void keyspace_destroy(struct keyspace *k) {
    shard_claim();
    for (unsigned db = 0; db < k->databases; db++) {
        struct table *t = k->tables[db];
        if (t == NULL)
            continue;
        while (table_drain(t, UINT32_MAX)) {
        }
        table_release(t);
    }
    while (keyspace_free_some(k, UINT32_MAX)) {
    }
    mem_free(k->mem, k, sizeof *k + k->databases * sizeof(struct table *));
}

unsigned keyspace_databases(const struct keyspace *k) {
    return k->databases;
}

struct table *keyspace_table(struct keyspace *k, unsigned db) {
    ASSERT(db < k->databases);
    if (unlikely(k->tables[db] == NULL))
        k->tables[db] = table_create(k->mem);
    return k->tables[db];
}

struct table *keyspace_peek_table(const struct keyspace *k, unsigned db) {
    return k->tables[db];
}

uint64_t keyspace_growth_ns(struct keyspace *k) {
    uint64_t longest = 0;
    for (unsigned db = 0; db < k->databases; db++) {
        struct table *t = k->tables[db];
        if (t == NULL)
            continue;
        if (t->growth_ns > longest)
            longest = t->growth_ns;
        t->growth_ns = 0;
    }
    return longest;
}

struct keyspace_stats *keyspace_stats(struct keyspace *k) {
    return &k->stats;
}

struct mem *keyspace_mem(struct keyspace *k) {
    return k->mem;
}

void keyspace_guard(struct keyspace *k, pinned_fn *pinned, void *arg) {
    k->pinned = pinned;
    k->pinned_arg = arg;
}

void keyspace_swap(struct keyspace *k, unsigned a, unsigned b) {
    ASSERT(a < k->databases);
    ASSERT(b < k->databases);
    struct table *t = k->tables[a];
    k->tables[a] = k->tables[b];
    k->tables[b] = t;
}

struct entry *keyspace_find(struct keyspace *k, unsigned db, struct span key, uint64_t hash,
                            int64_t now_ms) {
    struct table *t = k->tables[db];
    if (unlikely(t == NULL))
        return NULL;
    struct entry *e = table_find(t, key, hash);
    if (unlikely(e != NULL && entry_dead(e, now_ms))) {
        if (k->pinned != NULL && k->pinned(k->pinned_arg, hash))
            return NULL;
        bool there = table_delete(t, key, hash);
        ASSERT(there);
        k->stats.expired++;
        return NULL;
    }
    return e;
}

uint64_t keyspace_flush(struct keyspace *k, unsigned db) {
    struct table *t = k->tables[db];
    if (t == NULL)
        return 0;
    uint64_t count = t->count;
    struct dead_table *grave = count != 0 ? mem_alloc(k->mem, sizeof *grave) : NULL;
    struct table *dead = t->prepared == 0 ? t : grave != NULL ? table_move_out(t) : NULL;
    if (dead == t)
        k->tables[db] = NULL;
    if (grave != NULL && dead != NULL) {
        *grave = (struct dead_table){dead, k->graves};
        k->graves = grave;
        k->stats.pending_free += count;
        return count;
    }
    /* Nothing to put off, or no room to: free it here. */
    mem_free(k->mem, grave, sizeof *grave);
    if (dead == t) {
        while (table_drain(t, UINT32_MAX)) {
        }
        table_release(t);
    } else {
        table_clear(t);
    }
    return count;
}

bool keyspace_free_some(struct keyspace *k, unsigned entries) {
    struct dead_table *grave = k->graves;
    if (grave == NULL)
        return false;
    uint64_t before = grave->table->count;
    bool more = table_drain(grave->table, entries);
    uint64_t freed = before - grave->table->count;
    k->stats.pending_free -= freed;
    k->stats.freed_late += freed;
    if (!more) {
        ASSERT(grave->table->prepared == 0);
        table_release(grave->table);
        k->graves = grave->next;
        mem_free(k->mem, grave, sizeof *grave);
    }
    return k->graves != NULL;
}

/* Groups that are due, fetched together: one at a time, each would wait for its own cache misses. */
enum { SWEEP_GROUPS = 8 };

/* due_groups: the next groups of a segment whose stamp's tick is over. Then a key in them is dead for
 * certain, and where keys go all the time nothing is looked at in vain. */
static unsigned due_groups(const uint32_t *due, uint32_t from, uint32_t now,
                           uint32_t groups[SWEEP_GROUPS]) {
    unsigned n = 0;
    for (uint32_t group = from; group < TABLE_GROUPS && n < SWEEP_GROUPS; group++)
        if (unlikely(due[group] < now))
            groups[n++] = group;
    return n;
}

/* sweep_pass: goes on in one table to its end; returns false when `budget` ended before. */
static ON_SHARD bool sweep_pass(struct keyspace *k, struct table *t, int64_t now_ms,
                                unsigned *budget) {
    const struct reaper reaper = {now_ms, k->pinned, k->pinned_arg};
    uint32_t now = tick_of(now_ms), groups[SWEEP_GROUPS];
    while (k->sweep_group / TABLE_GROUPS < table_segments(t)) {
        if (*budget == 0)
            return false;
        uint32_t segment = k->sweep_group / TABLE_GROUPS;
        const uint32_t *due = t->due[segment];
        unsigned n = due ? due_groups(due, k->sweep_group % TABLE_GROUPS, now, groups) : 0;
        /* A segment that is passed over costs as much as looking at an entry. */
        unsigned looked = 1;
        uint64_t expired = 0;
        table_prefetch_groups(t, segment, groups, n);
        for (unsigned i = 0; i < n; i++)
            looked += table_expire_group(t, segment, groups[i], &reaper, &expired);
        k->sweep_group = segment * TABLE_GROUPS +
                         (n < SWEEP_GROUPS ? TABLE_GROUPS : groups[SWEEP_GROUPS - 1] + 1);
        k->stats.expired += expired;
        table_settle(t, expired);
        *budget -= looked < *budget ? looked : *budget;
    }
    return true;
}

/* sweep: passes over one table until nothing that is due can be left. While keys go the table
 * shrinks, which moves entries from its end to buckets that this pass has been at already. */
static ON_SHARD bool sweep(struct keyspace *k, struct table *t, int64_t now_ms, unsigned *budget) {
    for (;;) {
        if (!sweep_pass(k, t, now_ms, budget))
            return false;
        k->sweep_group = 0;
        bool moved = t->merged_due < tick_of(now_ms);
        t->merged_due = TICK_NEVER;
        if (!moved)
            return true;
    }
}

bool keyspace_expire_some(struct keyspace *k, int64_t now_ms, unsigned entries) {
    unsigned budget = entries;
    while (k->sweep_db < k->databases) {
        struct table *t = k->tables[k->sweep_db];
        if (t != NULL && t->expires != 0 && !sweep(k, t, now_ms, &budget)) {
            k->stats.expiry_cuts++;
            return true;
        }
        k->sweep_db++;
        k->sweep_group = 0; /* it may stand in a table that was flushed meanwhile */
    }
    k->sweep_db = 0;
    return false;
}
