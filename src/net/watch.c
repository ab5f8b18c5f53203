/* watch.c: slow and large commands, noted where the client is known: on the shard of its connection. */
#include "net_impl.h"
#include <stdio.h>

/* show: an argument that the keyspace took over is not ours to read any more; how long it was is. */
static void note(struct batch *b, const struct op *op, enum slow_kind kind, int64_t value) {
    char address[NET_ADDRESS_BYTES], taken[48];
    struct span copy[SLOW_ARGS_MAX];
    const struct conn *c = b->conn;
    struct span name = {c->session.name, c->session.name != NULL ? strlen(c->session.name) : 0};
    const struct span *argv = op->argv;
    struct span last = argv[op->argc - 1];
    if (last.ptr == NULL && last.len != 0 && op->argc <= SLOW_ARGS_MAX) {
        int n = snprintf(taken, sizeof taken, "... (%zu more bytes)", last.len);
        memcpy(copy, argv, op->argc * sizeof *copy);
        copy[op->argc - 1] = (struct span){taken, (size_t)n};
        argv = copy;
    }
    conn_address(c, address, sizeof address);
    shard_claim();
    observe_slow(b->net->shard, kind, value, op->cmd, argv, op->argc,
                 (struct span){address, strlen(address)}, name);
}

static size_t request_bytes(const struct op *op) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < op->argc; i++)
        bytes += op->argv[i].len;
    return bytes;
}

static size_t refs_bytes(const struct outbuf *out, uint32_t from, uint32_t to) {
    size_t bytes = 0;
    for (uint32_t i = from; i < to; i++)
        bytes += out->refs[i].len;
    return bytes;
}

/* may_be_large: looks at sums, so that small batches, which are nearly all, cost nothing more. */
static bool may_have_large_request(const struct batch *b, uint64_t limit) {
    return b->big_count != 0 || (b->buf != NULL && b->buf->len >= limit) ||
           (b->in != NULL && b->in->len >= limit);
}

static void watch_requests(struct batch *b, uint64_t limit) {
    for (uint16_t i = 0; i < b->op_count; i++) {
        size_t bytes = request_bytes(&b->ops[i]);
        if (b->ops[i].kind == OP_RUN && bytes >= limit)
            note(b, &b->ops[i], SLOW_REQUEST, (int64_t)bytes);
    }
}

static void watch_replies(struct batch *b, const struct outbuf *out, uint16_t first,
                          struct watch_from from, uint64_t limit) {
    if (out->len - from.len + out->ref_bytes < limit)
        return;
    for (uint16_t i = first; i != OP_END; i = b->ops[i].next) {
        const struct op *op = &b->ops[i];
        size_t bytes = op->reply_end - from.len + refs_bytes(out, from.refs, op->refs_end);
        from = (struct watch_from){op->reply_end, op->refs_end};
        if (op->kind == OP_RUN && bytes >= limit)
            note(b, op, SLOW_REPLY, (int64_t)bytes);
    }
}

static void watch_slow(struct batch *b, uint16_t first) {
    for (uint16_t i = first; i != OP_END; i = b->ops[i].next)
        if (b->ops[i].slow_us != 0)
            note(b, &b->ops[i], SLOW_TIME, b->ops[i].slow_us - 1);
}

void watch_batch(struct batch *b, const struct watch_from *direct) {
    const struct config *config = b->net->instance->config;
    /* -1, which turns them off, is more than any number of bytes. */
    uint64_t request = (uint64_t)config->request_bytes, reply = (uint64_t)config->reply_bytes;
    if (unlikely(may_have_large_request(b, request)))
        watch_requests(b, request);
    if (likely(direct != NULL)) {
        struct part *p = &b->parts[b->net->shard->id];
        if (unlikely(p->slow))
            watch_slow(b, b->fanout ? 0 : p->first);
        if (!b->quiet)
            watch_replies(b, &b->conn->out, b->fanout ? 0 : p->first, *direct, reply);
        return;
    }
    for (unsigned i = 0; i < shards_count(b->net->shard->all); i++) {
        struct part *p = &b->parts[i];
        if (!p->used)
            continue;
        if (unlikely(p->slow))
            watch_slow(b, p->first);
        watch_replies(b, &p->out, p->first, (struct watch_from){0, 0}, reply);
    }
}
