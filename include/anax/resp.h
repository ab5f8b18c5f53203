/* resp.h: requests out of bytes: RESP arrays and inline commands.
 *
 * Why         pure and resumable: the same function serves a buffer that holds a thousand commands
 *             and a command that arrives a byte at a time, without looking at a byte twice.
 * Threads     any; the state is the caller's.
 * Limits      resp_limits. An argument of RESP_BIG_MIN bytes or more that is not there yet is
 *             reported, so that the caller can receive it straight into its final place.
 * Invariants  (1) no byte beyond `len` is read. (2) resp_parse of a prefix followed by the rest
 *             gives what the whole gives. (3) argument offsets lie within the bytes consumed.
 * Source      the RESP specification; limits and texts of errors as in Redis's networking.
 */
#ifndef ANAX_RESP_H
#define ANAX_RESP_H

#include "shards/span.h"
#include <stdbool.h>
#include <stdint.h>

enum {
    RESP_INLINE_MAX = 64 * 1024,
    RESP_ARGS_MAX = 1024 * 1024, /* 2^20 */
    RESP_BIG_MIN = 32 * 1024,
};

enum resp_status {
    RESP_COMMAND, /* argv holds a whole command (argc may be 0: an empty line, to be passed over) */
    RESP_MORE,    /* need more bytes */
    RESP_BIG,   /* as RESP_MORE, and the `big_len` bytes + CRLF from pos on are args[argc], a large
                 * one: the caller may take them out of the stream, or go on collecting them in
                 * data. It is the last argument if left is 1. */
    RESP_NOMEM, /* the argument array could not grow */
    RESP_ERROR, /* *error is the text after "-ERR "; close the connection after replying */
};

struct resp_limits {
    int64_t bulk_max;     /* proto-max-bulk-len */
    bool unauthenticated; /* then at most 10 arguments of 16384 bytes */
};

/* An argument: where it begins, counted from the start of the command, and its length. One that was
 * taken out has no bytes in the input: those at its place are what follows it. */
struct resp_arg {
    uint32_t at;
    uint32_t len;
};

struct resp_parser {
    struct resp_arg *args;
    uint32_t args_cap;
    uint32_t argc;    /* arguments found so far */
    int64_t left;     /* arguments still to come; -1: the header has not been read */
    uint32_t pos;     /* bytes of this command already understood */
    int64_t bulk_len; /* length of the argument that is coming; -1: not read yet */
    uint32_t scanned; /* bytes behind pos that hold no end of line */
    uint32_t big_len; /* with RESP_BIG */
    const char *error;
    char error_text[96];
    bool is_inline;
    void *arg; /* for grow */
    /* grow: makes args hold `need` elements; false when there is no memory. */
    bool (*grow)(struct resp_parser *p, uint32_t need);
};

/* resp_reset: ready for the next command; keeps args. */
void resp_reset(struct resp_parser *p);
/* resp_parse: `data` begins where the command began; len bytes of it are there. On RESP_COMMAND
 * p->pos is the command's length in bytes, and args/argc are set (inline arguments are unescaped in
 * place: data is written to, within the command). */
enum resp_status resp_parse(struct resp_parser *p, char *data, size_t len,
                            const struct resp_limits *limits);
/* resp_big_done: the caller took the large argument and its CRLF out of the stream; parsing goes on
 * with the bytes behind it, which follow in `data` at p->pos. */
void resp_big_done(struct resp_parser *p);

#endif
