"""Sorted sets against redis-server 7.0, and against a model for what it lacks.

Streams    commands of the whole family on few keys, so that they meet each other's values, in both encodings and over
           the thresholds. Scores are dyadic fractions: 7.0 prints 17 digits where Redis 8 and Anax print the
           fewest that read back.
"""

import collections
import math
import random

import pytest

import compare
import grammar
import streams
from harness import NULL_ARRAY, SLOW, Double, Error

LENGTH = 2000 if SLOW else 6000
KEYS = [b"z0", b"z1", b"z2", b"{t}a", b"{t}b"]
LEX_KEYS = [b"l0", b"l1", b"{t}l"]  # all their scores are equal, as the commands by name want it
WRONG = b"text"
MEMBERS = [b"", b"a", b"b", b"c", b"aa", b"ab", b"b\x00", b"\xff", b"-1", b"0", b"7", b"42", b"007", b"-9223372036854775808",
           b"9223372036854775807", b"x" * 63, b"y" * 64]
LONG = [b"v" * 65, b"w" * 300]
GARBAGE = [b"", b"abc", b"-1", b"0", b"1.5", b"nan", b"inf", b" 1", b"1 ", b"+1", b"01", b"0x10", b"1e3", b"--1", b"(", b"(1",
           b"[a", b"(a", b"-", b"+", b"+a", b"NX", b"XX", b"LIMIT", b"WITHSCORES", b"nosuch", b"\r\n", b"x" * 70,
           b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808"]
SCORES = [b"0", b"1", b"2", b"3", b"-1", b"-2.5", b"0.5", b"1.25", b"-0.125", b"1e3", b"100000", b"inf", b"-inf", b"+inf", b"+3",
          b"12345678.5", b"0x10", b"007"]
NOT_SCORES = [b"nan", b"abc", b"", b" 1", b"1 ", b"1e400", b"(1", b"1\x00"]


DIGITS_EXACT = 15


def same_scores(ours, theirs):
    """Sums of sums need more digits than 7.0 and Redis 8 print alike; what is shorter is compared as text. A zero loses its
    sign in a listpack, since Redis 7.2."""
    if compare.kind(ours) != compare.kind(theirs):
        return False
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same_scores, ours, theirs))
    if {ours, theirs} == {b"0", b"-0"}:
        return True
    if ours == theirs or not isinstance(theirs, bytes) or isinstance(theirs, Error) or \
            max(len(ours), len(theirs)) <= DIGITS_EXACT:
        return ours == theirs
    try:
        return float(ours) == float(theirs)
    except ValueError:
        return False


compare.COMPARISONS["scores"] = same_scores


class Draw(grammar.Draw):
    def key(self):
        r = self.rng
        if r.random() < 0.02:
            return WRONG
        return r.choice(KEYS) if r.random() < 0.95 else b"nosuch%d" % r.randrange(3)

    def lex_key(self):
        return self.rng.choice(LEX_KEYS)

    def member(self):
        r = self.rng
        pick = r.random()
        if pick < 0.4:
            return r.choice(MEMBERS)
        if pick < 0.42:
            return r.choice(LONG)
        return b"m%d" % r.randrange(20) if pick < 0.8 else b"%d" % r.randrange(-5, 20)

    def score(self):
        r = self.rng
        if r.random() < 0.02:
            return r.choice(NOT_SCORES)
        return r.choice(SCORES) if r.random() < 0.5 else b"%d" % r.randint(-6, 6)

    def bound(self):
        r = self.rng
        text = r.choice([b"-inf", b"+inf", b"inf", b"0", b"1", b"-2.5", b"3", b"1000", b"-100", b"0.5", b"0.25", b""])
        if r.random() < 0.02:
            return r.choice([b"abc", b"nan", b"(nan", b"((1", b"1 ", b"[1", b"1e400", b" 1"])
        return b"(" + text if r.random() < 0.3 else text

    def lex(self):
        r = self.rng
        pick = r.random()
        if pick < 0.35:
            return r.choice([b"-", b"+"])
        if pick < 0.37:
            return r.choice([b"", b"a", b"-a", b"++", b"["])
        return r.choice([b"[", b"("]) + self.member()

    def rank(self):
        r = self.rng
        if r.random() < 0.95:
            return b"%d" % r.choice([0, 0, 1, 2, 3, 5, 9, 50, -1, -1, -2, -3, -10, -200])
        return r.choice([b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"abc", b"1.5", b""])

    def limit(self, p=0.4):
        r = self.rng
        if r.random() >= p:
            return []
        word = self.word(b"LIMIT")
        if r.random() < 0.04:
            return [word, b"x", b"1"]
        return [word, b"%d" % r.choice([0, 0, 1, 2, 5, 100, -1, -5]), b"%d" % r.choice([0, 1, 2, 3, 10, 100, -1, -2])]

    def pairs(self):
        r = self.rng
        n = r.choice([1, 1, 1, 2, 3, 5, 12, 20, 40])
        return [part for _ in range(n) for part in (self.score(), self.member())]


def add_options(d):
    parts = d.some(0.15, d.word(b"NX", b"XX")) + d.some(0.15, d.word(b"GT", b"LT")) + d.some(0.2, d.word(b"CH"))
    return parts + d.some(0.03, d.word(b"GT", b"LT", b"NX", b"XX"))


def zadd(d):
    if d.rng.random() < 0.15:
        return [d.key()] + add_options(d) + [d.word(b"INCR"), d.score(), d.member()] + d.some(0.02, b"1", b"a")
    return [d.key()] + add_options(d) + d.pairs()


def zadd_lex(d):
    return [d.lex_key()] + [part for _ in range(d.rng.choice([1, 3, 10, 40])) for part in (b"0", d.member())]


def range_words(d, key, scores=True):
    """<key> min max and options of ZRANGE; scores: whether WITHSCORES is allowed."""
    with_scores = d.some(0.4, d.word(b"WITHSCORES")) if scores else []
    pick = d.rng.randrange(3)
    if pick == 0:
        return [key, d.rank(), d.rank()] + d.some(0.3, d.word(b"REV")) + with_scores + d.limit(0.03)
    if pick == 1:
        return [key, d.bound(), d.bound(), d.word(b"BYSCORE")] + d.some(0.4, d.word(b"REV")) + d.limit() + with_scores
    lex_key = d.lex_key()
    return [lex_key, d.lex(), d.lex()] + d.some(0.4, d.word(b"REV")) + [d.word(b"BYLEX")] + d.limit() + \
        d.some(0.05, d.word(b"WITHSCORES"))


def zrangestore(d):
    words = range_words(d, d.key(), False)
    lex = words[0] in LEX_KEYS
    return [d.lex_key() if lex else d.rng.choice(KEYS)] + words


def zmpop(d):
    keys = [d.key() for _ in range(d.rng.choice([1, 1, 2, 3, 5]))]
    n = b"%d" % len(keys) if d.rng.random() < 0.95 else d.rng.choice([b"0", b"-1", b"9", b"abc", b"9223372036854775807"])
    return [n] + keys + [d.word(b"MIN", b"MAX")] + d.some(0.5, d.word(b"COUNT"), d.rng.choice([b"1", b"2", b"10", b"0", b"x"]))


def pop(d):
    return [d.key()] + d.some(0.5, d.rng.choice([b"0", b"1", b"2", b"5", b"1000", b"-1", b"abc", b"9223372036854775807"]))


ROWS = [
    grammar.Row("ZADD", zadd, "exact", 24, "any"),
    grammar.Row("ZADD", zadd_lex, "exact", 8, "none"),
    grammar.Row("ZINCRBY", lambda d: [d.key(), d.score(), d.member()], "exact", 5, "any"),
    grammar.Row("ZREM", lambda d: [d.key()] + [d.member() for _ in range(d.rng.choice([1, 1, 2, 10]))], "exact", 4, "any"),
    grammar.Row("ZCARD", lambda d: [d.key()], "exact", 2, "any"),
    grammar.Row("ZSCORE", lambda d: [d.key(), d.member()], "exact", 3, "any"),
    grammar.Row("ZMSCORE", lambda d: [d.key()] + [d.member() for _ in range(d.rng.randint(1, 5))], "exact", 2, "any"),
    # not "any": 7.0 knows no more than the member
    grammar.Row("ZRANK", lambda d: [d.key(), d.member()], "exact", 3, "none"),
    grammar.Row("ZREVRANK", lambda d: [d.key(), d.member()], "exact", 3, "none"),
    grammar.Row("ZRANGE", lambda d: range_words(d, d.key()), "exact", 10, "any"),
    grammar.Row("ZREVRANGE", lambda d: [d.key(), d.rank(), d.rank()] + d.some(0.4, d.word(b"WITHSCORES")), "exact", 3, "any"),
    grammar.Row("ZRANGEBYSCORE", lambda d: [d.key(), d.bound(), d.bound()] + d.some(0.4, d.word(b"WITHSCORES")) + d.limit(),
                "exact", 4, "any"),
    grammar.Row("ZREVRANGEBYSCORE", lambda d: [d.key(), d.bound(), d.bound()] + d.limit() + d.some(0.4, d.word(b"WITHSCORES")),
                "exact", 4, "any"),
    grammar.Row("ZRANGEBYLEX", lambda d: [d.lex_key(), d.lex(), d.lex()] + d.limit(), "exact", 3, "tail"),
    grammar.Row("ZREVRANGEBYLEX", lambda d: [d.lex_key(), d.lex(), d.lex()] + d.limit(), "exact", 3, "tail"),
    grammar.Row("ZRANGESTORE", zrangestore, "exact", 2, "tail"),
    grammar.Row("ZCOUNT", lambda d: [d.key(), d.bound(), d.bound()], "exact", 3, "any"),
    grammar.Row("ZLEXCOUNT", lambda d: [d.lex_key(), d.lex(), d.lex()], "exact", 3, "tail"),
    grammar.Row("ZREMRANGEBYRANK", lambda d: [d.key(), d.rank(), d.rank()], "exact", 0.5, "any"),
    grammar.Row("ZREMRANGEBYSCORE", lambda d: [d.key(), d.bound(), d.bound()], "exact", 0.5, "any"),
    grammar.Row("ZREMRANGEBYLEX", lambda d: [d.lex_key(), d.lex(), d.lex()], "exact", 0.5, "tail"),
    grammar.Row("ZPOPMIN", pop, "exact", 1, "any"),
    grammar.Row("ZPOPMAX", pop, "exact", 1, "any"),
    grammar.Row("ZPOPMIN", lambda d: [d.lex_key()] + d.some(0.5, b"2"), "exact", 1, "none"),
    grammar.Row("ZMPOP", zmpop, "exact", 2, "tail"),
    grammar.Row("ZRANDMEMBER", lambda d: [d.key()], "presence", 1, "none"),
    grammar.Row("ZRANDMEMBER", lambda d: [d.key(), b"100000"], "unordered", 1, "none"),
    grammar.Row("ZRANDMEMBER", lambda d: [d.key(), d.rng.choice([b"0", b"x", b"-9223372036854775808", b"1.5"])]
                + d.some(0.5, d.word(b"WITHSCORES", b"ZZ")), "exact", 1, "none"),
    grammar.Row("ZSCAN", lambda d: [d.key(), d.rng.choice([b"abc", b"-", b"0x", b" 0"])], "exact", 0.5, "none"),
    grammar.Row("ZSCAN", lambda d: [d.key(), b"0", d.rng.choice([b"COUNT", b"ZZ", b"MATCH"])]
                + d.some(0.8, d.rng.choice([b"0", b"-1", b"x"])), "scan", 0.5, "none"),
    grammar.Row("OBJECT", lambda d: [d.word(b"ENCODING"), d.rng.choice(KEYS + LEX_KEYS)], "exact", 6, "none"),
    grammar.Row("TYPE", lambda d: [d.key()], "exact", 1, "none"),
    grammar.Row("EXISTS", lambda d: [d.key(), d.lex_key()], "exact", 1, "none"),
    grammar.Row("DEL", lambda d: [d.rng.choice(KEYS + LEX_KEYS)], "exact", 0.5, "none"),
    grammar.Row("SET", lambda d: [WRONG, b"a text"], "exact", 1, "none"),
]


def mutate(d, row, args):
    """Breaks one argument; those of 7.0's scores that print otherwise are not in GARBAGE."""
    r = d.rng
    pick = r.random()
    if row.mutate == "none":
        return args
    if pick < 0.35:
        return args + [r.choice(GARBAGE)]
    if row.mutate == "tail" or len(args) < 3:
        return args
    if pick < 0.6:
        del args[r.randrange(2, len(args))]
    elif row.name not in ("ZADD", "ZINCRBY"):
        args[r.randrange(2, len(args))] = r.choice(GARBAGE)
    else:
        args[r.randrange(2, len(args))] = r.choice([g for g in GARBAGE if not g.lstrip(b"-").startswith(b"922")])
    return args


def draw_stream(d, rows, n, mutations=0.06):
    weights = [row.weight for row in rows]
    out = []
    for row in d.rng.choices(rows, weights, k=n):
        name = row.name.encode()
        args = [name.lower() if d.rng.random() < 0.1 else name] + row.parts(d)
        out.append((row, mutate(d, row, args) if d.rng.random() < mutations else args))
    return out


def run_stream(pair, seed, commands):
    """Runs them on both; what differs is told with the shortest stream that still shows it."""
    pair.reset()
    try:
        for at, depth in streams.depths(random.Random(seed), len(commands)):
            pair.run(commands[at : at + depth], at)
        compare_values(pair)
    except streams.Mismatch as m:
        short, last = streams.shrink(pair, commands[: m.index + 1], m)
        raise AssertionError("seed %d: replies differ\n%s\nshortest stream:\n%s" % (
            seed, last, "\n".join("  " + streams.show(a) for _, a in short[-streams.SHOWN:]))) from None


def compare_values(pair):
    """Everything that is stored is the same on both, member for member."""
    states = []
    for c in pair.conns:
        keys = sorted(streams.scan_all(c, "TYPE", "zset"))
        replies = c.pipeline([p for k in keys for p in (["ZRANGE", k, "0", "-1", "WITHSCORES"], ["OBJECT", "ENCODING", k])])
        states.append({k: tuple(r.value for r in replies[2 * i : 2 * i + 2]) for i, k in enumerate(keys)})
    assert states[0].keys() == states[1].keys()
    for key in states[0]:
        for ours, theirs in zip(states[0][key], states[1][key]):
            assert same_scores(ours, theirs), (key, ours, theirs)


def servers(pool, shards, proto):
    return pool.get("anax", shards, "uring" if proto == 2 else "epoll"), pool.get("redis")


class Thresholds:
    """zset-max-listpack-* on several servers, and the defaults afterwards."""

    def __init__(self, *of):
        self.of = of

    def set(self, entries, value):
        for s in self.of:
            assert s.cmd("CONFIG", "SET", "zset-max-listpack-entries", entries, "zset-max-listpack-value", value) == b"OK"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.set(128, 64)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_streams(pool, shards, proto):
    pair = streams.Pair(*servers(pool, shards, proto), proto)
    with Thresholds(*pair.servers) as t:
        for seed, (entries, value) in enumerate([(128, 64), (8, 20), (0, 64)]):
            t.set(entries, value)
            d = Draw(random.Random(1000 * shards + 10 * proto + seed))
            run_stream(pair, seed, draw_stream(d, ROWS, LENGTH))


# --- texts of errors, and shapes, one by one ---------------------------------------------------------

SETUP = [["ZADD", "z", "1", "a", "2", "b", "2", "c", "3.5", "d", "inf", "e"], ["SET", "s", "text"], ["SADD", "set", "a", "7"],
         ["ZADD", "lex", "0", "a", "0", "b", "0", "c", "0", "d", "0", "10", "0", ""]]
LINES = """
ZADD z
ZADD z 1
ZADD z 1 a 2
ZADD z NX XX 1 a
ZADD z XX NX 1 a
ZADD z NX GT 1 a
ZADD z LT NX 1 a
ZADD z GT LT 1 a
ZADD z NX
ZADD z CH
ZADD z NX 1
ZADD z INCR 1 a 2 b
ZADD z INCR INCR 1 a
ZADD z incr ch xx gt 1 a
ZADD z NX INCR 1 a
ZADD z XX INCR 1 nosuch
ZADD nosuch XX INCR 1 a
ZADD nosuch XX 1 a
ZADD nosuch GT 1 a
ZADD z GT INCR -1 a
ZADD z LT INCR 1 a
ZADD z INCR -inf e
ZADD z 1 a x b
ZADD z nan a
ZADD s 1 a
ZADD s x a
ZADD s NX XX 1 a
ZADD z CH 5 a 6 a 7 new
ZADD z GT CH 0 a 9 b
ZADD z LT CH 0 a 19 b
ZADD nx NX CH 0 a 19 a
ZADD nx 1e308 big
ZADD nx INCR 1e308 big
ZINCRBY z x a
ZINCRBY z nan a
ZINCRBY z -inf e
ZINCRBY z nx a
ZINCRBY z incr a
ZINCRBY z inf e
ZINCRBY z 1.25 a
ZINCRBY s 1 a
ZINCRBY new -0.5 m
ZREM z
ZREM z a a nosuch
ZREM s a
ZREM nosuch a b
ZREM z a b c d e
ZCARD s
ZCARD nosuch
ZCARD z
ZSCORE s a
ZSCORE nosuch a
ZSCORE z nosuch
ZSCORE z e
ZSCORE z d
ZMSCORE s a
ZMSCORE nosuch a b
ZMSCORE z a nosuch e
ZRANK s a
ZRANK nosuch a
ZRANK z nosuch
ZRANK z c
ZREVRANK z c
ZRANGE z 0
ZRANGE z 0 x
ZRANGE z x 0
ZRANGE z 0 -1 nosuch
ZRANGE z 0 -1 WITHSCORES WITHSCORES
ZRANGE z 0 -1 REV REV
ZRANGE z 0 -1 REV WITHSCORES
ZRANGE z 0 -1 LIMIT 0 1
ZRANGE z 0 -1 LIMIT 0 -1
ZRANGE z 0 -1 LIMIT 0
ZRANGE z 0 -1 LIMIT x 1
ZRANGE z 0 -1 BYSCORE LIMIT 0 x
ZRANGE z 0 -1 BYSCORE BYLEX
ZRANGE z 0 -1 BYSCORE BYSCORE
ZRANGE z 0 -1 BYLEX
ZRANGE z a b BYSCORE
ZRANGE z (1 (3 BYSCORE
ZRANGE z (3 (1 BYSCORE REV WITHSCORES
ZRANGE z -inf +inf BYSCORE LIMIT 1 2 WITHSCORES
ZRANGE z -inf +inf BYSCORE LIMIT -1 2
ZRANGE z -inf +inf BYSCORE LIMIT 1 -5
ZRANGE z +inf -inf BYSCORE LIMIT 1 2 REV
ZRANGE z 9223372036854775807 -1
ZRANGE z -9223372036854775808 9223372036854775807
ZRANGE lex - + BYLEX WITHSCORES
ZRANGE lex - + BYLEX LIMIT 2 2
ZRANGE lex + - BYLEX LIMIT 2 2 REV
ZRANGE lex [a (c BYLEX
ZRANGE lex (c [a BYLEX REV
ZRANGE lex + - BYLEX
ZRANGE lex - - BYLEX
ZRANGE lex + + BYLEX
ZRANGE lex -a + BYLEX
ZRANGE lex ( + BYLEX
ZRANGE lex [ [ BYLEX
ZRANGE s 0 -1
ZRANGE s 0 x
ZRANGE nosuch 0 -1 WITHSCORES
ZREVRANGE z 0 -1 REV
ZREVRANGE z 0 1 WITHSCORES
ZREVRANGE z 0 1 LIMIT 0 1
ZREVRANGE z 0 1 BYSCORE
ZRANGEBYSCORE z 1 2 BYSCORE
ZRANGEBYSCORE z 1 2 REV
ZRANGEBYSCORE z 1 (2 WITHSCORES LIMIT 0 1
ZRANGEBYSCORE z 1 inf LIMIT 0
ZRANGEBYSCORE s 1 2
ZRANGEBYSCORE s x 2
ZREVRANGEBYSCORE z 2 1 WITHSCORES
ZREVRANGEBYSCORE z 1 2
ZRANGEBYLEX lex - +
ZRANGEBYLEX lex - + WITHSCORES
ZRANGEBYLEX lex a b
ZREVRANGEBYLEX lex + - LIMIT 1 1
ZREVRANGEBYLEX lex [c [a
ZCOUNT z x 1
ZCOUNT z 1 nan
ZCOUNT z (1 3.5
ZCOUNT z 3 1
ZCOUNT s 1 2
ZCOUNT nosuch 1 2
ZLEXCOUNT lex - +
ZLEXCOUNT lex [b (d
ZLEXCOUNT lex b d
ZLEXCOUNT s - +
ZLEXCOUNT nosuch - +
ZREMRANGEBYRANK z x 1
ZREMRANGEBYRANK z 0 0
ZREMRANGEBYRANK z -1 -1
ZREMRANGEBYRANK z 5 1
ZREMRANGEBYRANK s 0 1
ZREMRANGEBYSCORE z x 1
ZREMRANGEBYSCORE z (1 2
ZREMRANGEBYSCORE nosuch 1 2
ZREMRANGEBYLEX lex x 1
ZREMRANGEBYLEX lex [a (c
ZREMRANGEBYLEX lex - +
ZRANGESTORE d z 0
ZRANGESTORE d z 0 -1 WITHSCORES
ZRANGESTORE d z 0 -1
ZRANGESTORE z z 1 2
ZRANGESTORE s z 0 0 REV
ZRANGESTORE z nosuch 0 -1
ZRANGESTORE d s 0 -1
ZRANGESTORE d z (1 3 BYSCORE LIMIT 1 1
ZRANGESTORE d z 3 (1 BYSCORE LIMIT 1 1 REV
ZRANGESTORE d lex - (c BYLEX
ZRANGESTORE d z 0 -1 LIMIT 0 1
ZRANGESTORE d z x y BYSCORE
ZPOPMIN z 1 2
ZPOPMIN z -1
ZPOPMIN z x
ZPOPMIN s
ZPOPMIN s 0
ZPOPMIN s -1
ZPOPMIN nosuch
ZPOPMIN nosuch 5
ZPOPMIN z 0
ZPOPMIN z
ZPOPMIN z 1
ZPOPMIN z 2
ZPOPMAX z
ZPOPMAX z 2
ZPOPMAX z 100
ZMPOP 0 z MIN
ZMPOP -1 z MIN
ZMPOP x z MIN
ZMPOP 1 z
ZMPOP 2 z MIN
ZMPOP 1 z nosuch
ZMPOP 1 z MIN COUNT
ZMPOP 1 z MIN COUNT 0
ZMPOP 1 z MIN COUNT -1
ZMPOP 1 z MIN COUNT x
ZMPOP 1 z MIN COUNT 1 COUNT 2
ZMPOP 1 z MIN nosuch 1
ZMPOP 1 nosuch MIN
ZMPOP 2 nosuch z MAX COUNT 2
ZMPOP 3 nosuch s z MAX
ZMPOP 3 nosuch z s MIN COUNT 100
ZMPOP 2 z z MIN
ZRANDMEMBER s
ZRANDMEMBER nosuch
ZRANDMEMBER nosuch 5
ZRANDMEMBER nosuch -5 WITHSCORES
ZRANDMEMBER z 0
ZRANDMEMBER z 0 WITHSCORES
ZRANDMEMBER z x
ZRANDMEMBER z 1 x
ZRANDMEMBER z 1 WITHSCORES x
ZRANDMEMBER z x WITHSCORES x
ZRANDMEMBER z -9223372036854775808
ZRANDMEMBER z 9223372036854775807 WITHSCORES
ZRANDMEMBER z -9223372036854775807 WITHSCORES
ZSCAN z x
ZSCAN z 0 COUNT 0
ZSCAN z 0 COUNT x
ZSCAN z 0 COUNT
ZSCAN z 0 MATCH
ZSCAN z 0 nosuch
ZSCAN s 0
ZSCAN nosuch 0
ZSCAN nosuch 0 nosuch
ZSCAN nosuch 17
ZSCAN z 0
ZSCAN z 0 MATCH [a-b]
ZSCAN z 99
""".strip().splitlines()


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("shards", [1, 3])
def test_every_reply(pool, shards, proto):
    """Each line on the same keys, made anew; then what the keys hold."""
    pair = streams.Pair(*servers(pool, shards, proto), proto)
    pair.reset()
    told = []
    for c in pair.conns:
        requests = []
        for line in LINES:
            requests += [["FLUSHALL"]] + SETUP + [line.split(" ")]
            requests += [["ZRANGE", k, "0", "-1", "WITHSCORES"] for k in ("z", "lex", "d", "new")] + [["TYPE", "s"]]
        replies = [r.raw for r in c.pipeline(requests)]
        per = len(requests) // len(LINES)
        told.append([replies[i * per + 1 + len(SETUP) : (i + 1) * per] for i in range(len(LINES))])
    for line, ours, theirs in zip(LINES, *told):
        assert ours == theirs, line


# --- what 7.0 lacks, or prints otherwise ------------------------------------------------------------

@pytest.mark.parametrize("entries", [128, 0])
def test_rank_with_score(anax2, entries, against_redis_itself):
    if against_redis_itself:
        return
    with Thresholds(anax2) as t, anax2.connect() as c:
        t.set(entries, 64)
        c.cmd("ZADD", "z", "1", "a", "2.5", "b", "inf", "c")
        c.ok("SET", "s", "text")
        assert c.cmd("ZRANK", "z", "b", "withscore") == [1, b"2.5"]
        assert c.cmd("ZREVRANK", "z", "b", "WITHSCORE") == [1, b"2.5"]
        assert c.cmd("ZREVRANK", "z", "c", "WITHSCORE") == [0, b"inf"]
        assert c.cmd("ZRANK", "z", "nosuch", "WITHSCORE") is NULL_ARRAY
        assert c.cmd("ZRANK", "nosuch", "b", "WITHSCORE") is NULL_ARRAY
        assert c.cmd("ZRANK", "z", "nosuch") is None
        for args, error in [(("z", "b", "WITHSCORES"), b"ERR syntax error"),
                            (("z", "b", "WITHSCORE", "x"), b"ERR wrong number of arguments for 'zrank' command"),
                            (("s", "b", "WITHSCORE"), b"WRONGTYPE Operation against a key holding the wrong kind of value")]:
            reply = c.cmd("ZRANK", *args)
            assert isinstance(reply, Error) and reply == error
        c.cmd("HELLO", "3")
        value = c.cmd("ZRANK", "z", "b", "WITHSCORE")
        assert value == [1, b"2.5"] and isinstance(value[1], Double)
        assert c.cmd("ZRANK", "z", "nosuch", "WITHSCORE") is None


@pytest.mark.parametrize("entries", [128, 0])
def test_scan_without_scores(anax2, entries, against_redis_itself):
    if against_redis_itself:
        return
    with Thresholds(anax2) as t, anax2.connect() as c:
        t.set(entries, 64)
        c.cmd("ZADD", "z", "1", "a", "2.5", "b", "-inf", "c")
        assert c.cmd("ZSCAN", "z", "0", "NOSCORES", "COUNT", "100")[0] == b"0"
        assert sorted(c.cmd("ZSCAN", "z", "0", "COUNT", "100", "noscores")[1]) == [b"a", b"b", b"c"]
        assert c.cmd("ZSCAN", "z", "0", "NOSCORES", "MATCH", "[ab]", "COUNT", "100")[1] in ([b"a", b"b"], [b"b", b"a"])
        assert c.cmd("ZSCAN", "z", "0", "NOVALUES") == b"ERR syntax error"


@pytest.mark.parametrize("entries", [128, 0])
@pytest.mark.parametrize("proto", [2, 3])
def test_scan_finds_what_redis_finds(anax2, redis, entries, proto):
    with Thresholds(anax2, redis) as t:
        t.set(entries, 64)
        pair = streams.Pair(anax2, redis, proto)
        pair.reset()
        add = ["ZADD", "z"] + [part for i in range(60) for part in (["inf", "-1.5", "2"][i % 3], "m%d" % i if i % 2 else str(i))]
        for words in ([], ["MATCH", "*"], ["MATCH", "m1*"], ["MATCH", "[0-9]"], ["MATCH", ""], ["MATCH", "nosuch"]):
            found = []
            for c in pair.conns:
                c.cmd(*add)
                cursor, flat_list = c.cmd("ZSCAN", "z", "0", "COUNT", "5000", *words)
                assert cursor == b"0" and all(type(v) is bytes for v in flat_list)
                found.append(sorted(zip(flat_list[::2], flat_list[1::2])))
            assert found[0] == found[1] and (found[0] or words[1] in ("", "nosuch")), words


PRINTED = [(b"0.1", b"0.1"), (b"3.3", b"3.3"), (b"1e17", b"100000000000000000"), (b"1e22", b"1e+22"), (b"1.1e-7", b"1.1e-7"),
           (b"123456789012345678", b"123456789012345680"), (b"1e308", b"1e+308"), (b"5e-324", b"5e-324"),
           (b"0.30000000000000004", b"0.30000000000000004"), (b"2.2250738585072014e-308", b"2.2250738585072014e-308"),
           (b"-17.000", b"-17"), (b"+.5", b"0.5"), (b"Infinity", b"inf"), (b"-INF", b"-inf"), (b"00012.50", b"12.5")]


@pytest.mark.parametrize("entries", [128, 0])
@pytest.mark.parametrize("proto", [2, 3])
def test_scores_are_printed_short_and_mean_what_redis_means(anax2, redis, entries, proto, against_redis_itself):
    with Thresholds(anax2, redis) as t, anax2.connect() as a, redis.connect() as r:
        t.set(entries, 64)
        for c in (a, r):
            c.ok("FLUSHALL")
            c.cmd("HELLO", str(proto))
            for i, (given, _) in enumerate(PRINTED):
                assert c.cmd("ZADD", "z", given, "m%d" % i) == 1
        for i, (given, shown) in enumerate(PRINTED):
            ours, theirs = (c.cmd("ZSCORE", "z", "m%d" % i) for c in (a, r))
            assert float(ours) == float(theirs) == float(given), given
            assert ours == shown or against_redis_itself, given
        assert a.cmd("ZRANGE", "z", "0", "-1") == r.cmd("ZRANGE", "z", "0", "-1")


# --- drawing ----------------------------------------------------------------------------------------

def flat(value):
    """Members and scores as pairs, whatever the protocol nests."""
    if value and isinstance(value[0], list):
        return [tuple(v) for v in value]
    return list(zip(value[::2], value[1::2]))


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("size", [1, 5, 100, 1000])
def test_drawn_members(anax2, size, proto, against_redis_itself):
    members = {b"m%d" % i if i % 2 else b"%d" % i: float(i) for i in range(size)}
    with anax2.connect() as c:
        c.cmd("HELLO", str(proto))
        c.cmd("ZADD", "z", *[part for m, s in members.items() for part in (b"%d" % s, m)])
        for n in (1, 2, 3, size // 2, size - 1, size, size + 1, 10 * size):
            got = c.cmd("ZRANDMEMBER", "z", n)
            assert len(got) == len(set(got)) == min(n, size) and set(got) <= set(members)
            pairs = flat(c.cmd("ZRANDMEMBER", "z", n, "WITHSCORES"))
            assert len(pairs) == len(set(pairs)) == min(n, size)
            assert all(members[m] == float(s) for m, s in pairs)
            pairs = flat(c.cmd("ZRANDMEMBER", "z", -n, "WITHSCORES"))
            assert len(pairs) == n and all(members[m] == float(s) for m, s in pairs)
            assert len(c.cmd("ZRANDMEMBER", "z", -n)) == n
        assert c.cmd("ZRANDMEMBER", "z") in members
        if not against_redis_itself:  # which would send them all
            assert c.cmd("ZRANDMEMBER", "z", -(2**24) - 1) == b"ERR value is out of range"


@pytest.mark.parametrize("size,how", [(20, ["7"]), (20, ["-7"]), (300, ["7"]), (300, ["-7"]), (300, ["250"]), (20, []), (300, [])])
def test_every_member_has_the_same_chance(anax2, size, how):
    """Chi-square over many draws; the bound is passed by chance once in more than 10^9 runs."""
    draws = 3000 if not SLOW else 1000
    with anax2.connect() as c:
        c.cmd("ZADD", "z", *[part for i in range(size) for part in (str(i // 3), "m%d" % i)])
        replies = [r.value for r in c.pipeline([["ZRANDMEMBER", "z"] + how] * draws)]
    drawn = collections.Counter(m for r in replies for m in (r if isinstance(r, list) else [r]))
    total = sum(drawn.values())
    expected = total / size
    chi2 = sum((drawn[b"m%d" % i] - expected) ** 2 / expected for i in range(size))
    assert chi2 < size - 1 + 6.5 * math.sqrt(2 * (size - 1)) + 20


# --- walking while others write ----------------------------------------------------------------------

@pytest.mark.parametrize("size", [50, 500, 3000])
def test_scan_visits_what_stays(anax2, size):
    """Members that are there all the time are visited, whatever comes, goes or changes its score meanwhile."""
    rng = random.Random(size)
    with anax2.connect() as c:
        c.cmd("ZADD", "z", *[part for i in range(size) for part in (str(rng.randrange(50)), "stay%d" % i)])
        seen, cursor, step = set(), b"0", 0
        while True:
            cursor, batch = c.cmd("ZSCAN", "z", cursor, "COUNT", "20")
            seen.update(batch[::2])
            if cursor == b"0":
                break
            c.pipeline([["ZADD", "z", str(rng.randrange(50)), "new%d.%d" % (step, i)] for i in range(15)]
                       + [["ZREM", "z", "new%d.%d" % (rng.randrange(step + 1), i)] for i in range(12)]
                       + [["ZINCRBY", "z", "3", "stay%d" % rng.randrange(size)]])
            step += 1
            assert step < 10 * size
        assert {b"stay%d" % i for i in range(size)} <= seen


def test_a_large_one_against_a_model(anax2):
    """Ranks, ranges and removals of a set that spans many nodes."""
    rng = random.Random(5)
    n = 4000 if SLOW else 20000
    model = {b"member:%d" % i: rng.randrange(n) / 4 for i in range(n)}
    with anax2.connect() as c:
        items = list(model.items())
        for at in range(0, n, 1000):
            c.cmd("ZADD", "z", *[p for m, s in items[at : at + 1000] for p in (repr(s), m)])
        for _ in range(3):
            order = sorted(model.items(), key=lambda e: (e[1], e[0]))
            assert c.cmd("ZCARD", "z") == len(order)
            for _ in range(60):
                at = rng.randrange(len(order))
                to = min(at + rng.randrange(40), len(order) - 1)
                assert c.cmd("ZRANGE", "z", at, to) == [m for m, _ in order[at : to + 1]]
                assert c.cmd("ZRANGE", "z", at, to, "REV") == [m for m, _ in order[::-1][at : to + 1]]
                assert c.cmd("ZRANK", "z", order[at][0]) == at
                assert c.cmd("ZREVRANK", "z", order[at][0]) == len(order) - 1 - at
                low, high = sorted((order[at][1], order[to][1]))
                assert c.cmd("ZCOUNT", "z", "(" + repr(low), repr(high)) == sum(low < s <= high for _, s in order)
            cut = len(order) // 3
            assert c.cmd("ZREMRANGEBYRANK", "z", cut, cut + cut // 2) == cut // 2 + 1
            for m, _ in order[cut : cut + cut // 2 + 1]:
                del model[m]
            popped = c.cmd("ZPOPMAX", "z", 10)
            order = sorted(model.items(), key=lambda e: (e[1], e[0]))
            assert popped[::2] == [m for m, _ in order[::-1][:10]]
            for m in popped[::2]:
                del model[m]
