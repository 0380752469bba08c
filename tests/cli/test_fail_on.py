"""`--fail-on`: what a machine learns from the exit code of `rectifier report` and `rectifier run`."""

import pytest
from click.testing import CliRunner

from rectifier.cli import running
from rectifier.cli.commands import report, run
from rectifier.cli.gate import FOUND, PARTLY_UNJUDGED, UNJUDGED, gate
from rectifier.errors import UnreadableRun
from rectifier.records import AxisSource, Diagnosis, LayerSummary, NotJudged, UnitAxis, Unjudged, Unseen, WhyUnseen
from tests.findings import dead_units, ref
from tests.report.builders import make_comparison

LAYER = LayerSummary(
    site=ref("hidden"), activation="relu", source=None, units=5, dead=0, suspected=0, rare=0, stuck=0,
    firing_fraction=None, delta=None,
)  # fmt: skip


AXIS = UnitAxis(axis=None, ndim=3, source=AxisSource.OPERATION, operation="Transpose")
UNKNOWN = NotJudged(kind=Unjudged.UNITS_UNKNOWN, what="hidden", axis=AXIS)
NOTHING = NotJudged(kind=Unjudged.NOTHING_OBSERVED)
UNSEEN = NotJudged(
    kind=Unjudged.UNSEEN, what="torch.where", unseen=Unseen(what="torch.where", why=WhyUnseen.HAND_WRITTEN)
)


def diagnosis(*severities, layers=(LAYER,), left=()):
    found = tuple(dead_units(severity=severity) for severity in severities)
    return Diagnosis(findings=found, layers=layers, not_judged=tuple(left))


@pytest.mark.parametrize(
    ("severities", "warning", "serious"),
    [((), 0, 0), (("info",), 0, 0), (("warning", "info"), FOUND, 0), (("serious", "warning"), FOUND, FOUND)],
)
def test_the_worst_finding_decides(severities, warning, serious):
    found = [diagnosis("info"), diagnosis(*severities)]
    assert (gate(found, None), gate(found, "warning"), gate(found, "serious")) == (0, warning, serious)


def test_the_code_is_no_other_code_of_ours():
    assert FOUND == 10
    assert PARTLY_UNJUDGED == 11
    assert len({FOUND, PARTLY_UNJUDGED, UNJUDGED, 0, 1, 124, 130}) == 7


@pytest.mark.parametrize("found", [[], [diagnosis(layers=(), left=[NOTHING])]])
def test_a_gate_that_had_nothing_to_judge_does_not_let_through(found, capsys):
    assert gate(found, None) == 0
    assert gate(found, "serious") == UNJUDGED
    assert "nothing was observed, so there was nothing to judge" in capsys.readouterr().err
    assert gate(found, "serious", allow_unjudged=True) == UNJUDGED, "that allows a part only"


@pytest.mark.parametrize("left", [UNKNOWN, UNSEEN, NOTHING])
def test_what_could_not_be_judged_does_not_pass(left, capsys):
    found = [diagnosis("info"), diagnosis("info", left=[left])]
    assert gate(found, None) == 0
    assert gate(found, "serious", allow_unjudged=True) == 0
    assert capsys.readouterr().err == ""
    assert gate(found, "serious") == PARTLY_UNJUDGED
    said = capsys.readouterr().err
    assert "no finding is that severe, but a part could not be judged: " in said
    assert (left.what or "the training of a process") in said
    assert gate([diagnosis("warning", left=[left])], "warning") == FOUND, "what was found says more"


def test_parameters_alone_can_be_judged():
    assert gate([diagnosis(layers=())], "warning") == 0


@pytest.mark.parametrize(("options", "code"), [([], PARTLY_UNJUDGED), (["--allow-unjudged"], 0)])
def test_of_run_and_report_it_can_be_allowed(monkeypatch, tmp_path, dying, options, code):
    (tmp_path / "train.py").write_text("")
    monkeypatch.setattr(running, "start", lambda launch, started: 0)
    monkeypatch.setattr("rectifier.cli.ending.tell_ending", lambda *arguments: [diagnosis(left=[UNSEEN])])
    where = ["--out", str(tmp_path), "--fail-on", "serious", *options, str(tmp_path / "train.py")]
    assert CliRunner().invoke(run.command, where).exit_code == code
    observed, _ = dying
    monkeypatch.setattr(report, "is_run_folder", lambda path: True)
    monkeypatch.setattr(report, "is_comparison", lambda path: False)
    monkeypatch.setattr(report, "read_run", lambda path: observed)
    monkeypatch.setattr(report, "diagnose", lambda process, suppress: diagnosis(left=[UNSEEN]))
    assert CliRunner().invoke(report.command, [str(tmp_path), "--fail-on", "serious", *options]).exit_code == code


@pytest.mark.parametrize(
    ("options", "code"), [([], 0), (["--fail-on", "warning"], FOUND), (["--fail-on", "serious"], 0)]
)
@pytest.mark.parametrize("machine", [[], ["--json"]])
def test_report(dying, monkeypatch, tmp_path, options, code, machine):
    observed, (found,) = dying
    assert found.worst == "warning"
    monkeypatch.setattr(report, "is_run_folder", lambda path: True)
    monkeypatch.setattr(report, "is_comparison", lambda path: False)
    monkeypatch.setattr(report, "read_run", lambda path: observed)
    result = CliRunner().invoke(report.command, [str(tmp_path), *options, *machine])
    assert result.exit_code == code
    assert result.stdout


def test_a_comparison_has_no_findings_to_fail_on(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "is_comparison", lambda path: True)
    monkeypatch.setattr(report, "read_comparison", lambda path: make_comparison())
    result = CliRunner().invoke(report.command, [str(tmp_path), "--fail-on", "serious"])
    assert result.exit_code == 2
    assert "is a comparison" in result.stderr


@pytest.mark.parametrize(
    ("script", "found", "options", "code"),
    [
        (0, ["warning"], [], 0),
        (0, ["warning"], ["--fail-on", "warning"], FOUND),
        (0, ["warning"], ["--fail-on", "serious"], 0),
        (3, ["serious"], ["--fail-on", "warning"], 3),
        (3, [], ["--fail-on", "warning"], 3),
        (139, ["serious"], ["--fail-on", "warning"], 139),
    ],
)
def test_of_run_the_scripts_own_failure_wins(monkeypatch, tmp_path, script, found, options, code):
    (tmp_path / "train.py").write_text("")
    monkeypatch.setattr(running, "start", lambda launch, started: script)
    monkeypatch.setattr("rectifier.cli.ending.tell_ending", lambda *arguments: [diagnosis(*found)])
    where = ["--out", str(tmp_path), *options, str(tmp_path / "train.py")]
    assert CliRunner().invoke(run.command, where).exit_code == code


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--fail-on", "serious"], UNJUDGED)])
def test_a_diagnosis_that_fails_is_no_success_where_one_was_asked_for(monkeypatch, tmp_path, options, code):
    def fail(*arguments):
        raise UnreadableRun("gone")

    (tmp_path / "train.py").write_text("")
    monkeypatch.setattr(running, "start", lambda launch, started: 0)
    monkeypatch.setattr("rectifier.cli.ending.tell_ending", fail)
    result = CliRunner().invoke(run.command, ["--out", str(tmp_path), *options, str(tmp_path / "train.py")])
    assert result.exit_code == code
    assert "gone" in result.stderr


def test_a_wrong_severity_is_a_usage_error():
    result = CliRunner().invoke(report.command, ["x", "--fail-on", "info"])
    assert result.exit_code == 2
    assert "'info' is not one of 'warning', 'serious'" in result.stderr
