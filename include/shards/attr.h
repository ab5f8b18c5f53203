/* attr.h: compiler attributes under names of our own, and the capability that guards a shard.
 *
 * Why         `ON_SHARD` marks every function that touches a shard's data; clang's -Wthread-safety
 *             then rejects a call from code that has not claimed the shard. gcc ignores it.
 * Threads     shard_claim() is the first statement of a callback that enters a shard.
 */
#ifndef SHARDS_ATTR_H
#define SHARDS_ATTR_H

#include <assert.h> /* static_assert */

#define likely(x)                       __builtin_expect(!!(x), 1)
#define unlikely(x)                     __builtin_expect(!!(x), 0)
#define MUST_CHECK                      __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args)          __attribute__((format(printf, fmt, args)))
#define CACHE_LINE                      64
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define COUNT_OF(array)                 (sizeof(array) / sizeof((array)[0]))

#if defined(__clang__)
struct __attribute__((capability("shard"))) shard_role {
    int unused;
};
extern struct shard_role shard_role;
#define ON_SHARD __attribute__((requires_capability(shard_role)))
static inline __attribute__((assert_capability(shard_role))) void shard_claim(void) {
}
#else
#define ON_SHARD
static inline void shard_claim(void) {
}
#endif

#endif
