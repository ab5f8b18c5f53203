"""redis-py's connection pools: health checks, connections killed under them, a server that restarts."""

import os
import random
import shutil
import subprocess
import threading

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from harness import SLOW, Server, free_port, wait_until

THREADS = 8


def pool_of(server, **options):
    return redis.ConnectionPool(host="127.0.0.1", port=server.port, socket_timeout=30, **options)


def clients_named(r, name):
    return [c for c in r.client_list() if c["name"] == name]


@pytest.fixture
def admin(anax):
    r = redis.Redis(host="127.0.0.1", port=anax.port, socket_timeout=30)
    yield r
    r.close()


def test_pool_reuses_its_connections(anax, admin):
    """Many threads, few connections: no more are opened than asked for, and all of them are closed."""
    pool = redis.BlockingConnectionPool(host="127.0.0.1", port=anax.port, max_connections=3, timeout=60,
                                        client_name="pooled", socket_timeout=30)
    r = redis.Redis(connection_pool=pool)
    errors = []

    def work(n):
        try:
            for i in range(20 if SLOW else 100):
                key = "t%d:%d" % (n, i)
                assert r.set(key, i) and int(r.get(key)) == i
        except Exception as e:  # noqa: the thread must tell
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors
    assert 1 <= len(clients_named(admin, "pooled")) <= 3
    pool.disconnect()
    wait_until(lambda: not clients_named(admin, "pooled"), "the pool's connections are closed")


def test_killed_connections_are_replaced(anax, admin):
    """Without retries a killed connection is one error; the pool then opens another."""
    r = redis.Redis(connection_pool=pool_of(anax, client_name="victim"))
    assert r.set("k", "v")
    for kill in (lambda: admin.client_kill_filter(_id=r.client_id()),
                 lambda: admin.client_kill(clients_named(admin, "victim")[0]["addr"]),
                 lambda: admin.client_kill_filter(_type="normal", skipme=True),
                 lambda: admin.execute_command("CLIENT KILL", "NAME", "victim")):
        before = r.client_id()
        assert kill() in (1, True) or not clients_named(admin, "victim")
        try:
            assert r.get("k") == b"v"  # redis-py looks at an idle connection before it uses it
        except redis.ConnectionError:
            assert r.get("k") == b"v"
        assert r.client_id() != before and r.client_getname() in ("victim", b"victim")
    r.connection_pool.disconnect()


def test_retries_hide_kills(anax, admin):
    """With retries nobody sees that connections are killed all the time, and no write is lost."""
    retry = Retry(NoBackoff(), 100)
    r = redis.Redis(host="127.0.0.1", port=anax.port, socket_timeout=30, client_name="victim", retry=retry,
                    retry_on_error=[redis.ConnectionError], max_connections=THREADS)
    done, errors = threading.Event(), []

    def work(n):
        try:
            for i in range(30 if SLOW else 200):
                assert r.set("t%d:%d" % (n, i), i)
        except Exception as e:  # noqa: the thread must tell
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for t in threads:
        t.start()

    def kill():
        rng = random.Random(1)
        while not done.is_set():
            # One that is still at its handshake would fail where redis-py does not retry.
            victims = [c for c in clients_named(admin, "victim") if c["cmd"] == "set"]
            if victims:
                killed[0] += admin.client_kill_filter(_id=rng.choice(victims)["id"])

    killed = [0]
    killer = threading.Thread(target=kill)
    killer.start()
    for t in threads:
        t.join()
    done.set()
    killer.join()
    assert not errors and killed[0] > 0
    assert admin.dbsize() == THREADS * (30 if SLOW else 200)
    r.connection_pool.disconnect()


def test_health_checks(anax, admin):
    """A connection that was idle for health_check_interval is asked PING first, and replaced when it is dead."""
    r = redis.Redis(host="127.0.0.1", port=anax.port, health_check_interval=1, client_name="healthy",
                    single_connection_client=True, socket_timeout=30, retry=Retry(NoBackoff(), 3),
                    retry_on_error=[redis.ConnectionError])
    assert r.set("k", "v")
    ident = r.client_id()

    def commands():
        return int(clients_named(admin, "healthy")[0]["tot-cmds"])

    before = commands()
    assert r.get("k") == b"v"
    assert commands() == before + 1
    wait_until(lambda: int(clients_named(admin, "healthy")[0]["idle"]) >= 2, "the connection is idle")
    before = commands()
    assert r.get("k") == b"v" and r.client_id() == ident
    assert commands() == before + 3  # PING, GET, CLIENT ID
    assert admin.client_kill_filter(_id=ident) == 1
    r.connection.next_health_check = 0  # its time has come
    assert r.get("k") == b"v" and r.client_id() != ident
    r.close()


def test_pipelines_of_killed_connections(anax, admin):
    """A pipeline whose connection is killed is retried as a whole or fails as a whole, and the next one works."""
    r = redis.Redis(connection_pool=pool_of(anax, client_name="victim"))
    for _ in range(20):
        p = r.pipeline(transaction=False)
        for i in range(100):
            p.set("p%d" % i, i)
        admin.execute_command("CLIENT KILL", "NAME", "victim")
        try:
            assert p.execute() == [True] * 100
        except redis.ConnectionError:
            pass
    assert r.pipeline(transaction=False).set("p", 1).get("p").execute() == [True, b"1"]
    r.connection_pool.disconnect()


@pytest.mark.parametrize("password", [None, "s3cret"])
def test_pool_survives_a_restart(password):
    """The same port, a new process: every connection of the pool is dead and each is replaced, with its password,
    its name and its database."""
    port = free_port()
    options = {"requirepass": password} if password else {}
    r = None
    for generation in range(3):
        with Server("anax", shards=3, port=port, options=options) as server:
            if r is None:
                r = redis.Redis(connection_pool=pool_of(server, client_name="survivor", db=5, password=password,
                                                        retry=Retry(NoBackoff(), 3),
                                                        retry_on_error=[redis.ConnectionError]))
                conns = [r.connection_pool.get_connection("PING") for _ in range(5)]
                for c in conns:
                    r.connection_pool.release(c)
            held = [r.connection_pool.get_connection("PING") for _ in range(5)]
            for c in held:
                r.connection_pool.release(c)
            assert r.get("generation") is None and r.set("generation", generation)
            assert int(r.get("generation")) == generation
            assert server.cmd("DBSIZE") == 0  # it went to database 5
            names = [c for c in r.client_list() if c["name"] == "survivor"]
            assert names and {c["db"] for c in names} == {"5"}
    with pytest.raises(redis.ConnectionError):
        r.get("generation")
    r.connection_pool.disconnect()


# --- node: ioredis and node-redis ----------------------------------------------------------------------

NODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node")


def start_node(suite, port):
    assert shutil.which("node"), "node is missing: tools/test installs it"
    assert os.path.isdir(os.path.join(NODE, "node_modules")), "run `npm ci` in tests/clients/node"
    return subprocess.Popen(["node", suite], cwd=NODE, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env=dict(os.environ, ANAX_PORT=str(port)))


@pytest.mark.parametrize("shards", [1, 3])
def test_node_pools(shards):
    with Server("anax", shards=shards) as server:
        out, _ = start_node("pools.test.js", server.port).communicate(timeout=600)
        assert " passed, 0 failed" in out, out


def test_node_restart():
    port = free_port()
    server = Server("anax", shards=2, port=port)
    node = start_node("restart.test.js", port)
    told = []
    try:
        for line in node.stdout:
            told.append(line)
            if line == "restart\n":
                server.stop()
                server = Server("anax", shards=2, port=port)
                node.stdin.write("done\n")
                node.stdin.flush()
        assert node.wait(600) == 0 and " passed, 0 failed" in told[-1], "".join(told)
    finally:
        if node.poll() is None:
            node.kill()
        node.wait()
        server.stop()
