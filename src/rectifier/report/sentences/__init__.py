"""The English of findings: one file a subject, one function a kind of statement. Facts come in, texts go out.

`describe` writes what is said of one finding; `told` fills the texts of everything that was judged. Both are called at
the edge only: whoever decides does so by the facts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from rectifier import records
from rectifier.records import (
    Cause,
    EstablishedCause,
    Evidence,
    ExplainedBy,
    Explanation,
    Finding,
    Inspection,
    Judged,
    Rule,
    SetupFacts,
)
from rectifier.report.sentences import checkpoint, fixes
from rectifier.report.sentences.explanation.causes import cause_text
from rectifier.report.sentences.explanation.remedies import fix_of
from rectifier.report.sentences.explanation.verdict import details, headline
from rectifier.report.sentences.findings import (
    advice,
    dead,
    finite,
    gradients,
    network,
    output,
    parameters,
    setup,
    sides,
    start,
    taught,
)
from rectifier.report.sentences.findings.advice import model
from rectifier.report.sentences.findings.words import Texts as Texts

J = TypeVar("J", bound=Judged)

WRITERS: dict[type[Evidence], Callable[[Finding, Any], Texts]] = {
    records.DeadUnits: dead.dead_units,
    records.StuckUnits: dead.stuck_units,
    records.SilentAtStart: dead.silent_at_start,
    records.SilentLayer: network.silent_layer,
    records.ConstantOutput: network.constant_output,
    records.AlikeAtStart: start.alike_at_start,
    records.CollapsedOutput: output.collapsed_output,
    records.DeadOutput: output.dead_output,
    records.StandingStill: output.standing_still,
    records.TargetsOutOfReach: output.targets_out_of_reach,
    records.TrainingSetup: setup.training_setup,
    records.LinearNetwork: output.linear_network,
    records.EvalMode: output.eval_mode,
    records.LinearLayer: sides.linear_layer,
    records.GradientWay: gradients.gradient_way,
    records.InfiniteGradient: gradients.infinite_gradient,
    records.GradientSpike: gradients.gradient_spike,
    records.StarvedLayer: taught.starved_layer,
    records.StarvedUnits: taught.starved_units,
    records.FrozenLayers: taught.frozen_layers,
    records.SaturatedUnits: sides.saturated_units,
    records.AlwaysOnUnits: sides.always_on_units,
    records.UntrainedParameters: parameters.untrained,
    records.WeightNorms: parameters.weight_norms,
    records.NotFinite: finite.not_finite,
    records.NotFiniteAtStart: finite.not_finite_at_start,
    records.PoorStart: start.poor_start,
    records.PoorSignal: start.poor_signal,
    records.SamplesAlike: start.samples_alike,
    records.BornDeadNetwork: start.born_dead_network,
    records.HardlyVaryingOutput: start.hardly_varying_output,
    records.NoGradientAtAll: start.no_gradient_at_all,
    records.FlatOutput: start.flat_output,
    records.BrokenRows: checkpoint.broken_rows,
    records.SilentWeights: checkpoint.silent_weights,
    records.SilentRows: checkpoint.silent_rows,
    records.SilentInputs: checkpoint.silent_inputs,
    records.RowsThatCannotFire: checkpoint.rows_that_cannot_fire,
}
"""What writes of each kind of evidence."""


def describe(finding: Finding | Explanation, command: Sequence[str] = ()) -> Texts:
    """What is said of a finding or of an explanation: its title, detail, cause and advice.

    Args:
        finding: Of a diagnosis, a check or an inspection; or what `rectifier explain` found.
        command: The user's script and its options, for what is to be typed; empty where they are not known.
    """
    if isinstance(finding, Explanation):
        return _of_explanation(finding, command)
    return replace(_describe(finding), script=tuple(command))


def _describe(finding: Finding) -> Texts:
    write = WRITERS.get(type(finding.evidence), _own_texts)
    if isinstance(facts := finding.cause.facts, ExplainedBy):
        # What the rule itself would say of the cause is no longer true.
        texts = write(replace(finding, cause=Cause()), finding.evidence)
        return replace(texts, cause=parameters.explained(facts), to_do=advice.EXPLAINED)
    facts = finding.cause.facts
    if isinstance(facts, SetupFacts) and finding.rule is not Rule.TRAINING_SETUP:
        # What the rule itself would say of the cause is no longer true.
        texts = write(replace(finding, cause=Cause()), finding.evidence)
        return replace(texts, cause=setup.why(facts), to_do=model.for_setup(finding.cause))
    return write(finding, finding.evidence)


def _own_texts(finding: Finding, evidence: Evidence) -> Texts:
    """Of a finding with evidence that none of our rules has: what it says itself."""
    to_do = (finding.advice,) if finding.advice else ()
    return Texts(title=finding.title, detail=finding.detail, cause=finding.cause.text, to_do=to_do)


def told(judged: J) -> J:
    """The same findings with their texts filled in.

    Args:
        judged: A diagnosis, a check or an inspection.
    """
    filled = replace(
        judged,
        findings=tuple(told_finding(finding) for finding in judged.findings),
        suppressed=tuple(told_finding(finding) for finding in judged.suppressed),
    )
    if not isinstance(filled, Inspection):
        return filled
    return replace(filled, untold=tuple(replace(one, text=checkpoint.untold(one)) for one in filled.untold))


def told_finding(finding: Finding) -> Finding:
    """The same finding with its texts filled in."""
    texts = describe(finding)
    return replace(
        finding,
        title=texts.title,
        detail=texts.detail,
        advice=texts.advice,
        cause=replace(finding.cause, text=texts.cause),
        fixes=tuple(replace(fix, text=fixes.fix_text(fix.kind)) for fix in finding.fixes),
    )


def told_explanation(found: Explanation, command: Sequence[str] = ()) -> Explanation:
    """The same explanation with its texts filled in.

    Args:
        found: As it was found.
        command: The user's script and its options; empty where they are not known.
    """
    return replace(
        found,
        title=headline(found),
        details=tuple(details(found)),
        fixes=tuple(fix_of(remedy, found, command).text for remedy in found.remedies),
        cause=None if found.cause is None else _told_cause(found.cause),
        causes=tuple(_told_cause(cause) for cause in found.causes),
    )


def _of_explanation(found: Explanation, command: Sequence[str]) -> Texts:
    return Texts(
        title=headline(found),
        detail=" ".join(details(found)),
        cause="" if found.cause is None else cause_text(found.cause),
        to_do=tuple(fix_of(remedy, found, command).text for remedy in found.remedies),
    )


def _told_cause(cause: EstablishedCause) -> EstablishedCause:
    return replace(cause, text=cause_text(cause))
