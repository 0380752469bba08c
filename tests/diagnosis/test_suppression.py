"""A known finding is suppressed by name, with a reason that every report shows, and is dropped by none of them."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import rectifier
from rectifier.cli.commands import report, run
from rectifier.diagnosis import check_suppressions
from rectifier.errors import CannotSuppress
from rectifier.records import Rule
from rectifier.report.json.documents import run_json
from rectifier.report.page.page import run_page
from rectifier.report.text.run import run_text
from tests.edge import diagnose, where
from tests.report.builders import diagnosed, make_process, make_run

REASON = "gated by design"


@pytest.fixture(scope="module")
def died():
    """Layers hidden.1 and hidden.3 die; hidden.3 is a consequence."""
    return make_process(widths=(13, 32, 32, 11, 7), dying=(1, 3))


@pytest.fixture(scope="module")
def all_found(died):
    found = diagnose(died).findings
    assert ("dead-units", "hidden.1") in [(finding.rule, where(finding)) for finding in found]
    return found


def names(findings):
    return [(finding.rule, where(finding)) for finding in findings]


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        ("dead-units", lambda finding: finding.rule == "dead-units"),
        ("dead-units:hidden.1", lambda finding: where(finding) == "hidden.1"),
        ("dead-units:hidden.*", lambda finding: finding.rule == "dead-units"),
        ("dead-units:hidden.?", lambda finding: finding.rule == "dead-units"),
        ("dead-units:Hidden.1", lambda finding: False),
        ("dead-units:hidden", lambda finding: False),
        ("constant-network", lambda finding: finding.rule == "constant-network"),
        ("constant-network:hidden.*", lambda finding: False),
    ],
)
def test_what_fits_moves_with_its_reason_and_everything_else_stays(died, all_found, key, fits):
    got = diagnose(died, {key: REASON})
    assert names(got.suppressed) == names(finding for finding in all_found if fits(finding))
    assert got.findings == tuple(finding for finding in all_found if not fits(finding))
    assert {finding.suppressed for finding in got.suppressed} <= {REASON}
    assert [replace(finding, suppressed=None) for finding in got.suppressed] == [f for f in all_found if fits(f)]


def test_the_worst_is_that_of_what_is_left(died, all_found):
    everything = {finding.rule: REASON for finding in all_found}
    got = diagnose(died, everything)
    assert (got.findings, got.worst, got.reaches("info")) == ((), None, False)
    assert len(got.suppressed) == len(all_found)


def test_the_first_reason_that_fits_is_given(died):
    got = diagnose(died, {"dead-units:hidden.1": "first", "dead-units": "second"})
    assert {where(finding): finding.suppressed for finding in got.suppressed if finding.rule == "dead-units"} == {
        "hidden.1": "first",
        "hidden.3": "second",
    }


def test_an_unknown_name_is_answered_with_all_names():
    with pytest.raises(CannotSuppress) as told:
        check_suppressions({"dead-unit": "x"})
    text = str(told.value)
    assert text.startswith("no finding is called 'dead-unit'. These are:\n")
    assert [line.split()[0] for line in text.splitlines()[1:]] == list(Rule)


@pytest.mark.parametrize(
    ("suppress", "told"),
    [
        ({"dead-units": ""}, "'dead-units' needs a reason, which reports show: dead-units=gated by design"),
        ({"dead-units": "  "}, "'dead-units' needs a reason, which reports show: dead-units=gated by design"),
        (
            {"dead-units:": "x"},
            "'dead-units:' names no site after the colon; write dead-units, or dead-units:encoder.*",
        ),
    ],
)
def test_what_else_is_wrong_is_told(suppress, told):
    with pytest.raises(CannotSuppress) as error:
        check_suppressions(suppress)
    assert str(error.value) == told


def test_every_report_shows_what_is_suppressed_and_why(died, all_found):
    observed = make_run(died)
    everything = {finding.rule: REASON for finding in all_found}
    diagnoses = [diagnose(died, everything)]
    text = " ".join(run_text(observed, diagnoses, width=200).split())
    assert text.startswith("No other problems found.")
    for finding in all_found:
        assert f"Suppressed ({finding.severity}): {finding.title}. Reason: {REASON}" in text
    page = run_page(observed, diagnoses)
    assert page.count(f"Reason: {REASON}") == len(all_found)
    assert f"{len(all_found)} findings are known and suppressed." in page
    (process,) = run_json(observed, diagnoses)["processes"]
    assert [one["suppressed"] for one in process["suppressed"]] == [REASON] * len(all_found)
    assert process["findings"] == []


def test_nothing_is_said_of_suppression_where_there_is_none(died):
    text = run_text(*diagnosed(make_run(died)))
    assert "ilenced" not in text
    assert "No other" not in text


@pytest.mark.parametrize(
    ("suppress", "code"),
    [([], 10), (["dead-units=known"], 0), (["dead-units:hidden.1=known"], 0), (["non-finite=known"], 10)],
)
def test_a_gate_does_not_count_what_is_suppressed(monkeypatch, tmp_path, suppress, code):
    observed = make_run(make_process(widths=(13, 32, 32, 11, 7), dying=(1, 3)))
    monkeypatch.setattr(report, "is_run_folder", lambda path: True)
    monkeypatch.setattr(report, "is_comparison", lambda path: False)
    monkeypatch.setattr(report, "read_run", lambda path: observed)
    # A suppressed alarm must not come back as another one.
    options = [word for text in suppress for word in ("--suppress", text)]
    result = CliRunner().invoke(report.command, [str(tmp_path), "--fail-on", "warning", "--json", *options])
    assert result.exit_code == code
    told = json.loads(result.stdout)["processes"][0]["suppressed"]
    assert bool(told) == (code == 0)
    shown = CliRunner().invoke(report.command, [str(tmp_path), *options]).stdout
    # The command to type next knows of it, too.
    assert all(f"--suppress '{text}'" in shown or f"--suppress {text}" in shown for text in suppress)


@pytest.mark.parametrize("command", [report.command, run.command])
def test_a_suppression_without_a_reason_is_told_before_anything_is_read_or_run(command, tmp_path):
    result = CliRunner().invoke(command, ["--suppress", "dead-units", str(tmp_path / "nothing.py")])
    assert result.exit_code == 2
    assert "'dead-units' has no reason; write NAME=REASON" in " ".join(result.stderr.split())
    unknown = CliRunner().invoke(command, ["--suppress", "dead=x", str(tmp_path / "nothing.py")])
    assert isinstance(unknown.exception, CannotSuppress)


def test_a_watch_can_be_told_too():
    with rectifier.watch() as watch:
        pass
    with pytest.raises(CannotSuppress):
        watch.diagnose(suppress={"x": "y"})
    assert watch.diagnose(suppress={"dead-units": "y"}).suppressed == ()


def test_every_rule_is_given_to_a_finding_somewhere():
    sources = [path.read_text() for path in (Path(rectifier.__file__).parent / "diagnosis").rglob("*.py")]
    assert {name for text in sources for name in re.findall(r"rule=Rule\.(\w+)", text)} >= {
        rule.name for rule in Rule if rule not in (Rule.DEAD_UNITS, Rule.STUCK_NEGATIVE)
    }
