"""differences.py: where Anax means to answer otherwise than redis-server 7.0, each with its reason.

Anax follows the current servers, Redis 8 and Valkey 9; the reference here is the Redis that Debian
ships. An entry says which command, what both answer, and why. Nothing else may differ.
"""

import collections
import time

Difference = collections.namedtuple("Difference", "name applies reason")


EXPIRY_END_MS = 1 << 48  # the year 10889
SLACK_MS = 3600 * 1000


def _beyond_the_end(args, ours, theirs):
    name = args[0].upper()
    a, b = ours.value, theirs.value
    if name not in (b"TTL", b"PTTL", b"EXPIRETIME", b"PEXPIRETIME") or not isinstance(b, int) \
            or not isinstance(a, int):
        return False
    end = EXPIRY_END_MS if name.endswith(b"TIME") else EXPIRY_END_MS - int(time.time() * 1000)
    scale = 1 if name.startswith(b"P") else 1000
    return a * scale >= end - SLACK_MS and b * scale >= end - SLACK_MS


INTENDED = [
    Difference("expiry beyond the year 10889", _beyond_the_end,
               "an expiry is stored in 48 bits of milliseconds, which saves two bytes per key that has one; "
               "what is later than that is stored as that"),
]


def intended(args, ours, theirs):
    """The difference that explains this pair of replies, or None."""
    for difference in INTENDED:
        if difference.applies(args, ours, theirs):
            return difference
    return None
