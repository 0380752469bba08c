"""One case as a user would train it: `rectifier run benchmarks/detection/generated/one.py momentum=0.999/mlp/17`."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from generated.cases import Case
from generated.job import train


def main() -> None:
    torch.set_num_threads(1)
    name, *clean = sys.argv[1:]
    job = Case.named(name).job(faulty=not clean)
    print(job.design)
    for step, loss in enumerate(train(job)):
        if step % 25 == 0:
            print(step, loss)
    print("score", job.score())


if __name__ == "__main__":
    main()
