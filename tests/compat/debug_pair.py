"""Fixtures of those who compare by DEBUG: a server of ours, with each number of shards, beside redis-server; both empty at first."""

import pytest

from harness import Server


@pytest.fixture(scope="module")
def peer():
    with Server("redis", options={"enable-debug-command": "yes"}) as server:
        yield server


@pytest.fixture(scope="module", params=[1, 2, 3, 8])
def ours(request):
    with Server("anax", shards=request.param, options={"enable-debug-command": "yes"}) as server:
        yield server


@pytest.fixture
def both(ours, peer):
    with ours.connect() as a, peer.connect() as b:
        a.ok("FLUSHALL")
        b.ok("FLUSHALL")
        yield a, b
