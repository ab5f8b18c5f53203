/* check_rdb_impl.h: what the two files of anax-check-rdb share. */
#ifndef CHECK_RDB_IMPL_H
#define CHECK_RDB_IMPL_H

#include "shards/keyspace.h"
#include <stdio.h>

/* check_rdb_quote: as a JSON string; bytes from 128 on as the characters of these numbers. */
void check_rdb_quote(FILE *to, struct span s);
/* check_rdb_value: a value as JSON: a string, or an array of elements, of [name, value, ms] or [member, score], or of
 * [id, name, value, ...]. */
void check_rdb_value(FILE *to, struct mem *m, const struct value *v);

#endif
