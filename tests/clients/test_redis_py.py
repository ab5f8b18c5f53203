"""redis-py, as Debian ships it."""

import random
import time

import pytest
import redis

from harness import Conn, Error, Map, Server, free_port


@pytest.fixture
def r(anax):
    client = redis.Redis(host="127.0.0.1", port=anax.port, socket_timeout=30)
    yield client
    client.close()


def test_basics(r):
    assert r.ping() is True
    assert r.set("k", "v") is True
    assert r.get("k") == b"v"
    assert r.get("missing") is None
    assert r.set("k", "w", nx=True) is None
    assert r.set("k", "w", xx=True, get=True) == b"v"
    assert r.setex("k", 100, "x") and 90 < r.ttl("k") <= 100
    assert r.incr("n") == 1 and r.incrbyfloat("n", 1.5) == 2.5
    assert r.append("k", "yz") == 3 and r.getrange("k", 1, 2) == b"yz"
    assert r.setbit("b", 9, 1) == 0 and r.bitcount("b") == 1 and r.bitpos("b", 1) == 9
    assert r.bitfield("bf").set("u8", 0, 200).incrby("u8", 0, 100).execute() == [0, 44]
    assert r.expire("k", 1000, gt=True) and r.persist("k")
    assert r.type("k") == b"string" and r.exists("k") == 1 and r.delete("k") == 1
    assert r.object("encoding", "n") in (b"embstr", b"raw")
    assert r.dbsize() == 3 and sorted(r.keys("b*")) == [b"b", b"bf"]
    assert r.echo("hi") == b"hi" and r.time()[0] > 1_600_000_000


def test_replies_that_redis_py_parses(r):
    info = r.info()
    assert int(info["redis_version"].split(".")[0]) >= 7
    assert info["tcp_port"] and info["used_memory"] > 0 and info["connected_clients"] >= 1
    assert r.config_get("databases") == {"databases": "16"}
    assert r.config_set("timeout", 0)
    assert r.client_setname("me") and r.client_getname() == "me"
    assert any(c["name"] == "me" for c in r.client_list())
    assert isinstance(r.client_id(), int)
    assert r.command_count() > 50 and r.command()["get"]["arity"] == 2


def test_pipeline_of_10000(r):
    p = r.pipeline(transaction=False)
    for i in range(5000):
        p.set("p%d" % i, "v%d" % i)
        p.get("p%d" % i)
    replies = p.execute()
    assert replies == [x for i in range(5000) for x in (True, b"v%d" % i)]


def test_errors_do_not_break_a_pipeline(r):
    p = r.pipeline(transaction=False)
    p.set("s", "text").incr("s").get("s").execute_command("NOSUCH").ping()
    replies = p.execute(raise_on_error=False)
    assert replies[0] is True and replies[2] == b"text" and replies[4] is True
    assert str(replies[1]) == "value is not an integer or out of range"
    assert isinstance(replies[3], redis.ResponseError)


def test_binary_keys(r):
    rng = random.Random(1)
    data = {rng.randbytes(rng.randint(0, 300)): rng.randbytes(rng.choice([0, 10, 2000, 20000, 50000]))
            for _ in range(200)}
    for k, v in data.items():
        r.set(k, v)
    for k, v in data.items():
        assert r.get(k) == v
    assert set(r.keys("*")) == set(data) and r.dbsize() == len(data)


def test_scan_iter(r):
    for i in range(500):
        r.set("s%d" % i, "v")
    assert set(r.scan_iter(count=20)) == {b"s%d" % i for i in range(500)}
    assert set(r.scan_iter(match="s1*")) == {b"s%d" % i for i in range(500) if str(i)[0] == "1"}


def test_connection_pool(r, anax):
    pool = redis.ConnectionPool(host="127.0.0.1", port=anax.port, max_connections=50)
    clients = [redis.Redis(connection_pool=pool) for _ in range(50)]
    for i, c in enumerate(clients):
        assert c.set("c%d" % i, i)
    assert [int(c.get("c%d" % i)) for i, c in enumerate(clients)] == list(range(50))
    pool.disconnect()


def test_reconnects_after_restart():
    port = free_port()
    with Server("anax", shards=2, port=port):
        client = redis.Redis(host="127.0.0.1", port=port)
        assert client.set("k", "v")
    with pytest.raises(redis.ConnectionError):
        client.get("k")
    with Server("anax", shards=2, port=port):
        assert client.get("k") is None  # nothing is persisted yet
        assert client.set("k", "w") and client.get("k") == b"w"
    client.close()


def test_resp3_by_hello(anax):
    """redis-py of Debian speaks RESP2 only; its place in RESP3 is taken by raw bytes."""
    with anax.connect() as c:
        hello = c.cmd("HELLO", "3", "SETNAME", "three")
        assert isinstance(hello, Map) and dict(hello)[b"proto"] == 3 and dict(hello)[b"role"] == b"master"
        assert c.cmd("CLIENT", "GETNAME") == b"three"
        assert isinstance(c.cmd("CONFIG", "GET", "port"), Map)
        replies = c.pipeline([["SET", b"r%d" % i, b"%d" % i] for i in range(5000)]
                             + [["GET", b"r%d" % i] for i in range(5000)])
        assert [x.value for x in replies[5000:]] == [b"%d" % i for i in range(5000)]
        c.send(b"*2\r\n$3\r\nGET\r\n$7\r\nmissing\r\n")
        assert c.read().raw == b"_\r\n"
        assert isinstance(c.cmd("HELLO", "4"), Error)
        assert c.cmd("PING") == b"PONG"


def test_expired_keys_are_gone(r):
    r.set("e", "v", px=60)
    assert r.pttl("e") > 0
    time.sleep(0.2)
    assert r.get("e") is None and r.ttl("e") == -2


def test_unix_socket(tmp_path):
    path = str(tmp_path / "anax.sock")
    with Server("anax", shards=2, options={"unixsocket": path}):
        client = redis.Redis(unix_socket_path=path)
        assert client.set("k", "v" * 100000) and client.get("k") == b"v" * 100000
        p = client.pipeline(transaction=False)
        for i in range(2000):
            p.incr("n%d" % (i % 7))
        assert len(p.execute()) == 2000
        with Conn(path) as c:
            assert c.cmd("PING") == b"PONG"
        client.close()


def test_password():
    with Server("anax", shards=2, options={"requirepass": "s3cret"}) as server:
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(host="127.0.0.1", port=server.port).ping()
        with pytest.raises(redis.ResponseError, match="WRONGPASS"):
            redis.Redis(host="127.0.0.1", port=server.port, password="wrong").ping()
        assert redis.Redis(host="127.0.0.1", port=server.port, password="s3cret").ping()
        assert redis.Redis(host="127.0.0.1", port=server.port, username="default",
                           password="s3cret").ping()
        with Conn(server.address) as c:
            assert c.cmd("GET", "k") == b"NOAUTH Authentication required."
            assert c.cmd("HELLO", "3").startswith(b"NOAUTH HELLO must be called")
            assert c.cmd("HELLO", "3", "AUTH", "default", "no").startswith(b"WRONGPASS")
            assert isinstance(c.cmd("HELLO", "3", "AUTH", "default", "s3cret"), Map)
            assert c.cmd("GET", "k") is None
