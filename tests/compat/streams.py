"""streams.py: runs one stream of commands against two servers and finds the first difference.

By hand    tests/compat/streams.py --seed 7 --shards 2 --io epoll --proto 3 replays what a failing
           test printed; --count N goes on through N seeds and collects what differs.
"""

import argparse
import os
import random
import sys
import threading
import time

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import compare
import differences
import grammar
from harness import Closed, Error, Reply, Server, encode

DATABASES = range(4)  # those that streams select
SHRINK_S = 20
SHOWN = 25  # commands of a replay that are printed


class Mismatch(Exception):
    def __init__(self, index, row, args, ours, theirs):
        self.index, self.row, self.args_, self.ours, self.theirs = index, row, args, ours, theirs
        super().__init__("%s\n  anax:  %s\n  redis: %s" % (show(args), clip(ours), clip(theirs)))


def clip(reply, most=300):
    text = repr(reply.raw if hasattr(reply, "raw") else reply)
    return text if len(text) <= most else text[:most] + "... (%d bytes)" % len(text)


def show(args):
    """A command as a Python list that can be pasted."""
    return "[" + ", ".join(
        repr(a) if len(a) <= 60 else "%r * %d" % (a[:1], len(a)) if a == a[:1] * len(a)
        else "%r... (%d bytes)" % (a[:40], len(a)) for a in args) + "]"


class Pair:
    """The same connection state on both servers."""

    def __init__(self, anax, redis, proto):
        self.servers = (anax, redis)
        self.proto = proto
        self.conns = []

    def reset(self):
        """Empty databases and fresh connections."""
        for c in self.conns:
            c.close()
        self.conns = [s.connect() for s in self.servers]
        for c in self.conns:
            c.ok("FLUSHALL")
            if self.proto == 3:
                assert not isinstance(c.cmd("HELLO", "3"), Error)

    def run(self, commands, base=0):
        """One pipeline to both; raises Mismatch."""
        data = b"".join(encode(a) for _, a in commands)
        senders = [threading.Thread(target=c.send_quietly, args=(data,)) for c in self.conns]
        for s in senders:
            s.start()
        try:
            replies = [[c.read() for _ in commands] for c in self.conns]
        except Closed:
            raise AssertionError("connection closed in the middle of valid requests") from None
        finally:
            for s in senders:
                s.join()
        for i, ((row, a), ours, theirs) in enumerate(zip(commands, *replies)):
            if not compare.same(row, a, ours, theirs):
                raise Mismatch(base + i, row, a, ours, theirs)

    def compare_state(self):
        """Everything that is stored, and until when, is the same on both."""
        states = []
        for server in self.servers:
            with server.connect() as c:
                states.append([dump(c, db) for db in DATABASES])
        for db, (ours, theirs) in enumerate(zip(*states)):
            assert ours.keys() == theirs.keys(), (db, sorted(ours), sorted(theirs))
            for key in ours:
                (value_a, type_a, ttl_a), (value_b, type_b, ttl_b) = ours[key], theirs[key]
                assert value_a == value_b, (db, key, clip(value_a), clip(value_b))
                assert type_a == type_b, (db, key, type_a, type_b)
                replies = [Reply(b"", ttl) for ttl in (ttl_a, ttl_b)]
                assert compare.same_int(ttl_a, ttl_b, compare.CLOCK_S * 1000) or \
                    differences.intended([b"PTTL", key], *replies), (db, key, ttl_a, ttl_b)


def scan_all(c, *options):
    """A full iteration; SCAN may return a key twice, but must end."""
    keys, cursor, steps = set(), b"0", 0
    while True:
        value = c.cmd("SCAN", cursor, *options)
        assert not isinstance(value, Error), value
        cursor, batch = value
        keys.update(batch)
        steps += 1
        assert steps < 1_000_000, "SCAN does not end"
        if cursor == b"0":
            return keys


def dump(c, db):
    c.ok("SELECT", str(db))
    keys = sorted(scan_all(c, "COUNT", "500"))
    assert len(keys) == c.cmd("DBSIZE"), "SCAN and DBSIZE disagree"
    replies = c.pipeline([p for k in keys for p in (["GET", k], ["TYPE", k], ["PTTL", k])])
    values = [r.value for r in replies]
    return {k: tuple(values[3 * i : 3 * i + 3]) for i, k in enumerate(keys)}


def depths(rng, n):
    """Cuts a stream into pipelines of 1 to 5000 commands."""
    at = 0
    while at < n:
        depth = min(n - at, rng.choice([1, 1, 2, 3, 10, 50, 200, 1000, 5000]))
        yield at, depth
        at += depth


def run_seed(pair, seed, n):
    """Runs n commands drawn from the seed; on a difference raises AssertionError with the shortest
    stream that still shows it."""
    rng = random.Random(seed)
    commands = grammar.stream(grammar.Draw(rng), n)
    pair.reset()
    try:
        for at, depth in depths(rng, n):
            pair.run(commands[at : at + depth], at)
        pair.compare_state()
    except Mismatch as m:
        short, last = shrink(pair, commands[: m.index + 1], m)
        raise AssertionError("seed %d, command %d: replies differ\n%s\nshortest stream:\n%s" % (
            seed, m.index, last, "\n".join("  " + show(a) for _, a in short[-SHOWN:]))) from None


def shrink(pair, commands, mismatch):
    """Drops what the difference does not need: halves first, then smaller pieces."""
    deadline = time.monotonic() + SHRINK_S
    last = mismatch

    def still_differs(candidate):
        nonlocal last
        try:
            pair.reset()
            pair.run(candidate)
        except Mismatch as m:
            last = m
            return m.index + 1
        except AssertionError:
            pass
        return 0

    size = len(commands) // 2
    while size >= 1 and time.monotonic() < deadline:
        at = 0
        while at < len(commands) and time.monotonic() < deadline:
            candidate = commands[:at] + commands[at + size :]
            length = still_differs(candidate) if candidate else 0
            if length:
                commands = candidate[:length]
            else:
                at += size
        size //= 2
    return commands, last


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--count", type=int, default=1)
    p.add_argument("--length", type=int, default=3000)
    p.add_argument("--shards", type=int, default=1)
    p.add_argument("--io", default=None)
    p.add_argument("--proto", type=int, default=2)
    a = p.parse_args()
    failed = 0
    with Server("anax", shards=a.shards, io=a.io) as anax, Server("redis") as redis:
        pair = Pair(anax, redis, a.proto)
        for seed in range(a.seed, a.seed + a.count):
            try:
                run_seed(pair, seed, a.length)
            except AssertionError as e:
                failed += 1
                print(e, flush=True)
    print("%d seeds, %d differ" % (a.count, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
