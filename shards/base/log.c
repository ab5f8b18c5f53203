#include "shards/log.h"
#include "shards/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* The process has one log, so these two are the process's: every thread reads them, main sets them.
 */
static atomic_int log_fd = STDOUT_FILENO;
static atomic_int log_level_min = LOG_NOTICE;

enum err log_open(const char *path) {
    int fd = STDOUT_FILENO;

    if (path[0] != '\0') {
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
            return ERR_IO;
    }
    int old = atomic_exchange(&log_fd, fd);
    /* A line that another thread is writing just now may be lost to a closed descriptor; that beats
     * a lock around every line for something that happens when the configuration changes. */
    if (old != STDOUT_FILENO)
        (void)close(old);
    return OK;
}

void log_set_level(enum log_level level) {
    atomic_store_explicit(&log_level_min, (int)level, memory_order_relaxed);
}

/* "pid:M 05 Mar 2025 09:07:03.042 * ": what Redis writes, so that log shippers parse it. Always
 * fits. */
static size_t write_prefix(char *line, size_t size, enum log_level level) {
    static const char marks[] = {'.', '-', '*', '#', '#'};
    int64_t now_us = clock_wall_us();
    time_t seconds = (time_t)(now_us / 1000000);
    struct tm tm;
    char when[32] = "";

    if (localtime_r(&seconds, &tm) != NULL && strftime(when, sizeof(when), "%d %b %Y %T", &tm) == 0)
        when[0] = '\0';
    int n = snprintf(line, size, "%d:M %s.%03d %c ", (int)getpid(), when,
                     (int)(now_us / 1000 % 1000), marks[level]);
    return n < 0 ? 0 : (size_t)n;
}

void log_line(enum log_level level, const char *fmt, ...) {
    if ((int)level < atomic_load_explicit(&log_level_min, memory_order_relaxed) ||
        level >= LOG_NOTHING)
        return;
    int saved_errno = errno;
    char line[LOG_LINE_MAX];
    size_t len = write_prefix(line, sizeof(line), level);
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
    line[len] = '\n';
    while (write(atomic_load(&log_fd), line, len + 1) < 0 && errno == EINTR)
        ;
    errno = saved_errno;
}
