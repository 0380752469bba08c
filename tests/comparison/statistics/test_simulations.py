"""What a comparison promises, shown by simulation: few false alarms, power, and intervals that cover.

The small versions run with every test; the full ones, 2,000 studies each, are proofs.
"""

import functools

import numpy as np
import pytest
from scipy.stats import beta, binom, ttest_1samp

from rectifier.comparison.statistics import exact
from rectifier.comparison.statistics.exact import mcnemar, sign_flip
from rectifier.comparison.statistics.interim import shares
from rectifier.comparison.statistics.trials import compare_trials
from rectifier.records import Failure, FailureKind, Trial

ALARMS, POWER, COVERAGE = 0.06, 0.90, 0.94
"""The targets: upper bound of the false-alarm rate, share of the t-test's power, coverage of the 95% interval."""

SMALL, FULL = 200, 2_000
PAIRS, SMALL_PAIRS = 12, 10
INTERIM, SMALL_INTERIM = (12, 24, 48), (9, 11)
ARMS = ("a", "b", "c")


@pytest.fixture
def few_flips(monkeypatch):
    """A sample of sign patterns keeps the test's level however small it is, and a small one keeps the proofs short."""
    monkeypatch.setattr(exact, "MONTE_CARLO_FLIPS", 3_999)
    monkeypatch.setattr(exact, "LARGEST_ENUMERATION", 12)


def normal(draws, n):
    return draws.normal(0.8, 0.05, n), np.zeros(n, bool)


def bimodal(draws, n):
    return np.where(draws.random(n) < 0.5, 0.5, 0.9) + draws.normal(0, 0.02, n), np.zeros(n, bool)


def collapsing(draws, n, rate):
    failed = draws.random(n) < rate
    return np.where(failed, 0.08, draws.normal(0.8, 0.05, n)), failed


def heavy_tailed(draws, n):
    return 0.8 + 0.05 * draws.standard_t(2, n), np.zeros(n, bool)


KINDS = {
    "normal": normal,
    "bimodal": bimodal,
    "5% collapse": functools.partial(collapsing, rate=0.05),
    "10% collapse": functools.partial(collapsing, rate=0.10),
    "heavy-tailed": heavy_tailed,
}


def drawn(kind, draws, n, arms, better):
    """Outcomes by arm, the baseline first: (n,) values, and which of them are of trainings that failed."""
    outcomes = {arm: KINDS[kind](draws, n) for arm in ("baseline", *arms)}
    return {arm: (values + (better if arm == "a" else 0), failed) for arm, (values, failed) in outcomes.items()}


def study(outcomes, interim, margin=None):
    """One comparison, judged at its analyses."""
    trials = []
    for arm, (values, failed) in outcomes.items():
        trials += [
            Trial(
                arm=arm,
                seed=seed,
                metric=float(value),
                failed=Failure(FailureKind.OTHER, "collapsed") if lost else None,
            )
            for seed, (value, lost) in enumerate(zip(values, failed, strict=True))
        ]
    return trials, compare_trials(
        trials, baseline="baseline", placebo=None, arms=tuple(outcomes)[1:], metric="m", higher_is_better=True,
        title="t", interim=interim, margin=margin,
    )  # fmt: skip


SHIFTS = {"bimodal": 0.2, "10% collapse": 0.15, "5% collapse": 0.12, "heavy-tailed": 0.12}
"""Differences that the t-test finds in about half to nine tenths of the studies of 8 to 16 pairs; of others .06."""


def alarms(kind, studies, interim=(PAIRS,), better=0.0):
    """Studies of equal arms (unless one is better) in which any arm is said to help or to hurt."""
    draws = np.random.default_rng(7)
    outcomes = [drawn(kind, draws, interim[-1], ARMS, better) for _ in range(studies)]
    found = (study(one, interim)[1] for one in outcomes if could_alarm(one, interim))
    return sum(any(row.verdict in ("helped", "hurt") for row in comparison.arms) for comparison in found)


SIGNS = np.random.default_rng(23).choice([-1.0, 1.0], (48, 4_000))


def could_alarm(outcomes, interim):
    """Whether any test of a study comes within three times of what the correction asks: the others need no judging."""
    limit = 3 * 0.05 / (2 * len(ARMS))
    values, failed = (np.array([found[which] for found in outcomes.values()]) for which in (0, 1))
    for n, share in zip(interim, shares(interim), strict=True):
        difference = (values[1:] - values[0])[:, :n]
        extreme = np.abs(difference @ SIGNS[:n]) >= np.abs(difference.sum(1))[:, None] * (1 - 1e-9)
        if (extreme.mean(1) <= limit * share).any():
            return True
        worse = failed[1:, :n].astype(int) - failed[0, :n]
        if any(mcnemar((row > 0).sum().item(), (row < 0).sum().item()) <= limit * share for row in worse):
            return True
    return False


def analysed(kind, studies, interim, shift):
    """(studies, 3): one better arm's p over all analyses is ≤ 5%, so is the t-test's at the end; seeds it took."""
    draws, found = np.random.default_rng(17), []
    for _ in range(studies):
        trials, comparison = study(drawn(kind, draws, interim[-1], ("a",), shift), interim)
        metric = {arm: np.array([t.metric for t in trials if t.arm == arm]) for arm in ("baseline", "a")}
        row = comparison.arms[1]
        found.append((row.metric.p <= 0.05, ttest_1samp(metric["a"] - metric["baseline"], 0).pvalue <= 0.05, row.n))
    return np.array(found, float)


def stopped_at_the_margin(kind, studies, interim):
    """Studies whose difference is the margin: how often the interval at the end holds it; how often "no difference"."""
    draws, covers, claims = np.random.default_rng(19), 0, 0
    for _ in range(studies):
        row = study(drawn(kind, draws, interim[-1], ("a",), 0.1), interim, margin=0.1)[1].arms[1]
        covers += row.metric.low <= 0.1 <= row.metric.high
        claims += row.verdict == "no difference"
    return covers, claims


def upper_bound(count, n):
    """Of a rate, with 95% confidence (Clopper and Pearson)."""
    return 1.0 if count == n else float(beta.ppf(0.95, count + 1, n - count))


def rejections(kind, studies, pairs, shift):
    """(studies, 2) whether the sign-flip test and Student's t-test reject at 5%, on the same paired differences."""
    draws = np.random.default_rng(11)
    found = []
    for _ in range(studies):
        difference = KINDS[kind](draws, pairs)[0] - KINDS[kind](draws, pairs)[0] + shift
        found.append((sign_flip(difference).p <= 0.05, ttest_1samp(difference, 0).pvalue <= 0.05))
    return np.array(found)


def covered(kind, studies, pairs):
    """Studies whose 95% interval holds the true mean difference, 0.1."""
    draws, count = np.random.default_rng(13), 0
    for _ in range(studies):
        difference = KINDS[kind](draws, pairs)[0] - KINDS[kind](draws, pairs)[0] + 0.1
        found = sign_flip(difference)
        count += found.low <= 0.1 <= found.high
    return count


@pytest.mark.parametrize("interim", [(SMALL_PAIRS,), SMALL_INTERIM], ids=["one analysis", "two analyses"])
@pytest.mark.parametrize("kind", KINDS)
def test_equal_arms_raise_few_alarms(kind, interim):
    # More alarms than this come with a chance of 1 in 1,000 when the rate is the nominal 5%.
    assert alarms(kind, SMALL, interim) <= binom.ppf(0.999, SMALL, 0.05)


@pytest.mark.parametrize("interim", [(SMALL_PAIRS,), SMALL_INTERIM], ids=["one analysis", "two analyses"])
def test_the_alarm_can_be_raised(interim):
    assert alarms("normal", 20, interim, better=0.15) >= 18


def test_with_analyses_the_interval_covers_and_no_difference_is_not_claimed_at_the_margin():
    covers, claims = stopped_at_the_margin("normal", SMALL, SMALL_INTERIM)
    assert covers >= binom.ppf(0.001, SMALL, 0.95)
    assert claims <= binom.ppf(0.999, SMALL, 0.05)


def test_the_sign_flip_test_is_hardly_less_powerful_than_t():
    found = rejections("normal", SMALL, PAIRS, 0.06)
    ours, theirs = found.sum(0)
    assert theirs > SMALL / 2
    # Of the studies in which only one rejects, .9 of t's power lets t be the one in so many at most.
    assert ours >= POWER * theirs - 4 * np.sqrt(max(1, (found[:, 0] != found[:, 1]).sum()))


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_cover_the_truth(kind):
    assert covered(kind, SMALL, SMALL_PAIRS) >= binom.ppf(0.001, SMALL, 0.95)
    # A narrower interval is noticed.
    assert binom.ppf(0.001, SMALL, 0.95) > binom.ppf(0.999, SMALL, 0.80)


@pytest.mark.proof
@pytest.mark.timeout(1_500)
@pytest.mark.usefixtures("few_flips")
@pytest.mark.parametrize("interim", [(PAIRS,), INTERIM], ids=["one analysis", "three analyses"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_upper_bound_of_the_false_alarm_rate_is_6_percent(kind, interim, capsys):
    count = alarms(kind, FULL, interim)
    with capsys.disabled():
        print(
            f"\nfalse alarms, {kind}, analyses {interim}: {count} of {FULL}, upper bound {upper_bound(count, FULL):.4f}"
        )
    assert upper_bound(count, FULL) <= ALARMS


@pytest.mark.proof
@pytest.mark.timeout(1_500)
@pytest.mark.usefixtures("few_flips")
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            # A target missed by a hair, and known: the last analysis tests at 3.75%, where t takes 5%.
            marks=[pytest.mark.xfail(strict=True, reason="power .602 against the t-test's .673, which is .893 of it")]
            if kind == "bimodal"
            else [],
        )
        for kind in KINDS
    ],
)
def test_with_analyses_power_is_at_least_nine_tenths_of_the_t_tests_at_the_end(kind, capsys):
    # Half of what is asked of a quarter of the seeds below.
    shift = SHIFTS.get(kind, 0.06) / 2
    ours, theirs, seeds = analysed(kind, FULL, INTERIM, shift).mean(0)
    with capsys.disabled():
        print(
            f"\npower, {kind}, analyses {INTERIM}: {ours:.3f}, t {theirs:.3f}, {ours / theirs:.3f}; seeds {seeds:.1f}"
        )
    assert ours >= POWER * theirs


@pytest.mark.proof
@pytest.mark.timeout(1_500)
@pytest.mark.usefixtures("few_flips")
@pytest.mark.parametrize("kind", KINDS)
def test_with_analyses_coverage_is_at_least_94_percent_and_equivalence_keeps_its_rate(kind, capsys):
    covers, claims = stopped_at_the_margin(kind, FULL, INTERIM)
    with capsys.disabled():
        print(
            f"\n{kind}, analyses {INTERIM}: coverage {covers / FULL:.4f}; "
            f"at the margin no difference {claims / FULL:.4f}"
        )
    assert covers / FULL >= COVERAGE
    assert upper_bound(claims, FULL) <= ALARMS


@pytest.mark.proof
@pytest.mark.timeout(1_500)
@pytest.mark.parametrize(
    ("kind", "pairs"),
    [
        pytest.param(
            kind,
            pairs,
            # A target missed, and known: 8 pairs have 2⁸ patterns, so the exact test stops at 4.7% where t takes 5%.
            marks=[pytest.mark.xfail(strict=True, reason="power .342 against the t-test's .386, which is .885 of it")]
            if (kind, pairs) == ("bimodal", 8)
            else [],
        )
        for kind in KINDS
        for pairs in (8, 12, 16)
    ],
)
def test_power_is_at_least_nine_tenths_of_the_t_tests(kind, pairs, capsys):
    ours, theirs = rejections(kind, FULL, pairs, SHIFTS.get(kind, 0.06)).mean(0)
    with capsys.disabled():
        print(f"\npower, {kind}, n = {pairs}: sign flips {ours:.3f}, t {theirs:.3f}, ratio {ours / theirs:.3f}")
    assert ours >= POWER * theirs


@pytest.mark.proof
@pytest.mark.timeout(1_500)
@pytest.mark.parametrize("pairs", [8, 12, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_coverage_is_at_least_94_percent(kind, pairs, capsys):
    count = covered(kind, FULL, pairs)
    with capsys.disabled():
        print(f"\ncoverage, {kind}, n = {pairs}: {count / FULL:.4f}")
    assert count / FULL >= COVERAGE
