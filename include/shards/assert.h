/* assert.h: assertions for our own bugs; always on.
 *
 * Why         a broken invariant must stop the process before it spreads into data.
 * Use         one condition each, cheap. ASSERT_SLOW is for checks that cost more than the code
 *             they guard; only builds with ANAX_ASSERT_SLOW have it.
 */
#ifndef SHARDS_ASSERT_H
#define SHARDS_ASSERT_H

#include "shards/attr.h"

/* Prints where and what, then aborts. */
_Noreturn void assert_failed(const char *file, int line, const char *condition);
/* assert_reason: what assert_failed printed, for whoever handles SIGABRT; NULL when none has failed.
 * Async-signal-safe. */
const char *assert_reason(void);

#define ASSERT(cond)                                                                               \
    do {                                                                                           \
        if (unlikely(!(cond)))                                                                     \
            assert_failed(__FILE__, __LINE__, #cond);                                              \
    } while (0)

#ifdef ANAX_ASSERT_SLOW
#define ASSERT_SLOW(cond) ASSERT(cond)
#else
#define ASSERT_SLOW(cond) ((void)0)
#endif

#endif
