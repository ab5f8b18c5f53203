#include "anax/config.h"
#include <sys/resource.h>

enum { OTHER_DESCRIPTORS = 64 }; /* beside connections: rings, listeners, files */

int64_t config_client_room(int64_t clients) {
    struct rlimit limit, wanted;
    rlim_t need = (rlim_t)clients + OTHER_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return clients;
    wanted = (struct rlimit){need, limit.rlim_max > need ? limit.rlim_max : need};
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        return clients;
    wanted = (struct rlimit){limit.rlim_max < need ? limit.rlim_max : need, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        limit = wanted;
    int64_t room = (int64_t)limit.rlim_cur - OTHER_DESCRIPTORS;
    return room > clients ? clients : room;
}
