"""`python -m tests.fuzz READER COUNT [FIRST]`: so many damaged files, and each kind of failure with its first number.

`python -m tests.fuzz READER --show NUMBER`: that one alone, with what was printed.
"""

import collections
import sys
import tempfile
import time
import warnings
from pathlib import Path

from tests.fuzz.corpus import write_files
from tests.fuzz.targets import TARGETS

_IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def attack(name: str, count: int, first: int = 0, *, show: bool = False) -> bool:
    """Have so many damaged files read; whether all went well."""
    # What a rule warns of would stand in a report.
    warnings.simplefilter("error")
    target, began = TARGETS[name], time.monotonic()
    codes: collections.Counter[int | None] = collections.Counter()
    found = collections.defaultdict(list)
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as kept:
        here = Path(kept)
        for number, files in target.mutants(here / "corpus", first, count):
            write_files(here / "mutant", files)
            seen = target.read(here / "mutant", number)
            codes[seen.code] += 1
            if show:
                print(seen.text)
            if seen.wrong:
                found[seen.kind].append((number, seen.where))
    for kind, cases in sorted(found.items(), key=lambda one: -len(one[1])):
        number, where = cases[0]
        print(f"{len(cases):6} {kind[0]}: {where}  [{number}]")
    failures = sum(map(len, found.values()))
    seconds = time.monotonic() - began
    print(f"{name}: {count} from {first}, {failures} failures, exit codes {dict(codes)}, {seconds:.0f} s")
    return not found


if __name__ == "__main__":
    reader, second, *rest = sys.argv[1:]
    if second == "--show":
        sys.exit(not attack(reader, 1, int(rest[0]), show=True))
    sys.exit(not attack(reader, int(second), *map(int, rest)))
