"""`rectifier.explain` of functions: planted faults, healthy functions, and a process that is afterwards as it was."""

import random

import numpy as np
import pytest
import torch
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

import rectifier
from rectifier.errors import CannotExplain
from rectifier.records import CauseKind, Change, Conclusion
from tests.one_thread import one_thread  # noqa: F401


def trains(*, lr=0.05, decay=0.0, steps=120, scale=1.0, bias=0.0, left_out=False, nan=False, seen=None):
    """A small regression that learns, but for what is planted."""

    def train(seed):
        inputs = torch.randn(64, 5)
        targets = inputs.sum(1, keepdim=True) + 3
        model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.ReLU(), torch.nn.Linear(7, 1))
        with torch.no_grad():
            model[0].weight.mul_(scale)
            model[0].bias.add_(bias)
        parameters = model[2:].parameters() if left_out else model.parameters()
        optimizer = torch.optim.SGD(parameters, lr=lr, weight_decay=decay)
        losses = []
        for _ in range(steps):
            outputs = model(inputs)
            loss = torch.nn.functional.mse_loss(outputs, targets)
            if nan:
                loss = loss + 0 * (outputs - outputs).sum().sqrt()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if seen is not None:
            seen.append((seed, losses))

    return train


def test_a_healthy_function_has_nothing_to_explain_and_is_called_once():
    seen = []
    found = rectifier.explain(trains(seen=seen))
    assert (found.conclusion, found.cause, found.established) == (Conclusion.NOTHING_TO_EXPLAIN, None, False)
    assert found.title.startswith("Nothing to explain")
    assert [seed for seed, _ in seen] == [0]


def test_weight_decay_is_the_cause():
    found = rectifier.explain(trains(decay=5.0), because="loss stays at 6")
    assert (found.conclusion, found.cause.kind) == (Conclusion.ESTABLISHED, CauseKind.WEIGHT_DECAY)
    assert found.cause.text == "weight decay of 5 (SGD, group 0)"
    assert found.fixes == ("weight_decay=0.01 instead of 5",)
    assert any("does not fail" in text for text in found.details)
    assert rectifier.describe(found).title == found.title
    assert rectifier.describe(found).advice == found.fixes[0]


def test_parameters_that_are_left_out_are_the_cause():
    found = rectifier.explain(trains(left_out=True))
    assert (found.established, found.cause.kind) == (True, CauseKind.NOT_IN_OPTIMIZER)
    assert found.cause.detail == "0.bias, 0.weight"


def test_weights_that_are_too_large_are_among_the_causes():
    found = rectifier.explain(trains(scale=10.0))
    assert found.established is True
    assert CauseKind.INITIAL_WEIGHTS in [cause.kind for cause in found.causes]


def test_biases_far_below_0_are_the_cause():
    found = rectifier.explain(trains(bias=-50.0))
    assert (found.established, found.cause.kind) == (True, CauseKind.INITIAL_BIAS)


def test_an_operation_without_a_derivative_is_the_cause_with_its_line():
    found = rectifier.explain(trains(nan=True))
    assert (found.established, found.cause.kind) == (True, CauseKind.NUMERICAL_OPERATION)
    sight = next(one for one in found.sights if one.cause_kind is CauseKind.NUMERICAL_OPERATION)
    assert sight.place.startswith("test_in_process.py:")
    assert "sqrt()" in sight.expression


def test_every_training_is_the_users_own_but_for_the_change():
    """Losses of unchanged calls are those of a plain call, to the bit, as far as they go."""
    seen = []
    train = trains(decay=5.0, seen=seen)
    experiments = []
    found = rectifier.explain(train, seed=3, because="loss stays at 6", on_experiment=experiments.append)
    assert tuple(experiments) == found.experiments
    plain = {}
    for seed in {seed for seed, _ in seen}:
        torch.manual_seed(seed)
        train(seed)
        plain[seed] = seen.pop()[1]
    unchanged = [seed for seed, losses in seen if losses == plain[seed][: len(losses)]]
    assert {3, 4, 5} == set(plain)
    assert unchanged.count(3) >= 2
    assert {4, 5} <= set(unchanged)
    assert found.control.deterministic is True


def state():
    return (
        random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(), torch.get_num_threads(),
        len(_global_optimizer_pre_hooks), len(_global_optimizer_post_hooks), torch.nn.functional.relu.__code__,
        torch.autograd.backward, torch.Tensor.backward, torch.nn.Module.__call__, torch.optim.SGD.step,
        torch.nn.functional.mse_loss, torch.nn.modules.module._global_forward_pre_hooks.copy(),
    )  # fmt: skip


def test_nothing_is_left_behind():
    before = state()
    rectifier.explain(trains(decay=5.0), because="loss stays at 6")
    assert state() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_nothing_is_left_behind_where_the_function_is_left(error):
    def train(seed):
        trains(steps=3)(seed)
        raise error

    before = state()
    with pytest.raises(error):
        rectifier.explain(train)
    assert state() == before


def test_what_the_function_raises_because_its_loss_is_not_finite_is_the_failure():
    plain = trains(lr=5.0)

    def train(seed):
        plain(seed)
        raise ValueError("the loss is NaN")

    found = rectifier.explain(train)
    assert found.conclusion is not Conclusion.NOTHING_TO_EXPLAIN


def test_a_function_that_catches_every_exception_is_still_ended_in_time():
    ended = []

    def train(seed):
        try:
            trains(bias=-50.0, steps=1_500)(seed)
            ended.append(seed)
        except Exception:
            ended.append(-1)

    found = rectifier.explain(train)
    assert found.cause.kind is CauseKind.INITIAL_BIAS
    assert -1 not in ended
    assert len(ended) < 4 < len(found.experiments)


def test_time_that_is_up_ends_it():
    seen = []
    train = trains(decay=5.0, steps=60, seen=seen)
    found = rectifier.explain(train, because="loss stays at 6", max_minutes=1e-9)
    assert found.conclusion is Conclusion.UNFINISHED
    assert not seen
    assert "Time ran out" in found.title


def test_what_cannot_be_explained_is_told():
    with pytest.raises(CannotExplain, match="no loss was seen"):
        rectifier.explain(lambda seed: None)
    with pytest.raises(CannotExplain, match="dead-units"):
        rectifier.explain(trains(), finding="dead unit")
    with pytest.raises(CannotExplain, match="names no loss"):
        rectifier.explain(trains(), because="it is bad")


def test_a_notebook_shows_it_escaped():
    found = rectifier.explain(trains(decay=5.0), because="loss stays at 6")
    html = found._repr_html_()
    assert found.title in html
    assert "weight_decay=0.01 instead of 5" in html
    assert "<script" not in html


def test_a_change_that_does_nothing_is_not_taken_for_a_cure(monkeypatch):
    """Planted: the change of weight decay leaves it as it is, and says that it changed it."""
    from rectifier.treatment.interventions.steps import Settings

    monkeypatch.setattr(Settings, "on_step_start", lambda self, *call: self.note("nothing"))
    found = rectifier.explain(trains(decay=5.0), because="loss stays at 6")
    decay = [one for one in found.experiments if one.intervention.change is Change.WEIGHT_DECAY_OFF]
    assert decay
    assert all(one.failed for one in decay)
    assert CauseKind.WEIGHT_DECAY not in [cause.kind for cause in found.causes]


def test_a_change_of_the_losss_unit_is_no_cure_of_a_loss_that_was_named(monkeypatch):
    from rectifier.treatment.interventions.steps import Settings

    # Nothing else helps: the one that does is made to do nothing.
    monkeypatch.setattr(Settings, "on_step_start", lambda self, *call: None)
    found = rectifier.explain(trains(decay=5.0), because="loss stays at 6")
    assert CauseKind.TARGET_SCALE not in [cause.kind for cause in found.causes]
    assert Change.STANDARDISE_TARGETS not in [one.intervention.change for one in found.experiments]
