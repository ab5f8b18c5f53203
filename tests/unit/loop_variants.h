/* loop_variants.h: a test of the loop runs once per variant: a backend, and what of its kernel's features is taken away. Whoever
 * includes it names its SUITE and its REAL_VARIANTS(X, test), each X(test, name, kind, disabled); the simulator is there always. */
#ifndef LOOP_VARIANTS_H
#define LOOP_VARIANTS_H

#include "shards/loop.h"
#include <criterion/criterion.h>

struct variant {
    const char *name;
    enum loop_kind kind;
    unsigned disabled;
};

#define VARIANT(name, kind, disabled) (&(const struct variant){#name, kind, disabled})
#define VARIANT_TEST(test, name, kind, disabled)                                                   \
    Test(SUITE, test##_##name) {                                                                   \
        test(VARIANT(name, kind, disabled));                                                       \
    }

/* Threads need loops that block: not the simulator. */
#define EVERY_REAL_VARIANT(test)                                                                   \
    static void test(const struct variant *v);                                                     \
    REAL_VARIANTS(VARIANT_TEST, test)                                                              \
    static void test(const struct variant *v)

#define EVERY_VARIANT(test)                                                                        \
    static void test(const struct variant *v);                                                     \
    VARIANT_TEST(test, sim, LOOP_SIM, 0)                                                           \
    EVERY_REAL_VARIANT(test)

#endif
