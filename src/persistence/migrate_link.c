/* migrate_link.c: see migrate_impl.h. */
#include "migrate_impl.h"
#include "persistence_impl.h"
#include "shards/assert.h"
#include <errno.h>

enum { DB_UNKNOWN = -1, IOV_AT_ONCE = 64, MESSAGE_PARTS = 3 };
#define NS_PER_MS 1000000ULL

/* What goes out next. */
struct cursor {
    uint32_t command, part;
    size_t offset;
};

struct link {
    struct stream stream;
    struct timer timer; /* of the exchange, or of being kept */
    struct shard *shard;
    struct link *next;
    struct exchange *x; /* NULL: it is idle, or closed */
    int64_t db;
    bool connected, closed;
    bool selects; /* the exchange has to */
    struct cursor at;
    uint32_t answered; /* commands; the next line is about this one */
    uint32_t line_len;
    char line[LINK_LINE_MAX];
    size_t host_len, port_len;
    char name[]; /* host, port */
};

/* A shard's. */
struct links {
    struct link *first; /* all of them, the one that was made last first */
    unsigned count, idle;
    bool stopping;
};

static struct links *links_of(const struct shard *s) {
    return persistence_of(s)->links;
}

static size_t link_bytes(size_t name_len) {
    return sizeof(struct link) + name_len;
}

/* link_close: what happens to it from now on is nobody's business. */
static ON_SHARD void link_close(struct link *k) {
    if (k->closed)
        return;
    k->closed = true;
    if (k->x == NULL)
        links_of(k->shard)->idle--;
    k->x = NULL;
    timer_clear(k->shard->loop, &k->timer);
    stream_close(k->shard->loop, &k->stream);
}

static void on_released(struct stream *st) {
    struct link *k = CONTAINER_OF(st, struct link, stream), **at;
    struct links *all = links_of(k->shard);
    for (at = &all->first; *at != k; at = &(*at)->next) {
    }
    *at = k->next;
    all->count--;
    mem_free(&k->shard->mem, k, link_bytes(k->host_len + k->port_len));
}

static void alive(struct link *k) {
    timer_set(k->shard->loop, &k->timer, loop_now_ns(k->shard->loop) + k->x->timeout_ns);
}

/* --- the end of an exchange --- */

static ON_SHARD void begin(struct exchange *x);

/* lost: the exchange goes on with a connection of its own, or it is over. */
static ON_SHARD void lost(struct link *k, enum exchange_end why, bool late) {
    struct exchange *x = k->x;
    bool again = x->again && k->connected && !late && k->answered <= EXCHANGE_FIRST &&
                 !links_of(k->shard)->stopping;
    link_close(k);
    if (again) {
        x->again = false;
        begin(x);
    } else {
        x->over(x, why);
    }
}

/* failed: by what it was doing. That nobody listens there Redis finds out when
 * it writes. */
static ON_SHARD void failed(struct link *k, bool late) {
    bool sent = k->at.command == k->x->count;
    lost(k, !k->connected && late ? EXCHANGE_CONNECT : sent ? EXCHANGE_READ : EXCHANGE_WRITE, late);
}

/* drop_oldest: there are too many that are kept. */
static ON_SHARD void drop_oldest(struct links *all) {
    struct link *oldest = NULL;
    for (struct link *k = all->first; k != NULL; k = k->next)
        if (!k->closed && k->x == NULL &&
            (oldest == NULL || k->timer.due_ns < oldest->timer.due_ns))
            oldest = k;
    ASSERT(oldest != NULL);
    link_close(oldest);
}

static ON_SHARD void done(struct link *k) {
    struct exchange *x = k->x;
    struct links *all = links_of(k->shard);
    bool keep = k->at.command == x->count; /* else it has said more than it was asked */
    k->x = NULL;
    all->idle++;
    timer_set(k->shard->loop, &k->timer, loop_now_ns(k->shard->loop) + LINK_IDLE_MS * NS_PER_MS);
    if (!keep)
        link_close(k);
    else if (all->idle > LINKS_IDLE_MAX)
        drop_oldest(all);
    x->over(x, EXCHANGE_DONE);
}

/* --- sending --- */

static bool left_out(const struct link *k, uint32_t command) {
    return k->x->commands[command].part[0].len == 0 || (command == EXCHANGE_SELECT && !k->selects);
}

/* next_part: moves on to where there is something to send; false: all has been
 * sent. */
static bool next_part(const struct link *k, struct cursor *at) {
    const struct exchange *x = k->x;
    while (at->command < x->count) {
        if (at->part == MESSAGE_PARTS || left_out(k, at->command))
            *at = (struct cursor){.command = at->command + 1};
        else if (at->offset < x->commands[at->command].part[at->part].len)
            return true;
        else
            *at = (struct cursor){.command = at->command, .part = at->part + 1};
    }
    return false;
}

/* gather: what comes next, as much as one call sends. */
static int gather(const struct link *k, struct iovec *iov) {
    struct cursor at = k->at;
    int n = 0;
    while (n < IOV_AT_ONCE && next_part(k, &at)) {
        struct span s = k->x->commands[at.command].part[at.part];
        iov[n++] = (struct iovec){(void *)(uintptr_t)(s.ptr + at.offset), s.len - at.offset};
        at.offset = s.len;
    }
    return n;
}

static void sent(struct link *k, size_t bytes) {
    while (next_part(k, &k->at) && bytes > 0) {
        size_t here = k->x->commands[k->at.command].part[k->at.part].len - k->at.offset;
        size_t n = bytes < here ? bytes : here;
        k->at.offset += n;
        bytes -= n;
    }
}

static ON_SHARD void send_some(struct link *k) {
    struct iovec iov[IOV_AT_ONCE];
    while (next_part(k, &k->at)) {
        ssize_t n = stream_send(k->shard->loop, &k->stream, iov, gather(k, iov));
        if (n < 0) {
            failed(k, false);
            return;
        }
        if (n == 0) {
            stream_want_write(k->shard->loop, &k->stream);
            return;
        }
        alive(k);
        sent(k, (size_t)n);
    }
}

static void on_writable(struct stream *st) {
    shard_claim();
    struct link *k = CONTAINER_OF(st, struct link, stream);
    if (k->x == NULL)
        return;
    k->connected = true;
    alive(k);
    send_some(k);
}

/* --- what comes back --- */

static void skip_left_out(struct link *k) {
    while (k->answered < k->x->count && left_out(k, k->answered))
        k->answered++;
}

/* take_line: false: that was the last one that it was asked for. */
static ON_SHARD bool take_line(struct link *k) {
    struct exchange *x = k->x;
    struct span line = {k->line, k->line_len};
    uint32_t command = k->answered++;
    k->line_len = 0;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (line.len > 0 && line.ptr[0] == '-')
        k->db = DB_UNKNOWN;
    else if (command == EXCHANGE_SELECT)
        k->db = x->db;
    x->line(x, command, line);
    skip_left_out(k);
    if (k->answered < x->count)
        return true;
    done(k);
    return false;
}

static void on_data(struct stream *st, struct io_buf *buf) {
    shard_claim();
    struct link *k = CONTAINER_OF(st, struct link, stream);
    if (k->x == NULL) { /* nobody has asked it anything */
        link_close(k);
        return;
    }
    alive(k);
    for (uint32_t i = 0; i < buf->len; i++) {
        if (buf->data[i] != '\n') {
            if (k->line_len < LINK_LINE_MAX)
                k->line[k->line_len++] = buf->data[i];
        } else if (!take_line(k)) {
            if (i + 1 < buf->len) /* it says more than it was asked */
                link_close(k);
            return;
        }
    }
}

static void on_end(struct stream *st, int error) {
    shard_claim();
    struct link *k = CONTAINER_OF(st, struct link, stream);
    if (k->x == NULL)
        link_close(k);
    else
        failed(k, error == ETIMEDOUT);
}

static void on_time(struct timer *t) {
    shard_claim();
    struct link *k = CONTAINER_OF(t, struct link, timer);
    if (k->x == NULL)
        link_close(k);
    else
        failed(k, true);
}

/* --- the beginning of one --- */

static struct link *find_idle(const struct shard *s, const struct exchange *x) {
    struct link *k = links_of(s)->first;
    for (; k != NULL; k = k->next) {
        struct span host = {k->name, k->host_len}, port = {k->name + k->host_len, k->port_len};
        if (!k->closed && k->x == NULL && span_eq(host, x->host) && span_eq(port, x->port))
            break;
    }
    return k;
}

static ON_SHARD struct link *connect_to(struct shard *s, const struct exchange *x) {
    static const struct stream_ops ops = {.on_data = on_data,
                                          .on_writable = on_writable,
                                          .on_end = on_end,
                                          .on_released = on_released};
    struct links *all = links_of(s);
    if (x->address_len == 0 || all->stopping)
        return NULL;
    struct link *k = mem_zalloc(&s->mem, link_bytes(x->host.len + x->port.len));
    if (k == NULL)
        return NULL;
    k->shard = s;
    k->db = DB_UNKNOWN;
    k->timer.fire = on_time;
    k->host_len = x->host.len;
    k->port_len = x->port.len;
    memcpy(k->name, x->host.ptr, x->host.len);
    memcpy(k->name + x->host.len, x->port.ptr, x->port.len);
    stream_connect(s->loop, &k->stream, &ops, (const struct sockaddr *)&x->address, x->address_len);
    k->next = all->first;
    all->first = k;
    all->count++;
    return k;
}

static void begin(struct exchange *x) {
    struct link *k = x->again ? find_idle(x->shard, x) : NULL;
    bool kept = k != NULL;
    if (kept)
        links_of(x->shard)->idle--;
    else
        k = connect_to(x->shard, x);
    if (k == NULL) {
        x->over(x, EXCHANGE_CONNECT);
        return;
    }
    k->x = x;
    k->at = (struct cursor){0};
    k->answered = k->line_len = 0;
    k->selects = k->db != x->db;
    skip_left_out(k);
    alive(k);
    if (kept)
        send_some(k);
}

void exchange_start(struct shard *s, struct exchange *x) {
    x->shard = s;
    x->again = true;
    begin(x);
}

void links_stopping(struct shard *s) {
    struct links *all = links_of(s);
    all->stopping = true;
    for (struct link *k = all->first, *next; k != NULL; k = next) {
        next = k->next;
        if (k->closed)
            continue;
        if (k->x == NULL)
            link_close(k);
        else
            failed(k, true);
    }
}

enum err links_start(struct shard *s) {
    persistence_of(s)->links = mem_zalloc(&s->mem, sizeof(struct links));
    return persistence_of(s)->links == NULL ? ERR_NOMEM : OK;
}

void links_stop(struct shard *s) {
    mem_free(&s->mem, persistence_of(s)->links, sizeof(struct links));
}

bool links_idle(const struct shard *s) {
    return links_of(s)->count == 0;
}
