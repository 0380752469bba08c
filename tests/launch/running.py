"""One script, run by `python` and by `rectifier run`, and everything in which the two may differ."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from rectifier.records import Run
from rectifier.storage import read_run

TAIL = "\n──"
"""Begins what Rectifier says, after everything that the script said."""

RECTIFIER = str(Path(sys.executable).with_name("rectifier"))
"""What a user types; `python -m rectifier` would find a `rectifier.py` of the user's first."""


@dataclass(frozen=True)
class Case:
    """A program: its files, and how it is started.

    Attributes:
        files: Relative path -> text.
        command: What follows `python`.
        folder: Where it is started, relative to the files.
        interrupt: A signal to send once the program has printed `ready`; SIGINT goes to the process group.
        environment: Added to this process's; `{here}` stands for the files' folder.
    """

    files: dict[str, str]
    command: tuple[str, ...] = ("train.py",)
    folder: str = "."
    stdin: bytes = b""
    interrupt: int | None = None
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ran:
    """What is seen of a program from outside."""

    code: int
    out: str
    err: str


def lay(case: Case, here: Path) -> Path:
    for name, text in case.files.items():
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    folder = here / case.folder
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def python(case: Case, here: Path) -> Ran:
    """The program as its author runs it. A death by signal n is reported as a shell does: 128 + n."""
    return _run([sys.executable, *case.command], case, here)


def rectifier(case: Case, here: Path, *options: str) -> tuple[Ran, list[Run]]:
    """The program under `rectifier run`, and the runs that lie in `runs` afterwards."""
    runs = here.parent / "runs"
    line = [RECTIFIER, "run", "--out", str(runs), *options, *case.command]
    ran = _run(line, case, here)
    return ran, [read_run(folder) for folder in sorted(runs.iterdir())] if runs.is_dir() else []


def environment(case: Case, here: Path) -> dict[str, str]:
    added = {name: value.format(here=here) for name, value in case.environment.items()}
    return os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100", "PYTHONHASHSEED": "0"} | added


def _run(line: list[str], case: Case, here: Path) -> Ran:
    process = subprocess.Popen(
        line,
        cwd=here / case.folder,
        env=environment(case, here),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A terminal's Ctrl-C reaches the whole group; this one must not reach the tests.
        start_new_session=True,
    )
    before = b""
    if case.interrupt is not None:
        before = _wait_for(process, b"ready\n")
        if case.interrupt == signal.SIGINT:
            os.killpg(process.pid, case.interrupt)
        else:
            process.send_signal(case.interrupt)
    out, err = process.communicate(case.stdin, timeout=120)
    code = process.returncode
    return Ran(code if code >= 0 else 128 - code, (before + out).decode(), err.decode())


def _wait_for(process: subprocess.Popen[bytes], line: bytes) -> bytes:
    read = b""
    deadline = time.monotonic() + 100
    while not read.endswith(line):
        got = process.stdout.readline()
        assert got, f"ended before it was ready: {process.stderr.read().decode()}"
        assert time.monotonic() < deadline
        read += got
    return read


def observed(run: Run) -> int:
    """How many samples were counted, over all activations and processes."""
    return sum(w.visits for process in run.processes for snapshot in process.snapshots for w in snapshot.windows)


def differences(plain: Ran, ours: Ran) -> list[str]:
    """In what the two runs of a program differ; only what Rectifier says at the end of standard error may."""
    found = []
    if plain.code != ours.code:
        found.append(f"exit code {plain.code} became {ours.code}")
    if plain.out != ours.out:
        found.append(f"standard output: {_first_difference(plain.out, ours.out)}")
    own, tail, _ = ours.err.partition(TAIL)
    if not tail:
        found.append("Rectifier said nothing")
    if own != plain.err:
        found.append(f"standard error: {_first_difference(plain.err, own)}")
    return found


def _first_difference(expected: str, got: str) -> str:
    pairs = zip([*expected.splitlines(), "<end>"], [*got.splitlines(), "<end>"], strict=False)
    return next((f"expected {a!r}, got {b!r}" for a, b in pairs if a != b), "line ends")
