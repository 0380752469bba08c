"""A run or a comparison in the terminal: what matters first, numbers with what they rest on, plain where it is piped.

Names of layers, files and metrics are the user's: they are printed as they are, never read as markup.
"""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rectifier._formatting import counted, duration, listed, percent
from rectifier.records import (
    ArmVerdict,
    Comparison,
    Cost,
    Diagnosis,
    Effect,
    Finding,
    Judged,
    Process,
    Run,
    SiteRef,
    rank,
    told_apart,
)
from rectifier.report.rows import worth_a_row
from rectifier.report.sentences import describe
from rectifier.report.sentences.judged import NO_ACTIVATION, heading, layers_not_judged, not_judged
from rectifier.report.sentences.recorded import recorded, why_unseen
from rectifier.report.sentences.treated import treated_lines
from rectifier.report.text.layers import layer_table, print_legend
from rectifier.report.text.lines import fit, print_table, say
from rectifier.report.windows import thinning_told
from rectifier.report.words import findings_counted, interim_told

_STYLES = {"serious": "bold red", "warning": "bold yellow", "info": "cyan"}
_MOST_INFO = 6
_MOST_LAYERS = 60
_MOST_TOLD = 5
_MOST_LISTED = 8
_WIDE = 100
_HANGING = 10
_WORTH_CUTTING = 80
_WORTH_A_REASON = 0.02
EARLY_STEPS = 1024
"""Steps that are sampled at a fixed rate, as the monitor's schedule has it; reports never import torch."""


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
        say(console, "Nothing was observed.")
    if len(run.processes) > 1:
        _print_worst(run, diagnoses, console)
    for process, diagnosis in zip(run.processes, diagnoses, strict=True):
        if len(run.processes) > 1:
            console.print()
            say(console, f"{_name(process)}, process {process.writer.pid}", style="bold")
        _print_process(process, diagnosis, console, run.manifest.command)


def _print_worst(run: Run, diagnoses: Sequence[Diagnosis], console: Console) -> None:
    """Of many ranks, the first line is about the one that has most to say."""
    worst = [(d.findings[0], p) for p, d in zip(run.processes, diagnoses, strict=True) if d.findings]
    summary = f"{len(run.processes)} processes trained."
    if worst:
        finding, process = max(worst, key=lambda one: rank(one[0].severity))
        if finding.severity != "info":
            summary += f" Most serious, in {_name(process)}: {describe(finding).title}."
    say(console, summary, style="bold")


def _name(process: Process) -> str:
    return f"rank {process.writer.rank} of {process.writer.world_size}"


def _print_process(process: Process, diagnosis: Diagnosis, console: Console, command: Sequence[str]) -> None:
    if diagnosis.nothing_observed and not diagnosis.findings:
        say(
            console,
            "Neither activations nor parameters were observed, so there is no verdict on this training.",
            style="bold",
        )
    else:
        print_findings(diagnosis, console, command)
    if not diagnosis.layers and not diagnosis.nothing_observed:
        say(console, NO_ACTIVATION)
    if diagnosis.layers:
        console.print()
        rows = worth_a_row(diagnosis, diagnosis.findings, _MOST_LAYERS)
        print_table(console, layer_table(process, diagnosis, console, rows))
        if len(rows) < len(diagnosis.layers):
            say(console, f"{len(rows)} of {len(diagnosis.layers):,} layers; --json lists all of them.")
        for line in layers_not_judged(diagnosis.not_judged):
            say(console, line)
        print_legend(process, diagnosis, console)
    _print_coverage(process, console)
    _print_remarks(process, console)


def _print_remarks(process: Process, console: Console) -> None:
    if process.writer.ranks > 1:
        say(
            console,
            f"{process.writer.ranks} ranks trained this model on shares of the data; they are counted together.",
        )
    repeated = [ref.label for ref, site in zip(told_apart(process.sites), process.sites, strict=True) if site.repeated]
    if repeated:
        which = "All layers" if len(repeated) == len(process.sites) else listed(repeated, _MOST_LISTED)
        say(
            console,
            f"Runs compiled: {which}. Counted in an extra uncompiled forward; ‖δ‖ was not observed.",
        )
    for unseen in process.unseen:
        say(console, f"Not seen: {unseen.what} ({why_unseen(unseen)}).")
    for sentence in recorded(process):
        say(console, sentence)
    for change in process.changes:
        say(console, f"Changed: {change}.")
    for line in treated_lines(process):
        say(console, line)
    for warning in process.warnings:
        say(console, f"Rectifier had an internal problem: {warning}.", style="yellow")


def print_findings(diagnosis: Judged, console: Console, command: Sequence[str] = ()) -> None:
    """Print what was found, most serious first, then what is suppressed and why.

    Args:
        diagnosis: What was found.
        console: Where to.
        command: The user's script and its options; empty where they are not known.
    """
    _print_verdict(diagnosis, console)
    alarms = [finding for finding in diagnosis.findings if finding.severity != "info"]
    remarks = [finding for finding in diagnosis.findings if finding.severity == "info"]
    for finding in [*alarms, *remarks[:_MOST_INFO]]:
        print_title(finding, console)
    if len(remarks) > _MOST_INFO:
        more = counted(len(remarks) - _MOST_INFO, "more remark")
        say(console, f"and {more}; --json lists all of them.", indent=_HANGING)
    advised: list[Sequence[str]] = []
    for finding in alarms[:_MOST_TOLD]:
        texts = describe(finding, command)
        console.print()
        if len(alarms) > 1:
            say(console, texts.title, style="bold", indent=2)
        advice = _not_yet_told(texts.advised, advised)
        advised.append(texts.advised)
        where = finding.site.source if isinstance(finding.site, SiteRef) else None
        for label, text in (("", texts.detail), ("Where: ", where), ("Why: ", texts.cause), ("What to do: ", advice)):
            if text:
                say(console, f"{label}{text}", indent=4)
    if len(alarms) > _MOST_TOLD:
        console.print()
        say(console, f"The page (--html) has the details of the other {len(alarms) - _MOST_TOLD}.", indent=2)
    if diagnosis.suppressed:
        console.print()
    print_suppressed(diagnosis, console)


def print_suppressed(judged: Judged, console: Console) -> None:
    """Print what the user knows of, with the reasons."""
    for finding in judged.suppressed:
        title = describe(finding).title
        say(console, f"Suppressed ({finding.severity}): {title}. Reason: {finding.suppressed}", indent=2)


def _print_verdict(diagnosis: Judged, console: Console) -> None:
    severities: list[str] = [finding.severity for finding in diagnosis.findings]
    if set(severities) - {"info"}:
        left = not_judged(diagnosis)
        say(console, f"{findings_counted(severities)}.{f' Not judged: {left}.' if left else ''}", style="bold")
    else:
        say(console, f"{heading(diagnosis)}.{' Notes:' if severities else ''}", style="bold")


def print_title(finding: Finding, console: Console) -> None:
    """Print a finding's severity and its one line."""
    head = Text.assemble("  ", (f"{finding.severity:<{_HANGING - 2}}", _STYLES[finding.severity]))
    say(console, describe(finding).title, head=head, indent=_HANGING)


def _not_yet_told(advice: Sequence[str], told: Sequence[Sequence[str]]) -> str:
    """An advice without the end that another one had in common with it: read twice, it would be skipped twice."""
    for start in range(len(advice)):
        end = advice[start:]
        if len(" ".join(end)) >= _WORTH_CUTTING and any(earlier[-len(end) :] == end for earlier in told):
            return " ".join([*advice[:start], "Then as above."]) if start else "as above."
    return " ".join(advice)


def _new_table() -> Table:
    return Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")


def _print_coverage(process: Process, console: Console) -> None:
    if not process.snapshots:
        return
    last = process.snapshots[-1]
    cost = last.cost
    visits = sum(window.seen for snapshot in process.snapshots for window in snapshot.windows if window.site == 0)
    samples, distinct = f"{visits:,} samples", "distinct"
    if process.sites and process.sites[0].unit_axis.counts_tokens:
        samples, distinct = f"{visits:,} tokens", "distinct sequences"
    if last.distinct_samples is not None:
        samples += f" ({last.distinct_samples:,} {distinct})"
    console.print()
    say(
        console,
        f"Sampled {cost.observed_steps:,} of {cost.steps:,} steps ({_every(cost.interval)} at the end), "
        f"{cost.counted_steps:,} of them in full: {samples}. "
        f"Watching took {duration(cost.watching_seconds)}, {percent(cost.watching_fraction)} of the training "
        f"(host clock).{_why_so_much(cost)}{_treating(cost)}{thinning_told(process)}",
    )


def _every(interval: int) -> str:
    return "every step" if interval == 1 else f"1 in {interval:,}"


def _treating(cost: Cost) -> str:
    if not cost.treating_seconds:
        return ""
    return f" Treatments took another {duration(cost.treating_seconds)}, including the search for units to treat."


def _why_so_much(cost: Cost) -> str:
    """Why a short run costs more than its budget: a sentence after a space, or nothing."""
    if cost.watching_fraction <= _WORTH_A_REASON:
        return ""
    # Under --every all sampled steps are full ones, and no budget holds at all.
    if cost.steps <= EARLY_STEPS and cost.counted_steps < cost.observed_steps:
        return f" The budget holds after the first {EARLY_STEPS:,} steps, which are sampled at a fixed rate."
    return " Most of this is start-up: a longer run has a smaller share." if cost.watching_seconds < 1.0 else ""


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a comparison: the headline, a table of arms, a sentence for each, and what one must know to believe it."""
    say(console, comparison.headline, style="bold")
    console.print()
    print_table(console, _arm_table(comparison, console))
    console.print()
    for arm in comparison.arms:
        if arm.arm != comparison.baseline:
            say(console, arm.sentence, head=Text(fit("– ", console)), indent=2)
    console.print()
    say(
        console,
        f"{counted(len(comparison.seeds), 'seed')}, {comparison.metric} "
        f"({'higher' if comparison.higher_is_better else 'lower'} is better); intervals are 95%, each for one arm "
        f"alone; p is exact and corrected (Holm) over arms and both endpoints; no verdict is possible below "
        f"{comparison.smallest_n} seeds.",
    )
    if interim := interim_told(comparison.interim):
        say(console, interim)
    for note in comparison.notes:
        say(console, f"Note: {note}")


def _arm_table(comparison: Comparison, console: Console) -> Table:
    table = _new_table()
    wide = console.width >= _WIDE
    table.add_column("arm", overflow="fold")
    table.add_column("failed", justify="right", overflow="fold")
    if wide:
        table.add_column("95%", overflow="fold")
        table.add_column("median", justify="right", overflow="fold")
    table.add_column("difference", justify="right", overflow="fold")
    table.add_column("95%", overflow="fold")
    if wide:
        table.add_column("p", justify="right", overflow="fold")
    table.add_column("verdict", overflow="fold")
    for arm in comparison.arms:
        failed = f"{arm.failures} of {arm.n}"
        rates = f"{percent(arm.failure_low)} to {percent(arm.failure_high)}"
        median = "?" if arm.median is None else f"{arm.median:.3g}"
        difference, interval, p = _effect(arm.metric)
        row = [arm.arm, failed, rates, median, difference, interval, p, _standing(arm, comparison)]
        shown = row if wide else [arm.arm, failed, difference, interval, row[-1]]
        table.add_row(*(Text(fit(cell, console)) for cell in shown), style=_verdict_style(arm, comparison))
    return table


def _standing(arm: ArmVerdict, comparison: Comparison) -> str:
    """The verdict; the baseline and the placebo are not judged."""
    if arm.arm == comparison.baseline:
        return "baseline"
    return "placebo" if arm.arm == comparison.placebo else arm.verdict


def _effect(effect: Effect | None) -> tuple[str, str, str]:
    if effect is None:
        return "", "", ""
    interval = "" if effect.low is None or effect.high is None else f"{effect.low:+.3g} to {effect.high:+.3g}"
    return f"{effect.difference:+.3g}", interval, f"{effect.p_adjusted:.2g}"


def _verdict_style(arm: ArmVerdict, comparison: Comparison) -> str | None:
    if arm.arm == comparison.placebo:
        return "dim"
    return {"helped": "green", "hurt": "red"}.get(arm.verdict)
