/* observe_test.c: what is noted about commands (anax/observe.h). */
#include "anax/admin.h"
#include "command_fixture.h"
#include "shards/clock.h"

enum { SHARDS = 3 };

static int64_t wall_us;
static uint64_t mono_ns;

static int64_t fake_wall(void) {
    return wall_us;
}

static uint64_t fake_mono(void) {
    return mono_ns;
}

/* Shards, each with an instance of its own. */
struct world {
    struct server server;
    struct config config;
    struct instance *in[SHARDS];
    void *before[SHARDS]; /* the fixture's instances */
    struct shard *at[SHARDS];
    int64_t used_before[SHARDS];
};

static struct world w;

static void setup(void) {
    clock_replace(fake_mono, fake_wall);
    wall_us = 1700000000000000;
    server_start(&w.server, SHARDS);
    if (command_find(SPAN("DEBUG")) == NULL)
        admin_register();
    config_defaults(&w.config);
    for (unsigned i = 0; i < SHARDS; i++) {
        w.at[i] = shards_get(w.server.all, i);
        w.in[i] = calloc(1, sizeof *w.in[i]);
        w.in[i]->config = &w.config;
        w.before[i] = w.at[i]->app;
        w.at[i]->app = w.in[i];
        observe_start(w.in[i]);
        w.used_before[i] = w.at[i]->mem.used_bytes;
    }
}

/* teardown: every note has been given back. */
static void teardown(void) {
    for (unsigned i = 0; i < SHARDS; i++) {
        observe_stop(w.in[i], &w.at[i]->mem);
        cr_assert_eq(w.at[i]->mem.used_bytes, w.used_before[i]);
        free(w.in[i]);
        w.at[i]->app = w.before[i];
    }
    server_stop(&w.server);
    clock_replace(NULL, NULL);
}

TestSuite(observe, .init = setup, .fini = teardown);

static const struct command *row(const char *name) {
    const struct command *cmd = command_find((struct span){name, strlen(name)});
    cr_assert_not_null(cmd);
    return cmd;
}

/* --- times --- */

Test(observe, every_time_lies_between_the_floors_of_its_bucket_and_the_next) {
    for (unsigned bit = 0; bit < 44; bit++) {
        for (int64_t off = -3; off <= 3; off++) {
            uint64_t ns = (1ULL << bit) + (uint64_t)off;
            if (ns >> 44 != 0)
                continue;
            unsigned b = histogram_bucket(ns);
            cr_assert_lt(b, HISTOGRAM_BUCKETS);
            cr_assert_leq(histogram_floor(b), ns, "%lu", ns);
            if (b + 1 < HISTOGRAM_BUCKETS)
                cr_assert_gt(histogram_floor(b + 1), ns, "%lu", ns);
        }
    }
}

Test(observe, buckets_are_an_eighth_of_their_floor_wide_at_most) {
    for (unsigned b = 0; b + 1 < HISTOGRAM_BUCKETS; b++) {
        uint64_t floor = histogram_floor(b), next = histogram_floor(b + 1);
        cr_assert_eq(histogram_bucket(floor), b);
        cr_assert_lt(floor, next);
        cr_assert_leq(next - floor, floor < 16 ? 1 : floor / 8);
    }
}

Test(observe, what_is_too_long_is_in_the_last_bucket) {
    cr_assert_eq(histogram_bucket(1ULL << 44), HISTOGRAM_BUCKETS - 1);
    cr_assert_eq(histogram_bucket(UINT64_MAX), HISTOGRAM_BUCKETS - 1);
}

Test(observe, each_call_of_a_run_counts_for_its_share) {
    shard_claim();
    const struct command *get = row("GET");
    observe_calls(w.at[0], get, 1, 500);
    observe_calls(w.at[0], get, 10, 1000);
    const struct command_stats *s = &w.in[0]->commands[get->id];
    cr_assert_eq(s->calls, 11);
    cr_assert_eq(s->ns, 1500);
    cr_assert_eq(s->times->buckets[histogram_bucket(500)], 1);
    cr_assert_eq(s->times->buckets[histogram_bucket(100)], 10);
    cr_assert_eq(w.in[1]->commands[get->id].calls, 0);
}

Test(observe, latency_tracking_off_keeps_no_times) {
    shard_claim();
    const struct command *get = row("GET");
    w.config.latency_tracking = false;
    observe_calls(w.at[0], get, 1, 500);
    cr_assert_eq(w.in[0]->commands[get->id].calls, 1);
    cr_assert_null(w.in[0]->commands[get->id].times);
}

Test(observe, reset_stats_forgets_counts_but_neither_slow_commands_nor_events) {
    shard_claim();
    const struct command *get = row("GET");
    const struct span argv[] = {SPAN("get"), SPAN("k")};
    w.config.latency_ms = 1;
    observe_calls(w.at[0], get, 1, 5000000);
    observe_error(w.at[0], get, false, SPAN("ERR x"));
    observe_slow(w.at[0], SLOW_TIME, 5000, get, argv, 2, SPAN("c"), SPAN(""));
    observe_reset_stats(w.in[0], &w.at[0]->mem);
    const struct command_stats *s = &w.in[0]->commands[get->id];
    cr_assert(s->calls == 0 && s->ns == 0 && s->failed == 0 && s->times == NULL);
    cr_assert_eq(w.in[0]->observed.total_errors, 0);
    cr_assert_eq(w.in[0]->observed.error_codes, 0);
    cr_assert_eq(w.in[0]->observed.slow[SLOW_TIME].count, 1);
    cr_assert_eq(w.in[0]->observed.latency[LATENCY_FAST_COMMAND].count, 1);
    observe_calls(w.at[0], get, 1, 7);
    cr_assert_eq(s->times->buckets[7], 1);
}

/* --- errors --- */

static uint64_t count_of(const char *code) {
    const struct observed *o = &w.in[0]->observed;
    for (unsigned i = 0; i < o->error_codes; i++)
        if (strcmp(o->errors[i].code, code) == 0)
            return o->errors[i].count;
    return 0;
}

static void error_text(const char *text) {
    shard_claim();
    observe_error(w.at[0], NULL, false, (struct span){text, strlen(text)});
}

Test(observe, an_error_counts_by_its_first_word) {
    error_text("ERR no such key\r\n");
    error_text("ERR other");
    error_text("WRONGTYPE Operation\r\n");
    cr_assert_eq(count_of("ERR"), 2);
    cr_assert_eq(count_of("WRONGTYPE"), 1);
}

Test(observe, an_error_without_a_sound_code_counts_as_one_of_ERR_or_has_it_made_sound) {
    error_text("NOSPACE\r\n");
    error_text("");
    error_text(" x");
    error_text("abcdefghijklmnopqrstuvwxyzabcdefg h"); /* 33 bytes */
    cr_assert_eq(count_of("ERR"), 4);
    error_text("abcdefghijklmnopqrstuvwxyzabcde f"); /* 31 */
    cr_assert_eq(count_of("abcdefghijklmnopqrstuvwxyzabcde"), 1);
    error_text("A:B=1,c\n# x");
    cr_assert_eq(count_of("A_B_1_c__"), 1);
}

Test(observe, an_error_is_noted_for_its_command_as_failed_or_rejected) {
    shard_claim();
    const struct command *get = row("GET");
    observe_error(w.at[0], get, false, SPAN("ERR x"));
    observe_error(w.at[0], get, true, SPAN("ERR x"));
    observe_error(w.at[0], get, true, SPAN("ERR x"));
    cr_assert_eq(w.in[0]->commands[get->id].failed, 1);
    cr_assert_eq(w.in[0]->commands[get->id].rejected, 2);
}

Test(observe, inv1_total_errors_is_the_sum_of_all_codes) {
    char text[32];
    uint64_t sum = 0;
    for (int i = 0; i < 2 * ERROR_CODES_MAX; i++) {
        snprintf(text, sizeof text, "CODE%d x", i);
        error_text(text);
        error_text("CODE0 again");
    }
    const struct observed *o = &w.in[0]->observed;
    cr_assert_eq(o->error_codes, ERROR_CODES_MAX);
    for (unsigned i = 0; i < o->error_codes; i++)
        sum += o->errors[i].count;
    cr_assert_eq(o->total_errors, 4 * ERROR_CODES_MAX);
    cr_assert_eq(sum, o->total_errors);
    cr_assert_eq(count_of("CODE0"), 2 * ERROR_CODES_MAX + 1);
    cr_assert_eq(count_of("CODE126"), 1);
    cr_assert_eq(count_of("CODE127"), 0);
    cr_assert_eq(count_of(ERROR_CODE_REST), ERROR_CODES_MAX + 1);
}

/* --- slow commands --- */

static struct slow *newest(unsigned shard, enum slow_kind kind) {
    struct list *entries = &w.in[shard]->observed.slow[kind].entries;
    cr_assert(!list_empty(entries));
    return CONTAINER_OF(entries->next, struct slow, link);
}

static void log_slow(unsigned shard, int64_t value) {
    const struct span argv[] = {SPAN("get"), SPAN("key")};
    shard_claim();
    observe_slow(w.at[shard], SLOW_TIME, value, row("GET"), argv, 2, SPAN("1.2.3.4:5"), SPAN("me"));
}

static void expect_arg(const struct slow *e, uint32_t i, const char *text) {
    cr_assert_lt(i, e->argc);
    cr_assert(span_eq(e->args[i], (struct span){text, strlen(text)}), "%.*s", (int)e->args[i].len,
              e->args[i].ptr);
}

Test(observe, a_slow_command_is_copied) {
    wall_us = 1234567;
    log_slow(0, 99);
    const struct slow *e = newest(0, SLOW_TIME);
    cr_assert_eq(e->value, 99);
    cr_assert_eq(e->wall_us, 1234567);
    cr_assert_eq(e->argc, 2);
    expect_arg(e, 0, "get");
    expect_arg(e, 1, "key");
    cr_assert(span_eq(e->client, SPAN("1.2.3.4:5")));
    cr_assert(span_eq(e->name, SPAN("me")));
}

Test(observe, inv2_ids_grow_on_each_shard_and_differ_between_shards) {
    bool seen[SHARDS * 10] = {false};
    for (unsigned i = 0; i < 10; i++) {
        for (unsigned shard = 0; shard < SHARDS; shard++) {
            log_slow(shard, 1);
            uint64_t id = newest(shard, SLOW_TIME)->id;
            cr_assert_eq(id, i * SHARDS + shard);
            cr_assert(!seen[id]);
            seen[id] = true;
        }
    }
    observe_reset_slow(&w.in[1]->observed.slow[SLOW_TIME], &w.at[1]->mem);
    cr_assert_eq(w.in[1]->observed.slow[SLOW_TIME].count, 0);
    log_slow(1, 1);
    cr_assert_eq(newest(1, SLOW_TIME)->id, 10 * SHARDS + 1);
}

Test(observe, the_oldest_go_when_there_are_more_than_max_len) {
    w.config.slow_len_max = 3;
    for (int i = 0; i < 5; i++)
        log_slow(0, i);
    const struct slow_log *log = &w.in[0]->observed.slow[SLOW_TIME];
    cr_assert_eq(log->count, 3);
    int64_t expected = 4;
    for (struct list *l = log->entries.next; l != &log->entries; l = l->next)
        cr_assert_eq(CONTAINER_OF(l, struct slow, link)->value, expected--);
    cr_assert_eq(expected, 1);
    w.config.slow_len_max = 0;
    log_slow(0, 9);
    cr_assert_eq(log->count, 0);
    cr_assert(list_empty(&log->entries));
}

Test(observe, each_kind_has_its_own_log_and_length) {
    const struct span argv[] = {SPAN("get"), SPAN("k")};
    shard_claim();
    w.config.request_len_max = 1;
    w.config.reply_len_max = 2;
    for (int i = 0; i < 5; i++) {
        observe_slow(w.at[0], SLOW_REQUEST, i, row("GET"), argv, 2, SPAN(""), SPAN(""));
        observe_slow(w.at[0], SLOW_REPLY, 10 + i, row("GET"), argv, 2, SPAN(""), SPAN(""));
    }
    cr_assert_eq(w.in[0]->observed.slow[SLOW_TIME].count, 0);
    cr_assert_eq(w.in[0]->observed.slow[SLOW_REQUEST].count, 1);
    cr_assert_eq(w.in[0]->observed.slow[SLOW_REPLY].count, 2);
    cr_assert_eq(newest(0, SLOW_REQUEST)->value, 4);
    cr_assert_eq(newest(0, SLOW_REPLY)->value, 14);
}

static const struct slow *log_args(const struct span *argv, uint32_t argc) {
    shard_claim();
    observe_slow(w.at[0], SLOW_TIME, 1, row("MSET"), argv, argc, SPAN(""), SPAN(""));
    return newest(0, SLOW_TIME);
}

Test(observe, of_many_arguments_the_last_place_tells_how_many_more) {
    struct span argv[SLOW_ARGS_MAX + 2];
    for (uint32_t i = 0; i < COUNT_OF(argv); i++)
        argv[i] = SPAN("v");
    const struct slow *e = log_args(argv, SLOW_ARGS_MAX);
    cr_assert_eq(e->argc, SLOW_ARGS_MAX);
    expect_arg(e, SLOW_ARGS_MAX - 1, "v");
    e = log_args(argv, SLOW_ARGS_MAX + 1);
    cr_assert_eq(e->argc, SLOW_ARGS_MAX);
    expect_arg(e, SLOW_ARGS_MAX - 2, "v");
    expect_arg(e, SLOW_ARGS_MAX - 1, "... (2 more arguments)");
    e = log_args(argv, SLOW_ARGS_MAX + 2);
    expect_arg(e, SLOW_ARGS_MAX - 1, "... (3 more arguments)");
}

Test(observe, of_a_long_argument_the_end_tells_how_many_more_bytes) {
    char text[SLOW_ARG_BYTES_MAX + 1], expected[256];
    memset(text, 'v', sizeof text);
    struct span argv[] = {SPAN("mset"), SPAN("k"), {text, SLOW_ARG_BYTES_MAX}};
    cr_assert(span_eq(log_args(argv, 3)->args[2], argv[2]));
    argv[2].len++;
    snprintf(expected, sizeof expected, "%.*s... (1 more bytes)", SLOW_ARG_BYTES_MAX, text);
    expect_arg(log_args(argv, 3), 2, expected);
    argv[2] = (struct span){NULL, 70000};
    expect_arg(log_args(argv, 3), 2, "... (70000 more bytes)");
    argv[2] = (struct span){NULL, 0};
    expect_arg(log_args(argv, 3), 2, "");
}

/* redacted: the arguments of a line, by a letter each: x is hidden, '.' is shown. */
static void redacted(const char *name, const char *line, const char *expected) {
    const struct command cmd = {.name = name};
    struct span argv[ARGS_MAX];
    uint32_t argc = 0;
    for (const char *p = line; *p != '\0'; argc++) {
        argv[argc] = (struct span){p, strcspn(p, " ")};
        p += argv[argc].len;
        p += *p == ' ';
    }
    cr_assert_eq(argc, strlen(expected), "%s", line);
    for (uint32_t i = 0; i < argc; i++)
        cr_assert_eq(observe_redacts(&cmd, argv, argc, i), expected[i] == 'x', "%s: %u", line, i);
}

Test(observe, passwords_are_redacted) {
    redacted("AUTH", "auth p", ".x");
    redacted("AUTH", "auth u p", ".xx");
    redacted("HELLO", "hello 3", "..");
    redacted("HELLO", "hello 3 auth u p", "...xx");
    redacted("HELLO", "hello 3 setname n AUTH u p", ".....xx");
    redacted("HELLO", "hello 3 auth u p setname n", "...xx..");
    redacted("HELLO", "hello auth u p", "....");
    redacted("CONFIG|SET", "config set requirepass p", "...x");
    redacted("CONFIG|SET", "config set maxmemory 0 MASTERAUTH p port 1", ".....x..");
    redacted("CONFIG|SET", "config set proc-title-template requirepass x 0", "......");
    redacted("CONFIG|GET", "config get requirepass p", "....");
    redacted("ACL|SETUSER", "acl setuser u >p on", "..xxx");
    redacted("MIGRATE", "migrate h 1 k 0 5 AUTH p COPY", ".......x.");
    redacted("MIGRATE", "migrate h 1 k 0 5 auth2 u p keys a b", ".......xx...");
    redacted("MIGRATE", "migrate h 1 auth 0 5", "......");
    redacted("SET", "set auth p", "...");
}

Test(observe, what_is_redacted_is_stored_as_such) {
    static const struct command auth = {.name = "AUTH"};
    const struct span argv[] = {SPAN("AUTH"), SPAN("secret")};
    shard_claim();
    observe_slow(w.at[0], SLOW_TIME, 1, &auth, argv, 2, SPAN(""), SPAN(""));
    expect_arg(newest(0, SLOW_TIME), 1, "(redacted)");
}

/* --- events --- */

static const struct latency_series *series(enum latency_event event) {
    return &w.in[0]->observed.latency[event];
}

static void event_ms(uint64_t ms) {
    shard_claim();
    observe_event(w.at[0], LATENCY_EXPIRE_CYCLE, ms * 1000000);
}

Test(observe, an_event_is_noted_from_the_threshold_on) {
    const struct latency_series *s = series(LATENCY_EXPIRE_CYCLE);
    event_ms(1000);
    cr_assert_eq(s->count, 0); /* 0 is off */
    w.config.latency_ms = 10;
    event_ms(9);
    cr_assert_eq(s->count, 0);
    event_ms(10);
    cr_assert_eq(s->count, 1);
    cr_assert_eq(s->samples[0].ms, 10);
    cr_assert_eq(s->samples[0].wall_s, wall_us / 1000000);
    cr_assert_eq(s->max_ms, 10);
}

Test(observe, a_second_keeps_its_worst) {
    const struct latency_series *s = series(LATENCY_EXPIRE_CYCLE);
    w.config.latency_ms = 1;
    event_ms(5);
    event_ms(9);
    event_ms(7);
    cr_assert_eq(s->count, 1);
    cr_assert_eq(s->samples[0].ms, 9);
    wall_us += 1000000;
    event_ms(2);
    cr_assert_eq(s->count, 2);
    cr_assert_eq(s->samples[1].ms, 2);
    cr_assert_eq(s->max_ms, 9);
}

Test(observe, the_newest_samples_stay) {
    const struct latency_series *s = series(LATENCY_EXPIRE_CYCLE);
    w.config.latency_ms = 1;
    for (unsigned i = 0; i < LATENCY_SAMPLES + 2; i++, wall_us += 1000000)
        event_ms(1000 - i);
    cr_assert_eq(s->count, LATENCY_SAMPLES);
    cr_assert_eq(s->next, 2);
    cr_assert_eq(s->samples[1].ms, 1000 - (LATENCY_SAMPLES + 1));
    cr_assert_eq(s->samples[2].ms, 1000 - 2);
    cr_assert_eq(s->max_ms, 1000);
}

Test(observe, a_command_is_an_event_by_its_share) {
    shard_claim();
    w.config.latency_ms = 2;
    observe_calls(w.at[0], row("GET"), 2, 3999999);
    cr_assert_eq(series(LATENCY_FAST_COMMAND)->count, 0);
    observe_calls(w.at[0], row("GET"), 2, 4000000);
    cr_assert_eq(series(LATENCY_FAST_COMMAND)->count, 1);
    cr_assert_eq(series(LATENCY_COMMAND)->count, 0);
    observe_calls(w.at[0], row("KEYS"), 1, 7000000);
    cr_assert_eq(series(LATENCY_COMMAND)->max_ms, 7);
}

Test(observe, reset_forgets_an_event) {
    w.config.latency_ms = 1;
    event_ms(5);
    observe_reset_latency(&w.in[0]->observed.latency[LATENCY_EXPIRE_CYCLE], &w.at[0]->mem);
    cr_assert_eq(series(LATENCY_EXPIRE_CYCLE)->count, 0);
    cr_assert_eq(series(LATENCY_EXPIRE_CYCLE)->max_ms, 0);
    event_ms(6);
    cr_assert_eq(series(LATENCY_EXPIRE_CYCLE)->count, 1);
}

/* --- the commands, over several shards --- */

static void at_second(int64_t s, unsigned shard, uint64_t ms) {
    shard_claim();
    wall_us = s * 1000000;
    observe_event(w.at[shard], LATENCY_COMMAND, ms * 1000000);
}

Test(observe, the_events_of_all_shards_are_one_series) {
    w.config.latency_ms = 1;
    expect(&w.server, "LATENCY LATEST", "*0\r\n");
    at_second(1000, 1, 9);
    at_second(1000, 0, 5);
    at_second(1001, 2, 7);
    at_second(1003, 0, 3);
    at_second(1002, 1, 4);
    expect(&w.server, "LATENCY HISTORY command",
           "*4\r\n*2\r\n:1000\r\n:9\r\n*2\r\n:1001\r\n:7\r\n*2\r\n:1002\r\n:4\r\n*2\r\n:1003\r\n:"
           "3\r\n");
    expect(&w.server, "LATENCY HISTORY expire-cycle", "*0\r\n");
    expect(&w.server, "LATENCY LATEST", "*1\r\n*4\r\n$7\r\ncommand\r\n:1003\r\n:3\r\n:9\r\n");
    expect(&w.server, "LATENCY RESET expire-cycle", ":0\r\n");
    expect(&w.server, "LATENCY RESET", ":1\r\n");
    expect(&w.server, "LATENCY RESET", ":0\r\n");
    expect(&w.server, "LATENCY LATEST", "*0\r\n");
}

Test(observe, the_newest_seconds_of_all_shards_stay) {
    w.config.latency_ms = 1;
    for (unsigned i = 0; i < LATENCY_SAMPLES; i++) {
        at_second(1000 + 2 * i, 0, 5);
        at_second(1001 + 2 * i, 2, 6);
    }
    const char *reply = run(&w.server, "LATENCY HISTORY command");
    char head[64], tail[64];
    snprintf(head, sizeof head, "*%d\r\n*2\r\n:%d\r\n:5\r\n", LATENCY_SAMPLES,
             1000 + LATENCY_SAMPLES);
    snprintf(tail, sizeof tail, "*2\r\n:%d\r\n:6\r\n", 999 + 2 * LATENCY_SAMPLES);
    cr_assert(strncmp(reply, head, strlen(head)) == 0, "%s", reply);
    cr_assert_str_eq(reply + strlen(reply) - strlen(tail), tail);
}

Test(observe, a_graph_has_a_column_for_each_second) {
    int64_t now_s = NOW_MS / 1000;
    w.config.latency_ms = 1;
    at_second(now_s - 61, 0, 12);
    at_second(now_s - 5, 1, 1);
    at_second(now_s, 2, 7);
    char text[256];
    snprintf(text, sizeof text, "command - high 12 ms, low 1 ms (all time high 12 ms)\n%.80s\n",
             "--------------------------------------------------------------------------------");
    strcat(text, "#  \n# _\n# #\n#_#\n150\nmss\n");
    expect_bulk(&w.server, "LATENCY GRAPH command", text);
    expect(&w.server, "LATENCY GRAPH lazyfree",
           "-ERR No samples available for event 'lazyfree'\r\n");
}

Test(observe, a_histogram_is_the_sum_of_all_shards) {
    shard_claim();
    observe_calls(w.at[0], row("GET"), 2, 1000);
    observe_calls(w.at[2], row("GET"), 1, 3000);
    observe_calls(w.at[1], row("SET"), 1, 1ULL << 50);
    expect(&w.server, "LATENCY HISTOGRAM get nosuch",
           "*2\r\n$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:3\r\n$14\r\nhistogram_usec\r\n"
           "*4\r\n:1\r\n:2\r\n:4\r\n:3\r\n");
    cr_assert(strncmp(run(&w.server, "LATENCY HISTOGRAM"), "*4\r\n", 4) == 0);
    expect(&w.server, "LATENCY HISTOGRAM set",
           "*2\r\n$3\r\nset\r\n*4\r\n$5\r\ncalls\r\n:1\r\n$14\r\nhistogram_usec\r\n"
           "*2\r\n:17729624997\r\n:1\r\n");
}

Test(observe, slow_commands_of_all_shards_are_in_the_order_of_time_then_id) {
    const char *const entry = "*6\r\n:%d\r\n:1\r\n:%d\r\n*2\r\n$3\r\nget\r\n$3\r\nkey\r\n"
                              "$9\r\n1.2.3.4:5\r\n$2\r\nme\r\n";
    char text[1024] = "*4\r\n";
    wall_us = 1000000;
    log_slow(2, 20); /* id 2 */
    wall_us++;
    log_slow(1, 21); /* 1 */
    log_slow(0, 22); /* 0 */
    wall_us++;
    log_slow(2, 23); /* 5 */
    const int expected[][2] = {{5, 23}, {1, 21}, {0, 22}, {2, 20}};
    for (unsigned i = 0; i < COUNT_OF(expected); i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), entry, expected[i][0],
                 expected[i][1]);
    expect(&w.server, "SLOWLOG GET", text);
    expect(&w.server, "COMMANDLOG GET -1 slow", text);
    expect(&w.server, "SLOWLOG LEN", ":4\r\n");
    w.config.slow_len_max = 3;
    expect(&w.server, "SLOWLOG LEN", ":3\r\n");
    cr_assert(strncmp(run(&w.server, "SLOWLOG GET -1"), "*3\r\n*6\r\n:5\r\n", 12) == 0);
    cr_assert(strncmp(run(&w.server, "SLOWLOG GET 1"), "*1\r\n*6\r\n:5\r\n", 12) == 0);
    expect(&w.server, "SLOWLOG RESET", "+OK\r\n");
    expect(&w.server, "SLOWLOG LEN", ":0\r\n");
}

/* --- DEBUG --- */

static bool debug_allowed(int choice, bool local) {
    const struct command *cmd = command_find_sub(row("DEBUG"), SPAN("SLEEP"));
    struct session session = {.local = local};
    struct ctx c = {.shard = w.at[0],
                    .cmd = cmd,
                    .session = &session,
                    .reply = {.out = &w.server.out, .proto = 2}};
    w.config.debug_command = choice;
    w.server.out.len = 0;
    bool yes = cmd->check(&c);
    cr_assert_eq(w.server.out.len == 0, yes);
    return yes;
}

Test(observe, debug_is_for_whom_the_option_says) {
    cr_assert(!debug_allowed(CONFIG_DEBUG_NO, true));
    cr_assert(!debug_allowed(CONFIG_DEBUG_NO, false));
    cr_assert(debug_allowed(CONFIG_DEBUG_YES, false));
    cr_assert(debug_allowed(CONFIG_DEBUG_LOCAL, true));
    cr_assert(!debug_allowed(CONFIG_DEBUG_LOCAL, false));
}

Test(observe, every_row_of_debug_asks) {
    for (unsigned i = 0; i < command_count(); i++)
        if (strncmp(command_at(i)->name, "DEBUG", 5) == 0)
            cr_assert_not_null(command_at(i)->check, "%s", command_at(i)->name);
}

/* --- no memory --- */

Test(observe, without_memory_a_note_is_dropped) {
    shard_claim();
    const struct span argv[] = {SPAN("get"), SPAN("k")};
    const struct command *get = row("GET");
    struct mem *m = &w.at[0]->mem;
    m->fail_in = m->fail_every = 1;
    w.config.latency_ms = 1;
    observe_calls(w.at[0], get, 1, 5000000);
    observe_slow(w.at[0], SLOW_TIME, 1, get, argv, 2, SPAN(""), SPAN(""));
    m->fail_in = m->fail_every = 0;
    cr_assert_eq(w.in[0]->commands[get->id].calls, 1);
    cr_assert_null(w.in[0]->commands[get->id].times);
    cr_assert_eq(series(LATENCY_FAST_COMMAND)->count, 0);
    cr_assert_eq(w.in[0]->observed.slow[SLOW_TIME].count, 0);
    log_slow(0, 1);
    cr_assert_eq(w.in[0]->observed.slow[SLOW_TIME].count, 1);
}
