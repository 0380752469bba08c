"""A run in the terminal: what matters first, numbers with what they rest on, plain where it is piped.

Names of layers, files and metrics are the user's: they are printed as they are, never read as markup.
"""

import io
from collections.abc import Sequence

from rich.console import Console

from rectifier._formatting import duration, listed, percent
from rectifier.records import EARLY_STEPS, Cost, Diagnosis, Process, Run, rank, told_apart
from rectifier.report.rows import worth_a_row
from rectifier.report.sentences import describe
from rectifier.report.sentences.judged import NO_ACTIVATION, layers_not_judged
from rectifier.report.sentences.recorded import recorded, unseen_calls, why_unseen
from rectifier.report.sentences.treated import treated_lines
from rectifier.report.text.findings import print_findings
from rectifier.report.text.layers import layer_table, print_legend
from rectifier.report.text.lines import print_table, say
from rectifier.report.windows import thinning_told

_MOST_LAYERS = 60
_MOST_LISTED = 8
_WORTH_A_REASON = 0.02


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
        say(console, f"Not seen: {unseen_calls(unseen)} ({why_unseen(unseen)}).")
    for sentence in recorded(process):
        say(console, sentence)
    for change in process.changes:
        say(console, f"Changed: {change}.")
    for line in treated_lines(process):
        say(console, line)
    for warning in process.warnings:
        say(console, f"Rectifier had an internal problem: {warning}.", style="yellow")


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
