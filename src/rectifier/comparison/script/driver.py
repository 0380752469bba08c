"""Runs all trials of a question, a few at a time, and keeps each one the moment it has ended.

Only this thread writes. A kill at any moment loses the trials that were running and nothing else; the same question
on the same folder goes on with what is missing.
"""

import itertools
import math
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from rectifier.comparison.archive import Archive, open_archive
from rectifier.comparison.database import Say
from rectifier.comparison.engine import Ended, Engine
from rectifier.comparison.question import BASELINE, Question, TrialSpec
from rectifier.comparison.script.refusals import Refusals
from rectifier.comparison.weighing import Ahead
from rectifier.errors import CannotKeep
from rectifier.records import ArmVerdict, Comparison, Failure, FailureKind, Trial

Launcher = Callable[[TrialSpec, Question, Path], Trial]
"""Runs one trial in a new folder of its own and tells how it ended."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM: everything that had ended is kept."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a comparison is.

    Attributes:
        trial: What ended last, None before the first and at an analysis.
        done: Finished trials of this question, those of earlier drivers included.
        total: All of them, if no other arm stops early.
        least: All of them, if every arm has a verdict at the next analysis.
        mean_seconds: Of the finished ones, None before the first has ended.
        seconds_left: Their mean × those missing ÷ those running at once.
        least_seconds_left: Likewise, if every arm has a verdict at the next analysis.
        analysis: Seeds of an analysis that has just been taken, None otherwise.
        decided: Arms to which this analysis gave a verdict.
    """

    trial: Trial | None
    done: int
    total: int
    least: int
    mean_seconds: float | None
    seconds_left: float | None
    least_seconds_left: float | None
    analysis: int | None = None
    decided: tuple[ArmVerdict, ...] = ()


def run_comparison(
    question: Question,
    folder: Path,
    launcher: Launcher,
    *,
    jobs: int = 1,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop_running: Callable[[], None] = lambda: None,
    read_again: Callable[[Trial, Question, Path], Trial | None] = lambda trial, question, folder: None,
    say: Say = lambda text: None,
) -> Comparison:
    """Run what is missing and weigh the whole.

    The first baseline trial runs alone: it tells what the comparison will cost, and whether there is a metric at all.
    Seeds come in batches, an analysis after each; arms with a verdict stop early.

    Args:
        question: What to compare.
        folder: The comparison's folder; created when missing, continued when not.
        launcher: Runs one trial.
        jobs: Trials at a time.
        on_progress: Called before the first trial and after each.
        stop_running: Called once on an interruption, to end the trials that are running.
        read_again: Reads a trial that was read for another metric; None when it must be run again.
        say: Told what is waited for.

    Raises:
        NothingToCompare: The script gave no metric, failed as it is on its first two seeds, or gives the same
            results whatever the seed; the text says what to do.
        CannotKeep: The disk takes no more, or another program does not let go of the file; what had ended is kept.
        Interrupted: On Ctrl-C, after everything that had ended was kept.
    """
    with open_archive(folder, say) as archive:
        _read_for(question, folder, archive, read_again)
        driver = _Driver(question, folder, launcher, jobs, archive, on_progress, stop_running)
        try:
            driver.run()
        except KeyboardInterrupt:
            raise Interrupted from None
        finally:
            driver.close()
        comparison = driver.comparison()
        archive.keep_judged(question)
        return comparison


def _read_for(
    question: Question, folder: Path, archive: Archive, read_again: Callable[[Trial, Question, Path], Trial | None]
) -> None:
    """Read the trials of this question again that were read for another metric."""
    recorded = archive.trials()
    for spec in question.plan():
        trial = recorded.get(spec.key)
        if trial is None or trial.asked in (None, question.asked):
            continue
        again = read_again(trial, question, folder)
        if again is None:
            archive.forget([spec.key])
        else:
            archive.record(spec.key, again)


class _Driver:
    def __init__(
        self,
        question: Question,
        folder: Path,
        launcher: Launcher,
        jobs: int,
        archive: Archive,
        on_progress: Callable[[Progress], None],
        stop_running: Callable[[], None],
    ) -> None:
        self._question = question
        self._folder = folder
        self._launcher = launcher
        self._jobs = jobs
        self._archive = archive
        self._on_progress = on_progress
        self._stop_running = stop_running
        self._stopping = False
        self._began = time.perf_counter()
        self._folders: dict[str, Path] = {}
        """Of the trials that are running, by key."""
        archive.keep_question(question)
        self._refusals = Refusals(question, folder)
        self._engine = Engine(question, archive.trials())
        self._note_analysis()

    def run(self) -> None:
        self._refusals.unmeasured(self._engine.done)
        self._refusals.identical(self._engine.done)
        self._tell(None)
        if not self._engine.done:
            self._run_first()
        self._engine.run(self._train, self._ended, self._analysed)

    def comparison(self) -> Comparison:
        """Weigh the whole."""
        return self._engine.comparison(self._archive.seconds(), self._archive.judged())

    def _train(self, specs: Sequence[TrialSpec], ended: Ended) -> None:
        # The second seed of the script as it is comes early: it shows whether seeds change anything at all.
        self._run_all(sorted(specs, key=lambda spec: not (spec.arm == BASELINE and spec.seed == 1)), ended)

    def _ended(self, spec: TrialSpec, trial: Trial) -> None:
        self._record(spec, trial)
        self._refusals.identical(self._engine.done)

    def _note_analysis(self) -> None:
        self._earlier = len(self._engine.done)
        # Where an analysis has been taken its verdicts can be read: it counts, also if the comparison never ends.
        if self._engine.ahead.analysis > self._question.planned_analyses[0]:
            self._archive.keep_judged(self._question)

    def _analysed(self, before: Ahead) -> None:
        self._note_analysis()
        if self._question.interim[1:]:
            known = {row.arm for row in before.decided}
            self._tell(None, before.analysis, tuple(row for row in self._engine.ahead.decided if row.arm not in known))

    def close(self) -> None:
        # What ends the comparison says so; the time that it took is nothing to fail for.
        with suppress(CannotKeep):
            self._archive.add_seconds(time.perf_counter() - self._began)

    def _run_first(self) -> None:
        """Run the script as it is until one training has come through; a second crash ends the comparison."""
        crashed: list[tuple[TrialSpec, Trial, Failure]] = []
        for spec in [spec for spec in self._question.plan() if spec.arm == BASELINE][:2]:
            (trial,) = self._run_alone(spec)
            if trial.failed is not None and trial.metric is None and trial.failed.kind is not FailureKind.NOT_FINITE:
                crashed.append((spec, trial, trial.failed))
                continue
            if trial.failed is None and trial.metric is None:
                raise self._refusals.no_metric(trial)
            self._keep(spec, trial)
            break
        else:
            raise self._refusals.crash(*crashed[-1][1:])
        # A crash beside a training that came through is an outcome like any other.
        for spec, trial, _ in crashed:
            self._keep(spec, trial)

    def _run_alone(self, spec: TrialSpec) -> list[Trial]:
        trials: list[Trial] = []
        self._run_all([spec], lambda spec, trial: trials.append(trial))
        return trials

    def _run_all(self, todo: Sequence[TrialSpec], ended: Ended) -> None:
        waiting = deque(todo)
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="trial") as pool:
            running: dict[Future[Trial], TrialSpec] = {}
            try:
                while waiting or running:
                    while waiting and len(running) < self._jobs:
                        spec = waiting.popleft()
                        running[pool.submit(self._launch, spec)] = spec
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    # One that raises comes last: what ended beside it is kept.
                    for future in sorted(finished, key=lambda future: future.exception() is not None):
                        trial = future.result()
                        ended(running.pop(future), trial)
            except BaseException:
                # Leaving the pool waits for its threads, and they wait for their trainings.
                self._stopping = True
                self._stop_running()
                raise

    def _launch(self, spec: TrialSpec) -> Trial:
        trial = self._launch_once(spec)
        # By somebody from outside, or by the system for want of memory. Only the second happens again.
        killed = trial.failed is not None and trial.failed.kind is FailureKind.KILLED and not self._stopping
        return self._launch_once(spec) if killed else trial

    def _launch_once(self, spec: TrialSpec) -> Trial:
        folder = self._folders[spec.key] = self._new_folder(spec)
        trial = self._launcher(spec, self._question, folder)
        return replace(trial, run=str((folder / "run").relative_to(self._folder)))

    def _new_folder(self, spec: TrialSpec) -> Path:
        """A folder that no other attempt has written to: after a kill, an orphan may still be at work in its own."""
        name = f"{re.sub(r'[^a-z0-9.]+', '-', spec.arm)}-seed-{spec.seed}"
        for number in itertools.count(1):
            folder = self._folder / "trials" / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            return folder
        raise AssertionError("unreachable")

    def _keep(self, spec: TrialSpec, trial: Trial) -> None:
        self._engine.done[spec.key] = trial
        self._record(spec, trial)

    def _record(self, spec: TrialSpec, trial: Trial) -> None:
        self._archive.record(spec.key, trial)
        self._tell(trial)
        running = {key: folder / "run" for key, folder in self._folders.items()}
        ended = {key: self._folder / one.run for key, one in self._engine.done.items() if one.run is not None}
        self._refusals.passed_files(spec.key, running | ended, self._archive.forget)
        self._folders.pop(spec.key, None)

    def _tell(self, trial: Trial | None, analysis: int | None = None, decided: tuple[ArmVerdict, ...] = ()) -> None:
        done = len(self._engine.done)
        least = self._earlier + len(self._engine.ahead.now)
        total = least + len(self._engine.ahead.later)
        mean = sum(trial.seconds for trial in self._engine.done.values()) / done if done else None
        most_left, least_left = (
            None if mean is None else mean * math.ceil((trainings - done) / self._jobs) for trainings in (total, least)
        )
        self._on_progress(Progress(trial, done, total, least, mean, most_left, least_left, analysis, decided))
