/* coll_nomem_test.c: lists, hashes, sets, sorted sets and SORT when memory fails: each allocation of each command fails
 * once; either the command is refused and nothing has changed, or it went through as if nothing had been. */
#include "nomem.h"

enum { LINE_BYTES = 8192 };

/* Small ones, ones that are about to outgrow their listpack, and large ones. Time is set by what a command says. */
static const char *const keys[] = {"l",  "lb", "h", "hb", "ht",  "s",   "si",
                                   "sr", "sb", "z", "zb", "new", "new2"};

static char *state_of(struct server *s, bool refused) {
    (void)refused;
    char *text = NULL, line[LINE_BYTES];
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        snprintf(line, sizeof line, "type %s", keys[i]);
        const char *type = run(s, line);
        const char *name = strcmp(type, "+list\r\n") == 0   ? "lrange"
                           : strcmp(type, "+hash\r\n") == 0 ? "hgetall"
                           : strcmp(type, "+set\r\n") == 0  ? "sort"
                           : strcmp(type, "+zset\r\n") == 0 ? "zrange"
                                                            : "get";
        const char *rest = strcmp(type, "+list\r\n") == 0   ? "0 -1"
                           : strcmp(type, "+set\r\n") == 0  ? "alpha"
                           : strcmp(type, "+zset\r\n") == 0 ? "0 -1 withscores"
                                                            : "";
        fputs(type, f);
        snprintf(line, sizeof line, "%s %s %s", name, keys[i], rest);
        fputs(run(s, line), f);
        snprintf(line, sizeof line, "object encoding %s", keys[i]);
        if (strcmp(name, "lrange") !=
            0) /* a list goes back to a listpack when there is memory for one */
            fputs(run(s, line), f);
        snprintf(line, sizeof line, "pexpiretime %s", keys[i]);
        fputs(run(s, line), f);
    }
    fputs(run(s, "hpexpiretime ht fields 2 f1 f2"), f);
    fputs(run(s, "dbsize"), f);
    fclose(f);
    return text;
}

/* many: a command with n elements more: `before`, a number, and for pairs `middle` and the number again. */
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

static void prepare(struct server *s) {
    run(s, "flushall sync");
    run(s, "rpush l a bb 3 ~40~");
    many(s, "rpush lb", 400, "item:0000000000000000000000000001", NULL);
    run(s, "hset h a 1 bb ~20~ 3 x");
    many(s, "hset hb", 600, "field", "value");
    run(s, "hset ht f1 v1 f2 v2 f3 v3");
    run(s, "hpexpireat ht 1800000000000 fields 1 f1");
    run(s, "sadd s a bb 3");
    run(s, "sadd si 1 5 9");
    many(s, "sadd sr", 600, "", NULL);
    many(s, "sadd sb", 200, "member", NULL);
    run(s, "zadd z 1 a 2 bb 3 ccc");
    many(s, "zadd zb", 200, "", "member");
    run(s, "pexpire l 60000");
    run(s, "pexpire zb 60000");
}

static const struct nomem how = {prepare, state_of, .slack_bytes = 4096, .shard = NOMEM_ALL_SHARDS};

static void fail_all(const char *const *lines, size_t n) {
    struct server s;
    server_start(&s, 1);
    unsigned refused = 0;
    for (size_t i = 0; i < n; i++)
        refused += nomem_each(&s, &how, lines[i]);
    cr_assert(refused > n, "only %u failures were felt", refused);
    server_stop(&s);
}

Test(coll_nomem, lists, .timeout = 120) {
    static const char *const lines[] = {
        "lpush new a",
        "rpush new ~2000~ ~3000~ c",
        "lpush l ~300~ ~300~ ~300~ ~300~",
        "lpush lb ~31~ ~500~ ~9000~ x y z",
        "rpush lb ~300~ ~31~ ~9000~",
        "linsert l before bb ~900~",
        "linsert lb after item:0000000000000000000000000001200 ~3000~",
        "lset l 1 ~1500~",
        "lset lb 200 ~2000~",
        "lmove l new left right",
        "lmove lb l right left",
        "rpoplpush lb lb",
        "rpoplpush l l",
        "lmove l l left right",
        "lpop lb 300",
        "ltrim lb 100 105",
        "lrem lb 0 item:0000000000000000000000000001200",
        "rename lb new",
        "copy lb new",
        "copy l new",
        "copy l lb replace",
        "sort lb alpha store new",
        "sort l by nosort get # store lb",
    };
    fail_all(lines, COUNT_OF(lines));
}

Test(coll_nomem, hashes, .timeout = 120) {
    static const char *const lines[] = {
        "hset new a 1",
        "hset new a ~100~ b ~3000~",
        "hset h n1 ~60~ n2 ~60~ n3 ~60~ n4 ~60~",
        "hset h n1 ~60~ n2 ~600~ n3 ~60~",
        "hset hb n1 1 n2 ~3000~ field5 ~100~",
        "hmset hb n1 1 n2 2 n3 3 n4 4 n5 5",
        "hincrby h n 5",
        "hincrbyfloat hb n 1.5",
        "hsetnx h n ~100~",
        "hdel h a bb",
        "hpexpireat h 1900000000000 fields 2 a bb",
        "hpexpireat hb 1900000000000 fields 3 field1 field2 field3",
        "hpexpireat ht 1900000000000 fields 3 f1 f2 f3",
        "hpersist ht fields 1 f1",
        "hset ht f1 new f9 ~100~",
        "hsetex h ex 100 fields 2 a 1 n ~40~",
        "hgetex hb ex 100 fields 2 field1 field2",
        "hgetdel hb fields 2 field1 field2",
        "copy hb new",
        "copy ht new",
        "rename ht h",
    };
    fail_all(lines, COUNT_OF(lines));
}

Test(coll_nomem, sets, .timeout = 120) {
    static const char *const lines[] = {
        "sadd new 1",
        "sadd new a b ~100~",
        "sadd s x ~60~ y 5",
        "sadd s ~100~ y",
        "sadd si 2 70000 9000000000",
        "sadd si a",
        "sadd si ~100~ 4",
        "sadd sr 100000 5000000000 -3",
        "sadd sr text",
        "sadd sb n1 n2 n3 7",
        "smove sr new 5",
        "smove sb sr member1",
        "smove si s 5",
        "sinterstore new sr si",
        "sunionstore new sb sr s",
        "sdiffstore sb sr si",
        "saddex s 100 a n",
        "saddex sr 100 5 1000000",
        "copy sr new",
        "copy sb new",
        "copy si new",
        "sort sr store new",
    };
    fail_all(lines, COUNT_OF(lines));
}

Test(coll_nomem, sorted_sets, .timeout = 240) {
    static const char *const lines[] = {
        "zadd new 1 a",
        "zadd new 1.5 a 2 ~100~",
        "zadd z 1.25 n ~5~ 7",
        "zadd z 5 n1 5 ~60~ 6 n3 7 n4",
        "zadd z 5 n1 5 ~100~",
        "zadd zb 5 n1 1000 member3 -1 ~500~ 7.5 n2",
        "zincrby z 1.1 a",
        "zincrby zb 1000 member0",
        "zrem zb member1 member2 member3",
        "zremrangebyrank zb 10 150",
        "zpopmin zb 20",
        "zunionstore new 2 z zb",
        "zinterstore z 2 zb zb",
        "zdiffstore zb 2 zb z",
        "zunionstore new 2 sb zb weights 2 3",
        "zrangestore new zb 5 150",
        "zrangestore z zb 0 3",
        "copy zb new",
        "copy z zb replace",
        "rename zb z",
        "sort zb by nosort store new",
    };
    fail_all(lines, COUNT_OF(lines));
}
