"""One two-shard server for the tests that do not need a server of their own."""

import pytest

from harness import Server


@pytest.fixture(scope="session")
def shared():
    with Server("anax", shards=2) as server:
        yield server


@pytest.fixture
def anax(shared):
    shared.cmd("FLUSHALL")
    yield shared
    assert shared.alive(), shared.log()
