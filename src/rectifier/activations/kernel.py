"""PReLU's backward in one pass, compiled on the spot where there is a C compiler.

torch's operators need three to five passes for what one can do (`slope.py`, the way without a compiler). Nothing is
compiled at installation: the first large backward pass runs the compiler, about half a second, in a temporary folder
that is gone when the function is loaded. Whatever fails on the way means: there is no kernel. `CC` names another
compiler, `RECTIFIER_COMPILE=0` forbids it.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from importlib.resources import files
from math import ceil, inf, prod
from pathlib import Path

import torch
from torch import Tensor

# 64 K elements are done in about 40 µs: enough for a thread to be worth waking, small enough to share them out evenly.
BLOCK = 1 << 16
# Shorter rows would spend their time, and their sums' memory, between the rows.
SHORTEST_ROW = 16

_NAMES = {torch.float32: "float32", torch.float64: "float64", torch.bfloat16: "bfloat16"}
_WIDE = {torch.float32: torch.float32, torch.float64: torch.float64, torch.bfloat16: torch.float32}
_SECONDS = 60


def gradients(delta: Tensor, z: Tensor, slopes: Tensor, channel: int) -> tuple[Tensor, Tensor] | None:
    """Compute both gradients of contiguous tensors in one pass; None where that cannot be done.

    Args:
        delta: Gradient of the output, contiguous, of the shape of z.
        z: The input, contiguous.
        slopes: One slope, or one for each entry of z's dimension `channel`.
        channel: The dimension that the slopes belong to.

    Returns:
        The gradient of z, and the slopes' as a vector in float64; or None: no compiler, or a dtype or shape for which
        the passes of torch's operators are as good.
    """
    before, channels, after = prod(z.shape[:channel]), slopes.numel(), prod(z.shape[channel + 1 :])
    if z.dtype not in _NAMES or not z.numel() or (channels > 1 and 1 < after < SHORTEST_ROW):
        return None
    library = compiled()
    if library is None:
        return None
    d_z = torch.empty_like(z)
    slopes = slopes.contiguous()
    pointers = [tensor.data_ptr() for tensor in (delta, z, slopes, d_z)]
    if channels == 1 or after > 1:
        length = BLOCK if channels == 1 else after
        sums = torch.empty((ceil(z.numel() / length / channels), channels), dtype=torch.float64, device="cpu")
        _call(library, "rows", z, *pointers, sums.data_ptr(), z.numel(), length, channels)
    else:
        # Not more blocks than rows or than 64, so that their sums stay small beside z.
        block = ceil(before / min(before, 64, ceil(z.numel() / BLOCK)))
        blocks = ceil(before / block)
        sums = torch.empty((blocks, channels), dtype=torch.float64, device="cpu")
        scratch = torch.empty((1 + blocks, channels), dtype=_WIDE[z.dtype], device="cpu")
        _call(library, "columns", z, *pointers, sums.data_ptr(), before, channels, block, scratch.data_ptr())
    return d_z, sums.sum(0)


def _call(library: ctypes.CDLL, name: str, z: Tensor, *arguments: int) -> None:
    threads = min(torch.get_num_threads(), ceil(z.numel() / BLOCK))
    function = getattr(library, f"{name}_{_NAMES[z.dtype]}")
    function(*map(ctypes.c_int64, arguments), ctypes.c_int(threads))


@cache
def compiled() -> ctypes.CDLL | None:
    """Compile and load the kernel, once a process; None where that is forbidden or fails in any way."""
    if os.environ.get("RECTIFIER_COMPILE") == "0":
        return None
    try:
        library = _build(shutil.which(os.environ.get("CC") or "cc") or "")
        return library if _right(library) else None
    except (OSError, subprocess.SubprocessError, ValueError, AttributeError):
        return None


def _build(compiler: str) -> ctypes.CDLL:
    source = files("rectifier.activations").joinpath("prelu_backward.c").read_text(encoding="utf-8")
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


def _right(library: ctypes.CDLL) -> bool:
    """Tell whether what was compiled computes what it shall, on a few numbers: compilers have bugs, too."""
    z, delta, slope, d_z = (
        torch.tensor(numbers, dtype=torch.float32, device="cpu")
        for numbers in ([-2.0, -0.0, 3.0, 1.0, -0.5, -inf], [1.0, 5.0, -1.0, 2.0, -4.0, 0.5], [0.25], [0.0] * 6)
    )
    sums = torch.empty(1, dtype=torch.float64, device="cpu")
    _call(library, "rows", z, *[tensor.data_ptr() for tensor in (delta, z, slope, d_z, sums)], 6, BLOCK, 1)
    return d_z.tolist() == [0.25, 1.25, -1.0, 2.0, -1.0, 0.125] and sums.tolist() == [-inf]
