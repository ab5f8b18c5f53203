"""rdb_maker.py: RDB files made by hand, byte for byte: what no server at hand writes, and what is wrong."""

import struct

from payloads import crc64

STRING, SET, MODULE_2 = 0, 2, 7
SLOT_IMPORT, SLOT_INFO, FUNCTION2, FUNCTION, MODULE_AUX, IDLE, FREQ, AUX, RESIZEDB, EXPIRE_MS, EXPIRE, SELECTDB, END = range(243, 256)


def length(n):
    if n < 1 << 6:
        return bytes([n])
    if n < 1 << 14:
        return struct.pack(">H", n | 0x4000)
    if n < 1 << 32:
        return b"\x80" + struct.pack(">I", n)
    return b"\x81" + struct.pack(">Q", n)


def text(b):
    b = b.encode() if isinstance(b, str) else b
    return length(len(b)) + b


def op(code, *parts):
    """An opcode, with what follows it."""
    return bytes([code]) + b"".join(length(p) if isinstance(p, int) else p if isinstance(p, bytes) else text(p) for p in parts)


def aux(name, value):
    return op(AUX, text(name), text(value))


def string(key, value):
    return op(STRING, text(key), text(value))


def members(key, *names):
    return op(SET, text(key), len(names), *map(text, names))


def expire_ms(ms):
    return op(EXPIRE_MS, struct.pack("<q", ms))


def module_id(name, version=1):
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    number = 0
    for letter in name:
        number = number << 6 | letters.index(letter)
    return number << 10 | version


def module_data():
    """One of each kind that a module can write, and the end."""
    return b"".join([length(2), length(7), length(1), length(9), length(5), text("some bytes"), length(4),
                     struct.pack("<d", 1.5), length(3), struct.pack("<f", 2.5), length(0)])


def module_key(key, module="vectorset"):
    return op(MODULE_2, text(key), module_id(module), module_data())


def rdb(*records, magic=b"REDIS0011", checksum=None, end=True):
    """A whole file. checksum: instead of the right one; 0: none."""
    body = magic + b"".join(records) + (op(END) if end else b"")
    if not end:
        return body
    return body + struct.pack("<Q", crc64(body) if checksum is None else checksum)
