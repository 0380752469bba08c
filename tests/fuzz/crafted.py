"""Files made to hurt, and what has hurt before, each at its smallest: made by code, in a folder of whole files."""

import json
import os
import sqlite3
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rectifier.comparison.archive import FILE_NAME
from tests.fuzz.mutators import ESCAPES

Damage = Callable[[Path], object]

_HUGE, _DEEP = 10**30, "[" * 100_000 + "]" * 100_000


def process_of(folder: Path) -> Path:
    return next(folder.glob("process-*.jsonl"))


def _change(kind: str, *keys: str | int, to: object) -> Damage:
    """Put something in the place of a value of the first line of a kind."""

    def change(folder: Path) -> None:
        path = process_of(folder)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        place = next(line for line in lines if line["kind"] == kind)["data"]
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    return change


def _in_file(name: str, *keys: str, to: object) -> Damage:
    def change(folder: Path) -> None:
        whole = place = json.loads((folder / name).read_text())
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to
        (folder / name).write_text(json.dumps(whole))

    return change


def _file(name: str, text: str | bytes) -> Damage:
    data = text if isinstance(text, bytes) else text.encode()
    return lambda folder: (folder / name).write_bytes(data)


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Damage:
    def changed(folder: Path) -> None:
        path = process_of(folder)
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return changed


def _many_sites(lines: list[bytes]) -> list[bytes]:
    site = json.loads(next(line for line in lines if b'"kind":"site"' in line))
    copies = []
    for number in range(20_000):
        site["data"]["path"] = f"layer.{number}"
        copies.append(json.dumps(site).encode() + b"\n")
    return [*lines, *copies]


def _array(numbers: object, dtype: str, shape: object = None) -> dict[str, object]:
    packed = b64encode(zlib.compress(np.asarray(numbers, dtype).tobytes())).decode()
    return {"dtype": dtype, "shape": [np.size(numbers)] if shape is None else shape, "zlib": packed}


_WINDOW = ("windows", 0)
_BOMB = _array(np.zeros(1 << 25), "<i4")

RUNS: dict[str, Damage] = {
    "a pipe for a process": lambda folder: os.mkfifo(folder / "process-1-0.jsonl"),
    "a pipe for notes": lambda folder: (folder / "notes.jsonl").unlink() or os.mkfifo(folder / "notes.jsonl"),
    "a device for a process": lambda folder: (folder / "process-1-0.jsonl").symlink_to("/dev/zero"),
    "a terminal for a process": lambda folder: (folder / "process-1-0.jsonl").symlink_to("/dev/tty"),
    "a folder for a process": lambda folder: (folder / "process-1-0.jsonl").mkdir(),
    "a folder for the end": lambda folder: (folder / "outcome.json").unlink() or (folder / "outcome.json").mkdir(),
    "a loop of links": lambda folder: (folder / "process-1-0.jsonl").symlink_to("process-1-0.jsonl"),
    "a deep line": _lines(lambda lines: [f'{{"kind":"snapshot","data":{_DEEP}}}\n'.encode(), *lines]),
    "deep notes": _file("notes.jsonl", _DEEP + "\n"),
    "a deep explanation": _file("explanation.json", _DEEP),
    "a deep beginning": _file("run.json", _DEEP),
    "an array that unpacks": _change("snapshot", *_WINDOW, "fired", to=_BOMB),
    "an array of another size": _change("snapshot", *_WINDOW, "fired", to={**_BOMB, "shape": [2**40]}),
    "an array of no size": _change("snapshot", *_WINDOW, "fired", to={**_BOMB, "shape": []}),
    "a size that is a text": _change("snapshot", *_WINDOW, "fired", to={**_BOMB, "shape": ["5"]}),
    "an array of objects": _change("snapshot", *_WINDOW, "fired", to={**_BOMB, "dtype": "|O"}),
    "an array that is torn": _change("snapshot", *_WINDOW, "fired", to={**_BOMB, "zlib": "eJwD"}),
    "a million copies of a site": _lines(_many_sites),
    "a site a thousand times": _lines(lambda lines: [*lines, *lines[1:2] * 1000]),
    "snapshots backwards": _lines(lambda lines: lines[::-1]),
    "all lines twice": _lines(lambda lines: lines * 2),
    "no line": _lines(lambda lines: []),
    "a torn line": _lines(lambda lines: [*lines[:-1], lines[-1][:-10]]),
    "no number": _lines(lambda lines: [lines[0].replace(b"{", b'{"x":NaN,', 1), *lines[1:]]),
    "half a character": _lines(lambda lines: [lines[0].replace(b"data", b"d\xc3", 1), *lines[1:]]),
    "another kind": _lines(lambda lines: [b'{"kind":"\\u001b[2J","data":null}\n', *lines]),
    "an end of many digits": _file("outcome.json", '{"exit_code": ' + "9" * 9000 + ', "seconds": 1}'),
    "a huge end": _file("outcome.json", '{"exit_code": 1000000000000000000000000000000, "seconds": 1e308}'),
    "an end before the beginning": _file("outcome.json", '{"exit_code": 0, "seconds": -5}'),
    "an end by no signal": _file("outcome.json", '{"exit_code": 4000, "seconds": 5}'),
    "a newer version": _file("run.json", json.dumps({"rectifier": ESCAPES, "format_version": 99})),
    "notes of no number": _file("notes.jsonl", '{"looked_for_dead_units": "x", "last_look_for_dead_units": "-"}\n'),
    "half of the notes": _file("notes.jsonl", '{"looked_for_dead_units": "3"}\n'),
    "notes of many digits": _file("notes.jsonl", json.dumps({"looked_for_dead_units": "9" * 9000}) + "\n"),
    "a command of commands": _in_file("run.json", "command", to=[ESCAPES, "\ud800"]),
    "a swap of commands": _in_file("run.json", "swap", to=[f"relu={ESCAPES}", ESCAPES, ""]),
    **{
        f"{units} units": _change("site", "units", to=units)
        for units in (0, -1, 10**9, 10**12, 10**18, _HUGE, 5.5, "5", None)
    },
    **{
        f"{name} is {text!r:.20}": _change("site", name, to=text)
        for name in ("model", "path", "activation", "kind", "source", "layer", "fed_by")
        for text in (ESCAPES, "x#" + "9" * 9000, "", "[red]", "a" * 50_000)
    },
    **{
        f"{name} is {number!r:.20}": _change("snapshot", name, to=number)
        for name in ("step", "seconds", "distinct_samples", "visits_since_new", "input_rms", "input_offset")
        for number in (-1, _HUGE, 2**53, 1e308, None)
    },
    **{
        f"{name} of a process is {number!r:.20}": _change("writer", name, to=number)
        for name in ("rank", "world_size", "ranks", "pid")
        for number in (-1, 0, _HUGE, 2**53)
    },
    **{
        f"all {name} are {number}": _change("snapshot", *_WINDOW, name, to=_array([number] * 5, "<f8"))
        for name in ("mean", "mean_abs", "highest", "lowest")
        for number in (float("nan"), float("inf"), -1e308, 5e-324)
    },
    **{
        f"all {name} are {number}": _change("snapshot", *_WINDOW, name, to=_array([number] * 5, "<i8"))
        for name in ("fired", "last_fired", "silent_visits")
        for number in (2**53, 2**62, -1, -2)
    },
}


def _table(*statements: str) -> Damage:
    def change(folder: Path) -> None:
        connection = sqlite3.connect(folder / FILE_NAME)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return change


def _question(**changes: object) -> Damage:
    def change(folder: Path) -> None:
        connection = sqlite3.connect(folder / FILE_NAME)
        (line,) = connection.execute("SELECT value FROM study WHERE name = 'question'").fetchone()
        changed = json.dumps({**json.loads(line), **changes}).encode()
        connection.execute("UPDATE study SET value = ? WHERE name = 'question'", (changed,))
        connection.commit()
        connection.close()

    return change


COMPARISONS: dict[str, Damage] = {
    "an endless view": _table(
        "ALTER TABLE trials RENAME TO other",
        "CREATE VIEW trials AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT CAST(i AS TEXT) AS key, x'' AS trial FROM n",
    ),
    "a huge row": _table("UPDATE trials SET trial = zeroblob(90000000)"),
    "many rows": _table(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 50000) "
        "INSERT INTO trials SELECT CAST(i AS TEXT), x'7b7d' FROM n"
    ),
    "a key of commands": _table("UPDATE trials SET key = char(27) || '[2J' || key"),
    "a row of commands": _table("UPDATE study SET value = CAST(char(27) || '[2J' AS BLOB)"),
    "a pipe": lambda folder: (folder / FILE_NAME).unlink() or os.mkfifo(folder / FILE_NAME),
    "a journal of nonsense": _file(f"{FILE_NAME}-journal", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(4000)),
    "a log of nonsense": _file(f"{FILE_NAME}-wal", bytes(4000)),
    "the beginning alone": _file(FILE_NAME, b"SQLite format 3\0"),
    "no byte": _file(FILE_NAME, b""),
    **{
        f"{name} is {value!r:.20}": _question(**{name: value})
        for name, values in {
            "seeds": (0, -1, 10**9, _HUGE, "5", None),
            "arms": ([], [ESCAPES], ["elu:1.0"] * 2, [f"elu:{number}.0" for number in range(1, 2000)], ["placebo"]),
            "interim": ([0], [5, 3], [10**9], [3, 3, 5], [-1, 5]),
            "command": ([], [ESCAPES], "train.py", [""]),
            "metric": (ESCAPES, "", "=1+1", "a" * 50_000),
            "summary": ("mean", None),
            "margin": (0, -1, 1e308, float("nan"), "x"),
            "threads": (0, -1, _HUGE),
            "pattern": ("(", "(a+)+$", ESCAPES),
            "max_steps": (0, -1, _HUGE),
        }.items()
        for value in values
    },
}
