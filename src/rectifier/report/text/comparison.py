"""A comparison in the terminal: the headline, a row and a sentence for each arm."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rectifier._formatting import counted, percent
from rectifier.records import ArmVerdict, Comparison, Effect
from rectifier.report.text.lines import fit, print_table, say
from rectifier.report.words import interim_told

_WIDE = 100


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
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
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
