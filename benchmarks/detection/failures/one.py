"""A named failure as a user would train it.

rectifier explain benchmarks/detection/failures/one.py "learning rate 1e-1" 0
"""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from failures import FAILURES, REBUILT


def main() -> None:
    torch.set_num_threads(1)
    name, seed, *remedy = sys.argv[1:]
    plain = {failure.name: failure for failure in FAILURES}
    if name in plain:
        setting = plain[name].remedy if remedy else plain[name].setting
        training, steps = setting.start(int(seed)), setting.steps
    else:
        (case,) = [case for case in REBUILT if case.name == name]
        training, steps = case.start(int(seed), mended=bool(remedy)), case.steps
    for step in range(steps):
        loss, _ = training.step()
        if step % 25 == 0:
            print(step, loss)
    print("score", *training.score())


if __name__ == "__main__":
    main()
