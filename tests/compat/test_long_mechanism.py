"""Commands that are done beside the shard, whatever they do: what the connection, the transaction, the operator and the system make of
one that takes many turns. COPY stands for them all.

DEBUG LONG-ELEMENTS 0 makes it long whenever the value lies in an object of its own; what has to be seen while it is under way
copies something huge, many times.
"""

import contextlib
import random
import signal
import time

import pytest

from harness import DEADLINE_S, FORGETFUL, NULL_ARRAY, SLOW, Closed, Error, Server, encode, wait_until

SHARDS = [1, 2, 3, 8]
FIELDS = 600  # too many for an entry, and for a listpack
HUGE = 20_000 if SLOW else 100_000
COPIES = 30


@pytest.fixture(scope="module")
def servers():
    made = {}

    def get(shards):
        if shards not in made:
            made[shards] = Server("anax", shards=shards, options={**FORGETFUL, "enable-debug-command": "local"})
        made[shards].cmd("FLUSHALL")
        assert made[shards].cmd("DEBUG", "LONG-ELEMENTS", "0") == b"OK"
        return made[shards]

    yield get
    for server in made.values():
        server.stop()


def fill(c, key, fields):
    """A hash of so many fields."""
    for at in range(0, fields, 5000):
        pairs = [x for i in range(at, min(at + 5000, fields)) for x in ("field:%d" % i, i)]
        c.cmd("HSET", key, *pairs)


def copies(key, n):
    """Commands that copy it to n keys, wherever these lie."""
    return [["COPY", key, "to:%d" % i, "REPLACE"] for i in range(n)]


def send(c, commands):
    c.send(b"".join(map(encode, commands)))


def read(c):
    return c.read().value


def ask(c, commands):
    return [reply.value for reply in c.pipeline(commands)]


# --- the connection -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", SHARDS)
def test_order_in_a_connection(servers, shards):
    with servers(shards).connect() as c:
        fill(c, "h", FIELDS)
        commands, expected = [], []
        for i in range(200):
            to = "to:%d" % (i % 7)
            for command, reply in ((["SET", "a", i], b"OK"), (["COPY", "h", to, "REPLACE"], 1), (["GET", "a"], b"%d" % i),
                                   (["HLEN", to], FIELDS), (["HSET", to, "more", i], 1), (["SET", "a", -i], b"OK"),
                                   (["COPY", to, "other", "REPLACE"], 1), (["HGET", "other", "more"], b"%d" % i),
                                   (["HDEL", to, "more"], 1), (["COPY", to, "other"], 0), (["DEL", "other"], 1),
                                   (["GET", "a"], b"%d" % -i), (["PING"], b"PONG"), (["ECHO", i], b"%d" % i),
                                   (["COPY", "missing", "other"], 0), (["EXISTS", "other"], 0)):
                commands.append(command)
                expected.append(reply)
        assert ask(c, commands) == expected


@pytest.mark.parametrize("shards", SHARDS)
def test_what_changes_the_connection_behind_it(servers, shards):
    """What is sent behind a command that takes long is not understood before it would be."""
    with servers(shards).connect() as c:
        fill(c, "h", FIELDS)
        c.ok("SET", "a", "zero")
        for to in ("to:%d" % i for i in range(8)):
            copy = ["COPY", "h", to, "REPLACE"]
            assert ask(c, [copy, ["MULTI"], ["GET", "a"], copy, ["HLEN", to], ["EXEC"], ["GET", "a"]]) == [
                1, b"OK", b"QUEUED", b"QUEUED", b"QUEUED", [b"zero", 1, FIELDS], b"zero"]
            assert ask(c, [copy, ["SELECT", 1], ["GET", "a"], ["SET", "a", "one"], ["SELECT", 0], ["GET", "a"]]) == [
                1, b"OK", None, b"OK", b"OK", b"zero"]
            assert ask(c, [copy, ["SELECT", 1], ["DEL", "a"], ["SELECT", 0]]) == [1, b"OK", 1, b"OK"]
            assert ask(c, [copy, ["CLIENT", "SETNAME", to], copy, ["CLIENT", "GETNAME"]]) == [1, b"OK", 1, to.encode()]
            assert ask(c, [["WATCH", to], copy, ["MULTI"], ["PING"], ["EXEC"]])[-1] in (NULL_ARRAY, [b"PONG"])
            send(c, [copy, ["CLIENT", "REPLY", "OFF"], copy, ["GET", "a"], ["CLIENT", "REPLY", "ON"], ["GET", "a"],
                     ["CLIENT", "REPLY", "SKIP"], copy, ["ECHO", "x"]])
            assert [read(c) for _ in range(4)] == [1, b"OK", b"zero", b"x"]
        send(c, [copy, ["QUIT"]])
        assert read(c) == 1 and read(c) == b"OK"
        with pytest.raises(Closed):
            read(c)


@pytest.mark.parametrize("shards", SHARDS)
def test_killed_in_the_middle(servers, shards):
    server = servers(shards)
    with server.connect() as o:
        fill(o, "h", HUGE)
        for how in ("KILL", "reset", "close"):
            with server.connect() as c:
                c.ok("CLIENT", "SETNAME", "copies")
                ident = c.cmd("CLIENT", "ID")
                send(c, copies("h", COPIES))
                assert read(c) == 1
                if how == "KILL":
                    assert o.cmd("CLIENT", "KILL", "ID", ident) == 1
                elif how == "reset":
                    c.reset()
            wait_until(lambda: b"name=copies" not in o.cmd("CLIENT", "LIST"), "the client is gone")
            found = {o.cmd("HLEN", "to:%d" % i) for i in range(COPIES)}
            assert found <= {0, HUGE}, how
            o.cmd("DEL", *["to:%d" % i for i in range(COPIES)])
        assert o.cmd("HLEN", "h") == HUGE


# --- MULTI and WATCH ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", SHARDS)
def test_watch(servers, shards):
    server = servers(shards)
    with server.connect() as c, server.connect() as o:
        fill(c, "h", FIELDS)
        for to in ("to:%d" % i for i in range(12)):
            for body, replies in (([["COPY", "h", to]], [1]),
                                  ([["COPY", "h", to], ["HLEN", to], ["SET", "a", 1]], [0, FIELDS, b"OK"]),
                                  ([["HSET", to, "more", 1], ["COPY", to, "h2", "REPLACE"], ["HLEN", "h2"],
                                    ["COPY", "h2", to, "REPLACE"], ["DEL", "h2"]], [1, 1, FIELDS + 1, 1, 1])):
                commands = [["WATCH", to, "h"], ["MULTI"]] + body
                assert ask(c, commands)[2:] == [b"QUEUED"] * len(body)
                assert c.cmd("EXEC") == replies, "its own change does not count"
                assert ask(c, commands)[2:] == [b"QUEUED"] * len(body)
                o.cmd("HSET", "h", "field:0", 0)
                assert c.cmd("EXEC") is NULL_ARRAY
            assert ask(c, [["WATCH", to], ["COPY", "h", to, "REPLACE"], ["MULTI"], ["COPY", "h", "a", "REPLACE"], ["EXEC"]]) == [
                b"OK", 1, b"OK", b"QUEUED", NULL_ARRAY], "what it changed before MULTI counts"


@pytest.mark.parametrize("shards", SHARDS)
def test_multi_is_one_moment(servers, shards):
    """Others see what the body did only when all of it is done, and change nothing of it in the meantime."""
    server = servers(shards)
    rounds = 6
    with server.connect() as c, server.connect() as o:
        fill(c, "h", HUGE)
        c.ok("SET", "n", 0)
        body = [["MULTI"], ["INCR", "n"]] + copies("h", 4) + [["INCR", "n"], ["HLEN", "to:0"], ["EXEC"]]
        send(c, body * rounds)
        seen = []
        while not seen or seen[-1] < 2 * rounds:
            seen.append(int(o.cmd("GET", "n")))
            o.cmd("DEL", "to:1", "to:3")
        assert seen == sorted(seen) and not any(n % 2 for n in seen)
        for k in range(rounds):
            replies = [read(c) for _ in body]
            assert replies[-1] == [2 * k + 1] + [1] * 4 + [2 * k + 2, HUGE]


# --- the operator ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", SHARDS)
def test_monitor_shows_it_once(servers, shards):
    server = servers(shards)
    with server.connect() as c, server.connect() as m:
        fill(c, "h", FIELDS)
        m.ok("MONITOR")
        sent = copies("h", 8)
        assert ask(c, sent) == [1] * 8
        assert ask(c, [["MULTI"]] + sent + [["EXEC"]])[-1] == [1] * 8
        c.cmd("ECHO", "the end")
        lines = [read(m)]
        while b"the end" not in lines[-1]:
            lines.append(read(m))
        shown = [line.split(b"] ", 1)[1] for line in lines if b'"COPY"' in line]
        assert sorted(shown) == sorted(2 * [b" ".join(b'"%s"' % w.encode() for w in words) for words in sent])


@pytest.mark.parametrize("shards", SHARDS)
def test_counted_once_with_its_whole_time(servers, shards):
    server = servers(shards)
    with server.connect() as c:
        fill(c, "h", HUGE)
        try:
            for name, value in (("slowlog-max-len", 100), ("slowlog-log-slower-than", 0)):
                c.ok("CONFIG", "SET", name, value)
            for commands, n in ((copies("h", 4), 4), ([["MULTI"]] + copies("h", 4) + [["EXEC"]], 4)):
                c.ok("CONFIG", "RESETSTAT")
                c.ok("SLOWLOG", "RESET")
                ask(c, commands)
                stats = dict(x.split("=") for x in c.info("commandstats")["cmdstat_copy"].split(","))
                assert int(stats["calls"]) == n
                slow = [entry for entry in c.cmd("SLOWLOG", "GET", -1) if entry[3][0] == b"COPY"]
                assert len(slow) == n
                assert all(entry[2] > HUGE / 1000 for entry in slow), "nobody copies a billion fields in a second"
                assert abs(sum(entry[2] for entry in slow) - int(stats["usec"])) <= n
        finally:
            for name, value in (("slowlog-max-len", 0), ("slowlog-log-slower-than", 10000)):
                c.ok("CONFIG", "SET", name, value)


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("mode", ["WRITE", "ALL"])
def test_pause(servers, shards, mode):
    """Those that had begun come to their end, the others begin when the pause is over."""
    server = servers(shards)
    with server.connect() as c, server.connect() as o:
        fill(c, "h", HUGE)
        send(c, copies("h", COPIES))
        assert read(c) == 1
        o.ok("CLIENT", "PAUSE", 100_000 if mode == "WRITE" else 50, mode)
        send(c, [["SET", "a", 1], ["GET", "a"]])
        if mode == "WRITE":  # with ALL even this has to wait
            o.ok("CLIENT", "UNPAUSE")
        assert [read(c) for _ in range(COPIES - 1)] == [1] * (COPIES - 1)
        assert [read(c), read(c)] == [b"OK", b"1"]


# --- the system -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("how", ["SHUTDOWN", "SIGTERM"])
def test_shutdown_in_the_middle(shards, how):
    server = Server("anax", shards=shards)
    try:
        with server.connect() as c, server.connect() as o:
            fill(c, "h", HUGE)
            send(c, copies("h", COPIES))
            assert read(c) == 1
            if how == "SHUTDOWN":
                o.send(encode(["SHUTDOWN", "NOSAVE"]))
            else:
                server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not server.alive(), "the server is gone")
        assert server.process.returncode == 0, server.log()
        assert "bytes of memory were lost" not in server.log()
    finally:
        server.kill()


def has_memory(server):
    """A connection, when no allocation fails any more; telling it so may fail as well."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        assert time.monotonic() < deadline and server.alive()
        try:
            o = server.connect()
            for _ in range(random.randrange(4)):  # so that it is not always the same one that fails
                o.cmd("SET", "some", "x" * random.randrange(3000))
            if o.cmd("DEBUG", "FAIL-ALLOC", 0) == b"OK" and o.cmd("PING") == b"PONG":
                return o
        except (Closed, OSError):
            pass


@pytest.mark.parametrize("shards", SHARDS)
def test_no_memory(servers, shards):
    """Whole or not at all: a copy that cannot be made leaves what was there."""
    server = servers(shards)
    r = random.Random(shards)
    o = server.connect()
    fill(o, "h", FIELDS)
    refused = done = 0
    for every in [7, 11, 13, 17, 23, 10**6] * 5:
        to = "to:%d" % r.randrange(8)
        o.cmd("DEL", to)
        assert o.cmd("HSET", to, "old", "x") == 1
        assert o.cmd("HLEN", "h") == FIELDS
        with server.connect() as c:
            c.cmd("PING")
            o.send(encode(["DEBUG", "FAIL-ALLOC", every]))
            o.sock.settimeout(0.1)
            with contextlib.suppress(Closed, OSError):
                o.read()  # there may be no memory to tell that there is none
            try:
                reply = c.cmd("COPY", "h", to, "REPLACE")
            except (Closed, OSError):
                reply = None
        o = has_memory(server)
        found = o.cmd("HLEN", to)
        assert reply in (1, None, Error(b"ERR out of memory"))
        assert found in ((FIELDS,) if reply == 1 else (1,) if reply is not None else (1, FIELDS))
        refused += reply != 1
        done += reply == 1
    assert refused > 0 and done > 0, (refused, done)
