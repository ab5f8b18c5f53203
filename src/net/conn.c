/* conn.c: connections from accept to release, and the hooks through which a shard runs them. */
#include "anax/metrics.h"
#include "net_impl.h"
#include "shards/clock.h"
#include "shards/log.h"
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

void conn_touch(struct conn *c) {
    if (list_empty(&c->dirty))
        list_add_tail(&c->net->dirty, &c->dirty);
}

void conn_todo(struct conn *c) {
    if (list_empty(&c->todo))
        list_add_tail(&c->net->todo, &c->todo);
    if (c->net->shard->lent) {
        shard_claim();
        shard_need_owner(c->net->shard);
    }
}

void conn_break(struct conn *c) {
    c->broken = true;
    c->closing = true;
    conn_touch(c);
}

static void session_free(struct conn *c) {
    struct mem *m = &c->net->shard->mem;
    char *texts[] = {c->session.name, c->session.lib_name, c->session.lib_ver};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        if (texts[i] != NULL)
            mem_free(m, texts[i], strlen(texts[i]) + 1);
}

static ON_SHARD void conn_free(struct conn *c) {
    struct net *n = c->net;
    output_drop(c);
    outbuf_deinit(&c->out);
    input_drop(c);
    exec_end(c);
    session_free(c);
    list_del(&c->link);
    list_del(&c->dirty);
    list_del(&c->todo);
    list_del(&c->held);
    client_forget(c);
    monitor_stop(c);
    n->conn_count--;
    atomic_fetch_sub(&n->shared->live[n->shard->id], 1);
    mem_free(&n->shard->mem, c, sizeof *c);
}

void conn_settle(struct conn *c) {
    struct loop *l = c->net->shard->loop;
    if (c->want_write && !c->write_armed && !c->close_called) {
        c->write_armed = true;
        stream_want_write(l, &c->stream);
    }
    bool flushed = c->batches == 0 && output_bytes(c) == 0;
    if ((c->broken || (c->closing && flushed)) && !c->close_called) {
        c->close_called = true;
        c->broken = true;
        /* Its input goes with the connection: the kernel may still write to a large argument. */
        stream_close(l, &c->stream);
        return; /* on_released may have come already, and with it the end */
    }
    bool waits = !list_empty(&c->held) || c->input_waits != 0;
    if (c->paused && !c->closing && !waits && c->batches < NET_BATCHES_MAX / 2) {
        c->paused = false;
        input_go_on(c);
        if (!c->paused && !c->broken)
            stream_resume(l, &c->stream);
    }
}

/* --- what the loop tells --- */

static struct conn *conn_of(struct stream *s) {
    return CONTAINER_OF(s, struct conn, stream);
}

static void on_data(struct stream *s, struct io_buf *buf) {
    shard_claim();
    input_data(conn_of(s), buf);
    client_changed(conn_of(s));
}

static void on_direct(struct stream *s, size_t n) {
    shard_claim();
    input_direct(conn_of(s), n);
    client_changed(conn_of(s));
}

static void on_writable(struct stream *s) {
    struct conn *c = conn_of(s);
    c->want_write = c->write_armed = false;
    conn_touch(c);
}

static void on_end(struct stream *s, int error) {
    struct conn *c = conn_of(s);
    if (error != 0)
        c->broken = true;
    c->closing = true;
    conn_touch(c);
}

static void on_released(struct stream *s) {
    struct conn *c = conn_of(s);
    c->released = true;
    conn_touch(c);
}

static const struct stream_ops conn_ops = {on_data, on_direct, on_writable, on_end, on_released};

/* --- accepting --- */

static void socket_options(const struct net *n, int fd) {
    int yes = 1, keepalive = (int)n->instance->config->tcp_keepalive_s;
    /* What fails here only costs latency or a late notice of a dead peer. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (keepalive <= 0)
        return;
    int interval = keepalive / 3 > 0 ? keepalive / 3 : 1, probes = 3;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &yes, sizeof yes);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &keepalive, sizeof keepalive);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static void set_peer(struct conn *c, int fd) {
    socklen_t len = sizeof c->peer;
    if (c->is_unix || getpeername(fd, &c->peer.sa, &len) != 0)
        c->peer.sa.sa_family = AF_UNSPEC;
    c->session.local = c->is_unix || net_is_local(&c->peer.sa);
}

void conn_address(const struct conn *c, char *text, size_t size) {
    if (c->is_unix)
        (void)snprintf(text, size, "%s:0", c->net->shared->config->unixsocket);
    else
        net_address(&c->peer.sa, text, size);
}

void conn_adopt(struct net *n, struct adopted *a) {
    struct mem *m = &n->shard->mem;
    struct conn *c = mem_zalloc(m, sizeof *c);
    int fd = a->fd;
    if (c == NULL || n->stopping) {
        LOGV("a new connection is closed: %s", c == NULL ? "no memory" : "the server stops");
        mem_free(m, c, sizeof *c);
        (void)close(fd);
        atomic_fetch_sub(&n->shared->live[n->shard->id], 1);
        return;
    }
    c->net = n;
    /* A password that is set later asks only those who come later. */
    c->session = (struct session){
        .id = a->id, .proto = 2, .authenticated = n->instance->config->requirepass[0] == '\0'};
    c->is_unix = a->is_unix;
    c->created_ns = c->active_ns = loop_now_ns(n->shard->loop);
    outbuf_init(&c->out, m);
    list_init(&c->dirty);
    list_init(&c->todo);
    list_init(&c->held);
    list_init(&c->monitor);
    list_init(&c->watched);
    list_init(&c->size);
    list_add_tail(&n->conns, &c->link);
    n->conn_count++;
    n->stats.connections++;
    set_peer(c, fd);
    if (!a->is_unix)
        socket_options(n, fd);
    if (stream_start(n->shard->loop, &c->stream, &conn_ops, fd) != OK) {
        LOGW("a new connection is closed: the loop has no room for it");
        (void)close(fd);
        conn_free(c);
    }
}

static ON_SHARD void adopt_waiting(struct net *n) {
    while (!list_empty(&n->adopt)) {
        struct adopted *a = CONTAINER_OF(n->adopt.next, struct adopted, link);
        list_del(&a->link);
        conn_adopt(n, a);
        mem_free(&n->shard->mem, a, sizeof *a);
    }
}

void conn_owner_work(struct net *n) {
    adopt_waiting(n);
    while (!list_empty(&n->todo)) {
        struct conn *c = CONTAINER_OF(n->todo.next, struct conn, todo);
        list_del(&c->todo);
        conn_settle(c);
    }
}

/* conn_check_all: a soft limit runs out, and a client is idle, without anything happening to it. What they take
 * is noted on the way. */
void conn_check_all(struct net *n) {
    int64_t timeout_s = n->instance->config->timeout_s;
    uint64_t now = n->shard->now_ns;
    struct client_use most = {0};
    for (struct list *l = n->conns.next; l != &n->conns; l = l->next) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);
        if (c->want_write)
            output_check_limit(c);
        bool waits = c->batches != 0 || !list_empty(&c->held) || c->session.monitor;
        if (timeout_s > 0 && now > c->active_ns + (uint64_t)timeout_s * 1000000000ULL && !waits) {
            LOGV("client %lu: closed, idle for too long", (unsigned long)c->session.id);
            conn_break(c);
        }
        struct client_use use = client_use(c);
        client_note(c, &use);
        most.input = use.input > most.input ? use.input : most.input;
        most.output = use.output > most.output ? use.output : most.output;
    }
    n->clients.input_max[n->clients.next] = most.input;
    n->clients.output_max[n->clients.next] = most.output;
    n->clients.next = (n->clients.next + 1) % NET_RECENT_S;
}

/* --- the hooks --- */

void net_tick_set(struct net *n, uint64_t due_ns) {
    timer_set(n->shard->loop, &n->tick, due_ns);
}

/* net_trim: gives back the spares that nobody needed since the last time; when there is next to no traffic
 * their pages too. */
static ON_SHARD void net_trim(struct net *n) {
    enum { QUIET_COMMANDS = 100 };
    bool any = n->spare_batch_least + n->spare_least != 0;
    bool quiet = n->stats.commands - n->commands_then < QUIET_COMMANDS;
    batch_free_spares(n, n->spare_batch_count - n->spare_batch_least);
    output_free_spares(n, n->spare_count - n->spare_least);
    monitor_trim(n);
    if (quiet)
        input_trim(n);
    n->spare_batch_least = n->spare_batch_count;
    n->spare_least = n->spare_count;
    n->commands_then = n->stats.commands;
    if (any && quiet && n->release_s == 0)
        mem_release_idle();
}

/* net_give_back: all spares, since memory is short. */
static void net_give_back(struct shard *s) {
    shard_claim();
    struct net *n = instance_of(s)->net;
    batch_free_spares(n, 0);
    output_free_spares(n, 0);
}

/* net_cut_off: what they are still to be told would promise more than there will be. */
static void net_cut_off(struct shard *s) {
    shard_claim();
    struct net *n = instance_of(s)->net;
    for (struct list *l = n->conns.next; l != &n->conns; l = l->next)
        conn_break(CONTAINER_OF(l, struct conn, link));
}

/* Expiry waits while CLIENT PAUSE is on, as in Redis: nothing is written then. */
static ON_SHARD bool expire_slice(struct net *n) {
    struct shard *s = n->shard;
    int64_t now_ms = loop_wall_ms(s->loop);
    if (n->instance->expire_off || n->instance->pause_until_ms > now_ms)
        return false;
    uint64_t from = clock_fine_ns(), ns;
    bool more;
    do {
        more = keyspace_expire_some(s->keyspace, now_ms, NET_SLICE_ENTRIES);
        ns = clock_fine_ns() - from;
    } while (more && ns < NET_SLICE_NS);
    keyspace_stats(s->keyspace)->expiry_cuts += more;
    n->stats.expire_ns += ns;
    observe_event(s, LATENCY_EXPIRE_CYCLE, ns);
    return more;
}

/* free_slice: some of what was dropped; the pages go back a while after the last of it. */
static ON_SHARD bool free_slice(struct net *n) {
    bool any = keyspace_can_free(n->shard->keyspace), more;
    uint64_t from = clock_fine_ns(), ns;
    do {
        more = keyspace_free_some(n->shard->keyspace, NET_SLICE_ENTRIES);
        ns = clock_fine_ns() - from;
    } while (more && ns < NET_SLICE_NS);
    observe_event(n->shard, LATENCY_LAZYFREE, ns);
    if (any && !more)
        n->release_s = NET_RELEASE_S;
    return more;
}

bool net_free_slice(struct net *n) {
    bool more = free_slice(n);
    if (more && !n->shard->lent) /* the timer is the owner's */
        net_tick_set(n, loop_now_ns(n->shard->loop));
    return more;
}

/* note_events: what was slow since the last tick without being a command. */
static ON_SHARD void note_events(struct net *n) {
    struct shard *s = n->shard;
    observe_event(s, LATENCY_TABLE_GROWTH, keyspace_growth_ns(s->keyspace));
    observe_event(s, LATENCY_LOOP_TURN, s->stats.recent_turn_ns);
    s->stats.recent_turn_ns = 0;
}

/* tick: what is due is done in slices; while there is more, the next slice follows the next events. */
static void tick(struct timer *t) {
    shard_claim();
    struct net *n = t->arg;
    struct shard *s = n->shard;
    uint64_t now = loop_now_ns(s->loop);
    bool more = expire_slice(n);
    bool freeing = free_slice(n);
    bool evicting = room_slice(s);
    room_balance(s);
    note_events(n);
    metrics_tick(s);
    if (n->instance->pause_until_ms <= loop_wall_ms(s->loop))
        n->instance->pause_until_ms = 0; /* commands need not ask any more */
    if (now >= n->next_second_ns) {
        n->next_second_ns = now + 1000000000ULL;
        conn_check_all(n);
        net_trim(n);
        defrag_look(n);
        if (n->release_s != 0 && --n->release_s == 0)
            mem_release_idle();
    }
    bool crowded = client_evict_due(n); /* net_turn_end goes on with it */
    net_tick_set(n, more || freeing || evicting || crowded ? now : now + NET_TICK_MS * 1000000ULL);
}

static enum err net_start(struct shard *s) {
    shard_claim();
    struct net_shared *shared = shards_arg(s->all);
    struct instance *in = mem_zalloc(&s->mem, sizeof *in);
    struct net *n = mem_zalloc(&s->mem, sizeof *n);
    if (in == NULL || n == NULL || (in->config = config_clone(shared->config)) == NULL)
        return ERR_NOMEM;
    if ((in->watches = watch_table_create(s)) == NULL)
        return ERR_NOMEM;
    in->net = n;
    in->errands_end = &in->errands;
    in->trim = net_give_back;
    in->cut_off = net_cut_off;
    in->long_elements = WORK_ELEMENTS_MIN;
    n->shard = s;
    n->instance = in;
    n->shared = shared;
    s->app = in;
    room_configure(s);
    list_init(&n->conns);
    list_init(&n->dirty);
    list_init(&n->todo);
    list_init(&n->adopt);
    list_init(&n->monitors);
    list_init(&n->lacking);
    client_evict_init(n);
    pause_start(n);
    freed_init(n);
    outbuf_init(&n->seen, &s->mem);
    observe_start(in);
    n->parser.grow = parser_grow;
    n->parser.arg = &s->mem;
    n->tick.fire = tick;
    n->tick.arg = n;
    defrag_init(n);
    net_tick_set(n, loop_now_ns(s->loop) + 1);
    return s->id == 0 ? listen_start(n) : OK;
}

static void net_stopping(struct shard *s) {
    struct net *n = instance_of(s)->net;
    n->stopping = true;
    listen_stop(n);
    for (struct list *l = n->conns.next; l != &n->conns; l = l->next) {
        struct conn *c = CONTAINER_OF(l, struct conn, link);
        c->closing = true;
        conn_touch(c);
    }
}

static bool net_idle(struct shard *s) {
    struct net *n = instance_of(s)->net;
    return n->conn_count == 0 && n->batches_out == 0 && n->unwatching == 0 && tx_idle(&s->tx);
}

/* waits_for_exec: what QUEUED and its like say goes with the reply of the EXEC that is under way already: one send, not
 * two. */
static bool waits_for_exec(const struct conn *c) {
    return unlikely(c->first != NULL) && c->first->exec && !c->closing &&
           c->out.len - c->out_sent < NET_SPARE_BYTES / 2 && c->refs_sent == c->out.ref_count;
}

/* see_dirty: sends what connections have, and sees those to their end that have come to it. */
static ON_SHARD void see_dirty(struct net *n) {
    while (!list_empty(&n->dirty)) {
        struct conn *c = CONTAINER_OF(n->dirty.next, struct conn, dirty);
        list_del(&c->dirty);
        if (c->released) {
            if (c->batches == 0)
                conn_free(c);
            continue;
        }
        if (!waits_for_exec(c))
            output_flush(c);
        client_changed(c);
        if (unlikely(c->closing))
            conn_todo(c);
    }
}

/* net_growing: receive buffers count as all memory does: what they take is made room for, or they do with what they have. */
static bool net_growing(struct shard *s, size_t bytes) {
    shard_claim();
    return room_for_input(s, (int64_t)bytes) == ROOM_THERE;
}

static void net_turn_end(struct shard *s) {
    shard_claim();
    struct net *n = instance_of(s)->net;
    if (unlikely(n == NULL))
        return;
    monitor_send(n);
    room_settle(s);
    if (unlikely(!list_empty(&n->lacking)))
        input_try_room(n);
    see_dirty(n);
    if (unlikely(client_evict(n)))
        see_dirty(n);
    if (!s->lent)
        freed_turn_end(n);
    if (!s->lent && unlikely(!list_empty(&n->todo) || !list_empty(&n->adopt))) {
        conn_owner_work(n);
        if (!list_empty(&n->dirty))
            net_turn_end(s);
    }
    if (!s->lent && unlikely(n->instance->errands != NULL)) {
        errands_run(s);
        if (n->instance->errands != NULL) /* those that were left meanwhile come next turn */
            net_tick_set(n, s->now_ns);
        see_dirty(n);
    }
}

static void net_stop(struct shard *s) {
    shard_claim();
    struct instance *in = instance_of(s);
    struct net *n = in->net;
    /* What did not end in time: the descriptors close with the process, the memory is ours. */
    while (!list_empty(&n->conns)) {
        struct conn *c = CONTAINER_OF(n->conns.next, struct conn, link);
        (void)close(c->stream.fd);
        conn_free(c);
    }
    timer_clear(s->loop, &n->tick);
    timer_clear(s->loop, &n->pause_end);
    freed_stop(n);
    defrag_stop(n);
    outbuf_deinit(&n->seen);
    observe_stop(in, &s->mem);
    room_end(s);
    watch_table_destroy(in->watches, &s->mem);
    batch_free_spares(n, 0);
    output_free_spares(n, 0);
    input_trim(n);
    mem_free(&s->mem, n, sizeof *n);
    config_free(in->config);
    mem_free(&s->mem, in, sizeof *in);
    s->app = NULL;
}

static void reset_stats(struct shard *s) {
    struct net *n = instance_of(s)->net;
    n->stats = (struct net_stats){0};
    n->commands_then = 0;
}

void conn_register(void) {
    metrics_reset_register(reset_stats);
}

const struct shard_hooks net_hooks = {.start = net_start,
                                      .stop = net_stop,
                                      .turn_end = net_turn_end,
                                      .stopping = net_stopping,
                                      .idle = net_idle,
                                      .growing = net_growing};
