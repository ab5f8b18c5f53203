/* decimal.h: numbers to text and back, as clients of Redis see them.
 *
 * Why         replies, listpacks and scores must print a number the same way, and read what they printed.
 * Cost        integers: two digits per division. Doubles: about 30 ns when they have up to 15 digits, 100 with more;
 *             very large and very small ones that are no whole numbers take a few snprintf, about a microsecond.
 * Source      Redis 7.2 and later: the shortest digits that read back; what strtod takes is a number, but for NaN and for
 *             what does not fit.
 */
#ifndef SHARDS_DECIMAL_H
#define SHARDS_DECIMAL_H

#include "shards/span.h"
#include <stdint.h>

enum { DECIMAL_INT_BYTES = 20, DECIMAL_DOUBLE_BYTES = 32 };

/* Each writes at `to`, without a NUL, and returns what follows the text. Room: DECIMAL_INT_BYTES, DECIMAL_DOUBLE_BYTES. */
char *decimal_put_uint(char *to, uint64_t v);
char *decimal_put_int(char *to, int64_t v);
char *decimal_put_double(char *to, double v);
/* decimal_parse_double: all of s must be a number ("inf" is one, NaN is not). */
bool decimal_parse_double(struct span s, double *out);

#endif
