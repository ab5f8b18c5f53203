/* cache_wire.c: see cache_impl.h. */
#include "cache_impl.h"
#include "shards/assert.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_MAX = CACHE_OPS_MAX * CACHE_MANY * (CACHE_VALUE_MAX + 64) };

static char request[REQUEST_MAX];
static size_t request_len;

static void add(const char *bytes, size_t len) {
    ASSERT(len <= sizeof request - request_len);
    memcpy(request + request_len, bytes, len);
    request_len += len;
}

static void add_head(char type, size_t n) {
    char text[32];
    add(text, (size_t)snprintf(text, sizeof text, "%c%zu\r\n", type, n));
}

void request_begin(unsigned argc) {
    add_head('*', argc);
}

void request_arg(struct span s) {
    add_head('$', s.len);
    add(s.ptr, s.len);
    add("\r\n", 2);
}

void request_word(const char *text) {
    request_arg((struct span){text, strlen(text)});
}

void request_number(uint64_t n) {
    char text[32];
    request_arg((struct span){text, (size_t)snprintf(text, sizeof text, "%lu", (unsigned long)n)});
}

struct span request_bytes(void) {
    return (struct span){request, request_len};
}

void request_taken(void) {
    request_len = 0;
}

void heard_add(struct heard *h, const char *bytes, size_t len) {
    if (h->len + len > h->cap) {
        h->cap = 2 * (h->len + len);
        h->bytes = realloc(h->bytes, h->cap);
        if (h->bytes == NULL)
            abort();
    }
    memcpy(h->bytes + h->len, bytes, len);
    h->len += len;
}

/* line: the one that begins at `at`; returns where the next begins, 0: it is not whole. */
static size_t line(const struct heard *h, size_t at, struct span *out) {
    const char *from = h->bytes + at, *end = at < h->len ? memchr(from, '\n', h->len - at) : NULL;
    if (end == NULL)
        return 0;
    *out = (struct span){from, (size_t)(end - from) - 1};
    return at + out->len + 2;
}

/* number: behind the type. */
static long number(struct span s) {
    return strtol(s.ptr + 1, NULL, 10); /* it ends with \r */
}

bool heard_all(const struct heard *h, unsigned n) {
    size_t at = 0;
    for (unsigned long left = n; left != 0; left--) {
        struct span s;
        if ((at = line(h, at, &s)) == 0)
            return false;
        if (*s.ptr == '*' && number(s) > 0)
            left += (unsigned long)number(s);
        if (*s.ptr == '$' && number(s) >= 0)
            at += (size_t)number(s) + 2;
        if (at > h->len)
            return false;
    }
    return true;
}

struct span heard_next(struct heard *h, size_t *at, char *type) {
    struct span s;
    *at = line(h, *at, &s);
    ASSERT(*at != 0);
    *type = *s.ptr;
    if (*type != '$')
        return s;
    long len = number(s);
    if (len < 0)
        return (struct span){NULL, 0};
    s = (struct span){h->bytes + *at, (size_t)len};
    *at += s.len + 2;
    return s;
}

void heard_drop(struct heard *h, size_t upto) {
    if (upto == 0) /* also when nothing was heard yet, and there are no bytes to point at */
        return;
    if (upto == 0)
        return;
    memmove(h->bytes, h->bytes + upto, h->len - upto);
    h->len -= upto;
}
