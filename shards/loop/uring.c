/* uring.c: the loop over io_uring.
 *
 * One io_uring_enter per loop_poll submits, runs the deferred work and waits. A completion's
 * user_data is the address of what it is about, with its kind in the low bits; an address stays
 * valid while its owner counts the operation as in flight.
 *
 * What the kernel lacks is stepped down from, one feature at a time:
 *     DEFER_TASKRUN -> COOP_TASKRUN -> plain ring
 *     multishot recv with provided buffers -> poll, then recv(2) into a buffer of the pool
 *     multishot accept -> one accept at a time
 *     MSG_RING -> eventfd
 *     operations of files -> the thread of file_thread.c
 */
#include "loop_impl.h"
#include "shards/log.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdalign.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SQ_ENTRIES = 256,
    CQ_ENTRIES = 4096,
    BUF_GROUP = 1,
    TRIAL_WAIT_NS = 100 * 1000 * 1000,
    DIRECT_MAX = 1 << 30, /* bytes per operation; the field has 32 bits */
    STOP_CALLS = 16,
    ASYNC_BYTES = 32 * 1024,
};

/* The low bits of user_data. */
enum kind {
    KIND_RECV,
    KIND_DIRECT,
    KIND_READABLE,
    KIND_WRITABLE,
    KIND_ACCEPT,
    KIND_FILE,
    KIND_WAKE, /* a MSG_RING of ours failed; the address is the target loop's */
    KIND_OWN,  /* no address, but one of enum own */
    KIND_MASK = 7,
};
static_assert(KIND_OWN <= KIND_MASK, "kinds fit the low bits");
static_assert(alignof(struct stream) > KIND_MASK, "addresses leave the low bits free");
static_assert(alignof(struct file_request) > KIND_MASK, "addresses leave the low bits free");

/* All of user_data where it is about the loop itself. */
enum own {
    OWN_BELL = KIND_OWN,                 /* our eventfd was read */
    OWN_RING_BELL = KIND_OWN + (1 << 3), /* a MSG_RING came in */
    OWN_NOTHING = KIND_OWN + (2 << 3),   /* a cancellation's own completion */
};

/* Backend bits of stream.flags. */
enum {
    RECV_ARMED = 1 << STREAM_BACKEND_BIT,
    RECV_DIRECT = RECV_ARMED << 1, /* what is armed receives in place */
    RECV_CANCELLED = RECV_ARMED << 2,
    WRITE_ARMED = RECV_ARMED << 3,
    WRITE_CANCELLED = RECV_ARMED << 4,
};

struct uring {
    struct io_uring ring;
    struct io_uring_buf_ring *bufs; /* NULL: no provided buffers */
    int bell;
    uint64_t bell_count; /* where the eventfd is read to */
    bool bell_armed;
    bool multishot_recv, multishot_accept, msg_ring, task_flag;
    bool file_ops;
    bool quiet;      /* the last enter brought nothing */
    bool believed;   /* work_waits was answered by a poll that does not sleep */
    bool registered; /* the ring's descriptor, with the owner thread */
    pid_t owner;
    __u8 int_flags; /* of ring, before it was registered */
};

static struct uring *uring_of(const struct loop *l) {
    return l->backend;
}

static const size_t buf_ring_bytes = LOOP_BUFS_MAX * sizeof(struct io_uring_buf);

/* --- creation --- */

/* The most the kernel grants, stepping down when it does not know a flag. */
static int create_ring(struct uring *u, unsigned disabled) {
    const unsigned base = IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE;
    const unsigned steps[] = {
        IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SUBMIT_ALL |
            IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN |
            IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_R_DISABLED,
    };
    int ret = -EINVAL;
    for (size_t i = 0; i < COUNT_OF(steps) && ret == -EINVAL; i++) {
        if (((disabled & LOOP_DEFER_TASKRUN) && (steps[i] & IORING_SETUP_DEFER_TASKRUN)) ||
            ((disabled & LOOP_COOP_TASKRUN) && (steps[i] & IORING_SETUP_COOP_TASKRUN)))
            continue;
        struct io_uring_params p = {.flags = base | steps[i], .cq_entries = CQ_ENTRIES};
        ret = io_uring_queue_init_params(SQ_ENTRIES, &u->ring, &p);
    }
    return ret;
}

static const char *refusal(int error) {
    switch (error) {
    case ENOSYS:
        return "the kernel has no io_uring";
    case EPERM:
    case EACCES:
        return "io_uring is forbidden here (kernel.io_uring_disabled, or a container's policy)";
    case ENOMEM:
        return "no memory for the ring (locked memory limit, ulimit -l)";
    case EMFILE:
    case ENFILE:
        return "out of descriptors";
    default:
        return "the kernel refuses to set up a ring";
    }
}

/* Without provided buffers, receiving falls back to polling: never an error. */
static void create_buf_ring(struct loop *l, struct uring *u) {
    if (l->disabled & LOOP_BUF_RING)
        return;
    void *mem =
        mmap(NULL, buf_ring_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED)
        return;
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)mem, .ring_entries = LOOP_BUFS_MAX, .bgid = BUF_GROUP};
    if (io_uring_register_buf_ring(&u->ring, &reg, 0) != 0) {
        (void)munmap(mem, buf_ring_bytes);
        return;
    }
    u->bufs = mem;
}

static void probe_opcodes(struct uring *u, unsigned disabled) {
    static const int file_ops[] = {IORING_OP_OPENAT,  IORING_OP_READ,  IORING_OP_WRITE,
                                   IORING_OP_FSYNC,   IORING_OP_CLOSE, IORING_OP_RENAMEAT,
                                   IORING_OP_UNLINKAT};
    struct io_uring_probe *probe = io_uring_get_probe_ring(&u->ring);
    u->msg_ring = !(disabled & LOOP_MSG_RING) && probe != NULL &&
                  io_uring_opcode_supported(probe, IORING_OP_MSG_RING);
    /* All or none: every kernel that this loop runs on (5.11) has them, unless a policy takes some away. */
    u->file_ops = !(disabled & LOOP_FILE_OPS) && probe != NULL;
    for (size_t i = 0; i < COUNT_OF(file_ops) && u->file_ops; i++)
        u->file_ops = io_uring_opcode_supported(probe, file_ops[i]);
    io_uring_free_probe(probe);
}

static void close_ring(struct uring *u) {
    /* A registered descriptor is an index in the table of the owner thread; when that has ended,
     * the same index may be another ring's here. */
    if (u->registered && gettid() != u->owner) {
        u->ring.int_flags = u->int_flags;
        u->ring.enter_ring_fd = u->ring.ring_fd;
    }
    io_uring_queue_exit(&u->ring);
    if (u->bufs != NULL)
        (void)munmap(u->bufs, buf_ring_bytes);
}

static enum err create(struct loop *l, const char **why) {
    struct uring *u = mem_zalloc(l->mem, sizeof(*u));
    if (u == NULL)
        return ERR_NOMEM;
    enum err e = ERR_UNSUPPORTED;
    int ret = create_ring(u, l->disabled);
    if (ret != 0) {
        *why = refusal(-ret);
        goto fail;
    }
    *why = "the kernel's io_uring is too old (5.11 is needed)";
    unsigned needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL;
    if ((u->ring.features & needed) != needed)
        goto fail_ring;
    *why = "no eventfd";
    u->bell = eventfd(0, EFD_CLOEXEC);
    if (u->bell < 0) {
        e = ERR_IO;
        goto fail_ring;
    }
    create_buf_ring(l, u);
    u->multishot_recv = u->bufs != NULL && !(l->disabled & LOOP_MULTISHOT_RECV);
    u->multishot_accept = !(l->disabled & LOOP_MULTISHOT_ACCEPT);
    probe_opcodes(u, l->disabled);
    u->task_flag = u->ring.flags & IORING_SETUP_TASKRUN_FLAG;
    *why = "no memory for receive buffers";
    e = buf_pool_init(l, u->multishot_recv ? u->bufs : NULL);
    if (e != OK)
        goto fail_pool;
    l->backend = u;
    return OK;

fail_pool:
    buf_pool_deinit(l);
    (void)close(u->bell);
fail_ring:
    close_ring(u);
fail:
    mem_free(l->mem, u, sizeof(*u));
    return e;
}

static void destroy(struct loop *l) {
    struct uring *u = uring_of(l);
    close_ring(u);
    (void)close(u->bell);
    mem_free(l->mem, u, sizeof(*u));
}

/* --- submission --- */

static uint64_t tag(const void *p, enum kind kind) {
    return (uint64_t)(uintptr_t)p | (uint64_t)kind;
}

/* NULL when the submission ring is full and the kernel takes nothing now. */
static struct io_uring_sqe *get_sqe(struct uring *u) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    if (likely(sqe != NULL))
        return sqe;
    (void)io_uring_submit(&u->ring);
    return io_uring_get_sqe(&u->ring);
}

static bool cancel(struct uring *u, uint64_t user_data) {
    struct io_uring_sqe *sqe = get_sqe(u);
    if (sqe == NULL)
        return false;
    io_uring_prep_cancel64(sqe, user_data, 0);
    io_uring_sqe_set_data64(sqe, OWN_NOTHING);
    return true;
}

static enum kind armed_kind(const struct uring *u, const struct stream *s) {
    if (s->flags & RECV_DIRECT)
        return KIND_DIRECT;
    return u->multishot_recv ? KIND_RECV : KIND_READABLE;
}

static bool arm_recv(struct uring *u, struct stream *s) {
    struct io_uring_sqe *sqe = get_sqe(u);
    if (sqe == NULL)
        return false;
    s->flags |= RECV_ARMED;
    if (s->flags & STREAM_DIRECT) {
        size_t len = s->direct_len < DIRECT_MAX ? s->direct_len : DIRECT_MAX;
        s->flags |= RECV_DIRECT;
        io_uring_prep_recv(sqe, s->fd, s->direct, len, 0);
    } else if (u->multishot_recv) {
        io_uring_prep_recv_multishot(sqe, s->fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = BUF_GROUP;
    } else {
        io_uring_prep_poll_add(sqe, s->fd, POLLIN);
    }
    io_uring_sqe_set_data64(sqe, tag(s, armed_kind(u, s)));
    s->inflight++;
    return true;
}

static bool cancel_recv(struct uring *u, struct stream *s) {
    if (!cancel(u, tag(s, armed_kind(u, s))))
        return false;
    s->flags |= RECV_CANCELLED;
    return true;
}

static bool arm_write(struct uring *u, struct stream *s) {
    struct io_uring_sqe *sqe = get_sqe(u);
    if (sqe == NULL)
        return false;
    io_uring_prep_poll_add(sqe, s->fd, POLLOUT);
    io_uring_sqe_set_data64(sqe, tag(s, KIND_WRITABLE));
    s->flags |= WRITE_ARMED;
    s->inflight++;
    return true;
}

static bool arm(struct loop *l, struct stream *s) {
    struct uring *u = uring_of(l);
    bool closed = s->flags & STREAM_CLOSED;
    bool wanted = !(s->flags & STREAM_NOT_RECEIVING);
    if (s->flags & RECV_ARMED) {
        bool fits = !(s->flags & STREAM_DIRECT) == !(s->flags & RECV_DIRECT);
        if ((!wanted || !fits) && !(s->flags & RECV_CANCELLED) && !cancel_recv(u, s))
            return false;
    } else if (wanted && !arm_recv(u, s)) {
        return false;
    }
    if (s->flags & WRITE_ARMED) {
        if (!closed || (s->flags & WRITE_CANCELLED))
            return true;
        if (!cancel(u, tag(s, KIND_WRITABLE)))
            return false;
        s->flags |= WRITE_CANCELLED;
        return true;
    }
    return closed || !(s->flags & STREAM_WANT_WRITE) || arm_write(u, s);
}

static bool arm_acceptor(struct loop *l, struct acceptor *a) {
    struct uring *u = uring_of(l);
    bool wanted = a->listener != NULL && !a->listener->paused;
    if (a->armed == wanted || a->cancelling)
        return true;
    if (a->armed) {
        a->cancelling = cancel(u, tag(a, KIND_ACCEPT));
        return a->cancelling;
    }
    struct io_uring_sqe *sqe = get_sqe(u);
    if (sqe == NULL)
        return false;
    if (u->multishot_accept)
        io_uring_prep_multishot_accept(sqe, a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    else
        io_uring_prep_accept(sqe, a->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    io_uring_sqe_set_data64(sqe, tag(a, KIND_ACCEPT));
    a->armed = true;
    return true;
}

/* An accept in flight keeps the socket listening after its descriptor is closed, even for a while
 * after the process has ended; so it is cancelled here and now. Before 6.0 the kernel refuses, and
 * arm_acceptor does it in the next turn. */
static void stop_acceptor(struct loop *l, struct acceptor *a) {
    struct uring *u = uring_of(l);
    if (!a->armed || gettid() != u->owner)
        return;
    struct io_uring_sync_cancel_reg reg = {
        .addr = tag(a, KIND_ACCEPT), .fd = -1, .timeout = {.tv_sec = -1, .tv_nsec = -1}};
    if (io_uring_register_sync_cancel(&u->ring, &reg) != 0)
        return;
    /* The cancelled accept lets go of the socket in deferred work, of which the kernel does some 20
     * pieces per call. Should more have piled up, the next turn does it. */
    for (int i = 0; i < STOP_CALLS && io_uring_get_events(&u->ring) == 0; i++)
        continue;
}

static bool arm_bell(struct uring *u) {
    struct io_uring_sqe *sqe = get_sqe(u);
    if (sqe == NULL)
        return false;
    io_uring_prep_read(sqe, u->bell, &u->bell_count, sizeof(u->bell_count), 0);
    io_uring_sqe_set_data64(sqe, OWN_BELL);
    u->bell_armed = true;
    return true;
}

/* --- completion --- */

static void on_recv_rare(struct loop *l, struct stream *s, int res, unsigned flags) {
    if (!(flags & IORING_CQE_F_MORE)) {
        s->inflight--;
        s->flags &= ~(uint32_t)(RECV_ARMED | RECV_CANCELLED);
        loop_touch(l, s);
    }
    struct io_buf *b = NULL;
    if (flags & IORING_CQE_F_BUFFER)
        b = buf_taken(l, flags >> IORING_CQE_BUFFER_SHIFT);
    if (res > 0) {
        ASSERT(b != NULL);
        b->len = (uint32_t)res;
        loop_deliver(l, s, b);
        return;
    }
    if (b != NULL)
        buf_release(b);
    if (res == -ENOBUFS) {
        /* Once per poll: many streams say so in one batch. */
        if (!l->grown)
            l->grown = buf_grow(l);
        loop_starve(l, s);
    } else if (res != -ECANCELED && res != -EINTR && res != -EAGAIN) {
        loop_deliver_end(l, s, -res);
    }
}

static void on_recv(struct loop *l, struct stream *s, int res, unsigned flags) {
    const unsigned usual = IORING_CQE_F_MORE | IORING_CQE_F_BUFFER;
    if (unlikely(res <= 0 || (flags & usual) != usual)) {
        on_recv_rare(l, s, res, flags);
        return;
    }
    struct io_buf *b = buf_taken(l, flags >> IORING_CQE_BUFFER_SHIFT);
    b->len = (uint32_t)res;
    loop_deliver(l, s, b);
}

static void on_direct(struct loop *l, struct stream *s, int res) {
    s->inflight--;
    s->flags &= ~(uint32_t)(RECV_ARMED | RECV_CANCELLED | RECV_DIRECT);
    loop_touch(l, s);
    if (res > 0)
        loop_deliver_direct(s, (size_t)res);
    else if (res != -ECANCELED && res != -EINTR && res != -EAGAIN)
        loop_deliver_end(l, s, -res);
}

static void on_readable(struct loop *l, struct stream *s, int res) {
    s->inflight--;
    s->flags &= ~(uint32_t)(RECV_ARMED | RECV_CANCELLED);
    loop_touch(l, s);
    if (res >= 0)
        loop_receive(l, s);
    else if (res != -ECANCELED && res != -EINTR)
        loop_deliver_end(l, s, -res);
}

static void on_writable(struct loop *l, struct stream *s) {
    s->inflight--;
    s->flags &= ~(uint32_t)(WRITE_ARMED | WRITE_CANCELLED);
    loop_writable(l, s);
}

static void on_accept(struct loop *l, struct acceptor *a, int res, unsigned flags) {
    struct uring *u = uring_of(l);
    if (!(flags & IORING_CQE_F_MORE)) {
        a->armed = a->cancelling = false;
        l->acceptors_todo = true;
    }
    if (res == -EINVAL && u->multishot_accept) {
        u->multishot_accept = false; /* a kernel before 5.19 */
        return;
    }
    loop_accepted(l, a, res);
}

static void ring_bell(struct loop *to) {
    const uint64_t one = 1;
    /* Fails only when the counter is at its end, and then the bell rings anyway. */
    ssize_t n = write(uring_of(to)->bell, &one, sizeof(one));
    (void)n;
}

static void on_own(struct loop *l, enum own what, unsigned flags) {
    if (what == OWN_NOTHING) {
        if (flags & IORING_CQE_F_BUFFER) /* of the trial in attach */
            buf_release(buf_taken(l, flags >> IORING_CQE_BUFFER_SHIFT));
        return;
    }
    if (what == OWN_BELL)
        uring_of(l)->bell_armed = false;
    atomic_store(&l->woken, false);
}

static void handle(struct loop *l, uint64_t user_data, int res, unsigned flags) {
    void *p = (void *)(uintptr_t)(user_data & ~(uint64_t)KIND_MASK);
    switch ((enum kind)(user_data & KIND_MASK)) {
    case KIND_RECV:
        on_recv(l, p, res, flags);
        break;
    case KIND_DIRECT:
        on_direct(l, p, res);
        break;
    case KIND_READABLE:
        on_readable(l, p, res);
        break;
    case KIND_WRITABLE:
        on_writable(l, p);
        break;
    case KIND_ACCEPT:
        on_accept(l, p, res, flags);
        break;
    case KIND_FILE:
        loop_file_over(l, p, res);
        break;
    case KIND_WAKE:
        ring_bell(p);
        break;
    case KIND_OWN:
        on_own(l, (enum own)user_data, flags);
        break;
    }
}

static unsigned dispatch(struct loop *l) {
    struct uring *u = uring_of(l);
    unsigned waiting = io_uring_cq_ready(&u->ring);
    if (l->pool.used + waiting > l->pool.peak)
        l->pool.peak = l->pool.used + waiting;
    struct io_uring_cqe *cqe;
    unsigned head, n = 0;
    io_uring_for_each_cqe(&u->ring, head, cqe) {
        handle(l, cqe->user_data, cqe->res, cqe->flags);
        if (++n == LOOP_EVENTS_MAX)
            break;
    }
    io_uring_cq_advance(&u->ring, n);
    u->quiet = n == 0;
    return n;
}

/* --- waiting --- */

static bool work_waits(const struct uring *u) {
    return io_uring_cq_ready(&u->ring) > 0 ||
           (u->task_flag && (IO_URING_READ_ONCE(*u->ring.sq.kflags) &
                             (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0);
}

static bool prepare(struct loop *l) {
    struct uring *u = uring_of(l);
    if (unlikely(!u->bell_armed) && !arm_bell(u))
        return true;
    /* The kernel raises the flag after it queued the work, so the flag may come up when that work has
     * run already, and then stays until more comes. It is believed once; the next time we sleep, which
     * ends at once if there is work after all. */
    u->believed = work_waits(u) && (io_uring_cq_ready(&u->ring) > 0 || !u->believed);
    return u->believed;
}

static void wait(struct loop *l, uint64_t timeout_ns) {
    struct uring *u = uring_of(l);
    int ret;
    if (timeout_ns == 0) {
        /* The flag does not tell of work that the last enter left over, hence `quiet`. */
        if (u->quiet && u->task_flag && io_uring_sq_ready(&u->ring) == 0 && !work_waits(u))
            return;
        ret = io_uring_submit_and_get_events(&u->ring);
    } else {
        struct __kernel_timespec ts = {.tv_sec = (long long)(timeout_ns / 1000000000),
                                       .tv_nsec = (long long)(timeout_ns % 1000000000)};
        struct io_uring_cqe *cqe;
        ret = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1,
                                               timeout_ns == UINT64_MAX ? NULL : &ts, NULL);
    }
    /* What was not submitted stays in the ring for the next time; other errors are ours. */
    ASSERT(ret >= 0 || ret == -ETIME || ret == -EINTR || ret == -EBUSY || ret == -EAGAIN ||
           ret == -ENOMEM);
}

static void wake(struct loop *from, struct loop *to) {
    if (from == NULL || from->kind != LOOP_URING || !uring_of(from)->msg_ring) {
        ring_bell(to);
        return;
    }
    struct uring *u = uring_of(from);
    struct io_uring_sqe *sqe = get_sqe(u);
    if (sqe == NULL) {
        ring_bell(to);
        return;
    }
    io_uring_prep_msg_ring(sqe, uring_of(to)->ring.ring_fd, 0, OWN_RING_BELL, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(sqe, tag(to, KIND_WAKE));
    /* At once: whoever is woken should not wait for the rest of our turn. */
    (void)io_uring_submit(&u->ring);
}

/* --- attaching --- */

/* Does multishot recv into provided buffers work? One byte through a socket pair tells. */
static bool try_multishot_recv(struct loop *l, struct uring *u) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    bool works = false, more = send(pair[1], "x", 1, MSG_NOSIGNAL) == 1;
    (void)close(pair[1]);
    struct io_uring_sqe *sqe = get_sqe(u);
    ASSERT(sqe != NULL); /* the ring is new */
    io_uring_prep_recv_multishot(sqe, pair[0], NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = BUF_GROUP;
    io_uring_sqe_set_data64(sqe, OWN_NOTHING);
    while (more) {
        struct __kernel_timespec ts = {.tv_nsec = TRIAL_WAIT_NS};
        struct io_uring_cqe *cqe = NULL;
        if (io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL) < 0 || cqe == NULL) {
            works = false;
            break;
        }
        more = cqe->flags & IORING_CQE_F_MORE;
        works = works || (cqe->res == 1 && more && (cqe->flags & IORING_CQE_F_BUFFER));
        handle(l, cqe->user_data, cqe->res, cqe->flags);
        io_uring_cqe_seen(&u->ring, cqe);
    }
    (void)close(pair[0]);
    return works;
}

static enum err without_multishot_recv(struct loop *l, struct uring *u) {
    u->multishot_recv = false;
    (void)io_uring_unregister_buf_ring(&u->ring, BUF_GROUP);
    buf_pool_deinit(l);
    return buf_pool_init(l, NULL);
}

static void name_features(struct loop *l, const struct uring *u) {
    const struct {
        bool has;
        const char *word;
    } words[] = {
        {u->ring.flags & IORING_SETUP_SINGLE_ISSUER, "single-issuer"},
        {u->ring.flags & IORING_SETUP_DEFER_TASKRUN, "defer-taskrun"},
        {u->ring.flags & IORING_SETUP_COOP_TASKRUN, "coop-taskrun"},
        {u->registered, "registered-ring"},
        {u->multishot_recv, "multishot-recv"},
        {u->multishot_accept, "multishot-accept"},
        {u->msg_ring, "msg-ring"},
        {u->file_ops, "file-ops"},
    };
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (words[i].has)
            loop_add_feature(l, words[i].word);
}

static enum err attach(struct loop *l) {
    struct uring *u = uring_of(l);
    /* liburing 2.3 declares io_uring_enable_rings, but its shared library does not export it. */
    int ret = io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (ret != 0) {
        errno = -ret;
        return ERR_IO;
    }
    u->owner = gettid();
    u->int_flags = u->ring.int_flags;
    u->registered =
        !(l->disabled & LOOP_REGISTERED_RING) && io_uring_register_ring_fd(&u->ring) == 1;
    if (u->multishot_recv && !try_multishot_recv(l, u)) {
        enum err e = without_multishot_recv(l, u);
        if (e != OK)
            return e;
    }
    name_features(l, u);
    return OK;
}

/* The kernel does not tell which buffers it has, so the group is made anew. Receptions that are armed name the
 * group and find the new one. */
static bool empty_ring(struct loop *l) {
    struct uring *u = uring_of(l);
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)u->bufs, .ring_entries = LOOP_BUFS_MAX, .bgid = BUF_GROUP};
    if (io_uring_unregister_buf_ring(&u->ring, BUF_GROUP) == 0) {
        io_uring_buf_ring_init(u->bufs);
        if (io_uring_register_buf_ring(&u->ring, &reg, 0) == 0)
            return true;
    }
    LOGW("io_uring: the ring of receive buffers is lost (%s); receiving goes on without",
         strerror(errno));
    u->multishot_recv = false;
    return false;
}

/* --- files --- */

static bool file_begin(struct loop *l, struct file_request *r) {
    struct uring *u = uring_of(l);
    if (!u->file_ops)
        return file_thread_begin(l, r);
    struct io_uring_sqe *sqe = get_sqe(u);
    if (sqe == NULL)
        return false;
    unsigned len = (unsigned)file_part(r);
    uint64_t offset = r->offset + r->did;
    switch (r->op) {
    case FILE_OPEN:
        io_uring_prep_openat(sqe, AT_FDCWD, r->path, r->flags | O_CLOEXEC, (mode_t)r->mode);
        break;
    case FILE_READ:
        io_uring_prep_read(sqe, r->fd, r->bytes + r->did, len, offset);
        break;
    case FILE_WRITE:
        io_uring_prep_write(sqe, r->fd, r->bytes + r->did, len, offset);
        break;
    case FILE_SYNC:
        io_uring_prep_fsync(sqe, r->fd, 0);
        break;
    case FILE_CLOSE:
        io_uring_prep_close(sqe, r->fd);
        break;
    case FILE_RENAME:
        io_uring_prep_renameat(sqe, AT_FDCWD, r->path, AT_FDCWD, r->path2, 0);
        break;
    case FILE_REMOVE:
        io_uring_prep_unlinkat(sqe, AT_FDCWD, r->path, 0);
        break;
    case FILE_OPS:
        ASSERT(false);
    }
    /* To the kernel's workers at once. Else this thread copies what lies in the page cache, tries writes that ext4 refuses
     * to do without waiting, and frees the blocks of a removed file in its last close. README.md has numbers. */
    if (r->op == FILE_CLOSE || r->op == FILE_WRITE || (r->op == FILE_READ && len >= ASYNC_BYTES))
        sqe->flags |= IOSQE_ASYNC;
    io_uring_sqe_set_data64(sqe, tag(r, KIND_FILE));
    return true;
}

/* Completions of other kinds stay in the ring, for nobody may be called back any more; those of files are
 * crossed out. */
static void file_wait(struct loop *l) {
    struct uring *u = uring_of(l);
    ASSERT(gettid() == u->owner);
    for (;;) {
        struct io_uring_cqe *cqe;
        unsigned head, ready = 0;
        io_uring_for_each_cqe(&u->ring, head, cqe) {
            uint64_t data = cqe->user_data;
            ready++;
            if ((data & KIND_MASK) != KIND_FILE)
                continue;
            cqe->user_data = OWN_NOTHING;
            loop_file_over(l, (void *)(uintptr_t)(data & ~(uint64_t)KIND_MASK), cqe->res);
        }
        if (l->files.under_way == 0)
            return;
        (void)io_uring_submit_and_wait(&u->ring, ready + 1);
    }
}

static bool quiet(const struct loop *l) {
    const struct uring *u = uring_of(l);
    return u->task_flag && io_uring_cq_ready(&u->ring) == 0;
}

const struct io_ops uring_ops = {
    .name = "uring",
    .create = create,
    .destroy = destroy,
    .attach = attach,
    .arm = arm,
    .arm_acceptor = arm_acceptor,
    .stop_acceptor = stop_acceptor,
    .prepare = prepare,
    .wait = wait,
    .quiet = quiet,
    .empty_ring = empty_ring,
    .dispatch = dispatch,
    .wake = wake,
    .send = loop_socket_send,
    .receive = loop_socket_receive,
    .close = loop_socket_close,
    .connect = loop_socket_connect,
    .connected = loop_socket_connected,
    .file_begin = file_begin,
    .file_size = file_fstat,
    .file_wait = file_wait,
};
