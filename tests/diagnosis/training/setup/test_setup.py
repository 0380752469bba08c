"""What is set up wrongly around a network: each flaw at its threshold, beside a training that is well."""

from dataclasses import replace

import numpy as np
import pytest

from rectifier.diagnosis.training.history.outputs import read_outputs
from rectifier.diagnosis.training.output.explained import explained
from rectifier.records import NORM_BEFORE_CLIPPING, CauseKind, OptimizerState, Rule, Series
from tests.diagnosis.builders import (
    FALLING,
    FLAT,
    NAN,
    counts,
    inputs,
    output,
    parameter,
    process,
    readings,
    site,
    snapshot,
    window,
)
from tests.edge import diagnose

LEARNS = np.geomspace(1.4, 0.1, 20)
"""What a model costs that learns."""
STAYS = np.full(20, 1.0)
STEPS = np.arange(200)


def run(
    cost=LEARNS, *, loss=("MseLoss",), losses=None, units=1, known=None, parameters=1, more=None, sites=1, update=1e-3,
    **read,
):  # fmt: skip
    """A training of one model with one output; its targets have a variance of about 1.

    Args:
        cost: What it costs at each reading, every ten steps.
        loss: Operations of its loss.
        losses: What is back-propagated; the cost itself where None.
        units: Of the output.
        known: Replaces columns of what is known of the parameters.
        parameters: How many.
        more: Replaces parts of the snapshot.
        sites: Activations.
        update: Of the weight of each, relative, at each step.
        read: Of the readings.
    """
    cost = np.asarray(cost, float)
    every = {"spread": np.geomspace(1e-3, 0.9, len(cost)), "target": 1.0, "features": 1.0} | read
    shares = {name: np.broadcast_to(every.pop(name), len(cost)) for name in list(every) if name in _OPTIONAL}
    found = replace(readings(every.pop("spread"), **every), cost=cost, **shares)
    steps = np.arange(len(cost) * 10)
    if losses is None:
        losses = np.interp(steps, found.steps, cost)
    windows = [window(at, steps=range(0, len(steps), 4), delta=0.1, update=update) for at in range(sites)]
    end = replace(
        snapshot(windows, losses=losses, step=len(steps) - 1, input_rms=1.0, input_offset=0.1), **(more or {})
    )
    # SGD's steps are learning rate times gradient.
    row = replace(counts(parameters, gradient=np.maximum(update, 1e-9) / 0.01), **(known or {}))
    end = replace(end, outputs=(found,), parameters=row)
    return process(
        [site(f"act{at}") for at in range(sites)], end, outputs=(output(units=units, loss=loss, linear=not sites),),
        parameters=tuple(parameter(f"layers.{at}.weight") for at in range(parameters)),
    )  # fmt: skip


_OPTIONAL = {
    "target_square", "pooled_entropy", "class_overlap", "share_entropy", "unit_entropy", "target_entropy",
    "targets_out_of_reach",
}  # fmt: skip
CLASSES = {"loss": ("NllLoss", "LogSoftmax"), "units": 4, "classes": 4, "entropy": 1.38, "pooled_entropy": 1.386,
           "target": np.nan}  # fmt: skip


def alarms(training):
    return [(one.rule, one.cause.kind) for one in diagnose(training).findings if one.severity != "info"]


def setup(training):
    return next((one for one in diagnose(training).findings if one.rule is Rule.TRAINING_SETUP), None)


@pytest.mark.parametrize("options", [{}, CLASSES, {"loss": ("Add", "MseLoss")}])
def test_a_training_that_is_well_is_left_alone(options):
    assert alarms(run(**options)) == []


@pytest.mark.parametrize("before", ["Softmax", "Sigmoid"])
@pytest.mark.parametrize("between", [(), ("View",)])
def test_shares_in_the_place_of_logits_are_told_whatever_is_learned(before, between):
    told = setup(run(**CLASSES | {"loss": ("NllLoss", "LogSoftmax", *between, before)}))
    assert (told.severity, told.cause.kind) == ("warning", CauseKind.OUTPUT_ACTIVATION)
    assert told.cause.text == f"{before} before LogSoftmax, which expects logits"


@pytest.mark.parametrize(("cost", "found"), [(LEARNS, False), (np.geomspace(1.4, 0.8, 20), True)])
def test_a_bounded_side_before_the_loss_is_told_of_a_model_that_learned_little(cost, found):
    assert (setup(run(cost, **CLASSES | {"loss": ("NllLoss", "LogSoftmax", "Relu")})) is not None) == found


def test_silent_logits_behind_a_relu_are_told_whatever_is_learned():
    training = run(**CLASSES | {"loss": ("NllLoss", "LogSoftmax", "Relu")})
    (end,) = training.snapshots
    silent = window(0, steps=range(0, 200, 4), fired=(9, 9, 0, 9), distinct=5000, delta=0.1)
    training = replace(
        training,
        sites=(replace(site("act0", units=4), fed_by="head.weight"),), feeds=(),
        snapshots=(replace(end, windows=(silent,)),),
    )  # fmt: skip
    assert (Rule.TRAINING_SETUP, CauseKind.OUTPUT_ACTIVATION) in alarms(training)


@pytest.mark.parametrize(
    ("operation", "kind", "words"),
    [("Softmax", CauseKind.OUTPUT_ACTIVATION, "a softmax over a single element"),
     ("NativeLayerNorm", CauseKind.NORMALISATION, "a normalisation over a single element"),
     ("NativeGroupNorm", CauseKind.NORMALISATION, "a normalisation over a single element")],
)  # fmt: skip
def test_an_operation_over_one_element_is_told_where_every_output_passes_it(operation, kind, words):
    training = run(STAYS, loss=("MseLoss", operation, "OneElement"), target=np.nan)
    told = setup(training)
    assert (told.cause.kind, words in told.cause.text) == (kind, True)
    assert told.title == "Net: an operation over a single element gives a constant"
    other = replace(training.snapshots[0].outputs[0], output=1)
    beside = replace(training, outputs=(*training.outputs, output(units=2, loss=("MseLoss",))))
    beside = replace(beside, snapshots=(replace(beside.snapshots[0], outputs=(*beside.snapshots[0].outputs, other)),))
    assert setup(beside) is None


def test_a_normalisation_over_one_element_that_leads_to_an_output_is_told():
    def with_one(training, **window_):
        (end,) = training.snapshots
        end = replace(end, windows=(replace(end.windows[0], **window_),))
        outputs = tuple(replace(one, one_element=True) for one in training.outputs)
        return replace(training, outputs=outputs, snapshots=(end,))

    assert setup(with_one(run(np.geomspace(1.4, 0.02, 20)))).severity == "info", "the model learns well all the same"
    assert alarms(with_one(run(np.geomspace(1.4, 0.8, 20)))) == [(Rule.TRAINING_SETUP, CauseKind.NORMALISATION)]
    assert alarms(with_one(run(STAYS))) == [(Rule.STANDING_STILL, CauseKind.NORMALISATION)]
    # Samples that it makes alike are not laid to the initial weights.
    alike = {"square": np.full(50, 4.0), "spread": np.zeros(50)}
    assert (Rule.CONSTANT_PREDICTOR, CauseKind.NORMALISATION) in alarms(with_one(run(STAYS, losses=FLAT), **alike))


def test_rows_that_meet_the_targets_of_all_are_told():
    told = setup(run(loss=("Mean", "Mul", "Broadcast", "Pow"), target=np.nan))
    assert told.cause.kind is CauseKind.LOSS_SHAPE
    assert "Mul broadcasts the outputs over all targets" in told.cause.text


@pytest.mark.parametrize(
    ("loss", "losses", "found"),
    [(("Neg", "MseLoss"), -np.linspace(1, 9, 200), True), (("Neg", "Mul", "MseLoss"), -np.linspace(1, 9, 200), True),
     (("MseLoss",), -np.linspace(1, 9, 200), False), (("Neg", "Mean"), -np.linspace(1, 9, 200), False),
     (("Add", "Neg", "MseLoss"), -np.linspace(1, 9, 200), True), (("Neg", "MseLoss"), np.linspace(1, 9, 200), False)],
)  # fmt: skip
def test_a_loss_that_is_maximised_is_told(loss, losses, found):
    told = setup(run(np.linspace(1, 9, 20), loss=loss, losses=losses))
    assert (told is not None and told.cause.kind is CauseKind.OBJECTIVE) == found


def test_one_of_several_terms_may_be_meant_to_be_maximised():
    """As a critic of domains is, in a network that shall not be able to tell them apart."""
    training = run(np.linspace(1, 9, 20), loss=("Add", "Neg", "MseLoss"), losses=-np.linspace(1, 9, 200))
    (end,) = training.snapshots
    task = replace(end.outputs[0], output=1, cost=LEARNS)
    training = replace(
        training, outputs=(*training.outputs, output("task.weight", loss=("Add", "MseLoss"))),
        snapshots=(replace(end, outputs=(*end.outputs, task)),),
    )  # fmt: skip
    assert setup(training) is None


@pytest.mark.parametrize(("uses", "first", "found"), [(1, 1.0, True), (2, 1.0, False), (1, 0.4, False)])
def test_what_was_known_before_may_be_meant_to_be_forgotten(uses, first, found):
    """By a model that also learns with the same layer, or that began with answers far better than a constant's."""
    cost = np.linspace(first, 9, 20)
    training = run(
        cost, loss=("Add", "Neg", "MseLoss"), losses=-np.linspace(1, 9, 200), known={"uses": np.array([uses])}
    )
    head = replace(training.outputs[0], weight="layers.0.weight")
    assert (setup(replace(training, outputs=(head,))) is not None) == found


def test_of_two_models_one_may_be_meant_to_lose():
    training = run(np.linspace(1, 9, 20), loss=("Neg", "MseLoss"), losses=-np.linspace(1, 9, 200))
    (end,) = training.snapshots
    other = window(1, steps=range(0, 200, 4), delta=0.1, update=1e-3)
    training = replace(
        training, sites=(*training.sites, site("other", model="Other")),
        snapshots=(replace(end, windows=(*end.windows, other)),),
    )  # fmt: skip
    assert setup(training) is None


@pytest.mark.parametrize(("carried", "looks", "found"), [(9, 9, True), (9, 10, False), (2, 2, False), (0, 9, False)])
def test_gradients_that_nobody_clears_are_told(carried, looks, found):
    told = setup(run(known={"carried": carried, "carried_looks": looks}))
    assert (told is not None) == found
    if told is not None:
        assert told.cause.kind is CauseKind.GRADIENT_ACCUMULATION


@pytest.mark.parametrize(("without", "found"), [(9, True), (8, False)])
def test_gradients_that_are_cleared_before_the_step_are_told(without, found):
    optimizers = (OptimizerState(name="Adam", steps=9, without_gradients=without),)
    told = setup(run(known={"optimizers": optimizers}))
    assert (told is not None) == found


@pytest.mark.parametrize(("used", "zeros", "found"), [(3, 3, True), (3, 2, False), (2, 2, False), (0, 0, False)])
def test_gradients_that_are_set_to_zero_before_the_step_are_told(used, zeros, found):
    optimizers = (OptimizerState(name="Adam", steps=9, used=used, zeros=zeros),)
    training = run(STAYS, known={"optimizers": optimizers, "last_changed": np.array([-1])})
    assert ((Rule.UNTRAINED, CauseKind.GRADIENT_ACCUMULATION) in alarms(training)) == found


@pytest.mark.parametrize(
    ("idle", "last", "found"), [(94, 2, True), (50, 2, False), (94, 60, False), (99, -1, False), (0, 99, False)]
)
def test_an_optimizer_that_steps_without_gradients_is_told(idle, last, found):
    optimizer = OptimizerState(name="Adam", steps=99, without_gradients=idle)
    known = {"optimizers": (optimizer,), "last_nonzero": np.array([last]), "last_looked": np.array([199])}
    told = setup(run(known=known))
    assert (told is not None and "sampled steps of Adam, its parameters had no gradient" in told.cause.text) == found
    if found:
        assert (told.severity, told.cause.kind, told.remedies) == ("warning", "graph_cut", ("reconnect_graph",))


@pytest.mark.parametrize(("momentum", "found"), [(0.999, True), (0.994, False), (None, False)])
def test_a_momentum_that_adds_up_hundreds_of_steps_explains_weights_that_run_away(momentum, found):
    optimizer = OptimizerState(name="SGD", steps=99, momentum=momentum)
    known = {"optimizers": (optimizer,), "weight_last": np.array([500.0])}
    training = run(np.full(20, 9.0), losses=np.linspace(1, 9, 200), known=known)
    (told,) = [one for one in diagnose(training).findings if one.rule is Rule.WEIGHT_NORM]
    assert (told.cause.kind is CauseKind.OPTIMIZER_STATE) == found
    if found:
        assert "momentum of 0.999 adds up about 1,000 steps" in told.cause.text
        assert told.remedies == ("lower_learning_rate",)
    # It does no harm by itself.
    assert alarms(run(known={"optimizers": (optimizer,)})) == []


@pytest.mark.parametrize(
    ("name", "momentum", "update", "found"),
    [("SGD", None, 0.025e-2, True), ("SGD", None, 0.0255e-2, False), ("SGD", 0.9, 0.25e-2, True),
     ("SGD", 0.9, 0.255e-2, False), ("Adam", None, 1e-5, False)],
)  # fmt: skip
def test_steps_far_below_learning_rate_times_gradient_are_told(name, momentum, update, found):
    """A learning rate of 0.1 and a gradient of 0.25 make steps of 0.025; the weights have a norm of 5."""

    def training(losses, norms, cost=STAYS, far=None):
        optimizer = OptimizerState(name=name, steps=99, momentum=momentum)
        known = {"optimizers": (optimizer,), "weight_last": np.array([5.0]), "gradient": np.array([7.0])}
        made = run(cost, losses=losses, known=known, update=far or update)
        (end,) = made.snapshots
        windows = tuple(replace(one, learning_rate=np.full(len(one.steps), 0.1)) for one in end.windows)
        # The gradient was looked at when it was 28 times as large: what counts is its norm at the same steps.
        series = end.series if norms is None else end.series | {NORM_BEFORE_CLIPPING: Series(steps=STEPS, values=norms)}
        return replace(
            made, sites=(replace(site("act0"), fed_by="layers.0.weight"),),
            snapshots=(replace(end, windows=windows, series=series),),
        )  # fmt: skip

    norms = np.full(200, 0.25)
    told = next(one for one in diagnose(training(FLAT, norms)).findings if one.severity != "info")
    assert ("of learning rate times gradient" in told.cause.text) == found
    if found:
        assert told.cause.kind is CauseKind.LEARNING_RATE_LOW
        assert told.remedies == ("raise_learning_rate",)
        assert "at most 5% of learning rate times gradient; the norm before clipping was 0.25" in told.cause.text
    # The weights moved by 1.01 times their norm, small as the steps were.
    if momentum:
        far = training(FLAT, np.full(200, 9.0), far=5.05e-3)
        told = next(one for one in diagnose(far).findings if one.severity != "info")
        assert "of learning rate times gradient" not in told.cause.text
    # Nothing clips; or the steps became small with the gradients; or all is well with this learning rate.
    told = next(one for one in diagnose(training(FLAT, None)).findings if one.severity != "info")
    assert "of learning rate times gradient" not in told.cause.text
    told = next(one for one in diagnose(training(FLAT, norms / 100)).findings if one.severity != "info")
    assert "of learning rate times gradient" not in told.cause.text
    assert alarms(training(None, norms, LEARNS)) == []


@pytest.mark.parametrize(
    ("loss", "square", "found"),
    [
        ("BinaryCrossEntropyWithLogits", 1.1, True),
        ("BinaryCrossEntropyWithLogits", 1.0, False),
        ("MseLoss", 9.0, False),
    ],
)
def test_targets_above_one_of_a_binary_cross_entropy_are_told(loss, square, found):
    told = setup(run(-np.linspace(1, 9, 20), loss=(loss,), losses=-np.linspace(1, 9, 200), target_square=square))
    assert (told is not None) == found
    # A weight of 0 leaves out what is marked as unknown by a large number.
    assert setup(run(loss=(loss,), target_square=square)) is None
    if found:
        assert (told.severity, told.cause.kind) == ("warning", CauseKind.TARGET_SCALE)
        assert "expects targets from 0 to 1, but these have a root mean square of 1.049" in told.cause.text
        assert told.remedies == ("standardise_targets",)


def test_a_softmax_over_the_batch_is_told():
    told = setup(run(STAYS, **CLASSES | {"loss": ("NllLoss", "Log", "Softmax", "AcrossRows")}))
    assert (told.severity, told.cause.kind) == ("warning", CauseKind.OUTPUT_ACTIVATION)
    assert told.title == "Net: a softmax runs over the batch, not over the classes"
    assert told.cause.text.startswith("Softmax normalises over the samples of the batch (dim=0)")
    assert told.advice.startswith("Use dim=1")


@pytest.mark.parametrize(
    ("dtype", "rate", "name", "found"),
    [("bfloat16", 1e-3, "AdamW", True), ("bfloat16", 1e-2, "AdamW", False), ("float32", 1e-3, "AdamW", False),
     ("bfloat16", 1e-3, "SGD", False)],
)  # fmt: skip
def test_steps_of_adam_that_half_precision_rounds_away(dtype, rate, name, found):
    known = {"optimizers": (OptimizerState(name=name, steps=99),), "learning_rate": np.array([rate]),
             "weight_last": np.array([5.0])}  # fmt: skip
    training = run(STAYS, losses=FLAT, known=known)
    weights = (replace(training.parameters[0], dtype=dtype),)
    told = next(one for one in diagnose(replace(training, parameters=weights)).findings if one.severity != "info")
    assert (told.cause.kind is CauseKind.PRECISION) == found
    if found:
        assert "the weights are bfloat16, which rounds steps of about 0.001 (the learning rate) away" in told.cause.text
        assert told.remedies[0] == "float32"


@pytest.mark.parametrize(("new", "read", "found"), [(10, 20, True), (9, 10, False), (10, 21, False)])
def test_parameters_that_each_forward_makes_are_told(new, read, found):
    told = setup(run(known={"losses_with_new": new, "losses_read": read}))
    assert (told is not None) == found
    if found:
        assert (told.severity, told.cause.kind, told.remedies) == (
            "warning",
            "not_registered",
            ("register_parameters",),
        )
        assert told.cause.text.startswith("10 of 20 sampled losses used layers that did not exist before")


def test_gradients_that_are_kept_explain_weights_that_run_away():
    known = {"carried": 30, "carried_looks": 30, "weight_last": np.array([500.0])}
    training = run(np.full(20, 9.0), losses=np.linspace(1, 9, 200), known=known, update=0.2)
    found = [one for one in diagnose(training).findings if one.rule is Rule.WEIGHT_NORM]
    assert [one.cause.kind for one in found] == [CauseKind.GRADIENT_ACCUMULATION]


@pytest.mark.parametrize(
    ("uses", "zero", "found"), [((1, 16), 99, True), ((1, 15), 99, False), ((1, 16), 98, False), (None, 99, False)]
)
def test_a_gradient_that_is_lost_over_the_calls_of_a_recurrent_weight_is_told(uses, zero, found):
    known = {"zero_gradient": np.array([zero, 0]), "last_nonzero": np.array([-1 if zero == 99 else 50, 99]),
             "last_changed": np.array([-1, 99]), "gradient": np.array([0.0, 1.0]),
             "uses": None if uses is None else np.array(uses)}  # fmt: skip
    kinds = [kind for _, kind in alarms(run(STAYS, losses=FLAT, parameters=2, known=known))]
    assert (CauseKind.RECURRENCE in kinds) == found
    if found:
        told = next(one for one in diagnose(run(STAYS, losses=FLAT, parameters=2, known=known)).findings
                    if one.cause.kind is CauseKind.RECURRENCE)  # fmt: skip
        assert "the gradient passes layers.1.weight 16 times on its way back, and vanishes" in told.cause.text


@pytest.mark.parametrize(("thrown", "sites", "found"), [(0.6, 1, True), (0.4, 1, False), (0.6, 3, False)])
def test_first_updates_that_throw_the_weights_away_explain_a_stall(thrown, sites, found):
    training = run(STAYS, losses=FLAT, sites=sites)
    (end,) = training.snapshots
    first = end.windows[0]
    update = first.update.copy()
    update[0] = thrown
    windows = (replace(first, update=update), *end.windows[1:])
    training = replace(training, snapshots=(replace(end, windows=windows),))
    (one,) = [one for one in diagnose(training).findings if one.rule is Rule.STANDING_STILL]
    assert (one.cause.kind is CauseKind.LEARNING_RATE) == found


def test_cleared_gradients_explain_that_nothing_changes():
    optimizers = (OptimizerState(name="Adam", steps=9, without_gradients=9),)
    training = run(STAYS, known={"optimizers": optimizers, "last_changed": np.array([-1])})
    assert (Rule.UNTRAINED, CauseKind.GRADIENT_ACCUMULATION) in alarms(training)


@pytest.mark.parametrize(("in_batch", "rows", "found"), [(0.68, 64, True), (0.70, 64, False), (0.0, 11, False)])
def test_batches_of_few_classes_are_told(in_batch, rows, found):
    told = setup(run(**CLASSES | {"entropy": in_batch, "rows": rows}))
    assert (told is not None and told.cause.kind is CauseKind.DATA_ORDER) == found


@pytest.mark.parametrize(
    ("low", "high", "shape", "found"),
    [(0.1, 0.1, (5, 5), True), (0.1, 0.2, (5, 5), False), (0.0, 0.0, (5, 5), False), (0.1, 0.1, (5, 1), False)],
)
def test_weights_that_begin_alike_are_told(low, high, shape, found):
    training = run(known={"weight_low": np.array([low]), "weight_high": np.array([high])})
    training = replace(training, parameters=(parameter("layers.0.weight", shape=shape),))
    assert (setup(training) is not None) == found


@pytest.mark.parametrize(
    ("losses", "cost", "found"),
    [(np.full(200, 2.5), STAYS, True), (np.full(200, 1.9), STAYS, False), (np.full(200, 2.5), LEARNS, False)],
)
def test_other_terms_that_outweigh_the_targets_are_told_of_a_model_that_learned_little(losses, cost, found):
    kinds = [kind for _, kind in alarms(run(cost, loss=("Add", "MseLoss"), losses=losses))]
    assert (CauseKind.LOSS_TERM in kinds) == found


@pytest.mark.parametrize(
    ("factor", "eps", "update", "found"),
    [
        (1e-4, NAN, 1e-5, True), (1e4, NAN, 0.2, True), (0.1, NAN, 1e-5, False), (1e4, 1e-8, 0.2, False),
        (1e-4, NAN, 1e-3, False), (1e4, NAN, 1e-3, False),
    ],
)  # fmt: skip
def test_the_scale_of_the_loss_is_told_of_a_model_that_learned_little(factor, eps, update, found):
    """To Adam it is nothing, and a learning rate that was chosen for it moves the weights as usual."""
    training = run(
        STAYS, loss=("Mul", "MseLoss"), losses=np.full(200, factor), known={"epsilon": np.array([eps])}, update=update
    )
    assert (CauseKind.LOSS_SCALE in [kind for _, kind in alarms(training)]) == found


@pytest.mark.parametrize("loss", [("Add", "Sum", "MseLoss"), ("Add", "Mul", "MseLoss")])
def test_of_a_sum_or_a_multiple_it_is_not_told_how_much_other_terms_add(loss):
    training = run(STAYS, loss=loss, losses=np.full(200, 300.0), known={"epsilon": np.array([1e-8])})
    assert CauseKind.LOSS_TERM not in [kind for _, kind in alarms(training)]


def test_tokens_and_positions_are_alike_by_themselves():
    for loss in (("NllLoss", "LogSoftmax", "View"), ("NllLoss2D", "LogSoftmax")):
        assert setup(run(**CLASSES | {"entropy": 0.1, "loss": loss})) is None


def test_targets_far_from_0_make_a_first_cost_large_that_no_weights_do():
    cost = np.r_[26.0, np.geomspace(1.4, 0.8, 19)]
    training = run(cost)
    (end,) = training.snapshots
    read = tuple(replace(one, target_square=np.full(20, 26.0)) for one in end.outputs)
    training = replace(training, snapshots=(replace(end, outputs=read),))
    assert CauseKind.INITIAL_WEIGHTS not in [kind for _, kind in alarms(training)]


def test_a_loss_of_0_whose_targets_are_missed_is_told():
    told = setup(run(STAYS, loss=("Mean", "Mul", "MseLoss"), losses=np.zeros(200)))
    assert told.cause.kind is CauseKind.DOWNSTREAM_CONSTANT


@pytest.mark.parametrize(("eps", "found"), [(0.1, True), (1e-8, False), (1e-3, False)])
def test_an_eps_above_the_gradients_is_told(eps, found):
    kinds = [kind for _, kind in alarms(run(STAYS, known={"epsilon": np.array([eps]), "gradient": np.array([0.05])}))]
    assert (CauseKind.OPTIMIZER_STATE in kinds) == found


@pytest.mark.parametrize(
    ("update", "delta", "found"), [(2e-4, 0.1, True), (3e-4, 0.1, False), (2e-4, 0.0, False)]
)  # fmt: skip
def test_updates_that_come_to_nothing_are_told(update, delta, found):
    training = run(np.geomspace(1.2, 0.9, 20))
    (end,) = training.snapshots
    one = window(0, steps=range(0, 200, 4), delta=delta, update=update)
    kinds = [kind for _, kind in alarms(replace(training, snapshots=(replace(end, windows=(one,)),)))]
    assert (CauseKind.LEARNING_RATE_LOW in kinds) == found


@pytest.mark.parametrize(("gradient", "found"), [(0.06, True), (0.04, False)])
def test_where_the_loss_is_flat_no_rate_is_too_low(gradient, found):
    training = run(
        np.full(20, 1.0), losses=np.full(200, 1.0), known={"gradient": np.array([gradient]), "epsilon": np.array([NAN])}
    )
    (end,) = training.snapshots
    one = window(0, steps=range(0, 200, 4), delta=0.1, update=1e-4)
    kinds = [kind for _, kind in alarms(replace(training, snapshots=(replace(end, windows=(one,)),)))]
    assert (CauseKind.LEARNING_RATE_LOW in kinds) == found


def test_what_adam_holds_back_is_no_low_learning_rate():
    training = run(np.geomspace(1.2, 0.9, 20), known={"epsilon": np.array([1e-8])})
    (end,) = training.snapshots
    one = replace(
        window(0, steps=range(0, 200, 4), delta=0.1, update=1e-4), learning_rate=np.full(50, 0.01)
    )  # fmt: skip
    fed = replace(site("act0"), fed_by="layers.0.weight")
    training = replace(training, sites=(fed,), snapshots=(replace(end, windows=(one,)),))
    assert CauseKind.LEARNING_RATE_LOW not in [kind for _, kind in alarms(training)]


@pytest.mark.parametrize(
    ("more", "kind"),
    [({"input_rms": 11.0}, CauseKind.INPUT_SCALE), ({"input_rms": 0.09}, CauseKind.INPUT_SCALE),
     ({"input_offset": 11.0}, CauseKind.INPUT_SCALE), ({"input_rms": 2.0}, None)],
)  # fmt: skip
@pytest.mark.parametrize("little", [True, False])
def test_inputs_are_named_of_a_model_that_learned_little(more, kind, little):
    training = run(np.geomspace(1.4, 0.8, 20) if little else LEARNS, more=more)
    assert alarms(training) == ([(Rule.TRAINING_SETUP, kind)] if little and kind else [])


@pytest.mark.parametrize(("first", "found"), [(11.5, True), (9.0, False)])
def test_a_first_cost_far_above_a_constant_is_told_of_a_model_that_learned_little(first, found):
    cost = np.r_[first, np.geomspace(1.4, 0.8, 19)]
    kinds = [kind for _, kind in alarms(run(cost, square=12.0))]
    assert (CauseKind.INITIAL_WEIGHTS in kinds) == found


@pytest.mark.parametrize(
    ("norm", "requires", "found"),
    [((5 / 3) ** 0.5, False, True), ((5 / 3) ** 0.5, True, False), (2.0, False, False)],
)
def test_a_model_that_is_frozen_as_it_was_drawn_and_learned_little(norm, requires, found):
    """Frozen weights that were trained elsewhere have another norm than torch's default gives them."""
    known = {"weight_first": np.full(3, norm), "last_changed": np.array([99, -1, -1])}
    training = run(np.geomspace(1.4, 0.8, 20), parameters=3, known=known | {"last_nonzero": np.array([99, -1, -1])})
    frozen = tuple(replace(one, requires_grad=requires or at == 0) for at, one in enumerate(training.parameters))
    kinds = [kind for _, kind in alarms(replace(training, parameters=frozen))]
    assert (CauseKind.FROZEN in kinds) == found


def test_a_linear_model_that_learned_little():
    training = run(np.geomspace(1.4, 0.8, 20), parameters=2, sites=0)
    assert (Rule.TRAINING_SETUP, CauseKind.NO_ACTIVATION) in alarms(training)


@pytest.mark.parametrize(("end", "severity"), [(0.2, "warning"), (0.01, "info")])
def test_what_looks_wrong_and_did_no_harm_is_information(end, severity):
    told = setup(run(np.geomspace(1.4, end, 20), **CLASSES | {"loss": ("NllLoss", "LogSoftmax", "Softmax")}))
    assert told.severity == severity
    assert ("The model learns well all the same." in told.detail) == (severity == "info")
    assert ("Fix this even if the loss falls." in told.detail) == (severity == "warning")
    assert told.advice.startswith("Nothing to do") == (severity == "info")


def test_a_finding_of_the_setup_has_the_title_of_its_cause():
    told = setup(run(np.geomspace(1.4, 0.9, 20), **CLASSES | {"pooled_entropy": 1.386, "entropy": 0.0}))
    assert (told.cause.kind, told.title) == (CauseKind.DATA_ORDER, "Net: the batches are sorted by class")
    assert told.cause.text.startswith("the classes in a batch")


def test_a_low_loss_on_sorted_batches_does_not_show_that_they_did_no_harm():
    told = setup(run(np.geomspace(1.4, 0.001, 20), **CLASSES | {"pooled_entropy": 1.386, "entropy": 0.0}))
    assert (told.cause.kind, told.severity) == (CauseKind.DATA_ORDER, "warning")


@pytest.mark.parametrize(
    ("in_batch", "overlap", "found"),
    [
        (0.0, 1.0, True), (0.0, NAN, True), (0.0, 0.1, False),
        (np.where(np.arange(20) < 12, 0.0, 1.3), 1.0, False), (np.where(np.arange(20) < 2, 1.3, 0.0), 1.0, True),
    ],
)  # fmt: skip
def test_batches_of_few_classes_are_sorted_only_if_these_stay_and_no_more_come(in_batch, overlap, found):
    """Of tasks drawn anew for each batch, and of a curriculum, nothing is forgotten."""
    training = run(**CLASSES | {"pooled_entropy": 1.386, "entropy": in_batch, "class_overlap": overlap})
    assert ((told := setup(training)) is not None and told.cause.kind is CauseKind.DATA_ORDER) == found


@pytest.mark.parametrize(("first", "found"), [(600.0, True), (1.5, False)])
def test_targets_far_from_zero_are_no_flaw_of_a_model_that_begins_near_their_mean(first, found):
    cost = np.concatenate([[first], np.full(19, 0.9)])
    training = run(cost, square=600.0, target=1.0, target_square=600.0)
    assert (CauseKind.TARGET_SCALE in [kind for _, kind in alarms(training)]) == found


@pytest.mark.parametrize(
    ("given", "found"), [((None, None), True), ((900.0, 1.0), True), ((1.0, 1.0), False), ((4.0, 1.0), False)]
)
def test_inputs_far_from_zero_are_no_flaw_of_a_model_that_scales_them_itself(given, found):
    facts = replace(inputs(), given_square=given[0], given_spread=given[1])
    training = run(STAYS * 0.9, more={"input_rms": 30.0, "input_offset": 30.0, "inputs": facts})
    assert (CauseKind.INPUT_SCALE in [kind for _, kind in alarms(training)]) == found


@pytest.mark.parametrize(
    ("dtype", "update", "kind"),
    [
        ("bfloat16", 1e-5, CauseKind.PRECISION), ("float32", 1e-5, CauseKind.LEARNING_RATE_LOW),
        ("float16", 1e-5, CauseKind.PRECISION),
    ],
)  # fmt: skip
def test_small_updates_of_weights_in_half_precision_are_rounded_away(dtype, update, kind):
    training = run(STAYS, update=update, known={"weight_last": np.array([1.0])})
    sites = (replace(training.sites[0], fed_by="layers.0.weight"),)
    weights = (replace(training.parameters[0], dtype=dtype),)
    found = alarms(replace(training, sites=sites, parameters=weights))
    assert kind in [one for _, one in found]


def test_noisy_targets_of_which_a_model_knows_a_little_are_no_stall():
    """Each batch is measured by its own targets: batches differ more than what the model knows."""
    constant = 1.0 + 0.3 * np.sin(np.arange(20))
    for share, found in ((0.08, False), (0.01, True)):
        cost = constant * 64 / 63 * (1 - share)
        training = run(cost, target=constant, losses=np.full(200, 1.0) + 1e-3 * np.sin(np.arange(200)))
        assert (Rule.STANDING_STILL in [rule for rule, _ in alarms(training)]) == found


def test_what_is_wrong_by_itself_comes_before_what_is_as_severe():
    training = run(loss=("Mean", "Mul", "Broadcast", "Pow"), target=np.nan, parameters=2,
                   known={"zero_gradient": np.array([99, 0]), "last_nonzero": np.array([-1, 99]),
                          "last_changed": np.array([-1, 99]), "gradient": np.array([0.0, 1.0])})  # fmt: skip
    assert [kind for _, kind in alarms(training)] == [CauseKind.LOSS_SHAPE, CauseKind.DOWNSTREAM_CONSTANT]


def test_an_alarm_without_a_cause_is_given_what_is_wrong():
    training = run(STAYS, losses=FLAT, more={"input_rms": 0.05})
    assert alarms(training) == [(Rule.STANDING_STILL, CauseKind.INPUT_SCALE)]
    (one, *_) = diagnose(training).findings
    assert one.cause.text == "input scale: the root mean square of the inputs is only 0.05"
    assert one.remedies == ("standardise_inputs",)


def test_a_loss_with_other_terms_stands_still_by_the_part_that_has_the_targets():
    """The sum falls; what is compared with the targets stays at what a constant costs."""
    falling = np.r_[np.linspace(1.9, 1.2, 60), np.full(140, 1.2)]
    training = run(STAYS, loss=("Add", "MseLoss"), losses=falling, spread=np.full(20, 0.5))
    assert (Rule.STANDING_STILL, CauseKind.UNKNOWN) in alarms(training)
    assert alarms(run(STAYS, loss=("Add", "MseLoss"), losses=falling)) == []


def test_shares_are_measured_by_their_entropy():
    bce = {"loss": ("BinaryCrossEntropyWithLogits", "Sigmoid"), "share_entropy": 0.4, "unit_entropy": 0.4}
    told = setup(run(np.full(20, 0.7), target=0.1, **bce))
    assert told.numbers["explained"] == pytest.approx(1 - 0.7 / 0.4)
    # Of grey pixels even the right answer costs something, and that nobody can save.
    told = setup(run(np.full(20, 0.7), target=0.1, target_entropy=0.3, **bce))
    assert told.numbers["explained"] == pytest.approx(1 - 0.4 / 0.1)


@pytest.mark.parametrize(("unit", "known"), [(0.3, True), (0.1, False)])
def test_rare_shares_tell_something_only_if_some_unit_is_not_rare(unit, known):
    """Pixels that are mostly black: what is right for one unit is not right for all."""
    bce = {"loss": ("BinaryCrossEntropyWithLogits", "Sigmoid"), "share_entropy": 0.08, "target_square": 0.02}
    training = run(np.full(20, 0.08), target=0.015, unit_entropy=unit, **bce)
    (output,) = read_outputs(training)
    assert (explained(output) is not None) == known


def test_earlier_records_lack_all_of_it():
    training = run(STAYS, losses=FALLING)
    (end,) = training.snapshots
    bare = tuple(replace(one, cost=None) for one in end.outputs)
    old = replace(training, snapshots=(replace(end, outputs=bare, series={"loss": Series(
        steps=np.arange(200), values=np.asarray(FALLING))}),))  # fmt: skip
    assert alarms(old) == []


@pytest.mark.parametrize(("norm", "found"), [(0.22, True), (0.23, False), (22.3, False), (22.5, True)])
def test_weights_on_an_unusual_scale_are_told_of_a_model_that_learned_little(norm, found):
    """Five rows: the root mean square times √fan_in is the norm over √5."""
    training = run(
        np.geomspace(1.4, 0.8, 20), known={"weight_first": np.array([norm]), "weight_last": np.array([norm])}
    )
    training = replace(training, sites=(replace(site("act0"), fed_by="layers.0.weight"),))
    assert (CauseKind.INITIAL_WEIGHTS in [kind for _, kind in alarms(training)]) == found


@pytest.mark.parametrize(
    ("rates", "found"),
    [(np.linspace(0, 1, 50), True), (np.minimum(np.linspace(0, 2, 50), 1), False), (np.full(50, 0.1), False),
     (0.8 ** np.arange(50), True), (np.cos(np.linspace(0, 1.5, 50)), False),
     (np.repeat([1, 0.1, 0.01], 17)[:50], False)],
)  # fmt: skip
def test_schedules_that_never_let_it_learn_are_told_of_a_model_that_learned_little(rates, found):
    training = run(np.geomspace(1.4, 0.8, 20))
    (end,) = training.snapshots
    one = replace(window(0, steps=range(0, 200, 4), delta=0.1, update=1e-3), learning_rate=rates)
    kinds = [kind for _, kind in alarms(replace(training, snapshots=(replace(end, windows=(one,)),)))]
    assert (CauseKind.LEARNING_RATE_LOW in kinds) == found


def test_small_weights_make_any_update_large_and_are_named_in_its_place():
    training = run(np.full(20, 1.0), spread=np.r_[np.full(5, 0.9), np.full(15, 1e-6)], losses=FLAT,
                   known={"weight_first": np.array([0.01]), "weight_last": np.array([0.01])})  # fmt: skip
    (end,) = training.snapshots
    one = window(0, steps=range(0, 200, 4), delta=0.1, update=0.3)
    fed = replace(site("act0"), fed_by="layers.0.weight")
    training = replace(training, sites=(fed,), snapshots=(replace(end, windows=(one,)),))
    assert (Rule.COLLAPSED_OUTPUT, CauseKind.INITIAL_WEIGHTS) in alarms(training)


@pytest.mark.parametrize(("bias", "found"), [(-11.0, True), (-9.0, False)])
def test_biases_beyond_the_range_are_told_also_where_a_slope_is_left(bias, found):
    losses = np.r_[np.linspace(1.04, 1.0, 60), np.full(140, 1.0)]
    training = run(np.full(20, 1.0), losses=losses, loss=("Add", "MseLoss"), spread=np.full(20, 0.5))
    (end,) = training.snapshots
    pre = np.full(5, bias) + 1.0
    one = window(
        0, steps=range(0, 200, 4), fired=(0,) * 5, distinct=5000, delta=0.1, update=1e-3, bias=np.full(5, bias),
        pre_mean=pre,
    )  # fmt: skip
    training = replace(
        training, sites=(replace(site("act0"), activation="gelu"),), snapshots=(replace(end, windows=(one,)),)
    )
    assert (CauseKind.INITIAL_BIAS in [kind for _, kind in alarms(training)]) == found


def test_a_loss_that_came_down_from_far_above_does_not_explain_a_later_collapse():
    cost = np.r_[50.0, np.full(19, 1.0)]
    training = run(cost, spread=np.r_[np.full(5, 0.9), np.full(15, 1e-6)], square=30.0)
    assert (Rule.COLLAPSED_OUTPUT, CauseKind.UNKNOWN) in alarms(training)


@pytest.mark.parametrize(("step", "low", "kind"), [
    (0, 0.1, CauseKind.INITIAL_WEIGHTS), (0, -0.1, CauseKind.NUMERICAL_OPERATION),
    (9, 0.1, CauseKind.NUMERICAL_OPERATION),
])  # fmt: skip
def test_what_overflows_at_once_does_so_by_weights_of_one_sign(step, low, kind):
    losses = np.where(np.arange(200) >= step, np.nan, 1.0)
    known = {"weight_low": np.array([low]), "weight_high": np.array([1.0])}
    training = run(losses=losses, known=known, more={"inputs": inputs()})
    (end,) = training.snapshots
    one = window(0, steps=range(0, 200, 4), delta=0.1, update=1e-3, nonfinite_step=step)
    found = diagnose(replace(training, snapshots=(replace(end, windows=(one,)),))).findings
    assert next(one.cause.kind for one in found if one.rule is Rule.NON_FINITE) is kind


def test_inputs_far_from_0_come_before_the_start_that_they_make_poor():
    training = run(STAYS, losses=FLAT, more={"input_offset": 1e4}, sites=2)
    (end,) = training.snapshots
    deltas = [np.full(50, 1e-9), np.full(50, 1.0)]
    windows = tuple(window(at, steps=range(0, 200, 4), delta=delta, update=1e-3) for at, delta in enumerate(deltas))
    training = replace(training, snapshots=(replace(end, windows=windows),))
    assert (Rule.VANISHING_GRADIENT, CauseKind.INPUT_SCALE) in alarms(training)


def test_what_is_saved_at_the_end_is_read_in_the_last_third_of_the_steps():
    """Readings lie ever further apart: most of the last third of the readings come long before the end."""
    steps = np.unique(np.geomspace(1, 600, 24).astype(int))
    cost = np.where(steps < 400, 1.0, 0.2)
    training = run(cost, **CLASSES)
    (end,) = training.snapshots
    (window_,) = end.outputs
    training = replace(training, snapshots=(replace(end, outputs=(replace(window_, steps=steps),)),))
    assert (steps >= 400).sum() < len(steps) // 3
    (output_,) = read_outputs(training)
    assert explained(output_) == pytest.approx(1 - 0.2 / 1.386)


@pytest.mark.parametrize(("given", "found"), [(300.0, True), (9.0, False)])
def test_a_large_number_beside_the_inputs_is_an_input_scale(given, found):
    """Steps of a diffusion, times, ids as numbers: the first layer is given them, too."""
    facts = replace(inputs(), given_square=np.float64(given**2), given_spread=np.float64(1.0))
    training = run(np.geomspace(1.4, 0.8, 20), more={"input_rms": 1.0, "inputs": facts})
    told = [one for one in diagnose(training).findings if one.cause.kind is CauseKind.INPUT_SCALE]
    assert any("the root mean square of the inputs is 300" in one.cause.text for one in told) == found


def test_an_output_that_collapses_with_its_targets_was_asked_for_a_constant():
    """Targets that the model makes itself, of two models that train together."""
    falls = np.geomspace(1.0, 1e-6, 20)
    for target, found in ((falls, True), (1.0, False)):
        training = run(falls, spread=falls, square=0.5, target=target, target_square=falls + 0.5)
        other = (replace(site("x"), model="Other"), window(1, steps=range(0, 200, 4), delta=0.1))
        (end,) = training.snapshots
        training = replace(training, sites=(*training.sites, other[0]), snapshots=(
            replace(end, windows=(*end.windows, other[1])),))  # fmt: skip
        assert ((Rule.COLLAPSED_OUTPUT, CauseKind.OBJECTIVE) in alarms(training)) == found


@pytest.mark.parametrize(("last", "found"), [(1.001, True), (1.002, False)])
def test_norms_that_stay_tell_of_small_updates_where_no_activation_is_observed(last, found):
    known = {"weight_last": np.array([last]), "last_compared": np.array([190])}
    training = run(STAYS, losses=FLAT, sites=0, known=known)
    (told,) = [one for one in diagnose(training).findings if one.rule is Rule.STANDING_STILL]
    assert (told.cause.kind is CauseKind.LEARNING_RATE_LOW) == found
    if found:
        assert told.cause.text.startswith("in 200 steps no weight's norm changed by more than 0.1%")
