"""A model that trains in eval mode is told; it is no alarm where training progresses, or nothing in it would differ."""

from dataclasses import replace

import pytest

from rectifier.records import AxisSource, ModelState, UnitAxis
from tests.diagnosis.builders import FALLING, FLAT, site
from tests.diagnosis.parameter_records import TRAINS, parameter, training
from tests.edge import diagnose, why

NORMALISED = replace(
    site("act"),
    fed_by="fc.weight",
    unit_axis=UnitAxis(axis=1, ndim=4, source=AxisSource.LAYER, operation="NativeBatchNorm"),
)


def found(*, evaluated=20, losses=FALLING, sites=(NORMALISED,), row=TRAINS, name="Net", **more):
    models = [ModelState(name=name, steps=20, eval_steps=evaluated)]
    trained = training([(parameter(), row)], sites=list(sites), losses=losses, models=models, **more)
    return next((one for one in diagnose(trained).findings if one.rule == "eval-mode"), None)


@pytest.mark.parametrize(
    ("losses", "sites", "severity"),
    [
        (FALLING, [NORMALISED], "info"),
        (FLAT, [NORMALISED], "warning"),
        (FLAT[:99], [NORMALISED], "info"),
        (FLAT, [replace(site("act"), fed_by="fc.weight")], "info"),
        ([], [NORMALISED], "info"),
    ],
    ids=["fine-tuning", "stall", "too short", "no batch norm", "no loss"],
)
def test_it_is_an_alarm_only_where_it_can_matter(losses, sites, severity):
    one = found(losses=losses, sites=sites)
    assert (one.severity, why(one)) == (severity, "eval_mode")
    alarm = severity == "warning"
    assert (one.remedies, one.command) == ((("train_mode",), "model.train()") if alarm else ((), None))
    assert one.advice.startswith("Call model.train()" if alarm else "Nothing to do if this is intended")


def test_its_words():
    one = found(losses=FLAT)
    assert one.title == "Net trains in eval mode"
    assert one.detail == (
        "20 of 20 observed losses came from a model in eval mode: dropout is off. The batch normalisation before 1 "
        "activation does not update its statistics. Training does not progress: the loss went from 2.3 to 2.3 in 200 "
        "steps."
    )
    assert found(evaluated=7).title == "Net trains in eval mode in part"


@pytest.mark.parametrize(
    "more",
    [{"evaluated": 0}, {"name": "Other"}, {"row": {**TRAINS, "optimizer": -1, "last_changed": -1}}],
    ids=["train mode", "another model", "it judges another"],
)
def test_what_does_not_train_in_eval_mode_is_not_told(more):
    assert found(**more) is None


def test_where_another_finding_explains_the_stall_it_is_information():
    nan = found(losses=FLAT, row={**TRAINS, "nonfinite_weight_step": 5})
    assert nan.severity == "info"


@pytest.mark.parametrize(("evaluated", "losses", "told"), [(10, FLAT, True), (9, FLAT, False), (20, FALLING, False)])
def test_it_is_why_a_training_stands_still(evaluated, losses, told):
    models = [ModelState(name="Net", steps=20, eval_steps=evaluated)]
    still = training([(parameter(), TRAINS)], sites=[NORMALISED], losses=losses, models=models)
    causes = [one.cause for one in diagnose(still).findings if one.rule == "standing-still"]
    assert (
        any(one.text.endswith("running mean and variance of batch normalisation do not change") for one in causes)
        == told
    )
