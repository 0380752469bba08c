"""What `--json` prints is what the printed schema says, for real runs, and the check can fail."""

import copy
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from rectifier.cli.commands import report
from rectifier.report.json.documents import comparison_json, run_json
from rectifier.report.json.explanation import explanation_json
from rectifier.report.json.schema import json_schema
from rectifier.report.sentences import told_explanation
from tests.edge import diagnose
from tests.report.builders import make_comparison, make_explanation, make_process, make_run
from tests.report.validator import faults

SCHEMA = json_schema()


def as_read(document):
    return json.loads(json.dumps(document, allow_nan=False))


@pytest.fixture(scope="module")
def document(dying):
    return as_read(run_json(*dying))


def test_a_run_that_died_is_valid(document):
    assert faults(document, SCHEMA, SCHEMA) == []
    assert document["processes"][0]["findings"], "there was something to describe"


def test_a_run_without_end_loss_or_counters_is_valid():
    for process in (make_process((3, 5), loss=False), replace(make_process((3,)), snapshots=())):
        run = replace(make_run(process), outcome=None)
        assert faults(as_read(run_json(run, [diagnose(process)])), SCHEMA, SCHEMA) == []


def test_a_comparison_is_valid():
    comparison = make_comparison(margin=0.03)
    broken = replace(comparison.trials[0], metric=float("inf"))
    got = as_read(comparison_json(replace(comparison, trials=(broken, *comparison.trials[1:]))))
    assert faults(got, SCHEMA, SCHEMA) == []


def test_an_explanation_is_valid_by_itself_and_within_its_run(dying):
    explanation = told_explanation(make_explanation())
    document = as_read(explanation_json(explanation))
    assert faults(document, SCHEMA, SCHEMA) == []
    assert faults(as_read(run_json(*dying, explanation=explanation)), SCHEMA, SCHEMA) == []
    document["control"].pop("chaotic")
    document["cause"]["kind"] = "fate"
    told = faults(document, SCHEMA["$defs"]["ExplanationDocument"], SCHEMA)
    assert any("no chaotic" in fault for fault in told), told
    assert any("fate" in fault for fault in told), told


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (lambda d: d.pop("worst"), "no worst"),
        (lambda d: d.update(more=1), "more is not documented"),
        (lambda d: d.update(schema_version=1), "1 is not 2"),
        (lambda d: d.update(worst="bad"), "'bad' is not one of"),
        (lambda d: d["manifest"].update(name=3), "3 is no string"),
        (lambda d: d["processes"][0]["findings"][0].pop("cause"), "no cause"),
        (lambda d: d["processes"][0]["findings"][0].update(units=["a"]), "'a' is no integer"),
        (lambda d: d["processes"][0]["layers"][0].update(dead=1.5), "1.5 is no"),
        (lambda d: d["processes"][0]["layers"][0]["dead_history"].append([1]), "1 items"),
        (lambda d: d["manifest"].update(format_version=0), "0 is out of bounds"),
        (lambda d: d["processes"][0]["loss"].update(values=[True]), "True is no number"),
    ],
)
def test_whatever_differs_from_the_schema_is_noticed(document, spoil, fault):
    spoiled = copy.deepcopy(document)
    spoil(spoiled)
    told = faults(spoiled, SCHEMA["$defs"]["RunDocument"], SCHEMA)
    assert any(fault in line for line in told), told


def test_every_field_of_a_finding_and_of_a_layer_that_a_reader_may_misread_is_explained():
    finding, layer = (SCHEMA["$defs"][name]["properties"] for name in ("Finding", "LayerSummary"))
    assert all("description" in field for field in finding.values())
    assert layer["delta"]["description"].startswith("Norm of ∂L/∂z per sample")
    assert layer["stuck"]["description"].endswith("such units still learn.")


def test_the_schema_is_printed_without_naming_a_run():
    result = CliRunner().invoke(report.command, ["--schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == as_read(SCHEMA)
