"""What becomes of a key's TTL: every writing command, the numbers and conditions of EXPIRE and its like, the last
millisecond, and what is dead but still stored. redis-server 7.0 says what is right; what it lacks is written here.

Times are absolute, far apart and compared to the millisecond (PEXPIRETIME); only what a command counts from now on
may differ by as much as the two servers are apart.
"""

import itertools
import re
import threading
import time

import pytest

from compare import CLOCK_S
from harness import Error, Server, encode
from talk import plain

# A letter for the type, two keys of each; d is a destination, which exists; what is named otherwise does not.
MAKE = {"s": "SET %s abc", "n": "SET %s 5", "l": "RPUSH %s a b c", "h": "HSET %s f 1 g 2", "z": "ZADD %s 1 a 2 b 3 c",
        "t": "SADD %s a b c", "d": "SET %s x"}
KEY = re.compile(r"([snlhzt][12]|d|new)$")
DEBUG = {"enable-debug-command": "yes"}
STEP_MS = 5_000_000
END_MS = (1 << 48) - 1  # differences.py: an expiry is never later than this


def keys_of(command):
    return sorted({w for w in command.split() if KEY.match(w)})


def prefixed(line, prefix):
    return [(prefix + w if KEY.match(w) else w).encode() for w in line.split(" ")]


def far():
    """The first of the times; the others follow it by STEP_MS each."""
    return int(time.time() * 1000) + 1_000_000_000


def talk(c, lines, prefix=""):
    """Replies, at one go."""
    return [r.value for r in c.pipeline([prefixed(line, prefix) for line in lines])]


def close(ours, theirs):
    """Two times that were counted from now on."""
    return isinstance(ours, int) and isinstance(theirs, int) and min(ours, theirs) > 0 and \
        abs(ours - theirs) <= CLOCK_S * 1000


@pytest.fixture
def servers(anax, redis):
    with anax.connect() as a, redis.connect() as b:
        for c in (a, b):
            c.ok("FLUSHALL")
        yield a, b


# --- every writing command ---

# In pairs: on what has a TTL and on what has none. ~ before a command: its reply is random.
STRINGS = """
SET s1 v|SET s1 v KEEPTTL|SET s1 v GET|SET s1 v KEEPTTL GET|SET s1 v NX|SET s1 v XX|SET s1 v XX KEEPTTL|SET s1 v NX GET|SET new v KEEPTTL
SET s1 v EX 100|SET s1 v PX 100000|SET s1 v XX EX 100|SET s1 v NX EX 100|SET s1 v EX 100 KEEPTTL|SET l1 v|SET l1 v KEEPTTL|SET l1 v GET
SETNX s1 v|SETNX new v|SETEX s1 100 v|PSETEX s1 100000 v|SETEX l1 100 v|SETEX s1 0 v|SETEX s1 -1 v|GETSET s1 v|GETSET l1 v|GETSET new v
GETDEL s1|GETDEL l1|GETDEL new|GETEX s1|GETEX s1 EX 100|GETEX s1 PX 100000|GETEX s1 PERSIST|GETEX l1 EX 100|GETEX new EX 100|GETEX s1 EXAT 1
INCR n1|DECR n1|INCRBY n1 5|DECRBY n1 5|INCRBYFLOAT n1 1.5|INCR s1|INCR new|INCRBYFLOAT s1 1|INCRBY n1 9223372036854775807
APPEND s1 x|APPEND s1 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx|APPEND new x|APPEND l1 x|SETRANGE s1 1 yy|SETRANGE s1 5000 y
SETRANGE s1 0 |SETRANGE new 3 y|SETBIT s1 7 1|SETBIT s1 70000 1|SETBIT new 7 1|BITFIELD s1 SET u8 0 255|BITFIELD s1 GET u8 0|BITFIELD s1 INCRBY u8 90000 1
BITOP AND d s1 s2|BITOP NOT d s1|BITOP NOT s1 s1|BITOP OR s1 s1 s2|BITOP AND d new new|BITOP XOR d s1 l1|BITOP AND l1 s1 s2
MSET s1 v s2 w|MSET s1 v new w l1 x|MSETNX s1 v new w|MSETNX new v|MSET s1 1 s1 2
"""
COLLECTIONS = """
LPUSH l1 x|RPUSH l1 x y|LPUSHX l1 x|RPUSHX l1 x|LPUSHX new x|LPOP l1|RPOP l1 2|LPOP l1 3|LSET l1 0 x|LSET l1 9 x|LINSERT l1 BEFORE b x|LREM l1 0 a
LTRIM l1 0 1|LTRIM l1 5 9|LMOVE l1 l2 LEFT LEFT|LMOVE l1 l1 LEFT RIGHT|LMOVE l1 new LEFT LEFT|LMOVE l1 d LEFT LEFT|RPOPLPUSH l1 l2|RPOPLPUSH l1 l1
LMPOP 2 l1 l2 LEFT|LMPOP 1 l1 LEFT COUNT 9|LPUSH new x|LPUSH s1 x
HSET h1 f 9|HSET h1 k 9|HSET new f 1|HMSET h1 f 1 k 2|HSETNX h1 f 1|HSETNX h1 k 1|HDEL h1 f|HDEL h1 f g|HINCRBY h1 f 1|HINCRBYFLOAT h1 f 1.5|HSET s1 f 1
SADD t1 a|SADD t1 d|SADD new a|SREM t1 a|SREM t1 a b c|~SPOP t1|~SPOP t1 2|~SPOP t1 3|SMOVE t1 t2 a|SMOVE t1 t1 a|SMOVE t1 new a|SMOVE t1 d a|SADD s1 a
SINTERSTORE d t1 t2|SUNIONSTORE d t1 t2|SDIFFSTORE d t1 t2|SUNIONSTORE t1 t1 t2|SUNIONSTORE t1 t1|SINTERSTORE d t1 new|SINTERSTORE t1 t1 new|SUNIONSTORE new t1
SINTERSTORE d t1 l1|SUNIONSTORE l1 t1
ZADD z1 9 a|ZADD z1 9 x|ZADD new 9 x|ZADD z1 NX 9 a|ZADD z1 XX INCR 1 a|ZINCRBY z1 1 a|ZREM z1 a|ZREM z1 a b c|ZPOPMIN z1|ZPOPMAX z1 2|ZPOPMIN z1 3
ZMPOP 2 z1 z2 MIN|ZMPOP 1 z1 MAX COUNT 9|ZREMRANGEBYRANK z1 0 0|ZREMRANGEBYRANK z1 0 -1|ZREMRANGEBYSCORE z1 1 2|ZREMRANGEBYLEX z1 [a [b
ZRANGESTORE d z1 0 -1|ZRANGESTORE z1 z1 0 1|ZRANGESTORE d z1 5 9|ZRANGESTORE d new 0 -1|ZRANGESTORE z1 z2 0 0|ZUNIONSTORE d 2 z1 z2|ZINTERSTORE d 2 z1 z2
ZDIFFSTORE d 2 z1 z2|ZDIFFSTORE d 1 z1|ZUNIONSTORE z1 1 z1|ZINTERSTORE z1 2 z1 t1|ZUNIONSTORE new 1 z1|ZADD s1 1 a
SORT l1 ALPHA STORE d|SORT l1 ALPHA STORE l1|SORT new STORE d|SORT t1 ALPHA STORE l1|SORT z1 ALPHA STORE new|SORT l1 ALPHA
"""
GENERIC = """
DEL s1 s2|UNLINK s1 l1|RENAME s1 s2|RENAME s1 new|RENAME s1 l1|RENAME l1 s1|RENAME s1 s1|RENAME new s1|RENAMENX s1 s2|RENAMENX s1 new|RENAMENX z1 new
RENAMENX s1 s1|COPY s1 s2|COPY s1 s2 REPLACE|COPY s1 new|COPY l1 new|COPY h1 s1 REPLACE|COPY s1 h1 REPLACE|COPY new s1 REPLACE|COPY s1 s1|COPY s1 new DB 1
COPY z1 z1 DB 1|COPY t1 s1 DB 1 REPLACE|MOVE s1 1|MOVE h1 1|MOVE new 1|SWAPDB 0 1|TOUCH s1 l1
EXPIRE s1 100|PEXPIRE l1 100000|EXPIRE s1 -1|PEXPIRE s1 0|EXPIREAT s1 1|PEXPIREAT s1 -1|EXPIRE new 100|PERSIST s1|PERSIST new|PERSIST l1
EXPIREAT s1 99999999999|PEXPIREAT z1 9999999999999|FLUSHDB|FLUSHALL
"""
COUNTED = re.compile(r"\b(EX|PX|EXPIRE|PEXPIRE|SETEX|PSETEX)\b")
CASES = [case for text in (STRINGS, COLLECTIONS, GENERIC) for line in text.strip().split("\n") for case in line.split("|")]

# What 7.0 does not know: command -> key -> what becomes of its TTL. "keeps" what it has or has not; "counted": from now
# on; else PEXPIRETIME.
LATER = {
    "HEXPIRE h1 100 FIELDS 1 f": {"h1": "keeps"},
    "HPEXPIRE h1 100000 FIELDS 2 f g": {"h1": "keeps"},
    "HEXPIREAT h1 9999999999 FIELDS 1 f": {"h1": "keeps"},
    "HPEXPIREAT h1 9999999999999 FIELDS 1 f": {"h1": "keeps"},
    "HPEXPIREAT h1 1 FIELDS 1 f": {"h1": "keeps"},
    "HPEXPIREAT h1 1 FIELDS 2 f g": {"h1": -2},
    "HPERSIST h1 FIELDS 1 f": {"h1": "keeps"},
    "HGETDEL h1 FIELDS 1 f": {"h1": "keeps"},
    "HGETDEL h1 FIELDS 2 f g": {"h1": -2},
    "HGETEX h1 EX 100 FIELDS 1 f": {"h1": "keeps"},
    "HGETEX h1 PERSIST FIELDS 1 f": {"h1": "keeps"},
    "HSETEX h1 EX 100 FIELDS 1 f 9": {"h1": "keeps"},
    "HSETEX h1 KEEPTTL FIELDS 1 f 9": {"h1": "keeps"},
    "HSETEX new EX 100 FIELDS 1 f 9": {"new": -1},
    "SADDEX t1 100 a x": {"t1": "keeps"},
    "SADDEX new 100 a x": {"new": -1},
    "FIELDEXPIRE t1 100 a": {"t1": "keeps"},
    "FIELDEXPIRE h1 100 f": {"h1": "keeps"},
    "DELIFEQ s1 abc": {"s1": -2},
    "DELIFEQ s1 other": {"s1": "keeps"},
    "MSETEX 2 s1 v l1 w": {"s1": -1, "l1": -1},
    "MSETEX 2 s1 v new w KEEPTTL": {"s1": "keeps", "new": -1},
    "MSETEX 2 s1 v l1 w EX 100": {"s1": "counted", "l1": "counted"},
    "MSETEX 1 s1 v PXAT 9999999999999": {"s1": 9999999999999},
    "MSETEX 2 s1 v new w NX": {"s1": "keeps", "new": -2},
    "SET s1 v IFEQ abc": {"s1": -1},
    "SET s1 v IFEQ abc KEEPTTL": {"s1": "keeps"},
    "SET s1 v IFEQ other": {"s1": "keeps"},
}


def prepare(keys, ttl_of, base_ms):
    """The commands that make keys, of which those in ttl_of get each its own time."""
    lines = ["DEL " + k for k in ("new", "d")]
    for i, key in enumerate(keys):
        if key == "new":
            continue
        lines += ["DEL " + key, MAKE[key[0]] % key]
        if key in ttl_of:
            lines.append("PEXPIREAT %s %d" % (key, base_ms + (i + 1) * STEP_MS))
    return lines


def afterwards(keys):
    look = [line % k for k in keys for line in ("PEXPIRETIME %s", "TYPE %s")]
    return look + ["SELECT 1"] + look + ["FLUSHDB", "SELECT 0"]


def who_has_ttl(keys):
    """All, none, and each of several alone: what a key without does to one that has a time, and the reverse."""
    return [keys, []] + ([[k] for k in keys] if len(keys) > 1 else [])


def test_every_writing_command(servers, shards):
    ours, theirs = servers
    wrong, base_ms = [], far()
    for number, case in enumerate(CASES):
        command, is_random = case.lstrip("~"), case.startswith("~")
        keys = keys_of(command) or ["s1"]
        for variant, ttl_of in enumerate(who_has_ttl(keys)):
            prefix = "%d:%d:" % (number, variant)  # spreads the cases over shards
            made, after = prepare(keys, ttl_of, base_ms), afterwards(keys)
            a, b = (talk(c, made + [command] + after, prefix)[len(made):] for c in (ours, theirs))
            if not is_random and plain(a[0], False) != plain(b[0], False):
                wrong.append("%s, TTL of %s: says %r, redis %r" % (command, ttl_of, a[0], b[0]))
            for what, x, y in zip(after, a[1:], b[1:]):
                if x != y and not (COUNTED.search(command) and close(x, y)):
                    wrong.append("%s, TTL of %s: %s is %r, redis %r" % (command, ttl_of, what, x, y))
    assert not wrong, "\n".join(wrong)


def test_what_7_0_does_not_know(anax):
    wrong, base_ms = [], far()
    with anax.connect() as c:
        for number, (command, becomes) in enumerate(LATER.items()):
            keys = keys_of(command)
            for variant, ttl_of in enumerate(who_has_ttl(keys)):
                made = prepare(keys, ttl_of, base_ms)
                look = ["PEXPIRETIME " + k for k in keys]
                said = talk(c, made + look + [command] + look, "%d:%d:" % (number, variant))[len(made):]
                before, reply, after = said[:len(keys)], said[len(keys)], said[len(keys) + 1:]
                now_ms = int(time.time() * 1000)
                for key, x, y in zip(keys, before, after):
                    want = {"keeps": x, "counted": now_ms + 100_000}.get(becomes[key], becomes[key])
                    if isinstance(reply, Error) or not (y == want or becomes[key] == "counted" and close(y, want)):
                        wrong.append("%s says %r, TTL of %s: %s from %r to %r" % (command, reply, ttl_of, key, x, y))
    assert not wrong, "\n".join(wrong)


def test_no_writing_command_is_missing(anax2):
    """Whoever adds one says what it does to a TTL."""
    named = {case.lstrip("~").split()[0].lower() for case in CASES + list(LATER)} | {"restore", "migrate"}  # test_dump.py, test_migrate.py
    assert {n.decode().lower() for n in anax2.cmd("COMMAND", "LIST", "FILTERBY", "ACLCAT", "write")} <= named


# --- numbers and conditions ---

TIMES = ["50000", "0", "-1", "1000000", "9999999999", "9999999999999", "9223372036854775", "9223372036854776", "-9223372036854775",
         "9223372036854775807", "-9223372036854775808", "9223372036854775808", "4611686018427387904", "", "abc", "1.5", " 1", "1 ", "+1",
         "00"]
CONDITIONS = ["", "NX", "XX", "GT", "LT", "XX GT", "XX LT", "LT XX", "NX GT", "NX LT", "NX XX", "GT LT", "gt", "NX NX", "ZZ"]


def same_time(x, y, unit_ms):
    if isinstance(x, int) and isinstance(y, int):
        return x == y or close(x * unit_ms, y * unit_ms) or min(x, y) >= END_MS // unit_ms
    return x == y


def check_numbers(servers, commands, ttls):
    """Each command on a key of its own, which has, had or never had a time."""
    ours, theirs = servers
    lines, base_ms = [], far()
    for i, (command, ttl) in enumerate(itertools.product(commands, ttls)):
        key = "{n%d}s1" % i
        lines.append([b"DEL", key.encode()])
        if ttl != "absent":
            lines.append([b"SET", key.encode(), b"5"])
        if ttl == "has":
            lines.append([b"PEXPIREAT", key.encode(), b"%d" % base_ms])
        lines += [[w.encode().replace(b"KEY", key.encode()) for w in command], [b"PEXPIRETIME", key.encode()],
                  [b"EXPIRETIME", key.encode()]]
    a, b = ours.pipeline(lines), theirs.pipeline(lines)
    wrong = ["%r: %r, redis %r" % (lines[max(0, i - 3):i + 1], x.value, y.value) for i, (x, y) in enumerate(zip(a, b))
             if type(x.value) is not type(y.value) or not same_time(x.value, y.value, 1000 if lines[i][0] == b"EXPIRETIME" else 1)]
    assert not wrong, "%d wrong:\n%s" % (len(wrong), "\n".join(wrong[:30]))


def test_numbers_and_conditions_of_expire(servers):
    commands = [[name, "KEY", t] + condition.split() for name in ("EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT")
                for t, condition in itertools.product(TIMES, CONDITIONS)]
    check_numbers(servers, commands, ["has", "not", "absent"])


def test_numbers_of_other_commands(servers):
    commands = [command for t in TIMES for unit in ("EX", "PX", "EXAT", "PXAT") for command in
                (["SET", "KEY", "v", unit, t], ["GETEX", "KEY", unit, t])]
    commands += [[name, "KEY", t, "v"] for t in TIMES for name in ("SETEX", "PSETEX")]
    check_numbers(servers, commands, ["has", "absent"])


# --- the last millisecond ---


def test_neither_early_nor_late(anax):
    """Keys that expire one in each millisecond are asked for all the time by clients that compare with the clock: a key is there
    while its last millisecond has not passed, and is not when that was over before the question. Others keep all shards at work."""
    count, lasts = 150, 2
    start_ms = int(time.time() * 1000) + 300
    keys = [("k%d" % i, start_ms + i * lasts) for i in range(count)]
    done = threading.Event()

    def busy():
        with anax.connect() as c:
            while not done.is_set():
                c.pipeline([[b"SET", b"busy%d" % i, b"x" * 100] for i in range(400)])

    wrong = []
    with anax.connect() as c:
        for r in c.pipeline([[b"SET", k.encode(), b"v", b"PXAT", b"%d" % at] for k, at in keys]):
            assert r.value == b"OK"
        others = [threading.Thread(target=busy) for _ in range(2)]
        for t in others:
            t.start()
        asked = {b"GET": lambda v: v is not None, b"EXISTS": lambda v: v == 1, b"PTTL": lambda v: v >= 0, b"TYPE": lambda v: v != b"none"}
        try:
            for round in itertools.count():
                name, alive = list(asked.items())[round % len(asked)]
                before_ms = int(time.time() * 1000)
                said = [alive(r.value) for r in c.pipeline([[name, k.encode()] for k, _ in keys])]
                after_ms = int(time.time() * 1000)
                wrong += ["%s of one that had %d ms left" % (name, at - after_ms) for (_, at), there in zip(keys, said)
                          if not there and after_ms <= at]
                wrong += ["%s of one that was over for %d ms" % (name, before_ms - at) for (_, at), there in zip(keys, said)
                          if there and before_ms > at]
                if before_ms > keys[-1][1]:
                    break
        finally:
            done.set()
            for t in others:
                t.join()
    assert not wrong, "%d times: %s" % (len(wrong), wrong[:10])


# --- dead, and still stored ---


@pytest.fixture(scope="module")
def unswept():
    """Servers that expire nothing by themselves."""
    made = {}

    def get(kind, shards=1):
        if (kind, shards) not in made:
            made[kind, shards] = server = Server(kind, shards=shards, options=DEBUG)
            server.cmd("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        return made[kind, shards]

    yield get
    for server in made.values():
        server.stop()


# Keys with 1 are dead, those with 2 and d are alive. Several commands: one after the other.
DEAD = """
GET s1|GET s1;GET s1|MGET s1 n1 s2|MGET s1 l1 d|STRLEN s1|EXISTS s1 l1 s2 s1|TYPE h1|TTL z1|PTTL s1|EXPIRETIME s1|PEXPIRETIME s1|TOUCH s1 s2|OBJECT ENCODING s1
DEL s1 s2|DEL s1|UNLINK s1 l1 l2|GETDEL s1|GETSET s1 v|GETEX s1 PERSIST|SET s1 v NX|SET s1 v XX|SET s1 v GET|SET s1 v KEEPTTL|SET s1 v NX GET|SETNX s1 v
MSETNX s1 v n1 w|MSETNX s1 v s2 w|MSET s1 v n1 w|APPEND s1 v|INCR n1|SETRANGE s1 5 v|SETBIT s1 7 1|BITOP OR d s1 s2|BITOP AND d s1 n1|LCS s1 s2
EXPIRE s1 100|PEXPIREAT s1 1|PERSIST s1|RENAME s1 s2|RENAME s2 s1|RENAMENX s2 s1|RENAMENX s1 s2|COPY s1 s2 REPLACE|COPY s2 s1|COPY l2 s1|MOVE s1 1|SORT l1 ALPHA STORE d
LPUSH l1 x|LPUSHX l1 x|LRANGE l1 0 -1|LMOVE l1 l2 LEFT LEFT|LMOVE l2 l1 LEFT LEFT|LMPOP 2 l1 l2 LEFT|LPUSH s1 x|LLEN l1|RPOPLPUSH l1 l1
HSET h1 k 1|HGETALL h1|HDEL h1 f|SADD t1 x|SMEMBERS t1|SMOVE t1 t2 a|SMOVE t2 t1 a|SUNIONSTORE d t1 t2|SINTERSTORE d t1 t2|SDIFF t2 t1|SINTERCARD 2 t1 t2
ZADD z1 5 x|ZRANGE z1 0 -1|ZUNIONSTORE d 2 z1 z2|ZDIFFSTORE d 2 z2 z1|ZMPOP 2 z1 z2 MIN|ZRANGESTORE d z1 0 -1|ZUNION 2 z1 t1
MULTI;GET s1;SET s1 v;MGET s1 s2;EXISTS l1 l2;EXEC|MULTI;RENAME s1 s2;COPY s1 s2 REPLACE;GET s2;EXEC|WATCH s1;MULTI;GET s1;EXEC
WATCH s1;GET s1;MULTI;GET s1;EXEC|WATCH s1;SET s1 v;MULTI;GET s1;EXEC|KEYS *|SCAN|RANDOMKEY
SET s1 v|SUNIONSTORE t1 t2 t2|SINTERSTORE t1 t2 l1|BITOP OR s1 n1 n1|BITOP OR n1 s2 d|ZRANGESTORE z1 z2 5 9|ZRANGESTORE z1 z2 0 0|SORT l2 ALPHA STORE l1|SETEX s1 100 v|COPY h2 h1 REPLACE|LMOVE l2 l1 LEFT RIGHT
"""


def dead_case(c, prefix, lines, keys):
    """What the server says, then what there is, then how many went since, when all were looked at."""
    base = int(c.info("stats")["expired_keys"])
    c.ok("FLUSHALL")
    made = [line for k in keys for line in [MAKE[k[0]] % k] + ["PEXPIRE %s 1" % k] * k.endswith("1")]
    talk(c, made, prefix)
    until = time.time() + 0.003
    while time.time() < until:
        time.sleep(0.001)
    said = walk(c) if lines == ["SCAN"] else talk(c, lines, prefix)
    kept = c.cmd("DBSIZE")
    talk(c, ["EXISTS " + k for k in keys], prefix)
    return said, kept, c.cmd("DBSIZE"), int(c.info("stats")["expired_keys"]) - base


ALL_KEYS = [t + n for t in "snlhzt" for n in "12"] + ["d"]


def walk(c):
    """SCAN, to its end."""
    cursor, found = b"0", []
    while True:
        cursor, keys = c.cmd("SCAN", cursor, "COUNT", "1000")
        found += keys
        if cursor == b"0":
            return [found]


def same_dead(case, keys, a, b):
    """What is said, and what there is in the end. What is still stored before that is what Redis stores too, or it is more: who only
    looks at another shard's key, or at all keys, leaves it to the sweep. Each that was dead is counted, once; Redis does
    not count one whose place the result of nothing takes."""
    if case == "RANDOMKEY":
        a, b = ([x[0][0][-1:] in (b"2", b"d"), 0] + list(x[2:]) for x in (a, b))
    return plain(a[0], False) == plain(b[0], False) and a[1] >= b[1] and a[2] == b[2] and \
        a[3] == sum(k.endswith("1") for k in keys) >= b[3]


@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_dead_and_still_stored(unswept, shards):
    """Nobody sees it, nothing is done with it, and it is counted once when it goes."""
    wrong = []
    with unswept("anax", shards).connect() as ours, unswept("redis").connect() as theirs:
        for number, case in enumerate(c for line in DEAD.strip().split("\n") for c in line.split("|")):
            keys = keys_of(case.replace(";", " ")) or ALL_KEYS
            a, b = (dead_case(c, "%d:" % number, case.split(";"), keys) for c in (ours, theirs))
            if not same_dead(case, keys, a, b):
                wrong.append("%s\n  %r\n  %r" % (case, a, b))
    assert not wrong, "\n".join(wrong)
