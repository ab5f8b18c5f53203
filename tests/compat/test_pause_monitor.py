"""CLIENT PAUSE and UNPAUSE, CLIENT REPLY, MONITOR: the same exchanges with redis-server, and on several
shards what one shard cannot show."""

import re
import time

import pytest

from harness import DEADLINE_S, Closed, Conn, Error, Server, encode, wait_until

PAUSE_ARGS = [("abc",), ("-1",), ("",), ("1.5",), ("9223372036854775808",), ("10", "foo"), ("10", "all", "x"),
              ("foo", "foo"), ("-1", "write"), ("0",), ("0", "WRITE"), ("0", "all")]


@pytest.mark.parametrize("args", PAUSE_ARGS)
def test_pause_arguments(anax, redis, args):
    with anax.connect() as a, redis.connect() as b:
        assert a.cmd("CLIENT", "PAUSE", *args) == b.cmd("CLIENT", "PAUSE", *args)
        assert a.ok("CLIENT", "UNPAUSE") == b.ok("CLIENT", "UNPAUSE")


def held_back(conn, *args):
    """Sends a command; is there an answer soon?"""
    conn.send(encode(args))
    conn.sock.settimeout(0.15)
    try:
        conn.read()
        return False
    except TimeoutError:
        return True
    finally:
        conn.sock.settimeout(DEADLINE_S)


KEYS = ["k%d" % i for i in range(12)]  # on all of eight shards


def test_pause_holds_and_unpause_releases(anax):
    with anax.connect() as boss, anax.connect() as other:
        waiting = [anax.connect() for _ in KEYS]
        for k in KEYS:
            boss.ok("SET", k, "before")
        boss.ok("CLIENT", "PAUSE", 100000, "WRITE")
        for conn, k in zip(waiting, KEYS):
            conn.send(encode(["SET", k, "after"]) + encode(["GET", k]))
        for k in KEYS:
            assert other.cmd("GET", k) == b"before"
        boss.ok("CLIENT", "UNPAUSE")
        for conn in waiting:
            assert conn.read().value == b"OK"
            assert conn.read().value == b"after"
            conn.close()


def test_pause_all_holds_reads_too(shards):
    """As in Redis, UNPAUSE itself waits under ALL. Who goes away while it waits is no obstacle."""
    with Server("anax", shards=shards) as server:
        boss, other, quiet = server.connect(), server.connect(), server.connect()
        boss.ok("CLIENT", "PAUSE", 700, "ALL")
        assert held_back(other, "GET", KEYS[0])
        assert held_back(quiet, "CLIENT", "UNPAUSE")
        other.reset()
        assert quiet.read().value == b"OK"
        with server.connect() as late:
            assert int(late.info("clients")["connected_clients"]) == 3


def test_pause_ends_by_itself(anax):
    with anax.connect() as boss, anax.connect() as other:
        boss.ok("CLIENT", "PAUSE", 200, "ALL")
        boss.ok("CLIENT", "PAUSE", 100, "WRITE")  # waits for the first, then neither shortens nor weakens it
        other.ok("SET", "a", "1")
        assert other.cmd("GET", "a") == b"1"


def test_pause_of_a_large_value_and_a_pipeline(anax):
    """A command that was received in pieces, and what follows it, run once, in order, when the pause ends."""
    big = b"x" * 300_000
    with anax.connect() as boss, anax.connect() as other:
        boss.ok("CLIENT", "PAUSE", 100000, "WRITE")
        other.send(encode(["PING"]) + encode(["SET", "big", big]) + encode(["APPEND", "big", "y"]) * 100 +
                   encode(["STRLEN", "big"]))
        assert other.read().value == b"PONG"
        assert boss.cmd("EXISTS", "big") == 0
        boss.ok("CLIENT", "UNPAUSE")
        assert other.read().value == b"OK"
        for i in range(100):
            assert other.read().value == len(big) + i + 1
        assert other.read().value == len(big) + 100


def test_nothing_is_written_once_pause_has_answered(anax):
    """Writers on all shards; after PAUSE WRITE no key changes any more."""
    writers = [anax.connect() for _ in range(8)]
    with anax.connect() as boss:
        for round_ in range(10):
            for i, w in enumerate(writers):
                w.send(b"".join(encode(["INCR", "n%d" % (j % 16)]) for j in range(200)))
            boss.ok("CLIENT", "PAUSE", 100000, "WRITE")
            first = [boss.cmd("GET", "n%d" % j) for j in range(16)]
            time.sleep(0.01)
            assert [boss.cmd("GET", "n%d" % j) for j in range(16)] == first
            boss.ok("CLIENT", "UNPAUSE")
            for w in writers:
                for _ in range(200):
                    assert isinstance(w.read().value, int)
        assert sum(int(boss.cmd("GET", "n%d" % j)) for j in range(16)) == 10 * 8 * 200
    for w in writers:
        w.close()


def test_expired_keys_during_a_pause(anax):
    with anax.connect() as boss:
        boss.ok("SET", "gone", "1", "PX", 30)
        boss.ok("CLIENT", "PAUSE", 100000, "WRITE")
        time.sleep(0.05)
        assert boss.cmd("GET", "gone") is None
        boss.ok("CLIENT", "UNPAUSE")


REPLIES = [
    [["CLIENT", "REPLY", "OFF"], ["PING"], ["SET", "a", "1"], ["NOSUCH"], ["CLIENT", "REPLY", "ON"], ["GET", "a"]],
    [["CLIENT", "REPLY", "SKIP"], ["PING"], ["ECHO", "2"]],
    [["PING"], ["CLIENT", "REPLY", "SKIP"], ["CLIENT", "REPLY", "SKIP"], ["ECHO", "1"], ["ECHO", "2"]],
    [["CLIENT", "REPLY", "OFF"], ["CLIENT", "REPLY", "SKIP"], ["PING"], ["CLIENT", "REPLY", "ON"], ["ECHO", "3"]],
    [["CLIENT", "REPLY", "SKIP"], ["DBSIZE"], ["DBSIZE"]],
    [["CLIENT", "REPLY", "OFF"], ["DBSIZE"], ["KEYS", "*"], ["CLIENT", "REPLY", "ON"], ["PING"]],
    [["CLIENT", "REPLY", "foo"], ["PING"]],
    [["CLIENT", "REPLY"], ["PING"]],
    [["CLIENT", "REPLY", "OFF"], ["CLIENT", "REPLY", "foo"], ["CLIENT", "REPLY", "ON"]],
    [["CLIENT", "REPLY", "OFF"], ["RESET"], ["PING"]],
    [["CLIENT", "REPLY", "SKIP"], ["SET", "big", "v" * 100_000], ["GET", "big"], ["CLIENT", "REPLY", "SKIP"],
     ["GET", "big"], ["STRLEN", "big"]],
]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("commands", REPLIES, ids=lambda c: "-".join(" ".join(x)[:20] for x in c)[:60])
def test_client_reply(anax, redis, commands, at_once):
    got = []
    for server in (anax, redis):
        with server.connect() as c:
            c.cmd("FLUSHALL")
            end = [["CLIENT", "REPLY", "ON"], ["ECHO", "the end"]]
            if at_once:
                c.send(b"".join(encode(x) for x in commands + end))
            else:
                for x in commands + end:
                    c.send(encode(x))
                    time.sleep(0.005)
            replies = []
            while not replies or replies[-1] != b"the end":
                replies.append(c.read().value)
            got.append(replies)
    assert got[0] == got[1]


# --- MONITOR ---

LINE = re.compile(rb"^(\d+\.\d{6}) \[(\d+) (127\.0\.0\.1:\d+)\] (.*)$")

SEEN = [["PING"], ["SET", "k", "v w"], ["get", "k"], ["SET", "bin", b"\x00\r\n\t\a\b\"\\\xff\x7f"], ["SELECT", "3"],
        ["SET", "in3", ""], ["SELECT", "0"], ["NOSUCH", "x"], ["GET"], ["MGET", "{a}1", "{a}2"], ["DBSIZE"],
        ["KEYS", "*"], ["CONFIG", "GET", "port"], ["AUTH", "secret"], ["HELLO", "2", "AUTH", "default", "pw"],
        ["CLIENT", "LIST"], ["CLIENT", "ID"], ["CLIENT", "SETNAME", "x"], ["ECHO", "e" * 300], ["INFO", "cpu"],
        ["SLOWLOG", "GET"], ["COMMAND", "COUNT"], ["RESET"], ["GET", "k"], ["ECHO", "the end"]]


def lines_of(server, commands, at_once):
    with server.connect() as m, server.connect() as c:
        m.ok("MONITOR")
        if at_once:
            c.send(b"".join(encode(x) for x in commands))
            for _ in commands:
                c.read()
        else:
            for x in commands:
                c.cmd(*x)
        lines = []
        while not lines or b"the end" not in lines[-1]:
            lines.append(m.read().value)
    out = []
    for line in lines:
        match = LINE.match(line)
        assert match, line
        out.append((int(match.group(2)), match.group(4)))
    return out


def test_monitor_shows_what_redis_shows(anax, redis):
    ours, theirs = lines_of(anax, SEEN, False), lines_of(redis, SEEN, False)
    assert sorted(ours) == sorted(theirs)
    if anax.shards == 1:
        assert ours == theirs


def test_monitor_keeps_the_order_of_each_key(anax):
    """The order per shard is the order in which commands ran: per key it is that of the values."""
    with anax.connect() as m:
        m.ok("MONITOR")
        clients = [anax.connect() for _ in range(4)]
        for c in clients:
            c.send(b"".join(encode(["APPEND", k, "x"]) for k in KEYS for _ in range(50)))
        for c in clients:
            for _ in range(50 * len(KEYS)):
                c.read()
            c.close()
        total = 4 * 50 * len(KEYS)
        seen = [m.read().value for _ in range(total)]
        counts = {k: sum(b'"%s"' % k.encode() in line for line in seen) for k in KEYS}
        assert set(counts.values()) == {200}
        per_client = {}
        for line in seen:
            match = LINE.match(line)
            per_client.setdefault((match.group(3), match.group(4)), []).append(float(match.group(1)))
        for times in per_client.values():  # one client, one key: one shard
            assert times == sorted(times)


def test_monitor_ends(anax):
    with anax.connect() as c:
        for how in ("close", "reset", "quit", "RESET", "kill"):
            m = anax.connect()
            number = m.cmd("CLIENT", "ID")
            m.ok("MONITOR")
            c.cmd("ECHO", "seen " + how)
            while b"seen " + how.encode() not in m.read().value:
                pass
            if how == "close":
                m.close()
            elif how == "reset":
                m.reset()
            elif how == "quit":
                m.send(encode(["QUIT"]))
                m.until_closed()
            elif how == "kill":
                assert c.cmd("CLIENT", "KILL", "ID", number) == 1
                m.until_closed()
            else:
                m.send(encode(["RESET"]))
                while m.read().value != b"RESET":
                    pass
                assert m.cmd("PING") == b"PONG"
                c.cmd("ECHO", "unseen")
                assert m.cmd("PING") == b"PONG"
                m.close()


def test_monitor_that_never_reads(shards):
    """Its output is bounded by its limit; nobody else notices."""
    with Server("anax", shards=shards, options={"client-output-buffer-limit": "normal 1mb 0 0"}) as server:
        with server.connect() as c, server.connect(rcvbuf_bytes=4096) as m:
            m.ok("MONITOR")
            value = "v" * 2000
            for i in range(60):
                c.pipeline([["SET", "k%d" % (j % 50), value] for j in range(100)])
            wait_until(lambda: int(c.info("clients")["connected_clients"]) == 1, "the monitor is closed")
            assert int(c.info("stats")["client_output_buffer_limit_disconnections"]) >= 1
            assert c.cmd("GET", "k1") == value.encode()


def test_monitor_over_a_unix_socket(tmp_path):
    path = str(tmp_path / "s")
    with Server("anax", shards=2, options={"unixsocket": path}) as server, Conn(path) as c, server.connect() as m:
        m.ok("MONITOR")
        c.cmd("ECHO", "hello")
        line = m.read().value
        assert re.match(rb'^\d+\.\d+ \[0 unix:%s\] "ECHO" "hello"$' % path.encode(), line), line


def test_held_client_that_leaves_writes_nothing(anax):
    with anax.connect() as boss:
        boss.ok("CLIENT", "PAUSE", 100000, "WRITE")
        for i in range(40):
            c = anax.connect()
            c.send(encode(["SET", "q%d" % i, "1"]))
            wait_until(lambda: int(boss.info("clients")["blocked_clients"]) == 1, "it is held")
            c.close() if i % 2 else c.reset()
            wait_until(lambda: int(boss.info("clients")["connected_clients"]) == 1, "it is gone")
        stays = anax.connect()
        stays.send(encode(["SET", "stays", "1"]))
        wait_until(lambda: int(boss.info("clients")["blocked_clients"]) == 1, "one waits")
        assert b" flags=b " in boss.cmd("CLIENT", "LIST")
        boss.ok("CLIENT", "UNPAUSE")
        assert stays.read().value == b"OK"
        assert boss.cmd("DBSIZE") == 1
        stays.close()


def test_no_touch_and_touch(shards):
    """NO-TOUCH holds wherever the key lies; TOUCH touches all the same."""
    with Server("anax", shards=shards) as server, server.connect() as c:
        keys = ["k%d" % i for i in range(20)]
        for k in keys:
            c.ok("SET", k, "v")
        c.ok("CLIENT", "NO-TOUCH", "ON")
        wait_until(lambda: all(c.cmd("OBJECT", "IDLETIME", k) >= 2 for k in keys), "idle for two seconds")
        for k in keys:
            assert c.cmd("GET", k) == b"v"
            assert c.cmd("OBJECT", "IDLETIME", k) >= 2
        for k in keys:
            assert c.cmd("TOUCH", k) == 1
            assert c.cmd("OBJECT", "IDLETIME", k) <= 1
