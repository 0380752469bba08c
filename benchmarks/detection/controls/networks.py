"""Networks and losses that look odd and are well: what is masked, never used or not trained is so on purpose."""

import torch
import torch.nn.functional as F
from data import digits
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from training import Training, batches, classified, correct, explained, fitted, minimised, mlp

from controls.control import Control, registering
from controls.loops import stepped

IMAGES, LABELS = digits()

NETWORKS: list[Control] = []
register = registering(NETWORKS)


class _Skipping(nn.Module):
    """Stochastic depth: in training half of the blocks are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(64, 64), nn.Linear(64, 10)
        self.blocks = nn.ModuleList(mlp(64, 64, 64) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            if not self.training or torch.rand(()) < 0.5:
                x = x + block(x) * (1.0 if self.training else 0.5)
        return self.head(x)


@register("blocks left out at random", steps=400)
def _stochastic() -> Training:
    model = _Skipping()
    return stepped(model, torch.optim.Adam(model.parameters(), 2e-3))


@register("activations computed again in the backward pass")
def _checkpointed() -> Training:
    class Saving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Sequential(*mlp(64, 64, 64), nn.ReLU()), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(checkpoint(self.one, x, use_reentrant=False))

    model = Saving()
    return stepped(model, torch.optim.Adam(model.parameters(), 3e-3))


@register("a head that this task does not use")
def _two_heads() -> Training:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.used, self.unused = mlp(64, 128, 128), nn.Linear(128, 10), nn.Linear(128, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(F.relu(self.body(x)))

    model = Both()
    return stepped(model, torch.optim.Adam(model.parameters(), 2e-3))


@register("one weight for embedding and head", steps=400, floor=0.6)
def _tied() -> Training:
    embed, read = nn.Embedding(30, 24), mlp(24, 48, 24)
    model = nn.ModuleList([embed, read])
    successor = torch.randperm(30)
    text = torch.randint(20, (3000,))
    order = batches(3000, 64)

    def logits(letters: Tensor) -> Tensor:
        return read(embed(letters)) @ embed.weight.T

    def loss() -> Tensor:
        chosen = text[next(order)]
        return F.cross_entropy(logits(chosen), successor[chosen])

    return minimised([model], loss, torch.optim.Adam(model.parameters(), 5e-3),
                     lambda: correct(logits(text), successor[text]))  # fmt: skip


@register("rows of an embedding that never come up", steps=400, floor=0.8)
def _rare() -> Training:
    words = torch.randint(50, (2000, 6))
    labels = (words < 25).sum(1).ge(3).long()
    # Most of the alphabet is not in these texts.
    model = nn.Sequential(nn.Embedding(2000, 16), nn.Flatten(), *mlp(96, 64, 2))
    return classified(model, words, labels, lr=3e-3)


@register("a body that was pretrained and is frozen, with its head", steps=250)
def _on_frozen() -> Training:
    body, first = nn.Sequential(*mlp(64, 64, 64), nn.ReLU()), nn.Linear(64, 10)
    whole = nn.Sequential(body, first)
    learned = stepped(whole, torch.optim.Adam(whole.parameters(), 3e-3))
    for _ in range(150):
        learned.step()
    body.requires_grad_(False)
    model = nn.Sequential(body, nn.Linear(64, 10))
    return stepped(model, torch.optim.Adam(model[1].parameters(), 1e-2))


@register("a weak penalty on activity", floor=0.85)
def _sparse() -> Training:
    model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    kept: list[Tensor] = []
    model[1].register_forward_hook(lambda module, args, output: kept.append(output))

    def penalty() -> Tensor:
        value = 1e-3 * kept[-1].sum(1).mean()
        kept.clear()
        return value

    return stepped(model, torch.optim.Adam(model.parameters(), 3e-3), penalty=penalty)


@register("an output ReLU for counts", floor=0.6, steps=400)
def _counts() -> Training:
    x = torch.randn(1500, 6)
    y = F.relu(2 * x[:, :1] + x[:, 1:2] * x[:, 2:3])
    model = nn.Sequential(mlp(6, 64, 64, 1), nn.ReLU())
    with torch.no_grad():
        model[0][-1].bias.fill_(1.0)
    return fitted(model, x, y, lr=3e-3)


@register("a sigmoid output that has become certain", steps=500)
def _certain() -> Training:
    x = torch.randn(1500, 6)
    y = (x[:, :1] > 0.1).float()
    model = nn.Sequential(mlp(6, 64, 1), nn.Sigmoid())
    return fitted(model, x, y, lr=1e-2, loss=F.binary_cross_entropy)


@register("one class in fifty is the other one", steps=400, floor=0.9)
def _rare_class() -> Training:
    x = torch.randn(2500, 6)
    labels = (x[:, 0] + x[:, 1] > 2.9).long()
    model = mlp(6, 64, 64, 2)
    return classified(model, x, labels, lr=3e-3)


@register("a plateau before it learns", steps=900, floor=0.85)
def _plateau() -> Training:
    """The parity of three signs: nothing to be seen for a while."""
    x = torch.randn(2000, 8)
    labels = ((x[:, 0] * x[:, 1] * x[:, 2]) > 0).long()
    model = mlp(8, 128, 128, 2)
    return classified(model, x, labels, lr=2e-3)


@register("missing values masked out of the loss", floor=0.6, steps=400)
def _masked() -> Training:
    x = torch.randn(1500, 6)
    y = torch.cat([x[:, :1] * x[:, 1:2], x[:, 2:4]], 1)
    lost = torch.rand(1500, 3) < 0.3
    given = y.masked_fill(lost, float("nan"))
    model, order = mlp(6, 64, 64, 3), batches(1500, 64)

    def loss() -> Tensor:
        chosen = next(order)
        known = given[chosen].isfinite()
        return ((model(x[chosen]) - given[chosen].nan_to_num())[known]).square().mean()

    return minimised([model], loss, torch.optim.Adam(model.parameters(), 3e-3), lambda: explained(model(x), y))


@register("SELU without normalisation, 12 layers", steps=300)
def _selu() -> Training:
    model = mlp(64, *(64,) * 12, 10, act=nn.SELU)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)
    return stepped(model, torch.optim.SGD(model.parameters(), 0.02, momentum=0.9))
