"""Who holds the parameters of a training, and how many there are: each is met once."""

import weakref
from collections.abc import Callable, Iterable

from torch import Tensor, nn

from rectifier.hooks.holders import find_holders
from rectifier.monitor.training.parameters.measures import can_be_followed
from rectifier.monitor.training.parameters.record import ParameterRecord
from rectifier.monitor.training.sites.parameters import hold
from rectifier.monitor.training.steps.movement import Taken
from rectifier.records import Holder, Parameter

# Looking through all objects of a process takes a tenth of a second and more.
_MOST_SEARCHES = 3
# Leaves that nobody holds: of a training with bare tensors its weights, else inputs, new ones with each batch.
_MOST_STRANGERS = 1_000
# How often all parameters of the known models are gone through again, because a stranger came.
_MOST_WALKS = 16


class KnownParameters:
    """Every parameter that was met, with its number, its model and its path.

    Args:
        tell: Told of each that is met.
        roots: The models that are known to run.
        name_of: Name of a model; one that was not known gets its name by it.
        everything: Follow what none of these models holds, too.

    Attributes:
        records: What is known of each, by its number.
    """

    def __init__(
        self,
        tell: Callable[[Parameter], None],
        roots: Callable[[], Iterable[nn.Module]],
        name_of: Callable[[nn.Module], str],
        *,
        everything: bool,
    ) -> None:
        self._tell, self._roots, self._name_of, self._everything = tell, roots, name_of, everything
        self.begin_again()

    def begin_again(self) -> None:
        """Forget everything (in a forked child)."""
        self.records: list[ParameterRecord] = []
        self._index: dict[int, int] = {}
        self._searches = self._walks = 0
        self._strangers: dict[int, Taken] = {}
        self._known_roots: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def index_of(self, tensor: Tensor) -> int | None:
        """The number of a parameter; None for a tensor that was not met as one."""
        at = self._index.get(id(tensor))
        return at if at is not None and self.records[at].held() is tensor else None

    def is_new(self, tensor: Tensor) -> bool:
        """Whether it is a parameter that was not met; never where only some models are followed."""
        return self._everything and isinstance(tensor, nn.Parameter) and self.index_of(tensor) is None

    def where(self, tensor: Tensor) -> tuple[str, str]:
        """Model and path of a parameter; empty where it is not known."""
        at = self.index_of(tensor)
        if at is None:
            return "", ""
        held = self.records[at].held
        return held.model, held.path or ""

    def meet(self, tensors: list[Tensor], *, surely: bool = False) -> None:
        """Find out who holds them, and get to know all parameters of the models that they belong to.

        Args:
            tensors: Leaves of a graph, or what an optimizer has.
            surely: Whether each is a parameter, whoever holds it. A leaf alone may be an input.
        """
        if all(self.index_of(one) is not None for one in tensors):
            return
        for root in self._roots():
            if root not in self._known_roots:
                self._known_roots.add(root)
                self._meet_all_of(root)
        strangers = self._strangers_among(tensors)
        if not strangers or not self._everything:
            return
        if self._searches < _MOST_SEARCHES:
            self._searches += 1
            holders = find_holders(strangers)
            for root in {id(one.root): one.root for one in holders.values() if one.registered}.values():
                if root not in self._known_roots:
                    self._known_roots.add(root)
                    self._meet_all_of(root)
            for one in strangers:
                held = holders.get(id(one))
                if held is not None and self.index_of(one) is None:
                    holder = Holder.MODULE if held.registered else Holder.CONTAINER
                    self._add(one, self._name_of(held.root), held.path, holder, held.module, held.name)
        for one in strangers:
            if self.index_of(one) is None and (surely or isinstance(one, nn.Parameter) or self._has_moved(one)):
                self._add(one, "", "", Holder.NONE)

    def _strangers_among(self, tensors: list[Tensor]) -> list[Tensor]:
        strangers = [one for one in tensors if self.index_of(one) is None]
        if strangers and self._walks < _MOST_WALKS:
            # A layer may have been put in the place of another since.
            self._walks += 1
            for root in list(self._known_roots):
                self._meet_all_of(root)
            strangers = [one for one in strangers if self.index_of(one) is None]
        return strangers

    def _has_moved(self, tensor: Tensor) -> bool:
        """Whether a leaf that nobody holds was met before and has changed since: an input does not."""
        known = self._strangers.get(id(tensor))
        if known is not None and known.leaf() is tensor:
            return known.has_changed()
        if len(self._strangers) < _MOST_STRANGERS:
            self._strangers[id(tensor)] = Taken(tensor)
        return False

    def _meet_all_of(self, root: nn.Module) -> None:
        model = self._name_of(root)
        for path, module in root.named_modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and self.index_of(parameter) is None and can_be_followed(parameter):
                    self._add(parameter, model, f"{path}.{name}" if path else name, Holder.MODULE, module, name)

    def _add(
        self,
        tensor: Tensor,
        model: str,
        path: str,
        holder: Holder,
        module: nn.Module | None = None,
        name: str | None = None,
    ) -> None:
        record = ParameterRecord(hold(tensor, model, path, module, name))
        # The memory of one that is gone may be another's now.
        self._index[id(tensor)] = len(self.records)
        self.records.append(record)
        self._tell(
            Parameter(
                model=model,
                path=path,
                shape=tuple(tensor.shape),
                holder=holder,
                requires_grad=tensor.requires_grad,
                dtype=str(tensor.dtype).removeprefix("torch."),
            )
        )
