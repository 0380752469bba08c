"""What the graph of a loss says: the layers that give a model's output, the targets, and what goes in."""

from dataclasses import dataclass

from rectifier.records.arrays import FloatArray, IntArray
from rectifier.records.counts import Count, NotNegative


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A layer behind which nothing but the loss comes: it gives a model's output.

    Attributes:
        model: Name of the model whose weight it applies, as `Site.model`; "" where no known one has it.
        weight: Path of that weight; "" where it is not known.
        operation: As autograd names it: `Addmm`, `Convolution`.
        units: How many numbers it gives for each row.
        loss: Operations between it and the loss, from the loss down, each once: `MseLoss`; `NllLoss`, `LogSoftmax`.
        linear: Whether all operations that lead to it are known to be linear; a recurrent layer holds its activation
            in one operation, say, and is not.
        one_element: Whether a normalisation over a single element, which gives a constant, leads to it.
        flat: Operations that lead to it and have a derivative of 0: `Sign`.
        lowest: The least that what follows it lets through (an activation, a clamp), as last seen; None for no bound.
        highest: The most.
    """

    model: str
    weight: str
    operation: str
    units: Count
    loss: tuple[str, ...] = ()
    linear: bool = False
    one_element: bool = False
    flat: tuple[str, ...] = ()
    lowest: float | None = None
    highest: float | None = None

    @property
    def ref(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.model, self.weight


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OutputWindow:
    """One output over the `K` losses of a window whose graph was read.

    A row is what the layer sees as one: a sample of an MLP, a token, a position of an image. At most some hundred rows
    of a batch are looked at.

    Attributes:
        output: Index into the process's outputs.
        steps: (K,) the training steps.
        rows: (K,) how many rows were looked at.
        square: (K,) mean square of the output, over rows and units.
        spread: (K,) mean square of its distance from the mean of the rows: what tells rows apart.
        constant_units: (K,) units that gave every row the same value, to the bit.
        wrongly_constant_units: (K,) of these, those whose targets differ; -1 where the loss keeps no such targets.
        features_square: (K,) mean square of what goes into the layer; NaN where it is not kept for the backward pass.
        features_spread: (K,) mean square of its distance from the mean of the rows.
        features_cosine: (K,) mean cosine between rows of what goes in.
        target_spread: (K,) the same as `spread` of the targets; NaN where the loss keeps none, or they are classes.
        target_square: (K,) mean square of the targets.
        classes: (K,) how many different classes are among the targets; -1 where they are no classes.
        class_entropy: (K,) entropy of their shares, in nats: what a constant prediction of these shares would cost.
        nonfinite_output: (K,) 1 where the output held NaN or an infinity.
        nonfinite_features: (K,) 1 where what goes in did.
        nonfinite_target: (K,) 1 where the targets did.
        targets_out_of_reach: (K,) share of the targets that the last activation cannot give; NaN without one, and where
            the loss keeps no such targets.
        cost: (K,) what the loss of torch that compares the output with its targets costs, a mean over the batch and
            without whatever is added to it or multiplies it; NaN for other losses. None in earlier records.
        pooled_entropy: (K,) as `class_entropy`, of the classes of all readings so far together.
        class_overlap: (K,) what the shares of the classes have in common with those of the loss just before: 1 where
            they are the same, 0 where no class is in both; NaN where that was not read.
        share_entropy: (K,) mean entropy of each unit's mean target where targets are shares from 0 to 1: what answering
            with these means costs a binary cross-entropy; NaN for other losses.
        unit_entropy: (K,) the largest of these of any unit; in earlier records None.
        target_entropy: (K,) mean entropy of these targets themselves: what even the right answer costs it; 0 of zeros
            and ones.
    """

    output: Count
    steps: IntArray
    rows: IntArray
    square: FloatArray
    spread: FloatArray
    constant_units: IntArray
    wrongly_constant_units: IntArray
    features_square: FloatArray
    features_spread: FloatArray
    features_cosine: FloatArray
    target_spread: FloatArray
    target_square: FloatArray
    classes: IntArray
    class_entropy: FloatArray
    nonfinite_output: IntArray
    nonfinite_features: IntArray
    nonfinite_target: IntArray
    targets_out_of_reach: FloatArray | None = None
    cost: FloatArray | None = None
    pooled_entropy: FloatArray | None = None
    class_overlap: FloatArray | None = None
    share_entropy: FloatArray | None = None
    unit_entropy: FloatArray | None = None
    target_entropy: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class InputFacts:
    """What was given to the one model that trains, over all counted steps so far; its size is the snapshot's.

    Attributes:
        constant_features: Of the features of the largest floating input, how many never varied between samples.
        features: How many of its features were looked at, the first ones of a large one.
        nonfinite_step: First counted step at which it held NaN or an infinity.
        nonfinite_samples: Samples with one, over the counted steps.
        samples: Samples in these steps.
        batches: Batches in these steps.
        batches_of_one: Of them, how many had a single sample.
        zero: Whether every value was 0.
        given_square: Mean square of what the first layers were given at the first losses: as the model scales its
            inputs, and 1 behind a batch normalisation. None where the graph does not keep it, and in earlier records.
        given_spread: Mean square of its distance from the mean of the rows.
    """

    constant_features: Count
    features: Count
    nonfinite_step: Count | None
    nonfinite_samples: Count
    samples: Count
    batches: Count
    batches_of_one: Count
    zero: bool
    given_square: NotNegative | None = None
    given_spread: NotNegative | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """How a model was used so far.

    Attributes:
        name: As `Site.model`.
        steps: Losses whose graph was read and led to its parameters.
        eval_steps: Of them, those for which it was in eval mode.
    """

    name: str
    steps: Count
    eval_steps: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeds:
    """Which sites feed each other, as far as graphs of losses have told by now.

    Attributes:
        pairs: Of sites, by index: the first one's output reaches the second's input without another between.
    """

    pairs: tuple[tuple[Count, Count], ...]
