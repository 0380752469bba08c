"""What a comparison could have seen, against published tables, simulation, and its own inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.comparison.statistics.power import MOST_SEEDS, POWER, detectable, power, seeds_needed
from rectifier.records import Failure, FailureKind


# Cohen 1988, table 2.4.1 for one sample (there n for d at a two-sided .05 and power .80): 34, 15; and by G*Power 3.1.
@pytest.mark.parametrize(("standardised", "alpha", "pairs"), [(0.5, 0.05, 34), (0.8, 0.05, 15), (0.2, 0.05, 199)])
def test_seeds_are_those_of_the_tables(standardised, alpha, pairs):
    assert power(standardised, pairs, alpha) >= POWER > power(standardised, pairs - 1, alpha)
    rows = np.array([-1.0, 1.0] * 50) / np.std([-1.0, 1.0] * 50, ddof=1) + standardised
    assert seeds_needed(rows.tolist(), alpha) == pairs


@pytest.mark.parametrize(("standardised", "pairs", "alpha"), [(0.9, 12, 0.05), (1.2, 9, 0.005), (0.0, 7, 0.05)])
def test_power_is_what_simulation_counts(standardised, pairs, alpha):
    draws = np.random.default_rng(0).normal(standardised, 1, (20_000, pairs))
    statistic = draws.mean(1) / draws.std(1, ddof=1) * pairs**0.5
    from scipy.stats import t

    rejected = np.mean(np.abs(statistic) > t.ppf(1 - alpha / 2, pairs - 1))
    assert power(standardised, pairs, alpha) == pytest.approx(rejected, abs=4 * 0.5 / 20_000**0.5)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=30), st.sampled_from([0.05, 0.05 / 12]))
def test_what_is_detectable_has_that_power_and_both_answers_agree(differences, alpha):
    found = detectable(differences, alpha)
    spread = np.std(differences, ddof=1)
    if found is None:
        assert spread == pytest.approx(0, abs=1e-12)
        return
    if spread < 1e-9:
        return
    assert power(found / spread, len(differences), alpha) == pytest.approx(POWER, abs=1e-6)
    needed, measured = seeds_needed(differences, alpha), abs(np.mean(differences))
    if measured > found * (1 + 1e-9):
        assert needed <= len(differences)
    elif measured < found * (1 - 1e-9):
        assert needed is None or needed > len(differences)


def test_nothing_is_said_of_two_pairs_or_of_pairs_that_differ_alike():
    assert detectable([0.3, 0.4], 0.05) is seeds_needed([0.3, 0.4], 0.05) is None
    assert detectable([0.0] * 7, 0.05) is seeds_needed([0.0] * 7, 0.05) is None
    assert seeds_needed([1.0, -1.0] * 5, 0.05) is None, f"more than {MOST_SEEDS}"


def test_nothing_is_promised_where_no_exact_test_could_reject():
    """With a value in three of twelve pairs, or with nine pairs that do not differ, sign flips can show nothing."""
    from rectifier.comparison.statistics.trials import compare_trials
    from rectifier.records import Trial

    def compared(metric_of):
        trials = [
            Trial(
                arm=arm,
                seed=seed,
                metric=metric_of(arm, seed),
                failed=None if metric_of(arm, seed) else Failure(FailureKind.OTHER, "crashed"),
            )
            for arm in ("baseline", "elu:1.0")
            for seed in range(12)
        ]
        found = compare_trials(
            trials, baseline="baseline", placebo=None, arms=["elu:1.0"], metric="accuracy", higher_is_better=True,
            title="t",
        )  # fmt: skip
        return found.arms[1], found.smallest_n

    few, smallest = compared(lambda arm, seed: None if seed >= 3 else 0.5 + 0.01 * seed * (arm == "elu:1.0"))
    assert (few.detectable, few.seeds_needed, smallest) == (None, None, 7)
    assert "80% power" not in few.sentence
    alike, _ = compared(lambda arm, seed: 0.5 + 0.01 * (seed < 3) * (seed + 1) * (arm == "elu:1.0"))
    assert (alike.detectable, alike.seeds_needed) == (None, None)
    # Ten pairs with a value of twelve seeds: what is told is seeds.
    some, _ = compared(lambda arm, seed: None if seed >= 10 else 0.5 + 0.01 * (-1.4) ** seed * (arm == "elu:1.0"))
    assert f"80% power to detect a difference in accuracy of about {some.detectable:.3g}" in some.sentence
    assert some.seeds_needed % 1 == 0
    assert some.seeds_needed >= 12 * 7 / 10


@pytest.mark.parametrize(
    ("seeds", "told"),
    [(7, "7"), (57, "57"), (99, "99"), (101, "110"), (110, "110"), (991, "1,000"), (1_287, "1,300"), (9_999, "10,000")],
)
def test_needed_seeds_are_rounded_up_to_two_digits(seeds, told):
    from rectifier.comparison.statistics.wording import Wording
    from rectifier.records import ArmVerdict

    wording = Wording(
        baseline="baseline", metric="accuracy", higher_is_better=True, margin=None, alpha=0.05, level=0.05,
        final_level=0.05, smallest_n=3, tests=2,
    )  # fmt: skip
    row = ArmVerdict(
        arm="elu", n=5, failures=0, failure_low=0.0, failure_high=0.5, median=None, failure=None, metric=None,
        survivors=None, verdict="undecided", sentence="", detectable=0.1, seeds_needed=seeds,
    )  # fmt: skip
    sentence = wording.sentence(
        row, (), deciding=(None, None), is_placebo=False, opposed=False, withheld=False, copies=False
    )
    assert f"needs about {told} seeds." in sentence


def test_what_could_be_seen_and_what_is_needed_are_told_for_the_level_of_the_analysis():
    from rectifier.comparison.statistics.interim import shares
    from rectifier.comparison.statistics.trials import compare_trials
    from rectifier.records import Trial

    draws, interim = np.random.default_rng(5), (12, 18)
    differences = draws.normal(0.02, 0.1, 18).tolist()
    trials = [Trial(arm="baseline", seed=seed, metric=0.0) for seed in range(18)]
    trials += [Trial(arm="elu", seed=seed, metric=value) for seed, value in enumerate(differences)]
    question = {"placebo": None, "arms": ["elu"], "metric": "accuracy", "higher_is_better": True, "title": "t"}
    once = compare_trials(trials, baseline="baseline", **question).arms[1]
    analysed = compare_trials(trials, baseline="baseline", interim=interim, **question).arms[1]
    early = compare_trials([t for t in trials if t.seed < 15], baseline="baseline", interim=interim, **question).arms[1]
    first, last = (0.05 * share / 2 for share in shares(interim))
    assert once.detectable == detectable(differences, 0.05 / 2)
    assert analysed.detectable == detectable(differences, last) > once.detectable
    assert analysed.seeds_needed == seeds_needed(differences, last) > once.seeds_needed
    assert early.detectable == detectable(differences[:15], last)
    assert first < last
