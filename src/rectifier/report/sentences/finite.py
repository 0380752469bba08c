"""What is said of NaN and infinities."""

from rectifier.records import Cause, CauseKind, Finding, InputScale, LargeUpdate, NotFinite, NotFiniteAtStart, Place
from rectifier.report.sentences import advice
from rectifier.report.sentences.causes import UNKNOWN
from rectifier.report.sentences.words import Texts, input_scale, update_words

_ONLY_THE_LAYER = f"{UNKNOWN}: the first place names the layer, not the reason"


def not_finite(finding: Finding, evidence: NotFinite) -> Texts:
    """`non-finite`, of a training."""
    last = evidence.last_finite_loss
    before = "" if last is None else f" The last finite loss before it was {last:.4g}."
    what = "the loss" if finding.site is None else f"the output of {finding.site.label}"
    by_loss = finding.site is None and finding.cause.kind is CauseKind.UNKNOWN
    return Texts(
        title=f"{what} held NaN or an infinity at step {evidence.step:,}",
        detail=f"{_how_first(finding, evidence)}{before}",
        cause=_why(finding.cause),
        advised=advice.NON_FINITE_LOSS if by_loss else advice.NON_FINITE,
    )


def _how_first(finding: Finding, evidence: NotFinite) -> str:
    rest = "From there on other numbers of this run mean little, and units are judged by what came before."
    if finding.site is not None:
        return f"No observed activation was not finite before it. {rest}"
    if evidence.activations_observed:
        return f"All observed activations of that step were finite: it began behind the last of them. {rest}"
    return f"The activations of that step were not observed. {rest}"


def _why(cause: Cause) -> str:
    match cause.facts:
        case InputScale() as facts:
            return f"{input_scale(facts.input_rms)}; {_ONLY_THE_LAYER}"
        case LargeUpdate() as facts:
            assert facts.layer is not None
            assert facts.update_over_median is not None
            size = update_words(facts.update, facts.update_over_median, median_known=facts.median_known)
            text = (
                f"the weights moved too far: at step {facts.update_step:,} an update moved those that feed "
                f"{facts.layer.label} by {size}"
            )
            return text if facts.input_rms is None else f"{input_scale(facts.input_rms)}; {text}"
    return _ONLY_THE_LAYER


def not_finite_at_start(finding: Finding, evidence: NotFiniteAtStart) -> Texts:
    """`non-finite`, of a check."""
    where = {Place.INPUT: "the input", Place.OUTPUT: "the network's output"}.get(evidence.place)
    if where is None:
        assert finding.site is not None
        where = f"the output of {finding.site.label}"
    why = {
        Place.INPUT: "the batch itself holds it",
        Place.SITE: _ONLY_THE_LAYER,
        Place.OUTPUT: "every activation is finite: it comes from what follows the last of them",
    }[evidence.place]
    return Texts(
        title=f"{where} holds NaN or an infinity before any training",
        detail="Nothing else can be judged.",
        cause=why,
        advised=advice.NON_FINITE_AT_START,
    )
