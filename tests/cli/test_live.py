"""`rectifier run --live`: a table on the terminal, and the script's output as if there were none."""

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
import threading

import pytest
from click.testing import CliRunner

from rectifier.cli import live, running
from rectifier.cli.commands import run
from rectifier.cli.live import LiveTable
from rectifier.report.text.live import live_lines
from tests.cli.screen import Screen
from tests.report.builders import diagnosed, make_hostile, make_process, make_run

ROWS, COLUMNS = 30, 90
SCRIPT = """
import sys, time, torch
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.01)
for step in range(60):
    optimizer.zero_grad()
    model(torch.rand(7, 3)).square().mean().backward()
    optimizer.step()
    print(f"out {step} \\033[1mbold\\033[0m", flush=True)
    print(f"err {step}", file=sys.stderr, flush=True)
    time.sleep(0.06)
"""


def terminal(rows=ROWS, columns=COLUMNS):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return ours, theirs


def read_all(descriptor, into):
    while True:
        try:
            data = os.read(descriptor, 65536)
        except OSError:
            return
        if not data:
            return
        into.append(data)


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_the_script_prints_the_same_bytes_and_its_lines_stay_whole(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    ours, theirs = terminal()
    told = []
    reader = threading.Thread(target=read_all, args=(ours, told))
    reader.start()
    done = subprocess.run(
        [sys.executable, "-m", "rectifier", "run", "--live", "--every", "1", "train.py"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, check=False, timeout=120,
        env={**os.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS)},
    )  # fmt: skip
    os.close(theirs)
    reader.join(20)
    os.close(ours)
    assert done.returncode == 0
    assert done.stdout == b"".join(b"out %d \x1b[1mbold\x1b[0m\n" % step for step in range(60))
    text = b"".join(told).decode()
    assert "rectifier: step" in text, "the table was shown"
    assert "Sequential.1" in text.partition("err 59")[0], "and its layer, while the script ran"
    screen = Screen(ROWS, COLUMNS)
    screen.feed(text)
    assert (screen.top, screen.bottom) == (0, ROWS - 1)
    lines = screen.everything()
    assert [line for line in lines if line.startswith("err")] == [f"err {step}" for step in range(60)]
    assert not any("rectifier: step" in line for line in lines), "nothing of the table is left"
    assert any("No problems found" in line for line in lines), "the diagnosis comes as ever"


def test_a_table_over_the_text_would_be_noticed():
    screen = Screen(6, 20)
    screen.feed("one\r\ntwo\r\n\x1b7\x1b[1;1H\x1b[2Koverwritten\x1b8three")
    assert screen.shown()[:3] == ["overwritten", "two", "three"]


def test_without_a_terminal_it_says_so_once_and_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello.py").write_text("print('hello')")
    seen = []
    monkeypatch.setattr(running, "start", lambda launch, started: seen.append(launch) or 0)
    result = CliRunner().invoke(run.command, ["--live", "hello.py"])
    assert result.stderr.count("--live shows nothing: standard error is not a terminal.") == 1
    assert "\x1b" not in result.stderr
    assert len(seen) == 1


@pytest.mark.parametrize(("rows", "columns", "term"), [(8, 80, "xterm"), (30, 30, "xterm"), (30, 80, "dumb")])
def test_a_terminal_that_is_too_small_or_dumb_is_left_alone(rows, columns, term, tmp_path, monkeypatch, capsys):
    ours, theirs = terminal(rows, columns)
    monkeypatch.setenv("TERM", term)

    class Stderr(io.StringIO):
        def isatty(self):
            return True

        def fileno(self):
            return theirs

    screen = Stderr()
    monkeypatch.setattr(sys, "stderr", screen)
    with live.live(tmp_path):
        pass
    os.close(theirs)
    os.close(ours)
    assert "--live shows nothing" in screen.getvalue()
    assert "\x1b" not in screen.getvalue()


def test_it_survives_what_it_cannot_read_and_gives_the_rows_back(tmp_path, monkeypatch):
    ours, theirs = terminal(24, 60)
    told = []
    reader = threading.Thread(target=read_all, args=(ours, told))
    reader.start()
    os.write(theirs, b"before\r\n")
    table = LiveTable(tmp_path / "absent", theirs, seconds=0.01)
    drawn = threading.Event()
    real = table._draw

    def draw():
        real()
        drawn.set()

    monkeypatch.setattr(table, "_draw", draw)
    table.start()
    assert drawn.wait(20)
    os.write(theirs, b"between\r\n")
    table.stop()
    os.write(theirs, b"after\r\n")
    os.close(theirs)
    reader.join(20)
    os.close(ours)
    text = b"".join(told).decode()
    assert "no training step has been observed yet" in text
    screen = Screen(24, 60)
    screen.feed(text)
    assert [line for line in screen.everything() if line] == ["before", "between", "after"]


@pytest.mark.parametrize("columns", [40, 60, 100, 200])
@pytest.mark.parametrize("rows", [3, 4, 9])
def test_lines_fill_their_room_and_no_more(columns, rows, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    dying = diagnosed(make_run(make_process(widths=(13, 32, 32, 11, 7), dying=(1, 3))))
    for run_, diagnoses in (dying, make_hostile(), (make_run(), []), (None, [])):
        lines = live_lines(run_, diagnoses, columns, rows)
        assert len(lines) == rows
        assert max(map(len, lines)) <= columns
        assert not any("\x1b" in line or "\n" in line for line in lines)


def test_the_layers_that_die_are_shown(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    dying = diagnosed(make_run(make_process(widths=(13, 32, 32, 11, 7), dying=(1, 3))))
    lines = live_lines(*dying, 100, 6)
    assert lines[1].startswith("rectifier: step 180, loss ")
    assert lines[2].startswith("hidden.1: 8 of 32 units dead")
    assert [line.split()[0] for line in lines[3:]] == ["layer", "hidden.1", "hidden.3"]
    assert live_lines(*dying, 100, 6, "ascii")[0] == "-" * 100
