"""What `rectifier report` shows of an explanation: alone, and with the run that was explained."""

import json
import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from rectifier.cli.commands import report
from rectifier.records import Conclusion, RemedyId
from rectifier.report.figures.explanation import change_curves
from rectifier.report.page.page import explanation_page, run_page
from rectifier.report.sentences import told_explanation
from rectifier.report.sentences.explanation.remedies import fix_of
from rectifier.storage import write_explanation, write_manifest
from tests.report.builders import CLOSING, HOSTILE, make_explanation, make_process, make_run, make_saved


@pytest.fixture
def folder(tmp_path):
    write_explanation(tmp_path, make_saved())
    return tmp_path


def shown(*arguments):
    result = CliRunner().invoke(report.command, [str(part) for part in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_as_text_it_is_what_explain_printed(folder):
    text = shown(folder)
    assert text.startswith("Cause established: weight decay of 0.5 (AdamW, group 0).")
    assert "(3 of 3 failing seeds)" in " ".join(text.split())
    assert "Do this: weight_decay=0.01, or less" in text
    assert "train.py --lr 0.1" in text


def test_as_json_it_is_what_explain_printed(folder):
    document = json.loads(shown(folder, "--json"), parse_constant=pytest.fail)
    assert document["kind"] == "explanation"
    assert document["fixes"] == ["weight_decay=0.01, or less", "make the layer wider"]
    assert document["experiments"][1]["intervention"] == "loss_term_off:1"


def test_a_run_is_shown_with_its_explanation(tmp_path):
    run = tmp_path / "train-1"
    run.mkdir()
    write_manifest(
        run, replace(make_run(make_process()).manifest, command=("train.py", "--lr", "0.1"), script="0" * 64)
    )
    assert "Cause established" not in shown(run)
    assert json.loads(shown(run, "--json"))["explanation"] is None
    (tmp_path / "explain-train").mkdir()
    write_explanation(tmp_path / "explain-train", make_saved())
    assert "Cause established: weight decay" in shown(run)
    assert json.loads(shown(run, "--json"))["explanation"]["cause"]["kind"] == "weight_decay"
    page = tmp_path / "page.html"
    shown(run, "--html", page)
    assert 'id="explanation">Why it fails' in page.read_text(encoding="utf-8")
    # A run without a failure has nothing to show.
    nothing = replace(make_explanation(), conclusion=Conclusion.NOTHING_TO_EXPLAIN)
    write_explanation(tmp_path / "explain-train", make_saved(nothing))
    assert "Nothing to explain" not in shown(run)


def test_a_script_that_was_edited_between_is_told_of(dying):
    run, diagnoses = dying
    run = replace(run, manifest=replace(run.manifest, script="1" * 64))
    said = "The script was edited between this run and its explanation."
    assert said in run_page(run, diagnoses, explained=make_saved())
    assert said not in run_page(run, diagnoses, explained=make_saved(script="1" * 64))


def test_options_that_are_about_a_run_are_refused(folder):
    for option in (["--fail-on", "serious"], ["--follow", "--html", "page.html"]):
        result = CliRunner().invoke(report.command, [str(folder), *option])
        assert result.exit_code == 2
        assert "is an explanation" in " ".join(result.output.split())


def test_a_damaged_explanation_is_one_clear_message(folder):
    (folder / "explanation.json").write_text("{")
    result = CliRunner().invoke(report.command, [str(folder)])
    assert "explanation.json is damaged" in str(result.exception)


def test_what_a_user_named_is_escaped():
    html = explanation_page(make_saved(make_explanation(HOSTILE, CLOSING, '" onclick="alert(3)'), (HOSTILE, CLOSING)))
    body = re.sub(r"<script(?: type=\"application/json\"[^>]*)?>.*?</script>", "", html, flags=re.DOTALL)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in body
    assert HOSTILE not in body
    assert "<img" not in body
    assert ' onclick="alert' not in body


def test_titles_of_charts_say_what_changed_and_captions_how_it_ended():
    curves = dict(change_curves(told_explanation(make_explanation())))
    assert next(iter(curves)) == "No weight decay"
    caption = curves["No weight decay"].layout.meta
    assert "With the change: does not fail, loss 0.09 at step 600. Unchanged: fails, loss 2.3 at step 600." in caption
    assert "Does not fail on 3 of 3 seeds." in caption
    assert "loss not finite" in curves["A guarded operation (train.py:41)"].layout.meta


def test_an_explanation_without_trials_has_a_page():
    nothing = make_saved(
        replace(
            make_explanation(), conclusion=Conclusion.NOTHING_TO_EXPLAIN, cause=None, causes=(), experiments=(),
            sights=(), remedies=(), failure=None,
        )
    )  # fmt: skip
    html = explanation_page(nothing)
    assert "Nothing to explain" in html
    assert "Why it fails" not in html.partition("<main")[2].partition("<script")[0]


def test_only_what_can_be_typed_is_shown_as_a_line_to_type():
    lines = {remedy: fix_of(remedy) for remedy in RemedyId}
    typed = {remedy: line.text for remedy, line in lines.items() if line.typed}
    assert 5 < len(typed) < len(lines)
    assert all(re.search(r"[=.(]|rectifier ", text) for text in typed.values()), typed
