/* epoll.c: the loop over epoll, level-triggered, for where io_uring cannot be had.
 *
 * A stream's descriptor is registered for what the stream wants, by arm(), and not at all while it
 * wants nothing: a hang-up would be reported in every turn otherwise.
 */
#include "loop_impl.h"
#include <assert.h>
#include <errno.h>
#include <stdalign.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_PER_TURN = 64 };

/* The low bits of epoll_data: what the address is. */
enum kind { KIND_STREAM, KIND_ACCEPT, KIND_BELL, KIND_MASK = 3 };
static_assert(alignof(struct stream) > KIND_MASK, "addresses leave the low bits free");

/* Backend bits of stream.flags: what is registered. */
enum {
    REGISTERED_IN = 1 << STREAM_BACKEND_BIT,
    REGISTERED_OUT = REGISTERED_IN << 1,
    REGISTERED = REGISTERED_IN | REGISTERED_OUT,
};

struct epoll {
    int fd;
    int bell;
    bool pwait2;
    int count; /* of events, found by wait for dispatch */
    struct epoll_event events[LOOP_EVENTS_MAX];
};

static struct epoll *epoll_of(const struct loop *l) {
    return l->backend;
}

static enum err create(struct loop *l, const char **why) {
    enum err e = ERR_NOMEM;
    struct epoll *ep = mem_zalloc(l->mem, sizeof(*ep));
    if (ep == NULL)
        return e;
    l->backend = ep;
    *why = "no memory for receive buffers";
    if (buf_pool_init(l, NULL) != OK)
        goto fail;
    e = ERR_IO;
    *why = "the kernel refuses an epoll instance";
    ep->fd = epoll_create1(EPOLL_CLOEXEC);
    if (ep->fd < 0)
        goto fail;
    *why = "no eventfd";
    ep->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = KIND_BELL};
    if (ep->bell < 0 || epoll_ctl(ep->fd, EPOLL_CTL_ADD, ep->bell, &ev) != 0)
        goto fail_fd;
    ep->pwait2 = !(l->disabled & LOOP_EPOLL_PWAIT2);
    return OK;

fail_fd:
    if (ep->bell >= 0)
        (void)close(ep->bell);
    (void)close(ep->fd);
fail:
    buf_pool_deinit(l);
    mem_free(l->mem, ep, sizeof(*ep));
    return e;
}

static void destroy(struct loop *l) {
    struct epoll *ep = epoll_of(l);
    (void)close(ep->fd);
    (void)close(ep->bell);
    mem_free(l->mem, ep, sizeof(*ep));
}

static enum err attach(struct loop *l) {
    struct epoll *ep = epoll_of(l);
    const struct timespec zero = {0};
    if (ep->pwait2 && epoll_pwait2(ep->fd, ep->events, 1, &zero, NULL) < 0 && errno != EINTR)
        ep->pwait2 = false; /* a kernel before 5.11, or a filter */
    loop_add_feature(l, ep->pwait2 ? "pwait2" : "millisecond-timers");
    return OK;
}

/* --- registration --- */

static int control(struct epoll *ep, int fd, uint32_t had, uint32_t want, uint64_t data) {
    struct epoll_event ev = {.events = want, .data.u64 = data};
    int op = had == 0 ? EPOLL_CTL_ADD : want == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    return epoll_ctl(ep->fd, op, fd, &ev) == 0 ? 0 : errno;
}

static bool arm(struct loop *l, struct stream *s) {
    if (s->flags & STREAM_CLOSED)
        return true; /* closing has unregistered it */
    uint32_t had =
        ((s->flags & REGISTERED_IN) ? EPOLLIN : 0U) | ((s->flags & REGISTERED_OUT) ? EPOLLOUT : 0U);
    uint32_t want = (s->flags & STREAM_WANT_WRITE) ? EPOLLOUT : 0U;
    if (!(s->flags & STREAM_NOT_RECEIVING))
        want |= EPOLLIN;
    if (want == had)
        return true;
    int error = control(epoll_of(l), s->fd, had, want, (uintptr_t)s | KIND_STREAM);
    if (error != 0) {
        /* Out of memory or of watches: the connection cannot be served. Told after the wait. */
        s->flags = (s->flags & ~(uint32_t)REGISTERED) | STREAM_ENDED | STREAM_END_HELD;
        s->flags &= ~(uint32_t)STREAM_WANT_WRITE;
        s->end_error = error;
        return true;
    }
    s->flags = (s->flags & ~(uint32_t)REGISTERED) | ((want & EPOLLIN) ? REGISTERED_IN : 0U) |
               ((want & EPOLLOUT) ? REGISTERED_OUT : 0U);
    return true;
}

static bool arm_acceptor(struct loop *l, struct acceptor *a) {
    if (a->listener == NULL) {
        a->armed = false;
        return true;
    }
    bool wanted = !a->listener->paused;
    if (a->armed == wanted)
        return true;
    if (control(epoll_of(l), a->fd, a->armed ? EPOLLIN : 0U, wanted ? EPOLLIN : 0U,
                (uintptr_t)a | KIND_ACCEPT) != 0)
        return false;
    a->armed = wanted;
    return true;
}

/* --- events --- */

static void accept_some(struct loop *l, struct acceptor *a) {
    for (int i = 0; i < ACCEPTS_PER_TURN && a->listener != NULL; i++) {
        int fd = accept4(a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        loop_accepted(l, a, fd < 0 ? -errno : fd);
        if (fd < 0)
            return;
    }
}

static void on_stream(struct loop *l, struct stream *s, uint32_t events) {
    const uint32_t broken = EPOLLERR | EPOLLHUP;
    if ((s->flags & REGISTERED_IN) && (events & (EPOLLIN | broken)))
        loop_receive(l, s);
    if ((s->flags & REGISTERED_OUT) && (events & (EPOLLOUT | broken)) &&
        (s->flags & (STREAM_WANT_WRITE | STREAM_CLOSED)) == STREAM_WANT_WRITE)
        loop_writable(l, s);
}

static void on_bell(struct loop *l) {
    uint64_t count;
    /* Only resets the counter; nothing depends on its value. */
    ssize_t n = read(epoll_of(l)->bell, &count, sizeof(count));
    (void)n;
    atomic_store(&l->woken, false);
}

static unsigned dispatch(struct loop *l) {
    struct epoll *ep = epoll_of(l);
    for (int i = 0; i < ep->count; i++) {
        uint64_t data = ep->events[i].data.u64;
        void *p = (void *)(uintptr_t)(data & ~(uint64_t)KIND_MASK);
        switch ((enum kind)(data & KIND_MASK)) {
        case KIND_STREAM:
            on_stream(l, p, ep->events[i].events);
            break;
        case KIND_ACCEPT:
            accept_some(l, p);
            break;
        default:
            on_bell(l);
            break;
        }
    }
    return (unsigned)ep->count;
}

/* --- waiting --- */

static bool prepare(struct loop *l) {
    (void)l;
    return false;
}

static int milliseconds(uint64_t ns) {
    uint64_t ms = ns / 1000000 + (ns % 1000000 != 0); /* rounded up: timers are never early */
    return ms < INT32_MAX ? (int)ms : INT32_MAX;
}

static void wait(struct loop *l, uint64_t timeout_ns) {
    struct epoll *ep = epoll_of(l);
    if (timeout_ns == UINT64_MAX) {
        ep->count = epoll_wait(ep->fd, ep->events, LOOP_EVENTS_MAX, -1);
    } else if (ep->pwait2) {
        struct timespec ts = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                              .tv_nsec = (long)(timeout_ns % 1000000000)};
        ep->count = epoll_pwait2(ep->fd, ep->events, LOOP_EVENTS_MAX, &ts, NULL);
    } else {
        ep->count = epoll_wait(ep->fd, ep->events, LOOP_EVENTS_MAX, milliseconds(timeout_ns));
    }
    if (ep->count < 0) {
        ASSERT(errno == EINTR);
        ep->count = 0;
    }
}

static void wake(struct loop *from, struct loop *to) {
    (void)from;
    const uint64_t one = 1;
    /* Fails only when the counter is at its end, and then the bell rings anyway. */
    ssize_t n = write(epoll_of(to)->bell, &one, sizeof(one));
    (void)n;
}

static bool quiet(const struct loop *l) {
    (void)l;
    return true;
}

const struct io_ops epoll_ops = {
    .name = "epoll",
    .create = create,
    .destroy = destroy,
    .attach = attach,
    .arm = arm,
    .arm_acceptor = arm_acceptor,
    .prepare = prepare,
    .wait = wait,
    .quiet = quiet,
    .dispatch = dispatch,
    .wake = wake,
    .send = loop_socket_send,
    .receive = loop_socket_receive,
    .close = loop_socket_close,
    .connect = loop_socket_connect,
    .connected = loop_socket_connected,
    .file_begin = file_thread_begin,
    .file_size = file_fstat,
};
