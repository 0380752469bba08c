"""Runs, comparisons and inspections for programs: JSON with a version that changes when a field goes or changes.

`schema_version` 2. The documents repeat the records' own names (`rectifier.records`); findings are as
`rectifier.report.json.forms` has them. Arrays are lists. Numbers that are absent, NaN or infinite are null: JSON has
no word for those. Counters are left out of a run, because its folder holds them. `rectifier report --schema` prints the
JSON Schema (`rectifier.report.json.schema`).
"""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from rectifier.records import (
    Census,
    Comparison,
    Diagnosis,
    Explanation,
    Inspection,
    Judged,
    Preflight,
    Run,
    most_severe,
    to_builtins,
)
from rectifier.report.json.explanation import explanation_json
from rectifier.report.json.forms import SCHEMA_VERSION, form_of, layer_of, not_judged_of, treated_of, unseen_of
from rectifier.report.sentences import checkpoint


def run_json(run: Run, diagnoses: Sequence[Diagnosis], explanation: Explanation | None = None) -> dict[str, Any]:
    """A run and its diagnosis.

    Args:
        run: As read from its folder.
        diagnoses: One per process of the run, in the same order.
        explanation: Why it failed, where that was found out.

    Returns:
        `schema_version`, `kind` ("run"), `manifest`, `outcome` (null while the script runs, or where its end is not on
        record), `worst` (the highest severity of what is not suppressed, or null), and `processes`, each with `writer`,
        `findings`, `suppressed`, `layers`, `not_judged` (what could not be judged, and why), `cost` (null when nothing
        was counted), `loss` (lists `steps` and `values` of one length; `every` is above 1 where late values of a long
        run are thinned), `unseen`, `left_alone` (steps that were not observed, by who recorded the operations there),
        `changes`, `treated`, `warnings`. `explanation` is what `rectifier explain --json` printed of it, or null.
    """
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": "run",
        "manifest": to_builtins(run.manifest),
        "outcome": to_builtins(run.outcome),
        "worst": most_severe(diagnosis.worst for diagnosis in diagnoses if diagnosis.worst is not None),
        "processes": [
            {
                "writer": to_builtins(process.writer),
                **_judged(diagnosis, run.manifest.command),
                "cost": to_builtins(process.snapshots[-1].cost) if process.snapshots else None,
                "loss": to_builtins(process.series("loss")),
                "unseen": to_builtins([unseen_of(one) for one in process.unseen]),
                "left_alone": to_builtins(process.snapshots[-1].left_alone) if process.snapshots else {},
                "changes": list(process.changes),
                "treated": to_builtins([treated_of(one) for one in process.treated]),
                "warnings": list(process.warnings),
            }
            for process, diagnosis in zip(run.processes, diagnoses, strict=True)
        ],
        "explanation": None if explanation is None else explanation_json(explanation),
    }
    strict: dict[str, Any] = _strict(document)
    return strict


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison with every trial.

    Returns:
        `schema_version`, `kind` ("comparison"), and the fields of `rectifier.records.Comparison`.
    """
    document: dict[str, Any] = _strict(
        {"schema_version": SCHEMA_VERSION, "kind": "comparison", **to_builtins(comparison)}
    )
    return document


def census_json(census: Census) -> dict[str, Any]:
    """A census with every unit.

    Returns:
        `schema_version`, `kind` ("census"), and the fields of `rectifier.records.Census`.
    """
    document: dict[str, Any] = _strict({"schema_version": SCHEMA_VERSION, "kind": "census", **to_builtins(census)})
    return document


def check_json(found: Preflight) -> dict[str, Any]:
    """A check of an untrained network.

    Returns:
        `schema_version`, `kind` ("check"), `worst` (the highest severity of what is not suppressed, or null), and the
        fields of `rectifier.records.Preflight`.
    """
    document: dict[str, Any] = _strict(
        {"schema_version": SCHEMA_VERSION, "kind": "check", "worst": found.worst, **_judged(found)}
    )
    return document


def inspection_json(inspection: Inspection) -> dict[str, Any]:
    """An inspection with every finding and a row for every weight.

    Returns:
        `schema_version`, `kind` ("inspection"), `worst` (the highest severity or null), and the fields of
        `rectifier.records.Inspection`; null where a number cannot be told.
    """
    document: dict[str, Any] = _strict(
        {
            "schema_version": SCHEMA_VERSION,
            "kind": "inspection",
            "worst": inspection.worst,
            **_judged(inspection),
            "untold": [checkpoint.untold(one) for one in inspection.untold],
        }
    )
    return document


def _judged(judged: Judged, command: Sequence[str] = ()) -> dict[str, Any]:
    """A record of findings, these in the form that JSON has."""
    rest = {field.name: getattr(judged, field.name) for field in fields(judged) if field.name not in FINDINGS}
    forms = {name: [form_of(finding, command) for finding in getattr(judged, name)] for name in FINDINGS}
    if isinstance(judged, Diagnosis):
        rest["layers"] = [layer_of(layer) for layer in judged.layers]
        rest["not_judged"] = [not_judged_of(one) for one in judged.not_judged]
    built: dict[str, Any] = to_builtins({**forms, **rest})
    return built


FINDINGS = ("findings", "suppressed")
"""Fields that hold findings."""


def _strict(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    return [_strict(item) for item in value] if isinstance(value, list | tuple) else value
