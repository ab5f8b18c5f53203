/* strval.h: what a string value is: its number, its text, room to grow in.
 *
 * Why         the same bytes are a counter, a text and a bitmap; how they are kept follows Redis's
 *             OBJECT ENCODING, so that clients that look at it see what they know. Pure: no entries.
 * Limits      strval_grow over-allocates by at most STRVAL_SLACK_MAX bytes.
 * Source      Redis's documented behaviour: an integer is a canonical signed 64-bit decimal ("01",
 *             "+1" and "-0" are text); INCRBYFLOAT prints up to 17 decimals, no trailing zeros.
 */
#ifndef ANAX_STRVAL_H
#define ANAX_STRVAL_H

#include "shards/blob.h"
#include "shards/span.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    STRVAL_INT_BYTES = 20,     /* "-9223372036854775808" */
    STRVAL_EMBSTR_MAX = 44,    /* what OBJECT ENCODING still calls embstr */
    STRVAL_FLOAT_BYTES = 5120, /* the longest long double in decimal, with 17 decimals, fits */
    STRVAL_SLACK_MAX = 1024 * 1024
};

/* strval_parse_int: false when s is not the canonical decimal of a 64-bit integer. */
bool strval_parse_int(struct span s, int64_t *out);
/* strval_format_int: returns the length; no NUL. */
size_t strval_format_int(char out[STRVAL_INT_BYTES], int64_t v);
/* strval_int_len: the length that strval_format_int would return. */
size_t strval_int_len(int64_t v);

/* strval_parse_float: all of s must be a number ("inf" is one, NaN is not). */
bool strval_parse_float(struct span s, long double *out);
/* strval_format_float: v is finite; returns the length. */
size_t strval_format_float(char out[STRVAL_FLOAT_BYTES], long double v);

/* strval_slack: the capacity to ask for when a value that has to hold `len` bytes is likely to
 * grow. */
size_t strval_slack(size_t len);
/* strval_grow: a blob with one reference that holds len bytes, b's first, zeros behind them, and
 * whose bytes may be written; b itself when it will do. len >= b->len. NULL: no memory, b is as it
 * was. */
MUST_CHECK struct blob *strval_grow(struct mem *m, struct blob *b, size_t len);

#endif
