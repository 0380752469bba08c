"""A ladder of treatments, mildest first, each of which can be applied."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, overload

from torch import nn
from torch.optim import Optimizer

from rectifier._formatting import listed
from rectifier.errors import CannotPrescribe
from rectifier.records import LeftOut, RungFacts, RungKind, RungTexts
from rectifier.sandbox import Forward
from rectifier.treatment.change import Change

Do = Callable[[nn.Module, Optimizer | None, Any, Forward | None], Change]


@dataclass(frozen=True, slots=True)
class Rung(RungTexts):
    """One treatment, with what is said of it, which `rectifier.prescribe` fills in.

    Attributes:
        facts: Which, and of what.
    """

    facts: RungFacts
    _do: Do | None = field(repr=False)
    _needs: tuple[str, ...] = ("model",)

    @property
    def name(self) -> str:
        """`advice`, `surrogate_gradient`, `swap`, `rescale` or `recycle`."""
        return str(self.facts.kind)

    def apply(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        batch: Any = None,
        *,
        forward: Forward | None = None,
    ) -> Change:
        """Do it.

        Args:
            model: The module that was diagnosed.
            optimizer: What trains it.
            batch: As a loader yields it, targets and all; see `rescale`.
            forward: How to call the model on it otherwise.

        Returns:
            What was done, with `undo()`; for `advice`, which is yours to follow, a change of nothing.

        Raises:
            CannotPrescribe: The rung needs an optimizer or a batch.
            CannotSwap: Or CannotRescale, CannotRecycle: the model does not allow it; nothing has been changed.
        """
        given = {"model": model, "optimizer": optimizer, "batch": batch}
        missing = [name for name in self._needs if given[name] is None]
        if missing:
            raise CannotPrescribe(
                f"{self.name} needs {listed(missing)}: write rung.apply(model, optimizer, batch), with a batch "
                "as your loader yields it."
            )
        if self._do is not None:
            return self._do(model, optimizer, batch, forward)
        change = Change(self.name, "nothing")
        change.record(notes=self.advised)
        return change

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.changes}", f"loses: {self.loses}", f"cost: {self.cost}"]
        return "\n   ".join([*lines, f"expect: {self.expect}", f">>> {self.code}"])


@dataclass(frozen=True, slots=True, repr=False)
class Prescription(Sequence[Rung]):
    """The ladder for one diagnosis: climb it from the top, and stop where training goes on.

    Attributes:
        rungs: Mildest first.
        omitted: Treatment -> why it is not on this ladder.
        left_out: The same in words, for `rectifier.prescribe`.
    """

    rungs: tuple[Rung, ...]
    omitted: dict[str, LeftOut]
    left_out: dict[str, str] = field(default_factory=dict)

    def told(self, texts: Callable[[RungFacts], RungTexts], why: Callable[[LeftOut], str]) -> "Prescription":
        """The same ladder with its texts filled in.

        Args:
            texts: Writes what is said of a rung.
            why: Writes why a treatment is left out.
        """
        return Prescription(
            tuple(rung for rung in map(partial(_told, texts), self.rungs) if rung is not None),
            self.omitted,
            {name: why(left) for name, left in self.omitted.items()},
        )

    @overload
    def __getitem__(self, index: int) -> Rung: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Rung, ...]: ...
    @overload
    def __getitem__(self, index: str) -> Rung: ...
    def __getitem__(self, index: int | slice | str) -> Rung | tuple[Rung, ...]:
        if not isinstance(index, str):
            return self.rungs[index]
        found = next((rung for rung in self.rungs if rung.name == index), None)
        if found is None:
            reason = f": {self.left_out[index]}" if index in self.left_out else ""
            names = ", ".join(rung.name for rung in self.rungs) or "nothing"
            raise CannotPrescribe(f"{index!r} is not on this ladder{reason}. On it: {names}.")
        return found

    def __iter__(self) -> Iterator[Rung]:
        return iter(self.rungs)

    def __len__(self) -> int:
        return len(self.rungs)

    def __repr__(self) -> str:
        lines = [f"{number}. {rung}" for number, rung in enumerate(self.rungs, start=1)]
        lines += [f"not {name}: {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines)


def _told(write: Callable[[RungFacts], RungTexts], rung: Rung) -> Rung | None:
    texts = write(rung.facts)
    if rung.facts.kind is RungKind.ADVICE and not texts.advised:
        return None  # Nothing is advised about what was found.
    return replace(rung, **asdict(texts))
