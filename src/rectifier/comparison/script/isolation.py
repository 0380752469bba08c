"""Whether one training of a comparison read what another one wrote: then they are no independent observations."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rectifier.records import Touched
from rectifier.storage.touched_reading import read_touched


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


def passed_files(ended: str, runs: Mapping[str, Path]) -> list[Passed]:
    """Find the files that went from one training to another, where one of the two has just ended.

    A training that overwrote a file before it read it has read its own, unless the other was still writing then. What a
    running training does is known at once on this machine, and when it has ended on another: so the one that has ended
    is looked at as reader and as writer.

    Args:
        ended: The training that has just ended.
        runs: Run folders by name of the training, that one's and those of all others that have begun.
    """
    own = read_touched(runs[ended])
    if not own:
        return []
    found = []
    for other, folder in runs.items():
        if other == ended:
            continue
        for path, touched in read_touched(folder).items():
            if path in own and _reached(own[path], touched):
                found.append(Passed(path, other, ended))
            elif path in own and _reached(touched, own[path]):
                found.append(Passed(path, ended, other))
    return found


def _reached(reader: Touched, writer: Touched) -> bool:
    if writer.first_write is None or writer.last_write is None or reader.last_read is None:
        return False
    if writer.first_write > reader.last_read:
        return False
    overwrote = reader.first_write is not None and reader.first_read is not None
    return not overwrote or reader.first_read < reader.first_write or writer.last_write > reader.first_write  # type: ignore[operator]
