"""Runs and comparisons for programs: JSON with a version that changes when a field changes its meaning or goes.

`schema_version` 1. Both documents repeat the records' own names (`rectifier.records`), with arrays as lists, absent
numbers as null, and these differences: counters are left out of a run, because its folder holds them.
"""

from collections.abc import Sequence
from typing import Any

from rectifier.records import Comparison, Diagnosis, Run, to_builtins

SCHEMA_VERSION = 1


def run_json(run: Run, diagnoses: Sequence[Diagnosis]) -> dict[str, Any]:
    """A run and its diagnosis.

    Returns:
        `schema_version`, `kind` ("run"), `manifest`, `outcome` (null while the script runs), `worst` (the highest
        severity or null), and `processes`, each with `writer`, `findings`, `layers`, `cost` (null when nothing was
        counted), `loss` (steps and values), `unseen`, `changes`, `warnings`.
    """
    order = ("serious", "warning", "info")
    severities = {diagnosis.worst for diagnosis in diagnoses}
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "run",
        "manifest": to_builtins(run.manifest),
        "outcome": to_builtins(run.outcome),
        "worst": next((severity for severity in order if severity in severities), None),
        "processes": [
            {
                "writer": to_builtins(process.writer),
                **to_builtins(diagnosis),
                "cost": to_builtins(process.snapshots[-1].cost) if process.snapshots else None,
                "loss": to_builtins(process.series("loss")),
                "unseen": to_builtins(process.unseen),
                "changes": list(process.changes),
                "warnings": list(process.warnings),
            }
            for process, diagnosis in zip(run.processes, diagnoses, strict=True)
        ],
    }


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison with every trial.

    Returns:
        `schema_version`, `kind` ("comparison"), and the fields of `rectifier.records.Comparison`.
    """
    return {"schema_version": SCHEMA_VERSION, "kind": "comparison", **to_builtins(comparison)}
