/* sim.h: a network and a disk of one process and one thread, with virtual time, for the loops of kind LOOP_SIM.
 *
 * Why         N shards run in one thread, and everything that the world decides (when bytes arrive,
 *             in which pieces, which event comes first, what fails) is drawn from one seed. A seed
 *             and a commit replay a run.
 * Use         sim_create before the loops, sim_destroy after them. Between, the test drives the
 *             client ends, polls the loops in an order of its own, and advances the clock when none
 *             has anything to do:
 *                 do events = sum of loop_poll(l, 0, ...) over all loops
 *                 while (events > 0);
 *                 sim_advance(net, sim_next_due_ns(net) - sim_now_ns(net))
 * Threads     one.
 * Ownership   a descriptor of sim_listen goes to listener_start, one that was accepted to
 *             stream_start. They are no descriptors of the kernel's: every system call refuses them.
 *             A client end is the test's until sim_client_free.
 * Limits      SIM_WINDOW_BYTES unread bytes on the way to a client; then stream_send takes none.
 *             SIM_BACKLOG connections that wait to be accepted, per listener.
 * Invariants  (1) loop_poll never blocks, whatever its timeout.
 *             (2) bytes of one direction arrive in order, none twice, none lost but by a reset.
 *             (3) what is due is handled after a bounded number of polls.
 *             (4) what was synced on the disk, a file's bytes or a directory's names, a crash leaves as it was.
 */
#ifndef SHARDS_SIM_H
#define SHARDS_SIM_H

#include "shards/attr.h"
#include "shards/err.h"
#include "shards/file.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SIM_WINDOW_BYTES = 64 * 1024, SIM_BACKLOG = 128, SIM_PATH_MAX = 256 };

struct loop;
struct sim_net;
struct sim_client;

/* What goes wrong. An `_in` of n means: one time in n; 0 is never. All are 0 at first. */
struct sim_faults {
    uint64_t delay_max_ns;     /* of bytes, connections and wake-ups, each way */
    uint32_t short_read_in;    /* a read gets only some of what has arrived */
    uint32_t short_write_in;   /* a send takes only some, perhaps none */
    uint32_t reset_in;         /* an event on a connection resets it */
    uint32_t accept_failed_in; /* accepting says EMFILE */
};

/* sim_create: replaces the clock. One network at a time. */
MUST_CHECK enum err sim_create(struct sim_net **out, uint64_t seed);
void sim_destroy(struct sim_net *net);
void sim_set_faults(struct sim_net *net, const struct sim_faults *faults);
/* sim_on_sleep: fn runs in loop_poll between hooks->sleeping and hooks->awake, that is while the
 * shard may be borrowed. It may poll other loops. NULL: nothing runs. */
void sim_on_sleep(struct sim_net *net, void (*fn)(void *arg, struct loop *l), void *arg);

uint64_t sim_now_ns(const struct sim_net *net);
void sim_advance(struct sim_net *net, uint64_t ns);
/* sim_next_due_ns: when the next event or timer of any loop is due, or bytes reach a client end, at
 * least now; UINT64_MAX when nothing will ever happen. */
uint64_t sim_next_due_ns(const struct sim_net *net);
/* sim_pending_wakes: wake-ups that `l` has not handled. */
unsigned sim_pending_wakes(const struct loop *l);

/* sim_listen: a descriptor for listener_start. -1: no memory. */
int sim_listen(struct sim_net *net, uint16_t port);

/* sim_connect: NULL when nobody listens, the backlog is full, or without memory. */
struct sim_client *sim_connect(struct sim_net *net, uint16_t port);
/* sim_client_write: all or, when the connection is over or without memory, nothing. */
bool sim_client_write(struct sim_client *c, const void *data, size_t len);
/* sim_client_read: what has arrived, at most len; 0: nothing yet; -1: the server closed, or a reset. */
ssize_t sim_client_read(struct sim_client *c, void *data, size_t len);
/* sim_client_close: the server sees an orderly end after all that was written. */
void sim_client_close(struct sim_client *c);
/* sim_client_reset: the server sees ECONNRESET at once, and loses what was on the way. */
void sim_client_reset(struct sim_client *c);
bool sim_client_was_reset(const struct sim_client *c);
/* sim_client_free: closes it if need be. */
void sim_client_free(struct sim_client *c);

/* The disk. It outlives the loops, so that what one server has written another can load. A path is a name in a directory that
 * sim_disk_make_dir has made; "." and "/" are there. Descriptors are numbers of its own. */
struct sim_disk_faults {
    uint64_t delay_max_ns; /* of a request, and of each further part of it */
    uint32_t short_in;     /* one read or write in so many is done in part, and gone on with */
    uint64_t room_bytes;   /* of all files; beyond it, ENOSPC. 0: no bound */
};
void sim_disk_set_faults(struct sim_net *net, const struct sim_disk_faults *faults);
/* sim_disk_fail: the in-th operation (or part of one) of this kind from now on fails with `error`; 0: none does. When it is a
 * sync, nothing that this file got since the last one ever reaches the disk, though later syncs succeed, until it is truncated. */
void sim_disk_fail(struct sim_net *net, enum file_op op, unsigned in, int error);
MUST_CHECK bool sim_disk_make_dir(struct sim_net *net, const char *path);
/* sim_disk_forbid: names in this directory can be neither made nor changed: EACCES. */
void sim_disk_forbid(struct sim_net *net, const char *dir, bool forbidden);
/* sim_disk_done: operations of this kind, or parts of one, that did not fail as sim_disk_fail wanted it. */
uint64_t sim_disk_done(struct sim_net *net, enum file_op op);
/* sim_disk_file: what is in a file, until something is done on the disk; NULL: there is none. sim_disk_name: the path of the
 * i-th file, NULL beyond the last. sim_disk_put: a file, as if it had been written and synced long ago; false: no such
 * directory, or no memory. */
const char *sim_disk_file(struct sim_net *net, const char *path, size_t *len);
const char *sim_disk_name(struct sim_net *net, unsigned i);
MUST_CHECK bool sim_disk_put(struct sim_net *net, const char *path, const char *bytes, size_t len);
/* sim_disk_kill: as if the process had died: of what is under way, each was done or not, and until sim_disk_boot everything
 * fails with EIO, so that the loops can be ended in an orderly way. sim_disk_crash: as if the machine had lost its power: what
 * was not synced is there, or not, or torn. sim_disk_boot: the disk works again; what was open is not. */
void sim_disk_kill(struct sim_net *net);
void sim_disk_crash(struct sim_net *net);
void sim_disk_boot(struct sim_net *net);

#endif
