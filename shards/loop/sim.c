/* sim.c: the loop over a simulated network; see sim.h.
 *
 * A connection is two queues of pieces, each with the time at which it arrives. A poll gathers what
 * is due for its loop, shuffles it and handles a random number of the events, at least one.
 */
#include "shards/sim.h"
#include "loop_impl.h"
#include "shards/clock.h"
#include "shards/rng.h"
#include <errno.h>
#include <stddef.h>
#include <string.h>

enum {
    FD_FIRST = 1 << 24, /* beyond what any kernel hands out */
    START_NS = 1000 * 1000 * 1000,
};
static const int64_t start_wall_us = 1700000000LL * 1000000;

/* Bytes on their way. A piece without bytes is the orderly end. */
struct piece {
    struct list link;
    uint64_t due_ns;
    size_t off, len;
    char bytes[];
};

struct pipe {
    struct list pieces;
    size_t unread;
    uint64_t last_due_ns; /* pieces do not overtake each other */
    bool ended;           /* nothing may be added */
};

struct sim_client {
    struct sim_net *net;
    struct list link;
    int fd;
    struct loop *loop; /* that serves it; NULL before stream_start and after close */
    struct stream *stream;
    struct pipe to_server, to_client;
    uint64_t accept_due_ns; /* 0: was accepted */
    uint16_t port;
    bool server_closed;
    bool client_freed;
    bool reset;      /* both ways are dead */
    bool reset_seen; /* the server was told */
};

struct sim_listener {
    struct list link;
    int fd;
    uint16_t port;
};

struct sim_loop {
    struct list link;
    struct loop *loop;
    unsigned wakes;
    uint64_t wake_due_ns;
};

struct sim_net {
    struct mem mem;
    struct rng rng;
    struct sim_faults faults;
    uint64_t now_ns;
    int next_fd;
    unsigned dispatching; /* while > 0, no connection is freed */
    struct list clients, listeners, loops;
    void (*on_sleep)(void *arg, struct loop *l);
    void *on_sleep_arg;
};

/* The network in use: loop_create and the clock have no other way to it. */
static struct sim_net *current;

static uint64_t sim_mono_ns(void) {
    return current->now_ns;
}

static int64_t sim_wall_us(void) {
    return start_wall_us + (int64_t)(current->now_ns / 1000);
}

static bool chance(struct sim_net *net, uint32_t one_in) {
    return one_in > 0 && rng_below(&net->rng, one_in) == 0;
}

static uint64_t arrival_ns(struct sim_net *net) {
    uint64_t max = net->faults.delay_max_ns;
    return net->now_ns + (max > 0 ? rng_below(&net->rng, max + 1) : 0);
}

/* Some of `n`: between `least` and n, often n. */
static size_t some_of(struct sim_net *net, size_t n, size_t least, uint32_t short_in) {
    if (n <= least || !chance(net, short_in))
        return n;
    return least + rng_below(&net->rng, n - least);
}

/* --- pipes --- */

static void pipe_init(struct pipe *p) {
    list_init(&p->pieces);
}

static struct piece *pipe_first(const struct pipe *p) {
    return list_empty(&p->pieces) ? NULL : CONTAINER_OF(p->pieces.next, struct piece, link);
}

static void piece_free(struct sim_net *net, struct piece *piece) {
    list_del(&piece->link);
    /* len was reduced as bytes were read, and off grew by as much. */
    mem_free(&net->mem, piece, sizeof(*piece) + piece->off + piece->len);
}

static void pipe_clear(struct sim_net *net, struct pipe *p) {
    while (!list_empty(&p->pieces))
        piece_free(net, pipe_first(p));
    p->unread = 0;
}

/* Appends a piece of `len` bytes for the caller to fill; NULL without memory. */
static struct piece *pipe_add(struct sim_net *net, struct pipe *p, size_t len) {
    struct piece *piece = mem_alloc(&net->mem, sizeof(*piece) + len);
    if (piece == NULL)
        return NULL;
    uint64_t due_ns = arrival_ns(net);
    if (due_ns < p->last_due_ns)
        due_ns = p->last_due_ns;
    *piece = (struct piece){.due_ns = due_ns, .len = len};
    p->last_due_ns = due_ns;
    p->unread += len;
    list_add_tail(&p->pieces, &piece->link);
    return piece;
}

static size_t pipe_arrived(const struct sim_net *net, const struct pipe *p) {
    size_t n = 0;
    for (const struct list *at = p->pieces.next; at != &p->pieces; at = at->next) {
        const struct piece *piece = CONTAINER_OF(at, struct piece, link);
        if (piece->due_ns > net->now_ns)
            break;
        n += piece->len;
    }
    return n;
}

/* Takes exactly n bytes, which have arrived. */
static void pipe_take(struct sim_net *net, struct pipe *p, char *dst, size_t n) {
    p->unread -= n;
    while (n > 0) {
        struct piece *piece = pipe_first(p);
        size_t part = piece->len < n ? piece->len : n;
        memcpy(dst, piece->bytes + piece->off, part);
        dst += part;
        n -= part;
        piece->off += part;
        piece->len -= part;
        if (piece->len == 0)
            piece_free(net, piece);
    }
}

/* The end has been reached and has arrived. */
static bool pipe_over(const struct sim_net *net, const struct pipe *p) {
    const struct piece *first = pipe_first(p);
    return p->ended && (first == NULL || (first->len == 0 && first->due_ns <= net->now_ns));
}

static void pipe_end(struct sim_net *net, struct pipe *p) {
    if (p->ended)
        return;
    p->ended = true;
    /* Without memory for the piece the end arrives with the last byte. */
    struct piece *end = pipe_add(net, p, 0);
    (void)end;
}

/* --- the network --- */

enum err sim_create(struct sim_net **out, uint64_t seed) {
    ASSERT(current == NULL);
    struct mem first = {0};
    struct sim_net *net = mem_zalloc(&first, sizeof(*net));
    if (net == NULL)
        return ERR_NOMEM;
    rng_seed(&net->rng, seed);
    net->now_ns = START_NS;
    net->next_fd = FD_FIRST;
    list_init(&net->clients);
    list_init(&net->listeners);
    list_init(&net->loops);
    current = net;
    clock_replace(sim_mono_ns, sim_wall_us);
    *out = net;
    return OK;
}

static void client_free(struct sim_client *c) {
    pipe_clear(c->net, &c->to_server);
    pipe_clear(c->net, &c->to_client);
    list_del(&c->link);
    mem_free(&c->net->mem, c, sizeof(*c));
}

/* Frees connections that neither side needs. Not while a poll has a list of them. */
static void sweep(struct sim_net *net) {
    for (struct list *at = net->clients.next, *next = at->next; at != &net->clients;
         at = next, next = at->next) {
        struct sim_client *c = CONTAINER_OF(at, struct sim_client, link);
        if (net->dispatching == 0 && c->client_freed && c->server_closed)
            client_free(c);
    }
}

void sim_destroy(struct sim_net *net) {
    ASSERT(list_empty(&net->loops));
    while (!list_empty(&net->clients))
        client_free(CONTAINER_OF(net->clients.next, struct sim_client, link));
    while (!list_empty(&net->listeners)) {
        struct sim_listener *sl = CONTAINER_OF(net->listeners.next, struct sim_listener, link);
        list_del(&sl->link);
        mem_free(&net->mem, sl, sizeof(*sl));
    }
    clock_replace(NULL, NULL);
    current = NULL;
    struct mem last = {0};
    mem_free(&last, net, sizeof(*net));
}

void sim_set_faults(struct sim_net *net, const struct sim_faults *faults) {
    net->faults = *faults;
}

void sim_on_sleep(struct sim_net *net, void (*fn)(void *arg, struct loop *l), void *arg) {
    net->on_sleep = fn;
    net->on_sleep_arg = arg;
}

uint64_t sim_now_ns(const struct sim_net *net) {
    return net->now_ns;
}

void sim_advance(struct sim_net *net, uint64_t ns) {
    net->now_ns += ns;
}

int sim_listen(struct sim_net *net, uint16_t port) {
    struct sim_listener *sl = mem_zalloc(&net->mem, sizeof(*sl));
    if (sl == NULL)
        return -1;
    sl->fd = net->next_fd++;
    sl->port = port;
    list_add_tail(&net->listeners, &sl->link);
    return sl->fd;
}

static struct sim_listener *listener_of(struct sim_net *net, int fd) {
    for (struct list *at = net->listeners.next; at != &net->listeners; at = at->next) {
        struct sim_listener *sl = CONTAINER_OF(at, struct sim_listener, link);
        if (sl->fd == fd)
            return sl;
    }
    return NULL;
}

static struct sim_client *client_of(struct sim_net *net, int fd) {
    for (struct list *at = net->clients.next; at != &net->clients; at = at->next) {
        struct sim_client *c = CONTAINER_OF(at, struct sim_client, link);
        if (c->fd == fd)
            return c;
    }
    return NULL;
}

/* --- client ends --- */

/* Counts those that wait for an accept; *listens: does anyone? */
static unsigned waiting_at(struct sim_net *net, uint16_t port, bool *listens) {
    *listens = false;
    for (struct list *at = net->listeners.next; at != &net->listeners; at = at->next)
        *listens |= CONTAINER_OF(at, struct sim_listener, link)->port == port;
    unsigned n = 0;
    for (struct list *at = net->clients.next; at != &net->clients; at = at->next) {
        struct sim_client *c = CONTAINER_OF(at, struct sim_client, link);
        n += c->port == port && c->accept_due_ns != 0;
    }
    return n;
}

struct sim_client *sim_connect(struct sim_net *net, uint16_t port) {
    sweep(net);
    bool listens;
    if (waiting_at(net, port, &listens) >= SIM_BACKLOG || !listens)
        return NULL;
    struct sim_client *c = mem_zalloc(&net->mem, sizeof(*c));
    if (c == NULL)
        return NULL;
    c->net = net;
    c->fd = net->next_fd++;
    c->port = port;
    c->accept_due_ns = arrival_ns(net);
    pipe_init(&c->to_server);
    pipe_init(&c->to_client);
    list_add_tail(&net->clients, &c->link);
    return c;
}

bool sim_client_write(struct sim_client *c, const void *data, size_t len) {
    if (c->reset || c->server_closed || c->to_server.ended)
        return false;
    if (len == 0)
        return true; /* a piece without bytes would be the end */
    struct piece *piece = pipe_add(c->net, &c->to_server, len);
    if (piece == NULL)
        return false;
    memcpy(piece->bytes, data, len);
    return true;
}

ssize_t sim_client_read(struct sim_client *c, void *data, size_t len) {
    if (c->reset)
        return -1;
    size_t n = pipe_arrived(c->net, &c->to_client);
    if (n == 0)
        return pipe_over(c->net, &c->to_client) ? -1 : 0;
    n = some_of(c->net, n < len ? n : len, 1, c->net->faults.short_read_in);
    pipe_take(c->net, &c->to_client, data, n);
    return (ssize_t)n;
}

void sim_client_close(struct sim_client *c) {
    pipe_end(c->net, &c->to_server);
}

void sim_client_reset(struct sim_client *c) {
    c->reset = true;
    c->to_server.ended = c->to_client.ended = true;
    pipe_clear(c->net, &c->to_server);
    pipe_clear(c->net, &c->to_client);
}

bool sim_client_was_reset(const struct sim_client *c) {
    return c->reset;
}

void sim_client_free(struct sim_client *c) {
    sim_client_close(c);
    c->client_freed = true;
    sweep(c->net);
}

/* --- the backend --- */

static struct sim_loop *sim_loop_of(const struct loop *l) {
    return l->backend;
}

static enum err create(struct loop *l, const char **why) {
    *why = "there is no simulated network";
    if (current == NULL)
        return ERR_UNSUPPORTED;
    *why = "no memory for the loop";
    struct sim_loop *sl = mem_zalloc(l->mem, sizeof(*sl));
    if (sl == NULL)
        return ERR_NOMEM;
    if (buf_pool_init(l, NULL) != OK) {
        buf_pool_deinit(l);
        mem_free(l->mem, sl, sizeof(*sl));
        return ERR_NOMEM;
    }
    sl->loop = l;
    list_add_tail(&current->loops, &sl->link);
    l->backend = sl;
    return OK;
}

static void destroy(struct loop *l) {
    struct sim_loop *sl = sim_loop_of(l);
    for (struct list *at = current->clients.next; at != &current->clients; at = at->next) {
        struct sim_client *c = CONTAINER_OF(at, struct sim_client, link);
        if (c->loop == l)
            c->loop = NULL;
    }
    list_del(&sl->link);
    mem_free(l->mem, sl, sizeof(*sl));
}

static enum err attach(struct loop *l) {
    (void)l;
    return OK;
}

static bool arm(struct loop *l, struct stream *s) {
    if (s->flags & STREAM_CLOSED)
        return true;
    struct sim_client *c = client_of(current, s->fd);
    ASSERT(c != NULL);
    c->loop = l;
    c->stream = s;
    return true;
}

static bool arm_acceptor(struct loop *l, struct acceptor *a) {
    (void)l;
    a->armed = false; /* nothing outlives a listener here */
    return true;
}

static bool prepare(struct loop *l) {
    (void)l;
    return false;
}

static void wait(struct loop *l, uint64_t timeout_ns) {
    if (timeout_ns > 0 && current->on_sleep != NULL)
        current->on_sleep(current->on_sleep_arg, l);
}

static void wake(struct loop *from, struct loop *to) {
    (void)from;
    struct sim_loop *sl = sim_loop_of(to);
    if (sl->wakes++ == 0)
        sl->wake_due_ns = arrival_ns(current);
}

unsigned sim_pending_wakes(const struct loop *l) {
    return sim_loop_of(l)->wakes + (l->woken_self ? 1 : 0);
}

static ssize_t send_bytes(struct stream *s, const struct iovec *iov, int iov_len) {
    struct sim_client *c = client_of(current, s->fd);
    struct sim_net *net = current;
    ASSERT(c != NULL);
    if (c->reset)
        return c->reset_seen ? -EPIPE : -ECONNRESET;
    if (c->client_freed)
        return -EPIPE;
    size_t total = 0, room = SIM_WINDOW_BYTES - c->to_client.unread;
    for (int i = 0; i < iov_len; i++)
        total += iov[i].iov_len;
    size_t n = some_of(net, total < room ? total : room, 0, net->faults.short_write_in);
    struct piece *piece = n > 0 ? pipe_add(net, &c->to_client, n) : NULL;
    if (piece == NULL)
        return 0;
    size_t done = 0;
    for (int i = 0; i < iov_len && done < n; i++) {
        size_t part = iov[i].iov_len < n - done ? iov[i].iov_len : n - done;
        if (part > 0)
            memcpy(piece->bytes + done, iov[i].iov_base, part);
        done += part;
    }
    return (ssize_t)n;
}

static ssize_t receive(struct stream *s, char *dst, size_t len) {
    struct sim_client *c = client_of(current, s->fd);
    ASSERT(c != NULL);
    if (c->reset) {
        c->reset_seen = true;
        return -ECONNRESET;
    }
    size_t n = pipe_arrived(current, &c->to_server);
    if (n == 0)
        return pipe_over(current, &c->to_server) ? 0 : -EAGAIN;
    n = some_of(current, n < len ? n : len, 1, current->faults.short_read_in);
    pipe_take(current, &c->to_server, dst, n);
    return (ssize_t)n;
}

static void close_fd(int fd) {
    struct sim_listener *sl = listener_of(current, fd);
    if (sl != NULL) {
        list_del(&sl->link);
        mem_free(&current->mem, sl, sizeof(*sl));
        return;
    }
    struct sim_client *c = client_of(current, fd);
    if (c == NULL)
        return;
    c->server_closed = true;
    c->loop = NULL;
    pipe_clear(current, &c->to_server);
    pipe_end(current, &c->to_client);
}

/* --- events --- */

struct event {
    struct sim_client *client; /* of a read, a write or a connection */
    struct acceptor *acceptor;
    bool writable;
};

/* When the loop of `c` may read; UINT64_MAX: not unless something changes. */
static uint64_t readable_ns(const struct sim_net *net, const struct sim_client *c) {
    if (c->stream->flags &
        (STREAM_PAUSED | STREAM_CLOSED | STREAM_ENDED | STREAM_HELD | STREAM_STARVED))
        return UINT64_MAX;
    const struct piece *first = pipe_first(&c->to_server);
    if (c->reset || (first == NULL && c->to_server.ended))
        return net->now_ns;
    return first != NULL ? first->due_ns : UINT64_MAX;
}

static bool writable(const struct sim_client *c) {
    return (c->stream->flags & (STREAM_WANT_WRITE | STREAM_CLOSED)) == STREAM_WANT_WRITE &&
           (c->reset || c->client_freed || c->to_client.unread < SIM_WINDOW_BYTES);
}

static unsigned gather_clients(struct loop *l, struct event *events) {
    unsigned n = 0;
    for (struct list *at = current->clients.next; at != &current->clients; at = at->next) {
        struct sim_client *c = CONTAINER_OF(at, struct sim_client, link);
        if (c->loop != l || n + 2 > LOOP_EVENTS_MAX)
            continue;
        if (readable_ns(current, c) <= current->now_ns)
            events[n++] = (struct event){.client = c};
        if (writable(c))
            events[n++] = (struct event){.client = c, .writable = true};
    }
    return n;
}

/* The first connection that waits for `a`; NULL: none. due only: and has arrived. */
static struct sim_client *waiting_for(const struct acceptor *a, bool due_only) {
    if (a->listener == NULL || a->listener->paused)
        return NULL;
    const struct sim_listener *sl = listener_of(current, a->fd);
    for (struct list *at = current->clients.next; at != &current->clients; at = at->next) {
        struct sim_client *c = CONTAINER_OF(at, struct sim_client, link);
        if (c->port == sl->port && c->accept_due_ns != 0 &&
            (!due_only || c->accept_due_ns <= current->now_ns))
            return c;
    }
    return NULL;
}

static unsigned gather(struct loop *l, struct event *events) {
    unsigned n = gather_clients(l, events);
    for (struct list *at = l->acceptors.next; at != &l->acceptors && n < LOOP_EVENTS_MAX;
         at = at->next) {
        struct acceptor *a = CONTAINER_OF(at, struct acceptor, link);
        if (waiting_for(a, true) != NULL)
            events[n++] = (struct event){.acceptor = a};
    }
    for (unsigned i = n; i > 1; i--) {
        unsigned j = (unsigned)rng_below(&current->rng, i);
        struct event e = events[j];
        events[j] = events[i - 1];
        events[i - 1] = e;
    }
    return n;
}

static void accept_one(struct loop *l, struct acceptor *a) {
    struct sim_client *c = waiting_for(a, true);
    if (c == NULL)
        return;
    if (chance(current, current->faults.accept_failed_in)) {
        loop_accepted(l, a, -EMFILE);
        return;
    }
    c->accept_due_ns = 0;
    loop_accepted(l, a, c->fd);
}

static void handle(struct loop *l, const struct event *e) {
    if (e->acceptor != NULL) {
        accept_one(l, e->acceptor);
        return;
    }
    struct sim_client *c = e->client;
    if (c->loop != l)
        return; /* closed by an earlier event */
    if (chance(current, current->faults.reset_in))
        sim_client_reset(c);
    struct stream *s = c->stream;
    if (!e->writable) {
        loop_receive(l, s);
    } else if (writable(c)) {
        s->flags &= ~(uint32_t)STREAM_WANT_WRITE;
        s->ops->on_writable(s);
    }
}

static unsigned dispatch(struct loop *l) {
    struct sim_loop *sl = sim_loop_of(l);
    unsigned handled = 0;
    if (sl->wakes > 0 && sl->wake_due_ns <= current->now_ns) {
        handled += sl->wakes;
        sl->wakes = 0;
        atomic_store(&l->woken, false);
    }
    struct event events[LOOP_EVENTS_MAX];
    unsigned n = gather(l, events);
    if (n == 0)
        return handled;
    unsigned some = 1 + (unsigned)rng_below(&current->rng, n);
    current->dispatching++;
    for (unsigned i = 0; i < some; i++)
        handle(l, &events[i]);
    current->dispatching--;
    sweep(current);
    return handled + some;
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t loop_due_ns(const struct sim_net *net, const struct sim_loop *sl) {
    struct loop *l = sl->loop;
    if (!list_empty(&l->todo) || !list_empty(&l->ready) || l->woken_self || l->acceptors_todo ||
        (!list_empty(&l->starved) && buf_free_count(&l->pool) > 0))
        return net->now_ns;
    uint64_t due_ns = wheel_next_ns(&l->wheel);
    if (sl->wakes > 0)
        due_ns = earlier(due_ns, sl->wake_due_ns);
    for (struct list *at = l->acceptors.next; at != &l->acceptors; at = at->next) {
        const struct sim_client *c = waiting_for(CONTAINER_OF(at, struct acceptor, link), false);
        if (c != NULL)
            due_ns = earlier(due_ns, c->accept_due_ns);
    }
    return due_ns;
}

uint64_t sim_next_due_ns(const struct sim_net *net) {
    uint64_t due_ns = UINT64_MAX;
    for (struct list *at = net->loops.next; at != &net->loops; at = at->next)
        due_ns = earlier(due_ns, loop_due_ns(net, CONTAINER_OF(at, struct sim_loop, link)));
    for (struct list *at = net->clients.next; at != &net->clients; at = at->next) {
        const struct sim_client *c = CONTAINER_OF(at, struct sim_client, link);
        if (c->loop != NULL)
            due_ns = earlier(due_ns, writable(c) ? net->now_ns : readable_ns(net, c));
        /* For the test: what has arrived is there to be read, what is on its way needs time. */
        const struct piece *first = pipe_first(&c->to_client);
        if (first != NULL && first->due_ns > net->now_ns)
            due_ns = earlier(due_ns, first->due_ns);
    }
    return due_ns > net->now_ns ? due_ns : net->now_ns;
}

static bool quiet(const struct loop *l) {
    (void)l;
    return true;
}

const struct io_ops sim_ops = {
    .name = "sim",
    .create = create,
    .destroy = destroy,
    .attach = attach,
    .arm = arm,
    .arm_acceptor = arm_acceptor,
    .prepare = prepare,
    .wait = wait,
    .quiet = quiet,
    .dispatch = dispatch,
    .wake = wake,
    .send = send_bytes,
    .receive = receive,
    .close = close_fd,
};
