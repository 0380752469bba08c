"""What one pass says before training: the chances against the published table, every threshold, every wording."""

from dataclasses import replace

import pytest

from rectifier.diagnosis.training.units.born import line_probability, one_input_probability
from rectifier.records import Probe, SiteProbe
from tests.diagnosis.builders import site
from tests.edge import judge_probe

# Gaussian weights, zero bias, a one-dimensional input with both signs: width -> P for 2, 3, 4, 5, 9 and 20 layers.
BORN_DEAD = {
    1: (0.50000, 0.75000, 0.87500, 0.93750, 0.99609, 1.0000),
    2: (0.15625, 0.34015, 0.49772, 0.62130, 0.87984, 0.99492),
    3: (0.04297, 0.11851, 0.20626, 0.29424, 0.57858, 0.90279),
    4: (0.01123, 0.03677, 0.07266, 0.11458, 0.29440, 0.64996),
    5: (0.00287, 0.01085, 0.02378, 0.04060, 0.12832, 0.37533),
    10: (0.0, 0.00002, 0.00009, 0.00021, 0.00130, 0.00782),
}


@pytest.mark.parametrize("width", BORN_DEAD)
def test_the_bounds_enclose_the_exact_chance(width):
    for depth, exact in zip((2, 3, 4, 5, 9, 20), BORN_DEAD[width], strict=True):
        low, high = line_probability(width, depth)
        assert low - 1e-4 <= exact <= high + 1e-4
        assert 0 <= low <= high <= one_input_probability([width] * depth) <= 1


def test_closed_forms():
    assert line_probability(7, 1) == (0.0, 0.0)
    for width in (1, 2, 5, 9):
        # Two layers: the lower bound is exact.
        assert line_probability(width, 2)[0] == pytest.approx(3 * 4.0**-width - 2 * 8.0**-width, rel=1e-9)
    assert line_probability(1, 6)[0] == pytest.approx(1 - 2.0**-5)
    assert one_input_probability([3, 5]) == pytest.approx(1 - (1 - 1 / 8) * (1 - 1 / 32))
    assert one_input_probability([64]) == pytest.approx(2.0**-64)
    assert one_input_probability([5000]) < 1e-300
    assert line_probability(5000, 2) == (0.0, 0.0)


def layer(path, *, units=4, silent=(), spread=1.0, rms=1.0, delta=1.0, similarity=0.5, samples=500, finite=True,
          activation="relu"):  # fmt: skip
    return SiteProbe(
        site=site(path=path, units=units, activation=activation), samples=samples, silent=tuple(silent), rms=rms,
        spread=spread, similarity=similarity, delta=delta, finite=finite,
    )  # fmt: skip


def probe(*sites, **facts):
    healthy = Probe(
        model="Net", samples=500, sites=sites, input_rms=1.0, input_spread=1.0, input_offset=0.5, input_finite=True,
        output_square=1.0, output_variance=0.5, output_finite=True, ends_in=None, output_zero_fraction=0.0, weights=6,
        weights_reached=6, loss="the output times fixed random signs",
    )  # fmt: skip
    return replace(healthy, **facts)


def names(found):
    return [(finding.rule, finding.severity) for finding in found.findings]


def test_nothing_is_said_of_a_network_in_which_all_is_well():
    found = judge_probe(probe(layer("a"), layer("b")))
    assert (found.findings, found.worst) == ((), None)


@pytest.mark.parametrize(
    ("forward", "backward", "said"),
    [
        (1e-3, 1e-3, None), (0.99e-3, 1e-3, None), (1e-3, 0.99e-3, None), (0.99e-3, 0.99e-3, "vanishes"),
        (1e3, 1e3, None), (1.01e3, 1e3, None), (1e3, 1.01e3, None), (1.01e3, 1.01e3, "explodes"),
        (1e-9, 0.5, None), (0.5, 1e-9, None), (1e-9, 0.0, None),
    ],
)  # fmt: skip
def test_poor_initialisation_needs_both_ways(forward, backward, said):
    found = judge_probe(probe(layer("a", delta=backward), layer("b"), layer("c", spread=forward)))
    assert names(found) == ([("poor-initialisation", "warning")] if said else [])
    if said:
        assert found.findings[0].title == f"the signal {said} both ways at initialisation"
        assert f"times their size arrives at c, and {backward:.1e} of the gradient at a" in found.findings[0].detail
        assert found.findings[0].numbers["factor_per_layer"] == pytest.approx(backward**0.5)


@pytest.mark.parametrize(("similarity", "said"), [(0.99, False), (0.9901, True), (None, False)])
def test_samples_that_look_alike_are_information(similarity, said):
    found = judge_probe(probe(layer("a"), layer("b", similarity=similarity)))
    assert names(found) == ([("poor-initialisation", "info")] if said else [])
    if said:
        assert found.findings[0].title == "samples look alike at b: their mean cosine is 0.9901"


@pytest.mark.parametrize(
    ("variance", "square", "said"),
    [(1e-6, 1.0, False), (0.99e-6, 1.0, True), (0.99e-4, 100.0, True), (1.01e-4, 100.0, False), (0.0, 0.0, False)],
)
def test_an_output_that_hardly_varies(variance, square, said):
    found = judge_probe(probe(layer("a"), layer("b"), output_variance=variance, output_square=square))
    assert names(found) == ([("constant-network", "warning")] if said else [])
    if said:
        assert found.findings[0].title == "the network gives every sample almost the same answer"
        assert found.findings[0].detail == "Over 500 samples the output's variance is 9.9e-07 of its mean square."


def test_a_poor_initialisation_explains_an_output_that_hardly_varies():
    found = judge_probe(probe(layer("a", delta=1e-9), layer("b", spread=1e-9), output_variance=1e-12))
    assert names(found) == [("poor-initialisation", "warning")]


def test_a_single_sample_does_not_vary_and_that_says_nothing():
    assert judge_probe(probe(layer("a"), samples=1, output_variance=float("nan"))).findings == ()


def test_a_network_that_is_born_dead():
    dead = layer("b", units=2, silent=(0, 1), delta=0.0, similarity=None)
    (first,) = judge_probe(probe(layer("a", units=2, delta=0.0), dead, output_variance=0.0, weights_reached=1)).findings
    assert (first.rule, first.severity) == ("constant-network", "serious")
    assert first.title == "born dead: b is silent as a whole, and the network's output is a constant"
    assert first.cause.text == "initialisation, depth 2 and width: the narrowest layer has 2 units"
    assert "A leaky slope prevents this." in first.advice


def test_a_silent_layer_beside_another_path_is_a_warning_and_partly_silent_ones_are_information():
    found = judge_probe(probe(layer("a", silent=(1,)), layer("b", silent=(0, 1, 2, 3))))
    assert names(found) == [("dead-units", "warning"), ("dead-units", "info")]
    assert found.findings[0].title == "b: 4 of 4 units silent before training"
    assert found.findings[0].detail == (
        "On 500 samples: each fires on less than 0.6% of such data (95%). "
        "The output still varies: another path leads around it."
    )
    assert found.findings[1].detail == "On 500 samples: each fires on less than 0.6% of such data (95%)."
    assert found.findings[1].units == (1,)


def test_a_silent_layer_of_leaky_relu_is_no_alarm():
    leaky = layer("b", silent=(0, 1, 2, 3), activation="leaky_relu:0.1")
    assert names(judge_probe(probe(layer("a"), leaky, output_variance=0.0, output_square=0.0))) == [
        ("stuck-negative", "info")
    ]


def test_a_network_of_which_no_parameter_gets_a_gradient():
    (found,) = judge_probe(probe(layer("a"), weights_reached=0, output_variance=0.0, output_square=1.0)).findings
    assert (found.rule, found.severity) == ("no-gradient", "serious")
    assert found.title == "no parameter gets a gradient"
    assert found.cause.text == "a softmax over one unit is the constant 1"
    (other,) = judge_probe(probe(layer("a"), weights_reached=0)).findings
    assert other.cause.text.startswith("cause unknown: the output, or the loss, does not depend")


@pytest.mark.parametrize(
    ("activation", "said"), [("relu", True), ("relu6", True), ("leaky_relu:0.1", False), ("softplus", False)]
)
def test_an_output_relu_is_a_warning(activation, said):
    last = layer("b", activation=activation)
    found = judge_probe(probe(layer("a"), last, ends_in=1, output_zero_fraction=0.25))
    assert names(found) == ([("output-activation", "warning")] if said else [])
    if said:
        assert found.findings[0].title == f"the network ends in {activation}"
        assert found.findings[0].detail.startswith("25% of its outputs are exactly 0 on 500 samples; ")


def test_an_activation_inside_is_no_output():
    assert judge_probe(probe(layer("a"), layer("b"), ends_in=None)).findings == ()


@pytest.mark.parametrize(
    ("facts", "title"),
    [
        ({"input_finite": False}, "the input contains NaN or infinity before any training"),
        ({"output_finite": False}, "the network's output contains NaN or infinity before any training"),
        ({}, "the output of b contains NaN or infinity before any training"),
    ],
)
def test_what_is_not_finite_is_all_that_is_said(facts, title):
    bad = layer("b", finite=bool(facts), silent=(0, 1, 2, 3))
    (found,) = judge_probe(probe(layer("a", silent=(1,)), bad, **facts)).findings
    assert (found.rule, found.severity, found.title) == ("non-finite", "serious", title)


def test_rows_hold_gains_sensitivities_and_gradients():
    found = judge_probe(probe(layer("a", rms=2.0, spread=0.4, delta=0.3), layer("b", rms=3.0, spread=0.2, delta=0.6),
                              input_rms=4.0, input_spread=0.8))  # fmt: skip
    first, second = found.layers
    assert (first.gain, second.gain) == (0.5, 1.5)
    assert (first.sensitivity, second.sensitivity) == pytest.approx((0.5, 0.25))
    assert (first.gradient, second.gradient) == (0.5, 1.0)
    assert found.input_offset == 0.5
    assert judge_probe(probe(layer("a")), measured=False).input_offset is None


def test_indices_have_no_size_and_nothing_is_said_by_it():
    (row,) = judge_probe(probe(layer("a"), input_rms=None, input_spread=None, input_offset=None)).layers
    assert (row.gain, row.sensitivity) == (None, None)


def test_a_finding_can_be_suppressed():
    last = layer("b")
    found = judge_probe(replace(probe(layer("a"), last), ends_in=1), {"output-activation": "targets are counts"})
    assert (found.worst, found.suppressed[0].suppressed) == (None, "targets are counts")
