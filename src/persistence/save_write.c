/* save_write.c: blocks go into the file, several at a time; and the steps before and behind them.
 *
 * The file is written under another name in the same directory, is synced, and takes its name then: so there is the old one or
 * the new one, whole, at every moment. Of blocks that come together the checksum is joined: each knows its own.
 */
#include "saves_impl.h"
#include "shards/assert.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct saves *saves_of_loop(const struct file_request *r) {
    return r->arg;
}

/* --- what comes from parts --- */

static void queue_init(struct save_queue *q) {
    q->first = NULL;
    q->end = &q->first;
}

static void queue_add(struct save_queue *q, struct save_block *b) {
    *q->end = b;
    while (b->next != NULL)
        b = b->next;
    q->end = &b->next;
}

static struct save_block *queue_take(struct save_queue *q) {
    struct save_block *b = q->first;
    if (b == NULL)
        return NULL;
    q->first = b->next;
    if (q->first == NULL)
        q->end = &q->first;
    b->next = NULL;
    return b;
}

void write_arrived(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct saves *v = saves_of(home);
    struct save_block *b = CONTAINER_OF(m, struct save_block, out);
    queue_add(b->floor ? &v->floor_queue : &v->queue, b);
    saves_pump_soon(v);
}

static void nothing_done(struct shard *home, struct bus_msg *m) {
    (void)home;
    (void)m;
}

static void grant_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    (void)m;
    part_grant(persistence_of(at)->part);
}

static ON_SHARD void give_floor(struct saves *v) {
    if (v->floor >= 0 || list_empty(&v->askers))
        return;
    struct save_peer *p = CONTAINER_OF(v->askers.next, struct save_peer, asks);
    list_del(&p->asks);
    v->floor = (int)(p - v->peers);
    p->grant = (struct bus_msg){.run = grant_run, .done = nothing_done, .to = (uint16_t)v->floor};
    shard_post(v->shard, &p->grant);
}

void write_asked(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct saves *v = saves_of(home);
    list_add_tail(&v->askers, &v->peers[m->from].asks);
    give_floor(v);
}

void write_quit(struct shard *home, struct bus_msg *m) {
    shard_claim();
    saves_fail(saves_of(home), "%s", CONTAINER_OF(m, struct save_part, quit)->error);
}

void write_ended(struct shard *home, struct bus_msg *m) {
    shard_claim();
    struct saves *v = saves_of(home);
    const struct save_part *p = CONTAINER_OF(m, struct save_part, ended);
    v->version = p->version > v->version ? p->version : v->version;
    v->parts_left--;
    saves_pump_soon(v);
}

/* --- blocks go back --- */

static void back_run(struct shard *at, struct bus_msg *m) {
    shard_claim();
    struct save_peer *p = CONTAINER_OF(m, struct save_peer, back);
    part_returned(persistence_of(at)->part, p->going);
}

static void back_done(struct shard *home, struct bus_msg *m);

static ON_SHARD void back_post(struct saves *v, unsigned shard) {
    struct save_peer *p = &v->peers[shard];
    if (p->going_back || p->written == NULL)
        return;
    p->going = p->written;
    p->written = NULL;
    p->going_back = true;
    p->back = (struct bus_msg){.run = back_run, .done = back_done, .to = (uint16_t)shard};
    shard_post(v->shard, &p->back);
}

static void back_done(struct shard *home, struct bus_msg *m) {
    shard_claim();
    CONTAINER_OF(m, struct save_peer, back)->going_back = false;
    back_post(saves_of(home), m->to);
}

static ON_SHARD void give_back(struct saves *v, struct save_block *b) {
    unsigned shard = b->part->shard->id;
    b->next = v->peers[shard].written;
    v->peers[shard].written = b;
    back_post(v, shard);
}

/* --- writing --- */

static bool failed(const struct saves *v) {
    return v->error[0] != '\0';
}

static ON_SHARD void fail_step(struct saves *v, const char *what, ssize_t result) {
    saves_fail(v, "%s: %s", what, strerror((int)-result));
}

/* next_block: the rest of a chain; or of who has the floor; or of anybody. */
static struct save_block *next_block(struct saves *v) {
    struct save_block *b;
    if (v->floor >= 0 && !v->in_chain)
        return queue_take(&v->floor_queue);
    b = queue_take(&v->queue);
    if (b != NULL)
        v->in_chain = b->goes_on;
    return b;
}

static void sync_done(struct loop *l, struct file_request *r) {
    shard_claim();
    (void)l;
    struct saves *v = saves_of_loop(r);
    v->syncing = false;
    if (r->result < 0)
        fail_step(v, "syncing the file", r->result);
    write_pump(v);
}

/* sync_some: what is written goes to the disk bit by bit, so that there is not everything to wait for at the end. */
static void sync_some(struct saves *v) {
    if (v->syncing || v->written < v->synced + SAVE_SYNC_BYTES ||
        !instance_of(v->shard)->config->rdb_incremental_fsync)
        return;
    v->synced = v->written;
    v->syncing = true;
    v->sync = (struct file_request){.op = FILE_SYNC, .fd = v->fd, .done = sync_done, .arg = v};
    file_start(v->shard->loop, &v->sync);
}

static void block_done(struct loop *l, struct file_request *r) {
    shard_claim();
    (void)l;
    struct saves *v = saves_of_loop(r);
    struct save_block *b = CONTAINER_OF(r, struct save_block, file);
    v->writing--;
    v->written += b->len;
    if (r->result < 0)
        fail_step(v, "writing the file", r->result);
    give_back(v, b);
    write_pump(v);
}

static ON_SHARD void block_write(struct saves *v, struct save_block *b) {
    if (b->last) {
        v->floor = -1;
        give_floor(v);
    }
    b->file = (struct file_request){.op = FILE_WRITE,
                                    .fd = v->fd,
                                    .bytes = (char *)b->bytes,
                                    .len = b->len,
                                    .offset = v->offset,
                                    .done = block_done,
                                    .arg = v};
    if (v->checksum)
        v->crc = rdb_crc_join(v->crc, b->crc, b->len);
    v->offset += b->len;
    v->writing++;
    file_start(v->shard->loop, &b->file);
}

static ON_SHARD void drop_blocks(struct saves *v) {
    struct save_block *b;
    while ((b = queue_take(&v->queue)) != NULL || (b = queue_take(&v->floor_queue)) != NULL)
        give_back(v, b);
}

static void open_done(struct loop *l, struct file_request *r) {
    shard_claim();
    (void)l;
    struct saves *v = saves_of_loop(r);
    v->opening = false;
    if (r->result < 0) {
        fail_step(v, "opening the temporary file", r->result);
    } else {
        v->fd = (int)r->result;
        v->temp_there = true;
    }
    write_pump(v);
}

static void open_file(struct saves *v) {
    v->opening = true;
    v->open = (struct file_request){.op = FILE_OPEN,
                                    .path = v->temp,
                                    .flags = O_WRONLY | O_CREAT | O_TRUNC,
                                    .mode = 0644,
                                    .done = open_done,
                                    .arg = v};
    file_start(v->shard->loop, &v->open);
}

/* --- the steps behind the blocks --- */

static ON_SHARD void step_next(struct saves *v);

static void step_done(struct loop *l, struct file_request *r) {
    static const char *const doing[] = {
        [SAVE_HEAD] = "writing the file",          [SAVE_FOOT] = "writing the file",
        [SAVE_SYNC] = "syncing the file",          [SAVE_CLOSE] = "closing the file",
        [SAVE_RENAME] = "renaming the file",       [SAVE_DIR_OPEN] = "opening the directory",
        [SAVE_DIR_SYNC] = "syncing the directory", [SAVE_DIR_CLOSE] = "closing the directory"};
    shard_claim();
    (void)l;
    struct saves *v = saves_of_loop(r);
    if (v->stage == SAVE_DIR_OPEN)
        v->dir_fd = (int)r->result;
    if (v->stage == SAVE_CLOSE || v->stage == SAVE_DROP_CLOSE)
        v->fd = -1;
    if (v->stage == SAVE_DROP || (v->stage == SAVE_RENAME && r->result >= 0))
        v->temp_there = false;
    if (r->result < 0 && v->stage < SAVE_DROP_CLOSE)
        fail_step(v, doing[v->stage], r->result);
    step_next(v);
}

static void step(struct saves *v, struct file_request r) {
    v->step = r;
    v->step.done = step_done;
    v->step.arg = v;
    file_start(v->shard->loop, &v->step);
}

static void step_write(struct saves *v, char *bytes, size_t len, uint64_t offset) {
    step(v, (struct file_request){
                .op = FILE_WRITE, .fd = v->fd, .bytes = bytes, .len = len, .offset = offset});
}

/* after: the step behind this one: whatever has failed, what was opened is closed, and what was begun is removed. */
static enum save_stage after(const struct saves *v) {
    if (!failed(v))
        return v->stage == SAVE_DIR_CLOSE ? SAVE_RELEASE : v->stage + 1;
    if (v->stage == SAVE_DIR_SYNC)
        return SAVE_DIR_CLOSE;
    if (v->fd >= 0)
        return SAVE_DROP_CLOSE;
    return v->temp_there ? SAVE_DROP : SAVE_RELEASE;
}

static void step_next(struct saves *v) {
    v->stage = after(v);
    switch (v->stage) {
    case SAVE_HEAD:
        rdb_file_finish(v);
        step_write(v, v->head, v->head_len, 0);
        break;
    case SAVE_FOOT:
        step_write(v, (char *)v->foot, sizeof v->foot, v->offset);
        break;
    case SAVE_SYNC:
        step(v, (struct file_request){.op = FILE_SYNC, .fd = v->fd});
        break;
    case SAVE_CLOSE:
    case SAVE_DROP_CLOSE:
        step(v, (struct file_request){.op = FILE_CLOSE, .fd = v->fd});
        break;
    case SAVE_RENAME:
        step(v, (struct file_request){.op = FILE_RENAME, .path = v->temp, .path2 = v->path});
        break;
    case SAVE_DROP:
        step(v, (struct file_request){.op = FILE_REMOVE, .path = v->temp});
        break;
    case SAVE_DIR_OPEN:
        step(v, (struct file_request){
                    .op = FILE_OPEN, .path = v->dir, .flags = O_RDONLY | O_DIRECTORY});
        break;
    case SAVE_DIR_SYNC:
        step(v, (struct file_request){.op = FILE_SYNC, .fd = v->dir_fd});
        break;
    case SAVE_DIR_CLOSE:
        step(v, (struct file_request){.op = FILE_CLOSE, .fd = v->dir_fd});
        break;
    default:
        ASSERT(v->stage == SAVE_RELEASE);
        saves_file_over(v);
    }
}

void write_pump(struct saves *v) {
    if (v->stage != SAVE_WALK)
        return;
    if (failed(v))
        drop_blocks(v);
    else if (v->fd < 0 && !v->opening)
        open_file(v);
    while (v->fd >= 0 && v->writing < SAVE_WRITES_MAX && !failed(v)) {
        struct save_block *b = next_block(v);
        if (b == NULL)
            break;
        block_write(v, b);
    }
    if (v->fd >= 0 && !failed(v))
        sync_some(v);
    bool done = v->parts_left == 0 && v->writing == 0 && !v->syncing && !v->opening;
    if (done && (failed(v) || v->fd >= 0))
        step_next(v);
}

void write_begin(struct saves *v) {
    const struct config *c = instance_of(v->shard)->config;
    memcpy(v->dir, c->dir, sizeof v->dir);
    (void)snprintf(v->path, sizeof v->path, "%s/%s", c->dir, c->rdb_name);
    (void)snprintf(v->temp, sizeof v->temp, "%s/temp-%d.rdb", c->dir, (int)getpid());
    queue_init(&v->queue);
    queue_init(&v->floor_queue);
    list_init(&v->askers);
    for (unsigned i = 0; i < v->tx.part_count; i++)
        list_init(&v->peers[i].asks);
    v->floor = -1;
    v->in_chain = v->opening = v->syncing = v->temp_there = false;
    v->fd = v->dir_fd = -1;
    v->offset = v->crc = v->written = v->synced = 0;
    v->writing = 0;
    v->version = RDB_VERSION_LOW;
}
