/* intset.h: a few sorted integers, as Redis lays them out.
 *
 *     | width 4: 2, 4 or 8 bytes each | count 4 | integers, ascending, little endian |
 *
 * Why         half the bytes of a listpack for ids, found by halving.
 * Threads     pure bytes. Invariants: (1) every integer has the width that the widest needs, or that one needed that is gone.
 * Source      Redis's RDB format, type 11.
 */
#ifndef ANAX_INTSET_H
#define ANAX_INTSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INTSET_HEADER = 8 };

void intset_init(uint8_t *is);
uint32_t intset_count(const uint8_t *is);
size_t intset_bytes(const uint8_t *is);
/* intset_valid: of exactly len bytes: widths, order, no doubles. O(N). */
bool intset_valid(const uint8_t *is, size_t len);
int64_t intset_at(const uint8_t *is, uint32_t i);
/* intset_find: O(log N); *at: where it is, or would be. */
bool intset_find(const uint8_t *is, int64_t v, uint32_t *at);
/* intset_bytes_with: bytes that it has once v, which it lacks, is in. intset_add: false when it was; the caller has made room
 * for intset_bytes_with. O(N). */
size_t intset_bytes_with(const uint8_t *is, int64_t v);
bool intset_add(uint8_t *is, int64_t v);
/* intset_remove: false when it was not in. O(N). */
bool intset_remove(uint8_t *is, int64_t v);

#endif
