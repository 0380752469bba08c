"""`rectifier inspect`: what matters first, JSON for programs, exit codes, bad input on one screen."""

import json
import subprocess
import sys

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from rectifier.cli.commands.inspect import command
from rectifier.errors import UnreadableCheckpoint
from rectifier.report.json.schema import json_schema
from tests.checkpoints.trainings import stepped
from tests.report.validator import faults


def make(parameters):
    return torch.optim.Adam(parameters, 1e-3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for steps, name in ((200, "early.pt"), (400, "late.pt")):
        model, optimizer, _ = stepped(make, steps=steps, died={2: 0, 4: 100})
        torch.save({"model": model, "optimizer": optimizer}, folder / name)
    return folder


def run(*arguments, columns=90):
    result = CliRunner(env={"COLUMNS": str(columns)}).invoke(command, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_summary_comes_first(folder):
    lines = run(folder / "late.pt", folder / "early.pt", columns=200).stdout.splitlines()
    assert lines[0] == (
        f"{folder}/late.pt: dictionary with `model`, 1 weight, 400 steps; beside {folder}/early.pt, 200 steps before."
    )
    assert lines[1] == "1 remark."
    assert lines[3] == "  info    fc.weight: 2 of 11 rows without gradient"
    assert lines[4].startswith("    1 row never had a gradient in 400 steps and 1 had none for about ")
    assert lines[4].endswith("did not move by one bit since the earlier checkpoint.")
    head, row = lines[-2:]
    assert head.split() == ["weight", "rows", "no", "gradient", "for", "steps", "unmoved"]
    assert row.split()[:6] == ["fc.weight", "11", "2", "1", "ever,", "≈"]


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_it_fits_and_nothing_is_cut_off(folder, columns):
    out = run(folder / "late.pt", columns=columns).stdout
    assert all(len(line) <= columns for line in out.splitlines() if not line.startswith("/"))
    assert "…" not in out
    assert out == "\n".join(line.rstrip() for line in out.splitlines()) + "\n"


def test_many_weights_are_counted_and_all_of_them_on_demand(tmp_path):
    torch.save(nn.Sequential(*(nn.Linear(3, 3) for _ in range(50))).state_dict(), tmp_path / "deep.pt")
    short, long = run(tmp_path / "deep.pt").stdout, run(tmp_path / "deep.pt", "--all").stdout
    assert "more weights without anything to remark; --all names them." in short
    assert len(long.splitlines()) > 50
    assert "49.weight" in long


def test_json_is_strict_versioned_and_whole(folder):
    document = json.loads(run(folder / "late.pt", "--json").stdout, parse_constant=pytest.fail)
    assert document["schema_version"] == 2
    assert (document["kind"], document["worst"], document["step"]) == ("inspection", "info", 400)
    (layer,) = document["layers"]
    assert (layer["rows"], layer["silent"], layer["never"], layer["unmoved"]) == (11, 2, 1, None)
    assert layer["steps_low"] <= 300 <= layer["steps_high"]
    assert document["findings"][0]["units"] == [2, 4]


def test_bad_input_is_told_by_name(tmp_path):
    with pytest.raises(UnreadableCheckpoint, match=r"there is no nowhere\.pt"):
        run("nowhere.pt")
    assert run().exit_code == 2


def test_as_a_program_bad_input_is_exit_code_2_and_one_line(tmp_path):
    torch.save(nn.Linear(3, 5), tmp_path / "whole.pt")
    call = [sys.executable, "-m", "rectifier", "inspect", "whole.pt"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rectifier: whole.pt is not opened: it holds a whole pickled module")
    assert len(done.stderr.splitlines()) == 1


def test_help_shows_how_to_save_what_it_needs():
    text = run("--help").stdout
    assert 'torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}' in " ".join(text.split())
    assert "rectifier inspect output/checkpoint-500" in text


def test_a_gate_for_ci_and_what_is_known(tmp_path):
    model, optimizer, _ = stepped(make, steps=150, died=dict.fromkeys(range(6), 0))
    torch.save({"model": model, "optimizer": optimizer}, tmp_path / "half.pt")
    assert run(tmp_path / "half.pt").exit_code == 0
    assert run(tmp_path / "half.pt", "--fail-on", "serious").exit_code == 0
    assert run(tmp_path / "half.pt", "--fail-on", "warning").exit_code == 10
    known = run(tmp_path / "half.pt", "--fail-on", "warning", "--suppress", "silent-rows:fc.*=pruned by hand")
    assert known.exit_code == 0
    assert "Suppressed (warning): fc.weight: 6 of 11 rows without gradient. Reason: pruned by hand" in known.stdout


def test_the_schema_describes_what_is_printed(folder):
    schema = json_schema()
    document = json.loads(run(folder / "late.pt", folder / "early.pt", "--json").stdout)
    assert faults(document, schema, schema) == []
    assert faults({**document, "kind": "run"}, schema, schema)
