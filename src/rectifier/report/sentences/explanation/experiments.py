"""What is said of the trials of an explanation: which change, how it ended; of one that was kept, of which command."""

import shlex
from collections.abc import Sequence

from rectifier._formatting import counted
from rectifier.records import Change, Experiment, Intervention, SavedExplanation
from rectifier.report.sentences.explanation.changes import change_words, intervention_words
from rectifier.report.sentences.findings.words import capital


def changed(experiment: Experiment) -> str:
    """A change as a heading: `No weight decay`."""
    words = capital(change_words(experiment))
    return f"Control: {words[0].lower()}{words[1:]}" if experiment.intervention.change is Change.PLACEBO else words


def arm_words(intervention: Intervention) -> str:
    """What an arm of a comparison is."""
    return f"{intervention} is the script with one change: {intervention_words(intervention)}."


def unchanged_words(arm: str, idle: int, trainings: int) -> str:
    """That an arm's change found nothing to change."""
    return f"{arm} found nothing to change in {idle} of {counted(trainings, 'training')}."


def outcome(experiment: Experiment) -> str:
    """How a trial ended: `does not fail`."""
    if experiment.error:
        return f"could not be tried: {experiment.error}"
    if experiment.idle:
        return "nothing to change"
    if experiment.failed:
        return "fails"
    return "no improvement" if experiment.better is False else "does not fail"


def seed_words(experiment: Experiment) -> str:
    """Which seed: the script's own, or another one, counted from it."""
    return "own" if experiment.seed is None else f"{experiment.seed:+d}"


def loss_words(experiment: Experiment) -> str:
    """Median of the last losses."""
    return "not finite" if experiment.loss_end is None else f"{experiment.loss_end:.3g}"


def curve_words(trials: Sequence[Experiment], unchanged: Sequence[Experiment]) -> str:
    """What a chart of one change shows.

    Args:
        trials: With the change, one a seed; the script's own seed first.
        unchanged: Without it, on the same seeds.
    """
    first = trials[0]
    text = f"With the change: {outcome(first)}, loss {loss_words(first)} at step {first.steps:,}."
    before = next((one for one in unchanged if one.seed == first.seed), None)
    if before is not None:
        text += f" Unchanged: {outcome(before)}, loss {loss_words(before)} at step {before.steps:,}."
    if len(trials) > 1:
        kept = sum(one.helped and not one.idle for one in trials)
        text += f" Does not fail on {kept} of {counted(len(trials), 'seed')}."
    if first.applied is not None and first.applied.detail:
        text += f" Changed: {first.applied.detail}."
    return text


def explained_when(saved: SavedExplanation) -> str:
    """Which command was explained, when, and where its trials lie."""
    return f"Explained on {saved.written.replace('T', ' ')}: {shlex.join(saved.command)}. Trials: {saved.folder}"


def edited(saved: SavedExplanation, script: str | None) -> str:
    """A warning where the script was edited between a run and its explanation; "" where it was not.

    Args:
        saved: The explanation.
        script: Digest of the script that ran; None where that is not known.
    """
    if script is None or saved.script is None or script == saved.script:
        return ""
    return "The script was edited between this run and its explanation."
