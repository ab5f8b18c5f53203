/* command_nomem_test.c: commands when memory fails, and that all of it comes back. */
#include "nomem.h"

static const char *const state_keys[] = {"a", "b", "c", "d", "n", "big", "ttl", "new"};

/* state_of: everything that clients can see of the keys. */
static char *state_of(struct server *s, bool refused) {
    (void)refused;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (size_t i = 0; i < COUNT_OF(state_keys); i++) {
        static const char *const questions[] = {"get", "pexpiretime", "object encoding"};
        for (size_t q = 0; q < COUNT_OF(questions); q++) {
            char line[64];
            snprintf(line, sizeof(line), "%s %s", questions[q], state_keys[i]);
            fputs(run(s, line), f);
        }
    }
    for (s->db = 0; s->db < 2; s->db++)
        fputs(run(s, "dbsize"), f);
    s->db = 0;
    fclose(f);
    return text;
}

static void prepare(struct server *s) {
    static const char *const lines[] = {
        "flushall sync",      "mset a text b 12 n 5 c ~1000~ d ~10~",
        "append d x",         "set big ~3000~",
        "set ttl x px 50000", "pexpire c 60000"};
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        run(s, lines[i]);
    /* An empty table that stays is no trace of a failed command. */
    s->db = 1;
    run(s, "set t 1");
    run(s, "del t");
    s->db = 0;
}

Test(command, memory_that_fails_changes_nothing, .timeout = 60) {
    static const char *const lines[] = {
        "set new v",
        "set new v px 1000",
        "set new ~2000~",
        "set a ~2000~",
        "set a ~2000~ get",
        "set big v get",
        "set b ~100~ keepttl",
        "setnx new ~500~",
        "setex a 10 ~800~",
        "getset big ~700~",
        "getex a px 1000",
        "append a ~900~",
        "append a ~2000~",
        "append b x",
        "append big ~9000~",
        "append new ~3000~",
        "setrange a 100 x",
        "setrange new 2000 x",
        "setrange big 9000 x",
        "incr new",
        "incr d",
        "incrbyfloat a 1",
        "incrbyfloat n 1e40",
        "mset a ~600~ b ~2000~ new 1 big x d ~900~ n ~1023~ a ~3~",
        "mset a 1 big ~50~ b ~300~ big ~4000~ c ~2~ new ~2000~",
        "mset 1 1 2 1 3 1 4 1 5 1 6 1 7 1 8 1 9 1 10 1 11 1 12 1 13 1 14 1 15 1 16 1 17 1 a ~900~",
        "msetnx new 1 new2 ~2000~ new3 ~500~",
        "msetex 3 a ~900~ ttl ~900~ new ~900~ ex 100",
        "expire a 100",
        "persist ttl",
        "rename a new",
        "rename c b",
        "rename big a",
        "copy c new",
        "copy big a replace",
        "move c 1",
        "copy c c db 1",
        "setbit new 100 1",
        "setbit a 40000 1",
        "bitfield new set u8 9000 1",
        "bitop or new a b",
        "bitop one new big a",
        "bitop xor a big c",
        "lcs a c",
        "lcs a c idx",
        "scan 0 count 100",
    };
    static const struct nomem how = {prepare, state_of, .slack_bytes = NOMEM_EXACT,
                                     .shard = NOMEM_ALL_SHARDS};
    struct server s;
    server_start(&s, 1);
    unsigned refused = 0;
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        refused += nomem_each(&s, &how, lines[i]);
    cr_assert(refused > COUNT_OF(lines), "only %u failures were felt", refused);
    server_stop(&s);
}

Test(command, memory_is_given_back_when_keys_go) {
    struct server s;
    server_start(&s, 1);
    prepare(&s);
    run(&s, "del a b c d n big ttl");
    int64_t empty = s.home->mem.used_bytes;
    prepare(&s);
    run(&s, "copy big new");
    run(&s, "copy big new replace");
    run(&s, "rename big new");
    run(&s, "bitop not a new");
    run(&s, "set c ~20000~ get");
    run(&s, "getset c 1");
    run(&s, "del a b c d n big ttl new");
    expect(&s, "dbsize", INT(0));
    cr_assert_eq(s.home->mem.used_bytes, empty);
    server_stop(&s);
}
