/* sort_impl.h: SORT and SORT_RO: what both ways of carrying them out share.
 *
 * Why         SORT of the elements themselves is a command of one key, or two with STORE. BY and GET with patterns look at keys
 *             that nobody knows before the elements are read, on any shard: such a call locks everything, and goes
 *             in rounds (sort_lookup.c).
 *
 *                 collect   the elements' texts, copied: on the key's shard
 *                 weigh     what each is sorted by: itself, or what BY found
 *                 order     and LIMIT
 *                 deliver   a reply, or a list under the STORE key
 * Threads     a struct sorting: who made it; other shards read it between rounds.
 */
#ifndef SORT_IMPL_H
#define SORT_IMPL_H

#include "coll_impl.h"

struct sort_spec {
    uint32_t
        by; /* argument that is BY's pattern; 0: none, or one without '*', which means as they come */
    uint32_t store; /* argument; 0: reply */
    uint32_t gets;
    int64_t start, count; /* LIMIT; count < 0: all */
    bool desc, alpha, as_they_come;
    bool lookups; /* some pattern has a '*' */
};

struct sort_item {
    struct span text;
    struct span by; /* ptr NULL: BY found nothing */
    double score;
    uint32_t index; /* as it came */
};

struct sorting {
    struct mem *mem;
    struct sort_spec spec;
    const struct span *argv;
    uint32_t argc;
    struct outbuf texts; /* of the elements: length 4, bytes */
    struct sort_item *items;
    uint32_t item_count;
    uint32_t from, to; /* of the items, once ordered: what is delivered */
    /* sort_lookup.c's: for each item spec.gets places, and one more for BY. */
    struct outbuf wants, found;
    struct span *values; /* ptr NULL: nothing found */
    uint32_t width;
};

/* sort_parse: false: *error says what is wrong. Flags ALLOW_STORE. */
bool sort_parse(const struct span *argv, uint32_t argc, bool may_store, struct sort_spec *s,
                const char **error);
/* sort_next_get: the argument that is the next GET pattern behind argument `from`; 0: there is none. */
uint32_t sort_next_get(const struct span *argv, uint32_t argc, uint32_t from);
/* sort_check: a row's check: replies what is wrong with the options. */
bool sort_check(struct ctx *c);

/* sort_collect: appends the elements of v to `texts`. O(N). */
void sort_collect(const struct val *v, const struct sort_spec *s, int64_t now_ms,
                  struct outbuf *texts);
/* sort_init: sort_deinit frees. sort_load: items from the texts; false: no memory. */
void sort_init(struct sorting *s, struct ctx *c);
void sort_deinit(struct sorting *s);
bool sort_load(struct sorting *s);
/* sort_order: false: some text is no number. O(N log N). */
bool sort_order(struct sorting *s, uint8_t type);
/* sort_reply, sort_store: what is left between from and to. sort_store runs where the STORE key lies and replies the count;
 * false: replied that memory is out. */
void sort_reply(const struct sorting *s, struct reply *r);
bool sort_store(const struct sorting *s, struct ctx *c) ON_SHARD;
extern const char SORT_NOT_NUMBERS[];

/* The row for calls that look keys up. */
void sort_lookup_register(void);
const struct command *sort_variant(const struct span *argv, uint32_t argc);

#endif
