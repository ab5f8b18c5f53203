/* save_part.c: what a shard's snapshot tells becomes blocks, and blocks go to home. */
#include "saves_impl.h"
#include "shards/assert.h"
#include "shards/clock.h"
#include "shards/evict.h"

static const char NO_MEMORY[] = "out of memory",
                  BEHIND[] = "writes come faster than the disk takes them",
                  LOST[] = "out of memory: a key was lost to the snapshot";

static struct mem *mem_of(const struct save_part *p) {
    return &p->shard->mem;
}

static void nothing_done(struct shard *at, struct bus_msg *m) {
    (void)at;
    (void)m;
}

/* give_up: the snapshot hears of it in the next slice: it may be calling us. Home hears of it now, if it does not know: we may have
 * the floor, for which all others wait, and so do our own blocks. */
static ON_SHARD void give_up(struct save_part *p, const char *why) {
    if (p->gave_up)
        return;
    p->gave_up = true;
    p->error = why;
    if (why[0] != '\0') {
        p->quit = (struct bus_msg){.run = write_quit, .done = nothing_done, .to = 0};
        shard_post(p->shard, &p->quit);
    }
    part_go(p);
}

/* --- blocks --- */

static void block_free(struct save_part *p, struct save_block *b) {
    p->bytes -= sizeof *b + b->cap;
    mem_free(mem_of(p), b, sizeof *b + b->cap);
}

static ON_SHARD struct save_block *block_make(struct save_part *p, size_t cap) {
    if (p->bytes > p->behind_max) {
        give_up(p, BEHIND);
        return NULL;
    }
    struct save_block *b = mem_alloc(mem_of(p), sizeof *b + cap);
    if (b == NULL) {
        give_up(p, NO_MEMORY);
        return NULL;
    }
    *b = (struct save_block){.part = p, .cap = cap};
    p->bytes += sizeof *b + cap;
    p->bytes_peak = p->bytes > p->bytes_peak ? p->bytes : p->bytes_peak;
    return b;
}

static ON_SHARD struct save_block *block_take(struct save_part *p) {
    struct save_block *b = p->spare;
    if (b == NULL)
        b = block_make(p, SAVE_BLOCK_BYTES - sizeof *b);
    else
        p->spare = b->next;
    if (b == NULL)
        return NULL;
    b->next = NULL;
    b->len = 0;
    b->goes_on = b->floor = b->last = false;
    return b;
}

/* block_back: a large one, or one that only writes needed, is not kept. */
static void block_back(struct save_part *p, struct save_block *b) {
    enum { KEPT_BYTES = SAVE_WALK_BLOCKS * SAVE_BLOCK_BYTES };
    if (b->cap > SAVE_BLOCK_BYTES || p->bytes > KEPT_BYTES || p->gave_up) {
        block_free(p, b);
        return;
    }
    b->next = p->spare;
    p->spare = b;
}

static void free_all(struct save_part *p, struct save_block **first) {
    for (struct save_block *b = *first, *next; b != NULL; b = next) {
        next = b->next;
        block_free(p, b);
    }
    *first = NULL;
}

/* send_blocks: those up to `end`, which are full, in one message. */
static ON_SHARD void send_blocks(struct save_part *p, struct save_block *first,
                                 struct save_block *end) {
    for (struct save_block *b = first;; b = b->next) {
        b->crc = p->checksum ? rdb_crc(0, b->bytes, b->len) : 0;
        b->goes_on = b != end;
        p->blocks_out++;
        p->floor_out += b->floor;
        if (b == end)
            break;
    }
    end->next = NULL;
    first->out = (struct bus_msg){.run = write_arrived, .done = nothing_done, .to = 0};
    shard_post(p->shard, &first->out);
}

static void out_set(struct rdb_out *o, struct save_block *b) {
    o->at = b->bytes;
    o->end = b->bytes + b->cap;
    o->failed = false;
}

static void put_db(struct rdb_out *o, unsigned db) {
    uint8_t op = RDB_OP_SELECTDB;
    rdb_put(o, &op, 1);
    rdb_put_len(o, db);
}

/* --- whole entries --- */

static void put_access(struct save_part *p, struct rdb_out *o, const struct entry *e) {
    if (likely(!p->idle && !p->uses))
        return;
    const struct access *a = keyspace_access(p->shard->keyspace);
    uint8_t op = p->idle ? RDB_OP_IDLE : RDB_OP_FREQ;
    rdb_put(o, &op, 1);
    if (p->idle) {
        rdb_put_len(o, access_idle_s(a, entry_access(e)));
    } else {
        uint8_t uses = (uint8_t)access_frequency(a, entry_access(e));
        rdb_put(o, &uses, 1);
    }
}

static void note_version(struct save_part *p, const struct rdb_encoder *e) {
    p->version = e->version > p->version ? e->version : p->version;
}

static ON_SHARD void light_flush(struct save_part *p) {
    struct save_block *b = p->light;
    if (b == NULL)
        return;
    p->light = NULL;
    b->len = (size_t)(p->out.at - b->bytes);
    if (b->len == 0)
        block_back(p, b);
    else
        send_blocks(p, b, b);
}

/* light_grow: an entry is longer than an empty block: one with a long key. */
static ON_SHARD void light_grow(struct save_part *p) {
    size_t cap = p->light->cap * 2;
    block_free(p, p->light);
    p->light = block_make(p, cap);
}

static bool no_more(struct rdb_out *o) {
    (void)o;
    return false;
}

static bool put_entry(struct save_part *p, unsigned db, const struct entry *e) {
    const struct value v = entry_value(e);
    if (p->out.at == p->light->bytes || db != p->db)
        put_db(&p->out, db);
    rdb_encode_begin(&p->encoder, &v, p->compress);
    put_access(p, &p->out, e);
    rdb_encode_key(&p->encoder, &p->out, entry_key(e), entry_expire_ms(e));
    while (!rdb_encode_some(&p->encoder, &p->out, SIZE_MAX)) {
    }
    return !p->out.failed;
}

static ON_SHARD void tell_light(struct save_part *p, unsigned db, const struct entry *e) {
    while (!p->gave_up) {
        if (p->light == NULL) {
            if ((p->light = block_take(p)) == NULL)
                return;
            out_set(&p->out, p->light);
        }
        uint8_t *from = p->out.at;
        if (likely(put_entry(p, db, e))) {
            p->db = db;
            note_version(p, &p->encoder);
            return;
        }
        p->out.at = from; /* it did not fit: what was put of it goes */
        if (from != p->light->bytes)
            light_flush(p);
        else
            light_grow(p);
        if (p->light != NULL)
            out_set(&p->out, p->light);
    }
}

static void tell(struct snapshot_sink *s, unsigned db, const struct entry *e) {
    struct save_part *p = CONTAINER_OF(s, struct save_part, sink);
    shard_claim();
    if (p->slicing) {
        tell_light(p, db, e);
        return;
    }
    uint64_t from = clock_fine_ns();
    tell_light(p, db, e);
    p->told_ns += clock_fine_ns() - from;
}

/* --- values in slices --- */

static bool chain_more(struct rdb_out *o) {
    struct save_part *p = CONTAINER_OF(o, struct save_part, chain_out);
    shard_claim();
    struct save_block *b = block_take(p);
    if (b == NULL)
        return false;
    if (p->chain == NULL) {
        p->chain = b;
    } else {
        p->chain_end->len = p->chain_end->cap;
        p->chain_end->next = b;
    }
    p->chain_end = b;
    p->chain_blocks++;
    o->at = b->bytes;
    o->end = b->bytes + b->cap;
    return true;
}

static void chain_floor(struct save_part *p, bool last) {
    ASSERT(p->chain_end != NULL);
    for (struct save_block *b = p->chain; b != NULL; b = b->next)
        b->floor = true;
    p->chain_end->last = last;
}

static ON_SHARD void chain_end(struct save_part *p) {
    p->chain_end->len = (size_t)(p->chain_out.at - p->chain_end->bytes);
    if (p->has_floor)
        chain_floor(p, true);
    send_blocks(p, p->chain, p->chain_end);
    p->chain = p->chain_end = NULL;
    p->chain_blocks = 0;
    p->has_floor = p->asked = p->telling = false;
}

/* chain_go: with the floor, what is full is written at once; a chain that becomes too long asks for it. */
static ON_SHARD void chain_go(struct save_part *p) {
    if (p->has_floor && p->chain != p->chain_end) {
        struct save_block *full = p->chain;
        while (full->next != p->chain_end)
            full = full->next;
        chain_floor(p, false);
        struct save_block *first = p->chain;
        p->chain = p->chain_end;
        p->chain_blocks = 1;
        send_blocks(p, first, full);
    } else if (!p->asked && p->chain_blocks >= SAVE_CHAIN_BLOCKS) {
        p->asked = true;
        p->ask = (struct bus_msg){.run = write_asked, .done = nothing_done, .to = 0};
        shard_post(p->shard, &p->ask);
    }
}

static bool waits_for_floor(const struct save_part *p) {
    return p->asked && !p->has_floor;
}

/* put_some: the times of a set's members come before the key. */
static ON_SHARD bool put_some(struct save_part *p, unsigned db, const struct entry *e) {
    struct rdb_encoder *enc = &p->chain_encoder;
    struct rdb_out *o = &p->chain_out;
    if (!p->telling) {
        const struct value v = entry_value(e);
        o->at = o->end = NULL;
        o->failed = !chain_more(o);
        rdb_encode_begin(enc, &v, p->compress);
        note_version(p, enc);
        put_db(o, db);
        p->telling = true;
        p->keyed = false;
    }
    if (!p->keyed) {
        if (!rdb_encode_times(enc, o, SNAPSHOT_HEAVY_BYTES))
            return false;
        put_access(p, o, e);
        rdb_encode_key(enc, o, entry_key(e), entry_expire_ms(e));
        p->keyed = true;
    }
    return rdb_encode_some(enc, o, SNAPSHOT_HEAVY_BYTES);
}

static bool tell_some(struct snapshot_sink *s, unsigned db, const struct entry *e) {
    struct save_part *p = CONTAINER_OF(s, struct save_part, sink);
    shard_claim();
    if (unlikely(snapshot_lost(&p->shard->snapshot)))
        give_up(p, LOST); /* it may be what we were in the middle of */
    if (p->gave_up)
        return true;
    if (waits_for_floor(p))
        return false;
    bool end = put_some(p, db, e);
    if (p->gave_up)
        return true;
    if (end)
        chain_end(p);
    else
        chain_go(p);
    return end;
}

static bool has_room(const struct save_part *p) {
    if (p->gave_up)
        return true;
    if (p->has_floor)
        return p->floor_out < SAVE_WALK_BLOCKS;
    return !p->asked && p->blocks_out + p->chain_blocks < SAVE_WALK_BLOCKS;
}

static bool room(struct snapshot_sink *s) {
    return has_room(CONTAINER_OF(s, struct save_part, sink));
}

static void hurry(struct snapshot_sink *s) {
    shard_claim();
    part_go(CONTAINER_OF(s, struct save_part, sink));
}

/* --- the walk --- */

static void ended_done(struct shard *s, struct bus_msg *m) {
    struct save_part *p = CONTAINER_OF(m, struct save_part, ended);
    part_free(p);
    p->active = p->ending = false;
    shard_claim();
    if (s->id == 0)
        saves_pump_soon(saves_of(s)); /* the next one may have waited for this */
}

/* end_maybe: home is told when nothing of ours is there any more. */
static ON_SHARD void end_maybe(struct save_part *p) {
    if (p->walking || p->blocks_out != 0 || p->ending)
        return;
    p->ending = true;
    p->ended = (struct bus_msg){.run = write_ended, .done = ended_done, .to = 0};
    shard_post(p->shard, &p->ended);
}

static ON_SHARD void walked(struct save_part *p) {
    struct snapshot *s = &p->shard->snapshot;
    if (!p->gave_up && snapshot_lost(s))
        give_up(p, LOST);
    if (!p->gave_up) {
        ASSERT(!p->telling);
        light_flush(p);
    }
    p->walking = false;
    end_maybe(p);
}

/* wait_ns: how long the walk leaves the shard to others: not at all while they do nothing, or somebody waits for it; else
 * SAVE_OTHERS times as long as the save has taken since its last slice began, what writes had to tell included. */
static ON_SHARD uint64_t wait_ns(struct save_part *p) {
    uint64_t turn_ns = p->shard->stats.turn_ns - p->seen_ns;
    bool idle = turn_ns < p->slice_ns + SAVE_IDLE_NS && p->told_ns == 0;
    p->seen_ns = p->shard->stats.turn_ns;
    if (p->slice_ns == 0 || idle || snapshot_hurried(&p->shard->snapshot))
        return 0;
    uint64_t due_ns = p->sliced_ns + SAVE_OTHERS * (p->slice_ns + p->told_ns);
    uint64_t now_ns = clock_fine_ns();
    return now_ns >= due_ns ? 0 : due_ns - now_ns;
}

/* set_timer: delay_ns: rdb-key-save-delay, which makes a save take long for tests: slices are as short as can be then. */
static ON_SHARD void set_timer(struct save_part *p, uint64_t delay_ns) {
    timer_set(p->shard->loop, &p->timer, loop_now_ns(p->shard->loop) + delay_ns);
}

static uint64_t delay_of(const struct save_part *p, uint64_t keys) {
    int64_t us = instance_of(p->shard)->config->key_save_delay_us;
    return us <= 0 || p->gave_up ? 0 : keys * (uint64_t)us * 1000;
}

/* stalled: until blocks come back, or the floor comes. Who waits for a huge value waits for the disk too in the end: half of what
 * may be behind is left to writes, which cannot. */
static bool stalled(const struct save_part *p) {
    if (p->gave_up)
        return false;
    bool hurried = snapshot_hurried(&p->shard->snapshot) && p->bytes < p->behind_max / 2;
    return waits_for_floor(p) || (!has_room(p) && !hurried);
}

static void fire(struct timer *t) {
    shard_claim();
    struct save_part *p = t->arg;
    struct snapshot *s = &p->shard->snapshot;
    if (!p->walking || !p->free_to_go)
        return;
    if (p->gave_up && snapshot_active(s)) {
        snapshot_give_up(s);
        free_all(p, &p->chain);
        p->telling = false;
    }
    if (stalled(p))
        return;
    uint64_t wait = p->gave_up ? 0 : wait_ns(p);
    if (wait != 0) {
        set_timer(p, wait);
        return;
    }
    uint64_t told = snapshot_told(s), from = clock_fine_ns();
    p->slicing = true;
    bool more = snapshot_some(s, delay_of(p, 1) != 0 ? from : from + SAVE_SLICE_NS);
    p->slicing = false;
    p->sliced_ns = clock_fine_ns();
    p->slice_ns = p->sliced_ns - from;
    p->told_ns = 0;
    if (more)
        set_timer(p, delay_of(p, snapshot_told(s) - told));
    else
        walked(p);
}

static void errand_run(struct shard *s, struct errand *e) {
    shard_claim();
    (void)s;
    struct save_part *p = CONTAINER_OF(e, struct save_part, errand);
    if (p->walking && (p->timer.due_ns == 0 || p->gave_up))
        set_timer(p, 0);
}

void part_go(struct save_part *p) {
    if (p->walking && p->free_to_go)
        errand_leave(p->shard, &p->errand);
}

void part_returned(struct save_part *p, struct save_block *list) {
    for (struct save_block *b = list, *next; b != NULL; b = next) {
        next = b->next;
        p->blocks_out--;
        p->floor_out -= b->floor;
        block_back(p, b);
    }
    part_go(p);
    end_maybe(p);
}

void part_grant(struct save_part *p) {
    p->has_floor = p->asked;
    part_go(p);
}

void part_stop(struct save_part *p) {
    if (p->active && !p->ending)
        give_up(p, "");
}

/* --- from the cut to the end --- */

static ON_SHARD bool count_dbs(struct save_part *p) {
    const struct keyspace *k = p->shard->keyspace;
    p->databases = keyspace_databases(k);
    p->dbs = mem_zalloc(mem_of(p), p->databases * sizeof *p->dbs);
    if (p->dbs == NULL)
        return false;
    for (unsigned db = 0; db < p->databases; db++) {
        const struct table *t = keyspace_peek_table(k, db);
        if (t != NULL)
            p->dbs[db] = (struct save_db){table_count(t), table_expires(t)};
    }
    return true;
}

bool part_begin(struct save_part *p, const struct saves *v) {
    ASSERT(!p->active);
    int policy = instance_of(p->shard)->config->maxmemory_policy;
    p->idle = policy == CONFIG_ALLKEYS_LRU || policy == CONFIG_VOLATILE_LRU;
    p->uses = policy == CONFIG_ALLKEYS_LFU || policy == CONFIG_VOLATILE_LFU;
    p->compress = v->compress;
    p->checksum = v->checksum;
    p->error = NULL;
    p->version = RDB_VERSION_LOW;
    p->gave_up = p->telling = p->asked = p->has_floor = false;
    p->blocks_out = p->floor_out = p->chain_blocks = 0;
    p->bytes_peak = 0;
    p->changes = instance_of(p->shard)->changes;
    p->used_bytes = mem_of(p)->used_bytes;
    p->seen_ns = p->shard->stats.turn_ns;
    p->slice_ns = p->told_ns = 0;
    p->out.more = no_more;
    p->chain_out.more = chain_more;
    p->active = true;
    p->free_to_go = false;
    if (count_dbs(p) && (p->light = block_take(p)) != NULL) {
        out_set(&p->out, p->light);
        if (snapshot_start(&p->shard->snapshot, &p->sink)) {
            p->walking = true;
            return true;
        }
        p->error = "the last snapshot has not ended";
    } else {
        p->error = NO_MEMORY;
    }
    part_free(p);
    p->active = false;
    return false;
}

void part_free(struct save_part *p) {
    if (p->light != NULL)
        block_free(p, p->light);
    p->light = NULL;
    free_all(p, &p->chain);
    free_all(p, &p->spare);
    if (p->dbs != NULL)
        mem_free(mem_of(p), p->dbs, p->databases * sizeof *p->dbs);
    p->dbs = NULL;
}

void part_init(struct save_part *p, struct shard *s) {
    p->shard = s;
    p->sink = (struct snapshot_sink){tell, tell_some, room, hurry};
    p->timer = (struct timer){.fire = fire, .arg = p};
    p->errand.run = errand_run;
    p->behind_max = SAVE_BEHIND_MAX;
}
