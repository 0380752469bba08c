"""Which weight feeds an activation call, told at every call: experts that share one activation are different sites."""

import weakref
from dataclasses import dataclass

from torch import Tensor, nn

from rectifier.hooks import FeedingLayer, find_unit_axis, weight_along
from rectifier.monitor.training.sites.parameters import Held, Parameters

# Weights that are made anew at every call have no end.
_MOST_FEEDS = 1024


@dataclass(slots=True, eq=False)
class Feed:
    """A weight, or a part of one, and how the graph leads to it.

    Attributes:
        route: How the graph leads to it, as `FeedingLayer.route`.
        hops: As `FeedingLayer.hops`.
        part: As `FeedingLayer.part`.
        held: The weight; None where it is not known.
        shape: The weight's.
    """

    route: tuple[int, ...] = ()
    hops: int = 0
    part: tuple[tuple[str, int], ...] = ()
    held: Held | None = None
    shape: tuple[int, ...] = ()

    def feeds(self, tensor: Tensor) -> bool:
        """Whether this weight is the one before an activation's input."""
        leaf, part = weight_along(tensor, self.route, self.hops)
        return leaf is not None and self.held is not None and part == self.part and self.held() is leaf

    def is_gone(self, layer: FeedingLayer, held: Held) -> bool:
        """Whether it was a tensor of the script's own whose place this one, made anew, has taken."""
        mine = self.held
        return (
            mine is not None
            and mine.path is held.path is None
            and mine() is None
            and layer.weight is not None
            and (self.shape, self.part) == (tuple(layer.weight.shape), layer.part)
        )


class Feeds:
    """The weights that feed the calls of one module.

    Args:
        parameters: Those of its model.
    """

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._known: list[Feed] = []
        self._unknown = Feed()
        self._at: dict[int, Feed] = {}

    def of(self, tensor: Tensor, number: int, root: nn.Module) -> Feed:
        """What feeds the call that is being made.

        Args:
            tensor: The activation's input.
            number: The call's among those of the module in this forward.
            root: The model.
        """
        latest = self._at.get(number)
        if latest is not None and (latest is self._unknown or latest.feeds(tensor)):
            return latest
        found = next((feed for feed in self._known if feed is not latest and feed.feeds(tensor)), None)
        self._at[number] = found = found or self._add(tensor, root)
        return found

    def _add(self, tensor: Tensor, root: nn.Module) -> Feed:
        layer = find_unit_axis(tensor)
        if layer.weight is None or len(self._known) >= _MOST_FEEDS:
            return self._unknown
        held = self._parameters.find(layer.weight, root)
        assert held is not None
        if held.path is None and any(True for _ in root.parameters()):
            # No weight of the model's; a script may make it anew at each step. The order of calls tells them apart.
            return self._unknown
        feed = next((feed for feed in self._known if feed.is_gone(layer, held)), None)
        if feed is None:
            feed = Feed()
            self._known.append(feed)
        feed.route, feed.hops, feed.part = layer.route, layer.hops, layer.part
        feed.held, feed.shape = held, tuple(layer.weight.shape)
        return feed


def refer_to(root: nn.Module) -> "tuple[weakref.ref[Tensor], ...]":
    """A model's parameters, held weakly."""
    return tuple(weakref.ref(parameter) for parameter in root.parameters())
