"""Sequences: recurrent networks, attention, transcription, language models and their fine-tuning."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training import Training, batches, classified, correct, minimised, mlp

from failures.rebuilt import Collection

SEQUENCES = Collection()
SIZE = 12
"""Of the alphabet."""


def _text(samples: int = 1200, length: int = 10) -> Tensor:
    """Sentences in which a letter's successor is fixed, but for one time in ten."""
    successor, rows = torch.randperm(SIZE), [torch.randint(SIZE, (samples,))]
    for _ in range(length):
        lost = torch.rand(samples) < 0.1
        rows.append(torch.where(lost, torch.randint(SIZE, (samples,)), successor[rows[-1]]))
    return torch.stack(rows, 1)


class Block(nn.Module):
    """Attention and a feed-forward part; normalised before each, or after."""

    def __init__(self, width: int, *, before: bool = True, sharpness: float | None = None) -> None:
        super().__init__()
        self.width, self.before = width, before
        self.sharpness = sharpness or (width // 4) ** -0.5
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = mlp(width, 2 * width, width, act=nn.GELU)

    def attend(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.queries(x).unflatten(2, (3, 4, -1)).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(2, 3) * self.sharpness).masked_fill(mask, -math.inf)
        return self.mix((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.before:
            x = x + self.attend(self.norm(x), mask)
            return x + self.feed(self.norm2(x))
        x = self.norm(x + self.attend(x, mask))
        return self.norm2(x + self.feed(x))


class Language(nn.Module):
    """A causal language model."""

    def __init__(self, width: int = 32, depth: int = 2, **block: object) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(SIZE, width), nn.Parameter(0.1 * torch.randn(16, width))
        self.blocks = nn.ModuleList(Block(width, **block) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, SIZE)

    def forward(self, text: Tensor) -> Tensor:
        x = self.embed(text) + self.place[: text.shape[1]]
        mask = torch.ones(text.shape[1], text.shape[1], dtype=torch.bool).triu(1)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


def taught(model: nn.Module, text: Tensor, *, lr: float = 3e-3, batch: int = 32,
           optimizer: torch.optim.Optimizer | None = None, clip: float | None = None) -> Training:  # fmt: skip
    """Next-letter prediction."""
    order = batches(len(text), batch)

    def loss() -> Tensor:
        chosen = text[next(order)]
        return F.cross_entropy(model(chosen[:, :-1]).flatten(0, 1), chosen[:, 1:].flatten())

    return minimised([model], loss, optimizer or torch.optim.AdamW(model.parameters(), lr),
                    lambda: correct(model(text[:, :-1]), text[:, 1:]), clip=clip)  # fmt: skip


def pretrained() -> tuple[Language, Tensor]:
    """A language model that has learned one language, and a text of another."""
    model, text = Language(depth=1), _text()
    first = taught(model, text, lr=5e-3)
    for _ in range(80):
        first.step()
    return model, _text()


@SEQUENCES("fine-tuning at a hundred times the learning rate", "what was pretrained is thrown away at once",
           "learning_rate", steps=200)  # fmt: skip
def _fine_tuned(mended: bool) -> Training:
    model, text = pretrained()
    return taught(model, text, lr=2e-3 if mended else 0.3)


class _Adapter(nn.Module):
    """LoRA (Hu et al. 2021): two narrow matrices beside one that is frozen."""

    def __init__(self, inner: nn.Linear, *, zero: bool) -> None:
        super().__init__()
        self.inner = inner.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(8, inner.in_features) / 8)
        self.up = nn.Parameter(torch.zeros(inner.out_features, 8))
        if zero:
            nn.init.zeros_(self.down)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + x @ self.down.T @ self.up.T


def _with_adapters(*, zero: bool, of_another: bool = False) -> Training:
    model, text = pretrained()
    model.requires_grad_(False)
    before = list(model.parameters())
    for block in model.blocks:
        block.queries, block.mix = _Adapter(block.queries, zero=zero), _Adapter(block.mix, zero=zero)
        block.feed[0], block.feed[2] = _Adapter(block.feed[0], zero=zero), _Adapter(block.feed[2], zero=zero)
    model.head = _Adapter(model.head, zero=zero)
    trained = before if of_another else [parameter for parameter in model.parameters() if parameter.requires_grad]
    return taught(model, text, optimizer=torch.optim.AdamW(trained, 1e-2))


@SEQUENCES("LoRA with both matrices zero", "Hu et al. 2021 draw one of the two", "initial_weights", steps=250)
def _lora_zero(mended: bool) -> Training:
    return _with_adapters(zero=not mended)


@SEQUENCES("adapters that came after the optimizer", "parameters listed before the adapters were there",
           "not_in_optimizer", steps=250)  # fmt: skip
def _lora_late(mended: bool) -> Training:
    return _with_adapters(zero=False, of_another=not mended)


@SEQUENCES("post-norm transformer without warm-up", "Xiong et al. 2020; eight blocks at a learning rate for two",
           "learning_rate", "depth", steps=250)  # fmt: skip
def _post_norm(mended: bool) -> Training:
    model = Language(depth=6, before=False)
    return taught(model, _text(), lr=2e-3 if mended else 0.03)


@SEQUENCES("attention without its root", "Vaswani et al. 2017: the softmax has no slope where scores are large",
           "downstream_saturation", "initial_weights", "learning_rate", steps=250)  # fmt: skip
def _sharp(mended: bool) -> Training:
    model = Reader(1.0 if mended else 300.0)
    x = torch.randn(1500, 10, 16)
    # What is asked for stands where the first feature is largest.
    labels = (x[torch.arange(1500), x[..., 0].argmax(1), 1] > 0).long()
    return classified(model, x, labels, lr=3e-3)


class Reader(nn.Module):
    """Attention by scores of the tokens alone."""

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.score, self.value, self.head = mlp(16, 32, 1), nn.Linear(16, 32), mlp(32, 32, 2)
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        share = (self.sharpness * self.score(x)).softmax(1)
        return self.head((share * self.value(x)).sum(1))


class _Padded(nn.Module):
    """A sentence may be empty: every score of its attention is then −∞."""

    def __init__(self, *, guarded: bool) -> None:
        super().__init__()
        self.embed, self.score, self.head = nn.Linear(8, 32), nn.Linear(32, 1), mlp(32, 32, 3)
        self.guarded = guarded

    def forward(self, x: Tensor) -> Tensor:
        padding = (x == 0).all(2, keepdim=True)
        h = self.embed(x)
        share = self.score(h).masked_fill(padding, -1e4 if self.guarded else -math.inf).softmax(1)
        return self.head((share * h).sum(1))


@SEQUENCES("attention over an empty sentence", "softmax of nothing but −∞", "numerical_operation", steps=250)
def _empty(mended: bool) -> Training:
    x = torch.randn(900, 7, 8)
    labels = (x.mean(1)[:, :3]).argmax(1)
    x[::90] = 0
    return classified(_Padded(guarded=mended), x, labels, lr=5e-3)


class _Remembering(nn.Module):
    """Says at the end what came at the beginning."""

    def __init__(self, kind: str = "lstm", width: int = 32) -> None:
        super().__init__()
        self.cells = {"lstm": nn.LSTM, "gru": nn.GRU}[kind](4, width, batch_first=True)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


def _memory(length: int) -> tuple[Tensor, Tensor]:
    labels = torch.randint(4, (1000,))
    x = 0.1 * torch.randn(1000, length, 4)
    x[:, 0] += F.one_hot(labels, 4)
    return x, labels


@SEQUENCES("LSTM that forgets at once", "Jozefowicz et al. 2015: the forget gate's bias decides", "initial_bias",
           "recurrence", steps=250)  # fmt: skip
def _forgetful(mended: bool) -> Training:
    model = _Remembering()
    with torch.no_grad():
        model.cells.bias_ih_l0[32:64] = 4.0 if mended else -8.0
    return classified(model, *_memory(30), lr=3e-3)


class _Unrolled(nn.Module):
    def __init__(self, gain: float) -> None:
        super().__init__()
        self.enter, self.again, self.head = nn.Linear(4, 32), nn.Linear(32, 32), nn.Linear(32, 4)
        nn.init.eye_(self.again.weight)
        with torch.no_grad():
            self.again.weight.mul_(gain)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 32)
        for time in range(x.shape[1]):
            state = F.relu(self.enter(x[:, time]) + self.again(state))
        return self.head(state)


@SEQUENCES("ReLU recurrence of gain 8", "Le et al. 2015 begin at the identity", "recurrence", "initial_weights",
           steps=300)  # fmt: skip
def _growing(mended: bool) -> Training:
    return classified(_Unrolled(1.0 if mended else 8.0), *_memory(45), lr=2e-3)


class _Translator(nn.Module):
    """An encoder, and a decoder that begins with its state."""

    def __init__(self, *, cut: bool) -> None:
        super().__init__()
        self.embed, self.encoder = nn.Embedding(SIZE, 32), nn.GRU(32, 48, batch_first=True)
        self.decoder, self.head = nn.GRU(32, 48, batch_first=True), nn.Linear(48, SIZE)
        self.cut = cut

    def forward(self, text: Tensor) -> Tensor:
        _, state = self.encoder(self.embed(text))
        if self.cut:
            state = state.detach()
        # Nothing is fed back: all that the decoder knows is the state.
        return self.head(self.decoder(torch.zeros(len(text), text.shape[1], 32), state)[0])


@SEQUENCES("decoder that begins with a detached state", "Sutskever et al. 2014 without the way back to the encoder",
           "graph_cut", steps=300, floor=0.4)  # fmt: skip
def _translated(mended: bool) -> Training:
    text = torch.randint(SIZE, (1200, 4))
    model, order = _Translator(cut=not mended), batches(1200, 64)

    def loss() -> Tensor:
        chosen = text[next(order)]
        return F.cross_entropy(model(chosen).flatten(0, 1), chosen.flatten())

    return minimised([model], loss, torch.optim.Adam(model.parameters(), 1e-2), lambda: correct(model(text), text))


@SEQUENCES("CTC with targets longer than the sound", "Graves et al. 2006: no path exists, and the loss is infinite",
           "loss_not_finite", "numerical_operation", steps=200, floor=0.5)  # fmt: skip
def _transcribed(mended: bool) -> Training:
    text = torch.randint(1, 5, (500, 3))
    sound = F.one_hot(text.repeat_interleave(3, 1), 5).float() + 0.2 * torch.randn(500, 9, 5)
    # What is transcribed is every third frame; in some recordings the frames are missing, not the text.
    frames = torch.full((500,), 9)
    frames[::60] = 2
    model, order = mlp(5, 32, 32, 5), batches(500, 32)
    cost = nn.CTCLoss(zero_infinity=mended)

    def loss() -> Tensor:
        chosen = next(order)
        shares = model(sound[chosen]).log_softmax(2).transpose(0, 1)
        return cost(shares, text[chosen], frames[chosen], torch.full((len(chosen),), 3))

    def score() -> float:
        best = model(sound)
        return correct(best.masked_fill(torch.arange(5) == 0, -1e9)[:, ::3], text)

    return minimised([model], loss, torch.optim.Adam(model.parameters(), 5e-3), score)


class Window(nn.Module):
    """Reads a letter and the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read = nn.Embedding(SIZE, 16), mlp(32, 64, SIZE)

    def forward(self, text: Tensor) -> Tensor:
        x = self.embed(text)
        before = F.pad(x, (0, 0, 1, 0))[:, :-1]
        return self.read(torch.cat([x, before], 2))


@SEQUENCES("embeddings a thousand times too large", "drawn in the unit of another model", "initial_weights",
           "learning_rate", steps=400)  # fmt: skip
def _embedded(mended: bool) -> Training:
    model, text = Window(), _text()
    with torch.no_grad():
        model.embed.weight.mul_(1.0 if mended else 1000.0)
    return taught(model, text, optimizer=torch.optim.SGD(model.parameters(), 0.1, momentum=0.9))
