"""Where a number was first not finite, in the order of one training step; why; and when it is harmless."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.diagnosis import thresholds as limit
from rectifier.records import OptimizerState, Output, OutputWindow, ParameterRef
from tests.diagnosis.builders import FALLING, FLAT, NAN, process, site, snapshot
from tests.diagnosis.parameter_records import TRAINS, healthy, inputs, parameter, training
from tests.edge import diagnose, where, why

STEPS = range(10)
HEALTHY = ((parameter(), TRAINS),)


def output(steps=STEPS, **bad):
    """An output that was read at these steps; `nonfinite_output=3`: from step 3 on it was not finite."""
    steps = np.array(steps)
    one, none = np.ones(len(steps)), np.zeros(len(steps), np.int64)
    facts = {
        name: (steps >= bad[name]).astype(np.int64) if name in bad else none
        for name in ("nonfinite_output", "nonfinite_features", "nonfinite_target")
    }
    return OutputWindow(
        output=0, steps=steps, rows=none + 7, square=one, spread=one, constant_units=none,
        wrongly_constant_units=none - 1, features_square=one,
        features_spread=one, features_cosine=one, target_spread=one, target_square=one, classes=none - 1,
        class_entropy=one * NAN, **facts,
    )  # fmt: skip


def first(*, losses=None, rows=HEALTHY, **more):
    losses = [2.0] * 5 + [NAN] * 5 if losses is None else losses
    findings = diagnose(training(list(rows), losses=losses, **more)).findings
    assert sum(finding.rule == "non-finite" for finding in findings) <= 1
    return next((finding for finding in findings if finding.rule == "non-finite"), None)


def bad(**known):
    return ((parameter(), {**TRAINS, **known}),)


def act(step=None, **more):
    return [healthy(steps=STEPS, nonfinite_step=step, **more)]


# The order ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "more"),
    [
        ("parameter", {"rows": bad(nonfinite_weight_step=5)}),
        ("input", {"inputs": inputs(nonfinite_step=5, nonfinite_samples=30)}),
        ("target", {"outputs": [output(nonfinite_target=5)]}),
        ("activation", {"windows": act(5)}),
        ("output", {"outputs": [output(nonfinite_output=5)]}),
        ("output", {"outputs": [output(nonfinite_features=5)]}),
        ("loss", {"windows": act()}),
        ("gradient", {"rows": bad(nonfinite_step=4), "windows": act()}),
    ],
)
def test_each_place_is_found(place, more):
    one = first(**more)
    assert (one.severity, one.evidence.origin) == ("serious", place)
    assert one.since == one.evidence.step == (4 if place == "gradient" else 5)
    assert f"at step {one.since}" in one.title


def test_the_order_within_one_step():
    places = {
        "rows": bad(nonfinite_weight_step=5, nonfinite_step=5),
        "inputs": inputs(nonfinite_step=5),
        "outputs": [output(nonfinite_target=5, nonfinite_output=5)],
        "windows": act(5),
    }
    # Data come before weights that were found so at the same step: those may have been so for long.
    assert first(**places).evidence.origin == "input"
    del places["inputs"]
    assert first(**places).evidence.origin == "target"
    places["outputs"] = [output(nonfinite_output=5)]
    assert first(**places).evidence.origin == "parameter"
    places["rows"] = bad(nonfinite_step=5)
    assert first(**places).evidence.origin == "activation"
    places["windows"] = act()
    assert first(**places).evidence.origin == "output"
    del places["outputs"]
    assert first(**places).evidence.origin == "loss"


STEP = st.none() | st.integers(1, 9)


@given(STEP, STEP, STEP, st.integers(1, 9))
def test_the_first_step_is_never_later_than_any_known_one(weight, activation, gradient, loss):
    known = {
        "nonfinite_weight_step": -1 if weight is None else weight,
        "nonfinite_step": -1 if gradient is None else gradient,
    }
    one = first(rows=bad(**known), windows=act(activation), losses=[2.0] * loss + [NAN] * (10 - loss))
    assert one.since <= min(step for step in (weight, activation, loss) if step is not None)
    assert one.since in {weight, activation, gradient, loss}


def test_data_that_are_not_finite_at_the_next_counted_step_were_first():
    """Between counted steps nobody looks at the input, and the loss is known at each."""
    windows = [healthy(steps=[0, 4, 8])]
    assert first(windows=windows, inputs=inputs(nonfinite_step=8, nonfinite_samples=9)).evidence.origin == "input"
    # At step 4 the input was looked at, and finite.
    losses = [2.0] * 4 + [NAN] * 6
    assert first(windows=windows, inputs=inputs(nonfinite_step=8), losses=losses).evidence.origin == "loss"


# Causes --------------------------------------------------------------------------------------------------------------


def test_inputs_and_targets_are_the_datas():
    one = first(inputs=inputs(nonfinite_step=5, nonfinite_samples=30))
    assert (why(one), one.remedies) == ("input_not_finite", ("check_inputs",))
    assert one.title == "the input contained NaN or infinity at step 5"
    assert one.detail.startswith("30 of 4,000 observed samples contained it.")
    assert one.cause.text == "the data contain it"
    assert one.advice.startswith("Look for NaN in the data")
    one = first(outputs=[output(nonfinite_target=5)])
    assert (why(one), one.title) == ("input_not_finite", "the targets contained NaN or infinity at step 5")


def test_a_gradient_of_a_finite_loss_is_an_operations_derivative():
    rows = [(parameter(f"l{n}.weight"), {**TRAINS, "nonfinite_step": 4 if n < 2 else -1}) for n in range(3)]
    one = first(rows=rows, windows=act())
    assert (why(one), where(one), one.site) == ("numerical_operation", "l1.weight", ParameterRef("l1.weight"))
    assert (one.remedies, one.command) == (("guard_operation",), "torch.autograd.set_detect_anomaly(True)")
    assert one.title == "the gradient of l1.weight contained NaN or infinity at step 4"
    assert one.detail.startswith(
        "The loss and all observed activations of that step were finite. The gradient of 2 parameters contained it."
    )
    assert one.cause.text == "an operation's derivative: a root, norm, logarithm or division at 0"


@pytest.mark.parametrize(
    ("update", "last", "cause"),
    [
        (0.49, 2.0, "numerical_operation"),
        (0.5, 2.0, "learning_rate"),
        (1e-3, 19.9, "numerical_operation"),
        (1e-3, 20.0, "unknown"),
        (0.2, 20.0, "learning_rate"),
    ],
)
def test_a_gradient_after_a_thrown_or_diverged_training_is_not(update, last, cause):
    losses = [2.0] * 3 + [last, last, NAN]
    assert why(first(rows=bad(nonfinite_step=4), windows=act(update=update), losses=losses)) == cause


def test_a_gradient_that_nothing_follows_is_somebody_elses_to_skip():
    assert first(rows=bad(nonfinite_step=4), losses=FALLING) is None
    # Nor is one long before: the loss went on for steps.
    assert first(rows=bad(nonfinite_step=2), windows=act(), losses=[2.0] * 8 + [NAN] * 2).evidence.origin == "loss"
    assert first(rows=bad(nonfinite_step=2), windows=act(8), losses=FALLING).evidence.origin == "activation"


def test_the_loss_itself_is_to_blame_where_what_came_to_it_was_finite():
    one = first(windows=act())
    assert (why(one), one.remedies[0], one.site) == ("loss_not_finite", "guard_operation", None)
    assert one.cause.text == "the loss function on this batch: its inputs were finite"
    assert one.advice.startswith("First look at the loss: a logarithm")


def test_a_loss_that_had_grown_is_no_matter_of_its_definition():
    losses = [2.0] * 4 + [20.0, np.inf]
    assert why(first(windows=act(), losses=losses)) == "unknown"
    assert why(first(windows=act(update=0.2), losses=losses)) == "learning_rate"
    losses[4] = 19.9
    assert why(first(windows=act(update=0.2), losses=losses)) == "loss_not_finite"


def test_where_the_step_was_not_observed_an_operation_did_it_if_nothing_else_grew():
    windows = [healthy(steps=[0, 4, 8])]
    one = first(windows=windows, inputs=inputs())
    assert why(one) == "numerical_operation"
    assert one.cause.text == (
        "an operation of this forward pass, or of the backward pass before it: nothing had grown, and the loss was "
        "at 100% of its initial value"
    )
    assert why(first(windows=windows)) == "unknown", "the input may have held it"
    assert why(first(windows=windows, inputs=inputs(), losses=[2.0] * 4 + [20.0, NAN])) == "unknown"
    late = [healthy(steps=[4, 8])]
    assert why(first(windows=late, losses=[NAN] * 9, inputs=inputs())) == "unknown", "nothing came before"


@pytest.mark.parametrize(
    ("loss", "cause"),
    [(("MseLoss",), "unknown"), (("Add", "Mul", "NllLoss", "LogSoftmax"), "unknown"),
     (("Mean", "Sqrt", "Sum"), "numerical_operation"), ((), "numerical_operation")],
)  # fmt: skip
def test_where_no_operation_of_the_loss_could_have_done_it_the_unobserved_batch_is_suspected_too(loss, cause):
    windows = [healthy(steps=[0, 4, 8])]
    known = Output(model="Net", weight="head.weight", operation="Addmm", units=1, loss=loss, linear=False)
    kept = training(list(HEALTHY), losses=[2.0] * 5 + [NAN] * 5, windows=windows, inputs=inputs())
    (finding,) = [one for one in diagnose(replace(kept, outputs=(known,))).findings if one.rule == "non-finite"]
    assert why(finding) == cause


def weights(*dtypes, **known):
    return [(replace(parameter(f"l{n}.weight"), dtype=dtype), {**TRAINS, **known}) for n, dtype in enumerate(dtypes)]


HALF = ("float32", "float16")


@pytest.mark.parametrize(
    ("dtypes", "known", "cause", "remedies"),
    [
        (HALF, {"epsilon": 1e-8}, "optimizer_state", ("larger_eps", "float32", "lower_learning_rate")),
        (HALF, {"epsilon": 0.0}, "optimizer_state", ("larger_eps", "float32", "lower_learning_rate")),
        (
            ("bfloat16", "float16"),
            {"epsilon": 1e-8},
            "optimizer_state",
            ("larger_eps", "float32", "lower_learning_rate"),
        ),
        (HALF, {"epsilon": 4e-8}, "unknown", ()),
        (HALF, {"epsilon": NAN}, "unknown", ()),
        (("float32", "float32"), {"epsilon": 1e-8}, "unknown", ()),
        (("bfloat16", "bfloat16"), {"epsilon": 1e-8}, "unknown", ()),
        (("", ""), {"epsilon": 1e-8}, "unknown", ()),
        (HALF, {"epsilon": 1e-8, "nonfinite_step": 4}, "numerical_operation", ("guard_operation",)),
    ],
    ids=[
        "half",
        "none",
        "beside bfloat16",
        "large enough",
        "no eps",
        "float32",
        "bfloat16",
        "earlier record",
        "gradient",
    ],
)
def test_a_weight_after_finite_gradients_is_the_optimizers(dtypes, known, cause, remedies):
    one = first(rows=weights(*dtypes, nonfinite_weight_step=5, **known), windows=act(5))
    assert (why(one), one.remedies) == (cause, remedies)
    if cause == "unknown":
        assert one.command == "torch.autograd.set_detect_anomaly(True)", "an experiment, no remedy"
    if cause == "optimizer_state":
        assert one.title == "the weight l1.weight contained NaN or infinity at step 5"
        assert one.detail.startswith("Losses and activations before it were finite. 2 parameters contain it.")
        assert one.cause.text.startswith(
            "the optimizer produced it from finite gradients: half precision rounds its eps of"
        )
        assert one.command == "optimizer = torch.optim.Adam(model.parameters(), eps=1e-4)"


def test_an_activation_of_a_weight_that_is_compared_later_is_the_optimizers_too():
    rows = weights(*HALF, nonfinite_weight_step=200, epsilon=1e-8)
    assert why(first(rows=rows, windows=act(5))) == "optimizer_state"
    assert why(first(rows=rows, windows=[healthy(steps=[0, 5], nonfinite_step=5)])) == "unknown", "nobody looked"
    assert why(first(rows=weights(*HALF, epsilon=1e-8), windows=act(5))) == "unknown", "the weights are finite"


def test_weights_that_were_never_drawn():
    one = first(rows=bad(nonfinite_weight_step=0), losses=[NAN] * 9)
    assert (why(one), one.remedies) == ("initial_weights", ("init_random",))
    assert one.cause.text == "the weights contained it before the first step: they were never initialised"


def recurrent(sizes, fed_by="cell.weight"):
    sites = [replace(site("cell"), call=call, fed_by=fed_by.format(call)) for call in range(len(sizes))]
    windows = [replace(healthy(n, steps=STEPS), mean_abs=np.full(5, size)) for n, size in enumerate(sizes)]
    windows[-1] = replace(windows[-1], steps=np.arange(4), delta=np.full(4, 0.1), update=np.full(4, 1e-3))
    late = replace(healthy(len(sizes) - 1, steps=range(4, 10), nonfinite_step=5), mean_abs=np.full(5, NAN))
    ends = [snapshot(windows, losses=[2.0] * 4, step=3), snapshot([late], step=9)]
    findings = diagnose(process(sites, *ends)).findings
    return next(finding for finding in findings if finding.rule == "non-finite")


@pytest.mark.parametrize(
    ("sizes", "cause"),
    [
        ([1.0, 3.0, 10.0], "recurrence"),
        ([1.0, 3.0, 9.9], "unknown"),
        ([1.0, 20.0, 10.0], "unknown"),
        ([1.0, 10.0], "unknown"),
        ([0.0, 3.0, 10.0], "unknown"),
    ],
)
def test_values_that_grow_over_the_calls_of_one_forward(sizes, cause):
    one = recurrent(sizes)
    assert why(one) == cause
    if cause == "recurrence":
        assert one.remedies == ("bounded_activation", "clip_gradient")
        assert (
            one.cause.text
            == "recurrence: the mean output of cell grew from 1 to 10 over its 3 calls within one forward"
        )


@pytest.mark.parametrize(
    ("square", "uses", "cause", "remedy"),
    [(1e14, 3, "initial_weights", "init_gain"), (1e14, 120, "recurrence", "bounded_activation"),
     (1e10, 120, "loss_not_finite", "guard_operation")],
)  # fmt: skip
def test_first_outputs_that_are_huge_overflow_any_loss(square, uses, cause, remedy):
    read = replace(output(), square=np.full(len(STEPS), square))
    process = training([*HEALTHY], losses=[np.inf] + [NAN] * 9, windows=act(), outputs=[read])
    (end,) = process.snapshots
    counted = replace(end, parameters=replace(end.parameters, uses=np.full(len(process.parameters), uses)))
    head = Output(model="Net", weight="fc.weight", operation="Addmm", units=1)
    (told,) = [
        one for one in diagnose(replace(process, snapshots=(counted,), outputs=(head,))).findings
        if one.rule == "non-finite"
    ]  # fmt: skip
    assert (why(told), told.remedies[0]) == (cause, remedy)
    assert ("times in a row" in told.cause.text) == (cause == "recurrence")


def test_one_function_behind_several_layers_is_no_recurrence():
    assert why(recurrent([1.0, 3.0, 10.0], fed_by="layer{}.weight")) == "unknown"


@pytest.mark.parametrize(
    ("dtype", "value", "cause"),
    [("float16", np.inf, "precision"), ("float16", NAN, "loss_not_finite"), ("float32", np.inf, "loss_not_finite")],
)
def test_a_loss_that_is_too_large_for_half_precision(dtype, value, cause):
    rows = tuple((replace(one, dtype=dtype), row) for one, row in HEALTHY)
    one = first(rows=rows, losses=[2.0] * 5 + [value] * 5, windows=act())
    assert why(one) == cause
    if cause == "precision":
        assert one.cause.text == "half precision (float16) holds at most 65,504, and the loss is larger"


@pytest.mark.parametrize(("high", "cause"), [(limit.NEAR_HALF_OVERFLOW, "precision"), (6550.0, "unknown")])
def test_outputs_near_the_end_of_half_precision(high, cause):
    early = replace(healthy(steps=range(5)), highest=np.full(5, high))
    ends = [snapshot([early], losses=[2.0] * 5, step=4), snapshot(act(5), step=9)]
    (one,) = [found for found in diagnose(process([site("act")], *ends)).findings if found.rule == "non-finite"]
    assert why(one) == cause
    if cause == "precision":
        assert one.remedies[0] == "float32"
        assert one.cause.text == "half precision (float16) holds at most 65,504, and outputs of act had reached 6,550"


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        (0, 1, "batch_of_one"),
        (1, 2, "numerical_operation"),
        (0, 0, "numerical_operation"),
        (0, 50, "numerical_operation"),
    ],
)
def test_a_batch_of_one_sample_that_came_where_it_began(before, after, cause):
    early = replace(snapshot([healthy(steps=range(5))], losses=[2.0] * 5, step=4),
                    inputs=inputs(batches_of_one=before))  # fmt: skip
    late = replace(snapshot(act(5), step=9), inputs=inputs(batches_of_one=after))
    (one,) = [found for found in diagnose(process([site("act")], early, late)).findings if found.rule == "non-finite"]
    assert why(one) == cause
    if cause == "batch_of_one":
        assert one.command == "torch.utils.data.DataLoader(dataset, drop_last=True)"
        assert one.cause.text == (
            "a batch of one sample has no variance: 1 of 50 observed batches had one sample, and NaN or infinity began "
            "at the first of them"
        )


# How severe ----------------------------------------------------------------------------------------------------------


SOME = [NAN if step in (5, 50, 150) else loss for step, loss in enumerate(FALLING)]


def test_single_losses_of_a_training_that_goes_on_are_information():
    one = first(losses=SOME)
    assert (one.severity, one.remedies, one.fixes) == ("info", (), ())
    assert one.detail.startswith(
        "The loss was not finite at 3 of 200 steps (1.5%). All weights and activations stayed finite, and training "
        "progresses."
    )
    assert one.advice == "Nothing to do if this is intended."


@pytest.mark.parametrize(("bad", "severity"), [(100, "info"), (101, "warning")])
def test_a_training_that_most_batches_teach_nothing_is_an_alarm_though_the_others_teach_something(bad, severity):
    losses = [NAN if step < bad else loss for step, loss in enumerate(FALLING)]
    one = first(losses=losses, passes=9)
    assert (one.severity, why(one)) == (severity, "loss_not_finite")
    # One bad loss of several makes the mean of its step so.
    assert first(losses=losses, passes=18).severity == "info"
    assert one.detail.startswith(f"The loss was not finite at {bad} of 200 steps (5")
    assert one.remedies == (() if severity == "info" else ("guard_operation", "check_inputs"))


@pytest.mark.parametrize(
    "more",
    [
        {"losses": [NAN if step == 5 else 2.3 for step in range(200)]},
        {"losses": [NAN, *FLAT[:9]]},
        {"losses": SOME, "rows": bad(nonfinite_weight_step=100)},
        {"losses": SOME, "windows": [healthy(nonfinite_step=60)]},
        {"losses": SOME, "optimizers": (OptimizerState(name="Adam", steps=190, skipped=11),)},
    ],
    ids=["no progress", "cannot tell", "a weight", "an activation", "a scaler that skips"],
)
def test_otherwise_they_are_serious(more):
    assert first(**more).severity == "serious"


@pytest.mark.parametrize(("skipped", "taken", "severity"), [(10, 10, "info"), (11, 189, "serious"), (11, 209, "info")])
def test_a_scaler_that_skips_for_ever(skipped, taken, severity):
    scaler = OptimizerState(name="Adam", steps=taken, skipped=skipped)
    one = first(losses=SOME, optimizers=(scaler,), steps=taken)
    assert one.severity == severity
    assert f"The gradient scaler skipped {skipped} of {skipped + taken} steps" in one.detail


def test_infinite_gradients_of_a_scaler_at_work_are_no_finding_here():
    scaler = OptimizerState(name="Adam", steps=190, skipped=10)
    assert first(rows=bad(nonfinite_step=0), losses=FALLING, optimizers=(scaler,), steps=190) is None
    scaler = OptimizerState(name="Adam", steps=20, skipped=180)
    one = first(rows=bad(nonfinite_step=0), losses=FALLING, optimizers=(scaler,), steps=20)
    assert (one.severity, one.evidence.origin, one.remedies[0]) == ("serious", "gradient", "guard_operation")


@pytest.mark.parametrize(
    ("rms", "grown", "kind"), [(11.0, True, "target_scale"), (9.0, True, "unknown"), (11.0, False, "unknown")]
)
def test_large_targets_are_named_where_the_loss_grew_before(rms, grown, kind):
    losses = [2.0] * 4 + [200.0 if grown else 2.0] * 2 + [NAN] * 4
    read = replace(output(), target_square=np.full(len(STEPS), rms**2))
    one = first(losses=losses, outputs=[read], rows=bad(nonfinite_weight_step=6))
    assert one.cause.kind == kind
    if kind == "target_scale":
        assert one.remedies[0] == "standardise_targets"
        assert "root mean square of 11" in one.cause.text


@pytest.mark.parametrize(("later", "named"), [([0, 0, 1, 0, 1, 0], True), ([0] * 6, False)])
def test_targets_that_hold_it_in_some_batches_only_come_from_the_data(later, named):
    """What a model makes of itself is not finite ever after; between two looks nobody saw the target of that step."""
    read = output(steps=range(10))
    read = replace(read, nonfinite_target=np.array([0] * 4 + later))
    losses = [2.0, 2.0, 2.0] + [NAN] * 7
    found = first(losses=losses, outputs=[read])
    assert (found.cause.kind == "input_not_finite") == named


def test_an_output_that_is_not_finite_at_the_first_step_of_finite_inputs_is_an_operations_doing():
    windows = [healthy(steps=STEPS, nonfinite_step=0)]
    known = first(losses=[NAN] * 10, windows=windows, inputs=inputs())
    assert known.cause.kind == "numerical_operation"
    assert known.cause.text == "an operation of the forward pass: inputs and weights were finite"
    assert first(losses=[NAN] * 10, windows=windows).cause.kind == "unknown"
    # Tokens are whole numbers, of which no size is measured, but samples are told apart by them.
    process = training([*HEALTHY], losses=[NAN] * 10, windows=windows)
    tokens = replace(process, snapshots=tuple(replace(one, distinct_samples=50) for one in process.snapshots))
    (told,) = [one for one in diagnose(tokens).findings if one.rule == "non-finite"]
    assert told.cause.kind == "numerical_operation"


def test_a_loss_is_to_blame_where_its_output_was_read_though_no_activation_was():
    read = output(steps=range(10))
    found = first(losses=[NAN] * 10, sites=[], windows=[], outputs=[read])
    assert found.cause.kind == "loss_not_finite"
