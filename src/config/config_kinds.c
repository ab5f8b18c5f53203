/* config_kinds.c: how values of each kind are read, shown, written and explained. */
#include "config_impl.h"

#include "anax/words.h"
#include "shards/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void text_addf(struct text *t, const char *fmt, ...) {
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(t->to + t->len, t->size - t->len, fmt, args);
    va_end(args);
    ASSERT(n >= 0);
    size_t room = t->size - t->len - 1;
    t->len += (size_t)n < room ? (size_t)n : room;
}

/* --- numbers --- */

static enum problem store_bounded(const struct config_row *row, void *field, int64_t v) {
    if (row->flags & CONFIG_CLAMPED && v >= 0 && v <= INT32_MAX)
        v = v < row->min ? row->min : v > row->max ? row->max : v;
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

/* text_add_bytes: with the largest unit that takes no fraction, as people write it. */
static void text_add_bytes(struct text *out, int64_t bytes) {
    static const struct {
        const char *name;
        int64_t bytes;
    } units[] = {{"gb", 1 << 30}, {"mb", 1 << 20}, {"kb", 1 << 10}, {"", 1}};
    size_t u = 0;

    while (bytes == 0 ? units[u].bytes != 1 : bytes % units[u].bytes != 0)
        u++;
    text_addf(out, "%" PRId64 "%s", bytes / units[u].bytes, units[u].name);
}

static void memory_line(const struct config_row *row, const void *field, unsigned part,
                        struct text *out) {
    (void)row;
    (void)part;
    text_add_bytes(out, *(const int64_t *)field);
}

static void memory_allowed(const struct config_row *row, struct text *out) {
    text_addf(out, "a number of bytes such as 64000, 100mb or 2gb, at least %" PRId64, row->min);
}

/* Bytes, or "20%", which is kept as -20. */
static enum problem memory_or_percent_set(const struct config_row *row, void *field,
                                          const struct span *values, unsigned n) {
    struct span s = values[0];
    int64_t v;

    (void)n;
    if (s.len == 0 || s.ptr[s.len - 1] != '%')
        return read_memory(s, &v) ? store_bounded(row, field, v) : NOT_MEMORY_OR_PERCENT;
    s.len--;
    if (!words_int(s, &v) || v < 0)
        return NOT_MEMORY_OR_PERCENT;
    if (v > -row->min)
        return PERCENT_TOO_LARGE;
    *(int64_t *)field = -v;
    return FINE;
}

static void memory_or_percent_get(const struct config_row *row, const void *field,
                                  struct text *out) {
    int64_t v = *(const int64_t *)field;

    if (v < 0)
        text_addf(out, "%" PRId64 "%%", -v);
    else
        int_get(row, field, out);
}

static void memory_or_percent_line(const struct config_row *row, const void *field, unsigned part,
                                   struct text *out) {
    if (*(const int64_t *)field < 0)
        memory_or_percent_get(row, field, out);
    else
        memory_line(row, field, part, out);
}

static void memory_or_percent_allowed(const struct config_row *row, struct text *out) {
    text_addf(out,
              "a number of bytes such as 64000 or 100mb, or a percentage from 0%% to %" PRId64 "%%",
              -row->min);
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

void config_add_choices(const struct config_row *row, struct text *out) {
    for (int i = 0; row->choices[i] != NULL; i++)
        text_addf(out, "%s%s", i == 0 ? "" : ", ", row->choices[i]);
}

static void enum_allowed(const struct config_row *row, struct text *out) {
    text_addf(out, "one of ");
    config_add_choices(row, out);
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

/* CONFIG SET gives several values as one, split at each single space as Redis does: two spaces, or one at the
 * end, have an empty word behind them. False: too many. */
static bool split(const struct span *values, unsigned n, struct span words[CONFIG_VALUES_MAX],
                  unsigned *count) {
    struct span rest = values[0];

    *count = 0;
    if (n > 1) {
        ASSERT(n <= CONFIG_VALUES_MAX);
        memcpy(words, values, n * sizeof *words);
        *count = n;
        return true;
    }
    for (bool more = rest.len > 0; more;) {
        if (*count == CONFIG_VALUES_MAX)
            return false;
        const char *space = memchr(rest.ptr, ' ', rest.len);
        size_t len = space == NULL ? rest.len : (size_t)(space - rest.ptr);
        words[(*count)++] = (struct span){rest.ptr, len};
        more = space != NULL;
        rest = (struct span){rest.ptr + len + more, rest.len - len - more};
    }
    return true;
}

/* --- client-output-buffer-limit: any number of "class hard soft seconds" --- */

bool config_read_class(struct span word, enum config_class *out) {
    if (span_is(word, "normal"))
        *out = CONFIG_CLASS_NORMAL;
    else if (span_is(word, "replica") || span_is(word, "slave"))
        *out = CONFIG_CLASS_REPLICA;
    else if (span_is(word, "pubsub"))
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
        if (!config_read_class(words[i], &class))
            return BAD_CLASS;
        if (!read_memory(words[i + 1], &limit.hard_bytes) ||
            !read_memory(words[i + 2], &limit.soft_bytes) ||
            !words_int(words[i + 3], &limit.soft_s) || limit.soft_s < 0)
            return BAD_LIMIT;
        limits[class] = limit;
    }
    return FINE;
}

static enum problem limit_set(const struct config_row *row, void *field, const struct span *values,
                              unsigned n) {
    struct span words[CONFIG_VALUES_MAX];
    unsigned count;

    (void)row;
    return split(values, n, words, &count) ? limit_set_words(field, words, count) : LIMIT_COUNT;
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

static void limit_line(const struct config_row *row, const void *field, unsigned part,
                       struct text *out) {
    static const char *const names[CONFIG_CLASSES] = {"normal", "replica", "pubsub"};
    const struct config_output_limit *limit = (const struct config_output_limit *)field + part;

    (void)row;
    text_addf(out, "%s ", names[part]);
    text_add_bytes(out, limit->hard_bytes);
    text_addf(out, " ");
    text_add_bytes(out, limit->soft_bytes);
    text_addf(out, " %" PRId64, limit->soft_s);
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

/* --- latency-tracking-info-percentiles: any number of "99.9" --- */

static enum problem percentile_add(struct span word, struct text *out) {
    enum { DIGITS_MAX = 63 };
    char digits[DIGITS_MAX + 1], *end;

    if (word.len > DIGITS_MAX)
        return BAD_PERCENTILE;
    memcpy(digits, word.ptr, word.len);
    digits[word.len] = '\0';
    double v = strtod(digits, &end);
    if (end == digits || *end != '\0' || isnan(v))
        return BAD_PERCENTILE;
    if (v < 0 || v > 100)
        return PERCENTILE_RANGE;
    text_addf(out, "%s%.10g", out->len == 0 ? "" : " ", v == 0 ? 0 : v);
    return out->len + 1 < out->size ? FINE : TOO_LONG;
}

/* Stored as it is shown: the numbers in their shortest form with a space between them. */
static enum problem percentiles_set(const struct config_row *row, void *field,
                                    const struct span *values, unsigned n) {
    char joined[CONFIG_TEXT_MAX + 1];
    struct text out = {field, 0, (size_t)row->max + 1};
    enum problem problem = text_set(row, joined, values, n);

    *(char *)field = '\0';
    for (char *rest = joined, *word; problem == FINE && (word = strsep(&rest, " ")) != NULL;)
        if (*word != '\0')
            problem = percentile_add((struct span){word, strlen(word)}, &out);
    return problem;
}

static void percentiles_allowed(const struct config_row *row, struct text *out) {
    (void)row;
    text_addf(out, "numbers from 0 to 100, such as 50 99 99.9");
}

/* --- save, notify-keyspace-events, oom-score-adj-values --- */

/* save_set: adds to what is there. */
static enum problem save_set(const struct config_row *row, void *field, const struct span *values,
                             unsigned n) {
    struct config_saves *saves = field;
    struct span words[CONFIG_VALUES_MAX];
    unsigned count;
    int64_t v;

    (void)row;
    if (!split(values, n, words, &count) || count % 2 != 0)
        return BAD_SAVE;
    if (count == 0)
        saves->count = 0;
    if (count / 2 > CONFIG_SAVES_MAX - saves->count)
        return BAD_SAVE;
    for (unsigned i = 0; i < count; i++) {
        struct config_save *to = &saves->point[saves->count + i / 2];
        if (!words_int(words[i], &v) || v > INT32_MAX || v < (i % 2 == 0 ? 1 : 0))
            return BAD_SAVE;
        *(i % 2 == 0 ? &to->s : &to->changes) = v;
    }
    saves->count += count / 2;
    memset(saves->point + saves->count, 0,
           (CONFIG_SAVES_MAX - saves->count) * sizeof saves->point[0]);
    return FINE;
}

static void save_get(const struct config_row *row, const void *field, struct text *out) {
    const struct config_saves *saves = field;
    (void)row;
    for (unsigned i = 0; i < saves->count; i++)
        text_addf(out, "%s%" PRId64 " %" PRId64, i == 0 ? "" : " ", saves->point[i].s,
                  saves->point[i].changes);
}

static void save_allowed(const struct config_row *row, struct text *out) {
    (void)row;
    text_addf(out, "pairs of seconds and changes, such as 3600 1 300 100");
}

static enum problem events_set(const struct config_row *row, void *field, const struct span *values,
                               unsigned n) {
    for (size_t i = 0; i < values[0].len; i++)
        if (memchr(CONFIG_EVENT_CLASSES, values[0].ptr[i], sizeof CONFIG_EVENT_CLASSES - 1) == NULL)
            return BAD_EVENT_CLASS;
    return text_set(row, field, values, n);
}

static void events_allowed(const struct config_row *row, struct text *out) {
    (void)row;
    text_addf(out, "characters out of %s", CONFIG_EVENT_CLASSES);
}

static enum problem oom_values_set(const struct config_row *row, void *field,
                                   const struct span *values, unsigned n) {
    enum { CLASSES = 3 }; /* of processes, in Redis: the main one, replicas, children */
    struct span words[CONFIG_VALUES_MAX];
    unsigned count;
    int64_t v;

    if (!split(values, n, words, &count) || count != CLASSES)
        return WRONG_COUNT;
    for (unsigned i = 0; i < count; i++)
        if (!words_int(words[i], &v) || v < row->min || v > row->max)
            return BAD_OOM_VALUE;
    return text_set(row, field, values, n);
}

static void oom_values_allowed(const struct config_row *row, struct text *out) {
    text_addf(out, "three numbers from %" PRId64 " to %" PRId64, row->min, row->max);
}

/* --- dir, dbfilename --- */

/* Kept as an absolute path: it does not change its meaning. */
static enum problem dir_set(const struct config_row *row, void *field, const struct span *values,
                            unsigned n) {
    char given[CONFIG_TEXT_MAX + 1];
    enum problem problem = text_set(row, given, values, n);

    if (problem != FINE)
        return problem;
    char *path = realpath(given, NULL);
    if (path == NULL)
        return BAD_DIRECTORY;
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && access(path, X_OK) == 0;
    int why = errno;
    if (fd >= 0)
        (void)close(fd);
    if (!good)
        problem = BAD_DIRECTORY;
    else if (strlen(path) > CONFIG_TEXT_MAX)
        problem = TOO_LONG;
    else
        memcpy(field, path, strlen(path) + 1);
    free(path);
    errno = why;
    return problem;
}

static void dir_allowed(const struct config_row *row, struct text *out) {
    (void)row;
    text_addf(out, "a directory that can be entered");
}

static enum problem name_set(const struct config_row *row, void *field, const struct span *values,
                             unsigned n) {
    return memchr(values[0].ptr, '/', values[0].len) != NULL ? NOT_A_NAME
                                                             : text_set(row, field, values, n);
}

static void name_allowed(const struct config_row *row, struct text *out) {
    text_addf(out, "a file name without a directory, of at most %" PRId64 " bytes", row->max);
}

const struct kind dir_kind = {dir_set, text_get, dir_allowed, NULL, 0, false};
const struct kind name_kind = {name_set, text_get, name_allowed, NULL, 0, false};
const struct kind int_kind = {int_set, int_get, int_allowed, NULL, 0, false};
const struct kind octal_kind = {octal_set, octal_get, octal_allowed, NULL, 0, false};
const struct kind memory_kind = {memory_set, int_get, memory_allowed, memory_line, 0, false};
const struct kind memory_or_percent_kind = {memory_or_percent_set,
                                            memory_or_percent_get,
                                            memory_or_percent_allowed,
                                            memory_or_percent_line,
                                            0,
                                            false};
const struct kind bool_kind = {bool_set, bool_get, bool_allowed, NULL, 0, false};
const struct kind enum_kind = {enum_set, enum_get, enum_allowed, NULL, 0, false};
const struct kind text_kind = {text_set, text_get, text_allowed, NULL, 0, false};
const struct kind limit_kind = {limit_set,  limit_get,      limit_allowed,
                                limit_line, CONFIG_CLASSES, false};
const struct kind cpus_kind = {cpus_set, text_get, cpus_allowed, NULL, 0, false};
const struct kind percentiles_kind = {
    percentiles_set, text_get, percentiles_allowed, NULL, 0, false};
const struct kind save_kind = {save_set, save_get, save_allowed, NULL, 0, true};
const struct kind events_kind = {events_set, text_get, events_allowed, NULL, 0, false};
const struct kind oom_values_kind = {oom_values_set, text_get, oom_values_allowed, NULL, 0, false};
