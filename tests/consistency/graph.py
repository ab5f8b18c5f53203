"""graph.py: decides strict serializability of list-append and register histories by their dependencies.

Why        A list that is only appended to shows, whenever it is read, in which order all its appends took
           effect. So who wrote what somebody read, and who overwrote it, is known, and a history is
           possible exactly when these dependencies, together with real time, form no cycle.
Edges      ww: overwrote what the other wrote. wr: read what the other wrote. rw: read what the other overwrote.
           rt: ended before the other began. pipe: sent before the other, on one connection, with a key in common.
Real time  n transactions have up to n^2/2 rt edges. Instead there is a node for each moment at which something
           has ended and something else is about to begin, each with an edge to the next: O(n).
Registers  say only what was read from whom. Which of two writes came first is inferred until nothing is new:
           a write that must be before a read is before the write which that read saw; and who read from a write
           is before every later write. Bit sets over the register writers, in topological order, make
           this cheap. It proves most violations, not all: checker.py lets the exact search have the last word.
Sound      What is reported here is never possible, info transactions having happened or not as it suits the server:
           one that nobody saw is left out.
"""

import collections

from history import LIST_OPS, NEVER, REGISTER_OPS

WW, WR, RW, PIPE, RT = "ww", "wr", "rw", "pipe", "rt"
Edge = collections.namedtuple("Edge", "to kind why")
REPORTS_MAX = 20


class Violation:
    def __init__(self, kind, text):
        self.kind, self.text = kind, text

    def __str__(self):
        return "%s: %s" % (self.kind, self.text)

    __repr__ = __str__


def shown(values):
    """A list that may be long."""
    return str(values) if len(values) <= 12 else "[%d more, %s]" % (len(values) - 10, ", ".join(map(str, values[-10:])))


def check(txs):
    """Violations of a history of which only append, r, w and rr are looked at; an empty list: none found."""
    return Analysis(txs).run()


class Analysis:
    def __init__(self, txs):
        self.txs = txs
        self.violations = []
        self.edges = [[] for _ in txs]
        self.appends = collections.defaultdict(dict)  # key -> value -> tx
        self.appended = collections.defaultdict(list)  # (tx index, key) -> values, in its order
        self.reads = collections.defaultdict(list)  # key -> (tx, whole list, how many of its last are its own)
        self.writes = collections.defaultdict(dict)  # key -> value -> (tx, is it the last that tx wrote there)
        self.register_reads = collections.defaultdict(list)  # key -> (tx, value)
        self.writers_of = {}  # key -> {register writer: its readers}
        self.happened = []  # that took effect as far as anybody can tell

    def run(self):
        self.collect()
        self.order_lists()
        self.order_registers()
        if not self.violations:  # else edges made from what cannot be right would only repeat what is known
            self.order_clients()
            self.order_time()
            cycle = self.saturate()
            if cycle is not None:
                self.report_cycles(cycle)
        return self.violations[:REPORTS_MAX]

    def before(self):
        """After run() found nothing: (a, b) for indexes of transactions where a must take effect before b."""
        return [(a, e.to) for a in range(len(self.txs)) for e in self.edges[a] if e.to < len(self.txs)]

    def bad(self, kind, text, *args):
        self.violations.append(Violation(kind, text % args))

    def edge(self, a, b, kind, why):
        if a is not b:
            self.edges[a.index].append(Edge(b.index, kind, why))

    # --- what each transaction says -------------------------------------------------------------------

    def collect(self):
        for tx in self.txs:
            self._collect_lists(tx)
            self._collect_registers(tx)
        seen = {self.appends[key].get(v) for key, reads in self.reads.items()
                for v in set().union(*(values for _, values, _ in reads))}
        seen |= {self.writes[key].get(v, (None,))[0] for key, reads in self.register_reads.items() for _, v in reads}
        self.happened = [tx for tx in self.txs if tx.type == "ok" or tx.type == "info" and tx in seen]

    def _collect_lists(self, tx):
        known, own = {}, collections.defaultdict(list)  # known: what the list must be, once read
        for f, key, value in tx.ops:
            if f == "append":
                if value in self.appends[key]:
                    self.bad("malformed", "%s is appended to %s twice, by %s and %s", value, key, self.appends[key][value], tx)
                self.appends[key][value] = tx
                self.appended[tx.index, key].append(value)
                own[key].append(value)
                if key in known:
                    known[key] = known[key] + [value]
            elif f == "r" and tx.type == "ok":
                mine = own[key]
                if key in known and known[key] != value:
                    self.bad("internal", "%s had to be %s when it was read again in %s", key, shown(known[key]), tx)
                elif mine and value[-len(mine):] != mine:
                    self.bad("internal", "%s does not end with %s that the transaction appended: %s", key, mine, tx)
                else:
                    self.reads[key].append((tx, value, len(mine)))
                known[key] = value

    def _collect_registers(self, tx):
        known, wrote, got = {}, {}, []
        for f, key, value in tx.ops:
            if f == "w":
                if value in self.writes[key]:
                    self.bad("malformed", "%s is written to %s twice, by %s and %s", value, key, self.writes[key][value][0], tx)
                if key in wrote:
                    self.writes[key][wrote[key]] = (tx, False)
                self.writes[key][value] = (tx, True)
                wrote[key] = known[key] = value
            elif f == "rr" and tx.type == "ok":
                if key in known and known[key] != value:
                    self.bad("internal", "%s had to be %s when it was read in %s", key, known[key], tx)
                elif key not in known:
                    got.append((key, value))
                known[key] = value
        for key, value in got:
            self.register_reads[key].append((tx, value))

    # --- lists ----------------------------------------------------------------------------------------

    def order_lists(self):
        for key, reads in self.reads.items():
            longest_tx, longest, _ = max(reads, key=lambda r: len(r[1]))
            before = len(self.violations)
            self._check_elements(key, longest_tx, longest)
            for tx, values, _ in reads:
                if values is not longest and values != longest[:len(values)]:
                    self._check_elements(key, tx, values)
                    self.bad("incompatible order", "%s is %s in %s, but %s in %s",
                             key, shown(values), tx, shown(longest), longest_tx)
            if len(self.violations) == before:
                self._link_list(key, reads, longest)

    def _check_elements(self, key, tx, values):
        """Everything in the list was appended, once, by who had an effect, and all of it together."""
        places = {}
        for i, v in enumerate(values):
            writer = self.appends[key].get(v)
            if v in places:
                self.bad("duplicate", "%s is in %s twice: %s", v, key, tx)
            elif writer is None:
                self.bad("garbage read", "nobody appended %s to %s: %s", v, key, tx)
            elif writer.type == "fail":
                self.bad("aborted read", "%s of %s comes from %s, which failed: %s", v, key, writer, tx)
            places.setdefault(v, i)
        for v, i in places.items():
            writer = self.appends[key].get(v)
            wrote = writer and self.appended[writer.index, key]
            if not wrote or writer is tx or wrote[0] != v and wrote[0] in places:
                continue
            if values[i:i + len(wrote)] != wrote:
                whole = all(w in places for w in wrote)
                self.bad("incompatible order" if whole else "intermediate read",
                         "%s of %s is not seen as one piece, %s, in %s", writer, key, wrote, tx)

    def _link_list(self, key, reads, longest):
        writers, version_at = [], [0]  # version_at[length]: how many writers made it
        for i, v in enumerate(longest):
            w = self.appends[key][v]
            if not writers or writers[-1] is not w:
                writers.append(w)
            version_at.append(len(writers))
        happened = set(self.happened)
        unseen = {tx: None for tx in self.appends[key].values() if tx in happened}
        for w in writers:
            unseen.pop(w, None)
        for a, b in zip(writers, writers[1:]):
            self.edge(a, b, WW, "%s: appended %s after %s" % (key, self.appended[b.index, key][0], self.appended[a.index, key][-1]))
        for u in unseen:
            if writers:
                self.edge(writers[-1], u, WW, "%s: nobody saw %s yet" % (key, self.appended[u.index, key][0]))
        for tx, values, own in reads:
            self._link_read(key, tx, values[:len(values) - own], writers, version_at, unseen)
            for u in unseen:
                if u.end < tx.start:
                    self.bad("lost append", "%s is not in %s of %s", u, key, tx)

    def _link_read(self, key, tx, values, writers, version_at, unseen):
        version = version_at[len(values)]
        if tx in writers[:version]:
            self.bad("internal", "%s of %s shows what is only appended later: %s", shown(values), key, tx)
            return
        if version and self.appended[writers[version - 1].index, key][-1] != values[-1]:
            self.bad("intermediate read", "%s of %s is not seen as one piece in %s", writers[version - 1], key, tx)
            return
        if version:
            self.edge(writers[version - 1], tx, WR, "%s: read %s" % (key, values[-1]))
        for w in writers[version:version + 1] or unseen:
            self.edge(tx, w, RW, "%s: did not see %s" % (key, self.appended[w.index, key][0]))

    # --- registers ------------------------------------------------------------------------------------

    def order_registers(self):
        happened = set(self.happened)
        for key in set(self.writes) | set(self.register_reads):
            writers = {}
            initial = []
            for tx, value in self.register_reads[key]:
                writer, last = self.writes[key].get(value, (None, True))
                if value is None:
                    initial.append(tx)
                elif writer is None:
                    self.bad("garbage read", "nobody wrote %s to %s: %s", value, key, tx)
                elif writer is tx:
                    self.bad("internal", "%s is read from %s before it is written: %s", value, key, tx)
                elif writer.type == "fail":
                    self.bad("aborted read", "%s of %s comes from %s, which failed: %s", value, key, writer, tx)
                elif not last:
                    self.bad("intermediate read", "%s of %s was overwritten in the same transaction %s: %s", value, key, writer, tx)
                else:
                    writers.setdefault(writer, []).append(tx)
                    self.edge(writer, tx, WR, "%s: read %s" % (key, value))
            for value, (tx, last) in self.writes[key].items():
                if last and tx in happened:
                    writers.setdefault(tx, [])
            for tx in initial:
                for w in writers:
                    self.edge(tx, w, RW, "%s: read that it is absent" % key)
            self.writers_of[key] = writers

    # --- clients and time -----------------------------------------------------------------------------

    def order_clients(self):
        last = collections.defaultdict(dict)  # client -> key -> tx
        for tx in self.happened:
            mine = last[tx.client]
            keys = {op[1] for op in tx.ops if op[0] in LIST_OPS or op[0] in REGISTER_OPS}
            for key in sorted(keys):
                before = mine.get(key)
                if before is not None and before.end >= tx.start:
                    self.edge(before, tx, PIPE, "%s: sent first" % key)
                mine[key] = tx

    def order_time(self):
        events = []  # a start at the time of an end counts as before it
        for tx in self.happened:
            events.append((tx.start, 0, tx.index))
            if tx.end != NEVER:
                events.append((tx.end, 1, tx.index))
        events.sort()
        moment, ended = None, []
        for _, is_end, index in events:
            if is_end:
                ended.append(index)
                continue
            if ended:
                self.edges.append([])
                new = len(self.edges) - 1
                for i in ended + ([] if moment is None else [moment]):
                    self.edges[i].append(Edge(new, RT, None))
                moment, ended = new, []
            if moment is not None:
                self.edges[moment].append(Edge(index, RT, None))

    # --- cycles ---------------------------------------------------------------------------------------

    def topological(self):
        """All nodes in an order that agrees with the edges; None when there is a cycle."""
        missing = [0] * len(self.edges)
        for edges in self.edges:
            for e in edges:
                missing[e.to] += 1
        order = [i for i, n in enumerate(missing) if n == 0]
        for i in order:  # grows meanwhile
            for e in self.edges[i]:
                missing[e.to] -= 1
                if missing[e.to] == 0:
                    order.append(e.to)
        return order if len(order) == len(self.edges) else None

    def saturate(self):
        """Infers the order of register writes. None, or the nodes on cycles."""
        inferred = set()
        while True:
            order = self.topological()
            if order is None:
                return components(self.edges, (WW, WR, RW, PIPE, RT))
            new = [e for e in self._infer(order) if e[:3] not in inferred] if self.writers_of else []
            if not new:
                return None
            for a, b, kind, why in new:
                inferred.add((a, b, kind))
                self.edges[a].append(Edge(b, kind, why))

    def _infer(self, order):
        writers = {w.index for ws in self.writers_of.values() for w in ws}
        bit, by_bit = {}, []
        for i in order:
            if i in writers:
                bit[i] = len(by_bit)
                by_bit.append(i)
        before = [0] * len(self.edges)  # of each node: the writers that it must follow
        for i in order:
            after = before[i] | 1 << bit[i] if i in bit else before[i]
            for e in self.edges[i]:
                before[e.to] |= after
        new = []
        for key, ws in self.writers_of.items():
            mask = sum(1 << bit[w.index] for w in ws)
            self._infer_key(key, ws, mask, bit, by_bit, before, new)
        return new

    def _infer_key(self, key, ws, mask, bit, by_bit, before, new):
        readers = {bit[w.index]: [r.index for r in rs] for w, rs in ws.items()}
        for w, rs in ws.items():
            own = 1 << bit[w.index]
            for r in rs:
                late = before[r.index] & mask & ~before[w.index] & ~own
                while late:
                    b = late.bit_length() - 1
                    late &= ~before[by_bit[b]] & ~(1 << b)
                    new.append((by_bit[b], w.index, WW, "%s: T%d must follow both and read the latter's" % (key, r.index)))
            earlier = before[w.index] & mask
            while earlier:
                b = earlier.bit_length() - 1
                earlier &= ~before[by_bit[b]] & ~(1 << b)
                new += [(r, w.index, RW, "%s: read what T%d wrote" % (key, by_bit[b])) for r in readers[b] if r != w.index]

    def report_cycles(self, found):
        """The worst kind of each group of transactions that depend on each other."""
        for kinds in ((WW,), (WW, WR), (WW, WR, RW), (WW, WR, RW, PIPE), (WW, WR, RT), (WW, WR, RW, RT), (WW, WR, RW, PIPE, RT)):
            groups = components(self.edges, kinds)
            for group in groups[:REPORTS_MAX]:
                self._report_cycle(shortest_cycle(self.edges, kinds, group, len(self.txs)))
            if groups:
                return
        raise AssertionError("a cycle that no set of kinds shows: %s" % found)

    def _report_cycle(self, cycle):
        """cycle: (node, edge that leaves it). Moments of time are not shown."""
        kinds = [e.kind for _, e in cycle]
        rw = [e for _, e in cycle if e.kind == RW]
        if len(cycle) == 2 and rw and set(kinds) <= {RW, WW} and len({e.why.split(":")[0] for _, e in cycle}) == 1:
            name = "lost update"
        elif not rw:
            name = "G0 (writes in a cycle)" if WR not in kinds else "G1c (circular information flow)"
        elif len(rw) == 1:
            name = "G-single (read skew)"
        else:
            name = "G2 (%d anti-dependencies)" % len(rw)
        if RT in kinds:
            name = "stale read" if not set(kinds) - {RW, RT, WR} and len(rw) == 1 else name + ", with real time"
        if PIPE in kinds:
            name += ", with the order of a pipeline"
        first = next(i for i, (node, _) in enumerate(cycle) if node < len(self.txs))
        cycle = cycle[first:] + cycle[:first]
        lines = []
        for i, (node, e) in enumerate(cycle):
            if node >= len(self.txs):
                continue
            lines.append("    %s" % self.txs[node])
            if e.kind == RT:
                j = next(n for n, _ in (cycle[i + 1:] + cycle[:1]) if n < len(self.txs))
                lines.append("      before (rt): ended at %s, T%d began at %s" % (self.txs[node].end, j, self.txs[j].start))
            else:
                lines.append("      before (%s) %s" % (e.kind, e.why))
        lines.append("    T%d" % cycle[0][0])
        self.bad(name, "a cycle\n%s", "\n".join(lines))


def components(edges, kinds):
    """Tarjan's strongly connected components with more than one node, smallest first, over edges of these kinds."""
    kinds = set(kinds)
    index, low, on_stack, stack, out = {}, {}, set(), [], []
    for root in range(len(edges)):
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        work = [(root, iter(edges[root]))]
        while work:
            node, it = work[-1]
            for e in it:
                if e.kind not in kinds:
                    continue
                if e.to not in index:
                    index[e.to] = low[e.to] = len(index)
                    stack.append(e.to)
                    on_stack.add(e.to)
                    work.append((e.to, iter(edges[e.to])))
                    break
                if e.to in on_stack:
                    low[node] = min(low[node], index[e.to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    group = []
                    while not group or group[-1] != node:
                        group.append(stack.pop())
                        on_stack.discard(group[-1])
                    if len(group) > 1:
                        out.append(group)
    return sorted(out, key=len)


STARTS_MAX = 200


def shortest_cycle(edges, kinds, group, tx_count):
    """The cycle within a component that has the fewest edges between transactions; a way along moments costs one."""
    inside, kinds, best, best_cost = set(group), set(kinds), None, NEVER
    for start in sorted(n for n in group if n < tx_count)[:STARTS_MAX]:
        came, cost, queue = {}, {start: 0}, collections.deque([start])
        while queue:
            node = queue.popleft()
            if cost[node] >= best_cost:
                break
            for e in edges[node]:
                if e.kind not in kinds or e.to not in inside:
                    continue
                step = cost[node] + (0 if node >= tx_count else 1)
                if e.to == start:
                    if step < best_cost:
                        best, best_cost = path_to(came, node, start) + [(node, e)], step
                elif step < cost.get(e.to, NEVER):
                    cost[e.to], came[e.to] = step, (node, e)
                    (queue.append if step > cost[node] else queue.appendleft)(e.to)
    return best


def path_to(came, node, start):
    out = []
    while node != start:
        out.append(came[node])
        node = came[node][0]
    return out[::-1]
