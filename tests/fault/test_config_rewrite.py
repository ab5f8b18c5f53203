"""CONFIG REWRITE killed or refused at every step: the file is the old one or the new one, and a start takes it.

A library that is loaded before the C library counts the calls which a rewrite makes on the file system, and at
the n-th kills the process, cuts the write short or makes the call fail.
"""

import os
import random
import re
import signal
import subprocess

import pytest

from harness import Closed, Error, Server, free_port

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { FDS = 1024 };
static int watched[FDS]; /* descriptors that a rewrite opened */
static int count;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void note(const char *name) {
    const char *path = getenv("SHIM_LOG");
    int fd = path ? REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd >= 0) {
        (void)!REAL(write)(fd, name, strlen(name));
        (void)!REAL(write)(fd, "\n", 1);
        REAL(close)(fd);
    }
}

/* 0: go on; 1: fail with errno; 2: do half of it. */
static int step(const char *name) {
    const char *how = getenv("SHIM_HOW"), *at = getenv("SHIM_AT");
    note(name);
    if (how == NULL || at == NULL || ++count != atoi(at))
        return 0;
    if (strcmp(how, "kill") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(how, "half") == 0 || strcmp(how, "half-kill") == 0)
        return strcmp(name, "write") == 0 ? 2 : 0;
    errno = atoi(how);
    return 1;
}

static int is_ours(const char *path) {
    const char *mark = getenv("SHIM_MARK");
    return mark != NULL && strstr(path, mark) != NULL;
}

static int is_watched(int fd) {
    return fd >= 0 && fd < FDS && watched[fd];
}

static int opened(const char *path, int flags, mode_t mode) {
    /* A rewrite writes a file of that name, and opens the directory, which nothing else here does. */
    int ours = is_ours(path) && (flags & (O_WRONLY | O_RDWR | O_DIRECTORY));
    if (ours && step(flags & O_DIRECTORY ? "open-directory" : "open"))
        return -1;
    int fd = REAL(open)(path, flags, mode);
    if (ours && fd >= 0 && fd < FDS)
        watched[fd] = 1;
    return fd;
}

int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return opened(path, flags, mode);
}

ssize_t write(int fd, const void *p, size_t n) {
    int how = is_watched(fd) ? step("write") : 0;
    if (how == 1)
        return -1;
    ssize_t done = REAL(write)(fd, p, how == 2 ? n / 2 : n);
    if (how == 2 && strcmp(getenv("SHIM_HOW"), "half-kill") == 0)
        kill(getpid(), SIGKILL);
    return done;
}

#define ON_FD(name, params, args)                                                                  \
    int name params {                                                                              \
        return is_watched(fd) && step(#name) ? -1 : REAL(name) args;                               \
    }
ON_FD(fsync, (int fd), (fd))
ON_FD(fchmod, (int fd, mode_t mode), (fd, mode))
ON_FD(fchown, (int fd, uid_t u, gid_t g), (fd, u, g))

int close(int fd) {
    int ours = is_watched(fd), failed = ours && step("close");
    int reason = errno;
    if (ours)
        watched[fd] = 0;
    int done = REAL(close)(fd);
    errno = failed ? reason : errno;
    return failed ? -1 : done;
}

int rename(const char *from, const char *to) {
    return is_ours(to) && step("rename") ? -1 : REAL(rename)(from, to);
}

int unlink(const char *path) {
    return is_ours(path) && step("unlink") ? -1 : REAL(unlink)(path);
}
"""

OLD = "# mine\n\ntimeout 5\n# the rest\nmaxmemory 2gb\n" + "# filling\n" * 400 + "timeout 6\n"
STEPS = ["unlink", "open", "write", "fchown", "fchmod", "fsync", "close", "rename", "open-directory", "fsync", "close"]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shim")
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return str(library)


@pytest.fixture(scope="module")
def port():
    """One for all servers of a test, since a rewrite writes it to the file."""
    return free_port()


class Rewritten(Server):
    """A server that starts with `path`, with the shim and what it is to do in its environment."""

    def __init__(self, path, port, shim=None, **env):
        words = ["%s=%s" % pair for pair in env.items()]
        if shim:
            options = os.environ.get("ASAN_OPTIONS", "")
            words += ["LD_PRELOAD=" + shim, "ASAN_OPTIONS=%s:verify_asan_link_order=0" % options,
                      "SHIM_MARK=%s/" % os.path.dirname(path)]
        # The harness appends options behind the program; the file has to come first among them.
        launcher = ["sh", "-c", 'program=$0; words=%s; path=%s; exec env $words "$program" "$path" "$@"'
                    % (quoted(" ".join(words)), quoted(path))]
        super().__init__("anax", shards=2, port=port, launcher=launcher)


def quoted(text):
    assert "'" not in text
    return "'%s'" % text


def read(path):
    with open(path) as f:
        return f.read()


def rewrite(server):
    """CONFIG SET and REWRITE; None when the server died of it."""
    with server.connect() as c:
        c.ok("CONFIG", "SET", "timeout", "77", "requirepass", "", "hz", "12")
        try:
            return c.cmd("CONFIG", "REWRITE")
        except (Closed, ConnectionResetError):
            server.process.wait()
            return None


@pytest.fixture(scope="module")
def new(tmp_path_factory, port):
    """The file as a rewrite that nothing disturbs makes it."""
    path = str(tmp_path_factory.mktemp("new") / "anax.conf")
    with open(path, "w") as f:
        f.write(OLD)
    with Rewritten(path, port) as server:
        assert rewrite(server) == b"OK"
    text = read(path)
    assert text != OLD and "timeout 77" in text and os.listdir(os.path.dirname(path)) == ["anax.conf"]
    return text


def conf(tmp_path):
    path = str(tmp_path / "anax.conf")
    with open(path, "w") as f:
        f.write(OLD)
    os.chmod(path, 0o640)
    return path


def starts_again(path, port, text):
    """A start takes the file, and a rewrite leaves nothing else in the directory; what includes all of the
    directory's files loads too."""
    folder = os.path.dirname(path)
    main = os.path.join(os.path.dirname(folder), "main-%s.conf" % os.path.basename(folder))
    with open(main, "w") as f:
        f.write("include %s/*\n" % folder)
    with Rewritten(main, port) as server:
        assert server.cmd("CONFIG", "GET", "timeout")[1] == (b"77" if "timeout 77" in text else b"6")
    with Rewritten(path, port) as server:
        assert server.cmd("CONFIG", "REWRITE") == b"OK"
    assert os.listdir(folder) == ["anax.conf"]
    assert os.stat(path).st_mode & 0o777 == 0o640


def test_what_a_rewrite_does(tmp_path, shim, port, new):
    """The bytes are on the disk before the name changes, and the name before the client is told."""
    path, log = conf(tmp_path), str(tmp_path) + ".log"
    with Rewritten(path, port, shim, SHIM_LOG=log) as server:
        assert rewrite(server) == b"OK"
    assert read(log).split() == STEPS
    assert read(path) == new and os.stat(path).st_mode & 0o777 == 0o640


@pytest.mark.parametrize("at", range(1, len(STEPS) + 1))
def test_killed_before_each_step(tmp_path, shim, port, new, at):
    path = conf(tmp_path)
    server = Rewritten(path, port, shim, SHIM_HOW="kill", SHIM_AT=at)
    try:
        assert rewrite(server) is None
        assert server.process.returncode == -signal.SIGKILL
    finally:
        server.kill()
    text = read(path)
    assert text == (new if at > STEPS.index("rename") + 1 else OLD)
    starts_again(path, port, text)


def test_killed_in_the_middle_of_writing(tmp_path, shim, port):
    path = conf(tmp_path)
    server = Rewritten(path, port, shim, SHIM_HOW="half-kill", SHIM_AT=STEPS.index("write") + 1)
    try:
        assert rewrite(server) is None
    finally:
        server.kill()
    assert read(path) == OLD and len(os.listdir(str(tmp_path))) == 2, "nothing was half written"
    starts_again(path, port, OLD)


def test_a_short_write_goes_on(tmp_path, shim, port, new):
    path = conf(tmp_path)
    with Rewritten(path, port, shim, SHIM_HOW="half", SHIM_AT=STEPS.index("write") + 1) as server:
        assert rewrite(server) == b"OK"
    assert read(path) == new


@pytest.mark.parametrize("step, number, text", [
    ("open", 28, "No space left on device"), ("open", 13, "Permission denied"),
    ("write", 28, "No space left on device"), ("write", 5, "Input/output error"),
    ("fchmod", 1, "Operation not permitted"), ("fchown", 5, "Input/output error"),
    ("fsync", 5, "Input/output error"), ("close", 122, "Disk quota exceeded"), ("rename", 30, "Read-only file system"),
])
def test_refused_at_each_step(tmp_path, shim, port, new, step, number, text):
    """The client is told, nothing has changed, and the next rewrite works."""
    path = conf(tmp_path)
    with Rewritten(path, port, shim, SHIM_HOW=number, SHIM_AT=STEPS.index(step) + 1) as server:
        reply = rewrite(server)
        assert isinstance(reply, Error) and reply.decode() == "ERR Rewriting config file: " + text
        assert read(path) == OLD and os.listdir(str(tmp_path)) == ["anax.conf"]
        assert server.cmd("CONFIG", "REWRITE") == b"OK"
        assert read(path) == new


def test_the_directory_is_not_synced(tmp_path, shim, port, new):
    """The new name stands, but nobody can say that it lasts: an error."""
    path = conf(tmp_path)
    at = len(STEPS) - 1
    with Rewritten(path, port, shim, SHIM_HOW=5, SHIM_AT=at) as server:
        assert rewrite(server) == b"ERR Rewriting config file: Input/output error"
        assert read(path) == new


def test_killed_at_random_during_many_rewrites(tmp_path, port):
    """Without the shim, with a file so large that writing it takes a while."""
    rng = random.Random(20261121)
    folder = tmp_path / "conf"
    folder.mkdir()
    path = str(folder / "anax.conf")
    filling = "# %s\n" % ("x" * 500) * 1500
    text = "timeout 1\n" + filling + "hz 12\n"
    with open(path, "w") as f:
        f.write(text)
    with Rewritten(path, port) as server:
        server.cmd("CONFIG", "REWRITE")
    shape = re.compile(re.escape(read(path)).replace("timeout\\ 1\\\n", "timeout\\ (\\d+)\\\n", 1))
    assert shape.fullmatch(read(path))
    done = 1
    for _ in range(8):
        server = Rewritten(path, port)
        try:
            with server.connect() as c:
                c.sock.settimeout(None)
                assert c.cmd("CONFIG", "GET", "timeout")[1] == b"%d" % done
                killer = subprocess.Popen(["sh", "-c", "sleep %.3f; kill -9 %d" % (rng.uniform(0.02, 0.12), server.process.pid)])
                asked = done
                try:
                    while True:
                        asked += 1
                        c.ok("CONFIG", "SET", "timeout", asked)
                        c.ok("CONFIG", "REWRITE")
                        done = asked
                except (Closed, OSError):
                    pass
                killer.wait()
                server.process.wait()
        finally:
            server.kill()
        found = shape.fullmatch(read(path))
        assert found, "neither the old file nor a new one"
        assert int(found[1]) in (done, asked), "what the client was told of is lost"
        done = int(found[1])
        assert set(os.listdir(str(folder))) <= {"anax.conf", ".anax.conf.rewrite"}
    assert done > 8


def test_nowhere_to_write(tmp_path, port):
    path = conf(tmp_path)
    with Rewritten(path, port) as server, server.connect() as c:
        os.rename(str(tmp_path), str(tmp_path) + ".away")
        assert c.cmd("CONFIG", "REWRITE") == b"ERR Rewriting config file: No such file or directory"
        os.rename(str(tmp_path) + ".away", str(tmp_path))
        c.ok("CONFIG", "REWRITE")


def test_without_a_file(port):
    with Server("anax", port=port) as server:
        assert server.cmd("CONFIG", "REWRITE") == b"ERR The server is running without a config file"
