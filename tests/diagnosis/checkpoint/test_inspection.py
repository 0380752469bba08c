"""What is said of a checkpoint's rows: at, just below and just above each threshold, in words that are tested."""

import math

import numpy as np
import pytest

from rectifier.diagnosis.checkpoint.clocks import silence_of
from rectifier.records import Checkpoint, Memory, NotTold, WeightRows, Why
from rectifier.report.sentences.checkpoint import remark
from tests.edge import judge_checkpoint, where

ROWS = 10
LAMBDA = math.log(math.sqrt(0.999) / 0.9)


def adam(since, *, step=1_000, rows=ROWS, coupled=False, never=()):
    """Moments of Adam whose row r has had no gradient for since[r] steps."""
    steps = np.array([since.get(row, 0) for row in range(rows)], float)
    first, second = 1e-3 * 0.9**steps, 1e-5 * 0.999**steps
    first[list(never)] = second[list(never)] = 0
    floor = np.full(rows, 1.18e-38)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.nan_to_num(first / np.sqrt(second))
    return Memory(
        first_decay=0.9, second_decay=0.999, first=first, first_floor=floor, second=second, second_floor=floor,
        ratio=ratio, rounding=6e-8, coupled=coupled, decays=coupled, step=step,
    )  # fmt: skip


def weight(name="fc.weight", rows=ROWS, fan_in=4, **facts):
    defaults = {"largest": np.full(rows, 0.3), "norm": np.full(rows, 0.5), "bias": np.zeros(rows)}
    return WeightRows(name=name, shape=(rows, fan_in), rows=rows, fan_in=fan_in, **{**defaults, **facts})


def judged(*weights, **facts):
    return judge_checkpoint(Checkpoint(path="x.pt", layout="state dict", weights=weights, **facts))


def only(inspection):
    (finding,) = inspection.findings
    return finding


def test_a_row_is_silent_from_a_hundred_sure_steps_on():
    # Its last |m|/√v may have been a tenth of the others': that many steps are subtracted.
    slack = math.log(10) / LAMBDA
    for steps, silent in ((100 + slack - 1, False), (100 + slack + 1, True)):
        inspection = judged(weight(memory=adam({3: steps})))
        assert bool(inspection.findings) == silent
        assert inspection.layers[0].silent == silent


def test_the_clock_of_two_moments_has_its_bounds():
    silence = silence_of(adam({3: 400}))
    most = math.sqrt(0.01 / 0.001 / (1 - 0.81 / 0.999))  # Cauchy and Schwarz
    assert most == pytest.approx(7.27, abs=0.01)
    assert silence.estimate[3] == pytest.approx(400, abs=0.1)
    assert silence.high[3] == pytest.approx(400 + math.log(most / (1e-3 / math.sqrt(1e-5))) / LAMBDA, abs=0.1)


def test_half_of_a_layer_is_a_warning_and_less_is_information():
    for count, severity in ((4, "info"), (5, "warning"), (9, "warning")):
        finding = only(judged(weight(memory=adam(dict.fromkeys(range(count), 300)))))
        assert finding.severity == severity
        assert finding.title == f"fc.weight: {count} of 10 rows without gradient"
        assert finding.units == tuple(range(count))
        assert (finding.command is None) == (severity == "info")
        assert f"{count} rows had none for about 300 steps (278 to 330)." in finding.detail


def test_a_whole_layer_is_serious_and_the_last_of_them_is_named():
    gone = dict.fromkeys(range(ROWS), 300)
    inspection = judged(
        weight("a.weight", memory=adam(gone)), weight("b.weight", memory=adam({**gone, 2: 0}, never=(2,))),
        weight("c.weight", memory=adam({})),
    )  # fmt: skip
    finding = only(inspection)
    assert (finding.severity, where(finding)) == ("serious", "b.weight")
    assert finding.title == "2 of 3 weights have no gradient in any row, the last of them b.weight"
    assert "in a chain of layers it stops at b.weight" in finding.cause.text
    assert finding.detail == (
        "1 row never had a gradient in 1,000 steps and 9 had none for about 297 steps (274 to 330): 10 rows of "
        "b.weight. Also a.weight."
    )
    assert inspection.worst == "serious"


def test_biases_that_learn_say_that_the_inputs_are_silent():
    gone = dict.fromkeys(range(ROWS), 300)
    inspection = judged(weight(memory=adam(gone), bias_memory=adam({})))
    finding = only(inspection)
    assert (finding.rule, finding.severity) == ("no-input", "info")
    assert finding.cause.text == "What comes into this layer is 0: the units below it are silent."
    assert only(judged(weight(memory=adam(gone), bias_memory=adam(gone)))).severity == "serious"


def test_unused_rows_of_a_table_are_normal():
    gone = dict.fromkeys(range(9), 300)
    embedding = judged(weight("embed.weight", embedding=True, bias=None, memory=adam(gone)))
    assert not embedding.findings
    assert embedding.layers[0].silent == 9
    # Without a bias it might be one: said, and no more than information.
    finding = only(judged(weight("lut.weight", bias=None, memory=adam(gone))))
    assert finding.severity == "info"
    assert "if it is a table that is looked up, unused rows are normal" in finding.detail


def test_rows_that_never_had_a_gradient():
    finding = only(judged(weight(memory=adam({}, never=(2, 5)))))
    assert finding.detail == "2 rows never had a gradient in 1,000 steps."
    assert not judged(weight(memory=adam({}, never=(2, 5), step=99))).findings


def test_no_positive_weight_and_no_positive_bias():
    largest, bias = np.full(ROWS, 0.3), np.full(ROWS, 0.1)
    largest[:4], bias[:4] = (0.0, -0.1, -0.1, 1e-9), (0.0, -0.1, 1e-9, -0.1)
    inspection = judged(weight(largest=largest, bias=bias))
    finding = only(inspection)
    assert finding.units == (0, 1)
    assert inspection.layers[0].blocked == 2
    assert finding.title == "fc.weight: 2 of 10 rows likely dead by their weights"
    assert "behind a ReLU they are dead for certain if their inputs are ≥ 0" in finding.detail
    assert "No optimizer state says whether they still learn." in finding.detail
    assert finding.severity == "info"


@pytest.mark.parametrize(("bias", "out"), [(-0.999, 0), (-1.0, 1), (-3.0, 1)])
def test_a_bias_out_of_reach(bias, out):
    # ‖w‖·√n = 0.5·2: an input of root mean square 1 reaches 1 at most.
    biases = np.zeros(ROWS)
    biases[7] = bias
    inspection = judged(weight(bias=biases))
    assert inspection.layers[0].out_of_reach == out
    if out:
        assert (
            f"root mean square is below {-bias:.2g} (−b / ‖w‖√n; normalised inputs have 1)" in only(inspection).detail
        )


@pytest.mark.parametrize(
    ("facts", "severity"),
    [({"rows": 10, "blocked": 5}, "warning"), ({"rows": 10, "blocked": 4}, "info"),
     ({"rows": 8, "blocked": 8}, "warning"), ({"rows": 7, "blocked": 7}, "info"), ({"rows": 1, "blocked": 1}, "info")],
)  # fmt: skip
def test_how_many_such_rows_are_a_warning(facts, severity):
    rows, blocked = facts["rows"], facts["blocked"]
    largest = np.where(np.arange(rows) < blocked, -0.1, 0.3)
    norm, bias = np.full(rows, 0.5), np.zeros(rows)
    assert only(judged(weight(rows=rows, largest=largest, norm=norm, bias=bias))).severity == severity


def test_weights_condemn_no_row_that_is_known_to_learn_and_none_of_zeros():
    largest, norm = np.full(ROWS, -0.1), np.full(ROWS, 0.5)
    assert judged(weight(largest=largest)).layers[0].blocked == ROWS
    assert judged(weight(largest=largest, memory=adam({}))).layers[0].blocked == 0
    assert judged(weight(largest=np.zeros(ROWS), norm=0 * norm)).layers[0].blocked == 0
    assert judged(weight(largest=largest, mixed=True)).layers[0].blocked is None
    assert judged(weight(largest=largest, bias=None)).layers[0].blocked is None


def test_both_kinds_of_evidence_make_one_finding():
    bias, unmoved = np.zeros(ROWS), np.zeros(ROWS, bool)
    bias[3], unmoved[[3, 6]] = -5.0, True
    finding = only(judged(weight(bias=bias, unmoved=unmoved, memory=adam({3: 300})), earlier="e.pt"))
    assert finding.title == "fc.weight: 2 of 10 rows without gradient"
    assert finding.detail == (
        "1 row had none for about 300 steps (278 to 330). 2 rows did not move by one bit since the earlier checkpoint. "
        "Of these, 1 row whose bias lies so far below 0 that no input fires them whose root mean square is below 5 "
        "(−b / ‖w‖√n; normalised inputs have 1)."
    )


def test_rows_that_stood_still_had_no_gradient_all_the_time():
    unmoved = np.arange(ROWS) == 3
    facts = {"memory": adam({3: 2_000}, step=9_000), "unmoved": unmoved}
    alone = judged(weight(**facts), earlier="e.pt").layers[0]
    assert alone.steps_low < 800
    assert judged(weight(**facts), earlier="e.pt", steps_between=1_500).layers[0].steps_low == 1_500


def test_what_stands_still_as_a_whole_is_frozen():
    inspection = judged(weight(unmoved=np.ones(ROWS, bool)), earlier="e.pt")
    assert not inspection.findings
    assert remark(inspection.layers[0]) == "did not move: frozen?"


def test_numbers_that_are_not_finite_come_first():
    norm = np.full(ROWS, 0.5)
    norm[4] = np.nan
    inspection = judged(weight("a.weight", memory=adam({1: 300})), weight("b.weight", norm=norm))
    assert [finding.rule for finding in inspection.findings] == ["non-finite", "silent-rows"]
    assert inspection.findings[0].title == "1 row of 1 weight hold NaN or infinity"


def test_reasons_are_told_once():
    inspection = judged(
        *(weight(f"{n}.weight", state=Why(NotTold.STATE_NOT_KNOWN, details=("sum",))) for n in range(7)),
        notes=(Why(NotTold.NOT_IN_EARLIER, details=("7.weight",)),),
    )
    assert tuple(map(str, inspection.untold)) == (
        "7.weight is not in the earlier checkpoint.",
        "0.weight, 1.weight, 2.weight and 4 more: state not known (sum).",
    )
