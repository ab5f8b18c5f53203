#include "cut_impl.h"
#include "evict_impl.h"
#include "resize_impl.h"

struct keyspace {
    struct mem *mem;
    unsigned databases;
    struct keyspace_stats stats;
    pinned_fn *pinned;
    void *pinned_arg;
    unsigned sweep_db;         /* where keyspace_expire_some goes on */
    struct morgue morgue;      /* objects, to be freed in slices */
    struct dead_table *graves; /* flushed tables, the same */
    struct evict evict;
    struct cut cut;
    struct table *tables[];
};

struct dead_table {
    struct table *table;
    struct dead_table *next;
};

enum err keyspace_create(struct keyspace **out, struct mem *m, unsigned databases) {
    struct keyspace *k = mem_zalloc(m, sizeof *k + databases * sizeof(struct table *));
    if (k == NULL)
        return ERR_NOMEM;
    k->mem = m;
    k->morgue = (struct morgue){m, NULL, &k->stats.pending_free};
    k->databases = databases;
    evict_init(&k->evict);
    *out = k;
    return OK;
}

static ON_SHARD void table_empty(struct table *t) {
    for (unsigned budget = UINT32_MAX; table_drain(t, &budget); budget = UINT32_MAX) {
    }
}

void keyspace_destroy(struct keyspace *k) {
    shard_claim();
    keyspace_cut_mute(k);
    while (keyspace_cut_walk(k, UINT64_MAX)) {
    }
    for (unsigned db = 0; db < k->databases; db++) {
        struct table *t = k->tables[db];
        if (t == NULL)
            continue;
        table_empty(t);
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
        k->tables[db] = table_create(&k->morgue, &k->evict);
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

void keyspace_guard_locked(struct keyspace *k, pinned_fn *locked, void *arg) {
    k->evict.locked = locked;
    k->evict.locked_arg = arg;
}

/* --- eviction --- */

void keyspace_set_eviction(struct keyspace *k, const struct evict_options *o) {
    bool same = o->policy == k->evict.options.policy;
    evict_configure(&k->evict, o);
    for (unsigned db = 0; !same && db < k->databases; db++)
        if (k->tables[db] != NULL)
            fifo_end(k->tables[db]);
}

enum evict_policy keyspace_eviction(const struct keyspace *k) {
    return k->evict.options.policy;
}

struct access *keyspace_access(struct keyspace *k) {
    return &k->evict.access;
}

/* pinned: somebody reads the key in place, or a heavy value under it has still to be told. */
static bool pinned(void *arg, uint64_t hash) {
    const struct keyspace *k = arg;
    shard_claim();
    return (k->pinned != NULL && k->pinned(k->pinned_arg, hash)) ||
           (unlikely(k->cut.open != 0) && cut_keeps(k->tables, k->databases, hash));
}

bool keyspace_held(const struct keyspace *k, uint64_t hash) {
    return pinned((void *)(uintptr_t)k, hash) ||
           (k->evict.locked != NULL && k->evict.locked(k->evict.locked_arg, hash));
}

/* held: somebody reads or changes the key, now or in steps. */
static bool held(void *arg, uint64_t hash) {
    shard_claim();
    return keyspace_held(arg, hash);
}

bool keyspace_evict(struct keyspace *k, int64_t now_ms, struct evicted *out) {
    struct victim v;
    k->evict.wanted_bytes = out->wanted_bytes;
    if (!evict_choose(&k->evict, k->tables, k->databases, now_ms, held, k, &v))
        return false;
    const struct entry *e = bucket_address(v.at.bucket, v.at.i);
    out->db = v.db;
    out->hash = v.hash;
    out->key = entry_key(e);
    out->expired = entry_dead(e, now_ms);
    if (out->going != NULL)
        out->going(out->arg, out);
    table_remove_at(v.table, v.index, v.at);
    return true;
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
        if (pinned(k, hash))
            return NULL;
        bool there = table_delete(t, key, hash);
        ASSERT(there);
        k->stats.expired++;
        return NULL;
    }
    return e;
}

void keyspace_count_gone(struct keyspace *k, const struct table *t, int64_t now_ms) {
    if (unlikely(t->gone_ms != EXPIRE_NEVER && now_ms > t->gone_ms))
        k->stats.expired++;
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
    if (dead != NULL && k->cut.heavy_table == t)
        k->cut.heavy_table = dead;
    if (grave != NULL && dead != NULL) {
        *grave = (struct dead_table){dead, k->graves};
        k->graves = grave;
        k->stats.pending_free += count;
        return count;
    }
    /* Nothing to put off, or no room to: free it here. */
    mem_free(k->mem, grave, sizeof *grave);
    if (dead == t) {
        table_empty(t);
        cut_leave(t);
        table_release(t);
    } else {
        table_clear(t);
    }
    return count;
}

void keyspace_bury(struct keyspace *k, struct object *o) {
    (void)morgue_bring(&k->morgue, o->type, o);
}

/* next_grave: the first flushed table that no cut has still to walk through; NULL. */
static struct dead_table **next_grave(struct keyspace *k) {
    struct dead_table **g = &k->graves;
    while (*g != NULL && (*g)->table->cut != NULL)
        g = &(*g)->next;
    return *g == NULL ? NULL : g;
}

/* free_grave: some of a flushed table. */
static ON_SHARD void free_grave(struct keyspace *k, struct dead_table **at, unsigned *budget) {
    struct dead_table *grave = *at;
    uint64_t before = grave->table->count;
    bool more = table_drain(grave->table, budget);
    k->stats.pending_free -= before - grave->table->count;
    if (more)
        return;
    ASSERT(grave->table->prepared == 0);
    table_release(grave->table);
    *at = grave->next;
    mem_free(k->mem, grave, sizeof *grave);
}

bool keyspace_free_some(struct keyspace *k, unsigned entries) {
    unsigned budget = entries;
    uint64_t before = k->stats.pending_free;
    /* Objects first: emptying a table brings more of them. */
    struct dead_table **grave = next_grave(k);
    while (budget != 0 && (k->morgue.first != NULL || grave != NULL)) {
        if (!morgue_free_some(&k->morgue, &budget) && grave != NULL && budget != 0)
            free_grave(k, grave, &budget);
        grave = next_grave(k);
    }
    k->stats.freed_late += before - k->stats.pending_free;
    return keyspace_can_free(k);
}

bool keyspace_can_free(struct keyspace *k) {
    return k->morgue.first != NULL || next_grave(k) != NULL;
}

/* Groups that are due, fetched together: one at a time, each would wait for its own cache misses. */
enum { SWEEP_GROUPS = 8 };

/* due_groups: the next groups of a segment whose stamp's tick is over. Then something in them is dead for
 * certain, and where keys go all the time nothing is looked at in vain. *next becomes the earliest of the other stamps that
 * were passed, if it is earlier. */
static unsigned due_groups(const struct stamps *due, uint32_t from, uint32_t now,
                           uint32_t groups[SWEEP_GROUPS], uint32_t *next) {
    unsigned n = 0;
    uint32_t least = *next;
    if (due->least >= now) {
        *next = due->least < least ? due->least : least;
        return 0;
    }
    for (uint32_t group = from; group < TABLE_GROUPS && n < SWEEP_GROUPS; group++) {
        if (unlikely(due->groups[group] < now))
            groups[n++] = group;
        else if (due->groups[group] < least)
            least = due->groups[group];
    }
    *next = least;
    return n;
}

/* sweep_groups: those of a segment; returns where to go on, in groups of it. */
static ON_SHARD uint32_t sweep_groups(struct table *t, uint32_t segment, const uint32_t *groups,
                                      unsigned n, struct reaper *r) {
    table_prefetch_groups(t, segment, groups, n);
    for (unsigned i = 0; i < n; i++) {
        table_expire_group(t, segment, groups[i], r);
        if (r->cut)
            return groups[i];
    }
    return n < SWEEP_GROUPS ? TABLE_GROUPS : groups[SWEEP_GROUPS - 1] + 1;
}

/* sweep_pass: goes on in one table to its end; returns false when the budget ended before. */
static ON_SHARD bool sweep_pass(struct table *t, struct reaper *r) {
    uint32_t now = tick_of(r->now_ms), groups[SWEEP_GROUPS];
    if (t->sweep_group == 0)
        t->sweep_due = TICK_NEVER;
    while (t->sweep_group / TABLE_GROUPS < table_segments(t)) {
        if (r->budget == 0)
            return false;
        uint32_t segment = t->sweep_group / TABLE_GROUPS, from = t->sweep_group % TABLE_GROUPS;
        unsigned n = due_groups(&t->due[segment], from, now, groups, &t->sweep_due);
        uint64_t before = r->deleted;
        t->sweep_group = segment * TABLE_GROUPS + sweep_groups(t, segment, groups, n, r);
        table_settle(t, r->deleted - before);
        reaper_spend(r, 1); /* a segment that is passed over costs as much as looking at an entry */
    }
    t->sweep_group = 0;
    return true;
}

/* sweep: passes over one table until nothing that is due can be left. While keys go the table
 * shrinks, which moves entries from its end to buckets that this pass has been at already. */
static ON_SHARD bool sweep(struct table *t, struct reaper *r) {
    for (;;) {
        if (!sweep_pass(t, r))
            return false;
        bool moved = t->merged_due < tick_of(r->now_ms);
        t->merged_due = TICK_NEVER;
        if (!moved)
            break;
    }
    t->due_first = t->sweep_due;
    return true;
}

bool keyspace_expire_some(struct keyspace *k, int64_t now_ms, unsigned entries) {
    struct reaper r = {.now_ms = now_ms, .pinned = pinned, .arg = k, .budget = entries};
    for (; k->sweep_db < k->databases; k->sweep_db++) {
        struct table *t = k->tables[k->sweep_db];
        if (t != NULL && t->due_first < tick_of(now_ms) && !sweep(t, &r))
            break;
    }
    bool more = k->sweep_db < k->databases;
    if (!more)
        k->sweep_db = 0;
    k->stats.expired += r.expired;
    k->stats.expired_inner += r.expired_inner;
    return more;
}

/* --- the cut --- */

uint64_t keyspace_cut(struct keyspace *k, cut_tell_fn *tell, void *arg) {
    return cut_begin(&k->cut, k->tables, k->databases, tell, arg);
}

void keyspace_cut_mute(struct keyspace *k) {
    k->cut.muted = true;
    k->cut.heavy_table = NULL;
}

bool keyspace_cut_open(const struct keyspace *k) {
    return k->cut.open != 0;
}

bool keyspace_cut_lost(const struct keyspace *k) {
    return k->cut.lost;
}

bool keyspace_cut_touch(struct keyspace *k, uint64_t hash) {
    bool told = true;
    for (unsigned db = 0; k->cut.open != 0 && db < k->databases; db++) {
        struct table *t = k->tables[db];
        if (t != NULL && t->cut != NULL)
            told &= cut_touch(t, hash);
    }
    return told;
}

const struct entry *keyspace_cut_heavy(struct keyspace *k, unsigned *db) {
    return cut_heavy(&k->cut, db);
}

void keyspace_cut_told(struct keyspace *k) {
    cut_heavy_told(&k->cut);
}

bool keyspace_cut_walk(struct keyspace *k, uint64_t until_ns) {
    for (unsigned db = 0; k->cut.open != 0 && db < k->databases; db++)
        if (k->tables[db] != NULL && k->tables[db]->cut != NULL &&
            !cut_walk(k->tables[db], until_ns))
            return true;
    for (struct dead_table *g = k->graves; k->cut.open != 0 && g != NULL; g = g->next)
        if (g->table->cut != NULL && !cut_walk(g->table, until_ns))
            return true;
    return k->cut.open != 0;
}
