"""Dead units: at the threshold, just below and just above it, and what must stay silent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.diagnosis.training.history.sites import read_histories
from tests.diagnosis.builders import FALLING, FLAT, process, site, snapshot, window
from tests.edge import diagnose, where, why

SILENT_ONE = (9, 9, 0, 9, 9)


def states(*snapshots, **options):
    (history,) = read_histories(process([site(**options)], *snapshots))
    return history.states


@pytest.mark.parametrize(("distinct", "dead"), [(2999, False), (3000, True), (3001, True)])
def test_dead_needs_three_thousand_distinct_samples(distinct, dead):
    found = states(snapshot([window(fired=SILENT_ONE, distinct=distinct)], distinct=50_000))
    assert found.dead.tolist() == [False, False, dead, False, False]
    assert found.suspected.tolist() == [False, False, not dead, False, False]
    assert found.bound[2] == pytest.approx(1 - 0.05 ** (1 / distinct))


@pytest.mark.parametrize(
    ("distinct", "total", "since_new", "dead"),
    [(300, 300, 300, True), (299, 300, 300, False), (300, 300, 299, False), (4, 4, 2996, True)],
)
def test_a_whole_pass_over_all_data_is_enough(distinct, total, since_new, dead):
    found = states(snapshot([window(fired=SILENT_ONE, distinct=distinct)], distinct=total, since_new=since_new))
    assert found.dead[2] == dead
    assert found.whole_data[2] == dead


def test_visits_are_not_samples():
    """Four points seen 750 times are 3,000 visits: without knowing the samples nothing is called dead."""
    found = states(snapshot([window(fired=SILENT_ONE, visits=3000)]))
    assert not found.dead.any()
    assert found.suspected[2]
    assert np.isnan(found.bound[2])
    (finding,) = diagnose(process([site()], snapshot([window(fired=SILENT_ONE, visits=3000)]))).findings
    assert finding.title == "hidden: 1 of 5 units suspected dead"
    assert finding.detail == (
        "1 never fired. Silent since then on at least 3,000 visits; how many distinct samples that is cannot be "
        "told, so "
        "there is no bound."
    )
    assert finding.numbers.get("firing_bound") is None


@pytest.mark.parametrize(("visits", "suspected"), [(299, False), (300, True)])
def test_a_short_silence_of_a_unit_that_has_fired_means_nothing(visits, suspected):
    found = states(snapshot([window(fired=SILENT_ONE, last=[9] * 5, steps=[9], silent=[0, 0, visits, 0, 0])]))
    assert found.suspected[2] == suspected


@pytest.mark.parametrize(
    ("tokens", "sequences", "dead"),
    [(1_000_000, 1000, True), (999_999, 1000, False), (1_000_000, 999, False)],
)
def test_tokens_of_a_transformer_need_a_million_from_a_thousand_sequences(tokens, sequences, dead):
    snap = snapshot([window(fired=SILENT_ONE, silent=[0, 0, tokens, 0, 0], distinct=sequences)], distinct=9999)
    assert states(snap, ndim=3).dead[2] == dead


def test_a_sample_that_is_a_sequence_is_called_one():
    snap = snapshot([window(fired=SILENT_ONE, silent=[0, 0, 10**6, 0, 0], distinct=1000)], distinct=9999)
    (finding,) = diagnose(process([site(ndim=3)], snap)).findings
    assert "Silent since then on at least 1,000 distinct sequences: each fires on less than" in finding.detail


@pytest.mark.parametrize(("fired", "rare"), [(0, False), (1, True), (29, True), (30, False)])
def test_rare_units_fire_on_less_than_one_percent(fired, rare):
    found = states(snapshot([window(visits=3000, fired=(fired, 3000, 3000, 3000, 3000), distinct=0)]))
    assert found.rare[0] == rare
    assert not (found.dead & found.rare).any()


@pytest.mark.parametrize(
    ("activation", "counts_as_dead"),
    [("relu", True), ("relu6", True), ("leaky_relu:0.01", False), ("prelu:0.25", False), ("elu:1.0", False),
     ("leaky_relu:0.0", True), ("gelu", False), ("hardtanh", False)],
)  # fmt: skip
def test_only_where_the_derivative_is_zero_is_silence_death(activation, counts_as_dead):
    run = process([site(activation=activation)], snapshot([window(fired=SILENT_ONE, distinct=5000)]))
    (finding,) = diagnose(run).findings
    (layer,) = diagnose(run).layers
    assert finding.rule == ("dead-units" if counts_as_dead else "stuck-negative")
    assert (layer.dead, layer.stuck) == (int(counts_as_dead), 1)
    assert finding.severity == "info"


def test_unknown_units_are_not_guessed():
    run = process([site(units=None)], snapshot([window(fired=())]))
    (layer,) = diagnose(run).layers
    assert (layer.units, layer.dead, layer.rare, layer.stuck, layer.firing_fraction) == (None,) * 5
    assert diagnose(run).findings == ()


def test_the_most_serious_comes_first_whatever_the_order_of_the_sites():
    sites = [site("a"), site("b", units=7)]
    windows = [window(0, fired=SILENT_ONE, distinct=5000), window(1, fired=(0,) * 7, distinct=5000)]
    findings = diagnose(process(sites, snapshot(windows))).findings
    assert [(where(finding), finding.severity) for finding in findings] == [("b", "serious"), ("a", "info")]


def test_a_layer_without_gradient_has_none_in_the_table():
    (layer,) = diagnose(process([site()], snapshot([window()]))).layers
    assert layer.delta is None
    seen = window(steps=range(4), delta=[np.nan, 1.0, 2.0, 9.0])
    (layer,) = diagnose(process([site()], snapshot([seen]))).layers
    assert layer.delta == 2.0


def test_a_death_seen_at_the_very_next_step_is_exact():
    first = window(steps=[3], fired=(9,) * 5)
    last = window(steps=[4], fired=(9, 9, 9, 9, 0), last=[4, 4, 4, 4, 3], silent=[0, 0, 0, 0, 5000], distinct=5000)
    (finding,) = diagnose(process([site()], snapshot([first]), snapshot([last]))).findings
    assert finding.detail.startswith("1 last fired at step 3. Silent")


@pytest.mark.parametrize(("newly_dead", "severity"), [(4, "info"), (6, "warning")])
def test_a_share_that_was_as_large_from_the_beginning_is_not_rising(newly_dead, severity):
    """20 of 100 units are silent in the first window, fire in the second, and die with the others by large updates."""
    rows = [[0] * 20 + [9] * 80, [9] * 100] + [[0] * (20 + newly_dead) + [9] * (80 - newly_dead)] * 3
    windows = [
        window(
            steps=[step],
            fired=row,
            last=[step if fired else (1 if step else -1) for fired in row],
            silent=[0 if fired else 5000 for fired in row],
            distinct=[0 if fired else 5000 for fired in row],
            update=0.6,
        )
        for step, row in enumerate(rows)
    ]
    snapshots = [snapshot([w], losses=FALLING if not i else None) for i, w in enumerate(windows)]
    (finding,) = diagnose(process([site(units=100)], *snapshots)).findings
    assert (why(finding), finding.severity) == ("learning_rate", severity)


@pytest.mark.parametrize(("share", "severity"), [(0.09, "info"), (0.1, "info"), (0.49, "info"), (0.5, "serious")])
def test_shares_at_their_thresholds_to_the_unit(share, severity):
    assert layer_with(share, FLAT, units=100) == severity


def layer_with(share, losses, *, units=20, update=None, last=None):
    """A layer of which this share is dead since step 3, over five windows."""
    dead = round(share * units)
    windows = []
    for step in range(5):
        alive = [0 if step > 3 and unit < dead else 9 for unit in range(units)]
        gone = [0 if fired else 4000 for fired in alive]
        at = [3 if unit < dead else 4 for unit in range(units)] if step == 4 else None
        windows.append(
            window(
                steps=[step],
                fired=alive,
                last=at,
                silent=gone,
                distinct=gone,
                update=0.001 if update is None else update[step],
            )
        )
    snapshots = [snapshot([w], losses=losses if i == 0 else None) for i, w in enumerate(windows)]
    findings = diagnose(process([site(units=units)], *snapshots)).findings
    return next((finding.severity for finding in findings if finding.rule == "dead-units"), None)


@pytest.mark.parametrize(
    ("share", "losses", "severity"),
    [
        (0.05, FLAT, "info"),  # below a tenth nothing follows
        (0.10, FALLING, "info"),  # dead units alone are information
        (0.45, FALLING, "info"),
        (0.90, FALLING, "info"),
        (0.95, FALLING, "warning"),  # a bottleneck that nobody built
        (0.10, FLAT, "info"),  # below half they explain no stall
        (0.45, FLAT, "info"),
        (0.50, FLAT, "serious"),
        (1.00, FLAT, "serious"),
        (1.00, FALLING, "warning"),
        (1.00, None, "serious"),
        (0.50, None, "info"),  # cannot claim a lack of progress
    ],
)
def test_severity_follows_from_what_it_costs(share, losses, severity):
    assert layer_with(share, losses) == severity


def test_of_few_units_nearly_all_may_die():
    assert layer_with(6 / 7, FALLING, units=7) == "info"


@pytest.mark.parametrize(
    ("updates", "severity"),
    [
        ([0.1] * 5, "info"),  # Adam's first step moves a wide layer so far
        ([0.499] * 5, "info"),
        ([0.5] * 5, "warning"),
        ([1e-3, 1e-3, 1e-3, 9.9e-2, 1e-3], "info"),  # a hundred times the median, and still no tenth of the weights
        ([1e-3, 1e-3, 1e-3, 0.1, 1e-3], "warning"),
        ([2e-2, 2e-2, 2e-2, 0.1, 2e-2], "info"),
    ],
)
def test_a_share_that_rises_is_a_warning_while_training_progresses_if_the_weights_were_thrown(updates, severity):
    assert layer_with(0.3, FALLING, update=updates) == severity


def test_born_dead_and_died_are_told_apart_with_the_step():
    windows = [
        window(steps=[0], fired=(0, 9, 9, 9, 9), distinct=0),
        window(
            steps=[8],
            fired=(0, 0, 9, 9, 9),
            last=[-1, 0, 8, 8, 8],
            silent=[9000, 8000, 0, 0, 0],
            distinct=[9000, 8000, 0, 0, 0],
        ),
    ]
    (finding,) = diagnose(process([site()], *[snapshot([w]) for w in windows])).findings
    assert finding.title == "hidden: 2 of 5 units dead"
    assert finding.detail == (
        "1 never fired and 1 last fired at step 0 (known to within 8 steps). "
        "Silent since then on at least 8,000 distinct samples: each fires on less than 0.037% (95%)."
    )
    assert finding.units == (0, 1)
    assert finding.numbers["born_dead"] == 1
    assert finding.numbers["died_median_step"] == 0
    assert finding.numbers["died_known_within_steps"] == 8
    assert finding.numbers["least_samples"] == 8000
    assert finding.numbers["firing_bound"] == pytest.approx(1 - 0.05 ** (1 / 8000))


def test_the_steps_of_death_are_told_as_a_range_with_their_median():
    seen = window(steps=range(0, 30, 10), fired=(9,) * 5)
    last = window(
        steps=[30], fired=(9, 9, 0, 0, 0), last=[30, 30, 0, 10, 20], silent=[0, 0, 4000, 4000, 4000], distinct=4000
    )
    (finding,) = diagnose(process([site()], snapshot([seen]), snapshot([last], distinct=4000, since_new=4000))).findings
    assert finding.detail == (
        "3 last fired at steps 0 to 20 (median 10; known to within 10 steps). "
        "Silent since then on all 4,000 samples that this training showed."
    )
    keys = ("died_first_step", "died_median_step", "died_last_step")
    assert [finding.numbers[key] for key in keys] == [0, 10, 20]


def test_a_silence_from_a_later_beginning_says_where_observation_began():
    seen = window(steps=[40, 48], fired=SILENT_ONE, distinct=5000)
    (finding,) = diagnose(process([site()], snapshot([seen]))).findings
    assert finding.detail.startswith("1 never fired since step 40, the first observed.")


@pytest.mark.parametrize(("total", "all_shown"), [(99_999, True), (100_000, False)])
def test_all_samples_is_not_claimed_where_the_monitor_may_have_stopped_telling_them_apart(total, all_shown):
    snap = snapshot([window(fired=SILENT_ONE, visits=300_000, distinct=total)], distinct=total, since_new=200_000)
    assert states(snap).dead[2], "3,000 samples are enough by themselves"
    assert states(snap).whole_data[2] == all_shown


def test_a_whole_pass_needs_no_least_number_of_visits():
    """Four points, each shown once since the unit last fired: that is everything there is."""
    seen = window(
        steps=[9], visits=4, fired=SILENT_ONE, last=[9, 9, 8, 9, 9], silent=[0, 0, 4, 0, 0], distinct=[0, 0, 4, 0, 0]
    )
    assert states(snapshot([seen], distinct=4, since_new=36)).dead.tolist() == [False, False, True, False, False]
    assert not states(snapshot([seen], distinct=5, since_new=36)).stuck.any()


def test_what_fell_silent_together_with_a_nan_is_not_dead():
    """NaN is not above zero: a counter sees silence where there is none."""
    sane = window(steps=[0], fired=(9, 9, 0, 9, 9), distinct=5000)
    mad = window(steps=[1], fired=(0,) * 5, last=[0, 0, -1, 0, 0], silent=9000, distinct=9000, nonfinite_step=1)
    findings = diagnose(process([site()], snapshot([sane]), snapshot([mad]))).findings
    assert [(finding.rule, finding.units) for finding in findings] == [("non-finite", ()), ("dead-units", (2,))]
    findings = diagnose(process([site()], snapshot([mad]))).findings
    assert [finding.rule for finding in findings] == ["non-finite"]
    (layer,) = diagnose(process([site()], snapshot([mad]))).layers
    assert (layer.units, layer.dead, layer.firing_fraction, layer.dead_history) == (5, None, None, ())


@pytest.mark.parametrize(
    ("n", "losses", "severity"),
    [
        (299, FLAT, "info"),
        (300, FLAT, "warning"),
        (2999, FLAT, "warning"),
        (3000, FLAT, "serious"),
        (2999, FALLING, "warning"),
    ],
)
def test_too_few_samples_for_the_definition_never_make_more_than_a_warning(n, losses, severity):
    seen = window(fired=(0,) * 5, visits=n, distinct=n)
    (finding,) = diagnose(process([site()], snapshot([seen], losses=losses))).findings
    assert finding.severity == severity


def test_one_proven_unit_does_not_carry_a_whole_suspected_layer():
    seen = window(fired=(0,) * 5, distinct=[5000, 400, 400, 400, 400])
    (finding,) = diagnose(process([site()], snapshot([seen], losses=FLAT))).findings
    assert (finding.severity, finding.title) == ("warning", "hidden: 1 of 5 units dead, 4 more suspected")


def test_silences_that_ended_are_counted():
    rows = [(9, 9), (0, 0), (9, 0), (0, 0)]
    windows = [
        window(steps=[i], visits=400, fired=row, last=[0 if i < 2 else 2, 0], silent=[400 * (row[0] == 0), 400 * i])
        for i, row in enumerate(rows)
    ]
    run = process([site(units=2, activation="leaky_relu:0.1")], *[snapshot([w]) for w in windows])
    (finding,) = diagnose(run).findings
    assert finding.detail.endswith(
        "Under leaky_relu:0.1 such a unit still learns, but is linear or flat. So far 1 of 3 such silences ended."
    )
    assert (finding.numbers["silences"], finding.numbers["silences_ended"]) == (3, 1)


@given(st.integers(0, 20_000), st.integers(0, 20_000))
def test_more_samples_never_make_a_silent_unit_less_certain(one, other):
    few, many = sorted((one, other))
    certain = [states(snapshot([window(fired=SILENT_ONE, visits=max(n, 1), distinct=n)])).dead[2] for n in (few, many)]
    assert certain[0] <= certain[1]


@given(st.lists(st.integers(0, 50), min_size=5, max_size=5), st.integers(1, 50_000))
def test_masks_are_disjoint_and_stuck_is_dead_or_suspected_under_relu(fired, distinct):
    found = states(snapshot([window(visits=5000, fired=fired, distinct=distinct)]))
    assert not (found.dead & found.suspected).any()
    assert not (found.dead & found.rare).any()
    assert (found.stuck == (found.dead | found.suspected)).all()


def test_history_of_silence_marks_the_whole_silence_once_it_is_long_enough():
    rows = [(9, 9, 9), (0, 9, 0), (0, 9, 9), (0, 9, 9)]
    windows = [
        window(steps=[i], visits=150, fired=row, last=[0 if i else i, i, 2], silent=[150 * i, 0, 0])
        for i, row in enumerate(rows)
    ]
    (layer,) = diagnose(process([site(units=3)], *[snapshot([w]) for w in windows])).layers
    # 150 visits of silence are too few for the third unit; 450 are enough for the first, from their beginning on.
    assert layer.dead_history == (
        (0, 0.0),
        (1, pytest.approx(1 / 3)),
        (2, pytest.approx(1 / 3)),
        (3, pytest.approx(1 / 3)),
    )


@given(st.permutations(range(5)))
def test_the_order_of_units_changes_only_their_numbers(order):
    fired, distinct = np.array([0, 9, 0, 9, 0]), np.array([5000, 0, 4000, 0, 200])
    plain = diagnose(process([site()], snapshot([window(fired=fired, distinct=distinct)]))).findings[0]
    mixed = diagnose(process([site()], snapshot([window(fired=fired[order], distinct=distinct[order])]))).findings[0]
    assert sorted(order[unit] for unit in mixed.units) == list(plain.units)
    assert (mixed.title, mixed.detail, mixed.severity, mixed.evidence) == (
        plain.title,
        plain.detail,
        plain.severity,
        plain.evidence,
    )


@given(st.permutations("abcd"))
def test_sites_of_different_models_do_not_influence_each_other(order):
    def told(names):
        sites = [site("layer", model=name) for name in names]
        windows = [
            window(i, fired=(0,) * 5 if name == "a" else SILENT_ONE, distinct=5000) for i, name in enumerate(names)
        ]
        findings = diagnose(process(sites, snapshot(windows))).findings
        return sorted((finding.severity, finding.title, finding.detail, finding.cause.text) for finding in findings)

    assert told(order) == told("abcd")


@pytest.mark.parametrize(
    ("activation", "said"),
    [("leaky_relu:0.01", True), ("elu:1.0", True), ("gelu", True), ("sigmoid", False), ("tanh", False)],
)
def test_a_gate_that_is_always_half_closed_is_nothing_to_tell(activation, said):
    silent = window(fired=(0, 0, 9, 9, 9), distinct=5000)
    diagnosis = diagnose(process([site(activation=activation)], snapshot([silent])))
    assert [finding.rule for finding in diagnosis.findings] == (["stuck-negative"] if said else [])
    assert diagnosis.layers[0].stuck == 2, "the table counts them all the same"


@pytest.mark.parametrize(
    ("steps", "distinct", "severity"), [(99, 2999, "info"), (100, 2999, "warning"), (99, 3000, "serious")]
)
def test_too_few_samples_and_too_few_losses_together_are_no_alarm(steps, distinct, severity):
    silent = window(fired=(0, 0, 0, 9, 9), visits=4000, silent=(4000,) * 3 + (0, 0), distinct=(distinct,) * 3 + (0, 0))
    (finding,) = diagnose(process([site()], snapshot([silent], losses=FLAT[:steps]))).findings
    assert finding.severity == severity


@pytest.mark.parametrize(("dead", "severity"), [(49, "info"), (50, "serious")])
def test_a_share_below_half_that_was_there_from_the_start_explains_no_stall(dead, severity):
    fired = (0,) * dead + (9,) * (100 - dead)
    one = window(steps=range(9), fired=fired, distinct=[5000] * dead + [0] * (100 - dead), delta=1.0)
    found = {f.rule: f for f in diagnose(process([site(units=100)], snapshot([one], losses=FLAT))).findings}
    assert found["dead-units"].severity == severity
    assert ("standing-still" in found) == (severity == "info")


@pytest.mark.parametrize(("units", "losses", "severity"), [
    (2, FALLING, "info"), (3, FALLING, "warning"), (1, FLAT, "serious"),
])  # fmt: skip
def test_that_a_layer_of_two_units_died_beside_a_training_that_progresses_is_nothing_remarkable(
    units, losses, severity
):
    """One unit in five dies in healthy networks: all of two do in 4% of the layers."""
    first = window(steps=[3], fired=(9,) * units)
    gone = {"last": [50] * units, "silent": [5000] * units, "distinct": 5000}
    last = window(steps=[199], fired=(0,) * units, **gone)
    run = process([site(units=units)], snapshot([first]), snapshot([last], losses=losses))
    (finding,) = diagnose(run).findings
    assert (finding.rule, finding.severity) == ("dead-units", severity)
