"""`rectifier census` as a user meets it: what it prints, as text and as JSON, and what it says to mistakes."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from rectifier.cli.commands.census import command
from rectifier.errors import CannotProbe
from rectifier.report.json.schema import json_schema
from tests.launch.running import RECTIFIER
from tests.report.validator import faults

PROJECT = """
import os
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 17), nn.BatchNorm1d(17), nn.ReLU(), nn.Linear(17, 5), nn.ReLU(), nn.Linear(5, 2))
    with torch.no_grad():
        model[3].bias[2] = -20
        model[3].bias[3] = 20
    return model

def data():
    torch.manual_seed(1)
    pairs = torch.utils.data.TensorDataset(torch.randn(800, 6), torch.zeros(800))
    return torch.utils.data.DataLoader(pairs, batch_size=50, shuffle=True)

few = [torch.ones(7, 6)]
no_loader = None

class Made:
    net = net

def broken():
    raise ValueError("no weights here")
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "census_project.py").write_text(PROJECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "census_project"
    sys.modules.pop("census_project", None)


def run(*arguments):
    result = CliRunner(env={"COLUMNS": "80"}).invoke(command, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_table_and_the_units_by_number(project):
    result = run(f"{project}:net", "--data", f"{project}:data")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "Sequential on 16 batches: 800 samples, 800 of them distinct."
    assert lines[2].split() == ["layer", "activation", "units", "dead", "stuck", "rare", "always", "on", "fires"]
    (row,) = [line.split() for line in lines if line.startswith("Sequential.4 ")]
    assert row[:4] == ["Sequential.4", "relu", "5", "1"]
    (units,) = [line for line in lines if line.startswith("Sequential.4:")]
    assert units.startswith("Sequential.4: dead 2; ")
    assert "always on" in units
    assert "A unit that was silent fires on less than 0.37% of data like these (95%, 800" in result.stdout


def test_on_few_samples_nothing_is_called_dead(project):
    text = run(f"{project}:Made.net", "--data", f"{project}:few").stdout
    assert "Sequential on 1 batch: 7 samples, 1 of them distinct." in text
    assert "Sequential.4: suspected dead " in text


def test_json_is_what_the_schema_says(project):
    document = json.loads(
        run(f"{project}:net", "--data", f"{project}:data", "--json").stdout, parse_constant=pytest.fail
    )
    schema = json_schema()
    assert faults(document, schema, schema) == []
    assert document["kind"] == "census"
    assert 2 in document["layers"][1]["silent_units"]
    spoiled = {**document, "layers": [{**document["layers"][0], "rare": "many"}]}
    assert faults(spoiled, schema["$defs"]["CensusDocument"], schema)


@pytest.mark.parametrize(
    ("model", "data", "told"),
    [
        ("nett", "data", "census_project has no nett. It has net, data, few, no_loader, Made, broken."),
        ("Made.x", "data", "census_project has no Made.x. It has net."),
        ("broken", "data", "census_project:broken failed at census_project.py:26: ValueError: no weights here"),
        ("net", "net", "the data must be an iterable of batches, such as a DataLoader; got a Sequential."),
        ("net", "no_loader", "the data must be an iterable of batches, such as a DataLoader; got a NoneType."),
        ("data", "data", "this takes a torch.nn.Module first, and got a DataLoader."),
    ],
)
def test_what_is_wrong_is_told(project, model, data, told):
    with pytest.raises(CannotProbe) as error:
        run(f"{project}:{model}", "--data", f"{project}:{data}")
    assert str(error.value) == told


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("net", "'net' does not name a model: write package.module:name, for instance my_project:make."),
        (":net", "':net' does not name a model: write package.module:name, for instance my_project:make."),
        ("nowhere_at_all:net", "there is no module nowhere_at_all to import from "),
        (
            "needs_more:net",
            "importing needs_more failed at needs_more.py:2: ModuleNotFoundError: No module named 'absent",
        ),
        ("wrong:net", "importing wrong failed"),
    ],
)
def test_what_cannot_be_imported_is_told(project, tmp_path, name, told):
    (tmp_path / "needs_more.py").write_text("\nimport absent_package\n")
    (tmp_path / "wrong.py").write_text("def\n")
    with pytest.raises(CannotProbe) as error:
        run(name, "--data", f"{project}:data")
    assert str(error.value).startswith(told)


def test_from_a_shell_a_mistake_is_one_line_and_exit_code_2(project, tmp_path):
    line = [RECTIFIER, "census", f"{project}:broken", "--data", f"{project}:data"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr == "rectifier: census_project:broken failed at census_project.py:26: ValueError: no weights here\n"
    )
