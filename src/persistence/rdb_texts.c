/* rdb_texts.c: texts in a row: strings of a file, and the entries of three kinds of blobs. See rdb_read_impl.h.
 *
 *     ziplist   | total bytes 4 | offset of the last 4 | count 2 | entry | ... | ff |        all numbers little endian
 *               entry: | bytes of the entry before, 1, or fe and 4 | encoding and data |
 *               00nnnnnn data               string of up to 63 bytes      c0 2 bytes, f0 3, d0 4, e0 8, fe 1   integers
 *               01nnnnnn nnnnnnnn data      up to 16,383, big endian      f1..fd                               0..12
 *               10------ 4 bytes, big endian, data
 *     zipmap    | count 1; fe and more: not told | name | value | name | value | ... | ff |
 *               name: | length 1, or fe and 4 | data |   value: | length | unused 1 | data | unused bytes |
 * Source      the files themselves, and the comments at the top of Redis's ziplist.c and zipmap.c.
 */
#include "anax/listpack.h"
#include "rdb_read_impl.h"
#include "shards/bytes.h"
#include <endian.h>

enum {
    BLOB_END = 0xff,
    ZIPLIST_HEAD = 10,
    ZIPLIST_COUNT_AT = 8,
    ZIPLIST_COUNT_UNKNOWN = 65535,
    LONG_MARK = 0xfe, /* the number follows in 4 bytes */
    LP_LAST_ENCODING = 0xf4
};

/* load_int: `bytes` of an integer, little endian, with its sign. */
static int64_t load_int(const uint8_t *p, unsigned bytes) {
    uint64_t v = 0;
    memcpy(&v, p, bytes);
    unsigned shift = 64 - 8 * bytes;
    return (int64_t)(le64toh(v) << shift) >> shift;
}

/* --- strings --- */

static enum rdb_result next_string(struct rdb_texts *t, struct rdb_text *out, bool *there) {
    *there = t->left > 0;
    if (t->left == 0)
        return RDB_OK;
    t->left--;
    return rdb_get_text(t->in, out);
}

void rdb_texts_strings(struct rdb_texts *t, struct rdb_in *in, uint64_t n) {
    *t = (struct rdb_texts){.in = in, .next = next_string, .left = n};
}

/* --- blobs --- */

static enum rdb_result bad_blob(struct rdb_texts *t, const char *why, const uint8_t *bad) {
    return rdb_corrupt(t->in, why, t->place != NULL ? t->place : bad);
}

/* begin: `head` bytes come before the first entry, one mark behind the last. */
static bool begin(struct rdb_texts *t, struct rdb_in *in, struct span blob, const uint8_t *place,
                  size_t head) {
    const uint8_t *bytes = (const uint8_t *)blob.ptr;
    bool within = bytes >= place && bytes <= in->end;
    *t = (struct rdb_texts){.in = in, .place = within ? NULL : place};
    if (blob.len < head + 1 || bytes[blob.len - 1] != BLOB_END)
        return false;
    t->at = bytes + head;
    t->end = bytes + blob.len - 1;
    return true;
}

static enum rdb_result counted(struct rdb_texts *t, struct rdb_text *out, const char *why) {
    (void)out;
    return t->left != RDB_COUNT_UNTOLD && t->left != t->seen ? bad_blob(t, why, t->end) : RDB_OK;
}

static void take_item(const struct lp_item *i, struct rdb_text *out) {
    *out = (struct rdb_text){.kind = i->str == NULL ? RDB_TEXT_INT : RDB_TEXT_PLAIN,
                             .bytes = (const uint8_t *)i->str,
                             .len = i->len,
                             .num = i->num};
}

/* listpack_entry: bytes of what is an entry in any encoding, also one that listpack.h would not choose; 0: it is none. */
static size_t listpack_entry(const uint8_t *p, const uint8_t *end) {
    size_t room = (size_t)(end - p), len = 0;
    size_t head = *p == 0xf0 ? 5 : (*p & 0xf0) == 0xe0 ? 2 : 1;
    if (*p > LP_LAST_ENCODING || room < head)
        return 0;
    size_t bytes = lp_entry_bytes(p);
    if (bytes > room)
        return 0;
    const uint8_t *q = p + bytes - 1;
    for (unsigned shift = 0;; shift += 7) {
        len |= (size_t)(*q & 127) << shift;
        if ((*q & 128) == 0)
            break;
        if (shift == 28 || --q == p)
            return 0;
    }
    return (size_t)(q - p) == len ? bytes : 0;
}

static enum rdb_result next_listpack(struct rdb_texts *t, struct rdb_text *out, bool *there) {
    *there = t->at < t->end;
    if (!*there)
        return counted(t, out, "a listpack with another number of entries than it says");
    size_t bytes = listpack_entry(t->at, t->end);
    if (bytes == 0)
        return bad_blob(t, "a listpack with a bad entry", t->at);
    struct lp_item i;
    lp_entry_get(t->at, &i);
    take_item(&i, out);
    t->at += bytes;
    t->seen++;
    return RDB_OK;
}

enum rdb_result rdb_texts_listpack(struct rdb_texts *t, struct rdb_in *in, struct span blob,
                                   const uint8_t *place) {
    if (!begin(t, in, blob, place, LP_HEADER) || lp_bytes((const uint8_t *)blob.ptr) != blob.len)
        return rdb_corrupt(in, "a listpack of a wrong length", place);
    t->next = next_listpack;
    t->left = load_le16((const uint8_t *)blob.ptr + 4);
    if (t->left == LP_COUNT_UNKNOWN)
        t->left = RDB_COUNT_UNTOLD;
    return RDB_OK;
}

/* --- ziplists --- */

/* ziplist_data: what is behind the length of the entry before; its bytes, 0: it is none. */
static size_t ziplist_data(const uint8_t *p, size_t room, struct rdb_text *out) {
    size_t head = 1, len;
    unsigned int_bytes = 0;
    if (room == 0)
        return 0;
    switch (*p) {
    case 0xc0:
        int_bytes = 2;
        break;
    case 0xd0:
        int_bytes = 4;
        break;
    case 0xe0:
        int_bytes = 8;
        break;
    case 0xf0:
        int_bytes = 3;
        break;
    case 0xfe:
        int_bytes = 1;
        break;
    default:
        break;
    }
    if (*p >= 0xc0) {
        if (int_bytes == 0 && (*p < 0xf1 || *p > 0xfd))
            return 0;
        if (room < 1 + int_bytes)
            return 0;
        *out = (struct rdb_text){.kind = RDB_TEXT_INT,
                                 .num = int_bytes == 0 ? *p - 0xf1 : load_int(p + 1, int_bytes)};
        return 1 + int_bytes;
    }
    len = *p & 63;
    if (*p >= 0x80) {
        if (room < 5)
            return 0;
        len = load_be32(p + 1);
        head = 5;
    } else if (*p >= 0x40) {
        if (room < 2)
            return 0;
        len = len << 8 | p[1];
        head = 2;
    }
    if (room - head < len)
        return 0;
    *out = (struct rdb_text){.kind = RDB_TEXT_PLAIN, .bytes = p + head, .len = len};
    return head + len;
}

static enum rdb_result next_ziplist(struct rdb_texts *t, struct rdb_text *out, bool *there) {
    size_t room = (size_t)(t->end - t->at), before = 0, head = 1;
    *there = room > 0;
    if (!*there)
        return counted(t, out, "a ziplist with another number of entries than it says");
    before = *t->at;
    if (before == LONG_MARK) {
        head = 5;
        before = room < head ? SIZE_MAX : load_le32(t->at + 1);
    }
    if (before != t->before)
        return bad_blob(t, "a ziplist that cannot be walked backwards", t->at);
    size_t data = ziplist_data(t->at + head, room - head, out);
    if (data == 0)
        return bad_blob(t, "a ziplist with a bad entry", t->at);
    t->before = head + data;
    t->at += t->before;
    t->seen++;
    return RDB_OK;
}

enum rdb_result rdb_texts_ziplist(struct rdb_texts *t, struct rdb_in *in, struct span blob,
                                  const uint8_t *place) {
    if (!begin(t, in, blob, place, ZIPLIST_HEAD) ||
        load_le32((const uint8_t *)blob.ptr) != blob.len)
        return rdb_corrupt(in, "a ziplist of a wrong length", place);
    t->next = next_ziplist;
    t->left = load_le16((const uint8_t *)blob.ptr + ZIPLIST_COUNT_AT);
    if (t->left == ZIPLIST_COUNT_UNKNOWN)
        t->left = RDB_COUNT_UNTOLD;
    return RDB_OK;
}

/* --- zipmaps --- */

/* zipmap_part: a name, or with `unused` a value; its bytes, 0: it is none. */
static size_t zipmap_part(const uint8_t *p, size_t room, bool unused, struct rdb_text *out) {
    size_t head = 1, len = *p, behind = 0;
    if (len == LONG_MARK) {
        head = 5;
        if (room < head)
            return 0;
        len = load_le32(p + 1);
    }
    if (unused) {
        if (room <= head)
            return 0;
        behind = p[head++];
    }
    if (room - head < len + behind)
        return 0;
    *out = (struct rdb_text){.kind = RDB_TEXT_PLAIN, .bytes = p + head, .len = len};
    return head + len + behind;
}

static enum rdb_result next_zipmap(struct rdb_texts *t, struct rdb_text *out, bool *there) {
    bool is_value = t->seen % 2 == 1;
    *there = t->at < t->end;
    if (!*there)
        return is_value ? bad_blob(t, "a zipmap that ends with a name", t->end)
                        : counted(t, out, "a zipmap with another number of entries than it says");
    size_t bytes = zipmap_part(t->at, (size_t)(t->end - t->at), is_value, out);
    if (bytes == 0)
        return bad_blob(t, "a zipmap with a bad entry", t->at);
    t->at += bytes;
    t->seen++;
    return RDB_OK;
}

enum rdb_result rdb_texts_zipmap(struct rdb_texts *t, struct rdb_in *in, struct span blob,
                                 const uint8_t *place) {
    if (!begin(t, in, blob, place, 1))
        return rdb_corrupt(in, "a zipmap of a wrong length", place);
    t->next = next_zipmap;
    t->left = *(const uint8_t *)blob.ptr;
    t->left = t->left < LONG_MARK ? 2 * t->left : RDB_COUNT_UNTOLD;
    return RDB_OK;
}
