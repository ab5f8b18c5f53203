/* rdb_crc.c: the checksum of RDB: CRC-64 with the polynomial of Jones, its bits reflected, beginning with 0 and ending as it is.
 *
 * Joining     what comes behind `first` shifts it on: it is multiplied by x to the number of bits, modulo the polynomial, and
 *             what these bits say by themselves is added. That power is made by squaring.
 */
#include "anax/rdb.h"
#include <isa-l/crc64.h>

/* The lowest power is bit 63 here. */
#define JONES   0x95ac9329ac4bc9b5ULL
#define POWER_0 (1ULL << 63)
#define POWER_8 (1ULL << 55)

uint64_t rdb_crc(uint64_t crc, const void *bytes, size_t len) {
    /* ISA-L inverts on the way in and out. */
    return ~crc64_jones_refl(~crc, bytes, len);
}

static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t product = 0;
    for (; a != 0; a <<= 1) {
        product ^= b & -(a >> 63);
        b = (b >> 1) ^ (JONES & -(b & 1));
    }
    return product;
}

uint64_t rdb_crc_join(uint64_t first, uint64_t second, uint64_t len) {
    uint64_t power = POWER_0;
    for (uint64_t square = POWER_8; len != 0; len >>= 1, square = times(square, square)) {
        if ((len & 1) != 0)
            power = times(power, square);
    }
    return times(first, power) ^ second;
}
