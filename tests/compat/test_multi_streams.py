"""Two connections issue random commands over few keys, MULTI, WATCH and EXEC among them, in a random order
in which each reply is awaited: what redis-server replies, Anax does. A failure prints the shortest stream."""

import random

import pytest

import streams
import talk
from harness import SLOW, Error, Reply, encode

LENGTH = 500 if SLOW else 1500
SEEDS = 2


def draw(rng, tag):
    """One command. Nothing in it depends on the time or on the order of keys."""
    k, other = (tag + "k%d" % rng.randrange(5) for _ in range(2))
    n = str(rng.randrange(20))
    db = str(rng.randrange(2))
    roll = rng.random()
    if roll < 0.14:
        return ["MULTI"]
    if roll < 0.26:
        return ["EXEC"]
    if roll < 0.30:
        return rng.choice([["DISCARD"], ["UNWATCH"], ["RESET"], ["EXEC", "x"], ["WATCH"], ["NOSUCH", k], ["GET"],
                           ["HELLO", rng.choice("23")], ["CLIENT", "NOSUCH"]])
    if roll < 0.44:
        return ["WATCH"] + [tag + "k%d" % rng.randrange(5) for _ in range(rng.choice([1, 1, 2, 5]))]
    if roll < 0.48:
        return rng.choice([["FLUSHALL"], ["FLUSHDB"], ["SWAPDB", "0", "1"], ["SELECT", db], ["SELECT", db],
                           ["DBSIZE"], ["SELECT", "99"], ["SWAPDB", db, db]])
    return rng.choice([
        ["SET", k, n], ["SET", k, n, "NX"], ["SET", k, n, "XX", "GET"], ["SET", k, "text"],
        ["GET", k], ["GETDEL", k], ["GETSET", k, n], ["GETEX", k], ["GETEX", k, "PERSIST"], ["GETEX", k, "EX", "1000"],
        ["SETNX", k, n], ["INCR", k], ["INCRBYFLOAT", k, "0"], ["APPEND", k, ""], ["APPEND", k, "x"],
        ["SETRANGE", k, "0", ""], ["SETRANGE", k, n, "y"], ["SETBIT", k, n, "0"], ["SETBIT", k, n, "1"],
        ["BITFIELD", k, "SET", "u8", n, "97", "GET", "u4", "0"], ["BITFIELD", k, "INCRBY", "u8", "0", "0"],
        ["BITFIELD", k, "GET", "u8", "0"], ["BITOP", rng.choice(["AND", "OR", "XOR"]), k, other, k],
        ["BITOP", "NOT", k, other], ["DEL", k], ["DEL", k, other], ["UNLINK", k, other, k], ["EXISTS", k, other],
        ["TOUCH", k], ["MSET", k, n, other, n], ["MSET", k, n, k, n], ["MSETNX", k, n, other, n], ["MGET", k, other],
        ["RENAME", k, other], ["RENAMENX", k, other], ["COPY", k, other], ["COPY", k, other, "REPLACE"],
        ["COPY", k, other, "DB", db], ["COPY", k, k, "DB", db, "REPLACE"], ["MOVE", k, db], ["LCS", k, other],
        ["EXPIRE", k, "1000"], ["EXPIRE", k, "1000", "XX"], ["EXPIRE", k, "-1"], ["PERSIST", k], ["PING"]])


class Pair:
    """Two connections to each of two servers, as streams.shrink drives them."""

    def __init__(self, anax, redis, proto):
        self.talks = [talk.Talk(s, proto) for s in (anax, redis)]

    def close(self):
        for t in self.talks:
            t.__exit__()
            t.conns = {}

    def reset(self):
        self.close()
        for t in self.talks:
            t.server.cmd("FLUSHALL")

    def run(self, commands):
        for i, (who, args) in enumerate(commands):
            replies = []
            for t in self.talks:
                c = t.conn(who)
                c.send(encode(args))
                replies.append(c.read())
            if not talk.same(*replies):
                raise streams.Mismatch(i, who, args, *replies)


@pytest.mark.parametrize("proto", [2, 3])
@pytest.mark.parametrize("tag", talk.TAGS)
def test_interleaved(anax, redis, tag, proto):
    pair = Pair(anax, redis, proto)
    try:
        for seed in range(SEEDS):
            rng = random.Random("%d %s %d" % (seed, tag, proto))
            commands = [(rng.choice("ab"), [a.encode() for a in draw(rng, tag)]) for _ in range(LENGTH)]
            pair.reset()
            try:
                pair.run(commands)
            except streams.Mismatch as m:
                short, last = streams.shrink(pair, commands[: m.index + 1], m)
                raise AssertionError("seed %d, RESP%d: replies differ\n%s\nshortest stream:\n%s" % (
                    seed, proto, last, "\n".join("  %s %s" % (w, streams.show(a)) for w, a in short))) from None
    finally:
        pair.close()


def test_a_difference_is_found_and_shrunk(redis):
    """The stream's own teeth: a server that lets every EXEC through is caught, by a short stream."""

    class Careless:
        """Connections to redis-server that never watch."""

        def __init__(self, conn):
            self.conn = conn

        def send(self, data):
            self.watched = data.startswith(b"*") and b"\r\nWATCH\r\n" in data
            self.conn.send(encode(["PING"]) if self.watched else data)

        def read(self):
            reply = self.conn.read()
            return Reply(b"+OK\r\n", reply.value) if self.watched and not isinstance(reply.value, Error) else reply

        def close(self):
            self.conn.close()

    commands = [(w, [a.encode() for a in c.split()]) for w, c in [
        ("a", "PING"), ("a", "WATCH k"), ("b", "GET k"), ("b", "SET k 1"), ("a", "GET k"), ("a", "MULTI"), ("b", "PING"),
        ("a", "EXEC")]]
    pair = Pair(redis, redis, 2)
    plain_conn = pair.talks[0].conn
    pair.talks[0].conn = lambda who: pair.talks[0].conns.setdefault(
        who + "careless", Careless(plain_conn(who))) if who + "careless" not in pair.talks[0].conns \
        else pair.talks[0].conns[who + "careless"]
    pair.reset()
    with pytest.raises(streams.Mismatch) as e:
        pair.run(commands)
    short, _ = streams.shrink(pair, commands, e.value)
    pair.close()
    assert [c for _, c in short] == [[b"WATCH", b"k"], [b"SET", b"k", b"1"], [b"MULTI"], [b"EXEC"]]
