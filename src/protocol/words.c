#include "anax/words.h"

enum { INT_CHARS_MAX = 20 };

static bool is_blank(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* What ends a word that is not quoted: fewer than what may stand between words, as in redis-cli. */
static bool ends_word(char c) {
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static char unescape(char c) {
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return c;
    }
}

/* Reads to the closing quote, which must be followed by a blank or the end. Writing to *to never
 * overtakes reading: no escape grows. */
static bool read_quoted(struct words *w, char quote, char **to) {
    while (w->from < w->end) {
        char c = *w->from++;
        size_t rest = (size_t)(w->end - w->from);
        if (c == quote)
            return rest == 0 || is_blank(*w->from);
        if (c == '\\' && quote == '"' && rest >= 3 && w->from[0] == 'x' &&
            hex_value(w->from[1]) >= 0 && hex_value(w->from[2]) >= 0) {
            c = (char)(hex_value(w->from[1]) << 4 | hex_value(w->from[2]));
            w->from += 3;
        } else if (c == '\\' && rest >= 1 && quote == '"') {
            c = unescape(*w->from++);
        } else if (c == '\\' && rest >= 1 && *w->from == '\'') {
            c = *w->from++;
        }
        *(*to)++ = c;
    }
    return false;
}

enum words_status words_next(struct words *w, struct span *word) {
    while (w->from < w->end && is_blank(*w->from))
        w->from++;
    if (w->from == w->end)
        return WORDS_END;
    char *to = w->from;
    word->ptr = to;
    while (w->from < w->end && !ends_word(*w->from)) {
        char c = *w->from++;
        /* A quote may begin in the middle of a word; the word ends where it closes. */
        if (c == '"' || c == '\'') {
            if (!read_quoted(w, c, &to))
                return WORDS_UNBALANCED;
            break;
        }
        *to++ = c;
    }
    word->len = (size_t)(to - word->ptr);
    return WORDS_WORD;
}

bool words_int(struct span s, int64_t *out) {
    if (s.len == 0 || s.len > INT_CHARS_MAX)
        return false;
    bool negative = s.ptr[0] == '-';
    size_t i = negative ? 1 : 0;
    uint64_t v = 0;

    if (i == s.len || (s.ptr[i] == '0' && s.len > 1))
        return false;
    for (; i < s.len; i++) {
        unsigned digit = (unsigned)(unsigned char)s.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, 10U, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}
