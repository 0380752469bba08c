"""Whatever the network: recycling keeps its function to 1e-5, or refuses without changing a bit."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from rectifier.errors import CannotRecycle
from rectifier.treatment import recycle
from tests.treatment.architectures import OPTIMIZERS, networks
from tests.treatment.recycling.recycle_models import dead, label, loss, picture, same, train


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
