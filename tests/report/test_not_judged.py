"""What could not be judged is told with its reason, and no report is headed as if nothing were wrong."""

from dataclasses import replace

import pytest

from rectifier.records import AxisSource, UnitAxis, Unseen, WhyUnseen
from rectifier.report.json.documents import run_json
from rectifier.report.page.page import run_page
from rectifier.report.text.run import run_text
from rectifier.report.verdict import verdict_of
from tests.diagnosis.builders import process, site, snapshot, window
from tests.edge import diagnose

from .builders import make_run

AXIS = UnitAxis(axis=None, ndim=3, source=AxisSource.OPERATION, operation="Transpose")
WHERE = Unseen(what="torch.where", why=WhyUnseen.HAND_WRITTEN)
WHY = "? a and b: the units are unknown, because Transpose before it may have moved the axis."


def judged(*, unknown=(), unseen=(), severe=False):
    """A training of three layers, of which some have units that are unknown."""
    sites = [replace(site(name), units=None, unit_axis=AXIS) if name in unknown else site(name) for name in "abc"]
    fired = [() if name in unknown else (0,) * 5 if severe else (1,) * 5 for name in "abc"]
    windows = [window(index, fired=counts, distinct=5000) for index, counts in enumerate(fired)]
    one = process(sites, snapshot(windows), unseen=tuple(unseen))
    return make_run(one), [diagnose(one)]


@pytest.mark.parametrize(
    ("unknown", "unseen", "left"),
    [
        ("", [], ""),
        ("a", [], "the units of 1 layer"),
        ("ab", [], "the units of 2 layers"),
        ("", [WHERE], "torch.where"),
        ("ab", [WHERE], "the units of 2 layers and torch.where"),
    ],
)
def test_the_heading_says_what_was_left(unknown, unseen, left):
    run, diagnoses = judged(unknown=unknown, unseen=unseen)
    heading = f"No problems found in what could be judged; not judged: {left}" if left else "No problems found"
    text = " ".join(run_text(run, diagnoses, width=200).split())
    assert text.startswith(f"{heading}.")
    verdict = verdict_of(run, diagnoses)
    assert (verdict.title, verdict.severity) == (heading, "unknown" if left else "healthy")
    assert f"<h1>{heading}</h1>" in run_page(run, diagnoses)


def test_a_row_of_question_marks_has_its_reason_below():
    run, diagnoses = judged(unknown="ab", unseen=[WHERE])
    assert WHY in " ".join(run_text(run, diagnoses, width=200).split())
    assert WHY in run_page(run, diagnoses)
    (one,) = run_json(run, diagnoses)["processes"]
    assert one["not_judged"] == [
        {"kind": "units_unknown", "what": name, "why": "operation",
         "reason": "Transpose before it may have moved the axis"} for name in "ab"
    ] + [
        {"kind": "unseen", "what": "torch.where", "why": "hand_written",
         "reason": "may be a hand-written activation or a mask: the two cannot be distinguished"}
    ]  # fmt: skip


def test_where_all_was_judged_no_reason_is_given():
    run, diagnoses = judged()
    assert "judged" not in run_text(run, diagnoses)
    assert run_json(run, diagnoses)["processes"][0]["not_judged"] == []
