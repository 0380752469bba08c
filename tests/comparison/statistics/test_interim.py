"""Looks: what each may spend, when one is worth taking, and that arms stop for good."""

import math
from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rectifier.comparison.statistics.exact import mcnemar, sign_flip
from rectifier.comparison.statistics.interim import (
    ENDPOINTS,
    checked_interim,
    default_interim,
    interim_from,
    shares,
    smallest_analysis,
)
from rectifier.comparison.statistics.trials import compare_trials
from rectifier.errors import NothingToCompare
from rectifier.records import Failure, FailureKind, Trial

rising = st.lists(st.integers(1, 60), min_size=1, max_size=5, unique=True).map(sorted)


@given(rising)
def test_shares_add_up_to_the_whole_and_are_those_of_the_spending_function(interim):
    parts = shares(interim)
    assert math.fsum(parts) == pytest.approx(1)
    assert all(part > 0 for part in parts)
    for number, n in enumerate(interim):
        assert math.fsum(parts[: number + 1]) == pytest.approx((n / interim[-1]) ** 2)


@given(st.integers(2, 400), st.integers(1, 12))
def test_at_every_default_analysis_the_corrected_tests_can_reject(seeds, arms):
    interim = default_interim(seeds, arms)
    assert interim[-1] == seeds
    for n, part in list(zip(interim, shares(interim), strict=True))[:-1]:
        assert mcnemar(0, n) <= 0.05 * part / (ENDPOINTS * arms)
        assert n <= seeds / 2
    assert checked_interim(interim, seeds, arms) == interim


@given(st.integers(2, 60), st.integers(1, 12), st.integers(0, 30))
def test_the_smallest_analysis_is_the_first_that_could_reject(seeds, arms, before):
    assume(before < seeds)
    found = smallest_analysis(seeds, ENDPOINTS * arms, before=before)
    spent = (before / seeds) ** 2

    def can(n):
        return mcnemar(0, n) <= 0.05 * ((n / seeds) ** 2 - spent) / (ENDPOINTS * arms) * (1 + 1e-12)

    assert not any(can(n) for n in range(before + 1, min(found, seeds)))
    assert found >= seeds or can(found)


def test_the_default_design():
    assert default_interim(48, 3) == (12, 24, 48)
    # Six arms: 2/2¹² is more than a twelfth of what a quarter of the seeds may spend.
    assert default_interim(48, 6) == (13, 24, 48)
    assert default_interim(12, 6) == (12,)
    # No two analyses of nearly the same seeds.
    assert default_interim(22, 1) == (11, 22)
    assert default_interim(3, 6) == (3,)


@pytest.mark.parametrize(
    ("text", "seeds", "message"),
    [
        ("twelve", None, "no numbers of seeds"),
        ("24,12", None, "do not come one after another"),
        ("0,12", None, "do not come one after another"),
        ("12,24", 20, "after the end"),
        ("12,24,48", 48, "an analysis at 12 of 48 seeds could find nothing.*12 tests.*is at 13"),
        ("13,14,48", None, "an analysis at 14 of 48 seeds could find nothing.*after 13 seeds that could is at 15"),
    ],
)
def test_analyses_that_make_no_sense_are_refused_with_the_first_that_does(text, seeds, message):
    with pytest.raises(NothingToCompare, match=message):
        interim_from(text, seeds, arms=6)


def test_interim_as_typed():
    assert interim_from("13,24", 48, 6) == (13, 24, 48)
    assert interim_from("13,24,48", None, 6) == (13, 24, 48)
    assert interim_from("5", None, 6) == (5,)


INTERIM = (12, 24, 48)
NOISE = [math.sin(17.0 * seed) * 0.02 for seed in range(48)]


def trials(name, gain, seeds=48, failed=()):
    return [
        Trial(
            arm=name,
            seed=seed,
            metric=gain(seed) + NOISE[seed],
            failed=Failure(FailureKind.OTHER, "at chance") if seed in failed else None,
        )
        for seed in range(seeds)
    ]


def baseline(seeds=48, failed=()):
    return [
        Trial(
            arm="baseline",
            seed=seed,
            metric=0.5,
            failed=Failure(FailureKind.OTHER, "at chance") if seed in failed else None,
        )
        for seed in range(seeds)
    ]


def judged(some, arms=("a", "b", "c"), **changes):
    options = {"margin": None, "interim": INTERIM, "placebo": None} | changes
    return compare_trials(
        some, baseline="baseline", arms=arms, metric="accuracy", higher_is_better=True, title="t", **options
    )


def row(comparison, name):
    return next(found for found in comparison.arms if found.arm == name)


def test_an_arm_stops_where_it_is_decided_and_what_comes_later_is_left_out():
    some = (
        baseline()
        + trials("a", lambda seed: 0.9 if seed < 12 else -5.0)
        + trials("b", lambda seed: 0.5 + 0.016 * (seed > 2))
        + trials("c", lambda seed: 0.5)
    )
    found = judged(some)
    a, b, c = (row(found, name) for name in "abc")
    assert (a.verdict, a.stopped_at, a.n) == ("helped", 12, 12)
    assert "This arm stopped early: it had its verdict at 12 of 48 seeds." in a.sentence
    assert a.metric.p == pytest.approx(2 / 2**12 / 0.0625)
    assert a.metric.p_adjusted == pytest.approx(6 * a.metric.p)
    assert (b.verdict, b.stopped_at, b.n) == ("helped", 24, 24)
    assert (c.verdict, c.stopped_at, c.n) == ("undecided", None, 48)
    assert "stopped early" not in c.sentence
    assert found.interim == INTERIM
    assert found.smallest_n == 12
    assert {trial.seed for trial in found.trials if trial.arm == "a"} == set(range(12))
    # Nothing of it depends on what came later.
    assert judged([trial for trial in some if trial.arm != "a" or trial.seed < 12]) == found


def test_failures_stop_an_arm_as_well():
    some = baseline(failed=set(range(40))) + trials("a", lambda seed: 0.5)
    a = row(judged(some, arms=["a"]), "a")
    assert (a.verdict, a.stopped_at) == ("helped", 12)
    assert "judged by its failures" in a.sentence


def test_no_difference_waits_for_the_last_analysis_and_its_interval():
    some = baseline() + trials("a", lambda seed: 0.5)
    at_last = sign_flip(NOISE, 1 - 0.05 * shares(INTERIM)[-1])
    width = max(abs(at_last.low), abs(at_last.high))
    for margin in (1.01 * width, 100 * width):
        found = row(judged(some, arms=["a"], margin=margin), "a")
        assert (found.verdict, found.stopped_at, found.n) == ("no difference", None, 48)
    assert (found.metric.low, found.metric.high) == pytest.approx((at_last.low, at_last.high))
    assert row(judged(some, arms=["a"], margin=0.99 * width), "a").verdict == "undecided"


@pytest.mark.parametrize("failed", [set(), {0}])
def test_failures_that_are_balanced_early_decide_nothing(failed):
    """With 12 pairs, one failure more cannot be told from a rate that is many times larger."""
    early = baseline(12) + trials("a", lambda seed: 0.5, seeds=12, failed=failed)
    assert row(judged(early, arms=["a"], margin=0.4), "a").verdict == "undecided"
    later = baseline() + trials("a", lambda seed: 0.5, failed=failed | {12, 24, 36})
    assert row(judged(later, arms=["a"], margin=0.4), "a").verdict == "undecided"


def test_between_analyses_nothing_is_decided_whatever_the_numbers():
    some = baseline() + trials("a", lambda seed: 0.9, seeds=11)
    found = judged(some, arms=["a"])
    assert (row(found, "a").verdict, row(found, "a").n) == ("undecided", 11)
    assert "judged at 12 seeds, and not all of these trainings have ended" in row(found, "a").sentence
    # Another arm that has not come so far, or the placebo, holds an analysis up: the corrected tests belong together.
    both = baseline() + trials("a", lambda seed: 0.9) + trials("b", lambda seed: 0.5, seeds=11)
    assert row(judged(both, arms=["a", "b"]), "a").verdict == "undecided"
    placebo = baseline() + trials("a", lambda seed: 0.9) + trials("placebo", lambda seed: 0.5, seeds=11)
    assert row(judged(placebo, arms=["a"], placebo="placebo"), "a").verdict == "undecided"


def test_what_an_earlier_analysis_found_counts_only_where_it_pointed_the_same_way():
    names, interim = "abcdef", (13, 48)
    first = [0.1 + seed / 1000 if seed else -0.01 for seed in range(13)]

    def p(later):
        differences = [*first, *[0.3, -0.3] * 17, later]
        some = baseline() + [replace(trial, arm=name) for name in names[1:] for trial in baseline()]
        some += [Trial(arm="a", seed=seed, metric=0.5 + value) for seed, value in enumerate(differences)]
        found = row(judged(some, arms=names, interim=interim), "a")
        assert (found.n, found.verdict) == (48, "undecided")
        return found.metric.p, sign_flip(differences).p / shares(interim)[1]

    at_first = sign_flip(first).p / shares(interim)[0]
    assert at_first < 0.01
    same, alone = p(0.0)
    assert same == pytest.approx(min(at_first, alone))
    turned, alone = p(-2.0)
    assert turned == pytest.approx(alone)
    assert alone > at_first


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05, 0.2]))
def test_one_analysis_at_the_end_says_what_no_analyses_say(number, gain):
    random = Random(number)
    some = [
        Trial(arm=name, seed=seed, metric=random.gauss(gain * (name == "a"), 0.1))
        for name in ("baseline", "a", "b")
        for seed in range(10)
    ]
    some = [
        replace(trial, failed=Failure(FailureKind.OTHER, "x")) if random.random() < 0.2 else trial for trial in some
    ]
    with_one, without = judged(some, arms=["a", "b"], interim=(10,)), judged(some, arms=["a", "b"], interim=None)
    assert replace(with_one, interim=()) == without


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_a_decided_arm_stays_decided(number):
    """Whatever comes after it, also where the other arms' verdicts make the correction milder."""
    random = Random(number)
    gains = {name: random.choice([0.0, 0.04, 0.08]) for name in "abc"}
    some = [
        Trial(arm=name, seed=seed, metric=random.gauss(gains.get(name, 0.0), 0.05))
        for seed in range(13)
        for name in ("baseline", *"abc")
    ]
    interim, known = (9, 11, 13), {}
    for n in (9, 10, 11, 12, 13):
        found = judged([trial for trial in some if trial.seed < n], interim=interim)
        for name in "abc":
            arm = row(found, name)
            if name in known:
                assert arm == known[name]
            elif arm.stopped_at is not None:
                assert arm.stopped_at == n
                known[name] = arm
