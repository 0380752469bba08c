"""An activation with its parameter, as users write it: `name` or `name:parameter`."""

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rectifier.catalogue.activation import Activation
from rectifier.catalogue.table import CATALOGUE
from rectifier.errors import UnknownActivation

_FLAT_AT_ZERO = ("leaky_relu", "surrogate_gradient", "elu")
_RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "celu": (lambda alpha: alpha != 0, "other than 0"),
    "surrogate_gradient": (lambda slope: slope >= 0, "0 or more"),
    "softplus": (lambda beta: beta > 0, "above 0"),
    "softshrink": (lambda width: width >= 0, "0 or more"),
}
# torch.nn and transformers list these beside the activations, and no row can say what they do to one unit.
_NO_ROW = {
    "softmax": "softmax divides by a sum over all units",
    "softmax2d": "softmax divides by a sum over all channels",
    "softmin": "softmin divides by a sum over all units",
    "logsoftmax": "log_softmax subtracts a sum over all units",
    "adaptivelogsoftmaxwithloss": "it is a loss over many units",
    "glu": "glu multiplies one half of its units with the gates of the other half",
    "multiheadattention": "attention mixes positions",
    "xielu": "xIELU's two coefficients are learned, and its module in transformers is the one that has them",
}


@dataclass(frozen=True)
class Choice:
    """An activation with its parameter, as a user chose it.

    Attributes:
        activation: The row of the catalogue.
        parameter: Its parameter; None exactly when the activation has none.
    """

    activation: Activation
    parameter: float | None

    @property
    def spec(self) -> str:
        """The text that `parse` reads back to this very choice: `leaky_relu:0.1`, `relu`."""
        if self.parameter is None:
            return self.activation.name
        return f"{self.activation.name}:{self.parameter!r}"

    @property
    def gain(self) -> float:
        """`Activation.gain` at this parameter."""
        return self.activation.gain(self.parameter)

    @property
    def flat_below(self) -> float | None:
        """`Activation.flat_below` at this parameter: a slope or alpha of 0 makes the left side flat."""
        if self.activation.name == "threshold":
            return self.parameter
        if self.activation.name in _FLAT_AT_ZERO and self.parameter == 0:
            return 0.0
        return self.activation.flat_below

    @property
    def flat_when_silent(self) -> bool:
        """Whether f′(z) = 0 wherever a unit does not fire: true of ReLU, not of Leaky ReLU."""
        return self.flat_below is not None and self.flat_below >= 0.0

    def value(self, z: ArrayLike) -> NDArray[np.float64]:
        """f(z) in float64.

        Example:
            >>> parse("leaky_relu:0.1").value([-2.0, 3.0]).tolist()
            [-0.2, 3.0]
        """
        return self._curve(0, z)

    def derivative(self, z: ArrayLike) -> NDArray[np.float64]:
        """f′(z) in float64, with the value that torch takes where f has a kink.

        Example:
            >>> parse("leaky_relu:0.1").derivative([-2.0, 0.0, 3.0]).tolist()
            [0.1, 0.1, 1.0]
        """
        return self._curve(1, z)

    def _curve(self, which: int, z: ArrayLike) -> NDArray[np.float64]:
        from rectifier.catalogue.curves import CURVES  # noqa: PLC0415 - most readers of the table never need scipy

        parameter = math.nan if self.parameter is None else self.parameter
        return CURVES[self.activation.name][which](np.asarray(z, dtype=np.float64), parameter)


def parse(text: str) -> Choice:
    """Read `name` or `name:parameter` as a user writes it.

    Warning:
        The choice always carries its parameter, `leaky_relu` is `leaky_relu:0.01`, so that one activation has one
        spelling wherever it is stored.

    Args:
        text: A name of the catalogue, an alias, or torch's class name; upper case, `_` and `-` do not matter.

    Returns:
        The choice.

    Raises:
        UnknownActivation: The name is unknown, or the parameter is missing, not a finite number, out of range,
            or given to an activation that has none.

    Example:
        >>> parse("LeakyReLU:0.1").spec
        'leaky_relu:0.1'
        >>> parse("swish").spec
        'silu'
    """
    name, colon, written = text.strip().partition(":")
    activation = _BY_KEY.get(_key(name))
    if activation is None:
        raise UnknownActivation(_unknown(text, name))
    if not colon:
        return Choice(activation, activation.default)
    if activation.parameter is None:
        hint = f" For a slope, write leaky_relu:{written}." if activation.name == "relu" and written else ""
        raise UnknownActivation(
            f"{text!r}: {activation.name} has no parameter to choose; write {activation.name}.{hint}"
        )
    try:
        parameter = float(written)
    except ValueError:
        parameter = math.nan
    example = f"write it like {activation.name}:{activation.default}"
    if not math.isfinite(parameter):
        raise UnknownActivation(f"{text!r}: {written!r} is not a finite number for {activation.parameter}; {example}.")
    allowed, words = _RANGES.get(activation.name, (_any_number, ""))
    if not allowed(parameter):
        raise UnknownActivation(
            f"{text!r}: the {activation.parameter} of {activation.name} must be {words}; {example}."
        )
    return Choice(activation, parameter)


def _key(name: str) -> str:
    return name.strip().lower().replace("_", "").replace("-", "")


def _unknown(text: str, name: str) -> str:
    if reason := _NO_ROW.get(_key(name)):
        return f"{text!r} has no row: {reason}. Known are: {', '.join(CATALOGUE)}."
    close = difflib.get_close_matches(_key(name), _BY_KEY, n=1, cutoff=0.6)
    meant = f" Did you mean {_BY_KEY[close[0]].name}?" if close else ""
    return (
        f"{text!r} is not an activation that Rectifier knows.{meant} Known are: {', '.join(CATALOGUE)}. "
        "A parameter follows a colon: leaky_relu:0.1, elu:1.0."
    )


def _any_number(_: float) -> bool:
    return True


_BY_KEY = {_key(name): row for row in CATALOGUE.values() for name in (*row.aliases, row.module or row.name, row.name)}
# Two rows share nn.GELU; its default is the exact form.
_BY_KEY["gelu"] = CATALOGUE["gelu"]
