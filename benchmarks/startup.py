"""What `rectifier run` adds to the start of a script: one that imports torch and does nothing else, in turns.

    python benchmarks/startup.py [--runs 15]

Wall time from the shell's point of view, in the parts that the script itself can tell apart, for importing torch varies
from run to run by more than all of ours; and processor time of all processes together. That is more than a user waits
for: what the ending needs is loaded while the script runs, on another core. Python keeps compiled modules (.pyc), as it
does for users: an environment that forbids it would compile ours anew at each start, and not torch's.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

PARTS = ("to the first line", "import torch", "after the last line", "together")
SCRIPT = """
import time
first = time.time()
import torch
print(first, time.time())
"""


def spent(command: list[str], folder: Path) -> list[float]:
    """Milliseconds of wall time, by part, and of processor time."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    said = subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout
    ended, after = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    first, last = map(float, said.split())
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return [1e3 * each for each in (first - began, last - first, ended - last, ended - began, processor)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="of each, in turns; about 5 s a turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.py").write_text(SCRIPT)
        plain = [sys.executable, "train.py"]
        arms = {
            "python": plain, "python again (A/A)": plain,
            "rectifier run": [str(Path(sys.executable).with_name("rectifier")), "run", "train.py"],
        }  # fmt: skip
        for command in arms.values():
            spent(command, folder)
        times: dict[str, list[list[float]]] = {arm: [] for arm in arms}
        order = list(arms)
        for _ in range(options.runs):
            order = order[1:] + order[:1]
            for arm in order:
                times[arm].append(spent(arms[arm], folder))
    base = np.array(times["python"])
    columns = (*PARTS, "processor")
    print(f"| ms | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    print(f"| python | {' | '.join(f'{value:.0f}' for value in np.median(base, axis=0))} |")
    for arm in [arm for arm in arms if arm != "python"]:
        cells = []
        for added in (np.array(times[arm]) - base).T:
            low, high = bootstrap((added,), np.median, method="percentile", rng=0).confidence_interval
            cells.append(f"{np.median(added):+.0f} ({low:+.0f} to {high:+.0f})")
        print(f"| {arm} | {' | '.join(cells)} |")
    print("\nWhat is added: the median of the turns' differences (95%). Target: at most 50 ms of wall time together.")


if __name__ == "__main__":
    main()
