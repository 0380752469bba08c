"""Decides over trials: reproduces a failure, changes one thing at a time, checks each cure against luck.

It knows no process and no folder: a function that runs one trial is all it asks for.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rectifier.comparison.explain.judgement import knowledge
from rectifier.comparison.explain.judgement.controls import Controls
from rectifier.comparison.explain.judgement.cures import Cure, is_confirmed, is_rival, is_sure, settled_by
from rectifier.comparison.explain.judgement.evidence import suspected
from rectifier.comparison.explain.judgement.experiment import cured, experiment_of, explained_failure, motionless
from rectifier.comparison.explain.judgement.failure import Certain, Failing, failure_of, gain_of, looked_at, onset_of
from rectifier.comparison.explain.judgement.verdict import Evidence, Verdict, conclude
from rectifier.comparison.explain.lengths import steps_certain, steps_enough, steps_outliving, steps_with, until_failed
from rectifier.comparison.explain.progress import Step
from rectifier.comparison.explain.trials.trial import Ask, Runner, Shown, ended_by_error, same_losses
from rectifier.diagnosis import thresholds as limit
from rectifier.records import CauseKind, Change, Conclusion, Experiment, Explanation, Intervention, Rule, Sight


class OutOfTime(Exception):
    """No further trial may begin."""


@dataclass(slots=True)
class Engine:
    """One explanation at work.

    Attributes:
        run: Runs a trial.
        jobs: Trials at a time.
        may_begin: Asked before each trial; False ends the explanation with what it has.
        tell: Told of everything that ends.
        stop: Ends the trials that are running.
        finding: The rule that is to be explained; None for the most serious finding.
        because: A failure in the user's words.
        here: Whether trials run in this thread, one at a time: what is run is the user's own function.
    """

    run: Runner
    jobs: int = 1
    may_begin: Callable[[], bool] = lambda: True
    tell: Callable[[Step], None] = lambda step: None
    stop: Callable[[], None] = lambda: None
    finding: Rule | None = None
    because: str | None = None
    here: bool = False
    _experiments: list[Experiment] = field(default_factory=list)
    _done: int = 0
    _most: int | None = None
    _cures: list[Cure] = field(default_factory=list)
    _controls: Controls = field(default_factory=Controls)
    _base: Shown | None = None
    _failing: Failing | None = None
    _stop: int | None = None
    _certain_at: int | None = None
    _sights: tuple[Sight, ...] = ()

    def explain(self) -> Explanation:
        """Find the cause, as far as time allows.

        Raises:
            CannotExplain: `because` cannot be read.
        """
        ended: Conclusion | None = None
        try:
            ended = self._explain()
        except OutOfTime:
            ended = Conclusion.UNFINISHED
        return self._explanation(ended)

    def _explain(self) -> Conclusion | None:
        certain = None if self.because is not None else Certain(self.finding)
        base = self._base = self._runs([Ask(enough=certain)])[0]
        failing = self._failing = failure_of(base, finding=self.finding, because=self.because)
        if failing is None:
            return Conclusion.NOTHING_TO_EXPLAIN
        if not self._reproduce(failing, base):
            return Conclusion.NOT_REPRODUCED
        kinds = suspected(failing, self._sights, base)
        if kinds and kinds[0] in knowledge.STRUCTURAL and not knowledge.mendable(kinds[0]):
            # Nothing from outside mends it, and what is seen leaves no doubt.
            return None
        self._experiment(kinds, failing)
        return None

    def _reproduce(self, failing: Failing, base: Shown) -> bool:
        """Run it again, looked at closely, and only as far as the failure takes."""
        stop = steps_enough(onset_of(failing, base), base.steps)
        if stop is None and base.stopped:
            stop = base.steps
        look = looked_at(failing, base)
        # The same script with the same seed: it has failed as soon as the first run had.
        first = self._certain_at = steps_certain(failing, base, stop, look[1])
        while True:
            again = self._runs([Ask(stop_after=first, microscope=look, **self._fails(first))])[0]
            if self._controls.deterministic is None:
                self._controls.deterministic = same_losses(base, again)
            self._sights, self._stop = again.sights, stop
            if failing.seen_in(again):
                self._controls.unchanged[None] = again
                return True
            if first == stop:
                if stop is None:
                    return False
                stop = 2 * stop if base.stopped else steps_enough(2 * stop, base.steps)
            first = stop

    def _experiment(self, kinds: Sequence[CauseKind], failing: Failing) -> None:
        rule = "" if failing.rule is None else str(failing.rule)
        todo = knowledge.candidates(kinds, self._sights, rule)
        if kinds and kinds[0] in knowledge.STRUCTURAL:
            # It is seen as it is: a change can confirm it, and none could take its place.
            todo = [one for one in todo if knowledge.supports(kinds[0], one)]
        rivals = 0
        assert self._base is not None
        nothing_left = set(self._base.idle)
        if failing.level is not None and np.isfinite(failing.level):
            # In another unit the loss tells nothing of the one that was named.
            nothing_left |= knowledge.OTHER_LOSS
        if self._sights and not any(sight.cause_kind is CauseKind.LOSS_TERM for sight in self._sights):
            # The microscope tells addends apart, and has met none.
            nothing_left.add(Change.LOSS_TERM_OFF)
        while todo := [one for one in todo if one.change not in nothing_left]:
            batch, todo = todo[: self.jobs], todo[self.jobs :]
            self._most = len(todo)
            ended = self._changed([self._ask(one) for one in batch])
            for experiment, shown in ended:
                if experiment.idle and not experiment.error:
                    # Nor is there a further addend of the loss, or another place.
                    nothing_left.add(experiment.intervention.change)
                if cured(experiment) and not (is_sure(kinds, self._cures) and is_rival(experiment.intervention, kinds)):
                    self._follow(experiment, shown, failing)
                    nothing_left |= settled_by(self._cures)
            if is_confirmed(kinds, self._cures):
                # Seen as it is, and confirmed: nothing is left to doubt.
                return
            if is_sure(kinds, self._cures):
                rivals += len(batch)
                if rivals > limit.EXPLAIN_RIVALS:
                    return

    def _ask(self, intervention: Intervention) -> Ask:
        """A trial with a change: as long as this change may put the failure off, unless it fails before."""
        assert self._base is not None
        stop = steps_with(intervention.change, self._base, self._stop)
        return Ask(intervention=intervention, stop_after=stop, **self._fails(self._stop))

    def _fails(self, stop: int | None) -> dict[str, Any]:
        """Ends a trial at work that has failed for good: long after the failure was certain unchanged."""
        assert self._failing is not None
        assert self._base is not None
        return until_failed(self._failing, self._base, stop)

    def _follow(self, experiment: Experiment, shown: Shown, failing: Failing) -> None:
        """See whether a cure is one, on other failing seeds too."""
        intervention = experiment.intervention
        self._control(failing)
        held, failed = 1, 0
        for seed, unchanged in self._controls.unchanged.items():
            if seed is None or not failing.seen_in(unchanged):
                continue
            ask = Ask(intervention=intervention, seed=seed, stop_after=steps_outliving(unchanged, self._stop))
            other, _ = self._changed([ask])[0]
            if other.error:
                continue
            if not cured(other):
                failed += 1
                break
            held += 1
        assert self._base is not None
        detail = "" if shown.applied is None else shown.applied.detail
        self._cures.append(
            Cure(
                intervention=intervention,
                held=held,
                failed=failed,
                detail=detail,
                gain=gain_of(intervention.change, shown, self._base),
            )
        )

    def _control(self, failing: Failing) -> None:
        """Run the script with a change of no meaning, and unchanged with other seeds; once for all cures."""
        if self._controls.placebo_failed is not None:
            return
        for stop in dict.fromkeys((self._certain_at, self._stop)):
            ask = Ask(intervention=Intervention(Change.PLACEBO), stop_after=stop, **self._fails(stop))
            placebo, _ = self._changed([ask])[0]
            if placebo.unhelpful:
                break
        self._controls.placebo_failed = placebo.unhelpful
        first = self._controls.unchanged[None]
        assert self._base is not None
        for seed in range(1, limit.EXPLAIN_MOST_SEEDS):
            shown = self._runs([Ask(seed=seed, stop_after=self._stop, **self._fails(self._stop))])[0]
            if ended_by_error(shown, self._base):
                continue
            if self._controls.reach is None:
                # The constant losses of two dead networks tell nothing of their seeds.
                self._controls.reach = motionless(shown) or not same_losses(first, shown)
                if not self._controls.reach:
                    return
            self._controls.unchanged[seed] = shown
            if self._controls.tell(failing) or not self._controls.may_tell(failing):
                return

    def _changed(self, asks: Sequence[Ask]) -> list[tuple[Experiment, Shown]]:
        """Run trials with a change each."""
        found = []
        assert self._failing is not None
        for ask, shown in zip(asks, self._runs(asks), strict=True):
            unchanged = self._base if ask.seed is None else self._controls.unchanged[ask.seed]
            assert unchanged is not None
            experiment = experiment_of(ask, shown, self._controls.unchanged[ask.seed], unchanged, self._failing)
            self._experiments.append(experiment)
            found.append((experiment, shown))
            self.tell(Step(self._done, experiment, shown, self._failing, self._most, self._stop))
        return found

    def _runs(self, asks: Sequence[Ask]) -> list[Shown]:
        if not self.may_begin():
            raise OutOfTime
        shown = [self.run(ask) for ask in asks] if self.here else self._runs_in_threads(asks)
        self._done += len(shown)
        for ask, one in zip(asks, shown, strict=True):
            if ask.intervention.change is Change.NONE:
                self.tell(Step(self._done, None, one, self._failing, self._most, self._stop))
        return shown

    def _runs_in_threads(self, asks: Sequence[Ask]) -> list[Shown]:
        # Also a single one: Ctrl-C is for this thread, and a trial in it would take it for its script.
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="trial") as pool:
            running = [pool.submit(self.run, ask) for ask in asks]
            try:
                return [one.result() for one in running]
            except BaseException:
                # Leaving the pool waits for its threads, and they wait for their trials.
                self.stop()
                raise

    def _explanation(self, ended: Conclusion | None) -> Explanation:
        failing, base = self._failing, self._base
        if failing is None or base is None or ended in (Conclusion.NOTHING_TO_EXPLAIN, Conclusion.NOT_REPRODUCED):
            return Explanation(
                conclusion=ended or Conclusion.UNFINISHED,
                control=self._controls.record(failing, base),
                failure=explained_failure(failing, base, None),
            )
        verdict: Verdict = conclude(
            Evidence(
                failing=failing,
                kinds=suspected(failing, self._sights, base),
                cures=self._cures,
                experiments=self._experiments,
                sights=self._sights,
                chaotic=self._controls.placebo_failed is False,
                this_run=self._controls.reach is False or not self._controls.tell(failing),
                unfinished=ended is Conclusion.UNFINISHED,
            )
        )
        return Explanation(
            conclusion=verdict.conclusion,
            cause=verdict.causes[0],
            causes=verdict.causes,
            established=verdict.causes[0].established,
            remedies=verdict.remedies,
            experiments=tuple(self._experiments),
            control=self._controls.record(failing, base),
            sights=self._sights,
            failure=explained_failure(failing, base, self._stop, self.because),
        )
