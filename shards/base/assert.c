#include "shards/assert.h"
#include "shards/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__clang__)
/* The capability that ON_SHARD names. It has no state: only the analysis of clang knows it. */
struct shard_role shard_role;
#endif

void assert_failed(const char *file, int line, const char *condition) {
    /* Standard error too: the log may be a file that nobody looks at, or be turned off. */
    (void)dprintf(STDERR_FILENO, "%s:%d: assertion failed: %s\n", file, line, condition);
    log_line(LOG_WARNING, "%s:%d: assertion failed: %s", file, line, condition);
    abort();
}
