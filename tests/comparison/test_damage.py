"""A comparison's file that is locked, on a full disk, left by a kill, or made by somebody else."""

import json
import os
import resource
import shutil
import sqlite3
import threading
import time
from dataclasses import replace

import pytest

from rectifier.comparison import database
from rectifier.comparison.archive import FILE_NAME, kept_question, open_archive, read_comparison
from rectifier.comparison.question import BASELINE
from rectifier.comparison.script import trial
from rectifier.comparison.script.driver import run_comparison
from rectifier.comparison.script.trial import ScriptLauncher
from rectifier.errors import CannotKeep, UnreadableRun
from rectifier.records import FailureKind, encode
from tests.fuzz.corpus import QUESTION, trial_of
from tests.fuzz.watching import watch_call


def make(folder, kept=100):
    with open_archive(folder) as archive:
        archive.keep_question(QUESTION)
        for spec in list(QUESTION.plan())[:kept]:
            archive.record(spec.key, trial_of(spec, QUESTION))
    return folder / FILE_NAME


def simply(spec, question, folder):
    return trial_of(spec, question)


def reader_of(file):
    """Somebody who reads, and holds a lock meanwhile."""
    connection = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN")
    connection.execute("SELECT * FROM trials").fetchall()
    return connection


def test_a_readers_lock_is_waited_for_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_FIRST_SECONDS", 0.2)
    file = make(tmp_path, kept=3)
    reader = reader_of(file)
    threading.Timer(1.5, reader.close).start()
    said = []
    began = time.monotonic()
    found = run_comparison(QUESTION, tmp_path, simply, say=said.append)
    assert time.monotonic() - began > 1
    assert len(found.trials) > 3
    assert said == [f"{file} is locked by another program; waiting up to 60 s for it"]


def test_a_lock_that_stays_ends_the_comparison_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "PATIENCE_SECONDS", 0.5)
    file = make(tmp_path, kept=3)
    reader = reader_of(file)
    with pytest.raises(CannotKeep, match=r"has been locked by another program.*run the same command again"):
        run_comparison(QUESTION, tmp_path, simply)
    reader.close()
    assert len(run_comparison(QUESTION, tmp_path, simply).trials) > 3


def test_a_full_disk_keeps_what_is_finished(tmp_path):
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    launched = []

    def launch(spec, question, folder):
        launched.append(spec.key)
        return replace(trial_of(spec, question), fingerprint="x" * 4000 + spec.key)

    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, kept[1]))
    try:
        with pytest.raises(CannotKeep, match=r"Free space.*run the same command again: what has ended is kept"):
            run_comparison(QUESTION, tmp_path, launch)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    with open_archive(tmp_path) as archive:
        finished = set(archive.trials())
    assert finished == set(launched[: len(finished)])
    assert len(finished) > 3
    first = launched.copy()
    launched.clear()
    run_comparison(QUESTION, tmp_path, launch)
    assert not finished & set(launched)
    assert set(first[len(finished) :]) <= set(launched)


def killed_while_writing(folder):
    """As a kill leaves it: pages have been written, and the journal to take them back lies beside."""
    file = make(folder, kept=9)
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("PRAGMA cache_spill = 1")
    connection.execute("BEGIN")
    connection.execute("UPDATE trials SET trial = zeroblob(9000)")
    copy = folder.with_name("killed")
    shutil.copytree(folder, copy)
    connection.close()
    assert (copy / f"{FILE_NAME}-journal").stat().st_size > 0
    return copy / FILE_NAME


def test_what_a_kill_left_is_put_right_for_a_reader_that_writes_nothing(tmp_path):
    file = killed_while_writing(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in file.parent.iterdir() if path.is_file()}
    assert len(read_comparison(file.parent).trials) >= 9
    assert {path.name: path.read_bytes() for path in file.parent.iterdir() if path.is_file()} == before
    assert kept_question(file.parent) == QUESTION


def changed(file, *statements):
    connection = sqlite3.connect(file)
    for statement, *values in statements:
        connection.execute(statement, *values)
    connection.commit()
    connection.close()


def with_question(**changes):
    return ("UPDATE study SET value = ? WHERE name = 'question'", (encode(replace(QUESTION, **changes)),))


def with_trial(**changes):
    spec = next(QUESTION.plan())
    return (
        "UPDATE trials SET trial = ? WHERE key = ?",
        (encode(replace(trial_of(spec, QUESTION), **changes)), spec.key),
    )


ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT CAST(i AS TEXT) AS key, x'' AS trial FROM n"
)
DAMAGES = {
    "a view": [("ALTER TABLE trials RENAME TO other",), (f"CREATE VIEW trials AS {ENDLESS}",)],
    "a trigger": [("CREATE TRIGGER t AFTER INSERT ON trials BEGIN DELETE FROM study; END",)],
    "a computed column": [("ALTER TABLE trials ADD COLUMN more AS (key || key)",)],
    "another column": [("ALTER TABLE study RENAME COLUMN value TO other",)],
    "no table": [("DROP TABLE study",)],
    "a number": [("UPDATE trials SET trial = 5",)],
    "a text": [("UPDATE study SET value = 'x' WHERE name = 'format_version'",)],
    "no question": [("UPDATE study SET value = x'7b7d' WHERE name = 'question'",)],
    "a million seeds": [with_question(seeds=10**6, interim=())],
    "no seed": [with_question(seeds=0, interim=())],
    "analyses backwards": [with_question(interim=(5, 3))],
    "an arm twice": [with_question(arms=("half-lr", "half-lr"))],
    "an arm of nobody": [with_question(arms=("reluu",))],
    "no pattern": [with_question(pattern="(")],
    "a margin below 0": [with_question(margin=-1.0)],
    "a seed before all": [with_trial(seed=-1)],
    "more than all are dead": [with_trial(dead_fraction=1.5)],
    "a run elsewhere": [with_trial(run="../../etc")],
    "a run anywhere": [with_trial(run="/etc")],
}  # fmt: skip


def refused(attempt, file):
    seen = watch_call(attempt, allowed=(UnreadableRun,))
    assert (seen.wrong, seen.code) == ("", 2), seen
    assert f"{file} is not a comparison of Rectifier, or it is damaged (" in seen.text
    assert "Copy it again from where it was made" in seen.text


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_strangers_file_is_refused_in_one_line(damage, tmp_path):
    file = make(tmp_path / "s")
    changed(file, *DAMAGES[damage])
    refused(lambda: read_comparison(file), file)
    # Whoever goes on asks anew, and has no need of what was asked before.
    if not any("'question'" in statement[0] for statement in DAMAGES[damage]):
        refused(lambda: run_comparison(QUESTION, file.parent, simply), file)


def test_a_whole_file_is_none_of_these(tmp_path):
    file = make(tmp_path / "s")
    changed(file, with_question(), with_trial())
    assert len(read_comparison(file).trials) > 5


def test_a_newer_version_says_so_whatever_else_it_wrote(tmp_path):
    file = make(tmp_path / "s")
    changed(file, ("UPDATE study SET value = x'7b7d' WHERE name = 'question'",))
    changed(file, ("UPDATE study SET value = ? WHERE name = 'format_version'", (b"99",)))
    with pytest.raises(UnreadableRun, match="written by a newer version"):
        read_comparison(file)


# What a trial does to itself. --------------------------------------------------------------------------------------


def outcome_of(script, tmp_path, **changes):
    path = tmp_path / "train.py"
    path.write_text(script)
    folder = tmp_path / "s" / "trials" / "one"
    folder.mkdir(parents=True)
    question = replace(QUESTION, command=(str(path), "{trial_dir}"), script=None, **changes)
    spec = next(one for one in question.plan() if one.arm == BASELINE)
    return ScriptLauncher(timeout=60)(spec, question, folder)


def test_a_trial_that_deletes_its_folder_has_left_no_record(tmp_path):
    ended = outcome_of(
        "import shutil, sys; from pathlib import Path; shutil.rmtree(Path(sys.argv[1]).parent)", tmp_path
    )
    assert ended.failed is not None
    assert ended.failed.kind is FailureKind.UNREADABLE


def test_a_trial_that_writes_absurd_records_is_that_trials_outcome(tmp_path):
    line = json.dumps(["read", 1.0, 5]) + "\n" + "[" * 100_000 + "\n"
    script = f"""
import sys
from pathlib import Path
run = Path(sys.argv[1]).parent / "run"
(run / "process-1-0.jsonl").write_text("{{}}\\n")
(run / "files-1-0.jsonl").write_text({line!r})
"""
    ended = outcome_of(script, tmp_path)
    assert ended.failed is not None
    assert ended.failed.kind is FailureKind.UNREADABLE
    assert ended.failed.detail.endswith("or repeat the run.")


def test_much_that_was_printed_is_read_in_parts(tmp_path, monkeypatch):
    output = tmp_path / trial.OUTPUT
    output.write_text("".join(f"acc {number}\r\n" for number in range(5000)))
    monkeypatch.setattr(trial, "_PART_BYTES", 100)
    monkeypatch.setattr(trial, "_END_BYTES", 30)
    found = trial._values(None, replace(QUESTION, pattern=r"acc (\d+)$"), tmp_path / "run")
    assert found.tolist() == list(range(5000))
    assert trial.last_lines(tmp_path).endswith("acc 4999")
    assert os.path.getsize(output) > 30
