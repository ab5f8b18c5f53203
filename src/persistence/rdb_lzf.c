/* rdb_lzf.c: compression as LZF has it, which liblzf and every server unpack.
 *
 *     000lllll                       that and one more bytes as they are
 *     lllooooo oooooooo              l + 2 bytes (l: 1 to 6) that came o + 1 bytes ago
 *     111ooooo llllllll oooooooo     l + 9 bytes
 *
 * Why         a long text is compressed in slices, and its length has to stand before it: so it is measured piece by piece and then
 *             written, and both times must come to the same. liblzf's table begins with whatever the stack holds, so what it makes
 *             of a text is not always the same, and it wants all of a text at once. (It hashes into half a megabyte, too, which
 *             misses the cache for short texts: 128 random bytes take it 205 ns, and this 115; other texts become up to
 *             1% longer than it makes them.)
 * Cost        O(len). Limits: RDB_WHOLE_MAX bytes.
 * Source      the format is Marc Lehmann's.
 */
#include "rdb_encode_impl.h"
#include "shards/assert.h"

enum {
    SLOTS_LOG_MIN = 6,
    SLOTS_LOG_MAX = 13,
    BACK_MAX = 1 << 13,
    COPY_MIN = 3,
    COPY_SHORT_MAX = 8,
    COPY_MAX = 264,
    RAW_MAX = 32,
    WORD = 4,        /* is loaded, of which COPY_MIN bytes count */
    PATIENCE_LOG = 5 /* after so many places without luck, the steps are longer by one */
};

static inline uint32_t load(const uint8_t *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word << 8;
}

static inline unsigned slot_of(uint32_t word, unsigned slots_log) {
    return word * 2654435761U >> (32 - slots_log);
}

/* put_raw: bytes as they are; there is room. A whole run is copied at once where that much can be read and written. */
static inline uint8_t *put_raw(uint8_t *to, const uint8_t *from, size_t n, const uint8_t *from_end,
                               const uint8_t *to_end) {
    while (n > 0) {
        size_t run = n < RAW_MAX ? n : RAW_MAX;
        *to++ = (uint8_t)(run - 1);
        if (likely(from_end - from >= RAW_MAX && to_end - to >= RAW_MAX))
            memcpy(to, from, RAW_MAX);
        else
            memcpy(to, from, run);
        to += run;
        from += run;
        n -= run;
    }
    return to;
}

static inline uint8_t *put_copy(uint8_t *to, size_t back, size_t n) {
    size_t offset = back - 1;
    if (n <= COPY_SHORT_MAX) {
        *to++ = (uint8_t)((n - 2) << 5 | offset >> 8);
    } else {
        *to++ = (uint8_t)(7 << 5 | offset >> 8);
        *to++ = (uint8_t)(n - COPY_SHORT_MAX - 1);
    }
    *to++ = (uint8_t)offset;
    return to;
}

/* common: how many bytes are the same, of which COPY_MIN are known to be. Byte by byte: a guess that a branch takes early is
 * worth more than the fewest steps. */
static inline size_t common(const uint8_t *p, const uint8_t *ref, const uint8_t *end) {
    size_t n = COPY_MIN, n_max = (size_t)(end - p) < COPY_MAX ? (size_t)(end - p) : COPY_MAX;
    while (n < n_max && p[n] == ref[n])
        n++;
    return n;
}

size_t rdb_lzf_pack(const uint8_t *in, size_t len, uint8_t *out, size_t room) {
    uint16_t slots[1 << SLOTS_LOG_MAX]; /* where a word was last seen */
    ASSERT(len > 0);
    ASSERT(len <= RDB_WHOLE_MAX);
    unsigned log = 65 - (unsigned)__builtin_clzll(len);
    log = log < SLOTS_LOG_MIN ? SLOTS_LOG_MIN : log > SLOTS_LOG_MAX ? SLOTS_LOG_MAX : log;
    memset(slots, 0, sizeof *slots << log);
    const uint8_t *end = in + len, *raw = in, *p = in + 1;
    uint8_t *to = out;
    for (unsigned misses = 0; end - p >= WORD;) {
        uint32_t word = load(p);
        uint16_t *slot = &slots[slot_of(word, log)];
        const uint8_t *ref = in + *slot;
        *slot = (uint16_t)(p - in);
        if (p - ref > BACK_MAX || load(ref) != word) {
            p += 1 + (misses++ >> PATIENCE_LOG);
            continue;
        }
        misses = 0;
        size_t n = common(p, ref, end), raws = (size_t)(p - raw);
        if ((size_t)(out + room - to) < raws + raws / RAW_MAX + 1 + 3)
            return 0;
        to = put_copy(put_raw(to, raw, raws, end, out + room), (size_t)(p - ref), n);
        raw = p += n;
        if (end - p < WORD)
            break;
        slots[slot_of(load(p - 2), log)] = (uint16_t)(p - 2 - in);
        slots[slot_of(load(p - 1), log)] = (uint16_t)(p - 1 - in);
    }
    size_t raws = (size_t)(end - raw);
    if ((size_t)(out + room - to) < raws + raws / RAW_MAX + 1)
        return 0;
    return (size_t)(put_raw(to, raw, raws, end, out + room) - out);
}
