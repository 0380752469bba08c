"""Facts to JSON and back. Arrays travel as base64 of zlib, in half the width where that holds the same values.

Reading validates every field against its type and never executes anything, so a stranger's file is safe.
"""

import base64
import binascii
import math
import threading
import zlib
from typing import Any, TypeVar

import msgspec
import numpy as np

_LARGEST_ARRAY_BYTES = 1 << 31
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
    try:
        dtype = np.dtype(_DTYPES[value["dtype"]])
        shape = [int(n) for n in value["shape"]]
        n_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize if shape else dtype.itemsize
        if any(n < 0 for n in shape) or n_bytes > _LARGEST_ARRAY_BYTES:
            raise ValueError(f"an array of shape {shape} is out of bounds")
        # max_length stops a small file from unpacking into all of the memory.
        raw = zlib.decompressobj().decompress(base64.b64decode(value["zlib"], validate=True), n_bytes + 1)
        if len(raw) != n_bytes:
            raise ValueError(f"{len(raw)} bytes where shape {shape} of {dtype} needs {n_bytes}")
        return np.frombuffer(raw, dtype).astype(_WIDER.get(dtype.str, dtype), copy=False).reshape(shape)
    except (KeyError, TypeError, AttributeError, binascii.Error, zlib.error) as error:
        raise ValueError(f"not an array: {error}") from error


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
