/* log_impl.h: between log.c and log_syslog.c, which cannot see each other's names: syslog.h and log.h
 * both have a LOG_DEBUG. */
#ifndef LOG_IMPL_H
#define LOG_IMPL_H

#include <stdbool.h>

/* log_syslog_open: as log_to_syslog. */
void log_syslog_open(const char *ident, int facility);
/* log_syslog_line: nothing before log_syslog_open. level: an enum log_level. */
void log_syslog_line(int level, const char *text);

#endif
