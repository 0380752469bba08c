"""Real data that the demo and the proofs train on, without a network connection and without torch."""

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rectifier.errors import RectifierError

_DIGITS_FOR_TRAINING = 1_400


class MissingData(RectifierError):
    """A data set needs a package or files that are not installed; the text names the command."""


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
            f"the handwritten digits ship inside scikit-learn, which cannot be imported here ({error}). "
            "Install it with: python -m pip install 'rectifier[demo]'"
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


def fashion_mnist(*, train: int = 60_000, test: int = 10_000) -> Split:
    """Photographs of clothes of 28 × 28 pixels, from 0 to 1, in the order of the original files.

    Warning:
        Its images are not in this package. They are looked for in the folder that RECTIFIER_FASHION_MNIST names,
        otherwise where Debian's package puts them; nothing is ever downloaded.

    Args:
        train: So many of the first images to train on.
        test: So many of the first images to test on.

    Raises:
        MissingData: The files are not there or are not what they should be; the text names the command.

    Source: Xiao, Rasul & Vollgraf 2017, arXiv:1708.07747.
    """
    folder = Path(os.environ.get("RECTIFIER_FASHION_MNIST") or "/usr/share/datasets/fashion-mnist")
    return Split(
        name="Fashion-MNIST (28 × 28 pixels)",
        train_inputs=_images(folder / "train-images-idx3-ubyte", train),
        train_labels=_idx(folder / "train-labels-idx1-ubyte")[:train].astype(np.int64),
        test_inputs=_images(folder / "t10k-images-idx3-ubyte", test),
        test_labels=_idx(folder / "t10k-labels-idx1-ubyte")[:test].astype(np.int64),
        classes=10,
    )


def _images(file: Path, count: int) -> NDArray[np.float32]:
    images = _idx(file)[:count]
    return (images.reshape(len(images), -1) / np.float32(255)).astype(np.float32)


def _idx(file: Path) -> NDArray[np.uint8]:
    """Read an idx file of bytes, compressed or not: two zeros, 8, the number of dimensions, their sizes, the bytes."""
    try:
        compressed = file.with_name(f"{file.name}.gz")
        content = file.read_bytes() if file.is_file() else gzip.decompress(compressed.read_bytes())
        if content[:3] != b"\0\0\x08":
            raise ValueError("it is no idx file of bytes")
        sizes = np.frombuffer(content, ">i4", content[3], 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise MissingData(
            f"Fashion-MNIST cannot be read from {file} or {file.name}.gz ({error}). On Debian and Ubuntu: "
            "apt-get install dataset-fashion-mnist. Elsewhere put its four idx files into a folder and name it: "
            "RECTIFIER_FASHION_MNIST=FOLDER"
        ) from error
