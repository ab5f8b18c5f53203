/* Databases, expiry, flushing, and everything at random against a model. */
#include "keyspace_fixture.h"

static struct entry *put_int(struct fixture *f, unsigned db, uint64_t n, int64_t expire_ms) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    struct value v = value_of_int((int64_t)n);
    return table_put(keyspace_table(f->k, db), key, hash_of(key), &v, expire_ms);
}

static struct entry *find_at(struct fixture *f, unsigned db, uint64_t n, int64_t now_ms) {
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, n, 0);
    return keyspace_find(f->k, db, key, hash_of(key), now_ms);
}

Test(keyspace, inv5_a_key_lives_through_its_last_millisecond_only) {
    struct fixture f;
    fixture_init(&f, 1);
    put_int(&f, 0, 1, NOW_MS);
    cr_assert(find_at(&f, 0, 1, NOW_MS - 1) != NULL);
    cr_assert(find_at(&f, 0, 1, NOW_MS) != NULL);
    cr_assert(find_at(&f, 0, 1, NOW_MS + 1) == NULL);
    cr_assert(table_count(keyspace_table(f.k, 0)) == 0);
    cr_assert(table_expires(keyspace_table(f.k, 0)) == 0);
    cr_assert(keyspace_stats(f.k)->expired == 1);
    fixture_deinit(&f);
}

Test(keyspace, an_expiry_beyond_what_is_stored_is_the_last_one) {
    struct fixture f;
    fixture_init(&f, 1);
    struct entry *e = put_int(&f, 0, 1, INT64_MAX);
    cr_assert(entry_expire_ms(e) == EXPIRE_MS_MAX);
    char name[KEY_BYTES_MAX];
    struct span key = key_name(name, 1, 0);
    e = table_set_expire(keyspace_table(f.k, 0), e, hash_of(key), EXPIRE_MS_MAX + 1);
    cr_assert(entry_expire_ms(e) == EXPIRE_MS_MAX);
    check_table(keyspace_table(f.k, 0));
    cr_assert(!keyspace_expire_some(f.k, NOW_MS, 1000));
    cr_assert(find_at(&f, 0, 1, NOW_MS) != NULL);
    fixture_deinit(&f);
}

Test(keyspace, databases_are_separate_and_unused_ones_cost_nothing) {
    struct fixture f;
    fixture_init(&f, 1);
    cr_assert(keyspace_databases(f.k) == 16);
    int64_t used = f.mem.used_bytes;
    cr_assert(used <= 2048);
    for (unsigned db = 0; db < 16; db++) {
        cr_assert(keyspace_peek_table(f.k, db) == NULL);
        cr_assert(find_at(&f, db, 1, NOW_MS) == NULL);
    }
    cr_assert(f.mem.used_bytes == used);
    put_int(&f, 3, 1, EXPIRE_NEVER);
    put_int(&f, 5, 2, EXPIRE_NEVER);
    cr_assert(find_at(&f, 3, 1, NOW_MS) != NULL);
    cr_assert(find_at(&f, 5, 1, NOW_MS) == NULL);
    cr_assert(keyspace_flush(f.k, 3) == 1);
    cr_assert(keyspace_flush(f.k, 4) == 0);
    cr_assert(find_at(&f, 3, 1, NOW_MS) == NULL);
    cr_assert(find_at(&f, 5, 2, NOW_MS) != NULL);
    cr_assert(keyspace_stats(f.k)->pending_free == 1);
    cr_assert(!keyspace_free_some(f.k, 10));
    cr_assert(keyspace_stats(f.k)->pending_free == 0);
    fixture_deinit(&f);
}

Test(keyspace, inv4_one_allocation_per_entry) {
    struct fixture f;
    fixture_init(&f, 1);
    put_int(&f, 0, 1, NOW_MS); /* the table's own */
    struct table *t = keyspace_table(f.k, 0);
    char bytes[ENTRY_INLINE_MAX] = {0};
    for (size_t len = 0; len <= ENTRY_INLINE_MAX; len += 93) {
        struct span key = SPAN("a key");
        struct value v = value_of_bytes((struct span){bytes, len});
        int64_t used = f.mem.used_bytes;
        f.mem.fail_in = 100;
        cr_assert(table_put(t, key, hash_of(key), &v, NOW_MS) != NULL);
        cr_assert(f.mem.fail_in == 99);
        f.mem.fail_in = 0;
        cr_assert(f.mem.used_bytes - used == (int64_t)mem_size(6 + 6 + key.len + len));
        cr_assert(table_delete(t, key, hash_of(key)));
        cr_assert(f.mem.used_bytes == used);
    }
    fixture_deinit(&f);
}

Test(keyspace, put_stamps_the_access_and_set_expire_keeps_it) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    struct span key = SPAN("key");
    uint64_t hash = hash_of(key);
    struct value v = value_of_int(1);
    v.access = 0x7fffff;
    struct entry *e = table_put(t, key, hash, &v, EXPIRE_NEVER);
    cr_assert(entry_access(e) == 0x7fffff);
    e = table_set_expire(t, e, hash, NOW_MS);
    cr_assert(entry_access(e) == 0x7fffff);
    v.access = 5;
    e = table_put(t, key, hash, &v, EXPIRE_KEEP);
    cr_assert(entry_access(e) == 5);
    cr_assert(entry_expire_ms(e) == NOW_MS);
    char scratch[ENTRY_INLINE_MAX];
    struct value taken;
    int64_t expire_ms;
    cr_assert(table_take(t, key, hash, scratch, &taken, &expire_ms));
    cr_assert(taken.access == 5);
    cr_assert(expire_ms == NOW_MS);
    fixture_deinit(&f);
}

Test(keyspace, shards_are_named_evenly_and_the_bucket_bits_do_not_matter) {
    unsigned of[7] = {0};
    struct rng r;
    rng_seed(&r, 1);
    for (unsigned i = 0; i < 70000; i++) {
        uint64_t hash = rng_next(&r);
        unsigned shard = keyspace_shard_of(hash, 7);
        cr_assert(shard < 7);
        cr_assert(shard == keyspace_shard_of(hash ^ rng_next(&r) >> 24, 7));
        of[shard]++;
    }
    for (unsigned s = 0; s < 7; s++)
        cr_assert(of[s] > 9600 && of[s] < 10400, "shard %u has %u", s, of[s]);
    cr_assert(keyspace_shard_of(UINT64_MAX, 1) == 0);
}

/* --- active expiry --- */

enum { SLICE = 200, GROUP_ENTRIES_MAX = 200 };

/* Runs slices until nothing is left; each may delete what it was told and one group more. */
static unsigned expire_all(struct fixture *f, int64_t now_ms) {
    uint64_t before = keyspace_stats(f->k)->expired;
    unsigned slices = 0;
    for (bool more = true; more; slices++) {
        more = keyspace_expire_some(f->k, now_ms, SLICE);
        uint64_t now = keyspace_stats(f->k)->expired;
        cr_assert(now - before <= SLICE + GROUP_ENTRIES_MAX);
        before = now;
    }
    return slices;
}

Test(keyspace, inv6_a_million_keys_due_at_once_go_in_bounded_slices) {
    enum { KEYS = 1000000 };
    struct fixture f;
    fixture_init(&f, 41);
    for (uint64_t n = 0; n < KEYS; n++)
        cr_assert(put_int(&f, 0, n, NOW_MS + (int64_t)(n % 2)) != NULL);
    cr_assert(expire_all(&f, NOW_MS - 1000) < 50, "nothing due: only stamps are looked at");
    cr_assert(keyspace_stats(f.k)->expired == 0);
    unsigned slices = expire_all(&f, NOW_MS + 2 + EXPIRE_TICK_MS);
    cr_assert(keyspace_stats(f.k)->expired == KEYS, "%llu went",
              (unsigned long long)keyspace_stats(f.k)->expired);
    cr_assert(slices < 2 * KEYS / SLICE, "%u slices", slices);
    cr_assert(table_count(keyspace_table(f.k, 0)) == 0);
    fixture_deinit(&f);
}

Test(keyspace, inv6_only_what_is_due_goes_and_all_of_it) {
    enum { KEYS = 60000 };
    struct fixture f;
    fixture_init(&f, 42);
    int64_t bare = f.mem.used_bytes;
    /* Database 7 too, and keys that never expire among the others. */
    for (uint64_t n = 0; n < KEYS; n++)
        cr_assert(put_int(&f, n % 2 ? 7 : 0, n,
                          n % 3 == 0 ? EXPIRE_NEVER : NOW_MS + (int64_t)(n % 5000)) != NULL);
    for (int64_t now = NOW_MS; now < NOW_MS + 6000; now += 377) {
        expire_all(&f, now);
        uint64_t there = table_count(keyspace_table(f.k, 0)) + table_count(keyspace_table(f.k, 7));
        uint64_t alive = 0, not_due = 0;
        for (uint64_t n = 0; n < KEYS; n++) {
            int64_t expire_ms = NOW_MS + (int64_t)(n % 5000);
            alive += n % 3 == 0 || expire_ms >= now;
            not_due += n % 3 == 0 || expire_ms + EXPIRE_TICK_MS > now;
        }
        cr_assert(there >= alive);
        cr_assert(there <= not_due);
        check_keyspace(&f, bare);
    }
    cr_assert(table_expires(keyspace_table(f.k, 7)) == 0);
    fixture_deinit(&f);
}

Test(keyspace, expiring_destroys_objects_and_keeps_chains) {
    struct fixture f;
    fixture_init(&f, 43);
    int64_t bare = f.mem.used_bytes;
    struct table *t = keyspace_table(f.k, 0);
    char name[KEY_BYTES_MAX];
    uint64_t n = 0;
    for (unsigned i = 0; i < 40; i++) {
        struct span key = key_search(name, &n, 0x3ff, 7);
        struct value v = value_of_thing(thing_create(&f.mem, i));
        cr_assert(table_put(t, key, hash_of(key), &v, NOW_MS + i % 5 * 1000 + 1) != NULL);
    }
    for (unsigned step = 0; step <= 5; step++) {
        expire_all(&f, NOW_MS + step * 1000);
        cr_assert(things_alive == 40 - step * 8);
        check_keyspace(&f, bare);
    }
    fixture_deinit(&f);
}

/* --- flush --- */

Test(keyspace, flushed_memory_comes_back_in_slices) {
    enum { KEYS = 50000 };
    struct fixture f;
    fixture_init(&f, 51);
    keyspace_table(f.k, 0);
    int64_t empty = f.mem.used_bytes;
    for (int round = 0; round < 2; round++) {
        for (uint64_t n = 0; n < KEYS; n++)
            cr_assert(put_int(&f, 0, n, n % 2 ? NOW_MS : EXPIRE_NEVER) != NULL);
        cr_assert(keyspace_flush(f.k, 0) == KEYS);
        cr_assert(table_count(keyspace_table(f.k, 0)) == 0);
        cr_assert(find_at(&f, 0, 1, 1) == NULL);
    }
    cr_assert(keyspace_stats(f.k)->pending_free == 2 * KEYS);
    uint64_t before = 2 * KEYS;
    for (bool more = true; more;) {
        more = keyspace_free_some(f.k, 100);
        uint64_t now = keyspace_stats(f.k)->pending_free;
        cr_assert(before - now <= 100 + 40);
        before = now;
    }
    cr_assert(before == 0);
    cr_assert(f.mem.used_bytes == empty);
    fixture_deinit(&f);
}

Test(keyspace, destroy_with_everything_pending) {
    struct fixture f;
    fixture_init(&f, 52);
    for (uint64_t n = 0; n < 5000; n++)
        cr_assert(put_int(&f, (unsigned)(n % 3), n, NOW_MS) != NULL);
    keyspace_flush(f.k, 0);
    keyspace_flush(f.k, 1);
    for (uint64_t n = 0; n < 100; n++)
        cr_assert(put_int(&f, 0, n, NOW_MS) != NULL);
    fixture_deinit(&f); /* asserts that no byte is left */
}
