/* client_evict.c: maxmemory-clients: when connections together take more than that, the largest go.
 *
 * Each shard knows what its connections take, and keeps them in lists by the logarithm of that. It tells the others the sum
 * and its longest list; so whoever finds the total too large knows whether the largest are its own to end, or else leaves it
 * to the shard that has them, which looks at the end of its next turn, or tick. One shard at a time ends connections, a few
 * in a turn, so that none goes for what another one has made good already.
 *
 * Large values that are sent from where they lie count as the connection's own, which keeps them alive.
 *
 * A connection is looked at when it was sent something, when it sent something that is not whole yet, and once a second.
 */
#include "net_impl.h"
#include "shards/log.h"

enum { ENDED_PER_TURN = 16, LEAST_BYTES = 128 * 1024 };

void client_evict_init(struct net *n) {
    for (unsigned i = 0; i < NET_SIZES; i++)
        list_init(&n->clients.sizes[i]);
}

/* limit: as Redis has it: what is too small to talk to the server at all becomes LEAST_BYTES, and a percentage of no
 * maxmemory is no limit; 0: none. */
static int64_t limit_of(const struct config *g) {
    int64_t bytes = g->maxmemory_clients;
    if (bytes < 0)
        bytes = (int64_t)((double)g->maxmemory_bytes * (double)-bytes / 100);
    if (bytes == 0)
        return 0;
    return bytes < LEAST_BYTES ? LEAST_BYTES : bytes;
}

/* --- how large they are --- */

/* size_class: of what takes less than 32 KiB the first, then one for each doubling. */
static unsigned size_class(size_t bytes) {
    enum { SMALL_BITS = 15 };
    size_t rest = bytes >> SMALL_BITS;
    unsigned class = rest == 0 ? 0 : 64U - (unsigned)__builtin_clzl(rest);
    return class < NET_SIZES ? class : NET_SIZES - 1;
}

void client_forget(struct conn *c) {
    struct net_clients *all = &c->net->clients;
    all->bytes -= c->noted_bytes;
    all->value_bytes -= c->noted_values;
    c->noted_bytes = c->noted_values = 0;
    list_del(&c->size);
}

void client_note(struct conn *c, const struct client_use *use) {
    struct net_clients *all = &c->net->clients;
    if (c->broken) {
        client_forget(c);
        return;
    }
    size_t values = output_bytes(c) - (c->out.len - c->out_sent);
    all->bytes += use->total - c->noted_bytes;
    all->value_bytes += values - c->noted_values;
    c->noted_bytes = use->total;
    c->noted_values = values;
    list_del(&c->size);
    if (!c->session.no_evict)
        list_add_tail(&all->sizes[size_class(use->total + values)], &c->size);
}

/* --- all shards together --- */

/* largest: the highest class that has a connection, plus one. */
static unsigned largest(const struct net *n) {
    unsigned class = NET_SIZES;
    while (class > 0 && list_empty(&n->clients.sizes[class - 1]))
        class --;
    return class;
}

static void tell(const struct net *n, size_t bytes, unsigned class) {
    struct net_told *t = &n->shared->clients[n->shard->id];
    atomic_store_explicit(&t->bytes, (int64_t)bytes, memory_order_relaxed);
    atomic_store_explicit(&t->largest, class, memory_order_relaxed);
}

static void tell_all(const struct net *n) {
    tell(n, n->clients.bytes + n->clients.value_bytes, largest(n));
}

/* told: what all shards say; returns whether one has larger connections than this one. */
static bool told(const struct net *n, int64_t *total) {
    unsigned mine = largest(n);
    bool larger = false;
    *total = 0;
    for (unsigned i = 0; i < shards_count(n->shard->all); i++) {
        const struct net_told *t = &n->shared->clients[i];
        *total += atomic_load_explicit(&t->bytes, memory_order_relaxed);
        larger |= atomic_load_explicit(&t->largest, memory_order_relaxed) > mine;
    }
    return larger;
}

static bool is_mine_to_end(const struct net *n, int64_t limit) {
    int64_t total;
    return !told(n, &total) && total >= limit && largest(n) != 0;
}

bool client_evict_due(const struct net *n) {
    int64_t limit = limit_of(n->instance->config);
    return limit != 0 && is_mine_to_end(n, limit);
}

static void end_largest(struct net *n) {
    struct list *l = n->clients.sizes[largest(n) - 1].next;
    struct conn *c = CONTAINER_OF(l, struct conn, size);
    LOGN("client %lu: closed, it takes %zu bytes, and all clients more than maxmemory-clients",
         (unsigned long)c->session.id, c->noted_bytes + c->noted_values);
    conn_break(c);
    client_forget(c);
    n->stats.evicted++;
}

bool client_evict(struct net *n) {
    int64_t limit = limit_of(n->instance->config);
    unsigned ended = 0;
    if (limit == 0) {
        if (unlikely(n->clients.telling)) /* what was told would be old when it is wanted again */
            tell(n, 0, 0);
        n->clients.telling = false;
        return false;
    }
    n->clients.telling = true;
    tell_all(n);
    if (!is_mine_to_end(n, limit) || atomic_exchange(&n->shared->evicting_clients, true))
        return false;
    while (ended < ENDED_PER_TURN && is_mine_to_end(n, limit)) {
        end_largest(n);
        tell_all(n);
        ended++;
    }
    atomic_store(&n->shared->evicting_clients, false);
    return ended != 0;
}
