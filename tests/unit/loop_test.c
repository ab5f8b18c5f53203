/* loop_test.c: the contract of loop.h, over every backend and with every feature taken away. */
#include "shards/clock.h"
#include "shards/loop.h"
#include "shards/rng.h"
#include "shards/sim.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SUITE loop
#define REAL_VARIANTS(X, test)                                                                     \
    X(test, uring, LOOP_URING, 0)                                                                  \
    X(test, uring_coop, LOOP_URING, LOOP_DEFER_TASKRUN)                                            \
    X(test, uring_plain, LOOP_URING, LOOP_DEFER_TASKRUN | LOOP_COOP_TASKRUN)                       \
    X(test, uring_not_registered, LOOP_URING, LOOP_REGISTERED_RING)                                \
    X(test, uring_no_buf_ring, LOOP_URING, LOOP_BUF_RING)                                          \
    X(test, uring_no_multishot_recv, LOOP_URING, LOOP_MULTISHOT_RECV)                              \
    X(test, uring_no_multishot_accept, LOOP_URING, LOOP_MULTISHOT_ACCEPT)                          \
    X(test, uring_bare, LOOP_URING, 0xff)                                                          \
    X(test, epoll, LOOP_EPOLL, 0)
#include "loop_variants.h"

/* --- a loop, a listener, connections and their peers --- */

enum { CONNS_MAX = 80, BYTES_MAX = 4 << 20, IDLE_MAX = 500, SIM_PORT = 1 };

struct conn {
    struct stream stream;
    struct world *w;
    int peer; /* real backends */
    struct sim_client *sim_peer;
    bool started;
    size_t received; /* bytes, all of the pattern */
    size_t data_calls, direct_bytes, direct_largest, writable_calls, end_calls, released_calls;
    int end_error;
    size_t sent;   /* by the peer */
    size_t offset; /* of the pattern */
    bool close_on_data, close_on_end, close_on_writable, close_on_direct, pause_on_data,
        pause_on_direct;
    bool retain;
    size_t direct_at, direct_want; /* after so many bytes, so many in place */
    char *direct_dst;
};

struct world {
    struct mem mem;
    struct loop *loop;
    struct listener listener;
    struct sim_net *net;
    uint16_t port;
    struct conn conns[CONNS_MAX];
    unsigned accepted;
    struct io_buf *retained[LOOP_BUFS_MAX + 8];
    unsigned retained_count;
};

static struct world world;
static char scratch[BYTES_MAX];

/* Byte `i` of what every peer sends; its period is no power of two. */
static char pattern(size_t i) {
    return (char)(i % 251 ^ i / 65521);
}

static void check(struct conn *c, const char *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != pattern(c->received + i))
            cr_assert_fail("byte %zu is wrong", c->received + i);
    c->received += len;
}

static void on_data(struct stream *s, struct io_buf *b) {
    struct conn *c = CONTAINER_OF(s, struct conn, stream);
    cr_assert_eq(c->released_calls, 0);
    c->data_calls++;
    check(c, b->data, b->len);
    if (c->retain) {
        buf_retain(b);
        c->w->retained[c->w->retained_count++] = b;
    }
    if (c->close_on_data)
        stream_close(c->w->loop, s);
    if (c->pause_on_data)
        stream_pause(c->w->loop, s);
    if (c->direct_want > 0 && c->received >= c->direct_at) {
        stream_direct(c->w->loop, s, c->direct_dst, c->direct_want);
        c->direct_want = 0;
    }
}

static void on_direct(struct stream *s, size_t n) {
    struct conn *c = CONTAINER_OF(s, struct conn, stream);
    cr_assert_eq(c->released_calls, 0);
    check(c, c->direct_dst + c->direct_bytes, n);
    c->direct_bytes += n;
    c->direct_largest = n > c->direct_largest ? n : c->direct_largest;
    if (c->pause_on_direct)
        stream_pause(c->w->loop, s);
    if (c->close_on_direct)
        stream_close(c->w->loop, s);
}

static void on_writable(struct stream *s) {
    struct conn *c = CONTAINER_OF(s, struct conn, stream);
    cr_assert_eq(c->released_calls, 0);
    c->writable_calls++;
    if (c->close_on_writable)
        stream_close(c->w->loop, s);
}

static void on_end(struct stream *s, int error) {
    struct conn *c = CONTAINER_OF(s, struct conn, stream);
    cr_assert_eq(c->released_calls, 0);
    cr_assert_eq(c->end_calls, 0, "one end per stream");
    c->end_calls++;
    c->end_error = error;
    if (c->close_on_end)
        stream_close(c->w->loop, s);
}

static void on_released(struct stream *s) {
    struct conn *c = CONTAINER_OF(s, struct conn, stream);
    c->released_calls++;
    cr_assert_eq(s->inflight, 0);
}

static const struct stream_ops ops = {on_data, on_direct, on_writable, on_end, on_released};

static void on_accept(struct listener *l, int fd) {
    struct world *w = l->arg;
    struct conn *c = &w->conns[w->accepted++];
    cr_assert_eq(stream_start(w->loop, &c->stream, &ops, fd), OK);
    c->started = true;
}

static int listen_real(uint16_t *port) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, len), 0);
    cr_assert_eq(listen(fd, 128), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *port = ntohs(a.sin_port);
    return fd;
}

static void create_loop(struct loop **l, const struct variant *v, struct mem *m) {
    const char *why = "";
    loop_disable_features(v->disabled);
    cr_assert_eq(loop_create(l, v->kind, m, &why), OK, "%s: %s", v->name, why);
}

static struct world *setup(const struct variant *v) {
    struct world *w = &world;
    memset(w, 0, sizeof(*w));
    if (v->kind == LOOP_SIM)
        cr_assert_eq(sim_create(&w->net, 42), OK);
    create_loop(&w->loop, v, &w->mem);
    cr_assert_eq(loop_attach(w->loop), OK);
    int fd = v->kind == LOOP_SIM ? sim_listen(w->net, SIM_PORT) : listen_real(&w->port);
    w->listener = (struct listener){.on_accept = on_accept, .arg = w};
    cr_assert_eq(listener_start(w->loop, &w->listener, fd), OK);
    return w;
}

static unsigned step(struct world *w) {
    unsigned events = loop_poll(w->loop, 20 * 1000 * 1000, NULL);
    if (events == 0 && w->net != NULL) {
        uint64_t due_ns = sim_next_due_ns(w->net);
        if (due_ns != UINT64_MAX)
            sim_advance(w->net, due_ns - sim_now_ns(w->net));
    }
    return events;
}

#define UNTIL(w, cond)                                                                             \
    for (int idle_ = 0; !(cond);) {                                                                \
        cr_assert_lt(idle_, IDLE_MAX, "never: " #cond);                                            \
        idle_ += step(w) == 0;                                                                     \
    }

/* The same, but the loop may sleep as long as it likes: it hangs when nothing wakes it. */
#define UNTIL_WOKEN(w, cond)                                                                       \
    while (!(cond))                                                                                \
    (void)loop_poll((w)->loop, UINT64_MAX, NULL)

/* Enough turns for whatever was on its way to come; none of it is waited for. */
static void settle(struct world *w) {
    for (int i = 0; i < 5; i++)
        (void)step(w);
}

static int connect_real(uint16_t port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static struct conn *connect_one(struct world *w) {
    struct conn *c = &w->conns[w->accepted];
    *c = (struct conn){.w = w};
    if (w->net != NULL)
        c->sim_peer = sim_connect(w->net, SIM_PORT);
    else
        c->peer = connect_real(w->port);
    UNTIL(w, c->started);
    return c;
}

/* The peer sends the next bytes of the pattern; returns how many it could. */
static size_t peer_send(struct conn *c, size_t len) {
    for (size_t i = 0; i < len; i++)
        scratch[i] = pattern(c->sent + i);
    if (c->sim_peer != NULL) {
        cr_assert(sim_client_write(c->sim_peer, scratch, len));
        c->sent += len;
        return len;
    }
    ssize_t n = send(c->peer, scratch, len, MSG_NOSIGNAL);
    cr_assert(n >= 0 || errno == EAGAIN);
    c->sent += n > 0 ? (size_t)n : 0;
    return n > 0 ? (size_t)n : 0;
}

/* Sends until `total` bytes have been sent, letting the loop run between. */
static void peer_send_all(struct conn *c, size_t total, size_t piece) {
    while (c->sent < total) {
        size_t left = total - c->sent;
        (void)peer_send(c, left < piece ? left : piece);
        (void)loop_poll(c->w->loop, 0, NULL);
    }
}

static ssize_t peer_read(struct conn *c, char *dst, size_t len) {
    if (c->sim_peer != NULL)
        return sim_client_read(c->sim_peer, dst, len);
    ssize_t n = recv(c->peer, dst, len, 0);
    return n == 0 ? -1 : n < 0 && errno == EAGAIN ? 0 : n;
}

static void peer_close(struct conn *c) {
    if (c->sim_peer != NULL)
        sim_client_close(c->sim_peer);
    else
        cr_assert_eq(close(c->peer), 0);
}

static void peer_reset(struct conn *c) {
    if (c->sim_peer != NULL) {
        sim_client_reset(c->sim_peer);
        return;
    }
    const struct linger hard = {.l_onoff = 1, .l_linger = 0};
    cr_assert_eq(setsockopt(c->peer, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    cr_assert_eq(close(c->peer), 0);
}

/* Fills the way to the peer; returns the bytes it took. */
static size_t fill(struct conn *c) {
    size_t total = 0;
    for (;;) {
        struct iovec iov[2] = {{scratch, 3000}, {scratch, 5000}};
        ssize_t n = stream_send(c->w->loop, &c->stream, iov, 2);
        cr_assert(n >= 0);
        if (n == 0)
            return total;
        total += (size_t)n;
    }
}

/* Everything is given back: by then no memory is left, either. */
static void teardown(struct world *w) {
    listener_stop(w->loop, &w->listener);
    for (unsigned i = 0; i < w->accepted; i++)
        stream_close(w->loop, &w->conns[i].stream);
    for (unsigned i = 0; i < w->accepted; i++)
        UNTIL(w, w->conns[i].released_calls > 0);
    settle(w);
    for (unsigned i = 0; i < w->accepted; i++)
        cr_assert_eq(w->conns[i].released_calls, 1);
    while (w->retained_count > 0)
        buf_release(w->retained[--w->retained_count]);
    loop_destroy(w->loop);
    cr_assert_eq(w->mem.used_bytes, 0, "%ld bytes are left", (long)w->mem.used_bytes);
    if (w->net != NULL)
        sim_destroy(w->net);
}

/* --- invariant 1: on_released once, last --- */

EVERY_VARIANT(inv1_released_once_with_operations_in_flight) {
    struct world *w = setup(v);
    struct conn *c = connect_one(w);
    (void)fill(c);
    stream_want_write(w->loop, &c->stream);
    settle(w); /* receiving and waiting for room: both with the kernel */
    cr_assert_eq(c->writable_calls, 0);
    stream_close(w->loop, &c->stream);
    stream_close(w->loop, &c->stream);
    cr_assert_eq(c->released_calls, 0, "not within stream_close");
    UNTIL(w, c->released_calls > 0);
    settle(w);
    cr_assert_eq(c->released_calls, 1);
    cr_assert_eq(c->end_calls + c->writable_calls + c->data_calls, 0);
    w->accepted = 0;
    teardown(w);
}

EVERY_VARIANT(inv1_no_callback_after_close_within_any_callback) {
    struct world *w = setup(v);
    struct conn *c[4];
    static char dst[100000];
    for (int i = 0; i < 4; i++)
        c[i] = connect_one(w);
    c[0]->close_on_data = true;
    c[1]->close_on_end = true;
    c[2]->close_on_writable = true;
    c[3]->close_on_direct = true;
    c[3]->direct_want = sizeof(dst);
    c[3]->direct_dst = dst;
    stream_want_write(w->loop, &c[2]->stream);
    for (int i = 0; i < 4; i++)
        (void)peer_send(c[i], 50000);
    peer_close(c[1]);
    for (int i = 0; i < 4; i++)
        UNTIL(w, c[i]->released_calls == 1);
    settle(w);
    cr_assert_eq(c[0]->data_calls, 1);
    cr_assert_eq(c[1]->end_calls, 1);
    cr_assert_eq(c[1]->received, c[1]->sent);
    cr_assert_eq(c[2]->writable_calls, 1);
    cr_assert_gt(c[3]->direct_bytes, 0);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(c[i]->released_calls, 1);
    w->accepted = 0;
    teardown(w);
}

EVERY_VARIANT(inv1_close_while_receiving_in_place) {
    struct world *w = setup(v);
    struct conn *c = connect_one(w);
    static char dst[1 << 20];
    c->direct_want = sizeof(dst);
    c->direct_dst = dst;
    (void)peer_send(c, 1000);
    UNTIL(w, c->received == 1000);
    (void)peer_send(c, 5000);
    UNTIL(w, c->direct_bytes == 5000);
    stream_close(w->loop, &c->stream);
    UNTIL(w, c->released_calls == 1);
    cr_assert_eq(c->end_calls, 0);
    w->accepted = 0;
    teardown(w);
}

/* --- invariant 2: in order, none twice, none lost --- */

EVERY_VARIANT(inv2_many_streams_in_order) {
    struct world *w = setup(v);
    enum { STREAMS = 64, EACH = 300000 };
    struct rng rng;
    rng_seed(&rng, 7);
    for (int i = 0; i < STREAMS; i++)
        (void)connect_one(w);
    for (size_t sent = 0; sent < (size_t)STREAMS * EACH;) {
        struct conn *c = &w->conns[rng_below(&rng, STREAMS)];
        size_t left = EACH - c->sent, n = 1 + rng_below(&rng, 40000);
        if (left > 0)
            sent += peer_send(c, n < left ? n : left);
        if (rng_below(&rng, 4) == 0)
            (void)loop_poll(w->loop, 0, NULL);
    }
    for (int i = 0; i < STREAMS; i++)
        peer_close(&w->conns[i]);
    for (int i = 0; i < STREAMS; i++) {
        UNTIL(w, w->conns[i].end_calls == 1);
        cr_assert_eq(w->conns[i].received, EACH);
        cr_assert_eq(w->conns[i].end_error, 0);
    }
    teardown(w);
}

EVERY_VARIANT(inv2_in_place_with_bytes_already_received) {
    struct world *w = setup(v);
    enum { DIRECT = 700000, TOTAL = 1000000 };
    static char dst[DIRECT];
    struct conn *c = connect_one(w);
    c->direct_want = DIRECT;
    c->direct_dst = dst;
    peer_send_all(c, TOTAL, 60000); /* far more than one buffer is on its way when it begins */
    UNTIL(w, c->received == TOTAL);
    cr_assert_eq(c->direct_bytes, DIRECT);
    cr_assert_gt(c->direct_largest, LOOP_BUF_BYTES, "straight from the socket");
    size_t calls = c->data_calls;
    peer_send_all(c, TOTAL + 10, 10);
    UNTIL(w, c->received == TOTAL + 10);
    cr_assert_gt(c->data_calls, calls, "normal receiving goes on");
    teardown(w);
}

EVERY_VARIANT(inv2_in_place_ends_within_a_buffer) {
    struct world *w = setup(v);
    static char dst[100];
    struct conn *c = connect_one(w);
    stream_pause(w->loop, &c->stream);
    (void)peer_send(c, 1000);
    settle(w);
    c->direct_dst = dst;
    stream_direct(w->loop, &c->stream, dst, sizeof(dst));
    stream_resume(w->loop, &c->stream);
    UNTIL(w, c->received == 1000);
    cr_assert_eq(c->direct_bytes, 100);
    teardown(w);
}

/* Byte by byte, until so many buffers are retained. */
static void retain_buffers(struct conn *c, unsigned count) {
    struct world *w = c->w;
    c->retain = true;
    while (w->retained_count < count) {
        unsigned before = w->retained_count;
        (void)peer_send(c, 1);
        UNTIL(w, w->retained_count > before);
    }
}

EVERY_VARIANT(inv2_all_buffers_retained_then_given_back) {
    struct world *w = setup(v);
    struct conn *c = connect_one(w), *other = connect_one(w);
    retain_buffers(c, LOOP_BUFS_MAX);
    (void)peer_send(c, 10);
    (void)peer_send(other, 20000);
    settle(w);
    cr_assert_eq(w->retained_count, LOOP_BUFS_MAX);
    cr_assert_eq(c->received, LOOP_BUFS_MAX);
    cr_assert_eq(other->received, 0);
    cr_assert_eq(loop_poll(w->loop, 1000000, NULL), 0, "it sleeps meanwhile");
    c->retain = false;
    buf_release(w->retained[--w->retained_count]);
    UNTIL_WOKEN(w, c->received == LOOP_BUFS_MAX + 10 && other->received == 20000);
    /* What was retained has not been written over. */
    for (unsigned i = 0; i < w->retained_count; i++) {
        cr_assert_eq(w->retained[i]->len, 1);
        cr_assert_eq(w->retained[i]->data[0], pattern(i));
    }
    teardown(w);
}

static bool release_one(void *arg) {
    struct world *w = arg;
    if (w->retained_count == LOOP_BUFS_MAX)
        buf_release(w->retained[--w->retained_count]);
    return true;
}

static void do_nothing(void *arg) {
    (void)arg;
}

/* What a borrower of the shard does, while the owner is on its way to sleep. */
EVERY_VARIANT(inv2_a_buffer_given_back_while_asleep_wakes_the_starved) {
    struct world *w = setup(v);
    struct conn *c = connect_one(w);
    retain_buffers(c, LOOP_BUFS_MAX);
    c->retain = false;
    (void)peer_send(c, 10);
    settle(w);
    const struct loop_hooks hooks = {.sleeping = release_one, .awake = do_nothing, .arg = w};
    while (c->received < LOOP_BUFS_MAX + 10)
        (void)loop_poll(w->loop, UINT64_MAX, &hooks);
    teardown(w);
}

static uint64_t skipped_ns;

static uint64_t skipping_mono_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec + skipped_ns;
}

static int64_t skipping_wall_us(void) {
    return (int64_t)(skipping_mono_ns() / 1000);
}

static void skip_time(struct world *w, uint64_t ns) {
    if (w->net != NULL)
        sim_advance(w->net, ns);
    skipped_ns += ns;
}

EVERY_VARIANT(limits_pool_grows_and_shrinks) {
    if (v->kind != LOOP_SIM)
        clock_replace(skipping_mono_ns, skipping_wall_us);
    struct world *w = setup(v);
    struct conn *c = connect_one(w);
    int64_t idle_bytes = w->mem.used_bytes;
    retain_buffers(c, 300);
    cr_assert_gt(w->mem.used_bytes, idle_bytes + 256 * LOOP_BUF_BYTES);
    while (w->retained_count > 0)
        buf_release(w->retained[--w->retained_count]);
    c->retain = false;
    for (int i = 0; i < 100 && w->mem.used_bytes > idle_bytes; i++) {
        skip_time(w, 1100 * 1000 * 1000ULL);
        for (int k = 0; k < 64; k++) {
            size_t before = c->received;
            (void)peer_send(c, 1);
            UNTIL(w, c->received > before);
        }
    }
    cr_assert_eq(w->mem.used_bytes, idle_bytes);
    teardown(w);
    clock_replace(NULL, NULL);
}

/* --- invariant 3: nothing while paused --- */

EVERY_VARIANT(inv3_nothing_while_paused_all_after_resume) {
    struct world *w = setup(v);
    struct conn *c = connect_one(w);
    c->pause_on_data = true;
    (void)peer_send(c, 100000); /* several buffers: those behind the first are held */
    UNTIL(w, c->data_calls == 1);
    (void)peer_send(c, 50000);
    peer_close(c);
    settle(w);
    cr_assert_eq(c->data_calls, 1);
    cr_assert_eq(c->end_calls, 0, "the end waits, too");
    cr_assert_eq(loop_poll(w->loop, 1000000, NULL), 0, "it sleeps meanwhile");
    for (size_t calls = 1; c->end_calls == 0; calls++) {
        cr_assert_leq(c->data_calls, calls, "one more per resume");
        stream_resume(w->loop, &c->stream);
        UNTIL(w, c->data_calls > calls || c->end_calls > 0);
    }
    cr_assert_eq(c->received, c->sent);
    teardown(w);
}

EVERY_VARIANT(inv3_pause_and_resume_within_a_turn) {
    struct world *w = setup(v);
    struct conn *c = connect_one(w);
    for (int i = 0; i < 100; i++) {
        stream_pause(w->loop, &c->stream);
        if (i % 3 == 0)
            (void)loop_poll(w->loop, 0, NULL);
        stream_resume(w->loop, &c->stream);
        (void)peer_send(c, 100);
        if (i % 2 == 0)
            (void)loop_poll(w->loop, 0, NULL);
    }
    UNTIL(w, c->received == c->sent);
    cr_assert_eq(c->received, 10000);
    teardown(w);
}

EVERY_VARIANT(inv3_long_pause_takes_no_buffer_from_others) {
    struct world *w = setup(v);
    enum { PAUSED = 40 };
    retain_buffers(connect_one(w), LOOP_BUFS_MAX - 8);
    for (int i = 1; i <= PAUSED; i++) {
        struct conn *c = connect_one(w);
        c->pause_on_data = true;
        (void)peer_send(c, 40000);
    }
    for (int i = 1; i <= PAUSED; i++)
        UNTIL(w, w->conns[i].data_calls == 1);
    struct conn *c = connect_one(w);
    retain_buffers(c, LOOP_BUFS_MAX); /* the rest of the pool is there */
    teardown(w);
}

EVERY_VARIANT(inv3_paused_within_held_bytes_that_go_in_place) {
    struct world *w = setup(v);
    static char dst[100];
    struct conn *c = connect_one(w);
    c->pause_on_data = true;
    (void)peer_send(c, 100000);
    UNTIL(w, c->data_calls == 1);
    settle(w);
    c->pause_on_direct = true;
    c->direct_dst = dst;
    stream_direct(w->loop, &c->stream, dst, sizeof(dst));
    stream_resume(w->loop, &c->stream);
    UNTIL(w, c->direct_bytes == sizeof(dst));
    settle(w);
    cr_assert_eq(c->data_calls, 1);
    c->pause_on_data = false;
    stream_resume(w->loop, &c->stream);
    UNTIL(w, c->received == c->sent);
    teardown(w);
}

/* --- writing, ends and errors --- */

EVERY_VARIANT(want_write_once_when_there_is_room) {
    struct world *w = setup(v);
    struct conn *c = connect_one(w);
    size_t total = fill(c), got = 0;
    cr_assert_gt(total, 0);
    stream_want_write(w->loop, &c->stream);
    stream_want_write(w->loop, &c->stream);
    settle(w);
    cr_assert_eq(c->writable_calls, 0);
    while (got < total) {
        ssize_t n = peer_read(c, scratch, sizeof(scratch));
        cr_assert(n >= 0);
        got += (size_t)n;
        (void)step(w);
    }
    UNTIL(w, c->writable_calls == 1);
    settle(w);
    cr_assert_eq(c->writable_calls, 1);
    cr_assert_eq(got, total);
    cr_assert_gt(fill(c), 0);
    teardown(w);
}

EVERY_VARIANT(faults_reset_is_reported_by_end_and_send) {
    struct world *w = setup(v);
    struct conn *c = connect_one(w);
    settle(w);
    peer_reset(c);
    UNTIL(w, c->end_calls == 1);
    cr_assert_eq(c->end_error, ECONNRESET);
    struct iovec iov = {scratch, 10};
    ssize_t n = stream_send(w->loop, &c->stream, &iov, 1);
    cr_assert(n == -EPIPE || n == -ECONNRESET);
    teardown(w);
}

EVERY_VARIANT(faults_every_allocation_fails_once) {
    struct sim_net *net = NULL;
    if (v->kind == LOOP_SIM)
        cr_assert_eq(sim_create(&net, 1), OK);
    struct mem m = {0};
    struct loop *l = NULL;
    const char *why = "";
    unsigned failed = 0;
    loop_disable_features(v->disabled);
    for (;; failed++) {
        m.fail_in = failed + 1;
        enum err e = loop_create(&l, v->kind, &m, &why);
        if (e == OK)
            break;
        cr_assert_eq(e, ERR_NOMEM);
        cr_assert_eq(m.used_bytes, 0);
    }
    cr_assert_geq(failed, 3);
    m.fail_in = 1;
    struct listener ls = {0};
    cr_assert_eq(listener_start(l, &ls, 0), ERR_NOMEM);
    m.fail_in = 0;
    loop_destroy(l);
    cr_assert_eq(m.used_bytes, 0);
    if (net != NULL)
        sim_destroy(net);
}

EVERY_VARIANT(faults_no_memory_to_grow_starves_but_recovers) {
    struct world *w = setup(v);
    struct conn *c = connect_one(w);
    retain_buffers(c, LOOP_BUFS_MIN);
    (void)peer_send(c, 1);
    for (int i = 0; i < 5; i++) {
        w->mem.fail_in = 1;
        (void)step(w);
    }
    w->mem.fail_in = 0;
    cr_assert_eq(w->retained_count, LOOP_BUFS_MIN);
    c->retain = false;
    buf_release(w->retained[--w->retained_count]);
    UNTIL(w, c->received == LOOP_BUFS_MIN + 1);
    teardown(w);
}

EVERY_VARIANT(limits_out_of_descriptors_pauses_the_listener) {
    /* Low before the loop begins to accept: io_uring notes the limit then. */
    struct rlimit old, low;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = (struct rlimit){.rlim_cur = 256, .rlim_max = old.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    struct world *w = setup(v);
    (void)connect_one(w);
    settle(w);
    const struct sim_faults always = {.accept_failed_in = 1}, never = {0};
    struct conn *c = &w->conns[w->accepted];
    *c = (struct conn){.w = w};
    int taken[256], taken_count = 0;
    if (w->net != NULL) {
        sim_set_faults(w->net, &always);
        c->sim_peer = sim_connect(w->net, SIM_PORT);
    } else {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        while ((taken[taken_count] = dup(fd)) >= 0)
            taken_count++;
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(w->port)};
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        c->peer = fd;
    }
    UNTIL(w, w->listener.paused);
    cr_assert_not(c->started);
    if (w->net != NULL)
        sim_set_faults(w->net, &never);
    while (taken_count > 0)
        cr_assert_eq(close(taken[--taken_count]), 0);
    UNTIL(w, c->started);
    cr_assert_not(w->listener.paused);
    teardown(w);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
}

EVERY_VARIANT(listener_stop_frees_the_port_at_once) {
    struct world *w = setup(v);
    settle(w);
    struct conn late = {.w = w}; /* the kernel has accepted it, on_accept will not come */
    if (w->net == NULL)
        late.peer = connect_real(w->port);
    listener_stop(w->loop, &w->listener);
    memset(&w->listener, 0x55, sizeof(w->listener)); /* it is ours again */
    if (w->net != NULL) {
        cr_assert_null(sim_connect(w->net, SIM_PORT));
    } else {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(w->port)};
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        cr_assert_neq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
        cr_assert_eq(close(fd), 0);
        UNTIL(w, peer_read(&late, scratch, 1) == -1);
    }
    settle(w);
    w->listener = (struct listener){0};
    teardown(w);
}
