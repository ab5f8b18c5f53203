/* slow.c: slow and large commands, noted where the client is known: on the shard of its connection. */
#include "net_impl.h"

static void note(struct batch *b, const struct op *op, enum slow_kind kind, int64_t value) {
    char address[NET_ADDRESS_BYTES];
    const struct conn *c = b->conn;
    struct span name = {c->session.name, c->session.name != NULL ? strlen(c->session.name) : 0};
    shard_claim();
    conn_address(c, address, sizeof address);
    observe_slow(b->net->shard, kind, value, op->cmd, op->argv, op->argc,
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

/* slots_bytes: what the shards replied for each key. */
static size_t slots_bytes(const struct batch *b, const struct op *op, struct slow_from *from) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < op->slots->count; i++) {
        const struct key_slot *k = &op->slots->slot[i];
        struct slow_from *at = &from[k->shard];
        bytes += k->reply_end - at->len;
        bytes += refs_bytes(&b->parts[k->shard].out, at->refs, k->refs_end);
        *at = (struct slow_from){k->reply_end, k->refs_end};
    }
    return bytes;
}

struct limits {
    uint64_t request, reply; /* bytes; -1, which turns them off, is more than any number */
};

/* look: every command of the batch, in the order the client sent them. `from` is where the replies of each
 * shard's part begin, or, when they went straight to the connection, the only one is of all. */
static void look(struct batch *b, const struct limits *limits, const struct outbuf *direct,
                 struct slow_from *from) {
    for (uint32_t i = 0; i < b->op_count; i++) {
        const struct op *op = &b->ops[i];
        const struct outbuf *out = direct != NULL ? direct : &b->parts[op->shard].out;
        struct slow_from *at = direct != NULL ? from : &from[op->shard];
        size_t reply;
        if (op->kind == OP_ACROSS && op->cmd->across->join == JOIN_KEYS) {
            reply = slots_bytes(b, op, from);
        } else {
            reply = op->reply_end - at->len + refs_bytes(out, at->refs, op->refs_end);
            *at = (struct slow_from){op->reply_end, op->refs_end};
        }
        if (op->kind > OP_ALL)
            continue;
        size_t request = request_bytes(op);
        if (op->slow_us != 0 && !(op->cmd->flags & CMD_SKIP_SLOWLOG))
            note(b, op, SLOW_TIME, op->slow_us - 1);
        if (request >= limits->request)
            note(b, op, SLOW_REQUEST, (int64_t)request);
        if (reply >= limits->reply)
            note(b, op, SLOW_REPLY, (int64_t)reply);
    }
}

static bool may_have_large_request(const struct batch *b, uint64_t limit) {
    return b->big_count != 0 || (b->buf != NULL && b->buf->len >= limit) ||
           (b->in != NULL && b->in->len >= limit);
}

static bool large(const struct outbuf *out, size_t from, uint64_t limit) {
    return out->len - from + out->ref_bytes >= limit;
}

/* slow_batch looks at sums first, so that nearly all batches cost nothing more. */
void slow_batch(struct batch *b, const struct outbuf *direct, const struct slow_from *from) {
    const struct config *config = b->net->instance->config;
    struct limits limits = {(uint64_t)config->request_bytes, (uint64_t)config->reply_bytes};
    unsigned shards = shards_count(b->net->shard->all);
    bool worth = may_have_large_request(b, limits.request);
    if (likely(direct != NULL)) {
        worth |= b->parts[b->net->shard->id].slow || large(direct, from->len, limits.reply);
        if (unlikely(worth)) {
            struct slow_from begin = *from;
            look(b, &limits, direct, &begin);
        }
        return;
    }
    for (unsigned i = 0; i < shards; i++)
        if (b->parts[i].used)
            worth |= b->parts[i].slow || large(&b->parts[i].out, 0, limits.reply);
    if (unlikely(worth)) {
        struct slow_from begin[SHARDS_MAX] = {{0}};
        look(b, &limits, NULL, begin);
    }
}
