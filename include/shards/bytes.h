/* bytes.h: numbers as files and encodings keep them, at any address: little endian (le) or big (be). */
#ifndef SHARDS_BYTES_H
#define SHARDS_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t load_le16(const void *from) {
    uint16_t v;
    memcpy(&v, from, sizeof v);
    return le16toh(v);
}

static inline uint32_t load_le32(const void *from) {
    uint32_t v;
    memcpy(&v, from, sizeof v);
    return le32toh(v);
}

static inline uint64_t load_le64(const void *from) {
    uint64_t v;
    memcpy(&v, from, sizeof v);
    return le64toh(v);
}

static inline uint32_t load_be32(const void *from) {
    uint32_t v;
    memcpy(&v, from, sizeof v);
    return be32toh(v);
}

static inline uint64_t load_be64(const void *from) {
    uint64_t v;
    memcpy(&v, from, sizeof v);
    return be64toh(v);
}

static inline void store_le16(void *to, uint16_t v) {
    v = htole16(v);
    memcpy(to, &v, sizeof v);
}

static inline void store_le32(void *to, uint32_t v) {
    v = htole32(v);
    memcpy(to, &v, sizeof v);
}

#endif
