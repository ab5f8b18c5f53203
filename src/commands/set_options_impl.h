/* set_options_impl.h: the options of SET, GETEX and MSETEX, which share one grammar. */
#ifndef SET_OPTIONS_IMPL_H
#define SET_OPTIONS_IMPL_H

#include "ctx_impl.h"

/* An entry has 48 bits for the millisecond of its expiry; what is later (year 10889) becomes this.
 */
#define EXPIRE_MS_MAX ((1LL << 48) - 1)

/* SET_OPTIONS_TIMES: as a row's syntax says them. */
#define SET_OPTIONS_TIMES                                                                          \
    "EX=seconds|PX=milliseconds|EXAT=unix-time-seconds|PXAT=unix-time-milliseconds"

enum expiry {
    EXPIRY_NONE,
    EXPIRY_EX,
    EXPIRY_PX,
    EXPIRY_EXAT,
    EXPIRY_PXAT,
    EXPIRY_KEEP,
    EXPIRY_PERSIST
};
enum condition { SET_ALWAYS, SET_NX, SET_XX, SET_IFEQ };

/* What a command allows beside EX, PX, EXAT and PXAT. */
enum { ALLOW_CONDITION = 1, ALLOW_IFEQ = 2, ALLOW_GET = 4, ALLOW_KEEPTTL = 8, ALLOW_PERSIST = 16 };

struct set_options {
    enum expiry expiry;
    enum condition condition;
    uint32_t time_arg;  /* of EX, PX, EXAT, PXAT: where the number stands */
    uint32_t equal_arg; /* of IFEQ: where the value stands */
    bool get;
};

/* set_options_parse: argv[from] to the end. Replies and returns false on a syntax error. */
bool set_options_parse(struct ctx *c, uint32_t from, unsigned allowed, struct set_options *o);
/* set_options_time: the Unix time in ms that an EX, PX, EXAT or PXAT with the number argv[arg]
 * means; replies and returns false when it is no number, or no time. */
bool set_options_time(struct ctx *c, enum expiry kind, uint32_t arg, int64_t *expire_ms);
/* set_options_past: an expiry that has passed already deletes instead of storing. */
static inline bool set_options_past(const struct ctx *c, int64_t expire_ms) {
    return expire_ms > 0 && expire_ms <= c->now_ms;
}
void set_options_bad_time(struct ctx *c);

#endif
