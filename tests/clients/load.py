#!/usr/bin/python3
"""load.py: a load generator that knows what every reply must be.

Why        memtier_benchmark is not in Debian. Where it is missing, the suite still has to put the
           same shapes of load on the server: a mix of SET and GET, pipelines, expiries, a thousand
           connections. Unlike memtier this one checks every value.
How        each connection owns its keys, so it knows what a GET must return. With expiries a value
           may also be gone, but never be another one.
Use        load.py --port 6379 --clients 50 --pipeline 16 --requests 100000 [--ratio 1:10] [--ttl 1-10]
           prints one line of JSON; exit 1 when a reply was wrong.
"""

import argparse
import json
import os
import random
import selectors
import socket
import sys
import time

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness import encode


class Client:
    """One connection: sends a pipeline, checks the replies, sends the next."""

    def __init__(self, n, address, o, stats):
        self.n, self.o, self.stats = n, o, stats
        self.rng = random.Random(o.seed * 100003 + n)
        self.values = {}
        self.expected = []
        self.sent = 0
        self.out = b""
        self.buf = b""
        self.sock = socket.create_connection(address)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def value(self):
        size = self.rng.randint(*self.o.size)
        return (b"%d:%d:" % (self.n, self.sent)).ljust(size, b"v")[: max(size, 1)]

    def fill(self):
        """The next pipeline."""
        out = []
        for _ in range(min(self.o.pipeline, self.o.per_client - self.sent)):
            key = b"load:%d:%d:%d" % (self.o.seed, self.n, self.rng.randrange(self.o.keys))
            if self.rng.random() * sum(self.o.ratio) < self.o.ratio[0]:
                value = self.value()
                args = ["SET", key, value]
                if self.o.ttl:
                    args += ["EX", str(self.rng.randint(*self.o.ttl))]
                self.values[key] = value
                self.expected.append(None)
            else:
                args = ["GET", key]
                self.expected.append((key, self.values.get(key)))
            out.append(encode(args))
            self.sent += 1
        self.out = b"".join(out)

    def write(self):
        try:
            self.out = self.out[self.sock.send(self.out) :]
        except BlockingIOError:
            pass

    def read(self):
        """Takes in replies; True when the pipeline is answered."""
        data = self.sock.recv(1 << 18)
        if not data:
            raise ConnectionError("closed by the server")
        self.buf += data
        at = 0
        taken = 0
        for want in self.expected:
            end = self.buf.find(b"\r\n", at)
            if end < 0:
                break
            line = self.buf[at:end]
            if line[:1] == b"$" and line != b"$-1":
                n = int(line[1:])
                if len(self.buf) < end + 4 + n:
                    break
                got = self.buf[end + 2 : end + 2 + n]
                at = end + 4 + n
            else:
                got = None if line == b"$-1" else line
                at = end + 2
            taken += 1
            self.check(want, got)
        self.buf = self.buf[at:]
        del self.expected[:taken]
        return not self.expected

    def check(self, want, got):
        self.stats["requests"] += 1
        if want is None:
            good = got == b"+OK"
        else:
            good = got == want[1] or (got is None and self.o.ttl)
            self.stats["hits" if got is not None else "misses"] += 1
        if not good:
            self.stats["wrong"] += 1
            self.stats["first_wrong"] = self.stats.get("first_wrong") or repr((want, got))[:300]


def run(address, clients=50, requests=100000, pipeline=1, ratio=(1, 10), ttl=None, keys=100, size=(1, 100),
        seed=1):
    """Returns what happened; "wrong" counts replies that were not what they must be."""
    o = argparse.Namespace(pipeline=pipeline, ratio=ratio, ttl=ttl, keys=keys, size=size, seed=seed,
                           per_client=max(1, requests // clients))
    stats = {"requests": 0, "hits": 0, "misses": 0, "wrong": 0}
    selector = selectors.DefaultSelector()
    start = time.monotonic()
    live = 0
    for n in range(clients):
        c = Client(n, address, o, stats)
        c.fill()
        selector.register(c.sock, selectors.EVENT_READ | selectors.EVENT_WRITE, c)
        live += 1
    while live:
        events = selector.select(60)
        if not events:
            stats["wrong"] += 1
            stats["first_wrong"] = "no reply for 60 s"
            break
        for key, mask in events:
            c = key.data
            if mask & selectors.EVENT_READ and c.read():
                c.fill()
                if not c.expected:
                    selector.unregister(c.sock)
                    c.sock.close()
                    live -= 1
                    continue
            if c.out:
                c.write()
            want = selectors.EVENT_READ | (selectors.EVENT_WRITE if c.out else 0)
            if want != key.events:
                selector.modify(c.sock, want, c)
    stats["seconds"] = round(time.monotonic() - start, 3)
    return stats


def pair(text, sep):
    a, _, b = text.partition(sep)
    return int(a), int(b or a)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--host", default="127.0.0.1")
    p.add_argument("--port", type=int, default=6379)
    p.add_argument("--clients", type=int, default=50)
    p.add_argument("--requests", type=int, default=100000)
    p.add_argument("--pipeline", type=int, default=1)
    p.add_argument("--ratio", default="1:10", help="SET:GET")
    p.add_argument("--ttl", help="seconds, for example 1-10")
    p.add_argument("--size", default="1-100")
    p.add_argument("--keys", type=int, default=100, help="per connection")
    p.add_argument("--seed", type=int, default=1, help="also keeps its keys apart from another run's")
    a = p.parse_args()
    stats = run((a.host, a.port), a.clients, a.requests, a.pipeline, pair(a.ratio, ":"),
                pair(a.ttl, "-") if a.ttl else None, a.keys, pair(a.size, "-"), a.seed)
    print(json.dumps(stats))
    return 1 if stats["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
