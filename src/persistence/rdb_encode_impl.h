/* rdb_encode_impl.h: a value that is being written, for rdb_encode*.c.
 *
 *     rdb_encode_begin    chooses `some`, which writes this kind of value
 *     rdb_encode_some     some(e, o, bytes): what comes first, once; then row after row until `bytes` are written
 *
 * Why         a slice must end where it has to, also within a text of 512 MiB: what is left of such a text is `rest`,
 *             and `due` says that something comes behind it. All else is written whole.
 */
#ifndef RDB_ENCODE_IMPL_H
#define RDB_ENCODE_IMPL_H

#include "anax/listval.h"
#include "anax/rdb.h"
#include "anax/setval.h"
#include "anax/zsetval.h"
#include "rdb_types_impl.h"

enum {
    RDB_WHOLE_MAX = 64 * 1024, /* longer ones are written in slices */
    RDB_LZF_MIN = 21,          /* shorter ones are not compressed: it never pays */
    RDB_LZF_WORTH = 4,         /* by so much it has to be shorter: the lengths take that */
    RDB_ROW_BYTES = 16         /* what a row takes in time beside its texts, in bytes */
};

/* What becomes of the rest of a text. To be compressed it is measured first, since its length stands before it: each piece
 * of RDB_WHOLE_MAX is compressed by itself, which makes no difference to who unpacks the whole. */
enum rdb_rest { RDB_REST_RAW, RDB_REST_MEASURE, RDB_REST_PACK };

/* Have the auxiliary fields of a set been written? */
enum rdb_times { RDB_TIMES_NONE, RDB_TIMES_DUE, RDB_TIMES_BEGUN };

/* Lies in rdb_encoder.state. */
struct rdb_coding {
    bool (*some)(struct rdb_encoder *e, struct rdb_out *o, size_t bytes);
    struct span rest, whole; /* whole: the rest at first, while that is measured */
    size_t packed;           /* what was measured */
    uint8_t how;             /* enum rdb_rest */
    bool due;
    uint8_t times; /* of a set: enum rdb_times */
    struct val val;
    int64_t
        first_ms; /* of a hash: what its times are counted from. Of a set: the time that is due */
    union {
        struct {
            struct fields_iter iter;
            struct field row;
        } hash;
        struct set_iter set;
        struct {
            struct zset_iter iter;
            double score;
        } zset;
        uint32_t run; /* of a list, the next one */
    };
} __attribute__((may_alias));
static_assert(sizeof(struct rdb_coding) <= sizeof(((struct rdb_encoder *)0)->state), "it fits");

static inline struct rdb_coding *rdb_coding(struct rdb_encoder *e) {
    return (struct rdb_coding *)e->state;
}

/* rdb_spend: a row, or a run of them: false: the slice is over. */
static inline bool rdb_spend(size_t *bytes, size_t n) {
    n += RDB_ROW_BYTES;
    if (n >= *bytes)
        return false;
    *bytes -= n;
    return true;
}

/* rdb_no_more: of a stretch that is long enough. */
static inline bool rdb_no_more(struct rdb_out *o) {
    (void)o;
    return false;
}

/* --- rdb_lzf.c --- */
/* rdb_lzf_pack: `len` bytes as LZF; returns how many that are, 0: there is not room enough, or hardly. It takes no more
 * than RDB_LZF_ROOM. 0 < len <= RDB_WHOLE_MAX. */
#define RDB_LZF_ROOM(len) ((len) + (len) / 32 + 8)
size_t rdb_lzf_pack(const uint8_t *in, size_t len, uint8_t *out, size_t room);

/* --- rdb_encode_text.c --- */
void rdb_put_int(struct rdb_out *o, int64_t v);
/* rdb_len_bytes: what rdb_put_len writes. */
unsigned rdb_len_bytes(uint64_t len);
/* rdb_put_ms: 8 bytes, little endian. */
void rdb_put_ms(struct rdb_out *o, int64_t ms);
/* rdb_put_bytes: a string that is no integer, whole. */
void rdb_put_bytes(struct rdb_out *o, struct span s, bool compress);
/* rdb_text: a text of the value, of which a long one is left in c->rest. rdb_blob: the same of what is no integer. */
void rdb_text(struct rdb_encoder *e, struct rdb_out *o, struct span s);
void rdb_blob(struct rdb_encoder *e, struct rdb_out *o, struct span s);
/* rdb_rest: about *bytes of c->rest, which it takes off; true when nothing is left of it. A piece that is compressed is
 * done whole. */
bool rdb_rest(struct rdb_coding *c, struct rdb_out *o, size_t *bytes);

/* --- by type: the type and version of RDB, and c->some --- */
void rdb_encode_hash(struct rdb_encoder *e);
void rdb_encode_set(struct rdb_encoder *e);
void rdb_encode_zset(struct rdb_encoder *e);
void rdb_encode_list(struct rdb_encoder *e);
/* rdb_some_flat: c->val's bytes as they are. */
bool rdb_some_flat(struct rdb_encoder *e, struct rdb_out *o, size_t bytes);

#endif
