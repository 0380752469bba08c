"""What was not observed, and why, in words."""

from rectifier._formatting import counted
from rectifier.records import Process, Recorder, Unseen, WhyUnseen

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
