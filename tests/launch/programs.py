"""Pieces of training scripts, written as users write them, and what they print to be compared bit for bit."""

MODELS = '''
import torch
import torch.nn.functional as F
from torch import nn


class Functional(nn.Module):
    """Activations by function only, each in another spelling."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 11), nn.Linear(11, 3), nn.Linear(3, 2)

    def forward(self, x):
        x = F.dropout(F.relu(self.first(x)), 0.2, self.training)
        return self.last(torch.tanh(self.second(x)).relu())


def modules():
    """Activations by module only; one overwrites its input."""
    return nn.Sequential(
        nn.Linear(5, 11), nn.BatchNorm1d(11), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(11, 3), nn.GELU(),
        nn.Linear(3, 2),
    )
'''

TRAIN = '''
def train(model, batches, lr=0.1):
    """Train, and print each loss to the last bit."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for inputs, target in batches:
        loss = F.mse_loss(model(inputs), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print("loss", loss.item().hex(), flush=True)


def random_batches(count):
    for _ in range(count):
        # 7 samples, the last batch 4.
        rows = 7 if _ < count - 1 else 4
        yield torch.randn(rows, 5), torch.randn(rows, 2)
'''

EVIDENCE = '''
def evidence(*models):
    """Print what must not depend on who runs this."""
    import hashlib
    import random
    import sys

    import numpy
    import torch

    def digest(data):
        return hashlib.sha256(data).hexdigest()

    for model in models:
        for name, tensor in model.state_dict().items():
            print("state", name, digest(tensor.numpy().tobytes()))
        print("grads", [None if p.grad is None else digest(p.grad.numpy().tobytes()) for p in model.parameters()])
    print("torch random", digest(torch.get_rng_state().numpy().tobytes()))
    print("python random", digest(repr(random.getstate()).encode()))
    print("numpy random", digest(repr(numpy.random.get_state()).encode()))
    main = sys.modules["__main__"]
    print("main", main.__name__, main.__dict__ is globals(), "__mp_main__" in sys.modules)
    print("argv", sys.argv, sys.orig_argv[1:])
    print("path", sys.path)
    print("file", __file__, "name", __name__, "package", __package__, "spec", __spec__ and __spec__.name)
    print("threads", torch.get_num_threads(), torch.is_grad_enabled(), torch.get_default_dtype())
'''

SEED = """
import random
import numpy

random.seed(3), numpy.random.seed(5)
"""

WHOLE = SEED + MODELS + TRAIN + EVIDENCE

PLAIN = (
    WHOLE
    + """
torch.manual_seed(7)
functional, module = Functional(), modules()
train(functional, random_batches(13))
train(module, random_batches(13))
evidence(functional, module)
"""
)
"""The simplest script: two models, one after the other."""

GUARDED = (
    WHOLE
    + """
def main():
    torch.manual_seed(7)
    model = Functional()
    train(model, random_batches(7))
    evidence(model)
"""
)
