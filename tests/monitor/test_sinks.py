"""Every sink keeps the same facts, whatever order they come in."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from rectifier.launch.treating import Kept
from rectifier.monitor import MemorySink
from rectifier.records import Changed, Treated, Unfinished, Unseen, Warned, encode
from rectifier.storage import RunWriter, read_run, write_manifest
from tests.storage.test_runs import SITE, WRITER, manifest, snapshot

MAKE = {
    "site": lambda step: SITE,
    "snapshot": snapshot,
    "unfinished": lambda step: Unfinished(snapshot(step)),
    "unseen": lambda step: Unseen(what=f"operation {step}", reason=""),
    "changed": lambda step: Changed(f"change {step}"),
    "treated": lambda step: Treated(step=step, name="recycle", text="", units={"MLP.1": (step,)}),
    "warned": lambda step: Warned(f"warning {step}"),
}
FACTS = st.lists(st.sampled_from(sorted(MAKE)), max_size=9)
BEFORE = st.lists(st.sampled_from(["changed", "site", "treated", "unseen", "warned"]), max_size=3)


@settings(max_examples=30, deadline=None)
@given(before=BEFORE, after=FACTS)
def test_memory_and_a_run_folder_keep_the_same_facts(before, after):
    facts = [MAKE[kind](step) for step, kind in enumerate([*before, *after], 1)]
    facts.insert(len(before), WRITER)
    memory = MemorySink()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_manifest(folder, manifest(folder))
        kept = Kept(RunWriter(folder))
        for fact in facts:
            memory.record(fact)
            kept.record(fact)
        (read,) = read_run(folder).processes
    assert encode(read) == encode(memory.process()) == encode(kept.process())


def test_the_next_window_of_either_kind_replaces_the_unfinished_one():
    memory = MemorySink()
    seen = []
    for fact in (Unfinished(snapshot(1)), Unfinished(snapshot(2)), snapshot(3), Unfinished(snapshot(4))):
        memory.record(fact)
        seen.append([one.step for one in memory.process().snapshots])
    assert seen == [[1], [2], [3], [3, 4]]
