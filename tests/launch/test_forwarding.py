"""Each signal reaches the script as often as under plain Python, and the parent ends and stops as the script does."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

import pytest

from tests.launch.running import RECTIFIER
from tests.launch.started import WAITS, children, is_gone, parent_of

NAMES = (
    "USR1", "USR2", "QUIT", "HUP", "TERM", "INT", "WINCH", "ALRM", "RTMIN", "CONT",
    "URG", "IO", "PWR", "PROF", "VTALRM", "XCPU", "PIPE", "TSTP", "TTIN", "TTOU",
)  # fmt: skip

COUNTS = """
import collections, os, signal, sys, time
counts = collections.Counter()
ended = False


def count(number, frame):
    name = signal.Signals(number).name[3:]
    counts[name] += 1
    # Another signal may come while this one is told.
    os.write(1, f"{name} {counts[name]}{os.linesep}".encode())
    global ended
    # In place of another handler, perhaps, which goes on afterwards.
    ended = ended or name == "XFSZ"


for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    if number <= signal.SIGRTMIN:
        signal.signal(number, count)
print("ready", os.getpid(), flush=True)
while not ended:
    time.sleep(0.01)
sys.exit(7)
"""
"""Tells of every signal, and ends with code 7 after SIGXFSZ."""


def number_of(name):
    return getattr(signal, f"SIG{name}")


def test_what_is_sent_to_the_parent_or_to_all_reaches_the_script_once(start):
    ran = start(COUNTS)
    for time_of in range(1, 4):
        for name in NAMES:
            os.kill(ran.process.pid, number_of(name))
            assert ran.line(name) == f"{2 * time_of - 1}"
        for name in NAMES:
            os.killpg(ran.process.pid, number_of(name))
            assert ran.line(name) == f"{2 * time_of}"
        assert ran.silent()
    os.kill(ran.process.pid, signal.SIGXFSZ)
    assert ran.line("XFSZ") == "1"
    code, out, err = ran.end()
    assert (code, out, ran.outcome()) == (7, "", 7)
    assert "Traceback" not in err


def test_signals_that_come_fast_are_not_lost_or_doubled(start):
    ran = start(COUNTS)
    for count in range(1, 41):
        os.kill(ran.process.pid, signal.SIGUSR1)
        assert ran.line("USR1", within=5) == str(count)
    for name in ("USR2", "TERM", "HUP", "QUIT"):
        os.kill(ran.process.pid, number_of(name))
    told = dict(ran.process.stdout.readline().decode().split() for _ in range(4))
    assert told == dict.fromkeys(("USR2", "TERM", "HUP", "QUIT"), "1")
    assert ran.silent()


def test_a_signal_that_comes_while_the_diagnosis_loads_does_not_wait(start):
    """Loading takes half a second; `timeout` and a scheduler that stops a job again may be faster."""
    ran = start(COUNTS)
    os.kill(ran.process.pid, signal.SIGUSR1)
    ran.line("USR1", within=10)
    assert not (next(ran.folder.glob("rectifier-runs/*")) / "run.json").exists()


def test_timeout_signals_parent_and_group_but_the_script_hears_of_it_once(start):
    ran = start(COUNTS, before=("timeout", "-s", "USR1", "1"))
    assert ran.line("USR1") == "1"
    # It sends SIGCONT as well.
    assert ran.line("CONT") == "1"
    assert ran.silent()
    os.kill(ran.script, signal.SIGXFSZ)
    assert ran.line("XFSZ") == "1"
    assert ran.end()[0] == 124


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "RTMIN", "XCPU"])
def test_a_script_that_dies_of_a_signal_ends_its_parent_with_the_code_of_a_shell(name, start):
    # A core file takes long to write.
    ran = start(WAITS, before=("sh", "-c", 'ulimit -c 0; exec "$@"', "sh"))
    os.kill(ran.process.pid, number_of(name))
    code, _, err = ran.end()
    assert (code, ran.outcome()) == (128 + number_of(name), 128 + number_of(name))
    assert ("KeyboardInterrupt" in err) == (name == "INT")
    assert is_gone(ran.script)


def test_a_script_that_ignores_a_signal_goes_on(start):
    ran = start(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + COUNTS.replace("for number", "x = 0\nfor number").replace(
            "signal.SIGCHLD}", "signal.SIGCHLD, signal.SIGTERM}"
        )
    )
    os.kill(ran.process.pid, signal.SIGTERM)
    assert ran.silent(0.5)
    os.kill(ran.process.pid, signal.SIGXFSZ)
    assert ran.line("XFSZ") == "1"
    assert ran.end()[0] == 7


def test_the_script_begins_with_the_signals_of_whoever_started_us(start):
    """Ignored ones stay ignored, blocked ones blocked; ours are neither."""
    program = """
import os, signal
print("ready", os.getpid(), flush=True)
print("now", [line for line in open("/proc/self/status") if line.startswith(("SigBlk", "SigIgn", "SigCgt"))])
print("usr2", signal.getsignal(signal.SIGUSR2).name, "chld", signal.getsignal(signal.SIGCHLD).name)
raise SystemExit(3)
"""
    prepare = """
import os, signal, sys
signal.signal(signal.SIGUSR2, signal.SIG_IGN), signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGWINCH])
os.execvp(sys.argv[1], sys.argv[1:])
"""
    before = (sys.executable, "-c", prepare)
    ends = [start(program, before=before, line=line).end() for line in ((sys.executable,), (RECTIFIER, "run"))]
    assert ends[0][1].startswith("now [")
    assert "usr2 SIG_IGN chld SIG_IGN" in ends[0][1]
    assert ends[0][:2] == ends[1][:2]
    assert ends[1][0] == 3, "the exit code is known although SIGCHLD was ignored"


def test_an_alarm_that_was_set_before_reaches_the_script(start):
    """The kernel sends it to us alone."""
    ran = start(
        COUNTS,
        before=(sys.executable, "-c", "import os, signal, sys; signal.alarm(1); os.execvp(sys.argv[1], sys.argv[1:])"),
    )
    assert ran.line("ALRM") == "1"


def test_a_signal_that_the_script_sends_to_its_group_is_not_returned_to_it(start):
    ran = start(
        COUNTS.replace(
            "while not ended", "os.kill(os.getppid(), signal.SIGUSR2), os.killpg(0, signal.SIGUSR1)\nwhile not ended"
        )
    )
    assert ran.line("USR1") == "1"
    assert ran.silent(0.5)


def test_the_parent_ends_with_the_script_whatever_it_leaves_behind(start, tmp_path):
    program = WAITS.replace(
        "time.sleep(60)",
        """
if os.fork() == 0:
    os.setsid()
    time.sleep(30)
    os._exit(0)
os.system("sleep 30 &")
os.close(1), os.close(2)
os._exit(5)
""",
    )
    with (tmp_path / "err").open("wb") as err:
        ran = start(program, stderr=err)
        assert ran.process.wait(timeout=15) == 5
    assert ran.outcome() == 5
    os.killpg(ran.process.pid, signal.SIGKILL)
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError):
            if os.readlink(f"/proc/{entry}/cwd") == str(tmp_path):
                os.kill(int(entry), signal.SIGKILL)


def test_a_killed_witness_costs_nothing(start):
    ran = start(COUNTS)
    deadline = time.monotonic() + 10
    while not (others := [pid for pid in children(ran.process.pid) if pid != ran.script]):
        assert time.monotonic() < deadline
    os.kill(others[0], signal.SIGKILL)
    os.kill(ran.process.pid, signal.SIGUSR1)
    assert ran.line("USR1") == "1"
    os.kill(ran.process.pid, signal.SIGXFSZ)
    assert ran.line("XFSZ") == "1"
    assert ran.end()[0] == 7


def test_systems_that_cannot_wait_for_signals_forward_what_no_terminal_sends(start):
    line = (
        sys.executable,
        "-c",
        "import signal; del signal.sigtimedwait; from rectifier.cli import main; main()",
        "run",
    )
    ran = start(COUNTS, line=line)
    for name in ("USR1", "USR2", "HUP", "TERM", "ALRM"):
        os.kill(ran.process.pid, number_of(name))
        assert ran.line(name) == "1"
    os.killpg(ran.process.pid, signal.SIGINT)
    assert ran.line("INT") == "1"
    assert ran.silent()
    os.kill(ran.script, signal.SIGXFSZ)
    assert ran.line("XFSZ") == "1"
    assert ran.end()[0] == 7


# A terminal. -----------------------------------------------------------------------------------------------------

SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0), os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(0, os.getpid())
    print("stopped", os.WSTOPSIG(status), flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, job), os.killpg(job, signal.SIGCONT)
print("code", os.waitstatus_to_exitcode(status), flush=True)
"""
"""What of a shell gives a job the terminal, hears of its stop, and lets it go on after a line was typed."""


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, folder, line):
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execv(line[0], line)
        self.told = b""

    def type(self, text):
        os.write(self.descriptor, text)

    def resize(self, rows, columns):
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def wait_for(self, text, within=30):
        deadline = time.monotonic() + within
        while text.encode() not in self.told:
            assert select.select([self.descriptor], [], [], max(0, deadline - time.monotonic()))[0], self.told
            try:
                self.told += os.read(self.descriptor, 4096)
            except OSError:
                raise AssertionError(self.told) from None
        before, _, self.told = self.told.partition(text.encode())
        return before.decode()


@pytest.fixture
def terminal(tmp_path):
    opened = []

    def begin(program, *line):
        (tmp_path / "train.py").write_text(program)
        opened.append(Terminal(tmp_path, line))
        return opened[-1]

    yield begin
    for one in opened:
        with contextlib.suppress(OSError):
            os.close(one.descriptor)
        for entry in os.listdir("/proc"):
            with contextlib.suppress(ValueError, ProcessLookupError):
                if os.getsid(int(entry)) == one.pid:
                    os.kill(int(entry), signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(one.pid, 0)


HANDLES = COUNTS.replace("- {", "- {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU, ")


@pytest.mark.parametrize("options", [(), ("--live",)], ids=["plain", "live"])
def test_what_is_typed_reaches_the_script_once_and_ctrl_z_stops_the_job(options, terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    shell = terminal(HANDLES, sys.executable, "-c", SHELL, RECTIFIER, "run", *options, "train.py")
    shell.resize(40, 100)
    shell.wait_for("ready")
    for count in range(1, 6):
        shell.type(b"\x03")
        shell.wait_for(f"INT {count}\r\n")
        shell.type(b"\x1c")
        shell.wait_for(f"QUIT {count}\r\n")
        shell.resize(40, 100 + count)
        shell.wait_for(f"WINCH {count}\r\n")
        shell.type(b"\x1a")
        shell.wait_for(f"stopped {signal.SIGSTOP.value}")
        shell.type(b"go on\n")
        shell.wait_for(f"CONT {count}\r\n")
    # What would come twice comes soon after.
    time.sleep(0.2)
    shell.type(b"\x03")
    assert "INT" not in shell.wait_for("INT 6\r\n")


def test_sigtstp_by_number_stops_both_and_sigcont_by_number_lets_both_go_on(terminal):
    shell = terminal(HANDLES, sys.executable, "-c", SHELL, RECTIFIER, "run", "train.py")
    script = int(shell.wait_for("\r\n").split()[1])
    parent = parent_of(script)
    for count in range(1, 4):
        os.kill(parent, signal.SIGTSTP)
        shell.wait_for("stopped")
        os.kill(parent, signal.SIGCONT)
        shell.wait_for(f"CONT {2 * count - 1}\r\n")
        shell.type(b"\n")
        # The shell sends its own.
        shell.wait_for(f"CONT {2 * count}\r\n")
    assert not is_gone(script)


def test_a_script_that_somebody_stopped_alone_does_not_stop_its_parent(terminal):
    shell = terminal(HANDLES, sys.executable, "-c", SHELL, RECTIFIER, "run", "train.py")
    script = int(shell.wait_for("\r\n").split()[1])
    os.kill(script, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(script, signal.SIGCONT)
    assert "stopped" not in shell.wait_for("CONT 1\r\n")
    os.kill(script, signal.SIGXFSZ)
    assert "stopped" not in shell.wait_for("code 7")


def test_a_terminal_that_goes_away_hangs_up_on_the_script(terminal, tmp_path):
    """The kernel tells the leader of the session alone, which is ours here."""
    program = """
import os, signal, time
signal.signal(signal.SIGHUP, lambda *_: open("hung-up", "a").write("x") and os._exit(9))
print("ready", flush=True)
open("printed", "w").close()
time.sleep(60)
"""
    shell = terminal(program, RECTIFIER, "run", "train.py")
    shell.wait_for("ready")
    # A terminal that goes away while something is printed is an error of the script's.
    while not (tmp_path / "printed").exists():
        time.sleep(0.01)
    os.close(shell.descriptor)
    _, status = os.waitpid(shell.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    assert (tmp_path / "hung-up").read_text() == "x"
