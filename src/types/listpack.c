/* listpack.c: strings and integers in one run of bytes. See anax/listpack.h. */
#include "anax/listpack.h"
#include "shards/assert.h"
#include "shards/bytes.h"
#include "shards/decimal.h"
#include <endian.h>

enum {
    LP_END = 0xff,
    COUNT_AT = 4,
    /* The first byte of an entry, where it says no more than the encoding. */
    INT_13 = 0xc0,
    STR_6 = 0x80,
    STR_12 = 0xe0,
    STR_32 = 0xf0,
    INT_16,
    INT_24,
    INT_32,
    INT_64,
    STR_6_MAX = 63,
    STR_12_MAX = 4095,
    ENCODED_MAX = 9, /* an integer, or what comes before a string */
    BACKLEN_MAX = 5
};

/* Bytes of an entry by its first byte, 0: more has to be read, or it is no entry. An integer is 1, 2, 3,
 * 4, 5 or 9 bytes, a string of up to 63 bytes has 1 before it, and all of them one behind. */
#define EIGHT(a, step)                                                                             \
    (a), (a) + (step), (a) + 2 * (step), (a) + 3 * (step), (a) + 4 * (step), (a) + 5 * (step),     \
        (a) + 6 * (step), (a) + 7 * (step)
#define SIXTEEN(n) EIGHT(n, 0), EIGHT(n, 0)
/* clang-format off */
static const uint8_t sizes[256] = {
    SIXTEEN(2), SIXTEEN(2), SIXTEEN(2), SIXTEEN(2), SIXTEEN(2), SIXTEEN(2), SIXTEEN(2), SIXTEEN(2),
    EIGHT(2, 1), EIGHT(10, 1), EIGHT(18, 1), EIGHT(26, 1),
    EIGHT(34, 1), EIGHT(42, 1), EIGHT(50, 1), EIGHT(58, 1),
    SIXTEEN(3), SIXTEEN(3),
    [INT_16] = 4, [INT_24] = 5, [INT_32] = 6, [INT_64] = 10,
};
/* clang-format on */

/* --- numbers --- */

/* Bytes that the length n of an entry takes behind it. The most of 2, 3 and 4 bytes, all ones, takes one
 * more: so Redis writes it, and who reads from the front has to know. */
static unsigned backlen_bytes(size_t n) {
    if (n <= 127)
        return 1;
    if (n < (1U << 14) - 1)
        return 2;
    if (n < (1U << 21) - 1)
        return 3;
    return n < (1U << 28) - 1 ? 4 : BACKLEN_MAX;
}

static uint8_t *backlen_put(uint8_t *to, size_t n) {
    unsigned bytes = backlen_bytes(n);
    for (unsigned i = bytes; i-- > 0; n >>= 7)
        to[i] = (uint8_t)((n & 127) | (i > 0 ? 128 : 0));
    return to + bytes;
}

/* --- keys --- */

struct lp_key lp_key_of(struct span text) {
    struct lp_key k = {.text = text};
    k.is_num = strval_parse_int(text, &k.num);
    return k;
}

struct span lp_item_text(const struct lp_item *i, char digits[STRVAL_INT_BYTES]) {
    if (i->str != NULL)
        return (struct span){i->str, i->len};
    return (struct span){digits, (size_t)(decimal_put_int(digits, i->num) - digits)};
}

size_t lp_item_len(const struct lp_item *i) {
    return i->str != NULL ? i->len : strval_int_len(i->num);
}

static unsigned int_put(uint8_t to[ENCODED_MAX], int64_t v) {
    uint64_t bits = (uint64_t)v;
    if (v >= 0 && v <= 127) {
        to[0] = (uint8_t)v;
        return 1;
    }
    if (v >= -4096 && v <= 4095) {
        to[0] = (uint8_t)(INT_13 | (bits >> 8 & 0x1f));
        to[1] = (uint8_t)bits;
        return 2;
    }
    bits = htole64(bits);
    unsigned bytes = 8;
    if (v >= INT16_MIN && v <= INT16_MAX)
        bytes = 2;
    else if (v >= -(1 << 23) && v < 1 << 23)
        bytes = 3;
    else if (v >= INT32_MIN && v <= INT32_MAX)
        bytes = 4;
    to[0] = bytes == 8 ? INT_64 : (uint8_t)(INT_16 + bytes - 2);
    memcpy(to + 1, &bits, bytes);
    return 1 + bytes;
}

/* What an entry begins with: all of an integer, the length of a string. */
static unsigned head_put(uint8_t to[ENCODED_MAX], const struct lp_key *k) {
    size_t len = k->text.len;
    if (k->is_num)
        return int_put(to, k->num);
    if (len <= STR_6_MAX) {
        to[0] = (uint8_t)(STR_6 | len);
        return 1;
    }
    if (len <= STR_12_MAX) {
        to[0] = (uint8_t)(STR_12 | len >> 8);
        to[1] = (uint8_t)len;
        return 2;
    }
    to[0] = STR_32;
    store_le32(to + 1, (uint32_t)len);
    return 5;
}

size_t lp_entry_bytes_of(const struct lp_key *k) {
    uint8_t head[ENCODED_MAX];
    size_t bytes = head_put(head, k) + (k->is_num ? 0 : k->text.len);
    return bytes + backlen_bytes(bytes);
}

uint8_t *lp_entry_put(uint8_t *to, const struct lp_key *k) {
    uint8_t head[ENCODED_MAX];
    size_t bytes = head_put(head, k);
    memcpy(to, head, bytes);
    if (!k->is_num && k->text.len > 0) {
        memcpy(to + bytes, k->text.ptr, k->text.len);
        bytes += k->text.len;
    }
    return backlen_put(to + bytes, bytes);
}

/* --- entries --- */

/* Of strings of more than 63 bytes: what comes before the text, and the length of that. */
static size_t long_head(const uint8_t *p, size_t *len) {
    if (*p == STR_32) {
        *len = load_le32(p + 1);
        return 5;
    }
    *len = (size_t)(*p & 15) << 8 | p[1];
    return 2;
}

static __attribute__((noinline)) size_t long_bytes(const uint8_t *p) {
    size_t len;
    size_t bytes = long_head(p, &len) + len;
    return bytes + backlen_bytes(bytes);
}

static inline size_t entry_bytes(const uint8_t *p) {
    size_t bytes = sizes[*p];
    return likely(bytes != 0) ? bytes : long_bytes(p);
}

size_t lp_entry_bytes(const uint8_t *p) {
    return entry_bytes(p);
}

uint8_t *lp_entry_before(const uint8_t *p) {
    const uint8_t *q = p - 1;
    size_t bytes = *q & 127;
    for (unsigned shift = 7; *q & 128; shift += 7)
        bytes |= (size_t)(*--q & 127) << shift;
    return (uint8_t *)q - bytes;
}

static int64_t entry_num(const uint8_t *p) {
    switch (*p) {
    case INT_16:
        return (int16_t)load_le16(p + 1);
    case INT_24: /* the sign comes down from the top */
        return (int32_t)((uint32_t)load_le16(p + 1) << 8 | (uint32_t)p[3] << 24) >> 8;
    case INT_32:
        return (int32_t)load_le32(p + 1);
    case INT_64:
        return (int64_t)load_le64(p + 1);
    default:
        return (int16_t)((uint16_t)(*p << 11) | (uint16_t)(p[1] << 3)) >> 3;
    }
}

void lp_entry_get(const uint8_t *p, struct lp_item *out) {
    uint8_t first = *p;
    if ((first & 0xc0) == STR_6) {
        *out = (struct lp_item){.str = (const char *)p + 1, .len = first & STR_6_MAX};
    } else if (first < STR_6) {
        *out = (struct lp_item){.num = first};
    } else if (sizes[first] != 0) {
        *out = (struct lp_item){.num = entry_num(p)};
    } else {
        size_t len, head = long_head(p, &len);
        *out = (struct lp_item){.str = (const char *)p + head, .len = (uint32_t)len};
    }
}

/* What an entry must begin with to be a key. Every text has one encoding, so bytes are all that has to
 * be compared: the first of them, which has the length of most texts, then the last, which tells
 * apart what a program counted up, then the rest. */
struct pattern {
    uint8_t head[ENCODED_MAX];
    const uint8_t *body; /* behind head_len bytes */
    size_t head_len, body_len;
};

static void pattern_of(struct pattern *w, const struct lp_key *k) {
    w->head_len = head_put(w->head, k);
    w->body = (const uint8_t *)k->text.ptr;
    w->body_len = k->text.len;
    if (k->is_num) {
        w->body = w->head + 1;
        w->body_len = w->head_len - 1;
        w->head_len = 1;
    }
}

static inline bool entry_matches(const uint8_t *p, const struct pattern *w) {
    if (*p != w->head[0])
        return false;
    if (w->head_len > 1 && memcmp(p, w->head, w->head_len) != 0)
        return false;
    p += w->head_len;
    return w->body_len == 0 || (p[w->body_len - 1] == w->body[w->body_len - 1] &&
                                memcmp(p, w->body, w->body_len - 1) == 0);
}

bool lp_entry_is(const uint8_t *p, const struct lp_key *k) {
    struct pattern w;
    pattern_of(&w, k);
    return entry_matches(p, &w);
}

/* short_valid: of a string of up to 63 bytes; it may not be what integers are kept as. */
static inline size_t short_valid(const uint8_t *p, size_t room) {
    size_t len = *p & STR_6_MAX;
    int64_t num;
    if (room < len + 2 || p[len + 1] != len + 1)
        return 0;
    bool may_be_int = len > 0 && (p[1] == '-' || (p[1] >= '0' && p[1] <= '9'));
    if (unlikely(may_be_int) && strval_parse_int((struct span){(const char *)p + 1, len}, &num))
        return 0;
    return len + 2;
}

/* The text or number of what begins like an entry is read, and must have been written in this way. */
size_t lp_entry_valid(const uint8_t *p, const uint8_t *end) {
    size_t room = (size_t)(end - p);
    if (room == 0 || *p > INT_64)
        return 0;
    if (likely((*p & 0xc0) == STR_6)) /* nearly all: half of the time */
        return short_valid(p, room);
    size_t bytes = sizes[*p];
    if (bytes == 0) {
        size_t len;
        if (room < (*p == STR_32 ? 5 : 2))
            return 0;
        bytes = long_head(p, &len) + len;
        bytes += backlen_bytes(bytes);
    }
    if (bytes > room)
        return 0;
    struct lp_item item;
    char digits[STRVAL_INT_BYTES];
    lp_entry_get(p, &item);
    struct lp_key k = lp_key_of(lp_item_text(&item, digits));
    struct pattern w;
    pattern_of(&w, &k);
    uint8_t backlen[BACKLEN_MAX];
    size_t before = w.head_len + w.body_len;
    size_t behind = (size_t)(backlen_put(backlen, before) - backlen);
    if (before + behind != bytes || !entry_matches(p, &w))
        return 0;
    return memcmp(p + before, backlen, behind) == 0 ? bytes : 0;
}

/* --- whole listpacks --- */

static void set_bytes(uint8_t *lp, size_t bytes) {
    ASSERT(bytes <= UINT32_MAX);
    store_le32(lp, (uint32_t)bytes);
}

static uint16_t told_count(const uint8_t *lp) {
    return load_le16(lp + COUNT_AT);
}

static void set_count(uint8_t *lp, uint32_t count) {
    store_le16(lp + COUNT_AT, (uint16_t)(count < LP_COUNT_UNKNOWN ? count : LP_COUNT_UNKNOWN));
}

void lp_init(uint8_t *lp) {
    set_bytes(lp, LP_EMPTY_BYTES);
    set_count(lp, 0);
    lp[LP_HEADER] = LP_END;
}

uint32_t lp_bytes(const uint8_t *lp) {
    return load_le32(lp);
}

uint32_t lp_count(const uint8_t *lp) {
    uint32_t n = told_count(lp);
    if (likely(n != LP_COUNT_UNKNOWN))
        return n;
    n = 0;
    for (const uint8_t *p = lp + LP_HEADER; *p != LP_END; p += entry_bytes(p))
        n++;
    return n;
}

bool lp_valid(const uint8_t *lp, size_t len) {
    if (len < LP_EMPTY_BYTES || lp_bytes(lp) != len || lp[len - 1] != LP_END)
        return false;
    const uint8_t *p = lp + LP_HEADER, *end = lp + len - 1;
    size_t n = 0;
    for (; p < end; n++) {
        size_t bytes = lp_entry_valid(p, end);
        if (bytes == 0)
            return false;
        p += bytes;
    }
    uint32_t told = told_count(lp);
    return told == n || told == LP_COUNT_UNKNOWN;
}

static inline uint8_t *entry_or_none(uint8_t *p) {
    return *p != LP_END ? p : NULL;
}

uint8_t *lp_first(uint8_t *lp) {
    return entry_or_none(lp + LP_HEADER);
}

uint8_t *lp_last(uint8_t *lp) {
    return lp_prev(lp, lp + lp_bytes(lp) - 1);
}

uint8_t *lp_next(uint8_t *p) {
    return entry_or_none(p + entry_bytes(p));
}

uint8_t *lp_prev(uint8_t *lp, uint8_t *p) {
    return p != lp + LP_HEADER ? lp_entry_before(p) : NULL;
}

uint8_t *lp_skip(uint8_t *p, uint32_t n) {
    for (; n > 0 && *p != LP_END; n--)
        p += entry_bytes(p);
    return entry_or_none(p);
}

static uint8_t *at_from_end(uint8_t *lp, uint64_t n) {
    uint8_t *p = lp_last(lp);
    while (n-- > 0 && p != NULL)
        p = lp_prev(lp, p);
    return p;
}

uint8_t *lp_at(uint8_t *lp, int64_t index) {
    uint32_t count = told_count(lp);
    if (count != LP_COUNT_UNKNOWN) {
        if (index < -(int64_t)count || index >= (int64_t)count)
            return NULL;
        index = index < 0 ? index + count : index;
        if (index > count / 2)
            index -= count;
    }
    if (index < 0)
        return at_from_end(lp, (uint64_t) - (index + 1));
    return index <= UINT32_MAX ? lp_skip(lp + LP_HEADER, (uint32_t)index) : NULL;
}

uint8_t *lp_find(uint8_t *p, const struct lp_key *k, unsigned skip) {
    if (p == NULL)
        return NULL;
    struct pattern w;
    pattern_of(&w, k);
    while (*p != LP_END) {
        if (entry_matches(p, &w))
            return p;
        p += entry_bytes(p);
        for (unsigned i = 0; i < skip && *p != LP_END; i++)
            p += entry_bytes(p);
    }
    return NULL;
}

/* --- edits --- */

/* move_tail: what lies from `from` on, the end too, lies from `to` on. */
static void move_tail(uint8_t *lp, uint8_t *to, const uint8_t *from) {
    size_t bytes = lp_bytes(lp);
    memmove(to, from, bytes - (size_t)(from - lp));
    set_bytes(lp, bytes + (size_t)(to - lp) - (size_t)(from - lp));
}

uint8_t *lp_insert(uint8_t *lp, uint8_t *p, const struct lp_key *k) {
    uint32_t count = told_count(lp);
    if (p == NULL)
        p = lp + lp_bytes(lp) - 1;
    move_tail(lp, p + lp_entry_bytes_of(k), p);
    (void)lp_entry_put(p, k);
    if (count != LP_COUNT_UNKNOWN)
        set_count(lp, count + 1);
    return p;
}

uint8_t *lp_replace(uint8_t *lp, uint8_t *p, const struct lp_key *k) {
    size_t was = entry_bytes(p), is = lp_entry_bytes_of(k);
    if (was != is)
        move_tail(lp, p + is, p + was);
    (void)lp_entry_put(p, k);
    return p;
}

uint8_t *lp_remove(uint8_t *lp, uint8_t *p, uint32_t n) {
    uint32_t count = told_count(lp), removed = 0;
    const uint8_t *behind = p;
    for (; removed < n && *behind != LP_END; removed++)
        behind += entry_bytes(behind);
    move_tail(lp, p, behind);
    if (count != LP_COUNT_UNKNOWN)
        set_count(lp, count - removed);
    return entry_or_none(p);
}
