"""Many small networks trained as one: stacked parameters, and one matrix product per layer for all members.

Each member's training is the one it would have been alone, within the rounding of float32.
"""

import copy
import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from rectifier.activations import nn as own
from rectifier.catalogue import CATALOGUE
from rectifier.study.ensemble import Draws, batches
from rectifier.study.together import Forward, outputs, train
from rectifier.study.ways import Task, Trained, member

_IGNORED = -100
"""The target that `cross_entropy` leaves out of the mean."""

MEMBERS_PER_THREAD = 2
"""With one alone, a thread of a small network waits for Python more than it computes."""

_ELEMENTWISE = frozenset(
    getattr(namespace, row.module)
    for row in CATALOGUE.values()
    for namespace in (nn, own)
    if row.name not in ("prelu", "rrelu") and row.module is not None and hasattr(namespace, row.module)
)
"""Activations that are the same function of every number: without parameters and without chance."""


class _Affine(torch.autograd.Function):
    """(S, B, i) times the (S, o, i) weights of each member, plus its (S, o) biases.

    The gradient of the weights is computed as they lie. Through a transposed view it comes out transposed, and is
    copied for that: an eighth of the time of a whole step.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        columns = weight.transpose(1, 2)
        return torch.bmm(inputs, columns) if bias is None else torch.baddbmm(bias.unsqueeze(1), inputs, columns)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        asked = ctx.needs_input_grad
        return (
            torch.bmm(delta, weight) if asked[0] else None,
            torch.bmm(delta.transpose(1, 2), inputs) if asked[1] else None,
            delta.sum(1) if asked[2] else None,
        )


def _affine(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Apply `_Affine` to (S, ..., i)."""
    rows = inputs.reshape(len(weight), -1, inputs.shape[-1])
    product: Tensor = _Affine.apply(rows, weight, bias)  # type: ignore[no-untyped-call]
    return product.view(*inputs.shape[:-1], weight.shape[1])


class _Linear(torch.autograd.Function):
    """A linear layer that batches as one matrix product per member; vmap's own rule takes three times as long."""

    generate_vmap_rule = False

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return nn.functional.linear(inputs, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        raise NotImplementedError  # Reached only without vmap, and nothing here trains without it.

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], inputs: Tensor, weight: Tensor, bias: Tensor | None
    ) -> tuple[Tensor, int]:
        if in_dims[0] != 0 or in_dims[1] != 0:
            raise NotImplementedError("inputs and weights of a linear layer must both belong to the members")
        return _affine(inputs, weight, bias), 0


class _StackedLinear(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name for it)
        result: Tensor = _Linear.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return result


class _Stopped(Exception):
    """Another part has failed, or the user has had enough."""


def train_together(task: Task, arm: str, draws: Sequence[Draws], *, steps: int | None = None) -> Trained:
    """Train all members as one, or on several threads as one part each: no thread waits for another within a step.

    Raises:
        RuntimeError: The model does what cannot be stacked: it draws random numbers in its forward, or its course
            depends on values; or the optimizer treats parameters by their shape.
    """
    began = time.perf_counter()
    models = [member(task, arm, draw) for draw in draws]
    threads = torch.get_num_threads()
    # Elsewhere than on the processor one queue takes all work, and what is set for a thread (a default device) stays.
    count = min(threads, max(1, len(draws) // MEMBERS_PER_THREAD)) if task.inputs.device.type == "cpu" else 1
    cuts = [len(draws) * number // count for number in range(count + 1)]
    shares = [slice(*ends) for ends in itertools.pairwise(cuts)]
    if count == 1:
        parts = [_train_part(task, models, draws, steps, Event())]
    else:
        with threads_each(threads // count):
            parts = _in_threads(
                [partial(_train_part, task, models[own], draws[own], steps) for own in shares],
            )
    return Trained(
        torch.cat([part.losses for part in parts], 1),
        torch.cat([part.outputs for part in parts]),
        seconds=time.perf_counter() - began,
        stepping=max(part.stepping for part in parts),
    )


def _in_threads(parts: Sequence[Callable[[Event], Trained]]) -> list[Trained]:
    """Run each on a thread of its own; the first error ends the others within a step, and is raised."""
    stop = Event()
    running: list[Future[Trained]] = []
    with ThreadPoolExecutor(len(parts)) as pool:
        try:
            running += [pool.submit(part, stop) for part in parts]
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            # Ctrl-C comes through here, too. What is done already does not look.
            stop.set()
    errors = [error for each in running if (error := each.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, _Stopped)):
        raise error
    return [each.result() for each in running]


@contextmanager
def threads_each(number: int) -> Iterator[None]:
    """Let each thread that is started in here use so many of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train_part(
    task: Task, models: Sequence[nn.Module], draws: Sequence[Draws], steps: int | None, stop: Event
) -> Trained:
    parameters, buffers = stack_module_state(list(models))
    # Its own weights are not used.
    skeleton = copy.deepcopy(models[0])
    forward, learned = _chain(skeleton, parameters) or (
        _any_model(skeleton, parameters, buffers),
        list(parameters.values()),
    )
    each_loss = _cross_entropies if task.loss is cross_entropy else vmap(task.loss)
    shown = itertools.islice((chosen for _, chosen in batches(len(task.inputs), task.recipe, draws)), steps)
    optimizer = task.optimizer(learned)
    _check_grouping(task, optimizer, learned, list(models[0].parameters()))
    began = time.perf_counter()
    losses = train(
        forward,
        optimizer,
        task.inputs,
        _until(stop, shown),
        lambda predicted, chosen: each_loss(predicted, task.targets[chosen]),
    )
    stepping = time.perf_counter() - began
    if stop.is_set():
        raise _Stopped
    skeleton.eval()
    found = outputs(forward, task.test_inputs, len(draws))
    return Trained(losses, found, seconds=time.perf_counter() - began, stepping=stepping)


def _until(stop: Event, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    for chosen in batches:
        if stop.is_set():
            raise _Stopped
        yield chosen


def _check_grouping(task: Task, optimizer: Optimizer, stacked: Sequence[Tensor], own: Sequence[Tensor]) -> None:
    """Refuse an optimizer whose groups depend on shapes: no weight decay on what has one dimension, for instance."""
    options = [
        {id(tensor): {**group, "params": None} for group in made.param_groups for tensor in group["params"]}
        for made in (optimizer, task.optimizer(own))
    ]
    if any(options[0].get(id(one)) != options[1].get(id(other)) for one, other in zip(stacked, own, strict=True)):
        raise RuntimeError(
            "the optimizer groups stacked parameters otherwise than those of one model: it looks at their shapes"
        )


def _cross_entropies(predicted: Tensor, targets: Tensor) -> Tensor:
    """The (S,) mean losses without vmap, which sorts the dimensions in a way that is slow here."""
    if predicted.dim() != 3 or targets.dim() != 2:
        each: Tensor = vmap(cross_entropy)(predicted, targets)
        return each
    each = cross_entropy(predicted.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)
    return each.sum(1) / (targets != _IGNORED).sum(1)


def _chain(model: nn.Module, parameters: dict[str, Tensor]) -> tuple[Forward, list[Tensor]] | None:
    """A plain stack of linear layers and elementwise activations needs no vmap, which takes a third of its time.

    Weights lie as (S, i, o), so that their gradients come out as they lie and nothing of a step waits for Python
    but the names of its operations.

    Returns:
        The forward of all members and what it learns, None for any other model.
    """
    if type(model) is not nn.Sequential or any(_is_hooked(module) for module in model.modules()):
        return None
    layers: list[Callable[[Tensor], Tensor]] = []
    learned: list[Tensor] = []
    linear = False
    for name, layer in model._modules.items():
        if type(layer) is nn.Linear and f"{name}.weight" in parameters:
            weight, bias = parameters[f"{name}.weight"], parameters.get(f"{name}.bias")
            if bias is None and layer.bias is not None:
                return None  # It is another layer's, too.
            columns = weight.detach().transpose(1, 2).contiguous().requires_grad_(weight.requires_grad)
            learned += [columns] if bias is None else [columns, bias]
            layers.append(partial(_linear, columns, bias))
        elif type(layer) in _ELEMENTWISE:
            layers.append((linear and _in_place(layer)) or _out_of_place(layer))
        elif type(layer) in (nn.PReLU, own.PReLU) and f"{name}.weight" in parameters:
            slopes = parameters[f"{name}.weight"]
            if slopes.shape[1] != 1:
                return None
            learned.append(slopes)
            layers.append(partial(_prelu, slopes))
        else:
            return None
        # Its output is nobody's; an activation's may be kept for its gradient, and the first layer's input is the data.
        linear = type(layer) is nn.Linear

    def forward(inputs: Tensor) -> Tensor:
        for layer in layers:
            inputs = layer(inputs)
        return inputs

    return forward, learned


def _linear(columns: Tensor, bias: Tensor | None, inputs: Tensor) -> Tensor:
    """(S, ..., i) to (S, ..., o); of (S, B, i) no view, since what changes a view in place copies all of it."""
    rows = inputs if inputs.dim() == 3 else inputs.reshape(len(columns), -1, inputs.shape[-1])
    product = torch.bmm(rows, columns) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, columns)
    return product if inputs.dim() == 3 else product.view(*inputs.shape[:-1], columns.shape[2])


def _in_place(layer: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The activation in the place of its input, where its gradient needs its output alone; None elsewhere."""
    if isinstance(layer, nn.ReLU):
        return torch.relu_
    if isinstance(layer, nn.LeakyReLU) and layer.negative_slope > 0:
        return partial(nn.functional.leaky_relu, negative_slope=layer.negative_slope, inplace=True)
    if isinstance(layer, nn.ELU) and layer.alpha > 0:
        return partial(nn.functional.elu, alpha=layer.alpha, inplace=True)
    return None


def _out_of_place(layer: nn.Module) -> nn.Module:
    if getattr(layer, "inplace", False):
        layer.inplace = False  # type: ignore[assignment]
    return layer


def _is_hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _prelu(slopes: Tensor, inputs: Tensor) -> Tensor:
    """One slope per member: torch's own has none for each of a batch."""
    return torch.where(inputs > 0, inputs, slopes.view(-1, *[1] * (inputs.dim() - 1)) * inputs)


def _any_model(skeleton: nn.Module, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Forward:
    # Without weights of its own: a parameter that was forgotten cannot pass unnoticed.
    skeleton.to("meta")
    for module in skeleton.modules():
        if type(module) is nn.Linear:
            module.__class__ = _StackedLinear

    def one(own: dict[str, Tensor], kept: dict[str, Tensor], inputs: Tensor) -> Tensor:
        result: Tensor = functional_call(skeleton, (own, kept), (inputs,))
        return result

    every = vmap(one, randomness="error")
    return lambda inputs: every(parameters, buffers, inputs)
