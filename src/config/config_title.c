/* config_title.c: proc-title-template. */
#include "config_impl.h"
#include "shards/span.h"

#include <stdio.h>
#include <string.h>

enum { VALUE_MAX = CONFIG_TEXT_MAX + 32 };

/* The first address, as Redis shows it: "*" when any will do. */
static void listen_address(const struct config *c, char *to, size_t size) {
    const char *first = c->bind;
    size_t len = strcspn(first, " ");

    if (len == 0) {
        first = "*";
        len = 1;
    }
    if (c->port == 0)
        (void)snprintf(to, size, "%s", c->unixsocket);
    else
        (void)snprintf(to, size, "%.*s:%d", (int)len, first, (int)c->port);
}

/* What a name in braces stands for; false: nothing. A value that this server never has is as Redis shows
 * it then. */
static bool value_of(const struct config *c, struct span name, const char *title, char *to,
                     size_t size) {
    to[0] = '\0';
    if (span_eq(name, SPAN("title")))
        (void)snprintf(to, size, "%s", title);
    else if (span_eq(name, SPAN("listen-addr")))
        listen_address(c, to, size);
    else if (span_eq(name, SPAN("port")))
        (void)snprintf(to, size, "%d", (int)c->port);
    else if (span_eq(name, SPAN("tls-port")))
        (void)snprintf(to, size, "0");
    else if (span_eq(name, SPAN("unixsocket")))
        (void)snprintf(to, size, "%s", c->unixsocket);
    else if (span_eq(name, SPAN("config-file")))
        (void)snprintf(to, size, "%s", c->file[0] != '\0' ? c->file : "-");
    else
        return span_eq(name, SPAN("server-mode"));
    return true;
}

bool config_title(const struct config *c, const char *template, const char *title, char *out,
                  size_t size) {
    size_t len = 0;

    if (*template == '\0')
        return false;
    for (const char *p = template; *p != '\0'; p++) {
        char value[VALUE_MAX] = {*p, '\0'};
        if (p[0] == '{' && p[1] == '{') {
            p++; /* a brace itself */
        } else if (p[0] == '{') {
            struct span name = {p + 1, strcspn(p + 1, "}")};
            p += 1 + name.len;
            if (*p == '\0' || !value_of(c, name, title, value, sizeof(value)))
                return false;
        }
        size_t room = size - 1 - len, n = strlen(value);
        n = n < room ? n : room;
        memcpy(out + len, value, n);
        len += n;
    }
    while (len > 0 && out[len - 1] == ' ') /* behind a value that is empty */
        len--;
    out[len] = '\0';
    size_t blanks = strspn(out, " ");
    memmove(out, out + blanks, len + 1 - blanks);
    return true;
}

static enum problem template_set(const struct config_row *row, void *field,
                                 const struct span *values, unsigned n) {
    static const struct config any = {.unixsocket = "/"};
    char title[CONFIG_TEXT_MAX + 1];
    enum problem problem = text_kind.set(row, field, values, n);

    if (problem != FINE)
        return problem;
    /* Nor is one taken that shows nothing: ps would think of a thread of the kernel. */
    bool fits = config_title(&any, field, "anax", title, sizeof(title)) && title[0] != '\0';
    return fits ? FINE : BAD_TEMPLATE;
}

static void template_get(const struct config_row *row, const void *field, struct text *out) {
    text_kind.get(row, field, out);
}

static void template_allowed(const struct config_row *row, struct text *out) {
    (void)row;
    text_addf(out, "a text in which {title}, {listen-addr}, {server-mode}, {port}, {tls-port}, "
                   "{unixsocket} and {config-file} stand for what they name");
}

const struct kind template_kind = {template_set, template_get, template_allowed};
