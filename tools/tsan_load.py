#!/usr/bin/python3
"""tsan_load.py: a short, checked load on a server built with ThreadSanitizer ($ANAX_BIN), on both backends,
and without borrowing, which is saved meanwhile and then loaded again under load; a report in its log is a failure.
Called by .ci/run."""

import os
import random
import sys
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "clients")]

import load
from harness import Closed, Server, wait_until

RUN_S = 4
RELOADS_S = 1


def whole_server_commands(server, stop):
    """Commands that visit every shard, beside the load."""
    try:
        with server.connect() as c:
            while time.monotonic() < stop:
                for call in (["DBSIZE"], ["INFO"], ["SCAN", "0"], ["RANDOMKEY"], ["CLIENT", "LIST"],
                             ["CONFIG", "SET", "timeout", "0"], ["KEYS", "load:1:1:*"], ["CLIENT", "PAUSE", "5", "WRITE"],
                             ["CLIENT", "UNPAUSE"], ["SLOWLOG", "GET"], ["LATENCY", "HISTOGRAM"],
                             ["CONFIG", "SET", "slowlog-log-slower-than", "0"], ["CONFIG", "RESETSTAT"],
                             ["INFO", "everything"], ["CLIENT", "KILL", "ID", "999999"],
                             ["CONFIG", "SET", "slowlog-log-slower-than", "10000"]):
                    c.cmd(*call)
                time.sleep(0.02)
    except (Closed, OSError):
        pass


def watcher(server, stop):
    """MONITOR for a while, again and again."""
    try:
        while time.monotonic() < stop:
            with server.connect() as c:
                c.sock.settimeout(RUN_S)  # the load may be over
                c.ok("MONITOR")
                for _ in range(500):
                    c.read()
    except (Closed, OSError):
        pass


def across_shards(server, stop, seed):
    """Lists, sets and sorted sets that several shards read in place and move between each other."""
    r = random.Random(seed)
    try:
        with server.connect() as c:
            while time.monotonic() < stop:
                a, b = r.randrange(6), r.randrange(6)
                n = r.randrange(100)
                for call in (["SADD", "s:%d" % a, n, "m%d" % n], ["RPUSH", "l:%d" % a, n, "x" * n], ["ZADD", "z:%d" % a, n, "m%d" % n],
                             ["HSET", "h:%d" % n, "f", n], ["SINTERSTORE", "s:%d" % b, "s:%d" % a, "s:0", "s:1"],
                             ["SUNION", "s:%d" % a, "s:%d" % b], ["SMOVE", "s:%d" % a, "s:%d" % b, "m%d" % n],
                             ["LMOVE", "l:%d" % a, "l:%d" % b, "LEFT", "RIGHT"], ["ZUNIONSTORE", "z:%d" % b, "2", "z:%d" % a, "s:%d" % b],
                             ["ZRANGESTORE", "z:6", "z:%d" % a, "0", "20"], ["COPY", "l:%d" % a, "l:6", "REPLACE"],
                             ["RENAME", "l:6", "l:7"], ["SORT", "s:%d" % a, "BY", "h:*->f", "GET", "h:*->f", "STORE", "l:%d" % b],
                             ["HPEXPIRE", "h:%d" % n, "5", "FIELDS", "1", "f"], ["LTRIM", "l:%d" % b, "0", "50"],
                             ["LMPOP", "3", "l:0", "l:1", "l:%d" % b, "LEFT", "COUNT", "2"]):
                    c.cmd(*call)
    except (Closed, OSError):
        pass


def long_ones(server, stop, seed):
    """What is done beside the shard: commands that read collections of some hundred elements, or change them, while others read the
    same ones and write to others; and clients that are killed meanwhile."""
    r = random.Random(seed)
    sources = ["big:%s:%d" % (kind, i) for kind in "hlsz" for i in range(2)]
    try:
        with server.connect() as c:
            c.ok("CLIENT", "SETNAME", "long-%d" % seed)
            while time.monotonic() < stop:
                i, j, to = r.randrange(2), r.randrange(2), "to:%d" % r.randrange(8)
                h, l, s, z = ("big:%s:%d" % (kind, i) for kind in "hlsz")
                some = [r.randrange(1000) for _ in range(20)]
                calls = [["HSET", h] + [x for n in some for x in (n, n)], ["RPUSH", l] + some, ["SADD", s] + ["m%d" % n for n in some],
                         ["ZADD", z] + [x for n in some for x in (n, "m%d" % n)], ["LTRIM", l, -500, -1],
                         ["COPY", r.choice(sources), to, "REPLACE"], ["SUNIONSTORE", to, s, "big:s:%d" % j],
                         ["SINTERSTORE", to, s, "big:s:%d" % j], ["ZUNIONSTORE", to, 2, z, "big:s:%d" % j], ["SDIFF", s, "big:s:%d" % j],
                         ["SORT", l, "STORE", to], ["LREM", l, 0, some[0]], ["ZREMRANGEBYSCORE", z, some[1], some[1] + 9],
                         ["ZRANGESTORE", to, z, 0, -1], ["LPOS", l, some[2]], ["LINSERT", l, "BEFORE", some[3], "x"],
                         ["HGET", h, some[4]], ["HRANDFIELD", h, 3], ["LRANGE", l, 0, 5], ["SRANDMEMBER", s, 3], ["SISMEMBER", s, "m1"],
                         ["ZRANDMEMBER", z, 3], ["ZRANGE", z, 0, 5], ["SSCAN", s, 0], ["HSCAN", h, 0], ["OBJECT", "ENCODING", s],
                         ["MEMORY", "USAGE", h], ["SET", to, 1], ["HPEXPIRE", h, 30, "FIELDS", 1, some[5]], ["PEXPIRE", to, 2],
                         ["UNLINK", to]]
                r.shuffle(calls)
                if r.random() < 0.3:
                    calls = [["MULTI"]] + calls[:5] + [["EXEC"]]
                c.pipeline(calls)
                if r.random() < 0.05:
                    for line in c.cmd("CLIENT", "LIST").split(b"\n"):
                        if b"name=long-" in line and r.random() < 0.3:
                            c.cmd("CLIENT", "KILL", "ID", line.split()[0][3:])
    except (Closed, OSError):
        if time.monotonic() < stop:
            long_ones(server, stop, seed + 100)


def saver(server, stop):
    """Saves in the background, one after the other; some are cancelled."""
    r = random.Random(1)
    try:
        with server.connect() as c:
            while time.monotonic() < stop:
                c.cmd("BGSAVE")
                if r.random() < 0.2:
                    c.cmd("BGSAVE", "CANCEL")
                wait_until(lambda: c.info("persistence")["rdb_bgsave_in_progress"] == "0", "a save is over", 60)
    except (Closed, OSError):
        pass


def beside(server, seconds, *doers):
    """Threads that do these things to the server for so long."""
    stop = time.monotonic() + seconds
    threads = [threading.Thread(target=do, args=(server, stop, *args)) for do, *args in doers]
    for thread in threads:
        thread.start()
    return threads


def join_all(threads):
    for thread in threads:
        thread.join()


def loaded(server):
    """Load whose every reply is looked at, beside all else, while saves happen; returns what was wrong."""
    threads = beside(server, RUN_S, (whole_server_commands,), (watcher,), (saver,),
                     *((do, seed) for do in (across_shards, long_ones) for seed in range(3)))
    wrong = []
    for seed, shape in enumerate((dict(clients=20, requests=2000, pipeline=1), dict(clients=8, requests=8000, pipeline=50),
                                  dict(clients=1, requests=500), dict(clients=20, requests=2000, ttl=(1, 2), pipeline=4))):
        stats = load.run(server.address, ratio=(1, 1), seed=seed, **shape)
        if stats["wrong"]:
            wrong.append(stats)
    join_all(threads)
    saves = int(server.info("persistence")["rdb_saves"])
    if saves == 0:
        wrong.append("no save ended well")
    print("%d saves" % saves, end=", ")
    return wrong


def reloaded(server):
    """The dataset of all shards goes and comes back from its file, while others write; returns what was wrong."""
    threads = beside(server, RELOADS_S, (whole_server_commands,), *((do, seed) for do in (across_shards, long_ones) for seed in range(2)))
    wrong, n = [], 0
    with server.connect() as c:
        c.sock.settimeout(60)
        while not wrong and (n < 2 or any(thread.is_alive() for thread in threads)):
            reply = c.cmd("DEBUG", "RELOAD")
            n += 1
            if reply != b"OK":
                wrong.append(reply)
    join_all(threads)
    print("%d reloads" % n, end=", ")
    return wrong


def main():
    bad = 0
    for io, borrow in (("uring", True), ("epoll", True), ("uring", False)):
        server = Server("anax", shards=4, io=io, borrow=borrow, options={"enable-debug-command": "local"})
        assert server.cmd("DEBUG", "LONG-ELEMENTS", 8) == b"OK"
        print("%s, borrowing %s" % (io, "on" if borrow else "off"), end=": ")
        wrong = loaded(server) + reloaded(server)
        text = server.log()
        try:
            server.stop()
        except AssertionError as e:
            text = str(e)
            bad += 1
        if wrong or "WARNING: ThreadSanitizer" in text:
            bad += 1
        print("wrong: %s" % wrong if wrong else text[-6000:] if "ThreadSanitizer" in text else "clean")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
