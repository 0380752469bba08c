"""A cause established by experiment: what is changed, what the microscope saw, how each trial ended, the verdict."""

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from rectifier.records.findings.rules import CauseKind, RemedyId
from rectifier.records.notebook import InNotebook


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


class SightKind(StrEnum):
    """What the microscope looks for."""

    FIRST_NONFINITE = "first_nonfinite"
    """The first operation that made a number that is not finite."""
    GRADIENT_LOST = "gradient_lost"
    """The operation at which the gradient becomes 0."""
    GRADIENT_CUT = "gradient_cut"
    """The operation at which the graph ends although its input is part of it."""
    MOVED_BY = "moved_by"
    """What moved the pre-activation of units that died, in shares."""
    PARAMETERS_IDLE = "parameters_idle"
    """Parameters that do not move, and why."""
    INPUTS = "inputs"
    """Offset, scale, constancy and finiteness of inputs and targets, and the size of batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """One thing that the microscope saw.

    Attributes:
        kind: What was looked for.
        operation: As torch calls it (`sqrt`), or what else is meant: an addend's expression, a parameter's path.
        phase: `forward`, `backward` or `optimizer`; "" where it belongs to none.
        place: The user's own line, `train.py:41`; "" where it is unknown.
        expression: What stands there.
        step: At which optimizer step, counted from 0.
        numbers: What shows it, by name.
        cause_kind: The cause that it speaks for; unknown where it speaks for none.
    """

    kind: SightKind
    operation: str = ""
    phase: str = ""
    place: str = ""
    expression: str = ""
    step: int = 0
    numbers: dict[str, float] = field(default_factory=dict)
    cause_kind: CauseKind = CauseKind.UNKNOWN

    @property
    def written(self) -> Self:
        """Without the numbers that JSON has no word for."""
        finite = {name: value for name, value in self.numbers.items() if math.isfinite(value)}
        return self if len(finite) == len(self.numbers) else replace(self, numbers=finite)


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One trial of an explanation.

    Attributes:
        intervention: What was changed.
        seed: With which seed; None for the script's own.
        failed: Whether the failure came.
        loss_end: Median of the last losses; None where there were none, or not finite ones.
        steps: Optimizer steps that it took.
        seconds: What it took, start-up included.
        applied: What the change found; None where it told nothing.
        losses: Some of the losses, for a small curve.
        better: Whether it did better by its loss than the failing run; None where that cannot be compared.
        error: What it said as it ended by an error before it showed anything, in one line; "" where it did not. Such a
            trial is no evidence: `failed` is False and `better` is None.
    """

    intervention: Intervention
    seed: int | None
    failed: bool
    loss_end: float | None
    steps: int
    seconds: float = 0.0
    applied: Applied | None = None
    losses: tuple[float | None, ...] = ()
    better: bool | None = None
    error: str = ""

    @property
    def helped(self) -> bool:
        """Whether the failure stayed away, and the loss was no worse where the two can be compared."""
        return not self.error and not self.failed and self.better is not False

    @property
    def unhelpful(self) -> bool:
        """Whether the failure came all the same, or the loss was worse."""
        return self.failed or self.better is False


@dataclass(frozen=True, slots=True, kw_only=True)
class EstablishedCause:
    """A cause with what shows it.

    Attributes:
        kind: Which.
        detail: What exactly, in words.
        place: The user's own line; "" where it is unknown.
        intervention: The change that takes the failure away; None where no change can, and other evidence shows it.
        established: Whether an experiment showed it.
        text: All of that in one sentence, for the reader; filled at the edge.
    """

    kind: CauseKind
    detail: str = ""
    place: str = ""
    intervention: Intervention | None = None
    established: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What the script does where nothing is changed, so that a cure can be told from luck.

    Attributes:
        seeds: Seeds of the unchanged script, the first one included.
        failing: Those of them on which it fails.
        placebo_failed: Whether the failure came with the placebo, the same seed; None where it was not tried.
        deterministic: Whether the unchanged script gave the same losses twice, to the bit.
        seeds_reach: Whether another seed changes anything; None where it was not tried.
        trials: The unchanged script, seed by seed, ended as early as the experiments.
        reads_input: Whether the script reads standard input, of which trials get none: they may train on other data.
    """

    seeds: tuple[int | None, ...] = ()
    failing: tuple[int | None, ...] = ()
    placebo_failed: bool | None = None
    deterministic: bool | None = None
    seeds_reach: bool | None = None
    trials: tuple[Experiment, ...] = ()
    reads_input: bool = False

    @property
    def chaotic(self) -> bool:
        """Whether a change of no meaning takes the failure away."""
        return self.placebo_failed is False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedFailure:
    """What is explained.

    Attributes:
        rule: Name of the finding's rule; "" where the loss alone tells it.
        onset: First step at which it is certain; None where that is not known.
        steps: Steps after which trials are ended; None for the script's own end.
        loss_end: Median of the last losses of the run that failed.
        asked: What the user said it is, "" where nothing.
    """

    rule: str = ""
    onset: int | None = None
    steps: int | None = None
    loss_end: float | None = None
    asked: str = ""


class Conclusion(StrEnum):
    """How an explanation ended."""

    NOTHING_TO_EXPLAIN = "nothing_to_explain"
    ESTABLISHED = "established"
    THIS_RUN = "established_for_this_run"
    """No other seed reaches what it draws, or no other seed fails."""
    OBSERVED = "observed"
    """No change from outside can mend it; what was seen shows it."""
    CHAOTIC = "chaotic"
    """A change of no meaning takes the failure away, so that no cure proves anything."""
    NO_SINGLE_CHANGE = "no_single_change"
    NOT_REPRODUCED = "not_reproduced"
    UNFINISHED = "unfinished"
    """Time was up, or it was stopped, before there was a verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation(InNotebook):
    """Why a training fails.

    Attributes:
        conclusion: How it ended.
        cause: The first of `causes`; None where none is shown.
        causes: All that are shown: first what the microscope measured, then what is nearest to the user's settings.
        established: Whether experiments showed the first cause.
        remedies: What to do, the first thing first.
        fixes: What to type for that; filled at the edge, as `title` and `details` are.
        experiments: All of them, in their order.
        control: What the unchanged script does.
        sights: What the microscope saw.
        failure: What is explained; None where there is nothing.
        notes: What the reader must know before believing it.
        title: The verdict in one line.
        details: What shows it, sentence by sentence.
    """

    conclusion: Conclusion
    cause: EstablishedCause | None = None
    causes: tuple[EstablishedCause, ...] = ()
    established: bool = False
    remedies: tuple[RemedyId, ...] = ()
    fixes: tuple[str, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    control: Control = field(default_factory=Control)
    sights: tuple[Sight, ...] = ()
    failure: ExplainedFailure | None = None
    notes: tuple[str, ...] = ()
    title: str = ""
    details: tuple[str, ...] = ()
