"""The figures of a comparison: the arms are rows, in the same order in every one of them."""

from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
import plotly.graph_objects as go

from rectifier._formatting import counted, percent
from rectifier.records import ArmVerdict, Comparison, FloatArray, IntArray, Series, Trial
from rectifier.report.figures.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    averaged,
    name_rows,
    new_figure,
    numbers,
    plain,
    row_height,
    shorten,
    thinned,
)
from rectifier.report.sentences.failures import failure_text
from rectifier.report.words import signed

_MOST_SEEDS = 200
_MOST_POINTS = 150  # of one learning curve, in a small chart among many
_MOST_RUNS = 25
_SYMBOLS = {"helped": "circle", "hurt": "diamond"}
_TINTS = {"helped": GREEN, "hurt": ORANGE}


def forest(comparison: Comparison) -> go.Figure | None:
    """Each arm's paired difference of the metric against the baseline, with its interval."""
    effects = {
        arm.arm: arm.metric for arm in comparison.arms if arm.metric is not None and arm.arm != comparison.baseline
    }
    if not effects:
        return None
    better = "Right" if comparison.higher_is_better else "Left"
    text = (
        f"{better} of 0 is better than {comparison.baseline}, seed by seed. Lines are 95% intervals. Filled: helped "
        "(round) or hurt (diamond); hollow: neither."
    )
    if comparison.margin is not None:
        text += f" The band: ±{comparison.margin:g}, the smallest difference that matters here."
    lacking = [arm for arm, effect in effects.items() if effect.low is None or effect.high is None]
    if lacking:
        text += f" Too few pairs for an interval: {', '.join(lacking)}."
    figure = _arms_figure([arm.arm for arm in comparison.arms], text)
    figure.add_vline(x=0, line_width=1.2, line_color=GREY)
    ends = [0.0]
    if comparison.margin is not None:
        figure.add_vrect(x0=-comparison.margin, x1=comparison.margin, fillcolor=GREY, opacity=0.14, line_width=0)
        ends += [-comparison.margin, comparison.margin]
    for row, arm in enumerate(comparison.arms):
        effect = effects.get(arm.arm)
        if effect is None:
            continue
        low = effect.difference if effect.low is None else effect.low
        high = effect.difference if effect.high is None else effect.high
        ends += [low, high]
        said = signed(effect.difference)
        said += "" if effect.low is None else f", 95% interval {signed(low)} to {signed(high)}"
        _add_interval(figure, row, effect.difference, (low, high), arm, comparison, said)
    room = 0.06 * (max(ends) - min(ends)) or 1.0
    figure.update_xaxes(
        title=f"difference of {plain(shorten(comparison.metric))}", range=[min(ends) - room, max(ends) + room], nticks=6
    )
    return figure


def failure_rates(comparison: Comparison) -> go.Figure:
    """Share of trainings that failed, per arm, with its exact interval."""
    failed = sum(arm.failures for arm in comparison.arms)
    every = sum(arm.n for arm in comparison.arms)
    figure = _arms_figure(
        [arm.arm for arm in comparison.arms], f"{failed} of {every} trainings failed. Lines are exact 95% intervals."
    )
    for row, arm in enumerate(comparison.arms):
        if arm.n:
            interval = (100 * arm.failure_low, 100 * arm.failure_high)
            bounds = f"{percent(arm.failure_low)} to {percent(arm.failure_high)}"
            said = f"{arm.failures} of {arm.n} failed, 95% interval {bounds}"
            _add_interval(figure, row, 100 * arm.failures / arm.n, interval, arm, comparison, said)
    figure.update_xaxes(title="trainings that failed", ticksuffix="%", range=[-3, 103])
    return figure


def seeds(comparison: Comparison) -> go.Figure | None:
    """Every training's metric, a line a seed through the arms; failed ones as crosses."""
    rows = {arm.arm: row for row, arm in enumerate(comparison.arms)}
    known = {(t.arm, t.seed): t for t in comparison.trials if t.metric is not None and t.arm in rows}
    if not known:
        return None
    picked = [comparison.seeds[index] for index in thinned(len(comparison.seeds), _MOST_SEEDS)]
    text = f"{len(known)} trainings; a thin line joins those of one seed."
    if lacking := sum(trial.metric is None for trial in comparison.trials):
        text += f" {lacking} failed before giving a number."
    if len(picked) < len(comparison.seeds):
        text += f" {len(picked)} of {len(comparison.seeds)} seeds are drawn."
    figure = _arms_figure(list(rows), text, each=38)
    x: list[float | None] = []
    y: list[int | None] = []
    for seed in picked:
        for arm, row in rows.items():
            trial = known.get((arm, seed))
            x.append(trial.metric if trial else None)
            y.append(row)
        x.append(None)
        y.append(None)
    figure.add_scatter(
        x=x, y=y, mode="lines", line={"width": 0.8, "color": GREY}, opacity=0.35, hoverinfo="skip", showlegend=False
    )
    drawn = [known[arm, seed] for seed in picked for arm in rows if (arm, seed) in known]
    for failed, symbol, colour in ((False, "circle", BLUE), (True, "x", ORANGE)):
        some = [trial for trial in drawn if (trial.failed is not None) == failed]
        if some:
            figure.add_scatter(
                x=[trial.metric for trial in some], y=[rows[trial.arm] for trial in some], mode="markers",
                name="failed" if failed else "trained",
                marker={"symbol": symbol, "size": 7, "color": colour, "opacity": 0.75},
                hovertext=[_trial_words(trial) for trial in some], hovertemplate="%{hovertext}<extra></extra>",
            )  # fmt: skip
    figure.update_layout(showlegend=any(trial.failed for trial in drawn))
    figure.update_xaxes(title=plain(shorten(comparison.metric)))
    return figure


def dead_shares(comparison: Comparison) -> go.Figure | None:
    """Share of units that were dead or suspected at the end of each training, per arm."""
    rows = {arm.arm: row for row, arm in enumerate(comparison.arms)}
    known = [(trial, trial.dead_fraction) for trial in comparison.trials if trial.dead_fraction is not None]
    values = {
        arm: sorted((100 * fraction, trial.seed) for trial, fraction in known if trial.arm == arm) for arm in rows
    }
    if not any(values.values()):
        return None
    medians = {arm: median(value for value, _ in some) for arm, some in values.items() if some}
    told = [f"{arm} {percent(middle / 100)}" for arm, middle in medians.items()]
    figure = _arms_figure(
        list(rows),
        f"At the end of training; a dot a training, a bar the median: {', '.join(told)}. "
        "Dead is a unit whose slope is exactly 0, so an activation that is nowhere flat has none by definition.",
        each=38,
    )
    for arm, middle in medians.items():
        row = rows[arm]
        some = [values[arm][index] for index in thinned(len(values[arm]), _MOST_SEEDS)]
        figure.add_scatter(
            x=[round(value, 3) for value, _ in some], y=(row + _spread(len(some))).tolist(), mode="markers",
            marker={"size": 6, "color": BLUE, "opacity": 0.65}, hovertemplate="%{hovertext}<extra></extra>",
            hovertext=[plain(f"{arm}, seed {seed}: {percent(value / 100)}") for value, seed in some],
        )  # fmt: skip
        figure.add_scatter(
            x=[middle, middle], y=[row - 0.32, row + 0.32], mode="lines", line={"color": ORANGE, "width": 3},
            hovertemplate="median %{x:.3g}%<extra></extra>",
        )  # fmt: skip
    most = max(1.0, *(some[-1][0] for some in values.values() if some))
    title = "dead or suspected units"
    figure.update_xaxes(title=title, ticksuffix="%", range=[-0.03 * most, 1.08 * most])
    return figure


def learning_curves(curves: Mapping[str, Sequence[Series]], baseline: str) -> list[tuple[str, go.Figure]]:
    """Each arm's learning curves: a thin line a seed, their median, and the baseline's median for comparison.

    All have the same axes, so that they can be read across.
    """
    medians = {arm: found for arm, runs in curves.items() if (found := _median(runs)) is not None}
    if not medians:
        return []
    finite = np.concatenate([run.values[np.isfinite(run.values)] for runs in curves.values() for run in runs])
    low, high = (float(np.quantile(finite, q)) for q in (0.005, 0.995)) if len(finite) else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.5
    last = max(int(run.steps[-1]) for runs in curves.values() for run in runs if len(run.steps))
    drawn = []
    for arm, (steps, middle) in medians.items():
        runs = [run for run in curves[arm] if len(run.steps)]
        text = f"{counted(len(runs), 'training')}; median at the end {middle[-1]:.3g}"
        text += f", of {baseline} {medians[baseline][1][-1]:.3g}." if arm != baseline and baseline in medians else "."
        shown = [runs[index] for index in thinned(len(runs), _MOST_RUNS)]
        if len(shown) < len(runs):
            text += f" {len(shown)} of them are drawn."
        if max(len(run.steps) for run in runs) > _MOST_POINTS:
            text += " Points are means of neighbouring steps."
        figure = new_figure(210, text)
        x: list[int | None] = []
        y: list[float | None] = []
        for run in shown:
            at, values, _ = averaged(run, _MOST_POINTS)
            x += [*at.tolist(), None]
            y += [*numbers(values), None]
        figure.add_scatter(x=x, y=y, mode="lines", line={"width": 0.7, "color": BLUE}, opacity=0.4, hoverinfo="skip")
        if arm != baseline and baseline in medians:
            at, values = medians[baseline]
            figure.add_scatter(
                x=at.tolist(), y=numbers(values), mode="lines", name=f"median of {plain(baseline)}",
                line={"width": 1.8, "color": GREY, "dash": "dot"},
                hovertemplate=f"{plain(baseline)}, median %{{y:.3g}}<extra></extra>",
            )  # fmt: skip
        figure.add_scatter(
            x=steps.tolist(), y=numbers(middle), mode="lines", name="median", line={"width": 2.4, "color": BLUE},
            hovertemplate="step %{x}: median %{y:.3g}<extra></extra>",
        )  # fmt: skip
        figure.update_xaxes(range=[0, last], nticks=5, title="optimizer step")
        figure.update_yaxes(range=[low - room, high + room], nticks=6)
        drawn.append((arm, figure))
    return drawn


def _arms_figure(names: Sequence[str], text: str, *, each: int = 32) -> go.Figure:
    figure = new_figure(row_height(len(names), each, frame=84), text)
    name_rows(figure, names)
    return figure


def _add_interval(
    figure: go.Figure,
    row: int,
    value: float,
    interval: tuple[float, float],
    arm: ArmVerdict,
    comparison: Comparison,
    said: str,
) -> None:
    aside = arm.arm in (comparison.baseline, comparison.placebo)
    colour = GREY if aside else _TINTS.get(arm.verdict, BLUE)
    symbol = _SYMBOLS.get("" if aside else arm.verdict, "circle-open")
    figure.add_scatter(
        x=list(interval), y=[row, row], mode="lines", line={"color": colour, "width": 2}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=[value], y=[row], mode="markers",
        marker={"size": 11, "color": colour, "symbol": symbol, "line": {"width": 2, "color": colour}},
        hovertext=[plain(f"{arm.arm}: {said}")], hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip


def _trial_words(trial: Trial) -> str:
    assert trial.metric is not None
    return plain(
        f"{trial.arm}, seed {trial.seed}: {trial.metric:.4g}"
        + (f" ({failure_text(trial.failed)})" if trial.failed else "")
    )


def _spread(count: int) -> FloatArray:
    """Vertical offsets that lay dots of nearly the same value beside each other; the same on every page."""
    golden = 0.618034
    return np.asarray(0.22 * ((np.arange(count) * golden) % 1 * 2 - 1), dtype=np.float64)


def _median(runs: Sequence[Series]) -> tuple[IntArray, FloatArray] | None:
    """The median over runs at the steps that all of them reached."""
    runs = [run for run in runs if len(run.steps)]
    if not runs:
        return None
    end = min(int(run.steps[-1]) for run in runs)
    start = max(int(run.steps[0]) for run in runs)
    grid = runs[0].steps[(runs[0].steps >= start) & (runs[0].steps <= end)]
    if not len(grid):
        return None
    values = np.median([np.interp(grid, run.steps, run.values) for run in runs], axis=0)
    at, means, _ = averaged(Series(steps=grid, values=values), _MOST_POINTS)
    return at, means
