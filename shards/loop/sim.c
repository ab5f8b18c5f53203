/* sim.c: the loop over a simulated network and disk; see sim.h.
 *
 * A connection has two ends, that which was accepted and that which connected: the test's, or another
 * stream. Each end has a queue of pieces, with the time at which they arrive. A poll gathers what
 * is due for its loop, shuffles it and handles a random number of the events, at least one.
 */
#include "shards/sim.h"
#include "loop_impl.h"
#include "shards/clock.h"
#include "shards/rng.h"
#include "sim_impl.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

enum {
    FD_FIRST = 1 << 24, /* beyond what any kernel hands out */
    START_NS = 1000 * 1000 * 1000,
};
static const int64_t start_wall_us = 1700000000LL * 1000000;

enum { ACCEPTED, CONNECTED, ENDS };

struct end {
    struct sim_client *client;
    int fd; /* -1: the test's */
    struct loop
        *loop; /* that serves it; NULL before it is armed and after close, and of the test's */
    struct stream *stream;
    struct pipe in;
    bool closed;     /* of the test's: freed */
    bool reset_seen; /* was told of the reset */
};

struct sim_client {
    struct sim_net *net;
    struct list link;
    struct end ends[ENDS];
    uint64_t accept_due_ns;  /* 0: was accepted */
    uint64_t connect_due_ns; /* of a stream: when it learns that it is connected */
    uint16_t port;
    bool reset; /* both ways are dead */
};

struct sim_listener {
    struct list link;
    int fd;
    uint16_t port;
};

/* A request of a file, with the disk until due_ns. */
struct disk_job {
    struct file_request *request; /* NULL: none */
    uint64_t due_ns;
};

struct sim_loop {
    struct list link;
    struct loop *loop;
    unsigned wakes;
    uint64_t wake_due_ns;
    struct disk_job jobs[FILE_REQUESTS_MAX];
};

struct sim_net {
    struct mem mem;
    struct rng rng;
    struct sim_faults faults;
    uint64_t now_ns;
    int next_fd;
    unsigned dispatching; /* while > 0, no connection is freed */
    struct list clients, listeners, loops;
    struct sim_disk *disk;
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

/* --- the network --- */

enum err sim_create(struct sim_net **out, uint64_t seed) {
    ASSERT(current == NULL);
    struct mem first = {0};
    struct sim_net *net = mem_zalloc(&first, sizeof(*net));
    if (net == NULL)
        return ERR_NOMEM;
    net->disk = sim_disk_create(seed);
    if (net->disk == NULL) {
        mem_free(&first, net, sizeof(*net));
        return ERR_NOMEM;
    }
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
    pipe_clear(&c->net->mem, &c->ends[ACCEPTED].in);
    pipe_clear(&c->net->mem, &c->ends[CONNECTED].in);
    list_del(&c->link);
    mem_free(&c->net->mem, c, sizeof(*c));
}

/* Frees connections that neither side needs. Not while a poll has a list of them. */
static void sweep(struct sim_net *net) {
    for (struct list *at = net->clients.next, *next = at->next; at != &net->clients;
         at = next, next = at->next) {
        struct sim_client *c = CONTAINER_OF(at, struct sim_client, link);
        if (net->dispatching == 0 && c->ends[ACCEPTED].closed && c->ends[CONNECTED].closed)
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
    sim_disk_destroy(net->disk);
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

static struct end *end_of(struct sim_net *net, int fd) {
    for (struct list *at = net->clients.next; at != &net->clients; at = at->next) {
        struct sim_client *c = CONTAINER_OF(at, struct sim_client, link);
        for (size_t i = 0; i < ENDS; i++)
            if (c->ends[i].fd == fd)
                return &c->ends[i];
    }
    return NULL;
}

static struct end *other_end(const struct end *e) {
    struct end *ends = e->client->ends;
    return e == &ends[ACCEPTED] ? &ends[CONNECTED] : &ends[ACCEPTED];
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
    for (size_t i = 0; i < ENDS; i++) {
        c->ends[i] = (struct end){.client = c, .fd = -1};
        pipe_init(&c->ends[i].in);
    }
    c->ends[ACCEPTED].fd = net->next_fd++;
    c->port = port;
    c->accept_due_ns = arrival_ns(net);
    list_add_tail(&net->clients, &c->link);
    return c;
}

bool sim_client_write(struct sim_client *c, const void *data, size_t len) {
    struct end *to = &c->ends[ACCEPTED];
    if (c->reset || to->closed || to->in.ended)
        return false;
    if (len == 0)
        return true; /* a piece without bytes would be the end */
    struct piece *piece = pipe_add(&c->net->mem, &to->in, len, arrival_ns(c->net));
    if (piece == NULL)
        return false;
    memcpy(piece->bytes, data, len);
    return true;
}

/* What has arrived at an end, at most len; 0 at the end of it, -EAGAIN when there is nothing yet. */
static ssize_t take(struct end *e, char *dst, size_t len) {
    struct sim_net *net = e->client->net;
    size_t n = pipe_arrived(&e->in, net->now_ns);
    if (n == 0)
        return pipe_over(&e->in, net->now_ns) ? 0 : -EAGAIN;
    n = some_of(net, n < len ? n : len, 1, net->faults.short_read_in);
    pipe_take(&net->mem, &e->in, dst, n);
    return (ssize_t)n;
}

ssize_t sim_client_read(struct sim_client *c, void *data, size_t len) {
    if (c->reset)
        return -1;
    ssize_t n = take(&c->ends[CONNECTED], data, len);
    return n > 0 ? n : n == 0 ? -1 : 0;
}

void sim_client_close(struct sim_client *c) {
    pipe_end(&c->net->mem, &c->ends[ACCEPTED].in, arrival_ns(c->net));
}

void sim_client_reset(struct sim_client *c) {
    c->reset = true;
    for (size_t i = 0; i < ENDS; i++) {
        c->ends[i].in.ended = true;
        pipe_clear(&c->net->mem, &c->ends[i].in);
    }
}

bool sim_client_was_reset(const struct sim_client *c) {
    return c->reset;
}

void sim_client_free(struct sim_client *c) {
    sim_client_close(c);
    c->ends[CONNECTED].closed = true;
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
        for (size_t i = 0; i < ENDS; i++)
            if (c->ends[i].loop == l)
                c->ends[i].loop = NULL;
    }
    list_del(&sl->link);
    mem_free(l->mem, sl, sizeof(*sl));
}

static enum err attach(struct loop *l) {
    (void)l;
    return OK;
}

static bool arm(struct loop *l, struct stream *s) {
    if (s->fd < 0)
        return true;
    struct end *e = end_of(current, s->fd);
    ASSERT(e != NULL);
    e->loop = l;
    e->stream = s;
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
    struct sim_net *net = current;
    const struct end *e = end_of(net, s->fd);
    ASSERT(e != NULL);
    if (e->client->reset)
        return e->reset_seen ? -EPIPE : -ECONNRESET;
    struct end *to = other_end(e);
    if (to->closed)
        return -EPIPE;
    size_t total = 0, room = SIM_WINDOW_BYTES - to->in.unread;
    for (int i = 0; i < iov_len; i++)
        total += iov[i].iov_len;
    size_t n = some_of(net, total < room ? total : room, 0, net->faults.short_write_in);
    struct piece *piece = n > 0 ? pipe_add(&net->mem, &to->in, n, arrival_ns(net)) : NULL;
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
    struct end *e = end_of(current, s->fd);
    ASSERT(e != NULL);
    if (e->client->reset) {
        e->reset_seen = true;
        return -ECONNRESET;
    }
    return take(e, dst, len);
}

/* Refused at once when nobody listens; else it is on its way. */
static int connect_to(struct loop *l, const struct sockaddr *addr, socklen_t addr_len) {
    struct sockaddr_in in;
    if ((addr->sa_family != AF_INET && addr->sa_family != AF_INET6) || addr_len < sizeof(in))
        return -EAFNOSUPPORT;
    memcpy(&in, addr, sizeof(in)); /* the port lies at the same place in both */
    struct sim_client *c = sim_connect(current, ntohs(in.sin_port));
    if (c == NULL)
        return -ECONNREFUSED;
    (void)l;
    c->connect_due_ns = arrival_ns(current);
    c->ends[CONNECTED].fd = current->next_fd++;
    return c->ends[CONNECTED].fd;
}

static int connected(const struct stream *s) {
    return end_of(current, s->fd)->client->reset ? ECONNREFUSED : 0;
}

static void close_fd(int fd) {
    if (sim_disk_has(current->disk, fd)) {
        sim_disk_close(current->disk, fd);
        return;
    }
    struct sim_listener *sl = listener_of(current, fd);
    if (sl != NULL) {
        list_del(&sl->link);
        mem_free(&current->mem, sl, sizeof(*sl));
        return;
    }
    struct end *e = end_of(current, fd);
    if (e == NULL)
        return;
    e->closed = true;
    e->loop = NULL;
    e->fd = -1;
    pipe_clear(&current->mem, &e->in);
    pipe_end(&current->mem, &other_end(e)->in, arrival_ns(current));
}

/* --- files --- */

struct sim_disk *sim_disk_of(struct sim_net *net) {
    return net->disk;
}

static bool file_begin(struct loop *l, struct file_request *r) {
    struct disk_job *job = sim_loop_of(l)->jobs;
    while (job->request != NULL)
        job++; /* one is free: no more than these are under way */
    *job = (struct disk_job){r, current->now_ns + sim_disk_take_ns(current->disk)};
    return true;
}

static void do_job(struct loop *l, struct disk_job *job) {
    struct file_request *r = job->request;
    job->request = NULL;
    loop_file_over(l, r, sim_disk_do(current->disk, r));
}

static int64_t file_size_of(int fd) {
    return sim_disk_size(current->disk, fd);
}

static void file_wait(struct loop *l) {
    struct sim_loop *sl = sim_loop_of(l);
    for (size_t i = 0; i < FILE_REQUESTS_MAX; i++)
        if (sl->jobs[i].request != NULL)
            do_job(l, &sl->jobs[i]);
}

static void halt(struct sim_net *net, bool forget) {
    for (struct list *at = net->loops.next; at != &net->loops; at = at->next) {
        const struct sim_loop *sl = CONTAINER_OF(at, struct sim_loop, link);
        for (size_t i = 0; i < FILE_REQUESTS_MAX; i++)
            if (sl->jobs[i].request != NULL)
                sim_disk_halt(net->disk, sl->jobs[i].request);
    }
    sim_disk_off(net->disk, forget);
}

void sim_disk_kill(struct sim_net *net) {
    halt(net, false);
}

void sim_disk_crash(struct sim_net *net) {
    halt(net, true);
}

void sim_disk_boot(struct sim_net *net) {
    sim_disk_on(net->disk);
}

/* --- events --- */

struct event {
    struct end *end; /* of a read, a write or a connection */
    struct acceptor *acceptor;
    struct disk_job *job;
    bool writable;
};

/* When the loop of `e` may read; UINT64_MAX: not unless something changes. */
static uint64_t readable_ns(const struct sim_net *net, const struct end *e) {
    if (e->stream->flags & STREAM_NOT_RECEIVING)
        return UINT64_MAX;
    const struct piece *first = pipe_first(&e->in);
    if (e->client->reset || (first == NULL && e->in.ended))
        return net->now_ns;
    return first != NULL ? first->due_ns : UINT64_MAX;
}

/* The same, of writing, or of learning that it is connected. */
static uint64_t writable_ns(const struct sim_net *net, const struct end *e) {
    if ((e->stream->flags & (STREAM_WANT_WRITE | STREAM_CLOSED)) != STREAM_WANT_WRITE)
        return UINT64_MAX;
    const struct end *to = other_end(e);
    if (e->client->reset || to->closed)
        return net->now_ns;
    if (e->stream->flags & STREAM_CONNECTING)
        return e->client->connect_due_ns;
    return to->in.unread < SIM_WINDOW_BYTES ? net->now_ns : UINT64_MAX;
}

static unsigned gather_jobs(struct sim_loop *sl, struct event *events) {
    unsigned n = 0;
    for (size_t i = 0; i < FILE_REQUESTS_MAX; i++)
        if (sl->jobs[i].request != NULL && sl->jobs[i].due_ns <= current->now_ns)
            events[n++] = (struct event){.job = &sl->jobs[i]};
    return n;
}

static unsigned gather_ends(struct loop *l, struct event *events, unsigned n) {
    for (struct list *at = current->clients.next; at != &current->clients; at = at->next) {
        struct sim_client *c = CONTAINER_OF(at, struct sim_client, link);
        for (size_t i = 0; i < ENDS; i++) {
            struct end *e = &c->ends[i];
            if (e->loop != l || n + 2 > LOOP_EVENTS_MAX)
                continue;
            if (readable_ns(current, e) <= current->now_ns)
                events[n++] = (struct event){.end = e};
            if (writable_ns(current, e) <= current->now_ns)
                events[n++] = (struct event){.end = e, .writable = true};
        }
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
    unsigned n = gather_ends(l, events, gather_jobs(sim_loop_of(l), events));
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
    loop_accepted(l, a, c->ends[ACCEPTED].fd);
}

static void handle(struct loop *l, const struct event *e) {
    if (e->acceptor != NULL) {
        accept_one(l, e->acceptor);
        return;
    }
    if (e->job != NULL) {
        do_job(l, e->job);
        return;
    }
    struct end *end = e->end;
    if (end->loop != l)
        return; /* closed by an earlier event */
    if (chance(current, current->faults.reset_in))
        sim_client_reset(end->client);
    if (!e->writable)
        loop_receive(l, end->stream);
    else if (writable_ns(current, end) <= current->now_ns)
        loop_writable(l, end->stream);
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
        (!list_empty(&l->starved) && buf_free_count(&l->pool) > 0) ||
        (!list_empty(&l->files.waiting) && l->files.under_way < FILE_REQUESTS_MAX))
        return net->now_ns;
    uint64_t due_ns = wheel_next_ns(&l->wheel);
    for (size_t i = 0; i < FILE_REQUESTS_MAX && l->files.under_way > 0; i++)
        if (sl->jobs[i].request != NULL)
            due_ns = earlier(due_ns, sl->jobs[i].due_ns);
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
        for (size_t i = 0; i < ENDS; i++) {
            const struct end *e = &c->ends[i];
            if (e->loop != NULL)
                due_ns = earlier(due_ns, earlier(writable_ns(net, e), readable_ns(net, e)));
        }
        /* For the test: what has arrived is there to be read, what is on its way needs time. */
        const struct piece *first = pipe_first(&c->ends[CONNECTED].in);
        if (c->ends[CONNECTED].fd < 0 && first != NULL && first->due_ns > net->now_ns)
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
    .connect = connect_to,
    .connected = connected,
    .file_begin = file_begin,
    .file_size = file_size_of,
    .file_wait = file_wait,
};
