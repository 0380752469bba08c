"""What our own backward passes cost: forward and backward beside torch's, in turns, in one table; ratios stand last.

Every line is timed in turns of a few milliseconds, one after the other: torch's, torch's again (A/A: the noise), ours,
a plain copy that moves the same bytes (input to a fresh output, incoming gradient to a fresh one), and for PReLU ours
with the compiled kernel and torch's Leaky ReLU. Buffers rotate through more memory than the caches hold. A ratio is the
median over turns of (time of a turn / time of torch's turn next to it), with a 95% interval from the bootstrap.

    python benchmarks/activations.py [--seconds 1.0] [--threads 2] [--only prelu]
    python benchmarks/activations.py --threads 1 --clock processor --markdown    # on a machine that is busy
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

import rectifier.functional as rf
from rectifier.activations import kernel
from rectifier.errors import CannotCompile

POOL_BYTES = 96 << 20
TURN_SECONDS = 4e-3
LEAST_TURNS = 5
SIZES = tuple(1 << power for power in (12, 14, 16, 18, 20, 22, 24))
IMAGE = (32, 64, 56, 56)
NOISE = 1.05  # medians of equal arms stay within this on a quiet machine

CLOCKS = {"wall": time.perf_counter, "processor": time.thread_time}

Function = Callable[..., Tensor]
Step = Callable[[Tensor, Tensor], object]
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
        return {
            "leaky_relu": {"torch": lambda z: F.leaky_relu(z, 0.1), "ours": lambda z: rf.leaky_relu(z, 0.1)},
            "elu": {"torch": F.elu, "ours": rf.elu},
            "prelu, one slope": {"torch": F.prelu, "ours": rf.prelu},
            "prelu, per channel": {"torch": F.prelu, "ours": rf.prelu},
        }[self.name]

    def slopes(self) -> tuple[Tensor, ...]:
        count = {"prelu, one slope": 1, "prelu, per channel": self.shape[1]}.get(self.name)
        return () if count is None else (torch.full((count,), 0.25, dtype=self.dtype).requires_grad_(),)


@dataclass(frozen=True)
class Line:
    """What was measured of a cell; `compiled` and `leaky` only for PReLU."""

    cell: Cell
    milliseconds: float
    noise: Ratio
    copy: Ratio
    leaky: Ratio | None
    ours: Ratio
    compiled: Ratio | None


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


def arms(cell: Cell, built: kernel.Functions | None) -> dict[str, Step]:
    slopes, functions = cell.slopes(), cell.functions()

    def both_ways(function: Function, *others: Tensor) -> Step:
        return lambda z, delta: torch.autograd.grad(function(z, *others), (z, *others), delta)

    def copies(z: Tensor, delta: Tensor) -> object:
        return z.detach().clone(), delta.clone()

    tried: dict[str, Step] = {
        "torch": both_ways(functions["torch"], *slopes), "A/A": both_ways(functions["torch"], *slopes),
        "ours": both_ways(functions["ours"], *slopes), "copy": copies,
    }  # fmt: skip
    if not slopes:
        return tried

    def compiled(z: Tensor, delta: Tensor) -> object:
        kernel._functions = built
        try:
            return tried["ours"](z, delta)
        finally:
            kernel._functions = None

    return {
        **tried,
        **({"compiled": compiled} if built else {}),
        "leaky": both_ways(lambda z: F.leaky_relu(z, 0.25)),
    }


def measure(tried: dict[str, Step], pool: Pool, seconds: float, clock: Callable[[], float]) -> dict[str, np.ndarray]:
    """Seconds a call, by arm and turn; the arms take turns in an order that rotates."""

    def turn(arm: str, calls: int) -> float:
        step = tried[arm]
        began = clock()
        for _ in range(calls):
            step(*pool.take())
        return (clock() - began) / calls

    for arm in tried:
        turn(arm, 2)
    calls = {arm: max(1, round(TURN_SECONDS / turn(arm, 3))) for arm in tried}
    times: dict[str, list[float]] = {arm: [] for arm in tried}
    began, order = clock(), list(tried)
    while clock() - began < seconds or len(times["torch"]) < LEAST_TURNS:
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
        for dtype in (torch.float32, torch.bfloat16):
            for shape in (*[(size // row, row) for size in SIZES for row in (64, 1024)], IMAGE):
                if only in name:
                    yield Cell(name, dtype, shape)


def lines(options: argparse.Namespace, built: kernel.Functions | None) -> Iterator[Line]:
    for cell in cells(options.only):
        times = measure(arms(cell, built), Pool(cell), options.seconds, CLOCKS[options.clock])
        of = {
            name: ratio(times, above, below) if above in times and below in times else None
            for name, above, below in (
                ("noise", "A/A", "torch"), ("copy", "ours", "copy"), ("leaky", "compiled", "leaky"),
                ("ours", "ours", "torch"), ("compiled", "compiled", "torch"),
            )
        }  # fmt: skip
        line = Line(cell, 1e3 * float(np.median(times["torch"])), **of)
        print(f"{cell.name}, {cell.dtype}, {cell.shape}: {line.ours[0]:.2f} of torch's", file=sys.stderr, flush=True)
        yield line


def missed(line: Line) -> list[str]:
    """The targets that this line misses by more than the noise."""
    cell, said = line.cell, []
    where = f"{cell.name}, {str(cell.dtype)[6:]}, {cell.shape}"
    for way, found in (("", line.ours), (", compiled", line.compiled)):
        if found and found[1] > max(NOISE, line.noise[2]):
            said.append(f"{where}{way}: {found[0]:.2f} of torch's own ({found[1]:.2f} – {found[2]:.2f})")
    if line.leaky and cell.elements >= 1 << 20 and line.leaky[0] > 1.3:
        found = line.leaky
        said.append(f"{where}: {found[0]:.2f} of torch's Leaky ReLU ({found[1]:.2f} – {found[2]:.2f}), target 1.3")
    return said


def table(measured: list[Line], title: str) -> Table:
    made = Table(title=title, title_justify="left")
    for column in ("activation", "dtype", "shape", "elements", "torch, ms"):
        made.add_column(column, justify="left" if column in ("activation", "dtype", "shape") else "right")
    for column in ("A/A", "÷ copy", "ours ÷ torch", "compiled ÷ leaky", "compiled ÷ torch"):
        made.add_column(column, justify="right")
    for line in measured:
        cell = line.cell
        ratios = (line.noise, line.copy, line.ours, line.leaky, line.compiled)
        made.add_row(
            cell.name, str(cell.dtype)[6:], str(cell.shape), f"{cell.elements:,}", f"{line.milliseconds:.3f}",
            *(f"{each[0]:.2f} ({each[1]:.2f} – {each[2]:.2f})" if each else "" for each in ratios),
        )  # fmt: skip
    return made


def markdown(measured: list[Line]) -> Iterator[str]:
    """The medians, one line for all shapes of a size."""
    yield "| activation | elements | A/A | ours ÷ copy | ours ÷ torch's | compiled ÷ torch's | compiled ÷ Leaky ReLU |"
    yield "|---|---|---|---|---|---|---|"
    told = ""
    for (name, size), group in groupby(measured, lambda line: (_kind(line.cell), _size(line.cell))):
        each = list(group)
        ratios = [
            _range([getattr(line, which)[0] for line in each if getattr(line, which)])
            for which in ("noise", "copy", "ours", "compiled", "leaky")
        ]
        yield f"| {name if name != told else ''} | {size} | {' | '.join(ratios)} |"
        told = name


def _kind(cell: Cell) -> str:
    return f"{cell.name}, {str(cell.dtype)[6:]}"


def _size(cell: Cell) -> str:
    return str(cell.shape) if cell.shape == IMAGE else f"{cell.elements:,}"


def _range(medians: list[float]) -> str:
    return " – ".join(dict.fromkeys(f"{end:.2f}" for end in (min(medians), max(medians)))) if medians else ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.0, help="per line, at least five turns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="lines whose name contains this")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="the thread's processor time: one thread only")
    parser.add_argument("--markdown", action="store_true", help="print the table as in README.md")
    options = parser.parse_args()
    if options.clock == "processor" and options.threads != 1:
        parser.error("--clock processor sees one thread: give --threads 1")
    torch.set_num_threads(options.threads)
    try:
        rf.compile_prelu()
    except CannotCompile as error:
        print(error, file=sys.stderr)
    built, kernel._functions = kernel.functions(), None
    measured = list(lines(options, built))
    console = Console(width=180)
    threads = "1 thread" if options.threads == 1 else f"{options.threads} threads"
    title = f"forward and backward; torch {torch.__version__}, {threads}, CPU, {options.clock} time"
    if options.markdown:
        print("\n".join(markdown(measured)))
    else:
        console.print(table(measured, title))
    misses = [miss for line in measured for miss in missed(line)]
    console.print("Targets missed:" if misses else "No target missed.", highlight=False)
    for miss in misses:
        console.print(f"  {miss}", highlight=False)


if __name__ == "__main__":
    main()
