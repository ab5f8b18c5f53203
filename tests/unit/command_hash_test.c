/* command_hash_test.c: commands on hashes by a clock that the test moves, and when memory fails. */
#include "nomem.h"

/* Both forms: hashes of more than so many fields are tables. */
static const int64_t entries_max[] = {512, 3, 0};

static void set_entries_max(struct server *s, int64_t n) {
    instance_of(s->home)->config->hash_listpack_entries_max = n;
}

/* --- times --- */

static void each_form(void (*test)(struct server *s)) {
    for (size_t i = 0; i < COUNT_OF(entries_max); i++) {
        struct server s;
        server_start(&s, 1);
        set_entries_max(&s, entries_max[i]);
        test(&s);
        server_stop(&s);
    }
}

static void lives_until(struct server *s) {
    expect(s, "hset h a 1 b 2 c 3 d 4", INT(4));
    expect(s, "hpexpire h 1500 fields 1 a", "*1\r\n:1\r\n");
    expect(s, "hpexpire h 5000 fields 2 b c", "*2\r\n:1\r\n:1\r\n");
    expect(s, "httl h fields 5 a b c d e", "*5\r\n:2\r\n:5\r\n:5\r\n:-1\r\n:-2\r\n");
    s->now_ms += 1499;
    expect(s, "hpttl h fields 2 a b", "*2\r\n:1\r\n:3501\r\n");
    expect(s, "httl h fields 2 a b", "*2\r\n:1\r\n:4\r\n");
    expect(s, "fieldttl h a", INT(1));
    s->now_ms += 1;
    expect(s, "hpttl h fields 1 a", "*1\r\n:0\r\n");
    expect_bulk(s, "hget h a", "1");
    s->now_ms += 1;
    expect(s, "hget h a", NIL);
    expect(s, "hmget h a b", "*2\r\n$-1\r\n$1\r\n2\r\n");
    expect(s, "hexists h a", INT(0));
    expect(s, "hstrlen h a", INT(0));
    expect(s, "fieldttl h a", INT(-3));
    expect(s, "hpexpiretime h fields 1 a", "*1\r\n:-2\r\n");
    expect(s, "hlen h", INT(4)); /* until it is taken out */
    expect(s, "hdel h a", INT(0));
    expect(s, "hlen h", INT(3));
    expect(s, "hset h b new", INT(0)); /* without a time again */
    s->now_ms += 10000;
    expect(s, "hsetnx h c new", INT(1));
    expect(s, "hpttl h fields 3 b c d", "*3\r\n:-1\r\n:-1\r\n:-1\r\n");
    expect(s, "hlen h", INT(3));
}

Test(command_hash, fields_live_until_their_time) {
    each_form(lives_until);
}

static void counts_with_a_time(struct server *s) {
    expect(s, "hsetex h px 1000 fields 3 n 5 f 1.5 x 1", INT(1));
    expect(s, "hincrby h n 2", INT(7));
    expect_bulk(s, "hincrbyfloat h f 0.25", "1.75");
    expect(s, "hpttl h fields 2 n f", "*2\r\n:1000\r\n:1000\r\n");
    s->now_ms += 1001;
    expect(s, "hincrby h n 2", INT(2));
    expect_bulk(s, "hincrbyfloat h f 0.25", "0.25");
    expect(s, "hpttl h fields 3 n f x", "*3\r\n:-1\r\n:-1\r\n:-2\r\n");
    expect(s, "hsetex h fxx fields 2 n 1 x 1", INT(0));
    expect(s, "hsetex h fnx px 1 fields 1 x 1", INT(1));
    expect(s, "hsetex h keepttl fields 2 n 1 x 2", INT(1));
    expect(s, "hpttl h fields 2 n x", "*2\r\n:-1\r\n:1\r\n");
    s->now_ms += 2;
    expect(s, "hsetex h keepttl fields 1 x 3", INT(1));
    expect(s, "hpttl h fields 1 x", "*1\r\n:-1\r\n");
}

Test(command_hash, numbers_keep_their_time) {
    each_form(counts_with_a_time);
}

static void all_dead(struct server *s) {
    expect(s, "hsetex h px 10 fields 5 a 1 b 2 c 3 d 4 e 5", INT(1));
    s->now_ms += 11;
    expect(s, "hgetall h", "*0\r\n");
    expect(s, "hvals h", "*0\r\n");
    expect(s, "hrandfield h", NIL);
    expect(s, "hrandfield h 2", "*0\r\n");
    expect(s, "hrandfield h -2", "*0\r\n");
    expect(s, "hrandfield h -1 withvalues", "*0\r\n");
    expect(s, "hscan h 0 count 100", "*2\r\n$1\r\n0\r\n*0\r\n");
    expect(s, "hexpire h 100 fields 1 a", "*1\r\n:-2\r\n");
    expect(s, "hpersist h fields 1 b", "*1\r\n:-2\r\n");
    expect(s, "hgetdel h fields 1 c", "*1\r\n$-1\r\n");
    expect(s, "hset h a new", INT(1));
    expect(s, "hgetall h", "*2\r\n$1\r\na\r\n$3\r\nnew\r\n");
    expect(s, "hdel h b c d e", INT(0));
    expect(s, "hlen h", INT(1));
    expect(s, "hdel h a", INT(1));
    expect(s, "exists h", INT(0));
}

Test(command_hash, what_is_dead_is_nowhere_seen) {
    each_form(all_dead);
}

/* A field that is named twice has its second turn when it has had its first. */
static void named_twice(struct server *s) {
    run(s, "hset h a 1 b 2");
    expect(s, "hpexpire h 50 nx fields 3 a b a", "*3\r\n:1\r\n:1\r\n:0\r\n");
    expect(s, "hpexpire h 90 gt fields 3 a a nosuch", "*3\r\n:1\r\n:0\r\n:-2\r\n");
    expect(s, "hpexpire h 80 lt fields 2 a a", "*2\r\n:1\r\n:0\r\n");
    expect(s, "hpexpire h 70 xx fields 2 a a", "*2\r\n:1\r\n:1\r\n");
    expect(s, "hpexpire h 70 xx gt fields 2 b b", "*2\r\n:1\r\n:0\r\n");
    expect(s, "hpersist h fields 3 a a b", "*3\r\n:1\r\n:-1\r\n:1\r\n");
    expect(s, "hgetex h px 10 fields 2 a a", "*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
    expect(s, "hgetex h px 0 fields 2 a a", "*2\r\n$1\r\n1\r\n$-1\r\n");
    expect(s, "hpexpire h 0 fields 2 b b", "*2\r\n:2\r\n:-2\r\n");
    expect(s, "exists h", INT(0));
}

Test(command_hash, a_field_named_twice) {
    each_form(named_twice);
}

/* --- memory --- */

static const char *const state_keys[] = {"h", "big", "ttl", "text", "new"};

/* ask: a question about a key, which stands between two parts of the line. */
static void ask(struct server *s, FILE *f, const char *before, const char *key, const char *after) {
    char line[80];
    snprintf(line, sizeof(line), "%s %s%s", before, key, after);
    fputs(run(s, line), f);
}

/* state_of: everything that clients can see of the keys. */
static char *state_of(struct server *s, bool refused) {
    (void)refused;
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    for (size_t i = 0; i < COUNT_OF(state_keys); i++) {
        ask(s, f, "hgetall", state_keys[i], "");
        ask(s, f, "hpexpiretime", state_keys[i], " fields 8 a b c d e f g n");
        ask(s, f, "hlen", state_keys[i], "");
        ask(s, f, "object encoding", state_keys[i], "");
    }
    fputs(run(s, "dbsize"), f);
    fclose(f);
    return text;
}

static void prepare(struct server *s) {
    static const char *const lines[] = {"flushall sync",
                                        "hset h a 1 b two n 5",
                                        "hset big a 1 b ~60~ c 3 d 4 e 5 f 6 g 7 n 8",
                                        "hsetex ttl px 5000 fields 3 a 1 b 2 n 3",
                                        "hset ttl c 3",
                                        "set text x"};
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        run(s, lines[i]);
}

static const struct nomem how = {prepare, state_of, .slack_bytes = INT32_MAX, .empties = true,
                                 .shard = NOMEM_ALL_SHARDS};

/* What needs memory whatever the form: a new key, or a text that the entry has no room for. */
static const char *const needy[] = {
    "hset new a 1",
    "hset new a ~2000~ b ~50~",
    "hset h a ~1000~ b ~900~ c ~10~ x ~20~ y ~30~",
    "hset big a ~3000~ new1 ~50~ new2 ~60~ new3 ~70~",
    "hmset ttl a ~900~ b ~900~ z ~900~",
    "hsetnx h new ~1200~",
    "hincrby new n 5",
    "hincrbyfloat new n 1e40",
    "hincrbyfloat h n 1e300",
    "hsetex new ex 10 fields 2 a 1 b 2",
    "hsetex h ex 10 fields 2 a ~1200~ b 2",
    "hsetex ttl keepttl fields 3 a ~1200~ b 2 z 1",
    "hexpire h 100 fields 3 a b n",
    "hexpire h 100 nx fields 10 a b n a b n a b n a",
    "hgetex h ex 100 fields 2 a b",
    "fieldexpire h 100 a b n",
};
/* What may go without. */
static const char *const modest[] = {
    "hset h a 2",
    "hset h b ~63~ d 5",
    "hincrby h n 1000000",
    "hdel big a b c d",
    "hdel h a b n",
    "hdel ttl a",
    "hexpire ttl 100 gt fields 4 a b n c",
    "hexpire big 100 fields 8 a b c d e f g n",
    "hexpire ttl 0 fields 2 a b",
    "hpersist ttl fields 10 a a b b n n a a b b",
    "hgetdel big fields 3 a b nosuch",
    "hgetdel ttl fields 4 a b n c",
    "hgetex ttl persist fields 3 a b n",
    "hgetex ttl px 0 fields 4 a b n c",
    "hsetex big pxat 1 fields 2 a 1 nosuch 1",
    "hrandfield h 1",
    "hscan big 0",
};

Test(command_hash, memory_that_fails_changes_nothing, .timeout = 120) {
    for (size_t i = 0; i < COUNT_OF(entries_max); i++) {
        struct server s;
        server_start(&s, 1);
        set_entries_max(&s, entries_max[i]);
        for (size_t n = 0; n < COUNT_OF(needy); n++)
            cr_assert_gt(nomem_each(&s, &how, needy[n]), 0U, "%s asked for no memory", needy[n]);
        for (size_t n = 0; n < COUNT_OF(modest); n++)
            nomem_each(&s, &how, modest[n]);
        server_stop(&s);
    }
}

/* Reading that needs room for what it finds: of many fields, and with repetitions. */
Test(command_hash, reading_without_memory) {
    static const char *const lines[] = {"hscan h 0 count 1000", "hrandfield h -7",
                                        "hrandfield h 5 withvalues"};
    for (size_t i = 0; i < COUNT_OF(entries_max); i++) {
        struct server s;
        server_start(&s, 1);
        set_entries_max(&s, entries_max[i]);
        for (unsigned f = 0; f < 400; f++) {
            char line[64];
            snprintf(line, sizeof(line), "hset h field:%u ~50~", f);
            run(&s, line);
        }
        for (size_t n = 0; n < COUNT_OF(lines); n++) {
            for (unsigned site = 1; site < 4; site++) {
                s.home->mem.fail_in = site;
                const char *reply = run(&s, lines[n]);
                bool reached = s.home->mem.fail_in == 0;
                s.home->mem.fail_in = 0;
                if (reached)
                    cr_assert_str_eq(reply, "-ERR out of memory\r\n", "%s", lines[n]);
                else
                    cr_assert_eq(*reply, '*', "%s: %s", lines[n], reply);
            }
        }
        server_stop(&s);
    }
}
