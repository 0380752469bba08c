"""Facts to JSON and back. Arrays travel as base64 of zlib, in half the width where that holds the same values.

Reading validates every field against its type and never executes anything, so a stranger's file is safe.
"""

import base64
import math
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import msgspec
import numpy as np

from rectifier.records.counts import LARGEST

_DTYPES = {"<i8": np.int64, "<f8": np.float64, "<i4": np.int32, "<f4": np.float32, "|b1": np.bool_}
_WIDER = {"<i4": np.int64, "<f4": np.float64}
"""What facts hold; the narrower forms are for the file alone."""

T = TypeVar("T")

_decoders: dict[Any, Any] = {}
_one_at_a_time = threading.Lock()


def _narrow(value: Any) -> Any:
    """The same values in half the width, where it holds all of them: what comes from a float32 or a count does."""
    if value.dtype not in _WIDER.values():
        return value
    with np.errstate(over="ignore", invalid="ignore"):
        half = value.astype(np.int32 if value.dtype == np.int64 else np.float32)
    return half if np.array_equal(half, value, equal_nan=value.dtype == np.float64) else value


def _encode_array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = _narrow(value)
        dtype = value.dtype.newbyteorder("<")
        if dtype.str not in _DTYPES:
            raise TypeError(f"no JSON form for an array of {value.dtype}")
        data = zlib.compress(np.ascontiguousarray(value, dtype).tobytes(), 6)
        return {"dtype": dtype.str, "shape": list(value.shape), "zlib": base64.b64encode(data).decode()}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"no JSON form for {type(value).__name__}")


def _decode_array(kind: Any, value: Any) -> Any:
    if getattr(kind, "__origin__", None) is not np.ndarray:
        raise TypeError(f"no value of {kind} can be read from JSON")
    wanted = np.dtype(kind.__args__[1].__args__[0])
    try:
        (length,) = value["shape"]
        dtype = np.dtype(_DTYPES[value["dtype"]])
        packed = base64.b64decode(value["zlib"], validate=True)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an array of one axis: {type(error).__name__} {error}") from error
    if type(length) is not int or length < 0 or dtype.kind != wanted.kind:
        raise ValueError(f"an array of {length!r} numbers {dtype} where {wanted} is expected")
    if (room := _room.get()) is not None:
        room.take(length * wanted.itemsize)
    numbers = np.frombuffer(_unpacked(packed, length * dtype.itemsize), dtype).astype(wanted, copy=False)
    if wanted.kind == "i" and length and not (numbers.min() >= -LARGEST and numbers.max() <= LARGEST):
        raise ValueError(f"an array holds whole numbers from {numbers.min()} to {numbers.max()}")
    return numbers


def _unpacked(packed: bytes, size: int) -> bytes:
    try:
        # One byte more than is expected stops a small file from unpacking into all of the memory.
        raw = zlib.decompressobj().decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(f"not an array: {error}") from error
    if len(raw) != size:
        raise ValueError(f"an array of {len(raw)} bytes or more where {size} are expected")
    return raw


class _Room:
    """How many bytes may still be unpacked."""

    def __init__(self, n_bytes: int) -> None:
        self._left = n_bytes

    def take(self, n_bytes: int) -> None:
        self._left -= n_bytes
        if self._left < 0:
            raise ValueError("its arrays unpack to far more than their file holds")


_USUAL_ROOM = 1 << 28
_SHARE_OF_FILES = 4
_room: ContextVar[_Room | None] = ContextVar("room", default=None)


@contextmanager
def room_for(n_bytes: int) -> Iterator[None]:
    """Bound what all arrays that are decoded in the block may unpack to together.

    A counter of float32 becomes float64, and most are followed by some that hold little: four times the file and a
    quarter of a gigabyte are more than any run needs.

    Args:
        n_bytes: Size of the files that hold them.
    """
    token = _room.set(_Room(_USUAL_ROOM + _SHARE_OF_FILES * n_bytes))
    try:
        yield
    finally:
        _room.reset(token)


def encode(fact: object) -> bytes:
    """One fact as one line of JSON, without the line's end.

    NaN and infinities are written as null outside of arrays, because JSON has no other word for them.
    """
    return msgspec.json.encode(fact, enc_hook=_encode_array)


def decode(line: bytes, kind: type[T]) -> T:
    """The fact that a line of JSON holds.

    Raises:
        ValueError: The line is not JSON, or a field is missing or of another type; the text names the field.
    """
    decoder = _decoders.get(kind)
    if decoder is None:
        # What is known of a dataclass is seen by other threads while it is put together: two at once end the process.
        with _one_at_a_time:
            decoder = _decoders[kind] = msgspec.json.Decoder(kind, dec_hook=_decode_array)
    try:
        decoded: T = decoder.decode(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return decoded


def to_builtins(fact: object) -> Any:
    """A fact as dictionaries, lists, numbers and strings, with arrays as lists: what `--json` prints."""
    return msgspec.to_builtins(
        fact, enc_hook=lambda value: [None if math.isnan(x) else x for x in np.asarray(value).ravel().tolist()]
    )
