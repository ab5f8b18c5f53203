/* config_fuzz: whatever a configuration says, it is taken with all values in bounds (so that
 * each is shown and taken again), or refused in one line that is not too long; and any file can be
 * rewritten to say what any other says. The first byte chooses between a file and CONFIG SET with
 * names and values line by line. */
#include "anax/config.h"
#include "shards/assert.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(const struct config_error *e) {
    size_t len = strnlen(e->text, sizeof(e->text));

    ASSERT(len > 0);
    ASSERT(len < sizeof(e->text));
}

/* What CONFIG GET shows is taken by CONFIG SET and by a file, and changes nothing. */
static void take_again(void *arg, struct span name, struct span value) {
    const struct config *c = arg;
    struct config to;
    struct config_error e;
    struct span pair[] = {name, value};

    ASSERT(memchr(value.ptr, '\0', value.len) == NULL);
    if (config_set_many(c, pair, 1, true, &to, &e))
        ASSERT(memcmp(c, &to, sizeof(to)) == 0);
    else
        ASSERT(strstr(e.text, "can't set immutable config") != NULL ||
               strstr(e.text, "can't set protected config") != NULL);
}

struct wanted {
    struct span value;
    bool same;
};

static void compare_value(void *arg, struct span name, struct span value) {
    struct wanted *w = arg;
    (void)name;
    w->same = span_eq(value, w->value);
}

/* The option has the same value in another config. */
static void same_in_other(void *arg, struct span name, struct span value) {
    struct wanted w = {value, false};
    config_get(arg, &name, 1, compare_value, &w);
    ASSERT(w.same);
}

/* A file is rewritten to what *c holds, whatever it said before, or refused in one line; a second rewrite
 * changes nothing. */
static void check_rewrite(const struct config *c, const char *text, size_t len) {
    struct config read;
    struct config_error e;
    struct span star = SPAN("*");
    size_t first_len, second_len;

    char *first = config_rewrite_text(c, "", (struct span){text, len}, &first_len, &e);
    if (first == NULL) {
        check_error(&e);
        return;
    }
    config_defaults(&read);
    /* Only `include`, which a text may not have, is left to refuse. */
    if (config_parse_text(&read, "rewritten", (struct span){first, first_len}, &e))
        config_get(c, &star, 1, same_in_other, &read);
    else
        ASSERT(strstr(e.text, "only a file can include another") != NULL);
    char *second = config_rewrite_text(c, "", (struct span){first, first_len}, &second_len, &e);
    ASSERT(second != NULL);
    ASSERT(first_len == second_len && memcmp(first, second, first_len) == 0);
    free(first);
    free(second);
}

static void check_config(struct config *c) {
    struct span star = SPAN("*");
    int cpus[4];

    config_get(c, &star, 1, take_again, c);
    if (config_cpus(c, cpus, 4))
        for (int i = 0; i < 4; i++)
            ASSERT(cpus[i] >= 0 && cpus[i] <= CONFIG_CPU_MAX);
}

static void fuzz_set(struct config *c, const char *text, size_t len) {
    enum { WORDS_MAX = 16 };
    struct span words[WORDS_MAX];
    struct config to;
    struct config_error e;
    unsigned n = 0;

    while (n < WORDS_MAX && len > 0) {
        const char *end = memchr(text, '\n', len);
        size_t word_len = end == NULL ? len : (size_t)(end - text);
        words[n++] = (struct span){text, word_len};
        size_t taken = end == NULL ? len : word_len + 1;
        text += taken;
        len -= taken;
    }
    if (config_set_many(c, words, n / 2, true, &to, &e))
        check_config(&to);
    else
        check_error(&e);
    config_get(c, words, n, take_again, c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct config c;
    struct config_error e;

    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    config_defaults(&c);
    if (data[0] % 2 == 0) {
        fuzz_set(&c, text, size - 1);
        return 0;
    }
    /* The first half of the lines says what is held, all of them are the file. */
    struct config half = c;
    const char *cut = memchr(text + (size - 1) / 2, '\n', size - 1 - (size - 1) / 2);
    size_t half_len = cut == NULL ? 0 : (size_t)(cut - text);
    if (!config_parse_text(&half, "half.conf", (struct span){text, half_len}, &e))
        half = c;
    check_rewrite(&half, text, size - 1);
    if (config_parse_text(&c, "fuzz.conf", (struct span){text, size - 1}, &e))
        check_config(&c);
    else
        check_error(&e);
    return 0;
}
