/* checks_test.c: what the server says about a system at start, from files as the kernel writes them. */
#include "../../src/server/server_impl.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOMAXCONN   "/proc/sys/net/core/somaxconn"
#define OVERCOMMIT  "/proc/sys/vm/overcommit_memory"
#define HUGE_PAGES  "/sys/kernel/mm/transparent_hugepage/enabled"
#define RELEASE     "/proc/sys/kernel/osrelease"
#define LIMITS      "/proc/self/limits"
#define STATUS      "/proc/self/status"
#define CLOCKS      "/sys/devices/system/clocksource/clocksource0/"
#define QUOTA       "/sys/fs/cgroup/cpu.max"
#define NO_IO_URING "/proc/sys/kernel/io_uring_disabled"

static char root[64];
static struct config config;

static void set_up(void) {
    (void)snprintf(root, sizeof root, "/tmp/anax_checks_test.XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    config_defaults(&config);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void tear_down(void) {
    (void)nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

TestSuite(checks, .init = set_up, .fini = tear_down);

/* give: the system has this file. */
static void give(const char *path, const char *text) {
    char full[256];
    (void)snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        cr_assert(mkdir(full, 0700) == 0 || errno == EEXIST);
        *p = '/';
    }
    FILE *f = fopen(full, "w");
    cr_assert_not_null(f);
    cr_assert_geq(fprintf(f, "%s", text), 0);
    cr_assert_eq(fclose(f), 0);
}

static char said[8 * CHECK_LINE_MAX];
static unsigned lines;

static void keep(void *arg, const char *line) {
    (void)arg;
    cr_assert_null(strchr(line, '\n'));
    (void)strcat(said, line);
    (void)strcat(said, "\n");
    lines++;
}

static void run(unsigned shards) {
    said[0] = '\0';
    lines = 0;
    checks_run(root, &config, shards, keep, NULL);
}

/* silent: with this in the file nothing is said. */
static void silent(const char *path, const char *text) {
    give(path, text);
    run(2);
    cr_assert_eq(lines, 0, "%s is '%s': %s", path, text, said);
}

static void says(const char *path, const char *text, const char *what, const char *remedy) {
    give(path, text);
    run(2);
    cr_assert_eq(lines, 1, "%s is '%s': %s", path, text, said);
    cr_assert_not_null(strstr(said, what), "'%s' is not in: %s", what, said);
    cr_assert_not_null(strstr(said, remedy), "'%s' is not in: %s", remedy, said);
}

Test(checks, nothing_known_nothing_said) {
    run(256);
    cr_assert_eq(lines, 0, "%s", said);
}

Test(checks, files_that_are_empty_or_garbage) {
    static const char *const paths[] = {
        SOMAXCONN, OVERCOMMIT, HUGE_PAGES, RELEASE,
        LIMITS,    STATUS,     QUOTA,      CLOCKS "current_clocksource"};
    static const char *const texts[] = {
        "",       "\n",   "-1\n", "x\n", "99999999999999999999999\n",
        "0x80\n", " ",    "max",  "1e9", "[sometimes]\n",
        "5\n",    "5.x\n"};
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        for (size_t j = 0; j < COUNT_OF(texts); j++) {
            if (strcmp(paths[i], SOMAXCONN) == 0 && texts[j][0] == '5')
                continue; /* that is a number */
            silent(paths[i], texts[j]);
        }
        give(paths[i], "");
    }
}

Test(checks, backlog) {
    says(SOMAXCONN, "128\n", "tcp-backlog is 511", "sysctl -w net.core.somaxconn=511");
    says(SOMAXCONN, "510\n", "allows 510", "somaxconn=511");
    silent(SOMAXCONN, "511\n");
    silent(SOMAXCONN, "4096\n");
    config.tcp_backlog = 5000;
    says(SOMAXCONN, "4096\n", "tcp-backlog is 5000", "somaxconn=5000");
}

Test(checks, overcommit) {
    silent(OVERCOMMIT, "0\n");
    silent(OVERCOMMIT, "1\n");
    says(OVERCOMMIT, "2\n", "vm.overcommit_memory is 2", "sysctl -w vm.overcommit_memory=1");
}

Test(checks, huge_pages) {
    silent(HUGE_PAGES, "always [madvise] never\n");
    says(HUGE_PAGES, "[always] madvise never\n", "always", "echo madvise > " HUGE_PAGES);
    says(HUGE_PAGES, "always madvise [never]\n", "never", "echo madvise > " HUGE_PAGES);
    config.disable_thp = true;
    silent(HUGE_PAGES, "[always] madvise never\n");
    silent(HUGE_PAGES, "always madvise [never]\n");
}

#define LIMITS_OF(soft)                                                                            \
    "Limit                     Soft Limit           Hard Limit           Units     \n"             \
    "Max open files            1024                 1048576              files     \n"             \
    "Max locked memory         " soft "             unlimited            bytes     \n"             \
    "Max pending signals       7900                 7900                 signals   \n"

Test(checks, locked_memory) {
    give(STATUS, "Name:\tanax\nCapPrm:\t0000000000004000\nCapEff:\t0000000000000000\n");
    give(RELEASE, "5.11.0-27-generic\n");
    says(LIMITS, LIMITS_OF("65536"), "65536 bytes may be locked", "ulimit -l 256");
    silent(LIMITS, LIMITS_OF("262144"));
    silent(LIMITS, LIMITS_OF("unlimited"));
    says(LIMITS, LIMITS_OF("262143"), "needs 262144", "LimitMEMLOCK=");
    silent(RELEASE, "5.12.0\n"); /* charged to the cgroup since then */
    silent(RELEASE, "6.1.0-18-amd64\n");
    says(RELEASE, "5.4.0\n", "may be locked", "ulimit");
    silent(STATUS, "Name:\tanax\nCapEff:\t000001ffffffffff\n"); /* root may lock what it likes */
    silent(STATUS, "CapEff:\t0000000000004000\n");
    give(STATUS, "CapEff:\t0000000000000000\n");
    config.io = CONFIG_IO_EPOLL;
    run(2);
    cr_assert_eq(lines, 0, "%s", said);
}

Test(checks, clock_source) {
    give(CLOCKS "available_clocksource", "xen tsc hpet acpi_pm \n");
    says(CLOCKS "current_clocksource", "xen\n", "clock source is xen", "echo tsc > " CLOCKS);
    says(CLOCKS "current_clocksource", "hpet\n", "clock source is hpet", "echo tsc > ");
    says(CLOCKS "current_clocksource", "acpi_pm\n", "clock source is acpi_pm", "echo tsc > ");
    silent(CLOCKS "current_clocksource", "tsc\n");
    silent(CLOCKS "current_clocksource", "kvm-clock\n");
    silent(CLOCKS "current_clocksource", "hyperv_clocksource_tsc_page\n");
    silent(CLOCKS "current_clocksource", "arch_sys_counter\n");
    give(CLOCKS "available_clocksource", "hpet acpi_pm \n"); /* nothing better is to be had */
    silent(CLOCKS "current_clocksource", "hpet\n");
}

Test(checks, quota) {
    silent(QUOTA, "max 100000\n");
    silent(QUOTA, "200000 100000\n");
    silent(QUOTA, "150000 100000\n");
    silent(QUOTA, "100000 0\n");
    silent(QUOTA, "0 100000\n");
    says(QUOTA, "50000 100000\n", "2 shards, but this container may use 0.5", "--shards 1");
    run(1);
    cr_assert_eq(lines, 0);
    give(QUOTA, "250000 100000\n");
    run(64);
    cr_assert_not_null(strstr(said, "64 shards, but this container may use 2.5"));
    cr_assert_not_null(strstr(said, "--shards 3"));
}

Test(checks, one_line_each) {
    give(SOMAXCONN, "128\n");
    give(OVERCOMMIT, "2\n");
    give(HUGE_PAGES, "[always] madvise never\n");
    run(2);
    cr_assert_eq(lines, 3, "%s", said);
}

/* --- io_uring --- */

static const char *remedy(int error) {
    static char line[CHECK_LINE_MAX];
    check_io_uring(root, error, line, sizeof line);
    return line;
}

Test(checks, io_uring_remedies) {
    give(RELEASE, "6.1.0\n");
    cr_assert_not_null(strstr(remedy(EPERM), "seccomp"));
    cr_assert_not_null(strstr(remedy(ENOSYS), "seccomp"));
    cr_assert_not_null(strstr(remedy(ENOMEM), "ulimit -l"));
    cr_assert_str_empty(remedy(EMFILE));
    give(NO_IO_URING, "0\n");
    cr_assert_not_null(strstr(remedy(EPERM), "seccomp"));
    give(NO_IO_URING, "2\n");
    cr_assert_str_eq(remedy(EPERM), "sysctl -w kernel.io_uring_disabled=0");
    give(NO_IO_URING, "garbage\n");
    cr_assert_not_null(strstr(remedy(EPERM), "seccomp"));
    give(RELEASE, "5.10.0\n");
    cr_assert_not_null(strstr(remedy(ENOSYS), "5.11"));
}

/* This machine runs the io_uring tests of the loop, so it may set up rings. */
Test(checks, io_uring_is_allowed_here) {
    cr_assert_eq(check_io_uring_error(), 0);
}
