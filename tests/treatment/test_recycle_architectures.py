"""Whatever the network: recycling keeps its function to 1e-5, or refuses without changing a bit."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from rectifier.errors import CannotRecycle
from rectifier.treatment import recycle
from tests.treatment.recycle_models import Block, Net, dead, label, loss, picture, same, train

KINDS = ("conv", "conv", "conv", "grouped", "transposed", "transposed grouped", "circular", "depthwise")
NORMS = (None, None, None, None, "batch", "batch", "group", "instance")
AFTER = (None, None, None, None, "max", "avg", "dropout", "layer", "batch")
RESIDUALS = (None, None, None, None, None, None, None, None, "before", "after", "past")
CALLS = ("module", "inplace", "function", "method")
OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, 1e-3, amsgrad=True),
    "fused AdamW": lambda p: torch.optim.AdamW(p, 1e-3, fused=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-3, centered=True, momentum=0.5),
}


@st.composite
def networks(draw):
    """A network, and for some of its sites the units to kill."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    shared = nn.ReLU() if draw(st.booleans()) else None
    width, blocks = 4, []
    for _ in range(draw(st.integers(1, 3))):
        call = draw(st.sampled_from(CALLS))
        act = shared if call == "module" else None
        options = [draw(st.sampled_from(choice)) for choice in (NORMS, AFTER, RESIDUALS)]
        kind = draw(st.sampled_from(KINDS))
        block = Block(width, draw(st.sampled_from((4, 6, 8))), kind, options[0], call, options[1], options[2], act)
        blocks.append(block)
        width = block.outputs
    end = draw(st.sampled_from(("mean", "flat")))
    oddities = {name: draw(st.integers(0, 19)) == 7 for name in ("twice", "tied", "leak")}
    model = Net(blocks, heads=draw(st.integers(1, 3)), end=end, **oddities)
    ill = {}
    for number, block in enumerate(blocks):
        if draw(st.booleans()) or number == 0:
            units = draw(st.sets(st.integers(0, block.outputs - 1), min_size=1))
            ill[number] = tuple(sorted(units))
    return model, ill


@pytest.mark.parametrize("examples", [24, pytest.param(300, marks=pytest.mark.proof)])
def test_the_function_stays_or_nothing_changes(examples):
    done = {True: 0, False: 0}

    @settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
    )
    @given(networks(), st.sampled_from(sorted(OPTIMIZERS)), st.sampled_from(("exact", "exact", "redo", "continual")))
    def recycled(network, optimizer, method):
        done[function_stays(*network, optimizer, method)] += 1

    recycled()
    # A property that everything meets by refusing would say nothing.
    assert done[True] > examples / 3
    assert done[False] > examples / 9


def function_stays(model, ill, optimizer, method):
    """Whether anything was recycled."""
    batch = torch.randn(7, 4, 4, 4)
    trainer = OPTIMIZERS[optimizer](model.parameters())
    for number, units in ill.items():
        model.blocks[number].kill(units)
    train(model, trainer, batch, 2)
    findings = [dead(label(*model.label(number)), units) for number, units in ill.items()]
    before = picture(model, trainer)
    outputs = {mode: outputs_of(model, mode, batch) for mode in (True, False)}
    assert same(picture(model, trainer), before)
    try:
        change = recycle(model, trainer, findings, batch=batch, method=method)
    except CannotRecycle:
        assert same(picture(model, trainer), before)
        return False
    after = picture(model, trainer)
    assert [same(after[i], before[i]) for i in (1, 3, 4, 5)] == [True] * 4
    noisy = any(isinstance(block.after, nn.Dropout) for block in model.blocks)
    for mode in (False,) if noisy else (True, False):
        for now, then in zip(outputs_of(model, mode, batch), outputs[mode], strict=True):
            # The sum of several sites' roundings, each of which is held to 1e-5 by itself.
            assert float((now - then).abs().max()) <= 1e-5 * float(then.abs().max())
    change.undo()
    assert same(picture(model, trainer), before)
    return True


def outputs_of(model, mode, batch):
    """What it returns, with the buffers and the modes left alone."""
    buffers = [buffer.clone() for buffer in model.buffers()]
    was, state = model.training, torch.get_rng_state()
    made = [out.detach() for out in model.train(mode)(batch)]
    model.train(was)
    torch.set_rng_state(state)
    for buffer, value in zip(model.buffers(), buffers, strict=True):
        buffer.copy_(value)
    return made


def test_the_networks_can_be_trained_and_most_kinds_occur():
    seen = []

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(networks())
    def look(network):
        model, _ = network
        loss(model(torch.randn(7, 4, 4, 4))).backward()
        seen.extend(type(module).__name__ for module in model.modules())

    look()
    assert {"ConvTranspose2d", "BatchNorm2d", "GroupNorm", "Dropout", "MaxPool2d"} <= set(seen)
