"""Every drawn number is computed again from the records, by other means than the figures' own."""

import base64
import csv
import io
import math
import re
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

from rectifier.records import Diagnosis, Failure, FailureKind, Finding, Rule, Series
from rectifier.report.figures import comparison as comparison_figures
from rectifier.report.figures import training as figures
from rectifier.report.figures import units as unit_figures
from rectifier.report.figures.drawing import COLOURS, averaged, new_figure, scale_by_powers
from rectifier.report.page.page import comparison_page, run_page
from rectifier.report.sentences.failures import failure_text
from tests.report.builders import make_comparison, make_curves, make_huge, make_process


def traces(figure, name):
    return [trace for trace in figure.data if trace.name == name]


@pytest.fixture(scope="module")
def process(dying):
    return dying[0].processes[0]


@pytest.fixture(scope="module")
def diagnosis(dying):
    return dying[1][0]


@pytest.fixture(scope="module")
def names(process, diagnosis):
    return [layer.site.label for layer in diagnosis.layers]


def test_map_of_silent_units(process, diagnosis):
    figure = figures.silent_map(diagnosis)
    (heat,) = figure.data
    assert list(figure.layout.yaxis.ticktext) == [f"hidden.{row}" for row in range(5)]
    # A window of the records ends with step 18, 38, …; a cell reaches from the end before to its own.
    assert list(heat.x) == [-0.5, *(18.5 + 20 * window for window in range(9))]
    for row, layer in enumerate(diagnosis.layers):
        assert list(heat.z[row]) == [pytest.approx(100 * part, abs=0.01) for _, part in layer.dead_history]
    # And the end of it, counted in the counters.
    at_end = [100 * sum(count == 0 for count in window.fired) / len(window.fired) for window in last(process)]
    assert [row[-1] for row in heat.z] == at_end == [0, 100, 0, 100, 0]
    assert "100% of the units of hidden.1 and of 1 other layer are silent at the end" in figure.layout.meta


def last(process):
    return process.snapshots[-1].windows


def test_histogram_of_firing_rates(process):
    figure = unit_figures.firing_histogram(process)
    never, others = figure.data
    rates = [count / window.visits for window in last(process) for count in window.fired]
    assert list(never.y) == [sum(rate == 0 for rate in rates)] == [43]
    bins = [0] * 20
    for rate in rates:
        if rate:
            bins[min(19, math.floor(rate * 20))] += 1
    assert list(others.y) == bins
    assert sum(bins) + 43 == 13 + 32 + 32 + 11 + 7
    assert (
        "95 units in 5 layers; 43 of them fired on no sample of the last window (490 counted samples)."
        in figure.layout.meta
    )


def test_gradient_over_depth(process):
    figure = figures.gradient_flow(process)
    for label, snapshot in (("first window", process.snapshots[0]), ("last window", process.snapshots[-1])):
        (trace,) = traces(figure, label)
        wanted = [median(window.delta.tolist()) for window in snapshot.windows]
        assert list(trace.x) == [pytest.approx(value) if value else None for value in wanted]
        assert list(trace.y) == [0, 1, 2, 3, 4]
    zeros = [row for row, window in enumerate(last(process)) if not window.delta.any()]
    (crosses,) = traces(figure, "exactly 0 in the last window")
    assert list(crosses.y) == zeros == [0, 1, 2, 3]
    text = figure.layout.meta
    assert "exactly 0 at 4 of 5 activations" in text
    first = process.snapshots[0].windows
    total = first[0].delta[0] / first[4].delta[0]
    assert f"multiplied by {total:.2g} in the first window ({total**0.25:.2g} per layer)." in text
    assert "1 per layer after He's initialisation, 0.41 after torch's default; drawn is the nearer one" in text
    (theory,) = [trace for trace in figure.data if trace.name.startswith("theory")]
    per_layer = 1.0 if abs(math.log(total**0.25)) < abs(math.log(total**0.25 / (1 / 6) ** 0.5)) else (1 / 6) ** 0.5
    assert theory.name == ("theory, He's initialisation" if per_layer == 1 else "theory, torch's default")
    assert list(theory.x) == [pytest.approx(first[4].delta[0] * per_layer ** (4 - row)) for row in range(5)]


@pytest.mark.parametrize(
    ("values", "marks"),
    [
        ([1e-3, 2.1e-3], ["10⁻³", "2·10⁻³"]),
        ([0.0012, 0.0013], ["10⁻³", "2·10⁻³"]),
        ([3.0], ["2", "5"]),
        ([0.02, 0.6], ["0.02", "0.05", "0.1", "0.2", "0.5"]),
        ([2e-12, 0.05], ["10⁻¹¹", "10⁻⁹", "10⁻⁷", "10⁻⁴", "0.01"]),
    ],
)
def test_a_logarithmic_axis_has_few_marks_of_one_size(values, marks):
    figure = new_figure(100, "")
    scale_by_powers(figure, values)
    axis = figure.layout.xaxis
    assert list(axis.ticktext) == marks
    low, high = (10**end for end in axis.range)
    assert low < min(*values, *axis.tickvals)
    assert high > max(*values, *axis.tickvals)


def test_no_theory_is_drawn_where_it_does_not_hold(process):
    curved = replace(process, sites=tuple(replace(site, activation="elu:1.0") for site in process.sites))
    mixed = replace(process, sites=(replace(process.sites[0], activation="leaky_relu:0.1"), *process.sites[1:]))
    for other in (curved, mixed):
        assert not [trace for trace in figures.gradient_flow(other).data if trace.name.startswith("theory")]
        assert "theory" not in figures.gradient_flow(other).layout.meta


def test_the_theory_of_a_slope_is_its_own(process):
    sites = tuple(replace(site, activation="leaky_relu:0.5") for site in process.sites)
    found = figures._theory(replace(process, sites=sites), range(5))
    assert found == {"He's initialisation": 1.0, "torch's default": pytest.approx(((1 + 0.25) / 2 / 3) ** 0.5)}
    text = figures.gradient_flow(replace(process, sites=sites)).layout.meta
    assert "a plain, wide leaky_relu:0.5 network begins with 1 per layer" in text


@pytest.mark.parametrize(("variance", "slope"), [(2, 0.0), (1 / 3, 0.0), (1 / 3, 0.5)])
def test_the_theory_of_gradients_holds_in_a_simulation(variance, slope):
    random = np.random.default_rng(7)
    forward, weights = random.standard_normal(301), []
    slopes = []
    for _ in range(12):
        matrix = random.standard_normal((301, 301)) * (variance / 301) ** 0.5
        forward = matrix @ forward
        slopes.append(np.where(forward > 0, 1.0, slope))
        forward = np.maximum(forward, slope * forward)
        weights.append(matrix)
    delta = random.standard_normal(301) * slopes[-1]
    sizes = [np.linalg.norm(delta)]
    for matrix, derivative in zip(weights[:0:-1], slopes[-2::-1], strict=True):
        delta = (matrix.T @ delta) * derivative
        sizes.append(np.linalg.norm(delta))
    per_layer = (sizes[-1] / sizes[0]) ** (1 / 11)
    assert per_layer == pytest.approx((variance * (1 + slope**2) / 2) ** 0.5, rel=0.08)


def test_curve_of_the_loss_with_its_deaths(process, diagnosis):
    ((name, figure),) = figures.series_curves(process, diagnosis)
    assert name == "loss"
    (line,) = figure.data
    values = [value for snapshot in process.snapshots for value in snapshot.series["loss"].values.tolist()]
    assert list(line.x) == list(range(180))
    assert list(line.y) == pytest.approx(values, rel=1e-5)
    gone = [max(window.last_fired) for window in last(process) if not window.fired.any()]
    assert [shape.x0 for shape in figure.layout.shapes] == sorted(set(gone)) == [98]
    assert f"From {values[0]:.4g} to {values[-1]:.4g} over 180 steps." in figure.layout.meta


def test_findings_stand_on_the_axis_of_the_loss(process, diagnosis):
    spike = Finding(rule=Rule.EXPLODING_GRADIENT, severity="serious", title="it exploded", since=31)
    half = Finding(rule=Rule.DEAD_UNITS, severity="warning", title="half", since=70)
    remark = Finding(rule=Rule.STARVED, severity="info", title="no alarm", since=5)
    undated = Finding(rule=Rule.VANISHING_GRADIENT, severity="serious", title="always")
    told = Diagnosis(findings=(spike, half, undated, remark), layers=diagnosis.layers)
    figure = figures.series_curve(process, told, "loss")
    marks = {shape.line.dash: shape.x0 for shape in figure.layout.shapes}
    assert [shape.x0 for shape in figure.layout.shapes if shape.line.dash == "dashdot"] == [31, 70]
    assert marks["dot"] == 98, "the deaths of whole layers are still there"
    assert "findings, where they began (step 31, it exploded; step 70, half)." in figure.layout.meta


def test_numbers_that_are_not_finite_are_gaps_and_told(process, diagnosis):
    values = np.array([2.0, np.nan, 3.0, np.inf, 5.0])
    series = {"loss": Series(steps=np.arange(5), values=values)}
    broken = replace(process, snapshots=(replace(process.snapshots[0], series=series),))
    ((_, figure),) = figures.series_curves(broken, diagnosis)
    assert list(figure.data[0].y) == [2.0, None, 3.0, None, 5.0]
    assert "2 of 5 values are not finite" in figure.layout.meta
    assert "nan" not in figure.to_json().lower()


def test_unit_maps(process, diagnosis, names):
    maps = dict(unit_figures.unit_maps(process, diagnosis))
    assert list(maps) == names
    for row, name in enumerate(names):
        heat = maps[name].data[0]
        for unit_label, cells in zip(heat.y, heat.z, strict=True):
            unit = int(unit_label.removeprefix("unit "))
            wanted = [s.windows[row].fired[unit] / s.windows[row].visits for s in process.snapshots]
            assert list(cells) == pytest.approx(wanted, abs=1e-4)
        silent = int((process.snapshots[-1].windows[row].fired == 0).sum())
        assert f"{silent} silent in the last window (490 counted samples)." in maps[name].layout.meta
        at_the_end = [cells[-1] for cells in heat.z]
        assert at_the_end == sorted(at_the_end), "units are ordered by how often they fire at the end"


def test_deaths_and_revivals_are_marked_by_shapes_and_told_in_words():
    process = make_process((5,), windows=4)
    fires = {0: (1, 1, 1, 1), 1: (1, 1, 0, 0), 2: (0, 0, 0, 0), 3: (1, 0, 1, 0), 4: (0, 0, 1, 1)}
    windows = []
    for number, snapshot in enumerate(process.snapshots):
        fired = np.array([fires[unit][number] for unit in range(5)])
        windows.append(replace(snapshot.windows[0], fired=100 * fired, last_fired=np.full(5, -1)))
    figure = unit_figures._unit_map(windows)
    marked = {trace.name: set(zip(trace.y, trace.x, strict=True)) for trace in figure.data[1:]}
    middles = [9, 28.5, 48.5, 68.5]
    assert marked == {
        "silent from here to the end": {("unit 1", middles[2]), ("unit 2", middles[0]), ("unit 3", middles[3])},
        "fires again": {("unit 3", middles[2]), ("unit 4", middles[2])},
    }
    assert len({trace.marker.symbol for trace in figure.data[1:]}) == 2
    for words in (
        "1 fired in no window", "2 fell silent, between steps 39 and 78, and stayed so",
        "2 fired again after a silent window, the last time between steps 39 and 58",
    ):  # fmt: skip
        assert words in figure.layout.meta
    assert "marks of a kind" not in figure.layout.meta
    many = [replace(w, fired=np.repeat(w.fired, 60), last_fired=np.full(300, -1)) for w in windows]
    crowded = unit_figures._unit_map(many)
    assert [len(trace.x) for trace in crowded.data[1:]] == [40, 40]
    assert "At most 40 marks of a kind are drawn." in crowded.layout.meta
    assert "128 of them are drawn." in crowded.layout.meta


def test_a_unit_that_fired_once_in_a_million_is_not_drawn_silent():
    process = make_process((5,), windows=1)
    window = process.snapshots[0].windows[0]
    rare = replace(
        window, visits=1_000_000, fired=np.array([1, 0, 500_000, 7, 9]), last_fired=np.array([0, -1, 0, 0, 0])
    )
    heat, never = unit_figures._unit_map([rare]).data
    assert list(never.y) == ["unit 1"]
    drawn = {label: cells[0] for label, cells in zip(heat.y, heat.z, strict=True)}
    border = heat.colorscale[2][0]
    assert drawn["unit 1"] == 0
    assert all(drawn[f"unit {unit}"] > border for unit in (0, 2, 3, 4))


def test_a_unit_that_fired_at_light_steps_only_is_not_called_silent():
    process = make_process((5,), windows=1)
    snapshot = process.snapshots[0]
    window = replace(
        snapshot.windows[0], seen=4_900, fired=np.array([0, 0, 9, 8, 7]), last_fired=np.array([3, -1, 18, 18, 18])
    )
    never, _ = unit_figures.firing_histogram(replace(process, snapshots=(replace(snapshot, windows=(window,)),))).data
    assert list(never.y) == [1]
    figure = unit_figures._unit_map([window])
    drawn = {label: cells[0] for label, cells in zip(figure.data[0].y, figure.data[0].z, strict=True)}
    assert drawn["unit 0"] == pytest.approx(1 / 4_900, abs=1e-4)
    assert drawn["unit 1"] == 0
    assert "5 units, 1 silent" in figure.layout.meta


def test_long_series_are_averaged_and_say_so():
    random = np.random.default_rng(8)
    series = Series(steps=np.arange(12_345) * 3, values=random.random(12_345))
    steps, values, remark = averaged(series)
    assert len(steps) == len(values) == 1_000
    assert steps[-1] == 3 * 12_344
    assert remark == " Each point is the mean of about 12 values."
    edges = [int(step // 3) + 1 for step in steps]
    for number, (start, end) in enumerate(zip([0, *edges[:-1]], edges, strict=True)):
        assert values[number] == pytest.approx(sum(series.values[start:end].tolist()) / (end - start))


def test_forest(comparison):
    figure = comparison_figures.forest(comparison)
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    points = [trace for trace in figure.data if trace.mode == "markers"]
    judged = [arm for arm in comparison.arms if arm.metric is not None]
    assert [tuple(line.x) for line in lines] == [(arm.metric.low, arm.metric.high) for arm in judged]
    assert [point.x[0] for point in points] == [arm.metric.difference for arm in judged]
    assert [point.y[0] for point in points] == [1, 2, 3, 4]
    assert list(figure.layout.yaxis.ticktext) == [arm.arm for arm in comparison.arms]
    band = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert [(shape.x0, shape.x1) for shape in band] == [(-0.03, 0.03)]
    assert "±0.03" in figure.layout.meta
    assert "Right of 0 is better than relu" in figure.layout.meta
    assert "Left of 0" in comparison_figures.forest(replace(comparison, higher_is_better=False)).layout.meta


def test_failures(comparison):
    figure = comparison_figures.failure_rates(comparison)
    points = [trace.x[0] for trace in figure.data if trace.mode == "markers"]
    failed = {arm.arm: 0 for arm in comparison.arms}
    for trial in comparison.trials:
        failed[trial.arm] += trial.failed is not None
    assert points == [pytest.approx(100 * count / 12) for count in failed.values()]
    assert "6 of 60 trainings failed." in figure.layout.meta


def test_every_training(comparison):
    figure = comparison_figures.seeds(comparison)
    rows = [arm.arm for arm in comparison.arms]
    for label, is_failed in (("trained", False), ("failed", True)):
        (trace,) = traces(figure, label)
        wanted = [(t.metric, rows.index(t.arm)) for t in comparison.trials if (t.failed is not None) == is_failed]
        assert sorted(zip(trace.x, trace.y, strict=True)) == sorted(wanted)
    line = figure.data[0]
    by_seed = {seed: [t.metric for t in comparison.trials if t.seed == seed] for seed in comparison.seeds}
    assert [value for value in line.x if value is not None] == [value for seed in by_seed.values() for value in seed]


def test_dead_shares(comparison):
    figure = comparison_figures.dead_shares(comparison)
    bars = [trace.x[0] for trace in figure.data if trace.mode == "lines"]
    wanted = [100 * median(t.dead_fraction for t in comparison.trials if t.arm == arm.arm) for arm in comparison.arms]
    assert bars == pytest.approx(wanted)


def test_learning_curves(comparison):
    curves = make_curves(comparison)
    drawn = comparison_figures.learning_curves(curves, "relu")
    assert [arm for arm, _ in drawn] == [arm.arm for arm in comparison.arms]
    for arm, figure in drawn:
        middle = figure.data[-1]
        at_each = zip(*(run.values for run in curves[arm]), strict=True)
        assert list(middle.y) == pytest.approx([median(values) for values in at_each], rel=1e-5)
        thin = [value for value in figure.data[0].y if value is not None]
        assert len(thin) == 12 * 25
        assert f"12 trainings; median at the end {middle.y[-1]:.3g}" in figure.layout.meta


def test_raw_values_can_be_taken_along(comparison):
    page = comparison_page(comparison)
    (data,) = re.findall(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', page)
    rows = list(csv.reader(io.StringIO(base64.b64decode(data).decode())))
    assert rows[0] == ["arm", "seed", "test accuracy", "failed", "dead_fraction", "seconds"]
    assert [(row[0], int(row[1]), float(row[2]), row[3] or None, float(row[4])) for row in rows[1:]] == [
        (t.arm, t.seed, t.metric, t.failed and failure_text(t.failed), t.dead_fraction) for t in comparison.trials
    ]


def test_the_page_says_at_which_look_an_arm_stopped(comparison):
    stopped = replace(comparison.arms[1], stopped_at=8)
    looked = replace(comparison, interim=(8, 12), arms=(comparison.arms[0], stopped, *comparison.arms[2:]))
    page = comparison_page(looked)
    assert page.count("<small>at 8 seeds</small>") == 1
    assert "Interim analyses at 8 and 12 seeds; arms with a verdict stop early." in page
    assert "up to 12 seeds × 5 arms" in page
    once = comparison_page(comparison)
    assert "Looks at" not in once
    assert "60: 12 seeds × 5 arms" in once


def test_every_colour_has_a_dark_twin():
    page = run_page(*make_huge(layers=1, units=5, windows=1, steps=11))
    twins = page.partition("const twins = {")[2].partition("}")[0]
    assert all(f'"{colour}"' in twins for colour in COLOURS)


def test_layers_of_one_name_in_two_models_stay_two_rows():
    one, two = (make_process((3, 5), names=("act", "mid"), model=model) for model in ("Gen", "Disc"))
    shifted = tuple(
        replace(first, windows=(*first.windows, *(replace(w, site=w.site + 2) for w in second.windows)))
        for first, second in zip(one.snapshots, two.snapshots, strict=True)
    )
    process = replace(one, sites=(*one.sites, *two.sites), snapshots=shifted)
    from tests.edge import diagnose

    diagnosis = diagnose(process)
    assert [layer.site.label for layer in diagnosis.layers] == ["Gen.act", "Gen.mid", "Disc.act", "Disc.mid"]
    flow = figures.gradient_flow(process)
    assert list(traces(flow, "first window")[0].y) == [0, 1, None, 2, 3]
    assert "per layer" not in flow.layout.meta


def test_a_smaller_comparison_without_numbers_says_so():
    whole = make_comparison()
    trials = tuple(
        replace(trial, metric=None, failed=Failure(FailureKind.EXIT_CODE, "1"), dead_fraction=None)
        for trial in whole.trials
    )
    arms = tuple(replace(arm, metric=None, survivors=None, median=None, failures=12) for arm in whole.arms)
    empty = replace(whole, trials=trials, arms=arms)
    assert comparison_figures.seeds(empty) is None
    assert comparison_figures.dead_shares(empty) is None
    assert comparison_figures.forest(empty) is None
    assert "60 of 60 trainings failed." in comparison_page(empty)
