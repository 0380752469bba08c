"""PReLU and its backward in one pass each, compiled on the spot where there is a C compiler.

torch's operators need three to five passes for what the backward can do in one (`slope.py`, the way without a
compiler). Nothing is compiled at installation: the first large PReLU runs the compiler, about half a second, in a
temporary folder that is gone when the functions are loaded. Whatever fails on the way means: there is no kernel. `CC`
names another compiler, `RECTIFIER_COMPILE=0` forbids it.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from math import ceil, prod
from pathlib import Path

import torch
from torch import Tensor

# 64 K elements are done in about 40 µs: enough for a thread to be worth waking, small enough to share them out evenly.
BLOCK = 1 << 16
# Shorter rows would spend their time, and their sums' memory, between the rows.
SHORTEST_ROW = 16

_WIDE = {torch.float32: torch.float32, torch.float64: torch.float64, torch.bfloat16: torch.float32}
_POINTERS = {"row_values": 3, "column_values": 3, "row_gradients": 6, "column_gradients": 6}
_SECONDS = 60

Functions = Mapping[tuple[str, torch.dtype], Callable[..., None]]


def values(z: Tensor, slopes: Tensor, channel: int) -> Tensor | None:
    """Compute PReLU of a contiguous tensor; None where that cannot be done, or gains nothing.

    Args:
        z: The input, contiguous.
        slopes: One slope, or one for each entry of z's dimension `channel`.
        channel: The dimension that the slopes belong to.

    Returns:
        The same bits as torch's; or None: no compiler, or a dtype or shape for which torch's operator is as good.
    """
    functions = _for(z, slopes, channel)
    return None if functions is None else _values(functions, z, slopes, channel)


def gradients(
    delta: Tensor, z: Tensor, slopes: Tensor, channel: int, into: Tensor | None = None
) -> tuple[Tensor, Tensor] | None:
    """Compute both gradients of contiguous tensors; None where that cannot be done, or gains nothing.

    Args:
        delta: Gradient of the output, contiguous, of the shape of z.
        z: The input, contiguous.
        slopes: One slope, or one for each entry of z's dimension `channel`.
        channel: The dimension that the slopes belong to.
        into: delta itself, where the gradient of z may take its place.

    Returns:
        The gradient of z, and that of the slopes in their shape and dtype; or None.
    """
    functions = _for(z, slopes, channel)
    return None if functions is None else _gradients(functions, delta, z, slopes, channel, into)


def _for(z: Tensor, slopes: Tensor, channel: int) -> Functions | None:
    # Slopes of another shape are for torch to refuse.
    if slopes.dim() > 1 or slopes.numel() not in (1, z.shape[channel] if z.dim() > 1 else 1):
        return None
    if z.dtype not in _WIDE or not z.numel():
        return None
    if slopes.numel() > 1 and 1 < prod(z.shape[channel + 1 :]) < SHORTEST_ROW:
        return None
    return compiled()


def _values(functions: Functions, z: Tensor, slopes: Tensor, channel: int) -> Tensor:
    h, count, channels, slopes = torch.empty_like(z), z.numel(), slopes.numel(), slopes.contiguous()
    pointers, threads = (z.data_ptr(), slopes.data_ptr(), h.data_ptr()), _threads(count)
    length = _row(z, channels, channel)
    if length:
        functions["row_values", z.dtype](*pointers, count, length, channels, threads)
    else:
        rows = count // channels
        scratch = torch.empty(channels, dtype=_WIDE[z.dtype], device="cpu")
        # Values are the same in blocks of any size: as many as there are threads.
        block = ceil(rows / min(rows, threads))
        functions["column_values", z.dtype](*pointers, rows, channels, block, scratch.data_ptr(), threads)
    return h


def _gradients(
    functions: Functions, delta: Tensor, z: Tensor, slopes: Tensor, channel: int, into: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    d_z, slopes = torch.empty_like(z) if into is None else into, slopes.contiguous()
    count, channels = z.numel(), slopes.numel()
    d_slopes = torch.empty_like(slopes)
    pointers = (delta.data_ptr(), z.data_ptr(), slopes.data_ptr(), d_z.data_ptr(), d_slopes.data_ptr())
    threads, length = _threads(count), _row(z, channels, channel)
    if length:
        sums = torch.empty(ceil(count / length), dtype=torch.float64, device="cpu")
        functions["row_gradients", z.dtype](*pointers, sums.data_ptr(), count, length, channels, threads)
    else:
        rows = count // channels
        block = _block(rows, count)
        blocks = ceil(rows / block)
        sums = torch.empty(blocks * channels, dtype=torch.float64, device="cpu")
        scratch = torch.empty((1 + blocks) * channels, dtype=_WIDE[z.dtype], device="cpu")
        functions["column_gradients", z.dtype](
            *pointers, sums.data_ptr(), rows, channels, block, scratch.data_ptr(), threads
        )
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


@cache
def compiled() -> Functions | None:
    """Compile and load the kernel, once a process; None where that is forbidden or fails in any way."""
    if os.environ.get("RECTIFIER_COMPILE") == "0":
        return None
    try:
        functions = _functions(_build(shutil.which(os.environ.get("CC") or "cc") or ""))
        return functions if _right(functions) else None
    except Exception:  # Whatever it is, torch's operators do the same.
        return None


def _build(compiler: str) -> ctypes.CDLL:
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
                [compiler, *flags, "-o", output],
                cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=_SECONDS,
            )  # fmt: skip
        return ctypes.CDLL(str(Path(folder) / "kernel.so"))


def _functions(library: ctypes.CDLL) -> Functions:
    found = {}
    for name, pointers in _POINTERS.items():
        for dtype in _WIDE:
            function = getattr(library, f"{name}_{str(dtype).removeprefix('torch.')}")
            scratch = [ctypes.c_void_p] if name.startswith("column") else []
            function.argtypes = [ctypes.c_void_p] * pointers + [ctypes.c_int64] * 3 + scratch + [ctypes.c_int]
            function.restype = None
            found[name, dtype] = function
    return found


def _right(functions: Functions) -> bool:
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
            h = _values(functions, inputs, slopes, channel)
            found = [h, *_gradients(functions, incoming, inputs, slopes, channel)]
            if [tensor.view(-1).tolist() for tensor in found] != expected:
                return False
    return True
