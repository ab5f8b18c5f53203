/* words.h: words and numbers out of text, by the rules that redis-cli and redis.conf share.
 *
 * Why         inline commands and configuration lines are split alike, so a value that is quoted
 *             for the one is quoted for the other.
 * Threads     any; pure.
 * Ownership   words are unescaped in place: the text is written to, never behind a word's own end.
 * Limits      none of its own; one pass over the text.
 * Invariants  (1) nothing outside [from, end) is read or written. (2) words follow one another.
 * Source      redis-cli's quoting: "..." with \n \r \t \b \a \xHH and \ before any other character,
 *             '...' with \' only; a closing quote ends the word.
 */
#ifndef ANAX_WORDS_H
#define ANAX_WORDS_H

#include "shards/attr.h"
#include "shards/span.h"
#include <stdint.h>

enum words_status {
    WORDS_WORD,
    WORDS_END,
    WORDS_UNBALANCED, /* a quote was not closed, or text follows a closing quote */
};

struct words {
    char *from; /* what was not read yet */
    char *end;
};

/* words_next: with WORDS_WORD, *word is the next one. */
enum words_status words_next(struct words *w, struct span *word);

/* words_int: the whole of s as a decimal 64-bit integer without blanks, '+', leading zeros or "-0":
 * what Redis takes for an integer everywhere. */
MUST_CHECK bool words_int(struct span s, int64_t *out);

#endif
