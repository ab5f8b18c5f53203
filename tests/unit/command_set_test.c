/* command_set_test.c: the set commands: their replies, and what happens between shards when memory fails. One shard:
 * coll_nomem_test.c. */
#include "nomem.h"

static const struct exchange exchanges[] = {
    {"sadd s 3 1 2 1", INT(3)},
    {"object encoding s", "$6\r\nintset\r\n"},
    {"smembers s", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n"},
    {"sadd s 1", INT(0)},
    {"scard s", INT(3)},
    {"sismember s 2", INT(1)},
    {"sismember s 02", INT(0)},
    {"smismember s 2 x 3", "*3\r\n:1\r\n:0\r\n:1\r\n"},
    {"sadd s x", INT(1)},
    {"object encoding s", "$8\r\nlistpack\r\n"},
    {"srem s 1 2 3 9", INT(3)},
    {"smembers s", "*1\r\n$1\r\nx\r\n"},
    {"smove s t x", INT(1)},
    {"exists s", INT(0)},
    {"smove s t x", INT(0)},
    {"smove t t x", INT(1)},
    {"smove t t y", INT(0)},
    {"sadd u x y", INT(2)},
    {"sinter t u", "*1\r\n$1\r\nx\r\n"},
    {"sdiff u t", "*1\r\n$1\r\ny\r\n"},
    {"sdiff t u", "*0\r\n"},
    {"sinter t none", "*0\r\n"},
    {"sinterstore d t none", INT(0)},
    {"sunionstore d t u", INT(2)},
    {"sinterstore d d t", INT(1)},
    {"smembers d", "*1\r\n$1\r\nx\r\n"},
    {"sdiffstore d d d", INT(0)},
    {"exists d", INT(0)},
    {"sintercard 2 t u", INT(1)},
    {"sintercard 2 u u limit 1", INT(1)},
    {"spop none", NIL},
    {"spop none 2", "*0\r\n"},
    {"srandmember none", NIL},
    {"srandmember none -2", "*0\r\n"},
    {"srandmember t -2", "*2\r\n$1\r\nx\r\n$1\r\nx\r\n"},
    {"srandmember t 5", "*1\r\n$1\r\nx\r\n"},
    {"spop t 5", "*1\r\n$1\r\nx\r\n"},
    {"exists t", INT(0)},
    {"sscan u 0 match x", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nx\r\n"},
    {"saddex u 10 x z", INT(1)},
    {"fieldttl u x", INT(10)},
    {"fieldttl u y", INT(-1)},
    {"saddex u keepttl 20 x w", INT(1)},
    {"fieldttl u x", INT(10)},
    {"fieldttl u w", INT(20)},
    {"smove u v x", INT(1)},
    {"fieldttl v x", INT(10)},
    {"sunionstore v v u", INT(4)},
    {"fieldttl v x", INT(-1)},
};

Test(command_set, replies) {
    expect_all(exchanges, COUNT_OF(exchanges));
}

Test(command_set, replies_are_sets_in_resp3) {
    static const struct exchange three[] = {
        {"sadd s 1", INT(1)},
        {"sadd t 1", INT(1)},
        {"smembers s", "~1\r\n$1\r\n1\r\n"},
        {"smembers none", "~0\r\n"},
        {"sinter s t", "~1\r\n$1\r\n1\r\n"},
        {"sinter s none", "~0\r\n"},
        {"sunion s t", "~1\r\n$1\r\n1\r\n"},
        {"sdiff s none", "~1\r\n$1\r\n1\r\n"},
        {"srandmember s 1", "*1\r\n$1\r\n1\r\n"},
        {"srandmember none", "_\r\n"},
        {"smismember s 1", "*1\r\n:1\r\n"},
        {"spop s 0", "~0\r\n"},
        {"spop s 3", "~1\r\n$1\r\n1\r\n"},
        {"spop s", "_\r\n"},
    };
    struct server s;
    server_start(&s, 1);
    s.proto = 3;
    for (size_t i = 0; i < COUNT_OF(three); i++)
        expect(&s, three[i].line, three[i].reply);
    server_stop(&s);
}

/* Nobody sees a member whose time has come, before it is swept, too. */
Test(command_set, the_dead_are_not_seen) {
    static const char *const fills[] = {"sadd s 1 2 3", "sadd s a b c", "sadd s 1 b ~80~"};
    for (size_t i = 0; i < COUNT_OF(fills); i++) {
        struct server s;
        server_start(&s, 2);
        run(&s, fills[i]);
        run(&s, "saddex s 5 dead 77");
        run(&s, "sadd t dead 77");
        expect(&s, "sismember s dead", INT(1));
        s.now_ms += 5001;
        expect(&s, "sismember s dead", INT(0));
        expect(&s, "fieldttl s 77", INT(-3));
        expect(&s, "sinter s t", "*0\r\n");
        expect(&s, "sintercard 2 t s", INT(0));
        expect(&s, "smove s t dead", INT(0));
        expect(&s, "sunionstore u s", INT(3));
        expect(&s, "sdiffstore u t s", INT(2));
        cr_assert(strncmp(run(&s, "smembers s"), "*3", 2) == 0);
        cr_assert(strncmp(run(&s, "srandmember s 10"), "*3", 2) == 0);
        expect(&s, "srem s dead", INT(0));
        expect(&s, "sadd s dead", INT(1));
        expect(&s, "fieldttl s dead", INT(-1));
        cr_assert(strncmp(run(&s, "spop s 4"), "*4", 2) == 0);
        expect(&s, "exists s", INT(0));
        server_stop(&s);
    }
}

/* --- between shards --- */

enum { SHARDS = 3 };

static const char *const keys[] = {"a", "b", "c", "d", "e", "ints", "new"};

static char *state_of(struct server *s, bool refused) {
    (void)refused;
    char *text = NULL, line[64];
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        static const char *const questions[] = {"scard", "sort", "object encoding", "fieldttl"};
        for (size_t q = 0; q < COUNT_OF(questions); q++) {
            snprintf(line, sizeof line, "%s %s%s", questions[q], keys[i],
                     q == 1   ? " alpha"
                     : q == 3 ? " 5"
                              : "");
            fputs(run(s, line), f);
        }
    }
    fclose(f);
    return text;
}

static void prepare(struct server *s) {
    run(s, "flushall sync");
    run(s, "sadd a 1 2 3 4 5");
    run(s, "sadd b 4 5 6 x y ~70~");
    run(s, "saddex c 100 5 z");
    run(s, "sadd d 5");
    run(s, "sadd e w");
    for (int i = 0; i < 2000; i += 50) {
        char line[1024];
        size_t len = (size_t)snprintf(line, sizeof line, "sadd ints");
        for (int j = i; j < i + 50; j++)
            len += (size_t)snprintf(line + len, sizeof line - len, " %d", j);
        run(s, line);
    }
}

Test(command_set, memory_that_fails_changes_nothing_on_any_shard, .timeout = 120) {
    static const char *const lines[] = {
        "smove a b 1",           "smove b a x",
        "smove c a z",           "smove c new z",
        "smove d new 5",         "smove a d 5",
        "smove e d w",           "smove c b 5",
        "sinterstore new a b",   "sinterstore a a b c",
        "sunionstore new a b",   "sunionstore b a c e",
        "sdiffstore new a b",    "sdiffstore a a b",
        "sinterstore new ints",  "sunionstore new ints e",
        "sdiffstore new ints a", "sunionstore a ints ints",
        "sinter ints a",         "sintercard 3 a b c",
        "smove ints e 7",        "smove e ints w",
        "smove c ints z",
    };
    struct server s;
    unsigned refused = 0;
    server_start(&s, SHARDS);
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        for (int shard = 0; shard < SHARDS; shard++) {
            struct nomem how = {prepare, state_of, .slack_bytes = NOMEM_EXACT, .shard = shard};
            refused += nomem_each(&s, &how, lines[i]);
        }
    cr_assert_gt(refused, 30, "%u", refused);
    server_stop(&s);
}
