"""Every branch of the verdict, over scripts that are functions."""

import numpy as np
import pytest

from rectifier.comparison.explain.engine import Engine
from rectifier.comparison.explain.judgement import knowledge
from rectifier.comparison.explain.judgement.failure import Certain, failure_of
from rectifier.comparison.explain.trials.trial import Ask, Shown
from rectifier.diagnosis import thresholds as limit
from rectifier.errors import CannotExplain
from rectifier.records import (
    Applied,
    Cause,
    CauseKind,
    Change,
    Conclusion,
    Consequence,
    Finding,
    Intervention,
    RemedyId,
    Rule,
    Sight,
    SightKind,
    TrainingSetup,
)
from rectifier.report.sentences.explanation.experiments import outcome
from rectifier.report.sentences.explanation.verdict import details
from tests.comparison.explain.scripts import Script, explain, stuck


def tried(explanation):
    return [one.intervention.change for one in explanation.experiments]


def test_what_does_not_fail_is_run_once():
    script = Script(survives=(0,))
    found = explain(script)
    assert (found.conclusion, found.cause, found.established) == (Conclusion.NOTHING_TO_EXPLAIN, None, False)
    assert len(script.asked) == 1


def test_the_change_that_takes_the_failure_away_on_three_seeds_is_the_cause():
    script = Script(cures=(Change.WEIGHT_DECAY_OFF,), detail="weight decay of 0.5")
    found = explain(script)
    assert found.conclusion is Conclusion.ESTABLISHED
    assert found.established
    assert [cause.kind for cause in found.causes] == [CauseKind.WEIGHT_DECAY]
    assert found.cause.detail == "weight decay of 0.5"
    assert found.remedies == (RemedyId.LOWER_WEIGHT_DECAY,)
    assert found.control.failing == (None, 1, 2)
    assert found.control.placebo_failed is True
    assert found.control.deterministic is True


def test_trials_are_ended_soon_after_the_failure_is_certain():
    script = Script(cures=(Change.WEIGHT_DECAY_OFF,), onset=200, steps=5_000)
    found = explain(script)
    assert found.failure.onset == 209
    assert {ask.stop_after for ask in script.asked[1:]} <= {209 + limit.EXPLAIN_MARGIN, 448, 3 * 448, 10 * 448}
    # The unchanged script and the change of no meaning have failed as soon as the first run had.
    controls = [ask for ask in script.asked[1:] if ask.microscope or ask.intervention.change is Change.PLACEBO]
    assert [ask.stop_after for ask in controls] == 2 * [209 + limit.EXPLAIN_MARGIN]


def test_evidence_comes_first_and_ends_the_search_soon():
    script = Script(findings=(stuck(kind=CauseKind.INPUT_SCALE),), cures=(Change.STANDARDISE_INPUTS,))
    found = explain(script)
    assert tried(found)[0] is Change.STANDARDISE_INPUTS
    assert found.cause.kind is CauseKind.INPUT_SCALE
    assert len(set(tried(found))) <= 1 + 1 + limit.EXPLAIN_RIVALS + 1


def test_what_evidence_says_wrongly_is_not_named():
    script = Script(findings=(stuck(kind=CauseKind.LEARNING_RATE),), cures=(Change.WEIGHT_DECAY_OFF,))
    assert explain(script).cause.kind is CauseKind.WEIGHT_DECAY
    script = Script(findings=(stuck(kind=CauseKind.LEARNING_RATE, remedies=(RemedyId.LOWER_LEARNING_RATE,)),))
    found = explain(script)
    assert (found.conclusion, found.cause.kind) == (Conclusion.NO_SINGLE_CHANGE, CauseKind.UNKNOWN)
    assert found.remedies == ()


def test_no_single_change_prevents_it():
    found = explain(Script())
    assert (found.conclusion, found.established) == (Conclusion.NO_SINGLE_CHANGE, False)
    assert found.cause.kind is CauseKind.UNKNOWN
    everything = {one.change for one in knowledge.candidates((), (), "")}
    assert set(tried(found)) == everything


def test_a_hundredth_of_the_learning_rate_is_tried_where_evidence_says_that_it_is_too_high():
    script = Script(findings=(stuck(kind=CauseKind.LEARNING_RATE),), cures=(Change.LEARNING_RATE_HUNDREDTH,))
    found = explain(script)
    assert (found.conclusion, found.cause.kind) == (Conclusion.ESTABLISHED, CauseKind.LEARNING_RATE)
    assert found.cause.intervention == Intervention(Change.LEARNING_RATE_HUNDREDTH)
    assert found.remedies[0] is RemedyId.LOWER_LEARNING_RATE
    assert Change.LEARNING_RATE_HUNDREDTH not in tried(explain(Script()))


def test_a_change_that_finds_nothing_to_change_is_no_cure():
    script = Script(cures=(Change.WEIGHT_DECAY_OFF,), idle=(Change.WEIGHT_DECAY_OFF,))
    assert explain(script).conclusion is Conclusion.NO_SINGLE_CHANGE


@pytest.mark.parametrize("change", [Change.WEIGHT_DECAY_OFF, Change.STANDARDISE_TARGETS])
def test_a_change_that_says_it_changed_something_and_did_not_is_no_cure(change):
    """Planted: its losses are those of the unchanged run, to the bit, and yet no rule speaks.

    After the second of these changes losses are not compared for being better.
    """

    class Mute(Script):
        def __call__(self, ask):
            shown = super().__call__(ask)
            if ask.intervention.change in self.nothing:
                object.__setattr__(shown, "findings", ())
            return shown

    script = Mute(nothing=(change,))
    assert explain(script).conclusion is Conclusion.NO_SINGLE_CHANGE
    assert not any(one.better for one in explain(script).experiments)


def test_where_a_change_of_no_meaning_cures_no_cure_proves_anything():
    """Planted: a control that always succeeds."""
    found = explain(Script(cures=(Change.WEIGHT_DECAY_OFF, Change.PLACEBO)))
    assert (found.conclusion, found.established) == (Conclusion.CHAOTIC, False)
    assert found.cause.kind is CauseKind.UNKNOWN
    assert found.control.chaotic
    assert found.remedies == ()


def test_a_cure_by_luck_on_the_first_seed_is_none():
    script = Script(cures_at={Change.WEIGHTS_HE: (0,)}, cures=(Change.ZERO_BIAS,))
    found = explain(script)
    assert [cause.kind for cause in found.causes] == [CauseKind.INITIAL_BIAS]
    assert explain(Script(cures_at={Change.WEIGHTS_HE: (0, 1)})).conclusion is Conclusion.NO_SINGLE_CHANGE


def test_seeds_that_survive_are_passed_over_until_three_fail():
    script = Script(cures=(Change.ZERO_BIAS,), survives=(1, 3, 4))
    found = explain(script)
    assert found.control.seeds == (None, 1, 2, 3, 4, 5, 6)
    assert found.control.failing == (None, 2, 5, 6), "three of four would be luck too often"
    assert found.conclusion is Conclusion.ESTABLISHED
    cured = [one.seed for one in found.experiments if one.intervention.change is Change.ZERO_BIAS]
    assert cured == [None, 2, 5, 6]


def test_a_failure_of_this_run_alone_is_told_as_such():
    script = Script(cures=(Change.ZERO_BIAS,), survives=tuple(range(1, 20)))
    found = explain(script)
    assert (found.conclusion, found.established) == (Conclusion.THIS_RUN, True)
    # After three that survive, four of the other six would have to fail: 2% at a share of one in five.
    assert found.control.seeds == (None, 1, 2, 3)
    deaf = explain(Script(cures=(Change.ZERO_BIAS,), reach=False))
    assert (deaf.conclusion, deaf.control.seeds_reach) == (Conclusion.THIS_RUN, False)
    assert deaf.control.seeds == (None,)


def test_a_smaller_learning_rate_that_only_puts_it_off_is_no_cure():
    script = Script(puts_off=(Change.LEARNING_RATE_THIRD,), onset=40, steps=5_000)
    found = explain(script)
    third = [one for one in found.experiments if one.intervention.change is Change.LEARNING_RATE_THIRD]
    assert [one.failed for one in third] == [True]
    assert [one.steps for one in third] == [3 * found.failure.steps]
    assert found.conclusion is Conclusion.NO_SINGLE_CHANGE


def test_a_leaky_slope_is_a_remedy_where_something_else_is_the_cause():
    found = explain(Script(cures=(Change.LEAKY_ACTIVATION, Change.ZERO_BIAS)))
    assert [cause.kind for cause in found.causes] == [CauseKind.INITIAL_BIAS]
    assert found.remedies == (RemedyId.ZERO_BIAS, RemedyId.LEAKY_ACTIVATION)


def test_a_leaky_slope_is_the_cause_where_all_else_was_tried():
    found = explain(Script(cures=(Change.LEAKY_ACTIVATION,)))
    assert (found.cause.kind, found.established) == (CauseKind.ACTIVATION, True)
    assert found.remedies == (RemedyId.LEAKY_ACTIVATION,)


def test_what_is_seen_as_it_is_stays_the_cause_although_a_leaky_slope_helps():
    zero = stuck(Rule.CONSTANT_NETWORK, CauseKind.INPUT_CONSTANT, remedies=(RemedyId.CHECK_INPUTS,))
    found = explain(Script(findings=(zero,), cures=(Change.LEAKY_ACTIVATION,)))
    assert (found.conclusion, found.established) == (Conclusion.OBSERVED, False)
    assert (found.cause.kind, found.remedies[0]) == (CauseKind.INPUT_CONSTANT, RemedyId.CHECK_INPUTS)
    assert not found.experiments


def test_what_is_seen_is_confirmed_where_a_change_can():
    lost = stuck(Rule.UNTRAINED, CauseKind.NOT_REGISTERED, severity="warning", remedies=(RemedyId.REGISTER_PARAMETERS,))
    found = explain(Script(findings=(lost,), cures=(Change.ADD_PARAMETERS,)))
    assert (found.cause.kind, found.established) == (CauseKind.NOT_REGISTERED, True)
    assert found.remedies[0] is RemedyId.REGISTER_PARAMETERS
    assert set(tried(found)) == {Change.ADD_PARAMETERS, Change.PLACEBO}
    unmended = explain(Script(findings=(lost,)))
    assert (unmended.conclusion, unmended.cause.kind) == (Conclusion.OBSERVED, CauseKind.NOT_REGISTERED)
    assert not unmended.established


def test_the_microscope_ranks_before_the_likely_cause():
    sight = Sight(
        kind=SightKind.FIRST_NONFINITE, operation="sqrt", phase="backward", place="fit.py:7",
        cause_kind=CauseKind.NUMERICAL_OPERATION,
    )  # fmt: skip
    script = Script(
        findings=(stuck(Rule.NON_FINITE, CauseKind.LEARNING_RATE),), sights=(sight,),
        cures=(Change.LEARNING_RATE_THIRD, Change.GUARD_OPERATION),
    )  # fmt: skip
    found = explain(script)
    assert found.experiments[0].intervention == Intervention(Change.GUARD_OPERATION, "fit.py:7")
    assert [cause.kind for cause in found.causes] == [CauseKind.NUMERICAL_OPERATION, CauseKind.LEARNING_RATE]
    assert (found.cause.place, found.remedies[0]) == ("fit.py:7", RemedyId.GUARD_OPERATION)


def test_time_that_is_up_ends_it_with_what_is_known():
    script = Script(findings=(stuck(kind=CauseKind.WEIGHT_DECAY),), cures=(Change.WEIGHT_DECAY_OFF,))
    found = explain(script, may_begin=lambda: len(script.asked) < 3)
    assert (found.conclusion, found.established) == (Conclusion.UNFINISHED, False)
    assert found.cause.kind is CauseKind.WEIGHT_DECAY
    assert explain(Script(), may_begin=lambda: False).conclusion is Conclusion.UNFINISHED


def test_what_does_not_come_again_is_told():
    class Fickle(Script):
        def __call__(self, ask):
            self.survives = (0,) if self.asked else ()
            return super().__call__(ask)

    assert explain(Fickle()).conclusion is Conclusion.NOT_REPRODUCED


def test_a_failure_that_comes_later_again_is_waited_for():
    class Late(Script):
        def __call__(self, ask):
            if ask.microscope and ask.stop_after and ask.stop_after < 400:
                self.survives = (0,)
            shown = super().__call__(ask)
            self.survives = ()
            return shown

    found = explain(Late(steps=3_000))
    assert found.failure.steps > 400


@pytest.mark.parametrize("jobs", [2, 5])
def test_trials_at_once_have_the_same_verdict(jobs):
    for cures in ((Change.ZERO_BIAS,), (Change.LEAKY_ACTIVATION,), ()):
        one, other = explain(Script(cures=cures)), explain(Script(cures=cures), jobs=jobs)
        assert (one.conclusion, one.causes, one.remedies) == (other.conclusion, other.causes, other.remedies)


def test_a_user_may_name_the_failure():
    script = Script(findings=(), cures=(Change.ZERO_BIAS,))
    assert explain(script).conclusion is Conclusion.NOTHING_TO_EXPLAIN
    found = explain(script, because="loss stays at 2.3")
    assert (found.cause.kind, found.failure.asked) == (CauseKind.INITIAL_BIAS, "loss stays at 2.3")
    assert explain(script, because="loss stays at 9").conclusion is Conclusion.NOTHING_TO_EXPLAIN
    with pytest.raises(CannotExplain, match="--because"):
        explain(script, because="it is bad")


def test_a_finding_may_be_named():
    mild = stuck(Rule.DEAD_UNITS, severity="info")
    script = Script(findings=(mild,), cures=(Change.ZERO_BIAS,))
    assert explain(script).conclusion is Conclusion.NOTHING_TO_EXPLAIN
    assert explain(script, finding=Rule.DEAD_UNITS).cause.kind is CauseKind.INITIAL_BIAS


@pytest.mark.parametrize("finite", [True, False])
def test_another_misfortune_is_no_cure(finite):
    class Worse(Script):
        def __call__(self, ask):
            shown = super().__call__(ask)
            if ask.intervention.change is Change.ZERO_BIAS:
                object.__setattr__(shown, "findings", (stuck(Rule.NON_FINITE),))
                if not finite:
                    object.__setattr__(shown, "losses", np.full_like(shown.losses, np.nan))
            return shown

    assert explain(Worse(cures=(Change.ZERO_BIAS,))).conclusion is Conclusion.NO_SINGLE_CHANGE


def test_every_change_but_the_controls_can_be_named_as_a_cause():
    assert set(knowledge.REMOVES) == set(Change) - {Change.NONE, Change.PLACEBO, Change.RESTART}


def test_the_unchanged_script_is_asked_for_nothing():
    script = Script()
    Engine(run=script).explain()
    assert script.asked[0] == Ask()


def test_a_tenth_of_the_learning_rate_is_spared_where_a_third_helps():
    found = explain(Script(cures=(Change.LEARNING_RATE_THIRD, Change.LEARNING_RATE_TENTH, Change.ZERO_BIAS)))
    assert Change.LEARNING_RATE_TENTH not in tried(found)
    assert {cause.kind for cause in found.causes} == {CauseKind.LEARNING_RATE, CauseKind.INITIAL_BIAS}


def test_inputs_that_are_not_finite_are_named_as_such_and_leaving_every_step_out_is_no_cure():
    bad = stuck(Rule.NON_FINITE, CauseKind.INPUT_NOT_FINITE, remedies=(RemedyId.CHECK_INPUTS,))
    found = explain(Script(findings=(bad,), cures=(Change.SKIP_NONFINITE,)))
    assert (found.cause.kind, found.established) == (CauseKind.INPUT_NOT_FINITE, True)

    class All(Script):
        def __call__(self, ask):
            shown = super().__call__(ask)
            if shown.applied is not None:
                object.__setattr__(shown.applied, "times", shown.steps)
            return shown

    found = explain(All(findings=(bad,), cures=(Change.SKIP_NONFINITE,)))
    assert (found.conclusion, found.cause.kind) == (Conclusion.OBSERVED, CauseKind.INPUT_NOT_FINITE)


def test_losses_that_are_nan_from_the_start_do_not_tell_whether_a_seed_reaches():
    class Nan(Script):
        def __call__(self, ask):
            shown = super().__call__(ask)
            if ask.intervention.change not in self.cures:
                object.__setattr__(shown, "losses", np.full(len(shown.losses), np.nan))
            return shown

    found = explain(Nan(findings=(stuck(Rule.NON_FINITE),), cures=(Change.LEARNING_RATE_THIRD,)))
    assert found.control.seeds_reach is True
    assert found.conclusion is Conclusion.ESTABLISHED


def test_what_is_seen_as_it_is_asks_for_no_other_change():
    bad = stuck(Rule.NON_FINITE, CauseKind.INPUT_NOT_FINITE, remedies=(RemedyId.CHECK_INPUTS,))
    found = explain(Script(findings=(bad,)))
    assert (found.conclusion, found.cause.kind) == (Conclusion.OBSERVED, CauseKind.INPUT_NOT_FINITE)
    assert tried(found) == [Change.SKIP_NONFINITE]


def test_where_most_seeds_survive_luck_is_not_told_from_a_cure():
    found = explain(Script(cures=(Change.ZERO_BIAS,), survives=(1, 2, 4, 5, 7, 8)))
    assert len(found.control.failing) == limit.EXPLAIN_FAILING_SEEDS
    assert found.conclusion is Conclusion.THIS_RUN


def test_what_only_eases_the_failure_comes_behind_what_takes_it_away():
    both = (Change.LEARNING_RATE_THIRD, Change.WEIGHTS_HE)
    causes = explain(Script(cures=both, ends={Change.LEARNING_RATE_THIRD: 1.9})).causes
    assert [cause.kind for cause in causes] == [CauseKind.INITIAL_WEIGHTS, CauseKind.LEARNING_RATE]
    causes = explain(Script(cures=both, ends={Change.LEARNING_RATE_THIRD: 0.9})).causes
    assert [cause.kind for cause in causes] == [CauseKind.LEARNING_RATE, CauseKind.INITIAL_WEIGHTS]


class Progressing(Script):
    """Its loss falls to 0.1 all the same."""

    def __call__(self, ask):
        shown = super().__call__(ask)
        end = self.ends.get(ask.intervention.change, 0.1)
        object.__setattr__(shown, "losses", np.linspace(2.3, end, len(shown.losses)))
        return shown


def harmless(kind=CauseKind.UNKNOWN):
    return Finding(rule=Rule.SATURATED, severity="warning", cause=Cause(kind=kind), consequence=Consequence.PROGRESS)


def test_a_slower_training_that_does_no_better_is_no_cure_of_one_that_progresses():
    script = Progressing(findings=(harmless(),), cures=(Change.LEARNING_RATE_THIRD,), onset=40, steps=5_000)
    assert explain(script).conclusion is Conclusion.NO_SINGLE_CHANGE


def test_standardised_inputs_may_have_another_loss_that_falls_alike():
    cures = (Change.STANDARDISE_INPUTS,)
    falls = Progressing(findings=(harmless(),), cures=cures, ends={Change.STANDARDISE_INPUTS: 0.4}, steps=130)
    assert explain(falls).cause.kind is CauseKind.INPUT_SCALE
    stands = Progressing(findings=(harmless(),), cures=cures, ends={Change.STANDARDISE_INPUTS: 2.2}, steps=130)
    assert explain(stands).conclusion is Conclusion.NO_SINGLE_CHANGE


def test_a_constant_that_is_the_optimum_is_the_objectives_own():
    class Reached(Progressing):
        def __call__(self, ask):
            shown = super().__call__(ask)
            object.__setattr__(shown, "constant_optimum", ask == Ask())
            return shown

    found = explain(Reached(findings=(harmless(),), cures=(Change.ZERO_BIAS,)))
    assert (found.conclusion, found.cause.kind) == (Conclusion.OBSERVED, CauseKind.OBJECTIVE)
    assert found.remedies[0] is RemedyId.STOP_GRADIENT
    assert not found.experiments


def test_a_long_script_whose_failure_is_certain_is_ended_and_nothing_runs_longer_than_it_must():
    class Long(Script):
        """Runs for ever, unless it is ended."""

        def __call__(self, ask):
            steps = ask.stop_after
            if ask == Ask():
                assert ask.enough is not None
                steps, self.steps = 400, 400
            shown = super().__call__(ask)
            object.__setattr__(shown, "stopped", True)
            assert steps is not None
            return shown

    script = Long(cures=(Change.LEARNING_RATE_THIRD,), onset=300)
    found = explain(script)
    assert found.cause.kind is CauseKind.LEARNING_RATE
    assert all(ask.stop_after for ask in script.asked[1:])


def test_when_the_unchanged_script_may_end():
    clock = [0.0]
    certain = Certain(None, now=lambda: clock[0])

    def at(steps, seconds, *findings):
        clock[0] = seconds
        return certain(Shown(findings=findings, losses=np.ones(steps), steps=steps))

    mild = stuck(severity="warning")
    assert not at(10, 1, stuck())
    assert not at(1_000, 9, stuck()), "a short script runs to its end"
    assert not at(1_010, 21, mild), "it was no failure for good"
    assert not at(1_020, 22, stuck())
    assert not at(2_000, 23, stuck())
    assert at(limit.EXPLAIN_CERTAIN * 1_020, 24, stuck())


def test_the_place_of_a_setting_is_the_line_that_gives_it():
    assert explain(Script(cures=(Change.WEIGHT_DECAY_OFF,), place="fit.py:9")).cause.place == "fit.py:9"


def test_a_term_that_was_not_seen_at_work_is_no_cause():
    found = explain(Script(cures=(Change.LOSS_TERM_OFF,)))
    assert (found.conclusion, found.remedies) == (Conclusion.NO_SINGLE_CHANGE, ())
    seen = Sight(
        kind=SightKind.MOVED_BY, operation="penalty", numbers={"index": 0.0, "share": 0.9},
        cause_kind=CauseKind.LOSS_TERM,
    )  # fmt: skip
    assert explain(Script(cures=(Change.LOSS_TERM_OFF,), sights=(seen,))).cause.kind is CauseKind.LOSS_TERM


@pytest.mark.parametrize(("rule", "conclusion"), [
    (Rule.STANDING_STILL, Conclusion.ESTABLISHED), (Rule.CONSTANT_PREDICTOR, Conclusion.NO_SINGLE_CHANGE),
])  # fmt: skip
def test_a_training_that_stays_finite_need_not_have_got_far(rule, conclusion):
    class Slow(Script):
        def __call__(self, ask):
            shown = super().__call__(ask)
            if not shown.findings and ask.intervention.change is Change.LARGER_EPS:
                object.__setattr__(shown, "findings", (stuck(rule, severity="warning"),))
            return shown

    script = Slow(findings=(stuck(Rule.NON_FINITE),), cures=(Change.LARGER_EPS,))
    assert explain(script).conclusion is conclusion


def test_sorted_data_are_the_cause_although_less_momentum_helps():
    class Sorted(Script):
        def __call__(self, ask):
            shown = super().__call__(ask)
            object.__setattr__(shown, "sorted_by_class", ask == Ask())
            return shown

    found = explain(Sorted(cures=(Change.MOMENTUM_OFF,)))
    assert (found.conclusion, found.cause.kind) == (Conclusion.OBSERVED, CauseKind.DATA_ORDER)


def test_a_script_that_ends_with_a_code_of_its_own_is_cured_all_the_same():
    def shown(crashed, *findings):
        return Shown(findings=findings, losses=np.linspace(1.4, 0.3, 90), steps=90, crashed=crashed)

    assert not failure_of(shown(True, stuck())).seen_in(shown(True))
    assert failure_of(shown(False, stuck())).seen_in(shown(True))


class Breaks(Script):
    """A change with which the script ends by an error before its first step, or after it was shown to fail."""

    broken = Change.WEIGHT_DECAY_OFF
    seeds = (None,)
    steps_taken = 0

    def __call__(self, ask):
        shown = super().__call__(ask)
        if ask.intervention.change is self.broken and ask.seed in self.seeds and not ask.microscope:
            n = self.steps_taken
            applied = Applied(change=self.broken, times=n)
            return Shown(
                losses=shown.losses[:n], steps=n, crashed=True, error="ValueError: no", applied=applied,
                findings=shown.findings if n else (),
            )  # fmt: skip
        return shown


def test_a_trial_that_ends_by_an_error_before_its_first_step_is_no_evidence():
    found = explain(Breaks(findings=(stuck(kind=CauseKind.WEIGHT_DECAY),)))
    (one,) = [one for one in found.experiments if one.intervention.change is Change.WEIGHT_DECAY_OFF]
    assert (one.error, one.failed, one.helped, one.better) == ("ValueError: no", False, False, None)
    # Nothing has refuted what evidence speaks for.
    assert found.cause.kind is CauseKind.WEIGHT_DECAY
    assert not found.established
    assert outcome(one) == "could not be tried: ValueError: no"
    said = list(details(found))
    assert "No weight decay could not be tried: ValueError: no" in said
    assert not any("no weight decay" in text for text in said if text.startswith("Did not help"))


def test_an_error_once_the_failure_was_seen_is_the_failure():
    script = Breaks(findings=(stuck(kind=CauseKind.WEIGHT_DECAY),))
    script.steps_taken = 100
    found = explain(script)
    (one,) = [one for one in found.experiments if one.intervention.change is Change.WEIGHT_DECAY_OFF]
    assert (one.error, one.failed) == ("", True)
    assert found.cause.kind is CauseKind.UNKNOWN


def test_a_seed_on_which_the_unchanged_script_ends_by_an_error_is_no_control():
    script = Breaks(cures=(Change.WEIGHT_DECAY_OFF,))
    script.broken, script.seeds = Change.NONE, (1, 3)
    found = explain(script)
    assert found.conclusion is Conclusion.ESTABLISHED
    assert found.control.failing == (None, 2, 4)


def set_up(explained):
    return Finding(
        rule=Rule.TRAINING_SETUP, severity="warning", cause=Cause(kind=CauseKind.OUTPUT_ACTIVATION),
        evidence=TrainingSetup(model="Net", explained=explained, by_itself=True),
    )  # fmt: skip


@pytest.mark.parametrize(("before", "after", "failed"), [
    (0.1, 0.7, False), (0.1, 0.2, True), (0.7, 0.8, True), (None, 0.8, True),
])  # fmt: skip
def test_a_model_that_learns_after_the_first_step_has_been_cured_of_how_it_was_set_up(before, after, failed):
    """The first forward shows the last activation all the same."""

    def shown(explained):
        return Shown(findings=(set_up(explained),), losses=np.linspace(1.4, 0.3, 90), steps=90)

    assert failure_of(shown(before)).seen_in(shown(after)) == failed


@pytest.mark.parametrize(("survives", "seeds"), [((), 3), ((1,), 4), ((1, 2), 6), ((1, 2, 4), 7), ((1, 2, 3), 4)])
def test_seeds_are_searched_as_long_as_they_may_tell(survives, seeds):
    found = explain(Script(cures=(Change.ZERO_BIAS,), survives=survives))
    assert len(found.control.seeds) == seeds


def test_a_general_change_is_no_more_than_a_rival_once_the_cause_is_sure():
    script = Script(
        findings=(stuck(kind=CauseKind.INPUT_SCALE),), cures=(Change.STANDARDISE_INPUTS, Change.LEAKY_ACTIVATION)
    )
    found = explain(script)
    assert found.cause.kind is CauseKind.INPUT_SCALE
    assert RemedyId.LEAKY_ACTIVATION not in found.remedies
    seeds = {one.intervention.change for one in found.experiments if one.seed is not None}
    assert seeds == {Change.STANDARDISE_INPUTS}
    helped = Change.LEAKY_ACTIVATION in tried(found)
    said = "Also without the failure, tried with this seed only: Leaky ReLU."
    assert (said in list(details(found))) == helped


def test_a_change_outlives_the_failure_of_each_other_seed():
    class Early(Script):
        """Ends as soon as it has shown enough, as a process does."""

        def __call__(self, ask):
            shown = super().__call__(ask)
            if ask.enough is None or ask.intervention.change is not Change.NONE or ask.seed is None:
                return shown
            for steps in range(1, shown.steps + 1):
                part = Shown(losses=shown.losses[:steps], steps=steps, findings=shown.findings)
                if steps >= ask.least and ask.enough(part):
                    return part
            return shown

    script = Early(cures=(Change.WEIGHT_DECAY_OFF,), onset=2000, steps=50_000)
    found = explain(script)
    assert found.conclusion is Conclusion.ESTABLISHED
    unchanged = {one.seed: one.steps for one in found.control.trials}
    for one in found.experiments:
        if one.seed is not None:
            assert one.steps == -(-5 * unchanged[one.seed] // 4)
            assert one.steps > found.failure.onset


def test_a_loss_that_is_not_finite_at_the_end_is_that_failure_whatever_the_rule_has_time_to_say():
    failing = failure_of(Shown(findings=(stuck(Rule.NON_FINITE),), losses=np.full(50, np.nan), steps=50))
    assert failing.seen_in(Shown(losses=np.array([1.0, *[np.nan] * 10]), steps=11))
    assert not failing.seen_in(Shown(losses=np.linspace(1.0, 0.5, 50), steps=50))


def test_an_ordinary_explanation_of_a_long_training_takes_fourteen_times_what_its_failure_takes(monkeypatch):
    """Counted in steps: two seeds more, a placebo, two changes that do not help, each as short as it can be."""
    monkeypatch.setattr(limit, "EXPLAIN_SHORT", 0.0)
    taken = []

    class Ended(Script):
        def __call__(self, ask):
            shown = super().__call__(ask)
            for steps in range(max(ask.least, 1), shown.steps, 10) if ask.enough is not None else ():
                found = shown.findings if steps > self.onset else ()
                history = tuple(one for one in shown.history if one[0] < steps)
                part = Shown(
                    losses=shown.losses[:steps], steps=steps, findings=found, history=history, stopped=True,
                    applied=shown.applied, sights=shown.sights,
                )  # fmt: skip
                if ask.enough(part):
                    shown = part
                    break
            taken.append(shown.steps)
            return shown

    findings = (stuck(kind=CauseKind.WEIGHT_DECAY),)
    found = explain(Ended(findings=findings, cures=(Change.WEIGHT_DECAY_OFF,), onset=2_000, steps=50_000))
    assert found.conclusion is Conclusion.ESTABLISHED
    assert sum(taken) / found.failure.onset < 14.5
