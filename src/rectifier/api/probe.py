"""One look at a model: a census of its units, a check before the training."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from rectifier import monitor
from rectifier.diagnosis import judge_census, judge_probe
from rectifier.records import Census, Preflight
from rectifier.report.sentences import told


def census(
    model: nn.Module, loader: Iterable[Any], *, forward: Callable[[nn.Module, Any], Any] | None = None
) -> Census:
    """Count, over a whole data set, which units of a trained network are dead, rare or always on.

    The model runs in eval mode without gradients. Its modes, buffers, gradients and every random stream are afterwards
    as they were; what a forward writes into plain Python attributes is not put back.

    Warning:
        A unit that is silent on these data may fire on others; `firing_bound` says how often at most, on data like
        these.

    Args:
        model: Any module.
        loader: Its batches, once, targets and all. The model gets what its forward takes: of a tuple or list as many
            of the first entries as it requires, mostly one; of a mapping the entries that it names; anything else as
            the one argument.
        forward: How to call the model otherwise: `lambda model, batch: model(batch["x"], batch["mask"])`.

    Raises:
        CannotProbe: The model cannot be run on a batch, or there is none.

    Example:
        >>> import torch, rectifier
        >>> layer = torch.nn.Linear(2, 3)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, -1.0], [1.0, 1.0]]))
        >>> _ = layer.bias.data.copy_(torch.tensor([0.0, 0.0, 5.0]))
        >>> batches = torch.arange(1, 701).div(700).unsqueeze(1).repeat(1, 2).split(100)
        >>> (row,) = rectifier.census(torch.nn.Sequential(layer, torch.nn.ReLU()), batches).layers
        >>> row.units, row.silent, row.silent_means, row.silent_units, row.always_on_units
        (3, 1, 'dead', (1,), (0, 2))
        >>> round(row.firing_bound, 4)
        0.0043

    Source: bound by the rule of three, Hanley & Lippman-Hand 1983.
    """
    name, batches, samples, distinct, counts = monitor.count_units(model, loader, forward)
    layers = judge_census(counts, distinct)
    return Census(model=name, batches=batches, samples=samples, distinct_samples=distinct, layers=layers)


def check(
    model: nn.Module,
    batch: Any,
    *,
    suppress: Mapping[str, str] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
) -> Preflight:
    """Look at an untrained network with one forward and one backward pass, and say what keeps it from learning.

    Nothing is trained, and modes, buffers, gradients and random streams are afterwards as they were.

    Warning:
        What is fine here may still die in training; what is not fine here will not get better.

    Args:
        model: Any module; each of its parts runs in the mode that it is in.
        batch: As a loader yields it, of the user's data. The model gets what its forward takes: of a tuple or list as
            many of the first entries as it requires, mostly one; of a mapping the entries that it names; anything else
            as the one argument.
        suppress: Known findings and why they are no alarm: `{"output-activation": "targets are counts"}`.
        forward: How to call the model otherwise: `lambda model, batch: model(batch["x"], batch["mask"])`.
        loss: `loss(output, batch)` to back-propagate; without one, the output times fixed random signs.

    Raises:
        CannotProbe: The model or the loss cannot be run on the batch, or nothing in the output has a gradient.
        CannotSuppress: No finding has that name, or there is no reason.

    Example:
        >>> import torch, rectifier
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1), torch.nn.ReLU())
        >>> found = rectifier.check(model, torch.randn(11, 3))
        >>> [(finding.severity, finding.title) for finding in found.findings]
        [('warning', 'the network ends in relu')]
        >>> [(layer.site, layer.units, layer.samples) for layer in found.layers]
        [('Sequential.1', 5, 11), ('Sequential.3', 1, 11)]

    Source: exact results on signal propagation and born-dead networks (He et al. 2015; Lu et al. 2019).
    """
    return check_batch(model, batch, suppress=suppress, forward=forward, loss=loss)


def check_batch(
    model: nn.Module,
    batch: Any,
    *,
    suppress: Mapping[str, str] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
    loss: Callable[[Any, Any], Tensor] | None = None,
    measured: bool = True,
) -> Preflight:
    """As `check`; `measured` is False for random numbers, whose offset is not worth telling."""
    return told(judge_probe(monitor.probe_model(model, batch, forward, loss), suppress, measured=measured))
