/* resp_fuzz: a stream in one piece says what it says in pieces, whatever is in it, and nothing is
 * read outside of it. The first bytes of the input choose limits and pieces; the rest is the
 * stream. */
#include "anax/resp.h"
#include "shards/assert.h"
#include "shards/rng.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a stream says, as a hash of it: arguments with their lengths, and how it ended. */
struct said {
    uint64_t hash, commands;
    enum resp_status end;
    const char *error;
};

enum { BIGS_MAX = 4 };

struct run {
    struct resp_parser parser;
    struct said said;
    char *buf; /* exactly as large as what was fed, so that the sanitizer sees a step beyond */
    size_t begin, end;
    struct {
        char *bytes;
        uint32_t arg;
    } bigs[BIGS_MAX]; /* the large arguments of this command that were taken out */
    unsigned big_count;
    size_t big_got, big_want; /* of the last one, while it is being taken */
};

static bool grow(struct resp_parser *p, uint32_t need) {
    struct resp_arg *args = realloc(p->args, need * sizeof(*args));

    if (args == NULL)
        return false;
    p->args = args;
    p->args_cap = need;
    return true;
}

static void say(struct said *s, const char *p, size_t n) {
    s->hash = (s->hash ^ n) * 0x100000001b3U;
    for (size_t i = 0; i < n; i++)
        s->hash = (s->hash ^ (unsigned char)p[i]) * 0x100000001b3U;
}

static const char *taken_arg(const struct run *r, uint32_t arg) {
    for (unsigned i = 0; i < r->big_count; i++)
        if (r->bigs[i].arg == arg)
            return r->bigs[i].bytes;
    return NULL;
}

static void free_bigs(struct run *r) {
    while (r->big_count > 0)
        free(r->bigs[--r->big_count].bytes);
}

static void say_command(struct run *r) {
    const struct resp_parser *p = &r->parser;

    ASSERT(p->pos > 0);
    ASSERT(p->pos <= r->end - r->begin);
    for (uint32_t i = 0; i < p->argc; i++) {
        const char *big = taken_arg(r, i);
        ASSERT(big != NULL || (size_t)p->args[i].at + p->args[i].len <= p->pos);
        say(&r->said, big != NULL ? big : r->buf + r->begin + p->args[i].at, p->args[i].len);
    }
    say(&r->said, "", 0);
    r->said.commands++;
    r->begin += p->pos;
    free_bigs(r);
    resp_reset(&r->parser);
}

static void append(struct run *r, const char *p, size_t n) {
    char *buf = malloc(r->end + n + (r->end + n == 0));

    ASSERT(buf != NULL);
    if (r->end > 0)
        memcpy(buf, r->buf, r->end);
    memcpy(buf + r->end, p, n);
    free(r->buf);
    r->buf = buf;
    r->end += n;
}

/* Takes what there is of a large argument out of the stream; false: it is not whole yet. */
static bool take_big(struct run *r) {
    size_t at = r->begin + r->parser.pos;
    size_t there = r->end - at, missing = r->big_want - r->big_got;
    size_t n = there < missing ? there : missing;

    memcpy(r->bigs[r->big_count - 1].bytes + r->big_got, r->buf + at, n);
    r->big_got += n;
    memmove(r->buf + at, r->buf + at + n, there - n);
    r->end -= n;
    if (r->big_got < r->big_want)
        return false;
    r->big_want = 0;
    resp_big_done(&r->parser);
    return true;
}

static enum resp_status parse_all(struct run *r, const struct resp_limits *limits, bool takes_big,
                                  size_t stream_len) {
    for (;;) {
        if (r->big_want > 0 && !take_big(r))
            return RESP_MORE;
        enum resp_status status =
            resp_parse(&r->parser, r->buf + r->begin, r->end - r->begin, limits);
        if (status == RESP_BIG && takes_big && r->parser.big_len <= stream_len &&
            r->big_count < BIGS_MAX) {
            r->big_want = (size_t)r->parser.big_len + 2;
            r->big_got = 0;
            r->bigs[r->big_count].arg = r->parser.argc;
            r->bigs[r->big_count].bytes = malloc(r->big_want);
            ASSERT(r->bigs[r->big_count].bytes != NULL);
            r->big_count++;
        } else if (status != RESP_COMMAND) {
            return status == RESP_BIG ? RESP_MORE : status;
        } else {
            say_command(r);
        }
    }
}

static struct said run_stream(const char *stream, size_t len, const struct resp_limits *limits,
                              struct rng *pieces) {
    struct run r = {.parser = {.grow = grow}, .said = {.end = RESP_MORE}};
    size_t fed = 0;

    /* Without room for arguments the fast path would not be taken. */
    bool has_room = grow(&r.parser, 16);
    ASSERT(has_room);
    resp_reset(&r.parser);
    while (fed < len && r.said.end == RESP_MORE) {
        size_t n = len - fed;
        if (pieces != NULL) {
            size_t piece = 1 + rng_below(pieces, UINT64_C(1) << rng_below(pieces, 14));
            n = piece < n ? piece : n;
        }
        append(&r, stream + fed, n);
        fed += n;
        r.said.end = parse_all(&r, limits, pieces != NULL, len);
    }
    if (r.said.end == RESP_ERROR)
        say(&r.said, r.parser.error, strlen(r.parser.error));
    free(r.parser.args);
    free(r.buf);
    free_bigs(&r);
    return r.said;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { CHOICES = 3 };

    if (size <= CHOICES)
        return 0;
    struct resp_limits limits = {.bulk_max = data[0] & 2 ? 1024 * 1024 : 512 * 1024 * 1024,
                                 .unauthenticated = data[0] & 1};
    struct rng pieces;
    rng_seed(&pieces, (uint64_t)data[1] << 8 | data[2]);
    const char *stream = (const char *)data + CHOICES;
    struct said whole = run_stream(stream, size - CHOICES, &limits, NULL);
    struct said split = run_stream(stream, size - CHOICES, &limits, &pieces);
    ASSERT(whole.end == split.end);
    ASSERT(whole.commands == split.commands);
    ASSERT(whole.hash == split.hash);
    return 0;
}
