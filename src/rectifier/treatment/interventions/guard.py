"""One operation guarded: what it makes that is not finite becomes 0, in its output and in its gradient."""

import re
from typing import Any

import torch
from torch import Tensor

from rectifier.hooks.microscope.source_lines import frame_of_user, line_of
from rectifier.hooks.patch.function_calls import Function, on_calls
from rectifier.records import Change
from rectifier.treatment.interventions.intervening import Intervening

_PLACE = re.compile(r"(?P<line>.*:\d+)(?: +(?P<operation>\S+))?")


class GuardedOperation(Intervening):
    """Operations of one line, or one of them by name.

    Args:
        place: `file.py:41`, or `file.py:41 sqrt`.
    """

    def __init__(self, place: str) -> None:
        super().__init__(Change.GUARD_OPERATION)
        found = _PLACE.fullmatch(place.strip())
        self._place: str = place if found is None else found["line"]
        self._operation: str | None = None if found is None else found["operation"]

    def start(self) -> None:
        """Begin."""
        self._undo.append(on_calls(self._called))

    def _called(self, function: Function, proceed: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = getattr(function, "__name__", "")
        # Not what an optimizer computes: a weight of 0 in the place of one that is not finite is no guard.
        if not torch.is_grad_enabled() or name in _ATTRIBUTES or (self._operation and not _same(self._operation, name)):
            return NotImplemented
        frame = frame_of_user()
        if frame is None or line_of(frame).place != self._place:
            return NotImplemented
        in_place = name.endswith("_") and not name.endswith("__")
        given = args if in_place else tuple(self._watched(value) for value in args)
        named = kwargs if in_place else {key: self._watched(value) for key, value in kwargs.items()}
        result = proceed(*given, **named)
        if isinstance(result, tuple) and not hasattr(result, "_fields"):
            return tuple(self._finite(one) for one in result)
        return self._finite(result)

    def _watched(self, value: Any) -> Any:
        if isinstance(value, list | tuple) and value and all(type(one) is Tensor for one in value):
            return type(value)(self._watched(one) for one in value)
        if not isinstance(value, Tensor) or not value.requires_grad or not torch.is_grad_enabled():
            return value
        seen = value.view_as(value)
        seen.register_hook(self._finite)  # type: ignore[no-untyped-call]
        return seen

    def _finite(self, value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point() or bool(value.isfinite().all()):
            return value
        self.note(f"{self._operation or 'operations'} at {self._place}")
        return torch.where(value.isfinite(), value, 0)


_ATTRIBUTES = frozenset({"__get__", "__set__", "size", "dim", "numel", "item", "backward", "register_hook", "__repr__"})


def _same(wanted: str, name: str) -> bool:
    """Whether a function is this operation, which may be named as a node of the graph or by what torch makes of it.

    Example:
        >>> _same("SqrtBackward0", "sqrt"), _same("_softmax", "softmax"), _same("exp", "log")
        (True, True, False)
    """
    one, other = _plain(wanted), _plain(name)
    return one == other or other in _MADE_OF.get(one, ())


def _plain(name: str) -> str:
    name = re.sub(r"backward\d*$", "", name, flags=re.IGNORECASE).replace("_", "").lower()
    for extra in ("native", "cudnn", "mkldnn", "linalg", "forward"):
        name = name.replace(extra, "")
    return _SPELLED.get(name, name)


_SPELLED = {
    "truediv": "div", "rtruediv": "div", "truedivide": "div", "itruediv": "div", "rdiv": "div", "rpow": "pow",
    "ipow": "pow", "square": "pow", "radd": "add", "iadd": "add", "rsub": "sub", "isub": "sub", "rmul": "mul",
    "imul": "mul", "matmul": "mm", "rmatmul": "mm", "bmm": "mm", "mv": "mm", "dot": "mm", "addmm": "linear",
    "getitem": "index", "convolution": "conv",
}  # fmt: skip
_MADE_OF = {
    "logsoftmax": ("crossentropy",), "nllloss": ("crossentropy",), "mm": ("linear",), "linear": ("mm",),
    "conv": ("conv1d", "conv2d", "conv3d"), "vectornorm": ("norm", "normalize", "pairwisedistance", "cdist"),
    "norm": ("vectornorm", "normalize", "pairwisedistance"), "sqrt": ("norm", "std"), "log": ("binarycrossentropy",),
    "binarycrossentropy": ("bceloss",), "softmax": ("scaleddotproductattention", "crossentropy"),
    "sum": ("mean",), "mean": ("sum", "mseloss", "l1loss"),
}  # fmt: skip
"""Operation -> functions of which it is a part."""
