"""`rectifier check` as a user and as a machine meets it."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from rectifier.cli.commands.check import command
from rectifier.errors import CannotProbe
from rectifier.report.json.schema import json_schema
from tests.launch.running import RECTIFIER
from tests.report.validator import faults

PROJECT = """
import torch
from torch import nn

def good():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 9, 3))

def ends_in_relu():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 17), nn.ReLU(), nn.Linear(17, 5), nn.ReLU())

def dead():
    model = nn.Sequential(nn.Linear(6, 7), nn.ReLU(), nn.Linear(7, 1))
    nn.init.constant_(model[0].bias, -99.0)
    return model

linear = nn.Linear(6, 3)
batches = [(torch.randn(11, 6) + 3, torch.zeros(11))]

class Torn:
    def __iter__(self):
        raise OSError("the disk is gone")

torn = Torn()
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "check_project.py").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "check_project"
    sys.modules.pop("check_project", None)


def run(*arguments):
    result = CliRunner(env={"COLUMNS": "80"}).invoke(command, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize(
    ("model", "options", "code"),
    [
        ("good", ["--input", "7,1,5,5"], 0),
        ("ends_in_relu", ["--input", "7,6"], 10),
        ("ends_in_relu", ["--input", "7,6", "--fail-on", "serious"], 0),
        ("ends_in_relu", ["--input", "7,6", "--suppress", "output-activation=targets are counts"], 0),
        ("dead", ["--input", "7,6", "--fail-on", "serious"], 10),
        ("dead", ["--data", "check_project:batches"], 10),
        ("linear", ["--input", "7,6"], 2),
    ],
)
def test_exit_codes(project, model, options, code):
    for more in ([], ["--json"]):
        assert run(f"{project}:{model}", *options, *more).exit_code == code


def test_what_is_printed(project):
    text = run(f"{project}:dead", "--data", f"{project}:batches").stdout
    lines = text.splitlines()
    assert lines[0] == "1 serious finding."
    assert lines[1].startswith("  serious born dead: Sequential.1 is silent as a whole, and the network's output")
    (head,) = [line for line in lines if line.startswith("layer ")]
    assert head.split() == ["layer", "activation", "units", "silent", "gain", "sensitive", "alike", "gradient"]
    (row,) = [line.split() for line in lines if line.startswith("Sequential.1 ")]
    assert row[1:4] == ["relu", "7", "7"]
    said = " ".join(text.split())
    assert (
        "Sequential on 11 samples, one forward and one backward pass with the output times fixed random signs" in said
    )
    assert "The input's offset γ = ‖μ‖/‖σ‖ is " in said
    assert "offset" not in run(f"{project}:dead", "--input", "7,6").stdout


def test_json_is_what_the_schema_says(project):
    schema = json_schema()
    for model in (
        "good --input 7,1,5,5",
        "dead --input 7,6",
        "ends_in_relu --input 7,6 --suppress output-activation=x",
    ):
        name, *options = model.split()
        document = json.loads(run(f"{project}:{name}", *options, "--json").stdout, parse_constant=pytest.fail)
        assert faults(document, schema, schema) == []
        assert document["kind"] == "check"
    assert document["suppressed"][0]["suppressed"] == "x"
    assert faults({**document, "worst": "bad"}, schema["$defs"]["CheckDocument"], schema)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "name either --input, the shape of a batch, or --data, a loader."),
        (["--input", "7,6", "--data", "x:y"], "name either --input, the shape of a batch, or --data, a loader."),
        (["--input", "7,x"], "'7,x' is no shape; write the sizes of a batch, for instance 7,1,28,28"),
        (["--input", "0,6"], "'0,6' is no shape; write the sizes of a batch, for instance 7,1,28,28"),
    ],
)
def test_options_that_do_not_go_together(project, options, told):
    result = run(f"{project}:good", *options)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("linear", "the data must be a batch or an iterable of batches; got a Linear."),
        ("nothing", "check_project has no nothing. It has good, ends_in_relu, dead, linear, batches, Torn, torn."),
    ],
)
def test_data_that_are_none(project, data, told):
    with pytest.raises(CannotProbe) as error:
        run(f"{project}:dead", "--data", f"{project}:{data}")
    assert str(error.value) == told


def test_from_a_shell(project, tmp_path):
    line = [RECTIFIER, "check", f"{project}:dead", "--input", "7,9"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rectifier: Sequential could not be run on float32 7 × 9: RuntimeError: ")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize("shape", ["99999999999999999999", "4000000000,4000000000", "1000000,1000000,1000000"])
def test_a_batch_that_no_machine_holds_is_told(project, shape):
    result = run(f"{project}:linear", "--input", shape)
    assert result.exit_code == 2
    assert "does not fit into this machine's memory" in " ".join(result.output.split())


def test_data_that_fail_are_told_as_theirs(project):
    with pytest.raises(CannotProbe, match=r"first batch at check_project\.py:\d+: OSError: the disk is gone"):
        run(f"{project}:linear", "--data", f"{project}:torn")
