"""Opening a stranger's file: mapped into memory, never executed; what needs code to open is refused with the reason."""

import argparse
import pathlib
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import msgspec
import torch

from rectifier._formatting import listed
from rectifier.checkpoints import numbers
from rectifier.errors import UnreadableCheckpoint
from rectifier.records import decode

RESAVE = (
    'Where you trust the file, load it beside its code and save what the inspection needs: torch.save({"model": '
    'model.state_dict(), "optimizer": optimizer.state_dict()}, "weights.pt").'
)
_WEIGHT_FILES = (
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
    "adapter_model.safetensors", "adapter_model.bin",
)  # fmt: skip
_OPTIMIZER_FILES = ("optimizer.pt", "optimizer.bin")
_MOST_NAMED = 5

# What torch.load refuses by default though building it runs nobody's code: arguments and paths; and numpy's numbers,
# by `numbers` instead of numpy itself, whose types a file could bend until numpy reads memory that is not its own.
_HARMLESS: list[Any] = [argparse.Namespace, pathlib.PosixPath, pathlib.PurePosixPath, *numbers.STAND_INS]


class _Index(msgspec.Struct):
    """Which file of several holds which weight."""

    weight_map: dict[str, str]


def open_checkpoint(path: Path) -> tuple[Any, bool]:
    """The content of a file or a folder, its tensors mapped from the disk, and whether it kept the model's order.

    Raises:
        UnreadableCheckpoint: It is missing, damaged, of another format, or needs code to open.
    """
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.exists():
            raise UnreadableCheckpoint(f"there is no {path}.")
    except OSError as error:
        # A name that is too long, a folder that may not be entered.
        raise UnreadableCheckpoint(f"{path} cannot be read: {error.strerror or error}.") from None
    return _open_file(path)


def _open_file(path: Path) -> tuple[Any, bool]:
    try:
        # A pipe would be waited for, and a device never ends.
        if not path.is_file():
            raise UnreadableCheckpoint(f"{path} is no regular file.")
        with path.open("rb") as file:
            head = file.read(16)
            size = path.stat().st_size
    except OSError as error:
        raise UnreadableCheckpoint(f"{path} cannot be read: {error.strerror or error}.") from None
    if not size:
        raise UnreadableCheckpoint(f"{path} is empty: nothing was ever written, or the disk was full.")
    if head.startswith(b"PK\x03\x04"):
        _refuse_program(path, size)
        return _load(path, mapped=True), True
    if _is_safetensors(head, size) or path.suffix == ".safetensors":
        return _open_safetensors(path), False
    if head.startswith(b"\x80"):
        return _load(path, mapped=False), True
    known = {b"GGUF": "a GGUF model", b"\x89HDF": "an HDF5 file (Keras?)", b"\x93NUM": "a numpy array"}
    what = known.get(head[:4], "not a checkpoint of PyTorch or safetensors")
    raise UnreadableCheckpoint(f"{path} is {what}. It begins with {head!r}.")


def _is_safetensors(head: bytes, size: int) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= size - 8


def _refuse_program(path: Path, size: int) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            inside = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UnreadableCheckpoint(
            f"{path} is damaged or cut off ({error}). It was not copied whole, or writing it was interrupted."
        ) from None
    names = [one.filename for one in inside]
    if any(name.endswith("/constants.pkl") for name in names):
        raise UnreadableCheckpoint(
            f"{path} is a TorchScript program, which cannot be opened without its code. "
            'Save its weights: torch.save(torch.jit.load(...).state_dict(), "weights.pt").'
        )
    if any(one.compress_type != zipfile.ZIP_STORED or one.file_size > size for one in inside):
        raise UnreadableCheckpoint(
            f"{path} is compressed, as torch.save never does: it may unpack to any size. {RESAVE}"
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise UnreadableCheckpoint(f"{path} is a zip archive, but not one that torch.save wrote.")


def _load(path: Path, *, mapped: bool) -> Any:
    safe_globals = cast(Callable[[Sequence[Any]], AbstractContextManager[None]], torch.serialization.safe_globals)
    try:
        with safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise UnreadableCheckpoint(_needs_code(path, error)) from None
    except MemoryError:
        raise UnreadableCheckpoint(f"{path} claims to hold more than the memory of this machine.") from None
    except Exception as error:
        # Whatever a damaged or hostile file makes torch say, in one line.
        reason = str(error).split(". ")[0].split("\n")[0] or type(error).__name__
        raise UnreadableCheckpoint(
            f"{path} cannot be opened ({reason}). It may be cut off, damaged, or of another format."
        ) from None


def _needs_code(path: Path, error: Exception) -> str:
    try:
        unsafe = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:
        # The scan knows today's format only; the refusal itself names the first one.
        unsafe = re.findall(r"GLOBAL (\S+) (?:was not|whose)", str(error))
    if not unsafe:
        reason = str(error).split("WeightsUnpickler error:")[-1].strip().split("\n")[0]
        return f"{path} is not opened: it is damaged, or holds more than weights ({reason}). {RESAVE}"
    # As Python writes it: what a stranger's file holds may be made to move a terminal's cursor.
    named = listed([repr(name) for name in unsafe], _MOST_NAMED)
    whole = "a whole pickled module" if any(name.startswith("torch.nn.modules.") for name in unsafe) else "objects"
    return f"{path} is not opened: it holds {whole} that only running code can rebuild ({named}). {RESAVE}"


def _open_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors import safe_open  # noqa: PLC0415 - an extra: most checkpoints do without
    except ImportError:
        raise UnreadableCheckpoint(
            f"{path} is in the safetensors format, and the package that reads it is missing: pip install safetensors"
        ) from None
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
    except Exception as error:
        raise UnreadableCheckpoint(
            f"{path} is no whole safetensors file ({error}). It was not copied whole, or is of another format."
        ) from None


def _open_folder(folder: Path) -> tuple[Any, bool]:
    found = next((folder / name for name in _WEIGHT_FILES if (folder / name).is_file()), None)
    if found is None:
        raise UnreadableCheckpoint(_no_weights(folder))
    weights, ordered = _open_shards(found) if found.name.endswith(".index.json") else _open_file(found)
    content: dict[str, Any] = {"model": weights, "hugging face": found.name}
    optimizer = next((folder / name for name in _OPTIMIZER_FILES if (folder / name).is_file()), None)
    if optimizer is not None:
        content["optimizer"] = _open_file(optimizer)[0]
    return content, ordered


def _open_shards(index: Path) -> tuple[dict[str, Any], bool]:
    try:
        shards = dict.fromkeys(decode(index.read_bytes(), _Index).weight_map.values())
    except (OSError, ValueError) as error:
        raise UnreadableCheckpoint(f"{index} is no index of shards ({error}).") from None
    weights: dict[str, Any] = {}
    ordered = True
    for name in shards:
        if Path(name).name != name:
            raise UnreadableCheckpoint(f"{index} names a shard outside of its folder: {name!r}.")
        if not _is_file(index.parent / name):
            raise UnreadableCheckpoint(f"{index} names the shard {name!r}, which is missing.")
        shard, kept = _open_file(index.parent / name)
        ordered = ordered and kept
        weights.update(shard if isinstance(shard, dict) else {})
    return weights, ordered


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # A name that no file can have.
        return False


def _no_weights(folder: Path) -> str:
    if (folder / ".metadata").is_file() or any(folder.glob("*.distcp")):
        return (
            f"{folder} is a distributed checkpoint. Bring it into one file first: "
            f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} weights.pt"
        )
    inside = sorted(
        child.name for child in folder.iterdir() if child.suffix in (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
    )
    inside += sorted(child.name for child in folder.glob("checkpoint-*") if child.is_dir())
    told = f" Name one of its checkpoints: {', '.join(inside[:_MOST_NAMED])}." if inside else ""
    return f"{folder} is a folder without a model.safetensors or pytorch_model.bin in it.{told}"
