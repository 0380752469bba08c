"""Trains cases under observation, one line of JSON each."""

import json
import math
import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rectifier
from generated.cases import Case
from generated.faults.kinds import nothing
from generated.job import Job, train
from generated.truth import Verdict, judge, lost
from rectifier.records import Diagnosis

ASKED = 4
"""Times at which the diagnosis is asked for, the end included."""
EVERY = 4

Row = dict[str, Any]


def watch_case(job: Job) -> list[Diagnosis]:
    """Train it; what is said after each quarter."""
    said = []
    quarter = math.ceil(job.design.steps / ASKED)
    with rectifier.watch(every=EVERY) as watch:
        for step, _ in enumerate(train(job), 1):
            if step % quarter == 0 and step < job.design.steps:
                said.append(watch.diagnose())
    # What `rectifier run` says is said when all has ended.
    said.append(watch.diagnose())
    return said


def found_by(diagnosis: Diagnosis) -> list[Row]:
    """Its findings at warning or worse."""
    return [
        {"rule": one.rule, "severity": one.severity, "site": str(one.site.key) if one.site else None,
         "cause": one.cause.kind, "remedies": list(one.remedies), "title": one.title}
        for one in diagnosis.findings
        if one.severity != "info"
    ]  # fmt: skip


def run_case(case: Case, clean_scores: dict[str, float]) -> Row:
    """Train a case and, where it has a fault, its twin without it.

    Args:
        case: Which.
        clean_scores: Of twins that were trained already, by design.
    """
    began = time.monotonic()
    row: Row = {"case": case.name, "fault": case.fault and case.fault.name, "dose": case.dose,
                "architecture": case.architecture, "error": None}  # fmt: skip
    job = case.job(faulty=True)
    row["design"] = asdict(job.design)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            said = watch_case(job)
            score = job.score()
    except (RuntimeError, ValueError, IndexError, AttributeError) as error:
        # A training that cannot run tells its user so itself.
        return {**row, "verdict": Verdict.UNFIT, "error": str(error).splitlines()[0]}
    task = job.task
    clean = score
    if case.fault is not None:
        twin = case.job(faulty=False)
        key = str(twin.design) if case.fault.both is nothing else f"{case.name} {twin.design}"
        if key not in clean_scores:
            for _ in train(twin):
                pass
            clean_scores[key] = twin.score()
        clean = clean_scores[key]
    verdict = judge(clean, None if case.fault is None else score, floor=task.floor, chance=task.chance)
    return {
        **row,
        "clean": clean,
        "score": score if math.isfinite(score) else None,
        "lost": lost(clean, score, task.chance) if verdict is not Verdict.UNFIT else None,
        "verdict": verdict,
        "found": found_by(said[-1]),
        "earlier": sorted({f"{one['rule']}: {one['cause']}" for before in said[:-1] for one in found_by(before)}),
        "accepted": list(case.fault.causes) if case.fault else [],
        "seconds": round(time.monotonic() - began, 2),
    }


def run_cases(cases: Iterable[Case], out: Path | None) -> list[Row]:
    """Train those that the file has not; every line of it, and of these."""
    rows = read(out) if out else []
    done = {row["case"] for row in rows}
    clean_scores: dict[str, float] = {}
    for case in cases:
        if case.name in done:
            continue
        row = run_case(case, clean_scores)
        rows.append(row)
        if out:
            append(out, row)
    return rows


def append(file: Path, row: Row) -> None:
    """Keep a line, on a line of its own also where an earlier process was killed in the middle of one."""
    torn = file.exists() and not file.read_bytes().endswith(b"\n") and file.stat().st_size
    with file.open("a") as opened:
        opened.write(("\n" if torn else "") + json.dumps(row, default=str) + "\n")


def read(file: Path) -> list[Row]:
    """The lines that are kept; a torn last one is none."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
