"""Which places of a model are meant."""

import fnmatch
import re
from collections.abc import Callable, Iterable

from torch import nn

from rectifier.errors import CannotSwap
from rectifier.records import Finding, SiteRef

Where = str | type[nn.Module] | Finding | Callable[[str], bool] | Iterable["str | type[nn.Module] | Finding"] | None
"""A path or pattern, a class of modules, a finding, a function of the path, or several of the first three."""


class Selection:
    """Answers for a path whether it is meant, and remembers which of the wishes met anything.

    A path means itself and everything below it: `layer1` is `layer1.0.relu`, too. In a pattern `*` also stands for
    dots. A class of modules means everything inside its instances.
    """

    def __init__(self, model: nn.Module, where: Where) -> None:
        self._model = model
        self._asks: Callable[[str], bool] | None = None
        wishes: list[str | type[nn.Module] | Finding] = []
        if isinstance(where, str | type | Finding):
            wishes = [where]
        elif callable(where):
            self._asks = where
        elif where is not None:
            wishes = list(where)
        self._everything = where is None
        self._paths: dict[str, None] = {}
        for wish in wishes:
            self._paths |= dict.fromkeys(self._read(wish))
        self.unmet = set(self._paths)

    def _read(self, wish: object) -> list[str]:
        if isinstance(wish, type):
            return [path for path, module in self._model.named_modules() if isinstance(module, wish)]
        if isinstance(wish, Finding):
            return [self._path_of(wish.site)] if isinstance(wish.site, SiteRef) else []
        if isinstance(wish, str):
            return [self._path(wish)]
        raise CannotSwap(
            f"where={wish!r} is a {type(wish).__name__}: give a path (where='layer1'), a pattern "
            "(where='*.relu'), a class of modules, a finding, a list of these, or a function of the path."
        )

    def _path_of(self, site: SiteRef) -> str:
        """Of another model's forward, its name, which is no path."""
        other = site.names_model and site.model_class != type(self._model).__name__
        return site.key if other else site.path

    def _path(self, where: str) -> str:
        """Reports put the model's name before a path of numbers, and in the place of an empty one."""
        name = re.escape(type(self._model).__name__)
        found = re.fullmatch(rf"{name}(?:#\d+)?(?:\.([\d.]+))?", where)
        return where if found is None else found[1] or ""

    def __call__(self, path: str) -> bool:
        """Whether the place at this path is meant."""
        if self._everything:
            return True
        if self._asks is not None:
            return bool(self._asks(path))
        met = [wish for wish in self._paths if _matches(path, wish)]
        self.unmet.difference_update(met)
        return bool(met)


def _matches(path: str, wish: str) -> bool:
    # "" is the model's own forward, not everything below it.
    if wish == path or (wish != "" and path.startswith(f"{wish}.")):
        return True
    return any(sign in wish for sign in "*?[") and fnmatch.fnmatchcase(path, wish)
