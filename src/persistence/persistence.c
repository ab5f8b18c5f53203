/* persistence.c: what the room gives to others as a whole. */
#include "anax/persistence.h"
#include "dump_impl.h"
#include "migrate_impl.h"
#include "persistence_impl.h"
#include "saves_impl.h"

void persistence_register(void) {
    digest_register();
    dump_register();
    restore_register();
    migrate_register();
    sync_register();
    reload_register();
    load_register();
    save_cmds_register();
    save_info_register();
    save_why_register();
}

enum err persistence_start(struct shard *s) {
    struct persistence *p = mem_zalloc(&s->mem, sizeof *p);
    instance_of(s)->persistence = p;
    if (p == NULL || !save_shard_start(s) || links_start(s) != OK)
        return ERR_NOMEM;
    return load_shard_start(s);
}

void persistence_stopping(struct shard *s) {
    persistence_of(s)->stopping = true;
    load_stopping(s);
    save_shard_stopping(s);
    links_stopping(s);
}

bool persistence_idle(struct shard *s) {
    return load_idle(s) && save_idle(s) && links_idle(s);
}

void persistence_stop(struct shard *s) {
    struct persistence *p = persistence_of(s);
    if (p == NULL)
        return;
    load_shard_stop(s);
    save_shard_stop(s);
    links_stop(s);
    mem_free(&s->mem, p, sizeof *p);
    instance_of(s)->persistence = NULL;
}
