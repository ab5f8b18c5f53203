#include "anax/resp.h"
#include "anax/words.h"
#include "shards/assert.h"
#include "shards/attr.h"

#include <stdio.h>

/* Two parsers share one state. parse_fast takes the shape that nearly every command has (a
 * header of at most two digits, lengths of at most BULK_DIGITS_FAST) as far as it is there, and
 * leaves what it does not know to parse_array, which knows everything and goes on from any
 * position. */

enum {
    ARGS_FIRST = 1024,         /* a header that claims more gets its room as arguments arrive */
    UNAUTHENTICATED_ARGS = 10, /* as in Redis */
    UNAUTHENTICATED_BULK = 16384,
    BULK_DIGITS_FAST = 5,
};

void resp_reset(struct resp_parser *p) {
    p->argc = 0;
    p->left = -1;
    p->pos = 0;
    p->bulk_len = -1;
    p->scanned = 0;
    p->big_len = 0;
    p->error = NULL;
    p->is_inline = false;
}

static enum resp_status fail(struct resp_parser *p, const char *text) {
    p->error = text;
    return RESP_ERROR;
}

static bool has_room(struct resp_parser *p, uint32_t need) {
    if (likely(need <= p->args_cap))
        return true;
    return p->grow(p, need) && need <= p->args_cap;
}

/* Looks for the end of the line that begins at pos, where it looked no further than `scanned`
 * before. RESP_COMMAND: it is at *line_len. A NUL byte hides what follows it, as it does in Redis:
 * such a line never ends and runs into the limit. */
static enum resp_status find_line(struct resp_parser *p, const char *data, size_t len, char end,
                                  uint32_t *line_len, const char *too_big) {
    const char *line = data + p->pos;
    size_t there = len - p->pos;
    size_t to = there > RESP_INLINE_MAX + 1 ? RESP_INLINE_MAX + 1 : there;
    uint32_t i = p->scanned;

    while (i < to && line[i] != end && line[i] != '\0')
        i++;
    p->scanned = i;
    if (i < to && line[i] == end) {
        *line_len = i;
        return RESP_COMMAND;
    }
    return there > RESP_INLINE_MAX ? fail(p, too_big) : RESP_MORE;
}

/* A line of the array form: a sign, a number, CR and any one byte. */
static enum resp_status find_number_line(struct resp_parser *p, const char *data, size_t len,
                                         uint32_t *line_len, const char *too_big) {
    enum resp_status status = find_line(p, data, len, '\r', line_len, too_big);

    if (status == RESP_COMMAND && len - p->pos < *line_len + 2U)
        return RESP_MORE;
    return status;
}

static enum resp_status read_array_header(struct resp_parser *p, const char *data, size_t len,
                                          const struct resp_limits *limits) {
    uint32_t line_len;
    enum resp_status status =
        find_number_line(p, data, len, &line_len, "Protocol error: too big mbulk count string");
    int64_t count;

    if (status != RESP_COMMAND)
        return status;
    if (!words_int((struct span){data + p->pos + 1, line_len - 1}, &count) || count > RESP_ARGS_MAX)
        return fail(p, "Protocol error: invalid multibulk length");
    if (count > UNAUTHENTICATED_ARGS && limits->unauthenticated)
        return fail(p, "Protocol error: unauthenticated multibulk length");
    if (count > 0 && !has_room(p, count > ARGS_FIRST ? ARGS_FIRST : (uint32_t)count))
        return RESP_NOMEM;
    p->left = count > 0 ? count : 0;
    p->pos += line_len + 2;
    p->scanned = 0;
    return RESP_COMMAND;
}

static enum resp_status fail_expected_bulk(struct resp_parser *p, char got) {
    int n = snprintf(p->error_text, sizeof(p->error_text), "Protocol error: expected '$', got '%c'",
                     got == '\r' || got == '\n' ? ' ' : got);

    ASSERT(n > 0 && (size_t)n < sizeof(p->error_text));
    return fail(p, p->error_text);
}

static enum resp_status read_bulk_header(struct resp_parser *p, const char *data, size_t len,
                                         const struct resp_limits *limits) {
    uint32_t line_len;
    enum resp_status status =
        find_number_line(p, data, len, &line_len, "Protocol error: too big bulk count string");
    const char *line = data + p->pos;
    int64_t bulk_len;

    if (status != RESP_COMMAND)
        return status;
    if (line[0] != '$')
        return fail_expected_bulk(p, line[0]);
    if (!words_int((struct span){line + 1, line_len - 1}, &bulk_len) || bulk_len < 0 ||
        bulk_len > limits->bulk_max)
        return fail(p, "Protocol error: invalid bulk length");
    if (bulk_len > UNAUTHENTICATED_BULK && limits->unauthenticated)
        return fail(p, "Protocol error: unauthenticated bulk length");
    /* Offsets are 32 bits wide, and the argument must end within them. */
    if (bulk_len > (int64_t)UINT32_MAX - p->pos - line_len - 4)
        return fail(p, "Protocol error: invalid bulk length");
    p->bulk_len = bulk_len;
    p->pos += line_len + 2;
    p->scanned = 0;
    return RESP_COMMAND;
}

static enum resp_status wait_for_bulk(struct resp_parser *p, size_t there) {
    if (p->bulk_len < RESP_BIG_MIN || there >= (uint64_t)p->bulk_len)
        return RESP_MORE;
    p->big_len = (uint32_t)p->bulk_len;
    return RESP_BIG;
}

static enum resp_status parse_array(struct resp_parser *p, const char *data, size_t len,
                                    const struct resp_limits *limits) {
    enum resp_status status;

    if (p->left < 0 && (status = read_array_header(p, data, len, limits)) != RESP_COMMAND)
        return status;
    while (p->left > 0) {
        if (p->bulk_len < 0 && (status = read_bulk_header(p, data, len, limits)) != RESP_COMMAND)
            return status;
        if (!has_room(p, p->argc + 1))
            return RESP_NOMEM;
        size_t there = len - p->pos;
        /* The two bytes behind a bulk are passed over, whatever they are, as Redis does. */
        if (there < (uint64_t)p->bulk_len + 2)
            return wait_for_bulk(p, there);
        p->args[p->argc++] = (struct resp_arg){.at = p->pos, .len = (uint32_t)p->bulk_len};
        p->pos += (uint32_t)p->bulk_len + 2;
        p->bulk_len = -1;
        p->left--;
    }
    return RESP_COMMAND;
}

/* Takes whole arguments as long as their form is the usual one. The state it leaves is one that
 * parse_array could have left, between two arguments. */
static inline bool parse_fast(struct resp_parser *p, const char *data, size_t len,
                              const struct resp_limits *limits) {
    if (len < 5)
        return false;
    uint32_t count = (uint32_t)(unsigned char)data[1] - '0';
    if (count - 1 > 8)
        return false;
    const char *c = data + 4;
    if (data[2] != '\r') {
        uint32_t digit = (uint32_t)(unsigned char)data[2] - '0';
        if (digit > 9 || data[3] != '\r')
            return false;
        count = count * 10 + digit;
        c = data + 5;
    }
    int64_t bulk_max = limits->bulk_max;
    if (unlikely(limits->unauthenticated)) {
        if (count > UNAUTHENTICATED_ARGS)
            return false;
        bulk_max = bulk_max < UNAUTHENTICATED_BULK ? bulk_max : UNAUTHENTICATED_BULK;
    }
    if (count > p->args_cap)
        return false;
    const char *end = data + len;
    struct resp_arg *args = p->args;
    uint32_t i = 0;

    for (; i < count; i++) {
        /* Room for "$d\r\n" and the two bytes behind the bulk: every read below stays within `end`.
         */
        if (end - c < 6 || c[0] != '$')
            break;
        const char *digits = c + 1;
        uint32_t bulk_len = (uint32_t)(unsigned char)digits[0] - '0';
        if (bulk_len > 9)
            break;
        const char *at = digits + 1;
        if (unlikely(*at != '\r')) {
            const char *digits_end =
                end - digits > BULK_DIGITS_FAST + 1 ? digits + BULK_DIGITS_FAST : end - 1;
            uint32_t digit;
            while (at < digits_end && (digit = (uint32_t)(unsigned char)*at - '0') <= 9) {
                bulk_len = bulk_len * 10 + digit;
                at++;
            }
            if (*at != '\r' || digits[0] == '0')
                break;
        }
        if (end - at < (int64_t)bulk_len + 4 || bulk_len > bulk_max)
            break;
        at += 2;
        args[i] = (struct resp_arg){.at = (uint32_t)(at - data), .len = bulk_len};
        c = at + bulk_len + 2;
    }
    p->argc = i;
    p->left = count - i;
    p->pos = (uint32_t)(c - data);
    return i == count;
}

static enum resp_status split_words(struct resp_parser *p, char *data, uint32_t len) {
    struct words w = {.from = data, .end = data + len};
    struct span word;
    enum words_status status;

    while ((status = words_next(&w, &word)) == WORDS_WORD) {
        if (!has_room(p, p->argc + 1))
            return RESP_NOMEM;
        p->args[p->argc++] =
            (struct resp_arg){.at = (uint32_t)(word.ptr - data), .len = (uint32_t)word.len};
    }
    return status == WORDS_END ? RESP_COMMAND
                               : fail(p, "Protocol error: unbalanced quotes in request");
}

static enum resp_status parse_inline(struct resp_parser *p, char *data, size_t len) {
    uint32_t line_len;
    enum resp_status status =
        find_line(p, data, len, '\n', &line_len, "Protocol error: too big inline request");

    p->is_inline = true;
    if (status != RESP_COMMAND)
        return status;
    uint32_t text_len = line_len > 0 && data[line_len - 1] == '\r' ? line_len - 1 : line_len;
    status = split_words(p, data, text_len);
    if (status == RESP_COMMAND)
        p->pos = line_len + 1;
    return status;
}

enum resp_status resp_parse(struct resp_parser *p, char *data, size_t len,
                            const struct resp_limits *limits) {
    if (unlikely(p->is_inline))
        return parse_inline(p, data, len);
    if (p->left < 0) {
        if (unlikely(len == 0))
            return RESP_MORE;
        if (unlikely(data[0] != '*'))
            return parse_inline(p, data, len);
        if (p->scanned == 0 && likely(parse_fast(p, data, len, limits)))
            return RESP_COMMAND;
    }
    return parse_array(p, data, len, limits);
}

void resp_big_done(struct resp_parser *p) {
    ASSERT(p->left > 0);
    ASSERT(p->bulk_len >= RESP_BIG_MIN);
    ASSERT(p->argc < p->args_cap);
    p->args[p->argc++] = (struct resp_arg){.at = p->pos, .len = (uint32_t)p->bulk_len};
    p->bulk_len = -1;
    p->left--;
}
