"""What `rectifier run` adds to the start of a script: one that imports torch and does nothing else, in turns.

    python benchmarks/startup.py [--runs 15]

Wall time from the shell's point of view, and processor time of all processes together. The second is more than a user
waits for: what the ending needs is loaded while the script runs, on another core. Python keeps compiled modules
(.pyc), as it does for users: an environment that forbids it would compile ours anew at each start, and not torch's.
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


def spent(command: list[str], folder: Path) -> tuple[float, float]:
    """Milliseconds of wall time and of processor time."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e3 * wall, 1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15, help="of each, in turns; about 5 s a turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "train.py").write_text("import torch\n")
        plain = [sys.executable, "train.py"]
        arms = {
            "python": plain, "python again (A/A)": plain,
            "rectifier run": [str(Path(sys.executable).with_name("rectifier")), "run", "train.py"],
        }  # fmt: skip
        for command in arms.values():
            spent(command, folder)
        times: dict[str, list[tuple[float, float]]] = {arm: [] for arm in arms}
        order = list(arms)
        for _ in range(options.runs):
            order = order[1:] + order[:1]
            for arm in order:
                times[arm].append(spent(arms[arm], folder))
    base = np.array(times["python"])
    print("| | wall, ms | added, ms (95 %) | processor, ms | added, ms (95 %) |\n|---|---|---|---|---|")
    for arm, values in times.items():
        cells = [arm]
        for index in (0, 1):
            here = np.array(values)[:, index]
            added = here - base[:, index]
            low, high = (0.0, 0.0)
            if added.any():
                low, high = bootstrap((added,), np.median, method="percentile", rng=0).confidence_interval
            cells += [
                f"{np.median(here):.0f}",
                f"{np.median(added):.0f} ({low:.0f} to {high:.0f})" if added.any() else "",
            ]
        print("| " + " | ".join(cells) + " |")
    print("\nTarget: at most 50 ms of wall time added.")


if __name__ == "__main__":
    main()
