"""One activation's functions standing in for another's, argument for argument."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from rectifier.activations import function_for
from rectifier.catalogue import Choice, parse
from rectifier.hooks.replace.activation_functions import in_place_functions_of

# Arguments after the input, in order, where they are not [the parameter,] inplace.
_ARGUMENTS = {
    "gelu": ("approximate",), "gelu_tanh": ("approximate",), "softplus": ("beta", "threshold"),
    "threshold": ("threshold", "value", "inplace"), "hardtanh": ("min_val", "max_val", "inplace"),
    "rrelu": ("lower", "upper", "training", "inplace"), "prelu": ("weight",),
}  # fmt: skip
_IN_PLACE = frozenset(
    {"relu", "leaky_relu", "elu", "celu", "selu", "relu6", "hardtanh", "silu", "mish", "hardswish", "hardsigmoid"}
)


@dataclass(frozen=True)
class Replacement:
    """Calls of one activation's functions, computed as another.

    In-place forms stay in place: the tensor that went in holds the result.

    Attributes:
        old: The activation that is called, as a user writes it.
        exact: Only calls with the parameter of `old` are meant.
        new: What is computed instead; nothing that needs a module (a learned slope, a training mode).

    Example:
        >>> import torch.nn.functional as F
        >>> Replacement("relu", False, "leaky_relu:0.1").call(F.relu, torch.tensor([-2.0, 3.0]))
        tensor([-0.2000,  3.0000])
    """

    old: str
    exact: bool
    new: str
    name: str = field(init=False, repr=False)
    _parameter: tuple[str | None, float | None, float | None] = field(init=False, repr=False, compare=False)
    _arguments: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _compute: Callable[..., Tensor] = field(init=False, repr=False, compare=False)
    _overwriting: frozenset[Callable[..., Tensor]] = field(init=False, repr=False, compare=False)
    _in_place: bool = field(init=False, repr=False, compare=False)
    _nested: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        old, new = parse(self.old), parse(self.new)
        row = old.activation
        usual = (row.parameter, "inplace") if row.parameter else ("inplace",)
        values = {
            "name": row.name,
            "_parameter": (row.parameter, row.default, old.parameter),
            "_arguments": _ARGUMENTS.get(row.name, usual),
            "_compute": function_for(new),
            "_overwriting": in_place_functions_of(row.name),
            "_in_place": new.activation.name in _IN_PLACE and (new.parameter is None or new.parameter >= 0),
            "_nested": new.activation.name == "relu_squared" and row.name == "relu",
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return Replacement, (self.old, self.exact, self.new)

    def meant(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether a call with these arguments, the input left out, is one of `old`."""
        given = dict(zip(self._arguments, args, strict=False)) | kwargs
        if self.name in ("gelu", "gelu_tanh"):
            tanh = bool(given.get("approximate", "none") == "tanh")
            return tanh == (self.name == "gelu_tanh")
        if self.name == "threshold" and given.get("value", 0) != 0:
            return False
        name, default, wanted = self._parameter
        return not self.exact or name is None or bool(given.get(name, default) == wanted)

    def produces(self, choice: Choice, *, exact: bool) -> bool:
        """Whether what is computed is this activation; with this very parameter, if `exact`."""
        new = parse(self.new)
        return new.activation is choice.activation and (not exact or new.parameter == choice.parameter)

    def call(self, original: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Compute a call of `original`, which is one of the functions of `old`."""
        input_, rest, named = _split(args, kwargs)
        if not self.meant(rest, named):
            return original(input_, *rest, **named)
        given = dict(zip(self._arguments, rest, strict=False)) | named
        in_place = bool(given.get("inplace", False)) or original in self._overwriting
        if self._nested:
            # Squared ReLU calls ReLU, which a mode further out would square again.
            with torch._C.DisableTorchFunction():
                result = self._result(input_, in_place)
        else:
            result = self._result(input_, in_place)
        out = given.get("out")
        return result if out is None else out.copy_(result)

    def _result(self, input_: Tensor, in_place: bool) -> Tensor:
        if not in_place:
            return self._compute(input_)
        if self._in_place:
            return self._compute(input_, inplace=True)
        # The function may keep its input for backward, so it is given one of its own.
        return input_.copy_(self._compute(input_.clone()))


def _split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, tuple[Any, ...], dict[str, Any]]:
    if args:
        return args[0], args[1:], kwargs
    return kwargs["input"], (), {name: value for name, value in kwargs.items() if name != "input"}


@dataclass(frozen=True)
class Stand:
    """A function held by a module, `self.act = F.relu`, and what is computed when it is called.

    Attributes:
        original: What was held; it keeps its bound arguments if it is a `functools.partial`.
        replacement: The rule.
    """

    original: Callable[..., Tensor]
    replacement: Replacement

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:  # noqa: D102
        bound = getattr(self.original, "keywords", None) or {}
        first = getattr(self.original, "args", None) or ()
        function = getattr(self.original, "func", self.original)
        return self.replacement.call(function, *first, *args, **{**bound, **kwargs})

    def __repr__(self) -> str:
        return f"<{self.replacement.new} in place of {self.replacement.old}>"
