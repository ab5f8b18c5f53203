/* persistence.c: what the room gives to others as a whole. */
#include "anax/persistence.h"

void persistence_register(void) {
}
