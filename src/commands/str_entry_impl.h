/* str_entry_impl.h: string values in entries: which representation, and how each is read and
 * changed.
 *
 * Why         a string is an integer in the entry, up to ENTRY_INLINE_MAX bytes in the entry, or a
 * struct blob beside it. Handlers say "these bytes" or "room for n bytes" and never look which.
 * Threads     the holder of the shard in ctx.
 * Invariants  (1) a function that says false or NULL has replied, and nothing has changed.
 *             (2) REPR_INT exactly for canonical 64-bit decimals that were set whole; what a
 * command changed inside is raw, as OBJECT ENCODING of Redis tells. (3) the bytes of a blob that
 * someone else holds too are never written.
 */
#ifndef STR_ENTRY_IMPL_H
#define STR_ENTRY_IMPL_H

#include "ctx_impl.h"

/* str_entry_bytes: the value as text, which for an integer is written to scratch. */
struct span str_entry_bytes(const struct entry *e, char scratch[STRVAL_INT_BYTES]);
/* str_entry_fixed: as str_entry_bytes without scratch; false for an integer. */
size_t str_entry_len(const struct entry *e);
void str_entry_reply(struct reply *r, const struct entry *e);
/* str_entry_reply_range: bytes [from, from + len) of the value. */
void str_entry_reply_range(struct reply *r, const struct entry *e, size_t from, size_t len);

/* str_entry_set: stores bytes under argv[key] as SET does. A big last argument whose bytes these
 * are is taken over instead of copied. expire_ms as for table_put. */
bool str_entry_set(struct ctx *c, uint32_t key, struct span bytes, int64_t expire_ms) ON_SHARD;
/* str_entry_set_as: the same with REPR_INLINE (text, even if it looks like a number) or REPR_RAW.
 */
bool str_entry_set_as(struct ctx *c, uint32_t key, struct span bytes, enum repr repr,
                      int64_t expire_ms) ON_SHARD;
bool str_entry_set_int(struct ctx *c, uint32_t key, int64_t v, int64_t expire_ms) ON_SHARD;
/* str_entry_edit: makes the value of argv[key] (e is its entry, or NULL) raw and at least len bytes
 * long, zeros where it was shorter, and returns its bytes to be written; e is no longer good. */
char *str_entry_edit(struct ctx *c, uint32_t key, struct entry *e, size_t len) ON_SHARD;

/* What a value was, kept while it is replaced: SET with GET replies it. */
struct str_held {
    struct blob *blob; /* pinned */
    int64_t integer;
    size_t len;
    enum repr repr;
    bool is_string;
    bool exists;
};

/* str_held_take: inline bytes are copied to `inline_bytes` (ENTRY_INLINE_MAX bytes). e may be NULL.
 */
void str_held_take(struct str_held *h, struct entry *e, char *inline_bytes);
/* str_held_reply: the value, or null. */
void str_held_reply(struct reply *r, const struct str_held *h, const char *inline_bytes);
void str_held_drop(struct mem *m, struct str_held *h);

#endif
