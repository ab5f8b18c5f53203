/* floor_server.c: what the kernel and the loop cost, with nothing above them.
 *
 * Counts the commands in what arrives the cheapest way and answers each with the same constant.
 * The CPU that a real server needs beyond this one is its own. Usage:
 *     floor_server --port N [--io uring|epoll] [--cpu N]
 */
#include "shards/clock.h"
#include "shards/loop.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REPLIES_MAX = 8192, BACKLOG = 1024 };
#define REPLY "+OK\r\n"
enum { REPLY_BYTES = sizeof(REPLY) - 1 };

struct conn {
    struct stream stream;
    size_t owed; /* bytes of replies that the socket had no room for */
    bool line_start;
};

/* One server per process; the callbacks of streams carry no other way to it. */
static struct {
    struct loop *loop;
    struct mem mem;
    struct listener listener;
    char replies[REPLIES_MAX * REPLY_BYTES];
} server;

static volatile sig_atomic_t stopping;

static void on_signal(int signo) {
    (void)signo;
    stopping = 1;
    loop_wake(NULL, server.loop);
}

/* Sends what is owed; false when the connection has failed. Replies are all alike, so a rest that
 * begins within one is sent from there. */
static bool flush(struct conn *c) {
    while (c->owed > 0) {
        size_t skip = (REPLY_BYTES - c->owed % REPLY_BYTES) % REPLY_BYTES;
        size_t len = sizeof(server.replies) - skip;
        struct iovec iov = {server.replies + skip, c->owed < len ? c->owed : len};
        ssize_t n = stream_send(server.loop, &c->stream, &iov, 1);
        if (n < 0)
            return false;
        if (n == 0) {
            stream_want_write(server.loop, &c->stream);
            return true;
        }
        c->owed -= (size_t)n;
    }
    return true;
}

/* A command is an array, and no value of the load generators has an asterisk after a line's end. */
static size_t count_commands(struct conn *c, const char *bytes, size_t len) {
    size_t n = 0;
    const char *end = bytes + len;
    const char *at = bytes;
    while ((at = memchr(at, '*', (size_t)(end - at))) != NULL) {
        n += at == bytes ? c->line_start : at[-1] == '\n';
        at++;
    }
    c->line_start = end[-1] == '\n';
    return n;
}

static void on_data(struct stream *s, struct io_buf *b) {
    struct conn *c = CONTAINER_OF(s, struct conn, stream);
    c->owed += count_commands(c, b->data, b->len) * REPLY_BYTES;
    if (!flush(c))
        stream_close(server.loop, s);
    else if (c->owed > sizeof(server.replies))
        stream_pause(server.loop, s); /* a reader this slow gets no more */
}

static void on_direct(struct stream *s, size_t n) {
    (void)s;
    (void)n;
}

static void on_writable(struct stream *s) {
    struct conn *c = CONTAINER_OF(s, struct conn, stream);
    if (!flush(c))
        stream_close(server.loop, s);
    else if (c->owed == 0)
        stream_resume(server.loop, s);
}

static void on_end(struct stream *s, int error) {
    (void)error;
    stream_close(server.loop, s);
}

static void on_released(struct stream *s) {
    mem_free(&server.mem, CONTAINER_OF(s, struct conn, stream), sizeof(struct conn));
}

static const struct stream_ops conn_ops = {on_data, on_direct, on_writable, on_end, on_released};

static void on_accept(struct listener *l, int fd) {
    (void)l;
    const int one = 1;
    struct conn *c = mem_zalloc(&server.mem, sizeof(*c));
    if (c == NULL || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
        stream_start(server.loop, &c->stream, &conn_ops, fd) != OK) {
        mem_free(&server.mem, c, sizeof(*c));
        (void)close(fd);
        return;
    }
    c->line_start = true;
}

static int listen_on(uint16_t port) {
    const int one = 1;
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
        bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, BACKLOG) != 0)
        return -1;
    return fd;
}

static bool parse(int argc, char **argv, enum loop_kind *io, long *port, long *cpu) {
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0)
            *port = strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--cpu") == 0)
            *cpu = strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--io") == 0 && strcmp(argv[i + 1], "uring") == 0)
            *io = LOOP_URING;
        else if (strcmp(argv[i], "--io") == 0 && strcmp(argv[i + 1], "epoll") == 0)
            *io = LOOP_EPOLL;
        else
            return false;
    }
    return argc % 2 == 1 && *port > 0 && *port < 65536;
}

static bool pin(long cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

int main(int argc, char **argv) {
    enum loop_kind io = LOOP_URING;
    long port = 0, cpu = -1;
    if (!parse(argc, argv, &io, &port, &cpu)) {
        (void)fprintf(stderr, "usage: floor_server --port N [--io uring|epoll] [--cpu N]\n");
        return 2;
    }
    if (cpu >= 0 && !pin(cpu)) {
        perror("floor_server: --cpu");
        return 1;
    }
    for (size_t i = 0; i < REPLIES_MAX; i++)
        memcpy(server.replies + i * REPLY_BYTES, REPLY, REPLY_BYTES);
    const char *why = "";
    if (loop_create(&server.loop, io, &server.mem, &why) != OK || loop_attach(server.loop) != OK) {
        (void)fprintf(stderr, "floor_server: %s\n", why);
        return 1;
    }
    int fd = listen_on((uint16_t)port);
    server.listener.on_accept = on_accept;
    if (fd < 0 || listener_start(server.loop, &server.listener, fd) != OK) {
        perror("floor_server: listening");
        return 1;
    }
    const struct sigaction sa = {.sa_handler = on_signal};
    if (sigaction(SIGTERM, &sa, NULL) != 0 || sigaction(SIGINT, &sa, NULL) != 0)
        return 1;
    (void)printf("floor_server: port %ld, %s (%s)\n", port, loop_kind_name(server.loop),
                 loop_features(server.loop));
    (void)fflush(stdout);
    while (!stopping)
        (void)loop_poll(server.loop, UINT64_MAX, NULL);
    listener_stop(server.loop, &server.listener);
    return 0; /* connections and memory go with the process */
}
