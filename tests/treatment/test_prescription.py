"""The ladder follows from the findings, says what the diagnosis says, and every rung can be taken and taken back."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import rectifier
from rectifier import prescribe
from rectifier.diagnosis.remedies import comparison_of
from rectifier.errors import CannotPrescribe, CannotRescale
from rectifier.records import BornDead, Cause, CauseKind, Diagnosis, Finding, LayerSummary, Rule
from rectifier.report.sentences.findings.advice import gradients, units
from tests.findings import BY_UPDATE, dead_units, gradient_way, ref
from tests.treatment.recycling.recycle_models import picture, same

ALL = ["advice", "surrogate_gradient", "swap", "rescale", "recycle"]


def finding(site="fc1", severity="warning", **given):
    return dead_units(site, severity=severity, advice=f"Advice for {site}.", **given)


def other(rule, severity="serious"):
    return Finding(rule=rule, severity=severity, advice=f"Advice for {rule}.")


def layer(site, activation="relu"):
    empty = dict.fromkeys(("source", "units", "dead", "suspected", "rare", "stuck", "firing_fraction", "delta"))
    return LayerSummary(site=ref(site), activation=activation, **empty)


BORN = Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=BornDead(never_fired=3, silent=3, depth=1, narrowest_width=7))
UPSTREAM = Cause(kind=CauseKind.UPSTREAM)
CONSTANT = other(Rule.CONSTANT_NETWORK)
VANISHING = gradient_way(advice="Advice for a gradient that vanishes.")
EXPLODING = gradient_way(Rule.EXPLODING_GRADIENT, factor=4.0, advice="Advice for one that grows.")


@pytest.mark.parametrize(
    ("findings", "names"),
    [
        ([], []),
        ([finding(severity="info")], ["advice"]),
        ([finding()], ["advice", "surrogate_gradient", "swap", "recycle"]),
        ([finding(cause=BORN)], ALL),
        ([finding(dead=0)], ["advice", "surrogate_gradient", "swap"]),
        ([finding(activation="relu6")], ["advice", "swap", "recycle"]),
        ([finding(activation="threshold:0.5")], ["advice", "recycle"]),
        ([VANISHING], ["advice", "rescale"]),
        ([EXPLODING], ["advice", "rescale"]),
        ([other(Rule.EXPLODING_GRADIENT)], ["advice"]),
        ([other(Rule.NON_FINITE)], ["advice"]),
        ([other(Rule.STUCK_NEGATIVE, "info")], ["advice"]),
        ([other(Rule.SHRINKING_GRADIENT, "info")], ["advice"]),
        ([CONSTANT, finding(severity="info")], ["advice", "surrogate_gradient", "swap", "recycle"]),
        ([CONSTANT, finding(), finding("fc2", "info", cause=UPSTREAM)], [*ALL[:3], "recycle"]),
        ([VANISHING, finding(cause=BORN)], ALL),
    ],
)
def test_the_ladder_follows_from_the_findings(findings, names):
    ladder = prescribe(findings)
    assert [rung.name for rung in ladder] == names
    assert not set(names) & set(ladder.left_out)
    if findings:
        assert {*names, *ladder.left_out} >= set(ALL), "whatever is not on it has a reason"
        alarms = [one for one in findings if one.severity != "info"] or findings
        assert ladder[0].expect == " ".join(dict.fromkeys(rectifier.describe(one).advice for one in alarms))


def test_it_swaps_what_the_diagnosis_names_a_command_for():
    for activation in ("relu", "relu6", "threshold:0.5", "relu_squared", "leaky_relu:0.0"):
        names = [rung.name for rung in prescribe(finding(activation=activation))]
        assert ("swap" in names) == bool(comparison_of(activation))


def test_it_quotes_what_the_diagnosis_quotes():
    rung = prescribe(finding())["swap"]
    for number in (".471", ".469", "slope 1/3", "Mishkin et al. 2017", "Dohare et al. 2024", "compare before you"):
        assert number.lower() in rung.expect.lower()
        assert number.lower() in " ".join((*units.LEAVE_ALONE, *units.for_dead_units(BY_UPDATE))).lower()
    assert "usually changes nothing" in rung.expect
    assert "(1 + slope²)/2" in prescribe(VANISHING).left_out["swap"]
    assert "(1 + slope²)/2" in " ".join(gradients.VANISHING)
    with pytest.raises(
        CannotPrescribe, match=r"'swap' is not on this ladder: a slope alone hardly helps.*advice, resc"
    ):
        prescribe(VANISHING)["swap"]


def test_places_are_left_out_of_the_line_where_they_are_all():
    layers = (layer("fc1"), layer("fc2"), layer("act", "tanh"))
    some = Diagnosis(findings=(finding(),), layers=layers)
    assert prescribe(some)["swap"].code == "rectifier.swap(model, 'relu', 'leaky_relu:0.1', where=['fc1'])"
    every = Diagnosis(findings=(finding(), finding(ref("fc2", call=1)), finding("fc2")), layers=layers)
    assert prescribe(every)["swap"].code == "rectifier.swap(model, 'relu', 'leaky_relu:0.1')"


@pytest.fixture(scope="module")
def died():
    """A network whose second layer was killed, its third in part; watched while it trains."""
    torch.manual_seed(0)
    layers = [nn.Linear(5, 11), nn.ReLU(), nn.Linear(11, 11), nn.ReLU(), nn.Linear(11, 11), nn.ReLU(), nn.Linear(11, 3)]
    model = nn.Sequential(*layers)
    with torch.no_grad():
        model[2].bias[:9] = -100
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    x = torch.randn(4000, 5)
    with rectifier.watch(model, every=1) as watch:
        for _ in range(12):
            optimizer.zero_grad()
            (model(x) - 3).square().mean().backward()
            optimizer.step()
    return model, optimizer, x, watch


def judged(watch):
    """The diagnosis with its dead units taken for an alarm, which 12 steps cannot show."""
    diagnosis = watch.diagnose()
    found = [one for one in diagnosis.findings if one.rule == "dead-units"]
    return Diagnosis(findings=(replace(found[0], severity="warning"),), layers=diagnosis.layers)


@pytest.mark.parametrize("name", ["advice", "surrogate_gradient", "swap", "recycle"])
def test_every_rung_can_be_taken_and_taken_back(died, name):
    model, optimizer, x, watch = died
    ladder = prescribe(judged(watch))
    before, shown, outputs = picture(model, optimizer), repr(model), model(x)
    change = ladder[name].apply(model, optimizer, x)
    here = {"surrogate_gradient": "SurrogateGradientReLU", "swap": "LeakyReLU"}.get(name)
    assert [type(model[i]).__name__ for i in (1, 3, 5)] == ["ReLU", here or "ReLU", "ReLU"], (
        "only the layer that is ill"
    )
    if name != "swap":
        torch.testing.assert_close(model(x), outputs, rtol=1e-5, atol=1e-6)
    assert same(picture(model, optimizer), before) == (name != "recycle")
    change.undo()
    assert same(picture(model, optimizer), before)
    assert repr(model) == shown


@pytest.mark.parametrize("name", ["surrogate_gradient", "swap", "recycle"])
def test_the_line_does_what_the_rung_does(died, name):
    model, optimizer, x, watch = died
    diagnosis = judged(watch)
    rung = prescribe(diagnosis)[name]
    names = {"rectifier": rectifier, "model": model, "optimizer": optimizer, "batch": x, "watch": diagnosis}
    with eval(rung.code, names) as written:
        shown, line = repr(model), repr(written)
    with rung.apply(model, optimizer, x) as applied:
        assert (repr(model), repr(applied)) == (shown, line)


def test_rescale_is_for_a_model_that_has_not_been_trained(died):
    model, optimizer, x, _ = died
    rung = prescribe(VANISHING)["rescale"]
    with pytest.raises(CannotRescale, match="Training has begun: Adam remembers 12 steps"):
        rung.apply(model, optimizer, x)
    fresh = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    optimizer = torch.optim.Adam(fresh.parameters())
    names = {"rectifier": rectifier, "model": fresh, "optimizer": optimizer, "batch": x}
    with rung.apply(fresh, optimizer, x) as change:
        gains = change.gains
    assert same(dict(fresh.state_dict()), before)
    assert eval(rung.code, names).gains == gains


def test_what_it_refuses():
    with pytest.raises(CannotPrescribe, match="takes what a watch found"):
        prescribe("dead-units")
    with pytest.raises(CannotPrescribe, match=r"recycle needs optimizer and batch: write rung.apply"):
        prescribe(finding())["recycle"].apply(nn.Linear(5, 7))


def test_it_reads_as_a_ladder():
    text = repr(prescribe([finding(severity="info")]))
    assert text.splitlines()[0] == "1. advice: nothing of the model"
    assert "not swap: the silent units are information only: alone they do no harm" in text
    text = repr(prescribe(finding(cause=BORN)))
    assert [line[:2] for line in text.splitlines() if line[1] == "."] == ["1.", "2.", "3.", "4.", "5."]
    assert "what was born dead without biases stays so" in text
