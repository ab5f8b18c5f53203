"""Sorted sets that are combined, stored and cut beside the shard: the replies stay redis-server's, whatever happens to the keys
and to the client meanwhile.

DEBUG LONG-ELEMENTS 1 makes all of it long that has anything to do, so most sets here are small.
"""

import random

import pytest

import streams
import test_zset
import test_zset_algebra
from harness import SLOW, Error, Server, encode, wait_until
from long import Asker, is_given_back, others_wait, seen_by_watch, together
from test_zset import Thresholds, draw_stream, run_stream, same_scores

LENGTH = 500 if SLOW else 1500
SHARDS = [1, 2, 3, 8]
HUGE = 60_000 if SLOW else 200_000
ANSWERED, ANSWERED_CUT = 3, 3  # commands of others, while a long one is under way; cutting one is soon done
MANY = 12      # more sources than a call has room for
LONG_NAMES = ["ZUNION", "ZINTER", "ZDIFF", "ZINTERCARD", "ZUNIONSTORE", "ZINTERSTORE", "ZDIFFSTORE", "ZRANGESTORE",
              "ZREMRANGEBYRANK", "ZREMRANGEBYSCORE", "ZREMRANGEBYLEX", "COPY"]
ROWS = [row for row in test_zset.ROWS + test_zset_algebra.ROWS if row.compare in ("exact", "scores")]
# Those that are long come more often, and what fills the sets again does.
WEIGHTED = ROWS + [row for row in ROWS if row.name in LONG_NAMES + ["ZADD"]] * 2


def fill(c, key, n, first=0, score=lambda i: i % 1000):
    for at in range(first, first + n, 1000):
        words = [w for i in range(at, min(at + 1000, first + n)) for w in (score(i), "member:%d" % i)]
        assert not isinstance(c.cmd("ZADD", key, *words), Error)


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("proto", [2, 3])
def test_streams(servers, redis, shards, proto):
    pair = streams.Pair(servers(shards), redis, proto)
    with Thresholds(*pair.servers) as t:
        for seed, (entries, value) in enumerate([(128, 64), (0, 64)]):
            t.set(entries, value)
            d = test_zset_algebra.Draw(random.Random(9000 + 100 * shards + 10 * proto + seed))
            run_stream(pair, seed, draw_stream(d, WEIGHTED, LENGTH))


@pytest.mark.parametrize("shards", SHARDS)
def test_in_transactions(servers, redis, shards):
    """The body of a MULTI waits as a whole."""
    pair = streams.Pair(servers(shards), redis, 2)
    rng = random.Random(shards)
    with Thresholds(*pair.servers) as t:
        for entries in 128, 0:
            t.set(entries, 64)
            pair.reset()
            d = test_zset_algebra.Draw(rng)
            for _ in range(20 if SLOW else 60):
                body = draw_stream(d, WEIGHTED, rng.choice([1, 2, 5, 12]))
                stream = [["MULTI"]] + [args for _, args in body] + [["EXEC"]]
                ours, theirs = [c.pipeline(stream)[-1].value for c in pair.conns]
                assert same_scores(ours, theirs), ([streams.show(a) for _, a in body], ours, theirs)
            test_zset.compare_values(pair)


@pytest.mark.parametrize("shards", SHARDS)
def test_a_pipeline_sees_what_was_before_it(servers, shards):
    """What comes behind a long command sees it, and what it changes afterwards is not seen by it."""
    server = servers(shards)
    with Thresholds(server) as t, server.connect() as c:
        t.set(0, 64)
        c.ok("FLUSHALL")
        replies = c.pipeline([
            ["ZADD", "a", 1, "x", 2, "y", 3, "z"], ["ZADD", "b", 10, "y", 20, "z", 30, "w"], ["ZINTERSTORE", "c", 2, "a", "b"],
            ["ZREM", "a", "y"], ["ZRANGE", "c", 0, -1, "WITHSCORES"], ["ZUNIONSTORE", "a", 2, "a", "b"], ["ZREMRANGEBYRANK", "a", 0, 1],
            ["ZRANGE", "a", 0, -1, "WITHSCORES"], ["ZDIFF", 2, "a", "c"], ["ZRANGESTORE", "a", "a", 0, 0], ["ZCARD", "a"],
            ["ZREMRANGEBYSCORE", "b", 20, 30], ["ZINTERCARD", 2, "b", "c"], ["ZREMRANGEBYLEX", "b", "-", "+"], ["EXISTS", "b"],
            ["ZDIFFSTORE", "c", 2, "c", "c"], ["EXISTS", "c"], ["ZUNION", 2, "a", "nosuch"]])
    assert [r.value for r in replies] == [
        3, 3, 2, 1, [b"y", b"12", b"z", b"23"], 4, 2, [b"z", b"23", b"w", b"30"], [b"w"], 1, 1, 2, 1, 1, 0, 0, 0, [b"z"]]


@pytest.mark.parametrize("shards", SHARDS)
def test_watch(servers, shards):
    """A change that is long is seen by WATCH as any other; what only reads, or changes nothing, is not."""
    server = servers(shards)

    def make(c):
        c.cmd("ZADD", "a", 1, "x", 1, "y", 1, "z")
        c.cmd("ZADD", "b", 1, "x")
        c.cmd("ZADD", "to", 1, "x")

    with Thresholds(server) as t:
        t.set(0, 64)
        seen_by_watch(server, make, ["a", "b", "to"], [
            (["ZUNIONSTORE", "to", 2, "a", "b"], True), (["ZINTER", 2, "a", "b"], False), (["ZRANGESTORE", "to", "a", 0, 1], True),
            (["ZREMRANGEBYRANK", "a", 1, 2], True), (["ZREMRANGEBYRANK", "a", 0, -1], True), (["ZREMRANGEBYSCORE", "a", 100, 200], False),
            (["ZINTERCARD", 2, "a", "to"], False), (["ZREMRANGEBYLEX", "a", "[b", "+"], True)])


@pytest.mark.parametrize("shards", [1, 3])
def test_memory_is_given_back(servers, shards):
    """Also when who asked has gone in the middle, and when a source is of the wrong type."""
    server = servers(shards)
    keys = ["g%d" % i for i in range(MANY)]
    stores = [["ZUNIONSTORE", "to", 2, "g0", "g1"], ["ZUNIONSTORE", "to", MANY] + keys, ["ZINTERSTORE", "to", MANY] + keys,
              ["ZDIFFSTORE", "to", 2, "g1", "g0"], ["ZRANGESTORE", "to", "g0", 5, 900]]
    reads = [["ZUNION", MANY] + keys, ["ZINTER", 2, "g0", "g1"], ["ZDIFF", 3, "g0", "s", "g1"], ["ZINTERCARD", MANY] + keys]
    cuts = [["ZREMRANGEBYRANK", "g0", 10, 90], ["ZREMRANGEBYSCORE", "g1", 3, 7], ["ZREMRANGEBYLEX", "g2", "[a", "[n"],
            ["ZREMRANGEBYRANK", "g3", 0, -1]]

    def make(c):
        for i, key in enumerate(keys):
            fill(c, key, 300 + i, score=lambda n: n % 50)
        c.cmd("SADD", "s", *["member:%d" % i for i in range(0, 900, 3)])
        c.cmd("SET", "text", "x")
        for command in stores + reads + cuts:
            assert not isinstance(c.cmd(*command), Error), command
        for command in (["ZUNION", 2, "g4", "text"], ["ZUNIONSTORE", "to", MANY + 1] + keys + ["text"], ["ZRANGESTORE", "to", "text", 0, 1],
                        ["ZUNION", MANY] + keys + ["WEIGHTS"], ["ZREMRANGEBYRANK", "text", 0, 1]):
            assert isinstance(c.cmd(*command), Error), command

    is_given_back(server, make, [encode(command) * 3 for command in (stores + reads + cuts) * 2], slack_bytes=4096)


@pytest.mark.parametrize("shards", SHARDS)
def test_many_clients_at_once(servers, shards):
    """Each moves elements between two sets at a time, whose union stays what it is; others ask for it, over and over."""
    server = servers(shards)
    wrong = []
    with Thresholds(server) as t, server.connect() as c:
        t.set(0, 64)
        c.ok("FLUSHALL")
        keys = ["m%d" % i for i in range(3)]
        for i, key in enumerate(keys):
            fill(c, key, 100, first=100 * i)

        def move(seed, stop):
            rng = random.Random(seed)
            with server.connect() as mine:
                while not stop.is_set():
                    a, b = rng.sample(keys, 2)
                    # everything of a goes to b, at one moment; both were disjoint, or are equal then
                    mine.pipeline([["MULTI"], ["ZUNIONSTORE", b, 2, a, b, "AGGREGATE", "MAX"], ["ZREMRANGEBYRANK", a, 3, -1], ["EXEC"]])

        def ask(seed):
            with server.connect() as mine:
                for _ in range(40):
                    found, stored, card, again = [r.value for r in mine.pipeline([
                        ["ZUNION", 3] + keys + ["AGGREGATE", "MAX"], ["ZUNIONSTORE", "to%d" % seed, 3] + keys + ["AGGREGATE", "MAX"],
                        ["ZCARD", "to%d" % seed], ["ZRANGE", "to%d" % seed, 0, -1]])]
                    if (len(found), stored, card) != (300, 300, 300) or again != found:
                        wrong.append((len(found), stored, card))

        together([move] * 2, until=[ask] * 2)
    assert not wrong, wrong[:3]


@pytest.mark.parametrize("shards", [1, 3])
def test_keys_that_expire_meanwhile(servers, shards):
    """A key is there for all of a command, or for none of it; and a key that is cut keeps its time."""
    server = servers(shards)
    with Thresholds(server) as t, server.connect() as c:
        t.set(0, 64)
        c.ok("FLUSHALL")
        fill(c, "stays", 50)
        fill(c, "goes", 400)
        c.cmd("PEXPIRE", "goes", 300)
        c.cmd("EXPIRE", "stays", 1000)
        sizes = []
        while not sizes or sizes[-1] != 50:
            stored, found = [r.value for r in c.pipeline([["ZUNIONSTORE", "to", 2, "stays", "goes"], ["ZUNION", 2, "goes", "stays"]])]
            assert stored in (50, 400) and len(found) in (50, stored)
            sizes.append(stored)
        assert sizes == sorted(sizes, reverse=True) and sizes[0] == 400
        assert c.cmd("ZREMRANGEBYRANK", "stays", 10, 19) == 10
        assert 900 < c.cmd("TTL", "stays") <= 1000
        assert c.cmd("TTL", "to") == -1


# --- huge ones, as long as they come ---


@pytest.fixture(scope="module")
def huge():
    with Server("anax", shards=2) as server, server.connect() as c:
        fill(c, "{x}z", HUGE)
        fill(c, "{y}far", HUGE, first=HUGE // 2, score=lambda i: -i)
        yield server


HALF = HUGE // 2
LONG = [(["COPY", "{x}z", "{x}to"], 1), (["ZUNIONSTORE", "{x}to", 2, "{x}z", "{y}far"], HUGE + HALF),
        (["ZINTERSTORE", "{y}to", 2, "{x}z", "{y}far"], HALF), (["ZDIFFSTORE", "{x}to", 2, "{x}z", "{y}far"], HALF),
        (["ZINTERCARD", 2, "{x}z", "{y}far"], HALF), (["ZRANGESTORE", "{y}to", "{x}z", 0, -1], HUGE),
        (["ZRANGESTORE", "{x}to", "{y}far", "-inf", "+inf", "BYSCORE", "LIMIT", 10, HALF], HALF)]


@pytest.mark.parametrize("command,want", LONG, ids=[" ".join(map(str, c)) for c, _ in LONG])
def test_others_are_served_meanwhile(huge, command, want):
    with huge.connect() as c, Asker(huge) as asker:
        reply, meanwhile = asker.during(c, *command)
        assert reply == want
        assert meanwhile > ANSWERED
        if command[0].endswith("STORE"):
            assert c.cmd("ZCARD", command[1]) == want
        c.cmd("UNLINK", "{x}to", "{y}to")


@pytest.mark.parametrize("name,low,high", [("ZREMRANGEBYRANK", 5, -6), ("ZREMRANGEBYSCORE", "(0", "(999"), ("ZREMRANGEBYLEX", "(member:1", "(z")])
def test_others_are_served_while_it_is_cut(huge, name, low, high):
    """What is left is whole: it can be read and added to."""
    with huge.connect() as c, Asker(huge) as asker:
        score = (lambda i: 7) if name == "ZREMRANGEBYLEX" else (lambda i: i % 1000)
        fill(c, "{x}cut", HUGE, score=score)
        c.cmd("ZADD", "{x}cut", "-inf", "first", "inf", "last")
        command = [name, "{x}cut", low, high]
        if name == "ZREMRANGEBYLEX":
            c.cmd("ZREM", "{x}cut", "first", "last")
        removed, meanwhile = asker.during(c, *command)
        assert meanwhile > ANSWERED_CUT
        left = c.cmd("ZRANGE", "{x}cut", 0, -1)
        assert removed + len(left) == HUGE + (2 if name != "ZREMRANGEBYLEX" else 0)
        assert removed > HUGE * 9 // 10 and len(left) == c.cmd("ZCARD", "{x}cut") > 0
        assert all(rank == i for i, rank in enumerate(c.cmd("ZRANK", "{x}cut", m) for m in left[:50]))
        fill(c, "{x}cut", 100, first=HUGE, score=score)
        assert c.cmd("ZCARD", "{x}cut") == len(left) + 100
        c.cmd("UNLINK", "{x}cut")


def test_a_whole_one_goes_at_once(huge):
    """Its memory goes in slices, afterwards."""
    with huge.connect() as c:
        fill(c, "{x}whole", HUGE)
        used = huge.used_memory()
        assert c.cmd("ZREMRANGEBYRANK", "{x}whole", 0, -1) == HUGE
        assert c.cmd("EXISTS", "{x}whole") == 0
        wait_until(lambda: huge.used_memory() < used - HUGE * 20, "its memory is given back")


def test_who_wants_the_keys_waits(huge):
    others_wait(huge, ["ZDIFFSTORE", "{x}to", 2, "{x}z", "{y}far"], "ZCARD", lambda i: ["ZREM", "{x}z", "member:%d" % i],
                lambda i: ["ZADD", "{x}z", i, "member:%d" % i], HALF)
