"""maxmemory, step by step: used_memory is looked at after every write, where one shard gets all that is large; and what commands make
that their arguments do not tell of."""

import random
import threading

import pytest

from harness import Error, Server, encode, wait_until

OOM = b"OOM command not allowed when used memory > 'maxmemory'."
SLACK = 60_000  # what connections take of buffers when it is looked at


def used(conn):
    return int(conn.info("memory")["used_memory"])


def limit(conn, more, policy):
    conn.ok("CONFIG", "SET", "maxmemory-policy", policy)
    conn.ok("CONFIG", "SET", "maxmemory", used(conn) + more)
    return int(conn.info("memory")["maxmemory"])


def fill(c, n, *options):
    for first in range(0, n, 500):
        c.send(b"".join(encode(["SET", "small:%d" % i, "v" * 200, *options]) for i in range(first, first + 500)))
        for _ in range(500):
            c.read()


def test_one_shard_gets_what_the_others_have(shards):
    """Nothing may go on the shard that is written to: each write waits until others have made room, and none is refused before the
    last of their keys has gone."""
    with Server("anax", shards=shards) as server, server.connect() as c, server.connect() as watcher:
        idle = used(watcher)
        top = limit(c, 3_000_000, "volatile-random")
        fill(c, 12_000, "EX", "10000")
        size, count, most = 20_000, 0, 0
        while not isinstance(reply := c.cmd("SET", "{one}%d" % count, "x" * size), Error):
            count += 1
            most = max(most, used(watcher))
        assert reply == OOM
        assert most <= top + size + SLACK
        assert count * size >= 0.85 * (top - idle)
        assert c.cmd("DBSIZE") == count
        assert all(c.cmd("STRLEN", "{one}%d" % i) == size for i in range(count))


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-lru"])
def test_writers_with_large_values_for_one_shard(shards, policy):
    """In pipelines, in transactions, and of many keys at once, while small keys come and go on all shards: nothing is refused, and the
    total stays where it has to."""
    size, errors, most, ended = 10_000, [], [0], threading.Event()
    options = ["EX", "10000"] if policy == "volatile-lru" else []

    def small(server, seed):
        rng = random.Random(seed)
        with server.connect() as c:
            while not ended.is_set():
                replies = c.pipeline([["SET", "s%d" % rng.randrange(20_000), "v" * rng.randrange(400), *options] for _ in range(30)])
                errors.extend(r for r in replies if isinstance(r, Error))

    def large(server, seed):
        rng = random.Random(seed)
        with server.connect() as c:
            for _ in range(60):
                keys = ["{one}%d:%d" % (seed, rng.randrange(12)) for _ in range(3)]
                sets = [["SET", key, "x" * size] for key in keys]
                way = rng.randrange(3)
                if way == 0:
                    replies = c.pipeline(sets)
                elif way == 1:
                    replies = c.pipeline([["MULTI"], *sets, ["SET", "elsewhere%d" % seed, "x"], ["EXEC"]])
                else:
                    replies = [c.cmd("MSET", *[w for s in sets for w in s[1:]], "elsewhere%d" % seed, "x")]
                errors.extend(r for r in replies if isinstance(r, Error))

    with Server("anax", shards=shards) as server, server.connect() as c:
        fill(c, 6_000, *options)
        top = limit(c, 2_000_000, policy)
        threads = [threading.Thread(target=large, args=(server, i)) for i in range(3)]
        others = [threading.Thread(target=small, args=(server, i)) for i in range(2)]
        for t in threads + others:
            t.start()
        while any(t.is_alive() for t in threads):
            most[0] = max(most[0], used(c))
        ended.set()
        for t in threads + others:
            t.join()
        assert not errors
        assert most[0] <= top + len(threads) * 4 * size + 2 * SLACK


MAKES = """COPY hash{s} other{s}|COPY zset{s} other{s}|SUNIONSTORE to{s} set{s} set2{s}|SDIFFSTORE to{s} set{s} none{s}
SINTERSTORE to{s} set{s} set{s}|ZUNIONSTORE to{s} 2 zset{s} set{s}|ZRANGESTORE to{s} zset{s} 0 -1|SORT set{s} ALPHA STORE to{s}
SETRANGE small{s} 300000 x|SETBIT small{s} 2400000 1|BITFIELD small{s} SET u8 2400000 1|BITOP NOT to{s} string{s}|APPEND string{s} x"""


def made(c, tag):
    names = ["m%06d" % i for i in range(20_000)]
    c.ok("SET", "string" + tag, "x" * 300_000)
    c.ok("SET", "small" + tag, "x")
    c.cmd("SADD", "set" + tag, *names)
    c.cmd("SADD", "set2" + tag, *[n + "x" for n in names])
    c.cmd("HSET", "hash" + tag, *[w for n in names for w in (n, n)])
    c.cmd("ZADD", "zset" + tag, *[w for i, n in enumerate(names) for w in (str(i), n)])


@pytest.mark.parametrize("tag", ["{one}", ""])
@pytest.mark.parametrize("shards", [1, 3])
def test_what_commands_make_needs_room(shards, tag):
    """Refused when there is none, with nothing changed and nothing left; done, within the limit, when others may go."""
    with Server("anax", shards=shards) as server, server.connect() as c:
        for words in (line.replace("{s}", tag).split() for line in MAKES.replace("\n", "|").split("|")):
            grows = 300_000 if words[0] != "APPEND" else 0
            c.ok("CONFIG", "SET", "maxmemory", "0")
            c.ok("FLUSHALL", "SYNC")
            made(c, tag)
            before = c.cmd("DBSIZE"), c.cmd("STRLEN", "small" + tag), c.cmd("STRLEN", "string" + tag)
            top = limit(c, 60_000 if grows else 2_000, "noeviction")
            if grows:
                assert c.cmd(*words) == OOM, words
                assert before == (c.cmd("DBSIZE"), c.cmd("STRLEN", "small" + tag), c.cmd("STRLEN", "string" + tag)), words
                assert used(c) <= top + SLACK, words
            c.ok("CONFIG", "SET", "maxmemory", "0")
            fill(c, 6_000, "EX", "10000")
            top = limit(c, 10_000, "volatile-lru")
            assert not isinstance(c.cmd(*words), Error), words
            if shards == 1:
                assert used(c) <= top + SLACK, words
            else:  # others pay for it in their next turn
                wait_until(lambda: used(c) <= top + SLACK, "room after %s" % words)
