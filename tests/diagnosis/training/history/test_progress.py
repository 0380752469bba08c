"""Whether training gets anywhere, asked of the loss; "cannot tell" is an answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.diagnosis.training.history.progress import judge_progress
from rectifier.records import Series
from tests.diagnosis.builders import FALLING, FLAT, NAN, process, site, snapshot, window
from tests.edge import diagnose


def state(losses):
    return judge_progress(Series(steps=np.arange(len(losses)), values=np.array(losses, float))).state


def noise(seed, spread, n):
    """Positive, mean 1, with this coefficient of variation: what the loss of small batches looks like."""
    return np.random.default_rng(seed).gamma(1 / spread**2, spread**2, n)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([], "unknown"),
        ([2.0] * 19, "unknown"),
        ([2.0] * 20, "none"),
        ([2.0] * 10 + [1.901] * 90, "none"),
        ([2.0] * 10 + [1.899] * 90, "some"),
        ([2.0] * 10 + [9.0] * 90, "none"),
        (list(np.linspace(2, 1, 50)) + [2.0] * 50, "none"),  # fell and came back: it has lost what it had
        ([2.3] * 5 + [0.1] * 500, "some"),  # a quick training has a short plateau
        ([2.3] * 400 + [0.1] * 200, "some"),  # a late one a long
        ([-1.0] * 30, "unknown"),
        ([0.0] * 30, "unknown"),
        ([1.0] * 15 + [-1.0] * 15, "unknown"),
        ([NAN] * 99, "unknown"),
        ([2.0, NAN] * 20, "none"),
        # It falls, but had no time to fall far; after a hundred steps that is too little.
        (list(np.linspace(2.0, 1.93, 40)), "unknown"),
        (list(np.linspace(2.0, 1.97, 90)), "none"),
        (list(np.linspace(2.0, 1.93, 100)), "none"),
    ],
)
def test_progress_at_its_thresholds(losses, expected):
    assert state(losses) == expected


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_not_progress_and_hides_it_only_where_it_is_larger(seed):
    n = 1000
    falling = 0.1 + np.exp(-np.arange(n) / 10)
    assert state(2.3 * noise(seed, 0.05, n)) == "none"
    assert state(falling * noise(seed, 0.3, n)) == "some"
    assert state(falling * noise(seed, 1.0, n)) == "some"
    assert state(noise(seed, 1.0, 60)) != "some"


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_far_above_its_beginning_is_no_progress_however_noisy(seed):
    assert state(np.concatenate([np.ones(5), 9 * noise(seed, 0.5, 60)])) == "none"


def test_a_small_fall_in_large_noise_is_unknown():
    states = [state(np.linspace(1, 0.9, 200) * noise(seed, 0.5, 200)) for seed in range(20)]
    assert states.count("unknown") > 10


@given(st.floats(1e-6, 1e6), st.integers(0, 9))
def test_the_unit_of_the_loss_does_not_matter(scale, seed):
    losses = np.linspace(1, 0.8, 100) * noise(seed, 0.1, 100)
    assert state(losses * scale) == state(losses)


def two_models(first_steps, second_steps, losses):
    sites = [site("a", model="G"), site("a", model="D")]
    windows = [
        window(i, steps=steps, fired=(0,) * 5, last=[-1] * 5, distinct=5000)
        for i, steps in enumerate((first_steps, second_steps))
    ]
    return diagnose(process(sites, snapshot(windows, losses=losses))).findings


def test_models_that_train_at_once_have_no_common_progress():
    found = two_models(range(0, 200, 2), range(1, 200, 2), FLAT)
    assert len(found) == 2
    assert all("progress" not in finding.detail for finding in found)


def test_models_that_train_one_after_the_other_have_each_their_own():
    first, second = two_models(range(200), range(200, 400), FLAT + FALLING)
    assert (first.severity, second.severity) == ("serious", "warning")
    assert first.detail.endswith("Training does not progress: the loss went from 2.3 to 2.3 in 200 steps.")


@pytest.mark.parametrize(("spread", "expected"), [(0.249, "none"), (0.251, "unknown")])
def test_a_flat_curve_whose_batches_differ_much_may_have_converged(spread, expected):
    assert state([1 - spread, 1 + spread] * 2100) == expected


def test_a_loss_that_was_exactly_0_for_a_while_has_no_relative_noise():
    assert state([1.0] * 10 + [0.0] * 110 + [1.0] * 15) == "unknown"
    assert state([1.0] * 10 + [-1.0] * 110 + [1.0] * 15) == "unknown"
