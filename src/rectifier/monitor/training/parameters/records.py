"""Every parameter of a training: whether a gradient comes, whether it moves, which optimizer has it."""

import threading
from collections.abc import Callable, Container, Iterable, Sequence

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.hooks.holders import find_optimizers
from rectifier.monitor.training.parameters.carried import CarriedGradients
from rectifier.monitor.training.parameters.known import KnownParameters
from rectifier.monitor.training.parameters.looks import Looks
from rectifier.monitor.training.parameters.measures import can_be_followed, number_of
from rectifier.monitor.training.parameters.optimizers import OptimizerRecords
from rectifier.records import FloatArray, IntArray, Parameter, ParameterCounts


class ParameterRecords:
    """All parameters met in one process.

    Args:
        tell: Told of each that is met.
        roots: The models that are known to run.
        name_of: Name of a model; one that was not known gets its name by it.
        threads: All that have run a forward of a model.
        everything: Follow what none of these models holds, too.
    """

    def __init__(
        self,
        tell: Callable[[Parameter], None],
        roots: Callable[[], Iterable[nn.Module]],
        name_of: Callable[[nn.Module], str],
        threads: Callable[[], set[int]] = set,
        *,
        everything: bool = True,
    ) -> None:
        self._threads = threads
        self._known = KnownParameters(tell, roots, name_of, everything=everything)
        self.begin_again()

    def begin_again(self) -> None:
        """Forget everything (in a forked child)."""
        self._known.begin_again()
        self._optimizers = OptimizerRecords()
        self._carried = CarriedGradients()
        self._looks = Looks(self._known.records)
        self.losses_read = self.losses_with_new = 0
        self.backward_passes = 0
        self.moved_by_others = False
        """Whether something other than torch's optimizers has been seen to move them."""

    def __bool__(self) -> bool:
        return bool(self._known.records)

    # Meeting them -----------------------------------------------------------------------------------------------

    def where(self, tensor: Tensor) -> tuple[str, str]:
        """Model and path of a parameter; empty where it is not known."""
        return self._known.where(tensor)

    def connect(
        self, leaves: Sequence[Tensor], uses: Sequence[int], applied: Container[int], *, whole: bool = True
    ) -> None:
        """Note that a loss's graph leads to these tensors.

        Args:
            leaves: They.
            uses: How many operations of the graph use each.
            applied: Identities of those that a layer applies: others may be inputs that are optimised.
            whole: Whether all of the graph was read, so that it leads to no others.
        """
        followed = [(leaf, used) for leaf, used in zip(leaves, uses, strict=True) if can_be_followed(leaf)]
        fresh = any(id(leaf) in applied and self._known.is_new(leaf) for leaf, _ in followed)
        self._known.meet([leaf for leaf, _ in followed])
        if not whole:
            return
        # At the first loss all are new.
        self.losses_with_new += fresh and self.losses_read > 0
        self.losses_read += 1
        for leaf, used in followed:
            at = self._known.index_of(leaf)
            if at is not None:
                record = self._known.records[at]
                record.connected += 1
                record.uses = max(record.uses, used)
                record.threads.add(threading.get_ident())

    def models_of(self, leaves: Iterable[Tensor]) -> set[str]:
        """Names of the models that these tensors belong to."""
        return {self.where(leaf)[0] for leaf in leaves} - {""}

    def trained(self) -> list[Tensor]:
        """Those that a loss led to."""
        tensors = (record.held() for record in self._known.records if record.connected)
        return [tensor for tensor in tensors if tensor is not None]

    # At a step --------------------------------------------------------------------------------------------------

    def note_groups(self, optimizer: Optimizer, *, meet: bool = True) -> None:
        """Note what an optimizer has, and with which settings.

        Args:
            optimizer: It.
            meet: Get to know what it has and nobody has met yet.
        """
        held = [one for group in optimizer.param_groups for one in group["params"] if isinstance(one, Tensor)]
        if meet:
            self._known.meet([one for one in held if can_be_followed(one)], surely=True)
        elif all(self._known.index_of(one) is None for one in held):
            return
        at = self._optimizers.note_groups(optimizer)
        for group in optimizer.param_groups:
            rate, decay, epsilon = (number_of(group.get(name)) for name in ("lr", "weight_decay", "eps"))
            for one in group["params"]:
                index = self._known.index_of(one)
                if index is not None:
                    record = self._known.records[index]
                    record.optimizer, record.rate, record.decay, record.epsilon = at, rate, decay, epsilon

    def note_step(self, optimizer: Optimizer) -> None:
        """An optimizer has stepped."""
        self._carried.note_step(optimizer)
        self._optimizers.note_step(optimizer, alone=self._is_alone())

    def note_before_backward(self) -> None:
        """A loss is about to be back-propagated: gradients of the step before may still be there."""
        if self._is_alone():
            self._carried.note(self._optimizers.held)
        else:
            self._carried.forget()

    def _is_alone(self) -> bool:
        """Whether no other thread trains: to read a gradient while another one sets it can end the process."""
        return not self._threads() - {threading.get_ident()}

    def note_skipped(self, optimizer: Optimizer) -> None:
        """A GradScaler left an optimizer's step out."""
        self._optimizers.note_skipped(optimizer)

    def look(self, step: int, scale: Tensor | None = None) -> None:
        """After a backward pass: what gradient came to each; where it is due, whether the bits have changed.

        Args:
            step: The training's.
            scale: What a GradScaler has multiplied the loss with.
        """
        here = {threading.get_ident()}
        alone = self._is_alone()
        self._looks.take(
            step, [one.held() if alone or one.threads == here else None for one in self._known.records], scale
        )

    def compare_at_end(self, step: int) -> None:
        """Whether the bits have changed, once more, where some steps were taken since the last time."""
        self._looks.compare_at_end(step)

    # Reading ----------------------------------------------------------------------------------------------------

    def read(self, steps: int) -> ParameterCounts | None:
        """What is known so far; this waits for the device.

        Args:
            steps: Steps of the training so far.
        """
        if not self._known.records:
            return None
        self._looks.settle()
        carried_looks, carried = self._carried.read()
        return ParameterCounts(
            first_looked=self._whole("first_looked"),
            last_looked=self._whole("last_looked"),
            looked=self._whole("looked"),
            without_gradient=self._whole("without_gradient"),
            zero_gradient=self._whole("zero_gradient"),
            last_nonzero=self._whole("last_nonzero"),
            nonfinite_step=self._whole("nonfinite_step"),
            connected=self._whole("connected"),
            uses=self._whole("uses"),
            losses_read=self.losses_read,
            losses_with_new=self.losses_with_new,
            first_compared=self._whole("first_compared"),
            last_compared=self._whole("last_compared"),
            last_changed=self._whole("last_changed"),
            nonfinite_weight_step=self._whole("nonfinite_weight_step"),
            weight_first=self._real("weight_first"),
            weight_last=self._real("weight_last"),
            gradient=self._real("gradient"),
            optimizer=self._whole("optimizer"),
            learning_rate=self._real("rate"),
            weight_decay=self._real("decay"),
            epsilon=self._real("epsilon"),
            optimizers=self._optimizers.read(),
            backward_passes=self.backward_passes,
            optimizer_steps=steps if self._optimizers.stepped or self.moved_by_others else 0,
            weight_low=self._real("weight_low"),
            weight_high=self._real("weight_high"),
            carried_looks=carried_looks,
            carried=carried,
        )

    def find_idle_optimizers(self) -> None:
        """Get to know optimizers that have never stepped, where something is held by none of those that have."""
        if self._known.records and any(record.optimizer < 0 for record in self._known.records):
            for optimizer in find_optimizers():
                if not self._optimizers.has(optimizer):
                    self.note_groups(optimizer, meet=False)

    def _whole(self, name: str) -> IntArray:
        return np.array([getattr(record, name) for record in self._known.records], np.int64)

    def _real(self, name: str) -> FloatArray:
        return np.array([getattr(record, name) for record in self._known.records], np.float64)
