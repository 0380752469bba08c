"""Damaged files without end, on all cores."""

import collections
import multiprocessing
import os
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.fuzz.corpus import write_files
from tests.fuzz.targets import TARGETS

_IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_BATCH = 5_000
"""Then comes a fresh interpreter: memory that leaks shall not add up."""


def attack(name: str, count: int, first: int, *, show: bool = False):
    """Have damaged files read; how commands ended, and what went wrong, by kind, with the numbers of the files."""
    # What a rule warns of would stand in a report.
    warnings.simplefilter("error")
    target = TARGETS[name]
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
    return codes, found


def main(name: str, count: int, first: int = 0) -> bool:
    """The same in batches, on all cores; whether all went well."""
    began = time.monotonic()
    codes: collections.Counter[int | None] = collections.Counter()
    found = collections.defaultdict(list)
    starts = range(first, first + count, _BATCH)
    sizes = [min(_BATCH, first + count - start) for start in starts]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), spawn, max_tasks_per_child=1) as pool:
        for some, failures in pool.map(attack, [name] * len(sizes), sizes, starts):
            codes += some
            for kind, cases in failures.items():
                found[kind] += cases
    for kind, cases in sorted(found.items(), key=lambda one: -len(one[1])):
        number, where = cases[0]
        print(f"{len(cases):6} {kind[0]}: {where}  [{number}]")
    failures, seconds = sum(map(len, found.values())), time.monotonic() - began
    print(f"{name}: {count} from {first}, {failures} failures, exit codes {dict(codes)}, {seconds:.0f} s", flush=True)
    return not found
