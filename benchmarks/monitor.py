"""What watching costs: the same training steps with and without it, interleaved in one run, ratios last.

    python benchmarks/monitor.py              # about 25 minutes
    python benchmarks/monitor.py --quick      # about 15 minutes, wider intervals
    python benchmarks/monitor.py --quick --write benchmarks/README.md

Arms train in turns of a few steps: plain, plain again (A/A: the noise), watched as by default, and what people do
today, each rebuilt here so that nothing but its own work is timed. Every step is timed by itself and divided by the
median step of both plain arms in its round (A/A: of the first), so that what drifts from round to round does not count;
a turn's first step, which finds the caches as another arm left them, is not used. An arm's steps are of kinds (observed
in full, lightly, or not; every tenth of a tool that works at every tenth): its ratio is the median of each kind,
weighted by how often the kind comes, so that a machine that stands still now and then does not decide. What the monitor
writes, now and then, is timed apart and added as a mean. The 95% interval is from the bootstrap over rounds. What
counts is its upper end: at most 1.01, and 1.03 for the tiny network.

The monitor is put where it is after 100,000 steps, its budget spent and its early allowance used up. All arms train one
model, compiled ones too: another copy of it, elsewhere in memory, may by itself be half a percent faster or slower.

`--clock thread` reads the processor time of one thread instead, for a machine that others use, too.
"""

import argparse
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rectifier.monitor import MemorySink, Monitor
from rectifier.monitor.training.steps.schedule import ALLOWANCE_SECONDS, PLANNED, Sampling

FEWEST_ROUNDS = 20
FEWEST_OF_A_KIND = 8
PLAIN, AGAIN = "plain", "plain again (A/A)"
MARKS = "<!-- monitor: begin -->", "<!-- monitor: end -->"


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels),
        )  # fmt: skip
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.body(x))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.0, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.head = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(1))


def mlp(width: int, depth: int, inputs: int) -> nn.Sequential:
    sizes = [inputs, *[width] * depth]
    layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def cnn() -> nn.Sequential:
    def block(a: int, b: int) -> list[nn.Module]:
        return [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(inplace=True), nn.MaxPool2d(2)]

    return nn.Sequential(*block(3, 32), *block(32, 64), *block(64, 64), nn.Flatten(), nn.Linear(1024, 10))


def resnet() -> nn.Sequential:
    body = [nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), *[Residual(32) for _ in range(3)]]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


WORKLOADS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "MLP 6 × 512, batch 128": (lambda: mlp(512, 6, 784), (128, 784)),
    "CNN with BatchNorm, batch 64, 32 × 32": (cnn, (64, 3, 32, 32)),
    "residual network, batch 32, 32 × 32": (resnet, (32, 3, 32, 32)),
    "transformer with ReLU, 4 layers, 16 × 64 tokens": (Transformer, (16, 64, 128)),
    "tiny MLP 4 × 32, batch 32": (lambda: mlp(32, 4, 16), (32, 16)),
}
COMPILED = tuple(WORKLOADS)[:2]
Step = Callable[[], None]
Around = Callable[[nn.Module], AbstractContextManager[None]]


@contextmanager
def nothing(model: nn.Module) -> Iterator[None]:
    yield


class Watched:
    """The default monitor, late in a training; between turns it is taken away, and keeps what it has learned."""

    LATE = 100_000

    def __init__(self, seconds_per_step: float, *, observe_compiled: bool = False) -> None:
        self.monitor = Monitor(MemorySink(), observe_compiled=observe_compiled)
        schedule = self.monitor.observation.schedule
        self.monitor.observation.step = self.LATE
        self.monitor.observation._began = self.now() - self.LATE * seconds_per_step
        # All that is allowed so far has been spent.
        spent = PLANNED * 0.01 * self.LATE * seconds_per_step + ALLOWANCE_SECONDS * np.log2(self.LATE)
        schedule.watching_seconds = schedule._accounted_seconds = spent
        # What a step costs that is not observed is learned from the steps that are run here alone.
        schedule.observed_steps = self.LATE
        self.writing = 0.0
        self.left = self.now()
        windows = self.monitor.observation.windows
        write = windows.write

        def timed_write(steps: int, elapsed: float, *, finished: bool) -> None:
            began = self.now()
            write(steps, elapsed, finished=finished)
            self.writing += self.now() - began

        windows.write = timed_write  # type: ignore[method-assign]

    @contextmanager
    def __call__(self, model: nn.Module) -> Iterator[None]:
        paused = self.now() - self.left
        # What the other arms trained in the meantime was not this training's.
        self.monitor.observation._began = (self.monitor.observation._began or 0.0) + paused
        self.monitor.observation.windows._last_write += paused
        self.monitor.observation.windows.due += paused
        self.monitor.start()
        try:
            yield
        finally:
            self.monitor._take_away()
            self.left = self.now()

    @staticmethod
    def now() -> float:
        """By the monitor's own clock."""
        return float(import_module("rectifier.monitor.training.observation").time.perf_counter())

    def kind(self, index: int) -> int:
        """How closely the coming step is observed."""
        return int(self.monitor.observation.sampling)

    def shares(self) -> dict[int, float]:
        """How often each kind of step comes."""
        schedule = self.monitor.observation.schedule
        counted = 1 / schedule.count_interval
        light = 1 / schedule.interval - counted
        return {Sampling.FULL: counted, Sampling.LIGHT: light, Sampling.SKIPPED: 1 - counted - light}

    @property
    def note(self) -> str:
        schedule = self.monitor.observation.schedule
        return f"every {schedule.interval:,}, in full every {schedule.count_interval:,}"


@contextmanager
def with_hooks(model: nn.Module, hook: Callable[[Tensor], object]) -> Iterator[None]:
    def call(module: nn.Module, args: object, output: Tensor) -> None:
        hook(output.detach())

    handles = [
        module.register_forward_hook(call)
        for module in model.modules()
        if isinstance(module, nn.ReLU | nn.TransformerEncoderLayer)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def activation_stats(model: nn.Module) -> AbstractContextManager[None]:
    """Mean, standard deviation and share near zero at every step, read at once, as fastai's ActivationStats."""
    return with_hooks(model, lambda h: (h.mean().item(), h.std().item(), (h.abs() <= 0.05).float().mean().item()))


def unit_counts(model: nn.Module) -> AbstractContextManager[None]:
    """A boolean count per unit at every step."""
    return with_hooks(
        model, lambda h: (h > 0).sum(tuple(i for i in range(h.ndim) if i != (1 if h.ndim == 4 else h.ndim - 1)))
    )


@contextmanager
def histograms_of_weights(model: nn.Module) -> Iterator[None]:
    """64 bins of every gradient and every parameter, brought to the host, as wandb.watch(log="all", log_freq=10)."""
    calls = 0

    def of(values: Tensor) -> list[float]:
        flat = values.detach().flatten().float()
        low, high = flat.min().item(), flat.max().item()
        return list(torch.histc(flat, 64, low, high).cpu().tolist())

    def after(weight: Tensor) -> None:
        if calls % 10 == 0 and weight.grad is not None:
            of(weight.grad)

    def before(module: nn.Module, args: object, output: object) -> None:
        nonlocal calls
        calls += 1
        if calls % 10 == 0:
            for weight in model.parameters():
                of(weight)

    handles = [weight.register_post_accumulate_grad_hook(after) for weight in model.parameters()]
    handles.append(model.register_forward_hook(before))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# As in TensorBoard: edges that grow by a tenth, on both sides of 0.
_SIDE = 1e-12 * 1.1 ** np.arange(774)
_EDGES = np.concatenate([-_SIDE[::-1], [0.0], _SIDE])


def histograms_of_activations(model: nn.Module) -> AbstractContextManager[None]:
    """A histogram of every activation at every tenth step, as SummaryWriter.add_histogram counts it."""
    calls = 0

    def look(h: Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls // sites % 10 == 0:
            np.histogram(h.cpu().numpy().ravel(), _EDGES)

    sites = max(1, sum(isinstance(module, nn.ReLU | nn.TransformerEncoderLayer) for module in model.modules()))
    return with_hooks(model, look)


TODAY: dict[str, Around] = {
    "mean, std, near zero, .item() (fastai)": activation_stats,
    "boolean count per unit": unit_counts,
    "histograms of weights and gradients, every 10th (wandb.watch)": histograms_of_weights,
    "histograms of activations, every 10th (TensorBoard)": histograms_of_activations,
}


def trainer(model: nn.Module, shape: tuple[int, ...], called: Callable[..., Any] | None = None) -> Step:
    """One training step, on more batches than fit into the caches."""
    call = model if called is None else called
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    batches = [(torch.randn(shape), torch.randint(10, shape[:1])) for _ in range(16)]
    turn = 0

    def step() -> None:
        nonlocal turn
        turn += 1
        x, y = batches[turn % len(batches)]
        optimizer.zero_grad()
        nn.functional.cross_entropy(call(x), y).backward()
        optimizer.step()

    return step


@dataclass
class Arm:
    """One way to train, and what its turns took.

    Attributes:
        step: One training step.
        around: Entered for a turn.
        steps: Of a turn.
        kind: Of the step that comes next, given its place in the turn.
        watched: The monitor's side, for the arms that are watched.
        times: Per round and kind, what each step took.
        writing: Per round, seconds that went into writing, a step.
    """

    step: Step
    around: Callable[[], AbstractContextManager[None]]
    steps: int = 0
    kind: Callable[[int], int] = lambda index: 0
    watched: Watched | None = None
    times: list[dict[int, list[float]]] = field(default_factory=list)
    writing: list[float] = field(default_factory=list)

    def begin_round(self) -> None:
        self.times.append({})
        self.writing.append(0.0)

    def turn(self, clock: Callable[[], float], share: float) -> None:
        """Train some steps; `share` is the turn's of its round."""
        times = self.times[-1]
        written = self.watched.writing if self.watched is not None else 0.0
        with self.around():
            for index in range(self.steps):
                kind, before = self.kind(index), self.watched.writing if self.watched is not None else 0.0
                began = clock()
                self.step()
                took = clock() - began
                if self.watched is not None:
                    took -= self.watched.writing - before
                if index:
                    times.setdefault(kind, []).append(took)
        if self.watched is not None:
            self.writing[-1] += share * (self.watched.writing - written) / self.steps

    def shares(self) -> dict[int, float]:
        """How often each kind of step comes, of those that came."""
        kinds = {kind for turn in self.times for kind in turn}
        if self.watched is None:
            return dict.fromkeys(kinds, 1 / len(kinds))
        return {kind: share for kind, share in self.watched.shares().items() if kind in kinds}

    def ratio(self, rounds: NDArray[np.int64], plain: NDArray[np.float64]) -> float:
        """Of a step to a plain one of its round, over the rounds of these numbers; `plain` has all rounds'."""
        total, known = 0.0, 0.0
        for kind, share in self.shares().items():
            each = [np.array(self.times[i].get(kind, [])) / plain[i] for i in rounds]
            if any(map(len, each)):
                total += share * float(np.median(np.concatenate(each)))
                known += share
        return total / known + float(np.mean([self.writing[i] / plain[i] for i in rounds]))

    def fewest(self) -> int:
        """How many steps there are of the rarest kind that comes."""
        kinds = self.shares() if self.watched is None else self.watched.shares()
        return min(sum(len(turn.get(kind, [])) for turn in self.times) for kind, share in kinds.items() if share > 0)


class Measured:
    """Arms of one workload, timed in turns."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self.arms: dict[str, Arm] = {}
        self.rounds = 0

    def timed(self, step: Step, steps: int) -> float:
        began = self._clock()
        for _ in range(steps):
            step()
        return (self._clock() - began) / steps

    def run(self) -> None:
        often = [label for label in self.arms if label not in TODAY]
        tools = [[label] for label in self.arms if label in TODAY] or [[]]
        # Drawn anew each round, so that no arm always finds what the same other one has left behind.
        rng, began = random.Random(0), time.perf_counter()
        while not self._enough(time.perf_counter() - began):
            # What is to be told apart by a percent has a turn before each of the others.
            order = [arm for tool in rng.sample(tools, len(tools)) for arm in (*rng.sample(often, len(often)), *tool)]
            for arm in self.arms.values():
                arm.begin_round()
            for label in order:
                self.arms[label].turn(self._clock, 1 / order.count(label))
            self.rounds += 1

    def _enough(self, seconds: float) -> bool:
        if seconds < self._seconds or self.rounds < FEWEST_ROUNDS:
            return False
        # A kind that comes every few thousand steps is not waited for: it weighs as little.
        return seconds > 2 * self._seconds or min(arm.fewest() for arm in self.arms.values()) >= FEWEST_OF_A_KIND

    @staticmethod
    def _all(arm: Arm, number: int) -> list[float]:
        """What each step of a round took."""
        return [took for times in arm.times[number].values() for took in times]

    def rows(self, name: str) -> list[str]:
        rng = np.random.default_rng(0)
        everything = np.arange(self.rounds)
        drawn = [rng.choice(everything, self.rounds) for _ in range(400)]
        first, second = ([self._all(self.arms[label], i) for i in range(self.rounds)] for label in (PLAIN, AGAIN))
        alone = np.array([np.median(times) for times in first])
        both = np.array([np.median([*a, *b]) for a, b in zip(first, second, strict=True)])
        rows = []
        for label, arm in list(self.arms.items())[1:]:
            plain = alone if label == AGAIN else both
            ratio, *again = [arm.ratio(rounds, plain) for rounds in [everything, *drawn]]
            low, high = np.quantile(again, [0.025, 0.975])
            note = arm.watched.note if arm.watched else ""
            step = f"{1e3 * np.median(both):.2f}"
            rows.append(f"| {name} | {step} | {label} | {note} | {ratio:.3f} | {low:.3f} – {high:.3f} |")
        return rows


def measure(name: str, seconds: float, clock: Callable[[], float], *, compiled: bool) -> list[str]:
    build, shape = WORKLOADS[name]
    torch.manual_seed(0)
    torch._dynamo.reset()
    model = build()
    run = Measured(clock, seconds)
    step = trainer(model, shape, torch.compile(model) if compiled else None)
    run.timed(step, 3)
    per_step = run.timed(step, 10)
    watched = {"rectifier": Watched(per_step)}
    if compiled:
        watched["rectifier --observe-compiled"] = Watched(per_step, observe_compiled=True)
    others = {} if compiled else TODAY
    every: dict[str, Around] = {PLAIN: nothing, AGAIN: nothing, **watched, **others}
    for label, around in every.items():
        run.arms[label] = Arm(step, partial(around, model), watched=watched.get(label))
        if label in others:
            run.arms[label].kind = lambda index: index % 10
    longest = max(8, round(2.0 / per_step))
    for arm in run.arms.values():
        # One more than tens: the first is not used, and every tenth step of the others comes equally often.
        arm.steps = 1 + 10 * max(1, round(0.025 / per_step))
        if arm.watched is not None:
            arm.kind = arm.watched.kind
            # Until the schedule has found its length.
            for _ in range(6):
                with arm.around():
                    interval = arm.watched.monitor.observation.schedule.count_interval
                    run.timed(arm.step, min(max(8, 2 * interval), longest))
    run.run()
    return run.rows(f"{name}, compiled" if compiled else name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    longer = "at least 20 rounds, and up to twice as long where rare steps are waited for"
    parser.add_argument("--seconds", type=float, default=90.0, help=f"per workload (default 90); {longer}")
    parser.add_argument("--quick", action="store_true", help="20 seconds per workload, or 20 rounds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "thread"), default="wall", help="thread: with --threads 1")
    parser.add_argument("--only", default="", help="workloads whose name contains this")
    parser.add_argument("--write", type=Path, metavar="README", help="put the table there, between its two marks")
    options = parser.parse_args()
    torch.set_num_threads(1 if options.clock == "thread" else options.threads)
    clock: Callable[[], float] = time.perf_counter
    if options.clock == "thread":
        # The monitor's budget must not pay for what other programs take, either.
        clock = time.thread_time
        own = SimpleNamespace(perf_counter=clock, thread_time=clock)
        for module in ("monitor", "observation", "windows", "sites.counting", "observe_compiled"):
            vars(import_module(f"rectifier.monitor.training.{module}"))["time"] = own
    seconds = 20.0 if options.quick else options.seconds
    threads = torch.get_num_threads()
    head = f"torch {torch.__version__}, threads: {threads}, {options.clock} time, at least {seconds:.0f} s a workload"
    lines = [
        head, "", "| workload | step, ms | arm | observed steps | ratio to plain | 95% |",
        "|---|---|---|---|---|---|",
    ]  # fmt: skip
    print("\n".join(lines), flush=True)
    for name, compiled in [*((one, False) for one in WORKLOADS), *((one, True) for one in COMPILED)]:
        if options.only in f"{name}{', compiled' if compiled else ''}":
            rows = measure(name, seconds, clock, compiled=compiled)
            print("\n".join(rows), flush=True)
            lines += rows
    if options.write is not None:
        begin, end = MARKS
        text = options.write.read_text()
        table = f"{begin}\n" + "\n".join(lines) + f"\n{end}"
        options.write.write_text(re.sub(f"{begin}.*?{end}", lambda _: table, text, flags=re.S))


if __name__ == "__main__":
    main()
