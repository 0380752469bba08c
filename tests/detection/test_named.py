"""The named failures and controls: each begins both ways, and its remedy is more than a name."""

import math
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "detection"
OWN = ("controls", "data", "failures", "plain", "training")


@pytest.fixture(scope="module")
def named():
    sys.path.insert(0, str(FOLDER))
    try:
        import controls
        import failures

        yield failures.FAILURES, failures.REBUILT, controls.CONTROLS
    finally:
        sys.path.remove(str(FOLDER))
        for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
            sys.modules.pop(name)


def rebuilt_count():
    sys.path.insert(0, str(FOLDER))
    try:
        import failures

        return len(failures.REBUILT)
    finally:
        sys.path.remove(str(FOLDER))
        for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
            sys.modules.pop(name)


def test_there_are_sixty_kinds_of_each_by_different_names(named):
    failures, rebuilt, controls = named
    assert len(failures) + len(rebuilt) >= 60
    assert len(controls) >= 60
    for cases in (failures + rebuilt, controls):
        assert len({case.name for case in cases}) == len(cases)


def test_accepted_causes_are_kinds_that_exist(named):
    from rectifier.records import CauseKind

    for case in (*named[0], *named[1]):
        assert case.causes, case.name
        assert set(case.causes) <= set(CauseKind) - {CauseKind.UNKNOWN}, case.name


def first_steps(case, *, mended, count=2):
    training = case.start(5, mended=mended)
    losses = [training.step()[0] for _ in range(count)]
    weights = [parameter.detach().clone() for model in training.models for parameter in model.parameters()]
    return training, losses, weights


@pytest.mark.parametrize("number", range(rebuilt_count()))
def test_a_rebuilt_failure_begins_with_and_without_its_remedy_and_differs(named, number):
    case = named[1][number]
    _, losses, weights = first_steps(case, mended=False)
    mended, others, changed = first_steps(case, mended=True)
    # Some differ in weights only (the optimizer has others), some in losses only (nothing moves).
    same = losses == others and all(
        one.shape == other.shape and bool((one == other).all()) for one, other in zip(weights, changed, strict=True)
    )
    assert not same, case.name
    assert all(map(math.isfinite, others)), case.name
    score, _ = mended.score()
    assert math.isfinite(score), case.name


def test_a_seed_says_everything(named):
    case = named[1][0]
    assert first_steps(case, mended=True)[1] == first_steps(case, mended=True)[1]


def test_a_score_leaves_the_modes_as_they_were(named):
    for control in named[2]:
        if control.name == "dropout 0.8 in a wide network":
            training = control.start(1)
            training.step()
            before = [module.training for module in training.models[0].modules()]
            training.score()
            assert [module.training for module in training.models[0].modules()] == before == [True] * len(before)
            return
    raise AssertionError


def test_controls_that_are_no_mended_failures_begin(named):
    for control in named[2]:
        if not control.name.endswith(", mended"):
            training = control.start(3)
            assert math.isfinite(training.step()[0]), control.name
            assert math.isfinite(training.score()[0]), control.name
