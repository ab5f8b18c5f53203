/* cache_sim.c: the whole server at its maxmemory on simulated loops: many seeds, every policy.
 *
 * Usage       as server_sim; a failure prints its seed.
 *
 * Clients write far more than there is room for, to keys of their own, in single commands and in those of many keys and shards; in some
 * seeds all large values lie on one shard. Policy and limit change while they are at it. After every turn of every shard
 * used_memory is looked at: it never exceeds the limit by more than the largest write that is under way, and what buffers of
 * connections have come to since. A key is what its client has stored last or, when the policy allows that, gone; a command that
 * is refused has changed nothing; and where every key may go, nothing is refused. In the end all is deleted, and memory is back
 * at where it began.
 */
#include "anax/instance.h"
#include "cache_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS_MAX = 5,
    PHASES = 3,
    STEPS = 700,
    TURNS_MAX = 200000,
    RESTS = 64,              /* turns */
    LIMIT_LEAST = 60 * 1024, /* for keys */
    KEPT = 100 * 1024,       /* by each shard of what it received into */
    REQUEST_ENOUGH = 4000    /* bytes, of it and its replies */
};

static struct cache_world cw;
static struct cache_client client[CLIENTS_MAX];
static unsigned clients;
static struct sim_client *boss;
static int64_t limit_bytes; /* 0: none */
static bool lowered;        /* and what is there has not gone yet */
static uint64_t refused_sum, missed_sum, hits_sum, evicted_sum;
static int64_t keys_before, most_over, rests[RESTS];
static unsigned turns;

static int64_t used(void);
static int64_t of_keys(void);

static _Noreturn void fail(const char *what) {
    (void)printf("policy %d, limit %ld, used %ld, keys %ld\n", (int)cw.policy, (long)limit_bytes,
                 (long)used(), (long)of_keys());
    sim_world_fail(&cw.w, what);
}

static uint64_t below(uint64_t n) {
    return sim_world_below(&cw.w, n);
}

/* --- the server --- */

static int64_t used(void) {
    int64_t sum = 0;
    for (unsigned i = 0; i < cw.w.n; i++)
        sum += shards_get(cw.w.shards, i)->mem.used_bytes;
    return sum;
}

static uint64_t evicted(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < cw.w.n; i++)
        sum += keyspace_stats(shards_get(cw.w.shards, i)->keyspace)->evicted;
    return sum;
}

static void add_bytes(void *arg, struct entry *e) {
    *(int64_t *)arg += (int64_t)entry_bytes_total(e);
}

/* of_keys: what keys take. Their tables, and what a policy keeps of them, are of the rest: that may grow without a write. */
static int64_t of_keys(void) {
    int64_t sum = 0;
    shard_claim();
    for (unsigned i = 0; i < cw.w.n; i++) {
        const struct table *t = keyspace_peek_table(shards_get(cw.w.shards, i)->keyspace, 0);
        for (uint64_t cursor = 0; t != NULL && cursor != TABLE_SCAN_END;)
            cursor = table_scan(t, cursor, add_bytes, &sum);
    }
    return sum;
}

/* has_expire: it may make an entry larger without having asked, as in Redis. */
static bool has_expire(const struct cache_client *c) {
    for (unsigned i = 0; i < c->op_count; i++)
        if (c->ops[i].kind == CACHE_EXPIRE)
            return true;
    return false;
}

/* least_rest: what everything but keys took at the least, in the last turns. */
static int64_t least_rest(int64_t rest) {
    int64_t least = rest;
    rests[turns++ % RESTS] = rest;
    for (unsigned i = 0; i < RESTS && i < turns; i++)
        least = rests[i] < least ? rests[i] : least;
    return least;
}

/* check_limit: after every turn. Where keys take more than before it, each write has asked for room, maybe some turns ago, when the
 * rest took no less than the least that it has taken since, but for what was in flight. */
static void check_limit(void) {
    int64_t keys = of_keys(), rest = used() - keys, least = least_rest(rest);
    int64_t over = limit_bytes == 0 ? 0 : keys + least - limit_bytes, most = CACHE_VALUE_MAX;
    bool grown = keys > keys_before;
    keys_before = keys;
    for (unsigned i = 0; i < clients; i++) {
        most += 2 * client[i].in_flight;
        grown &= !has_expire(&client[i]);
    }
    if (over <= 0)
        lowered = false;
    if (limit_bytes == 0 || lowered || !grown)
        return;
    most_over = over > most_over ? over : most_over;
    if (over > most) {
        (void)printf("%ld bytes over, %ld in flight: keys %ld, the rest %ld\n", (long)over,
                     (long)most, (long)keys, (long)rest);
        fail("used_memory is above maxmemory");
    }
}

static void turn(unsigned shard) {
    (void)sim_world_turn(&cw.w, shard);
    check_limit();
}

static void rounds(unsigned n, uint64_t ns) {
    for (unsigned i = 0; i < n; i++) {
        for (unsigned shard = 0; shard < cw.w.n; shard++)
            turn(shard);
        sim_advance(cw.w.net, ns);
    }
}

/* tell: the boss has something done, and waits for OK. */
static void tell(const char *line) {
    char bytes[64];
    size_t len = 0;
    (void)sim_client_write(boss, line, strlen(line));
    for (unsigned i = 0; len < 5; i++) {
        rounds(1, 100000);
        ssize_t n = sim_client_read(boss, bytes + len, sizeof bytes - len);
        if (n < 0 || i == TURNS_MAX)
            fail("the boss gets no answer");
        len += (size_t)n;
    }
    if (len != 5 || memcmp(bytes, "+OK\r\n", 5) != 0)
        fail("the boss is refused");
}

static void set_limit(int64_t bytes) {
    char line[80];
    (void)snprintf(line, sizeof line, "CONFIG SET maxmemory %ld\r\n", (long)bytes);
    int64_t before = limit_bytes;
    limit_bytes = 0;
    tell(line);
    limit_bytes = bytes;
    lowered = before == 0 || bytes < before;
}

static void set_policy(enum evict_policy p) {
    static const char *const names[] = {
        [EVICT_NONE] = "noeviction",
        [EVICT_ALLKEYS_LRU] = "allkeys-lru",
        [EVICT_ALLKEYS_LFU] = "allkeys-lfu",
        [EVICT_ALLKEYS_LRM] = "allkeys-lrm",
        [EVICT_ALLKEYS_RANDOM] = "allkeys-random",
        [EVICT_ALLKEYS_S3FIFO] = "allkeys-s3fifo",
        [EVICT_VOLATILE_LRU] = "volatile-lru",
        [EVICT_VOLATILE_LFU] = "volatile-lfu",
        [EVICT_VOLATILE_LRM] = "volatile-lrm",
        [EVICT_VOLATILE_RANDOM] = "volatile-random",
        [EVICT_VOLATILE_S3FIFO] = "volatile-s3fifo",
        [EVICT_VOLATILE_TTL] = "volatile-ttl",
    };
    char line[80];
    (void)snprintf(line, sizeof line, "CONFIG SET maxmemory-policy %s\r\n", names[p]);
    tell(line);
    cw.policy = p;
    for (unsigned i = 0; i < clients; i++)
        model_policy(&client[i], p);
}

/* --- the clients --- */

static uint32_t random_len(unsigned key) {
    if (key >= CACHE_KEYS / 2)
        return (uint32_t)below(300);
    return (uint32_t)(below(8) == 0 ? below(CACHE_VALUE_MAX) : below(3000));
}

static void choose_op(struct cache_op *op) {
    static const uint8_t keys[CACHE_KINDS] = {
        [CACHE_COPY] = 2, [CACHE_MSET] = 1, [CACHE_UNION] = 3};
    bool writes = below(3) != 0;
    op->kind = writes && below(2) == 0 ? (below(2) == 0 ? CACHE_SET : CACHE_SETEX)
                                       : (enum cache_kind)below(CACHE_KINDS);
    bool many = op->kind == CACHE_MSET || op->kind == CACHE_MGET || op->kind == CACHE_EXEC;
    op->n = many ? 1 + (unsigned)below(CACHE_MANY) : keys[op->kind] == 0 ? 1 : keys[op->kind];
    unsigned from = (unsigned)below(CACHE_KEYS), step = below(2) == 0 ? 1 : CACHE_KEYS / 4 + 1;
    for (unsigned i = 0; i < op->n; i++) {
        op->key[i] = (from + i * step) % CACHE_KEYS;
        op->version[i] = (uint32_t)below(1000);
        op->len[i] = op->kind == CACHE_SADD ? 1 + (uint32_t)below(CACHE_MEMBERS_MAX)
                                            : random_len(op->key[i]);
    }
}

/* bytes_told: about what its replies take. */
static int64_t bytes_told(const struct cache_client *c, const struct cache_op *op) {
    int64_t bytes = 64;
    if (op->kind == CACHE_GET || op->kind == CACHE_MGET)
        for (unsigned i = 0; i < op->n; i++)
            bytes += c->strings[op->key[i]].len + 16;
    return bytes;
}

static void client_send(struct cache_client *c) {
    unsigned n = 1 + (unsigned)below(CACHE_OPS_MAX);
    int64_t told = 0;
    for (unsigned i = 0; i < n && (int64_t)request_bytes().len + told < REQUEST_ENOUGH; i++) {
        choose_op(&c->ops[i]);
        model_send(c, &c->ops[i]);
        told += bytes_told(c, &c->ops[i]);
        c->op_count = i + 1;
    }
    c->in_flight = (int64_t)request_bytes().len + told;
    (void)sim_client_write(c->end, request_bytes().ptr, request_bytes().len);
    request_taken();
}

/* any_may_go: every key may, and there are more than a write can want. */
static bool any_may_go(void) {
    return cw.policy != EVICT_NONE && cw.policy < EVICT_VOLATILE_LRU &&
           of_keys() > (CACHE_MANY + 1) * CACHE_VALUE_MAX;
}

/* check_refused: where every key may go, there was nothing left. */
static void check_refused(uint64_t before) {
    if (cw.refused != before && any_may_go())
        fail("a write was refused though every key may go");
}

static void client_hear(struct cache_client *c) {
    char bytes[4096];
    for (ssize_t n; (n = sim_client_read(c->end, bytes, sizeof bytes)) != 0;) {
        if (n < 0)
            fail("the server closed a connection");
        heard_add(&c->heard, bytes, (size_t)n);
    }
    unsigned done = 0;
    size_t upto = 0;
    while (done < c->op_count) {
        const struct cache_op *op = &c->ops[done];
        struct heard rest = {c->heard.bytes + upto, c->heard.len - upto, 0};
        if (!heard_all(&rest, model_replies(op)))
            break;
        uint64_t refused = cw.refused;
        const char *wrong = model_heard(&cw, c, op, &upto);
        if (wrong != NULL) {
            (void)printf("client %u, command %d, key %u\n", c->id, (int)op->kind, op->key[0]);
            fail(wrong);
        }
        check_refused(refused);
        done++;
    }
    heard_drop(&c->heard, upto);
    c->op_count -= done;
    memmove(c->ops, c->ops + done, c->op_count * sizeof *c->ops);
    if (c->op_count == 0 && c->heard.len != 0)
        fail("more was answered than was asked");
}

static bool all_answered(void) {
    bool all = true;
    for (unsigned i = 0; i < clients; i++) {
        client_hear(&client[i]);
        all = all && client[i].op_count == 0;
    }
    return all;
}

static void settle(void) {
    for (unsigned i = 0; !all_answered(); i++) {
        rounds(1, 100000);
        if (i == TURNS_MAX)
            fail("not everything was answered");
    }
}

static void step(void) {
    struct cache_client *c = &client[below(clients)];
    unsigned what = (unsigned)below(8);
    if (what < 5)
        turn((unsigned)below(cw.w.n));
    else if (what < 7 && c->op_count == 0)
        client_send(c);
    else if (below(4) == 0)
        sim_advance(cw.w.net, below(200000000));
    client_hear(c);
}

/* look_at_all: every key is what its client knows of it. */
static void look_at_all(void) {
    for (unsigned k = 0; k < CACHE_KEYS; k++) {
        for (unsigned i = 0; i < clients; i++) {
            struct cache_client *c = &client[i];
            c->ops[0] = (struct cache_op){.kind = CACHE_GET, .n = 1, .key = {k}};
            c->ops[1] = (struct cache_op){.kind = CACHE_SCARD, .n = 1, .key = {k}};
            model_send(c, &c->ops[0]);
            model_send(c, &c->ops[1]);
            c->op_count = 2;
            c->in_flight = (int64_t)request_bytes().len + bytes_told(c, &c->ops[0]);
            (void)sim_client_write(c->end, request_bytes().ptr, request_bytes().len);
            request_taken();
        }
        settle();
    }
}

/* check_budget: nothing of the limit is lost: it is in the pool, or somebody's (budget.h, invariant 1). */
static void check_budget(void) {
    int64_t sum = 0;
    for (unsigned i = 0; i < cw.w.n; i++)
        sum += shards_get(cw.w.shards, i)->share.bytes;
    sum += atomic_load(&shards_get(cw.w.shards, 0)->share.budget->pool);
    if (sum != limit_bytes)
        fail("pool and shares are not the limit");
}

static void phase(void) {
    static const enum evict_policy policies[] = {
        EVICT_NONE,           EVICT_ALLKEYS_LRU,     EVICT_ALLKEYS_LFU,     EVICT_ALLKEYS_LRM,
        EVICT_ALLKEYS_RANDOM, EVICT_ALLKEYS_S3FIFO,  EVICT_VOLATILE_LRU,    EVICT_VOLATILE_LFU,
        EVICT_VOLATILE_LRM,   EVICT_VOLATILE_RANDOM, EVICT_VOLATILE_S3FIFO, EVICT_VOLATILE_TTL};
    set_policy(policies[below(COUNT_OF(policies))]);
    set_limit(used() - of_keys() + LIMIT_LEAST + (int64_t)below(300 * 1024));
    uint64_t before = evicted();
    for (unsigned i = 0; i < STEPS; i++)
        step();
    settle();
    rounds(8, 50000000);
    check_budget();
    if (!lowered && any_may_go() && used() > limit_bytes)
        fail("used_memory stays above maxmemory");
    if (cw.policy == EVICT_NONE && evicted() != before)
        fail("something was evicted though nothing may go");
    if (below(3) == 0)
        look_at_all();
}

static void end_seed(int64_t base) {
    look_at_all();
    set_limit(0);
    tell("FLUSHALL SYNC\r\n");
    for (unsigned i = 0; i < clients; i++) {
        sim_client_free(client[i].end);
        free(client[i].heard.bytes);
    }
    rounds(400, 10000000); /* what is kept for the next connections goes after a while */
    evicted_sum += evicted();
    if (of_keys() != 0 || used() > base + KEPT * (int64_t)cw.w.n) {
        (void)printf("%ld bytes more than at the beginning\n", (long)(used() - base));
        fail("memory is not back");
    }
    sim_client_free(boss);
    sim_world_quiet(&cw.w);
    sim_world_end(&cw.w);
    refused_sum += cw.refused;
    missed_sum += cw.missed;
    hits_sum += cw.hits;
}

static void run_seed(uint64_t seed) {
    shard_claim();
    memset(&cw, 0, sizeof cw);
    memset(client, 0, sizeof client);
    limit_bytes = 0;
    lowered = false;
    turns = 0;
    sim_world_begin(&cw.w, seed);
    clients = 1 + (unsigned)below(CLIENTS_MAX);
    boss = sim_world_connect(&cw.w);
    tell("CONFIG SET loglevel nothing\r\n");
    rounds(400, 10000000);
    int64_t base = used();
    bool skewed = below(2) == 0;
    for (unsigned i = 0; i < clients; i++) {
        client[i].id = i;
        client[i].skewed = skewed;
        client[i].end = sim_world_connect(&cw.w);
    }
    if (below(2) == 0)
        sim_world_faults(&cw.w);
    for (unsigned i = 0; i < STEPS / 4;
         i++) /* connections have their buffers before there is a limit */
        step();
    settle();
    for (unsigned i = 0; i < PHASES; i++)
        phase();
    sim_world_no_faults(&cw.w);
    end_seed(base);
}

static bool reached(uint64_t seeds) {
    (void)printf("%lu evictions, %lu keys found, %lu keys found gone, %lu writes refused, at most "
                 "%ld bytes over\n",
                 (unsigned long)evicted_sum, (unsigned long)hits_sum, (unsigned long)missed_sum,
                 (unsigned long)refused_sum, (long)most_over);
    return seeds < 20 || (evicted_sum != 0 && hits_sum != 0 && missed_sum != 0 && refused_sum != 0);
}

int main(int argc, char **argv) {
    return sim_world_main(argc, argv, 100, run_seed, NULL, reached);
}
