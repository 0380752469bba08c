"""Trainings that pass files to each other are found out, and only those."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rectifier.comparison.archive import open_archive
from rectifier.comparison.script.driver import run_comparison
from rectifier.comparison.script.isolation import passed_files
from rectifier.errors import NothingToCompare
from rectifier.records import Trial
from rectifier.storage.touched import TouchWriter
from rectifier.storage.touched_reading import read_touched
from tests.comparison.script.test_driver import QUESTION, outcome


def lay(folder, *openings):
    folder.mkdir(exist_ok=True)
    lines = [json.dumps([kind, at, path]) for kind, at, path in openings]
    (folder / "files-1.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def passed(tmp_path, reader, writer):
    runs = {"r": lay(tmp_path / "r", *reader), "w": lay(tmp_path / "w", *writer)}
    found = passed_files("r", runs)
    # On another machine what a training wrote is known when it has ended, which may be after the reader.
    assert passed_files("w", runs) == found
    return [(file.path, file.writer, file.reader) for file in found]


@pytest.mark.parametrize(
    ("reader", "writer", "shared"),
    [
        ([("read", 9, "/a")], [("write", 5, "/a")], True),
        ([("read", 5, "/a")], [("write", 9, "/a")], False),
        ([("read", 9, "/b")], [("write", 5, "/a")], False),
        ([("write", 9, "/a")], [("write", 5, "/a")], False),
        ([("read", 9, "/a")], [("read", 5, "/a")], False),
        # It wrote the file anew before it read it ...
        ([("write", 7, "/a"), ("read", 9, "/a")], [("write", 5, "/a")], False),
        # ... or only afterwards, as a training does that goes on from a checkpoint ...
        ([("read", 7, "/a"), ("write", 9, "/a")], [("write", 5, "/a")], True),
        # ... or while the other was still at it, so that nobody knows whose it read.
        ([("write", 7, "/a"), ("read", 9, "/a")], [("write", 5, "/a"), ("write", 8, "/a")], True),
    ],
)
def test_a_file_is_passed_on_when_it_is_read_after_another_wrote_it(reader, writer, shared, tmp_path):
    assert passed(tmp_path, reader, writer) == ([("/a", "w", "r")] if shared else [])


@given(st.binary(max_size=60))
def test_a_torn_or_foreign_line_is_passed_over(tmp_path_factory, rubbish):
    folder = lay(tmp_path_factory.mktemp("run"), ("read", 3.5, "/ä \n"))
    with (folder / "files-1.jsonl").open("ab") as file:
        file.write(rubbish)
    assert read_touched(folder)["/ä \n"].first_read == 3.5


def test_the_same_opening_is_written_once_a_second_and_the_first_and_last_are_known(tmp_path):
    writer = TouchWriter(tmp_path)
    for tenths in range(100, 146):
        writer.note("read", "/a", tenths / 10)
    (file,) = tmp_path.iterdir()
    assert len(file.read_bytes().splitlines()) == 5
    touched = read_touched(tmp_path)["/a"]
    assert (touched.first_read, touched.last_read, touched.first_write) == (10.0, 14.0, None)


PROGRAM = """
import os, shutil, sys, sqlite3, time, torch
from pathlib import Path
from rectifier.launch.file_access import record_files
here = Path(sys.argv[1])
(here / "own").mkdir(); (here / "run").mkdir()
(here / "old.txt").write_text("before")
os.utime(here / "old.txt", (1, 1))
record_files(here / "run", since=time.time() - 60, own=[str(here / "own")])
(here / "old.txt").read_text()
(here / "own" / "x").write_text("own")
(here / "text").write_text("1"); (here / "text").read_text()
with (here / "log").open("a") as log: log.write("2")
with (here / "archive").open("w+b") as archive: archive.write(b"3")
with (here / "archive").open("w+b") as archive: archive.write(b"3")
torch.save({}, here / "saved.pt"); torch.load(here / "saved.pt")
torch.save({}, here / "ä.pt")
(here / "part").write_text("3"); os.replace(here / "part", here / "renamed")
shutil.copy(here / "text", here / "copied")
sqlite3.connect(here / "db.sqlite").close()
for wrong in ("missing", 10**6):
    try: open(here / wrong if wrong == "missing" else wrong)
    except OSError: pass
os.chdir(here); open("relative", "w").close(); os.symlink("relative", "link"); open("link").read()
if os.fork() == 0:
    open("forked", "w").close(); os._exit(0)
os.wait()
import colorsys  # a module of the standard library
"""


def test_what_is_seen_of_a_process(tmp_path):
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True)
    found = read_touched(tmp_path / "run")
    kinds = {
        path.removeprefix(f"{tmp_path}/"): "".join(
            letter for letter, at in (("r", touched.first_read), ("w", touched.first_write)) if at is not None
        )
        for path, touched in found.items()
    }
    assert kinds == {
        "text": "rw", "log": "w", "archive": "w",
        "saved.pt": "rw", "ä.pt": "w", "part": "w", "renamed": "w", "copied": "w",
        "db.sqlite": "w", "relative": "rw", "forked": "w",
    }  # fmt: skip


class Passing:
    """Trainings of which each arm's goes on from what the one before it left."""

    def __init__(self, path, only_first_time=False):
        self.path, self.only_first_time, self.time = path, only_first_time, 0

    def __call__(self, spec, question, folder):
        self.time += 1
        run = folder / "run"
        kinds = ["read", "write"] if self.time > 1 else ["write"]
        if self.only_first_time and self.time > 2:
            kinds = ["read"]
        lay(run, *((kind, self.time + number / 10, self.path) for number, kind in enumerate(kinds)))
        return outcome(spec)


def test_a_comparison_that_passes_files_on_ends_and_names_them(tmp_path):
    passed_on = r"baseline, seed 1 read /best\.pt after baseline, seed 0 had written it"
    with pytest.raises(NothingToCompare, match=passed_on):
        run_comparison(QUESTION, tmp_path, Passing("/best.pt"))
    with open_archive(tmp_path) as archive:
        assert archive.trials() == {}, "neither of the two is kept"


def test_a_cache_that_the_first_training_filled_is_there_for_the_next_command(tmp_path):
    launcher = Passing("/cache.pt", only_first_time=True)
    with pytest.raises(NothingToCompare, match="type the same command again"):
        run_comparison(QUESTION, tmp_path, launcher)
    comparison = run_comparison(QUESTION, tmp_path, launcher)
    assert len(comparison.trials) == 4 * QUESTION.seeds
    assert all(isinstance(trial, Trial) and trial.failed is None for trial in comparison.trials)
