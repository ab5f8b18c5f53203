"""long.py: what the tests of commands that are done beside the shard (test_long_*.py) share."""

import threading

from harness import Error, encode, wait_until

HURRY = 100  # commands that whoever asks has behind it when a long one begins


class Asker:
    """Commands on other keys of both shards, one after the other, from a thread."""

    def __init__(self, server):
        self.server, self.answered, self.done = server, 0, threading.Event()
        self.thread = threading.Thread(target=self.ask)

    def ask(self):
        with self.server.connect() as c:
            while not self.done.is_set():
                c.ok("SET", "{x}other", "2")
                c.cmd("INCR", "{y}other")
                self.answered += 2

    def during(self, c, *command):
        """The reply, and how many of them were answered before it."""
        wait_until(lambda: self.answered > HURRY, "somebody asks")
        before = self.answered
        return c.cmd(*command), self.answered - before

    def __enter__(self):
        self.server.cmd("DEL", "{y}other")
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done.set()
        self.thread.join()


def together(workers, until):
    """Threads that all run until those of `until` are over; these get a number each, the others an event to look at too. What
    one of them raises is raised."""
    stop, errors = threading.Event(), []

    def run(work, *args):
        try:
            work(*args)
        except BaseException as e:  # noqa: the thread must tell
            errors.append(e)

    others = [threading.Thread(target=run, args=(work, i, stop)) for i, work in enumerate(workers)]
    awaited = [threading.Thread(target=run, args=(work, i)) for i, work in enumerate(until)]
    for t in others + awaited:
        t.start()
    for t in awaited:
        t.join()
    stop.set()
    for t in others:
        t.join()
    if errors:
        raise errors[0]


def is_given_back(server, make, leave, slack_bytes):
    """No memory is left after make(connection), after those that send what `leave` has and go without waiting for it, and
    FLUSHALL; nor is any kept that is not used again the second time."""

    def all_of_it():
        server.cmd("FLUSHALL")
        with server.connect() as c:
            make(c)
        for request in leave:
            with server.connect() as c:
                c.send(request)
                c.reset()
        wait_until(lambda: server.held().clients == 1, "those that left are gone")
        server.cmd("FLUSHALL")

    all_of_it()
    before = server.settled()
    all_of_it()
    server.returns_to(before, slack_bytes)


def seen_by_watch(server, make, keys, commands):
    """EXEC fails after another client's command, or does not, as `commands` say of each; make(connection) fills the keys."""
    with server.connect() as c, server.connect() as other:
        for command, fails in commands:
            c.ok("FLUSHALL")
            make(c)
            c.ok("WATCH", *keys)
            assert not isinstance(other.cmd(*command), Error), command
            c.ok("MULTI")
            c.cmd("PING")
            assert isinstance(c.cmd("EXEC"), list) != fails, command


def others_wait(server, store, card, remove, add, whole):
    """A write to a source while it is read is seen by the reply wholly or not at all, and comes after it in time. remove and
    add take a number; `whole` is what is stored when nothing has been removed."""
    with server.connect() as c, server.connect() as other:
        for i in range(3):
            c.send(encode(store) + encode([card, store[1]]))
            other.send(encode(remove(i)) + encode(add(i)))
            stored, counted = c.read().value, c.read().value
            assert stored == counted and stored in (whole, whole - 1)
            assert (other.read().value, other.read().value) == (1, 1)
        c.cmd("UNLINK", store[1])
