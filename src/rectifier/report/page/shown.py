"""What the templates show: figures with their words, and the parts of a run's page."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import plotly.graph_objects as go
from markupsafe import Markup

from rectifier.records import Diagnosis, Finding, ParameterRef, Process, Run, SiteRef, Snapshot
from rectifier.report.figures import training as figures
from rectifier.report.figures import units as unit_figures
from rectifier.report.figures.drawing import BLUE, GREEN, GREY, INK, ORANGE, WHITE
from rectifier.report.rows import factors, worth_a_row
from rectifier.report.sentences import fixes
from rectifier.report.sentences.judged import heading, layers_not_judged
from rectifier.report.sentences.recorded import recorded, unseen_calls, why_unseen
from rectifier.report.sentences.treated import treated_lines
from rectifier.report.windows import thinning_told

MOST_FINDINGS = 60
MOST_LAYERS = 300
_FEW_REMARKS = 3
_VARIABLES = {BLUE: "--fires", ORANGE: "--silent", GREEN: "--good", GREY: "--grey", INK: "--ink", WHITE: "--ink"}


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    name: str
    variable: str
    line: bool
    dotted: bool
    cross: bool
    circle: bool
    ring: bool


@dataclass(frozen=True)
class Shown:
    """A figure on a page: its heading, what it says in words, and its data."""

    title: str
    figure: go.Figure
    wide: bool = False
    ramp: bool = False

    @property
    def text(self) -> str:
        """What the figure shows, for those who cannot see it."""
        return str(self.figure.layout.meta or "")

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.figure.layout.height or 300)

    @property
    def legend(self) -> list[Key]:
        """Plotly's own would take its room from the drawing, and no reader of screens finds it."""
        if not self.figure.layout.showlegend:
            return []
        return [_key(trace) for trace in self.figure.data if trace.name and trace.showlegend is not False]

    @property
    def data(self) -> Markup:
        """JSON in which nothing can end its own element."""
        text: str = self.figure.to_json()
        return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _key(trace: go.Scatter) -> Key:
    line = "lines" in trace.mode
    colour = trace.line.color if line else trace.marker.color
    return Key(
        trace.name,
        _VARIABLES[colour],
        line,
        trace.line.dash == "dot",
        trace.marker.symbol == "x",
        "markers" in trace.mode,
        trace.marker.color == WHITE,
    )


@dataclass(frozen=True)
class Part:
    """What the template shows of one process of a run."""

    number: int
    process: Process
    diagnosis: Diagnosis
    command: Sequence[str]
    over_time: Sequence[Shown]
    units: Sequence[Shown]
    series_left: int

    @property
    def thinning(self) -> str:
        """What was left out of a long run, after a sentence."""
        return thinning_told(self.process)

    @property
    def recorded(self) -> tuple[str, ...]:
        """At how many steps nothing was observed because something recorded the operations."""
        return recorded(self.process)

    @property
    def heading(self) -> str:
        """What heads the findings where nothing is alarming."""
        return heading(self.diagnosis)

    @property
    def layers_not_judged(self) -> tuple[str, ...]:
        """Why the units of layers are unknown."""
        return layers_not_judged(self.diagnosis.not_judged)

    @cached_property
    def alarms(self) -> list[Finding]:
        """Warnings and worse."""
        return [finding for finding in self.diagnosis.findings if finding.severity != "info"]

    @cached_property
    def remarks(self) -> list[Finding]:
        """What is told for information."""
        return [finding for finding in self.diagnosis.findings if finding.severity == "info"]

    @property
    def remarks_open(self) -> bool:
        """Whether the remarks are unfolded: where they are few and all there is."""
        return not self.alarms and len(self.remarks) <= _FEW_REMARKS

    @cached_property
    def factors(self) -> list[float | None]:
        """What the gradient does on its way into each row."""
        return factors(self.process, self.diagnosis)

    @property
    def last(self) -> Snapshot | None:
        """The latest counters."""
        return self.process.snapshots[-1] if self.process.snapshots else None

    @cached_property
    def rows(self) -> list[int]:
        """The layers that the table lists: all, or those that findings are about and those with most silent units."""
        return worth_a_row(self.diagnosis, self.told, MOST_LAYERS)

    @property
    def told(self) -> list[Finding]:
        """The findings that are shown."""
        return self.alarms[:MOST_FINDINGS] + self.remarks[:MOST_FINDINGS]

    @property
    def has_sources(self) -> bool:
        """Whether any layer's line in the user's script is known."""
        return any(layer.source for layer in self.diagnosis.layers)

    def row_id(self, row: int) -> str:
        """The anchor of a layer's row."""
        return f"layer-{self.number}-{row + 1}"

    @cached_property
    def _anchors(self) -> dict[SiteRef | ParameterRef, str]:
        return {self.diagnosis.layers[row].site: self.row_id(row) for row in reversed(self.rows)}

    def anchor(self, site: SiteRef | None) -> str | None:
        """Where the layer's row is; the first one where two models have a layer of the same name."""
        return None if site is None else self._anchors.get(site)

    @cached_property
    def _alarmed(self) -> dict[SiteRef | ParameterRef, str]:
        alarms = reversed(self.alarms)
        return {finding.site: finding.severity for finding in alarms if finding.site is not None}

    def alarm_of(self, site: SiteRef) -> str | None:
        """The worst severity said of a layer, if more than information."""
        return self._alarmed.get(site)

    @property
    def unseen(self) -> list[tuple[str, str]]:
        """What looked like an activation and was not observed, and why."""
        return [(unseen_calls(unseen), why_unseen(unseen)) for unseen in self.process.unseen]

    @property
    def treated(self) -> list[str]:
        """What was changed while it trained, with what was seen of the effect."""
        return treated_lines(self.process)

    def command_of(self, finding: Finding) -> str | None:
        """What to type, with the script that this run was of in the place of the one that stands for it."""
        if not finding.fixes:
            return None
        return fixes.fix_text(finding.fixes[0].kind, self.command)


def parts_of(run: Run, diagnoses: Sequence[Diagnosis], command: Sequence[str]) -> list[Part]:
    """The parts of a run, one for each of its processes.

    Args:
        run: What was observed.
        diagnoses: One per process, in the same order.
        command: The user's script and its options, as typed; empty where there was none.
    """
    return [
        _part(number, process, diagnosis, command)
        for number, (process, diagnosis) in enumerate(zip(run.processes, diagnoses, strict=True), start=1)
    ]


def _part(number: int, process: Process, diagnosis: Diagnosis, command: Sequence[str]) -> Part:
    silent = figures.silent_map(diagnosis, process.treated)
    shown = [Shown("Silent units, layer by layer", silent, wide=True, ramp=True)] if silent is not None else []
    charts = [
        ("Gradient over depth", figures.gradient_flow(process)),
        ("How often units fire", unit_figures.firing_histogram(process)),
    ]
    shown += [Shown(title, figure) for title, figure in charts if figure is not None]
    series = figures.series_curves(process, diagnosis)
    shown += [Shown(name, figure) for name, figure in series]
    return Part(
        number=number,
        process=process,
        diagnosis=diagnosis,
        command=command,
        over_time=shown,
        units=[Shown(name, figure) for name, figure in unit_figures.unit_maps(process, diagnosis)],
        series_left=len(process.series_names) - len(series),
    )
