"""talk.py: conversations that several connections have with a server, and whether two servers said the same.

A script is lines "who COMMAND arguments", in shell quotes where needed; each reply is awaited before the
next line. Words k, k1, k2, ... are keys: `tag` stands before them, so that "{t}" puts all of them on one
shard and "" spreads them.
"""

import re
import shlex

from harness import Map, encode

KEY = re.compile(r"k\d*$")
TAGS = ["", "{t}"]
HELLO_OWN = {b"server", b"version", b"id"}


def words(line, tag):
    return [(tag + w if KEY.match(w) else w).encode() for w in shlex.split(line)]


class Talk:
    """Connections by name, made when they first speak."""

    def __init__(self, server, proto=2, tag=""):
        self.server, self.proto, self.tag = server, proto, tag
        self.conns = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for c in self.conns.values():
            c.close()

    def conn(self, who):
        if who not in self.conns:
            self.conns[who] = self.server.connect()
            if self.proto == 3:
                self.conns[who].cmd("HELLO", "3")
        return self.conns[who]

    def say(self, line):
        """One line; its harness.Reply."""
        who, rest = line.split(None, 1)
        c = self.conn(who)
        c.send(encode(words(rest, self.tag)))
        return c.read()

    def cmd(self, line):
        return self.say(line).value

    def all(self, script):
        return [self.cmd(line) for line in lines(script)]


def lines(script):
    return [line.strip() for line in script.splitlines() if line.strip()]


def plain(value, ordered):
    """A reply without what is the process's own, and without an order that is not promised."""
    if isinstance(value, list):
        pairs = isinstance(value, Map)
        if pairs or (value and value[0] == b"server"):
            items = list(value) if pairs else list(zip(value[::2], value[1::2]))
            return type(value).__name__, [(k, plain(v, ordered)) for k, v in items if k not in HELLO_OWN]
        items = [plain(v, ordered) for v in value]
        return type(value).__name__, items if ordered else sorted(items, key=repr)
    return type(value).__name__, value


def same(ours, theirs, ordered=True):
    return ours.raw == theirs.raw or plain(ours.value, ordered) == plain(theirs.value, ordered)


def differences(anax, redis, script, proto=2, tag="", ordered=True):
    """Plays it on both, emptied before; the lines whose replies differ, with these."""
    found = []
    with Talk(anax, proto, tag) as a, Talk(redis, proto, tag) as b:
        for talk in (a, b):
            talk.server.cmd("FLUSHALL")
        for line in lines(script):
            ours, theirs = a.say(line), b.say(line)
            if not same(ours, theirs, ordered):
                found.append("%s\n    anax:  %r\n    redis: %r" % (line, ours.raw[:300], theirs.raw[:300]))
    return found


def check_all(anax, redis, scripts, protos=(2, 3), unordered=()):
    """All scripts of a dictionary, with keys on one shard and on many; fails with every difference."""
    wrong = []
    for name, script in scripts.items():
        for proto in protos:
            for tag in TAGS:
                found = differences(anax, redis, script, proto, tag, name not in unordered)
                if found:
                    wrong.append("%s (RESP%d, tag %r):\n  %s" % (name, proto, tag, "\n  ".join(found)))
    assert not wrong, "\n".join(wrong)
