"""Untrained parameters: what each lacks, why, how severe that is, and whom nobody accuses."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.diagnosis import thresholds as limit
from rectifier.records import (
    AxisSource,
    Holder,
    ModelState,
    OptimizerState,
    Output,
    ParameterRef,
    UnitAxis,
    Unseen,
    WhyUnseen,
)
from tests.diagnosis.builders import FALLING, FLAT, NAN, site
from tests.diagnosis.parameter_records import ADAM, STILL, TRAINS, UNREACHED, ZERO, healthy, inputs, parameter, training
from tests.edge import diagnose, why

IDLE = OptimizerState(name="Adam", steps=0)
BIG = (50, 70)
"""Beside it, (5, 7) is one percent."""


def untrained(process):
    return [finding for finding in diagnose(process).findings if finding.rule == "untrained"]


def told(process):
    return [(why(one), one.severity, one.evidence.places) for one in untrained(process)]


def two(row, *, shape=(5, 7), other=TRAINS, path="odd.weight", **more):
    """A parameter in question, beside one of a hundred times as many numbers."""
    return training([(parameter("fc.weight", BIG), other), (parameter(path, shape), row)], **more)


def test_nobody_is_accused_where_all_train():
    assert untrained(two(TRAINS)) == []
    assert diagnose(two(TRAINS)).worst is None


def test_old_runs_without_parameters_have_no_such_finding():
    process = two(STILL)
    assert untrained(replace(process, snapshots=(replace(process.snapshots[0], parameters=None),))) == []


# No gradient --------------------------------------------------------------------------------------------------------


def test_a_loss_that_nothing_is_connected_to_is_a_cut_graph():
    (one,) = untrained(training([(parameter("a.weight"), UNREACHED), (parameter("a.bias", (5,)), UNREACHED)]))
    assert (one.severity, why(one), one.site, one.since) == ("serious", "graph_cut", None, 0)
    assert one.remedies == ("reconnect_graph",)
    assert one.title == "Net: 2 parameters never got a gradient"
    assert one.detail == (
        "No gradient arrived at any of the 50 sampled steps from step 0 to 199. The parameters hold 40 elements, 100% "
        "of all trainable ones. Nothing trains in this run."
    )
    assert one.cause.text == (
        "the loss is connected to nothing that an optimizer holds: detach, no_grad, item or argmax cuts the graph"
    )
    assert one.advice.startswith("Keep the path from the forward to the loss differentiable")
    assert one.evidence.everything


LEFT = {**STILL, "optimizer": -1}


@pytest.mark.parametrize(
    ("parameters", "losses", "severity"),
    [
        ([("body.weight", BIG, LEFT), ("head.weight", (5, 70), TRAINS)], FALLING, "info"),
        ([("body.weight", BIG, LEFT), ("head.weight", (5, 70), TRAINS)], FLAT, "warning"),
        ([("body.weight", BIG, TRAINS), ("head.weight", (20, 70), LEFT)], FALLING, "warning"),
        ([("a.weight", BIG, LEFT), ("a.lora", (5, 70), TRAINS), ("b.weight", BIG, LEFT)], FALLING, "info"),
        ([("a.weight", (20, 70), LEFT), ("b.weight", BIG, TRAINS), ("c.weight", (20, 70), LEFT)], FALLING, "warning"),
    ],
    ids=["body", "body, no progress", "head", "adapters", "two layers"],
)
def test_what_an_optimizer_was_not_given_may_be_meant(parameters, losses, severity):
    given = [(parameter(path, shape), row) for path, shape, row in parameters]
    (one,) = untrained(training(given, losses=losses, sites=[], windows=[]))
    assert (why(one), one.severity) == ("not_in_optimizer", severity)


@pytest.mark.parametrize(("norm", "severity"), [(1.0, "warning"), (1.05, "info")])
def test_weights_as_torch_drew_them_are_never_meant_to_stay(norm, severity):
    """Uniform within ±1/√70: 3,500 of them have a norm of √(3,500 / 210), to some per cent."""
    body = {**LEFT, "weight_first": norm * (3500 / 210) ** 0.5}
    given = [(parameter("body.weight", BIG), body), (parameter("head.weight", (5, 70)), TRAINS)]
    (one,) = untrained(training(given, sites=[], windows=[]))
    assert one.severity == severity


def test_a_list_of_layers_is_never_meant():
    plain = replace(parameter("body.weight", BIG), holder="container")
    (one,) = untrained(training([(plain, LEFT), (parameter("head.weight", (5, 70)), TRAINS)], sites=[], windows=[]))
    assert (why(one), one.severity) == ("not_registered", "warning")


def test_an_optimizer_that_was_made_for_another_model_is_said_to_be():
    """The loss leads to a copy, whose parameters no optimizer holds: nothing cuts its graph."""
    copy = (parameter("a.weight", model="Copy"), {**STILL, "optimizer": -1})
    found = untrained(training([(parameter("a.weight"), UNREACHED), copy]))
    assert {(one.evidence.model, why(one), one.severity) for one in found} == {
        ("Net", "not_in_optimizer", "serious"), ("Copy", "not_in_optimizer", "serious"),
    }  # fmt: skip
    assert all(one.remedies == ("add_to_optimizer",) for one in found)
    (of_old,) = (one for one in found if one.evidence.model == "Net")
    assert of_old.cause.text.startswith("the optimizer holds these parameters, but the loss depends on others")


@pytest.mark.parametrize(
    ("fed_by", "cause", "severity"), [("odd.weight", "graph_cut", "warning"), (None, "unknown", "info")]
)
def test_a_layer_that_is_known_to_run_and_gets_none_is_cut_off(fed_by, cause, severity):
    (one,) = untrained(two(UNREACHED, sites=[replace(site("act"), fed_by=fed_by)]))
    assert (why(one), one.severity, one.site) == (cause, severity, ParameterRef("odd.weight"))
    assert one.cause.text == (
        "the forward uses them, but the loss is not connected to them: detach, no_grad, item or argmax cuts the graph"
        if fed_by
        else "cause unknown: the forward does not use them, or the loss is not connected to them"
    )


def test_an_activation_that_ran_without_a_graph_shows_that_the_graph_is_cut():
    axis = UnitAxis(axis=None, ndim=2, source=AxisSource.NO_HISTORY)
    (one,) = untrained(two(UNREACHED, sites=[replace(site("act"), unit_axis=axis, units=None)]))
    assert why(one) == "graph_cut"


@pytest.mark.parametrize(("shape", "severity"), [((388,), "info"), ((389,), "warning")])
def test_unused_parts_matter_from_a_tenth_of_all_numbers_on(shape, severity):
    (one,) = untrained(two(UNREACHED, shape=shape))
    assert (one.evidence.elements_fraction >= limit.UNTRAINED_SHARE) == (severity == "warning")
    assert (why(one), one.severity) == ("unknown", severity)


def test_a_small_unused_part_does_not_explain_a_stall():
    (one,) = untrained(two(UNREACHED, losses=FLAT))
    assert (one.severity, one.remedies) == ("info", ())


@pytest.mark.parametrize(("losses", "severity"), [(FALLING, "info"), (FLAT, "warning")])
def test_what_no_optimizer_holds_and_no_loss_asks_for_is_a_part_that_rests(losses, severity):
    (one,) = untrained(two({**UNREACHED, "optimizer": -1}, shape=BIG, losses=losses))
    assert (why(one), one.severity) == ("unknown", severity)
    assert one.cause.text.endswith("no optimizer holds them and no loss was connected to them, which may be intended")


@pytest.mark.parametrize(
    "known",
    [
        {"looked": 2, "without_gradient": 2},
        {"last_looked": 28},
        {"without_gradient": 49, "last_nonzero": 3, "last_changed": 198},
        {"last_changed": 12},
        {"connected": 1},
        {"looked": 0, "without_gradient": 0, "first_looked": -1, "last_looked": -1},
    ],
    ids=["rarely", "briefly", "once", "changed otherwise", "connected", "never looked at"],
)
def test_no_gradient_is_not_said_of(known):
    assert untrained(two({**UNREACHED, **known})) == []


def test_thirty_steps_and_three_looks_are_enough():
    known = {"looked": 3, "without_gradient": 3, "first_looked": 10, "last_looked": 39}
    (one,) = untrained(two({**UNREACHED, **known}))
    assert one.detail.startswith("No gradient arrived at any of the 3 sampled steps from step 10 to 39.")


def test_nan_is_no_missing_gradient():
    assert untrained(two({**TRAINS, "nonfinite_step": 3, "gradient": NAN})) == []


@pytest.mark.parametrize("changed", [-1, 150], ids=["kept", "averaged"])
def test_target_networks_and_teachers_beside_a_training_are_nobodys_business(changed):
    row = {**UNREACHED, "optimizer": -1, "last_changed": changed}
    target = [(parameter(path, BIG, model="Target"), row) for path in ("a.weight", "b.weight")]
    assert untrained(training([(parameter(), TRAINS), *target])) == []
    (one,) = untrained(training([(parameter(), STILL), *target]))
    assert one.evidence.model == "Net"
    # Alone it is what the training is about.
    assert bool(untrained(training(target))) == (changed < 0)


# A gradient of exactly 0 --------------------------------------------------------------------------------------------


def test_a_gradient_of_exactly_zero_has_its_cause_behind():
    (one,) = untrained(two(ZERO))
    assert (one.severity, why(one), one.site) == ("warning", "downstream_constant", ParameterRef("odd.weight"))
    assert one.remedies == ("change_objective", "reconnect_graph")
    assert one.title == "odd.weight: 1 parameter got only zero gradients"
    assert one.detail.startswith(
        "The gradient was exactly 0 at each of the 50 sampled steps from step 0 to 199, while the loss was not 0. The "
        "parameter holds 35 elements, 0.99%"
    )
    assert one.cause.text.startswith("the loss depends on them only through something constant")
    assert one.advice.startswith("Check how the loss uses their output")


def test_a_single_small_part_of_a_module_is_information():
    rows = [(parameter("fc.weight", BIG), TRAINS), (parameter("fc.bias", (50,)), ZERO)]
    assert told(training(rows)) == [("downstream_constant", "info", ("fc.bias",))]
    assert told(training(rows, losses=FLAT)) == [("downstream_constant", "warning", ("fc.bias",))]


@pytest.mark.parametrize(("first", "cause"), [(True, "graph_cut"), (False, "unknown")])
def test_where_the_first_weights_get_no_gradient_the_graph_is_cut(first, cause):
    """What comes later may be a head that nobody uses."""
    rows = [(parameter("odd.weight", BIG), UNREACHED), (parameter("fc.weight", BIG), TRAINS)]
    (one,) = untrained(training(rows if first else rows[::-1], sites=[], windows=[]))
    assert why(one) == cause
    if first:
        assert one.cause.text.startswith("the loss is not connected to the first weights of the model: detach")
        assert one.cause.text.endswith("or the forward does not use them"), "nobody has seen it run"
        assert one.advice.startswith("Check that the forward uses these parameters")
        assert one.remedies == ("reconnect_graph",)


def test_a_layer_that_was_replaced_and_that_the_optimizer_still_holds_is_no_cut_graph():
    rows = [(parameter("fc.weight", BIG), TRAINS), (parameter("weight", BIG, model="Linear"), UNREACHED)]
    found = untrained(training(rows, sites=[], windows=[]))
    assert "graph_cut" not in [why(one) for one in found]


def test_an_operation_with_a_derivative_of_zero_is_named():
    head = Output(model="Net", weight="fc.weight", operation="Addmm", units=1, flat=("Sign", "Round"))
    (one,) = untrained(replace(two(ZERO), outputs=(head,)))
    assert one.cause.text == "torch.sign and torch.round have derivatives of 0, so no gradient reaches these parameters"
    assert one.remedies == ("reconnect_graph", "change_activation")
    (one,) = untrained(replace(two(ZERO), outputs=(replace(head, model="Other"),)))
    assert "sign" not in one.cause.text


def test_a_custom_function_between_is_named():
    quantised = (Unseen(what="Quantise", why=WhyUnseen.CUSTOM), Unseen(what="x * (x > 0)", why=WhyUnseen.HAND_WRITTEN))
    (one,) = untrained(replace(two(ZERO), unseen=quantised))
    assert why(one) == "downstream_constant"
    assert one.cause.text.startswith("the custom autograd function Quantise may return zeros from backward()")
    assert one.advice.startswith("Check what the backward() of Quantise returns")
    (one,) = untrained(replace(two(ZERO), unseen=quantised[1:]))
    assert "Quantise" not in one.cause.text + one.advice


def test_a_branch_that_is_scaled_to_zero_is_information_while_the_training_goes_on():
    sites = [replace(site("act"), fed_by="fc.weight"), replace(site("gate"), fed_by="odd.weight")]
    windows = [healthy(), healthy(1, delta=0.0)]
    for losses, severity in ((FALLING, "info"), (FLAT, "warning")):
        assert told(two(ZERO, sites=sites, windows=windows, losses=losses, shape=BIG)) == [
            ("downstream_constant", severity, ("odd.weight",))
        ]


def test_a_branch_behind_an_operation_without_a_derivative_is_no_information():
    sites = [replace(site("act"), fed_by="fc.weight"), replace(site("gate"), fed_by="odd.weight")]
    windows = [healthy(), healthy(1, delta=0.0)]
    head = Output(model="Net", weight="fc.weight", operation="Addmm", units=1, flat=("Round",))
    branch = replace(two(ZERO, sites=sites, windows=windows, losses=FALLING, shape=BIG), outputs=(head,))
    assert told(branch) == [("downstream_constant", "warning", ("odd.weight",))]


@pytest.mark.parametrize("losses", [[0.0] * 200, None], ids=["satisfied", "unknown"])
def test_a_loss_of_zero_teaches_nothing_and_rightly(losses):
    assert untrained(two(ZERO, losses=losses)) == []


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({"zero_gradient": 49, "last_nonzero": 7}, False),
        ({"zero_gradient": 30, "without_gradient": 20}, True),
        ({"last_changed": 198}, False),
        ({"last_changed": 198, "weight_decay": 0.1, "weight_last": 0.5}, True),
        ({"last_changed": 198, "weight_decay": 0.1, "weight_last": 1.5}, False),
        ({"last_changed": 198, "weight_decay": 0.1, "weight_last": 0.5, "optimizer": -1}, False),
    ],
    ids=["once not", "or none", "something moves it", "decay moves it", "decay does not grow", "nobody decays it"],
)
def test_a_zero_gradient_at_every_look_and_nothing_but_decay(known, said):
    assert bool(untrained(two({**ZERO, **known}))) == said


def test_weights_of_exactly_zero_at_the_start_are_named_with_what_they_block():
    rows = [
        (parameter("mix.norm.weight", (7,)), ZERO),
        (parameter("mix.gate.weight"), {**ZERO, "weight_first": 0.0, "weight_last": 0.0}),
        (parameter("mix.gate.bias", (5,)), {**ZERO, "weight_first": 0.0, "weight_last": 0.0}),
        (parameter("later.weight"), ZERO),
        (parameter("fc.weight", BIG), TRAINS),
    ]
    one, other = untrained(training(rows))
    assert (why(one), one.severity, one.evidence.places) == ("initial_weights", "warning", ("mix",))
    assert (one.remedies, one.command) == (("init_random",), "torch.nn.init.normal_(layer.weight, std=0.02)")
    assert one.cause.text == "these weights were exactly 0 at the start and pass no gradient: mix.gate.weight"
    assert (why(other), other.evidence.places) == ("downstream_constant", ("later.weight",))


def test_a_bias_of_zero_is_how_biases_begin():
    assert told(two({**ZERO, "weight_first": 0.0, "weight_last": 0.0}, shape=(5,), path="odd.bias")) == [
        ("downstream_constant", "warning", ("odd.bias",))
    ]


def test_inputs_of_zero_are_the_cause():
    (one,) = untrained(two(ZERO, inputs=inputs(zero=True)))
    assert (why(one), one.remedies, one.cause.text) == ("input_constant", ("check_inputs",), "every input was 0")


def dead(index):
    return healthy(index, fired=(0,) * 5, silent=4000, distinct=4000, delta=0.0)


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("odd.weight", "upstream"),
        ("dead.bias", "upstream"),
        ("zz.weight", "upstream"),
        ("zz.bias", "downstream_constant"),
    ],
)
def test_below_a_dead_layer_its_own_finding_says_why(path, cause):
    rows = [
        (parameter("odd.weight"), ZERO if path == "odd.weight" else TRAINS),
        (parameter("dead.weight"), TRAINS),
        (parameter("dead.bias", (5,)), ZERO if path == "dead.bias" else TRAINS),
        (parameter("zz.weight"), ZERO if path == "zz.weight" else TRAINS),
        (parameter("zz.bias", (5,)), ZERO if path == "zz.bias" else TRAINS),
        (parameter("fc.weight", BIG), TRAINS),
    ]
    sites = [replace(site("first"), fed_by="dead.weight"), replace(site("last"), fed_by="zz.weight")]
    diagnosis = diagnose(training(rows, sites=sites, windows=[dead(0), healthy(1)]))
    (one,) = [finding for finding in diagnosis.findings if finding.rule == "untrained"]
    assert (why(one), one.severity) == (cause, "info")
    dead_units = next(finding for finding in diagnosis.findings if finding.rule == "dead-units")
    assert why(dead_units) == "born dead", "its own words stand"


def test_a_layer_that_is_saturated_as_a_whole_passes_nothing_either():
    sites = [replace(site("act", activation="tanh"), fed_by="fc.weight")]
    rows = [(parameter("a.weight"), ZERO), (parameter("fc.weight"), ZERO), (parameter("z.weight", BIG), TRAINS)]
    windows = [healthy(saturated=np.full(5, 4000), delta=0.0)]
    assert told(training(rows, sites=sites, windows=windows)) == [("upstream", "info", ("a.weight", "fc.weight"))]
    # Where nobody knows what feeds it, everything may lie below.
    unknown = [replace(sites[0], fed_by=None)]
    assert why(untrained(training(rows, sites=unknown, windows=windows))[0]) == "upstream"


# A gradient came, and nothing changed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holder", "known", "optimizers", "cause", "remedy", "line"),
    [
        (Holder.CONTAINER, {"optimizer": -1}, (ADAM,), "not_registered", "register_parameters",
         "self.layers = torch.nn.ModuleList(layers)"),
        (Holder.NONE, {"optimizer": -1}, (ADAM,), "not_registered", "register_parameters",
         "self.layers = torch.nn.ModuleList(layers)"),
        (Holder.MODULE, {"optimizer": -1}, (ADAM,), "not_in_optimizer", "add_to_optimizer",
         "optimizer = torch.optim.Adam(model.parameters())"),
        (Holder.CONTAINER, {"optimizer": 1}, (ADAM, IDLE), "optimizer_not_stepped", "step_optimizer",
         "optimizer.step()"),
        (Holder.MODULE, {"optimizer": 1}, (ADAM, IDLE), "optimizer_not_stepped", "step_optimizer", "optimizer.step()"),
        (Holder.MODULE, {"learning_rate": 0.0}, (ADAM,), "learning_rate_zero", "raise_learning_rate", None),
        (Holder.MODULE, {"learning_rate": 1e-12}, (ADAM,), "learning_rate_zero", "raise_learning_rate", None),
        (Holder.MODULE, {"learning_rate": 1.1e-12}, (ADAM,), "learning_rate_low", "raise_learning_rate", None),
        (Holder.MODULE, {"learning_rate": NAN}, (ADAM,), "unknown", None, None),
    ],
)  # fmt: skip
def test_why_nothing_changes_although_gradients_come(holder, known, optimizers, cause, remedy, line):
    rows = [(parameter("fc.weight", BIG), TRAINS), (parameter("odd.weight", BIG, holder=holder), {**STILL, **known})]
    (one,) = untrained(training(rows, optimizers=optimizers))
    assert (why(one), one.severity, one.command) == (cause, "warning", line)
    assert one.remedies[:1] == (() if remedy is None else (remedy,))
    assert one.title == "odd.weight: 1 parameter never changed, although gradients arrived"
    assert one.detail.startswith(
        "Gradients arrived, but no value changed from step 0 to 198. The parameter holds 3,500 elements"
    )
    assert not one.evidence.everything


@pytest.mark.parametrize(("rate", "cause"), [(0.01, "upstream"), (0.0099, "learning_rate_low")])
def test_where_others_change_at_that_rate_it_is_the_gradient_that_is_too_small(rate, cause):
    (one,) = untrained(two({**STILL, "learning_rate": rate}, shape=BIG, losses=FLAT))
    assert (why(one), one.severity) == (cause, "info" if cause == "upstream" else "warning")
    if cause == "upstream":
        assert one.cause.text == (
            "other parameters change at the learning rate of 0.01, but these gradients vanish: they are too small "
            "to change any value"
        )


STEPPED = OptimizerState(name="Own", steps=50, used=10)


@pytest.mark.parametrize(
    ("known", "optimizer", "cause"),
    [
        ({}, STEPPED, "optimizer_not_stepped"),
        # 100 times what float32 rounds away of a norm of 1: 3e-6. The gradient is 0.1.
        ({"learning_rate": 2.9e-5}, STEPPED, "learning_rate_low"),
        ({"learning_rate": 3e-5}, STEPPED, "optimizer_not_stepped"),
        # Cleared before the step, or nobody looked.
        ({}, replace(STEPPED, zeros=10), "gradient_accumulation"),
        ({}, replace(STEPPED, used=0), "learning_rate_low"),
    ],
)
def test_steps_that_change_nothing_although_they_are_no_rounding_error(known, optimizer, cause):
    row = {**STILL, "learning_rate": 0.01, **known}
    weight = replace(parameter(shape=BIG), dtype="float32")
    (one,) = untrained(training([(weight, row)], optimizers=(optimizer,), losses=FLAT))
    assert why(one) == cause
    if cause == "optimizer_not_stepped":
        assert one.cause.text.startswith("Own.step() ran at 50 sampled steps and changed none of these parameters")
        assert one.remedies == ("step_optimizer",)
        assert one.advice.startswith("In Own.step(), update the parameters in place")


def test_what_was_replaced_and_is_still_in_the_optimizer_has_that_cause():
    head, former = parameter("fc.weight", BIG), parameter("", BIG, holder=Holder.NONE)
    body = (parameter("body.weight", BIG), TRAINS)
    rows = [body, (head, {**STILL, "optimizer": -1}), (former, UNREACHED)]
    causes = [why(one) for one in untrained(training(rows, losses=FLAT))]
    assert causes == ["not_in_optimizer", "not_in_optimizer"]
    assert [why(one) for one in untrained(training([body, rows[2]], losses=FLAT))] == ["unknown"]


def test_the_words_of_each_reason():
    def words(known, optimizers=(ADAM,), holder=Holder.MODULE):
        row = {**STILL, **known}
        rows = [(parameter("fc.weight", BIG), TRAINS), (parameter("odd.weight", BIG, holder=holder), row)]
        return untrained(training(rows, optimizers=optimizers))[0].cause.text

    assert words({"optimizer": -1}) == "no optimizer holds them"
    assert words({"optimizer": -1}, holder=Holder.CONTAINER) == (
        "a plain list, tuple or dictionary holds them, so model.parameters() does not list them and no optimizer has "
        "them"
    )
    assert words({"optimizer": 1}, (ADAM, IDLE)) == "Adam.step() was never called in 200 backward passes"
    assert words({"learning_rate": 0.0}) == "the learning rate is 0: at this rate nothing moves"
    assert words({"learning_rate": 1e-9}) == (
        "a learning rate of 1e-09 makes updates too small for the number format: they are rounded away"
    )


@pytest.mark.parametrize(("optimizers", "optimizer"), [((IDLE,), 0), ((), -1)])
def test_no_step_at_all_is_serious_and_counted_in_backward_passes(optimizers, optimizer):
    row = {**STILL, "optimizer": optimizer, "last_compared": 0, "last_looked": 0}
    rows = [(parameter("a.weight"), row), (parameter("b.weight"), row)]
    (one,) = untrained(training(rows, optimizers=optimizers, steps=0, passes=100))
    assert (one.severity, why(one), one.command) == ("serious", "optimizer_not_stepped", "optimizer.step()")
    assert one.detail.startswith(
        "Gradients arrived, but no value changed in 100 backward passes. The parameters hold 70 elements"
    )
    assert "100 backward passes" in one.cause.text
    assert untrained(training(rows, optimizers=optimizers, steps=0, passes=59)) == [], "it may accumulate"


@pytest.mark.parametrize(("last", "said"), [(59, False), (60, True)])
def test_where_backward_passes_are_counted_as_steps_sixty_are_needed(last, said):
    row = {**STILL, "last_compared": last}
    found = untrained(training([(parameter(), row)], optimizers=(IDLE,), steps=0, passes=9))
    assert [one.cause.text for one in found] == ["Adam.step() was never called in 60 backward passes"] * said


@pytest.mark.parametrize(
    "known",
    [
        {"last_compared": 29},
        {"first_compared": -1, "last_compared": -1},
        {"zero_gradient": 48},
        {"optimizer": 1},
    ],
    ids=["briefly", "never compared", "hardly any gradient", "a scaler leaves the steps out"],
)
def test_that_nothing_changes_is_not_said_of(known):
    scaled = OptimizerState(name="Adam", steps=0, skipped=40)
    assert untrained(two({**STILL, **known}, optimizers=(ADAM, scaled))) == []


def test_thirty_steps_without_a_change_are_enough():
    (one,) = untrained(two({**STILL, "first_compared": 4, "last_compared": 34}))
    assert one.severity == "info"
    assert one.detail.startswith("Gradients arrived, but no value changed from step 4 to 34.")


def test_a_scaler_that_works_as_meant_hides_nothing():
    scaled = OptimizerState(name="Adam", steps=190, skipped=10)
    assert why(untrained(two(STILL, optimizers=(scaled,)))[0]) == "learning_rate_low"


def test_a_network_in_eval_mode_that_only_judges_is_meant_to_stay():
    judge = [(parameter(f"{n}.weight", BIG, model="Judge"), {**STILL, "optimizer": -1}) for n in range(2)]
    rows = [(parameter(), TRAINS), *judge]
    assert told(training(rows)) == [("not_in_optimizer", "warning", ("",))]
    for steps, evaluated, severity in ((50, 50, "info"), (50, 49, "warning"), (0, 0, "warning")):
        mode = ModelState(name="Judge", steps=steps, eval_steps=evaluated)
        assert untrained(training(rows, models=[mode]))[0].severity == severity


def test_tensors_of_the_scripts_own_that_no_optimizer_holds_are_inputs():
    own = parameter("", BIG, model="", holder=Holder.NONE)
    for row in (STILL, ZERO, UNREACHED):
        assert untrained(training([(parameter(), TRAINS), (own, {**row, "optimizer": -1})])) == []
    (one,) = untrained(training([(parameter(), TRAINS), (own, STILL)]))
    assert one.title.startswith("tensors that no module holds: 1 parameter never changed")
    assert one.site is None


# Stopped ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("losses", "severity"), [(FALLING, "info"), (FLAT, "warning")])
def test_a_schedule_that_ended_at_zero_is_told_with_its_step(losses, severity):
    row = {**TRAINS, "last_changed": 64, "learning_rate": 0.0}
    (one,) = untrained(training([(parameter(), row)], losses=losses))
    assert (why(one), one.severity, one.since) == ("learning_rate_zero", severity, 64)
    assert one.title == "fc.weight: 1 parameter stopped changing"
    assert one.detail.startswith(
        "The last change was before step 64. From there to step 198 no value changed, although gradients arrived."
    )
    assert one.cause.text == "the learning rate is 0: a schedule set it"
    assert one.remedies == (("mend_schedule", "raise_learning_rate") if severity == "warning" else ())
    assert not one.evidence.everything


@pytest.mark.parametrize(
    "known",
    [
        {"last_changed": 169},
        {"learning_rate": 1e-5},
        {"learning_rate": NAN},
        {"last_nonzero": 40},
    ],
    ids=["briefly", "a rate is left", "rate unknown", "no gradient came since"],
)
def test_a_training_is_not_said_to_have_stopped(known):
    """Looks at gradients end long before the last comparison where steps are sampled ever more rarely."""
    sampled = {"last_looked": 8, "last_nonzero": 8}
    assert untrained(training([(parameter(), {**TRAINS, "last_changed": 64, "learning_rate": 0.0, **sampled})]))
    assert untrained(training([(parameter(), {**TRAINS, "last_changed": 64, "learning_rate": 0.0, **known})])) == []


# Frozen -------------------------------------------------------------------------------------------------------------


def test_frozen_parameters_are_a_label_and_no_part_of_the_share():
    frozen = parameter("body.weight", (500, 70), requires_grad=False)
    row = {**UNREACHED, "optimizer": -1}
    diagnosis = diagnose(training([(frozen, row), (parameter(), TRAINS)]))
    (one,) = diagnosis.findings
    assert (one.rule, one.severity, why(one)) == ("frozen", "info", "frozen")
    assert (one.title, one.detail) == (
        "1 parameter is frozen", "1 parameter has requires_grad=False (35,000 elements): body.weight."
    )  # fmt: skip
    (other,) = untrained(training([(frozen, row), (parameter(), STILL)]))
    assert other.evidence.elements_fraction == 1.0
    assert other.severity == "serious"


def test_what_was_frozen_when_it_was_met_and_trains_now_is_not():
    thawed = parameter(requires_grad=False)
    assert diagnose(training([(thawed, TRAINS)])).findings == ()
    assert why(untrained(training([(thawed, STILL)]))[0]) == "learning_rate_low"


def test_layers_without_update_are_left_to_the_finding_about_their_parameters():
    process = training([(parameter(), STILL)], windows=[healthy(update=0.0)])
    assert [finding.rule for finding in diagnose(process).findings] == ["untrained"]


# What they explain --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [STILL, UNREACHED], ids=["still", "unreached"])
def test_units_of_a_layer_that_does_not_train_are_not_called_born_dead(row):
    rows = [(parameter("fc.weight"), row), (parameter("z.weight", BIG), TRAINS)]
    sites = [replace(site("act"), fed_by="fc.weight"), replace(site("last"), fed_by="z.weight")]
    diagnosis = diagnose(training(rows, sites=sites, windows=[dead(0), healthy(1)], losses=FLAT))
    (one,) = [finding for finding in diagnosis.findings if finding.rule == "dead-units"]
    assert (one.severity, why(one), one.remedies, one.fixes) == ("info", "upstream", (), ())
    assert one.cause.text == "follows from the finding untrained"
    assert one.advice == "Fix that finding first."
    assert one.numbers["explained_by"] == "untrained"


def test_units_of_another_layer_keep_their_cause():
    rows = [(parameter("fc.weight"), STILL), (parameter("z.weight", BIG), TRAINS)]
    sites = [replace(site("act"), fed_by="fc.weight"), replace(site("last"), fed_by="z.weight")]
    diagnosis = diagnose(training(rows, sites=sites, windows=[healthy(0), dead(1)], losses=FLAT))
    assert [why(one) for one in diagnosis.findings if one.rule == "dead-units"] == ["born dead"]


@pytest.mark.parametrize(("share", "alone"), [(0.6, True), (0.4, False)])
def test_where_most_of_a_model_does_not_train_nothing_else_is_an_alarm(share, alone):
    still, trains = int(1000 * share), 1000 - int(1000 * share)
    rows = [(parameter("a.weight", (still,)), STILL), (parameter("b.weight", (trains,)), TRAINS)]
    sites = [replace(site(name), fed_by=None) for name in ("one", "two")]
    windows = [healthy(0, delta=1e-9, update=1e-9), healthy(1)]
    diagnosis = diagnose(training(rows, sites=sites, windows=windows, losses=FLAT))
    alarms = [finding.rule for finding in diagnosis.findings if finding.severity != "info"]
    assert ("vanishing-gradient" not in alarms) == alone
    assert "untrained" in alarms


def test_a_training_that_only_stopped_explains_nothing():
    row = {**TRAINS, "last_changed": 64, "learning_rate": 0.0}
    diagnosis = diagnose(training([(parameter(), row)], windows=[dead(0)], losses=FLAT))
    assert "born dead" in [why(one) for one in diagnosis.findings if one.rule == "dead-units"]


# Laws ---------------------------------------------------------------------------------------------------------------

ROWS = st.sampled_from([TRAINS, STILL, ZERO, UNREACHED])
LOOKS = st.fixed_dictionaries(
    {
        "looked": st.integers(0, 60), "first_looked": st.integers(-1, 90), "last_looked": st.integers(-1, 199),
        "last_compared": st.integers(-1, 198), "optimizer": st.integers(-1, 1),
        "learning_rate": st.sampled_from([0.0, 1e-9, 0.1, NAN]), "connected": st.integers(0, 2),
        "last_changed": st.sampled_from([-1, 5, 150]), "nonfinite_step": st.sampled_from([-1, 9]),
    }
)  # fmt: skip


@given(
    st.lists(st.tuples(ROWS, LOOKS, st.sampled_from(list(Holder)), st.booleans()), max_size=6),
    st.sampled_from([FLAT, FALLING]),
)
def test_any_records_are_judged_and_every_parameter_is_told_once_at_most(found, losses):
    rows = [
        (parameter(f"m{n}.weight", (n + 1, 3), holder=holder, requires_grad=asked), {**row, **looks})
        for n, (row, looks, holder, asked) in enumerate(found)
    ]
    findings = untrained(training(rows, losses=losses, optimizers=(ADAM, IDLE)))
    named = [path for one in findings for path in one.evidence.places]
    assert sum(one.evidence.parameters for one in findings) <= len(rows)
    assert len(named) == len(set(named))
    for one in findings:
        assert one.title
        assert one.detail
        assert one.cause.text
        assert 0 < one.evidence.elements_fraction <= 1
        assert (one.severity == "info") or one.remedies or why(one) == "unknown"
    # What is frozen and changes never is accused by nobody.
    assert (
        not {p.path for p, _ in rows if not p.requires_grad}
        & {p.path for p, row in rows if row["last_changed"] < 0 and row["last_nonzero"] < 0}
        & set(named)
    )


@given(st.sets(st.sampled_from([f"{a}.{b}.{c}" for a in "ab" for b in "01" for c in ("weight", "bias")])))
def test_places_say_exactly_which_parameters_are_meant(meant):
    from rectifier.diagnosis.training.history.places import compact

    everyone = [f"{a}.{b}.{c}" for a in "ab" for b in "01" for c in ("weight", "bias")]
    places = compact(meant, everyone)
    under = {path for path in everyone for place in places if place in ("", path) or path.startswith(f"{place}.")}
    assert under == meant
    assert len(places) <= len(meant)


def test_long_lists_are_cut_short():
    rows = [(parameter(f"l{n}.weight"), STILL if n % 2 else TRAINS) for n in range(20)]
    (one,) = untrained(training(rows))
    assert one.title.startswith("l1.weight, l3.weight, l5.weight, l7.weight, l9.weight, l11.weight and 4 more: 10 ")
    assert one.numbers["places"] == 10
