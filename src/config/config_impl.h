/* config_impl.h: what the files of this room share: the table of options and the kinds of values.
 *
 * Why         config_kinds.c knows values: how they are read, shown and written; config.c which
 *             options there are; config_parse.c where words come from; config_rewrite.c where they
 *             go.
 */
#ifndef ANAX_CONFIG_IMPL_H
#define ANAX_CONFIG_IMPL_H

#include "anax/config.h"
#include <stddef.h>

enum row_flags {
    CONFIG_MUTABLE = 1 << 0, /* CONFIG SET takes it */
    CONFIG_MULTI = 1 << 1,   /* takes several values on one line */
    CONFIG_FIXED = 1 << 2,   /* only the default can be had so far */
    CONFIG_SECRET = 1 << 3,  /* errors do not repeat the value */
    CONFIG_MAY_LACK_VALUE = 1 << 4,
    CONFIG_UNUSED = 1 << 5,    /* taken, so that files of Redis load, but nothing looks at it yet */
    CONFIG_ALIAS = 1 << 6,     /* another name for the field of an earlier row */
    CONFIG_CLAMPED = 1 << 8,   /* a number out of bounds becomes the bound, as in Redis */
    CONFIG_PROTECTED = 1 << 7, /* names a file: for CONFIG SET enable-protected-configs decides */
};

enum problem {
    FINE,
    WRONG_COUNT,
    NOT_A_NUMBER,
    OUT_OF_RANGE,
    NOT_MEMORY,
    NOT_MEMORY_OR_PERCENT,
    PERCENT_TOO_LARGE,
    NOT_A_CHOICE,
    TOO_LONG,
    ZERO_BYTE,
    BAD_CLASS,
    BAD_LIMIT,
    LIMIT_COUNT,
    BAD_CPUS,
    BAD_PERCENTILE,
    PERCENTILE_RANGE,
    BAD_TEMPLATE,
    BAD_SAVE,
    BAD_DIRECTORY, /* errno says why */
    NOT_A_NAME,
    BAD_EVENT_CLASS,
    BAD_OOM_VALUE,
    NOT_AVAILABLE,
};

enum { VALUE_TEXT_MAX = CONFIG_TEXT_MAX + 1 };

/* A text that is written piece by piece and cut where it would not fit. */
struct text {
    char *to;
    size_t len, size;
};

void text_addf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);

struct config_row;

/* How values of one kind are read, shown, and explained to who got one wrong. `line` is what a file
 * says for one part of the value, where that is not what CONFIG GET shows: client-output-buffer-limit
 * has a part, and a line, for each class. */
struct kind {
    enum problem (*set)(const struct config_row *row, void *field, const struct span *values,
                        unsigned n);
    void (*get)(const struct config_row *row, const void *field, struct text *out);
    void (*allowed)(const struct config_row *row, struct text *out);
    void (*line)(const struct config_row *row, const void *field, unsigned part, struct text *out);
    unsigned parts; /* 0: one */
    bool adds;      /* another line adds to the value; an empty one takes it back to nothing */
};
extern const struct kind int_kind, octal_kind, memory_kind, memory_or_percent_kind, bool_kind,
    enum_kind, text_kind, limit_kind, cpus_kind, percentiles_kind, template_kind, save_kind,
    events_kind, oom_values_kind, dir_kind, name_kind;

/* What notify-keyspace-events may consist of. */
#define CONFIG_EVENT_CLASSES "Ag$lshzxeKEtmdn"

#define CONFIG_NO_FIELD SIZE_MAX

struct config_row {
    const char *name;
    const struct kind *kind;
    unsigned flags;
    size_t at; /* of the field in struct config; CONFIG_NO_FIELD: fixed, and nobody looks at it */
    const char *initial;
    int64_t min, max;           /* of a number, or the bytes of a text */
    const char *const *choices; /* names by value, up to NULL */
};

/* config_add_choices: "one, two, three". */
void config_add_choices(const struct config_row *row, struct text *out);
/* config_read_class: which class a word names. */
bool config_read_class(struct span word, enum config_class *out);

/* config_row_find: by name, any case; NULL when there is none. config_row_at: by place in the table;
 * NULL past the end. */
const struct config_row *config_row_find(struct span name);
const struct config_row *config_row_at(size_t i);
/* config_row_main: the row that an alias stands for, else the row itself; its place in the table. */
size_t config_row_main(const struct config_row *row);
/* config_row_set: false: *e holds what config_parse's errors say behind the option and its values,
 * for example "a number from 0 to 65535". */
bool config_row_set(const struct config_row *row, struct config *c, const struct span *values,
                    unsigned n, struct config_error *e);
/* config_row_parts: of how many lines its value consists in a file; config_row_line: what stands on
 * one of them behind the name, not quoted yet. */
unsigned config_row_parts(const struct config_row *row);
void config_row_line(const struct config_row *row, const struct config *c, unsigned part,
                     struct text *out);

/* What parsing does with `include`. */
enum include_mode { INCLUDE_REFUSE, INCLUDE_SKIP, INCLUDE_FOLLOW };
/* config_parse_lines: as config_parse_text. */
MUST_CHECK bool config_parse_lines(struct config *c, const char *name, struct span text,
                                   enum include_mode mode, struct config_error *e);

#endif
