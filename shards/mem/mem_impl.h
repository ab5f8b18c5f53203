/* mem_impl.h: what the files of this room share. */
#ifndef MEM_IMPL_H
#define MEM_IMPL_H

#include "shards/mem.h"

/* mem_must_fail: true when this allocation is the one that fault injection was told to refuse. */
static inline bool mem_must_fail(struct mem *m) {
    if (likely(m->fail_in == 0) || --m->fail_in != 0)
        return false;
    m->fail_in = m->fail_every;
    return true;
}

#endif
