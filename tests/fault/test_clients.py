"""Clients that are slow, broken or hostile: they harm nobody but themselves."""

import random
import socket
import threading
import time

import pytest

from harness import SLOW, Closed, Conn, Server, encode, raise_fd_limit, wait_until

SCALE = 10 if SLOW else 1


def counted(server, name):
    return int(server.info("stats").get(name, 0))


def waits_to_be_sent(server, conn):
    """The bytes that the server has for this connection and cannot send; 0 while it has not been accepted yet."""
    return sum(int(dict(f.split("=", 1) for f in line.split(" "))["omem"])
               for line in server.cmd("CLIENT", "LIST").decode().splitlines()
               if " addr=127.0.0.1:%d " % conn.sock.getsockname()[1] in line)


def test_byte_at_a_time(anax):
    request = encode(["SET", "k", "value"]) + b"GET k\r\n" + encode(["ECHO", "x" * 50])
    with anax.connect() as slow, anax.connect() as quick:
        for byte in request:
            slow.send(bytes([byte]))
            assert quick.cmd("PING") == b"PONG"
        assert [slow.read().value for _ in range(3)] == [b"OK", b"value", b"x" * 50]


def test_large_value_byte_by_byte_at_its_ends(anax):
    """The switch to receiving in place happens at any byte."""
    value = random.Random(1).randbytes(100_000)
    head, tail = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n", b"\r\n" + encode(["GET", "k"])
    for early in (0, 1, 100, 16384, 32768, 99_999, 100_000):
        with anax.connect() as c:
            for byte in head:
                c.send(bytes([byte]))
            c.send(value[:early])
            time.sleep(0.01)
            c.send(value[early:])
            for byte in tail:
                c.send(bytes([byte]))
            assert c.read().value == b"OK" and c.read().value == value


@pytest.mark.parametrize("cut", ["reset", "close"])
def test_half_a_command(anax, cut):
    for half in [b"*", b"*3\r\n$3\r\nSET\r\n$1\r\nk", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\nabc", b"SET k",
                 b"*1000\r\n$1\r\na\r\n", b"*2\r\n$3\r\nGET\r\n$5000\r\n" + b"x" * 4000]:
        for _ in range(20 // SCALE + 1):
            c = Conn(anax.address)
            c.send(half)
            c.reset() if cut == "reset" else c.close()
    assert anax.cmd("EXISTS", "k") == 0


def test_announced_gigabyte(anax):
    """A header alone must not cost what it announces."""
    before = anax.used_memory()
    conns = []
    for _ in range(20):
        c = Conn(anax.address)
        c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1073741824\r\n")
        assert c.until_closed() == b"-ERR Protocol error: invalid bulk length\r\n"
        c.close()
    rss = anax.rss_bytes()
    for _ in range(20):  # allowed, but it never comes
        c = Conn(anax.address)
        c.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n")
        conns.append(c)
        c = Conn(anax.address)
        c.send(b"*1048576\r\n")
        conns.append(c)
    wait_until(lambda: int(anax.info("clients")["connected_clients"]) >= len(conns), "all are there")
    if not SLOW:
        assert anax.rss_bytes() < rss + (256 << 20), "memory was touched for bytes that never came"
    for c in conns:
        c.close()
    wait_until(lambda: anax.used_memory() < before + (1 << 20), "announced memory is returned")


def test_reader_that_does_not_read(anax):
    """Output piles up only to its limit; then the connection is closed, and others never notice."""
    value = b"x" * 10_000
    anax.cmd("SET", "v", value)
    greedy = Conn(anax.address, rcvbuf_bytes=4096)
    request = encode(["GET", "v"]) * 100
    greedy.sock.settimeout(1)
    sent, closed = 0, counted(anax, "client_output_buffer_limit_disconnections")
    with anax.connect() as other:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                greedy.send(request)
                sent += 100
            except (BrokenPipeError, ConnectionResetError):
                break
            except socket.timeout:
                # Not being read either is the other right answer, but the limit is on what waits:
                # "8mb for 5 s" has to end it all the same.
                time.sleep(0.2)
            assert other.cmd("GET", "v") == value
        else:
            raise AssertionError("never disconnected after %d requests" % sent)
    if anax.is_anax:
        assert counted(anax, "client_output_buffer_limit_disconnections") == closed + 1
    greedy.close()


def test_soft_limit(anax):
    """Over 8mb for 5 s: disconnected; briefly over it: not."""
    soft, closed = 8 << 20, counted(anax, "client_output_buffer_limit_disconnections")
    anax.cmd("SET", "v", b"x" * 1_000_000)
    with Conn(anax.address, rcvbuf_bytes=4096) as c:
        c.send(encode(["GET", "v"]) * 14)
        wait_until(lambda: waits_to_be_sent(anax, c) > soft, "it is over the limit")
        for _ in range(14):
            assert len(c.read().value) == 1_000_000
    with Conn(anax.address, rcvbuf_bytes=4096) as c:
        me = c.cmd("CLIENT", "ID")
        c.send(encode(["GET", "v"]) * 14)
        wait_until(lambda: anax.cmd("CLIENT", "LIST", "ID", me) == b"", "the soft limit comes into force")
    if anax.is_anax:
        assert counted(anax, "client_output_buffer_limit_disconnections") == closed + 1


def test_deep_pipeline_of_a_slow_reader(anax):
    """A pipeline whose answers fit the limit survives any delay in reading them."""
    n = 100_000 // SCALE
    with Conn(anax.address, rcvbuf_bytes=4096) as c:
        sender = threading.Thread(target=c.send_quietly, args=(encode(["INCR", "n"]) * n,))
        sender.start()
        time.sleep(0.5)
        assert anax.cmd("PING") == b"PONG"
        for i in range(n):
            assert c.read().value == i + 1
        sender.join()


def test_malformed_floods(anax):
    """100 connections that send rubbish as fast as they can."""
    rng = random.Random(2)
    rubbish = [b"*1\r\n$x\r\n", b"*-5\r\n*9999999999\r\n", b"\x00" * 100, b"*3\r\n$3\r\nSET\r\n$-1\r\n", b"$" * 70000,
               rng.randbytes(5000), b"'\r\n", b"GET / HTTP/1.0\r\n\r\n", b"*1\r\n$4\r\nPING\n\n"]
    errors, before = [], counted(anax, "protocol_errors")

    def flood(n):
        local = random.Random(n)
        for _ in range(2 if SLOW else 15):
            try:
                with Conn(anax.address, 5) as c:
                    for _ in range(local.randint(1, 5)):
                        c.send(local.choice(rubbish))
                    if local.random() < 0.5:
                        c.sock.settimeout(0.2)  # some rubbish is only the beginning of something
                        c.sock.recv(100)
                    if local.random() < 0.3:
                        c.reset()
            except (OSError, Closed):
                pass
            except Exception as e:  # noqa: the thread must tell
                errors.append(e)

    threads = [threading.Thread(target=flood, args=(n,)) for n in range(100)]
    for t in threads:
        t.start()
    with anax.connect() as good:
        while any(t.is_alive() for t in threads):
            assert good.cmd("SET", "good", "1") == b"OK" and good.cmd("GET", "good") == b"1"
    for t in threads:
        t.join()
    assert not errors, errors[:3]
    assert counted(anax, "protocol_errors") - before >= 100 // SCALE or not anax.is_anax


def test_clients_die_in_the_middle(anax):
    """Pipelines whose sender is gone before the answers come."""
    rng = random.Random(3)
    for i in range(300 // SCALE):
        c = Conn(anax.address)
        c.send(b"".join(encode(["SET", b"d%d" % rng.randrange(1000), rng.randbytes(rng.choice([10, 1000, 40000]))])
                        + encode(["GET", b"d%d" % rng.randrange(1000)]) for _ in range(rng.randrange(1, 60))))
        pick = rng.randrange(3)
        if pick == 0:
            c.reset()
        elif pick == 1:
            c.close()
        else:
            c.sock.shutdown(socket.SHUT_WR)
            c.close()
    with anax.connect() as c:
        for i in range(200):
            assert c.cmd("SET", b"after%d" % i, "v") == b"OK"
        assert c.cmd("DBSIZE") > 201, "nothing of what they sent has run"  # and the witness


def test_half_close_still_answers(anax):
    """A client that has said all it wants to say still gets its answers."""
    with Conn(anax.address) as c:
        c.send(encode(["SET", "h", "1"]) + encode(["GET", "h"]) + encode(["QUIT"]))
        c.sock.shutdown(socket.SHUT_WR)
        assert c.until_closed() == b"+OK\r\n$1\r\n1\r\n+OK\r\n"


def test_connect_and_disconnect_storm(anax):
    for _ in range(3000 // SCALE):
        Conn(anax.address).close()
    for _ in range(3000 // SCALE):
        Conn(anax.address).reset()
    assert anax.cmd("PING") == b"PONG"


def test_idle_connections_are_small(anax):
    """10,000 idle connections cost at most 2 KB each beside the kernel's part."""
    n = 10_000 // SCALE
    room = raise_fd_limit(n + 2000)
    assert room >= n + 1000, "RLIMIT_NOFILE is %d: raise the hard limit to run the suite" % room
    with Server("anax", shards=2, options={"maxclients": n + 500}) as server:
        warm = [Conn(server.address) for _ in range(100)]
        for c in warm:
            assert c.cmd("PING") == b"PONG"
        used, rss = server.used_memory(), server.rss_bytes()
        conns = []
        try:
            for _ in range(n):
                c = Conn(server.address)
                conns.append(c)
            for c in conns:
                c.send(encode(["SET", "k", "v"]) + encode(["GET", "k"]))
            for c in conns:
                assert c.read().value == b"OK" and c.read().value == b"v"
            assert int(server.info("clients")["connected_clients"]) >= n
            # idle: the buffers that the burst of requests took have been given back
            deadline = time.monotonic() + 5
            while True:
                used_each = (server.used_memory() - used) / n
                rss_each = (server.rss_bytes() - rss) / n
                if SLOW or (used_each <= 2048 and rss_each <= 2048):
                    break
                assert time.monotonic() < deadline, "used_memory grows by %.0f, RSS by %.0f bytes per connection" \
                    % (used_each, rss_each)
                time.sleep(0.1)
        finally:
            for c in conns + warm:
                c.close()
        # tables that were sized for the most there were may stay
        wait_until(lambda: server.used_memory() < used + (1 << 20) + n * 256, "connections' memory is returned")
