/* listval.h: lists: values in a row, O(1) at both ends.
 *
 *     VAL_LISTPACK   a flat listpack, as long as list-max-listpack-size allows
 *
 *     VAL_CHUNKS     struct object | count, directory
 *                                         |
 *                    directory            v  first                 an array with free places at both ends
 *                    | free | -3 chunk | 120 chunk | 375 chunk | free |
 *                               |          |
 *                    the position of the first element of each chunk; positions stay what they are when the ends move
 *
 *     chunk          | width 4 | count 4 | begin 4 | end 4 | cap 4 | gap | body ...... | gap |
 *                                                                        ^ begin       ^ end
 *       uniform      all texts have `width` bytes: nothing but the texts; element i is at begin + i * width
 *       entries      entries of a listpack (listpack.h), without its head and its end
 *
 * Why         A chunk is one allocation of a whole size class, and items of one length, which is what queues hold, cost
 *             their bytes and nothing else. The gaps make a push or pop at either end a write of the element alone; the
 *             positions make an index a binary search, and an edit in the middle costs the directory's nearer side.
 * Growth      The outermost chunks start small and double until a chunk is full size, in proportion to the list. A uniform
 *             chunk becomes an entries chunk when another length has to go in and there is room for all of it as
 *             entries; else a new chunk is begun.
 * Threads     as val.h says.
 * Invariants  those of val.h; (5) no chunk is empty. (6) an allocation of more than chunk_bytes holds one element.
 *             (7) two neighbours, neither of them first or last, would take more than chunk_bytes / 2 as one chunk, unless
 *             memory for joining them was refused: so removals and insertions do not fragment a list.
 *             (8) directory: each position is the one before it and the count of that chunk.
 *             (9) taking elements out cannot fail.
 * Limits      texts of LISTVAL_TEXT_MAX bytes and more are refused as if there was no memory for them.
 * Source      OBJECT ENCODING's names change where Redis 7.2 and later change theirs: a listpack becomes chunks when
 *             its bytes and the texts to be added exceed the limit (or the counts do), and chunks become a listpack
 *             again when removing or setting an element leaves no more than half of it.
 */
#ifndef ANAX_LISTVAL_H
#define ANAX_LISTVAL_H

#include "anax/listpack.h"
#include "anax/val.h"

#define LISTVAL_TEXT_MAX ((1ULL << 32) - 64)

/* list-max-listpack-size, read: -1 to -5 are 4 to 64 KiB, what is positive a number of elements. */
struct listval_limits {
    uint32_t chunk_bytes;
    uint32_t flat_bytes, flat_count;             /* a listpack has no more */
    uint32_t flat_again_bytes, flat_again_count; /* and is one again */
};
struct listval_limits listval_limits_of(int64_t list_max_listpack_size);

enum listval_end { LISTVAL_HEAD, LISTVAL_TAIL };

uint64_t listval_count(const struct val *v);
/* listval_at: the element at an index; false: there is none. O(log N), and a walk in its chunk unless that is uniform. */
bool listval_at(const struct val *v, uint64_t index, struct lp_item *out);

/* --- adding. Texts may not lie in v itself. False: no memory. --- */
/* listval_push: one text after the other, so that at the head the last one is first in the end. All or none. O(n). */
MUST_CHECK bool listval_push(struct val *v, enum listval_end end, const struct span *texts,
                             uint32_t n, const struct listval_limits *l);
/* listval_insert: before index, at the end when that is the count. listval_set: index < count. O(log N + chunks on the
 * nearer side). */
MUST_CHECK bool listval_insert(struct val *v, uint64_t index, struct span text,
                               const struct listval_limits *l);
MUST_CHECK bool listval_set(struct val *v, uint64_t index, struct span text,
                            const struct listval_limits *l);
/* listval_rotate: the element at one end goes to the other. There is one. O(1). */
MUST_CHECK bool listval_rotate(struct val *v, enum listval_end from,
                               const struct listval_limits *l);

/* --- taking out: cannot fail; when nothing is left, v is empty and coll_store deletes the key --- */
/* listval_pop: n elements, no more than there are, from one end. O(n) in chunks that stay, O(1) for each that goes. */
void listval_pop(struct val *v, enum listval_end end, uint64_t n, const struct listval_limits *l);
/* listval_keep: elements from..to - 1 stay, of which there are some. *rest is what is left to be freed of many chunks, in
 * slices by listval_ops.destroy_some, or NULL; of v's account. */
void listval_keep(struct val *v, uint64_t from, uint64_t to, const struct listval_limits *l,
                  struct object **rest);
/* listval_remove_equal: those that are the text, the first max of them, or the last max. Returns how many. O(N). What an
 * entry holds stays where it is, and v is not to be used for anything else, until listval_settle: it gives room back, and makes
 * a listpack of a list that is short again. O(what a listpack may have). */
uint64_t listval_remove_equal(struct val *v, struct span text, enum listval_end from, uint64_t max,
                              const struct listval_limits *l);
void listval_settle(struct val *v, const struct listval_limits *l);

/* --- walking: towards the tail or, backward, the head. No write meanwhile. O(log N), then O(1) each. --- */
struct listval_iter {
    uint64_t index;                  /* of the element that was returned last */
    uint64_t left;                   /* elements still to come */
    const uint8_t *at;               /* the next one */
    const struct listval_slot *slot; /* its chunk; NULL in a listpack */
    uint32_t width;                  /* LISTVAL_ENTRIES: they are entries */
    uint32_t in_chunk;               /* how many are left of this chunk */
    bool backward;
};
/* listval_begin: listval_next returns the element at `index` first, which there may be none of. */
void listval_begin(struct listval_iter *i, const struct val *v, uint64_t index, bool backward);
bool listval_next(struct listval_iter *i, struct lp_item *out);
/* listval_find: as listval_next until it is that text, comparing at most *compare_max elements, which it counts down.
 * Faster: where texts have one length, another length is not looked for. */
bool listval_find(struct listval_iter *i, const struct lp_key *k, uint64_t *compare_max);

/* --- as it lies in memory, for files: a list in chunks is so many runs of elements. O(1). --- */
struct listval_run {
    uint32_t count;
    uint32_t width; /* of each text; 0: they are entries of a listpack */
    const uint8_t *bytes;
    size_t len;
};
uint32_t listval_runs(const struct val *v);
struct listval_run listval_run_at(const struct val *v, uint32_t i);

/* For val.c. copy: O(N); no element has a time. */
extern const struct val_ops listval_ops;

/* listval_check: the invariants, for tests and fuzzing; (7) only when memory was there all the time. O(N). */
void listval_check(const struct val *v, const struct listval_limits *l, bool memory_was_there);

#endif
