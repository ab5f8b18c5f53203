/* listpack.h: a list of strings and integers in one run of bytes, as Redis lays it out.
 *
 *     | total bytes 4 | count 2 | entry | entry | ... | 0xff |
 *     entry: | encoding and data | length of that, backwards, 1 to 5 bytes |
 *
 *     0xxxxxxx                       integer 0..127              10xxxxxx data      string of up to 63 bytes
 *     110xxxxx xxxxxxxx              integer of 13 bits          1110xxxx xxxxxxxx  string of up to 4,095 bytes
 *     f1 2 bytes, f2 3, f3 4, f4 8   integers, little endian     f0 4 bytes         string of up to 2^32 - 1 bytes
 *
 *     The length at the end has 7 bits a byte, the most significant first in memory; every byte but the first has bit 7
 *     set, so it is read from its last byte on. It takes the fewest bytes, but 2^14 - 1, 2^21 - 1 and 2^28 - 1 take one
 *     more. All numbers are little endian.
 *
 * Why         Redis's own layout: dump files and replication take such values as they are. The fewest bytes for a few short
 *             elements, and one cache miss.
 * Threads     pure bytes. Limits: 2^32 - 1 bytes; the count says LP_COUNT_UNKNOWN from 65,535 entries on.
 * Invariants  (1) a text that is a canonical 64-bit decimal is kept as an integer, and no other text is; both in the
 *             fewest bytes. So every text has one encoding.
 *             (2) editing takes the caller's word that there is room: LP_GROWTH says how much.
 *             (3) lp_valid is true exactly of bytes that every other function can be given.
 * Source      antirez/listpack, listpack.md.
 */
#ifndef ANAX_LISTPACK_H
#define ANAX_LISTPACK_H

#include "anax/strval.h"
#include "shards/span.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    LP_HEADER = 6,
    LP_EMPTY_BYTES = 7,
    LP_ENTRY_OVERHEAD_MAX = 10, /* of an entry, beside its text */
    LP_COUNT_UNKNOWN = 65535
};

/* One element. str NULL: the integer num. */
struct lp_item {
    const char *str;
    uint32_t len;
    int64_t num;
};
/* A text that is looked for, or stored: read once, compared with many entries. */
struct lp_key {
    struct span text;
    bool is_num;
    int64_t num;
};

/* lp_key_of: O(1). lp_key_item: the same of an element. */
struct lp_key lp_key_of(struct span text);
/* lp_item_text: an integer is written to digits. lp_item_len: the length of that text. */
struct span lp_item_text(const struct lp_item *i, char digits[STRVAL_INT_BYTES]);
size_t lp_item_len(const struct lp_item *i);

/* --- entries alone: for structures with a frame of their own (the chunks of a list) --- */
/* lp_entry_bytes_of: bytes of the entry that would hold it. lp_entry_put: writes it and returns what follows. */
size_t lp_entry_bytes_of(const struct lp_key *k);
uint8_t *lp_entry_put(uint8_t *to, const struct lp_key *k);
/* lp_entry_bytes: of the entry at p. lp_entry_before: the entry that ends where p begins. lp_entry_get: its element.
 * lp_entry_is: whether it is that text. */
size_t lp_entry_bytes(const uint8_t *p);
uint8_t *lp_entry_before(const uint8_t *p);
void lp_entry_get(const uint8_t *p, struct lp_item *out);
bool lp_entry_is(const uint8_t *p, const struct lp_key *k);
/* lp_entry_valid: an entry that lies wholly within [p, end), backwards length included; its size, 0: it is not valid. */
size_t lp_entry_valid(const uint8_t *p, const uint8_t *end);

/* --- whole listpacks --- */
/* lp_init: an empty one, LP_EMPTY_BYTES long. */
void lp_init(uint8_t *lp);
uint32_t lp_bytes(const uint8_t *lp);
/* lp_count: O(1), O(N) from 65,535 entries on. */
uint32_t lp_count(const uint8_t *lp);
/* lp_valid: of exactly len bytes. O(N). */
bool lp_valid(const uint8_t *lp, size_t len);
/* Entries; NULL: there is none. lp_at: index from the front, or from -1 backwards; O(N) from the nearer end. lp_skip: n
 * entries on. */
uint8_t *lp_first(uint8_t *lp);
uint8_t *lp_last(uint8_t *lp);
uint8_t *lp_next(uint8_t *p);
uint8_t *lp_prev(uint8_t *lp, uint8_t *p);
uint8_t *lp_at(uint8_t *lp, int64_t index);
uint8_t *lp_skip(uint8_t *p, uint32_t n);
/* lp_find: the first entry that is that text, of every (skip + 1)-th from p (which may be NULL) on. O(N). */
uint8_t *lp_find(uint8_t *p, const struct lp_key *k, unsigned skip);

/* Edits. The bytes from lp on have room for LP_GROWTH more, and the key's text lies elsewhere. lp_insert: before p, or at
 * the end when p is NULL; returns the new entry. lp_replace: returns the entry. lp_remove: n entries from p on, or as many
 * as there are; returns what follows, or NULL at the end. O(bytes behind). */
#define LP_GROWTH(text_len) ((size_t)(text_len) + LP_ENTRY_OVERHEAD_MAX)
uint8_t *lp_insert(uint8_t *lp, uint8_t *p, const struct lp_key *k);
uint8_t *lp_replace(uint8_t *lp, uint8_t *p, const struct lp_key *k);
uint8_t *lp_remove(uint8_t *lp, uint8_t *p, uint32_t n);

#endif
