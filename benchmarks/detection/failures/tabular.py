"""Tables: the data and the loss around a plain network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training import Training, batches, classified, explained, fitted, minimised, mlp

from failures.rebuilt import Collection

TABULAR = Collection()


def _table() -> tuple[Tensor, Tensor]:
    """Eight standardised features, and a value that depends on them in a curved way."""
    x = torch.randn(1800, 8)
    y = x[:, :1] * x[:, 1:2] + (2 * x[:, 2:3]).sin() + x[:, 3:4] + 0.1 * torch.randn(1800, 1)
    return x, (y - y.mean()) / y.std()


@TABULAR("a year and a salary beside shares", "columns around 2000 and around 50,000", "input_scale", steps=300)
def _columns(mended: bool) -> Training:
    x, y = _table()
    raw = x.clone()
    raw[:, 6], raw[:, 7] = 2000 + 5 * x[:, 6], 50_000 + 20_000 * x[:, 7]
    return fitted(mlp(8, 64, 64, 1), x if mended else raw, y, lr=3e-3)


@TABULAR("a column that is missing now and then", "NaN in one of a hundred rows", "input_not_finite", steps=250)
def _missing(mended: bool) -> Training:
    x, y = _table()
    x[torch.rand(1800) < 0.01, 5] = float("nan")
    return fitted(mlp(8, 64, 64, 1), x.nan_to_num(0.0) if mended else x, y, lr=3e-3)


@TABULAR("prices with SGD", "targets in the hundreds of thousands", "target_scale", "learning_rate", steps=300)
def _prices(mended: bool) -> Training:
    x, y = _table()
    model = mlp(8, 64, 64, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    return fitted(model, x, y if mended else 3e5 + 1e5 * y, optimizer=optimizer)


@TABULAR("prices with Adam", "targets in the hundreds of thousands: Adam's steps never get there", "target_scale",
         "learning_rate_low", steps=300)  # fmt: skip
def _far_prices(mended: bool) -> Training:
    x, y = _table()
    return fitted(mlp(8, 64, 64, 1), x, y if mended else 3e5 + 1e5 * y, lr=3e-3)


@TABULAR("logarithm of counts", "log of a count that is 0", "numerical_operation", "input_not_finite", steps=250)
def _counts(mended: bool) -> Training:
    x, y = _table()
    counts = (3 * x[:, :4].exp()).floor()

    class Logarithm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = mlp(8, 64, 64, 1)

        def forward(self, both: Tensor) -> Tensor:
            first = both[:, :4].log1p() if mended else both[:, :4].log()
            return self.inner(torch.cat([first, both[:, 4:]], 1))

    y = x[:, :1] + 0.5 * (x[:, 1:2] * 2).sin()
    return fitted(Logarithm(), torch.cat([counts, x[:, 4:]], 1), y, lr=3e-3)


@TABULAR("targets of another shape", "(n, 1) minus (n) is n × n", "loss_shape", steps=300)
def _broadcast(mended: bool) -> Training:
    x, y = _table()

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        return (output - (targets if mended else targets.squeeze(1))).square().mean()

    return fitted(mlp(8, 64, 64, 1), x, y, lr=3e-3, loss=loss)


@TABULAR("a survival curve that ends in a clamp", "what is outside of the bounds has no slope",
         "downstream_saturation", "output_activation", steps=300)  # fmt: skip
def _clamped(mended: bool) -> Training:
    x, y = _table()
    model = mlp(8, 64, 64, 1)
    if not mended:
        with torch.no_grad():
            model[-1].bias.fill_(4.0)
    chances = y.sigmoid()
    order = batches(1800, 64)

    def read(part: Tensor) -> Tensor:
        return model(part).sigmoid() if mended else model(part).clamp(0, 1)

    def loss() -> Tensor:
        chosen = next(order)
        return F.mse_loss(read(x[chosen]), chances[chosen])

    return minimised([model], loss, torch.optim.Adam(model.parameters(), 3e-3), lambda: explained(read(x), chances))


@TABULAR("L2 in the loss and not in its mean", "a penalty a hundred thousand times too strong", "loss_term",
         "weight_decay", steps=300)  # fmt: skip
def _penalty(mended: bool) -> Training:
    x, y = _table()
    model = mlp(8, 64, 64, 1)

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        size = sum(parameter.square().sum() for parameter in model.parameters())
        return F.mse_loss(output, targets) + (1e-6 if mended else 0.3) * size

    return fitted(model, x, y, lr=3e-3, loss=loss)


@TABULAR("weight decay of a wrong unit", "AdamW with a decay of 300", "weight_decay", steps=300)
def _decay(mended: bool) -> Training:
    x, y = _table()
    model = mlp(8, 64, 64, 1)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01 if mended else 300.0)
    return fitted(model, x, y, optimizer=optimizer)


@TABULAR("every layer begins with zeros", "no unit differs from its neighbour, and nothing comes through",
         "initial_weights", steps=300)  # fmt: skip
def _zeros(mended: bool) -> Training:
    x, y = _table()
    model = mlp(8, 64, 64, 1, act=nn.Tanh)
    if not mended:
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
    return fitted(model, x, y, lr=3e-3)


@TABULAR("Adam with an eps of 100", "steps a ten-thousandth as long", "optimizer_state", "learning_rate_low",
         steps=300)  # fmt: skip
def _eps(mended: bool) -> Training:
    x, y = _table()
    model = mlp(8, 64, 64, 1)
    return fitted(model, x, y, optimizer=torch.optim.Adam(model.parameters(), 3e-3, eps=1e-8 if mended else 100.0))


@TABULAR("momentum of .9999", "the steps of a thousand batches add up", "optimizer_state", "learning_rate", steps=300)
def _momentum(mended: bool) -> Training:
    x, y = _table()
    model = mlp(8, 64, 64, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9 if mended else 0.9999)
    return fitted(model, x, y, optimizer=optimizer)


@TABULAR("a mean over what is known, of nothing", "labels that are mostly missing: 0/0 where a batch has none",
         "loss_not_finite", "numerical_operation", steps=250)  # fmt: skip
def _unknown(mended: bool) -> Training:
    x, _ = _table()
    labels = x[:, :3].argmax(1)

    def loss(output: Tensor, targets: Tensor) -> Tensor:
        known = (torch.rand(len(targets)) < (0.5 if mended else 0.03)).float()
        return (F.cross_entropy(output, targets, reduction="none") * known).sum() / known.sum()

    return classified(mlp(8, 64, 3), x, labels, lr=5e-3, loss=loss)
