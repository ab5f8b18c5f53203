"""WATCH: which changes make an EXEC do nothing, against redis-server; what 7.0 lacks, against what its later versions say."""

import time

import pytest

from harness import NULL_ARRAY, SLOW, wait_until
from talk import TAGS, Talk, check_all, lines

# What is there before; a command. Whether a watch on k (k1, k2) fires is redis-server's to say.
DEEDS = [
    # string
    ("", "SET k 1"), ("SET k 1", "SET k 1"), ("SET k 1", "SET k 2 NX"), ("", "SET k 2 NX"), ("", "SET k 2 XX"),
    ("SET k 1", "SET k 1 XX"), ("SET k 1", "SET k 2 NX GET"), ("SET k 1", "SET k 2 XX GET"), ("", "SET k 1 GET"),
    ("SET k 1", "SET k 1 KEEPTTL"), ("", "SET k 1 PXAT 1"), ("SET k 1", "SET k 1 PXAT 1"), ("", "SET k 1 EX 0"),
    ("", "SET k 1 EX 100"), ("", "SET k"), ("", "SET k 1 WRONG"), ("SET k 1", "SETNX k 1"), ("", "SETNX k 1"),
    ("", "SETEX k 100 1"), ("SET k 1", "SETEX k 0 1"), ("", "PSETEX k 100000 1"), ("SET k 1", "GETSET k 1"),
    ("", "GETSET k 1"), ("SET k 1", "GETDEL k"), ("", "GETDEL k"), ("SET k 1", "GETEX k"), ("", "GETEX k EX 100"),
    ("SET k 1", "GETEX k EX 100"), ("SET k 1", "GETEX k PXAT 1"), ("SET k 1", "GETEX k PERSIST"),
    ("SET k 1 EX 100", "GETEX k PERSIST"), ("SET k 1", "GETEX k EX 0"), ("SET k 1", "APPEND k ''"), ("", "APPEND k ''"),
    ("SET k 1", "APPEND k x"), ("", "SETRANGE k 0 ''"), ("SET k 1", "SETRANGE k 5 ''"), ("SET k 1", "SETRANGE k 0 1"),
    ("", "SETRANGE k 3 x"), ("SET k 1", "SETRANGE k -1 x"), ("SET k 1", "INCRBY k 0"), ("", "INCR k"),
    ("SET k x", "INCR k"), ("SET k 9223372036854775807", "INCR k"), ("SET k 1", "DECR k"), ("SET k 1", "DECRBY k 0"),
    ("SET k 1", "INCRBYFLOAT k 0"), ("SET k x", "INCRBYFLOAT k 1"), ("SET k 1", "INCRBYFLOAT k inf"),
    ("", "MSET k 1"), ("MSET k1 1 k2 2", "MSET k1 1 k2 2"), ("", "MSET k1 1 k3 3"), ("", "MSETNX k1 1 k2 2"),
    ("SET k3 1", "MSETNX k1 1 k2 1 k3 1"), ("SET k 1", "MSETNX k 1"), ("SET k 1", "GET k"), ("SET k 1", "GETRANGE k 0 1"),
    ("SET k 1", "SUBSTR k 0 1"), ("SET k 1", "STRLEN k"), ("MSET k1 1 k2 2", "MGET k1 k2"),
    ("MSET k1 1 k2 2", "LCS k1 k2"),
    # bitmap
    ("", "SETBIT k 3 0"), ("SETBIT k 3 1", "SETBIT k 3 1"), ("SETBIT k 3 1", "SETBIT k 3 0"), ("SET k a", "SETBIT k 7 1"),
    ("SET k 12", "SETBIT k 7 1"), ("SETBIT k 3 0", "SETBIT k 100 0"), ("SET k a", "SETBIT k 7 2"),
    ("", "BITFIELD k SET u8 0 0"), ("SET k a", "BITFIELD k SET u8 0 97"), ("SET k a", "BITFIELD k SET u8 0 98"),
    ("SET k a", "BITFIELD k INCRBY u8 0 0"), ("SET k a", "BITFIELD k INCRBY u8 0 256"), ("", "BITFIELD k GET u8 0"),
    ("SET k a", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 1000"), ("SET k a", "BITFIELD k SET u8 80 0"),
    ("SET k a", "BITFIELD k OVERFLOW SAT"), ("SET k a", "BITFIELD k SET u8 0 98 SET u8 0 97"),
    ("SET k a", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 1000 SET u8 0 97"), ("SET k a", "BITFIELD k SET u99 0 1"),
    ("SET k a", "BITFIELD k OVERFLOW FAIL INCRBY u8 0 1000 SET u8 0 98"), ("SET k a", "BITFIELD_RO k GET u8 0"),
    ("SET k a", "GETBIT k 0"), ("SET k a", "BITCOUNT k"), ("SET k a", "BITPOS k 1"), ("", "BITOP AND k k3 k4"),
    ("SET k a", "BITOP AND k k3 k4"), ("MSET k a k3 a", "BITOP OR k k3"), ("SET k3 a", "BITOP NOT k k3"),
    ("MSET k1 a k2 b", "BITOP XOR k3 k1 k2"), ("SET k a", "BITOP OR k k"), ("SET k a", "BITOP NOT k k3"),
    # generic
    ("SET k 1", "DEL k"), ("", "DEL k"), ("MSET k3 1 k1 1", "DEL k3 k4 k1"), ("SET k 1", "UNLINK k"), ("", "UNLINK k"),
    ("SET k 1", "EXPIRE k 100"), ("SET k 1 EX 100", "EXPIRE k 100"), ("", "EXPIRE k 100"), ("SET k 1", "EXPIRE k -1"),
    ("SET k 1", "EXPIRE k 100 XX"), ("SET k 1", "EXPIRE k 100 GT"), ("SET k 1", "EXPIRE k 100 LT"),
    ("SET k 1 EX 100", "EXPIRE k 100 NX"), ("SET k 1", "PEXPIRE k 100000"), ("SET k 1", "EXPIREAT k 1"),
    ("SET k 1", "EXPIREAT k 1 GT"), ("SET k 1", "PEXPIREAT k 99999999999999"), ("SET k 1", "EXPIRE k x"),
    ("SET k 1", "PERSIST k"), ("SET k 1 EX 100", "PERSIST k"), ("", "PERSIST k"), ("SET k 1", "TTL k"),
    ("SET k 1", "EXPIRETIME k"), ("SET k 1", "TOUCH k"), ("SET k 1", "EXISTS k"), ("SET k 1", "TYPE k"),
    ("SET k 1", "OBJECT ENCODING k"), ("SET k 1", "OBJECT FREQ k"), ("SET k1 1", "RENAME k1 k3"), ("SET k3 1", "RENAME k3 k2"),
    ("SET k1 1", "RENAME k1 k1"), ("", "RENAME k1 k2"), ("SET k2 1", "RENAME k1 k2"), ("MSET k3 1 k2 1", "RENAME k3 k2"),
    ("SET k1 1", "RENAMENX k1 k3"), ("MSET k1 1 k3 1", "RENAMENX k1 k3"), ("SET k3 1", "RENAMENX k3 k2"),
    ("SET k1 1", "RENAMENX k1 k1"), ("SET k1 1", "COPY k1 k3"), ("SET k3 1", "COPY k3 k2"), ("", "COPY k3 k2"),
    ("MSET k3 1 k2 1", "COPY k3 k2"), ("MSET k3 1 k2 1", "COPY k3 k2 REPLACE"), ("SET k2 1", "COPY k3 k2 REPLACE"),
    ("SET k 1", "COPY k k DB 1"), ("SET k3 1", "COPY k3 k2 DB 1"), ("SET k 1", "MOVE k 1"), ("", "MOVE k 1"),
    ("SET k 1", "MOVE k 0"), ("SET k 1", "MOVE k 99"), ("SET k 1", "KEYS *"), ("SET k 1", "RANDOMKEY"),
    ("SET k 1", "DBSIZE"), ("SET k 1", "SCAN 0"),
    # server
    ("", "FLUSHALL"), ("SET k 1", "FLUSHALL"), ("SET k 1", "FLUSHDB"), ("SET k 1", "FLUSHALL ASYNC"),
    ("SET k3 1", "FLUSHALL"), ("SET k 1", "FLUSHALL WRONG"), ("SET k 1", "SWAPDB 0 1"), ("", "SWAPDB 0 1"),
    ("SET k3 1", "SWAPDB 0 1"), ("SET k 1", "SWAPDB 0 0"), ("SET k 1", "SWAPDB 1 2"), ("SET k 1", "SWAPDB 0 99"),
]

# The same of commands that 7.0 does not have: the value changed, or it did not.
NEWER = [
    ("SET k 1", "SET k 2 IFEQ 1", True), ("SET k 1", "SET k 2 IFEQ 2", False), ("", "SET k 2 IFEQ 2", False),
    ("SET k 1", "DELIFEQ k 1", True), ("SET k 1", "DELIFEQ k 2", False), ("", "DELIFEQ k 2", False),
    ("", "MSETEX 2 k 1 k3 1 EX 100", True), ("SET k 1", "MSETEX 2 k 1 k3 1 NX", False),
    ("SET k 1", "MSETEX 2 k 1 k3 1 XX", False), ("MSET k 1 k3 1", "MSETEX 2 k 1 k3 1 XX KEEPTTL", True),
    ("SET k 1", "MSETEX 2 k3 1 k4 1", False), ("MSET k 1 k3 3", "BITOP DIFF k k k3", True),
    ("MSET k 1 k3 3", "BITOP ONE k4 k k3", False), ("MSET k3 1 k4 3", "BITOP ANDOR k k3 k4", True),
]


def fired(talk, before, line):
    """Whether EXEC did nothing; b does the deed."""
    talk.server.cmd("FLUSHALL")
    if before:
        assert talk.cmd("b " + before) is not None
    talk.all("a WATCH k k1 k2\nb %s\na MULTI" % line)
    reply = talk.cmd("a EXEC")
    assert reply is NULL_ARRAY or reply == [], (before, line, reply)
    return reply is NULL_ARRAY


def test_redis_and_deeds_agree(redis):
    """The table has both kinds of everything, or it would prove little."""
    with Talk(redis) as t:
        told = [fired(t, *deed) for deed in DEEDS]
    assert told.count(True) > 60 and told.count(False) > 60
    assert len(set(DEEDS)) == len(DEEDS)


@pytest.mark.parametrize("tag", TAGS)
def test_deeds(anax, redis, tag):
    with Talk(anax, tag=tag) as a, Talk(redis, tag=tag) as b:
        wrong = [(deed, "should fire" if theirs else "should not fire") for deed in DEEDS
                 for ours, theirs in [(fired(a, *deed), fired(b, *deed))] if ours != theirs]
    assert not wrong, "\n".join(map(str, wrong))


def test_newer_deeds(anax, against_redis_itself):
    if against_redis_itself:
        return
    for tag in TAGS:
        with Talk(anax, tag=tag) as t:
            wrong = [(before, line) for before, line, fires in NEWER if fired(t, before, line) != fires]
        assert not wrong, wrong


def test_deeds_in_a_transaction(anax, redis):
    """A change by another's EXEC counts as any other; what cannot be queued is left out."""
    with Talk(anax) as a, Talk(redis) as b:
        wrong = []
        for before, line in DEEDS:
            for t in (a, b):
                t.server.cmd("FLUSHALL")
                if before:
                    t.cmd("b " + before)
                t.all("a WATCH k k1 k2\nb MULTI\nb PING\nb %s\nb SET k9 x\nb EXEC\na MULTI" % line)
            ours, theirs = a.cmd("a EXEC"), b.cmd("a EXEC")
            if ours != theirs:
                wrong.append((before, line, ours, theirs))
    assert not wrong, "\n".join(map(str, wrong))


SCRIPTS = {
    "nothing happens": """
        a SET k 1
        a WATCH k
        b GET k
        a MULTI
        a INCR k
        a EXEC
        a MULTI
        a INCR k
        a EXEC""",
    "other keys": """
        a WATCH k1
        b SET k2 1
        a MULTI
        a SET k1 1
        a EXEC""",
    "own changes before MULTI": """
        a WATCH k
        a SET k 1
        a MULTI
        a SET k 2
        a EXEC
        a GET k""",
    "own changes inside": """
        a WATCH k1 k2
        a MULTI
        a SET k1 2
        a SET k2 2
        a EXEC
        a MULTI
        a GET k1
        a EXEC""",
    "changes while in MULTI": """
        a WATCH k1
        a MULTI
        a SET k1 a
        b SET k1 b
        a SET k2 a
        a EXEC
        a MGET k1 k2""",
    "an EXEC that changes": """
        a WATCH k1
        b MULTI
        b SET k1 b
        a MULTI
        a GET k1
        b EXEC
        a EXEC""",
    "both watch, one wins": """
        a WATCH k1 k2
        b WATCH k1 k2
        c WATCH k2
        a MULTI
        b MULTI
        c MULTI
        a INCR k1
        b INCR k1
        c INCR k3
        b EXEC
        a EXEC
        c EXEC
        a MGET k1 k2 k3""",
    "EXEC unwatches": """
        a WATCH k
        a MULTI
        a EXEC
        b SET k 1
        a MULTI
        a PING
        a EXEC""",
    "an EXEC that did nothing unwatches": """
        a WATCH k
        b SET k 1
        a MULTI
        a EXEC
        a MULTI
        a PING
        a EXEC""",
    "an aborted EXEC unwatches": """
        a WATCH k
        a MULTI
        a NOSUCH
        a EXEC
        b SET k 1
        a MULTI
        a PING
        a EXEC""",
    "errors go before watches": """
        a WATCH k
        b SET k 1
        a MULTI
        a NOSUCH
        a EXEC
        a MULTI
        a EXEC""",
    "EXEC x unwatches": """
        a WATCH k
        a EXEC x
        b SET k 1
        a MULTI
        a PING
        a EXEC""",
    "DISCARD unwatches": """
        a WATCH k
        a MULTI
        a DISCARD
        b SET k 1
        a MULTI
        a PING
        a EXEC""",
    "DISCARD and EXEC without MULTI do not": """
        a WATCH k
        a DISCARD
        a EXEC
        a MULTI x
        b SET k 1
        a MULTI
        a PING
        a EXEC""",
    "UNWATCH": """
        a WATCH k1 k2 k3
        b SET k2 1
        a UNWATCH
        a MULTI
        a PING
        a EXEC
        a UNWATCH
        a UNWATCH""",
    "UNWATCH, then again": """
        a WATCH k1
        a UNWATCH
        a WATCH k2
        b SET k1 1
        a MULTI
        a PING
        a EXEC
        a WATCH k1
        a UNWATCH
        a WATCH k1
        b SET k1 1
        a MULTI
        a PING
        a EXEC""",
    "UNWATCH inside comes too late": """
        a WATCH k
        b SET k 1
        a MULTI
        a UNWATCH
        a PING
        a EXEC""",
    "RESET unwatches": """
        a WATCH k
        b SET k 1
        a RESET
        a MULTI
        a PING
        a EXEC""",
    "the same key again": """
        a WATCH k k k
        a WATCH k
        b SET k 1
        a MULTI
        a PING
        a EXEC
        a WATCH k k
        a MULTI
        a PING
        a EXEC""",
    "again does not forget": """
        a WATCH k
        b SET k 1
        a WATCH k
        a WATCH k2
        a MULTI
        a PING
        a EXEC""",
    "several WATCHes": """
        a WATCH k1
        a WATCH k2
        a WATCH k3
        b SET k2 1
        a MULTI
        a PING
        a EXEC
        a WATCH k1
        a WATCH k2
        b SET k3 1
        a MULTI
        a PING
        a EXEC""",
    "a key that comes and goes": """
        a WATCH k
        b SET k 1
        b DEL k
        a MULTI
        a PING
        a EXEC""",
    "changed there and back": """
        a SET k 1
        a WATCH k
        b SET k 2
        b SET k 1
        a MULTI
        a PING
        a EXEC""",
    "databases": """
        a WATCH k
        b SELECT 1
        b SET k 1
        a MULTI
        a PING
        a EXEC
        a SELECT 1
        a WATCH k
        a SELECT 0
        b SET k 2
        a MULTI
        a GET k
        a EXEC
        a SELECT 1
        a WATCH k
        a SELECT 0
        a WATCH k
        b SELECT 0
        b SET k 3
        a MULTI
        a PING
        a EXEC
        a SELECT 0
        a WATCH k
        a SELECT 1
        a MULTI
        a SELECT 0
        a SET k 4
        a EXEC""",
    "MOVE and COPY into it": """
        a SELECT 1
        a WATCH k1
        a SELECT 2
        a WATCH k2
        b SET k1 1
        b MOVE k1 1
        a MULTI
        a PING
        a EXEC
        a WATCH k2
        b SET k3 1
        b COPY k3 k2 DB 2
        a MULTI
        a PING
        a EXEC
        a SELECT 0
        a WATCH k3
        b COPY k3 k4 DB 3
        a MULTI
        a PING
        a EXEC""",
    "SWAPDB": """
        b SELECT 1
        b SET k1 one
        b SELECT 0
        a WATCH k1
        b SWAPDB 0 1
        a MULTI
        a PING
        a EXEC
        a WATCH k1
        b SWAPDB 1 0
        a MULTI
        a PING
        a EXEC
        a WATCH k2
        b SWAPDB 1 0
        a MULTI
        a PING
        a EXEC
        a SELECT 1
        a WATCH k1
        a SELECT 5
        b SWAPDB 1 0
        a MULTI
        a PING
        a EXEC
        a WATCH k1
        b SWAPDB 1 0
        a MULTI
        a PING
        a EXEC""",
    "SWAPDB twice": """
        a SET k1 1
        a WATCH k1
        b SWAPDB 0 1
        b SWAPDB 0 1
        a MULTI
        a PING
        a EXEC
        a WATCH k1
        a MULTI
        a SWAPDB 0 1
        a SWAPDB 0 1
        a GET k1
        a EXEC""",
    "SWAPDB, then a write": """
        b SELECT 1
        a WATCH k1
        b SWAPDB 0 1
        b SET k1 1
        a MULTI
        a PING
        a EXEC
        a SELECT 1
        a WATCH k1
        b SET k1 2
        a MULTI
        a PING
        a EXEC""",
    "FLUSHDB elsewhere": """
        a SET k 1
        a WATCH k
        b SELECT 1
        b SET k 1
        b FLUSHDB
        a MULTI
        a PING
        a EXEC
        a WATCH k
        b FLUSHALL
        a MULTI
        a PING
        a EXEC""",
    "flushed and written again": """
        a SET k 1
        a WATCH k
        b FLUSHALL
        b SET k 1
        a MULTI
        a PING
        a EXEC""",
    "many keys": """
        a MSET k1 1 k2 2 k3 3 k4 4 k5 5 k6 6 k7 7 k8 8
        a WATCH k1 k2 k3 k4 k5 k6 k7 k8 k9
        b SET k10 1
        a MULTI
        a MGET k1 k2 k3
        a EXEC
        a WATCH k1 k2 k3 k4 k5 k6 k7 k8 k9
        b SET k7 1
        a MULTI
        a MGET k1 k2 k3
        a EXEC
        a WATCH k1 k2 k3 k4 k5 k6 k7 k8 k9
        b SET k9 1
        a MULTI
        a EXEC""",
    "watched here, used there": """
        a WATCH k1 k2
        a MULTI
        a SET k5 1
        a EXEC
        a WATCH k1 k2
        b INCR k2
        a MULTI
        a SET k5 2
        a EXEC
        a GET k5""",
    "compare and set": """
        a SET k1 10
        a WATCH k1
        a GET k1
        a MULTI
        a SET k1 11
        a EXEC
        b WATCH k1
        b GET k1
        a INCR k1
        b MULTI
        b SET k1 12
        b EXEC
        b WATCH k1
        b GET k1
        b MULTI
        b SET k1 13
        b EXEC
        a GET k1""",
}


def test_scripts(anax, redis):
    check_all(anax, redis, SCRIPTS)


# --- time ------------------------------------------------------------------------------------------

# A key k that lives {ms} when it is set; "~" is the time when it has gone.
EXPIRIES = {
    "nobody looks": "a WATCH k\n~\na MULTI\na PING\na EXEC",
    "somebody looks": "a WATCH k\n~\nb GET k\na MULTI\na PING\na EXEC",
    "while in MULTI": "a WATCH k\na MULTI\na EXISTS k\n~\na EXEC",
    "gone before": "~\na WATCH k\na MULTI\na PING\na EXEC",
    "gone before, somebody looks": "~\na WATCH k\nb GET k\na MULTI\na PING\na EXEC",
    "gone before, deleted": "~\na WATCH k\nb DEL k\na MULTI\na PING\na EXEC",
    "gone before, set": "~\na WATCH k\nb SET k 1\na MULTI\na PING\na EXEC",
    "gone before, deleted, set": "~\na WATCH k\nb DEL k\nb SET k 1\na MULTI\na PING\na EXEC",
    "gone before, flushed": "~\na WATCH k\nb FLUSHALL\na MULTI\na PING\na EXEC",
    "gone before, swapped": "~\na WATCH k\nb SWAPDB 0 1\na MULTI\na PING\na EXEC",
    "gone, swapped": "a WATCH k\n~\nb SWAPDB 0 1\na MULTI\na PING\na EXEC",
    "gone, flushed": "a WATCH k\n~\nb FLUSHDB\na MULTI\na PING\na EXEC",
    "swapped in when gone": "a SELECT 1\na WATCH k\n~\nb SWAPDB 0 1\na MULTI\na PING\na EXEC",
    "swapped in when gone, looked at": "a SELECT 1\na WATCH k\n~\nb SWAPDB 0 1\nb GET k\na MULTI\na PING\na EXEC",
    "watched by two": "a WATCH k\n~\nb WATCH k\na MULTI\nb MULTI\nb PING\nb EXEC\na EXEC",
    "unwatched": "a WATCH k\n~\na UNWATCH\na MULTI\na PING\na EXEC",
    "another key": "a WATCH k2\n~\na MULTI\na PING\na EXEC",
}


def live_and_go(talk, script, ms):
    """The replies; None when the server was too slow for a life of ms: its key was gone before its time."""
    talk.server.cmd("FLUSHALL")
    talk.cmd("b SET k 1 PX %d" % ms)
    start = time.monotonic()
    replies = []
    for line in lines(script):
        if line != "~":
            replies.append(talk.cmd(line))
            continue
        if talk.cmd("b PTTL k") < ms / 10:
            return None
        time.sleep(max(0.0, start + (ms + 10) / 1000 - time.monotonic()))
    return replies


@pytest.mark.parametrize("tag", TAGS)
def test_expiry(anax, redis, tag):
    """Keys that are swept and keys that nobody has swept yet: it depends on how long the script takes, and must not matter."""
    said = []
    for server in (anax, redis):
        replies = {}
        for name, script in EXPIRIES.items():
            for ms in (20, 100, 1000, 5000):
                with Talk(server, tag=tag) as t:
                    replies[name] = live_and_go(t, script, ms)
                if replies[name] is not None:
                    break
        said.append(replies)
    assert None not in said[0].values()
    assert said[0] == said[1]


def test_swept(anax):
    """A key that active expiry took, long after."""
    with Talk(anax) as t:
        t.all("a SET k 1 PX 300\na WATCH k")
        wait_until(lambda: t.cmd("b DBSIZE") == 0, "a key whose time has come")
        t.all("a MULTI\na PING")
        assert t.cmd("a EXEC") is NULL_ARRAY


# --- much --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [100, 3000])
def test_watches_of_many_keys(anax, count):
    """On all shards; one change of any of them is enough, and none of them is left behind."""
    keys = ["w%d" % i for i in range(count)]
    rounds = [0, count // 2, count - 1] if SLOW else [0, 1, 17, count // 2, count - 2, count - 1]
    with anax.connect() as c, anax.connect() as other:
        for changed in rounds:
            for n in range(0, count, 1000):
                c.ok("WATCH", *keys[n : n + 1000])
            other.cmd("SET", keys[changed], "x")
            c.ok("MULTI")
            assert c.cmd("EXEC") is NULL_ARRAY, changed
            other.cmd("SET", keys[changed], "y")
            c.ok("MULTI")
            assert c.cmd("EXEC") == [], changed
            c.ok("WATCH", *keys)
            c.ok("MULTI")
            assert c.cmd("EXEC") == []


def test_many_watch_one_key(anax):
    conns = [anax.connect() for _ in range(50)]
    try:
        for i, c in enumerate(conns):
            c.ok("WATCH", "k", "other%d" % i)
            c.ok("MULTI")
        assert conns[0].cmd("INCR", "k") == b"QUEUED"
        assert conns[0].cmd("EXEC") == [1]
        assert all(c.cmd("EXEC") is NULL_ARRAY for c in conns[1:])
    finally:
        for c in conns:
            c.close()


def test_watches_go_with_their_connection(anax):
    """As many as there were before, and the keys can be watched and changed as ever."""
    with anax.connect() as c:
        for i in range(30):
            w = anax.connect()
            w.ok("WATCH", *["k%d" % n for n in range(20)])
            if i % 3 == 0:
                w.ok("MULTI")
            w.reset() if i % 2 else w.close()
        for n in range(20):
            c.ok("SET", "k%d" % n, "v")
        c.ok("WATCH", "k1")
        c.ok("MULTI")
        assert c.cmd("EXEC") == []


def test_increments_are_not_lost(anax):
    """The classic use, by several connections in turn: each increment that EXEC confirmed is there."""
    conns = [anax.connect() for _ in range(4)]
    done = 0
    try:
        for i in range(200):
            c = conns[i % 4]
            c.ok("WATCH", "n")
            value = int(c.cmd("GET", "n") or 0)
            if i % 3 == 0:
                conns[(i + 1) % 4].cmd("INCR", "n")
                done += 1
            c.ok("MULTI")
            c.cmd("SET", "n", str(value + 1))
            done += c.cmd("EXEC") is not NULL_ARRAY
        assert int(conns[0].cmd("GET", "n")) == done
    finally:
        for c in conns:
            c.close()
