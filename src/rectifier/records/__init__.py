"""The plain facts that pass between rooms: frozen dataclasses, JSON both ways, no torch.

A fact is made in one room and read in another. Nothing here decides, measures or prints.

Each name loads on first use: who trains pays for the few facts that a training makes.
"""

from typing import TYPE_CHECKING

from rectifier.lazily import on_first_use

if TYPE_CHECKING:
    from rectifier.records.arrays import BoolArray as BoolArray
    from rectifier.records.arrays import FloatArray as FloatArray
    from rectifier.records.arrays import IntArray as IntArray
    from rectifier.records.autopsy import Autopsy as Autopsy
    from rectifier.records.autopsy import Checkpoint as Checkpoint
    from rectifier.records.autopsy import LayerAutopsy as LayerAutopsy
    from rectifier.records.autopsy import Memory as Memory
    from rectifier.records.autopsy import WeightRows as WeightRows
    from rectifier.records.census import Census as Census
    from rectifier.records.census import LayerCensus as LayerCensus
    from rectifier.records.census import SiteCount as SiteCount
    from rectifier.records.codec import decode as decode
    from rectifier.records.codec import encode as encode
    from rectifier.records.codec import to_builtins as to_builtins
    from rectifier.records.comparison import ArmVerdict as ArmVerdict
    from rectifier.records.comparison import Comparison as Comparison
    from rectifier.records.comparison import Effect as Effect
    from rectifier.records.comparison import Trial as Trial
    from rectifier.records.finding import Diagnosis as Diagnosis
    from rectifier.records.finding import Finding as Finding
    from rectifier.records.finding import Judged as Judged
    from rectifier.records.finding import LayerSummary as LayerSummary
    from rectifier.records.finding import Severity as Severity
    from rectifier.records.notebook import shown_by as shown_by
    from rectifier.records.preflight import LayerCheck as LayerCheck
    from rectifier.records.preflight import Preflight as Preflight
    from rectifier.records.preflight import Probe as Probe
    from rectifier.records.preflight import SiteProbe as SiteProbe
    from rectifier.records.process import Process as Process
    from rectifier.records.process import Writer as Writer
    from rectifier.records.ranks import merge_ranks as merge_ranks
    from rectifier.records.run import FORMAT_VERSION as FORMAT_VERSION
    from rectifier.records.run import Manifest as Manifest
    from rectifier.records.run import Outcome as Outcome
    from rectifier.records.run import Run as Run
    from rectifier.records.site import AxisSource as AxisSource
    from rectifier.records.site import Site as Site
    from rectifier.records.site import UnitAxis as UnitAxis
    from rectifier.records.site import Unseen as Unseen
    from rectifier.records.site import told_apart as told_apart
    from rectifier.records.snapshot import MOST_TOLD_APART as MOST_TOLD_APART
    from rectifier.records.snapshot import NORM_BEFORE_CLIPPING as NORM_BEFORE_CLIPPING
    from rectifier.records.snapshot import Cost as Cost
    from rectifier.records.snapshot import Series as Series
    from rectifier.records.snapshot import SiteWindow as SiteWindow
    from rectifier.records.snapshot import Snapshot as Snapshot
    from rectifier.records.touched import Touched as Touched
    from rectifier.records.treated import Treated as Treated

_NAMES = {
    "arrays": (
        "BoolArray",
        "FloatArray",
        "IntArray",
    ),
    "autopsy": (
        "Autopsy",
        "Checkpoint",
        "LayerAutopsy",
        "Memory",
        "WeightRows",
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
        "Trial",
    ),
    "finding": (
        "Diagnosis",
        "Finding",
        "Judged",
        "LayerSummary",
        "Severity",
    ),
    "notebook": ("shown_by",),
    "preflight": (
        "LayerCheck",
        "Preflight",
        "Probe",
        "SiteProbe",
    ),
    "process": (
        "Process",
        "Writer",
    ),
    "ranks": ("merge_ranks",),
    "run": (
        "FORMAT_VERSION",
        "Manifest",
        "Outcome",
        "Run",
    ),
    "site": (
        "AxisSource",
        "Site",
        "UnitAxis",
        "Unseen",
        "told_apart",
    ),
    "snapshot": (
        "Cost",
        "MOST_TOLD_APART",
        "NORM_BEFORE_CLIPPING",
        "Series",
        "SiteWindow",
        "Snapshot",
    ),
    "touched": ("Touched",),
    "treated": ("Treated",),
}
_HOMES = {name: f"rectifier.records.{module}" for module, names in _NAMES.items() for name in names}

__getattr__ = on_first_use(globals(), _HOMES)
