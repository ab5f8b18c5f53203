/* watch.c: see anax/watch.h.
 *
 * Watches hang in chains by the hash of their keys. A change finds those on its key by hash and database alone:
 * that two keys share all 64 bits is so unlikely that a transaction may be refused for it.
 */
#include "anax/watch.h"
#include "ctx_impl.h"
#include "shards/assert.h"

enum { CHAINS_FIRST = 16, CHAINS_MAX = 1 << 20 };

struct watch {
    struct watch *next, **link; /* link: what points to this one */
    uint64_t hash;
    uint32_t db;
    uint32_t key_len;
    bool there; /* the key was, when it was added */
    bool fired;
    char key[];
};

struct watch_table {
    uint64_t count;
    uint32_t chain_count; /* a power of two */
    struct watch **chains;
    struct watch *first[CHAINS_FIRST]; /* the chains, while watches are few */
};

static struct watch_table *table_of(const struct shard *s) {
    return instance_of(s)->watches;
}

/* watched: the table, when there is anything in it. */
static inline struct watch_table *watched(const struct shard *s) {
    struct watch_table *t = table_of(s);
    return likely(t == NULL || t->count == 0) ? NULL : t;
}

struct watch_table *watch_table_create(struct shard *s) {
    struct watch_table *t = mem_zalloc(&s->mem, sizeof(*t));
    if (t == NULL)
        return NULL;
    t->chains = t->first;
    t->chain_count = CHAINS_FIRST;
    return t;
}

void watch_table_destroy(struct watch_table *t, struct mem *m) {
    ASSERT(t->count == 0);
    ASSERT(t->chains == t->first);
    mem_free(m, t, sizeof(*t));
}

/* --- chains --- */

static struct watch **chain_of(struct watch_table *t, uint64_t hash) {
    return &t->chains[hash & (t->chain_count - 1)];
}

static void link_in(struct watch_table *t, struct watch *w) {
    struct watch **chain = chain_of(t, w->hash);
    w->next = *chain;
    w->link = chain;
    if (w->next != NULL)
        w->next->link = &w->next;
    *chain = w;
}

static void free_chains(struct watch_table *t, struct mem *m, struct watch **chains, uint32_t n) {
    if (chains != t->first)
        mem_free(m, chains, n * sizeof(*chains));
}

/* grow: more chains when they have become long; without memory they stay so. */
static void grow(struct watch_table *t, struct mem *m) {
    uint32_t before = t->chain_count, n = before * 4;
    if (t->count <= before * 2 || n > CHAINS_MAX)
        return;
    struct watch **old = t->chains, **chains = mem_zalloc(m, n * sizeof(*chains));
    if (chains == NULL)
        return;
    t->chains = chains;
    t->chain_count = n;
    for (uint32_t i = 0; i < before; i++) {
        for (struct watch *w = old[i], *next; w != NULL; w = next) {
            next = w->next;
            link_in(t, w);
        }
    }
    free_chains(t, m, old, before);
}

/* shrink: what many watches needed is not kept when there are none. */
static void shrink(struct watch_table *t, struct mem *m) {
    if (likely(t->count != 0))
        return;
    free_chains(t, m, t->chains, t->chain_count);
    t->chains = t->first;
    t->chain_count = CHAINS_FIRST;
    memset(t->first, 0, sizeof(t->first)); /* what they pointed to went while there were more */
}

/* --- one watch --- */

static struct span key_of(const struct watch *w) {
    return (struct span){w->key, w->key_len};
}

/* lives: a key whose time has come is gone, whether or not it was removed already. */
static ON_SHARD bool lives(const struct shard *at, uint32_t db, const struct watch *w) {
    const struct table *t = keyspace_peek_table(at->keyspace, db);
    const struct entry *e = t == NULL ? NULL : table_find(t, key_of(w), w->hash);
    if (e == NULL)
        return false;
    int64_t expire_ms = entry_expire_ms(e);
    return expire_ms == EXPIRE_NEVER || at->wall_ms <= expire_ms;
}

struct watch *watch_add(struct shard *at, uint32_t db, struct span key, uint64_t hash) {
    struct watch_table *t = table_of(at);
    ASSERT(key.len <= UINT32_MAX);
    struct watch *w = mem_alloc(&at->mem, sizeof(*w) + key.len);
    if (w == NULL)
        return NULL;
    w->hash = hash;
    w->db = db;
    w->key_len = (uint32_t)key.len;
    memcpy(w->key, key.ptr, key.len);
    w->fired = false;
    w->there = lives(at, db, w);
    t->count++;
    link_in(t, w);
    grow(t, &at->mem);
    return w;
}

bool watch_fired(struct shard *at, const struct watch *w) {
    return w->fired || (w->there && !lives(at, w->db, w));
}

void watch_remove(struct shard *at, struct watch *w) {
    struct watch_table *t = table_of(at);
    ASSERT(t->count != 0);
    *w->link = w->next;
    if (w->next != NULL)
        w->next->link = w->link;
    t->count--;
    mem_free(&at->mem, w, sizeof(*w) + w->key_len);
    shrink(t, &at->mem);
}

struct tx_want watch_want(const struct watch *w) {
    return (struct tx_want){.hash = w->hash, .mode = TX_SHARED};
}

uint64_t watch_count(const struct shard *s) {
    const struct watch_table *t = watched(s);
    return t == NULL ? 0 : t->count;
}

/* --- changes --- */

void watch_changed(struct shard *at, uint32_t db, uint64_t hash) {
    struct watch_table *t = watched(at);
    if (likely(t == NULL))
        return;
    for (struct watch *w = *chain_of(t, hash); w != NULL; w = w->next)
        if (w->hash == hash && w->db == db)
            w->fired = true;
}

void watch_swapped(struct shard *at, uint32_t a, uint32_t b) {
    const struct watch_table *t = watched(at);
    for (uint32_t i = 0; t != NULL && i < t->chain_count; i++)
        for (struct watch *w = t->chains[i]; w != NULL; w = w->next)
            if ((w->db == a || w->db == b) && (lives(at, a, w) || lives(at, b, w)))
                w->fired = true;
}

void watch_flushing(struct shard *at, uint32_t db) {
    const struct watch_table *t = watched(at);
    for (uint32_t i = 0; t != NULL && i < t->chain_count; i++)
        for (struct watch *w = t->chains[i]; w != NULL; w = w->next)
            if (w->db == db && lives(at, db, w))
                w->fired = true;
}

void ctx_changed_in(struct ctx *c, uint32_t db, uint32_t i) {
    instance_of(c->shard)->changes++;
    if (unlikely(watched(c->shard) != NULL))
        watch_changed(c->shard, db, ctx_hash(c, i));
    struct access *a = keyspace_access(c->keyspace);
    if (unlikely(a->kind == ACCESS_CHANGED)) {
        const struct table *t = keyspace_peek_table(c->keyspace, db);
        struct entry *e = t == NULL ? NULL : table_find(t, c->argv[i], ctx_hash(c, i));
        if (e != NULL)
            access_change(a, e, c->now_ms);
    }
}

void ctx_changed(struct ctx *c, uint32_t i) {
    ctx_changed_in(c, c->db, i);
}
