/* dump_impl.h: values on their way from one server to another: DUMP, RESTORE, MIGRATE.
 *
 *     | type 1 | value, as in a file | times | version of the format 2 | CRC-64 of all before 8 |    little endian
 *
 *     times: of members of a set, if some have one: auxiliary fields as a file has before the set (rdb_types_impl.h).
 *
 * Why         the version is the lowest that can hold the value, so that servers that know no newer one restore it.
 * Threads     dump_value and dump_open are pure: beside the shard too, with an account of its own.
 */
#ifndef DUMP_IMPL_H
#define DUMP_IMPL_H

#include "anax/rdb.h"

enum { DUMP_VERSION_BYTES = 2, DUMP_CRC_BYTES = 8, DUMP_FOOTER_BYTES = 10 };

/* A payload being made: in `first`, as long as it fits there, then in a blob. */
struct dump {
    struct rdb_out out;
    struct mem *mem;
    uint8_t *begin;
    struct blob *blob; /* NULL: all of it is in `first` */
};

/* dump_begin: what follows goes to the room that is given, and, when that is full, to a blob of m's. dump_value: one
 * payload. dump_blob: gives what it has as a blob, its length set. False, NULL: no memory; nothing is left of it. */
void dump_begin(struct dump *d, struct mem *m, uint8_t *first, size_t room);
MUST_CHECK bool dump_value(struct dump *d, const struct value *v, bool compress);
MUST_CHECK struct blob *dump_blob(struct dump *d);
/* dump_elements: how long a value takes, in the measure of ctx_work. O(1). */
uint64_t dump_elements(const struct value *v);

/* dump_open: what lies between type and footer, when version and checksum are right. */
MUST_CHECK bool dump_open(struct span payload, struct rdb_in *in, uint8_t *type);

/* Registrations, by persistence_register. */
void dump_register(void);
void restore_register(void);
void digest_register(void);
void reload_register(void);
void sync_register(void);
void migrate_register(void);

#endif
