"""A run folder keeps what was written to it, and says clearly when it is none."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

from rectifier.errors import UnreadableRun
from rectifier.records import (
    FORMAT_VERSION,
    AxisSource,
    Changed,
    Cost,
    Manifest,
    Outcome,
    Series,
    Sight,
    SightKind,
    Site,
    Snapshot,
    SwappedActivation,
    Treated,
    Treatment,
    Unfinished,
    UnitAxis,
    Unseen,
    WhyUnseen,
    Writer,
    codec,
)
from rectifier.report.sentences.recorded import why_unseen
from rectifier.report.sentences.treated import treatment_text
from rectifier.storage import RunWriter, create_run_folder, read_run, write_manifest, write_note, write_outcome

WRITER = Writer(pid=1, rank=0, world_size=1, torch="2.13.0", device="cpu")
SITE = Site(
    model="MLP",
    path="1",
    call=0,
    activation="relu",
    kind="module",
    source=None,
    units=5,
    unit_axis=UnitAxis(axis=-1, ndim=2, source=AxisSource.LAYER, operation="Addmm"),
)


def manifest(folder, **changes):
    fields = {"name": folder.name, "command": ("train.py", "--λ", "1"), "folder": str(folder), "started": "now"}
    return Manifest(**fields | {"rectifier": "0.1.0", "python": "3.11"} | changes)


def snapshot(step, loss=0.5):
    return Snapshot(
        step=step,
        seconds=0.1 * step,
        windows=(),
        series={"loss": Series(steps=np.array([step]), values=np.array([loss]))},
        cost=Cost(
            watching_seconds=0.0,
            training_seconds=1.0,
            observed_steps=step,
            counted_steps=step,
            steps=step,
            interval=1,
            count_interval=1,
        ),
    )


@pytest.fixture
def folder(tmp_path):
    made = create_run_folder(tmp_path / "runs", "train")
    write_manifest(made, manifest(made))
    return made


def write(folder, *steps, writer=WRITER):
    sink = RunWriter(folder)
    sink.record(SITE)
    sink.record(writer)
    for step in steps:
        sink.record(snapshot(step))
    return sink


def process_file(folder):
    (path,) = folder.glob("process-*.jsonl")
    return path


def test_what_is_written_is_read_back(folder):
    sink = write(folder, 3, 7)
    sink.record(Changed("relu became elu:1.0 (MLP.1)"))
    treated = Treated(step=4, name="recycle", text="2 dead units recycled", units={"MLP.1": (0, 6)})
    sink.record(treated)
    sink.record(Unfinished(snapshot(9, loss=float("nan"))))
    write_note(folder, "torch", "2.13.0")
    run = read_run(folder)
    assert run.manifest == manifest(folder)
    assert run.outcome is None, "the script still runs"
    assert run.notes == {"torch": "2.13.0"}
    (process,) = run.processes
    assert (process.writer, process.sites, process.changes) == (WRITER, (SITE,), ("relu became elu:1.0 (MLP.1)",))
    assert process.treated == (treated,)
    assert process.series("loss").steps.tolist() == [3, 7, 9]
    assert np.isnan(process.series("loss").values[-1])
    sink.record(snapshot(11))
    sink.close()
    write_outcome(folder, Outcome(exit_code=3, seconds=1.5))
    run = read_run(folder)
    assert run.processes[0].series("loss").steps.tolist() == [3, 7, 11], "a finished window replaces the unfinished one"
    assert run.outcome == Outcome(exit_code=3, seconds=1.5)


def test_no_folder_is_ever_used_twice(tmp_path):
    folders = [create_run_folder(tmp_path / "runs", "../my train;x") for _ in range(5)]
    assert len(set(folders)) == 5
    assert {folder.parent for folder in folders} == {tmp_path / "runs"}
    assert all(folder.name.startswith("my-train-x-") for folder in folders)


def test_names_that_are_no_names(tmp_path):
    assert create_run_folder(tmp_path, "...").name.startswith("run-")
    assert len(create_run_folder(tmp_path, "é" * 300).name) < 128


def test_a_temporary_folder_where_none_can_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    folder = create_run_folder(tmp_path / "file" / "runs", "train")
    assert folder.is_relative_to(tmp_path / "temporary")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(OSError, match="file"):
        create_run_folder(tmp_path / "file" / "runs", "train")


def test_two_writers_of_one_process_have_two_files(folder):
    write(folder, 1).close()
    write(folder, 2, writer=Writer(pid=1, rank=1, world_size=2, torch="", device="cpu")).close()
    assert [process.writer.rank for process in read_run(folder).processes] == [0, 1]


def test_a_process_that_never_trains_leaves_no_file(folder):
    sink = RunWriter(folder)
    sink.record(SITE)
    sink.close()
    assert read_run(folder).processes == ()


def test_a_fork_writes_what_is_its_own(folder):
    sink = RunWriter(folder)
    sink.record(Changed("relu became elu:1.0 (MLP.1)"))
    sink.record(SITE)
    sink.record(WRITER)
    sink.record(snapshot(1))
    child = os.fork()
    if child == 0:
        sink.record(SITE)
        sink.record(Writer(pid=2, rank=1, world_size=2, torch="", device="cpu"))
        sink.record(snapshot(5))
        os._exit(0)
    os.waitpid(child, 0)
    sink.record(snapshot(3))
    ours, forked = read_run(folder).processes
    assert (ours.series("loss").steps.tolist(), forked.series("loss").steps.tolist()) == ([1, 3], [5])
    assert ours.sites == forked.sites == (SITE,)
    assert ours.changes == forked.changes == ("relu became elu:1.0 (MLP.1)",)


# What cannot be read. --------------------------------------------------------------------------------------------


def cut_in_the_middle(folder):
    path = process_file(folder)
    text = path.read_bytes()
    path.write_bytes(text[:40] + text[60:])


def with_version(folder):
    write_manifest(folder, manifest(folder, rectifier="9.0", format_version=FORMAT_VERSION + 1))


def without_beginning(folder):
    path = process_file(folder)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def with_bytes_for_a_manifest(folder):
    (folder / "run.json").write_bytes(b"\x00\xff")


def of_somebody_else(folder):
    (folder / "run.json").write_text(json.dumps({"model": "resnet", "epochs": 90}))


def with_a_bomb(folder):
    array = {"dtype": "<f8", "shape": [1 << 40], "zlib": "eJwDAAAAAAE="}
    line = {"kind": "snapshot", "data": {"step": 1, "seconds": 1, "windows": [], "cost": None, "series": array}}
    process_file(folder).write_bytes(process_file(folder).read_bytes() + json.dumps(line).encode() + b"\n")


DAMAGES = {
    cut_in_the_middle: r"process-.*\.jsonl, line 1 is damaged or not Rectifier's: ",
    with_version: "was written by rectifier 9.0 in format 4; this version reads up to 3. Upgrade with",
    without_beginning: "does not begin with the process that wrote it",
    with_bytes_for_a_manifest: r"run\.json is damaged or not Rectifier's: ",
    of_somebody_else: r"run\.json is damaged or not Rectifier's: .*`rectifier`",
    with_a_bomb: r"line 5 is damaged",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_named_with_its_place(damage, folder):
    write(folder, 1, 2).close()
    damage(folder)
    with pytest.raises(UnreadableRun, match=DAMAGES[damage]):
        read_run(folder)


def test_what_is_no_run_folder(tmp_path):
    (tmp_path / "file").write_text("{}")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableRun, match=r"there is no .*nowhere"):
        read_run(tmp_path / "nowhere")
    for name in ("file", "empty"):
        with pytest.raises(UnreadableRun, match=rf"{name} is not a run: it has no run\.json"):
            read_run(tmp_path / name)


def test_a_torn_tail_loses_the_torn_line_only(folder):
    write(folder, 1, 2, 3).close()
    path = process_file(folder)
    path.write_bytes(path.read_bytes()[:-1])
    assert read_run(folder).processes[0].series("loss").steps.tolist() == [1, 2]
    (folder / "notes.jsonl").write_bytes(b'{"torch":"2.13.0"}\n{"ste')
    assert read_run(folder).notes == {"torch": "2.13.0"}


def test_a_full_disk_costs_one_warning_and_nothing_that_was_recorded(folder):
    script = f"""
import resource, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.storage.test_runs import SITE, WRITER, snapshot
from rectifier.records import Unfinished
from rectifier.storage import RunWriter
sink = RunWriter(Path({str(folder)!r}))
sink.record(SITE), sink.record(WRITER), sink.record(snapshot(1))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
for step in range(2, 50):
    sink.record(Unfinished(snapshot(step))), sink.record(snapshot(step))
sink.close()
assert "torch" not in sys.modules
print("the training went on")
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout == "the training went on\n"
    assert ran.stderr.startswith(f"rectifier: cannot write to {folder}: File too large; the training goes on")
    assert ran.stderr.count("\n") == 1
    assert process_file(folder).stat().st_size == 1000, "the last line is torn"
    assert len(read_run(folder).processes[0].series("loss").steps) >= 1


def test_two_threads_never_put_together_what_is_known_of_a_kind_at_the_same_time(monkeypatch):
    """msgspec lets others see a dataclass's fields while they are filled in; a driver's threads died of it."""
    at_once, most, real = 0, 0, msgspec.json.Decoder

    def slow(*args, **kwargs):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.05)
        at_once -= 1
        return real(*args, **kwargs)

    monkeypatch.setattr(msgspec.json, "Decoder", slow)
    monkeypatch.setattr(codec, "_decoders", {})
    line = codec.encode(snapshot(3))
    with ThreadPoolExecutor(6) as pool:
        kinds = [Snapshot, Site, Snapshot, tuple[Snapshot, ...], Writer, Snapshot]
        results = [pool.submit(codec.decode, line, kind) for kind in kinds]
    assert results[0].result().step == 3
    assert most == 1


def test_what_formats_1_and_2_told_in_words_is_still_told(folder):
    write(folder, 3).close()
    path = process_file(folder)
    lines = [
        {"kind": "unseen", "data": {"what": "a ReLU", "reason": "called by another name"}},
        {"kind": "treated", "data": {"step": 4, "name": "recycle", "text": "2 dead units", "units": {"MLP.1": [0, 6]}}},
    ]
    path.write_text(path.read_text() + "".join(json.dumps(line) + "\n" for line in lines))
    (process,) = read_run(folder).processes
    assert [why_unseen(one) for one in process.unseen] == ["called by another name"]
    (treated,) = process.treated
    assert (treatment_text(treated), treated.units) == ("2 dead units", {"MLP.1": (0, 6)})


def test_why_something_was_not_seen_and_what_a_treatment_did_are_read_back_as_facts(folder):
    sink = write(folder, 3)
    unseen = Unseen(what="a ReLU", why=WhyUnseen.BOUND_EARLY)
    swapped = SwappedActivation(old="relu", new="elu:1.0", places=tuple("abcdefgh"))
    treated = Treated(step=4, name=Treatment.SWAP, swapped=swapped)
    sink.record(unseen)
    sink.record(treated)
    sink.close()
    (process,) = read_run(folder).processes
    assert (process.unseen, process.treated) == ((unseen,), (treated,))
    assert "bound before watching began" in why_unseen(process.unseen[0])
    assert treatment_text(treated) == "relu became elu:1.0 (a, b, c, d, e, f and 2 more)"


@pytest.mark.parametrize("ends", ["raise SystemExit(3)", "raise KeyError('x')", "pass"])
@pytest.mark.parametrize("steps", [3, 16, 29, 65])
def test_a_training_that_ends_within_a_step_can_be_read(tmp_path, ends, steps):
    (tmp_path / "fit.py").write_text(
        "import torch\n"
        "model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))\n"
        "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        f"for step in range({steps}):\n"
        "    optimizer.zero_grad()\n"
        "    model(torch.randn(7, 3)).square().mean().backward()\n"
        "    optimizer.step()\n"
        "model(torch.randn(7, 3)).square().mean().backward()\n"
        f"{ends}\n"
    )
    subprocess.run([sys.executable, "-m", "rectifier", "run", "fit.py"], cwd=tmp_path, capture_output=True, check=False)
    (folder,) = (tmp_path / "rectifier-runs").iterdir()
    (process,) = read_run(folder).processes
    assert len(process.series("loss").steps) >= steps


def test_a_sight_with_numbers_that_json_lacks_is_read_back_without_them(folder):
    sink = write(folder, 3)
    sink.record(
        Sight(kind=SightKind.FIRST_NONFINITE, numbers={"share": 0.5, "value": float("nan"), "most": float("inf")})
    )
    (process,) = read_run(folder).processes
    assert [one.numbers for one in process.sights] == [{"share": 0.5}]
