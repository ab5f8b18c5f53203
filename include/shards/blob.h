/* blob.h: a large byte string outside its entry, with a count of who needs it.
 *
 * Why         a value of a megabyte is received straight into its blob and sent from it: neither
 *             way copies it. A reply that is still on its way holds a reference, so the value
 *             may be overwritten meanwhile.
 * Threads     the count is plain: only the holder of the owning shard touches it. Another shard
 *             that sends a blob gives its reference back by message.
 * Invariants  (1) refs >= 1 while reachable. (2) the bytes of a blob with refs > 1 do not change.
 */
#ifndef SHARDS_BLOB_H
#define SHARDS_BLOB_H

#include "shards/mem.h"
#include <stdbool.h>

struct blob {
    uint32_t refs;
    uint32_t unused;
    size_t len;
    size_t cap;
    char data[];
};

/* blob_create: room for `cap` bytes, len 0, one reference. NULL: no memory. */
MUST_CHECK struct blob *blob_create(struct mem *m, size_t cap);
/* blob_grow: a blob with refs == 1 and room for `cap` bytes; NULL leaves the old one. */
MUST_CHECK struct blob *blob_grow(struct mem *m, struct blob *b, size_t cap);
void blob_pin(struct blob *b);
/* blob_unpin: frees it with the last reference. */
void blob_unpin(struct mem *m, struct blob *b);
/* blob_bytes: what it counts for in mem. */
size_t blob_bytes(const struct blob *b);

#endif
