"""Facts as earlier formats of a run folder have them.

Format 1 wrote as sentences where a site's units are, what some notes say, and that a treatment was refused. This is the
only place that reads any.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rectifier.records import AxisSource, Process, RunNote, Site, UnitAxis, decode, encode

_AXIS = re.compile(
    r"(?:(?P<first>axis 1 of )|last of )(?P<ndim>\d+)(?: axes)?, (?:after (?P<operation>\w+)|as said .*)"
)
_MIXED = re.compile(r"unknown: a view from \[([\d, ]*)\] to \[([\d, ]*)\] mixed .*")
_OPERATION = re.compile(r"unknown: (\w+) before it may have moved the axis")
_TOO_FAR = re.compile(r"unknown: no layer within (\d+) operations before it")
_UNKNOWN = {
    "unknown: a single number has no units": AxisSource.NO_AXES,
    "unknown: its input has no gradient history": AxisSource.NO_HISTORY,
    "unknown: its input is a leaf, not a layer's output": AxisSource.LEAF,
    "unknown: a view before it may have moved the axis": AxisSource.VIEW,
    "unknown: the branches of a sum disagree about the axis": AxisSource.BRANCHES,
}
_NOT_WRITTEN = 0
"""Format 1 did not write how many axes the input had where its units are unknown."""


def _site_in_format_1(line: bytes) -> Site:
    facts = decode(line, dict[str, Any])
    return decode(encode({**facts, "unit_axis": _axis_in_format_1(str(facts.get("unit_axis")))}), Site)


def _axis_in_format_1(text: str) -> UnitAxis:
    if found := _AXIS.fullmatch(text):
        operation = found["operation"]
        return UnitAxis(
            axis=1 if found["first"] else -1,
            ndim=int(found["ndim"]),
            source=AxisSource.USER if operation is None else AxisSource.LAYER,
            operation=operation,
        )
    if text in _UNKNOWN:
        return UnitAxis(axis=None, ndim=_NOT_WRITTEN, source=_UNKNOWN[text])
    if found := _OPERATION.fullmatch(text):
        return UnitAxis(axis=None, ndim=_NOT_WRITTEN, source=AxisSource.OPERATION, operation=found[1])
    if found := _TOO_FAR.fullmatch(text):
        return UnitAxis(axis=None, ndim=_NOT_WRITTEN, source=AxisSource.TOO_FAR, operations=int(found[1]))
    if found := _MIXED.fullmatch(text):
        before, after = (tuple(int(size) for size in shape.split(",") if size.strip()) for shape in found.groups())
        return UnitAxis(axis=None, ndim=len(after), source=AxisSource.MIXING_VIEW, shapes=(before, after))
    raise ValueError(f"a site's unit axis is {text!r}, which no version wrote")


READERS: dict[int, dict[str, Callable[[bytes], object]]] = {1: {"site": _site_in_format_1}}
"""Format -> kind of fact -> what reads a line of it, where the format differs from the present one."""


_LOOKED = re.compile(r"(?P<times>\d+) times?, last after step (?P<step>[\d,]+)")
_SWAP = "swap "
_REFUSED = "not treated"


def notes_in_format_1(notes: Mapping[str, str], processes: Iterable[Process]) -> dict[str, str]:
    """The notes of a run of format 1 under the names that they have now."""
    found = {}
    for name, text in notes.items():
        looked = _LOOKED.fullmatch(text) if name == "recycle" else None
        if looked is not None:
            found[str(RunNote.LOOKED)] = looked["times"]
            found[str(RunNote.LAST_LOOK)] = looked["step"].replace(",", "")
        elif name.startswith(_SWAP):
            found[RunNote.nothing_swapped(name.removeprefix(_SWAP))] = ""
        else:
            found[name] = text
    if any(warning.startswith(_REFUSED) for process in processes for warning in process.warnings):
        found[str(RunNote.NOT_TREATED)] = ""
    return found
