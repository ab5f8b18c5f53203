#include "shards/blob.h"
#include "shards/assert.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static_assert(sizeof(struct blob) == 24, "the header is what a blob costs beside its bytes");

struct blob *blob_create(struct mem *m, size_t cap) {
    if (cap > PTRDIFF_MAX - sizeof(struct blob))
        return NULL;
    struct blob *b = mem_alloc(m, sizeof(*b) + cap);
    if (b == NULL)
        return NULL;
    *b = (struct blob){.refs = 1, .cap = cap};
    return b;
}

/* The copy that a writer needs while others still read the old bytes. */
static struct blob *copy_shared(struct mem *m, struct blob *b, size_t cap) {
    struct blob *fresh = blob_create(m, cap);
    if (fresh == NULL)
        return NULL;
    memcpy(fresh->data, b->data, b->len);
    fresh->len = b->len;
    b->refs--;
    return fresh;
}

struct blob *blob_grow(struct mem *m, struct blob *b, size_t cap) {
    ASSERT(b->refs >= 1);
    if (cap < b->cap)
        cap = b->cap;
    if (b->refs > 1)
        return copy_shared(m, b, cap);
    if (cap == b->cap)
        return b;
    if (cap > PTRDIFF_MAX - sizeof(*b))
        return NULL;
    struct blob *grown = mem_realloc(m, b, sizeof(*b) + b->cap, sizeof(*b) + cap);
    if (grown != NULL)
        grown->cap = cap;
    return grown;
}

void blob_pin(struct blob *b) {
    ASSERT(b->refs >= 1);
    ASSERT(b->refs < UINT32_MAX);
    b->refs++;
}

void blob_unpin(struct mem *m, struct blob *b) {
    ASSERT(b->refs >= 1);
    if (--b->refs == 0)
        mem_free(m, b, sizeof(*b) + b->cap);
}

size_t blob_bytes(const struct blob *b) {
    return mem_size(sizeof(*b) + b->cap);
}
