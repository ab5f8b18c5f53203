/* dump_nomem_test.c: DUMP and RESTORE when memory fails: each of their allocations fails once; either the command is
 * refused and nothing has changed, or it went through as if nothing had been. And RESTORE of any bytes. */
#include "../../src/persistence/digest_impl.h"
#include "../../src/persistence/dump_impl.h"
#include "command_fixture.h"

enum { LINE_BYTES = 4096, SITES_MAX = 2000 };

static void start(struct server *s, unsigned shards) {
    register_all();
    if (command_find(SPAN("DUMP")) == NULL) {
        dump_register();
        restore_register();
    }
    server_start(s, shards);
}

/* many: a command with n elements more. */
static void many(struct server *s, const char *begin, unsigned n, const char *before,
                 const char *middle) {
    char line[LINE_BYTES];
    for (unsigned at = 0; at < n; at += 20) {
        size_t len = (size_t)snprintf(line, sizeof line, "%s", begin);
        for (unsigned i = at; i < at + 20 && i < n; i++) {
            len += (size_t)snprintf(line + len, sizeof line - len, " %s%u", before, i);
            if (middle != NULL)
                len += (size_t)snprintf(line + len, sizeof line - len, " %s%u", middle, i);
        }
        run(s, line);
    }
}

static const char *const keys[] = {"int", "text", "long", "blob", "l",  "lb", "h",   "hb", "ht",
                                   "htb", "s",    "si",   "sr",   "sb", "st", "stb", "z",  "zb"};

static void prepare(struct server *s) {
    run(s, "flushall sync");
    run(s, "set int 12345");
    run(s, "set text hello");
    run(s, "set long ~900~");
    run(s, "set blob ~30000~");
    run(s, "rpush l a bb 3 ~40~");
    many(s, "rpush lb", 600, "item:0000000000000000000000000001", NULL);
    run(s, "hset h a 1 bb ~20~ 3 x");
    many(s, "hset hb", 600, "field", "value");
    run(s, "hset ht f1 v1 f2 v2 f3 v3");
    run(s, "hpexpireat ht 1800000000000 fields 1 f1");
    many(s, "hset htb", 600, "field", "value");
    run(s, "hpexpireat htb 1800000000000 fields 2 field7 field8");
    run(s, "sadd s a bb 3");
    run(s, "sadd si 1 5 9");
    many(s, "sadd sr", 600, "", NULL);
    many(s, "sadd sb", 200, "member", NULL);
    run(s, "saddex st 100000 a b");
    run(s, "sadd st c");
    many(s, "saddex stb 100000", 200, "member", NULL);
    run(s, "zadd z 1 a 2 bb 3 ccc");
    many(s, "zadd zb", 200, "", "member");
}

static const char *restore(struct server *s, const char *key, struct span payload) {
    const struct span argv[] = {
        SPAN("restore"), {key, strlen(key)}, SPAN("0"), payload, SPAN("replace")};
    return call(s, argv, COUNT_OF(argv));
}

/* dump: a copy of what DUMP replies, to be freed. */
static struct span dump(struct server *s, const char *key) {
    char line[LINE_BYTES];
    snprintf(line, sizeof line, "dump %s", key);
    const char *reply = run(s, line);
    size_t head = strcspn(reply, "\n") + 1, len = s->text_len - head - 2;
    cr_assert(reply[0] == '$' && strtoul(reply + 1, NULL, 10) == len, "%s: %.40s", key, reply);
    char *copy = malloc(len);
    memcpy(copy, reply + head, len);
    return (struct span){copy, len};
}

static struct digest digest(struct server *s, const char *key) {
    shard_claim();
    struct digest d = {{0}};
    struct span name = {key, strlen(key)};
    const struct entry *e = keyspace_find(s->home->keyspace, 0, name, hash_of(name), s->now_ms);
    cr_assert_not_null(e, "%s", key);
    struct value v = {.type = (uint8_t)entry_type(e), .repr = (uint8_t)entry_repr(e)};
    if (v.repr == REPR_INT)
        v.integer = entry_int(e);
    else if (v.repr == REPR_OBJECT)
        v.object = entry_object(e);
    else
        v.bytes = entry_bytes(e);
    cr_assert(digest_value(&d, &v, entry_expire_ms(e), s->now_ms, &s->out_mem));
    return d;
}

static void expect_same(struct server *s, const char *key, const char *other, unsigned site) {
    struct digest a = digest(s, key), b = digest(s, other);
    cr_assert(memcmp(&a, &b, sizeof a) == 0, "%s, failing at %u", key, site);
}

static int64_t used(const struct server *s) {
    shard_claim();
    while (keyspace_free_some(s->home->keyspace, 1000)) {
    }
    return s->home->mem.used_bytes;
}

static bool is_refusal(const char *reply) {
    return strcmp(reply, "-ERR out of memory\r\n") == 0;
}

/* reached: did the allocation that was to fail come? It does not happen again. */
static bool reached(struct server *s) {
    bool was = s->home->mem.fail_in == 0;
    s->home->mem.fail_in = 0;
    return was;
}

/* restore_failing: over a key that holds a string; how often it was refused. */
static unsigned restore_failing(struct server *s, const char *key, struct span payload) {
    unsigned refused = 0;
    bool fails = true;
    for (unsigned site = 1; fails; site++) {
        cr_assert_lt(site, (unsigned)SITES_MAX, "%s", key);
        run(s, "set new before");
        int64_t before = used(s);
        s->home->mem.fail_in = site;
        bool refusal = is_refusal(restore(s, "new", payload));
        fails = reached(s);
        int64_t after = used(s);
        refused += refusal;
        if (refusal) {
            cr_assert_eq(after, before, "%s, failing at %u, lost memory", key, site);
            expect_bulk(s, "get new", "before");
        } else {
            expect_same(s, key, "new", site);
        }
        run(s, "del new");
    }
    return refused;
}

static void dump_failing(struct server *s, const char *key, struct span payload) {
    char line[LINE_BYTES];
    bool fails = true;
    snprintf(line, sizeof line, "dump %s", key);
    for (unsigned site = 1; fails; site++) {
        int64_t before = used(s);
        s->home->mem.fail_in = site;
        bool refusal = is_refusal(run(s, line));
        fails = reached(s);
        cr_assert_eq(used(s), before, "%s, failing at %u, lost memory", key, site);
        if (refusal)
            continue;
        struct span again = dump(s, key);
        cr_assert(span_eq(again, payload), "%s, failing at %u", key, site);
        free((void *)(uintptr_t)again.ptr);
    }
}

Test(dump_nomem, every_allocation_fails_once, .timeout = 120) {
    struct server s;
    start(&s, 1);
    prepare(&s);
    unsigned refused = 0;
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct span payload = dump(&s, keys[i]);
        dump_failing(&s, keys[i], payload);
        refused += restore_failing(&s, keys[i], payload);
        free((void *)(uintptr_t)payload.ptr);
    }
    cr_assert_gt(refused, (unsigned)COUNT_OF(keys), "only %u failures were felt", refused);
    server_stop(&s);
}

/* Whatever bytes there are behind a right checksum: it is refused, or there is a value that can be dumped. */
Test(dump_nomem, any_bytes, .timeout = 120) {
    enum { ROUNDS = 3000 };
    struct server s;
    struct rng r;
    rng_seed(&r, 7);
    start(&s, 1);
    prepare(&s);
    int64_t empty = 0;
    unsigned taken = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct span payload = dump(&s, keys[rng_below(&r, COUNT_OF(keys))]);
        uint8_t *bytes = (uint8_t *)(uintptr_t)payload.ptr;
        size_t body = payload.len - DUMP_FOOTER_BYTES;
        for (uint64_t n = rng_below(&r, 4); n > 0; n--)
            bytes[rng_below(&r, body < 100 ? body : 100)] ^= (uint8_t)(1U << rng_below(&r, 8));
        uint64_t crc = rdb_crc(0, bytes, payload.len - DUMP_CRC_BYTES);
        memcpy(bytes + payload.len - DUMP_CRC_BYTES, &crc, sizeof crc);
        run(&s, "del new");
        empty = used(&s);
        const char *reply = restore(&s, "new", payload);
        if (strcmp(reply, DONE) == 0) {
            if (strcmp(run(&s, "exists new"), INT(1)) == 0)
                free((void *)(uintptr_t)dump(&s, "new").ptr);
            taken++;
        } else {
            cr_assert_str_eq(reply, "-ERR Bad data format\r\n");
            cr_assert_eq(used(&s), empty);
        }
        free(bytes);
    }
    cr_assert_gt(taken, (unsigned)ROUNDS / 10);
    cr_assert_lt(taken, (unsigned)ROUNDS);
    server_stop(&s);
}
