"""payloads.py: what DUMP returns, made by hand."""

import struct

POLYNOMIAL = 0x95AC9329AC4BC9B5  # Jones's, reflected


def _table():
    out = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (POLYNOMIAL if i & 1 else 0)
        out.append(i)
    return out


TABLE = _table()


def crc64(data, crc=0):
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc


def seal(body, version):
    """A payload with these bytes of type and value."""
    body += struct.pack("<H", version)
    return body + struct.pack("<Q", crc64(body))


def version(payload):
    return struct.unpack("<H", payload[-10:-8])[0]


def text(b):
    """A short string as RDB has it."""
    assert len(b) < 64
    return bytes([len(b)]) + b


def ziplist(*entries):
    """Of short texts, and of integers of one byte."""
    body, before, last = b"", 0, 0
    for e in entries:
        one = bytes([before]) + (b"\xfe" + struct.pack("b", e) if isinstance(e, int) else text(e))
        last = 10 + len(body)
        body += one
        before = len(one)
    total = 11 + len(body)
    return struct.pack("<IIH", total, last if entries else 10, len(entries)) + body + b"\xff"


def zipmap(*pairs):
    out = bytes([len(pairs)])
    for name, value in pairs:
        out += text(name) + bytes([len(value), 0]) + value
    return out + b"\xff"


OLD = {
    "list": b"\x01\x03" + text(b"a") + b"\xc0\x05" + text(b"ccc"),
    "set": b"\x02\x02" + text(b"a") + text(b"b"),
    "zset": b"\x03\x04" + text(b"a") + text(b"1.5") + text(b"b") + b"\xfe" + text(b"c") + b"\xff" + text(b"d") + text(b"-3"),
    "hash": b"\x04\x02" + text(b"f") + text(b"v") + text(b"g") + b"\xc1\x10\x27",
    "zset2": b"\x05\x01" + text(b"a") + struct.pack("<d", 0.1),
    "hash-zipmap": b"\x09" + text(zipmap((b"f", b"v"), (b"g", b"ww"))),
    "list-ziplist": b"\x0a" + text(ziplist(b"a", 5, b"cc", -7)),
    "set-intset": b"\x0b" + text(struct.pack("<IIhhh", 2, 3, -5, 1, 300)),
    "zset-ziplist": b"\x0c" + text(ziplist(b"a", 1, b"b", b"2.5")),
    "hash-ziplist": b"\x0d" + text(ziplist(b"f", b"v", b"g", 3)),
    "quicklist": b"\x0e\x02" + text(ziplist(b"a", 1)) + text(ziplist(b"b", b"c")),
}


def listpack(*entries):
    """Of short texts, and of integers of 7 or 64 bits."""
    body = b""
    for e in entries:
        if isinstance(e, int):
            one = bytes([e]) if 0 <= e < 128 else b"\xf4" + struct.pack("<q", e)
        else:
            one = bytes([0x80 | len(e)]) + e
        body += one + bytes([len(one)])
    return struct.pack("<IH", 7 + len(body), len(entries)) + body + b"\xff"


FAR = 9999999999999  # ms
TIMES = ["HPEXPIRETIME", "k", "FIELDS", "2", "f", "g"]
FIELDS = [(["HGET", "k", "f"], b"v"), (["HGET", "k", "g"], b"w"), (["HLEN", "k"], 2)]

NEW = {  # version, type and value, [(command, reply)]
    "set-listpack": (11, b"\x14" + text(listpack(b"a", 7, b"b")), [(["SMEMBERS", "k"], [b"7", b"a", b"b"])]),
    "hash-metadata": (12, b"\x18" + struct.pack("<q", FAR) + b"\x02" + b"\x01" + text(b"f") + text(b"v") + b"\x00" + text(b"g") +
                      text(b"w"), [*FIELDS, (TIMES, [FAR, -1])]),
    "hash-listpack-ex": (12, b"\x19" + struct.pack("<q", FAR) + text(listpack(b"f", b"v", FAR, b"g", b"w", 0)),
                         [*FIELDS, (TIMES, [FAR, -1])]),
    "valkey-hash": (80, b"\x16\x02" + text(b"f") + text(b"v") + struct.pack("<q", FAR) + text(b"g") + text(b"w") +
                    struct.pack("<q", -1), [*FIELDS, (TIMES, [FAR, -1])]),
}
