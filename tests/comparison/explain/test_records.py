"""The text form of a change, and the exit of an explanation into JSON and words."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.records import (
    CauseKind,
    Change,
    ChangedPart,
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
from rectifier.report.sentences import told_explanation
from rectifier.report.sentences.explanation import causes, changes, remedies, verdict
from rectifier.report.sentences.explanation.remedies import place_of
from rectifier.report.sentences.explanation.sights import sight_text, telling
from rectifier.report.sentences.fixes import COMPARE, EXPLAIN, Command, Naming, Tool, typed
from tests.comparison.explain.scripts import Script, explain, stuck

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
    assert set(causes._CAUSES) == set(CauseKind)
    assert set(changes._CHANGES) == set(Change)
    assert set(remedies._LINES) == set(RemedyId)


@pytest.mark.parametrize("cures", [(), (Change.WEIGHT_DECAY_OFF,), (Change.LEAKY_ACTIVATION, Change.PLACEBO)])
def test_an_explanation_goes_into_json_and_words(cures):
    found = explain(Script(cures=cures))
    document = json.loads(json.dumps(explanation_json(found), allow_nan=False))
    assert document["cause"]["kind"] == str(found.cause.kind)
    assert document["remedies"] == [str(one) for one in found.remedies]
    assert len(document["experiments"]) == len(found.experiments)
    assert document["established"] is found.established
    assert verdict.headline(found)
    assert all(text.endswith(".") for text in verdict.details(found))
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
    assert remedies.fix_of(RemedyId.GUARD_OPERATION, found).text == (
        "clamp its argument from below: torch.log(x.clamp_min(1e-6))"
    )
    assert remedies.fix_of(RemedyId.GUARD_OPERATION).text == remedies._LINES[RemedyId.GUARD_OPERATION]


def test_a_cause_is_not_said_twice():
    said = EstablishedCause(
        kind=CauseKind.BATCH_OF_ONE, detail="batches of one", intervention=Intervention(Change.SKIP_BATCHES_OF_ONE)
    )
    assert causes.cause_text(said) == "batches of one sample"


@pytest.mark.parametrize("kind", SightKind)
def test_each_sight_has_a_sentence(kind):
    assert "step 3, fit.py:7: torch.log(p)" in sight_text(sight(kind, operation="log", phase="backward"))


def test_the_line_to_type_has_the_users_numbers_and_place():
    found = explain(Script(cures=(Change.WEIGHT_DECAY_OFF,)))
    (own, *_) = [one for one in found.experiments if one.intervention.change is Change.WEIGHT_DECAY_OFF]
    applied = replace(own.applied, before=0.5, after=0.0, place="fit.py:9", expression="SGD(p, weight_decay=0.5)")
    told = replace(found, experiments=(replace(own, applied=applied),))
    assert remedies.fix_of(RemedyId.LOWER_WEIGHT_DECAY, told).text == "weight_decay=0.01 instead of 0.5"
    assert place_of(told) == "fit.py:9: SGD(p, weight_decay=0.5)"
    assert remedies.fix_of(RemedyId.LOWER_WEIGHT_DECAY, found).text == "weight_decay=0.01, or less"


def test_a_term_of_the_loss_is_named_and_its_loss_is_compared_with_no_other():
    seen = sight(
        SightKind.MOVED_BY, operation="penalty", cause_kind=CauseKind.LOSS_TERM, numbers={"index": 0.0, "share": 0.9}
    )
    found = explain(Script(cures=(Change.LOSS_TERM_OFF,), sights=(seen,), detail="penalty (fit.py:8)"))
    (text, *_) = verdict.details(found)
    assert text == "With no penalty (fit.py:8) in the loss, the run does not fail (3 of 3 failing seeds)."


@pytest.mark.parametrize(("remedy", "change", "parts", "line"), [
    (RemedyId.LEAKY_ACTIVATION, Change.LEAKY_ACTIVATION,
     [ChangedPart(name="relu", path="Net.act")],
     "rectifier run --swap relu=leaky_relu:0.1 fit.py --lr 1"),
    (RemedyId.LEAKY_ACTIVATION, Change.LEAKY_ACTIVATION,
     [ChangedPart(name="relu6", path="Net.act")],
     "rectifier run --swap relu6=leaky_relu:0.1 fit.py --lr 1"),
    (RemedyId.BOUNDED_ACTIVATION, Change.BOUNDED_ACTIVATION,
     [ChangedPart(name=name, path=f"Net.{number}") for number, name in enumerate(("relu", "gelu", "relu"))],
     "rectifier run --swap relu=tanh --swap gelu=tanh fit.py --lr 1"),
    (RemedyId.CHANGE_ACTIVATION, Change.UNSATURATED_ACTIVATION,
     [ChangedPart(name="tanh", path="Net.1")],
     "rectifier run --swap tanh=leaky_relu:0.1 fit.py --lr 1"),
    (RemedyId.BOUNDED_ACTIVATION, Change.BOUNDED_ACTIVATION,
     [ChangedPart(name="relu", place="fit.py:9")],
     "use a bounded activation: torch.nn.Tanh()"),
    (RemedyId.LINEAR_OUTPUT, Change.LINEAR_OUTPUT,
     [ChangedPart(name="sigmoid", path="net.4")], "model.net[4] = torch.nn.Identity()"),
    (RemedyId.LINEAR_OUTPUT, Change.LINEAR_OUTPUT,
     [ChangedPart(name="sigmoid", place="fit.py:9")], "remove sigmoid in fit.py:9"),
    (RemedyId.CHANGE_NORMALISATION, Change.NORMALISATION_OFF,
     [ChangedPart(name="BatchNorm1d", path="0"), ChangedPart(name="LayerNorm", path="head.norm")],
     "model[0] = torch.nn.Identity(); model.head.norm = torch.nn.Identity()"),
    (RemedyId.CHANGE_NORMALISATION, Change.NORMALISATION_OFF,
     [ChangedPart(name="LayerNorm")],
     "remove the normalisation, or use another one"),
    (RemedyId.WEAKEN_LOSS_TERM, Change.LOSS_TERM_OFF,
     [ChangedPart(name="penalty", place="fit.py:8")], "0.1 * penalty instead of penalty"),
    (RemedyId.WEAKEN_LOSS_TERM, Change.LOSS_TERM_OFF,
     [ChangedPart(name="2 * z.abs().sum()", place="fit.py:8")],
     "0.1 * (2 * z.abs().sum()) instead of 2 * z.abs().sum()"),
    (RemedyId.ZERO_BIAS, Change.ZERO_BIAS,
     [ChangedPart(name="parameter", path="net.0.bias")], "torch.nn.init.zeros_(model.net[0].bias)"),
    (RemedyId.ZERO_BIAS, Change.ZERO_BIAS,
     [ChangedPart(name="parameter", path=f"net.{number}.bias") for number in (0, 2)],
     "torch.nn.init.zeros_(layer.bias)"),
])  # fmt: skip
def test_what_replaces_a_part_is_a_line_with_that_part_and_the_users_own_script(remedy, change, parts, line):
    term = sight(
        SightKind.MOVED_BY, cause_kind=CauseKind.LOSS_TERM, numbers={"index": 0.0, "share": 0.9}
    )  # fmt: skip
    sights = (term,) if change is Change.LOSS_TERM_OFF else ()
    found = explain(Script(cures=(change,), parts=tuple(parts), sights=sights))
    own = next(one for one in found.experiments if one.intervention.change is change)
    # Alone, so that it is the first cause whatever else would be.
    cause = EstablishedCause(kind=found.cause.kind, intervention=own.intervention, established=True)
    found = replace(found, cause=cause, remedies=(remedy,))
    assert told_explanation(found, ("fit.py", "--lr", "1")).fixes == (line,)


@pytest.mark.parametrize("argument", ["max_norm", "clip_value"])
def test_a_bound_of_clipping_is_a_line_with_the_users_numbers(argument):
    found = explain(Script(cures=(Change.CLIPPING_OFF,), parts=(ChangedPart(name=argument),)))
    assert found.cause.kind is CauseKind.LEARNING_RATE_LOW
    experiments = tuple(
        replace(one, applied=replace(one.applied, before=1e-4, after=2.34))
        if one.intervention.change is Change.CLIPPING_OFF
        else one
        for one in found.experiments
    )
    assert told_explanation(replace(found, experiments=experiments)).fixes[0] == f"{argument}=2.3 instead of 0.0001"


SWAP = Command(Tool.RUN, "--swap relu=elu")


@pytest.mark.parametrize(("text", "command", "said"), [
    (Naming("Run `{}`: now.", (EXPLAIN,)), ("-m", "own.fit", "a b"), "Run `rectifier explain -m own.fit 'a b'`: now."),
    (Naming("(`{}`)", (COMPARE,)), ("fit.py", "--seed=3"), "(`rectifier compare fit.py '--seed={seed}'`)"),
    (Naming("{} or {}", (EXPLAIN, COMPARE)), ("fit.py", "--seed=3"),
     "rectifier explain fit.py --seed=3 or rectifier compare fit.py '--seed={seed}'"),
    (SWAP, ("fit.py",), "rectifier run --swap relu=elu fit.py"),
    (SWAP, (), "rectifier run --swap relu=elu train.py"),
    ("at train.py:3, {}: rectifier run train.py", ("fit.py",), "at train.py:3, {}: rectifier run train.py"),
])  # fmt: skip
def test_a_command_names_the_users_own_script(text, command, said):
    assert typed(text, command) == said
