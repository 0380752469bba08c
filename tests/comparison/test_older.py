"""Comparisons that version 0.1.0 wrote are read to the same verdicts; the files are real ones."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from rectifier.cli.commands.report import command as report
from rectifier.comparison.archive import open_archive, read_comparison
from rectifier.comparison.older import read_plans, read_question, read_trial
from rectifier.comparison.question import Question
from rectifier.comparison.statistics.trials import compare_trials
from rectifier.records import Failure, FailureKind, decode, encode
from rectifier.report.sentences.failures import failure_text

WRITTEN = Path(__file__).parent / "written_by_0.1.0"


def agree(now, then):
    """Whether two rows are equal: numbers to the last digits of a root, sentences but for how percentages analysis."""
    if isinstance(then, dict):
        return now.keys() == then.keys() and all(agree(now[key], then[key]) for key in then)
    if isinstance(then, float):
        return now == pytest.approx(then, rel=1e-8, abs=1e-12)
    if isinstance(then, str):
        return whole_percentages(now) == whole_percentages(in_today_s_words(then))
    return now == then


def whole_percentages(text):
    """They had no decimals."""
    return re.sub(r"[\d.]+%", lambda found: f"{float(found[0][:-1]):.0f}%", text)


def in_today_s_words(then):
    then = re.sub(r"(\d+) %", r"\1%", re.sub(r"(\d+) to (\d+) %", r"\1% to \2%", then))
    power = r"a difference in ([\w ]+) of about (\S+) would have shown 4 times in 5, and"
    then = re.sub(power, r"80% power to detect a difference in \1 of about \2;", then)
    return re.sub(r"\bas is\b", "baseline", then)


def rows(comparison):
    return {arm.arm: decode(encode(arm), dict) for arm in comparison.arms}


def test_a_script_comparison_has_the_verdicts_that_it_had():
    """Each way in which a training of a script can fail is in it."""
    then = json.loads((WRITTEN / "script.json").read_text())
    now = read_comparison(WRITTEN / "script.sqlite")
    assert agree(rows(now), {in_today_s_words(arm["arm"]): arm for arm in then["arms"]})
    assert agree(now.settings, then["settings"])
    assert (now.headline, list(now.notes)) == (in_today_s_words(then["headline"]), then["notes"])
    assert not agree(rows(now)["elu:1.0"], then["arms"][1])
    words = {(in_today_s_words(trial["arm"]), trial["seed"]): trial["failed"] for trial in then["trials"]}
    assert {(t.arm, t.seed): None if t.failed is None else failure_text(t.failed) for t in now.trials} == words
    assert [trial.failed for trial in now.trials if trial.failed] == [
        Failure(FailureKind.NOT_FINITE, "loss"), Failure(FailureKind.TIMED_OUT, "25"),
        Failure(FailureKind.NO_PROGRESS), Failure(FailureKind.KILLED, "137"), Failure(FailureKind.EXIT_CODE, "3"),
    ]  # fmt: skip


def test_what_is_added_to_it_is_kept_beside_what_was_there(tmp_path):
    shutil.copy(WRITTEN / "script.sqlite", tmp_path / "study.sqlite")
    with open_archive(tmp_path) as archive:
        before = archive.trials()
        (one,) = [key for key, trial in before.items() if (trial.arm, trial.seed) == ("elu:1.0", 0)]
        archive.record(one, before[one])
        assert archive.trials() == before
    assert [path.name for path in tmp_path.iterdir()] == ["study.sqlite"]
    shown = CliRunner().invoke(report, [str(tmp_path)], catch_exceptions=False)
    assert "elu:1.0 is undecided: failures 1 of 3" in " ".join(shown.output.split())


@pytest.mark.parametrize("name", ["function", "models", "diverged"])
def test_comparisons_of_functions_and_models_have_the_verdicts_that_they_had(name):
    then = decode((WRITTEN / f"{name}.json").read_bytes(), dict)
    trials = [read_trial(encode(trial)) for trial in then["trials"]]
    now = compare_trials(
        trials, baseline=in_today_s_words(then["baseline"]), placebo=then["placebo"],
        arms=[in_today_s_words(arm["arm"]) for arm in then["arms"]],
        metric=then["metric"], higher_is_better=then["higher_is_better"], title=then["title"], interim=then["looks"],
    )  # fmt: skip
    assert agree(rows(now), {in_today_s_words(arm["arm"]): arm for arm in then["arms"]})
    assert now.headline == in_today_s_words(then["headline"])
    words = [trial["failed"] for trial in then["trials"]]
    assert [None if trial.failed is None else failure_text(trial.failed) for trial in trials] == words
    assert FailureKind.OTHER not in {trial.failed.kind for trial in trials if trial.failed}


def test_words_that_nobody_knows_are_kept():
    old = {"arm": "elu:1.0", "seed": 3, "metric": 0.1, "failed": "at chance"}
    assert read_trial(encode(old)).failed == Failure(FailureKind.OTHER, "at chance")
    with pytest.raises(ValueError, match="seed"):
        read_trial(encode({**old, "seed": "three"}))


def test_a_fingerprint_that_says_that_nothing_moved_becomes_a_field():
    old = {"arm": "as is", "seed": 3, "metric": 0.1, "fingerprint": "constant-21ab"}
    trial = read_trial(encode(old))
    assert (trial.fingerprint, trial.motionless) == ("21ab", True)
    assert read_trial(encode(trial)) == trial
    moved = read_trial(encode({**old, "fingerprint": "21ab"}))
    assert (moved.fingerprint, moved.motionless) == ("21ab", False)


def test_a_plan_and_arms_under_their_former_names_are_read_and_keep_the_keys_of_their_trials():
    question = Question(
        command=("train.py",), script="ab", arms=("surrogate_gradient:0.1",), seeds=12, metric="loss", summary="final",
        higher_is_better=False, margin=None, threads=1, interim=(6, 12),
    )  # fmt: skip
    facts = decode(encode(question), dict)
    assert facts["arms"] == ["surrogate_gradient:0.1"]
    facts["looks"], facts["arms"] = facts.pop("interim"), ["leaky_grad:0.1"]
    assert read_question(encode(facts)) == question == read_question(encode(question))
    plans = [["a", [6, 12], ["elu:1.0", "leaky_grad:0.1"]], ["b", [12]]]
    assert read_plans(encode(plans)) == (("a", (6, 12), ("elu:1.0", "surrogate_gradient:0.1")), ("b", (12,), ()))
    baseline, treated, *_ = question.plan()
    then = {"command": ["train.py"], "script": "ab", "arm": "as is", "swap": [], "seed": 0, "drawn": 0, "threads": 1}
    assert baseline.key == hashlib.sha256(json.dumps(then, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    then |= {"arm": "leaky_grad:0.1", "swap": ["relu=leaky_grad:0.1"]}
    assert treated.key == hashlib.sha256(json.dumps(then, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert read_trial(encode({"arm": "as is", "seed": 3, "metric": 0.1})).arm == "baseline"
    assert read_trial(encode({"arm": "leaky_grad:0.1", "seed": 3, "metric": 0.1})).arm == "surrogate_gradient:0.1"
