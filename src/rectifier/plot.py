"""The figures of the pages as plotly objects: for notebooks, trackers, and files of one's own.

Each function takes what was observed (a `Watch`, or a `Run` as `rectifier.read` gives it) or a comparison, and returns
a `plotly.graph_objects.Figure`, which can be changed like any other. What a figure says in words stands in
`figure.layout.meta`, for an alternative text.
"""

from typing import Protocol

import plotly.graph_objects as go

from rectifier.catalogue import parse
from rectifier.diagnosis import diagnose
from rectifier.errors import NothingToPlot
from rectifier.records import Comparison, Diagnosis, Process, Run
from rectifier.report.figures import activations as activation_figures
from rectifier.report.figures import comparison as comparison_figures
from rectifier.report.figures import training as figures
from rectifier.report.figures import units as unit_figures
from rectifier.report.figures.drawing import plain

_TITLE_ROOM = 44
_LEGEND_ROOM = 24


class Observed(Protocol):
    """Whatever has a run, as a `Watch` does."""

    @property
    def run(self) -> Run:
        """What was observed so far."""


def silent(observed: Run | Observed, *, rank: int = 0) -> go.Figure:
    """Layer × step: the share of each layer's units that were silent.

    Silent is not yet dead: the diagnosis says on how many samples.

    Args:
        observed: A `Watch`, or a `Run`.
        rank: Which of its processes, where several trained.

    Raises:
        NothingToPlot: No layer's units are known.

    Example:
        >>> import torch, rectifier
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with rectifier.watch(model, every=1) as watch:
        ...     for _ in range(7):
        ...         optimizer.zero_grad()
        ...         model(torch.ones(64, 3)).square().mean().backward()
        ...         _ = optimizer.step()
        >>> figure = rectifier.plot.silent(watch)
        >>> figure.data[0].type, figure.layout.yaxis.ticktext
        ('heatmap', ('Sequential.1',))
    """
    process, diagnosis = _judged(observed, rank)
    figure = figures.silent_map(diagnosis, process.treated)
    return _titled(figure, "Silent units, layer by layer", "no layer whose units are known was observed")


def gradient(observed: Run | Observed, *, rank: int = 0) -> go.Figure:
    """‖∂L/∂z‖ per sample at every activation, in the first and in the last window.

    Args:
        observed: A `Watch`, or a `Run`.
        rank: Which of its processes, where several trained.

    Raises:
        NothingToPlot: Gradients were seen at fewer than two activations.
    """
    process, _ = _judged(observed, rank)
    return _titled(
        figures.gradient_flow(process), "Gradient over depth", "gradients were seen at fewer than two activations"
    )


def firing(observed: Run | Observed, *, rank: int = 0) -> go.Figure:
    """How many units fire on which share of the samples, in the last window.

    Args:
        observed: A `Watch`, or a `Run`.
        rank: Which of its processes, where several trained.

    Raises:
        NothingToPlot: No unit was counted.
    """
    process, _ = _judged(observed, rank)
    return _titled(unit_figures.firing_histogram(process), "How often units fire", "no unit was counted")


def units(observed: Run | Observed, layer: str, *, rank: int = 0) -> go.Figure:
    """Unit × step: how often each unit of one layer fires; orange is never.

    Args:
        observed: A `Watch`, or a `Run`.
        layer: As the table of layers names it, or its `path` or `path#call`.
        rank: Which of its processes, where several trained.

    Raises:
        NothingToPlot: There is no such layer, or its units are unknown.
    """
    process, diagnosis = _judged(observed, rank)
    names = [row.site.label for row in diagnosis.layers]
    # A path may be that of several layers, a name is of one.
    typed = [at for at, row in enumerate(diagnosis.layers) if layer in row.site.spellings]
    row = names.index(layer) if layer in names else next(iter(typed), None)
    figure = None if row is None else unit_figures.unit_map(process, diagnosis, row)
    known = ", ".join(name for name, one in zip(names, diagnosis.layers, strict=True) if one.units is not None)
    return _titled(
        figure, layer, f"no layer {layer!r} whose units are known was observed; there are: {known or 'none'}"
    )


def series(observed: Run | Observed, name: str = "loss", *, rank: int = 0) -> go.Figure:
    """The back-propagated loss over steps, or what the script logged under a name, with the deaths of whole layers.

    Args:
        observed: A `Watch`, or a `Run`.
        name: `loss`, or a name given to `rectifier.log`.
        rank: Which of its processes, where several trained.

    Raises:
        NothingToPlot: Nothing came under that name.
    """
    process, diagnosis = _judged(observed, rank)
    figure = figures.series_curve(process, diagnosis, name)
    known = ", ".join(process.series_names)
    return _titled(figure, name, f"nothing was recorded as {name!r}; there are: {known or 'none'}")


def differences(comparison: Comparison) -> go.Figure:
    """Each arm's paired difference of the metric against the baseline, with its 95% interval and the margin.

    Args:
        comparison: Of a comparison.

    Raises:
        NothingToPlot: No pair of trainings has a metric.
    """
    return _titled(
        comparison_figures.forest(comparison), "Difference against the baseline", "no pair of trainings has a metric"
    )


def failures(comparison: Comparison) -> go.Figure:
    """Share of trainings that failed, per arm, with its exact 95% interval.

    Args:
        comparison: Of a comparison.
    """
    return _titled(comparison_figures.failure_rates(comparison), "Failed trainings", "")


def trainings(comparison: Comparison) -> go.Figure:
    """Every training's metric, a line a seed through the arms; failed ones are crosses.

    Args:
        comparison: Of a comparison.

    Raises:
        NothingToPlot: No training has a metric.
    """
    return _titled(comparison_figures.seeds(comparison), "Every training", "no training has a metric")


def dead_units(comparison: Comparison) -> go.Figure:
    """Share of units that are dead or suspected at the end, a dot a training.

    Args:
        comparison: Of a comparison.

    Raises:
        NothingToPlot: No training's units were counted.
    """
    return _titled(comparison_figures.dead_shares(comparison), "Dead units", "no training's units were counted")


def activation(spec: str) -> go.Figure:
    """An activation and its derivative over the pre-activation.

    Args:
        spec: `relu`, `leaky_relu:0.1`.

    Raises:
        UnknownActivation: It is not in the catalogue.

    Example:
        >>> import rectifier
        >>> [line.name for line in rectifier.plot.activation("leaky_relu:0.1").data]
        ['f(z)', 'f′(z)']
    """
    return activation_figures.activation_figure(parse(spec))


def _judged(observed: Run | Observed, rank: int) -> tuple[Process, Diagnosis]:
    run = observed if isinstance(observed, Run) else observed.run
    if not 0 <= rank < len(run.processes):
        raise NothingToPlot(f"there is no process {rank}: {len(run.processes)} wrote into {run.manifest.name}")
    process = run.processes[rank]
    return process, diagnose(process)


def _titled(figure: go.Figure | None, title: str, nothing: str) -> go.Figure:
    """A figure that stands alone: on a page its heading and its legend are the page's."""
    if figure is None:
        raise NothingToPlot(f"there is nothing to draw: {nothing}")
    legend = _LEGEND_ROOM if figure.layout.showlegend else 0
    figure.update_layout(
        title={"text": plain(title), "x": 0, "xref": "paper", "y": 0.98, "yanchor": "top"},
        margin={"t": _TITLE_ROOM + legend},
        height=(figure.layout.height or 300) + _TITLE_ROOM + legend,
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
        template="plotly_white",
    )
    return figure
