"""One activation drawn: value and derivative over the pre-activation, from the catalogue's formulas."""

import numpy as np
import plotly.graph_objects as go

from rectifier.catalogue import Choice
from rectifier.report.figures.drawing import BLUE, ORANGE, plain

_REACH = 5.0
_STEEPEST = 20.0  # what rises faster than this from one point to the next is a jump

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>body {{ margin: 1rem; font-family: sans-serif }}</style>
</head>
<body>
<main>
{chart}
<p>{words}</p>
</main>
</body>
</html>
"""


def activation_figure(choice: Choice) -> go.Figure:
    """Draw f and f′ between z = −5 and 5; where the derivative jumps, its line is interrupted.

    Args:
        choice: The activation and its parameter.

    Returns:
        A figure of two lines.

    Example:
        >>> from rectifier.catalogue import parse
        >>> [line.name for line in activation_figure(parse("leaky_relu:0.1")).data]
        ['f(z)', 'f′(z)']
    """
    row = choice.activation
    z = np.linspace(-_REACH, _REACH, 2_001)
    figure = go.Figure()
    lines = (("f(z)", row.formula, choice.value(z), BLUE), ("f′(z)", row.derivative, choice.derivative(z), ORANGE))
    for name, formula, values, colour in lines:
        steepness = np.abs(np.diff(values)) / np.diff(z)
        broken = np.flatnonzero(steepness > _STEEPEST * max(1, np.abs(values).max() / _REACH))
        gapped = np.insert(values, broken + 1, np.nan)
        figure.add_scatter(
            x=np.insert(z, broken + 1, z[broken]).tolist(),
            y=[None if np.isnan(value) else float(value) for value in gapped],
            mode="lines", name=name, line={"color": colour, "dash": "solid" if name == "f(z)" else "dash"},
            hovertemplate=f"{plain(name)} = %{{y:.4g}} at z = %{{x:.3g}}<extra></extra>", connectgaps=False,
            meta=formula,
        )  # fmt: skip
    said = f"f(z) = {row.formula}<br>f′(z) = {row.derivative}<br>f′(z) is 0: {row.flat}; gain {choice.gain:.4g}"
    title = {"text": f"<b>{plain(choice.spec)}</b>", "subtitle": {"text": _escaped(said)}}
    figure.update_layout(
        title=title,
        margin={"t": 150, "l": 50, "r": 20},
        legend={"orientation": "h", "x": 1, "xanchor": "right", "y": 1, "yanchor": "bottom"},
        template="simple_white",
    )
    figure.update_xaxes(title="pre-activation z", zeroline=True, zerolinecolor="#ccc")
    figure.update_yaxes(zeroline=True, zerolinecolor="#ccc")
    return figure


def activation_page(choice: Choice) -> str:
    """The figure as one page that loads nothing from anywhere, with its formulas in words.

    Args:
        choice: The activation and its parameter.

    Returns:
        HTML; about 5 MB, nearly all of it plotly's script.

    Example:
        >>> from rectifier.catalogue import parse
        >>> "leaky_relu:0.1" in activation_page(parse("leaky_relu:0.1"))
        True
    """
    chart: str = activation_figure(choice).to_html(
        full_html=False,
        include_plotlyjs=True,
        default_height="90vh",
        config={"displayModeBar": False, "responsive": True},
    )
    words = f"f(z) = {choice.activation.formula}; f′(z) = {choice.activation.derivative}"
    return _PAGE.format(title=plain(f"{choice.spec} · Rectifier"), chart=chart, words=plain(words))


def _escaped(text: str) -> str:
    return "<br>".join(plain(line) for line in text.split("<br>"))
