"""Networks of many kinds, each with the data that it learns and the sizes among which one is drawn."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from generated.job import Design
from generated.networks.others import Autoencoder, Experts, Graph, Siamese, Variational
from generated.networks.plain import Hourglass, Images, Residual, mlp
from generated.networks.sequences import Encoder, Recurrent, Transformer, Unrolled
from generated.tasks import Task

HIDDEN = ("relu", "relu", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "elu", "silu")
"""ReLU, the subject of the package, as often as three others together."""
UNBOUNDED = ("relu", "relu", "leaky_relu", "gelu", "elu", "silu", "tanh")


@dataclass(frozen=True)
class Family:
    """A kind of network and the designs among which one is drawn."""

    build: Callable[[Design, Task], nn.Module]
    data: tuple[str, ...]
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    steps: int
    activations: tuple[str, ...] = UNBOUNDED
    norm: tuple[bool, ...] = (False,)
    optimizers: tuple[str, ...] = ("adam", "adamw", "momentum", "sgd")
    batch: int = 64


FAMILIES: dict[str, Family] = {
    "mlp": Family(mlp, ("digits", "mnist", "spirals", "rings", "friedman"), (32, 64, 128), (1, 2, 3), 300, HIDDEN,
                  (False, False, True)),
    "cnn": Family(Images, ("digits", "mnist"), (32, 48, 64), (2, 3), 180, HIDDEN[:3] + HIDDEN[3:5] + HIDDEN[6:],
                  (True, False)),
    "residual": Family(Residual, ("digits", "rings", "friedman"), (32, 64), (3, 6), 250, UNBOUNDED, (True, False),
                       ("adam", "adamw", "momentum")),
    "transformer": Family(Transformer, ("waves", "tokens"), (32, 48), (1, 2), 200, ("relu", "gelu", "silu"), (True,),
                          ("adam", "adamw"), 32),
    "encoder": Family(Encoder, ("waves", "tokens"), (32, 48), (1, 2), 280, ("relu", "gelu"), (True,),
                      ("adam", "adamw"), 32),
    "rnn": Family(Recurrent, ("waves", "tokens"), (32, 48), (1,), 200, ("relu", "tanh", "elu"), (False,),
                  ("adam", "adamw"), 32),
    "lstm": Family(Recurrent, ("waves", "tokens"), (32, 48), (1,), 200, ("relu", "tanh", "gelu"), (False,),
                   ("adam", "adamw"), 32),
    "gru": Family(Recurrent, ("waves", "tokens"), (32, 48), (1,), 200, ("relu", "tanh", "silu"), (False,),
                  ("adam", "adamw"), 32),
    "unrolled": Family(Unrolled, ("waves",), (32, 48), (1,), 200, ("relu", "tanh", "elu"), (False,),
                       ("adam", "adamw"), 32),
    "autoencoder": Family(Autoencoder, ("rebuilt",), (48, 64), (1, 2), 350, UNBOUNDED, (False, True),
                          ("adam", "adamw")),
    "vae": Family(Variational, ("rebuilt",), (48, 64), (1, 2), 400, UNBOUNDED, (False,), ("adam", "adamw")),
    "experts": Family(Experts, ("digits", "rings", "friedman"), (32, 64), (1,), 300, UNBOUNDED, (False,),
                      ("adam", "adamw", "momentum")),
    "graph": Family(Graph, ("graphs",), (32, 48), (2,), 250, UNBOUNDED, (False, True), ("adam", "adamw", "momentum")),
    "siamese": Family(Siamese, ("pairs",), (48, 64), (1, 2), 350, UNBOUNDED, (False, True), ("adam", "adamw")),
    "unet": Family(Hourglass, ("blobs",), (32, 48), (1,), 120, UNBOUNDED, (True, False), ("adam", "adamw"), 32),
}  # fmt: skip
