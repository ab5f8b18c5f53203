/* snapshot.c: the walk, what it is told by writes, and values that are told in slices. */
#include "shards/snapshot.h"
