"""A run folder that somebody else has filled: one clear error, in time, and without more memory than its files ask."""

import json
import os
import threading
import time
import zlib
from base64 import b64encode
from dataclasses import replace

import numpy as np
import pytest

from rectifier.errors import UnreadableRun
from rectifier.records import Feeds, Manifest, Series, Unfinished, Writer, encode
from rectifier.storage import RunWriter, read_run, write_manifest, write_note
from tests.fuzz.watching import watch_call
from tests.report.builders import make_process

WRITER = Writer(pid=1, rank=0, world_size=1, torch="2.13.0", device="cpu")


def write(folder, process, *more):
    folder.mkdir()
    write_manifest(folder, Manifest.of_now("train", folder=str(folder)))
    sink = RunWriter(folder)
    for fact in (WRITER, *process.sites, *process.snapshots, *more):
        sink.record(fact)
    (path,) = folder.glob("process-*.jsonl")
    return path


def with_window(**changes):
    process = make_process()
    first = process.snapshots[0]
    window = replace(first.windows[0], **changes)
    return replace(process, snapshots=(replace(first, windows=(window, *first.windows[1:])), *process.snapshots[1:]))


def with_snapshot(**changes):
    process = make_process()
    return replace(process, snapshots=(replace(process.snapshots[0], **changes), *process.snapshots[1:]))


FOUR = np.arange(4)
INCONSISTENT = {
    "units": (with_window(mean=np.zeros(12)), "snapshot 1, of step 19: `mean` of site 0 has 12 numbers for 13 units"),
    "steps": (with_window(update=np.zeros(3)), "`update` of site 0 has 3 numbers for 10 steps"),
    "no step": (with_window(steps=FOUR[:0], delta=np.zeros(0), update=np.zeros(0)), "site 0 has no step"),
    "backwards": (with_window(steps=np.arange(18, -1, -2)), "the steps of site 0 do not ascend"),
    "site": (with_window(site=7), "it counts site 7 of 3"),
    "series": (
        with_snapshot(series={"x": Series(steps=FOUR, values=np.zeros(5))}),
        "5 values at 4 steps in the series",
    ),
    "order": (with_snapshot(step=99), "snapshot 2, of step 39: it comes after step 99"),
}


@pytest.mark.parametrize("what", INCONSISTENT)
def test_what_does_not_fit_together_is_named(what, tmp_path):
    process, text = INCONSISTENT[what]
    path = write(tmp_path / "run", process)
    with pytest.raises(UnreadableRun) as error:
        read_run(tmp_path / "run")
    assert str(error.value).startswith(f"{path} is damaged or not Rectifier's: snapshot ")
    assert text in str(error.value)
    assert str(error.value).endswith("Copy the folder again from where it was made, or repeat the run.")


def test_whole_facts_are_read(tmp_path):
    write(tmp_path / "run", make_process())
    assert len(read_run(tmp_path / "run").processes[0].snapshots) == 9


def test_a_feed_of_no_site(tmp_path):
    write(tmp_path / "run", make_process(), Feeds(pairs=((0, 3),)))
    with pytest.raises(UnreadableRun, match="it counts site 3 of 3"):
        read_run(tmp_path / "run")


def array_of(numbers, dtype="<i4", shape=None):
    packed = b64encode(zlib.compress(np.asarray(numbers, dtype).tobytes())).decode()
    return {"dtype": dtype, "shape": [len(numbers)] if shape is None else shape, "zlib": packed}


def changed(path, kind, change):
    """Change the first fact of a kind, as JSON."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    change(next(line["data"] for line in lines if line["kind"] == kind))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


FIELDS = {
    "a matrix": ("snapshot", lambda data: data["windows"][0].update(mean=array_of([0.0] * 13, "<f8", [13, 1]))),
    "reals for counts": ("snapshot", lambda data: data["windows"][0].update(fired=array_of([0.0] * 13, "<f8"))),
    "flags for reals": ("snapshot", lambda data: data["windows"][0].update(mean=array_of([True] * 13, "|b1"))),
    "a step long before all": (
        "snapshot",
        lambda data: data["windows"][0].update(last_fired=array_of([-(2**62)] * 13, "<i8")),
    ),
    "a huge count": ("snapshot", lambda data: data["windows"][0].update(fired=array_of([2**62] * 13, "<i8"))),
    "negative units": ("site", lambda data: data.update(units=-1)),
    "an axis in the middle": ("site", lambda data: data["unit_axis"].update(axis=3)),
    "a huge step": ("snapshot", lambda data: data.update(step=10**30)),
    "no interval": ("snapshot", lambda data: data["cost"].update(interval=0)),
}


@pytest.mark.parametrize("what", FIELDS)
def test_a_field_that_no_version_writes_is_named_with_its_line(what, tmp_path):
    kind, change = FIELDS[what]
    path = write(tmp_path / "run", make_process())
    changed(path, kind, change)
    line = 2 if kind == "site" else 5
    with pytest.raises(UnreadableRun, match=rf"\.jsonl, line {line} is damaged or not Rectifier's: .* at `\$"):
        read_run(tmp_path / "run")


def test_many_small_arrays_that_unpack_to_much_are_refused_together(tmp_path):
    path = write(tmp_path / "run", make_process())
    bomb = array_of(np.zeros(8_000_000), "<i4")
    lines = path.read_bytes()
    snapshot = json.loads(lines.splitlines()[-1])
    for name in ("fired", "last_fired", "silent_visits"):
        snapshot["data"]["windows"][0][name] = bomb
    path.write_bytes(lines + (json.dumps(snapshot).encode() + b"\n") * 30)
    seen = watch_call(lambda: read_run(tmp_path / "run"), allowed=(UnreadableRun,), room=path.stat().st_size)
    assert (seen.wrong, seen.code) == ("", 2)
    assert "its arrays unpack to far more than their file holds" in seen.text


@pytest.mark.parametrize("name", ["process-1-0.jsonl", "notes.jsonl", "outcome.json", "explanation.json"])
def test_pipes_and_links_are_no_files(name, tmp_path):
    from rectifier.cli.commands.report import command

    write(tmp_path / "run", make_process())
    place = tmp_path / "run" / name
    os.mkfifo(place)
    seen = watch_call(lambda: command.main([str(tmp_path / "run")]), allowed=(UnreadableRun,))
    assert seen.wrong == ""
    if name != "explanation.json":
        assert f"{place} is no regular file" in seen.text
    place.unlink()
    place.symlink_to("/dev/zero")
    seen = watch_call(lambda: command.main([str(tmp_path / "run")]), allowed=(UnreadableRun,))
    assert seen.wrong == ""


def test_a_newer_version_says_so_whatever_else_it_wrote(tmp_path):
    write(tmp_path / "run", make_process())
    (tmp_path / "run" / "run.json").write_text('{"format_version": 99, "rectifier": "9.0", "shape": {}}')
    with pytest.raises(UnreadableRun, match=r"was written by rectifier 9\.0 in format 99; .*Upgrade"):
        read_run(tmp_path / "run")


def test_a_world_of_ten_billion_ranks_is_not_counted_out(tmp_path):
    path = write(tmp_path / "run", make_process())
    for rank in range(2):
        writer = replace(WRITER, rank=rank, world_size=10**10, replica=True)
        line = b'{"kind":"writer","data":' + encode(writer) + b"}\n"
        path.with_name(f"process-{rank}-0.jsonl").write_bytes(line + b"".join(path.read_bytes().splitlines(True)[1:]))
    path.unlink()
    seen = watch_call(lambda: read_run(tmp_path / "run"), allowed=(UnreadableRun,))
    assert (seen.wrong, seen.code) == ("", 0)


def test_notes_that_hold_no_numbers_say_nothing(tmp_path):
    write(tmp_path / "run", make_process())
    write_note(tmp_path / "run", "looked_for_dead_units", "often")
    write_note(tmp_path / "run", "last_look_for_dead_units", "20")
    assert "looked_for_dead_units" not in read_run(tmp_path / "run").notes


def test_a_model_may_have_a_number_sign_in_its_name():
    site = replace(make_process().sites[0], model="Net#one")
    assert (site.ref.number, replace(site, model="Net#2").ref.number) == (1, 2)


def test_whoever_reads_while_it_is_written_never_sees_half_a_site(tmp_path):
    """The window that is unfinished may name a site that came after the process's file was read."""
    base = make_process()
    folder = tmp_path / "run"
    path = write(folder, replace(base, snapshots=()))
    sink = RunWriter(folder)
    sink.record(WRITER)
    path.unlink()
    ended = threading.Event()

    def go_on():
        for number in range(100_000):
            if ended.is_set():
                return
            sink.record(replace(base.sites[0], path=f"layer.{number}"))
            window = replace(
                base.snapshots[0].windows[0], site=number, steps=base.snapshots[0].windows[0].steps + number
            )
            sink.record(Unfinished(replace(base.snapshots[0], step=19 + number, windows=(window,))))

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        until, reads = time.monotonic() + 2, 0
        while time.monotonic() < until:
            read_run(folder)
            reads += 1
    finally:
        ended.set()
        writer.join()
    assert reads > 5
