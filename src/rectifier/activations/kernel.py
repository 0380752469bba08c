"""PReLU and its backward in one pass each, compiled on the spot when somebody asks for it.

torch's operators need three to five passes for what the backward can do in one (`prelu.py`, the way without a
compiler). Nothing is compiled at installation, and nothing unasked: `RECTIFIER_COMPILE=1` or `compile_prelu()` runs the
compiler, about half a second, in a temporary folder that is gone when the functions are loaded. `CC` names another
compiler.
"""

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from math import ceil, prod
from pathlib import Path

import torch
from torch import Tensor

from rectifier.errors import CannotCompile

# 64 K elements are done in about 40 µs: enough for a thread to be worth waking, small enough to share them out evenly.
BLOCK = 1 << 16
# Shorter rows would spend their time, and their sums' memory, between the rows.
SHORTEST_ROW = 16

_WIDE = {torch.float32: torch.float32, torch.float64: torch.float64, torch.bfloat16: torch.float32}
_MEMORIES = {"row_values": 3, "column_values": 3, "row_gradients": 6, "column_gradients": 6}
_SECONDS = 60

Functions = Mapping[tuple[str, torch.dtype], Callable[..., None]]


def compile_prelu() -> None:
    """Compile PReLU's kernel for this machine, and use it from now on in this process.

    `prelu` and `PReLU` then need one pass over the numbers each way, from 131,072 elements of float32, float64 or
    bfloat16 on. Without it, their backward pass is made of torch's operators, which is slower (benchmarks/README.md
    compares both). `RECTIFIER_COMPILE=1` in the environment asks for the same at the first such call; a failure is
    then one warning.

    Note:
        This runs the C compiler, `cc` or what the environment variable `CC` names, for about half a second, and loads
        what it built. The result is checked against known numbers before it is used. Nothing stays on the disk. A
        second call does nothing.

    Raises:
        CannotCompile: There is no compiler, it failed, or what it built computes something else. The text says which.
            PReLU works on without the kernel.

    Example:
        >>> compile_prelu()  # doctest: +SKIP
    """
    global _functions  # noqa: PLW0603
    if _functions is None:
        _functions = _compiled()


def functions() -> Functions | None:
    """Give the compiled functions; None where nobody asked for them, or where they cannot be had."""
    if _functions is None:
        _heed_environment()
    return _functions


def forward(z: Tensor, slopes: Tensor, channel: int) -> Tensor | None:
    """Compute PReLU of a contiguous tensor; None where that cannot be done, or gains nothing.

    Args:
        z: The input, contiguous.
        slopes: One slope, or one for each entry of z's dimension `channel`.
        channel: The dimension that the slopes belong to.

    Returns:
        The same bits as torch's; or None: no kernel, or a dtype or shape for which torch's operator is as good.
    """
    found = _for(z, slopes, channel)
    return None if found is None else _values(found, z, slopes, channel)


def backward(delta: Tensor, z: Tensor, slopes: Tensor, channel: int) -> tuple[Tensor, Tensor] | None:
    """Compute both gradients of contiguous tensors; None where that cannot be done, or gains nothing.

    Args:
        delta: Gradient of the output, contiguous, of the shape and dtype of z.
        z: The input, contiguous.
        slopes: One slope, or one for each entry of z's dimension `channel`.
        channel: The dimension that the slopes belong to.

    Returns:
        The gradient of z, and that of the slopes in their shape and dtype; or None.
    """
    found = _for(z, slopes, channel)
    return None if found is None else _gradients(found, delta, z, slopes, channel)


_functions: Functions | None = None


@cache
def _heed_environment() -> None:
    """Compile once a process if `RECTIFIER_COMPILE` asks for it."""
    if os.environ.get("RECTIFIER_COMPILE") != "1":
        return
    try:
        compile_prelu()
    except CannotCompile as error:
        warnings.warn(f"{error} PReLU goes on without it.", RuntimeWarning, stacklevel=2)


def _for(z: Tensor, slopes: Tensor, channel: int) -> Functions | None:
    # Slopes of another shape are for torch to refuse.
    if slopes.dim() > 1 or slopes.numel() not in (1, z.shape[channel] if z.dim() > 1 else 1):
        return None
    if z.dtype not in _WIDE or slopes.dtype != z.dtype or not (z.is_cpu and slopes.is_cpu) or not z.numel():
        return None
    if slopes.numel() > 1 and 1 < prod(z.shape[channel + 1 :]) < SHORTEST_ROW:
        return None
    return functions()


def _values(compiled: Functions, z: Tensor, slopes: Tensor, channel: int) -> Tensor:
    h, count, channels, slopes = torch.empty_like(z), z.numel(), slopes.numel(), slopes.contiguous()
    threads, length = _threads(count), _row(z, channels, channel)
    if length:
        compiled["row_values", z.dtype](z, slopes, h, count, length, channels, threads)
    else:
        rows = count // channels
        scratch = torch.empty(channels, dtype=_WIDE[z.dtype], device="cpu")
        # Values are the same in blocks of any size: as many as there are threads.
        block = ceil(rows / min(rows, threads))
        compiled["column_values", z.dtype](z, slopes, h, rows, channels, block, scratch, threads)
    return h


def _gradients(compiled: Functions, delta: Tensor, z: Tensor, slopes: Tensor, channel: int) -> tuple[Tensor, Tensor]:
    d_z, slopes = torch.empty_like(z), slopes.contiguous()
    count, channels = z.numel(), slopes.numel()
    d_slopes = torch.empty_like(slopes)
    threads, length = _threads(count), _row(z, channels, channel)
    if length:
        sums = torch.empty(ceil(count / length), dtype=torch.float64, device="cpu")
        memories = (delta, z, slopes, d_z, d_slopes, sums)
        compiled["row_gradients", z.dtype](*memories, count, length, channels, threads)
    else:
        rows = count // channels
        block = _block(rows, count)
        blocks = ceil(rows / block)
        sums = torch.empty(blocks * channels, dtype=torch.float64, device="cpu")
        scratch = torch.empty((1 + blocks) * channels, dtype=_WIDE[z.dtype], device="cpu")
        memories = (delta, z, slopes, d_z, d_slopes, sums)
        compiled["column_gradients", z.dtype](*memories, rows, channels, block, scratch, threads)
    return d_z, d_slopes


def _row(z: Tensor, channels: int, channel: int) -> int:
    """The number of elements side by side that share a slope; 0 where each has another than its neighbour."""
    if channels == 1:
        return BLOCK
    after = prod(z.shape[channel + 1 :])
    return after if after > 1 else 0


def _block(rows: int, count: int) -> int:
    # At most 64 blocks, of at least 32 rows where there are as many, so that their sums stay small beside z.
    return max(min(rows, 32), ceil(rows / min(64, ceil(count / BLOCK))))


def _threads(count: int) -> int:
    return min(torch.get_num_threads(), ceil(count / BLOCK))


def _compiled() -> Functions:
    named = os.environ.get("CC") or "cc"
    try:
        command = shlex.split(named)
    except ValueError:  # Unbalanced quotes.
        command = []
    if not command or shutil.which(command[0]) is None:
        raise _cannot(f"there is no C compiler {named!r}. Install gcc or clang, or name yours in CC.")
    try:
        found = _functions_of(_build(command))
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()[-500:]
        raise _cannot(f"{command[0]} failed ({error.returncode}): {said}\nName another compiler in CC.") from None
    except subprocess.TimeoutExpired:
        raise _cannot(f"{command[0]} did not end within {_SECONDS} seconds. Name another compiler in CC.") from None
    except (OSError, AttributeError) as error:
        raise _cannot(f"what {command[0]} built cannot be loaded: {error}. Name another compiler in CC.") from None
    if not _right(found):
        raise _cannot(f"what {command[0]} built gives wrong results. Name another compiler in CC.")
    return found


def _cannot(reason: str) -> CannotCompile:
    return CannotCompile(f"PReLU's kernel was not compiled: {reason}")


def _build(compiler: list[str]) -> ctypes.CDLL:
    # Not by name: a script may have a module of its own that is called rectifier.
    source = Path(__file__).with_name("prelu.c").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="rectifier-") as folder:
        (Path(folder) / "kernel.c").write_text(source, encoding="utf-8")
        # Linked without OpenMP's own library: its functions are then found in the one that torch has loaded, with
        # torch's threads. A second such library would bring threads that compete with them.
        # No trapping: nobody asked for floating-point exceptions, and both branches can be computed at once.
        compiling = ["-O3", "-march=native", "-fno-trapping-math", "-fopenmp", "-fPIC", "-c", "kernel.c"]
        for flags in (compiling, ["-shared", "kernel.o"]):
            output = "kernel.o" if "-c" in flags else "kernel.so"
            subprocess.run(
                [*compiler, *flags, "-o", output],
                cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS,
            )  # fmt: skip
        return ctypes.CDLL(str(Path(folder) / "kernel.so"))


class _Memory:
    """The type of an argument that is a tensor's memory.

    A compiled function is given the tensors themselves, so that its call holds every one of them until it returns. No
    address is ever kept apart from the tensor that it belongs to.
    """

    @staticmethod
    def from_param(tensor: Tensor) -> ctypes.c_void_p:
        return ctypes.c_void_p(tensor.data_ptr())


def _functions_of(library: ctypes.CDLL) -> Functions:
    found = {}
    for name, memories in _MEMORIES.items():
        for dtype in _WIDE:
            function = getattr(library, f"{name}_{str(dtype).removeprefix('torch.')}")
            scratch = [_Memory] if name.startswith("column") else []
            function.argtypes = [_Memory] * memories + [ctypes.c_int64] * 3 + scratch + [ctypes.c_int]
            function.restype = None
            found[name, dtype] = function
    return found


def _right(compiled: Functions) -> bool:
    """Tell whether what was compiled computes what it shall, on a few numbers: compilers have bugs, too."""
    # Small powers of 2 and their sums: exact in every dtype.
    eight_z, eight_delta = [-2.0, -0.0, 3.0, 1.0, -0.5, -4.0, -1.0, 8.0], [1.0, 5.0, -1.0, 2.0, -4.0, 0.5, 0.25, 1.0]
    two = [0.25, 2.0]
    # One slope; one for each column, also of two blocks and more columns than are added up at once; one for each row.
    for shape, a in (((8,), [0.25]), ((4, 2), two), ((66, 72), two * 36), ((2, 2, 2), two)):
        z, delta = (eight * (prod(shape) // 8) for eight in (eight_z, eight_delta))
        channel = min(1, len(shape) - 1)
        side_by_side = prod(shape[channel + 1 :])
        of = [index // side_by_side % len(a) for index in range(len(z))]
        products = [0.0 if at > 0 else at * d for at, d in zip(z, delta, strict=True)]
        expected = [
            [at if at > 0 else a[c] * at for at, c in zip(z, of, strict=True)],
            [d if at > 0 else a[c] * d for at, d, c in zip(z, delta, of, strict=True)],
            [sum(product for product, c in zip(products, of, strict=True) if c == one) for one in range(len(a))],
        ]
        for dtype in _WIDE:
            inputs, incoming, slopes = (torch.tensor(each, dtype=dtype, device="cpu") for each in (z, delta, a))
            inputs = inputs.view(shape)
            h = _values(compiled, inputs, slopes, channel)
            found = [h, *_gradients(compiled, incoming, inputs, slopes, channel)]
            if [tensor.view(-1).tolist() for tensor in found] != expected:
                return False
    return True
