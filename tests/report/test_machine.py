"""The documented JSON is the JSON, and strict."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from rectifier.records import (
    ArmVerdict,
    Comparison,
    Cost,
    Effect,
    Finding,
    FlatOutput,
    LayerSummary,
    Manifest,
    Outcome,
    Rule,
    Series,
    Trial,
    Writer,
)
from rectifier.report.json import forms
from rectifier.report.json.documents import comparison_json, run_json
from rectifier.report.sentences.fixes import fix_text
from tests.findings import ref
from tests.report.builders import HOSTILE, make_comparison, make_hostile, make_process, make_run


def strictly(document):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(json.dumps(document), parse_constant=refuse)


def names(kind):
    return {field.name for field in fields(kind)}


def test_a_run_has_the_documented_fields(dying):
    run, diagnoses = dying
    got = strictly(run_json(run, diagnoses))
    assert set(got) == {"schema_version", "kind", "manifest", "outcome", "worst", "processes", "explanation"}
    assert got["explanation"] is None
    assert (got["schema_version"], got["kind"], got["worst"]) == (2, "run", "warning")
    assert set(got["manifest"]) == names(Manifest)
    assert got["manifest"]["command"] == ["train.py", "--lr", "0.1"]
    assert got["outcome"] == {"exit_code": 0, "seconds": 23.4}
    assert set(got["outcome"]) == names(Outcome)
    (process,) = got["processes"]
    assert set(process) == {
        "writer",
        "findings",
        "layers",
        "not_judged",
        "suppressed",
        "cost",
        "loss",
        "unseen",
        "left_alone",
        "changes",
        "treated",
        "warnings",
    }
    assert set(process["writer"]) == names(Writer)
    assert set(process["cost"]) == names(Cost)
    assert process["cost"]["steps"] == 180
    assert set(process["loss"]) == names(Series)
    assert process["loss"]["steps"] == list(range(180))
    whole = run.processes[0].series("loss").values.tolist()
    assert process["loss"]["values"] == whole
    for found, finding in zip(process["findings"], diagnoses[0].findings, strict=True):
        assert set(found) == names(forms.Finding)
        assert (found["rule"], found["severity"]) == (finding.rule, finding.severity)
        assert found["title"] == finding.title
        assert found["cause"] == {"kind": finding.cause.kind, "text": finding.cause.text}
        assert found["remedies"] == list(finding.remedies)
        assert found["fixes"] == [fix_text(fix.kind, run.manifest.command) for fix in finding.fixes]
        site = finding.site
        named = {"label": site.key, "name": site.label}
        assert found["site"] == {"path": site.path, "call": site.call, "model": site.model, **named}
        assert found["units"] == list(finding.units)
        assert found["numbers"] == finding.numbers
    for found, layer in zip(process["layers"], diagnoses[0].layers, strict=True):
        assert set(found) == {*names(LayerSummary), "name"}
        assert (found["site"], found["name"]) == (layer.site.key, layer.site.label)
        assert found["dead"] == layer.dead
        assert found["dead_history"] == [list(pair) for pair in layer.dead_history]


def test_what_is_absent_or_no_number_is_null():
    process = make_process((3, 5))
    loss = Series(steps=np.arange(4), values=np.array([1.5, np.nan, np.inf, -np.inf]))
    cost = replace(process.snapshots[0].cost, training_seconds=float("inf"))
    process = replace(process, snapshots=(replace(process.snapshots[0], series={"loss": loss}, cost=cost),))
    run = replace(make_run(process), outcome=None)
    from tests.edge import diagnose

    diagnosis = diagnose(process)
    odd = FlatOutput(activation="relu", samples=3, output_zero_fraction=float("nan"))
    finding = Finding(rule=Rule.OUTPUT_ACTIVATION, severity="info", site=ref("act"), evidence=odd)
    got = strictly(run_json(run, [replace(diagnosis, findings=(finding,))]))
    assert got["outcome"] is None
    (found,) = got["processes"]
    assert found["loss"] == {"steps": [0, 1, 2, 3], "values": [1.5, None, None, None], "every": 1}
    assert found["cost"]["training_seconds"] is None
    assert found["findings"][0]["numbers"] == {"activation": "relu", "samples": 3, "output_zero_fraction": None}
    assert found["findings"][0]["since"] is None


def test_a_run_in_which_nothing_was_counted():
    process = replace(make_process((3,)), snapshots=())
    from tests.edge import diagnose

    got = strictly(run_json(make_run(process), [diagnose(process)]))
    assert got["processes"][0]["cost"] is None
    assert got["processes"][0]["loss"] == {"steps": [], "values": [], "every": 1}
    assert strictly(run_json(make_run(), []))["worst"] is None


def test_the_worst_of_several_processes_is_told(dying, healthy):
    both = make_run(healthy[0].processes[0], dying[0].processes[0])
    assert strictly(run_json(both, [healthy[1][0], dying[1][0]]))["worst"] == "warning"


def test_a_comparison_has_the_fields_of_its_record():
    comparison = make_comparison(margin=0.03)
    broken = replace(comparison.trials[0], metric=float("inf"))
    got = strictly(comparison_json(replace(comparison, trials=(broken, *comparison.trials[1:]))))
    assert set(got) == {"schema_version", "kind"} | names(Comparison)
    assert (got["schema_version"], got["kind"]) == (2, "comparison")
    for found, arm in zip(got["arms"], comparison.arms, strict=True):
        assert set(found) == names(ArmVerdict)
        assert found["sentence"] == arm.sentence
        assert (found["metric"] is None) == (arm.metric is None)
        assert set(found["metric"] or names(Effect)) == names(Effect)
    assert got["trials"][0]["metric"] is None
    for found, trial in zip(got["trials"][1:], comparison.trials[1:], strict=True):
        assert set(found) == names(Trial)
        assert found["metric"] == trial.metric
    assert got["seeds"] == list(range(12))


def test_names_are_kept_as_they_are():
    got = strictly(run_json(*make_hostile()))
    assert got["processes"][0]["layers"][0]["site"] == HOSTILE


def test_what_is_not_strict_would_be_noticed():
    with pytest.raises(AssertionError, match="NaN is no JSON"):
        strictly({"a": float("nan")})
