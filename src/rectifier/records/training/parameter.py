"""Parameters of a training: where each is held, what gradient came to it, and whether it moves."""

from dataclasses import dataclass
from enum import StrEnum

from rectifier.records.arrays import FloatArray, IntArray
from rectifier.records.counts import Count


class Holder(StrEnum):
    """What holds a parameter."""

    MODULE = "module"
    """A module of a model: `named_parameters()` lists it."""
    CONTAINER = "container"
    """A plain list, tuple or mapping of a module, or an attribute of one that holds a bare tensor: it is no parameter
    of that module."""
    NONE = "none"
    """No module that is known: a tensor of the script's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A tensor that a training can change.

    Attributes:
        model: Name of the model it belongs to, as `Site.model`; "" for a tensor that no module holds.
        path: As `named_parameters` writes it; `layers[0].weight` where a plain container holds it; "" for a tensor
            that no module holds.
        shape: Its.
        holder: What holds it.
        requires_grad: Whether a gradient was asked for when it was met.
        dtype: Of its numbers, as torch names it: `float32`; "" in records of earlier versions.
    """

    model: str
    path: str
    shape: tuple[Count, ...]
    holder: Holder = Holder.MODULE
    requires_grad: bool = True
    dtype: str = ""

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        size = 1
        for length in self.shape:
            size *= length
        return size

    @property
    def module(self) -> str:
        """Path of the module that holds it."""
        return self.path.rpartition(".")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerState:
    """An optimizer, as it was when it was last looked at.

    Attributes:
        name: Its class.
        steps: Steps of it at the counted steps; 0 for one that was never seen to step.
        skipped: Steps that a GradScaler left out since the beginning, because a gradient was not finite.
        without_gradients: Of the counted steps, those at which none of its parameters had a gradient.
        used: Of its first counted steps, those at which the gradients that it used were looked at.
        zeros: Of these, those at which all were 0.
        momentum: The largest of its groups (SGD's); None without.
        scheduled: Whether a scheduler of torch has had its learning rate.
    """

    name: str
    steps: Count
    skipped: Count = 0
    without_gradients: Count = 0
    used: Count = 0
    zeros: Count = 0
    momentum: float | None = None
    scheduled: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ParameterCounts:
    """What is known of the parameters since the beginning; `P` is how many had been met by then.

    Gradients are looked at after the backward passes of counted steps. Weights are compared bit by bit, with one number
    computed from all bits of a parameter, at a few steps that lie ever further apart; the first time before the first
    step.

    Attributes:
        first_looked: (P,) first step at which the gradient was looked at; -1 for never.
        last_looked: (P,) last one.
        looked: (P,) how many.
        without_gradient: (P,) of these, at how many there was none.
        zero_gradient: (P,) of these, at how many it was exactly 0 everywhere.
        last_nonzero: (P,) last of these at which it was neither absent nor 0; -1 for never. NaN is not 0.
        nonfinite_step: (P,) first of these at which it held NaN or an infinity; -1 for never.
        connected: (P,) losses whose graph was read and led to it.
        losses_read: Losses whose graph was read.
        losses_with_new: Of them, after the first, those that led to weights of layers which no loss before had led to.
        first_compared: (P,) step before which its bits were first taken; -1 for never.
        last_compared: (P,) step before which they were last compared with those before; -1 for never.
        last_changed: (P,) step before which a change was last found; -1 for never.
        nonfinite_weight_step: (P,) step before which it was first found to hold NaN or an infinity; -1 for never.
        weight_first: (P,) its norm when its bits were first taken; NaN for never.
        weight_last: (P,) its norm when they were last compared.
        gradient: (P,) norm of its gradient when its bits were last taken, without a GradScaler's factor; NaN where
            there was none.
        optimizer: (P,) index of the optimizer whose groups held it last, in `optimizers`; -1 for none.
        learning_rate: (P,) of that group, at the last counted step; NaN where it is not known.
        weight_decay: (P,) of that group; NaN where it is not known.
        epsilon: (P,) of that group (`eps`); NaN where it has none.
        optimizers: All that have been met.
        backward_passes: All of a training that no optimizer of torch's steps, else those of the observed steps.
        optimizer_steps: Steps since the beginning, whatever made them; 0 where nothing did, and each backward pass is
            counted as a step.
        weight_low: (P,) its smallest number when its bits were first taken; NaN for never. None in earlier records,
            and where ranks were merged.
        weight_high: (P,) the largest one.
        uses: (P,) most operations of one loss that used it; a recurrent layer uses its weights once for each position.
            None in earlier records.
        carried_looks: Counted steps, after the first, at which it was looked whether gradients of the step before were
            still there when the losses were back-propagated.
        carried: Of them, those at which they were, and not 0, before every loss of the step: nobody clears them.
    """

    first_looked: IntArray
    last_looked: IntArray
    looked: IntArray
    without_gradient: IntArray
    zero_gradient: IntArray
    last_nonzero: IntArray
    nonfinite_step: IntArray
    connected: IntArray
    losses_read: Count
    first_compared: IntArray
    last_compared: IntArray
    last_changed: IntArray
    nonfinite_weight_step: IntArray
    weight_first: FloatArray
    weight_last: FloatArray
    gradient: FloatArray
    optimizer: IntArray
    learning_rate: FloatArray
    weight_decay: FloatArray
    epsilon: FloatArray
    optimizers: tuple[OptimizerState, ...] = ()
    backward_passes: Count = 0
    optimizer_steps: Count = 0
    weight_low: FloatArray | None = None
    weight_high: FloatArray | None = None
    uses: IntArray | None = None
    losses_with_new: Count = 0
    carried_looks: Count = 0
    carried: Count = 0
