/* One table: growth and shrinking, chains, scan, random choice, and no memory at every site. */
#include "keyspace_fixture.h"

static struct entry *put_int(struct table *t, struct span key, int64_t n, int64_t expire_ms) {
    struct value v = value_of_int(n);
    return table_put(t, key, hash_of(key), &v, expire_ms);
}

static void put_range(struct table *t, uint64_t from, uint64_t to) {
    char name[KEY_BYTES_MAX];
    for (uint64_t n = from; n < to; n++)
        cr_assert(put_int(t, key_name(name, n, 0), (int64_t)n, EXPIRE_NEVER) != NULL);
}

static bool delete_number(struct table *t, uint64_t n) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    return table_delete(t, key, hash_of(key));
}

static struct entry *find_number(const struct table *t, uint64_t n) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    return table_find(t, key, hash_of(key));
}

Test(table, inv2_growth_to_300k_keys_and_back_to_nothing) {
    struct fixture f;
    fixture_init(&f, 11);
    int64_t bare = f.mem.used_bytes;
    struct table *t = keyspace_table(f.k, 0);
    int64_t empty = f.mem.used_bytes;
    for (uint64_t n = 0; n < 300000; n++) {
        put_range(t, n, n + 1);
        if ((n & (n + 1)) == 0)
            check_keyspace(&f, bare);
    }
    check_keyspace(&f, bare);
    for (uint64_t n = 0; n < 300000; n++) {
        const struct entry *e = find_number(t, n);
        cr_assert(e != NULL && entry_int(e) == (int64_t)n);
    }
    cr_assert(find_number(t, 300000) == NULL);
    for (uint64_t n = 300000; n-- > 0;) {
        cr_assert(delete_number(t, n));
        cr_assert(!delete_number(t, n));
        if ((n & (n - 1)) == 0)
            check_keyspace(&f, bare);
    }
    cr_assert(f.mem.used_bytes == empty);
    fixture_deinit(&f);
}

Test(table, inv1_an_operation_splits_or_merges_two_buckets) {
    struct fixture f;
    fixture_init(&f, 12);
    struct table *t = keyspace_table(f.k, 0);
    put_range(t, 0, 1);
    for (uint64_t n = 1; n < 20000; n++) {
        uint32_t before = t->bucket_count;
        put_range(t, n, n + 1);
        cr_assert(t->bucket_count - before <= 1);
    }
    while (t->count > 1) {
        uint32_t before = t->bucket_count;
        cr_assert(delete_number(t, t->count - 1));
        cr_assert(before - t->bucket_count <= 1);
    }
    fixture_deinit(&f);
}

/* allocated: buckets, in use or not. */
static uint32_t allocated(const struct table *t) {
    return t->bucket_count == 0 ? 0 : (table_segments(t) - 1) * TABLE_SEGMENT + t->last_cap;
}

Test(table, a_small_table_has_few_buckets_that_it_does_not_use) {
    struct fixture f;
    fixture_init(&f, 13);
    struct table *t = keyspace_table(f.k, 0);
    for (uint64_t n = 0; n < 20000; n++) {
        put_range(t, n, n + 1);
        uint32_t used = t->bucket_count;
        cr_assert(allocated(t) <= used + used / 8 + TABLE_FIRST, "%u buckets for %u", allocated(t),
                  used);
    }
    check_table(t);
    for (uint64_t n = 20000; n-- > 1;) {
        cr_assert(delete_number(t, n));
        uint32_t used = t->bucket_count;
        cr_assert(allocated(t) <= used + TABLE_SEGMENT);
    }
    check_table(t);
    cr_assert(allocated(t) <= 2 * TABLE_FIRST);
    fixture_deinit(&f);
}

Test(table, a_small_table_is_small_again_after_it_was_large) {
    struct fixture f;
    fixture_init(&f, 13);
    struct table *t = keyspace_table(f.k, 0);
    put_range(t, 0, 10);
    int64_t small = f.mem.used_bytes;
    put_range(t, 10, 100000);
    for (uint64_t n = 10; n < 100000; n++)
        cr_assert(delete_number(t, n));
    cr_assert(f.mem.used_bytes <= small + 1024, "%lld bytes more", //
              (long long)(f.mem.used_bytes - small));
    fixture_deinit(&f);
}

/* Keys that meet in one bucket as long as it is told from others by at most 10 bits of the hash;
 * with one fingerprint too if `print` is said. */
enum { MEETING = 40 };
static void meeting_keys(uint64_t *numbers, bool one_print) {
    char name[KEY_BYTES_MAX];
    uint64_t n = 0, mask = one_print ? 0x3f000003ffULL : 0x3ff;
    for (unsigned i = 0; i < MEETING; i++) {
        key_search(name, &n, mask, one_print ? 0x2a00000155ULL & mask : 0x155);
        numbers[i] = n - 1;
    }
}

static void chains_in_any_order(bool one_print) {
    struct fixture f;
    fixture_init(&f, 14);
    int64_t bare = f.mem.used_bytes;
    struct table *t = keyspace_table(f.k, 0);
    uint64_t numbers[MEETING];
    meeting_keys(numbers, one_print);
    uint64_t longest = 0;
    for (int round = 0; round < 60; round++) {
        bool in[MEETING] = {false};
        unsigned size = 0, target = (unsigned)rng_below(&f.rng, MEETING + 1);
        for (int step = 0; step < 200; step++) {
            unsigned i = (unsigned)rng_below(&f.rng, MEETING);
            cr_assert((find_number(t, numbers[i]) != NULL) == in[i]);
            if (in[i] && (size > target || step % 4 == 0)) {
                cr_assert(delete_number(t, numbers[i]));
                in[i] = false;
                size--;
            } else if (!in[i]) {
                put_range(t, numbers[i], numbers[i] + 1);
                in[i] = true;
                size++;
            }
            uint64_t overflows = check_table(t).overflows;
            longest = overflows > longest ? overflows : longest;
        }
        for (unsigned i = 0; i < MEETING; i++)
            cr_assert(delete_number(t, numbers[i]) == in[i]);
        check_keyspace(&f, bare);
    }
    cr_assert(longest >= 3, "chains of several buckets were made: %llu",
              (unsigned long long)longest);
    fixture_deinit(&f);
}

Test(table, chains_stay_dense_in_any_order) {
    chains_in_any_order(false);
}

Test(table, chains_of_one_fingerprint) {
    chains_in_any_order(true);
}

/* A chain of `total` entries is dealt to two buckets by one split, `high` of them to the new one. */
static void split_chain(struct fixture *f, unsigned total, unsigned high) {
    char name[KEY_BYTES_MAX];
    struct table *t = keyspace_table(f->k, 0);
    uint64_t low_n = 0, high_n = 1ULL << 40, other_n = 1ULL << 50;
    for (unsigned i = 0; i < total; i++) {
        struct span key = key_search(name, i < high ? &high_n : &low_n, 7, i < high ? 4 : 0);
        cr_assert(put_int(t, key, 1, EXPIRE_NEVER) != NULL);
        cr_assert(t->bucket_count == TABLE_FIRST);
    }
    /* Other buckets' keys make the table grow by bucket 4. */
    while (t->bucket_count == TABLE_FIRST) {
        struct span key = key_search(name, &other_n, 3, 1 + t->count % 3);
        cr_assert(put_int(t, key, 1, EXPIRE_NEVER) != NULL);
    }
    check_table(t);
    unsigned in_new;
    chain_len(table_bucket(t, TABLE_FIRST), &in_new);
    cr_assert(in_new == high);
    keyspace_flush(f->k, 0);
    while (keyspace_free_some(f->k, 1000)) {
    }
}

Test(table, split_deals_a_chain_in_any_proportion) {
    struct fixture f;
    fixture_init(&f, 15);
    int64_t bare = f.mem.used_bytes;
    for (unsigned total = 8; total <= 26; total++)
        for (unsigned high = 0; high <= total; high++)
            split_chain(&f, total, high);
    check_keyspace(&f, bare);
    fixture_deinit(&f);
}

Test(chain, a_split_of_any_chain_needs_no_memory) {
    /* chain.h's arithmetic, with chains made by hand and memory that always fails. */
    for (unsigned total = 1; total <= 8 * 5 + 1; total++)
        for (unsigned low_share = 0; low_share <= total; low_share++) {
            struct mem m = {0};
            struct overflows o = {.mem = &m};
            struct bucket from = {0}, ends[2] = {0};
            for (unsigned i = 0; i < total; i++)
                cr_assert(chain_insert(&from, (void *)(uintptr_t)(i + 1), 1, NULL, &o));
            m.fail_in = 1;
            struct bucket *pool = NULL;
            for (struct bucket *b = &from; b != NULL;) {
                struct bucket copy = *b;
                if (b != &from)
                    chain_pool_put(&pool, b);
                b = bucket_next(&copy);
                for (unsigned u = bucket_used(&copy); u != 0; u &= u - 1) {
                    void *e = bucket_address(&copy, (unsigned)__builtin_ctz(u));
                    bool low = (uintptr_t)e <= low_share;
                    cr_assert(chain_insert(&ends[low], e, 1, &pool, &o));
                }
            }
            chain_pool_free(pool, &o);
            unsigned sum = 0;
            for (unsigned end = 0; end < 2; end++) {
                unsigned entries;
                chain_len(&ends[end], &entries);
                sum += entries;
                while (entries-- > 0)
                    chain_remove(&ends[end], (struct place){&ends[end], 0}, &o);
            }
            cr_assert(sum == total);
            cr_assert(m.used_bytes == 0);
            cr_assert(o.count == 0);
        }
}

/* --- scan --- */

enum { STAYING = 2000 };
struct seen {
    uint8_t times[STAYING];
    uint64_t visits;
};

static void see(void *arg, struct entry *e) {
    struct seen *seen = arg;
    int64_t n = entry_int(e);
    seen->visits++;
    if (n < STAYING)
        seen->times[n] = 1;
}

static void scan_while(uint64_t seed, uint64_t low, uint64_t high, bool grows) {
    struct fixture f;
    fixture_init(&f, seed);
    struct table *t = keyspace_table(f.k, 0);
    put_range(t, 0, STAYING);
    uint64_t end = STAYING + (grows ? low : high);
    put_range(t, STAYING, end);
    struct seen seen = {0};
    uint64_t calls = 0;
    for (uint64_t cursor = 0; cursor != TABLE_SCAN_END; calls++) {
        uint64_t next = table_scan(t, cursor, see, &seen);
        cr_assert(next > cursor, "a scan ends whatever happens");
        cursor = next;
        for (uint64_t some = rng_below(&f.rng, 400); some > 0; some--) {
            if (rng_below(&f.rng, 10) < 1)
                grows = !grows;
            if (grows && end < STAYING + high) {
                put_range(t, end, end + 1);
                end++;
            } else if (!grows && end > STAYING + low) {
                cr_assert(delete_number(t, --end));
            }
        }
        if (rng_below(&f.rng, 20) == 0)
            grows = end < STAYING + (high + low) / 2;
    }
    for (unsigned n = 0; n < STAYING; n++)
        cr_assert(seen.times[n] == 1, "key %u was missed", n);
    fixture_deinit(&f);
}

Test(table, inv3_scan_while_growing_and_shrinking) {
    /* Instrumented, each takes three times as long. */
    const uint64_t seeds = getenv("ANAX_TEST_SLOW") != NULL ? 6 : 20;
    for (uint64_t seed = 0; seed < seeds; seed++) {
        scan_while(seed, 0, 60000, true);
        scan_while(seed, 0, 60000, false);
    }
}

/* The table alternates between two sizes far apart from one call to the next. */
Test(table, inv3_scan_between_two_sizes) {
    for (uint64_t stride = 1; stride < 6; stride++) {
        struct fixture f;
        fixture_init(&f, stride);
        struct table *t = keyspace_table(f.k, 0);
        put_range(t, 0, STAYING);
        struct seen seen = {0};
        uint64_t calls = 0;
        for (uint64_t cursor = 0; cursor != TABLE_SCAN_END; calls++) {
            cursor = table_scan(t, cursor, see, &seen);
            if (calls % (stride * 40) == stride)
                put_range(t, STAYING, STAYING + 30000);
            if (calls % (stride * 40) == stride * 21)
                for (uint64_t n = STAYING; n < STAYING + 30000; n++)
                    cr_assert(delete_number(t, n));
        }
        for (unsigned n = 0; n < STAYING; n++)
            cr_assert(seen.times[n] == 1, "key %u was missed", n);
        fixture_deinit(&f);
    }
}

Test(table, scan_of_a_still_table_returns_every_key_once) {
    struct fixture f;
    fixture_init(&f, 21);
    struct table *t = keyspace_table(f.k, 0);
    struct seen seen = {0};
    cr_assert(table_scan(t, 0, see, &seen) == TABLE_SCAN_END);
    for (uint64_t count = 1; count < 3000; count = count * 3 + 1) {
        put_range(t, 0, count);
        seen.visits = 0;
        for (uint64_t cursor = 0; cursor != TABLE_SCAN_END;)
            cursor = table_scan(t, cursor, see, &seen);
        cr_assert(seen.visits == count);
    }
    cr_assert(table_scan(t, TABLE_SCAN_END, see, &seen) == TABLE_SCAN_END);
    cr_assert(table_scan(t, UINT64_MAX, see, &seen) == TABLE_SCAN_END);
    fixture_deinit(&f);
}

/* --- random choice --- */

/* Chi square of `draws` choices among the first `count` keys: about count, with a standard
 * deviation of sqrt(2 count), if all have the same chance. */
static double chi_square(struct fixture *f, const struct table *t, unsigned count, unsigned draws) {
    unsigned *chosen = calloc(count, sizeof *chosen);
    for (unsigned i = 0; i < draws; i++) {
        const struct entry *e = table_random(t, &f->rng);
        cr_assert(e != NULL);
        chosen[entry_int(e)]++;
    }
    double expected = (double)draws / count, sum = 0;
    for (unsigned i = 0; i < count; i++)
        sum += (chosen[i] - expected) * (chosen[i] - expected) / expected;
    free(chosen);
    return sum;
}

Test(table, random_is_near_uniform_at_any_point_of_a_doubling) {
    struct fixture f;
    fixture_init(&f, 31);
    struct table *t = keyspace_table(f.k, 0);
    uint64_t made = 0;
    for (unsigned count = 1000; count <= 2000; count += 125) {
        put_range(t, made, count);
        made = count;
        double chi = chi_square(&f, t, count, count * 100);
        cr_assert(chi < count * 1.25, "%u keys: chi square %f", count, chi);
    }
    fixture_deinit(&f);
}

Test(table, random_of_few_keys) {
    struct fixture f;
    fixture_init(&f, 32);
    struct table *t = keyspace_table(f.k, 0);
    cr_assert(table_random(t, &f.rng) == NULL);
    for (unsigned count = 1; count <= 12; count++) {
        put_range(t, count - 1, count);
        double chi = chi_square(&f, t, count, 20000);
        cr_assert(chi < 40, "%u keys: chi square %f", count, chi);
    }
    fixture_deinit(&f);
}

Test(table, random_reaches_the_end_of_a_long_chain) {
    struct fixture f;
    fixture_init(&f, 33);
    struct table *t = keyspace_table(f.k, 0);
    uint64_t numbers[MEETING];
    meeting_keys(numbers, false);
    bool chosen[MEETING] = {false};
    for (unsigned i = 0; i < MEETING; i++) {
        char name[KEY_BYTES_MAX];
        cr_assert(put_int(t, key_name(name, numbers[i], 0), i, EXPIRE_NEVER) != NULL);
    }
    for (unsigned draws = 0; draws < MEETING * 200; draws++)
        chosen[entry_int(table_random(t, &f.rng))] = true;
    for (unsigned i = 0; i < MEETING; i++)
        cr_assert(chosen[i], "key %u of one long chain was never chosen", i);
    fixture_deinit(&f);
}
