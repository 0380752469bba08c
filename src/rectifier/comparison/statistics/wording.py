"""The sentences of a comparison: plain English that follows the numbers and never runs ahead of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rectifier._formatting import listed, percent
from rectifier.comparison.statistics.exact import clopper_pearson
from rectifier.records import ArmVerdict, Effect, Trial


@dataclass(frozen=True, slots=True)
class Wording:
    """What the sentences of one comparison have in common, at one of its analyses.

    Attributes:
        alpha: Error rate of the whole comparison.
        level: The part of it that this analysis may spend.
        final_level: The part of the last analysis.
        tests: In the family.
        smallest_n: Pairs with which one of them could reject at this analysis.
        interim: All of them, in seeds; empty where whatever has ended is judged.
        analysis: This one, None where there are none.
        reached: Whether all its trainings have ended.
    """

    baseline: str
    metric: str
    higher_is_better: bool
    margin: float | None
    alpha: float
    level: float
    final_level: float
    smallest_n: int
    tests: int
    interim: tuple[int, ...] = ()
    analysis: int | None = None
    reached: bool = True

    @property
    def last(self) -> bool:
        """Whether no analysis comes after this one."""
        return self.analysis in (None, *self.interim[-1:])

    def baseline_sentence(self, row: ArmVerdict) -> str:
        """The baseline's own numbers; there is nothing to judge."""
        middle = "no value" if row.median is None else f"median {_number(row.median)}"
        return (
            f"{row.arm}, the baseline: failures {row.failures} of {row.n} "
            f"({self._exact} {_percent(row.failure_low, row.failure_high)}), {self.metric} {middle}."
        )

    def sentence(
        self,
        row: ArmVerdict,
        baseline: Sequence[Trial],
        *,
        deciding: tuple[Effect | None, Effect | None],
        is_placebo: bool,
        opposed: bool,
        withheld: bool,
        copies: bool,
    ) -> str:
        """The verdict on an arm with the numbers that carry it, and why it is not a stronger one.

        Args:
            row: Of the arm.
            baseline: Its trials of the same seeds.
            deciding: The failures and the metric, each where it may speak and differs.
            is_placebo: Whether the arm is.
            opposed: Whether the two endpoints point in opposite directions.
            withheld: Whether the metric differs and may not decide, because unequally many runs gave one.
            copies: Whether all seeds gave the same numbers.
        """
        if not row.n:
            return f"{row.arm}: undecided, because no seed has finished in both this arm and {self.baseline}."
        return self._verdict(row, baseline, deciding, is_placebo, opposed, withheld, copies) + self._stopped(row)

    def _verdict(
        self,
        row: ArmVerdict,
        baseline: Sequence[Trial],
        deciding: tuple[Effect | None, Effect | None],
        is_placebo: bool,
        opposed: bool,
        withheld: bool,
        copies: bool,
    ) -> str:
        numbers = f"{self._failures(row, baseline)}; {self._metric(row)}"
        name = f"{row.arm} (the baseline with other random draws)" if is_placebo else row.arm
        match row.verdict:
            case "identical":
                what = "every pair is equal to the bit, so nothing was changed"
                return f"{name} is identical to {self.baseline}: {what} ({numbers})."
            case "helped" | "hurt":
                return f"{name} {row.verdict}, judged by {self._decided_by(*deciding)}: {numbers}."
            case "no difference":
                limit = f"±{_number(self.margin or 0)}, the smallest {self.metric} difference that matters"
                return f"{name} makes no difference: the whole interval lies within {limit} ({numbers})."
        if is_placebo:
            return f"{name} shows what luck alone does here: {numbers}."
        return f"{name} is undecided: {numbers}; {self._why_undecided(row, opposed, withheld, copies)}."

    def headline(self, rows: Sequence[ArmVerdict], placebo: str | None) -> str:
        """One line over all arms, best news and bad news alike."""
        judged = [row for row in rows if row.arm != placebo]
        if not judged:
            return f"Nothing was compared with {self.baseline}."
        groups = [
            ("helped", "helped"),
            ("hurt", "hurt"),
            ("no difference", "made no difference"),
            ("identical", "changed nothing at all"),
            ("undecided", "undecided"),
        ]
        parts = []
        for verdict, words in groups:
            names = [row.arm for row in judged if row.verdict == verdict]
            if names and len(names) == len(judged) and verdict == "undecided":
                few = max(row.n for row in judged) < self.smallest_n
                need = f": no test could reject with fewer than {self.smallest_n} seeds" if few else ""
                return f"No arm is shown to help or to hurt{need}."
            if names:
                parts.append(f"{listed(names)} {words}")
        return f"Against {self.baseline}: {'; '.join(parts)}."

    def seeds_note(self, arms: Sequence[str], hint: str | None) -> str:
        """What to say when the seeds changed nothing."""
        return (
            f"Different seeds gave identical results ({listed(arms)} and {self.baseline}), so there is one "
            f"observation however many seeds ran, and no verdict. {hint or _SEED_OPTION}"
        )

    def _stopped(self, row: ArmVerdict) -> str:
        if row.stopped_at is None:
            return ""
        return f" This arm stopped early: it had its verdict at {row.stopped_at} of {self.interim[-1]} seeds."

    @property
    def _exact(self) -> str:
        return f"exact {percent(1 - self.alpha)} interval"

    def _failures(self, row: ArmVerdict, baseline: Sequence[Trial]) -> str:
        # The baseline is counted over the same seeds, so that both numbers speak about the same pairs.
        other = sum(trial.failed is not None for trial in baseline)
        interval = _percent(row.failure_low, row.failure_high)
        other_interval = _percent(*clopper_pearson(other, row.n, 1 - self.level))
        text = f"failures {row.failures} of {row.n} ({self._exact} {interval})"
        return f"{text} instead of {other} of {row.n} ({other_interval})"

    def _metric(self, row: ArmVerdict) -> str:
        if row.metric is None:
            return f"no pair in which both gave a {self.metric}"
        text = f"{self.metric} {_effect(row.metric)}"
        if not self.higher_is_better:
            text += ", lower is better"
        if row.metric.n < row.n:
            text += f", on the {row.metric.n} of {row.n} pairs with a value"
        return text

    def _decided_by(self, failure: Effect | None, metric: Effect | None) -> str:
        named = (("failures", failure), (self.metric, metric))
        return listed([f"its {name} (p = {_p(effect.p_adjusted)})" for name, effect in named if effect is not None])

    def _why_undecided(self, row: ArmVerdict, opposed: bool, withheld: bool, copies: bool) -> str:
        if copies:
            return "all seeds gave the same numbers, which is one observation"
        if not self.reached:
            return f"it is judged at {self.analysis} seeds, and not all of these trainings have ended"
        if opposed:
            return (
                f"its failures and its {self.metric} differ in opposite directions, and which of them "
                "matters more is yours to say"
            )
        if withheld:
            return (
                f"the {self.metric} differs, but only among the runs that ended with one, and the arms lost "
                "unequally many runs"
            )
        if row.n < self.smallest_n:
            return (
                f"with {row.n} pairs none of {self.tests} corrected exact tests could reject, from "
                f"{self.smallest_n} seeds on one could"
            )
        return f"neither difference survives the correction for {self.tests} tests{self._could_have_seen(row)}"

    def _could_have_seen(self, row: ArmVerdict) -> str:
        if row.detectable is None:
            return ""
        text = f"; 80% power to detect a difference in {self.metric} of about {_number(row.detectable)}"
        if row.seeds_needed is None or row.seeds_needed <= row.n:
            return text
        return f"{text}; one as large as measured needs about {_about(row.seeds_needed)} seeds"


_SEED_OPTION = (
    "The script sets its own seed or draws nothing at random: let it take the seed as an option and write {seed} in "
    "its place, for example `train.py --seed {seed}`."
)


def _about(seeds: int) -> str:
    """Two digits, rounded up: what is estimated from a few pairs has no third.

    Example:
        >>> _about(57), _about(1287)
        ('57', '1,300')
    """
    unit = 10 ** max(0, len(str(seeds)) - 2)
    return f"{-(-seeds // unit) * unit:,}"


def _percent(low: float, high: float) -> str:
    return f"{percent(low)} to {percent(high)}"


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else f"{value:.0e}"


def _number(value: float) -> str:
    return f"{value:.3g}"


def _effect(effect: Effect) -> str:
    """A difference with as many decimals as its interval deserves: two digits of the interval's width."""
    if effect.low is None or effect.high is None:
        return f"{effect.difference:+.3g} (too few pairs for an interval)"
    width = effect.high - effect.low
    if not width:
        return f"{effect.difference:+.3g} [{effect.low:.3g}, {effect.high:.3g}]"
    decimals = 1 - math.floor(math.log10(width))
    if not 0 <= decimals <= 6:
        return f"{effect.difference:+.3g} [{effect.low:.3g}, {effect.high:.3g}]"
    return f"{effect.difference:+.{decimals}f} [{effect.low:.{decimals}f}, {effect.high:.{decimals}f}]"
