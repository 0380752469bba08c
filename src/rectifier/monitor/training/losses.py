"""What a backward pass tells at a step at which everything is counted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from rectifier.hooks import feed_layers, unobserved_activations
from rectifier.hooks.graph.loss_graph import read_loss
from rectifier.monitor.training.outputs import OutputRecords
from rectifier.monitor.training.parameters.records import ParameterRecords
from rectifier.monitor.training.sites.models import ModelRecords
from rectifier.monitor.training.windows import Windows

if TYPE_CHECKING:
    from rectifier.monitor.training.observe_compiled import ExtraForwards

# Looking through the autograd graph for what was missed is done at the first backward passes only.
_GRAPHS_SEARCHED = 2


class LossReader:
    """Reads the graphs of losses, and the gradients that come of them."""

    def __init__(
        self, models: ModelRecords, parameters: ParameterRecords, outputs: OutputRecords, windows: Windows
    ) -> None:
        self._models, self._parameters, self._outputs, self._windows = models, parameters, outputs, windows
        self._searched = 0
        self._scale: Tensor | None = None

    def before(self, loss: Tensor, unscaled: Tensor, step: int, extra: "ExtraForwards | None") -> None:
        """Read the graph of a loss that is about to be back-propagated.

        Args:
            loss: It.
            unscaled: Its value before a GradScaler.
            step: The training's.
            extra: What repeats compiled forwards; None where nothing does.
        """
        self._scale = None if loss is unscaled else (loss.detach() / unscaled).abs()
        self._parameters.note_before_backward()
        if self._models.nodes is not None:
            self._search(loss, extra.numbers if extra is not None else ())
        if self._models.unsure:
            self._models.note_layers_fed(feed_layers([loss], self._models.unsure))
        due = self._outputs.due(step)
        if not due and not self._models.eval_forward:
            return
        self._models.eval_forward = False
        samples = self._models.only_samples if due else None
        measures = samples is not None and samples.wants_first_layers
        graph = read_loss(loss, self._models.site_nodes(), inputs=measures)
        if samples is not None and graph.given is not None:
            samples.note_first_layers(graph.given)
        self._parameters.connect(graph.leaves, graph.uses, graph.applied, whole=graph.whole)
        self._models.roots.note_modes(self._parameters.models_of(graph.leaves))
        if due:
            self._outputs.note(step, graph.outputs)
            self._models.note_feeds(graph.feeds)

    def _search(self, loss: Tensor, repeated: Sequence[range]) -> None:
        self._windows.note_unseen(unobserved_activations([loss], self._models.observed_nodes(), repeated))
        self._searched += 1
        if self._searched == _GRAPHS_SEARCHED:
            self._models.nodes = None

    def after(self, step: int) -> None:
        """Look at the gradients that have come.

        Args:
            step: The training's.
        """
        self._parameters.look(step, self._scale)
        self._scale = None
