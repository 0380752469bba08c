"""Which parameter of a model a tensor in its graph is, and how to find it again at the next step.

Not always by the tensor itself: FSDP2 gathers a parameter for the time of a forward and lets its memory go afterwards;
what the optimizer steps is another tensor, which then stands in its place.
"""

import weakref
from dataclasses import dataclass

from torch import Tensor, nn

# Looking through a large model for what it may not have takes time; after so many failures it is given up.
_MOST_SEARCHES = 8


@dataclass(frozen=True, slots=True)
class Held:
    """Weak reference to a parameter through the module that owns it, or to the tensor if no known module owns it.

    Attributes:
        path: As `named_parameters` writes it, None for one that is not the model's.
        model: Name of the model, where that was asked for.
    """

    path: str | None
    _name: str
    _holder: "weakref.ref[nn.Module] | weakref.ref[Tensor]"
    model: str = ""

    def __call__(self) -> Tensor | None:
        """What stands there now; None when it is gone, or its memory has been let go."""
        holder = self._holder()
        tensor = holder._parameters.get(self._name) if isinstance(holder, nn.Module) else holder
        if tensor is None or hasattr(tensor, "to_local"):
            return tensor
        return tensor if tensor.untyped_storage().nbytes() or not tensor.numel() else None

    def layer(self, owner: nn.Module) -> str:
        """How people call the layer that it is of: by its path.

        Where the model's own forward multiplies with it, it has no layer and is called by its own name: in `owner`,
        which applies the activation, and in any module that is made of others. "" for a parameter that is not the
        model's.
        """
        holder = self._holder()
        if self.path is None or not isinstance(holder, nn.Module):
            return ""
        # torch keeps what a weight is computed from below the layer that has the weight.
        layer, computed, rest = f".{self.path}".partition(".parametrizations.")
        if computed:
            return layer[1:] or rest.partition(".")[0]
        path = self.path.rpartition(".")[0]
        return self.path if not path or holder is owner or holder._modules.keys() - {"parametrizations"} else path


def hold(tensor: Tensor, model: str, path: str, module: nn.Module | None, name: str | None) -> Held:
    """A reference to a parameter that a module has under a name, or to a bare tensor.

    Args:
        tensor: It.
        model: Name of its model.
        path: As `named_parameters` writes it.
        module: What holds it; None for a tensor of the script's own.
        name: Under which name; None for a bare tensor.
    """
    if module is None or name is None:
        return Held(path, "", weakref.ref(tensor), model)
    return Held(path, name, weakref.ref(module), model)


class Parameters:
    """The parameters of one model, looked up by identity."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._searches = 0

    def find(self, tensor: Tensor | None, root: nn.Module | None) -> Held | None:
        """Where a model holds a tensor.

        Args:
            tensor: A leaf of its graph.
            root: The model.
        """
        if tensor is None:
            return None
        held = self._held.get(id(tensor))
        if root is not None and (held is None or held() is not tensor) and self._searches < _MOST_SEARCHES:
            self._searches += 1
            self._held = {
                id(parameter): Held(f"{path}.{name}" if path else name, name, weakref.ref(module))
                for path, module in root.named_modules()
                for name, parameter in module._parameters.items()
                if parameter is not None
            }
            held = self._held.get(id(tensor))
        return held if held is not None and held() is tensor else Held(None, "", weakref.ref(tensor))
