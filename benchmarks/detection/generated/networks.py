"""Networks of many kinds, each with the data that it learns and the sizes among which one is drawn."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generated.job import Design
from generated.tasks import Task

MODULES: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU,
    "elu": nn.ELU, "silu": nn.SiLU, "none": nn.Identity,
}  # fmt: skip
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "leaky_relu": F.leaky_relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "gelu": F.gelu,
    "elu": F.elu, "silu": F.silu, "none": lambda x: x,
}  # fmt: skip


def activation(design: Design) -> Callable[[Tensor], Tensor]:
    """A module or a function, as the design calls its activations."""
    return FUNCTIONS[design.activation] if design.style == "functions" else MODULES[design.activation]()


class Stack(nn.Module):
    """Linear layers, each followed by a normalisation (if any) and an activation, and a head."""

    def __init__(self, design: Design, fan_in: int, fan_out: int) -> None:
        super().__init__()
        widths = [design.width] * design.depth
        if design.bottleneck:
            widths[design.depth // 2] = design.bottleneck
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for width in widths:
            self.layers.append(nn.Linear(fan_in, width))
            self.norms.append(nn.BatchNorm1d(width) if design.norm else nn.Identity())
            fan_in = width
        acts = [activation(design) for _ in widths]
        self.acts = nn.ModuleList(acts) if design.style == "modules" else acts
        self.head = nn.Linear(fan_in, fan_out)

    def forward(self, x: Tensor) -> Tensor:
        for layer, norm, act in zip(self.layers, self.norms, self.acts, strict=True):
            x = act(norm(layer(x)))
        return self.head(x)


def mlp(design: Design, task: Task) -> nn.Module:
    if design.style == "functions":
        return Stack(design, task.inputs.shape[1], task.outputs)
    layers: list[nn.Module] = []
    fan_in = task.inputs.shape[1]
    for at in range(design.depth):
        narrow = design.bottleneck and at == design.depth // 2
        width = design.bottleneck if narrow else design.width
        layers += [nn.Linear(fan_in, width), *([nn.BatchNorm1d(width)] if design.norm else []),
                   MODULES[design.activation]()]  # fmt: skip
        fan_in = width
    return nn.Sequential(*layers, nn.Linear(fan_in, task.outputs))


class Images(nn.Module):
    """Convolutions; the images come as rows."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.side = int(task.inputs.shape[1] ** 0.5)
        channels, fan_in = design.width // 4, 1
        self.layers, self.norms = nn.ModuleList(), nn.ModuleList()
        for _ in range(design.depth):
            self.layers.append(nn.Conv2d(fan_in, channels, 3, padding=1))
            self.norms.append(nn.BatchNorm2d(channels) if design.norm else nn.Identity())
            fan_in = channels
        acts = [activation(design) for _ in self.layers]
        self.acts = nn.ModuleList(acts) if design.style == "modules" else acts
        self.head = nn.Linear(channels * 16, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (1, self.side, self.side))
        for at, (layer, norm, act) in enumerate(zip(self.layers, self.norms, self.acts, strict=True)):
            x = act(norm(layer(x)))
            if at == 0:
                x = F.adaptive_max_pool2d(x, 8)
        return self.head(F.adaptive_avg_pool2d(x, 4).flatten(1))


class Residual(nn.Module):
    """Layers whose output is added to their input; of two layers each, the first normalised by choice."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        width = design.width
        self.stem = nn.Linear(task.inputs.shape[1], width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) if design.norm else nn.Identity() for _ in range(design.depth))
        self.one = nn.ModuleList(nn.Linear(width, width) for _ in range(design.depth))
        acts = [activation(design) for _ in range(design.depth)]
        self.acts = nn.ModuleList(acts) if design.style == "modules" else acts
        self.two = nn.ModuleList(nn.Linear(width, width) for _ in range(design.depth))
        self.head = nn.Linear(width, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, one, act, two in zip(self.norms, self.one, self.acts, self.two, strict=True):
            x = x + two(act(one(norm(x))))
        return self.head(x)


class Attention(nn.Module):
    """One encoder block, normalised before each part."""

    def __init__(self, design: Design, causal: bool) -> None:
        super().__init__()
        width = design.width
        self.causal = causal
        self.norm = nn.LayerNorm(width) if design.norm else nn.Identity()
        self.queries, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width) if design.norm else nn.Identity()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.act = activation(design)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.queries(self.norm(x)).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*parts, is_causal=self.causal)
        x = x + self.mix(attended.transpose(1, 2).flatten(2))
        return x + self.down(self.act(self.up(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.text = task.kind == "tokens"
        width = design.width
        self.embed = nn.Embedding(task.outputs, width) if self.text else nn.Linear(task.inputs.shape[2], width)
        self.place = nn.Parameter(0.1 * torch.randn(task.inputs.shape[1], width))
        self.blocks = nn.ModuleList(Attention(design, self.text) for _ in range(design.depth))
        self.head = nn.Linear(width, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(x if self.text else x.mean(1))


class Encoder(nn.Module):
    """Torch's own encoder layers."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.text = task.kind == "tokens"
        width = design.width
        self.embed = nn.Embedding(task.outputs, width) if self.text else nn.Linear(task.inputs.shape[2], width)
        self.place = nn.Parameter(0.1 * torch.randn(task.inputs.shape[1], width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, 0.1, "gelu" if design.activation == "gelu" else "relu",
                                           batch_first=True)  # fmt: skip
        self.encoder = nn.TransformerEncoder(layer, design.depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.place
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1]) if self.text else None
        x = self.encoder(x, mask=mask, is_causal=self.text)
        return self.head(x if self.text else x.mean(1))


class Recurrent(nn.Module):
    """Torch's RNN, LSTM or GRU, and a head that reads the last state or each."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.text = task.kind == "tokens"
        width = design.width
        self.embed = nn.Embedding(task.outputs, width) if self.text else nn.Linear(task.inputs.shape[2], width)
        kind = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}[design.architecture]
        self.cells = kind(width, width, design.depth, batch_first=True)
        self.middle, self.act = nn.Linear(width, width), activation(design)
        self.head = nn.Linear(width, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.cells(self.embed(x))
        return self.head(self.act(self.middle(states if self.text else states[:, -1])))


class Unrolled(nn.Module):
    """A recurrent layer written out in Python: the activation is called once for each time step."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.enter = nn.Linear(task.inputs.shape[2], design.width)
        self.again = nn.Linear(design.width, design.width, bias=False)
        self.act = activation(design)
        self.head = nn.Linear(design.width, task.outputs)
        nn.init.orthogonal_(self.again.weight)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), self.again.in_features, dtype=x.dtype)
        for time in range(x.shape[1]):
            state = self.act(self.enter(x[:, time]) + self.again(state))
        return self.head(state)


class Autoencoder(nn.Module):
    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.encoder = Stack(design, task.inputs.shape[1], 16)
        self.decoder = Stack(design, 16, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


class Variational(nn.Module):
    """`divergence` is the KL term of the latest forward, a mean over samples and pixels."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.encoder = Stack(design, task.inputs.shape[1], 32)
        self.decoder = Stack(design, 16, task.outputs)
        self.divergence = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        mean, logvar = self.encoder(x).chunk(2, 1)
        self.divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).sum(1).mean() / x.shape[1]
        code = mean + (0.5 * logvar).exp() * torch.randn_like(mean) if self.training else mean
        return self.decoder(code)


class Experts(nn.Module):
    """A gate chooses two of several small networks for each sample."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.stem, self.act = nn.Linear(task.inputs.shape[1], design.width), activation(design)
        self.gate = nn.Linear(design.width, 4)
        self.experts = nn.ModuleList(
            nn.Sequential(
                nn.Linear(design.width, design.width), MODULES[design.activation](), nn.Linear(design.width, 32)
            )
            for _ in range(4)
        )
        self.head = nn.Linear(32, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.stem(x))
        share, chosen = self.gate(h).softmax(1).topk(2, dim=1)
        share = share / share.sum(1, keepdim=True)
        mixed = h.new_zeros(len(x), 32)
        for number, expert in enumerate(self.experts):
            rows, rank = (chosen == number).nonzero(as_tuple=True)
            if len(rows):
                mixed = mixed.index_add(0, rows, share[rows, rank].unsqueeze(1) * expert(h[rows]))
        return self.head(mixed)


class Graph(nn.Module):
    """Messages along the edges of rings of eight nodes, summed by `index_add`."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        width, fan_in = design.width, task.inputs.shape[2]
        self.own, self.others, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for _ in range(design.depth):
            self.own.append(nn.Linear(fan_in, width))
            self.others.append(nn.Linear(fan_in, width, bias=False))
            self.norms.append(nn.BatchNorm1d(width) if design.norm else nn.Identity())
            fan_in = width
        acts = [activation(design) for _ in self.own]
        self.acts = nn.ModuleList(acts) if design.style == "modules" else acts
        self.head = nn.Linear(width, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        graphs, nodes = x.shape[:2]
        ring = torch.arange(nodes)
        first = nodes * torch.arange(graphs).unsqueeze(1)
        sources = torch.cat([first + ring, first + ring], 1).flatten()
        ends = torch.cat([first + ring.roll(1), first + ring.roll(-1)], 1).flatten()
        h = x.flatten(0, 1)
        for own, others, norm, act in zip(self.own, self.others, self.norms, self.acts, strict=True):
            sent = others(h)[sources]
            h = act(norm(own(h) + torch.zeros_like(own(h)).index_add(0, ends, sent)))
        return self.head(h.unflatten(0, (graphs, nodes)).mean(1))


class Siamese(nn.Module):
    """One encoder for both of a pair; the output is their distance."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.encoder = Stack(design, task.inputs.shape[2], 16)

    def forward(self, x: Tensor) -> Tensor:
        difference = self.encoder(x[:, 0]) - self.encoder(x[:, 1])
        return (difference.square().sum(1) + 1e-6).sqrt()


class Hourglass(nn.Module):
    """A small U-Net: down, middle, up, with the fine features beside."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        narrow, wide = design.width // 4, design.width // 2
        self.down = self._block(design, 1, narrow)
        self.middle = self._block(design, narrow, wide)
        self.up = nn.ConvTranspose2d(wide, narrow, 2, 2)
        self.join = self._block(design, 2 * narrow, narrow)
        self.head = nn.Conv2d(narrow, task.outputs, 1)

    @staticmethod
    def _block(design: Design, fan_in: int, channels: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(fan_in, channels, 3, padding=1),
            nn.BatchNorm2d(channels) if design.norm else nn.Identity(),
            MODULES[design.activation](),
        )

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x)
        coarse = self.up(self.middle(F.max_pool2d(fine, 2)))
        return self.head(self.join(torch.cat([fine, coarse], 1)))


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
    "cnn": Family(Images, ("digits", "mnist"), (32, 48, 64), (2, 3), 130, HIDDEN[:3] + HIDDEN[3:5] + HIDDEN[6:],
                  (True, False)),
    "residual": Family(Residual, ("digits", "rings", "friedman"), (32, 64), (3, 6), 250, UNBOUNDED, (True, False),
                       ("adam", "adamw", "momentum")),
    "transformer": Family(Transformer, ("waves", "tokens"), (32, 48), (1, 2), 200, ("relu", "gelu", "silu"), (True,),
                          ("adam", "adamw"), 32),
    "encoder": Family(Encoder, ("waves", "tokens"), (32, 48), (1, 2), 200, ("relu", "gelu"), (True,),
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
