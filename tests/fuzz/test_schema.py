"""Whatever the types of facts allow is read back, and reported without a traceback."""

import tempfile
import warnings
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rectifier.records import Manifest, Writer
from rectifier.storage import RunWriter, read_run, write_manifest
from tests.fuzz.schema import facts, of
from tests.fuzz.watching import run_command

USUAL = settings(
    max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate)
)
"""What fails is small anyway, and making it smaller would take minutes."""


def written(folder, found, writer=None):
    write_manifest(folder, Manifest.of_now("train", command=("train.py",)))
    sink = RunWriter(folder)
    sink.record(writer or Writer(pid=1, rank=0, world_size=1, torch="2.13.0", device="cpu"))
    for fact in found:
        sink.record(fact)


@USUAL
@given(facts())
def test_a_whole_run_is_read_and_reported(found):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        written(Path(folder), found)
        (process,) = read_run(Path(folder)).processes
        assert len(process.snapshots) == sum(type(one).__name__ == "Snapshot" for one in found)
        for extra in ((), ("--json",)):
            seen = run_command("report", folder, *extra)
            assert seen.wrong == "", seen


@USUAL
@given(st.data())
def test_any_manifest_is_read(data):
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), ())
        manifest = data.draw(of(Manifest, format_version=st.sampled_from([2, 3])))
        write_manifest(Path(folder), manifest)
        assert read_run(Path(folder)).manifest == manifest
        assert run_command("report", folder).wrong == ""
