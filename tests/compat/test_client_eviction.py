"""maxmemory-clients: when connections together take more than that, the largest are ended; beside redis-server, which
says who goes. What a connection takes differs, so the amounts are far apart: some kilobytes, and some megabytes."""

import contextlib
import re
import threading

import pytest

from harness import Closed, Error, Server, encode, wait_until

MB = 1 << 20
LIMIT = 4 * MB
KINDS = [("redis", 1), ("anax", 1), ("anax", 2), ("anax", 3), ("anax", 8)]


@pytest.fixture(scope="module", params=KINDS, ids=lambda k: "%s%d" % k)
def running(request):
    kind, shards = request.param
    with Server(kind, shards=shards) as s:
        yield s


@pytest.fixture
def server(running):
    """With the limit on, values to be read, and a count that begins at 0."""
    with running.connect() as c:
        c.ok("CLIENT", "NO-EVICT", "ON")
        c.cmd("FLUSHALL")
        c.ok("CONFIG", "SET", "maxmemory-clients", "0", "maxmemory", "0")
        c.ok("CONFIG", "RESETSTAT")
        c.ok("MSET", "small", "v" * 1000, "large", "V" * 100_000)
        c.ok("CONFIG", "SET", "maxmemory-clients", LIMIT)
        yield running
        c.ok("CONFIG", "SET", "maxmemory-clients", "0")
    assert running.alive(), running.log()
    wait_until(lambda: int(running.info("clients")["connected_clients"]) == 1, "all connections are gone")


def evicted(server):
    return int(server.info("stats")["evicted_clients"])


def unread(server, value, bytes_):
    """A connection that asks for so much and reads nothing. The socket's buffers take some of it."""
    c = server.connect(rcvbuf_bytes=4096)
    size = 1000 if value == "small" else 100_000
    data = encode(["GET", value]) * (bytes_ // size)
    threading.Thread(target=c.send_quietly, args=(data,), daemon=True).start()
    return c


def half_sent(server, bytes_):
    """A connection that sends most of a command: many arguments, or one."""
    c = server.connect()
    c.send(b"*2\r\n$3\r\nGET\r\n$%d\r\n" % (2 * bytes_))
    c.send_quietly(b"x" * bytes_)
    return c


def many_arguments(server, bytes_):
    c = server.connect()
    n = bytes_ // 1000
    c.send(b"*%d\r\n$4\r\nMGET\r\n" % (2 * n))
    c.send_quietly((b"$1000\r\n" + b"x" * 1000 + b"\r\n") * n)
    return c


def in_multi(server, bytes_):
    c = server.connect()
    c.ok("MULTI")
    with contextlib.suppress(Closed, ConnectionError, OSError):
        for _ in range(bytes_ // 100_000):
            c.cmd("SET", "k", "x" * 100_000)
    return c


def gone(c):
    """Has the server closed it? Reads what is under way."""
    c.sock.settimeout(0.05)
    try:
        while c.sock.recv(1 << 16):
            pass
        return True
    except TimeoutError:
        return False
    except OSError:
        return True


def listed(server, c_id):
    return re.search(rb"^id=%d " % c_id, server.cmd("CLIENT", "LIST"), re.M) is not None


WAYS = {"small-replies": lambda s, n: unread(s, "small", n), "large-replies": lambda s, n: unread(s, "large", n),
        "half-a-command": half_sent, "many-arguments": many_arguments, "multi": in_multi}


@pytest.mark.parametrize("way", WAYS)
def test_what_takes_too_much_goes_and_small_ones_stay(server, way):
    small = [server.connect() for _ in range(20)]
    ids = [c.cmd("CLIENT", "ID") for c in small]
    large = WAYS[way](server, 20 * MB)
    wait_until(lambda: evicted(server) == 1, "the large one goes")
    wait_until(lambda: gone(large), "it is closed")
    assert [c.cmd("PING") for c in small] == [b"PONG"] * len(small)
    assert all(listed(server, i) for i in ids)
    assert evicted(server) == 1
    for c in small + [large]:
        c.close()


def test_below_the_limit_all_stay(server):
    large = [half_sent(server, MB // 2) for _ in range(2)]
    with server.connect() as c:
        for _ in range(3):
            assert c.cmd("GET", "large") == b"V" * 100_000
    assert not any(gone(c) for c in large)
    assert evicted(server) == 0
    for c in large:
        c.close()


def test_no_evict_protects(server):
    with server.connect() as kept:
        kept.ok("CLIENT", "NO-EVICT", "ON")
        kept.send(b"*2\r\n$3\r\nGET\r\n$%d\r\n" % (6 * MB))
        kept.send(b"x" * (6 * MB))
        kept.send(b"\r\n")
        assert kept.read().value is None
        kept.ok("MULTI")
        for _ in range(30):
            assert kept.cmd("SET", "k", "x" * 100_000) == b"QUEUED"
        assert evicted(server) == 0
        # It counts all the same: now the others go for less.
        other = server.connect()
        assert other.cmd("PING") == b"PONG"
        for _ in range(15):
            assert kept.cmd("SET", "k", "x" * 100_000) == b"QUEUED"
        wait_until(lambda: gone(other), "an innocent one goes")
        other.close()
        assert len(kept.cmd("EXEC")) == 45
        assert kept.cmd("PING") == b"PONG"
        kept.ok("CLIENT", "NO-EVICT", "OFF")
    with server.connect() as c:
        assert c.cmd("PING") == b"PONG"


def test_the_largest_go_first(server):
    """Ten that take 300 kB each, and then one of 3 MB: it is the one."""
    medium = [half_sent(server, 100_000) for _ in range(10)]
    large = half_sent(server, 8 * MB)
    wait_until(lambda: evicted(server) == 1 and gone(large), "the largest goes")
    assert not any(gone(c) for c in medium)
    for c in medium + [large]:
        c.close()


def test_as_many_as_it_takes(server):
    """Thirty connections on all shards that take about a megabyte each: enough go, and not all of them."""
    many = [half_sent(server, MB) for _ in range(30)]
    wait_until(lambda: sum(gone(c) for c in many) >= 26, "most go")
    with server.connect() as c:
        wait_until(lambda: int(c.info("memory")["mem_clients_normal"]) < LIMIT, "there is room again")
        left = [m for m in many if not gone(m)]
        assert 1 <= len(left) <= 4 and evicted(server) == 30 - len(left)
    for c in many:
        c.close()


def test_percent_of_maxmemory(server):
    with server.connect() as c:
        c.ok("CONFIG", "SET", "maxmemory-clients", "5%", "maxmemory", "0")
        large = half_sent(server, 6 * MB)
        assert not gone(large), "a percentage of no maxmemory is no limit"
        large.close()
        wait_until(lambda: len(c.cmd("CLIENT", "LIST").splitlines()) == 2, "it has left")
        c.ok("CONFIG", "SET", "maxmemory", 80 * MB)
        large = half_sent(server, 6 * MB)
        wait_until(lambda: gone(large), "it is limited")
        assert evicted(server) == 1
        large.close()
        c.ok("CONFIG", "SET", "maxmemory", 4096 * MB)
        large = half_sent(server, 6 * MB)
        assert not gone(large) and evicted(server) == 1
        large.close()


def test_a_limit_that_comes_later(server):
    with server.connect() as c:
        c.ok("CONFIG", "SET", "maxmemory-clients", "0")
        large = half_sent(server, 20 * MB)
        assert c.cmd("PING") == b"PONG" and not gone(large)
        c.ok("CONFIG", "SET", "maxmemory-clients", LIMIT)
        wait_until(lambda: gone(large), "it goes")
        assert c.cmd("PING") == b"PONG" and evicted(server) == 1
        large.close()


def test_who_asked_for_too_much_goes_itself(server):
    """Even when it is the one that runs a command; what it asked for is done."""
    with server.connect() as c:
        c.send(encode(["INCR", "n"]) + encode(["GET", "large"]) * 400 + encode(["INCR", "n"]))
        wait_until(lambda: evicted(server) == 1, "it goes, which does not read")
        wait_until(lambda: gone(c), "it is closed")
    assert evicted(server) == 1
    assert server.cmd("GET", "n") in (b"1", b"2")


def test_within_a_turn(server):
    """A few bytes that came at once ask for 200 MB: who takes too much is found after a batch of 64, not after all."""
    asked = 1000
    with server.connect() as c, server.connect(rcvbuf_bytes=4096) as late:
        c.cmd("RPUSH", "list", *["x" * 200] * 1000)
        late.send(b"LRANGE list 0 -1\r\n" * asked)
        wait_until(lambda: evicted(server) == 1, "it goes")
        ran = int(re.search(rb"cmdstat_lrange:calls=(\d+)", c.cmd("INFO", "commandstats")).group(1))
    if server.is_anax and server.shards == 1:
        assert ran <= 2 * 64, "%d of %d" % (ran, asked)


def test_a_limit_that_nobody_could_live_under(server):
    """Too small a limit still lets an administrator in."""
    with server.connect() as c:
        c.ok("CONFIG", "SET", "maxmemory-clients", 1)
    with server.connect() as c:
        assert c.cmd("PING") == b"PONG" and c.cmd("CONFIG", "GET", "maxmemory-clients") == [b"maxmemory-clients", b"1"]


def test_counts_and_reset(server):
    half_sent(server, 20 * MB)
    wait_until(lambda: evicted(server) == 1, "it goes")
    server.cmd("CONFIG", "RESETSTAT")
    assert evicted(server) == 0


SETTINGS = ["0", "100", "1kb", "1GB", "10%", "100%", "101%", "1000000%", "0%", "-5", "-5%", "5.5%", "%", "5%%", "", " 5%",
            "1tb", "abc", "007%", "+5%", "5 %", "5%\n"]


def test_settings(running):
    if not running.is_anax:
        return
    with Server("redis") as redis, redis.connect() as r, running.connect() as a:
        for setting in SETTINGS:
            both = []
            for c in (a, r):
                reply = c.cmd("CONFIG", "SET", "maxmemory-clients", setting)
                both.append((reply, isinstance(reply, Error), c.cmd("CONFIG", "GET", "maxmemory-clients")))
            assert both[0] == both[1], setting
        a.ok("CONFIG", "SET", "maxmemory-clients", "0")


@pytest.mark.parametrize("line, shown", [("20%", b"20%"), ("3mb", b"3145728"), ("0", b"0")])
def test_from_a_file_and_rewritten(line, shown):
    with Server("anax", shards=2, config_text="maxmemory-clients %s\n" % line) as s, s.connect() as c:
        assert c.cmd("CONFIG", "GET", "maxmemory-clients")[1] == shown
        c.ok("CONFIG", "SET", "maxmemory-clients", "7%")
        c.ok("CONFIG", "REWRITE")
        with open(s.config.name) as f:
            assert "maxmemory-clients 7%\n" in f.read()
        c.ok("CONFIG", "SET", "maxmemory-clients", "2097152")
        c.ok("CONFIG", "REWRITE")
        with open(s.config.name) as f:
            assert "maxmemory-clients 2mb\n" in f.read()
