/* config_fuzz: whatever a configuration says, it is taken with all values in bounds (so that
 * each is shown and taken again), or refused in one line that is not too long. The first byte
 * chooses between a file and CONFIG SET with names and values line by line. */
#include "anax/config.h"
#include "shards/assert.h"

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
    if (config_set_many(c, pair, 1, &to, &e))
        ASSERT(memcmp(c, &to, sizeof(to)) == 0);
    else
        ASSERT(strstr(e.text, "can't set immutable config") != NULL);
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
    if (config_set_many(c, words, n / 2, &to, &e))
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
    if (data[0] % 2 == 0)
        fuzz_set(&c, text, size - 1);
    else if (config_parse_text(&c, "fuzz.conf", (struct span){text, size - 1}, &e))
        check_config(&c);
    else
        check_error(&e);
    return 0;
}
