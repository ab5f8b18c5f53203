#include "anax/resp.h"
#include "shards/attr.h"
#include "shards/rng.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct resp_limits usual = {.bulk_max = 512 << 20};

static bool grow(struct resp_parser *p, uint32_t need) {
    struct resp_arg *args = realloc(p->args, need * sizeof(*args));

    if (args == NULL)
        return false;
    p->args = args;
    p->args_cap = need;
    return true;
}

static bool refuse_to_grow(struct resp_parser *p, uint32_t need) {
    (void)p;
    (void)need;
    return false;
}

static struct resp_parser new_parser(void) {
    struct resp_parser p = {.grow = grow};

    resp_reset(&p);
    return p;
}

/* A parser that has seen commands before; without room for arguments the fast path is not taken. */
static struct resp_parser used_parser(void) {
    struct resp_parser p = new_parser();

    cr_assert(grow(&p, 16));
    return p;
}

/* Everything that a stream says, as one text: "<3:SET><1:a>" for the arguments, a line per command,
 * then how it ends. Two streams that say the same have equal texts. */
struct said {
    char *text;
    size_t len, cap;
};

static void say(struct said *s, const char *p, size_t n) {
    if (s->len + n + 1 > s->cap) {
        s->cap = (s->len + n + 1) * 2;
        s->text = realloc(s->text, s->cap);
        cr_assert_not_null(s->text);
    }
    memcpy(s->text + s->len, p, n);
    s->len += n;
    s->text[s->len] = '\0';
}

static void say_arg(struct said *s, const char *p, size_t n) {
    char head[32];
    int head_len = snprintf(head, sizeof(head), "<%zu:", n);

    say(s, head, (size_t)head_len);
    say(s, p, n);
    say(s, ">", 1);
}

static bool same(const struct said *a, const struct said *b) {
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

static const char *status_text(const struct resp_parser *p, enum resp_status status) {
    switch (status) {
    case RESP_ERROR:
        return p->error;
    case RESP_NOMEM:
        return "nomem";
    default:
        return "more";
    }
}

/* The large arguments of one command that were taken out of the stream. */
enum { BIGS_MAX = 8 };
struct taken {
    char *bytes;
    size_t len, missing, at[BIGS_MAX];
    uint32_t arg[BIGS_MAX], count;
};

/* Moves what there is of the argument that is being taken; what is behind it closes up. */
static size_t take(struct taken *big, char *from, size_t there) {
    size_t n = there < big->missing ? there : big->missing;

    memcpy(big->bytes + big->len, from, n);
    memmove(from, from + n, there - n);
    big->len += n;
    big->missing -= n;
    return n;
}

static const char *taken_arg(const struct taken *big, uint32_t arg) {
    for (uint32_t i = 0; i < big->count; i++)
        if (big->arg[i] == arg)
            return big->bytes + big->at[i];
    return NULL;
}

/* Feeds the stream in pieces of the sizes that next_piece gives, as a connection would: unparsed
 * bytes stay, parsing goes on where it stopped. With take_big, large arguments are taken out of
 * the stream. */
static void feed(struct said *s, struct span stream, size_t (*next_piece)(void *), void *arg,
                 const struct resp_limits *limits, bool take_big) {
    struct resp_parser p = used_parser();
    char *buf = malloc(stream.len + 1);
    struct taken big = {.bytes = malloc(stream.len + 1)};
    size_t fed = 0, begin = 0, end = 0;
    enum resp_status status = RESP_MORE;

    cr_assert(buf != NULL && big.bytes != NULL);
    while (fed < stream.len && status != RESP_ERROR) {
        size_t n = next_piece(arg);
        n = n > stream.len - fed ? stream.len - fed : n;
        memcpy(buf + end, stream.ptr + fed, n);
        end += n;
        fed += n;
        do {
            if (big.missing > 0) {
                end -= take(&big, buf + begin + p.pos, end - begin - p.pos);
                if (big.missing > 0)
                    break;
                resp_big_done(&p);
            }
            status = resp_parse(&p, buf + begin, end - begin, limits);
            if (status == RESP_BIG && take_big) {
                cr_assert_lt(big.count, BIGS_MAX);
                big.arg[big.count] = p.argc;
                big.at[big.count++] = big.len;
                big.missing = (size_t)p.big_len + 2;
                continue;
            }
            if (status != RESP_COMMAND)
                break;
            cr_assert_leq(p.pos, end - begin);
            for (uint32_t i = 0; i < p.argc; i++) {
                const char *taken = taken_arg(&big, i);
                if (taken == NULL)
                    cr_assert_leq((size_t)p.args[i].at + p.args[i].len, p.pos);
                say_arg(s, taken != NULL ? taken : buf + begin + p.args[i].at, p.args[i].len);
            }
            if (p.argc > 0)
                say(s, "\n", 1);
            begin += p.pos;
            big.count = 0;
            big.len = 0;
            resp_reset(&p);
        } while (begin < end || big.missing > 0);
    }
    if (status != RESP_COMMAND) {
        const char *text = status_text(&p, status);
        say(s, text, strlen(text));
    }
    free(p.args);
    free(buf);
    free(big.bytes);
}

static size_t piece_whole(void *arg) {
    (void)arg;
    return SIZE_MAX;
}

static size_t piece_fixed(void *arg) {
    return *(size_t *)arg;
}

static size_t piece_first(void *arg) {
    size_t n = *(size_t *)arg;

    *(size_t *)arg = SIZE_MAX;
    return n;
}

static size_t piece_random(void *arg) {
    struct rng *r = arg;

    return 1 + rng_below(r, UINT64_C(1) << rng_below(r, 16));
}

/* --- what single commands mean --- */

struct parse_case {
    struct span in;
    const char *said;
};

static void expect_said(const struct parse_case *cases, size_t n,
                        const struct resp_limits *limits) {
    for (size_t i = 0; i < n; i++) {
        struct said s = {0};
        say(&s, "", 0);
        feed(&s, cases[i].in, piece_whole, NULL, limits, false);
        cr_assert_str_eq(s.text, cases[i].said, "case %zu, %s: got %s", i, cases[i].in.ptr, s.text);
        s.len = 0;
        size_t one = 1; /* so that the fast path has nothing to take */
        say(&s, "", 0);
        feed(&s, cases[i].in, piece_fixed, &one, limits, false);
        cr_assert_str_eq(s.text, cases[i].said, "case %zu in bytes: got %s", i, s.text);
        free(s.text);
    }
}

/* All of these were sent to redis-server 7.0.15 and answered alike. */
static const struct parse_case forms[] = {
    {SPAN("*1\r\n$4\r\nPING\r\n"), "<4:PING>\n"},
    {SPAN("*2\r\n$3\r\nGET\r\n$10\r\n0123456789\r\n"), "<3:GET><10:0123456789>\n"},
    {SPAN("*2\r\n$4\r\nECHO\r\n$0\r\n\r\n"), "<4:ECHO><0:>\n"},
    {SPAN("*0\r\n*1\r\n$4\r\nPING\r\n"), "<4:PING>\n"},
    {SPAN("*-1\r\n*1\r\n$4\r\nPING\r\n"), "<4:PING>\n"},
    {SPAN("*-5\r\nPING\r\n"), "<4:PING>\n"},
    {SPAN("*1\rX$4\rYPINGZZPING\r\n"), "<4:PING>\n<4:PING>\n"},
    {SPAN("*2\r\n$4\r\nECHO\r\n$1\r\n\r\r\nPING\r\n"), "<4:ECHO><1:\r>\n<4:PING>\n"},
    {SPAN("*1\r\n$4\r\nPIN"), "more"},
    {SPAN("*1\r\n$4\r\nPING\r"), "more"},
    {SPAN("*1"), "more"},
    {SPAN("*1\r"), "more"},
    {SPAN("*"), "more"},
    {SPAN("*1\0\r\n"), "more"}, /* a NUL hides the rest of the line */
    {SPAN("*01\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*00\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*-0\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*-\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*+1\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*a\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("* 1\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*1 \r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*99999999999\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*99999999999999999999\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*-99999999999999999999999\r\n"), "Protocol error: invalid multibulk length"},
    {SPAN("*1\r\n+4\r\n"), "Protocol error: expected '$', got '+'"},
    {SPAN("*1\r\n+4"), "more"},
    {SPAN("*1\r\n\r\n"), "Protocol error: expected '$', got ' '"},
    {SPAN("*1\r\n\n\r\n"), "Protocol error: expected '$', got ' '"},
    {SPAN("*2\r\n$4\r\nECHO\r\nx\r\n"), "Protocol error: expected '$', got 'x'"},
    {SPAN("*1\r\n$-1\r\n"), "Protocol error: invalid bulk length"},
    {SPAN("*1\r\n$04\r\nPING\r\n"), "Protocol error: invalid bulk length"},
    {SPAN("*1\r\n$00\r\n\r\n"), "Protocol error: invalid bulk length"},
    {SPAN("*1\r\n$\r\n"), "Protocol error: invalid bulk length"},
    {SPAN("*1\r\n$4a\r\n"), "Protocol error: invalid bulk length"},
    {SPAN("*1\r\n$-0\r\n"), "Protocol error: invalid bulk length"},
    {SPAN("*1\r\n$536870912\r\n"), "more"},
    {SPAN("*1\r\n$536870913\r\n"), "Protocol error: invalid bulk length"},
    {SPAN("*1\r\n$99999999999999999999\r\n"), "Protocol error: invalid bulk length"},
    {SPAN("PING\r\n"), "<4:PING>\n"},
    {SPAN("PING\n"), "<4:PING>\n"},
    {SPAN("\r\n\n  \r\nPING\r\n"), "<4:PING>\n"},
    {SPAN("  SET  a\tb \r\n"), "<3:SET><1:a><1:b>\n"},
    {SPAN("SET \"a b\" 'c d'\r\n"), "<3:SET><3:a b><3:c d>\n"},
    {SPAN("ECHO \"\\n\\r\\t\\b\\a\\\\\\\"\\q\\x41\\x4G\"\r\n"),
     "<4:ECHO><12:\n\r\t\b\a\\\"qAx4G>\n"},
    {SPAN("ECHO '\\n\\'\"'\r\n"), "<4:ECHO><4:\\n'\">\n"},
    {SPAN("ECHO \"\" ''\r\n"), "<4:ECHO><0:><0:>\n"},
    {SPAN("PI\"NG\"\r\n"), "<4:PING>\n"},
    {SPAN("ECHO a\vb \v c\r\n"), "<4:ECHO><3:a\vb><1:c>\n"},
    {SPAN("PING\r\r\n"), "<4:PING>\n"},
    {SPAN("P\0ING\r\n"), "more"},
    {SPAN("ECHO \"a\r\n"), "Protocol error: unbalanced quotes in request"},
    {SPAN("ECHO 'a\r\n"), "Protocol error: unbalanced quotes in request"},
    {SPAN("ECHO \"a\"b\r\n"), "Protocol error: unbalanced quotes in request"},
    {SPAN("ECHO 'a'b\r\n"), "Protocol error: unbalanced quotes in request"},
    {SPAN("ECHO \"a\\\"\r\n"), "Protocol error: unbalanced quotes in request"},
};

Test(resp, forms_are_redis_s) {
    expect_said(forms, COUNT_OF(forms), &usual);
}

Test(resp, limits_of_who_has_not_authenticated) {
    static const struct parse_case cases[] = {
        {SPAN("*11\r\n"), "Protocol error: unauthenticated multibulk length"},
        {SPAN("*10\r\n$16384\r\n"), "more"},
        {SPAN("*10\r\n$16385\r\n"), "Protocol error: unauthenticated bulk length"},
        {SPAN("*1\r\n$16385\r\n"), "Protocol error: unauthenticated bulk length"},
        {SPAN("*2\r\n$4\r\nAUTH\r\n$16385\r\n"), "Protocol error: unauthenticated bulk length"},
        {SPAN("*9999999999999\r\n"), "Protocol error: invalid multibulk length"},
        {SPAN("*1\r\n$999999999999\r\n"), "Protocol error: invalid bulk length"},
        {SPAN("*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"), "<4:AUTH><2:pw>\n"},
    };
    struct resp_limits limits = usual;

    limits.unauthenticated = true;
    expect_said(cases, COUNT_OF(cases), &limits);
}

Test(resp, bulk_max_is_obeyed_on_both_paths) {
    static const struct parse_case cases[] = {
        {SPAN("*1\r\n$8\r\n12345678\r\n"), "<8:12345678>\n"},
        {SPAN("*1\r\n$9\r\n123456789\r\n"), "Protocol error: invalid bulk length"},
        {SPAN("*1\r\n$9\r\n"), "Protocol error: invalid bulk length"},
    };
    struct resp_limits limits = {.bulk_max = 8};

    expect_said(cases, COUNT_OF(cases), &limits);
}

Test(resp, argument_count_limit) {
    char in[32];
    struct said s = {0};

    (void)snprintf(in, sizeof(in), "*%d\r\n", RESP_ARGS_MAX);
    feed(&s, (struct span){in, strlen(in)}, piece_whole, NULL, &usual, false);
    (void)snprintf(in, sizeof(in), "*%d\r\n", RESP_ARGS_MAX + 1);
    feed(&s, (struct span){in, strlen(in)}, piece_whole, NULL, &usual, false);
    cr_assert_str_eq(s.text, "moreProtocol error: invalid multibulk length");
    free(s.text);
}

Test(resp, a_header_alone_claims_little_memory) {
    char in[] = "*1048576\r\n";
    struct resp_parser p = new_parser();

    cr_assert_eq(resp_parse(&p, in, strlen(in), &usual), RESP_MORE);
    cr_assert_leq(p.args_cap, 1024);
    free(p.args);
}

/* Lines that do not end: one byte at a time, in one piece, and one byte short of the limit. */
Test(resp, endless_lines_are_errors) {
    static const struct {
        const char *begin, *error;
        char filler;
        size_t line_at;
    } cases[] = {
        {"*", "Protocol error: too big mbulk count string", '1', 0},
        {"*1\r\n$", "Protocol error: too big bulk count string", '1', 4},
        {"P", "Protocol error: too big inline request", 'a', 0},
    };
    static char in[RESP_INLINE_MAX + 100];

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        size_t most = cases[i].line_at + RESP_INLINE_MAX;
        size_t one = 1;
        memset(in, cases[i].filler, sizeof(in));
        memcpy(in, cases[i].begin, strlen(cases[i].begin));
        struct said whole = {0}, bytes = {0}, less = {0};
        feed(&whole, (struct span){in, sizeof(in)}, piece_whole, NULL, &usual, false);
        feed(&bytes, (struct span){in, sizeof(in)}, piece_fixed, &one, &usual, false);
        feed(&less, (struct span){in, most}, piece_whole, NULL, &usual, false);
        cr_assert_str_eq(whole.text, cases[i].error);
        cr_assert_str_eq(bytes.text, cases[i].error);
        cr_assert_str_eq(less.text, "more");
        free(whole.text);
        free(bytes.text);
        free(less.text);
    }
}

Test(resp, no_byte_of_a_line_is_looked_at_twice) {
    static const char *const lines[] = {"*1111111111", "*1\r\n$111111", "PING aaaaaaa"};

    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        struct resp_parser p = used_parser();
        char in[32];
        (void)strcpy(in, lines[i]);
        for (size_t len = 1; len <= strlen(in); len++) {
            cr_assert_eq(resp_parse(&p, in, len, &usual), RESP_MORE);
            if (in[len - 1] != '\r')
                cr_assert_eq(p.pos + p.scanned, len, "%s at %zu", in, len);
        }
        free(p.args);
    }
}

Test(resp, no_memory_for_arguments) {
    char array[] = "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n", line[] = "a b c\r\n";
    struct resp_parser p = new_parser();

    p.grow = refuse_to_grow;
    cr_assert_eq(resp_parse(&p, array, strlen(array), &usual), RESP_NOMEM);
    resp_reset(&p);
    cr_assert_eq(resp_parse(&p, line, strlen(line), &usual), RESP_NOMEM);
    p.grow = grow;
    resp_reset(&p);
    cr_assert_eq(resp_parse(&p, array, strlen(array), &usual), RESP_COMMAND);
    cr_assert_eq(p.argc, 3);
    free(p.args);
}

/* --- invariants --- */

/* The buffer ends where the next page cannot be read. */
Test(resp, inv1_no_byte_beyond_len_is_read) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *map = mmap(NULL, page * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    cr_assert_neq(map, MAP_FAILED);
    cr_assert_eq(mprotect(map + page, page, PROT_NONE), 0);
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        for (size_t len = 0; len <= forms[i].in.len; len++) {
            char *at = map + page - len;
            struct resp_parser p = used_parser();
            memcpy(at, forms[i].in.ptr, len);
            enum resp_status status = resp_parse(&p, at, len, &usual);
            cr_assert_leq(p.pos, len);
            cr_assert(status != RESP_COMMAND || p.pos > 0);
            free(p.args);
        }
    }
    (void)munmap(map, page * 2);
}

Test(resp, inv2_split_at_every_position) {
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        struct said whole = {0};
        say(&whole, "", 0);
        feed(&whole, forms[i].in, piece_whole, NULL, &usual, false);
        for (size_t at = 1; at < forms[i].in.len; at++) {
            struct said split = {0};
            size_t first = at;
            say(&split, "", 0);
            feed(&split, forms[i].in, piece_first, &first, &usual, false);
            cr_assert(same(&whole, &split), "case %zu split at %zu: %s, not %s", i, at, split.text,
                      whole.text);
            free(split.text);
        }
        free(whole.text);
    }
}

/* A stream of random commands, and what it says, made side by side. */
struct stream {
    struct said bytes, says;
};

static void add_array(struct stream *s, struct rng *r, bool with_big) {
    char head[32];
    uint64_t argc = rng_below(r, 20) == 0 ? rng_below(r, 300) : 1 + rng_below(r, 6);
    uint64_t big_at = with_big ? rng_below(r, argc + 1) : argc;
    uint64_t big_too = with_big ? rng_below(r, argc + 1) : argc;

    say(&s->bytes, head, (size_t)snprintf(head, sizeof(head), "*%" PRIu64 "\r\n", argc));
    for (uint64_t i = 0; i < argc; i++) {
        size_t len = rng_below(r, UINT64_C(1) << rng_below(r, 10));
        if (i == big_at || i == big_too)
            len = RESP_BIG_MIN - 2 + rng_below(r, RESP_BIG_MIN * 2);
        char *arg = malloc(len + 1);
        cr_assert_not_null(arg);
        for (size_t k = 0; k < len; k++)
            arg[k] = (char)(len < 4 ? "\r\n$*"[rng_below(r, 4)] : (int)rng_next(r));
        say(&s->bytes, head, (size_t)snprintf(head, sizeof(head), "$%zu\r\n", len));
        say(&s->bytes, arg, len);
        say(&s->bytes, "\r\n", 2);
        say_arg(&s->says, arg, len);
        free(arg);
    }
    if (argc > 0)
        say(&s->says, "\n", 1);
}

static void add_inline(struct stream *s, struct rng *r) {
    uint64_t words = rng_below(r, 5);

    for (uint64_t i = 0; i < words; i++) {
        char word[16], quoted[80];
        size_t len = rng_below(r, sizeof(word)), n = 0;
        bool quote = len == 0 || rng_below(r, 2);
        for (size_t k = 0; k < len; k++) {
            word[k] = (char)(quote ? (int)rng_next(r) : 'a' + (int)rng_below(r, 26));
            if (quote)
                n += (size_t)snprintf(quoted + n, sizeof(quoted) - n, "\\x%02x",
                                      (unsigned char)word[k]);
        }
        if (i == 0) /* a line that begins with '*' is an array */
            say(&s->bytes, " ", 1);
        say(&s->bytes, "\"", quote);
        say(&s->bytes, quote ? quoted : word, quote ? n : len);
        say(&s->bytes, "\" ", quote ? 2 : 0);
        say(&s->bytes, " \t", 1 + rng_below(r, 2));
        say_arg(&s->says, word, len);
    }
    say(&s->bytes, "\r\n", 2);
    if (words > 0)
        say(&s->says, "\n", 1);
}

static void check_streams(uint64_t seed, bool with_big) {
    struct rng r;

    rng_seed(&r, seed);
    for (int round = 0; round < 40; round++) {
        struct stream s = {0};
        for (int i = 0; i < 50; i++) {
            if (rng_below(&r, 5) == 0)
                add_inline(&s, &r);
            else
                add_array(&s, &r, with_big && rng_below(&r, 3) == 0);
        }
        struct span all = {s.bytes.text, s.bytes.len};
        for (int take_big = 0; take_big <= 1; take_big++) {
            struct said whole = {0}, pieces = {0};
            feed(&whole, all, piece_whole, NULL, &usual, take_big);
            feed(&pieces, all, piece_random, &r, &usual, take_big);
            cr_assert(same(&whole, &s.says), "round %d", round);
            cr_assert(same(&pieces, &s.says), "round %d in pieces", round);
            free(whole.text);
            free(pieces.text);
        }
        free(s.bytes.text);
        free(s.says.text);
    }
}

Test(resp, inv2_random_streams_say_what_was_put_in) {
    check_streams(1, false);
}

Test(resp, inv2_random_streams_with_large_arguments) {
    check_streams(2, true);
}

Test(resp, inv2_one_byte_at_a_time) {
    struct stream s = {0};
    struct rng r;
    size_t one = 1;

    rng_seed(&r, 3);
    for (int i = 0; i < 200; i++)
        rng_below(&r, 2) ? add_inline(&s, &r) : add_array(&s, &r, false);
    struct said bytes = {0};
    feed(&bytes, (struct span){s.bytes.text, s.bytes.len}, piece_fixed, &one, &usual, false);
    cr_assert(same(&bytes, &s.says));
    free(bytes.text);
    free(s.bytes.text);
    free(s.says.text);
}

/* --- large arguments --- */

Test(resp, big_is_offered_only_while_it_is_not_there) {
    static char in[RESP_BIG_MIN + 100];
    int head = snprintf(in, sizeof(in), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n", RESP_BIG_MIN);
    struct resp_parser p = new_parser();
    size_t at = (size_t)head;

    cr_assert_eq(resp_parse(&p, in, at - 1, &usual), RESP_MORE);
    cr_assert_eq(resp_parse(&p, in, at, &usual), RESP_BIG);
    cr_assert_eq(p.big_len, RESP_BIG_MIN);
    cr_assert_eq(p.pos, at);
    cr_assert_eq(p.left, 1);
    cr_assert_eq(resp_parse(&p, in, at + RESP_BIG_MIN - 1, &usual), RESP_BIG);
    cr_assert_eq(resp_parse(&p, in, at + RESP_BIG_MIN, &usual), RESP_MORE);
    cr_assert_eq(resp_parse(&p, in, at + RESP_BIG_MIN + 2, &usual), RESP_COMMAND);
    cr_assert_eq(p.args[2].at, at);
    cr_assert_eq(p.args[2].len, RESP_BIG_MIN);
    free(p.args);
}

Test(resp, small_arguments_are_never_offered) {
    char in[64];
    int head = snprintf(in, sizeof(in), "*1\r\n$%d\r\n", RESP_BIG_MIN - 1);
    struct resp_parser p = new_parser();

    cr_assert_eq(resp_parse(&p, in, (size_t)head, &usual), RESP_MORE);
    free(p.args);
}

Test(resp, each_big_argument_is_offered) {
    char in[128];
    int head = snprintf(in, sizeof(in), "*3\r\n$1\r\nx\r\n$%d\r\n", RESP_BIG_MIN);
    struct resp_parser p = new_parser();

    cr_assert_eq(resp_parse(&p, in, (size_t)head, &usual), RESP_BIG);
    cr_assert(p.argc == 1 && p.left == 2 && p.big_len == RESP_BIG_MIN);
    resp_big_done(&p);
    cr_assert_eq(p.args[1].len, RESP_BIG_MIN);
    int more = snprintf(in + head, sizeof(in) - (size_t)head, "$%d\r\n", RESP_BIG_MIN + 1);
    cr_assert_eq(resp_parse(&p, in, (size_t)(head + more), &usual), RESP_BIG);
    cr_assert(p.argc == 2 && p.left == 1 && p.big_len == RESP_BIG_MIN + 1);
    resp_big_done(&p);
    cr_assert_eq(resp_parse(&p, in, (size_t)(head + more), &usual), RESP_COMMAND);
    cr_assert(p.argc == 3 && p.pos == (uint32_t)(head + more));
    free(p.args);
}

Test(resp, big_done_without_a_big_argument_is_a_bug, .signal = SIGABRT) {
    struct resp_parser p = new_parser();

    resp_big_done(&p);
}

Test(resp, inv3_offsets_stay_within_32_bits) {
    char in[64];
    struct resp_parser p = new_parser();
    struct resp_limits limits = {.bulk_max = INT64_MAX};

    int len = snprintf(in, sizeof(in), "*1\r\n$4294967200\r\n");
    cr_assert_eq(resp_parse(&p, in, (size_t)len, &limits), RESP_BIG);
    resp_reset(&p);
    len = snprintf(in, sizeof(in), "*1\r\n$4294967290\r\n");
    cr_assert_eq(resp_parse(&p, in, (size_t)len, &limits), RESP_ERROR);
    cr_assert_str_eq(p.error, "Protocol error: invalid bulk length");
    free(p.args);
}

Test(resp, reset_keeps_the_arguments_memory) {
    char in[] = "*1\r\n$4\r\nPING\r\n";
    struct resp_parser p = new_parser();

    cr_assert_eq(resp_parse(&p, in, strlen(in), &usual), RESP_COMMAND);
    struct resp_arg *args = p.args;
    for (int i = 0; i < 100; i++) {
        resp_reset(&p);
        cr_assert_eq(resp_parse(&p, in, strlen(in), &usual), RESP_COMMAND);
        cr_assert(p.args == args && p.argc == 1 && p.pos == strlen(in));
    }
    free(p.args);
}
