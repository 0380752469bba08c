"""Real data that the demo and the proofs train on, without a network connection and without torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rectifier.errors import RectifierError

_DIGITS_FOR_TRAINING = 1_400


class MissingData(RectifierError):
    """A data set needs a package that is not installed; the text names the command."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """A classification data set, split once and for all.

    Attributes:
        name: In words, for reports.
        train_inputs: (n, d) float32.
        train_labels: (n,) int64, from 0 to classes − 1.
        test_inputs: (m, d) float32.
        test_labels: (m,) int64.
    """

    name: str
    train_inputs: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_inputs: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    classes: int


def digits() -> Split:
    """1,797 handwritten digits of 8 × 8 pixels, from 0 to 1: 1,400 to train on and 397 to test.

    The split is the same on every machine and for every seed: only the training may differ between two runs.

    Raises:
        MissingData: scikit-learn, whose wheel contains the images, is not installed.

    Example:
        >>> data = digits()
        >>> data.train_inputs.shape, data.test_inputs.shape, float(data.train_inputs.max())
        ((1400, 64), (397, 64), 1.0)

    Source: Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits" (its test part), as
    shipped with scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 (a second of import that only data needs)
    except ImportError as error:
        raise MissingData(
            "the handwritten digits ship inside scikit-learn, which cannot be imported here "
            f"({error}). Install it with: python -m pip install scikit-learn"
        ) from error
    images, labels = load_digits(return_X_y=True)
    # RandomState's stream is frozen for ever; that of default_rng may change between numpy versions.
    order = np.random.RandomState(0).permutation(len(labels))
    inputs = (images[order] / 16).astype(np.float32)
    targets = labels[order].astype(np.int64)
    return Split(
        name="handwritten digits (8 × 8 pixels, from scikit-learn)",
        train_inputs=inputs[:_DIGITS_FOR_TRAINING],
        train_labels=targets[:_DIGITS_FOR_TRAINING],
        test_inputs=inputs[_DIGITS_FOR_TRAINING:],
        test_labels=targets[_DIGITS_FOR_TRAINING:],
        classes=10,
    )
