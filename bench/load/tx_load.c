/* tx_load.c: a load of transactions and multi-key commands over chosen keys, in a closed loop.
 *
 * Why         memtier_benchmark makes commands of one key, or whole commands at random, but neither MULTI with its
 *             body in one write nor keys that are known to lie on one shard, or on two.
 * How         Each connection keeps one request in flight: a pipeline, written at once from bytes that were
 *             prepared before the clock started. All values are alike, so what must come back is known to the
 *             byte: every reply is compared, and the first that differs ends the run. Random shapes share one pool
 *             of requests, each connection walking through it from a place of its own.
 * Rate        With --rate every connection sends at the same moments, that many times a second, and leaves out
 *             those at which it still waits: what a burst brings into each other's way, and what it costs, is
 *             then given by the clock and not by who happens to be faster.
 * Output      "begin" when the warm-up is over, then one line of JSON. An operation is one command or, in
 *             the shapes of five, all five. SIGTERM ends a run early.
 */
#include "client_impl.h"
#include "shards/clock.h"
#include "shards/rng.h"
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    VALUE_BYTES = 64,
    KEY_BYTES_MAX = 40,
    MULTI_KEYS = 10, /* of MGET and MSET */
    BODY = 5,        /* commands of a transaction, keys of a tag */
    POOL_OPS = 65536,
    FILL_OPS = 1000,
    CONNS_MAX = 1024,
    PAIRS_MAX = 64,
    EVENTS = 256,
    POLL_MS = 50,
    HIST_SUB = 32, /* buckets per power of two: percentiles are right to 3% */
    HIST_BUCKETS = 64 * HIST_SUB,
};
static const uint64_t NS_PER_S = 1000000000;

struct text {
    char *at;
    size_t len, room;
};

/* A request and where what it is answered with lies: there are two kinds at most (shape_of_turn). */
struct request {
    struct text bytes;
    const struct text *reply;
};

struct conn {
    int fd;
    bool waits;
    size_t next, first, count; /* of the requests: which are its own, and which it sends next */
    const struct request *sent;
    size_t received;
    uint64_t sent_ns;
};

struct options {
    long port, conns, pipeline, keys, rate, seed;
    double seconds, warmup;
    char *shape, *tags;
};

static struct {
    struct options o;
    struct rng rng;
    char value[VALUE_BYTES];
    const char *tags[PAIRS_MAX][2];
    size_t pairs;
    struct request *requests;
    size_t request_count;
    struct text replies[2];
    struct conn conns[CONNS_MAX];
    uint64_t hist[HIST_BUCKETS], done, late;
} load;

/* --- what is sent, and what must come back --- */

static void put(struct text *t, const void *bytes, size_t len) {
    if (t->at == NULL || t->len + len > t->room) {
        t->room = (t->len + len) * 2 + VALUE_BYTES;
        t->at = realloc(t->at, t->room);
        if (t->at == NULL)
            client_die("no memory");
    }
    memcpy(t->at + t->len, bytes, len);
    t->len += len;
}

static void put_line(struct text *t, const char *line) {
    put(t, line, strlen(line));
    put(t, "\r\n", 2);
}

static void put_head(struct text *t, char type, size_t n) {
    char line[24];
    (void)snprintf(line, sizeof line, "%c%zu", type, n);
    put_line(t, line);
}

static void put_bulk(struct text *t, const char *bytes, size_t len) {
    put_head(t, '$', len);
    put(t, bytes, len);
    put(t, "\r\n", 2);
}

static void put_word(struct text *t, const char *word) {
    put_bulk(t, word, strlen(word));
}

typedef void key_fn(char *out, size_t turn, size_t nth);

/* Keys of a random shape are anywhere. Those with a tag lie on one shard: five of one tag make one operation. */
static void key_numbered(char *out, uint64_t n) {
    (void)snprintf(out, KEY_BYTES_MAX, "key:%08llu", (unsigned long long)n);
}

static void key_tagged(char *out, uint64_t n) {
    (void)snprintf(out, KEY_BYTES_MAX, "{%07llu}:%llu", (unsigned long long)(n / BODY),
                   (unsigned long long)(n % BODY));
}

static void key_spread(char *out, size_t turn, size_t nth) {
    (void)turn;
    (void)nth;
    key_numbered(out, rng_below(&load.rng, (uint64_t)load.o.keys));
}

static void key_together(char *out, size_t turn, size_t nth) {
    static uint64_t tag;
    (void)turn;
    if (nth == 0)
        tag = rng_below(&load.rng, (uint64_t)load.o.keys / BODY);
    key_tagged(out, tag * BODY + nth);
}

/* Of a pair of tags: keys on two shards in turn. With one pair all operations conflict; with two for each connection,
 * not even those that follow each other on it do. */
static void key_of_pair(char *out, size_t turn, size_t nth) {
    (void)snprintf(out, KEY_BYTES_MAX, "{%s}:%zu", load.tags[turn % load.pairs][nth % 2], nth / 2);
}

static void make_get(struct text *out, struct text *reply, const char *key) {
    put_head(out, '*', 2);
    put_word(out, "GET");
    put_word(out, key);
    put_bulk(reply, load.value, VALUE_BYTES);
}

static void make_set(struct text *out, struct text *reply, const char *key) {
    put_head(out, '*', 3);
    put_word(out, "SET");
    put_word(out, key);
    put_bulk(out, load.value, VALUE_BYTES);
    put_line(reply, "+OK");
}

static void make_body(struct text *out, struct text *reply, size_t turn, key_fn *key) {
    char name[KEY_BYTES_MAX];
    for (size_t i = 0; i < BODY; i++) {
        key(name, turn, i);
        (i % 2 == 0 ? make_get : make_set)(out, reply, name);
    }
}

static void make_exec(struct text *out, struct text *reply, size_t turn, key_fn *key) {
    put_head(out, '*', 1);
    put_word(out, "MULTI");
    put_line(reply, "+OK");
    for (size_t i = 0; i < BODY; i++)
        put_line(reply, "+QUEUED");
    put_head(reply, '*', BODY);
    make_body(out, reply, turn, key);
    put_head(out, '*', 1);
    put_word(out, "EXEC");
}

static void make_mget(struct text *out, struct text *reply, size_t turn, key_fn *key) {
    char name[KEY_BYTES_MAX];
    put_head(out, '*', 1 + MULTI_KEYS);
    put_word(out, "MGET");
    put_head(reply, '*', MULTI_KEYS);
    for (size_t i = 0; i < MULTI_KEYS; i++) {
        key(name, turn, i);
        put_word(out, name);
        put_bulk(reply, load.value, VALUE_BYTES);
    }
}

static void make_mset(struct text *out, struct text *reply, size_t turn, key_fn *key) {
    char name[KEY_BYTES_MAX];
    put_head(out, '*', 1 + 2 * MULTI_KEYS);
    put_word(out, "MSET");
    for (size_t i = 0; i < MULTI_KEYS; i++) {
        key(name, turn, i);
        put_word(out, name);
        put_bulk(out, load.value, VALUE_BYTES);
    }
    put_line(reply, "+OK");
}

static void make_mix(struct text *out, struct text *reply, size_t turn, key_fn *key) {
    char name[KEY_BYTES_MAX];
    key(name, turn, 0);
    (turn % 2 == 0 ? make_get : make_set)(out, reply, name);
}

/* The stream: EXEC and MSET in turn. */
static void make_stream(struct text *out, struct text *reply, size_t turn, key_fn *key) {
    (turn % 2 == 0 ? make_exec : make_mset)(out, reply, turn, key);
}

typedef void make_fn(struct text *out, struct text *reply, size_t turn, key_fn *key);

static const struct shape {
    const char *name;
    make_fn *make; /* one operation; what it is answered with depends on nothing but turn % 2 */
    key_fn *key;
} shapes[] = {
    {"plain-together", make_body, key_together},
    {"exec-together", make_exec, key_together},
    {"plain-spread", make_body, key_spread},
    {"exec-spread", make_exec, key_spread},
    {"mget", make_mget, key_spread},
    {"mset", make_mset, key_spread},
    {"mix", make_mix, key_spread},
    {"stream", make_stream, key_of_pair},
};

static void prepare(const struct shape *shape) {
    size_t pipeline = (size_t)load.o.pipeline;
    load.request_count = shape->key == key_of_pair ? (size_t)load.o.conns : POOL_OPS / pipeline;
    load.requests = calloc(load.request_count, sizeof *load.requests);
    if (load.requests == NULL)
        client_die("no memory");
    for (size_t i = 0; i < load.request_count; i++) {
        struct text out = {0}, reply = {0}, *known = &load.replies[i * pipeline % 2];
        for (size_t k = 0; k < pipeline; k++)
            shape->make(&out, &reply, i * pipeline + k, shape->key);
        load.requests[i] = (struct request){out, known};
        if (known->at == NULL)
            *known = reply;
        else
            free(reply.at);
    }
}

/* --- connections --- */

/* Nothing of this connection is on its way when it sends, so the socket has room for all of it. */
static void send_all(int fd, const struct text *t) {
    ssize_t n = send(fd, t->at, t->len, MSG_NOSIGNAL);
    if (n != (ssize_t)t->len)
        client_die("sent %zd of %zu bytes: %s", n, t->len, strerror(errno));
}

static void send_next(struct conn *c) {
    c->sent = &load.requests[c->first + c->next];
    c->next = (c->next + 1) % c->count;
    c->received = 0;
    c->waits = true;
    c->sent_ns = clock_mono_ns();
    send_all(c->fd, &c->sent->bytes);
}

static size_t bucket_of(uint64_t ns) {
    if (ns < HIST_SUB)
        return ns;
    unsigned shift = 63U - (unsigned)__builtin_clzll(ns) - 5U;
    return (size_t)shift * HIST_SUB + (ns >> shift);
}

static double bucket_us(size_t i) {
    if (i < (size_t)2 * HIST_SUB)
        return (double)i / 1e3;
    size_t shift = i / HIST_SUB - 1;
    return (double)((i % HIST_SUB + HIST_SUB) << shift) / 1e3;
}

/* receive: true when a whole reply has come. */
static bool receive(struct conn *c) {
    static char bytes[1 << 18];
    const struct text *reply = c->sent->reply;
    ssize_t n = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0)
        client_die("a connection ended: %s", n == 0 ? "closed" : strerror(errno));
    size_t len = (size_t)n;
    if (!c->waits || len > reply->len - c->received ||
        memcmp(bytes, reply->at + c->received, len) != 0)
        client_die("not what was expected at byte %zu: %.*s", c->received,
                   len < 200 ? (int)len : 200, bytes);
    c->received += len;
    return c->received == reply->len;
}

static void on_readable(struct conn *c) {
    if (!receive(c))
        return;
    c->waits = false;
    load.done += (uint64_t)load.o.pipeline;
    load.hist[bucket_of(clock_mono_ns() - c->sent_ns)]++;
    if (load.o.rate == 0)
        send_next(c);
}

static void on_tick(int timer) {
    uint64_t missed;
    if (read(timer, &missed, sizeof missed) != (ssize_t)sizeof missed)
        return;
    load.late += (missed - 1) * (uint64_t)load.o.conns;
    for (long i = 0; i < load.o.conns; i++) {
        if (load.conns[i].waits)
            load.late++;
        else
            send_next(&load.conns[i]);
    }
}

/* --- a run --- */

static int start_timer(long rate) {
    uint64_t ns = NS_PER_S / (uint64_t)rate;
    struct timespec every = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    struct itimerspec spec = {every, every};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0 || timerfd_settime(fd, 0, &spec, NULL) != 0)
        client_die("timerfd: %s", strerror(errno));
    return fd;
}

static void start_conns(int poll) {
    size_t conns = (size_t)load.o.conns, all = load.request_count;
    for (size_t i = 0; i < conns; i++) {
        struct conn *c = &load.conns[i];
        *c = load.pairs > 0 ? (struct conn){.first = i, .count = 1}
                            : (struct conn){.next = i * all / conns, .count = all};
        c->fd = client_connect(load.o.port);
        client_watch(poll, c->fd, EPOLLIN, c);
    }
    for (size_t i = 0; i < conns && load.o.rate == 0; i++)
        send_next(&load.conns[i]);
}

static double percentile_us(double share) {
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        total += load.hist[i];
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        seen += load.hist[i];
        if (seen > 0 && (double)seen >= share * (double)total)
            return bucket_us(i);
    }
    return 0;
}

static void begin(void) {
    memset(load.hist, 0, sizeof load.hist);
    load.done = load.late = 0;
    (void)printf("begin\n");
    (void)fflush(stdout);
}

static void run(void) {
    int poll = epoll_create1(EPOLL_CLOEXEC), timer = -1;
    if (poll < 0)
        client_die("epoll: %s", strerror(errno));
    start_conns(poll);
    if (load.o.rate > 0) {
        timer = start_timer(load.o.rate);
        client_watch(poll, timer, EPOLLIN, NULL);
    }
    bool measures = false;
    uint64_t now = clock_mono_ns(), from = now + (uint64_t)(load.o.warmup * 1e9);
    uint64_t until = from + (uint64_t)(load.o.seconds * 1e9);
    for (; now < until && !client_stopping; now = clock_mono_ns()) {
        if (!measures && now >= from) {
            measures = true;
            from = now;
            begin();
        }
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poll, events, EVENTS, POLL_MS);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                on_tick(timer);
            else
                on_readable(events[i].data.ptr);
        }
    }
    (void)printf("{\"ops\": %llu, \"seconds\": %.6f, \"p50_us\": %.2f, \"p99_us\": %.2f, "
                 "\"p999_us\": %.2f, \"late\": %llu}\n",
                 (unsigned long long)load.done, measures ? (double)(now - from) / 1e9 : 0,
                 percentile_us(0.5), percentile_us(0.99), percentile_us(0.999),
                 (unsigned long long)load.late);
}

/* fill: every key once, with or without tags. */
static void fill(void (*key)(char *out, uint64_t n)) {
    int fd = client_connect(load.o.port);
    uint64_t keys = (uint64_t)load.o.keys;
    for (uint64_t at = 0; at < keys;) {
        struct text out = {0}, reply = {0};
        char name[KEY_BYTES_MAX];
        for (int i = 0; i < FILL_OPS && at < keys; i++) {
            key(name, at++);
            make_set(&out, &reply, name);
        }
        struct request r = {out, &reply};
        struct conn c = {.fd = fd, .waits = true, .sent = &r};
        send_all(fd, &out);
        while (!receive(&c))
            ;
        free(out.at);
        free(reply.at);
    }
    (void)close(fd);
}

/* --- options --- */

static void usage(void) {
    (void)fprintf(stderr, "usage: tx_load --port N --shape fill|fill-tagged");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        (void)fprintf(stderr, "|%s", shapes[i].name);
    (void)fprintf(stderr,
                  "\n    [--conns 50] [--pipeline 1] [--seconds 2] [--warmup 0.3] [--keys 1000000]"
                  "\n    [--rate TIMES_A_SECOND] [--seed 1] [--tags A,B[,C,D...]]\n");
    exit(2);
}

static long whole(const char *word) {
    char *end;
    long n = strtol(word, &end, 10);
    if (end == word || *end != '\0' || n < 0 || n > 1000000000)
        usage();
    return n;
}

static double real(const char *word) {
    char *end;
    double n = strtod(word, &end);
    if (end == word || *end != '\0' || !(n >= 0 && n <= 1e6))
        usage();
    return n;
}

static void parse(int argc, char **argv, struct options *o) {
    struct {
        const char *name;
        long *number;
        double *seconds;
        char **word;
    } known[] = {{"--port", &o->port, NULL, NULL},         {"--conns", &o->conns, NULL, NULL},
                 {"--pipeline", &o->pipeline, NULL, NULL}, {"--keys", &o->keys, NULL, NULL},
                 {"--rate", &o->rate, NULL, NULL},         {"--seed", &o->seed, NULL, NULL},
                 {"--seconds", NULL, &o->seconds, NULL},   {"--warmup", NULL, &o->warmup, NULL},
                 {"--shape", NULL, NULL, &o->shape},       {"--tags", NULL, NULL, &o->tags}};
    for (int i = 1; i < argc; i += 2) {
        size_t k = 0, n = sizeof known / sizeof *known;
        while (k < n && strcmp(argv[i], known[k].name) != 0)
            k++;
        if (k == n || i + 1 == argc)
            usage();
        if (known[k].number != NULL)
            *known[k].number = whole(argv[i + 1]);
        else if (known[k].seconds != NULL)
            *known[k].seconds = real(argv[i + 1]);
        else
            *known[k].word = argv[i + 1];
    }
    if (o->port < 1 || o->port > 65535 || o->conns < 1 || o->conns > CONNS_MAX || o->pipeline < 1 ||
        o->pipeline > FILL_OPS || o->keys < BODY || o->shape == NULL)
        usage();
}

/* split_tags: pairs of them; where they lie is for whoever names them. */
static void split_tags(char *list) {
    char *rest = NULL;
    size_t n = 0;
    if (list == NULL)
        usage();
    for (char *w = strtok_r(list, ",", &rest); w != NULL; w = strtok_r(NULL, ",", &rest), n++) {
        if (n == (size_t)2 * PAIRS_MAX)
            usage();
        load.tags[n / 2][n % 2] = w;
    }
    if (n == 0 || n % 2 != 0)
        usage();
    load.pairs = n / 2;
}

int main(int argc, char **argv) {
    load.o = (struct options){
        .conns = 50, .pipeline = 1, .keys = 1000000, .seed = 1, .seconds = 2, .warmup = 0.3};
    parse(argc, argv, &load.o);
    memset(load.value, 'x', sizeof load.value);
    rng_seed(&load.rng, (uint64_t)load.o.seed);
    if (strcmp(load.o.shape, "fill") == 0 || strcmp(load.o.shape, "fill-tagged") == 0) {
        fill(load.o.shape[4] == '\0' ? key_numbered : key_tagged);
        return 0;
    }
    client_ends_on_term();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (strcmp(load.o.shape, shapes[i].name) != 0)
            continue;
        if (shapes[i].key == key_of_pair)
            split_tags(load.o.tags);
        prepare(&shapes[i]);
        run();
        return 0; /* connections and memory go with the process */
    }
    usage();
}
