#include "anax/config.h"
#include "anax/glob.h"
#include "anax/words.h"
#include "config_impl.h"
#include "shards/assert.h"
#include "shards/log.h"
#include "shards/shard.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

enum row_flags {
    CONFIG_MUTABLE = 1 << 0, /* CONFIG SET takes it */
    CONFIG_MULTI = 1 << 1,   /* takes several values on one line */
    CONFIG_FIXED = 1 << 2,   /* only the default can be had so far */
    CONFIG_SECRET = 1 << 3,  /* errors do not repeat the value */
    CONFIG_MAY_LACK_VALUE = 1 << 4,
};

enum problem {
    FINE,
    WRONG_COUNT,
    NOT_A_NUMBER,
    OUT_OF_RANGE,
    NOT_MEMORY,
    NOT_A_CHOICE,
    TOO_LONG,
    ZERO_BYTE,
    BAD_CLASS,
    BAD_LIMIT,
    LIMIT_COUNT,
    BAD_CPUS,
    NOT_AVAILABLE,
};

enum { VALUE_TEXT_MAX = CONFIG_TEXT_MAX + 1 };

/* A text that is written piece by piece and cut where it would not fit. */
struct text {
    char *to;
    size_t len, size;
};

static void text_addf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

static void text_addf(struct text *t, const char *fmt, ...) {
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(t->to + t->len, t->size - t->len, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    size_t room = t->size - t->len - 1;
    t->len += (size_t)n < room ? (size_t)n : room;
}

/* How values of one kind are read, shown, and explained to who got one wrong. */
struct kind {
    enum problem (*set)(const struct config_row *row, void *field, const struct span *values,
                        unsigned n);
    void (*get)(const struct config_row *row, const void *field, struct text *out);
    void (*allowed)(const struct config_row *row, struct text *out);
};

struct config_row {
    const char *name;
    const struct kind *kind;
    unsigned flags;
    size_t at; /* of the field in struct config */
    const char *initial;
    int64_t min, max;           /* of a number, or the bytes of a text */
    const char *const *choices; /* names by value, up to NULL */
};

/* --- numbers --- */

static enum problem store_bounded(const struct config_row *row, void *field, int64_t v) {
    if (v < row->min || v > row->max)
        return OUT_OF_RANGE;
    *(int64_t *)field = v;
    return FINE;
}

static enum problem int_set(const struct config_row *row, void *field, const struct span *values,
                            unsigned n) {
    int64_t v;

    (void)n;
    return words_int(values[0], &v) ? store_bounded(row, field, v) : NOT_A_NUMBER;
}

static void int_get(const struct config_row *row, const void *field, struct text *out) {
    (void)row;
    text_addf(out, "%" PRId64, *(const int64_t *)field);
}

static void int_allowed(const struct config_row *row, struct text *out) {
    text_addf(out, "a number from %" PRId64 " to %" PRId64, row->min, row->max);
}

static enum problem octal_set(const struct config_row *row, void *field, const struct span *values,
                              unsigned n) {
    int64_t v = 0;

    (void)n;
    if (values[0].len == 0 || values[0].len > 20)
        return NOT_A_NUMBER;
    for (size_t i = 0; i < values[0].len; i++) {
        char c = values[0].ptr[i];
        if (c < '0' || c > '7')
            return NOT_A_NUMBER;
        v = v * 8 + (c - '0');
    }
    return store_bounded(row, field, v);
}

static void octal_get(const struct config_row *row, const void *field, struct text *out) {
    (void)row;
    text_addf(out, "%" PRIo64, (uint64_t) * (const int64_t *)field);
}

static void octal_allowed(const struct config_row *row, struct text *out) {
    text_addf(out, "an octal number from %" PRIo64 " to %" PRIo64, (uint64_t)row->min,
              (uint64_t)row->max);
}

/* Bytes: digits and a unit; k is 1000 and kb is 1024, as in redis.conf. No digits at all are 0, as
 * there. */
static bool read_memory(struct span s, int64_t *out) {
    static const struct {
        const char *name;
        int64_t bytes;
    } units[] = {{"", 1},        {"b", 1},        {"k", 1000},       {"kb", 1 << 10},
                 {"m", 1000000}, {"mb", 1 << 20}, {"g", 1000000000}, {"gb", 1 << 30}};
    int64_t v = 0;
    size_t i = 0;

    for (; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, s.ptr[i] - '0', &v))
            return false;
    for (size_t u = 0; u < COUNT_OF(units); u++)
        if (span_is((struct span){s.ptr + i, s.len - i}, units[u].name))
            return !__builtin_mul_overflow(v, units[u].bytes, out);
    return false;
}

static enum problem memory_set(const struct config_row *row, void *field, const struct span *values,
                               unsigned n) {
    int64_t v;

    (void)n;
    return read_memory(values[0], &v) ? store_bounded(row, field, v) : NOT_MEMORY;
}

static void memory_allowed(const struct config_row *row, struct text *out) {
    text_addf(out, "a number of bytes such as 64000, 100mb or 2gb, at least %" PRId64, row->min);
}

/* --- words --- */

static enum problem bool_set(const struct config_row *row, void *field, const struct span *values,
                             unsigned n) {
    (void)row;
    (void)n;
    bool yes = span_is(values[0], "yes");
    if (!yes && !span_is(values[0], "no"))
        return NOT_A_CHOICE;
    *(bool *)field = yes;
    return FINE;
}

static void bool_get(const struct config_row *row, const void *field, struct text *out) {
    (void)row;
    text_addf(out, "%s", *(const bool *)field ? "yes" : "no");
}

static void bool_allowed(const struct config_row *row, struct text *out) {
    (void)row;
    text_addf(out, "yes or no");
}

static enum problem enum_set(const struct config_row *row, void *field, const struct span *values,
                             unsigned n) {
    (void)n;
    for (int i = 0; row->choices[i] != NULL; i++) {
        if (span_is(values[0], row->choices[i])) {
            *(int *)field = i;
            return FINE;
        }
    }
    return NOT_A_CHOICE;
}

static void enum_get(const struct config_row *row, const void *field, struct text *out) {
    text_addf(out, "%s", row->choices[*(const int *)field]);
}

static void add_choices(const struct config_row *row, struct text *out) {
    for (int i = 0; row->choices[i] != NULL; i++)
        text_addf(out, "%s%s", i == 0 ? "" : ", ", row->choices[i]);
}

static void enum_allowed(const struct config_row *row, struct text *out) {
    text_addf(out, "one of ");
    add_choices(row, out);
}

/* Several values become one text with a space between them. */
static enum problem text_set(const struct config_row *row, void *field, const struct span *values,
                             unsigned n) {
    char *to = field;
    size_t len = 0;

    for (unsigned i = 0; i < n; i++) {
        if (values[i].len + (i > 0) > (size_t)row->max - len)
            return TOO_LONG;
        if (memchr(values[i].ptr, '\0', values[i].len) != NULL)
            return ZERO_BYTE;
        if (i > 0)
            to[len++] = ' ';
        memcpy(to + len, values[i].ptr, values[i].len);
        len += values[i].len;
    }
    to[len] = '\0';
    return FINE;
}

static void text_get(const struct config_row *row, const void *field, struct text *out) {
    (void)row;
    text_addf(out, "%s", (const char *)field);
}

static void text_allowed(const struct config_row *row, struct text *out) {
    text_addf(out, "a text of at most %" PRId64 " bytes", row->max);
}

/* --- client-output-buffer-limit: any number of "class hard soft seconds" --- */

static bool read_class(struct span s, enum config_class *out) {
    if (span_is(s, "normal"))
        *out = CONFIG_CLASS_NORMAL;
    else if (span_is(s, "replica") || span_is(s, "slave"))
        *out = CONFIG_CLASS_REPLICA;
    else if (span_is(s, "pubsub"))
        *out = CONFIG_CLASS_PUBSUB;
    else
        return false;
    return true;
}

static enum problem limit_set_words(struct config_output_limit *limits, const struct span *words,
                                    unsigned n) {
    if (n % 4 != 0)
        return LIMIT_COUNT;
    for (unsigned i = 0; i < n; i += 4) {
        enum config_class class;
        struct config_output_limit limit;
        if (!read_class(words[i], &class))
            return BAD_CLASS;
        if (!read_memory(words[i + 1], &limit.hard_bytes) ||
            !read_memory(words[i + 2], &limit.soft_bytes) ||
            !words_int(words[i + 3], &limit.soft_s) || limit.soft_s < 0)
            return BAD_LIMIT;
        limits[class] = limit;
    }
    return FINE;
}

/* CONFIG SET gives all of it as one value, split at each single space as Redis does. */
static enum problem limit_set(const struct config_row *row, void *field, const struct span *values,
                              unsigned n) {
    struct span words[CONFIG_VALUES_MAX];
    const char *c = values[0].ptr;
    size_t left = values[0].len;
    unsigned count = 0;

    (void)row;
    if (n > 1)
        return limit_set_words(field, values, n);
    while (left > 0 && count < CONFIG_VALUES_MAX) {
        const char *space = memchr(c, ' ', left);
        size_t len = space == NULL ? left : (size_t)(space - c);
        words[count++] = (struct span){c, len};
        size_t taken = space == NULL ? len : len + 1;
        c += taken;
        left -= taken;
    }
    return left > 0 ? LIMIT_COUNT : limit_set_words(field, words, count);
}

static void limit_get(const struct config_row *row, const void *field, struct text *out) {
    /* Redis still shows the old word for replica, and clients look for it. */
    static const char *const names[CONFIG_CLASSES] = {"normal", "slave", "pubsub"};
    const struct config_output_limit *limits = field;

    (void)row;
    for (int i = 0; i < CONFIG_CLASSES; i++)
        text_addf(out, "%s%s %" PRId64 " %" PRId64 " %" PRId64, i == 0 ? "" : " ", names[i],
                  limits[i].hard_bytes, limits[i].soft_bytes, limits[i].soft_s);
}

static void limit_allowed(const struct config_row *row, struct text *out) {
    (void)row;
    text_addf(out,
              "normal, replica or pubsub, then a hard limit and a soft limit in bytes (such as "
              "32mb) and seconds");
}

/* --- shard-cpus --- */

static bool read_cpu(const char **c, long *out) {
    if (**c < '0' || **c > '9')
        return false;
    char *end;
    *out = strtol(*c, &end, 10);
    *c = end;
    return *out <= CONFIG_CPU_MAX;
}

/* Reads "0,2-5"; at most `count` of them go to cpus, *found is how many there are. */
static bool read_cpus(const char *c, int *cpus, unsigned count, unsigned *found) {
    long first, last;

    *found = 0;
    for (;;) {
        if (!read_cpu(&c, &first))
            return false;
        last = first;
        if (*c == '-') {
            c++;
            if (!read_cpu(&c, &last) || last < first)
                return false;
        }
        for (; first <= last; first++, ++*found)
            if (*found < count)
                cpus[*found] = (int)first;
        if (*c == '\0')
            return true;
        if (*c++ != ',')
            return false;
    }
}

static enum problem cpus_set(const struct config_row *row, void *field, const struct span *values,
                             unsigned n) {
    unsigned found;
    enum problem problem = text_set(row, field, values, n);

    if (problem == FINE && values[0].len > 0 && !read_cpus(field, NULL, 0, &found))
        problem = BAD_CPUS;
    return problem;
}

static void cpus_allowed(const struct config_row *row, struct text *out) {
    (void)row;
    text_addf(out, "numbers of CPUs from 0 to %d, such as 0,2 or 0-3", (int)CONFIG_CPU_MAX);
}

bool config_cpus(const struct config *c, int *cpus, unsigned count) {
    unsigned found;

    if (c->shard_cpus[0] == '\0')
        return false;
    bool valid = read_cpus(c->shard_cpus, cpus, count, &found);
    ASSERT(valid);
    for (unsigned i = found; i < count; i++)
        cpus[i] = cpus[i - found];
    return true;
}

/* --- the table --- */

static const struct kind int_kind = {int_set, int_get, int_allowed};
static const struct kind octal_kind = {octal_set, octal_get, octal_allowed};
static const struct kind memory_kind = {memory_set, int_get, memory_allowed};
static const struct kind bool_kind = {bool_set, bool_get, bool_allowed};
static const struct kind enum_kind = {enum_set, enum_get, enum_allowed};
static const struct kind text_kind = {text_set, text_get, text_allowed};
static const struct kind limit_kind = {limit_set, limit_get, limit_allowed};
static const struct kind cpus_kind = {cpus_set, text_get, cpus_allowed};

static const char *const log_levels[] = {
    [LOG_DEBUG] = "debug",     [LOG_VERBOSE] = "verbose", [LOG_NOTICE] = "notice",
    [LOG_WARNING] = "warning", [LOG_NOTHING] = "nothing", NULL};
static const char *const policies[] = {[CONFIG_VOLATILE_LRU] = "volatile-lru",
                                       [CONFIG_VOLATILE_LFU] = "volatile-lfu",
                                       [CONFIG_VOLATILE_RANDOM] = "volatile-random",
                                       [CONFIG_VOLATILE_TTL] = "volatile-ttl",
                                       [CONFIG_ALLKEYS_LRU] = "allkeys-lru",
                                       [CONFIG_ALLKEYS_LFU] = "allkeys-lfu",
                                       [CONFIG_ALLKEYS_RANDOM] = "allkeys-random",
                                       [CONFIG_NOEVICTION] = "noeviction",
                                       NULL};
static const char *const backends[] = {
    [CONFIG_IO_AUTO] = "auto", [CONFIG_IO_URING] = "uring", [CONFIG_IO_EPOLL] = "epoll", NULL};

#define AT(field)         offsetof(struct config, field)
#define TEXT_BYTES(field) ((int64_t)sizeof(((struct config *)NULL)->field) - 1)

#define INT(name, field, initial, low, high, flags)                                                \
    { name, &int_kind, flags, AT(field), initial, low, high, NULL }
#define OCTAL(name, field, initial, low, high, flags)                                              \
    { name, &octal_kind, flags, AT(field), initial, low, high, NULL }
#define MEMORY(name, field, initial, low, flags)                                                   \
    { name, &memory_kind, flags, AT(field), initial, low, INT64_MAX, NULL }
#define BOOL(name, field, initial, flags)                                                          \
    { name, &bool_kind, flags, AT(field), initial, 0, 1, NULL }
#define ENUM(name, field, initial, choices, flags)                                                 \
    { name, &enum_kind, flags, AT(field), initial, 0, 0, choices }
#define TEXT(name, field, initial, flags)                                                          \
    { name, &text_kind, flags, AT(field), initial, 0, TEXT_BYTES(field), NULL }

static const struct config_row rows[] = {
    TEXT("bind", bind, "127.0.0.1", CONFIG_MULTI),
    INT("port", port, "6379", 0, 65535, 0),
    INT("tcp-backlog", tcp_backlog, "511", 0, INT32_MAX, 0),
    TEXT("unixsocket", unixsocket, "", 0),
    OCTAL("unixsocketperm", unixsocketperm, "0", 0, 0777, 0),
    INT("timeout", timeout_s, "0", 0, INT32_MAX, CONFIG_MUTABLE),
    INT("tcp-keepalive", tcp_keepalive_s, "300", 0, INT32_MAX, CONFIG_MUTABLE),
    INT("maxclients", maxclients, "10000", 1, UINT32_MAX, CONFIG_MUTABLE),
    MEMORY("proto-max-bulk-len", bulk_bytes_max, "512mb", 1 << 20, CONFIG_MUTABLE),
    MEMORY("client-query-buffer-limit", query_bytes_max, "1gb", 1 << 20, CONFIG_MUTABLE),
    {"client-output-buffer-limit", &limit_kind, CONFIG_MUTABLE | CONFIG_MULTI, AT(output_limit),
     "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", 0, 0, NULL},
    BOOL("daemonize", daemonize, "no", 0),
    TEXT("pidfile", pidfile, "", 0),
    TEXT("logfile", logfile, "", 0),
    ENUM("loglevel", loglevel, "notice", log_levels, CONFIG_MUTABLE),
    INT("databases", databases, "16", 1, 65536, 0),
    MEMORY("maxmemory", maxmemory_bytes, "0", 0, CONFIG_MUTABLE),
    ENUM("maxmemory-policy", maxmemory_policy, "noeviction", policies,
         CONFIG_MUTABLE | CONFIG_FIXED),
    INT("hz", hz, "10", 1, 500, CONFIG_MUTABLE),
    INT("active-expire-effort", active_expire_effort, "1", 1, 10, CONFIG_MUTABLE),
    TEXT("save", save, "", CONFIG_MUTABLE | CONFIG_MULTI | CONFIG_FIXED | CONFIG_MAY_LACK_VALUE),
    BOOL("appendonly", appendonly, "no", CONFIG_MUTABLE | CONFIG_FIXED),
    TEXT("requirepass", requirepass, "", CONFIG_MUTABLE | CONFIG_SECRET),
    INT("shards", shards, "0", 0, SHARDS_MAX, 0),
    {"shard-cpus", &cpus_kind, 0, AT(shard_cpus), "", 0, TEXT_BYTES(shard_cpus), NULL},
    ENUM("io", io, "auto", backends, 0),
    BOOL("shard-borrow", shard_borrow, "yes", 0),
    BOOL("disable-thp", disable_thp, "no", 0),
};

static void *field_of(const struct config_row *row, struct config *c) {
    return (char *)c + row->at;
}

static void show(const struct config_row *row, const struct config *c, struct text *out) {
    row->kind->get(row, (const char *)c + row->at, out);
}

static enum problem apply(const struct config_row *row, struct config *c, const struct span *values,
                          unsigned n) {
    if (n == 0 || (n > 1 && !(row->flags & CONFIG_MULTI)))
        return WRONG_COUNT;
    enum problem problem = row->kind->set(row, field_of(row, c), values, n);
    if (problem != FINE || !(row->flags & CONFIG_FIXED))
        return problem;
    char buf[VALUE_TEXT_MAX];
    struct text text = {buf, 0, sizeof(buf)};
    show(row, c, &text);
    return strcmp(buf, row->initial) == 0 ? FINE : NOT_AVAILABLE;
}

void config_defaults(struct config *c) {
    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span initial = {rows[i].initial, strlen(rows[i].initial)};
        enum problem problem = apply(&rows[i], c, &initial, 1);
        ASSERT(problem == FINE);
    }
}

struct config *config_clone(const struct config *c) {
    struct config *copy = malloc(sizeof(*copy));

    if (copy != NULL)
        *copy = *c;
    return copy;
}

void config_free(struct config *c) {
    free(c);
}

const struct config_row *config_row_find(struct span name) {
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (span_is(name, rows[i].name))
            return &rows[i];
    return NULL;
}

bool config_row_set(const struct config_row *row, struct config *c, const struct span *values,
                    unsigned n, struct config_error *e) {
    enum problem problem = apply(row, c, values, n);
    struct text out = {e->text, 0, sizeof(e->text)};

    if (problem == FINE)
        return true;
    if (problem == WRONG_COUNT)
        text_addf(&out, "takes one value, ");
    if (problem == NOT_AVAILABLE)
        text_addf(&out, "only '%s' can be had so far", row->initial);
    else if (problem == ZERO_BYTE)
        text_addf(&out, "a text without zero bytes");
    else
        row->kind->allowed(row, &out);
    return false;
}

bool config_row_is_secret(const struct config_row *row) {
    return (row->flags & CONFIG_SECRET) != 0;
}

bool config_row_may_lack_value(const struct config_row *row) {
    return (row->flags & CONFIG_MAY_LACK_VALUE) != 0;
}

/* --- CONFIG GET and SET --- */

static bool has_wildcard(struct span s) {
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '*' || s.ptr[i] == '?' || s.ptr[i] == '[')
            return true;
    return false;
}

/* The name under which the patterns ask for the row; ptr NULL when they do not. */
static struct span asked_as(const struct config_row *row, const struct span *patterns, unsigned n) {
    struct span name = {row->name, strlen(row->name)};

    for (unsigned i = 0; i < n; i++) {
        if (!has_wildcard(patterns[i])) {
            if (span_is(patterns[i], row->name))
                return patterns[i];
        } else if (glob_match(patterns[i], name, true)) {
            return name;
        }
    }
    return (struct span){NULL, 0};
}

void config_get(const struct config *c, const struct span *patterns, unsigned n,
                config_value_fn *fn, void *arg) {
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span name = asked_as(&rows[i], patterns, n);
        if (name.ptr == NULL)
            continue;
        char buf[VALUE_TEXT_MAX];
        struct text text = {buf, 0, sizeof(buf)};
        show(&rows[i], c, &text);
        fn(arg, name, (struct span){buf, text.len});
    }
}

/* Redis's words for a value that CONFIG SET refuses. */
static void add_redis_problem(const struct config_row *row, enum problem problem,
                              struct text *out) {
    switch (problem) {
    case FINE:
        break;
    case WRONG_COUNT:
        text_addf(out, "wrong number of arguments");
        break;
    case NOT_A_NUMBER:
        text_addf(out, "argument couldn't be parsed into an integer");
        break;
    case OUT_OF_RANGE:
        text_addf(out, "argument must be between %" PRId64 " and %" PRId64 " inclusive", row->min,
                  row->max);
        break;
    case NOT_MEMORY:
        text_addf(out, "argument must be a memory value");
        break;
    case NOT_A_CHOICE:
        if (row->choices == NULL) {
            text_addf(out, "argument must be 'yes' or 'no'");
        } else {
            text_addf(out, "argument(s) must be one of the following: ");
            add_choices(row, out);
        }
        break;
    case TOO_LONG:
        text_addf(out, "argument must be at most %" PRId64 " bytes long", row->max);
        break;
    case ZERO_BYTE:
        text_addf(out, "argument must not contain zero bytes");
        break;
    case BAD_CLASS:
        text_addf(out, "Invalid client class specified in buffer limit configuration.");
        break;
    case BAD_LIMIT:
        text_addf(out,
                  "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
        break;
    case LIMIT_COUNT:
        text_addf(out, "Wrong number of arguments in buffer limit configuration.");
        break;
    case BAD_CPUS:
        cpus_allowed(row, out);
        break;
    case NOT_AVAILABLE:
        text_addf(out, "only '%s' can be had so far", row->initial);
        break;
    }
}

/* Names are cut in errors: a client may send anything as one. */
static int shown_len(struct span s) {
    enum { NAME_SHOWN_MAX = 128 };
    return s.len < NAME_SHOWN_MAX ? (int)s.len : NAME_SHOWN_MAX;
}

static bool is_repeated(const struct span *words, unsigned pair) {
    const struct config_row *row = config_row_find(words[pair * 2]);

    for (unsigned i = 0; i < pair; i++)
        if (config_row_find(words[i * 2]) == row)
            return true;
    return false;
}

static bool refuse_set(struct span name, struct text *out, const struct config_row *row,
                       enum problem problem, const char *why) {
    text_addf(out, "CONFIG SET failed (possibly related to argument '%.*s') - %s", shown_len(name),
              name.ptr, why);
    add_redis_problem(row, problem, out);
    return false;
}

bool config_set_many(const struct config *from, const struct span *words, unsigned pairs,
                     struct config *to, struct config_error *e) {
    struct text out = {e->text, 0, sizeof(e->text)};

    e->text[0] = '\0';
    for (unsigned i = 0; i < pairs; i++) {
        struct span name = words[i * 2];
        const struct config_row *row = config_row_find(name);
        if (row == NULL) {
            text_addf(&out, "Unknown option or number of arguments for CONFIG SET - '%.*s'",
                      shown_len(name), name.ptr);
            return false;
        }
        if (!(row->flags & CONFIG_MUTABLE))
            return refuse_set(name, &out, row, FINE, "can't set immutable config");
        if (is_repeated(words, i))
            return refuse_set(name, &out, row, FINE, "duplicate parameter");
    }
    *to = *from;
    for (unsigned i = 0; i < pairs; i++) {
        const struct config_row *row = config_row_find(words[i * 2]);
        enum problem problem = apply(row, to, &words[i * 2 + 1], 1);
        if (problem != FINE)
            return refuse_set(words[i * 2], &out, row, problem, "");
    }
    return true;
}
