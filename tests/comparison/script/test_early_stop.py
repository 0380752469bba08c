"""Early stopping by the driver: settled arms are trained no more; a study that was cut off ends in the same table."""

import random
from dataclasses import replace

import pytest

from rectifier.comparison.archive import open_archive, read_comparison
from rectifier.comparison.question import BASELINE, PLACEBO, RESTART
from rectifier.comparison.script.driver import Interrupted, run_comparison
from rectifier.records import encode
from tests.comparison.script.test_driver import QUESTION, Trainings, table

INTERIM = (9, 11, 14)
INTERIM = replace(QUESTION, seeds=14, interim=INTERIM)
"""Arms: leaky_relu:0.1 with a gain that the first analysis finds, elu:1.0 without any."""


def test_a_decided_arm_is_trained_no_more(tmp_path):
    trainings, told = Trainings(), []
    comparison = run_comparison(INTERIM, tmp_path, trainings, jobs=2, on_progress=told.append)
    seeds = {
        arm: {seed for name, seed in trainings.launched if name == arm} for arm in (BASELINE, *INTERIM.arms, PLACEBO)
    }
    assert seeds["leaky_relu:0.1"] == set(range(9))
    assert seeds[BASELINE] == seeds["elu:1.0"] == seeds[PLACEBO] == set(range(14))
    assert [(arm.arm, arm.verdict, arm.stopped_at, arm.n) for arm in comparison.arms] == [
        (BASELINE, "identical", None, 14),
        ("leaky_relu:0.1", "helped", 9, 9),
        ("elu:1.0", "undecided", None, 14),
        (PLACEBO, "undecided", None, 14),
    ]
    assert not any("Unfinished" in note for note in comparison.notes)
    # What is foretold: all of it, or up to the next analysis.
    after_first = told[1]
    assert (after_first.total, after_first.least) == (4 * 14, 4 * 9)
    assert after_first.least_seconds_left == pytest.approx(2.0 * 18)
    assert after_first.seconds_left == pytest.approx(2.0 * 28)
    interim = [
        (progress.analysis, [row.arm for row in progress.decided]) for progress in told if progress.analysis is not None
    ]
    assert interim == [(9, ["leaky_relu:0.1"]), (11, []), (14, [])]
    assert (told[-1].done, told[-1].total) == (4 * 14 - 5, 4 * 14 - 5)


def test_the_comparison_ends_when_every_arm_is_decided(tmp_path):
    comparison = run_comparison(replace(INTERIM, arms=("leaky_relu:0.1",)), tmp_path, trainings := Trainings())
    assert {seed for _, seed in trainings.launched} == set(range(9))
    assert [arm.n for arm in comparison.arms] == [9, 9, 9]
    assert comparison.arms[1].stopped_at == 9
    assert not any("Unfinished" in note for note in comparison.notes)


def test_a_restart_is_decided_by_the_trainings_that_it_is_made_of(tmp_path):
    comparison = run_comparison(replace(INTERIM, arms=(RESTART, "leaky_relu:0.1")), tmp_path, trainings := Trainings())
    # Nothing fails, so the restart is the script as it is; and then every arm is settled.
    assert [(arm.arm, arm.verdict, arm.n) for arm in comparison.arms[1:3]] == [
        (RESTART, "identical", 9),
        ("leaky_relu:0.1", "helped", 9),
    ]
    assert len(trainings.launched) == 3 * 9


@pytest.mark.parametrize("jobs", [1, 3])
def test_wherever_it_is_cut_off_it_ends_in_the_same_table_with_the_same_analyses(tmp_path, jobs):
    calm = run_comparison(INTERIM, tmp_path / "calm", undisturbed := Trainings(), jobs=jobs)
    draws, launched, cuts = random.Random(jobs), [], 0
    while True:
        stop = draws.randint(1, 20)

        def interrupt(progress, already=[0], stop=stop):  # noqa: B006 (counts the calls of this attempt)
            already[0] += 1
            if already[0] > stop:
                raise KeyboardInterrupt

        trainings = Trainings()
        try:
            done = run_comparison(INTERIM, tmp_path / "s", trainings, jobs=jobs, on_progress=interrupt)
        except Interrupted:
            launched += trainings.launched
            cuts += 1
            assert cuts < 100
            continue
        break
    assert cuts > 2
    assert done.arms == calm.arms
    assert [replace(trial, run=None) for trial in done.trials] == [replace(trial, run=None) for trial in calm.trials]
    assert set(launched + trainings.launched) == set(undisturbed.launched)
    again = Trainings()
    assert (
        table(run_comparison(INTERIM, tmp_path / "s", again)) == table(done) == table(read_comparison(tmp_path / "s"))
    )
    assert again.launched == []


def test_what_was_trained_without_analyses_is_judged_by_analyses_only_as_far_as_they_go(tmp_path):
    without = replace(INTERIM, interim=())
    run_comparison(without, tmp_path, Trainings())
    analysed = run_comparison(INTERIM, tmp_path, again := Trainings())
    assert again.launched == []
    calm = run_comparison(INTERIM, tmp_path / "calm", Trainings())
    assert analysed.arms == calm.arms
    # A second plan on the same trainings is a second chance of a false alarm, and that is told.
    (note,) = [note for note in analysed.notes if "judged before" in note]
    assert "at 14 seeds" in note
    assert "in 5 of 100 comparisons, all 2 together in up to 10" in note
    assert not any("judged before" in note for note in calm.notes)


def test_a_plan_that_was_cut_off_after_an_analysis_is_told_to_the_next_one(tmp_path):
    def interrupt(progress):
        if progress.analysis == 9:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run_comparison(INTERIM, tmp_path, Trainings(), on_progress=interrupt)
    assert not any("judged before" in note for note in read_comparison(tmp_path).notes)
    other = run_comparison(replace(INTERIM, seeds=9, interim=()), tmp_path, Trainings())
    (note,) = [note for note in other.notes if "judged before" in note]
    assert note.startswith("These trainings were judged before, at 9, 11 and 14 seeds. ")


def test_other_arms_on_the_same_trainings_are_another_plan(tmp_path):
    both = replace(INTERIM, seeds=9, interim=())
    run_comparison(both, tmp_path, Trainings())
    # In another order it is the same question.
    swapped = run_comparison(replace(both, arms=both.arms[::-1]), tmp_path, Trainings())
    assert not any("judged before" in note for note in swapped.notes)
    fewer = run_comparison(replace(both, arms=("leaky_relu:0.1",)), tmp_path, again := Trainings())
    assert again.launched == []
    (note,) = [note for note in fewer.notes if "judged before" in note]
    assert "at 9 seeds for elu:1.0, leaky_relu:0.1." in note
    assert "all 2 together in up to 10" in note


def test_a_plan_of_an_older_file_had_no_arms_and_counts_by_its_analyses(tmp_path):
    run_comparison(replace(INTERIM, interim=()), tmp_path, Trainings())
    with open_archive(tmp_path) as archive:
        archive._set("judged", encode([(INTERIM.asked, (14,)), (INTERIM.asked, (9, 14))]))
    (note,) = [note for note in read_comparison(tmp_path).notes if "judged before" in note]
    assert note.startswith("These trainings were judged before, at 9 and 14 seeds. ")


def test_trainings_that_were_ended_by_us_are_told(tmp_path):
    limited = replace(INTERIM, seeds=2, interim=(), max_steps=1_500)
    comparison = run_comparison(limited, tmp_path, Trainings())
    assert "Each training was ended after 1,500 optimizer steps, as asked." in comparison.notes
    assert comparison.settings["training"] == "ended after 1500 optimizer steps"


def test_an_unfinished_comparison_gives_verdicts_of_its_analyses_only(tmp_path):
    def interrupt(progress):
        if progress.done == 4 * 9 + 3:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted):
        run_comparison(INTERIM, tmp_path, Trainings(), on_progress=interrupt)
    partial = read_comparison(tmp_path)
    assert [(arm.verdict, arm.stopped_at) for arm in partial.arms[1:3]] == [("helped", 9), ("undecided", None)]
    assert "judged at 11 seeds, and not all of these trainings have ended" in partial.arms[2].sentence
    assert not any("ended after" in note for note in partial.notes)
    assert "Unfinished: 39 of 42 trainings are done before the analysis at 11 seeds." in partial.notes
