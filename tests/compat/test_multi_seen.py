"""What others see of transactions: CLIENT LIST, INFO, MONITOR, SLOWLOG, statistics, CLIENT PAUSE."""

import re
import time

import pytest

from harness import DEADLINE_S, encode, wait_until
from talk import TAGS, Talk, lines

# --- CLIENT LIST -------------------------------------------------------------------------------------


def client(talk, who):
    """The fields of a connection's line, as another sees it."""
    text = talk.cmd("z CLIENT LIST ID %d" % talk.ids[who]).decode()
    return dict(field.split("=", 1) for field in text.split())


STEPS = [  # what a says, and what its line shows then: flags, multi, cmd, db
    "a PING", "a WATCH k1 k2", "a MULTI", "a PING", "a GET k1", "a SELECT 3", "a NOSUCH", "a GET k1", "a DISCARD", "a MULTI",
    "a MULTI", "a WATCH k3", "a UNWATCH", "a EXEC", "a GET k1", "a WATCH k1", "a MULTI", "a GET", "a EXEC", "a EXEC", "a MULTI",
    "a SELECT 2", "a SET k5 1", "a EXEC", "a MULTI", "a PING", "a RESET", "a MULTI", "a EXEC x", "a SELECT 1"]


def test_client_list(anax, redis):
    """Step by step; the flags of a client whose watch has fired are another test's."""
    said = []
    for server in (anax, redis):
        server.cmd("FLUSHALL")
        with Talk(server) as t:
            t.ids = {}
            t.ids["a"] = t.cmd("a CLIENT ID")
            seen = []
            for step in STEPS:
                t.cmd(step)
                fields = client(t, "a")
                seen.append((step, [fields[name] for name in ("flags", "multi", "cmd", "db")]))
            said.append(seen)
    assert said[0] == said[1]


def test_client_info_inside(anax, redis):
    """As EXEC runs: it is still a transaction, with all that was queued."""
    said = []
    for server in (anax, redis):
        with Talk(server) as t:
            t.all("a MULTI\na PING\na CLIENT INFO\na CLIENT LIST\na SET k 1\na CLIENT LIST")
            replies = t.cmd("a EXEC")
            own = t.cmd("a CLIENT ID")
            texts = [line for i in (1, 2, 4) for line in replies[i].decode().splitlines()]
            seen = [dict(f.split("=", 1) for f in line.split()) for line in texts]
            said.append([[f[name] for name in ("flags", "multi", "cmd", "db")] for f in seen if f["id"] == str(own)])
    assert said[0] == said[1]


def test_queued_bytes_are_told(anax, redis):
    """multi-mem and tot-mem grow by about what is queued, and shrink again."""
    for server in (anax, redis):
        with Talk(server) as t:
            t.ids = {"a": t.cmd("a CLIENT ID")}
            before = client(t, "a")
            t.cmd("a MULTI")
            for _ in range(10):
                t.conn("a").send(encode(["SET", "k", "x" * 10_000]))
                assert t.conn("a").read().value == b"QUEUED"
            inside = client(t, "a")
            assert int(inside["multi-mem"]) >= 100_000 > int(before["multi-mem"]) == 0, server.kind
            assert int(inside["tot-mem"]) - int(before["tot-mem"]) >= 100_000
            t.cmd("a DISCARD")
            after = client(t, "a")
            assert after["multi-mem"] == "0"
            assert int(after["tot-mem"]) < 100_000 + int(before["tot-mem"])


def test_watch_field(anax, against_redis_itself):
    """Redis 7.4 and later: how many keys a client watches; 7.0 does not tell."""
    if against_redis_itself:
        return
    with Talk(anax) as t:
        t.ids = {"a": t.cmd("a CLIENT ID")}
        seen = []
        for step in ("a PING", "a WATCH k1 k2 k3", "a WATCH k4", "a WATCH k1 k1", "a SELECT 1", "a WATCH k1", "a MULTI", "a PING",
                     "a EXEC", "a WATCH k1", "a UNWATCH", "a WATCH k1", "a RESET"):
            t.cmd(step)
            seen.append(client(t, "a")["watch"])
        assert seen == ["0", "3", "4", "4", "4", "5", "5", "5", "0", "1", "0", "1", "0"]


def test_info_of_watches(anax, against_redis_itself):
    """watching_clients and total_watched_keys, since Redis 7.4."""
    if against_redis_itself:
        return
    with Talk(anax) as t:
        def told():
            info = t.conn("z").info("clients")
            return info["watching_clients"], info["total_watched_keys"]

        assert told() == ("0", "0")
        t.all("a WATCH k1 k2 k3")
        assert told() == ("1", "3")
        t.all("b WATCH k4\nb SELECT 1\nb WATCH k4")
        assert told() == ("2", "5")
        t.all("a MULTI\na EXEC")
        assert told() == ("1", "2")
        t.conn("b").close()
        wait_until(lambda: told() == ("0", "0"), "watches of a connection that went away")


# --- MONITOR -----------------------------------------------------------------------------------------

LINE = re.compile(rb"^\d+\.\d{6} \[(\d+) 127\.0\.0\.1:\d+\] (.*)$")

MONITORED = """
    a MULTI
    a SET k1 1
    a GET k2
    a EXEC
    a MULTI
    a SET k1 1
    a DISCARD
    a MULTI
    a NOSUCH
    a GET
    a SET k1 1
    a EXEC
    a WATCH k1 k2
    a SET k1 3
    a MULTI
    a SET k1 1
    a EXEC
    a EXEC
    a DISCARD
    a UNWATCH
    a MULTI
    a SELECT 2
    a GET k1
    a CONFIG GET port
    a AUTH x
    a SELECT 0
    a EXEC
    a MULTI
    a MULTI
    a WATCH k1
    a EXEC
    a MULTI
    a EXEC
    a MULTI
    a INCR k3
    a MSET k1 1 k2 2
    a MGET k1 k2
    a MSETNX k1 1 k2
    a RENAME k1 k2
    a FLUSHALL
    a KEYS *
    a PING a b
    a EXEC
    a MULTI
    a RESET
    a ECHO the-end"""


@pytest.mark.parametrize("tag", TAGS)
def test_monitor(anax, redis, tag):
    """In the order in which commands ran, where one shard runs them all; EXEC behind what it ran."""
    said = []
    for server in (anax, redis):
        with Talk(server, tag=tag) as t:
            t.cmd("m MONITOR")
            t.all(MONITORED)
            seen = []
            while not seen or b"the-end" not in seen[-1][1]:
                match = LINE.match(t.conn("m").read().value)
                seen.append((match.group(1), match.group(2)))
            said.append(seen)
    assert sorted(said[0]) == sorted(said[1])
    if anax.shards == 1:
        assert said[0] == said[1]


# --- SLOWLOG -----------------------------------------------------------------------------------------

LOGGED = """
    a WATCH k1 k2
    a UNWATCH
    a MULTI
    a SET k1 1
    a SET k2 2
    a MGET k1 k2
    a EXEC
    a MULTI
    a PING
    a DISCARD
    a MULTI
    a NOSUCH
    a EXEC
    a EXEC
    a WATCH k1
    a SET k1 2
    a MULTI
    a GET k1
    a EXEC"""


@pytest.mark.parametrize("tag", TAGS)
def test_slowlog(anax, redis, tag):
    """EXEC is not logged, but what it runs; nothing is when it is queued."""
    said = []
    for server in (anax, redis):
        server.cmd("FLUSHALL")
        with Talk(server, tag=tag) as t:
            t.cmd("a CLIENT SETNAME who")
            t.all("z CONFIG SET slowlog-log-slower-than 0\nz CONFIG SET slowlog-max-len 1000\nz SLOWLOG RESET")
            t.all(LOGGED)
            t.cmd("z CONFIG SET slowlog-log-slower-than 10000")
            said.append(sorted((e[3], e[5]) for e in t.cmd("z SLOWLOG GET -1") if e[5] == b"who"))
            t.cmd("z CONFIG SET slowlog-max-len 128")
    assert said[0] == said[1]


# --- statistics ----------------------------------------------------------------------------------------

COUNTED = """
    a WATCH k1
    a UNWATCH
    a MULTI
    a SET k1 1
    a GET k2
    a INCRBY k1 x
    a SETRANGE k1 -1 x
    a MGET k1 k2 k3
    a EXEC
    a MULTI
    a PING
    a DISCARD
    a MULTI
    a NOSUCH
    a GET
    a SET k1
    a EXEC
    a EXEC
    a MULTI
    a MULTI
    a WATCH k1
    a DISCARD
    a DISCARD
    a WATCH k1
    a SET k1 1
    a MULTI
    a PING
    a EXEC
    a MULTI
    a EXEC x
    a DISCARD x
    a MULTI
    a SHUTDOWN NOSAVE
    a EXEC
    a MULTI
    a RENAME k8 k9
    a DEL k1 k2
    a KEYS *
    a EXEC"""


def counted(server, tag):
    with Talk(server, tag=tag) as t:
        t.all("a PING\nz CONFIG RESETSTAT")
        t.all(COUNTED)
        info = t.conn("z").info("everything")
        stats = {}
        for name, value in info.items():
            if name.startswith("cmdstat_") and name[8:] not in ("info", "config|resetstat"):
                fields = dict(f.split("=") for f in value.split(","))
                stats[name] = [fields[f] for f in ("calls", "rejected_calls", "failed_calls")]
        return stats, {k: v for k, v in info.items() if k.startswith("errorstat_")}, \
            info["total_error_replies"]


@pytest.mark.parametrize("tag", TAGS)
def test_statistics(anax, redis, tag):
    """Commands count when they run, not when they are queued; what was refused counts as refused."""
    anax.cmd("FLUSHALL")
    redis.cmd("FLUSHALL")
    ours, theirs = counted(anax, tag), counted(redis, tag)
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]
    assert ours[2] == theirs[2]


PROCESSED = """
    a MULTI
    a SET k1 1
    a GET k2
    a EXEC
    a WATCH k1
    a INCR k1
    a MULTI
    a GET k1
    a MGET k1 k2
    a EXEC
    a MULTI
    a GET k1
    a DISCARD
    a MULTI
    a EXEC
    a EXEC"""


@pytest.mark.parametrize("tag", TAGS)
def test_commands_processed(anax, redis, tag):
    """Of a transaction that did not happen, only MULTI and EXEC."""
    for server in (anax, redis):
        with Talk(server, tag=tag) as t:
            t.all("a PING\nz CONFIG RESETSTAT")
            t.all(PROCESSED)
            # CONFIG RESETSTAT may count itself
            assert int(t.conn("z").info("stats")["total_commands_processed"]) in (13, 14), server.kind


def test_keyspace_hits(anax, redis):
    """A key that is watched was not looked up."""
    said = []
    for server in (anax, redis):
        server.cmd("FLUSHALL")
        with Talk(server) as t:
            t.all("z CONFIG RESETSTAT\na SET k1 1\na WATCH k1 k2 k3\na MULTI\na GET k1\na MGET k1 k2 k3\na GET k9\na EXEC")
            info = t.conn("z").info("stats")
            said.append((info["keyspace_hits"], info["keyspace_misses"]))
    assert said[0] == said[1]


# --- CLIENT PAUSE --------------------------------------------------------------------------------------


def waits(talk, line):
    """Whether the reply does not come before UNPAUSE."""
    who, rest = line.split(None, 1)
    c = talk.conn(who)
    c.send(encode(rest.split()))
    deadline = time.monotonic() + DEADLINE_S
    c.sock.settimeout(0.05)
    try:
        while True:
            try:
                return False, c.read().value
            except TimeoutError:
                if int(talk.conn("z").info("clients")["blocked_clients"]) == 1:
                    c.sock.settimeout(DEADLINE_S)
                    talk.cmd("z CLIENT UNPAUSE")
                    return True, c.read().value
                assert time.monotonic() < deadline, "neither answered nor blocked"
    finally:
        c.sock.settimeout(DEADLINE_S)
        talk.cmd("z CLIENT UNPAUSE")


PAUSED = [  # before the pause of writes; the line during it
    ("", "a MULTI"), ("a MULTI", "a GET k1"), ("a MULTI", "a SET k1 1"), ("a MULTI\na GET k1\na GET k2", "a EXEC"),
    ("a MULTI\na SET k1 1", "a GET k1"), ("a MULTI\na SET k1 1\na GET k2", "a EXEC"), ("a MULTI\na GET k1\na SET k2 1", "a EXEC"),
    ("a MULTI\na SET k1 1", "a DISCARD"), ("a MULTI\na SET k1 1\na NOSUCH", "a EXEC"), ("a MULTI\na NOSUCH\na SET k1 1", "a EXEC"),
    ("", "a WATCH k1"), ("a WATCH k1", "a UNWATCH"), ("a WATCH k1\nb SET k1 1\na MULTI\na GET k2", "a EXEC"), ("", "a EXEC"),
    ("a MULTI\na FLUSHALL", "a EXEC"), ("a MULTI\na MSET k1 1 k2 2", "a EXEC"), ("a MULTI\na MGET k1 k2", "a EXEC"),
    ("a MULTI", "a EXEC"), ("a MULTI\na SET k1 1", "a RESET"), ("a MULTI\na SET k1 1", "a EXEC x"), ("a MULTI\na PING", "a EXEC")]


@pytest.mark.parametrize("before,line", PAUSED)
def test_pause_of_writes(anax, redis, before, line):
    said = []
    for server in (anax, redis):
        server.cmd("FLUSHALL")
        with Talk(server) as t:
            t.all(before)
            t.cmd("z CLIENT PAUSE 100000 WRITE")
            said.append(waits(t, line))
    assert said[0] == said[1]


def test_pause_does_not_split(anax):
    """A transaction that waits is whole when it goes on; one behind it in the pipeline waits too."""
    with anax.connect() as boss, anax.connect() as c:
        boss.ok("CLIENT", "PAUSE", 100000, "WRITE")
        c.send(b"".join(encode(x) for x in (["GET", "k1"], ["MULTI"], ["GET", "k1"], ["INCR", "k1"], ["INCR", "k2"],
                                            ["INCR", "k3"], ["EXEC"], ["GET", "k3"])))
        assert [c.read().value for _ in range(3)] == [None, b"OK", b"QUEUED"]
        assert boss.cmd("MGET", "k1", "k2", "k3") == [None] * 3
        boss.ok("CLIENT", "UNPAUSE")
        assert [c.read().value for _ in range(5)] == [b"QUEUED"] * 3 + [[None, 1, 1, 1], b"1"]


def test_pause_inside(anax, redis):
    """It holds what comes later, not the rest of its own transaction."""
    for server in (anax, redis):
        server.cmd("FLUSHALL")
        with Talk(server) as t:
            t.all("a MULTI\na SET k1 1\na CLIENT PAUSE 100000 WRITE\na SET k1 2\na SET k2 2")
            assert t.cmd("a EXEC") == [b"OK"] * 4
            assert t.cmd("b MGET k1 k2") == [b"2", b"2"]
            assert waits(t, "b SET k1 3") == (True, b"OK")


def test_client_that_waits_in_a_pause_is_shown(anax, redis):
    said = []
    for server in (anax, redis):
        with Talk(server) as t:
            t.ids = {"a": t.cmd("a CLIENT ID")}
            t.all("a MULTI\na SET k 1\nz CLIENT PAUSE 100000 WRITE")
            t.conn("a").send(encode(["EXEC"]))
            wait_until(lambda: t.conn("z").info("clients")["blocked_clients"] == "1", "EXEC waits")
            said.append([client(t, "a")[name] for name in ("flags", "multi", "cmd")])
            t.cmd("z CLIENT UNPAUSE")
            assert t.conn("a").read().value == [b"OK"]
    assert said[0] == said[1]


def test_killed_inside(anax):
    """CLIENT KILL of a connection in MULTI, and of one whose EXEC waits in a pause."""
    with Talk(anax) as t:
        t.ids = {}
        for paused in (False, True):
            number = t.cmd("a CLIENT ID")
            t.all("a WATCH k1 k2\na MULTI\na SET k1 1\na SET k2 2")
            if paused:
                t.cmd("z CLIENT PAUSE 100000 WRITE")
                t.conn("a").send(encode(["EXEC"]))
                wait_until(lambda: t.conn("z").info("clients")["blocked_clients"] == "1", "EXEC waits")
            assert t.cmd("z CLIENT KILL ID %d" % number) == 1
            t.conn("a").until_closed()
            t.cmd("z CLIENT UNPAUSE")
            t.conns.pop("a").close()
            assert t.cmd("z MGET k1 k2") == [None, None]
        t.all("b WATCH k1 k2\nb MULTI\nb SET k1 b")
        assert t.cmd("b EXEC") == [b"OK"]


def test_killed_by_own_transaction(anax, redis):
    """All of it happens, and then it ends; of the replies behind the KILL Redis sends none."""
    for server in (anax, redis):
        with Talk(server) as t:
            number = t.cmd("a CLIENT ID")
            t.all("a MULTI\na SET k 1\na CLIENT KILL ID %d SKIPME no\na SET k 2" % number)
            t.conn("a").send(encode(["EXEC"]))
            assert t.conn("a").until_closed().startswith(b"*3\r\n+OK\r\n:1\r\n")
            assert t.cmd("b GET k") == b"2"
