/* fifo_ghost.c: the memory of keys that were evicted. fifo_impl.h says how it is laid out. */
#include "fifo_impl.h"

static uint16_t *line_at(const struct ghost *g, uint32_t i) {
    return g->segments[i / GHOST_SEGMENT] + (size_t)(i % GHOST_SEGMENT) * GHOST_LINE;
}

static uint16_t *line_of(const struct ghost *g, uint64_t hash) {
    uint32_t i = (uint32_t)hash & (g->base * 2 - 1);
    return line_at(g, i < g->lines ? i : i - g->base);
}

/* print: not of the bits that choose a line, before there are 2^24 of them; 0 is an empty place. */
static uint16_t print(uint64_t hash) {
    uint16_t bits = (uint16_t)(hash >> 24);
    return bits == 0 ? 1 : bits;
}

enum { SEGMENT_BYTES = GHOST_SEGMENT * GHOST_LINE * sizeof(uint16_t) };

static bool segment_room(struct ghost *g, struct mem *m, uint32_t segment) {
    if (segment >= g->cap) {
        uint32_t cap = g->cap == 0 ? 1 : g->cap * 2;
        uint16_t **segments = mem_zalloc(m, cap * sizeof *segments);
        if (segments == NULL)
            return false;
        if (g->cap != 0)
            memcpy(segments, g->segments, g->cap * sizeof *segments);
        mem_free(m, g->segments, g->cap * sizeof *segments);
        g->segments = segments;
        g->cap = cap;
    }
    if (g->segments[segment] == NULL)
        g->segments[segment] = mem_alloc_lines(m, SEGMENT_BYTES);
    return g->segments[segment] != NULL;
}

static void grow(struct ghost *g, struct mem *m) {
    uint32_t i = g->lines, base = i == g->base * 2 ? i : g->base;
    if (!segment_room(g, m, i / GHOST_SEGMENT))
        return;
    if (i == 0) {
        memset(line_at(g, 0), 0, GHOST_LINE * sizeof(uint16_t));
        base = 1;
    } else {
        memcpy(line_at(g, i), line_at(g, i - base), GHOST_LINE * sizeof(uint16_t));
    }
    g->base = base;
    g->lines++;
}

static void shrink(struct ghost *g, struct mem *m) {
    uint32_t last = --g->lines;
    if (last % GHOST_SEGMENT == 0) {
        mem_free_lines(m, g->segments[last / GHOST_SEGMENT], SEGMENT_BYTES);
        g->segments[last / GHOST_SEGMENT] = NULL;
    }
    if (last < g->base)
        g->base /= 2;
}

bool ghost_take(struct ghost *g, uint64_t hash) {
    if (g->lines == 0)
        return false;
    uint16_t *line = line_of(g, hash), wanted = print(hash);
    for (unsigned i = 0; i < GHOST_LINE; i++) {
        if (line[i] != wanted)
            continue;
        memmove(line + i, line + i + 1, (GHOST_LINE - 1 - i) * sizeof *line);
        line[GHOST_LINE - 1] = 0;
        return true;
    }
    return false;
}

void ghost_put(struct ghost *g, struct mem *m, uint64_t hash, uint64_t room) {
    if ((uint64_t)g->lines * GHOST_LINE < room)
        grow(g, m);
    else if (g->lines > 1 && (uint64_t)g->lines * GHOST_LINE > room + room / 4 + GHOST_LINE)
        shrink(g, m);
    if (g->lines == 0)
        return;
    uint16_t *line = line_of(g, hash);
    memmove(line + 1, line, (GHOST_LINE - 1) * sizeof *line);
    line[0] = print(hash);
}

void ghost_end(struct ghost *g, struct mem *m) {
    for (uint32_t i = 0; i < g->cap; i++)
        if (g->segments[i] != NULL)
            mem_free_lines(m, g->segments[i], SEGMENT_BYTES);
    mem_free(m, g->segments, g->cap * sizeof *g->segments);
    *g = (struct ghost){0};
}

size_t ghost_bytes(const struct ghost *g) {
    size_t bytes = g->cap == 0 ? 0 : mem_size(g->cap * sizeof *g->segments);
    for (uint32_t i = 0; i < g->cap; i++)
        bytes += g->segments[i] == NULL ? 0 : mem_size(SEGMENT_BYTES);
    return bytes;
}
