/* loop.c: the turn, and everything about streams and listeners that no backend sees differently. */
#include "loop_impl.h"
#include "shards/clock.h"
#include "shards/log.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Written by tests only, before loops are created. */
static unsigned disabled_features;

void loop_disable_features(unsigned mask) {
    disabled_features = mask;
}

void loop_add_feature(struct loop *l, const char *word) {
    size_t len = strlen(l->features);
    (void)snprintf(l->features + len, sizeof(l->features) - len, "%s%s", len > 0 ? "," : "", word);
}

static void read_clocks(struct loop *l) {
    l->now_ns = clock_mono_ns();
    l->wall_ms = clock_wall_us() / 1000;
    if (l->hooks != NULL && l->hooks->polled != NULL)
        l->hooks->polled(l->hooks->arg);
}

/* --- life --- */

enum err loop_create(struct loop **out, enum loop_kind kind, struct mem *m, const char **why) {
    static const struct io_ops *const backends[] = {&uring_ops, &epoll_ops, &sim_ops};
    *why = "no memory for the loop";
    struct loop *l = mem_zalloc(m, sizeof(*l));
    if (l == NULL)
        return ERR_NOMEM;
    l->ops = backends[kind];
    l->kind = kind;
    l->mem = m;
    l->disabled = disabled_features;
    list_init(&l->todo);
    list_init(&l->ready);
    list_init(&l->starved);
    list_init(&l->acceptors);
    read_clocks(l);
    wheel_init(&l->wheel, l->now_ns);
    loop_files_init(l);
    enum err e = l->ops->create(l, why);
    if (e != OK) {
        mem_free(m, l, sizeof(*l));
        return e;
    }
    *out = l;
    return OK;
}

static void acceptor_free(struct acceptor *a) {
    timer_clear(a->loop, &a->retry);
    list_del(&a->link);
    mem_free(a->loop->mem, a, sizeof(*a));
}

void loop_destroy(struct loop *l) {
    file_stop(l);
    l->ops->destroy(l);
    while (!list_empty(&l->acceptors)) {
        struct acceptor *a = CONTAINER_OF(l->acceptors.next, struct acceptor, link);
        if (a->listener != NULL)
            l->ops->close(a->fd);
        acceptor_free(a);
    }
    buf_pool_deinit(l);
    mem_free(l->mem, l, sizeof(*l));
}

enum err loop_attach(struct loop *l) {
    ASSERT(!l->attached);
    enum err e = l->ops->attach(l);
    l->attached = e == OK;
    return e;
}

const char *loop_kind_name(const struct loop *l) {
    return l->ops->name;
}

const char *loop_features(const struct loop *l) {
    return l->features;
}

uint64_t loop_now_ns(const struct loop *l) {
    return l->now_ns;
}

int64_t loop_wall_ms(const struct loop *l) {
    return l->wall_ms;
}

void loop_wake(struct loop *from, struct loop *to) {
    if (from == to) {
        to->woken_self = true;
        return;
    }
    /* Full barrier, also when a doorbell is on its way already: what the caller wrote before is
     * then seen by the owner after it has answered that one. */
    if (!atomic_exchange(&to->woken, true))
        to->ops->wake(from, to);
}

/* --- delivery --- */

void loop_touch(struct loop *l, struct stream *s) {
    if (s->flags & STREAM_QUEUED)
        return;
    list_del(&s->link);
    list_add_tail(&l->todo, &s->link);
    s->flags |= STREAM_QUEUED;
}

void loop_starve(struct loop *l, struct stream *s) {
    s->flags |= STREAM_STARVED;
    loop_touch(l, s);
}

/* Keeps bytes for after the pause. They move out of the pool: streams that stay paused for long
 * must not take it from the others. */
static void hold(struct loop *l, struct stream *s, struct io_buf *b, bool first) {
    b = buf_spill(l, b);
    struct io_buf **at = &s->held;
    while (!first && *at != NULL)
        at = &(*at)->next;
    b->next = *at;
    *at = b;
    s->flags |= STREAM_HELD;
}

/* Delivers until all is consumed, or the rest is held because a callback has paused the stream. */
static void deliver_now(struct loop *l, struct stream *s, struct io_buf *b) {
    while ((s->flags & (STREAM_DIRECT | STREAM_PAUSED | STREAM_CLOSED)) == STREAM_DIRECT &&
           b->len > 0) {
        size_t n = b->len < s->direct_len ? b->len : s->direct_len;
        memcpy(s->direct, b->data, n);
        b->data += n;
        b->len -= (uint32_t)n;
        loop_deliver_direct(s, n);
    }
    if (b->len > 0 && (s->flags & (STREAM_PAUSED | STREAM_CLOSED)) == STREAM_PAUSED) {
        hold(l, s, b, true);
        return;
    }
    if (b->len > 0 && !(s->flags & STREAM_CLOSED))
        s->ops->on_data(s, b);
    buf_release(b);
}

void loop_deliver(struct loop *l, struct stream *s, struct io_buf *b) {
    if (likely(!(s->flags & (STREAM_PAUSED | STREAM_CLOSED | STREAM_DIRECT | STREAM_HELD)))) {
        s->ops->on_data(s, b);
        buf_release(b);
    } else if (s->flags & STREAM_CLOSED) {
        buf_release(b);
    } else if (s->flags & (STREAM_PAUSED | STREAM_HELD)) {
        hold(l, s, b, false);
    } else {
        deliver_now(l, s, b);
    }
}

void loop_deliver_direct(struct stream *s, size_t n) {
    ASSERT(n <= s->direct_len);
    s->direct += n;
    s->direct_len -= n;
    if (s->direct_len == 0)
        s->flags &= ~(uint32_t)STREAM_DIRECT;
    if (!(s->flags & STREAM_CLOSED))
        s->ops->on_direct(s, n);
}

void loop_deliver_end(struct loop *l, struct stream *s, int error) {
    if (s->flags & (STREAM_CLOSED | STREAM_ENDED))
        return;
    s->flags |= STREAM_ENDED;
    loop_touch(l, s);
    if (s->flags & (STREAM_PAUSED | STREAM_HELD)) {
        s->flags |= STREAM_END_HELD;
        s->end_error = error;
        return;
    }
    s->ops->on_end(s, error);
}

void loop_receive(struct loop *l, struct stream *s) {
    if (s->flags & (STREAM_PAUSED | STREAM_CLOSED | STREAM_ENDED | STREAM_HELD))
        return;
    ssize_t n;
    if (s->flags & STREAM_DIRECT) {
        n = l->ops->receive(s, s->direct, s->direct_len);
        read_clocks(l); /* what is here now may have been sent since the poll */
        if (n > 0)
            loop_deliver_direct(s, (size_t)n);
    } else {
        struct io_buf *b = buf_take(l);
        if (b == NULL) {
            loop_starve(l, s);
            return;
        }
        n = l->ops->receive(s, b->data, LOOP_BUF_BYTES);
        read_clocks(l);
        b->len = n > 0 ? (uint32_t)n : 0;
        if (n > 0)
            loop_deliver(l, s, b);
        else
            buf_release(b);
    }
    if (n == 0)
        loop_deliver_end(l, s, 0);
    else if (n < 0 && n != -EAGAIN && n != -EINTR)
        loop_deliver_end(l, s, (int)-n);
}

void loop_writable(struct loop *l, struct stream *s) {
    s->flags &= ~(uint32_t)STREAM_WANT_WRITE;
    loop_touch(l, s);
    if (s->flags & STREAM_CLOSED)
        return;
    if (unlikely(s->flags & STREAM_CONNECTING)) {
        s->flags &= ~(uint32_t)STREAM_CONNECTING;
        int error = l->ops->connected(s);
        if (error != 0) {
            loop_deliver_end(l, s, error);
            return;
        }
    }
    s->ops->on_writable(s);
}

/* --- the turn --- */

/* Streams that found no buffer try again, as many as there are buffers now. */
static void feed_starved(struct loop *l) {
    for (unsigned n = buf_free_count(&l->pool); n > 0 && !list_empty(&l->starved); n--) {
        struct stream *s = CONTAINER_OF(l->starved.next, struct stream, link);
        s->flags &= ~(uint32_t)STREAM_STARVED;
        loop_touch(l, s);
    }
}

static bool has_callback(const struct stream *s) {
    if (s->flags & STREAM_CLOSED)
        return s->inflight == 0;
    return !(s->flags & STREAM_PAUSED) && (s->flags & (STREAM_HELD | STREAM_END_HELD));
}

static void arm_acceptors(struct loop *l) {
    l->acceptors_todo = false;
    for (struct list *at = l->acceptors.next, *next = at->next; at != &l->acceptors;
         at = next, next = at->next) {
        struct acceptor *a = CONTAINER_OF(at, struct acceptor, link);
        if (!l->ops->arm_acceptor(l, a))
            l->acceptors_todo = l->retry = true;
        if (a->listener == NULL && !a->armed)
            acceptor_free(a);
    }
}

static void arm_todo(struct loop *l) {
    struct list again;
    list_init(&again);
    while (!list_empty(&l->todo)) {
        struct stream *s = CONTAINER_OF(l->todo.next, struct stream, link);
        list_del(&s->link);
        if (!l->ops->arm(l, s)) {
            list_add_tail(&again, &s->link);
            l->retry = true;
            continue;
        }
        s->flags &= ~(uint32_t)STREAM_QUEUED;
        if (has_callback(s))
            list_add_tail(&l->ready, &s->link);
        else if ((s->flags & (STREAM_STARVED | STREAM_CLOSED)) == STREAM_STARVED)
            list_add_tail(&l->starved, &s->link);
    }
    while (!list_empty(&again)) {
        struct list *node = again.next;
        list_del(node);
        list_add_tail(&l->todo, node);
    }
}

/* Tells the kernel what has changed since the last turn. */
static void arm_all(struct loop *l) {
    l->retry = false;
    if (unlikely(l->acceptors_todo))
        arm_acceptors(l);
    arm_todo(l);
    if (unlikely(!list_empty(&l->files.waiting)))
        loop_files_begin(l);
    if (unlikely(!list_empty(&l->starved))) {
        feed_starved(l);
        arm_todo(l);
    }
}

static void deliver_held(struct loop *l, struct stream *s) {
    while (s->held != NULL && !(s->flags & (STREAM_PAUSED | STREAM_CLOSED))) {
        struct io_buf *b = s->held;
        s->held = b->next;
        if (s->held == NULL)
            s->flags &= ~(uint32_t)STREAM_HELD;
        deliver_now(l, s, b);
    }
    if ((s->flags & (STREAM_END_HELD | STREAM_HELD | STREAM_PAUSED | STREAM_CLOSED)) ==
        STREAM_END_HELD) {
        s->flags &= ~(uint32_t)STREAM_END_HELD;
        s->ops->on_end(s, s->end_error);
    }
    loop_touch(l, s); /* to receive again, or for what the callbacks wanted */
}

static unsigned deliver_ready(struct loop *l) {
    unsigned n = 0;
    while (!list_empty(&l->ready)) {
        struct stream *s = CONTAINER_OF(l->ready.next, struct stream, link);
        list_del(&s->link);
        if (s->flags & STREAM_CLOSED)
            s->ops->on_released(s); /* s may be gone now */
        else
            deliver_held(l, s);
        n++;
    }
    return n;
}

/* How long there is nothing to do but wait for others. */
static uint64_t wait_ns(struct loop *l, uint64_t timeout_ns) {
    if (timeout_ns == 0 || l->retry || l->woken_self || !list_empty(&l->ready) ||
        !list_empty(&l->files.refused))
        return 0;
    uint64_t due_ns = wheel_next_ns(&l->wheel);
    if (due_ns == UINT64_MAX)
        return timeout_ns;
    uint64_t now_ns = clock_mono_ns(); /* the turn since the last reading may have been long */
    if (due_ns <= now_ns)
        return 0;
    return due_ns - now_ns < timeout_ns ? due_ns - now_ns : timeout_ns;
}

static void sleep_for(struct loop *l, uint64_t ns, const struct loop_hooks *hooks) {
    if (hooks == NULL) {
        l->ops->wait(l, ns);
        return;
    }
    l->asleep = true;
    if (hooks->sleeping(hooks->arg)) {
        l->ops->wait(l, ns);
        hooks->awake(hooks->arg);
        l->asleep = false;
    } else {
        l->asleep = false;
        l->ops->wait(l, 0);
    }
}

unsigned loop_poll(struct loop *l, uint64_t timeout_ns, const struct loop_hooks *hooks) {
    ASSERT_SLOW(l->attached);
    arm_all(l);
    uint64_t ns = wait_ns(l, timeout_ns);
    if (l->ops->prepare(l) || ns == 0)
        l->ops->wait(l, 0);
    else
        sleep_for(l, ns, hooks);

    l->hooks = hooks;
    read_clocks(l);
    l->grown = false;
    unsigned events = l->woken_self ? 1 : 0;
    l->woken_self = false;
    if (unlikely(!list_empty(&l->ready)))
        events += deliver_ready(l);
    events += l->ops->dispatch(l);
    if (unlikely(l->files.under_way > 0))
        events += loop_files_finish(l);
    events += wheel_run(&l->wheel, l->now_ns);
    buf_trim(l);
    l->hooks = NULL;
    return events;
}

/* --- streams --- */

enum err stream_start(struct loop *l, struct stream *s, const struct stream_ops *ops, int fd) {
    *s = (struct stream){.ops = ops, .fd = fd};
    list_init(&s->link);
    loop_touch(l, s);
    return OK;
}

void stream_connect(struct loop *l, struct stream *s, const struct stream_ops *ops,
                    const struct sockaddr *addr, socklen_t addr_len) {
    int fd = l->ops->connect(l, addr, addr_len);
    *s = (struct stream){.ops = ops, .fd = fd};
    if (fd >= 0) {
        s->flags = STREAM_CONNECTING | STREAM_WANT_WRITE;
    } else {
        s->flags = STREAM_ENDED | STREAM_END_HELD; /* told after the wait, as all is */
        s->end_error = -fd;
    }
    list_init(&s->link);
    loop_touch(l, s);
}

void stream_pause(struct loop *l, struct stream *s) {
    s->flags |= STREAM_PAUSED;
    loop_touch(l, s);
}

void stream_resume(struct loop *l, struct stream *s) {
    s->flags &= ~(uint32_t)STREAM_PAUSED;
    loop_touch(l, s);
}

void stream_direct(struct loop *l, struct stream *s, char *dst, size_t len) {
    ASSERT(len > 0);
    ASSERT(s->direct_len == 0);
    s->direct = dst;
    s->direct_len = len;
    s->flags |= STREAM_DIRECT;
    loop_touch(l, s);
}

ssize_t stream_send(struct loop *l, struct stream *s, const struct iovec *iov, int iov_len) {
    ASSERT_SLOW(!(s->flags & STREAM_CLOSED));
    if (unlikely(s->flags & STREAM_CONNECTING))
        return 0;
    return l->ops->send(s, iov, iov_len);
}

void stream_want_write(struct loop *l, struct stream *s) {
    if (s->fd < 0)
        return; /* it could not even begin to connect, or is closed */
    s->flags |= STREAM_WANT_WRITE;
    loop_touch(l, s);
}

void stream_close(struct loop *l, struct stream *s) {
    if (s->flags & STREAM_CLOSED)
        return;
    s->flags |= STREAM_CLOSED;
    while (s->held != NULL) {
        struct io_buf *b = s->held;
        s->held = b->next;
        buf_release(b);
    }
    if (s->fd >= 0) /* it may never have had one */
        l->ops->close(s->fd);
    s->fd = -1;
    loop_touch(l, s);
}

/* --- listeners --- */

static void retry_accept(struct timer *t) {
    struct acceptor *a = t->arg;
    if (a->listener != NULL)
        a->listener->paused = false;
    a->loop->acceptors_todo = true;
}

enum err listener_start(struct loop *l, struct listener *ls, int fd) {
    struct acceptor *a = mem_zalloc(l->mem, sizeof(*a));
    if (a == NULL)
        return ERR_NOMEM;
    a->listener = ls;
    a->loop = l;
    a->fd = fd;
    a->retry = (struct timer){.fire = retry_accept, .arg = a};
    list_add_tail(&l->acceptors, &a->link);
    l->acceptors_todo = true;
    ls->fd = fd;
    ls->paused = false;
    ls->acceptor = a;
    return OK;
}

void listener_stop(struct loop *l, struct listener *ls) {
    struct acceptor *a = ls->acceptor;
    if (a == NULL)
        return;
    timer_clear(l, &a->retry);
    a->listener = NULL;
    ls->acceptor = NULL;
    if (l->ops->stop_acceptor != NULL)
        l->ops->stop_acceptor(l, a);
    l->ops->close(a->fd);
    ls->fd = a->fd = -1;
    l->acceptors_todo = true;
}

/* Errors that belong to one connection; the next one may do better. */
static bool passes_by(int error) {
    switch (error) {
    case EAGAIN:
    case EINTR:
    case ECANCELED:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
        return true;
    default:
        return false;
    }
}

void loop_accepted(struct loop *l, struct acceptor *a, int fd) {
    struct listener *ls = a->listener;
    if (fd >= 0) {
        a->logged = false;
        if (ls != NULL)
            ls->on_accept(ls, fd);
        else
            l->ops->close(fd);
        return;
    }
    if (ls == NULL || passes_by(-fd))
        return;
    if (!a->logged)
        LOGW("Accepting connections: %s; trying again every %d ms", strerror(-fd),
             LOOP_ACCEPT_RETRY_MS);
    a->logged = true;
    ls->paused = true;
    l->acceptors_todo = true;
    timer_set(l, &a->retry, l->now_ns + (uint64_t)LOOP_ACCEPT_RETRY_MS * 1000000);
}

/* --- real descriptors --- */

ssize_t loop_socket_send(struct stream *s, const struct iovec *iov, int iov_len) {
    ssize_t n;
    do {
        if (iov_len == 1) {
            n = send(s->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
        } else {
            struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                               .msg_iovlen = (size_t)iov_len};
            n = sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    } while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    return errno == EAGAIN ? 0 : -errno;
}

ssize_t loop_socket_receive(struct stream *s, char *dst, size_t len) {
    ssize_t n = recv(s->fd, dst, len, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

int loop_socket_connect(struct loop *l, const struct sockaddr *addr, socklen_t addr_len) {
    (void)l;
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const int yes = 1;
    if (addr->sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (connect(fd, addr, addr_len) == 0 || errno == EINPROGRESS || errno == EINTR)
        return fd; /* an interrupted one goes on by itself */
    int error = errno;
    (void)close(fd);
    return -error;
}

int loop_socket_connected(const struct stream *s) {
    int error = 0;
    socklen_t len = sizeof(error);
    return getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
}

void loop_socket_close(int fd) {
    /* Whatever close says, the descriptor is gone. */
    (void)close(fd);
}
