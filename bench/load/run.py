#!/usr/bin/python3
"""run.py: speed side by side with redis-server, memcached and the floor server.

Why        CPU per operation is what a core can do, and repeats to a few percent where throughput on a shared
           machine does not. Own cost = measured - floor: what is left when the kernel's part is gone.
How        one shard: servers on core 0, memtier_benchmark on core 1, rounds in turn over all servers; the
           median of the rounds counts. Several shards: the server may use both cores.
           CPU is the sum of /proc/PID/task/*/schedstat over the time of a run; operations are memtier's count.
Output     results/NAME.json, RESULTS.md with the targets, NAME.png.
Use        bench/load/run.py [--name main] [--seconds 5] [--rounds 3] [--only single,multi] [--keys 1000000]
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests"))

import servers
from harness import raise_fd_limit

VALUE_BYTES = 64
SHARDS = (1, 2, 4, 8)

# name -> (title, memtier's arguments)
SHAPES = {
    "get100": ("P=100 GET", ["--pipeline", 100, "-c", 10, "--ratio", "0:1"]),
    "set100": ("P=100 SET", ["--pipeline", 100, "-c", 10, "--ratio", "1:0"]),
    "mix16": ("P=16, SET:GET 1:10", ["--pipeline", 16, "-c", 50, "--ratio", "1:10"]),
    "p1c50": ("P=1, 50 conns", ["--pipeline", 1, "-c", 50, "--ratio", "1:10"]),
    "p1c1000": ("P=1, 1000 conns", ["--pipeline", 1, "-c", 1000, "--ratio", "1:10"]),
    "one": ("P=1, 1 conn", ["--pipeline", 1, "-c", 1, "--ratio", "1:10"]),
}
SINGLE = ("get100", "set100", "mix16", "p1c50", "p1c1000")
MULTI = ("get100", "mix16", "p1c50", "one")
EQUAL_CONNS = 50
EQUAL_SHARE = 0.6  # of what redis-server reached at P=1 with 50 connections


class Bench:
    def __init__(self, a):
        self.a = a
        self.memtier = servers.memtier_path()
        self.results = {}  # (group, server, shape) -> list of points

    def load(self, server, args, seconds=None, count=None):
        """One run of memtier; returns its totals."""
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            command = ["taskset", "-c", self.a.load_cores, self.memtier, "-s", "127.0.0.1", "-p", server.port, "-P",
                       server.protocol, "-t", 1, "-d", VALUE_BYTES, "--key-minimum", 1, "--key-maximum", self.a.keys,
                       "--hide-histogram", "--distinct-client-seed", "--json-out-file", out.name]
            command += ["-n", count] if count else ["--test-time", seconds or self.a.seconds]
            command += args
            done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
            if done.returncode != 0:
                raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
            data = json.load(open(out.name))
        return data["ALL STATS"]

    def fill(self, server):
        """Every key once."""
        self.load(server, ["--ratio", "1:0", "--key-pattern", "P:P", "--pipeline", 100, "-c", 10], count="allkeys")

    def settle(self, server):
        """The kernel gathers small pages into huge ones in the background, for those who ask for them."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            huge = server.huge_bytes()
            if huge == 0 or huge > 0.9 * server.rss_bytes():
                break
            time.sleep(2)

    def point(self, group, server, shape, args, seconds=None):
        others = [s for s in self.live if s is not server]
        for s in others:
            s.suspend()
        server.resume()
        time.sleep(0.1)
        cpu, start = server.cpu_ns(), time.monotonic()
        stats = self.load(server, args, seconds)
        cpu, elapsed = server.cpu_ns() - cpu, time.monotonic() - start
        for s in others:
            s.resume()
        totals = stats["Totals"]
        ops = sum(stats[k].get("Count", 0) for k in ("Sets", "Gets"))
        tail = totals["Percentile Latencies"]
        p = {"ops": ops, "cpu_us": cpu / 1000 / ops, "ops_per_s": ops / (seconds or self.a.seconds), "cores": cpu / 1e9 / elapsed,
             "p50_ms": tail["p50.00"], "p99_ms": tail["p99.00"], "p999_ms": tail["p99.90"]}
        self.results.setdefault((group, server.name, shape), []).append(p)
        print("%-7s %-20s %-8s %8.3f us/op %9.0f op/s  p50 %.3f  p99.9 %.3f ms" % (
            group, server.name, shape, p["cpu_us"], p["ops_per_s"], p["p50_ms"], p["p999_ms"]), flush=True)
        return p

    def single(self):
        self.live = servers.single(self.a.server_core)
        try:
            for s in self.live:
                if s.name != "floor":
                    self.fill(s)
            for s in self.live:
                self.settle(s)
            for _ in range(self.a.rounds):
                for shape in SINGLE:
                    for s in self.live:
                        self.point("single", s, shape, SHAPES[shape][1])
            reached = self.value("single", "redis-server", "p1c50", "ops_per_s") or \
                self.value("single", "anax", "p1c50", "ops_per_s")
            rate = max(1, int(reached * EQUAL_SHARE / EQUAL_CONNS))
            self.equal_rate = rate * EQUAL_CONNS
            for _ in range(self.a.rounds):
                for s in self.live:
                    self.point("single", s, "equal", SHAPES["p1c50"][1] + ["--rate-limiting", rate])
        finally:
            self.end()

    def multi(self):
        """Servers one after the other within a round: eight filled at once would not share a cache fairly."""
        kinds = [(n, b) for n in SHARDS for b in ((True,) if n == 1 else (True, False))]
        self.live = [servers.anax(n, self.a.all_cores, borrow=b, name=name_of(n, b)) for n, b in kinds]
        try:
            for s in self.live:
                self.fill(s)
            for s in self.live:
                self.settle(s)
            for _ in range(self.a.rounds):
                for shape in MULTI:
                    for s in self.live:
                        self.point("multi", s, shape, SHAPES[shape][1])
        finally:
            self.end()

    def end(self):
        for s in self.live:
            s.stop()
        self.live = []

    def value(self, group, server, shape, what):
        points = self.results.get((group, server, shape))
        return statistics.median(p[what] for p in points) if points else None

    def own(self, server, shape):
        """CPU beyond the floor's."""
        mine, base = (self.value("single", n, shape, "cpu_us") for n in (server, "floor"))
        return None if mine is None or base is None else mine - base


def name_of(shards, borrow):
    return "%d shard%s, borrow %s" % (shards, "s" if shards > 1 else "", "on" if borrow else "off") \
        if shards > 1 else "1 shard"


def num(x, digits=3):
    return "" if x is None else "%.*f" % (digits, x)


def ratio(a, b):
    return None if a is None or not b else a / b


def targets(b):
    """(what, measured, bound) of the issue that this benchmark answers."""
    rows = []

    def add(what, measured, bound):
        if measured is not None:
            rows.append((what, measured, bound))

    for shape, most, share in (("get100", 0.25, 0.45), ("set100", 0.30, 0.45), ("mix16", None, 0.5)):
        title = SHAPES[shape][0]
        if most:
            add("%s: own cost, us" % title, b.own("anax", shape), most)
        add("%s: own cost / Redis's" % title, ratio(b.own("anax", shape), b.own("redis-server", shape)), share)
    for shape in ("p1c50", "p1c1000"):
        add("%s: CPU / Redis's" % SHAPES[shape][0], ratio(b.value("single", "anax", shape, "cpu_us"),
                                                        b.value("single", "redis-server", shape, "cpu_us")), 1.0)
    add("p99.9 at equal load / Redis's", ratio(b.value("single", "anax", "equal", "p999_ms"),
                                              b.value("single", "redis-server", "equal", "p999_ms")), 1.0)

    def multi(n, shape, what="cpu_us"):
        return b.value("multi", name_of(n, True), shape, what)

    if multi(1, "get100") is not None and multi(2, "get100") is not None:
        add("2 shards, P=100 GET: CPU beyond 1 shard, us", multi(2, "get100") - multi(1, "get100"), 0.25)
    add("2 shards, P=16: CPU / 1 shard", ratio(multi(2, "mix16"), multi(1, "mix16")), 1.25)
    add("2 shards, P=1, 50 conns: CPU / 1 shard", ratio(multi(2, "p1c50"), multi(1, "p1c50")), 1.2)
    for n in (4, 8):
        add("%d shards, P=1, 50 conns: CPU / 1 shard" % n, ratio(multi(n, "p1c50"), multi(1, "p1c50")), 1.5)
    add("2 shards, 1 conn: CPU / 1 shard", ratio(multi(2, "one"), multi(1, "one")), 1.15)
    add("2 shards, 1 conn: p50 / 1 shard", ratio(multi(2, "one", "p50_ms"), multi(1, "one", "p50_ms")), 1.1)
    return rows


def markdown(b):
    out = ["# Load: results", "", "Made by `bench/load/run.py` (%s, %d s a point, %d rounds in turn, medians); %d keys, "
           "%d B values." % (time.strftime("%Y-%m-%d"), b.a.seconds, b.a.rounds, b.a.keys, VALUE_BYTES),
           "Machine: %s, %d cores, Linux %s. Server on core %s, memtier_benchmark on core %s; with several shards the "
           "server may use cores %s." % (cpu_model(), os.cpu_count(), platform.release(), b.a.server_core,
                                       b.a.load_cores, b.a.all_cores),
           "CPU is the server's, user and system, per operation. Own cost = measured - floor.", ""]
    rows = targets(b)
    if rows:
        out += ["## Targets", "", "| what | measured | at most | |", "| --- | --- | --- | --- |"]
        out += ["| %s | %.3f | %.2f | %s |" % (w, m, t, "yes" if m <= t else "**no**") for w, m, t in rows]
        out.append("")
    names = []
    for g, s, _ in b.results:
        if g == "single" and s not in names:
            names.append(s)
    if names:
        out += ["## One shard", "", "CPU per operation in us, own cost in brackets", "",
                "| server | " + " | ".join(SHAPES[s][0] for s in SINGLE) + " |", "| --- " * (len(SINGLE) + 1) + "|"]
        for s in names:
            cells = []
            for shape in SINGLE:
                own = b.own(s, shape)
                cells.append(num(b.value("single", s, shape, "cpu_us")) + (
                    " (%.3f)" % own if own is not None and s != "floor" else ""))
            out.append("| %s | %s |" % (s, " | ".join(cells)))
        out += ["", "Operations per second, and p99.9 in ms at an equal offered load of %d/s" %
                getattr(b, "equal_rate", 0), "",
                "| server | " + " | ".join(SHAPES[s][0] for s in SINGLE) + " | p50 | p99 | p99.9 |",
                "| --- " * (len(SINGLE) + 4) + "|"]
        for s in names:
            out.append("| %s | %s | %s |" % (s, " | ".join(num(b.value("single", s, k, "ops_per_s"), 0) for k in SINGLE),
                                             " | ".join(num(b.value("single", s, "equal", k))
                                                        for k in ("p50_ms", "p99_ms", "p999_ms"))))
        out.append("")
    multi = []
    for g, s, _ in b.results:
        if g == "multi" and s not in multi:
            multi.append(s)
    if multi:
        out += ["## Several shards on %d cores" % len(b.a.all_cores.split(",")), "",
                "CPU per operation in us (and relative to 1 shard); the last column is p50 in ms of the one connection",
                "", "| anax | " + " | ".join(SHAPES[s][0] for s in MULTI) + " | p50 |", "| --- " * (len(MULTI) + 2) + "|"]
        for s in multi:
            cells = []
            for shape in MULTI:
                v, base = b.value("multi", s, shape, "cpu_us"), b.value("multi", "1 shard", shape, "cpu_us")
                cells.append("%s (%s)" % (num(v), num(ratio(v, base), 2)))
            out.append("| %s | %s | %s |" % (s, " | ".join(cells), num(b.value("multi", s, "one", "p50_ms"))))
        out.append("")
    out.append("![CPU per operation](results/%s.png)" % b.a.name)
    return "\n".join(out) + "\n"


def cpu_model():
    with open("/proc/cpuinfo") as f:
        m = re.search(r"model name\s*:\s*(.*)", f.read())
    return m.group(1) if m else platform.machine()


def plot(b, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    groups = [(g, shapes) for g, shapes in (("single", SINGLE), ("multi", MULTI))
              if any(k[0] == g for k in b.results)]
    fig, axes = plt.subplots(len(groups), 1, figsize=(11, 4.5 * len(groups)), squeeze=False)
    for ax, (group, shapes) in zip(axes[:, 0], groups):
        names = []
        for g, s, _ in b.results:
            if g == group and s not in names:
                names.append(s)
        base = b.value(group, names[0], shapes[0], "cpu_us")
        width = 0.8 / len(names)
        for i, name in enumerate(names):
            values = [(b.value(group, name, s, "cpu_us") or 0) for s in shapes]
            ax.bar([x + i * width for x in range(len(shapes))], values, width, label=name)
        ax.set_xticks([x + 0.4 - width / 2 for x in range(len(shapes))], [SHAPES[s][0] for s in shapes])
        ax.set_ylabel("server CPU per operation, us (log)")
        if base:
            ax.set_yscale("log")
        ax.set_title("one shard, beside its peers" if group == "single" else "anax with several shards on the same cores")
        ax.legend(fontsize=8)
        ax.grid(axis="y", alpha=0.3)
    fig.tight_layout()
    fig.savefig(path, dpi=110)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--name", default="main")
    p.add_argument("--seconds", type=int, default=5)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--keys", type=int, default=1_000_000)
    p.add_argument("--only", default="single,multi")
    p.add_argument("--server-core", default="0")
    p.add_argument("--load-cores", default="1")
    p.add_argument("--all-cores", default="0,1", help="for several shards")
    p.add_argument("--report", help="a results/*.json to write the tables from, instead of measuring")
    a = p.parse_args()
    raise_fd_limit(5000)
    b = Bench(a)
    os.makedirs(os.path.join(HERE, "results"), exist_ok=True)
    path = os.path.join(HERE, "results", a.name)
    if a.report:
        with open(a.report) as f:
            saved = json.load(f)
        b.results = {tuple(k.split("|")): v for k, v in saved["points"].items()}
        b.equal_rate = saved["equal_rate"]
        for k in ("seconds", "rounds", "keys"):
            setattr(a, k, saved[k])
    else:
        for group in a.only.split(","):
            getattr(b, group)()
        with open(path + ".json", "w") as f:
            json.dump({"date": time.strftime("%Y-%m-%d %H:%M"), "machine": cpu_model(), "kernel": platform.release(),
                       "seconds": a.seconds, "rounds": a.rounds, "keys": a.keys,
                       "equal_rate": getattr(b, "equal_rate", 0),
                       "points": {"|".join(k): v for k, v in b.results.items()}}, f, indent=1)
            f.write("\n")
    text = markdown(b)
    with open(os.path.join(HERE, "RESULTS.md" if a.name == "main" else "results/%s.md" % a.name), "w") as f:
        f.write(text if a.name == "main" else text.replace("(results/", "("))
    plot(b, path + ".png")
    print("\n" + text)


if __name__ == "__main__":
    main()
