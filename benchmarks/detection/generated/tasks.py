"""What is learned: data, loss, score, and the score from which on a training counts as healthy."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from data import digits, mnist
from torch import Tensor


@dataclass(frozen=True)
class Task:
    """Data and what is asked of a network.

    Attributes:
        kind: `classes`, `values`, or another that only its own networks can do.
        outputs: How many numbers a network gives for a sample.
        measure: Score of all outputs against all targets: 1 at best.
        chance: What a constant scores.
        floor: Score below which a training without any fault counts as failed by itself.
    """

    name: str
    kind: str
    inputs: Tensor
    targets: Tensor
    outputs: int
    loss: Callable[[Tensor, Tensor], Tensor]
    measure: Callable[[Tensor, Tensor], float]
    chance: float
    floor: float


def accuracy(output: Tensor, targets: Tensor) -> float:
    """Share of the samples whose class has the largest output."""
    return float((output.argmax(-1) == targets).double().mean())


def explained(output: Tensor, targets: Tensor) -> float:
    """R² over all outputs."""
    targets = targets.view_as(output)
    rest = (output - targets).double().square().sum()
    return float(1 - rest / (targets - targets.mean(0)).double().square().sum())


def per_token(output: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over all positions."""
    return F.cross_entropy(output.flatten(0, 1), targets.flatten())


def overlap(output: Tensor, targets: Tensor) -> float:
    """Intersection over union of the masks."""
    mask, truth = output > 0, targets > 0.5
    return float((mask & truth).sum() / (mask | truth).sum().clamp(min=1))


def pair_loss(output: Tensor, targets: Tensor) -> Tensor:
    """Contrastive loss (Hadsell et al. 2006) with a margin of 1; the outputs are distances."""
    return (targets * output.square() + (1 - targets) * F.relu(1 - output).square()).mean()


def pair_score(output: Tensor, targets: Tensor) -> float:
    """Area under the ROC curve of the distances, scaled: 0 for chance, 1 for perfect."""
    ranks = torch.empty(len(output), dtype=torch.double)
    ranks[output.argsort()] = torch.arange(len(output), dtype=torch.double)
    # Equal distances share their rank, so that a constant scores exactly 0.
    values, inverse = output.unique(return_inverse=True)
    mean = torch.zeros(len(values), dtype=torch.double).index_add(0, inverse, ranks) / inverse.bincount()
    ranks, far = mean[inverse], targets < 0.5
    n, m = int(far.sum()), int((~far).sum())
    area = (ranks[far].sum() - n * (n - 1) / 2) / (n * m)
    return float(2 * area - 1)


def _drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _classes(name: str, inputs: Tensor, labels: Tensor, floor: float) -> Task:
    classes = int(labels.max()) + 1
    chance = float(labels.bincount().max() / len(labels))
    return Task(name, "classes", inputs, labels, classes, F.cross_entropy, accuracy, chance, floor)


def _digits() -> Task:
    return _classes("digits", *digits(), 0.85)


def _mnist() -> Task | None:
    data = mnist()
    return None if data is None else _classes("mnist", *data, 0.8)


def _spirals() -> Task:
    generator = _drawn(1)
    labels = torch.randint(3, (1500,), generator=generator)
    radius = torch.rand(1500, generator=generator) * 0.9 + 0.1
    angle = 4 * radius + labels * (2 * math.pi / 3)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    return _classes("spirals", 2 * points + 0.05 * torch.randn(1500, 2, generator=generator), labels, 0.75)


def _rings() -> Task:
    generator = _drawn(2)
    points = torch.randn(2000, 5, generator=generator)
    radius = points.norm(dim=1)
    labels = torch.bucketize(radius, radius.quantile(torch.tensor([1 / 3, 2 / 3])))
    return _classes("rings", points, labels, 0.75)


def _friedman() -> Task:
    generator = _drawn(3)
    x = torch.rand(2000, 10, generator=generator)
    y = 10 * (math.pi * x[:, 0] * x[:, 1]).sin() + 20 * (x[:, 2] - 0.5).square() + 10 * x[:, 3] + 5 * x[:, 4]
    y = y + torch.randn(2000, generator=generator)
    inputs, targets = (x - 0.5) * 12**0.5, ((y - y.mean()) / y.std()).unsqueeze(1)
    return Task("friedman", "values", inputs, targets, 1, F.mse_loss, explained, 0.0, 0.6)


def _waves() -> Task:
    generator = _drawn(4)
    labels = torch.randint(4, (1500,), generator=generator)
    phase = torch.rand(1500, 1, generator=generator) * 2 * math.pi
    time = torch.arange(16) * (0.25 + 0.35 * labels).unsqueeze(1)
    clean = torch.stack([(time + phase).sin(), (time + phase).cos(), time * 0 + 0.5], 2)
    return _classes("waves", clean + 0.1 * torch.randn(1500, 16, 3, generator=generator), labels, 0.75)


def _tokens() -> Task:
    generator = _drawn(5)
    size, length = 12, 9
    successor = torch.randperm(size, generator=generator)
    sequence = [torch.randint(size, (1500,), generator=generator)]
    for _ in range(length):
        lost = torch.rand(1500, generator=generator) < 0.1
        sequence.append(torch.where(lost, torch.randint(size, (1500,), generator=generator), successor[sequence[-1]]))
    text = torch.stack(sequence, 1)
    targets = text[:, 1:]
    chance = float(targets.flatten().bincount().max() / targets.numel())
    return Task("tokens", "tokens", text[:, :-1], targets, size, per_token, accuracy, chance, 0.7)


def _graphs() -> Task:
    generator = _drawn(6)
    nodes = torch.randn(1200, 8, 4, generator=generator)
    # Neighbours on a ring: what a node is, its two neighbours and their product say.
    around = nodes.roll(1, 1) + nodes.roll(-1, 1)
    value = (around[..., 0] * nodes[..., 1] + around[..., 2]).mean(1)
    labels = torch.bucketize(value, value.quantile(torch.tensor([0.5])))
    return _classes("graphs", nodes, labels, 0.7)


def _blobs() -> Task:
    generator = _drawn(7)
    place = torch.arange(16.0)
    centre = torch.rand(600, 2, 1, 1, generator=generator) * 10 + 3
    radius = torch.rand(600, 1, 1, generator=generator) * 2 + 2
    inside = (place.view(16, 1) - centre[:, 0]).square() + (place - centre[:, 1]).square() < radius.square()
    images = inside.float() + 0.6 * torch.randn(600, 16, 16, generator=generator)
    return Task("blobs", "masks", images.unsqueeze(1), inside.float().unsqueeze(1), 1,
                F.binary_cross_entropy_with_logits, overlap, 0.0, 0.6)  # fmt: skip


def _rebuilt() -> Task:
    images, _ = digits()
    return Task("rebuilt digits", "rebuilt", images, images, 64, F.mse_loss, explained, 0.0, 0.35)


def _pairs() -> Task:
    images, labels = digits()
    generator = _drawn(8)
    one = torch.randperm(len(images), generator=generator)
    other = torch.randperm(len(images), generator=generator)
    # Every second pair is of one class.
    for at in range(0, len(one), 2):
        same = (labels == labels[one[at]]).nonzero().flatten()
        other[at] = same[torch.randint(len(same), (1,), generator=generator)]
    inputs = torch.stack([images[one], images[other]], 1)
    return Task("pairs", "pairs", inputs, (labels[one] == labels[other]).float(), 1, pair_loss, pair_score, 0.0, 0.6)


TASKS: dict[str, Callable[[], Task | None]] = {
    "digits": _digits, "mnist": _mnist, "spirals": _spirals, "rings": _rings, "friedman": _friedman, "waves": _waves,
    "tokens": _tokens, "graphs": _graphs, "blobs": _blobs, "rebuilt": _rebuilt, "pairs": _pairs,
}  # fmt: skip


@functools.cache
def task(name: str) -> Task | None:
    """The one of that name; None where its data are not installed."""
    return TASKS[name]()
