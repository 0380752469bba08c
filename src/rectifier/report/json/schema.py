"""The JSON Schema of what `--json` prints, made of the records themselves, so that neither can leave the other behind.

Every field named here is always printed. Readers must bear with fields that are added later.
A number may be null: JSON has no word for NaN and infinities.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, make_dataclass
from typing import Any, get_type_hints

import msgspec

from rectifier.records import (
    SEVERITIES,
    CauseKind,
    Census,
    Comparison,
    Conclusion,
    Control,
    Cost,
    Diagnosis,
    Experiment,
    ExplainedFailure,
    Inspection,
    Judged,
    LayerCheck,
    LayerInspection,
    LayerSummary,
    Manifest,
    Outcome,
    Preflight,
    RemedyId,
    Series,
    Sight,
    Writer,
)
from rectifier.report.json import forms
from rectifier.report.json.documents import FINDINGS
from rectifier.report.json.forms import SCHEMA_VERSION

_DEFS = "#/$defs/"
_ATTRIBUTE = re.compile(r"(?m)^ {8}(\w+): ((?:.+\n?)(?: {10,}.+\n?)*)")


def json_schema() -> dict[str, Any]:
    """The schema of every document that a command prints with `--json`; `kind` tells which one it is.

    Returns:
        A JSON Schema (draft 2020-12). Within one `schema_version` fields may be added, and none changes or goes.

    Example:
        >>> schema = json_schema()
        >>> [branch["$ref"] for branch in schema["oneOf"]]
        ['#/$defs/RunDocument', '#/$defs/ComparisonDocument', '#/$defs/CensusDocument',
         '#/$defs/CheckDocument', '#/$defs/InspectionDocument', '#/$defs/ExplanationDocument']
        >>> schema["$defs"]["Site"]["properties"]["label"]
        {'type': 'string', 'description': 'How a program knows it.'}
    """
    records = (
        Manifest,
        Outcome,
        Writer,
        Cost,
        Series,
        Comparison,
        Census,
        LayerSummary,
        LayerCheck,
        LayerInspection,
    )
    definitions = _definitions(records)
    definitions |= _definitions((forms.Finding, forms.Unseen, forms.Treated, forms.NotJudged))
    row = definitions["LayerSummary"]
    row["properties"] |= {
        "site": {"type": "string", "description": "How a program knows it."},
        "name": {"type": "string", "description": "How people call it, by what feeds it."},
    }
    row["required"] = list(row["properties"])
    judged = {"findings": _list(_ref("Finding")), "suppressed": _list(_ref("Finding"))}
    for record in (Diagnosis, Preflight, Inspection):
        parts = _definitions((_without_findings(record),))
        rest = parts.pop(record.__name__)
        definitions = parts | definitions
        rest["properties"] = judged | rest["properties"]
        definitions[record.__name__] = rest
    version = {"schema_version": {"const": SCHEMA_VERSION}}
    worst = {
        **_or_null({"enum": list(SEVERITIES)}),
        "description": "The highest severity among the findings that are not suppressed.",
    }
    process = _object(
        "What one process of a run wrote, and its diagnosis.",
        writer=_ref("Writer"),
        **definitions.pop("Diagnosis")["properties"],
        cost=_or_null(_ref("Cost")),
        loss=_ref("Series"),
        unseen=_list(_ref("Unseen")),
        left_alone={"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}},
        changes=_list({"type": "string"}),
        treated=_list(_ref("Treated")),
        warnings=_list({"type": "string"}),
    )
    definitions["Process"] = process
    definitions["RunDocument"] = _object(
        "An observed training and its diagnosis: `rectifier report RUN --json`.",
        **version,
        kind={"const": "run"},
        manifest=_ref("Manifest"),
        outcome=_or_null(_ref("Outcome")),
        worst=worst,
        processes=_list(_ref("Process")),
        explanation=_or_null(_ref("ExplanationDocument")),
    )
    for name, command in (("Comparison", "report COMPARISON"), ("Census", "census MODEL")):
        record = definitions.pop(name)
        definitions[f"{name}Document"] = _object(
            f"{record['description']} `rectifier {command} --json`.",
            **version,
            kind={"const": name.lower()},
            **record["properties"],
        )
    for name, kind, command in (
        ("Preflight", "check", "check MODEL"),
        ("Inspection", "inspection", "inspect CHECKPOINT"),
    ):
        record = definitions.pop(name)
        definitions[f"{kind.capitalize()}Document"] = _object(
            f"{record['description']} `rectifier {command} --json`.",
            **version,
            kind={"const": kind},
            worst=worst,
            **record["properties"],
        )
    definitions |= _explanation(version)
    documents = [name for name in definitions if name.endswith("Document")]
    named = _named(documents, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"What rectifier prints with --json, schema_version {SCHEMA_VERSION}",
        "oneOf": [_ref(name) for name in documents],
        "$defs": {name: _nullable(definition) for name, definition in definitions.items() if name in named},
    }


def _explanation(version: dict[str, Any]) -> dict[str, Any]:
    """An explanation and its parts, as `rectifier.report.json.explanation` writes them."""
    definitions = _definitions((Control, Experiment, ExplainedFailure, Sight))
    text = {"type": "string"}
    change = {**text, "description": "The form that `--arms` of a comparison takes: `loss_term_off:1`."}
    definitions["Experiment"]["properties"]["intervention"] = change
    chaotic = {"type": "boolean", "description": "Whether a change of no meaning takes the failure away."}
    definitions["Control"]["properties"]["chaotic"] = chaotic
    definitions["Control"]["required"].append("chaotic")
    definitions["ExplainedCause"] = _object(
        "A cause with what shows it.",
        kind={"enum": sorted(CauseKind)},
        detail={**text, "description": "What exactly, in words."},
        place={**text, "description": 'The user\'s own line; "" where it is unknown.'},
        established={"type": "boolean", "description": "Whether an experiment showed it."},
        change={**_or_null(change), "description": "The change that takes the failure away; null where none can."},
    )
    definitions["ExplanationDocument"] = _object(
        "Why a training fails: `rectifier explain SCRIPT --json`.",
        **version,
        kind={"const": "explanation"},
        conclusion={"enum": sorted(Conclusion)},
        text={**text, "description": "The verdict in one line."},
        cause=_or_null(_ref("ExplainedCause")),
        causes=_list(_ref("ExplainedCause")),
        established={"type": "boolean", "description": "Whether experiments showed the first cause."},
        remedies=_list({"enum": sorted(RemedyId)}),
        fixes=_list(text),
        experiments=_list(_ref("Experiment")),
        control=_ref("Control"),
        sights=_list(_ref("Sight")),
        failure=_or_null(_ref("ExplainedFailure")),
        notes=_list(text),
    )
    return definitions


def _without_findings(kind: type[Judged]) -> type:
    """A record as JSON has it, but for its findings, which have a form of their own; sentences are strings."""
    hints = get_type_hints(kind) | {"untold": tuple[str, ...]}
    own = [(field.name, hints[field.name]) for field in fields(kind) if field.name not in FINDINGS]
    return make_dataclass(kind.__name__, own, namespace={"__doc__": kind.__doc__})


def _definitions(kinds: Sequence[type]) -> dict[str, Any]:
    _, definitions = msgspec.json.schema_components(kinds, schema_hook=_array, ref_template=f"{_DEFS}{{name}}")
    for definition in definitions.values():
        _explain(definition)
    return definitions


def _named(names: Iterable[str], definitions: dict[str, Any]) -> set[str]:
    """These definitions, and all that they refer to."""
    found: set[str] = set()
    left = [*names]
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += _refs(definitions[name])
    return found


def _refs(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].removeprefix(_DEFS)
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _refs(part)


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"{_DEFS}{name}"}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _object(description: str, **properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _array(kind: Any) -> dict[str, Any]:
    """Arrays travel as lists."""
    return _list({"type": "number"})


def _explain(definition: dict[str, Any]) -> None:
    """Hand the lines under `Attributes:` on to the fields that they are about; every field is always printed."""
    summary, _, attributes = definition.get("description", "").partition("Attributes:")
    definition["description"] = " ".join(summary.split())
    if "properties" not in definition:
        return  # An enumeration.
    for name, text in _ATTRIBUTE.findall(attributes):
        definition["properties"][name]["description"] = " ".join(text.split())
    for described in definition["properties"].values():
        described.pop("default", None)
    definition["required"] = list(definition["properties"])


def _nullable(schema: Any) -> Any:
    """Let every number be null, too."""
    if isinstance(schema, list):
        return [_nullable(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _nullable(value) for key, value in schema.items()}
    return {**changed, "type": ["number", "null"]} if schema.get("type") == "number" else changed
