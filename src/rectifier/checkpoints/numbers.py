"""Numpy's scalars and arrays in a stranger's pickle, read without numpy's own unpickling.

A pickle may give a dtype any flags, and numpy then trusts them. Here a dtype is a text, a scalar a Python number made
from its bytes, and an array nothing: no weight of PyTorch is one.
"""

import pickle
from typing import Any

import numpy as np

_KINDS = frozenset({"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"})


class Dtype:
    """Stands for `numpy.dtype`: remembers the code and the order of bytes, and takes no other state."""

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        self.code, self.order = str(code), "="

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">"):
            self.order = str(state[1])


class Array:
    """Stands for `numpy.ndarray`: whatever it held is dropped."""

    def __setstate__(self, state: Any) -> None:
        return


def scalar(dtype: Any, data: Any = b"") -> Any:
    """Stands for numpy's function of this name.

    Raises:
        UnpicklingError: It is no plain number.
    """
    code = dtype.code.replace("?", "b1") if isinstance(dtype, Dtype) else ""
    if code not in _KINDS or not isinstance(data, bytes) or len(data) != int(code[1:]):
        raise pickle.UnpicklingError("a number of numpy is not one")
    return np.frombuffer(data, np.dtype(dtype.order + code))[0].item()


def reconstruct(*arguments: Any) -> Array:
    """Stands for numpy's `_reconstruct`."""
    return Array()


STAND_INS: tuple[tuple[Any, str], ...] = (
    (Dtype, "numpy.dtype"),
    (Array, "numpy.ndarray"),
    # A checkpoint names the numpy that wrote it; both names stand for the same functions.
    *((scalar, f"{home}.scalar") for home in ("numpy._core.multiarray", "numpy.core.multiarray")),
    *((reconstruct, f"{home}._reconstruct") for home in ("numpy._core.multiarray", "numpy.core.multiarray")),
)
