/* span.h: bytes that someone else owns. */
#ifndef SHARDS_SPAN_H
#define SHARDS_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct span {
    const char *ptr;
    size_t len;
};

#define SPAN(literal) ((struct span){"" literal, sizeof(literal) - 1})

static inline bool span_eq(struct span a, struct span b) {
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* span_is: ASCII case-insensitive comparison with a C string, for options and names. */
bool span_is(struct span s, const char *word);

#endif
