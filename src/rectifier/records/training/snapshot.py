"""What the counters said, window by window. Windows of one site are disjoint, so facts over them add up."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np

from rectifier.records.arrays import FloatArray, IntArray
from rectifier.records.counts import AtLeastOne, Count, NotNegative
from rectifier.records.training.loss import InputFacts, ModelState, OutputWindow
from rectifier.records.training.parameter import ParameterCounts
from rectifier.records.training.thinning import grid, spacing, thinned

MOST_TOLD_APART = 100_000
"""Distinct samples of one model that are told apart. Later new ones are not counted: with as many, "all" is false."""

EARLY_STEPS = 1024
"""Up to here the number of a step alone decides how it is observed, however busy the machine is: what is told of a
short training must not depend on that. Everything is counted at the first 16 steps and then at eight of each doubling:
64 in all. Whether units fire is seen at the first 64 steps, at every second one up to 256, then at every fourth."""

NORM_BEFORE_CLIPPING = "gradient_norm_before_clipping"
"""Name of the series of what `clip_grad_norm_` measured."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SiteWindow:
    """One site's counters over one window of observed training steps.

    `U` is the number of units (0 where the unit axis is unknown), `K` the number of observed steps that are kept of the
    window. Some of them were sampled in full; at the others, sampled lightly, it was only seen whether units fired.
    A unit *fires* on a sample when its pre-activation is above 0 at any position (seen in the output: h > f(0)).

    Attributes:
        site: Index into the process's sites.
        steps: (K,) the observed steps, counted from 0 in optimizer steps. From step 4,096 on they are thinned as a
            series is: at most 2,048 of them each time their number doubles, beside extremes of `delta` and `update`.
        visits: Samples counted in this window; the same sample seen twice counts twice.
        seen: Samples of all observed steps of this window, those sampled lightly included.
        fired: (U,) counted samples of this window on which the unit fired.
        mean: (U,) mean of the output over samples and positions.
        mean_abs: (U,) mean of its absolute value.
        highest: (U,) largest output in the window.
        lowest: (U,) smallest output in the window.
        last_fired: (U,) last observed step, since the beginning, at which the unit fired; -1 for never.
        silent_visits: (U,) samples seen since the unit last fired, over all windows so far.
        silent_distinct: (U,) how many of those are distinct; None where the inputs could not be told apart.
        delta: (K,) norm of ∂L/∂z per sample, over all units and positions, root mean square over the batch;
            NaN where no gradient came, or where sampled lightly.
        update: (K,) ‖Δw‖/‖w‖ of the weight that feeds the site, NaN where unknown, or where sampled lightly.
        pre_mean: (U,) mean of the pre-activation z over samples and positions; None where it was not counted.
        bias: (U,) the bias that is part of z, at the end of the window; None where the layer has none.
        saturated: (U,) counted samples on which |f′(z)| was below 1% of its maximum at every position; None for
            activations that do not saturate on both sides.
        last_gradient: (U,) last counted step, since the beginning, at which the gradient of the unit's bias was not
            exactly 0; -1 for never. An exact 0 nominates a unit as starved, and proves nothing on one step. None where
            the layer has no bias, or its gradient was never seen.
        learning_rate: (K,) of the weight that feeds the site, NaN where unknown, or where sampled lightly.
        nonfinite_step: First observed step of this window at which the output held NaN or an infinity.
        square: (K,) mean square of the output. Measured at each site's first counted step, and at every counted step
            of the model's last site; NaN elsewhere.
        spread: (K,) at the same steps, mean square of the output's distance from the batch's mean: what tells samples
            apart.
    """

    site: Count
    steps: IntArray
    visits: Count
    seen: Count
    fired: IntArray
    mean: FloatArray
    mean_abs: FloatArray
    highest: FloatArray
    lowest: FloatArray
    last_fired: IntArray
    silent_visits: IntArray
    silent_distinct: IntArray | None
    delta: FloatArray
    update: FloatArray
    pre_mean: FloatArray | None = None
    bias: FloatArray | None = None
    saturated: IntArray | None = None
    last_gradient: IntArray | None = None
    learning_rate: FloatArray | None = None
    nonfinite_step: Count | None = None
    square: FloatArray | None = None
    spread: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Series:
    """A number over training steps: the loss, or what the script logged under a name.

    Attributes:
        steps: (n,) ascending.
        values: (n,) one at each of them.
        every: 1 while nothing has been left out. Above that, late values have been thinned: one of at most so many
            steps is kept, and beside those the extremes, and what was not finite, at their exact steps.
    """

    steps: IntArray
    values: FloatArray
    every: AtLeastOne = 1

    def thin(self) -> "Series":
        """What of it is worth its place in a long run (`rectifier.records.training.thinning`)."""
        keep = thinned(self.steps, [self.values], ~np.isfinite(self.values))
        if keep.all():
            return self
        coarsest = int(spacing(self.steps[~keep]).max())
        return Series(steps=self.steps[keep], values=self.values[keep], every=max(self.every, coarsest))

    @property
    def even(self) -> "Series":
        """The values that lie equally far apart, for statistics that extremes would bias."""
        return self._on_grid(self.every)

    @property
    def regular(self) -> "Series":
        """The values without the extremes between them, as close together as they are kept."""
        return self if self.every == 1 else self._on_grid(np.minimum(spacing(self.steps), self.every))

    def _on_grid(self, widths: IntArray | int) -> "Series":
        if self.every == 1:
            return self
        keep = grid(self.steps, widths)
        return replace(self, steps=self.steps[keep], values=self.values[keep])


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What watching has cost so far, by the host's clock.

    Attributes:
        watching_seconds: Time spent in our own code, reading and writing included. Of steps that are not observed one
            in up to 16 is timed, and stands for the others. Work that it queues on an accelerator is not in it.
        training_seconds: Time from the first optimizer step to the last one, everything included.
        treating_seconds: Time in it that went into treatments which Rectifier gave while the script ran, and into
            looking for what to treat; it is no part of `watching_seconds`.
        observed_steps: Optimizer steps at whose forward it was seen whether units fire.
        counted_steps: Those among them at which everything was counted.
        steps: All optimizer steps.
        interval: Every how many steps one is observed now; a death's step is known to within this.
        count_interval: Every how many steps everything is counted now.
    """

    watching_seconds: NotNegative
    training_seconds: NotNegative
    observed_steps: Count
    counted_steps: Count
    steps: Count
    interval: AtLeastOne
    count_interval: AtLeastOne
    treating_seconds: NotNegative = 0.0

    @property
    def watching_fraction(self) -> float:
        """Share of the training time, without treatments, that went into watching."""
        without = self.training_seconds - self.treating_seconds
        return self.watching_seconds / without if without > 0 else 0.0


class Recorder(StrEnum):
    """A tool of the user's that sees each operation, and would see ours: nothing is computed while it is active."""

    TRACE = "trace"
    """`torch.jit.trace`, and what is built on it: `torch.onnx.export(..., dynamo=False)`."""
    DISPATCH_MODE = "dispatch_mode"
    """A `TorchDispatchMode`: FakeTensor, `make_fx`, counters of operations, selective checkpointing."""
    FUNCTION_MODE = "function_mode"
    """A `TorchFunctionMode`."""
    TRANSFORM = "transform"
    """`torch.func`, and batched gradients."""
    PROFILER = "profiler"
    """`torch.profiler` and `torch.autograd.profiler`."""
    COMPILED_AUTOGRAD = "compiled_autograd"
    """A compiler that traces the backward pass."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Snapshot:
    """All counters of one process, read at once after an optimizer step.

    Attributes:
        step: The last optimizer step that it covers.
        seconds: Since the process's first observed step.
        windows: One per site that ran in this window.
        series: What came since the previous snapshot, by name; `loss` is what was back-propagated.
        cost: Since the beginning.
        distinct_samples: Distinct inputs seen so far at observed steps; None where they could not be told apart.
        input_rms: Root mean square of the model's largest floating input over the counted steps so far; None where
            there was none, or several models were given one.
        input_offset: γ = ‖μ‖/‖σ‖ of that input's features, over the same steps; None where nothing varies, or the
            shape does.
        visits_since_new: Samples seen at observed steps since the last one that had never been seen before.
        whole_pass: Whether the distinct samples are as many as the longest data set that a loader went through.
        sparse: Whether so much has been kept of single units that a window is added only each time the number of steps
            doubles, and not with each tenth.
        left_alone: Steps so far at which something was not observed, by who recorded there what was computed.
        parameters: Of all parameters that have been met, since the beginning; None where none was looked at.
        outputs: One for each output of a model that was read in this window.
        inputs: What was given to the model; None where there was no floating input, or several models were given one.
        models: How each model was used.
    """

    step: Count
    seconds: NotNegative
    windows: tuple[SiteWindow, ...]
    series: dict[str, Series] = field(default_factory=dict)
    cost: Cost
    distinct_samples: Count | None = None
    visits_since_new: Count = 0
    input_rms: NotNegative | None = None
    input_offset: NotNegative | None = None
    sparse: bool = False
    left_alone: dict[Recorder, Count] = field(default_factory=dict)
    parameters: ParameterCounts | None = None
    outputs: tuple[OutputWindow, ...] = ()
    inputs: InputFacts | None = None
    models: tuple[ModelState, ...] = ()
    whole_pass: bool = False
