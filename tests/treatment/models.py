"""Networks written twice: with the activation that is there, and as somebody would write them with the new one."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import relu as imported_relu

Function = Callable[[Tensor], Tensor]


def leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.1)


class Residual(nn.Module):
    """One ReLU, shared by two blocks and called twice in each."""

    def __init__(self, activation: nn.Module | None = None):
        super().__init__()
        activation = activation or nn.ReLU(inplace=True)
        self.one, self.two = Block(activation), Block(activation)
        self.head = nn.Linear(7, 3)

    def forward(self, x):
        return self.head(self.two(self.one(x)))


class Block(nn.Module):
    def __init__(self, activation):
        super().__init__()
        self.relu = activation
        self.first, self.second = nn.Linear(7, 5), nn.Linear(5, 7)

    def forward(self, x):
        return self.relu(x + self.second(self.relu(self.first(x))))


class Inception(nn.Module):
    """Functional calls in every spelling, none of them a module."""

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList([Conv(3, 5), Conv(3, 7)])
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        x = torch.cat([branch(x) for branch in self.branches], 1)
        return self.head(F.relu(x, inplace=True).mean((2, 3)).relu())


class Conv(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x):
        x = self._activate(self.conv(x))
        y = (torch.relu(x - 0.1) - 0.1).relu_() * 1
        F.relu_(y)

        def inner(z):
            return z.relu()

        return helper(y) + inner(x)

    def _activate(self, x):
        return imported_relu(x)


def helper(x):
    return torch.relu_(x.clone()) - torch.Tensor.relu(x)


class LeakyInception(Inception):
    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleList([LeakyConv(3, 5), LeakyConv(3, 7)])

    def forward(self, x):
        x = torch.cat([branch(x) for branch in self.branches], 1)
        return self.head(leaky(leaky(x).mean((2, 3))))


class LeakyConv(Conv):
    def forward(self, x):
        x = leaky(self.conv(x))
        y = leaky(leaky(leaky(x - 0.1) - 0.1) * 1)
        return leaky(y) - leaky(y) + leaky(x)


class Coder(nn.Module):
    """`encode` is reached by the forward and called on its own, too; the loss is not reached."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 7)

    def encode(self, x):
        return F.relu(self.fc(x))

    def forward(self, x):
        return self.encode(x)

    def loss(self, x):
        return F.relu(1 - x).mean()


class Chooser(nn.Module):
    """Functions on attributes, in a list, in a dictionary and in a tuple; modules outside of the table."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(5, 7)
        self.act = F.relu
        self.several = [torch.relu, torch.tanh]
        self.named = {"relu": torch.nn.ReLU(), "tanh": torch.tanh}
        self.fixed = (torch.tanh, F.relu)

    def forward(self, x):
        x = self.act(self.fc(x)) - 0.2
        for act in (*self.several, *self.named.values(), *self.fixed):
            x = act(x) - 0.2
        return x


class LeakyChooser(Chooser):
    def __init__(self):
        super().__init__()
        self.act = leaky
        self.several = [leaky, torch.tanh]
        self.named = {"relu": nn.LeakyReLU(0.1), "tanh": torch.tanh}
        self.fixed = (torch.tanh, leaky)


def stack(activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 7), activation(), nn.Linear(7, 11), activation(), nn.Linear(11, 3))


def encoder(activation="relu") -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(8, 2, 11, dropout=0.0, activation=activation, batch_first=True)


VECTORS, IMAGES, SEQUENCES = (11, 5), (7, 3, 5, 5), (7, 11, 8)
PAIRS = {
    "sequential": (stack, lambda: stack(lambda: nn.LeakyReLU(0.1)), VECTORS),
    "residual": (Residual, lambda: Residual(nn.LeakyReLU(0.1, inplace=True)), (11, 7)),
    "functional": (Inception, LeakyInception, IMAGES),
    "attributes": (Chooser, LeakyChooser, VECTORS),
    "encoder by name": (encoder, lambda: encoder(leaky), SEQUENCES),
    "encoder with a module": (lambda: encoder(nn.ReLU()), lambda: encoder(nn.LeakyReLU(0.1)), SEQUENCES),
    "encoder with a lambda": (lambda: encoder(lambda x: F.relu(x) * 1), lambda: encoder(leaky), SEQUENCES),
}
"""Name -> (network with ReLU, the same written with Leaky ReLU, shape of its input)."""


def pair(name: str) -> tuple[nn.Module, nn.Module, Tensor]:
    """A network with ReLU, its reference with the same weights, and an input."""
    torch.manual_seed(0)
    make, make_reference, shape = PAIRS[name]
    model, reference = make(), make_reference()
    reference.load_state_dict(model.state_dict())
    return model, reference, torch.randn(shape)
