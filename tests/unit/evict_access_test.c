/* What the access bits of an entry say: seconds, counts of uses. */
#include "../../shards/keyspace/evict_impl.h"
#include "keyspace_fixture.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND };

/* An entry by itself, and the clock that it is used by. */
struct used {
    struct access a;
    char bytes[64];
    struct entry *e;
};

static void used_init(struct used *u, enum access_kind kind) {
    struct value v = value_of_int(1);
    access_init(&u->a);
    u->a.kind = kind;
    access_at(&u->a, NOW_MS);
    u->e = (struct entry *)u->bytes;
    entry_write(u->e, SPAN("k"), &v, EXPIRE_NEVER);
    entry_set_access(u->e, access_new(&u->a, ACCESS_AUTO));
}

static uint64_t idle_at(struct used *u, int64_t now_ms) {
    access_at(&u->a, now_ms);
    return access_idle_s(&u->a, entry_access(u->e));
}

Test(evict_access, idle_time_is_exact_for_97_days) {
    struct used u;
    used_init(&u, ACCESS_USED);
    static const int64_t seconds[] = {0, 1, 2, 59, 3600, 86400, 97 * 86400};
    for (size_t i = 0; i < COUNT_OF(seconds); i++)
        cr_assert(idle_at(&u, NOW_MS + seconds[i] * SECOND + 999) == (uint64_t)seconds[i]);
    access_use(&u.a, u.e, NOW_MS + 98LL * 86400 * SECOND);
    cr_assert(idle_at(&u, NOW_MS + 98LL * 86400 * SECOND) == 0);
    cr_assert(idle_at(&u, NOW_MS + 98LL * 86400 * SECOND - 30 * MINUTE) == 0,
              "a clock that was set back a little");
}

Test(evict_access, a_clock_that_was_wrong_is_believed_when_it_is_right_again) {
    struct used u;
    used_init(&u, ACCESS_USED);
    access_use(&u.a, u.e, NOW_MS + 365LL * 86400 * SECOND);
    access_at(&u.a, NOW_MS + 10 * SECOND);
    access_use(&u.a, u.e, NOW_MS + 10 * SECOND);
    cr_assert(idle_at(&u, NOW_MS + 15 * SECOND) == 5);
}

Test(evict_access, inv3_a_use_changes_the_first_bytes_at_most) {
    static const enum access_kind kinds[] = {ACCESS_USED, ACCESS_CHANGED, ACCESS_COUNTED,
                                             ACCESS_PLACED};
    for (size_t k = 0; k < COUNT_OF(kinds); k++) {
        struct used u;
        used_init(&u, kinds[k]);
        char before[sizeof u.bytes];
        memcpy(before, u.bytes, sizeof before);
        for (int64_t i = 0; i < 1000; i++)
            access_use(&u.a, u.e, NOW_MS + i * MINUTE);
        cr_assert(memcmp(before + ENTRY_HEADER, u.bytes + ENTRY_HEADER,
                         sizeof before - ENTRY_HEADER) == 0);
        cr_assert((memcmp(before, u.bytes, ENTRY_HEADER) == 0) == (kinds[k] == ACCESS_CHANGED));
        cr_assert(entry_int(u.e) == 1);
    }
}

Test(evict_access, a_change_is_not_a_use) {
    struct used u;
    used_init(&u, ACCESS_CHANGED);
    access_use(&u.a, u.e, NOW_MS + 10 * SECOND);
    cr_assert(idle_at(&u, NOW_MS + 20 * SECOND) == 20);
    access_change(&u.a, u.e, NOW_MS + 30 * SECOND);
    cr_assert(idle_at(&u, NOW_MS + 35 * SECOND) == 5);
    used_init(&u, ACCESS_USED);
    access_change(&u.a, u.e, NOW_MS + 30 * SECOND);
    cr_assert(idle_at(&u, NOW_MS + 35 * SECOND) == 35);
}

Test(evict_access, counts_begin_at_5_and_decay_by_the_period) {
    struct used u;
    used_init(&u, ACCESS_COUNTED);
    cr_assert(access_frequency(&u.a, entry_access(u.e)) == 5);
    for (uint32_t minutes = 0; minutes < 20; minutes++) {
        static const uint32_t periods[] = {1, 3};
        access_at(&u.a, NOW_MS + minutes * MINUTE);
        for (size_t p = 0; p < COUNT_OF(periods); p++) {
            u.a.decay_minutes = periods[p];
            uint32_t gone = minutes / periods[p], left = gone > 5 ? 0 : 5 - gone;
            cr_assert(access_frequency(&u.a, entry_access(u.e)) == left);
        }
        u.a.decay_minutes = 0;
        cr_assert(access_frequency(&u.a, entry_access(u.e)) == 5);
    }
}

/* Redis's documentation: what the counter shows after so many uses, by the factor. */
Test(evict_access, counts_are_logarithms_as_in_redis_conf) {
    static const struct {
        uint32_t factor, uses, shows;
    } rows[] = {{0, 100, 104},    {0, 1000, 255},  {1, 100, 18},     {1, 1000, 49},
                {1, 100000, 255}, {10, 100, 10},   {10, 1000, 18},   {10, 100000, 142},
                {100, 100, 8},    {100, 1000, 11}, {100, 100000, 49}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint32_t sum = 0;
        enum { TIMES = 10 };
        for (unsigned times = 0; times < TIMES; times++) {
            struct used u;
            used_init(&u, ACCESS_COUNTED);
            rng_seed(&u.a.rng, times + 100);
            u.a.log_factor = rows[i].factor;
            for (uint32_t n = 0; n < rows[i].uses; n++)
                access_use(&u.a, u.e, NOW_MS);
            sum += access_frequency(&u.a, entry_access(u.e));
        }
        uint32_t mean = sum / TIMES, slack = rows[i].shows / 8 + 2;
        cr_assert(mean + slack >= rows[i].shows && mean <= rows[i].shows + slack, "%u: %u, not %u",
                  (unsigned)i, mean, rows[i].shows);
    }
}
