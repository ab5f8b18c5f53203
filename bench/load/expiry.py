#!/usr/bin/python3
"""expiry.py: a million keys whose time comes in the same instant, and what a client feels of it.

How        a fresh server, keys with one PXAT; from two seconds before it to three after, one connection asks
           GET after GET and notes how long each took, another asks DBSIZE every 20 ms.
Output     results/expiry.json and EXPIRY.md: how many were gone one second after their time (DBSIZE counts
           what is stored, so a key that is only hidden is still counted), latencies before and after, in turn
           with redis-server.
Use        bench/load/expiry.py [--keys 1000000] [--shards 2]
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


def fill(port, n, at_ms):
    with Conn(("127.0.0.1", port)) as c:
        for first in range(0, n, BATCH):
            c.send(b"".join(encode([b"SET", b"key:%010d" % i, b"v" * 10, b"PXAT", b"%d" % at_ms])
                            for i in range(first, first + BATCH)))
            for _ in range(BATCH):
                assert c.read().value == b"OK"
        assert c.cmd("DBSIZE") == n


def probe(port, until, out):
    with Conn(("127.0.0.1", port)) as c:
        while time.time() < until:
            begin = time.perf_counter()
            c.cmd("GET", "nobody")
            out.append((time.time(), time.perf_counter() - begin))


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] * 1e6 if values else 0.0


def measure(server, n):
    at = time.time() + n / 40000 + BEFORE_S + 1
    fill(server.port, n, int(at * 1000))
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
    before = [t for when, t in latencies if when < at]
    after = [t for when, t in latencies if at <= when < at + 1.5]
    return {"gone_after_1s": gone_at_1s, "all_gone_s": all_gone_s,
            "before_us": [percentile(before, p) for p in (0.5, 0.999)] + [max(before) * 1e6],
            "after_us": [percentile(after, p) for p in (0.5, 0.999)] + [max(after) * 1e6]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=1000000)
    parser.add_argument("--shards", type=int, default=2)
    args = parser.parse_args()
    results = {}
    for name, start in (("anax", lambda: servers.anax(args.shards, "0")), ("redis-server", lambda: servers.redis("0"))):
        server = start()
        try:
            time.sleep(0.5)
            results[name] = measure(server, args.keys)
            print(name, results[name], flush=True)
        finally:
            server.stop()
    os.makedirs(os.path.join(HERE, "results"), exist_ok=True)
    with open(os.path.join(HERE, "results", "expiry.json"), "w") as f:
        json.dump({"keys": args.keys, "shards": args.shards, "servers": results}, f, indent=1)
    with open(os.path.join(HERE, "EXPIRY.md"), "w") as f:
        f.write("# Expiry: results\n\nMade by `bench/load/expiry.py`: %d keys whose time comes at once; servers on core 0, anax "
                "with %d shards.\nLatencies of a GET on another connection: p50, p99.9 and the longest, in us.\n\n"
                "| server | gone 1 s after their time | all gone after | 2 s before | 1.5 s after |\n"
                "| --- | --- | --- | --- | --- |\n" % (args.keys, args.shards))
        for name, r in results.items():
            f.write("| %s | %.2f%% | %s | %s | %s |\n" % (
                name, r["gone_after_1s"] * 100, "%.2f s" % r["all_gone_s"] if r["all_gone_s"] is not None else "later",
                ", ".join("%.0f" % v for v in r["before_us"]), ", ".join("%.0f" % v for v in r["after_us"])))


if __name__ == "__main__":
    main()
