"""SORT and SORT_RO: replies, what is stored, and what BY and GET find on other shards, are redis-server's."""

import random

import pytest

from harness import NULL_ARRAY, Error

WORDS = [b"beta", b"Alpha", b"", b"zeta:9", b"delta", b"alpha", b"gamma", b"10", b"9"]


def fill(rng, c):
    """Collections of each type and encoding, and keys for patterns, some of which are missing or of another type."""
    c.ok("FLUSHALL")
    numbers = [b"%d" % rng.randrange(-50, 300) for _ in range(40)]
    many = [b"%d" % i for i in rng.sample(range(-2000, 5000), 700)]
    c.cmd("RPUSH", "list", *numbers)
    c.cmd("RPUSH", "floats", "1.5", "-2", "1e3", "inf", "-inf", " 7", "", "0x10", "2.25")
    c.cmd("RPUSH", "words", *WORDS)
    c.cmd("RPUSH", "nonumber", "1", "two", "3")
    c.cmd("RPUSH", "big", *many)
    c.cmd("SADD", "ints", *set(numbers))
    c.cmd("SADD", "manyints", *many)
    c.cmd("SADD", "strings", *WORDS)
    c.cmd("SADD", "manystrings", *[b"m:%d" % i for i in range(300)])
    c.cmd("ZADD", "zset", *[x for n in sorted(set(numbers)) for x in (rng.randrange(20), n)])
    c.cmd("ZADD", "manyz", *[x for n in many for x in (rng.randrange(2000), n)])
    c.cmd("SET", "string", "x")
    c.cmd("HSET", "hash", "f", "1")
    for n in set(numbers):
        weight = rng.randrange(10**6)  # ties would leave the order open
        if rng.random() < 0.8:
            c.cmd("SET", b"w:%s" % n, b"%d.%s" % (weight, n.lstrip(b"-")))
        if rng.random() < 0.8:
            c.cmd("HSET", b"h:%s:x" % n, "weight", weight, "name", b"n" + n)
        if rng.random() < 0.3:
            c.cmd("LPUSH", b"g:%s" % n, "no string")
        elif rng.random() < 0.6:
            c.cmd("SET", b"g:%s" % n, rng.choice([b"text", b"17", b"x" * 2000]))


def draw(rng):
    # Of sets only what is ordered by more than chance: their order is the server's own.
    key = rng.choice(["list", "list", "floats", "words", "nonumber", "big", "ints", "manyints", "strings", "manystrings",
                      "zset", "manyz", "string", "hash", "missing"])
    words = []
    if rng.random() < 0.4:
        words += ["BY", rng.choice(["w:*", "h:*:x->weight", "h:*:x->none", "none:*", "nosort", "g:*", "h:*:x->"])]
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        words += ["GET", rng.choice(["#", "g:*", "w:*", "h:*:x->name", "h:*:x->none", "constant", "*", "h:*:x->"])]
    if rng.random() < 0.4:
        words += ["LIMIT", str(rng.choice([0, 1, 5, -3, 100, 10**6])), str(rng.choice([0, 1, 7, -1, -5, 10**6]))]
    if rng.random() < 0.4:
        words.append(rng.choice(["ASC", "DESC", "desc"]))
    if rng.random() < 0.4:
        words.append("ALPHA")
    if rng.random() < 0.05:
        words.append(rng.choice(["NOSUCH", "BY", "GET", "STORE", "LIMIT"]))
    if rng.random() < 0.3:
        words += ["STORE", rng.choice(["dst", "dst2", "list", "zset", "string"])]
    return key, words


def order_open(key, words):
    """Is the order of the reply the server's own affair?"""
    plain = [w.upper() for w in words]
    by = [words[i + 1] for i, w in enumerate(plain) if w == "BY" and i + 1 < len(words)]
    if any("*" not in b for b in by):
        return key in ("ints", "manyints", "strings", "manystrings")
    # Equal texts under ALPHA: nothing settles the tie.
    return bool(by) and "ALPHA" in plain


@pytest.mark.parametrize("proto", [2, 3])
def test_replies_equal(anax, redis, proto):
    rng = random.Random(proto)
    with anax.connect() as ours, redis.connect() as theirs:
        ours.cmd("HELLO", proto)
        theirs.cmd("HELLO", proto)
        fill(random.Random(5), ours)
        fill(random.Random(5), theirs)
        for _ in range(250):
            key, words = draw(rng)
            name = "SORT" if rng.random() < 0.8 else "SORT_RO"
            if order_open(key, words):
                continue
            if rng.random() < 0.1:
                fill(random.Random(5), ours)
                fill(random.Random(5), theirs)
            a, b = ours.cmd(name, key, *words), theirs.cmd(name, key, *words)
            assert a == b, (name, key, words)
            for dst in ("dst", "dst2", "list", "zset"):
                kinds = ours.cmd("TYPE", dst), theirs.cmd("TYPE", dst)
                assert kinds[0] == kinds[1], (dst, name, key, words)
                if kinds[0] == b"list":
                    assert ours.cmd("LRANGE", dst, 0, -1) == theirs.cmd("LRANGE", dst, 0, -1), (dst, name, key, words)


def test_set_as_it_comes(anax, redis):
    """BY without a pattern: a set comes as the server has it, but what is stored of it is in order."""
    for server in (anax, redis):
        server.cmd("FLUSHALL")
        server.cmd("SADD", "s", *range(200), "text")
    everything = sorted(redis.cmd("SORT", "s", "BY", "nosort"))
    assert sorted(anax.cmd("SORT", "s", "BY", "nosort")) == everything
    assert anax.cmd("SORT", "s", "BY", "nosort", "STORE", "d") == redis.cmd("SORT", "s", "BY", "nosort", "STORE", "d") == 201
    assert anax.cmd("LRANGE", "d", 0, -1) == redis.cmd("LRANGE", "d", 0, -1)


def test_stored_in_place_of_anything(anax):
    with anax.connect() as c:
        c.ok("FLUSHALL")
        c.cmd("RPUSH", "l", 3, 1, 2)
        c.cmd("SET", "d", "x", "EX", "1000")
        assert c.cmd("SORT", "l", "STORE", "d") == 3
        assert c.cmd("LRANGE", "d", 0, -1) == [b"1", b"2", b"3"]
        assert c.cmd("TTL", "d") == -1
        assert c.cmd("SORT", "missing", "STORE", "d") == 0
        assert c.cmd("EXISTS", "d") == 0
        assert c.cmd("SORT", "l", "STORE", "l", "DESC") == 3
        assert c.cmd("LRANGE", "l", 0, -1) == [b"3", b"2", b"1"]


def test_in_a_transaction(anax, redis):
    out = []
    for server in (anax, redis):
        with server.connect() as c:
            c.ok("FLUSHALL")
            c.cmd("RPUSH", "l", 3, 1, 2)
            for i in range(4):
                c.cmd("MSET", "w:%d" % i, 10 - i, "v:%d" % i, "value%d" % i)
            c.ok("MULTI")
            c.cmd("SET", "w:2", "-5")
            c.cmd("SORT", "l", "BY", "w:*", "GET", "v:*", "GET", "#")
            c.cmd("SORT", "l", "BY", "w:*", "STORE", "d")
            c.cmd("LRANGE", "d", "0", "-1")
            c.cmd("SORT", "l", "GET", "w:*", "STORE", "w:1")
            c.cmd("TYPE", "w:1")
            out.append(c.cmd("EXEC"))
    assert out[0] == out[1]
    assert out[0][2] == 3


def test_watch_sees_what_is_stored(anax):
    with anax.connect() as c, anax.connect() as other:
        c.ok("FLUSHALL")
        c.cmd("RPUSH", "l", 3, 1, 2)
        for store, patterns in (("d1", []), ("d2", ["GET", "x:*"])):
            c.ok("WATCH", store)
            other.cmd("SORT", "l", *patterns, "STORE", store)
            c.ok("MULTI")
            c.cmd("PING")
            assert c.cmd("EXEC") is NULL_ARRAY


def test_errors_equal(anax, redis):
    for server in (anax, redis):
        server.cmd("FLUSHALL")
        server.cmd("RPUSH", "l", "a", "1")
        server.cmd("SET", "s", "x")
    for args in (["SORT"], ["SORT", "l"], ["SORT", "s"], ["SORT", "s", "NOSUCH"], ["SORT", "l", "LIMIT", "a", "1"],
                 ["SORT", "l", "LIMIT", "1"], ["SORT", "l", "LIMIT", "0", "99999999999999999999"], ["SORT_RO", "l", "STORE", "d"],
                 ["SORT", "l", "BY", "w:*"], ["SORT", "l", "GET"], ["SORT", "s", "BY", "w:*"], ["SORT_RO", "s", "GET", "*"]):
        ours, theirs = anax.cmd(*args), redis.cmd(*args)
        assert ours == theirs, args
        assert isinstance(theirs, Error) == isinstance(ours, Error)
