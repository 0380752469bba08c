"""The three readers, each with its whole files, the damage that is done to them, and the commands that read them."""

import itertools
import random
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from rectifier.comparison.archive import FILE_NAME
from rectifier.comparison.script.driver import run_comparison
from rectifier.errors import RectifierError
from tests.fuzz.corpus import QUESTION, Files, make_checkpoints, make_comparisons, make_runs, trial_of
from tests.fuzz.mutators import ESCAPES, VALUES, mutate_bytes, mutate_json, mutate_lines, mutate_tree
from tests.fuzz.watching import Seen, run_command, watch_call


@dataclass(frozen=True)
class Target:
    """One reader.

    Attributes:
        name: What it reads.
        corpus: Makes whole files, in a folder that is given.
        mutate: Damages some of them.
        read: Has a folder of files read, in one of several ways by the number.
    """

    name: str
    corpus: Callable[[Path], list[Files]]
    mutate: Callable[[Files, random.Random], Files]
    read: Callable[[Path, int], Seen]

    def mutants(self, folder: Path, first: int, count: int) -> Iterator[tuple[int, Files]]:
        """Damaged files, each with its number, from which alone it can be made again."""
        corpus = self.corpus(folder)
        for number in range(first, first + count):
            draw = random.Random(number)
            yield number, self.mutate(dict(draw.choice(corpus)), draw)


def _mutate_run(files: Files, draw: random.Random) -> Files:
    names = sorted(files, key=lambda name: (not name.startswith("process-"), name))
    name = names[0] if draw.random() < 0.6 else draw.choice(names)
    way = mutate_bytes
    if draw.random() < 0.8:
        way = mutate_lines if name.endswith(".jsonl") else mutate_json
    files[name] = way(files[name], draw)
    if draw.random() < 0.03:
        del files[draw.choice(names)]
    return files


def _read_run(folder: Path, number: int) -> Seen:
    extra = [("--json",), (), (), ("--fail-on", "warning")][number % 4]
    if number % 24 == 5:
        extra = ("--html", str(folder.parent / "page.html"))
    return run_command("report", str(folder), *extra, room=_size(folder))


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.iterdir())


def _mutate_comparison(files: Files, draw: random.Random) -> Files:
    if draw.random() < 0.4:
        files[FILE_NAME] = mutate_bytes(files[FILE_NAME], draw)
        if draw.random() < 0.1:
            files[f"{FILE_NAME}-journal"] = draw.randbytes(draw.randrange(2000))
        return files
    connection = sqlite3.connect(":memory:")
    connection.deserialize(files[FILE_NAME])
    connection.isolation_level = None
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        try:
            _change_table(connection, draw)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError):
            continue
    files[FILE_NAME] = connection.serialize()
    connection.close()
    return files


def _change_table(connection: sqlite3.Connection, draw: random.Random) -> None:
    table, key, column = draw.choice((("study", "name", "value"), ("trials", "key", "trial")))
    rows = connection.execute(f"SELECT {key}, {column} FROM {table}").fetchall()
    name, value = draw.choice(rows) if rows else ("x", b"{}")
    change = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"
    match draw.randrange(14):
        case 0:
            connection.execute(change, (draw.choice([v for v in VALUES if not isinstance(v, list | dict)]), name))
        case 1:
            connection.execute(change, (mutate_bytes(bytes(str(value), "utf-8"), draw), name))
        case 2:
            connection.execute(f"DELETE FROM {table} WHERE {key} = ?", (name,))
        case 3:
            connection.execute(f"UPDATE {table} SET {key} = ? WHERE {key} = ?", (ESCAPES, name))
        case 4:
            connection.execute(f"ALTER TABLE {table} RENAME TO other")
            body = draw.choice(("SELECT * FROM other", "SELECT 1 AS key, 2 AS trial", "SELECT * FROM trials"))
            connection.execute(f"CREATE VIEW {table} AS {body}")
        case 5:
            connection.execute(f"DROP TABLE {table}")
        case 6:
            connection.execute(f"ALTER TABLE {table} RENAME COLUMN {column} TO other")
        case _ if isinstance(value, bytes):
            connection.execute(change, (mutate_json(value, draw), name))


def _read_comparison(folder: Path, number: int) -> Seen:
    size = _size(folder)
    match number % 4:
        case 0:
            return run_command("report", str(folder / FILE_NAME), "--json", room=size)
        case 1 if number % 24 == 1:
            return run_command("report", str(folder), "--html", str(folder.parent / "page.html"), room=size)
        case 2:
            return watch_call(lambda: _go_on(folder), room=size, allowed=(RectifierError,))
        case _:
            return run_command("report", str(folder), room=size)


def _go_on(folder: Path) -> None:
    run_comparison(QUESTION, folder, lambda spec, question, folder: trial_of(spec, question))


def _mutate_checkpoint(files: Files, draw: random.Random) -> Files:
    name = draw.choice(sorted(files))
    data = files[name]
    if name.endswith(".json"):
        way = mutate_json
    elif not name.endswith(".safetensors") and draw.random() < 0.5:
        way = _mutate_content
    elif data.startswith(b"PK") and draw.random() < 0.7:
        way = _mutate_archive
    elif name.endswith(".safetensors") and draw.random() < 0.7:
        way = _mutate_header
    else:
        way = mutate_bytes
    files[name] = way(data, draw)
    return files


def _mutate_content(data: bytes, draw: random.Random) -> bytes:
    """Put other values in the place of some that the file holds, and save it as torch does."""
    import torch

    whole = [torch.load(BytesIO(data), weights_only=True)]
    out = BytesIO()
    try:
        mutate_tree(whole, draw)
        torch.save(whole[0], out)
    except (IndexError, OverflowError, RecursionError, RuntimeError, TypeError, ValueError, UnicodeEncodeError):
        return data
    return out.getvalue()


def _mutate_archive(data: bytes, draw: random.Random) -> bytes:
    """Damage the pickle or another part inside of the archive, whose sums are right again."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        parts = {one.filename: archive.read(one) for one in archive.infolist()}
    pickled = next(name for name in parts if name.endswith("data.pkl"))
    name = pickled if draw.random() < 0.8 else draw.choice(list(parts))
    match draw.randrange(8):
        case 0:
            del parts[name]
        case 1:
            parts[draw.choice(list(parts))] = parts[name]
        case _:
            parts[name] = _mutate_pickle(parts[name], draw) if name == pickled else mutate_bytes(parts[name], draw)
    out = BytesIO()
    with zipfile.ZipFile(out, "w", draw.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))) as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    return out.getvalue()


_PICKLES = (
    b"K\x00", b"K\x05", b"J\xff\xff\xff\xff", b"J\x00\x00\x00\x7f", b"G\x7f\xf0\0\0\0\0\0\0", b"G\x7f\xf8\0\0\0\0\0\0",
    b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\x00", b"N", b"\x88", b")", b"]", b"}", b"X\x03\0\0\0\x1b[2J",
)  # fmt: skip
"""Values as a pickle writes them."""


def _mutate_pickle(data: bytes, draw: random.Random) -> bytes:
    """Put other values in the place of some, at the bounds of the pickle's instructions."""
    import pickletools

    if draw.random() < 0.3:
        return mutate_bytes(data, draw)
    try:
        found = [(code, at) for code, _, at in pickletools.genops(data)]
    except ValueError:
        return mutate_bytes(data, draw)
    bounds = [at for _, at in found] + [len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(bounds)]
    values = [
        number for number, (code, _) in enumerate(found) if code.stack_before == [] and len(code.stack_after) == 1
    ]
    for _ in range(draw.choice((1, 1, 2, 4))):
        if draw.random() < 0.8 and values:
            at = draw.choice(values)
            pieces[at] = draw.choice((*_PICKLES, pieces[draw.choice(values)]))
        else:
            at = draw.randrange(len(pieces))
            pieces[at] = draw.choice((b"", pieces[at] * 2, draw.choice(pieces)))
    return b"".join(pieces)


def _mutate_header(data: bytes, draw: random.Random) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = mutate_json(data[8 : 8 + length], draw)
    said = len(header) if draw.random() < 0.9 else draw.choice((0, 2**63, len(header) + 1, 2**31))
    return said.to_bytes(8, "little") + header + data[8 + length :]


def _read_checkpoint(folder: Path, number: int) -> Seen:
    files = sorted(folder.iterdir())
    path = str(files[0] if len(files) == 1 else folder)
    extra = [(), ("--json",), (path,), ("--all",)][number % 4]
    return run_command("inspect", path, *extra, room=_size(folder))


TARGETS = {
    "runs": Target("runs", make_runs, _mutate_run, _read_run),
    "comparisons": Target("comparisons", make_comparisons, _mutate_comparison, _read_comparison),
    "checkpoints": Target("checkpoints", make_checkpoints, _mutate_checkpoint, _read_checkpoint),
}
