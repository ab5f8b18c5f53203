/* server_sim.c: the whole server on simulated loops: many seeds, a model of each client's keys as oracle.
 *
 * Usage       server_sim [--seeds N] [--first SEED] [--verbose]; a failure prints its seed, and
 *             `server_sim --first SEED --seeds 1` replays it.
 *
 * Beside what sim_world.h says, a seed chooses the number of clients and the commands. Every client has keys of its own,
 * so the replies it must see follow from what it sent, whatever the others do; a client that is alone may also
 * use the commands that look at all keys. Replies are compared byte by byte, and everything must be answered. Where memory is
 * short, a command says so and has changed nothing, or has done all that it does.
 */
#include "server_impl.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CLIENTS_MAX = 6,
    KEYS = 12,
    VALUE_MAX = SERVER_VALUE_MAX,
    REQUEST_ENOUGH = VALUE_MAX / 2,
    STEPS = 400,
    SOON_STEPS = 400,
    QUIET_TURNS_MAX = 200000
};

struct value_model {
    bool there;
    size_t len;
    char bytes[VALUE_MAX];
};

struct client {
    struct sim_client *end;
    struct wire wire;
    struct value_model keys[KEYS];
    struct coll_model collections;
    bool lost; /* a reset: what was in flight may or may not have happened */
};

static struct sim_world w;
static unsigned clients;
static bool resets;
static bool
    no_memory; /* allocations fail now and then: replies may be errors, connections may end */
static struct client client[CLIENTS_MAX];
static struct sim_client *watcher; /* runs MONITOR, or NULL */
static uint64_t watched_bytes, bytes_compared, refused_count;

static _Noreturn void fail(const char *what) {
    sim_world_fail(&w, what);
}

static uint64_t below(uint64_t n) {
    return sim_world_below(&w, n);
}

/* --- sending --- */

static void key_arg(const struct client *c, unsigned k) {
    server_key(&c->wire, 'k', k);
}

static void expect_value(struct client *c, const struct value_model *v) {
    server_expect_bulk(&c->wire, (struct span){v->there ? v->bytes : NULL, v->len});
}

static void flush_request(struct client *c) {
    /* A client that was reset learns it when it reads. */
    struct span request = server_request();
    (void)sim_client_write(c->end, request.ptr, request.len);
    server_request_taken();
}

/* forget: it has no key any more. */
static void forget(struct client *c) {
    memset(c->keys, 0, sizeof c->keys);
    memset(&c->collections, 0, sizeof c->collections);
}

static size_t random_value(char *to) {
    static const size_t sizes[] = {0, 1, 10, 44, 45, 100, 1000, 1023, 1024, 5000, 16384, 40000};
    size_t len = below(40) == 0 ? below(VALUE_MAX) : sizes[below(COUNT_OF(sizes))];
    if (len > 5000 && below(4) != 0)
        len = below(64);
    for (size_t i = 0; i < len; i++)
        to[i] = (char)('a' + (char)((i * 7 + len) % 26));
    if (len != 0)
        to[0] = (char)('A' + (char)below(26));
    return len;
}

static void send_set(struct client *c, unsigned k) {
    struct value_model *v = &c->keys[k];
    char *bytes = malloc(VALUE_MAX);
    if (bytes == NULL)
        abort();
    size_t len = random_value(bytes);
    unsigned kind = (unsigned)below(4); /* plain, NX, XX, GET */
    static const char *const words[] = {NULL, "NX", "XX", "GET"};
    server_begin(kind == 0 ? 3 : 4);
    server_word("SET");
    key_arg(c, k);
    server_arg(bytes, len);
    if (kind != 0)
        server_word(words[kind]);
    bool stores = kind == 0 || kind == 3 || (kind == 1) != v->there;
    if (kind == 3)
        expect_value(c, v);
    else
        server_expect_text(&c->wire, stores ? "+OK\r\n" : "$-1\r\n");
    if (stores) {
        v->there = true;
        v->len = len;
        memcpy(v->bytes, bytes, len);
    }
    free(bytes);
}

static void send_append(struct client *c, unsigned k) {
    struct value_model *v = &c->keys[k];
    char bytes[300];
    size_t len = below(sizeof bytes), old = v->there ? v->len : 0;
    if (old + len > VALUE_MAX)
        return;
    memset(bytes, 'x', len);
    server_begin(3);
    server_word("APPEND");
    key_arg(c, k);
    server_arg(bytes, len);
    memcpy(v->bytes + old, bytes, len);
    v->len = old + len;
    v->there = true;
    server_expect_int(&c->wire, (long)v->len);
}

static void send_delete(struct client *c, unsigned k) {
    bool get = below(2) == 0;
    server_begin(2);
    server_word(get ? "GETDEL" : "DEL");
    key_arg(c, k);
    if (get)
        expect_value(c, &c->keys[k]);
    else
        server_expect_int(&c->wire, c->keys[k].there);
    c->keys[k].there = false;
    c->keys[k].len = 0;
}

static void send_look(struct client *c, unsigned k) {
    static const char *const names[] = {"GET", "STRLEN", "EXISTS", "GET", "TTL"};
    unsigned kind = (unsigned)below(COUNT_OF(names));
    const struct value_model *v = &c->keys[k];
    server_begin(2);
    server_word(names[kind]);
    key_arg(c, k);
    if (kind == 1)
        server_expect_int(&c->wire, v->there ? (long)v->len : 0);
    else if (kind == 2)
        server_expect_int(&c->wire, v->there);
    else if (kind == 4)
        server_expect_int(&c->wire, v->there ? -1 : -2);
    else
        expect_value(c, v);
}

static void send_range(struct client *c, unsigned k) {
    struct value_model *v = &c->keys[k];
    size_t at = below(2000);
    char bytes[200], number[32];
    size_t len = 1 + below(sizeof bytes - 1), old = v->there ? v->len : 0;
    memset(bytes, 'r', len);
    server_begin(4);
    server_word("SETRANGE");
    key_arg(c, k);
    (void)snprintf(number, sizeof number, "%zu", at);
    server_word(number);
    server_arg(bytes, len);
    if (at > old)
        memset(v->bytes + old, 0, at - old);
    memcpy(v->bytes + at, bytes, len);
    v->there = true;
    v->len = at + len > old ? at + len : old;
    server_expect_int(&c->wire, (long)v->len);
}

static void send_local(struct client *c) {
    server_begin(2);
    server_word("ECHO");
    server_word("hello");
    server_expect_text(&c->wire, "$5\r\nhello\r\n");
    if (below(4) == 0) {
        server_inline("PING\r\n");
        server_expect_text(&c->wire, "+PONG\r\n");
    }
    if (below(8) == 0) {
        server_begin(1);
        server_word("NOSUCH");
        server_expect_text(&c->wire,
                           "-ERR unknown command 'NOSUCH', with args beginning with: \r\n");
    }
    if (below(8) == 0) {
        server_begin(2);
        server_word("SELECT");
        server_word("0");
        server_expect_text(&c->wire, "+OK\r\n");
    }
}

/* send_quiet: replies that are not sent, and commands that have to wait for a moment. */
static void send_quiet(struct client *c) {
    static const char *const modes[] = {"WRITE", "ALL"};
    char ms[8];
    server_begin(3);
    server_word("CLIENT");
    if (below(2) == 0) {
        server_word("REPLY");
        server_word("SKIP");
        server_begin(2);
        server_word("ECHO");
        server_word("unheard");
        return;
    }
    if (below(4) == 0) {
        server_word("REPLY");
        server_word("OFF");
        server_begin(1);
        server_word(below(2) == 0 ? "DBSIZE" : "PING");
        server_begin(3);
        server_word("CLIENT");
        server_word("REPLY");
        server_word("ON");
        server_expect_text(&c->wire, "+OK\r\n");
        return;
    }
    if (below(3) == 0) {
        server_word("PAUSE");
        (void)snprintf(ms, sizeof ms, "%u", (unsigned)below(4));
        server_word(ms);
        server_expect_text(&c->wire, "+OK\r\n");
        return;
    }
    server_word("SETNAME");
    server_word(modes[below(2)]);
    server_expect_text(&c->wire, "+OK\r\n");
    server_begin(4);
    server_word("CLIENT");
    server_word("PAUSE");
    server_word("2");
    server_word(modes[below(2)]);
    server_expect_text(&c->wire, "+OK\r\n");
    server_begin(2);
    server_word("CLIENT");
    server_word("UNPAUSE");
    server_expect_text(&c->wire, "+OK\r\n");
}

/* send_all: commands that every shard takes part in; only a lonely client knows the answer. */
static void send_all(struct client *c) {
    unsigned keys = server_coll_count(&c->collections);
    for (unsigned k = 0; k < KEYS; k++)
        keys += c->keys[k].there;
    if (below(3) == 0) {
        bool sync = below(2) == 0;
        server_begin(sync ? 2 : 1);
        server_word("FLUSHALL");
        if (sync)
            server_word("SYNC");
        server_expect_text(&c->wire, "+OK\r\n");
        forget(c);
        return;
    }
    server_begin(1);
    server_word("DBSIZE");
    server_expect_int(&c->wire, (long)keys);
}

static void send_collection(struct client *c, unsigned k) {
    (void)k;
    server_coll_send(&w, &c->wire, &c->collections);
}

/* send_multi: MULTI with a few of the commands above, whose replies come with EXEC. */
static void send_multi(struct client *c) {
    unsigned n = 1 + (unsigned)below(4);
    server_begin(1);
    server_word("MULTI");
    server_expect_text(&c->wire, "+OK\r\n");
    for (unsigned i = 0; i < n; i++)
        server_expect_text(&c->wire, "+QUEUED\r\n");
    server_expect_head(&c->wire, n);
    for (unsigned i = 0; i < n; i++) {
        unsigned k = (unsigned)below(KEYS);
        static void (*const send[])(struct client * c, unsigned k) = {
            send_set, send_delete, send_look, send_range, send_collection, send_collection};
        send[below(COUNT_OF(send))](c, k);
    }
    server_begin(1);
    server_word("EXEC");
}

static void send_many_set(struct client *c, unsigned from, unsigned n) {
    server_begin(1 + 2 * n);
    server_word("MSET");
    for (unsigned i = 0; i < n; i++) {
        struct value_model *v = &c->keys[(from + i) % KEYS];
        key_arg(c, (from + i) % KEYS);
        v->there = true;
        v->len = below(60);
        memset(v->bytes, 'm', v->len);
        server_arg(v->bytes, v->len);
    }
    server_expect_text(&c->wire, "+OK\r\n");
}

static void send_rename(struct client *c, unsigned from, unsigned to) {
    struct value_model *a = &c->keys[from], *b = &c->keys[to];
    server_begin(3);
    server_word("RENAME");
    key_arg(c, from);
    key_arg(c, to);
    server_expect_text(&c->wire, a->there ? "+OK\r\n" : "-ERR no such key\r\n");
    if (!a->there || from == to)
        return;
    *b = *a;
    a->there = false;
    a->len = 0;
}

/* send_across: keys of several shards in one command. */
static void send_across(struct client *c) {
    unsigned from = (unsigned)below(KEYS), n = 2 + (unsigned)below(4), there = 0;
    unsigned kind = (unsigned)below(4);
    if (kind == 0) {
        send_many_set(c, from, n);
        return;
    }
    if (kind == 1) {
        send_rename(c, from, (from + n) % KEYS);
        return;
    }
    server_begin(1 + n);
    server_word(kind == 2 ? "MGET" : "DEL");
    if (kind == 2)
        server_expect_head(&c->wire, n);
    for (unsigned i = 0; i < n; i++) {
        struct value_model *v = &c->keys[(from + i) % KEYS];
        key_arg(c, (from + i) % KEYS);
        if (kind == 2) {
            expect_value(c, v);
            continue;
        }
        there += v->there;
        v->there = false;
        v->len = 0;
    }
    if (kind == 3)
        server_expect_int(&c->wire, there);
}

static void send_some(struct client *c) {
    unsigned count = below(10) == 0 ? 150 : 1 + (unsigned)below(8);
    for (unsigned i = 0; i < count && server_request().len < REQUEST_ENOUGH; i++) {
        unsigned k = (unsigned)below(KEYS);
        if (below(2) == 0) {
            send_collection(c, k);
            continue;
        }
        switch (below(clients == 1 && !resets ? 11 : 10)) {
        case 0:
        case 1:
            send_set(c, k);
            break;
        case 2:
            send_append(c, k);
            break;
        case 3:
            send_delete(c, k);
            break;
        case 4:
            send_range(c, k);
            break;
        case 5:
            if (below(6) == 0)
                send_quiet(c);
            else
                send_local(c);
            break;
        case 8:
            send_across(c);
            break;
        case 9:
            send_multi(c);
            break;
        case 10:
            send_all(c);
            break;
        default:
            send_look(c, k);
        }
    }
    flush_request(c);
}

/* --- the server's side --- */

static void client_connect(struct client *c) {
    c->end = sim_world_connect(&w);
    c->wire.expected_len = c->wire.matched = 0;
    c->lost = false;
}

static void client_read(struct client *c) {
    char bytes[4096];
    for (;;) {
        ssize_t n = sim_client_read(c->end, bytes, 1 + below(sizeof bytes));
        if (n == 0)
            return;
        if (n < 0) {
            if (!sim_client_was_reset(c->end) && !no_memory)
                fail("the server closed a connection");
            c->lost = true;
            return;
        }
        if (no_memory)
            continue;
        if (c->wire.matched + (size_t)n > c->wire.expected_len && sim_verbose)
            (void)printf("expected %zu, have %zu, got %zd: %.*s\n", c->wire.expected_len,
                         c->wire.matched, n, (int)n, bytes);
        if (c->wire.matched + (size_t)n > c->wire.expected_len)
            fail("more was answered than was asked");
        if (memcmp(bytes, c->wire.expected + c->wire.matched, (size_t)n) != 0) {
            size_t at = 0;
            while (bytes[at] == c->wire.expected[c->wire.matched + at])
                at++;
            size_t from = at < 60 ? 0 : at - 60;
            (void)printf("byte %zu; got:\n%.*s\nexpected:\n%.*s\n", c->wire.matched + at,
                         (int)((size_t)n - from < 120 ? (size_t)n - from : 120), bytes + from, 120,
                         c->wire.expected + c->wire.matched + from);
            fail("a wrong reply");
        }
        c->wire.matched += (size_t)n;
        bytes_compared += (uint64_t)n;
    }
}

/* A reset client goes on with fresh keys: its old ones are in an unknown state. */
static void client_renew(struct client *c) {
    sim_client_free(c->end);
    forget(c);
    c->wire.generation++;
    client_connect(c);
}

/* watcher_read: what it sees depends on the order of turns, so it is only counted. */
static void watcher_read(void) {
    char bytes[8192];
    for (ssize_t n; watcher != NULL && (n = sim_client_read(watcher, bytes, sizeof bytes)) > 0;)
        watched_bytes += (uint64_t)n;
}

static void step(void) {
    if (below(4) == 0)
        watcher_read();
    if (below(3) == 0)
        server_soon_step();
    unsigned what = (unsigned)below(10);
    struct client *c = &client[below(clients)];
    if (what < 6) {
        (void)sim_world_turn(&w, (unsigned)below(w.n));
    } else if (what < 8) {
        client_read(c);
        if (c->lost)
            client_renew(c);
    } else if (what == 8 && c->wire.expected_len - c->wire.matched < 400000) {
        send_some(c);
    } else if (what == 9 && below(4) == 0) {
        sim_advance(w.net, below(3000000));
    }
    if (resets && below(300) == 0)
        sim_client_reset(c->end);
    if (no_memory && below(10) == 0)
        shards_get(w.shards, (unsigned)below(w.n))->mem.fail_in = 1 + below(40);
}

static bool all_answered(void) {
    bool all = server_soon_answered();
    watcher_read();
    for (unsigned i = 0; i < clients; i++) {
        struct client *c = &client[i];
        client_read(c);
        if (c->lost)
            client_renew(c);
        all = all && c->wire.matched == c->wire.expected_len;
    }
    return all;
}

/* settle: no new requests; everything must be answered in a bounded number of turns. */
static void settle(void) {
    sim_world_no_faults(&w);
    for (unsigned turns = 0; !all_answered(); turns++) {
        sim_world_round(&w);
        if (turns == QUIET_TURNS_MAX)
            fail("not everything was answered");
    }
}

/* soon: turns of the clients whose keys expire in the middle of it, and an end to these keys. */
static void soon(void) {
    for (unsigned i = 0; i < SOON_STEPS; i++) {
        server_soon_step();
        (void)sim_world_turn(&w, (unsigned)below(w.n));
        sim_advance(w.net, below(below(40) == 0 ? 100000000 : below(8) == 0 ? 1000000 : 2000));
    }
    settle();
    server_soon_clean();
    settle();
    server_soon_end();
}

/* expire: a key with a time to live is there before its time, and not after, whether or not anybody looks. */
static void expire(void) {
    struct client *c = &client[0];
    server_begin(5);
    server_word("SET");
    key_arg(c, 0);
    server_word("soon gone");
    server_word("PX");
    server_word("50");
    server_expect_text(&c->wire, "+OK\r\n");
    server_begin(2);
    server_word("PERSIST");
    key_arg(c, 1);
    server_expect_int(&c->wire, 0);
    server_coll_soon_gone(&c->wire);
    flush_request(c);
    settle();
    sim_advance(w.net, 52000000);
    server_begin(2);
    server_word(below(2) == 0 ? "GET" : "GETDEL");
    key_arg(c, 0);
    server_expect_text(&c->wire, "$-1\r\n");
    c->keys[0].there = false;
    c->keys[0].len = 0;
    server_coll_gone(&c->wire, false);
    flush_request(c);
    settle();
    sim_advance(w.net, 1000000000);
    server_coll_gone(&c->wire, true);
    flush_request(c);
    settle();
}

static ON_SHARD uint64_t keys_there(void) {
    uint64_t n = 0;
    for (unsigned i = 0; i < w.n; i++) {
        const struct table *t = keyspace_peek_table(shards_get(w.shards, i)->keyspace, 0);
        n += t == NULL ? 0 : table_count(t);
    }
    return n;
}

/* expire_many: keys, and keys of which all fields or members expire, that nobody looks at again are gone a second after
 * their time, in the server's own time. */
static ON_SHARD void expire_many(void) {
    enum { MANY = 3000 };
    struct client *c = &client[0];
    char key[32];
    uint64_t before = keys_there();
    for (unsigned i = 0; i < MANY; i++) {
        server_begin(5);
        server_word("SET");
        server_arg(key, (size_t)snprintf(key, sizeof key, "many:%u", i));
        server_word("v");
        server_word("PX");
        server_word("300");
        server_expect_text(&c->wire, "+OK\r\n");
        if (i % 500 == 499)
            flush_request(c);
    }
    server_coll_many(&c->wire, MANY);
    flush_request(c);
    settle();
    for (unsigned ms = 0; ms < 2300; ms += 10) {
        sim_advance(w.net, 10000000);
        for (unsigned i = 0; i < w.n; i++)
            (void)sim_world_turn(&w, i);
    }
    if (keys_there() != before)
        fail("keys are still there a second after their time");
}

static void begin_seed(uint64_t seed) {
    sim_world_begin(&w, seed);
    memset(client, 0, sizeof client);
    watcher = NULL;
    watched_bytes = 0;
    clients = 1 + (unsigned)below(CLIENTS_MAX);
    resets = below(3) == 0;
    no_memory = below(5) == 0;
    for (unsigned i = 0; i < clients; i++) {
        client[i].wire.id = i;
        client_connect(&client[i]);
    }
    if (below(3) == 0) {
        watcher = sim_world_connect(&w);
        (void)sim_client_write(watcher, "MONITOR\r\n", 9);
    }
    bool alone = clients == 1 && !resets; /* then it knows how many keys there are */
    server_soon_begin(&w, no_memory || alone ? 0 : (unsigned)below(4));
    sim_world_faults(&w);
}

static void watcher_end(void) {
    if (watcher == NULL)
        return;
    sim_world_quiet(&w);
    watcher_read();
    if (!resets && !no_memory && watched_bytes < 5)
        fail("MONITOR shows nothing");
    sim_client_free(watcher);
}

static void end_seed(void) {
    watcher_end();
    for (unsigned i = 0; i < clients; i++) {
        sim_client_free(client[i].end);
        free(client[i].wire.expected);
    }
    sim_world_quiet(&w);
    sim_world_end(&w);
}

static void memory_is_back(void) {
    for (unsigned i = 0; i < w.n; i++)
        shards_get(w.shards, i)->mem.fail_in = 0;
}

/* renew_well: and wait until the server has taken it up; one that it refuses a descriptor of the simulator never hears of it. */
static void renew_well(struct client *c) {
    char bytes[16];
    size_t len = 0;
    memory_is_back();
    client_renew(c);
    server_inline("PING\r\n");
    flush_request(c);
    for (unsigned rounds = 0; len < 7 && rounds < QUIET_TURNS_MAX; rounds++) {
        sim_world_round(&w);
        ssize_t n = sim_client_read(c->end, bytes + len, sizeof bytes - len);
        if (n < 0)
            fail("a new connection was closed");
        len += (size_t)n;
    }
}

/* heard_all: all of the reply, or that memory is out; false: not yet. */
static bool heard_all(struct client *c, const char *bytes, size_t len, bool *refused) {
    static const char no[] = "-ERR out of memory\r\n";
    size_t no_len = sizeof no - 1;
    *refused = len == no_len && memcmp(bytes, no, len) == 0;
    bool as_expected = len <= c->wire.expected_len && memcmp(bytes, c->wire.expected, len) == 0;
    if (!as_expected && !*refused && (len > no_len || memcmp(bytes, no, len) != 0)) {
        (void)printf("got:\n%.*s\nexpected:\n%.*s\n", (int)(len < 200 ? len : 200), bytes,
                     (int)(c->wire.expected_len < 200 ? c->wire.expected_len : 200),
                     c->wire.expected);
        fail("a wrong reply while memory is short");
    }
    return *refused || (as_expected && len == c->wire.expected_len);
}

/* refuse_one: a command for which an allocation may fail: it replies so and has changed nothing, or does all that it says. A
 * connection that memory for input or output was refused to is closed. */
static void refuse_one(struct client *c, char *bytes, size_t size) {
    struct coll_model before = c->collections;
    size_t len = 0;
    bool refused = false;
    c->wire.expected_len = c->wire.matched = 0;
    server_coll_send(&w, &c->wire, &c->collections);
    if (sim_verbose)
        (void)printf("%.*s\n", (int)server_request().len, server_request().ptr);
    flush_request(c);
    shards_get(w.shards, (unsigned)below(w.n))->mem.fail_in = 1 + below(below(3) == 0 ? 300 : 5);
    for (unsigned rounds = 0; len == 0 || !heard_all(c, bytes, len, &refused); rounds++) {
        sim_world_round(&w);
        ssize_t n = sim_client_read(c->end, bytes + len, size - len);
        if (n < 0) {
            renew_well(c);
            return;
        }
        len += (size_t)n;
        if (rounds == QUIET_TURNS_MAX)
            fail("no answer while memory is short");
    }
    if (sim_verbose)
        (void)printf("%.*s\n", (int)len, bytes);
    memory_is_back();
    refused_count += refused;
    if (refused)
        c->collections = before;
}

/* refuse: one command after another. */
static void refuse(void) {
    enum { COMMANDS = 150, REPLY_MAX = 1 << 22 };
    static char bytes[REPLY_MAX];
    sim_world_no_faults(&w);
    renew_well(&client[0]);
    sim_world_quiet(&w); /* what the old connection had sent has happened */
    for (unsigned i = 0; i < COMMANDS; i++)
        refuse_one(&client[0], bytes, sizeof bytes);
}

/* recover: memory is back; a client that was cut off comes again, and all is as with a new server. */
static void recover(void) {
    if (watcher != NULL)
        sim_client_free(watcher);
    watcher = NULL;
    memory_is_back();
    for (unsigned i = 0; i < clients; i++) {
        sim_client_free(client[i].end);
        client[i].end = NULL;
    }
    sim_world_quiet(&w);
    no_memory = false;
    for (unsigned i = 0; i < clients; i++) {
        forget(&client[i]);
        client[i].wire.generation++;
        client_connect(&client[i]);
    }
    if (clients == 1) {
        server_begin(1);
        server_word("FLUSHALL");
        server_expect_text(&client[0].wire, "+OK\r\n");
        flush_request(&client[0]);
    }
    for (unsigned i = 0; i < STEPS / 4; i++)
        step();
}

static void run_seed(uint64_t seed) {
    shard_claim();
    begin_seed(seed);
    for (unsigned i = 0; i < STEPS; i++)
        step();
    if (no_memory) {
        refuse();
        recover();
    }
    settle();
    soon();
    expire();
    if (seed % 64 == 0)
        expire_many();
    end_seed();
}

static bool reached(uint64_t seeds) {
    (void)printf("%lu reply bytes compared, %lu commands without memory, %lu messages, %lu "
                 "borrowings, %lu jobs\n",
                 (unsigned long)bytes_compared, (unsigned long)refused_count,
                 (unsigned long)sim_totals.messages, (unsigned long)sim_totals.borrows,
                 (unsigned long)sim_totals.jobs);
    return seeds < 20 || (bytes_compared != 0 && refused_count != 0 && sim_totals.messages != 0 &&
                          sim_totals.borrows != 0 && sim_totals.jobs != 0);
}

int main(int argc, char **argv) {
    return sim_world_main(argc, argv, 200, run_seed, NULL, reached);
}
