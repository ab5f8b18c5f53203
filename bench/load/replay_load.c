/* replay_load.c: a load of commands that were written to a file, in a closed loop.
 *
 * Why         memtier_benchmark makes keys and values, but no members, scores and fields of a chosen distribution.
 *             Here whoever compares two servers writes the commands once, as RESP, and both get the same.
 * How         Each connection walks through the file from a place of its own, round and round, and keeps one pipeline
 *             in flight: written at once, the next when all replies are there. Replies are counted, not compared;
 *             the first error is told.
 * Output      one line of JSON when the time is over. SIGTERM ends a run early.
 */
#include "client_impl.h"
#include "shards/clock.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONNS_MAX = 1024, EVENTS = 256, POLL_MS = 50, LINE_MAX_BYTES = 256, CHUNK = 1 << 18 };

/* Where a reader of replies is: in a line, or so many bytes before the end of a bulk string. */
struct reader {
    char line[LINE_MAX_BYTES];
    size_t line_len, skip;
    uint64_t owed; /* replies, and elements of arrays that are open */
};

struct conn {
    int fd;
    size_t next;              /* command */
    const char *out;          /* what of the pipeline is not written yet */
    size_t out_len, rest_len; /* rest: of a pipeline that goes on at the beginning of the file */
    struct reader reader;
};

static struct {
    const char *bytes;
    size_t *at; /* where commands begin; one more: the end */
    size_t count;
    struct conn conns[CONNS_MAX];
    unsigned pipeline;
    int poll;
    uint64_t done, errors;
    char first_error[LINE_MAX_BYTES];
    char chunk[CHUNK];
} load;

/* --- the commands --- */

static size_t number_after(const char *p, const char *end, const char **next) {
    char *stop;
    if (p >= end)
        client_die("the file ends within a command");
    unsigned long n = strtoul(p, &stop, 10);
    if (stop + 2 > end || stop[0] != '\r')
        client_die("no RESP at byte %zu", (size_t)(p - load.bytes));
    *next = stop + 2;
    return n;
}

static void read_commands(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
        client_die("cannot read %s", path);
    size_t len = (size_t)st.st_size;
    /* A page more than the file: strtoul stops at a zero. */
    char *bytes = calloc(1, len + 1);
    if (bytes == NULL || read(fd, bytes, len) != (ssize_t)len)
        client_die("cannot read %s", path);
    (void)close(fd);
    load.bytes = bytes;
    const char *p = bytes, *end = bytes + len;
    size_t room = 0;
    while (p < end) {
        if (load.count + 2 > room) {
            room = room * 2 + CONNS_MAX;
            load.at = realloc(load.at, room * sizeof *load.at);
            if (load.at == NULL)
                client_die("no memory");
        }
        load.at[load.count++] = (size_t)(p - bytes);
        size_t args = number_after(p + 1, end, &p);
        for (size_t i = 0; i < args; i++) {
            size_t arg_len = number_after(p + 1, end, &p);
            p += arg_len + 2;
        }
    }
    load.at[load.count] = len;
}

/* --- a connection --- */

static void write_some(struct conn *c) {
    while (c->out_len > 0) {
        ssize_t n = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            client_die("the server closed a connection");
        c->out += n;
        c->out_len -= (size_t)n;
        if (c->out_len == 0 && c->rest_len > 0) {
            c->out = load.bytes;
            c->out_len = c->rest_len;
            c->rest_len = 0;
        }
    }
}

static void send_pipeline(struct conn *c) {
    size_t to = c->next + load.pipeline;
    size_t here = to < load.count ? to : load.count;
    c->out = load.bytes + load.at[c->next];
    c->out_len = load.at[here] - load.at[c->next];
    c->rest_len = load.at[to - here];
    c->next = to >= load.count ? to - load.count : to;
    c->reader.owed = load.pipeline;
    write_some(c);
}

/* take_line: a line of a reply is whole. */
static void take_line(struct reader *r) {
    r->line[r->line_len] = '\0';
    r->line_len = 0;
    r->owed--;
    long n = strtol(r->line + 1, NULL, 10);
    switch (r->line[0]) {
    case '$':
    case '=':
        r->skip = n >= 0 ? (size_t)n + 2 : 0;
        break;
    case '*':
    case '~':
        r->owed += n > 0 ? (uint64_t)n : 0;
        break;
    case '%':
        r->owed += n > 0 ? 2 * (uint64_t)n : 0;
        break;
    case '-':
        if (load.errors++ == 0)
            memcpy(load.first_error, r->line, LINE_MAX_BYTES);
        break;
    default:
        break;
    }
}

static void take(struct conn *c, const char *p, size_t len) {
    struct reader *r = &c->reader;
    const char *end = p + len;
    while (p < end) {
        if (r->skip > 0) {
            size_t n = r->skip < (size_t)(end - p) ? r->skip : (size_t)(end - p);
            p += n;
            r->skip -= n;
            continue;
        }
        if (*p == '\n')
            take_line(r);
        else if (*p != '\r' && r->line_len < LINE_MAX_BYTES - 1)
            r->line[r->line_len++] = *p;
        p++;
    }
    if (r->owed == 0 && r->skip == 0) {
        load.done += load.pipeline;
        send_pipeline(c);
    }
}

static void serve(struct conn *c, uint32_t events) {
    if (events & EPOLLOUT)
        write_some(c);
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    for (;;) { /* events are told once */
        ssize_t n = recv(c->fd, load.chunk, sizeof load.chunk, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            client_die("the server closed a connection");
        take(c, load.chunk, (size_t)n);
    }
}

static void connect_one(struct conn *c, long port, size_t first) {
    c->fd = client_connect(port);
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0)
        client_die("%s", strerror(errno));
    c->next = first;
    client_watch(load.poll, c->fd, EPOLLIN | EPOLLOUT | EPOLLET, c);
}

int main(int argc, char **argv) {
    if (argc != 6)
        client_die("usage: replay_load PORT CONNECTIONS PIPELINE SECONDS FILE");
    long port = strtol(argv[1], NULL, 10), conns = strtol(argv[2], NULL, 10);
    load.pipeline = (unsigned)strtoul(argv[3], NULL, 10);
    double seconds = strtod(argv[4], NULL);
    read_commands(argv[5]);
    if (conns < 1 || conns > CONNS_MAX || load.pipeline < 1 || load.pipeline > load.count)
        client_die("connections or pipeline out of range");
    client_ends_on_term();
    load.poll = epoll_create1(EPOLL_CLOEXEC);
    for (long i = 0; i < conns; i++)
        connect_one(&load.conns[i], port, load.count / (size_t)conns * (size_t)i);
    uint64_t from_ns = clock_mono_ns(), now_ns = from_ns;
    for (long i = 0; i < conns; i++)
        send_pipeline(&load.conns[i]);
    while (!client_stopping && (double)(now_ns - from_ns) < seconds * 1e9) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(load.poll, events, EVENTS, POLL_MS);
        for (int i = 0; i < n; i++)
            serve(events[i].data.ptr, events[i].events);
        now_ns = clock_mono_ns();
    }
    (void)printf("{\"ops\": %llu, \"seconds\": %.3f, \"errors\": %llu, \"first_error\": \"%s\"}\n",
                 (unsigned long long)load.done, (double)(now_ns - from_ns) / 1e9,
                 (unsigned long long)load.errors, load.first_error);
    return 0;
}
