/* intset.c: a few sorted integers. See anax/intset.h. */
#include "anax/intset.h"
#include "shards/bytes.h"
#include <endian.h>
#include <string.h>

enum { COUNT_AT = 4, WIDTH_MIN = 2, WIDTH_MAX = 8 };

static size_t width_of(const uint8_t *is) {
    return load_le32(is);
}

static size_t width_for(int64_t v) {
    if (v >= INT16_MIN && v <= INT16_MAX)
        return 2;
    return v >= INT32_MIN && v <= INT32_MAX ? 4 : 8;
}

/* Both are of one width once they are inlined where that is known. */
static inline __attribute__((always_inline)) int64_t get(const uint8_t *is, size_t width,
                                                         size_t i) {
    const uint8_t *p = is + INTSET_HEADER + i * width;
    if (width == 2)
        return (int16_t)load_le16(p);
    return width == 4 ? (int32_t)load_le32(p) : (int64_t)load_le64(p);
}

static void put(uint8_t *is, size_t width, size_t i, int64_t v) {
    uint64_t bits = htole64((uint64_t)v);
    memcpy(is + INTSET_HEADER + i * width, &bits, width);
}

/* The first place whose integer is not less than v, count when there is none. No branch depends on what is
 * compared: half of them would be guessed wrong. */
static inline __attribute__((always_inline)) size_t place(const uint8_t *is, size_t width,
                                                          int64_t v) {
    size_t base = 0, n = intset_count(is);
    while (n > 1) {
        size_t half = n / 2;
        base += get(is, width, base + half - 1) < v ? half : 0;
        n -= half;
    }
    return base + (n == 1 && get(is, width, base) < v);
}

void intset_init(uint8_t *is) {
    store_le32(is, WIDTH_MIN);
    store_le32(is + COUNT_AT, 0);
}

uint32_t intset_count(const uint8_t *is) {
    return load_le32(is + COUNT_AT);
}

size_t intset_bytes(const uint8_t *is) {
    return INTSET_HEADER + intset_count(is) * width_of(is);
}

bool intset_valid(const uint8_t *is, size_t len) {
    if (len < INTSET_HEADER)
        return false;
    size_t width = width_of(is), n = intset_count(is);
    if ((width != 2 && width != 4 && width != WIDTH_MAX) || len != INTSET_HEADER + n * width)
        return false;
    for (size_t i = 1; i < n; i++)
        if (get(is, width, i - 1) >= get(is, width, i))
            return false;
    return true;
}

int64_t intset_at(const uint8_t *is, uint32_t i) {
    return get(is, width_of(is), i);
}

bool intset_find(const uint8_t *is, int64_t v, uint32_t *at) {
    size_t width = width_of(is), i;
    switch (width) {
    case 2:
        i = place(is, 2, v);
        break;
    case 4:
        i = place(is, 4, v);
        break;
    default:
        i = place(is, 8, v);
        break;
    }
    *at = (uint32_t)i;
    return i < intset_count(is) && get(is, width, i) == v;
}

size_t intset_bytes_with(const uint8_t *is, int64_t v) {
    size_t width = width_of(is), need = width_for(v);
    return INTSET_HEADER + ((size_t)intset_count(is) + 1) * (need > width ? need : width);
}

/* All get wider from the last on, which overwrites only what has been read. v, which is wider than all of
 * them, comes before the first or behind the last. */
static void add_wider(uint8_t *is, int64_t v) {
    size_t was = width_of(is), width = width_for(v), n = intset_count(is);
    for (size_t i = n; i-- > 0;)
        put(is, width, i + (v < 0), get(is, was, i));
    put(is, width, v < 0 ? 0 : n, v);
    store_le32(is, (uint32_t)width);
}

bool intset_add(uint8_t *is, int64_t v) {
    size_t width = width_of(is);
    uint32_t n = intset_count(is), at;
    if (width_for(v) > width) {
        add_wider(is, v);
    } else {
        if (intset_find(is, v, &at))
            return false;
        uint8_t *p = is + INTSET_HEADER + at * width;
        memmove(p + width, p, (n - at) * width);
        put(is, width, at, v);
    }
    store_le32(is + COUNT_AT, n + 1);
    return true;
}

bool intset_remove(uint8_t *is, int64_t v) {
    size_t width = width_of(is);
    uint32_t n = intset_count(is), at;
    if (!intset_find(is, v, &at))
        return false;
    uint8_t *p = is + INTSET_HEADER + at * width;
    memmove(p, p + width, (n - at - 1) * width);
    store_le32(is + COUNT_AT, n - 1);
    return true;
}
