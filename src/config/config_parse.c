#include "anax/config.h"
#include "anax/words.h"
#include "config_impl.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ARG_BYTES_MAX = 4096 };

/* Where a line stands, and how much was read already. */
struct source {
    struct config *c;
    struct config_error *e;
    const char *file; /* NULL: the command line */
    unsigned line;
    unsigned depth;
    unsigned *files; /* how many were read */
    enum include_mode mode;
};

static bool parse_path(struct source *parent, const char *path);

/* The part of a text that does not fit is cut; what is shown of a client's or file's bytes is
 * printable. */
static void error_add(struct config_error *e, const char *s, size_t len) {
    size_t used = strlen(e->text);

    for (size_t i = 0; i < len && used + 1 < sizeof(e->text); i++)
        e->text[used++] = (unsigned char)s[i] < ' ' || s[i] == 127 ? '?' : s[i];
    e->text[used] = '\0';
}

static void error_add_cstr(struct config_error *e, const char *s) {
    error_add(e, s, strlen(s));
}

/* "file:line: " or nothing. */
static void error_begin(struct source *s) {
    char line[16];

    s->e->text[0] = '\0';
    if (s->file == NULL)
        return;
    error_add_cstr(s->e, s->file);
    if (s->line > 0) {
        (void)snprintf(line, sizeof(line), ":%u", s->line);
        error_add_cstr(s->e, line);
    }
    error_add_cstr(s->e, ": ");
}

static bool fail(struct source *s, const char *what) {
    error_begin(s);
    error_add_cstr(s->e, what);
    return false;
}

/* "port 'abc': what", with -- before the name on the command line. */
static bool fail_option(struct source *s, struct span name, const struct span *values, unsigned n,
                        bool secret, const char *what) {
    enum { SHOWN_MAX = 256 };

    error_begin(s);
    if (s->file == NULL)
        error_add_cstr(s->e, "--");
    error_add(s->e, name.ptr, name.len < SHOWN_MAX ? name.len : SHOWN_MAX);
    size_t room = SHOWN_MAX;
    for (unsigned i = 0; i < n && room > 0; i++) {
        size_t len = values[i].len < room ? values[i].len : room;
        error_add_cstr(s->e, i == 0 ? " '" : " ");
        if (secret)
            error_add_cstr(s->e, "***");
        else
            error_add(s->e, values[i].ptr, len);
        room -= len;
    }
    error_add_cstr(s->e, n > 0 ? "': " : ": ");
    error_add_cstr(s->e, what);
    return false;
}

static bool is_pattern(const char *path) {
    return strpbrk(path, "*?[") != NULL;
}

static bool include_matches(struct source *s, const char *pattern) {
    glob_t found;
    bool done = true;

    switch (glob(pattern, 0, NULL, &found)) {
    case 0:
        break;
    case GLOB_NOMATCH:
        return true;
    default:
        return fail(s, "include: the directory cannot be read");
    }
    for (size_t i = 0; i < found.gl_pathc && done; i++)
        done = parse_path(s, found.gl_pathv[i]);
    globfree(&found);
    return done;
}

static bool include(struct source *s, struct span name, const struct span *values, unsigned n) {
    char path[CONFIG_TEXT_MAX + 1];

    if (s->mode == INCLUDE_SKIP)
        return true;
    if (s->mode == INCLUDE_REFUSE)
        return fail_option(s, name, values, n, false, "only a file can include another");
    if (n != 1 || values[0].len == 0 || values[0].len > CONFIG_TEXT_MAX)
        return fail_option(s, name, values, n, false, "takes one path or pattern of a path");
    memcpy(path, values[0].ptr, values[0].len);
    path[values[0].len] = '\0';
    return is_pattern(path) ? include_matches(s, path) : parse_path(s, path);
}

static bool apply(struct source *s, struct span name, const struct span *values, unsigned n) {
    struct config_error allowed;

    if (span_is(name, "include"))
        return include(s, name, values, n);
    const struct config_row *row = config_row_find(name);
    if (row == NULL)
        return fail_option(s, name, values, n, false, "no such option");
    if (config_row_set(row, s->c, values, n, &allowed))
        return true;
    return fail_option(s, name, values, n, row->flags & CONFIG_SECRET, allowed.text);
}

/* Splits [from, end) after `count` values that are there already. */
static bool split_values(struct source *s, char *from, char *end, struct span *values,
                         unsigned *count) {
    struct words w = {.from = from, .end = end};

    for (;;) {
        struct span word;
        switch (words_next(&w, &word)) {
        case WORDS_END:
            return true;
        case WORDS_UNBALANCED:
            return fail(s, "a quote is not closed, or text follows a closing quote");
        case WORDS_WORD:
            break;
        }
        if (*count == CONFIG_VALUES_MAX)
            return fail(s, "too many values on one line");
        values[(*count)++] = word;
    }
}

static bool parse_line(struct source *s, char *line, size_t len) {
    struct span words[CONFIG_VALUES_MAX];
    unsigned count = 0;

    while (len > 0 && (*line == ' ' || *line == '\t' || *line == '\r')) {
        line++;
        len--;
    }
    if (len == 0 || *line == '#')
        return true;
    if (memchr(line, '\0', len) != NULL)
        return fail(s, "a zero byte; this is not a configuration file");
    if (!split_values(s, line, line + len, words, &count))
        return false;
    return count == 0 || apply(s, words[0], words + 1, count - 1);
}

/* The lines of `text`, which is written to. */
static bool parse_lines(struct source *s, char *text, size_t len) {
    while (len > 0) {
        char *end = memchr(text, '\n', len);
        size_t line_len = end == NULL ? len : (size_t)(end - text);
        s->line++;
        if (!parse_line(s, text, line_len))
            return false;
        size_t taken = end == NULL ? line_len : line_len + 1;
        text += taken;
        len -= taken;
    }
    return true;
}

/* Reads all of f; NULL: *why says what happened. */
static char *read_all(FILE *f, size_t *len, const char **why) {
    char *text = malloc(CONFIG_FILE_BYTES_MAX + 1);

    *why = "out of memory";
    if (text == NULL)
        return NULL;
    *len = fread(text, 1, CONFIG_FILE_BYTES_MAX + 1, f);
    if (ferror(f)) {
        *why = strerror(errno);
    } else if (*len > CONFIG_FILE_BYTES_MAX) {
        *why = "larger than 1 MB; this is not a configuration file";
    } else {
        return text;
    }
    free(text);
    return NULL;
}

static bool parse_stream(struct source *s, FILE *f) {
    size_t len;
    const char *why;
    char *text = read_all(f, &len, &why);

    if (text == NULL)
        return fail(s, why);
    bool done = parse_lines(s, text, len);
    free(text);
    return done;
}

static bool parse_path(struct source *parent, const char *path) {
    struct source s = *parent;

    s.depth++;
    if (s.depth > CONFIG_INCLUDE_DEPTH_MAX || *s.files == CONFIG_FILES_MAX)
        return fail(parent, "too many files include one another");
    ++*s.files;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        int reason = errno;
        error_begin(parent);
        error_add_cstr(parent->e, path);
        error_add_cstr(parent->e, ": ");
        error_add_cstr(parent->e, strerror(reason));
        return false;
    }
    s.file = path;
    s.line = 0;
    bool done = parse_stream(&s, f);
    (void)fclose(f);
    return done;
}

bool config_parse_file(struct config *c, const char *path, struct config_error *e) {
    unsigned files = 0;
    struct source s = {.c = c, .e = e, .files = &files, .mode = INCLUDE_FOLLOW};

    return parse_path(&s, path);
}

bool config_parse_lines(struct config *c, const char *name, struct span text,
                        enum include_mode mode, struct config_error *e) {
    unsigned files = 0;
    struct source s = {.c = c, .e = e, .file = name, .files = &files, .mode = mode};

    if (text.len > CONFIG_FILE_BYTES_MAX)
        return fail(&s, "larger than 1 MB; this is not a configuration file");
    char *copy = malloc(text.len + 1);
    if (copy == NULL)
        return fail(&s, "out of memory");
    if (text.len > 0)
        memcpy(copy, text.ptr, text.len);
    bool done = parse_lines(&s, copy, text.len);
    free(copy);
    return done;
}

bool config_parse_text(struct config *c, const char *name, struct span text,
                       struct config_error *e) {
    return config_parse_lines(c, name, text, INCLUDE_REFUSE, e);
}

/* --- the command line --- */

static bool is_option(const char *arg) {
    return arg[0] == '-' && arg[1] == '-';
}

/* One option with its values, from argv[*at] on. The argument behind a bare name is its value even
 * when it begins with --, as in Redis, so that a password may; only an option that needs no value
 * goes without. */
static bool parse_option(struct source *s, int argc, char *const *argv, int *at) {
    char text[ARG_BYTES_MAX];
    struct span words[CONFIG_VALUES_MAX];
    unsigned count = 0;
    const char *option = argv[(*at)++] + 2;
    size_t len = strlen(option);

    if (len >= sizeof(text))
        return fail(s, "an option is longer than 4095 bytes");
    memcpy(text, option, len + 1);
    /* "--port 6380" may be one argument. */
    if (!split_values(s, text, text + len, words, &count))
        return false;
    if (count == 0)
        return fail(s, "--: the name of an option is missing");
    const struct config_row *row = config_row_find(words[0]);
    if (count == 1 && *at < argc &&
        !(row != NULL && row->flags & CONFIG_MAY_LACK_VALUE && is_option(argv[*at]))) {
        words[count++] = (struct span){argv[*at], strlen(argv[*at])};
        ++*at;
    }
    for (; *at < argc && !is_option(argv[*at]); ++*at) {
        if (count == CONFIG_VALUES_MAX)
            return fail_option(s, words[0], words + 1, count - 1, false, "too many values");
        words[count++] = (struct span){argv[*at], strlen(argv[*at])};
    }
    return apply(s, words[0], words + 1, count - 1);
}

/* note_file: as an absolute path, since the working directory may change before CONFIG REWRITE. Links
 * stay as they are: the name is what the user knows. */
static bool note_file(struct source *s, const char *path) {
    char *to = s->c->file;
    size_t size = sizeof(s->c->file), len = 0;

    if (*path != '/') {
        if (getcwd(to, size) == NULL)
            return fail(s, "the working directory cannot be read, or its path is too long");
        len = strlen(to);
        to[len++] = '/';
    }
    if (strlen(path) >= size - len)
        return fail(s, "the path of the file is too long");
    memcpy(to + len, path, strlen(path) + 1);
    return true;
}

bool config_parse_args(struct config *c, int argc, char *const *argv, struct config_error *e) {
    unsigned files = 0;
    struct source s = {.c = c, .e = e, .files = &files, .mode = INCLUDE_FOLLOW};
    int at = 1;

    if (argc > 1 && strcmp(argv[1], "-") == 0) {
        struct source in = s;
        in.file = "standard input";
        at = 2;
        if (!parse_stream(&in, stdin))
            return false;
    } else if (argc > 1 && !is_option(argv[1])) {
        at = 2;
        if (!parse_path(&s, argv[1]) || !note_file(&s, argv[1]))
            return false;
    }
    while (at < argc) {
        if (!is_option(argv[at])) {
            error_begin(&s);
            error_add_cstr(e, argv[at]);
            error_add_cstr(e, ": an option begins with --; a file of options comes first");
            return false;
        }
        if (!parse_option(&s, argc, argv, &at))
            return false;
    }
    return true;
}
