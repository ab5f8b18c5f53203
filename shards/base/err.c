#include "shards/err.h"

const char *err_name(enum err e) {
    switch (e) {
    case OK:
        return "ok";
    case ERR_AGAIN:
        return "again";
    case ERR_NOMEM:
        return "out of memory";
    case ERR_IO:
        return "input/output";
    case ERR_UNSUPPORTED:
        return "unsupported";
    case ERR_FORMAT:
        return "malformed";
    }
    return "unknown";
}
