/* criterion.h, for tsan builds only: the few macros of Criterion that our tests use, in one process.
 *
 * Why         Criterion maps an arena at an address that ThreadSanitizer keeps for itself and cannot start
 *             under it. Each test here runs in turn in the same process; the first failure ends it, with the
 *             summary line that Criterion would print.
 */
#ifndef TSAN_CRITERION_H
#define TSAN_CRITERION_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tsan_test {
    const char *name;
    void (*run)(void);
    struct tsan_test *next;
};

static struct tsan_test *tsan_tests;

#define Test(suite, name, ...)                                                                     \
    static void suite##_##name(void);                                                              \
    static struct tsan_test suite##_##name##_entry = {#suite "::" #name, suite##_##name, NULL};    \
    __attribute__((constructor)) static void suite##_##name##_add(void) {                          \
        suite##_##name##_entry.next = tsan_tests;                                                  \
        tsan_tests = &suite##_##name##_entry;                                                      \
    }                                                                                              \
    static void suite##_##name(void)

static void tsan_fail(const char *file, int line, const char *what) {
    (void)printf("%s:%d: Assertion Failed: %s\n", file, line, what);
    (void)printf("[====] Synthesis: Tested: 1 | Passing: 0 | Failing: 1 | Crashing: 0\n");
    (void)fflush(stdout);
    _Exit(1);
}

#define TSAN_CHECK(cond, text)                                                                     \
    do {                                                                                           \
        if (!(cond))                                                                               \
            tsan_fail(__FILE__, __LINE__, text);                                                   \
    } while (0)
#define cr_assert(cond, ...)           TSAN_CHECK(cond, #cond)
#define cr_assert_not(cond, ...)       TSAN_CHECK(!(cond), "not " #cond)
#define cr_assert_eq(a, b, ...)        TSAN_CHECK((a) == (b), #a " == " #b)
#define cr_assert_neq(a, b, ...)       TSAN_CHECK((a) != (b), #a " != " #b)
#define cr_assert_lt(a, b, ...)        TSAN_CHECK((a) < (b), #a " < " #b)
#define cr_assert_leq(a, b, ...)       TSAN_CHECK((a) <= (b), #a " <= " #b)
#define cr_assert_gt(a, b, ...)        TSAN_CHECK((a) > (b), #a " > " #b)
#define cr_assert_geq(a, b, ...)       TSAN_CHECK((a) >= (b), #a " >= " #b)
#define cr_assert_null(a, ...)         TSAN_CHECK((a) == NULL, #a " is NULL")
#define cr_assert_not_null(a, ...)     TSAN_CHECK((a) != NULL, #a " is not NULL")
#define cr_assert_str_eq(a, b, ...)    TSAN_CHECK(strcmp(a, b) == 0, #a " is " #b)
#define cr_assert_arr_eq(a, b, n, ...) TSAN_CHECK(memcmp(a, b, n) == 0, #a " is " #b)
#define cr_assert_fail(...)            tsan_fail(__FILE__, __LINE__, "fail")

int main(void) {
    unsigned n = 0;
    for (struct tsan_test *t = tsan_tests; t != NULL; t = t->next, n++)
        t->run();
    (void)printf("[====] Synthesis: Tested: %u | Passing: %u | Failing: 0 | Crashing: 0\n", n, n);
    return 0;
}

#endif
