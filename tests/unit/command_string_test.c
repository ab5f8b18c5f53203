/* command_string_test.c: the families string and bitmap.
 *
 * The replies expected here are those of redis-server 7.0, or documented for Redis 8 and Valkey 9
 * where 7.0 lacks the command.
 */
#include "command_fixture.h"

/* --- strings --- */

Test(command, set_options) {
    static const struct exchange list[] = {
        {"set k v", DONE},
        {"set k w nx", NIL},
        {"set k w XX get", "$1\r\nv\r\n"},
        {"set k x nx get", "$1\r\nw\r\n"},
        {"set new x xx", NIL},
        {"set new x xx get", NIL},
        {"set k v nx xx", ERR_SYN},
        {"set k v ex", ERR_SYN},
        {"set k v ex 10 px 10", ERR_SYN},
        {"set k v ex 10 keepttl", ERR_SYN},
        {"set k v persist", ERR_SYN},
        {"set k v ex 0", "-ERR invalid expire time in 'set' command\r\n"},
        {"set k v px 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n"},
        {"set k v ex 9223372036854775807", "-ERR invalid expire time in 'set' command\r\n"},
        {"set k v ex ten", ERR_INT},
        {"get k", "$1\r\nw\r\n"},
        {"set k v ex 5 ex 10", DONE},
        {"pttl k", INT(10000)},
        {"set k u keepttl", DONE},
        {"pttl k", INT(10000)},
        {"set k u", DONE},
        {"ttl k", INT(-1)},
        {"set k u pxat 1700000000500", DONE},
        {"pttl k", INT(500)},
        {"set k u exat 1 get", "$1\r\nu\r\n"},
        {"exists k", INT(0)},
        {"set fresh v keepttl", DONE},
        {"ttl fresh", INT(-1)},
    };
    expect_all(list, COUNT_OF(list));
}

Test(command, ifeq_compares_and_sets) {
    static const struct exchange list[] = {
        {"set k v ifeq v", NIL},
        {"exists k", INT(0)},
        {"set k 10", DONE},
        {"set k new ifeq 11", NIL},
        {"set k new ifeq 11 get", "$2\r\n10\r\n"},
        {"set k new ifeq 10", DONE},
        {"set k newer ifeq new get", "$3\r\nnew\r\n"},
        {"get k", "$5\r\nnewer\r\n"},
        {"set k v ifeq", ERR_SYN},
        {"set k v nx ifeq newer", ERR_SYN},
        {"set k v ifeq newer xx", ERR_SYN},
        {"delifeq k other", INT(0)},
        {"delifeq k newer", INT(1)},
        {"delifeq k newer", INT(0)},
    };
    expect_all(list, COUNT_OF(list));
}

Test(command, getex_and_getdel) {
    static const struct exchange list[] = {
        {"getex k ex 0", NIL},
        {"getex k keepttl", ERR_SYN},
        {"set k v", DONE},
        {"getex k", "$1\r\nv\r\n"},
        {"getex k ex 0", "-ERR invalid expire time in 'getex' command\r\n"},
        {"getex k px 1500", "$1\r\nv\r\n"},
        {"pttl k", INT(1500)},
        {"getex k persist ex 1", ERR_SYN},
        {"getex k persist", "$1\r\nv\r\n"},
        {"ttl k", INT(-1)},
        {"getex k exat 1", "$1\r\nv\r\n"},
        {"exists k", INT(0)},
        {"set k v", DONE},
        {"getdel k", "$1\r\nv\r\n"},
        {"getdel k", NIL},
    };
    expect_all(list, COUNT_OF(list));
}

Test(command, numbers) {
    static const struct exchange list[] = {
        {"incr n", INT(1)},
        {"expire n 100", INT(1)},
        {"incrby n 41", INT(42)},
        {"decr n", INT(41)},
        {"ttl n", INT(100)},
        {"set n 9223372036854775807", DONE},
        {"incr n", "-ERR increment or decrement would overflow\r\n"},
        {"decrby n -9223372036854775808", "-ERR decrement would overflow\r\n"},
        {"set n 01", DONE},
        {"incr n", ERR_INT},
        {"incrby n x", ERR_INT},
        {"append a 10", INT(2)},
        {"append a 0", INT(3)},
        {"object encoding a", "$3\r\nraw\r\n"},
        {"incr a", INT(101)},
        {"object encoding a", "$3\r\nint\r\n"},
        {"incrbyfloat a 0.5", "$5\r\n101.5\r\n"},
        {"incrbyfloat a 0.5", "$3\r\n102\r\n"},
        {"object encoding a", "$6\r\nembstr\r\n"},
        {"incrbyfloat a inf", "-ERR increment would produce NaN or Infinity\r\n"},
        {"incrbyfloat a nan", "-ERR value is not a valid float\r\n"},
    };
    expect_all(list, COUNT_OF(list));
}

Test(command, object_encoding_tells_what_redis_tells) {
    static const struct exchange list[] = {
        {"set k 12345678901234567890", DONE},
        {"object encoding k", "$6\r\nembstr\r\n"},
        {"set k -9223372036854775808", DONE},
        {"object encoding k", "$3\r\nint\r\n"},
        {"set k ''", DONE},
        {"object encoding k", "$6\r\nembstr\r\n"},
        {"set k ~44~", DONE},
        {"object encoding k", "$6\r\nembstr\r\n"},
        {"set k ~45~", DONE},
        {"object encoding k", "$3\r\nraw\r\n"},
        {"set k ~1023~", DONE},
        {"object encoding k", "$3\r\nraw\r\n"},
        {"set k ~1024~", DONE},
        {"object encoding k", "$3\r\nraw\r\n"},
        {"set k abc", DONE},
        {"append k ''", INT(3)},
        {"object encoding k", "$3\r\nraw\r\n"},
        {"set k abc", DONE},
        {"setrange k 0 ''", INT(3)},
        {"object encoding k", "$6\r\nembstr\r\n"},
        {"set k 7", DONE},
        {"setbit k 0 0", INT(0)},
        {"object encoding k", "$3\r\nraw\r\n"},
        {"copy k c", INT(1)},
        {"object encoding c", "$3\r\nraw\r\n"},
        {"object refcount c", INT(1)},
        {"incr c", INT(8)},
        {"object refcount c", INT(2147483647)},
        {"object freq c",
         "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note "
         "that when switching between policies at runtime LRU and LFU data will take some time to "
         "adjust.\r\n"},
        {"object freq nokey", NIL},
    };
    expect_all(list, COUNT_OF(list));
}

Test(command, ranges_across_all_representations) {
    struct server s;
    static const char *const sizes[] = {"3", "44", "1000", "1023", "1024", "5000"};
    server_start(&s, 1);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char line[64], reply[64];
        int size = atoi(sizes[i]);
        snprintf(line, sizeof(line), "set k ~%d~", size);
        expect(&s, line, DONE);
        snprintf(reply, sizeof(reply), ":%d\r\n", size);
        expect(&s, "setrange k 1 ab", reply);
        expect(&s, "getrange k 0 2", "$3\r\nvab\r\n");
        snprintf(reply, sizeof(reply), ":%d\r\n", size + 25);
        expect(&s, "append k ~25~", reply);
        expect(&s, "getrange k -25 -24", "$2\r\nvv\r\n");
        snprintf(line, sizeof(line), "setrange k %d x", size + 27);
        snprintf(reply, sizeof(reply), ":%d\r\n", size + 28);
        expect(&s, line, reply);
        snprintf(line, sizeof(line), "getbit k %d", 8 * (size + 25));
        expect(&s, line, INT(0));
        expect(&s, "getrange k -1 -1", "$1\r\nx\r\n");
    }
    expect(&s, "getrange k -1 -5", "$0\r\n\r\n");
    expect(&s, "getrange k 100000 -1", "$0\r\n\r\n");
    expect(&s, "getrange nokey 0 -1", "$0\r\n\r\n");
    expect(&s, "setrange k -1 x", "-ERR offset is out of range\r\n");
    expect(&s, "setrange k 536870911 xx",
           "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    server_stop(&s);
}

Test(command, several_strings_at_once) {
    static const struct exchange list[] = {
        {"mset a 1 b 2 a 3", DONE},
        {"mget a b c a", "*4\r\n$1\r\n3\r\n$1\r\n2\r\n$-1\r\n$1\r\n3\r\n"},
        {"mset a 1 b", "-ERR wrong number of arguments for 'mset' command\r\n"},
        {"msetnx c 1 a 9", INT(0)},
        {"exists c", INT(0)},
        {"msetnx c 1 d 9", INT(1)},
        {"msetex 2 a x b y", INT(1)},
        {"mget a b", "*2\r\n$1\r\nx\r\n$1\r\ny\r\n"},
        {"msetex 2 a 1 b 2 nx", INT(0)},
        {"msetex 2 a 1 z 2 xx", INT(0)},
        {"exists z", INT(0)},
        {"msetex 2 a 1 b 2 xx ex 10", INT(1)},
        {"pttl b", INT(10000)},
        {"msetex 2 a 5 b 6 keepttl", INT(1)},
        {"pttl b", INT(10000)},
        {"msetex 1 b 7 px 100 xx", INT(1)},
        {"pttl b", INT(100)},
        {"msetex 1 b 7 pxat 1", INT(1)},
        {"exists b", INT(0)},
        {"msetex 0 a 1", "-ERR invalid numkeys value or out of range\r\n"},
        {"msetex x a 1", "-ERR invalid numkeys value or out of range\r\n"},
        {"msetex 2 a 1", ERR_SYN},
        {"msetex 1 a 1 nx xx", ERR_SYN},
        {"msetex 1 a 1 ex 0", "-ERR invalid expire time in 'msetex' command\r\n"},
        {"msetex 1 a 1 get", ERR_SYN},
    };
    expect_all(list, COUNT_OF(list));
}

Test(command, lcs) {
    static const struct exchange list[] = {
        {"mset a ohmytext b mynewtext", DONE},
        {"lcs a b", "$6\r\nmytext\r\n"},
        {"lcs a b len", INT(6)},
        {"lcs a b idx",
         "*4\r\n$7\r\nmatches\r\n*2\r\n*2\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n*2\r\n"
         "*2\r\n:2\r\n:3\r\n*2\r\n:0\r\n:1\r\n$3\r\nlen\r\n:6\r\n"},
        {"lcs a b idx minmatchlen 4 withmatchlen",
         "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$"
         "3\r\nlen\r\n"
         ":6\r\n"},
        {"lcs a nokey", "$0\r\n\r\n"},
        {"lcs a b idx len",
         "-ERR If you want both the length and indexes, please just use IDX.\r\n"},
        {"lcs a b minmatchlen", ERR_SYN},
    };
    expect_all(list, COUNT_OF(list));
}

/* --- bits --- */

Test(command, bitmaps) {
    static const struct exchange list[] = {
        {"setbit k 7 1", INT(0)},
        {"setbit k 7 0", INT(1)},
        {"setbit k 10000 1", INT(0)},
        {"strlen k", INT(1251)},
        {"bitcount k", INT(1)},
        {"bitpos k 1", INT(10000)},
        {"bitpos k 0", INT(0)},
        {"setbit k 4294967296 1", "-ERR bit offset is not an integer or out of range\r\n"},
        {"setbit k 1 2", "-ERR bit is not an integer or out of range\r\n"},
        {"getbit k 4294967295", INT(0)},
        {"set k foobar", DONE},
        {"bitcount k", INT(26)},
        {"bitcount k 0 0", INT(4)},
        {"bitcount k 1 1", INT(6)},
        {"bitcount k 5 30 bit", INT(17)},
        {"bitcount k -2 -1 byte", INT(7)},
        {"bitcount k 1", ERR_SYN},
        {"bitcount nokey 1", INT(0)},
        {"bitpos k 1 2 -1 bit", INT(2)},
        {"bitpos k 0 1 1", INT(8)},
        {"bitpos k 2", "-ERR The bit argument must be 1 or 0.\r\n"},
        {"bitpos nokey 1", INT(-1)},
        {"bitpos nokey 0", INT(0)},
        {"bitfield ones set u16 0 65535", "*1\r\n:0\r\n"},
        {"bitpos ones 0", INT(16)},
        {"bitpos ones 0 0 -1", INT(-1)},
        {"bitpos ones 0 1", INT(16)},
        {"bitpos ones 1 5", INT(-1)},
    };
    expect_all(list, COUNT_OF(list));
}

Test(command, bitfields) {
    static const struct exchange list[] = {
        {"bitfield k", "*0\r\n"},
        {"exists k", INT(0)},
        {"bitfield k set u8 0 255 incrby u8 0 10 get i8 0", "*3\r\n:0\r\n:9\r\n:9\r\n"},
        {"bitfield k overflow sat set i5 100 -100 get i5 100", "*2\r\n:0\r\n:-16\r\n"},
        {"bitfield k overflow fail incrby u2 200 3 incrby u2 200 1 overflow wrap incrby u2 200 1",
         "*3\r\n:3\r\n$-1\r\n:0\r\n"},
        {"bitfield k set i64 #4 -9223372036854775808 incrby i64 #4 -1",
         "*2\r\n:0\r\n:9223372036854775807\r\n"},
        {"bitfield k set u63 3 -1 get u63 3", "*2\r\n:2594073385365405696\r\n"
                                              ":9223372036854775807\r\n"},
        {"bitfield_ro k get u8 0 set u8 0 1",
         "-ERR BITFIELD_RO only supports the GET subcommand\r\n"},
        {"bitfield k get u64 0", "-ERR Invalid bitfield type. Use something like i16 u8. Note that "
                                 "u64 is not supported but i64 is.\r\n"},
        {"bitfield k overflow foo", "-ERR Invalid OVERFLOW type specified\r\n"},
        {"bitfield k get u8 #4294967295", "-ERR bit offset is not an integer or out of range\r\n"},
        {"bitfield k get u8", ERR_SYN},
    };
    expect_all(list, COUNT_OF(list));
}

/* bit_sources: three strings of which byte i has every combination of bits, so that one byte of
 * the result shows the operation's whole truth table: a = 00001111, b = 00110011, c = 01010101. */
Test(command, bitop_truth_tables) {
    static const struct {
        const char *op;
        int byte;
    } tables[] = {{"and", 0x01},   {"or", 0x7F},    {"xor", 0x69}, {"diff", 0x08},
                  {"diff1", 0x70}, {"andor", 0x07}, {"one", 0x68}};
    struct server s;
    server_start(&s, 1);
    run(&s, "bitfield a set u8 0 15");
    run(&s, "bitfield b set u8 0 51");
    run(&s, "bitfield c set u8 0 85");
    for (unsigned large = 0; large < 2; large++) {
        for (size_t i = 0; i < COUNT_OF(tables); i++) {
            char line[64], reply[64];
            snprintf(line, sizeof(line), "bitop %s d a b c", tables[i].op);
            expect(&s, line, large ? INT(2000) : INT(1));
            snprintf(reply, sizeof(reply), "*1\r\n:%d\r\n", tables[i].byte);
            expect(&s, "bitfield_ro d get u8 0", reply);
        }
        run(&s, "setrange a 1999 x");
    }
    expect(&s, "bitop not d b", INT(1));
    expect(&s, "bitfield d get u8 0", "*1\r\n:204\r\n");
    expect(&s, "bitop and d nokey nokey2", INT(0));
    expect(&s, "exists d", INT(0));
    expect(&s, "bitop not d a b", "-ERR BITOP NOT must be called with a single source key.\r\n");
    expect(&s, "bitop diff d a",
           "-ERR BITOP DIFF must be called with at least two source keys.\r\n");
    expect(&s, "bitop foo d a", ERR_SYN);
    server_stop(&s);
}

/* --- large values --- */

Test(command, a_big_last_argument_is_adopted_not_copied) {
    struct server s;
    shard_claim();
    server_start(&s, 1);
    static const char *const lines[] = {"set k",      "setnx fresh",    "getset k",
                                        "setex k 10", "append nothing", "mset a 1 k"};
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct blob *big = blob_create(&s.home->mem, 40000);
        memset(big->data, 'b', 40000);
        big->len = 40000;
        s.big = big;
        struct span argv[8];
        uint32_t argc = 0;
        char words[64];
        snprintf(words, sizeof(words), "%s", lines[i]);
        for (char *p = strtok(words, " "); p != NULL; p = strtok(NULL, " "))
            argv[argc++] = (struct span){p, strlen(p)};
        struct span key = argv[argc - 1];
        if (strcmp(lines[i], "setex k 10") == 0)
            key = argv[1];
        argv[argc++] = (struct span){big->data, big->len};
        call(&s, argv, argc);
        cr_assert(s.big == NULL, "%s", lines[i]);
        const struct table *t = keyspace_peek_table(s.home->keyspace, 0);
        const struct entry *e = table_find(t, key, hash_of(key));
        cr_assert(entry_object(e) == big, "%s", lines[i]);
        cr_assert_eq(big->refs, 1);
    }
    server_stop(&s);
}

Test(command, a_pinned_reply_keeps_its_bytes_while_the_value_changes) {
    struct server s;
    server_start(&s, 1);
    run(&s, "set k ~20000~");
    struct span argv[] = {SPAN("GET"), SPAN("k")};
    struct session session = {.proto = 2};
    struct ctx c = {.shard = s.home,
                    .keyspace = s.home->keyspace,
                    .cmd = command_find(SPAN("GET")),
                    .argv = argv,
                    .argc = 2,
                    .hash = hash_of(SPAN("k")),
                    .now_ms = NOW_MS,
                    .reply = {.out = &s.out, .proto = 2},
                    .session = &session};
    c.cmd->run(&c);
    cr_assert_eq(s.out.ref_count, 1);
    struct outbuf waiting = s.out;
    outbuf_init(&s.out, &s.out_mem);
    expect(&s, "setrange k 0 changed", INT(20000));
    expect_bulk(&s, "getrange k 0 6", "changed");
    cr_assert(memcmp(waiting.refs[0].blob->data, "vvvvvvv", 7) == 0);
    outbuf_deinit(&s.out);
    s.out = waiting;
    take_reply(&s);
    cr_assert_eq(s.text_len, 20000 + 10);
    server_stop(&s);
}
