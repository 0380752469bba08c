"""What a program records of itself is the same with and without us, and watching goes on afterwards."""

import dataclasses
import re

import pytest

from tests.launch.recording_programs import BASE, END, PROGRAMS
from tests.launch.running import Case, differences, lay, observed, python, rectifier

UNSEEN = {
    "a TorchDispatchMode to the end of the program": "a TorchDispatchMode",
    "a TorchDispatchMode around a training": "a TorchDispatchMode",
    "a TorchFunctionMode that counts and compares": "a TorchFunctionMode",
    "torch.profiler": "a profiler",
    "an ensemble under vmap": "torch.func",
    "compiled autograd": "compiled autograd",
    "selective checkpointing": "a TorchDispatchMode",
}
"""What the summary names as the reason why something was not observed."""


def without_numbers(ran):
    """Warnings of torch's own bear times and process numbers."""
    return dataclasses.replace(ran, err=re.sub(r"\d+", "#", ran.err), out="")


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_records_what_it_records_without_us(name, tmp_path):
    case = Case({"train.py": BASE + PROGRAMS[name] + END}, environment={"PYTHONHASHSEED": "0"})
    lay(case, tmp_path / "here")
    plainly = python(case, tmp_path / "here")
    assert plainly.code == 0, plainly.err
    ours, (run,) = rectifier(case, tmp_path / "here", "--every", "1")
    assert differences(without_numbers(plainly), without_numbers(ours)) == []
    assert plainly.out == ours.out
    assert "weights" in ours.out
    (process,) = run.processes
    assert process.warnings == ()
    losses = process.series("loss")
    if name == "a TorchDispatchMode to the end of the program":
        # The two steps before it.
        assert losses.steps.tolist() == [0, 1]
    elif name != "a time limit that a signal's handler raises":  # Another optimizer is the clock by then.
        # The last step, after whatever was recorded.
        last = [line for line in ours.out.splitlines() if line.startswith("losses")][-1]
        assert losses.values[-1].hex() == re.findall(r"'(\S+)'", last)[-1]
    assert observed(run) > 0
    if name in UNSEEN:
        told = " ".join(ours.err.split())
        assert re.search(rf"Not observed, wholly or in part: [1-9]\d* steps?, because {UNSEEN[name]} recorded", told)
