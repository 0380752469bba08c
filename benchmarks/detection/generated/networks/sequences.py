"""Networks of sequences."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generated.job import Design
from generated.networks.plain import activation
from generated.tasks import Task


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


class OfSteps(nn.Module):
    """What reads a token, or the numbers of one time step, at a time."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__()
        self.text = task.kind == "tokens"
        size = design.width
        self.embed = nn.Embedding(task.outputs, size) if self.text else nn.Linear(task.inputs.shape[2], size)


class Transformer(OfSteps):
    def __init__(self, design: Design, task: Task) -> None:
        super().__init__(design, task)
        width = design.width
        self.place = nn.Parameter(0.1 * torch.randn(task.inputs.shape[1], width))
        self.blocks = nn.ModuleList(Attention(design, self.text) for _ in range(design.depth))
        self.head = nn.Linear(width, task.outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x) + self.place
        for block in self.blocks:
            x = block(x)
        return self.head(x if self.text else x.mean(1))


class Encoder(OfSteps):
    """Torch's own encoder layers."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__(design, task)
        width = design.width
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


class Recurrent(OfSteps):
    """Torch's RNN, LSTM or GRU, and a head that reads the last state or each."""

    def __init__(self, design: Design, task: Task) -> None:
        super().__init__(design, task)
        width = design.width
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
        self.width = design.width
        self.enter = nn.Linear(task.inputs.shape[2], design.width)
        self.again = nn.Linear(design.width, design.width, bias=False)
        self.act = activation(design)
        self.head = nn.Linear(design.width, task.outputs)
        nn.init.orthogonal_(self.again.weight)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), self.width, dtype=x.dtype)
        for time in range(x.shape[1]):
            state = self.act(self.enter(x[:, time]) + self.again(state))
        return self.head(state)
