"""Servers that the compat suite shares: one Anax per (shards, backend), one redis-server for all."""

import pytest

from harness import ANAX_IS_REDIS, FORGETFUL, Server

SHARDS = [1, 2, 3, 8]
BACKENDS = ["uring", "epoll"]


class Pool:
    """Starts a server when it is first asked for; ends all of them with the session."""

    def __init__(self):
        self.servers = {}

    def get(self, kind, shards=1, io=None):
        key = (kind, shards, io)
        server = self.servers.get(key)
        if server is None or not server.alive():
            server = self.servers[key] = Server(kind, shards=shards, io=io)
        return server

    def stop(self):
        errors = []
        for server in self.servers.values():
            try:
                server.stop()
            except AssertionError as e:
                errors.append(str(e))
        assert not errors, "\n".join(errors)


@pytest.fixture(scope="session")
def pool():
    p = Pool()
    yield p
    p.stop()


@pytest.fixture(scope="session")
def redis(pool):
    return pool.get("redis")


@pytest.fixture(params=BACKENDS)
def io(request):
    return request.param


@pytest.fixture(params=SHARDS)
def shards(request):
    return request.param


@pytest.fixture
def anax(pool, shards, io):
    """Every combination of shards and backend."""
    server = pool.get("anax", shards, io)
    server.cmd("FLUSHALL")
    yield server
    assert server.alive(), server.log()


@pytest.fixture
def anax2(pool):
    """Two shards, the default backend: for what does not depend on the rest."""
    server = pool.get("anax", 2)
    server.cmd("FLUSHALL")
    yield server
    assert server.alive(), server.log()


@pytest.fixture(scope="session")
def against_redis_itself():
    return ANAX_IS_REDIS


@pytest.fixture(scope="module")
def servers():
    """By the number of shards: commands on collections that lie in an object of their own are done beside the shard."""
    made = {}

    def get(shards):
        if shards not in made:
            made[shards] = Server("anax", shards=shards, options={**FORGETFUL, "enable-debug-command": "local"})
        assert made[shards].cmd("DEBUG", "LONG-ELEMENTS", "1") == b"OK"
        return made[shards]

    yield get
    for server in made.values():
        server.stop()
