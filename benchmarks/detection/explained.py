"""Does `rectifier explain` establish the right cause of the failures that this benchmark has?

    python benchmarks/detection/explained.py --seeds 1
    python benchmarks/detection/explained.py --generated 100 --seed 0

Each training is a process of its own, as a user's is: first as it fails and with its remedy. By these two it is
decided, by the benchmark's rule, whether it failed for this seed; what failed is then explained. An answer is *right*
if the kind of its cause is one that the case lists. It is *established* where an experiment removed the failure; a
cause that no change from outside can remove, such as a cut graph, is only observed.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from failures import FAILURES, REBUILT
from generated.cases import Case, draw_cases
from generated.truth import Verdict, judge

HERE = Path(__file__).parent
LIMIT = 1800.0


@dataclass(frozen=True)
class Question:
    """A training to be explained.

    Attributes:
        arguments: Of the script; one more word applies the remedy.
        causes: Kinds that are right.
    """

    name: str
    script: Path
    arguments: tuple[str, ...]
    causes: tuple[str, ...]

    def failed(self) -> bool:
        """Whether it fails, by its own score and by that with the remedy."""
        score, remedied = self._score(), self._score("remedy")
        if score is None or remedied is None:
            return False
        return self._judge(score, remedied)

    def _judge(self, score: list[float], remedied: list[float]) -> bool:
        if self.script.parent.name == "generated":
            task = Case.named(self.arguments[0]).job(faulty=False).task
            return judge(remedied[0], score[0], floor=task.floor, chance=task.chance) is Verdict.FAILURE
        rebuilt = {case.name: case for case in REBUILT}.get(self.arguments[0])
        if rebuilt is not None:
            return rebuilt.failed(score[0], remedied[0])
        plain = {case.name: case for case in FAILURES}[self.arguments[0]]
        return plain.is_worse((score[0], score[1]), (remedied[0], remedied[1]))

    def _score(self, *remedy: str) -> list[float] | None:
        done = subprocess.run(
            [sys.executable, str(self.script), *self.arguments, *remedy], capture_output=True, text=True, check=False
        )
        last = done.stdout.strip().rpartition("\n")[2].split()
        return [float(number) for number in last[1:]] if done.returncode == 0 and last[:1] == ["score"] else None

    def explained(self) -> dict[str, object]:
        """What `rectifier explain` answers."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                done = subprocess.run(
                    [sys.executable, "-m", "rectifier", "explain", "--json", str(self.script), *self.arguments],
                    cwd=folder, capture_output=True, text=True, check=False, timeout=LIMIT,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return {"answer": "no answer in half an hour"}
        try:
            answer = json.loads(done.stdout)
        except json.JSONDecodeError:
            return {"answer": done.stderr[-500:]}
        cause = answer["cause"] or {}
        return {
            "answer": answer["conclusion"],
            "cause": cause.get("kind"),
            "established": bool(answer["established"]),
            "remedy": (answer["remedies"] or [None])[0],
            "right": cause.get("kind") in self.causes,
        }


def named(seeds: int) -> Iterator[Question]:
    """The named failures, seed by seed."""
    script = HERE / "failures" / "one.py"
    for seed in range(seeds):
        for case in (*FAILURES, *REBUILT):
            yield Question(f"{case.name} ({seed})", script, (case.name, str(seed)), tuple(case.causes))


def drawn(count: int, seed: int) -> Iterator[Question]:
    """The drawn cases that have a fault."""
    script = HERE / "generated" / "one.py"
    for case in draw_cases(count, seed):
        if case.fault is not None:
            yield Question(case.name, script, (case.name,), tuple(case.fault.causes))


def ask(question: Question) -> dict[str, object]:
    """A row: whether it failed, and how it was explained."""
    began = time.monotonic()
    row: dict[str, object] = {"case": question.name, "failed": question.failed()}
    if row["failed"]:
        row |= question.explained()
    return {**row, "seconds": round(time.monotonic() - began, 1)}


def report(rows: list[dict[str, object]]) -> str:
    """The counts, and every answer that is not an established, right one."""
    failed = [row for row in rows if row["failed"]]
    told = [row for row in failed if row.get("cause") not in (None, "unknown")]
    wrong = [row for row in told if not row["right"]]
    lines = [
        "| failed | cause named | right | right and established | wrong | wrong and established |",
        "|---|---|---|---|---|---|",
        f"| {len(failed)} of {len(rows)} | {len(told)} | {len(told) - len(wrong)} "
        f"| {sum(bool(row['established']) for row in told if row['right'])} | {len(wrong)} "
        f"| {sum(bool(row['established']) for row in wrong)} |",
    ]
    for row in failed:
        if not (row.get("right") and row.get("established")):
            lines.append(f"{row['case']}: {row.get('cause')} ({row['answer']}), remedy {row.get('remedy')}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1, help="Of each named failure.")
    parser.add_argument("--generated", type=int, help="Drawn cases instead, so many.")
    parser.add_argument("--seed", type=int, default=0, help="Of what is drawn.")
    parser.add_argument("--only", default="", help="Cases whose name has this pattern.")
    parser.add_argument("--jobs", type=int, default=1, help="Explanations at a time.")
    parser.add_argument("--out", type=Path, help="Keep every row here; those of earlier calls are not asked again.")
    options = parser.parse_args()
    questions = list(drawn(options.generated, options.seed) if options.generated else named(options.seeds))
    questions = [question for question in questions if re.search(options.only, question.name)]
    rows: list[dict[str, object]] = []
    if options.out and options.out.exists():
        rows = [json.loads(line) for line in options.out.read_text().splitlines()]
    done = {row["case"] for row in rows}
    with ThreadPoolExecutor(options.jobs) as pool:
        for row in pool.map(ask, [question for question in questions if question.name not in done]):
            rows.append(row)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    print(report(rows))


if __name__ == "__main__":
    main()
