/* resp_bench: nanoseconds per command of the RESP parser, on pipelines as a load generator sends
 * them. One line per case: name, bytes per command, ns per command, best of ROUNDS. */
#include "anax/resp.h"
#include "shards/assert.h"
#include "shards/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { COMMANDS = 1000, REPEATS = 200, ROUNDS = 7, VALUE_MAX = 4096 };

static char stream[COMMANDS * (VALUE_MAX + 256)];

static bool grow(struct resp_parser *p, uint32_t need) {
    struct resp_arg *args = realloc(p->args, need * sizeof(*args));

    if (args == NULL)
        return false;
    p->args = args;
    p->args_cap = need;
    return true;
}

static size_t add(size_t at, const char *fmt, ...) PRINTF_LIKE(2, 3);

static size_t add(size_t at, const char *fmt, ...) {
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(stream + at, sizeof(stream) - at, fmt, args);
    va_end(args);
    ASSERT(n > 0 && (size_t)n < sizeof(stream) - at);
    return at + (size_t)n;
}

static void parse_stream(struct resp_parser *p, size_t len) {
    static const struct resp_limits limits = {.bulk_max = 512 << 20};
    size_t at = 0, commands = 0;

    while (at < len) {
        resp_reset(p);
        enum resp_status status = resp_parse(p, stream + at, len - at, &limits);
        ASSERT(status == RESP_COMMAND);
        /* What comes next reads the arguments; the compiler must not see that nothing does. */
        __asm__ volatile("" ::"r"(p->args), "r"(p->argc) : "memory");
        at += p->pos;
        commands++;
    }
    ASSERT(commands == COMMANDS);
}

static void measure(const char *name, size_t len) {
    struct resp_parser p = {.grow = grow};
    double best_ns = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start_ns = clock_mono_ns();
        for (int i = 0; i < REPEATS; i++)
            parse_stream(&p, len);
        double ns = (double)(clock_mono_ns() - start_ns) / (REPEATS * COMMANDS);
        best_ns = ns < best_ns ? ns : best_ns;
    }
    printf("%-24s %6zu bytes  %7.1f ns/command\n", name, len / COMMANDS, best_ns);
    free(p.args);
}

static void measure_get(void) {
    size_t len = 0;

    for (unsigned i = 0; i < COMMANDS; i++)
        len = add(len, "*2\r\n$3\r\nGET\r\n$10\r\nkey:%06u\r\n", i * 7919 % 1000000);
    measure("GET", len);
}

static void measure_set(const char *name, int value_len) {
    static char value[VALUE_MAX];
    size_t len = 0;

    memset(value, 'v', sizeof(value));
    for (unsigned i = 0; i < COMMANDS; i++)
        len = add(len, "*3\r\n$3\r\nSET\r\n$10\r\nkey:%06u\r\n$%d\r\n%.*s\r\n", i * 7919 % 1000000,
                  value_len, value_len, value);
    measure(name, len);
}

static void measure_mget(void) {
    size_t len = 0;

    for (unsigned i = 0; i < COMMANDS; i++) {
        len = add(len, "*11\r\n$4\r\nMGET\r\n");
        for (unsigned k = 0; k < 10; k++)
            len = add(len, "$10\r\nkey:%06u\r\n", (i * 10 + k) * 7919 % 1000000);
    }
    measure("MGET of 10", len);
}

static void measure_inline(void) {
    size_t len = 0;

    for (unsigned i = 0; i < COMMANDS; i++)
        len = add(len, "GET key:%06u\r\n", i);
    measure("GET inline", len);
}

int main(void) {
    measure_get();
    measure_set("SET of 3 B", 3);
    measure_set("SET of 64 B", 64);
    measure_set("SET of 4 KB", VALUE_MAX);
    measure_mget();
    measure_inline();
    return 0;
}
