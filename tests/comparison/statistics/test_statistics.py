"""Verdicts: planted effects are found, equal arms are not praised, and every sentence follows its numbers."""

import math
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rectifier.comparison.statistics.trials import compare_trials
from rectifier.records import Failure, FailureKind, Trial

ARMS = ("leaky_relu:0.1", "elu:1.0")


def study(trials, **changes):
    question = {
        "baseline": "baseline",
        "placebo": None,
        "arms": ARMS,
        "metric": "accuracy",
        "higher_is_better": True,
        "title": "test",
    }
    return compare_trials(trials, **(question | changes))


def arm(name, values, failed=(), fingerprints=True):
    return [
        Trial(
            arm=name,
            seed=seed,
            metric=value,
            failed=Failure(FailureKind.OTHER, "at chance") if seed in failed else None,
            fingerprint=f"{name}-{seed}" if fingerprints else None,
        )
        for seed, value in enumerate(values)
    ]


def row(comparison, name):
    return next(found for found in comparison.arms if found.arm == name)


BASE = [0.50, 0.53, 0.49, 0.55, 0.51, 0.52, 0.54, 0.50, 0.47, 0.56, 0.51]
NOISE = [0.01, -0.02, 0.00, 0.03, -0.01, 0.02, -0.03, 0.01, -0.01, 0.02, -0.02]


def shifted(by):
    return [value + noise + by for value, noise in zip(BASE, NOISE, strict=True)]


def test_a_planted_gain_helps_and_a_planted_loss_hurts():
    trials = arm("baseline", BASE) + arm(ARMS[0], shifted(0.2)) + arm(ARMS[1], shifted(-0.2))
    comparison = study(trials)
    assert [found.verdict for found in comparison.arms] == ["identical", "helped", "hurt"]
    assert comparison.headline == "Against baseline: leaky_relu:0.1 helped; elu:1.0 hurt."
    assert "accuracy +0.200 [0.187, 0.213]" in row(comparison, ARMS[0]).sentence
    assert "failures 0 of 11 (exact 95% interval 0% to 28%) instead of 0 of 11" in row(comparison, ARMS[0]).sentence
    # Where less is better, the same numbers read the other way.
    mirrored = study(trials, higher_is_better=False, metric="loss")
    assert [found.verdict for found in mirrored.arms[1:]] == ["hurt", "helped"]
    assert "lower is better" in mirrored.arms[1].sentence


def test_the_numbers_by_hand():
    trials = arm("baseline", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], failed={0, 1, 2})
    trials += arm("elu:1.0", [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 21.0], failed={2, 6})
    found = row(study(trials, arms=["elu:1.0"]), "elu:1.0")
    assert (found.n, found.failures, found.median) == (7, 2, 8.0)
    assert found.metric.difference == 5.0
    assert found.metric.p == 2 / 2**7
    assert found.metric.p_adjusted == pytest.approx(2 * 2 / 2**7)
    assert found.failure.difference == pytest.approx(-1 / 7)
    assert found.failure.p == found.failure.p_adjusted == 1.0
    # Survivors: seeds 3, 4, 5 only.
    assert (found.survivors.n, found.survivors.difference) == (3, 5.0)


def test_failures_alone_can_decide():
    trials = arm("baseline", [0.5] * 16, failed=set(range(10))) + arm("elu:1.0", [0.5] * 16)
    found = row(study(trials, arms=["elu:1.0"]), "elu:1.0")
    assert found.verdict == "helped"
    assert "judged by its failures (p = 0.0039)" in found.sentence
    assert "failures 0 of 16 (exact 95% interval 0% to 21%) instead of 10 of 16 (35% to 85%)" in found.sentence


def test_endpoints_that_disagree_leave_the_arm_undecided_and_say_so():
    trials = arm("baseline", shifted(0.3)[:10], failed=set(range(10)))
    trials += arm("elu:1.0", BASE[:10])
    found = row(study(trials, arms=["elu:1.0"]), "elu:1.0")
    assert found.metric.p_adjusted <= 0.05
    assert found.failure.p_adjusted <= 0.05
    assert found.verdict == "undecided"
    assert "opposite directions" in found.sentence


def test_survivors_never_decide():
    # The arm is better wherever it survives, but it fails on most seeds.
    values = [0.05 if seed < 6 else 0.9 for seed in range(16)]
    trials = arm("baseline", [0.5 + seed / 1000 for seed in range(16)])
    found = row(study(trials + arm("elu:1.0", values, failed=set(range(6))), arms=["elu:1.0"]), "elu:1.0")
    assert found.survivors.p < 0.01
    assert found.survivors.difference > 0.3
    assert found.verdict == "undecided"


def test_a_mean_over_the_runs_that_ended_cannot_praise_an_arm_that_lost_more_of_them():
    better = [value + 0.2 + seed / 1000 for seed, value in enumerate(BASE)]
    crashed = [None if seed in (0, 3) else value for seed, value in enumerate(better)]
    trials = arm("baseline", BASE) + arm("elu:1.0", crashed, failed={0, 3})
    found = row(study(trials, arms=["elu:1.0"]), "elu:1.0")
    assert found.metric.p_adjusted <= 0.05
    assert found.verdict == "undecided"
    assert "on the 9 of 11 pairs with a value" in found.sentence
    # The same crashes in the baseline instead do not stand in the way.
    lost = [None if seed in (0, 3) else value for seed, value in enumerate(BASE)]
    other = study(arm("baseline", lost, failed={0, 3}) + arm("elu:1.0", better), arms=["elu:1.0"])
    assert row(other, "elu:1.0").verdict == "helped"


def test_only_the_endpoints_that_decided_are_named():
    def sentence(some, other, **changes):
        found = row(study(some + other, arms=["elu:1.0"], **changes), "elu:1.0")
        assert found.metric.p_adjusted <= 0.05
        assert found.verdict == "helped"
        return found.sentence

    # The arm fails less. Where both gave a value it is worse, but the arm saved the runs that would tell.
    crashed = set(range(12))
    some = arm("baseline", [None if seed in crashed else 0.5 for seed in range(24)], crashed)
    assert "its failures (" in sentence(some, worse := arm("elu:1.0", [0.4 - seed / 1000 for seed in range(24)]))
    assert "its accuracy (" not in sentence(some, worse)
    # Likewise worse by less than matters, and better by less than matters.
    some = arm("baseline", [0.5] * 24, crashed)
    for sign in (-1, 1):
        small = arm("elu:1.0", [0.5 + sign * (0.01 + seed / 10_000) for seed in range(24)])
        assert "its accuracy (" not in sentence(some, small, margin=0.05)
    both = sentence(some, arm("elu:1.0", [0.6 + seed / 1000 for seed in range(24)]))
    assert "its failures (" in both
    assert "its accuracy (" in both


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_is_a_failure_and_no_value(value):
    trials = arm("baseline", BASE) + arm("elu:1.0", [value, *shifted(0)[1:]])
    found = row(study(trials, arms=["elu:1.0"]), "elu:1.0")
    assert (found.failures, found.metric.n) == (1, 10)


def test_no_difference_needs_a_margin_and_an_interval_inside_it():
    trials = arm("baseline", BASE) + arm("elu:1.0", shifted(0.001))
    verdicts = [row(study(trials, arms=["elu:1.0"], margin=margin), "elu:1.0").verdict for margin in (None, 0.005, 0.1)]
    assert verdicts == ["undecided", "undecided", "no difference"]
    # Real, but too small to matter.
    small = arm("baseline", BASE) + arm("elu:1.0", shifted(0.05))
    assert row(study(small, arms=["elu:1.0"], margin=0.1), "elu:1.0").verdict == "no difference"
    assert row(study(small, arms=["elu:1.0"]), "elu:1.0").verdict == "helped"


def test_no_difference_is_not_claimed_while_failures_differ():
    trials = arm("baseline", BASE, failed={0, 1, 2}) + arm("elu:1.0", shifted(0.001))
    assert row(study(trials, arms=["elu:1.0"], margin=0.1), "elu:1.0").verdict == "undecided"


def test_equal_to_the_bit_is_identical_and_never_significant():
    twin = [
        Trial(arm="elu:1.0", seed=t.seed, metric=t.metric, fingerprint=t.fingerprint) for t in arm("baseline", BASE)
    ]
    comparison = study(arm("baseline", BASE) + twin, arms=["elu:1.0"], margin=1.0)
    assert row(comparison, "elu:1.0").verdict == "identical"
    assert comparison.notes == ()
    one_bit = [*twin[:-1], Trial(arm="elu:1.0", seed=10, metric=BASE[10] + 1e-9, fingerprint="other")]
    assert row(study(arm("baseline", BASE) + one_bit, arms=["elu:1.0"]), "elu:1.0").verdict == "undecided"


def test_seeds_that_change_nothing_are_one_observation():
    copies = [Trial(arm="baseline", seed=seed, metric=0.5, fingerprint="a") for seed in range(12)]
    copies += [Trial(arm="elu:1.0", seed=seed, metric=0.9, fingerprint="b") for seed in range(12)]
    comparison = study(copies, arms=["elu:1.0"])
    assert row(comparison, "elu:1.0").verdict == "undecided"
    assert "{seed}" in comparison.notes[0]
    # A baseline that is constant for a reason (every run dead) does not silence an arm that does vary.
    varied = copies[:12] + arm("elu:1.0", [0.9 + seed / 1000 for seed in range(12)])
    comparison = study(varied, arms=["elu:1.0"])
    assert row(comparison, "elu:1.0").verdict == "helped"
    assert comparison.notes == ()


@pytest.mark.parametrize(("n", "verdict"), [(7, "undecided"), (8, "undecided"), (9, "helped")])
def test_no_verdict_before_the_corrected_test_could_reject(n, verdict):
    names = [f"leaky_relu:{slope}" for slope in (0.1, 0.2, 0.3, 0.4, 0.5)]
    trials = arm("baseline", BASE[:n])
    for name in names:
        trials += arm(name, BASE[:n])
    trials = [t for t in trials if t.arm != names[0]] + arm(names[0], shifted(5.0)[:n])
    comparison = study(trials, arms=names)
    assert comparison.smallest_n == 9
    assert row(comparison, names[0]).verdict == verdict
    if n < 9:
        assert "from 9 seeds on" in row(comparison, names[0]).sentence


def test_the_placebo_is_outside_of_the_family_and_no_test_speaks_for_it():
    trials = arm("baseline", BASE) + arm("elu:1.0", shifted(0.2)) + arm("placebo", shifted(0.2))
    comparison = study(trials, arms=["elu:1.0"], placebo="placebo")
    assert row(comparison, "elu:1.0").metric.p_adjusted == 2 * row(comparison, "elu:1.0").metric.p
    placebo = comparison.arms[-1]
    assert (placebo.arm, placebo.verdict) == ("placebo", "undecided")
    assert placebo.metric.p_adjusted == placebo.metric.p
    assert "luck alone" in placebo.sentence


def test_unfinished_seeds_are_left_out_of_the_pairs():
    trials = arm("baseline", BASE)[:8] + arm("elu:1.0", shifted(0.2))[3:]
    found = row(study(trials, arms=["elu:1.0"]), "elu:1.0")
    assert found.n == found.metric.n == 5
    nothing = study(arm("baseline", BASE)[:3] + arm("elu:1.0", BASE)[3:], arms=["elu:1.0", "gelu"])
    assert [found.verdict for found in nothing.arms[1:]] == ["undecided", "undecided"]
    assert "no seed has finished" in nothing.arms[2].sentence


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="no trial of the baseline"):
        study(arm("elu:1.0", BASE))
    with pytest.raises(ValueError, match="two trials"):
        study(arm("baseline", BASE) * 2)


values = st.one_of(st.none(), st.floats(-10, 10), st.sampled_from([0.078, 0.5]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(values, values, values, st.booleans(), st.booleans()), min_size=1, max_size=7),
    st.randoms(use_true_random=False),
)
def test_the_order_of_trials_does_not_matter(rows, random):
    trials = []
    for seed, (base, first, second, base_fails, first_fails) in enumerate(rows):
        trials += [
            Trial(
                arm="baseline",
                seed=seed,
                metric=base,
                failed=Failure(FailureKind.OTHER, "x") if base_fails or base is None else None,
            ),
            Trial(
                arm=ARMS[0],
                seed=seed,
                metric=first,
                failed=Failure(FailureKind.OTHER, "x") if first_fails or first is None else None,
            ),
            Trial(
                arm=ARMS[1],
                seed=seed,
                metric=second,
                failed=Failure(FailureKind.OTHER, "x") if second is None else None,
            ),
        ]
    shuffled = random.sample(trials, len(trials))
    one, two = study(trials), study(shuffled)
    assert one.arms == two.arms
    assert one.headline == two.headline


def run_with(rng, collapsing):
    failed = bool(rng.random() < collapsing)
    return (0.08 if failed else rng.normal(0.8, 0.05)), failed


@pytest.mark.parametrize(("n", "collapsing"), [(10, 0.0), (11, 0.1), (12, 0.4)])
def test_equal_arms_are_not_called_helped_or_hurt(n, collapsing):
    rng = np.random.default_rng(n)
    studies, alarms = 200, 0
    for _ in range(studies):
        trials = []
        for name in ("baseline", *ARMS, "gelu"):
            outcomes = [run_with(rng, collapsing) for _ in range(n)]
            failed = {seed for seed, outcome in enumerate(outcomes) if outcome[1]}
            trials += arm(name, [outcome[0] for outcome in outcomes], failed)
        comparison = study(trials, arms=(*ARMS, "gelu"))
        alarms += any(found.verdict in ("helped", "hurt") for found in comparison.arms)
    assert alarms / studies <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / studies)


def test_the_simulation_can_fail():
    """With an arm that is truly better the same loop does raise the alarm."""
    rng = random.Random(3)
    alarms = 0
    for _ in range(20):
        trials = arm("baseline", [rng.gauss(0.8, 0.05) for _ in range(12)])
        trials += arm(ARMS[0], [rng.gauss(0.9, 0.05) for _ in range(12)])
        alarms += row(study(trials, arms=ARMS[:1]), ARMS[0]).verdict == "helped"
    assert alarms >= 16


def test_statistics_do_not_load_torch():
    code = "import sys, rectifier.comparison.statistics.trials; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
