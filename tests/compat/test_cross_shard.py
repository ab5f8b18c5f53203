"""A command with several keys works when they lie on one shard, and else answers a clear error and
changes nothing."""

import random

from harness import Error


def calls(rng, keys):
    value = b"v%d" % rng.randrange(100)
    pairs = [x for k in keys for x in (k, value)]
    return [["MGET"] + keys, ["MSET"] + pairs, ["MSETNX"] + pairs, ["DEL"] + keys, ["UNLINK"] + keys,
            ["EXISTS"] + keys, ["TOUCH"] + keys, ["RENAME"] + keys[:2], ["RENAMENX"] + keys[:2],
            ["COPY"] + keys[:2], ["BITOP", "OR"] + keys, ["LCS"] + keys[:2]]


def test_hashtag_keeps_keys_together(anax):
    rng = random.Random(1)
    with anax.connect() as c:
        for n in range(100):
            tag = b"{tag%d}" % n
            keys = [tag + b"a", b"x" + tag, tag + b"{other}"]
            for call in calls(rng, keys):
                value = c.cmd(*call)
                assert not (isinstance(value, Error) and value.startswith(b"CROSSSLOT")), (call, value)


def test_without_hashtag_works_or_says_crossslot(anax, shards, against_redis_itself):
    rng = random.Random(2)
    crossed = worked = 0
    with anax.connect() as c:
        for n in range(100):
            keys = [b"key%d" % rng.randrange(10000) for _ in range(3)]
            for call in calls(rng, keys):
                c.ok("SET", keys[0], "here")
                c.cmd("DEL", keys[1])
                size = c.cmd("DBSIZE")
                value = c.cmd(*call)
                if isinstance(value, Error) and value.startswith(b"CROSSSLOT"):
                    crossed += 1
                    assert c.cmd("DBSIZE") == size, call
                    assert c.cmd("GET", keys[0]) == b"here", call
                else:
                    assert not isinstance(value, Error), (call, value)
                    worked += 1
    if shards == 1 or against_redis_itself:
        assert crossed == 0
    else:
        assert crossed > 0 and worked > 0, (crossed, worked)


def test_tag_rules(anax2, against_redis_itself):
    """An empty tag or an open brace is no tag: only what stands between the first { and the next }."""
    with anax2.connect() as c:
        for n in range(64):
            same = [b"%d{x}" % n, b"{x}%d" % n, b"{x}{y}%d" % n, b"x"]
            assert c.cmd("EXISTS", *same) == 0
        crossed = 0
        for n in range(64):
            value = c.cmd("EXISTS", b"{}%d" % n, b"{}a%d" % n)
            crossed += isinstance(value, Error)
            value = c.cmd("EXISTS", b"{x%d" % n, b"{xa%d" % n)
            crossed += isinstance(value, Error)
        assert crossed > 0 or against_redis_itself


def test_several_keys_of_one_shard_by_chance_equal_the_tagged_result(anax):
    """MGET answers by position, whatever the order of the keys."""
    with anax.connect() as c:
        for n in range(50):
            c.ok("SET", b"a%d{q}" % n, b"%d" % n)
        order = list(range(50))
        random.Random(3).shuffle(order)
        assert c.cmd("MGET", *[b"a%d{q}" % n for n in order]) == [b"%d" % n for n in order]
