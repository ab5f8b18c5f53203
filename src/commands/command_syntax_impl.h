/* command_syntax_impl.h: a command's arguments as one line of text, and how to read it.
 *
 * Why         COMMAND DOCS answers arguments as maps in maps, which nobody wants to write or read
 *             in a row. A row says them as a manual page would, and DOCS and HELP are told from it.
 * Threads     any; pure. Nothing is allocated: what is nested is read again as text.
 * Limits      none; nesting is as deep as the text.
 * Invariants  command_register refuses a row whose syntax is not valid.
 *
 * The grammar:
 *
 *     syntax = [ arg *( " " arg ) ]
 *     arg    = item | "[" item "]"                   optional in brackets
 *     item   = TOKEN                                 a word by itself: NX
 *            | name ":" TOKEN                        the same, but DOCS calls it otherwise
 *            | [ TOKEN "=" ] value [ "..." | ",..." ]
 *     value  = name [ "<" shown ">" ] [ ":" type ]
 *            | name "(" arg *( "|" arg ) ")"         one of several (two at least)
 *            | name "(" arg *( " " arg ) ")"         a block: all of them, in this order
 *     type   = key | string | integer | double | pattern | unix-time
 *
 * A TOKEN begins with a capital letter and has capitals, digits, '-' and '_', or is "" (MIGRATE); a name is of small
 * letters, digits, '-' and '_'. "TOKEN=value" is a word and what follows it: EX=seconds. "..." says
 * that the value may be repeated, ",..." that the token is repeated with it. Users see the name, or
 * what is shown instead: addr<ip:port>. A type that is left out follows from the name
 * (command_syntax.c has the list), and is a string for names that say nothing. SET, for example:
 *
 *     key value [condition(NX|XX|IFEQ=comparison-value)] [GET]
 *         [expiration(EX=seconds|PX=milliseconds|EXAT=unix-time-seconds|...|KEEPTTL)]
 */
#ifndef COMMAND_SYNTAX_IMPL_H
#define COMMAND_SYNTAX_IMPL_H

#include "shards/attr.h"
#include "shards/span.h"
#include <stdbool.h>

enum syntax_type {
    SYNTAX_KEY,
    SYNTAX_STRING,
    SYNTAX_INTEGER,
    SYNTAX_DOUBLE,
    SYNTAX_PATTERN,
    SYNTAX_UNIX_TIME,
    SYNTAX_WRITABLE, /* those above can be written behind a colon */
    SYNTAX_PURE_TOKEN = SYNTAX_WRITABLE,
    SYNTAX_ONEOF,
    SYNTAX_BLOCK,
    SYNTAX_TYPES
};

extern const char *const command_syntax_types[SYNTAX_TYPES]; /* as COMMAND DOCS names them */

struct syntax_arg {
    struct span name;  /* of a lone token: the token, whose lower case is the name */
    struct span shown; /* to users; the name, mostly */
    struct span token; /* empty: none */
    struct span body;  /* ONEOF, BLOCK: the arguments inside the parentheses */
    enum syntax_type type;
    bool optional, multiple, multiple_token;
};

/* command_syntax_next: the next argument of *rest, which moves behind it; false at the end, or where
 * the text is not valid, which *rest tells apart: it is empty at the end. The arguments of a ONEOF
 * are separated by '|', others by a space. */
bool command_syntax_next(struct span *rest, char separator, struct syntax_arg *a);
/* command_syntax_separator: of the arguments in a's body. */
static inline char command_syntax_separator(const struct syntax_arg *a) {
    return a->type == SYNTAX_ONEOF ? '|' : ' ';
}
/* command_syntax_count: how many arguments there are. */
size_t command_syntax_count(struct span text, char separator);
/* command_syntax_valid: NULL is. */
bool command_syntax_valid(const char *syntax);

#endif
