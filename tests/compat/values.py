"""values.py: commands that make keys of every type and encoding, the same for every server that knows them.

Why        digests, payloads and files are compared over the same keys; a key's name says what is in it.
"""

import random


def texts(n, size, seed=0):
    """n different texts of about this many bytes; some compress well, some not at all."""
    rng = random.Random("%d %d %d" % (n, size, seed))
    out = []
    for i in range(n):
        body = rng.randbytes(size) if i % 2 else (b"ab%d-" % i) * (size // 4 + 1)
        out.append(b"%d:" % i + body[:size])
    return out


def strings():
    numbers = [0, 1, -1, 12, 127, 128, -128, -129, 255, 32767, 32768, -32768, -32769, 65535, 2**31 - 1, 2**31, -2**31,
               -2**31 - 1, 2**63 - 1, -2**63]
    for n in numbers:
        yield ["SET", "string:%d" % n, n]
    for name, text in {"empty": b"", "zeros": b"007", "plus": b"+1", "minus-zero": b"-0", "float": b"3.25",
                       "beyond": b"9223372036854775808", "bytes": bytes(range(256)), "newline": b"a\r\nb",
                       "20": b"x" * 20, "21": b"x" * 21, "44": b"y" * 44, "45": b"y" * 45}.items():
        yield ["SET", "string:" + name, text]
    for size in (63, 64, 1000, 1023, 1024, 16383, 16384, 100000):
        yield ["SET", "string:same-%d" % size, b"z" * size]
        yield ["SET", "string:random-%d" % size, random.Random(size).randbytes(size)]
    yield ["SETRANGE", "string:range", 5, "12"]
    yield ["APPEND", "string:appended", "12"]
    yield ["APPEND", "string:appended", "34"]
    yield ["SETBIT", "string:bits", 100, 1]


def lists():
    yield ["RPUSH", "list:one", "a"]
    yield ["RPUSH", "list:empty-element", ""]
    yield ["RPUSH", "list:ints", *range(-70, 70), 2**31, -2**31, 2**40, 2**63 - 1, -2**63, 4095, 4096, -4096, 8388607]
    yield ["RPUSH", "list:texts", *texts(60, 40)]
    yield ["RPUSH", "list:uniform", *[b"%032d" % i for i in range(3000)]]
    yield ["RPUSH", "list:mixed", *texts(700, 50), *range(300)]
    yield ["RPUSH", "list:large", *texts(5, 20000), "tail"]
    yield ["RPUSH", "list:lengths", *[b"q" * n for n in (1, 62, 63, 64, 65, 4094, 4095, 4096, 4097, 9000)]]


def sets():
    yield ["SADD", "set:one-int", 7]
    yield ["SADD", "set:one-text", "a"]
    yield ["SADD", "set:int16", *range(-100, 100)]
    yield ["SADD", "set:int32", *range(2**20, 2**20 + 300), -2**31]
    yield ["SADD", "set:int64", 1, 2**33, -2**33, 2**63 - 1, -2**63]
    yield ["SADD", "set:many-ints", *range(0, 6000, 2)]
    yield ["SADD", "set:far-ints", *[i * 2**34 for i in range(700)]]
    yield ["SADD", "set:texts", *texts(50, 20)]
    yield ["SADD", "set:many-texts", *texts(900, 30)]
    yield ["SADD", "set:mixed", *texts(20, 10), *range(20)]
    yield ["SADD", "set:many-mixed", *texts(400, 10), *range(400)]
    yield ["SADD", "set:long-text", "l" * 65, "s"]
    yield ["SADD", "set:empty-member", "", "x"]


def hashes():
    yield ["HSET", "hash:one", "f", "v"]
    yield ["HSET", "hash:empty-texts", "", "", "f", ""]
    yield ["HSET", "hash:ints", *range(60)]
    yield ["HSET", "hash:texts", *texts(100, 30)]
    yield ["HSET", "hash:long-value", "f", "v" * 65]
    yield ["HSET", "hash:long-name", "f" * 300, "v"]
    yield ["HSET", "hash:many", *texts(2400, 12)]
    yield ["HSET", "hash:large-values", *texts(12, 30000)]


def zsets():
    scores = ["0", "-0", "1", "-1", "1.5", "0.1", "3.0000000000000004", "1e300", "-1e300", "5e-324", "inf", "-inf",
              "123456789", "9007199254740993", "1e17", "-0.001"]
    yield ["ZADD", "zset:one", "1", "a"]
    yield ["ZADD", "zset:scores", *[x for i, s in enumerate(scores) for x in (s, "m%d" % i)]]
    yield ["ZADD", "zset:ints", *[x for i in range(60) for x in (i, i * 1000)]]
    yield ["ZADD", "zset:equal", *[x for t in texts(60, 20) for x in ("2.25", t)]]
    yield ["ZADD", "zset:many", *[x for i, t in enumerate(texts(700, 20)) for x in (str(i * 0.37 - 50), t)]]
    yield ["ZADD", "zset:long-member", "1", "l" * 65, "2", "s"]
    yield ["ZADD", "zset:huge-member", "1", b"h" * 5000, "2", b"i" * 70000]
    yield ["ZADD", "zset:empty-member", "1", ""]


def plain():
    """What every server since Redis 2.6 can hold."""
    for make in (strings, lists, sets, hashes, zsets):
        yield from make()
    # An encoding stays when what made it so has gone.
    yield ["HDEL", "hash:long-name", "f" * 300]
    yield ["HSET", "hash:long-name", "g", "w"]
    yield ["SREM", "set:long-text", "l" * 65]
    yield ["ZREM", "zset:long-member", "l" * 65]


def with_times():
    yield ["SET", "timed:string", "v", "EX", 100000]
    yield ["RPUSH", "timed:list", "v"]
    yield ["EXPIRE", "timed:list", 100000]
    yield ["HSET", "timed:hash", *texts(2000, 5)]
    yield ["PEXPIREAT", "timed:hash", 9999999999999]


def fill(conn, commands):
    """Runs all of them; names of their keys, in order."""
    commands = [c for c in commands]
    for command, reply in zip(commands, conn.pipeline(commands)):
        assert not reply.raw.startswith(b"-"), (command[:3], reply.raw[:200])
    return list(dict.fromkeys(c[1] for c in commands))
