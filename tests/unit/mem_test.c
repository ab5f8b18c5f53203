#include "shards/mem.h"
#include "shards/rng.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#ifndef ANAX_SYSTEM_MALLOC
#include <jemalloc/jemalloc.h>
#endif

#ifndef ANAX_SYSTEM_MALLOC
Test(mem, size_is_what_jemalloc_hands_out) {
    struct rng r;

    for (size_t size = 1; size <= 16384; size++)
        cr_assert_eq(mem_size(size), nallocx(size, 0), "size %zu", size);
    rng_seed(&r, 3);
    for (int i = 0; i < 100000; i++) {
        size_t size = 1 + (rng_next(&r) & ((UINT64_C(1) << (14 + i % 32)) - 1));
        cr_assert_eq(mem_size(size), nallocx(size, 0), "size %zu", size);
    }
    for (size_t size = CACHE_LINE; size <= 65536; size += CACHE_LINE)
        cr_assert_eq(mem_size(size), nallocx(size, MALLOCX_ALIGN(CACHE_LINE)), "lines %zu", size);
}

Test(mem, size_is_usable) {
    struct mem m = {0};

    for (size_t size = 0; size <= 5000; size++) {
        void *p = mem_alloc(&m, size);
        cr_assert_eq(malloc_usable_size(p), mem_size(size), "size %zu", size);
        mem_free(&m, p, size);
    }
}

/* Bytes of the process's mappings whose VmFlags in smaps hold `flag`. */
static size_t advised_bytes(const char *flag) {
    FILE *f = fopen("/proc/self/smaps", "r");
    cr_assert_not_null(f);
    char line[512];
    size_t size_kb = 0, sum_kb = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        if (sscanf(line, "Size: %zu kB", &size_kb) == 1)
            continue;
        if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, flag) != NULL)
            sum_kb += size_kb;
    }
    (void)fclose(f);
    return sum_kb << 10;
}

Test(mem, huge_pages_for_much_memory_until_it_is_given_back) {
    enum { N = 1 << 20, BYTES = 96 };
    struct mem m = {0};
    void **all = malloc(N * sizeof *all);

    cr_assert(mem_huge_pages());
    cr_assert(mem_huge_pages());
    void *small = mem_alloc(&m, 1 << 20);
    cr_assert_eq(advised_bytes(" hg"), 0);
    for (size_t i = 0; i < N; i++)
        cr_assert_not_null(all[i] = mem_alloc(&m, BYTES));
    cr_assert_geq(advised_bytes(" hg"), (size_t)N * BYTES / 2);
    for (size_t i = 0; i < N; i++)
        mem_free(&m, all[i], BYTES);
    mem_release_idle();
    cr_assert_leq(advised_bytes(" hg"), (size_t)64 << 20);
    cr_assert_geq(advised_bytes(" nh"), (size_t)N * BYTES / 2);
    mem_free(&m, small, 1 << 20);
    free(all);
}

Test(mem, options_reach_jemalloc) {
    bool background = false;
    size_t len = sizeof(background);

    cr_assert_eq(mallctl("opt.background_thread", &background, &len, NULL, 0), 0);
    cr_assert(background);
}
#endif

Test(mem, size_covers_the_request_and_is_its_own) {
    for (size_t size = 0; size <= 100000; size++) {
        cr_assert_geq(mem_size(size), size);
        cr_assert_eq(mem_size(mem_size(size)), mem_size(size));
    }
}

Test(mem, inv1_used_is_sum_of_live) {
    enum { SLOTS = 200, STEPS = 20000 };
    struct mem m = {0};
    struct rng r;
    void *live[SLOTS] = {NULL};
    size_t sizes[SLOTS] = {0};

    rng_seed(&r, 5);
    for (int step = 0; step < STEPS; step++) {
        size_t i = rng_below(&r, SLOTS);
        size_t size = rng_below(&r, UINT64_C(1) << rng_below(&r, 15));
        if (live[i] == NULL) {
            live[i] = step % 2 ? mem_alloc(&m, size) : mem_zalloc(&m, size);
            sizes[i] = size;
        } else if (step % 3 != 0) {
            live[i] = mem_realloc(&m, live[i], sizes[i], size);
            sizes[i] = size;
        } else {
            mem_free(&m, live[i], sizes[i]);
            live[i] = NULL;
        }
        if (step % 100 == 0) {
            int64_t sum = 0;
            for (int k = 0; k < SLOTS; k++)
                sum += live[k] == NULL ? 0 : (int64_t)mem_size(sizes[k]);
            cr_assert_eq(m.used_bytes, sum);
        }
    }
    for (int k = 0; k < SLOTS; k++)
        mem_free(&m, live[k], sizes[k]);
    cr_assert_eq(m.used_bytes, 0);
}

Test(mem, inv1_sum_of_accounts_is_exact) {
    struct mem a = {0}, b = {0};
    void *p = mem_alloc(&a, 1000);

    p = mem_realloc(&b, p, 1000, 3000);
    cr_assert_eq(a.used_bytes + b.used_bytes, (int64_t)mem_size(3000));
    mem_free(&b, p, 3000);
    cr_assert_lt(b.used_bytes, 0);
    cr_assert_eq(a.used_bytes + b.used_bytes, 0);
}

Test(mem, inv2_failed_allocation_changes_nothing) {
    struct mem m = {0};
    char *p = mem_alloc(&m, 100);
    int64_t before = m.used_bytes;

    memset(p, 7, 100);
    m.fail_in = 1;
    cr_assert_null(mem_alloc(&m, 10));
    m.fail_in = 1;
    cr_assert_null(mem_zalloc(&m, 10));
    m.fail_in = 1;
    cr_assert_null(mem_alloc_lines(&m, 64));
    m.fail_in = 1;
    cr_assert_null(mem_realloc(&m, p, 100, 100000));
    m.fail_in = 1;
    cr_assert_null(mem_realloc(&m, NULL, 0, 10));
    cr_assert_eq(m.used_bytes, before);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(p[i], 7);
    mem_free(&m, p, 100);
}

#ifndef ANAX_SYSTEM_MALLOC /* the sanitizers' allocators abort instead of refusing */
Test(mem, inv2_refusal_of_the_allocator_changes_nothing) {
    struct mem m = {0};
    void *p = mem_alloc(&m, 100);
    int64_t before = m.used_bytes;
    volatile size_t huge = SIZE_MAX / 2 - 4096;

    cr_assert_null(mem_alloc(&m, huge));
    cr_assert_null(mem_zalloc(&m, huge));
    cr_assert_null(mem_realloc(&m, p, 100, huge));
    cr_assert_eq(m.used_bytes, before);
    mem_free(&m, p, 100);
}
#endif

Test(mem, fail_in_names_the_nth_and_turns_itself_off) {
    struct mem m = {.fail_in = 3};
    void *p[4];

    for (int i = 0; i < 4; i++) {
        p[i] = mem_alloc(&m, 8);
        cr_assert_eq(p[i] == NULL, i == 2, "allocation %d", i);
    }
    cr_assert_eq(m.fail_in, 0);
    for (int i = 0; i < 4; i++)
        mem_free(&m, p[i], 8);
    cr_assert_eq(m.used_bytes, 0);
}

Test(mem, lines_are_aligned_and_counted) {
    struct mem m = {0};

    for (size_t size = 64; size <= 1 << 20; size *= 2) {
        char *p = mem_alloc_lines(&m, size);
        cr_assert_eq((uintptr_t)p % CACHE_LINE, 0);
        cr_assert_eq(m.used_bytes, (int64_t)mem_size(size));
        memset(p, 1, size);
        mem_free_lines(&m, p, size);
        cr_assert_eq(m.used_bytes, 0);
    }
    mem_free_lines(&m, NULL, 64);
    cr_assert_eq(m.used_bytes, 0);
}

Test(mem, zalloc_is_zero) {
    struct mem m = {0};

    for (int round = 0; round < 100; round++) {
        unsigned char *p = mem_zalloc(&m, 500);
        for (int i = 0; i < 500; i++)
            cr_assert_eq(p[i], 0);
        memset(p, 0xff, 500);
        mem_free(&m, p, 500);
    }
}

Test(mem, realloc_keeps_bytes) {
    struct mem m = {0};
    char *p = mem_realloc(&m, NULL, 0, 10);

    memcpy(p, "123456789", 10);
    for (size_t size = 10; size < 100000; size = size * 3 / 2) {
        p = mem_realloc(&m, p, size, size * 3 / 2);
        cr_assert_str_eq(p, "123456789");
        cr_assert_eq(m.used_bytes, (int64_t)mem_size(size * 3 / 2));
        if (size * 3 / 2 >= 100000)
            mem_free(&m, p, size * 3 / 2);
    }
    cr_assert_eq(m.used_bytes, 0);
}

Test(mem, free_of_null_is_nothing) {
    struct mem m = {0};

    mem_free(&m, NULL, 100);
    cr_assert_eq(m.used_bytes, 0);
}

Test(mem, release_idle_returns_pages) {
    enum { BYTES = 64 << 20 };
    struct mem m = {0};
    size_t before = mem_resident();
    char *p = mem_alloc(&m, BYTES);

    cr_assert_gt(before, 0);
    memset(p, 1, BYTES);
    __asm__ volatile("" ::"r"(p) : "memory");
    cr_assert_gt(mem_resident(), before + BYTES / 2);
    mem_free(&m, p, BYTES);
    mem_release_idle();
#ifndef ANAX_SYSTEM_MALLOC /* the sanitizers keep freed memory in quarantine */
    cr_assert_lt(mem_resident(), before + BYTES / 4);
#endif
}

Test(mem, usage_is_the_allocator_s) {
    enum { BYTES = 64 << 20 };
    struct mem m = {0};
    struct mem_usage before, now;
    bool told = mem_usage(&before);
    char *p = mem_alloc(&m, BYTES);

    cr_assert_not_null(p);
    cr_assert_eq(mem_usage(&now), told);
#ifndef ANAX_SYSTEM_MALLOC
    cr_assert(told);
    cr_assert_geq(now.allocated_bytes, before.allocated_bytes + BYTES);
    cr_assert_geq(now.active_bytes, now.allocated_bytes);
    cr_assert_geq(now.resident_bytes, now.active_bytes);
#else
    cr_assert_not(told);
#endif
    mem_free(&m, p, BYTES);
}
