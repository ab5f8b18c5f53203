#include "log_impl.h"

#include <stddef.h>
#include <stdio.h>
#include <syslog.h>

enum { IDENT_MAX = 64 };

/* Written before other threads start. syslog(3) keeps the pointer, hence a copy here. */
static char name[IDENT_MAX + 1];
static bool is_open;

void log_syslog_open(const char *ident, int facility) {
    static const int facilities[] = {LOG_USER,   LOG_LOCAL0, LOG_LOCAL1, LOG_LOCAL2, LOG_LOCAL3,
                                     LOG_LOCAL4, LOG_LOCAL5, LOG_LOCAL6, LOG_LOCAL7};

    (void)snprintf(name, sizeof(name), "%s", ident);
    /* LOG_NDELAY: a descriptor that is had now cannot be missing later, when they have run out. */
    openlog(name, LOG_PID | LOG_NDELAY | LOG_NOWAIT, facilities[facility]);
    is_open = true;
}

void log_syslog_line(int level, const char *text) {
    static const int priorities[] = {LOG_DEBUG, LOG_INFO, LOG_NOTICE, LOG_WARNING};

    if (is_open)
        syslog(priorities[level], "%s", text);
}
