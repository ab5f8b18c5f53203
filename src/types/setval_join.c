/* setval_join.c: two tables against each other, bucket by bucket.
 *
 * Why         members have the same hash in every table, so those of a bucket of the larger table can only lie in one bucket
 *             of the smaller one: the low bits of the hash that name the former name the latter, too. Fingerprints tell which
 *             pairs to look at. Nothing is hashed, and what has no counterpart is mostly not even read.
 *
 *                 larger   | a1 a2 a3 | b1 b2 | a4 b3 | ...       small has half of its buckets:
 *                 smaller  |  A1 A2   |  B1   |                   a* can only be A*, in the bucket with the same
 *                                                                 index modulo the number of its buckets
 */
#include "setval_impl.h"
#include "strtab_impl.h"

enum { PAIRS = 64 }; /* that are being fetched */

struct join {
    const struct strtab *small;
    struct set_found *found;
    int64_t now_ms;
    bool common; /* what is in both is wanted; else what is only in the larger one */
    unsigned n;
    struct {
        const uint8_t *one, *other; /* items; other: NULL, there is none */
    } pair[PAIRS];
};

static bool same_name(const uint8_t *one, const uint8_t *other) {
    struct item i;
    item_get(one, &i);
    return item_is(other, i.name);
}

/* counterpart: the item of a chain that may be the same as `one`; when there are more, the one that is. */
static const uint8_t *counterpart(const struct bucket *chain, const uint8_t *one, uint8_t print) {
    const uint8_t *first = NULL;
    unsigned many = 0;
    for (const struct bucket *b = chain; b != NULL; b = bucket_next(b)) {
        for (unsigned match = bucket_match(b, print); match != 0; match &= match - 1) {
            const uint8_t *other = bucket_address(b, (unsigned)__builtin_ctz(match));
            if (many++ == 0)
                first = other;
            else if (same_name(one, other))
                return other;
        }
    }
    return first;
}

/* settle: the pairs have arrived. There is room for all of them among what was found. */
static void settle(struct join *j) {
    for (unsigned i = 0; i < j->n; i++) {
        const uint8_t *one = j->pair[i].one, *other = j->pair[i].other;
        struct item item;
        item_get(one, &item);
        bool both = other != NULL && item_is(other, item.name) &&
                    !item_dead(item_expire_ms(other), j->now_ms);
        if (both == j->common && !item_dead(item.expire_ms, j->now_ms))
            j->found->items[j->found->n++] =
                (struct lp_item){.str = item.name.ptr, .len = (uint32_t)item.name.len};
    }
    j->n = 0;
}

static void join_bucket(struct join *j, const struct bucket *b, const struct bucket *chain) {
    for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
        unsigned place = (unsigned)__builtin_ctz(used);
        const uint8_t *one = bucket_address(b, place);
        const uint8_t *other = counterpart(chain, one, bucket_print_at(b, place));
        if (other == NULL && j->common)
            continue;
        prefetch(one);
        if (other != NULL)
            prefetch(other);
        j->pair[j->n].one = one;
        j->pair[j->n++].other = other;
    }
}

bool setval_joinable(const struct val *large, const struct val *small) {
    if (large->form != VAL_TABLE || small->form != VAL_TABLE)
        return false;
    uint32_t a = ((const struct strtab *)large->big)->bucket_count;
    uint32_t b = ((const struct strtab *)small->big)->bucket_count;
    return a >= b && a / 8 <= b;
}

bool setval_join(struct set_found *f, struct mem *m, const struct val *large,
                 const struct val *small, bool common, int64_t now_ms, uint64_t limit) {
    const struct strtab *t = (const struct strtab *)large->big;
    struct join j = {
        .small = (const struct strtab *)small->big, .found = f, .now_ms = now_ms, .common = common};
    for (uint32_t i = 0; i < t->bucket_count && (limit == 0 || f->n < limit); i++) {
        const struct bucket *chain = strtab_bucket(j.small, strtab_index(j.small, i));
        for (const struct bucket *b = strtab_bucket(t, i); b != NULL; b = bucket_next(b)) {
            if (j.n + BUCKET_PLACES > PAIRS) {
                if (!setval_found_room(f, m, j.n))
                    return false;
                settle(&j);
            }
            join_bucket(&j, b, chain);
        }
    }
    if (!setval_found_room(f, m, j.n))
        return false;
    settle(&j);
    return true;
}
