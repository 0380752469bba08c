"""An ordinary, well-tuned network, which Leaky ReLU does not improve."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from rectifier.catalogue import parse
from rectifier.comparison.models.draws import Recipe, batches, draws_for
from rectifier.comparison.models.ensemble import outputs, train
from rectifier.comparison.models.observed import Network, stacked_mlps
from rectifier.datasets import Split, fashion_mnist
from rectifier.records import FloatArray
from rectifier.reproduce.result import Progress, Result
from rectifier.reproduce.row import Known, Measured, mean_of

NETWORK = Network(784, 3, 128, 10)
RECIPE = Recipe(epochs=3, batch_size=128)
LEARNING_RATE = 1e-3
KNOWN = {"relu": 0.838, "leaky_relu:0.01": 0.842, "leaky_relu:0.2": 0.843}
KNOWN_SEEDS = 3


def accuracies(
    data: Split, spec: str, seed: int, seeds: int, *, progress: Callable[[float], None] = lambda done: None
) -> FloatArray:
    """(seeds,) test accuracies after the training."""
    draws = draws_for(seed, seeds)
    members = stacked_mlps(NETWORK, parse(spec), draws)
    inputs, labels = torch.from_numpy(data.train_inputs), torch.from_numpy(data.train_labels)
    steps = RECIPE.epochs * -(-len(inputs) // RECIPE.batch_size)

    def loss(predicted: Tensor, chosen: Tensor) -> Tensor:
        each = cross_entropy(predicted.flatten(0, 1), labels[chosen].flatten(), reduction="none")
        return each.view(seeds, -1).mean(1)

    shown = (chosen for _, chosen in batches(len(inputs), RECIPE, draws))
    optimizer = torch.optim.Adam(members.learned, lr=LEARNING_RATE, fused=True)
    train(members.forward, optimizer, inputs, shown, loss, on_step=lambda step: progress(step / steps))
    guessed = outputs(members.forward, torch.from_numpy(data.test_inputs), seeds).argmax(2)
    right = guessed == torch.from_numpy(data.test_labels)
    return right.double().mean(1).numpy()


def measure(seed: int, progress: Progress, *, seeds: int = 16, images: int = 20_000) -> list[Measured]:
    """Train all arms from the same initial weights on the same order of images."""
    data = fashion_mnist(train=images)
    found = {}
    for number, arm in enumerate(KNOWN):

        def part(done: float, number: int = number) -> None:
            progress((number + done) / len(KNOWN))

        found[arm] = accuracies(data, arm, seed, seeds, progress=part)
    rows = []
    for arm, name in zip(KNOWN, ("ReLU", "slope .01", "slope .2"), strict=True):
        if arm != "relu":
            gain = KNOWN[arm] - KNOWN["relu"]
            row = Known(gain, gain, "measured", KNOWN_SEEDS)
            rows.append(Measured(f"accuracy, {name} − ReLU, paired", row, mean_of(found[arm] - found["relu"])))
        rows.append(Measured(f"accuracy, {name}", None, mean_of(found[arm])))
    return rows


RESULT = Result(
    name="tuned-mlp",
    title="On an ordinary, tuned network Leaky ReLU makes no difference worth having",
    source="an earlier measurement of our own, 3 seeds an arm (accuracies .838, .842, .843); the same is published for "
    "ImageNet: Mishkin et al. 2017, Ramachandran et al. 2017",
    setting="3 × 128 MLP, He-normal weights, zero biases, Adam 0.001, batch 128, 3 epochs over the first 20,000 images "
    "of Fashion-MNIST, 16 seeds an arm, all 10,000 test images. Batch and number of images of the earlier measurement "
    "are not recorded, so only the differences are judged",
    measure=measure,
    limit="An ordinary network of a few layers, well initialised and trained with Adam, is as accurate with ReLU.",
)
