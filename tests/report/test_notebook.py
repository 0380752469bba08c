"""What notebooks show: figures of their own, and HTML that carries no script and no name of the user's as markup."""

import random
import re
import sys

import plotly.graph_objects as go
import pytest
import torch

import rectifier
from rectifier import plot
from rectifier.errors import NothingToPlot
from rectifier.records import Diagnosis
from rectifier.records.notebook import _RENDERERS
from rectifier.report.figures import training as figures
from rectifier.report.figures import units as unit_figures
from tests.report.builders import (
    HOSTILE,
    make_comparison,
    make_hostile,
    make_hostile_comparison,
    make_process,
    make_run,
)


@pytest.fixture(scope="module")
def watch():
    """Unit 1 of 3 never fires."""
    layer = torch.nn.Linear(2, 3)
    layer.weight.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, -1.0], [0.0, 1.0]]))
    layer.bias.data.zero_()
    model = torch.nn.Sequential(layer, torch.nn.ReLU(), torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    draws = torch.Generator().manual_seed(0)
    with rectifier.watch(model, every=1) as found:
        for _ in range(11):
            optimizer.zero_grad()
            model(torch.rand(70, 2, generator=draws)).square().mean().backward()
            optimizer.step()
            rectifier.log("accuracy", 0.5)
    return found


def test_figures_are_those_of_the_page(watch):
    run = watch.run
    (process,) = run.processes
    diagnosis = watch.diagnose()
    pairs = [
        (plot.silent(watch), figures.silent_map(diagnosis)),
        (plot.gradient(run), figures.gradient_flow(process)),
        (plot.firing(watch), unit_figures.firing_histogram(process)),
        (plot.units(watch, "Sequential.1"), unit_figures.unit_map(process, diagnosis, 0)),
        (plot.series(watch), figures.series_curve(process, diagnosis, "loss")),
        (plot.series(watch, "accuracy"), figures.series_curve(process, diagnosis, "accuracy")),
    ]
    for ours, page in pairs:
        assert isinstance(ours, go.Figure)
        assert ours.data == page.data
        assert len(ours.layout.meta) > 20
        assert ours.layout.title.text
        assert ours.layout.margin.t >= 40
    assert "1 silent in the last window" in pairs[3][0].layout.meta


def test_figures_of_a_comparison():
    comparison = make_comparison(margin=0.03)
    made = [draw(comparison) for draw in (plot.differences, plot.failures, plot.trainings, plot.dead_units)]
    assert len({figure.layout.title.text for figure in made}) == 4
    assert all(len(figure.data) for figure in made)


def test_what_cannot_be_drawn_says_what_there_is(watch):
    with pytest.raises(NothingToPlot, match=r"no layer 'conv'.*there are: Sequential\.1, Sequential\.3"):
        plot.units(watch, "conv")
    with pytest.raises(NothingToPlot, match="nothing was recorded as 'los'; there are: loss, accuracy"):
        plot.series(watch, "los")
    with pytest.raises(NothingToPlot, match="no process 1: 1 wrote"):
        plot.silent(watch, rank=1)
    with pytest.raises(NothingToPlot, match="fewer than two activations"):
        plot.gradient(make_run(make_process((3,))))


def test_a_watch_and_its_diagnosis_show_themselves(watch):
    diagnosis = watch.diagnose()
    for html in (watch._repr_html_(), diagnosis._repr_html_()):
        assert "Sequential.1" in html
        rows = re.findall(r"<tr><th scope=\"row\">", html)
        assert len(rows) == len(diagnosis.layers) == 2
        for finding in diagnosis.findings:
            assert finding.title in html
        assert "<script" not in html
    assert "width:33.3%" in html


def test_a_comparison_shows_itself():
    comparison = make_comparison()
    html = comparison._repr_html_()
    assert comparison.headline in html
    assert all(arm.sentence in html for arm in comparison.arms[1:])
    assert html.count("baseline") >= 1


def test_names_are_escaped():
    _run, diagnoses = make_hostile()
    for html in (diagnoses[0]._repr_html_(), make_hostile_comparison()._repr_html_()):
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
        assert "<script" not in html.lower()
        assert "<img" not in html.lower()
        assert HOSTILE not in html


def test_without_a_writer_a_record_has_no_html(monkeypatch):
    monkeypatch.delitem(_RENDERERS, Diagnosis)
    assert Diagnosis(findings=(), layers=())._repr_html_() is None


def test_showing_draws_nothing_from_the_random_stream(watch, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("rich", "rectifier.report"))]:
        monkeypatch.delitem(sys.modules, name)
    before = random.getstate()
    watch._repr_html_()
    repr(watch)
    assert random.getstate() == before
