"""What was not observed, and why, in words."""

from rectifier._formatting import counted
from rectifier.records import AxisSource, Process, Recorder, UnitAxis, Unseen, WhyUnseen

_NAMES = {
    Recorder.TRACE: "torch.jit.trace",
    Recorder.DISPATCH_MODE: "a TorchDispatchMode",
    Recorder.FUNCTION_MODE: "a TorchFunctionMode",
    Recorder.TRANSFORM: "torch.func",
    Recorder.PROFILER: "a profiler",
    Recorder.COMPILED_AUTOGRAD: "compiled autograd",
}

_UNSEEN = {
    WhyUnseen.BOUND_EARLY: (
        "called by a name that was bound before watching began, from TorchScript, or inside of nn.RNN"
    ),
    WhyUnseen.COMPILED: (
        "inside torch.compile, where nothing is observed; rectifier run --observe-compiled, or "
        "watch(..., observe_compiled=True), runs an extra uncompiled forward of a compiled module and counts there"
    ),
    WhyUnseen.HAND_WRITTEN: "may be a hand-written activation or a mask: the two cannot be distinguished",
    WhyUnseen.CUSTOM: "a custom autograd.Function; whether it is an activation is unknown",
}


def why_unseen(unseen: Unseen) -> str:
    """Why something that looked like an activation was not observed, for the middle of a sentence."""
    return unseen.reason if unseen.why is WhyUnseen.OTHER else _UNSEEN[unseen.why]


def unseen_calls(unseen: Unseen) -> str:
    """What was not observed, and how many calls of it there were."""
    return unseen.what if unseen.calls == 1 else f"{unseen.what}, {unseen.calls:,} calls"


def why_units_unknown(found: UnitAxis) -> str:
    """Why it is not known which axis counts as a site's units, for the middle of a sentence."""
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


def recorded(process: Process) -> tuple[str, ...]:
    """One sentence for each recorder that was met, with the number of steps.

    Example:
        >>> from types import SimpleNamespace
        >>> recorded(SimpleNamespace(snapshots=[SimpleNamespace(left_alone={Recorder.PROFILER: 3})]))
        ('Not observed, wholly or in part: 3 steps, because a profiler recorded the operations there.',)
    """
    if not process.snapshots:
        return ()
    return tuple(
        f"Not observed, wholly or in part: {counted(steps, 'step')}, "
        f"because {_NAMES[who]} recorded the operations there."
        for who, steps in process.snapshots[-1].left_alone.items()
    )
