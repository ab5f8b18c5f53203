"""coll.py: lists, sets and sorted sets in the model of exact.py.

Values     a list is a tuple of strings, a set a frozenset of them, a sorted set a Scores, absent ones None. None of them is
           ever changed: an op puts a new one into the state.
Ops        OPS names for each how it is made and how what it said is read: make(space, key, value) is a function that changes
           a list of values and returns what the server has to say, in the form in which the second one gives what it said.
           It raises WrongType before it has changed anything.
"""


class WrongType(Exception):
    """A key holds another type than the op takes."""


class Unordered(Exception):
    """SORT by what is no number: the server replies an error, which no history has."""


class Scores(frozenset):
    """Pairs of a member and its score."""


def holds(s, i, kind):
    """What is there, when it is of that kind; an empty one when nothing is."""
    value = s[i]
    if value is None:
        return kind()
    if type(value) is not kind:
        raise WrongType
    return value


def put(s, i, value):
    s[i] = value or None


# --- what was said --------------------------------------------------------------------------------------------


def plain(said):
    return said


def text(said):
    return None if said is None else str(said)


def row(said):
    return None if said is None else tuple(map(text, said))


def members(said):
    """In any order; one that is named twice is no set, and equal to none."""
    out = frozenset(map(str, said))
    return out if len(out) == len(said) else None


def scored(said):
    return tuple((str(m), score) for m, score in said)


def popped(read):
    return lambda said: None if said is None else (said[0], read(said[1]))


# --- lists ----------------------------------------------------------------------------------------------------


def push(at_head):
    def make(space, key, value):
        i, new = space.at(key), row(value[0])

        def run(s):
            old = holds(s, i, tuple)
            s[i] = new[::-1] + old if at_head else old + new
            return len(s[i])
        return run
    return make


def take(s, i, end, count):
    """The elements from one end, in the order in which they go."""
    old = holds(s, i, tuple)
    if end == "L":
        put(s, i, old[count:])
        return old[:count]
    put(s, i, old[:max(0, len(old) - count)])
    return old[::-1][:count]


def pop(end):
    def make(space, key, value):
        i, count = space.at(key), value[0]
        return lambda s: take(s, i, end, count) if holds(s, i, tuple) else None
    return make


def lmove(space, key, value):
    i, j, (source_end, target_end) = space.at(key), space.at(value[0]), value[1]

    def run(s):
        if not holds(s, i, tuple):
            return None
        holds(s, j, tuple)
        moved = take(s, i, source_end, 1)
        target = holds(s, j, tuple)
        s[j] = moved + target if target_end == "L" else target + moved
        return moved[0]
    return run


def mpop(kind, take_some):
    """From the first that has any."""
    def make(space, keys, value):
        at, end, count = [(key, space.at(key)) for key in keys], value[0], value[1]

        def run(s):
            for key, i in at:
                if holds(s, i, kind):
                    return key, take_some(s, i, end, count)
            return None
        return run
    return make


# --- sets -----------------------------------------------------------------------------------------------------


def sadd(space, key, value):
    i, new = space.at(key), frozenset(row(value[0]))

    def run(s):
        old = holds(s, i, frozenset)
        s[i] = old | new
        return len(s[i]) - len(old)
    return run


def srem(space, key, value):
    i, out = space.at(key), frozenset(row(value[0]))

    def run(s):
        old = holds(s, i, frozenset)
        put(s, i, old - out)
        return len(old & out)
    return run


def smove(space, key, value):
    i, j, member = space.at(key), space.at(value[0]), frozenset([str(value[1])])

    def run(s):
        source = holds(s, i, frozenset)
        if not source:
            return 0
        target = holds(s, j, frozenset)
        if not member <= source:
            return 0
        put(s, i, source - member)
        s[j] = target | member
        return 1
    return run


def intersection(sets):
    return frozenset.intersection(*sets)


def union(sets):
    return frozenset().union(*sets)


def difference(sets):
    return sets[0].difference(*sets[1:])


def of_sets(combine):
    def make(space, keys, value):
        at = [space.at(key) for key in keys]
        return lambda s: combine([holds(s, i, frozenset) for i in at])
    return make


def card(make_result):
    """How many a result has, up to a limit; 0: none."""
    def make(space, keys, value):
        result, limit = make_result(space, keys, None), value[0]

        def run(s):
            n = len(result(s))
            return min(n, limit) if limit else n
        return run
    return make


def store(make_result, kind):
    """What is made of value[0] becomes the key's value, whatever it was."""
    def make(space, key, value):
        i, result = space.at(key), make_result(space, value[0], None)

        def run(s):
            made = result(s)
            put(s, i, kind(made))
            return len(made)
        return run
    return make


# --- sorted sets ----------------------------------------------------------------------------------------------


def ordered(scores):
    return tuple(sorted(scores, key=lambda pair: (pair[1], pair[0])))


def zadd(space, key, value):
    i, new = space.at(key), {str(m): score for m, score in value[0]}

    def run(s):
        old = holds(s, i, Scores)
        s[i] = Scores({**dict(old), **new}.items())
        return len(s[i]) - len(old)
    return run


def zincrby(space, key, value):
    i, member, delta = space.at(key), str(value[0]), value[1]

    def run(s):
        scores = dict(holds(s, i, Scores))
        scores[member] = scores.get(member, 0) + delta
        s[i] = Scores(scores.items())
        return scores[member]
    return run


def zrem(space, key, value):
    i, out = space.at(key), set(row(value[0]))

    def run(s):
        old = holds(s, i, Scores)
        put(s, i, Scores(pair for pair in old if pair[0] not in out))
        return len(old) - len(s[i] or ())
    return run


def take_scored(s, i, end, count):
    old = ordered(s[i])
    went = old[:count] if end == "MIN" else old[::-1][:count]
    put(s, i, Scores(s[i].difference(went)))
    return went


def with_scores(s, i):
    """A set's members have the score 1."""
    value = s[i]
    if type(value) is frozenset:
        return dict.fromkeys(value, 1)
    return dict(holds(s, i, Scores))


def added_up(maps, names):
    return ordered((m, sum(scores.get(m, 0) for scores in maps)) for m in names)


def of_scores(names_of):
    def make(space, keys, value):
        at = [space.at(key) for key in keys]

        def run(s):
            maps = [with_scores(s, i) for i in at]
            return added_up(maps, names_of([frozenset(m) for m in maps]))
        return run
    return make


def zrangestore(space, key, value):
    i, j, first, last = space.at(key), space.at(value[0]), value[1], value[2]

    def run(s):
        source = ordered(holds(s, j, Scores))
        low, high = (n + len(source) if n < 0 else n for n in (first, last))
        some = source[max(0, low):max(0, high + 1)]
        put(s, i, Scores(some))
        return len(some)
    return run


# --- of several types -----------------------------------------------------------------------------------------


def whole(kind, show):
    def make(space, key, value):
        i = space.at(key)
        return lambda s: show(holds(s, i, kind))
    return make


def weight(value):
    try:
        return float(value or 0)
    except ValueError:
        raise Unordered from None


def elements(value):
    if isinstance(value, str):
        raise WrongType
    return [pair[0] for pair in value] if type(value) is Scores else list(value or ())


def sort(space, key, value):
    i, (by, gets, to, _) = space.at(key), value

    def looked_up(s, pattern, element):
        if "*" not in pattern:
            return element if pattern == "#" else None
        found = space.find(key, pattern.replace("*", element, 1))
        return s[found] if found is not None and isinstance(s[found], str) else None

    def run(s):
        order = sorted(elements(s[i]), key=lambda e: (weight(e if by is None else looked_up(s, by, e)), e))
        out = tuple(looked_up(s, get, e) for e in order for get in gets or ["#"])
        if to is None:
            return out
        put(s, space.at(to), tuple(e or "" for e in out))
        return len(out)
    return run


def told(said_when_not_stored):
    return lambda said: said if isinstance(said, int) else said_when_not_stored(said)


OPS = {
    "lpush": (push(True), plain), "rpush": (push(False), plain), "lpop": (pop("L"), row), "rpop": (pop("R"), row),
    "lmove": (lmove, text), "lmpop": (mpop(tuple, take), popped(row)), "lrange": (whole(tuple, tuple), row),
    "llen": (whole(tuple, len), plain),
    "sadd": (sadd, plain), "srem": (srem, plain), "smove": (smove, plain), "smembers": (whole(frozenset, frozenset), members),
    "scard": (whole(frozenset, len), plain),
    "zadd": (zadd, plain), "zincrby": (zincrby, plain), "zrem": (zrem, plain), "zmpop": (mpop(Scores, take_scored), popped(scored)),
    "zrange": (whole(Scores, ordered), scored), "zcard": (whole(Scores, len), plain), "zrangestore": (zrangestore, plain),
    "sort": (sort, told(row)),
}
for name, names_of in (("inter", intersection), ("union", union), ("diff", difference)):
    OPS["s" + name] = of_sets(names_of), members
    OPS["z" + name] = of_scores(names_of), scored
    OPS["s" + name + "store"] = store(of_sets(names_of), frozenset), plain
    OPS["z" + name + "store"] = store(of_scores(names_of), Scores), plain
OPS["sintercard"] = card(of_sets(intersection)), plain
OPS["zintercard"] = card(of_scores(intersection)), plain
