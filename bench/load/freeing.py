#!/usr/bin/python3
"""freeing.py: what happens to everybody else when a huge value goes: by DEL, UNLINK, an overwrite, expiry.

How        one shard on core 0. A value of N elements; then one client sends PINGs one after the other, another makes the value
           go. Told: how long that command took, the longest PING until all memory is back, and, of anax, the longest turn that INFO
           reports. redis-server beside it, whose UNLINK frees on another thread.
Output     results/freeing.json and FREEING.md.
Use        bench/load/freeing.py [--elements 10000000]
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
from memory import used

PER_COMMAND = 1000
FILLS = {
    "list": lambda i: ["RPUSH", "v", b"item:%027d" % i],
    "hash": lambda i: ["HSET", "v", b"f%09d" % i, b"v%09d" % i],
    "set": lambda i: ["SADD", "v", b"member:%08d" % i],
    "ids": lambda i: ["SADD", "v", i * 97],
    "zset": lambda i: ["ZADD", "v", i * 7919 % 10_000_019, b"member:%08d" % i],
}
ENDS = {"DEL": ["DEL", "v"], "UNLINK": ["UNLINK", "v"], "SET": ["SET", "v", "x"], "PEXPIRE": ["PEXPIRE", "v", "1"]}


def fill(c, make, n):
    for at in range(0, n, PER_COMMAND):
        head = make(at)[:2]
        c.send(encode(head + [x for i in range(at, min(n, at + PER_COMMAND)) for x in make(i)[2:]]))
        c.read()


class Pings(threading.Thread):
    def __init__(self, port):
        super().__init__()
        self.c, self.longest, self.stop = Conn(("127.0.0.1", port)), 0.0, False

    def run(self):
        while not self.stop:
            began = time.monotonic()
            self.c.cmd("PING")
            self.longest = max(self.longest, time.monotonic() - began)


def longest_turn_us(c):
    for line in c.cmd("INFO", "shards").decode().splitlines():
        if line.startswith("shard0:"):
            return int(dict(x.split("=") for x in line[7:].split(",")).get("longest_turn_usec", 0))
    return 0


def measure(server, kind, end, n):
    with Conn(("127.0.0.1", server.port)) as c:
        c.cmd("FLUSHALL")
        before = used(server)
        fill(c, FILLS[kind], n)
        full = used(server)
        c.cmd("CONFIG", "RESETSTAT")
        pings = Pings(server.port)
        pings.start()
        time.sleep(0.2)
        began = time.monotonic()
        c.cmd(*ENDS[end])
        took = time.monotonic() - began
        while used(server) > before + (full - before) * 0.02:
            time.sleep(0.05)
            assert time.monotonic() < began + 120, "memory does not come back"
        all_free = time.monotonic() - began
        pings.stop = True
        pings.join()
        out = {"command_ms": took * 1e3, "longest_ping_ms": pings.longest * 1e3, "free_s": all_free,
               "longest_turn_ms": longest_turn_us(c) / 1e3}
    print(server.name, kind, end, {k: round(v, 2) for k, v in out.items()}, flush=True)
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--elements", type=int, default=10_000_000)
    p.add_argument("--kinds", default=",".join(FILLS))
    p.add_argument("--dry", action="store_true")
    a = p.parse_args()
    rows = []
    for kind in a.kinds.split(","):
        for end in ENDS if kind == "set" else ("DEL",):
            row = {"kind": kind, "end": end}
            for start in (lambda: servers.anax(1, "0"), lambda: servers.redis("0")):
                server = start()
                try:
                    row[server.name] = measure(server, kind, end, a.elements)
                finally:
                    server.stop()
            rows.append(row)
    out = ["# Freeing a value of %d elements" % a.elements, "", "Made by `bench/load/freeing.py` (%s)." % time.strftime("%Y-%m-%d"),
           "In ms: the command that makes the value go, the longest PING of another client meanwhile, and the longest turn of anax's loop.", "",
           "| | by | anax: command | PING | turn | redis-server: command | PING |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for r in rows:
        x, y = r["anax"], r["redis-server"]
        out.append("| %s | %s | %.2f | %.2f | %.2f | %.2f | %.2f |" % (r["kind"], r["end"], x["command_ms"], x["longest_ping_ms"],
                                                                  x["longest_turn_ms"], y["command_ms"], y["longest_ping_ms"]))
    text = "\n".join(out) + "\n"
    if not a.dry:
        with open(os.path.join(HERE, "results", "freeing.json"), "w") as f:
            json.dump({"date": time.strftime("%Y-%m-%d %H:%M"), "elements": a.elements, "rows": rows}, f, indent=1)
            f.write("\n")
        with open(os.path.join(HERE, "FREEING.md"), "w") as f:
            f.write(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
