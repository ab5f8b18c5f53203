"""redis-cli, redis-benchmark, memtier_benchmark where it is at hand, and load.py everywhere."""

import json
import os
import shutil
import subprocess

import pytest

import load
from harness import ROOT, SLOW, Server, encode, raise_fd_limit, wait_until

SCALE = 10 if SLOW else 1
MEMTIER = os.environ.get("MEMTIER") or shutil.which("memtier_benchmark") or next(
    (p for p in ["/work/bench-peers/memtier/memtier_benchmark"] if os.access(p, os.X_OK)), None)


def tool(*args, stdin=None, timeout=300):
    done = subprocess.run([str(a) for a in args], input=stdin, capture_output=True, timeout=timeout)
    assert done.returncode == 0, (args, done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout.decode("utf-8", "replace") + done.stderr.decode("utf-8", "replace")


# --- redis-cli ---


def test_cli_basics(anax):
    def cli(*args):
        return tool("redis-cli", "-p", anax.port, *args).strip()

    assert cli("PING") == "PONG"
    assert cli("SET", "k", "hello") == "OK" and cli("GET", "k") == "hello"
    assert cli("INCR", "n") == "1" and cli("--no-raw", "INCR", "n") == "(integer) 2"
    assert cli("--no-raw", "GET", "missing") == "(nil)"
    assert cli("-3", "CONFIG", "GET", "databases").split() == ["databases", "16"]
    assert "ERR" in cli("NOSUCH")
    assert cli("-n", "3", "SET", "k", "in3") == "OK" and cli("GET", "k") == "hello"
    assert "redis_version" in cli("INFO")


def test_cli_pipe(anax):
    n = 20000 // SCALE
    data = b"".join(encode(["SET", b"pipe%d" % i, b"v%d" % i]) for i in range(n))
    out = tool("redis-cli", "-p", anax.port, "--pipe", stdin=data)
    assert "errors: 0, replies: %d" % n in out
    assert anax.cmd("DBSIZE") == n and anax.cmd("GET", "pipe%d" % (n - 1)) == b"v%d" % (n - 1)


def test_cli_scan_and_bigkeys(anax):
    with anax.connect() as c:
        c.pipeline([["SET", "s%d" % i, "x" * i] for i in range(300)])
    out = tool("redis-cli", "-p", anax.port, "--scan", "--pattern", "s*").split()
    assert set(out) == {"s%d" % i for i in range(300)}
    out = tool("redis-cli", "-p", anax.port, "--bigkeys")
    assert "s299" in out and "300 strings with" in out


def test_cli_stat_and_latency(anax):
    # redis-cli writes to a pipe when it has 4 KB, some fifty lines
    with subprocess.Popen(["redis-cli", "-p", str(anax.port), "-i", "0.02", "--stat"],
                          stdout=subprocess.PIPE, text=True, bufsize=1) as p:
        lines = [p.stdout.readline() for _ in range(3)]
        p.kill()
    assert "keys" in lines[1] and lines[2].split()[0].isdigit(), lines
    out = tool("redis-cli", "-p", anax.port, "--latency", "-i", 1).split()
    assert len(out) >= 4 and int(out[3]) > 0, out  # min max avg samples


def test_cli_session_from_a_file(anax):
    out = tool("redis-cli", "-p", anax.port, stdin=b"SET a 1\nINCR a\nGET a\nSELECT 2\nGET a\nPING\n")
    assert out.split() == ["OK", "2", "2", "OK", "PONG"], out


# --- redis-benchmark ---


@pytest.mark.parametrize("pipeline", [1, 16])
def test_redis_benchmark(anax, pipeline):
    out = tool("redis-benchmark", "-p", anax.port, "-t", "ping,set,get,incr", "-n", 20000 // SCALE, "-P", pipeline,
               "-r", 1000, "-q", "-c", 50)
    low = out.lower()
    assert "error" not in low and "err " not in low and "warning" not in low, out
    assert out.count("requests per second") >= 5, out


def test_redis_benchmark_many_connections(anax):
    raise_fd_limit(3000)
    out = tool("redis-benchmark", "-p", anax.port, "-t", "set,get", "-n", 20000 // SCALE, "-c", 1000, "-q",
               "--threads", 2)
    assert "rror" not in out and out.count("requests per second") == 2, out


# --- checked loads ---

LOADS = {
    "default mix": dict(clients=50, requests=20000, ratio=(1, 10)),
    "pipeline 16": dict(clients=20, requests=30000, pipeline=16, ratio=(1, 1)),
    "pipeline 1000": dict(clients=4, requests=30000, pipeline=1000, ratio=(1, 2)),
    "expiring": dict(clients=20, requests=20000, pipeline=10, ratio=(1, 1), ttl=(1, 3)),
    "1000 connections": dict(clients=1000, requests=30000, ratio=(1, 3), keys=20),
    "large values": dict(clients=10, requests=1000, ratio=(1, 1), size=(1, 200000), pipeline=4, keys=10),
}


@pytest.mark.parametrize("shards,io", [(1, "uring"), (2, "uring"), (8, "uring"), (3, "epoll")])
@pytest.mark.parametrize("name", LOADS)
def test_every_reply_is_right(name, shards, io):
    raise_fd_limit(3000)
    o = dict(LOADS[name])
    o["requests"] //= SCALE
    with Server("anax", shards=shards, io=io) as server:
        stats = load.run(server.address, **o)
        assert stats["wrong"] == 0, stats
        assert stats["requests"] >= o["requests"] - o["clients"] and stats["hits"] > 0, stats
        if "ttl" in o:
            wait_until(lambda: server.cmd("DBSIZE") == 0, "they have all expired")


def test_several_loads_together(anax):
    """Deep pipelines beside single requests, each checking its own keys."""
    script = os.path.join(ROOT, "tests", "clients", "load.py")
    procs = [subprocess.Popen(["/usr/bin/python3", script, "--port", str(anax.port), "--clients", str(clients),
                               "--pipeline", str(depth), "--requests", str(20000 // SCALE), "--ratio", "1:1",
                               "--seed", str(seed)], stdout=subprocess.PIPE, text=True)
             for seed, (clients, depth) in enumerate([(30, 1), (5, 100), (2, 2000)])]
    for p in procs:
        out = json.loads(p.communicate(timeout=300)[0])
        assert p.returncode == 0 and out["wrong"] == 0 and out["requests"] > 0, out


MEMTIER_LOADS = {
    "default": [],
    "pipeline": ["--pipeline", 20],
    "pipeline 100": ["--pipeline", 100, "-d", 64],
    "expiry": ["--expiry-range", "1-3", "--ratio", "1:1"],
    "1000 connections": ["-t", 2, "-c", 500],
    "resp3": ["-P", "resp3"],
    "reconnects": ["--reconnect-interval", 50],
    "large": ["--data-size-range", "1-100000", "--ratio", "1:1", "--key-maximum", 100],
}


@pytest.mark.parametrize("name", MEMTIER_LOADS)
def test_memtier(anax, name, tmp_path):
    """memtier_benchmark where it is installed; elsewhere load.py puts the same shape of load."""
    raise_fd_limit(5000)
    if not MEMTIER:
        stats = load.run(anax.address, clients=200, requests=20000 // SCALE,
                         pipeline=20 if "pipeline" in name else 1, ttl=(1, 3) if name == "expiry" else None)
        assert stats["wrong"] == 0, stats
        return
    result = tmp_path / "out.json"
    requests = {"1000 connections": 50, "large": 100}.get(name, 300) // SCALE
    out = tool(MEMTIER, "-s", "127.0.0.1", "-p", anax.port, "-n", requests, "--hide-histogram", "--key-maximum",
               10000, "--json-out-file", result, *MEMTIER_LOADS[name])
    low = out.lower()
    assert "error" not in low and "connection" not in low.replace("connections", ""), out[-3000:]
    stats = json.loads(result.read_text())["ALL STATS"]
    assert stats["Sets"]["Count"] + stats["Gets"]["Count"] > 0  # its Ops/sec is 0 when a run takes less than a second


def test_memtier_data_verification(anax, tmp_path):
    """memtier stores the rows of a file, reads them back and compares; else load.py has done so."""
    rows = ["dumpflags, time, exptime, nbytes, nsuffix, it_flags, clsid, nkey, key, data"]
    for i in range(500):
        value = ("value-%d-" % i) * (1 + i % 7)
        key = "verify%d" % i
        rows.append('0, 0, 0, %d, 0, 0, 0, %d, "%s", "%s"' % (len(value) + 2, len(key), key, value))
    data = tmp_path / "data.csv"
    data.write_text("\n".join(rows) + "\n")
    if not MEMTIER:
        assert load.run(anax.address, clients=50, requests=20000 // SCALE, ratio=(1, 1))["wrong"] == 0
        return
    out = tool(MEMTIER, "-s", "127.0.0.1", "-p", anax.port, "-t", 1, "-c", 1, "-n", "allkeys", "--data-import", data,
               "--data-verify", "--key-pattern", "S:S", "--ratio", "1:1", "--hide-histogram")
    low = out.lower()
    assert "error" not in low and "mismatch" not in low, out[-3000:]
