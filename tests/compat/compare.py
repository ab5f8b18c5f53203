"""compare.py: when two replies are the same reply.

"exact" means the same bytes. The other comparisons exist because time passes between the two servers,
because order is not promised, or because a value names the process (an id, an address). An error is
always compared byte for byte.
"""

from harness import Double, Error, Map, NULL_ARRAY, Set, SLOW

import differences

CLOCK_S = 10 if SLOW else 3  # how far apart two servers may execute the same pipeline


def kind(value):
    """The protocol type of a reply."""
    if value is None or value is NULL_ARRAY:
        return "null"
    return type(value).__name__


def same_int(ours, theirs, tolerance):
    if not isinstance(ours, int) or not isinstance(theirs, int):
        return False
    if ours < 0 or theirs < 0:
        return ours == theirs
    return abs(ours - theirs) <= tolerance


def shape(ours, theirs):
    if kind(ours) != kind(theirs):
        return False
    if isinstance(theirs, Error):
        return ours == theirs
    return True


def unordered(ours, theirs):
    if kind(ours) != kind(theirs):
        return False
    if isinstance(theirs, list):
        return sorted(ours) == sorted(theirs)
    return ours == theirs


def scan(ours, theirs):
    """One step of SCAN: cursors and how much a step returns are the server's own affair."""
    if isinstance(theirs, Error) or isinstance(ours, Error):
        return ours == theirs
    return [kind(v) for v in ours] == [kind(v) for v in theirs] and all(
        isinstance(k, bytes) for k in ours[1])


HELLO_OWN = {b"server", b"version", b"id"}


def hello(ours, theirs):
    if isinstance(theirs, Error) or kind(ours) != kind(theirs):
        return ours == theirs
    if isinstance(theirs, Map):
        pairs_a, pairs_b = list(ours), list(theirs)
    else:
        pairs_a = list(zip(ours[::2], ours[1::2]))
        pairs_b = list(zip(theirs[::2], theirs[1::2]))
    named_a = {k: v for k, v in pairs_a if k not in HELLO_OWN}
    named_b = {k: v for k, v in pairs_b if k not in HELLO_OWN}
    return named_a == named_b and {k for k, _ in pairs_a} == {k for k, _ in pairs_b}


COMPARISONS = {
    "seconds": lambda a, b: same_int(a, b, CLOCK_S),
    "millis": lambda a, b: same_int(a, b, CLOCK_S * 1000),
    "shape": shape,
    "presence": lambda a, b: kind(a) == kind(b),
    "unordered": unordered,
    "scan": scan,
    "hello": hello,
}


def same(row, args, ours, theirs):
    """ours, theirs: harness.Reply."""
    if ours.raw == theirs.raw:
        return True
    compare = COMPARISONS.get(row.compare)
    if compare and compare(ours.value, theirs.value):
        if not isinstance(theirs.value, (Error, Double, Set)):
            return True
    return differences.intended(args, ours, theirs) is not None
