"""The trainings of a comparison on a real Dask cluster of two workers: the same table, whatever happens to a worker.

`distributed` is installed by `pip install -e '.[cluster]'`.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from unittest.mock import Mock

import pytest
from click.testing import CliRunner

from rectifier.cli.commands.compare import command
from rectifier.comparison.question import Question, TrialSpec, script_digest
from rectifier.comparison.script import cluster
from rectifier.comparison.script.driver import run_comparison
from rectifier.comparison.script.trial import ScriptLauncher
from rectifier.errors import NothingToCompare
from rectifier.storage import read_run
from tests.cli.test_compare import gone, wait_for

TRAIN = """
import os, time
import torch

with open("workers", "a") as file:
    file.write(f"{os.getppid()} {os.getpid()}\\n")
inputs = torch.randn(75, 5)
target = inputs.abs().sum(1, keepdim=True)
model = torch.nn.Sequential(torch.nn.Linear(5, 11), torch.nn.ReLU(), torch.nn.Linear(11, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for step in range(31):
    loss = torch.nn.functional.mse_loss(model(inputs), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.02)
print("ends with", loss.item())
"""


@pytest.fixture
def scheduler(tmp_path_factory):
    """Address of a scheduler that has two workers, which are at work in another folder than the driver."""
    if find_spec("distributed") is None:
        pytest.skip("distributed is not installed: pip install -e '.[cluster]'")
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    file = elsewhere / "scheduler.json"
    where = ["--scheduler-file", str(file)]
    lines = [["scheduler", *where, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]]
    lines += [["worker", *where, "--nthreads", "1", "--no-nanny", "--no-dashboard"]] * 2
    with (elsewhere / "log").open("wb") as log:
        processes = [
            subprocess.Popen([sys.executable, "-m", "dask", *line], cwd=elsewhere, stdout=log, stderr=log)
            for line in lines
        ]
    try:
        # It is there before it is written.
        wait_for(lambda: file.exists() and file.read_text().rstrip().endswith("}"), 60)
        yield json.loads(file.read_text())["address"]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def ask(monkeypatch, folder, seeds):
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    monkeypatch.chdir(folder)
    return Question(
        command=("train.py",),
        script=script_digest(["train.py"]),
        arms=("leaky_relu:0.1",),
        seeds=seeds,
        metric="loss",
        summary="final",
        higher_is_better=False,
        margin=None,
        threads=1,
    )


def connected(scheduler, question):
    """What `connect` gives, once two workers have arrived."""

    def there():
        with contextlib.suppress(NothingToCompare), cluster.connect(scheduler, question) as launcher:
            return launcher.slots == 2
        return False

    wait_for(there, 60)
    return cluster.connect(scheduler, question)


def rows(comparison):
    """Everything that was found, and not how long it took."""
    return [replace(trial, seconds=0.0) for trial in comparison.trials], comparison.arms, comparison.headline


def test_a_worker_with_other_code_is_refused_before_anything_runs_and_later(scheduler, tmp_path, monkeypatch):
    question = ask(monkeypatch, tmp_path / "project", 1)
    with connected(scheduler, question) as launcher:
        spec = next(question.plan())
        ours, torch = launcher._code, re.escape(version("torch"))
        for theirs, text in [
            (replace(ours, torch="1.0"), rf"has torch {torch}, this process 1\.0: their trainings would not"),
            (replace(ours, script="0" * 64), "has another train.py than this machine"),
            (replace(ours, rectifier="9.9"), r"has Rectifier .*, this process version 9\.9"),
        ]:
            launcher._code = theirs
            with pytest.raises(NothingToCompare, match=text):
                launcher.refuse_other_code()
        # One that joins while the study runs looks at the code itself.
        launcher._code = replace(ours, torch="1.0")
        folder = tmp_path / "trials" / "as-is"
        folder.mkdir(parents=True)
        with pytest.raises(NothingToCompare, match=rf"the worker .* has torch {torch}, this process 1\.0"):
            launcher(spec, question, folder)
        launcher._code, launcher._directory = ours, tmp_path / "not there"
        with pytest.raises(NothingToCompare, match=r"cannot train: there is no .*not there on "):
            launcher.refuse_other_code()
        assert not (tmp_path / "project" / "workers").exists()
        # And stopping ends what runs on a worker.
        launcher._directory = tmp_path / "project"
        (tmp_path / "project" / "train.py").write_text(TRAIN.replace("range(31)", "range(31_000)"))
        launcher._code = replace(ours, script=script_digest(["train.py"]))
        again = tmp_path / "trials" / "again"
        again.mkdir()
        failures = []

        def train():
            with pytest.raises(NothingToCompare) as caught:
                launcher(spec, question, again)
            failures.append(caught.value)

        thread = threading.Thread(target=train)
        thread.start()
        workers = tmp_path / "project" / "workers"
        wait_for(lambda: workers.exists() and workers.read_text().endswith("\n"), 60)
        launcher.stop()
        thread.join(20)
        assert len(failures) == 1
        wait_for(lambda: gone(workers.read_text().split()[1]))


@pytest.mark.parametrize("seeds", [1, pytest.param(4, marks=pytest.mark.proof)])
def test_a_worker_that_is_killed_costs_no_training_and_the_table_is_the_local_one(
    scheduler, seeds, tmp_path, monkeypatch
):
    question = ask(monkeypatch, tmp_path / "project", seeds)
    local = run_comparison(question, tmp_path / "local", ScriptLauncher(), jobs=2)
    workers = tmp_path / "project" / "workers"
    workers.unlink()
    killed = []

    def kill_one():
        """The worker of the second training, while that runs."""
        wait_for(lambda: workers.exists() and workers.read_text().count("\n") >= 2, 60)
        worker, training = map(int, workers.read_text().splitlines()[1].split())
        os.kill(worker, signal.SIGKILL)
        killed.append((worker, training))

    killer = threading.Thread(target=kill_one)
    with connected(scheduler, question) as launcher:
        killer.start()
        remote = run_comparison(
            question, tmp_path / "remote", launcher, jobs=launcher.slots, stop_running=launcher.stop
        )
        killer.join()
        assert launcher.slots == 1
    assert rows(remote) == rows(local)
    assert all(trial.dead_fraction is not None for trial in remote.trials)
    # The one that lost its worker began twice, every other one once.
    assert workers.read_text().count("\n") == len(remote.trials) + 1
    for trial in remote.trials:
        folder = tmp_path / "remote" / trial.run
        assert read_run(folder).manifest.folder == str(folder)
        assert (folder.parent / "output.txt").read_text() == (
            tmp_path / "local" / trial.run / ".." / "output.txt"
        ).read_text()
        assert sorted(os.listdir(folder.parent)) == ["output.txt", "run"]
    # What a killed worker had started goes on by itself, and nobody hears of it.
    ((_, training),) = killed
    wait_for(lambda: gone(training))


def test_a_training_that_kills_its_workers_ends_the_comparison_with_their_name(tmp_path, monkeypatch):
    class KilledWorker(Exception):
        """As Dask's."""

    def result():
        raise KilledWorker("The last worker was tcp://node7:1.")

    question = ask(monkeypatch, tmp_path / "project", 1)
    future = Mock(result=result)
    client = Mock(submit=lambda *args, **options: future)
    launcher = cluster.ClusterLauncher(client, "tcp://x:1", question, None)
    folder = tmp_path / "trials" / "as-is-seed-0"
    folder.mkdir(parents=True)
    with pytest.raises(NothingToCompare, match=r"every worker that trained baseline, seed 0 died; .*node7.* memory"):
        launcher(next(question.plan()), question, folder)


def test_what_is_missing_is_told_with_the_command(tmp_path, monkeypatch):
    ask(monkeypatch, tmp_path / "project", 1)
    line = ["--scheduler", "tcp://127.0.0.1:1", "train.py"]
    if find_spec("distributed") is not None:
        monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.2)
        found = CliRunner().invoke(command, line).exception
        assert isinstance(found, NothingToCompare)
        assert "no Dask scheduler answers at tcp://127.0.0.1:1" in str(found)
        assert "dask worker tcp://127.0.0.1:1" in str(found)
    monkeypatch.setitem(sys.modules, "distributed", None)
    found = CliRunner().invoke(command, line).exception
    assert str(found) == "--scheduler needs Dask. Install it with: pip install 'rectifier[cluster]'"
    assert os.listdir() == ["train.py"]


@pytest.mark.parametrize(
    "address",
    ["", "8786", "localhost", "localhost:8786", "http://localhost:8786", "tcp://:8786", "tcp://localhost",
     "tcp://localhost:99999", "tcp://localhost:8786/x"],
)  # fmt: skip
def test_an_address_of_another_form_is_refused_before_dask_is_asked(address, tmp_path, monkeypatch):
    distributed = Mock()
    monkeypatch.setitem(sys.modules, "distributed", distributed)
    question = ask(monkeypatch, tmp_path / "project", 1)
    with (
        pytest.raises(NothingToCompare, match=re.escape(f"{address!r} is no address of a scheduler")),
        cluster.connect(address, question),
    ):
        pass
    assert distributed.mock_calls == []


def test_tls_needs_certificates_in_the_configuration_of_dask(tmp_path, monkeypatch):
    distributed = Mock()
    monkeypatch.setitem(sys.modules, "distributed", distributed)
    distributed.Security.return_value.get_connection_args.return_value = {"ssl_context": None}
    question = ask(monkeypatch, tmp_path / "project", 1)
    with (
        pytest.raises(NothingToCompare, match=r"tls://head:8786 needs certificates.*distributed\.comm\.tls"),
        cluster.connect("tls://head:8786", question),
    ):
        pass
    distributed.Client.assert_not_called()


def test_what_is_sent_to_a_worker_survives_the_way(tmp_path, monkeypatch):
    import pickle

    question = ask(monkeypatch, tmp_path / "project", 1)
    spec = next(question.plan())
    assert isinstance(spec, TrialSpec)
    assert pickle.loads(pickle.dumps((spec, question))) == (spec, question)
