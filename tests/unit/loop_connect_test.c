/* loop_connect_test.c: stream_connect, over every backend: to a listener of the same loop, which echoes. */
#include "shards/log.h"
#include "shards/loop.h"
#include "shards/rng.h"
#include "shards/sim.h"
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#define SUITE loop_connect
#define REAL_VARIANTS(X, test)                                                                     \
    X(test, uring, LOOP_URING, 0)                                                                  \
    X(test, uring_bare, LOOP_URING, 0xfff)                                                         \
    X(test, epoll, LOOP_EPOLL, 0)
#include "loop_variants.h"

enum { CONNS_MAX = 40, BYTES = 200000, SIM_PORT = 5, POLLS_MAX = 1000000 };

/* Either end: the accepted one sends back what comes, the other sends a pattern and checks it. */
struct conn {
    struct stream stream;
    bool accepted;
    size_t sent, received;
    char echo[BYTES];
    unsigned writable_calls, end_calls, released_calls;
    bool ended;
    int end_error;
};

static struct world {
    struct mem mem;
    struct loop *loop;
    struct sim_net *net;
    struct listener listener;
    struct sockaddr_storage addr;
    socklen_t addr_len;
    struct conn servers[CONNS_MAX];
    struct conn clients[CONNS_MAX];
    unsigned accepted;
    bool calling; /* a function of the loop, within which no callback comes */
} w;

static char pattern[BYTES];

static struct conn *conn_of(struct stream *s) {
    cr_assert_not(w.calling);
    return CONTAINER_OF(s, struct conn, stream);
}

/* What the accepted end has yet to send back, or the other one to send. */
static void send_more(struct conn *c) {
    size_t until = c->accepted ? c->received : BYTES;
    while (c->sent < until) {
        struct iovec iov = {(c->accepted ? c->echo : pattern) + c->sent, until - c->sent};
        ssize_t n = stream_send(w.loop, &c->stream, &iov, 1);
        if (n < 0)
            return; /* on_end comes */
        if (n == 0) {
            stream_want_write(w.loop, &c->stream);
            return;
        }
        c->sent += (size_t)n;
    }
}

static void on_data(struct stream *s, struct io_buf *b) {
    struct conn *c = conn_of(s);
    cr_assert_leq(c->received + b->len, BYTES);
    memcpy(c->echo + c->received, b->data, b->len);
    c->received += b->len;
    if (c->accepted)
        send_more(c);
}

static void on_direct(struct stream *s, size_t n) {
    (void)conn_of(s);
    (void)n;
}

static void on_writable(struct stream *s) {
    struct conn *c = conn_of(s);
    c->writable_calls++;
    send_more(c);
}

static void on_end(struct stream *s, int error) {
    struct conn *c = conn_of(s);
    c->end_calls++;
    c->ended = true;
    c->end_error = error;
}

static void on_released(struct stream *s) {
    conn_of(s)->released_calls++;
}

static const struct stream_ops ops = {on_data, on_direct, on_writable, on_end, on_released};

static void on_accept(struct listener *l, int fd) {
    (void)l;
    struct conn *c = &w.servers[w.accepted++];
    c->accepted = true;
    cr_assert_eq(stream_start(w.loop, &c->stream, &ops, fd), OK);
}

static int listen_real(int backlog) {
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    w.addr_len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, w.addr_len), 0);
    cr_assert_eq(listen(fd, backlog), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&w.addr, &w.addr_len), 0);
    return fd;
}

static int listen_sim(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(SIM_PORT)};
    memcpy(&w.addr, &a, sizeof(a));
    w.addr_len = sizeof(a);
    return sim_listen(w.net, SIM_PORT);
}

static void setup_seed(const struct variant *v, uint64_t seed, const struct sim_faults *faults) {
    const char *why = "";
    memset(&w, 0, sizeof(w));
    for (size_t i = 0; i < BYTES; i++)
        pattern[i] = (char)(i * 13 + i / 257);
    loop_disable_features(v->disabled);
    if (v->kind == LOOP_SIM) {
        cr_assert_eq(sim_create(&w.net, seed), OK);
        sim_set_faults(w.net, faults);
    }
    cr_assert_eq(loop_create(&w.loop, v->kind, &w.mem, &why), OK, "%s: %s", v->name, why);
    cr_assert_eq(loop_attach(w.loop), OK);
    w.listener.on_accept = on_accept;
    int fd = v->kind == LOOP_SIM ? listen_sim() : listen_real(64);
    cr_assert_eq(listener_start(w.loop, &w.listener, fd), OK);
}

static void setup(const struct variant *v) {
    setup_seed(v, 1, &(struct sim_faults){.delay_max_ns = 1000000});
}

static void poll_once(void) {
    unsigned events = loop_poll(w.loop, 2 * 1000 * 1000, NULL);
    if (events > 0 || w.net == NULL)
        return;
    uint64_t due_ns = sim_next_due_ns(w.net);
    if (due_ns != UINT64_MAX)
        sim_advance(w.net, due_ns - sim_now_ns(w.net));
}

#define UNTIL(cond)                                                                                \
    for (int polls_ = 0; !(cond); poll_once())                                                     \
    cr_assert_lt(polls_++, POLLS_MAX, "never: " #cond)

static void settle(void) {
    for (int i = 0; i < 5; i++)
        poll_once();
}

static void connect_to(struct conn *c, const void *addr, socklen_t len) {
    w.calling = true;
    stream_connect(w.loop, &c->stream, &ops, addr, len);
    w.calling = false;
}

static void stop_listening(void) {
    listener_stop(w.loop, &w.listener);
    settle();
}

static void close_conn(struct conn *c) {
    if (c->stream.ops == NULL || c->released_calls > 0)
        return;
    stream_close(w.loop, &c->stream);
    UNTIL(c->released_calls > 0);
}

static void teardown(void) {
    listener_stop(w.loop, &w.listener);
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        close_conn(&w.clients[i]);
        close_conn(&w.servers[i]);
    }
    settle();
    for (unsigned i = 0; i < CONNS_MAX; i++) {
        cr_assert_eq(w.clients[i].released_calls, w.clients[i].stream.ops != NULL);
        cr_assert_leq(w.clients[i].end_calls, 1);
    }
    loop_destroy(w.loop);
    cr_assert_eq(w.mem.used_bytes, 0, "%ld bytes are left", (long)w.mem.used_bytes);
    if (w.net != NULL)
        sim_destroy(w.net);
}

static void check_echo(const struct conn *c) {
    cr_assert_arr_eq(c->echo, pattern, c->received);
}

/* --- it connects --- */

EVERY_VARIANT(bytes_go_both_ways) {
    enum { CONNS = 10 };
    setup(v);
    for (unsigned i = 0; i < CONNS; i++) {
        struct conn *c = &w.clients[i];
        connect_to(c, &w.addr, w.addr_len);
        struct iovec iov = {c->echo, 1};
        cr_assert_eq(stream_send(w.loop, &c->stream, &iov, 1), 0, "it is not connected yet");
    }
    for (unsigned i = 0; i < CONNS; i++)
        UNTIL(w.clients[i].received == BYTES);
    for (unsigned i = 0; i < CONNS; i++) {
        check_echo(&w.clients[i]);
        cr_assert_eq(w.clients[i].end_calls, 0);
        cr_assert_not(w.servers[i].ended);
        stream_close(w.loop, &w.clients[i].stream);
    }
    for (unsigned i = 0; i < CONNS; i++) {
        UNTIL(w.servers[i].ended);
        cr_assert_eq(w.servers[i].end_error, 0);
    }
    teardown();
}

EVERY_VARIANT(writable_comes_once_and_again_only_when_wanted) {
    setup(v);
    struct conn *c = &w.clients[0];
    c->sent = BYTES; /* it has nothing to say */
    connect_to(c, &w.addr, w.addr_len);
    UNTIL(c->writable_calls == 1);
    settle();
    cr_assert_eq(c->writable_calls, 1);
    stream_want_write(w.loop, &c->stream);
    UNTIL(c->writable_calls == 2);
    settle();
    cr_assert_eq(c->writable_calls, 2);
    UNTIL(w.accepted == 1);
    stream_close(w.loop, &w.servers[0].stream);
    UNTIL(c->ended);
    cr_assert_eq(c->end_error, 0);
    teardown();
}

EVERY_VARIANT(a_paused_one_connects_and_receives_when_resumed) {
    setup(v);
    struct conn *c = &w.clients[0];
    connect_to(c, &w.addr, w.addr_len);
    stream_pause(w.loop, &c->stream);
    UNTIL(c->writable_calls > 0 && w.accepted == 1 && w.servers[0].sent > 0);
    settle();
    cr_assert_eq(c->received, 0);
    stream_resume(w.loop, &c->stream);
    UNTIL(c->received == BYTES);
    check_echo(c);
    teardown();
}

EVERY_REAL_VARIANT(unix_sockets_and_ipv6_connect) {
    setup(v);
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/anax-connect-%d", (int)getpid());
    (void)unlink(a.sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    cr_assert_eq(listen(fd, 10), 0);
    struct listener unix_listener = {.on_accept = on_accept};
    cr_assert_eq(listener_start(w.loop, &unix_listener, fd), OK);
    connect_to(&w.clients[0], &a, sizeof(a));
    UNTIL(w.clients[0].received == BYTES);
    check_echo(&w.clients[0]);
    listener_stop(w.loop, &unix_listener);
    connect_to(&w.clients[1], &a, sizeof(a));
    UNTIL(w.clients[1].ended);
    cr_assert_eq(w.clients[1].end_error, ECONNREFUSED);
    cr_assert_eq(unlink(a.sun_path), 0);
    connect_to(&w.clients[2], &a, sizeof(a));
    UNTIL(w.clients[2].ended);
    cr_assert_eq(w.clients[2].end_error, ENOENT);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    six.sin6_port = ((struct sockaddr_in *)&w.addr)->sin_port;
    connect_to(&w.clients[3], &six, sizeof(six));
    UNTIL(w.clients[3].ended);
    int error = w.clients[3].end_error; /* a machine may be without IPv6 */
    cr_assert(error == ECONNREFUSED || error == EADDRNOTAVAIL || error == EAFNOSUPPORT);
    teardown();
}

/* --- it does not --- */

EVERY_VARIANT(a_refusal_comes_as_on_end_once) {
    setup(v);
    stop_listening();
    struct conn *c = &w.clients[0];
    connect_to(c, &w.addr, w.addr_len);
    UNTIL(c->ended);
    settle();
    cr_assert_eq(c->end_calls, 1);
    cr_assert_eq(c->end_error, ECONNREFUSED);
    cr_assert_eq(c->writable_calls, 0);
    teardown();
}

EVERY_VARIANT(a_refusal_waits_for_the_end_of_a_pause) {
    setup(v);
    stop_listening();
    struct conn *c = &w.clients[0];
    connect_to(c, &w.addr, w.addr_len);
    stream_pause(w.loop, &c->stream);
    settle();
    cr_assert_eq(c->end_calls, 0);
    stream_resume(w.loop, &c->stream);
    UNTIL(c->ended);
    cr_assert_eq(c->end_error, ECONNREFUSED);
    settle();
    cr_assert_eq(c->end_calls, 1);
    teardown();
}

EVERY_VARIANT(an_address_that_makes_no_sense_comes_as_on_end) {
    setup(v);
    const struct sockaddr a = {.sa_family = AF_PACKET + 1000};
    struct conn *c = &w.clients[0];
    connect_to(c, &a, sizeof(a));
    stream_want_write(w.loop, &c->stream);
    UNTIL(c->ended);
    settle();
    cr_assert_eq(c->end_error, EAFNOSUPPORT);
    cr_assert_eq(c->end_calls, 1);
    cr_assert_eq(c->writable_calls, 0);
    teardown();
}

EVERY_REAL_VARIANT(out_of_descriptors_comes_as_on_end) {
    setup(v);
    struct rlimit before, limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    limit.rlim_cur = 0;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    connect_to(&w.clients[0], &w.addr, w.addr_len);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    UNTIL(w.clients[0].ended);
    cr_assert_eq(w.clients[0].end_error, EMFILE);
    teardown();
}

EVERY_VARIANT(closing_it_at_once_releases_it_and_nothing_else) {
    setup(v);
    struct conn *c = &w.clients[0];
    connect_to(c, &w.addr, w.addr_len);
    stream_close(w.loop, &c->stream);
    UNTIL(c->released_calls == 1);
    settle();
    cr_assert_eq(c->released_calls, 1);
    cr_assert_eq(c->writable_calls + c->end_calls, 0);
    teardown();
}

/* A listener that nobody accepts from, its queue full: the kernel leaves further connections waiting. */
EVERY_REAL_VARIANT(one_that_hangs_is_closed) {
    setup(v);
    listener_stop(w.loop, &w.listener);
    int fd = listen_real(0);
    struct conn *last = NULL;
    for (unsigned i = 0; i < CONNS_MAX && last == NULL; i++) {
        struct conn *c = &w.clients[i];
        c->sent = BYTES;
        connect_to(c, &w.addr, w.addr_len);
        settle();
        last = c->writable_calls == 0 ? c : NULL;
    }
    cr_assert_not_null(last);
    cr_assert_eq(last->end_calls, 0);
    stream_close(w.loop, &last->stream);
    UNTIL(last->released_calls == 1);
    settle();
    cr_assert_eq(last->writable_calls + last->end_calls, 0);
    cr_assert_eq(close(fd), 0);
    teardown();
}

/* --- the simulator's faults --- */

static unsigned resets;

/* Until every connection is echoed or has ended; a hash of how. */
static uint64_t run_sim(uint64_t seed, const struct sim_faults *faults) {
    enum { CONNS = 8 };
    setup_seed(VARIANT(sim, LOOP_SIM, 0), seed, faults);
    uint64_t trace = 0;
    for (unsigned i = 0; i < CONNS; i++)
        connect_to(&w.clients[i], &w.addr, w.addr_len);
    for (unsigned i = 0; i < CONNS; i++) {
        struct conn *c = &w.clients[i];
        UNTIL(c->received == BYTES || c->ended);
        check_echo(c);
        cr_assert(c->received == BYTES || c->end_error == ECONNRESET ||
                  c->end_error == ECONNREFUSED);
        resets += c->ended;
        trace = trace * 31 + c->received + sim_now_ns(w.net);
    }
    teardown();
    return trace;
}

Test(loop_connect, faults_of_the_simulator_are_survived_and_replayed) {
    struct sim_faults nasty = {
        .delay_max_ns = 3000000, .short_read_in = 2, .short_write_in = 2, .accept_failed_in = 5};
    log_set_level(LOG_NOTHING);
    for (uint64_t seed = 1; seed <= 3; seed++)
        cr_assert_eq(run_sim(seed, &nasty), run_sim(seed, &nasty));
    cr_assert_eq(resets, 0);
    nasty.reset_in = 300;
    for (uint64_t seed = 1; seed <= 10; seed++)
        (void)run_sim(seed, &nasty);
    cr_assert_gt(resets, 0);
    cr_assert_lt(resets, 10 * 8);
}
