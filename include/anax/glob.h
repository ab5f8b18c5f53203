/* glob.h: the patterns of KEYS, SCAN MATCH and CONFIG GET.
 *
 * Why         one matcher for all of them, that a hostile pattern cannot make slow.
 * Threads     any; pure.
 * Limits      none. Cost O(pattern * text) at worst, O(pattern + text) with at most one star.
 * Source      Redis's KEYS: * ? [abc] [^a-z] and \ before a character to be taken as it is. As
 *             there, a bracket that is not closed ends with the pattern, ranges compare signed
 *             bytes in either order, an escape in brackets minds case always, and an empty text
 *             is matched by an empty pattern and by "*" only, not by "**".
 */
#ifndef ANAX_GLOB_H
#define ANAX_GLOB_H

#include "shards/span.h"

bool glob_match(struct span pattern, struct span text, bool nocase);

#endif
