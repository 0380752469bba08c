"""Scripts that start processes: loaders with workers, trainers made by multiprocessing, `exec` and `subprocess`."""

from tests.launch.programs import GUARDED, WHOLE
from tests.launch.running import Case, differences, lay, observed, python, rectifier

LOADERS = (
    WHOLE
    + """
class Pair:
    # Pickled by name: the worker must find this very class in its __main__.
    def __init__(self, row):
        self.row = row


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 25

    def __getitem__(self, index):
        worker = torch.utils.data.get_worker_info()
        return Pair(torch.randn(7) + index + 0 * worker.id)


def collate(pairs):
    rows = torch.stack([pair.row for pair in pairs])
    return rows[:, :5], rows[:, 5:]


if __name__ == "__main__":
    torch.manual_seed(7)
    model = Functional()
    for method in ("fork", "spawn", "forkserver"):
        print(method, flush=True)
        loader = torch.utils.data.DataLoader(
            Rows(), 7, shuffle=True, num_workers=2, collate_fn=collate, multiprocessing_context=method
        )
        train(model, loader, lr=0.001)
    evidence(model)
"""
)

TRAINERS = (
    WHOLE
    + """
import torch.multiprocessing as mp


def trainer(rank, queue):
    torch.manual_seed(rank)
    model = Functional()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for inputs, target in random_batches(5 + rank):
        loss = F.mse_loss(model(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item().hex())
    queue.put((rank, losses, __name__))


if __name__ == "__main__":
    for method, ranks in {"fork": [0, 1], "forkserver": [2], "spawn": [3]}.items():
        context = mp.get_context(method)
        queue = context.Queue()
        processes = [context.Process(target=trainer, args=(rank, queue)) for rank in ranks]
        for process in processes:
            process.start()
        for line in sorted(queue.get() for process in processes):
            print(method, *line, flush=True)
        for process in processes:
            process.join()
            print(process.exitcode)
    torch.manual_seed(7)
    model = Functional()
    train(model, random_batches(3))
    queue = mp.get_context("fork").Queue()
    process = mp.get_context("fork").Process(target=trainer, args=(6, queue))
    process.start()
    print(queue.get(), flush=True)
    process.join()
    train(model, random_batches(3))
    evidence(model)
"""
)

GRANDCHILDREN = (
    GUARDED
    + """
import os, subprocess, sys
if __name__ == "__main__":
    if "again" not in sys.argv:
        sys.stdout.flush()
        child = subprocess.run([sys.executable, "-c", "import torch, sys; print(sys.path, sys.argv); sys.exit(5)"])
        print("the child's code", child.returncode, flush=True)
        subprocess.run([sys.executable, "-I", "-c", "print('isolated')"])
        os.execv(sys.executable, [sys.executable, __file__, "again"])
    main()
"""
)


def run_both(text, tmp_path, *options):
    case = Case({"train.py": text})
    lay(case, tmp_path / "here")
    plainly = python(case, tmp_path / "here")
    assert plainly.code == 0, plainly.err
    ours, runs = rectifier(case, tmp_path / "here", *options)
    assert differences(plainly, ours) == []
    (run,) = runs
    return plainly, run


def test_loaders_with_workers_of_every_kind(tmp_path):
    # On a busy machine the budget would skip steps.
    plainly, run = run_both(LOADERS, tmp_path, "--every", "1")
    assert plainly.out.count("loss") == 12
    # Workers import torch, but only the trainer writes.
    (process,) = run.processes
    assert observed(run) == 3 * (25 + 25 + 25)
    assert process.series("loss").steps.tolist() == list(range(12))


def test_trainers_of_every_kind_write_for_themselves(tmp_path):
    _, run = run_both(TRAINERS, tmp_path)
    steps = sorted(len(process.series("loss").values) for process in run.processes)
    # Trainers 0 to 3, number 6 forked from a script that has trained, and that script, which trained on after it.
    assert steps == [5, 6, 6, 7, 8, 11]
    for process in run.processes:
        assert [site.activation for site in process.sites] == ["relu", "tanh", "relu"]
        # To the last step, however the process ended.
        assert process.snapshots[-1].cost.steps >= len(process.series("loss").values)
    assert len({process.writer.pid for process in run.processes}) == 6


def test_exec_and_grandchildren(tmp_path):
    plainly, run = run_both(GRANDCHILDREN, tmp_path)
    assert "the child's code 5" in plainly.out
    assert observed(run) > 0


def test_a_child_forked_from_a_long_training_is_observed_from_its_own_beginning(tmp_path):
    """The parent, a network whose steps take less than a millisecond, is observed every so many steps by then."""
    script = """
import os

import torch
from torch import nn


def train(units, steps):
    model = nn.Sequential(nn.Linear(3, units), nn.ReLU(), nn.Linear(units, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()


train(7, 6_000)
child = os.fork()
if not child:
    train(11, 20)
    os._exit(0)
os.waitpid(child, 0)
"""
    case = Case({"train.py": script})
    lay(case, tmp_path / "here")
    ours, (run,) = rectifier(case, tmp_path / "here", "--budget", "0")
    assert ours.code == 0, ours.err
    parent, child = sorted(run.processes, key=lambda process: process.sites[0].units)
    assert parent.snapshots[-1].cost.interval > 1, "never thinned out, so this shows nothing"
    assert child.sites[0].units == 11
    assert child.snapshots[-1].cost.observed_steps >= 5
    assert child.series("loss").steps[0] == 0


def test_a_forked_child_that_only_back_propagates_is_no_training(tmp_path):
    """A saliency map, or a batch's adversarial samples, in a process of its own."""
    script = """
import multiprocessing

import torch
from torch import nn

model = nn.Sequential(nn.Linear(3, 7), nn.ReLU(), nn.Linear(7, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.01)


def step():
    optimizer.zero_grad()
    model(torch.randn(5, 3)).square().mean().backward()
    optimizer.step()


def saliency():
    inputs = torch.randn(5, 3, requires_grad=True)
    (inputs * 2).sum().backward()
    model(inputs).sum().backward()


for _ in range(50):
    step()
child = multiprocessing.get_context("fork").Process(target=saliency)
child.start()
child.join()
assert child.exitcode == 0
step()
"""
    case = Case({"train.py": script})
    lay(case, tmp_path / "here")
    ours, (run,) = rectifier(case, tmp_path / "here")
    assert ours.code == 0, ours.err
    (process,) = run.processes
    assert process.series("loss").steps.tolist() == list(range(51))
