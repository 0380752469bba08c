"""Any split of the data over ranks gives the counts of one process that saw all of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from rectifier.records import Process, Writer, merge_ranks

from ..watching import Watching


class Net(nn.Module):
    """Two of five units never fire, one fires on a single sample, one always."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 5)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-1, 1, 15).reshape(5, 3))
            self.layer.bias.copy_(torch.tensor([-50.0, -50.0, -4.0, 0.1, 50.0]))

    def forward(self, x):
        return F.relu(self.layer(x))


def watched(batches, rank=0, ranks=1) -> Process:
    """What a process writes that is given these batches, one a step."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), 0.0)
    with Watching(model, every=1) as watch:
        for batch in batches:
            optimizer.zero_grad()
            model(batch).sum().backward()
            optimizer.step()
    writer = Writer(pid=rank, rank=rank, world_size=ranks, torch="", device="cpu", replica=ranks > 1)
    return replace(watch.process, writer=writer)


def windows(process):
    return [window for snapshot in process.snapshots for window in snapshot.windows]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(2, 3),
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=2, max_size=9),
)
@example(0, 3, [[0, 0, 0], [0, 1, 0]])  # a unit that fired on one rank alone, whose last batch is empty
def test_any_split_over_ranks_gives_the_counts_of_one_process(seed, ranks, sizes):
    generator = torch.Generator().manual_seed(seed)
    # Each rank has something in the first step, so that all know the site.
    sizes = [[size + (step == 0) for size in row[:ranks]] for step, row in enumerate(sizes)]
    shares = [[torch.randn(size, 3, generator=generator) for size in row] for row in sizes]
    alone = watched([torch.cat(row) for row in shares])
    parts = [watched([row[rank] for row in shares], rank, ranks) for rank in range(ranks)]
    (merged,) = merge_ranks(parts[::-1])
    assert merged.writer.ranks == ranks
    for name in ("fired", "visits", "seen"):
        total, expected = (sum(getattr(w, name) for w in windows(one)) for one in (merged, alone))
        assert np.array_equal(total, expected), name
    ours, exact = windows(merged)[-1], windows(alone)[-1]
    assert ours.last_fired.tolist() == exact.last_fired.tolist()
    assert ours.last_gradient.tolist() == exact.last_gradient.tolist()
    assert max(w.highest.max() for w in windows(merged)) == max(w.highest.max() for w in windows(alone))
    mean, expected = (
        sum(w.mean * w.visits for w in windows(one)) / sum(w.visits for w in windows(one)) for one in (merged, alone)
    )
    assert np.allclose(mean, expected, rtol=1e-5, atol=1e-6)
    assert (ours.silent_visits <= exact.silent_visits).all()
    never = exact.last_fired < 0
    assert ours.silent_visits[never].tolist() == exact.silent_visits[never].tolist()


def test_equal_shares_give_the_same_gradients_losses_and_steps():
    shares = torch.randn(11, 2, 4, 3, generator=torch.Generator().manual_seed(1))
    alone = watched([row.flatten(0, 1) for row in shares])
    (merged,) = merge_ranks([watched(shares[:, rank], rank, 2) for rank in (0, 1)])
    assert [s.step for s in merged.snapshots] == [s.step for s in alone.snapshots if s.windows]
    for ours, exact in zip(windows(merged), windows(alone), strict=True):
        assert ours.steps.tolist() == exact.steps.tolist()
        assert np.allclose(ours.delta, exact.delta, rtol=1e-5)
    # Each rank's loss is a sum over half of the samples.
    assert np.allclose(merged.series("loss").values * 2, alone.series("loss").values, rtol=1e-5)


def test_a_unit_that_fires_on_one_rank_only_is_not_silent():
    quiet, loud = torch.zeros(7, 3), torch.tensor([-99.0, 0.0, 99.0]).repeat(7, 1)
    parts = [watched([batch] * 5, rank, 2) for rank, batch in enumerate((quiet, loud))]
    assert windows(parts[0])[-1].silent_visits[2] == 35
    (merged,) = merge_ranks(parts)
    assert windows(merged)[-1].silent_visits[2] == 0
    assert windows(merged)[-1].silent_visits[0] == 70


def test_a_lost_rank_would_be_caught():
    parts = [watched([torch.randn(4, 3)] * 3, rank, 2) for rank in (0, 1)]
    (merged,) = merge_ranks(parts)
    assert sum(w.visits for w in windows(merged)) != sum(w.visits for w in windows(parts[0]))


@pytest.mark.parametrize("kind", ["no replicas", "a rank is missing", "restarted", "other parts of the model"])
def test_what_does_not_belong_together_stays_apart(kind):
    parts = [watched([torch.randn(4, 3)] * 3, rank, 2) for rank in (0, 1)]
    if kind == "no replicas":
        parts = [replace(one, writer=replace(one.writer, replica=False)) for one in parts]
    elif kind == "a rank is missing":
        parts.pop()
    elif kind == "restarted":
        parts.append(parts[1])
    else:
        parts[1] = replace(parts[1], sites=(replace(parts[1].sites[0], path="other"),))
    assert merge_ranks(parts) == tuple(parts)


def test_a_rank_that_was_killed_early_counts_as_far_as_it_came():
    shares = torch.randn(2, 9, 4, 3, generator=torch.Generator().manual_seed(1))
    (merged,) = merge_ranks([watched(shares[0], 0, 2), watched(shares[1, :3], 1, 2)])
    assert sum(w.visits for w in windows(merged)) == 4 * (9 + 3)
    assert merged.snapshots[-1].step == 8
    assert windows(merged)[-1].silent_visits[0] == 4 * (9 + 3)
