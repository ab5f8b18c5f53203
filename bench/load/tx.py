#!/usr/bin/python3
"""tx.py: what transactions and multi-key commands cost, and what they do to those who are not concerned.

How        as run.py: one shard and redis-server on core 0, several shards on both cores, the load (tx_load.c) on
           core 1; rounds in turn over all servers, those not measured are suspended, medians count. CPU is the
           sum of /proc/PID/task/*/schedstat from the end of the warm-up to the end of the load.
Groups     together: EXEC of five commands on one shard beside the same five in a plain pipeline.
           spread: MGET and MSET of ten keys, EXEC of five, and the five alone, keys anywhere.
           beside: GET and SET beside a stream of transactions that conflict with each other, beside the same
           stream when they do not, and alone.
Output     results/tx.json (or --name's), TX.md with the targets.
Use        bench/load/tx.py [--seconds 2] [--rounds 5] [--only together,spread,beside] [--keys 1000000]
           bench/load/tx.py --report results/tx.json: the tables again
"""

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests"))

import run
import servers
from harness import Conn
from run import num, ratio

LOAD = os.environ.get("TX_LOAD_BIN", os.path.join(servers.ROOT, "build", "release", "bench", "tx_load"))
REDIS = "redis-server"
SHARDS = (1, 2, 4, 8)
PIPELINES = (1, 16)
CONNS = 50
TOGETHER = ("plain-together", "exec-together")
SPREAD = ("mget", "mset", "exec-spread", "plain-spread")

SPREAD_TARGETS = (1, 2)  # the issue says two; the tables have all
BESIDE_SHARDS = (2, 4, 8)
BESIDE_CONNS = 25
STREAM_CONNS = 8
STREAM_RATE = 250  # bursts a second: each connection then sends an EXEC and an MSET
EQUAL_RATE = 970  # of each connection; no multiple of the stream's, so that the two drift past each other
STREAMS = ("alone", "apart", "conflicting")
BESIDE = {"P=1": (1, 0), "P=16": (16, 0), "equal": (1, EQUAL_RATE)}  # pipeline, rate
STREAM_PIPELINE = 2
VALUE = b"x" * 64  # what tx_load writes and expects


class Bench(run.Bench):
    """Its servers, points and medians are run.py's; the load is another."""

    def __init__(self, a):
        self.a = a
        self.results = {}

    def start(self, shards, redis):
        self.live = [servers.redis(self.a.server_core)] if redis and shutil.which(REDIS) else []
        for n in shards:
            self.live.append(servers.anax(n, self.a.server_core if n == 1 else self.a.all_cores, name=name_of(n),
                                          extra=["--enable-debug-command", "local"]))

    def command(self, server, shape, **options):
        words = ["taskset", "-c", self.a.load_cores, LOAD, "--port", server.port, "--shape", shape, "--keys", self.a.keys]
        for name, value in options.items():
            words += ["--" + name, value]
        return [str(w) for w in words]

    def prepare(self, shape):
        for s in self.live:
            subprocess.run(self.command(s, shape), check=True)
        if not self.a.hurry:
            for s in self.live:
                self.settle(s)

    @contextlib.contextmanager
    def alone(self, server):
        """The other servers sleep."""
        others = [s for s in self.live if s is not server]
        for s in others:
            s.suspend()
        server.resume()
        time.sleep(0.05)
        try:
            yield
        finally:
            for s in others:
                s.resume()

    def measure(self, server, shape, seed, **options):
        """One run of the load; CPU from its warm-up's end."""
        with Load(self.command(server, shape, seconds=self.a.seconds, seed=seed, **options)) as load:
            cpu, idle, begin = server.cpu_ns(), idle_s(), time.monotonic()
            p = load.result()
            cpu, idle, elapsed = server.cpu_ns() - cpu, idle_s() - idle, time.monotonic() - begin
        if p["ops"] == 0:
            raise RuntimeError("%s, %s: nothing was answered in %g s; is the machine busy?" % (server.name, shape, self.a.seconds))
        p.update(cpu_us=cpu / 1000 / p["ops"], ops_per_s=p["ops"] / p["seconds"], cores=cpu / 1e9 / elapsed,
                 idle=idle / elapsed / os.cpu_count())
        return p

    def note(self, group, server, shape, p):
        self.results.setdefault((group, server.name, shape), []).append(p)
        print("%-8s %-12s %-20s %9.3f us/op %8.0f op/s  p50 %.0f  p99 %.0f us  idle %.2f" % (
            group, server.name, shape, p["cpu_us"], p["ops_per_s"], p["p50_us"], p["p99_us"], p["idle"]), flush=True)

    def costs(self, group, shapes):
        for round_ in range(self.a.rounds):
            for shape in shapes:
                for pipeline in PIPELINES:
                    for s in self.live:
                        with self.alone(s):
                            p = self.measure(s, shape, round_ + 1, conns=CONNS, pipeline=pipeline)
                        self.note(group, s, "%s P=%d" % (shape, pipeline), p)

    def together(self):
        self.start(SHARDS, True)
        try:
            self.prepare("fill-tagged")
            self.costs("together", TOGETHER)
        finally:
            self.end()

    def spread(self):
        self.start(SHARDS, True)
        try:
            self.prepare("fill")
            self.costs("spread", SPREAD)
        finally:
            self.end()

    def beside(self):
        self.start(BESIDE_SHARDS, False)
        try:
            self.prepare("fill")
            tags = {s.name: stream_tags(s) for s in self.live}
            for round_ in range(self.a.rounds):
                for shape in BESIDE:
                    for s in self.live:
                        for stream in STREAMS:
                            with self.alone(s):
                                self.note("beside", s, "%s %s" % (shape, stream),
                                          self.measure_beside(s, shape, stream, tags[s.name], round_ + 1))
        finally:
            self.end()

    def measure_beside(self, server, shape, stream, tags, seed):
        pipeline, rate = BESIDE[shape]
        options = {"conns": BESIDE_CONNS, "pipeline": pipeline, "rate": rate}
        if stream == "alone":
            return self.measure(server, "mix", seed, **options)
        pairs = tags if stream == "apart" else tags[:1]
        with Load(self.command(server, "stream", conns=STREAM_CONNS, pipeline=STREAM_PIPELINE, rate=STREAM_RATE,
                               warmup=0.1, seconds=self.a.seconds + 60, tags=",".join(",".join(p) for p in pairs))) as load:
            before = tx_counts(server)
            p = self.measure(server, "mix", seed, **options)
            after = tx_counts(server)
            load.process.terminate()
            q = load.result()
        p["tx_per_s"] = q["ops"] / q["seconds"]
        p["tx_p50_us"], p["tx_p99_us"] = q["p50_us"], q["p99_us"]
        p["waited"] = (after["waited"] - before["waited"]) / (after["claims"] - before["claims"])
        p["steps_waited"] = after["steps-waited"] - before["steps-waited"]
        return p


class Load:
    """A tx_load that has warmed up."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "begin\n":
            raise RuntimeError("failed: " + " ".join(command))

    def result(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("tx_load failed")
        return json.loads(line)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.process.stdout.close()


def idle_s():
    """Of all cores so far."""
    with open("/proc/stat") as f:
        return int(f.readline().split()[4]) / os.sysconf("SC_CLK_TCK")


def stream_tags(server):
    """Pairs of tags, one for each operation that is under way at one moment: the first on shard 0, the second on
    shard 1; with all keys that the stream reads."""
    found = ([], [])
    with Conn(("127.0.0.1", server.port)) as c:
        i = 0
        while min(len(f) for f in found) < STREAM_CONNS * STREAM_PIPELINE:
            tag, i = "stream%d" % i, i + 1
            for k in range(5):
                c.ok("SET", "{%s}:%d" % (tag, k), VALUE)
            shard = int(re.search(rb"shard:(\d+)", c.cmd("DEBUG", "OBJECT", "{%s}:0" % tag)).group(1))
            if shard < 2:
                found[shard].append(tag)
    return list(zip(*found))


def tx_counts(server):
    """DEBUG TX's totals, over all shards."""
    sums = {}
    with Conn(("127.0.0.1", server.port)) as c:
        for shard in c.cmd("DEBUG", "TX"):
            for name, value in zip(shard[::2], shard[1::2]):
                if name.startswith(b"total-"):
                    name = name[len("total-"):].decode()
                    sums[name] = sums.get(name, 0) + value
    return sums


def name_of(shards):
    return "%d shard%s" % (shards, "s" if shards > 1 else "")


# --- tables ----------------------------------------------------------------------------------------


def targets(b):
    """(what, measured, bound, whether that is the least) of the issue that this benchmark answers."""
    rows = []

    def add(what, measured, bound, least=False):
        if measured is not None:
            rows.append((what, measured, bound, least))

    for n in SHARDS:
        add("%s: EXEC of five on one of them: CPU / the five in a pipeline" % name_of(n), exec_ratio(b, name_of(n), 1), 1.3)
    for shape in ("mget", "mset"):
        for n in SPREAD_TARGETS:
            add("%s: %s of 10 keys spread over them: CPU / Redis's" % (name_of(n), shape.upper()),
                ratio(cost(b, "spread", name_of(n), shape, 1), cost(b, "spread", REDIS, shape, 1)), 1.0)
    for n in BESIDE_SHARDS:
        for shape in ("P=1", "P=16"):
            add("%s: GET/SET, %s, beside conflicting transactions: throughput / beside as many that do not conflict"
                % (name_of(n), shape), kept(b, name_of(n), shape, "conflicting", "apart"), 0.9, True)
    return rows


def cost(b, group, server, shape, pipeline):
    return b.value(group, server, "%s P=%d" % (shape, pipeline), "cpu_us")


def exec_ratio(b, server, pipeline):
    return ratio(cost(b, "together", server, "exec-together", pipeline), cost(b, "together", server, "plain-together", pipeline))


def kept(b, server, shape, stream, than):
    return ratio(*(b.value("beside", server, "%s %s" % (shape, s), "ops_per_s") for s in (stream, than)))


def servers_of(b, group):
    return [n for n in [REDIS] + [name_of(n) for n in SHARDS] if any(k[:2] == (group, n) for k in b.results)]


def line(cells):
    return "| " + " | ".join(cells) + " |"


def head(*cells):
    return [line(cells), "| --- " * len(cells) + "|"]


def together_table(b):
    out = ["## EXEC of five commands (GET, SET, GET, SET, GET) on one shard", "",
           "All five keys have one hash tag; MULTI, the five and EXEC are one write, and so are the five alone. %d "
           "connections, each with that many of these in flight. CPU in us for all five; in brackets the ratio." % CONNS, ""]
    out += head("", *["%s, P=%d" % (what, p) for p in PIPELINES for what in ("five", "EXEC")])
    for s in servers_of(b, "together"):
        cells = [s]
        for p in PIPELINES:
            cells += [num(cost(b, "together", s, "plain-together", p)),
                      "%s (%s)" % (num(cost(b, "together", s, "exec-together", p)), num(exec_ratio(b, s, p), 2))]
        out.append(line(cells))
    return out + [""]


def spread_table(b):
    titles = {"mget": "MGET of 10", "mset": "MSET of 10", "exec-spread": "EXEC of 5", "plain-spread": "the 5 alone"}
    out = ["## Keys anywhere", "", "Keys are drawn from all, so that each command touches min(keys, shards) shards or nearly "
           "so. %d connections; CPU in us for each command (all five of EXEC), in brackets relative to redis-server." % CONNS,
           ""]
    for p in PIPELINES:
        out += head("P=%d" % p, *[titles[x] for x in SPREAD])
        for s in servers_of(b, "spread"):
            cells = [s]
            for shape in SPREAD:
                mine, peer = cost(b, "spread", s, shape, p), cost(b, "spread", REDIS, shape, p)
                cells.append(num(mine) if s == REDIS or peer is None else "%s (%s)" % (num(mine), num(ratio(mine, peer), 2)))
            out.append(line(cells))
        out.append("")
    out += ["Commands per second, P=1, and p99 in us", ""]
    out += head("", *[titles[x] for x in SPREAD])
    for s in servers_of(b, "spread"):
        out.append(line([s] + ["%s, %s" % (num(b.value("spread", s, x + " P=1", "ops_per_s"), 0),
                                           num(b.value("spread", s, x + " P=1", "p99_us"), 0)) for x in SPREAD]))
    return out + [""]


BESIDE_WHY = """What has to be told apart is waiting and CPU. On two cores that the load shares with the server, any stream takes CPU from
everybody else, so GET and SET beside a stream are slower than alone even where nothing ever waits; the first column says by how
much, and the target is not about it. So two streams are compared that ask for the same: %d connections that send, all at the same
moments, %d times a second, an EXEC of five commands and an MSET of ten keys, on keys of shards 0 and 1. "Apart": every
transaction of a burst has keys of its own. "Conflicting": all have the same, so that in each burst one transaction runs and the
others wait for it on both shards. GET and SET touch neither. The clock sets the number of transactions, not who is faster: the difference is what
conflicts do to those who have no part in them, which is waiting, and the CPU of sorting out who is first. If they waited, cores
would be idle, or (P=1 at an equal offered load, where CPU is left) latencies would grow: both are shown. And the servers' own counters:
"claims waited", the share of claims that were not granted at once, says that transactions did get into each other's way; "steps
waited", the single commands that had to wait for a claim, must be 0."""


def beside_table(b):
    out = ["## GET and SET beside transactions", "", BESIDE_WHY % (STREAM_CONNS, STREAM_RATE), "",
           "%d connections, GET and SET in equal parts; operations per second." % BESIDE_CONNS, ""]
    out += head("", "alone", "apart (of alone)", "conflicting (of apart)", "cores idle: apart, conflicting",
                "transactions/s: apart, conflicting", "their p99, us", "claims waited", "steps waited")

    def pair(s, shape, what, digits, scale=1):
        values = [b.value("beside", s, "%s %s" % (shape, x), what) for x in STREAMS[1:]]
        return ", ".join(num(v and v * scale, digits) for v in values)

    for shape in ("P=1", "P=16"):
        for s in servers_of(b, "beside"):
            rate = [b.value("beside", s, "%s %s" % (shape, x), "ops_per_s") for x in STREAMS]
            out.append(line([
                "%s, %s" % (s, shape), num(rate[0], 0), "%s (%.2f)" % (num(rate[1], 0), rate[1] / rate[0]),
                "%s (%.2f)" % (num(rate[2], 0), rate[2] / rate[1]), pair(s, shape, "idle", 2),
                pair(s, shape, "tx_per_s", 0), pair(s, shape, "tx_p99_us", 0), pair(s, shape, "waited", 2),
                pair(s, shape, "steps_waited", 0)]))
    offered = BESIDE_CONNS * EQUAL_RATE
    out += ["", "At an equal offered load of %d/s (P=1): p50, p99, p99.9 in us" % offered, ""]
    out += head("", *STREAMS)
    for s in servers_of(b, "beside"):
        out.append(line([s] + [", ".join(num(b.value("beside", s, "equal " + x, k), 0) for k in ("p50_us", "p99_us", "p999_us"))
                               for x in STREAMS]))
    return out + [""]


def markdown(b):
    a = b.a
    out = ["# Transactions: results", "", "Made by `bench/load/tx.py` (%s, %g s a point, %d rounds in turn, medians); %d keys, "
           "%d B values." % (a.date, a.seconds, a.rounds, a.keys, len(VALUE)),
           "Machine: %s, %d cores, Linux %s. redis-server and 1 shard on core %s, several shards on cores %s, the load on core %s." % (
               run.cpu_model(), os.cpu_count(), platform.release(), a.server_core, a.all_cores, a.load_cores),
           "CPU is the server's, user and system.", "", "## Targets", "",
           "Those of CPU are judged at P=1, one operation a write and 50 connections, where the kernel's part is most of what both "
           "sides cost.", "The tables below have P=16 too, where it is not, and where several transactions of one connection are under "
           "way at once: no target, but a stricter look.", ""]
    out += head("what", "measured", "bound", "")
    for what, measured, bound, least in targets(b):
        good = measured >= bound if least else measured <= bound
        out.append(line([what, num(measured), "%s %.2f" % ("at least" if least else "at most", bound), "yes" if good else "**no**"]))
    out.append("")
    for group, table in (("together", together_table), ("spread", spread_table), ("beside", beside_table)):
        if servers_of(b, group):
            out += table(b)
    return "\n".join(out).rstrip("\n") + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--name", default="tx")
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--keys", type=int, default=1_000_000)
    p.add_argument("--only", default="together,spread,beside")
    p.add_argument("--server-core", default="0")
    p.add_argument("--load-cores", default="1")
    p.add_argument("--all-cores", default="0,1", help="for several shards")
    p.add_argument("--hurry", action="store_true", help="do not wait for huge pages: for a look only")
    p.add_argument("--report", help="a results/*.json to write the tables from, instead of measuring")
    a = p.parse_args()
    a.date = time.strftime("%Y-%m-%d")
    b = Bench(a)
    path = os.path.join(HERE, "results", a.name)
    if a.report:
        with open(a.report) as f:
            saved = json.load(f)
        b.results = {tuple(k.split("|")): v for k, v in saved["points"].items()}
        for k in ("date", "seconds", "rounds", "keys"):
            setattr(a, k, saved[k])
    else:
        for group in a.only.split(","):
            getattr(b, group)()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".json", "w") as f:
            json.dump({"date": a.date, "machine": run.cpu_model(), "kernel": platform.release(), "seconds": a.seconds,
                       "rounds": a.rounds, "keys": a.keys, "points": {"|".join(k): v for k, v in b.results.items()}},
                      f, indent=1)
            f.write("\n")
    text = markdown(b)
    with open(os.path.join(HERE, "TX.md") if a.name == "tx" else path + ".md", "w") as f:
        f.write(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
