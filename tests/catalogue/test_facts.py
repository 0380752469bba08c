"""Every fact of the table against torch, or against numbers that this file computes for itself."""

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import expit, ndtr

from rectifier.activations import function_for, module_for
from rectifier.catalogue import CATALOGUE, Choice, parse
from rectifier.catalogue.curves import CURVES
from rectifier.errors import UnknownActivation

ROWS = list(CATALOGUE)
# Odd spacing: 0, the kinks and their neighbours are among the points by name, not by luck.
GRID = np.concatenate([np.linspace(-12, 12, 4_801), [-3, -1.5, -1, -0.5, -0.0, 0.0, 0.5, 1, 3, 6, 10]])
WITH_PARAMETERS = [
    *ROWS, "leaky_relu:0.3", "leaky_relu:0.0", "leaky_relu:-0.5", "leaky_relu:2.0", "prelu:-0.5", "elu:0.7", "elu:0.0",
    "elu:-1.5", "celu:2.0", "celu:-0.7", "softplus:3.0", "softshrink:1.25", "hardshrink:0.0", "threshold:-0.75",
    "threshold:1.5", "surrogate_gradient:0.3", "surrogate_gradient:0.0",
]  # fmt: skip


def of_torch(choice: Choice, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and derivative by torch's own operators and its autograd, in float64."""
    x = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    h = module_for(choice, dtype=torch.float64).eval()(x)
    (slope,) = torch.autograd.grad(h.sum(), x)
    return h.detach().numpy(), slope.numpy()


@pytest.mark.parametrize("spec", WITH_PARAMETERS)
def test_value_and_derivative_are_torchs(spec):
    choice = parse(spec)
    value, slope = of_torch(choice, GRID)
    np.testing.assert_allclose(choice.value(GRID), value, rtol=1e-9, atol=1e-12)
    # Torch rounds 1/alpha of CELU's backward to float32.
    tolerance = 1e-6 if choice.activation.name == "celu" else 1e-7
    np.testing.assert_allclose(choice.derivative(GRID), slope, rtol=tolerance, atol=1e-11)


# What its backward passes is on purpose not the slope of its value.
HONEST = [spec for spec in WITH_PARAMETERS if not spec.startswith("surrogate_gradient")]


@pytest.mark.parametrize("spec", HONEST)
def test_derivative_is_the_slope_of_the_value(spec):
    """By central differences where no kink is near: torch and the table could be wrong together."""
    choice, z, step = parse(spec), np.linspace(-7.9137, 7.9137, 1_001), 1e-6
    difference = (choice.value(z + step) - choice.value(z - step)) / (2 * step)
    kinks = (0, *(sign * k for k in (0.5, 1, 1.25, 1.5, 0.75, 3, 6) for sign in (1, -1)))
    smooth = np.min([np.abs(z - kink) for kink in kinks], axis=0) > 2 * step
    assert smooth.sum() > 990
    np.testing.assert_allclose(choice.derivative(z)[smooth], difference[smooth], atol=1e-8, rtol=1e-6)


def test_only_the_surrogate_gradient_passes_something_else_than_the_slope_of_the_value():
    assert set(WITH_PARAMETERS) - set(HONEST) == {
        "surrogate_gradient", "surrogate_gradient:0.3", "surrogate_gradient:0.0"
    }  # fmt: skip
    with pytest.raises(AssertionError):
        test_derivative_is_the_slope_of_the_value("surrogate_gradient:0.3")


WORDS = {
    "max": np.maximum, "min": np.minimum, "exp": np.exp, "log": np.log, "tanh": np.tanh, "sqrt": np.sqrt,
    "sigma": expit,
    "Phi": ndtr, "phi": lambda z: np.exp(-z * z / 2) / np.sqrt(2 * np.pi), "softplus": lambda z: np.logaddexp(0, z),
    "pi": np.pi,
}  # fmt: skip


def read(text: str, z: float, names: dict[str, float], defined_in: str = "") -> float:
    """Compute what a formula or a condition in the table says, at one point; `f, t = g` defines t first.

    A derivative may use what its formula defines.
    """
    text = text.partition(";")[0] + "".join(re.findall(r", t = .*", defined_in if " = " not in text else ""))
    main, *definitions = re.split(r", (?=[at] [=~])|, a learned", text)
    main = main.rpartition(" = ")[2]
    scope = {**WORDS, **names, "z": z}
    for definition in definitions:
        name, equals, rest = definition.partition(" = ")
        if equals:
            scope[name] = eval(python(rest), scope)
    return float(eval(python(main), scope))


def python(text: str) -> str:
    for sign, word in {
        "·": "*", "−": "-", "²": "**2", "³": "**3", "√": "sqrt", "σ": "sigma", "Φ": "Phi", "φ": "phi", "π": "pi",
        "≤": "<=", "≥": ">=",
    }.items():  # fmt: skip
        text = text.replace(sign, word)
    text = re.sub(r"\|([^|]*)\|", r"abs(\1)", text)
    return text.replace("log sigma(z)", "log(sigma(z))")


def names(choice: Choice) -> dict[str, float]:
    row = choice.activation
    known = {row.parameter: choice.parameter} if row.parameter else {}
    return {**known, "a": 11 / 48 if row.name == "rrelu" else choice.parameter}


@pytest.mark.parametrize("spec", WITH_PARAMETERS)
def test_the_printed_words_are_the_formula(spec):
    choice = parse(spec)
    points = np.linspace(-6.3, 6.3, 91)
    tolerance = 1e-4 if choice.activation.name == "selu" else 1e-9  # four digits are printed
    row = choice.activation
    said = [read(row.formula, z, names(choice)) for z in points]
    np.testing.assert_allclose(said, choice.value(points), rtol=tolerance, atol=1e-12)
    said = [read(row.derivative, z, names(choice), row.formula) for z in points]
    np.testing.assert_allclose(said, choice.derivative(points), rtol=max(tolerance, 1e-8), atol=1e-12)


@pytest.mark.parametrize("spec", [s for s in WITH_PARAMETERS if not s.endswith(":0.0")])
def test_the_derivative_is_zero_where_the_words_say_so_and_nowhere_else(spec):
    choice = parse(spec)
    slope = choice.derivative(GRID)
    said = np.zeros(len(GRID), dtype=bool)
    points = []
    for part in re.sub(r" \(.*\)", "", choice.activation.flat).split(" and "):
        if point := re.fullmatch(r"(?:only )?(?:at )?z [≈=] (−?[\d.]+)", part):
            points.append(float(point[1].replace("−", "-")))
        elif part != "nowhere":
            said |= np.array([bool(read(part, z, names(choice))) for z in GRID])
    for point in points:
        before, at, after = choice.derivative([point - 1e-3, point, point + 1e-3])
        assert abs(at) < 1e-4
        assert before * after < 0 or choice.activation.name == "tanhshrink"
        said |= np.abs(GRID - point) < 1e-12
    inside = np.abs(GRID) < 7  # farther out exponentials round to 0 or are subtracted from 1
    near = np.min([np.abs(GRID - point) for point in [*points, 99]], axis=0) < 1e-2
    zero = slope == 0
    assert (zero[inside & ~near] == said[inside & ~near]).all()
    far = np.abs(GRID) >= 7
    assert zero[far & said].all()


@pytest.mark.parametrize("spec", WITH_PARAMETERS)
def test_flat_below_is_the_edge_of_the_flat_left_side(spec):
    choice = parse(spec)
    edge = choice.flat_below
    if edge is None:
        # Softshrink and hardshrink are flat in the middle only.
        assert (choice.derivative(np.linspace(-30, -2, 57)) != 0).any()
    else:
        assert (choice.derivative(np.linspace(edge - 30, edge, 1_001)) == 0).all()
        assert choice.derivative(edge + 1e-6) != 0


@pytest.mark.parametrize("spec", [*WITH_PARAMETERS, "leaky_relu:50.0", "celu:0.01", "softplus:0.01", "softshrink:4.0"])
def test_gain_keeps_the_mean_square(spec):
    choice = parse(spec)
    if choice.activation.name == "threshold":
        edges = [choice.parameter]
    else:
        edges = [-1.0, 1.0] if choice.activation.name == "hardtanh" else []
    edges = sorted({-12.0, -4.0, -3.0, -1.25, -0.5, 0.0, 0.5, 0.7, 1.25, 3.0, 4.0, 6.0, 12.0, *edges})

    def integrand(z: float) -> float:
        return float(choice.value(z)) ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    pieces = itertools.pairwise(edges)
    moment = sum(quad(integrand, a, b, epsabs=1e-14, epsrel=1e-11)[0] for a, b in pieces)
    assert choice.gain == pytest.approx(1 / math.sqrt(moment), rel=1e-8)


def test_gain_is_torchs_where_torch_means_the_same():
    assert parse("relu").gain == pytest.approx(torch.nn.init.calculate_gain("relu"))
    for slope in (0.0, 0.01, 0.2, 1.0):
        ours = parse(f"leaky_relu:{slope}").gain
        assert ours == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", slope))


@pytest.mark.parametrize("name", ROWS)
def test_signed_monotone_smooth_and_value_at_zero(name):
    choice, row = parse(name), CATALOGUE[name]
    dense = np.linspace(-12, 12, 240_001)
    value = choice.value(dense)
    assert row.signed == bool((value < 0).any())
    assert row.monotone == bool((np.diff(value) >= -1e-15).all())
    assert float(choice.value(0.0)) == pytest.approx(row.value_at_zero, abs=1e-12)
    # A jump does not shrink with the spacing; a slope of f′ does.
    jump = np.abs(np.diff(choice.derivative(dense))).max()
    assert row.smooth == bool(jump < 1e-3), jump


@pytest.mark.parametrize("name", ROWS)
def test_parameter_and_default_are_torchs(name):
    import inspect

    row = CATALOGUE[name]
    if row.module is None and row.parameter is None:
        return
    assert (row.module is None) == (name == "surrogate_gradient")
    module = getattr(torch.nn, row.module) if row.module else type(module_for(parse(name)))
    arguments = inspect.signature(module).parameters
    if row.parameter is not None:
        default = arguments[row.parameter].default
        # nn.Threshold has no default; 0 is ReLU.
        assert row.default == (0.0 if default is inspect.Parameter.empty else default)
    assert row.function is None or hasattr(torch.nn.functional, row.function)


@pytest.mark.parametrize("name", ROWS)
def test_function_and_module_agree(name):
    x = torch.linspace(-7, 7, 77, dtype=torch.float64)
    choice = parse(name)
    module = module_for(choice, dtype=torch.float64).eval()
    assert torch.allclose(module(x), torch.tensor(choice.value(x)), rtol=1e-9, atol=1e-9)
    if name not in ("prelu", "rrelu"):
        assert torch.equal(function_for(choice)(x), module(x))


def test_every_activation_of_torch_has_a_row_or_a_reason():
    modules = torch.nn.modules.activation
    named = [name for name in modules.__all__ if isinstance(getattr(modules, name), type)]
    assert len(named) >= 29
    rows = {row.module for row in CATALOGUE.values()}
    without = set(named) - rows
    assert without == {"GLU", "MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax"}
    for name in without:
        with pytest.raises(UnknownActivation, match=r"has no row: .*(units|channels|positions|half)"):
            parse(name)
    for name in set(named) - without:
        assert parse(name).activation.module == name


# The keys of ACT2FN in transformers 5.23.0, and which torch-free curve each one is.
TRANSFORMERS = {
    "gelu": "gelu", "gelu_10": "gelu_10", "gelu_fast": "gelu_tanh", "gelu_new": "gelu_tanh", "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh", "gelu_python_tanh": "gelu_tanh", "gelu_accurate": "gelu_tanh",
    "hardswish": "hardswish", "laplace": "laplace", "leaky_relu": "leaky_relu", "linear": "identity", "mish": "mish",
    "quick_gelu": "quick_gelu", "relu": "relu", "relu2": "relu_squared", "relu6": "relu6", "sigmoid": "sigmoid",
    "silu": "silu", "sqrtsoftplus": "sqrt_softplus", "swish": "silu", "tanh": "tanh", "prelu": "prelu",
}  # fmt: skip


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_name_of_transformers_is_known(name):
    assert parse(name).activation.name == TRANSFORMERS[name]


def test_the_one_name_of_transformers_without_a_row_says_why():
    with pytest.raises(UnknownActivation, match=r"'xielu' has no row: xIELU's two coefficients are learned"):
        parse("xielu")


def test_every_row_has_a_curve_and_a_paper():
    assert set(CURVES) == set(CATALOGUE)
    for row in CATALOGUE.values():
        assert re.search(r"\d{4}|no (single )?source", row.paper), row.name


@pytest.mark.parametrize(
    ("fact", "wrong"),
    [("formula", "z if z > 0 else 2·negative_slope·z"), ("derivative", "1 if z ≥ 0 else negative_slope"),
     ("signed", False), ("monotone", False), ("smooth", True), ("value_at_zero", 0.1)],
)  # fmt: skip
def test_a_wrong_fact_would_be_caught(fact, wrong, monkeypatch):
    row = CATALOGUE["leaky_relu"]
    planted = {**CATALOGUE, "leaky_relu": dataclasses.replace(row, **{fact: wrong})}
    monkeypatch.setitem(globals(), "CATALOGUE", planted)
    choice = Choice(planted["leaky_relu"], 0.01)
    monkeypatch.setitem(globals(), "parse", lambda _: choice)
    check = (
        test_the_printed_words_are_the_formula
        if fact in ("formula", "derivative")
        else test_signed_monotone_smooth_and_value_at_zero
    )
    if fact == "derivative":
        # The two words differ at 0 alone.
        assert read(wrong, 0.0, names(choice)) != choice.derivative(0.0)
    else:
        with pytest.raises(AssertionError):
            check("leaky_relu")


@pytest.mark.parametrize("which", [0, 1])
def test_a_wrong_curve_would_be_caught(which, monkeypatch):
    planted = list(CURVES["elu"])
    right = planted[which]
    planted[which] = lambda z, alpha: right(z, alpha) + 1e-6 * (np.abs(z + 2) < 0.1)
    monkeypatch.setitem(CURVES, "elu", tuple(planted))
    with pytest.raises(AssertionError):
        test_value_and_derivative_are_torchs("elu")


def test_a_wrong_gain_would_be_caught(monkeypatch):
    row = dataclasses.replace(CATALOGUE["gelu"], _second_moment=lambda _: 0.42522)
    monkeypatch.setitem(globals(), "parse", lambda _: Choice(row, None))
    with pytest.raises(AssertionError):
        test_gain_keeps_the_mean_square("gelu")
