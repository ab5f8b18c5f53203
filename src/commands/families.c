/* families.c: all families of commands. */
#include "ctx_impl.h"

void command_register_families(void) {
    coll_register();
    string_register();
    bitmap_register();
    list_register();
    hash_register();
    set_register();
    zset_register();
    sort_register();
    generic_register();
    server_register();
}
