r"""One self-contained page: no network, light and dark, readable without a mouse, without colours and on paper.

Everything that a user named is escaped by the template engine; figures travel as JSON in which `<` is written `\u003c`.
Should an escape ever be missing, the page's own policy still lets no script run but its two, by their hashes.
"""

import base64
import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rectifier.records import Comparison, Diagnosis, Effect, LayerSummary, Process, Run, Series
from rectifier.report import comparison_figures, figures
from rectifier.report.drawing import share, signed

_SEVERITIES = ("serious", "warning", "info")
_HEALTHY = "Nothing is wrong that can be seen from the activations"
_MOST_INFO_SHOWN = 3


@dataclass(frozen=True)
class _Shown:
    """A figure on a page: its heading, what it says in words, and its data."""

    title: str
    figure: go.Figure
    user_named: bool = False
    wide: bool = False
    ramp: bool = False

    @property
    def text(self) -> str:
        return str(self.figure.layout.meta or "")

    @property
    def height(self) -> int:
        return int(self.figure.layout.height or 300)

    @property
    def data(self) -> Markup:
        text: str = self.figure.to_json()
        return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


@dataclass(frozen=True)
class _Part:
    """What the template shows of one process of a run."""

    process: Process
    diagnosis: Diagnosis
    names: Sequence[str]
    anchors: Sequence[str]
    over_time: Sequence[_Shown]
    units: Sequence[_Shown]

    @property
    def alarms(self) -> list[Any]:
        return [finding for finding in self.diagnosis.findings if finding.severity != "info"]

    @property
    def remarks(self) -> list[Any]:
        return [finding for finding in self.diagnosis.findings if finding.severity == "info"]

    @property
    def remarks_open(self) -> bool:
        return not self.alarms and len(self.remarks) <= _MOST_INFO_SHOWN

    @property
    def last(self) -> Any:
        return self.process.snapshots[-1] if self.process.snapshots else None

    def anchor(self, site: str | None) -> str | None:
        """Where the layer's row is; the first one where two models have a layer of the same name."""
        found = (a for layer, a in zip(self.diagnosis.layers, self.anchors, strict=True) if layer.site == site)
        return next(found, None)

    def alarm_of(self, site: str) -> str | None:
        """The worst severity said of a layer, if more than information."""
        return next((finding.severity for finding in self.alarms if finding.site == site), None)


def run_page(run: Run, diagnoses: Sequence[Diagnosis]) -> str:
    """The page of one observed training.

    Args:
        run: As read from its folder; it may still be going on.
        diagnoses: One per process of the run, in the same order.

    Returns:
        HTML; about 5 MB, nearly all of it plotly's script.

    Example:
        >>> from rectifier.records import Manifest
        >>> manifest = Manifest(name="train", command=("train.py",), folder="", started="", rectifier="0", python="3")
        >>> "Nothing was observed" in run_page(Run(manifest=manifest, processes=()), [])
        True
    """
    parts = _parts(run, diagnoses)
    return _render(
        "run.html", title=f"{run.manifest.name} · Rectifier", run=run, parts=parts, verdict=_verdict(run, diagnoses)
    )


def comparison_page(
    comparison: Comparison,
    *,
    example: tuple[Run, Diagnosis] | None = None,
    curves: Mapping[str, Sequence[Series]] | None = None,
) -> str:
    """The page of a comparison.

    Args:
        comparison: With every trial.
        example: One run of the baseline to look at closely, with its diagnosis.
        curves: Learning curves by arm, one series a seed.

    Returns:
        HTML, as `run_page`.
    """
    charts = [
        ("Difference against the baseline", comparison_figures.forest(comparison)),
        ("Failed trainings", comparison_figures.failure_rates(comparison)),
        ("Every training", comparison_figures.seeds(comparison)),
        ("Dead units", comparison_figures.dead_shares(comparison)),
    ]
    learning = comparison_figures.learning_curves(curves or {}, comparison.baseline)
    return _render(
        "comparison.html",
        title=f"{comparison.title} · Rectifier",
        comparison=comparison,
        charts=[_Shown(title, figure) for title, figure in charts if figure is not None],
        learning=[_Shown(arm, figure, user_named=True) for arm, figure in learning],
        csv=_trials_as_csv(comparison),
        run=example[0] if example else None,
        parts=_parts(example[0], [example[1]]) if example else [],
        died=bool(example) and _died(example[1]) if example else False,
    )


def _parts(run: Run, diagnoses: Sequence[Diagnosis]) -> list[_Part]:
    parts = []
    for number, (process, diagnosis) in enumerate(zip(run.processes, diagnoses, strict=True), start=1):
        names = figures.layer_names(process, diagnosis)
        silent = figures.silent_map(diagnosis, names)
        shown = [_Shown("Silent units, layer by layer", silent, wide=True, ramp=True)] if silent is not None else []
        charts = [
            ("Gradient over depth", figures.gradient_flow(process)),
            ("How often units fire", figures.firing_histogram(process)),
        ]
        shown += [_Shown(title, figure) for title, figure in charts if figure is not None]
        series = figures.series_curves(process, diagnosis, names)
        shown += [_Shown(name, figure, user_named=True) for name, figure in series]
        maps = figures.unit_maps(process, diagnosis, names)
        parts.append(
            _Part(
                process=process,
                diagnosis=diagnosis,
                names=names,
                anchors=[f"layer-{number}-{row}" for row in range(1, len(names) + 1)],
                over_time=shown,
                units=[_Shown(name, figure, user_named=True) for name, figure in maps],
            )
        )
    return parts


@dataclass(frozen=True)
class _Verdict:
    severity: str
    title: str
    lede: str


def _verdict(run: Run, diagnoses: Sequence[Diagnosis]) -> _Verdict:
    """The one sentence on top; of several processes, the worst one speaks."""
    counted = [process for process in run.processes if process.snapshots]
    findings = sorted((f for d in diagnoses for f in d.findings), key=lambda f: _SEVERITIES.index(f.severity))
    lede = []
    if run.outcome is not None and run.outcome.exit_code:
        lede.append(f"The script ended with exit code {run.outcome.exit_code}.")
    alarms = [finding for finding in findings if finding.severity != "info"]
    if alarms:
        counts = [(name, sum(f.severity == name for f in findings)) for name in _SEVERITIES]
        said = [f"{count} {_FINDINGS[name]}" for name, count in counts if count]
        lede.append(f"{', '.join(said[:-1])} and {said[-1]}." if len(said) > 1 else f"{said[0]}.")
        return _Verdict(alarms[0].severity, _sentence(alarms[0].title, alarms[0].site), " ".join(lede))
    if not counted:
        lede.append("No counters were written, so nothing can be said about this training, good or bad.")
        return _Verdict("unknown", "Nothing was observed", " ".join(lede))
    layers = [layer for diagnosis in diagnoses for layer in diagnosis.layers]
    return _Verdict("healthy", _HEALTHY, " ".join([*lede, _healthy_words(layers)]))


_FINDINGS = {"serious": "serious", "warning": "to be looked at", "info": "for information"}


def _healthy_words(layers: Sequence[LayerSummary]) -> str:
    known = [layer for layer in layers if layer.units is not None]
    units = sum(layer.units or 0 for layer in known)
    silent = sum((layer.dead or 0) + (layer.suspected or 0) for layer in known)
    watched = f"{len(layers)} {'layer' if len(layers) == 1 else 'layers'}"
    if not units:
        return f"{watched} watched; their units could not be told apart."
    said = (
        f"{silent:,} of the {units:,} units are dead or suspected."
        if silent
        else f"None of the {units:,} units is dead."
    )
    return f"{watched} watched. {said}" + (" That alone is no alarm." if silent else "")


def _sentence(title: str, site: str | None) -> str:
    """A finding's title as a heading; a layer's name keeps its own first letter."""
    return title if site and title.startswith(site) else title[:1].upper() + title[1:]


def _died(diagnosis: Diagnosis) -> bool:
    """Whether a whole layer was silent at the end."""
    return any(layer.units and (layer.dead or 0) + (layer.suspected or 0) >= layer.units for layer in diagnosis.layers)


def _trials_as_csv(comparison: Comparison) -> Markup:
    """Every trial as a link that holds its own data."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["arm", "seed", comparison.metric, "failed", "dead_fraction", "seconds"])
    for trial in comparison.trials:
        writer.writerow([trial.arm, trial.seed, trial.metric, trial.failed, trial.dead_fraction, trial.seconds])
    return Markup("data:text/csv;charset=utf-8;base64," + base64.b64encode(text.getvalue().encode()).decode())


def _difference(effect: Effect, *, percent: bool = False) -> str:
    """`+0.22`; of a rate, in percentage points."""
    return f"{_points(effect.difference)} pp" if percent else signed(effect.difference)


def _interval(effect: Effect, *, percent: bool = False) -> str:
    """`+0.09 to +0.34`, or why there is none."""
    if effect.low is None or effect.high is None:
        return "too few pairs"
    written = _points if percent else signed
    return f"{written(effect.low)} to {written(effect.high)}"


def _points(rate: float) -> str:
    return f"{100 * rate:+.1f}".replace("-", "−")


def _p(effect: Effect) -> str:
    return "< 0.0001" if effect.p_adjusted < 1e-4 else f"{effect.p_adjusted:.2g}"


def _number(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.1f} h"


def _every(interval: int) -> str:
    return "every step" if interval == 1 else f"every {interval:,} steps"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rectifier.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "number": _number, "share": lambda value: "?" if value is None else share(value), "p": _p,
        "difference": _difference, "interval": _interval, "duration": _duration, "every": _every,
    }  # fmt: skip
    environment.filters.update(filters)
    return environment


@cache
def _script(name: str) -> tuple[Markup, str]:
    """A script and its hash for the page's policy."""
    text = get_plotlyjs() if name == "plotly" else (files("rectifier.report") / "templates" / name).read_text("utf-8")
    # The hash is taken by the browser after line ends were made one, as every parser of HTML does.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return Markup(text), base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _render(template: str, **values: Any) -> str:
    scripts = [_script("plotly"), _script("draw.js")]
    style = Markup((files("rectifier.report") / "templates" / "style.css").read_text("utf-8"))
    return _environment().get_template(template).render(scripts=scripts, style=style, **values)
