/* watch_test.c: anax/watch.h's invariants, by the commands that change keys. */
#include "anax/watch.h"
#include "command_fixture.h"

/* A test is the only thread there is. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

static struct watch *watch_key(struct server *s, uint32_t db, const char *key) {
    struct span span = {key, strlen(key)};
    s->home->wall_ms = s->now_ms;
    struct watch *w = watch_add(s->home, db, span, hash_of(span));
    cr_assert(w != NULL);
    return w;
}

/* fired_once: whether it has fired; it goes. */
static bool fired_once(struct server *s, struct watch *w) {
    s->home->wall_ms = s->now_ms;
    bool fired = watch_fired(s->home, w);
    watch_remove(s->home, w);
    return fired;
}

/* fires: runs `before`, lines apart by ';', watches the key k, and runs `line`. */
static bool fires(struct server *s, const char *before, const char *line) {
    char text[256];
    cr_assert(strlen(before) < sizeof(text));
    strcpy(text, before);
    run(s, "FLUSHALL");
    for (char *at = strtok(text, ";"); at != NULL; at = strtok(NULL, ";"))
        cr_assert(run(s, at)[0] != '-', "%s: %s", at, s->text);
    struct watch *w = watch_key(s, 0, "k");
    run(s, line);
    return fired_once(s, w);
}

struct deed {
    const char *before, *line;
};

static const struct deed changes[] = {
    {"", "SET k 1"},
    {"SET k 1", "SET k 1"},
    {"", "SET k 1 PXAT 1"},
    {"SET k 1", "SET k 2 XX GET"},
    {"SET k 1", "SET k 2 IFEQ 1"},
    {"", "SETNX k 1"},
    {"", "SETEX k 9 1"},
    {"", "PSETEX k 9 1"},
    {"SET k 1", "GETSET k 1"},
    {"SET k 1", "GETDEL k"},
    {"SET k 1", "GETEX k EX 9"},
    {"SET k 1", "GETEX k PXAT 1"},
    {"SET k 1 EX 9", "GETEX k PERSIST"},
    {"SET k 1", "DELIFEQ k 1"},
    {"SET k 1", "INCRBY k 0"},
    {"", "DECR k"},
    {"SET k 1", "INCRBYFLOAT k 0"},
    {"SET k 1", "APPEND k ''"},
    {"", "APPEND k ''"},
    {"SET k 1", "SETRANGE k 0 1"},
    {"", "SETBIT k 3 0"},
    {"SET k 1", "SETBIT k 3 0"},
    {"SET k 1", "SETBIT k 99 0"},
    {"", "BITFIELD k SET u8 0 0"},
    {"SET k a", "BITFIELD k SET u8 0 98 SET u8 0 97"},
    {"SET k a", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 999 INCRBY u8 0 1"},
    {"SET k a", "BITFIELD k OVERFLOW FAIL INCRBY u8 80 999"}, /* the string is longer now */
    {"SET k 1", "EXPIRE k 9"},
    {"SET k 1", "EXPIRE k -1"},
    {"SET k 1 PX 900", "PEXPIREAT k 1 LT"},
    {"SET k 1 EX 9", "PERSIST k"},
};

static const struct deed others[] = {
    {"SET k 1", "SET k 2 NX"},
    {"SET k 1", "SET k 2 NX GET"},
    {"", "SET k 2 XX"},
    {"SET k 1", "SET k 2 IFEQ 3"},
    {"SET k 1", "SETNX k 2"},
    {"SET k 1", "SETEX k 0 2"},
    {"", "GETDEL k"},
    {"SET k 1", "GETEX k"},
    {"SET k 1", "GETEX k PERSIST"},
    {"", "GETEX k EX 9"},
    {"SET k 1", "DELIFEQ k 2"},
    {"SET k a", "INCR k"},
    {"SET k a", "INCRBYFLOAT k 1"},
    {"", "SETRANGE k 0 ''"},
    {"SET k 1", "SETRANGE k 5 ''"},
    {"SET k 1", "SETBIT k 2 1"},
    {"SET k a", "BITFIELD k SET u8 0 97 INCRBY u8 0 0 GET u8 0"},
    {"SET k a", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 999"},
    {"", "BITFIELD k GET u8 0"},
    {"", "EXPIRE k 9"},
    {"SET k 1", "EXPIRE k 9 XX"},
    {"SET k 1", "PERSIST k"},
    {"", "PERSIST k"},
    {"SET k 1", "GET k"},
    {"SET k 1", "TOUCH k"},
    {"SET k 1", "SET other 1"},
};

Test(watch, inv1_a_change_fires) {
    struct server s;
    server_start(&s, 1);
    for (size_t i = 0; i < COUNT_OF(changes); i++)
        cr_assert(fires(&s, changes[i].before, changes[i].line), "after %s: %s: %s",
                  changes[i].before, changes[i].line, s.text);
    server_stop(&s);
}

Test(watch, inv1_what_changes_nothing_does_not_fire) {
    struct server s;
    server_start(&s, 1);
    for (size_t i = 0; i < COUNT_OF(others); i++)
        cr_assert(!fires(&s, others[i].before, others[i].line), "after %s: %s: %s",
                  others[i].before, others[i].line, s.text);
    server_stop(&s);
}

Test(watch, inv1_changes_before_it_do_not_count) {
    struct server s;
    server_start(&s, 1);
    struct watch *first = watch_key(&s, 0, "k");
    run(&s, "SET k 1");
    struct watch *second = watch_key(&s, 0, "k");
    cr_assert(watch_fired(s.home, first));
    cr_assert(!watch_fired(s.home, second));
    run(&s, "SET k 2");
    cr_assert(fired_once(&s, first));
    cr_assert(fired_once(&s, second));
    server_stop(&s);
}

Test(watch, inv2_a_key_that_went_by_itself) {
    struct server s;
    server_start(&s, 1);
    run(&s, "SET k 1 PX 100");
    run(&s, "SET evicted 1");
    struct watch *k = watch_key(&s, 0, "k"), *evicted = watch_key(&s, 0, "evicted");
    struct watch *never = watch_key(&s, 0, "never");
    s.now_ms += 100;
    s.home->wall_ms = s.now_ms;
    cr_assert(!watch_fired(s.home, k), "in its last millisecond it is there");
    s.home->wall_ms = ++s.now_ms;
    cr_assert(watch_fired(s.home, k), "dead, though nobody has removed it");
    run(&s, "GET k"); /* does */
    cr_assert(watch_fired(s.home, k));
    struct table *t = keyspace_peek_table(s.home->keyspace, 0);
    cr_assert(table_delete(t, SPAN("evicted"), hash_of(SPAN("evicted"))));
    cr_assert(fired_once(&s, evicted));
    cr_assert(fired_once(&s, k));
    cr_assert(!fired_once(&s, never));
    server_stop(&s);
}

Test(watch, inv2_a_key_dead_before) {
    struct server s;
    server_start(&s, 1);
    run(&s, "SET k 1 PX 100");
    s.now_ms += 101;
    struct watch *w = watch_key(&s, 0, "k");
    cr_assert(!watch_fired(s.home, w));
    run(&s, "GET k"); /* removes it */
    cr_assert(!watch_fired(s.home, w));
    run(&s, "SET k 2");
    cr_assert(fired_once(&s, w));
    server_stop(&s);
}

Test(watch, inv3_other_databases) {
    struct server s;
    server_start(&s, 1);
    struct watch *w = watch_key(&s, 3, "k");
    run(&s, "SET k 1");
    cr_assert(!watch_fired(s.home, w));
    s.db = 3;
    run(&s, "SET k 1");
    cr_assert(fired_once(&s, w));
    server_stop(&s);
}

Test(watch, inv4_nothing_watched) {
    struct server s;
    server_start(&s, 1);
    struct instance *in = instance_of(s.home);
    struct watch_table *t = in->watches;
    in->watches = NULL; /* as before a shard has started: no table, no watches */
    cr_assert_eq(watch_count(s.home), 0);
    run(&s, "SET k 1");
    watch_swapped(s.home, 0, 1);
    watch_flushing(s.home, 0);
    in->watches = t;
    int64_t before = s.home->mem.used_bytes;
    struct watch *w = watch_key(&s, 0, "k");
    cr_assert_eq(watch_count(s.home), 1);
    cr_assert(!fired_once(&s, w));
    cr_assert_eq(watch_count(s.home), 0);
    cr_assert_eq(s.home->mem.used_bytes, before);
    server_stop(&s);
}

Test(watch, swapped_databases) {
    static const struct {
        const char *before; /* the watch is on k in 0; 0 and 1 change places */
        bool fires;
    } cases[] = {{"", false}, {"0", true}, {"1", true}, {"01", true}, {"2", false}, {"d", false}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct server s;
        server_start(&s, 1);
        for (const char *p = cases[i].before; *p != '\0'; p++) {
            s.db = *p == 'd' ? 1 : (uint32_t)(*p - '0');
            run(&s, *p == 'd' ? "SET k 1 PX 1" : "SET k 1");
        }
        s.now_ms += 2;
        struct watch *w = watch_key(&s, 0, "k"), *other = watch_key(&s, 2, "k");
        watch_swapped(s.home, 0, 1);
        cr_assert_eq(fired_once(&s, w), cases[i].fires, "k in '%s'", cases[i].before);
        cr_assert(!fired_once(&s, other));
        server_stop(&s);
    }
}

Test(watch, flushed_databases) {
    struct server s;
    server_start(&s, 1);
    run(&s, "SET k 1");
    struct watch *there = watch_key(&s, 0, "k"), *missing = watch_key(&s, 0, "missing");
    struct watch *elsewhere = watch_key(&s, 1, "k");
    watch_flushing(s.home, 1);
    cr_assert(!watch_fired(s.home, there));
    watch_flushing(s.home, 0);
    cr_assert(fired_once(&s, there));
    cr_assert(!fired_once(&s, missing));
    cr_assert(!fired_once(&s, elsewhere));
    server_stop(&s);
}

Test(watch, what_a_transaction_locks) {
    struct server s;
    server_start(&s, 1);
    struct watch *w = watch_key(&s, 5, "k");
    struct tx_want want = watch_want(w);
    cr_assert_eq(want.hash, hash_of(SPAN("k")));
    cr_assert_eq(want.db, 0, "commands lock a key in all databases at once");
    cr_assert_eq(want.mode, TX_SHARED);
    watch_remove(s.home, w);
    server_stop(&s);
}

enum { MANY = 5000 };

/* Enough for chains to grow several times; then none is left of what that took. */
Test(watch, many) {
    static struct watch *list[MANY];
    char key[32];
    struct server s;
    server_start(&s, 1);
    int64_t before = s.home->mem.used_bytes;
    for (int i = 0; i < MANY; i++) {
        snprintf(key, sizeof key, "key:%d", i / 2); /* each twice */
        list[i] = watch_key(&s, 0, key);
    }
    cr_assert_eq(watch_count(s.home), MANY);
    for (int i = 0; i < MANY; i += 200) {
        snprintf(key, sizeof key, "SET key:%d x", i / 2);
        run(&s, key);
    }
    for (int i = 0; i < MANY; i++)
        cr_assert_eq(watch_fired(s.home, list[i]), i % 200 < 2, "watch %d", i);
    for (int i = 0; i < MANY; i++) /* not in the order in which they came */
        watch_remove(s.home, list[i * 7919 % MANY]);
    cr_assert_eq(watch_count(s.home), 0);
    keyspace_flush(s.home->keyspace, 0);
    while (keyspace_free_some(s.home->keyspace, 1000)) {
    }
    cr_assert_eq(s.home->mem.used_bytes, before);
    cr_assert(fires(&s, "", "SET k 1"), "the first chains serve again");
    server_stop(&s);
}

/* Every allocation fails once: watch_add says so, and longer chains are only slower. */
Test(watch, no_memory) {
    struct watch *list[100];
    char key[32];
    struct server s;
    server_start(&s, 1);
    int64_t before = s.home->mem.used_bytes;
    for (uint64_t fail_in = 1; fail_in < 110; fail_in++) {
        unsigned n = 0, failed = 0;
        s.home->mem.fail_in = fail_in;
        while (n < COUNT_OF(list)) {
            snprintf(key, sizeof key, "key:%u", n);
            struct span span = {key, strlen(key)};
            struct watch *w = watch_add(s.home, 0, span, hash_of(span));
            if (w == NULL)
                failed++;
            else
                list[n++] = w;
        }
        cr_assert(failed <= 1);
        cr_assert_eq(watch_count(s.home), n);
        while (n > 0)
            watch_remove(s.home, list[--n]);
        cr_assert_eq(s.home->mem.used_bytes, before);
    }
    s.home->mem.fail_in = 0;
    server_stop(&s);
}

/* A table needs memory to be made. */
Test(watch, no_memory_for_the_table) {
    struct server s;
    server_start(&s, 1);
    s.home->mem.fail_in = 1;
    cr_assert(watch_table_create(s.home) == NULL);
    s.home->mem.fail_in = 0;
    server_stop(&s);
}
