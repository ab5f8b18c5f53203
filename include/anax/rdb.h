/* rdb.h: values as bytes of RDB files, and back: what Redis and Valkey write and read.
 *
 * Why         files, DUMP and RESTORE, and full syncs speak it. It is the only format in which a dataset leaves us.
 * Threads     pure: no keyspace, no time. Encoding reads a value in place: its holder, or whoever has its key locked.
 * Ownership   a decoded value is the caller's, charged to the given account.
 * Limits      strings of at most 512 MiB (RDB_STRING_MAX); a value is decoded from contiguous bytes.
 * Invariants  (1) decoding reads within its bytes, whatever they are, and takes no more memory than a small multiple of them.
 *             (2) what does not decode leaves nothing behind. (3) an encoded value decodes to an equal one.
 */
#ifndef ANAX_RDB_H
#define ANAX_RDB_H

#include "shards/attr.h"
#include "shards/keyspace.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Versions: what redis-server 7.0 reads; with field TTLs; the newest that we read. */
enum { RDB_VERSION_LOW = 10, RDB_VERSION_FIELD_TTL = 12, RDB_VERSION_MAX = 80 };
enum { RDB_STRING_MAX = 512 * 1024 * 1024 };

/* What a record can begin with, beside the types of values (rdb_types_impl.h of persistence has them). */
enum rdb_opcode {
    RDB_OP_SLOT_IMPORT = 243, /* Valkey 9: a string, a count, (first slot, last slot) */
    RDB_OP_SLOT_INFO = 244,   /* three lengths */
    RDB_OP_FUNCTION2 = 245,
    RDB_OP_FUNCTION = 246,
    RDB_OP_MODULE_AUX = 247, /* laid out as a value of RDB_MODULE_2, by which it is skipped */
    RDB_OP_IDLE = 248,
    RDB_OP_FREQ = 249,
    RDB_OP_AUX = 250,
    RDB_OP_RESIZEDB = 251,
    RDB_OP_EXPIRE_MS = 252,
    RDB_OP_EXPIRE = 253,
    RDB_OP_SELECTDB = 254,
    RDB_OP_END = 255
};

/* --- writing --- */

/* Where bytes go: stretches of memory, one after the other. `more` is called when a stretch is full, and gives the next one
 * by setting at and end, of one byte at least; false: there is none, and failed is set. */
struct rdb_out {
    uint8_t *at, *end;
    bool (*more)(struct rdb_out *o);
    bool failed; /* bytes are dropped from then on */
};
static inline void rdb_put(struct rdb_out *o, const void *bytes, size_t len) {
    const char *from = bytes;
    while (len > (size_t)(o->end - o->at)) {
        size_t n = (size_t)(o->end - o->at);
        if (n > 0)
            memcpy(o->at, from, n);
        o->at += n;
        from += n;
        len -= n;
        if (o->failed || !o->more(o)) {
            o->failed = true;
            o->at = o->end;
            return;
        }
    }
    if (len > 0)
        memcpy(o->at, from, len);
    o->at += len;
}
void rdb_put_len(struct rdb_out *o, uint64_t len);
/* rdb_put_string: as an integer where that is what it says, compressed where `compress` and that is shorter (one of more than
 * 64 KiB is not: what is written in slices is). */
void rdb_put_string(struct rdb_out *o, struct span s, bool compress);

/* A value being written, in slices. The fields are rdb_encode.c's. It stays where it is meanwhile. */
struct rdb_encoder {
    struct value value;
    uint8_t type; /* of RDB */
    uint8_t version;
    bool compress, begun;
    uint64_t state[112];
};
/* rdb_encode_begin: chooses the type that the oldest servers read which can hold the value. e->type and e->version (the
 * lowest that has it) are set then. Nothing is allocated. */
void rdb_encode_begin(struct rdb_encoder *e, const struct value *v, bool compress);
/* rdb_encode_some: about `bytes` more of the value, without its type; true when that was the last. The value must not change
 * meanwhile. */
bool rdb_encode_some(struct rdb_encoder *e, struct rdb_out *o, size_t bytes);
/* rdb_encode_times: for a set whose members have times, before rdb_encode_key: about `bytes` of the auxiliary fields that say
 * which; true when that was the last. rdb_encode_key does it if nobody did, or what is left of it. */
bool rdb_encode_times(struct rdb_encoder *e, struct rdb_out *o, size_t bytes);
/* rdb_encode_key: what comes before the value: expiry (EXPIRE_NEVER: none), type, key; and for a set whose members have
 * times, an auxiliary field that says which (README of src/persistence). */
void rdb_encode_key(struct rdb_encoder *e, struct rdb_out *o, struct span key, int64_t expire_ms);

/* --- checksum: CRC-64 as RDB has it --- */
uint64_t rdb_crc(uint64_t crc, const void *bytes, size_t len);
/* rdb_crc_join: of bytes with `first` followed by len bytes with `second`, each counted from 0. O(log len). */
uint64_t rdb_crc_join(uint64_t first, uint64_t second, uint64_t len);

/* --- reading --- */

struct rdb_in {
    const uint8_t *at, *end;
    const char *why;    /* RDB_CORRUPT: what is wrong, static text */
    const uint8_t *bad; /* and where */
    bool
        valkey; /* Valkey wrote it (magic VALKEY, version from 80 on): some types mean other things */
};
enum rdb_result {
    RDB_OK,
    RDB_MORE,    /* the bytes end within it; `at` is where it was */
    RDB_CORRUPT, /* why and bad say more */
    RDB_NOMEM,
    RDB_MODULE /* a value of a module that is not known; it was skipped. It begins with a length: its id for rdb_module_name */
};
enum rdb_result rdb_get_len(struct rdb_in *in, uint64_t *len);
/* rdb_get_string: *out points into the input, or, when it was compressed or an integer, into `scratch`, which grows as needed
 * (mem_free when done). */
struct rdb_scratch {
    struct mem *mem;
    char *bytes;
    size_t cap;
};
enum rdb_result rdb_get_string(struct rdb_in *in, struct rdb_scratch *s, struct span *out);
/* rdb_skip_string, rdb_skip_value: to behind it, looking at as little as that takes. A module's value is skipped like others. */
enum rdb_result rdb_skip_string(struct rdb_in *in);
enum rdb_result rdb_skip_value(struct rdb_in *in, uint8_t type);
/* rdb_type_known: is it the type of a value, of any version, a module's included? */
bool rdb_type_known(uint8_t type);

/* As the commands would have made the value. */
struct config; /* its limits of flat values */
/* rdb_decode_value: type was read already. *out is a value to store (its bytes, for REPR_INLINE, lie in the input or in the scratch).
 * What is dead inside (field TTLs) by now_ms is left out; RDB_OK with out->repr REPR_OBJECT and object NULL: nothing was left; or, when in->why is set, it was
 * empty as it came, which bugs of old servers wrote: Redis passes over such keys in files, and refuses them in RESTORE.
 * in->at is where it was unless the result is RDB_OK or RDB_MODULE. */
enum rdb_result rdb_decode_value(struct rdb_in *in, uint8_t type, struct rdb_scratch *s,
                                 const struct config *limits, int64_t now_ms, struct value *out);
/* rdb_module_name: of the 64-bit id of a module's type: 9 letters and a 0; returns its encoding version. */
unsigned rdb_module_name(uint64_t id, char out[10]);

#endif
