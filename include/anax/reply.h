/* reply.h: replies in RESP2 or RESP3, appended to an outbuf.
 *
 * Why         handlers say what they mean (a map, a null, a double); the version that the client
 *             chose decides the bytes. Source: the RESP specification of redis.io.
 * Cost        one bounds check and one copy each.
 */
#ifndef ANAX_REPLY_H
#define ANAX_REPLY_H

#include "anax/outbuf.h"
#include <stdint.h>

struct reply {
    struct outbuf *out;
    uint8_t proto;  /* 2 or 3 */
    uint16_t owner; /* the shard whose blobs are referenced */
};

void reply_ok(struct reply *r);
/* reply_status: "+text". reply_error: "-text"; text begins with its code ("ERR ..."); CR and LF in
 * it become spaces. */
void reply_status(struct reply *r, const char *text);
void reply_error(struct reply *r, const char *text);
void reply_errorf(struct reply *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
void reply_int(struct reply *r, int64_t v);
void reply_bulk(struct reply *r, struct span s);
void reply_bulk_cstr(struct reply *r, const char *s);
void reply_bulk_int(struct reply *r, int64_t v); /* a number as a bulk string */
/* reply_blob: part of a value; pinned instead of copied when it is large. */
void reply_blob(struct reply *r, struct blob *b, size_t offset, size_t len);
void reply_null(struct reply *r);       /* $-1 or _ */
void reply_null_array(struct reply *r); /* *-1 or _ */
void reply_array(struct reply *r, size_t n);
void reply_map(struct reply *r, size_t pairs); /* an array of 2n in RESP2 */
void reply_set(struct reply *r, size_t n);
void reply_bool(struct reply *r, bool v);     /* :1/:0 in RESP2 */
void reply_double(struct reply *r, double v); /* a bulk string in RESP2 */
/* reply_verbatim: format is three letters, "txt"; a bulk string in RESP2. */
void reply_verbatim(struct reply *r, const char *format, struct span s);

#endif
