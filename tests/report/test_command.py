"""`rectifier report` of a comparison adds what the trainings' own folders hold, and does without them."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from rectifier.cli.commands import report
from rectifier.errors import CannotKeep, UnreadableRun
from rectifier.records import Series
from tests.report.builders import make_comparison, make_process, make_run


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A study of whose trainings those of two seeds have kept their runs."""
    whole = make_comparison(metric="accuracy")
    trials = tuple(
        replace(trial, run=f"trials/{trial.arm}-{trial.seed}") if trial.seed in (5, 7) else trial
        for trial in whole.trials
    )
    comparison = replace(whole, trials=trials)
    runs = {trial.run: kept_run(trial) for trial in trials if trial.run and trial.arm != "tanh"}

    def read(path):
        name = str(path.relative_to(tmp_path))
        if name not in runs:
            raise UnreadableRun(name)
        return runs[name]

    monkeypatch.setattr(report, "is_comparison", lambda path: True)
    monkeypatch.setattr(report, "read_comparison", lambda path, say: comparison)
    monkeypatch.setattr(report, "read_run", read)
    return SimpleNamespace(comparison=comparison, folder=tmp_path)


def kept_run(trial):
    process = make_process((3, 5), dying=(1,) if trial.failed else ())
    logged = Series(steps=np.array([4, 9, 14]), values=np.array([0.2, 0.3, trial.seed / 10]))
    first = replace(process.snapshots[0], series={**process.snapshots[0].series, "accuracy": logged})
    run = make_run(replace(process, snapshots=(first, *process.snapshots[1:])))
    return replace(run, manifest=replace(run.manifest, name=f"{trial.arm}-seed-{trial.seed}"))


def test_curves_and_the_worst_training_of_the_baseline(study):
    curves, example = report._closer_look(study.folder, study.comparison)
    assert {arm: [run.values[-1] for run in runs] for arm, runs in curves.items()} == {
        arm: [0.5, 0.7] for arm in ("relu", "leaky_relu:0.1", "elu", "placebo")
    }
    # Seed 5 is the one that failed.
    assert example[0].manifest.name == "relu-seed-5"
    page = study.folder / "page.html"
    result = CliRunner().invoke(report.command, [str(study.folder), "--html", str(page)])
    assert (result.exit_code, result.stdout) == (0, "")
    text = page.read_text(encoding="utf-8")
    assert "2 trainings; median at the end 0.6, of relu 0.6." in text
    assert "relu-seed-5" in text


def test_a_comparison_without_its_trainings_still_has_its_page(study, monkeypatch):
    def gone(path):
        raise UnreadableRun(str(path))

    monkeypatch.setattr(report, "read_run", gone)
    assert report._closer_look(study.folder, study.comparison) == ({}, None)
    page = study.folder / "page.html"
    assert CliRunner().invoke(report.command, [str(study.folder), "--html", str(page)]).exit_code == 0
    assert "Learning curves" not in page.read_text(encoding="utf-8")


def test_json_on_standard_output_is_strict_and_whole(study):
    result = CliRunner().invoke(report.command, [str(study.folder), "--json"])
    document = json.loads(result.stdout, parse_constant=pytest.fail)
    assert document["headline"] == study.comparison.headline
    assert len(document["trials"]) == 60


def test_a_page_that_cannot_be_written_is_one_clear_message(study):
    with pytest.raises(CannotKeep, match="cannot be written: No such file or directory"):
        report.command.main([str(study.folder), "--html", str(study.folder / "no" / "page.html")])


def test_of_several_runs_the_newest_is_named(tmp_path):
    for number, name in enumerate(("train-2", "train-1")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (number, number))
    result = CliRunner().invoke(report.command, [str(tmp_path / "train-2"), str(tmp_path / "train-1")])
    assert result.exit_code == 2
    assert f"name one run. The newest of these 2 is {tmp_path / 'train-1'}" in " ".join(result.output.split())
