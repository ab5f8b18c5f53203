#!/usr/bin/python3
"""defrag.py: what becomes of the memory when nine of ten random keys are deleted, and what a client feels of it.

How        a fresh server is filled with keys, nine of ten, in a random order, are deleted, and for a minute RSS and used_memory are
           noted once a second. All the while a client on the other core asks one GET or SET of a key that is left after the other, with a short
           pause after each, and notes how long it took; it and the server run before all else (SCHED_FIFO). The same with `activedefrag no`, and with redis-server: that of Debian refuses
           `activedefrag yes`.
Output     results/defrag.json and DEFRAG.md: RSS over time, its ratio to used_memory, latencies before the deletes, in the minute
           after them, and while the server says that it defragments.
Use        bench/load/defrag.py [--keys 5000000] [--shards 1] [--seconds 60]
"""

import argparse
import contextlib
import json
import os
import random
import socket
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests"))

import servers
from harness import Conn, encode

BATCH = 2000
PAUSE_S = 0.0001
BASELINE_S = 10


def name(i):
    return b"key:%012d" % i


def value(i):
    return b"v" * (16 + i * 7919 % 112)


def bulk(port, commands):
    """Commands as bytes, in batches; every reply is one line."""
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        batch = []

        def flush():
            s.sendall(b"".join(batch))
            lines = 0
            while lines < len(batch):
                got = s.recv(1 << 20)
                assert got and b"-" not in got, got[:100]
                lines += got.count(b"\n")
            batch.clear()

        for command in commands:
            batch.append(command)
            if len(batch) == BATCH:
                flush()
        if batch:
            flush()


def first_of_all(pid=0):
    """Threads that run as soon as they can: else the latencies tell of whatever else the machine does."""
    tids = [int(t) for t in os.listdir("/proc/%d/task" % pid)] if pid else [0]
    with contextlib.suppress(PermissionError):
        for tid in tids:
            os.sched_setscheduler(tid, os.SCHED_FIFO, os.sched_param(1))


class Probe(threading.Thread):

    def __init__(self, port, left):
        super().__init__()
        self.port, self.left, self.times, self.stopping = port, left, [], False

    def run(self):
        first_of_all()
        rng = random.Random(7)
        with socket.create_connection(("127.0.0.1", self.port)) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while not self.stopping:
                i = rng.choice(self.left)
                command = encode([b"GET", name(i)]) if rng.random() < 0.5 else encode([b"SET", name(i), value(i)])
                begin = time.perf_counter()
                s.sendall(command)
                got = s.recv(4096)
                took = time.perf_counter() - begin
                assert got[:1] in (b"$", b"+"), got
                self.times.append((time.time(), took))
                time.sleep(PAUSE_S)


def percentiles(times, begin, end):
    values = sorted(took for when, took in times if begin <= when < end)
    if not values:
        return None
    return [values[min(len(values) - 1, int(len(values) * p))] * 1e6 for p in (0.5, 0.99, 0.999)] + [
        values[-1] * 1e6, len(values)]


def info(c):
    return dict(line.split(":", 1) for line in c.cmd("INFO", "everything").decode().splitlines() if ":" in line)


def measure(server, n, seconds):
    order = list(range(n))
    random.Random(5).shuffle(order)
    left = sorted(order[n - n // 10:])
    bulk(server.port, (encode([b"SET", name(i), value(i)]) for i in range(n)))
    out = {"full_rss": server.rss_bytes()}
    first_of_all(server.process.pid)
    probe = Probe(server.port, left)
    probe.start()
    begin = time.time()
    try:
        time.sleep(BASELINE_S)
        deletes = time.time()
        bulk(server.port, (encode([b"DEL"] + [name(i) for i in order[at:at + 10]])
                           for at in range(0, n - n // 10, 10)))
        deleted = time.time()
        cpu = server.cpu_ns()
        samples = []
        with Conn(("127.0.0.1", server.port)) as c:
            out["full_used"] = None
            while time.time() < deleted + seconds:
                i = info(c)
                samples.append({"s": time.time() - deleted, "rss": server.rss_bytes(), "used": int(i["used_memory"]),
                                "running": int(i.get("active_defrag_running", 0)),
                                "hits": int(i.get("active_defrag_hits", 0)),
                                "cpu_ms": int(i.get("active_defrag_cpu_milliseconds", 0))})
                time.sleep(1)
            out["cpu_ms"] = (server.cpu_ns() - cpu) / 1e6
            assert c.cmd("DBSIZE") == len(left)
    finally:
        probe.stopping = True
        probe.join()
    ran = [s["s"] for s in samples if s["running"]]
    out.update(samples=samples, baseline_us=percentiles(probe.times, begin, deletes),
               after_us=percentiles(probe.times, deleted, deleted + seconds))
    if ran:
        out["running_us"] = percentiles(probe.times, deleted, deleted + ran[-1] + 1)
    return out


def ratio(s):
    return s["rss"] / s["used"]


def report(results, args):
    lines = ["# Defragmentation: results", "",
             "Made by `bench/load/defrag.py`: %d keys of 16 bytes with values of 16 to 127 bytes, of which nine of ten, in a random "
             "order, are deleted. Servers on core 0, anax with %d shard(s), the client on core 1." % (args.keys, args.shards), "",
             "RSS in MB, and as a multiple of `used_memory`, so many seconds after the last delete:", ""]
    marks = [0, 2, 5, 10, 20, 30, args.seconds - 2]
    lines += ["| server | full | " + " | ".join("%d s" % m for m in marks) + " |", "| --- " * (len(marks) + 2) + "|"]
    for who, r in results.items():
        cells = []
        for m in marks:
            s = min(r["samples"], key=lambda s: abs(s["s"] - m))
            cells.append("%.0f (%.2f)" % (s["rss"] / 1e6, ratio(s)))
        lines.append("| %s | %.0f | %s |" % (who, r["full_rss"] / 1e6, " | ".join(cells)))
    lines += ["", "A GET or SET at a time, with a pause of %d us after each; p50, p99, p99.9 and the longest, in us:" % (PAUSE_S * 1e6), "",
              "| server | before the deletes | the minute after them | while it defragments | CPU of defragmentation, ms |",
              "| --- | --- | --- | --- | --- |"]

    def show(p):
        return ", ".join("%.0f" % v for v in p[:4]) if p else "-"

    for who, r in results.items():
        lines.append("| %s | %s | %s | %s | %s |" % (who, show(r["baseline_us"]), show(r["after_us"]), show(r.get("running_us")),
                                                r["samples"][-1]["cpu_ms"] or "-"))
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=5000000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--only", help="measure this server again, and keep the results of the others")
    args = parser.parse_args()
    os.sched_setaffinity(0, {1})
    results, at = {}, os.path.join(HERE, "results", "defrag.json")
    if args.only and os.path.exists(at):
        with open(at) as f:
            results = json.load(f)["servers"]
    todo = {"anax": lambda: servers.anax(args.shards, "0"),
            "anax, activedefrag no": lambda: servers.anax(args.shards, "0", extra=("--activedefrag", "no")),
            "redis-server": lambda: servers.redis("0")}
    for who, start in todo.items():
        if args.only and who != args.only:
            continue
        server = start()
        try:
            time.sleep(0.5)
            results[who] = measure(server, args.keys, args.seconds)
            r = results[who]
            print(who, [(round(s["s"]), s["rss"] >> 20, round(ratio(s), 2), s["running"], s["hits"], s["cpu_ms"]) for s in r["samples"]])
            print(r["baseline_us"], r["after_us"], r.get("running_us"), flush=True)
        finally:
            server.stop()
    os.makedirs(os.path.join(HERE, "results"), exist_ok=True)
    with open(at, "w") as f:
        json.dump({"keys": args.keys, "shards": args.shards, "servers": results}, f, indent=1)
    with open(os.path.join(HERE, "DEFRAG.md"), "w") as f:
        f.write(report(results, args))


if __name__ == "__main__":
    main()
