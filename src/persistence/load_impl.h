/* load_impl.h: a file on its way into the keyspace of all shards; shared by load*.c.
 *
 *     file --FILE_READ--> pieces --cut--> batches of records --message--> inbox of the shard --decode--> table
 *
 * Shard 0, home, reads the file in pieces of LOAD_PIECE_BYTES, the next ones while one is cut. A record is not copied on its
 * way: it points into its piece, which is read into anew when all batches that point there are back. Where a record goes on
 * into the next piece, its beginning is copied before that, into the room that each piece has; one that is longer than that
 * makes a piece of its own, which grows until it holds it.
 *
 * Everything goes on in slices of LOAD_SLICE_NS, a turn each, by timers; so the shards answer meanwhile.
 */
#ifndef LOAD_IMPL_H
#define LOAD_IMPL_H

#include "anax/rdb.h"
#include "persistence_impl.h"
#include "rdb_types_impl.h"
#include "shards/assert.h"
#include "shards/file.h"
#include "shards/job.h"
#include "shards/list.h"

enum {
    LOAD_PIECE_BYTES = 4 * 1024 * 1024,
    LOAD_PIECES = 4,             /* at most, beside long ones */
    LOAD_HEAD_BYTES = 64 * 1024, /* room for the beginning of a record before a piece */
    LOAD_BATCH_RECORDS = 128,
    LOAD_BATCHES = 8, /* of a shard, that are not back */
    LOAD_SLICE_NS = 500000,
    LOAD_PAUSE_NS = 100000,         /* when home has nothing to do, until it looks again */
    LOAD_HEAVY_BYTES = 1024 * 1024, /* a value of more is decoded beside the shard */
    LOAD_MODULES = 16               /* names that are remembered */
};

struct load;

/* | room for a beginning | bytes of the file | */
struct piece {
    struct file_request read;
    struct list link; /* load->pieces, in the order of the file, or load->spare */
    uint64_t at;      /* in the file, of bytes[0]; of a beginning's room below 0, so to speak */
    size_t cap;
    size_t from, to; /* what it holds */
    unsigned batches;
    bool reading, is_long;
    bool cut; /* nothing more will point into it */
    struct load *load;
    uint8_t *bytes;
};

enum { FREQ_NONE = -1 };
#define IDLE_NONE UINT64_MAX

/* What comes before a key: what a record is made of, beside key and value. */
struct record {
    const uint8_t *start;        /* of all that belongs to it */
    const uint8_t *member_times; /* the first field of those of a set; NULL: none */
    const uint8_t *key;          /* a string, as the file has it */
    const uint8_t *end;          /* behind its value */
    uint64_t hash;
    int64_t expire_ms;
    uint64_t idle_s; /* IDLE_NONE */
    uint32_t db;
    int16_t freq; /* FREQ_NONE */
    uint8_t type;
    bool expires;
};

struct batch {
    struct bus_msg go, back; /* home to shard; the other way */
    struct batch *next;      /* in an inbox, or spare */
    struct load *load;
    struct piece *piece;
    uint16_t shard;
    bool valkey, replace;
    uint32_t count, done; /* records; of these, those that have been put */
    uint32_t expired, empty;
    enum rdb_result result; /* that is not RDB_OK: of the record at `done` */
    const char *why;
    const uint8_t *bad;
    struct record record[LOAD_BATCH_RECORDS];
};

/* A value that takes long to decode, beside the shard (shards/job.h). */
enum heavy_state { HEAVY_NONE, HEAVY_RUNS, HEAVY_DONE };
struct heavy {
    struct job job;
    struct mem mem;
    struct config *limits; /* a copy */
    struct rdb_in in;
    struct rdb_scratch scratch;
    struct value value;
    enum rdb_result result;
    int64_t now_ms;
    uint8_t type, state;
};

/* Of each shard, always: what it is to put. */
struct load_at {
    struct shard *shard;
    struct timer timer;
    struct errand errand; /* sets the timer */
    struct batch *first, **last;
    struct heavy heavy;
    struct load *load;                    /* at home, while there is one */
    struct rdb_scratch key, value, times; /* kept while a load is under way */
};

struct skipped_module {
    char name[10];
    uint64_t values;
};

/* At home. */
struct load {
    struct shard *home;
    struct load_request *request;
    struct tx tx;
    struct file_request file; /* open, close */
    int fd;
    uint8_t stage;
    bool told_held; /* request->held was called */
    bool giving_up; /* failed, or the server stops: nothing more is cut */
    bool ended;     /* the end of the data was read */
    bool checked;   /* and the checksum behind it */
    /* reading: */
    uint64_t bytes, read_at; /* of the file; where the next piece begins */
    struct list pieces, spare;
    unsigned piece_count;
    struct piece *piece; /* that is being cut, or NULL */
    size_t at;           /* in it: where the next record begins */
    size_t summed;       /* in it: the checksum's */
    size_t want;         /* bytes of a record that were not enough, doubled; 0: none */
    uint64_t crc;
    /* what the file has said: */
    unsigned version;
    bool valkey, begun;
    uint32_t db;
    /* who has what: */
    struct batch **filling; /* per shard */
    uint8_t *out;           /* per shard: batches that are not back */
    struct batch **
        spares; /* per shard, to which they go again: it may not have seen yet that one has come home */
    unsigned batches_out;
    struct record
        held; /* that was cut, and has to wait for a batch of its shard; held.key NULL: none */
    unsigned held_shard;
    struct rdb_scratch scratch;
    struct library *libraries, **libraries_end;
    struct skipped_module modules[LOAD_MODULES];
    unsigned module_count;
    /* for INFO: */
    uint64_t began_ns;
    int64_t began_s;
    uint64_t keys, expired, empty, used_mem;
    uint64_t delayed_until_ns; /* key-load-delay */
    struct tx_part parts[];
};

/* --- load.c --- */
/* load_fail: the first reason stands. load_fail_at: with where that is in the file. */
void load_fail(struct load *l, const char *fmt, ...) PRINTF_LIKE(2, 3);
void load_fail_at(struct load *l, uint64_t offset, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* --- load_read.c. The owner's --- */
/* read_ahead: starts to read pieces for which there is room. False: no memory at all. */
void read_ahead(struct load *l) ON_SHARD;
/* read_next: the piece that follows becomes the one that is cut, with what is left of the last before it. False: it is not
 * there yet, or there is none: read_over. */
bool read_next(struct load *l) ON_SHARD;
bool read_over(const struct load *l);
/* read_drop: of the piece that was cut nothing more is needed. */
void piece_back(struct load *l, struct piece *p);
bool read_busy(const struct load *l);
void read_free(struct load *l);
static inline uint64_t piece_offset(const struct piece *p, const uint8_t *at) {
    return p->at + (uint64_t)(at - p->bytes);
}

/* --- load_cut.c --- */
enum cut {
    CUT_MORE,  /* a record was dealt, or something else read */
    CUT_FULL,  /* the shard of the next one has too many batches */
    CUT_WAITS, /* for the next piece, or for nothing, when it has failed */
    CUT_END
};
enum cut cut_some(struct load *l) ON_SHARD;
/* cut_flush: what is dealt goes to the shards. */
void cut_flush(struct load *l) ON_SHARD;
/* cut_sum: the checksum takes what was cut. */
void cut_sum(struct load *l);
void cut_report_modules(const struct load *l);
void cut_free(struct load *l);

/* --- load_put.c --- */
/* put_go, put_gone: of a batch that goes to its shard. put_receive: it is there. */
void put_go(struct shard *at, struct bus_msg *m);
void put_gone(struct shard *home, struct bus_msg *m);
void put_receive(struct load_at *a, struct batch *b) ON_SHARD;
/* put_batch: as much of what is there as there is time for; the batch that is done then, or NULL: none is. */
struct batch *put_batch(struct load_at *a, uint64_t until_ns) ON_SHARD;
/* put_slice: of a shard that is not home. */
void put_slice(struct load_at *a) ON_SHARD;
/* put_forget: after a load, what was kept for the next batch goes. */
void put_forget(struct load_at *a) ON_SHARD;

/* --- load.c --- */
/* load_batch_back: at home. */
void load_batch_back(struct load *l, struct batch *b) ON_SHARD;

#endif
