"""An explanation lies in the folder of its trials as `explanation.json`; where a run was explained, in the run's, too.

What is read was perhaps written by somebody else: every field is checked, and so is what the sentences rest on.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rectifier.errors import UnreadableRun
from rectifier.records import EXPLANATION_FORMAT, Explanation, Run, SavedExplanation, decode, encode
from rectifier.storage.reading import Head, damaged, newer, read_whole
from rectifier.storage.writing import replace_whole

EXPLANATION = "explanation.json"


class _Head(Head):
    """Of which run it is."""

    command: tuple[str, ...]
    script: str | None


def write_explanation(folder: Path, saved: SavedExplanation) -> None:
    """Keep an explanation in a folder, in the place of an earlier one.

    Raises:
        OSError: It cannot be written.
    """
    replace_whole(folder / EXPLANATION, encode(replace(saved, explanation=_finite(saved.explanation))))


def _finite(explanation: Explanation) -> Explanation:
    """Without numbers that JSON has no word for."""
    return replace(explanation, sights=tuple(one.written for one in explanation.sights))


def is_explanation(path: Path) -> bool:
    """Whether this folder holds an explanation."""
    return (path / EXPLANATION).is_file()


def read_explanation(folder: Path) -> SavedExplanation:
    """Read an explanation back.

    Raises:
        UnreadableRun: There is none, a newer version wrote it, or it is damaged.
    """
    path = folder / EXPLANATION
    data = read_whole(path)
    try:
        head = decode(data, _Head)
        if head.format_version > EXPLANATION_FORMAT:
            raise newer(path, head, EXPLANATION_FORMAT)
        saved = decode(data, SavedExplanation)
        _check(saved.explanation)
    except ValueError as error:
        raise damaged(path, error) from None
    return saved


def _check(explanation: Explanation) -> None:
    """Raise where one part speaks of another that is not there."""
    if explanation.causes[:1] != (() if explanation.cause is None else (explanation.cause,)):
        raise ValueError("the cause is not the first of all causes")
    tried = {one.intervention for one in explanation.experiments if one.seed is None}
    for cause in explanation.causes:
        if cause.intervention is not None and cause.intervention not in tried:
            raise ValueError(f"no experiment of {cause.intervention}, which a cause rests on")


def explanation_of(folder: Path, run: Run) -> SavedExplanation | None:
    """The latest explanation of a run that can be read: kept with it, or of its command in the folders beside it.

    Args:
        folder: The run's.
        run: What it holds.
    """
    found = [*_readable(folder), *_beside(folder, run)]
    return max(found, key=lambda saved: saved.written, default=None)


def _beside(folder: Path, run: Run) -> Iterator[SavedExplanation]:
    manifest = run.manifest
    if not manifest.command or manifest.treated:
        return
    for path in sorted(folder.absolute().parent.glob(f"*/{EXPLANATION}")):
        try:
            head = decode(read_whole(path), _Head)
        except (UnreadableRun, ValueError):
            continue
        # An edited script is another one.
        if (head.command, head.script) == (manifest.command, manifest.script):
            yield from _readable(path.parent)


def _readable(folder: Path) -> Iterator[SavedExplanation]:
    """What cannot be read keeps nobody from the report of the run."""
    if is_explanation(folder):
        try:
            yield read_explanation(folder)
        except UnreadableRun:
            return
