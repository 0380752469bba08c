"""The plain facts that pass between folders: frozen dataclasses, JSON both ways, no torch.

A fact is made in one folder and read in another. Nothing here decides, measures or prints.

Each name loads on first use: who trains pays for the few facts that a training makes.
"""

from typing import TYPE_CHECKING

from rectifier._lazy import on_first_use

if TYPE_CHECKING:
    from rectifier.records.arrays import BoolArray as BoolArray
    from rectifier.records.arrays import FloatArray as FloatArray
    from rectifier.records.arrays import IntArray as IntArray
    from rectifier.records.census import Census as Census
    from rectifier.records.census import LayerCensus as LayerCensus
    from rectifier.records.census import SiteCount as SiteCount
    from rectifier.records.checkpoint import Checkpoint as Checkpoint
    from rectifier.records.checkpoint import Inspection as Inspection
    from rectifier.records.checkpoint import LayerInspection as LayerInspection
    from rectifier.records.checkpoint import Memory as Memory
    from rectifier.records.checkpoint import NotTold as NotTold
    from rectifier.records.checkpoint import Remark as Remark
    from rectifier.records.checkpoint import Untold as Untold
    from rectifier.records.checkpoint import WeightRows as WeightRows
    from rectifier.records.checkpoint import Why as Why
    from rectifier.records.codec import decode as decode
    from rectifier.records.codec import encode as encode
    from rectifier.records.codec import to_builtins as to_builtins
    from rectifier.records.comparison import ArmVerdict as ArmVerdict
    from rectifier.records.comparison import Comparison as Comparison
    from rectifier.records.comparison import Effect as Effect
    from rectifier.records.comparison import Failure as Failure
    from rectifier.records.comparison import FailureKind as FailureKind
    from rectifier.records.comparison import Trial as Trial
    from rectifier.records.findings.causes import AlikeFromTheStart as AlikeFromTheStart
    from rectifier.records.findings.causes import AlikeSince as AlikeSince
    from rectifier.records.findings.causes import BornDead as BornDead
    from rectifier.records.findings.causes import BornDeadOrEarlier as BornDeadOrEarlier
    from rectifier.records.findings.causes import Drift as Drift
    from rectifier.records.findings.causes import InputOffset as InputOffset
    from rectifier.records.findings.causes import InputScale as InputScale
    from rectifier.records.findings.causes import LargeUpdate as LargeUpdate
    from rectifier.records.findings.causes import LearningRateThere as LearningRateThere
    from rectifier.records.findings.causes import SaturatedFromTheStart as SaturatedFromTheStart
    from rectifier.records.findings.causes import SilentBelow as SilentBelow
    from rectifier.records.findings.causes import UpdateAtDeath as UpdateAtDeath
    from rectifier.records.findings.causes import WayAtStart as WayAtStart
    from rectifier.records.findings.evidence import AlwaysOnUnits as AlwaysOnUnits
    from rectifier.records.findings.evidence import ConstantOutput as ConstantOutput
    from rectifier.records.findings.evidence import DeadUnits as DeadUnits
    from rectifier.records.findings.evidence import FrozenLayers as FrozenLayers
    from rectifier.records.findings.evidence import GradientSpike as GradientSpike
    from rectifier.records.findings.evidence import GradientWay as GradientWay
    from rectifier.records.findings.evidence import InfiniteGradient as InfiniteGradient
    from rectifier.records.findings.evidence import NotFinite as NotFinite
    from rectifier.records.findings.evidence import PoorStart as PoorStart
    from rectifier.records.findings.evidence import SaturatedUnits as SaturatedUnits
    from rectifier.records.findings.evidence import Signal as Signal
    from rectifier.records.findings.evidence import SilentLayer as SilentLayer
    from rectifier.records.findings.evidence import Standing as Standing
    from rectifier.records.findings.evidence import StarvedLayer as StarvedLayer
    from rectifier.records.findings.evidence import StarvedUnits as StarvedUnits
    from rectifier.records.findings.evidence import StuckUnits as StuckUnits
    from rectifier.records.findings.evidence_checkpoint import BrokenRows as BrokenRows
    from rectifier.records.findings.evidence_checkpoint import Reach as Reach
    from rectifier.records.findings.evidence_checkpoint import RowCounts as RowCounts
    from rectifier.records.findings.evidence_checkpoint import RowsByWeights as RowsByWeights
    from rectifier.records.findings.evidence_checkpoint import RowsThatCannotFire as RowsThatCannotFire
    from rectifier.records.findings.evidence_checkpoint import SilentInputs as SilentInputs
    from rectifier.records.findings.evidence_checkpoint import SilentRows as SilentRows
    from rectifier.records.findings.evidence_checkpoint import SilentSpan as SilentSpan
    from rectifier.records.findings.evidence_checkpoint import SilentWeights as SilentWeights
    from rectifier.records.findings.evidence_checkpoint import Table as Table
    from rectifier.records.findings.evidence_probe import BornDeadNetwork as BornDeadNetwork
    from rectifier.records.findings.evidence_probe import FlatOutput as FlatOutput
    from rectifier.records.findings.evidence_probe import HardlyVaryingOutput as HardlyVaryingOutput
    from rectifier.records.findings.evidence_probe import NoGradientAtAll as NoGradientAtAll
    from rectifier.records.findings.evidence_probe import NotFiniteAtStart as NotFiniteAtStart
    from rectifier.records.findings.evidence_probe import Place as Place
    from rectifier.records.findings.evidence_probe import PoorSignal as PoorSignal
    from rectifier.records.findings.evidence_probe import SamplesAlike as SamplesAlike
    from rectifier.records.findings.evidence_probe import SilentAtStart as SilentAtStart
    from rectifier.records.findings.finding import Cause as Cause
    from rectifier.records.findings.finding import CauseFacts as CauseFacts
    from rectifier.records.findings.finding import Diagnosis as Diagnosis
    from rectifier.records.findings.finding import Evidence as Evidence
    from rectifier.records.findings.finding import Finding as Finding
    from rectifier.records.findings.finding import Fix as Fix
    from rectifier.records.findings.finding import Judged as Judged
    from rectifier.records.findings.finding import LayerSummary as LayerSummary
    from rectifier.records.findings.finding import LossPath as LossPath
    from rectifier.records.findings.finding import SampleSize as SampleSize
    from rectifier.records.findings.finding import most_serious_first as most_serious_first
    from rectifier.records.findings.rules import SEVERITIES as SEVERITIES
    from rectifier.records.findings.rules import CauseKind as CauseKind
    from rectifier.records.findings.rules import Consequence as Consequence
    from rectifier.records.findings.rules import FixKind as FixKind
    from rectifier.records.findings.rules import RemedyId as RemedyId
    from rectifier.records.findings.rules import Rule as Rule
    from rectifier.records.findings.rules import Severity as Severity
    from rectifier.records.findings.rules import most_severe as most_severe
    from rectifier.records.findings.rules import rank as rank
    from rectifier.records.findings.suppression import Deaths as Deaths
    from rectifier.records.findings.suppression import WholeSilence as WholeSilence
    from rectifier.records.notebook import shown_by as shown_by
    from rectifier.records.preflight import LayerCheck as LayerCheck
    from rectifier.records.preflight import Preflight as Preflight
    from rectifier.records.preflight import Probe as Probe
    from rectifier.records.preflight import SiteProbe as SiteProbe
    from rectifier.records.training.notes import RunNote as RunNote
    from rectifier.records.training.process import Process as Process
    from rectifier.records.training.process import Writer as Writer
    from rectifier.records.training.ranks import merge_ranks as merge_ranks
    from rectifier.records.training.recorder import Recorder as Recorder
    from rectifier.records.training.run import FORMAT_VERSION as FORMAT_VERSION
    from rectifier.records.training.run import Manifest as Manifest
    from rectifier.records.training.run import Outcome as Outcome
    from rectifier.records.training.run import Run as Run
    from rectifier.records.training.site import AxisSource as AxisSource
    from rectifier.records.training.site import ParameterRef as ParameterRef
    from rectifier.records.training.site import Site as Site
    from rectifier.records.training.site import SiteRef as SiteRef
    from rectifier.records.training.site import UnitAxis as UnitAxis
    from rectifier.records.training.site import Unseen as Unseen
    from rectifier.records.training.site import told_apart as told_apart
    from rectifier.records.training.snapshot import MOST_TOLD_APART as MOST_TOLD_APART
    from rectifier.records.training.snapshot import NORM_BEFORE_CLIPPING as NORM_BEFORE_CLIPPING
    from rectifier.records.training.snapshot import Cost as Cost
    from rectifier.records.training.snapshot import Series as Series
    from rectifier.records.training.snapshot import SiteWindow as SiteWindow
    from rectifier.records.training.snapshot import Snapshot as Snapshot
    from rectifier.records.training.touched import Touched as Touched
    from rectifier.records.training.treated import Treated as Treated

_NAMES = {
    "arrays": (
        "BoolArray",
        "FloatArray",
        "IntArray",
    ),
    "checkpoint": (
        "Inspection",
        "Checkpoint",
        "LayerInspection",
        "Memory",
        "NotTold",
        "Remark",
        "Untold",
        "WeightRows",
        "Why",
    ),
    "findings.causes": (
        "AlikeFromTheStart",
        "AlikeSince",
        "BornDead",
        "BornDeadOrEarlier",
        "Drift",
        "InputOffset",
        "InputScale",
        "LargeUpdate",
        "LearningRateThere",
        "SaturatedFromTheStart",
        "SilentBelow",
        "UpdateAtDeath",
        "WayAtStart",
    ),
    "census": (
        "Census",
        "LayerCensus",
        "SiteCount",
    ),
    "codec": (
        "decode",
        "encode",
        "to_builtins",
    ),
    "comparison": (
        "ArmVerdict",
        "Comparison",
        "Effect",
        "Failure",
        "FailureKind",
        "Trial",
    ),
    "findings.evidence": (
        "AlwaysOnUnits",
        "ConstantOutput",
        "DeadUnits",
        "FrozenLayers",
        "GradientSpike",
        "GradientWay",
        "InfiniteGradient",
        "NotFinite",
        "PoorStart",
        "SaturatedUnits",
        "Signal",
        "SilentLayer",
        "Standing",
        "StarvedLayer",
        "StarvedUnits",
        "StuckUnits",
    ),
    "findings.evidence_checkpoint": (
        "BrokenRows",
        "Reach",
        "RowCounts",
        "RowsByWeights",
        "RowsThatCannotFire",
        "SilentInputs",
        "SilentRows",
        "SilentSpan",
        "SilentWeights",
        "Table",
    ),
    "findings.evidence_probe": (
        "BornDeadNetwork",
        "FlatOutput",
        "HardlyVaryingOutput",
        "NoGradientAtAll",
        "NotFiniteAtStart",
        "Place",
        "PoorSignal",
        "SamplesAlike",
        "SilentAtStart",
    ),
    "findings.finding": (
        "Cause",
        "CauseFacts",
        "Diagnosis",
        "Evidence",
        "Finding",
        "Fix",
        "Judged",
        "LayerSummary",
        "LossPath",
        "SampleSize",
        "most_serious_first",
    ),
    "notebook": ("shown_by",),
    "training.notes": ("RunNote",),
    "preflight": (
        "LayerCheck",
        "Preflight",
        "Probe",
        "SiteProbe",
    ),
    "training.process": (
        "Process",
        "Writer",
    ),
    "training.ranks": ("merge_ranks",),
    "training.recorder": ("Recorder",),
    "findings.rules": (
        "CauseKind",
        "Consequence",
        "FixKind",
        "RemedyId",
        "Rule",
        "SEVERITIES",
        "Severity",
        "most_severe",
        "rank",
    ),
    "training.run": (
        "FORMAT_VERSION",
        "Manifest",
        "Outcome",
        "Run",
    ),
    "findings.suppression": (
        "Deaths",
        "WholeSilence",
    ),
    "training.site": (
        "AxisSource",
        "ParameterRef",
        "Site",
        "SiteRef",
        "UnitAxis",
        "Unseen",
        "told_apart",
    ),
    "training.snapshot": (
        "Cost",
        "MOST_TOLD_APART",
        "NORM_BEFORE_CLIPPING",
        "Series",
        "SiteWindow",
        "Snapshot",
    ),
    "training.touched": ("Touched",),
    "training.treated": ("Treated",),
}
_HOMES = {name: f"rectifier.records.{module}" for module, names in _NAMES.items() for name in names}

__getattr__ = on_first_use(globals(), _HOMES)
