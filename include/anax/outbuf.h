/* outbuf.h: bytes to be sent, with large values spliced in by reference.
 *
 * Why         replies are built in one growing run of bytes, which costs a bounds check and a
 *             copy per reply; a value of OUTBUF_REF_MIN bytes or more is pinned instead of copied.
 * Threads     one at a time; it travels with the message that fills it.
 * Ownership   the bytes are charged to the account that is passed in; references are pins of
 *             blobs of the shard named beside each, and go back to that shard.
 * Limits      when memory fails, the buffer turns `failed`, drops what is appended, and its
 *             connection is closed by whoever sends it.
 * Invariants  (1) refs are ordered by `at`, each at a position <= len. (2) what was appended
 *             before a failure stays whole.
 */
#ifndef ANAX_OUTBUF_H
#define ANAX_OUTBUF_H

#include "shards/blob.h"
#include "shards/span.h"

enum { OUTBUF_REF_MIN = 16 * 1024, OUTBUF_PRINT_MAX = 2047 };

struct outref {
    size_t at; /* bytes of buf that come before it */
    struct blob *blob;
    size_t offset, len; /* the part of the blob to send */
    void *origin;       /* of the layer that sends: NULL, or whom to tell when it is sent */
    uint16_t owner;     /* shard id */
};

struct outbuf {
    char *buf;
    size_t len, cap;
    size_t held; /* bytes allocated: cap, until a failure sets cap to len so that nothing fits */
    struct outref *refs;
    uint32_t ref_count, ref_cap;
    size_t ref_bytes; /* sum of refs[].len */
    struct mem *mem;  /* charged; may be changed between appends by who takes it over */
    bool failed;
};

void outbuf_init(struct outbuf *o, struct mem *m);
/* outbuf_deinit: frees the bytes; the references must have been given back. */
void outbuf_deinit(struct outbuf *o);
/* outbuf_grow: room for `more` bytes; false turns it failed. */
bool outbuf_grow(struct outbuf *o, size_t more);

/* outbuf_room: a place for n bytes, or NULL (failed). The caller writes and adds to len. */
static inline char *outbuf_room(struct outbuf *o, size_t n) {
    if (unlikely(o->cap - o->len < n) && !outbuf_grow(o, n))
        return NULL;
    return o->buf + o->len;
}

static inline void outbuf_add(struct outbuf *o, const char *p, size_t n) {
    if (unlikely(n == 0)) /* p may be NULL then: the bytes of an empty outbuf */
        return;
    char *to = outbuf_room(o, n);
    if (likely(to != NULL)) {
        memcpy(to, p, n);
        o->len += n;
    }
}

/* outbuf_printf: text of at most OUTBUF_PRINT_MAX bytes. */
void outbuf_printf(struct outbuf *o, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* outbuf_bytes: what it holds of its account. */
size_t outbuf_bytes(const struct outbuf *o);
/* outbuf_ref: splices in part of a blob, which it pins. */
void outbuf_ref(struct outbuf *o, struct blob *b, size_t offset, size_t len, unsigned owner);

/* outbuf_move_ref: takes over a reference that another outbuf held; `origin` is told when it was
 * sent. False: no memory, the reference stays where it was and the buffer has failed. */
bool outbuf_move_ref(struct outbuf *o, const struct outref *ref, void *origin);
/* outbuf_lend: an empty outbuf uses these bytes, which come from its account. outbuf_take_back: an
 * emptied one gives its bytes back. For who keeps a few for the next. */
void outbuf_lend(struct outbuf *o, char *buf, size_t bytes);
char *outbuf_take_back(struct outbuf *o);

#endif
