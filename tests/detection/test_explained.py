"""The benchmark of `rectifier explain`: which trainings it asks about, and how it counts the answers."""

import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "detection"
OWN = ("controls", "data", "explained", "failures", "generated", "plain", "training")


@pytest.fixture
def explained(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    try:
        import explained

        yield explained
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
            sys.modules.pop(name)


def test_every_named_failure_is_asked_with_every_seed(explained):
    questions = list(explained.named(2))
    assert len(questions) == 2 * (len(explained.FAILURES) + len(explained.REBUILT))
    assert len({question.name for question in questions}) == len(questions)
    assert {question.arguments[1] for question in questions} == {"0", "1"}


def test_of_drawn_cases_those_with_a_fault_are_asked(explained):
    drawn = list(explained.drawn(15, 3))
    assert len(drawn) == 12
    assert not any(question.name.startswith("control") for question in drawn)


def row(**more):
    return {"case": "a", "failed": True, "answer": "established", "cause": "learning_rate", "established": True,
            "remedy": "lower_learning_rate", "right": True} | more  # fmt: skip


def test_answers_are_counted(explained):
    rows = [row(), row(case="b", established=False, answer="observed"), row(case="c", right=False),
            row(case="d", cause="unknown", established=False, right=False, remedy=None),
            {"case": "e", "failed": True, "answer": "Traceback"}, {"case": "f", "failed": False}]  # fmt: skip
    table, *others = explained.report(rows).splitlines()[2:]
    assert [int(number) for number in re.findall(r"\d+", table)] == [5, 6, 3, 2, 1, 1, 1]
    assert [line.split(":")[0] for line in others] == ["b", "c", "d", "e"]


def test_a_script_trains_as_the_benchmark_does(explained, capsys, monkeypatch):
    from failures import one

    name = "y = 2x - 1, 4-2-1, all ReLU"
    (failure,) = [failure for failure in explained.FAILURES if failure.name == name]
    for words, setting in (((), failure.setting), (("remedy",), failure.remedy)):
        monkeypatch.setattr(sys, "argv", ["one.py", name, "3", *words])
        one.main()
        training = setting.start(3)
        for _ in range(setting.steps):
            training.step()
        assert capsys.readouterr().out.splitlines()[-1] == " ".join(["score", *map(str, training.score())])
