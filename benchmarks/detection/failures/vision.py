"""Images: convolutions, segmentation, embeddings of pairs and views."""

import torch
import torch.nn.functional as F
from data import digits
from torch import Tensor, nn
from training import Training, batches, classified, correct, fitted, minimised, mlp

from failures.rebuilt import Collection

VISION = Collection()
IMAGES, LABELS = digits()
SQUARES = IMAGES.unflatten(1, (1, 8, 8))


def _convolutions(depth: int, *, norm: bool, channels: int = 12) -> nn.Sequential:
    layers: list[nn.Module] = []
    fan_in = 1
    for _ in range(depth):
        layers += [nn.Conv2d(fan_in, channels, 3, padding=1), *([nn.BatchNorm2d(channels)] if norm else []), nn.ReLU()]
        fan_in = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 10))


@VISION("twelve convolutions without normalisation", "Ioffe & Szegedy 2015", "depth", "initial_weights",
        "normalisation", steps=90)  # fmt: skip
def _deep(mended: bool) -> Training:
    model = _convolutions(12, norm=mended)
    return classified(model, SQUARES, LABELS, optimizer=torch.optim.SGD(model.parameters(), 0.05, momentum=0.9))


@VISION("instance normalisation of one pixel", "a mean over one element is the element", "normalisation", steps=200)
def _one_pixel(mended: bool) -> Training:
    norm = nn.GroupNorm(4, 32) if mended else nn.GroupNorm(32, 32)
    model = nn.Sequential(nn.Conv2d(1, 32, 8), norm, nn.ReLU(), nn.Flatten(), nn.Linear(32, 10))
    return classified(model, SQUARES, LABELS, lr=1e-2)


@VISION("batch normalisation over two samples", "Wu & He 2018; running statistics of pairs", "batch_of_one",
        "normalisation", "learning_rate", steps=300)  # fmt: skip
def _pairs_of_samples(mended: bool) -> Training:
    norm = nn.LayerNorm if mended else nn.BatchNorm1d
    model = nn.Sequential(*(part for fan_in in (64, 64, 64, 64) for part in (nn.Linear(fan_in, 64), norm(64),
                                                                            nn.ReLU())), nn.Linear(64, 10))  # fmt: skip
    return classified(model, IMAGES, LABELS, lr=3e-3, batch=2)


def _blobs(empty: int) -> tuple[Tensor, Tensor]:
    place = torch.arange(16.0)
    centre, radius = torch.rand(500, 2, 1, 1) * 10 + 3, torch.rand(500, 1, 1) * 2 + 2
    inside = (place.view(16, 1) - centre[:, 0]).square() + (place - centre[:, 1]).square() < radius.square()
    inside[:empty] = False
    images = inside.float() + 0.6 * torch.randn(500, 16, 16)
    return images.unsqueeze(1), inside.float().unsqueeze(1)


class Hourglass(nn.Module):
    """A U-Net of two levels."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU())
        self.middle = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.join = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x)
        return self.head(self.join(torch.cat([fine, self.up(self.middle(fine))], 1)))


def segmented(model: nn.Module, images: Tensor, masks: Tensor, loss: object, *, lr: float = 5e-3,
              batch: int = 25) -> Training:  # fmt: skip
    """Masks by a loss of output and mask; scored by intersection over union."""
    order = batches(len(images), batch)

    def value() -> Tensor:
        chosen = next(order)
        return loss(model(images[chosen]), masks[chosen])

    def score() -> float:
        output = model(images)
        if not output.isfinite().all():
            return float("nan")
        return float(((output > 0) & (masks > 0)).sum() / ((output > 0) | (masks > 0)).sum())

    return minimised([model], value, torch.optim.Adam(model.parameters(), lr), score)


@VISION("Dice loss on images without the object", "Milletari et al. 2016: 0/0 where nothing is to be found",
        "numerical_operation", "loss_not_finite", steps=120, floor=0.4)  # fmt: skip
def _dice(mended: bool) -> Training:
    def loss(output: Tensor, mask: Tensor) -> Tensor:
        share = (output > 0).float() * output.sigmoid() if not mended else output.sigmoid()
        both, all_of_it = (share * mask).flatten(1).sum(1), (share + mask).flatten(1).sum(1)
        smooth = 1.0 if mended else 0.0
        return 1 - ((2 * both + smooth) / (all_of_it + smooth)).mean()

    return segmented(Hourglass(), *_blobs(100), loss)


@VISION("U-Net that ends in ReLU before its sigmoid", "half of the logits cannot be reached", "output_activation",
        steps=120, floor=0.4)  # fmt: skip
def _relu_logits(mended: bool) -> Training:
    model = Hourglass()
    if not mended:
        model.head = nn.Sequential(model.head, nn.ReLU())
    return segmented(model, *_blobs(0), F.binary_cross_entropy_with_logits)


@VISION("U-Net with a sigmoid before a loss with one", "two sigmoids in a row", "output_activation", steps=120,
        floor=0.4)  # fmt: skip
def _two_sigmoids(mended: bool) -> Training:
    def loss(output: Tensor, mask: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output if mended else output.sigmoid(), mask)

    return segmented(Hourglass(), *_blobs(0), loss)


def _views(x: Tensor) -> Tensor:
    return (x + 0.2 * torch.randn_like(x)) * (torch.rand(len(x), 1) * 0.4 + 0.8)


def _spread(model: nn.Module) -> float:
    """Of normalised embeddings: 1 where they fill the sphere, 0 where they are one point (Chen & He 2021)."""
    z = F.normalize(model(IMAGES), dim=1)
    return float(z.std(0).mean() * z.shape[1] ** 0.5) if z.isfinite().all() else float("nan")


@VISION("views pulled together without a stopped gradient", "Chen & He 2021", "objective", steps=250, floor=0.5)
def _collapsing(mended: bool) -> Training:
    encoder, predictor = nn.Sequential(mlp(64, 64, 32), nn.BatchNorm1d(32, affine=False)), mlp(32, 16, 32)
    if not mended:
        encoder = mlp(64, 64, 32)
    order = batches(len(IMAGES), 128)

    def loss() -> Tensor:
        x = IMAGES[next(order)]
        one, other = encoder(_views(x)), encoder(_views(x))
        if mended:
            return -F.cosine_similarity(predictor(one), other.detach()).mean()
        return (one - other).square().sum(1).mean() + one.square().sum(1).mean() * 1e-3

    def score() -> float:
        z = encoder(IMAGES)
        return _spread(encoder) if float(z.std(0).mean()) > 1e-3 else 0.0

    return minimised([encoder], loss, torch.optim.Adam([*encoder.parameters(), *predictor.parameters()], 2e-3), score)


def _neighbours(model: nn.Module) -> float:
    """Accuracy of the nearest class mean among the embeddings."""
    z = model(IMAGES)
    means = torch.stack([z[label == LABELS].mean(0) for label in range(10)])
    if not z.isfinite().all():
        return float("nan")
    return correct(-torch.cdist(z, means), LABELS)


@VISION("InfoNCE at a temperature of 1e-6", "Chen et al. 2020 use 0.1 to 0.5", "numerical_operation", "loss_shape",
        "downstream_saturation", "loss_scale", "learning_rate", steps=200)  # fmt: skip
def _cold(mended: bool) -> Training:
    model, order = mlp(64, 64, 16), batches(len(IMAGES), 64)

    def loss() -> Tensor:
        chosen = next(order)
        z = F.normalize(model(IMAGES[chosen]), dim=1)
        alike = (z @ z.T / (0.2 if mended else 1e-6)).fill_diagonal_(-1e9).exp()
        same = LABELS[chosen].unsqueeze(0) == LABELS[chosen].unsqueeze(1)
        same.fill_diagonal_(False)
        return -((alike * same).sum(1) / alike.sum(1) + (1e-6 if mended else 0)).log().mean()

    return minimised([model], loss, torch.optim.Adam(model.parameters(), 2e-3), lambda: _neighbours(model))


@VISION("triplet loss by distances without a margin", "Schroff et al. 2015: all in one point costs nothing",
        "objective", "loss_term", steps=200)  # fmt: skip
def _triplets(mended: bool) -> Training:
    model, order = nn.Sequential(mlp(64, 64, 16)), batches(len(IMAGES), 64)

    def loss() -> Tensor:
        chosen = next(order)
        z = model(IMAGES[chosen])
        apart = (z.unsqueeze(1) - z.unsqueeze(0)).square().sum(2)
        same = (LABELS[chosen].unsqueeze(0) == LABELS[chosen].unsqueeze(1)).float()
        near, far = (apart * same).sum() / same.sum(), (apart * (1 - same)).sum() / (1 - same).sum()
        if mended:
            return F.relu(near - far + 1.0)
        return near + 1e-3 * far

    def score() -> float:
        return _neighbours(model) if float(model(IMAGES).std(0).mean()) > 1e-3 else 0.0

    return minimised([model], loss, torch.optim.Adam(model.parameters(), 5e-3), score)


@VISION("rotation learned as an angle of a full turn", "targets in degrees, and SGD", "target_scale", "learning_rate",
        steps=300, floor=0.3)  # fmt: skip
def _degrees(mended: bool) -> Training:
    angle = torch.rand(len(IMAGES), 1) * 2 - 1
    turn = torch.stack([torch.cat([angle.cos(), -angle.sin(), 0 * angle], 1),
                        torch.cat([angle.sin(), angle.cos(), 0 * angle], 1)], 1)  # fmt: skip
    turned = F.grid_sample(SQUARES, F.affine_grid(turn, list(SQUARES.shape), align_corners=False),
                           align_corners=False).flatten(1)  # fmt: skip
    model = mlp(64, 64, 64, 1)
    return fitted(model, turned, angle if mended else angle * 57.3,
                  optimizer=torch.optim.SGD(model.parameters(), 0.05, momentum=0.9))  # fmt: skip
