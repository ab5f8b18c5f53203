/* command_test.c: the contract of anax/command.h, and the families generic and server.
 *
 * The replies expected here are those of redis-server 7.0, or documented for Redis 8 and Valkey 9
 * where 7.0 lacks the command. */
#include "command_fixture.h"

/* --- the registry --- */

Test(command, find_is_case_insensitive_and_exact) {
    register_all();
    const struct command *get = command_find(SPAN("GET"));
    cr_assert(get != NULL);
    cr_assert(command_find(SPAN("get")) == get);
    cr_assert(command_find(SPAN("gEt")) == get);
    cr_assert(command_find(SPAN("GETX")) == NULL);
    cr_assert(command_find(SPAN("GE")) == NULL);
    cr_assert(command_find(SPAN("")) == NULL);
    cr_assert(command_find(SPAN("G\0T")) == NULL);
    cr_assert(command_find(SPAN("incrbyfloat")) != NULL);
    cr_assert(command_find(SPAN("incrbyfloaT\0")) == NULL);
    cr_assert(command_find(SPAN("bitfield_ro")) != NULL);
    cr_assert(command_find(SPAN("bitfield\177ro")) == NULL, "DEL is not an underscore");
    cr_assert(command_find(SPAN("a name that is longer than any command's")) == NULL);
}

Test(command, every_row_is_found_under_its_name) {
    register_all();
    const struct command *row;
    for (unsigned id = 0; (row = command_at(id)) != NULL; id++) {
        struct span name = {row->name, strlen(row->name)};
        cr_assert_eq(row->id, id);
        if (strchr(row->name, '|') == NULL) {
            cr_assert(command_find(name) == row, "%s", row->name);
            continue;
        }
        const struct command *container = command_at(row->parent);
        size_t up = strlen(container->name) + 1;
        struct span sub = {row->name + up, name.len - up};
        cr_assert(command_find_sub(container, sub) == row, "%s", row->name);
        cr_assert(command_find(name) == NULL, "a subcommand is no command");
    }
}

/* --- rows against the facts --- */

static char *read_facts(void) {
    char path[1024];
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, sizeof(path), "%.*s/data/commands.json",
             slash == NULL ? 1 : (int)(slash - __FILE__), slash == NULL ? "." : __FILE__);
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL, "%s", path);
    char *text = calloc(1, 1 << 18);
    cr_assert(fread(text, 1, (1 << 18) - 1, f) > 0);
    fclose(f);
    return text;
}

/* fact_of: the object of a command in the JSON text; "OBJECT|HELP" is "OBJECT HELP" there. */
static char *fact_of(const char *facts, const char *name) {
    char quoted[64];
    snprintf(quoted, sizeof(quoted), "\"%s\":{", name);
    char *bar = strchr(quoted, '|');
    if (bar != NULL)
        *bar = ' ';
    const char *at = strstr(facts, quoted);
    if (at == NULL)
        return NULL;
    at += strlen(quoted);
    return strndup(at, (size_t)(strchr(at, '}') - at));
}

/* same_set: the JSON list under `field` has exactly these words, in any order. */
static void same_set(const char *fact, const char *field, const char *const *words, size_t n,
                     const char *name) {
    char quoted[64];
    snprintf(quoted, sizeof(quoted), "\"%s\":[", field);
    const char *list = strstr(fact, quoted);
    cr_assert(list != NULL);
    list += strlen(quoted);
    char *inner = strndup(list, (size_t)(strchr(list, ']') - list));
    size_t listed = *inner == '\0' ? 0 : 1;
    for (const char *p = inner; (p = strchr(p, ',')) != NULL; p++)
        listed++;
    cr_assert_eq(listed, n, "%s: %s are %s", name, field, inner);
    for (size_t i = 0; i < n; i++) {
        snprintf(quoted, sizeof(quoted), "\"%s\"", words[i]);
        cr_assert(strstr(inner, quoted) != NULL, "%s: %s has no %s", name, field, words[i]);
    }
    free(inner);
}

struct named {
    uint32_t bit;
    const char *name;
};

static size_t words_of(uint32_t bits, const struct named *names, size_t n, const char **words) {
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (bits & names[i].bit)
            words[found++] = names[i].name;
    return found;
}

static void check_row(const struct command *row, const char *fact) {
    static const struct named flags[] = {
        {CMD_WRITE, "write"},
        {CMD_READ, "readonly"},
        {CMD_DENY_OOM, "denyoom"},
        {CMD_ADMIN, "admin"},
        {CMD_FAST, "fast"},
        {CMD_NOSCRIPT, "noscript"},
        {CMD_LOADING, "loading"},
        {CMD_STALE, "stale"},
        {CMD_NO_AUTH, "no_auth"},
        {CMD_ALLOW_BUSY, "allow_busy"},
        {CMD_NO_MULTI, "no_multi"},
        {CMD_BLOCKING, "blocking"},
        {CMD_MOVABLE_KEYS, "movablekeys"},
    };
    static const struct named acls[] = {
        {ACL_KEYSPACE, "@keyspace"},   {ACL_READ, "@read"},
        {ACL_WRITE, "@write"},         {ACL_STRING, "@string"},
        {ACL_BITMAP, "@bitmap"},       {ACL_CONNECTION, "@connection"},
        {ACL_ADMIN, "@admin"},         {ACL_DANGEROUS, "@dangerous"},
        {ACL_FAST, "@fast"},           {ACL_SLOW, "@slow"},
        {ACL_BLOCKING, "@blocking"},   {ACL_LIST, "@list"},
        {ACL_HASH, "@hash"},           {ACL_SET, "@set"},
        {ACL_SORTEDSET, "@sortedset"},
    };
    const char *words[32];
    char text[128];
    snprintf(text, sizeof(text), "\"arity\":%d,", row->arity);
    cr_assert(strstr(fact, text) != NULL, "%s: arity is not %d", row->name, row->arity);
    snprintf(text, sizeof(text), "\"keys\":[%d,%d,%d]", row->keys.first, row->keys.last,
             row->keys.step);
    cr_assert(strstr(fact, text) != NULL, "%s: not %s", row->name, text);
    snprintf(text, sizeof(text), "\"group\":\"%s\",\"since\":\"%s\"", row->group, row->since);
    cr_assert(strstr(fact, text) != NULL, "%s: not %s", row->name, text);
    same_set(fact, "flags", words, words_of(row->flags, flags, COUNT_OF(flags), words), row->name);
    same_set(fact, "acl", words, words_of(row->acl, acls, COUNT_OF(acls), words), row->name);
    cr_assert(row->summary != NULL && row->complexity != NULL, "%s", row->name);
}

/* is_ours: of no Redis and no Valkey. */
static bool is_ours(const char *name) {
    static const char *const ours[] = {"FIELDEXPIRE", "FIELDTTL", "SADDEX"};
    for (size_t i = 0; i < COUNT_OF(ours); i++)
        if (strcmp(name, ours[i]) == 0)
            return true;
    return false;
}

Test(command, rows_agree_with_the_facts) {
    register_all();
    char *facts = read_facts();
    const struct command *row;
    for (unsigned id = 0; (row = command_at(id)) != NULL; id++) {
        char *fact = fact_of(facts, row->name);
        if (is_ours(row->name)) {
            cr_assert(fact == NULL, "%s is Redis's too", row->name);
            continue;
        }
        cr_assert(fact != NULL, "%s", row->name);
        check_row(row, fact);
        free(fact);
    }
    free(facts);
}

/* --- routing --- */

Test(command, key_range_counts_from_the_end_when_negative) {
    register_all();
    uint32_t first, last, step;
    cr_assert(command_key_range(command_find(SPAN("MSET")), 7, &first, &last, &step));
    cr_assert(first == 1 && last == 6 && step == 2);
    cr_assert(command_key_range(command_find(SPAN("MSET")), 6, &first, &last, &step));
    cr_assert(first == 1 && last == 4 && step == 2, "a key without a value is not counted");
    cr_assert(command_key_range(command_find(SPAN("BITOP")), 6, &first, &last, &step));
    cr_assert(first == 2 && last == 5 && step == 1);
    cr_assert(command_key_range(command_find(SPAN("GET")), 2, &first, &last, &step));
    cr_assert(first == 1 && last == 1);
    cr_assert_not(command_key_range(command_find(SPAN("PING")), 1, &first, &last, &step));
    cr_assert_not(command_key_range(command_find(SPAN("MSETEX")), 4, &first, &last, &step));

    struct span argv[] = {SPAN("MSETEX"), SPAN("2"), SPAN("a"), SPAN("1"),
                          SPAN("b"),      SPAN("2"), SPAN("NX")};
    cr_assert(command_keys(command_find(SPAN("MSETEX")), argv, 7, &first, &last, &step));
    cr_assert(first == 2 && last == 4 && step == 2);
    cr_assert_not(command_keys(command_find(SPAN("MSETEX")), argv, 4, &first, &last, &step));
}

Test(command, route_hash_is_of_the_first_tag_that_is_not_empty) {
    register_all();
    uint64_t tag = hash_of(SPAN("tag"));
    cr_assert_eq(command_route_hash(SPAN("x{tag}y"), 1), tag);
    cr_assert_eq(command_route_hash(SPAN("{tag}{other}"), 1), tag);
    cr_assert_eq(command_route_hash(SPAN("{}{tag}"), 1), 1);
    cr_assert_eq(command_route_hash(SPAN("{tag"), 1), 1);
    cr_assert_eq(command_route_hash(SPAN("tag}"), 1), 1);
    cr_assert_eq(command_route_hash(SPAN(""), 1), 1);
    cr_assert_eq(command_route_hash(SPAN("{{tag}"), 1), hash_of(SPAN("{tag")));
}

Test(command, errors_name_the_command_as_redis_does) {
    static const struct exchange list[] = {
        {"foo", "-ERR unknown command 'foo', with args beginning with: \r\n"},
        {"FOO a b", "-ERR unknown command 'FOO', with args beginning with: 'a' 'b' \r\n"},
        {"get", "-ERR wrong number of arguments for 'get' command\r\n"},
        {"object", "-ERR wrong number of arguments for 'object' command\r\n"},
        {"object ENCODING", "-ERR wrong number of arguments for 'object|encoding' command\r\n"},
        {"object Foo x", "-ERR unknown subcommand 'Foo'. Try OBJECT HELP.\r\n"},
    };
    expect_all(list, COUNT_OF(list));
}

/* --- keys --- */

Test(command, expire_options) {
    static const struct exchange list[] = {
        {"expire nokey 10", INT(0)},
        {"set k v", DONE},
        {"expire k 10 xx", INT(0)},
        {"expire k 10 gt", INT(0)},
        {"expire k 10 nx", INT(1)},
        {"expire k 20 nx", INT(0)},
        {"expire k 5 gt", INT(0)},
        {"expire k 20 gt", INT(1)},
        {"expire k 30 lt", INT(0)},
        {"pexpire k 1499 lt xx", INT(1)},
        {"ttl k", INT(1)},
        {"pexpire k 1500", INT(1)},
        {"ttl k", INT(2)},
        {"pttl k", INT(1500)},
        {"pexpiretime k", INT(1700000001500)},
        {"expiretime k", INT(1700000002)},
        {"persist k", INT(1)},
        {"persist k", INT(0)},
        {"pttl nokey", INT(-2)},
        {"expire k 9223372036854775807", "-ERR invalid expire time in 'expire' command\r\n"},
        {"pexpire k 9223372036854775807", "-ERR invalid expire time in 'pexpire' command\r\n"},
        {"expireat k -9223372036854775808", "-ERR invalid expire time in 'expireat' command\r\n"},
        {"expire k 10 foo", "-ERR Unsupported option foo\r\n"},
        {"expire k 10 nx gt",
         "-ERR NX and XX, GT or LT options at the same time are not compatible\r\n"},
        {"expire k 10 gt lt", "-ERR GT and LT options at the same time are not compatible\r\n"},
        {"expire k ten", ERR_INT},
        {"pexpireat k 9223372036854775807", INT(1)},
        {"pexpiretime k", INT(281474976710655)},
        {"expireat k 1", INT(1)},
        {"exists k", INT(0)},
    };
    expect_all(list, COUNT_OF(list));
}

Test(command, rename_move_copy) {
    static const struct exchange list[] = {
        {"rename a b", "-ERR no such key\r\n"},
        {"renamenx a a", "-ERR no such key\r\n"},
        {"set a 1 px 500", DONE},
        {"rename a a", DONE},
        {"renamenx a a", INT(0)},
        {"rename a b", DONE},
        {"pttl b", INT(500)},
        {"exists a", INT(0)},
        {"set a ~2000~", DONE},
        {"renamenx a b", INT(0)},
        {"copy a b", INT(0)},
        {"copy a b replace", INT(1)},
        {"ttl b", INT(-1)},
        {"copy a b replace", INT(1)},
        {"append b x", INT(2001)},
        {"strlen a", INT(2000)},
        {"copy a c", INT(1)},
        {"rename a c", DONE},
        {"strlen c", INT(2000)},
        {"copy c c", "-ERR source and destination objects are the same\r\n"},
        {"copy c c db 1", INT(1)},
        {"copy c c db 16", "-ERR DB index is out of range\r\n"},
        {"copy c d db", ERR_SYN},
        {"move c 1", INT(0)},
        {"move c 2", INT(1)},
        {"exists c", INT(0)},
        {"move c 2", INT(0)},
        {"move b 0", "-ERR source and destination objects are the same\r\n"},
        {"move b 16", "-ERR DB index is out of range\r\n"},
        {"move b 99999999999",
         "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n"},
        {"dbsize", INT(1)},
        {"flushall", DONE},
    };
    expect_all(list, COUNT_OF(list));
}

Test(command, keys_whose_time_has_come_are_gone) {
    struct server s;
    server_start(&s, 1);
    expect(&s, "mset a 1 b 2", DONE);
    expect(&s, "pexpire a 10", INT(1));
    s.now_ms += 11;
    expect(&s, "keys *", "*1\r\n$1\r\nb\r\n");
    expect(&s, "scan 0", "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nb\r\n");
    expect(&s, "randomkey", "$1\r\nb\r\n");
    expect(&s, "set a 5 xx", NIL);
    expect(&s, "del a b", INT(1));
    expect(&s, "randomkey", NIL);
    server_stop(&s);
}

Test(command, idle_time_counts_from_the_last_access) {
    struct server s;
    server_start(&s, 1);
    expect(&s, "set k v", DONE);
    s.now_ms += 5000;
    expect(&s, "object idletime k", INT(5));
    expect(&s, "ttl k", INT(-1));
    expect(&s, "exists k", INT(1));
    expect(&s, "object idletime k", INT(5));
    expect(&s, "get k", "$1\r\nv\r\n");
    expect(&s, "object idletime k", INT(0));
    s.now_ms += 7000;
    expect(&s, "touch k", INT(1));
    expect(&s, "object idletime k", INT(0));
    server_stop(&s);
}

Test(command, reads_count_hits_and_misses) {
    struct server s;
    server_start(&s, 1);
    struct keyspace_stats *stats = keyspace_stats(s.home->keyspace);
    expect(&s, "set k v", DONE);
    expect(&s, "incr n", INT(1));
    cr_assert(stats->hits == 0 && stats->misses == 0, "writes are not counted");
    expect(&s, "get k", "$1\r\nv\r\n");
    expect(&s, "get nokey", NIL);
    run(&s, "mget k n nokey");
    cr_assert_eq(stats->hits, 3);
    cr_assert_eq(stats->misses, 2);
    server_stop(&s);
}

/* --- all shards --- */

static void fill(struct server *s, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        char line[64];
        snprintf(line, sizeof(line), "set key:%u %u", i, i);
        expect(s, line, DONE);
    }
}

/* scan_all: marks which of key:0 ... are returned; the number of calls. */
static unsigned scan_all(struct server *s, const char *options, unsigned *seen, unsigned n) {
    char cursor[32] = "0", line[128];
    unsigned calls = 0;
    memset(seen, 0, n * sizeof(*seen));
    do {
        snprintf(line, sizeof(line), "scan %s%s", cursor, options);
        const char *text = run(s, line);
        cr_assert(sscanf(text, "*2\r\n$%*u\r\n%31[0-9]\r\n", cursor) == 1, "%s", text);
        for (const char *p = text; (p = strstr(p, "key:")) != NULL; p++) {
            unsigned i = (unsigned)atoi(p + 4);
            cr_assert(i < n);
            seen[i]++;
        }
        calls++;
    } while (strcmp(cursor, "0") != 0);
    return calls;
}

Test(command, commands_over_all_shards_see_all_keys) {
    enum { KEYS_N = 500 };
    struct server s;
    unsigned seen[KEYS_N];
    server_start(&s, 3);
    fill(&s, KEYS_N);
    expect(&s, "dbsize", INT(500));
    cr_assert(strncmp(run(&s, "keys *"), "*500\r\n", 6) == 0);
    cr_assert(strncmp(run(&s, "keys key:1?"), "*10\r\n", 5) == 0);
    cr_assert(scan_all(&s, "", seen, KEYS_N) > 20);
    for (unsigned i = 0; i < KEYS_N; i++)
        cr_assert(seen[i] >= 1, "key:%u", i);
    cr_assert(scan_all(&s, " count 1000", seen, KEYS_N) == 3, "a call for each shard");
    scan_all(&s, " match key:49? count 50 type string", seen, KEYS_N);
    for (unsigned i = 0; i < KEYS_N; i++)
        cr_assert_eq(seen[i] >= 1, i >= 490, "key:%u", i);
    scan_all(&s, " type list", seen, KEYS_N);
    for (unsigned i = 0; i < KEYS_N; i++)
        cr_assert(seen[i] == 0);
    bool other_shard = false;
    for (unsigned i = 0; i < 100; i++) {
        unsigned key = (unsigned)atoi(strstr(run(&s, "randomkey"), "key:") + 4);
        cr_assert(key < KEYS_N);
        char name[16];
        snprintf(name, sizeof(name), "key:%u", key);
        uint64_t hash = hash_of((struct span){name, strlen(name)});
        other_shard |= keyspace_shard_of(hash, 3) != 0;
    }
    cr_assert(other_shard, "not only keys of the home shard are picked");
    expect(&s, "flushdb foo", ERR_SYN);
    expect(&s, "flushall sync async", ERR_SYN);
    expect(&s, "dbsize", INT(500));
    s.db = 1;
    expect(&s, "flushdb", DONE);
    expect(&s, "set x 1", DONE);
    s.db = 0;
    expect(&s, "dbsize", INT(500));
    expect(&s, "flushall sync", DONE);
    expect(&s, "dbsize", INT(0));
    s.db = 1;
    expect(&s, "dbsize", INT(0));
    server_stop(&s);
}

Test(command, scan_refuses_what_is_no_cursor) {
    static const struct exchange list[] = {
        {"scan x", "-ERR invalid cursor\r\n"},
        {"scan 99999999999999999999999", "-ERR invalid cursor\r\n"},
        {"scan 0 count 0", ERR_SYN},
        {"scan 0 count x", ERR_INT},
        {"scan 0 match", ERR_SYN},
        {"scan 0 foo bar", ERR_SYN},
        {"scan ''", "*2\r\n$1\r\n0\r\n*0\r\n"},
        {"scan 8589934592000", "*2\r\n$1\r\n0\r\n*0\r\n"},
        {"scan 4294967296", "*2\r\n$1\r\n0\r\n*0\r\n"},
    };
    expect_all(list, COUNT_OF(list));
}

Test(command, msetex_across_shards_sets_all_or_nothing) {
    struct server s;
    server_start(&s, 3);
    char line[128];
    for (unsigned i = 0; i < 20; i++) {
        snprintf(line, sizeof(line), "msetex 3 key:%u 1 key:%u 2 key:%u 3 px 5000", i, i + 1,
                 i + 2);
        expect(&s, line, INT(1));
        snprintf(line, sizeof(line), "msetex 2 key:%u 5 other:%u 6 nx", i, i);
        expect(&s, line, INT(0));
        snprintf(line, sizeof(line), "mget key:%u key:%u other:%u key:%u", i, i + 1, i, i + 2);
        expect(&s, line, "*4\r\n$1\r\n1\r\n$1\r\n2\r\n$-1\r\n$1\r\n3\r\n");
        snprintf(line, sizeof(line), "pttl key:%u", i + 2);
        expect(&s, line, INT(5000));
    }
    expect(&s, "msetex 2 {t}a 1 {t}b 2", INT(1));
    expect_bulk(&s, "get {t}b", "2");
    server_stop(&s);
}

/* --- COMMAND --- */

Test(command, command_info_has_the_shape_of_redis_7) {
    static const struct exchange list[] = {
        {"command info rename nosuch",
         "*2\r\n*10\r\n$6\r\nrename\r\n:3\r\n*1\r\n+write\r\n:1\r\n:2\r\n:1\r\n*3\r\n+@keyspace\r\n"
         "+@write\r\n+@slow\r\n*0\r\n*2\r\n*6\r\n$5\r\nflags\r\n*3\r\n+RW\r\n+access\r\n+delete\r\n"
         "$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex"
         "\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$"
         "7\r\n"
         "lastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*6\r\n$5\r\nflags\r\n*2\r\n"
         "+OW\r\n+update\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$"
         "4\r\nspec\r\n"
         "*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\n"
         "spec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
         "$-1\r\n"},
        {"command info object|help", "*1\r\n*10\r\n$11\r\nobject|help\r\n:2\r\n*2\r\n+loading\r\n"
                                     "+stale\r\n:0\r\n:0\r\n:0\r\n*2\r\n+@keyspace\r\n+@slow\r\n"
                                     "*0\r\n*0\r\n*0\r\n"},
        {"command docs nosuch", "*0\r\n"},
        {"command list filterby pattern OBJ*f*", "*2\r\n$11\r\nobject|freq\r\n$15\r\n"
                                                 "object|refcount\r\n"},
        {"command list filterby aclcat nosuch", "*0\r\n"},
        {"command list filterby module x", "*0\r\n"},
        {"command list filterby", ERR_SYN},
        {"command getkeys mset a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
        {"command getkeys mset a 1 b", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
        {"command getkeys msetex 2 a 1 b 2 nx", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"},
        {"command getkeys object encoding x", "*1\r\n$1\r\nx\r\n"},
        {"command getkeys foo x", "-ERR Invalid command specified\r\n"},
        {"command getkeys ping x", "-ERR The command has no key arguments\r\n"},
        {"command getkeys get x y", "-ERR Invalid number of arguments specified for command\r\n"},
        {"command getkeysandflags rename a b",
         "*2\r\n*2\r\n$1\r\na\r\n*3\r\n+RW\r\n+access\r\n+delete\r\n*2\r\n$1\r\nb\r\n*2\r\n+OW\r\n"
         "+update\r\n"},
        {"ping", "+PONG\r\n"},
        {"ping x", "$1\r\nx\r\n"},
        {"ping x y", "-ERR wrong number of arguments for 'ping' command\r\n"},
        {"echo x", "$1\r\nx\r\n"},
    };
    expect_all(list, COUNT_OF(list));
}

/* skip_value: over one RESP value; NULL when it is not whole. */
static const char *skip_value(const char *p, const char *end) {
    if (p == NULL || p >= end)
        return NULL;
    const char *line_end = memchr(p, '\n', (size_t)(end - p));
    if (line_end == NULL)
        return NULL;
    long n = atol(p + 1);
    const char *next = line_end + 1;
    if (*p == '$' && n >= 0)
        return next + n + 2;
    long parts = *p == '%' ? 2 * n : *p == '*' || *p == '~' ? n : 0;
    for (long i = 0; i < parts; i++)
        next = skip_value(next, end);
    return next;
}

Test(command, inv2_one_whole_reply_per_call) {
    static const char *const lines[] = {
        "command",       "command docs", "command list",
        "command count", "command info", "command help",
        "object help",   "time",         "command docs get object",
        "keys *",        "scan 0",       "bitfield a get u8 0",
        "lcs a c idx",   "mget a b c",   "set a b get",
        "randomkey",
    };
    struct server s;
    server_start(&s, 2);
    for (s.proto = 2; s.proto <= 3; s.proto++) {
        for (size_t i = 0; i < COUNT_OF(lines); i++) {
            const char *text = run(&s, lines[i]);
            cr_assert(skip_value(text, text + s.text_len) == text + s.text_len, "%s: %s", lines[i],
                      text);
        }
    }
    server_stop(&s);
}
