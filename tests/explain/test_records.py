"""The text form of a change, and the exit of an explanation into JSON and words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.records import CauseKind, Change, Intervention, RemedyId, decode, encode
from rectifier.report.json.explanation import explanation_json
from rectifier.report.sentences import explanation as sentences
from tests.explain.scripts import Script, explain

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
