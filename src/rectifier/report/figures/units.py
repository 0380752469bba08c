"""The figures about single units: how often each fires, over time and at the end."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from rectifier._formatting import counted
from rectifier.records import BoolArray, Diagnosis, Process, SiteWindow
from rectifier.report.figures.drawing import BLUE, INK, ORANGE, WHITE, new_figure, row_height, thinned
from rectifier.report.rows import sites_of_layers
from rectifier.report.windows import edges, last_windows, rates, samples_told

_MOST_UNITS = 128
_MOST_COLUMNS = 120
_MOST_UNIT_MAPS = 6
_FEW_UNITS = 40
_MOST_MARKS = 40
_LEAST_RATE = 1e-4  # what a unit that fired at all is drawn with at least: silence is exact
_FIRING_SCALE = (
    (0.0, "rgba(213,94,0,1)"), (_LEAST_RATE / 2, "rgba(213,94,0,1)"),
    (_LEAST_RATE / 2, "rgba(0,114,178,0.2)"), (1.0, "rgba(0,114,178,1)"),
)  # fmt: skip


def firing_histogram(process: Process) -> go.Figure | None:
    """How many units fire on which share of the samples, in the last window; never is a bar of its own."""
    last = [window for window in last_windows(process).values() if len(window.fired) and window.visits]
    each = [rates(window) for window in last]
    if not each:
        return None
    every = np.concatenate(each)
    silent = int((every == 0).sum())
    counts, borders = np.histogram(100 * every[every > 0], bins=20, range=(0, 100))
    text = f"{counted(len(every), 'unit')} in {counted(len(each), 'layer')}; "
    text += f"{silent:,} of them fired on no sample" if silent else "every one fired on some sample"
    text += f" of the last window ({samples_told(last)})."
    figure = new_figure(250, text)
    figure.add_bar(
        x=[-5.0], y=[silent], width=3.6, marker_color=ORANGE,
        hovertext=[f"never: {counted(silent, 'unit')}"], hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip
    figure.add_bar(
        x=((borders[:-1] + borders[1:]) / 2).tolist(), y=counts.tolist(), width=4.6, marker_color=BLUE,
        hovertext=[
            f"{low:.0f} to {high:.0f}% of samples: {counted(count, 'unit')}"
            for count, low, high in zip(counts.tolist(), borders[:-1], borders[1:], strict=True)
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip
    ticks = {-5: "never", 25: "25%", 50: "50%", 75: "75%", 100: "100%"}
    figure.update_xaxes(
        title="share of samples on which a unit fires", tickvals=list(ticks), ticktext=list(ticks.values()),
        range=[-8, 104], showgrid=False,
    )  # fmt: skip
    figure.update_yaxes(title="units")
    return figure


def unit_maps(process: Process, diagnosis: Diagnosis) -> list[tuple[str, go.Figure]]:
    """Unit × step firing rates of the layers with most silent units, units ordered by their rate at the end."""
    sites = sites_of_layers(process, diagnosis)
    rows = [row for row, layer in enumerate(diagnosis.layers) if layer.dead_history and sites[row] is not None]
    rows.sort(key=lambda row: -diagnosis.layers[row].dead_history[-1][1])
    maps = [
        (diagnosis.layers[row].site.label, unit_map(process, diagnosis, row)) for row in sorted(rows[:_MOST_UNIT_MAPS])
    ]
    return [(name, figure) for name, figure in maps if figure is not None]


def unit_map(process: Process, diagnosis: Diagnosis, row: int) -> go.Figure | None:
    """That of one row of the layer table; None where its units are unknown."""
    site = sites_of_layers(process, diagnosis)[row]
    windows = [w for snapshot in process.snapshots for w in snapshot.windows if w.site == site and w.visits]
    return _unit_map(windows) if windows and len(windows[-1].fired) else None


def _unit_map(windows: list[SiteWindow]) -> go.Figure:
    count = len(windows)
    windows = [windows[index] for index in thinned(count, _MOST_COLUMNS)]
    final = rates(windows[-1])
    order = np.argsort(final, kind="stable")
    units = order[thinned(len(order), _MOST_UNITS)]
    # The units are picked before anything is stacked: a layer may have a million.
    seen = np.array([rates(window, units) for window in windows]).T
    text = f"{counted(len(order), 'unit')}, {int((final == 0).sum()):,} silent in the last window "
    text += f"({samples_told(windows[-1:])})."
    if len(units) < len(order):
        text += f" {len(units)} of them are drawn."
    if len(windows) < count:
        text += f" {len(windows)} of {count:,} windows are drawn."
    borders = edges(np.array([window.steps[-1] for window in windows]))
    turns = _turns(seen > 0)
    labels = [f"unit {unit}" for unit in units]
    figure = new_figure(row_height(len(units), 14, frame=64, most=260), text + _turns_told(turns, borders))
    figure.add_heatmap(
        x=borders, y=labels, z=np.where(seen > 0, np.maximum(seen, _LEAST_RATE).round(4), 0).tolist(),
        zmin=0, zmax=1, colorscale=_FIRING_SCALE, showscale=False, ygap=1 if len(units) <= _FEW_UNITS else 0,
        hovertemplate="%{y}, around step %{x:.0f}<br>fires on %{z:.2%} of samples<extra></extra>",
    )  # fmt: skip
    _draw_turns(figure, turns, labels, borders)
    # Marks would make room for themselves at both ends.
    figure.update_yaxes(type="category", showticklabels=False, showgrid=False, ticks="", range=[len(units) - 0.5, -0.5])
    figure.update_xaxes(title="optimizer step", showgrid=False, nticks=6)
    return figure


@dataclass(frozen=True)
class _Turns:
    """Where units (rows) cease to fire, and where they begin again: (row, window).

    Attributes:
        silent: The beginning of a silence that lasts to the end; window 0 for a unit that never fired.
        again: The last time that a unit fired after a window of silence.
    """

    silent: Sequence[tuple[int, int]]
    again: Sequence[tuple[int, int]]


def _turns(fires: BoolArray) -> _Turns:
    silent, again = [], []
    for row, line in enumerate(fires):
        firing = np.flatnonzero(line)
        since = int(firing[-1]) + 1 if len(firing) else 0
        if since < len(line):
            silent.append((row, since))
        back = np.flatnonzero(line[1:] & ~line[:-1]) + 1
        if len(back):
            again.append((row, int(back[-1])))
    return _Turns(silent, again)


def _turns_told(turns: _Turns, borders: Sequence[float]) -> str:
    """The marks in words, with the steps between which they lie."""
    fell = [window for _, window in turns.silent if window]
    again = [window for _, window in turns.again]
    text = ""
    if never := len(turns.silent) - len(fell):
        text += f" ✕ at the left: {never:,} fired in no window."
    if fell:
        text += f" ✕: {len(fell):,} fell silent, {_between(fell, borders)}, and stayed so."
    if again:
        text += f" ○: {len(again):,} fired again after a silent window, the last time {_between(again, borders)}."
    if max(len(turns.silent), len(turns.again)) > _MOST_MARKS:
        text += f" At most {_MOST_MARKS} marks of a kind are drawn."
    return text


def _between(windows: Sequence[int], borders: Sequence[float]) -> str:
    first, last = borders[min(windows)] + 0.5, borders[max(windows) + 1] - 0.5
    return f"between steps {int(first):,} and {int(last):,}"


def _draw_turns(figure: go.Figure, turns: _Turns, labels: Sequence[str], borders: Sequence[float]) -> None:
    """Shapes, so that nobody has to see colours; each with an outline, so that it stands out on every one of them."""
    size = min(9.0, max(4.0, 200 / len(labels)))
    for name, every, symbol, fill, line in (
        ("silent from here to the end", turns.silent, "x", INK, WHITE),
        ("fires again", turns.again, "circle", WHITE, INK),
    ):
        found = [every[index] for index in thinned(len(every), _MOST_MARKS)]
        if found:
            figure.add_scatter(
                x=[(borders[window] + borders[window + 1]) / 2 for _, window in found],
                y=[labels[row] for row, _ in found], name=name, mode="markers", cliponaxis=False,
                marker={"symbol": symbol, "size": size, "color": fill, "line": {"color": line, "width": 1}},
                hovertemplate="%{y} " + name + ", around step %{x:.0f}<extra></extra>",
            )  # fmt: skip
    figure.update_layout(showlegend=bool(turns.silent or turns.again))
