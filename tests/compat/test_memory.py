"""MEMORY beside redis-server 7.0: fields, their order and types, errors; and what only Anax promises: MEMORY USAGE is exact,
shards add up. Lazy freeing: options, UNLINK, FLUSHALL, and what INFO counts."""

import random
import re

import pytest

from harness import SLOW, Error, Map, Server, Verbatim, encode, wait_until


def usage(c, key):
    return c.cmd("MEMORY", "USAGE", key)


def pairs(flat):
    return dict(zip(flat[::2], flat[1::2]))


def memory(c):
    return {f: int(v) for f, v in c.info("memory").items() if re.fullmatch(r"-?\d+", v)}


# --- USAGE ---------------------------------------------------------------------------------------------

WORDS = ["k", "missing", "k SAMPLES 0", "k samples 5", "k SAMPLES 5 SAMPLES 3", "k SAMPLES 99999999999999", "missing SAMPLES 5",
         "k a", "k SAMPLES", "k SAMPLES -1", "k SAMPLES x", "k SAMPLES 1 x", "missing SAMPLES -1", "missing SAMPLES 2 foo",
         "missing nosuch", "k SAMPLES 9223372036854775808", "", "k SAMPLES 1 SAMPLES -1", "k SAMPLES x SAMPLES"]


@pytest.mark.parametrize("words", WORDS)
def test_usage_takes_what_redis_takes(anax2, redis, words):
    got = []
    for server in (anax2, redis):
        with server.connect() as c:
            c.cmd("FLUSHALL")
            c.ok("SET", "k", "v")
            reply = c.cmd("MEMORY", "USAGE", *words.split())
            got.append("a number" if type(reply) is int and reply > 0 else reply)
    assert got[0] == got[1]


@pytest.mark.parametrize("line", ["MEMORY", "MEMORY NOSUCH", "MEMORY STATS x", "MEMORY DOCTOR x", "MEMORY PURGE x",
                                  "MEMORY MALLOC-STATS x", "MEMORY HELP x", "MEMORY PURGE", "memory purge"])
def test_errors_are_redis_s(anax2, redis, line):
    assert anax2.cmd(*line.split()) == redis.cmd(*line.split())


def values(rng):
    """(commands that store it, whatever it is)"""
    def members(n):
        return [b"%d" % i if rng.random() < 0.5 else b"member:%d" % i for i in range(n)]

    yield [["SET", "k", "v"]]
    yield [["SET", "k", "12345678901234"]]
    yield [["SET", "k", "v" * 100, "EX", "1000"]]
    yield [["SET", "a-long-key:" + "x" * 300, "v"]]
    yield [["SET", "k", "x" * 1023]]
    yield [["SET", "k", "x" * 1024]]
    yield [["SET", "k", "x" * 100_000]]
    yield [["APPEND", "k", "x" * 3000], ["SETRANGE", "k", "50000", "y"]]
    for n in (3, 200, 5000):
        yield [["RPUSH", "k"] + members(n)]
        yield [["SADD", "k"] + members(n)]
        yield [["SADD", "k"] + [b"%d" % i for i in range(n)]]
        yield [["HSET", "k"] + [x for m in members(n) for x in (m, m)]]
        yield [["ZADD", "k"] + [x for i, m in enumerate(members(n)) for x in (b"%d" % i, m)]]
    yield [["HSET", "k"] + [x for m in members(50) for x in (m, m)], ["HEXPIRE", "k", "1000", "FIELDS", "1", "0"]]
    yield [["SADD", "k"] + members(2000), ["SREM", "k"] + members(1500)]


def test_usage_is_exact(shards):
    """used_memory becomes less by what the key took when a small string takes its place, to the byte. Buffers of connections
    change too, now and then: then it is done again."""
    with Server("anax", shards=shards, options={"activedefrag": "no", "latency-tracking": "no"}) as server, \
            server.connect() as c:
        for commands in values(random.Random(1)):
            key = commands[0][1]

            def differs_by():
                c.cmd("DEL", key)
                for command in commands:
                    assert not isinstance(c.cmd(*command), Error), command[:3]
                told, full = usage(c, key), memory(c)["used_memory"]
                assert told > 0 and told == c.cmd("MEMORY", "USAGE", key, "SAMPLES", "0")
                c.ok("SET", key, "v")
                wait_until(lambda: memory(c)["lazyfree_pending_objects"] == 0, "it is freed")
                return full - memory(c)["used_memory"], told - usage(c, key)

            def exact():
                measured, told = differs_by()
                return SLOW or measured == told

            wait_until(exact, "%s is told exactly: measured and told %s" % (commands[0][:2], differs_by()))
            c.cmd("DEL", key)
            assert usage(c, key) is None


def test_usage_leaves_the_key_as_it_is(anax2):
    with anax2.connect() as c:
        c.ok("SET", "k", "v")
        before = c.info("stats")["keyspace_hits"]
        usage(c, "k")
        assert c.cmd("MEMORY", "USAGE", "k") > 0 and c.info("stats")["keyspace_hits"] == before
        c.ok("SET", "gone", "v", "PX", "1")
        wait_until(lambda: usage(c, "gone") is None, "it is over")


def test_usage_grows_with_what_is_stored(anax):
    with anax.connect() as c:
        for n in (10, 100, 1000, 10000):
            c.ok("SET", "k%d" % n, "x" * n)
            c.cmd("RPUSH", "l%d" % n, *["x" * 100 for _ in range(n)])
        assert all(n <= usage(c, "k%d" % n) <= n * 1.3 + 32 for n in (10, 100, 1000, 10000))
        assert all(100 * n <= usage(c, "l%d" % n) <= 130 * n + 200 for n in (10, 100, 1000, 10000))


# --- STATS ---------------------------------------------------------------------------------------------


def kind(value):
    """The type of a reply; what is told for people is a number in digits."""
    if isinstance(value, bytes) and re.fullmatch(rb"-?[0-9.e+-]+|inf", value):
        return "digits"
    return type(value).__name__


@pytest.mark.parametrize("proto", [2, 3])
def test_stats_are_redis_s(anax2, redis, proto):
    """Names, order and types, with two databases in use; ours come behind."""
    got = []
    for server in (anax2, redis):
        with server.connect() as c:
            c.cmd("FLUSHALL")
            c.ok("SET", "a", "1")
            c.ok("SELECT", "3")
            c.ok("SET", "b", "1", "EX", "100")
            c.cmd("HELLO", proto)
            stats = c.cmd("MEMORY", "STATS")
            assert isinstance(stats, Map if proto == 3 else list)
            got.append(list(stats) if proto == 3 else list(zip(stats[::2], stats[1::2])))
    ours = [(name, value) for name, value in got[0] if not name.startswith(b"shard.")]
    assert [(n, kind(v)) for n, v in ours] == [(n, kind(v)) for n, v in got[1]]
    for (name, our), (_, their) in zip(ours, got[1]):
        if name.startswith(b"db."):
            assert [x for x in our if kind(x) == "bytes"] == [x for x in their if kind(x) == "bytes"]
    if anax2.is_anax:
        assert [n for n, _ in got[0]][len(ours) :] == [b"shard.0", b"shard.1"]


def test_stats_agree_with_info(shards):
    with Server("anax", shards=shards) as server, server.connect() as c:
        c.pipeline([["SET", "key:%d" % i, "v" * 100] for i in range(5000)])
        stats, info = pairs(c.cmd("MEMORY", "STATS")), c.info()
        assert stats[b"keys.count"] == 5000
        assert abs(stats[b"total.allocated"] - int(info["used_memory"])) < 200_000
        assert stats[b"startup.allocated"] == int(info["used_memory_startup"])
        assert stats[b"peak.allocated"] >= stats[b"total.allocated"]
        assert 100 < stats[b"keys.bytes-per-key"] < 1000 or SLOW
        assert stats[b"overhead.total"] + stats[b"dataset.bytes"] == stats[b"total.allocated"]
        assert 0 < float(stats[b"dataset.percentage"]) <= 100 and 0 < float(stats[b"peak.percentage"]) <= 100
        parts = [pairs(stats[b"shard.%d" % i]) for i in range(shards)]
        assert sum(p[b"used"] for p in parts) == stats[b"total.allocated"]
        assert sum(p[b"keys"] for p in parts) == 5000
        assert sum(p[b"overhead.hashtable.main"] for p in parts) == pairs(stats[b"db.0"])[b"overhead.hashtable.main"] > 0
        assert all(p[b"share"] == 0 and p[b"evicted"] == 0 for p in parts)


def test_what_shards_have_of_maxmemory(shards):
    """Each has what it uses; all together have no more than there is. Then some evict."""
    with Server("anax", shards=shards, options={"maxmemory-policy": "allkeys-lru"}) as server, server.connect() as c:
        limit = memory(c)["used_memory"] + 2_000_000
        c.ok("CONFIG", "SET", "maxmemory", limit)
        for at in range(0, 20_000, 1000):
            c.pipeline([["SET", "key:%d" % i, "v" * 200] for i in range(at, at + 1000)])

        def shares():
            stats = pairs(c.cmd("MEMORY", "STATS"))
            return [pairs(stats[b"shard.%d" % i]) for i in range(shards)]

        wait_until(lambda: sum(p[b"share"] for p in shares()) <= limit, "the shares fit")
        parts = shares()
        assert all(p[b"share"] > 0 for p in parts) and sum(p[b"evicted"] for p in parts) > 1000
        lines = [{k: int(v) for k, v in (p.split("=") for p in line.split(","))}
                 for f, line in c.info("shards").items() if f.startswith("shard")]
        assert sum(x["evicted"] for x in lines) == int(c.info("stats")["evicted_keys"]) == sum(p[b"evicted"] for p in parts)
        assert all(x["share"] > 0 for x in lines)


def test_time_beyond_the_limit(shards):
    """More is used than maxmemory allows, and nothing may go: that is told, until there is room again."""
    with Server("anax", shards=shards) as server, server.connect() as c:
        c.ok("SET", "k", "x" * 1_000_000)

        def told():
            stats = c.info("stats")
            return int(stats["total_eviction_exceeded_time"]), int(stats["current_eviction_exceeded_time"])

        assert told() == (0, 0)
        c.ok("CONFIG", "SET", "maxmemory", "500000")
        wait_until(lambda: told()[1] > 150, "it is told")
        assert told()[0] >= 150
        c.ok("CONFIG", "SET", "maxmemory", "0")
        wait_until(lambda: told()[1] == 0, "it is over")
        total = told()[0]
        assert total >= 150 and told() == (total, 0)
        c.ok("CONFIG", "RESETSTAT")
        assert told() == (0, 0)


# --- DOCTOR, MALLOC-STATS, PURGE, HELP -------------------------------------------------------------------


def test_doctor():
    with Server("anax", shards=2) as server, server.connect() as c:
        assert b"empty" in c.cmd("MEMORY", "DOCTOR")
        c.cmd("HELLO", "3")
        assert isinstance(c.cmd("MEMORY", "DOCTOR"), Verbatim)
        c.cmd("HELLO", "2")
        for i in range(60):
            c.ok("SET", "k%d" % i, "x" * 1_000_000)
        assert b"Peak" not in c.cmd("MEMORY", "DOCTOR") and b"Limit" not in c.cmd("MEMORY", "DOCTOR")
        wait_until(lambda: memory(c)["used_memory_peak"] > 60_000_000, "the peak is seen")
        for i in range(50):
            c.cmd("DEL", "k%d" % i)
        wait_until(lambda: b"Peak" in c.cmd("MEMORY", "DOCTOR"), "much was used once")
        c.ok("CONFIG", "SET", "maxmemory", "1mb")
        assert b"Limit" in c.cmd("MEMORY", "DOCTOR")
        c.ok("CONFIG", "SET", "maxmemory", "0")
        late = server.connect(rcvbuf_bytes=4096)
        late.ok("SET", "v", "v" * 10_000)
        late.send(encode(["GET", "v"]) * 1500)
        wait_until(lambda: b"Clients" in c.cmd("MEMORY", "DOCTOR"), "a client takes much")
        late.close()


def test_malloc_stats(anax2):
    with anax2.connect() as c:
        c.cmd("HELLO", "3")
        text = c.cmd("MEMORY", "MALLOC-STATS")
        assert isinstance(text, Verbatim)
        assert b"not supported" in text if SLOW else b"jemalloc statistics" in text and b"Allocated: " in text


def test_purge_gives_pages_back():
    with Server("anax", shards=2) as server, server.connect() as c:
        for i in range(100):
            c.ok("SET", "k%d" % i, "x" * 300_000)
        full = server.rss_bytes()
        c.cmd("FLUSHALL")
        wait_until(lambda: memory(c)["lazyfree_pending_objects"] == 0, "all is freed")
        assert c.cmd("MEMORY", "PURGE") == b"OK"
        if not SLOW:
            wait_until(lambda: full - server.rss_bytes() > 25_000_000, "it is the system's again")


def test_help(anax2, redis):
    def names(server):
        return [line for line in server.cmd("MEMORY", "HELP") if not line.startswith(b" ")]

    assert names(anax2) == names(redis)


def test_in_multi_and_on_all_shards(anax):
    with anax.connect() as c:
        for i in range(20):
            c.ok("SET", "k%d" % i, "v" * i)
        c.ok("MULTI")
        for i in range(20):
            assert c.cmd("MEMORY", "USAGE", "k%d" % i) == b"QUEUED"
        c.cmd("MEMORY", "STATS")
        c.cmd("MEMORY", "PURGE")
        got = c.cmd("EXEC")
        assert all(type(n) is int and n > i for i, n in enumerate(got[:20])) and len(got) == 22 and got[21] == b"OK"


# --- lazy freeing --------------------------------------------------------------------------------------

LAZY = ["lazyfree-lazy-eviction", "lazyfree-lazy-expire", "lazyfree-lazy-server-del", "lazyfree-lazy-user-del",
        "lazyfree-lazy-user-flush"]
FLUSHES = ["", "SYNC", "ASYNC", "async", "SYNC ASYNC", "NOSUCH", "ASYNC x", "SYNC SYNC"]


@pytest.mark.parametrize("option", LAZY)
def test_options_are_taken(anax2, redis, option):
    got = []
    for server in (anax2, redis):
        with server.connect() as c:
            got.append([c.cmd("CONFIG", "GET", option)] + [x for v in ("yes", "no", "maybe", "") for x in (
                c.cmd("CONFIG", "SET", option, v), c.cmd("CONFIG", "GET", option))])
    assert got[0] == got[1]
    assert "not used yet" not in anax2.log()


@pytest.mark.parametrize("command", ["FLUSHALL", "FLUSHDB"])
@pytest.mark.parametrize("words", FLUSHES)
def test_flushes(anax2, redis, command, words):
    got = []
    for server in (anax2, redis):
        with server.connect() as c:
            c.cmd("FLUSHALL")
            c.ok("SET", "a", "1")
            c.ok("SELECT", "2")
            c.ok("SET", "b", "1")
            reply = c.cmd(command, *words.split())
            here = c.cmd("DBSIZE")
            c.ok("SELECT", "0")
            got.append((reply, isinstance(reply, Error), here, c.cmd("DBSIZE")))
    assert got[0] == got[1]


@pytest.mark.parametrize("setting", ["yes", "no"])
@pytest.mark.parametrize("way", ["DEL", "UNLINK", "SET", "RENAME", "EXPIRE", "FLUSHALL", "FLUSHALL ASYNC"])
def test_whatever_they_say_it_is_freed_in_slices(anax2, way, setting):
    with anax2.connect() as c:
        for option in LAZY:
            c.ok("CONFIG", "SET", option, setting)
        c.cmd("SADD", "{k}small", "a")
        for at in range(0, 30_000, 1000):
            c.cmd("SADD", "{k}big", *["member:%d" % i for i in range(at, at + 1000)])
        wait_until(lambda: memory(c)["lazyfree_pending_objects"] == 0, "what was before is freed")
        c.ok("CONFIG", "RESETSTAT")
        big = usage(c, "{k}big")
        full = memory(c)["used_memory"]
        c.send({"DEL": encode(["DEL", "{k}big"]), "UNLINK": encode(["UNLINK", "{k}big"]),
                "SET": encode(["SET", "{k}big", "1"]), "RENAME": encode(["RENAME", "{k}small", "{k}big"]),
                "EXPIRE": encode(["PEXPIRE", "{k}big", "-1"]), "FLUSHALL": encode(["FLUSHALL"]),
                "FLUSHALL ASYNC": encode(["FLUSHALL", "ASYNC"])}[way])
        assert not isinstance(c.read().value, Error)
        wait_until(lambda: memory(c)["lazyfree_pending_objects"] == 0, "it is freed")
        assert memory(c)["lazyfreed_objects"] >= 1
        if not SLOW:
            wait_until(lambda: memory(c)["used_memory"] < full - big * 0.9, "it is given back")
        for option in LAZY:
            c.ok("CONFIG", "SET", option, "no")


def test_sync_means_that_it_is_freed(shards):
    with Server("anax", shards=shards) as server, server.connect() as c:
        for at in range(0, 30_000, 1000):
            c.cmd("SADD", "big", *["member:%d" % i for i in range(at, at + 1000)])
            c.pipeline([["SET", "k%d" % i, "v"] for i in range(at, at + 1000)])
        assert c.cmd("FLUSHALL", "SYNC") == b"OK"
        now = memory(c)
        assert now["lazyfree_pending_objects"] == 0 and now["lazyfreed_objects"] >= 30_001


def test_unlink_counts_as_del_does(anax, redis):
    got = []
    for server in (anax, redis):
        with server.connect() as c:
            c.cmd("FLUSHALL")
            keys = ["k%d" % i for i in range(20)]
            for k in keys[::2]:
                c.ok("SET", k, "v")
            got.append([c.cmd("UNLINK", *keys), c.cmd("UNLINK", *keys), c.cmd("UNLINK"), c.cmd("DBSIZE"),
                        c.cmd("SADD", "s", "a"), c.cmd("UNLINK", "s", "s", "s")])
    assert got[0] == got[1]
