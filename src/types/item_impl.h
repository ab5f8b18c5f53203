/* item_impl.h: the bytes of a row in a table: a name, with or without a value and a time.
 *
 *     | head 1 | name length 0, 2, 4 | value length 0, 1, 5 | time 0, 6 | name | value |
 *     head: 1 it has a time, 2 it has a value, 6 bits of name length; 62: 2 bytes follow, 63: 4 bytes
 *     value length: 255: 4 bytes follow. time: Unix ms, 0: none. All of it little endian.
 *
 * Why         one allocation, with one byte before a short name, so that a member of 14 bytes takes 16. Its size is read
 *             from it, as freeing wants to know it.
 */
#ifndef ITEM_IMPL_H
#define ITEM_IMPL_H

#include "shards/mem.h"
#include "shards/span.h"
#include <string.h>

enum {
    ITEM_TIMED = 1,
    ITEM_VALUED = 2,
    ITEM_NAME_SHIFT = 2,
    ITEM_NAME_16 = 62,
    ITEM_NAME_32 = 63,
    ITEM_VALUE_32 = 255,
    ITEM_TIME = 6
};
#define ITEM_TIME_MAX ((1LL << 48) - 1)

/* What an item says, or is to say. Without `timed` expire_ms is 0; with it there is room for a time, and 0 is none. */
struct item {
    struct span name, value;
    int64_t expire_ms;
    bool valued, timed;
};

static inline uint32_t item_load(const uint8_t *p, unsigned bytes) {
    uint32_t v = 0;
    memcpy(&v, p, bytes);
    return v;
}

static inline int64_t item_load_time(const uint8_t *p) {
    uint64_t ms = 0;
    memcpy(&ms, p, ITEM_TIME);
    return (int64_t)ms;
}

/* item_head: reads lengths and time; returns what follows them, the name. */
static inline const uint8_t *item_head(const uint8_t *p, struct item *out) {
    uint8_t head = *p++;
    out->name.len = head >> ITEM_NAME_SHIFT;
    if (unlikely(out->name.len >= ITEM_NAME_16)) {
        unsigned bytes = out->name.len == ITEM_NAME_16 ? 2 : 4;
        out->name.len = item_load(p, bytes);
        p += bytes;
    }
    out->valued = (head & ITEM_VALUED) != 0;
    out->timed = (head & ITEM_TIMED) != 0;
    out->value.len = 0;
    out->expire_ms = 0;
    if (out->valued && unlikely((out->value.len = *p++) == ITEM_VALUE_32)) {
        out->value.len = item_load(p, 4);
        p += 4;
    }
    if (out->timed) {
        out->expire_ms = item_load_time(p);
        p += ITEM_TIME;
    }
    return p;
}

static inline void item_get(const uint8_t *p, struct item *out) {
    out->name.ptr = (const char *)item_head(p, out);
    out->value.ptr = out->name.ptr + out->name.len;
}

static inline bool item_is(const uint8_t *p, struct span name) {
    struct item i;
    const uint8_t *at = item_head(p, &i);
    return i.name.len == name.len && (name.len == 0 || memcmp(at, name.ptr, name.len) == 0);
}

static inline int64_t item_expire_ms(const uint8_t *p) {
    if (likely((*p & ITEM_TIMED) == 0))
        return 0;
    struct item i;
    (void)item_head(p, &i);
    return i.expire_ms;
}

static inline bool item_dead(int64_t expire_ms, int64_t now_ms) {
    return unlikely(expire_ms != 0) && now_ms > expire_ms;
}

size_t item_bytes(const struct item *i);
/* item_write: item_bytes at p. The texts must not lie there. */
void item_write(uint8_t *p, const struct item *i);
/* item_set_time: of one that has room for it. */
void item_set_time(uint8_t *p, int64_t expire_ms);
MUST_CHECK uint8_t *item_create(struct mem *m, const struct item *i);
/* item_size: of the same size class as was asked for. */
size_t item_size(const uint8_t *p);
MUST_CHECK uint8_t *item_copy(struct mem *m, const uint8_t *from);
void item_free(struct mem *m, uint8_t *p);

#endif
