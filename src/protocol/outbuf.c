#include "anax/outbuf.h"
#include "shards/assert.h"
#include <stdarg.h>
#include <stdio.h>

enum { OUTBUF_CAP_MIN = 256, OUTBUF_REFS_MIN = 4 };

void outbuf_init(struct outbuf *o, struct mem *m) {
    *o = (struct outbuf){.mem = m};
}

size_t outbuf_bytes(const struct outbuf *o) {
    size_t refs = o->ref_cap * sizeof *o->refs;
    return (o->buf != NULL ? mem_size(o->held) : 0) + (o->refs != NULL ? mem_size(refs) : 0);
}

void outbuf_deinit(struct outbuf *o) {
    ASSERT(o->ref_count == 0);
    mem_free(o->mem, o->buf, o->held);
    mem_free(o->mem, o->refs, o->ref_cap * sizeof(*o->refs));
    *o = (struct outbuf){.mem = o->mem};
}

/* From here on nothing fits, so a later and smaller reply cannot slip in behind the missing one. */
static void turn_failed(struct outbuf *o) {
    o->failed = true;
    o->cap = o->len;
}

bool outbuf_grow(struct outbuf *o, size_t more) {
    if (o->failed)
        return false;
    if (o->cap - o->len >= more)
        return true;
    size_t need = o->len + more;
    if (need < more || need > PTRDIFF_MAX) {
        turn_failed(o);
        return false;
    }
    /* Doubling keeps the copying linear; the rest of the size class comes for nothing. */
    size_t cap = o->cap * 2 > need ? o->cap * 2 : need;
    cap = mem_size(cap > OUTBUF_CAP_MIN ? cap : OUTBUF_CAP_MIN);
    char *buf = mem_realloc(o->mem, o->buf, o->held, cap);
    if (buf == NULL) {
        turn_failed(o);
        return false;
    }
    o->buf = buf;
    o->cap = o->held = cap;
    return true;
}

static bool room_for_ref(struct outbuf *o) {
    if (o->ref_count < o->ref_cap)
        return true;
    uint32_t cap = o->ref_cap == 0 ? OUTBUF_REFS_MIN : o->ref_cap * 2;
    struct outref *refs =
        mem_realloc(o->mem, o->refs, o->ref_cap * sizeof(*refs), cap * sizeof(*refs));
    if (refs == NULL)
        return false;
    o->refs = refs;
    o->ref_cap = cap;
    return true;
}

void outbuf_ref(struct outbuf *o, struct blob *b, size_t offset, size_t len, unsigned owner) {
    ASSERT(offset <= b->len);
    ASSERT(len <= b->len - offset);
    if (o->failed)
        return;
    if (!room_for_ref(o)) {
        turn_failed(o);
        return;
    }
    blob_pin(b);
    o->refs[o->ref_count++] = (struct outref){
        .at = o->len, .blob = b, .offset = offset, .len = len, .owner = (uint16_t)owner};
    o->ref_bytes += len;
}

bool outbuf_move_ref(struct outbuf *o, const struct outref *ref, void *origin) {
    if (o->failed || !room_for_ref(o)) {
        turn_failed(o);
        return false;
    }
    struct outref moved = *ref;
    moved.at = o->len;
    moved.origin = origin;
    o->refs[o->ref_count++] = moved;
    o->ref_bytes += ref->len;
    return true;
}

void outbuf_lend(struct outbuf *o, char *buf, size_t bytes) {
    ASSERT(o->buf == NULL);
    o->buf = buf;
    o->cap = o->held = bytes;
}

char *outbuf_take_back(struct outbuf *o) {
    ASSERT(o->len == 0 && o->ref_count == 0);
    char *buf = o->buf;
    o->buf = NULL;
    o->cap = o->held = 0;
    return buf;
}

void outbuf_printf(struct outbuf *o, const char *fmt, ...) {
    char text[OUTBUF_PRINT_MAX + 1];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ASSERT(n >= 0 && n < (int)sizeof text);
    outbuf_add(o, text, (size_t)n);
}
