"""Every parameter of a training: whether a gradient comes, whether it moves, which optimizer has it."""

import threading
import weakref
from collections.abc import Callable, Iterable

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.hooks.holders import find_holders, find_optimizers
from rectifier.monitor.training.parameters.carried import CarriedGradients, UsedGradients
from rectifier.monitor.training.parameters.looks import Looks
from rectifier.monitor.training.parameters.measures import can_be_followed, number_of
from rectifier.monitor.training.parameters.record import ParameterRecord
from rectifier.monitor.training.sites.parameters import hold
from rectifier.monitor.training.steps.movement import Taken
from rectifier.records import FloatArray, Holder, IntArray, OptimizerState, Parameter, ParameterCounts

# Looking through all objects of a process takes a tenth of a second and more.
_MOST_SEARCHES = 3
# Leaves that nobody holds: of a training with bare tensors its weights, else inputs, new ones with each batch.
_MOST_STRANGERS = 1_000
# How often all parameters of the known models are gone through again, because a stranger came.
_MOST_WALKS = 16


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
        self._tell, self._roots, self._name_of, self._everything = tell, roots, name_of, everything
        self.begin_again()

    def begin_again(self) -> None:
        """Forget everything (in a forked child)."""
        self._records: list[ParameterRecord] = []
        self._index: dict[int, int] = {}
        self._searches = self._walks = 0
        self._strangers: dict[int, Taken] = {}
        self._known_roots: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._optimizers: list[weakref.ref[Optimizer]] = []
        self._names: list[str] = []
        self._steps: list[int] = []
        self._skipped: list[int] = []
        self._without: list[int] = []
        self._carried = CarriedGradients()
        self._used = UsedGradients()
        self._looks = Looks(self._records)
        self.losses_read = 0
        self.backward_passes = 0
        self.moved_by_others = False
        """Whether something other than torch's optimizers has been seen to move them."""

    def __bool__(self) -> bool:
        return bool(self._records)

    # Meeting them -----------------------------------------------------------------------------------------------

    def index_of(self, tensor: Tensor) -> int | None:
        """The number of a parameter; None for a tensor that was not met as one."""
        at = self._index.get(id(tensor))
        return at if at is not None and self._records[at].held() is tensor else None

    def where(self, tensor: Tensor) -> tuple[str, str]:
        """Model and path of a parameter; empty where it is not known."""
        at = self.index_of(tensor)
        if at is None:
            return "", ""
        held = self._records[at].held
        return held.model, held.path or ""

    def connect(self, leaves: Iterable[Tensor], *, whole: bool = True) -> None:
        """Note that a loss's graph leads to these tensors.

        Args:
            leaves: They.
            whole: Whether all of the graph was read, so that it leads to no others.
        """
        leaves = [leaf for leaf in leaves if can_be_followed(leaf)]
        self._meet(leaves)
        if not whole:
            return
        self.losses_read += 1
        for leaf in leaves:
            at = self.index_of(leaf)
            if at is not None:
                self._records[at].connected += 1
                self._records[at].threads.add(threading.get_ident())

    def models_of(self, leaves: Iterable[Tensor]) -> set[str]:
        """Names of the models that these tensors belong to."""
        return {self.where(leaf)[0] for leaf in leaves} - {""}

    def trained(self) -> list[Tensor]:
        """Those that a loss led to."""
        tensors = (record.held() for record in self._records if record.connected)
        return [tensor for tensor in tensors if tensor is not None]

    def _meet(self, tensors: list[Tensor], *, surely: bool = False) -> None:
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
        self._index[id(tensor)] = len(self._records)
        self._records.append(record)
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

    # At a step --------------------------------------------------------------------------------------------------

    def note_groups(self, optimizer: Optimizer, *, meet: bool = True) -> None:
        """Note what an optimizer has, and with which settings.

        Args:
            optimizer: It.
            meet: Get to know what it has and nobody has met yet.
        """
        held = [one for group in optimizer.param_groups for one in group["params"] if isinstance(one, Tensor)]
        if meet:
            self._meet([one for one in held if can_be_followed(one)], surely=True)
        elif all(self.index_of(one) is None for one in held):
            return
        at = self._number_of(optimizer)
        for group in optimizer.param_groups:
            rate, decay, epsilon = (number_of(group.get(name)) for name in ("lr", "weight_decay", "eps"))
            for one in group["params"]:
                index = self.index_of(one)
                if index is not None:
                    record = self._records[index]
                    record.optimizer, record.rate, record.decay, record.epsilon = at, rate, decay, epsilon

    def note_step(self, optimizer: Optimizer) -> None:
        """An optimizer has stepped."""
        number = self._number_of(optimizer)
        self._steps[number] += 1
        self._carried.note_step(optimizer)
        if self._is_alone():
            self._used.note_step(number, optimizer)
        self._without[number] += all(one.grad is None for group in optimizer.param_groups for one in group["params"])

    def note_before_backward(self) -> None:
        """A loss is about to be back-propagated: gradients of the step before may still be there."""
        if self._is_alone():
            self._carried.note(self._optimizers)
        else:
            self._carried.forget()

    def _is_alone(self) -> bool:
        """Whether no other thread trains: to read a gradient while another one sets it can end the process."""
        return not self._threads() - {threading.get_ident()}

    def note_skipped(self, optimizer: Optimizer) -> None:
        """A GradScaler left an optimizer's step out."""
        self._skipped[self._number_of(optimizer)] += 1

    def _number_of(self, optimizer: Optimizer) -> int:
        for number, known in enumerate(self._optimizers):
            if known() is optimizer:
                return number
        self._optimizers.append(weakref.ref(optimizer))
        self._names.append(type(optimizer).__name__)
        self._steps.append(0)
        self._skipped.append(0)
        self._without.append(0)
        return len(self._optimizers) - 1

    def look(self, step: int, scale: Tensor | None = None) -> None:
        """After a backward pass: what gradient came to each; where it is due, whether the bits have changed.

        Args:
            step: The training's.
            scale: What a GradScaler has multiplied the loss with.
        """
        here = {threading.get_ident()}
        alone = self._is_alone()
        self._looks.take(step, [one.held() if alone or one.threads == here else None for one in self._records], scale)

    def compare_at_end(self, step: int) -> None:
        """Whether the bits have changed, once more, where some steps were taken since the last time."""
        self._looks.compare_at_end(step)

    # Reading ----------------------------------------------------------------------------------------------------

    def read(self, steps: int) -> ParameterCounts | None:
        """What is known so far; this waits for the device.

        Args:
            steps: Steps of the training so far.
        """
        if not self._records:
            return None
        self._looks.settle()
        carried_looks, carried = self._carried.read()
        used = self._used.read()
        return ParameterCounts(
            first_looked=self._whole("first_looked"),
            last_looked=self._whole("last_looked"),
            looked=self._whole("looked"),
            without_gradient=self._whole("without_gradient"),
            zero_gradient=self._whole("zero_gradient"),
            last_nonzero=self._whole("last_nonzero"),
            nonfinite_step=self._whole("nonfinite_step"),
            connected=self._whole("connected"),
            losses_read=self.losses_read,
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
            optimizers=tuple(
                OptimizerState(
                    name=name,
                    steps=taken,
                    skipped=skipped,
                    without_gradients=without,
                    used=len(used[number]),
                    zeros=used[number].count(0.0),
                )
                for number, (name, taken, skipped, without) in enumerate(
                    zip(self._names, self._steps, self._skipped, self._without, strict=True)
                )
            ),
            backward_passes=self.backward_passes,
            optimizer_steps=steps if any(self._steps) or self.moved_by_others else 0,
            weight_low=self._real("weight_low"),
            weight_high=self._real("weight_high"),
            carried_looks=carried_looks,
            carried=carried,
        )

    def find_idle_optimizers(self) -> None:
        """Get to know optimizers that have never stepped, where something is held by none of those that have."""
        if self._records and any(record.optimizer < 0 for record in self._records):
            for optimizer in find_optimizers():
                if all(known() is not optimizer for known in self._optimizers):
                    self.note_groups(optimizer, meet=False)

    def _whole(self, name: str) -> IntArray:
        return np.array([getattr(record, name) for record in self._records], np.int64)

    def _real(self, name: str) -> FloatArray:
        return np.array([getattr(record, name) for record in self._records], np.float64)
