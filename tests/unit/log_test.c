/* log_test.c: where lines go when the file moves, and syslog. Their form is in base_test.c. */
#include "shards/clock.h"
#include "shards/log.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], path[96], moved[96];

static void set_up(void) {
    (void)snprintf(folder, sizeof folder, "/tmp/anax_log_test.XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
    (void)snprintf(path, sizeof path, "%s/log", folder);
    (void)snprintf(moved, sizeof moved, "%s/log.1", folder);
    cr_assert_eq(log_open(path), OK);
}

static void tear_down(void) {
    (void)unlink(path);
    (void)unlink(moved);
    (void)rmdir(folder);
}

static bool has(const char *file, const char *text) {
    static char got[1 << 20];
    FILE *f = fopen(file, "r");
    if (f == NULL)
        return false;
    size_t n = fread(got, 1, sizeof got - 1, f);
    (void)fclose(f);
    got[n] = '\0';
    return strstr(got, text) != NULL;
}

static _Atomic int64_t fake_us = 1741165623042000;

static int64_t wall_us(void) {
    return atomic_load(&fake_us);
}

static uint64_t mono_ns(void) {
    return (uint64_t)atomic_load(&fake_us) * 1000;
}

Test(log, inv2_follows_its_path_within_a_second) {
    clock_replace(mono_ns, wall_us);
    set_up();
    LOGN("first");
    cr_assert_eq(rename(path, moved), 0);
    LOGN("second");
    cr_assert(has(moved, "first") && has(moved, "second"));
    cr_assert_neq(access(path, F_OK), 0, "looked at the path twice in a second");
    atomic_fetch_add(&fake_us, 1000000);
    LOGN("third");
    cr_assert(has(path, "third"));
    cr_assert_not(has(moved, "third"));
    tear_down();
}

Test(log, inv2_follows_another_file_at_its_path) {
    set_up();
    LOGN("first");
    cr_assert_eq(rename(path, moved), 0);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    (void)fprintf(f, "made by the rotation\n");
    (void)fclose(f);
    cr_assert_eq(log_reopen(), OK);
    LOGN("second");
    cr_assert(has(path, "made by the rotation"));
    cr_assert(has(path, "second"));
    tear_down();
}

Test(log, reopen_of_the_same_file_changes_nothing) {
    set_up();
    LOGN("first");
    cr_assert_eq(log_reopen(), OK);
    LOGN("second");
    cr_assert(has(path, "first") && has(path, "second"));
    tear_down();
}

Test(log, reopen_that_fails_goes_on_in_the_old_file) {
    set_up();
    char away[96];
    (void)snprintf(away, sizeof away, "%s.away", folder);
    cr_assert_eq(rename(folder, away), 0);
    cr_assert_eq(log_reopen(), ERR_IO);
    cr_assert_eq(errno, ENOENT);
    LOGN("still here");
    cr_assert_eq(rename(away, folder), 0);
    cr_assert(has(path, "still here"));
    tear_down();
}

Test(log, standard_output_is_never_reopened) {
    cr_assert_eq(log_reopen(), OK);
    set_up();
    cr_assert_eq(log_open(""), OK);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(log_reopen(), OK);
    cr_assert_neq(access(path, F_OK), 0);
    tear_down();
}

Test(log, open_that_fails_changes_nothing) {
    set_up();
    cr_assert_eq(log_open("/nonexistent/folder/log"), ERR_IO);
    cr_assert_eq(errno, ENOENT);
    LOGN("still here");
    cr_assert(has(path, "still here"));
    char long_path[LOG_PATH_MAX + 2];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    cr_assert_eq(log_open(long_path), ERR_IO);
    cr_assert_eq(errno, ENAMETOOLONG);
    tear_down();
}

Test(log, raw_is_written_as_it_is_whatever_the_level) {
    set_up();
    log_set_level(LOG_NOTHING);
    log_raw("a\x01z\n", 4);
    cr_assert(has(path, "a\x01z\n"));
    log_set_level(LOG_NOTICE);
    tear_down();
}

/* --- invariant 1 --- */

static atomic_bool done;

static void *log_on_and_on(void *arg) {
    (void)arg;
    while (!atomic_load(&done))
        LOGN("a line of another thread");
    return NULL;
}

/* While one thread logs, another moves the file, has the log reopened and opens pipes: were the log's
 * descriptor ever closed, a pipe could get its number, and a line. */
Test(log, inv1_no_line_goes_to_another_descriptor) {
    enum { ROUNDS = 300, PIPES = 4 };
    pthread_t other;
    set_up();
    cr_assert_eq(pthread_create(&other, NULL, log_on_and_on, NULL), 0);
    for (int round = 0; round < ROUNDS; round++) {
        int ends[PIPES][2];
        cr_assert_eq(rename(path, moved), 0);
        cr_assert_eq(log_reopen(), OK);
        for (int i = 0; i < PIPES; i++)
            cr_assert_eq(pipe2(ends[i], O_NONBLOCK), 0);
        sched_yield();
        for (int i = 0; i < PIPES; i++) {
            char got[16];
            cr_assert_eq(read(ends[i][0], got, sizeof got), -1, "round %d", round);
            (void)close(ends[i][0]);
            (void)close(ends[i][1]);
        }
    }
    atomic_store(&done, true);
    (void)pthread_join(other, NULL);
    tear_down();
}

/* --- syslog: these stand in for libc's, whose header cannot be included beside log.h --- */

void openlog(const char *ident, int options, int facility);
void syslog(int priority, const char *fmt, ...) PRINTF_LIKE(2, 3);

static char syslog_ident[128], syslog_text[LOG_LINE_MAX];
static int syslog_facility = -1, syslog_priority = -1, syslog_lines;

void openlog(const char *ident, int options, int facility) {
    (void)options;
    (void)snprintf(syslog_ident, sizeof syslog_ident, "%s", ident);
    syslog_facility = facility;
}

void syslog(int priority, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(syslog_text, sizeof syslog_text, fmt, args);
    va_end(args);
    syslog_priority = priority;
    syslog_lines++;
}

Test(log, syslog_gets_what_the_file_gets) {
    static const struct {
        enum log_level level;
        int priority; /* of syslog(3): debug 7, info 6, notice 5, warning 4 */
    } cases[] = {{LOG_DEBUG, 7}, {LOG_VERBOSE, 6}, {LOG_NOTICE, 5}, {LOG_WARNING, 4}};

    set_up();
    log_set_level(LOG_DEBUG);
    LOGN("before");
    cr_assert_eq(syslog_lines, 0);
    log_to_syslog("my-ident", 3);
    cr_assert_str_eq(syslog_ident, "my-ident");
    cr_assert_eq(syslog_facility, 18 << 3, "local2");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        log_line(cases[i].level, "line %zu\n%%s", i);
        char expected[32];
        (void)snprintf(expected, sizeof expected, "line %zu %%s", i);
        cr_assert_str_eq(syslog_text, expected);
        cr_assert_eq(syslog_priority, cases[i].priority);
        cr_assert(has(path, expected));
    }
    log_set_level(LOG_WARNING);
    LOGN("below the level");
    cr_assert_eq(syslog_lines, COUNT_OF(cases));
    tear_down();
}

Test(log, syslog_facilities) {
    static const int numbers[] = {1, 16, 17, 18, 19, 20, 21, 22, 23}; /* RFC 5424, table 1 */
    for (int i = 0; i < (int)COUNT_OF(numbers); i++) {
        log_to_syslog("x", i);
        cr_assert_eq(syslog_facility, numbers[i] << 3);
    }
}
