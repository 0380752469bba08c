"""Trials of a user's own script for an explanation: each a process and a folder of its own, kept to be resumed."""

import hashlib
import json
import os
import shlex
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rectifier._formatting import counted
from rectifier.comparison.explain.trials.reading import outcome_of, read_trial, shown_so_far
from rectifier.comparison.explain.trials.trial import Ask, Shown, ended_by_error, same_losses
from rectifier.comparison.script.isolation import passed_files
from rectifier.comparison.script.running import Running, WithPid
from rectifier.comparison.script.trial import OUTPUT, last_lines
from rectifier.diagnosis import thresholds as limit
from rectifier.errors import CannotExplain, UnreadableRun
from rectifier.exit_codes import SIGNALLED
from rectifier.launch import Launch, end_soon, start
from rectifier.launch.forking.client import CannotFork, Forking
from rectifier.records import Change, Manifest, Outcome
from rectifier.storage import write_manifest, write_outcome

_LEAST_WAIT = 0.25
"""Seconds between two looks at a trial that runs."""
_READING = 2.0
"""Times as long as a look took that the next one waits for."""
_LONGEST_NAME = 120
BUDGET = 0.2
"""Share of a trial that watching may take after its early steps: a trial ends soon, and what it shows decides."""


@dataclass(slots=True, kw_only=True)
class ScriptTrials:
    """Runs trials of a script.

    Attributes:
        command: The script and its arguments, with `{seed}` and `{trial_dir}` where they belong.
        folder: Of the explanation; a trial that has ended in it is read again, not run again.
        own_seed: What `{seed}` stands for in the user's own run.
        threads: Of each trial: one, because sums round differently on other numbers of threads.
        timeout: Seconds after which a trial is ended; None for never.
    """

    command: tuple[str, ...]
    folder: Path
    own_seed: int = 0
    threads: int = 1
    timeout: float | None = None
    _running: Running = field(default_factory=Running)
    _fork: bool = True
    _forking: Forking | None = None
    _unchanged: Shown | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _began: float = field(default_factory=time.time)
    _ended: dict[str, Path] = field(default_factory=dict)

    def __call__(self, ask: Ask) -> Shown:
        """Run a trial, or read it where it has been run.

        Raises:
            CannotExplain: The unchanged script cannot be run, trains nothing, or reads what another trial wrote.
        """
        trial = self.folder / "trials" / _file_name(ask.name)
        run = trial / "run"
        kept = outcome_of(run)
        shown = None if kept is None else read_trial(ask, run, kept)
        if shown is None or kept is None or self._says_nothing(ask, shown):
            kept = self._run(ask, self._new_folder(trial))
            shown = read_trial(ask, run, kept)
            if self._forking is not None and self._fork and self._differs(ask, shown):
                # It must be as in a new process, or it is none of the user's trainings.
                self._fork = False
                kept = self._run(ask, self._new_folder(trial))
                shown = read_trial(ask, run, kept)
        if ask == Ask():
            self._unchanged = shown
        self._check(ask, run, shown, kept)
        return shown

    def _says_nothing(self, ask: Ask, shown: Shown) -> bool:
        """Whether a trial ended by an error that is no failure to explain: what it met may have been mended since."""
        if ask == Ask():
            return shown.crashed and all(one.severity == "info" for one in shown.findings)
        return self._unchanged is not None and ended_by_error(shown, self._unchanged)

    def _differs(self, ask: Ask, shown: Shown) -> bool:
        """Whether the unchanged script, forked, did anything else than in a process of its own."""
        before = self._unchanged
        if ask.intervention.change is not Change.NONE or ask.seed is not None or before is None:
            return False
        return not same_losses(before, shown) and bool(len(before.losses) or len(shown.losses))

    def close(self) -> None:
        """End what trials were forked from."""
        if self._forking is not None:
            self._forking.close()

    def stop(self) -> None:
        """End all trials that are running; no other will start."""
        self._running.stop()

    def _new_folder(self, trial: Path) -> Path:
        if trial.exists():
            # It was killed at work; an orphan may still write there.
            for number in range(2, 1_000):
                aside = trial.with_name(f"{trial.name}.stopped-{number}")
                if not aside.exists():
                    trial.rename(aside)
                    break
        (trial / "files").mkdir(parents=True)
        return trial

    def _run(self, ask: Ask, trial: Path) -> Outcome:
        run = trial / "run"
        run.mkdir()
        shift = 0 if ask.seed is None else ask.seed
        takes_seed = any("{seed}" in part for part in self.command)
        arguments = tuple(
            part.replace("{seed}", str(self.own_seed + shift)).replace("{trial_dir}", str((trial / "files").resolve()))
            for part in self.command
        )
        write_manifest(run, Manifest.of_now(trial.name, command=arguments, folder=str(run.resolve())))
        began = time.perf_counter()
        with (
            tempfile.TemporaryDirectory(prefix="rectifier-", ignore_cleanup_errors=True) as temporary,
            self._running.one() as started,
        ):
            launch = Launch(
                command=arguments,
                folder=run.resolve(),
                budget=BUDGET,
                seed=None if takes_seed else self.own_seed + shift,
                threads=self.threads,
                own_group=True,
                files_since=self._began,
                own_folders=(str(trial), temporary),
                temporary=Path(temporary),
                explain=_asked(ask, 0 if takes_seed else shift),
            )
            with _watched(ask, run):
                code = self._start(ask, launch, trial / OUTPUT, started)
        outcome = Outcome(exit_code=code, seconds=time.perf_counter() - began)
        if code not in (SIGNALLED + signal.SIGTERM, SIGNALLED + signal.SIGKILL) or self.timeout is not None:
            write_outcome(run, outcome)
        return outcome

    def _start(self, ask: Ask, launch: Launch, output: Path, started: Callable[[WithPid], None]) -> int:
        forking = self._forked(launch) if ask != Ask() else None
        if forking is not None:
            try:
                return forking.run(launch, output, timeout=self.timeout, started=started)
            except CannotFork:
                self._fork = False
        with output.open("wb") as written, open(os.devnull, "rb") as nothing:
            return start(launch, stdin=nothing, stdout=written, stderr=written, timeout=self.timeout, started=started)

    def _forked(self, launch: Launch) -> Forking | None:
        """What forks trials; None where new processes have to be started."""
        with self._lock:
            if self._fork and self._forking is None:
                try:
                    self._forking = Forking(launch)
                except (CannotFork, OSError):
                    self._fork = False
            return self._forking if self._fork else None

    def _check(self, ask: Ask, run: Path, shown: Shown, outcome: Outcome) -> None:
        name, reads = _file_name(ask.name), shown.reads_input
        if ask == Ask() and outcome.exit_code and not any(one.severity != "info" for one in shown.findings):
            raise CannotExplain(
                f"the unchanged script fails (exit code {outcome.exit_code}), and its training has no finding. Does it "
                f"run under python, with the same arguments from this directory? The end of {run.parent / OUTPUT}:\n"
                f"{last_lines(run.parent)}"
                + ("\nThe script reads standard input, and trials get none: let it read a file." if reads else "")
            )
        if ask == Ask() and not len(shown.losses) and not shown.findings:
            raise CannotExplain("no loss was seen: name a script that calls backward() on a torch loss.")
        same = ask.seed is None and ask.intervention.change in (Change.NONE, Change.PLACEBO)
        if ask != Ask() and same and self._says_nothing(ask, shown):
            raise CannotExplain(self._unrepeatable(shown))
        self._ended[name] = run
        passed = passed_files(name, dict(self._ended))
        if passed:
            one = passed[0]
            raise CannotExplain(
                f"trials share files, so they differ by more than one change: {one.reader} read {one.path} after "
                f"{one.writer} had written it. Give each trial a folder of its own with {{trial_dir}}: "
                f"{self._with_folder()}"
            )

    def _unrepeatable(self, shown: Shown) -> str:
        when = f"after {counted(shown.steps, 'step')}" if shown.steps else "before its first step"
        text = (
            f"the script ran once; run again, unchanged, it failed {when}:\n    {shown.error}\n"
            "Each trial runs the script again, in this directory."
        )
        if any("{trial_dir}" in part for part in self.command):
            return f"{text} The script must find the same files each time."
        return (
            f"{text} If the files of an earlier run are in the way, let each trial write into a folder of its own, "
            f"for which {{trial_dir}} stands; for example:\n    {self._with_folder()}"
        )

    def _with_folder(self) -> str:
        return shlex.join(["rectifier", "explain", *self.command, "--out", "{trial_dir}"])


@contextmanager
def _watched(ask: Ask, run: Path) -> Iterator[None]:
    """While a trial runs: end it as soon as it has shown enough."""
    if ask.enough is None:
        yield
        return
    over = threading.Event()
    watching = threading.Thread(target=_watch, args=(ask, run, over), name="rectifier-watching")
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _watch(ask: Ask, run: Path, over: threading.Event) -> None:
    assert ask.enough is not None
    wait = _LEAST_WAIT
    while not over.wait(wait):
        began = time.perf_counter()
        try:
            shown = shown_so_far(ask, run)
        except UnreadableRun:
            continue
        if shown is not None and ask.enough(shown):
            end_soon(run)
            return
        wait = max(_LEAST_WAIT, _READING * (time.perf_counter() - began))


def _asked(ask: Ask, shift: int) -> str | None:
    if ask == Ask() and ask.enough is None:
        return None
    return json.dumps(
        {
            "intervention": str(ask.intervention),
            "microscope": ask.microscope,
            "stop_after": ask.stop_after,
            "seed_shift": shift,
            "end_nonfinite": None if _may_recover(ask) else limit.EXPLAIN_NONFINITE,
        }
    )


def _may_recover(ask: Ask) -> bool:
    """Whether losses that are not finite may be followed by others: the user's own run, and what leaves them out."""
    return ask == Ask() or ask.intervention.change in (Change.SKIP_NONFINITE, Change.GUARD_OPERATION)


def _file_name(name: str) -> str:
    """A name that a folder can have, and no other trial has."""
    plain = "".join(c if c.isalnum() or c in "-_." else f"+{ord(c):x}" for c in name)
    return (
        plain
        if len(plain) <= _LONGEST_NAME
        else f"{plain[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    )
