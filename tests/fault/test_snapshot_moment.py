"""A file of BGSAVE holds one state between transactions, whatever clients do meanwhile; on real threads. redis-server loads each and
is asked. tests/sim/snapshot_sim.c does the same thousands of times on simulated ones.

What is in balance: the sum of all accounts; both keys of a pair; both lists of a pair of long ones; a long list that has one of three
names; and what was acknowledged before BGSAVE is in the file, what was sent after its end is not.
"""

import itertools
import os
import random
import shutil
import threading
import time

import pytest

from harness import Error, Server, wait_until

ACCOUNTS, PAIRS, LONG, SNAPSHOTS = 20, 12, 6000, 4
EVERY_KIND = True  # how threads meet depends on how many there are, and on the backend


class Clients:
    """Threads that write until they are told to stop."""

    def __init__(self, server, evicts):
        self.server, self.evicts, self.over, self.errors = server, evicts, threading.Event(), []
        self.sent, self.acked = [0] * PAIRS, [0] * PAIRS
        self.threads = [threading.Thread(target=self.guard, args=(f, seed)) for seed, f in enumerate(
            [self.transfers, self.transfers, self.pairs, self.twins, self.travels, self.others, self.big])]
        for t in self.threads:
            t.start()

    def guard(self, f, seed):
        try:
            with self.server.connect() as c:
                f(c, random.Random(seed))
        except Exception as e:
            self.errors.append(repr(e))

    def stop(self):
        self.over.set()
        for t in self.threads:
            t.join()
        assert not self.errors, self.errors

    def transfers(self, c, rng):
        while not self.over.is_set():
            a, b, n = rng.randrange(ACCOUNTS), rng.randrange(ACCOUNTS), rng.randrange(100)
            c.pipeline([["MULTI"], ["DECRBY", "account:%d" % a, str(n)], ["INCRBY", "account:%d" % b, str(n)], ["EXEC"]])

    def pairs(self, c, rng):
        for value in itertools.count(1):
            if self.over.is_set():
                return
            p = rng.randrange(PAIRS)
            self.sent[p] = value
            r = c.cmd("MSET", "pair:%d:0" % p, value, "pair:%d:1" % p, value)
            if r == b"OK":
                self.acked[p] = value
            else:  # nothing is left that may be evicted
                assert self.evicts and r.startswith(b"OOM"), r

    def twins(self, c, rng):
        for value in itertools.count():
            if self.over.is_set():
                return
            push = rng.random() < 0.6
            c.pipeline([["MULTI"]] + [["RPUSH", "twin:%d" % i, str(value)] if push else ["LTRIM", "twin:%d" % i, "1", "-1"] for i in (0, 1)] + [["EXEC"]])

    def travels(self, c, rng):
        while not self.over.is_set():
            r = c.cmd("RENAMENX", "traveller:%d" % rng.randrange(3), "traveller:%d" % rng.randrange(3))
            assert not isinstance(r, Error) or r == b"ERR no such key", r

    def others(self, c, rng):
        """What must not disturb the walk: growth, shrinking, expiry or eviction, databases that are emptied and swapped."""
        n = 0
        while not self.over.is_set():
            n += 1
            c.pipeline([["SET", "new:%d" % (n * 50 + i), "x" * rng.randrange(200), "PX", str(1 + rng.randrange(1000000 if self.evicts else 50))] for i in range(50)])
            c.pipeline([["SELECT", "1"], ["MSET", "both:0", str(n), "both:1", str(n)], ["SELECT", "0"]])
            if n % 5 == 0:
                c.ok("SWAPDB", 1, 2)
            if n % 7 == 0:
                c.pipeline([["SELECT", "2"], ["FLUSHDB"], ["SELECT", "0"]])

    def big(self, c, rng):
        """A hash, a set and a sorted set, long enough to be told in slices: all three have as many as each other."""
        for n in itertools.count(LONG):
            if self.over.is_set():
                return
            c.pipeline([["MULTI"], ["HSET", "hash", "f%d" % n, "x"], ["SADD", "set", "m%d" % n], ["ZADD", "zset", str(n), "z%d" % n], ["EXEC"]])
            time.sleep(0.001)


def fill(server):
    with server.connect() as c:
        c.pipeline([["SET", "account:%d" % i, "0"] for i in range(ACCOUNTS)])
        for name in ("twin:0", "twin:1", "traveller:0"):
            c.cmd("RPUSH", name, *[str(i) for i in range(LONG)])
        for i in range(0, LONG, 1000):
            some = range(i, i + 1000)
            c.cmd("HSET", "hash", *[w for n in some for w in ("f%d" % n, "x")])
            c.cmd("SADD", "set", *["m%d" % n for n in some])
            c.cmd("ZADD", "zset", *[w for n in some for w in (str(n), "z%d" % n)])
        for i in range(0, 40000, 2000):
            c.pipeline([["SET", "filler:%d" % n, "y" * 30] for n in range(i, i + 2000)])


def snapshot(server):
    with server.connect() as c:
        c.cmd("BGSAVE")
        while True:
            info = c.info("persistence")
            if info["rdb_bgsave_in_progress"] == "0":
                assert info["rdb_last_bgsave_status"] == "ok"
                return
            time.sleep(0.005)


def check(c, acked, sent):
    assert sum(int(c.cmd("GET", "account:%d" % i)) for i in range(ACCOUNTS)) == 0
    for p in range(PAIRS):
        a, b = (int(c.cmd("GET", "pair:%d:%d" % (p, i)) or 0) for i in (0, 1))
        assert a == b
        assert acked[p] <= a <= sent[p]
    a, b = (c.cmd("LRANGE", "twin:%d" % i, 0, -1) for i in (0, 1))
    assert a == b and len(a) > 0
    assert sorted(c.cmd("LLEN", "traveller:%d" % i) for i in range(3)) == [0, 0, LONG]
    lengths = {c.cmd("HLEN", "hash"), c.cmd("SCARD", "set"), c.cmd("ZCARD", "zset")}
    assert len(lengths) == 1 and min(lengths) >= LONG
    assert sum(c.cmd("EXISTS", *["filler:%d" % n for n in range(i, i + 1000)]) for i in range(0, 40000, 1000)) == 40000
    for db in (1, 2):
        c.ok("SELECT", db)
        assert c.cmd("GET", "both:0") == c.cmd("GET", "both:1")
    c.ok("SELECT", 0)


@pytest.mark.parametrize("shards, io, evicts", [(1, "uring", False), (2, "epoll", False), (3, "uring", True), (8, "uring", False), (8, "epoll", True)])
def test_one_state_between_transactions(shards, io, evicts, tmp_path):
    with Server("anax", shards=shards, io=io) as server:
        fill(server)
        if evicts:
            with server.connect() as c:
                c.ok("CONFIG", "SET", "maxmemory-policy", "volatile-lru", "maxmemory", str(server.used_memory() + (3 << 20)))
        clients = Clients(server, evicts)
        try:
            for n in range(SNAPSHOTS):
                acked = list(clients.acked)
                snapshot(server)
                sent = list(clients.sent)
                shutil.copy(os.path.join(server.dir, "dump.rdb"), str(tmp_path / ("%d.rdb" % n)))
                with Server("redis", options={"dir": str(tmp_path), "dbfilename": "%d.rdb" % n}) as other, other.connect() as c:
                    check(c, acked, sent)
        finally:
            clients.stop()
        assert (int(server.info("stats")["evicted_keys"]) > 0) == evicts


@pytest.mark.parametrize("shards", [1, 3])
def test_what_was_flushed_is_no_room_while_it_is_saved(shards):
    """It stays until the walk has been there: who makes room for a write must not wait for it, but evict."""
    with Server("anax", shards=shards) as server, server.connect() as c:
        c.pipeline([["SET", "kept:%d" % i, "x" * 30] for i in range(2000)])
        c.ok("SELECT", 2)
        c.pipeline([["SET", "flushed:%d" % i, "x" * 30] for i in range(200)])
        c.ok("SELECT", 0)
        c.ok("CONFIG", "SET", "maxmemory-policy", "volatile-lru", "maxmemory", str(server.used_memory() + (3 << 20)))
        c.ok("CONFIG", "SET", "rdb-key-save-delay", "100000")
        assert c.cmd("BGSAVE") == b"Background saving started"
        c.pipeline([["SELECT", "2"], ["FLUSHDB"], ["SELECT", "0"]])
        assert int(server.info("memory")["lazyfree_pending_objects"]) == 200
        for n in range(50):
            c.pipeline([["SET", "new:%d" % (n * 100 + i), "x" * 1000, "PX", "1000000"] for i in range(100)])
        stats = server.info("stats")
        assert int(stats["evicted_keys"]) > 0
        assert server.info("persistence")["rdb_bgsave_in_progress"] == "1"
        c.ok("CONFIG", "SET", "rdb-key-save-delay", "0")
        wait_until(lambda: server.info("persistence")["rdb_bgsave_in_progress"] == "0", "the save has ended")
        wait_until(lambda: server.info("memory")["lazyfree_pending_objects"] == "0", "what was flushed is freed")
