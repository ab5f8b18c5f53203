"""Is what clients see strictly serializable, on real threads? One history per workload and kind of server.

ANAX_CONSISTENCY_SCALE=N makes the histories N times as many; run.py goes on for as long as asked.
"""

import os

import pytest

from harness import SLOW
from run import WORKLOADS, one_round, start

SCALE = int(os.environ.get("ANAX_CONSISTENCY_SCALE", "1"))
SEED = int(os.environ.get("ANAX_CONSISTENCY_SEED", "1"))
EVERY_KIND = True  # how threads meet depends on how many there are

SERVERS = [(1, "epoll"), (2, "uring"), (3, "uring"), (3, "epoll"), (8, "epoll")] if SLOW else \
    [(s, io) for s in (1, 2, 3, 8) for io in ("uring", "epoll")]


@pytest.fixture(scope="module", params=SERVERS, ids=lambda p: "%d-%s" % p)
def server(request):
    shards, io = request.param
    with start(shards, io) as s:
        yield s


@pytest.mark.parametrize("workload", WORKLOADS)
def test_strictly_serializable(server, workload):
    counts = {}
    for seed in range(SEED, SEED + SCALE):
        found = one_round(server, workload, seed, counts, 0.3 if SLOW else 1)
        assert not found, "\n".join(map(str, found))
    print(counts)
    assert counts["ok"] > counts["info"] > 0 and counts["fail"] > 0 and counts["together"] > counts["ok"] // 4, counts
    assert server.alive(), server.log()
