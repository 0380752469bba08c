"""What a training loop left out: gradients cleared, the train mode, parameters in the optimizer, its step."""

import weakref
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.hooks.graph.loss_graph import read_loss
from rectifier.hooks.holders import find_holders
from rectifier.hooks.optimizers import Optimizers, tensors_of
from rectifier.hooks.roots import Forward, route_roots
from rectifier.records import Change
from rectifier.treatment.interventions.intervening import Intervening

_PASSES_WITHOUT_A_STEP = 20
"""More backward passes than anybody gathers gradients over, where none of them is thrown away."""


class ClearedGradients(Intervening):
    """The first backward pass after a step finds no gradients of the passes before; those between two steps add up."""

    def __init__(self) -> None:
        super().__init__(Change.ZERO_GRAD)
        self._stepped: weakref.WeakSet[Optimizer] = weakref.WeakSet()

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """Its gradients have been used."""
        self._stepped.add(optimizer)

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """Gradients are about to be added."""
        for optimizer in tuple(self._stepped):
            left = [tensor for tensor in tensors_of(optimizer) if tensor.grad is not None]
            if any(bool(tensor.grad.count_nonzero()) for tensor in left if tensor.grad is not None):
                self.note(f"gradients of {type(optimizer).__name__}")
            for tensor in left:
                tensor.grad = None
        self._stepped.clear()


class TrainMode(Intervening):
    """Models are in training mode for each forward that autograd records."""

    def __init__(self) -> None:
        super().__init__(Change.TRAIN_MODE)

    def start(self) -> None:
        """Begin."""
        self._undo.append(route_roots(self._forward))

    def _forward(self, module: nn.Module, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        matters = torch.is_grad_enabled() and not module.training and _knows_modes(module)
        if not matters:
            return forward(*args, **kwargs)
        modes = [(one, one.training) for one in module.modules()]
        self.note(f"{type(module).__name__} in evaluation mode")
        module.train()
        try:
            return forward(*args, **kwargs)
        finally:
            for one, mode in modes:
                one.training = mode


_BY_MODE = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd, nn.RNNBase)


def _knows_modes(module: nn.Module) -> bool:
    own = any(not type(one).__module__.startswith("torch.") and one is not module for one in module.modules())
    return own or any(isinstance(one, _BY_MODE) for one in module.modules())


class AddedParameters(Intervening):
    """Parameters that the loss reaches, and that no optimizer has, join the first group of the one that steps next."""

    def __init__(self) -> None:
        super().__init__(Change.ADD_PARAMETERS)
        self._optimizers = Optimizers()
        self._missing: dict[int, nn.Parameter] = {}
        self._added: list[tuple[list[Any], Tensor]] = []

    def start(self) -> None:
        """Begin."""
        super().start()
        self._undo.append(self._optimizers.start())

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """Look for what the loss reaches."""
        leaves = read_loss(loss, {}, values=False).leaves
        held = self._optimizers.held()
        if not any(id(leaf) in held for leaf in leaves):
            return
        self._missing = {id(leaf): leaf for leaf in leaves if isinstance(leaf, nn.Parameter) and id(leaf) not in held}

    def on_step_start(self, optimizer: Optimizer, *call: Any) -> None:
        """It is about to step, with them."""
        parameters: list[Any] = optimizer.param_groups[0]["params"]
        held = find_holders(self._missing.values()) if self._missing else {}
        for number, missing in self._missing.items():
            parameters.append(missing)
            self._added.append((parameters, missing))
            self.note(held[number].path if number in held else f"parameter of shape {list(missing.shape)}")
        self._missing = {}

    def stop(self) -> None:
        """Take them out of the optimizer again."""
        super().stop()
        for parameters, added in self._added:
            parameters[:] = [one for one in parameters if one is not added]
        self._added.clear()


class SteppedOptimizer(Intervening):
    """An optimizer that is never asked to step does so after each backward pass.

    It is known by its gradients: they are cleared without having been used, or many passes come without a step.
    """

    def __init__(self) -> None:
        super().__init__(Change.STEP_OPTIMIZER)
        self._optimizers = Optimizers()
        self._used: weakref.WeakSet[Optimizer] = weakref.WeakSet()
        self._passes: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self._ours = False

    def start(self) -> None:
        """Begin."""
        super().start()
        self._undo.append(self._optimizers.start())

    def on_step_end(self, optimizer: Optimizer, *call: Any) -> None:
        """Somebody asked it."""
        if not self._ours:
            self._used.add(optimizer)

    def on_skipped(self, optimizer: Optimizer) -> None:
        """Somebody asked it, and a GradScaler left it out."""
        self._used.add(optimizer)

    def on_backward(self, loss: Tensor, unscaled: Tensor) -> None:
        """Gradients are about to be added: to those of the pass before, or are these gone?"""
        for optimizer in self._optimizers:
            passes = self._passes.get(optimizer, 0)
            if optimizer not in self._used and 0 < passes < _PASSES_WITHOUT_A_STEP and not _has_gradient(optimizer):
                self._passes[optimizer] = _PASSES_WITHOUT_A_STEP

    def on_backward_end(self) -> None:
        """Gradients have been added."""
        for optimizer in self._optimizers:
            if optimizer in self._used or not _has_gradient(optimizer):
                continue
            passes = self._passes[optimizer] = self._passes.get(optimizer, 0) + 1
            if passes > _PASSES_WITHOUT_A_STEP:
                self._ours = True
                try:
                    optimizer.step()
                finally:
                    self._ours = False
                self.note(f"{type(optimizer).__name__} without a step")


def _has_gradient(optimizer: Optimizer) -> bool:
    return any(tensor.grad is not None and bool(tensor.grad.count_nonzero()) for tensor in tensors_of(optimizer))
