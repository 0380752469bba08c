"""What a user has to know about a swap that was made."""

import dis
from collections.abc import Iterator

from torch import nn
from torch.optim import Optimizer

from rectifier.catalogue import Choice
from rectifier.hooks.modules import Place, written_class
from rectifier.treatment.swapping.survey import Survey

Slopes = list[tuple[str, nn.Parameter, nn.Parameter | None]]


def left_as_they_are(model: nn.Module, meant: Survey) -> Iterator[str]:
    """Calls that a swap does not reach."""
    for path, call in meant.elsewhere:
        where = path or type(model).__name__
        if call.scripted or call.source == "torch":
            yield f"{call.written} in {where} stays as it is: nothing can reach into it."
        else:
            yield f"{call} in {where} stays as it is: the forward does not lead there."


def tied(meant: Survey, slopes: Slopes) -> Iterator[str]:
    """Slopes that several places share, because the module was shared."""
    if not slopes:
        return
    together: dict[int, list[Place]] = {}
    for place in meant.places:
        together.setdefault(id(place.child), []).append(place)
    for shared in together.values():
        if len(shared) > 1:
            paths = ", ".join(place.path for place in shared)
            yield f"{paths} were one module and still are: they learn one slope together."
        times = _uses(shared[0])
        if times > 1:
            yield (
                f"{shared[0].path} is called {times} times in the forward of {type(shared[0].parent).__name__}: "
                "all calls learn one slope together."
            )


def _uses(place: Place) -> int:
    """How often the parent's forward takes up the child by name."""
    code = getattr(getattr(written_class(type(place.parent)), "forward", None), "__code__", None)
    if code is None:
        return 0
    wanted = ("LOAD_ATTR", "LOAD_METHOD")
    return sum(i.opname in wanted and i.argval == place.name for i in dis.get_instructions(code))


def parameters(new: Choice, slopes: Slopes, optimizer: Optimizer | None) -> Iterator[str]:
    """What new parameters need from the user."""
    if not slopes:
        return
    start = new.parameter
    if optimizer is None:
        yield (
            f"{_count(slopes)} new, {_names(slopes)}: make the optimizer after the swap, or pass it as optimizer=; "
            f"in an optimizer that was made before they are missing, and stay at {start}."
        )
    elif lost := [name for name, _, weight in slopes if weight is None]:
        yield f"No layer was found beside {', '.join(lost)}: add the slope to the optimizer yourself."
    if frozen := [name for name, slope, _ in slopes if not slope.requires_grad]:
        yield f"{', '.join(frozen)} do not learn: the layer beside them is frozen."
    yield (
        "A checkpoint from before the swap has no slopes: load it with strict=False, "
        "and every slope keeps its start value."
    )


def _count(slopes: Slopes) -> str:
    return "1 parameter is" if len(slopes) == 1 else f"{len(slopes)} parameters are"


def _names(slopes: Slopes) -> str:
    names = [name for name, _, _ in slopes]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
