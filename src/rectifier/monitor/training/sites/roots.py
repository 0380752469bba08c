"""The user's models: which root is which, how it is called in reports, and in which mode it trains."""

import weakref

from torch import Tensor, nn

from rectifier.hooks import Location
from rectifier.hooks.modules import user_class
from rectifier.hooks.ranks import is_replica
from rectifier.monitor.training.sites.feeds import refer_to
from rectifier.monitor.training.sites.met import ModelRecord
from rectifier.records import ModelState


class Roots:
    """All roots met in one process.

    Args:
        only: The one module that is watched; None for all.

    Attributes:
        records: Of each model, in the order in which they were met.
    """

    def __init__(self, only: nn.Module | None) -> None:
        self._only = weakref.ref(only) if only is not None else None
        self._models: weakref.WeakKeyDictionary[nn.Module, ModelRecord] = weakref.WeakKeyDictionary()
        self._names: dict[str, int] = {}
        self.records: list[ModelRecord] = []

    def get(self, root: nn.Module) -> ModelRecord | None:
        """What is known of a root; None where it has not been met."""
        return self._models.get(root)

    def watches(self, model: nn.Module) -> bool:
        """Whether this model, a part of it, or one that it is a part of is observed."""
        if self._only is None:
            return True
        only = self._only()
        return only is not None and (only in set(model.modules()) or model in set(only.modules()))

    def all(self) -> list[nn.Module]:
        """The models that have been seen to run; the one that is watched, where only one is."""
        if self._only is not None:
            only = self._only()
            return [] if only is None else [only]
        by_record = {id(record): root for root, record in self._models.items() if record.trains}
        return list(by_record.values())

    def name_of(self, root: nn.Module) -> str:
        """The name of a model, whether or not it has been seen to run."""
        return (self._models.get(root) or self.meet(root, None, None)).name

    def meet(self, root: nn.Module, wrapper: nn.Module | None, place: Location | None) -> ModelRecord:
        """The record of a root that has none yet: a new one, or that of the same model made anew.

        Args:
            root: It.
            wrapper: What runs it; None where nothing does.
            place: Where it is called from; None where it is not known to run.
        """
        base, own = user_class(type(root)).__name__, refer_to(root)
        line = None if own or place is None else place.called_from()
        record = next((one for one in self.records if _is_made_anew(one, base, own, line)), None)
        if record is None:
            number = self._names[base] = self._names.get(base, 0) + 1
            record = ModelRecord(
                name=base if number == 1 else f"{base}#{number}",
                root=weakref.ref(root),
                weights=own,
                # A module without parameters (a loss, a metric) is not a model, even when it applies an activation.
                trains=bool(own),
                replica=is_replica(root, wrapper),
                called_from=line,
                sequence_first=any(getattr(part, "batch_first", True) is False for part in root.modules()),
            )
            self.records.append(record)
        record.root = weakref.ref(root)
        self._models[root] = record
        return record

    def path_of(self, model: ModelRecord, root: nn.Module, owner: nn.Module) -> str:
        """Where a module is in a model.

        Args:
            model: Its record.
            root: The model.
            owner: The module.
        """
        path = model.paths.get(owner)
        if path is None:
            # A new root, or a module that was added to the model after its first forward.
            model.paths.update(self._paths_from(root))
            path = model.paths.setdefault(owner, type(owner).__name__)
        return path

    def _paths_from(self, root: nn.Module) -> dict[nn.Module, str]:
        """Paths as the user knows them: from the module that is watched, where the root is a part of it."""
        only = self._only() if self._only is not None else None
        return {module: path for path, module in (only if only is not None else root).named_modules()}

    def note_modes(self, names: set[str]) -> None:
        """A loss's graph leads to these models: note in which mode they are."""
        for root, record in {id(record): (root, record) for root, record in self._models.items()}.values():
            if record.name in names:
                record.losses += 1
                record.eval_losses += not root.training
                record.trains_in_eval = not root.training

    @property
    def states(self) -> tuple[ModelState, ...]:
        """How each model was used so far."""
        return tuple(
            ModelState(name=record.name, steps=record.losses, eval_steps=record.eval_losses)
            for record in self.records
            if record.losses
        )

    def begin_again(self) -> None:
        """Forget all models (in a forked child)."""
        self._models.clear()
        self.records.clear()
        self._names.clear()


def _is_made_anew(
    record: ModelRecord, base: str, own: "tuple[weakref.ref[Tensor], ...]", called_from: str | None
) -> bool:
    """Whether a root is the model of a record once more: the same class around the same parameters.

    Without any parameters, one that is made for every step takes the place of one that is gone and was called there.
    """
    if record.name.partition("#")[0] != base or len(own) != len(record.weights):
        return False
    if not own:
        return record.root() is None and record.called_from == called_from
    return all(old() is new() for old, new in zip(record.weights, own, strict=True))
