/* load_read.c: the file in pieces, read ahead of who cuts them. */
#include "load_impl.h"
#include "shards/log.h"
#include <errno.h>
#include <string.h>

/* --- pieces --- */

static struct piece *piece_create(struct load *l, size_t cap) {
    struct mem *m = &l->home->mem;
    struct piece *p = mem_zalloc(m, sizeof *p);
    if (p == NULL)
        return NULL;
    if ((p->bytes = mem_alloc(m, cap)) == NULL) {
        mem_free(m, p, sizeof *p);
        return NULL;
    }
    p->cap = cap;
    p->load = l;
    list_init(&p->link);
    l->piece_count++;
    return p;
}

static void piece_free(struct load *l, struct piece *p) {
    struct mem *m = &l->home->mem;
    list_del(&p->link);
    l->piece_count--;
    mem_free(m, p->bytes, p->cap);
    mem_free(m, p, sizeof *p);
}

/* usual_cap: of a piece that is read into; a small file needs no large one. */
static size_t usual_cap(const struct load *l) {
    return LOAD_HEAD_BYTES + (l->bytes < LOAD_PIECE_BYTES ? (size_t)l->bytes : LOAD_PIECE_BYTES);
}

void piece_back(struct load *l, struct piece *p) {
    if (!p->cut || p->batches != 0)
        return;
    if (p->is_long)
        piece_free(l, p);
    else
        list_add_tail(&l->spare, &p->link);
}

/* --- reading --- */

static void read_done(struct loop *loop, struct file_request *r) {
    shard_claim();
    struct piece *p = CONTAINER_OF(r, struct piece, read);
    p->reading = false;
    timer_set(loop, &persistence_of(p->load->home)->load_at->timer, loop_now_ns(loop));
}

static ON_SHARD void read_start(struct load *l, struct piece *p) {
    uint64_t left = l->bytes - l->read_at;
    size_t len = left < LOAD_PIECE_BYTES ? (size_t)left : LOAD_PIECE_BYTES;
    p->at = l->read_at - LOAD_HEAD_BYTES;
    p->from = LOAD_HEAD_BYTES;
    p->to = LOAD_HEAD_BYTES + len;
    p->batches = 0;
    p->cut = false;
    p->reading = true;
    p->read = (struct file_request){.op = FILE_READ,
                                    .fd = l->fd,
                                    .bytes = (char *)p->bytes + LOAD_HEAD_BYTES,
                                    .len = len,
                                    .offset = l->read_at,
                                    .done = read_done};
    l->read_at += len;
    list_add_tail(&l->pieces, &p->link);
    file_start(l->home->loop, &p->read);
}

void read_ahead(struct load *l) {
    while (l->read_at < l->bytes && !l->giving_up) {
        struct piece *p = NULL;
        if (!list_empty(&l->spare)) {
            p = CONTAINER_OF(l->spare.next, struct piece, link);
            list_del(&p->link);
        } else if (l->piece_count < LOAD_PIECES) {
            p = piece_create(l, usual_cap(l));
        }
        if (p == NULL)
            break;
        read_start(l, p);
    }
    if (l->piece_count == 0 && l->bytes != 0)
        load_fail(l, "no memory to read into");
}

/* --- what comes next --- */

/* sum_rest: of a piece that nothing more is cut from, the checksum takes what it has not seen. */
static void sum_rest(struct load *l) {
    struct piece *p = l->piece;
    l->crc = rdb_crc(l->crc, p->bytes + l->summed, p->to - l->summed);
}

/* take: p is the one that is cut, from `at` on. */
static void take(struct load *l, struct piece *p, size_t at, size_t fresh) {
    struct piece *old = l->piece;
    l->piece = p;
    l->at = at;
    l->summed = fresh;
    if (old != NULL && old != p) {
        old->cut = true;
        piece_back(l, old);
    }
}

/* long_piece: one that begins with what is left of the last, with room for `more` bytes behind it, and for more than that
 * where it is wanted, and there. */
static struct piece *long_piece(struct load *l, size_t left, size_t more, uint64_t ahead) {
    struct piece *old = l->piece, *p;
    size_t need = left + more > l->want ? left + more : l->want + more;
    if (need - left > ahead)
        need = left + (size_t)ahead;
    if (old->is_long && l->at == 0 && old->batches == 0) { /* it is being put together */
        if (old->cap < need) {
            uint8_t *grown = mem_realloc(&l->home->mem, old->bytes, old->cap, need);
            if (grown == NULL)
                return NULL;
            old->bytes = grown;
            old->cap = need;
        }
        return old;
    }
    if ((p = piece_create(l, need)) == NULL)
        return NULL;
    p->is_long = true;
    p->at = piece_offset(old, old->bytes + l->at);
    memcpy(p->bytes, old->bytes + l->at, left);
    p->to = left;
    return p;
}

/* append: what was read comes behind the beginning of a record that is longer than a piece has room for. */
static bool append(struct load *l, struct piece *fresh, size_t left) {
    size_t more = fresh->to - fresh->from;
    struct piece *p = long_piece(l, left, more, l->bytes - fresh->read.offset);
    if (p == NULL) {
        load_fail(l, "no memory for a record of more than %zu bytes", left);
        return false;
    }
    memcpy(p->bytes + left, fresh->bytes + fresh->from, more);
    p->to = left + more;
    take(l, p, 0, left);
    fresh->cut = true;
    piece_back(l, fresh);
    return true;
}

static bool was_read(struct load *l, const struct piece *p) {
    ssize_t n = p->read.result;
    if (n == (ssize_t)p->read.len)
        return true;
    if (n < 0)
        load_fail_at(l, p->read.offset, "cannot be read: %s", strerror((int)-n));
    else
        load_fail_at(l, p->read.offset + (uint64_t)n, "the file has become shorter meanwhile");
    return false;
}

bool read_next(struct load *l) {
    if (list_empty(&l->pieces))
        return false;
    struct piece *fresh = CONTAINER_OF(l->pieces.next, struct piece, link), *old = l->piece;
    if (fresh->reading)
        return false;
    if (!was_read(l, fresh))
        return false;
    list_del(&fresh->link);
    size_t left = 0;
    if (old != NULL) {
        sum_rest(l);
        left = old->to - l->at;
    }
    if (left > LOAD_HEAD_BYTES)
        return append(l, fresh, left);
    if (left > 0)
        memcpy(fresh->bytes + LOAD_HEAD_BYTES - left, old->bytes + l->at, left);
    fresh->from = LOAD_HEAD_BYTES - left;
    take(l, fresh, fresh->from, LOAD_HEAD_BYTES);
    return true;
}

bool read_over(const struct load *l) {
    return l->read_at == l->bytes && list_empty(&l->pieces);
}

bool read_busy(const struct load *l) {
    for (const struct list *i = l->pieces.next; i != &l->pieces; i = i->next)
        if (CONTAINER_OF(i, const struct piece, link)->reading)
            return true;
    return false;
}

void read_free(struct load *l) {
    if (l->piece != NULL)
        piece_free(l, l->piece);
    l->piece = NULL;
    while (!list_empty(&l->pieces))
        piece_free(l, CONTAINER_OF(l->pieces.next, struct piece, link));
    while (!list_empty(&l->spare))
        piece_free(l, CONTAINER_OF(l->spare.next, struct piece, link));
}
