"""The figures of one observed training, drawn from records alone.

Each is thinned where a screen could not show more, and says in `meta` what it shows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from rectifier.records import Diagnosis, FloatArray, IntArray, Process, SiteWindow, Treated
from rectifier.report.drawing import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    ORANGE,
    ORANGE_SCALE,
    averaged,
    name_rows,
    new_figure,
    numbers,
    row_height,
    thinned,
)
from rectifier.report.rows import layer_names as layer_names
from rectifier.report.rows import sites_of_layers
from rectifier.report.words import counted, share

_MOST_ROWS = 400
_MOST_WINDOWS = 200
_MOST_UNITS = 256
_MOST_UNIT_MAPS = 6
_MOST_SERIES = 6
_MOST_DEATHS = 40
_FEW = 3
_DECADES = 300  # over less than this, powers of ten alone would be too few marks on an axis
_LEAST_RATE = 1e-4  # what a unit that fired at all is drawn with at least: silence is exact
_FIRING_SCALE = (
    (0.0, "rgba(213,94,0,1)"), (_LEAST_RATE / 2, "rgba(213,94,0,1)"),
    (_LEAST_RATE / 2, "rgba(0,114,178,0.2)"), (1.0, "rgba(0,114,178,1)"),
)  # fmt: skip


def silent_map(diagnosis: Diagnosis, names: Sequence[str], treated: Sequence[Treated] = ()) -> go.Figure | None:
    """Layer × step: the share of each layer's units that were silent; None when no layer's units are known."""
    rows = [row for row, layer in enumerate(diagnosis.layers) if layer.dead_history]
    if not rows:
        return None
    picked = [rows[index] for index in thinned(len(rows), _MOST_ROWS)]
    known = np.unique([step for row in picked for step, _ in diagnosis.layers[row].dead_history])
    steps = known[thinned(len(known), _MOST_WINDOWS)]
    text = f"{counted(len(rows), 'layer')} up to step {int(steps[-1]):,}, the last observed; "
    text += _most_silent({names[row]: diagnosis.layers[row].dead_history[-1][1] for row in rows})
    if len(picked) < len(rows):
        text += f" {len(picked)} of the layers are drawn."
    if len(steps) < len(known):
        text += f" {len(steps)} of {len(known):,} windows are drawn."
    figure = new_figure(row_height(len(picked), 20, frame=64), text + _treatments_told(treated))
    _draw_treatments(figure, treated)
    figure.add_heatmap(
        x=_edges(steps), y=list(range(len(picked))),
        z=[_carried(diagnosis.layers[row].dead_history, steps) for row in picked],
        zmin=0, zmax=100, colorscale=ORANGE_SCALE, showscale=False, ygap=1 if len(picked) <= 100 else 0,
        hovertemplate="around step %{x:.0f}<br>%{z:.3g} % silent<extra></extra>",
    )  # fmt: skip
    name_rows(figure, [names[row] for row in picked])
    figure.update_xaxes(title="optimizer step", showgrid=False)
    return figure


def _most_silent(shares: Mapping[str, float]) -> str:
    most = max(shares.values())
    if most == 0:
        return "no unit is silent at the end."
    worst = [name for name, value in shares.items() if value == most]
    others = f" and of {counted(len(worst) - 1, 'other layer')}" if len(worst) > 1 else ""
    return f"{share(most)} of the units of {worst[0]}{others} are silent at the end" + (
        ", the most of all layers." if len(worst) < len(shares) else "."
    )


def series_curves(process: Process, diagnosis: Diagnosis, names: Sequence[str]) -> list[tuple[str, go.Figure]]:
    """The back-propagated loss over steps, and what else the script logged, each by itself."""
    curves = [(name, series_curve(process, diagnosis, names, name)) for name in process.series_names[:_MOST_SERIES]]
    return [(name, curve) for name, curve in curves if curve is not None]


def series_curve(process: Process, diagnosis: Diagnosis, names: Sequence[str], name: str) -> go.Figure | None:
    """One of them; None when nothing came under that name."""
    if name not in process.series_names or not len(process.series(name).steps):
        return None
    colour = COLOURS[process.series_names.index(name) % len(COLOURS)]
    return _curve(process, name, colour, _silenced(process, diagnosis, names))


def _curve(process: Process, name: str, colour: str, silenced: Sequence[tuple[str, int]]) -> go.Figure:
    series = process.series(name)
    steps, values, remark = averaged(series)
    text = f"From {_told(series.values[0])} to {_told(series.values[-1])} over {int(steps[-1]) + 1:,} steps.{remark}"
    if bad := int((~np.isfinite(series.values)).sum()):
        text += f" {bad:,} of {len(series.values):,} values are not finite."
    figure = new_figure(250, text + _deaths_told(silenced) + _treatments_told(process.treated))
    _draw_treatments(figure, process.treated)
    for at in sorted({max(step, 0) for _, step in silenced})[:_MOST_DEATHS]:
        figure.add_vline(x=at, line_width=1.5, line_dash="dot", line_color=ORANGE)
    figure.add_scatter(
        x=steps.tolist(), y=numbers(values), mode="lines", line={"width": 1.6, "color": colour},
        hovertemplate="step %{x}: %{y:.4g}<extra></extra>",
    )  # fmt: skip
    finite = values[np.isfinite(values)]
    if len(finite) and finite.min() > 0 and finite.max() > 50 * finite.min():
        figure.update_yaxes(type="log", exponentformat="power", dtick=1)
    figure.update_xaxes(title="optimizer step")
    return figure


def _deaths_told(silenced: Sequence[tuple[str, int]]) -> str:
    if not silenced:
        return ""
    layer, step = silenced[0]
    when = f"fired for the last time at step {step:,}" if step >= 0 else "never fired"
    if len(silenced) == 1:
        return f" Dotted: {layer} {when}, and is wholly silent at the end."
    return (
        f" Dotted: the last firing of {len(silenced)} layers that are wholly silent at the end; first, {layer} {when}."
    )


def _draw_treatments(figure: go.Figure, treated: Sequence[Treated]) -> None:
    for at in sorted({max(one.step, 0) for one in treated})[:_MOST_DEATHS]:
        figure.add_vline(x=at + 0.5, line_width=1.5, line_dash="dash", line_color=GREEN)


def _treatments_told(treated: Sequence[Treated]) -> str:
    if not treated:
        return ""
    steps = ", ".join(
        f"after step {one.step:,} ({one.name})" if one.step >= 0 else f"before the first step ({one.name})"
        for one in treated[:_FEW]
    )
    more = f" and {len(treated) - _FEW} later times" if len(treated) > _FEW else ""
    return f" Dashed: changed while it trained, {steps}{more}."


def _told(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "a number that is not finite"


def gradient_flow(process: Process) -> go.Figure | None:
    """‖δ‖ at every site, in the first and in the last window in which it was seen, on a logarithmic axis."""
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for snapshot in process.snapshots:
        for window in snapshot.windows:
            finite = window.delta[np.isfinite(window.delta)]
            if len(finite):
                first.setdefault(window.site, float(np.median(finite)))
                last[window.site] = float(np.median(finite))
    if len(first) < 2:
        return None
    sites = sorted(first)
    picked = [sites[index] for index in thinned(len(sites), _MOST_ROWS)]
    figure = new_figure(row_height(len(picked), 20, frame=104), _flow_text(process, sites, first, last))
    positive = [value for value in (*first.values(), *last.values()) if value > 0]
    models = [process.sites[site].model for site in picked]
    for label, values, colour, dash in (("first window", first, GREY, "dot"), ("last window", last, BLUE, "solid")):
        x: list[float | None] = []
        y: list[int | None] = []
        for row, site in enumerate(picked):
            if row and models[row] != models[row - 1]:
                # No gradient flows from one model's sites to another's in the order of their first calls.
                x.append(None)
                y.append(None)
            x.append(values[site] if values[site] > 0 else None)
            y.append(row)
        figure.add_scatter(
            x=x, y=y, name=label, mode="lines+markers", line={"color": colour, "dash": dash, "width": 1.6},
            marker={"size": 6}, hovertemplate="‖δ‖ = %{x:.3g}<extra>" + label + "</extra>",
        )  # fmt: skip
    if (expected := _expected(process, sites, first)) is not None:
        label, factor = expected
        depth = {site: len(sites) - 1 - row for row, site in enumerate(sites)}
        figure.add_scatter(
            x=[first[sites[-1]] * factor ** depth[site] for site in picked], y=list(range(len(picked))),
            name=f"theory, {label}", mode="lines", line={"color": GREEN, "dash": "dot", "width": 1.4},
            hovertemplate="‖δ‖ = %{x:.3g}<extra>theory</extra>",
        )  # fmt: skip
    zeros = [row for row, site in enumerate(picked) if last[site] == 0]
    if zeros and positive:
        figure.add_scatter(
            x=[min(positive) / 3] * len(zeros), y=zeros, name="exactly 0 in the last window", mode="markers",
            marker={"symbol": "x", "size": 7, "color": ORANGE}, hovertemplate="‖δ‖ = 0<extra></extra>",
        )  # fmt: skip
    name_rows(figure, [process.sites[site].label for site in picked])
    figure.update_xaxes(type="log", title="‖∂L/∂z‖ per sample", exponentformat="power", nticks=5)
    if positive and max(positive) > _DECADES * min(positive):
        figure.update_xaxes(dtick=1)
    figure.update_layout(showlegend=True)
    return figure


def firing_histogram(process: Process) -> go.Figure | None:
    """How many units fire on which share of the samples, in the last window; never is a bar of its own."""
    last = [window for window in _last_windows(process).values() if len(window.fired) and window.visits]
    rates = [_rates(window) for window in last]
    if not rates:
        return None
    every = np.concatenate(rates)
    silent = int((every == 0).sum())
    counts, edges = np.histogram(100 * every[every > 0], bins=20, range=(0, 100))
    text = f"{counted(len(every), 'unit')} in {counted(len(rates), 'layer')}; "
    text += f"{silent:,} of them fired on no sample" if silent else "every one fired on some sample"
    text += f" of the last window ({_samples(last)})."
    figure = new_figure(250, text)
    figure.add_bar(
        x=[-5.0], y=[silent], width=3.6, marker_color=ORANGE, hovertemplate="never: %{y} units<extra></extra>"
    )
    figure.add_bar(
        x=((edges[:-1] + edges[1:]) / 2).tolist(), y=counts.tolist(), width=4.6, marker_color=BLUE,
        hovertemplate="on about %{x:.0f} % of samples: %{y} units<extra></extra>",
    )  # fmt: skip
    ticks = {-5: "never", 25: "25 %", 50: "50 %", 75: "75 %", 100: "100 %"}
    figure.update_xaxes(
        title="share of samples on which a unit fires", tickvals=list(ticks), ticktext=list(ticks.values()),
        range=[-8, 104], showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(title="units")
    return figure


def unit_maps(process: Process, diagnosis: Diagnosis, names: Sequence[str]) -> list[tuple[str, go.Figure]]:
    """Unit × step firing rates of the layers with most silent units, units ordered by their rate at the end."""
    sites = sites_of_layers(process, diagnosis)
    rows = [row for row, layer in enumerate(diagnosis.layers) if layer.dead_history and sites[row] is not None]
    rows.sort(key=lambda row: -diagnosis.layers[row].dead_history[-1][1])
    maps = [(names[row], unit_map(process, diagnosis, row)) for row in sorted(rows[:_MOST_UNIT_MAPS])]
    return [(name, figure) for name, figure in maps if figure is not None]


def unit_map(process: Process, diagnosis: Diagnosis, row: int) -> go.Figure | None:
    """That of one row of the layer table; None where its units are unknown."""
    site = sites_of_layers(process, diagnosis)[row]
    windows = [w for snapshot in process.snapshots for w in snapshot.windows if w.site == site and w.visits]
    return _unit_map(windows) if windows and len(windows[-1].fired) else None


def _unit_map(windows: list[SiteWindow]) -> go.Figure:
    count = len(windows)
    windows = [windows[index] for index in thinned(count, _MOST_WINDOWS)]
    order = np.argsort(_rates(windows[-1]), kind="stable")
    units = order[thinned(len(order), _MOST_UNITS)]
    # The units are picked before anything is stacked: a layer may have a million.
    rates = np.array([_rates(window, units) for window in windows]).T
    silent = int((_rates(windows[-1]) == 0).sum())
    text = f"{counted(len(order), 'unit')}, {silent:,} silent in the last window ({_samples(windows[-1:])})."
    if len(units) < len(order):
        text += f" {len(units)} of them are drawn."
    if len(windows) < count:
        text += f" {len(windows)} of {count:,} windows are drawn."
    drawn = np.where(rates > 0, np.maximum(rates, _LEAST_RATE).round(4), 0)
    figure = new_figure(row_height(len(units), 14, frame=64, most=260), text)
    figure.add_heatmap(
        x=_edges(np.array([window.steps[-1] for window in windows])), y=[f"unit {unit}" for unit in units],
        z=drawn.tolist(), zmin=0, zmax=1, colorscale=_FIRING_SCALE, showscale=False, ygap=1 if len(units) <= 40 else 0,
        hovertemplate="%{y}, around step %{x:.0f}<br>fires on %{z:.2%} of samples<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(type="category", showticklabels=False, showgrid=False, ticks="", autorange="reversed")
    figure.update_xaxes(title="optimizer step", showgrid=False, nticks=6)
    return figure


def _flow_text(process: Process, sites: Sequence[int], first: dict[int, float], last: dict[int, float]) -> str:
    ends = sites[0], sites[-1]
    if zeros := sum(last[site] == 0 for site in sites):
        text = f"In the last window the gradient is exactly 0 at {zeros} of {len(sites)} activations."
    else:
        text = f"{len(sites)} activations, from input to output; in the last window from {min(last.values()):.2g} to "
        text += f"{max(last.values()):.2g}."
    if len({process.sites[site].model for site in sites}) > 1:
        return text
    told = [
        f"{values[ends[0]] / values[ends[1]]:.2g} in the {label} ({_factor(values, sites):.2g} per layer)"
        for label, values in (("first window", first), ("last", last))
        if min(values[end] for end in ends) > 0
    ]
    if told:
        text += f" From the last activation down to the first it is multiplied by {' and by '.join(told)}."
    if (expected := _expected(process, sites, first)) is not None:
        text += " In theory a plain, wide ReLU network begins with 1 per layer after He's initialisation, "
        text += f"{_THEORY[_DEFAULT]:.2g} after torch's default; drawn is the nearer one ({expected[0]})."
    return text


_DEFAULT = "torch's default"
# E[f'(z)²] = 1/2 under ReLU; He et al. 2015 draw weights of variance 2/fan-in, torch of 1/(3 fan-in).
_THEORY = {"He's initialisation": 1.0, _DEFAULT: (1 / 6) ** 0.5}


def _expected(process: Process, sites: Sequence[int], first: Mapping[int, float]) -> tuple[str, float] | None:
    """The factor per layer of a plain ReLU network that is nearest to what was first seen."""
    if len({process.sites[site].model for site in sites}) > 1 or min(first[sites[0]], first[sites[-1]]) <= 0:
        return None
    if any(process.sites[site].activation != "relu" for site in sites):
        return None
    seen = np.log(_factor(first, sites))
    return min(_THEORY.items(), key=lambda one: abs(np.log(one[1]) - seen))


def _factor(values: Mapping[int, float], sites: Sequence[int]) -> float:
    return float((values[sites[0]] / values[sites[-1]]) ** (1 / (len(sites) - 1)))


def _silenced(process: Process, diagnosis: Diagnosis, names: Sequence[str]) -> list[tuple[str, int]]:
    """The layers that are wholly silent at the end, with the step at which each last fired; the earliest first."""
    last = _last_windows(process)
    found = []
    for row, site in enumerate(sites_of_layers(process, diagnosis)):
        history = diagnosis.layers[row].dead_history
        if site in last and history and history[-1][1] >= 1 and not _rates(last[site]).any():
            found.append((names[row], int(last[site].last_fired.max())))
    return sorted(found, key=lambda one: one[1])


def _carried(history: Sequence[tuple[int, float]], steps: IntArray) -> list[float | None]:
    """A layer's silent share, in percent, at each step: the latest known one; None before the first."""
    known = np.array([step for step, _ in history])
    shares = [100 * value for _, value in history]
    found = np.searchsorted(known, steps, side="right") - 1
    return [round(shares[index], 2) if index >= 0 else None for index in found]


def _edges(ends: IntArray) -> list[float]:
    """The borders of windows that end at these steps: a cell covers the steps since the window before."""
    return [-0.5, *(float(end) + 0.5 for end in ends)]


def _last_windows(process: Process) -> dict[int, SiteWindow]:
    """Each site's last window in which anything was counted."""
    return {window.site: window for snapshot in process.snapshots for window in snapshot.windows if window.visits}


def _rates(window: SiteWindow, units: IntArray | slice = slice(None)) -> FloatArray:
    """The share of counted samples on which each unit fired; one of those seen, where it fired at a glance only."""
    fired = window.fired[units]
    glanced = (fired == 0) & (window.last_fired[units] >= window.steps[0])
    return np.where(glanced, 1 / max(window.seen, 1), fired / window.visits)


def _samples(windows: Sequence[SiteWindow]) -> str:
    low, high = (pick(window.visits for window in windows) for pick in (min, max))
    return counted(high, "counted sample") if low == high else f"{low:,} to {high:,} counted samples"
