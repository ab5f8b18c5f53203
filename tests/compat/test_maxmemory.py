"""maxmemory: what is refused and how, beside redis-server; that used_memory keeps to it under floods, on any shards, and that
the limit is one for all of them."""

import contextlib
import random
import threading

import pytest

from harness import NULL_ARRAY, Conn, Error, Server, encode, wait_until

OOM = b"OOM command not allowed when used memory > 'maxmemory'."
SLACK = 100_000  # connections, their buffers, and what INFO itself takes
POLICIES = ["allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-s3fifo", "allkeys-lrm"]
VOLATILE = ["volatile-lru", "volatile-lfu", "volatile-random", "volatile-s3fifo", "volatile-lrm", "volatile-ttl"]


def used(conn):
    return int(conn.info("memory")["used_memory"])


def stat(conn, name):
    return int(conn.info("stats")[name])


def limit(conn, more, policy):
    conn.ok("CONFIG", "SET", "maxmemory-policy", policy)
    conn.ok("CONFIG", "SET", "maxmemory", used(conn) + more)
    return int(conn.info("memory")["maxmemory"])


def test_the_experiment_of_tutorials(shards):
    """Redis 8 stores 5,481 keys in 437,096 bytes."""
    stored = {}
    for kind, n in (("anax", shards), ("redis", 1)):
        with Server(kind, shards=n) as server, server.connect() as c:
            limit(c, 437_096, "noeviction")
            count = 0
            while not isinstance(reply := c.cmd("SET", "key%d" % (count + 1), "same_value"), Error):
                count += 1
            assert reply == OOM
            stored[kind] = count
    assert stored["anax"] >= 9000
    assert stored["anax"] > stored["redis"]


REFUSED = """SET a 1|APPEND a 1|INCR n|MSET a 1 b 2|MSETNX y 1 z 2|SETRANGE a 0 x|SETBIT a 1 1|GETSET a 1|LPUSH l 1|RPUSH l 1|LPUSHX l 1|LSET l 0 x
LINSERT l BEFORE x y|RPOPLPUSH l l|LMOVE l l LEFT RIGHT|SADD s 1|SUNIONSTORE d s|SINTERSTORE d s|ZADD z 1 a|ZINCRBY z 1 a|ZUNIONSTORE d 1 z
ZRANGESTORE d z 0 -1|HSET h f v|HSETNX h f v|HINCRBY h n 1|COPY a b|SORT l STORE d|BITOP AND d a|BITFIELD a SET u8 0 1|GETEX a|SETEX a 10 1|PSETEX a 10 1
GET a|MGET a b|DEL a|UNLINK a|EXISTS a|EXPIRE a 100|PERSIST a|TTL a|RENAME a b|LPOP l|RPOP l|LREM l 0 x|LTRIM l 0 0|SREM s 1|SPOP s|ZREM z a|ZPOPMIN z
HDEL h f|HGETALL h|SMOVE s t 1|GETDEL a|LRANGE l 0 -1|SMEMBERS s|TYPE a|SCAN 0 COUNT 1|PING|ECHO x|SORT l|OBJECT ENCODING a|DBSIZE|TOUCH a|FLUSHDB
NOSUCH a|SET a|SET a 1 XX NX|PFADD p 1"""
UNKNOWN_HERE = {"PFADD"}


@pytest.mark.parametrize("multi", [False, True])
def test_what_is_refused(anax, redis, multi):
    for line in REFUSED.replace("\n", "|").split("|"):
        words = line.split()
        if words[0] in UNKNOWN_HERE:
            continue
        got = []
        for server in (anax, redis):
            with server.connect() as c:
                c.ok("CONFIG", "SET", "maxmemory-policy", "noeviction")
                c.ok("CONFIG", "SET", "maxmemory", "0")
                c.cmd("FLUSHALL")
                for setup in ("SET a 5", "RPUSH l 1 2 3", "SADD s 1 2", "ZADD z 1 a 2 b", "HSET h f v n 1"):
                    c.cmd(*setup.split())
                if multi:
                    c.ok("MULTI")
                    queued = c.cmd(*words)
                    with server.connect() as boss:
                        boss.ok("CONFIG", "SET", "maxmemory", "1")
                    got.append((queued, c.cmd("EXEC"), c.cmd("PING")))
                    with server.connect() as boss:
                        boss.ok("CONFIG", "SET", "maxmemory", "0")
                else:
                    c.ok("CONFIG", "SET", "maxmemory", "1")
                    got.append(c.cmd(*words))
                    c.ok("CONFIG", "SET", "maxmemory", "0")
        if words[0] in ("SPOP", "SCAN", "SMEMBERS", "HGETALL"):
            got = [isinstance(g, Error) for g in got]
        assert got[0] == got[1], line


def test_refused_while_it_is_queued(anax, redis):
    got = []
    for server in (anax, redis):
        with server.connect() as c:
            c.cmd("FLUSHALL")
            c.ok("CONFIG", "SET", "maxmemory-policy", "noeviction")
            c.ok("MULTI")
            with server.connect() as boss:
                boss.ok("CONFIG", "SET", "maxmemory", "1")
            got.append([c.cmd("SET", "a", "1"), c.cmd("GET", "a"), c.cmd("EXEC"), c.cmd("GET", "a"),
                        c.cmd("MULTI"), c.cmd("GET", "a"), c.cmd("DISCARD")])
            with server.connect() as boss:
                boss.ok("CONFIG", "SET", "maxmemory", "0")
    assert got[0] == got[1]


def test_a_refused_multi_key_write_changes_nothing(shards):
    with Server("anax", shards=shards) as server, server.connect() as c:
        keys = ["k%d" % i for i in range(40)]
        for k in keys[::2]:
            c.ok("SET", k, "before")
        limit(c, 2000, "noeviction")
        big = "x" * 10_000
        assert isinstance(c.cmd("MSET", *[x for k in keys for x in (k, big)]), Error)
        c.ok("MULTI")
        for k in keys[:3]:
            c.cmd("SET", k, "y" * 200)
        c.cmd("SET", "other", big * 50)  # more than what shards give back that they had kept for later
        reply = c.cmd("EXEC")
        assert isinstance(reply, Error)
        assert [c.cmd("GET", k) for k in keys] == [b"before" if i % 2 == 0 else None for i in range(40)]
        assert c.cmd("DBSIZE") == 20
        c.ok("CONFIG", "SET", "maxmemory", "0")
        assert c.cmd("MSET", *[x for k in keys for x in (k, big)])== b"OK"


@pytest.mark.parametrize("policy", POLICIES)
def test_a_flood_keeps_to_the_limit(shards, policy):
    rng = random.Random(policy)
    with Server("anax", shards=shards) as server, server.connect() as c, server.connect() as watcher:
        top = limit(c, 3_000_000, policy)
        most, least, largest = 0, top, 8000
        for i in range(4000):
            c.ok("SET", "key:%d" % i, "v" * rng.choice([10, 100, 1000, largest]))
            if i % 40 == 0:
                now = used(watcher)
                most = max(most, now)
                least = min(least, now) if most > top - largest else top
        assert most <= top + largest + SLACK
        assert stat(c, "evicted_keys") > 500
        # Since it was full it has been so: what shards evict ahead of writes elsewhere is 1/128 of the limit (room.c).
        assert least > top - top // 128 - (shards + 1) * largest
        assert c.cmd("DBSIZE") > 500


@pytest.mark.parametrize("policy", VOLATILE)
def test_volatile_policies_leave_the_others_alone(shards, policy):
    with Server("anax", shards=shards) as server, server.connect() as c:
        for i in range(500):
            c.ok("SET", "stays:%d" % i, "v" * 100)
        limit(c, 300_000, policy)
        for i in range(3000):
            c.ok("SET", "goes:%d" % i, "v" * 300, "EX", 10_000 + i)
        assert stat(c, "evicted_keys") > 1000
        assert all(c.cmd("EXISTS", "stays:%d" % i) == 1 for i in range(500))
        c.cmd("FLUSHALL")
        refused = [c.cmd("SET", "stays:%d" % i, "v" * 1000) for i in range(1000)]
        assert any(isinstance(r, Error) for r in refused)


@pytest.mark.parametrize("shards", [4])
def test_all_keys_on_one_of_four_shards(shards):
    """One total, however unevenly keys fall: 95% of it is there for one shard."""
    with Server("anax", shards=shards) as server, server.connect() as c:
        idle = used(c)
        top = limit(c, 10_000_000, "allkeys-lru")
        for i in range(30):
            c.send(b"".join(encode(["SET", "{one}%d" % (i * 1000 + j), "v" * 400]) for j in range(1000)))
            for _ in range(1000):
                c.read()
        assert stat(c, "evicted_keys") > 1000
        assert used(c) - idle >= 0.95 * (top - idle)
        c.cmd("FLUSHALL")
        c.ok("CONFIG", "SET", "maxmemory-policy", "noeviction")
        wait_until(lambda: used(c) - idle < 1_000_000, "all is freed")
        count = 0
        while not isinstance(c.cmd("SET", "{one}%d" % count, "v" * 4000), Error):
            count += 1
        assert used(c) - idle >= 0.95 * (top - idle)


@pytest.mark.parametrize("db", [0, 31])
def test_keys_of_any_database_go_for_others(db):
    """One shard has all keys; the others, with none that may go, have it make room for them."""
    with Server("anax", shards=3, options={"databases": "32"}) as server, server.connect() as c:
        c.ok("SELECT", db)
        limit(c, 3_000_000, "allkeys-lru")
        for name, n in ("{one}%d", 4000), ("any:%d", 2000):
            for at in range(0, n, 50):
                replies = c.pipeline([["SET", name % i, "v" * 1000] for i in range(at, at + 50)])
                assert {r.value for r in replies} == {b"OK"}, (name, at)


def test_room_that_others_do_not_use_moves(shards):
    """Filled on all shards, then emptied: what one shard gave up, another uses."""
    with Server("anax", shards=shards) as server, server.connect() as c:
        idle = used(c)
        top = limit(c, 4_000_000, "noeviction")
        i = 0
        while not isinstance(c.cmd("SET", "all:%d" % i, "v" * 1000), Error):
            i += 1
        for j in range(i):
            c.cmd("DEL", "all:%d" % j)
        wait_until(lambda: used(c) - idle < 400_000, "all is freed")
        count = 0
        while not isinstance(c.cmd("SET", "{one}%d" % count, "v" * 1000), Error):
            count += 1
        assert used(c) - idle >= 0.93 * (top - idle)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "allkeys-s3fifo"])
def test_room_follows_the_load(policy):
    """Keys of old lie on all of four shards; then all that is written goes to one. The old ones have to go for it."""
    with Server("anax", shards=4) as server, server.connect() as c:
        idle = used(c)
        top = limit(c, 2_000_000, policy)
        for i in range(6):
            c.send(b"".join(encode(["SET", "old:%d" % (i * 1000 + j), "v" * 400]) for j in range(1000)))
            for _ in range(1000):
                c.read()
        written = [0]

        def write():
            for i in range(1000):
                c.ok("SET", "{one}%d" % (written[0] + i), "v" * 400)
            written[0] += 1000
            mine = c.cmd("EXISTS", *["{one}%d" % i for i in range(max(0, written[0] - 30_000), written[0])])
            return mine * 400 >= 0.5 * (top - idle)

        wait_until(write, "most of the room is that shard's", timeout_s=60)
        assert used(c) <= top + SLACK


def test_a_lower_limit_evicts_at_once(shards):
    with Server("anax", shards=shards) as server, server.connect() as c:
        idle = used(c)
        for i in range(20):
            c.cmd("MSET", *[x for j in range(500) for x in ("k%d" % (i * 500 + j), "v" * 200)])
        full = used(c)
        c.ok("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        c.ok("CONFIG", "SET", "maxmemory", idle + (full - idle) // 2)
        wait_until(lambda: used(c) <= idle + (full - idle) // 2 + SLACK, "what is too much has gone")
        assert c.cmd("DBSIZE") > 2000
        c.ok("CONFIG", "SET", "maxmemory", "0")
        c.ok("SET", "a", "x" * 1_000_000)


def test_big_values_make_room_for_small_ones_and_back(shards):
    """What a large collection takes comes back in slices; the write waits for as much as it needs."""
    with Server("anax", shards=shards) as server, server.connect() as c, server.connect() as watcher:
        top = limit(c, 4_000_000, "allkeys-random")
        most = 0
        for i in range(12):
            for at in range(0, 20000, 500):
                c.cmd("SADD", "big%d" % i, *["member:%d" % j for j in range(at, at + 500)])
            most = max(most, used(watcher))
            c.ok("SET", "string%d" % i, "x" * 1_000_000)
            most = max(most, used(watcher))
        assert most <= top + 1_000_000 + SLACK
        assert stat(c, "evicted_keys") > 0


def fill(conn, tag, top):
    """Small keys up to the limit; with a tag on one shard, so that only that one has something that may go."""
    i = 0
    while stat(conn, "evicted_keys") == 0:
        conn.pipeline([["SET", "%s%d" % (tag, i + j), "v" * 500] for j in range(500)])
        i += 500
    assert used(conn) <= top + SLACK


class Most:
    """The most that was used whenever it was looked at."""

    def __init__(self, conn):
        self.conn, self.bytes = conn, 0

    def look(self):
        self.bytes = max(self.bytes, used(self.conn))
        return True


@contextlib.contextmanager
def full(shards, tag):
    """A server at its limit; who asks it, its limit, and the most that was used."""
    with Server("anax", shards=shards) as server, server.connect() as boss:
        top = limit(boss, 16_000_000, "allkeys-lru")
        fill(boss, tag, top)
        yield server, boss, top, Most(boss)


@pytest.mark.parametrize("tag", ["", "{one}"])
def test_large_writes_on_their_way_keep_to_the_limit(shards, tag):
    """Many clients in the middle of a large write: what goes for it goes before its bytes are there, wherever that lies."""
    size = 1_000_000
    with full(shards, tag) as (server, boss, top, most):
        writers = [server.connect() for _ in range(8)]
        requests = [encode(["SET", "large:%d" % i, "v" * size]) for i in range(len(writers))]
        for writer, request in zip(writers, requests):
            writer.send(request[:200_000])
            most.look()

        def all_begun():
            most.look()
            lines = boss.cmd("CLIENT", "LIST").decode().splitlines()
            return sum(int(word[9:]) for line in lines for word in line.split() if word.startswith("argv-mem=")) > 8 * size

        wait_until(all_begun, "all have room for what they write")
        assert most.bytes <= top + size + SLACK
        for writer, request in zip(writers, requests):  # one by one: INFO adds up what shards say one after the other
            writer.send(request[200_000:])
            assert writer.read().value == b"OK"
            most.look()
        assert most.bytes <= top + size + SLACK
        for writer in writers:
            writer.close()


@pytest.mark.parametrize("tag", ["", "{one}"])
def test_what_multi_keeps_has_room_made_for_it(shards, tag):
    small, large = 20_000, 100_000  # copied, and received into its place
    with full(shards, tag) as (server, boss, top, most):
        writers = [server.connect() for _ in range(6)]
        for writer in writers:
            writer.ok("MULTI")
        for j in range(20):
            for i, writer in enumerate(writers):
                assert writer.cmd("SET", "m:%d:%d" % (i, j), "v" * (small if j % 2 == 0 else large)) == b"QUEUED"
            most.look()
        assert most.bytes <= top + large + SLACK
        for writer in writers:
            assert writer.cmd("EXEC") == [b"OK"] * 20
            most.look()
            writer.close()
        assert most.bytes <= top + 10 * (small + large) + SLACK  # what EXEC does is one write


@pytest.mark.parametrize("tag", ["", "{one}"])
def test_what_arguments_do_not_tell_of_has_room_made_for_it(shards, tag):
    size = 1_000_000
    with full(shards, tag) as (_, c, top, most):
        for i in range(20):
            assert c.cmd("SETRANGE", "far:%d" % i, size, "x") == size + 1
            most.look()
            assert c.cmd("BITOP", "NOT", "not:%d" % i, "far:%d" % i) in (0, size + 1)
            most.look()
        assert most.bytes <= top + size + SLACK


@pytest.mark.parametrize("policy", ["allkeys-lru", "noeviction"])
def test_a_write_larger_than_the_limit_is_refused(shards, policy):
    size = 20_000_000
    with Server("anax", shards=shards) as server, server.connect() as c:
        top = limit(c, 2_000_000, policy)
        for i in range(0, 1000, 100):
            c.pipeline([["SET", "k%d" % (i + j), "v" * 500] for j in range(100)])
        assert c.cmd("SET", "large", "v" * size) == OOM
        wait_until(lambda: used(c) <= top, "its bytes are gone")
        assert c.cmd("EXISTS", "large") == 0
        assert stat(c, "evicted_keys") == 0 or policy != "noeviction"
        c.ok("SET", "small", "v")


@pytest.mark.parametrize("kind", ["redis", 1, 2, 3, 8])
def test_replies_that_nobody_reads_make_keys_go(kind):
    """What is asked for may come to far more than there is room for: it takes the room of keys, and then there is nothing to be replied."""
    asked, size = 10_000, 100_000
    redis = kind == "redis"
    with (Server("redis") if redis else Server("anax", shards=kind)) as server, server.connect() as c:
        for i in range(8):
            c.cmd("RPUSH", "list:%d" % i, *["x" * 1000] * (size // 1000))
        limit(c, 2_000_000, "allkeys-lru")
        with Conn(server.address, rcvbuf_bytes=4096) as greedy:
            greedy.send(b"".join(encode(["LRANGE", "list:%d" % (i % 8), "0", "-1"]) for i in range(asked)))
            wait_until(lambda: b"cmdstat_lrange:calls=%d," % asked in c.cmd("INFO", "commandstats"), "all of them have run")
            assert int(c.info("memory")["used_memory_peak"]) < asked * size // 4  # between shards a thousand are under way at once
        c.ok("CONFIG", "SET", "maxmemory", "0")


def test_evicted_keys_tell_watch(shards):
    with Server("anax", shards=shards) as server, server.connect() as c, server.connect() as other:
        c.ok("SET", "watched", "1")
        c.ok("WATCH", "watched")
        limit(other, 300_000, "allkeys-random")
        i = 0
        while other.cmd("EXISTS", "watched") == 1:
            other.ok("SET", "k%d" % i, "v" * 300)
            i += 1
        c.ok("MULTI")
        c.cmd("SET", "x", "1")
        assert c.cmd("EXEC") == NULL_ARRAY


def test_writers_on_all_shards_at_the_limit(shards):
    """Several clients at once, single and multi-key writes, in transactions and not, while the limit moves."""
    with Server("anax", shards=shards) as server, server.connect() as boss:
        top = limit(boss, 2_000_000, "allkeys-lru")
        errors = []

        def write(seed):
            rng = random.Random(seed)
            with server.connect() as c:
                for i in range(300):
                    n = rng.randrange(1, 12)
                    words = [x for _ in range(n) for x in ("k%d" % rng.randrange(20000), "v" * rng.randrange(600))]
                    if rng.randrange(3) == 0:
                        c.ok("MULTI")
                        for j in range(0, len(words), 2):
                            c.cmd("SET", words[j], words[j + 1])
                        reply = c.cmd("EXEC")
                    else:
                        reply = c.cmd("MSET", *words)
                    if isinstance(reply, Error):
                        errors.append(reply)

        threads = [threading.Thread(target=write, args=(i,)) for i in range(6)]
        for t in threads:
            t.start()
        while any(t.is_alive() for t in threads):
            boss.ok("CONFIG", "SET", "maxmemory", top - 500_000)
            boss.ok("CONFIG", "SET", "maxmemory", top)
        for t in threads:
            t.join()
        assert not errors
        assert used(boss) <= top + 10_000 + SLACK
        boss.ok("CONFIG", "SET", "maxmemory", "0")
        boss.cmd("FLUSHALL")
