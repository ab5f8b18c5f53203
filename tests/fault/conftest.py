"""A server per module and backend, with the limits that the faults run into."""

import pytest

from harness import Server, raise_fd_limit, wait_until

OPTIONS = {"client-output-buffer-limit": "normal 16mb 8mb 5"}


@pytest.fixture(scope="module", params=["uring", "epoll"])
def server(request):
    raise_fd_limit(15000)
    with Server("anax", shards=2, io=request.param, options=OPTIONS) as s:
        yield s


@pytest.fixture
def anax(server):
    """Around every fault: an honest client is served all the time, and what the fault took comes back."""
    server.cmd("FLUSHALL")
    wait_until(lambda: int(server.info("clients")["connected_clients"]) <= 1, "no connection is left")
    with server.connect() as c:
        c.ok("SET", "witness", "w")
        before = server.used_memory()
        yield server
        assert server.alive(), server.log()
        assert c.cmd("GET", "witness") == b"w"
        assert c.cmd("DBSIZE") >= 1
        c.ok("FLUSHALL")
        wait_until(lambda: int(server.info("clients")["connected_clients"]) <= 2, "their connections are gone")
        wait_until(lambda: server.used_memory() <= before + (1 << 20), "their memory is returned: %d, now %d"
                   % (before, server.used_memory()))
