r"""One self-contained page: no network, light and dark, readable without a mouse, without colours and on paper.

Everything that a user named is escaped by the template engine; figures travel as JSON in which `<` is written `\u003c`.
Should an escape ever be missing, the page's own policy still lets no script run but its two, by their hashes.
"""

import base64
import csv
import hashlib
import io
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rectifier._formatting import duration, percent, printable
from rectifier.records import Comparison, Diagnosis, Effect, Run, SavedExplanation, Series
from rectifier.report.figures import comparison as comparison_figures
from rectifier.report.page.explained import Explained
from rectifier.report.page.shown import MOST_FINDINGS, MOST_LAYERS, Shown, parts_of
from rectifier.report.sentences import describe
from rectifier.report.sentences.explanation import experiments
from rectifier.report.sentences.failures import failure_text
from rectifier.report.verdict import verdict_of
from rectifier.report.words import interim_told, signed

_OURS = ("draw.js", "reader.js")

_FORMULA = ("=", "+", "-", "@")


def run_page(
    run: Run,
    diagnoses: Sequence[Diagnosis],
    *,
    explained: SavedExplanation | None = None,
    refresh_seconds: int | None = None,
) -> str:
    """The page of one observed training.

    Args:
        run: As read from its folder; it may still be going on.
        diagnoses: One per process of the run, in the same order.
        explained: Why it failed, with its texts, where that was found out.
        refresh_seconds: The page will be written again: let it load itself so often, as long as it has been written
            lately. Its reader can stop that.

    Returns:
        HTML; about 5 MB, nearly all of it plotly's script.

    Example:
        >>> from rectifier.records import Manifest
        >>> manifest = Manifest(name="train", command=("train.py",), folder="", started="", rectifier="0", python="3")
        >>> "Nothing was observed" in run_page(Run(manifest=manifest, processes=()), [])
        True
    """
    return _render(
        "run.html",
        title=f"{run.manifest.name} · Rectifier",
        run=run,
        parts=parts_of(run, diagnoses, run.manifest.command),
        verdict=verdict_of(run, diagnoses),
        explained=None if explained is None else Explained(explained.explanation, explained, run.manifest.script),
        refresh_seconds=refresh_seconds,
        written=round(time.time()),
    )


def explanation_page(saved: SavedExplanation) -> str:
    """The page of an explanation.

    Args:
        saved: With its texts.

    Returns:
        HTML, as `run_page`.
    """
    title = f"{' '.join(saved.command)} · Rectifier"
    return _render("explanation.html", title=title, shown=Explained(saved.explanation, saved))


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
        charts=[Shown(title, figure) for title, figure in charts if figure is not None],
        learning=[Shown(arm, figure) for arm, figure in learning],
        csv=_trials_as_csv(comparison),
        run=example[0] if example else None,
        parts=parts_of(example[0], [example[1]], example[0].manifest.command) if example else [],
        died=example is not None and _died(example[1]),
    )


def _died(diagnosis: Diagnosis) -> bool:
    """Whether a whole layer was silent at the end."""
    return any(layer.units and (layer.dead or 0) + (layer.suspected or 0) >= layer.units for layer in diagnosis.layers)


def _trials_as_csv(comparison: Comparison) -> Markup:
    """Every trial as a link that holds its own data."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["arm", "seed", _cell(comparison.metric), "failed", "dead_fraction", "seconds"])
    for trial in comparison.trials:
        why = None if trial.failed is None else failure_text(trial.failed)
        numbers = (trial.metric, why, trial.dead_fraction, trial.seconds)
        writer.writerow(map(_cell, (trial.arm, trial.seed, *numbers)))
    return Markup("data:text/csv;charset=utf-8;base64," + base64.b64encode(text.getvalue().encode()).decode())


def _cell(value: str | float | None) -> str | float | None:
    """What a spreadsheet takes for what it is, and never for a formula."""
    if isinstance(value, str):
        text = printable(value)
        return f"'{text}" if text.startswith(_FORMULA) else text
    # A space before the sign leaves a number a number.
    return value if value is None or value >= 0 else f" {value}"


def _difference(effect: Effect, *, points: bool = False) -> str:
    """`+0.22`; of a rate, in percentage points."""
    return f"{_points(effect.difference)} pp" if points else signed(effect.difference)


def _interval(effect: Effect, *, points: bool = False) -> str:
    """`+0.09 to +0.34`, or why there is none."""
    if effect.low is None or effect.high is None:
        return "too few pairs"
    written = _points if points else signed
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


def _every(interval: int) -> str:
    return "every step" if interval == 1 else f"every {interval:,} steps"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rectifier.report.page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "number": _number, "percent": lambda value: "?" if value is None else percent(value), "p": _p,
        "difference": _difference, "interval": _interval, "duration": duration, "every": _every,
        "interim": interim_told,
        "texts": describe,
        "changed": experiments.changed, "outcome": experiments.outcome, "seed": experiments.seed_words,
        "loss": experiments.loss_words,
    }  # fmt: skip
    environment.filters.update(filters)
    environment.globals.update(most_findings=MOST_FINDINGS, most_layers=MOST_LAYERS)
    return environment


@cache
def _scripts() -> list[tuple[Markup, str]]:
    """Plotly's script and the page's own, each with its hash for the page's policy."""
    ours = "".join((files("rectifier.report.page") / "templates" / name).read_text("utf-8") for name in _OURS)
    return [_hashed(get_plotlyjs()), _hashed(ours)]


def _hashed(text: str) -> tuple[Markup, str]:
    # The hash is taken by the browser after line ends were made one, as every parser of HTML does.
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return Markup(text), base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _render(template: str, **values: Any) -> str:
    style = Markup((files("rectifier.report.page") / "templates" / "style.css").read_text("utf-8"))
    return fragment(template, scripts=_scripts(), style=style, **values)


def fragment(template: str, **values: Any) -> str:
    """A template with its values, which it escapes."""
    page = _environment().get_template(template).render(**values)
    # Names of files may hold bytes that are no text; a page that cannot be written would say nothing at all.
    return page.encode("utf-8", "replace").decode("utf-8")
