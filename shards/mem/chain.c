#include "shards/chain.h"
#include "shards/assert.h"

void chain_pool_put(struct bucket **pool, struct bucket *b) {
    memcpy(b->bytes, pool, sizeof *pool);
    *pool = b;
}

struct bucket *chain_pool_take(struct bucket **pool) {
    struct bucket *b = *pool;
    if (b != NULL) {
        memcpy(pool, b->bytes, sizeof *pool);
        memset(b, 0, sizeof *b);
    }
    return b;
}

void chain_pool_free(struct bucket *pool, struct overflows *o) {
    struct bucket *b;
    while ((b = chain_pool_take(&pool)) != NULL)
        overflow_free(o, b);
}

struct bucket *overflow_create(struct overflows *o) {
    struct bucket *b = mem_alloc_lines(o->mem, sizeof *b);
    if (b == NULL)
        return NULL;
    memset(b, 0, sizeof *b);
    o->count++;
    return b;
}

void overflow_free(struct overflows *o, struct bucket *b) {
    if (b == NULL)
        return;
    mem_free_lines(o->mem, b, sizeof *b);
    o->count--;
}

bool chain_insert(struct bucket *head, const void *item, uint8_t print, struct bucket **pool,
                  struct overflows *o) {
    for (;;) {
        unsigned room = bucket_free(head);
        if (likely(room != 0)) {
            bucket_set(head, (unsigned)__builtin_ctz(room), item, print);
            return true;
        }
        struct bucket *next = bucket_next(head);
        if (next == NULL)
            break;
        head = next;
    }
    struct bucket *next = pool != NULL ? chain_pool_take(pool) : NULL;
    if (next == NULL && (next = overflow_create(o)) == NULL)
        return false;
    bucket_set(next, 0, bucket_item(head, BUCKET_LINK), bucket_print_at(head, BUCKET_LINK));
    bucket_set(next, 1, item, print);
    bucket_set(head, BUCKET_LINK, next, 0);
    head->bytes[BUCKET_CTL] |= BUCKET_LINKED;
    return true;
}

void chain_remove(struct bucket *head, struct place at, struct overflows *o) {
    struct bucket *before = NULL, *last = head;
    for (struct bucket *next; (next = bucket_next(last)) != NULL; last = next)
        before = last;
    bucket_set(at.bucket, at.i, NULL, 0);
    if (before == NULL)
        return;
    if (at.bucket != last) {
        unsigned i = (unsigned)__builtin_ctz(bucket_used(last));
        bucket_set(at.bucket, at.i, bucket_item(last, i), bucket_print_at(last, i));
        bucket_set(last, i, NULL, 0);
    }
    unsigned used = bucket_used(last);
    /* It was made with two items and goes with the last but one. */
    ASSERT(used != 0);
    if ((used & (used - 1)) != 0)
        return;
    unsigned i = (unsigned)__builtin_ctz(used);
    before->bytes[BUCKET_CTL] &= (uint8_t)~BUCKET_LINKED;
    bucket_set(before, BUCKET_LINK, bucket_item(last, i), bucket_print_at(last, i));
    overflow_free(o, last);
}

unsigned chain_len(const struct bucket *head, unsigned *items) {
    unsigned buckets = 0, used = 0;
    const struct bucket *b = head;
    do {
        buckets++;
        used += (unsigned)__builtin_popcount(bucket_used(b));
    } while ((b = bucket_next(b)) != NULL);
    if (items != NULL)
        *items = used;
    return buckets;
}

bool chain_merge(struct bucket *into, struct bucket *from, struct overflows *o) {
    unsigned a, b;
    unsigned have = chain_len(into, &a) - 1 + chain_len(from, &b) - 1;
    /* One more than the result needs: the first bucket moved cannot be used again itself. */
    unsigned need = a + b <= BUCKET_PLACES ? 0 : (a + b - BUCKET_PLACES + 7) / 8 + 1;
    struct bucket *pool = NULL, copy;
    for (; have < need; have++) {
        struct bucket *extra = overflow_create(o);
        if (extra == NULL) {
            chain_pool_free(pool, o);
            return false;
        }
        chain_pool_put(&pool, extra);
    }
    for (struct bucket *each = from; each != NULL;) {
        each = chain_take(from, each, &copy, &pool);
        for (unsigned used = bucket_used(&copy); used != 0; used &= used - 1) {
            unsigned i = (unsigned)__builtin_ctz(used);
            bool fits =
                chain_insert(into, bucket_item(&copy, i), bucket_print_at(&copy, i), &pool, o);
            ASSERT(fits);
        }
    }
    chain_pool_free(pool, o);
    return true;
}
