"""What `python benchmarks/detection --generated`, `--case` and `--spread` do."""

import re
from itertools import islice
from pathlib import Path

import torch

from generated.cases import Case, draw_cases, draw_design, start
from generated.job import train
from generated.networks import FAMILIES
from generated.running import run_case, run_cases, watch_case
from generated.tables import one_line, report


def run(count: int, seed: int, share: str, out: Path | None, only: str = "") -> None:
    """Train the cases of a share, and report those of the file or of this call."""
    number, of = map(int, share.split("/"))
    drawn = [case for case in draw_cases(count, seed) if re.search(only, case.name)]
    rows = run_cases(islice(drawn, number - 1, None, of), out)
    names = {case.name for case in drawn}
    print(report([row for row in rows if row["case"] in names]))


def show(name: str) -> None:
    """Train one case and say all that was found, each finding in full."""
    case = Case.named(name)
    job = case.job(faulty=True)
    print(job.design)
    said = watch_case(job)
    for finding in said[-1].findings:
        print(f"\n{finding.severity}: {finding.title}\n{finding.detail}\n{finding.cause.text}\n{finding.advice}")
    row = run_case(case, {})
    print(f"\n{row['verdict']}\n{one_line(row) if row['error'] is None else row['error']}")


def spread(seeds: int) -> None:
    """How much healthy trainings of one design differ: the largest loss of one seed against another."""
    for architecture in FAMILIES:
        worst = []
        for number in range(2):
            scores = []
            for seed in range(seeds):
                torch.manual_seed(seed)
                job = start(draw_design(architecture, number))
                for _ in train(job):
                    pass
                scores.append((job.score() - job.task.chance) / (1 - job.task.chance))
            worst.append((max(scores) - min(scores)) / max(scores))
        print(f"{architecture}: {', '.join(f'{one:.3f}' for one in worst)}", flush=True)
