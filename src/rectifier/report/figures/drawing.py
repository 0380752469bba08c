"""What all figures share: colours, rows of names, thinning.

Figures are valid plotly objects with the colours of a light page; the page's own script exchanges them for a dark one.
"""

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from rectifier.records import FloatArray, IntArray, Series

# Okabe & Ito 2008: told apart by people who do not see all colours. `templates/draw.js` knows each one's dark twin.
BLUE = "#0072B2"
ORANGE = "#D55E00"
GREEN = "#009E73"
GREY = "#77808A"
# Marks upon other colours, each outlined by the other one; the same on a dark page.
INK = "#191c20"
WHITE = "#ffffff"
COLOURS = (BLUE, "#CC79A7", GREEN, "#E69F00", "#56B4E9", ORANGE, GREY)
ORANGE_SCALE = ((0.0, "rgba(213,94,0,0.05)"), (1.0, "rgba(213,94,0,1)"))

MOST_POINTS = 1_000
_MOST_NAMES = 60
_LONGEST_NAME = 26
_MOST_MARKS = 5
_DECADES = 300
"""Over less than this, powers of ten alone would be too few marks on an axis."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def new_figure(height: int, text: str) -> go.Figure:
    """An empty figure.

    Args:
        height: Pixels.
        text: What it shows, for those who cannot see it.
    """
    figure = go.Figure()
    margin = {"l": 8, "r": 12, "t": 8, "b": 8}
    figure.update_layout(height=height, margin=margin, meta=text, showlegend=False, bargap=0)
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False)
    return figure


def name_rows(figure: go.Figure, names: Sequence[str]) -> None:
    """Make the vertical axis one of named rows, the first on top.

    Rows are numbers to plotly: two layers of the same name stay two rows, and a layer called `7` stays a name.
    """
    shown = thinned(len(names), _MOST_NAMES)
    figure.update_yaxes(
        tickvals=shown.tolist(), ticktext=[plain(shorten(names[row])) for row in shown], showgrid=False,
        range=[len(names) - 0.5, -0.5], fixedrange=True,
    )  # fmt: skip


def scale_by_powers(figure: go.Figure, values: Sequence[float]) -> None:
    """Make the horizontal axis logarithmic, with few marks: powers of ten, or 1, 2 and 5 times those.

    Plotly's own choice over less than a decade is a mark at each digit, and powers that reach into the title.
    """
    if not values:
        return
    low, high = min(values) / 1.25, max(values) * 1.25
    digits = (1,) if high > _DECADES * low else (1, 2, 5)
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    marks = [(digit * 10.0**exponent, digit, exponent) for exponent in exponents for digit in digits]
    within = [mark for mark in marks if low <= mark[0] <= high]
    if len(within) < 2:
        around = sorted(marks, key=lambda mark: abs(math.log(mark[0] ** 2 / (low * high))))
        within = sorted(around[:2])
    shown = [within[index] for index in thinned(len(within), _MOST_MARKS)]
    low, high = min(low, shown[0][0] / 1.1), max(high, shown[-1][0] * 1.1)
    figure.update_xaxes(
        type="log", range=[math.log10(low), math.log10(high)], tickvals=[value for value, _, _ in shown],
        ticktext=[_power(digit, exponent) for _, digit, exponent in shown],
    )  # fmt: skip


def _power(digit: int, exponent: int) -> str:
    if -2 <= exponent <= 2:
        return f"{digit * 10.0**exponent:g}"
    power = f"10{str(exponent).translate(_RAISED)}"
    return power if digit == 1 else f"{digit}·{power}"


def row_height(rows: int, each: int, *, frame: int, most: int = 900) -> int:
    """Pixels for so many rows and what is around them."""
    return frame + min(most, each * rows)


def plain(name: str) -> str:
    """A name as plotly shows it unchanged: plotly reads a small HTML of its own in every text."""
    return name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shorten(name: str) -> str:
    """A name that leaves room for the chart: the end of a path tells layers apart, the beginning seldom does."""
    return name if len(name) <= _LONGEST_NAME else f"…{name[-_LONGEST_NAME + 1 :]}"


def thinned(count: int, most: int) -> IntArray:
    """Indices of at most `most` of `count` things, evenly, first and last among them."""
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return np.unique(np.linspace(0, count - 1, most).round().astype(np.int64))


def averaged(series: Series, most: int = MOST_POINTS) -> tuple[IntArray, FloatArray, str]:
    """A series in few points, and a remark: neighbours are averaged, each point stands at its last step."""
    count = len(series.steps)
    if count <= most:
        return series.steps, series.values, ""
    edges = np.linspace(0, count, most + 1).astype(np.int64)
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.add.reduceat(series.values, edges[:-1]) / np.diff(edges)
    return series.steps[edges[1:] - 1], values, f" Each point is the mean of about {round(count / most)} values."


def numbers(values: FloatArray) -> list[float | None]:
    """JSON has no word for NaN; a gap in the line is what it means."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]
