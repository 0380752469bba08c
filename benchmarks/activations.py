"""What our own backward passes cost: forward and backward beside torch's, in turns, in one table; ratios stand last.

Every line is timed in turns of a few milliseconds, one after the other: torch's, torch's again (A/A: the noise), ours,
a plain copy that moves the same bytes (input to a fresh output, incoming gradient to a fresh one), and for PReLU
torch's Leaky ReLU. Lines "in a network" double what comes out, so that the gradient that arrives is a fresh one, and
nobody's; in all others it is the benchmark's own, and stays as it was. Buffers rotate through more memory than the
caches hold. A ratio is the median over turns of (time of a turn / time of torch's turn next to it), with a 95 %
interval from the bootstrap.

    python benchmarks/activations.py [--seconds 1.0] [--threads 2] [--only prelu]
    RECTIFIER_COMPILE=0 python benchmarks/activations.py --only prelu    # as without a C compiler
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

import rectifier.functional as rf
from rectifier.activations import kernel

POOL_BYTES = 96 << 20
TURN_SECONDS = 4e-3
LEAST_TURNS = 5
SIZES = tuple(1 << power for power in (12, 14, 16, 18, 20, 22, 24))
IMAGE = (32, 64, 56, 56)
IN_A_NETWORK = ", in a network"
NOISE = 1.05  # medians of equal arms stay within this on a quiet machine

Function = Callable[..., Tensor]
Ratio = tuple[float, float, float]


@dataclass(frozen=True)
class Cell:
    """One line of the table."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape))

    def functions(self) -> dict[str, Function]:
        """Torch's, and ours, each of z and of the slopes where there are some."""
        tried = {
            "leaky_relu": {"torch": lambda z: F.leaky_relu(z, 0.1), "ours": lambda z: rf.leaky_relu(z, 0.1)},
            "elu": {"torch": F.elu, "ours": rf.elu},
            "prelu, one slope": {"torch": F.prelu, "ours": rf.prelu},
            "prelu, per channel": {"torch": F.prelu, "ours": rf.prelu},
        }[self.name.removesuffix(IN_A_NETWORK)]
        return {who: self.placed(function) for who, function in tried.items()}

    def placed(self, function: Function) -> Function:
        """The function by itself, or followed by what computes its gradient afresh."""
        if not self.name.endswith(IN_A_NETWORK):
            return function
        return lambda *tensors: function(*tensors) * 2.0

    def slopes(self) -> tuple[Tensor, ...]:
        count = {"prelu, one slope": 1, "prelu, per channel": self.shape[1]}.get(self.name.removesuffix(IN_A_NETWORK))
        return () if count is None else (torch.full((count,), 0.25, dtype=self.dtype).requires_grad_(),)


class Pool:
    """Inputs and incoming gradients, taken in turn, from more memory than any cache has."""

    def __init__(self, cell: Cell) -> None:
        count = max(2, POOL_BYTES // (2 * cell.elements * cell.dtype.itemsize))
        generator = torch.Generator().manual_seed(0)
        made = [torch.randn((count, *cell.shape), generator=generator).to(cell.dtype) for _ in range(2)]
        self.pairs = [(z.requires_grad_(), delta) for z, delta in zip(*(m.unbind() for m in made), strict=True)]
        self.next = 0

    def take(self) -> tuple[Tensor, Tensor]:
        self.next = (self.next + 1) % len(self.pairs)
        return self.pairs[self.next]


def arms(cell: Cell) -> dict[str, Callable[[Tensor, Tensor], object]]:
    slopes, functions = cell.slopes(), cell.functions()

    def both_ways(function: Function, *others: Tensor) -> Callable[[Tensor, Tensor], object]:
        return lambda z, delta: torch.autograd.grad(function(z, *others), (z, *others), delta)

    def copies(z: Tensor, delta: Tensor) -> object:
        return z.detach().clone(), delta.clone()

    tried = {
        "torch": both_ways(functions["torch"], *slopes), "A/A": both_ways(functions["torch"], *slopes),
        "ours": both_ways(functions["ours"], *slopes), "copy": copies,
    }  # fmt: skip
    return {**tried, "leaky": both_ways(cell.placed(lambda z: F.leaky_relu(z, 0.25)))} if slopes else tried


def measure(cell: Cell, seconds: float) -> dict[str, np.ndarray]:
    """Seconds a call, by arm and turn; the arms take turns in an order that rotates."""
    pool, tried = Pool(cell), arms(cell)

    def turn(arm: str, calls: int) -> float:
        step = tried[arm]
        began = time.perf_counter()
        for _ in range(calls):
            step(*pool.take())
        return (time.perf_counter() - began) / calls

    for arm in tried:
        turn(arm, 2)
    calls = {arm: max(1, round(TURN_SECONDS / turn(arm, 3))) for arm in tried}
    times: dict[str, list[float]] = {arm: [] for arm in tried}
    began, order = time.perf_counter(), list(tried)
    while time.perf_counter() - began < seconds or len(times["torch"]) < LEAST_TURNS:
        order = order[1:] + order[:1]
        for arm in order:
            times[arm].append(turn(arm, calls[arm]))
    return {arm: np.array(each) for arm, each in times.items()}


def ratio(times: dict[str, np.ndarray], above: str, below: str) -> Ratio:
    each = times[above] / times[below]
    drawn = np.random.default_rng(0).choice(each, (400, len(each)))
    low, high = np.quantile(np.median(drawn, axis=1), (0.025, 0.975))
    return float(np.median(each)), float(low), float(high)


def cells(only: str) -> Iterator[Cell]:
    for name in ("leaky_relu", "elu", "prelu, one slope", "prelu, per channel"):
        every = [
            Cell(name, dtype, shape)
            for dtype in (torch.float32, torch.bfloat16)
            for shape in (*[(size // row, row) for size in SIZES for row in (64, 1024)], IMAGE)
        ]
        # Above 32 MiB, where fresh memory is mapped anew.
        every.append(Cell(name + IN_A_NETWORK, torch.float32, (SIZES[-1] // 1024, 1024)))
        yield from (cell for cell in every if only in cell.name)


def missed(cell: Cell, ours: Ratio, noise: Ratio, leaky: Ratio | None) -> list[str]:
    """The targets that this cell misses by more than the noise."""
    where = f"{cell.name}, {str(cell.dtype)[6:]}, {cell.shape}"
    said = []
    if ours[1] > max(NOISE, noise[2]):
        said.append(f"{where}: {ours[0]:.2f} of torch's own ({ours[1]:.2f} – {ours[2]:.2f})")
    if leaky is not None and cell.elements >= 1 << 20 and leaky[0] > 1.3:
        said.append(f"{where}: {leaky[0]:.2f} of torch's Leaky ReLU ({leaky[1]:.2f} – {leaky[2]:.2f}), target 1.3")
    return said


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.0, help="per line, at least five turns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="lines whose name contains this")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    way = "compiled" if kernel.compiled() else "of torch's operators"
    title = f"forward and backward; torch {torch.__version__}, {options.threads} threads, CPU; PReLU's kernel: {way}"
    table = Table(title=title, title_justify="left")
    for column in ("activation", "dtype", "shape", "elements", "torch, ms", "A/A", "÷ copy", "÷ leaky", "÷ torch"):
        table.add_column(column, justify="left" if column in ("activation", "dtype", "shape") else "right")
    misses = []
    for cell in cells(options.only):
        times = measure(cell, options.seconds)
        noise, copy, ours = (ratio(times, a, b) for a, b in (("A/A", "torch"), ("ours", "copy"), ("ours", "torch")))
        leaky = ratio(times, "ours", "leaky") if "leaky" in times else None
        misses += missed(cell, ours, noise, leaky)
        print(f"{cell.name}, {cell.dtype}, {cell.shape}: {ours[0]:.2f} of torch's", file=sys.stderr, flush=True)
        table.add_row(
            cell.name, str(cell.dtype)[6:], str(cell.shape), f"{cell.elements:,}",
            f"{1e3 * np.median(times['torch']):.3f}",
            f"{noise[0]:.2f} ({noise[1]:.2f} – {noise[2]:.2f})", f"{copy[0]:.2f}", f"{leaky[0]:.2f}" if leaky else "",
            f"{ours[0]:.2f} ({ours[1]:.2f} – {ours[2]:.2f})",
        )  # fmt: skip
    console = Console(width=150)
    console.print(table)
    console.print("Targets missed:" if misses else "No target missed.", highlight=False)
    for miss in misses:
        console.print(f"  {miss}", highlight=False)


if __name__ == "__main__":
    main()
