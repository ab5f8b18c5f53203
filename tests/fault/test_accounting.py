"""used_memory is what the allocator handed out: through random commands of all families, evictions, refused memory, flushes
and clients that come and go; and what has gone is not counted any more.

The servers run with jemalloc's thread caches off, for what lies in these counts as handed out. Then

    allocator_allocated  =  used_memory  +  a constant

to the byte, whenever nothing moves. The constant is what a process takes that is no shard's: the options, shards and their loops,
rings between them, and what the C library keeps: it is measured when the server has started. Threads that work beside the
shards come and go, and the C library has some bytes for each, the same for all. (Instrumented builds have another
allocator, which does not tell: there only the way back to the beginning is judged.)
"""

import contextlib
import os
import random
import sys

import pytest

from harness import FORGETFUL, ROOT, SLOW, Closed, Error, Server, encode, for_all, wait_until

sys.path.insert(0, os.path.join(ROOT, "tests", "compat"))

import grammar  # noqa: E402

SHARDS = [1, 2, 3, 8]
OPTIONS = {**FORGETFUL, "enable-debug-command": "yes"}
POLICIES = ["allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-s3fifo", "volatile-lru", "volatile-ttl",
            "volatile-s3fifo", "noeviction"]
ROUNDS = 10 if SLOW else 24
GONE = (Closed, ConnectionError, OSError)


def numbers(c):
    return {f: int(v) for f, v in c.info("memory").items() if v.isdigit()}


def gap(c):
    """What the allocator handed out and used_memory does not count."""
    now = numbers(c)
    return now["allocator_allocated"] - now["used_memory"]


def threads(server):
    return len(os.listdir("/proc/%d/task" % server.process.pid))


def agrees(server, control):
    """What was for one thread more is for each the same, and little."""
    more, beside = threads(server) - server.threads, gap(control) - server.gap
    if more == 0 or beside == 0:
        return beside == 0
    if server.thread_bytes is None and beside % more == 0 and 0 < beside // more <= 512:
        server.thread_bytes = beside // more
    return beside == more * (server.thread_bytes or 0)


def check(server, control):
    """Nobody is at work but who asks: it agrees, as soon as nothing is freed or evicted any more."""
    if not SLOW:
        wait_until(lambda: agrees(server, control), "used_memory is what the allocator handed out: %d bytes beside it for "
                   "%d threads, now %d for %d" % (server.gap, server.threads, gap(control), threads(server)))


# --- what is done --------------------------------------------------------------------------------------


def collections(rng):
    """A command of a family with elements: small values that grow into large ones, and shrink again."""
    k = b"%c%d" % (rng.choice(b"hlsz"), rng.randrange(12))
    some = [b"%d" % rng.randrange(3000) if rng.random() < 0.5 else b"m" * rng.randrange(200)
            for _ in range(rng.choice([1, 2, 5, 40]))]
    other = k[:1] + b"%d" % rng.randrange(12)
    return rng.choice({
        ord("h"): [[b"HSET", k] + [x for m in some for x in (m, m)], [b"HDEL", k] + some,
                   [b"HINCRBY", k, b"n", b"1"], [b"HGETALL", k], [b"HRANDFIELD", k, b"5"],
                   [b"HPEXPIRE", k, b"%d" % rng.randrange(1, 50), b"FIELDS", b"1", some[0]]],
        ord("l"): [[b"RPUSH", k] + some, [b"LPUSH", k] + some, [b"LPOP", k, b"7"], [b"LTRIM", k, b"3", b"-4"],
                   [b"LINSERT", k, b"BEFORE", some[0], b"x"], [b"LMOVE", k, other, b"LEFT", b"RIGHT"],
                   [b"LSET", k, b"0", some[0]], [b"LREM", k, b"0", some[0]], [b"SORT", k, b"ALPHA", b"STORE", other]],
        ord("s"): [[b"SADD", k] + some, [b"SADD", k] + [b"%d" % i for i in range(rng.randrange(1500))] + [b"1"],
                   [b"SREM", k] + some, [b"SPOP", k, b"3"], [b"SMOVE", k, other, some[0]], [b"SUNIONSTORE", k, k, other],
                   [b"SINTERSTORE", other, k, other], [b"SMEMBERS", k]],
        ord("z"): [[b"ZADD", k] + [x for m in some for x in (b"%d" % len(m), m)], [b"ZREM", k] + some,
                   [b"ZINCRBY", k, b"2", some[0]], [b"ZPOPMIN", k, b"4"], [b"ZREMRANGEBYRANK", k, b"5", b"-5"],
                   [b"ZUNIONSTORE", k, b"2", k, other], [b"ZRANGESTORE", other, k, b"0", b"20"]],
    }[k[0]])


def anything(rng, n):
    """Commands of all families, in any order."""
    drawn = [args for _, args in grammar.stream(grammar.Draw(rng), n // 2) if args[0].upper() != b"HELLO"]
    drawn += [collections(rng) for _ in range(n // 2)]
    drawn += [[b"DEL", b"%c%d" % (rng.choice(b"hlsz"), rng.randrange(12))] for _ in range(n // 20)]
    drawn += [[rng.choice([b"UNLINK", b"GETDEL"]), b"k%d" % rng.randrange(6)] for _ in range(n // 20)]
    drawn += [[b"SET", b"e%d" % rng.randrange(300), b"v" * rng.randrange(3000), b"PX", b"%d" % rng.randrange(1, 3000)]
              for _ in range(n // 20)]
    rng.shuffle(drawn)
    return drawn


def commands(server, control, rng):
    with contextlib.suppress(*GONE), server.connect() as c:
        drawn = anything(rng, 300)
        for depth in iter(lambda: rng.choice([1, 10, 100]), None):
            if not drawn:
                break
            c.pipeline(drawn[:depth])
            del drawn[:depth]


def transactions(server, control, rng):
    with contextlib.suppress(*GONE), server.connect() as c:
        for _ in range(5):
            c.cmd("WATCH", "k1", "s1", "z2")
            c.cmd("MULTI")
            c.pipeline([a for a in anything(rng, 30) if a[0].upper() not in (b"MULTI", b"EXEC", b"WATCH")])
            c.cmd(rng.choice(["EXEC", "DISCARD", "RESET"]))


def clients(server, control, rng):
    """Some leave in the middle of a command, of MULTI, of replies, or of nothing; with and without a word."""
    some = [server.connect(rcvbuf_bytes=4096) for _ in range(15)]
    for c in some:
        with contextlib.suppress(*GONE):
            c.cmd("CLIENT", "SETNAME", "n" * rng.randrange(1, 100))
            way = rng.randrange(6)
            if way == 0:
                c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$300000\r\n" + b"x" * rng.randrange(200_000))
            elif way == 1:
                c.send(b"*1000\r\n" + b"$100\r\n%s\r\n" % (b"a" * 100) * rng.randrange(900))
            elif way == 2:
                c.cmd("WATCH", "a", "b", "c")
                c.cmd("MULTI")
                c.send(encode(["SET", "b", "x" * rng.randrange(60_000)]) * 5)
            elif way == 3:
                c.cmd("SET", "large", "L" * 60_000)
                c.send(encode(["GET", "large"]) * 200)
            elif way == 4:
                c.send(encode(["MGET"] + ["k%d" % i for i in range(200)]) * 100)
    rng.shuffle(some)
    for c in some:
        c.reset() if rng.random() < 0.5 else c.close()


def flushes(server, control, rng):
    for _ in range(3):
        control.cmd(rng.choice(["FLUSHALL", "FLUSHDB"]), *rng.choice([[], ["SYNC"], ["ASYNC"]]))
        commands(server, control, rng)
    control.cmd("SWAPDB", "0", "1")


def evictions(server, control, rng):
    used = numbers(control)["used_memory"]
    control.ok("CONFIG", "SET", "maxmemory-policy", rng.choice(POLICIES), "maxmemory", used + rng.randrange(-200_000, 200_000))
    commands(server, control, rng)
    with contextlib.suppress(*GONE), server.connect() as c:
        c.pipeline([["SET", "fill:%d" % i, "v" * rng.randrange(2000)] for i in range(500)])
    control.ok("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", rng.choice(POLICIES))


def client_evictions(server, control, rng):
    control.ok("CONFIG", "SET", "maxmemory-clients", rng.choice(["200kb", "1mb"]))
    clients(server, control, rng)
    control.ok("CONFIG", "SET", "maxmemory-clients", "0")


def failures(server, control, rng):
    """Allocations fail. The order that ends it needs some itself, so it is given until it is heard."""
    with contextlib.suppress(*GONE):
        control.cmd("DEBUG", "FAIL-ALLOC", rng.choice([7, 50, 300]))
    for work in rng.sample([commands, transactions, clients, evicting_writes], 2):
        with contextlib.suppress(*GONE):
            work(server, control, rng)

    def ended():
        with contextlib.suppress(*GONE), server.connect() as c:
            return c.cmd("DEBUG", "FAIL-ALLOC", "0") == b"OK"
        return False

    wait_until(ended, "allocations do not fail any more")


def evicting_writes(server, control, rng):
    with contextlib.suppress(*GONE), server.connect() as c:
        c.pipeline([["SET", "fill:%d" % i, "v" * rng.randrange(2000)] for i in range(100)])


def purges(server, control, rng):
    control.ok("MEMORY", "PURGE")
    control.cmd("MEMORY", "STATS")
    control.cmd("MEMORY", "DOCTOR")
    control.cmd("MEMORY", "MALLOC-STATS")


WORK = [commands, commands, transactions, clients, flushes, evictions, evictions, client_evictions, failures, purges]


def alone(server):
    """A connection that nobody else's are beside, and that no shortage of memory has ended."""
    found = []

    def connects():
        with contextlib.suppress(*GONE):
            c = server.connect()
            if c.cmd("PING") == b"PONG" and not isinstance(c.cmd("CLIENT", "NO-EVICT", "ON"), Error):
                found.append(c)
                return True
            c.close()
        return False

    wait_until(connects, "a connection is accepted")
    return found[0]


def run(server, seed, rounds):
    rng = random.Random(seed)
    control = alone(server)
    for at in range(rounds):
        work = WORK[at] if at < len(WORK) else rng.choice(WORK)
        work(server, control, rng)
        control.close()
        control = alone(server)
        wait_until(lambda: len(control.cmd("CLIENT", "LIST").splitlines()) == 1, "all others have left")
        check(server, control)
    control.ok("CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction", "maxmemory-clients", "0")
    control.ok("FLUSHALL")
    check(server, control)
    control.close()


def launched(shards):
    return Server("anax", shards=shards, options=OPTIONS, launcher=["env", "MALLOC_CONF=tcache:false"])


def made_once(shards):
    """The one thing that stays from its first use on: where a shard keeps whom it has asked for room, made when there is a
    maxmemory (`struct pressing`, commands/room.c): a message for each shard, in the allocator's classes of 16 bytes, then 64."""
    bytes_each = 16 + 32 * shards
    return shards * (bytes_each if bytes_each <= 128 else -(-bytes_each // 64) * 64)


def warm_up(server):
    server.settled()
    server.fresh = server.settled()  # what starting took has been given back in the first silence
    if not SLOW:
        with server.connect() as c:
            server.gap, server.threads, server.thread_bytes = gap(c), threads(server), None
    run(server, 0, len(WORK))


@pytest.fixture(scope="module")
def servers():
    """Each has done everything once: what is made for the first use of something stays, and is known to the byte."""
    with contextlib.ExitStack() as stack:
        started = {n: stack.enter_context(launched(n)) for n in SHARDS}
        for_all(started, warm_up)
        for n, held in for_all(started, Server.settled).items():
            started[n].held_before = held
        yield started


@pytest.mark.parametrize("shards", SHARDS)
def test_accounted_is_what_was_handed_out(servers, shards):
    server = servers[shards]
    run(server, shards, ROUNDS)
    assert server.alive(), server.log()


def test_in_the_end_all_is_back(servers):
    """To the byte, after a silence in which buffers are given back that were kept for the next connections."""
    for_all(servers, lambda s: run(s, 99, 3))
    for_all(servers, lambda s: s.returns_to(s.held_before))
    for_all(servers, lambda s: s.returns_to(s.fresh, slack_bytes=made_once(s.shards)))
    for n, server in servers.items():
        with server.connect() as c:
            assert c.cmd("DBSIZE") == 0
            check(server, c)
        print(n, server.fresh, server.held_before, server.held())
