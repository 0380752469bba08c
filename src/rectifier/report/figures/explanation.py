"""Small curves of an explanation: the loss with each change, and without it."""

import math
from collections.abc import Iterable, Sequence

import plotly.graph_objects as go

from rectifier.records import Change, Experiment, Explanation, Intervention
from rectifier.report.figures.drawing import BLUE, GREY, new_figure
from rectifier.report.sentences.explanation.experiments import changed, curve_words

MOST_CHANGES = 24
_FAR_APART = 50
"""Losses further apart than this are drawn on a logarithmic axis."""
_FEW = 3
"""Below so many finite losses there is no curve, only points."""


def change_curves(explanation: Explanation) -> list[tuple[str, go.Figure]]:
    """One figure for each change that found something to change, those that help first."""
    found = []
    for trials in by_change(explanation):
        seeds = {one.seed for one in trials}
        unchanged = [one for one in explanation.control.trials if one.seed in seeds]
        # Of a loss that is not finite from the start a curve shows nothing.
        figure = None if trials[0].idle or _finite(trials[0]) < _FEW else change_curve(trials, unchanged)
        if figure is not None:
            found.append((changed(trials[0]), figure))
    return found[:MOST_CHANGES]


def by_change(explanation: Explanation) -> list[list[Experiment]]:
    """Trials of the same change together, one a seed: changes that help first, the control last."""
    groups: dict[Intervention, dict[int | None, Experiment]] = {}
    for one in explanation.experiments:
        # Of two trials with the same seed the later one ran longer.
        groups.setdefault(one.intervention, {})[one.seed] = one
    trials = [sorted(group.values(), key=lambda one: (one.seed is not None, one.seed)) for group in groups.values()]
    return sorted(trials, key=lambda group: (group[0].intervention.change is Change.PLACEBO, not _helps(group)))


def _helps(trials: Iterable[Experiment]) -> bool:
    return all(one.helped and not one.idle for one in trials)


def _finite(one: Experiment) -> int:
    return sum(value is not None for value in one.losses)


def change_curve(trials: Sequence[Experiment], unchanged: Sequence[Experiment]) -> go.Figure | None:
    """The loss with a change in blue and without it in grey, other seeds thinner; None where no loss is finite.

    Args:
        trials: With the change, one a seed; the script's own seed first.
        unchanged: Without it, on the same seeds.
    """
    figure = new_figure(170, curve_words(trials, unchanged))
    shown = 0
    for words, colour, dash, ones in (
        ("unchanged", GREY, "dot", unchanged),
        ("with the change", BLUE, "solid", trials),
    ):
        for one in sorted(ones, key=lambda one: one.seed is None):
            own = one.seed == trials[0].seed
            shown += _add(figure, one, words if own else f"{words}, another seed", colour, dash, own=own)
    if not shown:
        return None
    finite = [value for trace in figure.data for value in trace.y if value is not None]
    if min(finite) > 0 and max(finite) > _FAR_APART * min(finite):
        figure.update_yaxes(type="log", exponentformat="power", nticks=4)
    else:
        figure.update_yaxes(nticks=4)
    figure.update_xaxes(nticks=5, title="optimizer step")
    return figure


def _add(figure: go.Figure, one: Experiment, words: str, colour: str, dash: str, *, own: bool) -> int:
    values = [None if value is None or not math.isfinite(value) else float(f"{value:.6g}") for value in one.losses]
    if all(value is None for value in values):
        return 0
    # They were kept equally far apart.
    steps = [round(index * one.steps / len(values)) for index in range(len(values))]
    few = sum(value is not None for value in values) < _FEW
    figure.add_scatter(
        x=steps, y=values, name=words, mode="lines+markers" if few else "lines", opacity=1.0 if own else 0.45,
        line={"width": 2.2 if own else 1.0, "color": colour, "dash": dash}, marker={"size": 5, "color": colour},
        hovertemplate=f"step %{{x}}: %{{y:.4g}}<extra>{words}</extra>",
    )  # fmt: skip
    return 1
