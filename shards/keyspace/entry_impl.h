/* entry_impl.h: the bytes of an entry, for this room only. keyspace.h draws them.
 *
 *     byte 0   type 4 | repr 2 | has expiry 1 | access bit 22
 *     byte 1   key length, 255: the 4-byte length follows the expiry
 *     byte 2-5 inline value length 10 | access bits 0-21
 */
#ifndef KEYSPACE_ENTRY_IMPL_H
#define KEYSPACE_ENTRY_IMPL_H

#include "shards/keyspace.h"
#include <string.h>

enum {
    ENTRY_HEADER = 6,
    ENTRY_EXPIRY = 6,
    ENTRY_LONG_KEY = 255,
    ENTRY_LONG_LEN = 4,
    ENTRY_WORD = 8,
    ENTRY_VLEN_BITS = 10
};
static_assert(ENTRY_INLINE_MAX < 1 << ENTRY_VLEN_BITS, "the header has 10 bits for it");

static inline const uint8_t *entry_raw(const struct entry *e) {
    return (const uint8_t *)e;
}

static inline bool entry_has_expiry(const struct entry *e) {
    return (entry_raw(e)[0] & 0x40) != 0;
}

static inline uint32_t entry_tail(const struct entry *e) {
    uint32_t tail;
    memcpy(&tail, entry_raw(e) + 2, sizeof tail);
    return tail;
}

static inline size_t entry_key_at(const struct entry *e) {
    const uint8_t *raw = entry_raw(e);
    return ENTRY_HEADER + (raw[0] & 0x40 ? ENTRY_EXPIRY : 0U) +
           (raw[1] == ENTRY_LONG_KEY ? ENTRY_LONG_LEN : 0U);
}

static inline size_t entry_key_len(const struct entry *e) {
    const uint8_t *raw = entry_raw(e);
    if (likely(raw[1] != ENTRY_LONG_KEY))
        return raw[1];
    uint32_t len;
    memcpy(&len, raw + ENTRY_HEADER + (raw[0] & 0x40 ? ENTRY_EXPIRY : 0), sizeof len);
    return len;
}

static inline bool entry_key_eq(const struct entry *e, struct span key) {
    const uint8_t *raw = entry_raw(e);
    size_t short_len = key.len < ENTRY_LONG_KEY ? key.len : ENTRY_LONG_KEY;
    if (raw[1] != short_len || entry_key_len(e) != key.len)
        return false;
    /* Comparing short keys inline was measured (bench/micro/RESULTS.md): it is not faster. */
    return key.len == 0 || memcmp(raw + entry_key_at(e), key.ptr, key.len) == 0;
}

static inline size_t entry_value_at(const struct entry *e) {
    return entry_key_at(e) + entry_key_len(e);
}

static inline int64_t entry_expiry(const struct entry *e) {
    uint64_t ms = 0;
    memcpy(&ms, entry_raw(e) + ENTRY_HEADER, ENTRY_EXPIRY);
    return (int64_t)ms;
}

/* entry_set_expiry: of an entry that has one. */
static inline void entry_set_expiry(struct entry *e, int64_t expire_ms) {
    memcpy((char *)e + ENTRY_HEADER, &expire_ms, ENTRY_EXPIRY);
}

static inline bool entry_dead(const struct entry *e, int64_t now_ms) {
    return entry_has_expiry(e) && now_ms > entry_expiry(e);
}

static inline bool repr_is_bytes(unsigned repr) {
    return repr == REPR_INLINE || repr == REPR_RAW;
}

const struct value_ops *value_ops_of(unsigned type);

/* value_inner_ms, entry_inner_ms: when something inside the object expires; OBJECT_NEVER. */
static inline int64_t value_inner_ms(const struct value *v) {
    if (likely(v->repr != REPR_OBJECT || v->type == VALUE_STRING))
        return OBJECT_NEVER;
    if (value_ops_of(v->type)->expire_some == NULL)
        return OBJECT_NEVER;
    return ((const struct object *)v->object)->due_ms;
}

/* entry_may_have_times: without looking at the object, as entry_inner_ms does. */
static inline bool entry_may_have_times(const struct entry *e) {
    unsigned type = entry_raw(e)[0] & 0x0f, repr = entry_raw(e)[0] >> 4 & 3;
    return repr == REPR_OBJECT && type != VALUE_STRING && value_ops_of(type)->expire_some != NULL;
}

static inline int64_t entry_inner_ms(const struct entry *e) {
    return ((const struct object *)entry_object(e))->due_ms;
}

/* entry_size_for: what to ask of the allocator for these parts. */
static inline size_t entry_size_for(size_t key_len, bool expires, const struct value *v) {
    return ENTRY_HEADER + (expires ? ENTRY_EXPIRY : 0U) +
           (key_len >= ENTRY_LONG_KEY ? ENTRY_LONG_LEN : 0U) + key_len +
           (repr_is_bytes(v->repr) ? v->bytes.len : ENTRY_WORD);
}

static inline size_t entry_size(const struct entry *e) {
    bool bytes = repr_is_bytes(entry_raw(e)[0] >> 4 & 3);
    return entry_value_at(e) + (bytes ? entry_tail(e) & ENTRY_INLINE_MAX : ENTRY_WORD);
}

/* length_bin: where table_lengths counts a string of that length. */
static inline unsigned length_bin(size_t len) {
    unsigned bin = len == 0 ? 0 : 64U - (unsigned)__builtin_clzl(len);
    return bin < TABLE_LENGTHS ? bin : TABLE_LENGTHS - 1;
}

/* int_bin: the same for an integer, by its digits: 1, 2 to 3, 4 to 7, 8 to 15, 16 or more characters. */
static inline unsigned int_bin(int64_t v) {
    if (v >= 0)
        return 1U + (v >= 10) + (v >= 1000) + (v >= 10000000) + (v >= 1000000000000000);
    return 2U + (v <= -100) + (v <= -1000000) + (v <= -100000000000000);
}

/* value_bin: TABLE_LENGTHS for what is no string. */
static inline unsigned value_bin(const struct value *v) {
    if (unlikely(v->type != VALUE_STRING))
        return TABLE_LENGTHS;
    if (v->repr == REPR_INT)
        return int_bin(v->integer);
    return length_bin(v->repr == REPR_OBJECT ? ((const struct blob *)v->object)->len
                                             : v->bytes.len);
}

/* entry_bin: value_bin of what it holds; every overwrite asks. */
unsigned entry_word_bin(const struct entry *e);
static inline unsigned entry_bin(const struct entry *e) {
    uint8_t head = entry_raw(e)[0];
    if (likely((head & 0x0f) == VALUE_STRING && repr_is_bytes(head >> 4 & 3)))
        return length_bin(entry_tail(e) & ENTRY_INLINE_MAX);
    return entry_word_bin(e);
}

/* entry_write: lays out an entry of that size at `to`. The key may lie in `to` already, at another
 * place even; what v points to may not. */
void entry_write(struct entry *to, struct span key, const struct value *v, int64_t expire_ms);
/* entry_overwrite: entry_write where the key, and that there is an expiry or none, stay. */
void entry_overwrite(struct entry *e, const struct value *v, int64_t expire_ms);
#endif
