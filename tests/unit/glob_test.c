#include "anax/glob.h"
#include "shards/attr.h"
#include "shards/rng.h"

#include <criterion/criterion.h>

struct glob_case {
    struct span pattern, text;
    bool matches;
};

/* Each was asked of redis-server 7.0.15 by KEYS. */
static const struct glob_case cases[] = {
    {SPAN("abc"), SPAN("abc"), true},
    {SPAN("abc"), SPAN("abd"), false},
    {SPAN("abc"), SPAN("ab"), false},
    {SPAN("ab"), SPAN("abc"), false},
    {SPAN(""), SPAN(""), true},
    {SPAN(""), SPAN("a"), false},
    {SPAN("*"), SPAN(""), true},
    {SPAN("**"), SPAN(""), false},
    {SPAN("*"), SPAN("abc"), true},
    {SPAN("**"), SPAN("abc"), true},
    {SPAN("a*"), SPAN("a"), true},
    {SPAN("a***"), SPAN("a"), true},
    {SPAN("*c"), SPAN("abc"), true},
    {SPAN("a*c"), SPAN("ac"), true},
    {SPAN("a*c"), SPAN("abcb"), false},
    {SPAN("*a*b"), SPAN("xaxbxaxb"), true},
    {SPAN("a?c"), SPAN("abc"), true},
    {SPAN("a?c"), SPAN("ac"), false},
    {SPAN("?"), SPAN(""), false},
    {SPAN("[abc]"), SPAN("b"), true},
    {SPAN("[abc]"), SPAN("d"), false},
    {SPAN("[^abc]"), SPAN("d"), true},
    {SPAN("[^abc]"), SPAN("a"), false},
    {SPAN("[a-c]"), SPAN("b"), true},
    {SPAN("[c-a]"), SPAN("b"), true},
    {SPAN("[a-c]"), SPAN("d"), false},
    {SPAN("[^a-c]x"), SPAN("dx"), true},
    {SPAN("[a-]"), SPAN("^"), true}, /* the range from ']' to 'a', not closed */
    {SPAN("[]"), SPAN("]"), false},
    {SPAN("["), SPAN("["), false},
    {SPAN("[^"), SPAN("a"), true},
    {SPAN("[a"), SPAN("a"), true},
    {SPAN("[\\]]"), SPAN("]"), true},
    {SPAN("[\\-]"), SPAN("-"), true},
    {SPAN("\\*"), SPAN("*"), true},
    {SPAN("\\*"), SPAN("a"), false},
    {SPAN("\\a"), SPAN("a"), true},
    {SPAN("\\"), SPAN("\\"), true},
    {SPAN("a\\"), SPAN("a\\"), true},
    {SPAN("[\x01-\xff]"), SPAN("\x05"), false}, /* signed: -1 to 1 */
    {SPAN("[\x01-\xff]"), SPAN("\0"), true},
    {SPAN("a\0*"), SPAN("a\0b"), true},
    {SPAN("a\0b"), SPAN("a\0c"), false},
    {SPAN("A"), SPAN("a"), false},
};

Test(glob, agrees_with_redis) {
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        cr_assert_eq(glob_match(cases[i].pattern, cases[i].text, false), cases[i].matches,
                     "'%s' on '%s'", cases[i].pattern.ptr, cases[i].text.ptr);
}

Test(glob, nocase) {
    cr_assert(glob_match(SPAN("MAX*"), SPAN("maxmemory"), true));
    cr_assert(glob_match(SPAN("max*"), SPAN("MAXMEMORY"), true));
    cr_assert(glob_match(SPAN("[A-C]"), SPAN("b"), true));
    cr_assert(glob_match(SPAN("[B]"), SPAN("b"), true));
    cr_assert_not(glob_match(SPAN("[\\B]"), SPAN("b"), true));
    cr_assert(glob_match(SPAN("\\B"), SPAN("b"), true));
    cr_assert_not(glob_match(SPAN("max*"), SPAN("min"), true));
}

/* The obvious matcher by recursion, for patterns of letters, stars and question marks. */
static bool match_simply(const char *p, const char *t) {
    if (*p == '\0')
        return *t == '\0';
    if (*p == '*')
        return match_simply(p + 1, t) || (*t != '\0' && match_simply(p, t + 1));
    return *t != '\0' && (*p == '?' || *p == *t) && match_simply(p + 1, t + 1);
}

Test(glob, agrees_with_the_obvious_matcher) {
    struct rng r;
    unsigned matches = 0;

    rng_seed(&r, 6);
    for (int i = 0; i < 200000; i++) {
        char p[8] = "", t[10] = "";
        size_t p_len = rng_below(&r, 7), t_len = 1 + rng_below(&r, 8);
        for (size_t k = 0; k < p_len; k++)
            p[k] = "ab*?"[rng_below(&r, 4)];
        for (size_t k = 0; k < t_len; k++)
            t[k] = "ab"[rng_below(&r, 2)];
        bool want = match_simply(p, t);
        matches += want;
        cr_assert_eq(glob_match((struct span){p, p_len}, (struct span){t, t_len}, false), want,
                     "'%s' on '%s'", p, t);
    }
    cr_assert(matches > 10000 && matches < 190000);
}

/* A matcher that tries all ways would not return within the age of the world. */
Test(glob, hostile_pattern_is_not_exponential, .timeout = 20) {
    static char text[20000], pattern[2001];

    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i + 1 < sizeof(pattern); i += 2)
        memcpy(pattern + i, "a*", 2);
    pattern[sizeof(pattern) - 1] = 'b';
    cr_assert_not(glob_match((struct span){pattern, sizeof(pattern)},
                             (struct span){text, sizeof(text)}, false));
}
