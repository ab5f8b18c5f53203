#include "shards/span.h"

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool span_is(struct span s, const char *word) {
    size_t i = 0;

    for (; i < s.len; i++)
        if (word[i] == '\0' || lower(s.ptr[i]) != lower(word[i]))
            return false;
    return word[i] == '\0';
}
