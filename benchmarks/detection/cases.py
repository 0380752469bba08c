"""Failures that are rebuilt, each with what it takes to prevent it, and controls that must stay silent.

Real data are scikit-learn's 1,797 digits; where a case was published on MNIST or Fashion-MNIST, that is a difference.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes, load_digits
from torch import nn
from training import Training, supervised

_images, _labels = load_digits(return_X_y=True)
IMAGES, LABELS = torch.tensor(_images / 16, dtype=torch.float32), torch.tensor(_labels)


@dataclass(frozen=True)
class Plain:
    """A plain network and its training: everything that a remedy may change."""

    inputs: torch.Tensor
    targets: torch.Tensor
    width: int
    depth: int
    lr: float
    steps: int
    init: str = "default"
    optimizer: str = "adam"
    batch: int = 64
    classes: bool = True
    output_relu: bool = False
    redraw: bool = False

    def start(self, seed: int) -> Training:
        torch.manual_seed(seed)
        model = self.network()
        while self.redraw and _is_constant(model, self.inputs):
            model = self.network()
        return supervised(
            model, self.optimize(model), self.inputs, self.targets, loss=self.loss, batch=self.batch,
            classes=self.classes,
        )  # fmt: skip

    @property
    def loss(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        return F.cross_entropy if self.classes else F.mse_loss

    def optimize(self, model: nn.Module) -> torch.optim.Optimizer:
        return {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[self.optimizer](model.parameters(), self.lr)

    def network(self) -> nn.Sequential:
        outputs = 10 if self.classes else 1
        layers: list[nn.Module] = []
        fan_in = self.inputs.shape[1]
        for _ in range(self.depth):
            layers += [nn.Linear(fan_in, self.width), nn.ReLU()]
            fan_in = self.width
        layers.append(nn.Linear(fan_in, outputs))
        for layer in layers:
            if self.init != "default" and isinstance(layer, nn.Linear):
                draw = nn.init.xavier_uniform_ if self.init == "glorot" else nn.init.kaiming_normal_
                draw(layer.weight) if self.init == "glorot" else draw(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias)
        return nn.Sequential(*layers, *([nn.ReLU()] if self.output_relu else []))


def _is_constant(model: nn.Module, inputs: torch.Tensor) -> bool:
    with torch.no_grad():
        return bool((model(inputs) - model(inputs)[:1]).abs().max() == 0)


@dataclass(frozen=True)
class Failure:
    """A training that fails for some seeds at least.

    Attributes:
        source: Where it was published.
        setting: As it fails.
        remedy: What its source says prevents it.
    """

    name: str
    source: str
    setting: Plain
    remedy: Plain


def without(cause: str, setting: Plain) -> Plain | None:
    """The same training with only this cause removed; None for a cause that names nothing to remove."""
    if cause in ("update", "drift"):
        return replace(setting, lr=setting.lr / 30)
    if cause == "born":
        # Born dead names the depth and the narrowest width; a lone output unit has no layer to widen: other weights.
        return replace(setting, width=max(setting.width, 32)) if setting.depth else replace(setting, redraw=True)
    if cause == "initialisation":
        return replace(setting, init="he")
    if cause == "input":
        return replace(setting, inputs=setting.inputs / setting.inputs.abs().max())
    return None


_LINE = ((torch.arange(3000) / 3000 * 2 - 1) * 3**0.5).unsqueeze(1)
_FOUR = torch.tensor([[1.0], [2.0], [3.0], [4.0]])

_deep = Plain(IMAGES, LABELS, width=128, depth=34, lr=1e-3, steps=200, init="glorot", batch=32)
_relu_out = Plain(_FOUR, 2 * _FOUR - 1, width=1, depth=0, lr=0.01, steps=400, optimizer="sgd", batch=4,
                  classes=False, output_relu=True)  # fmt: skip
_raw = Plain(IMAGES * 255, LABELS, width=100, depth=1, lr=0.1, steps=400, optimizer="sgd", batch=100)
_fast = Plain(IMAGES, LABELS, width=128, depth=3, lr=3e-2, steps=400)
_shrinking = Plain(IMAGES, LABELS, width=32, depth=20, lr=0.05, steps=400, optimizer="sgd")
_narrow = Plain(_LINE, _LINE.abs(), width=2, depth=9, lr=1e-3, steps=300, init="he", batch=128, classes=False)

FAILURES = [
    Failure("34 x 128, Glorot", "AUTOTRAINER's motivating model, on digits", _deep, replace(_deep, init="he")),
    Failure("one ReLU as output", "tfjs issue 918", _relu_out, replace(_relu_out, output_relu=False)),
    Failure("raw inputs 0..255", "published with MNIST", _raw, replace(_raw, inputs=IMAGES)),
    Failure("learning rate 3e-2", "published with Fashion-MNIST", _fast, replace(_fast, lr=1e-3)),
    Failure("learning rate 1e-1", "the same, further", replace(_fast, lr=0.1), replace(_fast, lr=1e-3)),
    Failure("20 layers, torch's initialisation", "signal propagation", _shrinking, replace(_shrinking, init="he")),
    Failure("abs(x), 9 x 2", "Lu et al. 2019", _narrow, replace(_narrow, width=32)),
]


# Controls -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Control:
    """A training in which nothing is wrong; `floor` is the score that it must reach to be a control at all."""

    name: str
    start: Callable[[int], Training]
    steps: int
    floor: float = 0.9


def _of_digits(make: Callable[[], nn.Module], *, lr=1e-3, loss=F.cross_entropy, samples=None, batch=64, call=None,
               scaler=None) -> Callable[[int], Training]:  # fmt: skip
    def start(seed: int) -> Training:
        torch.manual_seed(seed)
        model = make()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr)
        return supervised(model, optimizer, IMAGES[:samples], LABELS[:samples], loss=loss, batch=batch, call=call,
                          scaler=scaler() if scaler else None)  # fmt: skip

    return start


def _mlp(width: int = 128, *, dropout: float = 0.0) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in in (64, width, width):
        layers += [nn.Linear(fan_in, width), nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers, nn.Linear(width, 10))


class _Block(nn.Module):
    def __init__(self, channels: int, *, zero: bool) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(channels, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, padding=1)
        self.a, self.b, self.inner, self.outer = (
            nn.BatchNorm2d(channels),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.ReLU(),
        )
        if zero:
            nn.init.zeros_(self.b.weight)

    def forward(self, x):
        return self.outer(x + self.b(self.two(self.inner(self.a(self.one(x))))))


def _resnet(*, zero: bool = False) -> nn.Module:
    blocks = [_Block(12, zero=zero) for _ in range(3)]
    stem = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(48, 10))


class _Sparse(nn.Module):
    """95 % of the activations are 0, and every unit fires now and then: a normalised input, shifted by −1.65."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.act = nn.Linear(64, 256), nn.BatchNorm1d(256), nn.ReLU()
        self.head = nn.Linear(256, 10)
        nn.init.constant_(self.norm.bias, -1.65)
        self.norm.bias.requires_grad_(False)

    def forward(self, x):
        return self.head(self.act(self.norm(self.one(x))))


class _TopK(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.act, self.head = nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10)

    def forward(self, x):
        h = self.act(self.one(x))
        kept = h.topk(16, dim=1)
        return self.head(torch.zeros_like(h).scatter(1, kept.indices, kept.values))


class _Tokens(nn.Module):
    """Rows of the image are tokens; a random quarter of them is masked as padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.place = nn.Parameter(0.1 * torch.randn(8, 32))
        self.attend = nn.MultiheadAttention(32, 4, batch_first=True)
        self.one, self.act, self.two = nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 32)
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 10)

    def forward(self, x):
        tokens = self.embed(x.unflatten(1, (8, 8))) + self.place
        mask = torch.zeros(len(x), 8, dtype=torch.bool)
        if self.training:
            mask = torch.rand(len(x), 8) < 0.25
            mask[:, 3] = False
        h = tokens + self.attend(tokens, tokens, tokens, key_padding_mask=mask)[0]
        h = h + self.two(self.act(self.one(self.norm(h))))
        return self.head((h * ~mask.unsqueeze(2)).sum(1) / 8)


def _frozen() -> nn.Module:
    torch_state = torch.get_rng_state()
    model = _mlp()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for chosen in torch.randperm(len(IMAGES)).split(64) * 3:
        optimizer.zero_grad()
        F.cross_entropy(model(IMAGES[chosen]), LABELS[chosen]).backward()
        optimizer.step()
    torch.set_rng_state(torch_state)
    model[:4].requires_grad_(False)
    model[-1].reset_parameters()
    return model


def _converged(seed: int) -> Training:
    training = _of_digits(_mlp)(seed)
    for _ in range(500):
        training.step()
    return training


def _l1(seed: int) -> Training:
    torch.manual_seed(seed)
    inputs, targets = (torch.tensor(part, dtype=torch.float32) for part in load_diabetes(return_X_y=True))
    inputs, targets = inputs / inputs.std(0), ((targets - targets.mean()) / targets.std()).unsqueeze(1)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    return supervised(model, torch.optim.Adam(model.parameters(), 1e-3), inputs, targets, loss=F.l1_loss, batch=32,
                      classes=False)  # fmt: skip


def _gan(seed: int) -> Training:
    """A hinge-loss GAN on a ring; F.relu(1 − D(x)) in the loss is no activation of the network."""
    torch.manual_seed(seed)
    maker = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    judge = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    one, two = (
        torch.optim.Adam(maker.parameters(), 2e-4, (0.5, 0.9)),
        torch.optim.Adam(judge.parameters(), 4e-4, (0.5, 0.9)),
    )

    def real(n: int) -> torch.Tensor:
        angle = torch.rand(n) * 2 * torch.pi
        return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)

    def step():
        two.zero_grad()
        loss = F.relu(1 - judge(real(64))).mean() + F.relu(1 + judge(maker(torch.randn(64, 4)).detach())).mean()
        loss.backward()
        two.step()
        one.zero_grad()
        (-judge(maker(torch.randn(64, 4))).mean()).backward()
        one.step()
        return loss.item(), None

    def score():
        with torch.no_grad():
            made = maker(torch.randn(500, 4))
        return float(1 - (made.norm(dim=1) - 1).abs().mean()), float(made.std(0).mean())

    return Training([maker, judge], step, score)


CONTROLS = [
    Control("default 3 x 128 on digits", _of_digits(_mlp), 300),
    Control("a converged run that goes on", _converged, 200),
    Control("ResNet with BatchNorm", _of_digits(_resnet), 150),
    Control("zero-initialised residual branches", _of_digits(lambda: _resnet(zero=True)), 150),
    Control("95 % sparse, every unit fires", _of_digits(_Sparse), 300),
    Control("dropout 0.5", _of_digits(lambda: _mlp(dropout=0.5)), 300),
    Control("frozen backbone", _of_digits(_frozen), 300),
    Control("masked tokens", _of_digits(_Tokens, lr=2e-3), 400, floor=0.8),
    Control("top-k layer", _of_digits(_TopK), 300),
    Control("hinge-loss GAN", _gan, 400, floor=0.3),
    Control("L1 regression", _l1, 300, floor=0.3),
    Control(
        "GradScaler from 2^24", _of_digits(_mlp, scaler=lambda: torch.amp.GradScaler("cpu", init_scale=2.0**24)), 600
    ),
    Control("ten passes over 300 samples", _of_digits(_mlp, samples=300, batch=32), 100, floor=0.85),
]
