"""Plain networks that fail, rebuilt from papers and from public reports, each with what its source says prevents it."""

import math
from dataclasses import dataclass, replace

import torch
from data import Data, diabetes, digits, fashion, mnist, standardised
from plain import Plain

GAIN = 0.05
COLLAPSED = 1e-3
"""Standard deviation of the output below which Lu et al. 2019 call a network collapsed."""


@dataclass(frozen=True)
class Failure:
    """A training that fails for some seeds at least.

    Attributes:
        source: Where it was published, and what is different here.
        setting: As it fails.
        remedy: What its source says prevents it.
        causes: Kinds of causes that say what is wrong.
        collapse: Whether the failure is a constant output; narrow networks fit worse than their remedy in any case.
    """

    name: str
    source: str
    setting: Plain
    remedy: Plain
    causes: tuple[str, ...]
    collapse: bool = False

    def is_worse(self, ended: tuple[float, float], changed: tuple[float, float]) -> bool:
        """Whether a training failed beside the same one with a change: by its score, or by a constant output."""
        (score, spread), (better, wider) = ended, changed
        collapsed = spread < COLLAPSED <= wider
        return not math.isfinite(score) or collapsed or (not self.collapse and better - score >= GAIN)


_LINE = ((torch.arange(3000) / 3000 * 2 - 1) * 3**0.5).unsqueeze(1)
_FOUR = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
_SEVEN = torch.arange(-1.0, 6.0).unsqueeze(1)


def published(handwriting: Data | None, clothes: Data | None) -> list[Failure]:
    """Those of papers and of signal propagation.

    Args:
        handwriting: What stands for MNIST; without it its cases are left out.
        clothes: What stands for Fashion-MNIST.
    """
    images, labels = digits()
    relu_out = Plain(_FOUR, 2 * _FOUR - 1, (), lr=0.01, steps=400, optimizer="sgd", batch=4, cost="mse", output="relu")
    shrinking = Plain(images, labels, (32,) * 20, lr=0.05, steps=400, optimizer="sgd")
    narrow = Plain(_LINE, _LINE.abs(), (2,) * 9, lr=1e-3, steps=300, init="he", batch=128, cost="mse")
    leaky = replace(narrow, activation="leaky_relu", steps=400)
    cases = [
        Failure(
            "one ReLU as output",
            "tfjs issue 918",
            relu_out,
            replace(relu_out, output=None),
            ("output_activation", "initial_weights"),
        ),
        Failure(
            "20 layers, torch's initialisation",
            "signal propagation",
            shrinking,
            replace(shrinking, init="he"),
            ("initial_weights", "depth"),
        ),
        Failure(
            "abs(x), 9 x 2",
            "Lu et al. 2019",
            narrow,
            replace(narrow, widths=(32,) * 9),
            ("narrow_layer", "initial_weights"),
            collapse=True,
        ),
        Failure(
            "abs(x), 9 x 2, slope .01",
            "the same",
            leaky,
            replace(leaky, widths=(32,) * 9),
            ("narrow_layer", "initial_weights"),
            collapse=True,
        ),
    ]
    if handwriting is not None:
        deep = Plain(*handwriting, (128,) * 34, lr=1e-3, steps=200, init="glorot", batch=32)
        raw = Plain(255 * handwriting[0], handwriting[1], (100,), lr=0.1, steps=400, optimizer="sgd", batch=100)
        cases += [
            Failure(
                "34 x 128, Glorot",
                "AUTOTRAINER's motivating model",
                deep,
                replace(deep, init="he"),
                ("initial_weights", "depth"),
            ),
            Failure(
                "raw inputs 0..255", "MNIST, 784-100-10", raw, replace(raw, inputs=handwriting[0]), ("input_scale",)
            ),
        ]
    if clothes is not None:
        fast = Plain(*clothes, (128,) * 3, lr=3e-2, steps=400)
        cases += [
            Failure("learning rate 3e-2", "3 x 128 on Fashion-MNIST", fast, replace(fast, lr=1e-3), ("learning_rate",)),
            Failure(
                "learning rate 1e-1",
                "the same, further",
                replace(fast, lr=0.1),
                replace(fast, lr=1e-3),
                ("learning_rate",),
            ),
        ]
    return cases


def _of_definitions() -> list[Failure]:
    """What the definitions name and no publication in the list shows."""
    images, labels = digits()
    shifted = Plain(images + 30, labels, (32,), lr=0.03, steps=400, optimizer="sgd", activation="tanh")
    half = (labels >= 5).float().unsqueeze(1)
    softmax = Plain(images, half, (32,), lr=1e-3, steps=400, cost="bce", output="softmax")
    sigmoids = Plain(images, labels, (100,) * 20, lr=0.1, steps=300, optimizer="sgd", activation="sigmoid")
    return [
        Failure(
            "inputs around 30", "input offset", shifted, replace(shifted, inputs=standardised(images)), ("input_scale",)
        ),
        Failure(
            "softmax over one unit",
            "no gradient",
            softmax,
            replace(softmax, output=None, cost="mse"),
            ("output_activation", "downstream_constant"),
        ),
        Failure(
            "20 sigmoid layers",
            "vanishing",
            sigmoids,
            replace(sigmoids, widths=(100,)),
            ("activation", "depth", "initial_weights"),
        ),
    ]


def _reported() -> list[Failure]:
    """From public reports, in miniature."""
    images, labels = digits()
    patients, disease = diabetes()
    regression = Plain(
        patients, disease, (32,) * 2, lr=1e-2, steps=600, activation="sigmoid", cost="mse", output="relu"
    )
    narrow = Plain(_SEVEN, 2 * _SEVEN - 1, (4, 2), lr=1e-3, steps=600, init="glorot", batch=7, cost="mse",
                   output="relu")  # fmt: skip
    xray = Plain((2 * images - 1) * 1024, labels, (64,), lr=0.01, steps=300, optimizer="sgd")
    speeds = torch.rand(2000, 20, generator=torch.Generator().manual_seed(7)) * 10_000
    steering = torch.tanh((speeds[:, :3] / 5_000 - 1).sum(1, keepdim=True))
    actor = Plain(speeds, steering, (64,), lr=1e-2, steps=400, cost="mse", output="tanh")
    cases = [
        Failure("regression that ends in ReLU",
                "https://github.com/ProteomicsML/ProteomicsML/pull/203: an LSTM there, sigmoids here", regression,
                replace(regression, output=None), ("output_activation",), collapse=True),
        Failure("y = 2x - 1, 4-2-1, all ReLU", "https://community.deeplearning.ai/t/loss-values-do-not-change/324182",
                narrow, replace(narrow, output=None, widths=(32, 32)),
                ("narrow_layer", "output_activation", "initial_weights"), collapse=True),
        Failure("pixels from -1024 to 1024", "https://github.com/mlmed/torchxrayvision/issues/9: on digits, one layer",
                xray, replace(xray, inputs=standardised(images)), ("input_scale",)),
        Failure("actor whose tanh saturates", "https://github.com/floodsung/DDPG/issues/6: the actor alone, taught",
                actor, replace(actor, inputs=standardised(speeds)), ("input_scale",)),
    ]  # fmt: skip
    if (data := mnist()) is not None:
        mlx = Plain(*data, (32, 32), lr=0.1, steps=400, batch=256)
        textbook = Plain(*data, (30,), lr=3.0, steps=400, init="tenth", optimizer="sgd", batch=10, cost="squared",
                         output="relu")  # fmt: skip
        cases += [
            Failure("MLP at learning rate 1e-1", "https://github.com/ml-explore/mlx/issues/188", mlx,
                    replace(mlx, lr=1e-3), ("learning_rate",)),
            Failure("sigmoid swapped for ReLU", "https://github.com/MichalDanielDobrzanski/DeepLearningPython/issues/13:"
                    " with the smaller weights that were advised there, but without the smaller steps",
                    textbook, replace(textbook, lr=0.1), ("learning_rate",)),
        ]  # fmt: skip
    if (data := fashion()) is not None:
        sigmoid = Plain(*data, (128, 64, 64, 32), lr=0.1, steps=400, optimizer="sgd", activation="sigmoid")
        cases.append(
            Failure("four sigmoid layers", "https://github.com/phlippe/uvadlc_notebooks/issues/119: a quarter as wide",
                    sigmoid, replace(sigmoid, activation="relu"), ("activation", "initial_weights", "depth"))
        )  # fmt: skip
    return cases


PLAIN = [*published(mnist(), fashion()), *_of_definitions(), *_reported()]
