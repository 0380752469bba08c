"""Initial weights for the activation in place, by the catalogue's gains or measured."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rectifier.errors import CannotRescale
from rectifier.records import Treated, Treatment
from rectifier.sandbox import Forward, Pass, own_module, tensors_in
from rectifier.treatment.rescaling import chain
from rectifier.treatment.rescaling.chain import Call
from rectifier.treatment.rescaling.change import LayerGain, Rescaled, Scaled
from rectifier.treatment.rescaling.layers import Layer, layers, others, root_mean_square
from rectifier.treatment.rescaling.measured import equalise, without_effect
from rectifier.treatment.swapping import refusals

Mode = Literal["auto", "gain", "lsuv"]


def rescale(
    model: nn.Module,
    batch: Any,
    *,
    mode: Mode = "auto",
    optimizer: Optimizer | None = None,
    forward: Forward | None = None,
) -> Rescaled:
    """Scale a model's initial weights in place, so that the signal keeps its size through the activations in place.

    In a plain network every layer reads the input or one activation: there its weight gets `√(fan_in·E[w²]) = g`, the
    catalogue's gain g of the activation that it reads (mode `gain`). Where branches meet, or something is pooled,
    dropped or normalised in between, the output of each layer is measured and gets standard deviation 1 on the batch,
    one layer after the other (mode `lsuv`, layer-sequential unit variance). `auto` takes the one that fits. Directions
    and biases stay, and no random number is drawn.

    Layers whose scale does not matter to the outputs (a normalisation takes it out again) and branches that begin at 0
    are left alone, as are frozen, parametrised, and tied-to-something-else weights; `left` says which and why.

    Warning:
        This is for a model that has not been trained. A trained one is destroyed by it; what an optimizer remembers is
        looked at only where it is handed over, and plain SGD remembers nothing. Nor does a scale bring back a unit
        without a bias that was born dead: the sign of its input stays.

    Args:
        model: Any module; inside of `torch.compile`'s and `DataParallel`'s wrapper, their module is meant.
        batch: As a loader yields it, targets and all. The model gets what its forward takes: of a tuple or list as many
            of the first entries as it requires, mostly one; of a mapping the entries that it names; anything else as
            the one argument. Of the training's data, and as large as a training batch: the model runs on it three
            to five times, in training mode.
        mode: `auto`, `gain` or `lsuv`.
        optimizer: Asked whether training has begun.
        forward: How to call the model otherwise: `lambda model, batch: model(batch["x"], batch["mask"])`.

    Returns:
        What was done: `gains` of each layer before and after, `left`, `notes`, and `undo()`.

    Raises:
        CannotRescale: Training has begun, the weights are divided between ranks, scripted, lazy or without values, the
            model does not take the batch, or `mode="gain"` is asked of a network that is not plain; nothing has been
            changed.

    Example:
        >>> import torch, rectifier
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Linear(50, 70), torch.nn.ReLU(), torch.nn.Linear(70, 30))
        >>> rectifier.rescale(model, torch.randn(11, 50))
        initial weights → rescaled (gain) in 2 layers
          0: gain 0.574 → 1, reads the input, output's deviation 0.549 → 0.952
          2: gain 0.575 → 1.41, reads relu, output's deviation 0.195 → 0.853
          note: The mean square of the input is 0.984 on this batch; the gains keep it through the layers.

    Source: He et al. 2015, arXiv:1502.01852, section 2.2; Mishkin & Matas 2016, arXiv:1511.06422, algorithm 1.
    """
    inner = own_module(model, CannotRescale)
    _refuse(model, mode, optimizer)
    given = Pass(inner, batch, forward, CannotRescale)
    found, left = layers(inner)
    if not found:
        reason = f" ({'; '.join(f'{path}: {why}' for path, why in left)})" if left else ""
        raise CannotRescale(f"{type(inner).__name__} has no linear layer or convolution to rescale{reason}.")
    before = chain.look(given, found)
    meant, more = _meant(found, before)
    unknown = [layer.path for layer in meant if before[layer.path].reads.gain is None]
    if mode == "gain" and unknown:
        raise CannotRescale(
            f"{unknown[0]} reads neither the input nor an activation of a layer, and there is no gain for that: "
            'write mode="lsuv", which measures.'
        )
    change = Rescaled(mode if mode != "auto" else "lsuv" if unknown else "gain")
    gains = {layer.path: layer.gain for layer in meant}
    steps = [Scaled(layer) for layer in meant]
    try:
        more |= _scale(given, steps, change.mode, before)
        scaled = [step for step in steps if step.layer.path not in more]
        more |= without_effect(given, scaled) if scaled else {}
        done = [step for step in scaled if step.layer.path not in more]
        for step in steps:
            step.set(step.factor if step in done else 1.0)
        if change.mode == "lsuv" and len(done) < len(steps):
            # What was left alone after all may put out something else: its bias had not grown with its weight.
            more |= equalise(given, done)
            done = [step for step in done if step.layer.path not in more]
        after = chain.look(given, [step.layer for step in done])
    except BaseException:
        for step in steps:
            step.revert()
        raise
    for step in done:
        change.did(step)
    change.gains = tuple(_gain(step.layer, gains, before, after) for step in done)
    change.record([gain.layer for gain in change.gains], notes=_notes(given, change))
    change.left = (*left, *((layer.path, more[layer.path]) for layer in found if layer.path in more))
    if change.gains:
        change.tell(inner, Treated(name=Treatment.RESCALE, rescaled=change.fact(type(inner).__name__)))
    return change


def _meant(found: list[Layer], calls: dict[str, Call]) -> tuple[list[Layer], dict[str, str]]:
    """Layers to be rescaled, in the order of their calls, and the reason for each of the others."""
    by_path = {layer.path: layer for layer in found}
    left = {layer.path: "the batch did not lead through it" for layer in found if layer.path not in calls}
    first: dict[int, str] = {}
    meant = []
    for path in calls:
        layer = by_path[path]
        if not layer.gain:
            left[path] = "its weights are all 0, which looks deliberate"
        elif not math.isfinite(layer.gain):
            left[path] = "its weights are not finite"
        elif other := first.get(id(layer.weight)):
            left[path] = f"it shares its weight with {other}"
        else:
            first[id(layer.weight)] = path
            meant.append(layer)
    return meant, left


def _scale(given: Pass, steps: list[Scaled], mode: str, calls: dict[str, Call]) -> dict[str, str]:
    """Scale the weights; returns where that could not be done, and why."""
    if mode == "lsuv":
        return equalise(given, steps)
    for step in steps:
        gain = calls[step.layer.path].reads.gain
        assert gain is not None
        step.set(gain / step.layer.gain)
    return {}


def _gain(layer: Layer, gains: dict[str, float], before: dict[str, Call], after: dict[str, Call]) -> LayerGain:
    return LayerGain(
        layer=layer.path,
        reads=before[layer.path].reads.words,
        gain_before=gains[layer.path],
        gain_after=layer.gain,
        deviation_before=before[layer.path].deviation,
        deviation_after=after[layer.path].deviation,
    )


def _notes(given: Pass, change: Rescaled) -> list[str]:
    notes = []
    inputs = [tensor for tensor in tensors_in(given.inputs) if tensor.is_floating_point() and tensor.numel()]
    if change.mode == "gain" and len(inputs) == 1:
        size = root_mean_square(inputs[0]) ** 2
        notes.append(f"The mean square of the input is {size:.3g} on this batch; the gains keep it through the layers.")
    if not change.gains:
        notes.append("Nothing was changed.")
    if kinds := list(others(given.model)):
        notes.append(f"Not looked at: {', '.join(kinds)}.")
    return notes


def _refuse(model: nn.Module, mode: str, optimizer: Any) -> None:
    if mode not in ("auto", "gain", "lsuv"):
        raise CannotRescale(f'mode={mode!r} is none of "auto", "gain", "lsuv".')
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise CannotRescale(f"optimizer= takes a torch.optim.Optimizer; this is a {type(optimizer).__name__}.")
    if parallel := refusals.parallel_of(model):
        raise CannotRescale(
            f"{parallel} divides or copies the weights between ranks, and each would measure a batch of its own. Write "
            f"rectifier.rescale(model, batch) before {parallel.line}."
        )
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise CannotRescale("A TorchScript module cannot be looked into. Rescale before torch.jit.script(model).")
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise CannotRescale(f"{name} is on the meta device and has no values yet: initialise the model first.")
    if optimizer is not None and (steps := _steps(optimizer)):
        raise CannotRescale(
            f"Training has begun: {type(optimizer).__name__} remembers {steps}. Rescaling would destroy what was "
            "learned; it belongs between making the model and the first step. Make the model anew, and write "
            "rectifier.rescale(model, batch) there."
        )


def _steps(optimizer: Optimizer) -> str:
    """What the optimizer remembers of a training, in words; "" for nothing."""
    states = [state for state in optimizer.state.values() if isinstance(state, dict)]
    counts = [state["step"] for state in states if "step" in state]
    most = max((int(count.item() if isinstance(count, Tensor) else count) for count in counts), default=0)
    if most:
        return f"{most:,} step{'' if most == 1 else 's'}"
    remembered = [value for state in states for value in state.values() if isinstance(value, Tensor)]
    return "momentum" if any(bool(value.any()) for value in remembered) else ""
