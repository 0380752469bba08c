"""What a long training, or one of a large network, leaves on the device and on disk is bounded."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from rectifier.catalogue import CATALOGUE
from rectifier.monitor import Monitor
from rectifier.monitor.training import live, windows
from rectifier.monitor.training.sites.counters import UnitCounters
from rectifier.monitor.training.sites.models import _SATURATION
from rectifier.records import Manifest, Series
from rectifier.records.training.thinning import FULL_ROWS, FULL_STEPS
from rectifier.report.json.documents import run_json
from rectifier.report.windows import thinning_told
from rectifier.storage import RunWriter, read_run, write_manifest
from tests.edge import diagnose

SPIKE, NAN = 30_011, 35_003


def loss_at(step):
    return {SPIKE: 1e9, NAN: float("nan")}.get(step, 1 + 0.1 * (step % 7))


def trained(folder, steps, *, every=8, sizes=(7, 5), killed=False):
    """The steps of a training as a monitor meets them; forwards at observed steps only, and no weight moves."""
    folder.mkdir()
    manifest = Manifest(name="long", command=(), folder=str(folder), started="", rectifier="0", python="3")
    write_manifest(folder, manifest)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, sizes[0]), nn.ReLU(), nn.Linear(sizes[0], sizes[1]), nn.Tanh())
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watch = Monitor(RunWriter(folder), every=every)
    watch.start()
    x = torch.randn(4, 3)
    for step in range(steps):
        if watch.armed:
            # Of a vector: no loss is heard but the one below.
            model(x).backward(torch.ones(4, sizes[1]))
        loss = torch.tensor(loss_at(step))
        watch.on_backward(loss, loss)
        watch.on_step_start(optimizer)
        watch.on_step_end(optimizer)
    if not killed:
        watch.stop()
    else:
        watch._take_away()
        live.live.remove(watch)
    return read_run(folder), sum(path.stat().st_size for path in folder.glob("*.jsonl"))


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return trained(folder / "short", 4_000), trained(folder / "long", 40_000)


def test_ten_times_the_steps_leave_few_bytes_more(long):
    (short, small), (run, large) = long
    # A decade of a series adds at most 3.3 · (8,192 + 384) values after the first 16,384, and 24 windows.
    assert len(run.processes[0].series("loss").steps) <= FULL_STEPS + 1.4 * (8_192 + 384)
    assert large < 8 * small
    assert short.processes[0].series("loss").steps.tolist() == list(range(4_000))
    steps = [len(np.concatenate([w.steps for s in run.processes[0].snapshots for w in s.windows if w.site == 0]))]
    assert steps[0] <= FULL_ROWS / 8 + 3.4 * (2_048 + 400)


def test_what_stands_out_stays_at_its_exact_step_and_is_told(long):
    run = long[1][0]
    (process,) = run.processes
    loss = process.series("loss")
    assert loss.every == 4
    assert loss.steps[:FULL_STEPS].tolist() == list(range(FULL_STEPS))
    assert (np.diff(loss.steps) > 0).all()
    assert (np.diff(loss.steps) <= loss.every).all()
    assert loss.values.tolist() == pytest.approx([loss_at(step) for step in loss.steps], nan_ok=True, rel=1e-6)
    assert loss.values[loss.steps == SPIKE] == pytest.approx(1e9)
    assert loss.steps[np.isnan(loss.values)].tolist() == [NAN]
    assert loss.steps[-1] == 39_999
    assert "thinned, at the end to one of 4 steps" in thinning_told(process)
    assert run_json(run, [diagnose(process)])["processes"][0]["loss"]["every"] == 4
    (finding,) = [finding for finding in diagnose(process).findings if finding.rule == "non-finite"]
    assert f"at step {NAN:,}" in finding.title


def test_statistics_rest_on_values_equally_far_apart(long):
    loss = long[1][0].processes[0].series("loss")
    assert loss.even.steps.tolist() == list(range(0, 40_000, 4))
    assert SPIKE not in loss.regular.steps
    assert long[0][0].processes[0].series("loss").even.every == 1


def test_a_killed_run_has_been_thinned_alike(tmp_path, long):
    run, _ = trained(tmp_path / "killed", 40_000, killed=True)
    loss, whole = run.processes[0].series("loss").even, long[1][0].processes[0].series("loss").even
    assert len(loss.steps) > 30_000 / 4
    assert np.array_equal(loss.values, whole.values[: len(loss.steps)], equal_nan=True)


@pytest.mark.parametrize("chunk", [37, 1_000, 5_000])
def test_thinning_bit_by_bit_is_thinning_at_once(chunk):
    steps = np.cumsum(np.random.default_rng(0).integers(1, 4, 20_000)) + 10_000
    values = np.random.default_rng(1).normal(size=len(steps))
    values[[9_001, 9_002, 15_000]] = np.inf, np.nan, 99.0
    whole = Series(steps=steps, values=values)
    at_once, kept = whole.thin(), Series(steps=steps[:0], values=values[:0])
    for begin in range(0, len(steps), chunk):
        end = begin + chunk
        kept = Series(
            steps=np.concatenate([kept.steps, steps[begin:end]]),
            values=np.concatenate([kept.values, values[begin:end]]),
            every=kept.every,
        ).thin()
    assert kept.steps.tolist() == at_once.steps.tolist()
    assert kept.every == at_once.every == 4
    assert {steps[at] for at in (9_001, 9_002, 15_000)} <= set(kept.steps)


def test_a_large_network_adds_a_window_each_time_its_steps_double(tmp_path, monkeypatch):
    usual = trained(tmp_path / "usual", 1_000)[0].processes[0]
    monkeypatch.setattr(windows, "_MOST_UNIT_WINDOWS", 30)
    process = trained(tmp_path / "large", 1_000)[0].processes[0]
    ends = [snapshot.step for snapshot in process.snapshots]
    assert len(ends) < len(usual.snapshots) / 2
    assert all(later >= 2 * earlier for earlier, later in pairwise(ends[3:-1]))
    for index in (0, 1):
        fired = [sum(w.fired for s in one.snapshots for w in s.windows if w.site == index) for one in (usual, process)]
        assert fired[0].tolist() == fired[1].tolist(), "windows are longer, and nothing is lost"
    assert "each time the number of steps doubles" in thinning_told(process)
    assert thinning_told(usual) == ""


def tensor_bytes(counters):
    return sum(value.nbytes for value in vars(counters).values() if isinstance(value, torch.Tensor) and value.ndim)


@pytest.mark.parametrize("name", CATALOGUE)
def test_no_activation_takes_more_than_64_bytes_a_unit_on_the_device(name):
    row = CATALOGUE[name]
    counters = UnitCounters(
        1_000, torch.device("cpu"), row.value_at_zero, signed=row.signed, saturation=_SATURATION.get(name)
    )
    # Besides, when the last gradient of its bias came: 4 bytes.
    assert tensor_bytes(counters) + 4 * 1_000 <= 64 * 1_000
    for step in range(70):
        counters.observe(torch.randn(3, 1_000), -1, step)
        counters.observe_input(torch.randn(3, 1_000), -1)
    assert tensor_bytes(counters) + 4 * 1_000 <= 64 * 1_000
