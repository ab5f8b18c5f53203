/* The bytes of an entry, and the match of fingerprints in a bucket. */
#include "keyspace_fixture.h"

static const size_t key_lens[] = {0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 64, 254, 255, 256, 257, 600};
static const int64_t expiries[] = {EXPIRE_NEVER, 1, NOW_MS, (1LL << 48) - 1};

static struct value value_number(unsigned i, char *bytes) {
    for (size_t at = 0; at < ENTRY_INLINE_MAX; at++)
        bytes[at] = (char)(at * 7 + i);
    switch (i) {
    case 0:
        return value_of_int(INT64_MIN);
    case 1:
        return value_of_int(42);
    case 2:
        return value_of_bytes((struct span){bytes, 0});
    case 3:
        return value_of_bytes((struct span){bytes, 10});
    case 4:
        return (struct value){.repr = REPR_RAW, .bytes = {bytes, ENTRY_INLINE_MAX}};
    default:
        return value_of_thing(bytes);
    }
}

static void check_parts(const struct entry *e, struct span key, const struct value *v,
                        int64_t expire_ms, uint32_t access) {
    cr_assert(span_eq(entry_key(e), key));
    cr_assert(entry_type(e) == v->type);
    cr_assert(entry_repr(e) == v->repr);
    cr_assert(entry_expire_ms(e) == expire_ms);
    cr_assert(entry_access(e) == access);
    if (v->repr == REPR_INT)
        cr_assert(entry_int(e) == v->integer);
    else if (v->repr == REPR_OBJECT)
        cr_assert(entry_object(e) == v->object);
    else
        cr_assert(span_eq(entry_bytes(e), v->bytes));
}

Test(entry, every_part_comes_back) {
    static char key_bytes[KEY_BYTES_MAX], value_bytes[ENTRY_INLINE_MAX];
    for (size_t k = 0; k < COUNT_OF(key_lens); k++)
        for (unsigned value = 0; value < 6; value++)
            for (size_t x = 0; x < COUNT_OF(expiries); x++) {
                struct value v = value_number(value, value_bytes);
                memset(key_bytes, (int)k + 1, sizeof key_bytes);
                struct span key = {key_bytes, key_lens[k]};
                size_t size = entry_size_for(key.len, expiries[x] != EXPIRE_NEVER, &v);
                /* Of exactly that size, so that asan sees a byte too many. */
                struct entry *e = malloc(size);
                uint32_t access = k % 2 ? (1U << 23) - 1 : 0;
                v.access = access;
                entry_write(e, key, &v, expiries[x]);
                cr_assert(entry_size(e) == size);
                check_parts(e, key, &v, expiries[x], access);
                cr_assert(entry_key_eq(e, key));
                entry_set_access(e, 0x400001);
                check_parts(e, key, &v, expiries[x], 0x400001);
                free(e);
            }
}

Test(entry, key_eq_sees_every_byte_and_the_length) {
    static char bytes[KEY_BYTES_MAX];
    struct value v = value_of_int(1);
    for (size_t len = 0; len <= 300; len++) {
        memset(bytes, 'x', sizeof bytes);
        struct span key = {bytes, len};
        char *copy = malloc(len + 1);
        memcpy(copy, bytes, len);
        struct entry *e = malloc(entry_size_for(len, len % 2 != 0, &v));
        entry_write(e, key, &v, len % 2 != 0 ? NOW_MS : EXPIRE_NEVER);
        cr_assert(entry_key_eq(e, (struct span){copy, len}));
        cr_assert(!entry_key_eq(e, (struct span){bytes, len + 1}));
        if (len > 0)
            cr_assert(!entry_key_eq(e, (struct span){copy, len - 1}));
        for (size_t i = 0; i < len; i++) {
            copy[i] = 'y';
            cr_assert(!entry_key_eq(e, (struct span){copy, len}), "length %zu byte %zu", len, i);
            copy[i] = 'x';
        }
        free(e);
        free(copy);
    }
}

Test(entry, bytes_total_counts_the_object) {
    struct fixture f;
    fixture_init(&f, 1);
    struct table *t = keyspace_table(f.k, 0);
    struct span key = SPAN("0123456789");
    int64_t empty = f.mem.used_bytes;
    struct value v = value_of_thing(thing_create(&f.mem, 7));
    struct entry *e = table_put(t, key, hash_of(key), &v, EXPIRE_NEVER);
    struct tally tally = check_table(t);
    cr_assert(f.mem.used_bytes - empty == tally.bytes - (int64_t)mem_size(sizeof *t));
    cr_assert(entry_bytes_total(e) == mem_size(6 + 10 + 8) + mem_size(THING_BYTES));
    fixture_deinit(&f);
}

Test(bucket, portable_match_is_the_simd_match) {
    struct rng r;
    rng_seed(&r, 3);
    for (int round = 0; round < 20000; round++) {
        struct bucket b;
        /* Few different prints, so that most rounds have several matches. */
        unsigned range = round % 2 ? 256 : 4;
        for (unsigned i = 0; i < CACHE_LINE; i++)
            b.bytes[i] = (uint8_t)rng_below(&r, range);
        for (unsigned print = 0; print < range; print++)
            cr_assert(bucket_match(&b, (uint8_t)print) ==
                      bucket_match_portable(&b, (uint8_t)print));
    }
}

Test(bucket, places_do_not_overlap) {
    struct bucket b = {0};
    const char *base = (const char *)0x7fff12345678;
    for (unsigned i = 0; i < BUCKET_PLACES; i++)
        bucket_set(&b, i, base + i * 16, (uint8_t)(i + 1));
    for (unsigned i = 0; i < BUCKET_PLACES; i++) {
        cr_assert(bucket_address(&b, i) == base + i * 16);
        cr_assert(bucket_print_at(&b, i) == i + 1);
        cr_assert(bucket_match(&b, (uint8_t)(i + 1)) == 1U << i);
    }
    cr_assert(bucket_free(&b) == 0);
    cr_assert(bucket_used(&b) == BUCKET_ALL);
    cr_assert(b.bytes[BUCKET_CTL] == 0);
}

Test(bucket, print_is_never_the_mark_of_an_empty_place) {
    for (uint64_t print = 0; print < 256; print++)
        cr_assert(bucket_print(print << 32) == (print ? print : 1));
}

/* What lies in an entry may grow and shrink in place, as far as the allocation is the same. */
Test(entry, an_inline_value_has_the_room_of_its_class) {
    static char key_bytes[KEY_BYTES_MAX], value_bytes[ENTRY_INLINE_MAX];
    for (size_t k = 0; k < COUNT_OF(key_lens); k++)
        for (size_t x = 0; x < 2; x++)
            for (size_t len = 0; len <= ENTRY_INLINE_MAX; len = len < 40 ? len + 1 : len * 9 / 8) {
                struct span key = {key_bytes, key_lens[k]};
                struct value v = {.type = THING, .repr = REPR_RAW, .bytes = {value_bytes, len}};
                v.access = (1U << 23) - 1;
                size_t class = mem_size(entry_size_for(key.len, expiries[x] != EXPIRE_NEVER, &v));
                struct entry *e = malloc(class); /* so that asan sees a byte too many */
                entry_write(e, key, &v, expiries[x]);
                size_t room = entry_room(e);
                cr_assert(room >= len && room <= ENTRY_INLINE_MAX);
                memset(entry_bytes_mut(e), 7, room);
                for (size_t to = 0; to <= ENTRY_INLINE_MAX + 1; to += to < room + 2 ? 1 : 64) {
                    size_t size = entry_value_at(e) + to;
                    bool same = to <= ENTRY_INLINE_MAX && mem_size(size) == class;
                    cr_assert(entry_keeps_class(e, to) == same);
                    cr_assert(!same || to <= room);
                }
                cr_assert(entry_keeps_class(e, room));
                entry_set_len(e, room);
                v.bytes = (struct span){memset(value_bytes, 7, room), room};
                check_parts(e, key, &v, expiries[x], v.access);
                cr_assert(room == ENTRY_INLINE_MAX || entry_size(e) == class);
                entry_set_len(e, len);
                v.bytes.len = len;
                check_parts(e, key, &v, expiries[x], v.access);
                free(e);
            }
}
