"""Members of sets that expire: SADDEX, FIELDTTL and FIELDEXPIRE as Dragonfly documents them, against a model.

A time is a whole number of seconds. A member that gets the shortest is doomed: until its time has surely come replies
may tell of it or not, and nothing is asked about it alone.
"""

import collections
import random
import time

import pytest

from harness import DEADLINE_S, Error, Server, SLOW

LONG_S, SHORT_S = 1000, 1
KEYS = ["a", "b", "c", "d"]
SMALL = {"set-max-intset-entries": 16, "set-max-listpack-entries": 8, "set-max-listpack-value": 20}


@pytest.fixture(scope="module")
def servers():
    made = {}

    def get(shards, small=False):
        if (shards, small) not in made:
            made[shards, small] = Server("anax", shards=shards, options=SMALL if small else None)
        return made[shards, small]

    yield get
    for server in made.values():
        server.stop()


class Model:
    """key -> member -> seconds that it was given, or None"""

    def __init__(self):
        self.sets = {k: {} for k in KEYS}
        self.doomed = {k: set() for k in KEYS}
        self.until = 0  # when all that is doomed is dead

    def add(self, key, members, seconds=None, keep=False):
        added = 0
        for m in members:
            added += m not in self.sets[key]
            if m not in self.sets[key] or (seconds and not keep):
                self.give(key, m, seconds)
        return added

    def give(self, key, member, seconds):
        self.sets[key][member] = seconds
        if seconds == SHORT_S:
            del self.sets[key][member]
            self.doomed[key].add(member)
            self.until = time.time() + SHORT_S + 0.02

    def overwrite(self, key, members):
        self.sets[key] = dict(members)
        self.doomed[key] = set()


class Player:
    def __init__(self, c, seed):
        self.c, self.model, self.rng = c, Model(), random.Random(seed)
        self.kinds = [lambda r: "%d" % r.randrange(60), lambda r: "%d" % r.randrange(3000), lambda r: "m%d" % r.randrange(400),
                      lambda r: "%d" % (r.randrange(900) * 10**12)]

    def member(self, key):
        while True:
            m = self.rng.choice(self.kinds)(self.rng) if self.rng.random() < 0.1 else \
                self.kinds[KEYS.index(key)](self.rng)
            if m.encode() not in self.model.doomed[key]:
                return m.encode()

    def members(self, key, most=30):
        return list({self.member(key) for _ in range(self.rng.choice([1, 1, 3, most]))})

    def seconds(self):
        return self.rng.choice([LONG_S, LONG_S, LONG_S, SHORT_S])

    # one each: what the server says is what the model says

    def sadd(self, key):
        members = self.members(key, 300)
        assert self.c.cmd("SADD", key, *members) == self.model.add(key, members)

    def saddex(self, key):
        members, seconds, keep = self.members(key), self.seconds(), self.rng.random() < 0.4
        reply = self.c.cmd("SADDEX", key, *(["KeepTTL"] if keep else []), seconds, *members)
        assert reply == self.model.add(key, members, seconds, keep)

    def srem(self, key):
        members = self.members(key)
        gone = [m for m in members if m in self.model.sets[key]]
        assert self.c.cmd("SREM", key, *members) == len(gone)
        for m in gone:
            del self.model.sets[key][m]

    def fieldexpire(self, key):
        members, seconds = self.members(key), self.rng.choice([LONG_S, LONG_S, SHORT_S, 0])
        there = [m in self.model.sets[key] for m in members]
        reply = self.c.cmd("FIELDEXPIRE", key, seconds, *members)
        assert reply == [(2 if seconds == 0 else 1) if t else -2 for t in there], (seconds, members)
        for m, t in zip(members, there):
            if t and seconds == 0:
                del self.model.sets[key][m]
            elif t:
                self.model.give(key, m, seconds)

    def fieldttl(self, key):
        for m in self.members(key, 5):
            reply = self.c.cmd("FIELDTTL", key, m)
            if not self.model.sets[key] and reply == -2:
                continue
            if m not in self.model.sets[key]:
                assert reply == -3
            elif self.model.sets[key][m] is None:
                assert reply == -1
            else:
                assert LONG_S - 300 < reply <= LONG_S

    def smove(self, key):
        to, m = self.rng.choice(KEYS), self.member(key)
        if m in self.model.doomed[to]:
            return
        there = m in self.model.sets[key]
        assert self.c.cmd("SMOVE", key, to, m) == there
        if there and to != key:
            self.model.sets[to].setdefault(m, self.model.sets[key].pop(m))
            self.model.sets[key].pop(m, None)

    def sismember(self, key):
        members = self.members(key)
        assert self.c.cmd("SMISMEMBER", key, *members) == [m in self.model.sets[key] for m in members]
        assert self.c.cmd("SISMEMBER", key, members[0]) == (members[0] in self.model.sets[key])

    def smembers(self, key):
        got = set(self.c.cmd("SMEMBERS", key))
        assert set(self.model.sets[key]) <= got <= set(self.model.sets[key]) | self.model.doomed[key]

    def sscan(self, key):
        got, cursor = set(), b"0"
        while cursor != b"0" or not got:
            cursor, some = self.c.cmd("SSCAN", key, cursor, "COUNT", self.rng.choice([5, 1000]))
            got.update(some)
            if cursor == b"0":
                break
        assert set(self.model.sets[key]) <= got <= set(self.model.sets[key]) | self.model.doomed[key]

    def srandmember(self, key):
        for count in (3, 10**6, -5):
            got = self.c.cmd("SRANDMEMBER", key, count)
            assert set(got) <= set(self.model.sets[key]) | self.model.doomed[key]
            if count == 10**6:
                assert set(self.model.sets[key]) <= set(got)

    def spop(self, key):
        for m in self.c.cmd("SPOP", key, self.rng.choice([1, 2, 20])):
            assert m in self.model.sets[key] or m in self.model.doomed[key]
            self.model.sets[key].pop(m, None)
            self.model.doomed[key].discard(m)

    def algebra(self, key):
        other = self.rng.choice(KEYS)
        a, b = set(self.model.sets[key]), set(self.model.sets[other])
        doomed = self.model.doomed[key] | self.model.doomed[other]
        assert a & b <= set(self.c.cmd("SINTER", key, other)) <= (a & b) | doomed
        assert a | b <= set(self.c.cmd("SUNION", key, other)) <= a | b | doomed
        assert (a - b) - doomed <= set(self.c.cmd("SDIFF", key, other)) <= (a - b) | doomed

    def store(self, key):
        """What is stored has no times."""
        other, to = self.rng.choice(KEYS), self.rng.choice(KEYS)
        if self.model.doomed[key] or self.model.doomed[other]:
            return
        members = dict.fromkeys(list(self.model.sets[key]) + list(self.model.sets[other]))
        assert self.c.cmd("SUNIONSTORE", to, key, other) == len(members)
        self.model.overwrite(to, members)

    def copy(self, key):
        """A copy has the times, too."""
        to = self.rng.choice(KEYS)
        if to == key or self.model.doomed[key] or not self.model.sets[key]:
            return
        assert self.c.cmd("COPY", key, to, "REPLACE") == 1
        self.model.overwrite(to, self.model.sets[key])

    def rename(self, key):
        to = self.rng.choice(KEYS)
        if self.model.sets[key] and to != key:
            self.c.ok("RENAME", key, to)
            self.model.sets[to], self.model.doomed[to] = self.model.sets[key], self.model.doomed[key]
            self.model.sets[key], self.model.doomed[key] = {}, set()

    def delete(self, key):
        self.c.cmd("DEL", key)
        self.model.overwrite(key, {})

    def step(self):
        r = self.rng
        weights = {self.sadd: 12, self.saddex: 10, self.srem: 5, self.fieldexpire: 8, self.fieldttl: 8, self.smove: 8, self.sismember: 6,
                   self.smembers: 3, self.sscan: 2, self.srandmember: 3, self.spop: 2, self.algebra: 3, self.store: 2, self.copy: 1,
                   self.rename: 1, self.delete: 0.3}
        r.choices(list(weights), list(weights.values()))[0](r.choice(KEYS))

    def settle(self):
        """All that is doomed dies; nobody sees it from then on, and soon it is not counted any more."""
        time.sleep(max(0, self.model.until - time.time()))
        for key in KEYS:
            members = self.model.sets[key]
            self.model.doomed[key] = set()
            assert set(self.c.cmd("SMEMBERS", key)) == set(members)
            for m, given in list(members.items())[:40]:
                assert self.c.cmd("FIELDTTL", key, m) == -1 if given is None else 0 < self.c.cmd("FIELDTTL", key, m) <= given
            assert (self.c.cmd("SPOP", key, 0), self.c.cmd("SRANDMEMBER", key) is None) == ([], not members)
            deadline = time.monotonic() + DEADLINE_S
            while self.c.cmd("SCARD", key) != len(members):
                assert time.monotonic() < deadline, "dead members are not swept"
                time.sleep(0.05)
            assert self.c.cmd("EXISTS", key) == bool(members)


@pytest.mark.parametrize("shards,small", [(1, False), (2, True), (3, False), (8, True)])
def test_members_expire(servers, shards, small):
    with servers(shards, small).connect() as c:
        c.ok("FLUSHALL")
        player = Player(c, shards)
        for _ in range(2):
            for _ in range(150 if SLOW else 400):
                player.step()
            player.settle()


def test_arguments(servers):
    with servers(1).connect() as c:
        c.ok("FLUSHALL")
        c.ok("SET", "text", "x")
        c.cmd("SADD", "s", "1")
        wrong_type = Error(b"WRONGTYPE Operation against a key holding the wrong kind of value")
        cases = {
            ("SADDEX", "s", "x", "1"): Error(b"ERR value is not an integer or out of range"),
            ("SADDEX", "s", "0", "1"): Error(b"ERR invalid expire time in 'saddex' command"),
            ("SADDEX", "s", "-1", "1"): Error(b"ERR invalid expire time in 'saddex' command"),
            ("SADDEX", "s", "9223372036854775807", "1"): Error(b"ERR invalid expire time in 'saddex' command"),
            ("SADDEX", "s", "KEEPTTL", "1"): Error(b"ERR wrong number of arguments for 'saddex' command"),
            ("SADDEX", "s", "1"): Error(b"ERR wrong number of arguments for 'saddex' command"),
            ("SADDEX", "text", "1", "1"): wrong_type,
            ("FIELDTTL", "text", "1"): wrong_type,
            ("FIELDEXPIRE", "text", "1", "1"): wrong_type,
            ("FIELDTTL", "none", "1"): -2,
            ("FIELDTTL", "s", "2"): -3,
            ("FIELDTTL", "s", "1"): -1,
            ("FIELDEXPIRE", "s", "100", "2"): [-2],
            ("FIELDEXPIRE", "none", "100", "2"): [-2],
        }
        for args, want in cases.items():
            assert c.cmd(*args) == want, args
        assert c.cmd("SMEMBERS", "s") == [b"1"] and c.cmd("FIELDTTL", "s", "1") == -1


def test_a_member_that_is_added_again_keeps_its_time(servers):
    """SADD leaves what is there as it is; SADDEX without KEEPTTL does not."""
    with servers(1).connect() as c:
        for first in ("7", "seven"):
            c.ok("FLUSHALL")
            assert c.cmd("SADDEX", "s", "100", first) == 1
            assert c.cmd("SADD", "s", first) == 0
            assert 0 < c.cmd("FIELDTTL", "s", first) <= 100
            assert c.cmd("SADDEX", "s", "KEEPTTL", "1000", first, "other") == 1
            assert (c.cmd("FIELDTTL", "s", first) <= 100, c.cmd("FIELDTTL", "s", "other") > 100) == (True, True)
            assert c.cmd("SADDEX", "s", "1000", first) == 0
            assert c.cmd("FIELDTTL", "s", first) > 100


def test_integers_with_a_time_leave_a_large_set_small(servers):
    """A million ids of which some expire stay bits, but for those."""
    with servers(1).connect() as c:
        c.ok("FLUSHALL")
        n = 100000 if SLOW else 1000000
        for at in range(0, n, 20000):
            c.cmd("SADD", "s", *range(at, at + 20000))
        before = int(c.info("memory")["used_memory"])
        assert c.cmd("SADDEX", "s", "1000", *range(n - 100, n + 100)) == 100
        assert c.cmd("FIELDEXPIRE", "s", "1000", *range(100)) == [1] * 100
        assert c.cmd("SADD", "s", "a", "b") == 2
        assert c.cmd("SCARD", "s") == n + 102
        assert SLOW or int(c.info("memory")["used_memory"]) - before < 100000
        assert [c.cmd("FIELDTTL", "s", m) > 0 for m in (0, 99, 100, n - 1, n + 99, "a")] == [True, True, False, True, True, False]
        assert c.cmd("SMISMEMBER", "s", 0, n - 1, n + 99, n + 100, "a", "c") == [1, 1, 1, 0, 1, 0]
        assert c.cmd("SREM", "s", 0, 5000, n + 99, "a", "zz") == 4
        assert c.cmd("SCARD", "s") == n + 98


@pytest.mark.parametrize("ids", [0, 3, 800], ids=["texts", "few-ids", "ids"])
def test_chance_meets_the_dead(ids):
    """Active expiry is off: what is dead is still in the set, and nobody draws it; those that live are as likely as each other."""
    with Server("anax", options={"enable-debug-command": "yes"}) as anax, anax.connect() as c:
        c.ok("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        if ids:
            c.cmd("SADD", "s", *range(1000))
            c.cmd("SREM", "s", *range(ids, 1000))
        live = {b"%d" % i for i in range(ids)} | {b"live:%d" % i for i in range(7)}
        dead = [b"dead:%d" % i for i in range(3000)]
        c.cmd("SADDEX", "s", "1", *dead)
        c.cmd("SADDEX", "gone", "1", *dead)
        c.cmd("SADDEX", "s", "1000", *[b"live:%d" % i for i in range(7)])
        deadline = time.monotonic() + DEADLINE_S
        while c.cmd("SISMEMBER", "s", dead[-1]) + c.cmd("SISMEMBER", "gone", dead[-1]):
            assert time.monotonic() < deadline, "their time has not come"
            time.sleep(0.02)
        assert c.cmd("SCARD", "s") == len(live) + len(dead), "nothing was swept"
        n = 60 * len(live)
        one_by_one = [("SRANDMEMBER", "s")] * (n // 3)
        came = collections.Counter(r.value for r in c.pipeline(one_by_one))
        came.update(c.cmd("SRANDMEMBER", "s", -(n - n // 3)))
        assert set(came) == live
        square = sum((x - 60) ** 2 for x in came.values()) / 60
        assert square < len(live) + 5 * (2 * len(live)) ** 0.5, square
        for count in (1, 2, len(live) // 2, len(live), 10000):
            got = c.cmd("SRANDMEMBER", "s", count)
            assert len(got) == len(set(got)) == min(count, len(live)) and set(got) <= live
        popped = [c.cmd("SPOP", "s") for _ in range(4)]
        assert len(set(popped)) == 4 and set(popped) <= live
        assert c.cmd("SCARD", "s") == len(live) + len(dead) - 4
        rest = c.cmd("SPOP", "s", len(live) - 6)
        assert len(rest) == len(live) - 6 and set(rest) | set(popped) <= live
        assert set(c.cmd("SMEMBERS", "s")) == live - set(popped) - set(rest)
        assert len(c.cmd("SPOP", "s", 100)) == 2 and c.cmd("EXISTS", "s") == 0
        assert [c.cmd("SRANDMEMBER", "gone"), c.cmd("SPOP", "gone")] == [None, None]
        assert [c.cmd("SRANDMEMBER", "gone", n) for n in (5, -5)] == [[], []] == [c.cmd("SPOP", "gone", n) for n in (0, 5)]
