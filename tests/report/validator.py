"""As much of JSON Schema as our schema uses, stricter in one point: fields that it does not name are faults."""

_TYPES = {
    "object": dict, "array": list, "string": str, "null": type(None), "integer": int, "number": int | float,
    "boolean": bool,
}  # fmt: skip
_KNOWN = {
    "$ref", "$schema", "$defs", "title", "description", "type", "properties", "required", "additionalProperties",
    "items", "prefixItems", "minItems", "maxItems", "enum", "const", "anyOf", "oneOf", "minimum",
    "maximum",
}  # fmt: skip


def faults(value, schema, root, where="$"):
    """What is wrong with a value, in words; none when it is valid."""
    unknown = set(schema) - _KNOWN
    assert not unknown, f"the validator does not know {unknown}"
    if "$ref" in schema:
        return faults(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root, where)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            answers = [faults(value, branch, root, where) for branch in schema[choice]]
            fits = sum(not answer for answer in answers)
            return (
                [] if fits == 1 or (fits and choice == "anyOf") else min(answers, key=len) or [f"{where}: {fits} fit"]
            )
    if "const" in schema and value != schema["const"]:
        return [f"{where}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is not one of {schema['enum']}"]
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(_is(value, name) for name in names):
            return [f"{where}: {value!r} is no {' or '.join(names)}"]
    if _is(value, "number") and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return [f"{where}: {value!r} is out of bounds"]
    if isinstance(value, dict):
        return _of_object(value, schema, root, where)
    return _of_list(value, schema, root, where) if isinstance(value, list) else []


def _of_object(value, schema, root, where):
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties", {} if not properties else False)
    found = [f"{where}: no {name}" for name in schema.get("required", ()) if name not in value]
    for name, item in value.items():
        if name not in properties and more is False:
            found.append(f"{where}: {name} is not documented")
        else:
            found += faults(item, properties.get(name, more), root, f"{where}.{name}")
    return found


def _of_list(value, schema, root, where):
    first = schema.get("prefixItems", [])
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        return [f"{where}: {len(value)} items"]
    found = []
    for number, item in enumerate(value):
        found += faults(item, first[number] if number < len(first) else schema["items"], root, f"{where}[{number}]")
    return found


def _is(value, name):
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))
