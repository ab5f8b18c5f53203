#!/usr/bin/python3
"""expiry.py: what keys with a TTL cost: an idle server that holds a million of them, and a million whose time comes at once.

Idle       a fresh server, empty; then keys with a TTL of one to ten hours; then keys of which some go all the time, over
           ten minutes. Nobody is connected while the processors' time of its threads is read over --seconds.
Memory     what a TTL adds to used_memory, per key, on average over values of 10 to 41 bytes: a single length says more about size
           classes than about TTLs.
Burst      keys with one PXAT; from two seconds before it to three after, one connection asks GET after GET and notes how
           long each took, another asks DBSIZE every 20 ms, which counts what is stored: a key that is only hidden is still
           counted. The longest turn is the loops' own figure (INFO), which redis-server 7.0 does not keep.
Output     results/expiry.json and EXPIRY.md, in turn with redis-server.
Use        ANAX_BIN=build/release/anax bench/load/expiry.py [--keys 1000000] [--seconds 20] [--core 0] [--rate 30000] [--parts burst,idle,memory]
           --rate: keys per second that are stored at least, while the machine is busy with other things.
           Parts that are left out stay as they were in results/expiry.json.
"""

import argparse
import json
import os
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests"))

import servers
from harness import Conn, encode

BATCH = 2000
BEFORE_S, AFTER_S = 2, 3
FAR_S, FAR_UNTIL_S = 3600, 36000
SOON_S, SOON_UNTIL_S = 20, 620
LOAD = "Load average while it ran, others on the machine included: %.1f on %d processors"


def fill(port, n, at_ms=None, lengths=1):
    """Keys 0..n-1; at_ms: when the i-th expires; values of 10 bytes, or of so many lengths from there on."""
    with Conn(("127.0.0.1", port)) as c:
        for first in range(0, n, BATCH):
            c.send(b"".join(encode([b"SET", b"key:%010d" % i, b"v" * (10 + i % lengths)] + ([b"PXAT", b"%d" % at_ms(i)] if at_ms else []))
                            for i in range(first, first + BATCH)))
            for _ in range(BATCH):
                assert c.read().value == b"OK"


def info(port):
    with Conn(("127.0.0.1", port)) as c:
        return c.info()


def size(port):
    with Conn(("127.0.0.1", port)) as c:
        return c.cmd("DBSIZE")


# --- idle ---


def idle_share(server, seconds):
    """The share of a core that it uses while nobody is there."""
    time.sleep(2)
    begin, cpu = time.monotonic(), server.cpu_ns()
    time.sleep(seconds)
    return (server.cpu_ns() - cpu) / 1e9 / (time.monotonic() - begin)


def spread(i, n, first_s, until_s, now):
    """The i-th of n times; neighbours lie far apart."""
    return int((now + first_s + (i * 7919 % n) * (until_s - first_s) / n) * 1000)


def idle(start, n, seconds):
    out = {}
    server = start()
    try:
        out["empty"] = idle_share(server, seconds)
        now = time.time()
        fill(server.port, n, lambda i: spread(i, n, FAR_S, FAR_UNTIL_S, now))
        out["far"] = idle_share(server, seconds)
        assert size(server.port) == n
        now = time.time() + n / 40000
        fill(server.port, n, lambda i: spread(i, n, SOON_S, SOON_UNTIL_S, now))
        wait = now + SOON_S + 2 - time.time()
        time.sleep(max(0, wait))
        gone = size(server.port)
        out["soon"] = idle_share(server, seconds)
        out["soon_gone"] = gone - size(server.port)
        at_ms, left = time.time() * 1000, size(server.port)
        out["soon_late"] = sum(spread(i, n, SOON_S, SOON_UNTIL_S, now) <= at_ms for i in range(n)) - (n - left)
    finally:
        server.stop()
    return out


# --- memory ---


def memory(start, n):
    grown = []
    for at_ms in (None, lambda i: (int(time.time()) + FAR_S) * 1000):
        server = start()
        try:
            before = int(info(server.port)["used_memory"])
            fill(server.port, n, at_ms, 32)
            grown.append((int(info(server.port)["used_memory"]) - before) / n)
        finally:
            server.stop()
    return {"plain_bytes": grown[0], "ttl_bytes": grown[1] - grown[0]}


# --- a burst ---


def probe(port, until, out):
    with Conn(("127.0.0.1", port)) as c:
        while time.time() < until:
            begin = time.perf_counter()
            c.cmd("GET", "nobody")
            out.append((time.time(), time.perf_counter() - begin))


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] * 1e6 if values else 0.0


def longest_turn_us(port):
    turns = [int(field.split("=")[1]) for name, value in info(port).items() if name.startswith("shard")
             for field in value.split(",") if field.startswith("longest_turn_usec=")]
    return max(turns) if turns else None


def burst(start, n, rate):
    server = start()
    try:
        at = time.time() + n / rate + BEFORE_S + 1
        fill(server.port, n, lambda i: int(at * 1000))
        with Conn(("127.0.0.1", server.port)) as c:
            assert c.cmd("DBSIZE") == n
            c.cmd("CONFIG", "RESETSTAT")
        time.sleep(max(0, at - BEFORE_S - time.time()))
        latencies, gone_at_1s, all_gone_s = [], None, None
        thread = threading.Thread(target=probe, args=(server.port, at + AFTER_S, latencies))
        thread.start()
        with Conn(("127.0.0.1", server.port)) as c:
            while time.time() < at + AFTER_S:
                left = c.cmd("DBSIZE")
                now = time.time()
                if now >= at + 1 and gone_at_1s is None:
                    gone_at_1s = 1 - left / n
                if left == 0 and all_gone_s is None:
                    all_gone_s = now - at
                time.sleep(0.02)
        thread.join()
        figures = info(server.port)
        before = [t for when, t in latencies if when < at]
        after = [t for when, t in latencies if at <= when < at + 1.5]
        return {"gone_after_1s": gone_at_1s, "all_gone_s": all_gone_s, "expired_keys": int(figures["expired_keys"]),
                "longest_turn_us": longest_turn_us(server.port),
                "expire_cpu_ms": int(figures["expire_cycle_cpu_milliseconds"]),
                "before_us": [percentile(before, p) for p in (0.5, 0.999)] + [max(before) * 1e6],
                "after_us": [percentile(after, p) for p in (0.5, 0.999)] + [max(after) * 1e6]}
    finally:
        server.stop()


def numbers(values):
    return ", ".join("%.0f" % v for v in values)


def report(r):
    out = ["# Expiry: results\n",
           "Made by `bench/load/expiry.py` (%s): %d keys, servers on core %s, release build. %s.\n" % (
               r["date"], r["keys"], r["core"], LOAD % (r["load"], os.cpu_count())),
           "## An idle server\n",
           "Percent of one core over %d s with nobody connected; at most 1 is wanted.\n" % r["seconds"],
           "| server | empty | TTLs of 1 to 10 hours | TTLs over 10 minutes | gone meanwhile | due and still stored |",
           "| --- | --- | --- | --- | --- | --- |"]
    for name, i in r["idle"].items():
        out.append("| %s | %.3f | %.3f | %.3f | %d | %d |" % (
            name, i["empty"] * 100, i["far"] * 100, i["soon"] * 100, i["soon_gone"], max(0, i["soon_late"])))
    out += ["", "## Memory\n", "Growth of `used_memory` per key, 14 B keys and values of 10 to 41 B, and what a TTL adds.\n",
            "| server | without | a TTL adds |", "| --- | --- | --- |"]
    for name, m in r["memory"].items():
        out.append("| %s | %.1f | %.1f |" % (name, m["plain_bytes"], m["ttl_bytes"]))
    out += ["", "## All due at once\n",
            "Latencies of a GET on another connection: p50, p99.9 and the longest, in us.\n",
            "| server | gone 1 s after their time | all gone after | time in slices, ms | longest turn, us | 2 s before | 1.5 s after |",
            "| --- | --- | --- | --- | --- | --- | --- |"]
    for name, b in r["burst"].items():
        out.append("| %s | %.2f%% | %s | %d | %s | %s | %s |" % (
            name, b["gone_after_1s"] * 100, "%.2f s" % b["all_gone_s"] if b["all_gone_s"] is not None else "later",
            b["expire_cpu_ms"], b["longest_turn_us"] or "-", numbers(b["before_us"]), numbers(b["after_us"])))
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1000000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--core", default="0")
    parser.add_argument("--rate", type=float, default=30000)
    parser.add_argument("--parts", default="burst,idle,memory")
    args = parser.parse_args()
    kinds = {"anax, 1 shard": lambda: servers.anax(1, args.core), "anax, 4 shards": lambda: servers.anax(4, args.core),
             "redis-server": lambda: servers.redis(args.core)}
    measures = {"burst": lambda start: burst(start, args.keys, args.rate), "idle": lambda start: idle(start, args.keys, args.seconds),
                "memory": lambda start: memory(start, args.keys)}
    path = os.path.join(HERE, "results", "expiry.json")
    parts = args.parts.split(",")
    r = {}
    if set(parts) != set(measures):
        with open(path) as f:
            r = json.load(f)
    r.update(keys=args.keys, seconds=args.seconds, core=args.core, date=time.strftime("%Y-%m-%d"))
    for part in parts:
        r[part] = {}
        for name, start in kinds.items():
            r[part][name] = measures[part](start)
            print(part, name, r[part][name], flush=True)
    if parts != ["memory"]:
        r["load"] = os.getloadavg()[1]
    with open(path, "w") as f:
        json.dump(r, f, indent=1)
    with open(os.path.join(HERE, "EXPIRY.md"), "w") as f:
        f.write(report(r))


if __name__ == "__main__":
    main()
