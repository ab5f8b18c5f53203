"""CLIENT KILL in the middle of everything: only those who are meant die, and all that they held comes back."""

import contextlib
import random
import threading

import pytest

from harness import DEADLINE_S, SLOW, Closed, Conn, Error, Prober, Server, encode, wait_until

SCALE = 8 if SLOW else 1
SLACK_BYTES = 1 << 20
GONE = (Closed, ConnectionResetError, BrokenPipeError)


@pytest.fixture(scope="module", params=[(1, "uring"), (2, "epoll"), (3, "uring"), (8, "epoll")],
                ids=lambda p: "%d-%s" % p)
def server(request):
    """What all the tests together took comes back: memory takes two seconds for that."""
    shards, io = request.param
    with Server("anax", shards=shards, io=io, options={"client-output-buffer-limit": "normal 0 0 0"}) as s:
        before = s.held_alone()
        yield s
        s.returns_to(before, SLACK_BYTES)


@pytest.fixture
def anax(server):
    """Around every fault: an honest client is served all the time, and no connection is left behind."""
    before = server.held_alone()
    with Prober(server) as prober:
        prober.goes_on(5)
        yield server
        prober.goes_on(20)
    assert server.alive(), server.log()
    server.cmd("FLUSHALL")
    assert server.cmd("DBSIZE") == 0
    assert server.held_alone()[:2] == before[:2]


def victim(server, **kw):
    c = Conn(server.address, **kw)
    c.ok("CLIENT", "SETNAME", "victim")
    return c


def line_of(conn, ident):
    text = conn.cmd("CLIENT", "LIST", "ID", str(ident)).decode()
    return dict(f.split("=", 1) for f in text.split()) if text else None


def field(conn, ident, name):
    return int(line_of(conn, ident)[name])


def test_kill_storm(anax):
    """Victims come back as fast as they are killed, in the middle of pipelines over all shards."""
    ended = threading.Event()
    errors, deaths = [], [0] * 6

    def live(n):
        rng = random.Random(n)
        while not ended.is_set():
            try:
                with victim(anax) as c:
                    while not ended.is_set():
                        keys = [b"v%d:%d" % (n, rng.randrange(100)) for _ in range(rng.choice([1, 30, 300]))]
                        replies = c.pipeline([["SET", k, k * 20] for k in keys] + [["GET", k] for k in keys])
                        assert [r.value for r in replies[len(keys):]] == [k * 20 for k in keys]
            except GONE:
                deaths[n] += 1
            except BaseException as e:  # noqa: the thread must tell
                errors.append(e)
                return

    threads = [threading.Thread(target=live, args=(n,)) for n in range(len(deaths))]
    for t in threads:
        t.start()
    killed = 0
    rng = random.Random(99)
    with anax.connect() as c:
        while killed < 300 // SCALE and not errors:
            form = rng.randrange(4)
            if form == 0:
                killed += c.cmd("CLIENT", "KILL", "NAME", "victim")
            elif form == 1:
                killed += c.cmd("CLIENT", "KILL", "NAME", "victim", "NOT-FLAGS", "O", "TYPE", "normal")
            else:
                text = c.cmd("CLIENT", "LIST", "NAME", "victim").decode()
                lines = [dict(f.split("=", 1) for f in line.split(" ")) for line in text.splitlines()]
                if not lines:
                    continue
                one = rng.choice(lines)
                if form == 2:
                    killed += c.cmd("CLIENT", "KILL", "ID", one["id"])
                else:
                    reply = c.cmd("CLIENT", "KILL", one["addr"])
                    assert reply in (b"OK", b"ERR No such client"), reply
                    killed += not isinstance(reply, Error)
    ended.set()
    for t in threads:
        t.join(DEADLINE_S)
    assert not errors
    # A victim may be killed between two connections' lives, never twice.
    assert len(deaths) >= killed - sum(deaths) >= 0
    with anax.connect() as c:
        keys = c.cmd("KEYS", "v*")
        assert 0 < len(keys) <= 100 * len(deaths)
        assert [r.value for r in c.pipeline([["GET", k] for k in keys])] == [k * 20 for k in keys]


def test_kill_with_batches_in_flight(anax):
    """Commands on all shards are under way, none of their replies read, when the end comes."""
    pipeline = b"".join(encode(["SET", b"k%d" % i, b"x" * 300]) + encode(["GET", b"k%d" % (i // 2)])
                        for i in range(2000 // SCALE))
    with anax.connect() as c:
        for i in range(60 // SCALE + 2):
            v = victim(anax)
            ident = v.cmd("CLIENT", "ID")
            sender = threading.Thread(target=v.send_quietly, args=(pipeline,))
            sender.start()
            while i % 2 and field(c, ident, "tot-cmds") < 10:
                pass
            assert c.cmd("CLIENT", "KILL", "ID", str(ident)) == 1
            assert line_of(c, ident) is None
            sender.join(DEADLINE_S)
            v.until_closed()
            v.close()
        # What ran has run as a whole: a prefix of the pipeline's keys, each with its value.
        keys = [k for k in c.cmd("KEYS", "k*")]
        assert {r.value for r in c.pipeline([["GET", k] for k in keys])} <= {b"x" * 300}


def test_kill_with_unsent_output(anax):
    """Large values that wait for a client that does not read: pinned where they lie, on every shard."""
    with anax.connect() as c:
        for i in range(16):
            c.ok("SET", "large%d" % i, b"x" * 500_000)
        victims = [victim(anax, rcvbuf_bytes=4096) for _ in range(6)]
        ids = [v.cmd("CLIENT", "ID") for v in victims]
        for v in victims:
            v.send(b"".join(encode(["GET", "large%d" % i]) + encode(["GETRANGE", "large%d" % i, "0", "5000"])
                            for i in range(16)))
        for ident in ids:
            wait_until(lambda: field(c, ident, "omem") > 4_000_000 and field(c, ident, "oll") > 0, "replies wait")
        for i in range(0, 16, 2):  # some of what they wait for is gone from the keyspace by now
            c.cmd("DEL", "large%d" % i)
        assert c.cmd("CLIENT", "KILL", "NAME", "victim") == len(victims)
        # Without anybody reading on the other side: what waited is dropped, not sent.
        wait_until(lambda: int(c.info("clients")["connected_clients"]) == 2, "only this one and the honest one are left")
        for v in victims:
            v.close()
        assert c.cmd("STRLEN", "large1") == 500_000 and c.cmd("EXISTS", "large0") == 0


@pytest.mark.parametrize("part", [0.0, 0.5, 0.999])
def test_kill_with_half_a_large_value(anax, part):
    """The kernel may be writing into the value's place."""
    size = 4_000_000
    with anax.connect() as c:
        for how in ("kill", "kill while it sends", "storm"):
            victims = [victim(anax) for _ in range(4)]
            ids = [v.cmd("CLIENT", "ID") for v in victims]
            senders = []
            for v in victims:
                v.send(b"*3\r\n$3\r\nSET\r\n$5\r\nwhole\r\n$%d\r\n" % size)
                data = b"x" * (size - 1 if how != "kill" else int(size * part))
                senders.append(threading.Thread(target=v.send_quietly, args=(data,)))
                senders[-1].start()
            for ident in ids:
                wait_until(lambda: (line_of(c, ident) or {}).get("argv-mem", "0") != "0", "its place is there")
            if how == "storm":
                killed = sum(c.cmd("CLIENT", "KILL", "ID", str(ident)) for ident in ids)
            else:
                killed = c.cmd("CLIENT", "KILL", "NAME", "victim")
            assert killed == len(victims)
            for sender, v in zip(senders, victims):
                sender.join(DEADLINE_S)
                v.until_closed()
                v.close()
        assert c.cmd("EXISTS", "whole") == 0


def test_kill_of_half_commands_and_of_silent_ones(anax):
    halves = [b"", b"*", b"*3\r\n$3\r\nSET\r\n$1\r\nk", b"SET k", b"*2\r\n$3\r\nGET\r\n$5000\r\n" + b"x" * 4000,
              b"*1000\r\n$1\r\na\r\n"]
    with anax.connect() as c:
        victims = [victim(anax) for _ in range(10) for _ in halves]
        for i, v in enumerate(victims):
            v.send(halves[i % len(halves)])
        assert c.cmd("CLIENT", "KILL", "NAME", "victim") == len(victims)
        for v in victims:
            assert v.until_closed() == b""
            v.close()
        assert c.cmd("EXISTS", "k") == 0


def test_kill_of_monitors(anax):
    with anax.connect() as c:
        for _ in range(5):
            victims = [victim(anax) for _ in range(4)]
            for v in victims:
                v.ok("MONITOR")
            c.pipeline([["SET", b"m%d" % i, b"x" * 100] for i in range(200)])
            assert c.cmd("CLIENT", "KILL", "FLAGS", "O") == len(victims)
            for v in victims:
                v.until_closed()
                v.close()
        assert c.cmd("CLIENT", "LIST", "FLAGS", "O") == b""


def test_everybody_kills_everybody(anax):
    """Each asks for the death of all others at once: at least one is left of those who asked, or its reply came."""
    for _ in range(12 // SCALE + 1):
        conns = [victim(anax) for _ in range(8)]
        kill = encode(["CLIENT", "KILL", "NAME", "victim", "SKIPME", "yes"])
        for c in conns:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                c.send(kill)
        killed, left = 0, 0
        for c in conns:
            try:
                killed += c.read().value
                left += c.cmd("PING") == b"PONG"
            except GONE:
                pass
        assert left <= 1 and killed <= len(conns) - left
        for c in conns:
            c.close()


def test_killing_all_including_oneself(server):
    """Not beside an honest client: it would die too."""
    before = server.held_alone()
    conns = [victim(server) for _ in range(20)]
    conns[7].send(encode(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no"]) + encode(["SET", "after", "x"]))
    assert conns[7].until_closed() == b":20\r\n"
    for c in conns:
        assert c is conns[7] or c.until_closed() == b""
        c.close()
    assert server.cmd("EXISTS", "after") == 0
    assert server.held_alone()[:2] == before[:2]
