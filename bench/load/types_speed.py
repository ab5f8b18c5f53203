#!/usr/bin/python3
"""types_speed.py: speed of lists, hashes, sets and sorted sets, beside redis-server.

Why        own cost is what a server's CPU per operation is beyond the floor server's in the same run.
How        one shard on core 0, replay_load on core 1. Each shape has its data, the same for both servers, and a file
           of commands that replay_load walks through at pipeline 16 on 50 connections; rounds in turn over the
           servers, the median counts. Errors in replies end the run.
Output     results/types_speed.json and TYPES_SPEED.md.
Use        bench/load/types_speed.py [--seconds 2] [--rounds 5] [--only zadd,lpush] [--small]
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests"))

import servers
from harness import Conn, encode
from run import cpu_model, num, ratio

LOAD = os.path.join(os.path.dirname(servers.FLOOR), "replay_load")
CONNS, PIPELINE, COMMANDS = 50, 16, 200_000
CONNS_LARGE = 5  # for replies of 10 KB
MOST = 0.6  # of Redis's own cost
BATCH = 1000


class Scale:
    """How much data: keys of each kind, and elements in each."""

    def __init__(self, small):
        self.zsets, self.members = (100, 1000) if small else (1000, 1000)
        self.hashes = 10_000 if small else 100_000
        self.lists = 100 if small else 1000


def member(i):
    return b"member:%07d" % i


def zset_fill(s, r):
    for k in range(s.zsets):
        for at in range(0, s.members, 100):
            yield ["ZADD", b"z:%d" % k] + [x for i in range(at, at + 100) for x in (r.randrange(10**6), member(2 * i))]


def small_zset_fill(s, r):
    for k in range(s.hashes // 10):
        yield ["ZADD", b"y:%d" % k] + [x for i in range(50) for x in (r.randrange(10**6), member(i))]


def hash_fill(s, r):
    for k in range(s.hashes):
        yield ["HSET", b"h:%06d" % k] + [x for f in range(4) for x in (b"field%d" % f, b"%08d" % r.randrange(10**8))]


def set_fill(s, _):
    for k in range(s.zsets):
        for at in range(0, s.members, 100):
            # Neighbours share half of their members.
            yield ["SADD", b"s:%d" % k] + [member((k % 2) * (s.members // 2) + i) for i in range(at, at + 100)]


def int_set_fill(s, _):
    for k in range(s.zsets):
        for at in range(0, s.members, 100):
            yield ["SADD", b"i:%d" % k] + [(k % 2) * (s.members // 2) * 7 + 7 * i for i in range(at, at + 100)]


def list_fill(s, _):
    for k in range(s.lists):
        for at in range(0, 1000, 100):
            yield ["RPUSH", b"l:%d" % k] + [b"item:%027d" % i for i in range(at, at + 100)]


def nothing(_s, _r):
    return ()


# name -> (title, what it needs, command, seconds relative to others)
SHAPES = {
    "zadd": ("ZADD", zset_fill, lambda s, r: ["ZADD", b"z:%d" % r.randrange(s.zsets), r.randrange(10**6),
                                             member(r.randrange(2 * s.members))], 1),
    "zadd_small": ("ZADD, 50 members", small_zset_fill, lambda s, r: [
        "ZADD", b"y:%d" % r.randrange(s.hashes // 10), r.randrange(10**6), member(r.randrange(50))], 1),
    "zrange": ("ZRANGE of 10", zset_fill, lambda s, r: (lambda at: ["ZRANGE", b"z:%d" % r.randrange(s.zsets), at, at + 9])(
        r.randrange(s.members - 10)), 1),
    "zrank": ("ZRANK", zset_fill, lambda s, r: ["ZRANK", b"z:%d" % r.randrange(s.zsets), member(2 * r.randrange(s.members))], 1),
    "hset": ("HSET of two fields", hash_fill, lambda s, r: (lambda f: [
        "HSET", b"h:%06d" % r.randrange(s.hashes), b"field%d" % f, b"%08d" % r.randrange(10**8), b"field%d" % (f + 2),
        b"%08d" % r.randrange(10**8)])(r.randrange(2)), 1),
    "hgetall": ("HGETALL of four", hash_fill, lambda s, r: ["HGETALL", b"h:%06d" % r.randrange(s.hashes)], 1),
    "lpush": ("LPUSH", nothing, lambda s, r: ["LPUSH", b"q:%d" % r.randrange(s.lists), b"item:%027d" % r.randrange(10**9)], 1),
    "lpop": ("LPOP", nothing, lambda s, r: ["LPOP", b"q:%d" % r.randrange(s.lists)], 0.4),
    "lrange": ("LRANGE of 10", list_fill, lambda s, r: ["LRANGE", b"l:%d" % r.randrange(s.lists), 0, 9], 1),
    "sadd": ("SADD", set_fill, lambda s, r: ["SADD", b"s:%d" % r.randrange(s.zsets), member(r.randrange(2 * s.members))], 1),
    "sismember": ("SISMEMBER", set_fill, lambda s, r: ["SISMEMBER", b"s:%d" % r.randrange(s.zsets),
                                                      member(r.randrange(2 * s.members))], 1),
    "sinter": ("SINTER of two sets of 1,000", set_fill, lambda s, r: (lambda k: ["SINTER", b"s:%d" % k, b"s:%d" % (k + 1)])(
        2 * r.randrange(s.zsets // 2)), 1),
    "sinter_int": ("SINTER of two sets of 1,000 integers", int_set_fill, lambda s, r: (
        lambda k: ["SINTER", b"i:%d" % k, b"i:%d" % (k + 1)])(2 * r.randrange(s.zsets // 2)), 1),
}


def fill(server, commands):
    with Conn(("127.0.0.1", server.port)) as c:
        batch = []

        def flush():
            c.send(b"".join(encode(x) for x in batch))
            for _ in batch:
                c.read()
            batch.clear()

        for command in commands:
            batch.append(command)
            if len(batch) == BATCH:
                flush()
        flush()


class Bench:
    def __init__(self, a):
        self.a, self.scale, self.points = a, Scale(a.small), {}

    def point(self, server, shape, path):
        for s in self.live:
            s.suspend() if s is not server else s.resume()
        time.sleep(0.05)
        cpu = server.cpu_ns()
        command = ["taskset", "-c", self.a.load_core, LOAD, server.port, CONNS if not shape.startswith("sinter") else CONNS_LARGE, PIPELINE, self.a.seconds * SHAPES[shape][3], path]
        done = subprocess.run([str(x) for x in command], capture_output=True, text=True)
        cpu = server.cpu_ns() - cpu
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        result = json.loads(done.stdout)
        if result["errors"]:
            raise RuntimeError("%s, %s: %s" % (server.name, shape, result["first_error"]))
        us = cpu / 1000 / result["ops"]
        self.points.setdefault((server.name, shape), []).append(us)
        print("%-14s %-12s %.3f us/op" % (server.name, shape, us), flush=True)

    def run(self):
        self.live = [servers.anax(1, self.a.server_core), servers.redis(self.a.server_core), servers.floor(self.a.server_core)]
        shapes = [k for k in SHAPES if not self.a.only or k in self.a.only.split(",")]
        try:
            filled = set()
            for shape in shapes:
                make = SHAPES[shape][1]
                if make in filled:
                    continue
                filled.add(make)
                for s in self.live[:2]:
                    fill(s, make(self.scale, random.Random(1)))
            with tempfile.TemporaryDirectory() as where:
                files = {}
                for shape in shapes:
                    r = random.Random(shape)
                    files[shape] = os.path.join(where, shape)
                    with open(files[shape], "wb") as f:
                        for _ in range(COMMANDS):
                            f.write(encode(SHAPES[shape][2](self.scale, r)))
                for _ in range(self.a.rounds):
                    for shape in shapes:
                        for s in self.live:
                            self.point(s, shape, files[shape])
        finally:
            for s in self.live:
                s.stop()

    def value(self, server, shape):
        points = self.points.get((server, shape))
        return statistics.median(points) if points else None

    def own(self, server, shape):
        return self.value(server, shape) - self.value("floor", shape)


def markdown(b):
    out = ["# Lists, hashes, sets and sorted sets: speed", "",
           "Made by `bench/load/types_speed.py` (%s, %g s a point, %d rounds in turn, medians)." % (
               time.strftime("%Y-%m-%d"), b.a.seconds, b.a.rounds),
           "Machine: %s, %d cores, Linux %s; server on core %s, load on core %s; %d connections, pipeline %d, one shard." % (
               cpu_model(), os.cpu_count(), platform.release(), b.a.server_core, b.a.load_core, CONNS, PIPELINE),
           "CPU per operation in us, own cost (beyond the floor server's) in brackets.", "",
           "| | anax | redis-server | floor | own cost / Redis's | at most | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for shape, (title, *_) in SHAPES.items():
        if b.value("floor", shape) is None:
            continue
        share = ratio(b.own("anax", shape), b.own("redis-server", shape))
        out.append("| %s | %s (%.3f) | %s (%.3f) | %s | %.2f | %.2f | %s |" % (
            title, num(b.value("anax", shape)), b.own("anax", shape), num(b.value("redis-server", shape)),
            b.own("redis-server", shape), num(b.value("floor", shape)), share, MOST, "yes" if share <= MOST else "**no**"))
    return "\n".join(out) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seconds", type=float, default=2)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", default="")
    p.add_argument("--small", action="store_true", help="a tenth of the data")
    p.add_argument("--server-core", default="0")
    p.add_argument("--load-core", default="1")
    p.add_argument("--dry", action="store_true", help="write no results")
    a = p.parse_args()
    b = Bench(a)
    b.run()
    text = markdown(b)
    if not a.dry:
        with open(os.path.join(HERE, "results", "types_speed.json"), "w") as f:
            json.dump({"date": time.strftime("%Y-%m-%d %H:%M"), "machine": cpu_model(), "seconds": a.seconds, "rounds": a.rounds,
                       "points": {"|".join(k): v for k, v in b.points.items()}}, f, indent=1)
            f.write("\n")
        with open(os.path.join(HERE, "TYPES_SPEED.md"), "w") as f:
            f.write(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
