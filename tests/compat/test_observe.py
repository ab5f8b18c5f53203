"""SLOWLOG, COMMANDLOG, LATENCY and DEBUG: as redis-server 7.0 has them on one shard, and over several shards
what they are for: one log, one series, one count of everything."""

import os
import random
import re
import signal
import tempfile
import threading
import time

import pytest

from differences import intended
from harness import Closed, Error, Map, Server, SLOW, Status, Verbatim, encode, wait_until

OPTIONS = {"enable-debug-command": "yes"}
CLIENTS = 12  # more than shards, so that most shards have one
LOG_ALL = ("CONFIG", "SET", "slowlog-log-slower-than", "0")
LOG_NONE = ("CONFIG", "SET", "slowlog-log-slower-than", "-1")


@pytest.fixture(scope="module")
def servers():
    """Servers by their number of shards; "redis" is redis-server."""

    class Servers(dict):
        def __missing__(self, key):
            kind, shards = ("redis", 1) if key == "redis" else ("anax", key)
            self[key] = Server(kind, shards=shards, options=OPTIONS)
            return self[key]

    s = Servers()
    yield s
    for server in s.values():
        server.stop()


def fresh(server):
    with server.connect() as c:
        c.ok("CONFIG", "SET", "slowlog-log-slower-than", "-1", "slowlog-max-len", "128")
        c.ok("CONFIG", "SET", "latency-monitor-threshold", "0")
        if server.is_anax:
            c.ok("CONFIG", "SET", "commandlog-request-larger-than", "-1", "commandlog-reply-larger-than", "-1")
            for kind in KINDS:
                c.ok("COMMANDLOG", "RESET", kind)
        c.ok("SLOWLOG", "RESET")
        c.ok("FLUSHALL")
        c.cmd("LATENCY", "RESET")
    return server


@pytest.fixture
def one(servers):
    return fresh(servers[1])


@pytest.fixture
def redis7(servers):
    return fresh(servers["redis"])


@pytest.fixture
def many(servers, shards):
    return fresh(servers[shards])


# --- SLOWLOG, against redis-server ------------------------------------------------------------------


def entries(c, *get):
    """SLOWLOG GET without what differs from run to run; ids count from that of the oldest."""
    found = c.cmd(*(get or ("SLOWLOG", "GET", "-1")))
    out = []
    for entry in found:
        ident, seconds, microseconds, args, client, name = entry
        assert isinstance(seconds, int) and abs(seconds - time.time()) < 3600, entry
        assert isinstance(microseconds, int) and 0 <= microseconds < 60e6, entry
        assert re.fullmatch(rb"127\.0\.0\.1:\d+", client), entry
        out.append((ident - found[-1][0], args, name))
    return out


LOGGED = [
    ["set", "key", "value"],
    ["SET", "key", ""],
    ["GeT", "key"],
    ["get", b"\x00binary\r\n\xff"],
    ["MSET"] + ["key", "value"] * 15,  # 31
    ["DEL"] + ["key"] * 31,  # 32
    ["DEL"] + ["key"] * 32,
    ["DEL"] + ["key"] * 99,
    ["SET", "k", b"v" * 128],
    ["SET", "k", b"v" * 129],
    ["SET", "k" * 300, b"v" * 5000, "EX", "9" * 200],
    ["CLIENT", "SETNAME", "a-name"],
    ["PING"],
    ["CONFIG", "GET", "maxmemory"],
    ["OBJECT", "ENCODING", "k"],
    ["INCR", "k"],  # an error while it runs
    ["SET", "k", "v", "NOSUCH"],
    ["EXPIRE", "k", "x"],
    ["AUTH", "secret"],
    ["AUTH", "default", "secret"],
    ["HELLO", "3", "AUTH", "default", "secret", "SETNAME", "other"],
    ["HELLO", "2"],
    ["CONFIG", "SET", "requirepass", "secret", "maxmemory", "0"],
    ["config", "set", "MaxMemory", "0", "RequirePass", ""],
    ["DEBUG", "SLEEP", "0"],
    ["DBSIZE"],
    ["FLUSHALL"],
    ["CLIENT", "SETNAME", ""],
]
NOT_LOGGED = [["nosuchcommand", "x"], ["GET"], ["CONFIG", "NOSUCH"], ["CONFIG", "GET"], ["SLOWLOG"]]


def test_entries_are_those_of_redis(one, redis7):
    found = []
    for server in one, redis7:
        with server.connect() as c:
            c.ok(*LOG_ALL)
            for call in LOGGED + NOT_LOGGED:
                c.cmd(*call)
            c.ok(*LOG_NONE)
            found.append(entries(c))
    assert len(found[1]) == len(LOGGED) + 1  # and the CONFIG SET that began it
    for mine, theirs in zip(*found):
        assert mine == theirs
    assert len(found[0]) == len(found[1])


COUNTS = [["SLOWLOG", "GET"] + rest for rest in
          [[], ["0"], ["1"], ["3"], ["10"], ["1000"], ["-1"], ["9223372036854775807"]]]
ERRORS = [["SLOWLOG", "GET", bad] for bad in
          ["-2", "abc", "", "1.5", " 1", "9223372036854775808", "-9223372036854775808"]] + [
    ["SLOWLOG"], ["SLOWLOG", "NOSUCH"], ["SLOWLOG", "GET", "1", "2"], ["slowlog", "GeT", "1", "2", "3"],
    ["SLOWLOG", "LEN", "x"], ["SLOWLOG", "RESET", "x"], ["SLOWLOG", "HELP", "x"], ["LATENCY"],
    ["LATENCY", "NOSUCH"], ["LATENCY", "HISTORY"], ["LATENCY", "HISTORY", "a", "b"], ["LATENCY", "GRAPH"],
    ["LATENCY", "GRAPH", "nosuch"], ["LATENCY", "GRAPH", "COMMAND"], ["LATENCY", "LATEST", "x"],
    ["LATENCY", "DOCTOR", "x"], ["LATENCY", "HELP", "x"], ["DEBUG"]]


def test_counts(one, redis7):
    found = []
    for server in one, redis7:
        with server.connect() as c:
            c.ok(*LOG_ALL)
            for n in range(20):
                c.cmd("GET", "key%d" % n)
            c.ok(*LOG_NONE)
            found.append([entries(c, *call) for call in COUNTS])
    assert [len(e) for e in found[1]] == [10, 0, 1, 3, 10, 21, 21, 21]
    assert found[0] == found[1]


@pytest.mark.parametrize("call", ERRORS, ids=lambda call: " ".join(call))
def test_errors(one, redis7, call):
    mine, theirs = one.cmd(*call), redis7.cmd(*call)
    assert isinstance(theirs, Error)
    assert mine == theirs


def test_length_reset_and_shrinking(one, redis7):
    found = []
    for server in one, redis7:
        seen = []
        with server.connect() as c:
            c.ok(*LOG_ALL)
            for limit in 5, 2, 0, 3:
                c.ok("CONFIG", "SET", "slowlog-max-len", limit)
                for _ in range(10):
                    c.cmd("PING")
                seen.append((limit, c.cmd("SLOWLOG", "LEN"), entries(c)))
                c.ok("SLOWLOG", "RESET")
                seen.append(c.cmd("SLOWLOG", "LEN"))
        found.append(seen)
    assert found[0] == found[1]
    assert [s[1] for s in found[1][::2]] == [5, 2, 0, 3]


def test_ids_go_on_after_reset(one, redis7):
    for server in one, redis7:
        with server.connect() as c:
            c.ok(*LOG_ALL)
            first = c.cmd("SLOWLOG", "GET", "1")[0][0]
            c.ok("SLOWLOG", "RESET")
            # GET and RESET were logged as well, the latter after it had emptied the log
            assert c.cmd("SLOWLOG", "GET", "-1")[0][0] == first + 2


def test_threshold(one, redis7):
    for server in one, redis7:
        with server.connect() as c:
            c.ok("CONFIG", "SET", "slowlog-log-slower-than", "20000")
            c.cmd("PING")
            c.cmd("DEBUG", "SLEEP", "0.03")
            (entry,) = [e for e in c.cmd("SLOWLOG", "GET", "-1") if e[3][0] == b"DEBUG"]
            assert entry[3] == [b"DEBUG", b"SLEEP", b"0.03"]
            assert 30000 <= entry[2] < 30000000
            assert entry[4] == b"%s:%d" % ((c.sock.getsockname()[0].encode(), c.sock.getsockname()[1]))
            c.ok(*LOG_NONE)
            c.ok("SLOWLOG", "RESET")
            c.cmd("DEBUG", "SLEEP", "0.03")
            assert c.cmd("SLOWLOG", "LEN") == 0


def test_shapes_in_resp3(one, redis7):
    found = []
    for server in one, redis7:
        with server.connect() as c:
            c.cmd("HELLO", "3")
            spike(c)
            c.ok("CONFIG", "RESETSTAT")
            c.cmd("GET", "k")
            c.ok(*LOG_ALL)
            replies = [c.cmd("SLOWLOG", "GET", "1"), c.cmd("SLOWLOG", "LEN"), c.cmd("LATENCY", "LATEST")[0],
                       c.cmd("LATENCY", "HISTORY", "command")[0], c.cmd("LATENCY", "DOCTOR"),
                       c.cmd("LATENCY", "GRAPH", "command"), c.cmd("LATENCY", "HISTOGRAM", "get"),
                       c.cmd("LATENCY", "RESET", "command")]
            found.append([[type(v) for v in flat(reply)] for reply in replies])
    assert found[0] == found[1]
    assert found[0][4] == [Verbatim] and found[0][6] == [Map, tuple, bytes, Map, tuple, bytes, int, tuple, bytes,
                                                         Map, tuple, int, int]


def flat(value):
    """A reply and all that is in it, outermost first."""
    yield value
    if isinstance(value, (list, tuple)):
        for v in value:
            yield from flat(v)


# --- one log of several shards ----------------------------------------------------------------------

KINDS = ["slow", "large-request", "large-reply"]


def clients(server):
    conns = [server.connect() for _ in range(CLIENTS)]
    for n, c in enumerate(conns):
        c.ok("CLIENT", "SETNAME", "client%d" % n)
    return conns


def test_log_is_in_the_order_of_time(many):
    conns = clients(many)
    conns[0].ok(*LOG_ALL)
    issued = []
    for n in range(8 * CLIENTS):
        client = n * 7 % CLIENTS
        conns[client].cmd("GET", "key%d" % n)
        issued.append(([b"GET", b"key%d" % n], b"client%d" % client))
    conns[0].ok(*LOG_NONE)
    found = conns[1].cmd("COMMANDLOG", "GET", "-1", "slow")
    assert found == conns[1].cmd("SLOWLOG", "GET", "-1")
    assert [(e[3], e[5]) for e in found][:-1] == issued[::-1]
    assert len({e[0] for e in found}) == len(found)
    assert [e[1] for e in found] == sorted((e[1] for e in found), reverse=True)
    by_client = {}
    for e in reversed(found):
        assert by_client.get(e[4], -1) < e[0], "ids of a connection grow"
        by_client[e[4]] = e[0]
    assert many.cmd("COMMANDLOG", "LEN", "slow") == many.cmd("SLOWLOG", "LEN") == len(found)
    assert conns[2].cmd("SLOWLOG", "GET", "5") == found[:5]
    conns[3].ok("SLOWLOG", "RESET")
    assert many.cmd("SLOWLOG", "LEN") == 0
    assert many.cmd("SLOWLOG", "GET", "-1") == []
    for c in conns:
        c.close()


def test_length_of_the_log_bounds_the_sum(many):
    conns = clients(many)
    conns[0].ok("CONFIG", "SET", "slowlog-max-len", "10")
    conns[0].ok(*LOG_ALL)
    for n in range(40):
        conns[n % CLIENTS].cmd("GET", "key%d" % n)
    conns[0].ok(*LOG_NONE)
    newest = [[b"GET", b"key%d" % n] for n in range(39, 29, -1)]
    assert many.cmd("SLOWLOG", "LEN") == 10
    assert [e[3] for e in many.cmd("SLOWLOG", "GET", "-1")] == newest
    conns[0].ok("CONFIG", "SET", "slowlog-max-len", "4")
    assert many.cmd("SLOWLOG", "LEN") == 4
    assert [e[3] for e in many.cmd("SLOWLOG", "GET", "-1")] == newest[:4]
    for c in conns:
        c.close()


def test_large_requests_and_replies(many):
    conns = clients(many)
    for n, c in enumerate(conns):
        c.ok("SET", "large%d" % n, b"x" * 3000)
    conns[0].ok("CONFIG", "SET", "commandlog-request-larger-than", "1000", "commandlog-reply-larger-than", "2000")
    for n, c in enumerate(conns):
        c.ok("SET", "key%d" % n, b"x" * (1000 + n))
        c.ok("SET", "key%d" % n, b"x" * 900)
        assert len(c.cmd("GET", "large%d" % ((n + 1) % CLIENTS))) == 3000
        c.cmd("GET", "key%d" % n)
    conns[0].ok("CONFIG", "SET", "commandlog-request-larger-than", "-1", "commandlog-reply-larger-than", "-1")
    for c in conns:
        c.ok("SET", "key", b"x" * 5000)
        c.cmd("GET", "key")
    cut = b"x" * 128 + b"... (%d more bytes)"
    requests = many.cmd("COMMANDLOG", "GET", "-1", "LARGE-request")
    assert [(e[3], e[5]) for e in requests] == [
        ([b"SET", b"key%d" % n, cut % (872 + n)], b"client%d" % n) for n in reversed(range(CLIENTS))]
    for n, e in enumerate(reversed(requests)):
        assert 1000 + n < e[2] < 1100 + n
    replies = many.cmd("COMMANDLOG", "GET", "-1", "large-reply")
    assert [(e[3], e[5]) for e in replies] == [
        ([b"GET", b"large%d" % ((n + 1) % CLIENTS)], b"client%d" % n) for n in reversed(range(CLIENTS))]
    assert {e[2] for e in replies} == {len(b"$3000\r\n\r\n") + 3000}
    lengths = [many.cmd("COMMANDLOG", "LEN", kind) for kind in KINDS]
    assert lengths == [0, CLIENTS, CLIENTS]
    many.cmd("COMMANDLOG", "RESET", "large-request")
    assert [many.cmd("COMMANDLOG", "LEN", kind) for kind in KINDS] == [0, 0, CLIENTS]
    for c in conns:
        c.close()


@pytest.mark.parametrize("call,error", [
    (["GET", "-2", "slow"], b"ERR count should be greater than or equal to -1"),
    (["GET", "x", "nosuch"], b"ERR count should be greater than or equal to -1"),
    (["GET", "1", "nosuch"], b"ERR type should be one of the following: slow, large-request, large-reply"),
    (["LEN", "nosuch"], b"ERR type should be one of the following: slow, large-request, large-reply"),
    (["RESET", "nosuch"], b"ERR type should be one of the following: slow, large-request, large-reply"),
    (["GET", "1"], b"ERR wrong number of arguments for 'commandlog|get' command"),
    (["GET"], b"ERR wrong number of arguments for 'commandlog|get' command"),
    (["LEN"], b"ERR wrong number of arguments for 'commandlog|len' command"),
    (["RESET", "slow", "x"], b"ERR wrong number of arguments for 'commandlog|reset' command"),
    (["NOSUCH"], b"ERR unknown subcommand 'NOSUCH'. Try COMMANDLOG HELP."),
], ids=lambda v: " ".join(v) if isinstance(v, list) else None)
def test_commandlog_errors(one, call, error):
    assert one.cmd("COMMANDLOG", *call) == Error(error)


# --- LATENCY ----------------------------------------------------------------------------------------

HEAD = re.compile(rb"command - high (\d+) ms, low (\d+) ms \(all time high (\d+) ms\)\n-{80}\n")


def spike(c):
    """Two events of `command`, and none any more when it returns."""
    c.ok("CONFIG", "SET", "latency-monitor-threshold", "20")
    c.ok("DEBUG", "SLEEP", "0.03")
    c.ok("DEBUG", "SLEEP", "0.02")
    c.ok("CONFIG", "SET", "latency-monitor-threshold", "0")


def check_latency(server):
    with server.connect() as c:
        before = int(time.time())
        assert c.cmd("LATENCY", "LATEST") == [] == c.cmd("LATENCY", "HISTORY", "command")
        spike(c)
        latest = {e[0]: e[1:] for e in c.cmd("LATENCY", "LATEST")}
        seconds, last, worst = latest[b"command"]
        assert before <= seconds <= time.time() + 1
        assert 20 <= last <= worst and worst >= 30
        history = c.cmd("LATENCY", "HISTORY", "command")
        assert history[-1] == [seconds, last] and max(ms for _, ms in history) == worst
        graph = c.cmd("LATENCY", "GRAPH", "command")
        assert [int(v) for v in HEAD.match(graph).groups()] == [worst, min(ms for _, ms in history), worst]
        assert c.cmd("LATENCY", "RESET", "nosuch", "comman") == 0
        assert c.cmd("LATENCY", "RESET", "COMMAND", "command", "nosuch") == 1
        assert b"command" not in {e[0] for e in c.cmd("LATENCY", "LATEST")}
        assert c.cmd("LATENCY", "HISTORY", "command") == []
        assert isinstance(c.cmd("LATENCY", "GRAPH", "command"), Error)
        c.cmd("LATENCY", "RESET")
        assert c.cmd("LATENCY", "RESET") == 0
        c.ok("DEBUG", "SLEEP", "0.02")
        assert c.cmd("LATENCY", "LATEST") == []


def test_latency(many):
    check_latency(many)


def test_latency_of_redis(redis7):
    check_latency(redis7)


EVENTS = {b"command", b"fast-command", b"expire-cycle", b"lazyfree", b"table-growth", b"loop-turn"}
# Tables grow; half of what is there expires, the other is flushed; fast commands that are timed one by one.
WORK = b"".join(
    [encode(["SET", "k%d" % i, "v"] + (["PX", "1"] if i % 2 else [])) for i in range(60_000)]
    + [encode(["EXISTS", "x"]) + encode(["GET", "x"])] * 5000
    + [encode(["KEYS", "x*"]), encode(["FLUSHALL", "ASYNC"]), encode(["ECHO", "the end"])])


def test_every_event_is_seen():
    """A process that is stopped for a moment is in the middle of anything: that took so long."""
    with Server("anax", shards=2, options={"latency-monitor-threshold": 1}) as server:
        if not server.is_anax:
            return
        ended = threading.Event()

        def work():
            with server.connect() as c:
                while not ended.is_set():
                    sender = threading.Thread(target=c.send_quietly, args=(WORK,))
                    sender.start()
                    got = b""
                    while not got.endswith(b"the end\r\n"):
                        got = got[-9:] + c.sock.recv(1 << 20)
                    sender.join()

        worker = threading.Thread(target=work)
        worker.start()
        rng = random.Random(1)

        def all_seen():
            for _ in range(50):
                server.process.send_signal(signal.SIGSTOP)
                time.sleep(0.0015)
                server.process.send_signal(signal.SIGCONT)
                time.sleep(rng.uniform(0.0003, 0.0015))
            with server.connect() as c:
                return {event[0] for event in c.cmd("LATENCY", "LATEST")} == EVENTS

        try:
            wait_until(all_seen, "all events have been noted")
        finally:
            ended.set()
            worker.join()


def test_doctor(many):
    with many.connect() as c:
        assert b"CONFIG SET latency-monitor-threshold" in c.cmd("LATENCY", "DOCTOR")
        c.ok("CONFIG", "SET", "latency-monitor-threshold", "10000")
        assert b"10000 ms" in c.cmd("LATENCY", "DOCTOR")
        spike(c)
        text = c.cmd("LATENCY", "DOCTOR")
        worst = [e[3] for e in c.cmd("LATENCY", "LATEST") if e[0] == b"command"][0]
        assert re.search(rb"^- command: \d+ spikes? .*all time high %d ms$" % worst, text, re.M), text
        assert b"slow log is off" in text, text
        c.ok("CONFIG", "SET", "slowlog-log-slower-than", "100000000")
        assert b"slowlog-log-slower-than is 100000000" in c.cmd("LATENCY", "DOCTOR")
        c.ok(*LOG_ALL)
        assert b"SLOWLOG GET shows" in c.cmd("LATENCY", "DOCTOR")


LABELS = [(2 ** n + 2 ** (n - 7) - 1) // 1000 for n in range(10, 45)]


def histogram(c, *names):
    """{name: calls}; the histograms are looked at on the way."""
    reply = c.cmd("LATENCY", "HISTOGRAM", *names)
    out = {}
    for name, (calls_word, calls, usec_word, usec) in zip(reply[::2], reply[1::2]):
        assert (calls_word, usec_word) == (b"calls", b"histogram_usec")
        bounds, counts = usec[::2], usec[1::2]
        assert set(bounds) <= set(LABELS) and bounds == sorted(set(bounds)), usec
        assert counts == sorted(set(counts)) and counts[-1] == calls and counts[0] > 0, usec
        out[name.decode()] = calls
    return out


def check_histogram(server):
    with server.connect() as c:
        c.ok("CONFIG", "RESETSTAT")
        for n in range(50):
            c.ok("SET", "key%d" % n, "v")
            c.pipeline([["GET", "key%d" % n], ["GET", "other%d" % n], ["GET", "x"]])
        c.cmd("INCR", "key0")
        for _ in range(3):
            c.cmd("CONFIG", "GET", "maxmemory")
        for _ in range(4):
            c.cmd("DBSIZE")
        c.cmd("GET")  # refused: not a call
        c.cmd("NOSUCH")
        assert histogram(c, "get") == {"get": 150}
        assert histogram(c, "SET", "nosuch", "Incr", "dbsize") == {"set": 50, "incr": 1, "dbsize": 4}
        assert histogram(c, "config|get") == {"config|get": 3}
        assert histogram(c, "config") == {"config|get": 3, "config|resetstat": 1}
        assert histogram(c, "nosuch") == {} == histogram(c, "mget")
        everything = histogram(c)
        assert everything["get"] == 150 and everything["latency|histogram"] == 6
        assert "mget" not in everything and "config" not in everything
        c.ok("CONFIG", "RESETSTAT")
        c.ok("CONFIG", "SET", "latency-tracking", "no")
        c.cmd("GET", "x")
        assert histogram(c, "get") == {}
        c.ok("CONFIG", "SET", "latency-tracking", "yes")
        c.cmd("GET", "x")
        assert histogram(c, "get") == {"get": 1}


def test_histogram(many):
    check_histogram(many)


def test_histogram_of_redis(redis7):
    check_histogram(redis7)


def test_histogram_puts_a_call_where_its_time_belongs(one, redis7):
    for server in one, redis7:
        with server.connect() as c:
            c.ok("CONFIG", "RESETSTAT")
            c.ok("DEBUG", "SLEEP", "0.02")
            reply = c.cmd("LATENCY", "HISTOGRAM", "debug")
            assert reply[1][3][0] >= 33816, reply  # the bound above 20 ms


# --- DEBUG ------------------------------------------------------------------------------------------


def test_debug_is_refused_unless_enabled(against_redis_itself):
    calls = [["DEBUG", "SLEEP", "0"], ["DEBUG", "OBJECT", "k"], ["DEBUG", "LOG", "x"], ["DEBUG", "HELP"],
             ["DEBUG"], ["DEBUG", "PROTOCOL", "string"]]
    found = []
    for kind in "anax", "redis":
        with Server(kind) as s, s.connect() as c:
            found.append([c.cmd(*call) for call in calls])
            assert isinstance(c.cmd("CONFIG", "SET", "enable-debug-command", "yes"), Error)
            if not against_redis_itself and kind == "anax":
                assert c.cmd("DEBUG", "SEGFAULT") == c.cmd("DEBUG", "FAIL-ALLOC", "1") == found[0][0]
    assert all(isinstance(v, Error) for v in found[1])
    assert found[0] == found[1]


MISUSED = [["DEBUG", "NOSUCH"], ["debug", "x\ty"], ["DEBUG", "SLEEP"], ["DEBUG", "SLEEP", "0", "0"], ["DEBUG", "LOG"],
           ["DEBUG", "PROTOCOL"], ["DEBUG", "SET-ACTIVE-EXPIRE"], ["DEBUG", "STRINGMATCH-LEN", "1"]]


@pytest.mark.parametrize("options", [{}, OPTIONS])
def test_debug_misused(options, against_redis_itself):
    with Server("anax", options=options) as a, Server("redis", options=options) as r, \
            a.connect() as ca, r.connect() as cr:
        for call in MISUSED:
            (ours,), (theirs,) = ca.pipeline([call]), cr.pipeline([call])
            assert isinstance(ours.value, Error) and isinstance(theirs.value, Error)
            if not against_redis_itself:
                found = intended([word.encode() for word in call], ours, theirs)
                assert found and found.name == "DEBUG with a wrong subcommand", (ours, theirs)


def test_debug_is_allowed_to_who_is_local():
    with tempfile.TemporaryDirectory() as where:
        path = where + "/s"
        for kind in "anax", "redis":
            options = {"enable-debug-command": "local", "unixsocket": path}
            with Server(kind, shards=2, options=options) as s:
                s.cmd("SET", "k", "v")
                assert s.cmd("DEBUG", "SLEEP", "0") == Status(b"OK")
                assert b"encoding:embstr" in s.cmd("DEBUG", "OBJECT", "k")
                s.address = path
                assert s.cmd("DEBUG", "SLEEP", "0") == Status(b"OK")


TYPES = ["string", "integer", "double", "null", "array", "set", "map", "push", "verbatim", "true", "false",
         "bignum", "STRING", "nosuch", ""]


@pytest.mark.parametrize("proto", [2, 3])
def test_debug_protocol(one, redis7, proto):
    found = []
    for server in one, redis7:
        with server.connect() as c:
            c.cmd("HELLO", proto)
            found.append(c.pipeline([["DEBUG", "PROTOCOL", t] for t in TYPES]))
            # An attribute stands before the reply that it belongs to.
            c.pipeline([["DEBUG", "PROTOCOL", "string"]])
            c.send(b"DEBUG PROTOCOL attrib\r\n")
            whole = b""
            while not whole.endswith(b"following the attribute\r\n"):
                whole += c.sock.recv(1000)
            found[-1].append(whole)
    assert found[0] == found[1]


VALUES = [["SET", "v", value] for value in
          ["", "1", "-1", "127", "128", "-129", "32768", "-32769", "2147483647", "2147483648", "9999", "10000",
           "hello", "01", "x" * 44, "x" * 45, "abcdefghijklmnopqrst"]] + [
    ["APPEND", "v", "12"], ["SETRANGE", "v", "0", "abc"], ["SETBIT", "v", "7", "1"]]


def test_debug_object(one, redis7):
    found = []
    for server in one, redis7:
        seen = []
        with server.connect() as c:
            for call in VALUES:
                c.cmd("DEL", "v")
                c.cmd(*call)
                text = c.cmd("DEBUG", "OBJECT", "v")
                assert isinstance(text, Status)
                fields = re.match(rb"Value at:0x[0-9a-f]+ refcount:(\d+) encoding:(\w+) serializedlength:(\d+) "
                                  rb"lru:\d+ lru_seconds_idle:(\d+)", text).groups()
                length = None if len(call[-1]) > 20 else fields[2]  # Redis compresses what is longer
                seen.append((call, fields[0], fields[1], length))
            seen.append(c.cmd("DEBUG", "OBJECT", "missing"))
        found.append(seen)
    assert found[0] == found[1]


def test_debug_object_finds_keys_everywhere(many):
    with many.connect() as c:
        for n in range(64):
            c.ok("SET", "key%d" % n, "v")
            assert b"encoding:embstr" in c.cmd("DEBUG", "OBJECT", "key%d" % n)


def test_debug_error_and_log(one, redis7):
    for server in one, redis7:
        with server.connect() as c:
            for text in "CODE a text", "ERR two\r\nlines", "x":
                value = c.cmd("DEBUG", "ERROR", text)
                assert isinstance(value, Error) and value == text.replace("\r\n", "  ").encode()
            c.ok("DEBUG", "LOG", "this message")
            assert "DEBUG LOG: this message" in server.log()


def test_debug_stringmatch_len(one):
    with one.connect() as c:
        assert c.cmd("DEBUG", "STRINGMATCH-LEN", "100000", "a*a*a*a") == 1
        assert c.cmd("DEBUG", "STRINGMATCH-LEN", "1000", "a*a*a*b") == 0
        assert c.cmd("DEBUG", "STRINGMATCH-LEN", "0", "") == 1
        assert c.cmd("DEBUG", "STRINGMATCH-LEN", "-1", "a") == Error(b"ERR value is out of range")
        assert c.cmd("DEBUG", "STRINGMATCH-LEN", "99999999999", "a") == Error(b"ERR value is out of range")
        assert c.cmd("DEBUG", "STRINGMATCH-LEN", "x", "a") == Error(
            b"ERR value is not an integer or out of range")


def test_debug_set_active_expire(many):
    with many.connect() as c:
        c.ok("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        for n in range(64):
            c.ok("SET", "key%d" % n, "v", "PX", "1")
        time.sleep(0.5)  # two rounds of expiry that do not come
        assert c.cmd("DBSIZE") == 64
        assert c.cmd("GET", "key0") is None  # who looks finds nothing all the same
        c.ok("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        wait_until(lambda: c.cmd("DBSIZE") == 0, "keys expire by themselves again")


def test_debug_fail_alloc(shards):
    """Commands may fail and connections may end, but the server goes on, and what it holds goes back."""
    with Server("anax", shards=shards, options=OPTIONS) as s:
        with s.connect() as c:
            assert c.cmd("DEBUG", "FAIL-ALLOC", "-1") == Error(b"ERR value is out of range, must be positive")
            assert c.cmd("DEBUG", "FAIL-ALLOC", "x") == Error(b"ERR value is out of range, must be positive")
            c.ok("DEBUG", "FAIL-ALLOC", "0")
        failed = 0
        for every in 7, 3:
            failed += insist(s, "DEBUG", "FAIL-ALLOC", every)
            for n in range(100):
                failed += insist(s, "SET", "key%d" % n, b"x" * 2000)
                failed += insist(s, "SLOWLOG", "GET")
        assert failed > 0
        insist(s, "DEBUG", "FAIL-ALLOC", "0")
        with s.connect() as c:
            for n in range(100):
                assert c.cmd("GET", "key%d" % n) == b"x" * 2000
            c.ok("FLUSHALL", "SYNC")


def insist(server, *call):
    """Repeats a command until it works; returns how often it did not."""
    for failed in range(1000):
        try:
            value = server.cmd(*call)
        except (Closed, OSError):
            continue
        if not isinstance(value, Error):
            return failed
        assert value.startswith((b"ERR out of memory", b"OOM")), (call, value)
    raise AssertionError("never works: %r" % (call,))


@pytest.mark.parametrize("how,number", [("SEGFAULT", signal.SIGSEGV), ("PANIC", signal.SIGABRT)])
def test_debug_ends_the_server(how, number):
    s = Server("anax", shards=2, options=OPTIONS, launcher=["prlimit", "--core=0"])
    with s.connect() as c:
        with pytest.raises((Closed, ConnectionResetError)):
            c.cmd("DEBUG", how)
    code = s.process.wait()
    assert code != 0 and (SLOW or code == -number), s.log()
    s.log_file.close()
    os.unlink(s.log_file.name)


@pytest.mark.parametrize("size", [20_000, 40_000, 300_000])
def test_slowlog_shows_the_head_of_a_value_that_was_taken_over(anax, redis, size):
    """A large value goes to the keyspace without a copy, so the log keeps what it shows of it."""
    args = []
    for server in (anax, redis):
        with server.connect() as c:
            before = c.cmd("CONFIG", "GET", "slowlog-log-slower-than")[1]
            c.ok("CONFIG", "SET", "slowlog-log-slower-than", "0")
            c.ok("SLOWLOG", "RESET")
            c.ok("SET", "large", b"0123456789" * (size // 10))
            c.ok("CONFIG", "SET", "slowlog-log-slower-than", before)
            args.append([e[3] for e in c.cmd("SLOWLOG", "GET", "-1") if e[3][0] == b"SET"])
    assert args[0] == args[1]
    assert len(args[0]) == 1


def test_slow_commands_of_a_pipeline_are_logged_in_order(anax):
    with anax.connect() as c:
        c.ok("CONFIG", "SET", "slowlog-log-slower-than", "0")
        c.ok("SLOWLOG", "RESET")
        c.pipeline([["ECHO" if i % 5 == 0 else "GET", "k%d" % i] for i in range(60)])
        c.ok("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        seen = [e[3][1] for e in c.cmd("SLOWLOG", "GET", "-1") if e[3][0] in (b"GET", b"ECHO")]
        c.ok("SLOWLOG", "RESET")
    assert seen == [b"k%d" % i for i in reversed(range(60))]
