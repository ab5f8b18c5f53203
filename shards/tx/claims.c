/* claims.c: who is before whom, who conflicts with whom. */
#include "claim_impl.h"
#include "shards/assert.h"
#include "shards/mem.h"
#include <string.h>

enum { CHAINS_FIRST = 64, CHAINS_MAX = 1 << 20 };

static size_t chain_bytes(uint32_t n) {
    return n * sizeof(struct tx_intent *);
}

static struct tx_intent **chain_of(const struct tx_shard *s, uint64_t hash) {
    return &s->chains[hash & (s->chain_count - 1)];
}

enum err tx_shard_init(struct tx_shard *s, struct shard *shard, uint16_t id, struct mem *m,
                       void (*post)(struct shard *s, struct bus_msg *m)) {
    memset(s, 0, sizeof *s);
    s->shard = shard;
    s->id = id;
    s->mem = m;
    s->post = post;
    list_init(&s->queue);
    list_init(&s->ready);
    s->chains = mem_zalloc(m, chain_bytes(CHAINS_FIRST));
    if (s->chains == NULL)
        return ERR_NOMEM;
    s->chain_count = CHAINS_FIRST;
    return OK;
}

void tx_shard_deinit(struct tx_shard *s) {
    mem_free(s->mem, s->chains, chain_bytes(s->chain_count));
    s->chains = NULL;
}

/* --- chains --- */

/* insert: behind those with lower ids, which mostly are all of them; and mostly there are none. */
static void insert(struct tx_intent **chain, struct tx_intent *i) {
    struct tx_intent *before = NULL, *after = *chain;
    while (after != NULL && after->claim->id <= i->claim->id) {
        before = after;
        after = after->next;
    }
    i->prev = before;
    i->next = after;
    if (before != NULL)
        before->next = i;
    else
        *chain = i;
    if (after != NULL)
        after->prev = i;
}

static void take_out(struct tx_shard *s, struct tx_intent *i) {
    if (i->prev != NULL)
        i->prev->next = i->next;
    else
        *chain_of(s, i->want.hash) = i->next;
    if (i->next != NULL)
        i->next->prev = i->prev;
}

/* grow: more chains when they have become long; without memory they stay so. */
static void grow(struct tx_shard *s) {
    uint32_t n = s->chain_count * 4;
    if (likely(s->intents <= s->chain_count * 2) || n > CHAINS_MAX)
        return;
    struct tx_intent **chains = mem_zalloc(s->mem, chain_bytes(n));
    if (chains == NULL)
        return;
    mem_free(s->mem, s->chains, chain_bytes(s->chain_count));
    s->chains = chains;
    s->chain_count = n;
    /* In the order of ids, so that each goes to the end of its chain. */
    for (struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        struct tx_claim *c = CONTAINER_OF(l, struct tx_claim, queue);
        for (uint32_t i = 0; i < c->count; i++)
            insert(chain_of(s, c->intents[i].want.hash), &c->intents[i]);
    }
}

/* shrink: what many claims needed is not kept when there are none. */
static void shrink(struct tx_shard *s) {
    if (likely(s->chain_count == CHAINS_FIRST) || s->claims != 0)
        return;
    struct tx_intent **chains = mem_zalloc(s->mem, chain_bytes(CHAINS_FIRST));
    if (chains == NULL)
        return;
    tx_shard_deinit(s);
    s->chains = chains;
    s->chain_count = CHAINS_FIRST;
}

/* --- claims --- */

static size_t claim_bytes(uint32_t count) {
    return sizeof(struct tx_claim) + count * sizeof(struct tx_intent);
}

struct tx_claim *claim_add(struct tx_shard *s, uint64_t id, const struct tx_want *wants,
                           uint32_t count, uint8_t whole, bool pins) {
    struct tx_claim *c = mem_alloc(s->mem, claim_bytes(count));
    if (c == NULL)
        return NULL;
    memset(c, 0, sizeof *c);
    c->shard = s;
    c->id = id;
    c->whole = whole;
    c->pins = pins;
    c->count = count;
    c->exclusive = whole == TX_EXCLUSIVE;
    list_init(&c->ready);
    struct list *before = s->queue.prev;
    while (before != &s->queue && CONTAINER_OF(before, struct tx_claim, queue)->id > id)
        before = before->prev;
    list_add_tail(before->next, &c->queue);
    for (uint32_t i = 0; i < count; i++) {
        c->intents[i].claim = c;
        c->intents[i].want = wants[i];
        c->exclusive |= wants[i].mode == TX_EXCLUSIVE;
        insert(chain_of(s, wants[i].hash), &c->intents[i]);
    }
    s->claims++;
    s->whole_claims += whole != TX_NONE;
    s->pinned_claims += pins;
    s->intents += count;
    s->waiting++;
    grow(s);
    return c;
}

void claim_remove(struct tx_claim *c) {
    struct tx_shard *s = c->shard;
    list_del(&c->queue);
    list_del(&c->ready);
    for (uint32_t i = 0; i < c->count; i++)
        take_out(s, &c->intents[i]);
    s->claims--;
    s->whole_claims -= c->whole != TX_NONE;
    s->pinned_claims -= c->pins;
    s->intents -= c->count;
    s->waiting -= !c->granted;
    shrink(s);
}

void claim_free(struct tx_claim *c) {
    mem_free(c->shard->mem, c, claim_bytes(c->count));
}

/* --- conflicts --- */

static bool same_key(const struct tx_want *a, const struct tx_want *b) {
    return a->hash == b->hash && a->db == b->db;
}

static bool modes_conflict(unsigned a, unsigned b) {
    return a + b > TX_SHARED * 2 && a != TX_NONE && b != TX_NONE;
}

bool tx_conflicts(const struct tx_shard *s, const struct tx_want *w) {
    for (const struct tx_intent *i = *chain_of(s, w->hash); i != NULL; i = i->next)
        if (same_key(&i->want, w) && modes_conflict(i->want.mode, w->mode))
            return true;
    if (likely(s->whole_claims == 0))
        return false;
    for (const struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        const struct tx_claim *c = CONTAINER_OF(l, const struct tx_claim, queue);
        if (c->whole != TX_NONE && modes_conflict(c->whole, w->mode))
            return true;
    }
    return false;
}

/* claims_conflict: one of them wants everything. */
static bool claims_conflict(const struct tx_claim *a, const struct tx_claim *b) {
    return (a->whole != TX_NONE || b->whole != TX_NONE) && (a->exclusive || b->exclusive);
}

bool tx_conflicts_whole(const struct tx_shard *s, enum tx_mode mode) {
    for (const struct list *l = s->queue.next; l != &s->queue; l = l->next)
        if (mode == TX_EXCLUSIVE || CONTAINER_OF(l, const struct tx_claim, queue)->exclusive)
            return true;
    return false;
}

bool tx_pinned(const struct tx_shard *s, uint64_t hash) {
    if (likely(s->pinned_claims == 0))
        return false;
    for (const struct tx_intent *i = *chain_of(s, hash); i != NULL; i = i->next)
        if (i->claim->pins && i->want.hash == hash)
            return true;
    return false;
}

/* in_the_way: c conflicts with `other`: does it have to wait for it? */
static bool in_the_way(const struct tx_claim *c, struct tx_claim *other,
                       void (*behind)(struct tx_claim *other)) {
    if (other->id < c->id)
        return true;
    if (other->granted)
        behind(other);
    return other->granted;
}

static struct tx_claim *blocked_by_key(const struct tx_claim *c, const struct tx_intent *mine,
                                       void (*behind)(struct tx_claim *other)) {
    struct tx_claim *by = NULL;
    for (struct tx_intent *i = *chain_of(c->shard, mine->want.hash); i != NULL; i = i->next)
        if (i->claim != c && same_key(&i->want, &mine->want) &&
            modes_conflict(i->want.mode, mine->want.mode) && in_the_way(c, i->claim, behind))
            by = i->claim;
    return by;
}

static struct tx_claim *blocked_by_whole(const struct tx_claim *c,
                                         void (*behind)(struct tx_claim *other)) {
    const struct tx_shard *s = c->shard;
    struct tx_claim *by = NULL;
    for (struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        struct tx_claim *other = CONTAINER_OF(l, struct tx_claim, queue);
        if (other != c && claims_conflict(c, other) && in_the_way(c, other, behind))
            by = other;
    }
    return by;
}

struct tx_claim *claim_blocked(const struct tx_claim *c, void (*behind)(struct tx_claim *other)) {
    struct tx_claim *by = NULL;
    for (uint32_t i = 0; i < c->count; i++) {
        struct tx_claim *other = blocked_by_key(c, &c->intents[i], behind);
        by = other != NULL ? other : by;
    }
    if (unlikely(c->shard->whole_claims != 0)) {
        struct tx_claim *other = blocked_by_whole(c, behind);
        by = other != NULL ? other : by;
    }
    return by;
}

/* next_of_key: the first that wait for this key: shared ones up to an exclusive one, or that one. */
static void next_of_key(struct tx_intent *first, const struct tx_want *key,
                        void (*may_go)(struct tx_claim *other)) {
    for (struct tx_intent *i = first; i != NULL; i = i->next) {
        if (!same_key(&i->want, key))
            continue;
        if (!i->claim->granted)
            may_go(i->claim);
        if (i->want.mode == TX_EXCLUSIVE)
            return;
    }
}

void claim_next(struct tx_claim *c, void (*may_go)(struct tx_claim *other)) {
    struct tx_shard *s = c->shard;
    if (s->waiting == 0)
        return;
    for (uint32_t i = 0; i < c->count; i++)
        next_of_key(*chain_of(s, c->intents[i].want.hash), &c->intents[i].want, may_go);
    if (likely(c->whole == TX_NONE && s->whole_claims == 0))
        return;
    for (struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        struct tx_claim *other = CONTAINER_OF(l, struct tx_claim, queue);
        if (other != c && !other->granted)
            may_go(other);
    }
}
