/* log.h: one log for the process, with redis.conf's levels.
 *
 * Threads     any; a line is one write(2), so lines of different shards do not mix.
 * Limits      LOG_LINE_MAX bytes per line, longer ones are cut.
 */
#ifndef SHARDS_LOG_H
#define SHARDS_LOG_H

#include "shards/attr.h"
#include "shards/err.h"

enum { LOG_LINE_MAX = 1024 };
enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };

/* log_open: appends to `path`, or standard output when it is "". ERR_IO: errno says why. */
MUST_CHECK enum err log_open(const char *path);
/* log_set_level: lines below `level` are dropped from now on. */
void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

#define LOGD(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define LOGV(...) log_line(LOG_VERBOSE, __VA_ARGS__)
#define LOGN(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define LOGW(...) log_line(LOG_WARNING, __VA_ARGS__)

#endif
