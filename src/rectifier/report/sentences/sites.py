"""What is said of sites."""

from rectifier.records import AxisSource, UnitAxis


def unit_axis(found: UnitAxis) -> str:
    """Which axis counts as a site's units and how that is known, or why it is unknown.

    Example:
        >>> unit_axis(UnitAxis(axis=1, ndim=4, source=AxisSource.LAYER, operation="Convolution"))
        'axis 1 of 4, after Convolution'
        >>> unit_axis(UnitAxis(axis=None, ndim=3, source=AxisSource.OPERATION, operation="Transpose"))
        'unknown: Transpose before it may have moved the axis'
    """
    if found.axis is not None:
        how = f"after {found.operation}" if found.source is AxisSource.LAYER else "as said by units="
        return f"axis 1 of {found.ndim}, {how}" if found.axis == 1 else f"last of {found.ndim} axes, {how}"
    return f"unknown: {why_unknown(found)}"


def why_unknown(found: UnitAxis) -> str:
    """Why it is not known which axis counts as a site's units."""
    before, after = ([*shape] for shape in found.shapes or ((), ()))
    return {
        AxisSource.NO_AXES: "a single number has no units",
        AxisSource.NO_HISTORY: "its input has no gradient history",
        AxisSource.LEAF: "its input is a leaf, not a layer's output",
        AxisSource.TOO_FAR: f"no layer within {found.operations} operations before it",
        AxisSource.OPERATION: f"{found.operation} before it may have moved the axis",
        AxisSource.VIEW: "a view before it may have moved the axis",
        AxisSource.MIXING_VIEW: f"a view from {before} to {after} mixed the units with other axes",
        AxisSource.BRANCHES: "the branches of a sum disagree about the axis",
        AxisSource.ELSEWHERE: "the units are neither on the second axis nor on the last",
    }[found.source]
