/* bits.c: see bits_impl.h. */
#include "bits_impl.h"
#include "shards/assert.h"

static uint64_t load_word(const char *p) {
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* byte_sums: in each byte, how many of its bits are set. */
static uint64_t byte_sums(uint64_t v) {
    v -= v >> 1 & 0x5555555555555555ULL;
    v = (v & 0x3333333333333333ULL) + (v >> 2 & 0x3333333333333333ULL);
    return (v + (v >> 4)) & 0x0F0F0F0F0F0F0F0FULL;
}

static uint64_t add_bytes(uint64_t v) {
    v = (v & 0x00FF00FF00FF00FFULL) + (v >> 8 & 0x00FF00FF00FF00FFULL);
    return v * 0x0001000100010001ULL >> 48;
}

/* count_bytes: sums per byte are carried over 31 words, the most that a byte can count (31 * 8 =
 * 248). */
static uint64_t count_bytes(const char *p, size_t len) {
    enum { WORDS = 31 };
    uint64_t total = 0;
    size_t words = len / 8;
    while (words > 0) {
        size_t n = words < WORDS ? words : WORDS;
        uint64_t sums = 0;
        for (size_t i = 0; i < n; i++)
            sums += byte_sums(load_word(p + 8 * i));
        total += add_bytes(sums);
        p += 8 * n;
        words -= n;
    }
    for (size_t i = 0; i < len % 8; i++)
        total += add_bytes(byte_sums((unsigned char)p[i]));
    return total;
}

uint64_t bits_count(struct span bytes, uint64_t from, uint64_t to) {
    ASSERT(from <= to);
    ASSERT(to / 8 < bytes.len);
    size_t first = from / 8, last = to / 8;
    uint64_t total = count_bytes(bytes.ptr + first, last - first + 1);
    unsigned before = (unsigned char)bytes.ptr[first] & ~(0xFFU >> from % 8);
    unsigned behind = (unsigned char)bytes.ptr[last] & (0x7FU >> to % 8);
    return total - add_bytes(byte_sums(before & 0xFF)) - add_bytes(byte_sums(behind));
}

uint64_t bits_find(struct span bytes, uint64_t from, uint64_t to, bool bit) {
    ASSERT(to / 8 < bytes.len);
    uint64_t at = from;
    unsigned char other = bit ? 0 : 0xFF;
    uint64_t others = bit ? 0 : UINT64_MAX;
    while (at <= to) {
        if (at % 8 != 0 || to - at < 8) {
            if (bits_get(bytes, at) == bit)
                return at;
            at++;
        } else if (to - at >= 64 && load_word(bytes.ptr + at / 8) == others) {
            at += 64;
        } else if ((unsigned char)bytes.ptr[at / 8] == other) {
            at += 8;
        } else {
            while (bits_get(bytes, at) != bit)
                at++;
            return at;
        }
    }
    return to + 1;
}

bool bits_offset(struct ctx *c, uint32_t i, unsigned field, uint64_t *offset) {
    struct span text = c->argv[i];
    bool fields = field > 0 && text.len > 0 && text.ptr[0] == '#';
    int64_t at;
    if (fields)
        text = (struct span){text.ptr + 1, text.len - 1};
    if (!strval_parse_int(text, &at) ||
        (fields && __builtin_mul_overflow(at, (int64_t)field, &at)) || at < 0 ||
        (uint64_t)at / 8 >= ctx_string_max(c)) {
        reply_error(&c->reply, "ERR bit offset is not an integer or out of range");
        return false;
    }
    *offset = (uint64_t)at;
    return true;
}
