/* checks.c: what of the system will hurt, told at start with the remedy.
 *
 * Each check reads what the kernel says in a file and knows nothing else of the system, so that tests give
 * it files. A file that is missing or not understood is no reason to say anything.
 *
 * What Redis warns of and we do not: vm.overcommit_memory = 0. It makes fork fail where memory is short, and
 * nothing here forks; the kernel's heuristic refuses only what is larger than all memory in one piece.
 */
#include "server_impl.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    TEXT_MAX = 4096,
    PATH_MAX_BYTES = 512,
    /* a ring's submissions and completions, with what the kernel keeps beside them */
    URING_BYTES = 128 * 1024,
    CAP_IPC_LOCK_BIT = 14,
};

struct system {
    const char *root;
    const struct config *config;
    unsigned shards;
};

/* read_text: false when there is no such file. */
static bool read_text(const struct system *s, const char *path, char *text) {
    char full[PATH_MAX_BYTES];
    if (snprintf(full, sizeof full, "%s%s", s->root, path) >= (int)sizeof full)
        return false;
    FILE *f = fopen(full, "re");
    if (f == NULL)
        return false;
    size_t n = fread(text, 1, TEXT_MAX - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    return n > 0;
}

/* number_at: the number that a text begins with. */
static bool number_at(const char *text, int base, uint64_t *out) {
    char *end;
    errno = 0;
    *out = strtoull(text, &end, base);
    return end != text && errno == 0 && *text != '-' && strchr(" \t\n.-+", *end) != NULL;
}

static bool read_number(const struct system *s, const char *path, uint64_t *out) {
    char text[TEXT_MAX];
    return read_text(s, path, text) && number_at(text, 10, out);
}

/* value_after: what stands behind a name at the beginning of a line; NULL: no such line. */
static const char *value_after(const char *text, const char *name) {
    const char *at = strstr(text, name);
    if (at == NULL || (at != text && at[-1] != '\n'))
        return NULL;
    at += strlen(name);
    return at + strspn(at, " \t");
}

static bool kernel_before(const struct system *s, uint64_t major, uint64_t minor) {
    char text[TEXT_MAX];
    uint64_t has_major, has_minor;
    if (!read_text(s, "/proc/sys/kernel/osrelease", text) || !number_at(text, 10, &has_major))
        return false;
    const char *dot = strchr(text, '.');
    if (dot == NULL || !number_at(dot + 1, 10, &has_minor))
        return false;
    return has_major < major || (has_major == major && has_minor < minor);
}

static bool check_backlog(const struct system *s, char *line) {
    uint64_t allowed, wanted = (uint64_t)s->config->tcp_backlog;
    if (!read_number(s, "/proc/sys/net/core/somaxconn", &allowed) || allowed >= wanted)
        return false;
    (void)snprintf(line, CHECK_LINE_MAX,
                   "tcp-backlog is %" PRIu64 ", but the system allows %" PRIu64
                   ": connections that come in a burst may be refused; "
                   "sysctl -w net.core.somaxconn=%" PRIu64,
                   wanted, allowed, wanted);
    return true;
}

static bool check_overcommit(const struct system *s, char *line) {
    uint64_t mode;
    if (!read_number(s, "/proc/sys/vm/overcommit_memory", &mode) || mode != 2)
        return false;
    (void)snprintf(
        line, CHECK_LINE_MAX,
        "vm.overcommit_memory is 2: the kernel counts memory that is reserved and not used, and "
        "commands may fail for want of memory while there is some; "
        "sysctl -w vm.overcommit_memory=1");
    return true;
}

/* With disable-thp the process has asked for small pages, whatever the system prefers. */
static bool check_huge_pages(const struct system *s, char *line) {
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/enabled";
    char text[TEXT_MAX];
    const char *hurts;
    if (s->config->disable_thp || !read_text(s, path, text))
        return false;
    if (strstr(text, "[always]") != NULL)
        hurts = "always: memory that was given back, or never used, is made resident in pieces of "
                "2 MiB";
    else if (strstr(text, "[never]") != NULL)
        hurts = "never: with many keys, half of the time of a lookup goes into page tables";
    else
        return false;
    (void)snprintf(line, CHECK_LINE_MAX, "transparent huge pages are set to %s; echo madvise > %s",
                   hurts, path);
    return true;
}

/* Since Linux 5.12 rings are charged to the memory cgroup instead. */
static bool check_locked_memory(const struct system *s, char *line) {
    char text[TEXT_MAX];
    uint64_t limit, caps, need = (uint64_t)s->shards * URING_BYTES;
    if (s->config->io == CONFIG_IO_EPOLL || !kernel_before(s, 5, 12))
        return false;
    const char *value;
    if (read_text(s, "/proc/self/status", text) && (value = value_after(text, "CapEff:")) != NULL &&
        number_at(value, 16, &caps) && (caps & 1U << CAP_IPC_LOCK_BIT))
        return false;
    if (!read_text(s, "/proc/self/limits", text) ||
        (value = value_after(text, "Max locked memory")) == NULL || !number_at(value, 10, &limit) ||
        limit >= need)
        return false;
    (void)snprintf(line, CHECK_LINE_MAX,
                   "%" PRIu64 " bytes may be locked, and io_uring needs %" PRIu64
                   " on this kernel: without them epoll takes over; ulimit -l %" PRIu64
                   " or LimitMEMLOCK=",
                   limit, need, need / 1024);
    return true;
}

/* Those that the kernel cannot read without a system call. A paravirtual clock other than Xen's is as good
 * as the processor's. */
static bool check_clock(const struct system *s, char *line) {
    static const char folder[] = "/sys/devices/system/clocksource/clocksource0";
    static const char *const slow[] = {"xen\n", "hpet\n", "acpi_pm\n", "pit\n", "jiffies\n"};
    char path[PATH_MAX_BYTES], text[TEXT_MAX], offered[TEXT_MAX];
    (void)snprintf(path, sizeof path, "%s/current_clocksource", folder);
    if (!read_text(s, path, text))
        return false;
    bool is_slow = false;
    for (size_t i = 0; i < COUNT_OF(slow); i++)
        is_slow |= strcmp(text, slow[i]) == 0;
    (void)snprintf(path, sizeof path, "%s/available_clocksource", folder);
    if (!is_slow || !read_text(s, path, offered) || strstr(offered, "tsc") == NULL)
        return false;
    (void)snprintf(
        line, CHECK_LINE_MAX,
        "the clock source is %.*s: to read the time is a system call, twice per turn of a "
        "shard; echo tsc > %s/current_clocksource",
        (int)strcspn(text, "\n"), text, folder);
    return true;
}

/* Shards that share a processor by quota are all stopped when it is used up, in the middle of a command. */
static bool check_quota(const struct system *s, char *line) {
    char text[TEXT_MAX];
    uint64_t quota_us, period_us;
    if (!read_text(s, "/sys/fs/cgroup/cpu.max", text) || !number_at(text, 10, &quota_us))
        return false;
    const char *space = strchr(text, ' ');
    if (space == NULL || !number_at(space + 1, 10, &period_us) || period_us == 0)
        return false;
    uint64_t cpus = (quota_us + period_us - 1) / period_us;
    if (cpus == 0 || s->shards <= cpus)
        return false;
    (void)snprintf(line, CHECK_LINE_MAX,
                   "%u shards, but this container may use %" PRIu64 ".%" PRIu64
                   " processors: all are stopped when that is used up; --shards %" PRIu64,
                   s->shards, quota_us / period_us, quota_us % period_us * 10 / period_us, cpus);
    return true;
}

void checks_run(const char *root, const struct config *c, unsigned shards, check_say_fn *say,
                void *arg) {
    static bool (*const checks[])(const struct system *s, char *line) = {
        check_backlog,       check_overcommit, check_huge_pages,
        check_locked_memory, check_clock,      check_quota,
    };
    const struct system s = {root, c, shards};
    char line[CHECK_LINE_MAX];
    for (size_t i = 0; i < COUNT_OF(checks); i++)
        if (checks[i](&s, line))
            say(arg, line);
}

int check_io_uring_error(void) {
    /* Without parameters: EFAULT when it is allowed, and nothing is set up. */
    return syscall(SYS_io_uring_setup, 1, NULL) < 0 && errno != EFAULT ? errno : 0;
}

void check_io_uring(const char *root, int error, char *line, size_t size) {
    const struct system s = {.root = root};
    uint64_t disabled = 0;
    const char *remedy = "";
    bool told = read_number(&s, "/proc/sys/kernel/io_uring_disabled", &disabled);
    if ((error == EPERM || error == EACCES) && told && disabled != 0)
        remedy = "sysctl -w kernel.io_uring_disabled=0";
    else if (kernel_before(&s, 5, 11))
        remedy = "Linux 5.11 or later has it";
    else if (error == EPERM || error == EACCES || error == ENOSYS)
        remedy = "allow io_uring_setup, io_uring_enter and io_uring_register in the container's "
                 "seccomp profile";
    else if (error == ENOMEM)
        remedy = "raise the limit of locked memory: ulimit -l";
    (void)snprintf(line, size, "%s", remedy);
}
