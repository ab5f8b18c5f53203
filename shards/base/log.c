#include "shards/log.h"
#include "log_impl.h"
#include "shards/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The process has one log, so these are the process's: every thread reads them, main sets them. */
static atomic_int log_fd = STDOUT_FILENO;
static atomic_int log_level_min = LOG_NOTICE;
static char log_path[LOG_PATH_MAX + 1]; /* "": standard output */
static _Atomic int64_t checked_s;       /* when the path was last compared with the descriptor */

/* switch_to: what log_fd names is replaced under the same number, in one step: another thread that is
 * about to write can meet neither a closed descriptor nor one that has become a client's. */
static enum err switch_to(int fd) {
    int old = atomic_load(&log_fd);
    if (old == STDOUT_FILENO) {
        atomic_store(&log_fd, fd);
        return OK;
    }
    enum err e = dup3(fd, old, O_CLOEXEC) < 0 ? ERR_IO : OK;
    (void)close(fd);
    return e;
}

static enum err open_path(void) {
    int fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    return fd < 0 ? ERR_IO : switch_to(fd);
}

enum err log_open(const char *path) {
    char old[sizeof(log_path)];
    size_t len = strlen(path);

    if (len > LOG_PATH_MAX) {
        errno = ENAMETOOLONG;
        return ERR_IO;
    }
    memcpy(old, log_path, sizeof(old));
    memcpy(log_path, path, len + 1);
    enum err e = OK;
    if (len != 0) {
        e = open_path();
    } else if (atomic_load(&log_fd) != STDOUT_FILENO) {
        int fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
        e = fd < 0 ? ERR_IO : switch_to(fd);
    }
    if (e != OK)
        memcpy(log_path, old, sizeof(old));
    return e;
}

enum err log_reopen(void) {
    struct stat at_path, is_open;

    if (log_path[0] == '\0' || fstat(atomic_load(&log_fd), &is_open) != 0)
        return OK;
    if (stat(log_path, &at_path) == 0 && at_path.st_dev == is_open.st_dev &&
        at_path.st_ino == is_open.st_ino)
        return OK;
    return open_path();
}

void log_to_syslog(const char *ident, int facility) {
    log_syslog_open(ident, facility);
}

void log_set_level(enum log_level level) {
    atomic_store_explicit(&log_level_min, (int)level, memory_order_relaxed);
}

/* follow_path: invariant 2, by the first line of each second. */
static void follow_path(int64_t now_s) {
    int64_t last_s = atomic_load_explicit(&checked_s, memory_order_relaxed);
    if (last_s == now_s || !atomic_compare_exchange_strong(&checked_s, &last_s, now_s))
        return;
    if (log_reopen() != OK)
        return; /* the file that is open goes on taking lines; the next second tries again */
}

/* "pid:M 05 Mar 2025 09:07:03.042 * ": what Redis writes, so that log shippers parse it. Always
 * fits. */
static size_t write_prefix(char *line, size_t size, enum log_level level, int64_t now_us) {
    static const char marks[] = {'.', '-', '*', '#', '#'};
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm tm;
    char when[32] = "";

    if (localtime_r(&seconds, &tm) != NULL && strftime(when, sizeof(when), "%d %b %Y %T", &tm) == 0)
        when[0] = '\0';
    int n = snprintf(line, size, "%d:M %s.%03d %c ", (int)getpid(), when,
                     (int)(now_us / 1000 % 1000), marks[level]);
    return n < 0 ? 0 : (size_t)n;
}

void log_raw(const char *text, size_t len) {
    while (len > 0) {
        ssize_t n = write(atomic_load(&log_fd), text, len);
        if (n < 0 && errno != EINTR)
            return;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
}

void log_line(enum log_level level, const char *fmt, ...) {
    if ((int)level < atomic_load_explicit(&log_level_min, memory_order_relaxed) ||
        level >= LOG_NOTHING)
        return;
    int saved_errno = errno;
    int64_t now_us = clock_wall_us();
    char line[LOG_LINE_MAX];
    size_t len = write_prefix(line, sizeof(line), level, now_us);
    size_t prefix_len = len;
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(line + len, sizeof(line) - len, fmt, args);
    va_end(args);
    if (n > 0)
        len += (size_t)n;
    if (len > sizeof(line) - 1)
        len = sizeof(line) - 1;
    /* What a client sent may be in the text; it must not be able to forge a line of its own. */
    for (size_t i = prefix_len; i < len; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 127)
            line[i] = ' ';
    line[len] = '\0';
    log_syslog_line((int)level, line + prefix_len);
    line[len] = '\n';
    follow_path(now_us / 1000000);
    log_raw(line, len + 1);
    errno = saved_errno;
}
