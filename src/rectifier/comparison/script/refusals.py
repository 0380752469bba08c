"""What makes a comparison of a script worthless: said as soon as it shows, before more is trained."""

import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rectifier._formatting import counted
from rectifier.comparison.question import BASELINE, COMPETITORS, TREATED, Question, is_change
from rectifier.comparison.script.isolation import passed_files
from rectifier.comparison.script.trial import OUTPUT, activations_seen, last_lines, logged_names
from rectifier.errors import NothingToCompare
from rectifier.records import Failure, Trial
from rectifier.report.sentences.failures import failure_text


class Refusals:
    """Ends a comparison of a script with what is wrong, and with what to do.

    Args:
        question: What is asked.
        folder: The comparison's.
    """

    def __init__(self, question: Question, folder: Path) -> None:
        self._question = question
        self._folder = folder
        self._plan = list(question.plan())

    def unmeasured(self, done: Mapping[str, Trial]) -> None:
        """End a continued comparison that asks for what its finished trainings do not have."""
        for trial in (done[spec.key] for spec in self._plan if spec.key in done):
            if trial.arm == BASELINE and trial.metric is None and trial.failed is None:
                raise self.no_metric(trial)

    def identical(self, done: Mapping[str, Trial]) -> None:
        """End a comparison in which seeds, or arms, change nothing."""
        self._seeds_that_do_nothing(done)
        self._arms_that_do_nothing(done)

    def _arms_that_do_nothing(self, done: Mapping[str, Trial]) -> None:
        """End a comparison in which every arm's first training equals that of the script as it is, to the bit."""
        arms = [arm for arm in self._question.arms if arm not in COMPETITORS]
        if not arms:
            return
        seed = [spec for spec in self._plan if spec.seed == 0 and spec.arm in (BASELINE, *arms)]
        first = {spec.arm: done.get(spec.key) for spec in seed}
        baseline = first[BASELINE]
        if baseline is None or baseline.fingerprint is None or baseline.motionless:
            return
        if any(trial is None or trial.fingerprint != baseline.fingerprint for trial in first.values()):
            return
        seen = activations_seen(self._folder / (baseline.run or ""))
        used = f"the activations seen in it are {', '.join(seen)}" if seen else "no activation was seen in it"
        if any(is_change(arm) for arm in arms):
            raise NothingToCompare(
                f"no arm changes anything: with {', '.join(arms)} the training is the same to the bit. The script has "
                f"nothing that these would change; {used}."
            )
        raise NothingToCompare(
            f"no arm changes anything: with {', '.join(arms)} in the place of {TREATED} the "
            f"training is the same to the bit. The script seems to apply no {TREATED}: {used}."
        )

    def _seeds_that_do_nothing(self, done: Mapping[str, Trial]) -> None:
        """End a comparison whose first two baseline trainings are equal to the bit: all others would be copies, too."""
        first = [done.get(spec.key) for spec in self._plan if spec.arm == BASELINE][:2]
        one, other = first if len(first) == 2 else (None, None)
        if one is None or other is None or one.fingerprint is None or one.fingerprint != other.fingerprint:
            return
        if one.motionless:
            # Two dead networks have the same constant loss whatever their seeds.
            return
        if any("{seed}" in part for part in self._question.command):
            how = "The option that {seed} stands in does not reach what the training draws at random."
        else:
            how = (
                "The script sets its own seed, or draws nothing at random. Let it take the seed as an option and "
                f"write {{seed}} in its place, for example: rectifier compare {shlex.join(self._question.command)} "
                "--seed {seed}"
            )
        raise NothingToCompare(
            f"different seeds gave identical results: {one.fingerprint[:12]} for seeds 0 and 1. {how}"
        )

    def passed_files(self, ended: str, runs: Mapping[str, Path], forget: Callable[[Iterable[str]], None]) -> None:
        """End a comparison in which a training read what another one had written; both are run again if it goes on.

        Args:
            ended: Key of the training that has just ended.
            runs: Run folders by key: of all that have ended, and of those that are running.
            forget: Drops trials, so that they are run again.
        """
        specs = {spec.key: spec for spec in self._plan}
        passed = passed_files(ended, {key: folder for key, folder in runs.items() if key in specs})
        if not passed:
            return
        forget({key for file in passed for key in (file.reader, file.writer)})
        one = passed[0]
        writer, reader = (f"{specs[key].arm}, seed {specs[key].seed}" for key in (one.writer, one.reader))
        more = f" (and {counted(len(passed) - 1, 'more file')})" if passed[1:] else ""
        command = shlex.join(["rectifier", "compare", *self._question.command, "--out", "{trial_dir}"])
        raise NothingToCompare(
            f"one training read what another one had written, so the comparison would be invalid: {reader} read "
            f"{one.path}{more} after {writer} had written it. Let each training write into a folder of its own, "
            f"{{trial_dir}} stands for one, for example: {command}. If the file "
            "is a cache that each of them would have filled alike, type the same command again: these trainings are "
            "repeated, and find it there."
        )

    def no_metric(self, trial: Trial) -> NothingToCompare:
        """The script has ended well, and gave no metric."""
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
        return NothingToCompare(
            f"the script ended without a value of {self._question.metric!r}: {found}. {self._told(folder)}"
        )

    def crash(self, trial: Trial, failure: Failure) -> NothingToCompare:
        """The script fails as it is."""
        folder = self._folder / (trial.run or "")
        return NothingToCompare(
            f"the script fails as it is ({failure_text(failure)}), before anything was changed in it. Does it run "
            f"alone, with the same arguments from this directory? {self._told(folder)}"
        )

    def _told(self, folder: Path) -> str:
        text = last_lines(folder.parent)
        return f"The end of {folder.parent / OUTPUT}:\n{text}" if text else "It printed nothing."
