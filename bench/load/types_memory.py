#!/usr/bin/python3
"""types_memory.py: what an element of a list, hash, set or sorted set costs, beside redis-server.

How        a fresh server for each shape; growth of INFO's used_memory, keys and all, divided by the number of elements;
           then everything is deleted, and what is still used above the start is told.
Output     results/types_memory.json and TYPES_MEMORY.md.
Use        bench/load/types_memory.py [--shards 2] [--only zset]
"""

import argparse
import json
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(HERE)), "tests"))

import servers
from harness import Conn
from memory import settled, used

MILLION, PER_COMMAND = 1_000_000, 100


def many(name, key, make, total=MILLION):
    """One key with `total` elements; make(i) gives the arguments of one."""
    for at in range(0, total, PER_COMMAND):
        yield [name, key] + [x for i in range(at, at + PER_COMMAND) for x in make(i)]


def random_ids():
    r = random.Random(3)
    ids = r.sample(range(10**9), MILLION)
    return many("SADD", b"ids", lambda i: [ids[i]])


def small_sets():
    r = random.Random(4)
    for k in range(100_000):
        yield ["SADD", b"set:%06d" % k] + r.sample(range(10**6), 10)


def hashes():
    # 74 bytes: a key of 16, names of 6, values of 8 and a half.
    for k in range(100_000):
        yield ["HSET", b"hash:%011d" % k] + [x for f in range(4) for x in (b"field%d" % f, b"v%07d" % (k + f) + b"x" * (f % 2))]


def zset_members(order):
    scores = list(range(MILLION))
    if order == "random":
        random.Random(5).shuffle(scores)
    return lambda: many("ZADD", b"zset", lambda i: [scores[i] if order != "equal" else 0, b"member:%07d" % scores[i]])


def uneven_items():
    r = random.Random(6)
    return many("RPUSH", b"list", lambda i: [b"x%d:" % i + b"y" * r.randrange(56)])


# name -> (title, payload of an element, commands, elements, most bytes per element that the issue allows)
SHAPES = {
    "hash4": ("hash of 4 fields, per hash", 74, hashes, 100_000, 130),
    "ids": ("one set of 1M consecutive integers", 4, lambda: many("SADD", b"ids", lambda i: [5_000_000 + i]), MILLION, 0.5),
    "random_ids": ("one set of 1M random integers below 10^9", 4, random_ids, MILLION, 5),
    "small_sets": ("100k sets of 10 random integers below 10^6, per member", 4, small_sets, MILLION, 9),
    "zset": ("sorted set of 1M, 14 B members, random order", 22, zset_members("random"), MILLION, 50),
    "zset_asc": ("the same in ascending order", 22, zset_members("ascending"), MILLION, 50),
    "zset_equal": ("the same with equal scores", 22, zset_members("equal"), MILLION, 50),
    "list": ("list of 1M, 32 B items", 32, lambda: many("RPUSH", b"list", lambda i: [b"item:%027d" % i]), MILLION, 34),
    "list_uneven": ("list of 1M items of 10 to 65 B", 37, uneven_items, MILLION, None),
    "set": ("one set of 1M strings of 14 B", 14, lambda: many("SADD", b"set", lambda i: [b"member:%07d" % i]), MILLION, None),
    "hash": ("one hash of 1M fields of 10 B with values of 10 B", 20,
             lambda: many("HSET", b"hash", lambda i: [b"f%09d" % i, b"v%09d" % i]), MILLION, None),
}


def measure(start, shapes):
    out = {}
    for shape in shapes:
        _, _, make, elements, _ = SHAPES[shape]
        server = start()
        try:
            time.sleep(0.3)
            idle = settled(lambda: used(server))
            with Conn(("127.0.0.1", server.port)) as c:
                for command in make():
                    if isinstance(c.cmd(*command), Exception):
                        raise RuntimeError("%s: %s" % (shape, command[:4]))
            full = settled(lambda: used(server))
            with Conn(("127.0.0.1", server.port)) as c:
                c.ok("FLUSHALL")
            out[shape] = {"per_element": (full - idle) / elements, "left": settled(lambda: used(server)) - idle}
            print(server.name, shape, out[shape], flush=True)
        finally:
            server.stop()
    return out


def table(results, shapes, shards):
    anax, redis = results["anax"], results["redis-server"]
    out = ["# Lists, hashes, sets and sorted sets: memory", "",
           "Made by `bench/load/types_memory.py` (%s): growth of `used_memory` per element, keys included; anax with %d shards." % (
               time.strftime("%Y-%m-%d"), shards), "",
           "| bytes per element | payload | anax | redis-server | at most | |", "| --- | --- | --- | --- | --- | --- |"]
    for shape in shapes:
        title, payload, _, _, most = SHAPES[shape]
        mine = anax[shape]["per_element"]
        out.append("| %s | %d | %.2f | %.2f | %s | %s |" % (
            title, payload, mine, redis[shape]["per_element"], most or "", "" if most is None else "yes" if mine <= most else "**no**"))
    return "\n".join(out) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shards", type=int, default=2)
    p.add_argument("--only", default="")
    p.add_argument("--dry", action="store_true", help="write no results")
    a = p.parse_args()
    shapes = [k for k in SHAPES if not a.only or k in a.only.split(",")]
    results = {"anax": measure(lambda: servers.anax(a.shards, None), shapes),
               "redis-server": measure(lambda: servers.redis(None), shapes)}
    text = table(results, shapes, a.shards)
    if not a.dry:
        with open(os.path.join(HERE, "results", "types_memory.json"), "w") as f:
            json.dump({"date": time.strftime("%Y-%m-%d %H:%M"), "shards": a.shards, "results": results}, f, indent=1)
            f.write("\n")
        with open(os.path.join(HERE, "TYPES_MEMORY.md"), "w") as f:
            f.write(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
