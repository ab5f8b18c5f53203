#include "chain_impl.h"
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

void chain_pool_free(struct bucket *pool, struct mem *m) {
    struct bucket *b;
    while ((b = chain_pool_take(&pool)) != NULL)
        mem_free_lines(m, b, sizeof *b);
}

static struct bucket *overflow(struct bucket **pool, struct mem *m) {
    struct bucket *b = pool != NULL ? chain_pool_take(pool) : NULL;
    if (b == NULL && (b = mem_alloc_lines(m, sizeof *b)) != NULL)
        memset(b, 0, sizeof *b);
    return b;
}

bool chain_insert(struct bucket *head, const void *entry, uint8_t print, struct bucket **pool,
                  struct mem *m) {
    for (;;) {
        unsigned room = bucket_free(head);
        if (likely(room != 0)) {
            bucket_set(head, (unsigned)__builtin_ctz(room), entry, print);
            return true;
        }
        struct bucket *next = bucket_next(head);
        if (next == NULL)
            break;
        head = next;
    }
    struct bucket *next = overflow(pool, m);
    if (next == NULL)
        return false;
    bucket_set(next, 0, bucket_address(head, BUCKET_LINK), bucket_print_at(head, BUCKET_LINK));
    bucket_set(next, 1, entry, print);
    bucket_set(head, BUCKET_LINK, next, 0);
    head->bytes[BUCKET_CTL] |= BUCKET_LINKED;
    return true;
}

void chain_remove(struct bucket *head, struct place at, struct mem *m) {
    struct bucket *before = NULL, *last = head;
    for (struct bucket *next; (next = bucket_next(last)) != NULL; last = next)
        before = last;
    bucket_set(at.bucket, at.i, NULL, 0);
    if (before == NULL)
        return;
    if (at.bucket != last) {
        unsigned i = (unsigned)__builtin_ctz(bucket_used(last));
        bucket_set(at.bucket, at.i, bucket_address(last, i), bucket_print_at(last, i));
        bucket_set(last, i, NULL, 0);
    }
    unsigned used = bucket_used(last);
    /* It was made with two entries and goes with the last but one. */
    ASSERT(used != 0);
    if ((used & (used - 1)) != 0)
        return;
    unsigned i = (unsigned)__builtin_ctz(used);
    before->bytes[BUCKET_CTL] &= (uint8_t)~BUCKET_LINKED;
    bucket_set(before, BUCKET_LINK, bucket_address(last, i), bucket_print_at(last, i));
    mem_free_lines(m, last, sizeof *last);
}

unsigned chain_len(const struct bucket *head, unsigned *entries) {
    unsigned buckets = 0, used = 0;
    for (const struct bucket *b = head; b != NULL; b = bucket_next(b)) {
        buckets++;
        used += (unsigned)__builtin_popcount(bucket_used(b));
    }
    if (entries != NULL)
        *entries = used;
    return buckets;
}
