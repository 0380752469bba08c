"""What an optimizer's step does to the weights that feed the sites, and what drove it."""

import weakref
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from rectifier.monitor.training.sites.met import SiteRecord
from rectifier.monitor.training.steps.movement import OwnSteps

# The relative update of a large layer is measured on its first weights; 65,536 settle a ratio of norms to 0.4%.
_MOST_WEIGHTS = 1 << 16

_Weights = dict[int, tuple[Tensor, Tensor]]
"""By identity: a weight, and a copy of its beginning."""


class Updates:
    """The relative size of each update, measured around an optimizer's step.

    Args:
        sites: All sites, in a list that grows.
    """

    def __init__(self, sites: list[SiteRecord]) -> None:
        self._sites = sites
        # By optimizer: in several threads several step at the same time.
        self._remembered: weakref.WeakKeyDictionary[Optimizer | OwnSteps, tuple[int, _Weights]] = (
            weakref.WeakKeyDictionary()
        )
        self.threads: set[int] = set()
        """All that have run a forward of a model."""
        self._owned: weakref.WeakKeyDictionary[Optimizer | OwnSteps, frozenset[int]] = weakref.WeakKeyDictionary()

    def forget(self) -> None:
        """Keep no copy of a weight."""
        self._remembered.clear()

    def remember(self, step: int, optimizer: Optimizer | OwnSteps) -> None:
        """Before an optimizer's step: copy the beginning of each weight that feeds a site, and is no other's."""
        self._owned[optimizer] = frozenset(id(one) for group in optimizer.param_groups for one in group["params"])
        others = frozenset().union(*(ids for one, ids in self._owned.items() if one is not optimizer))
        others -= self._owned[optimizer]
        weights: _Weights = {}
        self._remembered[optimizer] = step, weights
        for site in self._sites:
            weight = site.weight() if site.weight is not None else None
            if weight is None or id(weight) in weights or id(weight) in others:
                continue
            if weight.layout == torch.strided:
                weights[id(weight)] = (weight, _head(weight).clone())

    def compare(self, step: int, optimizer: Optimizer | OwnSteps) -> None:
        """After an optimizer's step: the relative size of each update that moved something, and what drove it.

        Args:
            step: The training's step, for an optimizer without a remembered one. The remembered one counts, because
                another thread may have ended a step meanwhile.
            optimizer: The optimizer that has stepped.
        """
        step, weights = self._remembered.pop(optimizer, (step, {}))
        ratios = {key: (_head(new) - old).norm() / old.norm() for key, (new, old) in weights.items()}
        for site in self._sites:
            weight = site.weight() if site.weight is not None else None
            if weight is not None and id(weight) in ratios:
                earlier = site.updates.get(step)
                now = ratios[id(weight)]
                # Of several optimizers in one step only one moves this weight; the others change it by 0.
                site.updates[step] = now if earlier is None else torch.maximum(earlier, now)
            bias = site.layer_bias() if site.layer_bias is not None else None
            if bias is not None and self._may_read_gradient(bias, optimizer):
                _note_bias_gradient(site, bias, step)
        self._note_rates(step, optimizer, weights)

    def _may_read_gradient(self, bias: Tensor, optimizer: Optimizer | OwnSteps) -> bool:
        """Whether this thread may: reading a gradient while another thread sets it can end the process."""
        return len(self.threads) <= 1 or id(bias) in self._owned.get(optimizer, ())

    def _note_rates(self, step: int, optimizer: Optimizer | OwnSteps, weights: _Weights) -> None:
        rates: dict[int, float] = {}
        for group in optimizer.param_groups:
            rate = group.get("lr")
            # A tensor may live on the device, and is not waited for.
            if isinstance(rate, int | float):
                rates.update((id(weight), float(rate)) for weight in group["params"] if id(weight) in weights)
        for site in self._sites:
            weight = site.weight() if site.weight is not None else None
            if id(weight) in rates:
                site.rates[step] = rates[id(weight)]


def _head(weight: Tensor) -> Tensor:
    # A sharded weight: this rank's part of it; reading the whole would be a collective in the user's run.
    to_local: Callable[[], Tensor] = getattr(weight, "to_local", weight.detach)
    local: Tensor = to_local().detach().reshape(-1)[:_MOST_WEIGHTS].float()
    return local


def _note_bias_gradient(site: SiteRecord, bias: Tensor, step: int) -> None:
    """Note where the gradient of a unit's bias is not exactly 0 at this step."""
    if site.axis is None or bias.grad is None or hasattr(bias, "to_local") or bias.numel() != site.counters.units:
        return
    if site.last_gradient is None:
        site.last_gradient = torch.full((bias.numel(),), -1, dtype=torch.int32, device=bias.device)
    # NaN is not 0, either.
    site.last_gradient.masked_fill_(bias.grad.detach() != 0, step)
