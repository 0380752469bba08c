"""Whatever the network: a swap or a rescale that is undone leaves no trace, and a swap changes the activation only."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from rectifier.errors import CannotRescale, CannotSwap
from rectifier.treatment import rescale, swap
from tests.treatment.architectures import OPTIMIZERS, networks
from tests.treatment.recycling.recycle_models import picture, same, train

NEW = ("leaky_relu:0.1", "elu:1.0", "gelu", "surrogate_gradient:0.2", "prelu:0.1", "relu6")
LIGHT = settings(
    max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)


def structure(model):
    """Every module, parameter and hook by identity, in their places."""
    return [
        (path, id(module), type(module), list(vars(module)), [id(value) for value in module._parameters.values()],
         [id(value) for value in module._buffers.values()], list(module._modules.items()),
         [list(module._forward_hooks.items()), list(module._forward_pre_hooks.items())])
        for path, module in model.named_modules(remove_duplicate=False)
    ]  # fmt: skip


def prepared(network, optimizer):
    """A network that has trained a little, with a hook of the user's on every module."""
    model, _ = network
    trainer = OPTIMIZERS[optimizer](model.parameters())
    batch = torch.randn(7, 4, 4, 4)
    train(model, trainer, batch, 2)
    for module in model.modules():
        module.register_forward_hook(lambda module, args, output: None)
    return model, trainer, batch


@pytest.mark.parametrize("new", NEW)
def test_a_swap_undone_is_the_identity(new):
    done = []

    @settings(LIGHT, max_examples=12)
    @given(networks(), st.sampled_from(sorted(OPTIMIZERS)), st.booleans())
    def swapped(network, optimizer, trains):
        model, trainer, batch = prepared(network, optimizer)
        model.train(trains)
        before, places = picture(model, trainer), structure(model)
        if new == "prelu:0.1":
            # A function has no place for a learned slope; the modules beside it have.
            if any(block.call in ("function", "method") for block in model.blocks):
                with pytest.raises(CannotSwap):
                    swap(model, "relu", new, optimizer=trainer)
                assert same(picture(model, trainer), before)
                assert structure(model) == places
            change = swap(model, "relu", new, optimizer=trainer, where=nn.ReLU)
        else:
            change = swap(model, "relu", new, optimizer=trainer)
        done.append(new)
        assert structure(model) != places
        model(batch)
        change.undo()
        if trains:
            # The forward has moved the statistics of batch norms, and dropout has drawn.
            assert same(picture(model, trainer)[1:5], before[1:5])
        else:
            assert same(picture(model, trainer), before)
        assert structure(model) == places

    swapped()
    assert len(done) >= 12


def test_a_swap_undone_after_training_gives_the_structure_back():
    @LIGHT
    @given(networks(), st.sampled_from(sorted(OPTIMIZERS)), st.sampled_from(("leaky_relu:0.1", "prelu:0.1")))
    def swapped(network, optimizer, new):
        model, trainer, batch = prepared(network, optimizer)
        places, groups = structure(model), [list(map(id, group["params"])) for group in trainer.param_groups]
        change = swap(model, "relu", new, optimizer=trainer, where=nn.ReLU)
        train(model, trainer, batch, 1)
        learned = {name: value.clone() for name, value in model.named_parameters()}
        change.undo()
        assert structure(model) == places
        assert [list(map(id, group["params"])) for group in trainer.param_groups] == groups
        assert all(torch.equal(value, learned[name]) for name, value in model.named_parameters())
        assert not any(parameter not in set(model.parameters()) for parameter in trainer.state)

    swapped()


def test_a_rescale_undone_is_the_identity():
    done = {True: 0, False: 0}

    @LIGHT
    @given(networks(), st.booleans())
    def rescaled(network, trains):
        model, _ = network
        model.train(trains)
        trainer = torch.optim.SGD(model.parameters(), 0.1)
        batch = torch.randn(7, 4, 4, 4)
        before, places = picture(model, trainer), structure(model)
        try:
            change = rescale(model, batch, optimizer=trainer)
        except CannotRescale:
            assert same(picture(model, trainer), before)
            return
        done[bool(change.gains)] += 1
        assert structure(model) == places
        now = picture(model, trainer)
        assert same(now[1:], before[1:]), "gradients, moments, groups, modes, the random stream"
        moved = {name for name, value in now[0].items() if not torch.equal(value, before[0][name])}
        assert {name for name in moved if not name.endswith("weight")} == set()
        for gain in change.gains:
            if change.mode == "lsuv":
                assert gain.deviation_after == pytest.approx(1, abs=0.11)
        change.undo()
        assert same(picture(model, trainer), before)

    rescaled()
    assert done[True] > 18


def test_the_pictures_can_tell_a_difference():
    @settings(LIGHT, max_examples=5)
    @given(networks())
    def different(network):
        model, trainer, batch = prepared(network, "Adam")
        before, places = picture(model, trainer), structure(model)
        train(model, trainer, batch, 1)
        assert not same(picture(model, trainer)[0], before[0])
        assert not same(picture(model, trainer)[2], before[2])
        model.blocks[0].layer.register_forward_hook(lambda module, args, output: None)
        assert structure(model) != places

    different()
