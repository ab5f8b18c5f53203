/* sim_pipe.c: bytes on their way from one end of a simulated connection to the other. */
#include "sim_impl.h"
#include <stddef.h>
#include <string.h>

void pipe_init(struct pipe *p) {
    *p = (struct pipe){0};
    list_init(&p->pieces);
}

static struct piece *first(const struct pipe *p) {
    return list_empty(&p->pieces) ? NULL : CONTAINER_OF(p->pieces.next, struct piece, link);
}

const struct piece *pipe_first(const struct pipe *p) {
    return first(p);
}

static void piece_free(struct mem *m, struct piece *piece) {
    list_del(&piece->link);
    /* len was reduced as bytes were read, and off grew by as much. */
    mem_free(m, piece, sizeof(*piece) + piece->off + piece->len);
}

void pipe_clear(struct mem *m, struct pipe *p) {
    while (!list_empty(&p->pieces))
        piece_free(m, first(p));
    p->unread = 0;
}

struct piece *pipe_add(struct mem *m, struct pipe *p, size_t len, uint64_t due_ns) {
    struct piece *piece = mem_alloc(m, sizeof(*piece) + len);
    if (piece == NULL)
        return NULL;
    if (due_ns < p->last_due_ns)
        due_ns = p->last_due_ns;
    *piece = (struct piece){.due_ns = due_ns, .len = len};
    p->last_due_ns = due_ns;
    p->unread += len;
    list_add_tail(&p->pieces, &piece->link);
    return piece;
}

size_t pipe_arrived(const struct pipe *p, uint64_t now_ns) {
    size_t n = 0;
    for (const struct list *at = p->pieces.next; at != &p->pieces; at = at->next) {
        const struct piece *piece = CONTAINER_OF(at, struct piece, link);
        if (piece->due_ns > now_ns)
            break;
        n += piece->len;
    }
    return n;
}

void pipe_take(struct mem *m, struct pipe *p, char *dst, size_t n) {
    p->unread -= n;
    while (n > 0) {
        struct piece *piece = first(p);
        size_t part = piece->len < n ? piece->len : n;
        memcpy(dst, piece->bytes + piece->off, part);
        dst += part;
        n -= part;
        piece->off += part;
        piece->len -= part;
        if (piece->len == 0)
            piece_free(m, piece);
    }
}

bool pipe_over(const struct pipe *p, uint64_t now_ns) {
    const struct piece *piece = first(p);
    return p->ended && (piece == NULL || (piece->len == 0 && piece->due_ns <= now_ns));
}

void pipe_end(struct mem *m, struct pipe *p, uint64_t due_ns) {
    if (p->ended)
        return;
    p->ended = true;
    /* Without memory for the piece the end arrives with the last byte. */
    struct piece *end = pipe_add(m, p, 0, due_ns);
    (void)end;
}
