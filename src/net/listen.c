/* listen.c: the sockets the server listens on, and which shard gets a new connection. */
#include "net_impl.h"
#include "shards/log.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* --- addresses --- */

static bool is_loopback4(const unsigned char *address) {
    return address[0] == IN_LOOPBACKNET; /* 127.0.0.0/8 */
}

bool net_is_local(const struct sockaddr *peer) {
    if (peer->sa_family == AF_UNIX)
        return true;
    if (peer->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, peer, sizeof in);
        return is_loopback4((const unsigned char *)&in.sin_addr.s_addr);
    }
    if (peer->sa_family != AF_INET6)
        return false;
    struct sockaddr_in6 in6;
    memcpy(&in6, peer, sizeof in6);
    return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) && is_loopback4(in6.sin6_addr.s6_addr + 12));
}

void net_address(const struct sockaddr *sa, char *text, size_t size) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        (void)inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
        (void)snprintf(text, size, "%s:%u", host, ntohs(in.sin_port));
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        (void)inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof host);
        (void)snprintf(text, size, "[%s]:%u", host, ntohs(in6.sin6_port));
    } else {
        (void)snprintf(text, size, "?:0");
    }
}

/* --- listening --- */

static bool add_fd(struct net_shared *n, int fd) {
    if (n->listen_count == NET_LISTENERS_MAX)
        return false;
    n->listen_fds[n->listen_count++] = fd;
    return true;
}

/* listen_tcp: an address with a leading '-' may be missing on this machine. */
static enum err listen_tcp(struct net_shared *n, const char *address) {
    bool optional = address[0] == '-';
    address += optional;
    const char *host = strcmp(address, "*") == 0 ? "0.0.0.0" : address;
    char port[16];
    (void)snprintf(port, sizeof port, "%d", (int)n->config->port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(host, port, &hints, &found);
    if (failed) {
        LOGW("bind %s: %s", address, gai_strerror(failed));
        return optional ? OK : ERR_IO;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    bool ok = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0;
    if (ok && found->ai_family == AF_INET6)
        ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes) == 0;
    ok = ok && bind(fd, found->ai_addr, found->ai_addrlen) == 0 &&
         listen(fd, (int)n->config->tcp_backlog) == 0 && add_fd(n, fd);
    int error = errno;
    freeaddrinfo(found);
    if (ok)
        return OK;
    if (fd >= 0)
        (void)close(fd);
    if (optional && (error == EADDRNOTAVAIL || error == EAFNOSUPPORT))
        return OK;
    LOGW("cannot listen on %s port %s: %s", address, port, strerror(error));
    return ERR_IO;
}

static enum err listen_unix(struct net_shared *n, const char *path) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof sa.sun_path) {
        LOGW("unixsocket '%s': the path is longer than %zu bytes", path, sizeof sa.sun_path - 1);
        return ERR_IO;
    }
    memcpy(sa.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void)unlink(path);
    unsigned mode = (unsigned)n->config->unixsocketperm;
    if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) != 0 ||
        (mode != 0 && chmod(path, mode) != 0) || listen(fd, (int)n->config->tcp_backlog) != 0 ||
        !add_fd(n, fd)) {
        LOGW("cannot listen on unixsocket '%s': %s", path, strerror(errno));
        if (fd >= 0)
            (void)close(fd);
        return ERR_IO;
    }
    return OK;
}

enum err net_listen(struct net_shared *n) {
    enum err e = OK;
    if (n->config->port != 0) {
        char bind[sizeof n->config->bind], *rest = bind;
        memcpy(bind, n->config->bind, sizeof bind);
        for (char *word; e == OK && (word = strtok_r(rest, " ", &rest)) != NULL;)
            e = listen_tcp(n, word);
    }
    if (e == OK && n->config->unixsocket[0] != '\0')
        e = listen_unix(n, n->config->unixsocket);
    if (e == OK && n->listen_count == 0) {
        LOGW("nothing to listen on: port is 0 or no address is there, and there is no unixsocket");
        e = ERR_IO;
    }
    if (e != OK)
        net_close_listeners(n);
    return e;
}

void net_close_listeners(struct net_shared *n) {
    while (n->listen_count != 0)
        (void)close(n->listen_fds[--n->listen_count]);
}

/* --- accepting, on shard 0 --- */

static void adopt_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    /* Starting a stream is the owner's to do; this may be a borrower. */
    struct adopted *a = CONTAINER_OF(m, struct adopted, msg), *own;
    struct net *n = instance_of(at)->net;
    if ((own = mem_alloc(&at->mem, sizeof *own)) == NULL) {
        (void)close(a->fd);
        atomic_fetch_sub(&n->shared->live[at->id], 1);
        return;
    }
    *own = *a;
    list_add_tail(&n->adopt, &own->link);
    shard_need_owner(at);
}

static void adopt_done(struct shard *home, struct bus_msg *m) {
    struct adopted *a = CONTAINER_OF(m, struct adopted, msg);
    mem_free(&home->mem, a, sizeof *a);
}

/* emptiest: the shard with the fewest connections. */
static unsigned emptiest(struct net_shared *n, unsigned shards, int64_t *total) {
    unsigned best = 0;
    int64_t least = INT64_MAX;
    *total = 0;
    for (unsigned i = 0; i < shards; i++) {
        int64_t live = atomic_load_explicit(&n->live[i], memory_order_relaxed);
        *total += live;
        if (live < least) {
            least = live;
            best = i;
        }
    }
    return best;
}

static void refuse(int fd, const char *text) {
    /* The peer may be gone; there is nobody to tell. */
    ssize_t ignored = send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
    (void)close(fd);
}

/* Who looks for a Redis that protects itself looks for the code DENIED. */
static const char denied[] =
    "-DENIED Anax is in protected mode: no password is set, so only connections from this machine "
    "(loopback or a Unix socket) are accepted. To connect from elsewhere, set a password with "
    "'requirepass' in the configuration file, or by CONFIG SET from this machine. Only where "
    "nobody else can reach the port is 'protected-mode no' an answer.\r\n";

/* is_denied: protected-mode, which is on unless somebody turned it off, refuses this peer. */
static bool is_denied(const struct net *n, int fd) {
    const struct config *config = n->instance->config;
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    if (!config->protected_mode || config->requirepass[0] != '\0')
        return false;
    return getpeername(fd, (struct sockaddr *)&peer, &len) != 0 ||
           !net_is_local((const struct sockaddr *)&peer);
}

static void on_accept(struct listener *l, int fd) {
    shard_claim();
    struct net *n = l->arg;
    struct shard *here = n->shard;
    int64_t total;
    unsigned to = emptiest(n->shared, shards_count(here->all), &total);
    if (total >= n->instance->config->maxclients) {
        n->stats.rejected++;
        refuse(fd, "-ERR max number of clients reached\r\n");
        return;
    }
    if (is_denied(n, fd)) {
        n->stats.rejected++;
        refuse(fd, denied);
        return;
    }
    struct adopted a = {.fd = fd, .is_unix = n->listener_unix[l - n->listeners]};
    a.id = atomic_fetch_add(&n->shared->next_id, 1) + 1;
    if (to == here->id) {
        atomic_fetch_add(&n->shared->live[to], 1);
        conn_adopt(n, &a);
        return;
    }
    struct adopted *sent = mem_alloc(&here->mem, sizeof *sent);
    if (sent == NULL) {
        refuse(fd, "-ERR out of memory\r\n");
        return;
    }
    atomic_fetch_add(&n->shared->live[to], 1);
    *sent = a;
    sent->msg = (struct bus_msg){.run = adopt_run, .done = adopt_done, .to = (uint16_t)to};
    shard_post(here, &sent->msg);
}

enum err listen_start(struct net *n) {
    struct net_shared *shared = n->shared;
    for (unsigned i = 0; i < shared->listen_count; i++) {
        struct listener *l = &n->listeners[n->listener_count];
        struct sockaddr_storage sa = {0};
        socklen_t len = sizeof sa;
        l->on_accept = on_accept;
        l->arg = n;
        n->listener_unix[n->listener_count] =
            getsockname(shared->listen_fds[i], (struct sockaddr *)&sa, &len) == 0 &&
            sa.ss_family == AF_UNIX;
        enum err e = listener_start(n->shard->loop, l, shared->listen_fds[i]);
        if (e != OK)
            return e;
        n->listener_count++;
    }
    shared->listen_count = 0; /* they are the loop's now */
    return OK;
}

void listen_stop(struct net *n) {
    for (unsigned i = 0; i < n->listener_count; i++)
        listener_stop(n->shard->loop, &n->listeners[i]);
    n->listener_count = 0;
}
