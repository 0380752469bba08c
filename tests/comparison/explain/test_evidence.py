"""What is asked first, and what is not asked at all."""

import pytest

from rectifier.comparison.explain.judgement.evidence import kinds_of
from rectifier.comparison.explain.judgement.failure import Failing
from rectifier.comparison.explain.judgement.knowledge import candidates
from rectifier.records import (
    CauseKind,
    Change,
    DeadUnits,
    Deaths,
    Intervention,
    RemedyId,
    Rule,
    Sight,
    SightKind,
    SiteRef,
)
from tests.comparison.explain.scripts import Script, explain, stuck

CUT = Sight(kind=SightKind.GRADIENT_CUT, operation="detach", place="fit.py:3", cause_kind=CauseKind.GRAPH_CUT)


def term(index, share):
    return Sight(
        kind=SightKind.MOVED_BY, place="fit.py:9", numbers={"index": float(index), "share": share},
        cause_kind=CauseKind.LOSS_TERM,
    )  # fmt: skip


def of(rule, kind=CauseKind.UNKNOWN):
    return Failing(rule=rule, findings=(stuck(rule, kind),))


def test_a_detach_is_evidence_only_where_a_gradient_is_missing():
    assert kinds_of(of(Rule.DEAD_UNITS), [CUT]) == []
    assert kinds_of(of(Rule.UNTRAINED), [CUT]) == [CauseKind.GRAPH_CUT]


def test_what_the_finding_sees_as_it_is_comes_before_what_was_seen_elsewhere():
    failing = of(Rule.UNTRAINED, CauseKind.NOT_REGISTERED)
    assert kinds_of(failing, [CUT]) == [CauseKind.NOT_REGISTERED, CauseKind.GRAPH_CUT]


def test_an_addend_is_evidence_only_where_it_moves_most():
    assert kinds_of(of(Rule.DEAD_UNITS), [term(0, 0.4)]) == []
    assert kinds_of(of(Rule.DEAD_UNITS), [term(0, 0.1), term(1, 0.9)]) == [CauseKind.LOSS_TERM]


def test_the_addend_that_moves_most_is_taken_away_first():
    found = candidates([CauseKind.LOSS_TERM], [term(0, 0.1), term(1, 0.9)], "dead-units")
    assert found[:2] == [Intervention(Change.LOSS_TERM_OFF, 1), Intervention(Change.LOSS_TERM_OFF, 0)]


def test_only_the_line_that_made_the_first_bad_number_is_guarded():
    made = Sight(kind=SightKind.FIRST_NONFINITE, place="fit.py:5", cause_kind=CauseKind.NUMERICAL_OPERATION)
    guarded = [
        one for one in candidates([], [CUT, term(0, 0.9), made], "non-finite") if one.change is Change.GUARD_OPERATION
    ]
    assert guarded == [Intervention(Change.GUARD_OPERATION, "fit.py:5")]


def test_who_only_reads_a_bad_input_is_not_guarded():
    read = Sight(kind=SightKind.FIRST_NONFINITE, place="fit.py:5", cause_kind=CauseKind.INPUT_NOT_FINITE)
    assert Change.GUARD_OPERATION not in {one.change for one in candidates([], [read], "non-finite")}


def test_what_the_unchanged_run_has_none_of_is_not_tried():
    class Told(Script):
        def __call__(self, ask):
            shown = super().__call__(ask)
            object.__setattr__(shown, "idle", frozenset({Change.TRAIN_MODE, Change.WEIGHT_DECAY_OFF}))
            return shown

    tried = {one.intervention.change for one in explain(Told()).experiments}
    assert not tried & {Change.TRAIN_MODE, Change.WEIGHT_DECAY_OFF}
    assert Change.ZERO_BIAS in tried


def silent(units, dead):
    deaths = Deaths(born_dead=0, died=dead, first_observed_step=0)
    return DeadUnits(
        activation="relu", units=units, dead=dead, suspected=0, dead_fraction=dead / units, silences=dead,
        silences_ended=0, deaths=deaths,
    )  # fmt: skip


@pytest.mark.parametrize(("units", "dead", "narrow"), [(2, 2, True), (6, 6, True), (7, 7, False), (4, 3, False)])
def test_few_units_that_are_all_silent_speak_for_the_width(units, dead, narrow):
    finding = stuck(Rule.DEAD_UNITS, evidence=silent(units, dead))
    kinds = kinds_of(Failing(rule=Rule.DEAD_UNITS, findings=(finding,)), [])
    assert kinds == ([CauseKind.NARROW_LAYER] if narrow else [])


def test_in_a_narrow_layer_a_leaky_slope_comes_before_a_lower_learning_rate():
    script = Script(
        findings=(stuck(Rule.DEAD_UNITS, evidence=silent(2, 2)),),
        cures=(Change.LEAKY_ACTIVATION, Change.LEARNING_RATE_TENTH),
    )  # fmt: skip
    found = explain(script)
    assert (found.cause.kind, found.established) == (CauseKind.NARROW_LAYER, True)
    assert found.remedies[0] is RemedyId.MORE_UNITS
    output = Script(
        findings=(stuck(Rule.DEAD_UNITS, evidence=silent(1, 1)),),
        cures=(Change.LEAKY_ACTIVATION, Change.LINEAR_OUTPUT),
    )  # fmt: skip
    assert explain(output).cause.kind is CauseKind.OUTPUT_ACTIVATION


def inputs(**numbers):
    return Sight(kind=SightKind.INPUTS, operation="Net[0]", numbers=numbers)


@pytest.mark.parametrize(
    ("numbers", "named"),
    [
        ({"rms": 173.0, "offset": 0.0, "scale": 173.0}, True), ({"rms": 5.0, "offset": 5.0, "scale": 0.4}, True),
        ({"rms": 1.0, "offset": 0.2, "scale": 1.0}, False), ({"rms": 900.0, "integers": 1.0}, False),
    ],
)  # fmt: skip
def test_inputs_off_scale_speak_for_themselves_where_a_layer_is_flat(numbers, named):
    assert kinds_of(of(Rule.SATURATED), [inputs(**numbers)]) == ([CauseKind.INPUT_SCALE] if named else [])
    assert kinds_of(of(Rule.UNTRAINED), [inputs(**numbers)]) == []


@pytest.mark.parametrize(("call", "recurrent"), [(0, False), (2, False), (4, True), (136, True)])
def test_a_layer_that_one_forward_calls_again_and_again_speaks_for_a_recurrence(call, recurrent):
    finding = stuck(Rule.SATURATED, site=SiteRef(model="Net", path="cell.act", call=call))
    kinds = kinds_of(Failing(rule=Rule.SATURATED, findings=(finding,)), [])
    assert kinds == ([CauseKind.RECURRENCE] if recurrent else [])
    found = explain(Script(findings=(finding,), cures=(Change.BOUNDED_ACTIVATION, Change.LEARNING_RATE_THIRD)))
    assert found.cause.kind is (CauseKind.RECURRENCE if recurrent else CauseKind.LEARNING_RATE)


def test_an_operation_that_met_grown_numbers_is_not_guarded():
    grown = Sight(kind=SightKind.FIRST_NONFINITE, place="fit.py:5", numbers={"grown": 1.0})
    assert Change.GUARD_OPERATION not in {one.change for one in candidates([], [grown], "non-finite")}


def test_a_normalisation_that_passes_no_gradient_is_asked_first_where_outputs_are_constant():
    lost = Sight(kind=SightKind.GRADIENT_LOST, operation="NativeGroupNorm", cause_kind=CauseKind.NORMALISATION)
    assert kinds_of(of(Rule.CONSTANT_PREDICTOR), [lost]) == [CauseKind.NORMALISATION]
    assert kinds_of(of(Rule.NON_FINITE), [lost]) == []
