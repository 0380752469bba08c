"""What an optimizer's step does to the weights that feed the sites, and what drove it."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import Optimizer

from rectifier.monitor.met import SiteRecord

# The relative update of a large layer is measured on its first weights; 65,536 settle a ratio of norms to 0.4 %.
_MOST_WEIGHTS = 1 << 16


class Updates:
    """The relative size of each update, measured around an optimizer's step.

    Args:
        sites: All sites, in a list that grows.
    """

    def __init__(self, sites: list[SiteRecord]) -> None:
        self._sites = sites
        self._weights: dict[int, tuple[Tensor, Tensor]] = {}

    def forget(self) -> None:
        """Keep no copy of a weight."""
        self._weights.clear()

    def remember(self) -> None:
        """Before an optimizer's step: copy the beginning of each weight that feeds a site."""
        self._weights.clear()
        for site in self._sites:
            weight = site.weight() if site.weight is not None else None
            if weight is not None and id(weight) not in self._weights and weight.layout == torch.strided:
                self._weights[id(weight)] = (weight, _head(weight).clone())

    def compare(self, step: int, optimizer: Optimizer) -> None:
        """After an optimizer's step: the relative size of each update that moved something, and what drove it."""
        ratios = {key: (_head(new) - old).norm() / old.norm() for key, (new, old) in self._weights.items()}
        for site in self._sites:
            weight = site.weight() if site.weight is not None else None
            if weight is not None and id(weight) in ratios:
                earlier = site.updates.get(step)
                now = ratios[id(weight)]
                # Of several optimizers in one step only one moves this weight; the others change it by 0.
                site.updates[step] = now if earlier is None else torch.maximum(earlier, now)
            _note_bias_gradient(site, step)
        self._note_rates(step, optimizer)
        self._weights.clear()

    def _note_rates(self, step: int, optimizer: Optimizer) -> None:
        rates: dict[int, float] = {}
        for group in optimizer.param_groups:
            rate = group.get("lr")
            # A tensor may live on the device, and is not waited for.
            if isinstance(rate, int | float):
                rates.update((id(weight), float(rate)) for weight in group["params"] if id(weight) in self._weights)
        for site in self._sites:
            weight = site.weight() if site.weight is not None else None
            if id(weight) in rates:
                site.rates[step] = rates[id(weight)]


def _head(weight: Tensor) -> Tensor:
    # A sharded weight: this rank's part of it; reading the whole would be a collective in the user's run.
    to_local: Callable[[], Tensor] = getattr(weight, "to_local", weight.detach)
    local: Tensor = to_local().detach().reshape(-1)[:_MOST_WEIGHTS].float()
    return local


def _note_bias_gradient(site: SiteRecord, step: int) -> None:
    """Where the gradient of a unit's bias is not exactly 0 at this step."""
    bias = site.layer_bias() if site.layer_bias is not None else None
    if (
        site.axis is None
        or bias is None
        or bias.grad is None
        or hasattr(bias, "to_local")
        or bias.numel() != site.counters.units
    ):
        return
    if site.last_gradient is None:
        site.last_gradient = torch.full((bias.numel(),), -1, dtype=torch.int32, device=bias.device)
    # NaN is not 0, either.
    site.last_gradient.masked_fill_(bias.grad.detach() != 0, step)
