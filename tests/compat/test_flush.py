"""FLUSHALL SYNC and FLUSHDB SYNC: answered when the memory is free, and everybody else is served meanwhile."""

import select

import pytest

from harness import SLOW, Server, wait_until

KEYS = 200_000 if SLOW else 1_000_000
MEANWHILE = 3  # rounds of somebody else: freed in one go, a flush would let none through
TURNS = 20  # of the loop, at the least
SLACK = 200_000  # buffers of connections


def fill(c):
    step = 20_000
    for first in range(0, KEYS, step):
        c.ok("MSET", *[w for i in range(first, first + step) for w in ("key:%d" % i, "v")])


def answered(c):
    return bool(select.select([c.sock], [], [], 0)[0])


def pending(c):
    return int(c.info("memory")["lazyfree_pending_objects"])


def turns(c):
    return int(c.info("stats")["eventloop_cycles"])


def flush_and_be_served(server, c, other, flush):
    """How many rounds of commands of `other` were answered before the flush was."""
    before = server.used_memory()
    fill(c)
    assert server.used_memory() - before > KEYS * 30
    *first, last = flush.split("/")
    for words in first:
        c.cmd(*words.split())
    cycles, rounds = turns(other), 0
    c.send(last.encode() + b"\r\n")
    wait_until(lambda: other.cmd("GET", "key:7") is None, "the flush, which is seen at once")
    while not answered(c):
        other.ok("SET", "new", "x")
        assert other.cmd("GET", "new") == b"x" and other.cmd("GET", "key:9") is None
        rounds += 1
    assert c.read().value in (b"OK", [b"OK", b"OK"])
    assert turns(other) - cycles > TURNS
    assert pending(other) == 0
    assert server.used_memory() < before + SLACK
    assert other.cmd("DBSIZE") == bool(rounds) + bool(first)
    other.ok("FLUSHALL", "SYNC")
    return rounds


@pytest.mark.parametrize("flush", ["FLUSHALL SYNC", "MULTI/FLUSHDB SYNC/SET last 1/EXEC"])
@pytest.mark.parametrize("shards", [1, 3])
def test_others_are_served_while_a_flush_frees(shards, flush):
    """It takes long enough for them; again when this process had no time for it meanwhile."""
    with Server("anax", shards=shards) as server, server.connect() as c, server.connect() as other:
        assert any(flush_and_be_served(server, c, other, flush) >= MEANWHILE for _ in range(6))


def test_what_is_dropped_meanwhile_is_waited_for_too(shards):
    """Two at once: both are answered, and then nothing is left."""
    with Server("anax", shards=shards) as server, server.connect() as one, server.connect() as two:
        for c in one, two:
            c.ok("MSET", *[w for i in range(20_000) for w in ("key:%d" % i, "v")])
            assert c.cmd("SADD", "set", *["m%d" % i for i in range(20_000)]) == 20_000
            c.send(b"FLUSHALL SYNC\r\n")
        assert one.read().value == two.read().value == b"OK"
        assert pending(one) == 0


def test_a_client_that_leaves_does_not_hold_the_server_up(shards):
    server = Server("anax", shards=shards)
    with server:
        with server.connect() as c:
            c.ok("MSET", *[w for i in range(50_000) for w in ("key:%d" % i, "v")])
            c.send(b"FLUSHALL SYNC\r\nPING\r\n")
        with server.connect() as c:
            wait_until(lambda: c.cmd("DBSIZE") == 0 and pending(c) == 0, "the flush")
            wait_until(lambda: c.info("clients")["connected_clients"] == "1", "the end of the other connection")
    assert not server.alive()
