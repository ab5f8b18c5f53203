/* bits_impl.h: bits of byte strings. Bit 0 is the highest bit of the first byte, as in SETBIT. */
#ifndef BITS_IMPL_H
#define BITS_IMPL_H

#include "ctx_impl.h"

/* bits_count: how many of the bits [from, to] are set; to < 8 * bytes.len, from <= to. */
uint64_t bits_count(struct span bytes, uint64_t from, uint64_t to);
/* bits_find: the first bit in [from, to] that is `bit`; to + 1 when there is none. */
uint64_t bits_find(struct span bytes, uint64_t from, uint64_t to, bool bit);

/* bits_offset: argv[i] as the position of a bit, "#n" being n fields of width `field` when that is
 * not 0. Replies and returns false when it is none. */
bool bits_offset(struct ctx *c, uint32_t i, unsigned field, uint64_t *offset);

static inline bool bits_get(struct span bytes, uint64_t at) {
    return at / 8 < bytes.len && ((unsigned char)bytes.ptr[at / 8] >> (7 - at % 8) & 1);
}

static inline void bits_set(char *bytes, uint64_t at, bool bit) {
    unsigned shift = (unsigned)(7 - at % 8);
    unsigned char byte = (unsigned char)bytes[at / 8];
    bytes[at / 8] = (char)((byte & ~(1U << shift)) | (unsigned)bit << shift);
}

#endif
