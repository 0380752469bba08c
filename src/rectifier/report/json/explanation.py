"""An explanation for programs."""

from typing import Any

from rectifier.records import Control, EstablishedCause, Experiment, Explanation, to_builtins
from rectifier.report.json.forms import SCHEMA_VERSION
from rectifier.report.sentences.explanation.causes import cause_text
from rectifier.report.sentences.explanation.verdict import headline


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """An explanation with every experiment.

    Returns:
        `schema_version`, `kind` ("explanation"), `conclusion`, `text`, `cause` (`kind`, `detail`, `place`,
        `established`, `change`; null where nothing is explained), `causes`, `established`, `remedies` (ids), `fixes`
        (commands or lines), `experiments`, `control`, `sights`, `failure` (null where there is nothing to explain) and
        `notes`. A number that is not finite is null.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "explanation",
        "conclusion": str(explanation.conclusion),
        "text": headline(explanation),
        "cause": None if explanation.cause is None else _cause(explanation.cause),
        "causes": [_cause(one) for one in explanation.causes],
        "established": explanation.established,
        "remedies": [str(one) for one in explanation.remedies],
        "fixes": list(explanation.fixes),
        "experiments": [_experiment(one) for one in explanation.experiments],
        "control": _control(explanation.control),
        "sights": to_builtins(explanation.sights),
        "failure": to_builtins(explanation.failure),
        "notes": list(explanation.notes),
    }


def _control(control: Control) -> dict[str, Any]:
    trials = [_experiment(one) for one in control.trials]
    return {**to_builtins(control), "trials": trials, "chaotic": control.chaotic}


def _cause(cause: EstablishedCause) -> dict[str, Any]:
    return {
        "kind": str(cause.kind),
        "detail": cause.detail or cause_text(cause),
        "place": cause.place,
        "established": cause.established,
        "change": None if cause.intervention is None else str(cause.intervention),
    }


def _experiment(experiment: Experiment) -> dict[str, Any]:
    return {**to_builtins(experiment), "intervention": str(experiment.intervention)}
