"""What was written into parameters, buffers and optimizer state, and the way back."""

from torch import Tensor

from rectifier.errors import CannotRecycle
from rectifier.records import RecycledUnits, Treated, Treatment
from rectifier.sandbox import same
from rectifier.treatment.change import Change
from rectifier.treatment.recycling.slots import Slot


class Written:
    """New values in some entries of a tensor; see `rectifier.treatment.change.Step`."""

    def __init__(self, slot: Slot, values: Tensor | float) -> None:
        self.slot = slot
        self._old = slot.read()
        slot.write(values)
        self._new = self._old

    def settle(self) -> None:
        """Take what stands there now for what was written: a later step may have crossed this one."""
        self._new = self.slot.read()

    def blocked(self) -> str | None:
        """See `Step`."""
        return None if same(self.slot.read(), self._new) else self.slot.name

    def revert(self) -> None:
        """See `Step`."""
        self.slot.write(self._old)


class Ledger:
    """Everything written so far."""

    def __init__(self) -> None:
        self.steps: list[Written] = []

    def write(self, slot: Slot, values: Tensor | float) -> None:
        """Write, and remember what was there."""
        self.steps.append(Written(slot, values))

    def back_to(self, count: int) -> None:
        """Take back all but the first `count` steps."""
        while len(self.steps) > count:
            self.steps.pop().revert()


class Recycled(Change):
    """What `recycle` did to a model and its optimizer.

    Attributes:
        refused: What was asked for and left as it was, with the reason; one line for each site.
        units: Site -> the units that were revived, as findings name and count them.
    """

    def __init__(self, method: str) -> None:
        super().__init__("dead units", f"recycled ({method})")
        self.refused: tuple[str, ...] = ()
        self.units: dict[str, tuple[int, ...]] = {}

    @property
    def fact(self) -> Treated:
        """What was revived."""
        counts = RecycledUnits(by_site={site: len(units) for site, units in self.units.items()})
        return Treated(name=Treatment.RECYCLE, recycled=counts, units=dict(self.units))

    def undo(self) -> None:
        """Put parameters, buffers and optimizer state back, bit for bit.

        Warning:
            Only as long as nothing has trained. Afterwards the recycled weights and those beside them have learned from
            each other, no older state of some of them fits, and nothing is put back.

        Raises:
            CannotRecycle: Something of what was written has changed since; nothing was put back.
        """
        if self.undone:
            return
        moved = next((reason for step in self._steps if (reason := step.blocked()) is not None), None)
        if moved is not None:
            raise CannotRecycle(
                f"Cannot undo the recycling of {', '.join(self.units)}: {moved} has moved since. What was recycled "
                "has learned together with the rest, and the old values would no longer fit it; nothing was put "
                "back. Load a checkpoint from before, or call undo() before training goes on."
            )
        super().undo()
