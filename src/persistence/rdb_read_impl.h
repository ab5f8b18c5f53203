/* rdb_read_impl.h: what the files that read RDB share: lengths, strings, and texts in a row wherever they lie.
 *
 * Why         an aggregate comes as strings of the file, as a listpack, a ziplist or a zipmap; what is made of it does not
 *             care. A struct rdb_texts hands out one text after the other.
 * Threads     pure. Ownership: nothing here is allocated but what lies in a struct rdb_scratch.
 */
#ifndef RDB_READ_IMPL_H
#define RDB_READ_IMPL_H

#include "anax/rdb.h"
#include "rdb_types_impl.h"

static inline enum rdb_result rdb_corrupt(struct rdb_in *in, const char *why, const uint8_t *bad) {
    in->why = why;
    in->bad = bad;
    return RDB_CORRUPT;
}

static inline size_t rdb_left(const struct rdb_in *in) {
    return (size_t)(in->end - in->at);
}

/* rdb_get_fixed: n bytes as they are. */
static inline enum rdb_result rdb_get_fixed(struct rdb_in *in, size_t n, const uint8_t **out) {
    if (unlikely(rdb_left(in) < n))
        return RDB_MORE;
    *out = in->at;
    in->at += n;
    return RDB_OK;
}
/* rdb_get_int64: 8 bytes, little endian. */
enum rdb_result rdb_get_int64(struct rdb_in *in, int64_t *out);

/* --- one string, as it was found --- */

enum rdb_text_kind {
    RDB_TEXT_PLAIN, /* `len` bytes at `bytes` */
    RDB_TEXT_INT,   /* the decimal of num */
    RDB_TEXT_LZF    /* `packed` bytes at `bytes`, that become `len` */
};
struct rdb_text {
    enum rdb_text_kind kind;
    size_t len, packed;
    const uint8_t *bytes;
    int64_t num;
};
/* rdb_get_text: as rdb_get_string, without unpacking. in->at stays where it was unless the result is RDB_OK. */
enum rdb_result rdb_get_text(struct rdb_in *in, struct rdb_text *out);
/* rdb_unpack: an LZF text to `to`, where there is room for len bytes; false: it is not one. */
MUST_CHECK bool rdb_unpack(const struct rdb_text *t, char *to);
/* rdb_scratch_room: at least `need` bytes; what is there stays. */
MUST_CHECK bool rdb_scratch_room(struct rdb_scratch *s, size_t need);
void rdb_scratch_free(struct rdb_scratch *s);
/* rdb_text_span: a text as bytes: where it lies, or in the scratch. */
enum rdb_result rdb_text_span(struct rdb_in *in, const struct rdb_text *t, struct rdb_scratch *s,
                              struct span *out);

/* rdb_get_times: auxiliary fields from in->at on: those that are RDB_AUX_MEMBER_TTLS tell times of members of *value, a set, which
 * may be another object then, whatever the result. s: not the one that the value may lie in. (rdb_times.c) */
struct config;
enum rdb_result rdb_get_times(struct rdb_in *in, struct rdb_scratch *s, const struct config *limits,
                              int64_t now_ms, struct value *value);

/* --- many of them --- */

#define RDB_COUNT_UNTOLD UINT64_MAX
struct rdb_texts {
    struct rdb_in *in; /* what is wrong is told to it */
    enum rdb_result (*next)(struct rdb_texts *t, struct rdb_text *out, bool *there);
    const uint8_t *at, *end; /* of a blob: the next entry, its end mark */
    const uint8_t *place;    /* of a blob that lies elsewhere: its string in the input */
    uint64_t
        left; /* of strings: to come; of a blob: entries that its head tells of, or RDB_COUNT_UNTOLD */
    uint64_t seen;
    size_t before; /* ziplist: bytes of the entry before */
};
static inline enum rdb_result rdb_texts_next(struct rdb_texts *t, struct rdb_text *out,
                                             bool *there) {
    return t->next(t, out, there);
}
/* rdb_texts_strings: the next n strings of the file. */
void rdb_texts_strings(struct rdb_texts *t, struct rdb_in *in, uint64_t n);
/* Of a blob, whose string in the file begins at `place`. Each entry is checked when it comes, and the number of them at the end. */
enum rdb_result rdb_texts_listpack(struct rdb_texts *t, struct rdb_in *in, struct span blob,
                                   const uint8_t *place);
enum rdb_result rdb_texts_ziplist(struct rdb_texts *t, struct rdb_in *in, struct span blob,
                                  const uint8_t *place);
enum rdb_result rdb_texts_zipmap(struct rdb_texts *t, struct rdb_in *in, struct span blob,
                                 const uint8_t *place);

#endif
