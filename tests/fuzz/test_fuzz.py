"""A thousand damaged files for each reader, and all that were made to hurt: no traceback, no hang, no escape.

`make fuzz` has a million of each read.
"""

import warnings

import pytest

from tests.fuzz.corpus import write_files
from tests.fuzz.crafted import COMPARISONS, RUNS
from tests.fuzz.targets import TARGETS

PARTS, EACH = 4, 250


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_end_in_one_clear_message_or_are_read(name, part, tmp_path):
    target, codes = TARGETS[name], set()
    for number, files in target.mutants(tmp_path / "corpus", part * EACH, EACH):
        write_files(tmp_path / "mutant", files)
        seen = target.read(tmp_path / "mutant", number)
        assert seen.wrong == "", f"python -m tests.fuzz {name} --show {number}: {seen}"
        codes.add(seen.code)
    assert codes >= {0, 2}, "some are read, and some refused"


@pytest.mark.parametrize("name", TARGETS)
def test_whole_files_are_read(name, tmp_path):
    target = TARGETS[name]
    for files in target.corpus(tmp_path / "corpus"):
        write_files(tmp_path / "whole", files)
        for number in range(4):
            seen = target.read(tmp_path / "whole", number)
            assert seen.wrong == "", seen
            assert seen.code != 2, seen


@pytest.mark.parametrize(("name", "crafted"), [("runs", RUNS), ("comparisons", COMPARISONS)])
def test_files_made_to_hurt(name, crafted, tmp_path):
    target = TARGETS[name]
    whole = target.corpus(tmp_path / "corpus")
    for what, damage in crafted.items():
        write_files(tmp_path / "mutant", whole[2 if name == "runs" else 0])
        damage(tmp_path / "mutant")
        for number in (1, 2 if name == "comparisons" else 0):
            seen = target.read(tmp_path / "mutant", number)
            assert seen.wrong == "", (what, seen)


def test_there_are_enough_of_them():
    assert len(RUNS) + len(COMPARISONS) >= 150
