"""What the trainings of a question say so far, and which ones it still waits for. No torch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rectifier._formatting import listed
from rectifier.comparison.metric import LOSS
from rectifier.comparison.question import BASELINE, COMPETITORS, PLACEBO, Question, TrialSpec, is_change
from rectifier.comparison.statistics.interim import ALPHA
from rectifier.comparison.statistics.trials import compare_trials
from rectifier.errors import UnreadableRun
from rectifier.records import ArmVerdict, Comparison, Intervention, Trial
from rectifier.report.sentences.explanation.experiments import arm_words, unchanged_words


class Plan(NamedTuple):
    """How trainings were judged.

    Attributes:
        asked: Which number of a training (`Question.asked`).
        interim: At how many seeds.
        arms: Which family of arms, sorted; empty in files of before it was kept.
    """

    asked: str
    interim: tuple[int, ...]
    arms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is still to be trained.

    Attributes:
        analysis: Seeds at which the next verdicts may be given.
        now: Trainings that this analysis waits for; none when the comparison has come to its end.
        later: Those after it, if no other arm has a verdict by then.
        decided: Arms that need no more trainings.
    """

    analysis: int
    now: tuple[TrialSpec, ...]
    later: tuple[TrialSpec, ...]
    decided: tuple[ArmVerdict, ...] = ()


def plan_of(question: Question) -> Plan:
    """The plan that a question is judged by."""
    return Plan(question.asked, question.planned_analyses, tuple(sorted(question.arms)))


def ahead(question: Question, recorded: Mapping[str, Trial]) -> Ahead:
    """Tell which trainings the next analysis waits for, from what is recorded alone: a killed comparison goes on."""
    own = _own(question, recorded)
    rows = _compared(question, own, 0.0).arms if _begun(own) else ()
    return _ahead(question, own, rows)


def weigh(question: Question, recorded: Mapping[str, Trial], seconds: float, judged: Sequence[Plan] = ()) -> Comparison:
    """Weigh those recorded trials that belong to a question.

    Args:
        question: What is asked.
        recorded: Finished trials by key.
        seconds: What they took.
        judged: How these trainings have been judged before.

    Raises:
        UnreadableRun: No trial of the baseline has finished.
    """
    own = _own(question, recorded)
    if not _begun(own):
        raise UnreadableRun("no training of the script as it is has finished, so there is nothing to compare with.")
    comparison = _compared(question, own, seconds)
    notes = [*_notes(question), *_unchanged(own.values()), *_second_chances(question, judged)]
    still = _ahead(question, own, comparison.arms)
    if still.now:
        until = f" before the analysis at {still.analysis} seeds" if question.planned_analyses[1:] else ""
        notes.append(f"Unfinished: {len(own)} of {len(own) + len(still.now)} trainings are done{until}.")
    return replace(comparison, notes=(*notes, *comparison.notes))


def _own(question: Question, recorded: Mapping[str, Trial]) -> dict[str, Trial]:
    found = {spec.key: recorded[spec.key] for spec in question.plan() if spec.key in recorded}
    # What was read for another metric would be another number under this one's name.
    return {key: trial for key, trial in found.items() if trial.asked in (None, question.asked)}


def _begun(own: Mapping[str, Trial]) -> bool:
    return any(trial.arm == BASELINE for trial in own.values())


def _ahead(question: Question, own: Mapping[str, Trial], rows: Sequence[ArmVerdict]) -> Ahead:
    decided = {row.arm: row for row in rows if row.arm in question.arms and row.verdict != "undecided"}
    if len(decided) == len(question.arms):
        return Ahead(question.seeds, (), (), tuple(decided.values()))
    lacking = [spec for spec in question.plan() if spec.key not in own and spec.arm not in decided]
    analysis = next((n for n in question.planned_analyses if any(spec.seed < n for spec in lacking)), question.seeds)
    now = tuple(spec for spec in lacking if spec.seed < analysis)
    later = tuple(spec for spec in lacking if spec.seed >= analysis)
    return Ahead(analysis, now, later, tuple(decided.values()))


def _compared(question: Question, own: Mapping[str, Trial], seconds: float) -> Comparison:
    is_function = question.compared == "function"
    returned = is_function and question.metric != LOSS
    ending = "raised" if is_function else "crashed, was stopped by --timeout"
    steps = {} if question.max_steps is None else {"training": f"ended after {question.max_steps} optimizer steps"}
    return compare_trials(
        question.with_restarts(list(own.values())),
        baseline=BASELINE,
        placebo=PLACEBO,
        arms=question.arms,
        metric=question.metric,
        higher_is_better=question.higher_is_better,
        title=question.title,
        margin=question.margin,
        seconds=seconds,
        seeds_hint=_USE_THE_SEED if is_function else None,
        interim=question.planned_analyses,
        settings={
            "command": " ".join(question.command),
            "metric": f"{question.metric}, {'as returned' if returned else _SUMMARIES[question.summary]}"
            + (f", printed as {question.pattern}" if question.pattern else ""),
            "failure": f"a training that {ending}, ended with a number that is not finite, or whose loss made no "
            "progress: it ended within 5% of where it began, or above",
            **steps,
            "threads per training": str(question.threads),
        },
    )


def _notes(question: Question) -> list[str]:
    notes: list[str] = []
    if question.metric == LOSS:
        notes.append(
            "The metric is the loss that the function back-propagates, measured on its own training batches. To "
            "compare what the network is for, return that, and name it: metric='test_accuracy'."
        )
    notes.extend(text for arm, text in COMPETITORS.items() if arm in question.arms)
    notes.extend(arm_words(Intervention.parse(arm)) for arm in question.arms if is_change(arm))
    if question.max_steps is not None:
        notes.append(f"Each training was ended after {question.max_steps:,} optimizer steps, as asked.")
    if question.metric == "loss" and question.pattern is None and question.compared == "script":
        notes.append(
            "The metric is the loss that the script back-propagates, measured on its own training batches. To compare "
            'what the network is for, log it: rectifier.log("val_accuracy", value) and --metric val_accuracy.'
        )
    return notes


def _unchanged(trials: Iterable[Trial]) -> list[str]:
    """Arms whose change found nothing to change: they are the baseline under another name."""
    told: dict[str, list[bool]] = {}
    for trial in trials:
        if trial.changed is not None:
            told.setdefault(trial.arm, []).append(trial.changed == 0)
    return [unchanged_words(arm, sum(idle), len(idle)) for arm, idle in told.items() if any(idle)]


def _second_chances(question: Question, judged: Sequence[Plan]) -> list[str]:
    own = plan_of(question)
    others = [
        plan
        for plan in judged
        if plan.asked == own.asked and (plan.interim != own.interim or plan.arms not in ((), own.arms))
    ]
    if not others:
        return []
    told = ", then ".join(
        f"at {listed([str(n) for n in plan.interim])} seeds"
        + (f" for {', '.join(plan.arms)}" if plan.arms not in ((), own.arms) else "")
        for plan in others
    )
    one, all_together = 100 * ALPHA, 100 * ALPHA * (len(others) + 1)
    return [
        f"These trainings were judged before, {told}. Each plan of analyses and arms may raise a false alarm in "
        f"{one:g} of 100 comparisons, all {len(others) + 1} together in up to {all_together:g}. "
        "Interim analyses (--interim) and arms that are planned beforehand keep it at one chance."
    ]


_USE_THE_SEED = "The function sets a seed of its own, or draws nothing at random: let it use the seed that it is given."

_SUMMARIES = {
    "final": "its last value",
    "best": "its best value",
    "last-tenth": "the mean of its last tenth",
}
