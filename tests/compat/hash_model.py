"""hash_model.py: hashes whose fields have times, as Redis 8 documents them.

Times of the model are Unix ms that have passed long ago or lie far ahead (is_past), so that no clock is needed.
"""

FUTURE_MS = 4_102_444_800_000  # the year 2100
LIMIT_MS = 2**46 - 1
NO_FIELD, NO_TIME, FAILED, SET, PASSED = -2, -1, 0, 1, 2


def is_past(ms):
    return ms < 1_700_000_000_000


def allowed(conditions, now, wanted):
    """NX, XX, GT, LT; without a time a field expires after every other."""
    return not ("NX" in conditions and now is not None or "XX" in conditions and now is None or
                "GT" in conditions and (now is None or wanted <= now) or
                "LT" in conditions and now is not None and wanted >= now)


class Model:
    def __init__(self):
        self.keys = {}  # key -> field -> (value, ms or None)

    def fields(self, key):
        return self.keys.get(key, {})

    def _write(self, key, fields):
        """An empty hash is no key."""
        if fields:
            self.keys[key] = fields
        else:
            self.keys.pop(key, None)

    def hset(self, key, pairs):
        fields = dict(self.fields(key))
        added = len({f for f, _ in pairs} - set(fields))
        fields.update((f, (v, None)) for f, v in pairs)
        self._write(key, fields)
        return added

    def hsetnx(self, key, field, value):
        return 0 if field in self.fields(key) else self.hset(key, [(field, value)])

    def hdel(self, key, names):
        fields = dict(self.fields(key))
        gone = sum(fields.pop(f, None) is not None for f in names)
        self._write(key, fields)
        return gone

    def hincrby(self, key, field, delta):
        fields = dict(self.fields(key))
        value, ms = fields.get(field, (b"0", None))
        try:
            if str(int(value)).encode() != value:
                raise ValueError
        except ValueError:
            return b"ERR hash value is not an integer"
        fields[field] = (b"%d" % (int(value) + delta), ms)
        self._write(key, fields)
        return int(fields[field][0])

    def expire(self, key, names, ms, conditions=()):
        fields = dict(self.fields(key))
        out = []
        for f in names:
            if f not in fields:
                out.append(NO_FIELD)
            elif not allowed(conditions, fields[f][1], ms):
                out.append(FAILED)
            elif is_past(ms):
                del fields[f]
                out.append(PASSED)
            else:
                fields[f] = (fields[f][0], ms)
                out.append(SET)
        self._write(key, fields)
        return out

    def persist(self, key, names):
        fields = dict(self.fields(key))
        out = []
        for f in names:
            out.append(NO_FIELD if f not in fields else NO_TIME if fields[f][1] is None else SET)
            if f in fields:
                fields[f] = (fields[f][0], None)
        self._write(key, fields)
        return out

    def times(self, key, names):
        return [NO_FIELD if f not in self.fields(key) else self.fields(key)[f][1] or NO_TIME for f in names]

    def values(self, key, names):
        return [self.fields(key).get(f, (None,))[0] for f in names]

    def getdel(self, key, names):
        out = []
        for f in names:
            out += self.values(key, [f])
            self.hdel(key, [f])
        return out

    def getex(self, key, names, ms, persist):
        out = []
        for f in names:
            out += self.values(key, [f])
            if persist:
                self.persist(key, [f])
            elif ms is not None:
                self.expire(key, [f], ms)
        return out

    def setex(self, key, pairs, ms, keep, field_condition, key_condition):
        fields = dict(self.fields(key))
        there = [f in fields for f, _ in pairs]
        if field_condition == "FNX" and any(there) or field_condition == "FXX" and not all(there) or \
                key_condition == "NX" and fields or key_condition == "XX" and not fields:
            return 0
        for f, v in pairs:
            fields[f] = (v, fields.get(f, (None, None))[1] if keep else ms)
        if ms is not None and is_past(ms):
            for f, _ in pairs:
                fields.pop(f, None)
        self._write(key, fields)
        return 1
