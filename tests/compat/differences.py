"""differences.py: where Anax means to answer otherwise than redis-server 7.0, each with its reason.

Anax follows the current servers, Redis 8 and Valkey 9; the reference here is the Redis that Debian
ships. An entry says which command, what both answer, and why. Nothing else may differ.
"""

import collections

Difference = collections.namedtuple("Difference", "name applies reason")


def _starts(args, *words):
    head = [a.upper() if isinstance(a, bytes) else a for a in args[: len(words)]]
    return head == [w.encode() for w in words]


INTENDED = []


def intended(args, ours, theirs):
    """The difference that explains this pair of replies, or None."""
    for difference in INTENDED:
        if difference.applies(args, ours, theirs):
            return difference
    return None
