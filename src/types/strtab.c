/* strtab.c: finding, inserting, and the table as a struct object. See strtab_impl.h. */
#include "anax/val.h"
#include "shards/assert.h"
#include "strtab_resize_impl.h"
#include <limits.h>

/* --- finding --- */

void strtab_prefetch(const struct strtab *t, uint64_t hash) {
    prefetch(strtab_bucket(t, strtab_index(t, hash)));
}

void strtab_prefetch_item(const struct strtab *t, uint64_t hash) {
    const struct bucket *b = strtab_bucket(t, strtab_index(t, hash));
    unsigned match = bucket_match(b, bucket_print(hash));
    if (match == 0 && (b = bucket_next(b)) != NULL)
        match = bucket_match(b, bucket_print(hash));
    if (match != 0)
        prefetch(bucket_address(b, (unsigned)__builtin_ctz(match)));
}

bool strtab_find(const struct strtab *t, struct span name, uint64_t hash, struct place *at) {
    uint8_t print = bucket_print(hash);
    struct bucket *b = strtab_bucket(t, strtab_index(t, hash));
    do {
        for (unsigned match = bucket_match(b, print); match != 0; match &= match - 1) {
            struct place p = {b, (unsigned)__builtin_ctz(match)};
            if (likely(item_is(strtab_item(p), name))) {
                *at = p;
                return true;
            }
        }
        b = bucket_next(b);
    } while (unlikely(b != NULL));
    return false;
}

/* --- changing --- */

void strtab_settle(struct strtab *t, const struct mem *m, int64_t used_bytes) {
    t->head.bytes = (size_t)((int64_t)t->head.bytes + m->used_bytes - used_bytes);
    uint64_t weight = t->head.count + t->bucket_count / STRTAB_SEGMENT + 2;
    t->head.weight = weight < UINT32_MAX ? (uint32_t)weight : UINT32_MAX;
}

struct strtab *strtab_create(struct mem *m, uint8_t type) {
    int64_t used_bytes = m->used_bytes;
    struct strtab *t = mem_alloc(m, sizeof *t);
    struct bucket *first = mem_alloc_lines(m, sizeof *first);
    if (t == NULL || first == NULL) {
        mem_free(m, t, sizeof *t);
        mem_free_lines(m, first, sizeof *first);
        return NULL;
    }
    memset(first, 0, sizeof *first);
    *t = (struct strtab){.head = {.type = type, .form = VAL_TABLE, .due_ms = OBJECT_NEVER},
                         .one = first,
                         .bucket_count = 1,
                         .depth = 1,
                         .last_cap = 1};
    strtab_settle(t, m, used_bytes);
    return t;
}

bool strtab_insert(struct strtab *t, struct mem *m, uint8_t *item, uint64_t hash, bool exact) {
    struct overflows o = {.mem = m};
    uint32_t i = strtab_index(t, hash);
    int64_t expire_ms = item_expire_ms(item);
    if (unlikely(expire_ms != 0) && !strtab_resize_stamp(t, m, i, expire_ms))
        return false;
    struct bucket *head = strtab_bucket(t, i);
    if (unlikely(!chain_insert(head, item, bucket_print(hash), NULL, &o)))
        return false;
    if (unlikely(o.count != 0))
        strtab_resize_note_depth(t, head);
    t->head.count++;
    strtab_resize_grow(t, m, exact);
    return true;
}

void strtab_take(struct strtab *t, struct mem *m, uint64_t hash, struct place at) {
    struct overflows o = {.mem = m};
    chain_remove(strtab_bucket(t, strtab_index(t, hash)), at, &o);
    t->head.count--;
    strtab_resize_shrink(t, m);
}

bool strtab_stamp(struct strtab *t, struct mem *m, uint64_t hash, int64_t expire_ms) {
    return strtab_resize_stamp(t, m, strtab_index(t, hash), expire_ms);
}

/* --- what struct val_ops wants --- */

static struct strtab *table_of(struct object *o) {
    return CONTAINER_OF(o, struct strtab, head);
}

static void spend(unsigned *budget, unsigned n) {
    *budget -= n < *budget ? n : *budget;
}

/* free_chain: all items of a chain and its overflow buckets; returns how many allocations that was. */
static unsigned free_chain(struct mem *m, struct bucket *head) {
    struct overflows o = {.mem = m};
    struct bucket copy, *pool = NULL;
    unsigned items = 0, buckets = 0;
    for (struct bucket *b = head; b != NULL; buckets++) {
        b = chain_take(head, b, &copy, &pool);
        for (unsigned used = bucket_used(&copy); used != 0; used &= used - 1, items++)
            item_free(m, bucket_address(&copy, (unsigned)__builtin_ctz(used)));
    }
    chain_pool_free(pool, &o);
    return items + buckets;
}

bool strtab_destroy_some(struct mem *m, struct object *object, unsigned *budget) {
    struct strtab *t = table_of(object);
    int64_t used_bytes = m->used_bytes;
    while (t->bucket_count > 0 && *budget > 0) {
        if (t->bucket_count > 1)
            chain_prefetch(strtab_bucket(t, t->bucket_count - 2));
        spend(budget, free_chain(m, strtab_bucket(t, t->bucket_count - 1)));
        strtab_resize_drop_last(t, m);
    }
    if (t->bucket_count > 0) {
        strtab_settle(t, m, used_bytes);
        return false;
    }
    strtab_resize_end(t, m);
    mem_free(m, t, sizeof *t);
    return true;
}

static bool copy_chain(struct strtab *t, struct mem *m, const struct bucket *from,
                       struct bucket *to) {
    struct overflows o = {.mem = m};
    chain_prefetch(from);
    for (; from != NULL; from = bucket_next(from)) {
        for (unsigned used = bucket_used(from); used != 0; used &= used - 1) {
            unsigned place = (unsigned)__builtin_ctz(used);
            uint8_t *copy = item_copy(m, bucket_address(from, place));
            if (copy == NULL)
                return false;
            if (!chain_insert(to, copy, bucket_print_at(from, place), NULL, &o)) {
                item_free(m, copy);
                return false;
            }
            t->head.count++;
        }
    }
    return true;
}

struct object *strtab_copy(struct mem *m, const struct object *object) {
    const struct strtab *from = CONTAINER_OF(object, struct strtab, head);
    struct strtab *t = strtab_create(m, object->type);
    if (t == NULL)
        return NULL;
    int64_t used_bytes = m->used_bytes;
    bool done = true;
    for (uint32_t i = 0; done && i < from->bucket_count; i++) {
        int64_t due_ms = strtab_resize_stamp_of(from, i);
        done = (i == 0 || strtab_resize_add_bucket(t, m)) &&
               copy_chain(t, m, strtab_bucket(from, i), strtab_bucket(t, i)) &&
               (due_ms == OBJECT_NEVER || strtab_resize_stamp(t, m, i, due_ms));
    }
    t->head.flags = object->flags;
    t->depth = from->depth;
    strtab_settle(t, m, used_bytes);
    for (unsigned budget = UINT_MAX; !done && !strtab_destroy_some(m, &t->head, &budget);)
        budget = UINT_MAX;
    return done ? &t->head : NULL;
}

static void defrag_chain(struct mover *v, struct bucket *head) {
    chain_prefetch(head);
    for (struct bucket *b = head; b != NULL; b = move_next(v, b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
            struct place at = {b, (unsigned)__builtin_ctz(used)};
            uint8_t *p = strtab_item(at);
            strtab_swap(at, move_small(v, p, mem_size(item_size(p))));
        }
}

/* strtab_defrag_some: *cursor is a bucket. Those that the table loses or gets meanwhile are at its end. */
struct object *strtab_defrag_some(struct mover *v, struct object *object, uint64_t *cursor) {
    struct strtab *t = table_of(object);
    uint64_t i = *cursor;
    if (i == 0) {
        t = move_small(v, t, sizeof *t);
        strtab_resize_defrag_all(t, v);
    }
    for (; i < t->bucket_count && (v->budget > 0 || i == *cursor); i++) {
        if (i % STRTAB_SEGMENT == 0)
            strtab_resize_defrag_segment(t, v, (uint32_t)(i / STRTAB_SEGMENT));
        defrag_chain(v, strtab_bucket(t, (uint32_t)i));
        v->budget -= v->budget > 0; /* an empty one costs something too */
    }
    *cursor = i < t->bucket_count ? i : 0;
    return &t->head;
}

/* --- times --- */

/* earliest: of the items of a chain that are alive; *dead: how many are not. */
static int64_t earliest(const struct bucket *b, int64_t now_ms, unsigned *dead) {
    int64_t first_ms = OBJECT_NEVER;
    chain_prefetch(b);
    for (*dead = 0; b != NULL; b = bucket_next(b))
        for (unsigned used = bucket_used(b); used != 0; used &= used - 1) {
            int64_t ms = item_expire_ms(bucket_address(b, (unsigned)__builtin_ctz(used)));
            if (item_dead(ms, now_ms))
                *dead += 1;
            else if (ms != 0 && ms < first_ms)
                first_ms = ms;
        }
    return first_ms;
}

/* sift: frees the dead items of a chain, and builds it again of the others, which takes no memory. */
static void sift(struct mem *m, struct bucket *head, int64_t now_ms) {
    struct overflows o = {.mem = m};
    struct bucket copy, *pool = NULL;
    for (struct bucket *b = head; b != NULL;) {
        b = chain_take(head, b, &copy, &pool);
        for (unsigned used = bucket_used(&copy); used != 0; used &= used - 1) {
            unsigned i = (unsigned)__builtin_ctz(used);
            uint8_t *item = bucket_address(&copy, i);
            if (item_dead(item_expire_ms(item), now_ms)) {
                item_free(m, item);
                continue;
            }
            bool fits = chain_insert(head, item, bucket_print_at(&copy, i), &pool, &o);
            ASSERT(fits); /* shards/chain.h says why */
        }
    }
    chain_pool_free(pool, &o);
}

/* expire_segment: until nothing is due in it, or the budget is spent. */
static unsigned expire_segment(struct strtab *t, struct mem *m, uint32_t segment, int64_t now_ms,
                               unsigned *budget) {
    struct strtab_due *due = &t->due[segment];
    uint32_t first = segment * STRTAB_SEGMENT, n = t->bucket_count - first;
    int64_t next_ms = OBJECT_NEVER;
    unsigned removed = 0;
    for (uint32_t i = 0; i < n && i < STRTAB_SEGMENT; i++) {
        if (now_ms > due->stamps[i]) {
            unsigned dead;
            if (*budget == 0)
                return removed;
            due->stamps[i] = earliest(strtab_bucket(t, first + i), now_ms, &dead);
            if (dead != 0)
                sift(m, strtab_bucket(t, first + i), now_ms);
            spend(budget, 1 + dead);
            removed += dead;
        }
        if (due->stamps[i] < next_ms)
            next_ms = due->stamps[i];
    }
    due->first_ms = next_ms;
    return removed;
}

unsigned strtab_expire_some(struct mem *m, struct object *o, int64_t now_ms, unsigned *budget) {
    struct strtab *t = table_of(o);
    int64_t used_bytes = m->used_bytes, next_ms = OBJECT_NEVER;
    unsigned removed = 0;
    if (now_ms <= o->due_ms)
        return 0;
    for (uint32_t s = 0; s < strtab_resize_segments(t) && now_ms <= next_ms; s++) {
        if (now_ms > t->due[s].first_ms)
            removed += expire_segment(t, m, s, now_ms, budget);
        if (t->due[s].first_ms < next_ms)
            next_ms = t->due[s].first_ms;
    }
    /* Otherwise the budget is spent, and what was due first may still be there. */
    if (now_ms <= next_ms)
        o->due_ms = next_ms;
    if (next_ms == OBJECT_NEVER)
        strtab_resize_drop_stamps(t, m);
    o->count -= removed;
    for (unsigned i = 0; i < removed; i++)
        strtab_resize_shrink(t, m);
    strtab_settle(t, m, used_bytes);
    return removed;
}
