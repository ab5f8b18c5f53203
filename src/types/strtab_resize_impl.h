/* strtab_resize_impl.h: buckets of a strtab, their segments and their stamps; for strtab.c only. What fails for want of
 * memory is tried again by a later operation. */
#ifndef STRTAB_RESIZE_IMPL_H
#define STRTAB_RESIZE_IMPL_H

#include "strtab_impl.h"

static inline uint32_t strtab_resize_segments(const struct strtab *t) {
    return (t->bucket_count + STRTAB_SEGMENT - 1) / STRTAB_SEGMENT;
}

/* strtab_resize_grow, strtab_resize_shrink: by one bucket, if the load says so. exact: strtab_insert says what. */
void strtab_resize_grow(struct strtab *t, struct mem *m, bool exact);
void strtab_resize_shrink(struct strtab *t, struct mem *m);
/* strtab_resize_add_bucket: an empty one behind the last, for who fills it. */
MUST_CHECK bool strtab_resize_add_bucket(struct strtab *t, struct mem *m);
/* strtab_resize_drop_last: forgets the last bucket, which is empty, of a table that is being destroyed. strtab_resize_end: frees what is
 * left then. */
void strtab_resize_drop_last(struct strtab *t, struct mem *m);
void strtab_resize_end(struct strtab *t, struct mem *m);
/* strtab_resize_stamp: something in bucket i may have this time; false: no memory for stamps. */
MUST_CHECK bool strtab_resize_stamp(struct strtab *t, struct mem *m, uint32_t i, int64_t expire_ms);
int64_t strtab_resize_stamp_of(const struct strtab *t, uint32_t i); /* OBJECT_NEVER */
void strtab_resize_drop_stamps(struct strtab *t, struct mem *m);
/* strtab_resize_defrag_all, _segment: move what there is one of, and the buckets and stamps of one segment. */
void strtab_resize_defrag_all(struct strtab *t, struct mover *v);
void strtab_resize_defrag_segment(struct strtab *t, struct mover *v, uint32_t segment);
/* strtab_resize_note_depth: the chain of this bucket has become longer. */
void strtab_resize_note_depth(struct strtab *t, const struct bucket *head);

#endif
