#!/usr/bin/python3
"""flood.py: writes without end at the limit of maxmemory, beside the same writes without a limit.

Why        every write evicts then: what of the throughput is left?
How        one shard on core 0, memtier on core 1, SET of 64 B values over four times as many keys as the limit has room for, at
           pipeline 16 and 1. First without a limit, from as many keys as it has room for; then for each policy with maxmemory at
           what these take, so that three of four writes store a new key and evict. Where only keys with a TTL may go, all get one,
           and are compared with writes of keys with a TTL. In turn with redis-server; the median of the rounds counts. While a
           flood is on, used_memory is looked at.
Output     results/flood.json and FLOOD.md.
Use        bench/load/flood.py [--keys 500000] [--seconds 3] [--rounds 3] [--policies volatile-ttl,volatile-lru]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests"))

import servers
from harness import Conn
from run import cpu_model

POLICIES = ["allkeys-lru", "allkeys-lfu", "allkeys-random", "allkeys-s3fifo", "volatile-lru", "volatile-random", "volatile-ttl"]
OURS_ONLY = {"allkeys-s3fifo"}
LEAST = 0.6
SHAPES = {"P=16": ["-c", 50, "--pipeline", 16], "P=1": ["-c", 50, "--pipeline", 1]}


def memtier(server, last_key, args, expiry):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = ["taskset", "-c", "1", servers.memtier_path(), "-s", "127.0.0.1", "-p", server.port, "-t", 1, "-d", 64,
                   "--key-minimum", 1, "--key-maximum", last_key, "--ratio", "1:0", "--hide-histogram",
                   "--distinct-client-seed", "--json-out-file", out.name] + args
        if expiry:
            command += ["--expiry-range", "100000-200000"]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
        return json.load(open(out.name))["ALL STATS"]


def no_limit(policy):
    return "no limit, TTLs" if policy.startswith("volatile") else "no limit"


def used(c):
    return int(c.info("memory")["used_memory"])


class Watch(threading.Thread):
    """The most that used_memory comes to."""

    def __init__(self, port):
        super().__init__()
        self.c, self.most, self.stop = Conn(("127.0.0.1", port)), 0, False

    def run(self):
        while not self.stop:
            self.most = max(self.most, used(self.c))
            time.sleep(0.02)


def fill(server, c, a, expiry):
    c.cmd("CONFIG", "SET", "maxmemory", 0)
    c.cmd("FLUSHALL")
    memtier(server, a.keys, ["-c", 10, "--pipeline", 100, "--key-pattern", "P:P", "-n", "allkeys"], expiry)


def flood(server, a, shape, expiry):
    watch = Watch(server.port)
    watch.start()
    cpu = server.cpu_ns()
    stats = memtier(server, 4 * a.keys, SHAPES[shape] + ["--key-pattern", "R:R", "--test-time", a.seconds], expiry)
    cpu = server.cpu_ns() - cpu
    watch.stop = True
    watch.join()
    ops = stats["Sets"]["Count"]
    return {"cpu_us": cpu / 1000 / ops, "ops_per_s": ops / a.seconds, "p999_ms": stats["Totals"]["Percentile Latencies"]["p99.90"],
            "most_bytes": watch.most}


def measure(server, a, points):
    c = Conn(("127.0.0.1", server.port))
    for shape in SHAPES:
        for policy in a.rows:
            if server.name != "anax" and policy in OURS_ONLY:
                continue
            expiry = policy.startswith("volatile") or policy == "no limit, TTLs"
            fill(server, c, a, expiry)
            limit = 0
            if not policy.startswith("no limit"):
                limit = used(c)
                assert c.cmd("CONFIG", "SET", "maxmemory-policy", policy) == b"OK"
                assert c.cmd("CONFIG", "SET", "maxmemory", limit) == b"OK"
                before = int(c.info("stats").get("evicted_keys", 0))
            p = flood(server, a, shape, expiry)
            if limit:
                p["evicted"] = int(c.info("stats")["evicted_keys"]) - before
                p["over_bytes"] = max(0, p["most_bytes"] - limit)
                assert p["evicted"] > 1000
            points.setdefault("%s|%s|%s" % (server.name, shape, policy), []).append(p)
            print("%-13s %-5s %-16s %7.3f us/op %9.0f op/s  p99.9 %6.2f ms  over by %d B" % (
                server.name, shape, policy, p["cpu_us"], p["ops_per_s"], p["p999_ms"], p.get("over_bytes", 0)), flush=True)
    c.cmd("CONFIG", "SET", "maxmemory", 0)
    c.cmd("FLUSHALL")
    c.close()


def median(points, key, field):
    return statistics.median(p[field] for p in points[key])


def base_of(key):
    head, policy = key.rsplit("|", 1)
    return head + "|" + (policy if policy.startswith("no limit") else no_limit(policy))


def kept(points, key):
    return median(points, key, "ops_per_s") / median(points, base_of(key), "ops_per_s")


def kept_cpu(points, key):
    return median(points, base_of(key), "cpu_us") / median(points, key, "cpu_us")


def markdown(points, a):
    out = ["# Writes at the limit of maxmemory", "",
           "By `bench/load/flood.py`, on %s: SET of 64 B values over %d keys, of which %d fit; one shard on core 0, memtier on core 1, "
           "%d rounds of %d s, medians. `kept` is the throughput beside that without a limit, and the same by the server's CPU per "
           "operation (at least %.2f is wanted of both); p99.9 is memtier's. `over` is the most that used_memory was seen above maxmemory, buffers of the 50 "
           "connections included." % (cpu_model(), 4 * a.keys, a.keys, a.rounds, a.seconds, LEAST), ""]
    for shape in SHAPES:
        out += ["## %s" % shape, "", "| server | policy | op/s | kept | CPU, us | kept | p99.9, ms | over, KB |",
                "| --- | --- | --- | --- | --- | --- | --- | --- |"]
        for name in ("anax", "redis-server"):
            for policy in a.rows:
                key = "%s|%s|%s" % (name, shape, policy)
                if key not in points:
                    continue
                over = "" if policy.startswith("no limit") else "%.0f" % (max(p["over_bytes"] for p in points[key]) / 1024)
                out.append("| %s | %s | %.0f | %.2f | %.3f | %.2f | %.2f | %s |" % (
                    name, policy, median(points, key, "ops_per_s"), kept(points, key), median(points, key, "cpu_us"),
                    kept_cpu(points, key), median(points, key, "p999_ms"), over))
        out.append("")
    return "\n".join(out)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--keys", type=int, default=500_000)
    p.add_argument("--seconds", type=int, default=3)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--policies", default=",".join(POLICIES))
    a = p.parse_args()
    policies = a.policies.split(",")
    a.rows = sorted({no_limit(policy) for policy in policies}) + policies
    live, points = [servers.anax(1, "0"), servers.redis("0")], {}
    try:
        for _ in range(a.rounds):
            for s in live:
                for other in live:
                    (other.resume if other is s else other.suspend)()
                measure(s, a, points)
    finally:
        for s in live:
            s.stop()
    if policies != POLICIES:
        print(markdown(points, a))
        return
    with open(os.path.join(HERE, "results", "flood.json"), "w") as f:
        json.dump({"keys": a.keys, "seconds": a.seconds, "rounds": a.rounds, "cpu": cpu_model(), "points": points}, f, indent=1)
    with open(os.path.join(HERE, "FLOOD.md"), "w") as f:
        f.write(markdown(points, a))
    bad = [k for k in points if k.startswith("anax") and min(kept(points, k), kept_cpu(points, k)) < LEAST]
    if bad:
        sys.exit("below %.2f: %s" % (LEAST, ", ".join(bad)))


if __name__ == "__main__":
    main()
