"""The generated trainings: a fault changes the training, its absence changes nothing, and the truth is a score's."""

import json
import sys
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks" / "detection"
OWN = ("data", "generated")


@pytest.fixture(scope="module")
def generated():
    sys.path.insert(0, str(FOLDER))
    try:
        from generated import cases, faults, job, networks, running, tables, truth

        yield SimpleNamespace(
            cases=cases, faults=faults, job=job, networks=networks, running=running, tables=tables, truth=truth
        )
    finally:
        sys.path.remove(str(FOLDER))
        for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
            sys.modules.pop(name)


def fault_names():
    sys.path.insert(0, str(FOLDER))
    try:
        from generated.faults import FAULTS

        return list(FAULTS)
    finally:
        sys.path.remove(str(FOLDER))
        for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
            sys.modules.pop(name)


def losses(generated, case, *, faulty, steps=9):
    job = case.job(faulty=faulty)
    job.design.steps = max(job.design.steps, steps)
    first = list(islice(generated.job.train(job), steps))
    parameters = torch.cat([parameter.detach().double().flatten() for parameter in job.model.parameters()] or [
        torch.zeros(0)])  # fmt: skip
    return first, parameters


def first_fit(generated, fault, dose):
    for architecture in generated.networks.FAMILIES:
        for number in range(5):
            if fault.fits(generated.cases.draw_design(architecture, number)):
                return generated.cases.Case(fault, dose, architecture, number)
    raise AssertionError(fault.name)


@pytest.mark.parametrize("name", fault_names())
def test_every_fault_changes_the_training_at_its_strongest_dose(generated, name):
    fault = generated.faults.FAULTS[name]
    case = first_fit(generated, fault, fault.doses[-1])
    with_it, without = (losses(generated, case, faulty=faulty) for faulty in (True, False))
    same = with_it[0] == without[0] and with_it[1].shape == without[1].shape and torch.equal(with_it[1], without[1])
    assert not same or name == "eval-mode"


@pytest.mark.parametrize("architecture", ["mlp", "graph", "vae"])
def test_a_twin_is_the_control_of_its_design(generated, architecture):
    fault = generated.faults.FAULTS["weights-scaled"]
    twin = losses(generated, generated.cases.Case(fault, 30.0, architecture, 3), faulty=False)
    control = losses(generated, generated.cases.Case(None, 0.0, architecture, 3), faulty=True)
    assert twin[0] == control[0]
    assert torch.equal(twin[1], control[1])


def test_a_case_is_known_by_its_name(generated):
    drawn = list(generated.cases.draw_cases(200, 7))
    assert len({case.name for case in drawn}) == 200
    for case in drawn:
        assert generated.cases.Case.named(case.name) == case
    assert [case.name for case in generated.cases.draw_cases(50, 7)] == [case.name for case in drawn[:50]]


def test_every_fault_comes_up_before_one_comes_again(generated):
    faults = [case.fault.name for case in generated.cases.draw_cases(400, 1) if case.fault]
    count = len(generated.faults.FAULTS)
    assert len(set(faults[:count])) == count


def test_accepted_causes_are_kinds_that_exist(generated):
    from rectifier.records import CauseKind

    assert {cause for fault in generated.faults.FAULTS.values() for cause in fault.causes} <= set(CauseKind)


@pytest.mark.parametrize(
    ("clean", "score", "verdict"),
    [
        (0.9, None, "control"), (0.84, None, "unfit"), (float("nan"), None, "unfit"), (0.84, 0.1, "unfit"),
        (0.9, float("nan"), "failure"), (0.9, 0.779, "failure"), (0.9, 0.781, "unclear"), (0.9, 0.859, "unclear"),
        (0.9, 0.861, "harmless"), (0.9, 0.95, "harmless"),
    ],
)  # fmt: skip
def test_the_truth_is_the_share_of_what_was_learned_over_chance(generated, clean, score, verdict):
    assert generated.truth.judge(clean, score, floor=0.85, chance=0.1) == verdict


def test_a_constant_scores_what_the_task_says(generated):
    from generated.tasks import TASKS, task

    for name in TASKS:
        learned = task(name)
        if learned is None:
            continue
        if learned.kind in ("classes", "tokens"):
            most = learned.targets.flatten().bincount().argmax()
            output = torch.zeros(*learned.targets.shape, learned.outputs)
            output[..., most] = 1
        elif learned.kind == "masks":
            output = -torch.ones_like(learned.targets)
        elif learned.kind == "pairs":
            output = torch.zeros_like(learned.targets)
        else:
            output = learned.targets.mean(0).expand_as(learned.targets)
        assert learned.measure(output, learned.targets) == pytest.approx(learned.chance, abs=1e-5), name


def test_a_perfect_answer_scores_one(generated):
    from generated.tasks import task

    for name in ("digits", "tokens", "blobs", "friedman", "pairs"):
        learned = task(name)
        output = learned.targets.float() if learned.kind in ("values",) else None
        if learned.kind in ("classes", "tokens"):
            output = torch.nn.functional.one_hot(learned.targets, learned.outputs).float()
        elif learned.kind == "masks":
            output = learned.targets - 0.5
        elif learned.kind == "pairs":
            output = 1 - learned.targets
        assert learned.measure(output, learned.targets) == pytest.approx(1), name


def test_what_is_kept_is_not_trained_again_and_a_torn_line_is_left_out(generated, tmp_path, monkeypatch):
    out = tmp_path / "rows.jsonl"
    ran = []

    def run_case(case, clean_scores):
        ran.append(case.name)
        return {"case": case.name}

    monkeypatch.setattr(generated.running, "run_case", run_case)
    cases = list(generated.cases.draw_cases(7, 0))
    generated.running.run_cases(cases[:3], out)
    with out.open("a") as file:
        file.write('{"case": "torn')
    rows = generated.running.run_cases(cases, out)
    assert ran == [case.name for case in cases]
    assert [row["case"] for row in rows] == ran
    assert len(generated.running.read(out)) == 7
    assert json.loads(out.read_text().splitlines()[-1])["case"] == cases[-1].name


def row(verdict, *causes, accepted=("depth",), lost=1.0, **others):
    found = [{"rule": "dead-units", "severity": "warning", "cause": cause} for cause in causes]
    design = {"data": "digits", "activation": "relu", "optimizer": "sgd", "lr": 0.1, "depth": 3, "width": 5,
              "norm": False}  # fmt: skip
    return {"case": "deep=8/mlp/3", "fault": "deep", "architecture": "mlp", "verdict": verdict, "found": found,
            "accepted": list(accepted), "lost": lost, "clean": 0.9, "score": None, "design": design, "error": None,
            "earlier": [], **others}  # fmt: skip


def test_the_table_counts_right_wrong_and_unknown_causes_apart(generated):
    rows = [row("failure", "learning_rate", "depth"), row("failure", "depth"), row("failure", lost=0.3),
            row("failure", "unknown", "depth"), row("failure", "learning_rate", accepted=("unknown",)),
            row("harmless", "depth"), row("harmless", "input_scale"), row("harmless", "unknown"),
            row("control", "unknown"), row("control")]  # fmt: skip
    last = generated.tables.table(rows, "fault").splitlines()[-1]
    assert last == "| **all** | 3 of 4 | 3 of 3 | 1 of 4 | 1 of 4 | 1 of 3 | 1 of 2 |"
    lists = generated.tables.lists(rows)
    assert "Failures missed: 1" in lists
    assert "a wrong cause named first: 1" in lists
    assert "leave no trace, of which a cause is named: 1" in lists
