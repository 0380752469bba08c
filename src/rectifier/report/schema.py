"""The JSON Schema of what `--json` prints, made of the records themselves, so that neither can leave the other behind.

Every field named here is always printed. Readers must bear with fields that are added later.
A number may be null: JSON has no word for NaN and infinities.
"""

import re
from typing import Any

import msgspec

from rectifier.records import (
    Autopsy,
    Census,
    Comparison,
    Cost,
    Diagnosis,
    Manifest,
    Outcome,
    Preflight,
    Series,
    Treated,
    Unseen,
    Writer,
)
from rectifier.report.machine import SCHEMA_VERSION

_ATTRIBUTE = re.compile(r"(?m)^ {8}(\w+): ((?:.+\n?)(?: {10,}.+\n?)*)")


def json_schema() -> dict[str, Any]:
    """The schema of every document that a command prints with `--json`; `kind` tells which one it is.

    Returns:
        A JSON Schema (draft 2020-12). Within one `schema_version` fields may be added, and none changes or goes.

    Example:
        >>> schema = json_schema()
        >>> [branch["$ref"] for branch in schema["oneOf"]]
        ['#/$defs/RunDocument', '#/$defs/ComparisonDocument', '#/$defs/CensusDocument',
         '#/$defs/CheckDocument', '#/$defs/AutopsyDocument']
        >>> schema["$defs"]["Finding"]["properties"]["site"]
        {'anyOf': [{'type': 'string'}, {'type': 'null'}],
         'description': 'Label of the site, None for a statement about the whole network.'}
    """
    records = (
        Manifest,
        Outcome,
        Writer,
        Diagnosis,
        Cost,
        Series,
        Unseen,
        Treated,
        Comparison,
        Census,
        Preflight,
        Autopsy,
    )
    _, definitions = msgspec.json.schema_components(records, schema_hook=_array, ref_template="#/$defs/{name}")
    for definition in definitions.values():
        _explain(definition)
    version = {"schema_version": {"const": SCHEMA_VERSION}}
    worst = {
        **_or_null({"enum": ["info", "warning", "serious"]}),
        "description": "The highest severity among the findings that are not silenced.",
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
    )
    for name, command in (("Comparison", "report STUDY"), ("Census", "census MODEL")):
        record = definitions.pop(name)
        definitions[f"{name}Document"] = _object(
            f"{record['description']} `rectifier {command} --json`.",
            **version,
            kind={"const": name.lower()},
            **record["properties"],
        )
    for name, kind, command in (("Preflight", "check", "check MODEL"), ("Autopsy", "autopsy", "autopsy CHECKPOINT")):
        record = definitions.pop(name)
        definitions[f"{kind.capitalize()}Document"] = _object(
            f"{record['description']} `rectifier {command} --json`.",
            **version,
            kind={"const": kind},
            worst=worst,
            **record["properties"],
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"What rectifier prints with --json, schema_version {SCHEMA_VERSION}",
        "oneOf": [_ref(name) for name in definitions if name.endswith("Document")],
        "$defs": {name: _nullable(definition) for name, definition in definitions.items()},
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


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
