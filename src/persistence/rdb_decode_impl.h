/* rdb_decode_impl.h: what the files that make values of RDB share.
 *
 * Why         each type of value comes in several encodings. A blob that is laid out as we lay it out, and is valid to the last
 *             byte, is taken as it is (rdb_adopt); all else goes through the functions that commands use too, so the limits
 *             and forms are theirs.
 * Ownership   what is made lies in d->v, which rdb_decode_value destroys when the result is not RDB_OK.
 */
#ifndef RDB_DECODE_IMPL_H
#define RDB_DECODE_IMPL_H

#include "anax/config.h"
#include "anax/val.h"
#include "rdb_read_impl.h"

struct rdb_decode {
    struct rdb_in *in;
    struct rdb_scratch *s;
    const struct config *limits;
    int64_t now_ms;
    uint8_t type; /* of RDB */
    struct val v;
};

enum rdb_result rdb_decode_hash(struct rdb_decode *d);
enum rdb_result rdb_decode_hash_timed(struct rdb_decode *d);
enum rdb_result rdb_decode_set(struct rdb_decode *d);
enum rdb_result rdb_decode_list(struct rdb_decode *d);
enum rdb_result rdb_decode_zset(struct rdb_decode *d);

/* rdb_nothing: the value is empty as it came; d->v stays none. */
static inline enum rdb_result rdb_nothing(struct rdb_decode *d) {
    d->in->why = "an empty value";
    d->in->bad = d->in->at;
    return RDB_OK;
}
/* rdb_get_blob: a string that has a structure, and where it begins in the file. */
enum rdb_result rdb_get_blob(struct rdb_decode *d, struct span *blob, const uint8_t **place);
/* rdb_adopt: d->v is these bytes, which are valid in this form: where they are when they fit into an entry. */
enum rdb_result rdb_adopt(struct rdb_decode *d, uint8_t form, struct span blob);
/* rdb_adoptable: a listpack of rows of `stride` entries, no more rows than rows_max, no text longer than bytes_max, no first text of
 * a row twice: to be adopted. *fits false: it is none of ours, and may be valid all the same. */
enum rdb_result rdb_adoptable(struct rdb_decode *d, struct span blob, const uint8_t *place,
                              unsigned stride, uint64_t rows_max, uint64_t bytes_max, bool *fits);
/* rdb_distinct: n items, each `stride` bytes behind the one before and beginning with a struct span, are all different.
 * RDB_CORRUPT: they are not, without saying so to `in`. O(n). */
enum rdb_result rdb_distinct(struct mem *m, const void *items, size_t stride, size_t n);

/* Some texts, to be put at once. Those that do not lie in the input lie in `room`. */
enum { RDB_BATCH = 64 };
struct rdb_batch {
    struct span texts[RDB_BATCH];
    uint64_t moved; /* a bit for each whose ptr is an offset into room */
    unsigned n;
    size_t used;
    struct rdb_scratch room;
};
static inline void rdb_batch_init(struct rdb_batch *b, struct mem *m) {
    b->moved = 0;
    b->n = 0;
    b->used = 0;
    b->room = (struct rdb_scratch){.mem = m};
}
enum rdb_result rdb_batch_add(struct rdb_batch *b, struct rdb_in *in, const struct rdb_text *t);
/* rdb_batch_full: no `more` texts should be added. */
bool rdb_batch_full(const struct rdb_batch *b, unsigned more);
/* rdb_batch_texts: the texts where they are. rdb_batch_clear: none. rdb_batch_deinit: always, at the end. */
const struct span *rdb_batch_texts(struct rdb_batch *b);
static inline void rdb_batch_clear(struct rdb_batch *b) {
    b->moved = 0;
    b->n = 0;
    b->used = 0;
}
static inline void rdb_batch_deinit(struct rdb_batch *b) {
    rdb_scratch_free(&b->room);
}

#endif
