"""The plain facts that pass between folders: frozen dataclasses, JSON both ways, no torch.

A fact is made in one folder and read in another. Nothing here decides, measures or prints.

Each name loads on first use: who trains pays for the few facts that a training makes.
"""

from typing import TYPE_CHECKING

from rectifier._lazy import on_first_use

if TYPE_CHECKING:
    # Each of them has these names and no other public ones; see the list below.
    from rectifier.records.arrays import *
    from rectifier.records.census import *
    from rectifier.records.checkpoint import *
    from rectifier.records.codec import *
    from rectifier.records.comparison import *
    from rectifier.records.explanation.change import *
    from rectifier.records.explanation.experiment import *
    from rectifier.records.explanation.saved import *
    from rectifier.records.explanation.sight import *
    from rectifier.records.explanation.verdict import *
    from rectifier.records.findings.causes import *
    from rectifier.records.findings.causes_model import *
    from rectifier.records.findings.causes_setup import *
    from rectifier.records.findings.causes_steps import *
    from rectifier.records.findings.evidence.checkpoint import *
    from rectifier.records.findings.evidence.finite import *
    from rectifier.records.findings.evidence.gradient import *
    from rectifier.records.findings.evidence.output import *
    from rectifier.records.findings.evidence.parameters import *
    from rectifier.records.findings.evidence.probe import *
    from rectifier.records.findings.evidence.units import *
    from rectifier.records.findings.finding import *
    from rectifier.records.findings.suppression import *
    from rectifier.records.notebook import *
    from rectifier.records.preflight import *
    from rectifier.records.prescription import *
    from rectifier.records.rules import *
    from rectifier.records.training.facts import *
    from rectifier.records.training.loss import *
    from rectifier.records.training.names import *
    from rectifier.records.training.parameter import *
    from rectifier.records.training.process import *
    from rectifier.records.training.ranks.merge import *
    from rectifier.records.training.run import *
    from rectifier.records.training.site import *
    from rectifier.records.training.snapshot import *
    from rectifier.records.training.treated import *

_NAMES = {
    "arrays": "BoolArray FloatArray IntArray",
    "findings.causes": (
        "AlikeFromTheStart AlikeSince BornDead BornDeadOrEarlier Drift InputOffset InputScale LargeUpdate "
        "LearningRateThere SaturatedFromTheStart SilentBelow UpdateAtDeath WayAtStart "
        "TargetOffset TargetScale LargeFirstLoss MostlyFlatAtStart GrowsOverCalls HugeOutput LossBefore "
        "NearOverflow SingleSamples SmallEpsilon"
    ),
    "census": "Census LayerCensus SiteCount",
    "checkpoint": "Checkpoint Inspection LayerInspection Memory NotTold Remark Untold WeightRows Why",
    "codec": "decode encode room_for to_builtins",
    "comparison": "ArmVerdict Comparison Effect Failure FailureKind Trial",
    "explanation.change": "Applied Change ChangedPart Intervention REPLACES",
    "explanation.experiment": "Control Experiment",
    "explanation.saved": "EXPLANATION_FORMAT SavedExplanation",
    "explanation.sight": "Sight SightKind",
    "explanation.verdict": "Conclusion EstablishedCause ExplainedFailure Explanation",
    "findings.evidence.checkpoint": (
        "BrokenRows Reach RowCounts RowsByWeights RowsThatCannotFire SilentInputs SilentRows SilentSpan "
        "SilentWeights Table"
    ),
    "findings.evidence.probe": (
        "BornDeadNetwork FlatOutput HardlyVaryingOutput NoGradientAtAll NotFiniteAtStart Place PoorSignal "
        "SamplesAlike SilentAtStart"
    ),
    "findings.finding": (
        "Cause CauseFacts Diagnosis Evidence Finding Fix Judged LayerSummary LossPath SampleSize "
        "most_serious_first NotJudged Unjudged"
    ),
    "notebook": "shown_by",
    "prescription": "LeftOut RungFacts RungKind RungTexts WhyLeftOut",
    "training.names": "told_apart",
    "preflight": "LayerCheck Preflight Probe SiteProbe",
    "training.process": "Process Writer",
    "training.ranks.merge": "merge_ranks",
    "rules": "CauseKind Consequence FixKind RemedyId Rule SEVERITIES Severity most_severe rank",
    "training.run": "FORMAT_VERSION Manifest Outcome Run RunNote Touched",
    "findings.suppression": "Deaths WholeSilence",
    "training.site": "AxisSource ParameterRef Site SiteRef UnitAxis Unseen WhyUnseen",
    "training.snapshot": "Cost EARLY_STEPS MOST_TOLD_APART NORM_BEFORE_CLIPPING Recorder Series SiteWindow Snapshot",
    "training.treated": "RecycledUnits RescaledLayers SwappedActivation Treated Treatment",
    "findings.causes_model": (
        "ConstantInputs ConstantOptimum LargeBias LossOperations LostOverCalls SmallUpdates WeightsDecayed ZeroWeights"
    ),
    "findings.causes_setup": (
        "AcrossRows BiasesBelowRange BoundedOutput EqualWeights InitialGain MostlyFrozen NegatedLoss "
        "OneElement OtherTerms ScaledLoss SetupFacts SmallInputs SortedBatches StillStatistics Stretched "
        "TargetsAboveOne ZeroAtFirst ZeroLoss"
    ),
    "findings.causes_steps": (
        "ClearedGradients KeptGradients LargeEpsilon LargeMomentum LittleMovement MadeAnew RateByStep "
        "RoundedSteps ShrunkSteps StepsWithoutGradient"
    ),
    "findings.evidence.units": "AlwaysOnUnits DeadUnits SaturatedUnits SilentLayer Standing StuckUnits",
    "findings.evidence.gradient": (
        "GradientSpike GradientWay InfiniteGradient PoorStart Signal StarvedLayer StarvedUnits"
    ),
    "findings.evidence.finite": "NotFinite Origin",
    "findings.evidence.parameters": (
        "CustomFunctions DecayOfWeights ExplainedBy FlatOperations FrozenLayers Lack UntrainedParameters "
        "WeightNorms ZeroAtStart"
    ),
    "findings.evidence.output": (
        "AlikeAtStart CollapsedOutput ConstantOutput DeadOutput EvalMode LinearLayer LinearNetwork StandingStill "
        "TargetsOutOfReach TrainingSetup Yardstick"
    ),
    "training.loss": "Feeds InputFacts ModelState Output OutputWindow",
    "training.facts": "Changed Fact Restarted Unfinished Warned process_of",
    "training.parameter": "Holder OptimizerState Parameter ParameterCounts",
}

__getattr__ = on_first_use(globals(), _NAMES)
