"""What findings about parameters rest on: which lack what, since when, and how many numbers that concerns."""

from dataclasses import dataclass
from enum import StrEnum

from rectifier.records.findings.finding import CauseFacts, Evidence
from rectifier.records.rules import Rule
from rectifier.records.training.site import SiteRef


class Lack(StrEnum):
    """What untrained parameters lack."""

    NO_GRADIENT = "no_gradient"
    """No gradient ever came."""
    ZERO_GRADIENT = "zero_gradient"
    """A gradient came, and was exactly 0 each time."""
    NO_CHANGE = "no_change"
    """A gradient came, and not one bit changed."""
    STOPPED = "stopped"
    """They changed for a while, and do so no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UntrainedParameters(Evidence):
    """Parameters of one model that are not trained, for one reason.

    Attributes:
        model: Its name; "" for tensors that no module holds.
        lack: What they lack.
        parameters: How many.
        elements: How many numbers these hold.
        elements_fraction: Their share of all numbers of the process that could be trained.
        places: Modules all of whose parameters are meant, and single parameters; "" for the whole model.
        first_step: First look at any of them.
        last_step: Last one.
        looks: Fewest looks at any of them.
        everything: Whether nothing else of the process trains, either.
        runs: Whether the forward is known to use them.
        held: Whether an optimizer holds them.
        last_changed: Step before which the last change was found; None where there was none.
        optimizer: Class of the optimizer that holds them; None where none does, or several do.
        optimizer_steps: Steps of that one; of all where none holds them.
        learning_rate: Largest of any of them; None where it is not known.
        backward_passes: Of the process.
        connected: Whether a loss led to other parameters that an optimizer holds.
        scheduled: Whether a schedule has their learning rate.
    """

    model: str
    lack: Lack
    parameters: int
    elements: int
    elements_fraction: float
    places: tuple[str, ...]
    first_step: int
    last_step: int
    looks: int
    everything: bool
    runs: bool
    held: bool
    last_changed: int | None = None
    optimizer: str | None = None
    optimizer_steps: int = 0
    learning_rate: float | None = None
    backward_passes: int = 0
    scheduled: bool = False
    connected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightNorms(Evidence):
    """Weights of one model whose norm fell or grew by orders of magnitude.

    Attributes:
        model: Its name.
        grew: Whether they grew; else they shrank.
        weights: How many did.
        of_weights: Of how many that an optimizer holds.
        places: As of `UntrainedParameters`.
        most: The one that changed most.
        norm_first: Its norm at the start.
        norm_last: At the end.
        first_step: When the first was measured.
        last_step: And the last.
    """

    model: str
    grew: bool
    weights: int
    of_weights: int
    places: tuple[str, ...]
    most: str
    norm_first: float
    norm_last: float
    first_step: int
    last_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecayOfWeights(CauseFacts):
    """What weight decay did to the weight that shrank most.

    Attributes:
        weight_decay: Of its group.
        learning_rate: Likewise.
        decay_norm: weight_decay × ‖w‖ when the gradient was last looked at; ‖w‖ as if it had shrunk evenly.
        gradient_norm: ‖∂L/∂w‖ there; None where it is not known.
        looked_step: When that was.
    """

    weight_decay: float
    learning_rate: float
    decay_norm: float
    gradient_norm: float | None = None
    looked_step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroAtStart(CauseFacts):
    """Weights that were exactly 0 at the start, as parameters are named.

    Attributes:
        zero_weights: Which.
    """

    zero_weights: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomFunctions(CauseFacts):
    """Custom autograd functions that the training calls: their backward passes what their author wrote.

    Attributes:
        names: Of their classes.
    """

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatOperations(CauseFacts):
    """Operations between the parameters and the loss whose derivative is 0 everywhere.

    Attributes:
        names: As autograd has them: `Sign`.
    """

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedBy(CauseFacts):
    """The finding of another rule says why.

    Attributes:
        explained_by: That rule.
    """

    explained_by: Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenLayers(Evidence):
    """Layers that are not trained.

    Attributes:
        sites: How many.
        without_history: Those below which no gradient is asked for.
        without_update: Those whose weights did not move at any counted step, although a gradient came, as far as
            `untrained` does not say why.
        parameters: Parameters with `requires_grad=False`.
        elements: How many numbers these hold.
        places: Modules of which all are, and single ones.
    """

    sites: int
    without_history: tuple[SiteRef, ...]
    without_update: tuple[SiteRef, ...]
    parameters: int = 0
    elements: int = 0
    places: tuple[str, ...] = ()
