"""What earlier versions wrote can be read: `format-1` holds two runs and a comparison as their commit wrote them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from rectifier.cli.commands.report import command
from rectifier.comparison.archive import read_comparison
from rectifier.diagnosis import diagnose
from rectifier.records import AxisSource, Parameter, RunNote, Site, UnitAxis, decode, encode
from rectifier.report.sentences.recorded import why_units_unknown
from rectifier.storage import read_run
from rectifier.storage.earlier import READERS, notes_in_format_1

OLD = Path(__file__).parent / "format-1"


def old_site(text):
    fields = {
        "model": "Net", "path": "act", "call": 0, "activation": "relu", "kind": "module", "source": "net.py:3",
        "units": 5, "unit_axis": text, "fed_by": "fc.weight", "repeated": True,
    }  # fmt: skip
    return READERS[1]["site"](json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("text", "axis", "ndim", "source"),
    [
        ("last of 2 axes, after Addmm", -1, 2, AxisSource.LAYER),
        ("last of 12 axes, after NativeLayerNorm", -1, 12, AxisSource.LAYER),
        ("axis 1 of 4, after Convolution", 1, 4, AxisSource.LAYER),
        ("axis 1 of 3, as said by units=", 1, 3, AxisSource.USER),
        ("last of 3 axes, as said by units=", -1, 3, AxisSource.USER),
        ("unknown: a single number has no units", None, 0, AxisSource.NO_AXES),
        ("unknown: its input has no gradient history", None, 0, AxisSource.NO_HISTORY),
        ("unknown: its input is a leaf, not a layer's output", None, 0, AxisSource.LEAF),
        ("unknown: no layer within 24 operations before it", None, 0, AxisSource.TOO_FAR),
        ("unknown: Transpose before it may have moved the axis", None, 0, AxisSource.OPERATION),
        ("unknown: a view before it may have moved the axis", None, 0, AxisSource.VIEW),
        ("unknown: a view from [7, 5, 3] to [7, 15] mixed the units with other axes", None, 2, AxisSource.MIXING_VIEW),
        ("unknown: the branches of a sum disagree about the axis", None, 0, AxisSource.BRANCHES),
    ],
)
def test_each_sentence_of_format_1_becomes_the_fact_that_it_was_made_of(text, axis, ndim, source):
    site = old_site(text)
    assert (site.unit_axis.axis, site.unit_axis.ndim, site.unit_axis.source) == (axis, ndim, source)
    if axis is None:
        assert f"unknown: {why_units_unknown(site.unit_axis)}" == text
    else:
        assert text.endswith(site.unit_axis.operation or "units=")
    assert (site.model, site.path, site.fed_by, site.repeated) == ("Net", "act", "fc.weight", True)


def test_a_sentence_that_no_version_wrote_is_damage():
    with pytest.raises(ValueError, match="which no version wrote"):
        old_site("somewhere")


def test_a_run_of_format_1_is_read_with_its_units_and_judged():
    run = read_run(OLD / "swapped")
    (process,) = run.processes
    assert [(site.path, site.call, site.units) for site in process.sites] == [("act", 0, 5), ("", 0, 7), ("", 1, None)]
    assert [(site.unit_axis.axis, site.unit_axis.ndim) for site in process.sites[:2]] == [(1, 3), (-1, 3)]
    assert process.sites[2].unit_axis.source is AxisSource.OPERATION
    assert process.sites[1].unit_axis.counts_tokens
    assert [layer.units for layer in diagnose(process).layers] == [5, 7, None]


@pytest.mark.parametrize("folder", ["swapped", "looked"])
def test_a_run_of_format_1_is_reported(folder):
    reported = CliRunner().invoke(command, [str(OLD / folder)])
    assert reported.exit_code == 0, reported.output
    told = {"swapped": "the training met no elu", "looked": "2 times, last after step 9"}
    assert told[folder] in " ".join(reported.output.split())


def test_notes_of_format_1_have_the_names_of_today():
    swapped, looked = (read_run(OLD / folder).notes for folder in ("swapped", "looked"))
    assert RunNote.nothing_swapped("elu") in swapped
    assert RunNote.nothing_swapped("elu") not in looked
    assert (looked[RunNote.LOOKED], looked[RunNote.LAST_LOOK]) == ("2", "9")
    assert {RunNote.TORCH, RunNote.ACTIVATIONS, RunNote.STEPS} <= set(looked)


@pytest.mark.parametrize(("warning", "refused"), [("not treated after step 3: why", True), ("something else", False)])
def test_a_refusal_in_format_1_is_known(warning, refused):
    process = replace(read_run(OLD / "looked").processes[0], warnings=(warning,))
    notes = notes_in_format_1({"recycle": "1 time, last after step 1,234"}, [process])
    assert (notes[RunNote.LOOKED], notes[RunNote.LAST_LOOK]) == ("1", "1234")
    assert (RunNote.NOT_TREATED in notes) == refused


def test_a_comparison_of_format_1_is_read():
    comparison = read_comparison(OLD / "comparison.sqlite")
    assert [(arm.arm, arm.n) for arm in comparison.arms] == [("baseline", 7), ("leaky_relu:0.1", 7), ("placebo", 7)]
    assert len(comparison.trials) == 21


axes = st.builds(
    UnitAxis,
    axis=st.sampled_from([1, -1, None]),
    ndim=st.integers(0, 9),
    source=st.sampled_from(AxisSource),
    operation=st.none() | st.text(max_size=9),
    operations=st.none() | st.integers(0, 99),
    shapes=st.none() | st.tuples(*2 * [st.lists(st.integers(0, 99), max_size=4).map(tuple)]),
)


@given(axes, st.text(max_size=9))
def test_a_site_comes_back_as_it_was_written(axis, path):
    site = Site(
        model="Net", path=path, call=2, activation="relu", kind="module", source=None, units=5, unit_axis=axis
    )  # fmt: skip
    assert decode(encode(site), Site) == site


def test_a_parameter_without_its_dtype_can_be_read():
    known = Parameter(model="Net", path="fc.weight", shape=(5, 7), dtype="float16")
    fields = json.loads(encode(known))
    assert decode(encode(known), Parameter).dtype == fields.pop("dtype") == "float16"
    assert decode(json.dumps(fields).encode(), Parameter) == replace(known, dtype="")
