"""For how long a row had no gradient, told from files that real optimizers' states were written to."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifier.checkpoints import read_checkpoint
from rectifier.diagnosis.checkpoint.clocks import silence_of, since_earlier
from rectifier.report.sentences.checkpoint import why_untold
from tests.checkpoints.trainings import ROWS, stepped, trained
from tests.edge import judge_checkpoint

OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, 1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.1),
    "amsgrad": lambda p: torch.optim.Adam(p, 1e-3, amsgrad=True),
    "nadam": lambda p: torch.optim.NAdam(p, 1e-3),
    "adam, little decay": lambda p: torch.optim.Adam(p, 1e-4, weight_decay=1e-6),
    "adam, fast": lambda p: torch.optim.Adam(p, 1e-3, betas=(0.8, 0.99)),
    "sgd with momentum": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9),
    "sgd with momentum and decay": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, weight_decay=1e-4),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-3, alpha=0.9),
}  # fmt: skip


def written(folder, model, optimizer, _=None, name="checkpoint.pt"):
    torch.save({"model": model, "optimizer": optimizer}, folder / name)
    return folder / name


def memory_in(path):
    (weight,) = read_checkpoint(path).weights
    assert weight.memory is not None, weight.state
    return weight.memory


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_interval_holds_the_truth_and_the_living_are_not_accused(name, folder):
    died = {1: 500, 4: 420, 7: 250}
    silence = silence_of(memory_in(written(folder, *stepped(OPTIMIZERS[name], steps=600, died=died))))
    assert silence.untold is None
    found = set(np.flatnonzero(silence.silent))
    assert found <= set(died)
    # Decay in the gradient, and a clock that only compares rows, hide the silences of under 250 steps.
    least = {7} if "decay" in name or name == "rmsprop" else {4, 7}
    assert found >= least
    for row in found:
        truth = 600 - died[row]
        assert silence.low[row] <= truth <= silence.high[row], (row, truth, silence.low[row], silence.high[row])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adams_momentum_tells_to_some_twenty_steps(name, folder):
    died = {0: 150, 3: 300, 6: 440, 9: 540}
    silence = silence_of(memory_in(written(folder, *stepped(OPTIMIZERS[name], steps=640, died=died))))
    for row, step in died.items():
        truth = 640 - step
        assert silence.low[row] <= truth <= silence.high[row]
        assert abs(silence.estimate[row] - truth) <= 25
        assert silence.high[row] - silence.low[row] <= 70
    # 640 − 540 is 100 exactly, less than the interval's width away from what is told as silent.
    assert set(np.flatnonzero(silence.silent)) == {0, 3, 6}


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    name=st.sampled_from(list(OPTIMIZERS)),
    quiet=st.sampled_from([0.0, 0.5, 0.95]),
    spread=st.floats(1, 10),
    steps=st.integers(110, 350),
    dead=st.sets(st.integers(0, ROWS - 1), max_size=ROWS - 1),
)
def test_whatever_dies_the_living_are_never_called_dead(folder, seed, name, quiet, spread, steps, dead):
    died = {row: (seed + 37 * row) % steps for row in dead}
    model, optimizer, since = stepped(
        OPTIMIZERS[name], steps=steps, died=died, seed=seed, quiet=quiet, spread=spread
    )  # fmt: skip
    memory = memory_in(written(folder, model, optimizer))
    silence = silence_of(memory)
    if silence.untold is None:
        for row in np.flatnonzero(silence.silent):
            assert since[row] >= 100
            # Where decay feeds the moments, one that never had a gradient looks like one that lost it.
            assert silence.never[row] == (since[row] == steps and not memory.coupled)
            if since[row] < steps:
                # That a row once had a gradient is what the intervals assume; without steps to count SGD cannot check.
                assert silence.low[row] <= since[row] <= silence.high[row]


def test_a_row_that_never_had_a_gradient_is_told_from_one_that_lost_it(folder):
    for name in ("adam", "rmsprop"):
        silence = silence_of(memory_in(written(folder, *stepped(OPTIMIZERS[name], steps=300, died={2: 0, 5: 60}))))
        assert np.flatnonzero(silence.never).tolist() == [2]
        assert silence.low[2] == silence.estimate[2] == silence.high[2] == 300
    nobody = silence_of(
        memory_in(written(folder, *stepped(OPTIMIZERS["adam"], steps=300, died=dict.fromkeys(range(11), 0))))
    )
    assert nobody.never.all()
    # SGD counts no steps: that they never had one is all that can be said.
    sgd = silence_of(memory_in(written(folder, *stepped(OPTIMIZERS["sgd with momentum"], steps=9, died={2: 0}))))
    assert sgd.silent[2]
    assert np.isinf(sgd.high[2])
    assert sgd.silent.sum() == 1


def test_in_the_first_steps_nobody_is_called_silent(folder):
    silence = silence_of(memory_in(written(folder, *stepped(OPTIMIZERS["adam"], steps=99, died={2: 0, 3: 1}))))
    assert not silence.silent.any()
    assert silence.never[2]


def test_past_its_momentum_adam_tells_a_least_number_and_the_second_moment_an_estimate(folder):
    died = {2: 100, 5: 600}
    path = written(folder, *stepped(OPTIMIZERS["adam, fast"], steps=1_200, died=died, spread=1))
    silence = silence_of(memory_in(path))
    for row, step in died.items():
        truth = 1_200 - step
        assert 300 <= silence.low[row] <= truth <= silence.high[row] <= 1_200
    assert silence.estimate[5] == pytest.approx(600, rel=0.5)


def test_an_earlier_checkpoint_makes_long_silences_exact(folder):
    make = lambda p: torch.optim.AdamW(p, 1e-3, betas=(0.8, 0.99), weight_decay=0.1)  # noqa: E731
    died = {2: 100, 5: 250}
    then = memory_in(written(folder, *stepped(make, steps=300, died=died), name="then.pt"))
    path = written(folder, *stepped(make, steps=1_000, died=died))
    now = memory_in(path)
    silence = since_earlier(silence_of(now), now, then, 700)
    assert np.flatnonzero(silence.silent).tolist() == [2, 5]
    for row, step in died.items():
        assert silence.low[row] <= 1_000 - step <= silence.high[row]
        assert silence.high[row] - silence.low[row] <= 50
    # The same through the front door.
    layer = judge_checkpoint(read_checkpoint(path, folder / "then.pt")).layers[0]
    assert (layer.silent, layer.steps_low, layer.steps_high) == (2, silence.low[5], silence.high[2])


@pytest.mark.parametrize("wrong", [650, 750])
def test_a_wrong_number_of_steps_proves_nothing(folder, wrong):
    make, died = OPTIMIZERS["adam, fast"], {2: 200}
    then = memory_in(written(folder, *stepped(make, steps=250, died=died)))
    now = memory_in(written(folder, *stepped(make, steps=950, died=died)))
    alone = silence_of(now)
    assert since_earlier(alone, now, then, wrong).low[2] == alone.low[2]
    assert since_earlier(alone, now, then, 700).low[2] > alone.low[2]


def test_decay_as_large_as_the_gradients_hides_the_dead_and_is_said(folder):
    make = lambda p: torch.optim.Adam(p, 1e-3, weight_decay=1e-2)  # noqa: E731
    path = written(folder, *stepped(make, steps=400, died={2: 100}))
    inspection = judge_checkpoint(read_checkpoint(path))
    assert inspection.layers[0].silent == 0
    assert any("weight decay is (or may be) part of the gradient" in reason.text for reason in inspection.untold)


def test_without_the_key_of_newer_versions_adam_may_be_coupled(folder):
    model, optimizer, _ = stepped(OPTIMIZERS["adamw"], steps=300, died={2: 100})
    for group in optimizer["param_groups"]:
        del group["decoupled_weight_decay"]
    silence = silence_of(memory_in(written(folder, model, optimizer)))
    # What cannot be known widens what is said, and never makes it wrong.
    assert silence.high[2] == 300
    assert silence.low[2] <= 200


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["adam", "sgd with momentum"])
def test_half_precision_widens_the_interval_or_is_refused(folder, dtype, name):
    died = {2: 150, 5: 0}
    silence = silence_of(memory_in(written(folder, *stepped(OPTIMIZERS[name], steps=400, died=died, dtype=dtype))))
    if silence.untold is not None:
        return
    found = set(np.flatnonzero(silence.silent))
    assert found <= set(died)
    for row in found:
        assert not silence.low[row] > 400 - died[row]
        assert silence.high[row] >= 400 - died[row]


def test_bfloat16_still_tells_by_momentum(folder):
    memory = memory_in(written(folder, *stepped(OPTIMIZERS["adam"], steps=400, died={2: 150}, dtype=torch.bfloat16)))
    silence = silence_of(memory)
    assert silence.silent[2]
    assert silence.low[2] <= 250 <= silence.high[2]


def test_a_second_moment_that_rounding_holds_up_is_no_clock(folder):
    make = lambda p: torch.optim.RMSprop(p, 1e-3, alpha=0.999)  # noqa: E731
    silence = silence_of(memory_in(written(folder, *stepped(make, steps=300, died={2: 30}, dtype=torch.bfloat16))))
    assert "does not fall at all in numbers with a spacing of 0.008" in why_untold(silence.untold)
    assert not silence.silent.any()


@pytest.mark.parametrize("name", ["adam", "sgd with momentum"])
def test_a_network_of_its_own(folder, name):
    killed = [(1, 2, 200), (0, 1, 100)]
    model, optimizer, truth = trained(OPTIMIZERS[name], steps=400, killed=killed)
    checkpoint = read_checkpoint(written(folder, model.state_dict(), optimizer.state_dict()))
    assert [rows.name for rows in checkpoint.weights] == ["0.weight", "2.weight", "4.weight"]
    for rows, since in zip(checkpoint.weights, truth, strict=True):
        silence = silence_of(rows.memory)
        for row, steps in enumerate(since):
            assert not (silence.silent[row] and steps < 100), (rows.name, row, steps)
            if silence.silent[row]:
                assert silence.never[row] or silence.low[row] <= steps <= silence.high[row]
    assert truth[1][2] == 200
    assert truth[0][1] == 300
    assert silence_of(checkpoint.weights[0].memory).silent[1]
    assert silence_of(checkpoint.weights[1].memory).silent[2]
