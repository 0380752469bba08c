"""`rectifier activations`: the table at every width, one row in full, the page, and bad input."""

import json
import re

import pytest
from click.testing import CliRunner
from rich.console import Console

from rectifier.catalogue import CATALOGUE, parse
from rectifier.cli.commands.activations import command
from rectifier.errors import CannotKeep, UnknownActivation
from rectifier.report.figures.activations import activation_figure
from rectifier.report.text.activations import print_catalogue


def run(*arguments, columns=80):
    result = CliRunner(env={"COLUMNS": str(columns)}).invoke(command, arguments, catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize("columns", [60, 80, 100, 130, 200])
def test_the_table_fits_and_has_every_row_once(columns):
    lines = run(columns=columns).stdout.splitlines()
    assert max(len(line) for line in lines) <= columns
    first = [line.split("│")[0].strip() for line in lines if "│" in line]
    assert [name for name in first if name] == [parse(name).spec for name in CATALOGUE]
    assert "…" not in "".join(lines), "something was cut off"


@pytest.mark.parametrize(
    ("columns", "shown"),
    [(60, ["name", "f(z)", "f′(z) = 0"]),
     (200, ["name", "f(z)", "f′(z)", "f′(z) = 0", "gain", "shape", "paper"])],
)  # fmt: skip
def test_the_table_shows_what_there_is_room_for(columns, shown):
    head = next(line for line in run(columns=columns).stdout.splitlines() if "┃" in line)
    assert [column.strip() for column in head.split("┃")] == shown


def test_whole_cells_reach_the_reader_at_60_columns():
    lines = run(columns=60).stdout.splitlines()
    row, reading = "", False
    for line in lines:
        if "│" in line:
            name = line.split("│")[0].strip()
            reading = name == "gelu_tanh" or (reading and not name)
            row += line.split("│")[1].strip() + " " if reading else ""
    assert row.split() == CATALOGUE["gelu_tanh"].formula.split()


def test_a_terminal_and_a_pipe_get_the_same_words():
    plain, coloured = (Console(width=80, force_terminal=terminal, record=True, file=None) for terminal in (False, True))
    with plain.capture() as first, coloured.capture() as second:
        print_catalogue(plain)
        print_catalogue(coloured)
    assert re.sub(r"\x1b\[[\d;]*m", "", second.get()) == first.get()


def test_one_row_tells_all_it_knows_at_its_parameter():
    told = run("LeakyReLU:0.3", columns=100).stdout
    for fact in (
        "leaky_relu:0.3", "z if z > 0 else negative_slope·z", "negative_slope = 0.3 (default 0.01)", "1.35457",
        "torch.nn.LeakyReLU", "Maas, Hannun & Ng 2013", "no", "yes, it takes negative values",
    ):  # fmt: skip
        assert fact in told, fact


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("columns", [60, 200])
def test_every_row_can_be_told(name, columns):
    told = run(name, columns=columns).stdout
    assert told.splitlines()[0].strip() == parse(name).spec
    assert max(len(line) for line in told.splitlines()) <= columns


def test_the_page_holds_both_curves_and_loads_nothing(tmp_path):
    page = tmp_path / "out.html"
    result = run("leaky_relu", "--plot", str(page))
    assert result.exit_code == 0
    assert f"Page: {page}" in result.stderr
    html = page.read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)=\"?(https?:)?//", html)
    assert "z if z &gt; 0 else negative_slope·z" in html
    assert "leaky_relu:0.01" in html


@pytest.mark.parametrize("spec", [*CATALOGUE, "leaky_relu:0.3", "threshold:1.0", "elu:5.0"])
def test_the_curves_are_the_catalogues(spec):
    choice = parse(spec)
    figure = json.loads(activation_figure(choice).to_json())
    for trace, curve in zip(figure["data"], (choice.value, choice.derivative), strict=True):
        drawn = [(x, y) for x, y in zip(trace["x"], trace["y"], strict=True) if y is not None]
        assert len(drawn) == 2_001
        for x, y in drawn[::40]:
            assert y == pytest.approx(float(curve(x)), abs=1e-12)


def test_a_jump_is_no_line():
    def gaps(spec):
        return [
            sum(y is None for y in trace["y"]) for trace in json.loads(activation_figure(parse(spec)).to_json())["data"]
        ]

    assert gaps("relu") == [0, 1]
    assert gaps("relu6") == [0, 1]  # 6 is beyond the page
    assert gaps("hardshrink") == [2, 2]
    assert gaps("hardtanh") == [0, 2]
    assert gaps("gelu") == gaps("elu") == [0, 0]


def test_bad_input_says_what_to_write(tmp_path):
    with pytest.raises(UnknownActivation, match=r"Did you mean leaky_relu\?"):
        run("leakyrelu6")
    with pytest.raises(UnknownActivation, match="'x' is not a finite number for negative_slope"):
        run("leaky_relu:x")
    nothing = run("--plot", "out.html")
    assert nothing.exit_code == 2
    assert "--plot needs a name: rectifier activations leaky_relu --plot out.html" in nothing.stderr
    with pytest.raises(CannotKeep, match="cannot be written: No such file or directory"):
        run("relu", "--plot", str(tmp_path / "missing" / "out.html"))
