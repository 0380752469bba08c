"""What moves the parameters at one step, in shares: each addend of the loss, weight decay, momentum."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge
from torch.optim import Optimizer

from rectifier.hooks.microscope.addends import Addend, terms_of
from rectifier.hooks.microscope.graph import below
from rectifier.hooks.microscope.source_lines import users_line
from rectifier.records import CauseKind, Sight, SightKind

_REENTRANT = "CheckpointFunctionBackward"


def by_addends(loss: Tensor, addends: list[Addend], step: int) -> list[Sight]:
    """The share of each term of the loss in the gradient of all parameters; none where it cannot be told.

    The graph stays as it is for the training's own backward pass; nothing is added to any `.grad`.
    """
    nodes = list(below(loss.grad_fn))
    # This kind of checkpoint leaves its parameters out without an error.
    terms = terms_of(addends)
    if len(terms) < 2 or any(_REENTRANT in node.name() for node in nodes):
        return []
    leaves = [node.variable for node in nodes if hasattr(node, "variable")]
    edges: list[Tensor | None] = [None] * len(addends)
    handles = []
    for number, addend in enumerate(addends):

        def keep(gradients: tuple[Tensor | None, ...], above: Any, at: int = number, edge: int = addend.input) -> None:
            edges[at] = gradients[edge]

        handles.append(addend.node.register_hook(keep))
    try:
        torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    by_addend = {id(addend): _gradients(addend, edge, leaves) for addend, edge in zip(addends, edges, strict=True)}
    # Of a term of several addends: added up, as if none pulled against another.
    shares = [[sum(parts) for parts in zip(*(by_addend[id(one)] for one in term), strict=True)] for term in terms]
    total = [sum(parts) for parts in zip(*shares, strict=True)]
    whole = sum(total)
    if not 0 < whole < float("inf"):
        return []
    sights = [
        Sight(
            kind=SightKind.MOVED_BY,
            operation=term[0].text,
            phase="backward",
            place=term[0].place,
            expression=term[0].text,
            step=step,
            numbers={
                "index": float(number),
                "share": sum(parts) / whole,
                "largest_share": max((p / t for p, t in zip(parts, total, strict=True) if t > 0), default=0.0),
                "norm": sum(parts),
            },
            # What comes first is what the training is for; that it moves most is as it should be.
            cause_kind=CauseKind.LOSS_TERM if number else CauseKind.UNKNOWN,
        )
        for number, (term, parts) in enumerate(zip(terms, shares, strict=True))
    ]
    return sorted(sights, key=lambda sight: -sight.numbers["share"])


def _gradients(addend: Addend, edge: Tensor | None, leaves: list[Tensor]) -> list[float]:
    """The norm of one addend's gradient for each leaf."""
    if edge is None:
        return [0.0] * len(leaves)
    child, output = addend.node.next_functions[addend.input]
    if hasattr(child, "variable"):
        return [float(edge.norm()) if leaf is child.variable else 0.0 for leaf in leaves]
    gradients = torch.autograd.grad(
        [GradientEdge(child, output)], leaves, grad_outputs=[edge], retain_graph=True, allow_unused=True
    )
    return [0.0 if gradient is None else float(gradient.detach().norm()) for gradient in gradients]


def by_optimizer(optimizer: Optimizer, step: int) -> list[Sight]:
    """The share of weight decay and of momentum in what an optimizer is about to do."""
    gradient = decay = momentum = 0.0
    coefficient = 0.0
    for group in optimizer.param_groups:
        weight_decay = float(group.get("weight_decay") or 0.0)
        coefficient = max(coefficient, weight_decay)
        for tensor in _with_gradient(group["params"]):
            gradient += float(tensor.grad.detach().norm()) if tensor.grad is not None else 0.0
            decay += weight_decay * float(tensor.detach().norm())
            state = optimizer.state.get(tensor, {})
            before = state.get("momentum_buffer", state.get("exp_avg"))
            factor = group.get("momentum") or (group.get("betas") or (0.0,))[0]
            if isinstance(before, Tensor):
                momentum += float(factor) * float(before.norm())
    line = users_line(2)
    found = []
    for name, part, numbers in (("weight_decay", decay, {"coefficient": coefficient}), ("momentum", momentum, {})):
        whole = gradient + part
        if part > 0 and whole < float("inf"):
            found.append(
                Sight(
                    kind=SightKind.MOVED_BY,
                    operation=name,
                    phase="optimizer",
                    place=line.place if line is not None else "",
                    expression=line.expression if line is not None else "",
                    step=step,
                    numbers={"share": part / whole, "norm": part, "gradient_norm": gradient, **numbers},
                    cause_kind=CauseKind.WEIGHT_DECAY
                    if name == "weight_decay" and part > gradient
                    else CauseKind.UNKNOWN,
                )
            )
    return found


def _with_gradient(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [tensor for tensor in tensors if tensor.grad is not None and tensor.grad.layout is torch.strided]
