/* command_syntax.c: reads the grammar that command_syntax_impl.h describes. */
#include "command_syntax_impl.h"
#include <stdint.h>

const char *const command_syntax_types[SYNTAX_TYPES] = {
    "key", "string", "integer", "double", "pattern", "unix-time", "pure-token", "oneof", "block",
};

/* What a name says about its type where the syntax leaves the type out. */
static const struct {
    const char *name;
    enum syntax_type type;
} types_of_names[] = {
    {"key", SYNTAX_KEY},
    {"newkey", SYNTAX_KEY},
    {"destkey", SYNTAX_KEY},
    {"pattern", SYNTAX_PATTERN},
    {"unix-time-seconds", SYNTAX_UNIX_TIME},
    {"unix-time-milliseconds", SYNTAX_UNIX_TIME},
    {"seconds", SYNTAX_INTEGER},
    {"milliseconds", SYNTAX_INTEGER},
    {"timeout", SYNTAX_INTEGER},
    {"start", SYNTAX_INTEGER},
    {"end", SYNTAX_INTEGER},
    {"offset", SYNTAX_INTEGER},
    {"count", SYNTAX_INTEGER},
    {"cursor", SYNTAX_INTEGER},
    {"increment", SYNTAX_INTEGER},
    {"decrement", SYNTAX_INTEGER},
    {"index", SYNTAX_INTEGER},
    {"bit", SYNTAX_INTEGER},
    {"db", SYNTAX_INTEGER},
    {"destination-db", SYNTAX_INTEGER},
    {"numkeys", SYNTAX_INTEGER},
    {"client-id", SYNTAX_INTEGER},
};

static bool is_token_char(char ch) {
    return (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_' ||
           ch == '"';
}

static bool is_name_char(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_';
}

static bool is_shown_char(char ch) {
    return is_name_char(ch) || ch == ':';
}

static bool begins_token(struct span s) {
    return s.len > 0 && ((s.ptr[0] >= 'A' && s.ptr[0] <= 'Z') || s.ptr[0] == '"');
}

static void skip(struct span *s, size_t n) {
    s->ptr += n;
    s->len -= n;
}

static struct span take_while(struct span *s, bool (*belongs)(char)) {
    struct span word = {s->ptr, 0};
    while (word.len < s->len && belongs(s->ptr[word.len]))
        word.len++;
    skip(s, word.len);
    return word;
}

static bool take_text(struct span *s, struct span text) {
    if (s->len < text.len || memcmp(s->ptr, text.ptr, text.len) != 0)
        return false;
    skip(s, text.len);
    return true;
}

/* take_body: what stands between the parenthesis that was read and its partner. */
static bool take_body(struct span *s, struct syntax_arg *a) {
    unsigned depth = 1;
    a->type = SYNTAX_BLOCK;
    for (size_t i = 0; i < s->len; i++) {
        if (s->ptr[i] == '(') {
            depth++;
        } else if (s->ptr[i] == '|' && depth == 1) {
            a->type = SYNTAX_ONEOF;
        } else if (s->ptr[i] == ')' && --depth == 0) {
            a->body = (struct span){s->ptr, i};
            skip(s, i + 1);
            return true;
        }
    }
    return false;
}

static bool read_type(struct span *s, struct syntax_arg *a) {
    struct span type = take_while(s, is_name_char);
    for (unsigned i = 0; i < SYNTAX_WRITABLE; i++) {
        if (span_is(type, command_syntax_types[i])) {
            a->type = (enum syntax_type)i;
            return true;
        }
    }
    return false;
}

static enum syntax_type type_of_name(struct span name) {
    for (size_t i = 0; i < COUNT_OF(types_of_names); i++) {
        if (span_is(name, types_of_names[i].name))
            return types_of_names[i].type;
    }
    return SYNTAX_STRING;
}

static bool read_value(struct span *s, struct syntax_arg *a) {
    a->name = a->shown = take_while(s, is_name_char);
    if (a->name.len == 0)
        return false;
    if (take_text(s, SPAN("(")))
        return take_body(s, a);
    if (take_text(s, SPAN("<"))) {
        a->shown = take_while(s, is_shown_char);
        if (a->shown.len == 0 || !take_text(s, SPAN(">")))
            return false;
    }
    a->type = type_of_name(a->name);
    if (!take_text(s, SPAN(":")))
        return true;
    if (!begins_token(*s))
        return read_type(s, a);
    a->type = SYNTAX_PURE_TOKEN;
    if (a->token.len > 0) /* one token is enough */
        return false;
    a->token = take_while(s, is_token_char);
    return true;
}

static bool read_item(struct span *s, struct syntax_arg *a) {
    if (begins_token(*s))
        a->token = take_while(s, is_token_char);
    if (a->token.len > 0 && !take_text(s, SPAN("="))) {
        a->name = a->shown = a->token;
        a->type = SYNTAX_PURE_TOKEN;
        return true;
    }
    if (!read_value(s, a))
        return false;
    a->multiple_token = a->token.len > 0 && take_text(s, SPAN(",..."));
    a->multiple = a->multiple_token || take_text(s, SPAN("..."));
    return true;
}

bool command_syntax_next(struct span *rest, char separator, struct syntax_arg *a) {
    struct span s = *rest;
    if (s.len == 0)
        return false;
    *a = (struct syntax_arg){.optional = take_text(&s, SPAN("["))};
    if (!read_item(&s, a) || (a->optional && !take_text(&s, SPAN("]"))))
        return false;
    /* A separator that nothing follows is left where it is: it is no end. */
    if (s.len > 1 && s.ptr[0] == separator)
        skip(&s, 1);
    else if (s.len > 0)
        return false;
    *rest = s;
    return true;
}

size_t command_syntax_count(struct span text, char separator) {
    struct syntax_arg a;
    size_t n = 0;
    while (command_syntax_next(&text, separator, &a))
        n++;
    return n;
}

static bool valid(struct span text, char separator) {
    struct syntax_arg a;
    while (command_syntax_next(&text, separator, &a)) {
        if (a.type < SYNTAX_ONEOF)
            continue;
        if (a.body.len == 0 || !valid(a.body, command_syntax_separator(&a)))
            return false;
    }
    return text.len == 0;
}

bool command_syntax_valid(const char *syntax) {
    return syntax == NULL || valid((struct span){syntax, strlen(syntax)}, ' ');
}
