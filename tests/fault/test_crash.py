"""What a crash leaves behind: a report in the log, and the signal's own exit status."""

import contextlib
import os
import re
import signal
import subprocess

import pytest

import harness
from harness import Closed, Server, encode, wait_until

DEBUG = {"enable-debug-command": "yes"}
SIGNALS = [signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT]


@contextlib.contextmanager
def doomed(shards=1, options=None):
    """A server that will crash, without a core dump."""
    server = Server(shards=shards, options={**DEBUG, **(options or {})}, launcher=["prlimit", "--core=0:0"])
    try:
        yield server
    finally:
        server.kill()
        server.log_file.close()
        os.unlink(server.log_file.name)


def sent(server, *command):
    """Sends a command that gets no reply; returns the exit status."""
    with server.connect() as c:
        c.send(encode(command))
        with contextlib.suppress(OSError, Closed):
            c.read()
    return server.process.wait(harness.DEADLINE_S)


def report_of(text):
    """The report's parts by their headings."""
    found = re.findall(r"=== anax has crashed: report begins ===\n(.*?)=== report ends ===\n", text, re.S)
    assert len(found) == 1, text
    parts = re.split(r"\n\n(?=\w[^\n]*:\n)", "head:\n" + found[0])
    return {name: body for name, _, body in (part.strip("\n").partition(":\n") for part in parts)}


def fill(server):
    """Keys on every shard, and messages between them."""
    with server.connect() as c:
        for i in range(50):
            c.ok("SET", "key:%d" % i, "v")


@pytest.mark.parametrize("shards", [1, 3])
def test_segfault(shards):
    with doomed(shards) as server:
        fill(server)
        used = server.used_memory()
        assert sent(server, "DEBUG", "SEGFAULT") == -signal.SIGSEGV
        report = report_of(server.log())
        head = report["head"]
        version = subprocess.run([harness.ANAX, "--version"], capture_output=True, text=True).stdout
        build = re.search(r"build=(\S+)", version).group(1)
        assert re.search(r"^version:  %s, build id %s$" % (version.split()[1], build), head, re.M), head
        assert re.search(r"^time:     20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$", head, re.M), head
        assert re.search(r"^signal:   SIGSEGV, code 1, at address 0x[0-9a-f]+$", head, re.M), head
        thread = re.search(r"^thread:   shard-(\d+) of process %d$" % server.process.pid, head, re.M)
        assert thread, head
        assert len(re.findall(r"\b[0-9a-f]{16}\b", report["registers"])) >= 18, report["registers"]
        frames = re.findall(r"^  0x[0-9a-f]+ (\S+)\+(0x[0-9a-f]+) (\w+)", report["backtrace"], re.M)
        assert [frame[0] for frame in frames[:3]] == ["anax"] * 3, report["backtrace"]
        commands = report["commands"].splitlines()
        assert len(commands) == shards
        for i, line in enumerate(commands):
            runs = "DEBUG\\|SEGFAULT in database 0 for client \\d+: \"DEBUG\" \"SEGFAULT\"" \
                if i == int(thread.group(1)) else "no command"
            assert re.fullmatch(r" shard %d  runs %s" % (i, runs), line), report["commands"]
        numbers = re.findall(r"^ shard (\d+)  keys (\d+) used_memory (\d+) connections (\d+) turns (\d+) "
                             r"messages out (\d+) in (\d+) borrows (\d+)$", report["numbers"], re.M)
        assert [int(n[0]) for n in numbers] == list(range(shards)), report["numbers"]
        assert sum(int(n[1]) for n in numbers) == 50
        assert sum(int(n[3]) for n in numbers) >= 1
        if not harness.SLOW:
            assert abs(sum(int(n[2]) for n in numbers) - used) < 1 << 20


def test_frames_are_addresses_for_addr2line():
    with doomed() as server:
        sent(server, "DEBUG", "SEGFAULT")
        frames = re.findall(r"^  0x[0-9a-f]+ anax\+(0x[0-9a-f]+) ([\w.]+)\+", report_of(server.log())["backtrace"], re.M)
        assert len(frames) >= 4
        for offset, name in frames[:4]:
            done = subprocess.run(["addr2line", "-fie", harness.ANAX, offset], capture_output=True, text=True)
            assert name.split(".")[0] in done.stdout, (offset, name, done)


def test_messages_between_shards():
    with doomed(3) as server:
        fill(server)
        sent(server, "DEBUG", "SEGFAULT")
        part = report_of(server.log())["messages, at most 16 to each shard, the newest of each sender first"]
        asked = re.findall(r"^  message from (\d) to (\d), (?:waiting, )?runs 0x[0-9a-f]+ anax\+0x[0-9a-f]+ part_run\+0x0$",
                           part, re.M)
        back = re.findall(r"^  message from (\d) to (\d), (?:waiting, )?is answered to \S+ \S+ part_done\+0x0$", part, re.M)
        assert asked and back, part
        assert {(b, a) for a, b in back} & set(asked), part
        counts = [len(re.findall(r"message from \d to %s," % to, part)) for to in "012"]
        assert max(counts) <= 16 and sum(counts) == len(part.splitlines()), part


@pytest.mark.parametrize("shards", [1, 3])
def test_panic(shards):
    with doomed(shards) as server:
        assert sent(server, "DEBUG", "PANIC") == -signal.SIGABRT
        report = report_of(server.log())
        assert re.search(r"^signal:   SIGABRT", report["head"], re.M)
        assert re.search(r"^reason:   \S+:\d+: assertion failed: ", report["head"], re.M), report["head"]
        assert "assert_failed+0x" in report["backtrace"]


def dumps_core(process):
    """Whether its end left a core dump, or would have, for who reads them."""
    _, status = os.waitpid(process.pid, 0)
    process.returncode = 0  # it has been waited for
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)


@pytest.mark.parametrize("limit", ["0", "1048576"])
def test_core_is_dumped_as_the_system_says(tmp_path, limit):
    """As any other program's: one that has no handler tells what the system does with this limit."""
    launcher = ["prlimit", "--core=%s" % limit]
    plain = subprocess.Popen(launcher + ["/usr/bin/python3", "-c", "import os; os.abort()"], cwd=tmp_path)
    wanted = dumps_core(plain)
    # The address sanitizer forbids core dumps unless it is told not to.
    sanitizer = "ASAN_OPTIONS=%s:disable_coredump=0" % os.environ.get("ASAN_OPTIONS", "")
    server = Server(options=DEBUG, launcher=launcher + ["env", "--chdir=%s" % tmp_path, sanitizer])
    with server.connect() as c:
        c.send(b"DEBUG PANIC\r\n")
        got = dumps_core(server.process)
    report_of(server.log())
    server.log_file.close()
    os.unlink(server.log_file.name)
    assert got == wanted


@pytest.mark.parametrize("sig", SIGNALS)
def test_signal_from_outside(sig):
    with doomed(2) as server:
        server.process.send_signal(sig)
        assert server.process.wait(harness.DEADLINE_S) == -sig
        assert re.search(r"^signal:   %s, sent by process %d$" % (sig.name, os.getpid()),
                         report_of(server.log())["head"], re.M), server.log()


def test_command_of_every_shard():
    """A crash elsewhere tells what each shard was doing."""
    with doomed(3) as server, server.connect() as c:
        c.send(encode(["DEBUG", "SLEEP", "1000"]))

        def busy():
            try:
                with harness.Conn(server.address, 0.2) as other:
                    other.cmd("PING")
                    return False
            except (OSError, Closed):
                return True

        wait_until(busy, "a shard sleeps")
        server.process.send_signal(signal.SIGSEGV)
        assert server.process.wait(harness.DEADLINE_S) == -signal.SIGSEGV
        assert 'runs DEBUG|SLEEP in database 0 for client' in report_of(server.log())["commands"]
        assert '"DEBUG" "SLEEP" "1000"' in report_of(server.log())["commands"]


def test_report_goes_to_the_logfile(tmp_path):
    log = tmp_path / "log"
    with doomed(2, {"logfile": str(log)}) as server:
        assert sent(server, "DEBUG", "SEGFAULT") == -signal.SIGSEGV
        report_of(log.read_text())
        assert "report begins" not in server.log()


def test_crash_log_turned_off():
    with doomed(2, {"crash-log-enabled": "no"}) as server:
        server.process.send_signal(signal.SIGSEGV)
        code = server.process.wait(harness.DEADLINE_S)
        assert code == -signal.SIGSEGV or (harness.SLOW and code == 1)  # a sanitizer has a report of its own
        assert "report begins" not in server.log()


def test_memcheck_is_not_promised():
    done = subprocess.run([harness.ANAX, "--crash-memcheck-enabled", "yes"], capture_output=True, text=True,
                          timeout=harness.DEADLINE_S)
    assert done.returncode == 1 and "only 'no'" in done.stderr, done
