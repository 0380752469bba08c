"""Random small networks: residual, shared activations, every kind of convolution, tied weights, several heads."""

import torch
from hypothesis import strategies as st
from torch import nn

from tests.treatment.recycling.recycle_models import Block, Net

KINDS = ("conv", "conv", "conv", "grouped", "transposed", "transposed grouped", "circular", "depthwise")
NORMS = (None, None, None, None, "batch", "batch", "group", "instance")
AFTER = (None, None, None, None, "max", "avg", "dropout", "layer", "batch")
RESIDUALS = (None, None, None, None, None, None, None, None, "before", "after", "past")
CALLS = ("module", "inplace", "function", "method")
OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, 1e-3, amsgrad=True),
    "fused AdamW": lambda p: torch.optim.AdamW(p, 1e-3, fused=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 1e-3, centered=True, momentum=0.5),
}


@st.composite
def networks(draw):
    """A network, and for some of its sites the units to kill."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    shared = nn.ReLU() if draw(st.booleans()) else None
    width, blocks = 4, []
    for _ in range(draw(st.integers(1, 3))):
        call = draw(st.sampled_from(CALLS))
        act = shared if call == "module" else None
        options = [draw(st.sampled_from(choice)) for choice in (NORMS, AFTER, RESIDUALS)]
        kind = draw(st.sampled_from(KINDS))
        block = Block(width, draw(st.sampled_from((4, 6, 8))), kind, options[0], call, options[1], options[2], act)
        blocks.append(block)
        width = block.outputs
    end = draw(st.sampled_from(("mean", "flat")))
    oddities = {name: draw(st.integers(0, 19)) == 7 for name in ("twice", "tied", "leak")}
    model = Net(blocks, heads=draw(st.integers(1, 3)), end=end, **oddities)
    ill = {}
    for number, block in enumerate(blocks):
        if draw(st.booleans()) or number == 0:
            units = draw(st.sets(st.integers(0, block.outputs - 1), min_size=1))
            ill[number] = tuple(sorted(units))
    return model, ill
