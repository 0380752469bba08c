"""What the findings tell people to do must exist and must be what the evidence carries."""

import shlex

import click
import pytest

from rectifier.catalogue import parse
from rectifier.cli.group import _group
from rectifier.records import BornDead, Cause, CauseKind, ZeroWeights
from rectifier.report.sentences.findings.advice import units
from tests.edge import diagnose

from .builders import FLAT, process, site, snapshot, window

BORN = BornDead(never_fired=3, silent=5, depth=2, narrowest_width=5)
CAUSES = {
    "upstream": Cause(kind=CauseKind.UPSTREAM),
    "born dead": Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=BORN),
    "update": Cause(kind=CauseKind.LEARNING_RATE),
    "input": Cause(kind=CauseKind.INPUT_SCALE),
    "narrow": Cause(kind=CauseKind.NARROW_LAYER, facts=BORN),
    "bias": Cause(kind=CauseKind.INITIAL_BIAS),
    "decay": Cause(kind=CauseKind.WEIGHT_DECAY),
    "output": Cause(kind=CauseKind.OUTPUT_ACTIVATION),
    "constant": Cause(kind=CauseKind.INPUT_CONSTANT),
    "zero": Cause(kind=CauseKind.INITIAL_WEIGHTS, facts=ZeroWeights(weight="gate.weight")),
}


def finding_under(activation):
    seen = window(fired=(0,) * 5, distinct=5000)
    (finding,) = diagnose(process([site(activation=activation)], snapshot([seen], losses=FLAT))).findings
    return finding


@pytest.mark.parametrize(
    ("activation", "command"),
    [
        ("relu", "rectifier compare train.py"),
        ("relu6", "rectifier run --swap relu6=leaky_relu:0.1 train.py"),
        ("threshold:0.5", None),
        ("relu_squared", None),
        ("leaky_relu:0.0", None),
    ],
)
def test_every_command_is_one_that_the_command_line_accepts(activation, command, tmp_path, monkeypatch):
    assert finding_under(activation).command == command
    if command is None:
        return
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").touch()
    program, verb, *arguments = shlex.split(command)
    assert program == "rectifier"
    found = _group.get_command(click.Context(_group), verb)
    given = found.make_context(verb, arguments).params
    # What is no option of ours would be taken for the script's.
    assert ("train.py",) in given.values()
    for swap in given.get("swap", ()):
        old, _, new = swap.partition("=")
        assert (parse(old).spec, parse(new).spec) == (activation, "leaky_relu:0.1")


@pytest.mark.parametrize("kind", CAUSES)
def test_every_cause_has_its_own_first_step(kind):
    text = " ".join(units.for_dead_units(CAUSES[kind]))
    others = [units.for_dead_units(cause)[0] for other, cause in CAUSES.items() if other != kind]
    assert not any(text.startswith(other) for other in others)
    assert text.startswith(("First ", "Fix the layer below first"))
    assert text.endswith(
        "Leaky ReLU keeps a gradient in every unit. A slope of 0.01 prevents networks that are born dead, but "
        "hardly changes the gradient's size; slopes of 0.1 to 0.3 help on hard problems (Dohare et al. 2024). "
        "Often nothing changes: compare before you believe it."
    )


def test_information_asks_for_nothing():
    seen = window(fired=(9, 9, 0, 9, 9), distinct=5000)
    (finding,) = diagnose(process([site()], snapshot([seen]))).findings
    assert finding.severity == "info"
    assert finding.command is None
    assert finding.advice == (
        "Nothing to do: inactive units alone do no harm, and on tuned ordinary networks Leaky ReLU usually changes "
        "nothing (ImageNet top-1 .471 with ReLU, .469 with slope 1/3: Mishkin et al. 2017)."
    )
