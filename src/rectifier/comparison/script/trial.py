"""One training of a user's own script: start it, wait, and read what it left behind."""

import contextlib
import hashlib
import json
import math
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rectifier.comparison.metric import printed_values, summarise
from rectifier.comparison.question import Question, TrialSpec
from rectifier.comparison.script.running import Running
from rectifier.diagnosis import diagnose
from rectifier.diagnosis.training.history.progress import judge_progress
from rectifier.errors import UnreadableRun
from rectifier.exit_codes import SIGNALLED, TIMED_OUT
from rectifier.launch import STOPPED, Launch, start
from rectifier.records import Failure, FailureKind, FloatArray, Manifest, Outcome, Process, Run, Series, Trial
from rectifier.storage import read_run, write_manifest, write_outcome

OUTPUT = "output.txt"
"""What a training printed, in its own folder."""

_PART_BYTES = 1 << 24
_END_BYTES = 1 << 16

_KILLED = SIGNALLED + signal.SIGKILL
_LAST_LINES = 12
"""Exit code of what SIGKILL has ended."""


class ScriptLauncher:
    """Runs trials of a script, and can end those that are running.

    Args:
        timeout: Seconds after which a training is killed, with every process it has started.
        directory: Where the script is started; None for where this process is.
        since: When the comparison began, in seconds since 1970; None for when its first training in the same folder
            did.
    """

    def __init__(
        self, timeout: float | None = None, *, directory: Path | None = None, since: float | None = None
    ) -> None:
        self._timeout = timeout
        self._directory = directory
        self._since = since
        self._running = Running()

    def __call__(self, spec: TrialSpec, question: Question, folder: Path) -> Trial:
        """Run a script once and summarise it; whatever happens to it is an outcome, not an error.

        Args:
            spec: What to run.
            question: For the metric and its summary.
            folder: A new, empty folder. The run goes to `run`, what the script prints to `output.txt`, and `files`
                is what `{trial_dir}` stands for.
        """
        files = folder / "files"
        files.mkdir()
        command = spec.arguments(files.resolve())
        begin_record(spec, command, folder)
        # Not inside of the comparison: the paths of sockets, which lie there as well, may not be long.
        with tempfile.TemporaryDirectory(prefix="rectifier-", ignore_cleanup_errors=True) as temporary:
            return self._run(spec, question, folder, command, Path(temporary))

    def _run(
        self, spec: TrialSpec, question: Question, folder: Path, command: tuple[str, ...], temporary: Path
    ) -> Trial:
        run_folder = folder / "run"
        launch = Launch(
            command=command,
            folder=run_folder.resolve(),
            swap=spec.swap,
            seed=None if spec.takes_seed else spec.drawn,
            learning_rate=spec.learning_rate,
            rescale=spec.rescale,
            max_steps=spec.max_steps,
            threads=spec.threads,
            # Which steps are observed decides which units are called dead: no arm, no busy machine may change it.
            budget=None,
            # A group of its own: a timeout ends its workers, too, and Ctrl-C reaches them through `stop` only.
            own_group=True,
            files_since=began(folder.parent) if self._since is None else self._since,
            own_folders=(str(folder), str(temporary)),
            temporary=temporary,
            frameworks=True,
            directory=self._directory,
            explain=None if spec.intervention is None else _asked(spec.intervention),
        )
        start_of_trial = time.perf_counter()
        with self._running.one() as started, (folder / OUTPUT).open("wb") as output, open(os.devnull, "rb") as nothing:
            code = start(
                launch,
                stdin=nothing,
                stdout=output,
                stderr=output,
                timeout=self._timeout,
                started=started,
            )
        seconds = time.perf_counter() - start_of_trial
        # A training that removed its own folder left no record; that is how it ended.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            write_outcome(run_folder, Outcome(exit_code=code, seconds=seconds))
        return _trial(spec.arm, spec.seed, question, run_folder, code, seconds, self._timeout)

    def stop(self, patience: float = 5.0) -> None:
        """End all trainings that are running: asked first, killed after `patience` seconds. No other will start."""
        self._running.stop(patience)


def _asked(intervention: str) -> str:
    # An arm that finds nothing to change is trained all the same: its metric is that of a whole training.
    return json.dumps({"intervention": intervention, "to_the_end": True})


def began(trials: Path) -> float:
    """When the comparison's first training began, in seconds since 1970: an older file can be no training's result.

    Args:
        trials: The folder that has a folder per training.
    """
    return min(manifest.stat().st_mtime for manifest in trials.glob("*/run/run.json"))


def begin_record(spec: TrialSpec, command: tuple[str, ...], folder: Path) -> None:
    """Create a training's run folder and write what is started, which also tells later when that was."""
    run_folder = folder / "run"
    run_folder.mkdir()
    manifest = Manifest.of_now(folder.name, command=command, folder=str(run_folder.resolve()), swap=spec.swap)
    write_manifest(run_folder, manifest)


def _trial(
    arm: str, seed: int, question: Question, folder: Path, code: int, seconds: float, timeout: float | None
) -> Trial:
    failed: Failure | None = None
    if code == TIMED_OUT and timeout is not None and seconds >= timeout:
        failed = Failure(FailureKind.TIMED_OUT, f"{timeout:g}")
    elif code:
        failed = Failure(FailureKind.KILLED if code == _KILLED else FailureKind.EXIT_CODE, str(code))
    try:
        run: Run | None = read_run(folder)
    except UnreadableRun as error:
        run, failed = None, failed or Failure(FailureKind.UNREADABLE, str(error))
    if run is not None and STOPPED in run.notes:
        # It has taken all steps that were asked for; how the script took to being left is not its failure.
        failed = None
    process = None if run is None else _main_process(run, question.metric)
    metric = None
    if process is not None and failed is None:
        values = _values(process, question, folder)
        if len(values):
            metric = summarise(values, question.summary, higher=question.higher_is_better)
    if metric is not None and not math.isfinite(metric):
        metric, failed = None, Failure(FailureKind.NOT_FINITE, question.metric)
    if failed is None and process is not None and judge_progress(process.series("loss")).state == "none":
        # Asked of the loss, because it can be asked of every arm alike; a silent layer only of some.
        failed = Failure(FailureKind.NO_PROGRESS)
    return Trial(
        arm=arm,
        seed=seed,
        metric=metric,
        failed=failed,
        dead_fraction=None if process is None else dead_fraction(process),
        seconds=seconds,
        fingerprint=None if process is None else fingerprint(process, question.metric),
        motionless=process is not None and motionless(process, question.metric),
        asked=question.asked,
        changed=None if process is None or process.applied is None else process.applied.times,
    )


def _values(process: Process, question: Question, folder: Path) -> FloatArray:
    if question.pattern is None:
        return to_summarise(process.series(question.metric), question)
    found = [printed_values(question.pattern, part) for part in _parts(folder.parent / OUTPUT)]
    return np.concatenate([np.empty(0), *found])


def to_summarise(series: Series, question: Question) -> FloatArray:
    """The values that a summary is of: a mean asks for values equally far apart, the others for all that were kept."""
    return series.even.values if question.summary == "last-tenth" else series.values


def _parts(output: Path) -> Iterator[str]:
    """What a training printed, some megabytes at a time that end with a line: it may be more than the memory."""
    try:
        with output.open(encoding="utf-8", errors="replace") as file:
            while part := file.read(_PART_BYTES):
                yield part + file.readline(_PART_BYTES)
    except OSError:
        return


def _printed(folder: Path) -> str:
    """The end of what a training printed."""
    try:
        with (folder / OUTPUT).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _END_BYTES))
            return file.read(_END_BYTES).decode(errors="replace")
    except OSError:
        return ""


def read_again(trial: Trial, question: Question, comparison: Path) -> Trial | None:
    """Read a finished training for another metric than it was read for; None where its record is gone.

    Args:
        trial: As it was read before.
        question: What is asked now.
        comparison: The comparison's folder.
    """
    folder = comparison / (trial.run or "")
    try:
        outcome = read_run(folder).outcome if trial.run else None
    except UnreadableRun:
        return None
    if outcome is None:
        return None
    again = _trial(trial.arm, trial.seed, question, folder, outcome.exit_code, trial.seconds, None)
    # Only the driver of that time knew its timeout.
    stopped = trial.failed is not None and trial.failed.kind is FailureKind.TIMED_OUT
    return replace(again, run=trial.run, failed=trial.failed if stopped else again.failed)


def _main_process(run: Run, metric: str) -> Process | None:
    """The process of lowest rank that gave the metric, else the one of lowest rank."""
    with_metric = [process for process in run.processes if len(process.series(metric).values)]
    return min(with_metric or run.processes, key=lambda process: process.writer.rank, default=None)


def dead_fraction(process: Process) -> float | None:
    """Give the share of all counted units that are dead or suspected at the end."""
    counted = [
        (layer.dead + layer.suspected, layer.units)
        for layer in diagnose(process).layers
        if layer.units is not None and layer.dead is not None and layer.suspected is not None
    ]
    units = sum(n for _, n in counted)
    return sum(dead for dead, _ in counted) / units if units else None


def fingerprint(process: Process, metric: str) -> str | None:
    """Give a text that is equal for two trainings whose losses and values of the metric were all equal to the bit."""
    series = _compared(process, metric)
    if not any(len(values) for values in series):
        return None
    return hashlib.sha256(b"|".join(values.tobytes() for values in series)).hexdigest()


def motionless(process: Process, metric: str) -> bool:
    """Whether there are losses or values of the metric, and none of them ever differed from the first."""
    series = [values for values in _compared(process, metric) if len(values)]
    return bool(series) and not any((values != values[0]).any() for values in series)


def _compared(process: Process, metric: str) -> list[FloatArray]:
    # Which extremes are kept of a long run depends on where its windows end, and so on the clock.
    names = dict.fromkeys(("loss", metric))
    return [np.ascontiguousarray(process.series(name).even.values, "<f8") for name in names]


def logged_names(run_folder: Path) -> Sequence[str]:
    """Names of all series of a trial's run; none when it cannot be read."""
    return tuple(dict.fromkeys(name for process in _processes(run_folder) for name in process.series_names))


def activations_seen(run_folder: Path) -> Sequence[str]:
    """The activations that a trial's run was seen to apply; none when it cannot be read."""
    return tuple(dict.fromkeys(site.activation for process in _processes(run_folder) for site in process.sites))


def _processes(run_folder: Path) -> tuple[Process, ...]:
    try:
        return read_run(run_folder).processes
    except UnreadableRun:
        return ()


def last_error(folder: Path) -> str:
    """What a trial said as it ended by an error: the exception's line, else its last one; "" where it said nothing."""
    lines = [line.rstrip() for line in _printed(folder).splitlines() if line.strip()]
    for number in range(len(lines) - 1, -1, -1):
        if lines[number].startswith("Traceback (most recent call last)"):
            # Of an exception that came of another one it is the last; a message may have several lines.
            return next((line for line in lines[number + 1 :] if not line[0].isspace()), "")
    return lines[-1].strip() if lines else ""


def last_lines(folder: Path) -> str:
    """The end of what a trial printed, for an error's text."""
    return "\n".join(_printed(folder).splitlines()[-_LAST_LINES:])
