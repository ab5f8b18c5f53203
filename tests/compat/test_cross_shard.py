"""Commands with several keys, wherever these lie: the replies and what is stored are redis-server's."""

import contextlib
import functools
import operator
import random
import threading

import pytest

import grammar
import streams
from harness import FORGETFUL, SLOW, Server, encode, wait_until

MB = 1 << 20
BIG = (8 if SLOW else 20) * MB  # more than sockets buffer
CURSOR_SHARD_SHIFT = 33  # of SCAN's cursor: which shard it has come to


def keys_of_shard(c, shard):
    """All keys that lie on a shard, by its stretch of a SCAN."""
    keys, cursor = set(), shard << CURSOR_SHARD_SHIFT
    while True:
        value, batch = c.cmd("SCAN", str(cursor), "COUNT", "1000")
        keys.update(batch)
        cursor = int(value)
        if cursor == 0 or cursor >> CURSOR_SHARD_SHIFT != shard:
            return keys


def spread(server, each):
    """Names of keys: a list of `each` for every shard of the server, which it leaves empty."""
    if not server.is_anax:
        return [[b"s0:%d" % i for i in range(each)]]
    with server.connect() as c:
        c.ok("FLUSHALL")
        c.pipeline([["SET", b"spread:%d" % i, "1"] for i in range(60 * each * server.shards)])
        found = [sorted(keys_of_shard(c, i))[:each] for i in range(server.shards)]
        c.ok("FLUSHALL")
    assert all(len(keys) == each for keys in found), found
    return found


def two_keys(server):
    """A key of the first shard and one of the last."""
    found = spread(server, 2)
    return found[0][0], found[-1][1]


# --- small values, at random ---


def some_value(rng):
    return rng.choice([b"", b"text", b"%d" % rng.randrange(-1000, 1000), b"12345678901234567890123",
                       rng.randbytes(rng.randrange(60)), rng.randbytes(1023), rng.randbytes(1024), rng.randbytes(5000)])


def draw(rng, keys):
    """A random command with several keys, or one that prepares for it."""
    def some(most=5):
        return [rng.choice(keys) for _ in range(rng.randint(1, most))]

    a, b = rng.choice(keys), rng.choice(keys)
    pairs = [x for k in some() for x in (k, some_value(rng))]
    db = rng.choice(["0", "1", "2"])
    return rng.choice([
        ["SET", a, some_value(rng)], ["SET", a, some_value(rng)], ["SET", a, some_value(rng), "PXAT", "4102444800000"],
        ["APPEND", a, some_value(rng)], ["SETBIT", a, str(rng.randrange(9000)), "1"], ["GET", a], ["DBSIZE"],
        ["MGET"] + some(), ["MSET"] + pairs, ["MSETNX"] + pairs, ["DEL"] + some(3), ["UNLINK"] + some(3),
        ["EXISTS"] + some(), ["TOUCH"] + some(), ["RENAME", a, b], ["RENAMENX", a, b], ["COPY", a, b],
        ["COPY", a, b, "REPLACE"], ["COPY", a, b, "DB", db], ["COPY", a, b, "REPLACE", "DB", db],
        ["COPY", a, b, "DB", "99"], ["COPY", a, b, "NOSUCH"], ["MOVE", a, db], ["PEXPIRETIME", a],
        ["OBJECT", "ENCODING", a],
        ["BITOP", rng.choice(["AND", "OR", "XOR"]), a] + some(), ["BITOP", "NOT", a, b], ["BITOP", "NOT", a, b, a],
        ["BITOP", "NOSUCH", a, b], ["SWAPDB", "0", db], ["SWAPDB", db, "99"], ["SWAPDB", "x", db], ["SELECT", db]])


@pytest.mark.parametrize("proto", [2, 3])
def test_replies_equal(anax, redis, proto):
    rng = random.Random(proto)
    keys = [k for of_shard in spread(anax, 4) for k in of_shard]
    pair = streams.Pair(anax, redis, proto)
    pair.reset()
    row = grammar.Row("any", None, "exact", 0, "none")
    for _ in range(10 if SLOW else 25):
        pair.run([(row, [a if isinstance(a, bytes) else a.encode() for a in draw(rng, keys)])
                  for _ in range(rng.choice([1, 5, 100]))])
    pair.compare_state()


def test_lcs(anax, redis):
    a, b = two_keys(anax)
    rng = random.Random(5)
    for _ in range(10):
        values = [bytes(rng.choice(b"abcd") for _ in range(rng.randrange(40))) for _ in range(2)]
        calls = [["LCS", a, b], ["LCS", a, b, "LEN"], ["LCS", b, a, "IDX", "WITHMATCHLEN"],
                 ["LCS", a, b, "IDX", "MINMATCHLEN", "2"], ["LCS", a, b"missing"], ["LCS", b, a, "NOSUCH"],
                 ["LCS", a, b, "LEN", "IDX"]]
        replies = []
        for server in (anax, redis):
            with server.connect() as c:
                c.ok("MSET", a, values[0], b, values[1])
                replies.append([r.raw for r in c.pipeline(calls)])
        assert replies[0] == replies[1]


def test_what_is_wrong_is_found_before_anything_happens(anax, redis):
    a, b = two_keys(anax)
    calls = [["RENAME", a], ["RENAME", a, b, b], ["RENAME", b"missing", b], ["RENAMENX", b"missing", b], ["COPY", a],
             ["COPY", b"missing", b], ["COPY", a, b, "DB"], ["COPY", a, b, "DB", "x"], ["COPY", a, a], ["EXISTS"],
             ["DEL"], ["TOUCH"], ["UNLINK"], ["BITOP", "AND", a], ["BITOP", "NOT", a, b, b], ["BITOP", "", a, b],
             ["SWAPDB", "0"], ["SWAPDB", "a", "b"], ["SWAPDB", "0", "b"], ["SWAPDB", "16", "0"], ["SWAPDB", "0", "-1"],
             ["SWAPDB", "99999999999", "0"], ["SWAPDB", "0", "99999999999"], ["SWAPDB", "16", "x"], ["SWAPDB", "3", "3"],
             ["FLUSHALL", "NOW"], ["FLUSHDB", "SYNC", "ASYNC"], ["FLUSHDB", ""], ["MSET", a, "1", b], ["MSETNX", a]]
    for call in calls:
        replies = []
        for server in (anax, redis):
            with server.connect() as c:
                c.ok("FLUSHALL")
                c.pipeline([["SET", a, "1"], ["SET", b, "2"]])
                c.send(encode(call))
                replies.append([c.read().raw] + [c.cmd("GET", k) for k in (a, b)] + [c.cmd("DBSIZE")])
        assert replies[0] == replies[1], call


def test_swapdb_is_seen_by_every_connection(anax, redis):
    keys = [k for of_shard in spread(anax, 3) for k in of_shard]
    seen = []
    for server in (anax, redis):
        with server.connect() as c, server.connect() as other:
            c.ok("FLUSHALL")
            c.pipeline([["SET", k, "zero"] for k in keys] + [["PEXPIREAT", keys[0], "4102444800000"]])
            other.ok("SELECT", "1")
            other.ok("SET", keys[1], "one")
            replies = [c.cmd("SWAPDB", "0", "1")]
            for conn in (c, other):
                replies += [conn.cmd("DBSIZE"), sorted(conn.cmd("KEYS", "*")), conn.cmd("MGET", *keys),
                            conn.cmd("PEXPIRETIME", keys[0]), conn.cmd("EXISTS", *keys)]
            replies += [other.cmd("FLUSHDB"), other.cmd("DBSIZE"), c.cmd("GET", keys[1]), c.cmd("SWAPDB", "1", "0"),
                        c.cmd("DBSIZE"), other.cmd("GET", keys[1]), c.cmd("FLUSHALL", "SYNC"), other.cmd("DBSIZE")]
            seen.append(replies)
    assert seen[0] == seen[1]


# --- tags ---


def test_tags_keep_keys_together(anax, against_redis_itself):
    """What stands between the first { and the next } names the shard; an empty tag or an open brace is none."""
    if against_redis_itself:
        return
    with anax.connect() as c:
        for n in range(16):
            tag = b"x%d" % n
            same = {tag, b"%d{%s}" % (n, tag), b"{%s}%d" % (tag, n), b"{%s}{y}" % tag, b"a{%s}b}" % tag}
            c.ok("FLUSHALL")
            c.pipeline([["SET", k, "v"] for k in same])
            found = [keys for keys in (keys_of_shard(c, i) for i in range(anax.shards)) if keys]
            assert found == [same], (tag, found)
        for form in (b"{}%d", b"{x%d", b"x}%d"):
            c.ok("FLUSHALL")
            c.pipeline([["SET", form % n, "v"] for n in range(200)])
            assert all(keys_of_shard(c, i) for i in range(anax.shards)), form


# --- large values ---


def slow_get(server, stack, c, key):
    """A connection that has asked for a large value and reads none of it: the reply holds the value."""
    slow = stack.enter_context(server.connect(rcvbuf_bytes=1 << 16))
    slow.send(encode(["GET", key]))
    wait_until(lambda: waiting_bytes(c, slow) > 0, "a reply on its way")
    return slow


def waiting_bytes(c, other):
    """How much of its replies another connection has not taken yet."""
    address = "%s:%d" % other.sock.getsockname()
    for line in c.cmd("CLIENT", "LIST").decode().splitlines():
        fields = dict(f.split("=", 1) for f in line.split(" "))
        if fields["addr"] == address:
            return int(fields["obl"]) + int(fields["omem"])
    return 0


@pytest.fixture(params=[("anax", 1, "epoll"), ("anax", 2, "uring"), ("anax", 3, "epoll"), ("anax", 8, "uring"), ("redis",)],
                ids=lambda p: "-".join(map(str, p)))
def server(request, pool):
    """What is true of Anax on any number of shards is true of redis-server."""
    one = pool.get(*request.param)
    one.cmd("FLUSHALL")
    yield one
    assert one.alive(), one.log()
    one.cmd("FLUSHALL", "SYNC")


def test_large_values_move(server):
    """There, back, and again while a reply of it is on its way: pinned, it must be copied."""
    a, b = two_keys(server)
    value = random.Random(6).randbytes(BIG)
    with contextlib.ExitStack() as stack:
        c = stack.enter_context(server.connect())
        c.ok("SET", a, value)
        c.ok("RENAME", a, b)
        assert c.cmd("EXISTS", a, b) == 1 and c.cmd("GET", b) == value
        c.ok("RENAME", b, a)
        assert c.cmd("GET", a) == value
        slow = slow_get(server, stack, c, a)
        c.ok("RENAME", a, b)
        assert c.cmd("SETRANGE", b, "0", "changed") == BIG
        assert c.cmd("EXISTS", a) == 0
        assert slow.read().value == value
        assert c.cmd("GET", b) == b"changed" + value[7:]
        assert c.cmd("RENAMENX", b, a) == 1 and c.cmd("DEL", a, b) == 1


def test_large_values_are_copied(server):
    a, b = two_keys(server)
    value = random.Random(7).randbytes(BIG)
    with contextlib.ExitStack() as stack:
        c = stack.enter_context(server.connect())
        c.ok("SET", a, value)
        slow = slow_get(server, stack, c, a)
        assert c.cmd("COPY", a, b) == 1 and c.cmd("COPY", a, b) == 0
        assert c.cmd("SETRANGE", a, "0", "source") == BIG
        assert c.cmd("GET", b) == value
        assert c.cmd("COPY", a, b, "REPLACE") == 1
        assert c.cmd("COPY", a, b, "DB", "1") == 1
        assert c.cmd("APPEND", b, "x") == BIG + 1
        assert c.cmd("GET", b) == b"source" + value[6:] + b"x"
        assert slow.read().value == value
        c.ok("SELECT", "1")
        assert c.cmd("GET", b) == b"source" + value[6:]


def uniform(byte):
    """A value that tells of any piece that is not its own."""
    return b"%c" % byte * (1 << 15 if byte % 2 else 1 << 16)


def test_values_stay_whole_while_they_go_round(anax):
    """Clients that move, copy, replace and read the same few large values at once."""
    keys = [k for of_shard in spread(anax, 2) for k in of_shard][:6]
    errors = []

    def client(seed):
        rng = random.Random(seed)
        try:
            with anax.connect() as c:
                for _ in range(10 if SLOW else 40):
                    batch = []
                    for _ in range(rng.choice([1, 3, 10])):
                        a, b = rng.choices(keys, k=2)
                        batch.append(rng.choice([["SET", a, uniform(rng.randrange(256))], ["RENAME", a, b],
                                                 ["RENAMENX", a, b], ["COPY", a, b, "REPLACE"], ["MGET", a, b],
                                                 ["BITOP", "AND", a, b], ["DEL", a, b], ["GET", a]]))
                    for call, reply in zip(batch, c.pipeline(batch)):
                        for value in reply.value if call[0] == "MGET" else [reply.value]:
                            assert call[0] not in ("GET", "MGET") or value is None or value == uniform(value[0])
        except BaseException as e:  # noqa: the thread must tell
            errors.append(e)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors


def bits(operation, *values):
    """BITOP, by numbers as long as the values."""
    longest = max(map(len, values))
    numbers = [int.from_bytes(v.ljust(longest, b"\0"), "little") for v in values]
    return functools.reduce(operation, numbers).to_bytes(longest, "little")


def test_bits_of_large_values(server):
    found = spread(server, 4)
    to, *keys = [of_shard[i] for i in range(4) for of_shard in found][:4]
    rng = random.Random(8)
    values = [rng.randbytes(n) for n in (3 * MB, BIG, 2 * MB)]
    with contextlib.ExitStack() as stack:
        c = stack.enter_context(server.connect())
        for k, v in zip(keys, values):
            c.ok("SET", k, v)
        slow = slow_get(server, stack, c, keys[1])
        for name, operation in (("AND", operator.and_), ("OR", operator.or_), ("XOR", operator.xor)):
            assert c.cmd("BITOP", name, to, *keys) == BIG
            assert c.cmd("GET", to) == bits(operation, *values)
        assert c.cmd("BITOP", "XOR", keys[1], keys[1], keys[0]) == BIG
        assert c.cmd("GET", keys[1]) == bits(operator.xor, values[1], values[0])
        assert slow.read().value == values[1]
        assert c.cmd("BITOP", "OR", keys[1], b"missing") == 0
        assert c.cmd("EXISTS", *keys) == 2 and c.cmd("DEL", to, *keys) == 3


def test_memory_comes_back(against_redis_itself):
    """After keys have gone from shard to shard the server holds what it held."""
    if against_redis_itself:
        return
    with Server("anax", shards=3, options=FORGETFUL) as many, many.connect() as c:
        keys = [k for of_shard in spread(many, 2) for k in of_shard]
        rng = random.Random(9)

        def rounds(n):
            for _ in range(n):
                a, b = rng.choices(keys, k=2)
                c.cmd("SET", a, rng.randbytes(rng.choice([5, 500, 50000])))
                c.cmd(rng.choice(["RENAME", "COPY"]), a, b)
                c.cmd("BITOP", "XOR", *rng.choices(keys, k=3))
                c.cmd("GET", a)
            c.ok("FLUSHALL", "SYNC")

        rounds(50)
        before = many.settled()
        rounds(500)
        many.returns_to(before)
