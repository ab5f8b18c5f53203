/* loop_sim_test.c: the contract of sim.h: one thread, virtual time, a seed decides everything. */
#include "shards/clock.h"
#include "shards/log.h"
#include "shards/loop.h"
#include "shards/rng.h"
#include "shards/sim.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

enum { LOOPS = 3, CONNS = 12, PORT = 7, BYTES = 20000, TURNS_MAX = 1000000 };

/* An echo server on several loops: connections are dealt out in turn, the bytes come back. */
struct conn {
    struct stream stream;
    struct loop *loop;
    char pending[BYTES];
    size_t received, sent;
    unsigned released;
    bool ended;
    int end_error;
};

static struct {
    struct sim_net *net;
    struct mem mem;
    struct loop *loops[LOOPS];
    struct listener listener;
    struct conn conns[CONNS];
    struct sim_client *clients[CONNS];
    unsigned accepted;
    uint64_t trace; /* a hash of all that happened */
} t;

static void trace(uint64_t what) {
    t.trace = (t.trace ^ what ^ sim_now_ns(t.net)) * 0x9e3779b97f4a7c15ULL;
    t.trace ^= t.trace >> 29;
}

static void flush(struct conn *c) {
    while (c->sent < c->received) {
        struct iovec iov = {c->pending + c->sent, c->received - c->sent};
        ssize_t n = stream_send(c->loop, &c->stream, &iov, 1);
        trace((uint64_t)n);
        if (n < 0) {
            stream_close(c->loop, &c->stream);
            return;
        }
        if (n == 0) {
            stream_want_write(c->loop, &c->stream);
            return;
        }
        c->sent += (size_t)n;
    }
    if (c->ended)
        stream_close(c->loop, &c->stream);
}

static void on_data(struct stream *s, struct io_buf *b) {
    struct conn *c = CONTAINER_OF(s, struct conn, stream);
    cr_assert_leq(c->received + b->len, BYTES);
    memcpy(c->pending + c->received, b->data, b->len);
    c->received += b->len;
    trace(b->len);
    flush(c);
}

static void on_direct(struct stream *s, size_t n) {
    (void)s;
    (void)n;
}

static void on_writable(struct stream *s) {
    flush(CONTAINER_OF(s, struct conn, stream));
}

static void on_end(struct stream *s, int error) {
    struct conn *c = CONTAINER_OF(s, struct conn, stream);
    c->ended = true;
    c->end_error = error;
    trace((uint64_t)error + 1000);
    flush(c);
}

static void on_released(struct stream *s) {
    CONTAINER_OF(s, struct conn, stream)->released++;
}

static const struct stream_ops ops = {on_data, on_direct, on_writable, on_end, on_released};

static void on_accept(struct listener *l, int fd) {
    (void)l;
    struct conn *c = &t.conns[t.accepted];
    c->loop = t.loops[t.accepted++ % LOOPS];
    trace((uint64_t)fd);
    cr_assert_eq(stream_start(c->loop, &c->stream, &ops, fd), OK);
}

static void start(uint64_t seed, const struct sim_faults *faults) {
    memset(&t, 0, sizeof(t));
    log_set_level(LOG_NOTHING); /* the listener that finds no descriptor says so */
    const char *why = "";
    cr_assert_eq(sim_create(&t.net, seed), OK);
    sim_set_faults(t.net, faults);
    for (int i = 0; i < LOOPS; i++) {
        cr_assert_eq(loop_create(&t.loops[i], LOOP_SIM, &t.mem, &why), OK);
        cr_assert_eq(loop_attach(t.loops[i]), OK);
    }
    t.listener.on_accept = on_accept;
    cr_assert_eq(listener_start(t.loops[0], &t.listener, sim_listen(t.net, PORT)), OK);
}

static void turn(struct rng *rng) {
    unsigned events = 0, first = (unsigned)rng_below(rng, LOOPS);
    for (unsigned i = 0; i < LOOPS; i++)
        events += loop_poll(t.loops[(first + i) % LOOPS], 0, NULL);
    uint64_t due_ns = sim_next_due_ns(t.net);
    if (events == 0 && due_ns != UINT64_MAX)
        sim_advance(t.net, due_ns - sim_now_ns(t.net));
}

static void stop(struct rng *rng) {
    listener_stop(t.loops[0], &t.listener);
    for (unsigned i = 0; i < t.accepted; i++)
        if (t.conns[i].released == 0)
            stream_close(t.conns[i].loop, &t.conns[i].stream);
    for (int i = 0; i < 10; i++)
        turn(rng);
    for (unsigned i = 0; i < t.accepted; i++)
        cr_assert_eq(t.conns[i].released, 1);
    for (int i = 0; i < CONNS; i++)
        if (t.clients[i] != NULL)
            sim_client_free(t.clients[i]);
    for (int i = 0; i < LOOPS; i++)
        loop_destroy(t.loops[i]);
    cr_assert_eq(t.mem.used_bytes, 0);
    sim_destroy(t.net);
}

static char byte_of(unsigned client, size_t i) {
    return (char)(client * 37 + i * 7 + i / 256);
}

/* One client's part of a turn: sends some, checks what came back; true when it is done. */
static bool drive(unsigned i, size_t *sent, size_t *got, struct rng *rng) {
    char buf[BYTES];
    struct sim_client *c = t.clients[i];
    if (*sent < BYTES && rng_below(rng, 3) == 0) {
        size_t n = 1 + rng_below(rng, BYTES - *sent);
        for (size_t k = 0; k < n; k++)
            buf[k] = byte_of(i, *sent + k);
        if (sim_client_write(c, buf, n))
            *sent += n;
        if (*sent == BYTES)
            sim_client_close(c);
    }
    ssize_t n = sim_client_read(c, buf, sizeof(buf));
    for (ssize_t k = 0; k < n; k++)
        cr_assert_eq(buf[k], byte_of(i, *got + (size_t)k), "client %u, byte %zu", i,
                     *got + (size_t)k);
    *got += n > 0 ? (size_t)n : 0;
    return n < 0;
}

/* A whole run; returns its trace, and how many connections were reset. */
static uint64_t run(uint64_t seed, const struct sim_faults *faults, unsigned *resets) {
    struct rng rng;
    rng_seed(&rng, seed + 1);
    start(seed, faults);
    size_t sent[CONNS] = {0}, got[CONNS] = {0};
    bool done[CONNS] = {false};
    for (unsigned i = 0; i < CONNS; i++)
        cr_assert_not_null(t.clients[i] = sim_connect(t.net, PORT));
    unsigned finished = 0;
    for (int turns = 0; finished < CONNS; turns++) {
        cr_assert_lt(turns, TURNS_MAX);
        turn(&rng);
        for (unsigned i = 0; i < CONNS; i++) {
            if (done[i] || !drive(i, &sent[i], &got[i], &rng))
                continue;
            done[i] = true;
            finished++;
        }
    }
    *resets = 0;
    for (unsigned i = 0; i < CONNS; i++) {
        *resets += sim_client_was_reset(t.clients[i]);
        if (!sim_client_was_reset(t.clients[i]))
            cr_assert_eq(got[i], BYTES);
    }
    stop(&rng);
    return t.trace;
}

static const struct sim_faults nasty = {
    .delay_max_ns = 3000000, .short_read_in = 2, .short_write_in = 2, .accept_failed_in = 5};

Test(loop_sim, a_seed_replays_a_run) {
    unsigned resets;
    for (uint64_t seed = 1; seed <= 10; seed++)
        cr_assert_eq(run(seed, &nasty, &resets), run(seed, &nasty, &resets));
    cr_assert_neq(run(1, &nasty, &resets), run(2, &nasty, &resets));
}

Test(loop_sim, inv2_bytes_arrive_in_order_whatever_goes_wrong) {
    const struct sim_faults none = {0};
    unsigned resets;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        (void)run(seed, &nasty, &resets);
        cr_assert_eq(resets, 0);
        (void)run(seed, &none, &resets);
    }
}

Test(loop_sim, resets_happen_and_are_survived) {
    struct sim_faults faults = nasty;
    faults.reset_in = 50;
    unsigned resets, total = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        (void)run(seed, &faults, &resets);
        total += resets;
    }
    cr_assert_gt(total, 0);
    cr_assert_lt(total, 50 * CONNS);
}

Test(loop_sim, inv1_poll_never_blocks) {
    start(1, &(struct sim_faults){0});
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(loop_poll(t.loops[1], UINT64_MAX, NULL), 0);
    stop(&rng);
}

Test(loop_sim, wakes_are_counted_and_delayed) {
    const struct sim_faults late = {.delay_max_ns = 1000000000};
    start(5, &late);
    struct rng rng;
    rng_seed(&rng, 1);
    (void)loop_poll(t.loops[0], 0, NULL);
    loop_wake(t.loops[1], t.loops[0]);
    cr_assert_eq(sim_pending_wakes(t.loops[0]), 1);
    cr_assert_eq(loop_poll(t.loops[0], 0, NULL), 0, "still on its way");
    uint64_t due_ns = sim_next_due_ns(t.net);
    cr_assert_gt(due_ns, sim_now_ns(t.net));
    sim_advance(t.net, due_ns - sim_now_ns(t.net));
    cr_assert_eq(loop_poll(t.loops[0], 0, NULL), 1);
    cr_assert_eq(sim_pending_wakes(t.loops[0]), 0);
    stop(&rng);
}

static int asleep_polls;

static bool may_sleep(void *arg) {
    (void)arg;
    return true;
}

static void no_more(void *arg) {
    (void)arg;
}

static void while_asleep(void *arg, struct loop *l) {
    asleep_polls++;
    if (l == t.loops[0])
        (void)loop_poll(t.loops[1], 0, NULL);
    cr_assert_eq(arg, &asleep_polls);
}

Test(loop_sim, others_run_while_a_loop_sleeps) {
    start(1, &(struct sim_faults){0});
    struct rng rng;
    rng_seed(&rng, 1);
    const struct loop_hooks hooks = {.sleeping = may_sleep, .awake = no_more};
    sim_on_sleep(t.net, while_asleep, &asleep_polls);
    (void)loop_poll(t.loops[0], 0, &hooks);
    (void)loop_poll(t.loops[0], 0, &hooks);
    cr_assert_eq(asleep_polls, 0);
    (void)loop_poll(t.loops[0], 1000, &hooks);
    cr_assert_eq(asleep_polls, 1);
    sim_on_sleep(t.net, NULL, NULL);
    stop(&rng);
}

Test(loop_sim, a_client_that_resets_is_reported) {
    start(1, &(struct sim_faults){0});
    struct rng rng;
    rng_seed(&rng, 1);
    t.clients[0] = sim_connect(t.net, PORT);
    for (int i = 0; i < 5; i++)
        turn(&rng);
    sim_client_reset(t.clients[0]);
    for (int i = 0; i < 5; i++)
        turn(&rng);
    cr_assert_eq(t.conns[0].end_error, ECONNRESET);
    cr_assert_not(sim_client_write(t.clients[0], "x", 1));
    cr_assert_null(sim_connect(t.net, PORT + 1), "nobody listens there");
    stop(&rng);
}
