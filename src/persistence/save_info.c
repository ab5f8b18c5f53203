/* save_info.c: what INFO tells of saves. What home alone knows, other shards give 0 for: sums are taken. */
#include "anax/metrics.h"
#include "saves_impl.h"

static const struct saves *home_of(const struct shard *s) {
    const struct persistence *p = persistence_of(s);
    return p == NULL ? NULL : p->saves;
}

static const struct save_part *active(const struct shard *s) {
    const struct persistence *p = persistence_of(s);
    return p != NULL && p->part->active ? p->part : NULL;
}

static int64_t read_changes(struct shard *s) {
    const struct instance *in = instance_of(s);
    return (int64_t)(in->changes - in->changes_saved);
}

static bool in_background(const struct saves *v) {
    return v != NULL && saves_busy(v) && v->kind == SAVE_BACKGROUND;
}

static int64_t read_in_progress(struct shard *s) {
    return in_background(home_of(s));
}

static int64_t read_last_time(struct shard *s) {
    const struct saves *v = home_of(s);
    return v == NULL ? 0 : v->last_save_s;
}

static int64_t read_failed(struct shard *s) {
    const struct saves *v = home_of(s);
    return v != NULL && v->last_failed;
}

static int64_t read_last_took(struct shard *s) {
    const struct saves *v = home_of(s);
    return v == NULL ? 0 : v->last_time_s;
}

static int64_t read_takes(struct shard *s) {
    const struct saves *v = home_of(s);
    if (v == NULL)
        return 0;
    return in_background(v) ? s->wall_ms / 1000 - v->began_s : -1;
}

static int64_t read_saves(struct shard *s) {
    const struct saves *v = home_of(s);
    return v == NULL ? 0 : (int64_t)v->saves;
}

/* Redis's copy-on-write is memory that a save takes beside the keys; here those are blocks. */
static int64_t read_last_peak(struct shard *s) {
    const struct saves *v = home_of(s);
    return v == NULL || saves_busy(v) ? 0 : (int64_t)v->last_bytes_peak;
}

static int64_t read_bytes(struct shard *s) {
    const struct save_part *p = active(s);
    return p == NULL ? 0 : (int64_t)p->bytes;
}

static int64_t read_peak(struct shard *s) {
    const struct save_part *p = active(s);
    return p == NULL ? 0 : (int64_t)p->bytes_peak;
}

static int64_t read_told(struct shard *s) {
    return active(s) == NULL ? 0 : (int64_t)snapshot_told(&s->snapshot);
}

static int64_t read_total(struct shard *s) {
    return active(s) == NULL ? 0 : (int64_t)snapshot_total(&s->snapshot);
}

static const struct metric metrics[] = {
    {"persistence", "current_cow_peak", read_peak},
    {"persistence", "current_cow_size", read_bytes},
    {"persistence", "current_save_keys_processed", read_told},
    {"persistence", "current_save_keys_total", read_total},
    {"persistence", "rdb_changes_since_last_save", read_changes},
    {"persistence", "rdb_bgsave_in_progress", read_in_progress},
    {"persistence", "rdb_last_save_time", read_last_time},
    {"persistence", "rdb_last_bgsave_time_sec", read_last_took},
    {"persistence", "rdb_current_bgsave_time_sec", read_takes},
    {"persistence", "rdb_saves", read_saves},
    {"persistence", "rdb_last_cow_size", read_last_peak},
    {"saving", "failed", read_failed},
};

void save_info_register(void) {
    metrics_register(metrics, COUNT_OF(metrics));
}
