"""A run or a comparison in the terminal: what matters first, numbers with what they rest on, plain where it is piped.

Names of layers, files and metrics are the user's: they are printed as they are, never read as markup.
"""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rectifier.records import ArmVerdict, Comparison, Cost, Diagnosis, Effect, Finding, LayerSummary, Process, Run

_STYLES = {"serious": "bold red", "warning": "bold yellow", "info": "cyan"}
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.:-=+*#"
_CHART_WIDTH = 12
_MOST_INFO = 6


def run_text(run: Run, diagnoses: Sequence[Diagnosis], width: int = 100) -> str:
    """What `print_run` prints, as a string without colour; for a `repr`."""
    console = Console(file=io.StringIO(), width=width, no_color=True, highlight=False)
    print_run(run, diagnoses, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip()


def print_run(run: Run, diagnoses: Sequence[Diagnosis], console: Console) -> None:
    """Print the findings of a run, most serious first, then its layers, what watching cost and what was not seen.

    Args:
        run: As read from its folder, or of a live `watch`.
        diagnoses: One per process of the run, in the same order.
        console: Where to; its width, colour and encoding are respected.
    """
    if not run.processes:
        _say(console, "Nothing was observed.")
    for process, diagnosis in zip(run.processes, diagnoses, strict=True):
        if len(run.processes) > 1:
            writer = process.writer
            _say(console, f"Process {writer.pid} (rank {writer.rank} of {writer.world_size})", style="bold")
        _print_process(process, diagnosis, console)


def _print_process(process: Process, diagnosis: Diagnosis, console: Console) -> None:
    _print_verdict(diagnosis, console)
    told = 0
    advice = ""
    for finding in diagnosis.findings:
        if finding.severity == "info":
            told += 1
            if told > _MOST_INFO:
                continue
        _print_finding(finding, console, repeats=finding.advice == advice)
        advice = finding.advice
    if told > _MOST_INFO:
        _say(console, f"and {told - _MOST_INFO} more of severity info; the page lists all of them.", indent=2)
    if diagnosis.layers:
        console.print()
        console.print(_layer_table(diagnosis.layers, console))
    _print_coverage(process, console)
    for unseen in process.unseen:
        _say(console, f"Not seen: {unseen.what} ({unseen.reason}).")
    for change in process.changes:
        _say(console, f"Changed: {change}.")
    for warning in process.warnings:
        _say(console, f"Trouble inside of Rectifier: {warning}.", style="yellow")


def _print_verdict(diagnosis: Diagnosis, console: Console) -> None:
    counts = dict.fromkeys(_STYLES, 0)
    for finding in diagnosis.findings:
        counts[finding.severity] += 1
    if counts["serious"] or counts["warning"]:
        parts = [f"{count} {severity}" for severity, count in counts.items() if count]
        _say(console, f"Findings: {', '.join(parts)}.", style="bold")
    elif diagnosis.findings:
        _say(console, "Nothing is wrong that can be seen from the activations; for information:", style="bold")
    else:
        _say(console, "Nothing is wrong that can be seen from the activations.", style="bold")


def _print_finding(finding: Finding, console: Console, *, repeats: bool) -> None:
    line = Text()
    line.append(f"{finding.severity:<8}", style=_STYLES[finding.severity])
    line.append(_fit(finding.title, console))
    console.print(Padding(line, (0, 0, 0, 2)))
    if finding.severity == "info":
        return
    advice = "as above." if repeats else finding.advice
    for label, text in (("", finding.detail), ("why: ", finding.cause), ("do: ", advice)):
        if text:
            _say(console, f"{label}{text}", indent=10)


def _layer_table(layers: Sequence[LayerSummary], console: Console) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    wide = console.width >= 100
    table.add_column("layer", overflow="fold")
    if wide:
        table.add_column("activation", no_wrap=True)
        table.add_column("source", overflow="fold")
    for name in ("units", "dead", "rare", "stuck", "fires"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(_fit("‖δ‖", console), justify="right", no_wrap=True)
    if wide:
        table.add_column("silent over time", no_wrap=True)
    for layer in layers:
        dead = _number(layer.dead) + (f"+{layer.suspected}?" if layer.suspected else "")
        cells = [
            _number(layer.units), dead, _number(layer.rare), _number(layer.stuck),
            "?" if layer.firing_fraction is None else f"{layer.firing_fraction:.0%}",
            "?" if layer.delta is None else f"{layer.delta:.1e}",
        ]  # fmt: skip
        row = [layer.site, layer.activation, layer.source or "?", *cells, _chart(layer, console)]
        shown = row if wide else [layer.site, *cells]
        table.add_row(*(Text(_fit(cell, console)) for cell in shown))
    return table


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value}"


def _chart(layer: LayerSummary, console: Console) -> str:
    """Share of silent units over the run, a character a stretch of windows."""
    shares = [share for _, share in layer.dead_history]
    if not shares:
        return ""
    bars = _BARS if _takes(_BARS, console) else _PLAIN_BARS
    count = min(_CHART_WIDTH, len(shares))
    picked = [shares[round(index * (len(shares) - 1) / max(count - 1, 1))] for index in range(count)]
    return "".join(bars[min(len(bars) - 1, int(share * len(bars)))] for share in picked)


def _print_coverage(process: Process, console: Console) -> None:
    if not process.snapshots:
        return
    last = process.snapshots[-1]
    cost = last.cost
    visits = sum(window.visits for snapshot in process.snapshots for window in snapshot.windows if window.site == 0)
    samples = f"{visits:,} samples" if last.distinct_samples is None else (
        f"{visits:,} samples ({last.distinct_samples:,} distinct)"
    )  # fmt: skip
    console.print()
    short = " Most of that is its start: the longer the training, the less it weighs." if _is_start(cost) else ""
    _say(
        console,
        f"Observed {cost.observed_steps:,} of {cost.steps:,} steps ({_every(cost.interval)} at the end), {samples}. "
        f"Watching took {cost.watching_seconds:.2f} s, {cost.watching_fraction:.1%} of the training (host clock).{short}",
    )


def _every(interval: int) -> str:
    return "every one" if interval == 1 else f"every {interval}"


def _is_start(cost: Cost) -> bool:
    """Whether the fixed expense of the first steps, rather than a lasting one, makes up the share."""
    return cost.watching_fraction > 0.02 and cost.watching_seconds < 1.0


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison: the headline, a table of arms, a sentence for each, and what one must know to believe it."""
    _say(console, comparison.headline, style="bold")
    console.print()
    console.print(_arm_table(comparison, console))
    console.print()
    for arm in comparison.arms:
        if arm.arm != comparison.baseline:
            _say(console, arm.sentence, indent=2)
    console.print()
    _say(
        console,
        f"{len(comparison.seeds)} seeds, {comparison.metric} ({'higher' if comparison.higher_is_better else 'lower'} is "
        f"better); intervals are 95 %, each for one arm alone; p is exact and corrected (Holm) over arms and both "
        f"endpoints; no verdict is possible below {comparison.smallest_n} seeds.",
    )
    for note in comparison.notes:
        _say(console, f"Note: {note}")


def _arm_table(comparison: Comparison, console: Console) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    wide = console.width >= 100
    table.add_column("arm", overflow="fold")
    table.add_column("failed", justify="right", no_wrap=True)
    if wide:
        table.add_column("95 %", no_wrap=True)
        table.add_column("median", justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("95 %", no_wrap=True)
    if wide:
        table.add_column("p", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for arm in comparison.arms:
        failed = f"{arm.failures} of {arm.n}"
        rates = f"{arm.failure_low:.0%} to {arm.failure_high:.0%}"
        median = "?" if arm.median is None else f"{arm.median:.3g}"
        difference, interval, p = _effect(arm.metric)
        verdict = "" if arm.arm == comparison.baseline else arm.verdict
        row = [arm.arm, failed, rates, median, difference, interval, p, verdict]
        shown = row if wide else [arm.arm, failed, difference, interval, verdict]
        table.add_row(*(Text(_fit(cell, console)) for cell in shown), style=_verdict_style(arm, comparison))
    return table


def _effect(effect: Effect | None) -> tuple[str, str, str]:
    if effect is None:
        return "", "", ""
    interval = "" if effect.low is None or effect.high is None else f"{effect.low:+.3g} to {effect.high:+.3g}"
    return f"{effect.difference:+.3g}", interval, f"{effect.p_adjusted:.2g}"


def _verdict_style(arm: ArmVerdict, comparison: Comparison) -> str | None:
    if arm.arm == comparison.placebo:
        return "dim"
    return {"helped": "green", "hurt": "red"}.get(arm.verdict)


def _say(console: Console, text: str, *, style: str | None = None, indent: int = 0) -> None:
    console.print(Padding(Text(_fit(text, console), style=style or ""), (0, 0, 0, indent)))


_PLAIN = {
    "‖": "|", "δ": "delta", "×": "x", "α": "a", "τ": "tau", "→": "->", "–": "-", "—": "-", "≤": "<=", "≥": ">=", "²": "2",
    "…": "...", "β": "beta", "−": "-", "√": "sqrt", "½": "1/2", "∂": "d", "Δ": "d", "’": "'", "“": '"', "”": '"',
    "·": "*", "±": "+-",
}  # fmt: skip


def _takes(text: str, console: Console) -> bool:
    try:
        text.encode(console.encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _fit(text: str, console: Console) -> str:
    """The text, spelled with what the console's encoding has."""
    if _takes(text, console):
        return text
    spelled = "".join(_PLAIN.get(character, character) for character in text)
    return spelled.encode(console.encoding, "replace").decode(console.encoding)
