"""Damage to files, drawn from a seed: to their bytes, and to the JSON that stands in them."""

import base64
import copy
import json
import random
import warnings
import zlib

import numpy as np
import torch

ESCAPES = "\x1b]0;PWNED\x07\x1b[2J\x1b[31mALL GOOD\x1b[0m\r\x9b2K\u202e"
"""What a terminal would obey."""

VALUES = (
    None, True, False, 0, 1, -1, 2, 255, 2**31, 2**53, 2**62, 2**63 - 1, -(2**63), 2**64, 10**30, 0.5, -1.5, 1e308,
    -1e308, 5e-324, float("inf"), float("-inf"), float("nan"), "", "0", "relu", "loss", ESCAPES, "=1+1", "../../etc",
    "/dev/zero", "a" * 20_000, "%s{0}[red]", "\ud800", [], {}, [[]], [0], [None], {"": 0}, {"a": ESCAPES},
)  # fmt: skip
_PIECES = (
    b"", b"\0", b"\n", b'"', b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"-1", b"1e999", b"9" * 40,
    b"\x1b[2J", b"\xff\xfe", b"\xc3\x28", b"\x80", b"NaN", b"\\ud800", b"\\u001b[2J",
)  # fmt: skip


def mutate_bytes(data: bytes, draw: random.Random) -> bytes:
    """Change, cut, repeat or move some bytes."""
    found = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        at = draw.randrange(len(found) + 1)
        end = min(len(found), at + int(2 ** draw.uniform(0, 10)))
        match draw.randrange(8):
            case 0 if at < len(found):
                found[at] ^= 1 << draw.randrange(8)
            case 1 if at < len(found):
                found[at] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
            case 2:
                del found[at:]
            case 3:
                del found[at:end]
            case 4:
                found[at:at] = draw.choice(_PIECES)
            case 5:
                found[at:at] = found[at:end] * draw.choice((1, 1, 2, 50))
            case 6:
                part = found[at:end]
                del found[at:end]
                place = draw.randrange(len(found) + 1)
                found[place:place] = part
            case _:
                found[at:end] = draw.randbytes(end - at)
    return bytes(found)


def mutate_json(data: bytes, draw: random.Random) -> bytes:
    """Change a value, drop or repeat it, or put another one's in its place; arrays are unpacked for that."""
    try:
        whole = json.loads(data)
    except ValueError:
        return mutate_bytes(data, draw)
    if not isinstance(whole, dict | list):
        return json.dumps(draw.choice(VALUES)).encode()
    mutate_tree(whole, draw)
    # A huge integer is written as it is; NaN as Python writes it, which is no JSON.
    return json.dumps(whole).encode()


def mutate_tree(whole: dict | list, draw: random.Random) -> None:
    """The same for what lies in memory; tensors and arrays are damaged inside."""
    places = list(_places(whole))
    for _ in range(draw.choice((1, 1, 1, 1, 2, 3, 8))):
        if not places:
            return
        owner, key = draw.choice(places)
        try:
            value = owner[key]
        except (KeyError, IndexError):
            continue
        owner[key] = _damaged(value, draw, places)
        if isinstance(owner, dict) and draw.random() < 0.05:
            del owner[key]
        elif isinstance(owner, dict) and draw.random() < 0.03:
            owner[draw.choice(("", ESCAPES, "kind", "data", "loss", "0"))] = owner.pop(key)
        elif isinstance(owner, list) and draw.random() < 0.2:
            owner[key : key + 1] = draw.choice(([], [owner[key], copy.deepcopy(value)], owner[key:][::-1]))


def _places(node, depth=0):
    if depth > 200:
        return
    if isinstance(node, dict):
        for key, value in list(node.items()):
            yield node, key
            if not _is_array(value):
                yield from _places(value, depth + 1)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield node, index
            if not _is_array(value):
                yield from _places(value, depth + 1)


def _is_array(value):
    return isinstance(value, dict) and set(value) == {"dtype", "shape", "zlib"}


def _damaged(value, draw, places):
    if _is_array(value):
        return _damaged_array(value, draw)
    # One that was stretched before is large enough.
    if isinstance(value, torch.Tensor) and value.numel() < 1_000 and draw.random() < 0.8:
        return _damaged_tensor(value, draw)
    match draw.randrange(5):
        case 0 if isinstance(value, int | float) and not isinstance(value, bool):
            return draw.choice((value + 1, value - 1, -value, value * 1000, value * 10**12, float(value)))
        case 1 if isinstance(value, str):
            return draw.choice((value + ESCAPES, value.upper(), value[:1], value * 300, "=" + value, value + "#x"))
        case 2:
            owner, key = draw.choice(places)
            try:
                return copy.deepcopy(owner[key])
            except (KeyError, IndexError):
                return None
        case _:
            return copy.deepcopy(draw.choice(VALUES))


def _damaged_tensor(value, draw):
    """Other numbers, another type, another shape, or a form that is no plain one."""
    extremes = (float("nan"), float("inf"), float("-inf"), 0.0, -1.0, 1e38, 1e-45)
    ways = (
        lambda: value.new_full(value.shape, draw.choice(extremes)),
        lambda: value.clone().view(-1).index_fill_(0, torch.tensor([0]), draw.choice(extremes)),
        lambda: value.to(draw.choice((torch.float16, torch.bfloat16, torch.int64, torch.complex64, torch.bool))),
        lambda: value.to(torch.float8_e4m3fn),
        lambda: value[:0],
        lambda: value.t() if value.dim() == 2 else value[None],
        lambda: value.new_zeros(1).expand(10**6, 10**6),
        value.to_sparse,
        lambda: value.to("meta"),
        lambda: value.view(-1)[::2],
        lambda: torch.zeros(8, 4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
        lambda: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return draw.choice(ways)()


def _damaged_array(value, draw):
    """Other numbers, another number of them, another type, or a form that does not fit."""
    if draw.random() < 0.2:
        key = draw.choice(tuple(value))
        return {**value, key: draw.choice((*VALUES, [2**31], [0], [1, 1], [-1], "<f8", "<i8", "|b1", "|O"))}
    try:
        numbers = np.frombuffer(zlib.decompress(base64.b64decode(value["zlib"])), value["dtype"]).copy()
    except (ValueError, TypeError, zlib.error):
        return None
    with np.errstate(all="ignore"):
        numbers = _other_numbers(numbers, draw)
    raw = base64.b64encode(zlib.compress(np.ascontiguousarray(numbers).tobytes())).decode()
    return {"dtype": numbers.dtype.newbyteorder("<").str, "shape": [len(numbers)], "zlib": raw}


def _other_numbers(numbers, draw):
    match draw.randrange(6):
        case 0:
            numbers = numbers[: draw.randrange(len(numbers) + 1)]
        case 1:
            numbers = np.repeat(numbers, draw.choice((2, 3, 100)))
        case 2:
            numbers = numbers[::-1]
        case 3:
            numbers = numbers.astype(draw.choice(("<f8", "<i8", "<f4", "<i4", "|b1")))
        case _:
            whole = numbers.dtype.kind in "ib"
            extremes = (0, 1, -1, 2**31 - 1, -(2**31)) if whole else (0, -1, np.nan, np.inf, -np.inf, 1e38, 1e-45)
            if numbers.dtype.kind == "i" and draw.random() < 0.3:
                numbers, extremes = numbers.astype("<i8"), (2**62, -(2**63), 2**63 - 1)
            if numbers.dtype.kind == "f" and draw.random() < 0.3:
                numbers, extremes = numbers.astype("<f8"), (1e308, -1e308, 5e-324)
            at = slice(None) if draw.random() < 0.3 else slice(draw.randrange(len(numbers) + 1), None)
            numbers[at] = draw.choice(extremes)
    return numbers


def mutate_lines(data: bytes, draw: random.Random) -> bytes:
    """Damage one line of JSON, or the order and number of lines."""
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    match draw.randrange(12):
        case 0:
            del lines[at]
        case 1:
            lines.insert(draw.randrange(len(lines) + 1), lines[at])
        case 2:
            other = draw.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at:at] = [lines[at]] * draw.choice((2, 100))
        case _:
            lines[at] = mutate_json(lines[at], draw)
            if draw.random() < 0.2:
                at = draw.randrange(len(lines))
                lines[at] = mutate_json(lines[at], draw)
    return b"\n".join(lines)
