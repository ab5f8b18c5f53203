"""DEBUG DIGEST and DEBUG DIGEST-VALUE: the same numbers as redis-server's over the same data, however many shards hold it."""

import hashlib

import values
from debug_pair import both, ours, peer

ZERO = b"0" * 40


def same(a, b, *args):
    reply, theirs = a.cmd(*args), b.cmd(*args)
    assert reply == theirs, args[:3]
    return reply


def test_every_type_and_encoding(both):
    a, b = both
    commands = [*values.plain(), *values.with_times()]
    keys = values.fill(a, commands)
    assert values.fill(b, commands) == keys
    digests = [same(a, b, "DEBUG", "DIGEST-VALUE", key)[0] for key in keys]
    assert len(set(digests)) > 0.9 * len(keys)
    assert same(a, b, "DEBUG", "DIGEST-VALUE", *keys) == digests
    assert same(a, b, "DEBUG", "DIGEST") not in (ZERO, None)


def test_nothing(both):
    a, b = both
    assert same(a, b, "DEBUG", "DIGEST") == ZERO
    assert same(a, b, "DEBUG", "DIGEST-VALUE", "no", "such") == [ZERO, ZERO]


def test_databases_count(both):
    """The number of the database counts, of those that hold something, and their order."""
    a, b = both
    seen = set()
    for db in (0, 3, 15, 1):
        for c in both:
            c.ok("SELECT", db)
            c.ok("SET", "key", "value")
            c.ok("SET", "other%d" % db, db)
        seen.add(same(a, b, "DEBUG", "DIGEST"))
    assert len(seen) == 4
    for c in both:
        c.ok("FLUSHDB")  # as it was before there was anything in the last one
    assert same(a, b, "DEBUG", "DIGEST") in seen


def test_each_change_tells(both):
    a, b = both
    changes = [["SET", "k", "1"], ["SET", "k", "2"], ["EXPIRE", "k", "1000"], ["PERSIST", "k"], ["RENAME", "k", "l"],
               ["RPUSH", "list", "a", "b"], ["LMOVE", "list", "list", "LEFT", "RIGHT"], ["SADD", "s", "x"], ["SADD", "s", "y"],
               ["HSET", "h", "f", "v"], ["HSET", "h", "f", "w"], ["ZADD", "z", "1", "m"], ["ZADD", "z", "1.5", "m"]]
    seen = {same(a, b, "DEBUG", "DIGEST")}
    for change in changes:
        a.cmd(*change)
        b.cmd(*change)
        seen.add(same(a, b, "DEBUG", "DIGEST"))
    # PERSIST leads back to what was there before.
    assert len(seen) == len(changes)


def test_the_expired_are_gone(both):
    a, b = both
    for c in both:
        c.cmd("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        c.ok("SET", "stays", "v")
    alone = same(a, b, "DEBUG", "DIGEST")
    a.ok("SET", "goes", "v", "PX", "1")
    while a.cmd("EXISTS", "goes"):
        pass
    assert a.cmd("DEBUG", "DIGEST") == alone
    assert a.cmd("DEBUG", "DIGEST-VALUE", "goes") == [ZERO]
    for c in both:
        c.cmd("DEBUG", "SET-ACTIVE-EXPIRE", "1")


def test_many_keys(both):
    """Each of them counts once, in tables of every size."""
    a, b = both
    for i in range(12):
        batch = [["SET", "key:%d" % n, n] for n in range(i * 300, i * 300 + 300)]
        for c in both:
            c.pipeline(batch)
        same(a, b, "DEBUG", "DIGEST")


def sha1(data):
    return hashlib.sha1(data).digest()


def mix(d, data):
    return sha1(bytes(x ^ y for x, y in zip(d, sha1(data))))


def add(d, data):
    return bytes(x ^ y for x, y in zip(d, sha1(data)))


def test_fields_that_expire(both):
    """As Redis 8 has it."""
    a, _ = both
    a.cmd("HSET", "h", "f", "v", "g", "w")
    a.cmd("HEXPIRE", "h", "1000", "FIELDS", "1", "g")
    f = mix(mix(bytes(20), b"f"), b"v")
    g = add(mix(mix(bytes(20), b"g"), b"w"), b"!!hexpire!!")
    want = add(add(mix(bytes(20), b"\0\0\0\4"), f), g)
    assert a.cmd("DEBUG", "DIGEST-VALUE", "h") == [want.hex().encode()]


def test_members_that_expire(both):
    a, _ = both
    a.cmd("SADD", "s", "m")
    before = a.cmd("DEBUG", "DIGEST-VALUE", "s")
    a.cmd("SADDEX", "s", "1000", "n")
    want = add(add(add(mix(bytes(20), b"\0\0\0\2"), b"m"), b"n"), b"!!hexpire!!")
    assert a.cmd("DEBUG", "DIGEST-VALUE", "s") == [want.hex().encode()]
    assert a.cmd("SREM", "s", "n") == 1
    assert a.cmd("DEBUG", "DIGEST-VALUE", "s") == before


def test_errors_and_help(both):
    a, b = both
    assert a.cmd("DEBUG", "DIGEST", "more").startswith(b"ERR wrong number of arguments")
    assert a.cmd("DEBUG", "DIGEST-VALUE").startswith(b"ERR wrong number of arguments")
    told = a.cmd("DEBUG", "HELP")
    assert b"DIGEST" in told and b"DIGEST-VALUE <key> [<key> ...]" in told, told


def test_refused_where_debug_is(anax2):
    for args in (["DIGEST"], ["DIGEST-VALUE", "k"]):
        assert anax2.cmd("DEBUG", *args).startswith(b"ERR DEBUG command not allowed")
