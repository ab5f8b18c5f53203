#!/usr/bin/python3
"""memory.py: what a key costs, in used_memory and in RSS, beside redis-server.

How        a fresh server for each shape; growth of INFO's used_memory over 1M keys, divided by their number.
Output     results/memory.json and MEMORY.md.
Use        bench/load/memory.py [--keys 1000000] [--shards 2]
"""

import argparse
import json
import os
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests"))

import servers
from harness import Conn, encode

BATCH = 2000


def key(i, size):
    return (b"k%d:" % i).ljust(size, b"x")[:size] if i >= 10 ** (size - 2) else b"k%0*d" % (size - 1, i)


# name -> (title, bytes of payload, command i, most bytes per key of the issue)
SHAPES = {
    "small": ("10 B key, 10 B value", 20, lambda i: ["SET", key(i, 10), b"v%09d" % i], 44),
    "medium": ("16 B key, 64 B value", 80, lambda i: ["SET", key(i, 16), (b"v%09d" % i).ljust(64, b"y")], 108),
    "ttl": ("the same with a TTL", 80,
            lambda i: ["SET", key(i, 16), (b"v%09d" % i).ljust(64, b"y"), "EX", 1_000_000 + i], None),
    "counter": ("counter, 16 B key", 20, lambda i: ["SET", key(i, 16), b"%d" % (100_000 + i)], 44),
}


def used(server):
    with Conn(("127.0.0.1", server.port)) as c:
        text = c.cmd("INFO", "memory").decode()
    return next(int(line.split(":")[1]) for line in text.splitlines() if line.startswith("used_memory:"))


def fill(server, make, n):
    with Conn(("127.0.0.1", server.port)) as c:
        for at in range(0, n, BATCH):
            many = range(at, min(n, at + BATCH))
            c.send(b"".join(encode(make(i)) for i in many))
            for _ in many:
                assert c.read().value == b"OK"
        assert c.cmd("DBSIZE") == n


def settled(read, wait_s=1.0):
    """A number once it stays put: deferred work may still be going on."""
    value = read()
    for _ in range(20):
        time.sleep(wait_s / 4)
        again = read()
        if again == value:
            return value
        value = again
    return value


def measure(start, n):
    out = {}
    for shape, (_, _, make, _) in SHAPES.items():
        server = start()
        try:
            time.sleep(0.5)
            idle_used, idle_rss = settled(lambda: used(server)), server.rss_bytes()
            fill(server, make, n)
            time.sleep(2)  # for pages that the fill dirtied and freed to go back, with either allocator
            full_used, full_rss = settled(lambda: used(server)), server.rss_bytes()
            with Conn(("127.0.0.1", server.port)) as c:
                c.ok("FLUSHALL")
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline and server.rss_bytes() > idle_rss * 1.2:
                time.sleep(0.1)
            out[shape] = {"per_key": (full_used - idle_used) / n, "rss_per_key": (full_rss - idle_rss) / n,
                          "rss_to_used": full_rss / full_used, "idle_rss": idle_rss, "idle_used": idle_used,
                          "flushed_rss": server.rss_bytes(), "flushed_used": used(server)}
            print(server.name, shape, {k: round(v, 3) for k, v in out[shape].items()}, flush=True)
        finally:
            server.stop()
    return out


def table(results, n, shards):
    anax = results["anax"]
    others = [name for name in results if name != "anax"]
    out = ["# Memory: results", "", "Made by `bench/load/memory.py` (%s): growth of `used_memory` per key at %d keys; anax "
           "with %d shards." % (time.strftime("%Y-%m-%d"), n, shards), "",
           "| bytes per key | payload | anax | " + " | ".join(others) + " | at most | |",
           "| --- " * (5 + len(others)) + "|"]
    for shape, (title, payload, _, most) in SHAPES.items():
        mine = anax[shape]["per_key"]
        good = "" if most is None else "yes" if mine <= most else "**no**"
        out.append("| %s | %d | %.1f | %s | %s | %s |" % (title, payload, mine, " | ".join(
            "%.1f" % results[o][shape]["per_key"] for o in others), most or "", good))
    ttl = anax["ttl"]["per_key"] - anax["medium"]["per_key"]
    out.append("| a TTL adds | | %.1f | %s | 10 | %s |" % (ttl, " | ".join(
        "%.1f" % (results[o]["ttl"]["per_key"] - results[o]["medium"]["per_key"]) for o in others),
        "yes" if ttl <= 10 else "**no**"))
    out += ["", "| RSS | anax | " + " | ".join(others) + " | at most | |", "| --- " * (4 + len(others)) + "|"]

    def row(title, pick, form, most):
        mine = pick(anax)
        out.append("| %s | %s | %s | %s | %s |" % (title, form % mine, " | ".join(form % pick(results[o]) for o in others),
                                                   form % most, "yes" if mine <= most else "**no**"))

    row("RSS / used_memory after the fill (worst shape)", lambda r: max(x["rss_to_used"] for x in r.values()), "%.3f", 1.10)
    row("idle RSS, MB", lambda r: max(x["idle_rss"] for x in r.values()) / 1e6, "%.1f", 10)
    row("RSS after FLUSHALL / idle (worst shape)", lambda r: max(x["flushed_rss"] / x["idle_rss"] for x in r.values()),
        "%.2f", 1.20)
    return "\n".join(out) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--keys", type=int, default=1_000_000)
    p.add_argument("--shards", type=int, default=2)
    a = p.parse_args()
    kinds = {"anax": lambda: servers.anax(a.shards, None)}
    for name in ("redis-server", "valkey-server"):
        if shutil.which(name):
            kinds[name] = lambda name=name: servers.redis(None, name, name)
    results = {name: measure(start, a.keys) for name, start in kinds.items()}
    os.makedirs(os.path.join(HERE, "results"), exist_ok=True)
    with open(os.path.join(HERE, "results", "memory.json"), "w") as f:
        json.dump({"date": time.strftime("%Y-%m-%d %H:%M"), "keys": a.keys, "shards": a.shards, "results": results}, f,
                  indent=1)
        f.write("\n")
    text = table(results, a.keys, a.shards)
    with open(os.path.join(HERE, "MEMORY.md"), "w") as f:
        f.write(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
