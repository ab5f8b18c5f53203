/* err.h: what the environment can do to us.
 *
 * A client's mistake is a reply and our own bug an assertion; neither is an `enum err`.
 */
#ifndef SHARDS_ERR_H
#define SHARDS_ERR_H

#include "shards/attr.h"

enum err {
    OK = 0,
    ERR_AGAIN,       /* a bound was reached; try again after the next turn */
    ERR_NOMEM,       /* the allocator refused */
    ERR_IO,          /* a system call failed; errno says how */
    ERR_UNSUPPORTED, /* the kernel or the build lacks it */
    ERR_FORMAT,      /* malformed input */
};

/* err_name: a word for logs. */
const char *err_name(enum err e);

#endif
