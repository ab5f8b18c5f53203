/* saves_impl.h: a dataset on its way into a file; shared by save*.c and rdb_file.c.
 *
 *     keyspace --snapshot--> part: blocks --message--> queue at home --FILE_WRITE--> temp-PID.rdb --rename--> dump.rdb
 *
 * Every shard has a part, which encodes what its snapshot tells into blocks; home, shard 0, writes them one behind the other, in
 * the order in which they come. A block can be read by itself: it begins with the database of what follows. What is too long for
 * one is a chain of blocks, which come in one message; and what is too long for a chain takes the floor: home writes
 * nothing but that part's chain until it has ended. What others send meanwhile waits.
 *
 *   save.c        a save from the cut to its end          save_write.c  blocks into the file, and the steps around them
 *   save_part.c   a shard's part                          save_cmds.c   SAVE, BGSAVE, LASTSAVE
 *   save_why.c    save points, SHUTDOWN, FLUSHALL         save_info.c   INFO's numbers
 *   rdb_file.c    what stands before and behind blocks
 */
#ifndef SAVES_IMPL_H
#define SAVES_IMPL_H

#include "anax/errand.h"
#include "anax/rdb.h"
#include "persistence_impl.h"
#include "shards/file.h"
#include "shards/list.h"
#include <stdatomic.h>

enum {
    SAVE_BLOCK_BYTES = 128 * 1024,
    SAVE_WALK_BLOCKS = 6, /* of a shard, filled and not written: then its walk stops */
    SAVE_CHAIN_BLOCKS = 3,
    SAVE_BEHIND_MAX =
        128 * 1024 * 1024, /* what writes may bring beyond that, before the save is given up */
    SAVE_WRITES_MAX = 8,   /* under way */
    SAVE_SYNC_BYTES = 4 * 1024 * 1024, /* rdb-save-incremental-fsync */
    SAVE_SLICE_NS = 150000,
    SAVE_OTHERS = 4,     /* have that many times as long as the save, while they do anything */
    SAVE_IDLE_NS = 5000, /* a turn in which others had less is an idle one */
    SAVE_RETRY_S = 5,
    /* The cut waits for who is in the middle of something, and who comes behind it waits for the cut. So it goes back after a while,
     * for SAVE_OTHERS times as long, and longer each time; at last it waits. */
    SAVE_PATIENCE_NS = 5000000,
    SAVE_PATIENCE_MAX_NS = 250000000,
    SAVE_PATIENT_S = 60,
    SAVE_PATH_MAX = CONFIG_TEXT_MAX * 2 + 2,
    SAVE_ERROR_MAX = 256
};

/* | this | bytes | */
struct save_block {
    struct bus_msg out; /* to home, of a chain's first */
    struct save_block
        *next; /* of the chain; then in a queue, on its way back, or among the spare ones */
    struct save_part *part;
    struct file_request file;
    uint64_t crc;
    size_t len, cap;
    bool goes_on; /* the next one belongs to it */
    bool floor;   /* of who has the floor */
    bool last;    /* and gives it back */
    uint8_t bytes[];
};

struct save_queue {
    struct save_block *first, **end;
};

/* Of a database of one shard, at the cut. */
struct save_db {
    uint64_t keys, expires;
};

/* A shard's part: its shard's, but for what home reads before the part begins and after it has ended. */
struct save_part {
    struct snapshot_sink sink;
    struct shard *shard;
    struct timer timer;
    struct errand errand; /* sets the timer */
    struct bus_msg ask, quit,
        ended;                /* to home: for the floor; it has given up; all blocks are back */
    struct save_block *light; /* being filled with whole entries, of database `db` */
    struct save_block *chain, *chain_end; /* what is being told in slices, and not sent yet */
    struct save_block *spare;
    struct rdb_out out, chain_out;
    struct rdb_encoder encoder, chain_encoder;
    struct save_db *dbs; /* for home, which reads them right after the cut */
    unsigned databases, db;
    unsigned chain_blocks;
    unsigned blocks_out, floor_out; /* that are not back; of these, of the floor */
    size_t bytes;                   /* of all blocks */
    size_t behind_max;              /* SAVE_BEHIND_MAX; simulations set less */
    size_t bytes_peak;              /* since it began */
    const char *error;              /* why it has given up; static text */
    uint64_t changes;               /* of this shard, at the cut */
    uint64_t seen_ns;               /* of turns, so far */
    uint64_t slice_ns, sliced_ns;   /* of the last slice: how long it took, and when it was over */
    uint64_t told_ns;               /* what writes took to tell, since the last slice */
    uint8_t version;
    bool compress, checksum;
    bool idle,
        uses; /* for how long, or how often, a key was used, is told: as Redis does under LRU and LFU */
    bool active;     /* from the cut until its memory is free */
    bool free_to_go; /* home has read what it wants to know of the cut */
    bool walking;    /* the snapshot has not come to its end */
    bool slicing;    /* it is the walk that tells */
    bool telling;    /* it is in the middle of a value, */
    bool keyed;      /* whose key was told */
    bool asked, has_floor;
    bool begun; /* part_begin was true */
    bool gave_up, ending;
    int64_t used_bytes; /* of the shard, at the cut */
};

/* What home has for each shard. */
struct save_peer {
    struct bus_msg go, stop, grant, result, back;
    struct save_block *written; /* to go back, when the message is there again */
    struct save_block *going;   /* are on their way */
    bool going_back;
    bool stopping;
    struct list asks;        /* among saves->askers */
    _Atomic int64_t changes; /* the shard's, since the last save, ten times a second */
};

enum save_stage {
    SAVE_NONE,
    SAVE_CUT,  /* wants all shards for a moment */
    SAVE_WALK, /* blocks come and are written */
    SAVE_HEAD,
    SAVE_FOOT,
    SAVE_SYNC,
    SAVE_CLOSE,
    SAVE_RENAME,
    SAVE_DIR_OPEN,
    SAVE_DIR_SYNC,
    SAVE_DIR_CLOSE,
    SAVE_DROP_CLOSE, /* it has failed */
    SAVE_DROP,
    SAVE_RELEASE /* writers, who waited all the time: SAVE_LAST */
};

/* Why there is a save, which decides what comes of its end. */
enum save_kind {
    SAVE_ASKED,      /* SAVE: who asked is told of its error */
    SAVE_HELD,       /* DEBUG RELOAD: the same, by who holds all shards already */
    SAVE_BACKGROUND, /* BGSAVE, save points: rdb_last_bgsave_status tells */
    SAVE_LAST        /* SHUTDOWN: nothing is written behind the cut, and then the server stops */
};

/* Somebody who waits for the cut, or for the end. */
struct save_call {
    struct list link;
    bool at_cut;
    /* error: NULL, or why it has failed; good until it returns. */
    void (*done)(struct shard *home, struct save_call *c, const char *error);
};

/* Shard 0's. */
struct saves {
    struct shard *shard;
    struct errand errand; /* save_pump */
    enum save_stage stage;
    enum save_kind kind;
    struct tx tx;
    bool tx_over, hopped, cut_off, went_back;
    struct timer patience; /* while the cut waits, or others instead */
    uint64_t patience_ns;
    struct list calls; /* struct save_call */
    bool cancelled;
    char error[SAVE_ERROR_MAX]; /* "": none so far */
    unsigned parts_left;
    /* the file: */
    char temp[SAVE_PATH_MAX], path[SAVE_PATH_MAX], dir[CONFIG_TEXT_MAX + 1];
    struct file_request open, step, sync;
    int fd, dir_fd;
    bool opening, syncing, temp_there, checksum, compress;
    char *head; /* what comes before all blocks */
    size_t head_len, head_cap;
    uint8_t foot[9];
    uint64_t offset;          /* where the next block goes */
    uint64_t crc;             /* of all blocks */
    uint64_t written, synced; /* bytes; of these, those for which a sync was begun */
    unsigned writing;
    uint8_t version;
    struct save_queue queue, floor_queue;
    bool in_chain; /* the next of `queue` belongs to the last that was written */
    int floor;     /* the shard that has it, or -1 */
    struct list askers;
    uint64_t began_ns;
    int64_t began_s; /* Unix time */
    /* of saves that are over: */
    int64_t last_save_s, last_try_s, last_time_s;
    bool last_failed;
    uint64_t saves, last_bytes_peak;
    /* what waits for the end of the one that is under way: */
    bool scheduled, flushed, stopping;
    struct list last_calls; /* of save_last */
    struct save_call terminate;
    struct save_peer *peers; /* per shard */
    struct tx_part parts[];
};

/* --- save.c. Shard 0's, whoever holds it --- */
static inline struct saves *saves_of(const struct shard *s) {
    return persistence_of(shards_get(s->all, 0))->saves;
}
/* saves_busy: is one under way? */
bool saves_busy(const struct saves *v);
/* saves_begin: while none is. c may be NULL. */
void saves_begin(struct saves *v, enum save_kind kind, struct save_call *c) ON_SHARD;
/* saves_fail: the first reason stands. */
void saves_fail(struct saves *v, const char *fmt, ...) ON_SHARD PRINTF_LIKE(2, 3);
/* saves_cancel: as if it had never been. False: there is none, or it is too late. */
bool saves_cancel(struct saves *v) ON_SHARD;
/* saves_file_over: of save_write.c: the file stands in its place, or has failed. */
void saves_file_over(struct saves *v) ON_SHARD;
/* saves_pump_soon: the owner looks after the file. */
void saves_pump_soon(struct saves *v) ON_SHARD;
/* For persistence.c. save_shard_start: false: no memory. */
MUST_CHECK bool save_shard_start(struct shard *s);
void save_shard_stopping(struct shard *s);
bool save_idle(struct shard *s);
void save_shard_stop(struct shard *s);

/* --- save_part.c --- */
void part_init(struct save_part *p, struct shard *s);
/* part_begin: the cut is now. False: p->error. */
MUST_CHECK bool part_begin(struct save_part *p, const struct saves *v) ON_SHARD;
/* part_stop: it walks to its end without telling anything. */
void part_stop(struct save_part *p) ON_SHARD;
/* part_grant: it has the floor. part_go: it may have something to do. */
void part_grant(struct save_part *p) ON_SHARD;
void part_go(struct save_part *p) ON_SHARD;
/* part_returned: blocks that were written, or will not be. */
void part_returned(struct save_part *p, struct save_block *list) ON_SHARD;
/* part_free: whatever there is, when the server has stopped. */
void part_free(struct save_part *p);

/* --- save_write.c. The owner of shard 0 --- */
void write_begin(struct saves *v);
void write_pump(struct saves *v) ON_SHARD;
/* write_arrived, write_asked, write_quit, write_ended: messages of parts. */
void write_arrived(struct shard *home, struct bus_msg *m);
void write_asked(struct shard *home, struct bus_msg *m);
void write_quit(struct shard *home, struct bus_msg *m);
void write_ended(struct shard *home, struct bus_msg *m);

/* --- rdb_file.c --- */
/* rdb_file_head: what stands before the blocks, with a version to be filled in. False: no memory. */
MUST_CHECK bool rdb_file_head(struct saves *v) ON_SHARD;
/* rdb_file_finish: the version is known, and so the checksum: fills in the head, and makes the foot. */
void rdb_file_finish(struct saves *v);

/* --- save_why.c --- */
void save_why_register(void);
void save_why_start(struct shard *s);
/* save_last: writers wait from the cut on; when the file is there everybody is cut off, and c is told. */
void save_last(struct saves *v, struct save_call *c) ON_SHARD;
/* save_wanted_at_end: are there save points, and is there all of a dataset? */
bool save_wanted_at_end(const struct shard *home);
/* save_clean_up: removes what servers that were killed have left in the middle of a save. */
void save_clean_up(const char *dir);
/* save_why_go_on: none is under way any more: what was put off, begins. */
void save_why_go_on(struct saves *v) ON_SHARD;

/* --- save_cmds.c, save_info.c --- */
void save_cmds_register(void);
void save_info_register(void);

#endif
