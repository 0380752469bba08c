"""The driver with trainings that take no time: nothing is lost, nothing is repeated, every end is an outcome."""

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rectifier.comparison.archive import is_comparison, kept_question, open_archive, read_comparison
from rectifier.comparison.question import BASELINE, PLACEBO, Question
from rectifier.comparison.script.driver import Interrupted, run_comparison
from rectifier.comparison.weighing import weigh
from rectifier.errors import CannotKeep, NothingToCompare, UnreadableRun
from rectifier.records import Failure, FailureKind, Trial

QUESTION = Question(
    command=("train.py",),
    script="abc",
    arms=("leaky_relu:0.1", "elu:1.0"),
    seeds=7,
    metric="accuracy",
    summary="final",
    higher_is_better=True,
    margin=None,
    threads=1,
)
GAIN = {"leaky_relu:0.1": 0.3}


def outcome(spec):
    """What this trial gives, always the same: noise from its seed, and a gain for one arm."""
    digest = hashlib.sha256(f"{spec.drawn}{spec.arm}".encode()).hexdigest()
    noise = int(digest[:6], 16) / 16**6 * 0.1
    return Trial(
        arm=spec.arm,
        seed=spec.seed,
        metric=0.4 + noise + GAIN.get(spec.arm, 0),
        seconds=2.0,
        fingerprint=digest,
    )


class Trainings:
    """A launcher that counts, and does something else for the specs it is told."""

    def __init__(self, special=None, wait=0.0):
        self.launched = []
        self.special = special or (lambda spec: None)
        self.wait = wait
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    def __call__(self, spec, question, folder):
        assert folder.is_dir()
        assert list(folder.iterdir()) == []
        with self.lock:
            self.launched.append((spec.arm, spec.seed))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.wait)
        with self.lock:
            self.at_once -= 1
        return self.special(spec) or outcome(spec)


def table(comparison):
    """Everything but the clock."""
    return comparison.arms, comparison.headline, comparison.trials, comparison.notes, comparison.smallest_n


def paths(comparison):
    return [trial.run for trial in comparison.trials]


def test_a_comparison_runs_every_trial_once_and_finds_the_planted_gain(tmp_path):
    trainings = Trainings(wait=0.03)
    told = []
    comparison = run_comparison(QUESTION, tmp_path / "s", trainings, jobs=3, on_progress=told.append)
    assert sorted(trainings.launched) == sorted((spec.arm, spec.seed) for spec in QUESTION.plan())
    assert trainings.launched[0] == (BASELINE, 0)
    assert trainings.most_at_once == 3
    assert comparison.arms[1].verdict == "undecided"
    assert comparison.smallest_n == 8
    assert comparison.arms[-1].arm == PLACEBO
    assert [progress.done for progress in told] == list(range(29))
    assert told[0].seconds_left is None
    assert told[1].seconds_left == pytest.approx(2.0 * 9)
    assert told[-1].seconds_left == 0
    # One seed more than a verdict needs, and only the new trainings run.
    more = Trainings()
    grown = run_comparison(replace(QUESTION, seeds=8), tmp_path / "s", more, jobs=2)
    assert {seed for _, seed in more.launched} == {7}
    assert [arm.verdict for arm in grown.arms] == ["identical", "helped", "undecided", "undecided"]
    assert grown.seconds > 0


def test_the_same_question_again_runs_nothing_and_says_the_same(tmp_path):
    first = run_comparison(QUESTION, tmp_path, Trainings())
    again = Trainings()
    assert table(run_comparison(QUESTION, tmp_path, again)) == table(first)
    assert again.launched == []
    assert table(read_comparison(tmp_path)) == table(first)
    assert table(read_comparison(tmp_path / "comparison.sqlite")) == table(first)
    assert kept_question(tmp_path) == QUESTION
    assert is_comparison(tmp_path)
    assert is_comparison(tmp_path / "comparison.sqlite")
    assert not is_comparison(tmp_path / "trials")
    assert not is_comparison(tmp_path / "absent")


@pytest.mark.parametrize("jobs", [1, 3])
def test_ctrl_c_keeps_what_had_ended_and_the_same_command_goes_on(tmp_path, jobs):
    undisturbed = run_comparison(QUESTION, tmp_path / "calm", Trainings(), jobs=jobs)
    stopped = []

    def interrupt(progress):
        if progress.done == 11:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run_comparison(
            QUESTION,
            tmp_path / "s",
            Trainings(wait=0.01),
            jobs=jobs,
            on_progress=interrupt,
            stop_running=lambda: stopped.append(1),
        )
    assert stopped == [1]
    partial = read_comparison(tmp_path / "s")
    assert len(partial.trials) == 11
    assert "11 of 28" in partial.notes[0]
    rest = Trainings()
    done = run_comparison(QUESTION, tmp_path / "s", rest, jobs=jobs)
    assert len(rest.launched) == 17
    assert not set(rest.launched) & {(trial.arm, trial.seed) for trial in partial.trials}
    assert done.arms == undisturbed.arms
    # Attempts that were cut off keep their folders; no other attempt writes there.
    assert len(set(paths(done))) == 28


DRIVER = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from tests.comparison.script.test_driver import QUESTION, Trainings, outcome
from rectifier.comparison.script.driver import run_comparison
folder = Path({folder!r})
def launcher(spec, question, trial_folder):
    with (folder / "launched").open("a") as file:
        file.write(spec.key + "\\n")
    time.sleep(0.03)
    return outcome(spec)
run_comparison(QUESTION, folder, launcher, jobs=2)
"""


def test_kill_9_of_the_driver_loses_and_repeats_no_finished_trial(tmp_path):
    undisturbed = run_comparison(QUESTION, tmp_path / "calm", Trainings())
    folder = tmp_path / "s"
    folder.mkdir()
    root = str(Path(__file__).parents[3])
    code = DRIVER.format(tests=root, folder=str(folder))
    draws = random.Random(1)
    finished_before: set[str] = set()
    for _ in range(4):
        launched = folder / "launched"
        seen = launched.read_text().count("\n") if launched.exists() else 0
        driver = subprocess.Popen([sys.executable, "-c", code])
        target = seen + draws.randint(2, 7)
        while driver.poll() is None and (not launched.exists() or launched.read_text().count("\n") < target):
            time.sleep(0.003)
        time.sleep(draws.random() * 0.03)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        new = launched.read_text().split()[seen:]
        assert not finished_before & set(new), "a finished trial was run again"
        connection = sqlite3.connect(folder / "comparison.sqlite")
        now = {key for (key,) in connection.execute("SELECT key FROM trials")}
        connection.close()
        assert finished_before <= now, "a finished trial was lost"
        finished_before = now
    rest = Trainings()
    done = run_comparison(QUESTION, folder, rest)
    assert 0 < len(rest.launched) == 28 - len(finished_before)
    assert done.arms == undisturbed.arms
    assert sorted(os.listdir(folder)) == ["comparison.sqlite", "launched", "trials"]


def test_crashes_and_timeouts_are_outcomes_of_their_arm(tmp_path):
    def special(spec):
        if spec.arm == "elu:1.0" and spec.seed in (1, 4):
            return Trial(
                arm=spec.arm, seed=spec.seed, metric=None, failed=Failure(FailureKind.EXIT_CODE, "1"), seconds=1.0
            )
        if (spec.arm, spec.seed) == (BASELINE, 0):
            return Trial(arm=spec.arm, seed=0, metric=None, failed=Failure(FailureKind.TIMED_OUT, "3"), seconds=3.0)
        return None

    comparison = run_comparison(QUESTION, tmp_path, Trainings(special), jobs=2)
    assert [arm.failures for arm in comparison.arms] == [1, 0, 2, 0]
    assert comparison.arms[2].metric.n == 4
    assert len(comparison.trials) == 28


def test_a_script_that_always_crashes_ends_the_comparison_after_two_trainings(tmp_path):
    def launcher(spec, question, folder):
        (folder / "output.txt").write_text("Traceback\nModuleNotFoundError: No module named 'x'\n")
        return Trial(arm=spec.arm, seed=spec.seed, metric=None, failed=Failure(FailureKind.EXIT_CODE, "1"))

    with pytest.raises(NothingToCompare, match=r"fails as it is \(exit code 1\)(?s:.*)No module named 'x'"):
        run_comparison(QUESTION, tmp_path, launcher)
    # Nothing was kept: once the module is installed the same command starts afresh.
    assert run_comparison(QUESTION, tmp_path, Trainings()).arms[0].failures == 0


def test_a_script_without_the_metric_is_told_so_after_one_training(tmp_path):
    trainings = Trainings(lambda spec: Trial(arm=spec.arm, seed=spec.seed, metric=None))
    with pytest.raises(NothingToCompare, match=r"rectifier\.log\('accuracy', value\)"):
        run_comparison(QUESTION, tmp_path, trainings)
    assert len(trainings.launched) == 1
    with pytest.raises(NothingToCompare, match="no loss was seen"):
        run_comparison(replace(QUESTION, metric="loss"), tmp_path, trainings)


def test_divergence_of_the_first_trainings_is_a_result_not_the_end(tmp_path):
    diverged = Trainings(
        lambda spec: (
            Trial(arm=spec.arm, seed=spec.seed, metric=None, failed=Failure(FailureKind.NOT_FINITE, "accuracy"))
            if spec.arm == BASELINE
            else None
        )
    )
    comparison = run_comparison(QUESTION, tmp_path, diverged)
    assert comparison.arms[0].failures == 7
    assert comparison.arms[1].metric is None


def test_identical_seeds_end_the_comparison_early_and_say_how_to_fix_it(tmp_path):
    def copies(spec):
        return Trial(arm=spec.arm, seed=spec.seed, metric=0.5, fingerprint=f"{spec.arm} again", seconds=1.0)

    trainings = Trainings(copies)
    with pytest.raises(NothingToCompare, match=r"identical results(?s:.*)compare train.py --seed \{seed\}"):
        run_comparison(QUESTION, tmp_path, trainings)
    assert trainings.launched == [(BASELINE, 0), (BASELINE, 1)]
    # Asked again, it does not need another training to say so.
    again = Trainings(copies)
    with pytest.raises(NothingToCompare, match="identical results"):
        run_comparison(QUESTION, tmp_path, again)
    assert again.launched == []
    with_seed = replace(QUESTION, command=("train.py", "{seed}"))
    with pytest.raises(NothingToCompare, match="does not reach what the training draws"):
        run_comparison(with_seed, tmp_path / "other", Trainings(copies))


def test_arms_that_change_nothing_end_the_comparison_early(tmp_path):
    """The script has no ReLU, so every arm is the script as it is."""

    def same(spec):
        return Trial(arm=spec.arm, seed=spec.seed, metric=0.5 + spec.drawn, fingerprint=f"{spec.drawn}", seconds=1.0)

    trainings = Trainings(same)
    with pytest.raises(NothingToCompare, match="seems to apply no relu"):
        run_comparison(QUESTION, tmp_path, trainings)
    assert sorted(trainings.launched) == [(BASELINE, 0), (BASELINE, 1), ("elu:1.0", 0), ("leaky_relu:0.1", 0)]

    def one_does(spec):
        return None if spec.arm == "elu:1.0" else same(spec)

    done = run_comparison(QUESTION, tmp_path / "other", Trainings(one_does))
    assert [arm.verdict for arm in done.arms[1:3]] == ["identical", "undecided"]


def test_two_dead_networks_are_no_sign_of_a_fixed_seed(tmp_path):
    def dead(spec):
        if spec.arm == BASELINE and spec.seed < 2:
            return Trial(arm=spec.arm, seed=spec.seed, metric=0.1, fingerprint="21", motionless=True)
        return None

    assert len(run_comparison(QUESTION, tmp_path, Trainings(dead)).trials) == 28


def test_an_error_of_the_driver_itself_stops_the_running_trials(tmp_path):
    stopped = []

    def special(spec):
        if spec.seed == 2:
            raise OSError(28, "No space left on device")

    with pytest.raises(CannotKeep, match=r"No space left.*Free space.*run the same command again"):
        run_comparison(QUESTION, tmp_path, Trainings(special), jobs=2, stop_running=lambda: stopped.append(1))
    assert stopped == [1]


def test_one_driver_at_a_time(tmp_path):
    with open_archive(tmp_path), pytest.raises(NothingToCompare, match="another rectifier compare is at work"):
        run_comparison(QUESTION, tmp_path, Trainings())
    run_comparison(QUESTION, tmp_path, Trainings())


def test_the_single_file_is_whole_without_its_folder(tmp_path):
    first = run_comparison(QUESTION, tmp_path / "s", Trainings())
    assert sorted(os.listdir(tmp_path / "s")) == ["comparison.sqlite", "trials"]
    copy = tmp_path / "kept elsewhere #1?.db"
    shutil.copy(tmp_path / "s" / "comparison.sqlite", copy)
    copy.chmod(0o444)
    assert table(read_comparison(copy)) == table(first)


def test_what_is_no_comparison_is_told(tmp_path):
    with pytest.raises(UnreadableRun, match=r"no file comparison\.sqlite"):
        read_comparison(tmp_path)
    with pytest.raises(UnreadableRun, match="holds no comparison"):
        read_comparison(tmp_path / "absent")
    foreign = tmp_path / "foreign" / "comparison.sqlite"
    foreign.parent.mkdir()
    foreign.write_bytes(b"not a database at all, but long enough to be taken for one" * 20)
    for attempt in (lambda: read_comparison(foreign), lambda: run_comparison(QUESTION, foreign.parent, Trainings())):
        with pytest.raises(UnreadableRun, match="foreign"):
            attempt()
    other = tmp_path / "other.sqlite"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE trials (x INTEGER)")
    connection.commit()
    connection.close()
    with pytest.raises(UnreadableRun, match="not a comparison"):
        read_comparison(other)
    assert kept_question(foreign.parent) is None


def test_a_newer_comparison_is_neither_read_nor_continued(tmp_path):
    run_comparison(QUESTION, tmp_path, Trainings())
    connection = sqlite3.connect(tmp_path / "comparison.sqlite")
    connection.execute("UPDATE study SET value = ? WHERE name = 'format_version'", (json.dumps(99).encode(),))
    connection.commit()
    connection.close()
    for attempt in (lambda: read_comparison(tmp_path), lambda: run_comparison(QUESTION, tmp_path, Trainings())):
        with pytest.raises(UnreadableRun, match="newer version"):
            attempt()


def test_reading_a_comparison_loads_no_torch():
    code = "import sys, rectifier.comparison.archive; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_metric_is_read_from_what_was_trained_and_trained_anew_where_nothing_is_left(tmp_path):
    def asked(spec):
        return replace(outcome(spec), asked=QUESTION.asked)

    run_comparison(QUESTION, tmp_path, Trainings(asked))
    other = replace(QUESTION, metric="loss", higher_is_better=False)
    with open_archive(tmp_path) as archive:
        recorded = archive.trials()
    with pytest.raises(UnreadableRun, match="no training of the script as it is has finished"):
        weigh(other, recorded, 0.0)

    def read_again(trial, question, study):
        assert (question, study) == (other, tmp_path)
        return None if trial.seed == 3 else replace(trial, metric=-trial.metric, asked=question.asked)

    anew = Trainings(lambda spec: replace(outcome(spec), metric=-7.0, asked=other.asked))
    comparison = run_comparison(other, tmp_path, anew, read_again=read_again)
    assert sorted(anew.launched) == sorted((arm, 3) for arm in (BASELINE, *QUESTION.arms, PLACEBO))
    assert {trial.metric for trial in comparison.trials if trial.seed == 3} == {-7.0}
    assert all(trial.metric < 0 for trial in comparison.trials)
    # And back again: what was read for the other metric is not taken for this one.
    back = Trainings(asked)
    run_comparison(QUESTION, tmp_path, back)
    assert len(back.launched) == 4 * QUESTION.seeds
