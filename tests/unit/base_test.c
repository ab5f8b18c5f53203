#include "shards/assert.h"
#include "shards/clock.h"
#include "shards/err.h"
#include "shards/list.h"
#include "shards/log.h"
#include "shards/rng.h"
#include "shards/span.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

Test(base, assert_stops_the_process, .signal = SIGABRT) {
    ASSERT(1 + 1 == 3);
}

Test(base, assert_lets_truth_pass) {
    ASSERT(1 + 1 == 2);
}

Test(base, err_names_differ) {
    enum err all[] = {OK, ERR_AGAIN, ERR_NOMEM, ERR_IO, ERR_UNSUPPORTED, ERR_FORMAT};

    for (size_t i = 0; i < COUNT_OF(all); i++)
        for (size_t j = 0; j < i; j++)
            cr_assert_str_neq(err_name(all[i]), err_name(all[j]));
}

/* --- clock --- */

static uint64_t fake_mono_ns(void) {
    return 42;
}

static int64_t fake_wall_us(void) {
    return 1741165623042000; /* 2025-03-05 09:07:03.042 UTC */
}

Test(base, clock_mono_never_goes_back) {
    uint64_t last = clock_mono_ns();

    for (int i = 0; i < 10000; i++) {
        uint64_t now = clock_mono_ns();
        cr_assert_geq(now, last);
        last = now;
    }
}

Test(base, clock_wall_is_unix_time) {
    cr_assert_gt(clock_wall_us(), INT64_C(1700000000000000));
}

Test(base, clock_replace_and_restore) {
    clock_replace(fake_mono_ns, fake_wall_us);
    cr_assert_eq(clock_mono_ns(), 42);
    cr_assert_eq(clock_wall_us(), fake_wall_us());
    clock_replace(NULL, NULL);
    cr_assert_neq(clock_mono_ns(), 42);
    cr_assert_neq(clock_wall_us(), fake_wall_us());
}

/* --- rng --- */

Test(base, rng_same_seed_same_numbers) {
    struct rng a, b, c;
    bool differs = false;

    rng_seed(&a, 7);
    rng_seed(&b, 7);
    rng_seed(&c, 8);
    for (int i = 0; i < 100; i++) {
        uint64_t v = rng_next(&a);
        cr_assert_eq(v, rng_next(&b));
        differs |= v != rng_next(&c);
    }
    cr_assert(differs);
}

/* The first outputs of the reference implementation for the state {1, 2, 3, 4}. */
Test(base, rng_is_xoshiro256starstar) {
    static const uint64_t expected[] = {11520U, 0U, 1509978240U, 1215971899390074240U};
    struct rng r = {{1, 2, 3, 4}};

    for (size_t i = 0; i < COUNT_OF(expected); i++)
        cr_assert_eq(rng_next(&r), expected[i], "output %zu", i);
}

Test(base, rng_below_is_in_bounds_and_even) {
    enum { BOUND = 10, DRAWS = 100000 };
    unsigned counts[BOUND] = {0};
    struct rng r;

    rng_seed(&r, 1);
    for (int i = 0; i < DRAWS; i++) {
        uint64_t v = rng_below(&r, BOUND);
        cr_assert_lt(v, BOUND);
        counts[v]++;
    }
    for (int i = 0; i < BOUND; i++) /* 5 standard deviations of 95 */
        cr_assert(counts[i] > 9525 && counts[i] < 10475, "%d came %u times", i, counts[i]);
    cr_assert_eq(rng_below(&r, 1), 0);
    for (int i = 0; i < 1000; i++)
        cr_assert_lt(rng_below(&r, (UINT64_C(1) << 63) + 1), (UINT64_C(1) << 63) + 1);
}

Test(base, rng_below_refuses_zero, .signal = SIGABRT) {
    struct rng r;

    rng_seed(&r, 1);
    rng_below(&r, 0);
}

Test(base, rng_entropy_fills_all) {
    unsigned char a[600] = {0}, b[600] = {0};
    unsigned zeros = 0;

    cr_assert_eq(rng_entropy(a, sizeof(a)), OK);
    cr_assert_eq(rng_entropy(b, sizeof(b)), OK);
    cr_assert_neq(memcmp(a, b, sizeof(a)), 0);
    for (size_t i = 500; i < sizeof(a); i++)
        zeros += a[i] == 0;
    cr_assert_lt(zeros, 20);
}

/* --- span --- */

Test(base, span_is_ignores_case_of_ascii_only) {
    cr_assert(span_is(SPAN("GeT"), "get"));
    cr_assert(span_is(SPAN(""), ""));
    cr_assert_not(span_is(SPAN("get"), "getx"));
    cr_assert_not(span_is(SPAN("getx"), "get"));
    cr_assert_not(span_is(SPAN(""), "x"));
    cr_assert_not(span_is(SPAN("a\0b"), "a"));
    cr_assert_not(span_is(SPAN("["), "{"));
    cr_assert_not(span_is(SPAN("\xc4"), "\xe4"));
}

Test(base, span_eq_compares_bytes) {
    cr_assert(span_eq(SPAN("a\0b"), SPAN("a\0b")));
    cr_assert_not(span_eq(SPAN("a\0b"), SPAN("a\0c")));
    cr_assert_not(span_eq(SPAN("a"), SPAN("ab")));
}

/* --- list --- */

Test(base, list_inv1_del_is_idempotent) {
    struct list head, a, b;

    list_init(&head);
    list_init(&a);
    list_init(&b);
    list_del(&a);
    cr_assert(list_empty(&head));
    list_add_tail(&head, &a);
    list_add_tail(&head, &b);
    cr_assert(head.next == &a && a.next == &b && b.next == &head);
    cr_assert(head.prev == &b && b.prev == &a && a.prev == &head);
    list_del(&a);
    list_del(&a);
    cr_assert(list_empty(&a));
    cr_assert(head.next == &b && head.prev == &b);
    list_del(&b);
    cr_assert(list_empty(&head));
}

/* --- log --- */

static char log_path[64];

static void open_log(void) {
    (void)snprintf(log_path, sizeof(log_path), "/tmp/anax_log_test.XXXXXX");
    int fd = mkstemp(log_path);
    cr_assert_geq(fd, 0);
    (void)close(fd);
    cr_assert_eq(log_open(log_path), OK);
}

static size_t read_log(char *to, size_t size) {
    FILE *f = fopen(log_path, "r");

    cr_assert_not_null(f);
    size_t n = fread(to, 1, size - 1, f);
    (void)fclose(f);
    to[n] = '\0';
    return n;
}

static void close_log(void) {
    (void)unlink(log_path);
}

Test(base, log_line_looks_like_redis) {
    char got[256], want[256];

    (void)setenv("TZ", "UTC", 1);
    open_log();
    clock_replace(fake_mono_ns, fake_wall_us);
    LOGN("hello %d", 7);
    LOGW("world");
    read_log(got, sizeof(got));
    (void)snprintf(want, sizeof(want),
                   "%d:M 05 Mar 2025 09:07:03.042 * hello 7\n"
                   "%d:M 05 Mar 2025 09:07:03.042 # world\n",
                   (int)getpid(), (int)getpid());
    cr_assert_str_eq(got, want);
    close_log();
}

Test(base, log_level_drops_what_is_below) {
    static const struct {
        enum log_level level;
        const char *marks;
    } cases[] = {{LOG_DEBUG, ".-*#"},
                 {LOG_VERBOSE, "-*#"},
                 {LOG_NOTICE, "*#"},
                 {LOG_WARNING, "#"},
                 {LOG_NOTHING, ""}};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char got[512], marks[8] = "";
        open_log();
        log_set_level(cases[i].level);
        LOGD("text");
        LOGV("text");
        LOGN("text");
        LOGW("text");
        log_line(LOG_NOTHING, "never");
        read_log(got, sizeof(got));
        size_t n = 0;
        for (char *c = got; (c = strstr(c, " text\n")) != NULL; c++)
            marks[n++] = c[-1];
        cr_assert_str_eq(marks, cases[i].marks);
        cr_assert_null(strstr(got, "never"));
        close_log();
    }
}

Test(base, log_long_line_is_cut) {
    char text[3 * LOG_LINE_MAX], got[4 * LOG_LINE_MAX];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    open_log();
    LOGW("%s", text);
    cr_assert_eq(read_log(got, sizeof(got)), LOG_LINE_MAX);
    cr_assert_eq(got[LOG_LINE_MAX - 1], '\n');
    cr_assert_eq(got[LOG_LINE_MAX - 2], 'x');
    close_log();
}

Test(base, log_text_cannot_forge_a_line) {
    char got[256];

    open_log();
    LOGW("a\r\nb%cc", 27);
    read_log(got, sizeof(got));
    cr_assert_not_null(strstr(got, "# a  b c\n"));
    close_log();
}

static void *write_lines(void *arg) {
    for (int i = 0; i < 500; i++)
        LOGW("<%s>", (const char *)arg);
    return NULL;
}

Test(base, log_lines_of_threads_do_not_mix) {
    static char got[512 * 1024];
    static const char *const texts[] = {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                        "bbbbbbbbbbbbbbbbbbbbbbbbbbbbb"};
    pthread_t threads[2];
    int lines = 0;

    open_log();
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, write_lines, (void *)(size_t)texts[i]), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    read_log(got, sizeof(got));
    for (char *line = strtok(got, "\n"); line != NULL; line = strtok(NULL, "\n"), lines++) {
        const char *text = strchr(line, '<');
        cr_assert_not_null(text);
        cr_assert(strncmp(text + 1, texts[text[1] - 'a'], 29) == 0 && strcmp(text + 30, ">") == 0);
    }
    cr_assert_eq(lines, 1000);
    close_log();
}

Test(base, log_open_reports_what_it_cannot_open) {
    cr_assert_eq(log_open("/nonexistent/dir/log"), ERR_IO);
}
