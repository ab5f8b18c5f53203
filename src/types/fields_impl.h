/* fields_impl.h: what the files of fields.h share. */
#ifndef FIELDS_IMPL_H
#define FIELDS_IMPL_H

#include "anax/fields.h"
#include "anax/listpack.h"
#include "strtab_impl.h"

static inline struct strtab *fields_table(const struct val *v) {
    return CONTAINER_OF(v->big, struct strtab, head);
}

/* fields_stride: entries of a row in a listpack. */
static inline unsigned fields_stride(const struct val *v, const struct fields_kind *k) {
    return 1U + k->valued + (v->form == VAL_LISTPACK_TTL);
}

static inline int64_t fields_time(int64_t expire_ms) {
    return expire_ms < FIELDS_TIME_MAX ? expire_ms : FIELDS_TIME_MAX;
}

/* A row of a listpack: its entries, and the row behind it, NULL at the end. */
struct fields_row {
    uint8_t *name, *value, *time, *next;
    int64_t expire_ms;
};
void fields_row_at(const struct val *v, const struct fields_kind *k, uint8_t *name,
                   struct fields_row *out);

/* --- fields_flat.c --- */
/* fields_flat_too_large: a put would make it more than the thresholds allow. */
bool fields_flat_too_large(const struct val *v, const struct fields_kind *k,
                           const struct fields_put *p, int64_t now_ms);
/* As fields.h says, of a val that is a listpack, or nothing yet. A first time makes it one with times. */
MUST_CHECK bool fields_flat_put(struct val *v, const struct fields_kind *k,
                                const struct fields_put *p, int64_t now_ms, uint64_t *added);
bool fields_flat_remove(struct val *v, const struct fields_kind *k, struct span name,
                        int64_t now_ms);
MUST_CHECK bool fields_flat_set_times(struct val *v, const struct fields_kind *k,
                                      const struct field_time *times, uint32_t n, int64_t now_ms);

/* --- fields_table.c --- */
/* fields_table_of: a table of the rows of v, dead ones too; NULL: no memory. v stays as it is. */
MUST_CHECK struct object *fields_table_of(const struct val *v, const struct fields_kind *k);
MUST_CHECK bool fields_table_put(struct val *v, const struct fields_kind *k,
                                 const struct fields_put *p, int64_t now_ms, uint64_t *added);
bool fields_table_remove(struct val *v, struct span name, int64_t now_ms);
MUST_CHECK bool fields_table_set_times(struct val *v, const struct field_time *times, uint32_t n,
                                       int64_t now_ms);

#endif
