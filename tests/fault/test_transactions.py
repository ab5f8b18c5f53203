"""Transactions among many clients and bad ones: all get on, and nobody leaves a lock behind."""

import random
import selectors

import pytest

from harness import SLOW, Conn, Error, Server, encode, wait_until

SHARDS = 4
OPTIONS = {"enable-debug-command": "yes", "client-output-buffer-limit": "normal 4mb 4mb 60"}


@pytest.fixture(scope="module", params=[("uring", True), ("epoll", True), ("uring", False)], ids=str)
def anax(request):
    io, borrow = request.param
    with Server("anax", shards=SHARDS, io=io, borrow=borrow, options=OPTIONS) as s:
        yield s
        assert s.alive(), s.log()


def debug_tx(c):
    """What DEBUG TX says, one dictionary per shard."""
    def pairs(flat):
        return {k.decode(): v for k, v in zip(flat[::2], flat[1::2])}
    return [pairs(shard) for shard in c.cmd("DEBUG", "TX")]


def total(c, field):
    return sum(shard[field] for shard in debug_tx(c))


def keys_by_shard(c):
    """A few keys of every shard: INFO shards tells where one went."""
    found = [[] for _ in range(SHARDS)]
    for n in range(200):
        key = b"key%d" % n
        c.ok("FLUSHALL")
        c.ok("SET", key, "v")
        for line in c.cmd("INFO", "shards").decode().splitlines():
            if line.startswith("shard") and ":keys=1," in line:
                found[int(line[5:line.index(":")])].append(key)
        if all(len(keys) >= 4 for keys in found):
            break
    c.ok("FLUSHALL")
    return found


def nothing_is_held(c):
    """Every shard's claims are gone; the ones that DEBUG TX sees of itself want nothing."""
    return all(claim[claim.index(b"state") + 1] != b"waiting" and
               claim[claim.index(b"shared-keys") + 1] == 0 and claim[claim.index(b"exclusive-keys") + 1] == 0
               for shard in debug_tx(c) for claim in shard["claims"])


def closed_loop(conns, requests, replies, rounds):
    """Each connection sends its request again as soon as it is answered, until all together had `rounds` answers;
    how many each had."""
    done = {c: 0 for c in conns}
    selector = selectors.DefaultSelector()
    for c in conns:
        selector.register(c.sock, selectors.EVENT_READ, c)
        c.send(requests[c])
    left = rounds
    while left > 0:
        for event, _ in selector.select():
            c = event.data
            for _ in range(replies):
                value = c.read()
            assert not isinstance(value, Error) and value is not None
            done[c] += 1
            left -= 1
            if left > 0:
                c.send(requests[c])
    for c in conns:
        selector.unregister(c.sock)
    return [done[c] for c in conns]


def exec_of(commands):
    return b"".join(encode(c) for c in [["MULTI"]] + commands + [["EXEC"]])


def test_all_progress(anax):
    """64 clients on the same two keys of two shards."""
    with anax.connect() as c:
        keys = keys_by_shard(c)
        body = exec_of([["INCR", keys[0][0]], ["INCR", keys[1][0]]])
        conns = [Conn(anax.address) for _ in range(64)]
        rounds = 64 * (20 if SLOW else 100)
        done = closed_loop(conns, {x: body for x in conns}, 4, rounds)
        for x in conns:
            x.close()
        median = sorted(done)[len(done) // 2]
        assert min(done) * 3 >= median, sorted(done)
        wait_until(lambda: nothing_is_held(c), "all locks are gone")
        a, b = c.cmd("MGET", keys[0][0], keys[1][0])
        assert a == b and int(a) >= rounds


def test_disjoint_ones_do_not_wait(anax):
    """While some wait for each other, those on other keys of the same shards are granted past them."""
    with anax.connect() as c:
        keys = keys_by_shard(c)
        hot = exec_of([["INCR", keys[0][0]], ["INCR", keys[1][0]]])
        calm = exec_of([["INCR", keys[0][1]], ["INCR", keys[1][1]]])
        before = total(c, "total-overtook"), total(c, "total-waited")
        conns = [Conn(anax.address) for _ in range(48)]
        closed_loop(conns, {x: hot if i % 3 else calm for i, x in enumerate(conns)}, 4, 2000 if SLOW else 6000)
        for x in conns:
            x.close()
        wait_until(lambda: nothing_is_held(c), "all locks are gone")
        assert total(c, "total-waited") > before[1]
        assert total(c, "total-overtook") > before[0]


def test_no_conflict_no_waiting(anax):
    """Transactions of which each client has its own keys: not one of them waits for another."""
    with anax.connect() as c:
        keys = keys_by_shard(c)
        before = total(c, "total-waited"), total(c, "total-yielded"), total(c, "total-steps-waited")
        conns = [Conn(anax.address) for _ in range(4)]
        requests = {x: exec_of([["INCR", keys[s][i]] for s in range(SHARDS)]) for i, x in enumerate(conns)}
        closed_loop(conns, requests, 2 + SHARDS, 400)
        for x in conns:
            x.close()
        assert (total(c, "total-waited"), total(c, "total-yielded"), total(c, "total-steps-waited")) == before


def abuse(rng, anax, keys):
    """One client that ends badly, somewhere in a transaction or with replies that nobody reads."""
    flat = [k for some in keys for k in some]
    x = Conn(anax.address, rcvbuf_bytes=1 << 12)
    body = [["SET", rng.choice(flat), b"v"] for _ in range(rng.randrange(1, 8))] + [["MGET"] + flat]
    requests = [exec_of(body), exec_of(body)[:-rng.randrange(1, 40)],
                encode(["WATCH"] + flat) + encode(["MULTI"]) + encode(["GET", flat[0]]),
                encode(["MSET"] + [v for k in flat for v in (k, b"x")]) * 20,
                encode(["WATCH"] + flat) + exec_of(body) * 5]
    x.send_quietly(rng.choice(requests))
    (x.reset if rng.random() < 0.5 else x.close)()


def test_bad_ends_leave_no_lock(anax):
    rng = random.Random(4)
    with anax.connect() as c:
        keys = keys_by_shard(c)
        for _ in range(100 if SLOW else 400):
            abuse(rng, anax, keys)
        wait_until(lambda: nothing_is_held(c), "all locks are gone")
        wait_until(lambda: int(anax.info("clients")["connected_clients"]) <= 2, "the clients are gone")
        wait_until(lambda: int(anax.info("clients")["total_watched_keys"]) == 0, "and what they watched")
        flat = [k for some in keys for k in some]
        assert c.cmd("DEL", *flat) <= len(flat) and c.cmd("EXISTS", *flat) == 0


def test_who_does_not_read_holds_nothing(anax):
    """Large replies of transactions pile up until the limit closes the connection; others write the same keys."""
    with anax.connect() as c:
        keys = [some[0] for some in keys_by_shard(c)]
        c.ok("MSET", *[v for k in keys for v in (k, b"x" * 100000)])
        slow = Conn(anax.address, rcvbuf_bytes=1 << 12)
        slow.send_quietly(exec_of([["MGET"] + keys]) * 40)
        for n in range(50):
            c.ok("MSET", *[v for k in keys for v in (k, b"%d" % n)])
            assert c.cmd("MGET", *keys) == [b"%d" % n] * len(keys)
        slow.close()
        wait_until(lambda: nothing_is_held(c), "all locks are gone")


def test_debug_tx_tells_who_waits(anax):
    """Looked at under load, it sees claims of every kind and what they wait for, and never anything malformed."""
    with anax.connect() as c:
        keys = keys_by_shard(c)
        states = set()
        conns = [Conn(anax.address) for _ in range(32)]
        body = exec_of([["INCR", keys[0][0]], ["INCR", keys[1][0]]])
        for _ in range(40):
            for x in conns:
                x.send(body * 10)
            for shard in debug_tx(c):
                for claim in shard["claims"]:
                    fields = dict(zip(claim[::2], claim[1::2]))
                    states.add(fields[b"state"])
                    assert (fields[b"state"] == b"waiting") == (fields[b"waits-for"] is not None), fields
            for x in conns:
                for _ in range(40):
                    x.read()
        for x in conns:
            x.close()
        assert b"granted" in states
