"""Activation modules in a model: telling what one computes, finding all its places, putting another there.

A model is a graph, not a tree: one ReLU instance may have many parents. Every place is found, so that a
replacement put in all of them is shared exactly as the original was.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from rectifier import catalogue

# Activation modules that are none of torch's, by the module they are defined in: class name -> catalogue name.
FOREIGN = {
    "rectifier.activations.relatives": {
        "ReLUSquared": "relu_squared", "QuickGELU": "quick_gelu", "GELU10": "gelu_10", "Laplace": "laplace",
        "SqrtSoftplus": "sqrt_softplus",
    },
    "rectifier.activations.surrogate_gradient": {"SurrogateGradientReLU": "surrogate_gradient"},
    "transformers.activations": {
        "GELUActivation": "gelu", "NewGELUActivation": "gelu_tanh", "FastGELUActivation": "gelu_tanh",
        "AccurateGELUActivation": "gelu_tanh", "GELUTanh": "gelu_tanh", "PytorchGELUTanh": "gelu_tanh",
        "SiLUActivation": "silu", "MishActivation": "mish", "ReLUSquaredActivation": "relu_squared",
        "QuickGELUActivation": "quick_gelu", "ClippedGELUActivation": "gelu_10", "LaplaceActivation": "laplace",
        "SqrtSoftplusActivation": "sqrt_softplus", "LinearActivation": "identity",
    },
    "timm.layers.activations": {
        "Swish": "silu", "Mish": "mish", "Sigmoid": "sigmoid", "Tanh": "tanh", "HardSwish": "hardswish",
        "HardSigmoid": "hardsigmoid", "PReLU": "prelu", "GELU": "gelu", "GELUTanh": "gelu_tanh",
    },
}  # fmt: skip

_HOOKS = (
    "_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks", "_is_full_backward_hook",
)  # fmt: skip

_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module")
"""Names under which torch's wrappers hold the user's module; no part of the path as the user knows it."""


def from_torch(cls: type) -> bool:
    """Whether torch itself defines the class."""
    return cls.__module__ == "torch" or cls.__module__.startswith("torch.")


def is_torch_class(cls: type) -> bool:
    """Whether nobody but torch wrote any part of the class; what FSDP makes of a user's class is the user's."""
    return all(from_torch(ancestor) for ancestor in cls.__mro__ if ancestor is not object)


def written_class(cls: type) -> Any:
    """The class as its author wrote it, behind one that `rectifier.hooks.replace.scoped` put in its place."""
    return getattr(cls, "__rectifier_base__", cls)


def user_class(cls: type) -> type:
    """The class as its author named it, behind those that `hooks.replace.scoped` and FSDP2 put in its place."""
    cls = written_class(cls)
    behind = cls.__bases__[1:] if cls.__bases__[0].__name__ == "FSDPModule" else ()
    return behind[0] if behind else cls


@functools.lru_cache(maxsize=1)
def _torch_classes() -> dict[type, str]:
    found: dict[type, str] = {}
    for name, row in catalogue.CATALOGUE.items():
        cls = getattr(nn, row.module, None) if row.module else None
        if cls is not None:
            found.setdefault(cls, name)
    return found


def activation_of(module: nn.Module) -> "catalogue.Choice | None":
    """Tell which activation a module computes; None for anything that is not one.

    Warning:
        A subclass of `nn.ReLU` that has a forward of its own is not taken for a ReLU.

    Example:
        >>> activation_of(nn.LeakyReLU(0.1)).spec
        'leaky_relu:0.1'
        >>> activation_of(nn.Linear(5, 7)) is None
        True
    """
    name = _name_of(module)
    if name is None:
        return None
    row = catalogue.CATALOGUE[name]
    if row.parameter is None:
        return catalogue.Choice(row, None)
    if name == "prelu":
        return catalogue.Choice(row, _slope(module))
    parameter = getattr(module, row.parameter, row.default)
    return catalogue.Choice(row, float(parameter)) if isinstance(parameter, int | float) else None


def _name_of(module: nn.Module) -> str | None:
    cls = type(module)
    foreign = FOREIGN.get(cls.__module__, {}).get(cls.__name__)
    if foreign is not None:
        # The class clips wherever it is told to; the row is for the bounds of its entry in ACT2FN.
        clips = (getattr(module, "min", -10), getattr(module, "max", 10))
        return None if foreign == "gelu_10" and clips != (-10, 10) else foreign
    ours = cls.__module__.startswith("rectifier.")
    for ancestor in cls.__mro__:
        name = _torch_classes().get(ancestor)
        if name is None:
            continue
        if not ours and cls.forward is not ancestor.forward:  # type: ignore[attr-defined]
            return None
        if name in ("gelu", "gelu_tanh"):
            return "gelu_tanh" if getattr(module, "approximate", "none") == "tanh" else "gelu"
        # Below the threshold torch offers any constant; the catalogue knows 0 only.
        return None if name == "threshold" and getattr(module, "value", 0) != 0 else name
    return None


def class_of_activation(cls: type) -> str | None:
    """The catalogue's name for a class of `torch.nn`, or a subclass of one; None for any other class."""
    return next((name for ancestor in cls.__mro__ if (name := _torch_classes().get(ancestor))), None)


def _slope(module: nn.Module) -> float:
    """Start value of a PReLU; torch keeps it as `init`, and the weight may have left it since."""
    init = getattr(module, "init", None)
    return float(init) if isinstance(init, int | float) else 0.25


@dataclass(frozen=True, slots=True)
class Place:
    """One entry of a module's table of children.

    Attributes:
        parent: The module whose child it is.
        name: The child's name there.
        path: One path from the model to the child, as `named_modules(remove_duplicate=False)` writes it.
        child: The module that stands there.
    """

    parent: nn.Module
    name: str
    path: str
    child: nn.Module


def places(model: nn.Module) -> Iterator[Place]:
    """Every entry of every table of children, each once, in the order of `named_modules`.

    A parent that is itself reached on several paths is entered once, under its first path.
    """
    for path, parent in model.named_modules():
        for name, child in parent._modules.items():
            if child is not None:
                yield Place(parent, name, shown(f"{path}.{name}" if path else name), child)


def shown(path: str) -> str:
    """A path without the names that torch's wrappers add to it."""
    return ".".join(part for part in path.split(".") if part not in _WRAPPERS)


def unwrapped(model: nn.Module) -> nn.Module:
    """The user's own module, out of the wrappers of parallel training and compilation."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = model.module
        else:
            inner = next((model._modules[name] for name in _WRAPPERS if name in model._modules), None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def put(parent: nn.Module, name: str, child: nn.Module) -> None:
    """Set an entry of the table of children, past the parent's own `__setattr__` and all registration hooks."""
    parent._modules[name] = child


def neighbour(parent: nn.Module, name: str, model: nn.Module | None = None) -> nn.Parameter | None:
    """The weight next to an activation: of the last sibling before it, else of its parent, else of the model.

    It tells the device, the dtype and the optimizer group of parameters that a replacement brings along.
    """
    before: nn.Parameter | None = None
    for sibling_name, sibling in parent._modules.items():
        if sibling_name == name:
            break
        if sibling is not None and activation_of(sibling) is None:
            weight = _floating(sibling)
            before = before if weight is None else weight
    if before is None:
        before = _floating(parent)
    return _floating(model) if before is None and model is not None else before


def _floating(module: nn.Module) -> nn.Parameter | None:
    inside = (p for owner in module.modules() if activation_of(owner) is None for p in owner._parameters.values())
    floating = [p for p in inside if p is not None and p.is_floating_point()]
    return max(floating, key=_dimensions) if floating else None


def _dimensions(parameter: nn.Parameter) -> int:
    return 0 if isinstance(parameter, nn.parameter.UninitializedParameter) else parameter.dim()


def take_after(new: nn.Module, old: nn.Module) -> nn.Module:
    """Give a replacement the train/eval mode and the hooks of what it replaces.

    The tables of hooks are shared, not copied: a handle that the user got from the old module removes its hook
    from the new one, too.
    """
    new.training = old.training
    for table in _HOOKS:
        if table in vars(old):
            vars(new)[table] = vars(old)[table]
    return new


def on_registration(react: Callable[[nn.Module, str, nn.Module], nn.Module | None]) -> Callable[[], None]:
    """Let `react(parent, name, child)` put another module in place of any child registered from now on.

    Modules that a pickle or a copy brings to life register nothing; their children are offered after
    `Module.__setstate__`. Returns what takes the interception away.
    """

    def offer(parent: nn.Module, name: str, child: nn.Module | None) -> nn.Module | None:
        return None if child is None else react(parent, name, child)

    # torch's annotation says None; its documentation and code let the hook return another module.
    handle = nn.modules.module.register_module_module_registration_hook(offer)  # type: ignore[arg-type]
    setstate = nn.Module.__setstate__
    listening = True

    @functools.wraps(setstate)
    def offering(self: nn.Module, state: dict[str, Any]) -> None:
        setstate(self, state)  # type: ignore[no-untyped-call]
        for name, child in self._modules.items() if listening else ():
            if child is not None and (new := react(self, name, child)) is not None:
                self._modules[name] = new

    nn.Module.__setstate__ = offering  # type: ignore[method-assign]

    def forget() -> None:
        nonlocal listening
        listening = False
        handle.remove()
        # Someone may have wrapped it in turn; ours then stays in the chain and does nothing.
        if nn.Module.__setstate__ is offering:
            nn.Module.__setstate__ = setstate  # type: ignore[method-assign]

    return forget


def on_parameters(react: Callable[[nn.Parameter], None]) -> Callable[[], None]:
    """Let `react` see each parameter that a module gets from now on; returns the undo."""

    def offer(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            react(parameter)

    handle = nn.modules.module.register_module_parameter_registration_hook(offer)
    return handle.remove
