"""The figures of one observed training, drawn from records alone.

Each is thinned where a screen could not show more, and says in `meta` what it shows.
"""

from collections.abc import Container, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from rectifier._formatting import counted, percent
from rectifier.catalogue import parse
from rectifier.records import Diagnosis, IntArray, Process, Treated, told_apart
from rectifier.report.figures.drawing import (
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
    scale_by_powers,
    thinned,
)
from rectifier.report.rows import sites_of_layers
from rectifier.report.sentences import describe
from rectifier.report.windows import edges, last_windows, rates

_MOST_ROWS = 400
_MOST_WINDOWS = 200
_MOST_SERIES = 6
_MOST_DEATHS = 40
_FEW = 3


def silent_map(diagnosis: Diagnosis, treated: Sequence[Treated] = ()) -> go.Figure | None:
    """Layer × step: the share of each layer's units that were silent; None when no layer's units are known."""
    names = [layer.site.label for layer in diagnosis.layers]
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
        x=edges(steps), y=list(range(len(picked))),
        z=[_carried(diagnosis.layers[row].dead_history, steps) for row in picked],
        zmin=0, zmax=100, colorscale=ORANGE_SCALE, showscale=False, ygap=1 if len(picked) <= 100 else 0,
        hovertemplate="around step %{x:.0f}<br>%{z:.3g}% silent<extra></extra>",
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
    return f"{percent(most)} of the units of {worst[0]}{others} are silent at the end" + (
        ", the most of all layers." if len(worst) < len(shares) else "."
    )


def series_curves(process: Process, diagnosis: Diagnosis) -> list[tuple[str, go.Figure]]:
    """The back-propagated loss over steps, and what else the script logged, each by itself."""
    curves = [(name, series_curve(process, diagnosis, name)) for name in process.series_names[:_MOST_SERIES]]
    return [(name, curve) for name, curve in curves if curve is not None]


def series_curve(process: Process, diagnosis: Diagnosis, name: str) -> go.Figure | None:
    """One of them; None when nothing came under that name."""
    if name not in process.series_names or not len(process.series(name).steps):
        return None
    colour = COLOURS[process.series_names.index(name) % len(COLOURS)]
    silenced = _silenced(process, diagnosis)
    return _curve(process, name, colour, silenced, _dated(diagnosis, {layer for layer, _ in silenced}))


def _curve(
    process: Process, name: str, colour: str, silenced: Sequence[tuple[str, int]], dated: Sequence[tuple[int, str]]
) -> go.Figure:
    series = process.series(name)
    steps, values, remark = averaged(series)
    text = f"From {_told(series.values[0])} to {_told(series.values[-1])} over {int(steps[-1]) + 1:,} steps.{remark}"
    if bad := int((~np.isfinite(series.values)).sum()):
        text += f" {bad:,} of {len(series.values):,} values are not finite."
    told = _deaths_told(silenced) + _findings_told(dated) + _treatments_told(process.treated)
    figure = new_figure(250, text + told)
    _draw_treatments(figure, process.treated)
    for at in sorted({step for step, _ in dated})[:_MOST_DEATHS]:
        figure.add_vline(x=at, line_width=1.2, line_dash="dashdot", line_color=GREY)
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


def _dated(diagnosis: Diagnosis, drawn: Container[str | None]) -> list[tuple[int, str]]:
    """The alarms that are about one step, the earliest first: (step, title); layers that are drawn already aside."""
    found = []
    for finding in diagnosis.findings:
        label = None if finding.site is None else finding.site.label
        if finding.severity != "info" and finding.since is not None and label not in drawn:
            found.append((max(finding.since, 0), describe(finding).title))
    return sorted(found)


def _findings_told(dated: Sequence[tuple[int, str]]) -> str:
    if not dated:
        return ""
    told = "; ".join(f"step {step:,}, {title}" for step, title in dated[:_FEW])
    more = f"; and {len(dated) - _FEW} later ones" if len(dated) > _FEW else ""
    return f" Dash-dotted: findings, where they began ({told}{more})."


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
            x=[min(positive) / 3] * len(zeros), y=zeros, name="exactly 0 in the last window", mode="markers", meta=0,
            marker={"symbol": "x", "size": 7, "color": ORANGE}, hovertemplate="‖δ‖ = 0<extra></extra>",
        )  # fmt: skip
    labels = [site.label for site in told_apart(process.sites)]
    name_rows(figure, [labels[site] for site in picked])
    figure.update_xaxes(title="‖∂L/∂z‖ per sample")
    scale_by_powers(figure, [x for trace in figure.data for x in trace.x if x])
    figure.update_layout(showlegend=True)
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
    theory, expected = _theory(process, sites), _expected(process, sites, first)
    if theory is not None and expected is not None:
        text += f" In theory a plain, wide {process.sites[sites[0]].activation} network begins with 1 per layer after "
        text += f"{_HE}, {theory[_DEFAULT]:.2g} after {_DEFAULT}; drawn is the nearer one ({expected[0]})."
    return text


_HE, _DEFAULT = "He's initialisation", "torch's default"
_HOMOGENEOUS = {"relu", "leaky_relu", "prelu"}
"""f(cz) = c f(z) for c > 0: what the initialisation says of the gradient does not depend on the signal's size."""


def _theory(process: Process, sites: Sequence[int]) -> dict[str, float] | None:
    """The factor per layer of a plain, wide network: √(fan-in · Var w · E[f'(z)²]), with E[f'²] = E[f²] = 1/gain².

    He et al. 2015 draw weights of variance gain²/fan-in, torch's Linear of 1/(3 fan-in).
    """
    specs = {process.sites[site].activation for site in sites}
    if len(specs) > 1 or len({process.sites[site].model for site in sites}) > 1:
        return None
    (spec,) = specs
    if spec.partition(":")[0] not in _HOMOGENEOUS:
        return None
    return {_HE: 1.0, _DEFAULT: 1 / (parse(spec).gain * 3**0.5)}


def _expected(process: Process, sites: Sequence[int], first: Mapping[int, float]) -> tuple[str, float] | None:
    """The theory that is nearest to what was first seen."""
    theory = _theory(process, sites)
    if theory is None or min(first[sites[0]], first[sites[-1]]) <= 0:
        return None
    seen = np.log(_factor(first, sites))
    return min(theory.items(), key=lambda one: abs(np.log(one[1]) - seen))


def _factor(values: Mapping[int, float], sites: Sequence[int]) -> float:
    return float((values[sites[0]] / values[sites[-1]]) ** (1 / (len(sites) - 1)))


def _silenced(process: Process, diagnosis: Diagnosis) -> list[tuple[str, int]]:
    """The layers that are wholly silent at the end, with the step at which each last fired; the earliest first."""
    last = last_windows(process)
    found = []
    for row, site in enumerate(sites_of_layers(process, diagnosis)):
        history = diagnosis.layers[row].dead_history
        if site in last and history and history[-1][1] >= 1 and not rates(last[site]).any():
            found.append((diagnosis.layers[row].site.label, int(last[site].last_fired.max())))
    return sorted(found, key=lambda one: one[1])


def _carried(history: Sequence[tuple[int, float]], steps: IntArray) -> list[float | None]:
    """A layer's silent share, in percent, at each step: the latest known one; None before the first."""
    known = np.array([step for step, _ in history])
    shares = [100 * value for _, value in history]
    found = np.searchsorted(known, steps, side="right") - 1
    return [round(shares[index], 2) if index >= 0 else None for index in found]
