"""English is written at the edge: rules fill facts, `report.sentences` has the words, and nothing decides by them."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rectifier
from rectifier import records
from rectifier.records import Cause, CauseKind, Evidence, Finding, FlatOutput, Rule, to_builtins
from rectifier.report.json.forms import form_of
from rectifier.report.sentences import WRITERS, describe, told_finding
from tests.findings import dead_units, gradient_way, ref

SOURCE = Path(rectifier.__file__).parent
MOST_WORDS = 4
TEXTS = {"title", "detail", "advice"}


def sentences(source):
    """Texts of more than four words that a module could say, with their lines: no docstrings, no errors."""
    tree = ast.parse(source)
    passed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            passed.add(node.value)
        elif isinstance(node, ast.Raise):
            passed |= set(ast.walk(node))
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in passed
        if len(node.value.split()) > MOST_WORDS
    ]


@pytest.mark.parametrize("path", sorted((SOURCE / "diagnosis").rglob("*.py")), ids=lambda path: path.name)
def test_no_rule_holds_a_sentence(path):
    assert sentences(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "held"),
    [
        ("x = 'one two three four'", False),
        ("x = 'one two three four five'", True),
        ("x = f'{1} of them are silent from now on'", True),
        ("def f():\n    'a docstring that has many words'", False),
        ("raise ValueError('an error that has many words')", False),
    ],
)
def test_a_sentence_would_be_noticed(source, held):
    assert bool(sentences(source)) == held


def readings(source):
    """Lines that read a text of a finding."""
    tree = ast.parse(source)
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
        if node.attr in TEXTS or (node.attr == "text" and getattr(node.value, "attr", "") == "cause")
    ]


@pytest.mark.parametrize("folder", ["diagnosis", "records", "checkpoints", "storage", "monitor", "launch"])
def test_no_folder_below_the_edge_reads_what_a_finding_says(folder):
    read = {path.name: readings(path.read_text()) for path in (SOURCE / folder).rglob("*.py")}
    assert {name: lines for name, lines in read.items() if lines} == {}


def test_reading_a_text_would_be_noticed():
    assert readings("if finding.title: pass\nx = finding.cause.text\ny = note.text") == [1, 2]


def test_every_kind_of_evidence_has_a_writer():
    named = [getattr(records, name) for group in records._NAMES.values() for name in group.split()]
    evidence = {kind for kind in named if isinstance(kind, type) and issubclass(kind, Evidence)} - {Evidence}
    assert set(WRITERS) == evidence
    assert len(evidence) > 20


def test_a_filled_finding_is_the_same_finding():
    finding = dead_units(severity="warning")
    filled = told_finding(finding)
    assert finding.title == ""
    assert filled.title == describe(finding).title == "act: 3 of 7 units dead"
    assert str(filled.cause) == filled.cause.text == describe(finding).cause
    assert filled == finding
    assert told_finding(filled) == filled
    assert filled != replace(filled, severity="info")


def test_a_finding_of_nobodys_rule_keeps_its_own_words():
    own = Finding(rule=Rule.STARVED, severity="info", title="t", detail="d", advice="a", cause=Cause(text="c"))
    texts = describe(own)
    assert (texts.title, texts.detail, texts.advice, texts.cause) == ("t", "d", "a", "c")


def test_a_finding_says_its_numbers_by_name():
    numbers = dead_units(suspected=2).numbers
    assert (numbers["dead"], numbers["suspected"], numbers["died_median_step"]) == (3, 2, 71)
    assert numbers["least_samples"] == 5000
    assert "standing" not in numbers, "what is not known is left out"
    assert gradient_way().numbers["first"] == "a"


def test_the_site_of_a_finding_is_more_than_its_label():
    form = to_builtins(form_of(dead_units(ref("1", model="Sequential", call=1, name="fc → relu"))))
    named = {"label": "Sequential.1 (call 2)", "name": "fc → relu"}
    assert form["site"] == {"path": "1", "call": 1, "model": "Sequential", **named}
    assert form["title"].startswith("fc → relu: ")
    assert form["cause"]["kind"] == "learning_rate"


@given(
    st.sampled_from(Rule), st.sampled_from(CauseKind), st.sampled_from(records.SEVERITIES),
    st.lists(st.sampled_from(records.RemedyId), max_size=3), st.none() | st.integers(0, 9), st.text(max_size=5),
    st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip
def test_the_codes_of_a_finding_come_back_from_json(rule, kind, severity, remedies, since, path, share):
    finding = Finding(
        rule=rule, severity=severity, site=ref(path), cause=Cause(kind=kind), since=since, remedies=tuple(remedies),
        evidence=FlatOutput(activation="relu", samples=3, output_zero_fraction=share), title="t",
    )  # fmt: skip
    form = records.decode(records.encode(form_of(finding)), type(form_of(finding)))
    assert (form.rule, form.severity, form.cause.kind) == (rule, severity, kind)
    assert (form.remedies, form.since, form.site.path) == (tuple(remedies), since, path)
    assert form.numbers["output_zero_fraction"] == share


def test_severities_have_one_order():
    assert [records.rank(severity) for severity in records.SEVERITIES] == [0, 1, 2]
    assert records.most_severe(["info", "serious", "warning"]) == "serious"
    assert records.most_severe([]) is None
    mixed = [dead_units(str(n), severity=severity) for n, severity in enumerate(("info", "serious", "info", "warning"))]
    assert [finding.site.path for finding in records.most_serious_first(mixed)] == ["1", "3", "0", "2"]
