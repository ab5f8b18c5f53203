/* listval_impl.h: chunks, and the lists that are made of them, for listval*.c only. See anax/listval.h. */
#ifndef LISTVAL_IMPL_H
#define LISTVAL_IMPL_H

#include "anax/listval.h"

enum { LISTVAL_CHUNK_HEAD = 20 };
#define LISTVAL_ENTRIES UINT32_MAX /* a width: entries of a listpack */

struct listval_chunk {
    uint32_t width; /* of each text; LISTVAL_ENTRIES */
    uint32_t count;
    uint32_t begin, end, cap; /* bytes of body: elements lie from begin to end */
    uint8_t body[];
};
static_assert(sizeof(struct listval_chunk) == LISTVAL_CHUNK_HEAD, "what a chunk costs");

struct listval_slot {
    int64_t pos; /* of the chunk's first element */
    struct listval_chunk *chunk;
};

struct listval_chunks {
    struct object head;
    struct listval_slot *dir; /* dir[first] to dir[first + n - 1] */
    uint32_t first, n, cap;
};

static inline struct listval_chunks *listval_chunks_of(const struct val *v) {
    return (struct listval_chunks *)v->big;
}

/* --- one chunk: listval_chunk.c. What is allocated is counted for in l->head. --- */
static inline uint32_t listval_chunk_used(const struct listval_chunk *c) {
    return c->end - c->begin;
}
static inline size_t listval_chunk_alloc_bytes(const struct listval_chunk *c) {
    return mem_size(LISTVAL_CHUNK_HEAD + (size_t)c->cap);
}
/* width_for: of a chunk that begins with this text. */
uint32_t listval_chunk_width_for(const struct lp_key *k);
/* create: empty, with room for `body` bytes at least, all of it at the tail. NULL: no memory. */
struct listval_chunk *listval_chunk_create(struct listval_chunks *l, struct mem *m, uint32_t width,
                                           size_t body);
void listval_chunk_free(struct listval_chunks *l, struct mem *m, struct listval_chunk *c);
/* bytes_with: of a body that holds what c holds, and k as well; *width: of its kind. An upper bound where texts of
 * integers become entries. */
size_t listval_chunk_bytes_with(const struct listval_chunk *c, const struct lp_key *k,
                                uint32_t *width);
/* bytes_as_entries: what the elements take in a listpack; an upper bound in the same way. */
size_t listval_chunk_bytes_as_entries(const struct listval_chunk *c);
/* at: element i, or the end when that is the count. */
uint8_t *listval_chunk_at(const struct listval_chunk *c, uint32_t i);
/* append: elements from..to - 1 of another chunk, behind the last; there is room, and c's kind holds them. */
void listval_chunk_append(struct listval_chunk *c, const struct listval_chunk *other, uint32_t from,
                          uint32_t to);
/* remake: *c is of that kind and has room for `body` bytes in all, what it does not use at one end. False: no memory. */
MUST_CHECK bool listval_chunk_remake(struct listval_chunks *l, struct mem *m,
                                     struct listval_chunk **c, uint32_t width, size_t body,
                                     enum listval_end gap);
/* slide: moves the elements so that `gap` bytes of what is free lie before them. */
void listval_chunk_slide(struct listval_chunk *c, uint32_t gap);
/* trim: gives room back that is not used, if a smaller size class does and there is memory for it now. */
void listval_chunk_trim(struct listval_chunks *l, struct mem *m, struct listval_chunk **c);
/* put: k before element i; there is room at the head or at the tail, and c's kind holds it. remove: n elements. */
void listval_chunk_put(struct listval_chunk *c, uint32_t i, const struct lp_key *k);
void listval_chunk_remove(struct listval_chunk *c, uint32_t i, uint32_t n);
/* remove_equal: of those from element i on the first max that are k; returns how many. */
uint32_t listval_chunk_remove_equal(struct listval_chunk *c, uint32_t i, const struct lp_key *k,
                                    uint64_t max);

/* --- a list of chunks: listval_chunks.c --- */
/* create: empty; to be given elements, or destroyed. */
struct listval_chunks *listval_chunks_create(struct mem *m);
void listval_chunks_destroy(struct listval_chunks *l, struct mem *m);
/* push: one element. */
MUST_CHECK bool listval_chunks_push(struct listval_chunks *l, struct mem *m, enum listval_end end,
                                    struct span text, const struct listval_limits *limits);
MUST_CHECK bool listval_chunks_insert(struct listval_chunks *l, struct mem *m, uint64_t index,
                                      struct span text, const struct listval_limits *limits);
MUST_CHECK bool listval_chunks_set(struct listval_chunks *l, struct mem *m, uint64_t index,
                                   struct span text, const struct listval_limits *limits);
void listval_chunks_pop(struct listval_chunks *l, struct mem *m, enum listval_end end, uint64_t n);
/* keep: as listval_keep. Returns the list that stays, which may be another one; then l is *rest. */
MUST_CHECK struct listval_chunks *listval_chunks_keep(struct listval_chunks *l, struct mem *m,
                                                      uint64_t from, uint64_t to,
                                                      struct object **rest);
/* remove_equal: of those from index on the first max. */
uint64_t listval_chunks_remove_equal(struct listval_chunks *l, struct mem *m, uint64_t index,
                                     const struct lp_key *k, uint64_t max,
                                     const struct listval_limits *limits);
/* find: the slot that element `index`, which there is, lies in; *at: which element of its chunk. */
const struct listval_slot *listval_chunks_find(const struct listval_chunks *l, uint64_t index,
                                               uint32_t *at);
/* check: as listval_check. */
void listval_chunks_check(const struct listval_chunks *l, const struct listval_limits *limits,
                          bool memory_was_there);

#endif
