/* MGET, MSET, MSETNX and MSETEX on one shard and on several: the same replies, and all or nothing. */
#include "command_fixture.h"
#include "shards/rng.h"
#include <stdarg.h>

static const unsigned shard_counts[] = {1, 2, 3, 8};

/* --- at random, against an array --- */

enum { KEYS = 12, STEPS = 3000 };

struct model {
    struct server s;
    struct rng rng;
    int values[KEYS]; /* -1: no such key */
    int64_t expire_ms[KEYS];
};

enum { LINE_BYTES = 512 };

PRINTF_LIKE(2, 3) static void add(char *line, const char *fmt, ...) {
    size_t len = strlen(line);
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + len, LINE_BYTES - len, fmt, args);
    va_end(args);
}

static bool is_there(const struct model *m, unsigned i) {
    return m->values[i] >= 0 && (m->expire_ms[i] == EXPIRE_NEVER || m->s.now_ms <= m->expire_ms[i]);
}

static void step_mget(struct model *m) {
    char line[LINE_BYTES] = "mget", reply[LINE_BYTES] = "";
    unsigned n = 1 + (unsigned)rng_below(&m->rng, 20);
    add(reply, "*%u\r\n", n);
    for (unsigned i = 0; i < n; i++) {
        unsigned key = (unsigned)rng_below(&m->rng, KEYS);
        add(line, " k%u", key);
        if (is_there(m, key))
            add(reply, "$4\r\n%04u\r\n", (unsigned)m->values[key]);
        else
            strcat(reply, NIL);
    }
    expect(&m->s, line, reply);
}

/* One of the three that set; `kind` 0: MSET, 1: MSETNX, 2 and on: MSETEX. */
static void step_set(struct model *m, unsigned kind) {
    char line[LINE_BYTES] = "";
    unsigned n = 1 + (unsigned)rng_below(&m->rng, 6), keys[6], values[6];
    unsigned condition = kind == 1 ? 1 : kind == 0 ? 0 : (unsigned)rng_below(&m->rng, 3);
    unsigned expiry = kind < 2 ? 0 : (unsigned)rng_below(&m->rng, 4);
    bool holds = true;
    if (kind < 2)
        add(line, "%s", kind == 0 ? "mset" : "msetnx");
    else
        add(line, "msetex %u", n);
    for (unsigned i = 0; i < n; i++) {
        keys[i] = (unsigned)rng_below(&m->rng, KEYS);
        values[i] = (unsigned)rng_below(&m->rng, 10000);
        add(line, " k%u", keys[i]);
        add(line, " %04u", values[i]);
        holds &= condition == 0 || is_there(m, keys[i]) == (condition == 2);
    }
    if (condition != 0 && kind != 1)
        strcat(line, condition == 1 ? " nx" : " xx");
    static const char *const options[] = {"", " px 50", " keepttl", " pxat 5"};
    strcat(line, options[expiry]);
    expect(&m->s, line, kind == 0 ? DONE : holds ? INT(1) : INT(0));
    for (unsigned i = 0; holds && i < n; i++) {
        unsigned key = keys[i];
        int64_t kept = is_there(m, key) ? m->expire_ms[key] : EXPIRE_NEVER;
        m->values[key] = expiry == 3 ? -1 : (int)values[i];
        m->expire_ms[key] = expiry == 1 ? m->s.now_ms + 50 : expiry == 2 ? kept : EXPIRE_NEVER;
    }
}

Test(string_multi, any_calls_on_any_number_of_shards) {
    for (size_t n = 0; n < COUNT_OF(shard_counts); n++) {
        struct model m = {0};
        server_start(&m.s, shard_counts[n]);
        rng_seed(&m.rng, n);
        for (unsigned i = 0; i < KEYS; i++)
            m.values[i] = -1;
        for (unsigned step = 0; step < STEPS; step++) {
            unsigned kind = (unsigned)rng_below(&m.rng, 8);
            if (kind < 5)
                step_set(&m, kind);
            else
                step_mget(&m);
            m.s.now_ms += (int64_t)rng_below(&m.rng, 10);
            if (rng_below(&m.rng, 20) == 0) {
                unsigned key = (unsigned)rng_below(&m.rng, KEYS);
                char line[LINE_BYTES] = "";
                add(line, "del k%u", key);
                run(&m.s, line);
                m.values[key] = -1;
            }
        }
        server_stop(&m.s);
    }
}

/* --- the same, whichever way it goes --- */

Test(string_multi, what_is_malformed_is_refused_alike_everywhere) {
    static const struct exchange list[] = {
        {"mset a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n"},
        {"msetnx a 1 b 2 c", "-ERR wrong number of arguments for 'msetnx' command\r\n"},
        {"msetex 0 a 1", "-ERR invalid numkeys value or out of range\r\n"},
        {"msetex -1 a 1", "-ERR invalid numkeys value or out of range\r\n"},
        {"msetex x a 1", "-ERR invalid numkeys value or out of range\r\n"},
        {"msetex 2147483648 a 1", "-ERR invalid numkeys value or out of range\r\n"},
        {"msetex 2 a 1 b", ERR_SYN},
        {"msetex 3 a 1 b 2", ERR_SYN},
        {"msetex 2 a 1 b 2 ex", ERR_SYN},
        {"msetex 2 a 1 b 2 get", ERR_SYN},
        {"msetex 2 a 1 b 2 nx xx", ERR_SYN},
        {"msetex 2 a 1 b 2 ex 1 keepttl", ERR_SYN},
        {"msetex 2 a 1 b 2 c 3", ERR_SYN},
        {"msetex 2 a 1 b 2 ex x", ERR_INT},
        {"msetex 2 a 1 b 2 ex 0", "-ERR invalid expire time in 'msetex' command\r\n"},
        {"msetex 2 a 1 b 2 pxat -1", "-ERR invalid expire time in 'msetex' command\r\n"},
        {"msetex 2 a 1 b 2 ex 9223372036854775807",
         "-ERR invalid expire time in 'msetex' command\r\n"},
        {"mget a b c d e f", "*6\r\n" NIL NIL NIL NIL NIL NIL},
        {"dbsize", INT(0)},
    };
    for (size_t n = 0; n < COUNT_OF(shard_counts); n++) {
        struct server s;
        server_start(&s, shard_counts[n]);
        for (size_t i = 0; i < COUNT_OF(list); i++)
            expect(&s, list[i].line, list[i].reply);
        server_stop(&s);
    }
}

Test(string_multi, a_key_may_be_named_twice) {
    for (size_t n = 0; n < COUNT_OF(shard_counts); n++) {
        struct server s;
        server_start(&s, shard_counts[n]);
        expect(&s, "mset a 1 b 2 a 3 c ~2000~ c 4 b ~1500~", DONE);
        expect(&s, "mget a c a", "*3\r\n$1\r\n3\r\n$1\r\n4\r\n$1\r\n3\r\n");
        expect(&s, "strlen b", INT(1500));
        expect(&s, "msetnx d 1 e 2 d 3", INT(1));
        expect(&s, "mget d e", "*2\r\n$1\r\n3\r\n$1\r\n2\r\n");
        expect(&s, "msetex 4 d 5 e 6 d 7 e 8 xx ex 100", INT(1));
        expect(&s, "mget d e", "*2\r\n$1\r\n7\r\n$1\r\n8\r\n");
        expect(&s, "ttl d", INT(100));
        expect(&s, "dbsize", INT(5));
        server_stop(&s);
    }
}

Test(string_multi, long_values_and_many_keys_go_through) {
    for (size_t n = 0; n < COUNT_OF(shard_counts); n++) {
        struct server s;
        server_start(&s, shard_counts[n]);
        char line[1024] = "mset";
        for (unsigned i = 0; i < 30; i++)
            snprintf(line + strlen(line), sizeof(line) - strlen(line), " k%u ~%u~", i, i * 60 + 3);
        expect(&s, line, DONE);
        for (unsigned i = 0; i < 30; i++) {
            char reply[32];
            snprintf(line, sizeof(line), "strlen k%u", i);
            snprintf(reply, sizeof(reply), ":%u\r\n", i * 60 + 3);
            expect(&s, line, reply);
        }
        /* One so long that the reply refers to it instead of copying it. */
        expect(&s, "mset a ~20000~ b 1 c ~20000~", DONE);
        const char *reply = run(&s, "mget b a no c b");
        cr_assert(strncmp(reply, "*5\r\n$1\r\n1\r\n$20000\r\nvvv", 22) == 0);
        cr_assert(strstr(reply, "v\r\n$-1\r\n$20000\r\nv") != NULL);
        cr_assert(strcmp(reply + strlen(reply) - 10, "v\r\n$1\r\n1\r\n") == 0);
        server_stop(&s);
    }
}

Test(string_multi, mget_counts_hits_and_misses_where_the_keys_are) {
    for (size_t n = 0; n < COUNT_OF(shard_counts); n++) {
        struct server s;
        server_start(&s, shard_counts[n]);
        run(&s, "mset a 1 b 2 c 3 d 4");
        uint64_t hits = 0, misses = 0;
        run(&s, "mget a b c d e f a");
        for (unsigned i = 0; i < shard_counts[n]; i++) {
            const struct keyspace_stats *stats = keyspace_stats(shards_get(s.all, i)->keyspace);
            hits += stats->hits;
            misses += stats->misses;
        }
        cr_assert(hits == 5 && misses == 2, "%d hits, %d misses", (int)hits, (int)misses);
        server_stop(&s);
    }
}

/* --- watches --- */

static const char *const watched_keys[] = {"a", "b", "c", "d", "e"};

/* fired_by: which of the keys a WATCH would have seen change. */
static unsigned fired_by(struct server *s, const char *line) {
    struct watch *w[COUNT_OF(watched_keys)];
    unsigned fired = 0;
    shard_claim();
    for (size_t i = 0; i < COUNT_OF(watched_keys); i++) {
        struct span key = {watched_keys[i], 1};
        struct shard *at = shards_get(s->all, shard_of_key(s, key));
        w[i] = watch_add(at, 0, key, hash_of(key));
    }
    run(s, line);
    for (size_t i = 0; i < COUNT_OF(watched_keys); i++) {
        struct shard *at = shards_get(s->all, shard_of_key(s, (struct span){watched_keys[i], 1}));
        fired |= (unsigned)watch_fired(at, w[i]) << i;
        watch_remove(at, w[i]);
    }
    return fired;
}

Test(string_multi, what_is_changed_is_told_and_nothing_else) {
    for (size_t n = 0; n < COUNT_OF(shard_counts); n++) {
        struct server s;
        server_start(&s, shard_counts[n]);
        cr_assert(fired_by(&s, "mset a 1 b 2 d 3") == 0x0b);
        cr_assert(fired_by(&s, "msetnx c 1 e 2 d 3") == 0);
        cr_assert(fired_by(&s, "msetnx c 1 e 2") == 0x14);
        cr_assert(fired_by(&s, "mget a b c d e") == 0);
        cr_assert(fired_by(&s, "msetex 3 a 1 b 1 c 1 nx") == 0);
        cr_assert(fired_by(&s, "msetex 2 a 1 e 1 xx ex 10") == 0x11);
        /* A time that has passed deletes what is there. */
        run(&s, "del a b c");
        cr_assert(fired_by(&s, "msetex 3 a 1 b 1 d 1 pxat 5") == 0x08);
        expect(&s, "exists a b d", INT(0));
        server_stop(&s);
    }
}

/* --- step by step --- */

struct stepped {
    struct across_call call;
    struct ctx c;
    struct span argv[16];
    char text[256];
    struct outbuf out;
};

static void begin(struct stepped *t, struct server *s, const char *line) {
    uint32_t argc = 0, first, last, step;
    snprintf(t->text, sizeof(t->text), "%s", line);
    for (char *word = strtok(t->text, " "); word != NULL; word = strtok(NULL, " "))
        t->argv[argc++] = (struct span){word, strlen(word)};
    t->c = (struct ctx){.shard = s->home,
                        .keyspace = s->home->keyspace,
                        .cmd = command_find(t->argv[0]),
                        .argv = t->argv,
                        .argc = argc,
                        .now_ms = s->now_ms,
                        .reply = {.out = &t->out, .proto = 2}};
    outbuf_init(&t->out, &s->out_mem);
    cr_assert(t->c.cmd->check == NULL || t->c.cmd->check(&t->c));
    cr_assert(command_keys(t->c.cmd, t->argv, argc, &first, &last, &step));
    across_begin(&t->call, s, &t->c, first, last, step);
}

static void look(struct stepped *t) {
    across_all(&t->call, t->c.cmd->across->look);
}

/* decide: the reply of home, "" for none. */
static bool decide(struct stepped *t, const char *reply) {
    t->c.tally = across_tally(&t->call);
    bool goes_on = t->c.cmd->across->decide(&t->c);
    cr_assert(t->out.len == strlen(reply));
    cr_assert(t->out.len == 0 || memcmp(t->out.buf, reply, t->out.len) == 0);
    cr_assert(t->call.slots.go == goes_on);
    return goes_on;
}

static void end(struct stepped *t) {
    across_all(&t->call, t->c.cmd->across->after);
    for (uint32_t i = 0; i < t->call.slots.count; i++)
        cr_assert(t->call.slots.slot[i].kept == NULL);
    across_end(&t->call);
    outbuf_deinit(&t->out);
}

static int64_t used_bytes(const struct server *s) {
    int64_t sum = 0;
    for (unsigned i = 0; i < shards_count(s->all); i++)
        sum += shards_get(s->all, i)->mem.used_bytes;
    return sum;
}

Test(string_multi, looking_changes_nothing_that_others_see) {
    struct server s;
    struct stepped t;
    server_start(&s, 3);
    run(&s, "mset a old b old c old d old e old f old g old");
    int64_t used = used_bytes(&s);
    static const char *const lines[] = {"mset a 1 b 2 c 3 x 4 y 5", "msetnx p 1 q 2 r 3 s 4",
                                        "msetex 4 a 1 b 2 c 3 z 4 keepttl"};
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        begin(&t, &s, lines[i]);
        look(&t);
        cr_assert(used_bytes(&s) > used);
        expect(&s, "mget a x p z", "*4\r\n$3\r\nold\r\n" NIL NIL NIL);
        expect(&s, "dbsize", INT(7));
        look(&t); /* its grant was taken back meanwhile: what it had made goes */
        t.call.slots.go = false;
        end(&t);
        expect(&s, "mget a x p z", "*4\r\n$3\r\nold\r\n" NIL NIL NIL);
        cr_assert(used_bytes(&s) == used);
    }
    server_stop(&s);
}

Test(string_multi, the_last_look_counts) {
    struct server s;
    struct stepped t;
    server_start(&s, 3);
    begin(&t, &s, "msetnx a 1 b 2 c 3 d 4");
    look(&t);
    run(&s, "set c other");
    look(&t);
    cr_assert(!decide(&t, INT(0)));
    end(&t);
    expect(&s, "mget a b c d", "*4\r\n" NIL NIL "$5\r\nother\r\n" NIL);
    begin(&t, &s, "msetnx a 1 b 2 c 3 d 4");
    look(&t);
    run(&s, "del c");
    look(&t);
    cr_assert(decide(&t, INT(1)));
    end(&t);
    expect(&s, "mget a b c d", "*4\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n");
    server_stop(&s);
}

/* Everything that can be done to a database before the second look or, where locks would not forbid it, the end. */
Test(string_multi, a_database_may_be_emptied_and_moved_meanwhile) {
    struct server s;
    struct stepped t;
    server_start(&s, 3);
    int64_t before = 0;
    for (unsigned round = 0; round < 2; round++) {
        run(&s, "mset a old b old c old d old e old f old g old");
        begin(&t, &s, "msetex 4 a 1 b 2 c 3 d 4 ex 100");
        look(&t);
        expect(&s, "flushall sync", DONE);
        expect(&s, "swapdb 0 1", DONE);
        look(&t);
        expect(&s, "flushall sync", DONE);
        cr_assert(decide(&t, INT(1)));
        end(&t);
        expect(&s, "mget a b c d e", "*5\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$1\r\n4\r\n" NIL);
        expect(&s, "ttl b", INT(100));
        run(&s, "flushall sync");
        if (round == 0)
            before = used_bytes(&s);
    }
    cr_assert(used_bytes(&s) == before);
    server_stop(&s);
}

/* The clocks of shards are not the same: one that is ahead must not find too late what home has let pass. */
Test(string_multi, a_time_that_home_let_pass_stays_valid) {
    struct server s;
    struct stepped t;
    server_start(&s, 3);
    char line[128];
    snprintf(line, sizeof(line), "msetex 4 a 1 b 2 c 3 d 4 px %lld",
             (long long)(INT64_MAX - s.now_ms));
    begin(&t, &s, line);
    t.c.now_ms += 1000;
    look(&t);
    cr_assert(decide(&t, INT(1)));
    end(&t);
    char reply[64];
    snprintf(reply, sizeof(reply), ":%lld\r\n", (long long)EXPIRE_MS_MAX);
    expect(&s, "pexpiretime a", reply);
    expect(&s, "pexpiretime d", reply);
    server_stop(&s);
}

/* --- when memory fails --- */

static const char *const state_keys[] = {"a", "b", "c", "d", "e", "f", "g", "h", "new"};

static char *state_of(struct server *s) {
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (size_t i = 0; i < COUNT_OF(state_keys); i++) {
        char line[64];
        snprintf(line, sizeof(line), "get %s", state_keys[i]);
        fputs(run(s, line), f);
        snprintf(line, sizeof(line), "pexpiretime %s", state_keys[i]);
        fputs(run(s, line), f);
    }
    fputs(run(s, "dbsize"), f);
    fclose(f);
    return text;
}

static void set_up(struct server *s) {
    shard_claim();
    run(s, "flushall sync");
    /* An empty table that stays is no trace of a failed command. */
    for (unsigned i = 0; i < shards_count(s->all); i++)
        cr_assert(keyspace_table(shards_get(s->all, i)->keyspace, 0) != NULL);
    run(s, "mset a text b ~2000~ c 5 d ~10~ e ~1000~ f 1 g 2 h 3");
    run(s, "msetex 3 b ~2000~ f 1 h 3 px 50000");
}

/* fail_everywhere: each allocation of each shard fails once. Returns how often that was felt. */
static unsigned fail_everywhere(struct server *s, const char *line) {
    unsigned refused = 0;
    set_up(s);
    char *before = state_of(s);
    char *whole_reply = strdup(run(s, line));
    char *after = state_of(s);
    for (unsigned shard = 0; shard < shards_count(s->all); shard++) {
        struct mem *m = &shards_get(s->all, shard)->mem;
        for (bool reached = true; reached;) {
            static unsigned site;
            site++;
            set_up(s);
            int64_t used = used_bytes(s);
            m->fail_in = site;
            char *reply = strdup(run(s, line));
            reached = m->fail_in == 0;
            m->fail_in = 0;
            int64_t used_now = used_bytes(s);
            char *state = state_of(s);
            if (strcmp(reply, "-ERR out of memory\r\n") == 0) {
                refused++;
                cr_assert(strcmp(state, before) == 0, "%s: shard %u, site %u", line, shard, site);
                cr_assert_eq(used_now, used, "%s: shard %u, site %u", line, shard, site);
            } else {
                cr_assert(strcmp(reply, whole_reply) == 0, "%s: %s", line, reply);
                cr_assert(strcmp(state, after) == 0, "%s: shard %u, site %u", line, shard, site);
            }
            if (!reached)
                site = 0;
            free(reply);
            free(state);
        }
    }
    free(before);
    free(after);
    free(whole_reply);
    return refused;
}

Test(string_multi, memory_that_fails_on_any_shard_changes_nothing, .timeout = 60) {
    static const char *const lines[] = {
        "mset a 1 b 2 c ~900~ d ~1500~ e 1 f ~300~ g ~20~ h ~500~ new x a ~800~ c 7",
        "msetnx n1 1 n2 ~2000~ n3 ~500~ n4 1 n5 2 n6 3",
        "msetex 6 a 1 b ~2000~ c ~500~ d 1 e 2 new 3 ex 100",
        "msetex 6 a 1 b ~2000~ c ~500~ d 1 f 2 h 3 keepttl xx",
    };
    for (size_t n = 0; n < COUNT_OF(shard_counts); n++) {
        struct server s;
        server_start(&s, shard_counts[n]);
        for (size_t i = 0; i < COUNT_OF(lines); i++)
            cr_assert(fail_everywhere(&s, lines[i]) >= 12, "%s", lines[i]);
        server_stop(&s);
    }
}

/* --- a big last argument --- */

static struct blob *big_of(struct server *s, size_t len) {
    struct blob *b = blob_create(&s->home->mem, len);
    cr_assert(b != NULL);
    memset(b->data, 'B', len);
    b->len = len;
    return b;
}

Test(string_multi, a_big_last_argument_is_taken_over_or_left_alone) {
    struct server s;
    server_start(&s, 1);
    run(&s, "set there x");
    struct span argv[] = {SPAN("mset"), SPAN("a"), SPAN("1"), SPAN("b"), {0}};
    s.big = big_of(&s, 5000);
    argv[4] = (struct span){s.big->data, s.big->len};
    const struct blob *adopted = s.big;
    cr_assert_str_eq(call(&s, argv, 5), DONE);
    cr_assert(s.big == NULL);
    shard_claim();
    struct span key = SPAN("b");
    const struct entry *e = table_find(keyspace_table(s.home->keyspace, 0), key, hash_of(key));
    cr_assert(entry_object(e) == adopted);
    /* Refused, by the condition or for want of memory, it stays with who offered it. */
    argv[0] = SPAN("msetnx");
    for (unsigned site = 0; site < 5; site++) {
        s.big = big_of(&s, 5000);
        argv[1] = site == 0 ? SPAN("there") : SPAN("new1");
        argv[3] = SPAN("new2");
        argv[4] = (struct span){s.big->data, s.big->len};
        int64_t used = s.home->mem.used_bytes;
        s.home->mem.fail_in = site;
        const char *reply = call(&s, argv, 5);
        cr_assert(s.home->mem.fail_in == 0);
        cr_assert_str_eq(reply, site == 0 ? INT(0) : "-ERR out of memory\r\n");
        cr_assert(s.big != NULL && s.big->refs == 1 && s.big->data[4999] == 'B');
        cr_assert(s.home->mem.used_bytes == used);
        blob_unpin(&s.home->mem, s.big);
        s.big = NULL;
    }
    server_stop(&s);
}
