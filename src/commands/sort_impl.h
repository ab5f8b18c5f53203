/* sort_impl.h: SORT and SORT_RO: what both ways of carrying them out share.
 *
 * Why         SORT of the elements themselves is a command of one key, or two with STORE. BY and GET with patterns look at keys
 *             that nobody knows before the elements are read, on any shard: such a call locks everything, and goes
 *             in rounds (sort_lookup.c).
 *
 *                 collect   the elements' texts, copied: on the key's shard, or beside it
 *                 load      an item for each
 *                 weigh     what each is sorted by: itself, or what BY found
 *                 order     and LIMIT
 *                 deliver   a reply, or a list under the STORE key
 * Threads     a struct sorting: who made it, or a worker meanwhile, for whose account sort_charge_to is called; other shards
 *             read it between rounds. What follows but sort_init and sort_check is pure.
 */
#ifndef SORT_IMPL_H
#define SORT_IMPL_H

#include "list_impl.h"

struct sort_spec {
    uint32_t
        by; /* argument that is BY's pattern; 0: none, or one without '*', which means as they come */
    uint32_t store; /* argument; 0: reply */
    uint32_t gets;
    int64_t start, count; /* LIMIT; count < 0: all */
    bool desc, alpha, as_they_come;
    bool lookups; /* some pattern has a '*' */
    bool found;   /* a GET pattern has */
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
    uint8_t type;        /* of the key */
    struct outbuf texts; /* of the elements: length 4, bytes */
    size_t texts_at;     /* where they begin */
    struct sort_item *items;
    uint32_t item_count;
    uint32_t from, to; /* of the items, once ordered: what is delivered */
};

/* Where it is delivered: a reply, or a list. */
enum { SORT_SINK_TEXTS = 64 };
struct sort_sink {
    struct outbuf made; /* of the reply */
    uint8_t proto;
    bool is_list;
    bool failed; /* no memory for it */
    struct val list;
    struct listval_limits limits;
};

/* sort_takes: values of this type have elements to sort. */
static inline bool sort_takes(unsigned type) {
    return type == VALUE_LIST || type == VALUE_SET || type == VALUE_ZSET;
}
/* sort_parse: false: *error says what is wrong. Flags ALLOW_STORE. */
bool sort_parse(const struct span *argv, uint32_t argc, bool may_store, struct sort_spec *s,
                const char **error);
/* sort_next_get: the argument that is the next GET pattern behind argument `from`; 0: there is none. */
uint32_t sort_next_get(const struct span *argv, uint32_t argc, uint32_t from);
/* sort_check: a row's check: replies what is wrong with the options. */
bool sort_check(struct ctx *c);

/* sort_spec_for: what is stored of a set must have an order that every server agrees upon. sort_elements: how many will be collected of
 * v, which is all of them unless they are delivered as they come. sort_collect: appends their texts. O(N). */
void sort_spec_for(struct sort_spec *s, uint8_t type);
uint64_t sort_elements(const struct val *v, const struct sort_spec *s);
void sort_collect(const struct val *v, const struct sort_spec *s, int64_t now_ms,
                  struct outbuf *texts);
/* sort_init: of argv[1], which holds that type. sort_deinit frees. sort_charge_to: what it holds is of that account by now.
 * sort_load: items from the texts; false: no memory. */
void sort_init(struct sorting *s, struct ctx *c, uint8_t type);
void sort_deinit(struct sorting *s);
void sort_charge_to(struct sorting *s, struct mem *m);
bool sort_load(struct sorting *s);
/* sort_weigh: i->score is what i->by says; false: it is no number. sort_order: false: some text is none. O(N log N). */
bool sort_weigh(struct sort_item *i);
bool sort_order(struct sorting *s);
/* sort_sink_init: a reply, or a list when something is to be stored. */
void sort_sink_init(struct sort_sink *k, struct ctx *c, const struct sort_spec *s);
void sort_sink_deinit(struct sort_sink *k, struct ctx *c) ON_SHARD;
void sort_sink_charge_to(struct sort_sink *k, struct mem *m);
/* sort_deliver_head: that all of it comes. sort_deliver: items from..to - 1; of each as many values as there are GET patterns, from
 * values on, ptr NULL: nothing was found; values NULL: no pattern looks keys up. */
void sort_deliver_head(const struct sorting *s, struct sort_sink *k);
void sort_deliver(const struct sorting *s, uint32_t from, uint32_t to, const struct span *values,
                  struct sort_sink *k);
/* sort_store: the STORE key, which lies here, holds the list, and its length is replied, or that memory is out. */
void sort_store(const struct sort_spec *s, struct ctx *c, struct val *list) ON_SHARD;
extern const char SORT_NOT_NUMBERS[];

/* The row for calls that look keys up. */
void sort_lookup_register(void);
const struct command *sort_variant(const struct span *argv, uint32_t argc);

#endif
