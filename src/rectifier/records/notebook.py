"""How a record shows itself in a notebook: whoever formats says so here, because records import nothing."""

from collections.abc import Callable

_RENDERERS: dict[type, Callable[..., str]] = {}


def shown_by(kind: type, render: Callable[..., str]) -> None:
    """Name the function that writes a record of this kind as HTML."""
    _RENDERERS[kind] = render


class InNotebook:
    """A record that notebooks show as HTML, once something has been named that writes it."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        render = _RENDERERS.get(type(self))
        return None if render is None else render(self)
