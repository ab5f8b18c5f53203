#include "anax/glob.h"

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool same(char a, char b, bool nocase) {
    return a == b || (nocase && lower(a) == lower(b));
}

static bool in_range(signed char a, signed char b, signed char c, bool nocase) {
    signed char low = a <= b ? a : b;
    signed char high = a <= b ? b : a;

    if (nocase) {
        low = (signed char)lower((char)low);
        high = (signed char)lower((char)high);
        c = (signed char)lower((char)c);
    }
    return c >= low && c <= high;
}

/* Matches c with the bracket whose first byte behind '[' is p; *next is what follows the bracket.
 */
static bool match_bracket(const char *p, const char *end, char c, bool nocase, const char **next) {
    bool inverted = p < end && *p == '^';
    bool matched = false;

    if (inverted)
        p++;
    for (; p < end && *p != ']'; p++) {
        if (*p == '\\' && end - p >= 2) {
            p++;
            matched |= *p == c;
        } else if (end - p >= 3 && p[1] == '-') {
            matched |= in_range((signed char)p[0], (signed char)p[2], (signed char)c, nocase);
            p += 2;
        } else {
            matched |= same(*p, c, nocase);
        }
    }
    *next = p < end ? p + 1 : end;
    return matched != inverted;
}

/* Matches c with the one element at p, which is not a star. */
static bool match_one(const char *p, const char *end, char c, bool nocase, const char **next) {
    if (*p == '[')
        return match_bracket(p + 1, end, c, nocase, next);
    if (*p == '?') {
        *next = p + 1;
        return true;
    }
    if (*p == '\\' && end - p >= 2)
        p++;
    *next = p + 1;
    return same(*p, c, nocase);
}

/* Each element but a star takes one byte, so after a mismatch only the last star needs to take one
 * more: an earlier one could do nothing that the last cannot. */
bool glob_match(struct span pattern, struct span text, bool nocase) {
    const char *p = pattern.ptr, *p_end = p + pattern.len;
    const char *t = text.ptr, *t_end = t + text.len;
    const char *star = NULL, *star_text = NULL; /* behind the last star, and where its match ends */

    if (text.len == 0)
        return pattern.len == 0 || (pattern.len == 1 && *p == '*');
    while (t < t_end) {
        const char *next;
        if (p < p_end && *p == '*') {
            star = ++p;
            star_text = t;
            if (p == p_end)
                return true;
        } else if (p < p_end && match_one(p, p_end, *t, nocase, &next)) {
            p = next;
            t++;
        } else if (star != NULL) {
            p = star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < p_end && *p == '*')
        p++;
    return p == p_end;
}
