"""Lists that are searched beside the shard: LPOS, LINSERT and LREM with what is far away. The replies stay redis-server's,
whatever happens to the keys and to the client meanwhile.

DEBUG LONG-ELEMENTS 1 makes all of it long that lies in an object of its own, so most lists here are small.
"""

import random
import threading

import pytest

import streams
from harness import SLOW, Error, encode, wait_until
from long import seen_by_watch, together
from test_list import KEYS, ROW, Draw, listpack_size, same_lists

SHARDS = [1, 2, 3, 8]
HUGE = 50_000 if SLOW else 400_000
ANSWERED = 3  # commands of others, while a long one is under way


class Searches(Draw):
    """Mostly what searches, and in lists that are found: few keys."""

    def command(self):
        r = self.rng
        k = r.choice(KEYS[:4])
        if r.random() < 0.5:
            return super().command()
        return r.choice([
            [b"LPOS", k, self.element()] + self.lpos(), [b"LPOS", k, self.element(), b"COUNT", b"0"],
            [b"LINSERT", k, r.choice([b"BEFORE", b"AFTER"]), self.element(), self.element()],
            [b"LREM", k, r.choice([b"0", b"1", b"-1", b"2", b"-3"]), self.element()],
            [b"RPUSH", k] + [self.element() for _ in range(r.randrange(1, 30))]])


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("proto, size, long_max", [(2, -2, 3000), (3, 3, 10), (2, 40, 10)])
@pytest.mark.parametrize("elements", [0, 1, 7])
def test_streams(servers, redis, shards, proto, size, long_max, elements):
    server = servers(shards)
    assert server.cmd("DEBUG", "LONG-ELEMENTS", elements) == b"OK"
    draw = Searches(random.Random("%d %d %d" % (shards, size, elements)), long_max)
    pair = streams.Pair(server, redis, proto)
    pair.reset()
    with listpack_size(size, server, redis):
        for depth in ([1, 50] if SLOW else [1, 50, 300]):
            pair.run([(ROW, draw.command()) for _ in range(depth)])
            same_lists(pair)
        for _ in range(4 if SLOW else 15):
            pair.run([(ROW, c) for c in [[b"MULTI"]] + [draw.command() for _ in range(6)] + [[b"EXEC"]]])
        same_lists(pair)


def fill(c, key, elements):
    for at in range(0, len(elements), 5000):
        assert not isinstance(c.cmd("RPUSH", key, *elements[at:at + 5000]), Error)


@pytest.mark.parametrize("shards", [1, 3])
def test_a_list_that_is_long_by_itself(servers, redis, shards):
    """Near and far, from both ends, until nothing is left: with the threshold that users have."""
    server = servers(shards)
    assert server.cmd("DEBUG", "LONG-ELEMENTS", "2048") == b"OK"
    rng = random.Random(shards)
    items = [rng.choice([b"often", b"%d" % (i % 7), b"item:%d" % i, b"far" if i > 9000 else b"near"]) for i in range(12000)]
    replies = []
    for s in (server, redis):
        with s.connect() as c:
            c.ok("FLUSHALL")
            fill(c, "l", items)
            got = [c.cmd("LPOS", "l", *a) for a in (
                ["far"], ["near"], ["far", "RANK", "-1"], ["near", "RANK", "-5"], ["far", "COUNT", "0"], ["far", "MAXLEN", "3000"],
                ["near", "COUNT", "0", "MAXLEN", "1000"], ["near", "COUNT", "0", "MAXLEN", "7000"], ["none"], ["none", "COUNT", "0"],
                ["often", "RANK", "2000", "COUNT", "3"], ["far", "RANK", "-2", "COUNT", "0", "MAXLEN", "2048"])]
            for where, pivot in (("BEFORE", "far"), ("AFTER", "far"), ("AFTER", "near"), ("BEFORE", "none")):
                got.append(c.cmd("LINSERT", "l", where, pivot, "new"))
            for count, text in ((1, "far"), (-1, "near"), (2, "often"), (-2, "often"), (3000, "often"), (0, "new"), (0, "none"), (0, "far"),
                                (-1, "0"), (0, "near"), (0, "often")):
                got.append(c.cmd("LREM", "l", count, text))
                got.append(c.cmd("LLEN", "l"))
            got.append(c.cmd("LRANGE", "l", "0", "-1"))
            for i in range(12000):
                if items[i].startswith(b"item") and i % 40 == 0:
                    got.append(c.cmd("LREM", "l", 0, items[i]))
            for i in range(7):
                got.append(c.cmd("LREM", "l", 0, i))
            got.append(c.cmd("LTRIM", "l", "10", "-10"))
            got.append(c.cmd("LRANGE", "l", "0", "-1"))
            fill(c, "same", [b"x"] * 5000)
            got += [c.cmd("LREM", "same", 0, "x"), c.cmd("EXISTS", "same")]
            replies.append(got)
    for i, (ours, theirs) in enumerate(zip(*replies, strict=True)):
        assert ours == theirs, i


@pytest.mark.parametrize("shards", SHARDS)
def test_in_order(servers, shards):
    """One connection's pipeline: what comes behind a long command sees it, what it changes is not seen by it."""
    server = servers(shards)
    with listpack_size(2, server), server.connect() as c:
        c.ok("FLUSHALL")
        got = [r.value for r in c.pipeline([
            ["RPUSH", "l", "a", "b", "c", "a"], ["LREM", "l", "-1", "a"], ["LRANGE", "l", "0", "-1"], ["LINSERT", "l", "BEFORE", "c", "x"],
            ["LPOS", "l", "c"], ["LPUSH", "l", "c"], ["LPOS", "l", "c", "COUNT", "0"], ["LREM", "l", "0", "c"], ["GET", "other"],
            ["LREM", "l", "0", "a"], ["LREM", "l", "0", "b"], ["LREM", "l", "0", "x"], ["EXISTS", "l"], ["SET", "l", "text"],
            ["LREM", "l", "0", "x"], ["LPOS", "l", "x"], ["LINSERT", "l", "AFTER", "a", "b"]])]
    wrong = Error(b"WRONGTYPE Operation against a key holding the wrong kind of value")
    assert got == [4, 1, [b"a", b"b", b"c"], 4, 3, 5, [0, 4], 2, None, 1, 1, 1, 0, b"OK", wrong, wrong, wrong]


@pytest.mark.parametrize("shards", SHARDS)
def test_watch(servers, shards):
    server = servers(shards)
    with listpack_size(2, server):
        seen_by_watch(server, lambda c: c.cmd("RPUSH", "l", "a", "b", "c"), ["l"], [
            (["LREM", "l", "0", "c"], True), (["LREM", "l", "0", "none"], False), (["LPOS", "l", "c"], False),
            (["LINSERT", "l", "AFTER", "c", "d"], True), (["LINSERT", "l", "AFTER", "none", "d"], False)])


@pytest.mark.parametrize("shards", [1, 3])
def test_many_clients_at_once(servers, shards):
    """Each of some removes its own elements and puts them back; others always find what nobody removes."""
    server = servers(shards)
    wrong = []

    def change(number, stop):
        who = [b"one", b"two"][number]
        with server.connect() as c:
            while not stop.is_set():
                removed, length = [r.value for r in c.pipeline([["LREM", "l", "0", who], ["LINSERT", "l", "AFTER", "fixed", who]])]
                if removed != 1 or length < 0:
                    wrong.append((who, removed, length))

    def look(_):
        with server.connect() as c:
            for _ in range(100 if SLOW else 400):
                first, last = [r.value for r in c.pipeline([["LPOS", "l", "fixed"], ["LPOS", "l", "last", "RANK", "-1"]])]
                if first != 200 or not 201 <= last <= 203:
                    wrong.append((first, last))

    with listpack_size(5, server), server.connect() as c:
        c.ok("FLUSHALL")
        fill(c, "l", [b"before:%d" % i for i in range(200)] + [b"fixed", b"one", b"two", b"last"])
        together([change] * 2, until=[look] * 3)
        assert not wrong, wrong[:3]
        assert c.cmd("LLEN", "l") == 204


@pytest.mark.parametrize("shards", [1, 3])
def test_memory_is_given_back(servers, shards):
    """Also when who asked has gone in the middle, and when the list expires meanwhile."""
    server = servers(shards)

    def all_of_it():
        server.cmd("FLUSHALL")
        with server.connect() as c:
            fill(c, "l", [b"item:%d" % (i % 100) for i in range(20000)])
            assert len(c.cmd("LPOS", "l", "item:7", "COUNT", "0")) == 200
            assert c.cmd("LREM", "l", "0", "item:7") == 200
            assert c.cmd("LINSERT", "l", "AFTER", "item:99", "x") == 19801
            fill(c, "short-lived", [b"item:%d" % (i % 100) for i in range(20000)])
            c.cmd("PEXPIRE", "short-lived", "30")
            c.pipeline([["LREM", "short-lived", "0", "item:%d" % i] for i in range(100)])
            assert c.cmd("LPOS", "short-lived", "x") is None
        for _ in range(5):
            with server.connect() as c:
                c.send(encode(["LPOS", "l", "item:8", "COUNT", "0"]) + encode(["LREM", "l", "1", "none"]) +
                       encode(["LREM", "l", "0", "item:%d" % random.randrange(100)]) + encode(["LINSERT", "l", "AFTER", "none", "x"]))
                c.reset()
        wait_until(lambda: server.held().clients == 1, "those that left are gone")
        server.cmd("FLUSHALL")

    all_of_it()
    server.settled()
    before = server.settled()
    all_of_it()
    server.returns_to(before, slack_bytes=4096)


@pytest.mark.parametrize("shards", [1, 2])
def test_others_are_served_meanwhile(servers, shards):
    """Commands on a huge list, while another client's on other keys are answered."""
    server = servers(shards)
    assert server.cmd("DEBUG", "LONG-ELEMENTS", "2048") == b"OK"
    answered = []
    with server.connect() as c, server.connect() as other:
        c.ok("FLUSHALL")
        fill(c, "l", [b"%d" % (i % 1000) if i % 2 else b"some longer text %d" % i for i in range(HUGE)])
        length = c.cmd("LLEN", "l")
        calls = [(["LPOS", "l", "none"], None), (["LPOS", "l", "none", "RANK", "-1", "COUNT", "0"], []),
                 (["LINSERT", "l", "AFTER", "none", "x"], -1), (["LREM", "l", "0", "none"], 0), (["LREM", "l", "0", "501"], HUGE // 1000)]
        for call, reply in calls:
            done, got = threading.Event(), []

            def ask(call=call, done=done, got=got):
                got.append(c.cmd(*call))
                done.set()

            asker = threading.Thread(target=ask)
            asker.start()
            n = 0
            while not done.is_set():
                other.cmd("SET", "k%d" % (n % 50), "v")
                n += not done.is_set()
            asker.join()
            assert got == [reply], call
            answered.append(n)
        assert c.cmd("LLEN", "l") == length - HUGE // 1000
        assert c.cmd("LTRIM", "l", "0", "0") == b"OK"
        assert c.cmd("LRANGE", "l", "0", "-1") == [b"some longer text 0"]
    assert sum(answered) > ANSWERED * len(calls), answered  # each takes a few milliseconds; a stall answers one at most
