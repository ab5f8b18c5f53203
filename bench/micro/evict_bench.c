/* evict_bench.c: what an eviction costs on a full table, by policy, and what each policy keeps per key.
 *
 * Use         evict_bench [keys [part of a name]]
 * Method      The table is filled, one key in FEW with an expiry where it says "few" (and all that come later), all of them else. Then chunks of
 *             new keys are put, each put before an eviction as in a server at its limit; and, on the same table without a
 *             policy, before the deletion of a key that is known, the cheapest way to make room. Processor time of the
 *             thread; the lower quartile of the chunks, since the machine is shared. Of the keys with an expiry that are left: how late that is,
 *             0 to 1, on the average.
 */
#include "../../shards/keyspace/evict_impl.h"
#include "shards/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CHUNK = 512, CHUNKS = 2000, KEY_BYTES = 16, VALUE_BYTES = 32, FEW = 1000, TTLS = 100000 };
#define NOW_MS 2000000000000LL

struct bench {
    struct mem mem;
    struct keyspace *k;
    uint64_t keys, next, oldest;
    uint64_t few; /* one in so many has an expiry */
    uint64_t times_ns[CHUNKS];
};

static uint64_t cpu_ns(void) {
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    (void)fprintf(stderr, "evict_bench: %s\n", what);
    exit(1);
}

static uint64_t write_key(char out[KEY_BYTES], uint64_t n) {
    for (size_t i = KEY_BYTES; i-- > 0; n /= 10)
        out[i] = (char)('0' + n % 10);
    return hash_of((struct span){out, KEY_BYTES});
}

static ON_SHARD void put(struct bench *b, uint64_t n) {
    static char value[VALUE_BYTES];
    char key[KEY_BYTES];
    uint64_t hash = write_key(key, n);
    struct value v = {.repr = REPR_INLINE, .access = ACCESS_AUTO, .bytes = {value, sizeof value}};
    int64_t expire_ms = n % b->few == 0 || n >= b->keys
                            ? NOW_MS + 1000000 + (int64_t)(n * 2654435761U % TTLS) * 1000
                            : EXPIRE_NEVER;
    if (table_put(keyspace_table(b->k, 0), (struct span){key, KEY_BYTES}, hash, &v, expire_ms) ==
        NULL)
        die("no memory");
}

static ON_SHARD void drop_oldest(struct bench *b) {
    char key[KEY_BYTES];
    uint64_t hash = write_key(key, b->oldest++);
    (void)table_delete(keyspace_table(b->k, 0), (struct span){key, KEY_BYTES}, hash);
}

static ON_SHARD void evict(struct bench *b) {
    struct evicted e = {.going = NULL};
    if (!keyspace_evict(b->k, NOW_MS, &e))
        die("nothing may go");
}

/* fetch: as a server does for the keys of a batch. */
static ON_SHARD void fetch(struct bench *b, uint64_t first, uint64_t n) {
    char key[KEY_BYTES];
    struct table *t = keyspace_table(b->k, 0);
    for (uint64_t i = 0; i < n; i++)
        table_prefetch(t, write_key(key, first + i));
}

static int by_size(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static ON_SHARD uint64_t measure(struct bench *b, bool evicts) {
    enum { BATCH = 16 };
    for (unsigned c = 0; c < CHUNKS; c++) {
        uint64_t from = cpu_ns();
        for (unsigned i = 0; i < CHUNK; i++) {
            if (i % BATCH == 0)
                fetch(b, b->next, BATCH);
            if (evicts)
                evict(b);
            else
                drop_oldest(b);
            put(b, b->next++);
        }
        b->times_ns[c] = cpu_ns() - from;
    }
    qsort(b->times_ns, CHUNKS, sizeof b->times_ns[0], by_size);
    return b->times_ns[CHUNKS / 4] / CHUNK;
}

static const char *only = "";

static void run(const char *name, enum evict_policy p, uint64_t keys, uint64_t few) {
    static struct bench b;
    if (strstr(name, only) == NULL)
        return;
    shard_claim();
    b = (struct bench){.keys = keys, .few = few};
    if (keyspace_create(&b.k, &b.mem, 16) != OK)
        die("no memory");
    const struct evict_options o = {p, 5, 10, 1};
    keyspace_set_eviction(b.k, &o);
    for (; b.next < keys; b.next++)
        put(&b, b.next);
    uint64_t ns = measure(&b, p != EVICT_NONE);
    const struct table *t = keyspace_table(b.k, 0);
    double ttl = t->expires == 0 ? 0
                                 : (double)table_ttl_sum_ms(t, NOW_MS + 1000000) / 1000 /
                                       (double)t->expires / TTLS;
    printf("%-26s %6lu ns  %5.2f B/key  %5.3f\n", name, (unsigned long)ns,
           (double)fifo_bytes(t) / (double)t->count, ttl);
    (void)fflush(stdout);
    keyspace_destroy(b.k);
}

int main(int argc, char **argv) {
    uint64_t keys = argc > 1 ? strtoull(argv[1], NULL, 10) : 5000000, seed = 1;
    only = argc > 2 ? argv[2] : only;
    if (hash_seed(&seed) != OK)
        die("no seed");
    (void)mem_huge_pages();
    printf("%lu keys; an eviction and a put of a new key\n", (unsigned long)keys);
    run("delete a known key, put", EVICT_NONE, keys, 1);
    run("allkeys-lru", EVICT_ALLKEYS_LRU, keys, 1);
    run("allkeys-lfu", EVICT_ALLKEYS_LFU, keys, 1);
    run("allkeys-lrm", EVICT_ALLKEYS_LRM, keys, 1);
    run("allkeys-random", EVICT_ALLKEYS_RANDOM, keys, 1);
    run("allkeys-s3fifo", EVICT_ALLKEYS_S3FIFO, keys, 1);
    run("volatile-lru", EVICT_VOLATILE_LRU, keys, 1);
    run("volatile-lru, few", EVICT_VOLATILE_LRU, keys, FEW);
    run("volatile-ttl", EVICT_VOLATILE_TTL, keys, 1);
    run("volatile-ttl, few", EVICT_VOLATILE_TTL, keys, FEW);
    run("volatile-s3fifo", EVICT_VOLATILE_S3FIFO, keys, 1);
    run("volatile-s3fifo, few", EVICT_VOLATILE_S3FIFO, keys, FEW);
    return 0;
}
