"""The exact tests against enumeration, scipy, published numbers, and their own definitions."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import gammaln
from scipy.stats import binomtest

from rectifier.comparison.statistics import exact
from rectifier.comparison.statistics.exact import (
    clopper_pearson,
    holm,
    mcnemar,
    paired_rate_interval,
    sign_flip,
    smallest_pairs,
)

DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]


def brute_force_p(differences):
    values = np.asarray(differences, float)
    signs = np.array(list(itertools.product([1, -1], repeat=len(values))))
    sums = np.abs(signs @ values)
    return float((sums >= abs(values.sum()) - 1e-9 * np.abs(values).sum()).mean())


def assert_same_p(found, differences):
    assert found == pytest.approx(brute_force_p(differences), abs=1e-12)


def test_fishers_own_example():
    # Fisher 1935: 863 of the 16,384 arrangements with a positive total reach it, 5.267%.
    test = sign_flip(DARWIN)
    assert round(test.p * 2**15) == 2 * 863
    assert test.low < 0 < test.high


@pytest.mark.parametrize("n", range(1, 12))
@pytest.mark.parametrize("kind", ["normal", "integers", "accuracies"])
def test_sign_flip_is_the_enumeration_of_all_signs(n, kind):
    draws = np.random.default_rng(n)
    values = {
        "normal": draws.normal(0.4, 1, n),
        "integers": draws.integers(-3, 4, n).astype(float),
        "accuracies": draws.integers(-20, 40, n) / 397 - draws.integers(0, 9, n) / 397,
    }[kind]
    assert_same_p(sign_flip(values).p, values)


def test_the_brute_force_would_notice_a_wrong_p():
    with pytest.raises(AssertionError):
        assert_same_p(sign_flip(DARWIN).p + 2 / 2**15, DARWIN)


@pytest.mark.parametrize("n", [1, 3, 5, 6, 11, 16, 20])
def test_p_cannot_fall_below_two_of_all_patterns(n):
    # Six against six, wholly separated: as small as it gets, and no smaller.
    assert sign_flip(np.arange(1.0, n + 1)).p == 2 / 2**n


def test_no_difference_at_all_has_p_1():
    assert sign_flip([0.0] * 7).p == 1
    assert sign_flip([]).p == 1
    assert sign_flip([1.0, -1.0, 2.0, -2.0]).p == 1


@pytest.mark.parametrize(("n", "has_interval"), [(5, False), (6, True)])
def test_an_interval_needs_six_pairs(n, has_interval):
    test = sign_flip(np.arange(1.0, n + 1))
    assert (test.low is not None) == has_interval == (test.high is not None)


@pytest.mark.parametrize("n", [6, 7, 11, 14])
def test_interval_is_the_set_of_means_that_the_test_does_not_reject(n):
    values = np.random.default_rng(n).normal(0.3, 1, n)
    test = sign_flip(values)
    for end, outward in ((test.low, -1), (test.high, 1)):
        assert sign_flip(values - end).p > 0.05
        assert sign_flip(values - (end + outward * 1e-6)).p <= 0.05


@given(st.lists(st.floats(-100, 100), min_size=6, max_size=10), st.randoms(use_true_random=False))
def test_sign_flip_depends_on_neither_order_nor_sign(values, random):
    test = sign_flip(values)
    shuffled = random.sample(values, len(values))
    assert sign_flip(shuffled) == test
    mirrored = sign_flip([-value for value in values])
    assert mirrored.p == pytest.approx(test.p)
    assert (mirrored.low, mirrored.high) == pytest.approx((-test.high, -test.low), abs=1e-9)


def test_a_value_that_is_none_is_refused():
    with pytest.raises(ValueError, match="belongs to the failures"):
        sign_flip([1.0, math.nan])


def test_sampled_patterns_agree_with_all_of_them(monkeypatch):
    values = np.random.default_rng(5).normal(0.45, 1, 17)
    every = sign_flip(values)
    monkeypatch.setattr(exact, "LARGEST_ENUMERATION", 10)
    sampled = sign_flip(values)
    assert every.enumerated
    assert not sampled.enumerated
    patterns = exact.MONTE_CARLO_FLIPS + 1
    assert sampled.p == pytest.approx(every.p, abs=5 * math.sqrt(every.p / patterns))
    assert (sampled.low, sampled.high) == pytest.approx((every.low, every.high), abs=0.02)


def test_sampled_patterns_are_reproducible_and_never_claim_p_0():
    values = np.linspace(1, 2, 41)
    assert sign_flip(values) == sign_flip(values[::-1])
    assert sign_flip(values).p == 2 / (exact.MONTE_CARLO_FLIPS + 1)


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda rng, n: rng.normal(0.5, 1, n), 0.5),
        # Two symmetric heaps, as where half of the pairs lose and half win.
        (lambda rng, n: rng.choice([-1.0, 1.0], n) + rng.normal(0, 0.1, n), 0.0),
        (lambda rng, n: rng.standard_t(2, n), 0.0),
    ],
)
@pytest.mark.parametrize("n", [6, 12])
def test_sign_flip_interval_covers_in_symmetric_cases(draw, mean, n):
    rng = np.random.default_rng(20 + n)
    studies = 400
    covered = 0
    for _ in range(studies):
        test = sign_flip(draw(rng, n))
        covered += test.low <= mean <= test.high
    assert covered / studies >= 0.95 - 4 * math.sqrt(0.05 * 0.95 / studies)


@pytest.mark.parametrize("only_first", range(10))
@pytest.mark.parametrize("only_second", range(10))
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(only_first, only_second):
    both = only_first + only_second
    reference = binomtest(only_first, both).pvalue if both else 1.0
    assert mcnemar(only_first, only_second) == pytest.approx(reference, abs=1e-12)


def test_clopper_pearson_published_and_scipy():
    # R's binom.test(6, 16) and binom.test(0, 16).
    assert clopper_pearson(6, 16) == pytest.approx((0.1519835, 0.6456543), abs=1e-6)
    assert clopper_pearson(0, 16) == pytest.approx((0, 0.2059073), abs=1e-6)
    for count, n in ((1, 7), (5, 5), (3, 11), (0, 1)):
        reference = binomtest(count, n).proportion_ci(method="exact")
        assert clopper_pearson(count, n) == pytest.approx((reference.low, reference.high), abs=1e-10)
    with pytest.raises(ValueError, match="not a rate"):
        clopper_pearson(4, 3)


def score_by_definition(first, second, n, difference):
    """Tango's statistic with the nuisance rate found by brute maximisation of the likelihood."""

    def negative_log_likelihood(q):
        p, rest = q + difference, 1 - 2 * q - difference
        terms = ((first, p), (second, q), (n - first - second, rest))
        return -sum(count * math.log(rate) for count, rate in terms if count)

    low, high = max(0.0, -difference) + 1e-12, (1 - difference) / 2 - 1e-12
    q = minimize_scalar(negative_log_likelihood, bounds=(low, high), options={"xatol": 1e-12}).x
    return (first - second - n * difference) / math.sqrt(n * (2 * q + difference * (1 - difference)))


@pytest.mark.parametrize(("first", "second", "n"), [(1, 6, 16), (3, 2, 11), (5, 1, 7), (2, 9, 40)])
def test_tango_interval_ends_where_the_score_reaches_its_limit(first, second, n):
    low, high = paired_rate_interval(first, second, n)
    assert score_by_definition(first, second, n, low) == pytest.approx(1.959964, abs=1e-4)
    assert score_by_definition(first, second, n, high) == pytest.approx(-1.959964, abs=1e-4)
    assert paired_rate_interval(second, first, n) == pytest.approx((-high, -low))


@pytest.mark.parametrize("n", [1, 2, 5, 16, 30])
def test_tango_interval_agrees_with_mcnemar_and_stays_in_range(n):
    for first in range(n + 1):
        for second in range(n + 1 - first):
            low, high = paired_rate_interval(first, second, n)
            assert -1 <= low <= (first - second) / n <= high <= 1
            assert low < high
            assert mcnemar(first, second) > 0.05 or not low <= 0 <= high


@pytest.mark.parametrize(("n", "mean", "lowest"), [(8, 0.968, 0.927), (12, 0.963, 0.914), (16, 0.959, 0.923)])
def test_tango_coverage_is_as_its_docstring_says(n, mean, lowest):
    tables = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    low, high = np.array([paired_rate_interval(b, c, n) for b, c in tables]).T
    b, c = np.array(tables).T
    log_ways = gammaln(n + 1) - gammaln(b + 1) - gammaln(c + 1) - gammaln(n - b - c + 1)
    rates = np.arange(0, 1.0001, 0.025)
    coverage = []
    for i, p in enumerate(rates):
        for q in rates[: len(rates) - i]:
            probability = np.exp(log_ways) * p**b * q**c * max(1 - p - q, 0) ** (n - b - c)
            inside = (low <= p - q + 1e-12) & (p - q - 1e-12 <= high)
            coverage.append(probability[inside].sum())
    assert len(coverage) == 861
    assert np.mean(coverage) == pytest.approx(mean, abs=6e-4)
    assert np.min(coverage) == pytest.approx(lowest, abs=6e-4)


def test_holm_by_hand():
    # Sorted .005 .01 .03 .04 → ×4 ×3 ×2 ×1, then the running maximum.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([]) == ()
    assert holm([0.6, 0.7]) == (1.0, 1.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=15))
def test_holm_lies_between_none_and_bonferroni(p_values):
    adjusted = holm(p_values)
    for p, corrected in zip(p_values, adjusted, strict=True):
        assert p <= corrected <= 1
    smallest = p_values.index(min(p_values))
    assert adjusted[smallest] == min(1.0, len(p_values) * p_values[smallest])


@pytest.mark.parametrize(("tests", "n"), [(1, 6), (5, 8), (7, 9), (10, 9), (14, 10)])
def test_smallest_pairs_is_the_first_n_that_can_reject(tests, n):
    assert smallest_pairs(tests) == n
    best = [sign_flip(np.ones(n)).p, *[1.0] * (tests - 1)]
    almost = [sign_flip(np.ones(n - 1)).p, *[1.0] * (tests - 1)]
    assert min(holm(best)) <= 0.05 < min(holm(almost))
