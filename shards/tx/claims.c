/* claims.c: who is before whom, who conflicts with whom. */
#include "claim_impl.h"
#include "shards/assert.h"
#include "shards/mem.h"
#include <string.h>

enum { CHAINS_FIRST = 64, CHAINS_MAX = 1 << 20 };

static size_t chain_bytes(uint32_t n) {
    return n * sizeof(struct tx_chain);
}

static struct tx_chain *chain_of(const struct tx_shard *s, uint64_t hash) {
    return &s->chains[hash & (s->chain_count - 1)];
}

static struct tx_line *line_of(const struct tx_shard *s, const struct tx_want *w) {
    struct tx_chain *c = chain_of(s, w->hash);
    return w->mode == TX_EXCLUSIVE ? &c->exclusive : &c->shared;
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

/* insert: from the end, since mostly all others have lower ids. */
static void insert(struct tx_line *line, struct tx_intent *i) {
    struct tx_intent *before = line->last;
    while (before != NULL && before->claim->id > i->claim->id)
        before = before->prev;
    struct tx_intent *after = before == NULL ? line->first : before->next;
    i->prev = before;
    i->next = after;
    *(before == NULL ? &line->first : &before->next) = i;
    *(after == NULL ? &line->last : &after->prev) = i;
}

static void take_out(struct tx_line *line, struct tx_intent *i) {
    *(i->prev == NULL ? &line->first : &i->prev->next) = i->next;
    *(i->next == NULL ? &line->last : &i->next->prev) = i->prev;
}

/* grow: more chains when they have become long; without memory they stay so. */
static void grow(struct tx_shard *s) {
    uint32_t n = s->chain_count * 4;
    if (likely(s->intents <= s->chain_count * 2) || n > CHAINS_MAX)
        return;
    struct tx_chain *chains = mem_zalloc(s->mem, chain_bytes(n));
    if (chains == NULL)
        return;
    mem_free(s->mem, s->chains, chain_bytes(s->chain_count));
    s->chains = chains;
    s->chain_count = n;
    /* In the order of ids, so that each goes to the end of its line. */
    for (struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        struct tx_claim *c = CONTAINER_OF(l, struct tx_claim, queue);
        for (uint32_t i = 0; i < c->count; i++)
            insert(line_of(s, &c->intents[i].want), &c->intents[i]);
    }
}

/* shrink: what many claims needed is not kept when there are none. */
static void shrink(struct tx_shard *s) {
    if (likely(s->chain_count == CHAINS_FIRST) || s->claims != 0)
        return;
    struct tx_chain *chains = mem_zalloc(s->mem, chain_bytes(CHAINS_FIRST));
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
    c->count = c->room = count;
    c->exclusive = whole == TX_EXCLUSIVE;
    list_init(&c->ready);
    struct list *before = s->queue.prev;
    while (before != &s->queue && CONTAINER_OF(before, struct tx_claim, queue)->id > id)
        before = before->prev;
    ASSERT(before == &s->queue || CONTAINER_OF(before, struct tx_claim, queue)->id != id);
    list_add_tail(before->next, &c->queue);
    for (uint32_t i = 0; i < count; i++) {
        c->intents[i].claim = c;
        c->intents[i].want = wants[i];
        c->exclusive |= wants[i].mode == TX_EXCLUSIVE;
        insert(line_of(s, &wants[i]), &c->intents[i]);
    }
    s->claims++;
    s->whole_claims += whole != TX_NONE;
    s->pinned_claims += pins;
    s->intents += count;
    s->waiting++;
    grow(s);
    return c;
}

void claim_unlock(struct tx_claim *c) {
    struct tx_shard *s = c->shard;
    for (uint32_t i = 0; i < c->count; i++)
        take_out(line_of(s, &c->intents[i].want), &c->intents[i]);
    s->intents -= c->count;
    c->count = 0;
}

void claim_remove(struct tx_claim *c) {
    struct tx_shard *s = c->shard;
    list_del(&c->queue);
    list_del(&c->ready);
    claim_unlock(c);
    s->claims--;
    s->whole_claims -= c->whole != TX_NONE;
    s->pinned_claims -= c->pins;
    s->waiting -= !c->granted;
    shrink(s);
}

void claim_free(struct tx_claim *c) {
    mem_free(c->shard->mem, c, claim_bytes(c->room));
}

/* --- conflicts --- */

static bool same_key(const struct tx_want *a, const struct tx_want *b) {
    return a->hash == b->hash && a->db == b->db;
}

static bool modes_conflict(unsigned a, unsigned b) {
    return a + b > TX_SHARED * 2 && a != TX_NONE && b != TX_NONE;
}

/* first_of: the first intent on this key from i on. */
static struct tx_intent *first_of(struct tx_intent *i, const struct tx_want *w) {
    while (i != NULL && !same_key(&i->want, w))
        i = i->next;
    return i;
}

/* of_client: is there one of this client, from `from` on? */
static bool of_client(struct tx_intent *from, const struct tx_want *w, uint64_t client) {
    for (struct tx_intent *i = first_of(from, w); i != NULL; i = first_of(i->next, w))
        if (i->claim->client == client)
            return true;
    return false;
}

bool tx_conflicts(const struct tx_shard *s, const struct tx_want *w, uint64_t client) {
    if (unlikely(s->gated != 0) && w->mode == TX_EXCLUSIVE && !s->gate(s->gate_arg, w))
        return true;
    const struct tx_chain *chain = chain_of(s, w->hash);
    if (first_of(chain->exclusive.first, w) != NULL)
        return true;
    if (w->mode == TX_EXCLUSIVE && first_of(chain->shared.first, w) != NULL)
        return true;
    if (client != 0 && of_client(chain->shared.first, w, client))
        return true;
    if (likely(s->whole_claims == 0))
        return false;
    for (const struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        const struct tx_claim *c = CONTAINER_OF(l, const struct tx_claim, queue);
        if (modes_conflict(c->whole, w->mode))
            return true;
    }
    return false;
}

/* wants_some: a step may want nothing, and is in nobody's way then. */
static bool wants_some(const struct tx_claim *c) {
    return c->room != 0 || c->whole != TX_NONE;
}

/* claims_conflict: one of them wants everything, and one of them writes something. */
static bool claims_conflict(const struct tx_claim *a, const struct tx_claim *b) {
    return wants_some(a) && wants_some(b) && (a->whole != TX_NONE || b->whole != TX_NONE) &&
           (a->exclusive || b->exclusive);
}

bool tx_conflicts_whole(const struct tx_shard *s, enum tx_mode mode) {
    for (const struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        const struct tx_claim *c = CONTAINER_OF(l, const struct tx_claim, queue);
        if (wants_some(c) && (mode == TX_EXCLUSIVE || c->exclusive))
            return true;
    }
    return false;
}

static bool pins(const struct tx_claim *c) {
    return c->pins;
}

static bool holds(const struct tx_claim *c) {
    return c->granted;
}

static bool any_in(const struct tx_line *line, uint64_t hash,
                   bool (*is)(const struct tx_claim *c)) {
    for (const struct tx_intent *i = line->first; i != NULL; i = i->next)
        if (i->want.hash == hash && is(i->claim))
            return true;
    return false;
}

/* any_of: is there one like that which wants the key, or everything? */
static bool any_of(const struct tx_shard *s, uint64_t hash, bool (*is)(const struct tx_claim *c)) {
    const struct tx_chain *chain = chain_of(s, hash);
    if (any_in(&chain->shared, hash, is) || any_in(&chain->exclusive, hash, is))
        return true;
    for (const struct list *l = s->queue.next; s->whole_claims != 0 && l != &s->queue;
         l = l->next) {
        const struct tx_claim *c = CONTAINER_OF(l, const struct tx_claim, queue);
        if (c->whole != TX_NONE && is(c))
            return true;
    }
    return false;
}

bool tx_locked(const struct tx_shard *s, uint64_t hash) {
    return unlikely(s->claims != 0) && any_of(s, hash, holds);
}

bool tx_pinned(const struct tx_shard *s, uint64_t hash) {
    if (likely(s->pinned_claims == 0))
        return false;
    return any_of(s, hash, pins);
}

/* before: the first that c has to wait for because of this key, in one line; with `own`, of its client's. */
static struct tx_claim *before(const struct tx_claim *c, const struct tx_intent *mine,
                               const struct tx_line *line, bool own) {
    for (struct tx_intent *i = line->first; i != NULL && i->claim->id < c->id; i = i->next)
        if (same_key(&i->want, &mine->want) && (!own || i->claim->client == c->client))
            return i->claim;
    return NULL;
}

/* behind_it: a granted one with a higher id that stays so. */
static struct tx_claim *behind_it(const struct tx_claim *c, const struct tx_intent *mine,
                                  const struct tx_line *line,
                                  void (*behind)(struct tx_claim *other)) {
    struct tx_claim *by = NULL;
    for (struct tx_intent *i = line->last; i != NULL && i->claim->id > c->id; i = i->prev) {
        if (!i->claim->granted || !same_key(&i->want, &mine->want))
            continue;
        behind(i->claim);
        by = i->claim->granted ? i->claim : by;
    }
    return by;
}

static struct tx_claim *blocked_by_key(const struct tx_claim *c, const struct tx_intent *mine,
                                       void (*behind)(struct tx_claim *other)) {
    const struct tx_chain *chain = chain_of(c->shard, mine->want.hash);
    bool exclusive = mine->want.mode == TX_EXCLUSIVE;
    struct tx_claim *by = before(c, mine, &chain->exclusive, false);
    if (by == NULL && (exclusive || c->ordered))
        by = before(c, mine, &chain->shared, !exclusive);
    if (by != NULL)
        return by;
    by = behind_it(c, mine, &chain->exclusive, behind);
    struct tx_claim *other = exclusive ? behind_it(c, mine, &chain->shared, behind) : NULL;
    return by != NULL ? by : other;
}

static struct tx_claim *blocked_by_whole(const struct tx_claim *c,
                                         void (*behind)(struct tx_claim *other)) {
    const struct tx_shard *s = c->shard;
    struct tx_claim *by = NULL;
    for (struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        struct tx_claim *other = CONTAINER_OF(l, struct tx_claim, queue);
        if (other == c || !claims_conflict(c, other))
            continue;
        if (other->id < c->id)
            return other;
        if (other->granted)
            behind(other);
        by = other->granted ? other : by;
    }
    return by;
}

struct tx_claim *claim_blocked(const struct tx_claim *c, void (*behind)(struct tx_claim *other)) {
    struct tx_claim *by = NULL;
    if (unlikely(c->shard->whole_claims != 0))
        by = blocked_by_whole(c, behind);
    for (uint32_t i = 0; i < c->count && by == NULL; i++)
        by = blocked_by_key(c, &c->intents[i], behind);
    return by;
}

/* next_of_key: the first that wait for this key: the shared ones before the first exclusive one, and that one. */
static void next_of_key(const struct tx_shard *s, const struct tx_want *key,
                        void (*may_go)(struct tx_claim *other)) {
    const struct tx_chain *chain = chain_of(s, key->hash);
    struct tx_intent *exclusive = first_of(chain->exclusive.first, key);
    struct tx_intent *shared = first_of(chain->shared.first, key);
    for (; shared != NULL; shared = first_of(shared->next, key)) {
        if (exclusive != NULL && exclusive->claim->id < shared->claim->id)
            break;
        if (!shared->claim->granted)
            may_go(shared->claim);
    }
    if (exclusive != NULL && !exclusive->claim->granted)
        may_go(exclusive->claim);
}

void claim_next(struct tx_claim *c, void (*may_go)(struct tx_claim *other)) {
    struct tx_shard *s = c->shard;
    if (s->waiting == 0)
        return;
    for (uint32_t i = 0; i < c->room; i++)
        next_of_key(s, &c->intents[i].want, may_go);
    if (likely(c->whole == TX_NONE && s->whole_claims == 0))
        return;
    for (struct list *l = s->queue.next; l != &s->queue; l = l->next) {
        struct tx_claim *other = CONTAINER_OF(l, struct tx_claim, queue);
        if (other != c && !other->granted)
            may_go(other);
    }
}
