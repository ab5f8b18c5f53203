"""SORT that is worked out beside the shard, and SORT with patterns in many rounds: the replies, and what is stored, stay redis-server's.

DEBUG LONG-ELEMENTS 1 makes all of it long, so most collections here are small.
"""

import random
import threading

import pytest

import test_sort
from harness import NULL_ARRAY, SLOW, Error, Server, encode, wait_until

SHARDS = [1, 2, 3, 8]
HUGE = 30_000 if SLOW else 100_000
MANY = 5000  # keys to look up: several rounds
ANSWERED = 3  # commands of others, while a long one is under way
STORED = ("dst", "dst2", "list", "zset")


def draw(rng):
    while True:
        key, words = test_sort.draw(rng)
        if not test_sort.order_open(key, words):
            return [b"SORT" if rng.random() < 0.8 else b"SORT_RO", key] + words


def same_stored(a, b, why):
    for dst in STORED:
        kinds = a.cmd("TYPE", dst), b.cmd("TYPE", dst)
        assert kinds[0] == kinds[1], (dst, why)
        if kinds[0] == b"list":
            assert a.cmd("LRANGE", dst, 0, -1) == b.cmd("LRANGE", dst, 0, -1), (dst, why)


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("proto, elements", [(2, 1), (3, 0), (2, 40)])
def test_streams(servers, redis, shards, proto, elements):
    rng = random.Random("%d %d" % (shards, elements))
    server = servers(shards)
    assert server.cmd("DEBUG", "LONG-ELEMENTS", elements) == b"OK"
    with server.connect() as ours, redis.connect() as theirs:
        for c in ours, theirs:
            c.cmd("HELLO", proto)
        for _ in range(2 if SLOW else 5):
            for c in ours, theirs:
                test_sort.fill(random.Random(5), c)
            for _ in range(25):
                commands = [draw(rng) for _ in range(rng.choice([1, 1, 4]))]
                if rng.random() < 0.3:
                    commands = [[b"MULTI"]] + commands + [[b"EXEC"]]
                a, b = [[r.value for r in c.pipeline(commands)] for c in (ours, theirs)]
                assert a == b, commands
                same_stored(ours, theirs, commands)


def fill_many(c, n=MANY):
    """Elements 0 to n - 1, and for each a weight, a text and a hash, whatever the shard."""
    rng = random.Random(n)
    order = rng.sample(range(n), n)
    c.ok("FLUSHALL")
    for at in range(0, n, 1000):
        c.cmd("RPUSH", "l", *range(at, min(at + 1000, n)))
        c.cmd("MSET", *[x for i in range(at, min(at + 1000, n)) for x in ("w:%d" % i, order[i], "t:%d" % i, "text %06d" % order[i])])
    c.pipeline([["HSET", "h:%d" % i, "name", "name %d" % i, "weight", -order[i]] for i in range(0, n, 3)])
    c.cmd("DEL", "w:%d" % (n - 1))
    return order


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("elements", [1, 2048])
def test_many_rounds(servers, redis, shards, elements):
    server = servers(shards)
    assert server.cmd("DEBUG", "LONG-ELEMENTS", elements) == b"OK"
    got = []
    for s in (server, redis):
        with s.connect() as c:
            fill_many(c)
            replies = []
            for words in (["BY", "w:*"], ["BY", "w:*", "DESC", "GET", "#", "GET", "t:*"], ["BY", "t:*", "ALPHA"], ["BY", "h:*->weight", "GET", "h:*->name"],
                          ["BY", "nosort", "GET", "t:*", "LIMIT", "4990", "5"], ["BY", "nosort", "DESC", "GET", "t:*", "GET", "#", "LIMIT", "10", "3000"],
                          ["BY", "w:*", "LIMIT", "0", "10", "GET", "t:*"], ["GET", "t:*", "DESC"], ["BY", "t:*"], ["BY", "nosort", "LIMIT", "7", "2"],
                          ["BY", "w:*", "LIMIT", "9999", "10", "GET", "t:*"], ["BY", "none:*", "GET", "none:*", "LIMIT", "1", "4"]):
                replies.append(c.cmd("SORT", "l", *words))
                replies.append(c.cmd("SORT", "l", *words, "STORE", "d"))
                replies.append(c.cmd("LRANGE", "d", "0", "-1"))
            got.append(replies)
    for i, (ours, theirs) in enumerate(zip(*got, strict=True)):
        assert ours == theirs, i


@pytest.mark.parametrize("shards", [1, 3])
def test_large_values(servers, redis, shards):
    """What a round may bring is not bounded by the number of keys alone."""
    got = []
    for s in (servers(shards), redis):
        with s.connect() as c:
            c.ok("FLUSHALL")
            c.cmd("RPUSH", "l", *range(400))
            for i in range(400):
                c.cmd("SET", "v:%d" % i, b"%03d" % (i * 7 % 400) + b"x" * (20000 if i % 2 else 10))
            got.append([c.cmd("SORT", "l", "BY", "v:*", "ALPHA", "GET", "v:*", "GET", "#"),
                        c.cmd("SORT", "l", "BY", "nosort", "GET", "v:*", "GET", "v:*", "GET", "v:*", "STORE", "d"), c.cmd("LRANGE", "d", 0, -1)])
    assert got[0] == got[1]


@pytest.mark.parametrize("shards", SHARDS)
def test_at_one_moment(servers, shards):
    """Weights change together: a sort sees all of them changed, or none. What expires meanwhile does so for all."""
    server = servers(shards)
    wrong, stop = [], threading.Event()
    names = [b"%d" % i for i in range(60)]

    def change():
        flip = 0
        with server.connect() as c:
            while not stop.is_set():
                flip = not flip
                c.ok("MSET", *[x for i in range(60) for x in ("w:%d" % i, -i if flip else i)])

    with server.connect() as c:
        c.ok("FLUSHALL")
        c.cmd("RPUSH", "l", *names)
        c.cmd("RPUSH", "plain", *range(60))
        c.cmd("MSET", *[x for i in range(60) for x in ("w:%d" % i, i)])
        changer = threading.Thread(target=change)
        changer.start()
        for i in range(30 if SLOW else 150):
            c.cmd("SET", "e:1", "x", "PX", "2")
            reply = c.cmd("SORT", "l", "BY", "w:*", "GET", "#", "GET", "w:*", "GET", "e:1*")
            order, weights = reply[::3], reply[1::3]
            if order not in (names, names[::-1]) or weights != sorted(weights, key=int):
                wrong.append(reply)
            stored, kept = [r.value for r in c.pipeline([["SORT", "l", "BY", "w:*", "STORE", "d"], ["LRANGE", "d", "0", "-1"]])]
            if stored != 60 or kept not in (names, names[::-1]):
                wrong.append(kept)
        stop.set()
        changer.join()
    assert not wrong, wrong[:2]


@pytest.mark.parametrize("shards", SHARDS)
def test_watch(servers, shards):
    server = servers(shards)
    with server.connect() as c, server.connect() as other:
        for words, fails in ((["STORE", "d"], True), (["GET", "x:*", "STORE", "d"], True), (["DESC"], False), (["BY", "x:*"], False)):
            c.ok("FLUSHALL")
            c.cmd("RPUSH", "l", 3, 1, 2)
            c.ok("WATCH", "d", "l")
            other.cmd("SORT", "l", *words)
            c.ok("MULTI")
            c.cmd("PING")
            assert (c.cmd("EXEC") is NULL_ARRAY) == fails, words


CALLS = [[], ["ALPHA", "DESC"], ["STORE", "d"], ["BY", "w:*"], ["BY", "t:*", "ALPHA", "GET", "t:*", "GET", "#"], ["BY", "t:*"],
         ["BY", "w:*", "GET", "t:*", "STORE", "d"], ["BY", "nosort", "GET", "h:*->name", "LIMIT", "2", "3000", "STORE", "l2"]]


@pytest.mark.parametrize("shards", [1, 3])
def test_memory_is_given_back(servers, shards):
    """Also when who asked has gone in the middle, and when it comes to nothing."""
    server = servers(shards)

    def all_of_it():
        with server.connect() as c:
            fill_many(c)
            c.cmd("SET", "text", "x")
            c.cmd("RPUSH", "words", *["word %d" % i for i in range(100)])
            for words in CALLS:
                c.cmd("SORT", "l", *words)
                assert isinstance(c.cmd("SORT", "text", *words), Error)
                c.cmd("SORT", "words", *words)
                c.cmd("SORT", "none", *words)
        for words in CALLS:
            with server.connect() as c:
                c.send(encode(["SORT", "l"] + words) * 2)
                c.reset()
        wait_until(lambda: server.held().clients == 1, "those that left are gone")
        server.cmd("FLUSHALL")

    all_of_it()
    server.settled()
    before = server.settled()
    all_of_it()
    server.returns_to(before, slack_bytes=4096)


@pytest.fixture(scope="module")
def huge():
    made = {}

    def get(shards):
        if shards not in made:
            made[shards] = Server("anax", shards=shards)
            with made[shards].connect() as c:
                fill_many(c, HUGE)
        return made[shards]

    yield get
    for server in made.values():
        server.stop()


# What others may do meanwhile: with patterns everything is locked, for reading unless it stores.
LONG = [([], "SET"), (["ALPHA", "DESC", "LIMIT", "5", "1"], "SET"), (["DESC", "STORE", "d"], "SET"),
        (["BY", "w:*", "LIMIT", "0", "1"], "GET"), (["BY", "t:*", "ALPHA", "GET", "h:*->name", "GET", "#"], "GET"),
        (["BY", "w:*", "GET", "t:*", "STORE", "d"], "PING")]


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("words, others", LONG, ids=[" ".join(w) or "plain" for w, _ in LONG])
def test_others_are_served_meanwhile(huge, shards, words, others):
    server = huge(shards)
    call = {"SET": ["SET", "other", "1"], "GET": ["GET", "w:7"], "PING": ["PING"]}[others]
    done, got = threading.Event(), []
    with server.connect() as c, server.connect() as other:

        def ask():
            got.append(c.cmd("SORT", "l", *words))
            done.set()

        asker = threading.Thread(target=ask)
        asker.start()
        n = 0
        while not done.is_set():
            assert not isinstance(other.cmd(*call), Error)
            n += not done.is_set()
        asker.join()
        if "STORE" in words:
            assert got == [HUGE] and c.cmd("LLEN", "d") == HUGE
        elif "LIMIT" in words:
            assert len(got[0]) == 1
        else:
            assert len(got[0]) in (HUGE, 2 * HUGE)
        c.cmd("UNLINK", "d")
    assert n > ANSWERED
