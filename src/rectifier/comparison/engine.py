"""The engine of every comparison: train, judge at each analysis, go on with the arms that have no verdict. No torch.

A script in its own process (`script.driver`), a function that is called (`function`), many models at once (`models`):
each gives the engine its own way to train. The plan, the analyses and the verdicts are the same for all.
"""

from collections.abc import Callable, Mapping, Sequence

from rectifier.comparison.question import Question, TrialSpec
from rectifier.comparison.weighing import Ahead, Plan, ahead, weigh
from rectifier.records import Comparison, Trial

Ended = Callable[[TrialSpec, Trial], None]
"""Called with each trial that has ended; an exception that it raises ends the comparison."""

Train = Callable[[Sequence[TrialSpec], Ended], None]
"""Runs these trainings, in any order and as many at a time as it likes, and tells of each one as it ends."""


class Engine:
    """Answers a question.

    Attributes:
        question: What is asked.
        done: Finished trials by key, those that were recorded before included.
        ahead: What the next analysis waits for.
    """

    def __init__(self, question: Question, recorded: Mapping[str, Trial] | None = None) -> None:
        self.question = question
        known = recorded or {}
        self.done = {spec.key: known[spec.key] for spec in question.plan() if spec.key in known}
        self.ahead: Ahead = ahead(question, self.done)

    def run(
        self,
        train: Train,
        ended: Ended = lambda spec, trial: None,
        analysed: Callable[[Ahead], None] = lambda before: None,
    ) -> None:
        """Train until every arm has a verdict, or until the last analysis.

        Args:
            train: Runs trials.
            ended: Called with each trial that has ended, after it is in `done`.
            analysed: Called after each analysis, with the value that `ahead` had before it.
        """

        def keep(spec: TrialSpec, trial: Trial) -> None:
            self.done[spec.key] = trial
            ended(spec, trial)

        while self.ahead.now:
            train([spec for spec in self.ahead.now if spec.key not in self.done], keep)
            before, self.ahead = self.ahead, ahead(self.question, self.done)
            analysed(before)

    def comparison(self, seconds: float, judged: Sequence[Plan] = ()) -> Comparison:
        """Weigh what has been trained so far.

        Args:
            seconds: What it took.
            judged: How these trainings have been judged before.

        Raises:
            UnreadableRun: No trial of the baseline has finished.
        """
        return weigh(self.question, self.done, seconds, judged)
