"""Explanations on disk: read as written, refused where damaged or newer, found again from a run."""

import json
from dataclasses import replace

import pytest

from rectifier.errors import UnreadableRun
from rectifier.records import Change, Intervention, Manifest, Run
from rectifier.storage import explanation_of, is_explanation, read_explanation, write_explanation
from tests.report.builders import make_explanation, make_saved


def a_run(**more):
    manifest = Manifest.of_now("train-1", command=("train.py", "--lr", "0.1"), script="0" * 64, **more)
    return Run(manifest=manifest, processes=())


def test_is_read_as_it_was_written_and_leaves_no_other_file(tmp_path):
    saved = make_saved()
    assert not is_explanation(tmp_path)
    write_explanation(tmp_path, replace(saved, script=None))
    write_explanation(tmp_path, saved)
    assert is_explanation(tmp_path)
    assert read_explanation(tmp_path) == saved
    assert [path.name for path in tmp_path.iterdir()] == ["explanation.json"]


def test_numbers_that_are_not_finite_do_not_make_it_unreadable(tmp_path):
    explanation = make_explanation()
    sight = replace(explanation.sights[0], numbers={"offset": float("inf"), "scale": float("nan"), "rows": 3.0})
    write_explanation(tmp_path, make_saved(replace(explanation, sights=(sight,))))
    assert read_explanation(tmp_path).explanation.sights[0].numbers == {"rows": 3.0}


def test_each_damage_is_one_clear_error(tmp_path):
    write_explanation(tmp_path, make_saved())
    path = tmp_path / "explanation.json"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableRun, match=r"explanation\.json is damaged"):
            read_explanation(tmp_path)
    for deep in (b"[" * 100_000, whole[:-1] + b',"more":' + b"[" * 100_000 + b"]" * 100_000 + b"}"):
        path.write_bytes(deep)
        with pytest.raises(UnreadableRun):
            read_explanation(tmp_path)


def spoiled(path, change):
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(format_version=2, explanation="of the future"), "format 2.*Upgrade"),
        (lambda d: d["explanation"].update(conclusion="fate"), "damaged"),
        (lambda d: d["explanation"]["experiments"][0].update(steps="many"), "damaged"),
        (lambda d: d["explanation"].update(experiments=[]), "no experiment of weight_decay_off"),
        (lambda d: d["explanation"].update(causes=[]), "not the first of all causes"),
        (lambda d: d.pop("command"), "damaged"),
    ],
)
def test_what_no_version_wrote_and_what_a_newer_one_did_are_refused(tmp_path, change, said):
    write_explanation(tmp_path, make_saved())
    spoiled(tmp_path / "explanation.json", change)
    with pytest.raises(UnreadableRun, match=said):
        read_explanation(tmp_path)


def test_is_found_from_a_run_of_the_same_command_and_script(tmp_path):
    folder = tmp_path / "train-1"
    folder.mkdir()
    assert explanation_of(folder, a_run()) is None
    for name, saved in (
        ("explain-1", make_saved(written="2026-11-24T10:00:00+01:00")),
        ("explain-2", make_saved(written="2026-11-25T10:00:00+01:00")),
        ("another-command", make_saved(command=("train.py",), written="2026-11-26T10:00:00+01:00")),
        ("edited", make_saved(script="1" * 64, written="2026-11-27T10:00:00+01:00")),
    ):
        (tmp_path / name).mkdir()
        write_explanation(tmp_path / name, saved)
    found = explanation_of(folder, a_run())
    assert found is not None
    assert found.written.startswith("2026-11-25"), "the latest one"
    # A run with something changed is another one.
    assert explanation_of(folder, a_run(swap=("relu=elu",))) is None
    (tmp_path / "explain-2" / "explanation.json").write_text("{")
    assert explanation_of(folder, a_run()).written.startswith("2026-11-24"), "what cannot be read is passed over"
    # The one that is kept with the run itself goes wherever the run goes.
    write_explanation(folder, make_saved(script="1" * 64, written="2026-11-28T10:00:00+01:00"))
    assert explanation_of(folder, a_run(swap=("relu=elu",))).script == "1" * 64


def test_a_run_of_no_command_finds_none_beside_it(tmp_path):
    for name in ("watched", "explain-1"):
        (tmp_path / name).mkdir()
    write_explanation(tmp_path / "explain-1", make_saved(command=(), script=None))
    run = a_run()
    assert explanation_of(tmp_path / "watched", replace(run, manifest=replace(run.manifest, command=()))) is None


def test_changes_with_a_value_come_back_as_they_were(tmp_path):
    explanation = make_explanation()
    values = [0, 1, 0.5, "train.py:41 sqrt", None]
    trials = tuple(
        replace(explanation.experiments[0], intervention=Intervention(Change.GUARD_OPERATION, value))
        for value in values
    )
    write_explanation(tmp_path, make_saved(replace(explanation, experiments=(*trials, *explanation.experiments))))
    read = read_explanation(tmp_path).explanation.experiments
    assert [one.intervention.value for one in read[: len(values)]] == values
    assert [type(one.intervention.value) for one in read[: len(values)]] == [type(value) for value in values]
