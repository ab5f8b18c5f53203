#!/usr/bin/python3
"""hit_ratio.py: how often a request finds its key, by policy and memory, beside redis-server.

How        Two traces: cloudPhysics, of a virtual machine's disk (key: block, value: as many bytes as the request had), and
           one that is made here, of keys asked for by Zipf's law (exponent 0.9) in turn with scans over keys that are never
           asked for again. Each request is a GET, and a SET when there was nothing. maxmemory is the idle server's own
           used_memory and 5, 10 or 25% of the footprint: the bytes of all distinct keys and their values. For
           volatile- policies each SET has a TTL of a day. lfu-decay-time is 0: days are replayed in seconds, and it would be left
           to chance whether the end of a minute, when all counts decay, falls into a run.
           Each run has a fresh server; ours and Redis's runs of the same size come in turn. What is told is the mean of some runs:
           lru tells uses apart by the second, in both servers, and where seconds begin in a trace that is replayed in some of them makes up
           to 3 points of difference from run to run, at 25% of cloudPhysics.
Output     results/hit_ratio.json, RESULTS.md, hit_ratio.png.
Use        bench/cache/hit_ratio.py --trace ../shared/data/traces/cloudPhysicsIO.csv.gz
           ANAX_BIN, CACHE_LOAD_BIN name other builds.
"""

import argparse
import contextlib
import gzip
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(BENCH, "load"))
sys.path.insert(0, os.path.join(os.path.dirname(BENCH), "tests"))

import servers
from harness import Conn

LOAD = os.environ.get("CACHE_LOAD_BIN", os.path.join(servers.ROOT, "build", "release", "bench", "cache_load"))
PERCENTS = (5, 10, 25)
ALLKEYS = ["allkeys-" + p for p in ("s3fifo", "lru", "lfu", "lrm", "random")]
VOLATILE = ["volatile-" + p for p in ("s3fifo", "lru", "lfu", "lrm", "random", "ttl")]
taking_port = threading.Lock()
TTL_MS = 86400 * 1000
SCAN_REQUESTS, SCAN_KEYS, SCAN_VALUE, SCAN_BURST, ZIPF = 200000, 20000, 200, 5000, 0.9


def read_trace(path):
    with gzip.open(path, "rt") as f:
        next(f)
        for line in f:
            _, _, _, size, block = line.split(",")
            yield block.strip(), int(size)


def make_scans():
    rng, weights, fresh = random.Random(1), [1 / (i + 1) ** ZIPF for i in range(SCAN_KEYS)], 0
    sums = list(itertools.accumulate(weights))
    for _ in range(SCAN_REQUESTS // SCAN_BURST // 2):
        for key in rng.choices(range(SCAN_KEYS), cum_weights=sums, k=SCAN_BURST):
            yield "key:%d" % key, SCAN_VALUE
        for _ in range(SCAN_BURST):
            yield "scan:%d" % fresh, SCAN_VALUE
            fresh += 1


def prepare(requests, folder, name):
    requests = list(requests)
    sizes = dict(requests)
    path = os.path.join(folder, name)
    with open(path, "w") as f:
        f.writelines("%s %d\n" % r for r in requests)
    return {"path": path, "requests": len(requests), "keys": len(sizes),
            "footprint": sum(len(k) + v for k, v in sizes.items())}


def start(kind, policy, shards):
    with taking_port:
        if servers._next[0] >= int(servers.PORTS.split("-")[1]):
            servers._next[0] = int(servers.PORTS.split("-")[0])
        port = servers.free_port()
    if kind == "redis":
        args = ["redis-server", "--port", port, "--save", "", "--appendonly", "no", "--maxmemory-policy", policy]
    else:
        args = [servers.ANAX, "--port", port, "--save", "", "--shards", shards, "--maxmemory-policy", policy]
    return servers.Server(kind, args, port, None)


def info(conn, key):
    text = conn.cmd("INFO", "all").decode()
    return int(next(line for line in text.splitlines() if line.startswith(key + ":")).split(":")[1])


def run(trace, percent, kind, policy, shards):
    server = start(kind, policy, shards)
    try:
        with Conn(("127.0.0.1", server.port)) as c:
            idle = info(c, "used_memory")
            limit = idle + trace["footprint"] * percent // 100
            assert c.cmd("CONFIG", "SET", "maxmemory", str(limit), "lfu-decay-time", "0") == b"OK"
            ttl = [str(TTL_MS)] if policy.startswith("volatile") else []
            with open(trace["path"]) as f:
                done = json.loads(subprocess.check_output([LOAD, str(server.port)] + ttl, stdin=f))
            assert done["requests"] == trace["requests"]
            return dict(done, kind=kind, policy=policy, shards=shards, percent=percent,
                        ratio=done["hits"] / done["requests"], limit=limit, keys=c.cmd("DBSIZE"),
                        used=info(c, "used_memory"), evicted=info(c, "evicted_keys"))
    finally:
        server.stop()


def mean_of(runs):
    ratios = sorted(r["ratio"] for r in runs)
    return dict(runs[0], ratio=statistics.mean(ratios), ratios=ratios, errors=max(r["errors"] for r in runs))


def plan(which):
    for policy in ALLKEYS[:3] if which == "compared" else ALLKEYS:
        yield "anax", policy, 1
        if policy in ("allkeys-lru", "allkeys-lfu", "allkeys-random"):
            yield "redis", policy, 1
        if policy in ("allkeys-s3fifo", "allkeys-lru", "allkeys-lfu"):
            yield "anax", policy, 4
    if which == "all":
        for policy in VOLATILE:
            yield "anax", policy, 1
            if policy == "volatile-ttl":
                yield "redis", policy, 1


def key(row):
    return tuple(row[k] for k in ("kind", "policy", "shards", "percent"))


def table(rows):
    lines = ["| policy | server | 5% | 10% | 25% |", "| --- | --- | --- | --- | --- |"]
    for kind, policy, shards in dict.fromkeys((r["kind"], r["policy"], r["shards"]) for r in rows):
        cells = []
        for percent in PERCENTS:
            found = [r for r in rows if key(r) == (kind, policy, shards, percent)]
            ratios = found[0].get("ratios", [])
            cells.append("%.4f" % found[0]["ratio"] + (" (%.3f-%.3f)" % (ratios[0], ratios[-1]) if ratios else "") +
                         (", %d refused" % found[0]["errors"] if found[0]["errors"] else ""))
        server = "redis-server 7.0" if kind == "redis" else "Anax, %d shard%s" % (shards, "s" if shards > 1 else "")
        lines.append("| %s | %s | %s |" % (policy, server, " | ".join(cells)))
    return "\n".join(lines)


def plot(results, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, len(results), figsize=(12, 4.5))
    for axis, (name, result) in zip(axes, results.items()):
        shown = [("anax", p, 1) for p in ALLKEYS] + [("redis", "allkeys-lru", 1), ("redis", "allkeys-lfu", 1)]
        for kind, policy, shards in shown:
            ratios = [r["ratio"] for percent in PERCENTS for r in result["rows"]
                      if key(r) == (kind, policy, shards, percent)]
            axis.plot(PERCENTS, ratios, "x--" if kind == "redis" else "o-",
                      label=("redis " if kind == "redis" else "") + policy)
        axis.set_title(name)
        axis.set_xlabel("maxmemory, % of the footprint")
        axis.set_ylabel("hit ratio")
        axis.set_xticks(PERCENTS)
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def report(results, path):
    text = ["# Hit ratios", "",
            "Written by `hit_ratio.py`, which says how. Each request is a GET, and a SET when there was nothing; maxmemory is",
            "the idle server's own used_memory and a part of the footprint, which is the bytes of all distinct keys and their",
            "values. Ratio: GETs that found something, of all requests; the mean of some runs, in brackets the least and the greatest.", ""]
    for name, result in results.items():
        text += ["## " + name, "", "%d requests for %d keys, footprint %d bytes." %
                 (result["requests"], result["keys"], result["footprint"]), "", table(result["rows"]), ""]
    text += ["![hit ratio by memory](hit_ratio.png)", ""]
    with open(path, "w") as f:
        f.write("\n".join(text))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--trace", required=True)
    p.add_argument("--policies", choices=("all", "allkeys", "compared"), default="all",
                   help="compared: those that redis-server has too, and s3fifo; rows of other policies stay as they were")
    p.add_argument("--out", default=HERE)
    p.add_argument("--runs", type=int, default=3, help="of each; the mean is told")
    p.add_argument("--side-by-side", type=int, default=2, help="runs at a time")
    a = p.parse_args()
    kept = {}
    with contextlib.suppress(FileNotFoundError), open(os.path.join(a.out, "results", "hit_ratio.json")) as f:
        kept = json.load(f)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        traces = {"cloudPhysics": prepare(read_trace(a.trace), folder, "trace"),
                  "Zipf and scans": prepare(make_scans(), folder, "scans")}
        for name, trace in traces.items():
            with ThreadPoolExecutor(a.side_by_side) as pool:
                waiting = [[pool.submit(run, trace, percent, *which) for _ in range(a.runs)]
                           for percent, which in itertools.product(PERCENTS, plan(a.policies))]
                rows = []
                for some in waiting:
                    rows.append(mean_of([one.result() for one in some]))
                    print("%-14s %2d%% %-5s %-16s %d: %.4f" %
                          tuple([name] + [rows[-1][k] for k in ("percent", "kind", "policy", "shards", "ratio")]),
                          flush=True)
            again = {key(r) for r in rows}
            rows = [r for r in kept.get(name, {"rows": []})["rows"] if key(r) not in again] + rows
            rows.sort(key=lambda r: ((ALLKEYS + VOLATILE).index(r["policy"]), r["shards"], r["kind"]))
            results[name] = {k: v for k, v in trace.items() if k != "path"} | {"rows": rows}
    os.makedirs(os.path.join(a.out, "results"), exist_ok=True)
    with open(os.path.join(a.out, "results", "hit_ratio.json"), "w") as f:
        json.dump(results, f, indent=1)
    report(results, os.path.join(a.out, "RESULTS.md"))
    plot(results, os.path.join(a.out, "hit_ratio.png"))


if __name__ == "__main__":
    main()
