/* server_wire.c: requests and the replies that they must have. */
#include "server_impl.h"
#include "shards/assert.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEAD_MAX = 32 };

static char request[SERVER_REQUEST_MAX];
static size_t request_len;

void server_expect(struct wire *w, const char *bytes, size_t len) {
    if (w->expected_len + len > w->expected_cap) {
        w->expected_cap = 2 * (w->expected_len + len);
        w->expected = realloc(w->expected, w->expected_cap);
        if (w->expected == NULL)
            abort();
    }
    memcpy(w->expected + w->expected_len, bytes, len);
    w->expected_len += len;
}

void server_expect_text(struct wire *w, const char *text) {
    server_expect(w, text, strlen(text));
}

static void expect_line(struct wire *w, char type, long v) {
    char text[HEAD_MAX];
    server_expect(w, text, (size_t)snprintf(text, sizeof text, "%c%ld\r\n", type, v));
}

void server_expect_int(struct wire *w, long v) {
    expect_line(w, ':', v);
}

void server_expect_head(struct wire *w, long n) {
    expect_line(w, '*', n < 0 ? -1 : n);
}

void server_expect_bulk(struct wire *w, struct span s) {
    if (s.ptr == NULL) {
        server_expect_text(w, "$-1\r\n");
        return;
    }
    expect_line(w, '$', (long)s.len);
    server_expect(w, s.ptr, s.len);
    server_expect_text(w, "\r\n");
}

static void add(const char *bytes, size_t len) {
    ASSERT(len < sizeof request - request_len);
    memcpy(request + request_len, bytes, len);
    request_len += len;
}

static void add_head(char type, size_t n) {
    char text[HEAD_MAX];
    add(text, (size_t)snprintf(text, sizeof text, "%c%zu\r\n", type, n));
}

void server_begin(unsigned argc) {
    add_head('*', argc);
}

void server_arg(const char *bytes, size_t len) {
    add_head('$', len);
    add(bytes, len);
    add("\r\n", 2);
}

void server_word(const char *text) {
    server_arg(text, strlen(text));
}

void server_number(long v) {
    char text[HEAD_MAX];
    server_arg(text, (size_t)snprintf(text, sizeof text, "%ld", v));
}

size_t server_key_text(const struct wire *w, char kind, unsigned k, char *to, size_t size) {
    return (size_t)snprintf(to, size, "c%u.%u:%c%u", w->id, w->generation, kind, k);
}

void server_key(const struct wire *w, char kind, unsigned k) {
    char key[64];
    server_arg(key, server_key_text(w, kind, k, key, sizeof key));
}

void server_inline(const char *line) {
    add(line, strlen(line));
}

struct span server_request(void) {
    return (struct span){request, request_len};
}

void server_request_taken(void) {
    request_len = 0;
}
