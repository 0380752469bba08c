"""One attribute of a module or class of somebody's, wrapped for a while."""

import functools
from collections.abc import Callable
from typing import Any

Around = Callable[..., Any]
"""Called with the function as it was, and with what the call was given."""


def wrap(holder: Any, name: str, around: Around) -> Callable[[], None]:
    """Let each call of `holder.name` go through `around(original, *args, **kwargs)`; returns the undo.

    Somebody else may have wrapped it in turn when it is undone; ours then stays in the chain and does nothing.
    """
    original = getattr(holder, name)
    own = name in vars(holder)
    active = True

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return around(original, *args, **kwargs) if active else original(*args, **kwargs)

    setattr(holder, name, wrapped)

    def forget() -> None:
        nonlocal active
        active = False
        if vars(holder).get(name) is wrapped:
            if own:
                setattr(holder, name, original)
            else:
                delattr(holder, name)

    return forget


def on_construction(cls: type, react: Callable[[Any], object]) -> Callable[[], None]:
    """Let `react` see each object of `cls`, and of what is derived from it, once `cls.__init__` is done with it."""

    def around(construct: Callable[..., None], made: Any, *args: Any, **kwargs: Any) -> None:
        construct(made, *args, **kwargs)
        react(made)

    return wrap(cls, "__init__", around)
