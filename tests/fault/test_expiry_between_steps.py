"""A command over several shards, or a transaction, goes by one time: what it found alive stays alive until it is done, however
long one of its shards is busy with something else meanwhile."""

import contextlib
import time

import pytest

from harness import NULL_ARRAY, Server, encode

ELEMENTS = 300_000  # sorting them keeps a shard busy longer than most of the times below
TIMES_MS = (20, 60, 120)
KEYS = ["k%d" % i for i in range(9)]  # on all shards


@pytest.fixture(scope="module")
def server():
    with Server(shards=3) as s:
        with s.connect() as c:
            for at in range(0, ELEMENTS, 5000):
                c.cmd("RPUSH", "{busy}list", *["%020d" % (i * 7919 % ELEMENTS) for i in range(at, at + 5000)])
        yield s


def beside_a_busy_shard(server, ms, prepare, call):
    """For each key the reply to a call, from connections on all shards, while the shard of {busy} sorts. Keys get their time
    right before."""
    with contextlib.ExitStack() as stack:
        conns = [stack.enter_context(server.connect()) for _ in KEYS]
        busy = stack.enter_context(server.connect())
        busy.cmd("DEL", "{busy}to", *KEYS)
        for key in KEYS:
            busy.cmd(*prepare(key))
        busy.pipeline([["PEXPIRE", key, str(ms)] for key in KEYS])
        busy.send(encode(["SORT", "{busy}list", "ALPHA", "LIMIT", "0", "1"]))
        time.sleep(0.01)  # it has begun then, mostly: what is asserted holds either way
        for key, c in zip(KEYS, conns):
            c.send(encode(call(key)))
        replies = [c.read().value for c in conns]
        busy.read()
        return replies


@pytest.mark.parametrize("ms", TIMES_MS)
def test_moves(server, ms):
    """Nothing is moved that is not there, and what was there is moved once."""
    for fill, call, read in ((["RPUSH", "x"], ["LMOVE", None, "{busy}to", "LEFT", "LEFT"], "LLEN"),
                             (["RPUSH", "x"], ["RPOPLPUSH", None, "{busy}to"], "LLEN"),
                             (["SADD", None], ["SMOVE", None, "{busy}to", None], "SCARD"),
                             (["SADD", None], ["SUNIONSTORE", "{busy}to", "{busy}to", None], "SCARD"),
                             (["SADD", None], ["ZUNIONSTORE", "{busy}to", "2", "{busy}to", None], "ZCARD")):
        replies = beside_a_busy_shard(server, ms, lambda key: [fill[0], key] + [fill[1] or key],
                                      lambda key: [key if word is None else word for word in call])
        assert server.alive(), server.log()
        there = server.cmd(read, "{busy}to")
        if "STORE" in call[0]:
            assert there == max(replies), (call, replies)
        else:
            assert there == sum(r not in (None, 0) for r in replies), (call, replies)


@pytest.mark.parametrize("ms", TIMES_MS)
def test_renames(server, ms):
    for call in (["RENAME", None, "{busy}to"], ["COPY", None, "{busy}to", "REPLACE"]):
        replies = beside_a_busy_shard(server, ms, lambda key: ["RPUSH", key, key],
                                      lambda key: [key if word is None else word for word in call])
        assert server.alive(), server.log()
        assert all(r in (b"OK", 0, 1) or r.startswith(b"ERR no such key") for r in replies)


@pytest.mark.parametrize("ms", TIMES_MS)
def test_members_with_a_time(server, ms):
    with server.connect() as c:
        c.cmd("DEL", "{busy}to", *KEYS)
    began = time.monotonic()
    replies = beside_a_busy_shard(server, 100_000, lambda key: ["SADDEX", key, "1", key], lambda key: ["SMOVE", key, "{busy}to", key])
    assert server.alive(), server.log()
    there = server.cmd("SCARD", "{busy}to")
    assert there <= sum(replies)
    assert there == sum(replies) or time.monotonic() - began > 1  # their second is over


@pytest.mark.parametrize("ms", TIMES_MS)
def test_pops_of_the_first_that_has_something(server, ms):
    texts = ["e%d" % i for i in range(30)]
    pairs = [x for i, text in enumerate(texts) for x in (str(i), text)]
    for fill, pop in ((["RPUSH", None] + texts, ["LMPOP", "2", "{busy}none", None, "LEFT", "COUNT", "3"]),
                      (["ZADD", None] + pairs, ["ZMPOP", "2", "{busy}none", None, "MIN", "COUNT", "3"])):
        replies = beside_a_busy_shard(server, ms, lambda key: [key if w is None else w for w in fill],
                                      lambda key: [key if w is None else w for w in pop])
        assert server.alive(), server.log()
        for key, reply in zip(KEYS, replies):
            assert reply is NULL_ARRAY or (reply[0] == key.encode() and len(reply[1]) == 3), reply


@pytest.mark.parametrize("ms", TIMES_MS)
def test_time_stands_still_in_a_transaction(server, ms):
    with server.connect() as c:
        for key in KEYS:
            c.cmd("SET", key, "v", "PX", ms)
        c.ok("MULTI")
        c.cmd("EXISTS", *KEYS)
        c.cmd("SORT", "{busy}list", "ALPHA", "LIMIT", "0", "1")
        c.cmd("MGET", *KEYS)
        c.cmd("EXISTS", *KEYS)
        first, _, values, last = c.cmd("EXEC")
        assert first == last == sum(v is not None for v in values)
