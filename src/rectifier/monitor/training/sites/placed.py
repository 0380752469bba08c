"""An activation call as a site, outside of a training."""

from torch import nn

from rectifier.hooks import find_unit_axis
from rectifier.hooks.calls.tracker import Call
from rectifier.monitor.training.sites.models import is_activation
from rectifier.records import Site


def site_of(model: nn.Module, call: Call, activation: str) -> tuple[Site, int | None]:
    """An activation call as a site, and its unit axis.

    Args:
        model: Paths are relative to it.
        call: The call, which has not been made yet.
        activation: As a user writes it.
    """
    place, tensor = call.place, call.tensor
    found = find_unit_axis(tensor)
    paths = (path for path, module in model.named_modules() if module is place.owner)
    site = Site(
        model=type(model).__name__,
        path=next(paths, type(place.owner).__name__),
        call=call.number,
        activation=activation,
        kind="module" if is_activation(place.owner) else "function",
        source=place.source,
        units=int(tensor.shape[found.axis]) if found.axis is not None else None,
        unit_axis=found.unit_axis,
        fed_by=next((name for name, weight in model.named_parameters() if weight is found.weight), None),
    )
    return site, found.axis
