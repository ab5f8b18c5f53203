/* client.c: see client_impl.h. */
#include "client_impl.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

volatile sig_atomic_t client_stopping;

static void on_signal(int signo) {
    (void)signo;
    client_stopping = 1;
}

void client_ends_on_term(void) {
    const struct sigaction sa = {.sa_handler = on_signal};
    if (sigaction(SIGTERM, &sa, NULL) != 0)
        client_die("sigaction: %s", strerror(errno));
}

void client_die(const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)fprintf(stderr, "%s: ", program_invocation_short_name);
    (void)vfprintf(stderr, format, args);
    (void)fprintf(stderr, "\n");
    va_end(args);
    exit(1);
}

int client_connect(long port) {
    const int one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        client_die("port %ld: %s", port, strerror(errno));
    return fd;
}

void client_watch(int poll, int fd, uint32_t events, void *what) {
    struct epoll_event e = {.events = events, .data.ptr = what};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) != 0)
        client_die("epoll_ctl: %s", strerror(errno));
}
