/* rdb_types_impl.h: what the bytes of RDB are called, for those of this room that write them and those that read them.
 *
 * Source      the files that Redis 2.x to 8.0 and Valkey 7.2 to 9.1 write; their public sources. Above 21 the same
 *             number means one thing in a file of Redis and another in one of Valkey: the version tells which, 12 to 79 are
 *             Redis's alone, from 80 on Valkey's.
 */
#ifndef RDB_TYPES_IMPL_H
#define RDB_TYPES_IMPL_H

#include <stdint.h>

enum { RDB_VERSION_STREAM_3 = 11, RDB_VALKEY_FROM = 80 };

enum rdb_type {
    RDB_STRING = 0,
    RDB_LIST = 1,          /* count, strings */
    RDB_SET = 2,           /* count, strings */
    RDB_ZSET = 3,          /* count, (member, score as text) */
    RDB_HASH = 4,          /* count, (name, value) */
    RDB_ZSET_2 = 5,        /* count, (member, score: 8 bytes, little endian) */
    RDB_MODULE_PRE_GA = 6, /* a module's, without a way to skip it */
    RDB_MODULE_2 = 7,      /* id, (RDB_MODULE_OP_..., that) ... RDB_MODULE_OP_END */
    /* A string each: */
    RDB_HASH_ZIPMAP = 9,
    RDB_LIST_ZIPLIST = 10,
    RDB_SET_INTSET = 11,
    RDB_ZSET_ZIPLIST = 12,
    RDB_HASH_ZIPLIST = 13,
    RDB_LIST_QUICKLIST = 14, /* count, ziplists */
    RDB_STREAM_LISTPACKS = 15,
    RDB_HASH_LISTPACK = 16,    /* a string */
    RDB_ZSET_LISTPACK = 17,    /* a string */
    RDB_LIST_QUICKLIST_2 = 18, /* count, (rdb_node, a string) */
    RDB_STREAM_LISTPACKS_2 = 19,
    RDB_SET_LISTPACK = 20, /* a string; Redis 7.2 */
    RDB_STREAM_LISTPACKS_3 = 21,
    /* Redis 7.4 and later: hashes with times. */
    RDB_HASH_METADATA_PRE_GA = 22,    /* count, (ms, or 0: none; name, value) */
    RDB_HASH_LISTPACK_EX_PRE_GA = 23, /* a string of names, values, ms */
    RDB_HASH_METADATA = 24, /* earliest ms 8, count, (ms - earliest + 1, or 0: none; name, value) */
    RDB_HASH_LISTPACK_EX = 25, /* earliest ms 8, a string of names, values, ms */
    /* Valkey 9: */
    RDB_HASH_2 = 22 /* count, (name, value, ms 8, or -1: none) */
};

/* The two highest bits of a length's first byte, and what two of them say in the others. */
enum {
    RDB_LEN_6 = 0,         /* 6 bits */
    RDB_LEN_14 = 0x40,     /* and a byte */
    RDB_LEN_32 = 0x80,     /* 4 bytes, big endian */
    RDB_LEN_64 = 0x81,     /* 8 bytes, big endian */
    RDB_LEN_ENCODED = 0xc0 /* no length, but an encoding of a string: */
};
enum rdb_encoding {
    RDB_ENCODED_INT8 = 0xc0, /* little endian */
    RDB_ENCODED_INT16 = 0xc1,
    RDB_ENCODED_INT32 = 0xc2,
    RDB_ENCODED_LZF = 0xc3 /* length here, length unpacked, bytes */
};
enum { RDB_LEN_BYTES_MAX = 9 };

/* Of RDB_ZSET: the length of the text of a score, or a score itself. */
enum { RDB_SCORE_NAN = 253, RDB_SCORE_INF = 254, RDB_SCORE_MINUS_INF = 255 };

/* Of RDB_LIST_QUICKLIST_2. */
enum rdb_node {
    RDB_NODE_PLAIN = 1, /* one element, as it is */
    RDB_NODE_PACKED = 2 /* a listpack */
};

enum rdb_module_op {
    RDB_MODULE_OP_END = 0,
    RDB_MODULE_OP_SINT = 1,
    RDB_MODULE_OP_UINT = 2,
    RDB_MODULE_OP_FLOAT = 3,
    RDB_MODULE_OP_DOUBLE = 4,
    RDB_MODULE_OP_STRING = 5
};

/* The auxiliary field before a set some of whose members have a time; what other servers make of it is nothing. Its value, a
 * string:
 *     (length of the member, as all lengths here; the member; Unix time in ms, 8 bytes, little endian) ...
 * It comes right before the record of its set (before its expiry, if it has one), in any number: each field has some
 * of the members, so that none is too long for a string. A member that is named and is not in the set means nothing. */
#define RDB_AUX_MEMBER_TTLS "anax-member-ttls"

#endif
