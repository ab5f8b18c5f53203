/* command_zset_test.c: sorted-set commands when memory fails, when a key dies between two steps, and how their keys and scores
 * are read. */
#include "nomem.h"
#include "shards/decimal.h"
#include "shards/rng.h"
#include <math.h>

static const unsigned shard_counts[] = {1, 3};
/* Sorted sets of more members than that are trees. */
static const int64_t entries_max[] = {128, 4, 0};

static const char *const state_keys[] = {"a", "b", "c", "big", "ttl", "new"};

static void start(struct server *s, unsigned shards, int64_t entries) {
    server_start(s, shards);
    instance_of(s->home)->config->zset_listpack_entries_max = entries;
}

/* --- when memory fails --- */

/* state_of: all that clients can see. */
static char *state_of(struct server *s, bool refused) {
    (void)refused;
    char *text = NULL, line[64];
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (size_t i = 0; i < COUNT_OF(state_keys); i++) {
        snprintf(line, sizeof(line), "zrange %s 0 -1 withscores", state_keys[i]);
        fputs(run(s, line), f);
        snprintf(line, sizeof(line), "pexpiretime %s", state_keys[i]);
        fputs(run(s, line), f);
        snprintf(line, sizeof(line), "object encoding %s", state_keys[i]);
        fputs(run(s, line), f);
    }
    fputs(run(s, "smembers set"), f);
    fputs(run(s, "dbsize"), f);
    fclose(f);
    return text;
}

static void prepare(struct server *s) {
    char line[64];
    run(s, "flushall sync");
    run(s, "zadd a 1 x 2 y 3.5 z");
    run(s, "zadd b -inf x 2 42 7 ~60~ 8 w");
    run(s, "zadd c 0 ~20~ 0 ~30~ 0 ~40~ 0 ~50~ 0 ~60~ 0 7");
    for (unsigned i = 0; i < 150; i++) {
        snprintf(line, sizeof(line), "zadd big %u member:%u", i % 40, i);
        run(s, line);
    }
    run(s, "zadd ttl 5 m");
    run(s, "pexpire ttl 60000");
    run(s, "sadd set x 42 7");
}

static const char *const lines[] = {
    "zadd new 1 x",
    "zadd new 1 ~2000~ 2 ~3000~ 3 y",
    "zadd a 9 ~64~",
    "zadd a 9 ~65~",
    "zadd a 9 1 8 2 7 3 6 4 5 5 4 6 3 7 2 8 1 9 0 10 1.5 11 2.25 12 7 x 13 13 14 14 15 15 16 16",
    "zadd b 1 ~62~ 2 ~63~ 3 ~61~ 4 ~59~ 5 ~58~ 6 ~57~ 7 ~56~ 8 ~55~ 9 ~54~ 10 ~53~ 11 ~52~ 12 ~51~",
    "zadd big 7 new 8 newer 9 ~500~",
    "zadd big 99 member:3",
    "zadd ttl xx ch 6 m",
    "zadd ttl 7 ~900~",
    "zincrby a 0.125 x",
    "zincrby big 0.5 member:9",
    "zincrby new 1 m",
    "zrem a x z",
    "zrem big member:1 member:2",
    "zremrangebyrank big 10 140",
    "zpopmin big 120",
    "zpopmax c 3",
    "zmpop 3 new a big max count 2",
    "zrangestore new big 5 60",
    "zrangestore a b 0 -1",
    "zrangestore ttl a 1 2",
    "zunionstore new 3 a b c",
    "zunionstore new 2 big set weights 2 1 aggregate max",
    "zunionstore a 2 a set",
    "zunionstore new 9 a a a a a a a b b",
    "zinterstore new 2 big big",
    "zinterstore b 2 b set",
    "zdiffstore new 3 big a b",
    "zdiffstore new 5 big a b c set",
    "zunion 2 a set",
    "zinter 2 b set withscores",
    "zdiff 6 big a a a a a",
    "zrandmember a -50",
    "zscan big 0 count 30",
    "copy big new",
    "copy a ttl replace",
};

static const struct nomem how = {prepare, state_of, .random = "zrandmember",
                                 .shard = NOMEM_ALL_SHARDS};

static void fail_all(unsigned shards, int64_t entries) {
    struct server s;
    unsigned refused = 0;
    start(&s, shards, entries);
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        refused += nomem_each(&s, &how, lines[i]);
    cr_assert(refused > COUNT_OF(lines), "only %u failures were felt", refused);
    server_stop(&s);
}

Test(command_zset, memory_that_fails_changes_nothing, .timeout = 120) {
    for (size_t i = 0; i < COUNT_OF(shard_counts); i++)
        for (size_t j = 0; j < COUNT_OF(entries_max); j++)
            fail_all(shard_counts[i], entries_max[j]);
}

Test(command_zset, memory_is_given_back_when_keys_go, .timeout = 60) {
    for (size_t j = 0; j < COUNT_OF(entries_max); j++) {
        struct server s;
        start(&s, 1, entries_max[j]);
        prepare(&s);
        run(&s, "flushall sync");
        int64_t empty = nomem_used(&s);
        for (size_t i = 0; i < COUNT_OF(lines); i++) {
            prepare(&s);
            run(&s, lines[i]);
            run(&s, "flushall sync");
            cr_assert_leq(nomem_used(&s), empty, "%s", lines[i]);
        }
        server_stop(&s);
    }
}

/* --- keys --- */

static uint32_t split(const char *line, struct span *argv) {
    static char text[1024];
    uint32_t argc = 0;
    snprintf(text, sizeof(text), "%s", line);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        argv[argc++] = (struct span){word, strlen(word)};
    return argc;
}

/* keys_of: the numbers of the arguments that are keys, as text; "": there are none. */
static const char *keys_of(const char *line) {
    static char text[256];
    struct span argv[ARGS_MAX];
    uint32_t argc = split(line, argv), first, last, step, n = 0;
    const struct command *cmd = command_find(argv[0]);
    size_t len = 0;
    text[0] = '\0';
    if (!command_keys(cmd, argv, argc, &first, &last, &step))
        return text;
    for (uint32_t i = first; i <= last; i = command_next_key(cmd, i, step)) {
        cr_assert_eq(command_key_index(cmd, first, step, i), n++);
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%u", len > 0 ? " " : "", i);
    }
    return text;
}

Test(command_zset, the_count_of_keys_is_none) {
    register_all();
    cr_assert_str_eq(keys_of("zunionstore d 1 a"), "1 3");
    cr_assert_str_eq(keys_of("zunionstore d 3 a b c weights 1 2 3"), "1 3 4 5");
    cr_assert_str_eq(keys_of("zdiffstore d 2 a b"), "1 3 4");
    cr_assert_str_eq(keys_of("zinterstore d 3 a b"), "");
    cr_assert_str_eq(keys_of("zinterstore d 0 a b"), "");
    cr_assert_str_eq(keys_of("zinter 2 a b withscores"), "2 3");
    cr_assert_str_eq(keys_of("zintercard 3 a b c limit 1"), "2 3 4");
    cr_assert_str_eq(keys_of("zunion x a"), "");
    cr_assert_str_eq(keys_of("zmpop 2 a b min"), "2 3");
    cr_assert_str_eq(keys_of("zmpop 2 a min"), "");
    cr_assert_str_eq(keys_of("zrangestore d s 0 -1"), "1 2");
}

/* apart: two keys that lie on different shards. */
static void apart(const struct server *s, char a[16], char b[16]) {
    for (unsigned i = 0;; i++) {
        int an = snprintf(a, 16, "k%u", i), bn = snprintf(b, 16, "k%u", i + 1);
        if (shard_of_key(s, (struct span){a, (size_t)an}) !=
            shard_of_key(s, (struct span){b, (size_t)bn}))
            return;
    }
}

Test(command_zset, what_is_popped_may_die_before_it_is_taken_out) {
    struct server s;
    struct across_call a;
    char one[16], other[16], line[128];
    struct span argv[ARGS_MAX];
    start(&s, 3, 128);
    apart(&s, one, other);
    snprintf(line, sizeof(line), "zadd %s 1 a 2 b 3 c", other);
    expect(&s, line, INT(3));
    snprintf(line, sizeof(line), "pexpire %s 100", other);
    expect(&s, line, INT(1));
    snprintf(line, sizeof(line), "zmpop 2 %s %s max count 2", one, other);
    uint32_t argc = split(line, argv), first, last, step;
    struct ctx c = {.shard = s.home,
                    .keyspace = s.home->keyspace,
                    .cmd = command_find(argv[0]),
                    .argv = argv,
                    .argc = argc,
                    .now_ms = s.now_ms,
                    .reply = {.out = &s.out, .proto = 2}};
    cr_assert(command_keys(c.cmd, argv, argc, &first, &last, &step));
    across_begin(&a, &s, &c, first, last, step);
    across_all(&a, c.cmd->across->look);
    cr_assert(c.cmd->across->decide(&c));
    take_reply(&s);
    cr_assert(strstr(s.text, "$1\r\nc\r\n$1\r\n3\r\n*2\r\n$1\r\nb\r\n$1\r\n2\r\n") != NULL);
    c.now_ms += 101;
    across_all(&a, c.cmd->across->after);
    across_end(&a);
    s.now_ms += 101;
    snprintf(line, sizeof(line), "exists %s", other);
    expect(&s, line, INT(0));
    server_stop(&s);
}

/* --- scores --- */

static void same_as_strtod(const char *text) {
    char *end;
    double mine, theirs = strtod(text, &end);
    bool is_number = *end == '\0' && end != text && !isnan(theirs);
    bool read = decimal_parse_double((struct span){text, strlen(text)}, &mine);
    cr_assert_eq(read, is_number, "'%s'", text);
    cr_assert(!read || memcmp(&mine, &theirs, sizeof(mine)) == 0, "'%s': %.17g, not %.17g", text,
              mine, theirs);
}

Test(command_zset, short_numbers_are_read_as_strtod_does) {
    static const char *const texts[] = {"",
                                        "-",
                                        ".",
                                        "-.",
                                        "0",
                                        "-0",
                                        "-0.0",
                                        "0.",
                                        ".5",
                                        "-.5",
                                        "1.",
                                        "1-",
                                        "1.2.3",
                                        "00012",
                                        "--1",
                                        "+1",
                                        "1e3",
                                        "0x1p3",
                                        "inf",
                                        "-inf",
                                        "infinity",
                                        "nan",
                                        "123456789012345",
                                        "1234567890123456",
                                        "0.123456789012345",
                                        "999999999999999.5",
                                        "-99999999999999.9",
                                        "0.000000000000001",
                                        "9007199254740993",
                                        "1 ",
                                        "1.5x"};
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        same_as_strtod(texts[i]);
    struct rng rng;
    rng_seed(&rng, 3);
    for (unsigned i = 0; i < 200000; i++) {
        char text[40];
        unsigned len = 1 + (unsigned)rng_below(&rng, 18), point = (unsigned)rng_below(&rng, 20);
        for (unsigned at = 0; at < len; at++)
            text[at] = at == point ? '.' : (char)('0' + rng_below(&rng, 10));
        if (rng_below(&rng, 3) == 0)
            text[0] = '-';
        text[len] = '\0';
        same_as_strtod(text);
    }
}
