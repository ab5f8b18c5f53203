#include "shards/assert.h"
#include "shards/log.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__clang__)
/* The capability that ON_SHARD names. It has no state: only the analysis of clang knows it. */
struct shard_role shard_role;
#endif

enum { REASON_BYTES_MAX = 512 };

static char reason[REASON_BYTES_MAX];
static atomic_bool reason_taken, reason_written; /* the first failure's, should two threads fail */

const char *assert_reason(void) {
    return atomic_load(&reason_written) ? reason : NULL;
}

void assert_failed(const char *file, int line, const char *condition) {
    char text[REASON_BYTES_MAX];

    (void)snprintf(text, sizeof(text), "%s:%d: assertion failed: %s", file, line, condition);
    if (!atomic_exchange(&reason_taken, true)) {
        memcpy(reason, text, sizeof(reason));
        atomic_store(&reason_written, true);
    }
    /* Standard error too: the log may be a file that nobody looks at, or be turned off. */
    (void)dprintf(STDERR_FILENO, "%s\n", text);
    log_line(LOG_WARNING, "%s", text);
    abort();
}
