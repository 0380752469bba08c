"""Whether one training of a comparison read what another one wrote: then they are no independent observations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rectifier.records import Touched
from rectifier.store.touched import read_touched


@dataclass(frozen=True, slots=True)
class Passed:
    """A file that went from one training to another.

    Attributes:
        path: The file.
        writer: Name of the training that wrote it.
        reader: Name of the one that read it afterwards.
    """

    path: str
    writer: str
    reader: str


def passed_files(reader: str, runs: Mapping[str, Path]) -> list[Passed]:
    """Find the files that one training read after another had written them.

    A training that overwrote a file before it read it has read its own, unless the other was still writing then.

    Args:
        reader: The training that has just ended.
        runs: Run folders by name of the training, the reader's and those of all others that have begun.
    """
    own = {path: touched for path, touched in read_touched(runs[reader]).items() if touched.last_read is not None}
    if not own:
        return []
    return [
        Passed(path, writer, reader)
        for writer, folder in runs.items()
        if writer != reader
        for path, others in read_touched(folder).items()
        if path in own and _reached(own[path], others)
    ]


def _reached(reader: Touched, writer: Touched) -> bool:
    if writer.first_write is None or writer.last_write is None or reader.last_read is None:
        return False
    if writer.first_write > reader.last_read:
        return False
    overwrote = reader.first_write is not None and reader.first_read is not None
    return not overwrote or reader.first_read < reader.first_write or writer.last_write > reader.first_write  # type: ignore[operator]
