/* sim_impl.h: bytes on their way, and the disk, as the loops of sim.c see them. Only for shards/loop. */
#ifndef SHARDS_SIM_IMPL_H
#define SHARDS_SIM_IMPL_H

#include "shards/file.h"
#include "shards/list.h"
#include "shards/mem.h"
#include "shards/sim.h"

/* Bytes on their way. A piece without bytes is the orderly end. */
struct piece {
    struct list link;
    uint64_t due_ns;
    size_t off, len;
    char bytes[];
};

struct pipe {
    struct list pieces;
    size_t unread;
    uint64_t last_due_ns; /* pieces do not overtake each other */
    bool ended;           /* nothing may be added */
};

void pipe_init(struct pipe *p);
void pipe_clear(struct mem *m, struct pipe *p);
/* pipe_first: NULL: nothing is on its way. */
const struct piece *pipe_first(const struct pipe *p);
/* pipe_add: a piece of `len` bytes for the caller to fill; it arrives at due_ns, or later behind another. NULL: no memory. */
struct piece *pipe_add(struct mem *m, struct pipe *p, size_t len, uint64_t due_ns);
/* pipe_end: an end behind all that is on its way. */
void pipe_end(struct mem *m, struct pipe *p, uint64_t due_ns);
/* pipe_arrived: bytes. pipe_take: exactly n of them. pipe_over: all were taken, and the end has arrived. */
size_t pipe_arrived(const struct pipe *p, uint64_t now_ns);
void pipe_take(struct mem *m, struct pipe *p, char *dst, size_t n);
bool pipe_over(const struct pipe *p, uint64_t now_ns);

struct sim_disk;

MUST_CHECK struct sim_disk *sim_disk_create(uint64_t seed);
void sim_disk_destroy(struct sim_disk *d);
/* sim_disk_take: how long a request that is begun now takes. */
uint64_t sim_disk_take_ns(struct sim_disk *d);
/* sim_disk_do: some or all of what is left of a request; returns what loop_file_over wants. */
ssize_t sim_disk_do(struct sim_disk *d, const struct file_request *r);
/* sim_disk_halt: the end of a request that was under way when everything stopped: it may have been done. */
void sim_disk_halt(struct sim_disk *d, const struct file_request *r);
/* sim_disk_off: nothing works until sim_disk_on. forget: what was not synced is lost or torn. */
void sim_disk_off(struct sim_disk *d, bool forget);
void sim_disk_on(struct sim_disk *d);
int64_t sim_disk_size(const struct sim_disk *d, int fd);
bool sim_disk_has(const struct sim_disk *d, int fd);
void sim_disk_close(struct sim_disk *d, int fd);
struct sim_disk *sim_disk_of(struct sim_net *net);

#endif
