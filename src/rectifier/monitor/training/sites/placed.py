"""An activation call as a site: what its module is, what feeds it, and the whole of it outside of a training."""

from torch import Tensor, nn

from rectifier.hooks import Location, find_unit_axis, nearest_parameter
from rectifier.hooks.calls.tracker import Call
from rectifier.hooks.modules import FOREIGN
from rectifier.monitor.training.sites.parameters import Held, Parameters
from rectifier.records import Site
from rectifier.sandbox import tensors_in


def is_activation(module: nn.Module) -> bool:
    """Whether a module is itself an activation: torch's, ours, or one that is known by its name."""
    where = type(module).__module__
    known = where == "torch.nn.modules.activation" or where.startswith("rectifier.")
    return known or type(module).__name__ in FOREIGN.get(where, {})


def layer_before(place: Location, tensor: Tensor, weight: Held | None, parameters: Parameters, under: str = "") -> str:
    """What feeds an activation, as `Site.layer` has it; for a site that is met for the first time.

    Args:
        place: Where the activation is called.
        tensor: Its input.
        weight: The weight that tells where the units are; without one, the parameter nearest in the graph counts.
        parameters: Those of the model.
        under: Where the root of the forward is in the model that is watched, if it is a part of that.
    """
    if tensor.grad_fn is None:
        # Not computed with weights that are trained: the forward's own input, or what a frozen layer gave.
        return "input" if any(one is tensor for one in tensors_in(place.inputs())) else ""
    if weight is None:
        weight = parameters.find(nearest_parameter(tensor.grad_fn), place.root)
    layer = "" if weight is None else weight.layer(place.owner)
    return f"{under}.{layer}" if under and layer else layer


def site_of(model: nn.Module, call: Call, activation: str, parameters: Parameters) -> tuple[Site, int | None]:
    """An activation call as a site, and its unit axis.

    Args:
        model: Paths are relative to it.
        call: The call, which has not been made yet.
        activation: As a user writes it.
        parameters: The model's.
    """
    place, tensor = call.place, call.tensor
    found = find_unit_axis(tensor)
    paths = (path for path, module in model.named_modules() if module is place.owner)
    weight = parameters.find(found.weight, model)
    site = Site(
        model=type(model).__name__,
        path=next(paths, type(place.owner).__name__),
        call=call.number,
        activation=activation,
        kind="module" if is_activation(place.owner) else "function",
        source=place.source,
        units=int(tensor.shape[found.axis]) if found.axis is not None else None,
        unit_axis=found.unit_axis,
        fed_by=weight.path if weight is not None else None,
        layer=layer_before(place, tensor, weight, parameters),
    )
    return site, found.axis
