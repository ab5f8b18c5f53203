#!/usr/bin/python3
"""snapshot.py: what a background save costs those who write meanwhile, and how long saving and loading take.

How        Each server in turn, pinned to core 0: it is filled with keys of 128 B; then memtier_benchmark on core 1 sends SET to random
           ones of them, pipeline 4 on 20 connections, and BGSAVE comes 5 s into that. Every 50 ms the memory of the server and of
           its children is read (PSS: what processes share counts once), once per second memtier's throughput and latencies. Then, without
           a load, SAVE is timed, and a start from the file; for Anax also with two shards on both cores, against redis-server on both.
           With values as memtier makes them (all the same letter, LZF shortens them) and with random ones (it does not).
Output     results/snapshot.json, snapshot.png, SNAPSHOT.md.
Use        bench/load/snapshot.py [--keys 3000000] [--only anax] [--rounds 1]
"""

import argparse
import contextlib
import json
import os
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

BEFORE_S = 5
AFTER_S = 4
SAMPLE_S = 0.05
MIB = 1 << 20


def family(pid):
    """The process and its children."""
    pids = [pid]
    for task in os.listdir("/proc/%d/task" % pid):
        with contextlib.suppress(OSError), open("/proc/%d/task/%s/children" % (pid, task)) as f:
            pids += [int(p) for p in f.read().split()]
    return pids


def pss_bytes(pid):
    total = 0
    for p in family(pid):
        with contextlib.suppress(OSError), open("/proc/%d/smaps_rollup" % p) as f:
            for line in f:
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


class Memory(threading.Thread):
    """Samples of (time, bytes)."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.samples, self.over = pid, [], False

    def run(self):
        while not self.over:
            self.samples.append((time.monotonic(), pss_bytes(self.pid)))
            time.sleep(SAMPLE_S)

    def stop(self):
        self.over = True
        self.join()


def memtier(port, keys, seconds, random_data, fill, out):
    command = ["taskset", "-c", "1", servers.memtier_path(), "-s", "127.0.0.1", "-p", str(port), "--hide-histogram", "-d", "128", "--key-maximum",
               str(keys), "--ratio", "1:0", "--key-prefix", "key:", "--json-out-file", out, "--print-percentiles", "50,99,99.9"]
    if random_data:
        command += ["--random-data"]
    if fill:
        command += ["--key-pattern", "P:P", "-t", "1", "-c", "4", "--pipeline", "100", "-n", str(keys // 4)]
    else:
        command += ["--key-pattern", "R:R", "-t", "1", "-c", "20", "--pipeline", "4", "--test-time", str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def series(path):
    """Of each second: operations, p99.9 and the longest, in ms."""
    with open(path) as f:
        found = json.load(f)["ALL STATS"]["Sets"]["Time-Serie"]
    out = []
    for second in sorted(found, key=int):
        s = found[second]
        if s.get("Count"):
            out.append((int(second), s["Count"], s.get("p99.90", s.get("p99.9")), s["Max Latency"]))
    return out


def wait_saved(c, seconds=240):
    """Until none is under way: how long that took. It went well."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        info = c.info("persistence")
        if info["rdb_bgsave_in_progress"] == "0":
            assert info["rdb_last_bgsave_status"] == "ok", info
            return time.monotonic() - start
        time.sleep(0.02)
    raise SystemExit("BGSAVE does not end")


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def under_load(server, keys, random_data, scratch):
    """One BGSAVE beside writes."""
    out = os.path.join(scratch, "memtier.json")
    memory = Memory(server.process.pid)
    memory.start()
    load = memtier(server.port, keys, BEFORE_S + 25, random_data, False, out)
    start = time.monotonic()
    with Conn(("127.0.0.1", server.port)) as c:
        time.sleep(BEFORE_S)
        cpu = server.cpu_ns()
        c.cmd("BGSAVE")
        began = time.monotonic()
        took = wait_saved(c)
        cpu = server.cpu_ns() - cpu
    load.wait()
    memory.stop()
    rows = series(out)
    first = int(began - start)
    # Seconds of which a part is the save's belong to it, if it is a third of them or more.
    inside = [r for r in rows if min(r[0] + 1, began - start + took) - max(r[0], began - start) > 0.33]
    before = [r for r in rows if 1 <= r[0] < first]
    level = mean(b for t, b in memory.samples if start + 2 < t < began)
    peak = max(b for t, b in memory.samples if began <= t <= began + took + 0.5)
    return {
        "save_s": took, "server_cpu_s": cpu / 1e9,
        "memory": [(round(t - start, 2), b) for t, b in memory.samples], "began_s": began - start,
        "series": rows, "memory_before": level, "memory_peak": peak,
        "memory_growth": (peak - level) / level, "memory_growth_bytes": peak - level,
        "ops_before": mean(r[1] for r in before), "ops_during": mean(r[1] for r in inside),
        "p999_before": mean(r[2] for r in before), "p999_during": mean(r[2] for r in inside), "p999_worst": max(r[2] for r in inside),
        "max_before": max(r[3] for r in before), "max_during": max(r[3] for r in inside),
    }


def start(kind, scratch, cores, shards=1):
    where = ["--dir", scratch, "--dbfilename", "dump-%s.rdb" % kind]
    if kind == "anax":
        return servers.anax(shards, cores, extra=["--save", ""] + where)
    port = servers.free_port()
    return servers.Server(kind, ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"] + where, port, cores)


def wait_loaded(port):
    while True:
        with contextlib.suppress(OSError), Conn(("127.0.0.1", port)) as c:
            if not isinstance(c.cmd("DBSIZE"), Exception) and "LOADING" not in repr(c.cmd("PING")):
                return c.cmd("DBSIZE")
        time.sleep(0.01)


def save_and_load(kind, scratch, cores, shards, times=3):
    """Seconds of SAVE, and from the start of the process until it serves, the best of some."""
    saves, loads, size = [], [], 0
    for _ in range(times):
        began = time.monotonic()
        server = start(kind, scratch, cores, shards)
        size = wait_loaded(server.port)
        loads.append(time.monotonic() - began)
        with Conn(("127.0.0.1", server.port), 300) as c:
            began = time.monotonic()
            assert c.cmd("SAVE") == b"OK"
            saves.append(time.monotonic() - began)
        server.stop()
    path = os.path.join(scratch, "dump-%s.rdb" % kind)
    return {"save_s": min(saves), "load_s": min(loads), "keys": size, "file_bytes": os.path.getsize(path)}


def measure(kind, keys, random_data):
    with tempfile.TemporaryDirectory(dir=os.environ.get("SNAPSHOT_DIR")) as scratch:
        server = start(kind, scratch, "0")
        try:
            fill = memtier(server.port, keys, 0, random_data, True, os.path.join(scratch, "fill.json"))
            assert fill.wait() == 0
            time.sleep(3)
            loaded = under_load(server, keys, random_data, scratch)
        finally:
            server.stop()
        return {"load": loaded, "one": save_and_load(kind, scratch, "0", 1), "two": save_and_load(kind, scratch, "0,1", 2)}


# --- what is written ---


def yes(condition):
    return "yes" if condition else "**no**"


def table(found):
    lines = ["| values | server | BGSAVE | memory before | growth | throughput, of before | p99.9 before | p99.9 during | ratio | longest wait before, during | CPU while saving |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for data, servers_ in found.items():
        for name, m in servers_.items():
            r = m["load"]
            lines.append("| %s | %s | %.1f s | %.0f MiB | %.1f MiB, %.1f%% | %.2f | %.2f ms | %.2f ms | %.2f | %.1f, %.1f ms | %.1f s |" % (
                data, name, r["save_s"], r["memory_before"] / MIB, r["memory_growth_bytes"] / MIB, 100 * r["memory_growth"],
                r["ops_during"] / r["ops_before"], r["p999_before"], r["p999_during"], r["p999_during"] / r["p999_before"],
                r["max_before"], r["max_during"], r["server_cpu_s"]))
    lines += ["", "| values | server | SAVE, one core | start, one core | SAVE, two cores | start, two cores | file |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for data, servers_ in found.items():
        for name, m in servers_.items():
            lines.append("| %s | %s | %.2f s | %.2f s | %.2f s | %.2f s | %.0f MiB |" % (
                data, name, m["one"]["save_s"], m["one"]["load_s"], m["two"]["save_s"], m["two"]["load_s"], m["one"]["file_bytes"] / MIB))
    return lines


def judged(found):
    lines = ["| values | asked | Anax | held |", "| --- | --- | --- | --- |"]
    for data, servers_ in found.items():
        if "anax" not in servers_:
            continue
        r, one, two = (servers_["anax"][k] for k in ("load", "one", "two"))
        lines.append("| %s | memory grows by at most 2%% or 16 MB | %.1f%%, %.1f MB | %s |" % (
            data, 100 * r["memory_growth"], r["memory_growth_bytes"] / 1e6, yes(r["memory_growth"] <= 0.02 or r["memory_growth_bytes"] <= 16e6)))
        share, tail = r["ops_during"] / r["ops_before"], r["p999_during"] / r["p999_before"]
        lines.append("| %s | throughput at least 0.75 of before | %.2f | %s |" % (data, share, yes(share >= 0.75)))
        lines.append("| %s | p99.9 at most 1.5 times before | %.2f | %s |" % (data, tail, yes(tail <= 1.5)))
        more = r["max_during"] - r["max_before"]
        lines.append("| %s | nobody waits 5 ms for it | the longest wait grew by %.1f ms | %s |" % (data, more, yes(more <= 5)))
        if "redis-server" in servers_:
            other = servers_["redis-server"]
            for what, ours, theirs in (("saving, one shard", one["save_s"], other["one"]["save_s"]), ("loading, one shard", one["load_s"], other["one"]["load_s"]),
                                       ("saving, two shards", two["save_s"], other["two"]["save_s"]), ("loading, two shards", two["load_s"], other["two"]["load_s"])):
                lines.append("| %s | %s: at least as fast as redis-server | %.2f of its time | %s |" % (data, what, ours / theirs, yes(ours <= theirs)))
    return lines


def plot(found, path):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(3, len(found), figsize=(7 * len(found), 9), squeeze=False)
    for column, (data, servers_) in enumerate(found.items()):
        for name, m in servers_.items():
            r = m["load"]
            axes[0][column].plot([t for t, _ in r["memory"]], [b / MIB for _, b in r["memory"]], label=name)
            axes[1][column].plot([s[0] for s in r["series"]], [s[1] / 1000 for s in r["series"]], label="%s, BGSAVE of %.1f s" % (name, r["save_s"]))
            axes[2][column].plot([s[0] for s in r["series"]], [s[2] for s in r["series"]], label=name)
        for row, label in enumerate(("memory, MiB", "SET, thousands per second", "p99.9, ms")):
            axes[row][column].axvline(BEFORE_S, color="grey", linestyle=":")
            axes[row][column].set_ylabel(label)
            axes[row][column].set_ylim(bottom=0)
            axes[row][column].legend()
        axes[0][column].set_title("%s values; BGSAVE at 5 s" % data)
        axes[2][column].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--keys", type=int, default=3000000)
    p.add_argument("--only")
    p.add_argument("--data", choices=("alike", "random", "both"), default="both")
    p.add_argument("--out", default=os.path.join(HERE, "results", "snapshot.json"))
    args = p.parse_args()
    kinds = [args.only] if args.only else ["anax", "redis-server"]
    found = {}
    for data in ("alike", "random") if args.data == "both" else (args.data,):
        found[data] = {kind: measure(kind, args.keys, data == "random") for kind in kinds}
        print("\n".join(table({data: found[data]})), flush=True)
    if args.only:
        return
    with open(args.out, "w") as f:
        json.dump({"keys": args.keys, "found": found}, f)
    plot(found, args.out.replace(".json", ".png"))
    with open(os.path.join(HERE, "SNAPSHOT.md"), "w") as f:
        f.write("# A background save beside writes\n\nWritten by `bench/load/snapshot.py`, which says how it is measured; %d keys of 128 B.\n\n" % args.keys)
        f.write("\n".join(judged(found) + [""] + table(found)))
        f.write("\n\n![memory, throughput and latency over time](results/snapshot.png)\n")


if __name__ == "__main__":
    main()
