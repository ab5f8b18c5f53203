#include "anax/config.h"
#include "config_defaults.h"
#include "shards/assert.h"
#include "shards/log.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ARGS_MAX = 32, VALUE_MAX = 4096 };

/* --- helpers --- */

struct value {
    char name[128], text[VALUE_MAX];
    unsigned count;
};

static void keep_value(void *arg, struct span name, struct span text) {
    struct value *v = arg;

    cr_assert(name.len < sizeof(v->name) && text.len < sizeof(v->text));
    memcpy(v->name, name.ptr, name.len);
    v->name[name.len] = '\0';
    memcpy(v->text, text.ptr, text.len);
    v->text[text.len] = '\0';
    v->count++;
}

static void expect_value(const struct config *c, const char *name, const char *text) {
    struct value v = {.count = 0};
    struct span pattern = {name, strlen(name)};

    config_get(c, &pattern, 1, keep_value, &v);
    cr_assert_eq(v.count, 1, "%s came %u times", name, v.count);
    cr_assert_str_eq(v.name, name);
    cr_assert_str_eq(v.text, text, "%s is '%s', not '%s'", name, v.text, text);
}

/* Splits at '|' and parses it as a command line. */
static bool parse_args(struct config *c, const char *line, struct config_error *e) {
    static char text[8192];
    char *argv[ARGS_MAX + 1] = {(char *)(size_t) "anax"};
    int argc = 1;

    cr_assert_lt(strlen(line), sizeof(text));
    (void)strcpy(text, line);
    for (char *rest = text, *arg; *line != '\0' && (arg = strsep(&rest, "|")) != NULL;)
        argv[argc++] = arg;
    config_defaults(c);
    return config_parse_args(c, argc, argv, e);
}

static bool parse_text(struct config *c, const char *text, struct config_error *e) {
    config_defaults(c);
    return config_parse_text(c, "t.conf", (struct span){text, strlen(text)}, e);
}

static void expect_args_error(const char *line, const char *text) {
    struct config c;
    struct config_error e = {""};

    cr_assert_not(parse_args(&c, line, &e), "%s was taken", line);
    cr_assert_str_eq(e.text, text);
}

static void expect_text_error(const char *conf, const char *text) {
    struct config c;
    struct config_error e = {""};

    cr_assert_not(parse_text(&c, conf, &e), "%s was taken", conf);
    cr_assert_str_eq(e.text, text);
}

/* --- defaults and the table --- */

Test(config, defaults_are_redis_conf_s) {
    struct config c;
    struct value all = {.count = 0};
    struct span star = SPAN("*");

    config_defaults(&c);
    for (size_t i = 0; i < COUNT_OF(config_expected); i++)
        if (strcmp(config_expected[i][0], "dir") != 0)
            expect_value(&c, config_expected[i][0], config_expected[i][1]);
    char *here = realpath(".", NULL); /* what it stands for */
    expect_value(&c, "dir", here);
    free(here);
    config_get(&c, &star, 1, keep_value, &all);
    cr_assert_eq(all.count, COUNT_OF(config_expected), "an option has no expected default");
}

Test(config, fields_hold_the_values) {
    struct config c;
    struct config_error e;

    cr_assert(parse_args(&c,
                         "--port|1|--timeout|2|--tcp-keepalive|3|--maxclients|4|--databases|5|"
                         "--hz|6|--active-expire-effort|7|--shards|8",
                         &e));
    cr_assert(c.port == 1 && c.timeout_s == 2 && c.tcp_keepalive_s == 3 && c.maxclients == 4);
    cr_assert(c.databases == 5 && c.hz == 6 && c.active_expire_effort == 7 && c.shards == 8);
    cr_assert(
        parse_args(&c,
                   "--bind|10.0.0.1|-::1|--unixsocket|/s|--unixsocketperm|700|--daemonize|YES|"
                   "--pidfile|/p|--logfile|/l|--loglevel|Debug|--requirepass|--x",
                   &e));
    cr_assert_str_eq(c.bind, "10.0.0.1 -::1");
    cr_assert_str_eq(c.unixsocket, "/s");
    cr_assert_eq(c.unixsocketperm, 0700);
    cr_assert(c.daemonize && c.loglevel == LOG_DEBUG);
    cr_assert_str_eq(c.pidfile, "/p");
    cr_assert_str_eq(c.logfile, "/l");
    cr_assert_str_eq(c.requirepass, "--x");
    cr_assert(parse_args(&c,
                         "--maxmemory|10mb|--proto-max-bulk-len|2m|--client-query-buffer-limit|1GB|"
                         "--io|epoll|--shard-borrow|no|--tcp-backlog|9|--save|--appendonly|no",
                         &e));
    cr_assert(c.maxmemory_bytes == 10 << 20 && c.bulk_bytes_max == 2000000);
    cr_assert(c.query_bytes_max == 1 << 30 && c.io == CONFIG_IO_EPOLL && !c.shard_borrow);
    cr_assert_eq(c.tcp_backlog, 9);
    cr_assert_eq(c.maxmemory_policy, CONFIG_NOEVICTION);
}

Test(config, clone_is_a_copy) {
    struct config c;

    config_defaults(&c);
    struct config *copy = config_clone(&c);
    cr_assert_not_null(copy);
    cr_assert_eq(memcmp(copy, &c, sizeof(c)), 0);
    copy->port = 1;
    cr_assert_eq(c.port, 6379);
    config_free(copy);
    config_free(NULL);
}

/* --- inv1: bounds --- */

Test(config, inv1_bounds_hold_on_both_sides) {
    static const struct {
        const char *name, *below, *low, *high, *above;
    } cases[] = {
        {"port", "-1", "0", "65535", "65536"},
        {"tcp-backlog", "-1", "0", "2147483647", "2147483648"},
        {"unixsocketperm", "-1", "0", "777", "1000"},
        {"timeout", "-1", "0", "2147483647", "2147483648"},
        {"tcp-keepalive", "-1", "0", "2147483647", "2147483648"},
        {"maxclients", "0", "1", "4294967295", "4294967296"},
        {"databases", "0", "1", "65536", "65537"},
        {"active-expire-effort", "0", "1", "10", "11"},
        {"shards", "-1", "0", "256", "257"},
        {"proto-max-bulk-len", "1048575", "1mb", "9223372036854775807", "9223372036854775808"},
        {"client-query-buffer-limit", "1023kb", "1024kb", "8589934591gb", "8589934592gb"},
        {"maxmemory", "-1", "0", "9223372036854775807", "9223372036854775807k"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *values[] = {cases[i].below, cases[i].low, cases[i].high, cases[i].above};
        for (int k = 0; k < 4; k++) {
            struct config c;
            struct config_error e;
            char line[128];
            (void)snprintf(line, sizeof(line), "--%s|%s", cases[i].name, values[k]);
            cr_assert_eq(parse_args(&c, line, &e), k == 1 || k == 2, "%s", line);
        }
    }
}

Test(config, inv1_texts_are_bounded) {
    static char line[4096];
    struct config c;
    struct config_error e;

    for (size_t len = CONFIG_TEXT_MAX; len <= CONFIG_TEXT_MAX + 1; len++) {
        int at = snprintf(line, sizeof(line), "--pidfile|");
        memset(line + at, 'x', len);
        line[(size_t)at + len] = '\0';
        cr_assert_eq(parse_args(&c, line, &e), len == CONFIG_TEXT_MAX);
    }
    for (size_t len = CONFIG_SOCKET_PATH_MAX; len <= CONFIG_SOCKET_PATH_MAX + 1; len++) {
        int at = snprintf(line, sizeof(line), "--unixsocket|");
        memset(line + at, 'x', len);
        line[(size_t)at + len] = '\0';
        cr_assert_eq(parse_args(&c, line, &e), len == CONFIG_SOCKET_PATH_MAX);
    }
}

Test(config, memory_units) {
    static const struct {
        const char *text;
        int64_t bytes;
    } good[] = {{"0", 0},           {"", 0},          {"1048576", 1048576},
                {"5b", 5},          {"5k", 5000},     {"5KB", 5120},
                {"5m", 5000000},    {"5Mb", 5242880}, {"5g", 5000000000},
                {"5gb", 5368709120}};
    static const char *const bad[] = {"1.5gb", "gb1", "5kk", "-1", "0x10", "5 mb", "5tb", "5%"};
    struct config c;
    struct config_error e;
    char line[64];

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        (void)snprintf(line, sizeof(line), "maxmemory \"%s\"\n", good[i].text);
        cr_assert(parse_text(&c, line, &e), "%s", line);
        cr_assert_eq(c.maxmemory_bytes, good[i].bytes, "%s", line);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        (void)snprintf(line, sizeof(line), "maxmemory \"%s\"\n", bad[i]);
        cr_assert_not(parse_text(&c, line, &e), "%s", line);
    }
}

Test(config, output_limits_merge) {
    struct config c;
    struct config_error e;

    cr_assert(parse_text(&c,
                         "client-output-buffer-limit normal 1mb 2mb 3\n"
                         "client-output-buffer-limit Replica 4 5 6 pubsub 7 8 9\n",
                         &e));
    expect_value(&c, "client-output-buffer-limit",
                 "normal 1048576 2097152 3 slave 4 5 6 pubsub 7 8 9");
    cr_assert_eq(c.output_limit[CONFIG_CLASS_PUBSUB].soft_s, 9);
    cr_assert(parse_text(&c, "client-output-buffer-limit pubsub 1 1 1", &e));
    expect_value(&c, "client-output-buffer-limit",
                 "normal 0 0 0 slave 268435456 67108864 60 pubsub 1 1 1");
}

Test(config, cpus_are_listed_and_repeated) {
    static const struct {
        const char *text;
        int cpus[6];
    } cases[] = {{"0", {0, 0, 0, 0, 0, 0}},
                 {"0,1", {0, 1, 0, 1, 0, 1}},
                 {"2-4", {2, 3, 4, 2, 3, 4}},
                 {"7,0-1,1023", {7, 0, 1, 1023, 7, 0}},
                 {"0-100", {0, 1, 2, 3, 4, 5}}};
    static const char *const bad[] = {",",    "1,",           "a",  "3-1", "1-", "-1",
                                      "1024", "0-9999999999", "1 2"};
    struct config c;
    struct config_error e;
    int cpus[6];

    config_defaults(&c);
    cr_assert_not(config_cpus(&c, cpus, 6));
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "--shard-cpus|%s", cases[i].text);
        cr_assert(parse_args(&c, line, &e));
        cr_assert(config_cpus(&c, cpus, 6));
        cr_assert_arr_eq(cpus, cases[i].cpus, sizeof(cpus));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char line[64];
        (void)snprintf(line, sizeof(line), "--shard-cpus|%s", bad[i]);
        cr_assert_not(parse_args(&c, line, &e), "%s", line);
    }
}

/* --- inv4: errors --- */

Test(config, inv4_errors_of_the_command_line) {
    expect_args_error("--port|abc", "--port 'abc': a number from 0 to 65535");
    expect_args_error("--port|70000", "--port '70000': a number from 0 to 65535");
    expect_args_error("--port", "--port: takes one value, a number from 0 to 65535");
    expect_args_error("--port|1|2", "--port '1 2': takes one value, a number from 0 to 65535");
    expect_args_error("--foo|bar", "--foo 'bar': no such option");
    expect_args_error("--foo", "--foo: no such option");
    expect_args_error("--", "--: the name of an option is missing");
    expect_args_error("--daemonize|maybe", "--daemonize 'maybe': yes or no");
    expect_args_error("--io|kqueue", "--io 'kqueue': one of auto, uring, epoll");
    expect_args_error(
        "--maxmemory|lots",
        "--maxmemory 'lots': a number of bytes such as 64000, 100mb or 2gb, at least 0");
    expect_args_error("--unixsocketperm|999",
                      "--unixsocketperm '999': an octal number from 0 to 777");
    expect_args_error("--shard-cpus|x",
                      "--shard-cpus 'x': numbers of CPUs from 0 to 1023, such as 0,2 or 0-3");
    expect_args_error(
        "--maxmemory-policy|lru",
        "--maxmemory-policy 'lru': one of volatile-lru, volatile-lfu, volatile-random, "
        "volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, noeviction, "
        "volatile-lrm, allkeys-lrm, volatile-s3fifo, allkeys-s3fifo");
    expect_args_error("--appendonly|yes", "--appendonly 'yes': only 'no' can be had so far");
    expect_args_error("--save|3600",
                      "--save '3600': pairs of seconds and changes, such as 3600 1 300 100");
    expect_args_error("--notify-keyspace-events|KQ",
                      "--notify-keyspace-events 'KQ': characters out of Ag$lshzxeKEtmdn");
    expect_args_error("--oom-score-adj-values|1|2|2001",
                      "--oom-score-adj-values '1 2 2001': three numbers from -2000 to 2000");
    expect_args_error(
        "--client-output-buffer-limit|normal|1",
        "--client-output-buffer-limit 'normal 1': normal, replica or pubsub, then a hard "
        "limit and a soft limit in bytes (such as 32mb) and seconds");
    expect_args_error("--port|a\nb", "--port 'a?b': a number from 0 to 65535");
    expect_args_error("--port|1|--|x", "--: the name of an option is missing");
    expect_args_error("--port \"1", "a quote is not closed, or text follows a closing quote");
    expect_args_error("/nonexistent.conf", "/nonexistent.conf: No such file or directory");
}

Test(config, inv4_errors_of_a_file_say_where) {
    expect_text_error("\n# comment\nport abc\n", "t.conf:3: port 'abc': a number from 0 to 65535");
    expect_text_error("port 1\nnonsense 1 2\n", "t.conf:2: nonsense '1 2': no such option");
    expect_text_error("port", "t.conf:1: port: takes one value, a number from 0 to 65535");
    expect_text_error("port \"1\n",
                      "t.conf:1: a quote is not closed, or text follows a closing quote");
    expect_text_error("include x.conf",
                      "t.conf:1: include 'x.conf': only a file can include another");
    expect_text_error("pidfile \"a\\x00b\"", "t.conf:1: pidfile 'a?b': a text without zero bytes");
}

Test(config, inv4_errors_are_one_line_and_bounded) {
    static char text[8000];
    struct config c;
    struct config_error e;

    memset(text, 'x', sizeof(text));
    memcpy(text, "port ", 5);
    cr_assert_not(config_parse_text(&c, "t.conf", (struct span){text, sizeof(text)}, &e));
    cr_assert_lt(strlen(e.text), sizeof(e.text));
    cr_assert_not_null(strstr(e.text, "': a number from 0 to 65535"));
    memset(text, 'y', sizeof(text));
    cr_assert_not(config_parse_text(&c, "t.conf", (struct span){text, sizeof(text)}, &e));
    cr_assert_not_null(strstr(e.text, ": no such option"));
}

Test(config, errors_do_not_repeat_a_password) {
    static char line[4096] = "--requirepass|secret";
    struct config c;
    struct config_error e;

    memset(line + strlen(line), 'x', CONFIG_TEXT_MAX);
    cr_assert_not(parse_args(&c, line, &e));
    cr_assert_null(strstr(e.text, "secret"));
    cr_assert_str_eq(e.text, "--requirepass '***': a text of at most 1024 bytes");
}

Test(config, a_binary_file_is_refused) {
    struct config c;
    struct config_error e;

    config_defaults(&c);
    cr_assert_not(config_parse_text(&c, "t", SPAN("port 1\nti\0meout 1\n"), &e));
    cr_assert_str_eq(e.text, "t:2: a zero byte; this is not a configuration file");
}

/* --- grammar --- */

Test(config, file_grammar) {
    struct config c;
    struct config_error e;

    cr_assert(parse_text(&c,
                         "  # a comment, then blanks\r\n"
                         "\t\r\n"
                         "  PORT   7000\t\r\n"
                         "requirepass \"a b\\x41\\\"\"\r\n"
                         "logfile ''\n"
                         "port 7001\n"
                         "timeout 5",
                         &e),
              "%s", e.text);
    cr_assert_eq(c.port, 7001);
    cr_assert_str_eq(c.requirepass, "a bA\"");
    cr_assert_str_eq(c.logfile, "");
    cr_assert_eq(c.timeout_s, 5);
}

Test(config, command_line_grammar) {
    struct config c;
    struct config_error e;

    cr_assert(parse_args(&c, "", &e));
    cr_assert(parse_args(&c, "--port 7000|--timeout|9", &e));
    cr_assert(c.port == 7000 && c.timeout_s == 9);
    cr_assert(parse_args(&c, "--save|", &e));
    cr_assert(parse_args(&c, "--save", &e));
    cr_assert(parse_args(&c, "--requirepass|a \"b|--bind|x|y|z", &e));
    cr_assert_str_eq(c.requirepass, "a \"b");
    cr_assert_str_eq(c.bind, "x y z");
}

static char dir[64];

static void write_file(const char *name, const char *text) {
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    cr_assert_geq(fputs(text, f), 0);
    cr_assert_eq(fclose(f), 0);
}

static void make_dir(void) {
    (void)snprintf(dir, sizeof(dir), "/tmp/anax_config_test.XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(chdir(dir), 0);
}

static void remove_dir(const char *const *names) {
    for (; *names != NULL; names++)
        (void)unlink(*names);
    (void)rmdir(dir);
}

Test(config, files_include_files) {
    char path[128];
    struct config c;
    struct config_error e = {""};

    make_dir();
    write_file("a.conf", "port 1\ninclude b.conf\ninclude inc-*.conf\ninclude none-*.conf\n");
    write_file("b.conf", "timeout 2\nport 3\n");
    write_file("inc-1.conf", "databases 4\nhz 5\n");
    write_file("inc-2.conf", "hz 6\n");
    cr_assert(parse_args(&c, "a.conf|--timeout|7", &e), "%s", e.text);
    (void)snprintf(path, sizeof(path), "%s/a.conf", dir);
    cr_assert_str_eq(c.file, path);
    cr_assert(c.port == 3 && c.timeout_s == 7 && c.databases == 4 && c.hz == 6);
    write_file("b.conf", "\nport x\n");
    cr_assert_not(parse_args(&c, "a.conf", &e));
    cr_assert_str_eq(e.text, "b.conf:2: port 'x': a number from 0 to 65535");
    write_file("b.conf", "include missing.conf\n");
    cr_assert_not(parse_args(&c, "a.conf", &e));
    cr_assert_str_eq(e.text, "b.conf:1: missing.conf: No such file or directory");
    cr_assert(parse_args(&c, "--include|inc-1.conf", &e));
    cr_assert_eq(c.databases, 4);
    remove_dir((const char *const[]){"a.conf", "b.conf", "inc-1.conf", "inc-2.conf", NULL});
}

Test(config, files_that_include_one_another_end, .timeout = 20) {
    struct config c;
    struct config_error e = {""};

    make_dir();
    write_file("a.conf", "include *.conf\n");
    write_file("b.conf", "include *.conf\n");
    cr_assert_not(parse_args(&c, "a.conf", &e));
    cr_assert_str_eq(e.text, "a.conf:1: too many files include one another");
    remove_dir((const char *const[]){"a.conf", "b.conf", NULL});
}

Test(config, files_included_too_deep) {
    enum { CHAIN = CONFIG_INCLUDE_DEPTH_MAX + 1 };
    static char names[CHAIN + 1][32];
    const char *list[CHAIN + 1] = {NULL};
    struct config c;
    struct config_error e = {""};

    make_dir();
    for (int i = 0; i < CHAIN; i++) {
        char text[64];
        (void)snprintf(names[i], sizeof(names[i]), "%d.conf", i);
        if (i + 1 < CHAIN)
            (void)snprintf(text, sizeof(text), "include %d.conf\n", i + 1);
        else
            (void)strcpy(text, "port 5\n");
        write_file(names[i], text);
        list[i] = names[i];
    }
    cr_assert(parse_args(&c, "1.conf", &e), "%s", e.text);
    cr_assert_eq(c.port, 5);
    cr_assert_not(parse_args(&c, "0.conf", &e));
    cr_assert_str_eq(e.text, "15.conf:1: too many files include one another");
    remove_dir(list);
}

Test(config, files_included_too_many) {
    static char text[CONFIG_FILES_MAX * 20];
    struct config c;
    struct config_error e = {""};
    size_t len = 0;

    make_dir();
    write_file("b.conf", "port 5\n");
    for (int i = 1; i < CONFIG_FILES_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "include b.conf\n");
    write_file("a.conf", text);
    cr_assert(parse_args(&c, "a.conf", &e), "%s", e.text);
    (void)snprintf(text + len, sizeof(text) - len, "include b.conf\n");
    write_file("a.conf", text);
    cr_assert_not(parse_args(&c, "a.conf", &e));
    cr_assert_str_eq(e.text, "a.conf:256: too many files include one another");
    remove_dir((const char *const[]){"a.conf", "b.conf", NULL});
}

Test(config, a_huge_file_is_refused) {
    static char text[CONFIG_FILE_BYTES_MAX + 2];
    struct config c;
    struct config_error e = {""};

    make_dir();
    memset(text, '\n', sizeof(text) - 1);
    write_file("a.conf", text);
    cr_assert_not(parse_args(&c, "a.conf", &e));
    cr_assert_str_eq(e.text, "a.conf: larger than 1 MB; this is not a configuration file");
    text[sizeof(text) - 2] = '\0';
    write_file("a.conf", text);
    cr_assert(parse_args(&c, "a.conf", &e));
    remove_dir((const char *const[]){"a.conf", NULL});
}

Test(config, standard_input_is_a_file) {
    struct config c;
    struct config_error e = {""};

    make_dir();
    write_file("in", "port 12\ntimeout 3\n");
    cr_assert_not_null(freopen("in", "r", stdin));
    cr_assert(parse_args(&c, "-|--timeout|4", &e), "%s", e.text);
    cr_assert(c.port == 12 && c.timeout_s == 4);
    write_file("in", "port y\n");
    cr_assert_not_null(freopen("in", "r", stdin));
    cr_assert_not(parse_args(&c, "-", &e));
    cr_assert_str_eq(e.text, "standard input:1: port 'y': a number from 0 to 65535");
    remove_dir((const char *const[]){"in", NULL});
}

/* --- CONFIG GET and SET --- */

Test(config, get_matches_patterns_once) {
    struct config c;
    struct value v = {.count = 0};
    const struct span patterns[] = {SPAN("max*"), SPAN("MAXMEMORY*"), SPAN("nothing")};

    config_defaults(&c);
    config_get(&c, patterns, COUNT_OF(patterns), keep_value, &v);
    /* maxclients, maxmemory, and -policy, -clients, -samples, -eviction-tenacity of it */
    cr_assert_eq(v.count, 6);
    v.count = 0;
    config_get(&c, &(struct span){"TimeOut", 7}, 1, keep_value, &v);
    cr_assert_eq(v.count, 1);
    cr_assert_str_eq(v.name, "TimeOut");
    v.count = 0;
    config_get(&c, patterns, 0, keep_value, &v);
    cr_assert_eq(v.count, 0);
}

static bool set(struct config *c, const char *words[], unsigned pairs, struct config_error *e) {
    struct span spans[ARGS_MAX];
    struct config to;

    for (unsigned i = 0; i < pairs * 2; i++)
        spans[i] = (struct span){words[i], strlen(words[i])};
    if (!config_set_many(c, spans, pairs, true, &to, e))
        return false;
    *c = to;
    return true;
}

/* Sent to redis-server 7.0.15, whose texts these are, but for what only we refuse. */
Test(config, set_errors_are_redis_s) {
#define FAILED(name, why) "CONFIG SET failed (possibly related to argument '" name "') - " why
    static const char *const cases[][3] = {
        {"foo", "bar", "Unknown option or number of arguments for CONFIG SET - 'foo'"},
        {"timeout", "abc", FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout", "", FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout", " 1", FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"timeout", "010", FAILED("timeout", "argument couldn't be parsed into an integer")},
        {"TimeOut", "-1", FAILED("timeout", "argument must be between 0 and 2147483647 inclusive")},
        {"maxclients", "0",
         FAILED("maxclients", "argument must be between 1 and 4294967295 inclusive")},
        {"port", "1", FAILED("port", "can't set immutable config")},
        {"appendonly", "maybe", FAILED("appendonly", "argument must be 'yes' or 'no'")},
        {"loglevel", "foo",
         FAILED("loglevel", "argument(s) must be one of the following: debug, verbose, notice, "
                            "warning, nothing")},
        {"maxmemory-policy", "foo",
         FAILED("maxmemory-policy",
                "argument(s) must be one of the following: volatile-lru, volatile-lfu, "
                "volatile-random, volatile-ttl, allkeys-lru, allkeys-lfu, allkeys-random, "
                "noeviction, volatile-lrm, allkeys-lrm, volatile-s3fifo, allkeys-s3fifo")},
        {"maxmemory", "foo", FAILED("maxmemory", "argument must be a memory value")},
        {"proto-max-bulk-len", "5",
         FAILED("proto-max-bulk-len",
                "argument must be between 1048576 and 9223372036854775807 inclusive")},
        {"client-output-buffer-limit", "foo 1 1 1",
         FAILED("client-output-buffer-limit",
                "Invalid client class specified in buffer limit configuration.")},
        {"client-output-buffer-limit", "normal 1 1",
         FAILED("client-output-buffer-limit",
                "Wrong number of arguments in buffer limit configuration.")},
        {"client-output-buffer-limit", "normal 1 1 1  pubsub 1 1 1",
         FAILED("client-output-buffer-limit",
                "Wrong number of arguments in buffer limit configuration.")},
        {"client-output-buffer-limit", "normal a 1 1",
         FAILED("client-output-buffer-limit",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.")},
        {"client-output-buffer-limit", "normal 1 1 -1",
         FAILED("client-output-buffer-limit",
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.")},
        {"appendonly", "yes", FAILED("appendonly", "only 'no' can be had so far")},
        {"client-output-buffer-limit", "normal 1 1 1 ",
         FAILED("client-output-buffer-limit",
                "Wrong number of arguments in buffer limit configuration.")},
        {"save", "3600 1 ", FAILED("save", "Invalid save parameters")},
        {"save", "0 1", FAILED("save", "Invalid save parameters")},
        {"notify-keyspace-events", "KEA",
         FAILED("notify-keyspace-events", "only '' can be had so far")},
        {"notify-keyspace-events", "Q",
         FAILED("notify-keyspace-events", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")},
        {"oom-score-adj-values", "0 200",
         FAILED("oom-score-adj-values", "wrong number of arguments")},
        {"oom-score-adj-values", "0 200 -2001",
         FAILED("oom-score-adj-values",
                "Invalid oom-score-adj-values, elements must be between -2000 and 2000.")},
        {"dir", "/tmp", FAILED("dir", "can't set protected config")},
        {"latency-tracking-info-percentiles", "50 x",
         FAILED("latency-tracking-info-percentiles",
                "Invalid latency-tracking-info-percentiles parameters")},
        {"latency-tracking-info-percentiles", "50 100.1",
         FAILED("latency-tracking-info-percentiles",
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]")},
    };
    struct config c, before;

    config_defaults(&c);
    before = c;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *words[] = {cases[i][0], cases[i][1]};
        struct config_error e = {""};
        cr_assert_not(set(&c, words, 1, &e), "%s %s", words[0], words[1]);
        cr_assert_str_eq(e.text, cases[i][2]);
    }
    cr_assert_eq(memcmp(&c, &before, sizeof(c)), 0);
}

Test(config, set_names_the_first_that_is_wrong) {
    struct config c;
    struct config_error e;
    const char *twice[] = {"timeout", "1", "tcp-keepalive", "2", "timeouT", "2"};
    const char *unknown_second[] = {"timeout", "1", "foo", "2"};
    const char *immutable_first[] = {"tcp-backlog", "1", "foo", "2"};

    config_defaults(&c);
    cr_assert_not(set(&c, twice, 3, &e));
    cr_assert_str_eq(e.text, FAILED("timeouT", "duplicate parameter"));
    cr_assert_not(set(&c, unknown_second, 2, &e));
    cr_assert_str_eq(e.text, "Unknown option or number of arguments for CONFIG SET - 'foo'");
    cr_assert_not(set(&c, immutable_first, 2, &e));
    cr_assert_str_eq(e.text, FAILED("tcp-backlog", "can't set immutable config"));
}

Test(config, inv3_set_is_all_or_nothing) {
    struct config c;
    struct config_error e;
    const char *bad[] = {"timeout", "7", "tcp-keepalive", "x"};
    const char *good[] = {"timeout", "7", "tcp-keepalive", "8"};

    config_defaults(&c);
    cr_assert_not(set(&c, bad, 2, &e));
    cr_assert(c.timeout_s == 0 && c.tcp_keepalive_s == 300);
    cr_assert(set(&c, good, 2, &e));
    cr_assert(c.timeout_s == 7 && c.tcp_keepalive_s == 8);
}

/* Reads every option and sets it to what was read. */
struct round_trip {
    struct config *c;
    unsigned set, immutable;
};

static void set_what_was_read(void *arg, struct span name, struct span value) {
    struct round_trip *t = arg;
    struct span words[] = {name, value};
    struct config to;
    struct config_error e;

    if (config_set_many(t->c, words, 1, true, &to, &e)) {
        cr_assert_eq(memcmp(&to, t->c, sizeof(to)), 0, "%s changed", name.ptr);
        t->set++;
    } else {
        cr_assert(strstr(e.text, "can't set immutable config") != NULL ||
                      strstr(e.text, "can't set protected config") != NULL,
                  "%s", e.text);
        t->immutable++;
    }
}

Test(config, lines_of_save_add_up) {
    struct config c;
    struct config_error e;
    const char *again[] = {"save", "1 2 3 4"}, *none[] = {"save", ""};

    cr_assert(parse_text(&c, "save 900 1\nsave 300 10 60 5\n", &e));
    expect_value(&c, "save", "900 1 300 10 60 5");
    cr_assert(parse_text(&c, "save 900 1\nsave \"\"\nsave 7 0\n", &e));
    expect_value(&c, "save", "7 0");
    cr_assert(set(&c, again, 1, &e));
    expect_value(&c, "save", "1 2 3 4");
    cr_assert(set(&c, none, 1, &e));
    expect_value(&c, "save", "");
}

Test(config, names_of_files_are_protected) {
    struct config c;
    struct config_error e;
    const char *tmp[] = {"dir", "/usr/../tmp"}, *nowhere[] = {"dir", "/nonexistent"};
    const char *name[] = {"dbfilename", "x.rdb"}, *path[] = {"dbfilename", "a/b"};

    cr_assert(parse_text(&c, "enable-protected-configs local\n", &e));
    cr_assert(set(&c, tmp, 1, &e));
    expect_value(&c, "dir", "/tmp");
    cr_assert(set(&c, name, 1, &e));
    expect_value(&c, "dbfilename", "x.rdb");
    cr_assert_not(set(&c, path, 1, &e));
    cr_assert_str_eq(e.text, FAILED("dbfilename", "dbfilename can't be a path, just a filename"));
    cr_assert_not(set(&c, nowhere, 1, &e));
    cr_assert_str_eq(e.text, FAILED("dir", "No such file or directory"));
    cr_assert_not(parse_text(&c, "dir /nonexistent\n", &e));
    struct config to;
    const struct span far[] = {SPAN("dir"), SPAN("/tmp")};
    cr_assert(parse_text(&c, "enable-protected-configs local\n", &e));
    cr_assert_not(config_set_many(&c, far, 1, false, &to, &e));
    cr_assert_str_eq(e.text, FAILED("dir", "can't set protected config"));
}

Test(config, inv2_what_get_gives_set_takes) {
    struct config c;
    struct config_error e;
    struct span star = SPAN("*");

    cr_assert(parse_text(&c,
                         "maxmemory 3gb\nclient-output-buffer-limit normal 1mb 2mb 3\n"
                         "requirepass \"a b\"\nloglevel warning\nhz 20\n",
                         &e));
    struct round_trip t = {.c = &c};
    config_get(&c, &star, 1, set_what_was_read, &t);
    cr_assert_eq(t.set + t.immutable, COUNT_OF(config_expected));
    cr_assert_gt(t.set, t.immutable);
}

Test(config, an_alias_is_the_same_option) {
    struct config c;
    struct config_error e;
    const char *one[] = {"commandlog-execution-slower-than", "7"};
    const char *both[] = {"slowlog-max-len", "1", "commandlog-slow-execution-max-len", "2"};

    config_defaults(&c);
    cr_assert(set(&c, one, 1, &e));
    expect_value(&c, "slowlog-log-slower-than", "7");
    expect_value(&c, "commandlog-execution-slower-than", "7");
    cr_assert_not(set(&c, both, 2, &e));
    cr_assert_str_eq(e.text, FAILED("commandlog-slow-execution-max-len", "duplicate parameter"));
}

Test(config, percentiles_are_kept_short) {
    static const char *const cases[][2] = {
        {"50 99.90  0.001", "50 99.9 0.001"}, {"", ""}, {"0 100", "0 100"}};
    struct config c;
    struct config_error e;

    config_defaults(&c);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *words[] = {"latency-tracking-info-percentiles", cases[i][0]};
        cr_assert(set(&c, words, 1, &e), "%s", e.text);
        expect_value(&c, words[0], cases[i][1]);
    }
    cr_assert(parse_text(&c, "latency-tracking-info-percentiles 1 2.50\n", &e), "%s", e.text);
    expect_value(&c, "latency-tracking-info-percentiles", "1 2.5");
}

Test(config, set_takes_an_empty_limit_as_no_change) {
    struct config c;
    struct config_error e;
    const char *words[] = {"client-output-buffer-limit", ""};

    config_defaults(&c);
    cr_assert(set(&c, words, 1, &e));
    expect_value(&c, "client-output-buffer-limit",
                 "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60");
}

Test(config, set_refuses_zero_bytes_in_texts) {
    struct config c, to;
    struct config_error e;
    struct span words[] = {SPAN("requirepass"), SPAN("a\0b")};

    config_defaults(&c);
    cr_assert_not(config_set_many(&c, words, 1, true, &to, &e));
    cr_assert_str_eq(e.text, FAILED("requirepass", "argument must not contain zero bytes"));
}
