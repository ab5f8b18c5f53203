"""Intersections, unions and differences that are worked out beside the shard: the replies stay redis-server's, whatever happens
to the keys and to the client meanwhile.

DEBUG LONG-ELEMENTS 1 makes all of them long that have anything to do, so most sets here are small.
"""

import random

import pytest

import test_set
from harness import SLOW, Error, Server, encode
from long import Asker, is_given_back, others_wait, seen_by_watch, together
from test_set import KEYS, SMALL, USUAL, Draw, Model

STEPS = 500 if SLOW else 1200
SHARDS = [1, 2, 3, 8]
HUGE = 100_000 if SLOW else 400_000
ANSWERED = 3  # commands of others, while a long one is under way
TRIES = 10
ALGEBRA = ["SINTER", "SUNION", "SDIFF"]
MANY = 20  # more sources than lie on the stack
SLACK_BYTES = 1 << 16  # what connections that are cut off leave in pools


@pytest.fixture(scope="module")
def servers():
    made = {}

    def get(shards, options):
        key = shards, tuple(options.items())
        if key not in made:
            made[key] = Server("anax", shards=shards, options={**options, "enable-debug-command": "local"})
            with made[key].connect() as c:
                c.ok("DEBUG", "LONG-ELEMENTS", "1")
        return made[key]

    yield get
    for server in made.values():
        server.stop()


def fill(c, key, members):
    for at in range(0, len(members), 2000):
        assert not isinstance(c.cmd("SADD", key, *members[at:at + 2000]), Error)


def draw_algebra(d):
    """Mostly what can be long."""
    r = d.rng
    if r.random() < 0.5:
        return test_set.draw_command(d)
    keys = d.keys(r.choice([2, 3, 4, MANY]))
    name = r.choice([b"SINTER", b"SUNION", b"SDIFF"])
    if r.random() < 0.4:
        return [name + b"STORE", d.set_key()] + keys
    return r.choice([[name] + keys, [name] + keys, [b"SINTERCARD", b"%d" % len(keys)] + keys,
                     [b"SINTERCARD", b"%d" % len(keys)] + keys + [b"LIMIT", b"%d" % r.randrange(9)],
                     [b"COPY", d.set_key(), d.set_key(), b"REPLACE"]])


@pytest.mark.parametrize("shards", SHARDS)
@pytest.mark.parametrize("proto,options", [(2, USUAL), (3, SMALL)], ids=["usual", "small"])
def test_streams(servers, redis, shards, proto, options):
    rng = random.Random(7000 * shards + proto)
    pair = test_set.Pair(servers(shards, options), redis, proto, Model(options))
    d = Draw(rng)
    at = 0
    while at < STEPS:
        n = rng.choice([1, 2, 10, 50])
        pair.run([draw_algebra(d) for _ in range(n)])
        pair.chance(rng)
        if rng.random() < 0.2:
            pair.check()
        at += n
    pair.check()
    pair.close()


def in_exec(rng, d):
    commands = [draw_algebra(d) for _ in range(rng.choice([1, 2, 5, 12]))]
    return [[b"MULTI"]] + commands + [[b"EXEC"]], commands


def sorted_reply(value):
    return sorted(value) if isinstance(value, list) else value


@pytest.mark.parametrize("shards", SHARDS)
def test_in_transactions(servers, redis, shards):
    rng = random.Random(shards)
    pair = test_set.Pair(servers(shards, USUAL), redis, 2, Model(USUAL))
    d = Draw(rng)
    for _ in range(STEPS // 20):
        stream, commands = in_exec(rng, d)
        ours, theirs = [c.pipeline(stream)[-1].value for c in pair.conns]
        if isinstance(theirs, Error):
            assert ours == theirs, commands
            continue
        for args, a, b in zip(commands, ours, theirs, strict=True):
            same = sorted_reply(a) == sorted_reply(b) if args[0] in test_set.UNORDERED else a == b
            assert same and type(a) is type(b), (test_set.show(args), a, b)
            if not isinstance(a, Error):
                pair.model.apply(args, a)
    pair.check()
    pair.close()


@pytest.mark.parametrize("shards", SHARDS)
def test_many_clients_at_once(servers, shards):
    """Each moves members between sets whose union and intersection stay what they are; others ask for these, over and over."""
    server = servers(shards, USUAL)
    server.cmd("FLUSHALL")
    keys = ["m%d" % i for i in range(4)]
    texts = ["member:%d" % i for i in range(300)]
    with server.connect() as c:
        for i, key in enumerate(keys):
            fill(c, key, ["common"] + texts[i::4])
    wrong = []

    def move(seed, stop):
        rng = random.Random(seed)
        with server.connect() as c:
            while not stop.is_set():
                c.pipeline([["SMOVE", rng.choice(keys), rng.choice(keys), rng.choice(texts)] for _ in range(10)])

    def ask(seed):
        rng = random.Random(seed)
        with server.connect() as c:
            for i in range(60):
                names = rng.sample(keys, 4)
                mine = "to%d" % seed
                union, inter, card, stored, kept = [r.value for r in c.pipeline([
                    ["SUNION"] + names, ["SINTER"] + names, ["SINTERCARD", 4] + names, ["SUNIONSTORE", mine] + names, ["SCARD", mine]])]
                if (len(set(union)), inter, card, stored, kept) != (301, [b"common"], 1, 301, 301):
                    wrong.append((i, names, len(union), inter, card, stored, kept))

    together([move] * 2, until=[ask] * 3)
    assert not wrong, wrong[:3]


@pytest.mark.parametrize("shards", [1, 3])
def test_memory_is_given_back(servers, shards):
    """Also when who asked has gone in the middle, and when a source is of the wrong type."""
    server = servers(shards, USUAL)
    keys = ["g%d" % i for i in range(MANY)]
    often = keys * 10  # so many that a list of them left behind counts

    def make(c):
        for i, key in enumerate(keys):
            fill(c, key, ["member:%d" % n for n in range(0, 600 + i)] + ["%d" % n for n in range(900)])
        c.cmd("SET", "text", "x")
        for name in ALGEBRA:
            for sources in keys[:2], often:
                assert len(c.cmd(name, *sources)) > 0 or name == "SDIFF"
                assert isinstance(c.cmd(name, *sources, "text"), Error)
                assert isinstance(c.cmd(name + "STORE", "to", *sources), int)
                assert isinstance(c.cmd(name + "STORE", "to", "text", *sources), Error)
        assert c.cmd("SINTERCARD", len(often), *often) == 1500

    leave = [encode([name + "STORE", "to"] + often) + encode([name] + often) + encode(["SINTERCARD", len(often)] + often)
             for name in ALGEBRA * 3]
    is_given_back(server, make, leave, SLACK_BYTES)


@pytest.mark.parametrize("shards", SHARDS)
def test_what_is_read_is_as_it_was_when_it_began(servers, shards):
    """One connection's pipeline: what comes behind a long command sees it, and what it changes afterwards is not seen by it."""
    with servers(shards, USUAL).connect() as c:
        c.ok("FLUSHALL")
        replies = c.pipeline([["SADD", "a", "1", "2", "3"], ["SADD", "b", "2", "3", "x"], ["SINTERSTORE", "c", "a", "b"],
                              ["SREM", "a", "2"], ["SMEMBERS", "c"], ["SUNIONSTORE", "a", "a", "b"], ["SDIFF", "a", "b", "none"],
                              ["DEL", "b"], ["SDIFFSTORE", "a", "a", "c"], ["SINTER", "a", "a"], ["SINTERSTORE", "a", "a", "none"],
                              ["EXISTS", "a"], ["GET", "none"]])
    values = [sorted(r.value) if isinstance(r.value, list) else r.value for r in replies]
    assert values == [3, 3, 2, 1, [b"2", b"3"], 4, [b"1"], 1, 2, [b"1", b"x"], 0, 0, None]


@pytest.mark.parametrize("shards", SHARDS)
def test_watch(servers, shards):
    """A store that is long is seen by WATCH as any other; what only reads is not."""

    def make(c):
        fill(c, "a", ["1", "x"])
        fill(c, "b", ["1", "y"])
        fill(c, "to", ["z"])

    seen_by_watch(servers(shards, USUAL), make, ["a", "b", "to"], [
        (["SUNIONSTORE", "to", "a", "b"], True), (["SINTER", "a", "b"], False), (["SDIFFSTORE", "to", "a", "a"], True),
        (["SINTERCARD", "2", "a", "to"], False)])


@pytest.mark.parametrize("shards", [1, 3])
def test_members_and_keys_that_expire_meanwhile(servers, shards):
    """Members die and keys go while they are read: each reply is of one moment."""
    with servers(shards, USUAL).connect() as c:
        for i in range(3 if SLOW else 6):
            c.ok("FLUSHALL")
            stay = ["stay:%d" % n for n in range(50 * (1 + i))]
            c.cmd("SADDEX", "a", "1", *["dies:%d" % n for n in range(300)])
            fill(c, "a", stay)
            fill(c, "b", stay + ["dies:%d" % n for n in range(0, 300, 2)])
            fill(c, "gone", stay)
            c.cmd("PEXPIRE", "gone", 600)
            want = set(map(str.encode, stay))
            sizes, ends = [], []
            while True:
                inter, union, diff, with_gone = [set(r.value) for r in c.pipeline(
                    [["SINTER", "a", "b"], ["SUNION", "a", "none"], ["SDIFF", "a", "b"], ["SINTER", "gone", "b"]])]
                assert want <= inter and want <= union and not want & diff and with_gone in (want, set())
                sizes.append(len(union) - len(want))
                ends.append(not with_gone)
                if inter == union == want and not diff and not with_gone:
                    break
            assert all(n in (0, 300) for n in sizes), "some of those that die at one moment"
            assert sizes == sorted(sizes, reverse=True) and ends == sorted(ends)
            if i > 0:
                break


@pytest.mark.parametrize("shards", SHARDS)
def test_copies_of_large_flat_values(servers, shards):
    """Strings, which are copied where another shard has the new key, and values that are one run of bytes."""
    with servers(shards, USUAL).connect() as c:
        c.ok("FLUSHALL")
        text = random.Random(shards).randbytes(300_000)
        ints = [b"%d" % (n * 10**12) for n in range(500)]
        c.ok("SET", "text", text, "EX", "1000")
        fill(c, "ints", ints)
        for i in range(3 * shards):
            replies = [r.value for r in c.pipeline([["COPY", "text", "a%d" % i], ["COPY", "text", "a%d" % i], ["GET", "a%d" % i], [
                "TTL", "a%d" % i], ["COPY", "ints", "a%d" % i, "REPLACE"], ["SMEMBERS", "a%d" % i], ["OBJECT", "ENCODING", "a%d" % i]])]
            assert replies[:3] == [1, 0, text] and replies[3] > 900 and replies[4] == 1
            assert sorted(replies[5]) == sorted(ints) and replies[6] == b"intset"


# --- huge ones, as long as they come ---


def ids(n, step):
    return [b"%d" % (i * step) for i in range(n)]


@pytest.fixture(scope="module")
def huge():
    with Server("anax", shards=2) as server, server.connect() as c:
        for key, tag in ("s", "{x}"), ("t", "{x}"), ("u", "{y}"):
            fill(c, tag + key, [b"%s:%d" % (b"member", i + (HUGE // 2 if key == "t" else 0)) for i in range(HUGE)])
        fill(c, "{x}wide", ids(HUGE // 4, 70001))
        yield server


LONG = [(["SINTERCARD", "2", "{x}s", "{x}t"], HUGE // 2), (["SINTERCARD", "2", "{x}s", "{y}u"], HUGE),
        (["SINTERSTORE", "{x}to", "{x}s", "{x}t"], HUGE // 2), (["SUNIONSTORE", "{x}to", "{x}s", "{x}t"], HUGE * 3 // 2),
        (["SUNIONSTORE", "{x}to", "{y}u", "{x}t"], HUGE * 3 // 2), (["SDIFFSTORE", "{x}to", "{x}s", "{x}t", "{x}wide"], HUGE // 2),
        (["SDIFFSTORE", "{y}to", "{x}s", "{y}u"], 0), (["SUNIONSTORE", "{x}to", "{x}wide", "{y}u"], HUGE + HUGE // 4)]


@pytest.mark.parametrize("command,want", LONG, ids=[" ".join(c) for c, _ in LONG])
def test_others_are_served_meanwhile(huge, command, want):
    """Commands on other keys of both shards are answered before the long one is."""
    with huge.connect() as c, Asker(huge) as asker:

        def meanwhile():
            reply, answered = asker.during(c, *command)
            assert reply == want
            return answered

        # the machine may have had no time for who asks, but not each time
        assert any(meanwhile() > ANSWERED for _ in range(TRIES))
        c.cmd("UNLINK", "{x}to", "{y}to")


def test_who_wants_the_keys_waits(huge):
    others_wait(huge, ["SDIFFSTORE", "{x}to", "{x}s", "{x}t"], "SCARD", lambda i: ["SREM", "{x}s", "member:%d" % i],
                lambda i: ["SADD", "{x}s", "member:%d" % i], HUGE // 2)
