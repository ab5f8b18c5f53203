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


def _hello_before_auth(args, ours, theirs):
    """7.0 forgot that the protocol's number comes first."""
    return args[0].upper() == b"HELLO" and theirs.value.startswith(b"NOAUTH HELLO must be called") and \
        ours.value == theirs.value.replace(b"HELLO AUTH", b"HELLO <proto> AUTH")


def _debug_unfit(args, ours, theirs):
    """No subcommand of DEBUG, or not so many arguments."""
    redis_s = b"ERR unknown subcommand or wrong number of arguments for '", b"ERR DEBUG command not allowed."
    every_container_s = b"ERR unknown subcommand '", b"ERR wrong number of arguments for 'debug|"
    return args[0].upper() == b"DEBUG" and theirs.value.startswith(redis_s) and \
        ours.value.startswith(every_container_s)


INTENDED = [
    Difference("HELLO before AUTH", _hello_before_auth, "the text of Redis 7.2 and later"),
    Difference("expiry beyond the year 10889", _beyond_the_end,
               "an expiry is stored in 48 bits of milliseconds, which saves two bytes per key that has one; "
               "what is later than that is stored as that"),
    Difference("DEBUG with a wrong subcommand", _debug_unfit,
               "DEBUG's subcommands are rows like those of every container, and are refused with its texts; in Redis "
               "DEBUG is one command that reads its arguments itself. No client looks at these texts"),
]

# Bounds that hold for more here than in 7.0: option -> reason. tests/fault/test_abuse.py meets them.
BOUNDS = {
    "client-query-buffer-limit":
        "counts all that has come of an unfinished command; Redis does not count the arguments that are there "
        "already, of which one client may then send as many gigabytes as it likes",
}

# Malformed input that Anax refuses and 7.0 does not: raw request -> (reply, after which it closes; reason)
_ARGS = "a request has at most 2^20 arguments (Redis: 2^31), so that a header alone cannot ask for gigabytes"
RAW = {
    b"*1048577\r\n": (b"-ERR Protocol error: invalid multibulk length\r\n", _ARGS),
    b"*2147483647\r\n": (b"-ERR Protocol error: invalid multibulk length\r\n", _ARGS),
}


# Calls that Redis would answer without end: (setup, call) -> reason. tests/compat/test_refused.py meets them, with ours alone.
_DRAWS = "with repetitions a reply of 2^63 elements can be asked for; more than 2^24 are not meant, and one client could stop a shard"
REFUSED = {
    ("SADD s a", "SRANDMEMBER s -16777217"): _DRAWS,
    ("HSET h a 1", "HRANDFIELD h -16777217"): _DRAWS,
    ("ZADD z 1 a", "ZRANDMEMBER z -16777217"): _DRAWS,
}


def intended(args, ours, theirs):
    """The difference that explains this pair of replies, or None."""
    for difference in INTENDED:
        if difference.applies(args, ours, theirs):
            return difference
    return None
