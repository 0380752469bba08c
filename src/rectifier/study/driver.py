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
from dataclasses import dataclass, replace
from pathlib import Path

from rectifier.errors import NothingToCompare
from rectifier.records import ArmVerdict, Comparison, Failure, FailureKind, Trial
from rectifier.report.failures import failure_text
from rectifier.study.archive import Archive, open_archive
from rectifier.study.engine import Ended, Engine
from rectifier.study.isolation import passed_files
from rectifier.study.question import BASELINE, COMPETITORS, TREATED, Question, TrialSpec
from rectifier.study.trial import CONSTANT, OUTPUT, activations_seen, last_lines, logged_names
from rectifier.study.weighing import Ahead

Launcher = Callable[[TrialSpec, Question, Path], Trial]
"""Runs one trial in a new folder of its own and tells how it ended."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM: everything that had ended is kept."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a study is.

    Attributes:
        trial: What ended last, None before the first and at a look.
        done: Finished trials of this question, those of earlier drivers included.
        total: All of them, if no other arm is settled early.
        least: All of them, if the next look settles every arm.
        mean_seconds: Of the finished ones, None before the first has ended.
        seconds_left: Their mean × those missing ÷ those running at once.
        least_seconds_left: Likewise, if the next look settles every arm.
        look: Seeds of a look that has just been taken, None otherwise.
        settled: Arms that this look has settled.
    """

    trial: Trial | None
    done: int
    total: int
    least: int
    mean_seconds: float | None
    seconds_left: float | None
    least_seconds_left: float | None
    look: int | None = None
    settled: tuple[ArmVerdict, ...] = ()


def run_study(
    question: Question,
    folder: Path,
    launcher: Launcher,
    *,
    jobs: int = 1,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop_running: Callable[[], None] = lambda: None,
    read_again: Callable[[Trial, Question, Path], Trial | None] = lambda trial, question, study: None,
) -> Comparison:
    """Run what is missing and weigh the whole.

    The first baseline trial runs alone: it tells what the study will cost, and whether there is a metric at all. Seeds
    come in batches, a look after each; arms that a look has settled are trained no more.

    Args:
        question: What to compare.
        folder: The study's folder; created when missing, continued when not.
        launcher: Runs one trial.
        jobs: Trials at a time.
        on_progress: Called before the first trial and after each.
        stop_running: Called once on an interruption, to end the trials that are running.
        read_again: Reads a trial that was read for another metric; None when it must be run again.

    Raises:
        NothingToCompare: The script gave no metric, failed as it is on its first two seeds, or gives the same
            results whatever the seed; the text says what to do.
        Interrupted: On Ctrl-C, after everything that had ended was kept.
    """
    with open_archive(folder) as archive:
        _read_for(question, folder, archive, read_again)
        study = _Study(question, folder, launcher, jobs, archive, on_progress, stop_running)
        try:
            study.run()
        except KeyboardInterrupt:
            raise Interrupted from None
        finally:
            study.close()
        comparison = study.comparison()
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


class _Study:
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
        self._plan = list(question.plan())
        self._engine = Engine(question, archive.trials())
        self._note_look()

    def run(self) -> None:
        self._refuse_a_metric_that_nothing_has()
        self._refuse_identical()
        self._tell(None)
        if not self._engine.done:
            self._run_first()
        self._engine.run(self._train, self._ended, self._looked)

    def comparison(self) -> Comparison:
        """Weigh the whole."""
        return self._engine.comparison(self._archive.seconds(), self._archive.judged())

    def _train(self, specs: Sequence[TrialSpec], ended: Ended) -> None:
        # The second seed of the script as it is comes early: it shows whether seeds change anything at all.
        self._run_all(sorted(specs, key=lambda spec: not (spec.arm == BASELINE and spec.seed == 1)), ended)

    def _ended(self, spec: TrialSpec, trial: Trial) -> None:
        self._record(spec, trial)
        self._refuse_identical()

    def _note_look(self) -> None:
        self._earlier = len(self._engine.done)
        # Where a look has been taken its verdicts can be read: it counts, also if the study never ends.
        if self._engine.ahead.look > self._question.planned_looks[0]:
            self._archive.keep_judged(self._question)

    def _looked(self, before: Ahead) -> None:
        self._note_look()
        if self._question.looks[1:]:
            known = {row.arm for row in before.settled}
            self._tell(None, before.look, tuple(row for row in self._engine.ahead.settled if row.arm not in known))

    def _refuse_a_metric_that_nothing_has(self) -> None:
        """End a continued study that asks for what its finished trainings do not have."""
        done = [self._engine.done[spec.key] for spec in self._plan if spec.key in self._engine.done]
        for trial in done:
            if trial.arm == BASELINE and trial.metric is None and trial.failed is None:
                raise NothingToCompare(self._no_metric(trial))

    def close(self) -> None:
        self._archive.add_seconds(time.perf_counter() - self._began)

    def _run_first(self) -> None:
        """Run the script as it is until one training has come through; a second crash ends the study."""
        crashed: list[tuple[TrialSpec, Trial, Failure]] = []
        for spec in [spec for spec in self._plan if spec.arm == BASELINE][:2]:
            (trial,) = self._run_alone(spec)
            if trial.failed is not None and trial.metric is None and trial.failed.kind is not FailureKind.NOT_FINITE:
                crashed.append((spec, trial, trial.failed))
                continue
            if trial.failed is None and trial.metric is None:
                raise NothingToCompare(self._no_metric(trial))
            self._keep(spec, trial)
            break
        else:
            raise NothingToCompare(self._crash(*crashed[-1][1:]))
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
        self._refuse_passed_files(spec)
        self._folders.pop(spec.key, None)

    def _tell(self, trial: Trial | None, look: int | None = None, settled: tuple[ArmVerdict, ...] = ()) -> None:
        done = len(self._engine.done)
        least = self._earlier + len(self._engine.ahead.now)
        total = least + len(self._engine.ahead.later)
        mean = sum(trial.seconds for trial in self._engine.done.values()) / done if done else None
        most_left, least_left = (
            None if mean is None else mean * math.ceil((trainings - done) / self._jobs) for trainings in (total, least)
        )
        self._on_progress(Progress(trial, done, total, least, mean, most_left, least_left, look, settled))

    def _refuse_identical(self) -> None:
        self._refuse_seeds_that_do_nothing()
        self._refuse_arms_that_do_nothing()

    def _refuse_arms_that_do_nothing(self) -> None:
        """End a study in which every arm's first training equals that of the script as it is, to the bit."""
        arms = [arm for arm in self._question.arms if arm not in COMPETITORS]
        if not arms:
            return
        seed = [spec for spec in self._plan if spec.seed == 0 and spec.arm in (BASELINE, *arms)]
        first = {spec.arm: self._engine.done.get(spec.key) for spec in seed}
        prints = {None if trial is None else trial.fingerprint for trial in first.values()}
        (only,) = prints if len(prints) == 1 else (None,)
        if only is None or only.startswith(CONSTANT):
            return
        baseline = first[BASELINE]
        seen = [] if baseline is None else activations_seen(self._folder / (baseline.run or ""))
        used = f"the activations seen in it are {', '.join(seen)}" if seen else "no activation was seen in it"
        raise NothingToCompare(
            f"no arm changes anything: with {', '.join(arms)} in the place of {TREATED} the "
            f"training is the same to the bit. The script seems to apply no {TREATED}: {used}."
        )

    def _refuse_seeds_that_do_nothing(self) -> None:
        """End a study whose first two baseline trainings are equal to the bit: all others would be copies, too."""
        first = [self._engine.done.get(spec.key) for spec in self._plan if spec.arm == BASELINE][:2]
        prints = [trial.fingerprint for trial in first if trial is not None]
        if len(prints) < 2 or prints[0] is None or prints[0] != prints[1]:
            return
        if prints[0].startswith(CONSTANT):
            # Two dead networks have the same constant loss whatever their seeds.
            return
        command = " ".join(self._question.command)
        if "{seed}" in command:
            how = "The option that {seed} stands in does not reach what the training draws at random."
        else:
            how = (
                "The script sets its own seed, or draws nothing at random. Let it take the seed as an option and "
                f"write {{seed}} in its place, for example: rectifier compare {command} --seed {{seed}}"
            )
        raise NothingToCompare(f"different seeds gave identical results: {prints[0][:12]} for seeds 0 and 1. {how}")

    def _refuse_passed_files(self, spec: TrialSpec) -> None:
        """End a study in which a training read what another one had written; both are run again if it goes on."""
        specs = {other.key: other for other in self._plan}
        running = {key: folder / "run" for key, folder in self._folders.items()}
        done = {key: self._folder / trial.run for key, trial in self._engine.done.items() if trial.run is not None}
        passed = passed_files(spec.key, {key: folder for key, folder in (running | done).items() if key in specs})
        if not passed:
            return
        self._archive.forget({key for file in passed for key in (file.reader, file.writer)})
        one = passed[0]
        writer, reader = (f"{specs[key].arm}, seed {specs[key].seed}" for key in (one.writer, one.reader))
        more = f" (and {len(passed) - 1} more files)" if len(passed) > 1 else ""
        command = " ".join(self._question.command)
        raise NothingToCompare(
            f"one training read what another one had written, so the comparison would be invalid: {reader} read "
            f"{one.path}{more} after {writer} had written it. Let each training write into a folder of its own, "
            f"{{trial_dir}} stands for one, for example: rectifier compare {command} --out {{trial_dir}}. If the file "
            "is a cache that each of them would have filled alike, type the same command again: these trainings are "
            "repeated, and find it there."
        )

    def _no_metric(self, trial: Trial) -> str:
        folder = self._folder / (trial.run or "")
        names = [name for name in logged_names(folder) if name != self._question.metric]
        if self._question.pattern is not None:
            found = f"--pattern {self._question.pattern!r} finds no number in what it printed"
        elif self._question.max_steps is not None and self._question.metric != "loss":
            seen = f", but {', '.join(names)}" if names else ""
            found = f"none was logged in its first {self._question.max_steps} steps{seen}; take more --max-steps"
        elif self._question.metric == "loss":
            found = (
                "no loss was seen: a training is observed when it uses torch, calls backward() on a loss and steps a "
                "torch optimizer"
            )
        elif names:
            found = f"it gave {', '.join(names)}; name one of these with --metric"
        else:
            found = (
                f"log it in the script: import rectifier; rectifier.log({self._question.metric!r}, value). What "
                "Lightning, Hugging Face's Trainer or TensorBoard's SummaryWriter log is found by its name, too"
            )
        return f"the script ended without a value of {self._question.metric!r}: {found}. {self._told(folder)}"

    def _crash(self, trial: Trial, failure: Failure) -> str:
        folder = self._folder / (trial.run or "")
        return (
            f"the script fails as it is ({failure_text(failure)}), before anything was changed in it. Does it run "
            f"alone, with the same arguments from this directory? {self._told(folder)}"
        )

    def _told(self, folder: Path) -> str:
        text = last_lines(folder.parent)
        return f"The end of {folder.parent / OUTPUT}:\n{text}" if text else "It printed nothing."
