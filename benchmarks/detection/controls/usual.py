"""Trainings in which nothing is wrong, and which must stay silent."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from data import diabetes, digits, fashion
from torch import nn
from training import Training, supervised

from controls.control import Control

IMAGES, LABELS = digits()


def _of_digits(make: Callable[[], nn.Module], *, lr=1e-3, loss=F.cross_entropy, samples=None, batch=64, call=None,
               scaler=None, clip=None, data=(IMAGES, LABELS)) -> Callable[[int], Training]:  # fmt: skip
    def start(seed: int) -> Training:
        torch.manual_seed(seed)
        model = make()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr)
        return supervised(model, optimizer, data[0][:samples], data[1][:samples], loss=loss, batch=batch, call=call,
                          scaler=scaler() if scaler else None, clip=clip)  # fmt: skip

    return start


def _mlp(width: int = 128, *, dropout: float = 0.0, inputs: int = 64) -> nn.Sequential:
    layers: list[nn.Module] = []
    for fan_in in (inputs, width, width):
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


class _Gated(nn.Module):
    """Squeeze and excite: a sigmoid, called last, scales each channel and may stay open for every sample."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.act, self.head = nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)
        self.squeeze, self.middle, self.excite, self.gate = nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 64), nn.Sigmoid()
        nn.init.constant_(self.excite.bias, 8.0)

    def forward(self, x):
        h = self.act(self.one(x))
        return self.head(h * self.gate(self.excite(self.middle(self.squeeze(h)))))


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
    inputs, targets = diabetes()
    targets = targets - targets.mean()
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


USUAL = [
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
    Control("clipped at a tenth of the norm", _of_digits(_mlp, clip=0.1), 300),
    Control("gates that stay open", _of_digits(_Gated), 400),
]
if (data := fashion()) is not None:
    USUAL.append(Control("3 x 128 on Fashion-MNIST", _of_digits(lambda: _mlp(inputs=784), data=data), 400, floor=0.8))
