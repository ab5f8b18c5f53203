"""Commands that redis-server 7.0 lacks, against a model of them in Python.

Sources: SET IFEQ and DELIFEQ: Valkey 8.1 and 9.0; MSETEX: Valkey 9.1; BITOP DIFF, DIFF1, ANDOR, ONE:
Redis 8.2. Semantics as their documentation says.
"""

import random
import time

import pytest

from harness import Error

FUTURE_MS = 4_102_444_800_000


class Model:
    """key -> (value, expiry in Unix ms or None)"""

    def __init__(self):
        self.data = {}

    def set(self, key, value, expire, keep):
        old = self.data.get(key, (None, None))
        self.data[key] = (value, old[1] if keep else expire)

    def set_if(self, key, value, condition, compare, get, expire, keep):
        old = self.data.get(key, (None, None))[0]
        done = {None: True, "NX": old is None, "XX": old is not None, "IFEQ": old == compare}[condition]
        if done:
            self.set(key, value, expire, keep)
        return old if get else (b"OK" if done else None)

    def delifeq(self, key, value):
        if self.data.get(key, (None,))[0] != value:
            return 0
        del self.data[key]
        return 1

    def msetex(self, pairs, condition, expire, keep):
        there = [k in self.data for k, _ in pairs]
        if condition == "NX" and any(there) or condition == "XX" and not all(there):
            return 0
        for k, v in pairs:
            self.set(k, v, expire, keep)
        return 1


def some_expiry(rng):
    """(arguments, absolute ms or None, keep)"""
    pick = rng.randrange(4)
    at = FUTURE_MS + rng.randrange(1000) * 1000
    return [([], None, False), (["PXAT", str(at)], at, False), (["EXAT", str(at // 1000)], at, False),
            (["KEEPTTL"], None, True)][pick]


def check_state(c, model, keys):
    for k in keys:
        value, expire = model.data.get(k, (None, None))
        assert c.cmd("GET", k) == value, k
        assert c.cmd("PEXPIRETIME", k) == (-2 if value is None else -1 if expire is None else expire), k


@pytest.mark.parametrize("seed", range(5))
def test_conditional_writes(anax, seed):
    rng = random.Random(seed)
    model = Model()
    keys = [b"{m}%d" % i for i in range(5)]
    values = [b"1", b"2", b"-5", b"abc", b"", b"01", b"x" * 50, b"y" * 2000, b"z" * 40000]
    with anax.connect() as c:
        for _ in range(600):
            key, value, compare = rng.choice(keys), rng.choice(values), rng.choice(values)
            args, expire, keep = some_expiry(rng)
            pick = rng.randrange(3)
            if pick == 0:
                condition = rng.choice([None, "NX", "XX", "IFEQ", "IFEQ", "IFEQ"])
                get = rng.random() < 0.3
                call = ["SET", key, value] + args
                call += ["IFEQ", compare] if condition == "IFEQ" else [condition] if condition else []
                call += ["GET"] if get else []
                want = model.set_if(key, value, condition, compare, get, expire, keep)
            elif pick == 1:
                call, want = ["DELIFEQ", key, compare], model.delifeq(key, compare)
            else:
                pairs = [(rng.choice(keys), rng.choice(values)) for _ in range(rng.randint(1, 4))]
                condition = rng.choice([None, None, "NX", "XX"])
                call = ["MSETEX", str(len(pairs))] + [x for p in pairs for x in p]
                call += ([condition] if condition else []) + args
                want = model.msetex(pairs, condition, expire, keep)
            got = c.cmd(*call)
            assert got == want, (call, got, want)
        check_state(c, model, keys)


@pytest.mark.parametrize("call", [
    ["SET", "k", "v", "IFEQ"], ["SET", "k", "v", "IFEQ", "a", "NX"], ["SET", "k", "v", "XX", "IFEQ", "a"],
    ["DELIFEQ", "k"], ["DELIFEQ", "k", "v", "w"], ["MSETEX", "0", "k", "v"], ["MSETEX", "x", "k", "v"],
    ["MSETEX", "2", "k", "v"], ["MSETEX", "1", "k", "v", "EX"], ["MSETEX", "1", "k", "v", "EX", "0"],
    ["MSETEX", "1", "k", "v", "NX", "XX"], ["MSETEX", "-1", "k", "v"],
    ["MSETEX", "1", "k", "v", "EX", "10", "PX", "10"], ["MSETEX", "1", "k", "v", "KEEPTTL", "EX", "10"],
    ["BITOP", "DIFF", "{t}d", "{t}a"], ["BITOP", "ANDOR", "{t}d", "{t}a"], ["BITOP", "DIFF1", "{t}d", "{t}a"]])
def test_invalid(anax2, call):
    with anax2.connect() as c:
        value = c.cmd(*call)
        assert isinstance(value, Error) and value.startswith(b"ERR "), (call, value)
        assert not value.startswith(b"ERR unknown command"), (call, value)
        assert c.cmd("DBSIZE") == 0


def test_relative_expiry_of_msetex(anax2):
    with anax2.connect() as c:
        assert c.cmd("MSETEX", "2", "{t}a", "1", "{t}b", "2", "EX", "100") == 1
        assert 90 < c.cmd("TTL", "{t}a") <= 100 and 90 < c.cmd("TTL", "{t}b") <= 100
        assert c.cmd("MSETEX", "1", "{t}a", "1", "PX", "50") == 1
        time.sleep(0.2)
        assert c.cmd("MGET", "{t}a", "{t}b") == [None, b"2"]


def bitop(op, sources):
    n = max((len(s) for s in sources), default=0)
    rows = [s.ljust(n, b"\0") for s in sources]
    out = bytearray(n)
    for i in range(n):
        x, ys = rows[0][i], [r[i] for r in rows[1:]]
        any_y = 0
        for y in ys:
            any_y |= y
        if op == "DIFF":
            out[i] = x & ~any_y
        elif op == "DIFF1":
            out[i] = any_y & ~x
        elif op == "ANDOR":
            out[i] = x & any_y
        else:
            once = twice = 0
            for v in [x] + ys:
                twice |= once & v
                once |= v
            out[i] = once & ~twice
    return bytes(out)


@pytest.mark.parametrize("op", ["DIFF", "DIFF1", "ANDOR", "ONE"])
def test_bitop(anax2, op):
    rng = random.Random(op)
    with anax2.connect() as c:
        for _ in range(60):
            sources = [rng.randbytes(rng.choice([0, 1, 7, 8, 9, 31, 32, 33, 100, 1000]))
                       for _ in range(rng.randint(2, 6))]
            for i, s in enumerate(sources):
                c.ok("SET", "{b}%d" % i, s)
            names = ["{b}%d" % i for i in range(len(sources))]
            want = bitop(op, sources)
            got = c.cmd("BITOP", op, "{b}d", *names)
            assert got == len(want), (op, got)
            assert c.cmd("GET", "{b}d") == (want if want else None)
