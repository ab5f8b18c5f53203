"""Random command streams: every reply equals redis-server's, and so does what is stored afterwards."""

import os

import pytest

import streams
from harness import SLOW

SEEDS = int(os.environ.get("COMPAT_SEEDS", "2" if SLOW else "6"))
LENGTH = 1500 if SLOW else 4000


@pytest.mark.parametrize("proto", [2, 3])
def test_replies_equal(anax, redis, shards, io, proto):
    pair = streams.Pair(anax, redis, proto)
    first = 1000 * shards + 100 * proto + (10 if io == "epoll" else 0)
    for seed in range(first, first + SEEDS):
        try:
            streams.run_seed(pair, seed, LENGTH)
        except AssertionError as e:
            pytest.fail("replay: tests/compat/streams.py --seed %d --length %d --shards %d --io %s --proto "
                        "%d\n%s\n%s" % (seed, LENGTH, shards, io, proto, e, anax.log()[-2000:]
                                        if not anax.alive() else ""), pytrace=False)
