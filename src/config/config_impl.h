/* config_impl.h: the table of options, between the file that declares it and the one that reads it.
 *
 * Why         config.c knows values: bounds, kinds, texts; config_parse.c where words come from.
 */
#ifndef ANAX_CONFIG_IMPL_H
#define ANAX_CONFIG_IMPL_H

#include "anax/config.h"

struct config_row;

/* config_row_find: by name, any case; NULL when there is none. */
const struct config_row *config_row_find(struct span name);
/* config_row_set: false: *e holds what config_parse's errors say behind the option and its values,
 * for example "a number from 0 to 65535". */
bool config_row_set(const struct config_row *row, struct config *c, const struct span *values,
                    unsigned n, struct config_error *e);
/* config_row_is_secret: its value is not to be repeated. */
bool config_row_is_secret(const struct config_row *row);
/* config_row_may_lack_value: without a value it is the empty one, as --save in Redis. */
bool config_row_may_lack_value(const struct config_row *row);

#endif
