/* output.c: replies to sockets: one send per connection and turn, more only while the socket takes them. */
#include "anax/room.h"
#include "net_impl.h"
#include "shards/log.h"
#include <errno.h>

void output_begin(struct conn *c) {
    struct net *n = c->net;
    if (likely(c->out.buf == NULL && n->spare_count != 0)) {
        outbuf_lend(&c->out, n->spares[--n->spare_count], NET_SPARE_BYTES);
        if (n->spare_count < n->spare_least)
            n->spare_least = n->spare_count;
    } else if (c->out.buf == NULL) {
        (void)outbuf_grow(&c->out, NET_SPARE_BYTES);
    }
}

size_t output_bytes(const struct conn *c) {
    size_t refs = 0;
    for (uint32_t i = c->refs_sent; i < c->out.ref_count; i++)
        refs += c->out.refs[i].len;
    return c->out.len - c->out_sent + refs - c->ref_offset;
}

/* output_release: an idle connection keeps no buffer. */
static void release_buffer(struct conn *c) {
    struct net *n = c->net;
    c->out.len = c->out_sent = 0;
    c->out.ref_count = c->refs_sent = 0;
    c->out.ref_bytes = 0;
    if (c->out.buf != NULL && c->out.held == NET_SPARE_BYTES && n->spare_count < NET_SPARES_MAX)
        n->spares[n->spare_count++] = outbuf_take_back(&c->out);
    if (c->out.buf != NULL || c->out.refs != NULL) {
        outbuf_deinit(&c->out);
        outbuf_init(&c->out, &n->shard->mem);
    }
}

void output_free_spares(struct net *n, unsigned keep) {
    while (n->spare_count > keep)
        mem_free(&n->shard->mem, n->spares[--n->spare_count], NET_SPARE_BYTES);
}

static ON_SHARD void drop_ref(struct conn *c, const struct outref *ref) {
    if (ref->origin != NULL)
        part_ref_sent(ref->origin);
    else
        blob_unpin(&c->net->shard->mem, ref->blob);
}

void output_drop(struct conn *c) {
    for (; c->refs_sent < c->out.ref_count; c->refs_sent++)
        drop_ref(c, &c->out.refs[c->refs_sent]);
    c->ref_offset = 0;
    release_buffer(c);
}

/* fill: the next pieces, bytes and references in turn; returns how many and their sum. */
static int fill(const struct conn *c, struct iovec *iov, size_t *total) {
    int n = 0;
    size_t at = c->out_sent, offset = c->ref_offset;
    *total = 0;
    for (uint32_t r = c->refs_sent; n < NET_IOV_MAX - 1; r++, offset = 0) {
        size_t end = r < c->out.ref_count ? c->out.refs[r].at : c->out.len;
        if (end > at) {
            iov[n++] = (struct iovec){c->out.buf + at, end - at};
            *total += end - at;
            at = end;
        }
        if (r == c->out.ref_count)
            break;
        const struct outref *ref = &c->out.refs[r];
        iov[n++] = (struct iovec){ref->blob->data + ref->offset + offset, ref->len - offset};
        *total += ref->len - offset;
    }
    return n;
}

/* sent: n bytes are on their way. */
static ON_SHARD void sent(struct conn *c, size_t n) {
    c->net->stats.bytes_out += n;
    c->bytes_out += n;
    while (n != 0) {
        bool ref_left = c->refs_sent < c->out.ref_count;
        struct outref *ref = ref_left ? &c->out.refs[c->refs_sent] : NULL;
        size_t bytes = (ref_left ? ref->at : c->out.len) - c->out_sent;
        size_t step = n < bytes ? n : bytes;
        c->out_sent += step;
        n -= step;
        if (n == 0 || !ref_left)
            break;
        size_t left = ref->len - c->ref_offset;
        step = n < left ? n : left;
        c->ref_offset += step;
        n -= step;
        if (step == left) {
            c->refs_sent++;
            c->ref_offset = 0;
            drop_ref(c, ref);
        }
    }
}

static bool all_sent(const struct conn *c) {
    return c->out_sent == c->out.len && c->refs_sent == c->out.ref_count;
}

/* over_limit: client-output-buffer-limit normal. */
static bool over_limit(struct conn *c) {
    const struct config_output_limit *limit =
        &c->net->instance->config->output_limit[CONFIG_CLASS_NORMAL];
    if (limit->hard_bytes == 0 && limit->soft_bytes == 0) /* and nobody need add up references */
        return false;
    int64_t bytes = (int64_t)output_bytes(c);
    uint64_t now = c->net->shard->now_ns;
    if (limit->hard_bytes != 0 && bytes > limit->hard_bytes)
        return true;
    if (limit->soft_bytes == 0 || bytes <= limit->soft_bytes) {
        c->soft_limit_since_ns = 0;
        return false;
    }
    if (c->soft_limit_since_ns == 0)
        c->soft_limit_since_ns = now;
    return now - c->soft_limit_since_ns > (uint64_t)limit->soft_s * 1000000000ULL;
}

void output_check_limit(struct conn *c) {
    if (c->broken || !over_limit(c))
        return;
    c->net->stats.output_limit++;
    LOGW("client %lu: closed, its output buffer limit is reached", (unsigned long)c->session.id);
    conn_break(c);
}

/* compact: a reader that keeps up slowly must not make the buffer grow for ever. */
static void compact(struct conn *c) {
    if (c->out_sent < c->out.len / 2 || c->out_sent < NET_SPARE_BYTES)
        return;
    size_t rest = c->out.len - c->out_sent;
    memmove(c->out.buf, c->out.buf + c->out_sent, rest);
    uint32_t refs = c->out.ref_count - c->refs_sent;
    if (c->refs_sent != 0)
        memmove(c->out.refs, c->out.refs + c->refs_sent, refs * sizeof *c->out.refs);
    for (uint32_t i = 0; i < refs; i++)
        c->out.refs[i].at -= c->out_sent;
    c->out.len = rest;
    c->out.ref_count = refs;
    c->out_sent = 0;
    c->refs_sent = 0;
}

void output_flush(struct conn *c) {
    struct net *n = c->net;
    if (c->broken)
        return;
    if (unlikely(c->out.failed)) {
        LOGW("client %lu: closed, no memory for its replies", (unsigned long)c->session.id);
        conn_break(c);
        return;
    }
    while (!c->want_write && !all_sent(c)) {
        struct iovec iov[NET_IOV_MAX];
        size_t total;
        int count = fill(c, iov, &total);
        ssize_t took = stream_send(n->shard->loop, &c->stream, iov, count);
        n->stats.writes++;
        if (took < 0) {
            conn_break(c);
            return;
        }
        sent(c, (size_t)took);
        if ((size_t)took < total) {
            c->want_write = true;
            conn_todo(c);
        }
    }
    if (likely(all_sent(c))) {
        release_buffer(c);
        return;
    }
    output_check_limit(c);
    compact(c);
}

void output_look(struct conn *c) {
    if (c->out.len - c->out_sent + c->out.ref_bytes < NET_OUT_LOOK_BYTES)
        return;
    output_flush(c);
    room_pay(c->net->shard);
    client_changed(c);
    (void)client_evict(c->net);
}
