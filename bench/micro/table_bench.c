/* table_bench.c: what a table costs: time per operation as it grows, with and without fetching
 * ahead, and bytes per key along one doubling.
 *
 * Use         table_bench [all|time|expiry|bytes] [keys max]
 * Method      Keys and hashes of CHUNK operations are made first, into buffers that stay in the
 *             first-level cache as a request's bytes would; then the operations are timed together.
 *             The lower quartile of the chunks is shown: the machine is shared, and what others
 *             take away is no property of the table.
 */
#include "../../shards/keyspace/table_impl.h"
#include "shards/clock.h"
#include "shards/rng.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { CHUNK = 512, BATCH = 16, KEY_BYTES = 16, VALUE_BYTES = 64, CHUNKS_MAX = 20000 };

struct bench {
    struct mem mem;
    struct keyspace *k;
    struct table *t;
    struct rng rng;
    uint64_t keys;
    char key_bytes[CHUNK][KEY_BYTES];
    uint64_t hashes[CHUNK];
    struct value value;
    uint64_t sink;
    unsigned chunks;
    uint64_t times_ns[CHUNKS_MAX];
};

typedef void op_fn(struct bench *b, unsigned i);
typedef uint64_t pick_fn(struct bench *b, uint64_t i);

static void write_key(char *out, uint64_t n, size_t len) {
    for (size_t i = len; i-- > 0; n /= 10)
        out[i] = (char)('0' + n % 10);
}

static uint64_t pick_random(struct bench *b, uint64_t i) {
    (void)i;
    return rng_below(&b->rng, b->keys);
}

/* Both visit every number below 10^n once, in an order that looks random. */
static uint64_t pick_for_insert(struct bench *b, uint64_t i) {
    return i * 7368787ULL % b->keys;
}

static uint64_t pick_for_delete(struct bench *b, uint64_t i) {
    return i * 6700417ULL % b->keys;
}

static struct span chunk_key(struct bench *b, unsigned i) {
    return (struct span){b->key_bytes[i], KEY_BYTES};
}

static void op_hash(struct bench *b, unsigned i) {
    b->sink += hash_of(chunk_key(b, i));
}

static void op_get(struct bench *b, unsigned i) {
    shard_claim();
    const struct entry *e = table_find(b->t, chunk_key(b, i), b->hashes[i]);
    /* A reply looks at the value: its last byte. */
    struct span bytes = entry_bytes(e);
    b->sink += (uint64_t)bytes.ptr[bytes.len - 1];
}

static void op_miss(struct bench *b, unsigned i) {
    shard_claim();
    b->sink += table_find(b->t, chunk_key(b, i), b->hashes[i] ^ 0x5500000000ULL) == NULL;
}

static void op_put(struct bench *b, unsigned i) {
    shard_claim();
    b->sink += table_put(b->t, chunk_key(b, i), b->hashes[i], &b->value, EXPIRE_NEVER) == NULL;
}

static void op_two_steps(struct bench *b, unsigned i) {
    shard_claim();
    struct prepared *p =
        table_prepare(b->t, chunk_key(b, i), b->hashes[i], &b->value, EXPIRE_NEVER);
    b->sink += p == NULL || table_commit(p, 0) == NULL;
}

static void op_delete(struct bench *b, unsigned i) {
    shard_claim();
    b->sink += !table_delete(b->t, chunk_key(b, i), b->hashes[i]);
}

static void run_chunk(struct bench *b, op_fn *op, bool prefetch) {
    shard_claim();
    for (unsigned from = 0; from < CHUNK; from += BATCH) {
        if (prefetch) {
            for (unsigned i = from; i < from + BATCH; i++)
                table_prefetch(b->t, b->hashes[i]);
            for (unsigned i = from; i < from + BATCH; i++)
                table_prefetch_entry(b->t, b->hashes[i]);
        }
        for (unsigned i = from; i < from + BATCH; i++)
            op(b, i);
    }
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* measure: `operations` calls of op, or a few more; nanoseconds per call in the lower quartile of
 * chunks. */
static double measure(struct bench *b, op_fn *op, pick_fn *pick, uint64_t operations,
                      bool prefetch) {
    b->chunks = 0;
    for (uint64_t done = 0; done < operations; done += CHUNK) {
        for (unsigned i = 0; i < CHUNK; i++) {
            write_key(b->key_bytes[i], pick(b, done + i), KEY_BYTES);
            b->hashes[i] = hash_of(chunk_key(b, i));
        }
        uint64_t start_ns = clock_mono_ns();
        run_chunk(b, op, prefetch);
        uint64_t took_ns = clock_mono_ns() - start_ns;
        b->times_ns[b->chunks++ % CHUNKS_MAX] = took_ns;
    }
    unsigned n = b->chunks < CHUNKS_MAX ? b->chunks : CHUNKS_MAX;
    qsort(b->times_ns, n, sizeof b->times_ns[0], by_value);
    uint64_t quartile = n / 4;
    return (double)b->times_ns[quartile] / CHUNK;
}

static void open_table(struct bench *b) {
    shard_claim();
    b->mem = (struct mem){0};
    if (keyspace_create(&b->k, &b->mem, 1) != OK || (b->t = keyspace_table(b->k, 0)) == NULL)
        abort();
}

static void time_at(struct bench *b, uint64_t keys) {
    enum { READS = 2000000 };
    b->keys = keys;
    open_table(b);
    double insert = measure(b, op_put, pick_for_insert, keys, false);
    double per_key = (double)b->mem.used_bytes / (double)table_count(b->t);
    double hash = measure(b, op_hash, pick_random, READS, false);
    double get = measure(b, op_get, pick_random, READS, false);
    double get_ahead = measure(b, op_get, pick_random, READS, true);
    double miss = measure(b, op_miss, pick_random, READS, false);
    double set = measure(b, op_put, pick_random, READS, false);
    double set_ahead = measure(b, op_put, pick_random, READS, true);
    double two_steps = measure(b, op_two_steps, pick_random, READS, true);
    double del = measure(b, op_delete, pick_for_delete, keys, false);
    printf(
        "| %8llu | %5.1f | %5.1f | %5.1f | %5.1f | %5.1f | %5.1f | %5.1f | %5.1f | %5.1f | %6.1f "
        "|\n",
        (unsigned long long)keys, hash, get, get_ahead, miss, set, set_ahead, two_steps, insert,
        del, per_key);
    if (fflush(stdout) != 0)
        abort();
    keyspace_destroy(b->k);
}

/* --- bytes --- */

struct shape {
    const char *name;
    size_t key, value;
    bool counter, expires;
};

/* second_bucket: which part of the keys is not in the first bucket of its chain. */
static double second_bucket(const struct table *t) {
    uint64_t first = 0;
    for (uint32_t i = 0; i < t->bucket_count; i++)
        first += (unsigned)__builtin_popcount(bucket_used(table_bucket(t, i)));
    return 1 - (double)first / (double)t->count;
}

static void put_shape(struct bench *b, const struct shape *s, uint64_t n) {
    static char bytes[VALUE_BYTES];
    char key_bytes[KEY_BYTES];
    write_key(key_bytes, n, s->key);
    struct span key = {key_bytes, s->key};
    struct value v = {.repr = REPR_INLINE, .bytes = {bytes, s->value}};
    if (s->counter)
        v = (struct value){.repr = REPR_INT, .integer = 1};
    /* Expiries spread over a day. */
    int64_t expire_ms = s->expires ? 2000000000000LL + (int64_t)(n * 86400000 / 1000000) : 0;
    shard_claim();
    if (table_put(b->t, key, hash_of(key), &v, expire_ms) == NULL)
        abort();
}

static void bytes_of(struct bench *b, const struct shape *s) {
    open_table(b);
    int64_t empty = b->mem.used_bytes;
    double worst = 0, chained = 0;
    printf("| %-22s |", s->name);
    uint64_t n = 0;
    for (unsigned tenths = 10; tenths <= 20; tenths++) {
        for (uint64_t end = (1ULL << 16) * TABLE_GROW_PER_20 / 20 * tenths / 10; n < end; n++)
            put_shape(b, s, n);
        double per_key = (double)(b->mem.used_bytes - empty) / (double)n;
        worst = per_key > worst ? per_key : worst;
        double second = second_bucket(b->t);
        chained = second > chained ? second : chained;
        printf(" %5.1f |", per_key);
    }
    printf(" %5.1f | %4.1f%% |\n", worst, chained * 100);
    keyspace_destroy(b->k);
}

static void print_bytes(struct bench *b) {
    static const struct shape shapes[] = {
        {"10 B key, 10 B value", 10, 10, false, false},
        {"the same with a TTL", 10, 10, false, true},
        {"16 B key, 64 B value", 16, 64, false, false},
        {"the same with a TTL", 16, 64, false, true},
        {"16 B key, counter", 16, 0, true, false},
        {"the same with a TTL", 16, 0, true, true},
    };
    printf("\nbytes per key, from n = 65536 buckets' worth of keys to 2n\n\n| keys |");
    for (unsigned tenths = 10; tenths <= 20; tenths++)
        printf("  %.1fn |", tenths / 10.0);
    printf(" worst | behind a link |\n| --- |");
    for (unsigned columns = 0; columns < 13; columns++)
        printf(" --- |");
    printf("\n");
    for (size_t i = 0; i < COUNT_OF(shapes); i++)
        bytes_of(b, &shapes[i]);
}

/* --- expiry --- */

enum { EXPIRING = 1000000, SLICE_ENTRIES = 4000, TICK_MS = 100 };
#define START_MS 2000000000000LL

struct sweep {
    uint64_t ns, longest_slice_ns, expired;
};

/* cpu_ns: of this thread alone, since a slice that others interrupt is none of ours. */
static uint64_t cpu_ns(void) {
    struct timespec t;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t) != 0)
        abort();
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* sweep_at: slices until nothing is due any more, as the shard's timer does. */
static struct sweep sweep_at(struct bench *b, int64_t now_ms) {
    shard_claim();
    struct sweep s = {.expired = keyspace_stats(b->k)->expired};
    for (bool more = true; more;) {
        uint64_t start_ns = cpu_ns();
        more = keyspace_expire_some(b->k, now_ms, SLICE_ENTRIES);
        uint64_t took_ns = cpu_ns() - start_ns;
        s.ns += took_ns;
        s.longest_slice_ns = took_ns > s.longest_slice_ns ? took_ns : s.longest_slice_ns;
    }
    s.expired = keyspace_stats(b->k)->expired - s.expired;
    return s;
}

static void put_expiring(struct bench *b, uint64_t n, int64_t expire_ms) {
    shard_claim();
    char key_bytes[KEY_BYTES];
    write_key(key_bytes, n, KEY_BYTES);
    struct span key = {key_bytes, KEY_BYTES};
    if (table_put(b->t, key, hash_of(key), &b->value, expire_ms) == NULL)
        abort();
}

static void expire_at_once(struct bench *b) {
    open_table(b);
    for (uint64_t n = 0; n < EXPIRING; n++)
        put_expiring(b, n, START_MS);
    struct sweep s = sweep_at(b, START_MS + 1000);
    printf("| all of %d at once | %.0f | %.0f |\n", EXPIRING, (double)s.ns / (double)s.expired,
           (double)s.longest_slice_ns / 1000);
    keyspace_destroy(b->k);
}

/* Keys with equal lives that are set again as they go: so many go in each tick of the timer. */
static void expire_steadily(struct bench *b, int64_t life_ms) {
    open_table(b);
    for (uint64_t n = 0; n < EXPIRING; n++)
        put_expiring(b, n, START_MS + (int64_t)rng_below(&b->rng, (uint64_t)life_ms));
    struct sweep sum = {0};
    uint64_t next = EXPIRING;
    for (int64_t now_ms = START_MS; now_ms < START_MS + 5000; now_ms += TICK_MS) {
        struct sweep s = sweep_at(b, now_ms);
        sum.ns += s.ns;
        sum.expired += s.expired;
        if (s.longest_slice_ns > sum.longest_slice_ns)
            sum.longest_slice_ns = s.longest_slice_ns;
        for (uint64_t i = 0; i < s.expired; i++)
            put_expiring(b, next++, now_ms + life_ms);
    }
    printf("| %d, living %lld s each | %.0f | %.0f |\n", EXPIRING, (long long)life_ms / 1000,
           (double)sum.ns / (double)sum.expired, (double)sum.longest_slice_ns / 1000);
    keyspace_destroy(b->k);
}

static void print_expiry(struct bench *b) {
    printf("\nactive expiry, slices of %d entries, every %d ms\n\n"
           "| keys | ns per key that goes | longest slice, us |\n| --- | --- | --- |\n",
           SLICE_ENTRIES, TICK_MS);
    expire_at_once(b);
    expire_steadily(b, 10000);
    expire_steadily(b, 100000);
}

static void print_times(struct bench *b, uint64_t keys_max) {
    printf("\nns per operation, 16 B keys, 64 B values; \"ahead\": fetched in batches of %d;\n"
           "\"two\": a set that is prepared and committed, fetched ahead\n\n"
           "|     keys |  hash |   get | ahead |  miss |   set | ahead |   two |   new |   del |  "
           "B/key |\n"
           "| -------- | ----- | ----- | ----- | ----- | ----- | ----- | ----- | ----- | ----- | "
           "------ |\n",
           BATCH);
    for (uint64_t keys = 10000; keys <= keys_max; keys *= 10)
        time_at(b, keys);
}

int main(int argc, char **argv) {
    static struct bench b;
    static char bytes[VALUE_BYTES];
    memset(bytes, 'v', sizeof bytes);
    b.value = (struct value){.repr = REPR_INLINE, .bytes = {bytes, VALUE_BYTES}};
    const uint64_t seed = 1;
    rng_seed(&b.rng, seed);
    if (hash_seed(&seed) != OK)
        return 1;
    const char *what = argc > 1 ? argv[1] : "all";
    bool all = strcmp(what, "all") == 0;
    if (all || strcmp(what, "time") == 0)
        print_times(&b, argc > 2 ? strtoull(argv[2], NULL, 10) : 10000000);
    if (all || strcmp(what, "expiry") == 0)
        print_expiry(&b);
    if (all || strcmp(what, "bytes") == 0)
        print_bytes(&b);
    return 0;
}
