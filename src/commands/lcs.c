/* lcs.c: the longest common subsequence of two strings.
 *
 * A table of (|a|+1) x (|b|+1) lengths, filled row by row, where cell (i, j) is the length of the
 * longest common subsequence of a's first i and b's first j bytes. Walking back from its last cell
 * gives the subsequence and its ranges from the end to the beginning, which is the order that Redis
 * replies them in.
 */
#include "str_entry_impl.h"

struct lcs {
    struct span a, b;
    uint32_t *cells; /* row i at i * (b.len + 1) */
    size_t cells_bytes;
    bool want_len, want_ranges, with_match_len;
    int64_t match_len_min;
};

static uint32_t cell(const struct lcs *l, size_t i, size_t j) {
    return l->cells[i * (l->b.len + 1) + j];
}

static bool parse_options(struct ctx *c, struct lcs *l) {
    for (uint32_t i = 3; i < c->argc; i++) {
        struct span word = c->argv[i];
        if (span_is(word, "IDX")) {
            l->want_ranges = true;
        } else if (span_is(word, "LEN")) {
            l->want_len = true;
        } else if (span_is(word, "WITHMATCHLEN")) {
            l->with_match_len = true;
        } else if (span_is(word, "MINMATCHLEN") && i + 1 < c->argc) {
            if (!ctx_get_int(c, ++i, &l->match_len_min))
                return false;
        } else {
            reply_error(&c->reply, ERR_SYNTAX);
            return false;
        }
    }
    if (l->want_len && l->want_ranges) {
        reply_error(&c->reply, "ERR If you want both the length and indexes, please just use IDX.");
        return false;
    }
    return true;
}

static void fill(struct lcs *l) {
    size_t width = l->b.len + 1;
    memset(l->cells, 0, width * sizeof(*l->cells));
    for (size_t i = 1; i <= l->a.len; i++) {
        const uint32_t *above = l->cells + (i - 1) * width;
        uint32_t *row = l->cells + i * width;
        row[0] = 0;
        for (size_t j = 1; j < width; j++) {
            if (l->a.ptr[i - 1] == l->b.ptr[j - 1])
                row[j] = above[j - 1] + 1;
            else
                row[j] = above[j] > row[j - 1] ? above[j] : row[j - 1];
        }
    }
}

/* step_back: moves (i, j) until the two bytes before it match, and then over the whole run of
 * matches; returns the length of the run, 0 at the beginning. */
static size_t step_back(const struct lcs *l, size_t *i, size_t *j) {
    while (*i > 0 && *j > 0 && l->a.ptr[*i - 1] != l->b.ptr[*j - 1]) {
        if (cell(l, *i - 1, *j) > cell(l, *i, *j - 1))
            (*i)--;
        else
            (*j)--;
    }
    size_t run = 0;
    while (*i > 0 && *j > 0 && l->a.ptr[*i - 1] == l->b.ptr[*j - 1]) {
        (*i)--;
        (*j)--;
        run++;
    }
    return run;
}

static void reply_range(struct reply *r, size_t from, size_t len) {
    reply_array(r, 2);
    reply_int(r, (int64_t)from);
    reply_int(r, (int64_t)(from + len - 1));
}

static bool long_enough(const struct lcs *l, size_t run) {
    return l->match_len_min <= 0 || run >= (uint64_t)l->match_len_min;
}

/* reply_ranges: walks twice, since the number of ranges comes first in the reply. */
static void reply_ranges(struct reply *r, const struct lcs *l) {
    size_t ranges = 0, run;
    for (size_t i = l->a.len, j = l->b.len; (run = step_back(l, &i, &j)) > 0;)
        ranges += long_enough(l, run);
    reply_map(r, 2);
    reply_bulk_cstr(r, "matches");
    reply_array(r, ranges);
    for (size_t i = l->a.len, j = l->b.len; (run = step_back(l, &i, &j)) > 0;) {
        if (!long_enough(l, run))
            continue;
        reply_array(r, l->with_match_len ? 3 : 2);
        reply_range(r, i, run);
        reply_range(r, j, run);
        if (l->with_match_len)
            reply_int(r, (int64_t)run);
    }
    reply_bulk_cstr(r, "len");
    reply_int(r, cell(l, l->a.len, l->b.len));
}

/* reply_text: the subsequence itself, written from its end to its beginning. */
static void reply_text(struct ctx *c, const struct lcs *l) {
    size_t left = cell(l, l->a.len, l->b.len);
    struct mem *m = keyspace_mem(c->keyspace);
    struct blob *text = blob_create(m, left);
    if (text == NULL) {
        ctx_oom(c);
        return;
    }
    text->len = left;
    size_t run;
    for (size_t i = l->a.len, j = l->b.len; (run = step_back(l, &i, &j)) > 0;) {
        left -= run;
        memcpy(text->data + left, l->a.ptr + i, run);
    }
    reply_blob(&c->reply, text, 0, text->len);
    blob_unpin(m, text);
}

static void compare(struct ctx *c, struct lcs *l) {
    struct mem *m = keyspace_mem(c->keyspace);
    if (__builtin_mul_overflow((l->a.len + 1) * sizeof(*l->cells), l->b.len + 1, &l->cells_bytes) ||
        l->cells_bytes > LCS_BYTES_MAX) {
        reply_error(&c->reply, "ERR Insufficient memory, transient memory for LCS exceeds "
                               "proto-max-bulk-len");
        return;
    }
    l->cells = mem_alloc(m, l->cells_bytes);
    if (l->cells == NULL) {
        reply_error(&c->reply,
                    "ERR Insufficient memory, failed allocating transient memory for LCS");
        return;
    }
    fill(l);
    if (l->want_ranges)
        reply_ranges(&c->reply, l);
    else if (l->want_len)
        reply_int(&c->reply, cell(l, l->a.len, l->b.len));
    else
        reply_text(c, l);
    mem_free(m, l->cells, l->cells_bytes);
}

static ON_SHARD void lcs_run(struct ctx *c) {
    char scratch[2][STRVAL_INT_BYTES];
    struct lcs l = {.match_len_min = 0};
    struct span *sides[] = {&l.a, &l.b};
    bool strings = true;
    for (uint32_t i = 0; i < 2; i++) {
        struct view v;
        ctx_view(c, 1 + i, &v);
        bool fits = !v.exists || v.value.type == VALUE_STRING;
        *sides[i] = fits ? view_text(&v, scratch[i]) : SPAN("");
        strings = strings && fits;
    }
    if (!strings)
        reply_error(&c->reply, "ERR The specified keys must contain string values");
    else if (parse_options(c, &l))
        compare(c, &l);
}

static const struct across across = {.look = ctx_look_views, .at = 1};

static const struct command rows[] = {
    {"LCS", lcs_run, -3, KEYS(1, 2, 1), CMD_READ, ACL_STRING, "string", "7.0.0", "O(N*M)",
     "Returns the longest common subsequence of two strings, its length or its ranges.",
     .key_access = "RO access",
     .syntax = "key1:key key2:key [LEN] [IDX] [MINMATCHLEN=min-match-len:integer] [WITHMATCHLEN]",
     .across = &across},
};

void lcs_register(void) {
    command_register(rows, COUNT_OF(rows));
}
