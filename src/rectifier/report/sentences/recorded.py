"""What was not observed because something of the user's recorded the operations, in words."""

from rectifier._formatting import counted
from rectifier.records import Process, Recorder

_NAMES = {
    Recorder.TRACE: "torch.jit.trace",
    Recorder.DISPATCH_MODE: "a TorchDispatchMode",
    Recorder.FUNCTION_MODE: "a TorchFunctionMode",
    Recorder.TRANSFORM: "torch.func",
    Recorder.PROFILER: "a profiler",
    Recorder.COMPILED_AUTOGRAD: "compiled autograd",
}


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
