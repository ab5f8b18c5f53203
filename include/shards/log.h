/* log.h: one log for the process, with redis.conf's levels.
 *
 * Threads     any; a line is one write(2), so lines of different shards do not mix. log_raw: signal
 *             handlers too.
 * Limits      LOG_LINE_MAX bytes per line, longer ones are cut.
 * Invariants  (1) a line goes to a descriptor that is the log's, whatever other threads open or close
 *             meanwhile. (2) when another file has taken the log's path, or none is there any more, lines
 *             go to a new file at the path after a second at most.
 */
#ifndef SHARDS_LOG_H
#define SHARDS_LOG_H

#include "shards/attr.h"
#include "shards/err.h"
#include <stdbool.h>
#include <stddef.h>

enum { LOG_LINE_MAX = 2048, LOG_PATH_MAX = 1024, LOG_IDENT_MAX = 64 };
enum log_level { LOG_DEBUG, LOG_VERBOSE, LOG_NOTICE, LOG_WARNING, LOG_NOTHING };

/* log_open: appends to `path`, or standard output when it is "". ERR_IO: errno says why, and nothing has
 * changed. One thread at a time. */
MUST_CHECK enum err log_open(const char *path);
/* log_reopen: opens the path again if another file, or none, is there now: what a program that rotates
 * logs asks for. Lines do the same themselves, once a second. ERR_IO: lines go where they went. */
MUST_CHECK enum err log_reopen(void);
/* log_to_syslog: lines go to syslog, too. facility: 0 is user, 1 to 8 are local0 to local7. Before any
 * other thread starts. */
void log_to_syslog(const char *ident, int facility);
/* log_set_level: lines below `level` are dropped from now on. */
void log_set_level(enum log_level level);
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* log_raw: bytes as they are, without a prefix and whatever the level; async-signal-safe. */
void log_raw(const char *text, size_t len);

#define LOGD(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define LOGV(...) log_line(LOG_VERBOSE, __VA_ARGS__)
#define LOGN(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define LOGW(...) log_line(LOG_WARNING, __VA_ARGS__)

#endif
