"""One thing that is changed in an unmodified script, and what it found to change."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Change(StrEnum):
    """One thing that is changed in an unmodified script."""

    LEARNING_RATE_THIRD = "learning_rate_third"
    LEARNING_RATE_TENTH = "learning_rate_tenth"
    LEARNING_RATE_HUNDREDTH = "learning_rate_hundredth"
    LEARNING_RATE_TRIPLE = "learning_rate_triple"
    WARM_UP = "warm_up"
    CLIP_GRADIENT = "clip_gradient"
    CLIPPING_OFF = "clipping_off"
    """Gradients stay as they are where the script clips them."""
    LARGER_EPS = "larger_eps"
    MOMENTUM_OFF = "momentum_off"
    WEIGHT_DECAY_OFF = "weight_decay_off"
    LOSS_TERM_OFF = "loss_term_off"
    """An addend of the loss; the value is its index."""
    WEIGHTS_HE = "weights_he"
    WEIGHTS_GLOROT = "weights_glorot"
    WEIGHTS_SMALL_RANDOM = "weights_small_random"
    """Of weights that are exactly 0 at the start."""
    ZERO_BIAS = "zero_bias"
    STANDARDISE_INPUTS = "standardise_inputs"
    STANDARDISE_TARGETS = "standardise_targets"
    LEAKY_ACTIVATION = "leaky_activation"
    BOUNDED_ACTIVATION = "bounded_activation"
    UNSATURATED_ACTIVATION = "unsaturated_activation"
    """Leaky ReLU in the place of sigmoid and tanh."""
    LINEAR_OUTPUT = "linear_output"
    NORMALISATION_OFF = "normalisation_off"
    FLOAT32 = "float32"
    ZERO_GRAD = "zero_grad"
    """Gradients are cleared before each backward pass."""
    TRAIN_MODE = "train_mode"
    ADD_PARAMETERS = "add_parameters"
    """What is in no optimizer is given to one."""
    STEP_OPTIMIZER = "step_optimizer"
    """A step after each backward pass."""
    SKIP_BATCHES_OF_ONE = "skip_batches_of_one"
    SKIP_NONFINITE = "skip_nonfinite"
    """Steps of batches whose inputs or loss are not finite are left out."""
    GUARD_OPERATION = "guard_operation"
    """The value is the place, `file.py:41`, or `file.py:41 sqrt` for one operation of that line."""
    RESTART = "restart"
    """Another seed; a control."""
    PLACEBO = "placebo"
    """The learning rate × 1.001; a control."""
    NONE = "none"


REPLACES: dict[Change, tuple[str, ...]] = {
    Change.LEAKY_ACTIVATION: ("relu", "relu6"),
    Change.UNSATURATED_ACTIVATION: ("sigmoid", "tanh", "hardsigmoid", "hardtanh", "softsign"),
    Change.BOUNDED_ACTIVATION: ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "softplus", "mish"),
}
"""Changes of an activation -> those that it replaces."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """One change, as a trial is asked for it.

    Attributes:
        change: Which.
        value: Of which addend, at which place; None where there is nothing to choose.
    """

    change: Change = Change.NONE
    value: float | int | str | None = None

    def __str__(self) -> str:
        """The form that a command takes: `loss_term_off:1`."""
        return str(self.change) if self.value is None else f"{self.change}:{self.value}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` writes.

        Raises:
            ValueError: There is no such change.

        Example:
            >>> Intervention.parse("loss_term_off:1")
            Intervention(change=<Change.LOSS_TERM_OFF: 'loss_term_off'>, value=1)
        """
        name, colon, value = text.partition(":")
        if name not in set(Change):
            raise ValueError(f"{name!r} is no change; known are {', '.join(Change)}")
        return cls(Change(name), _value(value) if colon else None)


def _value(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        # Other spellings of a number (`007`, `1_0`) stay text: what is written again must be what was read.
        if str(value) == text and math.isfinite(value):
            return value
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPart:
    """A part of the user's program that a change replaced or left out.

    Attributes:
        name: The activation, the class of a module, the term of a loss, the argument of a function.
        path: Of the module or parameter in its model; "" for what is none.
        place: The user's line, `train.py:41`; "" where it is not known, or where `path` says it.
    """

    name: str
    path: str = ""
    place: str = ""

    def __str__(self) -> str:
        where = f" of {self.path}" if self.path else f" at {self.place}" if self.place else ""
        return self.name + where


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """Whether a change found anything to change.

    Attributes:
        change: Which.
        times: How often it changed something; 0 is a change that did nothing, and never a cure.
        detail: What it changed, for the report: `weight decay of 0.5 (AdamW, group 0)`.
        before: The number that it changed first; None where it is none.
        after: What it became.
        place: The user's own line that gives this number, `train.py:41`; "" where it is unknown.
        expression: What stands there.
        parts: The first parts that it replaced or left out; empty where it changed settings.
    """

    change: Change
    times: int
    detail: str = ""
    before: float | None = None
    after: float | None = None
    place: str = ""
    expression: str = ""
    parts: tuple[ChangedPart, ...] = ()
