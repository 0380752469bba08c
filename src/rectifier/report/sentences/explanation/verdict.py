"""An explanation in words: the verdict, and what shows it."""

from collections.abc import Iterator, Sequence

from rectifier._formatting import counted, listed
from rectifier.records import CauseKind, Change, Conclusion, EstablishedCause, Experiment, Explanation
from rectifier.report.sentences.explanation.causes import cause_text
from rectifier.report.sentences.explanation.changes import change_words
from rectifier.report.sentences.findings.words import capital


def headline(explanation: Explanation) -> str:
    """The verdict in one line."""
    failure = explanation.failure
    named = "" if failure is None else failure.rule or failure.asked
    match explanation.conclusion:
        case Conclusion.NOTHING_TO_EXPLAIN:
            return "Nothing to explain: this run has no warnings."
        case Conclusion.NOT_REPRODUCED:
            return "Not reproduced: the unchanged script ran twice and failed only once."
        case Conclusion.CHAOTIC:
            return f"No cause established for {named}: the run is chaotic, so any change may help by luck."
        case Conclusion.NO_SINGLE_CHANGE:
            tried = len({one.intervention for one in explanation.experiments if one.seed is None})
            return f"No cause established for {named}: none of {counted(tried, 'change')} prevents it."
    if explanation.cause is None or explanation.cause.kind is CauseKind.UNKNOWN:
        return f"Time ran out before a cause of {named} was found."
    text = cause_text(explanation.cause)
    if explanation.conclusion is Conclusion.ESTABLISHED:
        return f"Cause established: {text}."
    if explanation.conclusion is Conclusion.THIS_RUN:
        return f"Cause established for this run: {text}."
    if explanation.conclusion is Conclusion.OBSERVED:
        return f"Cause observed: {text}. No experiment confirmed it."
    return f"Time ran out. Likely cause: {text}."


def details(explanation: Explanation) -> Iterator[str]:
    """The evidence, one sentence each."""
    cause = explanation.cause
    if cause is not None and cause.intervention is not None:
        yield _without(explanation, cause)
    for other in explanation.causes[1:]:
        yield f"{'Also established' if other.established else 'Also likely'}: {cause_text(other)}."
    failed = _unhelpful(explanation.experiments)
    if failed:
        yield f"Did not help: {listed(failed)}."
    once = _helped_once(explanation)
    if once:
        yield f"Also without the failure, tried with this seed only: {listed(once)}."
    for one in explanation.experiments:
        if one.error and one.seed is None:
            yield f"{capital(change_words(one))} could not be tried: {one.error}"
    yield from controls(explanation)
    if cause is not None and not explanation.remedies and cause.kind in _IN_WORDS:
        yield f"What to do: {_IN_WORDS[cause.kind]}"


_IN_WORDS = {
    CauseKind.LOSS_SHAPE: "give output and targets the same shape: output.squeeze(-1), or targets.unsqueeze(-1).",
    CauseKind.DATA_ORDER: "shuffle the data: DataLoader(..., shuffle=True).",
    CauseKind.GRADIENT_ACCUMULATION: "call optimizer.zero_grad() before each backward pass.",
    CauseKind.EVAL_MODE: "call model.train() before the training loop.",
    CauseKind.NO_ACTIVATION: "put an activation between the layers: torch.nn.ReLU().",
}
"""What to do about causes that lie around the network, where no line of ours says it."""


def controls(explanation: Explanation) -> Iterator[str]:
    """What the unchanged script and the placebo did."""
    control = explanation.control
    if control.reads_input:
        yield "The script reads standard input; trials get none, so they may train on other data."
    if control.deterministic is False:
        yield "The script is not deterministic: two unchanged runs had different losses."
    if control.placebo_failed is not None:
        ended = "still fails" if control.placebo_failed else "does not fail: the run is chaotic"
        yield f"Control: with the learning rate × 1.001 and the same seed, the run {ended}."
    if control.seeds_reach is False:
        yield "Control: another seed changed nothing, so the result holds for this run only."
    elif len(control.seeds) > 1:
        yield f"Control: without a change, {len(control.failing)} of {counted(len(control.seeds), 'seed')} fail."


def _without(explanation: Explanation, cause: EstablishedCause) -> str:
    own = [one for one in explanation.experiments if one.intervention == cause.intervention]
    first = next(one for one in own if one.seed is None)
    seeds = [one for one in own if one.helped]
    before = explanation.failure.loss_end if explanation.failure is not None else None
    loss = (
        ""
        if first.loss_end is None or first.better is None
        else f": the loss is {first.loss_end:.3g} at step {first.steps:,}; the unchanged run ended at {_loss(before)}"
    )
    count = len({one.seed for one in seeds})
    return f"With {change_words(first)}, the run does not fail{loss} ({count} of {count} failing seeds)."


def _loss(value: float | None) -> str:
    return "a non-finite value" if value is None else f"{value:.3g}"


def _helped_once(explanation: Explanation) -> list[str]:
    """Changes that cure much that they did not cause, and were not tried on other seeds once the cause was known."""
    others = {one.intervention for one in explanation.experiments if one.seed is not None}
    found = [
        change_words(one)
        for one in explanation.experiments
        if one.helped
        and one.intervention not in others
        and one.intervention.change is not Change.PLACEBO
        and not one.idle
        and len(explanation.control.failing) > 1
    ]
    return list(dict.fromkeys(found))


def _unhelpful(experiments: Sequence[Experiment]) -> list[str]:
    """Changes that were applied and did not help."""
    helped = {one.intervention for one in experiments if one.helped}
    found = [
        change_words(one)
        for one in experiments
        if one.seed is None
        and one.intervention not in helped
        and one.intervention.change is not Change.PLACEBO
        and not one.error
        and not one.idle
    ]
    return list(dict.fromkeys(found))
