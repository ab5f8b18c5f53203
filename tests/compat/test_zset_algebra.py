"""Unions, intersections and differences of sorted sets and sets, over one shard and over several, against redis-server 7.0;
and against a model for the aggregate that it lacks."""

import random

import pytest

import grammar
import streams
from harness import SLOW, Error
from test_zset import Draw as ZsetDraw
from test_zset import ROWS as ZSET_ROWS
from test_zset import Thresholds, draw_stream, run_stream, servers

LENGTH = 1200 if SLOW else 4000
SETS = [b"s0", b"s1", b"s2", b"{t}s"]
WEIGHTS = [b"1", b"2", b"0", b"-1", b"0.5", b"-0.25", b"3", b"inf", b"-inf"]


class Draw(ZsetDraw):
    """Of four sources out of ten that exist, one is a set; {t} keys meet on one shard."""

    def source(self):
        r = self.rng
        pick = r.random()
        if pick < 0.3:
            return r.choice(SETS)
        return self.key() if pick < 0.75 else r.choice([b"{t}a", b"{t}b", b"{t}s"])

    def sources(self):
        keys = [self.source() for _ in range(self.rng.choice([1, 2, 2, 2, 3, 4, 10]))]
        n = b"%d" % len(keys) if self.rng.random() < 0.96 else \
            self.rng.choice([b"0", b"-1", b"99", b"abc", b"", b"9223372036854775807", b"1"])
        return n, keys


def weights(d, n):
    r = d.rng
    parts = [d.word(b"WEIGHTS")] + [r.choice(WEIGHTS) for _ in range(n)]
    if r.random() < 0.04:
        parts[r.randrange(1, len(parts))] = r.choice([b"x", b"nan", b""])
    return parts if r.random() < 0.96 else parts[:-1]


def weighed(d, stores=False):
    n, keys = d.sources()
    parts = [n] + keys
    options = [weights(d, len(keys)) if d.rng.random() < 0.4 else [],
               d.some(0.4, d.word(b"AGGREGATE"), d.word(b"SUM", b"MIN", b"MAX", b"SUM", b"MIN", b"MAX", b"AVG")),
               d.some(0.05 if stores else 0.6, d.word(b"WITHSCORES"))]
    d.rng.shuffle(options)
    return parts + [word for option in options for word in option]


def plain(d, stores=False):
    n, keys = d.sources()
    return [n] + keys + d.some(0.05 if stores else 0.6, d.word(b"WITHSCORES")) + d.some(0.03, b"WEIGHTS", b"1", b"1")


def card(d):
    n, keys = d.sources()
    return [n] + keys + d.some(0.5, d.word(b"LIMIT"), d.rng.choice([b"0", b"1", b"2", b"5", b"1000", b"-1", b"x", b""])) + \
        d.some(0.03, b"WITHSCORES")


def stored(parts):
    return lambda d: [d.rng.choice([b"z0", b"z1", b"{t}a", b"{t}b", b"dst", b"s0"])] + parts(d, True)


def set_members(d):
    r = d.rng
    if r.random() < 0.5:
        return [b"%d" % r.randrange(-20, 60) for _ in range(r.choice([1, 5, 30]))]
    return [d.member() for _ in range(r.choice([1, 5, 30]))]


ROWS = [row for row in ZSET_ROWS if row.name in ("ZREM", "DEL", "SET", "ZREMRANGEBYRANK")] + [
    # without INCR, which would reply sums of weighed scores
    grammar.Row("ZADD", lambda d: [d.key()] + d.some(0.2, d.word(b"NX", b"XX")) + d.pairs(), "exact", 20, "none"),
    grammar.Row("SADD", lambda d: [d.rng.choice(SETS)] + set_members(d), "exact", 6, "none"),
    grammar.Row("SREM", lambda d: [d.rng.choice(SETS)] + set_members(d), "exact", 1, "none"),
    grammar.Row("DEL", lambda d: [d.rng.choice(SETS + [b"dst"])], "exact", 1, "none"),
    grammar.Row("ZUNION", weighed, "scores", 8, "tail"),
    grammar.Row("ZINTER", weighed, "scores", 8, "tail"),
    grammar.Row("ZDIFF", plain, "scores", 6, "tail"),
    grammar.Row("ZINTERCARD", card, "exact", 4, "tail"),
    grammar.Row("ZUNIONSTORE", stored(weighed), "exact", 5, "tail"),
    grammar.Row("ZINTERSTORE", stored(weighed), "exact", 5, "tail"),
    grammar.Row("ZDIFFSTORE", stored(plain), "exact", 4, "tail"),
    grammar.Row("OBJECT", lambda d: [b"ENCODING", d.rng.choice([b"z0", b"z1", b"{t}a", b"{t}b", b"dst"])], "exact", 2, "none"),
]


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_streams(pool, shards, proto):
    pair = streams.Pair(*servers(pool, shards, proto), proto)
    with Thresholds(*pair.servers) as t:
        for seed, (entries, value) in enumerate([(128, 64), (10, 64), (0, 64)]):
            t.set(entries, value)
            d = Draw(random.Random(7000 + 100 * shards + 10 * proto + seed))
            run_stream(pair, seed, draw_stream(d, ROWS, LENGTH))


SETUP = [["ZADD", "a", "1", "x", "2", "y", "3", "z", "inf", "i"], ["ZADD", "b", "10", "y", "20", "z", "30", "w", "-inf", "i"],
         ["SADD", "s", "x", "z", "7"], ["ZADD", "c", "5", "7"], ["SET", "text", "t"], ["SADD", "ints", "7", "8", "-3"]]
LINES = """
ZUNION 0 a
ZUNION -1 a
ZUNION x a
ZUNION 2 a
ZUNION 3 a b
ZUNION 9223372036854775807 a
ZUNION 1 a nosuch
ZUNION 1 text
ZUNION 2 a text nosuch
ZUNION 2 nosuch a WITHSCORES
ZUNION 1 nosuch WITHSCORES
ZUNION 2 a b
ZUNION 2 a b WITHSCORES
ZUNION 2 b a withscores aggregate max
ZUNION 2 a b AGGREGATE MIN WITHSCORES
ZUNION 2 a b AGGREGATE
ZUNION 2 a b AGGREGATE AVG
ZUNION 2 a b WEIGHTS 1
ZUNION 2 a b WEIGHTS 1 x
ZUNION 2 a b WEIGHTS 1 nan
ZUNION 2 a b WEIGHTS 1 2 3
ZUNION 2 a b WEIGHTS 2 -0.5 WITHSCORES
ZUNION 2 a b WEIGHTS 0 inf WITHSCORES
ZUNION 2 a b WEIGHTS inf -inf AGGREGATE MIN WITHSCORES
ZUNION 2 a b WEIGHTS 0 0 AGGREGATE MAX WITHSCORES
ZUNION 2 a b WEIGHTS 2 2 WEIGHTS 3 3 AGGREGATE MAX AGGREGATE MIN WITHSCORES WITHSCORES
ZUNION 2 a a WITHSCORES
ZUNION 3 s c a WITHSCORES
ZUNION 2 s ints WEIGHTS 2 3 WITHSCORES
ZUNION 2 s text
ZINTER 0 a
ZINTER 2 a text
ZINTER 2 a b
ZINTER 2 a b WITHSCORES
ZINTER 2 a b WITHSCORES AGGREGATE MIN
ZINTER 2 a b WEIGHTS 0 0 WITHSCORES
ZINTER 2 a b WEIGHTS 0 0 AGGREGATE MIN WITHSCORES
ZINTER 2 a b WEIGHTS inf 0 AGGREGATE MAX WITHSCORES
ZINTER 2 a a WEIGHTS 1 -1 WITHSCORES
ZINTER 3 a s b WITHSCORES
ZINTER 2 s ints WITHSCORES
ZINTER 2 a nosuch
ZINTER 1 a WITHSCORES
ZINTER 1 s WITHSCORES
ZDIFF 0 a
ZDIFF 2 a text
ZDIFF 2 a b
ZDIFF 2 a b WITHSCORES
ZDIFF 3 b s a WITHSCORES
ZDIFF 2 s a WITHSCORES
ZDIFF 2 a a
ZDIFF 2 nosuch a
ZDIFF 1 a WITHSCORES
ZDIFF 2 a b WEIGHTS 1 1
ZDIFF 2 a b AGGREGATE MIN
ZINTERCARD 0 a
ZINTERCARD 2 a b
ZINTERCARD 2 a b LIMIT
ZINTERCARD 2 a b LIMIT 1
ZINTERCARD 2 a b LIMIT 0
ZINTERCARD 2 a b LIMIT -1
ZINTERCARD 2 a b LIMIT x
ZINTERCARD 2 a b LIMIT 1 LIMIT 2
ZINTERCARD 2 a b WITHSCORES
ZINTERCARD 2 a b WEIGHTS 1 1
ZINTERCARD 2 a text
ZINTERCARD 2 a nosuch
ZUNIONSTORE d 0 a
ZUNIONSTORE d x a
ZUNIONSTORE d 3 a b
ZUNIONSTORE d 2 a text
ZUNIONSTORE text 2 a b
ZUNIONSTORE a 2 a b
ZUNIONSTORE s 2 s c
ZUNIONSTORE d 2 a b WITHSCORES
ZUNIONSTORE d 2 a b WEIGHTS 2 0.5 AGGREGATE MAX
ZUNIONSTORE a 1 nosuch
ZUNIONSTORE d 1 nosuch
ZINTERSTORE d 2 a b
ZINTERSTORE a 2 a nosuch
ZINTERSTORE b 3 a b s
ZINTERSTORE d 2 a b WEIGHTS 1
ZINTERSTORE d -5 a b
ZDIFFSTORE d 2 a b
ZDIFFSTORE a 2 a a
ZDIFFSTORE d 2 a b AGGREGATE SUM
ZDIFFSTORE d 2 a text
ZDIFFSTORE d 99 a
""".strip().splitlines()


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("shards", [1, 2, 8])
@pytest.mark.parametrize("tag", ["", "{t}"])
def test_every_reply(pool, shards, proto, tag):
    """Each line on the same keys, made anew, spread or on one shard; then what the destinations hold."""
    names = {"a", "b", "c", "d", "s", "ints", "text", "nosuch"}

    def tagged(words):
        first = words[0]
        if first.startswith("Z") and first not in ("ZADD", "ZRANGE"):
            return [first] + [tag + w if w in names else w for w in words[1:]]
        return [first, tag + words[1]] + words[2:] if len(words) > 1 else words

    pair = streams.Pair(*servers(pool, shards, proto), proto)
    pair.reset()
    told = []
    for c in pair.conns:
        requests = []
        for line in LINES:
            requests += [["FLUSHALL"]] + [tagged(words) for words in SETUP] + [tagged(line.split(" "))]
            requests += [tagged(["ZRANGE", k, "0", "-1", "WITHSCORES"]) for k in ("a", "b", "d", "s", "text")]
        replies = [r.raw for r in c.pipeline(requests)]
        per = len(requests) // len(LINES)
        told.append([replies[i * per + 1 + len(SETUP) : (i + 1) * per] for i in range(len(LINES))])
    for line, ours, theirs in zip(LINES, *told):
        assert ours == theirs, line


def fill(c, key, scores):
    items = list(scores.items())
    for at in range(0, len(items), 1000):
        c.cmd("ZADD", key, *[p for m, s in items[at : at + 1000] for p in (repr(s), m)])


def ordered(scores):
    return [p for m, s in sorted(scores.items(), key=lambda e: (e[1], e[0])) for p in (m, b"%d" % s)]


@pytest.mark.parametrize("shards", [1, 3])
def test_large_ones_against_a_model(pool, shards):
    """Trees, and a set of integers: results of thousands of members; the first of a difference large, and small."""
    n = 1000 if SLOW else 6000
    rng = random.Random(shards)
    server = pool.get("anax", shards, "uring")
    a = {b"m%d" % i: rng.randrange(1000) for i in range(n)}
    b = {b"m%d" % i: rng.randrange(1000) for i in range(n // 2, 2 * n)}
    few = {b"m%d" % (i * 17): 3 for i in range(10)}
    ints = {b"%d" % i: 1 for i in range(0, 3 * n, 3)}
    with server.connect() as c:
        c.ok("FLUSHALL")
        for key, scores in (("a", a), ("b", b), ("few", few)):
            fill(c, key, scores)
        c.cmd("SADD", "ints", *ints)
        c.cmd("ZADD", "sevens", *[p for i in range(0, n, 7) for p in (str(i), str(i))])
        sevens = {b"%d" % i: i for i in range(0, n, 7)}
        union = {m: a.get(m, 0) + 2 * b.get(m, 0) for m in a.keys() | b.keys()}
        assert c.cmd("ZUNION", "2", "a", "b", "WEIGHTS", "1", "2", "WITHSCORES") == ordered(union)
        assert c.cmd("ZUNIONSTORE", "d", "3", "a", "few", "ints") == len(a.keys() | few.keys() | ints.keys())
        union = {m: a.get(m, 0) + few.get(m, 0) + ints.get(m, 0) for m in a.keys() | few.keys() | ints.keys()}
        assert c.cmd("ZRANGE", "d", "0", "-1", "WITHSCORES") == ordered(union)
        inter = {m: max(a[m], b[m]) for m in a.keys() & b.keys()}
        assert c.cmd("ZINTER", "2", "b", "a", "AGGREGATE", "MAX", "WITHSCORES") == ordered(inter)
        inter = {m: sevens[m] + 1 for m in sevens.keys() & ints.keys()}
        assert c.cmd("ZINTER", "2", "ints", "sevens", "WITHSCORES") == ordered(inter)
        assert c.cmd("ZINTERCARD", "2", "a", "b") == len(a.keys() & b.keys())
        assert c.cmd("ZINTERCARD", "2", "a", "b", "LIMIT", "17") == 17
        diff = {m: s for m, s in a.items() if m not in b}
        assert c.cmd("ZDIFF", "2", "a", "b", "WITHSCORES") == ordered(diff)
        diff = {m: s for m, s in a.items() if m not in few}
        assert c.cmd("ZDIFF", "6", "a", "few", "few", "nosuch", "few", "sevens", "WITHSCORES") == ordered(diff)
        diff = {m: s for m, s in sevens.items() if m not in ints}
        assert c.cmd("ZDIFFSTORE", "d", "3", "sevens", "a", "ints") == len(diff)
        assert c.cmd("ZRANGE", "d", "0", "-1", "WITHSCORES") == ordered(diff)
        # more sources than are kept on the stack
        assert c.cmd("ZUNIONSTORE", "d", "20", *["few"] * 20) == len(few)
        assert c.cmd("ZRANGE", "d", "0", "-1", "WITHSCORES") == ordered({m: 60 for m in few})
        c.ok("FLUSHALL")


@pytest.mark.parametrize("shards", [1, 3])
def test_counting_aggregate(pool, shards, against_redis_itself):
    """AGGREGATE COUNT of Redis 8.8: scores do not matter, the weights of the sets that have a member are added."""
    if against_redis_itself:
        return
    with pool.get("anax", shards, "uring").connect() as c:
        c.ok("FLUSHALL")
        c.cmd("ZADD", "a", "99", "x", "2", "y", "inf", "i")
        c.cmd("ZADD", "b", "5", "y", "6", "z", "-inf", "i")
        c.cmd("SADD", "s", "y", "7")
        assert c.cmd("ZUNION", "3", "a", "b", "s", "AGGREGATE", "COUNT", "WITHSCORES") == \
            [b"7", b"1", b"x", b"1", b"z", b"1", b"i", b"2", b"y", b"3"]
        assert c.cmd("ZUNION", "3", "a", "b", "s", "WEIGHTS", "10", "1", "0.5", "AGGREGATE", "count", "WITHSCORES") == \
            [b"7", b"0.5", b"z", b"1", b"x", b"10", b"i", b"11", b"y", b"11.5"]
        assert c.cmd("ZINTER", "2", "a", "b", "AGGREGATE", "COUNT", "WITHSCORES") == [b"i", b"2", b"y", b"2"]
        assert c.cmd("ZINTERSTORE", "d", "2", "a", "b", "WEIGHTS", "inf", "-inf", "AGGREGATE", "COUNT") == 2
        assert c.cmd("ZRANGE", "d", "0", "-1", "WITHSCORES") == [b"i", b"0", b"y", b"0"]
        reply = c.cmd("ZDIFF", "2", "a", "b", "AGGREGATE", "COUNT")
        assert isinstance(reply, Error) and reply == b"ERR syntax error"


KEYS_OF = ["ZUNION 2 a b", "ZUNION 2 a b WEIGHTS 1 2", "ZINTERCARD 1 a LIMIT 2", "ZMPOP 2 a b MIN", "ZMPOP 1 a MAX COUNT 2",
           "ZUNIONSTORE d 2 a b", "ZUNIONSTORE d 1 a AGGREGATE MAX", "ZDIFFSTORE 2 2 2 2", "ZINTERSTORE d 3 a b c",
           "ZRANGESTORE d s 0 -1", "ZUNION 0 a", "ZUNION 3 a b", "ZUNIONSTORE d 0 a", "ZUNIONSTORE d 3 a b",
           "ZMPOP 0 a MIN", "ZADD z 1 a"]


@pytest.mark.parametrize("call", KEYS_OF)
def test_keys_are_those_that_redis_finds(anax2, redis, call):
    for sub in ("GETKEYS", "GETKEYSANDFLAGS"):
        args = ["COMMAND", sub] + call.split(" ")
        with anax2.connect() as a, redis.connect() as r:
            assert a.cmd(*args) == r.cmd(*args)


@pytest.mark.parametrize("shards", [2, 8])
def test_inside_transactions(pool, shards):
    """Keys on several shards, in MULTI, and WATCH on a destination."""
    with pool.get("anax", shards, "uring").connect() as c, pool.get("anax", shards, "uring").connect() as other:
        c.ok("FLUSHALL")
        keys = ["k%d" % i for i in range(12)]
        c.ok("MULTI")
        for i, k in enumerate(keys):
            c.cmd("ZADD", k, i, "m", 1, "own%d" % i)
        c.cmd("ZUNIONSTORE", "d", len(keys), *keys)
        c.cmd("ZINTER", len(keys), *keys, "WITHSCORES")
        c.cmd("ZMPOP", len(keys) + 1, "nosuch", *keys, "MAX")
        c.cmd("ZRANGESTORE", "e", "d", 0, 2)
        c.cmd("ZUNION", "1", "nosuch", "ZZ")
        replies = c.cmd("EXEC")
        assert replies[12:16] == [13, [b"m", b"66"], [b"k0", [[b"own0", b"1"]]], 3]
        assert replies[16] == b"ERR syntax error"
        for command, changes in [(("ZUNIONSTORE", "d", "1", "nosuch"), True), (("ZUNIONSTORE", "d", "1", "nosuch"), False),
                                 (("ZDIFFSTORE", "d", "2", "k1", "k2"), True), (("ZMPOP", "2", "nosuch", "d", "MIN"), True),
                                 (("ZADD", "d", "XX", "1", "nosuch"), False), (("ZRANGESTORE", "d", "k3", "0", "0"), True),
                                 (("ZREM", "d", "nosuch"), False), (("ZADD", "d", "1", "a"), True), (("ZADD", "d", "1", "a"), False)]:
            c.ok("WATCH", "d")
            other.cmd(*command)
            c.ok("MULTI")
            c.cmd("PING")
            assert isinstance(c.cmd("EXEC"), list) != changes, command
