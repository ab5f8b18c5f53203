/* room.c: see anax/room.h. */
#include "anax/room.h"
#include "anax/instance.h"
#include "shards/clock.h"
#include "shards/evict.h"

enum {
    FREE_AT_ONCE = 64,
    SLICE_KEYS = 16,
    SLICE_NS = 150000,
    SLICES_TO_PAY = 64,
    /* What a shard may store without room when others can make some: a part of the limit or so many bytes, and the write. */
    DEBT_PART = 64,
    DEBT_LEAST = 1 << 20,
    GIVE_NS = 500000, /* of one shard for another, in one turn */
    BALANCE_NS = 50000000,
    BALANCE_SLICE_NS = 1000000,
    BALANCE_LEAST = 4096,
    BALANCE_PART =
        128 /* of the limit: what all shards together keep ready at most, for those that should evict less */
};

/* --- asking all shards for what they do not use --- */

/* Messages to all other shards, once in a while. */
struct pressing {
    unsigned out; /* not back */
    struct bus_msg msg[];
};

static void settle_run(struct shard *at, struct bus_msg *m) {
    (void)m;
    shard_claim();
    instance_of(at)->trim(at);
    room_settle(at);
}

/* pay_run: a shard without a key that may go has stored something all the same. */
static void pay_run(struct shard *at, struct bus_msg *m) {
    (void)m;
    shard_claim();
    for (unsigned i = 0; i < SLICES_TO_PAY && room_slice(at); i++)
        ;
}

static void pressing_done(struct shard *home, struct bus_msg *m) {
    (void)m;
    instance_of(home)->pressing->out--;
}

/* ask_one: only when no others are being asked. */
static ON_SHARD void ask_one(struct shard *s, unsigned id,
                             void (*run)(struct shard *at, struct bus_msg *m)) {
    struct pressing *p = instance_of(s)->pressing;
    p->msg[id] = (struct bus_msg){.run = run, .done = pressing_done, .to = (uint16_t)id};
    p->out++;
    shard_post(s, &p->msg[id]);
}

static bool may_ask(const struct shard *s) {
    const struct pressing *p = instance_of(s)->pressing;
    return p != NULL && p->out == 0;
}

static ON_SHARD void ask_others(struct shard *s, void (*run)(struct shard *at, struct bus_msg *m)) {
    if (!may_ask(s))
        return;
    for (unsigned i = 0; i < shards_count(s->all); i++)
        if (i != s->id)
            ask_one(s, i, run);
}

static ON_SHARD void press(struct shard *s) {
    if (!budget_press(s->share.budget))
        return;
    instance_of(s)->trim(s);
    ask_others(s, settle_run);
}

static size_t pressing_bytes(const struct shard *s) {
    return sizeof(struct pressing) + shards_count(s->all) * sizeof(struct bus_msg);
}

void room_end(struct shard *s) {
    mem_free(&s->mem, instance_of(s)->pressing, pressing_bytes(s));
}

/* kept: keys that are not to be evicted now. */
static bool kept(void *arg, uint64_t hash) {
    shard_claim();
    const struct shard *s = arg;
    const struct ctx *c = instance_of(s)->asking;
    uint32_t first, last, step;
    if (tx_locked(&s->tx, hash))
        return true;
    if (c == NULL || !command_keys(c->cmd, c->argv, c->argc, &first, &last, &step))
        return false;
    for (uint32_t i = first; i <= last; i = command_next_key(c->cmd, i, step))
        if (ctx_hash(c, i) == hash)
            return true;
    return false;
}

void room_configure(struct shard *s) {
    struct instance *in = instance_of(s);
    const struct config *g = in->config;
    static const enum evict_policy policies[] = {[CONFIG_VOLATILE_LRU] = EVICT_VOLATILE_LRU,
                                                 [CONFIG_VOLATILE_LFU] = EVICT_VOLATILE_LFU,
                                                 [CONFIG_VOLATILE_RANDOM] = EVICT_VOLATILE_RANDOM,
                                                 [CONFIG_VOLATILE_TTL] = EVICT_VOLATILE_TTL,
                                                 [CONFIG_ALLKEYS_LRU] = EVICT_ALLKEYS_LRU,
                                                 [CONFIG_ALLKEYS_LFU] = EVICT_ALLKEYS_LFU,
                                                 [CONFIG_ALLKEYS_RANDOM] = EVICT_ALLKEYS_RANDOM,
                                                 [CONFIG_NOEVICTION] = EVICT_NONE,
                                                 [CONFIG_VOLATILE_LRM] = EVICT_VOLATILE_LRM,
                                                 [CONFIG_ALLKEYS_LRM] = EVICT_ALLKEYS_LRM,
                                                 [CONFIG_VOLATILE_S3FIFO] = EVICT_VOLATILE_S3FIFO,
                                                 [CONFIG_ALLKEYS_S3FIFO] = EVICT_ALLKEYS_S3FIFO};
    const struct evict_options o = {.policy = policies[g->maxmemory_policy],
                                    .samples = (uint32_t)g->maxmemory_samples,
                                    .lfu_log_factor = (uint32_t)g->lfu_log_factor,
                                    .lfu_decay_minutes = (uint32_t)g->lfu_decay_time};
    keyspace_set_eviction(s->keyspace, &o);
    keyspace_guard_locked(s->keyspace, kept, s);
    if (g->maxmemory_bytes != 0 && in->pressing == NULL)
        in->pressing = mem_zalloc(&s->mem, pressing_bytes(s)); /* without it nobody is asked */
    budget_limit(s->share.budget, g->maxmemory_bytes);
    budget_join(&s->share, s->mem.used_bytes);
}

/* --- eviction --- */

static ON_SHARD bool evict_one(struct shard *s, int64_t wanted) {
    struct evicted e = {.wanted_bytes = wanted > 0 ? (uint64_t)wanted : 0};
    uint64_t before = clock_fine_ns();
    if (instance_of(s)
            ->loading) /* as in Redis: what is over the limit by then goes when all is there */
        return false;
    if (!keyspace_evict(s->keyspace, s->wall_ms, &e))
        return false;
    keyspace_stats(s->keyspace)->evicted++;
    watch_changed(s, e.db, e.hash);
    observe_event(s, LATENCY_EVICTION_DEL, clock_fine_ns() - before);
    return true;
}

static struct budget_peer *peer_of(const struct shard *s) {
    return &s->share.budget->peers[s->id];
}

/* free_one: for so many bytes: what is dropped already goes first, then a key; false: there is nothing that may go. */
static ON_SHARD bool free_one(struct shard *s, int64_t wanted) {
    int64_t before = s->mem.used_bytes;
    bool any = true;
    if (keyspace_can_free(s->keyspace))
        (void)keyspace_free_some(s->keyspace, FREE_AT_ONCE);
    else
        any = evict_one(s, wanted);
    if (any && before > s->mem.used_bytes) {
        uint64_t bytes = (uint64_t)(before - s->mem.used_bytes);
        struct budget_peer *me = peer_of(s);
        uint64_t sum = atomic_load_explicit(&me->evicted_bytes, memory_order_relaxed) + bytes;
        atomic_store_explicit(&me->evicted_bytes, sum, memory_order_relaxed);
    }
    return any;
}

/* lacking: for so many bytes more, with the debt. */
static ON_SHARD int64_t lacking(const struct shard *s, int64_t bytes) {
    int64_t own = s->mem.used_bytes + bytes - s->share.bytes;
    return (own > 0 ? own : 0) + budget_debt(s->share.budget);
}

/* make_here: room on this shard, from the pool or by eviction, until then; what is freed beyond our own need pays the debt that
 * others have made. */
static ON_SHARD bool make_here(struct shard *s, int64_t bytes, uint64_t until_ns) {
    while (!budget_take(&s->share, s->mem.used_bytes, bytes)) {
        press(s);
        bool any = free_one(s, lacking(s, bytes)),
             enough = s->mem.used_bytes + bytes <= s->share.bytes;
        if (enough && !budget_settle(&s->share, s->mem.used_bytes + bytes))
            continue;
        if (!any || (until_ns != UINT64_MAX && clock_fine_ns() >= until_ns))
            return false;
    }
    return true;
}

bool room_here(struct shard *s, int64_t bytes) {
    return budget_fits(&s->share, s->mem.used_bytes, bytes) || make_here(s, bytes, UINT64_MAX);
}

bool room_of_others(const struct shard *s) {
    return keyspace_eviction(s->keyspace) != EVICT_NONE && s->share.budget->shards > 1;
}

/* giver: the next shard that has something which may go, after those that gave nothing; -1: there is none. */
static ON_SHARD int giver(const struct shard *s, struct room_wait *w) {
    const struct budget *b = s->share.budget;
    for (; w->tried + 1U < b->shards && room_of_others(s); w->tried++) {
        unsigned id = (s->id + 1U + w->tried) % b->shards;
        if (atomic_load_explicit(&b->peers[id].evictable, memory_order_relaxed) != 0)
            return (int)id;
    }
    return -1;
}

/* owe: room that is not there, for who cannot wait. */
static ON_SHARD enum room owe(struct shard *s, int64_t bytes) {
    const struct budget *b = s->share.budget;
    int64_t most = atomic_load_explicit(&b->limit, memory_order_relaxed) / DEBT_PART;
    if (budget_debt(b) > (most > DEBT_LEAST ? most : DEBT_LEAST) + bytes)
        return ROOM_NONE;
    ask_others(s, pay_run);
    return ROOM_THERE;
}

enum room room_ask_slow(struct shard *s, int64_t bytes, struct room_wait *w) {
    struct room_wait none = {0}, *at = w == NULL ? &none : w;
    budget_get(&s->share, at->held);
    at->held = 0;
    bool there = make_here(s, bytes, UINT64_MAX);
    int to = there ? -1 : giver(s, at);
    press(s);
    if (to < 0) {
        at->tried = 0;
        return there ? ROOM_THERE : ROOM_NONE;
    }
    if (w == NULL)
        return owe(s, bytes);
    w->bytes = lacking(s, bytes) + 1; /* not nothing */
    w->held = budget_give(&s->share, s->mem.used_bytes, bytes);
    w->msg.to = (uint16_t)to;
    return ROOM_LATER;
}

int64_t room_send(struct shard *s, int64_t bytes) {
    mem_charge(&s->mem, -bytes);
    return budget_give(&s->share, s->mem.used_bytes, bytes);
}

void room_receive(struct shard *s, int64_t bytes, int64_t room) {
    mem_charge(&s->mem, bytes);
    budget_get(&s->share, room);
}

/* payer: who is to evict for what may be stored anywhere: any shard with keys that may go, by the weight of these. One that always pays for
 * its own connections' large values would lose all of its keys to the others. */
static ON_SHARD unsigned payer(struct shard *s) {
    const struct budget *b = s->share.budget;
    uint64_t all = 0;
    unsigned id = s->id;
    for (unsigned i = 0; i < b->shards; i++) {
        const struct budget_peer *p = &b->peers[i];
        if (!atomic_load_explicit(&p->evictable, memory_order_relaxed))
            continue;
        uint64_t weight = 1 + atomic_load_explicit(&p->weight, memory_order_relaxed);
        all += weight;
        if (rng_below(&s->rng, all) < weight)
            id = i;
    }
    return id;
}

enum room room_for_input(struct shard *s, int64_t bytes) {
    struct room_wait none = {0};
    if (likely(budget_fits(&s->share, s->mem.used_bytes, bytes)) ||
        budget_take(&s->share, s->mem.used_bytes, bytes))
        return ROOM_THERE;
    press(s);
    bool others = !instance_of(s)->loading && giver(s, &none) >= 0;
    unsigned id = others ? payer(s) : s->id;
    if (id == s->id && make_here(s, bytes, UINT64_MAX))
        return ROOM_THERE;
    if (!others)
        return ROOM_NONE;
    bool borrowed = budget_borrow(&s->share, s->mem.used_bytes, bytes);
    if (borrowed && id != s->id && may_ask(s))
        ask_one(s, id, pay_run);
    else
        ask_others(s, pay_run);
    return borrowed ? ROOM_THERE : ROOM_LATER;
}

static void give_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    struct room_wait *w = CONTAINER_OF(m, struct room_wait, msg);
    const struct keyspace_stats *k = keyspace_stats(at->keyspace);
    uint64_t evicted = k->evicted, pending = k->pending_free;
    (void)make_here(at, w->bytes, clock_fine_ns() + GIVE_NS);
    w->bytes = budget_give(&at->share, at->mem.used_bytes, w->bytes);
    w->freed = k->evicted != evicted || k->pending_free < pending;
}

static void give_done(struct shard *s, struct bus_msg *m) {
    shard_claim();
    struct room_wait *w = CONTAINER_OF(m, struct room_wait, msg);
    w->held += w->bytes;
    w->tried = w->bytes != 0 || w->freed ? 0 : (uint16_t)(w->tried + 1);
    w->then(s, w);
}

void room_wait(struct shard *s, struct room_wait *w,
               void (*then)(struct shard *s, struct room_wait *w)) {
    w->then = then;
    w->msg.run = give_run;
    w->msg.done = give_done;
    shard_post(s, &w->msg);
}

bool ctx_room(struct ctx *c, int64_t bytes) {
    struct shard *s = c->shard;
    if (likely(budget_fits(&s->share, s->mem.used_bytes, bytes)) || c->in_exec ||
        !(c->cmd->flags & CMD_DENY_OOM))
        return true;
    instance_of(s)->asking = c;
    enum room r = room_ask_slow(s, bytes, NULL);
    instance_of(s)->asking = NULL;
    if (r == ROOM_NONE)
        reply_error(&c->reply, ERR_OUT_OF_MEMORY);
    return r != ROOM_NONE;
}

int64_t room_of_args(const struct span *argv, uint32_t from, uint32_t to) {
    int64_t bytes = ROOM_PER_KEY;
    for (uint32_t i = from; i < to; i++)
        bytes += (int64_t)argv[i].len;
    return bytes;
}

/* --- between turns --- */

static bool is_volatile(enum evict_policy p) {
    return p >= EVICT_VOLATILE_LRU;
}

/* has_evictable: keys that the policy allows to go. */
static ON_SHARD bool has_evictable(const struct shard *s) {
    bool only_volatile = is_volatile(keyspace_eviction(s->keyspace));
    for (unsigned db = 0; db < keyspace_databases(s->keyspace); db++) {
        const struct table *t = keyspace_peek_table(s->keyspace, db);
        if (t != NULL && (only_volatile ? table_expires(t) : table_count(t)) != 0)
            return true;
    }
    return false;
}

void room_settle(struct shard *s) {
    if (likely(s->share.bytes == BUDGET_UNLIMITED))
        return;
    (void)budget_settle(&s->share, s->mem.used_bytes);
    struct budget_peer *me = peer_of(s);
    bool any = keyspace_can_free(s->keyspace) || has_evictable(s);
    if (atomic_load_explicit(&me->evictable, memory_order_relaxed) != any)
        atomic_store_explicit(&me->evictable, any, memory_order_relaxed);
}

bool room_slice(struct shard *s) {
    uint64_t from = clock_fine_ns(), ns = 0;
    bool debt;
    while ((debt = budget_settle(&s->share, s->mem.used_bytes)) && ns < SLICE_NS) {
        for (unsigned i = 0; i < SLICE_KEYS && debt; i++) {
            if (!free_one(s, budget_debt(s->share.budget)))
                return false;
            debt = budget_settle(&s->share, s->mem.used_bytes); /* others pay it too */
        }
        ns = clock_fine_ns() - from;
    }
    if (ns != 0)
        observe_event(s, LATENCY_EVICTION_CYCLE, ns);
    return debt;
}

void room_pay(struct shard *s) {
    (void)room_slice(s);
    if (budget_debt(s->share.budget) != 0)
        ask_others(s, pay_run);
}

/* --- balance --- */

/* coldest: of some keys, how long ago the least recently used was used, or how seldom; at least 1. */
static ON_SHARD uint64_t coldest(struct shard *s) {
    enum { LOOK_AT = 8, MOST_OFTEN = 255 };
    struct access *a = keyspace_access(s->keyspace);
    uint64_t most = 0;
    for (unsigned i = 0; i < LOOK_AT && a->kind != ACCESS_PLACED; i++) {
        const struct table *t = keyspace_peek_table(s->keyspace, 0);
        const struct entry *e = t == NULL ? NULL : table_random(t, &s->rng);
        if (e == NULL)
            break;
        uint64_t cold = a->kind == ACCESS_COUNTED
                            ? MOST_OFTEN - access_frequency(a, entry_access(e))
                            : access_idle_s(a, entry_access(e));
        most = cold > most ? cold : most;
    }
    return most + 1;
}

/* fair: of what all shards have evicted since the last look, what this one should have by the weight of its keys, beyond what
 * it has. */
static ON_SHARD int64_t fair(struct shard *s) {
    struct balance *seen = &instance_of(s)->balance;
    const struct budget *b = s->share.budget;
    uint64_t all = 0, weights = 0, own, weight;
    for (unsigned i = 0; i < b->shards; i++) {
        all += atomic_load_explicit(&b->peers[i].evicted_bytes, memory_order_relaxed);
        weights += atomic_load_explicit(&b->peers[i].weight, memory_order_relaxed);
    }
    own = atomic_load_explicit(&peer_of(s)->evicted_bytes, memory_order_relaxed);
    weight = atomic_load_explicit(&peer_of(s)->weight, memory_order_relaxed);
    double part = weights == 0 ? 0 : (double)weight / (double)weights;
    int64_t wanted = (int64_t)((double)(all - seen->all_bytes) * part);
    int64_t done = (int64_t)(own - seen->own_bytes);
    *seen = (struct balance){seen->next_ns, all, own};
    return wanted - done - done / 4;
}

/* enough_ready: more would be room that nobody uses: each shard has its own idea of what is due from it, and those who write may
 * have stopped. */
static bool enough_ready(const struct budget *b) {
    return budget_left(b) >= atomic_load_explicit(&b->limit, memory_order_relaxed) / BALANCE_PART;
}

void room_balance(struct shard *s) {
    struct balance *seen = &instance_of(s)->balance;
    if (likely(s->share.bytes == BUDGET_UNLIMITED) || s->now_ns < seen->next_ns ||
        !budget_tight(s->share.budget) || keyspace_eviction(s->keyspace) == EVICT_NONE)
        return;
    seen->next_ns = s->now_ns + BALANCE_NS;
    uint64_t weight = !has_evictable(s) ? 0 : (uint64_t)s->mem.used_bytes / 1024 * coldest(s);
    atomic_store_explicit(&peer_of(s)->weight, weight, memory_order_relaxed);
    int64_t bytes = fair(s), floor = s->mem.used_bytes - bytes;
    uint64_t from = clock_fine_ns();
    if (bytes < BALANCE_LEAST)
        return;
    while (s->mem.used_bytes > floor && clock_fine_ns() - from < BALANCE_SLICE_NS)
        for (unsigned i = 0; i < SLICE_KEYS; i++) {
            if (enough_ready(s->share.budget) || !free_one(s, s->mem.used_bytes - floor))
                return;
            (void)budget_settle(&s->share, s->mem.used_bytes);
        }
}
