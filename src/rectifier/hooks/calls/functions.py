"""Intercepts activation calls: `F.relu`, `torch.relu`, `Tensor.relu`, their in-place forms and relatives.

Modules need no interception of their own, because `torch.nn.ReLU.forward` calls `F.relu`, and so on.

A Python function such as `F.relu` keeps its identity: only its code is exchanged, so it pickles as before, a default
argument `activation=F.relu` bound long ago is seen too, and `activation is F.relu` stays true. Builtins such as
`torch.relu` or `Tensor.relu` have no code to exchange; a wrapper takes their name. Both look first whether a
compiler is tracing, which makes the interception invisible to it: no graph break, no guard, nothing recompiled.

When nobody observes or replaces, everything is as torch made it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rectifier import catalogue
from rectifier.hooks.calls.interception import Observer, Replacement, inside, switch
from rectifier.hooks.calls.patches import patches


def observe(observer: Observer) -> Callable[[], None]:
    """Let `observer` see every activation call from now on; returns what takes it away again.

    After changing `observer.armed`, call `refresh()`.
    """
    switch.observers.append(observer)
    patches.hold()
    refresh()

    def forget() -> None:
        if observer in switch.observers:
            switch.observers.remove(observer)
            refresh()
            patches.release()

    return forget


def observe_alone(observer: Observer) -> Callable[[], None]:
    """As `observe`, of this thread's calls, which nobody else sees until the undo: they are none of the training's."""
    earlier, inside.observers = getattr(inside, "observers", None), (observer,)
    switch.alone.append(observer)
    patches.hold()
    refresh()

    def undo() -> None:
        inside.observers = earlier
        switch.alone.remove(observer)
        refresh()
        patches.release()

    return undo


def refresh() -> None:
    """Take note that some observer armed or disarmed itself."""
    observers = (*switch.observers, *switch.alone)
    switch.armed = bool(switch.replacements) or any(observer.armed for observer in observers)


@contextmanager
def unobserved() -> Iterator[None]:
    """Within it nobody observes this thread's calls: its forwards are none of the training's. Replacements hold."""
    earlier, inside.observers = getattr(inside, "observers", None), ()
    try:
        yield
    finally:
        inside.observers = earlier


def are_the_trainings() -> bool:
    """Whether this thread's calls are seen by all who observe: neither `unobserved`, nor by one observer alone."""
    return getattr(inside, "observers", None) is None


def replace(name: str, replacement: Replacement) -> Callable[[], None]:
    """Send calls of one activation that happen inside a module's forward to `replacement`; returns the undo.

    Calls outside of a model (a hinge loss, a metric) stay as they are.

    Args:
        name: Catalogue name of the activation, e.g. `relu`.
        replacement: Called as `replacement(original, tensor, *args, **kwargs)`, with `inplace=True` for the forms
            whose name ends in an underscore. It may return NotImplemented to leave a call as it is.
    """
    switch.replacements.setdefault(name, []).append(replacement)
    patches.hold()
    refresh()

    def forget() -> None:
        replacements = switch.replacements.get(name, [])
        if replacement in replacements:
            replacements.remove(replacement)
            if not replacements:
                del switch.replacements[name]
            refresh()
            patches.release()

    return forget


def describe(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """An activation call as a user would write it: `leaky_relu:0.1`."""
    row = catalogue.CATALOGUE.get(name)
    if name == "gelu" and kwargs.get("approximate") == "tanh":
        return "gelu_tanh"
    if name == "hardtanh":
        low = args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)
        high = args[2] if len(args) > 2 else kwargs.get("max_val", 1.0)
        return "relu6" if (low, high) == (0.0, 6.0) else "hardtanh"
    # A learned slope is a tensor and changes; the spec would be wrong a step later.
    if row is None or row.parameter is None or name == "prelu":
        return name
    value = args[1] if len(args) > 1 else kwargs.get(row.parameter, row.default)
    return catalogue.Choice(row, float(value)).spec if isinstance(value, int | float) else name
