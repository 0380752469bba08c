"""The text form of a change, and the exit of an explanation into JSON and words."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.records import (
    CauseKind,
    Change,
    EstablishedCause,
    Intervention,
    RemedyId,
    Rule,
    Sight,
    SightKind,
    decode,
    encode,
)
from rectifier.report.json.explanation import explanation_json
from rectifier.report.sentences import explanation as sentences
from rectifier.report.sentences.mending import place_of
from rectifier.report.sentences.sights import sight_text, telling
from tests.explain.scripts import Script, explain, stuck

VALUES = st.one_of(
    st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(min_size=1).filter(lambda text: not text.strip().lstrip("+-").replace("_", "").isdigit()),
)  # fmt: skip


@given(st.sampled_from(Change), VALUES)
def test_a_change_is_read_as_it_was_written(change, value):
    written = str(Intervention(change, value))
    assert str(Intervention.parse(written)) == written
    if not isinstance(value, str):
        assert Intervention.parse(written) == Intervention(change, value)


def test_a_place_stays_text():
    assert Intervention.parse("guard_operation:fit.py:41 sqrt").value == "fit.py:41 sqrt"


def test_an_unknown_change_names_the_known_ones():
    with pytest.raises(ValueError, match="weight_decay_off"):
        Intervention.parse("weight_decay")


def test_every_cause_change_and_remedy_has_words():
    assert set(sentences._CAUSES) == set(CauseKind)
    assert set(sentences._CHANGES) == set(Change)
    assert set(sentences._LINES) == set(RemedyId)


@pytest.mark.parametrize("cures", [(), (Change.WEIGHT_DECAY_OFF,), (Change.LEAKY_ACTIVATION, Change.PLACEBO)])
def test_an_explanation_goes_into_json_and_words(cures):
    found = explain(Script(cures=cures))
    document = json.loads(json.dumps(explanation_json(found), allow_nan=False))
    assert document["cause"]["kind"] == str(found.cause.kind)
    assert document["remedies"] == [str(one) for one in found.remedies]
    assert len(document["experiments"]) == len(found.experiments)
    assert document["established"] is found.established
    assert sentences.headline(found)
    assert all(text.endswith(".") for text in sentences.details(found))
    assert decode(encode(found), type(found)) == found


def test_a_healthy_script_names_no_cause():
    document = explanation_json(explain(Script(survives=(0,))))
    assert (document["cause"], document["causes"], document["established"]) == (None, [], False)


def sight(kind, **more):
    return Sight(kind=kind, place="fit.py:7", expression="torch.log(p)", step=3, **more)


def test_only_what_belongs_to_the_cause_is_told():
    bad = sight(
        SightKind.FIRST_NONFINITE, operation="log", phase="forward", cause_kind=CauseKind.NUMERICAL_OPERATION,
        numbers={"input_min": 0.0, "input_max": 1.0, "input_zeros": 1.0, "input_numbers": 32.0},
    )  # fmt: skip
    seen = (sight(SightKind.INPUTS, operation="Net[0]"), sight(SightKind.MOVED_BY, operation="momentum"), bad)
    found = explain(
        Script(
            findings=(stuck(Rule.NON_FINITE, CauseKind.LEARNING_RATE),), sights=seen, cures=(Change.GUARD_OPERATION,)
        )
    )
    assert telling(found) == [bad]
    assert sight_text(bad) == (
        "The first non-finite value came from log in the forward pass at step 3, fit.py:7: torch.log(p) "
        "(input from 0 to 1, 1 of 32 exactly 0)"
    )
    assert found.cause.detail == "log: torch.log(p)"
    assert sentences.fix_text(RemedyId.GUARD_OPERATION, found) == (
        "clamp its argument from below: torch.log(x.clamp_min(1e-6))"
    )
    assert sentences.fix_text(RemedyId.GUARD_OPERATION) == sentences._LINES[RemedyId.GUARD_OPERATION]


def test_a_cause_is_not_said_twice():
    said = EstablishedCause(
        kind=CauseKind.BATCH_OF_ONE, detail="batches of one", intervention=Intervention(Change.SKIP_BATCHES_OF_ONE)
    )
    assert sentences.cause_text(said) == "batches of one sample"


@pytest.mark.parametrize("kind", SightKind)
def test_each_sight_has_a_sentence(kind):
    assert "step 3, fit.py:7: torch.log(p)" in sight_text(sight(kind, operation="log", phase="backward"))


def test_the_line_to_type_has_the_users_numbers_and_place():
    found = explain(Script(cures=(Change.WEIGHT_DECAY_OFF,)))
    (own, *_) = [one for one in found.experiments if one.intervention.change is Change.WEIGHT_DECAY_OFF]
    applied = replace(own.applied, before=0.5, after=0.0, place="fit.py:9", expression="SGD(p, weight_decay=0.5)")
    told = replace(found, experiments=(replace(own, applied=applied),))
    assert sentences.fix_text(RemedyId.LOWER_WEIGHT_DECAY, told) == "weight_decay=0.01 instead of 0.5"
    assert place_of(told) == "fit.py:9: SGD(p, weight_decay=0.5)"
    assert sentences.fix_text(RemedyId.LOWER_WEIGHT_DECAY, found) == "weight_decay=0.01, or less"


def test_a_term_of_the_loss_is_named_and_its_loss_is_compared_with_no_other():
    seen = sight(
        SightKind.MOVED_BY, operation="penalty", cause_kind=CauseKind.LOSS_TERM, numbers={"index": 0.0, "share": 0.9}
    )
    found = explain(Script(cures=(Change.LOSS_TERM_OFF,), sights=(seen,), detail="penalty (fit.py:8)"))
    (text, *_) = sentences.details(found)
    assert text == "With no penalty (fit.py:8) in the loss, the run does not fail (3 of 3 failing seeds)."
